/*
 * report.h - prints what a run has measured, for people or for programs.
 */
#ifndef ECHOLOAD_REPORT_H
#define ECHOLOAD_REPORT_H

#include "echoload/args.h"
#include "echoload/load.h"

#include <stdio.h>

void report_text(const struct args *args, const struct load_result *result, FILE *out);

void report_json(const struct args *args, const struct load_result *result, FILE *out);

#endif
