/*
 * child.c: real children, which share the descriptors of the test, and real signals.
 */
#include "os/child.h"

#include "unit/support.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

/* In place of the watchdog, whose SIGALRM is blocked here: longer than any child needs. */
enum { WAIT_MS = 20000, MOMENT_MS = 20 };

/* What a child tells the test in memory that both have. */
struct told {
    int fd;
    pid_t group;
    bool blocks_usr1;
    bool blocks_alarm;
    char listen_pid[16];
    char watchdog_pid[16];
    volatile sig_atomic_t terminated;
};

static struct {
    struct child child;
    struct told *told;
    int fds;
    bool orphan; /* the child finds that its parent has ended */
} fix;

pid_t __real_getppid(void);
pid_t __wrap_getppid(void);

pid_t __wrap_getppid(void)
{
    return fix.orphan ? 1 : __real_getppid();
}

static int fixture_open(void **state)
{
    (void)state;
    memset(&fix, 0, sizeof fix);
    fix.told =
        mmap(NULL, sizeof *fix.told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(fix.told != MAP_FAILED);
    fix.fds = count_fds();
    child_prepare(&fix.child);
    return 0;
}

static int fixture_close(void **state)
{
    (void)state;
    child_release(&fix.child);
    assert_int_equal(munmap(fix.told, sizeof *fix.told), 0);
    assert_int_equal(count_fds(), fix.fds);
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    return 0;
}

/* Makes a child that runs this function and then ends with code 7. */
static void run(void (*function)(void))
{
    pid_t pid = child_make(&fix.child);
    if (pid == 0) {
        function();
        child_exit(7);
    }
    assert_true(pid > 0);
    assert_int_equal(fix.child.pid, pid);
}

static void expect_exit(void)
{
    assert_int_equal(child_wait(&fix.child, WAIT_MS), CHILD_ENDED);
    assert_int_equal(fix.child.code, 7);
    assert_int_equal(fix.child.signum, 0);
}

static void expect_death(int signum)
{
    assert_int_equal(child_wait(&fix.child, WAIT_MS), CHILD_ENDED);
    assert_int_equal(fix.child.code, -1);
    assert_int_equal(fix.child.signum, signum);
}

static void await_zombie(pid_t pid)
{
    while (waitid(P_PID, (id_t)pid, NULL, WEXITED | WNOWAIT) < 0)
        assert_int_equal(errno, EINTR);
}

static void open_and_end(void)
{
    fix.told->fd = open("/dev/null", O_RDWR | O_CLOEXEC);
}

static void open_and_die(void)
{
    open_and_end();
    (void)kill(getpid(), SIGKILL);
}

/* Or until the test has ended: a test that fails must not leave the child behind. */
static void sleep_for_ever(void)
{
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)alarm(60);
    for (;;)
        (void)pause();
}

/* What the child has opened is open here, and stays open. */
static void test_descriptors_are_shared(void **state)
{
    (void)state;
    run(open_and_end);
    expect_exit();
    assert_true(fix.told->fd > STDERR_FILENO);
    assert_true(fd_is_open(fix.told->fd));
    (void)close(fix.told->fd);
    run(open_and_die);
    expect_death(SIGKILL);
    assert_true(fd_is_open(fix.told->fd));
    (void)close(fix.told->fd);
}

static void close_what_is_open(void)
{
    (void)close(fix.told->fd);
}

static void test_a_descriptor_is_closed_for_both(void **state)
{
    (void)state;
    open_and_end();
    run(close_what_is_open);
    expect_exit();
    assert_false(fd_is_open(fix.told->fd));
}

static void test_the_time_passes(void **state)
{
    (void)state;
    run(sleep_for_ever);
    assert_int_equal(child_wait(&fix.child, MOMENT_MS), CHILD_LATE);
    child_signal(&fix.child, SIGKILL);
    expect_death(SIGKILL);
}

/* A signal for a child that has ended is for the next one. */
static void test_signals_wait_for_the_next_child(void **state)
{
    static const int expected[] = {SIGHUP, SIGINT, SIGQUIT, SIGABRT, SIGUSR1, SIGUSR2, SIGTERM};
    const size_t count = sizeof expected / sizeof *expected;
    (void)state;
    run(open_and_end);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(kill(getpid(), expected[i]), 0);
    await_zombie(fix.child.pid);
    expect_exit();
    (void)close(fix.told->fd);
    run(sleep_for_ever);
    unsigned seen = 0;
    for (size_t i = 0; i < count; i++)
        seen |= 1U << child_wait(&fix.child, WAIT_MS);
    for (size_t i = 0; i < count; i++)
        assert_true((seen >> expected[i] & 1) != 0);
    assert_int_equal(child_wait(&fix.child, MOMENT_MS), CHILD_LATE);
    child_signal(&fix.child, SIGKILL);
    expect_death(SIGKILL);
}

/* As nohup(1) wants it. */
static void test_a_signal_that_is_ignored(void **state)
{
    (void)state;
    child_release(&fix.child);
    assert_true(signal(SIGHUP, SIG_IGN) != SIG_ERR);
    child_prepare(&fix.child);
    run(sleep_for_ever);
    assert_int_equal(kill(getpid(), SIGHUP), 0);
    assert_int_equal(child_wait(&fix.child, MOMENT_MS), CHILD_LATE);
    child_signal(&fix.child, SIGKILL);
    expect_death(SIGKILL);
    child_release(&fix.child); /* which discards the signal, as it is ignored */
    assert_true(signal(SIGHUP, SIG_DFL) != SIG_ERR);
    child_prepare(&fix.child);
}

static void abort_the_parent(void)
{
    (void)kill(getppid(), SIGABRT);
}

/* As musl's abort(3) does. */
static void test_a_signal_that_the_child_sends(void **state)
{
    (void)state;
    run(abort_the_parent);
    expect_exit();
}

/* The signal and the end are there at once. The next child would be given the signal. */
static void test_a_signal_does_not_outlive_its_sender(void **state)
{
    sigset_t pending;
    (void)state;
    run(abort_the_parent);
    await_zombie(fix.child.pid);
    expect_exit();
    assert_int_equal(sigpending(&pending), 0);
    assert_int_equal(sigismember(&pending, SIGABRT), 0);
}

static void tell_its_signals(void)
{
    sigset_t set;
    (void)sigprocmask(SIG_SETMASK, NULL, &set);
    fix.told->blocks_usr1 = sigismember(&set, SIGUSR1) == 1;
    fix.told->blocks_alarm = sigismember(&set, SIGALRM) == 1;
    fix.told->group = getpgid(0);
}

/* The child has blocked what this process had blocked before, and nobody else gets its ^C. */
static void test_what_the_child_inherits(void **state)
{
    sigset_t set;
    (void)state;
    child_release(&fix.child);
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGUSR1);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    child_prepare(&fix.child);
    run(tell_its_signals);
    expect_exit();
    assert_true(fix.told->blocks_usr1);
    assert_false(fix.told->blocks_alarm);
    assert_int_equal(fix.told->group, fix.child.pid);
    child_release(&fix.child);
    (void)sigprocmask(SIG_UNBLOCK, &set, NULL);
    child_prepare(&fix.child);
}

static void tell_its_environment(void)
{
    (void)snprintf(fix.told->listen_pid, 16, "%s", getenv("LISTEN_PID"));
    (void)snprintf(fix.told->watchdog_pid, 16, "%s", getenv("WATCHDOG_PID"));
}

/* Only a variable that names this process is changed, and for the child alone. */
static void test_the_manager_means_the_child(void **state)
{
    char own[16];
    char expected[16];
    (void)state;
    (void)snprintf(own, sizeof own, "%d", (int)getpid());
    assert_int_equal(setenv("LISTEN_PID", own, 1), 0);
    assert_int_equal(setenv("WATCHDOG_PID", "1", 1), 0);
    run(tell_its_environment);
    expect_exit();
    (void)snprintf(expected, sizeof expected, "%d", (int)fix.child.pid);
    assert_string_equal(fix.told->listen_pid, expected);
    assert_string_equal(fix.told->watchdog_pid, "1");
    assert_string_equal(getenv("LISTEN_PID"), own);
    (void)unsetenv("LISTEN_PID");
    (void)unsetenv("WATCHDOG_PID");
}

/* Makes a parent that is killed when its child runs. The child's end closes the pipe. */
static void make_orphan(int in)
{
    if (child_make(&fix.child) == 0) {
        assert_int_equal(write(in, "x", 1), 1);
        sleep_for_ever();
    }
    sleep_for_ever();
}

/* Otherwise nobody would supervise it. */
static void test_the_child_does_not_outlive_us(void **state)
{
    int ends[2];
    char byte;
    (void)state;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t parent = fork();
    if (parent == 0) {
        (void)close(ends[0]);
        make_orphan(ends[1]);
    }
    (void)close(ends[1]);
    assert_int_equal(read(ends[0], &byte, 1), 1);
    assert_int_equal(kill(parent, SIGKILL), 0);
    struct pollfd ended = {.fd = ends[0], .events = POLLIN};
    assert_int_equal(poll(&ended, 1, WAIT_MS), 1);
    assert_int_equal(read(ends[0], &byte, 1), 0);
    assert_int_equal(waitpid(parent, NULL, 0), parent);
    (void)close(ends[0]);
}

static void on_sigterm(int signum)
{
    fix.told->terminated = signum;
}

static void do_nothing(void)
{
}

/* The parent may end before the child has asked to be told of that. */
static void test_the_parent_has_ended_already(void **state)
{
    (void)state;
    fix.orphan = true;
    (void)signal(SIGTERM, on_sigterm);
    run(do_nothing);
    expect_exit();
    (void)signal(SIGTERM, SIG_DFL);
    assert_int_equal(fix.told->terminated, SIGTERM);
}

/* A process may have children when it executes the program. */
static void test_another_child_ends(void **state)
{
    (void)state;
    pid_t other = fork();
    if (other == 0)
        child_exit(3);
    assert_true(other > 0);
    await_zombie(other);
    run(sleep_for_ever);
    assert_int_equal(child_wait(&fix.child, MOMENT_MS), CHILD_LATE);
    child_signal(&fix.child, SIGUSR1);
    expect_death(SIGUSR1);
}

/* An emulator of processors may know only fork(2) and the clone(2) of threads. */
static bool can_be_made(void)
{
    struct child child;
    child_prepare(&child);
    pid_t pid = child_make(&child);
    if (pid == 0)
        child_exit(EXIT_SUCCESS);
    if (pid > 0)
        (void)child_wait(&child, WAIT_MS);
    child_release(&child);
    return pid != -EINVAL;
}

static void test_nothing_can_be_shared(void **state)
{
    (void)state;
    print_message("no process can be made here that shares its descriptors\n");
    skip();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_descriptors_are_shared),
        FIXTURE_TEST(test_a_descriptor_is_closed_for_both),
        FIXTURE_TEST(test_the_time_passes),
        FIXTURE_TEST(test_signals_wait_for_the_next_child),
        FIXTURE_TEST(test_a_signal_that_is_ignored),
        FIXTURE_TEST(test_a_signal_that_the_child_sends),
        FIXTURE_TEST(test_a_signal_does_not_outlive_its_sender),
        FIXTURE_TEST(test_what_the_child_inherits),
        FIXTURE_TEST(test_the_manager_means_the_child),
        FIXTURE_TEST(test_the_child_does_not_outlive_us),
        FIXTURE_TEST(test_the_parent_has_ended_already),
        FIXTURE_TEST(test_another_child_ends),
    };
    const struct CMUnitTest none[] = {
        cmocka_unit_test(test_nothing_can_be_shared),
    };
    return can_be_made() ? RUN_TESTS("child", tests) : RUN_TESTS("child", none);
}
