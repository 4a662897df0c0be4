/*
 * exposition.h - the figures of stats.h as text for programs.
 *
 * There are three formats: OpenMetrics 1.0 and the older text format 0.0.4 of Prometheus, which the
 * reader chooses by the header Accept of its request, and JSON. A figure has the same name in all
 * of them. Nothing here is translated.
 */
#ifndef UVECHOD_EXPOSITION_H
#define UVECHOD_EXPOSITION_H

#include "server/stats.h"

#include <stdio.h>

enum exposition_format { EXPOSITION_TEXT, EXPOSITION_OPENMETRICS, EXPOSITION_JSON };

/*
 * Returns EXPOSITION_OPENMETRICS if accept, the value of the header (RFC 9110, 12.5.1), names its
 * version 1.0.0 or no version, and prefers no plain text; else EXPOSITION_TEXT, also for NULL.
 */
enum exposition_format exposition_choose(const char *accept);

/* The media type, for the header Content-Type. */
const char *exposition_type(enum exposition_format format);

/*
 * Writes all figures that are known to out. Whether that has failed, ferror(3) and fclose(3) say.
 */
void exposition_write(FILE *out, enum exposition_format format, const struct stats *stats);

#endif
