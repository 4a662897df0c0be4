/*
 * stats.h - what the daemon has done so far, as it is logged and told.
 */
#ifndef UVECHOD_STATS_H
#define UVECHOD_STATS_H

#include <stddef.h>
#include <stdint.h>

struct stats {
    size_t open;        /* connections now, with those on their way to a worker */
    uint64_t accepted;  /* connections that have been served or are, ever */
    uint64_t refused;   /* connections accepted and dropped */
    uint64_t bytes_in;  /* received, ever */
    uint64_t bytes_out; /* sent, prefixes included */
};

#endif
