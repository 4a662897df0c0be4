/*
 * supervision.c: the messages to the manager, and when they are sent. The test itself runs the
 * steps of the tasks in place of the scheduler, so nothing here waits: the test ends a sleep by
 * running the next step. sched_spawn() and sched_wake() are wrapped. The manager is a socket of the
 * test.
 */
#include "server/supervision.h"

#include "unit/support.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <time.h>

enum { WATCHDOG_US = 3000000 };

#define EXTEND "EXTEND_TIMEOUT_USEC=20000000"

static struct {
    uv_loop_t loop;
    struct sched sched;
    struct recorder recorder;
    struct stats stats; /* that the daemon reports */
    bool stuck;         /* is_alive() returns the opposite */
    int asked;          /* calls of is_alive() */
    int noted;          /* calls of note() */
    struct supervision supervision;
    struct supervised supervised;
    int spawned;
    int manager;
    int fds; /* open before the test */
} fix;

void __wrap_sched_spawn(struct sched *sched, struct task *task, task_step *first);
void __wrap_sched_wake(struct sched *sched, struct task *task);

void __wrap_sched_spawn(struct sched *sched, struct task *task, task_step *first)
{
    assert_ptr_equal(sched, &fix.sched);
    *task = (struct task){.resume = first};
    fix.spawned++;
}

void __wrap_sched_wake(struct sched *sched, struct task *task)
{
    assert_ptr_equal(sched, &fix.sched);
    fix.recorder.waker.wake(&fix.recorder.waker, task);
}

static void get_stats(struct supervised *supervised, struct stats *stats)
{
    assert_ptr_equal(supervised, &fix.supervised);
    *stats = fix.stats;
}

static bool is_alive(struct supervised *supervised)
{
    assert_ptr_equal(supervised, &fix.supervised);
    fix.asked++;
    return !fix.stuck;
}

static int fixture_open(void **state)
{
    (void)state;
    memset(&fix, 0, sizeof fix);
    fix.manager = -1;
    assert_int_equal(uv_loop_init(&fix.loop), 0);
    fix.fds = count_fds();
    recorder_init(&fix.recorder);
    fix.sched = (struct sched){.waker = fix.recorder.waker, .loop = &fix.loop};
    memset(&fix.supervision, 0xa5, sizeof fix.supervision); /* the start must set all fields */
    fix.supervised = (struct supervised){.stats = get_stats, .alive = is_alive};
    return 0;
}

static int fixture_close(void **state)
{
    (void)state;
    supervision_close(&fix.supervision);
    assert_int_equal(fix.supervision.systemd.notify_fd, -1);
    if (fix.manager >= 0)
        (void)close(fix.manager);
    assert_int_equal(count_fds(), fix.fds);
    loop_close(&fix.loop);
    return 0;
}

/* The manager has received this message and no other. */
static void expect_told(const char *message)
{
    expect_message(fix.manager, message);
    expect_no_message(fix.manager);
}

/* Runs the step of the status task, which must sleep then. */
static void report_sleeps(void)
{
    struct task *task = &fix.supervision.status;
    struct yield why = task->resume(task);
    assert_int_equal(why.reason, YIELD_SLEEP);
    assert_ptr_equal(why.timer, &fix.supervision.status_timer);
    assert_int_equal(why.ms, SUPERVISION_STATUS_MS);
}

static void start(uint64_t watchdog_us)
{
    int fds[2];
    const int type = SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
    assert_int_equal(socketpair(AF_UNIX, type, 0, fds), 0);
    fix.manager = fds[1];
    const struct systemd systemd = {.notify_fd = fds[0], .watchdog_us = watchdog_us};
    supervision_start(&fix.supervision, &fix.sched, &fix.supervised, &systemd);
    report_sleeps(); /* the start itself counts as a report */
    expect_no_message(fix.manager);
}

static void report_parks(void)
{
    struct task *task = &fix.supervision.status;
    assert_int_equal(task->resume(task).reason, YIELD_PARK);
}

/* Starts with one connection. The status task has reported it and sleeps. */
static void start_with_connection(void)
{
    start(0);
    fix.stats.open = 1;
    report_sleeps();
    expect_told("STATUS=1 connection; 0 bytes in, 0 bytes out");
}

/* Fills the queue of the manager's socket. Returns the number of messages sent. */
static int fill_queue(void)
{
    int sent = 0;
    while (send(fix.supervision.systemd.notify_fd, "X=1", 3, MSG_DONTWAIT) == 3)
        sent++;
    assert_int_equal(errno, EAGAIN);
    return sent;
}

/* READY=1 is repeated, because a manager that does not receive it would end the daemon. */
static void test_ready_is_repeated(void **state)
{
    (void)state;
    start(0);
    int sent = fill_queue();
    supervision_ready(&fix.supervision);
    report_sleeps(); /* does not park, because the queue is still full */
    for (int i = 0; i < sent; i++)
        expect_message(fix.manager, "X=1");
    expect_no_message(fix.manager);
    report_parks();
    expect_told("READY=1");
}

static void test_without_a_manager(void **state)
{
    const struct systemd systemd = {.notify_fd = -1, .watchdog_us = WATCHDOG_US};
    (void)state;
    supervision_start(&fix.supervision, &fix.sched, &fix.supervised, &systemd);
    assert_int_equal(fix.spawned, 0);
    supervision_ready(&fix.supervision);
    supervision_wake(&fix.supervision);
    supervision_drain(&fix.supervision);
    recorder_expect(&fix.recorder, NULL, NULL);
}

static void note(struct supervised *supervised)
{
    assert_ptr_equal(supervised, &fix.supervised);
    fix.noted++;
}

/* With each report, and when the daemon is ready; also when nobody is told. */
static void test_what_is_counted_is_noted(void **state)
{
    const struct systemd systemd = {.notify_fd = -1, .watchdog_us = WATCHDOG_US};
    (void)state;
    fix.supervised.note = note;
    supervision_start(&fix.supervision, &fix.sched, &fix.supervised, &systemd);
    assert_int_equal(fix.spawned, 1);
    report_sleeps();
    assert_int_equal(fix.noted, 0);
    supervision_ready(&fix.supervision);
    assert_int_equal(fix.noted, 1);
    fix.stats.open = 1;
    report_sleeps();
    report_sleeps();
    assert_int_equal(fix.noted, 3);
    fix.stats.open = 0;
    report_sleeps();
    report_parks();
    assert_int_equal(fix.noted, 5);
}

static void test_without_a_watchdog(void **state)
{
    (void)state;
    start(0);
    assert_int_equal(fix.spawned, 1);
    assert_non_null(fix.supervision.status.resume);
}

/* Pings come at half of the time, but with at least 1 ms between them, so that other tasks run. */
static void test_pings(void **state)
{
    static const struct {
        uint64_t watchdog_us;
        unsigned ms;
    } rows[] = {{WATCHDOG_US, 1500}, {60000000, 30000}, {2000, 1}, {3999, 1}, {1, 1}};
    (void)state;
    start(WATCHDOG_US);
    assert_int_equal(fix.spawned, 2);
    struct task *task = &fix.supervision.watchdog;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fix.supervision.systemd.watchdog_us = rows[i].watchdog_us;
        struct yield why = task->resume(task);
        assert_int_equal(why.reason, YIELD_SLEEP);
        assert_ptr_equal(why.timer, &fix.supervision.watchdog_timer);
        assert_int_equal(why.ms, rows[i].ms);
        expect_told("WATCHDOG=1");
    }
}

/* The time is longer than a sleep can be. A shorter sleep is right, but no sleep is wrong. */
static void test_pings_of_a_patient_watchdog(void **state)
{
    static const uint64_t times_us[] = {8589934592000, 8589934594000, UINT64_MAX - 1};
    (void)state;
    start(WATCHDOG_US);
    struct task *task = &fix.supervision.watchdog;
    for (size_t i = 0; i < sizeof times_us / sizeof *times_us; i++) {
        fix.supervision.systemd.watchdog_us = times_us[i];
        assert_between(task->resume(task).ms, 24 * 3600 * 1000, UINT_MAX);
        expect_told("WATCHDOG=1");
    }
}

/* While a worker is stuck, the manager gets no ping, and the task looks again soon. */
static void test_no_ping_while_something_is_stuck(void **state)
{
    (void)state;
    start(WATCHDOG_US);
    struct task *task = &fix.supervision.watchdog;
    fix.stuck = true;
    for (int i = 0; i < 3; i++) {
        struct yield why = task->resume(task);
        assert_int_equal(why.reason, YIELD_SLEEP);
        assert_int_equal(why.ms, 1500 / SUPERVISION_IMPATIENCE);
        expect_no_message(fix.manager);
    }
    fix.stuck = false;
    assert_int_equal(task->resume(task).ms, 1500);
    expect_told("WATCHDOG=1");
    assert_int_equal(fix.asked, 4);
}

static void test_ready(void **state)
{
    (void)state;
    start(0);
    expect_no_message(fix.manager);
    supervision_ready(&fix.supervision);
    expect_message(fix.manager, "READY=1");
    expect_told("STATUS=0 connections; 0 bytes in, 0 bytes out");
}

/* The first report is not repeated. */
static void test_ready_with_a_connection(void **state)
{
    (void)state;
    start(0);
    fix.stats.open = 1;
    supervision_ready(&fix.supervision);
    expect_message(fix.manager, "READY=1");
    expect_told("STATUS=1 connection; 0 bytes in, 0 bytes out");
    report_sleeps();
    expect_no_message(fix.manager);
}

static void test_reports_changes_only(void **state)
{
    (void)state;
    start_with_connection();
    report_sleeps();
    expect_no_message(fix.manager);
    fix.stats.bytes_in = 5;
    report_sleeps();
    expect_told("STATUS=1 connection; 5 bytes in, 0 bytes out");
    fix.stats.bytes_out = 9;
    report_sleeps();
    expect_told("STATUS=1 connection; 5 bytes in, 9 bytes out");
    report_sleeps();
    expect_no_message(fix.manager);
    fix.stats.open = 2;
    fix.stats.bytes_in = UINT64_MAX / 2;
    report_sleeps();
    expect_told("STATUS=2 connections; 9223372036854775807 bytes in, 9 bytes out");
}

static void test_parks_when_nothing_can_change(void **state)
{
    (void)state;
    start_with_connection();
    fix.stats.open = 0;
    report_sleeps(); /* so that the next report does not follow at once */
    expect_told("STATUS=0 connections; 0 bytes in, 0 bytes out");
    report_parks();
    expect_no_message(fix.manager);
    fix.stats.open = 1;
    supervision_wake(&fix.supervision);
    recorder_expect(&fix.recorder, &fix.supervision.status, NULL);
    supervision_wake(&fix.supervision); /* a second connection: the task is queued already */
    recorder_expect(&fix.recorder, NULL, NULL);
    report_sleeps();
    expect_told("STATUS=1 connection; 0 bytes in, 0 bytes out");
}

/* A connection that has opened and closed in one turn changes nothing. */
static void test_parks_again(void **state)
{
    (void)state;
    start(0);
    report_parks();
    supervision_wake(&fix.supervision);
    report_parks();
    expect_no_message(fix.manager);
    supervision_wake(&fix.supervision);
    recorder_expect(&fix.recorder, &fix.supervision.status, &fix.supervision.status);
}

/* A task that sleeps after a report is not woken: two reports are never closer than a sleep. */
static void test_a_connection_does_not_end_the_sleep(void **state)
{
    (void)state;
    start_with_connection();
    struct timer *timer = &fix.supervision.status_timer;
    assert_int_equal(timer_wait(timer, &fix.supervision.status, SUPERVISION_STATUS_MS), 0);
    fix.stats.open = 2;
    supervision_wake(&fix.supervision);
    recorder_expect(&fix.recorder, NULL, NULL);
    assert_ptr_equal(timer->sleeper, &fix.supervision.status);
    expect_no_message(fix.manager);
}

static void test_drain(void **state)
{
    (void)state;
    start_with_connection();
    fix.stats.open = 2;
    supervision_drain(&fix.supervision);
    expect_message(fix.manager, "STOPPING=1");
    expect_message(fix.manager, EXTEND);
    expect_told("STATUS=Stopping: waiting for 2 connections; 0 bytes in, 0 bytes out");
    recorder_expect(&fix.recorder, NULL, NULL);
    for (int i = 0; i < 3; i++) {
        report_sleeps();
        expect_told(EXTEND);
    }
    fix.stats.open = 1;
    report_sleeps();
    expect_message(fix.manager, EXTEND);
    expect_told("STATUS=Stopping: waiting for 1 connection; 0 bytes in, 0 bytes out");
}

/* Also without connections, because another task may delay the end. */
static void test_drain_while_parked(void **state)
{
    (void)state;
    start(0);
    report_parks();
    supervision_drain(&fix.supervision);
    recorder_expect(&fix.recorder, &fix.supervision.status, NULL);
    expect_message(fix.manager, "STOPPING=1");
    expect_message(fix.manager, EXTEND);
    expect_told("STATUS=Stopping: waiting for 0 connections; 0 bytes in, 0 bytes out");
    for (int i = 0; i < 2; i++) {
        report_sleeps();
        expect_told(EXTEND);
    }
}

/* Each request for more time lasts until well after the next request. */
static void test_more_time_than_between_two_reports(void **state)
{
    char buf[1024];
    (void)state;
    start_with_connection();
    supervision_drain(&fix.supervision);
    expect_message(fix.manager, "STOPPING=1");
    const char *text = strchr(receive_message(fix.manager, buf), '=');
    assert_true(strtol(text + 1, NULL, 10) >= 2L * SUPERVISION_STATUS_MS * 1000);
}

/* The start of an upgrade, with the time as sd_notify(3) wants it: between these two. */
static void expect_reloading(uint64_t from_us, uint64_t to_us)
{
    static const char told[] = "RELOADING=1\nMONOTONIC_USEC=";
    char buf[1024];
    char *end;
    const char *text = receive_message(fix.manager, buf);
    assert_memory_equal(text, told, strlen(told));
    uint64_t us = strtoull(text + strlen(told), &end, 10);
    assert_string_equal(end, "");
    assert_between(us, from_us, to_us);
}

static uint64_t monotonic_us(void)
{
    struct timespec now;
    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &now), 0);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void reload(void)
{
    uint64_t from_us = monotonic_us();
    supervision_reload(&fix.supervision);
    expect_reloading(from_us, monotonic_us());
    expect_no_message(fix.manager);
}

/* A second request during the first one is nothing new. */
static void test_reload_is_told_once(void **state)
{
    (void)state;
    start(0);
    reload();
    supervision_reload(&fix.supervision);
    expect_no_message(fix.manager);
}

/* The manager waits no longer, and may be told of another upgrade. */
static void test_a_refused_upgrade(void **state)
{
    (void)state;
    start_with_connection();
    for (int i = 0; i < 3; i++) {
        reload();
        supervision_stay(&fix.supervision);
        expect_message(fix.manager, "READY=1");
        expect_told("STATUS=1 connection; 0 bytes in, 0 bytes out; the last upgrade failed, see "
                    "the log");
    }
    fix.stats.bytes_in = 5;
    fix.stats.upgrades = 2;
    report_sleeps();
    expect_told(
        "STATUS=1 connection; 5 bytes in, 0 bytes out; 2 upgrades; the last upgrade failed, "
        "see the log");
    recorder_expect(&fix.recorder, NULL, NULL); /* the report task sleeps */
}

/* Otherwise the unit would reload until the manager's patience ends. */
static void test_ready_is_repeated_after_a_refused_upgrade(void **state)
{
    (void)state;
    start(0);
    report_parks();
    reload();
    int sent = fill_queue();
    supervision_stay(&fix.supervision);
    recorder_expect(&fix.recorder, &fix.supervision.status, NULL);
    for (int i = 0; i < sent; i++)
        expect_message(fix.manager, "X=1");
    expect_no_message(fix.manager);
    report_parks();
    expect_told("READY=1");
}

/* A daemon that stops is neither reloading nor ready again. */
static void test_no_reload_during_a_drain(void **state)
{
    (void)state;
    start_with_connection();
    reload();
    supervision_drain(&fix.supervision);
    expect_message(fix.manager, "STOPPING=1");
    expect_message(fix.manager, EXTEND);
    expect_told("STATUS=Stopping: waiting for 1 connection; 0 bytes in, 0 bytes out");
    supervision_stay(&fix.supervision);
    supervision_reload(&fix.supervision);
    supervision_stay(&fix.supervision);
    expect_no_message(fix.manager);
}

static void test_upgrades_are_counted(void **state)
{
    (void)state;
    start(0);
    fix.stats.upgrades = 1;
    supervision_ready(&fix.supervision);
    expect_message(fix.manager, "READY=1");
    expect_told("STATUS=0 connections; 0 bytes in, 0 bytes out; 1 upgrade");
    fix.stats.upgrades = 2000000;
    fix.stats.open = 2;
    report_sleeps();
    expect_told("STATUS=2 connections; 0 bytes in, 0 bytes out; 2000000 upgrades");
}

/* Tasks that sleep here do not keep the loop running: otherwise uv_run() would not return. */
static void test_does_not_keep_the_loop_running(void **state)
{
    struct supervision *supervision = &fix.supervision;
    (void)state;
    start(WATCHDOG_US);
    assert_int_equal(timer_wait(&supervision->watchdog_timer, &supervision->watchdog, 3600000), 0);
    assert_int_equal(timer_wait(&supervision->status_timer, &supervision->status, 3600000), 0);
    assert_int_equal(uv_run(&fix.loop, UV_RUN_DEFAULT), 0);
    recorder_expect(&fix.recorder, NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_without_a_manager),
        FIXTURE_TEST(test_what_is_counted_is_noted),
        FIXTURE_TEST(test_without_a_watchdog),
        FIXTURE_TEST(test_pings),
        FIXTURE_TEST(test_pings_of_a_patient_watchdog),
        FIXTURE_TEST(test_no_ping_while_something_is_stuck),
        FIXTURE_TEST(test_ready),
        FIXTURE_TEST(test_ready_with_a_connection),
        FIXTURE_TEST(test_reports_changes_only),
        FIXTURE_TEST(test_parks_when_nothing_can_change),
        FIXTURE_TEST(test_parks_again),
        FIXTURE_TEST(test_a_connection_does_not_end_the_sleep),
        FIXTURE_TEST(test_drain),
        FIXTURE_TEST(test_drain_while_parked),
        FIXTURE_TEST(test_more_time_than_between_two_reports),
        FIXTURE_TEST(test_does_not_keep_the_loop_running),
        FIXTURE_TEST(test_ready_is_repeated),
        FIXTURE_TEST(test_reload_is_told_once),
        FIXTURE_TEST(test_a_refused_upgrade),
        FIXTURE_TEST(test_ready_is_repeated_after_a_refused_upgrade),
        FIXTURE_TEST(test_no_reload_during_a_drain),
        FIXTURE_TEST(test_upgrades_are_counted),
    };
    return RUN_TESTS("supervision", tests);
}
