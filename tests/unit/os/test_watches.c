/*
 * watches.c: the limit of watches, as /proc shows it, and watches of a real epoll descriptor.
 */
#include "os/watches.h"

#include "unit/support.h"

#include <errno.h>
#include <sys/epoll.h>

static void test_max(void **state)
{
    (void)state;
    int fd = open("/proc/sys/fs/epoll/max_user_watches", O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        assert_int_equal(watches_max(), -errno);
        return;
    }
    char text[32] = "";
    assert_true(read(fd, text, sizeof text - 1) > 0);
    (void)close(fd);
    assert_int_equal(watches_max(), strtol(text, NULL, 10));
}

/* A descriptor can be added once. It reports only its end until events are asked for. */
static void test_add(void **state)
{
    int fds[2];
    struct epoll_event event = {.events = EPOLLOUT};
    (void)state;
    make_socketpair(fds);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    assert_int_equal(watches_add(epoll, fds[0]), 0);
    assert_int_equal(watches_add(epoll, fds[0]), -EEXIST);
    assert_int_equal(epoll_wait(epoll, &event, 1, 0), 0);
    (void)close(fds[1]);
    assert_int_equal(epoll_wait(epoll, &event, 1, 0), 1);
    assert_int_equal(event.data.fd, fds[0]);
    assert_int_equal(watches_add(-1, fds[0]), -EBADF);
    (void)close(fds[0]);
    (void)close(epoll);
}

static void test_remove(void **state)
{
    int fds[2];
    (void)state;
    make_socketpair(fds);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    assert_int_equal(watches_remove(epoll, fds[0]), -ENOENT);
    assert_int_equal(watches_add(epoll, fds[0]), 0);
    assert_int_equal(watches_remove(epoll, fds[0]), 0);
    assert_int_equal(watches_add(epoll, fds[0]), 0);
    (void)close(fds[0]);
    (void)close(fds[1]);
    (void)close(epoll);
}

/* An epoll descriptor that has something to report, one that has not, and others. */
static void test_is_epoll(void **state)
{
    int fds[2];
    (void)state;
    make_socketpair(fds);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    assert_true(watches_is_epoll(epoll));
    assert_int_equal(watches_add(epoll, fds[0]), 0);
    (void)close(fds[1]);
    assert_true(watches_is_epoll(epoll));
    assert_false(watches_is_epoll(fds[0]));
    assert_false(watches_is_epoll(fds[1]));
    assert_false(watches_is_epoll(-1));
    (void)close(fds[0]);
    (void)close(epoll);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_max),
        cmocka_unit_test(test_add),
        cmocka_unit_test(test_remove),
        cmocka_unit_test(test_is_epoll),
    };
    return RUN_TESTS("watches", tests);
}
