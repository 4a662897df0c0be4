/*
 * server_parts.h - what the files of the server share: its parts in one struct, and the steps.
 *
 *     server.c            the start, step by step, and the end
 *     server_sockets.c    which sockets are served: systemd's, the predecessor's or new ones
 *     server_shared.c     what the workers share: limit, ledger, sources; and the workers
 *     server_events.c     what happens while the daemon runs: listeners, questions, signals
 *
 * Only these four files include this one.
 */
#ifndef UVECHOD_SERVER_PARTS_H
#define UVECHOD_SERVER_PARTS_H

#include "server/server.h"

#include "server/complaints.h"
#include "server/control.h"
#include "server/drain.h"
#include "server/metrics.h"
#include "server/refusals.h"
#include "server/succession.h"
#include "server/supervision.h"
#include "server/upgrade.h"
#include "server/workers.h"

struct server {
    const struct server_config *config;
    struct log *log;
    struct systemd systemd;
    struct endpoints endpoints;
    struct endpoints aside; /* the listening socket of the metrics, or none */
    size_t limit;           /* of connections */
    struct ledger own;      /* opened unless that of the predecessor has room for what is wanted */
    struct ledger *ledger;  /* of the connections of all workers: one of the two */
    struct sources sources; /* open only with a limit for each */
    struct workers workers;
    struct datagrams datagrams;
    struct refusals refusals; /* started only with sources */
    struct complaints complaints;
    struct supervision supervision;
    struct drain drain;
    struct control control;
    struct listener_watcher watcher;
    struct supervised supervised;
    struct controlled controlled;
    struct succession succession; /* opened only if there is a predecessor */
    struct upgrade upgrade;
    struct upgraded upgraded;
    struct metrics metrics; /* open only with a socket for it */
    struct metered metered;
    bool unmetered; /* the metrics cannot be served, and the log says why */
    uint64_t started_ms;
    uint64_t refused;       /* connections closed before they were handed to a worker */
    uint64_t accept_pauses; /* for lack of descriptors or memory */
};

/* Whether there is a predecessor, or something left of it that cannot be taken over. */
static inline bool server_inherits(const struct server *server)
{
    return server->config->ledger != 0;
}

/* ---- server_sockets.c ---- */

/*
 * Takes over the sockets of the predecessor, and serves those that systemd has passed. If there are
 * none for the services, opens some. After an upgrade systemd's are not looked at: they have other
 * numbers now, or are connections. Returns 0, or a negative errno or SERVER_MISUSE that has been
 * logged; server_give_up() closes the sockets in either case.
 */
int server_open_endpoints(struct server *server);

/* The same for the socket of the metrics, if they are asked for. Comes after the services' own. */
int server_open_aside(struct server *server);

/* Any socket of those that are to be served, or -1. To be called before they are served. */
int server_any_fd(const struct server *server);

/* Logs on which addresses clients are served. They are served already. */
void server_log_endpoints(const struct server *server);

/* Logs that the given error keeps the daemon from serving. Returns the error. */
int server_cannot_serve(const struct server *server, int error);

/* ---- server_shared.c ---- */

/*
 * Gives the loops all they will need now, because libuv aborts if it cannot get it later. Returns
 * 0, or a negative errno that has been logged, with nothing of this open.
 */
int server_open_workers(struct server *server);

/* Comes after workers_close(). Does nothing without a limit for each source. */
void server_close_sources(struct server *server);

/* ---- server_events.c ---- */

/* Sets the functions that the parts call. Calls nothing itself. */
void server_connect(struct server *server);

/* The first stop: called at the first signal for that, and when the start has failed. */
void server_drain(struct server *server);

#endif
