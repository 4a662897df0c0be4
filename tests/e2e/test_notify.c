/*
 * test_notify.c - what the daemon tells its service manager, which is the test: READY=1, STATUS=
 * and the like on a datagram socket (sd_notify(3)), and the watchdog.
 */
#include "harness.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    STATUS_LEAST_MS = 2900,  /* between two reports, less rounding */
    STATUS_QUIET_MS = 6000,  /* longer than between two reports */
    WATCHDOG_TICK_MS = 100,  /* between two pings in most tests */
    WATCHDOG_STILL_MS = 600, /* several ticks */
};

/* The service manager, which the test plays. */
struct manager {
    int fd;
    char setting[128]; /* NOTIFY_SOCKET=... */
    char text[1024];   /* the last datagram */
    uint64_t ms;       /* when it was sent */
    unsigned pings;    /* WATCHDOG=1 so far */
    unsigned statuses; /* STATUS= so far */
};

/* Listens at a path or at an abstract "@name". */
static void manager_open(struct manager *manager, const char *address)
{
    const int on = 1;
    if (!UVECHOD_SYSTEMD)
        harness_skip("built without libsystemd");
    *manager = (struct manager){.fd = harness_bind_unix(address, SOCK_DGRAM)};
    assert_int_equal(setsockopt(manager->fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on), 0);
    (void)snprintf(manager->setting, sizeof manager->setting, "NOTIFY_SOCKET=%s", address);
}

/* Listens at a new path. */
static void manager_open_any(struct manager *manager)
{
    static unsigned count;
    char name[32];
    (void)snprintf(name, sizeof name, "notify-%u", count++);
    manager_open(manager, harness_path(name));
}

/* Starts a daemon of this manager, with one more environment variable or NULL. */
static void manager_launch(const struct manager *manager, struct daemon *daemon,
                           const char *options, const char *variable)
{
    const char *const setup[] = {manager->setting, variable, NULL};
    daemon_launch(daemon, &(struct launch){.options = options, .setup = setup});
}

/* As above, and waits until it listens, on 127.0.0.1. */
static void manager_start(const struct manager *manager, struct daemon *daemon, const char *options,
                          const char *variable)
{
    const char *const setup[] = {manager->setting, variable, NULL};
    char all[256];
    (void)snprintf(all, sizeof all, "--bind=127.0.0.1 %s", options);
    daemon_start_as(daemon, &(struct launch){.options = all, .setup = setup});
}

/* When the datagram was sent. The time at which it is read would include our own delays. */
static uint64_t manager_stamp(struct msghdr *msg)
{
    struct timespec sent;
    const struct cmsghdr *part = CMSG_FIRSTHDR(msg); /* the only one that was asked for */
    assert_non_null(part);
    assert_int_equal(part->cmsg_level, SOL_SOCKET);
    assert_int_equal(part->cmsg_type, SO_TIMESTAMPNS);
    memcpy(&sent, CMSG_DATA(part), sizeof sent);
    return (uint64_t)sent.tv_sec * 1000 + (uint64_t)sent.tv_nsec / 1000000;
}

/* Reads the next datagram into manager->text. Returns false if none comes in this time. */
static bool manager_next(struct manager *manager, int timeout_ms)
{
    struct pollfd ready = {.fd = manager->fd, .events = POLLIN};
    if (poll(&ready, 1, timeout_ms) <= 0)
        return false;
    _Alignas(struct cmsghdr) char control[256];
    struct iovec iov = {.iov_base = manager->text, .iov_len = sizeof manager->text - 1};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t n = recvmsg(manager->fd, &msg, 0);
    assert_true(n > 0);
    manager->text[n] = '\0';
    manager->ms = manager_stamp(&msg);
    manager->pings += strcmp(manager->text, "WATCHDOG=1") == 0;
    manager->statuses += strncmp(manager->text, "STATUS=", 7) == 0;
    return true;
}

/* Waits for the next datagram that begins with text. Those before it are passed over. */
static const char *manager_wait(struct manager *manager, const char *text)
{
    uint64_t deadline = harness_now_ms() + HARNESS_DEADLINE_MS / 2;
    while (harness_now_ms() < deadline && manager_next(manager, HARNESS_DEADLINE_MS / 2))
        if (strncmp(manager->text, text, strlen(text)) == 0)
            return manager->text;
    fail_msg("'%s' does not come, '%s' was the last", text, manager->text);
    return NULL;
}

/* The next datagram is this one. */
static void manager_expect(struct manager *manager, const char *text)
{
    manager->text[0] = '\0';
    (void)manager_next(manager, HARNESS_DEADLINE_MS);
    assert_string_equal(manager->text, text);
}

/* Reads all that has come by now. */
static void manager_drain(struct manager *manager)
{
    while (manager_next(manager, 0))
        ;
}

/* ---- starting ---- */

/* When READY=1 comes, all addresses can be connected to. */
static void check_ready(struct daemon *daemon, const char *address)
{
    struct manager manager;
    char options[256];
    const char *path = harness_path("ready");
    (void)snprintf(options, sizeof options, "--bind=127.0.0.1 --bind=unix:%s", path);
    manager_open(&manager, address);
    manager_launch(&manager, daemon, options, NULL);
    manager_expect(&manager, "READY=1");
    client_ping(client_connect_unix(path), "GOT:", "hello");
    assert_int_equal(daemon_count(daemon, "Listening on "), 2); /* logged before READY=1 */
    (void)daemon_wait_port(daemon, "Listening on 127.0.0.1:");
    client_ping(client_connect(daemon), "GOT:", "hello");
    manager_expect(&manager, "STATUS=0 connections; 0 bytes in, 0 bytes out");
}

static void ready_at_a_path(struct daemon *daemon)
{
    check_ready(daemon, harness_path("notify"));
}

static void ready_at_an_abstract_name(struct daemon *daemon)
{
    char name[64];
    (void)snprintf(name, sizeof name, "@uvechod-notify-%d", (int)getpid());
    check_ready(daemon, name);
}

/* The manager is told the errno, and nothing else. */
static void check_failure(struct daemon *daemon, const char *options, int error)
{
    struct manager manager;
    char told[32];
    manager_open_any(&manager);
    manager_launch(&manager, daemon, options, NULL);
    assert_int_equal(daemon_wait_exit(daemon), 1);
    (void)snprintf(told, sizeof told, "ERRNO=%d", error);
    manager_expect(&manager, told);
    assert_false(manager_next(&manager, 0));
    (void)close(manager.fd);
}

static void failure_to_start(struct daemon *daemon)
{
    char options[128];
    int taken = harness_listen("127.0.0.1");
    char name[80];
    const char *port = strrchr(client_name(taken, name), ':') + 1;
    (void)snprintf(options, sizeof options, "--bind=127.0.0.1 --port=%s", port);
    check_failure(daemon, options, EADDRINUSE);
    (void)snprintf(options, sizeof options, "--bind=unix:%s", harness_path("missing/socket"));
    check_failure(daemon, options, ENOENT);
}

static void sockets_that_cannot_be_served(struct daemon *daemon)
{
    struct manager manager;
    manager_open_any(&manager);
    const char *const setup[] = {manager.setting, NULL};
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    daemon_launch(daemon,
                  &(struct launch){.own_port = true, .fds = &fd, .fds_count = 1, .setup = setup});
    (void)close(fd);
    assert_int_equal(daemon_wait_exit(daemon), 1);
    manager_expect(&manager, "ERRNO=93"); /* EPROTONOSUPPORT on Linux */
    assert_false(manager_next(&manager, 0));
}

/* ---- the status ---- */

static void status_tells_stats(struct daemon *daemon)
{
    struct manager manager;
    manager_open_any(&manager);
    manager_start(&manager, daemon, "", NULL);
    int first = client_connect(daemon);
    int second = client_connect(daemon);
    client_ping(first, "GOT:", "hello");
    (void)manager_wait(&manager, "STATUS=2 connections; 5 bytes in, 9 bytes out");
    client_close(first);
    client_ping(second, "GOT:", "12345");
    (void)manager_wait(&manager, "STATUS=1 connection; 10 bytes in, 18 bytes out");
    client_close(second);
    (void)manager_wait(&manager, "STATUS=0 connections; 10 bytes in, 18 bytes out");
}

/* The status is reported seldom, however much happens. */
static void status_is_told_seldom(struct daemon *daemon)
{
    struct manager manager;
    manager_open_any(&manager);
    manager_start(&manager, daemon, "", NULL);
    int fd = client_connect(daemon);
    uint64_t last_ms = 0;
    while (manager.statuses < 4) {
        client_ping(fd, "GOT:", "hello");
        client_close(client_connect(daemon));
        unsigned before = manager.statuses;
        if (!manager_next(&manager, 10) || manager.statuses == before)
            continue;
        if (last_ms != 0 && manager.ms - last_ms < STATUS_LEAST_MS)
            fail_msg("'%s' only %u ms after the last", manager.text,
                     (unsigned)(manager.ms - last_ms));
        last_ms = manager.ms;
    }
}

/* While a client is connected and silent, the status is not reported again. */
static void status_is_told_on_change(struct daemon *daemon)
{
    struct manager manager;
    manager_open_any(&manager);
    manager_start(&manager, daemon, "", NULL);
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "hello");
    (void)manager_wait(&manager, "STATUS=1 connection; 5 bytes in, 9 bytes out");
    assert_false(manager_next(&manager, STATUS_QUIET_MS));
    client_ping(fd, "GOT:", "again");
    (void)manager_wait(&manager, "STATUS=1 connection; 10 bytes in, 18 bytes out");
}

static void idle_daemon_sleeps(struct daemon *daemon)
{
    struct manager manager;
    manager_open_any(&manager);
    manager_start(&manager, daemon, "", NULL);
    manager_expect(&manager, "READY=1");
    manager_expect(&manager, "STATUS=0 connections; 0 bytes in, 0 bytes out");
    assert_false(manager_next(&manager, STATUS_QUIET_MS)); /* it may wake up once more */
    daemon_assert_asleep(daemon);
    struct daemon_thread before = daemon_threads_sum(daemon);
    assert_false(manager_next(&manager, STATUS_QUIET_MS));
    struct daemon_thread after = daemon_threads_sum(daemon);
    assert_int_equal(after.switches - before.switches,
                     0); /* it does not wake up to find nothing new */
}

/* ---- the end ---- */

/* The daemon asks for more time than will pass until it asks again. */
static void expect_extension(struct manager *manager)
{
    static const char extend[] = "EXTEND_TIMEOUT_USEC=";
    const char *text = manager_wait(manager, extend);
    char *end;
    unsigned long us = strtoul(text + strlen(extend), &end, 10);
    assert_int_equal(*end, '\0');
    assert_between(us, 10 * 1000000UL, 60 * 1000000UL);
}

static void drain_is_told(struct daemon *daemon)
{
    struct manager manager;
    manager_open_any(&manager);
    manager_start(&manager, daemon, "--drain-timeout=3600", NULL);
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "hello");
    (void)manager_wait(&manager, "STATUS=1 connection");
    daemon_signal(daemon, SIGTERM);
    manager_expect(&manager, "STOPPING=1");
    expect_extension(&manager);
    (void)manager_wait(&manager,
                       "STATUS=Stopping: waiting for 1 connection; 5 bytes in, 9 bytes out");
    expect_extension(&manager); /* again and again until it ends */
    client_ping(fd, "GOT:", "1");
    expect_extension(&manager);
    (void)manager_wait(&manager,
                       "STATUS=Stopping: waiting for 1 connection; 6 bytes in, 14 bytes out");
    client_close(fd);
    assert_int_equal(daemon_wait_exit(daemon), 0);
}

static void end_without_connections_is_told(struct daemon *daemon)
{
    struct manager manager;
    manager_open_any(&manager);
    manager_start(&manager, daemon, "", NULL);
    (void)manager_wait(&manager, "STATUS=");
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
    manager_expect(&manager, "STOPPING=1");
}

/* ---- the watchdog ---- */

static void watchdog_is_fed(struct daemon *daemon)
{
    struct manager manager;
    manager_open_any(&manager);
    manager_start(&manager, daemon, "", "WATCHDOG_USEC=200000");
    (void)manager_wait(&manager, "WATCHDOG=1");
    uint64_t first_ms = manager.ms;
    while (manager.pings < 6)
        (void)manager_wait(&manager, "WATCHDOG=1");
    assert_true(manager.ms - first_ms >= 5 * (WATCHDOG_TICK_MS - 2)); /* less rounding */
    daemon_freeze(daemon);
    manager_drain(&manager);
    assert_false(manager_next(&manager, WATCHDOG_STILL_MS));
    daemon_signal(daemon, SIGCONT);
    (void)manager_wait(&manager, "WATCHDOG=1");
}

/* The shortest of some intervals counts, because a busy machine makes others longer. */
static void watchdog_is_fed_at_half_time(struct daemon *daemon)
{
    struct manager manager;
    manager_open_any(&manager);
    manager_start(&manager, daemon, "", "WATCHDOG_USEC=2000000");
    (void)manager_wait(&manager, "WATCHDOG=1");
    uint64_t shortest_ms = UINT64_MAX;
    for (int i = 0; i < 3; i++) {
        uint64_t last_ms = manager.ms;
        (void)manager_wait(&manager, "WATCHDOG=1");
        shortest_ms = manager.ms - last_ms < shortest_ms ? manager.ms - last_ms : shortest_ms;
    }
    assert_between(shortest_ms, 900, 1500);
}

static void watchdog_is_fed_while_draining(struct daemon *daemon)
{
    struct manager manager;
    manager_open_any(&manager);
    manager_start(&manager, daemon, "--drain-timeout=3600", "WATCHDOG_USEC=200000");
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "hello");
    daemon_signal(daemon, SIGTERM);
    (void)manager_wait(&manager, "STOPPING=1");
    for (int i = 0; i < 4; i++)
        (void)manager_wait(&manager, "WATCHDOG=1");
    client_close(fd);
    assert_int_equal(daemon_wait_exit(daemon), 0);
}

/* The daemon works, and feeds no watchdog; it warns so often. */
static void check_no_watchdog(struct daemon *daemon, const char *usec, const char *pid,
                              unsigned warnings)
{
    struct manager manager;
    manager_open_any(&manager);
    const char *const setup[] = {manager.setting, usec, pid, NULL};
    daemon_start_as(daemon, &(struct launch){.options = "--bind=127.0.0.1", .setup = setup});
    manager_expect(&manager, "READY=1"); /* a ping would be sent in the first turn */
    client_visit(daemon);
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
    manager_drain(&manager);
    (void)close(manager.fd);
    assert_int_equal(manager.pings, 0);
    assert_int_equal(daemon_count(daemon, "WATCHDOG_USEC is ignored: "), warnings);
}

static void watchdog_that_makes_no_sense(struct daemon *daemon)
{
    check_no_watchdog(daemon, "WATCHDOG_USEC=abc", NULL, 1);
    check_no_watchdog(daemon, "WATCHDOG_USEC=-1", NULL, 1);
    check_no_watchdog(daemon, "WATCHDOG_USEC=0", NULL, 1);
    check_no_watchdog(daemon, "WATCHDOG_USEC=2s", NULL, 1);
    check_no_watchdog(daemon, "WATCHDOG_USEC=", NULL, 1);
    check_no_watchdog(daemon, NULL, NULL, 0);
}

static void watchdog_of_another_process(struct daemon *daemon)
{
    check_no_watchdog(daemon, "WATCHDOG_USEC=200000", "WATCHDOG_PID=1", 0);
}

/* A time of more milliseconds than fit into 32 bits must not become a short one. */
static void watchdog_with_all_the_time(struct daemon *daemon)
{
    struct manager manager;
    manager_open_any(&manager);
    manager_start(&manager, daemon, "", "WATCHDOG_USEC=8589934592000");
    manager_expect(&manager, "READY=1");
    (void)manager_wait(&manager, "STATUS=");
    (void)manager_wait(&manager, "WATCHDOG=1");
    assert_false(manager_next(&manager, WATCHDOG_STILL_MS));
}

/* ---- upgrades ---- */

static uint64_t monotonic_us(void)
{
    struct timespec now;
    assert_int_equal(clock_gettime(CLOCK_MONOTONIC, &now), 0);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Asks for an upgrade. The manager is told that it begins, and when, and nothing before. */
static void request_upgrade(struct manager *manager, const struct daemon *daemon)
{
    static const char told[] = "RELOADING=1\nMONOTONIC_USEC=";
    char *end;
    uint64_t from_us = monotonic_us();
    daemon_signal(daemon, SIGUSR2);
    (void)manager_next(manager, HARNESS_DEADLINE_MS);
    uint64_t to_us = monotonic_us();
    if (strncmp(manager->text, told, strlen(told)) != 0)
        fail_msg("'%s' instead of '%s'", manager->text, told);
    uint64_t us = strtoull(manager->text + strlen(told), &end, 10);
    assert_string_equal(end, "");
    assert_between(us, from_us, to_us);
}

/* The status ends with the number of upgrades. A connection makes no difference. */
static void check_upgrades(struct daemon *daemon, unsigned count)
{
    struct manager manager;
    manager_open_any(&manager);
    manager_start(&manager, daemon, "", NULL);
    const pid_t pid = daemon->pid;
    manager_expect(&manager, "READY=1");
    manager_expect(&manager, "STATUS=0 connections; 0 bytes in, 0 bytes out");
    for (unsigned i = 1; i <= count; i++) {
        char status[128];
        request_upgrade(&manager, daemon);
        manager_expect(&manager, "READY=1");
        (void)snprintf(status, sizeof status,
                       "STATUS=0 connections; 0 bytes in, 0 bytes out; %u upgrade%s", i,
                       i == 1 ? "" : "s");
        manager_expect(&manager, status);
        (void)daemon_wait_line(daemon, "Took over 0 connections in ");
    }
    assert_int_equal(daemon->pid, pid);
    assert_false(manager_next(&manager, 0));
    client_visit(daemon);
    (void)manager_wait(&manager, "STATUS=0 connections; 5 bytes in, 9 bytes out; ");
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
    manager_expect(&manager, "STOPPING=1");
    (void)close(manager.fd);
    daemon_forget(daemon);
}

static void upgrades_are_told(struct daemon *daemon)
{
    check_upgrades(daemon, 1);
    check_upgrades(daemon, 10);
}

/* The unit is ready again, and the status says what has happened until an upgrade succeeds. */
static void refused_upgrades_are_told(struct daemon *daemon)
{
    struct manager manager;
    char options[256];
    const char *program = harness_path("uvechod.link");
    manager_open_any(&manager);
    const char *const setup[] = {manager.setting, NULL};
    assert_int_equal(symlink(UVECHOD_BINARY, program), 0);
    /* env(1) starts the daemon by the name of the link, which is then what is executed again. */
    (void)snprintf(options, sizeof options, "%s --port=0 --bind=127.0.0.1", program);
    const struct launch launch = {
        .program = "env", .own_port = true, .options = options, .setup = setup};
    daemon_start_as(daemon, &launch);
    manager_expect(&manager, "READY=1");
    manager_expect(&manager, "STATUS=0 connections; 0 bytes in, 0 bytes out");
    assert_int_equal(unlink(program), 0);
    for (int i = 0; i < 2; i++) {
        request_upgrade(&manager, daemon);
        manager_expect(&manager, "READY=1");
        manager_expect(&manager, "STATUS=0 connections; 0 bytes in, 0 bytes out; the last upgrade "
                                 "failed, see the log");
    }
    client_visit(daemon);
    assert_int_equal(symlink(UVECHOD_BINARY, program), 0);
    manager_drain(&manager);
    daemon_signal(daemon, SIGUSR2);
    (void)manager_wait(&manager, "RELOADING=1");
    manager_expect(&manager, "READY=1");
    manager_expect(&manager, "STATUS=0 connections; 5 bytes in, 9 bytes out; 1 upgrade");
}

/* Both the predecessor and its successor feed the watchdog. */
static void watchdog_is_fed_over_upgrades(struct daemon *daemon)
{
    struct manager manager;
    manager_open_any(&manager);
    manager_start(&manager, daemon, "", "WATCHDOG_USEC=200000");
    for (int i = 0; i < 10; i++) {
        (void)manager_wait(&manager, "WATCHDOG=1");
        daemon_signal(daemon, SIGUSR2);
        (void)manager_wait(&manager, "RELOADING=1");
        (void)manager_wait(&manager, "READY=1");
    }
    unsigned before = manager.pings;
    while (manager.pings < before + 3)
        (void)manager_wait(&manager, "WATCHDOG=1");
}

/* A daemon that stops does not reload, and what it tells stays as it is. */
static void no_upgrade_is_told_while_draining(struct daemon *daemon)
{
    struct manager manager;
    manager_open_any(&manager);
    manager_start(&manager, daemon, "--drain-timeout=3600", NULL);
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "hello");
    daemon_signal(daemon, SIGTERM);
    (void)manager_wait(&manager, "STATUS=Stopping: waiting for 1 connection");
    daemon_signal(daemon, SIGUSR2);
    (void)daemon_wait_line(daemon, "Not upgrading: the daemon stops");
    client_close(fd);
    assert_int_equal(daemon_wait_exit(daemon), 0);
    while (manager_next(&manager, 0))
        if (strncmp(manager.text, "READY=1", 7) == 0 || strncmp(manager.text, "RELOADING", 9) == 0)
            fail_msg("'%s' is told while the daemon stops", manager.text);
}

/* ---- managers that do not read, or do not exist ---- */

/* Fills the manager's queue. */
static void fill_queue(const struct manager *manager)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_storage addr;
    socklen_t len = sizeof addr;
    assert_int_equal(getsockname(manager->fd, (struct sockaddr *)&addr, &len), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, len), 0);
    while (send(fd, "X", 1, 0) == 1)
        ;
    assert_int_equal(errno, EAGAIN);
    (void)close(fd);
}

/* The daemon starts, serves and ends although none of its messages can be sent. */
static void manager_does_not_read(struct daemon *daemon)
{
    struct manager manager;
    struct stream stream;
    manager_open_any(&manager);
    fill_queue(&manager);
    manager_start(&manager, daemon, "", "WATCHDOG_USEC=2000");
    stream_init(&stream, client_connect(daemon), 1, 16 << 20, true);
    streams_run(&stream, 1);
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
    manager_drain(&manager);
    assert_int_equal(manager.pings, 0);
}

static void manager_does_not_read_for_a_while(struct daemon *daemon)
{
    struct manager manager;
    manager_open_any(&manager);
    manager_start(&manager, daemon, "", "WATCHDOG_USEC=200000");
    (void)manager_wait(&manager, "WATCHDOG=1");
    fill_queue(&manager);
    int fd = client_connect(daemon);
    for (uint64_t end = harness_now_ms() + WATCHDOG_STILL_MS; harness_now_ms() < end;)
        client_ping(fd, "GOT:", "hello");
    manager_drain(&manager);
    (void)manager_wait(&manager, "WATCHDOG=1");
}

static void manager_goes_away(struct daemon *daemon)
{
    struct manager manager;
    manager_open_any(&manager);
    manager_start(&manager, daemon, "", "WATCHDOG_USEC=2000");
    (void)manager_wait(&manager, "WATCHDOG=1");
    (void)close(manager.fd);
    int fd = client_connect(daemon);
    for (uint64_t end = harness_now_ms() + WATCHDOG_TICK_MS; harness_now_ms() < end;)
        client_ping(fd, "GOT:", "hello");
    client_close(fd);
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
}

/* The daemon works without a manager, as sd_notify(3) says, and without its watchdog. */
static void check_ignored(struct daemon *daemon, const char *address)
{
    char setting[512];
    (void)snprintf(setting, sizeof setting, "NOTIFY_SOCKET=%s", address);
    const char *const setup[] = {setting, "WATCHDOG_USEC=2000", NULL};
    daemon_start_as(daemon, &(struct launch){.options = "--bind=127.0.0.1", .setup = setup});
    client_visit(daemon);
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
    assert_int_equal(daemon_count(daemon, "\n"),
                     5); /* one listener, and a connection and its end */
}

static void addresses_that_lead_nowhere(struct daemon *daemon)
{
    char lengthy[300];
    memset(lengthy, 'x', sizeof lengthy);
    lengthy[0] = '/';
    lengthy[sizeof lengthy - 1] = '\0';
    check_ignored(daemon, lengthy);
    lengthy[0] = '@';
    check_ignored(daemon, lengthy);
    check_ignored(daemon, "");
    check_ignored(daemon, "/");
    check_ignored(daemon, "@");
    check_ignored(daemon, "garbage");
    check_ignored(daemon, "vsock:2:1234");
    check_ignored(daemon, harness_path("nobody"));
    check_ignored(daemon, harness_path("missing/nobody"));
    check_ignored(daemon, "@uvechod-nobody");
}

/* A socket or a file is there, but it takes no datagrams. */
static void addresses_of_something_else(struct daemon *daemon)
{
    const char *path = harness_path("stream");
    int fd = harness_bind_unix(path, SOCK_STREAM);
    assert_int_equal(listen(fd, 1), 0);
    check_ignored(daemon, path);
    FILE *file = fopen(harness_path("file"), "we");
    assert_non_null(file);
    (void)fclose(file);
    check_ignored(daemon, harness_path("file"));
}

int main(void)
{
    harness_init();
    const struct CMUnitTest tests[] = {
        e2e_test(ready_at_a_path),
        e2e_test(ready_at_an_abstract_name),
        e2e_test(failure_to_start),
        e2e_test(sockets_that_cannot_be_served),
        e2e_test(status_tells_stats),
        e2e_test(status_is_told_seldom),
        e2e_test(status_is_told_on_change),
        e2e_test(idle_daemon_sleeps),
        e2e_test(drain_is_told),
        e2e_test(end_without_connections_is_told),
        e2e_test(watchdog_is_fed),
        e2e_test(watchdog_is_fed_at_half_time),
        e2e_test(watchdog_is_fed_while_draining),
        e2e_test(watchdog_that_makes_no_sense),
        e2e_test(watchdog_of_another_process),
        e2e_test(watchdog_with_all_the_time),
        e2e_test(upgrades_are_told),
        e2e_test(refused_upgrades_are_told),
        e2e_test(watchdog_is_fed_over_upgrades),
        e2e_test(no_upgrade_is_told_while_draining),
        e2e_test(manager_does_not_read),
        e2e_test(manager_does_not_read_for_a_while),
        e2e_test(manager_goes_away),
        e2e_test(addresses_that_lead_nowhere),
        e2e_test(addresses_of_something_else),
    };
    return cmocka_run_group_tests_name("e2e.notify", tests, NULL, NULL);
}
