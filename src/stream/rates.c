#include "stream/rates.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

_Static_assert(sizeof(struct rate) * RATES_WAYS == 64, "a set is a line of a cache");

enum {
    RATES_SECOND_MS = 1000,
    RATES_BEHIND_MS = 60000, /* of the clock of one loop behind that of another, at the most */
    RATES_TOKEN = 1000,      /* so that a rate is also what comes back in a millisecond */
    RATES_SETS = RATES_BUCKETS / RATES_WAYS,
};

int rates_open(struct rates *rates, unsigned rate)
{
    *rates = (struct rates){.rate = rate};
    if (rate == 0)
        return 0;
    if (getrandom(&rates->secret, sizeof rates->secret, 0) < 0)
        return -errno;
    rates->buckets = calloc(RATES_BUCKETS, sizeof *rates->buckets);
    if (rates->buckets == NULL)
        return -ENOMEM;
    int rc = uv_mutex_init(&rates->lock);
    if (rc < 0)
        free(rates->buckets);
    return rc;
}

void rates_close(struct rates *rates)
{
    if (rates->rate == 0)
        return;
    uv_mutex_destroy(&rates->lock);
    free(rates->buckets);
}

void rates_lock(struct rates *rates)
{
    if (rates->rate > 0)
        uv_mutex_lock(&rates->lock);
}

void rates_unlock(struct rates *rates)
{
    if (rates->rate > 0)
        uv_mutex_unlock(&rates->lock);
}

/* 0 stands for no source. No network has the bits that mark an IPv4 address (RFC 4291, 2.5.5). */
static uint64_t rates_source(const union net_addr *peer)
{
    uint64_t network = 0;
    if (peer->sa.sa_family == AF_INET)
        return UINT64_C(0xffff) << 32 | peer->in.sin_addr.s_addr;
    memcpy(&network, &peer->in6.sin6_addr, sizeof network);
    return network != 0 ? network : 1; /* ::/64, the loopback */
}

/* The finalizer of MurmurHash3: each bit of the source changes each of the result. */
static uint64_t rates_hash(const struct rates *rates, uint64_t source)
{
    uint64_t hash = source ^ rates->secret;
    hash = (hash ^ hash >> 33) * UINT64_C(0xff51afd7ed558ccd);
    hash = (hash ^ hash >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    return hash ^ hash >> 33;
}

/*
 * A bucket that has never been used has no source, and is full. Nothing has passed for a loop that
 * has looked at its clock before the one that has counted last.
 */
static void rate_count(const struct rates *rates, struct rate *rate, uint32_t now_ms)
{
    const uint64_t full = (uint64_t)rates->rate * RATES_TOKEN;
    uint32_t passed_ms = now_ms - rate->counted_ms;
    if (rate->source != 0 && rate->counted_ms - now_ms < RATES_BEHIND_MS)
        return;
    rate->counted_ms = now_ms;
    if (passed_ms > RATES_SECOND_MS || rate->source == 0)
        passed_ms = RATES_SECOND_MS; /* more fills no more */
    uint64_t credit = rate->credit + (uint64_t)passed_ms * rates->rate;
    rate->credit = (uint32_t)(credit < full ? credit : full);
}

static struct rate *rates_match(struct rate *set, uint64_t source)
{
    for (int i = 0; i < RATES_WAYS; i++)
        if (set[i].source == source)
            return &set[i];
    return NULL;
}

/* A bucket that is full says nothing of its source that would have to be remembered. */
static struct rate *rates_full(const struct rates *rates, struct rate *set, uint32_t now_ms)
{
    for (int i = 0; i < RATES_WAYS; i++) {
        rate_count(rates, &set[i], now_ms);
        if (set[i].credit == (uint64_t)rates->rate * RATES_TOKEN)
            return &set[i];
    }
    return NULL;
}

struct rate *rates_find(struct rates *rates, const union net_addr *peer, uint64_t now_ms)
{
    if (rates->rate == 0 || (peer->sa.sa_family != AF_INET && peer->sa.sa_family != AF_INET6))
        return NULL;
    const uint64_t source = rates_source(peer);
    const uint64_t hash = rates_hash(rates, source);
    struct rate *set = &rates->buckets[hash % RATES_SETS * RATES_WAYS];
    struct rate *rate = rates_match(set, source);
    if (rate != NULL) {
        rate_count(rates, rate, (uint32_t)now_ms);
        return rate;
    }
    rate = rates_full(rates, set, (uint32_t)now_ms);
    if (rate == NULL)
        return &set[hash / RATES_SETS % RATES_WAYS];
    rate->source = source;
    return rate;
}

bool rate_take(struct rate *rate)
{
    if (rate == NULL)
        return true;
    if (rate->credit < RATES_TOKEN)
        return false;
    rate->credit -= RATES_TOKEN;
    return true;
}
