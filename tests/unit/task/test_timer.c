/*
 * test_timer.c - sleeps on a real loop, with a waker that records the tasks that it woke. No test
 * depends on how much longer a sleep takes than it must.
 */
#include "unit/support.h"

#include "task/timer.h"

#include <errno.h>
#include <limits.h>

enum { HOUR_MS = 3600 * 1000 };

static struct {
    uv_loop_t loop;
    struct recorder recorder;
    struct timer timer;
    struct task task;
    uv_handle_t *closed; /* what on_closed() was called with */
} fix;

static void on_closed(uv_handle_t *handle)
{
    fix.closed = handle;
}

static int fixture_open(void **state)
{
    (void)state;
    memset(&fix, 0, sizeof fix);
    assert_int_equal(uv_loop_init(&fix.loop), 0);
    recorder_init(&fix.recorder);
    memset(&fix.timer, 1, sizeof fix.timer); /* memory that was in use */
    timer_init(&fix.timer, &fix.loop, &fix.recorder.waker);
    return 0;
}

static int fixture_close(void **state)
{
    (void)state;
    if (fix.closed == NULL)
        timer_close(&fix.timer, on_closed);
    loop_close(&fix.loop);
    assert_ptr_equal(fix.closed, &fix.timer.uv);
    return 0;
}

static bool timer_is_active(const struct timer *timer)
{
    return uv_is_active((const uv_handle_t *)&timer->uv) != 0;
}

static void test_nobody_sleeps_at_first(void **state)
{
    (void)state;
    assert_null(fix.timer.sleeper);
    assert_false(timer_is_active(&fix.timer));
    assert_int_equal(uv_run(&fix.loop, UV_RUN_DEFAULT), 0);
    recorder_expect(&fix.recorder, NULL, NULL);
}

static void test_wakes_once(void **state)
{
    (void)state;
    uint64_t begin_ms = uv_now(&fix.loop);
    assert_int_equal(timer_wait(&fix.timer, &fix.task, 20), 0);
    assert_ptr_equal(fix.timer.sleeper, &fix.task);
    loop_turn(&fix.loop);
    if (uv_now(&fix.loop) < begin_ms + 20)
        recorder_expect(&fix.recorder, NULL, NULL);
    assert_int_equal(uv_run(&fix.loop, UV_RUN_DEFAULT), 0);
    assert_true(uv_now(&fix.loop) >= begin_ms + 20);
    recorder_expect(&fix.recorder, &fix.task, NULL);
    assert_null(fix.timer.sleeper);
    assert_false(timer_is_active(&fix.timer));
}

static uint64_t now_ms(void)
{
    return uv_hrtime() / 1000000;
}

/* The loop's clock stands still while a pass goes on, and the sleep may begin late in one. */
static void test_a_sleep_that_begins_late_in_a_pass(void **state)
{
    (void)state;
    while (now_ms() < uv_now(&fix.loop) + 30)
        continue;
    uint64_t begin_ms = now_ms();
    assert_int_equal(timer_wait(&fix.timer, &fix.task, 20), 0);
    assert_int_equal(uv_run(&fix.loop, UV_RUN_DEFAULT), 0);
    recorder_expect(&fix.recorder, &fix.task, NULL);
    assert_true(now_ms() >= begin_ms + 20);
}

static void test_sleeps_again(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(timer_wait(&fix.timer, &fix.task, 1), 0);
        assert_int_equal(uv_run(&fix.loop, UV_RUN_DEFAULT), 0);
        recorder_expect(&fix.recorder, &fix.task, NULL);
    }
}

/* A sleep of no time is a wait, too: the loop wakes the task, not the call. */
static void test_zero_waits_for_the_loop(void **state)
{
    (void)state;
    assert_int_equal(timer_wait(&fix.timer, &fix.task, 0), 0);
    recorder_expect(&fix.recorder, NULL, NULL);
    loop_turn(&fix.loop);
    recorder_expect(&fix.recorder, &fix.task, NULL);
}

static void test_longest_sleep_does_not_wrap(void **state)
{
    (void)state;
    assert_int_equal(timer_wait(&fix.timer, &fix.task, UINT_MAX), 0);
    assert_int_equal(uv_timer_get_due_in(&fix.timer.uv), UINT_MAX);
}

static void test_wakes_in_order_of_time(void **state)
{
    (void)state;
    struct timer sooner;
    struct task early;
    timer_init(&sooner, &fix.loop, &fix.recorder.waker);
    assert_int_equal(timer_wait(&fix.timer, &fix.task, 60), 0);
    assert_int_equal(timer_wait(&sooner, &early, 2), 0);
    assert_int_equal(uv_run(&fix.loop, UV_RUN_DEFAULT), 0);
    recorder_expect(&fix.recorder, &early, &fix.task);
    timer_close(&sooner, NULL);
    loop_turn(&fix.loop);
}

/* Two sleeps that end at the same time wake in the order in which they began. */
static void test_equal_times_are_fifo(void **state)
{
    (void)state;
    struct timer second;
    struct task later;
    timer_init(&second, &fix.loop, &fix.recorder.waker);
    assert_int_equal(timer_wait(&second, &later, 1), 0);
    assert_int_equal(timer_wait(&fix.timer, &fix.task, 1), 0);
    assert_int_equal(uv_run(&fix.loop, UV_RUN_DEFAULT), 0);
    recorder_expect(&fix.recorder, &later, &fix.task);
    timer_close(&second, NULL);
    loop_turn(&fix.loop);
}

static void test_second_sleeper_is_refused(void **state)
{
    (void)state;
    struct task second;
    assert_int_equal(timer_wait(&fix.timer, &fix.task, 1), 0);
    assert_int_equal(timer_wait(&fix.timer, &second, HOUR_MS), -EBUSY);
    assert_ptr_equal(fix.timer.sleeper, &fix.task);
    assert_int_equal(uv_run(&fix.loop, UV_RUN_DEFAULT), 0);
    recorder_expect(&fix.recorder, &fix.task, NULL);
}

static void test_early_wake(void **state)
{
    (void)state;
    assert_int_equal(timer_wait(&fix.timer, &fix.task, HOUR_MS), 0);
    timer_wake(&fix.timer);
    recorder_expect(&fix.recorder, &fix.task, NULL);
    assert_null(fix.timer.sleeper);
    assert_false(timer_is_active(&fix.timer));
    timer_wake(&fix.timer); /* no task sleeps any more */
    assert_int_equal(uv_run(&fix.loop, UV_RUN_DEFAULT), 0);
    recorder_expect(&fix.recorder, NULL, NULL);
}

static void test_close_forgets_the_sleeper(void **state)
{
    (void)state;
    assert_int_equal(timer_wait(&fix.timer, &fix.task, 0), 0);
    timer_close(&fix.timer, on_closed);
    assert_null(fix.timer.sleeper);
    assert_null(fix.closed); /* not yet: the loop calls the callback */
    timer_wake(&fix.timer);
    assert_int_equal(uv_run(&fix.loop, UV_RUN_DEFAULT), 0);
    assert_ptr_equal(fix.closed, &fix.timer.uv);
    recorder_expect(&fix.recorder, NULL, NULL);
}

static void test_no_sleep_after_close(void **state)
{
    (void)state;
    timer_close(&fix.timer, on_closed);
    assert_int_equal(timer_wait(&fix.timer, &fix.task, 1), -EINVAL);
    assert_null(fix.timer.sleeper);
    loop_turn(&fix.loop);
}

static void test_sleep_keeps_the_loop_alive(void **state)
{
    (void)state;
    assert_int_equal(timer_wait(&fix.timer, &fix.task, HOUR_MS), 0);
    assert_int_not_equal(uv_loop_alive(&fix.loop), 0);
}

static void test_unreferenced_sleep_does_not(void **state)
{
    (void)state;
    uv_unref((uv_handle_t *)&fix.timer.uv);
    assert_int_equal(timer_wait(&fix.timer, &fix.task, HOUR_MS), 0);
    assert_int_equal(uv_run(&fix.loop, UV_RUN_DEFAULT), 0);
    assert_ptr_equal(fix.timer.sleeper, &fix.task);
    recorder_expect(&fix.recorder, NULL, NULL);
    timer_wake(&fix.timer);
    assert_int_equal(timer_wait(&fix.timer, &fix.task, HOUR_MS), 0);
    assert_int_equal(uv_has_ref((uv_handle_t *)&fix.timer.uv), 0); /* from sleep to sleep */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_nobody_sleeps_at_first),
        FIXTURE_TEST(test_wakes_once),
        FIXTURE_TEST(test_a_sleep_that_begins_late_in_a_pass),
        FIXTURE_TEST(test_sleeps_again),
        FIXTURE_TEST(test_zero_waits_for_the_loop),
        FIXTURE_TEST(test_longest_sleep_does_not_wrap),
        FIXTURE_TEST(test_wakes_in_order_of_time),
        FIXTURE_TEST(test_equal_times_are_fifo),
        FIXTURE_TEST(test_second_sleeper_is_refused),
        FIXTURE_TEST(test_early_wake),
        FIXTURE_TEST(test_close_forgets_the_sleeper),
        FIXTURE_TEST(test_no_sleep_after_close),
        FIXTURE_TEST(test_sleep_keeps_the_loop_alive),
        FIXTURE_TEST(test_unreferenced_sleep_does_not),
    };
    return RUN_TESTS("timer", tests);
}
