/*
 * process.c: the figures of this process, and what is left of them where the kernel does not tell.
 */
#include "os/process.h"

#include "unit/support.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

static struct {
    bool open, stat, look, end, usage, limit; /* the calls that fail */
    bool old;                                 /* the kernel is older than 6.2 */
    const char *text;                         /* of any file; NULL: the real one */
} fault;

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __real_stat(const char *path, struct stat *file);
int __wrap_stat(const char *path, struct stat *file);
int __real_net_look(struct pollfd *list, size_t count);
int __wrap_net_look(struct pollfd *list, size_t count);
int __real_descriptors_end(void);
int __wrap_descriptors_end(void);
int __real_getrusage(int who, struct rusage *usage);
int __wrap_getrusage(int who, struct rusage *usage);
int __real_getrlimit(int resource, struct rlimit *limit);
int __wrap_getrlimit(int resource, struct rlimit *limit);

int __wrap_open(const char *path, int flags, ...)
{
    int fds[2];
    if (fault.open) {
        errno = ENOENT;
        return -1;
    }
    if (fault.text == NULL)
        return __real_open(path, flags);
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(write(fds[1], fault.text, strlen(fault.text)), strlen(fault.text));
    (void)close(fds[1]);
    return fds[0];
}

int __wrap_stat(const char *path, struct stat *file)
{
    int rc = fault.stat ? -1 : __real_stat(path, file);
    if (rc == 0 && fault.old)
        file->st_size = 0;
    return rc;
}

int __wrap_net_look(struct pollfd *list, size_t count)
{
    return fault.look ? -EINVAL : __real_net_look(list, count);
}

int __wrap_descriptors_end(void)
{
    return fault.end ? -EIO : __real_descriptors_end();
}

int __wrap_getrusage(int who, struct rusage *usage)
{
    return fault.usage ? -1 : __real_getrusage(who, usage);
}

int __wrap_getrlimit(int resource, struct rlimit *limit)
{
    return fault.limit ? -1 : __real_getrlimit(resource, limit);
}

static int fixture_open(void **state)
{
    (void)state;
    memset(&fault, 0, sizeof fault);
    return 0;
}

static struct process_figures measured(void)
{
    struct process_figures figures;
    process_measure(&figures);
    return figures;
}

/* The directory that is read to count has a descriptor of its own, and two entries of its own. */
static uint64_t fds(void)
{
    return (uint64_t)count_fds() - 3;
}

static void test_figures(void **state)
{
    struct rlimit limit;
    (void)state;
    struct process_figures figures = measured();
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_int_equal(figures.max_fds, limit.rlim_cur);
    assert_int_equal(figures.open_fds, fds());
    assert_true(figures.resident_bytes > 0 && figures.resident_bytes < figures.virtual_bytes);
    assert_true(figures.cpu_us < UINT64_C(1000000) * 3600);
}

/* Counted one by one, also beyond the numbers of one call. */
static void test_older_kernel(void **state)
{
    (void)state;
    fault.old = true;
    assert_int_equal(measured().open_fds, fds());
    int high = fcntl(0, F_DUPFD_CLOEXEC, 2100);
    if (high >= 0)
        assert_int_equal(measured().open_fds, fds());
    (void)close(high);
    fault.stat = true;
    assert_int_equal(measured().open_fds, fds());
    fault.look = true;
    assert_true(measured().open_fds == PROCESS_UNKNOWN);
    fault.end = true;
    assert_true(measured().open_fds == PROCESS_UNKNOWN);
}

static void test_unknown(void **state)
{
    (void)state;
    fault.open = fault.usage = fault.limit = true;
    struct process_figures figures = measured();
    assert_true(figures.cpu_us == PROCESS_UNKNOWN && figures.max_fds == PROCESS_UNKNOWN);
    assert_true(figures.resident_bytes == PROCESS_UNKNOWN);
    assert_true(figures.virtual_bytes == PROCESS_UNKNOWN);
    assert_true(process_started_us() == PROCESS_UNKNOWN);
}

static void test_odd_texts(void **state)
{
    (void)state;
    fault.text = "7";
    struct process_figures figures = measured();
    assert_int_equal(figures.virtual_bytes, 7 * (uint64_t)sysconf(_SC_PAGESIZE));
    assert_true(figures.resident_bytes == PROCESS_UNKNOWN);
    assert_true(process_started_us() == PROCESS_UNKNOWN);
    fault.text = "no number";
    assert_true(measured().virtual_bytes == PROCESS_UNKNOWN);
    fault.text = "1 (a) b) S 1 2 3";
    assert_true(process_started_us() == PROCESS_UNKNOWN);
}

/* Before now, and not by days: the test has just begun. */
static void test_start(void **state)
{
    struct timespec now;
    (void)state;
    uint64_t started_us = process_started_us();
    assert_int_equal(clock_gettime(CLOCK_REALTIME, &now), 0);
    uint64_t now_us = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
    assert_true(started_us <= now_us);
    assert_true(now_us - started_us < UINT64_C(1000000) * 3600 * 24);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_figures, fixture_open),
        cmocka_unit_test_setup(test_older_kernel, fixture_open),
        cmocka_unit_test_setup(test_unknown, fixture_open),
        cmocka_unit_test_setup(test_odd_texts, fixture_open),
        cmocka_unit_test_setup(test_start, fixture_open),
    };
    return RUN_TESTS("process", tests);
}
