#include "task/timer.h"

#include <errno.h>

void timer_init(struct timer *timer, uv_loop_t *loop, struct waker *waker)
{
    (void)uv_timer_init(loop, &timer->uv); /* documented to return 0 always */
    timer->waker = waker;
    timer->sleeper = NULL;
}

static void on_timer(uv_timer_t *uv)
{
    timer_wake(container_of(uv, struct timer, uv));
}

int timer_wait(struct timer *timer, struct task *task, unsigned ms)
{
    if (timer->sleeper != NULL)
        return -EBUSY;
    uv_update_time(timer->uv.loop); /* this pass of the loop may have begun long ago */
    int rc = uv_timer_start(&timer->uv, on_timer, ms, 0);
    if (rc == 0)
        timer->sleeper = task;
    return rc;
}

void timer_wake(struct timer *timer)
{
    struct task *task = timer->sleeper;
    if (task == NULL)
        return;
    timer->sleeper = NULL;
    (void)uv_timer_stop(&timer->uv);
    timer->waker->wake(timer->waker, task);
}

void timer_close(struct timer *timer, uv_close_cb closed)
{
    timer->sleeper = NULL;
    uv_close((uv_handle_t *)&timer->uv, closed);
}
