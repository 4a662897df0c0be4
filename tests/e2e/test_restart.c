/*
 * Restarts: SIGQUIT makes the daemon leave everything to its service manager and end, and the next
 * process that the manager starts goes on with every connection. The manager is the test.
 */
#include "harness.h"
#include "manager.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

enum { STREAMS = 6, RESTARTS = 12, IDLE = 60, GENERATIONS = 20 };

/* Fewer with a sanitizer, whose daemons start slowly. */
static int times(int count)
{
    return harness_sanitized() ? count / 4 : count;
}

/* ---- no byte and no connection is lost ---- */

/* The process is another one, and what has been counted goes on. */
static void a_ping_pong_goes_on(struct daemon *daemon)
{
    struct manager manager;
    manager_start(&manager, daemon, "");
    client_visit(daemon);
    (void)daemon_wait_line(daemon, "Connection closed: "); /* or it would be taken over */
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "one");
    for (int i = 0; i < 5; i++) {
        pid_t pid = daemon->pid;
        assert_contains(manager_restart(&manager, daemon, ""), "Took over 1 connection in ");
        assert_int_not_equal(daemon->pid, pid);
        client_ping(fd, "GOT:", "more");
    }
    daemon_expect_stats(daemon, harness_workers(), "1 connections now, 2 in total; ");
    client_visit(daemon);
    client_leave(fd);
    manager_stop(&manager, daemon);
}

/* Runs until all streams have got answers again. */
static void run_on(struct stream *streams)
{
    uint64_t before[STREAMS];
    for (int i = 0; i < STREAMS; i++)
        before[i] = streams[i].checked;
    for (int i = 0; i < STREAMS; i++)
        while (streams[i].checked == before[i])
            (void)streams_turn(streams, STREAMS);
}

/* Clients go on sending while the daemon packs, and while there is none. */
static void restart_under_streams(struct manager *manager, struct daemon *daemon,
                                  struct stream *streams, const char *options)
{
    manager_drain(manager);
    daemon_signal(daemon, SIGQUIT);
    while (!manager_read(manager, 1))
        for (int i = 0; i < STREAMS; i++)
            (void)stream_send(&streams[i]);
    for (int i = 0; i < STREAMS; i++)
        (void)stream_send(&streams[i]);
    assert_int_equal(daemon_wait_exit(daemon), 0);
    assert_contains(manager_resume(manager, daemon, options), "Took over 6 connections");
}

static void check_streams(struct daemon *daemon, const char *options, bool prefixed, size_t chunk)
{
    static struct stream streams[STREAMS];
    struct manager manager;
    manager_start(&manager, daemon, options);
    for (unsigned i = 0; i < STREAMS; i++) {
        stream_init(&streams[i], client_connect(daemon), i, UINT64_MAX / 2, prefixed);
        streams[i].chunk_max = chunk;
    }
    for (int round = times(RESTARTS); round > 0; round--) {
        run_on(streams);
        restart_under_streams(&manager, daemon, streams, options);
    }
    uint64_t bytes = streams_cut_short(streams, STREAMS);
    print_message("%llu bytes came back over %d restarts\n", (unsigned long long)bytes,
                  times(RESTARTS));
    manager_stop(&manager, daemon);
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

/* Clients that read nothing meanwhile, and half of which have ended their sending side. */
static void check_absent_readers(struct daemon *daemon, const char *options, bool prefixed)
{
    static struct stream streams[STREAMS];
    struct manager manager;
    manager_start(&manager, daemon, options);
    for (unsigned i = 0; i < STREAMS; i++)
        stream_init(&streams[i], client_connect_small(daemon), i, UINT64_MAX / 2, prefixed);
    streams_jam(streams, STREAMS);
    for (unsigned i = 0; i < STREAMS / 2; i++) {
        client_shutdown(streams[i].fd);
        streams[i].shut = true;
    }
    for (int i = 0; i < 4; i++)
        (void)manager_restart(&manager, daemon, options);
    streams_run(streams, STREAMS);
    manager_stop(&manager, daemon);
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
    struct manager manager;
    int fds[IDLE];
    manager_start(&manager, daemon, "");
    for (int i = 0; i < IDLE; i++) {
        fds[i] = client_connect(daemon);
        if (i % 2 == 1) /* as the last one does: all have been accepted then */
            client_ping(fds[i], "GOT:", "x");
    }
    daemon_expect_stats(daemon, harness_workers(), "60 connections now");
    assert_contains(manager_restart(&manager, daemon, ""), "Took over 60 connections");
    for (int i = 0; i < IDLE; i++) {
        client_ping(fds[i], "GOT:", "y");
        client_leave(fds[i]);
    }
    daemon_expect_stats(daemon, harness_workers(), "0 connections now, 60 in total; ");
    manager_stop(&manager, daemon);
}

/* The connection comes while there is no daemon, and waits. */
static void a_client_that_comes_meanwhile(struct daemon *daemon)
{
    struct manager manager;
    manager_start(&manager, daemon, "");
    for (int i = 0; i < 5; i++) {
        manager_end(&manager, daemon);
        int fd = client_connect(daemon);
        client_send(fd, "early", 5);
        assert_contains(manager_resume(&manager, daemon, ""), "Took over 0 connections");
        client_expect(fd, "GOT:early", 9);
        client_leave(fd);
    }
    manager_stop(&manager, daemon);
}

/* It connects just before the signal, so it waits to be accepted or has just been. */
static void clients_that_come_at_the_last_moment(struct daemon *daemon)
{
    struct manager manager;
    manager_start(&manager, daemon, "");
    for (int round = 0; round < 5; round++) {
        int fds[IDLE];
        daemon_freeze(daemon);
        for (int i = 0; i < IDLE; i++) {
            fds[i] = client_connect(daemon);
            client_send(fds[i], "last", 4);
        }
        daemon_signal(daemon, SIGQUIT);
        daemon_signal(daemon, SIGCONT);
        manager_serve(&manager);
        assert_int_equal(daemon_wait_exit(daemon), 0);
        (void)manager_resume(&manager, daemon, "");
        for (int i = 0; i < IDLE; i++) {
            client_expect(fds[i], "GOT:last", 8);
            client_leave(fds[i]);
        }
    }
    manager_stop(&manager, daemon);
}

/* Descriptors are back where they were. An upgrade lies between any two restarts. */
static void many_generations(struct daemon *daemon)
{
    static struct stream jammed;
    struct manager manager;
    manager_start(&manager, daemon, "--rfc862");
    int fd = client_connect(daemon);
    stream_init(&jammed, client_connect_small(daemon), 1, UINT64_MAX / 2, false);
    streams_jam(&jammed, 1);
    (void)manager_restart(&manager, daemon, "--rfc862");
    client_ping(fd, "", "first");
    long fds = daemon_fds_but_uring(daemon);
    for (int i = times(GENERATIONS); i > 0; i--) {
        daemon_signal(daemon, SIGUSR2);
        (void)daemon_wait_line(daemon, "Took over 2 connections");
        client_ping(fd, "", "upgraded");
        (void)manager_restart(&manager, daemon, "--rfc862");
        client_ping(fd, "", "restarted");
    }
    daemon_wait_figure(daemon, daemon_fds_but_uring, fds);
    streams_run(&jammed, 1);
    client_leave(fd);
    manager_stop(&manager, daemon);
}

/* ---- other options ---- */

/* What has not been answered before is answered under the new options. */
static void options_change(struct daemon *daemon)
{
    static const char *const options[][2] = {
        {"--prefix=HI:", "HI:"},
        {"--rfc862", ""},
        {"--workers=3", "GOT:"},
        {"--workers=1 --max-connections=1", "GOT:"},
        {"--prefix=MUCH-LONGER: --chunk=65536", "MUCH-LONGER:"},
        {"--keepalive=0 --max-per-source=5", "GOT:"}};
    struct manager manager;
    manager_start(&manager, daemon, "");
    int first = client_connect(daemon);
    int second = client_connect(daemon);
    client_ping(first, "GOT:", "old");
    client_ping(second, "GOT:", "old");
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        (void)manager_restart(&manager, daemon, options[i][0]);
        client_ping(first, options[i][1], "new");
        client_ping(second, options[i][1], "new");
    }
    client_leave(first);
    client_leave(second);
    client_visit(daemon);
    manager_stop(&manager, daemon);
}

/* A successor that allows a source less ends the rest, and says so. */
static void fewer_for_a_source(struct daemon *daemon)
{
    struct manager manager;
    int fds[3];
    manager_start(&manager, daemon, "");
    for (int i = 0; i < 3; i++) {
        fds[i] = client_connect(daemon);
        client_ping(fds[i], "GOT:", "old");
    }
    const char *line = manager_restart(&manager, daemon, "--max-per-source=1");
    assert_contains(line, "Took over 1 connection in ");
    line = daemon_wait_line(daemon, "--max-per-source=1");
    assert_contains(line, "2 connections refused, the last from 127.0.0.1:");
    for (int i = 0; i < 3; i++)
        client_close(fds[i]);
    manager_stop(&manager, daemon);
}

/* Connections of the old port go on; nobody listens there any more. */
static void another_port(struct daemon *daemon)
{
    struct manager manager;
    char options[64];
    manager_start(&manager, daemon, "");
    int old = client_connect(daemon);
    client_ping(old, "GOT:", "x");
    uint16_t port = daemon->port;
    uint16_t other = harness_free_port();
    (void)snprintf(options, sizeof options, "--port=%u", (unsigned)other);
    (void)manager_restart(&manager, daemon, options);
    client_ping(old, "GOT:", "y");
    assert_int_equal(client_try(daemon, "127.0.0.1"), -ECONNREFUSED);
    daemon->port = other;
    int fresh = client_connect(daemon);
    client_ping(fresh, "GOT:", "z");
    (void)manager_restart(&manager, daemon, options);
    client_ping(fresh, "GOT:", "z");
    client_leave(fresh);
    client_leave(old);
    client_visit(daemon);
    assert_int_not_equal(port, other);
    manager_stop(&manager, daemon);
}

/* One address stays, one goes and one comes. */
static void other_addresses(struct daemon *daemon)
{
    struct manager manager;
    manager_start(&manager, daemon, "--bind=127.0.0.2");
    (void)manager_restart(&manager, daemon, "--bind=127.0.0.3");
    client_visit(daemon);
    assert_int_equal(client_try(daemon, "127.0.0.2"), -ECONNREFUSED);
    client_leave(client_connect_to(daemon, "127.0.0.3"));
    manager_stop(&manager, daemon);
}

/* A wildcard takes the place of an address: the old socket is closed before the new one is made. */
static void a_wildcard_instead_of_an_address(struct daemon *daemon)
{
    struct manager manager;
    char options[64];
    manager_start(&manager, daemon, "");
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "x");
    (void)snprintf(options, sizeof options, "--port=%u", (unsigned)daemon->port);
    manager_end(&manager, daemon);
    manager_launch(&manager, daemon, options);
    (void)daemon_wait_line(daemon, "Listening on 0.0.0.0:");
    (void)daemon_wait_line(daemon, "Took over 1 connection in ");
    client_ping(fd, "GOT:", "x");
    client_visit(daemon);
    client_leave(fd);
    manager_stop(&manager, daemon);
}

/* A daemon that cannot start takes nothing out: the next one finds everything. */
static void wrong_options(struct daemon *daemon)
{
    struct manager manager;
    manager_start(&manager, daemon, "");
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "x");
    manager_end(&manager, daemon);
    for (int i = 0; i < 3; i++) {
        manager_launch(&manager, daemon, "--prot=1");
        assert_int_equal(daemon_wait_exit(daemon), 2);
    }
    client_send(fd, "waits", 5);
    assert_contains(manager_resume(&manager, daemon, ""), "Took over 1 connection in ");
    client_expect(fd, "GOT:waits", 9);
    client_leave(fd);
    manager_stop(&manager, daemon);
}

/* The file stays, and is removed by the process that is stopped. */
static void a_unix_socket(struct daemon *daemon)
{
    struct manager manager;
    char options[256];
    const char *path = harness_path("socket");
    (void)snprintf(options, sizeof options, "--bind=unix:%s", path);
    manager_start(&manager, daemon, options);
    int idle = client_connect_unix(path);
    client_ping(idle, "GOT:", "x");
    for (int i = 0; i < 2; i++) {
        manager_end(&manager, daemon);
        int fd = client_connect_unix(path);
        (void)manager_resume(&manager, daemon, options);
        client_ping(fd, "GOT:", "y");
        client_leave(fd);
    }
    client_ping(idle, "GOT:", "z");
    client_leave(idle);
    (void)manager_restart(&manager, daemon, "");
    assert_int_equal(access(path, F_OK), -1); /* the last one was not told to listen there */
    manager_stop(&manager, daemon);
}

/* ---- sockets that the manager has opened ---- */

static void manager_start_sockets(struct manager *manager, struct daemon *daemon, int count)
{
    manager_open(manager);
    manager->socket_count = count;
    for (int i = 0; i < count; i++)
        manager->sockets[i] = harness_listen("127.0.0.1");
    manager_launch(manager, daemon, "");
    for (int i = 0; i < count; i++)
        (void)daemon_wait_line(daemon, "Listening on ");
}

static void passed_sockets(struct daemon *daemon)
{
    struct manager manager;
    manager_start_sockets(&manager, daemon, 2);
    int fd = client_connect_like(manager.sockets[1]);
    client_ping(fd, "GOT:", "x");
    for (int i = 0; i < 3; i++) {
        manager_end(&manager, daemon);
        int fresh = client_connect_like(manager.sockets[0]);
        (void)manager_resume(&manager, daemon, "");
        assert_int_equal(daemon_count(daemon, "(test.socket)"), 2);
        client_ping(fresh, "GOT:", "y");
        client_ping(fd, "GOT:", "z");
        client_leave(fresh);
    }
    client_leave(fd);
    manager_stop(&manager, daemon);
    for (int i = 0; i < 2; i++)
        (void)close(manager.sockets[i]);
}

/* What the manager does not pass any more is closed, and what is new is served. */
static void other_passed_sockets(struct daemon *daemon)
{
    struct manager manager;
    manager_start_sockets(&manager, daemon, 1);
    int old = manager.sockets[0];
    int fd = client_connect_like(old);
    client_ping(fd, "GOT:", "x");
    manager.sockets[0] = harness_listen("127.0.0.1");
    (void)manager_restart(&manager, daemon, "");
    client_ping(fd, "GOT:", "y");
    int fresh = client_connect_like(manager.sockets[0]);
    client_ping(fresh, "GOT:", "z");
    client_leave(fresh);
    client_leave(fd);
    struct pollfd alive = {.fd = old, .events = POLLIN};
    int waiting = client_connect_like(old); /* in a queue that nobody but we would serve */
    assert_int_equal(poll(&alive, 1, HARNESS_DEADLINE_MS), 1);
    (void)close(old);
    assert_true(client_breaks(waiting, HARNESS_DEADLINE_MS));
    (void)close(waiting);
    manager_stop(&manager, daemon);
    (void)close(manager.sockets[0]);
}

/* Options contradict what is passed: nothing is taken out, and the next daemon finds everything. */
static void options_that_contradict_passed_sockets(struct daemon *daemon)
{
    struct manager manager;
    manager_start_sockets(&manager, daemon, 1);
    int fd = client_connect_like(manager.sockets[0]);
    client_ping(fd, "GOT:", "x");
    manager_end(&manager, daemon);
    manager_launch(&manager, daemon, "--port=7777");
    (void)daemon_wait_line(daemon, "--port: systemd has passed the sockets");
    assert_int_equal(daemon_wait_exit(daemon), 2);
    (void)manager_resume(&manager, daemon, "");
    client_ping(fd, "GOT:", "y");
    client_leave(fd);
    manager_stop(&manager, daemon);
    (void)close(manager.sockets[0]);
}

/* ---- where there is no successor ---- */

/* The daemon has been told to stop by this signal: it drains. */
static void expect_drain(struct daemon *daemon, int fd)
{
    (void)daemon_wait_line(daemon, "Stopping: waiting for 1 connection");
    client_ping(fd, "GOT:", "during");
    client_leave(fd);
    assert_int_equal(daemon_wait_exit(daemon), 0);
}

/* What the child leaves with the manager is what the next keeper's child finds. */
static void a_kept_daemon(struct daemon *daemon)
{
    struct manager manager;
    manager_start(&manager, daemon, "--keep");
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "one");
    for (int i = 0; i < 3; i++) {
        pid_t pid = daemon->pid;
        const char *options = i == 1 ? "" : "--keep"; /* and without a keeper, and back */
        assert_contains(manager_restart(&manager, daemon, options), "Took over 1 connection in ");
        assert_int_not_equal(daemon->pid, pid);
        client_ping(fd, "GOT:", "more");
    }
    client_visit(daemon);
    client_leave(fd);
    manager_stop(&manager, daemon);
}

/* The next daemon is killed as soon as it is there: what it was passed must not end with it. */
static void a_kept_daemon_that_is_killed_at_its_start(struct daemon *daemon)
{
    struct manager manager;
    manager_start(&manager, daemon, "--keep");
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "one");
    for (int i = 0; i < 3; i++) {
        manager_end(&manager, daemon);
        manager_launch(&manager, daemon, "--bind=127.0.0.1 --keep");
        assert_int_equal(kill(daemon_child(daemon), SIGKILL), 0);
        (void)daemon_wait_line(daemon, "The daemon was ended by signal 9; starting a successor");
        assert_contains(daemon_wait_line(daemon, "Took over "), "Took over 1 connection in ");
        manager_drain(&manager);
        assert_int_equal(manager.store_count, 0);
        client_ping(fd, "GOT:", "more");
        client_visit(daemon);
        (void)daemon_wait_line(daemon, "Connection closed: ");
    }
    client_leave(fd);
    manager_stop(&manager, daemon);
}

static void a_stop_drains(struct daemon *daemon)
{
    struct manager manager;
    manager_start(&manager, daemon, "");
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "x");
    daemon_signal(daemon, SIGTERM);
    expect_drain(daemon, fd);
    manager_drain(&manager);
    assert_int_equal(manager.store_count, 0);
    manager_close(&manager);
}

static void without_a_manager(struct daemon *daemon)
{
    daemon_start(daemon, "");
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "x");
    daemon_signal(daemon, SIGQUIT);
    expect_drain(daemon, fd);
    assert_int_equal(daemon_count(daemon, "Cannot leave"), 0);
}

/* The daemon sees that nobody has what it has given away. All threads go on. */
static void a_manager_that_stores_nothing(struct daemon *daemon)
{
    struct manager manager;
    int fds[4];
    manager_start(&manager, daemon, "");
    manager.stores_nothing = true;
    for (int i = 0; i < 4; i++) {
        fds[i] = client_connect(daemon);
        client_ping(fds[i], "GOT:", "x");
    }
    manager_drain(&manager);
    daemon_signal(daemon, SIGQUIT);
    manager_serve(&manager);
    (void)daemon_wait_line(daemon, "Cannot leave the connections to a successor: ");
    (void)daemon_wait_line(daemon, "Stopping: waiting for 4 connections");
    for (int i = 0; i < 4; i++) {
        client_ping(fds[i], "GOT:", "during");
        client_leave(fds[i]);
    }
    assert_int_equal(daemon_wait_exit(daemon), 0);
    manager_close(&manager);
}

/* It is a second signal to stop. */
static void not_while_it_stops(struct daemon *daemon)
{
    struct manager manager;
    manager_start(&manager, daemon, "");
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "x");
    daemon_signal(daemon, SIGTERM);
    (void)daemon_wait_line(daemon, "Stopping: waiting for 1 connection");
    daemon_signal(daemon, SIGQUIT);
    (void)daemon_wait_line(daemon, "Stopping at once: ");
    assert_int_equal(daemon_wait_exit(daemon), 0);
    manager_drain(&manager);
    assert_int_equal(manager.store_count, 0);
    client_close(fd);
    manager_close(&manager);
}

/* The service manager starts nobody: what it has kept ends, and clients see that. */
static void a_manager_that_starts_no_successor(struct daemon *daemon)
{
    struct manager manager;
    manager_start(&manager, daemon, "");
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "x");
    manager_end(&manager, daemon);
    manager_empty(&manager);
    client_expect_end(fd);
    client_close(fd);
    manager_close(&manager);
}

/* ---- what is stored is damaged ---- */

/* Serves new clients all the same. */
static void expect_fresh_start(struct manager *manager, struct daemon *daemon)
{
    manager_launch(manager, daemon, "--bind=127.0.0.1");
    (void)daemon_wait_line(daemon, "Cannot take over what the service manager has kept: ");
    (void)daemon_wait_port(daemon, "Listening on ");
    client_visit(daemon);
    manager_drain(manager);
    assert_int_equal(manager->store_count, 0);
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
}

/* A socket that is empty, one that is none, and one with a message of somebody else. */
static void what_is_no_pouch(struct daemon *daemon)
{
    struct manager manager;
    for (int i = 0; i < 3; i++) {
        int ends[2];
        manager_open(&manager);
        assert_int_equal(i == 0 ? pipe2(ends, O_CLOEXEC)
                                : socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends),
                         0);
        if (i == 2)
            client_send(ends[1], "something else", 14);
        manager.store[manager.store_count++] = ends[0];
        expect_fresh_start(&manager, daemon);
        (void)close(ends[1]);
        manager_close(&manager);
    }
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
        e2e_test(idle_connections),
        e2e_test(a_client_that_comes_meanwhile),
        e2e_test(clients_that_come_at_the_last_moment),
        e2e_test(many_generations),
        e2e_test(options_change),
        e2e_test(fewer_for_a_source),
        e2e_test(another_port),
        e2e_test(other_addresses),
        e2e_test(a_wildcard_instead_of_an_address),
        e2e_test(wrong_options),
        e2e_test(a_unix_socket),
        e2e_test(passed_sockets),
        e2e_test(other_passed_sockets),
        e2e_test(options_that_contradict_passed_sockets),
        e2e_test(a_kept_daemon),
        e2e_test(a_kept_daemon_that_is_killed_at_its_start),
        e2e_test(a_stop_drains),
        e2e_test(without_a_manager),
        e2e_test(a_manager_that_stores_nothing),
        e2e_test(not_while_it_stops),
        e2e_test(a_manager_that_starts_no_successor),
        e2e_test(what_is_no_pouch),
    };
    harness_init();
    return cmocka_run_group_tests_name("e2e.restart", tests, NULL, NULL);
}
