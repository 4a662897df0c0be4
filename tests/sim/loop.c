#include "loop.h"

#include "fibers.h"
#include "kernel.h"
#include "lives.h"
#include "loops.h"
#include "memory.h"

#include <errno.h>
#include <string.h>

/* Passes that neither sleep nor get on: more than a crowd that is told lies needs. */
enum { LOOP_SPINS_MAX = 400 };

/* How long a history may last. None needs an hour, so a longer one does not come to its end. */
static const uint64_t history_us_max = UINT64_C(6) * 3600 * 1000000;

/* How often the sleep of a loop is ended by an event that is none. Of 10,000. */
enum { LOOP_FALSE_WAKES = 1500, LOOP_FALSE_WAKE_US = 200000 };

struct loops loops;

/* ---- open and close ---- */

static void loop_set_up(struct loop *loop, uv_loop_t *uv)
{
    *loop = (struct loop){
        .uv = uv, .told_fd = -1, .armed.slot = 1, .progress = UINT64_MAX, .wakes_us = UINT64_MAX};
    void *data = uv->data;
    memset(uv, 0, sizeof *uv);
    uv->data = data;
    uv->internal_fields = loop;
    uv->time = world_now() / 1000;
}

int uv_loop_init(uv_loop_t *uv)
{
    int epoll = kernel_open_loop(uv);
    if (epoll < 0)
        return epoll;
    struct loop *loop = memory_own(1, sizeof *loop);
    loop_set_up(loop, uv);
    uv->backend_fd = epoll;
    if (loops.count == sizeof loops.list / sizeof loops.list[0])
        world_fail("more loops than the simulation can hold");
    loops.list[loops.count++] = uv;
    return 0;
}

unsigned loop_number(const uv_loop_t *uv)
{
    unsigned at = 0;
    while (loops.list[at] != uv)
        at++;
    return at;
}

static void loop_forget(const uv_loop_t *uv)
{
    unsigned at = loop_number(uv);
    for (loops.count--; at < loops.count; at++)
        loops.list[at] = loops.list[at + 1];
}

static void roster_free(struct roster *roster)
{
    memory_disown(roster->list);
}

static void loop_free(struct loop *loop)
{
    roster_free(&loop->idles);
    roster_free(&loop->timers);
    roster_free(&loop->polls);
    roster_free(&loop->asyncs);
    roster_free(&loop->signals);
    roster_free(&loop->armed);
    loop_free_polls(loop);
    memory_disown(loop);
}

int uv_loop_close(uv_loop_t *uv)
{
    struct loop *loop = loop_of(uv);
    if (loop->idles.count + loop->timers.count + loop->polls.count + loop->asyncs.count +
            loop->signals.count >
        0)
        return UV_EBUSY;
    loop_forget(uv);
    kernel_close_loop(uv);
    loop_free(loop);
    uv->internal_fields = NULL;
    return 0;
}

void loops_drop(void)
{
    while (loops.count > 0)
        loop_free(loop_of(loops.list[--loops.count]));
}

int uv_backend_fd(const uv_loop_t *uv)
{
    return uv->backend_fd;
}

uint64_t uv_now(const uv_loop_t *uv)
{
    return uv->time;
}

uint64_t uv_hrtime(void)
{
    return world_now() * 1000;
}

void uv_update_time(uv_loop_t *uv)
{
    uv->time = world_now() / 1000;
}

void uv_stop(uv_loop_t *uv)
{
    uv->stop_flag = 1;
}

/* ---- signals ---- */

/* Takes the signals that the kernel has for the process, if this loop handles signals. */
static bool loop_has_signal(struct loop *loop)
{
    bool handles = false;
    for (size_t i = 0; i < loop->signals.count; i++)
        handles = handles || handle_is_active(loop->signals.list[i]);
    int signum;
    while (handles && loop->caught_count < LOOP_SIGNALS_MAX && (signum = kernel_take_signal()) != 0)
        loop->caught[loop->caught_count++] = signum;
    return loop->caught_count > 0;
}

static void loop_run_signals(struct loop *loop)
{
    for (unsigned caught = 0; caught < loop->caught_count; caught++) {
        int signum = loop->caught[caught];
        world_trace("signal %d", signum);
        for (size_t i = 0; i < loop->signals.count; i++) {
            uv_signal_t *handle = (uv_signal_t *)loop->signals.list[i];
            if (handle_is_active(handle) && handle->signum == signum)
                handle->signal_cb(handle, signum);
        }
    }
    loop->caught_count = 0;
}

/* ---- sleep ---- */

static bool loop_may_go(void *arg)
{
    struct loop *loop = arg;
    return world_now() >= loop->wakes_us || loop_has_async(loop) || loop_has_signal(loop) ||
           loop_has_event(loop);
}

/* Sleeps until something happens or the time has come. Returns whether chance has woken the loop
 * for no reason. */
static bool loop_sleep(struct loop *loop, uint64_t deadline_us)
{
    uint64_t false_us = deadline_us;
    if (world_has(FAULT_SPURIOUS) && chance_of(&loops.order, LOOP_FALSE_WAKES))
        false_us = world_now() + chance_below(&loops.order, LOOP_FALSE_WAKE_US);
    loop->wakes_us = false_us < deadline_us ? false_us : deadline_us;
    fiber_wait(loop_may_go, loop);
    bool woken = world_now() >= loop->wakes_us && loop->wakes_us < deadline_us;
    loop->wakes_us = UINT64_MAX;
    loop->spins = 0;
    return woken;
}

/* No thread can go on: all loops sleep. */
static void loops_stuck(void)
{
    if (life_ends())
        life_over();
    invariants_before_sleep();
    uint64_t next = world_next();
    for (unsigned i = 0; i < loops.count; i++)
        if (loop_of(loops.list[i])->wakes_us < next)
            next = loop_of(loops.list[i])->wakes_us;
    if (next == UINT64_MAX)
        world_fail("all loops sleep for ever");
    if (world_lasted() > history_us_max)
        world_fail("the end does not come");
    world_run_until(next);
}

/* ---- a pass ---- */

static uint64_t poll_deadline(int timeout_ms)
{
    if (timeout_ms < 0)
        return UINT64_MAX;
    /* The kernel's timers are late by some microseconds. */
    uint64_t late_us = timeout_ms > 0 ? chance_below(&loops.order, 60) : 0;
    return world_now() + (uint64_t)timeout_ms * 1000 + late_us;
}

/* Waits for events. Returns whether there are any; false when the time is over. */
static bool loop_wait(struct loop *loop, bool first, uint64_t deadline_us)
{
    bool lie = false;
    for (;;) {
        loop_gather(loop, first, lie);
        if (loop_has_signal(loop) || loop->batch_count > 0)
            return true;
        if (world_now() >= deadline_us)
            return false;
        lie = loop_sleep(loop, deadline_us);
    }
}

static void loop_poll(struct loop *loop, int timeout_ms)
{
    world_spend();
    loop_check_watches(loop);
    uint64_t deadline_us = poll_deadline(timeout_ms);
    for (unsigned round = 0; round < LOOP_ROUNDS_MAX; round++) {
        if (round > 0)
            fiber_wait(NULL, NULL);
        bool any = loop_wait(loop, round == 0, deadline_us);
        uv_update_time(loop->uv);
        if (!any)
            return;
        bool full = loop_batch_is_full(loop);
        unsigned told = loop_dispatch(loop);
        if (loop->caught_count > 0) {
            loop_run_signals(loop);
            return;
        }
        if (told > 0 && !full)
            return;
        if (told > 0)
            deadline_us = 0; /* there may be more events */
    }
}

static bool loop_is_alive(const uv_loop_t *uv)
{
    return uv->active_handles > 0 || uv->closing_handles != NULL;
}

static bool loop_is_idle(const struct loop *loop)
{
    for (size_t i = 0; i < loop->idles.count; i++)
        if (handle_is_active(loop->idles.list[i]))
            return true;
    return false;
}

/* How many milliseconds a poll may wait, or -1: for ever. */
static int loop_timeout(const struct loop *loop)
{
    const uv_loop_t *uv = loop->uv;
    if (uv->stop_flag != 0 || uv->active_handles == 0 || uv->closing_handles != NULL ||
        loop_is_idle(loop))
        return 0;
    const uv_timer_t *timer = loop_first_timer(loop);
    if (timer == NULL)
        return -1;
    if (timer->timeout <= uv->time)
        return 0;
    uint64_t ms = timer->timeout - uv->time;
    return ms < INT32_MAX ? (int)ms : INT32_MAX;
}

static void loop_count_pass(struct loop *loop)
{
    loops.passes++;
    uint64_t progress = world_progressed();
    loop->spins = progress == loop->progress ? loop->spins + 1 : 0;
    loop->progress = progress;
    if (loop->spins > LOOP_SPINS_MAX)
        world_fail("a loop spins: %u passes without sleep or progress", loop->spins);
}

static void loop_time_out(struct loop *loop)
{
    uv_update_time(loop->uv);
    loop_run_timers(loop);
}

static void loop_pass(struct loop *loop, uv_run_mode mode)
{
    fiber_wait(NULL, NULL);
    life_point();
    loop_count_pass(loop);
    if (!loops.timers_last)
        loop_time_out(loop);
    loop_run_idles(loop);
    loop_poll(loop, mode == UV_RUN_NOWAIT ? 0 : loop_timeout(loop));
    loop_run_closing(loop);
    if (loops.timers_last)
        loop_time_out(loop);
}

int uv_run(uv_loop_t *uv, uv_run_mode mode)
{
    struct loop *loop = loop_of(uv);
    bool alive = loop_is_alive(uv);
    if (mode == UV_RUN_ONCE)
        world_fail("UV_RUN_ONCE, which the simulation does not know");
    if (!alive)
        uv_update_time(uv);
    else if (loops.timers_last && mode == UV_RUN_DEFAULT && uv->stop_flag == 0)
        loop_time_out(loop);
    while (alive && uv->stop_flag == 0) {
        loop_pass(loop, mode);
        alive = loop_is_alive(uv);
        if (mode == UV_RUN_NOWAIT)
            break;
    }
    uv->stop_flag = 0;
    return alive;
}

/* ---- a history ---- */

uint64_t loop_passes(void)
{
    return loops.passes;
}

uint64_t loop_arms(void)
{
    return loops.arms;
}

uint64_t loop_errors(void)
{
    return loops.errors;
}

enum { STREAM_LOOPS = 1 << 29, STREAM_FIBERS, STREAM_ROUNDS };

void loops_begin(void)
{
    struct chance chance = world_chance(STREAM_LOOPS);
    loops.count = 0;
    loops.timers_last = chance_below(&chance, 2) != 0;
    loops.timers_batch = loops.timers_last && chance_below(&chance, 2) != 0;
    loops.order = chance;
    chance = world_chance(STREAM_ROUNDS);
    loops.few = (unsigned)chance_between(&chance, 1, LOOP_EVENTS_FEW);
    fibers_begin(world_chance(STREAM_FIBERS), loops_stuck);
}

void loops_end(void)
{
    if (loops.count > 0)
        world_fail("%u loops are left", loops.count);
    fibers_end();
}
