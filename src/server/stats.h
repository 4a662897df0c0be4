/*
 * stats.h - what the daemon has done so far, as it is logged and told.
 */
#ifndef UVECHOD_STATS_H
#define UVECHOD_STATS_H

#include "stream/proxy.h"

#include <stddef.h>
#include <stdint.h>

struct stats {
    size_t open;          /* connections now, including those in the mailboxes */
    uint64_t accepted;    /* connections ever served */
    uint64_t refused;     /* connections accepted and closed at once, for lack of something */
    uint64_t over_source; /* connections accepted and closed at once: their source had enough */
    uint64_t bytes_in;    /* ever received */
    uint64_t bytes_out;   /* ever sent, including prefixes */
    uint64_t proxied[PROXY_RESULTS]; /* headers of proxies, by what became of them */
    uint64_t upgrades;               /* how often the process has executed its program again */
};

#endif
