#include "stream/proxy_header.h"

#include <arpa/inet.h>
#include <stdint.h>
#include <string.h>

_Static_assert(sizeof((struct sockaddr_un *)0)->sun_path == 108, "as long as in version 2");

/* The first byte tells the versions apart: no line of version 1 begins with CR. */
static const unsigned char v1_begin[] = {'P', 'R', 'O', 'X', 'Y', ' '};
static const unsigned char v2_begin[] = {'\r', '\n', '\r', '\n', 0,   '\r',
                                         '\n', 'Q',  'U',  'I',  'T', '\n'};

enum { V1_SHORTEST = sizeof "PROXY UNKNOWN\r\n" - 1 };

static struct proxy_header header_is(enum proxy_header_kind kind)
{
    return (struct proxy_header){.kind = kind};
}

static struct proxy_header header_lacks(size_t missing)
{
    return (struct proxy_header){.kind = PROXY_HEADER_PARTIAL, .missing = missing};
}

/* Whether the bytes are like the beginning, as far as both go. */
static bool header_begins(const unsigned char *bytes, size_t len, const unsigned char *begin,
                          size_t begin_len)
{
    return memcmp(bytes, begin, len < begin_len ? len : begin_len) == 0;
}

/* ---- version 1: a line of words with one space between ---- */

enum { V1_WORDS_MAX = 6, V1_WORD_BYTES = INET6_ADDRSTRLEN };

enum { V1_PROXY, V1_PROTOCOL, V1_SOURCE, V1_DESTINATION, V1_SOURCE_PORT, V1_DESTINATION_PORT };

/* The words of a line, or of as much as has come; the last one may go on. */
struct v1_line {
    char word[V1_WORDS_MAX][V1_WORD_BYTES];
    unsigned words;
    bool overlong; /* a word is longer than any may be, or there are too many */
};

static void v1_split(struct v1_line *line, const unsigned char *bytes, size_t len)
{
    size_t at = 0;
    *line = (struct v1_line){.words = 1};
    for (size_t i = 0; i < len && !line->overlong; i++) {
        if (bytes[i] == ' ' && line->words < V1_WORDS_MAX) {
            line->words++;
            at = 0;
        } else if (bytes[i] == ' ' || bytes[i] == '\0' || at == V1_WORD_BYTES - 1) {
            line->overlong = true; /* inet_pton(3) would take what stands before a NUL for all */
        } else {
            line->word[line->words - 1][at++] = (char)bytes[i];
        }
    }
}

static bool v1_is(const struct v1_line *line, const char *protocol)
{
    return strcmp(line->word[V1_PROTOCOL], protocol) == 0;
}

/*
 * Bytes that follow at the least. The shortest addresses are "0.0.0.0" and "::", and the shortest
 * port is "0". A word that has begun may be at its end.
 */
static size_t v1_missing(const struct v1_line *line, size_t len)
{
    static const size_t behind_in[V1_WORDS_MAX] = {0, 22, 14, 6, 4, 2};
    static const size_t behind_in6[V1_WORDS_MAX] = {0, 12, 9, 6, 4, 2};
    const unsigned last = line->words - 1;
    if (len < V1_SHORTEST)
        return V1_SHORTEST - len;
    if (v1_is(line, "TCP4"))
        return behind_in[last];
    return v1_is(line, "TCP6") ? behind_in6[last] : 2;
}

/* Decimal, 0 to 65535, without a zero before other digits. Returns the port, or -1. */
static int v1_port(const char *digits)
{
    int port = 0;
    if (*digits == '\0' || (digits[0] == '0' && digits[1] != '\0'))
        return -1;
    for (; *digits >= '0' && *digits <= '9' && port <= UINT16_MAX; digits++)
        port = port * 10 + (*digits - '0');
    return *digits == '\0' && port <= UINT16_MAX ? port : -1;
}

/* inet_pton(3) refuses zeroes before other digits in an IPv4 address, too. */
static struct proxy_header v1_client(const struct v1_line *line, sa_family_t family)
{
    struct proxy_header header = {.kind = PROXY_HEADER_CLIENT, .client = net_any(family)};
    struct in6_addr destination;
    void *source = family == AF_INET ? (void *)&header.client.in.sin_addr
                                     : (void *)&header.client.in6.sin6_addr;
    int port = v1_port(line->word[V1_SOURCE_PORT]);
    if (line->overlong || line->words != V1_WORDS_MAX || port < 0 ||
        v1_port(line->word[V1_DESTINATION_PORT]) < 0 ||
        inet_pton(family, line->word[V1_SOURCE], source) != 1 ||
        inet_pton(family, line->word[V1_DESTINATION], &destination) != 1)
        return header_is(PROXY_HEADER_ADDRESS);
    net_set_port(&header.client, (uint16_t)port);
    return header;
}

/* A line without its CR and LF. */
static struct proxy_header v1_whole(const struct v1_line *line)
{
    if (v1_is(line, "UNKNOWN")) /* the rest of the line must be ignored */
        return header_is(PROXY_HEADER_ANONYMOUS);
    if (v1_is(line, "TCP4"))
        return v1_client(line, AF_INET);
    if (v1_is(line, "TCP6"))
        return v1_client(line, AF_INET6);
    return header_is(PROXY_HEADER_PROTOCOL);
}

/* The protocol may not have come to its end yet. */
static bool v1_may_be(const struct v1_line *line, const char *protocol)
{
    const char *word = line->word[V1_PROTOCOL];
    if (line->words > V1_PROTOCOL + 1)
        return v1_is(line, protocol);
    return strncmp(protocol, word, strlen(word)) == 0;
}

/* What is wrong is said as soon as it is known: whoever sends that may wait for an answer. */
static struct proxy_header v1_partial(const struct v1_line *line, size_t len)
{
    bool unknown = v1_may_be(line, "UNKNOWN");
    if (line->words > V1_PROTOCOL && !unknown && !v1_may_be(line, "TCP4") &&
        !v1_may_be(line, "TCP6"))
        return header_is(PROXY_HEADER_PROTOCOL);
    if (line->overlong && !unknown)
        return header_is(PROXY_HEADER_ADDRESS);
    return header_lacks(v1_missing(line, len));
}

/*
 * Only what is asked for has been read, so a LF can only be the last byte, or stand where it makes
 * the line wrong. The same holds for a CR: it is the last byte, or that before the last.
 */
static struct proxy_header v1_parse(const unsigned char *bytes, size_t len)
{
    struct v1_line line;
    if (!header_begins(bytes, len, v1_begin, sizeof v1_begin))
        return header_is(PROXY_HEADER_NONE);
    const unsigned char *cr = memchr(bytes, '\r', len);
    const unsigned char *lf = memchr(bytes, '\n', len);
    size_t line_len = cr != NULL ? (size_t)(cr - bytes) : len;
    v1_split(&line, bytes, line_len);
    if (line.overlong && line.words <= V1_PROTOCOL + 1)
        return header_is(PROXY_HEADER_PROTOCOL);
    if (cr != NULL && lf == cr + 1 && lf == bytes + len - 1)
        return len <= PROXY_HEADER_V1_MAX ? v1_whole(&line) : header_is(PROXY_HEADER_LONG);
    if (lf != NULL || (cr != NULL && line_len != len - 1))
        return header_is(PROXY_HEADER_LINE);
    if (len >= PROXY_HEADER_V1_MAX)
        return header_is(PROXY_HEADER_LONG);
    struct proxy_header header = v1_partial(&line, line_len);
    if (header.kind == PROXY_HEADER_PARTIAL && cr != NULL)
        header.missing = 1; /* the LF */
    return header;
}

/* ---- version 2: 16 bytes, addresses, TLVs ---- */

enum {
    V2_HEAD = 16, /* the bytes that each has */
    V2_VERSION = 0x20,
    V2_LOCAL = 0,
    V2_PROXY = 1,
    V2_UNSPEC = 0x00,
    V2_TCP4 = 0x11,
    V2_UDP4 = 0x12,
    V2_TCP6 = 0x21,
    V2_UDP6 = 0x22,
    V2_STREAM = 0x31,
    V2_DATAGRAM = 0x32,
    V2_PATH = 108, /* bytes of a Unix address, which may have no NUL */
    V2_TLV_HEAD = 3,
    V2_CRC32C = 0x03, /* the type of that TLV */
    V2_CRC32C_BYTES = 4,
};

static size_t v2_short(const unsigned char *bytes)
{
    return (size_t)bytes[0] << 8 | bytes[1];
}

/* Bytes of both addresses and ports, or -1 for a combination that is not defined. */
static int v2_addresses(unsigned family)
{
    switch (family) {
    case V2_UNSPEC:
        return 0;
    case V2_TCP4:
    case V2_UDP4:
        return 2 * 4 + 2 * 2;
    case V2_TCP6:
    case V2_UDP6:
        return 2 * 16 + 2 * 2;
    case V2_STREAM:
    case V2_DATAGRAM:
        return 2 * V2_PATH;
    default:
        return -1;
    }
}

/* The client's address. Datagrams have none that a stream could have. */
static struct proxy_header v2_client(unsigned family, const unsigned char *addr)
{
    struct proxy_header header = {.kind = PROXY_HEADER_CLIENT, .client = net_any(AF_UNSPEC)};
    union net_addr *client = &header.client;
    switch (family) {
    case V2_TCP4:
        client->in.sin_family = AF_INET;
        memcpy(&client->in.sin_addr, addr, 4);
        net_set_port(client, (uint16_t)v2_short(addr + 8));
        return header;
    case V2_TCP6:
        client->in6.sin6_family = AF_INET6;
        memcpy(&client->in6.sin6_addr, addr, 16);
        net_set_port(client, (uint16_t)v2_short(addr + 32));
        return header;
    case V2_STREAM:
        client->un.sun_family = AF_UNIX;
        memcpy(client->un.sun_path, addr, V2_PATH);
        return header;
    default:
        return header_is(PROXY_HEADER_ANONYMOUS);
    }
}

/* CRC-32C (RFC 9260, appendix A), a bit at a time: a header is short, and few have one. */
static uint32_t crc32c_add(uint32_t crc, unsigned char byte)
{
    crc ^= byte;
    for (int bit = 0; bit < 8; bit++)
        crc = crc >> 1 ^ (UINT32_C(0x82f63b78) & (0 - (crc & 1)));
    return crc;
}

/* The checksum is that of all bytes, its own as zeroes. */
static bool v2_checksum_is_right(const unsigned char *bytes, size_t len, size_t at)
{
    uint32_t crc = UINT32_MAX;
    uint32_t said = 0;
    for (size_t i = 0; i < len; i++) {
        bool own = i >= at && i < at + V2_CRC32C_BYTES;
        crc = crc32c_add(crc, own ? 0 : bytes[i]);
        if (own)
            said = said << 8 | bytes[i];
    }
    return said == (crc ^ UINT32_MAX);
}

static enum proxy_header_kind v2_check_tlvs(const unsigned char *bytes, size_t len, size_t at)
{
    while (at < len) {
        if (len - at < V2_TLV_HEAD || len - at - V2_TLV_HEAD < v2_short(bytes + at + 1))
            return PROXY_HEADER_TLV;
        size_t value_len = v2_short(bytes + at + 1);
        unsigned type = bytes[at];
        at += V2_TLV_HEAD;
        if (type == V2_CRC32C &&
            (value_len != V2_CRC32C_BYTES || !v2_checksum_is_right(bytes, len, at)))
            return PROXY_HEADER_CHECKSUM;
        at += value_len;
    }
    return PROXY_HEADER_CLIENT;
}

/* All of them have come. Of LOCAL and UNSPEC the document wants the rest to be discarded. */
static struct proxy_header v2_whole(const unsigned char *bytes, size_t len)
{
    const unsigned family = bytes[13];
    if (bytes[12] == (V2_VERSION | V2_LOCAL) || family == V2_UNSPEC)
        return header_is(PROXY_HEADER_ANONYMOUS);
    enum proxy_header_kind kind = v2_check_tlvs(bytes, len, V2_HEAD + (size_t)v2_addresses(family));
    return kind == PROXY_HEADER_CLIENT ? v2_client(family, bytes + V2_HEAD) : header_is(kind);
}

static struct proxy_header v2_parse(const unsigned char *bytes, size_t len)
{
    if (!header_begins(bytes, len, v2_begin, sizeof v2_begin))
        return header_is(PROXY_HEADER_NONE);
    if (len < V2_HEAD)
        return header_lacks(V2_HEAD - len);
    const unsigned command = bytes[12] & 0xf;
    const int addresses = v2_addresses(bytes[13]);
    const size_t whole = V2_HEAD + v2_short(bytes + 14);
    if ((bytes[12] & 0xf0) != V2_VERSION)
        return header_is(PROXY_HEADER_VERSION);
    if (command != V2_LOCAL && command != V2_PROXY)
        return header_is(PROXY_HEADER_COMMAND);
    if (command == V2_PROXY && addresses < 0)
        return header_is(PROXY_HEADER_FAMILY);
    if (whole > PROXY_HEADER_MAX)
        return header_is(PROXY_HEADER_LONG);
    if (command == V2_PROXY && whole < V2_HEAD + (size_t)addresses)
        return header_is(PROXY_HEADER_SHORT);
    return len < whole ? header_lacks(whole - len) : v2_whole(bytes, len);
}

struct proxy_header proxy_header_parse(const unsigned char *bytes, size_t len)
{
    if (len == 0)
        return header_lacks(V1_SHORTEST);
    return bytes[0] == v2_begin[0] ? v2_parse(bytes, len) : v1_parse(bytes, len);
}
