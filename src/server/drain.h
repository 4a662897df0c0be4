/*
 * drain.h - the end of the daemon: a task that waits until the connections end, and then ends those
 * that are left.
 *
 * The first signal begins the drain. Connections go on until they end by themselves. At the
 * deadline the daemon sends a FIN to each connection that is left. A second signal ends all
 * connections at once. The loops return when no task is left.
 */
#ifndef UVECHOD_DRAIN_H
#define UVECHOD_DRAIN_H

#include "base/log.h"
#include "server/workers.h"
#include "task/task.h"
#include "task/timer.h"

#include <stdbool.h>

struct drain {
    struct task task;
    struct timer timer; /* does not keep the loop running */
    struct workers *workers;
    struct log *log;
    unsigned deadline_ms;
    bool begun;
    bool at_once; /* the second signal has arrived */
};

/* Sets up the drain, which does not begin yet. workers and log must outlive it. Cannot fail. */
void drain_init(struct drain *drain, struct workers *workers, struct log *log,
                unsigned deadline_ms);

/* Spawns the task. Must be called once only, after the listeners have been stopped. */
void drain_begin(struct drain *drain);

/* Ends all connections in this turn. The drain must have begun. */
void drain_at_once(struct drain *drain);

/*
 * Closes the timer: the task is not resumed again. The owner may free the memory when the loop has
 * run once more.
 */
void drain_close(struct drain *drain);

#endif
