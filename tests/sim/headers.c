/* The bytes of headers: good ones of both versions, and one for each fault. */
#include "headers.h"

#include "plan.h"
#include "world.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    HEADERS_EVENTS = 60, /* a header comes in so many pieces at the most */
    V2_HEAD = 16,
    V2_PATH = 108,
    V2_CRC32C = 3,
};

/* Of 10,000 clients. */
enum { HEADERS_CUT = 2000, HEADERS_BAD = 1200, HEADERS_AS_DATA = 4000 };

/* ---- bytes ---- */

static void header_put(struct header *header, const void *bytes, size_t count)
{
    memcpy(header->bytes + header->len, bytes, count);
    header->len += (uint32_t)count;
}

static void header_put_byte(struct header *header, unsigned byte)
{
    header->bytes[header->len++] = (unsigned char)byte;
}

static void header_put_short(struct header *header, unsigned number)
{
    header_put_byte(header, number >> 8);
    header_put_byte(header, number & 0xff);
}

static void header_print(struct header *header, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void header_print(struct header *header, const char *format, ...)
{
    char text[200];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    header_put(header, text, (size_t)len);
}

static void header_is(struct header *header, enum proxy_header_kind kind, uint32_t decided)
{
    header->kind = kind;
    header->decided = decided;
}

/* The addresses of a client, in text. */
struct origin {
    char in[20], in6[40], path[V2_PATH + 1];
    unsigned last, port; /* the last number of the two addresses, 1 to 250 */
};

static void origin_draw(struct origin *origin, struct chance *chance)
{
    origin->last = (unsigned)chance_between(chance, 1, 250);
    origin->port = (unsigned)chance_between(chance, 0, 65535);
    (void)snprintf(origin->in, sizeof origin->in, "192.0.2.%u", origin->last);
    (void)snprintf(origin->in6, sizeof origin->in6, "2001:db8::%x", origin->last);
    memset(origin->path, 'p', V2_PATH); /* a path may fill all of its place */
    origin->path[V2_PATH] = '\0';
    if (chance_of(chance, 7000))
        (void)snprintf(origin->path, sizeof origin->path, "/run/client%u", origin->last);
}

/* ---- version 1 ---- */

static void v1_draw(struct header *header, const struct origin *origin, uint64_t protocol)
{
    switch (protocol) {
    case 0:
        header_print(header, "PROXY TCP4 %s 198.51.100.1 %u 25000\r\n", origin->in, origin->port);
        (void)snprintf(header->client, sizeof header->client, "%s:%u", origin->in, origin->port);
        break;
    case 1:
        header_print(header, "PROXY TCP6 %s 2001:db8:1::1 %u 25000\r\n", origin->in6, origin->port);
        (void)snprintf(header->client, sizeof header->client, "[%s]:%u", origin->in6, origin->port);
        break;
    case 2:
        header_print(header, "PROXY UNKNOWN\r\n");
        break;
    default:
        header_print(header, "PROXY UNKNOWN ffff:f:f:f:f:f:f:ffff whatever %u\r\n", origin->port);
        break;
    }
    header_is(header, protocol < 2 ? PROXY_HEADER_CLIENT : PROXY_HEADER_ANONYMOUS, header->len);
}

/* ---- version 2 ---- */

/* The length of what follows the first 16 bytes. */
static void v2_set_length(struct header *header, size_t length)
{
    header->bytes[14] = (unsigned char)(length >> 8);
    header->bytes[15] = (unsigned char)length;
    header_is(header, header->kind, header->len);
}

static void v2_begin(struct header *header, unsigned command, unsigned family)
{
    header_put(header, "\r\n\r\n\0\r\nQUIT\n", 12);
    header_put_byte(header, 0x20 | command);
    header_put_byte(header, family);
    header_put_short(header, 0);
}

static void v2_put_in(struct header *header, const struct origin *origin)
{
    const unsigned char addresses[] = {192, 0, 2, (unsigned char)origin->last, 198, 51, 100, 1};
    header_put(header, addresses, sizeof addresses);
    header_put_short(header, origin->port);
    header_put_short(header, 25000);
    (void)snprintf(header->client, sizeof header->client, "%s:%u", origin->in, origin->port);
}

static void v2_put_in6(struct header *header, const struct origin *origin)
{
    unsigned char address[16] = {0x20, 0x01, 0x0d, 0xb8};
    for (int i = 0; i < 2; i++) {
        address[15] = (unsigned char)(i == 0 ? origin->last : 1);
        header_put(header, address, sizeof address);
    }
    header_put_short(header, origin->port);
    header_put_short(header, 25000);
    (void)snprintf(header->client, sizeof header->client, "[%s]:%u", origin->in6, origin->port);
}

static void v2_put_unix(struct header *header, const struct origin *origin)
{
    char path[V2_PATH] = "";
    memcpy(path, origin->path, strlen(origin->path));
    header_put(header, path, sizeof path);
    memset(path, 0, sizeof path);
    header_put(header, path, sizeof path);
    (void)snprintf(header->client, sizeof header->client, "unix:%s", origin->path);
}

/* TLVs of types without a meaning for the daemon; now and then one that fills the header. */
static void v2_put_tlvs(struct header *header, struct chance *chance)
{
    static const unsigned char types[] = {0x01, 0x02, 0x04, 0x05, 0xee};
    const size_t behind = 3 + 7; /* the head of one, and a checksum */
    uint64_t count = chance_below(chance, 4);
    bool fills = chance_of(chance, 500);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t size = chance_below(chance, 60);
        if (header->len + behind + size > sizeof header->bytes)
            return;
        if (fills)
            size = sizeof header->bytes - header->len - behind;
        header_put_byte(header, types[chance_below(chance, sizeof types)]);
        header_put_short(header, (unsigned)size);
        for (uint64_t k = 0; k < size; k++)
            header_put_byte(header, (unsigned)chance_below(chance, 256));
    }
}

/* RFC 3385, the polynomial 0x1edc6f41 with its bits in reverse order. */
static uint32_t v2_crc32c(const struct header *header)
{
    uint32_t crc = UINT32_MAX;
    for (uint32_t i = 0; i < header->len; i++) {
        crc ^= header->bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc & 1) != 0 ? crc >> 1 ^ UINT32_C(0x82f63b78) : crc >> 1;
    }
    return ~crc;
}

/* Appends the checksum as the last TLV; wrong by the bits of error. */
static void v2_put_checksum(struct header *header, uint32_t error)
{
    header_put_byte(header, V2_CRC32C);
    header_put_short(header, 4);
    uint32_t at = header->len;
    header_put(header, "\0\0\0\0", 4);
    v2_set_length(header, header->len - V2_HEAD);
    uint32_t crc = v2_crc32c(header) ^ error;
    for (int i = 0; i < 4; i++)
        header->bytes[at + (uint32_t)i] = (unsigned char)(crc >> (24 - 8 * i));
}

/* Returns whether the daemon looks at the TLVs: of LOCAL and UNSPEC the rest is discarded. */
static bool v2_draw_addresses(struct header *header, const struct origin *origin, uint64_t kind)
{
    static const unsigned char families[] = {0x11, 0x21, 0x31, 0x00, 0x12, 0x11};
    header->kind = kind < 3 ? PROXY_HEADER_CLIENT : PROXY_HEADER_ANONYMOUS;
    v2_begin(header, kind == 5 ? 0 : 1, families[kind]);
    if (kind == 1)
        v2_put_in6(header, origin);
    else if (kind == 2)
        v2_put_unix(header, origin);
    else if (kind != 3)
        v2_put_in(header, origin);
    return kind != 3 && kind != 5;
}

static void v2_draw(struct header *header, const struct origin *origin, struct chance *chance)
{
    bool looks = v2_draw_addresses(header, origin, chance_below(chance, 6));
    if (chance_of(chance, 6000))
        v2_put_tlvs(header, chance);
    if (chance_of(chance, 4000))
        v2_put_checksum(header, looks ? 0 : 1);
    v2_set_length(header, header->len - V2_HEAD);
}

/* ---- faults ---- */

static void bad_begin(struct header *header, const struct origin *origin, struct chance *chance)
{
    bool old = chance_of(chance, 5000);
    uint32_t at = (uint32_t)(old ? chance_below(chance, 6) : chance_between(chance, 1, 11));
    if (old)
        v1_draw(header, origin, 0);
    else
        v2_draw(header, origin, chance);
    header->bytes[at] ^= 1;
    header_is(header, PROXY_HEADER_NONE, at + 1);
}

/* A line that is wrong in one of these ways. */
static void bad_line(struct header *header, const struct origin *origin, uint64_t fault)
{
    switch (fault) {
    case 0:
        header_print(header, "PROXY TCP5 %s 198.51.100.1 1 2\r\n", origin->in);
        header_is(header, PROXY_HEADER_PROTOCOL, sizeof "PROXY TCP5" - 1);
        break;
    case 1:
        header_print(header, "PROXY UDP4 %s 198.51.100.1 1 2\r\n", origin->in);
        header_is(header, PROXY_HEADER_PROTOCOL, sizeof "PROXY UD" - 1);
        break;
    case 2:
        header_print(header, "PROXY TCP4 %s 198.51.100.1 65536 25000\r\n", origin->in);
        header_is(header, PROXY_HEADER_ADDRESS, header->len);
        break;
    case 3:
        header_print(header, "PROXY TCP4 %s0 198.51.100.1 1 025000\r\n", origin->in);
        header_is(header, PROXY_HEADER_ADDRESS, header->len);
        break;
    case 4:
        header_print(header, "PROXY TCP6 %s 2001:db8::1 1 25000\n", origin->in6);
        header_is(header, PROXY_HEADER_LINE, header->len);
        break;
    default:
        header_print(header, "PROXY UNKNOWN %0110u\r\n", origin->last);
        header_is(header, PROXY_HEADER_LONG, PROXY_HEADER_V1_MAX);
        break;
    }
}

/* A wrong value in the first 16 bytes, which say so as soon as they are there. */
static void bad_head(struct header *header, const struct origin *origin, uint64_t fault)
{
    static const enum proxy_header_kind kinds[] = {PROXY_HEADER_VERSION, PROXY_HEADER_COMMAND,
                                                   PROXY_HEADER_FAMILY, PROXY_HEADER_SHORT,
                                                   PROXY_HEADER_LONG};
    (void)v2_draw_addresses(header, origin, 0);
    v2_set_length(header, header->len - V2_HEAD);
    if (fault == 0)
        header->bytes[12] = 0x31;
    else if (fault == 1)
        header->bytes[12] = 0x22;
    else if (fault == 2)
        header->bytes[13] = 0x41;
    else
        v2_set_length(header, fault == 3 ? 11 : PROXY_HEADER_MAX - V2_HEAD + 1);
    header_is(header, kinds[fault], V2_HEAD);
}

static void bad_tlv(struct header *header, const struct origin *origin, struct chance *chance)
{
    (void)v2_draw_addresses(header, origin, chance_below(chance, 3));
    if (chance_of(chance, 5000))
        v2_put_tlvs(header, chance);
    if (chance_of(chance, 5000)) {
        v2_put_checksum(header, 1U << chance_below(chance, 32));
        header_is(header, PROXY_HEADER_CHECKSUM, header->len);
    } else {
        header_put_byte(header, 0x04);
        header_put_short(header, 1); /* a byte that is not there */
        v2_set_length(header, header->len - V2_HEAD);
        header_is(header, PROXY_HEADER_TLV, header->len);
    }
}

static void bad_draw(struct header *header, const struct origin *origin, struct chance *chance)
{
    switch (chance_below(chance, 4)) {
    case 0:
        bad_begin(header, origin, chance);
        break;
    case 1:
        bad_line(header, origin, chance_below(chance, 6));
        break;
    case 2:
        bad_head(header, origin, chance_below(chance, 5));
        break;
    default:
        bad_tlv(header, origin, chance);
        break;
    }
}

/* ---- the client's ---- */

/* Only part of it is sent, or nothing at all. */
static void header_cut(struct header *header, struct chance *chance)
{
    bool silent = chance_of(chance, 2500);
    header->cut = true;
    header->ends = chance_of(chance, 6000);
    uint64_t part = chance_between(chance, 1, header->len - 1);
    header->sent = silent ? 0 : (uint32_t)part;
}

void header_draw(struct header *header, unsigned number)
{
    struct chance chance = world_chance(CHANCE_HEADERS + number);
    struct origin origin;
    memset(header, 0, sizeof *header);
    origin_draw(&origin, &chance);
    if (chance_of(&chance, HEADERS_BAD))
        bad_draw(header, &origin, &chance);
    else if (chance_of(&chance, 4000))
        v1_draw(header, &origin, chance_below(&chance, 4));
    else
        v2_draw(header, &origin, &chance);
    header->sent = header->len;
    header->pieces = (enum header_pieces)chance_below(&chance, PIECES_COUNT);
    header->as_data = chance_of(&chance, HEADERS_AS_DATA);
    if (chance_of(&chance, HEADERS_CUT))
        header_cut(header, &chance);
}

uint64_t header_next(const struct header *header, uint64_t written, struct chance *chance)
{
    uint64_t left = header->sent - written;
    uint64_t least = header->len / HEADERS_EVENTS + 1;
    if (header->pieces == PIECES_SMALL)
        return least < left ? least : left;
    if (header->pieces != PIECES_SOME || left <= least)
        return left;
    return chance_between(chance, least, left);
}
