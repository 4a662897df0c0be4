/*
 * supervision.h - the tasks that tell the service manager how the daemon is.
 *
 * They sleep and yield like any other task, so a run queue that is stuck is a ping that is
 * missed: the manager then does what it does for daemons that hang.
 */
#ifndef UVECHOD_SUPERVISION_H
#define UVECHOD_SUPERVISION_H

#include "conn.h"
#include "systemd.h"
#include "task.h"
#include "timer.h"

#include <stdbool.h>
#include <stdint.h>

struct supervision {
    struct conns *conns; /* whose figures are told */
    struct systemd systemd;
    struct task watchdog;
    struct task status;
    struct timer watchdog_timer; /* neither keeps the loop running */
    struct timer status_timer;
    bool untold;   /* that everything listens: there was no room for it */
    bool parked;   /* nothing has changed, and nothing can before a connection comes */
    bool draining; /* each report asks for more time, too */
    size_t told_open;
    uint64_t told_bytes;
};

/* The least time between two reports: long enough to cost nothing, short enough to be seen. */
enum { SUPERVISION_STATUS_MS = 5000 };

/*
 * Takes over systemd, and spawns the tasks that somebody wants on conns->sched. The caller has
 * set conns. Cannot fail.
 */
void supervision_start(struct supervision *supervision, const struct systemd *systemd);

/* Everything listens. */
void supervision_ready(struct supervision *supervision);

/* A connection has come. */
void supervision_wake(struct supervision *supervision);

/* The daemon is stopping and waits for its connections. */
void supervision_drain(struct supervision *supervision);

/* No task is resumed again. The memory is the owner's when the loop has run once more. */
void supervision_close(struct supervision *supervision);

#endif
