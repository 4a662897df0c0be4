/*
 * timer.h - one uv_timer_t and the task that sleeps on it.
 *
 * The resource of yield_sleep(). A frame that sleeps embeds one; frames that never sleep do not
 * pay for it.
 */
#ifndef UVECHOD_TIMER_H
#define UVECHOD_TIMER_H

#include "task/task.h"

#include <uv.h>

struct timer {
    uv_timer_t uv;
    struct waker *waker;
    struct task *sleeper; /* NULL when no task sleeps */
};

/*
 * Sets up the timer on the loop; waker is given the task to wake. Cannot fail.
 * A sleep keeps uv_run() from returning; for a task that only looks after others, call uv_unref()
 * on timer->uv.
 */
void timer_init(struct timer *timer, uv_loop_t *loop, struct waker *waker);

/*
 * Wakes the task after ms milliseconds, counted from this call: brings the loop's time (uv_now) up
 * to date. Returns 0, -EBUSY if another task sleeps on this timer, or -EINVAL after timer_close().
 */
int timer_wait(struct timer *timer, struct task *task, unsigned ms);

/* Ends the sleep early. Does nothing if no task sleeps. */
void timer_wake(struct timer *timer);

/*
 * Closes the timer. A task that sleeps is forgotten, not woken. The memory is the owner's again
 * when closed is called or, if closed is NULL, when the loop has run once more.
 */
void timer_close(struct timer *timer, uv_close_cb closed);

#endif
