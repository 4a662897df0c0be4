/*
 * processor.c: two threads that share one processor lose it to each other. getrusage() is wrapped
 * so that it can fail.
 */
#include "os/processor.h"

#include "unit/support.h"

#include <sched.h>
#include <stdatomic.h>
#include <sys/resource.h>

static struct {
    bool fails;
    atomic_bool over;
} fix;

int __wrap_getrusage(int who, struct rusage *usage);
int __real_getrusage(int who, struct rusage *usage);

int __wrap_getrusage(int who, struct rusage *usage)
{
    assert_int_equal(who, RUSAGE_THREAD);
    return fix.fails ? -1 : __real_getrusage(who, usage);
}

static int fixture_open(void **state)
{
    (void)state;
    fix.fails = false;
    fix.over = false;
    return 0;
}

/* Keeps the processor busy, and gives way as often as it can. */
static void compete(void *arg)
{
    (void)arg;
    while (!fix.over)
        processor_give_way();
}

/* Lets this thread, and those that it makes, run on one of its processors only. */
static void share_one_processor(void)
{
    cpu_set_t all;
    cpu_set_t one;
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    CPU_ZERO(&one);
    for (size_t cpu = 0; CPU_COUNT(&one) == 0; cpu++)
        if (CPU_ISSET(cpu, &all))
            CPU_SET(cpu, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0);
}

/* Ends, because the kernel does not let one of two runnable threads run for ever. */
static void test_losses_to_a_competitor(void **state)
{
    (void)state;
    uv_thread_t competitor;
    share_one_processor();
    assert_int_equal(uv_thread_create(&competitor, compete, NULL), 0);
    long before = processor_losses();
    while (processor_losses() < before + 3)
        processor_give_way();
    fix.over = true;
    assert_int_equal(uv_thread_join(&competitor), 0);
}

/* They are the thread's own, and only those that it did not ask for. */
static void test_losses_are_the_involuntary_ones(void **state)
{
    (void)state;
    struct rusage before;
    struct rusage after;
    assert_int_equal(__real_getrusage(RUSAGE_THREAD, &before), 0);
    long losses = processor_losses();
    assert_int_equal(__real_getrusage(RUSAGE_THREAD, &after), 0);
    assert_in_range(losses, before.ru_nivcsw, after.ru_nivcsw);
}

static void test_unknown_losses(void **state)
{
    (void)state;
    fix.fails = true;
    assert_int_equal(processor_losses(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_losses_to_a_competitor, fixture_open),
        cmocka_unit_test_setup(test_losses_are_the_involuntary_ones, fixture_open),
        cmocka_unit_test_setup(test_unknown_losses, fixture_open),
    };
    return RUN_TESTS("processor", tests);
}
