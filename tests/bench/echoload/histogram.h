/*
 * histogram.h - counts of latencies, exact to 1.6 %, from a nanosecond to centuries.
 *
 * Log-linear, as HdrHistogram is: every power of two is cut into HISTOGRAM_STEPS buckets of the
 * same width, so a percentile is as exact at a microsecond as at a second. Recording is a shift
 * and an increment; the memory is fixed, whatever is recorded.
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

/* All zero is an empty histogram, too. */
void histogram_reset(struct histogram *histogram);

void histogram_record(struct histogram *histogram, uint64_t value);

/*
 * The smallest value that percent of what was recorded does not exceed, rounded up to the end of
 * its bucket but never above the maximum. 0 of an empty histogram. 0 < percent <= 100.
 */
uint64_t histogram_percentile(const struct histogram *histogram, double percent);

double histogram_mean(const struct histogram *histogram);

#endif
