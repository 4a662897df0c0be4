/*
 * workers.c: which worker gets a connection, the limit, the sums, and the end of all threads. If a
 * test does not start the threads, connections stay in the mailboxes, so that the loads do not
 * change. uv_thread_create() is wrapped to fail, and sched_run() to end with the error of a task.
 */
#include "server/workers.h"

#include "unit/server/services.h"
#include "unit/support.h"

#include <errno.h>
#include <sys/wait.h>

enum { COUNT = 3, CONNS = 16 };

static struct {
    struct workers workers;
    struct log log;
    int null;
    int peer[CONNS];
    int count;
    struct listener listener; /* a listener that waits for room */
    int rooms;                /* how often the listener was woken */
    int fds;
    int calloc_at, loop_at, thread_at; /* the call that fails; counts down */
    int wrong;                         /* the worker with a wrong task; 0: none */
} fix;

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
int __real_uv_loop_init(uv_loop_t *loop);
int __wrap_uv_loop_init(uv_loop_t *loop);
int __real_uv_thread_create(uv_thread_t *thread, uv_thread_cb entry, void *arg);
int __wrap_uv_thread_create(uv_thread_t *thread, uv_thread_cb entry, void *arg);
int __real_sched_run(struct sched *sched);
int __wrap_sched_run(struct sched *sched);

void *__wrap_calloc(size_t count, size_t size)
{
    return fix.calloc_at > 0 && --fix.calloc_at == 0 ? NULL : __real_calloc(count, size);
}

int __wrap_uv_loop_init(uv_loop_t *loop)
{
    return fix.loop_at > 0 && --fix.loop_at == 0 ? -EMFILE : __real_uv_loop_init(loop);
}

int __wrap_uv_thread_create(uv_thread_t *thread, uv_thread_cb entry, void *arg)
{
    if (fix.thread_at > 0 && --fix.thread_at == 0)
        return -EAGAIN;
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
    const struct worker_config config = {
        .services = echo_services(), .log = &fix.log, .fd = fix.null, .highest_fd = 100};
    return workers_open(&fix.workers, count, CONNS, &config);
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

/* A thread that has not been started is like a stuck one. Later it answers, and is asked again. */
static void test_alive(void **state)
{
    (void)state;
    assert_true(workers_alive(&fix.workers));
    for (int i = 0; i < 3; i++)
        assert_false(workers_alive(&fix.workers));
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
                _exit(1);
            (void)take();
            const struct worker *worker = workers_run(&fix.workers);
            _exit(worker == &fix.workers.list[wrong] && worker->error == -EBUSY ? 0 : 2);
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
        TEST_WITH(bare, test_stats),
        TEST_WITH(bare, test_failures_to_open),
        TEST_WITH(bare, test_failures_to_start),
        TEST_WITH(bare, test_a_single_worker),
        TEST_WITH(bare, test_a_wrong_task),
    };
    loop_warm_up();
    return RUN_TESTS("workers", tests);
}
