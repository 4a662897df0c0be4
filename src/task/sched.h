/*
 * sched.h - the scheduler: a queue of tasks that can run, and what becomes of their yields.
 *
 * The queue is a FIFO of ours, run by one uv_idle_t that is active exactly while the queue is
 * not empty: an active idle handle makes the loop poll without sleeping. One turn runs the tasks
 * that were queued when it began; what is queued meanwhile waits until the loop has looked at
 * its sockets and timers again, so no task starves them.
 *
 * Sockets make one exception: libuv looks at them 1024 at a time, and at once again when all of
 * the 1024 were ready. A task that has been woken and not yet run would be reported to it again
 * then, with nobody waiting. So a turn is also due when SCHED_TURN_MAX tasks have been woken.
 *
 * A scheduler belongs to one loop and one thread; several can live in one process.
 */
#ifndef UVECHOD_SCHED_H
#define UVECHOD_SCHED_H

#include "task/task.h"

#include <stdbool.h>
#include <uv.h>

/*
 * How long a task sleeps instead of waiting for its socket while the kernel has no watch for that.
 * Nobody tells when there is one again.
 */
enum { SCHED_RETRY_MS = 100 };

/* Divides 1024, so that libuv finds nobody queued when it looks at the sockets again. */
enum { SCHED_TURN_MAX = 256 };

struct sched {
    struct waker waker; /* what sock_init and timer_init are given */
    uv_loop_t *loop;
    uv_idle_t idle;
    struct task *head; /* the run queue, in order of waking */
    struct task *tail;
    unsigned queued;        /* how many */
    bool running;           /* a turn is under way */
    size_t tasks;           /* spawned and not done yet */
    uv_timer_t retry;       /* wakes the tasks of unwatched */
    struct task *unwatched; /* would wait, but the kernel has no watch for their sockets */
    int error;              /* 0, or why the scheduler stopped */
    int reason;             /* the reason that a task gave when it stopped */
};

/* Sets up a scheduler on the loop, which must outlive it. Cannot fail. */
void sched_init(struct sched *sched, uv_loop_t *loop);

/* Queues a new task, to begin at first. Its frame stays the caller's. */
void sched_spawn(struct sched *sched, struct task *task, task_step *first);

/* Queues a task that waits for nothing else: one that is parked. */
void sched_wake(struct sched *sched, struct task *task);

/*
 * Runs tasks until none is left that could ever run, that is, until uv_run() returns. Returns 0,
 * or at once a negative errno for a mistake in a task, whose reason is in sched->reason:
 * -EINVAL for a reason that does not exist, -EBUSY for a wait that another task holds.
 */
int sched_run(struct sched *sched);

/* Ends the scheduler; its memory must last until the loop has run once more. */
void sched_close(struct sched *sched);

#endif
