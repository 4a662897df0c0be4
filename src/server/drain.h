/*
 * drain.h - the end of the daemon: the task that waits for the connections, and ends what is left.
 *
 * The first signal begins the drain. Connections go on until they end by themselves, or until the
 * deadline, at which each of them says goodbye. A second signal ends them at once. The loops return
 * when no task is left.
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
    bool at_once; /* the second signal has come */
};

/* Sets up what drain_begin() needs. The workers and the log must outlive it. Cannot fail. */
void drain_init(struct drain *drain, struct workers *workers, struct log *log,
                unsigned deadline_ms);

/* Spawns the task. To be called once, after the listeners have been stopped. */
void drain_begin(struct drain *drain);

/* Ends all connections in this turn. The drain has begun. */
void drain_at_once(struct drain *drain);

/* The task is not resumed again. The memory is the owner's when the loop has run once more. */
void drain_close(struct drain *drain);

#endif
