/*
 * remains.c: the rule, at every place in which a connection can be cut off between two stores and
 * calls. The control shows that a rule without the kernel's counts would be wrong.
 */
#include "stream/remains.h"

#include "unit/support.h"

#include <errno.h>

enum { PREFIX = 4, NUMBER = 7 };

/* A connection, as the kernel and the peer know it, and its entry. */
static struct {
    struct ledger_entry entry;
    struct remains_counts counts;
    enum ledger_kind kind; /* of the way that its answers go */
    uint32_t received;     /* bytes of the answer that is under way */
    uint32_t owed;         /* bytes of that answer that the peer must still get */
    bool by_notes;         /* the rule is given what has been noted in the place of the counts */
    int cuts;              /* places */
    int wrong;             /* at which a successor would send something else */
} life;

static uint32_t answer_bytes(uint32_t received)
{
    return received + (life.kind == LEDGER_PIPE ? 0 : PREFIX);
}

static struct ledger_state noted(void)
{
    uint32_t place = ledger_load(&life.entry.place);
    return (struct ledger_state){.received = ledger_load(&life.entry.received),
                                 .goal = ledger_load(&life.entry.goal),
                                 .len = ledger_load(&life.entry.len),
                                 .number = place & LEDGER_NUMBER,
                                 .kind = ledger_kind(place),
                                 .served = true};
}

/* All that can be known without asking the kernel. */
static struct remains_counts counts_of_notes(const struct ledger_state *state)
{
    return (struct remains_counts){
        .known = true, .in = state->received, .out = state->goal - state->len, .piped = state->len};
}

/* The process ends here: what does its successor do? */
static void cut(void)
{
    struct ledger_state state = noted();
    struct remains_counts counts = life.by_notes ? counts_of_notes(&state) : life.counts;
    struct remains remains;
    bool right = remains_find(&state, &counts, &remains) == 0;
    if (right && remains.unanswered > 0)
        right = remains.left == 0 && remains.unanswered == life.received &&
                life.owed == answer_bytes(life.received);
    else if (right)
        right = remains.left == life.owed;
    life.cuts++;
    life.wrong += !right;
}

static void store(_Atomic uint32_t *field, uint32_t value)
{
    ledger_store(field, value);
    cut();
}

static void send_bytes(uint32_t bytes)
{
    life.counts.out += bytes;
    life.counts.piped -= life.kind == LEDGER_PIPE ? bytes : 0;
    life.owed -= bytes;
    cut();
}

/* Receives and answers as ledger.h says, with a cut after each step. */
static void message(uint32_t bytes)
{
    struct ledger_entry *entry = &life.entry;
    uint32_t len = answer_bytes(bytes);
    ledger_note(entry, life.kind, NUMBER);
    cut();
    life.counts.in += bytes;
    life.counts.piped += life.kind == LEDGER_PIPE ? bytes : 0;
    life.received = bytes;
    life.owed = len;
    cut();
    store(&entry->len, len);
    store(&entry->goal, life.counts.out + len);
    store(&entry->received, ledger_load(&entry->received) + bytes);
    for (uint32_t sent = 0; sent < len; sent++)
        send_bytes(1);
    if (life.kind == LEDGER_PIPE)
        store(&entry->len, 0);
    ledger_note(entry, LEDGER_NOTHING, 0);
    cut();
}

/* Several messages, the counts of which pass 2^32. */
static void live(enum ledger_kind kind, bool by_notes)
{
    const uint32_t before = UINT32_MAX - 10;
    memset(&life, 0, sizeof life);
    life.kind = kind;
    life.by_notes = by_notes;
    life.counts = (struct remains_counts){.known = true, .in = before, .out = before};
    ledger_answer(&life.entry, before, 0, before);
    cut();
    for (uint32_t bytes = 1; bytes < 20; bytes++)
        message(bytes);
}

static void test_at_every_place(void **state)
{
    (void)state;
    live(LEDGER_BUFFER, false);
    assert_int_equal(life.wrong, 0);
    assert_between(life.cuts, 200, 1000);
    live(LEDGER_PIPE, false);
    assert_int_equal(life.wrong, 0);
}

/* The control: whoever trusts the notes of the process alone sends bytes twice, or not at all. */
static void test_notes_alone_are_not_enough(void **state)
{
    (void)state;
    live(LEDGER_BUFFER, true);
    assert_between(life.wrong, life.cuts / 2, life.cuts);
    live(LEDGER_PIPE, true);
    assert_between(life.wrong, life.cuts / 2, life.cuts);
}

static struct ledger_state state_of(enum ledger_kind kind, uint32_t received, uint32_t goal,
                                    uint32_t len)
{
    return (struct ledger_state){
        .served = true, .kind = kind, .received = received, .goal = goal, .len = len};
}

static int find(enum ledger_kind kind, uint32_t goal, uint32_t len,
                const struct remains_counts *counts)
{
    struct ledger_state state = state_of(kind, 100, goal, len);
    struct remains remains;
    return remains_find(&state, counts, &remains);
}

/* Then nothing is under way, and nobody need ask the kernel. */
static void test_an_entry_that_names_nothing(void **state)
{
    struct ledger_state entry = state_of(LEDGER_NOTHING, 5, 9, 9);
    struct remains remains = {.left = 1};
    (void)state;
    assert_int_equal(remains_find(&entry, &(struct remains_counts){.known = false}, &remains), 0);
    assert_int_equal(remains.left, 0);
    assert_int_equal(remains.unanswered, 0);
}

static void test_a_contradiction(void **state)
{
    const struct remains_counts counts = {.known = true, .in = 100, .out = 50, .piped = 10};
    const struct remains_counts more = {.known = true, .in = 103, .out = 50, .piped = 10};
    (void)state;
    assert_int_equal(find(LEDGER_BUFFER, 60, 10, &counts), 0);
    assert_int_equal(find(LEDGER_BUFFER, 61, 10, &counts), -EPROTO); /* more than an answer */
    assert_int_equal(find(LEDGER_BUFFER, 49, 10, &counts), -EPROTO); /* more has been sent */
    assert_int_equal(find(LEDGER_PIPE, 60, 10, &counts), 0);
    assert_int_equal(find(LEDGER_PIPE, 60, 0, &counts), 0); /* of a pipe, len is not needed */
    assert_int_equal(find(LEDGER_PIPE, 59, 10, &counts), -EPROTO);
    assert_int_equal(find(LEDGER_PIPE, 61, 10, &counts), -EPROTO);
    assert_int_equal(find(LEDGER_PIPE, 50, 10, &more), -EPROTO); /* 3 have come, 10 are there */
}

static void test_a_socket_that_nobody_counts(void **state)
{
    const struct remains_counts counts = {.known = false, .piped = 77};
    struct ledger_state entry = state_of(LEDGER_PIPE, 5, 9, 0);
    struct remains remains;
    (void)state;
    assert_int_equal(remains_find(&entry, &counts, &remains), 0);
    assert_int_equal(remains.left, 77);
    assert_int_equal(remains.unanswered, 0);
    assert_int_equal(find(LEDGER_BUFFER, 60, 10, &counts), -EOPNOTSUPP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_at_every_place),
        cmocka_unit_test(test_notes_alone_are_not_enough),
        cmocka_unit_test(test_an_entry_that_names_nothing),
        cmocka_unit_test(test_a_contradiction),
        cmocka_unit_test(test_a_socket_that_nobody_counts),
    };
    return RUN_TESTS("remains", tests);
}
