/*
 * cidr.c: networks as people write them, and who is in them.
 */
#include "os/cidr.h"

#include "unit/support.h"

#include <arpa/inet.h>
#include <errno.h>

static union net_peer peer_of(const char *text)
{
    union net_peer peer = {.sa.sa_family = AF_INET};
    if (inet_pton(AF_INET, text, &peer.in.sin_addr) == 1)
        return peer;
    peer.sa.sa_family = AF_INET6;
    assert_int_equal(inet_pton(AF_INET6, text, &peer.in6.sin6_addr), 1);
    return peer;
}

static bool has(const char *network, const char *addr)
{
    struct cidr cidr;
    union net_peer peer = peer_of(addr);
    assert_int_equal(cidr_parse(&cidr, network), 0);
    return cidr_has(&cidr, &peer);
}

static void test_ipv4(void **state)
{
    (void)state;
    assert_true(has("192.0.2.1", "192.0.2.1"));
    assert_false(has("192.0.2.1", "192.0.2.0"));
    assert_true(has("192.0.2.0/24", "192.0.2.255"));
    assert_false(has("192.0.2.0/24", "192.0.3.0"));
    assert_true(has("192.0.2.128/25", "192.0.2.200"));
    assert_false(has("192.0.2.128/25", "192.0.2.127"));
    assert_true(has("192.0.2.4/31", "192.0.2.5"));
    assert_false(has("192.0.2.4/31", "192.0.2.6"));
    assert_true(has("0.0.0.0/0", "255.255.255.255"));
    assert_true(has("10.1.2.3/8", "10.200.0.1")); /* bits behind the network's are ignored */
}

static void test_ipv6(void **state)
{
    (void)state;
    assert_true(has("2001:db8::1", "2001:db8::1"));
    assert_false(has("2001:db8::1", "2001:db8::2"));
    assert_true(has("2001:db8::/32", "2001:db8:ffff::"));
    assert_false(has("2001:db8::/32", "2001:db9::"));
    assert_true(has("2001:db8::/29", "2001:dbf::1"));
    assert_true(has("::/0", "2001:db8::1"));
}

/* A socket of both families shows IPv4 as mapped: that changes nothing. */
static void test_mapped(void **state)
{
    (void)state;
    assert_true(has("192.0.2.0/24", "::ffff:192.0.2.7"));
    assert_true(has("::ffff:192.0.2.0/120", "192.0.2.7"));
    assert_true(has("::ffff:0.0.0.0/96", "198.51.100.1"));
    assert_false(has("::ffff:192.0.2.0/120", "192.0.3.7"));
    assert_false(has("::/0", "192.0.2.1"));
    assert_false(has("::/0", "::ffff:192.0.2.1"));
    assert_false(has("0.0.0.0/0", "2001:db8::1"));
}

static void test_a_unix_peer(void **state)
{
    struct cidr cidr;
    union net_peer peer = {.sa.sa_family = AF_UNIX};
    (void)state;
    assert_int_equal(cidr_parse(&cidr, "0.0.0.0/0"), 0);
    assert_false(cidr_has(&cidr, &peer));
}

static void test_no_network(void **state)
{
    static const char *const wrong[] = {"",
                                        "/",
                                        "/8",
                                        "host",
                                        "192.0.2",
                                        "192.0.2/24",
                                        "192.0.2.0/",
                                        "192.0.2.0/33",
                                        "192.0.2.0/-1",
                                        "192.0.2.0/+8",
                                        "192.0.2.0/08",
                                        "192.0.2.0/ 8",
                                        "192.0.2.0/8 ",
                                        "192.0.2.0/8/8",
                                        "192.0.2.0/4294967304",
                                        "192.0.2.01/32",
                                        "192.0.2.256/8",
                                        "2001:db8::/129",
                                        "2001:db8::g/8",
                                        "::1%lo",
                                        "2001:0db8:0000:0000:0000:0000:0000:0000:0000:0000/8"};
    struct cidr cidr;
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_int_equal(cidr_parse(&cidr, wrong[i]), -EINVAL);
    assert_int_equal(cidr_parse(&cidr, "192.0.2.0/0"), 0);
    assert_int_equal(cidr_parse(&cidr, "2001:db8::/128"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ipv4),       cmocka_unit_test(test_ipv6),
        cmocka_unit_test(test_mapped),     cmocka_unit_test(test_a_unix_peer),
        cmocka_unit_test(test_no_network),
    };
    return RUN_TESTS("cidr", tests);
}
