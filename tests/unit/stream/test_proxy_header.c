/*
 * proxy_header.c: the rules of the document, doc/proxy-protocol.txt of HAProxy, one by one. Each
 * header is given in the pieces that its parser asks for, and in every split of these.
 */
#include "stream/proxy_header.h"

#include "unit/support.h"

#define V2 "\r\n\r\n\0\r\nQUIT\n"

/* 192.0.2.1:1234 to 192.0.2.2:25000, and 2001:db8::1 to 2001:db8::2. */
#define IN "\xc0\x00\x02\x01\xc0\x00\x02\x02\x04\xd2\x61\xa8"
#define IN6                                                                                        \
    "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\x04\xd2" \
    "\x61\xa8"

enum { BEHIND = 100 }; /* bytes of the client behind a header */

/*
 * Reads as the daemon does, never more than step bytes at a time. What has been read in the end is
 * the header and no byte more, unless it is bad.
 */
static struct proxy_header read_by(const unsigned char *bytes, size_t len, size_t step)
{
    struct proxy_header header = {.kind = PROXY_HEADER_PARTIAL};
    size_t have = 0;
    for (;;) {
        unsigned char *seen = malloc(have + 1); /* so that a sanitizer sees what is not there */
        assert_non_null(seen);
        memcpy(seen, bytes, have);
        header = proxy_header_parse(seen, have);
        free(seen);
        if (header.kind != PROXY_HEADER_PARTIAL)
            break;
        assert_true(header.missing > 0);
        if (have == len)
            return header;
        size_t most = header.missing < step ? header.missing : step;
        have += most < len - have ? most : len - have;
    }
    if (header.kind == PROXY_HEADER_CLIENT || header.kind == PROXY_HEADER_ANONYMOUS)
        assert_int_equal(have, len - BEHIND);
    return header;
}

/* What is bad for several reasons may be told by another one when it comes in larger pieces. */
static struct proxy_header read_all(const char *bytes, size_t len)
{
    static unsigned char all[PROXY_HEADER_MAX + 1 + BEHIND];
    memset(all, 'x', sizeof all);
    memcpy(all, bytes, len);
    struct proxy_header header = read_by(all, len + BEHIND, 1);
    bool good = header.kind < PROXY_HEADER_NONE;
    for (size_t step = 2; step < 20; step++) {
        enum proxy_header_kind kind = read_by(all, len + BEHIND, step).kind;
        assert_true(good ? kind == header.kind : kind >= PROXY_HEADER_NONE);
    }
    assert_true(good == (read_by(all, len + BEHIND, SIZE_MAX).kind < PROXY_HEADER_NONE));
    return header;
}

static void check(const char *bytes, size_t len, enum proxy_header_kind kind, const char *client)
{
    char text[NET_ADDR_STRLEN];
    struct proxy_header header = read_all(bytes, len);
    assert_int_equal(header.kind, kind);
    if (client != NULL)
        assert_string_equal(net_format(&header.client, text), client);
    else
        assert_int_equal(header.client.sa.sa_family, AF_UNSPEC);
}

#define CLIENT(bytes, client) check(bytes, sizeof(bytes) - 1, PROXY_HEADER_CLIENT, client)
#define IS(kind, bytes)       check(bytes, sizeof(bytes) - 1, PROXY_HEADER_##kind, NULL)

static void test_v1_client(void **state)
{
    (void)state;
    CLIENT("PROXY TCP4 192.0.2.1 192.0.2.2 1234 25000\r\n", "192.0.2.1:1234");
    CLIENT("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n", "0.0.0.0:0");
    CLIENT("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255:65535");
    CLIENT("PROXY TCP6 2001:db8::1 2001:db8::2 1234 25000\r\n", "[2001:db8::1]:1234");
    CLIENT("PROXY TCP6 :: :: 0 0\r\n", "[::]:0");
    CLIENT("PROXY TCP6 2001:DB8::A ::ffff:192.0.2.1 1 2\r\n", "[2001:db8::a]:1");
    CLIENT("PROXY TCP6 ffff:f:0001:ffff:ffff:ffff:ffff:ffff "
           "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n",
           "[ffff:f:1:ffff:ffff:ffff:ffff:ffff]:65535");
}

static void test_v1_unknown(void **state)
{
    char longest[PROXY_HEADER_V1_MAX + 1];
    (void)state;
    IS(ANONYMOUS, "PROXY UNKNOWN\r\n");
    IS(ANONYMOUS, "PROXY UNKNOWN \r\n");
    IS(ANONYMOUS, "PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n");
    IS(ANONYMOUS, "PROXY UNKNOWN a b c d e f g h\r\n");
    memset(longest, 'y', sizeof longest);
    memcpy(longest, "PROXY UNKNOWN ", 14);
    memcpy(longest + PROXY_HEADER_V1_MAX - 2, "\r\n", 2);
    check(longest, PROXY_HEADER_V1_MAX, PROXY_HEADER_ANONYMOUS, NULL);
    memset(longest + PROXY_HEADER_V1_MAX - 2, 'y', 1);
    memcpy(longest + PROXY_HEADER_V1_MAX - 1, "\r\n", 2);
    check(longest, PROXY_HEADER_V1_MAX + 1, PROXY_HEADER_LONG, NULL);
}

static void test_v1_bad(void **state)
{
    (void)state;
    IS(NONE, "GET / HTTP/1.1\r\n\r\n");
    IS(NONE, "proxy UNKNOWN\r\n");
    IS(NONE, "PROXYUNKNOWN \r\n");
    IS(NONE, " PROXY UNKNOWN\r\n");
    IS(PROTOCOL, "PROXY  UNKNOWN\r\n");
    IS(PROTOCOL, "PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n");
    IS(PROTOCOL, "PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n");
    IS(PROTOCOL, "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n");
    IS(PROTOCOL, "PROXY UNKNOWNS\r\n");
    IS(PROTOCOL, "PROXY TCP46 192.0.2.1 192.0.2.2 1 2\r\n");
    IS(PROTOCOL, "PROXY UNKNOWN\0\r\n");
    IS(PROTOCOL, "PROXY TCP\r\n");
    IS(LINE, "PROXY UNKNOWN\n");
    IS(LINE, "PROXY TCP4 192.0.2.1 192.0.2.2 1234 25000\n");
    IS(LINE, "PROXY UNKNOWN \rx\r\n");
}

static void test_v1_bad_addresses(void **state)
{
    (void)state;
    IS(ADDRESS, "PROXY TCP4 192.0.2.1 192.0.2.2 1234\r\n");
    IS(ADDRESS, "PROXY TCP4 192.0.2.1 192.0.2.2 1234 25000 \r\n");
    IS(ADDRESS, "PROXY TCP4  192.0.2.1 192.0.2.2 1234 25000\r\n");
    IS(ADDRESS, "PROXY TCP4 192.0.2.01 192.0.2.2 1234 25000\r\n");
    IS(ADDRESS, "PROXY TCP4 192.0.2.1 192.0.02.2 1234 25000\r\n");
    IS(ADDRESS, "PROXY TCP4 192.0.2.1 192.0.2.2 01234 25000\r\n");
    IS(ADDRESS, "PROXY TCP4 192.0.2.1 192.0.2.2 1234 00\r\n");
    IS(ADDRESS, "PROXY TCP4 192.0.2.1 192.0.2.2 65536 25000\r\n");
    IS(ADDRESS, "PROXY TCP4 192.0.2.1 192.0.2.2 1234 99999999999999999999\r\n");
    IS(ADDRESS, "PROXY TCP4 192.0.2.1 192.0.2.2 -1 25000\r\n");
    IS(ADDRESS, "PROXY TCP4 192.0.2.1 192.0.2.2 1a 25000\r\n");
    IS(ADDRESS, "PROXY TCP4 192.0.2.256 192.0.2.2 1234 25000\r\n");
    IS(ADDRESS, "PROXY TCP4 192.0.2.1\0 192.0.2.2 1234 25000\r\n");
    IS(ADDRESS, "PROXY TCP4 2001:db8::1 2001:db8::2 1234 25000\r\n");
    IS(ADDRESS, "PROXY TCP6 192.0.2.1 192.0.2.2 1234 25000\r\n");
    IS(ADDRESS, "PROXY TCP6 2001::db8::1 2001:db8::2 1234 25000\r\n");
    IS(ADDRESS, "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff :: 1 2\r\n");
    IS(ADDRESS, "PROXY TCP4\r\n    ");
}

static void test_v2_client(void **state)
{
    static const char with_path[] = V2 "\x21\x31\x00\xd8/run/client\0";
    char bytes[16 + 216] = "";
    char whole[NET_ADDR_STRLEN];
    (void)state;
    CLIENT(V2 "\x21\x11\x00\x0c" IN, "192.0.2.1:1234");
    CLIENT(V2 "\x21\x21\x00\x24" IN6, "[2001:db8::1]:1234");
    memcpy(bytes, with_path, sizeof with_path - 1);
    check(bytes, sizeof bytes, PROXY_HEADER_CLIENT, "unix:/run/client");
    bytes[16] = '\0'; /* an abstract name */
    check(bytes, sizeof bytes, PROXY_HEADER_CLIENT, "unix:@run/client");
    memset(bytes + 16, 'p', 216); /* trafficserver#12191: 108 bytes without a NUL */
    (void)snprintf(whole, sizeof whole, "unix:%.108s", bytes + 16);
    check(bytes, sizeof bytes, PROXY_HEADER_CLIENT, whole);
}

/* The document: the receiver must take the connection's own addresses. */
static void test_v2_without_a_client(void **state)
{
    (void)state;
    IS(ANONYMOUS, V2 "\x20\x00\x00\x00");
    IS(ANONYMOUS, V2 "\x20\x11\x00\x0c" IN);
    IS(ANONYMOUS, V2 "\x20\x11\x00\x01x"); /* too short, and skipped unparsed all the same */
    IS(ANONYMOUS, V2 "\x20\xff\x00\x00");  /* the family of LOCAL is ignored */
    IS(ANONYMOUS, V2 "\x20\x00\x00\x07\x03\x00\x04none"); /* kubernetes#57250: LOCAL with TLVs */
    IS(ANONYMOUS, V2 "\x21\x00\x00\x00");
    IS(ANONYMOUS, V2 "\x21\x00\x00\x03\x01\x02\x03");
    IS(ANONYMOUS, V2 "\x21\x12\x00\x0c" IN); /* a datagram's */
    IS(ANONYMOUS, V2 "\x21\x22\x00\x24" IN6);
}

static void test_v2_bad(void **state)
{
    (void)state;
    IS(NONE, "\r\n\r\n\r\n");
    IS(NONE, "\r\n\r\n\0\r\nQUIT\r");
    IS(VERSION, V2 "\x11\x11\x00\x0c" IN);
    IS(VERSION, V2 "\x31\x11\x00\x0c" IN);
    IS(COMMAND, V2 "\x22\x11\x00\x0c" IN);
    IS(COMMAND, V2 "\x2f\x11\x00\x0c" IN);
    IS(FAMILY, V2 "\x21\x41\x00\x0c" IN);
    IS(FAMILY, V2 "\x21\x13\x00\x0c" IN);
    IS(FAMILY, V2 "\x21\x10\x00\x0c" IN);
    IS(FAMILY, V2 "\x21\x01\x00\x0c" IN);
    IS(SHORT, V2 "\x21\x11\x00\x0b" IN);
    IS(SHORT, V2 "\x21\x21\x00\x23" IN6);
    IS(SHORT, V2 "\x21\x31\x00\xd7/run/client");
    IS(SHORT, V2 "\x21\x32\x00\xd7/run/client");
    IS(LONG, V2 "\x21\x11\x0f\xf1" IN);
    IS(LONG, V2 "\x20\x00\xff\xff");
}

/* The longest header: one TLV fills it. */
static void test_v2_longest(void **state)
{
    static char bytes[PROXY_HEADER_MAX] = V2 "\x21\x11\x0f\xf0" IN "\x04\x0f\xe1";
    (void)state;
    check(bytes, sizeof bytes, PROXY_HEADER_CLIENT, "192.0.2.1:1234");
}

static void test_v2_tlvs(void **state)
{
    (void)state;
    CLIENT(V2 "\x21\x11\x00\x0f" IN "\x04\x00\x00", "192.0.2.1:1234");
    CLIENT(V2 "\x21\x11\x00\x16" IN "\x02\x00\x03www\xe0\x00\x01x", "192.0.2.1:1234");
    IS(TLV, V2 "\x21\x11\x00\x0d" IN "\x04");
    IS(TLV, V2 "\x21\x11\x00\x0e" IN "\x04\x00");
    IS(TLV, V2 "\x21\x11\x00\x0f" IN "\x04\x00\x01");
    IS(TLV, V2 "\x21\x11\x00\x11" IN "\x04\xff\xffxx");
}

/* CRC-32C by the table of RFC 3720, appendix B.4, for a check that is none of ours. */
static uint32_t crc32c(const unsigned char *bytes, size_t len)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < len; i++) {
        uint32_t entry = (crc ^ bytes[i]) & 0xff;
        for (int bit = 0; bit < 8; bit++)
            entry = (entry & 1) != 0 ? entry >> 1 ^ 0x82f63b78 : entry >> 1;
        crc = crc >> 8 ^ entry;
    }
    return ~crc;
}

static void test_v2_checksum(void **state)
{
    char bytes[] = V2 "\x21\x11\x00\x17" IN "\x03\x00\x04\0\0\0\0\x04\x00\x01n";
    const size_t len = sizeof bytes - 1;
    (void)state;
    assert_int_equal(crc32c((const unsigned char *)"123456789", 9), 0xe3069283);
    uint32_t crc = crc32c((const unsigned char *)bytes, len);
    for (int i = 0; i < 4; i++)
        bytes[31 + i] = (char)(crc >> (24 - 8 * i) & 0xff);
    check(bytes, len, PROXY_HEADER_CLIENT, "192.0.2.1:1234");
    for (size_t i = 16; i < len; i++) { /* a bit that is wrong, in the addresses and in the TLVs */
        if (i == 28)
            continue; /* without its type there is no checksum */
        bytes[i] ^= 0x10;
        assert_int_not_equal(read_all(bytes, len).kind, PROXY_HEADER_CLIENT);
        bytes[i] ^= 0x10;
    }
    IS(CHECKSUM, V2 "\x21\x11\x00\x13" IN "\x03\x00\x04\0\0\0\0");
    IS(CHECKSUM, V2 "\x21\x11\x00\x12" IN "\x03\x00\x03\0\0\0");
}

/* A client may wait for an answer before it sends more: what is bad is told as soon as it is known.
 */
static void test_bad_at_once(void **state)
{
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {{"G", 1},       {"PX", 2},      {"\r\r", 2},
               {"PROXY X", 7}, {"PROXY  ", 7}, {V2 "\x10\0\0\0", 16}};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_true(proxy_header_parse((const unsigned char *)bad[i].bytes, bad[i].len).kind >=
                    PROXY_HEADER_NONE);
    assert_int_equal(proxy_header_parse(NULL, 0).missing, 15);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_v1_client),   cmocka_unit_test(test_v1_unknown),
        cmocka_unit_test(test_v1_bad),      cmocka_unit_test(test_v1_bad_addresses),
        cmocka_unit_test(test_v2_client),   cmocka_unit_test(test_v2_without_a_client),
        cmocka_unit_test(test_v2_bad),      cmocka_unit_test(test_v2_longest),
        cmocka_unit_test(test_v2_tlvs),     cmocka_unit_test(test_v2_checksum),
        cmocka_unit_test(test_bad_at_once),
    };
    return RUN_TESTS("proxy_header", tests);
}
