/*
 * endpoints.c: which addresses are listened on, and what becomes of failures. net_listen(),
 * net_local() and net_close() are wrapped and play a machine whose descriptors are mere numbers;
 * two tests let them through to the real one, on the loopback interface.
 */
#include "endpoints.h"

#include "support.h"

#include <errno.h>
#include <stdlib.h>

enum { FIRST_FD = 1000, CALLS_MAX = 64, FREE_PORT = 40000, PORT_TRIES = 16, BACKLOG = 17 };

static struct {
    bool real;
    bool malloc_fails;
    bool local_fails;
    int results[CALLS_MAX];              /* of each net_listen(): 0 for a descriptor */
    int always;                          /* what all of them are from the second address on */
    union net_addr requested[CALLS_MAX]; /* what they were asked for */
    int calls;
    int open; /* descriptors given and not closed */
    int free_port;
    struct endpoints endpoints;
} fix;

int __real_net_listen(const union net_addr *addr, int backlog);
int __wrap_net_listen(const union net_addr *addr, int backlog);
int __real_net_local(int fd, union net_addr *addr);
int __wrap_net_local(int fd, union net_addr *addr);
void __real_net_close(int fd);
void __wrap_net_close(int fd);
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

int __wrap_net_listen(const union net_addr *addr, int backlog)
{
    if (fix.real)
        return __real_net_listen(addr, backlog);
    assert_true(fix.calls < CALLS_MAX);
    assert_int_equal(backlog, BACKLOG);
    fix.requested[fix.calls] = *addr;
    int rc = fix.results[fix.calls++];
    if (rc == 0 && fix.always < 0 && fix.open > 0)
        rc = fix.always;
    if (rc < 0)
        return rc;
    fix.open++;
    return FIRST_FD + fix.calls - 1;
}

int __wrap_net_local(int fd, union net_addr *addr)
{
    if (fix.real)
        return __real_net_local(fd, addr);
    if (fix.local_fails)
        return -ENOBUFS;
    *addr = fix.requested[fd - FIRST_FD];
    net_set_port(addr, (uint16_t)fix.free_port++); /* each socket gets another one */
    return 0;
}

void __wrap_net_close(int fd)
{
    if (fix.real) {
        __real_net_close(fd);
        return;
    }
    assert_in_range(fd, FIRST_FD, FIRST_FD + CALLS_MAX);
    fix.open--;
}

void *__wrap_malloc(size_t size)
{
    return fix.malloc_fails ? NULL : __real_malloc(size);
}

static int fixture_open(void **state)
{
    (void)state;
    memset(&fix, 0, sizeof fix);
    memset(&fix.endpoints, 0xa5, sizeof fix.endpoints);
    fix.free_port = FREE_PORT;
    return 0;
}

static int fixture_close(void **state)
{
    (void)state;
    endpoints_close(&fix.endpoints);
    assert_int_equal(fix.open, 0);
    assert_null(fix.endpoints.fds);
    return 0;
}

static union net_addr addr_of(const char *text)
{
    union net_addr addr;
    assert_int_equal(net_resolve(text, &addr, 1), 1);
    return addr;
}

static int open_default(uint16_t port)
{
    return endpoints_open(&fix.endpoints, NULL, 0, port, BACKLOG);
}

/* Opens 127.0.0.1, ::1 and 127.0.0.2. */
static int open_named(uint16_t port)
{
    const union net_addr addrs[] = {addr_of("127.0.0.1"), addr_of("::1"), addr_of("127.0.0.2")};
    return endpoints_open(&fix.endpoints, addrs, 3, port, BACKLOG);
}

static void check_addr(const union net_addr *addr, const char *expected)
{
    char text[NET_ADDR_STRLEN];
    assert_string_equal(net_format(addr, text), expected);
}

/* After a failure: the address is told, and nothing is open. */
static void check_failed(const char *expected)
{
    check_addr(&fix.endpoints.failed, expected);
    assert_int_equal(fix.endpoints.count, 0);
    assert_int_equal(fix.open, 0);
}

static void test_both_families_by_default(void **state)
{
    (void)state;
    assert_int_equal(open_default(25000), 0);
    assert_int_equal(fix.endpoints.count, 2);
    assert_int_equal(fix.endpoints.fds[0], FIRST_FD);
    assert_int_equal(fix.endpoints.fds[1], FIRST_FD + 1);
    assert_int_equal(fix.calls, 2);
    check_addr(&fix.requested[0], "0.0.0.0:25000");
    check_addr(&fix.requested[1], "[::]:25000");
}

static void test_named_addresses(void **state)
{
    (void)state;
    assert_int_equal(open_named(7), 0);
    assert_int_equal(fix.endpoints.count, 3);
    check_addr(&fix.requested[0], "127.0.0.1:7");
    check_addr(&fix.requested[1], "[::1]:7");
    check_addr(&fix.requested[2], "127.0.0.2:7");
}

/* The port that the first one got, for all of them. */
static void test_a_free_port_is_shared(void **state)
{
    (void)state;
    assert_int_equal(open_named(0), 0);
    check_addr(&fix.requested[0], "127.0.0.1:0");
    check_addr(&fix.requested[1], "[::1]:40000");
    check_addr(&fix.requested[2], "127.0.0.2:40000");
}

static void test_a_free_port_without_ipv4(void **state)
{
    (void)state;
    fix.results[0] = -EAFNOSUPPORT;
    assert_int_equal(open_default(0), 0);
    assert_int_equal(fix.endpoints.count, 1);
    check_addr(&fix.requested[1], "[::]:0");
}

/* Free for the first, taken for the second: starts over with another port, nothing left open. */
static void test_a_port_that_is_not_free_for_all(void **state)
{
    (void)state;
    fix.results[1] = -EADDRINUSE;
    fix.results[4] = -EADDRINUSE;
    assert_int_equal(open_named(0), 0);
    assert_int_equal(fix.calls, 8);
    check_addr(&fix.requested[2], "127.0.0.1:0");
    check_addr(&fix.requested[3], "[::1]:40001");
    check_addr(&fix.requested[4], "127.0.0.2:40001");
    check_addr(&fix.requested[7], "127.0.0.2:40002");
    assert_int_equal(fix.endpoints.count, 3);
    assert_int_equal(fix.open, 3);
    assert_int_equal(fix.endpoints.fds[0], FIRST_FD + 5);
}

static void test_it_gives_up_on_a_port_some_time(void **state)
{
    (void)state;
    fix.always = -EADDRINUSE;
    assert_int_equal(open_named(0), -EADDRINUSE);
    assert_int_equal(fix.calls, 2 * (1 + PORT_TRIES));
    check_failed("[::1]:40016");
}

static void test_a_port_in_use_is_told_at_once(void **state)
{
    (void)state;
    fix.results[1] = -EADDRINUSE;
    assert_int_equal(open_named(25000), -EADDRINUSE);
    assert_int_equal(fix.calls, 2);
    check_failed("[::1]:25000");
}

static void test_the_default_in_use(void **state)
{
    (void)state;
    fix.results[0] = -EADDRINUSE;
    assert_int_equal(open_default(25000), -EADDRINUSE);
    assert_int_equal(fix.calls, 1);
    check_failed("0.0.0.0:25000");
}

/* Either family may be missing, but only if nobody has asked for it, and not both. */
static void test_a_family_may_be_missing(void **state)
{
    static const int errors[] = {-EAFNOSUPPORT, -EADDRNOTAVAIL};
    (void)state;
    for (int missing = 0; missing < 2; missing++)
        for (int e = 0; e < 2; e++) {
            fix.calls = 0;
            memset(fix.results, 0, sizeof fix.results);
            fix.results[missing] = errors[e];
            assert_int_equal(open_default(25000), 0);
            assert_int_equal(fix.endpoints.count, 1);
            assert_int_equal(fix.endpoints.fds[0], FIRST_FD + 1 - missing);
            endpoints_close(&fix.endpoints);
            assert_int_equal(fix.open, 0);
        }
}

static void test_both_families_are_missing(void **state)
{
    (void)state;
    fix.results[0] = fix.results[1] = -EAFNOSUPPORT;
    assert_int_equal(open_default(25000), -EAFNOSUPPORT);
    check_failed("[::]:25000");
}

static void test_a_named_family_must_not_be_missing(void **state)
{
    (void)state;
    fix.results[1] = -EAFNOSUPPORT;
    assert_int_equal(open_named(25000), -EAFNOSUPPORT);
    check_failed("[::1]:25000");
}

static void test_other_errors_of_the_default(void **state)
{
    (void)state;
    fix.results[1] = -EACCES;
    assert_int_equal(open_default(7), -EACCES);
    check_failed("[::]:7");
}

static void test_the_last_address_fails(void **state)
{
    (void)state;
    fix.results[2] = -EADDRNOTAVAIL;
    assert_int_equal(open_named(7), -EADDRNOTAVAIL);
    check_failed("127.0.0.2:7");
    assert_int_equal(fix.calls, 3);
}

static void test_no_memory(void **state)
{
    (void)state;
    fix.malloc_fails = true;
    assert_int_equal(open_default(7), -ENOMEM);
    assert_int_equal(fix.endpoints.count, 0);
    assert_int_equal(fix.endpoints.failed.sa.sa_family, AF_INET);
    assert_int_equal(fix.calls, 0);
}

/* Not knowing the port of the first, the others take free ones themselves. */
static void test_a_port_that_cannot_be_asked(void **state)
{
    (void)state;
    fix.local_fails = true;
    assert_int_equal(open_named(0), 0);
    check_addr(&fix.requested[2], "127.0.0.2:0");
}

static void test_what_was_taken_over_is_not_closed(void **state)
{
    (void)state;
    assert_int_equal(open_named(7), 0);
    fix.endpoints.fds[1] = -1;
    endpoints_close(&fix.endpoints);
    assert_int_equal(fix.open, 1);
    fix.open = 0;
    endpoints_close(&fix.endpoints); /* twice is harmless */
}

static void test_real_addresses_share_a_port(void **state)
{
    (void)state;
    int fds = count_fds();
    union net_addr addrs[] = {addr_of("127.0.0.1"), addr_of("127.0.0.2")};
    union net_addr local[2];
    fix.real = true;
    assert_int_equal(endpoints_open(&fix.endpoints, addrs, 2, 0, 1), 0);
    assert_int_equal(count_fds(), fds + 2);
    for (int i = 0; i < 2; i++)
        assert_int_equal(net_local(fix.endpoints.fds[i], &local[i]), 0);
    assert_int_not_equal(net_port(&local[0]), 0);
    assert_int_equal(net_port(&local[0]), net_port(&local[1]));
    endpoints_close(&fix.endpoints);
    assert_int_equal(count_fds(), fds);
}

/* One that can only be listened on once, and so is in use whatever the port. */
static void test_a_real_port_in_use(void **state)
{
    (void)state;
    int fds = count_fds();
    union net_addr addrs[] = {addr_of("127.0.0.1"), addr_of("127.0.0.1")};
    fix.real = true;
    assert_int_equal(endpoints_open(&fix.endpoints, addrs, 2, 0, 1), -EADDRINUSE);
    assert_int_equal(count_fds(), fds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_both_families_by_default),
        FIXTURE_TEST(test_named_addresses),
        FIXTURE_TEST(test_a_free_port_is_shared),
        FIXTURE_TEST(test_a_free_port_without_ipv4),
        FIXTURE_TEST(test_a_port_that_is_not_free_for_all),
        FIXTURE_TEST(test_it_gives_up_on_a_port_some_time),
        FIXTURE_TEST(test_a_port_in_use_is_told_at_once),
        FIXTURE_TEST(test_the_default_in_use),
        FIXTURE_TEST(test_a_family_may_be_missing),
        FIXTURE_TEST(test_both_families_are_missing),
        FIXTURE_TEST(test_a_named_family_must_not_be_missing),
        FIXTURE_TEST(test_other_errors_of_the_default),
        FIXTURE_TEST(test_the_last_address_fails),
        FIXTURE_TEST(test_no_memory),
        FIXTURE_TEST(test_a_port_that_cannot_be_asked),
        FIXTURE_TEST(test_what_was_taken_over_is_not_closed),
        FIXTURE_TEST(test_real_addresses_share_a_port),
        FIXTURE_TEST(test_a_real_port_in_use),
    };
    return RUN_TESTS("endpoints", tests);
}
