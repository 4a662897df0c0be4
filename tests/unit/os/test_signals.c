/*
 * signals.c: a blocked signal stays pending and arrives when it is unblocked; and a write to a file
 * that may not grow fails, but does not kill the process.
 */
#include "os/signals.h"

#include "unit/support.h"

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>

static volatile sig_atomic_t arrived; /* the number of the last signal that has arrived */

static void on_arrival(int signum)
{
    arrived = signum;
}

static void test_blocked_until_unblocked(void **state)
{
    (void)state;
    for (int i = 0; i < SIGNALS_HANDLED; i++) {
        arrived = 0;
        assert_true(signal(signals_handled[i], on_arrival) != SIG_ERR);
        signals_block();
        assert_int_equal(raise(signals_handled[i]), 0);
        assert_int_equal(arrived, 0);
        signals_unblock();
        assert_int_equal(arrived, signals_handled[i]);
        assert_true(signal(signals_handled[i], SIG_DFL) != SIG_ERR);
    }
}

static void test_a_write_raises_no_signal(void **state)
{
    (void)state;
    int ends[2];
    char path[] = "/tmp/uvechod.XXXXXX";
    struct rlimit before;
    signals_ignore_of_writes();
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    (void)close(ends[0]);
    assert_int_equal(write(ends[1], "x", 1), -1);
    assert_int_equal(errno, EPIPE);
    (void)close(ends[1]);
    int fd = mkstemp(path);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    const struct rlimit none = {.rlim_cur = 0, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    ssize_t n = write(fd, "x", 1);
    int error = errno;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(n, -1);
    assert_int_equal(error, EFBIG);
    (void)close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocked_until_unblocked),
        cmocka_unit_test(test_a_write_raises_no_signal),
    };
    return RUN_TESTS("signals", tests);
}
