/*
 * echo.h - the echo_handler task: what this daemon says to its clients.
 *
 * Receives, answers every chunk with the prefix and the chunk, receives again. All that is
 * particular to echoing is in this pair of files: a second protocol would be another.
 */
#ifndef UVECHOD_ECHO_H
#define UVECHOD_ECHO_H

#include "conn.h"

/* The service that goes with it (struct conns) is a struct chunks. */
extern const struct handler echo_handler;

#endif
