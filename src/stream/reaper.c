#include "stream/reaper.h"

#include <errno.h>
#include <limits.h>

/*
 * Returns the first connection of the list if its time is up, otherwise NULL; then *sleep_ms is
 * lowered to how long its time still lasts.
 */
static struct conn *reaper_next(const struct list *head, unsigned limit_ms, unsigned *sleep_ms)
{
    if (list_empty(head))
        return NULL;
    struct conn *conn = container_of(head->next, struct conn, link);
    uint32_t passed_ms = conn_silent_ms(conn);
    if (passed_ms >= limit_ms)
        return conn;
    unsigned left_ms = limit_ms - passed_ms;
    if (left_ms < *sleep_ms)
        *sleep_ms = left_ms;
    return NULL;
}

static struct yield reaper_sweep(struct task *task)
{
    struct reaper *reaper = container_of(task, struct reaper, task);
    struct conns *conns = reaper->conns;
    struct conn *conn;
    unsigned sleep_ms = reaper->idle_ms > 0 ? reaper->idle_ms : UINT_MAX;
    uv_update_time(conns->sched->loop); /* this pass of the loop may have begun long ago */
    if (reaper->idle_ms > 0)
        while ((conn = reaper_next(&conns->active, reaper->idle_ms, &sleep_ms)) != NULL)
            if (conn_is_idle(conn, reaper->idle_ms))
                conn_shut(conn, -ETIME);
    while ((conn = reaper_next(&conns->lingering, REAPER_LINGER_MS, &sleep_ms)) != NULL)
        conn_abort(conn, -ETIME);
    reaper->parked = list_empty(&conns->active) && list_empty(&conns->lingering);
    if (reaper->parked)
        return yield_park(task, reaper_sweep);
    return yield_sleep(task, &reaper->timer, sleep_ms, reaper_sweep);
}

void reaper_start(struct reaper *reaper, struct conns *conns, unsigned idle_ms)
{
    struct sched *sched = conns->sched;
    reaper->conns = conns;
    reaper->idle_ms = idle_ms;
    timer_init(&reaper->timer, sched->loop, &sched->waker);
    uv_unref((uv_handle_t *)&reaper->timer.uv);
    reaper->parked = false;
    sched_spawn(sched, &reaper->task, reaper_sweep);
}

void reaper_unpark(struct reaper *reaper)
{
    if (!reaper->parked)
        return;
    reaper->parked = false;
    sched_wake(reaper->conns->sched, &reaper->task);
}

void reaper_wake(struct reaper *reaper)
{
    timer_wake(&reaper->timer);
}

void reaper_close(struct reaper *reaper)
{
    timer_close(&reaper->timer, NULL);
}
