/*
 * Behind a proxy: connections of sources that --proxy-from names begin with a header of the PROXY
 * protocol, which is taken off to the byte, whatever comes between: pauses at each byte, upgrades,
 * crashes. All others have none, and a header from them is data.
 */
#include "harness.h"
#include "manager.h"

#include <signal.h>

enum { DAEMON_CRASHES = 5 }; /* a keeper gives up after more in ten seconds */

/* Headers may take as long as a slow machine needs. */
#define PROXIED "--proxy-from=127.0.0.0/8 --proxy-timeout=3600"

#define V2        "\r\n\r\n\0\r\nQUIT\n"
#define V2_CLIENT "\xc0\x00\x02\x01\xc0\x00\x02\x02\x04\xd2\x61\xa8"

/* A header, and what the log calls its client; NULL for one that names none. */
struct header {
    const char *bytes;
    size_t len;
    const char *client;
};

#define HEADER(bytes, client)                                                                      \
    {                                                                                              \
        bytes, sizeof(bytes) - 1, client                                                           \
    }

static const struct header headers[] = {
    HEADER("PROXY TCP4 192.0.2.1 192.0.2.2 1234 25000\r\n", "192.0.2.1:1234"),
    HEADER("PROXY TCP6 2001:db8::1 :: 1 65535\r\n", "[2001:db8::1]:1"),
    HEADER("PROXY UNKNOWN what follows is ignored\r\n", NULL),
    HEADER(V2 "\x21\x11\x00\x0c" V2_CLIENT, "192.0.2.1:1234"),
    HEADER(V2 "\x21\x11\x00\x13" V2_CLIENT "\x04\x00\x04noop", "192.0.2.1:1234"),
    HEADER(V2 "\x20\x00\x00\x05local", NULL),
};

enum { HEADERS = sizeof headers / sizeof *headers };

static void send_header(int fd, const struct header *header)
{
    client_send(fd, header->bytes, header->len);
}

static void expect_name(struct daemon *daemon, int fd, const struct header *header)
{
    char name[80];
    char line[256];
    (void)client_name(fd, name);
    if (header->client != NULL)
        (void)snprintf(line, sizeof line, "Connection from %s via %s", header->client, name);
    else
        (void)snprintf(line, sizeof line, "Connection from %s", name);
    (void)daemon_wait_line(daemon, line);
}

static void a_header_is_taken_off(struct daemon *daemon)
{
    daemon_start(daemon, "--proxy-from=127.0.0.1");
    for (int i = 0; i < HEADERS; i++) {
        int fd = client_connect(daemon);
        send_header(fd, &headers[i]);
        client_ping(fd, "GOT:", "one");
        expect_name(daemon, fd, &headers[i]);
        client_ping(fd, "GOT:", "two");
        client_leave(fd);
    }
    daemon_signal(daemon, SIGUSR1);
    (void)daemon_wait_line(daemon, "PROXY headers: 4 with a client, 2 without, 0 bad, 0 late");
}

/* In detail, the log has the proxy at the accept, and the client when the header is whole. */
static void a_client_that_says_nothing(struct daemon *daemon)
{
    daemon_start(daemon, "--proxy-from=127.0.0.1 --verbose");
    int anonymous = client_connect(daemon);
    (void)daemon_wait_line(daemon, "Connection from 127.0.0.1:");
    send_header(anonymous, &headers[5]);
    int fd = client_connect(daemon);
    (void)daemon_wait_line(daemon, "Connection from 127.0.0.1:");
    send_header(fd, &headers[0]);
    expect_name(daemon, fd, &headers[0]);
    client_leave(fd);
    (void)daemon_wait_line(daemon, "Connection closed: 192.0.2.1:1234 via 127.0.0.1:");
    client_leave(anonymous);
    (void)daemon_wait_line(daemon, "Connection closed: 127.0.0.1:");
    assert_int_equal(daemon_count(daemon, " via "), 2);
}

/* nginx#1400: a header of version 2 that came in two pieces was taken for a broken one. */
static void check_pieces(struct daemon *daemon, const struct header *header)
{
    for (size_t at = 1; at < header->len; at++) {
        int fd = client_connect(daemon);
        client_send(fd, header->bytes, at);
        client_wait_delivered(fd);
        client_send(fd, header->bytes + at, header->len - at);
        client_ping(fd, "GOT:", "x");
        client_leave(fd);
    }
}

static void a_header_in_pieces(struct daemon *daemon)
{
    daemon_start(daemon, PROXIED);
    for (int i = 0; i < HEADERS; i++)
        check_pieces(daemon, &headers[i]);
}

/* The client's bytes come in the segment of the header's last ones, which may be spliced. */
static void what_follows_in_the_segment(struct daemon *daemon)
{
    char bytes[256];
    daemon_start(daemon, PROXIED " --rfc862");
    for (int i = 0; i < HEADERS; i++) {
        int fd = client_connect(daemon);
        memcpy(bytes, headers[i].bytes, headers[i].len);
        memcpy(bytes + headers[i].len, "PROXY again\r\n", 13);
        client_send(fd, bytes, headers[i].len + 13);
        client_expect(fd, "PROXY again\r\n", 13);
        client_leave(fd);
    }
}

static void a_stream_behind_a_header(struct daemon *daemon)
{
    static struct stream stream;
    daemon_start(daemon, PROXIED " --rfc862");
    int fd = client_connect(daemon);
    send_header(fd, &headers[3]);
    stream_init(&stream, fd, 1, 4 << 20, false);
    streams_run(&stream, 1);
}

static void others_have_no_header(struct daemon *daemon)
{
    daemon_start(daemon, "--proxy-from=127.0.0.2 --proxy-from=2001:db8::/32 --proxy-from=unix");
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", headers[0].bytes);
    client_leave(fd);
    fd = client_connect_from(daemon, "127.0.0.2");
    send_header(fd, &headers[0]);
    client_ping(fd, "GOT:", "x");
    client_leave(fd);
}

static void a_unix_socket(struct daemon *daemon)
{
    char options[256];
    const char *path = harness_path("proxied");
    static const char client[] = V2 "\x21\x31\x00\xd8/run/client\0";
    char bytes[16 + 216] = "";
    (void)snprintf(options, sizeof options, "--proxy-from=unix --proxy-timeout=3600 --bind=unix:%s",
                   path);
    daemon_start(daemon, options);
    int fd = client_connect_unix(path);
    memcpy(bytes, client, sizeof client - 1);
    client_send(fd, bytes, sizeof bytes);
    client_ping(fd, "GOT:", "x");
    (void)daemon_wait_line(daemon, "Connection from unix:/run/client via unix:pid=");
    client_leave(fd);
}

/* Sends what is no header, and is reset. The reason is in the log. */
static void check_bad(struct daemon *daemon, const char *bytes, size_t len, const char *reason)
{
    daemon_start(daemon, PROXIED);
    int fd = client_connect(daemon);
    client_send(fd, bytes, len);
    assert_true(client_breaks(fd, HARNESS_DEADLINE_MS));
    assert_contains(daemon_wait_line(daemon, "PROXY header, the last from 127.0.0.1:"), reason);
    daemon_expect_stats(daemon, harness_workers(), "0 connections now, 1 in total; 0 bytes in");
    client_close(fd);
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
    daemon_forget(daemon);
}

#define CHECK_BAD(daemon, bytes, reason) check_bad(daemon, bytes, sizeof(bytes) - 1, reason)

static void a_bad_header(struct daemon *daemon)
{
    CHECK_BAD(daemon, "GET / HTTP/1.1\r\n\r\n", "there is none");
    CHECK_BAD(daemon, "PROXY TCP5 ", "neither TCP4 nor TCP6 nor UNKNOWN");
    CHECK_BAD(daemon, "PROXY TCP4 192.0.2.01 192.0.2.2 1234 25000\r\n", "malformed address");
    CHECK_BAD(daemon, "PROXY TCP4 192.0.2.1 192.0.2.2 1234 2500\n", "CR and LF");
    CHECK_BAD(daemon, V2 "\x31\x11\x00\x0c", "unknown version");
    CHECK_BAD(daemon, V2 "\x22\x11\x00\x0c", "unknown command");
    CHECK_BAD(daemon, V2 "\x21\x41\x00\x0c", "unknown address family");
    CHECK_BAD(daemon, V2 "\x21\x11\x00\x0b", "too short for its addresses");
    CHECK_BAD(daemon, V2 "\x21\x11\x10\x00", "too long");
    CHECK_BAD(daemon, V2 "\x21\x11\x00\x0f" V2_CLIENT "\x04\x00\x01", "a TLV is longer");
    CHECK_BAD(daemon, V2 "\x21\x11\x00\x13" V2_CLIENT "\x03\x00\x04nope", "wrong checksum");
}

/* However many come, there is a line a second at most; none is counted twice, and none left out. */
static void a_flood_of_bad_headers(struct daemon *daemon)
{
    enum { FLOOD = 200 };
    daemon_start(daemon, PROXIED);
    uint64_t began_ms = harness_now_ms();
    for (int i = 0; i < FLOOD; i++) {
        int fd = client_connect(daemon);
        client_send(fd, "x", 1);
        assert_true(client_breaks(fd, HARNESS_DEADLINE_MS));
        client_close(fd);
    }
    daemon_expect_stats(daemon, harness_workers(), "0 connections now, 200 in total");
    (void)daemon_wait_line(daemon, "PROXY headers: 0 with a client, 0 without, 200 bad, 0 late");
    uint64_t seconds = (harness_now_ms() - began_ms) / 1000;
    assert_in_range(daemon_count(daemon, "reset for "), 1,
                    seconds + 2); /* one for a part of each */
}

static void an_end_within_a_header(struct daemon *daemon)
{
    daemon_start(daemon, PROXIED);
    int fd = client_connect(daemon);
    client_send(fd, "PROXY", 5);
    client_shutdown(fd);
    assert_true(client_breaks(fd, HARNESS_DEADLINE_MS));
    client_close(fd);
    (void)daemon_wait_line(daemon, "the connection ended before it was whole");
}

static void a_health_check(struct daemon *daemon)
{
    daemon_start(daemon, PROXIED);
    client_leave(client_connect(daemon));
    int fd = client_connect(daemon);
    send_header(fd, &headers[5]);
    client_leave(fd);
    daemon_expect_stats(daemon, harness_workers(), "0 connections now, 2 in total");
    (void)daemon_wait_line(daemon, "PROXY headers: 0 with a client, 1 without, 0 bad, 0 late");
    assert_int_equal(daemon_count(daemon, "Connection"), 0);
}

/* The time counts from the accept; whoever has sent a whole header has all the time there is. */
static void a_late_header(struct daemon *daemon)
{
    daemon_start(daemon, "--proxy-from=127.0.0.0/8 --proxy-timeout=3");
    int whole = client_connect(daemon);
    send_header(whole, &headers[0]);
    client_ping(whole, "GOT:", "x");
    int partial = client_connect(daemon);
    int silent = client_connect(daemon);
    client_send(partial, "PROXY", 5);
    assert_true(client_breaks(partial, HARNESS_DEADLINE_MS));
    (void)daemon_wait_line(daemon, "it was not whole in time");
    assert_true(client_breaks(silent, HARNESS_DEADLINE_MS));
    client_ping(whole, "GOT:", "y");
    client_leave(whole);
    client_close(partial);
    client_close(silent);
    daemon_signal(daemon, SIGUSR1);
    (void)daemon_wait_line(daemon, "PROXY headers: 1 with a client, 0 without, 0 bad, 2 late");
}

static void a_stop_while_headers_are_awaited(struct daemon *daemon)
{
    daemon_start(daemon, PROXIED " --drain-timeout=1");
    int silent = client_connect(daemon);
    int partial = client_connect(daemon);
    client_send(partial, "PROXY", 5);
    client_wait_delivered(partial);
    daemon_signal(daemon, SIGTERM);
    assert_true(client_readable(silent, HARNESS_DEADLINE_MS));
    client_expect_end(silent);
    assert_true(client_readable(partial, HARNESS_DEADLINE_MS));
    client_expect_end(partial);
    client_close(silent);
    client_close(partial);
    assert_int_equal(daemon_wait_exit(daemon), 0);
}

/* ---- successors ---- */

static void upgrade(struct daemon *daemon)
{
    daemon_signal(daemon, SIGUSR2);
    (void)daemon_wait_line(daemon, "Took over ");
}

/* Connections with so much of a header that each byte is the last of one of them. */
static void open_at_each_byte(struct daemon *daemon, const struct header *header, int *fds)
{
    for (size_t at = 0; at <= header->len; at++) {
        fds[at] = client_connect(daemon);
        client_send(fds[at], header->bytes, at);
    }
    for (size_t at = 0; at <= header->len; at++)
        client_wait_delivered(fds[at]);
}

static void end_at_each_byte(const struct header *header, const int *fds)
{
    for (size_t at = 0; at <= header->len; at++) {
        client_send(fds[at], header->bytes + at, header->len - at);
        client_ping(fds[at], "GOT:", "x");
        client_leave(fds[at]);
    }
}

static void an_upgrade_at_each_byte(struct daemon *daemon)
{
    static int fds[256];
    daemon_start(daemon, PROXIED);
    for (int i = 0; i < HEADERS; i++) {
        open_at_each_byte(daemon, &headers[i], fds);
        upgrade(daemon);
        upgrade(daemon);
        end_at_each_byte(&headers[i], fds);
    }
    assert_int_equal(daemon_count(daemon, "Cannot "), 0);
    assert_int_equal(daemon_count(daemon, "reset for "), 0);
}

/* Nobody counts the bytes of a Unix socket, so there the notes must do. */
static void an_upgrade_at_each_byte_of_a_unix_socket(struct daemon *daemon)
{
    static int fds[256];
    char options[256];
    const struct header *header = &headers[4];
    const char *path = harness_path("half");
    (void)snprintf(options, sizeof options, "--proxy-from=unix --proxy-timeout=3600 --bind=unix:%s",
                   path);
    daemon_start(daemon, options);
    for (size_t at = 0; at <= header->len; at++) {
        fds[at] = client_connect_unix(path);
        client_send(fds[at], header->bytes, at);
        client_wait_delivered(fds[at]);
    }
    upgrade(daemon);
    end_at_each_byte(header, fds);
    assert_int_equal(daemon_count(daemon, "Cannot "), 0);
    assert_int_equal(daemon_count(daemon, "reset for "), 0);
}

static void statistics_go_on(struct daemon *daemon)
{
    daemon_start(daemon, PROXIED);
    int fd = client_connect(daemon);
    send_header(fd, &headers[0]);
    client_ping(fd, "GOT:", "x");
    int partial = client_connect(daemon);
    client_send(partial, headers[0].bytes, 20);
    client_wait_delivered(partial);
    upgrade(daemon);
    client_send(partial, headers[0].bytes + 20, headers[0].len - 20);
    client_ping(partial, "GOT:", "x");
    daemon_expect_stats(daemon, harness_workers(), "2 connections now, 2 in total; 2 bytes in");
    (void)daemon_wait_line(daemon, "PROXY headers: 2 with a client, 0 without, 0 bad, 0 late");
    client_leave(fd);
    client_leave(partial);
}

static void a_crash_at_each_byte(struct daemon *daemon)
{
    static int fds[256];
    daemon_start(daemon, "--keep " PROXIED);
    for (int i = 0; i < HEADERS && i < DAEMON_CRASHES; i++) {
        open_at_each_byte(daemon, &headers[i], fds);
        assert_int_equal(kill(daemon_child(daemon), SIGKILL), 0);
        (void)daemon_wait_line(daemon, "starting a successor");
        end_at_each_byte(&headers[i], fds);
    }
    assert_int_equal(daemon_count(daemon, "Cannot "), 0);
    assert_int_equal(daemon_count(daemon, "reset for "), 0);
}

/* The daemon is killed while it reads: nobody waits until it has read what was sent. */
static void crashes_while_headers_come(struct daemon *daemon)
{
    enum { CLIENTS = 40 };
    int fds[CLIENTS];
    const struct header *header = &headers[4];
    const size_t piece = header->len / DAEMON_CRASHES;
    daemon_start(daemon, "--keep " PROXIED);
    for (int i = 0; i < CLIENTS; i++)
        fds[i] = client_connect(daemon);
    for (size_t at = 0; at < header->len; at += piece) {
        size_t len = header->len - at < piece ? header->len - at : piece;
        for (int i = 0; i < CLIENTS; i++)
            client_send(fds[i], header->bytes + at, len);
        if (len < piece)
            break;
        assert_int_equal(kill(daemon_child(daemon), SIGKILL), 0);
        (void)daemon_wait_line(daemon, "starting a successor");
    }
    for (int i = 0; i < CLIENTS; i++) {
        client_ping(fds[i], "GOT:", "x");
        client_leave(fds[i]);
    }
    assert_int_equal(daemon_count(daemon, "Cannot "), 0);
    assert_int_equal(daemon_count(daemon, "reset for "), 0);
}

/* Clients behind proxies, and others; the daemon has read the header of each. */
enum { BEHIND = 2, NAMED = 4 };

static void open_named(struct daemon *daemon, int *fds)
{
    static const int sent[NAMED] = {0, 1, 2, 5}; /* two headers that name the client, two without */
    for (int i = 0; i < NAMED; i++) {
        fds[i] = client_connect(daemon);
        send_header(fds[i], &headers[sent[i]]);
        client_ping(fds[i], "GOT:", "x");
    }
}

/* The line says who was there: the client and the proxy, or the proxy alone. */
static void expect_closed(struct daemon *daemon, int fd, const struct header *header)
{
    char name[80];
    char line[256];
    (void)client_name(fd, name);
    if (header != NULL)
        (void)snprintf(line, sizeof line, "Connection closed: %s via %s", header->client, name);
    else
        (void)snprintf(line, sizeof line, "Connection closed: %s", name);
    client_leave(fd);
    (void)daemon_wait_line(daemon, line);
}

static void close_named(struct daemon *daemon, const int *fds)
{
    for (int i = 0; i < NAMED; i++) {
        client_ping(fds[i], "GOT:", "y");
        expect_closed(daemon, fds[i], i < BEHIND ? &headers[i] : NULL);
    }
}

/* Those that come next get the descriptors of those that have left, and none of their names. */
static void check_next(struct daemon *daemon, void (*succeed)(struct daemon *daemon))
{
    int plain = client_connect_from(daemon, "127.0.0.2");
    client_ping(plain, "GOT:", "x");
    int anonymous = client_connect(daemon);
    send_header(anonymous, &headers[2]);
    client_ping(anonymous, "GOT:", "x");
    int other = client_connect(daemon);
    send_header(other, &headers[1]);
    client_ping(other, "GOT:", "x");
    succeed(daemon);
    client_ping(plain, "GOT:", "y");
    expect_closed(daemon, plain, NULL);
    expect_closed(daemon, anonymous, NULL);
    expect_closed(daemon, other, &headers[1]);
}

static void crash(struct daemon *daemon)
{
    assert_int_equal(kill(daemon_child(daemon), SIGKILL), 0);
    (void)daemon_wait_line(daemon, "Took over ");
}

#define NAMING "--proxy-from=127.0.0.1 --proxy-timeout=3600 "

static void names_outlive_upgrades(struct daemon *daemon)
{
    int fds[NAMED];
    daemon_start(daemon, NAMING);
    open_named(daemon, fds);
    upgrade(daemon);
    upgrade(daemon);
    close_named(daemon, fds);
    check_next(daemon, upgrade);
}

static void names_outlive_crashes(struct daemon *daemon)
{
    int fds[NAMED];
    daemon_start(daemon, "--keep " NAMING);
    open_named(daemon, fds);
    crash(daemon);
    crash(daemon);
    close_named(daemon, fds);
    check_next(daemon, crash);
}

/* The options of the next daemon need more room, so the names move to another ledger. */
static void names_outlive_restarts(struct daemon *daemon)
{
    struct manager manager;
    int fds[NAMED];
    manager_start(&manager, daemon, NAMING "--max-connections=10");
    open_named(daemon, fds);
    (void)manager_restart(&manager, daemon, NAMING "--max-connections=10");
    (void)manager_restart(&manager, daemon, NAMING "--max-connections=1000");
    close_named(daemon, fds);
    manager_stop(&manager, daemon);
}

static void wrong_values(struct daemon *daemon)
{
    (void)daemon;
    static const char *const wrong[] = {"192.0.2.0/33", "192.0.2.0/", "2001:db8::/129", "host",
                                        "192.0.2/24",   "/8",         "192.0.2.0/08"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char option[64];
        (void)snprintf(option, sizeof option, "--proxy-from=%s", wrong[i]);
        (void)harness_run_refused(&(struct launch){.options = option}, 2, "--proxy-from", wrong[i]);
    }
    (void)harness_run_refused(&(struct launch){.options = "--proxy-timeout=0"}, 2,
                              "--proxy-timeout", "0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        e2e_test(a_header_is_taken_off),
        e2e_test(a_client_that_says_nothing),
        e2e_test(a_header_in_pieces),
        e2e_test(what_follows_in_the_segment),
        e2e_test(a_stream_behind_a_header),
        e2e_test(others_have_no_header),
        e2e_test(a_unix_socket),
        e2e_test(a_bad_header),
        e2e_test(a_flood_of_bad_headers),
        e2e_test(an_end_within_a_header),
        e2e_test(a_health_check),
        e2e_test(a_late_header),
        e2e_test(a_stop_while_headers_are_awaited),
        e2e_test(an_upgrade_at_each_byte),
        e2e_test(an_upgrade_at_each_byte_of_a_unix_socket),
        e2e_test(statistics_go_on),
        e2e_test(a_crash_at_each_byte),
        e2e_test(crashes_while_headers_come),
        e2e_test(names_outlive_upgrades),
        e2e_test(names_outlive_crashes),
        e2e_test(names_outlive_restarts),
        e2e_test(wrong_values),
    };
    harness_init();
    return cmocka_run_group_tests_name("proxy", tests, NULL, NULL);
}
