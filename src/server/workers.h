/*
 * workers.h - all workers: who gets the next connection, how many there may be, what they add up
 * to.
 *
 * A connection goes to the worker that has the fewest, so that a load is spread by what is there
 * and not by what has been. What is open follows from two counts for each worker, connections
 * handed over and connections ended, which have one writer each; so there is no count that all of
 * them write.
 *
 * All functions are the starting thread's, on which the first worker runs.
 */
#ifndef UVECHOD_WORKERS_H
#define UVECHOD_WORKERS_H

#include "server/stats.h"
#include "server/worker.h"

#include <stdatomic.h>
#include <stdbool.h>

enum { WORKERS_MAX = 64 };

struct workers {
    struct worker *list; /* count of them; the first is the starting thread's */
    unsigned count;
    unsigned started; /* how many threads */
    unsigned last;    /* who got a connection last */
    size_t limit;     /* of open connections */
    void *owner;
    /* Connections may have closed, or a thread ended: on the starting thread, as all callbacks. */
    void (*on_freed)(struct workers *workers);
    uv_async_t bell;     /* by which the other threads say so; keeps the loop running meanwhile */
    atomic_bool waiting; /* for a connection to close: rung for then */
};

/*
 * Opens count workers, 1 to WORKERS_MAX, with loops for descriptors up to highest_fd, and starts
 * none. The caller has set limit, owner and on_freed; fd, config and log are as for worker_open().
 * Returns 0 or a negative errno, with nothing open.
 */
int workers_open(struct workers *workers, unsigned count, const struct worker_config *config,
                 struct log *log, int fd, int highest_fd);

/*
 * Starts the threads. Returns 0 or a negative errno; those that run already then wait for an
 * order to end.
 */
int workers_start(struct workers *workers);

/*
 * Runs the first worker until there is nothing left to do for any, and joins the threads: each
 * of them must have been ordered to drain by then. Returns NULL, or at once a worker that has
 * stopped for a mistake in a task (sched_run()), and all others then stop, too, amid what they do.
 */
const struct worker *workers_run(struct workers *workers);

/* How many connections are open or on their way to a worker. */
size_t workers_load(const struct workers *workers);

/* Whether that is the limit. on_freed is due when it no longer is. */
bool workers_full(struct workers *workers);

/* Serves a connection, as worker_take() does, by the worker that has the fewest. */
int workers_take(struct workers *workers, int fd, const union net_peer *peer);

/* Gives all of them the same orders: worker_order(). */
void workers_order(struct workers *workers, unsigned orders, int error);

/*
 * Whether the run queues of all of them have turned since the last such call that returned true;
 * if so, asks them to do so once more.
 */
bool workers_alive(struct workers *workers);

/* Sums up. With open == 0, all else is final until the next connection. */
void workers_stats(const struct workers *workers, struct stats *stats);

/* Closes the first worker's loop and all others', and frees the memory: worker_close(). */
void workers_close(struct workers *workers);

#endif
