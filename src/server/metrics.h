/*
 * metrics.h - the endpoint at which monitoring asks how the daemon is, by HTTP (http.h).
 *
 *     /metrics    all figures, for Prometheus: OpenMetrics or its older text format
 *     /stats      the same as JSON
 *     /livez      200 while the run queues of all workers turn, else 503
 *     /readyz     200 while a new client would be served, 503 while the daemon stops or is full
 *
 * The library's epoll descriptor is a resource like any other: the endpoint is a task that yields
 * recv on it and lets the library do what there is to do. Its clients are not connections of the
 * daemon: they count in none of its limits and figures, and end with the process. While the daemon
 * drains the task goes on, but keeps no loop running.
 */
#ifndef UVECHOD_METRICS_H
#define UVECHOD_METRICS_H

#include "os/http.h"
#include "server/stats.h"
#include "task/sched.h"
#include "task/sock.h"

#include <stdbool.h>

/* What the endpoint asks. Whoever is asked embeds it. */
struct metered {
    /* Fills in what struct stats has, but for the process. */
    void (*stats)(struct metered *metered, struct stats *stats);
    /* Whether all run queues turn. */
    bool (*alive)(struct metered *metered);
    /* NULL, or one English word that says why no new client would be served. */
    const char *(*busy)(struct metered *metered);
};

struct metrics {
    struct http_handler handler;
    struct task task;
    struct sched *sched;
    struct metered *metered;
    uint64_t process_started_us; /* for all answers the same */
    struct http http;
    struct sock sock; /* of the library's epoll descriptor */
    uv_timer_t again; /* wakes the task when the library asks for that */
    bool open;
};

/*
 * Opens the endpoint at a listening socket, which stays the caller's, and spawns its task on the
 * loop of the scheduler. metrics is all zero; it and metered must outlive the task. Returns 0, a
 * negative errno of http_open(), or of sock_init(), with nothing open.
 */
int metrics_start(struct metrics *metrics, struct sched *sched, int listening,
                  struct metered *metered);

/*
 * Cuts the clients and closes everything. No task is resumed again. The owner may free the memory
 * when the loop has run once more. Does nothing if metrics_start() has not succeeded.
 */
void metrics_close(struct metrics *metrics);

#endif
