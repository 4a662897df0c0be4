/*
 * refusals.c: the lines about refused connections, and when they come. The steps are called by
 * hand, as the scheduler would; nothing here waits.
 */
#include "server/refusals.h"

#include "unit/support.h"

static struct {
    uv_loop_t loop;
    struct sched sched;
    struct recorder recorder;
    struct log log;
    int lines; /* the end of the log that the test reads */
    struct sources sources;
    struct refusals refusals;
    bool closed;
} fix;

void __wrap_sched_spawn(struct sched *sched, struct task *task, task_step *first);
void __wrap_sched_wake(struct sched *sched, struct task *task);

void __wrap_sched_spawn(struct sched *sched, struct task *task, task_step *first)
{
    assert_ptr_equal(sched, &fix.sched);
    *task = (struct task){.resume = first};
}

void __wrap_sched_wake(struct sched *sched, struct task *task)
{
    assert_ptr_equal(sched, &fix.sched);
    fix.recorder.waker.wake(&fix.recorder.waker, task);
}

static int fixture_open(void **state)
{
    int fds[2];
    (void)state;
    memset(&fix, 0, sizeof fix);
    assert_int_equal(uv_loop_init(&fix.loop), 0);
    recorder_init(&fix.recorder);
    fix.sched = (struct sched){.waker = fix.recorder.waker, .loop = &fix.loop};
    make_socketpair(fds);
    fix.lines = fds[0];
    log_init(&fix.log, fds[1], LOG_LEVEL_INFO);
    fix.sources.max = 7;
    refusals_start(&fix.refusals, &fix.sched, &fix.log, &fix.sources);
    return 0;
}

static int fixture_close(void **state)
{
    (void)state;
    if (!fix.closed)
        refusals_close(&fix.refusals);
    log_close(&fix.log);
    (void)close(fix.log.fd);
    (void)close(fix.lines);
    loop_close(&fix.loop);
    return 0;
}

static void refuse(const char *last_byte_of_address, int times)
{
    union net_peer peer = {.in = {.sin_family = AF_INET, .sin_port = htons(80)}};
    peer.in.sin_addr.s_addr =
        htonl(0xc0000200U + (unsigned)strtoul(last_byte_of_address, NULL, 10));
    for (int i = 0; i < times; i++) {
        fix.sources.refused++;
        fix.sources.refused_peer = peer;
        refusals_wake(&fix.refusals);
    }
}

/* Exactly this has been logged since the last call. */
static void expect_log(const char *expected)
{
    char buf[1024] = "";
    ssize_t n = recv(fix.lines, buf, sizeof buf - 1, MSG_DONTWAIT);
    buf[n > 0 ? n : 0] = '\0';
    assert_string_equal(buf, expected);
}

static void step_parks(void)
{
    assert_int_equal(fix.refusals.task.resume(&fix.refusals.task).reason, YIELD_PARK);
}

static void step_sleeps(void)
{
    struct yield why = fix.refusals.task.resume(&fix.refusals.task);
    assert_int_equal(why.reason, YIELD_SLEEP);
    assert_ptr_equal(why.timer, &fix.refusals.timer);
    assert_int_equal(why.ms, 1000);
}

/* A daemon that refuses nobody is not woken for this. */
static void test_parks_without_refusals(void **state)
{
    (void)state;
    step_parks();
    recorder_expect(&fix.recorder, NULL, NULL);
    expect_log("");
}

/* The first refusal begins a second; its line counts all that came in that second. */
static void test_one_line_for_a_second(void **state)
{
    (void)state;
    step_parks();
    refuse("1", 1);
    recorder_expect(&fix.recorder, &fix.refusals.task, NULL);
    step_sleeps();
    expect_log("");
    refuse("2", 4);
    refuse("3", 1);
    recorder_expect(&fix.recorder, NULL, NULL);
    step_parks();
    expect_log("6 connections refused, the last from 192.0.2.3:80: --max-per-source=7\n");
    refuse("1", 1);
    recorder_expect(&fix.recorder, &fix.refusals.task, NULL);
    step_sleeps();
    step_parks();
    expect_log("1 connection refused, the last from 192.0.2.1:80: --max-per-source=7\n");
}

/* Connections that were passed to the daemon are refused before the task has run. */
static void test_refusals_at_the_start(void **state)
{
    (void)state;
    refuse("1", 2);
    recorder_expect(&fix.recorder, NULL, NULL);
    step_parks();
    expect_log("2 connections refused, the last from 192.0.2.1:80: --max-per-source=7\n");
}

static void test_the_end_logs_what_is_left(void **state)
{
    (void)state;
    step_parks();
    refuse("1", 3);
    fix.recorder.count = 0;
    step_sleeps();
    refusals_close(&fix.refusals);
    fix.closed = true;
    expect_log("3 connections refused, the last from 192.0.2.1:80: --max-per-source=7\n");
}

static void test_the_end_after_the_line(void **state)
{
    (void)state;
    step_parks();
    refuse("1", 3);
    fix.recorder.count = 0;
    step_sleeps();
    step_parks();
    (void)recv(fix.lines, (char[1024]){0}, 1024, MSG_DONTWAIT);
    refusals_close(&fix.refusals);
    fix.closed = true;
    expect_log("");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_parks_without_refusals), FIXTURE_TEST(test_one_line_for_a_second),
        FIXTURE_TEST(test_refusals_at_the_start),  FIXTURE_TEST(test_the_end_logs_what_is_left),
        FIXTURE_TEST(test_the_end_after_the_line),
    };
    return RUN_TESTS("refusals", tests);
}
