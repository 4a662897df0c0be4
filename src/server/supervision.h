/*
 * supervision.h - the tasks that tell the service manager how the daemon is.
 *
 * They sleep and yield like any other task, so a run queue that is stuck is a ping that is
 * missed: the manager then does what it does for daemons that hang. What else must move, such as
 * the run queues of other threads, is asked for before each ping.
 */
#ifndef UVECHOD_SUPERVISION_H
#define UVECHOD_SUPERVISION_H

#include "server/stats.h"
#include "task/sched.h"
#include "os/systemd.h"
#include "task/task.h"
#include "task/timer.h"

#include <stdbool.h>
#include <stdint.h>

/* What the supervision asks. Whoever is supervised embeds it. */
struct supervised {
    /* What is to be told. */
    void (*stats)(struct supervised *supervised, struct stats *stats);
    /* Whether everything has moved since the last call that returned true. */
    bool (*alive)(struct supervised *supervised);
};

struct supervision {
    struct sched *sched;
    struct supervised *supervised;
    struct systemd systemd;
    struct task watchdog;
    struct task status;
    struct timer watchdog_timer; /* neither keeps the loop running */
    struct timer status_timer;
    bool ready_unsent; /* READY=1 did not fit into the queue of the manager */
    bool parked;       /* nothing has changed, and nothing can before a connection comes */
    bool draining;     /* each report asks for more time, too */
    size_t told_open;
    uint64_t told_bytes;
};

/* The least time between two reports: long enough to cost nothing, short enough to be seen. */
enum { SUPERVISION_STATUS_MS = 5000 };

/* How much sooner than after a ping is looked again when not everything has moved. */
enum { SUPERVISION_IMPATIENCE = 8 };

/*
 * Takes over systemd, and spawns the tasks that somebody wants on the scheduler. It and supervised
 * must outlive the supervision. Cannot fail.
 */
void supervision_start(struct supervision *supervision, struct sched *sched,
                       struct supervised *supervised, const struct systemd *systemd);

/* Everything listens. */
void supervision_ready(struct supervision *supervision);

/* A connection has come. */
void supervision_wake(struct supervision *supervision);

/* The daemon is stopping and waits for its connections. */
void supervision_drain(struct supervision *supervision);

/* No task is resumed again. The memory is the owner's when the loop has run once more. */
void supervision_close(struct supervision *supervision);

#endif
