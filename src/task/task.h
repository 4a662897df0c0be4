/*
 * task.h - the vocabulary of the scheduler: what a task is, and why it waits.
 *
 * A task runs until it must wait, and says why it waits. In the Python program that this comes
 * from, a task is a generator that says `yield 'recv', sock`; here it is a continuation: a step
 * (a function) that ends with `return yield_recv(task, sock, next_step)`. The locals that a
 * generator would keep across its yields live in a frame, the struct that embeds the task.
 *
 * Nothing here needs a loop or a scheduler: a test can call a step and look at what it returns.
 */
#ifndef UVECHOD_TASK_H
#define UVECHOD_TASK_H

#include "base/container_of.h" /* how a step finds its frame */

struct sock;
struct timer;
struct task;

enum yield_reason {
    YIELD_RECV,  /* until sock can be received from, or has an error to tell */
    YIELD_SEND,  /* until sock can be sent to, or has an error to tell */
    YIELD_SLEEP, /* until ms milliseconds have passed on timer */
    YIELD_PARK,  /* until somebody calls sched_wake() */
    YIELD_DONE,  /* for ever: the generator has returned */
};

/* What a step hands to the scheduler: the reason, and the resource that it waits for. */
struct yield {
    enum yield_reason reason;
    unsigned ms; /* YIELD_SLEEP only */
    union {
        struct sock *sock;   /* YIELD_RECV, YIELD_SEND */
        struct timer *timer; /* YIELD_SLEEP */
    };
};

typedef struct yield task_step(struct task *task);

struct task {
    task_step *resume; /* where it goes on: task.send(None) is task->resume(task) */
    struct task *next; /* in the run queue; NULL elsewhere */
};

/*
 * Where a task goes when its wait is over: the scheduler's run queue. sock and timer know only
 * this of the scheduler, which stands above them.
 */
struct waker {
    void (*wake)(struct waker *waker, struct task *task);
};

/*
 * A step ends by returning one of these: it notes in which step the task goes on, and names what
 * the task waits for. Being woken is a hint and no promise, so a step tries its call and yields
 * the same reason again on -EAGAIN.
 */
static inline struct yield yield_recv(struct task *task, struct sock *sock, task_step *next)
{
    task->resume = next;
    return (struct yield){.reason = YIELD_RECV, .sock = sock};
}

static inline struct yield yield_send(struct task *task, struct sock *sock, task_step *next)
{
    task->resume = next;
    return (struct yield){.reason = YIELD_SEND, .sock = sock};
}

static inline struct yield yield_sleep(struct task *task, struct timer *timer, unsigned ms,
                                       task_step *next)
{
    task->resume = next;
    return (struct yield){.reason = YIELD_SLEEP, .ms = ms, .timer = timer};
}

static inline struct yield yield_park(struct task *task, task_step *next)
{
    task->resume = next;
    return (struct yield){.reason = YIELD_PARK};
}

/* The task is not resumed again. Its frame is its owner's, to be freed in a close callback. */
static inline struct yield yield_done(struct task *task)
{
    task->resume = NULL;
    return (struct yield){.reason = YIELD_DONE};
}

#endif
