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

/* What the echoes of a loop share; conns->service must point to it. */
struct echo_service {
    struct chunks chunks;
    struct pipes pipes;
};

extern const struct handler echo_handler;

#endif
