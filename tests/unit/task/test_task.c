/*
 * test_task.c - the vocabulary: every yield_*() stores where the task goes on and returns the
 * reason and the resource. Steps are called by hand, with no loop and no scheduler.
 */
#include "unit/support.h"

#include "task/sock.h"
#include "task/timer.h"

/* A generator that counts to two. Its local variable, the count, is in its frame. */
struct counter {
    int count;
    struct task task;
};

static struct yield counter_second(struct task *task)
{
    container_of(task, struct counter, task)->count++;
    return yield_done(task);
}

static struct yield counter_first(struct task *task)
{
    container_of(task, struct counter, task)->count++;
    return yield_park(task, counter_second);
}

static void test_recv(void **state)
{
    (void)state;
    struct task task = {.resume = counter_first};
    struct sock sock;
    struct yield why = yield_recv(&task, &sock, counter_second);
    assert_int_equal(why.reason, YIELD_RECV);
    assert_ptr_equal(why.sock, &sock);
    assert_ptr_equal(task.resume, counter_second);
}

static void test_send(void **state)
{
    (void)state;
    struct task task = {.resume = counter_first};
    struct sock sock;
    struct yield why = yield_send(&task, &sock, counter_second);
    assert_int_equal(why.reason, YIELD_SEND);
    assert_ptr_equal(why.sock, &sock);
    assert_ptr_equal(task.resume, counter_second);
}

static void test_sleep(void **state)
{
    (void)state;
    struct task task = {.resume = counter_first};
    struct timer timer;
    struct yield why = yield_sleep(&task, &timer, 4000000000U, counter_second);
    assert_int_equal(why.reason, YIELD_SLEEP);
    assert_ptr_equal(why.timer, &timer);
    assert_int_equal(why.ms, 4000000000U);
    assert_ptr_equal(task.resume, counter_second);
}

static void test_park(void **state)
{
    (void)state;
    struct task task = {.resume = counter_first};
    struct yield why = yield_park(&task, counter_second);
    assert_int_equal(why.reason, YIELD_PARK);
    assert_ptr_equal(task.resume, counter_second);
}

static void test_done(void **state)
{
    (void)state;
    struct task task = {.resume = counter_first};
    struct yield why = yield_done(&task);
    assert_int_equal(why.reason, YIELD_DONE);
    assert_null(task.resume);
}

/* A yield puts the task into no queue. */
static void test_yield_leaves_the_link(void **state)
{
    (void)state;
    struct task other;
    struct task task = {.resume = counter_first, .next = &other};
    (void)yield_recv(&task, NULL, counter_second);
    (void)yield_send(&task, NULL, counter_second);
    (void)yield_sleep(&task, NULL, 1, counter_second);
    (void)yield_park(&task, counter_second);
    (void)yield_done(&task);
    assert_ptr_equal(task.next, &other);
}

static void test_steps_by_hand(void **state)
{
    (void)state;
    struct counter counter = {.task.resume = counter_first};
    assert_int_equal(counter.task.resume(&counter.task).reason, YIELD_PARK);
    assert_int_equal(counter.count, 1);
    assert_int_equal(counter.task.resume(&counter.task).reason, YIELD_DONE);
    assert_int_equal(counter.count, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recv),          cmocka_unit_test(test_send),
        cmocka_unit_test(test_sleep),         cmocka_unit_test(test_park),
        cmocka_unit_test(test_done),          cmocka_unit_test(test_yield_leaves_the_link),
        cmocka_unit_test(test_steps_by_hand),
    };
    return RUN_TESTS("task", tests);
}
