/*
 * server.h - the daemon, from the first listening socket to the end of the last connection.
 *
 * Listeners, signals, supervision and drain live on the loop of the first worker, on the thread
 * that calls server_run(). server.c is the start from top to bottom: sockets, loops, tasks,
 * threads, signals, and the listeners last, because the log then says that the daemon listens. The
 * longer steps have files of their own: server_parts.h. drain.h tells how the daemon stops, and
 * upgrade.h how it executes its program again. A daemon that was executed so begins with what its
 * predecessor has left: succession.h.
 */
#ifndef UVECHOD_SERVER_H
#define UVECHOD_SERVER_H

#include "os/program.h"
#include "server/datagrams.h"
#include "server/endpoints.h"
#include "server/kept.h"
#include "server/legacy.h"
#include "stream/conn.h"
#include "base/log.h"

#include <errno.h>
#include <stddef.h>
#include <stdint.h>

struct server_config {
    struct endpoints_config endpoints; /* to listen on, unless systemd has passed sockets */
    struct datagrams_config datagrams; /* how they are answered, if any socket gets them */
    const char *address_option;        /* the last that says where to listen; NULL: none has */
    struct services services;          /* the first one is spoken at these endpoints */
    struct endpoints_config metrics;   /* where to serve statistics; without an address: nowhere */
    const char *version;               /* of this program */
    size_t max_connections;            /* of all workers; 0: as many as the descriptors allow */
    unsigned workers;                  /* threads that serve, 1 to WORKERS_MAX */
    unsigned max_per_source;           /* connections of one source (sources.h); 0: no limit */
    unsigned max_rate;                 /* connections accepted in a second; 0: no limit */
    struct proxy_rules proxies;        /* who begins with a header (proxy.h) */
    unsigned idle_ms;                  /* without a byte in either direction; 0: for ever */
    unsigned send_ms;                  /* with bytes that the peer does not take; 0: for ever */
    unsigned busy_us;                  /* without sleep after an event (spinner.h); 0: none */
    unsigned drain_ms;                 /* how long a stop waits for open connections */
    const struct program *program;     /* what an upgrade executes */
    int ledger;        /* the predecessor's, a descriptor; 0: there is none; or a negative errno */
    struct kept *kept; /* shared with the keeper (keeper.h); NULL: there is none */
    struct legacy legacy; /* what else has been passed to us after a restart */
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
