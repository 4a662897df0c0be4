/*
 * server.h - the daemon: owns the workers and all that they share, from the first listening
 * socket to the end of the last connection. Listeners, signals and whatever decides live on the
 * first worker's loop, on the thread that calls.
 *
 * Start: descriptors, listening sockets, loops, tasks, signals, threads; nothing is logged as
 * listening before everything stands. Stop, at the first SIGTERM, SIGINT or SIGHUP: the listeners
 * end, the connections go on until they end by themselves or the drain deadline ends them, and the
 * loops return because no task is left. A second signal ends the connections at once.
 */
#ifndef UVECHOD_SERVER_H
#define UVECHOD_SERVER_H

#include "server/endpoints.h"
#include "base/log.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

struct server_config {
    struct endpoints_config endpoints; /* to listen on, unless systemd has passed sockets */
    const char *address_option;        /* the last that says where to listen; NULL: none has */
    const char *prefix;                /* put before each chunk, prefix_len bytes */
    size_t prefix_len;                 /* 0 to CHUNKS_PREFIX_MAX */
    size_t chunk;                      /* the largest, 1 to CHUNKS_CHUNK_MAX bytes */
    size_t max_connections;            /* of all workers; 0: as many as the descriptors allow */
    unsigned workers;                  /* threads that serve, 1 to WORKERS_MAX */
    unsigned idle_ms;                  /* without a byte in either direction; 0: for ever */
    unsigned drain_ms;                 /* how long a stop waits for open connections */
};

/* What server_run() returns for options that contradict each other: no system call fails so. */
enum { SERVER_MISUSE = -EDOM };

/*
 * Runs until it is told to stop and has stopped. Returns 0, or a negative errno if it could not
 * start or one of its tasks was wrong, or SERVER_MISUSE if the config has an address_option
 * although systemd has passed sockets. It has logged which. The config must outlive the call.
 */
int server_run(const struct server_config *config, struct log *log);

#endif
