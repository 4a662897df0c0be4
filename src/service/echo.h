/*
 * echo.h - the protocol of this daemon: a client is answered what it has sent.
 *
 * The task of a connection receives, answers every chunk with the prefix and the chunk, and
 * receives again. Only the files of service/ know what echoing needs: a second protocol would be
 * another pair of files here.
 */
#ifndef UVECHOD_ECHO_H
#define UVECHOD_ECHO_H

#include "service/chunks.h"
#include "service/pipes.h"
#include "stream/conn.h"

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
