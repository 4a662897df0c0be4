/*
 * sequence.c of the load generator: loss, late answers, duplicates, a changed order and wrong
 * answers are told apart, also where the window begins again, and a random run adds up. No loop, no
 * sockets.
 */
#include "echoload/sequence.h"

#include "unit/support.h"

enum { WINDOW = 8 };

static struct sequence sequence;
static struct tally tally;

static int sequence_setup(void **state)
{
    (void)state;
    memset(&tally, 0, sizeof tally);
    return sequence_init(&sequence, WINDOW);
}

static int sequence_teardown(void **state)
{
    (void)state;
    sequence_free(&sequence);
    return 0;
}

static void send_some(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        sequence_send(&sequence, &tally, 100 + sequence.next);
}

static bool answer(uint64_t number, bool right)
{
    uint64_t ns = 0;
    bool first = sequence_answer(&sequence, &tally, number, right, &ns);
    if (first)
        assert_int_equal(ns, 100 + number);
    return first;
}

static void expect_tally(uint64_t answered, uint64_t lost, uint64_t late, uint64_t duplicates,
                         uint64_t reordered, uint64_t wrong)
{
    assert_int_equal(tally.answered, answered);
    assert_int_equal(tally.lost, lost);
    assert_int_equal(tally.late, late);
    assert_int_equal(tally.duplicates, duplicates);
    assert_int_equal(tally.reordered, reordered);
    assert_int_equal(tally.wrong, wrong);
}

static void test_in_order(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < (uint64_t)5 * WINDOW; i++) {
        send_some(1);
        assert_true(answer(i, true));
    }
    expect_tally((uint64_t)5 * WINDOW, 0, 0, 0, 0, 0);
    assert_int_equal(sequence.pending, 0);
}

static void test_loss_and_late_answer(void **state)
{
    (void)state;
    send_some(3);
    assert_true(answer(1, true));
    sequence_expire(&sequence, &tally, 100);
    expect_tally(1, 1, 0, 0, 0, 0);
    assert_int_equal(sequence.pending, 1);
    assert_false(answer(0, true));
    expect_tally(1, 0, 1, 0, 0, 0);
    sequence_expire(&sequence, &tally, 102);
    expect_tally(1, 1, 1, 0, 0, 0);
    assert_int_equal(sequence.pending, 0);
}

static void test_duplicates(void **state)
{
    (void)state;
    send_some(2);
    assert_true(answer(0, true));
    assert_false(answer(0, true));
    assert_true(answer(1, true));
    assert_false(answer(0, true));
    expect_tally(2, 0, 0, 2, 0, 0);
}

static void test_order(void **state)
{
    (void)state;
    send_some(4);
    assert_true(answer(2, true));
    assert_true(answer(0, true));
    assert_true(answer(1, true));
    assert_true(answer(3, true));
    expect_tally(4, 0, 0, 0, 2, 0);
}

/* A wrong answer is one, too: nothing is lost, and the right one after it is a duplicate. */
static void test_wrong_answers(void **state)
{
    (void)state;
    send_some(2);
    assert_false(answer(0, false));
    assert_false(answer(0, true));
    assert_false(answer(7, true)); /* not sent yet */
    assert_false(answer(UINT64_MAX, false));
    assert_int_equal(sequence.pending, 1);
    sequence_expire(&sequence, &tally, 101);
    assert_false(answer(1, false));
    expect_tally(0, 0, 0, 1, 0, 4);
}

/* What leaves the window is lost, and nothing is known of an answer after that. */
static void test_window(void **state)
{
    (void)state;
    send_some(WINDOW + 2);
    expect_tally(0, 2, 0, 0, 0, 0);
    assert_int_equal(sequence.pending, WINDOW);
    assert_false(answer(1, true));
    assert_true(answer(2, true));
    expect_tally(1, 2, 0, 1, 0, 0);
    sequence_expire(&sequence, &tally, 100 + WINDOW);
    expect_tally(1, WINDOW, 0, 1, 0, 0);
    assert_int_equal(sequence.pending, 1);
    assert_int_equal(tally.sent, WINDOW + 2);
}

static void test_random_run_adds_up(void **state)
{
    uint64_t random = 88172645463325252;
    (void)state;
    for (unsigned i = 0; i < 100000; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        if (random % 3 == 0)
            send_some(1);
        else if (random % 3 == 1 && sequence.next > 0)
            (void)answer(sequence.next - 1 - (random >> 8) % (sequence.next < 12 ? 1 : 12), true);
        else if ((random >> 8) % 4 == 0)
            sequence_expire(&sequence, &tally, 100 + sequence.next - (random >> 16) % 6);
        assert_int_equal(tally.sent, tally.answered + tally.lost + tally.late + sequence.pending);
    }
}

#define SEQUENCE_TEST(test) cmocka_unit_test_setup_teardown(test, sequence_setup, sequence_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SEQUENCE_TEST(test_in_order),           SEQUENCE_TEST(test_loss_and_late_answer),
        SEQUENCE_TEST(test_duplicates),         SEQUENCE_TEST(test_order),
        SEQUENCE_TEST(test_wrong_answers),      SEQUENCE_TEST(test_window),
        SEQUENCE_TEST(test_random_run_adds_up),
    };
    return RUN_TESTS("sequence", tests);
}
