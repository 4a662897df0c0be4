/*
 * support.h - what the unit tests share: cmocka and the headers that it asks for, a watchdog, loops
 * that are checked for leaks, and a waker that only notes whom it was to wake.
 */
#ifndef UVECHOD_TESTS_SUPPORT_H
#define UVECHOD_TESTS_SUPPORT_H

#include "task.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

/* The group, in main(): a test that hangs is ended by SIGALRM instead of holding up the others. */
#define RUN_TESTS(name, tests) (alarm(30), cmocka_run_group_tests_name(name, tests, NULL, NULL))

/* A test with a fixture of its own. */
#define FIXTURE_TEST(test) cmocka_unit_test_setup_teardown(test, fixture_open, fixture_close)

/* A waker for tests without a scheduler. */
struct recorder {
    struct waker waker;
    struct task *woken[8]; /* in order */
    size_t count;
};

static inline void on_record(struct waker *waker, struct task *task)
{
    struct recorder *recorder = container_of(waker, struct recorder, waker);
    assert_true(recorder->count < sizeof recorder->woken / sizeof *recorder->woken);
    recorder->woken[recorder->count++] = task;
}

static inline void recorder_init(struct recorder *recorder)
{
    *recorder = (struct recorder){.waker.wake = on_record};
}

/* These tasks, in this order, have been woken since the last question; NULL: nobody. */
static inline void recorder_expect(struct recorder *recorder, const struct task *first,
                                   const struct task *second)
{
    size_t count = (size_t)(first != NULL) + (size_t)(second != NULL);
    assert_int_equal(recorder->count, count);
    if (first != NULL)
        assert_ptr_equal(recorder->woken[0], first);
    if (second != NULL)
        assert_ptr_equal(recorder->woken[1], second);
    recorder->count = 0;
}

/* How many descriptors the process has open. */
static inline int count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    int count = 0;
    while (readdir(dir) != NULL)
        count++;
    (void)closedir(dir);
    return count;
}

static inline bool fd_is_open(int fd)
{
    return fcntl(fd, F_GETFD) >= 0;
}

/* Blocks until fd is ready for one of the events of poll(2); the watchdog sets the limit. */
static inline void wait_for(int fd, short events)
{
    struct pollfd ready = {.fd = fd, .events = events};
    assert_int_equal(poll(&ready, 1, -1), 1);
}

static inline void make_socketpair(int fds[2])
{
    const int type = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
    assert_return_code(socketpair(AF_UNIX, type, 0, fds), 0);
}

/* One turn of the loop, without sleeping in it. */
static inline void loop_turn(uv_loop_t *loop)
{
    (void)uv_run(loop, UV_RUN_NOWAIT);
}

/* Lets the close callbacks run; a handle that is left over fails the test. */
static inline void loop_close(uv_loop_t *loop)
{
    loop_turn(loop);
    assert_int_equal(uv_loop_close(loop), 0);
}

#endif
