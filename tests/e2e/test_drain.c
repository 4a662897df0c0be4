/*
 * test_drain.c - signals: how the daemon stops, and what becomes of its connections.
 */
#include "harness.h"

#include <errno.h>
#include <signal.h>

static void check_stop(struct daemon *daemon, int signum)
{
    daemon_start(daemon, NULL);
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "hello");
    daemon_signal(daemon, signum);
    (void)daemon_wait_line(daemon, "Stopping: waiting for 1 connection,");
    client_ping(fd, "GOT:", "still here");
    client_close(fd);
    assert_int_equal(daemon_wait_exit(daemon), 0);
}

static void each_signal_stops(struct daemon *daemon)
{
    check_stop(daemon, SIGTERM);
    check_stop(daemon, SIGINT);
    check_stop(daemon, SIGHUP);
}

static void nobody_to_wait_for(struct daemon *daemon)
{
    daemon_start(daemon, NULL);
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
    assert_int_equal(daemon_count(daemon, "waiting for"), 0);
}

/* The daemon ends with its last connection, long before the deadline of an hour. */
static void ends_with_the_last_connection(struct daemon *daemon)
{
    daemon_start(daemon, "--drain-timeout=3600");
    int first = client_connect(daemon);
    int second = client_connect(daemon);
    int third = client_connect(daemon);
    client_ping(first, "GOT:", "first");
    client_ping(second, "GOT:", "second");
    client_ping(third, "GOT:", "third");
    daemon_signal(daemon, SIGTERM);
    const char *line = daemon_wait_line(daemon, "Stopping");
    assert_non_null(strstr(line, "waiting for 3 connections"));
    assert_non_null(strstr(line, "3600 s"));
    assert_non_null(strstr(line, "a second signal ends them at once"));
    assert_int_equal(client_try(daemon, "127.0.0.1"), -ECONNREFUSED);
    client_reset(first);
    client_close(second);
    client_ping(third, "GOT:", "I am the last");
    client_shutdown(third);
    client_expect_end(third);
    assert_int_equal(daemon_wait_exit(daemon), 0);
}

static void sleeps_while_it_waits(struct daemon *daemon)
{
    daemon_start(daemon, "--drain-timeout=3600");
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "hello");
    daemon_signal(daemon, SIGTERM);
    (void)daemon_wait_line(daemon, "Stopping");
    daemon_assert_asleep(daemon);
    client_close(fd);
    assert_int_equal(daemon_wait_exit(daemon), 0);
}

/* Clients that have connected before the signal are served, even if not accepted yet. */
static void backlog_is_served(struct daemon *daemon)
{
    enum { CLIENTS = 200 };
    int fds[CLIENTS];
    daemon_start(daemon, NULL);
    daemon_freeze(daemon);
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = client_connect(daemon);
        client_send(fds[i], "me", 2);
        client_wait_delivered(fds[i]);
    }
    daemon_signal(daemon, SIGTERM);
    daemon_signal(daemon, SIGCONT);
    for (int i = 0; i < CLIENTS; i++)
        client_expect(fds[i], "GOT:me", 6);
    for (int i = 0; i < CLIENTS; i++)
        client_close(fds[i]);
    assert_int_equal(daemon_wait_exit(daemon), 0);
}

/* Streams that have begun before the signal are answered in full. */
static void streams_end_in_full(struct daemon *daemon)
{
    daemon_start(daemon, "--drain-timeout=3600");
    struct stream streams[4];
    for (unsigned i = 0; i < 4; i++)
        stream_init(&streams[i], client_connect(daemon), i, 20 << 20, true);
    while (streams[0].checked < 1 << 20)
        (void)streams_turn(streams, 4);
    daemon_signal(daemon, SIGTERM);
    streams_run(streams, 4);
    assert_int_equal(daemon_wait_exit(daemon), 0);
}

/* ---- the deadline ---- */

static void deadline_ends_with_a_fin(struct daemon *daemon)
{
    daemon_start(daemon, "--drain-timeout=1");
    int first = client_connect(daemon);
    int second = client_connect(daemon);
    client_ping(first, "GOT:", "hello");
    client_ping(second, "GOT:", "hello");
    uint64_t begin_ms = harness_now_ms();
    daemon_signal(daemon, SIGTERM);
    (void)daemon_wait_line(daemon, "Drain deadline: ending 2 connections");
    assert_true(harness_now_ms() - begin_ms >= 900); /* it has waited for a second, less rounding */
    client_expect_end(first);
    client_expect_end(second);
    client_close(first);
    client_close(second);
    assert_int_equal(daemon_wait_exit(daemon), 0);
    assert_int_equal(daemon_count(daemon, "(the daemon stops)"), 2);
}

static void deadline_of_nothing(struct daemon *daemon)
{
    daemon_start(daemon, "--drain-timeout=0");
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "hello");
    daemon_signal(daemon, SIGTERM);
    client_expect_end(fd);
    client_close(fd);
    assert_int_equal(daemon_wait_exit(daemon), 0);
}

/* Answers from before the deadline arrive, although the client still sends. */
static void answers_survive_the_deadline(struct daemon *daemon)
{
    daemon_start(daemon, "--drain-timeout=1");
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "hello");
    daemon_signal(daemon, SIGTERM);
    (void)daemon_wait_line(daemon, "Stopping");
    client_send(fd, "late", 4);
    (void)daemon_wait_line(daemon, "Drain deadline");
    client_send(fd, "too late", 8); /* unread input, which must not turn the FIN into a reset */
    client_expect(fd, "GOT:late", 8);
    client_expect_end(fd);
    client_close(fd);
    assert_int_equal(daemon_wait_exit(daemon), 0);
}

/*
 * The daemon sends its FIN first and waits for the client's, so that no answer is lost. It waits
 * for two seconds: on a machine that stands still for so long the test sees nothing, and is
 * skipped.
 */
static void deadline_waits_for_the_clients_fin(struct daemon *daemon)
{
    daemon_start(daemon, "--drain-timeout=1");
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "hello");
    uint64_t begin_ms = harness_now_ms();
    daemon_signal(daemon, SIGTERM);
    (void)daemon_wait_line(daemon, "Drain deadline");
    daemon_signal(daemon, SIGUSR1);
    const char *stats = daemon_wait_line(daemon, "Statistics: ");
    bool still_there = strstr(stats, "Statistics: 1 connections now") != NULL;
    daemon_freeze(daemon); /* all that comes from now on was sent before */
    if (!still_there && harness_now_ms() - begin_ms > 2800)
        harness_skip("this machine is too slow today");
    assert_true(still_there);
    client_expect_end(fd);
    client_close(fd);
    daemon_signal(daemon, SIGCONT);
    assert_int_equal(daemon_wait_exit(daemon), 0);
}

/* The answers that wait in the kernel arrive, and then a FIN; no reset cuts them off. */
static void answers_in_flight_survive_the_deadline(struct daemon *daemon)
{
    daemon_start(daemon, "--drain-timeout=1");
    struct stream stream;
    stream_init(&stream, client_connect(daemon), 1, 1 << 28, true);
    streams_jam(&stream, 1);
    daemon_signal(daemon, SIGTERM);
    (void)daemon_wait_line(daemon, "Drain deadline");
    assert_false(client_breaks(stream.fd, HARNESS_LOCKED_MS));
    stream.may_be_cut = true;
    stream.shut = true; /* so that the daemon sends its FIN first */
    streams_run(&stream, 1);
    assert_true(stream.checked > 65536);
    assert_int_equal(daemon_wait_exit(daemon), 0);
}

/* Neither a client that stays nor a client that never reads holds up the end for ever. */
static void deadline_is_not_held_up(struct daemon *daemon)
{
    daemon_start(daemon, "--drain-timeout=1");
    int stubborn = client_connect(daemon);
    struct stream jammed;
    client_ping(stubborn, "GOT:", "hello");
    stream_init(&jammed, client_connect_small(daemon), 1, 1 << 28, true);
    streams_jam(&jammed, 1);
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
}

/* ---- a second signal ---- */

static void second_signal_ends_at_once(struct daemon *daemon)
{
    daemon_start(daemon, "--drain-timeout=3600");
    int fd = client_connect(daemon);
    struct stream jammed;
    client_ping(fd, "GOT:", "hello");
    stream_init(&jammed, client_connect_small(daemon), 1, 1 << 28, true);
    streams_jam(&jammed, 1);
    daemon_signal(daemon, SIGTERM);
    (void)daemon_wait_line(daemon, "Stopping: waiting for 2 connections");
    daemon_signal(daemon, SIGINT);
    assert_int_equal(daemon_wait_exit(daemon), 0);
    assert_int_equal(daemon_count(daemon, "Stopping at once: ending 2 connections"), 1);
    assert_true(client_readable(fd, HARNESS_DEADLINE_MS));
}

/* After the deadline, a signal ends the connections that still wait for the client's FIN. */
static void signal_after_the_deadline(struct daemon *daemon)
{
    daemon_start(daemon, "--drain-timeout=0");
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "hello");
    daemon_signal(daemon, SIGTERM);
    (void)daemon_wait_line(daemon, "Drain deadline");
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
}

/* A user who is impatient causes no failure: the exit code is 0 however many signals come. */
static void signals_until_it_has_ended(struct daemon *daemon)
{
    for (int i = 0; i < 100; i++) {
        daemon_start(daemon, NULL);
        /* The pidfd is readable once the daemon has ended. Signals without an end would starve it.
         */
        for (int j = 0; j < 5000 && !client_readable(daemon->pidfd, 0); j++)
            daemon_signal(daemon, SIGTERM);
        assert_int_equal(daemon_wait_exit(daemon), 0);
    }
}

/* ---- signals that do not stop it ---- */

static void hangup_is_ignored_under_nohup(struct daemon *daemon)
{
    daemon_start_as(daemon, &(struct launch){.ignores_hup = true});
    daemon_signal(daemon, SIGHUP);
    client_visit(daemon);
    assert_int_equal(daemon_count(daemon, "Stopping"), 0);
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
}

static void broken_pipe_is_ignored(struct daemon *daemon)
{
    daemon_start(daemon, NULL);
    daemon_signal(daemon, SIGPIPE);
    client_ping(client_connect(daemon), "GOT:", "hello");
}

static void stats_are_logged(struct daemon *daemon)
{
    daemon_start(daemon, NULL);
    daemon_expect_stats(daemon, harness_workers(),
                        "0 connections now, 0 in total; 0 bytes in, 0 out; 0 refused; "
                        "0 accept pauses; 0 refused per source; 0 rate pauses; up ");
    int first = client_connect(daemon);
    int second = client_connect(daemon);
    int third = client_connect(daemon);
    client_ping(first, "GOT:", "12345");
    client_ping(second, "GOT:", "123");
    client_ping(third, "GOT:", "1");
    client_close(third);
    (void)daemon_wait_line(daemon, "Connection closed");
    daemon_expect_stats(daemon, harness_workers(),
                        "2 connections now, 3 in total; 9 bytes in, 21 out; 0 refused; ");
    client_ping(first, "GOT:", "statistics stop nobody");
}

/* Both signals come while the daemon is frozen, so before it has accepted the clients. */
static void two_signals_at_once(struct daemon *daemon)
{
    int fds[5];
    daemon_start(daemon, "--drain-timeout=3600");
    daemon_freeze(daemon);
    for (int i = 0; i < 5; i++)
        fds[i] = client_connect(daemon);
    daemon_signal(daemon, SIGTERM);
    daemon_signal(daemon, SIGINT);
    daemon_signal(daemon, SIGCONT);
    assert_int_equal(daemon_wait_exit(daemon), 0);
    for (int i = 0; i < 5; i++)
        client_close(fds[i]);
}

int main(void)
{
    harness_init();
    const struct CMUnitTest tests[] = {
        e2e_test(each_signal_stops),
        e2e_test(nobody_to_wait_for),
        e2e_test(ends_with_the_last_connection),
        e2e_test(sleeps_while_it_waits),
        e2e_test(backlog_is_served),
        e2e_test(streams_end_in_full),
        e2e_test(deadline_ends_with_a_fin),
        e2e_test(deadline_of_nothing),
        e2e_test(answers_survive_the_deadline),
        e2e_test(deadline_waits_for_the_clients_fin),
        e2e_test(answers_in_flight_survive_the_deadline),
        e2e_test(deadline_is_not_held_up),
        e2e_test(second_signal_ends_at_once),
        e2e_test(two_signals_at_once),
        e2e_test(signal_after_the_deadline),
        e2e_test(signals_until_it_has_ended),
        e2e_test(hangup_is_ignored_under_nohup),
        e2e_test(broken_pipe_is_ignored),
        e2e_test(stats_are_logged),
    };
    return cmocka_run_group_tests_name("e2e.drain", tests, NULL, NULL);
}
