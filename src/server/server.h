/*
 * server.h - the daemon, from the first listening socket to the end of the last connection.
 *
 * Listeners, signals, supervision and drain live on the loop of the first worker, on the thread
 * that calls server_run(). That function is the start from top to bottom: sockets, loops, tasks,
 * signals, threads, and the listeners last, because the log then says that the daemon listens.
 * drain.h tells how the daemon stops.
 */
#ifndef UVECHOD_SERVER_H
#define UVECHOD_SERVER_H

#include "server/endpoints.h"
#include "stream/conn.h"
#include "base/log.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

struct server_config {
    struct endpoints_config endpoints; /* to listen on, unless systemd has passed sockets */
    const char *address_option;        /* the last that says where to listen; NULL: none has */
    struct services services;          /* the first one is spoken at these endpoints */
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
