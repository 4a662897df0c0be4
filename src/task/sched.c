#include "task/sched.h"

#include "task/sock.h"
#include "task/timer.h"

#include <assert.h>
#include <errno.h>

static void on_idle(uv_idle_t *idle);

static void sched_push(struct sched *sched, struct task *task)
{
    assert(task->next == NULL && task != sched->tail); /* queued twice */
    if (sched->head != NULL) {
        sched->tail->next = task;
    } else {
        sched->head = task;
        (void)uv_idle_start(&sched->idle, on_idle); /* does nothing when active already */
    }
    sched->tail = task;
    sched->queued++;
}

static struct task *sched_pop(struct sched *sched)
{
    struct task *task = sched->head;
    sched->head = task->next;
    if (sched->head == NULL)
        sched->tail = NULL;
    task->next = NULL;
    sched->queued--;
    return task;
}

/*
 * Acts on a yield. Returns 0 when the task waits (or is done), 1 when what it asked for is there
 * and it can go on at once, or a negative errno when it cannot wait for this.
 */
static int sched_wait(struct sched *sched, struct task *task, struct yield why)
{
    switch (why.reason) {
    case YIELD_RECV:
        return sock_wait_recv(why.sock, task);
    case YIELD_SEND:
        return sock_wait_send(why.sock, task);
    case YIELD_SLEEP:
        return timer_wait(why.timer, task, why.ms);
    case YIELD_PARK:
        return 0;
    case YIELD_DONE:
        sched->tasks--;
        return 0;
    }
    return -EINVAL;
}

void sched_wake_unwatched(struct sched *sched)
{
    (void)uv_timer_stop(&sched->retry);
    while (sched->unwatched != NULL) {
        struct task *task = sched->unwatched;
        sched->unwatched = task->next;
        task->next = NULL;
        sched_push(sched, task);
    }
}

static void on_retry(uv_timer_t *retry)
{
    sched_wake_unwatched(container_of(retry, struct sched, retry));
}

/* Wakes the task after a while, as its event would: its step tries its call, and may wait again. */
static void sched_retry(struct sched *sched, struct task *task)
{
    task->next = sched->unwatched;
    sched->unwatched = task;
    if (!uv_is_active((uv_handle_t *)&sched->retry))
        (void)uv_timer_start(&sched->retry, on_retry, SCHED_RETRY_MS, 0);
}

/* The task cannot wait for this reason. */
static void sched_refuse(struct sched *sched, struct task *task, enum yield_reason reason, int rc)
{
    if (rc == -ENOSPC || rc == -ENOMEM) {
        sched_retry(sched, task);
        return;
    }
    sched->error = rc;
    sched->reason = (int)reason;
    uv_stop(sched->loop);
}

static void sched_step(struct sched *sched, struct task *task)
{
    struct yield why;
    int rc;
    do {
        why = task->resume(task);
        rc = sched_wait(sched, task, why);
    } while (rc > 0);
    if (rc < 0)
        sched_refuse(sched, task, why.reason, rc);
}

static void sched_turn(struct sched *sched)
{
    struct task *last = sched->tail;
    struct task *task;
    sched->running = true;
    do {
        task = sched_pop(sched);
        sched_step(sched, task);
    } while (task != last && sched->error == 0);
    sched->running = false;
    if (sched->head == NULL)
        (void)uv_idle_stop(&sched->idle);
}

static void on_idle(uv_idle_t *idle)
{
    sched_turn(container_of(idle, struct sched, idle));
}

static void on_wake(struct waker *waker, struct task *task)
{
    struct sched *sched = container_of(waker, struct sched, waker);
    sched_push(sched, task);
    if (sched->queued >= SCHED_TURN_MAX && !sched->running && sched->error == 0)
        sched_turn(sched);
}

void sched_init(struct sched *sched, uv_loop_t *loop)
{
    *sched = (struct sched){.waker.wake = on_wake, .loop = loop};
    (void)uv_idle_init(loop, &sched->idle); /* documented to return 0 always, as the next */
    (void)uv_timer_init(loop, &sched->retry);
}

void sched_spawn(struct sched *sched, struct task *task, task_step *first)
{
    *task = (struct task){.resume = first};
    sched->tasks++;
    sched_push(sched, task);
}

void sched_wake(struct sched *sched, struct task *task)
{
    sched_push(sched, task);
}

int sched_run(struct sched *sched)
{
    (void)uv_run(sched->loop, UV_RUN_DEFAULT);
    return sched->error;
}

void sched_close(struct sched *sched)
{
    uv_close((uv_handle_t *)&sched->idle, NULL);
    uv_close((uv_handle_t *)&sched->retry, NULL);
}
