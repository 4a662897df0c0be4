/*
 * reaper.c: when connections are ended. uv_now() is wrapped, and a sleep is over when the test
 * says so, so nothing here waits. The steps of the task and of the connections, which are on socket
 * pairs, are called by hand as the scheduler would.
 */
#include "stream/reaper.h"

#include "unit/support.h"

#include <errno.h>
#include <limits.h>

enum { CONNS = 4, IDLE_MS = 1000, NOT_CLOSED = 1 };

static struct {
    uv_loop_t loop;
    struct sched sched;
    struct recorder recorder;
    struct conns conns;
    struct reaper reaper;
    uint64_t now_ms;
    struct conn *conns_opened[CONNS]; /* NULL when closed */
    int errors[CONNS];
    int peers[CONNS];
    int count;
} fix;

uint64_t __wrap_uv_now(const uv_loop_t *loop);
void __wrap_sched_spawn(struct sched *sched, struct task *task, task_step *first);
void __wrap_sched_wake(struct sched *sched, struct task *task);

uint64_t __wrap_uv_now(const uv_loop_t *loop)
{
    assert_ptr_equal(loop, &fix.loop);
    return fix.now_ms;
}

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

static struct yield silent_step(struct task *task)
{
    struct conn *conn = container_of(task, struct conn, task);
    return yield_recv(task, &conn->sock, silent_step);
}

static void silent_release(struct conn *conn)
{
    (void)conn;
}

static const struct handler silent_handler = {
    .frame_size = sizeof(struct conn), .start = silent_step, .release = silent_release};

static void on_event(struct conn *conn, enum conn_event event, int error)
{
    if (event == CONN_OPENED)
        fix.conns_opened[fix.count++] = conn;
    if (event != CONN_CLOSED)
        return;
    for (int i = 0; i < fix.count; i++)
        if (fix.conns_opened[i] == conn) {
            fix.conns_opened[i] = NULL;
            fix.errors[i] = error;
        }
}

/* The waker of the scheduler, which hands on to the recorder. */
static void on_wake(struct waker *waker, struct task *task)
{
    assert_ptr_equal(waker, &fix.sched.waker);
    fix.recorder.waker.wake(&fix.recorder.waker, task);
}

static int fixture_open(void **state)
{
    (void)state;
    memset(&fix, 0, sizeof fix);
    assert_int_equal(uv_loop_init(&fix.loop), 0);
    recorder_init(&fix.recorder);
    fix.now_ms = 1234567;
    fix.sched = (struct sched){.waker.wake = on_wake, .loop = &fix.loop};
    fix.conns =
        (struct conns){.sched = &fix.sched, .handler = &silent_handler, .on_event = on_event};
    conns_init(&fix.conns);
    fix.reaper = (struct reaper){.conns = &fix.conns, .idle_ms = IDLE_MS};
    reaper_start(&fix.reaper);
    return 0;
}

static int fixture_close(void **state)
{
    (void)state;
    conns_abort_all(&fix.conns, 0);
    for (int i = 0; i < fix.count; i++) {
        if (fix.conns_opened[i] != NULL)
            (void)fix.conns_opened[i]->task.resume(&fix.conns_opened[i]->task);
        (void)close(fix.peers[i]);
    }
    reaper_close(&fix.reaper);
    loop_close(&fix.loop);
    return 0;
}

/* Opens a connection, which sends nothing. */
static struct conn *open_one(void)
{
    static const union net_peer nobody;
    int fds[2];
    make_socketpair(fds);
    fix.peers[fix.count] = fds[1];
    fix.errors[fix.count] = NOT_CLOSED;
    assert_int_equal(conn_open(&fix.conns, fds[0], &nobody), 0);
    return fix.conns_opened[fix.count - 1];
}

/* Runs the step, which must sleep. Returns for how long. */
static unsigned sweep(void)
{
    struct yield why = fix.reaper.task.resume(&fix.reaper.task);
    assert_int_equal(why.reason, YIELD_SLEEP);
    assert_ptr_equal(why.timer, &fix.reaper.timer);
    return why.ms;
}

static unsigned sweep_after(unsigned ms)
{
    fix.now_ms += ms;
    return sweep();
}

/* Whether the connection's next step closes it. */
static bool ends(int id)
{
    struct task *task = &fix.conns_opened[id]->task;
    return task->resume(task).reason == YIELD_DONE;
}

static void check_lingering(bool first, bool second, bool third)
{
    const bool expected[] = {first, second, third};
    for (int i = 0; i < fix.count && i < 3; i++)
        assert_int_equal(fix.conns_opened[i]->lingering, expected[i]);
}

/* Runs the step, which must park. */
static void sweep_parks(void)
{
    assert_int_equal(fix.reaper.task.resume(&fix.reaper.task).reason, YIELD_PARK);
}

static void test_sleeps_when_there_is_nobody(void **state)
{
    (void)state;
    sweep_parks();
    (void)open_one();
    assert_int_equal(sweep(), IDLE_MS);
    fix.reaper.idle_ms = 0;
    assert_int_equal(sweep(), UINT_MAX);
    conns_abort_all(&fix.conns, 0);
    recorder_expect(&fix.recorder, NULL, NULL);
    sweep_parks();
}

static void test_a_parked_one_is_woken_once(void **state)
{
    (void)state;
    reaper_unpark(&fix.reaper);
    recorder_expect(&fix.recorder, NULL, NULL);
    sweep_parks();
    reaper_unpark(&fix.reaper);
    reaper_unpark(&fix.reaper);
    recorder_expect(&fix.recorder, &fix.reaper.task, NULL);
}

/* A connection is ended not a millisecond early or late. */
static void test_an_idle_one_is_ended_on_time(void **state)
{
    (void)state;
    (void)open_one();
    assert_int_equal(sweep(), IDLE_MS);
    assert_int_equal(sweep_after(IDLE_MS - 1), 1);
    assert_false(fix.conns_opened[0]->lingering);
    assert_int_equal(sweep_after(1), IDLE_MS); /* for a connection that comes now */
    assert_true(fix.conns_opened[0]->lingering);
    assert_int_equal(fix.conns_opened[0]->error, -ETIME);
}

/* A connection that is accepted while the reaper sleeps is ended in time. */
static void test_who_comes_later_is_ended_on_time(void **state)
{
    (void)state;
    (void)open_one();
    unsigned ms = sweep();
    conn_abort(fix.conns_opened[0], 0);
    assert_true(ends(0));
    fix.now_ms += 400;
    (void)open_one();
    ms = sweep_after(ms - 400);
    assert_int_equal(ms, 400);
    assert_false(fix.conns_opened[1]->lingering);
    (void)sweep_after(ms);
    assert_true(fix.conns_opened[1]->lingering);
}

static void test_the_longest_silent_first(void **state)
{
    (void)state;
    (void)open_one();
    fix.now_ms += 100;
    (void)open_one();
    fix.now_ms += 150;
    (void)open_one();
    assert_int_equal(sweep(), IDLE_MS - 250);
    assert_int_equal(sweep_after(IDLE_MS - 250), 100);
    check_lingering(true, false, false);
    assert_int_equal(sweep_after(100), 150);
    check_lingering(true, true, false);
    (void)sweep_after(150);
    check_lingering(true, true, true);
}

static void test_several_at_once(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        (void)open_one();
    (void)sweep_after(5 * IDLE_MS);
    check_lingering(true, true, true);
}

static void test_activity_postpones(void **state)
{
    (void)state;
    struct conn *received = open_one();
    struct conn *sent = open_one();
    (void)open_one();
    fix.now_ms += 600;
    conn_received(received, 1);
    fix.now_ms += 100;
    conn_sent(sent, 1);
    assert_int_equal(sweep_after(300),
                     600); /* the silent one; the next one must be ended 600 later */
    check_lingering(false, false, true);
    assert_int_equal(sweep_after(600), 100);
    check_lingering(true, false, true);
    (void)sweep_after(100);
    check_lingering(true, true, true);
}

/* The order within a period is not exact, so connections may be ended late, but never early. */
static void test_active_within_a_period(void **state)
{
    (void)state;
    fix.now_ms -= fix.now_ms % CONNS_PERIOD_MS;
    struct conn *first = open_one();
    struct conn *second = open_one();
    fix.now_ms += 100;
    conn_received(second, 1);
    fix.now_ms += CONNS_PERIOD_MS - 101;
    conn_received(first, 1);
    assert_int_equal(sweep_after(IDLE_MS - 1), 1);
    check_lingering(false, false, false); /* late: the time of the second is up */
    (void)sweep_after(1);
    check_lingering(true, true, false);
}

static void test_without_a_timeout_nobody_is_idle(void **state)
{
    (void)state;
    fix.reaper.idle_ms = 0;
    (void)open_one();
    assert_int_equal(sweep_after(UINT_MAX), UINT_MAX);
    check_lingering(false, false, false);
}

/* The peer has this time after our FIN to send its own; then it is cut, with the first reason. */
static void test_a_lingering_one_is_cut(void **state)
{
    (void)state;
    fix.reaper.idle_ms = 0;
    (void)open_one();
    fix.now_ms += 5000;
    conn_shut(fix.conns_opened[0], -ESHUTDOWN);
    assert_int_equal(sweep(), REAPER_LINGER_MS);
    assert_false(ends(0));
    assert_int_equal(sweep_after(REAPER_LINGER_MS - 1), 1);
    assert_false(ends(0));
    fix.now_ms++;
    sweep_parks();
    assert_true(ends(0));
    assert_int_equal(fix.errors[0], -ESHUTDOWN);
}

static void test_an_idle_one_is_cut_after_lingering(void **state)
{
    (void)state;
    fix.reaper.idle_ms = 60000;
    (void)open_one();
    assert_int_equal(sweep_after(60000), REAPER_LINGER_MS);
    assert_false(ends(0));
    fix.now_ms += REAPER_LINGER_MS;
    sweep_parks();
    assert_true(ends(0));
    assert_int_equal(fix.errors[0], -ETIME);
}

/* The reaper sleeps until the next end in either list. */
static void test_idle_and_lingering_together(void **state)
{
    (void)state;
    fix.reaper.idle_ms = REAPER_LINGER_MS + 500;
    (void)open_one();
    (void)open_one();
    conn_shut(fix.conns_opened[0], 0);
    assert_int_equal(sweep(), REAPER_LINGER_MS);
    assert_int_equal(sweep_after(REAPER_LINGER_MS), 500);
    assert_true(ends(0));
    assert_false(fix.conns_opened[1]->lingering);
    assert_int_equal(sweep_after(500), REAPER_LINGER_MS);
    assert_true(fix.conns_opened[1]->lingering);
}

static void test_wake_ends_the_sleep(void **state)
{
    (void)state;
    reaper_wake(&fix.reaper); /* queued: not into the queue a second time */
    recorder_expect(&fix.recorder, NULL, NULL);
    (void)open_one();
    assert_int_equal(timer_wait(&fix.reaper.timer, &fix.reaper.task, sweep()), 0);
    reaper_wake(&fix.reaper);
    recorder_expect(&fix.recorder, &fix.reaper.task, NULL);
}

/* A reaper that sleeps does not keep the daemon alive; uv_run() would not return here. */
static void test_does_not_keep_the_loop_running(void **state)
{
    (void)state;
    (void)open_one();
    assert_int_equal(timer_wait(&fix.reaper.timer, &fix.reaper.task, sweep()), 0);
    assert_int_equal(uv_run(&fix.loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(fix.recorder.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_sleeps_when_there_is_nobody),
        FIXTURE_TEST(test_a_parked_one_is_woken_once),
        FIXTURE_TEST(test_an_idle_one_is_ended_on_time),
        FIXTURE_TEST(test_who_comes_later_is_ended_on_time),
        FIXTURE_TEST(test_the_longest_silent_first),
        FIXTURE_TEST(test_several_at_once),
        FIXTURE_TEST(test_activity_postpones),
        FIXTURE_TEST(test_active_within_a_period),
        FIXTURE_TEST(test_without_a_timeout_nobody_is_idle),
        FIXTURE_TEST(test_a_lingering_one_is_cut),
        FIXTURE_TEST(test_an_idle_one_is_cut_after_lingering),
        FIXTURE_TEST(test_idle_and_lingering_together),
        FIXTURE_TEST(test_wake_ends_the_sleep),
        FIXTURE_TEST(test_does_not_keep_the_loop_running),
    };
    return RUN_TESTS("reaper", tests);
}
