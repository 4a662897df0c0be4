/*
 * support.h - what the unit tests share: fixtures, a watchdog, loops that are checked for leaks, a
 * waker that only records whom it was told to wake, directories for Unix sockets, and the socket of
 * a service manager.
 */
#ifndef UVECHOD_TESTS_SUPPORT_H
#define UVECHOD_TESTS_SUPPORT_H

#include "check.h"
#include "task/task.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

/*
 * A fixture is a pair of functions, which open what a test needs and close it: fixture_open() and
 * fixture_close(), or others with another name instead of fixture. All state of the tests in a file
 * is in one static struct, which the opening function clears. A fixture that needs no end is
 * cmocka_unit_test_setup(test, fixture_open).
 */
#define FIXTURE_TEST(test)    TEST_WITH(fixture, test)
#define TEST_WITH(name, test) cmocka_unit_test_setup_teardown(test, name##_open, name##_close)

/* Runs all tests, in main(). */
#define RUN_TESTS(name, tests)                                                                     \
    (support_begin(), cmocka_run_group_tests_name(name, tests, NULL, NULL))

/*
 * Sets a watchdog: SIGALRM ends a test that hangs. Clears the environment of what a service manager
 * that runs the tests has set there.
 */
static inline void support_begin(void)
{
    static const char *const names[] = {"LISTEN_FDS",    "LISTEN_PID",    "LISTEN_FDNAMES",
                                        "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID",
                                        "JOURNAL_STREAM"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        (void)unsetenv(names[i]);
    (void)alarm(120);
}

#if UVECHOD_COVERAGE
void __gcov_dump(void); /* libgcov's */
#endif

/*
 * Ends a child process of the test. Neither cmocka's output nor a leak check is wanted there, so
 * that nothing registered with atexit(3) may run, but what the child has executed must be counted.
 */
static inline _Noreturn void child_exit(int status)
{
#if UVECHOD_COVERAGE
    __gcov_dump();
#endif
    _exit(status);
}

/*
 * Whether posix_spawn(3) fails if the program cannot be executed. Under qemu-user, child and parent
 * do not share their memory: the child ends with 127, and the parent is told no error.
 */
static inline bool spawn_tells_errors(void)
{
    char path[] = "/nowhere/program";
    char *const argv[] = {path, NULL};
    pid_t pid;
    int rc = posix_spawn(&pid, path, NULL, NULL, argv, environ);
    if (rc == 0)
        assert_int_equal(waitpid(pid, NULL, 0), pid);
    return rc != 0;
}

/* Whether sockets have numbers of their own. qemu-user does not know SO_COOKIE. */
static inline bool sockets_have_cookies(void)
{
    uint64_t cookie;
    socklen_t len = sizeof cookie;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    int rc = getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len);
    (void)close(fd);
    return rc == 0;
}

/* A waker for tests without a scheduler: records the tasks and does not run them. */
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

/* Exactly these tasks, in this order, have been woken since the last call; NULL: none. */
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

/* Blocks until fd is ready for one of these events of poll(2), or the watchdog ends the test. */
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

/* Makes a directory whose path is short enough for Unix sockets in it. */
static inline void make_dir(char path[32])
{
    strcpy(path, "/tmp/uvechod.XXXXXX");
    assert_non_null(mkdtemp(path));
}

/* Removes it. A file that is still in it is removed too, and fails the test. */
static inline void remove_dir(const char *path)
{
    int left = 0;
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (entry->d_name[0] != '.' && ++left > 0)
            (void)unlinkat(dirfd(dir), entry->d_name, 0);
    (void)closedir(dir);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(left, 0);
}

/* The service manager's socket: for datagrams, at a path or, as "@name", an abstract name. */
static inline int make_receiver(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    size_t len = strlen(path);
    assert_true(len < sizeof addr.sun_path);
    memcpy(addr.sun_path, path, len);
    if (path[0] == '@')
        addr.sun_path[0] = '\0';
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    len += offsetof(struct sockaddr_un, sun_path);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, (socklen_t)len), 0);
    return fd;
}

/* Waits for the next message, and returns it as a string in buf. */
static inline const char *receive_message(int fd, char buf[static 1024])
{
    ssize_t n = recv(fd, buf, 1023, 0);
    assert_true(n >= 0);
    buf[n] = '\0';
    return buf;
}

static inline void expect_message(int fd, const char *expected)
{
    char buf[1024];
    assert_string_equal(receive_message(fd, buf), expected);
}

static inline void expect_no_message(int fd)
{
    char buf[1024];
    ssize_t n = recv(fd, buf, sizeof buf - 1, MSG_DONTWAIT);
    if (n >= 0)
        fail_msg("a message too many: %.*s", (int)n, buf);
}

/* Turns the loop once, without sleeping. */
static inline void loop_turn(uv_loop_t *loop)
{
    (void)uv_run(loop, UV_RUN_NOWAIT);
}

/* Lets the close callbacks run. A handle that is still open fails the test. */
static inline void loop_close(uv_loop_t *loop)
{
    loop_turn(loop);
    assert_int_equal(uv_loop_close(loop), 0);
}

/*
 * libuv opens a pipe for signals once per process. To be called in main() where fixtures count
 * descriptors before their first loop.
 */
static inline void loop_warm_up(void)
{
    uv_loop_t loop;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(uv_loop_close(&loop), 0);
}

#endif
