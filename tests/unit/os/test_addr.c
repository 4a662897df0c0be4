/*
 * test_addr.c - addresses: their ports, their conversion to text and back, the resolution of names
 * (with getaddrinfo() wrapped, so that no test uses a network), and the paths of Unix sockets.
 */
#include "unit/support.h"

#include "os/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netdb.h>
#include <stdio.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* What getaddrinfo() returns: rc, and list if rc is 0. */
static struct {
    bool active;
    int rc;
    struct addrinfo *list;
    int freed;
} resolver;

int __real_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                       struct addrinfo **list);
int __wrap_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                       struct addrinfo **list);
int __wrap_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                       struct addrinfo **list)
{
    if (!resolver.active)
        return __real_getaddrinfo(name, service, hints, list);
    if (resolver.rc == 0)
        *list = resolver.list;
    return resolver.rc;
}

void __real_freeaddrinfo(struct addrinfo *list);
void __wrap_freeaddrinfo(struct addrinfo *list);
void __wrap_freeaddrinfo(struct addrinfo *list)
{
    resolver.freed++;
    if (!resolver.active)
        __real_freeaddrinfo(list);
}

static int fixture_open(void **state)
{
    (void)state; /* some tests get the family here */
    memset(&resolver, 0, sizeof resolver);
    return 0;
}

static int fixture_close(void **state)
{
    (void)state;
    return 0;
}

static union net_addr loopback(sa_family_t family)
{
    union net_addr addr = net_any(family);
    if (family == AF_INET6)
        addr.in6.sin6_addr = in6addr_loopback;
    else
        addr.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return addr;
}

static socklen_t addr_len(const union net_addr *addr)
{
    return addr->sa.sa_family == AF_INET6 ? sizeof addr->in6 : sizeof addr->in;
}

static void test_ports(void **state)
{
    union net_addr addr = net_any(*(const sa_family_t *)*state);
    assert_int_equal(net_port(&addr), 0);
    net_set_port(&addr, 25000);
    assert_int_equal(net_port(&addr), 25000);
    assert_int_equal(ntohs(addr.in.sin_port), 25000); /* at the same offset in both families */
}

static void expect_format(sa_family_t family, const char *host, uint32_t scope, uint16_t port,
                          const char *text)
{
    union net_addr addr = net_any(family);
    char buf[NET_ADDR_STRLEN];
    void *raw = family == AF_INET6 ? (void *)&addr.in6.sin6_addr : (void *)&addr.in.sin_addr;
    assert_int_equal(inet_pton(family, host, raw), 1);
    if (family == AF_INET6)
        addr.in6.sin6_scope_id = scope;
    net_set_port(&addr, port);
    assert_ptr_equal(net_format(&addr, buf), buf);
    assert_string_equal(buf, text);
}

static void test_format(void **state)
{
    (void)state;
    expect_format(AF_INET, "192.0.2.1", 0, 80, "192.0.2.1:80");
    expect_format(AF_INET, "255.255.255.255", 0, 65535, "255.255.255.255:65535");
    expect_format(AF_INET, "0.0.0.0", 0, 0, "0.0.0.0:0");
    expect_format(AF_INET6, "2001:db8::1", 0, 80, "[2001:db8::1]:80");
    expect_format(AF_INET6, "::", 0, 25000, "[::]:25000");
    expect_format(AF_INET6, "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", 0, 65535,
                  "[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
}

static void test_format_with_zone(void **state)
{
    (void)state;
    char text[NET_ADDR_STRLEN];
    char name[IF_NAMESIZE];
    unsigned first = 1;
    while (first < 100 && if_indextoname(first, name) == NULL)
        first++;
    if (first == 100)
        skip();
    (void)snprintf(text, sizeof text, "[fe80::1%%%s]:7", name);
    expect_format(AF_INET6, "fe80::1", first, 7, text);
    expect_format(AF_INET6, "fe80::1", 4294967295U, 7,
                  "[fe80::1%4294967295]:7"); /* no interface has this number */
}

static void test_format_of_no_address(void **state)
{
    (void)state;
    char buf[NET_ADDR_STRLEN];
    union net_addr addr = net_any(AF_UNSPEC);
    assert_string_equal(net_format(&addr, buf), "?:0");
}

static void test_resolve_numeric(void **state)
{
    (void)state;
    union net_addr addrs[4];
    char buf[NET_ADDR_STRLEN];
    assert_int_equal(net_resolve("192.0.2.7", addrs, 4), 1); /* not 1 per socket type */
    assert_string_equal(net_format(&addrs[0], buf), "192.0.2.7:0");
    assert_int_equal(net_resolve("2001:db8::7", addrs, 4), 1);
    assert_string_equal(net_format(&addrs[0], buf), "[2001:db8::7]:0");
}

/* A label of more than 63 bytes fails before any name server is asked. */
static void test_resolve_bad_name(void **state)
{
    (void)state;
    union net_addr addr;
    char name[80];
    memset(name, 'x', sizeof name);
    memcpy(name + 70, ".invalid", sizeof ".invalid");
    int rc = net_resolve(name, &addr, 1);
    assert_true(rc < 0);
    assert_non_null(gai_strerror(rc));
}

static void test_resolve_failures(void **state)
{
    (void)state;
    static const int codes[] = {EAI_NONAME, EAI_AGAIN, EAI_FAIL, EAI_MEMORY, EAI_SYSTEM};
    union net_addr addr;
    resolver.active = true;
    for (size_t i = 0; i < COUNT(codes); i++) {
        int negative = codes[i] < 0 ? codes[i] : -codes[i];
        resolver.rc = codes[i];
        assert_int_equal(net_resolve("example.org", &addr, 1), negative);
        resolver.rc = -codes[i]; /* the sign differs between systems */
        assert_int_equal(net_resolve("example.org", &addr, 1), negative);
    }
    assert_int_equal(resolver.freed, 0);
}

/* The second of three results has a family that we do not use: net_resolve() leaves it out. */
static void test_resolve_chooses(void **state)
{
    (void)state;
    union net_addr found[] = {loopback(AF_INET), net_any(AF_UNIX), loopback(AF_INET6)};
    struct addrinfo list[3];
    union net_addr addrs[3];
    memset(list, 0, sizeof list);
    for (size_t i = 0; i < COUNT(list); i++) {
        list[i].ai_family = found[i].sa.sa_family;
        list[i].ai_addr = &found[i].sa;
        list[i].ai_addrlen = addr_len(&found[i]);
        list[i].ai_next = i + 1 < COUNT(list) ? &list[i + 1] : NULL;
    }
    resolver.active = true;
    resolver.list = list;
    assert_int_equal(net_resolve("example.org", addrs, 3), 2);
    assert_memory_equal(&addrs[0], &found[0], sizeof found[0].in);
    assert_memory_equal(&addrs[1], &found[2], sizeof found[2].in6);
    memset(addrs, 0, sizeof addrs);
    assert_int_equal(net_resolve("example.org", addrs, 1), 1);
    assert_int_equal(addrs[1].sa.sa_family, 0);
    assert_int_equal(resolver.freed, 2);
}

static void test_unix_addresses(void **state)
{
    (void)state;
    char path[128] = "/";
    union net_addr addr, other;
    memset(&addr, 0xa5, sizeof addr);
    memset(path + 1, 'x', 106);
    assert_int_equal(net_unix(path, &addr), 0);
    assert_int_equal(addr.sa.sa_family, AF_UNIX);
    assert_string_equal(addr.un.sun_path, path);
    assert_string_equal(net_unix_path(&addr), path);
    path[107] = 'x';
    assert_int_equal(net_unix(path, &other), -ENAMETOOLONG);
    assert_int_equal(net_unix("", &other), -EINVAL);
    assert_int_equal(net_unix("x", &other), 0); /* a relative path; the bytes behind it are zero */
    assert_memory_equal(other.un.sun_path, "x\0\0\0", 4);
    assert_int_equal(other.un.sun_path[107], 0);
    assert_int_equal(net_port(&addr), 0);
    other = addr;
    net_set_port(&addr, 25000);
    assert_memory_equal(&addr, &other, sizeof addr.un);
    assert_int_equal(net_port(&addr), 0);
}

static union net_addr with_port(union net_addr addr, uint16_t port)
{
    net_set_port(&addr, port);
    return addr;
}

static bool accepts(union net_addr listening, union net_addr own)
{
    return net_accepts(&listening, &own);
}

static void test_what_a_listener_accepts(void **state)
{
    const sa_family_t families[] = {AF_INET, AF_INET6};
    (void)state;
    for (int i = 0; i < 2; i++) {
        union net_addr any = with_port(net_any(families[i]), 80);
        union net_addr own = with_port(loopback(families[i]), 80);
        assert_true(accepts(any, own));
        assert_true(accepts(own, own));
        assert_false(accepts(own, any));
        assert_false(accepts(any, with_port(own, 81)));
        assert_false(accepts(any, with_port(loopback(families[1 - i]), 80)));
    }
    union net_addr path, abstract;
    assert_int_equal(net_unix("/run/x", &path), 0);
    assert_int_equal(net_unix("@/run/x", &abstract), 0);
    assert_true(accepts(path, path));
    assert_true(accepts(abstract, abstract));
    assert_false(accepts(path, abstract));
    assert_false(accepts(path, with_port(net_any(AF_INET), 0)));
}

static void test_abstract_addresses(void **state)
{
    (void)state;
    char name[128] = "@";
    union net_addr addr;
    memset(&addr, 0xa5, sizeof addr);
    assert_int_equal(net_unix("@ab", &addr), 0);
    assert_memory_equal(addr.un.sun_path, "\0ab\0", 4);
    assert_int_equal(addr.un.sun_path[107], 0);
    assert_null(net_unix_path(&addr));
    memset(name + 1, 'x', 106);
    assert_int_equal(net_unix(name, &addr), 0);
    name[107] = 'x';
    assert_int_equal(net_unix(name, &addr), -ENAMETOOLONG);
    addr = net_any(AF_INET6);
    assert_null(net_unix_path(&addr));
}

/* An empty name is refused, because the kernel would choose another name for the socket. */
static void test_an_abstract_address_has_a_name(void **state)
{
    (void)state;
    union net_addr addr;
    assert_int_equal(net_unix("@", &addr), -EINVAL);
}

static void expect_unix_format(const char *path, const char *expected)
{
    char buf[NET_ADDR_STRLEN];
    union net_addr addr;
    assert_int_equal(net_unix(path, &addr), 0);
    assert_ptr_equal(net_format(&addr, buf), buf);
    assert_string_equal(buf, expected);
}

static void test_format_unix(void **state)
{
    (void)state;
    char text[128] = "unix:/";
    expect_unix_format("/run/uvechod.socket", "unix:/run/uvechod.socket");
    expect_unix_format("relative", "unix:relative");
    expect_unix_format("@name", "unix:@name");
    memset(text + 6, 'x', 106);
    expect_unix_format(text + 5, text);
    text[5] = '@';
    expect_unix_format(text + 5, text);
    union net_addr full; /* an abstract name of 107 bytes, the longest that the kernel allows */
    char buf[NET_ADDR_STRLEN];
    memset(&full, 'y', sizeof full);
    full.un.sun_family = AF_UNIX;
    full.un.sun_path[0] = '\0';
    memset(text + 6, 'y', 107);
    assert_string_equal(net_format(&full, buf), text);
}

/* Another program may have bound such a path. The NUL that has no room does not count. */
static void test_a_path_that_fills_the_address(void **state)
{
    (void)state;
    union net_addr full;
    memset(&full, 'y', sizeof full);
    full.un.sun_family = AF_UNIX;
    assert_int_equal(net_addr_len(&full), sizeof full.un); /* bind(2) refuses a longer address */
    full.un.sun_path[107] = '\0';
    assert_int_equal(net_addr_len(&full), sizeof full.un);
    full.un.sun_path[106] = '\0';
    assert_int_equal(net_addr_len(&full), sizeof full.un - 1);
}

static void test_format_peer(void **state)
{
    (void)state;
    char buf[NET_ADDR_STRLEN];
    union net_peer peer = {.in = {.sin_family = AF_INET, .sin_port = htons(80)}};
    peer.in.sin_addr.s_addr = htonl(0xc0000201);
    assert_ptr_equal(net_format_peer(&peer, buf), buf);
    assert_string_equal(buf, "192.0.2.1:80");
    peer = (union net_peer){.in6 = {.sin6_family = AF_INET6, .sin6_port = htons(25000)}};
    peer.in6.sin6_addr = in6addr_loopback;
    assert_string_equal(net_format_peer(&peer, buf), "[::1]:25000");
    peer = (union net_peer){.un = {.family = AF_UNIX, .pid = 4711, .uid = 4294967294U}};
    assert_ptr_equal(net_format_peer(&peer, buf), buf);
    assert_string_equal(buf, "unix:pid=4711,uid=4294967294");
}

static sa_family_t v4 = AF_INET;
static sa_family_t v6 = AF_INET6;

#define V4_TEST(test)                                                                              \
    {                                                                                              \
#test "_v4", test, fixture_open, fixture_close, &v4                                        \
    }
#define V6_TEST(test)                                                                              \
    {                                                                                              \
#test "_v6", test, fixture_open, fixture_close, &v6                                        \
    }

static const struct CMUnitTest tests[] = {
    V4_TEST(test_ports),
    V6_TEST(test_ports),
    FIXTURE_TEST(test_format),
    FIXTURE_TEST(test_format_with_zone),
    FIXTURE_TEST(test_format_of_no_address),
    FIXTURE_TEST(test_resolve_numeric),
    FIXTURE_TEST(test_resolve_bad_name),
    FIXTURE_TEST(test_resolve_failures),
    FIXTURE_TEST(test_resolve_chooses),
    FIXTURE_TEST(test_unix_addresses),
    FIXTURE_TEST(test_what_a_listener_accepts),
    FIXTURE_TEST(test_abstract_addresses),
    FIXTURE_TEST(test_an_abstract_address_has_a_name),
    FIXTURE_TEST(test_format_unix),
    FIXTURE_TEST(test_a_path_that_fills_the_address),
    FIXTURE_TEST(test_format_peer),
};

int main(void)
{
    return RUN_TESTS("addr", tests);
}
