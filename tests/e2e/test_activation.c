/*
 * test_activation.c - sockets that systemd has made: listening ones, connected ones, and what
 * cannot be served. The tests pass them as sd_listen_fds(3) says, and so does systemd's own tool.
 */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PASSED_MAX = 4 };

/* Skips the test if the daemon was built without libsystemd, which passes the sockets. */
static void need_systemd(void)
{
    if (!UVECHOD_SYSTEMD)
        harness_skip("built without libsystemd");
}

static struct launch passing(const int *fds, int count, const char *names)
{
    need_systemd();
    return (struct launch){.own_port = true, .fds = fds, .fds_count = count, .fd_names = names};
}

/* ---- listening sockets ---- */

static int listen_unix(const char *path)
{
    int fd = harness_bind_unix(path, SOCK_STREAM);
    assert_int_equal(listen(fd, SOMAXCONN), 0);
    return fd;
}

static void expect_listening(struct daemon *daemon, const char *address, const char *name)
{
    char line[256];
    (void)snprintf(line, sizeof line, "Listening on %s (%s)", address, name);
    assert_string_equal(daemon_wait_line(daemon, ""), line);
}

static void check_echo(int fd)
{
    client_ping(fd, "GOT:", "hello");
    client_leave(fd);
}

static void check_passed(struct daemon *daemon, int fd, const char *address)
{
    const struct launch launch = passing(&fd, 1, "front-door");
    daemon_launch(daemon, &launch);
    expect_listening(daemon, address, "front-door");
    check_echo(client_connect_like(fd));
    check_echo(client_connect_like(fd));
    assert_int_equal(daemon_count(daemon, "Listening"), 1); /* and on no other address */
}

static void listening_ipv4(struct daemon *daemon)
{
    char name[80];
    int fd = harness_listen("127.0.0.1");
    check_passed(daemon, fd, client_name(fd, name));
}

static void listening_ipv6(struct daemon *daemon)
{
    char name[80];
    harness_need_ipv6();
    int fd = harness_listen("::1");
    check_passed(daemon, fd, client_name(fd, name));
}

static void listening_unix(struct daemon *daemon)
{
    char address[128];
    struct stat file;
    const char *path = harness_path("passed");
    (void)snprintf(address, sizeof address, "unix:%s", path);
    check_passed(daemon, listen_unix(path), address);
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
    assert_int_equal(stat(path, &file), 0); /* the file is systemd's */
}

static void listening_abstract(struct daemon *daemon)
{
    char path[64];
    char address[80];
    (void)snprintf(path, sizeof path, "@uvechod-passed-%d", (int)getpid());
    (void)snprintf(address, sizeof address, "unix:%s", path);
    check_passed(daemon, listen_unix(path), address);
}

static void several_with_names(struct daemon *daemon)
{
    char names[2][80];
    char path[128];
    const char *file = harness_path("several");
    (void)snprintf(path, sizeof path, "unix:%s", file);
    bool has_in6 = harness_has_address("::1");
    const int fds[] = {harness_listen("127.0.0.1"), listen_unix(file),
                       harness_listen(has_in6 ? "::1" : "127.0.0.1")};
    const struct launch launch = passing(fds, 3, "four:unix:six");
    daemon_launch(daemon, &launch);
    expect_listening(daemon, client_name(fds[0], names[0]), "four");
    expect_listening(daemon, path, "unix");
    expect_listening(daemon, client_name(fds[2], names[1]), "six");
    int clients[3];
    for (int i = 0; i < 3; i++)
        clients[i] = client_connect_like(fds[i]);
    for (int i = 0; i < 3; i++)
        check_echo(clients[i]);
}

static void without_names(struct daemon *daemon)
{
    char name[80];
    int fd = harness_listen("127.0.0.1");
    const struct launch launch = passing(&fd, 1, NULL);
    daemon_launch(daemon, &launch);
    expect_listening(daemon, client_name(fd, name), "unknown"); /* as sd_listen_fds(3) has it */
    check_echo(client_connect_like(fd));
}

/* The log line stays one line, whatever the name contains. */
static void name_with_control_characters(struct daemon *daemon)
{
    char name[80];
    int fd = harness_listen("127.0.0.1");
    const struct launch launch = passing(&fd, 1, "a\nb\033c");
    daemon_launch(daemon, &launch);
    expect_listening(daemon, client_name(fd, name), "a?b?c");
}

/* systemd keeps the socket: clients that connect while no daemon runs wait for the next one. */
static void next_daemon_serves_waiting_clients(struct daemon *daemon)
{
    int fd = harness_listen("127.0.0.1");
    const struct launch launch = passing(&fd, 1, "kept");
    daemon_start_as(daemon, &launch);
    check_echo(client_connect_like(fd));
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
    int waiting = client_connect_like(fd);
    client_send(waiting, "patience", 8);
    daemon_launch(daemon, &launch);
    client_expect(waiting, "GOT:patience", 12);
    client_close(waiting);
}

/* ---- connected sockets ---- */

/* Makes a TCP connection. Returns the client's end; *passed is the one for the daemon. */
static int connect_pair(int *passed)
{
    int listening = harness_listen("127.0.0.1");
    int client = client_connect_like(listening);
    *passed = accept4(listening, NULL, NULL, SOCK_CLOEXEC);
    assert_true(*passed >= 0);
    (void)close(listening);
    return client;
}

/* Starts a daemon for the passed end of a connection, and closes our copy of it. */
static void launch_for(struct daemon *daemon, int passed)
{
    const struct launch launch = passing(&passed, 1, "connection");
    daemon_launch(daemon, &launch);
    (void)close(passed);
}

static void connection_ends_the_daemon(struct daemon *daemon)
{
    char name[80];
    char line[128];
    int passed;
    int fd = connect_pair(&passed);
    (void)snprintf(line, sizeof line, "Connection from %s", client_name(fd, name));
    launch_for(daemon, passed);
    client_ping(fd, "GOT:", "hello");
    assert_string_equal(daemon_wait_line(daemon, ""), line);
    client_ping(fd, "GOT:", "hello again");
    client_close(fd);
    assert_int_equal(daemon_wait_exit(daemon), 0);
    assert_int_equal(daemon_count(daemon, "Listening"), 0);
}

/* Two of one source, which may have one. The start goes on, and the daemon ends with the first. */
static void connections_of_one_source(struct daemon *daemon)
{
    int passed[2];
    char byte;
    int first = connect_pair(&passed[0]);
    int second = connect_pair(&passed[1]);
    struct launch launch = passing(passed, 2, "first:second");
    launch.options = "--max-per-source=1";
    daemon_launch(daemon, &launch);
    (void)close(passed[0]);
    (void)close(passed[1]);
    client_ping(first, "GOT:", "hello");
    assert_int_equal(recv(second, &byte, 1, 0), 0);
    client_close(first);
    client_close(second);
    assert_int_equal(daemon_wait_exit(daemon), 0);
    assert_int_equal(daemon_count(daemon, "1 connection refused, the last from 127.0.0.1:"), 1);
}

static void connection_with_much_data(struct daemon *daemon)
{
    int passed;
    struct stream stream;
    stream_init(&stream, connect_pair(&passed), 3, 1 << 20, true);
    launch_for(daemon, passed);
    streams_run(&stream, 1);
    assert_int_equal(daemon_wait_exit(daemon), 0);
}

/* The client's bytes and its FIN came before the daemon was started. */
static void connection_that_has_ended_already(struct daemon *daemon)
{
    int passed;
    int fd = connect_pair(&passed);
    client_send(fd, "early", 5);
    client_shutdown(fd);
    launch_for(daemon, passed);
    client_expect(fd, "GOT:early", 9);
    client_expect_end(fd);
    client_close(fd);
    assert_int_equal(daemon_wait_exit(daemon), 0);
}

/* The bytes came before the daemon was started. A chunk ends in front of an urgent byte. */
static void connection_with_an_urgent_byte(struct daemon *daemon)
{
    int passed;
    int fd = connect_pair(&passed);
    client_send(fd, "abc", 3);
    assert_int_equal(send(fd, "!", 1, MSG_OOB | MSG_NOSIGNAL), 1);
    launch_for(daemon, passed);
    client_expect(fd, "GOT:abcGOT:!", 12);
    client_close(fd);
    assert_int_equal(daemon_wait_exit(daemon), 0);
}

static void connection_of_a_unix_socket(struct daemon *daemon)
{
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    launch_for(daemon, ends[1]);
    client_ping(ends[0], "GOT:", "hello");
    (void)daemon_wait_line(daemon, "Connection from unix:pid=");
    client_close(ends[0]);
    assert_int_equal(daemon_wait_exit(daemon), 0);
}

static void connection_is_drained(struct daemon *daemon)
{
    int passed;
    int fd = connect_pair(&passed);
    launch_for(daemon, passed);
    client_ping(fd, "GOT:", "hello");
    daemon_signal(daemon, SIGTERM);
    (void)daemon_wait_line(daemon, "Stopping: waiting for 1 connection,");
    client_ping(fd, "GOT:", "still here");
    daemon_signal(daemon, SIGTERM);
    assert_int_equal(daemon_wait_exit(daemon), 0);
}

static void connection_beside_a_listener(struct daemon *daemon)
{
    int fds[2];
    int client = connect_pair(&fds[0]);
    fds[1] = harness_listen("127.0.0.1");
    const struct launch launch = passing(fds, 2, "one:many");
    daemon_launch(daemon, &launch);
    (void)daemon_wait_line(daemon, "(many)");
    client_ping(client, "GOT:", "hello");
    int other = client_connect_like(fds[1]);
    client_close(client);
    (void)close(fds[0]);
    check_echo(other);
    check_echo(client_connect_like(fds[1])); /* the daemon goes on */
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
}

/* ---- what cannot be served ---- */

/* The daemon exits with 1 and one line, with the descriptor, its name and the reason. */
static void check_unservable(const int *fds, int count, const char *named, const char *why)
{
    struct launch launch = passing(fds, count, count == 1 ? "odd" : "good:odd");
    (void)harness_run_refused(&launch, 1, named, why);
}

static int make_socket(int family, int type)
{
    int fd = socket(family, type | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    return fd;
}

static void sockets_of_another_kind(struct daemon *daemon)
{
    (void)daemon;
    int fd = make_socket(AF_NETLINK, SOCK_RAW);
    check_unservable(&fd, 1, "socket 3 (odd)", "Protocol not supported");
    fd = make_socket(AF_UNIX, SOCK_SEQPACKET);
    check_unservable(&fd, 1, "socket 3 (odd)", "Protocol not supported");
    fd = harness_bind_unix(harness_path("seqpacket"), SOCK_SEQPACKET);
    assert_int_equal(listen(fd, 1), 0);
    check_unservable(&fd, 1, "socket 3 (odd)", "Protocol not supported");
}

static void sockets_that_go_nowhere(struct daemon *daemon)
{
    (void)daemon;
    int fd = make_socket(AF_INET, SOCK_STREAM);
    check_unservable(&fd, 1, "socket 3 (odd)", "endpoint is not connected");
    fd = make_socket(AF_UNIX, SOCK_STREAM);
    check_unservable(&fd, 1, "socket 3 (odd)", "endpoint is not connected");
}

static void no_sockets(struct daemon *daemon)
{
    (void)daemon;
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    check_unservable(&ends[0], 1, "socket 3 (odd)", "Socket operation on non-socket");
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    check_unservable(&null, 1, "socket 3 (odd)", "Socket operation on non-socket");
    (void)close(ends[0]);
    (void)close(ends[1]);
    (void)close(null);
}

/* The good socket is not served either. */
static void one_of_two(struct daemon *daemon)
{
    (void)daemon;
    const int fds[] = {harness_listen("127.0.0.1"), make_socket(AF_UNIX, SOCK_SEQPACKET)};
    check_unservable(fds, 2, "socket 4 (odd)", "Protocol not supported");
}

/* ---- wrong variables ---- */

static void check_malformed(const char *setting, const char *why)
{
    const char *const setup[] = {setting, NULL};
    int fd = harness_listen("127.0.0.1");
    struct launch launch = passing(&fd, 1, "odd");
    launch.setup = setup;
    (void)harness_run_refused(&launch, 1, "LISTEN_FDS", why);
    (void)close(fd);
}

static void malformed_number(struct daemon *daemon)
{
    (void)daemon;
    check_malformed("LISTEN_FDS=abc", "Invalid argument");
    check_malformed("LISTEN_FDS=", "Invalid argument");
    check_malformed("LISTEN_FDS=-1", "Invalid argument");
    check_malformed("LISTEN_FDS=1x", "Invalid argument");
    check_malformed("LISTEN_FDS=99999999999999999999", ": ");
    check_malformed("LISTEN_FDS=99999", "Bad file descriptor");
}

static void more_names_than_sockets(struct daemon *daemon)
{
    (void)daemon;
    check_malformed("LISTEN_FDNAMES=odd:one", "Invalid argument");
}

/* LISTEN_PID names another process, the parent say: no sockets are passed to the daemon. */
static void meant_for_another_process(struct daemon *daemon)
{
    static const char *const setup[] = {"LISTEN_PID=1", NULL};
    int fd = harness_listen("127.0.0.1");
    struct launch launch = passing(&fd, 1, "not-ours");
    launch.setup = setup;
    launch.own_port = false; /* --port is allowed, as no sockets are passed */
    launch.options = "--bind=127.0.0.1";
    daemon_launch(daemon, &launch);
    assert_null(strchr(daemon_wait_port(daemon, "Listening on 127.0.0.1:"), '('));
    check_echo(client_connect(daemon));
    int unserved = client_connect_like(fd);
    check_echo(client_connect(daemon)); /* by now it could have accepted the other */
    struct pollfd waiting = {.fd = fd, .events = POLLIN};
    assert_int_equal(poll(&waiting, 1, 0), 1);
    client_close(unserved);
}

static void check_explicit(const char *options, const char *named)
{
    int fd = harness_listen("127.0.0.1");
    struct launch launch = passing(&fd, 1, "front-door");
    launch.options = options;
    (void)harness_run_refused(&launch, 2, named, ": systemd has passed the sockets; change");
    (void)close(fd);
}

static void explicit_options_are_an_error(struct daemon *daemon)
{
    (void)daemon;
    check_explicit("--port=0", "--port");
    check_explicit("-p 25000", "--port");
    check_explicit("--bind=127.0.0.1", "--bind");
    check_explicit("--quiet --bind=unix:@uvechod --prefix=A", "--bind");
}

static void other_options_are_no_error(struct daemon *daemon)
{
    int fd = harness_listen("127.0.0.1");
    struct launch launch = passing(&fd, 1, "front-door");
    launch.options = "--prefix=A: --max-connections=1 --socket-mode=600";
    daemon_start_as(daemon, &launch);
    int first = client_connect_like(fd);
    client_ping(first, "A:", "hello");
    int second = client_connect_like(fd);
    client_send(second, "me too", 6);
    client_ping(first, "A:", "only me");
    assert_false(client_readable(second, 0));
    client_close(first);
    client_expect(second, "A:me too", 8);
}

/* ---- systemd's own tool ---- */

/* Runs the tool, which hands the sanitizers' options on to the daemon. */
static void start_tool(struct daemon *daemon, const char *arguments)
{
    static const char *const passed_on[] = {"ASAN_OPTIONS", "LSAN_OPTIONS", "UBSAN_OPTIONS"};
    char options[2048];
    need_systemd();
    if (access("/usr/bin/systemd-socket-activate", X_OK) != 0)
        harness_skip("no systemd-socket-activate (package systemd)");
    int len =
        snprintf(options, sizeof options, "-l 127.0.0.1:%u %s", (unsigned)daemon->port, arguments);
    for (size_t i = 0; i < sizeof passed_on / sizeof *passed_on; i++)
        if (getenv(passed_on[i]) != NULL)
            len += snprintf(options + len, sizeof options - (size_t)len, " -E %s=%s", passed_on[i],
                            getenv(passed_on[i]));
    (void)snprintf(options + len, sizeof options - (size_t)len, " %s", UVECHOD_BINARY);
    daemon_launch(daemon, &(struct launch){.program = "/usr/bin/systemd-socket-activate",
                                           .options = options,
                                           .own_port = true});
    (void)daemon_wait_line(daemon, "Listening on ");
}

/* The first connection starts the daemon in the tool's own process. */
static void tool_passes_a_listener(struct daemon *daemon)
{
    daemon->port = harness_free_port();
    start_tool(daemon, "--fdname=activated");
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "hello");
    (void)daemon_wait_line(daemon, "(activated)");
    check_echo(client_connect(daemon));
    client_close(fd);
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
}

/* Each connection gets a process, which ends with it. */
static void tool_passes_connections(struct daemon *daemon)
{
    daemon->port = harness_free_port();
    start_tool(daemon, "-a");
    int first = client_connect(daemon);
    int second = client_connect(daemon);
    client_ping(first, "GOT:", "hello");
    check_echo(second);
    (void)daemon_wait_line(daemon, "died with code 0");
    client_ping(first, "GOT:", "still here");
    client_close(first);
    (void)daemon_wait_line(daemon, "died with code 0");
    daemon_kill(daemon); /* the tool, which does not end otherwise */
}

int main(void)
{
    harness_init();
    const struct CMUnitTest tests[] = {
        e2e_test(listening_ipv4),
        e2e_test(listening_ipv6),
        e2e_test(listening_unix),
        e2e_test(listening_abstract),
        e2e_test(several_with_names),
        e2e_test(without_names),
        e2e_test(name_with_control_characters),
        e2e_test(next_daemon_serves_waiting_clients),
        e2e_test(connection_ends_the_daemon),
        e2e_test(connections_of_one_source),
        e2e_test(connection_with_much_data),
        e2e_test(connection_that_has_ended_already),
        e2e_test(connection_with_an_urgent_byte),
        e2e_test(connection_of_a_unix_socket),
        e2e_test(connection_is_drained),
        e2e_test(connection_beside_a_listener),
        e2e_test(sockets_of_another_kind),
        e2e_test(sockets_that_go_nowhere),
        e2e_test(no_sockets),
        e2e_test(one_of_two),
        e2e_test(malformed_number),
        e2e_test(more_names_than_sockets),
        e2e_test(meant_for_another_process),
        e2e_test(explicit_options_are_an_error),
        e2e_test(other_options_are_no_error),
        e2e_test(tool_passes_a_listener),
        e2e_test(tool_passes_connections),
    };
    return cmocka_run_group_tests_name("e2e.activation", tests, NULL, NULL);
}
