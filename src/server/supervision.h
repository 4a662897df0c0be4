/*
 * supervision.h - the tasks that tell the service manager how the daemon is.
 *
 * They sleep and yield like any other task. When the run queue is stuck, the watchdog task does not
 * run, the manager misses a ping and does what it does with daemons that hang. Before each ping the
 * task asks whether everything else has moved, too: the run queues of the other threads.
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
    /* Writes down what has been counted, with each report, for the case of a crash; or NULL. */
    void (*note)(struct supervised *supervised);
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
    bool parked;       /* nothing has changed, nor can it before a connection comes */
    bool draining;     /* each report also asks for more time */
    bool reloading;    /* RELOADING=1 was told, and READY=1 must follow */
    bool refused;      /* the last upgrade has failed */
    uint64_t told_open;
    uint64_t told_bytes;
};

/* The least time between two reports: a report costs nothing then, and still is up to date. */
enum { SUPERVISION_STATUS_MS = 5000 };

/* If something has not moved, the watchdog task asks again after this fraction of its period. */
enum { SUPERVISION_IMPATIENCE = 8 };

/*
 * Takes over systemd. Spawns the task that reports, if there is a manager to tell or something to
 * write down, and the one that pings, if there is a watchdog. The scheduler and supervised must
 * outlive the supervision. Cannot fail.
 */
void supervision_start(struct supervision *supervision, struct sched *sched,
                       struct supervised *supervised, const struct systemd *systemd);

/* Tells that everything listens: READY=1. */
void supervision_ready(struct supervision *supervision);

/*
 * Tells that an upgrade begins: RELOADING=1, and the time on CLOCK_MONOTONIC as systemd 253 and
 * later want it (sd_notify(3)). The manager then waits for READY=1, from the successor or by
 * supervision_stay(). Tells nothing while the daemon stops, or if that was told already.
 */
void supervision_reload(struct supervision *supervision);

/*
 * Must be called when the upgrade has failed: tells READY=1, so that the unit does not reload for
 * ever, and a status that says so until the next upgrade. Tells nothing while the daemon stops.
 */
void supervision_stay(struct supervision *supervision);

/* Must be called when a connection has come: a parked report task goes on. */
void supervision_wake(struct supervision *supervision);

/* Tells that the daemon is stopping and waits for its connections: STOPPING=1. */
void supervision_drain(struct supervision *supervision);

/* No task is resumed again. The memory is the owner's when the loop has run once more. */
void supervision_close(struct supervision *supervision);

#endif
