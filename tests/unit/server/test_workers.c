/*
 * workers.c: which worker gets a connection, the limit, the sums, and the end of all threads. If a
 * test does not start the threads, connections stay in the mailboxes, so that the loads do not
 * change. uv_thread_create() is wrapped to fail, and sched_run() to end with the error of a task.
 */
#include "server/workers.h"

#include "unit/server/services.h"
#include "unit/ledgers.h"
#include "unit/support.h"

#include <errno.h>
#include <sys/wait.h>

enum { COUNT = 3, CONNS = 16 };

static struct {
    struct ledger ledger;
    struct workers workers;
    struct log log;
    int null;
    int peer[CONNS];
    int count;
    struct listener listener; /* a listener that waits for room */
    int rooms;                /* how often the listener was woken */
    int fds;
    struct sources sources;
    bool counts_turns;
    bool by_source;                              /* connections are counted by source */
    unsigned rate;                               /* of connections in a second */
    int calloc_at, loop_at, thread_at, async_at; /* the call that fails; counts down */
    int wrong;                                   /* the worker with a wrong task; 0: none */
    int trims;                                   /* calls of memory_trim() */
    int trims_at_thread;                         /* those before the last thread was made */
    int adopt;                                   /* what workers_adopt() has returned */
} fix;

void __wrap_memory_trim(void);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
int __real_uv_loop_init(uv_loop_t *loop);
int __wrap_uv_loop_init(uv_loop_t *loop);
int __real_uv_async_init(uv_loop_t *loop, uv_async_t *async, uv_async_cb callback);
int __wrap_uv_async_init(uv_loop_t *loop, uv_async_t *async, uv_async_cb callback);
int __real_uv_thread_create(uv_thread_t *thread, uv_thread_cb entry, void *arg);
int __wrap_uv_thread_create(uv_thread_t *thread, uv_thread_cb entry, void *arg);
int __real_sched_run(struct sched *sched);
int __wrap_sched_run(struct sched *sched);

void __wrap_memory_trim(void)
{
    fix.trims++;
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fix.calloc_at > 0 && --fix.calloc_at == 0 ? NULL : __real_calloc(count, size);
}

int __wrap_uv_loop_init(uv_loop_t *loop)
{
    return fix.loop_at > 0 && --fix.loop_at == 0 ? -EMFILE : __real_uv_loop_init(loop);
}

int __wrap_uv_async_init(uv_loop_t *loop, uv_async_t *async, uv_async_cb callback)
{
    /* libuv itself calls the real function for each loop. */
    return fix.async_at > 0 && --fix.async_at == 0 ? -EMFILE
                                                   : __real_uv_async_init(loop, async, callback);
}

int __wrap_uv_thread_create(uv_thread_t *thread, uv_thread_cb entry, void *arg)
{
    if (fix.thread_at > 0 && --fix.thread_at == 0)
        return -EAGAIN;
    fix.trims_at_thread = fix.trims;
    return __real_uv_thread_create(thread, entry, arg);
}

int __wrap_sched_run(struct sched *sched)
{
    if (fix.wrong > 0 && sched == &fix.workers.list[fix.wrong].sched)
        return -EBUSY;
    return __real_sched_run(sched);
}

static int try_open(unsigned count)
{
    const struct worker_config config = {.services = echo_services(),
                                         .sources = fix.by_source ? &fix.sources : NULL,
                                         .ledger = &fix.ledger,
                                         .log = &fix.log,
                                         .fd = fix.null,
                                         .highest_fd = 100,
                                         .counts_turns = fix.counts_turns};
    return workers_open(&fix.workers, count, CONNS, fix.rate, &config);
}

static bool is_full(void)
{
    return fix.workers.acceptor.full(&fix.workers.acceptor);
}

static struct yield room_step(struct task *task)
{
    fix.rooms++;
    return yield_park(task, room_step);
}

/* Parks a listener that has found no room. */
static void wait_for_room(void)
{
    fix.listener = (struct listener){.sched = workers_sched(&fix.workers),
                                     .acceptor = &fix.workers.acceptor,
                                     .parked = true,
                                     .task = {.resume = room_step}};
    list_append(&fix.workers.acceptor.parked, &fix.listener.link);
}

/* A fixture in which no worker is open. */
static int bare_open(void **state)
{
    (void)state;
    memset(&fix, 0, sizeof fix);
    fix.null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    log_init(&fix.log, fix.null, LOG_LEVEL_ERROR);
    /* A descriptor that epoll accepts. It does not accept /dev/null. */
    int fds[2];
    make_socketpair(fds);
    fix.peer[fix.count++] = fds[0];
    (void)close(fix.null);
    fix.null = fds[1];
    const struct services services = echo_services();
    ledger_of(&fix.ledger, &services);
    fix.fds = count_fds();
    return 0;
}

static int fixture_open(void **state)
{
    (void)bare_open(state);
    return try_open(COUNT);
}

static int bare_close(void **state)
{
    (void)state;
    for (int i = 1; i < fix.count; i++)
        (void)close(fix.peer[i]);
    assert_int_equal(count_fds(), fix.fds);
    (void)close(fix.peer[0]);
    (void)close(fix.null);
    ledger_close(&fix.ledger);
    log_close(&fix.log);
    return 0;
}

/* Ends all workers with their connections at once. */
static void finish(void)
{
    if (fix.workers.started == 0)
        assert_int_equal(workers_start(&fix.workers), 0);
    workers_order(&fix.workers, WORKER_DRAIN | WORKER_ABORT, -ESHUTDOWN);
    assert_null(workers_run(&fix.workers));
    assert_int_equal(workers_load(&fix.workers), 0);
}

static int fixture_close(void **state)
{
    finish();
    workers_close(&fix.workers);
    return bare_close(state);
}

/* Hands over one end of a socket pair. Returns the other end. */
static int take(void)
{
    int fds[2];
    make_socketpair(fds);
    fix.peer[fix.count++] = fds[1];
    const struct accepted accepted = {.fd = fds[0], .peer.in.sin_family = AF_INET};
    assert_int_equal(fix.workers.acceptor.take(&fix.workers.acceptor, &accepted), 0);
    return fds[1];
}

static void expect_loads(size_t first, size_t second, size_t third)
{
    assert_int_equal(worker_load(&fix.workers.list[0]), first);
    assert_int_equal(worker_load(&fix.workers.list[1]), second);
    assert_int_equal(worker_load(&fix.workers.list[2]), third);
    assert_int_equal(workers_load(&fix.workers), first + second + third);
}

static void test_ties_go_round(void **state)
{
    (void)state;
    (void)take();
    expect_loads(1, 0, 0);
    (void)take();
    expect_loads(1, 1, 0);
    (void)take();
    expect_loads(1, 1, 1);
    for (int i = 0; i < 4; i++)
        (void)take();
    expect_loads(3, 2, 2);
}

/* The loads change as if connections had opened and closed. The worker with the fewest is next. */
static void test_the_least_loaded_is_next(void **state)
{
    struct worker *list = fix.workers.list;
    (void)state;
    list[0].handed += 2;
    list[1].handed += 3;
    list[2].handed += 3;
    (void)take();
    expect_loads(3, 3, 3);
    list[0].handed -= 2;
    list[1].handed -= 3;
    list[2].handed -= 1;
    (void)take();
    expect_loads(1, 1, 2);
    list[2].handed -= 2;
    (void)take();
    expect_loads(1, 1, 1);
}

/* Connections in the mailboxes count, too. A listener that has found no room is woken later. */
static void test_the_limit(void **state)
{
    (void)state;
    fix.workers.limit = 2;
    assert_false(is_full());
    (void)take();
    assert_false(is_full());
    int second = take();
    assert_false(fix.workers.waiting);
    assert_true(is_full());
    assert_true(fix.workers.waiting);
    assert_int_equal(workers_start(&fix.workers), 0);
    assert_int_equal(shutdown(second, SHUT_RDWR), 0);
    wait_for_room();
    while (fix.rooms == 0) /* another thread rings the bell */
        (void)uv_run(&fix.workers.list[0].loop, UV_RUN_ONCE);
    assert_false(fix.workers.waiting);
    assert_false(is_full());
    assert_int_equal(workers_load(&fix.workers), 1);
}

/* A connection that its source may not have is closed, and its place goes to another source. */
static void test_a_source_with_enough(void **state)
{
    const union net_peer peers[] = {{.in = {.sin_family = AF_INET}},
                                    {.in6 = {.sin6_family = AF_INET6}}};
    struct stats stats;
    (void)state;
    fix.by_source = true;
    assert_int_equal(sources_open(&fix.sources, 3, 2), 0);
    assert_int_equal(try_open(COUNT), 0);
    (void)take();
    (void)take();
    for (int i = 0; i < 2; i++) {
        int fds[2];
        make_socketpair(fds);
        const struct accepted accepted = {.fd = fds[0], .peer = peers[i]};
        assert_int_equal(fix.workers.acceptor.take(&fix.workers.acceptor, &accepted),
                         i == 0 ? SOURCES_REFUSED : 0);
        assert_int_equal(fd_is_open(fds[0]), i == 1);
        fix.peer[fix.count++] = fds[1];
        expect_loads(1, 1, (size_t)i);
    }
    workers_stats(&fix.workers, &stats);
    assert_int_equal(stats.over_source, 1);
    assert_int_equal(stats.refused, 0);
    finish();
    for (int kind = 0; kind < SOURCE_KINDS; kind++)
        assert_int_equal(fix.sources.roots[kind], 0); /* every thread has left its sources */
    workers_close(&fix.workers);
    sources_close(&fix.sources);
}

/* A connection of a predecessor, whose entry is in force. Returns its descriptor. */
static int adopt(const union net_peer *peer)
{
    int fds[2];
    make_socketpair(fds);
    fix.peer[fix.count++] = fds[1];
    assert_int_equal(ledger_enter(&fix.ledger, fds[0], 0), 0);
    const struct accepted accepted = {.fd = fds[0], .adopted = true, .peer = *peer};
    fix.adopt = workers_adopt(&fix.workers, &accepted);
    return fds[0];
}

static bool is_served(int fd)
{
    struct ledger_state entry;
    assert_int_equal(ledger_read(&fix.ledger, (uint32_t)fd, &entry), 0);
    return entry.served;
}

/* They go to all workers, and do not wait for room. */
static void test_connections_of_a_predecessor(void **state)
{
    const union net_peer peer = {.in.sin_family = AF_INET};
    (void)state;
    fix.workers.limit = 1;
    for (int i = 0; i < COUNT; i++)
        assert_true(is_served(adopt(&peer)));
    expect_loads(1, 1, 1);
}

/* Those that are still to come count as open, and take the room of new ones. */
static void test_connections_that_are_to_come(void **state)
{
    struct stats stats;
    (void)state;
    fix.workers.limit = COUNT + 1;
    workers_expect(&fix.workers, COUNT);
    assert_false(is_full());
    (void)take();
    assert_int_equal(workers_load(&fix.workers), COUNT + 1);
    workers_stats(&fix.workers, &stats);
    assert_int_equal(stats.open, COUNT + 1);
    assert_true(is_full());
    workers_expect(&fix.workers, COUNT - 1);
    assert_false(is_full());
    workers_expect(&fix.workers, 0);
    assert_int_equal(workers_load(&fix.workers), 1);
}

/* Their sources are not known yet, so nobody else may take a place of a source. */
static void test_sources_that_are_to_come(void **state)
{
    (void)state;
    fix.by_source = true;
    assert_int_equal(sources_open(&fix.sources, 8, 2), 0);
    assert_int_equal(try_open(COUNT), 0);
    workers_expect(&fix.workers, 1);
    assert_true(is_full());
    wait_for_room();
    const int rooms = fix.rooms;
    workers_expect(&fix.workers, 0); /* wakes the listener */
    (void)uv_run(&fix.workers.list[0].loop, UV_RUN_NOWAIT);
    assert_int_equal(fix.rooms, rooms + 1);
    assert_false(is_full());
    finish();
    workers_close(&fix.workers);
    sources_close(&fix.sources);
}

/* One of those that are to come has ended, and leaves its place to somebody who waits. */
static void test_one_less_is_to_come(void **state)
{
    (void)state;
    assert_int_equal(try_open(COUNT), 0);
    fix.workers.limit = 2;
    workers_expect(&fix.workers, 2);
    assert_true(is_full());
    wait_for_room();
    const int rooms = fix.rooms;
    workers_expect(&fix.workers, 1);
    (void)uv_run(&fix.workers.list[0].loop, UV_RUN_NOWAIT);
    assert_int_equal(fix.rooms, rooms + 1);
    workers_expect(&fix.workers, 0);
    finish();
    workers_close(&fix.workers);
}

/* As long as a connection is in a mailbox, and no longer. */
static void test_workers_that_are_behind(void **state)
{
    int fds[COUNT];
    (void)state;
    assert_false(workers_are_behind(&fix.workers));
    for (int i = 0; i < COUNT; i++) {
        fds[i] = take();
        assert_int_equal(workers_are_behind(&fix.workers), i > 0); /* the first has no thread */
    }
    assert_int_equal(workers_start(&fix.workers), 0);
    for (int i = 1; i < COUNT; i++) {
        assert_int_equal(send(fds[i], "x", 1, 0), 1);
        wait_for(fds[i], POLLIN);
    }
    assert_false(workers_are_behind(&fix.workers));
}

/* The source may have fewer than it has: the rest is closed, and its entries are free. */
static void test_a_predecessor_with_a_higher_limit(void **state)
{
    const union net_peer peer = {.in.sin_family = AF_INET};
    struct stats stats;
    int fds[2];
    (void)state;
    fix.by_source = true;
    assert_int_equal(sources_open(&fix.sources, 8, 2), 0);
    assert_int_equal(try_open(COUNT), 0);
    for (int i = 0; i < 3; i++) {
        int fd = adopt(&peer);
        assert_int_equal(fix.adopt, i < 2 ? 0 : SOURCES_REFUSED);
        assert_int_equal(fd_is_open(fd), i < 2);
        assert_int_equal(is_served(fd), i < 2);
    }
    make_socketpair(fds);
    fix.peer[fix.count++] = fds[1];
    const struct accepted fresh = {.fd = fds[0], .peer = peer};
    assert_int_equal(workers_adopt(&fix.workers, &fresh), SOURCES_REFUSED);
    assert_false(fd_is_open(fds[0]));
    expect_loads(1, 1, 0);
    workers_stats(&fix.workers, &stats);
    assert_int_equal(stats.over_source, 2);
    finish();
    workers_close(&fix.workers);
    sources_close(&fix.sources);
}

/* It ends, and a line says why. */
static void test_no_memory_for_a_connection_of_a_predecessor(void **state)
{
    const union net_peer peer = {.in.sin_family = AF_INET};
    char text[256] = "";
    int lines[2];
    struct log log;
    struct stats stats;
    (void)state;
    make_socketpair(lines);
    log_init(&log, lines[1], LOG_LEVEL_WARNING);
    fix.workers.list[0].log = &log;
    fix.calloc_at = 1;
    int fd = adopt(&peer);
    fix.workers.list[0].log = &fix.log;
    (void)recv(lines[0], text, sizeof text - 1, MSG_DONTWAIT);
    char expected[256];
    (void)snprintf(expected, sizeof expected, "Connection refused: %s\n", strerror(ENOMEM));
    assert_string_equal(text, expected);
    assert_int_equal(fix.adopt, -ENOMEM);
    log_close(&log);
    (void)close(lines[0]);
    (void)close(lines[1]);
    assert_false(fd_is_open(fd));
    assert_false(is_served(fd));
    expect_loads(0, 0, 0);
    workers_stats(&fix.workers, &stats);
    assert_int_equal(stats.refused, 1);
}

/* Each connection takes a token. Without one there is no room, though the limit is far. */
static void test_the_rate(void **state)
{
    (void)state;
    fix.rate = 3;
    assert_int_equal(try_open(1), 0);
    for (int i = 0; i < 3; i++) {
        assert_false(is_full());
        (void)take();
    }
    assert_true(is_full());
    wait_for_room();
    while (fix.rooms == 0) /* a timer of a third of a second wakes the listener */
        (void)uv_run(&fix.workers.list[0].loop, UV_RUN_ONCE);
    assert_false(is_full());
    (void)take();
    assert_true(is_full());
    finish();
    workers_close(&fix.workers);
}

/* Each worker has its own thread. The sums are final when no connection is open. */
static void test_stats(void **state)
{
    struct stats stats;
    char answer[16];
    (void)state;
    assert_int_equal(try_open(COUNT), 0);
    for (int i = 0; i < 6; i++) {
        int fd = take();
        assert_int_equal(send(fd, "hello", 5, 0), 5);
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
    }
    counter_add(&fix.workers.list[2].refused, 1);
    fix.workers.list[2].handed++;
    assert_int_equal(workers_start(&fix.workers), 0);
    workers_order(&fix.workers, WORKER_DRAIN, 0);
    assert_null(workers_run(&fix.workers));
    workers_stats(&fix.workers, &stats);
    assert_int_equal(stats.open, 0);
    assert_int_equal(stats.accepted, 6);
    assert_int_equal(stats.refused, 1);
    assert_int_equal(stats.bytes_in, 30);
    assert_int_equal(stats.bytes_out, 54);
    for (int i = 1; i <= 6; i++)
        assert_int_equal(recv(fix.peer[i], answer, sizeof answer, 0), 9);
    workers_close(&fix.workers);
}

/* Each has its own, and a turn is one of the loop. Without the wish, none is counted. */
static void test_stats_of_each(void **state)
{
    struct stats stats = {.workers = 0};
    (void)state;
    for (int i = 0; i < 2; i++) {
        fix.counts_turns = i > 0;
        assert_int_equal(try_open(COUNT), 0);
        for (int j = 0; j < COUNT + 1; j++)
            (void)take();
        loop_turn(&fix.workers.list[0].loop);
        workers_stats_each(&fix.workers, &stats);
        assert_int_equal(stats.workers, COUNT);
        assert_int_equal(stats.worker[0].connections, 2);
        assert_int_equal(stats.worker[1].connections, 1);
        assert_int_equal(stats.worker[0].turns, i);
        assert_int_equal(stats.worker[1].turns, 0);
        assert_false(workers_are_full(&fix.workers));
        finish();
        workers_close(&fix.workers);
    }
}

/* A thread that has not been started is like a stuck one. Later it answers, and is asked again. */
static void test_alive(void **state)
{
    (void)state;
    assert_int_equal(workers_silent_ms(&fix.workers), 0);
    assert_true(workers_alive(&fix.workers));
    for (int i = 0; i < 3; i++)
        assert_false(workers_alive(&fix.workers));
    assert_true(workers_silent_ms(&fix.workers) < 3600000); /* since now, and not since 1970 */
    fix.workers.pulsed_ms -= 3600000;
    assert_true(workers_silent_ms(&fix.workers) >= 3600000);
    assert_int_equal(workers_start(&fix.workers), 0);
    while (!workers_alive(&fix.workers)) /* the watchdog of the tests limits this loop */
        ;
    while (!workers_alive(&fix.workers)) /* the second question is answered, too */
        ;
}

/* A failed call closes what it has opened: the number of open descriptors is the same. */
static void test_failures_to_open(void **state)
{
    (void)state;
    fix.calloc_at = 1;
    assert_int_equal(try_open(COUNT), -ENOMEM);
    for (int i = 1; i <= COUNT; i++) {
        fix.loop_at = i;
        assert_int_equal(try_open(COUNT), -EMFILE);
        assert_int_equal(count_fds(), fix.fds);
        fix.async_at = i; /* the bells of the threads, and then the common one */
        assert_int_equal(try_open(COUNT), -EMFILE);
        assert_int_equal(fix.async_at, 0);
        assert_int_equal(count_fds(), fix.fds);
    }
}

/* If a thread cannot be started, those that run end as usual. */
static void test_failures_to_start(void **state)
{
    (void)state;
    for (int i = 1; i < COUNT; i++) {
        assert_int_equal(try_open(COUNT), 0);
        fix.thread_at = i;
        assert_int_equal(workers_start(&fix.workers), -EAGAIN);
        assert_int_equal(fix.workers.started, i - 1);
        workers_order(&fix.workers, WORKER_DRAIN, 0);
        assert_null(workers_run(&fix.workers));
        workers_close(&fix.workers);
    }
}

/* Whatever allocates, the first call is over before a second thread can call. */
static void test_trims_before_there_are_threads(void **state)
{
    (void)state;
    assert_int_equal(try_open(2), 0);
    assert_int_equal(workers_start(&fix.workers), 0);
    assert_int_equal(fix.trims_at_thread, 1);
    workers_order(&fix.workers, WORKER_DRAIN, 0);
    assert_null(workers_run(&fix.workers));
    workers_close(&fix.workers);
}

/* One worker needs no thread and no bell. */
static void test_a_single_worker(void **state)
{
    (void)state;
    assert_int_equal(try_open(1), 0);
    int fds = count_fds();
    assert_int_equal(workers_start(&fix.workers), 0);
    assert_int_equal(count_fds(), fds);
    assert_int_equal(fix.workers.started, 0);
    fix.workers.limit = 1;
    (void)take();
    assert_true(is_full());
    wait_for_room();
    assert_true(workers_alive(&fix.workers));
    assert_true(workers_alive(&fix.workers));
    workers_order(&fix.workers, WORKER_ABORT, -ESHUTDOWN);
    assert_null(workers_run(&fix.workers));
    assert_int_equal(fix.rooms, 1);
    assert_false(is_full());
    workers_close(&fix.workers);
}

/* Sends, and receives the answer: the worker's thread runs. */
static void expect_answer(int fd)
{
    char answer[16];
    assert_int_equal(send(fd, "hello", 5, 0), 5);
    wait_for(fd, POLLIN);
    assert_int_equal(recv(fd, answer, sizeof answer, 0), 9);
}

/* At rest, no thread answers, and none is in a mailbox. Afterwards all go on, as often as wanted.
 */
static void test_rest(void **state)
{
    struct stats stats;
    (void)state;
    (void)take(); /* goes to the first worker, whose loop does not run here */
    assert_int_equal(workers_start(&fix.workers), 0);
    for (int i = 0; i < 3; i++) {
        int second = take();
        int third = take();
        workers_rest(&fix.workers);
        expect_loads((size_t)i + 1, (size_t)i + 1, (size_t)i + 1);
        workers_stats(&fix.workers, &stats);
        assert_int_equal(stats.accepted, 3 * (i + 1)); /* each has its task */
        assert_int_equal(fix.workers.list[1].mailbox.mail.count, 0);
        assert_int_equal(send(second, "hello", 5, 0), 5);
        assert_false(net_ready(second, POLLIN));
        workers_resume(&fix.workers);
        assert_int_equal(fix.workers.started, COUNT - 1);
        wait_for(second, POLLIN);
        expect_answer(third);
        (void)take();
    }
}

/* With one worker there is nobody to rest. */
static void test_rest_of_a_single_worker(void **state)
{
    (void)state;
    assert_int_equal(try_open(1), 0);
    assert_int_equal(workers_start(&fix.workers), 0);
    workers_rest(&fix.workers);
    workers_resume(&fix.workers);
    finish();
    workers_close(&fix.workers);
}

/* In a child process, because nothing is closed: the daemon stops, and the exit code says so. */
static void check_no_resumption(int wrong, int thread, unsigned started, int error)
{
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (try_open(COUNT) < 0)
            child_exit(1);
        fix.wrong = wrong;
        if (workers_start(&fix.workers) < 0)
            child_exit(2);
        workers_rest(&fix.workers);
        fix.thread_at = thread;
        workers_resume(&fix.workers);
        if (fix.workers.started != started)
            child_exit(4);
        (void)take();
        const struct worker *worker = workers_run(&fix.workers);
        child_exit(worker == &fix.workers.list[0] && worker->error == error ? 0 : 3);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

static void test_a_thread_that_cannot_be_made_again(void **state)
{
    (void)state;
    check_no_resumption(0, 1, 0, -EAGAIN);
    check_no_resumption(0, 2, 1, -EAGAIN);
}

static void test_a_wrong_task_at_rest(void **state)
{
    (void)state;
    check_no_resumption(2, 0, 0, -EBUSY);
}

/* In a child process, because nothing is closed. All workers stop; the wrong one is returned. */
static void test_a_wrong_task(void **state)
{
    int status;
    (void)state;
    for (int wrong = 1; wrong < COUNT; wrong++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            fix.wrong = wrong;
            if (try_open(COUNT) < 0 || workers_start(&fix.workers) < 0)
                child_exit(1);
            (void)take();
            const struct worker *worker = workers_run(&fix.workers);
            child_exit(worker == &fix.workers.list[wrong] && worker->error == -EBUSY ? 0 : 2);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_ties_go_round),
        FIXTURE_TEST(test_the_least_loaded_is_next),
        FIXTURE_TEST(test_the_limit),
        FIXTURE_TEST(test_alive),
        FIXTURE_TEST(test_connections_of_a_predecessor),
        FIXTURE_TEST(test_connections_that_are_to_come),
        FIXTURE_TEST(test_workers_that_are_behind),
        FIXTURE_TEST(test_no_memory_for_a_connection_of_a_predecessor),
        TEST_WITH(bare, test_a_predecessor_with_a_higher_limit),
        TEST_WITH(bare, test_sources_that_are_to_come),
        TEST_WITH(bare, test_one_less_is_to_come),
        TEST_WITH(bare, test_a_source_with_enough),
        TEST_WITH(bare, test_the_rate),
        TEST_WITH(bare, test_stats),
        TEST_WITH(bare, test_stats_of_each),
        TEST_WITH(bare, test_failures_to_open),
        TEST_WITH(bare, test_failures_to_start),
        TEST_WITH(bare, test_trims_before_there_are_threads),
        TEST_WITH(bare, test_a_single_worker),
        TEST_WITH(bare, test_a_wrong_task),
        FIXTURE_TEST(test_rest),
        TEST_WITH(bare, test_rest_of_a_single_worker),
        TEST_WITH(bare, test_a_thread_that_cannot_be_made_again),
        TEST_WITH(bare, test_a_wrong_task_at_rest),
    };
    loop_warm_up();
    return RUN_TESTS("workers", tests);
}
