/*
 * check.h - cmocka from version 1.1.5 on, with the headers that it needs, and checks of our own.
 */
#ifndef UVECHOD_TESTS_CHECK_H
#define UVECHOD_TESTS_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

/*
 * Seconds on the clock of the log's time stamps. time(2) may be late by a tick of the kernel, and
 * so return a smaller second than that of a stamp that was taken before.
 */
static inline time_t check_seconds(void)
{
    struct timespec now;
    assert_int_equal(clock_gettime(CLOCK_REALTIME, &now), 0);
    return now.tv_sec;
}

/* minimum <= value <= maximum, none of them negative. */
#ifdef assert_int_in_range
#define assert_between(value, minimum, maximum)                                                    \
    assert_int_in_range((intmax_t)(value), (intmax_t)(minimum), (intmax_t)(maximum))
#else /* what cmocka 1.1 has instead, and 2.0 deprecates */
#define assert_between(value, minimum, maximum) assert_in_range(value, minimum, maximum)
#endif

#endif
