/*
 * origins.c: a table of sources and destinations, and what becomes of their datagrams.
 */
#include "stream/origins.h"

#include "unit/support.h"

#include <arpa/inet.h>

static const uint16_t ports[] = {25000, 7777};

static const struct {
    const char *source;
    uint16_t port;
    bool shared;
    enum datagram_result result;     /* as usual */
    enum datagram_result any_source; /* with --udp-any-source */
} table[] = {
    {"192.0.2.1", 40000, false, DATAGRAM_ANSWERED, DATAGRAM_ANSWERED},
    {"127.0.0.1", 1024, false, DATAGRAM_ANSWERED, DATAGRAM_ANSWERED},
    {"127.0.0.1", 65535, false, DATAGRAM_ANSWERED, DATAGRAM_ANSWERED},
    {"2001:db8::1", 40000, false, DATAGRAM_ANSWERED, DATAGRAM_ANSWERED},
    {"::1", 40000, false, DATAGRAM_ANSWERED, DATAGRAM_ANSWERED},
    {"fe80::1", 40000, false, DATAGRAM_ANSWERED, DATAGRAM_ANSWERED},
    /* ports */
    {"192.0.2.1", 0, false, DATAGRAM_PORT, DATAGRAM_PORT},
    {"192.0.2.1", 7, false, DATAGRAM_PORT, DATAGRAM_ANSWERED},
    {"192.0.2.1", 19, false, DATAGRAM_PORT, DATAGRAM_ANSWERED},
    {"2001:db8::1", 53, false, DATAGRAM_PORT, DATAGRAM_ANSWERED},
    {"192.0.2.1", 1023, false, DATAGRAM_PORT, DATAGRAM_ANSWERED},
    {"192.0.2.1", 2048, false, DATAGRAM_ANSWERED, DATAGRAM_ANSWERED},
    {"192.0.2.1", 2049, false, DATAGRAM_PORT, DATAGRAM_ANSWERED},
    {"192.0.2.1", 25000, false, DATAGRAM_OWN, DATAGRAM_OWN},
    {"2001:db8::1", 7777, false, DATAGRAM_OWN, DATAGRAM_OWN},
    /* addresses */
    {"0.0.0.0", 40000, false, DATAGRAM_ADDRESS, DATAGRAM_ADDRESS},
    {"0.1.2.3", 40000, false, DATAGRAM_ADDRESS, DATAGRAM_ADDRESS},
    {"255.255.255.255", 40000, false, DATAGRAM_ADDRESS, DATAGRAM_ADDRESS},
    {"127.255.255.255", 40000, false, DATAGRAM_ADDRESS, DATAGRAM_ADDRESS},
    {"224.0.0.1", 40000, false, DATAGRAM_ADDRESS, DATAGRAM_ADDRESS},
    {"239.255.255.255", 40000, false, DATAGRAM_ADDRESS, DATAGRAM_ADDRESS},
    {"::", 40000, false, DATAGRAM_ADDRESS, DATAGRAM_ADDRESS},
    {"ff02::1", 40000, false, DATAGRAM_ADDRESS, DATAGRAM_ADDRESS},
    {"::ffff:192.0.2.1", 40000, false, DATAGRAM_ADDRESS, DATAGRAM_ADDRESS},
    {"192.0.2.1", 40000, true, DATAGRAM_ADDRESS, DATAGRAM_ADDRESS},
    {"2001:db8::1", 40000, true, DATAGRAM_ADDRESS, DATAGRAM_ADDRESS},
};

static union net_addr addr_of(const char *text, uint16_t port)
{
    union net_addr addr = net_any(strchr(text, ':') != NULL ? AF_INET6 : AF_INET);
    void *in = addr.sa.sa_family == AF_INET ? (void *)&addr.in.sin_addr : &addr.in6.sin6_addr;
    assert_int_equal(inet_pton(addr.sa.sa_family, text, in), 1);
    net_set_port(&addr, port);
    return addr;
}

static void test_table(void **state)
{
    (void)state;
    struct origins origins = {.ports = ports, .count = sizeof ports / sizeof *ports};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const union net_addr peer = addr_of(table[i].source, table[i].port);
        const struct datagram datagram = {.peer = &peer, .shared = table[i].shared};
        origins.any_source = false;
        if (origins_judge(&origins, &datagram) != table[i].result)
            fail_msg("%s port %d", table[i].source, table[i].port);
        origins.any_source = true;
        if (origins_judge(&origins, &datagram) != table[i].any_source)
            fail_msg("%s port %d with any source", table[i].source, table[i].port);
    }
}

static void test_local_clients(void **state)
{
    (void)state;
    const struct origins origins = {.ports = ports, .count = 1};
    const union net_addr bound = {.un = {.sun_family = AF_UNIX, .sun_path = "/x"}};
    const union net_addr unbound = {.sa = {.sa_family = AF_UNSPEC}};
    struct datagram datagram = {.peer = &bound};
    assert_int_equal(origins_judge(&origins, &datagram), DATAGRAM_ANSWERED);
    datagram.peer = &unbound;
    assert_int_equal(origins_judge(&origins, &datagram), DATAGRAM_ADDRESS);
}

/* A client's link has led an answer to a socket of ours. */
static void test_our_own_names(void **state)
{
    (void)state;
    const union net_addr names[] = {{.un = {.sun_family = AF_UNIX, .sun_path = "/x"}},
                                    {.un = {.sun_family = AF_UNIX, .sun_path = "/ours"}}};
    const union net_addr other = {.un = {.sun_family = AF_UNIX, .sun_path = "/ours too"}};
    const struct origins origins = {.names = names, .names_count = 2, .any_source = true};
    struct datagram datagram = {.peer = &names[1]};
    assert_int_equal(origins_judge(&origins, &datagram), DATAGRAM_OWN);
    datagram.peer = &other;
    assert_int_equal(origins_judge(&origins, &datagram), DATAGRAM_ANSWERED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_local_clients),
        cmocka_unit_test(test_our_own_names),
    };
    return RUN_TESTS("origins", tests);
}
