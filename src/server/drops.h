/*
 * drops.h - the task that logs dropped datagrams: in one line a second at most for each loop,
 * however many there are.
 *
 * The first drop wakes the task. A second later the task logs how many there have been, and parks
 * again: refusals.h does the same of connections.
 */
#ifndef UVECHOD_DROPS_H
#define UVECHOD_DROPS_H

#include "base/log.h"
#include "stream/responder.h"
#include "task/sched.h"
#include "task/task.h"
#include "task/timer.h"

#include <stdbool.h>

struct drops {
    struct responders_watcher watcher; /* for the responders of the loop */
    struct task task;
    struct timer timer; /* does not keep the loop running */
    struct sched *sched;
    struct log *log;
    const struct responders *responders; /* which count them */
    uint64_t told;                       /* of those, the drops that have been logged */
    bool parked;                         /* there has been no drop since the last line */
};

/*
 * Spawns the task, for responders that drops->watcher is given to. sched, log and responders must
 * outlive it. Cannot fail.
 */
void drops_start(struct drops *drops, struct sched *sched, struct log *log,
                 const struct responders *responders);

/*
 * Logs the drops that have not been logged yet, and ends the task. The owner may free the memory
 * when the loop has run once more.
 */
void drops_close(struct drops *drops);

#endif
