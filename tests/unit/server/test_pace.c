/*
 * pace.c: when a connection may be accepted. uv_now() is wrapped, and the timer fires when the test
 * says so, so nothing here waits.
 */
#include "server/pace.h"

#include "unit/support.h"

#include <limits.h>

static struct {
    uv_loop_t loop;
    uint64_t now_ms;
    struct acceptor acceptor;
    struct sched sched;
    struct recorder recorder;
    struct listener listener; /* parked: shows when there is room again */
    struct log log;
    int lines; /* the end of the log that the test reads */
    struct pace pace;
    uv_timer_cb on_timer; /* of the timer, while it runs */
    uint64_t timer_ms;
} fix;

uint64_t __wrap_uv_now(const uv_loop_t *loop);
int __wrap_uv_timer_start(uv_timer_t *timer, uv_timer_cb callback, uint64_t ms, uint64_t repeat);
int __real_uv_timer_start(uv_timer_t *timer, uv_timer_cb callback, uint64_t ms, uint64_t repeat);
void __wrap_sched_wake(struct sched *sched, struct task *task);

uint64_t __wrap_uv_now(const uv_loop_t *loop)
{
    assert_ptr_equal(loop, &fix.loop);
    return fix.now_ms;
}

/* Notes when the timer is to fire, and starts it so that it is active. */
int __wrap_uv_timer_start(uv_timer_t *timer, uv_timer_cb callback, uint64_t ms, uint64_t repeat)
{
    assert_ptr_equal(timer, &fix.pace.timer);
    assert_int_equal(repeat, 0);
    fix.on_timer = callback;
    fix.timer_ms = ms;
    return __real_uv_timer_start(timer, callback, 3600000, 0);
}

void __wrap_sched_wake(struct sched *sched, struct task *task)
{
    assert_ptr_equal(sched, &fix.sched);
    fix.recorder.waker.wake(&fix.recorder.waker, task);
}

static void open_pace(unsigned rate)
{
    pace_init(&fix.pace, &fix.loop, &fix.acceptor, &fix.log, rate);
}

static int fixture_open(void **state)
{
    int fds[2];
    (void)state;
    memset(&fix, 0, sizeof fix);
    assert_int_equal(uv_loop_init(&fix.loop), 0);
    recorder_init(&fix.recorder);
    make_socketpair(fds);
    fix.lines = fds[0];
    log_init(&fix.log, fds[1], LOG_LEVEL_INFO);
    fix.now_ms = 1234567;
    acceptor_init(&fix.acceptor);
    return 0;
}

static int fixture_close(void **state)
{
    (void)state;
    pace_close(&fix.pace);
    log_close(&fix.log);
    (void)close(fix.log.fd);
    (void)close(fix.lines);
    loop_close(&fix.loop);
    return 0;
}

/* How many lines have been logged since the last call. */
static int count_lines(void)
{
    char buf[4096];
    ssize_t n = recv(fix.lines, buf, sizeof buf - 1, MSG_DONTWAIT);
    int count = 0;
    for (ssize_t i = 0; i < n; i++)
        count += buf[i] == '\n';
    return count;
}

/* Accepts as many connections as it may. */
static unsigned accept_all(void)
{
    unsigned count = 0;
    while (count < 10000000 && pace_allows(&fix.pace)) {
        pace_take(&fix.pace);
        count++;
    }
    return count;
}

/* The time of the timer passes, and it fires. */
static void fire(void)
{
    assert_true(uv_is_active((uv_handle_t *)&fix.pace.timer));
    fix.now_ms += fix.timer_ms;
    (void)uv_timer_stop(&fix.pace.timer);
    fix.on_timer(&fix.pace.timer);
}

static void test_no_limit(void **state)
{
    (void)state;
    open_pace(0);
    for (int i = 0; i < 1000; i++) {
        assert_true(pace_allows(&fix.pace));
        pace_take(&fix.pace);
    }
    assert_int_equal(fix.pace.pauses, 0);
    assert_false(uv_is_active((uv_handle_t *)&fix.pace.timer));
}

/* A second's connections at once, and then one after the other. */
static void test_a_burst_and_the_rate(void **state)
{
    (void)state;
    open_pace(4);
    assert_int_equal(accept_all(), 4);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(fix.timer_ms, 250);
        fix.now_ms += 249;
        assert_false(pace_allows(&fix.pace));
        fix.now_ms -= 249;
        fire();
        assert_int_equal(accept_all(), 1);
    }
}

/* However long the pause was, and the loop's clock with it. */
static void test_a_pause_fills_the_bucket_once(void **state)
{
    (void)state;
    open_pace(4);
    assert_int_equal(accept_all(), 4);
    fix.now_ms += 500;
    assert_int_equal(accept_all(), 2);
    fix.now_ms += 900;
    assert_int_equal(accept_all(), 3); /* 3.6 tokens */
    fix.now_ms += 999;
    assert_int_equal(accept_all(), 4); /* what is left over, and 3.996 tokens */
    fix.now_ms += (uint64_t)1 << 62;   /* 4 times that is 0 in 64 bits */
    assert_true(pace_allows(&fix.pace));
    fix.now_ms += 999;
    assert_int_equal(accept_all(), 4);
}

/* Over a long time, with times between looks that no token divides, not one more than allowed. */
static void test_never_more_than_the_rate(void **state)
{
    static const unsigned rates[] = {1, 3, 7, 999, 1000, 1001, 123457};
    (void)state;
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        uint64_t accepted = 0;
        uint64_t passed_ms = 0;
        open_pace(rates[i]);
        for (int step = 0; step < 2000; step++) {
            uint64_t ms = (uint64_t)step * 7 % 13;
            accepted += accept_all();
            assert_true(accepted * 1000 <= rates[i] * (1000 + passed_ms));
            fix.now_ms += ms;
            passed_ms += ms;
        }
        assert_true((accepted + 1) * 1000 > rates[i] * (1000 + passed_ms - 12)); /* nor fewer */
        if (i + 1 < sizeof rates / sizeof *rates) {
            pace_close(&fix.pace);
            loop_turn(&fix.loop);
        }
    }
}

static void test_the_largest_rate(void **state)
{
    (void)state;
    open_pace(INT_MAX);
    assert_true(pace_allows(&fix.pace));
    fix.pace.credit = 0;
    assert_false(pace_allows(&fix.pace));
    assert_int_equal(fix.timer_ms, 1); /* less would spin */
    fire();
    assert_true(pace_allows(&fix.pace));
    assert_int_equal(fix.pace.credit, (uint64_t)INT_MAX);
    fix.now_ms += 1000;
    assert_true(pace_allows(&fix.pace));
    assert_int_equal(fix.pace.credit, (uint64_t)INT_MAX * 1000);
}

/* The timer makes room for a listener that waits. It is started once, however often one asks. */
static void test_wakes_a_listener(void **state)
{
    (void)state;
    open_pace(2);
    (void)accept_all();
    fix.listener =
        (struct listener){.sched = &fix.sched, .acceptor = &fix.acceptor, .parked = true};
    list_append(&fix.acceptor.parked, &fix.listener.link);
    assert_false(pace_allows(&fix.pace));
    assert_false(pace_allows(&fix.pace));
    assert_int_equal(fix.pace.pauses, 1);
    recorder_expect(&fix.recorder, NULL, NULL);
    fire();
    recorder_expect(&fix.recorder, &fix.listener.task, NULL);
    assert_true(pace_allows(&fix.pace));
}

/* Connections that were passed to the daemon do not wait for a token. */
static void test_taking_what_is_not_there(void **state)
{
    (void)state;
    open_pace(1);
    for (int i = 0; i < 3; i++)
        pace_take(&fix.pace);
    fix.now_ms += 1000;
    assert_int_equal(accept_all(), 1);
}

static void test_one_line_a_second(void **state)
{
    (void)state;
    open_pace(10);
    fix.now_ms = 0; /* any time is good, also the first */
    fix.pace.counted_ms = 0;
    (void)accept_all();
    assert_int_equal(count_lines(), 1);
    for (int i = 0; i < 9; i++) {
        fire();
        (void)accept_all();
    }
    assert_int_equal(fix.now_ms, 900);
    assert_int_equal(count_lines(), 0);
    for (int i = 0; i < 10; i++) {
        fire();
        (void)accept_all();
    }
    assert_int_equal(count_lines(), 1);
    assert_int_equal(fix.pace.pauses, 20);
}

/* A parked listener does not keep the loop running, so the timer must; but not after the end. */
static void test_keeps_the_loop_running(void **state)
{
    (void)state;
    open_pace(1);
    assert_false(uv_loop_alive(&fix.loop));
    (void)accept_all();
    assert_true(uv_loop_alive(&fix.loop));
    pace_stop(&fix.pace);
    assert_false(uv_loop_alive(&fix.loop));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_no_limit),
        FIXTURE_TEST(test_a_burst_and_the_rate),
        FIXTURE_TEST(test_a_pause_fills_the_bucket_once),
        FIXTURE_TEST(test_never_more_than_the_rate),
        FIXTURE_TEST(test_the_largest_rate),
        FIXTURE_TEST(test_wakes_a_listener),
        FIXTURE_TEST(test_taking_what_is_not_there),
        FIXTURE_TEST(test_one_line_a_second),
        FIXTURE_TEST(test_keeps_the_loop_running),
    };
    return RUN_TESTS("pace", tests);
}
