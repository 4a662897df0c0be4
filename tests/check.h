/*
 * check.h - cmocka, and the headers that it asks for, whichever of its versions from 1.1.5 on.
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
 * The clock that the log's time stamps are from. time(2) may lag behind that clock by a tick, and
 * so be a second behind a stamp that was taken before.
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
