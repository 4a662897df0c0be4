/*
 * test_exhaustion.c - descriptors, memory and threads that run out, and come back. Clients that the
 * daemon has accepted get every byte, the others wait or are refused with a line in the log, and
 * afterwards everything is as it was before.
 */
#include "harness.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- 20,000 descriptors ---- */

enum {
    DESCRIPTORS = 20000,         /* of the daemon, if the test may have some more of its own */
    DESCRIPTORS_IN_SHORT = 2000, /* unless UVECHOD_TEST_ALL is set, as in CI's first phase */
    OWN_MORE = 400,              /* so many more than the daemon's clients the test must have */
    WAITING = 200,               /* clients more than the daemon may serve at once */
    LACKING = 100,               /* clients that it may serve and for which no descriptor is left */
    ROUNDS = 10,
    ROUNDS_OF_WORKERS = 3,
    SLACK_KB = 2048, /* memory that a daemon may keep */
};

static int crowd[DESCRIPTORS + WAITING];

/* What each client sends is another text. */
static size_t crowd_text(unsigned client, char text[static 32])
{
    return (size_t)snprintf(text, 32, "this is client %u", client);
}

/* The clients connect to several addresses: to one, most of its ports would soon be taken. */
static void crowd_enter(const struct daemon *daemon, unsigned first, unsigned end)
{
    char text[32];
    char address[32];
    for (unsigned i = first; i < end; i++) {
        (void)snprintf(address, sizeof address, "127.0.0.%u", i % 16 + 1);
        crowd[i] = client_connect_to(daemon, address);
        client_send(crowd[i], text, crowd_text(i, text));
    }
}

static void crowd_is_answered(unsigned first, unsigned end)
{
    char text[32];
    for (unsigned i = first; i < end; i++) {
        client_expect(crowd[i], "GOT:", 4);
        client_expect(crowd[i], text, crowd_text(i, text));
    }
}

static void crowd_waits(unsigned first, unsigned end)
{
    for (unsigned i = first; i < end; i++)
        if (client_readable(crowd[i], 0))
            fail_msg("Client %u of %u is not left to wait", i, end);
}

static void crowd_leaves(unsigned first, unsigned end)
{
    for (unsigned i = first; i < end; i++)
        client_reset(crowd[i]);
}

enum lack { LACK_DESCRIPTORS, LACK_MEMORY };

/* Sets the soft limit of one of these for the running daemon. Returns the limit before. */
static rlim_t set_limit(const struct daemon *daemon, enum lack lack, rlim_t soft)
{
    struct rlimit limit;
    const bool memory = lack == LACK_MEMORY; /* the C libraries differ in the resource's type */
    assert_int_equal(prlimit(daemon->pid, memory ? RLIMIT_AS : RLIMIT_NOFILE, NULL, &limit), 0);
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = soft;
    assert_int_equal(prlimit(daemon->pid, memory ? RLIMIT_AS : RLIMIT_NOFILE, &limit, NULL), 0);
    return before;
}

/* The resources of a daemon. */
struct weight {
    long memory_kb;
    long fds;
};

/* While the daemon lacks descriptors it tries to accept now and then, but not all the time. */
static void check_no_spin(const struct daemon *daemon)
{
    struct daemon_thread before = daemon_threads_sum(daemon);
    assert_false(client_readable(daemon->pidfd, 150));
    struct daemon_thread after = daemon_threads_sum(daemon);
    assert_between(after.cpu_ms - before.cpu_ms, 0, 100);
    assert_between(after.switches - before.switches, 0, 25);
}

/*
 * First some descriptors are taken away, so that fewer clients are accepted than the daemon may
 * serve. When it has them again, the clients above its limit still wait, until others leave.
 */
static void check_round(struct daemon *daemon, unsigned served, const struct weight *before)
{
    unsigned accepted = served - LACKING;
    unsigned all = served + WAITING;
    rlim_t nofile = set_limit(daemon, LACK_DESCRIPTORS, (rlim_t)before->fds + accepted);
    crowd_enter(daemon, 0, all);
    crowd_is_answered(0, accepted);
    assert_contains(daemon_wait_line(daemon, "Accepting paused"), strerror(EMFILE));
    check_no_spin(daemon);
    crowd_waits(accepted, all);
    (void)set_limit(daemon, LACK_DESCRIPTORS, nofile);
    crowd_is_answered(accepted, served);
    (void)daemon_wait_line(daemon, "Accepting again");
    crowd_waits(served, all);
    crowd_leaves(0, WAITING);
    crowd_is_answered(served, all);
    crowd_leaves(WAITING, all);
    daemon_wait_figure(daemon, daemon_fds, before->fds);
    if (!harness_sanitized())
        daemon_wait_figure(daemon, daemon_memory_kb, before->memory_kb + SLACK_KB);
}

/* How many descriptors the daemon is given: as many as leave enough for its clients. */
static rlim_t descriptors_to_give(void)
{
    struct rlimit own;
    bool in_full = getenv("UVECHOD_TEST_ALL") != NULL && harness_workers() == 1;
    rlim_t wanted = in_full ? DESCRIPTORS : DESCRIPTORS_IN_SHORT;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &own), 0);
    if (own.rlim_cur < 4 * OWN_MORE)
        harness_skip("too few descriptors");
    return own.rlim_cur < wanted + OWN_MORE ? own.rlim_cur - OWN_MORE : wanted;
}

static void descriptors_run_out_again_and_again(struct daemon *daemon)
{
    static const char allows[] = " allows ";
    daemon_start_mute(daemon,
                      (struct launch){.options = "-q --bind=0.0.0.0 --max-connections=1000000",
                                      .nofile = descriptors_to_give()});
    const char *line = daemon_wait_line(daemon, allows);
    unsigned served = (unsigned)strtoul(strstr(line, allows) + strlen(allows), NULL, 10);
    print_message("[          ] %u clients are served at once\n", served);
    const struct weight before = {daemon_memory_kb(daemon), daemon_fds(daemon)};
    int rounds = harness_workers() > 1 ? ROUNDS_OF_WORKERS : ROUNDS;
    for (int round = 0; round < rounds; round++)
        check_round(daemon, served, &before);
    client_visit(daemon);
    daemon_assert_asleep(daemon);
    assert_int_equal(daemon_count(daemon, "refused"), 0);
}

/* ---- memory ---- */

enum {
    NEWCOMERS = 4000, /* whose frames take more than the memory that malloc() has in store */
    OLD = 20,
    BULK = 40,
    BULK_BYTES = 1 << 20,
    FAR_TOO_MUCH = 1 << 28, /* bytes: more than the buffers of any socket hold */
};

/* From now on the daemon gets no more memory. Returns the limit before. */
static rlim_t take_memory_away(const struct daemon *daemon)
{
    char path[64];
    unsigned long pages;
    if (harness_sanitized())
        harness_skip("a sanitizer needs more address space than there may be");
    (void)snprintf(path, sizeof path, "/proc/%d/statm", (int)daemon->pid);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu", &pages), 1);
    (void)fclose(file);
    return set_limit(daemon, LACK_MEMORY, (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE));
}

/*
 * Receives the answer to the client's text. Returns false if the connection has ended instead,
 * which must be before the first byte.
 */
static bool newcomer_is_answered(unsigned client)
{
    char text[32];
    char byte;
    ssize_t n = recv(crowd[client], &byte, 1, MSG_PEEK);
    if (n < 0 && errno != ECONNRESET)
        fail_msg("recv: %s", strerror(errno));
    if (n <= 0)
        return false;
    client_expect(crowd[client], "GOT:", 4);
    client_expect(crowd[client], text, crowd_text(client, text));
    return true;
}

/* New clients come while there is no memory. Returns how many of them were refused. */
static unsigned enter_without_memory(struct daemon *daemon, const int *old)
{
    unsigned refused = 0;
    for (unsigned i = 0; i < NEWCOMERS; i++) {
        char text[32];
        crowd[i] = client_connect(daemon);
        (void)send(crowd[i], text, crowd_text(i, text),
                   MSG_NOSIGNAL); /* recv tells what came of it */
        if (!newcomer_is_answered(i)) {
            refused++;
            client_close(crowd[i]);
            crowd[i] = -1;
        }
        if (i % 100 == 0)
            (void)daemon_count(daemon, "refused"); /* reads, so that no line is lost */
        client_ping(old[i % OLD], "GOT:", "I was here before");
    }
    return refused;
}

/* After the lack of memory everything works again. */
static void check_memory_is_back(struct daemon *daemon, const struct weight *before)
{
    enum { AGAIN = 500 };
    crowd_enter(daemon, 0, AGAIN);
    crowd_is_answered(0, AGAIN);
    crowd_leaves(0, AGAIN);
    daemon_wait_figure(daemon, daemon_fds, before->fds);
    daemon_wait_figure(daemon, daemon_memory_kb, before->memory_kb + SLACK_KB);
    client_visit(daemon);
    daemon_assert_asleep(daemon);
}

/* Connects clients whose connections stay, so that each worker has served some. */
static void old_clients_enter(const struct daemon *daemon, int old[OLD])
{
    for (int i = 0; i < OLD; i++) {
        old[i] = client_connect(daemon);
        client_ping(old[i], "GOT:", "hello");
    }
}

/* New clients for whom there is no memory are refused, each with a line. No other is disturbed. */
static void new_clients_without_memory(struct daemon *daemon)
{
    int old[OLD];
    char stats[64];
    daemon_start(daemon, "--bind=0.0.0.0");
    const struct weight before = {daemon_memory_kb(daemon), daemon_fds(daemon)};
    old_clients_enter(daemon, old);
    rlim_t limit = take_memory_away(daemon);
    unsigned refused = enter_without_memory(daemon, old);
    print_message("[          ] %u of %d new clients were refused\n", refused, NEWCOMERS);
    assert_between(refused, 1, NEWCOMERS);
    (void)snprintf(stats, sizeof stats, "%u connections now, ", NEWCOMERS - refused + OLD);
    daemon_expect_stats(daemon, harness_workers(), stats);
    assert_int_equal(daemon_count(daemon, "Connection refused: Cannot allocate memory"), refused);
    assert_int_equal(daemon_count(daemon, "(Cannot allocate memory)"), 0);
    (void)snprintf(stats, sizeof stats, "; %u refused; ", refused);
    assert_contains(daemon->line, stats);
    (void)set_limit(daemon, LACK_MEMORY, limit);
    for (unsigned i = 0; i < NEWCOMERS; i++)
        if (crowd[i] >= 0)
            client_reset(crowd[i]);
    for (int i = 0; i < OLD; i++) {
        client_ping(old[i], "GOT:", "I am still here");
        client_leave(old[i]);
    }
    check_memory_is_back(daemon, &before);
}

/* Connects by a Unix socket, because few bytes fill it. */
static void streams_enter(struct stream *streams, const char *path, uint64_t total)
{
    for (unsigned i = 0; i < BULK; i++) {
        stream_init(&streams[i], client_connect_unix(path), i, total, true);
        streams[i].may_break = true;
    }
}

static unsigned count_broken(const struct stream *streams)
{
    unsigned broken = 0;
    for (unsigned i = 0; i < BULK; i++)
        broken += streams[i].broken;
    return broken;
}

/*
 * Each client that does not read holds a buffer. A connection for which there is no other buffer
 * ends, and a line says so; the others get every byte.
 */
static void check_buffers(struct daemon *daemon, bool spoke_before)
{
    static struct stream streams[BULK];
    char options[200];
    const char *path = harness_path("bulk");
    (void)snprintf(options, sizeof options, "--bind=0.0.0.0 --bind=unix:%s", path);
    daemon_start(daemon, options);
    const struct weight before = {daemon_memory_kb(daemon), daemon_fds(daemon)};
    int old[OLD];
    old_clients_enter(daemon, old);
    streams_enter(streams, path, FAR_TOO_MUCH);
    for (unsigned i = 0; i < BULK && spoke_before; i++)
        client_ping(streams[i].fd, "GOT:", "hello");
    rlim_t limit = take_memory_away(daemon);
    streams_jam(streams, BULK);
    streams_run(streams, BULK);
    unsigned ended = count_broken(streams);
    print_message("[          ] %u of %d streams were ended\n", ended, BULK);
    assert_between(ended, 1, BULK - 1);
    for (int i = 0; i < OLD; i++) {
        client_ping(old[i], "GOT:", "I said nothing meanwhile");
        client_leave(old[i]);
    }
    daemon_expect_stats(daemon, harness_workers(), "Statistics: 0 connections now");
    assert_int_equal(daemon_count(daemon, "(Cannot allocate memory)"), ended);
    (void)set_limit(daemon, LACK_MEMORY, limit);
    streams_enter(streams, path, BULK_BYTES);
    streams_run(streams, BULK);
    assert_int_equal(count_broken(streams), 0);
    check_memory_is_back(daemon, &before);
}

static void buffers_without_memory(struct daemon *daemon)
{
    check_buffers(daemon, true);
}

/* A connection that ends before its first byte was read is no health check then. */
static void first_buffers_without_memory(struct daemon *daemon)
{
    check_buffers(daemon, false);
}

/* ---- threads ---- */

/* A daemon that does not get all of its threads prints why, and ends with 1. */
static void threads_that_cannot_be_made(struct daemon *daemon)
{
    static struct outcome outcome;
    (void)daemon;
    if (harness_sanitized())
        harness_skip("a sanitizer makes a thread of its own");
    if (getuid() != 0)
        harness_skip("needs root, to become a user who has no other threads");
    for (rlim_t threads = 1; threads < 4; threads++) {
        harness_run(&outcome,
                    &(struct launch){.options = "--bind=127.0.0.1 --workers=4", .nproc = threads});
        if (outcome.status == 126 || outcome.status == 127)
            harness_skip("may not become another user, or that user may not run the program");
        assert_int_equal(outcome.status, 1);
        assert_contains(outcome.err, "Cannot start: Resource temporarily unavailable\n");
        assert_null(strstr(outcome.err, "Listening on "));
    }
    daemon_start_as(daemon, &(struct launch){.options = "--workers=4", .nproc = 4});
    client_visit(daemon);
}

int main(void)
{
    harness_init();
    const struct CMUnitTest tests[] = {
        e2e_test(descriptors_run_out_again_and_again),
        e2e_test(new_clients_without_memory),
        e2e_test(buffers_without_memory),
        e2e_test(first_buffers_without_memory),
        e2e_test(threads_that_cannot_be_made),
    };
    return cmocka_run_group_tests_name("e2e.exhaustion", tests, NULL, NULL);
}
