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
#include "stream/listener.h"

#include <stdatomic.h>
#include <stdbool.h>

enum { WORKERS_MAX = 64 };

struct workers {
    struct acceptor acceptor; /* what listeners hand their connections to */
    struct worker_parent parent;
    struct worker *list; /* count of them; the first is the starting thread's */
    unsigned count;
    unsigned started;    /* how many threads */
    unsigned last;       /* which worker got a connection last */
    size_t limit;        /* of open connections */
    uv_async_t bell;     /* the other threads ring it when there may be room, or they have ended;
                            keeps the loop running meanwhile */
    atomic_bool waiting; /* the bell must be rung when a connection closes */
};

/*
 * Opens count workers, 1 to WORKERS_MAX, for at most limit connections in all, and starts none.
 * The config is as for worker_open(). Returns 0 or a negative errno, with nothing open.
 */
int workers_open(struct workers *workers, unsigned count, size_t limit,
                 const struct worker_config *config);

/* The scheduler of the starting thread: the first worker's. */
static inline struct sched *workers_sched(const struct workers *workers)
{
    return &workers->list[0].sched;
}

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
