/*
 * refusals.h - the task that logs the connections which were refused because of their source: in
 * one line a second at most, however many there are.
 *
 * The first refusal wakes the task. A second later the task logs how many there have been, and
 * parks again.
 */
#ifndef UVECHOD_REFUSALS_H
#define UVECHOD_REFUSALS_H

#include "base/log.h"
#include "stream/sources.h"
#include "task/sched.h"
#include "task/task.h"
#include "task/timer.h"

#include <stdbool.h>

struct refusals {
    struct task task;
    struct timer timer; /* does not keep the loop running */
    struct sched *sched;
    struct log *log;
    const struct sources *sources; /* which count them */
    uint64_t told;                 /* of those, the refusals that have been logged */
    bool parked;                   /* there has been no refusal since the last line */
};

/* Spawns the task. sched, log and sources must outlive it. Cannot fail. */
void refusals_start(struct refusals *refusals, struct sched *sched, struct log *log,
                    const struct sources *sources);

/* Must be called after each refusal. */
void refusals_wake(struct refusals *refusals);

/*
 * Logs the refusals that have not been logged yet, and ends the task. The owner may free the memory
 * when the loop has run once more.
 */
void refusals_close(struct refusals *refusals);

#endif
