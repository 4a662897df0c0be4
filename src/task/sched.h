/*
 * sched.h - the scheduler: a queue of tasks that can run, and what becomes of their yields.
 *
 * The queue is a FIFO of ours, run by one uv_idle_t that is active exactly while the queue is
 * not empty: an active idle handle makes the loop poll without sleeping. One turn runs the tasks
 * that were queued when it began; what is queued meanwhile waits until the loop has looked at
 * its sockets and timers again, so no task starves them.
 *
 * There is one exception. libuv asks epoll for 1024 sockets at a time, and asks again at once when
 * all 1024 were ready. The socket of a task that has been woken and has not run yet would then be
 * reported again, although no task waits for it. So a turn also begins when SCHED_TURN_MAX tasks
 * have been woken.
 *
 * A scheduler belongs to one loop and one thread; several can live in one process.
 */
#ifndef UVECHOD_SCHED_H
#define UVECHOD_SCHED_H

#include "task/task.h"

#include <stdbool.h>
#include <uv.h>

/*
 * While the kernel has no watch for a task's socket, the task sleeps for so long instead of waiting
 * for the socket. The kernel does not tell when there is a watch again.
 */
enum { SCHED_RETRY_MS = 100 };

/* Divides 1024, so that no task is queued any more when libuv asks epoll again. */
enum { SCHED_TURN_MAX = 256 };

struct sched {
    struct waker waker; /* what sock_init and timer_init are given */
    uv_loop_t *loop;
    uv_idle_t idle;
    struct task *head; /* the run queue, in order of waking */
    struct task *tail;
    unsigned queued;        /* how many tasks are in it */
    bool running;           /* a turn is under way */
    size_t tasks;           /* spawned and not done yet */
    uv_timer_t retry;       /* wakes the tasks of unwatched */
    struct task *unwatched; /* the tasks for whose sockets the kernel has no watch */
    int error;              /* 0, or why the scheduler stopped */
    int reason;             /* the reason that a task gave when it stopped */
};

/* Sets up a scheduler on the loop, which must outlive it. Cannot fail. */
void sched_init(struct sched *sched, uv_loop_t *loop);

/* Queues a new task that begins with the step first. Its frame stays the caller's. */
void sched_spawn(struct sched *sched, struct task *task, task_step *first);

/* Queues a task that is parked. It must wait for nothing else, and must not be queued already. */
void sched_wake(struct sched *sched, struct task *task);

/*
 * Queues the tasks for whose sockets the kernel has no watch, before SCHED_RETRY_MS have passed.
 * Their steps must expect that, as they expect every wake.
 */
void sched_wake_unwatched(struct sched *sched);

/* Whether tasks are queued. After a poll: whether it has found something for a task. */
static inline bool sched_is_busy(const struct sched *sched)
{
    return sched->head != NULL;
}

/*
 * Runs tasks until none is left that could ever run, that is, until uv_run() returns. Returns 0.
 * For a mistake in a task it returns at once, with the reason that the task gave in sched->reason,
 * and -EINVAL for a reason that does not exist, or -EBUSY when another task waits for the same
 * already.
 */
int sched_run(struct sched *sched);

/* Ends the scheduler; its memory must last until the loop has run once more. */
void sched_close(struct sched *sched);

#endif
