/*
 * workers.h - all workers: which of them gets the next connection, how many connections there may
 * be, and the sums of what they count.
 *
 * A connection goes to the worker that has the fewest at that moment. The number of open
 * connections follows from two counts of each worker, connections handed over and connections
 * ended. Each count has one writer, so no count is written by several threads.
 *
 * All functions must be called on the starting thread, on which the first worker runs.
 */
#ifndef UVECHOD_WORKERS_H
#define UVECHOD_WORKERS_H

#include "server/pace.h"
#include "server/stats.h"
#include "server/worker.h"
#include "stream/listener.h"

#include <stdatomic.h>
#include <stdbool.h>

enum { WORKERS_MAX = STATS_WORKERS_MAX };

struct workers {
    struct acceptor acceptor; /* what listeners hand their connections to */
    struct worker_parent parent;
    struct worker *list; /* count of them; the first is the starting thread's */
    unsigned count;
    unsigned started;    /* how many threads */
    unsigned last;       /* which worker got a connection last */
    uint64_t refused;    /* connections of a predecessor */
    size_t coming;       /* of a predecessor, which no worker has been handed yet: they are open */
    size_t limit;        /* of open connections */
    struct pace pace;    /* of the connections that are accepted */
    uv_async_t bell;     /* the other threads ring it when there may be room, or they have ended;
                            keeps the loop running meanwhile */
    atomic_bool waiting; /* the bell must be rung when a connection closes */
    uint64_t pulsed_ms;  /* when workers_alive() has ordered the last pulse, by uv_hrtime() */
};

/*
 * Opens count workers, 1 to WORKERS_MAX, for at most limit connections in all, of which at most
 * rate are accepted in a second (0: no limit), and starts none. The config is as for worker_open().
 * Returns 0 or a negative errno, with nothing open.
 *
 * The acceptor refuses a connection whose source has enough already with SOURCES_REFUSED.
 */
int workers_open(struct workers *workers, unsigned count, size_t limit, unsigned rate,
                 const struct worker_config *config);

/* The scheduler of the starting thread: the first worker's. */
static inline struct sched *workers_sched(const struct workers *workers)
{
    return &workers->list[0].sched;
}

/*
 * Starts the threads. Returns 0 or a negative errno of uv_thread_create(). After a failure the
 * threads that run already wait for an order to end.
 */
int workers_start(struct workers *workers);

/*
 * Runs the first worker until no worker has a task left, and joins the threads, which must have
 * been ordered to drain. Returns NULL; or a worker that has stopped because a task is wrong
 * (sched_run()): all others are then stopped at once, whatever they are doing.
 */
const struct worker *workers_run(struct workers *workers);

/*
 * Ends the threads at the end of their present turns, and leaves everything on their loops as it
 * is: what has been handed to a worker is served by its task by then, and no other thread opens or
 * closes a descriptor. workers_resume() may follow.
 */
void workers_rest(struct workers *workers);

/*
 * Starts the threads again where they rest. If a thread cannot be made, or a worker has stopped
 * because a task is wrong, workers_run() will return the first worker as one that has stopped,
 * whose scheduler has the error and the reason.
 */
void workers_resume(struct workers *workers);

/*
 * Hands a connection of a predecessor to a worker, whatever the limits say, but for that of its
 * source. Returns 0, or why the connection was closed and counted as refused: SOURCES_REFUSED, or a
 * negative errno of worker_take(), which has been logged.
 */
int workers_adopt(struct workers *workers, const struct accepted *accepted);

/*
 * Says how many connections of a predecessor are still to come with workers_adopt(). They count as
 * open. While there are any, and sources are limited, no connection is accepted, because it could
 * take the place of one of them. Listeners that wait for room look again at each call: a connection
 * that has ended instead of being adopted leaves its place.
 */
void workers_expect(struct workers *workers, size_t coming);

/* Whether connections wait in mailboxes: worker_is_behind(). */
bool workers_are_behind(const struct workers *workers);

/* How many connections are open, including those in the mailboxes and those that are to come. */
size_t workers_load(const struct workers *workers);

/*
 * Gives every worker the same orders: worker_order(). WORKER_DRAIN comes after the listeners' end.
 */
void workers_order(struct workers *workers, unsigned orders, int error);

/*
 * Whether the run queues of all workers have turned since this function last returned true. If so,
 * orders the next pulse.
 */
bool workers_alive(struct workers *workers);

/*
 * How many milliseconds ago the pulse was ordered that a worker has not carried out yet; 0 if all
 * of them have.
 */
uint64_t workers_silent_ms(const struct workers *workers);

/* Whether so many connections are open that listeners wait for one to close. */
bool workers_are_full(const struct workers *workers);

/* What each worker has counted, in stats->worker. */
void workers_stats_each(const struct workers *workers, struct stats *stats);

/* The sums of all workers. With open == 0 they do not change before the next connection. */
void workers_stats(const struct workers *workers, struct stats *stats);

/* Closes all loops and frees the memory: worker_close(). */
void workers_close(struct workers *workers);

#endif
