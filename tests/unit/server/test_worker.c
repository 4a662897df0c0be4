/*
 * worker.c: a worker with a mailbox, whose loop runs on the test's thread. The tests hand over
 * connections and give orders, and check what the worker does in which order. Each call by which
 * worker_open() can fail is wrapped.
 */
#include "server/worker.h"

#include "unit/server/services.h"
#include "unit/ledgers.h"
#include "unit/support.h"

#include "os/descriptors.h"

#include <errno.h>

static struct {
    struct ledger ledger;
    struct worker worker;
    struct log log;
    int log_pipe[2];
    int peer[4]; /* the clients' ends */
    int count;
    struct worker_parent parent;
    int rooms; /* calls of on_room */
    int fds;   /* open before the test */
    struct services services;
    unsigned busy_us;
    struct {
        int probe, loop, reserve, mutex, async; /* errnos */
        bool put, conn;                         /* mailbox_put(), conn_open() fail */
    } fault;
} fix;

int __real_descriptors_probe(int fd);
int __wrap_descriptors_probe(int fd);
int __real_uv_loop_init(uv_loop_t *loop);
int __wrap_uv_loop_init(uv_loop_t *loop);
int __real_sock_reserve(uv_loop_t *loop, int fd, int highest_fd);
int __wrap_sock_reserve(uv_loop_t *loop, int fd, int highest_fd);
int __real_uv_mutex_init(uv_mutex_t *mutex);
int __wrap_uv_mutex_init(uv_mutex_t *mutex);
int __real_uv_async_init(uv_loop_t *loop, uv_async_t *async, uv_async_cb callback);
int __wrap_uv_async_init(uv_loop_t *loop, uv_async_t *async, uv_async_cb callback);
int __real_mailbox_put(struct mailbox *mailbox, const struct accepted *accepted);
int __wrap_mailbox_put(struct mailbox *mailbox, const struct accepted *accepted);
int __real_conn_open(struct conns *conns, const struct accepted *accepted);
int __wrap_conn_open(struct conns *conns, const struct accepted *accepted);

int __wrap_descriptors_probe(int fd)
{
    return fix.fault.probe < 0 ? fix.fault.probe : __real_descriptors_probe(fd);
}

int __wrap_uv_loop_init(uv_loop_t *loop)
{
    return fix.fault.loop < 0 ? fix.fault.loop : __real_uv_loop_init(loop);
}

int __wrap_sock_reserve(uv_loop_t *loop, int fd, int highest_fd)
{
    return fix.fault.reserve < 0 ? fix.fault.reserve : __real_sock_reserve(loop, fd, highest_fd);
}

int __wrap_uv_mutex_init(uv_mutex_t *mutex)
{
    return fix.fault.mutex < 0 ? fix.fault.mutex : __real_uv_mutex_init(mutex);
}

int __wrap_uv_async_init(uv_loop_t *loop, uv_async_t *async, uv_async_cb callback)
{
    return fix.fault.async < 0 ? fix.fault.async : __real_uv_async_init(loop, async, callback);
}

int __wrap_mailbox_put(struct mailbox *mailbox, const struct accepted *accepted)
{
    return fix.fault.put ? -ENOMEM : __real_mailbox_put(mailbox, accepted);
}

int __wrap_conn_open(struct conns *conns, const struct accepted *accepted)
{
    if (!fix.fault.conn)
        return __real_conn_open(conns, accepted);
    net_close(accepted->fd);
    return -ENOMEM;
}

static void on_room(struct worker_parent *parent, const struct worker *worker)
{
    assert_ptr_equal(parent, &fix.parent);
    assert_ptr_equal(worker, &fix.worker);
    fix.rooms++;
}

static int try_open(bool threaded)
{
    const struct worker_config config = {.services = fix.services,
                                         .ledger = &fix.ledger,
                                         .busy_us = fix.busy_us,
                                         .log = &fix.log,
                                         .fd = fix.log_pipe[0],
                                         .highest_fd = 100};
    fix.parent.on_room = on_room;
    return worker_open(&fix.worker, &config, &fix.parent, threaded);
}

/* A fixture in which no worker is open. */
static int bare_open(void **state)
{
    (void)state;
    memset(&fix, 0, sizeof fix);
    assert_int_equal(pipe2(fix.log_pipe, O_CLOEXEC | O_NONBLOCK), 0);
    log_init(&fix.log, fix.log_pipe[1], LOG_LEVEL_INFO);
    fix.services = echo_services();
    ledger_of(&fix.ledger, &fix.services);
    fix.fds = count_fds();
    return 0;
}

static int bare_close(void **state)
{
    (void)state;
    for (int i = 0; i < fix.count; i++)
        (void)close(fix.peer[i]);
    assert_int_equal(count_fds(), fix.fds);
    ledger_close(&fix.ledger);
    log_close(&fix.log);
    (void)close(fix.log_pipe[0]);
    (void)close(fix.log_pipe[1]);
    return 0;
}

static int fixture_open(void **state)
{
    (void)bare_open(state);
    return try_open(true);
}

static int fixture_close(void **state)
{
    worker_close(&fix.worker);
    return bare_close(state);
}

/* Hands over one end of a socket pair. Returns the other end. */
static int take(int expected)
{
    int fds[2];
    make_socketpair(fds);
    fix.peer[fix.count++] = fds[1];
    const struct accepted accepted = {.fd = fds[0], .peer.in.sin_family = AF_INET};
    assert_int_equal(worker_take(&fix.worker, &accepted), expected);
    if (expected < 0)
        assert_false(fd_is_open(fds[0]));
    return fds[1];
}

static void expect_log(const char *expected)
{
    char text[1024];
    ssize_t n = read(fix.log_pipe[0], text, sizeof text - 1);
    text[n > 0 ? n : 0] = '\0';
    assert_string_equal(text, expected);
}

static void expect_end(int fd)
{
    char byte;
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
}

/* The worker reads the connections before the order, serves them, and ends with the last one. */
static void test_drains(void **state)
{
    char answer[16];
    (void)state;
    for (int i = 0; i < 3; i++) {
        int fd = take(0);
        assert_int_equal(send(fd, "hello", 5, 0), 5);
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
    }
    assert_int_equal(worker_load(&fix.worker), 3); /* they are in the mailbox */
    worker_order(&fix.worker, WORKER_DRAIN, 0);
    worker_run(&fix.worker);
    assert_int_equal(fix.worker.error, 0);
    assert_int_equal(worker_load(&fix.worker), 0);
    assert_int_equal(fix.rooms, 3);
    assert_int_equal(counter_get(&fix.worker.conns.accepted), 3);
    assert_int_equal(counter_get(&fix.worker.conns.bytes_in), 15);
    assert_int_equal(counter_get(&fix.worker.conns.bytes_out), 27);
    for (int i = 0; i < 3; i++)
        assert_int_equal(recv(fix.peer[i], answer, sizeof answer, 0), 9);
}

static void test_aborts(void **state)
{
    (void)state;
    int fd = take(0);
    worker_order(&fix.worker, WORKER_DRAIN, 0);
    worker_order(&fix.worker, WORKER_ABORT, -ESHUTDOWN);
    worker_run(&fix.worker);
    expect_end(fd);
    assert_int_equal(fix.rooms, 1);
}

/* The worker sends a FIN. The connection stays open until the FIN of the peer arrives. */
static void test_shuts(void **state)
{
    (void)state;
    int fd = take(0);
    worker_order(&fix.worker, WORKER_SHUT, -ESHUTDOWN);
    while (worker_load(&fix.worker) == 1 && !(recv(fd, &(char){0}, 1, MSG_PEEK) == 0))
        loop_turn(&fix.worker.loop);
    assert_int_equal(worker_load(&fix.worker), 1);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    worker_order(&fix.worker, WORKER_DRAIN, 0);
    worker_run(&fix.worker);
    expect_end(fd);
}

/* A worker is alive if it has carried out the last WORKER_PULSE, in a turn of its run queue. */
static void test_pulse(void **state)
{
    (void)state;
    assert_true(worker_alive(&fix.worker));
    worker_order(&fix.worker, WORKER_PULSE, 0);
    worker_order(&fix.worker, WORKER_PULSE, 0);
    assert_false(worker_alive(&fix.worker));
    for (int i = 0; i < 10 && !worker_alive(&fix.worker); i++)
        loop_turn(&fix.worker.loop);
    assert_true(worker_alive(&fix.worker));
    worker_order(&fix.worker, WORKER_PULSE, 0);
    assert_false(worker_alive(&fix.worker));
    fix.worker.ended = true; /* a thread that has ended need not answer */
    assert_true(worker_alive(&fix.worker));
}

/* If very many sockets are ready, libuv looks twice for the bell before the reader runs. */
static void test_the_bell_rings_twice(void **state)
{
    (void)state;
    loop_turn(&fix.worker.loop); /* the reader's first step */
    int fd = take(0);
    while (!fix.worker.reading)
        loop_turn(&fix.worker.loop);
    fix.worker.bell.async_cb(&fix.worker.bell);
    assert_int_equal(send(fd, "hello", 5, 0), 5);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    worker_order(&fix.worker, WORKER_DRAIN, 0);
    worker_run(&fix.worker);
    assert_int_equal(fix.worker.error, 0);
    assert_int_equal(counter_get(&fix.worker.conns.bytes_in), 5);
}

/* The loop returns at once and leaves its connections open. */
static void test_quits(void **state)
{
    (void)state;
    int fd = take(0);
    worker_order(&fix.worker, WORKER_QUIT, 0);
    worker_run(&fix.worker);
    assert_int_equal(worker_load(&fix.worker), 1);
    assert_int_equal(recv(fd, &(char){0}, 1, 0), -1);
    worker_order(&fix.worker, WORKER_DRAIN | WORKER_ABORT, -ESHUTDOWN);
    worker_run(&fix.worker);
}

static void test_no_memory_for_a_connection(void **state)
{
    (void)state;
    fix.fault.conn = true;
    int fd = take(0);
    worker_order(&fix.worker, WORKER_DRAIN, 0);
    worker_run(&fix.worker);
    expect_end(fd);
    assert_int_equal(counter_get(&fix.worker.refused), 1);
    assert_int_equal(worker_load(&fix.worker), 0);
    assert_int_equal(fix.rooms, 1);
    char line[128];
    (void)snprintf(line, sizeof line, "Connection refused: %s\n", strerror(ENOMEM));
    expect_log(line);
}

static void test_no_memory_for_a_handover(void **state)
{
    (void)state;
    fix.fault.put = true;
    int fd = take(-ENOMEM);
    expect_end(fd);
    assert_int_equal(worker_load(&fix.worker), 0);
    assert_int_equal(counter_get(&fix.worker.refused), 0); /* the caller counts this refusal */
}

/* The place that the connection has among the sources is free again. */
static void test_a_source_after_a_failed_handover(void **state)
{
    const union net_peer peer = {.in.sin_family = AF_INET};
    struct sources sources;
    (void)state;
    assert_int_equal(sources_open(&sources, 1, 1), 0);
    assert_true(sources_enter(&sources, &peer));
    fix.worker.conns.sources = &sources;
    fix.fault.put = true;
    (void)take(-ENOMEM);
    fix.worker.conns.sources = NULL;
    assert_true(sources_enter(&sources, &peer));
    sources_close(&sources);
}

/* A successor closes the epoll descriptor: execve(2) would let everybody wait for that. */
static void test_the_loop_outlives_the_program(void **state)
{
    (void)state;
    assert_int_equal(try_open(false), 0);
    assert_int_equal(fcntl(uv_backend_fd(&fix.worker.loop), F_GETFD), 0);
    worker_close(&fix.worker);
}

static void test_without_a_thread(void **state)
{
    (void)state;
    assert_int_equal(try_open(false), 0);
    int fd = take(0);
    assert_int_equal(counter_get(&fix.worker.conns.accepted), 1); /* in the call itself */
    assert_int_equal(worker_load(&fix.worker), 1);
    worker_order(&fix.worker, WORKER_PULSE, 0);
    assert_true(worker_alive(&fix.worker));
    worker_order(&fix.worker, WORKER_ABORT, -ESHUTDOWN);
    worker_run(&fix.worker);
    expect_end(fd);
    fix.fault.conn = true;
    (void)take(-ENOMEM);
    assert_int_equal(worker_load(&fix.worker), 0);
    worker_close(&fix.worker);
}

static void on_handle(uv_handle_t *handle, void *count)
{
    *(int *)count += handle->type == UV_CHECK;
}

static int count_checks(void)
{
    int count = 0;
    uv_walk(&fix.worker.loop, on_handle, &count);
    return count;
}

/* A loop that polls instead of sleeping ends as ever, and without the option has no handle of it.
 */
static void test_a_spinner(void **state)
{
    (void)state;
    for (fix.busy_us = 0; fix.busy_us < 2000000; fix.busy_us += 1000000) {
        assert_int_equal(try_open(false), 0);
        assert_int_equal(count_checks(), fix.busy_us > 0);
        int fd = take(0);
        worker_order(&fix.worker, WORKER_SHUT, -ESHUTDOWN);
        (void)shutdown(fd, SHUT_WR);
        worker_run(&fix.worker);
        assert_int_equal(fix.worker.error, 0);
        expect_end(fd);
        worker_close(&fix.worker);
    }
}

/* A worker that fails to open leaves no descriptor open. */
static void test_failures(void **state)
{
    int *const faults[] = {&fix.fault.probe, &fix.fault.loop, &fix.fault.reserve, &fix.fault.mutex,
                           &fix.fault.async};
    (void)state;
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        *faults[i] = -EMFILE;
        assert_int_equal(try_open(true), -EMFILE);
        assert_int_equal(count_fds(), fix.fds);
        *faults[i] = 0;
    }
}

static void *open_nothing(const void *config, struct ledger *ledger)
{
    (void)config, (void)ledger;
    return NULL;
}

/* A service has no memory for its state. */
static void test_a_service_that_cannot_open(void **state)
{
    static const struct handler handler = {.frame_size = sizeof(struct conn), .open = open_nothing};
    static const struct service service = {.handler = &handler};
    (void)state;
    fix.services = (struct services){.list = &service, .count = 1};
    for (int threaded = 0; threaded < 2; threaded++) {
        assert_int_equal(try_open(threaded), -ENOMEM);
        assert_int_equal(count_fds(), fix.fds);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_drains),
        FIXTURE_TEST(test_aborts),
        FIXTURE_TEST(test_shuts),
        FIXTURE_TEST(test_pulse),
        FIXTURE_TEST(test_the_bell_rings_twice),
        FIXTURE_TEST(test_quits),
        FIXTURE_TEST(test_no_memory_for_a_connection),
        FIXTURE_TEST(test_no_memory_for_a_handover),
        FIXTURE_TEST(test_a_source_after_a_failed_handover),
        TEST_WITH(bare, test_the_loop_outlives_the_program),
        TEST_WITH(bare, test_without_a_thread),
        TEST_WITH(bare, test_a_spinner),
        TEST_WITH(bare, test_failures),
        TEST_WITH(bare, test_a_service_that_cannot_open),
    };
    loop_warm_up();
    return RUN_TESTS("worker", tests);
}
