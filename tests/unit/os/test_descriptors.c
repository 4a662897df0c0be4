/*
 * descriptors.c: how the limit is raised, and how free descriptors are probed. The tests lower the
 * real limit and restore it. Calls are wrapped for answers that this machine does not give.
 */
#include "os/descriptors.h"

#include "unit/support.h"

#include "os/net.h"

#include <errno.h>
#include <limits.h>
#include <sys/resource.h>

static struct {
    struct rlimit before;
    int fds;              /* open before the test */
    int getrlimit_fails;  /* the call that fails: 1 for the first, 0 for none */
    bool setrlimit_fails; /* as without the right to raise the limit */
    bool unlimited;       /* getrlimit() returns RLIM_INFINITY */
    int dups;             /* calls of net_dup_above() */
    int dup_fails;        /* the call that fails */
    bool open_fails;      /* as if there were no /dev/null */
    bool no_proc;         /* as if /proc were not mounted */
    bool look_fails;      /* as with a very low limit */
    bool none_open;       /* as net_look() tells it */
    int looks;            /* calls of net_look() */
    int filled;           /* what descriptors_fill_stdio() returned */
    int sockets[2];
} fix;

int __real_getrlimit(int resource, struct rlimit *limit);
int __wrap_getrlimit(int resource, struct rlimit *limit);
int __real_setrlimit(int resource, const struct rlimit *limit);
int __wrap_setrlimit(int resource, const struct rlimit *limit);
int __real_net_dup_above(int fd, int lowest);
int __wrap_net_dup_above(int fd, int lowest);
int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __real_net_look(struct pollfd *list, size_t count);
int __wrap_net_look(struct pollfd *list, size_t count);

int __wrap_net_look(struct pollfd *list, size_t count)
{
    fix.looks++;
    for (size_t i = 0; i < count && fix.none_open; i++)
        list[i].revents = POLLNVAL;
    if (fix.none_open)
        return (int)count;
    return fix.look_fails ? -EINVAL : __real_net_look(list, count);
}

/* No caller sets O_CREAT, so there is no third argument. */
int __wrap_open(const char *path, int flags, ...)
{
    if ((fix.open_fails && strcmp(path, "/dev/null") == 0) ||
        (fix.no_proc && strncmp(path, "/proc/", 6) == 0)) {
        errno = ENOENT;
        return -1;
    }
    return __real_open(path, flags);
}

int __wrap_getrlimit(int resource, struct rlimit *limit)
{
    if (fix.getrlimit_fails > 0 && --fix.getrlimit_fails == 0) {
        errno = EFAULT;
        return -1;
    }
    int rc = __real_getrlimit(resource, limit);
    if (fix.unlimited)
        limit->rlim_cur = limit->rlim_max = RLIM_INFINITY;
    return rc;
}

int __wrap_setrlimit(int resource, const struct rlimit *limit)
{
    if (fix.setrlimit_fails || fix.unlimited) {
        errno = EPERM;
        return -1;
    }
    return __real_setrlimit(resource, limit);
}

int __wrap_net_dup_above(int fd, int lowest)
{
    if (++fix.dups == fix.dup_fails)
        return -EMFILE;
    return __real_net_dup_above(fd, lowest);
}

static int fixture_open(void **state)
{
    (void)state;
    memset(&fix, 0, sizeof fix);
    make_socketpair(fix.sockets);
    fix.fds = count_fds();
    return __real_getrlimit(RLIMIT_NOFILE, &fix.before);
}

static int fixture_close(void **state)
{
    (void)state;
    assert_int_equal(__real_setrlimit(RLIMIT_NOFILE, &fix.before), 0);
    assert_int_equal(count_fds(), fix.fds);
    (void)close(fix.sockets[0]);
    (void)close(fix.sockets[1]);
    return 0;
}

static void lower_soft_limit(rlim_t soft)
{
    const struct rlimit limit = {.rlim_cur = soft, .rlim_max = fix.before.rlim_max};
    assert_int_equal(__real_setrlimit(RLIMIT_NOFILE, &limit), 0);
}

static rlim_t soft_limit(void)
{
    struct rlimit limit;
    assert_int_equal(__real_getrlimit(RLIMIT_NOFILE, &limit), 0);
    return limit.rlim_cur;
}

/* The lowest limit that leaves this many descriptors free. */
static rlim_t limit_for(int free_ones)
{
    int limit = 0;
    while (free_ones > 0)
        free_ones -= !fd_is_open(limit++);
    return (rlim_t)limit;
}

static void test_raises_soft_to_hard(void **state)
{
    (void)state;
    rlim_t hard = fix.before.rlim_max;
    lower_soft_limit(64);
    assert_int_equal(descriptors_raise(), hard < INT_MAX ? (long)hard : INT_MAX);
    assert_true(soft_limit() == hard);
}

static void test_unlimited_fits_an_int(void **state)
{
    (void)state;
    fix.unlimited = true;
    assert_int_equal(descriptors_raise(), INT_MAX);
}

static void test_a_limit_that_cannot_be_raised(void **state)
{
    (void)state;
    lower_soft_limit(64);
    fix.setrlimit_fails = true;
    assert_int_equal(descriptors_raise(), 64);
}

static void test_a_limit_that_cannot_be_read(void **state)
{
    (void)state;
    for (int call = 1; call <= 2; call++) {
        fix.getrlimit_fails = call;
        assert_int_equal(descriptors_raise(), -EFAULT);
    }
}

/* Without /proc, the limit is an end, too. */
static void test_the_end_of_the_descriptors(void **state)
{
    struct rlimit limit;
    (void)state;
    int high = net_dup_above(STDIN_FILENO, 1000);
    assert_return_code(getrlimit(RLIMIT_NOFILE, &limit), errno);
    assert_int_equal(high, 1000);
    assert_int_equal(descriptors_end(), high + 1);
    assert_int_equal(fix.looks, 1); /* the table has room for 1024 then */
    fix.look_fails = true;
    assert_in_range(descriptors_end(), high + 1, 1024);
    fix.look_fails = false;
    fix.none_open = true;
    assert_int_equal(descriptors_end(), 0);
    fix.none_open = false;
    net_close(high);
    high = net_dup_above(STDIN_FILENO, 3 * 256 - 1); /* the last of a look, */
    assert_int_equal(descriptors_end(), high + 1);
    net_close(high);
    high = net_dup_above(STDIN_FILENO, 3 * 256); /* and the first: the table does not shrink */
    assert_int_equal(descriptors_end(), high + 1);
    fix.no_proc = true;
    assert_int_equal(descriptors_end(), limit.rlim_cur);
    fix.unlimited = true;
    assert_int_equal(descriptors_end(), INT_MAX);
    fix.getrlimit_fails = 1;
    assert_int_equal(descriptors_end(), -EFAULT);
    fix.no_proc = false;
    net_close(high);
}

static void test_probe_closes_all(void **state)
{
    (void)state;
    assert_int_equal(descriptors_probe(fix.sockets[0]), 0);
    assert_int_equal(fix.dups, DESCRIPTORS_LOOP);
    assert_int_equal(count_fds(), fix.fds);
}

static void test_probe_fails_at_each_call(void **state)
{
    (void)state;
    for (int place = 1; place <= DESCRIPTORS_LOOP; place++) {
        fix.dups = 0;
        fix.dup_fails = place;
        assert_int_equal(descriptors_probe(fix.sockets[0]), -EMFILE);
        assert_int_equal(fix.dups, place);
        assert_int_equal(count_fds(), fix.fds);
    }
}

/* The exact number of free descriptors is enough. One less is not. */
static void test_probe_at_the_limit(void **state)
{
    (void)state;
    lower_soft_limit(limit_for(DESCRIPTORS_LOOP));
    assert_int_equal(descriptors_probe(fix.sockets[0]), 0);
    lower_soft_limit(limit_for(DESCRIPTORS_LOOP - 1));
    assert_int_equal(descriptors_probe(fix.sockets[0]), -EMFILE);
}

/* Closes the descriptors 0 to 2 whose bits are set, and fills them. Returns which are open. */
static unsigned fill_stdio(unsigned closed)
{
    int saved[3];
    unsigned open_ones = 0;
    for (int fd = 0; fd < 3; fd++) {
        saved[fd] = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if ((closed & 1U << fd) != 0)
            (void)close(fd);
    }
    fix.filled = descriptors_fill_stdio();
    for (int fd = 0; fd < 3; fd++) {
        open_ones |= fd_is_open(fd) ? 1U << fd : 0;
        (void)dup2(saved[fd], fd);
        (void)close(saved[fd]);
    }
    return open_ones;
}

/* For every set of closed descriptors: all three are open afterwards, and no other one. */
static void test_stdio_is_filled(void **state)
{
    (void)state;
    for (int fd = 0; fd < 3; fd++)
        assert_true(fd_is_open(fd)); /* the test runner has left all three open */
    for (unsigned closed = 0; closed < 8; closed++) {
        assert_int_equal(fill_stdio(closed), 7);
        assert_int_equal(fix.filled, 0);
        assert_int_equal(count_fds(), fix.fds);
    }
}

/* Fails only if one of the three is closed. Otherwise /dev/null is not needed. */
static void test_stdio_cannot_be_filled(void **state)
{
    (void)state;
    fix.open_fails = true;
    for (unsigned closed = 0; closed < 8; closed++) {
        assert_int_equal(fill_stdio(closed), 7 & ~closed);
        assert_int_equal(fix.filled, closed == 0 ? 0 : -ENOENT);
        assert_int_equal(count_fds(), fix.fds);
    }
}

/* What execve(2) would close, but for one; the limit of descriptors does not matter. */
static void test_close_marked(void **state)
{
    (void)state;
    int marked = __real_open("/dev/null", O_RDWR | O_CLOEXEC);
    int unmarked = __real_open("/dev/null", O_RDWR);
    int kept = __real_open("/dev/null", O_RDWR | O_CLOEXEC);
    int high = fcntl(marked, F_DUPFD_CLOEXEC, 900);
    assert_true(marked >= 0 && unmarked >= 0 && kept >= 0 && high >= 900);
    assert_int_equal(fcntl(fix.sockets[0], F_SETFD, 0), 0);
    assert_int_equal(fcntl(fix.sockets[1], F_SETFD, 0), 0);
    assert_int_equal(fcntl(STDIN_FILENO, F_SETFD, FD_CLOEXEC), 0);
    descriptors_close_marked(kept);
    assert_false(fd_is_open(marked));
    assert_false(fd_is_open(high));
    assert_true(fd_is_open(unmarked) && fd_is_open(kept) && fd_is_open(STDIN_FILENO));
    assert_int_equal(fcntl(STDIN_FILENO, F_SETFD, 0), 0);
    (void)close(unmarked);
    (void)close(kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_raises_soft_to_hard),
        FIXTURE_TEST(test_unlimited_fits_an_int),
        FIXTURE_TEST(test_a_limit_that_cannot_be_raised),
        FIXTURE_TEST(test_a_limit_that_cannot_be_read),
        FIXTURE_TEST(test_the_end_of_the_descriptors),
        FIXTURE_TEST(test_probe_closes_all),
        FIXTURE_TEST(test_probe_fails_at_each_call),
        FIXTURE_TEST(test_probe_at_the_limit),
        FIXTURE_TEST(test_stdio_is_filled),
        FIXTURE_TEST(test_stdio_cannot_be_filled),
        FIXTURE_TEST(test_close_marked),
    };
    return RUN_TESTS("descriptors", tests);
}
