/*
 * test_abuse.c - the limits that keep one source, a flood of connections, or clients that take no
 * answers from filling the daemon: --max-per-source, --max-rate and --send-timeout.
 */
#include "harness.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- --max-per-source ---- */

/* The daemon has accepted the connection and closes it without a word. */
static void expect_refused(int fd)
{
    char byte;
    ssize_t n = recv(fd, &byte, 1, 0);
    assert_true(n == 0 || (n < 0 && errno == ECONNRESET));
    client_close(fd);
}

/*
 * Reads the lines about refusals until they tell of so many. How many lines there are depends on
 * the machine's speed: there is one a second at most. Returns the last one.
 */
static const char *expect_refusals(struct daemon *daemon, long expected)
{
    const char *line;
    long refused = 0;
    do {
        line = daemon_wait_line(daemon, "--max-per-source=");
        refused += strtol(line, NULL, 10);
    } while (refused < expected);
    assert_int_equal(refused, expected);
    return line;
}

static void one_source_has_its_share(struct daemon *daemon)
{
    daemon_start(daemon, "--max-per-source=2");
    int first = client_connect_from(daemon, "127.0.0.2");
    int second = client_connect_from(daemon, "127.0.0.2");
    client_ping(first, "GOT:", "first");
    client_ping(second, "GOT:", "second");
    expect_refused(client_connect_from(daemon, "127.0.0.2"));
    expect_refused(client_connect_from(daemon, "127.0.0.2"));
    int other = client_connect_from(daemon, "127.0.0.3");
    client_ping(other, "GOT:", "another source");
    client_ping(first, "GOT:", "first again");
    assert_contains(expect_refusals(daemon, 2), " refused, the last from 127.0.0.2:");
    daemon_expect_stats(daemon, 1, "0 refused; 0 accept pauses; 2 refused per source; ");
    daemon_expect_stats(daemon, 1, "3 connections now, 3 in total;");
}

/* A client that has seen the end of its connection may come again at once. */
static void place_is_free_when_the_end_shows(struct daemon *daemon)
{
    enum { TIMES = 300 };
    daemon_start(daemon, "--max-per-source=1 --workers=3");
    for (int i = 0; i < TIMES; i++) {
        int fd = client_connect(daemon);
        client_ping(fd, "GOT:", "me again");
        client_leave(fd);
    }
    daemon_expect_stats(daemon, 3, "; 0 refused per source; ");
}

/* One source connects all the time. Others are served, and the log has a line a second at most. */
static void flood_from_one_source(struct daemon *daemon)
{
    enum { FLOOD = 2000, HELD = 5 };
    daemon_start(daemon, "--max-per-source=5 --max-connections=20");
    uint64_t begin_ms = harness_now_ms();
    int held[HELD];
    for (int i = 0; i < HELD; i++) {
        held[i] = client_connect_from(daemon, "127.0.0.2");
        client_ping(held[i], "GOT:", "held");
    }
    for (int i = 0; i < FLOOD; i++) {
        expect_refused(client_connect_from(daemon, "127.0.0.2"));
        if (i % 100 == 0) {
            int other = client_connect_from(daemon, "127.0.0.3");
            client_ping(other, "GOT:", "other");
            client_leave(other);
        }
    }
    daemon_expect_stats(daemon, 1, "; 2000 refused per source; ");
    for (int i = 0; i < HELD; i++)
        client_close(held[i]);
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0); /* the last line comes now at the latest */
    unsigned seconds = (unsigned)((harness_now_ms() - begin_ms) / 1000);
    unsigned lines = daemon_count(daemon, "--max-per-source=5");
    assert_between(lines, 1, seconds + 2);
    daemon->log_seen = 0;
    (void)expect_refusals(daemon, FLOOD);
}

static void sources_of_ipv6(struct daemon *daemon)
{
    harness_need_ipv6();
    daemon_start(daemon, "--max-per-source=1");
    int first = client_connect_to(daemon, "::1");
    client_ping(first, "GOT:", "first");
    expect_refused(client_connect_to(daemon, "::1"));
    int other = client_connect_to(daemon, "127.0.0.1");
    client_ping(other, "GOT:", "another source");
    const char *line = daemon_wait_line(daemon, "--max-per-source=1");
    assert_contains(line, "1 connection refused, the last from [::1]:");
}

/* The user at the other end is the source. */
static void sources_of_a_unix_socket(struct daemon *daemon)
{
    daemon_start(daemon, "--max-per-source=1 --bind=unix:@uvechod-abuse --bind=127.0.0.1");
    int first = client_connect_unix("@uvechod-abuse");
    client_ping(first, "GOT:", "first");
    expect_refused(client_connect_unix("@uvechod-abuse"));
    int other = client_connect(daemon);
    client_ping(other, "GOT:", "another source");
}

/* ---- --max-rate ---- */

/* All are served, but no faster than allowed, and the daemon sleeps in between. */
static void a_flood_is_slowed_down(struct daemon *daemon)
{
    enum { RATE = 5, CLIENTS = 3 * RATE };
    int fds[CLIENTS];
    daemon_start(daemon, "--max-rate=5");
    uint64_t begin_ms = harness_now_ms();
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = client_connect(daemon);
        client_send(fds[i], "me", 2);
    }
    for (int i = 0; i < RATE; i++)
        client_expect(fds[i], "GOT:me", 6);
    struct daemon_thread before = daemon_threads_sum(daemon);
    for (int i = RATE; i < CLIENTS; i++)
        client_expect(fds[i], "GOT:me", 6);
    uint64_t passed_ms = harness_now_ms() - begin_ms;
    struct daemon_thread after = daemon_threads_sum(daemon);
    assert_true(passed_ms >= 1990); /* the first five came at once, the others one every 200 ms */
    assert_between(after.cpu_ms - before.cpu_ms, 0, 300);
    unsigned lines = daemon_count(daemon, "--max-rate=5 is reached: connections wait");
    assert_between(lines, 1, passed_ms / 1000 + 1);
    for (int i = 0; i < CLIENTS; i++)
        client_close(fds[i]);
}

/* Nothing but the wait for the next token keeps the daemon's loop running. */
static void waits_without_a_connection(struct daemon *daemon)
{
    daemon_start(daemon, "--bind=127.0.0.1 --max-rate=1");
    do
        client_visit(daemon);
    while (daemon_count(daemon, "--max-rate=1 is reached") == 0);
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
}

/*
 * A flood waits at one address when a client comes to another. It is not served after the flood:
 * the addresses take turns. The daemon stands still meanwhile, so that it finds both at once.
 */
static void sockets_share_the_rate(struct daemon *daemon)
{
    enum { RATE = 10, FLOOD = 3 * RATE };
    int fds[FLOOD];
    char client[80];
    daemon_start(daemon, "--bind=127.0.0.1 --bind=127.0.0.2 --max-rate=10");
    daemon_freeze(daemon);
    for (int i = 0; i < FLOOD; i++) {
        fds[i] = client_connect_to(daemon, "127.0.0.1");
        client_send(fds[i], "me", 2);
    }
    int other = client_connect_to(daemon, "127.0.0.2");
    client_send(other, "my turn", 7);
    daemon_signal(daemon, SIGCONT);
    (void)client_name(other, client);
    int before = 0; /* those that were served before */
    while (strstr(daemon_wait_line(daemon, "Connection from "), client) == NULL)
        before++;
    assert_between(before, 0, RATE + 1);
    for (int i = 0; i < FLOOD; i++)
        client_close(fds[i]);
    client_close(other);
}

/* ---- --send-timeout ---- */

/* Waits until the daemon has reset the connection, at least so long after the time begin_ms. */
static void expect_reset(struct daemon *daemon, int fd, uint64_t begin_ms, unsigned least_ms)
{
    char client[80];
    (void)client_name(fd, client);
    assert_true(client_breaks(fd, HARNESS_DEADLINE_MS));
    assert_true(harness_now_ms() - begin_ms >= least_ms);
    const char *line = daemon_wait_line(daemon, "Connection closed");
    assert_contains(line, client);
    assert_contains(line, "took no answer for too long");
}

static void a_client_that_takes_nothing(struct daemon *daemon)
{
    enum { BYTES = 1 << 20 };
    static char bytes[BYTES];
    daemon_start(daemon, "--send-timeout=2");
    int lively = client_connect(daemon);
    client_ping(lively, "GOT:", "lively");
    int fd = client_connect_small(daemon);
    uint64_t begin_ms = harness_now_ms();
    while (send(fd, bytes, sizeof bytes, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
        ;
    expect_reset(daemon, fd, begin_ms, 2000);
    client_ping(lively, "GOT:", "it holds nothing, so it stays");
    assert_int_equal(daemon_count(daemon, "Connection closed"), 1);
}

/* It sends all the time, and the daemon's kernel still has room for the answers. */
static void a_client_that_sends_and_takes_nothing(struct daemon *daemon)
{
    enum { FIRST = 20000 };
    static char bytes[FIRST];
    daemon_start(daemon, "--send-timeout=2 --rfc862");
    int fd = client_connect_small(daemon);
    uint64_t begin_ms = harness_now_ms();
    client_send(fd, bytes, sizeof bytes); /* more than the client's own kernel takes for it */
    while (!client_breaks(fd, 20))
        (void)send(fd, "x", 1, MSG_DONTWAIT | MSG_NOSIGNAL);
    expect_reset(daemon, fd, begin_ms, 2000);
}

/*
 * Takes a little all the time, for longer than --send-timeout. It reads more than a segment at
 * once, so that its kernel announces room: test_limits.c. Returns whether this process was never so
 * late that the daemon may have given the connection up.
 */
static bool take_a_little(int fd, size_t left)
{
    enum { STEPS = 12, STEP = 200000, LATE_MS = 1500 };
    static char bytes[STEP];
    bool in_time = true;
    for (int i = 0; i < STEPS && left > STEP && in_time; i++) {
        uint64_t begin_ms = harness_now_ms();
        ssize_t n = recv(fd, bytes, STEP, MSG_WAITALL);
        bool broken = client_breaks(fd, 300);
        in_time = harness_now_ms() - begin_ms < LATE_MS;
        assert_true(!in_time || (n == STEP && !broken));
        left -= STEP;
    }
    return in_time;
}

static void a_client_that_takes_a_little(struct daemon *daemon)
{
    bool done = false;
    daemon_start(daemon, "--send-timeout=2 --rfc862");
    for (int tries = 5; tries > 0 && !done; tries--) {
        struct stream stream;
        int fd = client_connect(daemon);
        stream_init(&stream, fd, 1, UINT64_MAX, false);
        streams_jam(&stream, 1);
        done = !client_breaks(fd, 0) && take_a_little(fd, (size_t)stream.total);
        client_close(fd);
    }
    assert_true(done);
}

static void a_client_of_a_unix_socket(struct daemon *daemon)
{
    enum { BYTES = 1 << 20 };
    static char bytes[BYTES];
    daemon_start(daemon, "--send-timeout=2 --bind=unix:@uvechod-abuse --bind=127.0.0.1");
    int fd = client_connect_unix("@uvechod-abuse");
    uint64_t begin_ms = harness_now_ms();
    while (send(fd, bytes, sizeof bytes, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
        ;
    const char *line = daemon_wait_line(daemon, "Connection closed");
    assert_contains(line, "took no answer for too long");
    assert_true(harness_now_ms() - begin_ms >= 2000);
    client_close(fd);
}

int main(void)
{
    harness_init();
    const struct CMUnitTest tests[] = {
        e2e_test(one_source_has_its_share),     e2e_test(place_is_free_when_the_end_shows),
        e2e_test(flood_from_one_source),        e2e_test(sources_of_ipv6),
        e2e_test(sources_of_a_unix_socket),     e2e_test(a_flood_is_slowed_down),
        e2e_test(waits_without_a_connection),   e2e_test(sockets_share_the_rate),
        e2e_test(a_client_that_takes_nothing),  e2e_test(a_client_that_sends_and_takes_nothing),
        e2e_test(a_client_that_takes_a_little), e2e_test(a_client_of_a_unix_socket),
    };
    return cmocka_run_group_tests_name("e2e.abuse", tests, NULL, NULL);
}
