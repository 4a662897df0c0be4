#include "echoload/histogram.h"

#include <string.h>

/* A value below HISTOGRAM_STEPS has its own bucket; for others, the leading bits choose one. */
static unsigned histogram_bucket(uint64_t value)
{
    if (value < HISTOGRAM_STEPS)
        return (unsigned)value;
    unsigned shift = 63U - (unsigned)__builtin_clzll(value) - HISTOGRAM_BITS;
    return shift * HISTOGRAM_STEPS + (unsigned)(value >> shift);
}

/* The largest value that belongs to this bucket. */
static uint64_t histogram_upper(unsigned bucket)
{
    if (bucket < HISTOGRAM_STEPS)
        return bucket;
    unsigned shift = bucket / HISTOGRAM_STEPS - 1;
    uint64_t leading = bucket % HISTOGRAM_STEPS + HISTOGRAM_STEPS;
    /* For the last bucket this wraps to UINT64_MAX, which is right. */
    return ((leading + 1) << shift) - 1;
}

void histogram_reset(struct histogram *histogram)
{
    memset(histogram, 0, sizeof *histogram);
}

void histogram_record(struct histogram *histogram, uint64_t value)
{
    histogram->counts[histogram_bucket(value)]++;
    histogram->total++;
    histogram->sum += (double)value;
    if (value > histogram->max)
        histogram->max = value;
}

uint64_t histogram_percentile(const struct histogram *histogram, double percent)
{
    double wanted = (double)histogram->total * percent / 100;
    uint64_t seen = 0;
    for (unsigned bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
        seen += histogram->counts[bucket];
        if (seen == 0 || (double)seen < wanted)
            continue;
        uint64_t upper = histogram_upper(bucket);
        return upper < histogram->max ? upper : histogram->max;
    }
    return histogram->max; /* because of rounding, wanted was more than total */
}

double histogram_mean(const struct histogram *histogram)
{
    return histogram->total == 0 ? 0 : histogram->sum / (double)histogram->total;
}
