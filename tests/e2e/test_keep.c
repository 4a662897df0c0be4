/*
 * Crashes under --keep: whatever ends the daemon, a successor goes on with every connection, and no
 * byte is lost, doubled or altered. The daemon of the harness is the keeper; its child, which
 * serves, is found in /proc. A keeper gives up after more than five crashes in ten seconds, so each
 * daemon here is killed five times at most.
 */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { CRASHES = 5, STREAMS = 6, DAEMONS = 6, FEW_DAEMONS = 2, IDLE = 60, TURNS_MAX = 20 };

/* A sanitizer makes daemons start slowly. */
static int daemons(void)
{
    return harness_sanitized() ? FEW_DAEMONS : DAEMONS;
}

static void crash(const struct daemon *daemon, int signum)
{
    assert_int_equal(kill(daemon_child(daemon), signum), 0);
}

/* Kills the next child as soon as it is there. Returns its number. */
static pid_t kill_next(const struct daemon *daemon, pid_t before)
{
    pid_t child;
    do
        child = daemon_child(daemon);
    while (child == before);
    assert_int_equal(kill(child, SIGKILL), 0);
    return child;
}

/* Crashes, and waits until a successor serves. */
static void crash_once(struct daemon *daemon, int signum)
{
    crash(daemon, signum);
    (void)daemon_wait_line(daemon, "starting a successor");
    (void)daemon_wait_line(daemon, "Took over ");
}

static void start(struct daemon *daemon, const char *options)
{
    char all[512];
    (void)snprintf(all, sizeof all, "--keep %s", options);
    daemon_start(daemon, all);
}

/* Ends the daemon, and the next one can be started. No process is left. */
static void stop(struct daemon *daemon)
{
    pid_t child = daemon_child(daemon);
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
    assert_int_equal(kill(child, 0), -1);
    assert_int_equal(errno, ESRCH);
    daemon_forget(daemon);
}

/* ---- crashes ---- */

static void check_ping_pong(struct daemon *daemon, int signum)
{
    char line[80];
    start(daemon, "");
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "one");
    pid_t before = daemon_child(daemon);
    crash(daemon, signum);
    client_ping(fd, "GOT:", "two");
    (void)snprintf(line, sizeof line, "The daemon was ended by signal %d; starting a successor",
                   signum);
    (void)daemon_wait_line(daemon, line);
    assert_contains(daemon_wait_line(daemon, "Took over "), "Took over 1 connection in ");
    assert_true(daemon_child(daemon) != before);
    client_leave(fd);
    client_visit(daemon);
    stop(daemon);
}

static void a_ping_pong_goes_on(struct daemon *daemon)
{
    check_ping_pong(daemon, SIGKILL);
    check_ping_pong(daemon, SIGTRAP);
    if (!harness_sanitized()) { /* which catches these, and ends the process by itself */
        check_ping_pong(daemon, SIGSEGV);
        check_ping_pong(daemon, SIGABRT);
    }
}

/* From the outside, SIGABRT to the keeper says that the daemon hangs. */
static void an_abort_of_the_keeper(struct daemon *daemon)
{
    if (harness_sanitized())
        harness_skip("a sanitizer catches SIGABRT");
    start(daemon, "");
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "x");
    daemon_signal(daemon, SIGABRT);
    (void)daemon_wait_line(daemon, "The daemon was ended by signal 6; starting a successor");
    client_ping(fd, "GOT:", "y");
    client_leave(fd);
}

/* Kills one daemon at random moments while streams run. Returns how many bytes came back. */
static uint64_t check_streams(struct daemon *daemon, const char *options, bool prefixed,
                              size_t chunk, unsigned seed)
{
    static struct stream streams[STREAMS];
    uint64_t bytes = 0;
    start(daemon, options);
    for (unsigned i = 0; i < STREAMS; i++) {
        int fd = chunk < STREAM_CHUNK ? client_connect_small(daemon) : client_connect(daemon);
        stream_init(&streams[i], fd, i, UINT64_MAX / 2, prefixed);
        streams[i].chunk_max = chunk;
    }
    for (unsigned round = 1; round <= CRASHES; round++) {
        seed = seed * 1103515245 + 12345;
        for (unsigned turn = (seed >> 16) % TURNS_MAX; turn > 0; turn--)
            (void)streams_turn(streams, STREAMS);
        crash(daemon, SIGKILL);
        while (daemon_count(daemon, "Took over ") < round)
            (void)streams_turn(streams, STREAMS);
    }
    for (unsigned i = 0; i < STREAMS; i++) {
        streams[i].total = streams[i].sent;
        bytes += streams[i].sent;
    }
    streams_run(streams, STREAMS);
    assert_int_equal(daemon_count(daemon, "Cannot "), 0);
    stop(daemon);
    return bytes;
}

static void check_many(struct daemon *daemon, const char *options, bool prefixed, size_t chunk)
{
    uint64_t bytes = 0;
    for (int i = 0; i < daemons(); i++)
        bytes += check_streams(daemon, options, prefixed, chunk, (unsigned)i * 7919);
    print_message("%llu bytes came back over %d kills\n", (unsigned long long)bytes,
                  daemons() * CRASHES);
}

static void chunks_with_prefixes(struct daemon *daemon)
{
    check_many(daemon, "", true, STREAM_CHUNK);
}

static void small_chunks(struct daemon *daemon)
{
    check_many(daemon, "--chunk=7", true, 7);
}

static void verbatim_and_spliced(struct daemon *daemon)
{
    check_many(daemon, "--rfc862", false, STREAM_CHUNK);
}

/* Clients that read nothing meanwhile. */
static void absent_readers(struct daemon *daemon)
{
    static struct stream streams[STREAMS];
    start(daemon, "--rfc862");
    for (unsigned i = 0; i < STREAMS; i++)
        stream_init(&streams[i], client_connect_small(daemon), i, UINT64_MAX / 2, false);
    streams_jam(streams, STREAMS);
    for (int i = 0; i < CRASHES; i++)
        crash_once(daemon, SIGKILL);
    streams_run(streams, STREAMS);
    assert_int_equal(daemon_count(daemon, "Cannot "), 0);
}

/* Each successor is killed as soon as it is there, most of them while they take over. */
static void kills_during_a_takeover(struct daemon *daemon)
{
    int fds[IDLE];
    for (int i = 0; i < daemons() / 2; i++) {
        start(daemon, "");
        for (int j = 0; j < IDLE; j++) {
            fds[j] = client_connect(daemon);
            client_ping(fds[j], "GOT:", "x");
        }
        pid_t child = 0;
        for (int round = 0; round < CRASHES; round++)
            child = kill_next(daemon, child);
        for (int j = 0; j < IDLE; j++) {
            client_ping(fds[j], "GOT:", "y");
            client_leave(fds[j]);
        }
        assert_int_equal(daemon_count(daemon, "starting a successor"), CRASHES);
        stop(daemon);
    }
}

/* Connections come all the time, and none is refused or reset. */
static void clients_come_meanwhile(struct daemon *daemon)
{
    start(daemon, "");
    for (unsigned round = 1; round <= CRASHES; round++) {
        crash(daemon, SIGKILL);
        do
            client_visit(daemon);
        while (daemon_count(daemon, "Took over ") < round);
    }
}

/* The descriptors of the dead ones are closed, and the keeper does not grow. */
static void nothing_is_left_behind(struct daemon *daemon)
{
    start(daemon, "--rfc862");
    int fd = client_connect(daemon);
    client_ping(fd, "", "x");
    crash_once(daemon, SIGKILL);
    client_ping(fd, "", "y");
    long fds = daemon_fds_but_uring(daemon);
    long memory_kb = daemon_memory_kb(daemon);
    for (int i = 1; i < CRASHES; i++) {
        crash_once(daemon, SIGKILL);
        client_ping(fd, "", "z");
        daemon_wait_figure(daemon, daemon_fds_but_uring, fds);
    }
    if (harness_may_weigh())
        assert_between(daemon_memory_kb(daemon), 0, memory_kb + 64);
    client_leave(fd);
}

/* What was counted until the last report is not lost, and nothing wraps around. */
static void statistics_go_on(struct daemon *daemon)
{
    int fds[3];
    start(daemon, "");
    for (int i = 0; i < 3; i++) {
        fds[i] = client_connect(daemon);
        client_ping(fds[i], "GOT:", "x");
    }
    crash_once(daemon, SIGKILL);
    daemon_expect_stats(daemon, harness_workers(), "3 connections now, 3 in total; ");
    for (int i = 0; i < 3; i++)
        client_leave(fds[i]);
    daemon_expect_stats(daemon, harness_workers(), "0 connections now, 3 in total; ");
}

/* ---- ends ---- */

/*
 * Each child is killed at once, because a slow machine takes long to serve. The keeper must have
 * said so before the next child is looked for: when the keeper ends, LeakSanitizer makes a child
 * there.
 */
static void a_crash_too_many(struct daemon *daemon)
{
    pid_t killed = 0;
    int kills = 0;
    const char *line;
    start(daemon, "");
    do {
        pid_t child;
        while ((child = daemon_child(daemon)) == killed)
            ;
        assert_int_equal(kill(child, SIGKILL), 0);
        killed = child;
        kills++;
        line = daemon_wait_line(daemon, "The daemon was ended by signal 9");
    } while (strstr(line, "starting a successor") != NULL);
    assert_between(kills, CRASHES + 1, 100);
    assert_contains(line, "signal 9, more than 5 times within 10 s: giving up");
    assert_int_equal(daemon_wait_exit(daemon), 1);
}

/* As without a keeper. */
static void a_start_that_fails(struct daemon *daemon)
{
    char options[64];
    int listener = harness_listen("127.0.0.1");
    struct sockaddr_in addr;
    socklen_t len = sizeof addr;
    (void)daemon;
    assert_int_equal(getsockname(listener, (struct sockaddr *)(void *)&addr, &len), 0);
    (void)snprintf(options, sizeof options, "--keep --bind=127.0.0.1 --port=%u",
                   (unsigned)ntohs(addr.sin_port));
    (void)harness_run_refused(&(struct launch){.options = options, .own_port = true}, 1,
                              "Cannot listen on ", strerror(EADDRINUSE));
    (void)close(listener);
}

/* A daemon that crashes while it stops has a successor that stops. */
static void a_crash_while_it_stops(struct daemon *daemon)
{
    start(daemon, "");
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "x");
    daemon_signal(daemon, SIGTERM);
    (void)daemon_wait_line(daemon, "Stopping: waiting for 1 connection");
    crash(daemon, SIGKILL);
    (void)daemon_wait_line(daemon, "Stopping: waiting for 1 connection");
    client_ping(fd, "GOT:", "y");
    client_leave(fd);
    assert_int_equal(daemon_wait_exit(daemon), 0);
}

/* Nobody would supervise the daemon any more: it stops. */
static void the_keeper_is_killed(struct daemon *daemon)
{
    start(daemon, "");
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "x");
    daemon_kill(daemon);
    (void)daemon_wait_line(daemon, "Stopping: waiting for 1 connection");
    client_ping(fd, "GOT:", "y");
    client_leave(fd);
    (void)daemon_wait_line(daemon, "Connection closed: ");
}

/* ---- upgrades ---- */

static void write_script(const char *path, const char *text)
{
    (void)unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    (void)close(fd);
}

static void copy_daemon(const char *path)
{
    char buf[65536];
    ssize_t n;
    (void)unlink(path); /* the file that runs cannot be written to */
    int in = open(UVECHOD_BINARY, O_RDONLY | O_CLOEXEC);
    int out = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0700);
    assert_true(in >= 0 && out >= 0);
    while ((n = read(in, buf, sizeof buf)) > 0)
        assert_int_equal(write(out, buf, (size_t)n), n);
    (void)close(in);
    (void)close(out);
}

/* Starts a daemon whose file is a copy at this path. */
static void start_copy(struct daemon *daemon, const char *path)
{
    char options[64];
    copy_daemon(path);
    (void)snprintf(options, sizeof options, "--keep --workers=%u", harness_workers());
    daemon_start_as(daemon, &(struct launch){.program = path, .options = options});
}

/* The process stays the same, before and after a crash. */
static void upgrades(struct daemon *daemon)
{
    start(daemon, "");
    const pid_t pid = daemon->pid;
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "one");
    for (int i = 0; i < 3; i++) {
        pid_t before = daemon_child(daemon);
        daemon_signal(daemon, SIGUSR2);
        (void)daemon_wait_line(daemon, "Upgrading: executing ");
        assert_contains(daemon_wait_line(daemon, "Took over "), "Took over 1 connection in ");
        client_ping(fd, "GOT:", "two");
        assert_true(daemon_child(daemon) != before);
        crash_once(daemon, SIGKILL);
        client_ping(fd, "GOT:", "three");
    }
    assert_int_equal(daemon->pid, pid);
    client_leave(fd);
    stop(daemon);
}

/* The question is asked by the daemon, which goes on. */
static void a_program_that_says_no(struct daemon *daemon)
{
    const char *path = harness_path("uvechod.copy");
    start_copy(daemon, path);
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "x");
    pid_t child = daemon_child(daemon);
    write_script(path, "#!/bin/sh\nexit 3\n");
    daemon_signal(daemon, SIGUSR2);
    (void)daemon_wait_line(daemon, "has not said yes, and ended with exit code 3");
    client_ping(fd, "GOT:", "y");
    assert_int_equal(daemon_child(daemon), child);
    client_leave(fd);
}

/* The program says yes and removes itself, so that it cannot be executed: a successor goes on. */
static void an_execution_that_fails(struct daemon *daemon)
{
    char script[512];
    const char *path = harness_path("uvechod.copy");
    start_copy(daemon, path);
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "x");
    (void)snprintf(script, sizeof script, "#!/bin/sh\nrm \"$0\"\nexec %s \"$@\"\n", UVECHOD_BINARY);
    write_script(path, script);
    daemon_signal(daemon, SIGUSR2);
    (void)daemon_wait_line(daemon, "Cannot upgrade: ");
    (void)daemon_wait_line(daemon, "Took over 1 connection in ");
    client_ping(fd, "GOT:", "y");
    crash_once(daemon, SIGKILL);
    client_ping(fd, "GOT:", "z");
    client_leave(fd);
}

/* None of the signals that stop is lost, whatever comes first. */
static void signals_at_the_same_time(struct daemon *daemon)
{
    for (int round = 0; round < 8; round++) {
        start(daemon, "");
        for (int i = 0; i <= round; i++) {
            daemon_signal(daemon, SIGUSR2);
            daemon_signal(daemon, SIGUSR1);
        }
        daemon_signal(daemon, SIGTERM);
        assert_int_equal(daemon_wait_exit(daemon), 0);
        daemon_forget(daemon);
    }
}

/* ---- the service manager ---- */

/* Starts a daemon that a manager watches, which is a socket of the test. */
static int start_watched(struct daemon *daemon, const char *watchdog)
{
    static char setting[160];
    static const char *setup[] = {setting, NULL, NULL};
    static unsigned count;
    char name[32];
    if (!UVECHOD_SYSTEMD)
        harness_skip("built without libsystemd");
    (void)snprintf(name, sizeof name, "manager-%u", count++);
    int manager = harness_bind_unix(harness_path(name), SOCK_DGRAM);
    (void)snprintf(setting, sizeof setting, "NOTIFY_SOCKET=%s", harness_path(name));
    setup[1] = watchdog;
    daemon_start_as(daemon, &(struct launch){.options = "--keep", .setup = setup});
    return manager;
}

/* Reads until this message comes. */
static void wait_message(int manager, const char *expected)
{
    char text[1024];
    uint64_t deadline = harness_now_ms() + HARNESS_DEADLINE_MS;
    struct pollfd ready = {.fd = manager, .events = POLLIN};
    do {
        assert_true(harness_now_ms() < deadline);
        assert_int_equal(poll(&ready, 1, HARNESS_DEADLINE_MS), 1);
        ssize_t n = recv(manager, text, sizeof text - 1, 0);
        assert_true(n >= 0);
        text[n] = '\0';
    } while (strcmp(text, expected) != 0);
}

/* The child answers the watchdog, although the manager has named the keeper in WATCHDOG_PID. */
static void a_daemon_that_hangs(struct daemon *daemon)
{
    int manager = start_watched(daemon, "WATCHDOG_USEC=6000000");
    wait_message(manager, "READY=1");
    wait_message(manager, "WATCHDOG=1");
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "x");
    crash(daemon, SIGSTOP);
    (void)daemon_wait_line(daemon, "The daemon has not moved for 4000 ms and was ended");
    client_ping(fd, "GOT:", "y");
    wait_message(manager, "READY=1");
    wait_message(manager, "WATCHDOG=1");
    client_leave(fd);
    stop(daemon);
    (void)close(manager);
}

/* The sockets of socket activation are the child's, although LISTEN_PID names the keeper. */
static void passed_sockets(struct daemon *daemon)
{
    if (!UVECHOD_SYSTEMD)
        harness_skip("built without libsystemd");
    int listener = harness_listen("127.0.0.1");
    daemon_start_as(
        daemon,
        &(struct launch){.own_port = true, .options = "--keep", .fds = &listener, .fds_count = 1});
    int fd = client_connect_like(listener);
    client_ping(fd, "GOT:", "x");
    crash_once(daemon, SIGKILL);
    client_ping(fd, "GOT:", "y");
    int fresh = client_connect_like(listener);
    client_ping(fresh, "GOT:", "z");
    client_leave(fresh);
    client_leave(fd);
    (void)close(listener);
}

/*
 * The file of the socket outlives a crash, and is removed at the end. Of a Unix socket whose answer
 * has just been sent nobody would know that, so none has been sent.
 */
static void a_unix_socket(struct daemon *daemon)
{
    char options[256];
    const char *path = harness_path("socket");
    (void)snprintf(options, sizeof options, "--bind=unix:%s", path);
    start(daemon, options);
    int idle = client_connect_unix(path);
    crash_once(daemon, SIGKILL);
    client_ping(idle, "GOT:", "y");
    client_leave(idle);
    int fresh = client_connect_unix(path);
    client_ping(fresh, "GOT:", "z");
    client_leave(fresh);
    stop(daemon);
    assert_int_equal(access(path, F_OK), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        e2e_test(a_ping_pong_goes_on),
        e2e_test(an_abort_of_the_keeper),
        e2e_test(chunks_with_prefixes),
        e2e_test(small_chunks),
        e2e_test(verbatim_and_spliced),
        e2e_test(absent_readers),
        e2e_test(kills_during_a_takeover),
        e2e_test(clients_come_meanwhile),
        e2e_test(nothing_is_left_behind),
        e2e_test(statistics_go_on),
        e2e_test(a_crash_too_many),
        e2e_test(a_start_that_fails),
        e2e_test(a_crash_while_it_stops),
        e2e_test(the_keeper_is_killed),
        e2e_test(upgrades),
        e2e_test(a_program_that_says_no),
        e2e_test(an_execution_that_fails),
        e2e_test(signals_at_the_same_time),
        e2e_test(a_daemon_that_hangs),
        e2e_test(passed_sockets),
        e2e_test(a_unix_socket),
    };
    harness_init();
    return cmocka_run_group_tests_name("e2e.keep", tests, NULL, NULL);
}
