/*
 * rates.c: what a source may be answered, and that no number of sources makes the table grow or
 * gives one of them more.
 */
#include "stream/rates.h"

#include "unit/support.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sys/types.h>

static struct rates rates;

int __wrap_uv_mutex_init(uv_mutex_t *mutex);
int __real_uv_mutex_init(uv_mutex_t *mutex);
void *__wrap_calloc(size_t count, size_t size);
void *__real_calloc(size_t count, size_t size);
ssize_t __wrap_getrandom(void *bytes, size_t len, unsigned flags);

static bool mutex_fails;
static bool calloc_fails;
static bool getrandom_fails;

int __wrap_uv_mutex_init(uv_mutex_t *mutex)
{
    return mutex_fails ? UV_ENOMEM : __real_uv_mutex_init(mutex);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return calloc_fails ? NULL : __real_calloc(count, size);
}

/* A secret that is the same in every run. */
ssize_t __wrap_getrandom(void *bytes, size_t len, unsigned flags)
{
    (void)flags;
    errno = ENOSYS;
    memset(bytes, 0x5a, len);
    return getrandom_fails ? -1 : (ssize_t)len;
}

static union net_addr in4(uint32_t host)
{
    return (union net_addr){
        .in = {.sin_family = AF_INET, .sin_port = 1, .sin_addr.s_addr = htonl(host)}};
}

static union net_addr in6(const char *text)
{
    union net_addr addr = {.in6 = {.sin6_family = AF_INET6}};
    assert_int_equal(inet_pton(AF_INET6, text, &addr.in6.sin6_addr), 1);
    return addr;
}

static bool take(union net_addr addr, uint64_t now_ms)
{
    rates_lock(&rates);
    bool taken = rate_take(rates_find(&rates, &addr, now_ms));
    rates_unlock(&rates);
    return taken;
}

static unsigned take_all(union net_addr addr, uint64_t now_ms)
{
    unsigned taken = 0;
    while (take(addr, now_ms))
        taken++;
    return taken;
}

static void test_a_burst_and_a_rate(void **state)
{
    (void)state;
    assert_int_equal(rates_open(&rates, 10), 0);
    assert_int_equal(take_all(in4(1), 5), 10);
    assert_int_equal(take_all(in4(1), 104), 0);
    assert_int_equal(take_all(in4(1), 105), 1);
    assert_int_equal(take_all(in4(1), 605), 5);
    assert_int_equal(take_all(in4(1), 100000), 10);
    assert_int_equal(take_all(in4(2), 100000), 10);
    rates_close(&rates);
}

/* One loop has looked at its clock before another one, and answers after it. */
static void test_loops_that_are_behind(void **state)
{
    (void)state;
    assert_int_equal(rates_open(&rates, 10), 0);
    assert_int_equal(take_all(in4(1), 1000), 10);
    assert_int_equal(take_all(in4(1), 999), 0);
    assert_int_equal(take_all(in4(1), 0), 0);
    assert_int_equal(take_all(in4(1), 1100), 1);
    assert_int_equal(take_all(in4(2), UINT32_MAX), 10);
    assert_int_equal(take_all(in4(2), (uint64_t)UINT32_MAX + 100), 1); /* the clock has wrapped */
    assert_int_equal(take_all(in4(2), UINT32_MAX), 0);
    rates_close(&rates);
}

static void test_what_a_source_is(void **state)
{
    (void)state;
    assert_int_equal(rates_open(&rates, 10), 0);
    assert_int_equal(take_all(in6("2001:db8:0:1::1"), 5), 10);
    assert_int_equal(take_all(in6("2001:db8:0:1:ffff::"), 5), 0);
    assert_int_equal(take_all(in6("2001:db8:0:2::"), 5), 10);
    assert_int_equal(take_all(in6("::1"), 5), 10);
    assert_int_equal(take_all(in6("::2"), 5), 0);
    union net_addr other_port = in4(1);
    other_port.in.sin_port = 2;
    assert_int_equal(take_all(in4(1), 5), 10);
    assert_int_equal(take_all(other_port, 5), 0);
    rates_close(&rates);
}

static void test_the_highest_rate(void **state)
{
    (void)state;
    assert_int_equal(rates_open(&rates, RATES_MAX), 0);
    assert_int_equal(take_all(in4(1), 5), RATES_MAX);
    assert_int_equal(take_all(in4(1), 6), RATES_MAX / 1000);
    rates_close(&rates);
}

static void test_no_limit(void **state)
{
    (void)state;
    assert_int_equal(rates_open(&rates, 0), 0);
    for (int i = 0; i < 100000; i++)
        assert_true(take(in4(1), 5));
    rates_close(&rates);
}

/* Their queues are short, and they cannot forge who they are. */
static void test_local_clients_are_not_limited(void **state)
{
    (void)state;
    assert_int_equal(rates_open(&rates, 1), 0);
    for (int i = 0; i < 1000; i++)
        assert_true(take((union net_addr){.un = {.sun_family = AF_UNIX}}, 5));
    rates_close(&rates);
}

/*
 * A million sources come once, in a second in which one of them wants more than it may. The table
 * stays as it is; each source gets its first answer as long as the table is not in use up to the
 * last bucket; and the one gets no more.
 */
static void test_a_million_sources(void **state)
{
    (void)state;
    enum { SOURCES = 1000000, RATE = 50 };
    unsigned answered = 0;
    unsigned of_one = 0;
    assert_int_equal(rates_open(&rates, RATE), 0);
    const struct rate *buckets = rates.buckets;
    for (uint32_t i = 0; i < SOURCES; i++) {
        answered += take(in4(0x0a000000 + i), 1000 + i / 1000);
        if (i % 100 == 0)
            of_one += take(in4(0xc0000201), 1000 + i / 1000);
    }
    assert_ptr_equal(rates.buckets, buckets);
    assert_between(of_one, 1, 2 * RATE);
    assert_true(answered > SOURCES * 9 / 10);
    rates_close(&rates);
}

/* Whoever finds no bucket shares one: all sources together get no more than all buckets have. */
static void test_more_sources_than_buckets(void **state)
{
    (void)state;
    unsigned answered = 0;
    assert_int_equal(rates_open(&rates, 1), 0);
    for (uint32_t i = 0; i < 4 * RATES_BUCKETS; i++)
        answered += take(in4(i + 1), 7);
    assert_between(answered, RATES_BUCKETS / 2, RATES_BUCKETS);
    for (uint32_t i = 0; i < 4 * RATES_BUCKETS; i++)
        answered += take(in4(i + 1), 8);
    assert_between(answered, RATES_BUCKETS / 2, RATES_BUCKETS);
    rates_close(&rates);
}

static void test_what_cannot_be_opened(void **state)
{
    (void)state;
    getrandom_fails = true;
    assert_int_equal(rates_open(&rates, 1), -ENOSYS);
    getrandom_fails = false;
    calloc_fails = true;
    assert_int_equal(rates_open(&rates, 1), -ENOMEM);
    calloc_fails = false;
    mutex_fails = true;
    assert_int_equal(rates_open(&rates, 1), UV_ENOMEM);
    mutex_fails = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_burst_and_a_rate),
        cmocka_unit_test(test_loops_that_are_behind),
        cmocka_unit_test(test_what_a_source_is),
        cmocka_unit_test(test_the_highest_rate),
        cmocka_unit_test(test_no_limit),
        cmocka_unit_test(test_local_clients_are_not_limited),
        cmocka_unit_test(test_a_million_sources),
        cmocka_unit_test(test_more_sources_than_buckets),
        cmocka_unit_test(test_what_cannot_be_opened),
    };
    return RUN_TESTS("rates", tests);
}
