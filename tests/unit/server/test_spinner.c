/*
 * spinner.c: when the loop may sleep. The clock and the processor are wrapped, and each round of
 * the loop is one call of uv_run() that does not wait, so nothing here depends on time.
 */
#include "server/spinner.h"

#include "unit/support.h"

enum { LIMIT_US = 500, LIMIT_NS = LIMIT_US * 1000, AWAY_NS = SPINNER_AWAY_US * 1000, MS = 1000000 };

static struct {
    uv_loop_t loop;
    struct sched sched;
    struct conns conns;
    struct task task;
    uv_async_t event; /* what a poll finds */
    struct spinner spinner;
    uint64_t now_ns;
    long losses;
    unsigned gave_way;
    bool competed;    /* the processor is lost at each opportunity, */
    uint64_t away_ns; /* for so long */
    bool asked;       /* for the time, since the test has cleared this */
} fix;

uint64_t __wrap_uv_hrtime(void);
void __wrap_processor_give_way(void);
long __wrap_processor_losses(void);

uint64_t __wrap_uv_hrtime(void)
{
    fix.asked = true;
    return fix.now_ns;
}

void __wrap_processor_give_way(void)
{
    fix.gave_way++;
    fix.losses += fix.competed;
    fix.now_ns += fix.away_ns;
}

long __wrap_processor_losses(void)
{
    return fix.losses;
}

static struct yield step(struct task *task)
{
    return yield_park(task, step);
}

static void on_event(uv_async_t *event)
{
    (void)event;
    sched_wake(&fix.sched, &fix.task);
}

static int fixture_open(void **state)
{
    (void)state;
    memset(&fix, 0, sizeof fix);
    fix.now_ns = 123456789;
    assert_int_equal(uv_loop_init(&fix.loop), 0);
    sched_init(&fix.sched, &fix.loop);
    fix.conns.sched = &fix.sched;
    counter_add(&fix.conns.accepted, 3);
    counter_add(&fix.conns.closed, 2);
    assert_int_equal(uv_async_init(&fix.loop, &fix.event, on_event), 0);
    sched_spawn(&fix.sched, &fix.task, step);
    (void)uv_run(&fix.loop, UV_RUN_NOWAIT); /* the task parks */
    spinner_start(&fix.spinner, &fix.conns, LIMIT_US);
    return 0;
}

static int fixture_close(void **state)
{
    (void)state;
    spinner_close(&fix.spinner);
    uv_close((uv_handle_t *)&fix.event, NULL);
    sched_close(&fix.sched);
    loop_close(&fix.loop);
    return 0;
}

static bool spins(void)
{
    return uv_backend_timeout(&fix.loop) == 0;
}

static void run_rounds(unsigned rounds)
{
    while (rounds-- > 0)
        (void)uv_run(&fix.loop, UV_RUN_NOWAIT);
}

/* A poll finds an event, and the next round runs its task. */
static void let_come(void)
{
    assert_int_equal(uv_async_send(&fix.event), 0);
    run_rounds(1);
    assert_true(sched_is_busy(&fix.sched));
}

static void test_sleeps_at_first(void **state)
{
    (void)state;
    run_rounds(3);
    assert_false(spins());
    assert_false(fix.asked);
}

static void test_spins_for_the_time(void **state)
{
    (void)state;
    let_come();
    run_rounds(1); /* finds nothing: the time begins */
    assert_true(spins());
    fix.now_ns += LIMIT_NS - 1;
    run_rounds(1);
    assert_true(spins());
    fix.now_ns++;
    run_rounds(1);
    assert_false(spins());
    fix.asked = false;
    run_rounds(3);
    assert_false(fix.asked);
}

static void test_an_event_begins_the_time_anew(void **state)
{
    (void)state;
    let_come();
    run_rounds(1);
    for (int i = 0; i < 5; i++) {
        fix.now_ns += LIMIT_NS - 1;
        let_come();
        run_rounds(1);
        assert_true(spins());
    }
    fix.now_ns += LIMIT_NS;
    run_rounds(1);
    assert_false(spins());
    let_come();
    run_rounds(1);
    assert_true(spins());
}

/* While each poll finds something, nobody looks at the clock. */
static void test_a_busy_loop_pays_nothing(void **state)
{
    (void)state;
    let_come();
    fix.asked = false;
    for (int i = 0; i < 3 * SPINNER_ROUNDS; i++)
        let_come();
    assert_false(fix.asked);
    assert_int_equal(fix.gave_way, 0);
}

static void test_sleeps_without_a_connection(void **state)
{
    (void)state;
    let_come();
    run_rounds(3);
    assert_true(spins());
    counter_add(&fix.conns.closed, 1);
    run_rounds(1);
    assert_false(spins());
    let_come(); /* perhaps a connection */
    run_rounds(1);
    assert_false(spins());
    counter_add(&fix.conns.accepted, 1);
    let_come();
    run_rounds(1);
    assert_true(spins());
}

static void test_gives_way(void **state)
{
    (void)state;
    let_come();
    run_rounds(SPINNER_ROUNDS - 1);
    assert_int_equal(fix.gave_way, 0);
    run_rounds(1);
    assert_int_equal(fix.gave_way, 1);
    let_come(); /* does not begin the count anew */
    run_rounds(3 * SPINNER_ROUNDS);
    assert_int_equal(fix.gave_way, 4);
    assert_true(spins());
}

/* Lets something come when the rest is over, but not sooner. */
static void expect_rest(unsigned ms)
{
    assert_false(spins());
    fix.now_ns += (uint64_t)ms * MS - 1;
    let_come();
    run_rounds(1);
    assert_false(spins());
    fix.now_ns++;
    let_come();
    run_rounds(1);
    assert_true(spins());
}

/* The next opportunity for others takes so long, and another thread has the processor meanwhile. */
static void give_way(uint64_t away_ns, bool competed)
{
    fix.away_ns = away_ns;
    fix.competed = competed;
    unsigned before = fix.gave_way;
    while (fix.gave_way == before)
        run_rounds(1);
    fix.away_ns = 0;
    fix.competed = false;
}

static void lose(void)
{
    give_way(AWAY_NS, true);
}

static void test_rests_after_a_loss(void **state)
{
    (void)state;
    let_come();
    lose();
    expect_rest(SPINNER_REST_MIN_MS);
}

/* Whoever takes the processor again and again has it. */
static void test_rests_longer_each_time(void **state)
{
    (void)state;
    let_come();
    for (unsigned ms = SPINNER_REST_MIN_MS; ms < SPINNER_REST_MAX_MS; ms *= 2) {
        lose();
        expect_rest(ms);
    }
    for (int i = 0; i < 3; i++) {
        lose();
        expect_rest(SPINNER_REST_MAX_MS);
    }
}

static void stay_calm(unsigned ms)
{
    fix.now_ns += (uint64_t)ms * MS;
    let_come();
}

static void test_rests_shorter_after_a_calm(void **state)
{
    (void)state;
    let_come();
    for (unsigned ms = 1; ms <= 8; ms *= 2) {
        lose();
        expect_rest(ms);
    }
    for (unsigned ms = 8; ms > 1; ms /= 2) {
        stay_calm(ms * SPINNER_CALM + 1);
        lose();
        expect_rest(ms / 2);
    }
    stay_calm(SPINNER_CALM + 1);
    lose();
    expect_rest(SPINNER_REST_MIN_MS);
}

/* The kernel's own threads, for example, may have the processor now and then. */
static void test_an_errand_is_no_loss(void **state)
{
    (void)state;
    let_come();
    give_way(AWAY_NS - 1, true);
    assert_true(spins());
}

/* The host of a virtual machine has taken the processor, or an interrupt. */
static void test_no_thread_is_no_loss(void **state)
{
    (void)state;
    let_come();
    give_way(AWAY_NS, false);
    assert_true(spins());
}

/* What the thread has lost while it worked, and might have slept, is no reason to sleep. */
static void test_losses_of_before_do_not_count(void **state)
{
    (void)state;
    fix.losses = 1000;
    let_come();
    give_way(AWAY_NS, false);
    assert_true(spins());
    give_way(AWAY_NS, true);
    assert_false(spins());
}

/* A spinner that spins does not keep the loop alive when its tasks have ended. */
static void test_does_not_keep_the_loop_running(void **state)
{
    (void)state;
    let_come();
    run_rounds(1);
    assert_true(spins());
    uv_unref((uv_handle_t *)&fix.event);
    assert_int_equal(uv_run(&fix.loop, UV_RUN_DEFAULT), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_sleeps_at_first),
        FIXTURE_TEST(test_spins_for_the_time),
        FIXTURE_TEST(test_an_event_begins_the_time_anew),
        FIXTURE_TEST(test_a_busy_loop_pays_nothing),
        FIXTURE_TEST(test_sleeps_without_a_connection),
        FIXTURE_TEST(test_gives_way),
        FIXTURE_TEST(test_rests_after_a_loss),
        FIXTURE_TEST(test_rests_longer_each_time),
        FIXTURE_TEST(test_rests_shorter_after_a_calm),
        FIXTURE_TEST(test_an_errand_is_no_loss),
        FIXTURE_TEST(test_no_thread_is_no_loss),
        FIXTURE_TEST(test_losses_of_before_do_not_count),
        FIXTURE_TEST(test_does_not_keep_the_loop_running),
    };
    return RUN_TESTS("spinner", tests);
}
