/*
 * histogram.c of the load generator: a percentile differs from the recorded value by less than the
 * width of a bucket, at both ends of the range and for random values (compared with a sorted
 * array). No loop, no sockets.
 */
#include "echoload/histogram.h"

#include "unit/support.h"

#include <stdlib.h>

static struct histogram histogram;

static int histogram_setup(void **state)
{
    (void)state;
    histogram_reset(&histogram);
    return 0;
}

static void test_empty_is_zero(void **state)
{
    (void)state;
    assert_int_equal(histogram_percentile(&histogram, 50), 0);
    assert_int_equal(histogram_percentile(&histogram, 100), 0);
    assert_true(histogram_mean(&histogram) == 0);
}

static void test_small_values_are_exact(void **state)
{
    (void)state;
    for (uint64_t value = 1; value <= 2 * HISTOGRAM_STEPS; value++)
        histogram_record(&histogram, value);
    assert_int_equal(histogram_percentile(&histogram, 50), HISTOGRAM_STEPS);
    assert_int_equal(histogram_percentile(&histogram, 100), 2 * HISTOGRAM_STEPS);
    assert_true(histogram_mean(&histogram) == HISTOGRAM_STEPS + 0.5);
}

/* With this value and the maximum recorded, p50 must be the value, rounded up by less than 1/64. */
static void expect_close(uint64_t value)
{
    histogram_reset(&histogram);
    histogram_record(&histogram, value);
    histogram_record(&histogram, UINT64_MAX);
    uint64_t found = histogram_percentile(&histogram, 50);
    assert_true(found >= value);
    assert_true(found - value <= value / HISTOGRAM_STEPS);
}

static void test_every_magnitude_is_close(void **state)
{
    (void)state;
    for (int shift = 0; shift < 64; shift++) {
        uint64_t power = (uint64_t)1 << shift;
        expect_close(power - 1);
        expect_close(power);
        expect_close(power + 1);
        expect_close(power + power / 3);
    }
    expect_close(UINT64_MAX - 1);
}

static void test_maximum_is_exact(void **state)
{
    (void)state;
    histogram_record(&histogram, 1000003);
    assert_int_equal(histogram_percentile(&histogram, 50), 1000003);
    assert_int_equal(histogram_percentile(&histogram, 100), 1000003);
}

static int compare(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a;
    uint64_t right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static void test_random_values_against_a_sorted_array(void **state)
{
    (void)state;
    enum { COUNT = 10000 };
    static uint64_t values[COUNT];
    unsigned seed = 862;
    for (int i = 0; i < COUNT; i++) {
        values[i] = (uint64_t)rand_r(&seed) >> rand_r(&seed) % 24;
        histogram_record(&histogram, values[i]);
    }
    qsort(values, COUNT, sizeof *values, compare);
    const double percents[] = {0.01, 1, 50, 90, 99, 99.9, 100};
    for (size_t i = 0; i < sizeof percents / sizeof *percents; i++) {
        uint64_t exact = values[(int)(COUNT * percents[i] / 100 + 0.5) - 1];
        uint64_t found = histogram_percentile(&histogram, percents[i]);
        assert_true(found >= exact && found - exact <= exact / HISTOGRAM_STEPS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_empty_is_zero, histogram_setup),
        cmocka_unit_test_setup(test_small_values_are_exact, histogram_setup),
        cmocka_unit_test_setup(test_every_magnitude_is_close, histogram_setup),
        cmocka_unit_test_setup(test_maximum_is_exact, histogram_setup),
        cmocka_unit_test_setup(test_random_values_against_a_sorted_array, histogram_setup),
    };
    return RUN_TESTS("histogram", tests);
}
