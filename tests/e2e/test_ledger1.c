/*
 * Upgrades from the daemon to another one that knows version 1 of the ledger from its description
 * alone (ledger1.c), and back: no connection ends, and no byte is lost, doubled or altered.
 */
#include "harness.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STREAMS = 6, ROUNDS = 3, IDLE = 60, CROWD = 300, TURNS = 8 };

/* The program's path is a symbolic link, which leads to the daemon or to the other program. */
static void install(const char *program)
{
    const char *path = harness_path("program");
    const char *link = harness_path("link");
    assert_int_equal(symlink(program, link), 0);
    assert_int_equal(rename(link, path), 0);
}

/* The shell gives the program the path as its name. */
static void start(struct daemon *daemon, const char *options)
{
    static char arguments[512];
    const char *script = harness_path("start");
    (void)unlink(script);
    install(UVECHOD_BINARY);
    FILE *file = fopen(script, "w");
    assert_non_null(file);
    (void)fprintf(file, "#!/bin/sh\nexec %s \"$@\"\n", harness_path("program"));
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(script, 0700), 0);
    (void)snprintf(arguments, sizeof arguments, "--workers=%u %s", harness_workers(), options);
    daemon_start_as(daemon, &(struct launch){.program = script, .options = arguments});
}

static void ask_for_upgrade(struct daemon *daemon, bool to_version_1)
{
    install(to_version_1 ? LEDGER1_BINARY : UVECHOD_BINARY);
    daemon_signal(daemon, SIGUSR2);
}

/* How many programs have taken over by now. */
static unsigned generations(struct daemon *daemon)
{
    return daemon_count(daemon, "Version 1 has taken over: ") + daemon_count(daemon, "Took over ");
}

static void upgrade_to_version_1(struct daemon *daemon)
{
    ask_for_upgrade(daemon, true);
    (void)daemon_wait_line(daemon, "Version 1 has taken over: ");
}

static void upgrade_from_version_1(struct daemon *daemon)
{
    ask_for_upgrade(daemon, false);
    (void)daemon_wait_line(daemon, "Took over ");
}

/* The daemon has closed its end, too, when this returns. */
static void visit(const struct daemon *daemon)
{
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "hello");
    client_leave(fd);
}

/* One client stays, and a new one comes in each generation. What is counted goes on, too. */
static void a_ping_pong_goes_on(struct daemon *daemon)
{
    char stats[128];
    start(daemon, "");
    const pid_t pid = daemon->pid;
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "one");
    for (int i = 1; i <= 3; i++) {
        upgrade_to_version_1(daemon);
        visit(daemon);
        client_ping(fd, "GOT:", "two");
        upgrade_from_version_1(daemon);
        visit(daemon);
        client_ping(fd, "GOT:", "six");
        (void)snprintf(stats, sizeof stats,
                       "1 connections now, %d in total; %d bytes in, %d out; 0 refused", 1 + 2 * i,
                       3 + 16 * i, 7 + 32 * i);
        daemon_expect_stats(daemon, harness_workers(), stats);
    }
    assert_int_equal(daemon->pid, pid);
    assert_true(daemon_count(daemon, "; 6 upgrades") > 0);
    client_leave(fd);
}

/* There and back again, while streams run. */
static void check_streams(struct daemon *daemon, const char *options, bool prefixed, size_t chunk)
{
    static struct stream streams[STREAMS];
    start(daemon, options);
    for (unsigned i = 0; i < STREAMS; i++) {
        stream_init(&streams[i], client_connect(daemon), i, UINT64_MAX / 2, prefixed);
        streams[i].chunk_max = chunk;
    }
    for (unsigned i = 0; i < 2 * ROUNDS; i++) {
        ask_for_upgrade(daemon, i % 2 == 0);
        while (generations(daemon) <= i)
            (void)streams_turn(streams, STREAMS);
        for (int turn = 0; turn < TURNS; turn++)
            (void)streams_turn(streams, STREAMS);
    }
    uint64_t bytes = streams_cut_short(streams, STREAMS);
    print_message("%llu bytes came back over %d upgrades\n", (unsigned long long)bytes, 2 * ROUNDS);
    assert_int_equal(daemon_count(daemon, "annot "), 0);
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

/* Clients that do not read are jammed by the daemon, or again by version 1. */
static void check_absent_readers(struct daemon *daemon, const char *options, bool prefixed)
{
    static struct stream streams[STREAMS];
    start(daemon, options);
    for (unsigned i = 0; i < STREAMS; i++)
        stream_init(&streams[i], client_connect_small(daemon), i, UINT64_MAX / 2, prefixed);
    streams_jam(streams, STREAMS / 2);
    upgrade_to_version_1(daemon);
    streams_jam(streams + STREAMS / 2, STREAMS / 2);
    for (unsigned i = 0; i < STREAMS; i += 2) {
        client_shutdown(streams[i].fd);
        streams[i].shut = true;
    }
    upgrade_from_version_1(daemon);
    upgrade_to_version_1(daemon);
    upgrade_from_version_1(daemon);
    streams_run(streams, STREAMS);
    assert_int_equal(daemon_count(daemon, "annot "), 0);
}

static void absent_readers(struct daemon *daemon)
{
    check_absent_readers(daemon, "", true);
}

static void absent_readers_of_spliced_answers(struct daemon *daemon)
{
    check_absent_readers(daemon, "--rfc862", false);
}

/* Their answers end in version 1, which then serves them. */
static void check_readers_that_come_back(struct daemon *daemon, const char *options, bool prefixed)
{
    static struct stream streams[STREAMS];
    start(daemon, options);
    for (unsigned i = 0; i < STREAMS; i++)
        stream_init(&streams[i], client_connect_small(daemon), i, UINT64_MAX / 2, prefixed);
    streams_jam(streams, STREAMS);
    upgrade_to_version_1(daemon);
    streams_run(streams, STREAMS);
    upgrade_from_version_1(daemon);
    daemon_expect_stats(daemon, harness_workers(), "0 connections now, 6 in total; ");
}

static void readers_that_come_back(struct daemon *daemon)
{
    check_readers_that_come_back(daemon, "", true);
}

static void readers_of_spliced_answers_that_come_back(struct daemon *daemon)
{
    check_readers_that_come_back(daemon, "--rfc862", false);
}

/* The last one has an entry in memory that the daemon has not provided. */
static void a_crowd_comes_to_version_1(struct daemon *daemon)
{
    static struct stream last;
    int fds[CROWD];
    start(daemon, "");
    upgrade_to_version_1(daemon);
    for (int i = 0; i < CROWD; i++)
        fds[i] = client_connect(daemon);
    stream_init(&last, client_connect_small(daemon), 1, UINT64_MAX / 2, true);
    streams_jam(&last, 1);
    upgrade_from_version_1(daemon);
    for (int i = 0; i < CROWD; i++)
        client_leave(fds[i]);
    streams_run(&last, 1);
    assert_int_equal(daemon_count(daemon, "annot "), 0);
}

static void idle_connections(struct daemon *daemon)
{
    int fds[IDLE];
    start(daemon, "");
    for (int i = 0; i < IDLE; i++) {
        fds[i] = client_connect(daemon);
        if (i % 2 == 0)
            client_ping(fds[i], "GOT:", "x");
    }
    upgrade_to_version_1(daemon);
    for (int i = 0; i < IDLE; i += 4)
        client_ping(fds[i], "GOT:", "y");
    upgrade_from_version_1(daemon);
    for (int i = 0; i < IDLE; i++) {
        client_ping(fds[i], "GOT:", "z");
        client_leave(fds[i]);
    }
    daemon_expect_stats(daemon, harness_workers(), "0 connections now, 60 in total; ");
}

/* Connections come all the time, and none is refused, reset or forgotten, whoever accepts it. */
static void clients_come_meanwhile(struct daemon *daemon)
{
    int fds[CROWD];
    start(daemon, "");
    for (unsigned i = 0; i < 2 * ROUNDS; i++) {
        int count = 0;
        ask_for_upgrade(daemon, i % 2 == 0);
        do
            fds[count++] = client_connect(daemon);
        while (count < CROWD && generations(daemon) <= i);
        while (count > 0) {
            client_ping(fds[--count], "GOT:", "x");
            client_leave(fds[count]);
        }
        while (generations(daemon) <= i)
            client_visit(daemon);
    }
}

/* Returns a client whose end the daemon has begun and version 1 goes on with. */
static int client_in_version_1_that_is_being_ended(struct daemon *daemon)
{
    for (;;) {
        int fd = client_connect(daemon);
        client_ping(fd, "GOT:", "hello");
        client_expect_end(fd);
        upgrade_to_version_1(daemon);
        if (daemon_count(daemon, "taken over: clients: 1\n") > 0)
            return fd;
        client_close(fd); /* the daemon does not wait for long */
        upgrade_from_version_1(daemon);
    }
}

/* What it sends after the end is not answered, and does not break it. */
static void a_client_that_is_being_ended(struct daemon *daemon)
{
    start(daemon, "--idle-timeout=1");
    int fd = client_in_version_1_that_is_being_ended(daemon);
    client_send(fd, "more", 4);
    client_wait_delivered(fd);
    upgrade_from_version_1(daemon);
    client_close(fd);
    (void)daemon_wait_line(daemon, "Connection closed: ");
    daemon_expect_stats(daemon, harness_workers(), "0 connections now, 1 in total; 5 bytes in, 9 ");
}

/* The file of the socket is removed by the daemon that has made it, or its successor. */
static void a_unix_socket(struct daemon *daemon)
{
    char path[128]; /* what harness_path() returns is not valid for long */
    char options[256];
    (void)snprintf(path, sizeof path, "%s", harness_path("socket"));
    (void)snprintf(options, sizeof options, "--bind=unix:%s", path);
    start(daemon, options);
    int idle = client_connect_unix(path);
    client_ping(idle, "GOT:", "x");
    upgrade_to_version_1(daemon);
    client_ping(idle, "GOT:", "y");
    int fresh = client_connect_unix(path);
    client_ping(fresh, "GOT:", "z");
    upgrade_from_version_1(daemon);
    client_ping(fresh, "GOT:", "z");
    client_leave(fresh);
    client_leave(idle);
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
    assert_int_equal(access(path, F_OK), -1);
}

/* Version 1 knows no names of clients, and serves others with the same descriptors. */
static void names_of_clients(struct daemon *daemon)
{
    static const char header[] = "PROXY TCP4 192.0.2.1 192.0.2.2 1234 25000\r\n";
    enum { CLIENTS = 4 };
    int fds[CLIENTS];
    start(daemon, "--proxy-from=127.0.0.1");
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = client_connect(daemon);
        client_send(fds[i], header, sizeof header - 1);
        client_ping(fds[i], "GOT:", "x");
    }
    upgrade_to_version_1(daemon);
    for (int i = 1; i < CLIENTS; i++) {
        client_leave(fds[i]);
        fds[i] = client_connect(daemon);
        client_ping(fds[i], "GOT:", "y");
    }
    upgrade_from_version_1(daemon);
    unsigned named = daemon_count(daemon, " via ");
    for (int i = 1; i < CLIENTS; i++) {
        client_ping(fds[i], "GOT:", "z"); /* version 1 has not noted that it is in the log */
        client_leave(fds[i]);
        (void)daemon_wait_line(daemon, "Connection closed: 127.0.0.1:");
    }
    assert_int_equal(daemon_count(daemon, " via "), named);
    client_ping(fds[0], "GOT:", "z");
    client_leave(fds[0]); /* whom version 1 has left alone */
    (void)daemon_wait_line(daemon, "Connection closed: 192.0.2.1:1234 via 127.0.0.1:");
}

/* Version 1 asks a program, too, before it executes that. */
static void version_1_is_refused(struct daemon *daemon)
{
    start(daemon, "");
    int fd = client_connect(daemon);
    upgrade_to_version_1(daemon);
    install("/bin/false");
    daemon_signal(daemon, SIGUSR2);
    (void)daemon_wait_line(daemon, "Version 1 cannot upgrade: ");
    client_ping(fd, "GOT:", "still here");
    upgrade_from_version_1(daemon);
    client_ping(fd, "GOT:", "new");
    client_leave(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        e2e_test(a_ping_pong_goes_on),
        e2e_test(chunks_with_prefixes),
        e2e_test(small_chunks),
        e2e_test(verbatim_and_spliced),
        e2e_test(absent_readers),
        e2e_test(absent_readers_of_spliced_answers),
        e2e_test(readers_that_come_back),
        e2e_test(readers_of_spliced_answers_that_come_back),
        e2e_test(a_crowd_comes_to_version_1),
        e2e_test(idle_connections),
        e2e_test(clients_come_meanwhile),
        e2e_test(a_client_that_is_being_ended),
        e2e_test(a_unix_socket),
        e2e_test(names_of_clients),
        e2e_test(version_1_is_refused),
    };
    harness_init();
    return cmocka_run_group_tests_name("e2e.ledger1", tests, NULL, NULL);
}
