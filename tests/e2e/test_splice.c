/*
 * test_splice.c - verbatim bulk data is spliced, not copied: the echo must be the same there, and
 * where a connection changes from one way to the other.
 */
#include "harness.h"

#include <signal.h>
#include <stdlib.h>

enum {
    FAR_TOO_MUCH = 1 << 28, /* bytes, which no socket's buffers take */
    CROWD = 40,             /* clients, of which only some get a pipe */
    PIPES_FDS = 16,         /* of a worker's pipes */
    CHANGES = 60,
    /* After so long a silent client has been ended, and has two seconds more to send its FIN. */
    SILENT_MS = 2800,
    LARGEST =
        256
        << 10, /* bytes: fits into the buffers, so that it can be sent before anything is read */
    TO_BE_BULK = 4 << 20,
};

/* Starts a daemon, and a client that does not read until its answers fill a pipe. */
static void start_jammed(struct daemon *daemon, const char *options, struct stream *stream)
{
    char all[64];
    (void)snprintf(all, sizeof all, "--rfc862 %s", options);
    daemon_start(daemon, all);
    long fds = daemon_fds(daemon);
    stream_init(stream, client_connect(daemon), 1, FAR_TOO_MUCH, false);
    streams_jam(stream, 1);
    assert_int_equal(daemon_fds(daemon) - fds, 3); /* its socket, and a pipe */
}

/* Sends and receives some data of the pattern. */
static void exchange(int fd, size_t at, size_t len)
{
    const unsigned char *data = pattern_get(false) + at;
    client_send(fd, data, len);
    client_expect(fd, data, len);
}

/* ---- one way and the other ---- */

/* Little and much data in turn on one connection: no byte gets lost or out of order. */
static void changes_of_mind(struct daemon *daemon)
{
    daemon_start(daemon, "--rfc862");
    int fd = client_connect(daemon);
    exchange(fd, 0, 1);
    long fds = daemon_fds(daemon);
    srand(1);
    for (int i = 0; i < CHANGES; i++) {
        exchange(fd, (size_t)rand() % LARGEST, (size_t)rand() % LARGEST + 1);
        for (int j = rand() % 5; j > 0; j--)
            exchange(fd, (size_t)rand() % LARGEST, (size_t)rand() % 3000 + 1);
    }
    assert_int_equal(daemon_fds(daemon) - fds, 2); /* some of it has gone through a pipe */
    client_shutdown(fd);
    client_expect_end(fd);
}

/*
 * An urgent byte is part of the stream, but splice(2) neither takes it nor goes past it. It, the
 * bytes after it and the FIN must arrive all the same, and the daemon must not spin.
 */
static void urgent_byte(struct daemon *daemon)
{
    daemon_start(daemon, "--rfc862");
    int fd = client_connect(daemon);
    for (int end = 0; end < 2; end++) {
        exchange(fd, 0, LARGEST);
        daemon_freeze(daemon); /* otherwise it might read all before the urgent byte has come */
        client_send(fd, pattern_get(false), LARGEST / 2);
        assert_int_equal(send(fd, "!", 1, MSG_OOB | MSG_NOSIGNAL), 1);
        client_send(fd, pattern_get(false) + LARGEST / 2, LARGEST / 2);
        if (end == 1)
            client_shutdown(fd);
        daemon_signal(daemon, SIGCONT);
        client_expect(fd, pattern_get(false), LARGEST / 2);
        client_expect(fd, "!", 1);
        client_expect(fd, pattern_get(false) + LARGEST / 2, LARGEST / 2);
        if (end == 0)
            daemon_assert_asleep(daemon);
    }
    client_expect_end(fd);
}

/* More clients than there are pipes, with little and with much data, at once. */
static void crowd_of_both_kinds(struct daemon *daemon)
{
    struct stream streams[CROWD];
    daemon_start(daemon, "--rfc862");
    for (unsigned i = 0; i < CROWD; i++)
        stream_init(&streams[i], client_connect(daemon), i, i % 2 == 0 ? TO_BE_BULK : 100, false);
    streams_run(streams, CROWD);
    for (size_t i = 0; i < CROWD; i++)
        assert_int_equal(streams[i].checked, streams[i].total);
}

/* ---- backpressure ---- */

static void never_reads_and_then_does(struct daemon *daemon)
{
    struct stream stream;
    start_jammed(daemon, "", &stream);
    int other = client_connect(daemon);
    exchange(other, 1, 100);
    daemon_assert_asleep(daemon);
    exchange(other, 2, LARGEST);
    streams_run(&stream, 1);
    assert_int_equal(stream.checked, stream.total);
}

static void half_close_is_answered_in_full(struct daemon *daemon)
{
    struct stream stream;
    start_jammed(daemon, "", &stream);
    client_shutdown(stream.fd);
    stream.shut = true;
    daemon_assert_asleep(daemon);
    streams_run(&stream, 1);
    assert_int_equal(stream.checked, stream.total);
}

/* The first clients hold the pipes. They go, and the others must not get what they held. */
static void many_never_read(struct daemon *daemon)
{
    struct stream streams[CROWD];
    daemon_start(daemon, "--rfc862");
    long fds = daemon_fds(daemon);
    for (unsigned i = 0; i < CROWD; i++) {
        stream_init(&streams[i], client_connect_small(daemon), i, FAR_TOO_MUCH, false);
        if (i < CROWD / 2)
            streams_jam(&streams[i], 1);
    }
    streams_jam(&streams[CROWD / 2], CROWD / 2);
    assert_between(daemon_fds(daemon), fds + CROWD + 2,
                   fds + CROWD + PIPES_FDS * (int)harness_workers());
    for (size_t i = 0; i < CROWD / 2; i++)
        client_reset(streams[i].fd);
    daemon_wait_figure(daemon, daemon_fds, fds + CROWD / 2 + PIPES_FDS * (int)harness_workers());
    for (unsigned i = 0; i < CROWD / 2; i++)
        stream_init(&streams[i], client_connect(daemon), i, TO_BE_BULK, false);
    streams_run(streams, CROWD);
    for (size_t i = 0; i < CROWD; i++)
        assert_int_equal(streams[i].checked, streams[i].total);
}

/* ---- timeouts and the end ---- */

/* What waits in the kernel arrives, and then the end of the stream. */
static void read_what_survives(struct stream *stream)
{
    stream->may_be_cut = true;
    stream->shut = true; /* so that the daemon sends its FIN first */
    streams_run(stream, 1);
    assert_true(stream->checked > 65536);
}

static void silent_ones_are_ended(struct daemon *daemon)
{
    struct stream stream;
    start_jammed(daemon, "--idle-timeout=1", &stream);
    assert_false(client_breaks(stream.fd, SILENT_MS));
    read_what_survives(&stream);
    (void)daemon_wait_line(daemon, "(idle for too long)");
    assert_true(stream.checked < stream.total); /* it was ended while it was silent */
}

/* The kernel reports room once a sixteenth of its buffer is free, which may have 6 MB. */
static void slow_reader_is_not_idle(struct daemon *daemon)
{
    static char some[500000];
    struct stream stream;
    start_jammed(daemon, "--idle-timeout=1", &stream);
    for (int i = 0; i < 12; i++) {
        assert_true(recv(stream.fd, some, sizeof some, MSG_DONTWAIT) > 0);
        assert_false(client_breaks(stream.fd, 300));
    }
    assert_int_equal(daemon_count(daemon, "idle for too long"), 0);
    client_reset(stream.fd);
}

static void drain_waits_for_all_of_it(struct daemon *daemon)
{
    struct stream stream;
    start_jammed(daemon, "--drain-timeout=3600", &stream);
    daemon_signal(daemon, SIGTERM);
    (void)daemon_wait_line(daemon, "Stopping");
    streams_run(&stream, 1);
    assert_int_equal(stream.checked, stream.total);
    assert_int_equal(daemon_wait_exit(daemon), 0);
}

static void deadline_cuts_the_rest(struct daemon *daemon)
{
    struct stream stream;
    start_jammed(daemon, "--drain-timeout=1", &stream);
    daemon_signal(daemon, SIGTERM);
    (void)daemon_wait_line(daemon, "Drain deadline");
    assert_false(client_breaks(stream.fd, HARNESS_LOCKED_MS));
    read_what_survives(&stream);
    assert_int_equal(daemon_wait_exit(daemon), 0);
}

int main(void)
{
    harness_init();
    const struct CMUnitTest tests[] = {
        e2e_test(changes_of_mind),
        e2e_test(urgent_byte),
        e2e_test(crowd_of_both_kinds),
        e2e_test(never_reads_and_then_does),
        e2e_test(half_close_is_answered_in_full),
        e2e_test(many_never_read),
        e2e_test(silent_ones_are_ended),
        e2e_test(slow_reader_is_not_idle),
        e2e_test(drain_waits_for_all_of_it),
        e2e_test(deadline_cuts_the_rest),
    };
    return cmocka_run_group_tests_name("e2e.splice", tests, NULL, NULL);
}
