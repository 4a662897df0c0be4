/*
 * systemd.c: the passed sockets, and the messages to the manager, with the real libsystemd and
 * environment. sd_notify_barrier() is wrapped to wait less. If systemd_notify() waited for a
 * reader, the watchdog would end the test. Passed sockets have the descriptors from 3 on, so main()
 * keeps these numbers free.
 */
#include "os/systemd.h"

#include "os/descriptors.h"
#include "unit/support.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { PASSED_FD = 3, PASSED_MAX = 4 };

static struct {
    struct systemd systemd;
    int first;
    char **names;
    int fds; /* open before the test */
    char dir[32];
    char path[128];  /* of the manager's socket */
    bool impatient;  /* the barrier waits for a microsecond */
    int allocations; /* the one that fails; 0: none */
} fix;

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
char *__real_strndup(const char *text, size_t len);
char *__wrap_strndup(const char *text, size_t len);

static bool memory_is_out(void)
{
    return fix.allocations > 0 && --fix.allocations == 0;
}

void *__wrap_calloc(size_t count, size_t size)
{
    return memory_is_out() ? NULL : __real_calloc(count, size);
}

char *__wrap_strndup(const char *text, size_t len)
{
    return memory_is_out() ? NULL : __real_strndup(text, len);
}

/* As child.c, without what the C library does in fork(2). */
static pid_t clone_process(void)
{
#ifdef __s390__ /* where the stack comes first */
    return (pid_t)syscall(SYS_clone, 0UL, (unsigned long)SIGCHLD, 0UL, 0UL, 0UL);
#else
    return (pid_t)syscall(SYS_clone, (unsigned long)SIGCHLD, 0UL, 0UL, 0UL, 0UL);
#endif
}

static int fixture_open(void **state)
{
    (void)state;
    memset(&fix, 0, sizeof fix);
    support_begin(); /* removes the variables that the previous test has set */
    fix.fds = count_fds();
    make_dir(fix.dir);
    (void)snprintf(fix.path, sizeof fix.path, "%s/notify", fix.dir);
    return 0;
}

static int fixture_close(void **state)
{
    (void)state;
    remove_dir(fix.dir);
    assert_int_equal(count_fds(), fix.fds);
    return 0;
}

static void need_systemd(void)
{
    if (systemd_supported())
        return;
    print_message("this build has no libsystemd\n");
    skip();
}

static void set(const char *name, const char *value)
{
    assert_int_equal(setenv(name, value, 1), 0);
}

static void set_number(const char *name, long value)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%ld", value);
    set(name, text);
}

/* Passes sockets as systemd does: they are not close-on-exec. */
static void pass_sockets(int count)
{
    for (int i = 0; i < count; i++)
        assert_int_equal(socket(AF_UNIX, SOCK_STREAM, 0), PASSED_FD + i);
    set_number("LISTEN_FDS", count);
    set_number("LISTEN_PID", getpid());
}

static void close_sockets(int count)
{
    for (int i = 0; i < count; i++)
        (void)close(PASSED_FD + i);
}

static int get_sockets(void)
{
    return systemd_sockets(&fix.first, &fix.names);
}

static bool is_cloexec(int fd)
{
    return (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0;
}

static void test_supported(void **state)
{
    (void)state;
    assert_int_equal(systemd_supported(), UVECHOD_SYSTEMD);
    systemd_free_names(NULL);
}

static void test_no_sockets(void **state)
{
    (void)state;
    assert_int_equal(get_sockets(), 0);
    set_number("LISTEN_PID", getpid());
    assert_int_equal(get_sockets(), 0);
}

static void test_named_sockets(void **state)
{
    (void)state;
    need_systemd();
    pass_sockets(3);
    set("LISTEN_FDNAMES", "web:uvechod.socket:");
    assert_int_equal(get_sockets(), 3);
    assert_int_equal(fix.first, PASSED_FD);
    assert_string_equal(fix.names[0], "web");
    assert_string_equal(fix.names[1], "uvechod.socket");
    assert_string_equal(fix.names[2], "");
    assert_null(fix.names[3]);
    for (int i = 0; i < 3; i++)
        assert_true(is_cloexec(PASSED_FD + i));
    systemd_free_names(fix.names);
    assert_int_equal(systemd_sockets(&fix.first, NULL), 3); /* a second call returns the same */
    close_sockets(3);
}

static void test_sockets_without_names(void **state)
{
    (void)state;
    need_systemd();
    pass_sockets(1);
    assert_int_equal(get_sockets(), 1);
    assert_string_equal(fix.names[0], "unknown");
    assert_null(fix.names[1]);
    systemd_free_names(fix.names);
    close_sockets(1);
}

/* The variables are inherited, and name another process: no socket is ours. */
static void test_sockets_of_another_process(void **state)
{
    (void)state;
    pass_sockets(2);
    set_number("LISTEN_PID", getppid());
    assert_int_equal(get_sockets(), 0);
    assert_int_equal(systemd_sockets(&fix.first, NULL), 0);
    assert_false(is_cloexec(PASSED_FD));
    close_sockets(2);
}

static void test_malformed_sockets(void **state)
{
    static const char *const words[] = {"", "x", "1x", "-1", "0", "1.5", " ", "one"};
    (void)state;
    need_systemd();
    pass_sockets(1);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        set("LISTEN_FDS", words[i]);
        assert_int_equal(get_sockets(), -EINVAL);
        assert_int_equal(systemd_sockets(&fix.first, NULL), -EINVAL);
    }
    set("LISTEN_FDS", "2147483647");
    assert_int_equal(get_sockets(), -EINVAL);
    set("LISTEN_FDS", "99999999999999999999");
    assert_true(get_sockets() < 0);
    set("LISTEN_FDS", "1");
    set("LISTEN_PID", "x");
    assert_true(get_sockets() < 0);
    close_sockets(1);
}

static void test_missing_sockets(void **state)
{
    (void)state;
    need_systemd();
    pass_sockets(2);
    set("LISTEN_FDS", "3");
    assert_int_equal(get_sockets(), -EBADF);
    set("LISTEN_FDS", "2");
    set("LISTEN_FDNAMES", "one:two:three");
    assert_int_equal(get_sockets(), -EINVAL);
    close_sockets(2);
}

/* Each allocation fails in turn. Nothing is left behind. */
static void test_sockets_without_memory(void **state)
{
    (void)state;
    need_systemd();
    pass_sockets(2);
    for (fix.allocations = 1; fix.allocations <= 3; fix.allocations++) {
        int allocations = fix.allocations;
        assert_int_equal(get_sockets(), -ENOMEM);
        assert_null(fix.names);
        fix.allocations = allocations;
    }
    fix.allocations = 0;
    close_sockets(2);
}

/* The variables name a child that was made by clone(2), after the parent has looked at its own. */
static void test_sockets_of_a_child(void **state)
{
    int status;
    (void)state;
    need_systemd();
    pass_sockets(1);
    assert_int_equal(get_sockets(), 1);
    systemd_free_names(fix.names);
    set("WATCHDOG_USEC", "5");
    pid_t pid = clone_process();
    assert_true(pid >= 0);
    if (pid == 0) {
        set_number("LISTEN_PID", getpid());
        set_number("WATCHDOG_PID", getpid());
        bool right = systemd_sockets(&fix.first, NULL) == 1 && systemd_open(&fix.systemd) == 0 &&
                     fix.systemd.watchdog_us == 5 && systemd_watchdog_us() == 5;
        _exit(right ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    close_sockets(1);
}

/* Makes a receiver at the address, which becomes the manager. Returns the receiver. */
static int open_receiver(const char *address)
{
    int receiver = make_receiver(address);
    set("NOTIFY_SOCKET", address);
    assert_int_equal(systemd_open(&fix.systemd), 0);
    assert_true(fix.systemd.notify_fd >= 0);
    return receiver;
}

static void check_messages(const char *address)
{
    int receiver = open_receiver(address);
    assert_true(is_cloexec(fix.systemd.notify_fd));
    systemd_notify(&fix.systemd, "READY=%d", 1);
    systemd_notify(&fix.systemd, "STATUS=%s\nERRNO=%d", "text", 7);
    expect_message(receiver, "READY=1");
    expect_message(receiver, "STATUS=text\nERRNO=7");
    expect_no_message(receiver);
    systemd_close(&fix.systemd);
    assert_int_equal(fix.systemd.notify_fd, -1);
    systemd_notify(&fix.systemd, "too late");
    expect_no_message(receiver);
    systemd_close(&fix.systemd); /* a second call is harmless */
    (void)close(receiver);
}

static void test_notify_a_path(void **state)
{
    (void)state;
    need_systemd();
    check_messages(fix.path);
    assert_int_equal(unlink(fix.path), 0);
}

static void test_notify_an_abstract_address(void **state)
{
    char name[64];
    (void)state;
    need_systemd();
    (void)snprintf(name, sizeof name, "@uvechod-test-%ld", (long)getpid());
    check_messages(name);
}

/* It is no failure if there is no manager. */
static void check_no_manager(void)
{
    assert_int_equal(systemd_open(&fix.systemd), 0);
    assert_true(fix.systemd.notify_fd < 0);
    assert_int_equal(fix.systemd.watchdog_us, 0);
    systemd_notify(&fix.systemd, "READY=1");
    systemd_close(&fix.systemd);
    assert_int_equal(fix.systemd.notify_fd, -1);
    assert_int_equal(count_fds(), fix.fds);
}

static void test_without_a_manager(void **state)
{
    (void)state;
    memset(&fix.systemd, 0xa5, sizeof fix.systemd);
    check_no_manager();
}

static void test_addresses_that_cannot_be_used(void **state)
{
    static const char *const words[] = {"",         "@", "/", "relative", "x@y", "vsock:2:1234",
                                        "/dev/null"};
    char text[256];
    (void)state;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        set("NOTIFY_SOCKET", words[i]);
        check_no_manager();
    }
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    for (int i = 0; i < 2; i++) {
        text[0] = i == 0 ? '/' : '@';
        set("NOTIFY_SOCKET", text);
        check_no_manager();
    }
    set("NOTIFY_SOCKET", fix.path); /* does not exist */
    check_no_manager();
}

/* A relative path is ignored, because the current directory may change. */
static void test_a_relative_address(void **state)
{
    (void)state;
    int receiver = make_receiver(fix.path);
    int here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(chdir(fix.dir), 0);
    set("NOTIFY_SOCKET", "notify");
    assert_int_equal(systemd_open(&fix.systemd), 0);
    assert_true(fix.systemd.notify_fd < 0);
    assert_int_equal(fchdir(here), 0);
    (void)close(here);
    (void)close(receiver);
    assert_int_equal(unlink(fix.path), 0);
}

static void test_a_manager_that_is_gone_at_the_start(void **state)
{
    (void)state;
    (void)close(make_receiver(fix.path));
    set("NOTIFY_SOCKET", fix.path);
    check_no_manager();
    assert_int_equal(unlink(fix.path), 0);
}

static void test_a_manager_that_goes(void **state)
{
    (void)state;
    need_systemd();
    int receiver = open_receiver(fix.path);
    assert_ptr_not_equal(signal(SIGPIPE, SIG_DFL), SIG_ERR);
    (void)close(receiver);
    for (int i = 0; i < 3; i++)
        assert_false(systemd_notify(&fix.systemd, "WATCHDOG=1"));
    systemd_close(&fix.systemd);
    assert_int_equal(unlink(fix.path), 0);
}

/* The manager makes its socket again, as it does after a restart. */
static void test_a_manager_that_comes_back(void **state)
{
    (void)state;
    need_systemd();
    struct systemd systemd;
    char name[64];
    (void)snprintf(name, sizeof name, "@uvechod-test-%ld", (long)getpid());
    int manager = make_receiver(name);
    assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
    assert_int_equal(systemd_open(&systemd), 0);
    (void)close(manager);
    assert_false(systemd_notify(&systemd, "WATCHDOG=1"));
    manager = make_receiver(name);
    assert_true(systemd_notify(&systemd, "WATCHDOG=1"));
    expect_message(manager, "WATCHDOG=1");
    systemd_close(&systemd);
    (void)close(manager);
}

/* Messages that fit into the manager's queue arrive whole and in order. The others are lost. */
static void test_a_manager_that_does_not_read(void **state)
{
    char buf[1024];
    int number = 0;
    (void)state;
    need_systemd();
    int receiver = open_receiver(fix.path);
    for (int i = 0; i < 10000; i++)
        systemd_notify(&fix.systemd, "STATUS=%d %400s", i, "x");
    while (recv(receiver, buf, sizeof buf, MSG_DONTWAIT) > 0) {
        assert_int_equal(strtol(buf + strlen("STATUS="), NULL, 10), number);
        number++;
    }
    assert_between(number, 1, 9999);
    systemd_notify(&fix.systemd, "WATCHDOG=1"); /* the queue has room again */
    expect_message(receiver, "WATCHDOG=1");
    systemd_close(&fix.systemd);
    (void)close(receiver);
    assert_int_equal(unlink(fix.path), 0);
}

/* A message that is too long is not sent, because half of it could mean something else. */
static void test_a_message_that_is_too_long_is_not_sent(void **state)
{
    char buf[1024];
    (void)state;
    need_systemd();
    int receiver = open_receiver(fix.path);
    systemd_notify(&fix.systemd, "STATUS=%0*d", 512 - 7, 0);
    systemd_notify(&fix.systemd, "STATUS=%0*d", 5000, 0);
    expect_no_message(receiver);
    systemd_notify(&fix.systemd, "STATUS=%0*d", 511 - 7, 0);
    assert_int_equal(strlen(receive_message(receiver, buf)), 511);
    systemd_notify(&fix.systemd, "%s", ""); /* an empty text is no message */
    expect_no_message(receiver);
    systemd_close(&fix.systemd);
    (void)close(receiver);
    assert_int_equal(unlink(fix.path), 0);
}

/* Reads a message and the one descriptor that has come with it, or -1. */
static int receive_with(int receiver, const char *expected)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(4 * sizeof(int))];
    char text[1024];
    int fd = -1;
    struct iovec iov = {.iov_base = text, .iov_len = sizeof text - 1};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t n = recvmsg(receiver, &msg, MSG_CMSG_CLOEXEC);
    assert_true(n > 0);
    text[n] = '\0';
    assert_string_equal(text, expected);
    const struct cmsghdr *part = CMSG_FIRSTHDR(&msg);
    if (part != NULL) {
        assert_int_equal(part->cmsg_len, CMSG_LEN(sizeof fd));
        memcpy(&fd, CMSG_DATA(part), sizeof fd);
    }
    return fd;
}

/* The barrier waits for an answer of the manager, which is another process. */
static void test_descriptors_are_stored(void **state)
{
    int ends[2];
    int status;
    (void)state;
    need_systemd();
    int receiver = open_receiver(fix.path);
    make_socketpair(ends);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        int rc = systemd_store("a-name", &ends[1], 1);
        systemd_unstore("a-name");
        child_exit(rc == 0 ? 0 : 1);
    }
    (void)close(ends[1]);
    assert_int_equal(receive_with(receiver, "FDSTOREREMOVE=1\nFDNAME=a-name"), -1);
    int stored = receive_with(receiver, "FDSTORE=1\nFDPOLL=0\nFDNAME=a-name");
    assert_int_equal(send(stored, "x", 1, 0), 1); /* it is the end that was stored */
    assert_true(net_ready(ends[0], POLLIN));
    int barrier = receive_with(receiver, "BARRIER=1");
    expect_no_message(receiver); /* the child waits */
    (void)close(barrier);
    expect_message(receiver, "FDSTOREREMOVE=1\nFDNAME=a-name");
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    (void)close(stored);
    (void)close(ends[0]);
    systemd_close(&fix.systemd);
    (void)close(receiver);
    assert_int_equal(unlink(fix.path), 0);
}

static void test_nobody_stores_descriptors(void **state)
{
    const int fd = 0;
    (void)state;
    assert_int_equal(systemd_store("a-name", &fd, 1), -EOPNOTSUPP);
    systemd_unstore("a-name");
    set("NOTIFY_SOCKET", fix.path); /* does not exist */
    assert_int_equal(systemd_store("a-name", &fd, 1), systemd_supported() ? -ENOENT : -EOPNOTSUPP);
}

#if UVECHOD_SYSTEMD
int __wrap_sd_notify_barrier(int unset, uint64_t timeout_us);
int __real_sd_notify_barrier(int unset, uint64_t timeout_us);

int __wrap_sd_notify_barrier(int unset, uint64_t timeout_us)
{
    return __real_sd_notify_barrier(unset, fix.impatient ? 1 : timeout_us);
}
#endif

/* A manager that does not answer: the limit, which is one of seconds, is over at once here. */
static void test_a_manager_that_does_not_answer(void **state)
{
    const int fd = 0;
    (void)state;
    need_systemd();
    fix.impatient = true;
    int receiver = open_receiver(fix.path);
    assert_int_equal(systemd_store("a-name", &fd, 1), -ETIMEDOUT);
    systemd_close(&fix.systemd);
    (void)close(receiver);
    assert_int_equal(unlink(fix.path), 0);
}

static void check_watchdog(uint64_t watchdog_us)
{
    fix.systemd.watchdog_us = 99;
    assert_int_equal(systemd_open(&fix.systemd), 0);
    assert_int_equal(fix.systemd.watchdog_us, watchdog_us);
    assert_int_equal(systemd_watchdog_us(), watchdog_us);
    systemd_close(&fix.systemd);
}

static void test_watchdog(void **state)
{
    (void)state;
    need_systemd();
    check_watchdog(0);
    set("WATCHDOG_USEC", "3000000");
    check_watchdog(3000000);
    set_number("WATCHDOG_PID", getpid());
    check_watchdog(3000000);
    set("WATCHDOG_USEC", "1");
    check_watchdog(1);
    set("WATCHDOG_USEC", "8589934592000000");
    check_watchdog(8589934592000000);
}

static void test_the_watchdog_of_another_process(void **state)
{
    (void)state;
    set("WATCHDOG_USEC", "3000000");
    set_number("WATCHDOG_PID", getppid());
    check_watchdog(0);
}

/* There is no watchdog then, but messages are sent. */
static void test_a_malformed_watchdog(void **state)
{
    static const char *const words[] = {"",   "x",   "0", "1x",
                                        "-1", "1.5", " ", "18446744073709551615"};
    (void)state;
    need_systemd();
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        set("WATCHDOG_USEC", words[i]);
        fix.systemd.watchdog_us = 99;
        assert_true(systemd_open(&fix.systemd) < 0);
        assert_int_equal(fix.systemd.watchdog_us, 0);
        assert_int_equal(systemd_watchdog_us(), 0);
    }
    set("WATCHDOG_USEC", "99999999999999999999");
    assert_int_equal(systemd_watchdog_us(), 0);
    int receiver = make_receiver(fix.path);
    set("NOTIFY_SOCKET", fix.path);
    assert_true(systemd_open(&fix.systemd) < 0);
    assert_int_equal(fix.systemd.watchdog_us, 0);
    systemd_notify(&fix.systemd, "READY=1");
    expect_message(receiver, "READY=1");
    systemd_close(&fix.systemd);
    (void)close(receiver);
    assert_int_equal(unlink(fix.path), 0);
    (void)unsetenv("NOTIFY_SOCKET");
    set("WATCHDOG_USEC", "3000000");
    set("WATCHDOG_PID", "x");
    assert_true(systemd_open(&fix.systemd) < 0);
    assert_int_equal(fix.systemd.watchdog_us, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_supported),
        FIXTURE_TEST(test_no_sockets),
        FIXTURE_TEST(test_named_sockets),
        FIXTURE_TEST(test_sockets_without_names),
        FIXTURE_TEST(test_sockets_of_another_process),
        FIXTURE_TEST(test_malformed_sockets),
        FIXTURE_TEST(test_missing_sockets),
        FIXTURE_TEST(test_sockets_without_memory),
        FIXTURE_TEST(test_sockets_of_a_child),
        FIXTURE_TEST(test_notify_a_path),
        FIXTURE_TEST(test_notify_an_abstract_address),
        FIXTURE_TEST(test_without_a_manager),
        FIXTURE_TEST(test_addresses_that_cannot_be_used),
        FIXTURE_TEST(test_a_relative_address),
        FIXTURE_TEST(test_a_manager_that_is_gone_at_the_start),
        FIXTURE_TEST(test_a_manager_that_goes),
        FIXTURE_TEST(test_a_manager_that_comes_back),
        FIXTURE_TEST(test_a_manager_that_does_not_read),
        FIXTURE_TEST(test_a_message_that_is_too_long_is_not_sent),
        FIXTURE_TEST(test_descriptors_are_stored),
        FIXTURE_TEST(test_nobody_stores_descriptors),
        FIXTURE_TEST(test_a_manager_that_does_not_answer),
        FIXTURE_TEST(test_watchdog),
        FIXTURE_TEST(test_the_watchdog_of_another_process),
        FIXTURE_TEST(test_a_malformed_watchdog),
    };
    close_sockets(PASSED_MAX); /* closes descriptors that were inherited there */
    /*
     * The limit holds for the descriptors that all processes of a user have on their way through
     * Unix sockets (unix(7), ETOOMANYREFS), so that unit.pouch, which has 2000 there, counts here.
     */
    (void)descriptors_raise();
    return RUN_TESTS("systemd", tests);
}
