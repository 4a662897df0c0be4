/*
 * rates.h - how often each source may be answered in a second: a table of token buckets.
 *
 * A source is an IPv4 address or the first 64 bits of an IPv6 address, as in sources.h. A bucket
 * has the tokens of one second, and so many come back in a second (pace.h says more of that).
 *
 * The table has a fixed size, because sources can be forged: whoever sends from a million addresses
 * must not make us remember a million. A source has its place in a set of four buckets, which a
 * secret chooses. If it has no bucket there, it gets one that is full again, as if its owner had
 * never come. If none is full, the source shares one of the four with others. So no source ever
 * gets more than its rate by making others be forgotten, and at worst some get less: those in whose
 * set four others have not got all tokens back. With as many such sources as there are buckets,
 * that is more than half of all sets.
 *
 * Datagrams come on the threads of all workers, so a lock protects the table. It is held for a
 * batch of datagrams.
 */
#ifndef UVECHOD_RATES_H
#define UVECHOD_RATES_H

#include "os/addr.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

enum {
    RATES_WAYS = 4,          /* buckets of a set: 64 bytes, which is a line of a cache */
    RATES_BUCKETS = 1 << 16, /* 1 MiB */
    RATES_MAX = 1000000,     /* the highest rate */
};

/* 16 bytes. */
struct rate {
    uint64_t source;
    uint32_t counted_ms; /* up to which credit has been counted, modulo 2^32 */
    uint32_t credit;     /* thousandths of a token */
};

struct rates {
    uv_mutex_t lock;      /* of the table */
    struct rate *buckets; /* their pages are taken up when they are used */
    unsigned rate;        /* tokens a second; 0: no limit, and nothing else here is used */
    uint64_t secret;
};

/*
 * Opens a table of full buckets; rate is at most RATES_MAX. Returns 0, -ENOMEM, or a negative errno
 * of uv_mutex_init() or getrandom(2), with nothing open.
 */
int rates_open(struct rates *rates, unsigned rate);

/* Frees the memory. No thread may use the table any more. */
void rates_close(struct rates *rates);

/* Between these calls a thread has the table for itself. */
void rates_lock(struct rates *rates);
void rates_unlock(struct rates *rates);

/*
 * Returns the bucket of a source, with what it has at now_ms (uv_now() of any loop, which may be a
 * little behind those of others); NULL: there is no limit, or the peer is a local one, of a Unix
 * socket. Valid until rates_unlock().
 */
struct rate *rates_find(struct rates *rates, const union net_addr *peer, uint64_t now_ms);

/* Takes a token. Returns false if there is none. Of NULL there always is one. */
bool rate_take(struct rate *rate);

#endif
