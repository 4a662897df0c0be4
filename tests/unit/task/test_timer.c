/*
 * test_timer.c - sleeps on a real loop, with a waker that notes who was woken. No test depends on
 * how long a sleep takes beyond what it promises at least.
 */
#include "unit/support.h"

#include "task/timer.h"

#include <errno.h>
#include <limits.h>

enum { HOUR_MS = 3600 * 1000 };

struct fixture {
    uv_loop_t loop;
    struct recorder recorder;
    struct timer timer;
    struct task task;
    uv_handle_t *closed; /* what on_closed() was called with */
};

static struct fixture fixture;

static void on_closed(uv_handle_t *handle)
{
    fixture.closed = handle;
}

static int fixture_open(void **state)
{
    fixture = (struct fixture){.closed = NULL};
    assert_int_equal(uv_loop_init(&fixture.loop), 0);
    recorder_init(&fixture.recorder);
    memset(&fixture.timer, 1, sizeof fixture.timer); /* memory that was in use */
    timer_init(&fixture.timer, &fixture.loop, &fixture.recorder.waker);
    *state = &fixture;
    return 0;
}

static int fixture_close(void **state)
{
    struct fixture *f = *state;
    if (f->closed == NULL)
        timer_close(&f->timer, on_closed);
    loop_close(&f->loop);
    assert_ptr_equal(f->closed, &f->timer.uv);
    return 0;
}

static bool timer_is_active(const struct timer *timer)
{
    return uv_is_active((const uv_handle_t *)&timer->uv) != 0;
}

static void test_nobody_sleeps_at_first(void **state)
{
    struct fixture *f = *state;
    assert_null(f->timer.sleeper);
    assert_false(timer_is_active(&f->timer));
    assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
    recorder_expect(&f->recorder, NULL, NULL);
}

static void test_wakes_once(void **state)
{
    struct fixture *f = *state;
    uint64_t begin_ms = uv_now(&f->loop);
    assert_int_equal(timer_wait(&f->timer, &f->task, 20), 0);
    assert_ptr_equal(f->timer.sleeper, &f->task);
    loop_turn(&f->loop);
    if (uv_now(&f->loop) < begin_ms + 20)
        recorder_expect(&f->recorder, NULL, NULL);
    assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
    assert_true(uv_now(&f->loop) >= begin_ms + 20);
    recorder_expect(&f->recorder, &f->task, NULL);
    assert_null(f->timer.sleeper);
    assert_false(timer_is_active(&f->timer));
}

static uint64_t now_ms(void)
{
    return uv_hrtime() / 1000000;
}

/* The loop's clock stands still while a pass goes on, and the sleep may begin late in one. */
static void test_a_sleep_that_begins_late_in_a_pass(void **state)
{
    struct fixture *f = *state;
    while (now_ms() < uv_now(&f->loop) + 30)
        continue;
    uint64_t begin_ms = now_ms();
    assert_int_equal(timer_wait(&f->timer, &f->task, 20), 0);
    assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
    recorder_expect(&f->recorder, &f->task, NULL);
    assert_true(now_ms() >= begin_ms + 20);
}

static void test_sleeps_again(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(timer_wait(&f->timer, &f->task, 1), 0);
        assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
        recorder_expect(&f->recorder, &f->task, NULL);
    }
}

/* No time at all is still a wait: the task is woken by the loop, not by the call. */
static void test_zero_waits_for_the_loop(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(timer_wait(&f->timer, &f->task, 0), 0);
    recorder_expect(&f->recorder, NULL, NULL);
    loop_turn(&f->loop);
    recorder_expect(&f->recorder, &f->task, NULL);
}

static void test_longest_sleep_does_not_wrap(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(timer_wait(&f->timer, &f->task, UINT_MAX), 0);
    assert_int_equal(uv_timer_get_due_in(&f->timer.uv), UINT_MAX);
}

static void test_wakes_in_order_of_time(void **state)
{
    struct fixture *f = *state;
    struct timer sooner;
    struct task early;
    timer_init(&sooner, &f->loop, &f->recorder.waker);
    assert_int_equal(timer_wait(&f->timer, &f->task, 60), 0);
    assert_int_equal(timer_wait(&sooner, &early, 2), 0);
    assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
    recorder_expect(&f->recorder, &early, &f->task);
    timer_close(&sooner, NULL);
    loop_turn(&f->loop);
}

/* Two sleeps that end at once are woken in the order in which they began. */
static void test_equal_times_are_fifo(void **state)
{
    struct fixture *f = *state;
    struct timer second;
    struct task later;
    timer_init(&second, &f->loop, &f->recorder.waker);
    assert_int_equal(timer_wait(&second, &later, 1), 0);
    assert_int_equal(timer_wait(&f->timer, &f->task, 1), 0);
    assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
    recorder_expect(&f->recorder, &later, &f->task);
    timer_close(&second, NULL);
    loop_turn(&f->loop);
}

static void test_second_sleeper_is_refused(void **state)
{
    struct fixture *f = *state;
    struct task second;
    assert_int_equal(timer_wait(&f->timer, &f->task, 1), 0);
    assert_int_equal(timer_wait(&f->timer, &second, HOUR_MS), -EBUSY);
    assert_ptr_equal(f->timer.sleeper, &f->task);
    assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
    recorder_expect(&f->recorder, &f->task, NULL);
}

static void test_early_wake(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(timer_wait(&f->timer, &f->task, HOUR_MS), 0);
    timer_wake(&f->timer);
    recorder_expect(&f->recorder, &f->task, NULL);
    assert_null(f->timer.sleeper);
    assert_false(timer_is_active(&f->timer));
    timer_wake(&f->timer); /* no task sleeps any more */
    assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
    recorder_expect(&f->recorder, NULL, NULL);
}

static void test_close_forgets_the_sleeper(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(timer_wait(&f->timer, &f->task, 0), 0);
    timer_close(&f->timer, on_closed);
    assert_null(f->timer.sleeper);
    assert_null(f->closed); /* not yet: the callback is the loop's to call */
    timer_wake(&f->timer);
    assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
    assert_ptr_equal(f->closed, &f->timer.uv);
    recorder_expect(&f->recorder, NULL, NULL);
}

static void test_no_sleep_after_close(void **state)
{
    struct fixture *f = *state;
    timer_close(&f->timer, on_closed);
    assert_int_equal(timer_wait(&f->timer, &f->task, 1), -EINVAL);
    assert_null(f->timer.sleeper);
    loop_turn(&f->loop);
}

static void test_sleep_keeps_the_loop_alive(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(timer_wait(&f->timer, &f->task, HOUR_MS), 0);
    assert_int_not_equal(uv_loop_alive(&f->loop), 0);
}

static void test_unreferenced_sleep_does_not(void **state)
{
    struct fixture *f = *state;
    uv_unref((uv_handle_t *)&f->timer.uv);
    assert_int_equal(timer_wait(&f->timer, &f->task, HOUR_MS), 0);
    assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0);
    assert_ptr_equal(f->timer.sleeper, &f->task);
    recorder_expect(&f->recorder, NULL, NULL);
    timer_wake(&f->timer);
    assert_int_equal(timer_wait(&f->timer, &f->task, HOUR_MS), 0);
    assert_int_equal(uv_has_ref((uv_handle_t *)&f->timer.uv), 0); /* stays so from sleep to sleep */
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
