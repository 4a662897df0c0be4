#include "stream/reaper.h"

#include <errno.h>
#include <limits.h>

static uint32_t reaper_now(const struct reaper *reaper)
{
    return (uint32_t)uv_now(reaper->conns->sched->loop);
}

/*
 * Looks in one turn, and ends in one turn: each may cost some system calls, and a crowd that has
 * come at once and fallen silent must not hold up other tasks.
 */
enum { REAPER_SLICE = 256 };

/* One turn. */
struct sweep {
    unsigned left;     /* of the slice */
    unsigned sleep_ms; /* how long the task may sleep then */
};

static unsigned reaper_left_ms(const struct conn *conn, unsigned limit_ms)
{
    const uint32_t passed_ms = conn_silent_ms(conn);
    return passed_ms < limit_ms ? limit_ms - passed_ms : 0;
}

static void sweep_sleep(struct sweep *sweep, unsigned most_ms)
{
    if (most_ms < sweep->sleep_ms)
        sweep->sleep_ms = most_ms;
}

/*
 * Returns the first connection of the list if its time is up, otherwise NULL; then the sleep lasts
 * no longer than its time still does. After a whole slice, the rest is for the next turn.
 */
static struct conn *reaper_next(const struct list *head, unsigned limit_ms, struct sweep *sweep)
{
    if (list_empty(head))
        return NULL;
    struct conn *conn = container_of(head->next, struct conn, link);
    unsigned left_ms = reaper_left_ms(conn, limit_ms);
    if (left_ms == 0 && sweep->left > 0) {
        sweep->left--;
        return conn;
    }
    sweep_sleep(sweep, left_ms);
    return NULL;
}

/* Ends those whose headers are late. One that is spared keeps its place, so others may be due. */
static void reaper_end_late(const struct reaper *reaper, struct sweep *sweep)
{
    struct list *head = &reaper->conns->headless;
    const unsigned limit_ms = reaper->conns->proxies.timeout_ms;
    for (struct list *link = head->next, *next; link != head; link = next) {
        struct conn *conn = container_of(link, struct conn, link);
        next = link->next;
        if (reaper_left_ms(conn, limit_ms) == 0 && sweep->left > 0) {
            sweep->left--;
            if (proxy_is_late(conn)) {
                proxy_end_late(conn);
                continue;
            }
        }
        sweep_sleep(sweep, reaper_left_ms(conn, limit_ms));
        if (!conn->spared)
            return; /* none behind this one is due earlier */
    }
}

/* Ends those whose time is up. Returns how long the task may sleep then. */
static unsigned reaper_end_due(const struct reaper *reaper)
{
    struct conns *conns = reaper->conns;
    struct conn *conn;
    struct sweep sweep = {.left = REAPER_SLICE,
                          .sleep_ms = reaper->idle_ms > 0 ? reaper->idle_ms : UINT_MAX};
    if (reaper->idle_ms > 0)
        while ((conn = reaper_next(conns_silent(conns), reaper->idle_ms, &sweep)) != NULL)
            if (conn_is_idle(conn, reaper->idle_ms))
                conn_shut(conn, -ETIME);
    while ((conn = reaper_next(&conns->lingering, REAPER_LINGER_MS, &sweep)) != NULL)
        conn_abort(conn, -ETIME);
    if (conns->proxies.timeout_ms > 0)
        reaper_end_late(reaper, &sweep);
    return sweep.sleep_ms;
}

/* Takes part in a round of looks, if there is one. Returns how long the task may sleep then. */
static unsigned reaper_look(struct reaper *reaper)
{
    struct conns *conns = reaper->conns;
    unsigned apart_ms = reaper->send_ms / CONN_LOOKS;
    uint32_t passed_ms = reaper_now(reaper) - reaper->looked_ms;
    if (passed_ms < apart_ms)
        return apart_ms - passed_ms;
    conns_look_begin(conns);
    for (int i = 0; i < REAPER_SLICE; i++) {
        struct conn *conn = conns_look_next(conns);
        if (conn == NULL)
            break;
        if (conn_is_stuck(conn))
            conn_reset(conn, -ECOMM);
    }
    if (!list_empty(&conns->due))
        return 0;
    uv_update_time(conns->sched->loop); /* the process may have been stopped during the looks */
    reaper->looked_ms = reaper_now(reaper);
    return apart_ms;
}

static struct yield reaper_sweep(struct task *task)
{
    struct reaper *reaper = container_of(task, struct reaper, task);
    struct conns *conns = reaper->conns;
    uv_update_time(conns->sched->loop); /* this pass of the loop may have begun long ago */
    unsigned sleep_ms = reaper_end_due(reaper);
    unsigned look_ms = reaper->send_ms > 0 ? reaper_look(reaper) : UINT_MAX;
    reaper->parked = list_empty(conns_silent(conns)) && list_empty(&conns->lingering) &&
                     list_empty(&conns->headless);
    if (reaper->parked)
        return yield_park(task, reaper_sweep);
    if (look_ms < sleep_ms)
        sleep_ms = look_ms;
    return yield_sleep(task, &reaper->timer, sleep_ms, reaper_sweep);
}

void reaper_start(struct reaper *reaper, struct conns *conns, unsigned idle_ms, unsigned send_ms)
{
    struct sched *sched = conns->sched;
    *reaper = (struct reaper){.conns = conns, .idle_ms = idle_ms, .send_ms = send_ms};
    reaper->looked_ms = reaper_now(reaper);
    timer_init(&reaper->timer, sched->loop, &sched->waker);
    uv_unref((uv_handle_t *)&reaper->timer.uv);
    sched_spawn(sched, &reaper->task, reaper_sweep);
}

void reaper_unpark(struct reaper *reaper)
{
    if (!reaper->parked)
        return;
    reaper->parked = false;
    sched_wake(reaper->conns->sched, &reaper->task);
}

void reaper_expect_header(struct reaper *reaper, const struct conn *conn)
{
    if (conn->headless && reaper->conns->headless.next == &conn->link)
        reaper_wake(reaper);
}

void reaper_wake(struct reaper *reaper)
{
    timer_wake(&reaper->timer);
}

void reaper_close(struct reaper *reaper)
{
    timer_close(&reaper->timer, NULL);
}
