/*
 * drops.c: the lines about dropped datagrams, and when they come. The steps are called by hand, as
 * the scheduler would; nothing here waits.
 */
#include "server/drops.h"

#include "unit/support.h"

static struct {
    uv_loop_t loop;
    struct sched sched;
    struct recorder recorder;
    struct log log;
    int lines; /* the end of the log that the test reads */
    struct responders responders;
    struct drops drops;
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
    drops_start(&fix.drops, &fix.sched, &fix.log, &fix.responders);
    return 0;
}

static int fixture_close(void **state)
{
    (void)state;
    if (!fix.closed)
        drops_close(&fix.drops);
    log_close(&fix.log);
    (void)close(fix.log.fd);
    (void)close(fix.lines);
    loop_close(&fix.loop);
    return 0;
}

static void drop(int count, enum datagram_result reason)
{
    fix.responders.dropped_peer = (union net_addr){.in = {.sin_family = AF_INET,
                                                          .sin_port = htons(53),
                                                          .sin_addr.s_addr = htonl(0xc0000201U)}};
    fix.responders.dropped += (uint64_t)count;
    fix.responders.reason = reason;
    fix.drops.watcher.on_drop(&fix.drops.watcher, &fix.responders);
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
    assert_int_equal(fix.drops.task.resume(&fix.drops.task).reason, YIELD_PARK);
}

static void step_sleeps(void)
{
    struct yield yield = fix.drops.task.resume(&fix.drops.task);
    assert_int_equal(yield.reason, YIELD_SLEEP);
    assert_int_equal(yield.ms, 1000);
}

static void test_one_line_for_a_burst(void **state)
{
    (void)state;
    step_parks();
    expect_log("");
    drop(1, DATAGRAM_PORT);
    recorder_expect(&fix.recorder, &fix.drops.task, NULL);
    step_sleeps();
    drop(41, DATAGRAM_RATE);
    recorder_expect(&fix.recorder, NULL, NULL); /* it sleeps already */
    expect_log("");
    step_parks();
    expect_log("42 datagrams dropped, the last from 192.0.2.1:53: --udp-rate is reached\n");
}

static void test_every_reason(void **state)
{
    (void)state;
    step_parks();
    for (int reason = DATAGRAM_ANSWERED + 1; reason < DATAGRAM_RESULTS; reason++) {
        char line[1024] = "";
        drop(1, (enum datagram_result)reason);
        recorder_expect(&fix.recorder, &fix.drops.task, NULL);
        step_sleeps();
        step_parks();
        assert_true(recv(fix.lines, line, sizeof line - 1, MSG_DONTWAIT) > 0);
        assert_non_null(strstr(line, "1 datagram dropped, the last from 192.0.2.1:53: "));
        assert_null(strstr(line, "(null)"));
    }
}

static void test_who_has_no_address(void **state)
{
    (void)state;
    step_parks();
    drop(1, DATAGRAM_ADDRESS);
    fix.responders.dropped_peer.sa.sa_family = AF_UNSPEC;
    step_sleeps();
    step_parks();
    expect_log("1 datagram dropped, the last from unix:: an address in it stands for no single "
               "host\n");
}

static void test_the_end(void **state)
{
    (void)state;
    step_parks();
    drop(2, DATAGRAM_SIZE);
    drops_close(&fix.drops);
    fix.closed = true;
    expect_log("2 datagrams dropped, the last from 192.0.2.1:53: the answer would be too long\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_one_line_for_a_burst),
        FIXTURE_TEST(test_every_reason),
        FIXTURE_TEST(test_who_has_no_address),
        FIXTURE_TEST(test_the_end),
    };
    return RUN_TESTS("drops", tests);
}
