#include "echoload/histogram.h"

#include <string.h>

/* Values below HISTOGRAM_STEPS have a bucket each; above, the leading bits choose it. */
static unsigned histogram_bucket(uint64_t value)
{
    if (value < HISTOGRAM_STEPS)
        return (unsigned)value;
    unsigned shift = 63U - (unsigned)__builtin_clzll(value) - HISTOGRAM_BITS;
    return shift * HISTOGRAM_STEPS + (unsigned)(value >> shift);
}

/* The largest value that falls into this bucket. */
static uint64_t histogram_upper(unsigned bucket)
{
    if (bucket < HISTOGRAM_STEPS)
        return bucket;
    unsigned shift = bucket / HISTOGRAM_STEPS - 1;
    uint64_t leading = bucket % HISTOGRAM_STEPS + HISTOGRAM_STEPS;
    return ((leading + 1) << shift) - 1; /* the last one wraps round to UINT64_MAX, as it should */
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
    return histogram->max; /* rounding has asked for more than there is */
}

double histogram_mean(const struct histogram *histogram)
{
    return histogram->total == 0 ? 0 : histogram->sum / (double)histogram->total;
}
