/*
 * ledger1.h - version 1 of the ledger, as it stands in the memory of daemons that run.
 *
 * Nothing here follows src/stream/ledger.h when that changes: daemons of version 1 have been
 * installed, and a package replaces them while they serve. So this file never changes. unit.ledger
 * and unit.echo compare it with what the daemon writes, and e2e/ledger1.c is a daemon that knows
 * this file alone.
 */
#ifndef UVECHOD_TESTS_LEDGER1_H
#define UVECHOD_TESTS_LEDGER1_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* What two versions of the daemon say to each other at an upgrade. */
#define LEDGER1_VARIABLE "UVECHOD_LEDGER"
#define LEDGER1_OPTION   "--check-handover"
#define LEDGER1_YES      "uvechod handover: yes\n"

#define LEDGER1_MAGIC "uvechod" /* with its null byte */

/* The bits of a place. */
#define LEDGER1_NUMBER   UINT32_C(0x00ffffff)
#define LEDGER1_KIND     UINT32_C(0x03000000)
#define LEDGER1_NOTHING  UINT32_C(0x00000000)
#define LEDGER1_BUFFER   UINT32_C(0x01000000)
#define LEDGER1_PIPE     UINT32_C(0x02000000)
#define LEDGER1_LISTENER UINT32_C(0x03000000)
#define LEDGER1_SERVED   UINT32_C(0x04000000)
#define LEDGER1_SPOKE    UINT32_C(0x08000000)
#define LEDGER1_SERVICE  UINT32_C(0x30000000) /* the first service is 0, the second 0x10000000 */
#define LEDGER1_END      UINT32_C(0xc0000000)
#define LEDGER1_OPEN     UINT32_C(0x00000000)
#define LEDGER1_IDLE     UINT32_C(0x40000000)
#define LEDGER1_DRAINED  UINT32_C(0x80000000)
#define LEDGER1_LEFT     UINT32_C(0xc0000000)

struct ledger1_entry {
    _Atomic uint32_t received;
    _Atomic uint32_t goal;
    _Atomic uint32_t len;
    _Atomic uint32_t place;
};

struct ledger1_service {
    uint32_t buffer_bytes;
    uint32_t spares;
    uint32_t record_bytes;
    unsigned char record[512];
};

struct ledger1_layout {
    uint32_t entries;
    uint32_t buffers;
    uint32_t buffer_bytes;
    uint32_t services;
    struct ledger1_service service[4];
};

struct ledger1_past {
    uint64_t generations;
    uint64_t started_ms;
    uint64_t left_ns;
    uint64_t accepted;
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t refused;
    uint64_t over_source;
    uint64_t accept_pauses;
    uint64_t rate_pauses;
};

struct ledger1_suspect {
    uint32_t fd;
    uint32_t in;
};

struct ledger1_header {
    char magic[8];
    uint32_t version;
    uint32_t header_bytes;
    uint32_t entry_bytes;
    _Atomic uint32_t filled;
    struct ledger1_layout layout;
    struct ledger1_past past;
    struct ledger1_suspect suspects[64];
};

/* The record of the first service, which echoes. */
struct ledger1_echo {
    uint32_t chunk;
    uint32_t prefix_len;
    char prefix[255];
};

#define LEDGER1_IS_AT(type, field, at)                                                             \
    _Static_assert(offsetof(struct ledger1_##type, field) == (at), "version 1 does not change")
#define LEDGER1_IS_LONG(type, bytes)                                                               \
    _Static_assert(sizeof(struct ledger1_##type) == (bytes), "version 1 does not change")

LEDGER1_IS_AT(entry, received, 0);
LEDGER1_IS_AT(entry, goal, 4);
LEDGER1_IS_AT(entry, len, 8);
LEDGER1_IS_AT(entry, place, 12);
LEDGER1_IS_LONG(entry, 16);
LEDGER1_IS_AT(service, buffer_bytes, 0);
LEDGER1_IS_AT(service, spares, 4);
LEDGER1_IS_AT(service, record_bytes, 8);
LEDGER1_IS_AT(service, record, 12);
LEDGER1_IS_LONG(service, 524);
LEDGER1_IS_AT(layout, entries, 0);
LEDGER1_IS_AT(layout, buffers, 4);
LEDGER1_IS_AT(layout, buffer_bytes, 8);
LEDGER1_IS_AT(layout, services, 12);
LEDGER1_IS_AT(layout, service, 16);
LEDGER1_IS_LONG(layout, 2112);
LEDGER1_IS_AT(past, generations, 0);
LEDGER1_IS_AT(past, started_ms, 8);
LEDGER1_IS_AT(past, left_ns, 16);
LEDGER1_IS_AT(past, accepted, 24);
LEDGER1_IS_AT(past, bytes_in, 32);
LEDGER1_IS_AT(past, bytes_out, 40);
LEDGER1_IS_AT(past, refused, 48);
LEDGER1_IS_AT(past, over_source, 56);
LEDGER1_IS_AT(past, accept_pauses, 64);
LEDGER1_IS_AT(past, rate_pauses, 72);
LEDGER1_IS_LONG(past, 80);
LEDGER1_IS_AT(suspect, fd, 0);
LEDGER1_IS_AT(suspect, in, 4);
LEDGER1_IS_LONG(suspect, 8);
LEDGER1_IS_AT(header, magic, 0);
LEDGER1_IS_AT(header, version, 8);
LEDGER1_IS_AT(header, header_bytes, 12);
LEDGER1_IS_AT(header, entry_bytes, 16);
LEDGER1_IS_AT(header, filled, 20);
LEDGER1_IS_AT(header, layout, 24);
LEDGER1_IS_AT(header, past, 2136);
LEDGER1_IS_AT(header, suspects, 2216);
LEDGER1_IS_LONG(header, 2728);
LEDGER1_IS_AT(echo, chunk, 0);
LEDGER1_IS_AT(echo, prefix_len, 4);
LEDGER1_IS_AT(echo, prefix, 8);
LEDGER1_IS_LONG(echo, 264);

#endif
