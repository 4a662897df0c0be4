/*
 * histogram.h - how often each latency occurred, exact to 1.6 %, from a nanosecond to centuries.
 *
 * The buckets are log-linear, as in HdrHistogram: the range from each power of two to the next is
 * divided into HISTOGRAM_STEPS buckets of the same width. So a percentile has the same relative
 * error at a microsecond as at a second. To record a value costs a shift and an increment, and the
 * memory does not depend on the values.
 */
#ifndef ECHOLOAD_HISTOGRAM_H
#define ECHOLOAD_HISTOGRAM_H

#include <stdint.h>

enum {
    HISTOGRAM_BITS = 6,
    HISTOGRAM_STEPS = 1 << HISTOGRAM_BITS,
    HISTOGRAM_BUCKETS = (64 - HISTOGRAM_BITS + 1) * HISTOGRAM_STEPS,
};

struct histogram {
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t total;
    uint64_t max;
    double sum;
};

/* Makes it empty. A histogram whose bytes are all zero is empty, too. */
void histogram_reset(struct histogram *histogram);

void histogram_record(struct histogram *histogram, uint64_t value);

/*
 * The smallest value that is not exceeded by this percentage of the recorded values, rounded up to
 * the end of its bucket but never above the maximum; 0 if the histogram is empty.
 * 0 < percent <= 100.
 */
uint64_t histogram_percentile(const struct histogram *histogram, double percent);

double histogram_mean(const struct histogram *histogram);

#endif
