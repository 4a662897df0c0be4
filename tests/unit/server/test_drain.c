/*
 * drain.c: what happens if the last connection ends while the daemon decides about it. The other
 * tests of the drain are those of server.c. Here the test itself runs the steps of the task, and
 * plays the workers: sched_spawn(), workers_load() and workers_order() are wrapped.
 */
#include "server/drain.h"

#include "unit/support.h"

enum { DEADLINE_MS = 2000 };

static struct {
    uv_loop_t loop;
    struct worker worker; /* only its scheduler is used */
    struct workers workers;
    struct log log;
    int log_pipe[2];
    struct drain drain;
    size_t open; /* connections */
    unsigned orders;
} fix;

void __wrap_sched_spawn(struct sched *sched, struct task *task, task_step *first);
size_t __wrap_workers_load(const struct workers *workers);
void __wrap_workers_order(struct workers *workers, unsigned orders, int error);

void __wrap_sched_spawn(struct sched *sched, struct task *task, task_step *first)
{
    assert_ptr_equal(sched, &fix.worker.sched);
    *task = (struct task){.resume = first};
}

size_t __wrap_workers_load(const struct workers *workers)
{
    assert_ptr_equal(workers, &fix.workers);
    return fix.open;
}

void __wrap_workers_order(struct workers *workers, unsigned orders, int error)
{
    assert_ptr_equal(workers, &fix.workers);
    (void)error;
    fix.orders |= orders;
}

static int fixture_open(void **state)
{
    (void)state;
    memset(&fix, 0, sizeof fix);
    assert_int_equal(uv_loop_init(&fix.loop), 0);
    assert_int_equal(pipe2(fix.log_pipe, O_CLOEXEC | O_NONBLOCK), 0);
    log_init(&fix.log, fix.log_pipe[1], LOG_LEVEL_INFO);
    fix.worker.sched.loop = &fix.loop;
    fix.workers = (struct workers){.list = &fix.worker, .count = 1};
    drain_init(&fix.drain, &fix.workers, &fix.log, DEADLINE_MS);
    return 0;
}

static int fixture_close(void **state)
{
    (void)state;
    drain_close(&fix.drain);
    loop_close(&fix.loop);
    log_close(&fix.log);
    (void)close(fix.log_pipe[0]);
    (void)close(fix.log_pipe[1]);
    return 0;
}

static void expect_log(const char *expected)
{
    char text[256];
    ssize_t n = read(fix.log_pipe[0], text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    assert_string_equal(text, expected);
}

/* Runs the next step of the drain's task, which stops in this way. */
static struct yield step(enum yield_reason reason)
{
    struct yield why = fix.drain.task.resume(&fix.drain.task);
    assert_int_equal(why.reason, reason);
    return why;
}

/* Begins the drain with one open connection, and lets the task wait for the deadline. */
static void wait_for_one(void)
{
    fix.open = 1;
    drain_begin(&fix.drain);
    assert_int_equal(step(YIELD_SLEEP).ms, DEADLINE_MS);
    assert_int_equal(fix.orders, WORKER_DRAIN);
    expect_log(
        "Stopping: waiting for 1 connection, 2 s at most; a second signal ends it at once\n");
}

static void test_the_deadline_ends_connections(void **state)
{
    (void)state;
    wait_for_one();
    (void)step(YIELD_DONE);
    assert_int_equal(fix.orders, WORKER_DRAIN | WORKER_SHUT);
    expect_log("Drain deadline: ending 1 connection\n");
}

/* The last connection has ended, and its thread has not told the daemon so yet. */
static void test_a_deadline_without_connections(void **state)
{
    (void)state;
    wait_for_one();
    fix.open = 0;
    (void)step(YIELD_DONE);
    assert_int_equal(fix.orders, WORKER_DRAIN);
    expect_log("");
}

static void test_nobody_to_wait_for(void **state)
{
    (void)state;
    drain_begin(&fix.drain);
    (void)step(YIELD_DONE);
    assert_int_equal(fix.orders, WORKER_DRAIN);
    expect_log("");
}

/* The second signal comes before the task has run once. */
static void test_at_once_before_the_task_runs(void **state)
{
    (void)state;
    fix.open = 2;
    drain_begin(&fix.drain);
    drain_at_once(&fix.drain);
    fix.orders = 0;
    (void)step(YIELD_DONE);
    assert_int_equal(fix.orders, WORKER_DRAIN | WORKER_ABORT);
    expect_log("Stopping at once: ending 2 connections\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_the_deadline_ends_connections),
        FIXTURE_TEST(test_a_deadline_without_connections),
        FIXTURE_TEST(test_nobody_to_wait_for),
        FIXTURE_TEST(test_at_once_before_the_task_runs),
    };
    return RUN_TESTS("drain", tests);
}
