/*
 * echo.h - the echo_handler task: what this daemon says to its clients.
 *
 * Receives, answers every chunk with the prefix and the chunk, receives again. All that is
 * particular to echoing is in this pair of files: a second protocol would be another.
 */
#ifndef UVECHOD_ECHO_H
#define UVECHOD_ECHO_H

#include "service/chunks.h"
#include "stream/conn.h"
#include "service/pipes.h"

/* The service that goes with it (struct conns): what the echoes of a loop share. */
struct echo_service {
    struct chunks chunks;
    struct pipes pipes;
};

extern const struct handler echo_handler;

#endif
