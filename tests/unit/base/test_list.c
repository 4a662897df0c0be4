/*
 * list.h: order, removal at each place, and a property test against an array under seeded random
 * appends and removals. No loop, no sockets.
 */
#include "base/list.h"

#include "unit/support.h"

#include <stdlib.h>

enum { ITEMS = 16 };

struct item {
    int before; /* so that the link is not the first member */
    struct list link;
    int id;
};

/* The ring, and the plain array that says what must be in it, in order. */
struct ring {
    struct list head;
    struct item items[ITEMS];
    int ids[ITEMS];
    size_t count;
};

static int ring_setup(void **state)
{
    static struct ring ring;
    memset(&ring, 0, sizeof ring);
    list_init(&ring.head);
    for (int i = 0; i < ITEMS; i++)
        ring.items[i].id = i;
    *state = &ring;
    return 0;
}

/* The ring has the same elements as the array, forwards and backwards. */
static void ring_check(const struct ring *ring)
{
    struct list *forward = ring->head.next;
    struct list *backward = ring->head.prev;
    for (size_t i = 0; i < ring->count; i++) {
        assert_int_equal(container_of(forward, struct item, link)->id, ring->ids[i]);
        assert_int_equal(container_of(backward, struct item, link)->id,
                         ring->ids[ring->count - 1 - i]);
        forward = forward->next;
        backward = backward->prev;
    }
    assert_ptr_equal(forward, &ring->head);
    assert_ptr_equal(backward, &ring->head);
    assert_int_equal(list_empty(&ring->head), ring->count == 0);
}

static void ring_append(struct ring *ring, int id)
{
    list_append(&ring->head, &ring->items[id].link);
    ring->ids[ring->count++] = id;
    ring_check(ring);
}

static void ring_remove(struct ring *ring, int id)
{
    size_t at = 0;
    list_remove(&ring->items[id].link);
    while (ring->ids[at] != id)
        at++;
    ring->count--;
    memmove(&ring->ids[at], &ring->ids[at + 1], (ring->count - at) * sizeof *ring->ids);
    ring_check(ring);
}

static void test_new_ring_is_empty(void **state)
{
    struct ring *ring = *state;
    assert_true(list_empty(&ring->head));
    ring_check(ring);
}

static void test_append_keeps_order(void **state)
{
    for (int id = 0; id < ITEMS; id++)
        ring_append(*state, id);
}

static void test_remove_at_each_place(void **state)
{
    static const int order[] = {0, 2, 4, 1, 3}; /* first, middle, last, the last but one, only */
    for (int id = 0; id < 5; id++)
        ring_append(*state, id);
    for (size_t i = 0; i < sizeof order / sizeof *order; i++)
        ring_remove(*state, order[i]);
}

static void test_removed_can_be_appended_again(void **state)
{
    ring_append(*state, 0);
    ring_append(*state, 1);
    ring_remove(*state, 0);
    ring_append(*state, 0);
    ring_remove(*state, 0);
    ring_remove(*state, 1);
    ring_append(*state, 1);
}

/* A link that is made a ring of its own can be removed: that does nothing. */
static void test_a_ring_of_its_own_can_be_removed(void **state)
{
    struct ring *ring = *state;
    ring_append(ring, 0);
    ring_append(ring, 1);
    ring_remove(ring, 0);
    list_init(&ring->items[0].link);
    list_remove(&ring->items[0].link);
    assert_true(list_empty(&ring->items[0].link));
    ring_check(ring);
}

static void test_random_appends_and_removals(void **state)
{
    bool in[ITEMS] = {false};
    unsigned seed = 862;
    for (int i = 0; i < 5000; i++) {
        int id = rand_r(&seed) % ITEMS;
        if (in[id])
            ring_remove(*state, id);
        else
            ring_append(*state, id);
        in[id] = !in[id];
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_new_ring_is_empty, ring_setup),
        cmocka_unit_test_setup(test_append_keeps_order, ring_setup),
        cmocka_unit_test_setup(test_remove_at_each_place, ring_setup),
        cmocka_unit_test_setup(test_removed_can_be_appended_again, ring_setup),
        cmocka_unit_test_setup(test_a_ring_of_its_own_can_be_removed, ring_setup),
        cmocka_unit_test_setup(test_random_appends_and_removals, ring_setup),
    };
    return RUN_TESTS("list", tests);
}
