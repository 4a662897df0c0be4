/*
 * Upgrades: SIGUSR2 makes the same process execute its program again, and no connection ends, nor
 * is a byte lost, doubled or altered, whatever was under way.
 */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STREAMS = 6, ROUNDS = 12, IDLE = 60, GENERATIONS = 60, FEW_GENERATIONS = 12 };

static void upgrade(struct daemon *daemon)
{
    daemon_signal(daemon, SIGUSR2);
    (void)daemon_wait_line(daemon, "Took over ");
}

/* The process is the same, and what it has counted goes on. */
static void a_ping_pong_goes_on(struct daemon *daemon)
{
    daemon_start(daemon, "");
    const pid_t pid = daemon->pid;
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "one");
    for (int i = 0; i < 5; i++) {
        daemon_signal(daemon, SIGUSR2);
        assert_contains(daemon_wait_line(daemon, "Took over "), "Took over 1 connection in ");
        client_ping(fd, "GOT:", "more");
    }
    assert_int_equal(daemon->pid, pid);
    daemon_expect_stats(daemon, harness_workers(), "1 connections now, 1 in total; ");
    client_leave(fd);
}

static void statistics_go_on(struct daemon *daemon)
{
    daemon_start(daemon, "");
    client_visit(daemon);
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "12345");
    daemon_expect_stats(daemon, harness_workers(),
                        "1 connections now, 2 in total; 10 bytes in, 18 out; 0 refused");
    upgrade(daemon);
    daemon_expect_stats(daemon, harness_workers(),
                        "1 connections now, 2 in total; 10 bytes in, 18 out; 0 refused");
    client_ping(fd, "GOT:", "12345");
    client_leave(fd);
    daemon_expect_stats(daemon, harness_workers(),
                        "0 connections now, 2 in total; 15 bytes in, 27 out; 0 refused");
}

/* The first byte of a connection is logged once. */
static void a_peer_is_logged_once(struct daemon *daemon)
{
    char name[80];
    daemon_start(daemon, "");
    int fd = client_connect(daemon);
    (void)client_name(fd, name);
    client_ping(fd, "GOT:", "x");
    upgrade(daemon);
    client_ping(fd, "GOT:", "x");
    client_leave(fd);
    (void)daemon_wait_line(daemon, "Connection closed: ");
    char line[128];
    (void)snprintf(line, sizeof line, "Connection from %s", name);
    assert_int_equal(daemon_count(daemon, line), 1);
}

/* Upgrades one after the other, while streams run. */
static void check_streams(struct daemon *daemon, const char *options, bool prefixed, size_t chunk)
{
    static struct stream streams[STREAMS];
    daemon_start(daemon, options);
    for (unsigned i = 0; i < STREAMS; i++) {
        int fd = chunk < STREAM_CHUNK ? client_connect_small(daemon) : client_connect(daemon);
        stream_init(&streams[i], fd, i, UINT64_MAX / 2, prefixed);
        streams[i].chunk_max = chunk;
    }
    for (unsigned round = 1; round <= ROUNDS; round++) {
        daemon_signal(daemon, SIGUSR2);
        while (daemon_count(daemon, "Took over ") < round)
            (void)streams_turn(streams, STREAMS);
        for (int turn = 0; turn < 20; turn++)
            (void)streams_turn(streams, STREAMS);
    }
    uint64_t bytes = streams_cut_short(streams, STREAMS);
    print_message("%llu bytes came back over %d upgrades\n", (unsigned long long)bytes, ROUNDS);
    assert_int_equal(daemon_count(daemon, "Cannot "), 0);
}

static void chunks_with_prefixes(struct daemon *daemon)
{
    check_streams(daemon, "", true, STREAM_CHUNK);
}

static void small_chunks(struct daemon *daemon)
{
    check_streams(daemon, "--chunk=7", true, 7);
}

static void verbatim_and_spliced(struct daemon *daemon)
{
    check_streams(daemon, "--rfc862", false, STREAM_CHUNK);
}

/* Clients that read nothing while the daemon is upgraded, and have ended their sending side. */
static void check_absent_readers(struct daemon *daemon, const char *options, bool prefixed)
{
    static struct stream streams[STREAMS];
    daemon_start(daemon, options);
    for (unsigned i = 0; i < STREAMS; i++)
        stream_init(&streams[i], client_connect_small(daemon), i, UINT64_MAX / 2, prefixed);
    streams_jam(streams, STREAMS);
    for (unsigned i = 0; i < STREAMS / 2; i++) {
        client_shutdown(streams[i].fd);
        streams[i].shut = true;
    }
    for (int i = 0; i < 4; i++)
        upgrade(daemon);
    streams_run(streams, STREAMS);
    assert_int_equal(daemon_count(daemon, "Cannot "), 0);
}

static void absent_readers(struct daemon *daemon)
{
    check_absent_readers(daemon, "", true);
}

static void absent_readers_of_spliced_answers(struct daemon *daemon)
{
    check_absent_readers(daemon, "--rfc862", false);
}

static void idle_connections(struct daemon *daemon)
{
    int fds[IDLE];
    daemon_start(daemon, "");
    for (int i = 0; i < IDLE; i++) {
        fds[i] = client_connect(daemon);
        if (i % 2 == 0)
            client_ping(fds[i], "GOT:", "x");
    }
    upgrade(daemon);
    for (int i = 0; i < IDLE; i++) {
        client_ping(fds[i], "GOT:", "y");
        client_leave(fds[i]);
    }
    daemon_expect_stats(daemon, harness_workers(), "0 connections now, 60 in total; ");
}

/* Connections come all the time, and none is refused or reset. */
static void clients_come_meanwhile(struct daemon *daemon)
{
    daemon_start(daemon, "");
    for (unsigned round = 1; round <= ROUNDS; round++) {
        daemon_signal(daemon, SIGUSR2);
        do
            client_visit(daemon);
        while (daemon_count(daemon, "Took over ") < round);
    }
}

/* Descriptors and memory are back where they were after many generations. */
static void many_generations(struct daemon *daemon)
{
    const int generations = harness_sanitized() ? FEW_GENERATIONS : GENERATIONS;
    static struct stream jammed;
    daemon_start(daemon, "--rfc862");
    int fd = client_connect(daemon);
    stream_init(&jammed, client_connect_small(daemon), 1, UINT64_MAX / 2, false);
    streams_jam(&jammed, 1);
    upgrade(daemon);
    client_ping(fd, "", "first");
    long fds = daemon_fds_but_uring(daemon);
    long memory_kb = daemon_memory_kb(daemon);
    for (int i = 0; i < generations; i++) {
        upgrade(daemon);
        client_ping(fd, "", "again");
    }
    daemon_wait_figure(daemon, daemon_fds_but_uring, fds);
    if (harness_may_weigh())
        assert_between(daemon_memory_kb(daemon), 0, memory_kb + 512);
    streams_run(&jammed, 1);
    client_leave(fd);
}

/* ---- programs that cannot be executed, or have other options ---- */

static void copy_file(const char *from, const char *to, mode_t mode)
{
    char buf[65536];
    ssize_t n;
    (void)unlink(to); /* the file that runs cannot be written to */
    int in = open(from, O_RDONLY | O_CLOEXEC);
    int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(in >= 0 && out >= 0);
    while ((n = read(in, buf, sizeof buf)) > 0)
        assert_int_equal(write(out, buf, (size_t)n), n);
    assert_int_equal(fchmod(out, mode), 0);
    (void)close(in);
    (void)close(out);
}

static void write_file(const char *path, const char *text, mode_t mode)
{
    (void)unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    (void)close(fd);
}

/* Asks for an upgrade, which is refused in one line that says this. */
static void refused(struct daemon *daemon, int fd, const char *reason)
{
    unsigned lines = daemon_count(daemon, "Cannot upgrade: ");
    daemon_signal(daemon, SIGUSR2);
    assert_contains(daemon_wait_line(daemon, "Cannot upgrade: "), reason);
    client_ping(fd, "GOT:", "still here");
    assert_int_equal(daemon_count(daemon, "Cannot upgrade: "), lines + 1);
}

/* Starts a daemon whose file is a copy at this path. */
static void start_copy(struct daemon *daemon, const char *path)
{
    static char workers[64];
    (void)snprintf(workers, sizeof workers, "--workers=%u", harness_workers());
    copy_file(UVECHOD_BINARY, path, 0700);
    daemon_start_as(daemon, &(struct launch){.program = path, .options = workers});
}

/* Each says why in a line, and the daemon goes on; also after it has been asked many times. */
static void a_program_that_cannot_be_executed(struct daemon *daemon)
{
    const char *path = harness_path("uvechod.copy");
    start_copy(daemon, path);
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "x");
    (void)unlink(path);
    refused(daemon, fd, strerror(ENOENT));
    write_file(path, "\177ELF and no more", 0700);
    refused(daemon, fd, strerror(ENOEXEC));
    copy_file(UVECHOD_BINARY, path, 0600);
    refused(daemon, fd, strerror(EACCES));
    client_visit(daemon);
    copy_file(UVECHOD_BINARY, path, 0700);
    upgrade(daemon);
    client_ping(fd, "GOT:", "new");
    client_leave(fd);
}

/* The program in the place of the daemon's is a script of the shell, which is refused. */
static void refuse_script(struct daemon *daemon, int fd, const char *text, const char *reason)
{
    char script[1024];
    (void)snprintf(script, sizeof script, "#!/bin/sh\n%s\n", text);
    write_file(harness_path("uvechod.copy"), script, 0700);
    refused(daemon, fd, reason);
}

/*
 * They are no daemons, or lack what the running one has: an option, or the knowledge how it notes
 * its connections. A good program is executed afterwards, and nothing has been left behind.
 */
static void programs_that_do_not_say_yes(struct daemon *daemon)
{
    const char *path = harness_path("uvechod.copy");
    start_copy(daemon, path);
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "x");
    long fds = daemon_fds_but_uring(daemon);
    copy_file("/bin/true", path, 0700);
    refused(daemon, fd, " has not said yes, and ended with exit code 0");
    copy_file("/bin/false", path, 0700);
    refused(daemon, fd, " has not said yes, and ended with exit code 1");
    refuse_script(daemon, fd, "kill -SEGV $$", " was ended by signal 11");
    refuse_script(daemon, fd, "echo one; echo two; exit 3", " says \"one\"");
    refuse_script(daemon, fd, "exec yes", " says \"y\"");
    refuse_script(daemon, fd, "exec " UVECHOD_BINARY " --no-such-option \"$@\"",
                  "unknown or ambiguous option '--no-such-option'");
    refuse_script(daemon, fd, "exec 3</dev/null; exec " UVECHOD_BINARY " \"$@\"",
                  "cannot take over the connections: their record is of another version");
    refuse_script(daemon, fd, "exec " UVECHOD_BINARY " --port=0", " says \"");
    assert_int_equal(daemon_fds_but_uring(daemon), fds);
    copy_file(UVECHOD_BINARY, path, 0700);
    upgrade(daemon);
    client_ping(fd, "GOT:", "new");
    client_leave(fd);
}

/* Asks a program that hangs. Returns its pid when it runs. */
static pid_t ask_a_program_that_hangs(struct daemon *daemon)
{
    char script[1024];
    char pid[32] = "";
    const char *fifo = harness_path("fifo");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    (void)snprintf(script, sizeof script, "#!/bin/sh\necho $$ >%s\nexec sleep 1000\n", fifo);
    write_file(harness_path("uvechod.copy"), script, 0700);
    daemon_signal(daemon, SIGUSR2);
    int fd = open(fifo, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_true(read(fd, pid, sizeof pid - 1) > 0);
    (void)close(fd);
    (void)unlink(fifo);
    return (pid_t)strtol(pid, NULL, 10);
}

/* Clients are served and signals are acted on while the daemon waits. A stop waits for nothing. */
static void stopped_while_a_program_hangs(struct daemon *daemon)
{
    start_copy(daemon, harness_path("uvechod.copy"));
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "12345");
    pid_t pid = ask_a_program_that_hangs(daemon);
    for (int i = 0; i < 1000; i++)
        client_ping(fd, "GOT:", "12345");
    client_visit(daemon);
    daemon_signal(daemon, SIGUSR2);
    daemon_expect_stats(daemon, harness_workers(), "2 in total; 5010 bytes in");
    assert_int_equal(kill(pid, 0), 0);
    daemon_signal(daemon, SIGTERM);
    (void)daemon_wait_line(daemon, "Not upgrading: the daemon stops");
    assert_int_equal(kill(pid, 0), -1);
    client_ping(fd, "GOT:", "the drain goes on");
    client_leave(fd);
    assert_int_equal(daemon_wait_exit(daemon), 0);
    assert_int_equal(daemon_count(daemon, "Cannot upgrade: "), 0);
}

/* The new program has another prefix. What it puts out is not the old one's any more. */
static void check_options_change(struct daemon *daemon, const char *options, const char *prefix)
{
    char script[1024];
    const char *path = harness_path("uvechod.copy");
    start_copy(daemon, path);
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "old");
    (void)snprintf(script, sizeof script, "#!/bin/sh\nexec %s \"$@\" --workers=%u %s\n",
                   UVECHOD_BINARY, harness_workers(), options);
    write_file(path, script, 0700);
    upgrade(daemon);
    client_ping(fd, prefix, "new");
    upgrade(daemon);
    client_ping(fd, prefix, "newer");
    client_leave(fd);
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
    daemon_forget(daemon);
}

static void options_change(struct daemon *daemon)
{
    check_options_change(daemon, "--prefix=HI:", "HI:");
    check_options_change(daemon, "--rfc862", "");
    check_options_change(daemon, "--prefix=MUCH-LONGER: --chunk=65536", "MUCH-LONGER:");
}

/* ---- other moments and sockets ---- */

static void not_while_it_stops(struct daemon *daemon)
{
    daemon_start(daemon, "");
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "x");
    daemon_signal(daemon, SIGTERM);
    (void)daemon_wait_line(daemon, "Stopping: waiting for 1 connection");
    daemon_signal(daemon, SIGUSR2);
    (void)daemon_wait_line(daemon, "Not upgrading: the daemon stops");
    client_ping(fd, "GOT:", "y");
    client_leave(fd);
    assert_int_equal(daemon_wait_exit(daemon), 0);
}

/* None of the signals is lost or kills, whatever comes first. */
static void signals_at_the_same_time(struct daemon *daemon)
{
    for (int round = 0; round < 8; round++) {
        daemon_start(daemon, "");
        for (int i = 0; i <= round; i++) {
            daemon_signal(daemon, SIGUSR2);
            daemon_signal(daemon, SIGUSR1);
        }
        daemon_signal(daemon, SIGTERM);
        assert_int_equal(daemon_wait_exit(daemon), 0);
        daemon_forget(daemon);
    }
}

/* The file of the socket is removed by the last generation. */
static void a_unix_socket(struct daemon *daemon)
{
    char options[256];
    const char *path = harness_path("socket");
    (void)snprintf(options, sizeof options, "--bind=unix:%s", path);
    daemon_start(daemon, options);
    int idle = client_connect_unix(path);
    client_ping(idle, "GOT:", "x");
    upgrade(daemon);
    upgrade(daemon);
    client_ping(idle, "GOT:", "y");
    client_leave(idle);
    int fresh = client_connect_unix(path);
    client_ping(fresh, "GOT:", "z");
    client_leave(fresh);
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
    assert_int_equal(access(path, F_OK), -1);
}

/* Nobody knows how much of a copied answer has gone: it ends, and the log says so. */
static void a_unix_client_that_does_not_read(struct daemon *daemon)
{
    static struct stream jammed;
    char options[256];
    const char *path = harness_path("socket");
    (void)snprintf(options, sizeof options, "--bind=unix:%s", path);
    daemon_start(daemon, options);
    stream_init(&jammed, client_connect_unix(path), 1, UINT64_MAX / 2, true);
    streams_jam(&jammed, 1);
    jammed.may_break = true;
    daemon_signal(daemon, SIGUSR2);
    (void)daemon_wait_line(daemon, "Cannot take over the connection from unix:pid=");
    streams_run(&jammed, 1);
    assert_true(jammed.broken);
}

/* Through a pipe it is known. */
static void a_unix_client_of_spliced_answers(struct daemon *daemon)
{
    static struct stream jammed;
    char options[256];
    const char *path = harness_path("socket");
    (void)snprintf(options, sizeof options, "--bind=unix:%s --rfc862", path);
    daemon_start(daemon, options);
    stream_init(&jammed, client_connect_unix(path), 1, UINT64_MAX / 2, false);
    streams_jam(&jammed, 1);
    jammed.may_break = true; /* the first answer is copied, and may be the one that is stuck */
    for (int i = 0; i < 3; i++)
        upgrade(daemon);
    streams_run(&jammed, 1);
    if (jammed.broken)
        assert_int_equal(daemon_count(daemon, "Cannot take over the connection from unix:"), 1);
}

static void need_systemd(void)
{
    if (!UVECHOD_SYSTEMD)
        harness_skip("built without libsystemd");
}

/* What systemd has passed is the ledger's afterwards. */
static void passed_sockets(struct daemon *daemon)
{
    need_systemd();
    int listener = harness_listen("127.0.0.1");
    daemon_start_as(daemon, &(struct launch){.own_port = true, .fds = &listener, .fds_count = 1});
    int fd = client_connect_like(listener);
    client_ping(fd, "GOT:", "x");
    for (int i = 0; i < 3; i++) {
        upgrade(daemon);
        client_ping(fd, "GOT:", "y");
        int fresh = client_connect_like(listener);
        client_ping(fresh, "GOT:", "z");
        client_leave(fresh);
    }
    client_leave(fd);
    (void)close(listener);
}

/* A connection that inetd has accepted, and no listener at all: the daemon ends with it. */
static void a_passed_connection(struct daemon *daemon)
{
    need_systemd();
    int listener = harness_listen("127.0.0.1");
    int fd = client_connect_like(listener);
    int accepted = accept(listener, NULL, NULL);
    assert_true(accepted >= 0);
    daemon_launch(daemon, &(struct launch){.own_port = true, .fds = &accepted, .fds_count = 1});
    (void)close(accepted);
    client_ping(fd, "GOT:", "x");
    upgrade(daemon);
    client_ping(fd, "GOT:", "y");
    client_leave(fd);
    assert_int_equal(daemon_wait_exit(daemon), 0);
    (void)close(listener);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        e2e_test(a_ping_pong_goes_on),
        e2e_test(statistics_go_on),
        e2e_test(a_peer_is_logged_once),
        e2e_test(chunks_with_prefixes),
        e2e_test(small_chunks),
        e2e_test(verbatim_and_spliced),
        e2e_test(absent_readers),
        e2e_test(absent_readers_of_spliced_answers),
        e2e_test(idle_connections),
        e2e_test(clients_come_meanwhile),
        e2e_test(many_generations),
        e2e_test(a_program_that_cannot_be_executed),
        e2e_test(programs_that_do_not_say_yes),
        e2e_test(stopped_while_a_program_hangs),
        e2e_test(options_change),
        e2e_test(not_while_it_stops),
        e2e_test(signals_at_the_same_time),
        e2e_test(a_unix_socket),
        e2e_test(a_unix_client_that_does_not_read),
        e2e_test(a_unix_client_of_spliced_answers),
        e2e_test(passed_sockets),
        e2e_test(a_passed_connection),
    };
    harness_init();
    return cmocka_run_group_tests_name("e2e.upgrade", tests, NULL, NULL);
}
