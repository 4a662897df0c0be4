/*
 * sources.c: which connections are one source, and how many of them each may have. A long run with
 * few and many sources is compared with a plain table.
 */
#include "stream/sources.h"

#include "unit/support.h"

#include <arpa/inet.h>
#include <stdatomic.h>

static struct sources sources;

int __wrap_uv_mutex_init(uv_mutex_t *mutex);
int __real_uv_mutex_init(uv_mutex_t *mutex);
void *__wrap_calloc(size_t count, size_t size);
void *__real_calloc(size_t count, size_t size);

static bool mutex_fails;
static bool calloc_fails;

int __wrap_uv_mutex_init(uv_mutex_t *mutex)
{
    return mutex_fails ? UV_ENOMEM : __real_uv_mutex_init(mutex);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return calloc_fails ? NULL : __real_calloc(count, size);
}

static union net_peer in4(const char *text)
{
    union net_peer peer = {.in = {.sin_family = AF_INET, .sin_port = htons(1234)}};
    assert_int_equal(inet_pton(AF_INET, text, &peer.in.sin_addr), 1);
    return peer;
}

static union net_peer in6(const char *text)
{
    union net_peer peer = {.in6 = {.sin6_family = AF_INET6, .sin6_port = htons(1234)}};
    assert_int_equal(inet_pton(AF_INET6, text, &peer.in6.sin6_addr), 1);
    return peer;
}

static union net_peer user(uid_t uid)
{
    return (union net_peer){.un = {.family = AF_UNIX, .pid = 1, .uid = uid}};
}

/* Whether two peers are the same source; each source may have one connection. */
static bool are_one(union net_peer first, union net_peer second)
{
    assert_int_equal(sources_open(&sources, 2, 1), 0);
    assert_true(sources_enter(&sources, &first));
    bool one = !sources_enter(&sources, &second);
    sources_leave(&sources, &first);
    if (!one)
        sources_leave(&sources, &second);
    sources_close(&sources);
    return one;
}

static void test_one_ipv4_address_is_a_source(void **state)
{
    (void)state;
    union net_peer other_port = in4("192.0.2.1");
    other_port.in.sin_port = htons(4321);
    assert_true(are_one(in4("192.0.2.1"), other_port));
    assert_false(are_one(in4("192.0.2.1"), in4("192.0.2.2")));
    assert_false(are_one(in4("192.0.2.1"), in4("64.0.2.1")));
    assert_false(are_one(in4("0.0.0.0"), in4("255.255.255.255")));
}

static void test_one_ipv6_network_is_a_source(void **state)
{
    (void)state;
    assert_true(are_one(in6("2001:db8:0:1::1"), in6("2001:db8:0:1:ffff:ffff:ffff:ffff")));
    assert_false(are_one(in6("2001:db8:0:1::1"), in6("2001:db8:0:0::1")));
    assert_false(are_one(in6("2001:db8:0:1::1"), in6("a001:db8:0:1::1")));
    assert_true(are_one(in6("::1"), in6("::2")));
}

/* Sockets for both families report IPv4 clients so. */
static void test_a_mapped_address_is_ipv4(void **state)
{
    (void)state;
    assert_true(are_one(in6("::ffff:192.0.2.1"), in4("192.0.2.1")));
    assert_false(are_one(in6("::ffff:192.0.2.1"), in6("::ffff:192.0.2.2")));
    assert_false(are_one(in6("::ffff:192.0.2.1"), in6("::1")));
}

static void test_one_user_is_a_source(void **state)
{
    (void)state;
    union net_peer other_process = user(1000);
    other_process.un.pid = 2;
    assert_true(are_one(user(1000), other_process));
    assert_false(are_one(user(1000), user(1001)));
}

/* Keys of the same number in different kinds: an address of zeros, network ::/64, and root. */
static void test_kinds_do_not_mix(void **state)
{
    (void)state;
    assert_false(are_one(in4("0.0.0.0"), in6("::1")));
    assert_false(are_one(in4("0.0.0.0"), user(0)));
    assert_false(are_one(in6("::1"), user(0)));
}

static void test_refusals_are_counted(void **state)
{
    (void)state;
    union net_peer peer = in4("192.0.2.1");
    union net_peer other = in4("192.0.2.2");
    assert_int_equal(sources_open(&sources, 6, 3), 0);
    for (int i = 0; i < 3; i++) {
        assert_true(sources_enter(&sources, &peer));
        assert_true(sources_enter(&sources, &other));
    }
    assert_int_equal(sources.refused, 0);
    assert_false(sources_enter(&sources, &peer));
    assert_false(sources_enter(&sources, &other));
    assert_int_equal(sources.refused, 2);
    assert_memory_equal(&sources.refused_peer, &other, sizeof other);
    sources_leave(&sources, &peer);
    assert_false(sources_enter(&sources, &other));
    assert_true(sources_enter(&sources, &peer)); /* a refusal has cost no place */
    assert_int_equal(sources.refused, 3);
    sources_close(&sources);
}

/* ---- against a plain table ---- */

enum { MODELS = 64, MODEL_MAX = 3 };

/* Networks that differ in one bit each from the first, so that the tree is as deep as can be. */
static union net_peer network(unsigned number)
{
    union net_peer peer = {.in6 = {.sin6_family = AF_INET6}};
    if (number > 0)
        peer.in6.sin6_addr.s6_addr[(number - 1) / 8] = (unsigned char)(0x80 >> (number - 1) % 8);
    return peer;
}

/* The constants of Knuth's MMIX, as a generator whose numbers are the same in each run. */
static unsigned next_random(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005U + 1442695040888963407U;
    return (unsigned)(*seed >> 33);
}

static void step_of_model(unsigned counts[], unsigned number, bool enter)
{
    union net_peer peer = network(number);
    if (enter) {
        bool room = counts[number] < MODEL_MAX;
        assert_int_equal(sources_enter(&sources, &peer), room);
        counts[number] += room;
    } else if (counts[number] > 0) {
        sources_leave(&sources, &peer);
        counts[number]--;
    }
}

/* The room is exactly what is needed. Phases that fill take turns with phases that empty. */
static void test_many_sources(void **state)
{
    unsigned counts[MODELS] = {0};
    uint64_t seed = 1;
    (void)state;
    assert_int_equal(sources_open(&sources, (size_t)MODELS, MODEL_MAX), 0);
    for (int i = 0; i < 200000; i++) {
        unsigned bias = i / 1000 % 2 == 0 ? 7 : 1;
        step_of_model(counts, next_random(&seed) % MODELS, next_random(&seed) % 8 < bias);
    }
    for (unsigned i = 0; i < MODELS; i++)
        while (counts[i] > 0)
            step_of_model(counts, i, false);
    for (int kind = 0; kind < SOURCE_KINDS; kind++)
        assert_int_equal(sources.roots[kind], 0);
    sources_close(&sources);
}

/* No source is refused although every place is taken by another source, again and again. */
static void test_a_full_set_refuses_nobody(void **state)
{
    enum { ROOM = 1000 };
    (void)state;
    assert_int_equal(sources_open(&sources, ROOM, 1), 0);
    for (unsigned round = 0; round < 5; round++) {
        for (unsigned i = 0; i < ROOM; i++) {
            union net_peer peer = user(i * 7919 + round);
            assert_true(sources_enter(&sources, &peer));
        }
        for (unsigned i = 0; i < ROOM; i++) {
            union net_peer peer = user(i * 7919 + round);
            sources_leave(&sources, &peer);
        }
    }
    assert_int_equal(sources.refused, 0);
    sources_close(&sources);
}

/* ---- threads ---- */

enum { THREAD_ROUNDS = 300000, THREAD_ROOM = 1000 };

static union net_peer shared_peer;
static atomic_uint to_leave; /* connections that have been entered and that threads must end */
static atomic_bool entered_all;

static void leave_some(void *arg)
{
    (void)arg;
    for (;;) {
        bool last = entered_all;
        unsigned left = to_leave;
        if (left == 0 && last)
            return;
        if (left > 0 && atomic_compare_exchange_strong(&to_leave, &left, left - 1))
            sources_leave(&sources, &shared_peer);
    }
}

/* Connections of one source begin on this thread and end on others: none is lost or counted twice.
 */
static void test_ends_on_other_threads(void **state)
{
    uv_thread_t threads[2];
    (void)state;
    shared_peer = in4("192.0.2.1");
    assert_int_equal(sources_open(&sources, THREAD_ROOM, THREAD_ROOM), 0);
    for (size_t i = 0; i < sizeof threads / sizeof *threads; i++)
        assert_int_equal(uv_thread_create(&threads[i], leave_some, NULL), 0);
    for (int i = 0; i < THREAD_ROUNDS; i++)
        if (sources_enter(&sources, &shared_peer))
            to_leave++;
    entered_all = true;
    for (size_t i = 0; i < sizeof threads / sizeof *threads; i++)
        assert_int_equal(uv_thread_join(&threads[i]), 0);
    assert_int_equal(sources.roots[SOURCE_IPV4], 0);
    sources_close(&sources);
}

/* ---- failures ---- */

static void test_no_memory(void **state)
{
    (void)state;
    calloc_fails = true;
    assert_int_equal(sources_open(&sources, 4, 1), -ENOMEM);
    calloc_fails = false;
    mutex_fails = true;
    assert_int_equal(sources_open(&sources, 4, 1), UV_ENOMEM);
    mutex_fails = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_ipv4_address_is_a_source),
        cmocka_unit_test(test_one_ipv6_network_is_a_source),
        cmocka_unit_test(test_a_mapped_address_is_ipv4),
        cmocka_unit_test(test_one_user_is_a_source),
        cmocka_unit_test(test_kinds_do_not_mix),
        cmocka_unit_test(test_refusals_are_counted),
        cmocka_unit_test(test_many_sources),
        cmocka_unit_test(test_a_full_set_refuses_nobody),
        cmocka_unit_test(test_ends_on_other_threads),
        cmocka_unit_test(test_no_memory),
    };
    return RUN_TESTS("sources", tests);
}
