/*
 * test_limits.c - connections, descriptors and time that run out, and a daemon with nothing to do.
 */
#include "harness.h"

#include <errno.h>
#include <sys/socket.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- --max-connections ---- */

static void third_client_waits(struct daemon *daemon)
{
    daemon_start(daemon, "--max-connections=2");
    int first = client_connect(daemon);
    int second = client_connect(daemon);
    client_ping(first, "GOT:", "first");
    client_ping(second, "GOT:", "second");
    int third = client_connect(daemon); /* to the kernel, which queues it */
    client_send(third, "third", 5);
    assert_false(client_readable(third, HARNESS_LOCKED_MS));
    client_ping(first, "GOT:", "first again");
    daemon_assert_asleep(daemon); /* it does not try to accept all the time */
    assert_false(client_readable(third, 0));
    client_close(second);
    client_expect(third, "GOT:third", 9);
    client_ping(first, "GOT:", "first at last");
}

/* A client that waits is accepted when there is room again, whichever its address. */
static void waiting_on_two_addresses(struct daemon *daemon)
{
    daemon_start(daemon, "--bind=127.0.0.1 --bind=127.0.0.2 --max-connections=1");
    int held = client_connect_to(daemon, "127.0.0.1");
    client_ping(held, "GOT:", "held");
    for (int i = 0; i < 10; i++) {
        const char *text = i % 2 == 0 ? "even" : "odd";
        int next = client_connect_to(daemon, i % 2 == 0 ? "127.0.0.2" : "127.0.0.1");
        client_send(next, text, strlen(text));
        assert_false(client_readable(next, 20));
        client_close(held);
        client_expect(next, "GOT:", 4);
        client_expect(next, text, strlen(text));
        held = next;
    }
}

/* Many more clients than the limit, each of which closes once it is answered. */
static void queue_moves_up(struct daemon *daemon)
{
    enum { CLIENTS = 200 };
    daemon_start(daemon, "--max-connections=3");
    int fds[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = client_connect(daemon);
        client_send(fds[i], "me", 2);
    }
    for (int i = 0; i < CLIENTS; i++) {
        client_expect(fds[i], "GOT:me", 6);
        client_close(fds[i]);
    }
}

/* ---- descriptors ---- */

/* A running daemon cannot open another descriptor after this. */
static void lower_nofile(const struct daemon *daemon, struct rlimit *before)
{
    assert_int_equal(prlimit(daemon->pid, RLIMIT_NOFILE, NULL, before), 0);
    struct rlimit none = {.rlim_cur = 3, .rlim_max = before->rlim_max};
    assert_int_equal(prlimit(daemon->pid, RLIMIT_NOFILE, &none, NULL), 0);
}

/* While accept(2) fails, clients that wait get no answer, and the daemon does not spin. */
static void check_exhausted(struct daemon *daemon, int accepted, int waiting)
{
    assert_non_null(strstr(daemon_wait_line(daemon, "Accepting paused"), strerror(EMFILE)));
    struct daemon_thread before = daemon_threads_sum(daemon);
    assert_false(client_readable(waiting, 1000));
    struct daemon_thread after = daemon_threads_sum(daemon);
    assert_between(after.cpu_ms - before.cpu_ms, 0, 200);
    assert_between(after.switches - before.switches, 0, 100); /* it does not try all the time */
    client_ping(accepted, "GOT:", "I am in");
}

static void out_of_descriptors(struct daemon *daemon)
{
    struct rlimit before;
    daemon_start(daemon, NULL);
    int accepted = client_connect(daemon);
    client_ping(accepted, "GOT:", "in time");
    lower_nofile(daemon, &before);
    int first = client_connect(daemon);
    int second = client_connect(daemon);
    client_send(first, "one", 3);
    client_send(second, "two", 3);
    check_exhausted(daemon, accepted, first);
    assert_int_equal(prlimit(daemon->pid, RLIMIT_NOFILE, &before, NULL), 0);
    client_expect(first, "GOT:one", 7);
    client_expect(second, "GOT:two", 7);
    (void)daemon_wait_line(daemon, "Accepting again");
    daemon_signal(daemon, SIGUSR1);
    assert_non_null(strstr(daemon_wait_line(daemon, "Statistics:"), " 1 accept pauses"));
    assert_int_equal(daemon_count(daemon, "Accepting paused"), 1);
    assert_int_equal(daemon_count(daemon, "Accepting again"), 1);
}

/* Each lack of descriptors is a pause of its own. */
static void out_of_descriptors_twice(struct daemon *daemon)
{
    daemon_start(daemon, NULL);
    for (unsigned time = 1; time <= 2; time++) {
        struct rlimit before;
        lower_nofile(daemon, &before);
        int fd = client_connect(daemon);
        client_send(fd, "me", 2);
        (void)daemon_wait_line(daemon, "Accepting paused");
        assert_int_equal(prlimit(daemon->pid, RLIMIT_NOFILE, &before, NULL), 0);
        client_expect(fd, "GOT:me", 6);
        (void)daemon_wait_line(daemon, "Accepting again");
        client_close(fd);
        assert_int_equal(daemon_count(daemon, "Accepting paused"), time);
    }
}

static void stopped_while_paused(struct daemon *daemon)
{
    struct rlimit before;
    daemon_start(daemon, NULL);
    int accepted = client_connect(daemon);
    client_ping(accepted, "GOT:", "in time");
    lower_nofile(daemon, &before);
    int fd = client_connect(daemon);
    (void)daemon_wait_line(daemon, "Accepting paused");
    daemon_signal(daemon, SIGTERM);
    (void)daemon_wait_line(daemon, "waiting for 1 connection,");
    client_ping(accepted, "GOT:", "still");
    assert_int_equal(prlimit(daemon->pid, RLIMIT_NOFILE, &before, NULL), 0); /* LSan needs some */
    client_close(accepted);
    client_close(fd);
    assert_int_equal(daemon_wait_exit(daemon), 0);
}

/* With every limit that is too small for a start, the daemon prints one line and exits with 1. */
static void too_few_descriptors_to_start(struct daemon *daemon)
{
    (void)daemon;
    unsigned refused = 0;
    for (rlim_t nofile = 4; nofile <= 32; nofile++) {
        static struct outcome outcome;
        harness_run(&outcome, &(struct launch){.nofile = nofile});
        if (outcome.status == 127)
            continue; /* not even the program's libraries can be opened */
        assert_int_equal(outcome.status, 1);
        assert_non_null(strstr(outcome.err, "Cannot listen on "));
        assert_non_null(strstr(outcome.err, strerror(EMFILE)));
        assert_ptr_equal(strchr(outcome.err, '\n'), outcome.err + strlen(outcome.err) - 1);
        refused++;
    }
    assert_true(refused > 20);
}

/* Must start, or end with 1 and a line. Returns whether it has started. */
static bool check_inherited(struct daemon *daemon, int inherited)
{
    int further = 16 * ((int)harness_workers() - 1); /* by which nofile is raised */
    daemon_launch(daemon, &(struct launch){.nofile = 64, .inherited = inherited + further});
    bool started = strstr(daemon_wait_line(daemon, "isten"), "Cannot listen") == NULL;
    int status = started ? daemon_stop(daemon, SIGTERM) : daemon_wait_exit(daemon);
    assert_int_equal(status, started ? 0 : 1);
    return started;
}

/* Descriptors that are open already make a start fail as a low limit does. */
static void descriptors_taken_at_the_start(struct daemon *daemon)
{
    enum { FEW = 8, MANY = 60 };
    unsigned refused = 0;
    /* Where the start begins to fail depends on libuv, whose versions need 7 to 8 for a loop. */
    for (int inherited = FEW; inherited <= MANY; inherited++)
        refused += !check_inherited(daemon, inherited);
    assert_between(refused, 1, MANY - FEW);
}

/* Whoever starts the daemon may have left open the highest descriptor that there may be. */
static void highest_descriptor_is_taken(struct daemon *daemon)
{
    int highest = 63 + 16 * ((int)harness_workers() - 1);   /* by which nofile is raised */
    assert_int_equal(dup2(STDIN_FILENO, highest), highest); /* which stays open over execve(2) */
    daemon_start_as(daemon, &(struct launch){.nofile = 64});
    (void)close(highest);
    client_ping(client_connect(daemon), "GOT:", "hello");
}

/* With so few descriptors the daemon must limit its connections by itself. */
static void few_descriptors(struct daemon *daemon)
{
    enum { CLIENTS = 64, NOFILE = 48 };
    daemon_start_as(daemon, &(struct launch){.nofile = NOFILE});
    int fds[CLIENTS];
    int answered = 0;
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = client_connect(daemon);
        client_send(fds[i], "me", 2);
    }
    while (answered < CLIENTS && client_readable(fds[answered], HARNESS_LOCKED_MS))
        client_expect(fds[answered++], "GOT:me", 6);
    assert_between(answered, 1, NOFILE - 1);
    daemon_assert_asleep(daemon);
    for (int i = 0; i < CLIENTS; i++) {
        if (i >= answered)
            client_expect(fds[i], "GOT:me", 6);
        client_close(fds[i]);
    }
    assert_int_equal(daemon_count(daemon, "Accepting paused"), 0);
}

static void more_connections_than_descriptors(struct daemon *daemon)
{
    daemon_start_as(daemon, &(struct launch){.nofile = 64, .options = "--max-connections=1000"});
    assert_int_equal(daemon_count(daemon, "--max-connections=1000: RLIMIT_NOFILE allows"), 1);
    client_ping(client_connect(daemon), "GOT:", "hello");
}

/* ---- nothing to do ---- */

static void sleeps_without_clients(struct daemon *daemon)
{
    daemon_start(daemon, NULL);
    daemon_assert_asleep(daemon);
}

/* The task that ends idle clients does not wake the daemon while there are no clients. */
static void sleeps_without_clients_to_end(struct daemon *daemon)
{
    daemon_start(daemon, "--idle-timeout=1");
    daemon_assert_asleep(daemon);
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "hello");
    client_expect_end(fd);
}

static void sleeps_with_idle_clients(struct daemon *daemon)
{
    daemon_start(daemon, NULL);
    for (int i = 0; i < 100; i++) {
        int fd = client_connect(daemon);
        if (i % 2 == 0)
            client_ping(fd, "GOT:", "I was here");
    }
    daemon_assert_asleep(daemon);
}

/* The daemon sleeps after each of the ways in which a connection can end. */
static void sleeps_when_they_have_gone(struct daemon *daemon)
{
    daemon_start(daemon, NULL);
    for (int i = 0; i < 50; i++) {
        int fd = client_connect(daemon);
        client_ping(fd, "GOT:", "I was here");
        if (i % 2 == 0)
            client_reset(fd);
        else
            client_close(fd);
    }
    daemon_assert_asleep(daemon);
}

/* ---- --idle-timeout ---- */

static void silent_clients_are_ended(struct daemon *daemon)
{
    daemon_start(daemon, "--idle-timeout=1");
    int active = client_connect(daemon);
    int silent = client_connect(daemon);
    int once = client_connect(daemon);
    char name[80];
    char line[128];
    (void)snprintf(line, sizeof line, "Connection closed: %s (idle for too long)",
                   client_name(once, name));
    client_ping(once, "GOT:", "only once");
    uint64_t begin_ms = harness_now_ms();
    bool silent_ended = false;
    bool once_ended = false;
    while (harness_now_ms() - begin_ms < 2500 || !silent_ended || !once_ended) {
        client_ping(active, "GOT:", "I live");
        silent_ended = silent_ended || client_readable(silent, 50);
        once_ended = once_ended || client_readable(once, 50);
        (void)client_readable(active, 50);
        assert_true(harness_now_ms() - begin_ms < HARNESS_DEADLINE_MS);
    }
    client_expect_end(silent); /* by a FIN: a reset would fail the test */
    client_expect_end(once);
    client_close(silent);
    client_close(once);
    (void)daemon_wait_line(daemon, line);
    client_ping(active, "GOT:", "I live");
}

/* A client that sends nothing for a second and more, but not for long enough. */
static void no_timeout_too_early(struct daemon *daemon)
{
    daemon_start(daemon, "--idle-timeout=3600");
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "hello");
    assert_false(client_readable(fd, 1500));
    client_ping(fd, "GOT:", "still here");
}

/* The answers that wait in the kernel for a client that does not read yet arrive, and a FIN. */
static void answers_in_flight_survive_the_timeout(struct daemon *daemon)
{
    daemon_start(daemon, "--idle-timeout=1");
    struct stream stream;
    stream_init(&stream, client_connect(daemon), 1, 1 << 28, true);
    streams_jam(&stream, 1);
    assert_false(client_breaks(stream.fd, 2800)); /* it has been found idle, and is not cut yet */
    stream.may_be_cut = true;
    stream.shut = true; /* so that the daemon sends its FIN first */
    streams_run(&stream, 1);
    assert_between(stream.checked, 65536, stream.total - 1); /* it was ended meanwhile */
    (void)daemon_wait_line(daemon, "(idle for too long)");
}

/* A client that does not answer our FIN, and a client that does not read, are cut in the end. */
static void stubborn_clients_are_cut(struct daemon *daemon)
{
    daemon_start(daemon, "--idle-timeout=2");
    int stubborn = client_connect(daemon);
    struct stream jammed;
    client_ping(stubborn, "GOT:", "hello");
    stream_init(&jammed, client_connect_small(daemon), 1, 1 << 28, true);
    streams_jam(&jammed, 1);
    client_expect_end(stubborn);
    (void)daemon_wait_line(daemon, "Connection closed");
    (void)daemon_wait_line(daemon, "Connection closed");
    daemon_assert_asleep(daemon);
}

/* Bytes that came while the daemon was frozen count all the same. */
static void idle_while_frozen(struct daemon *daemon)
{
    daemon_start(daemon, "--idle-timeout=1");
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "hello");
    daemon_freeze(daemon);
    client_send(fd, "late", 4);
    assert_false(client_readable(fd, 1500));
    daemon_signal(daemon, SIGCONT);
    client_expect(fd, "GOT:late", 8);
    client_close(fd);
}

/*
 * A client that reads, but so slowly that the daemon's kernel seldom reports room. It must read
 * more than a segment of the loopback, 64 KiB, at once: otherwise its own kernel announces no room.
 */
static void slow_reader_is_not_idle(struct daemon *daemon)
{
    static char some[80000];
    struct stream stream;
    daemon_start(daemon, "--idle-timeout=1");
    stream_init(&stream, client_connect(daemon), 1, 1 << 28, true);
    streams_jam(&stream, 1);
    for (int i = 0; i < 12; i++) {
        assert_true(recv(stream.fd, some, sizeof some, MSG_DONTWAIT) > 0);
        assert_false(client_breaks(stream.fd, 300));
    }
    assert_int_equal(daemon_count(daemon, "idle for too long"), 0);
    client_reset(stream.fd);
}

/*
 * The daemon waits to send, and stands still for longer than the timeout, while the client takes
 * all that the kernel holds for it. When the daemon goes on it has room to send.
 */
static void answers_survive_a_stall(struct daemon *daemon)
{
    struct stream stream;
    daemon_start(daemon, "--idle-timeout=1");
    stream_init(&stream, client_connect(daemon), 1, 1 << 28, true);
    streams_jam(&stream, 1);
    daemon_freeze(daemon);
    while (client_readable(stream.fd, 1500))
        (void)streams_turn(&stream, 1);
    assert_true(stream.checked < stream.total);
    daemon_signal(daemon, SIGCONT);
    streams_run(&stream, 1);
    assert_int_equal(stream.checked, stream.total);
    (void)daemon_wait_line(daemon, "Connection closed");
    assert_int_equal(daemon_count(daemon, "idle for too long"), 0);
}

/* The end of a stream is nothing that could be counted in bytes, but it has come. */
static void an_end_during_a_stall(struct daemon *daemon)
{
    daemon_start(daemon, "--idle-timeout=1");
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "hello");
    daemon_freeze(daemon);
    client_shutdown(fd);
    assert_false(client_readable(fd, 1500));
    daemon_signal(daemon, SIGCONT);
    client_expect_end(fd);
    (void)daemon_wait_line(daemon, "Connection closed");
    assert_int_equal(daemon_count(daemon, "idle for too long"), 0);
}

/*
 * The kernel takes the whole answer at once, and the client takes it from the kernel until just
 * before the timeout. Its silence begins then.
 */
static void slow_reader_that_has_just_finished(struct daemon *daemon)
{
    enum { STEPS = 18, STEP = 12000 };
    static char answer[STEPS * STEP];
    daemon_start(daemon, "--rfc862 --idle-timeout=2");
    int fd = client_connect_small(daemon);
    client_send(fd, answer, sizeof answer);
    for (int i = 0; i < STEPS; i++) {
        client_expect(fd, answer, STEP);
        assert_false(client_breaks(fd, 100));
    }
    assert_false(client_breaks(fd, 1500));
    client_ping(fd, "", "still here");
    assert_int_equal(daemon_count(daemon, "idle for too long"), 0);
    client_expect_end(fd);
}

int main(void)
{
    harness_init();
    const struct CMUnitTest tests[] = {
        e2e_test(third_client_waits),
        e2e_test(waiting_on_two_addresses),
        e2e_test(queue_moves_up),
        e2e_test(out_of_descriptors),
        e2e_test(out_of_descriptors_twice),
        e2e_test(stopped_while_paused),
        e2e_test(too_few_descriptors_to_start),
        e2e_test(descriptors_taken_at_the_start),
        e2e_test(highest_descriptor_is_taken),
        e2e_test(few_descriptors),
        e2e_test(more_connections_than_descriptors),
        e2e_test(sleeps_without_clients),
        e2e_test(sleeps_without_clients_to_end),
        e2e_test(sleeps_with_idle_clients),
        e2e_test(idle_while_frozen),
        e2e_test(slow_reader_is_not_idle),
        e2e_test(answers_survive_a_stall),
        e2e_test(an_end_during_a_stall),
        e2e_test(slow_reader_that_has_just_finished),
        e2e_test(sleeps_when_they_have_gone),
        e2e_test(silent_clients_are_ended),
        e2e_test(no_timeout_too_early),
        e2e_test(answers_in_flight_survive_the_timeout),
        e2e_test(stubborn_clients_are_cut),
    };
    return cmocka_run_group_tests_name("e2e.limits", tests, NULL, NULL);
}
