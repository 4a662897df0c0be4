/* handles.c - the handles of the simulated libuv, except those of descriptors. */
#include "kernel.h"
#include "loop.h"
#include "loops.h"
#include "memory.h"

#include <errno.h>
#include <string.h>

/* ---- rosters ---- */

static void roster_grow(struct roster *roster)
{
    if (roster->count < roster->room)
        return;
    size_t room = roster->room > 0 ? 2 * roster->room : 16;
    uv_handle_t **list = memory_own(room, sizeof(uv_handle_t *));
    for (size_t i = 0; i < roster->count; i++)
        list[i] = roster->list[i];
    memory_disown(roster->list);
    roster->list = list;
    roster->room = room;
}

static void roster_place(struct roster *roster, uv_handle_t *handle, uintptr_t at)
{
    roster->list[at] = handle;
    memcpy(&handle->u.reserved[roster->slot], &at, sizeof at);
}

void roster_add(struct roster *roster, uv_handle_t *handle)
{
    roster_grow(roster);
    roster_place(roster, handle, roster->count++);
}

void roster_remove(struct roster *roster, uv_handle_t *handle)
{
    uintptr_t at;
    memcpy(&at, &handle->u.reserved[roster->slot], sizeof at);
    roster_place(roster, roster->list[--roster->count], at);
}

struct roster *loop_roster(struct loop *loop, uv_handle_type type)
{
    switch ((int)type) {
    case UV_IDLE:
        return &loop->idles;
    case UV_TIMER:
        return &loop->timers;
    case UV_POLL:
        return &loop->polls;
    case UV_ASYNC:
        return &loop->asyncs;
    default:
        return &loop->signals;
    }
}

/* ---- the life of a handle ---- */

void handle_check(const void *handle)
{
    if ((((const uv_handle_t *)handle)->flags & (HANDLE_CLOSING | HANDLE_CLOSED)) != 0)
        world_fail("a handle is used that is closing or closed");
}

void handle_init(uv_loop_t *loop, void *handle, uv_handle_type type)
{
    uv_handle_t *base = handle;
    base->loop = loop;
    base->type = type;
    base->flags = HANDLE_REF;
    base->next_closing = NULL;
    roster_add(loop_roster(loop_of(loop), type), base);
}

/* The loop counts the handles that keep it running. */
void handle_set(void *handle, unsigned flags)
{
    uv_handle_t *base = handle;
    unsigned both = HANDLE_ACTIVE | HANDLE_REF;
    bool before = (base->flags & both) == both;
    bool after = (flags & both) == both;
    base->loop->active_handles += (unsigned)after - (unsigned)before;
    base->flags = flags;
}

void handle_start(void *handle)
{
    handle_set(handle, ((uv_handle_t *)handle)->flags | HANDLE_ACTIVE);
}

void handle_stop(void *handle)
{
    handle_set(handle, ((uv_handle_t *)handle)->flags & ~(unsigned)HANDLE_ACTIVE);
}

bool handle_is_active(const void *handle)
{
    return (((const uv_handle_t *)handle)->flags & HANDLE_ACTIVE) != 0;
}

int uv_is_active(const uv_handle_t *handle)
{
    return handle_is_active(handle);
}

void uv_ref(uv_handle_t *handle)
{
    handle_set(handle, handle->flags | HANDLE_REF);
}

void uv_unref(uv_handle_t *handle)
{
    handle_set(handle, handle->flags & ~(unsigned)HANDLE_REF);
}

void uv_close(uv_handle_t *handle, uv_close_cb close_cb)
{
    handle_check(handle);
    if (handle->type == UV_POLL)
        poll_disarm((uv_poll_t *)handle);
    handle_stop(handle);
    handle->flags |= HANDLE_CLOSING;
    handle->close_cb = close_cb;
    handle->next_closing = handle->loop->closing_handles;
    handle->loop->closing_handles = handle;
}

void loop_run_closing(struct loop *loop)
{
    uv_handle_t *handle = loop->uv->closing_handles;
    loop->uv->closing_handles = NULL;
    while (handle != NULL) {
        uv_handle_t *next = handle->next_closing;
        roster_remove(loop_roster(loop, handle->type), handle);
        handle->flags |= HANDLE_CLOSED;
        if (handle->close_cb != NULL)
            handle->close_cb(handle);
        handle = next;
    }
}

static void roster_check_free(const struct roster *roster, const char *memory, size_t bytes)
{
    for (size_t i = 0; i < roster->count; i++) {
        const char *handle = (const char *)roster->list[i];
        if (handle >= memory && handle < memory + bytes)
            world_fail("memory is freed with a handle in it that is not closed");
    }
}

void loop_check_free(const void *memory, size_t bytes)
{
    for (unsigned i = 0; i < loops.count; i++) {
        const struct loop *loop = loop_of(loops.list[i]);
        roster_check_free(&loop->idles, memory, bytes);
        roster_check_free(&loop->timers, memory, bytes);
        roster_check_free(&loop->polls, memory, bytes);
        roster_check_free(&loop->asyncs, memory, bytes);
        roster_check_free(&loop->signals, memory, bytes);
    }
}

/* ---- idle handles ---- */

int uv_idle_init(uv_loop_t *loop, uv_idle_t *idle)
{
    handle_init(loop, idle, UV_IDLE);
    return 0;
}

/* Turns are counted for the metrics alone. */
int uv_prepare_init(uv_loop_t *loop, uv_prepare_t *prepare)
{
    (void)loop;
    (void)prepare;
    world_fail("the daemon counts turns, and serves no metrics");
}

int uv_prepare_start(uv_prepare_t *prepare, uv_prepare_cb prepare_cb)
{
    (void)prepare;
    (void)prepare_cb;
    world_fail("the daemon counts turns, and serves no metrics");
}

int uv_idle_start(uv_idle_t *idle, uv_idle_cb idle_cb)
{
    handle_check(idle);
    if (handle_is_active(idle))
        return 0;
    idle->idle_cb = idle_cb;
    handle_start(idle);
    return 0;
}

int uv_idle_stop(uv_idle_t *idle)
{
    handle_stop(idle);
    return 0;
}

void loop_run_idles(struct loop *loop)
{
    for (size_t i = 0; i < loop->idles.count; i++) {
        uv_idle_t *idle = (uv_idle_t *)loop->idles.list[i];
        if (handle_is_active(idle))
            idle->idle_cb(idle);
    }
    for (size_t i = 0; i < loop->idles.count; i++)
        if ((loop->idles.list[i]->flags & HANDLE_CLOSING) == 0)
            invariants_after_turn(loop->idles.list[i], handle_is_active(loop->idles.list[i]));
    for (size_t i = 0; i < loop->timers.count; i++)
        if (handle_is_active(loop->timers.list[i]))
            invariants_timer((uv_timer_t *)loop->timers.list[i]);
}

/* ---- check handles: only --busy-poll has them, without which every daemon here runs ---- */

int uv_check_init(uv_loop_t *loop, uv_check_t *check)
{
    (void)loop, (void)check;
    world_fail("a check handle is made, which the simulation does not know");
}

int uv_check_start(uv_check_t *check, uv_check_cb check_cb)
{
    (void)check, (void)check_cb;
    world_fail("a check handle is started, which the simulation does not know");
}

/* ---- timers ---- */

int uv_timer_init(uv_loop_t *loop, uv_timer_t *timer)
{
    handle_init(loop, timer, UV_TIMER);
    return 0;
}

int uv_timer_start(uv_timer_t *timer, uv_timer_cb timer_cb, uint64_t ms, uint64_t repeat)
{
    if ((timer->flags & (HANDLE_CLOSING | HANDLE_CLOSED)) != 0 || timer_cb == NULL)
        return -EINVAL;
    if (repeat != 0)
        world_fail("a timer repeats, which the simulation does not know");
    timer->timer_cb = timer_cb;
    timer->timeout = timer->loop->time + ms;
    timer->start_id = loop_of(timer->loop)->timer_ids++;
    handle_start(timer);
    return 0;
}

int uv_timer_stop(uv_timer_t *timer)
{
    handle_stop(timer);
    return 0;
}

static bool timer_precedes(const uv_timer_t *a, const uv_timer_t *b)
{
    return a->timeout != b->timeout ? a->timeout < b->timeout : a->start_id < b->start_id;
}

static uv_timer_t *loop_first_timer_before(const struct loop *loop, uint64_t id)
{
    uv_timer_t *first = NULL;
    for (size_t i = 0; i < loop->timers.count; i++) {
        uv_timer_t *timer = (uv_timer_t *)loop->timers.list[i];
        if (handle_is_active(timer) && timer->start_id < id &&
            (first == NULL || timer_precedes(timer, first)))
            first = timer;
    }
    return first;
}

uv_timer_t *loop_first_timer(const struct loop *loop)
{
    return loop_first_timer_before(loop, UINT64_MAX);
}

void loop_run_timers(struct loop *loop)
{
    uint64_t end = loops.timers_batch ? loop->timer_ids : UINT64_MAX;
    uv_timer_t *timer;
    while ((timer = loop_first_timer_before(loop, end)) != NULL &&
           timer->timeout <= loop->uv->time) {
        handle_stop(timer);
        timer->timer_cb(timer);
    }
}

bool loop_has_timer_within(const uv_loop_t *uv, uint64_t ms)
{
    const uv_timer_t *timer = loop_first_timer(loop_of(uv));
    return timer != NULL && timer->timeout <= world_now() / 1000 + ms;
}

/* ---- signals ---- */

int uv_signal_init(uv_loop_t *loop, uv_signal_t *handle)
{
    handle_init(loop, handle, UV_SIGNAL);
    return 0;
}

int uv_signal_start(uv_signal_t *handle, uv_signal_cb signal_cb, int signum)
{
    handle_check(handle);
    handle->signal_cb = signal_cb;
    handle->signum = signum;
    handle_start(handle);
    return 0;
}
