/*
 * test_hostile.c - clients that never read, reset their connections, connect and leave all the
 * time, or send nonsense. They do not disturb other clients, and their memory and descriptors are
 * given back.
 */
#include "harness.h"

#include <stdlib.h>

enum {
    FAR_TOO_MUCH = 1 << 28, /* bytes: more than the buffers of any socket hold */
    NEVER_READERS = 50,
    STUCK = 1000,
    CROWD = 15000,
    /* What stays of a crowd, because it is by descriptor: 16 bytes of the ledger, and a pointer in
     * a table of each of up to four loops, which libuv doubles and never shrinks. */
    TABLES_KB = CROWD * (16 + 4 * 2 * 8) / 1024,
    RESETS = 200,
    COMINGS_AND_GOINGS = 20000,
    BUFFER_KB = 128, /* more than a connection with an unsent answer takes */
    ANSWER_KB = 60,  /* less than a connection with a long unsent answer takes */
    SLACK_KB = 2048, /* memory that a daemon may keep */
};

/* The resources of a daemon that has served some clients. */
struct weight {
    long memory_kb;
    long fds;
};

static struct weight start_weighed(struct daemon *daemon, const char *options)
{
    daemon_start(daemon, options);
    for (int i = 0; i < 20; i++) {
        int fd = client_connect(daemon);
        client_ping(fd, "GOT:", "hello");
        client_leave(fd);
    }
    return (struct weight){daemon_memory_kb(daemon), daemon_fds(daemon)};
}

/* The daemon has given back memory and descriptors, sleeps, and serves new clients. */
static void check_recovered(struct daemon *daemon, const struct weight *before)
{
    daemon_wait_figure(daemon, daemon_fds, before->fds);
    if (harness_may_weigh())
        daemon_wait_figure(daemon, daemon_memory_kb, before->memory_kb + SLACK_KB);
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "hello");
    daemon_assert_asleep(daemon);
    client_ping(fd, "GOT:", "hello again");
    client_close(fd);
}

/* ---- clients that never read ---- */

static void never_reads_and_then_does(struct daemon *daemon)
{
    struct weight before = start_weighed(daemon, NULL);
    int other = client_connect(daemon);
    struct stream stream;
    stream_init(&stream, client_connect(daemon), 1, FAR_TOO_MUCH, true);
    streams_jam(&stream, 1);
    print_message("[          ] blocked after %llu bytes\n", (unsigned long long)stream.sent);
    client_ping(other, "GOT:", "I do not care");
    if (harness_may_weigh())
        assert_between(daemon_memory_kb(daemon), 0, before.memory_kb + SLACK_KB);
    daemon_assert_asleep(daemon);
    client_ping(other, "GOT:", "nor do I now");
    streams_run(&stream, 1);
    assert_int_equal(stream.checked, stream.total);
    client_close(other);
    check_recovered(daemon, &before);
}

/* The client also sends a FIN after the data. The daemon must not spin on the FIN. */
static void never_reads_after_its_end(struct daemon *daemon)
{
    struct weight before = start_weighed(daemon, NULL);
    struct stream stream;
    stream_init(&stream, client_connect(daemon), 1, FAR_TOO_MUCH, true);
    streams_jam(&stream, 1);
    client_shutdown(stream.fd);
    stream.shut = true;
    daemon_assert_asleep(daemon);
    streams_run(&stream, 1);
    check_recovered(daemon, &before);
}

static void many_never_read(struct daemon *daemon)
{
    static struct stream streams[NEVER_READERS];
    struct weight before = start_weighed(daemon, NULL);
    int other = client_connect(daemon);
    for (unsigned i = 0; i < NEVER_READERS; i++) {
        stream_init(&streams[i], client_connect_small(daemon), i, FAR_TOO_MUCH, true);
        client_ping(other, "GOT:", "I do not care");
    }
    streams_jam(streams, NEVER_READERS);
    client_ping(other, "GOT:", "nor do I now");
    if (harness_may_weigh())
        assert_between(daemon_memory_kb(daemon), 0,
                       before.memory_kb + SLACK_KB + NEVER_READERS * BUFFER_KB);
    streams_run(streams, NEVER_READERS / 2); /* these read everything, the others are reset */
    for (size_t i = NEVER_READERS / 2; i < NEVER_READERS; i++)
        client_reset(streams[i].fd);
    client_close(other);
    check_recovered(daemon, &before);
}

/* A permutation of 0 to count - 1, the same in every run. */
static void shuffle(size_t *order, size_t count)
{
    unsigned seed = 9;
    for (size_t i = 0; i < count; i++) {
        size_t other = (size_t)rand_r(&seed) % (i + 1);
        order[i] = order[other];
        order[other] = i;
    }
}

/* Sends until no socket takes more, and the daemon has at least memory_kb in memory. */
static void jam(const struct daemon *daemon, const int *fds, size_t count, long memory_kb)
{
    uint64_t deadline = harness_now_ms() + HARNESS_DEADLINE_MS;
    bool weigh = harness_may_weigh();
    bool taken;
    do {
        taken = false;
        for (size_t i = 0; i < count; i++)
            if (send(fds[i], pattern_get(false), 65536, MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
                taken = true;
        if (harness_now_ms() > deadline)
            fail_msg("The daemon has only %ld KB in memory", daemon_memory_kb(daemon));
    } while (taken || (weigh && daemon_memory_kb(daemon) < memory_kb));
}

/*
 * The buffers of many unsent answers are given back, even if the clients leave in random order.
 * Unix sockets are used, because few bytes fill them.
 */
static void memory_comes_back(struct daemon *daemon)
{
    static int fds[STUCK];
    static size_t order[STUCK];
    char options[200];
    const char *path = harness_path("stuck");
    (void)snprintf(options, sizeof options, "--bind=127.0.0.1 --bind=unix:%s", path);
    struct weight before = start_weighed(daemon, options);
    for (int i = 0; i < STUCK; i++)
        fds[i] = client_connect_unix(path);
    jam(daemon, fds, STUCK, before.memory_kb + STUCK * ANSWER_KB);
    shuffle(order, STUCK);
    for (size_t i = 0; i < STUCK; i++)
        client_close(fds[order[i]]);
    check_recovered(daemon, &before);
}

/* A client that reads slowly also gets all bytes. */
static void reads_byte_by_byte(struct daemon *daemon)
{
    daemon_start(daemon, "--rfc862");
    struct stream stream;
    stream_init(&stream, client_connect_small(daemon), 5, FAR_TOO_MUCH, false);
    streams_jam(&stream, 1);
    for (size_t i = 0; i < 20000; i++)
        client_expect(stream.fd, stream.pattern + (stream.start + i) % PATTERN_BYTES, 1);
    stream.checked = 20000;
    streams_run(&stream, 1);
    assert_int_equal(stream.checked, stream.total);
}

/* ---- resets ---- */

static void reset_at_once(const struct daemon *daemon)
{
    client_reset(client_connect(daemon));
}

static void reset_after_a_send(const struct daemon *daemon)
{
    int fd = client_connect(daemon);
    client_send(fd, pattern_get(false), 5000);
    client_reset(fd);
}

static void reset_with_answers_unread(const struct daemon *daemon)
{
    int fd = client_connect(daemon);
    client_send(fd, "hello", 5);
    client_expect(fd, "GOT", 3);
    client_reset(fd);
}

static void reset_after_half_close(const struct daemon *daemon)
{
    int fd = client_connect(daemon);
    client_send(fd, pattern_get(false), 5000);
    client_shutdown(fd);
    client_reset(fd);
}

/* Sends until the buffers of both directions are full. Returns the socket. */
static int press(const struct daemon *daemon)
{
    struct stream stream;
    stream_init(&stream, client_connect_small(daemon), 1, FAR_TOO_MUCH, true);
    for (int refused = 0; refused<3; refused = stream_send(&stream)> 0 ? 0 : refused + 1)
        (void)client_readable(stream.fd, 0);
    return stream.fd;
}

static void reset_in_backpressure(const struct daemon *daemon)
{
    client_reset(press(daemon));
}

static void reset_in_backpressure_after_half_close(const struct daemon *daemon)
{
    int fd = press(daemon);
    client_shutdown(fd);
    client_reset(fd);
}

static void resets_in_every_state(struct daemon *daemon)
{
    static void (*const resets[])(const struct daemon *) = {
        reset_at_once,          reset_after_a_send,    reset_with_answers_unread,
        reset_after_half_close, reset_in_backpressure, reset_in_backpressure_after_half_close,
    };
    struct weight before = start_weighed(daemon, NULL);
    int other = client_connect(daemon);
    for (int i = 0; i < RESETS; i++) {
        for (size_t j = 0; j < sizeof resets / sizeof *resets; j++)
            resets[j](daemon);
        client_ping(other, "GOT:", "I do not care");
    }
    client_close(other);
    check_recovered(daemon, &before);
}

/* The clients reset their connections while the daemon waits to send to them. */
static void resets_of_the_jammed(struct daemon *daemon)
{
    struct weight before = start_weighed(daemon, NULL);
    struct stream streams[8];
    for (unsigned i = 0; i < 8; i++)
        stream_init(&streams[i], client_connect_small(daemon), i, FAR_TOO_MUCH, true);
    streams_jam(streams, 8);
    for (size_t i = 0; i < 8; i++)
        client_reset(streams[i].fd);
    check_recovered(daemon, &before);
    assert_int_equal(daemon_count(daemon, "(Connection reset by peer)"), 8);
}

/* ---- many connections ---- */

static void comings_and_goings(struct daemon *daemon)
{
    struct weight before = start_weighed(daemon, NULL);
    for (int i = 0; i < COMINGS_AND_GOINGS; i++) {
        int fd = client_connect(daemon);
        if (i % 4 == 1)
            client_send(fd, "hello", 5);
        if (i % 4 == 3)
            client_ping(fd, "GOT:", "hello");
        if (i % 2 == 0)
            client_close(fd);
        else
            client_reset(fd);
    }
    check_recovered(daemon, &before);
}

/* More clients connect at once than one turn accepts, and they also close together. */
static void a_thousand_at_once(struct daemon *daemon)
{
    enum { CLIENTS = 1000 };
    static int fds[CLIENTS];
    struct weight before = start_weighed(daemon, NULL);
    for (int i = 0; i < CLIENTS; i++)
        fds[i] = client_connect(daemon);
    for (int i = 0; i < CLIENTS; i++)
        client_send(fds[i], "all of us", 9);
    for (int i = 0; i < CLIENTS; i++)
        client_expect(fds[i], "GOT:all of us", 13);
    for (int i = 0; i < CLIENTS; i++)
        client_close(fds[i]);
    check_recovered(daemon, &before);
}

/*
 * The memory of idle connections is given back, too. Each takes little, so there are many. The
 * daemon has served no client before, so that memory which free() keeps lies between the
 * connections.
 */
static void a_crowd_leaves_in_any_order(struct daemon *daemon)
{
    static int fds[CROWD];
    static size_t order[CROWD];
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_cur < CROWD + 100)
        harness_skip("too few descriptors");
    daemon_start(daemon, NULL);
    daemon_assert_asleep(daemon); /* also the workers, whose threads take memory when they begin */
    const struct weight before = {daemon_memory_kb(daemon) + TABLES_KB, daemon_fds(daemon)};
    for (int i = 0; i < CROWD; i++)
        fds[i] = client_connect(daemon);
    client_ping(fds[CROWD - 1], "GOT:", "hello");
    shuffle(order, CROWD);
    for (size_t i = 0; i < CROWD; i++)
        client_reset(fds[order[i]]);
    check_recovered(daemon, &before);
}

/* ---- nonsense ---- */

/* Requests of other protocols are echoed like any bytes. */
static void other_protocols(struct daemon *daemon)
{
    static const char http[] = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    static const char tls[] = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00\x00";
    static const char nuls[900];
    daemon_start(daemon, NULL);
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", http);
    client_send(fd, tls, sizeof tls);
    client_expect(fd, "GOT:", 4);
    client_expect(fd, tls, sizeof tls);
    client_send(fd, nuls, sizeof nuls);
    client_expect(fd, "GOT:", 4);
    client_expect(fd, nuls, sizeof nuls);
    client_ping(fd, "GOT:", "GOT:GOT:GOT:");
    client_ping(fd, "GOT:", "%s%n%d");
}

int main(void)
{
    harness_init();
    const struct CMUnitTest tests[] = {
        e2e_test(never_reads_and_then_does), e2e_test(never_reads_after_its_end),
        e2e_test(many_never_read),           e2e_test(memory_comes_back),
        e2e_test(reads_byte_by_byte),        e2e_test(resets_in_every_state),
        e2e_test(resets_of_the_jammed),      e2e_test(comings_and_goings),
        e2e_test(a_thousand_at_once),        e2e_test(a_crowd_leaves_in_any_order),
        e2e_test(other_protocols),
    };
    return cmocka_run_group_tests_name("e2e.hostile", tests, NULL, NULL);
}
