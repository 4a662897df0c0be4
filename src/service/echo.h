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

#include <stddef.h>

/* How to echo; the config of the service. */
struct echo_config {
    const char *prefix; /* put before each chunk, prefix_len bytes */
    size_t prefix_len;  /* 0 to CHUNKS_PREFIX_MAX */
    size_t chunk;       /* the largest, 1 to CHUNKS_CHUNK_MAX bytes */
};

/* What the echoes of one loop share; the state of the service. */
struct echo_state {
    struct chunks chunks;
    struct pipes pipes;
};

extern const struct handler echo_handler;

#endif
