/*
 * limits.c: what is reserved, which limit counts, and what is logged. The limits of the machine are
 * those that the test names.
 */
#include "server/limits.h"

#include "os/descriptors.h"
#include "unit/support.h"

#include <errno.h>

enum { PIPE_ENDS = 10 };

static struct {
    struct log log;
    int lines;        /* the end of the log that the test reads */
    long descriptors; /* what descriptors_raise() returns */
    long watches;     /* what watches_max() returns */
} fix;

long __wrap_descriptors_raise(void);
long __wrap_watches_max(void);

long __wrap_descriptors_raise(void)
{
    return fix.descriptors;
}

long __wrap_watches_max(void)
{
    return fix.watches;
}

static int fixture_open(void **state)
{
    int fds[2];
    (void)state;
    make_socketpair(fds);
    fix.lines = fds[0];
    log_init(&fix.log, fds[1], LOG_LEVEL_INFO);
    fix.descriptors = 1000;
    fix.watches = 5000;
    return 0;
}

static int fixture_close(void **state)
{
    (void)state;
    log_close(&fix.log);
    (void)close(fix.log.fd);
    (void)close(fix.lines);
    return 0;
}

/* Nothing else is logged. */
static void check(size_t wanted, long limit, const char *line)
{
    char text[256];
    assert_int_equal(limits_connections(wanted, 100, &fix.log), limit);
    ssize_t n = recv(fix.lines, text, sizeof text - 1, MSG_DONTWAIT);
    text[n > 0 ? n : 0] = '\0';
    assert_string_equal(text, line);
}

static unsigned pipe_ends(const void *config)
{
    assert_int_equal(*(const int *)config, 7);
    return PIPE_ENDS;
}

static void test_the_reserve(void **state)
{
    static const int config = 7;
    static const struct handler plain = {.descriptors = NULL};
    static const struct handler piped = {.descriptors = pipe_ends};
    static const struct service list[] = {
        {.handler = &plain}, {.handler = &piped, .config = &config}, {.handler = &plain}};
    const struct services services = {.list = list, .count = 3};
    (void)state;
    assert_int_equal(limits_reserve(&services, 1, 0), DESCRIPTORS_RESERVE + PIPE_ENDS);
    assert_int_equal(limits_reserve(&services, 3, 2),
                     DESCRIPTORS_RESERVE + 2 * DESCRIPTORS_LOOP + 3 * PIPE_ENDS + 2);
}

static void test_as_many_as_are_wanted(void **state)
{
    (void)state;
    check(1, 1, "");
    check(900, 900, "");
}

static void test_fewer_than_are_wanted(void **state)
{
    (void)state;
    check(901, 900, "--max-connections=901: RLIMIT_NOFILE allows 900\n");
    fix.watches = 300;
    check(901, 200, "--max-connections=901: fs.epoll.max_user_watches allows 200\n");
    fix.watches = -ENOENT;
    check(901, 900, "--max-connections=901: RLIMIT_NOFILE allows 900\n");
}

/* Then there is nothing to warn of. */
static void test_any_number(void **state)
{
    (void)state;
    check(0, 900, "");
    fix.descriptors = fix.watches = 1L << 30;
    check(0, (1 << 20) - 1024, "");
}

static void test_none_is_left(void **state)
{
    (void)state;
    fix.descriptors = 101;
    check(5, 1, "--max-connections=5: RLIMIT_NOFILE allows 1\n");
    fix.descriptors = 100;
    check(5, -EMFILE, "");
    fix.descriptors = -EPERM;
    check(5, -EPERM, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_the_reserve),           FIXTURE_TEST(test_as_many_as_are_wanted),
        FIXTURE_TEST(test_fewer_than_are_wanted), FIXTURE_TEST(test_any_number),
        FIXTURE_TEST(test_none_is_left),
    };
    return cmocka_run_group_tests_name("limits", tests, NULL, NULL);
}
