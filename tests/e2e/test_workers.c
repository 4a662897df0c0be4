/*
 * test_workers.c - --workers: how many threads there are, which of them serves a client, and what
 * they share. The other suites run with several workers, too: see UVECHOD_TEST_WORKERS.
 */
#include "harness.h"

#include <errno.h>
#include <sched.h>
#include <signal.h>

enum { WORKERS = 4, CLIENTS = 8, PINGS = 200 };

/* ---- threads ---- */

static unsigned count_threads(const struct daemon *daemon)
{
    struct daemon_thread threads[DAEMON_THREADS_MAX];
    return daemon_threads(daemon, threads);
}

/* A thread gets its name a moment after it was made. */
static void expect_threads(const struct daemon *daemon, unsigned expected)
{
    uint64_t deadline = harness_now_ms() + HARNESS_DEADLINE_MS / 4;
    while (count_threads(daemon) != expected && harness_now_ms() < deadline)
        (void)sched_yield();
    assert_int_equal(count_threads(daemon), expected);
}

static void check_threads(struct daemon *daemon, const char *options, unsigned expected)
{
    daemon_start(daemon, options);
    expect_threads(daemon, expected);
    client_visit(daemon);
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
}

static void as_many_threads_as_asked_for(struct daemon *daemon)
{
    check_threads(daemon, NULL, 1);
    check_threads(daemon, "--workers=1", 1);
    check_threads(daemon, "--workers=2", 2);
    check_threads(daemon, "--workers=64", 64);
}

static void one_thread_per_cpu(struct daemon *daemon)
{
    cpu_set_t cpus;
    assert_int_equal(sched_getaffinity(0, sizeof cpus, &cpus), 0);
    int count = CPU_COUNT(&cpus);
    check_threads(daemon, "--workers=0", count < 64 ? (unsigned)count : 64);
}

/* A daemon that may run on one CPU only has one thread only. */
static void one_thread_per_cpu_that_is_ours(struct daemon *daemon)
{
    cpu_set_t all;
    cpu_set_t one;
    assert_int_equal(sched_getaffinity(0, sizeof all, &all), 0);
    CPU_ZERO(&one);
    for (size_t cpu = 0; CPU_COUNT(&one) == 0; cpu++)
        if (CPU_ISSET(cpu, &all))
            CPU_SET(cpu, &one);
    if (sched_setaffinity(0, sizeof one, &one) < 0)
        harness_skip("may not choose its CPUs");
    check_threads(daemon, "--workers=0", 1);
    assert_int_equal(sched_setaffinity(0, sizeof all, &all), 0);
}

/* ---- spread ---- */

/* The thread that serves this client is the one that wakes up for each of its messages. */
static unsigned server_of(const struct daemon *daemon, int fd)
{
    struct daemon_thread before[DAEMON_THREADS_MAX];
    struct daemon_thread after[DAEMON_THREADS_MAX];
    unsigned found = 0;
    unsigned thread = 0;
    assert_int_equal(daemon_threads(daemon, before), WORKERS);
    for (int i = 0; i < PINGS; i++)
        client_ping(fd, "GOT:", "whose am I");
    assert_int_equal(daemon_threads(daemon, after), WORKERS);
    for (unsigned i = 0; i < WORKERS; i++)
        if (after[i].switches - before[i].switches > PINGS / 4) {
            thread = i;
            found++;
        }
    assert_int_equal(found, 1);
    return thread;
}

static void clients_are_spread(struct daemon *daemon)
{
    int fds[CLIENTS];
    unsigned served[WORKERS] = {0};
    daemon_start(daemon, "--workers=4");
    expect_threads(daemon, WORKERS);
    for (int i = 0; i < CLIENTS; i++)
        fds[i] = client_connect(daemon);
    for (int i = 0; i < CLIENTS; i++)
        served[server_of(daemon, fds[i])]++;
    for (int i = 0; i < WORKERS; i++)
        assert_int_equal(served[i], CLIENTS / WORKERS);
}

/* A new client goes to the worker whose client has left. */
static void the_least_loaded_is_next(struct daemon *daemon)
{
    int fds[CLIENTS];
    unsigned thread[CLIENTS];
    daemon_start(daemon, "--workers=4");
    expect_threads(daemon, WORKERS);
    for (int i = 0; i < CLIENTS; i++)
        fds[i] = client_connect(daemon);
    for (int i = 0; i < CLIENTS; i++)
        thread[i] = server_of(daemon, fds[i]);
    for (int i = CLIENTS - 1; i >= 0; i -= 3) {
        client_close(fds[i]);
        (void)daemon_wait_line(daemon, "Connection closed");
        fds[i] = client_connect(daemon);
        assert_int_equal(server_of(daemon, fds[i]), thread[i]);
    }
}

/* ---- what they share ---- */

/* With such a low limit each client waits until another closes, so a lost wake-up would show. */
static void check_queue(struct daemon *daemon, const char *options)
{
    enum { ROUNDS = 30, QUEUE = 40 };
    int fds[QUEUE];
    daemon_start(daemon, options);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < QUEUE; i++) {
            fds[i] = client_connect(daemon);
            client_send(fds[i], "me", 2);
        }
        for (int i = 0; i < QUEUE; i++) {
            client_expect(fds[i], "GOT:me", 6);
            client_close(fds[i]);
        }
    }
}

static void queue_of_one_moves_up(struct daemon *daemon)
{
    check_queue(daemon, "--workers=4 --max-connections=1");
}

static void queue_of_three_moves_up(struct daemon *daemon)
{
    check_queue(daemon, "--workers=2 --max-connections=3");
}

/* The limit is that of all together. */
static void limit_of_all_together(struct daemon *daemon)
{
    int fds[6];
    daemon_start(daemon, "--workers=4 --max-connections=5");
    for (int i = 0; i < 6; i++) {
        fds[i] = client_connect(daemon);
        client_send(fds[i], "me", 2);
    }
    for (int i = 0; i < 5; i++)
        client_expect(fds[i], "GOT:me", 6);
    assert_false(client_readable(fds[5], HARNESS_LOCKED_MS));
    daemon_assert_asleep(daemon);
    for (int i = 0; i < 5; i++)
        client_close(fds[i]);
    client_expect(fds[5], "GOT:me", 6);
}

static void stats_are_sums(struct daemon *daemon)
{
    int fds[CLIENTS];
    daemon_start(daemon, "--workers=4");
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = client_connect(daemon);
        for (int j = 0; j <= i; j++)
            client_ping(fds[i], "GOT:", "1234567");
    }
    daemon_expect_stats(daemon, WORKERS,
                        "8 connections now, 8 in total; 252 bytes in, 396 out; 0 refused; ");
    for (int i = 0; i < CLIENTS; i += 2)
        client_close(fds[i]);
    daemon_expect_stats(daemon, WORKERS,
                        "4 connections now, 8 in total; 252 bytes in, 396 out; 0 refused; ");
}

/* ---- the end ---- */

static void drain_waits_for_all(struct daemon *daemon)
{
    int fds[CLIENTS];
    daemon_start(daemon, "--workers=4 --drain-timeout=3600");
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = client_connect(daemon);
        client_ping(fds[i], "GOT:", "hello");
    }
    daemon_signal(daemon, SIGTERM);
    (void)daemon_wait_line(daemon, "Stopping: waiting for 8 connections, 3600 s");
    for (int i = 0; i < CLIENTS; i++) {
        client_ping(fds[i], "GOT:", "I am left");
        client_shutdown(fds[i]);
        client_expect_end(fds[i]);
        assert_false(client_readable(daemon->pidfd, 0) && i < CLIENTS - 1);
    }
    assert_int_equal(daemon_wait_exit(daemon), 0);
}

static void deadline_of_all(struct daemon *daemon)
{
    int fds[CLIENTS];
    daemon_start(daemon, "--workers=4 --drain-timeout=1");
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = client_connect(daemon);
        client_ping(fds[i], "GOT:", "hello");
    }
    daemon_signal(daemon, SIGTERM);
    (void)daemon_wait_line(daemon, "Drain deadline: ending 8 connections");
    for (int i = 0; i < CLIENTS; i++) {
        client_expect_end(fds[i]);
        if (i % 2 == 0)
            client_close(fds[i]); /* the others are cut, two seconds later */
    }
    assert_int_equal(daemon_wait_exit(daemon), 0);
    assert_int_equal(daemon_count(daemon, "(the daemon stops)"), CLIENTS);
}

/* The second signal ends clients that do not read, too. */
static void second_signal_ends_all(struct daemon *daemon)
{
    struct stream jammed[CLIENTS];
    daemon_start(daemon, "--workers=4 --drain-timeout=3600");
    for (unsigned i = 0; i < CLIENTS; i++)
        stream_init(&jammed[i], client_connect_small(daemon), i, 1 << 28, true);
    streams_jam(jammed, CLIENTS);
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "they do not disturb me");
    daemon_signal(daemon, SIGTERM);
    (void)daemon_wait_line(daemon, "Stopping: waiting for 9 connections");
    daemon_signal(daemon, SIGINT);
    assert_int_equal(daemon_wait_exit(daemon), 0);
    assert_int_equal(daemon_count(daemon, "Stopping at once: ending 9 connections"), 1);
    assert_int_equal(daemon_count(daemon, "(the daemon stops)"), 9);
}

/* A daemon that is stopped while it hands many connections over ends in order at any moment. */
static void stop_amid_a_crowd(struct daemon *daemon)
{
    int fds[50];
    for (int i = 0; i < 20; i++) {
        daemon_start(daemon, "--workers=4 --drain-timeout=0");
        for (int j = 0; j < 50; j++) {
            fds[j] = client_try(daemon, "127.0.0.1");
            if (j == 2 * i)
                daemon_signal(daemon, SIGTERM);
        }
        for (int j = 0; j < 50; j++)
            if (fds[j] >= 0)
                client_close(fds[j]);
        assert_int_equal(daemon_wait_exit(daemon), 0);
    }
}

int main(void)
{
    harness_init();
    const struct CMUnitTest tests[] = {
        e2e_test(as_many_threads_as_asked_for),
        e2e_test(one_thread_per_cpu),
        e2e_test(one_thread_per_cpu_that_is_ours),
        e2e_test(clients_are_spread),
        e2e_test(the_least_loaded_is_next),
        e2e_test(queue_of_one_moves_up),
        e2e_test(queue_of_three_moves_up),
        e2e_test(limit_of_all_together),
        e2e_test(stats_are_sums),
        e2e_test(drain_waits_for_all),
        e2e_test(deadline_of_all),
        e2e_test(second_signal_ends_all),
        e2e_test(stop_amid_a_crowd),
    };
    return cmocka_run_group_tests_name("e2e.workers", tests, NULL, NULL);
}
