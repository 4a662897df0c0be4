/*
 * reaper.c: when connections are ended. uv_now() is wrapped, and a sleep is over when the test
 * says so, so nothing here waits. The steps of the task and of the connections, which are on socket
 * pairs, are called by hand as the scheduler would.
 */
#include "stream/reaper.h"

#include "unit/ledgers.h"
#include "unit/support.h"

#include <errno.h>
#include <limits.h>

enum {
    CONNS = 300,
    IDLE_MS = 1000,
    SEND_MS = 2000,
    LOOK_MS = 500,
    HEADER_MS = 700,
    SLICE = 256,
    NOT_CLOSED = 1
};

static struct {
    uv_loop_t loop;
    struct sched sched;
    struct recorder recorder;
    struct ledger ledger;
    struct conns conns;
    struct reaper reaper;
    uint64_t now_ms;
    struct conn *conns_opened[CONNS]; /* NULL when closed */
    int errors[CONNS];
    int peers[CONNS];
    int count;
    size_t unsent;     /* what the kernel holds of each */
    uint32_t moved_ms; /* since it moved the last byte of each */
    int looks;         /* how often it was asked what it holds */
    unsigned look_ms;  /* how long each of these calls takes */
    unsigned late_ms;  /* how far the loop's time is behind */
    int discards;      /* connections whose unsent bytes are to be thrown away */
} fix;

size_t __wrap_net_unsent(int fd);
void __wrap_net_discard(int fd);
uint32_t __wrap_net_moved_ms(int fd);
uint64_t __wrap_uv_now(const uv_loop_t *loop);
void __wrap_uv_update_time(uv_loop_t *loop);
void __wrap_sched_spawn(struct sched *sched, struct task *task, task_step *first);
void __wrap_sched_wake(struct sched *sched, struct task *task);

size_t __wrap_net_unsent(int fd)
{
    assert_true(fd_is_open(fd));
    fix.looks++;
    fix.late_ms += fix.look_ms;
    return fix.unsent;
}

void __wrap_net_discard(int fd)
{
    assert_true(fd_is_open(fd));
    fix.discards++;
}

uint32_t __wrap_net_moved_ms(int fd)
{
    assert_true(fd_is_open(fd));
    return fix.moved_ms;
}

uint64_t __wrap_uv_now(const uv_loop_t *loop)
{
    assert_ptr_equal(loop, &fix.loop);
    return fix.now_ms;
}

void __wrap_uv_update_time(uv_loop_t *loop)
{
    assert_ptr_equal(loop, &fix.loop);
    fix.now_ms += fix.late_ms;
    fix.late_ms = 0;
}

void __wrap_sched_spawn(struct sched *sched, struct task *task, task_step *first)
{
    assert_ptr_equal(sched, &fix.sched);
    *task = (struct task){.resume = first};
}

void __wrap_sched_wake(struct sched *sched, struct task *task)
{
    assert_ptr_equal(sched, &fix.sched);
    fix.recorder.waker.wake(&fix.recorder.waker, task);
}

static struct yield silent_step(struct task *task)
{
    struct conn *conn = container_of(task, struct conn, task);
    return yield_recv(task, &conn->sock, silent_step);
}

static void silent_release(struct conn *conn)
{
    (void)conn;
}

static const struct handler silent_handler = {
    .frame_size = sizeof(struct conn), .start = silent_step, .release = silent_release};

static void on_event(struct conn *conn, enum conn_event event, int error)
{
    if (event == CONN_OPENED)
        fix.conns_opened[fix.count++] = conn;
    if (event != CONN_CLOSED)
        return;
    for (int i = 0; i < fix.count; i++)
        if (fix.conns_opened[i] == conn) {
            fix.conns_opened[i] = NULL;
            fix.errors[i] = error;
        }
}

/* The waker of the sched that the connections and the reaper know: records the reaper's wakes. */
static void on_wake(struct waker *waker, struct task *task)
{
    assert_ptr_equal(waker, &fix.sched.waker);
    if (task == &fix.reaper.task)
        fix.recorder.waker.wake(&fix.recorder.waker, task);
}

static const struct service silent_service = {.handler = &silent_handler};
static const struct services silent_services = {.list = &silent_service, .count = 1};

static int fixture_open(void **state)
{
    (void)state;
    memset(&fix, 0, sizeof fix);
    assert_int_equal(uv_loop_init(&fix.loop), 0);
    recorder_init(&fix.recorder);
    fix.now_ms = 1234567;
    fix.moved_ms = UINT32_MAX;
    fix.sched = (struct sched){.waker.wake = on_wake, .loop = &fix.loop};
    ledger_of(&fix.ledger, &silent_services);
    if (conns_open(&fix.conns, &fix.sched, &silent_services, &fix.ledger, on_event) < 0)
        return -1;
    reaper_start(&fix.reaper, &fix.conns, IDLE_MS, 0);
    return 0;
}

static int fixture_close(void **state)
{
    (void)state;
    conns_abort_all(&fix.conns, 0);
    for (int i = 0; i < fix.count; i++) {
        if (fix.conns_opened[i] != NULL)
            (void)fix.conns_opened[i]->task.resume(&fix.conns_opened[i]->task);
        (void)close(fix.peers[i]);
    }
    reaper_close(&fix.reaper);
    loop_close(&fix.loop);
    ledger_close(&fix.ledger);
    return 0;
}

/* A connection that is accepted now, says nothing, and whose task waits to receive. */
static struct conn *open_one(void)
{
    int fds[2];
    make_socketpair(fds);
    fix.peers[fix.count] = fds[1];
    fix.errors[fix.count] = NOT_CLOSED;
    assert_int_equal(conn_open(&fix.conns, &(struct accepted){.fd = fds[0]}), 0);
    struct conn *conn = fix.conns_opened[fix.count - 1];
    struct yield why = conn->task.resume(&conn->task);
    assert_int_equal(sock_wait_recv(why.sock, &conn->task), 0);
    return conn;
}

/* Runs the step, which must sleep. Returns for how long. */
static unsigned sweep(void)
{
    struct yield why = fix.reaper.task.resume(&fix.reaper.task);
    assert_int_equal(why.reason, YIELD_SLEEP);
    assert_ptr_equal(why.timer, &fix.reaper.timer);
    return why.ms;
}

static unsigned sweep_after(unsigned ms)
{
    fix.now_ms += ms;
    return sweep();
}

/* Whether the connection's next step closes it. */
static bool ends(int id)
{
    struct task *task = &fix.conns_opened[id]->task;
    return task->resume(task).reason == YIELD_DONE;
}

static void check_lingering(bool first, bool second, bool third)
{
    const bool expected[] = {first, second, third};
    for (int i = 0; i < fix.count && i < 3; i++)
        assert_int_equal(fix.conns_opened[i]->lingering, expected[i]);
}

/* Runs the step, which must park. */
static void sweep_parks(void)
{
    assert_int_equal(fix.reaper.task.resume(&fix.reaper.task).reason, YIELD_PARK);
}

static void test_sleeps_when_there_is_nobody(void **state)
{
    (void)state;
    sweep_parks();
    (void)open_one();
    assert_int_equal(sweep(), IDLE_MS);
    fix.reaper.idle_ms = 0;
    assert_int_equal(sweep(), UINT_MAX);
    conns_abort_all(&fix.conns, 0);
    recorder_expect(&fix.recorder, NULL, NULL);
    sweep_parks();
}

static void test_a_parked_one_is_woken_once(void **state)
{
    (void)state;
    reaper_unpark(&fix.reaper);
    recorder_expect(&fix.recorder, NULL, NULL);
    sweep_parks();
    reaper_unpark(&fix.reaper);
    reaper_unpark(&fix.reaper);
    recorder_expect(&fix.recorder, &fix.reaper.task, NULL);
}

/* A connection is ended not a millisecond early or late. */
static void test_an_idle_one_is_ended_on_time(void **state)
{
    (void)state;
    (void)open_one();
    assert_int_equal(sweep(), IDLE_MS);
    assert_int_equal(sweep_after(IDLE_MS - 1), 1);
    assert_false(fix.conns_opened[0]->lingering);
    assert_int_equal(sweep_after(1), IDLE_MS); /* for a connection that comes now */
    assert_true(fix.conns_opened[0]->lingering);
    assert_int_equal(fix.conns_opened[0]->error, -ETIME);
}

/* A connection that is accepted while the reaper sleeps is ended on time. */
static void test_a_later_one_is_ended_on_time(void **state)
{
    (void)state;
    (void)open_one();
    unsigned ms = sweep();
    conn_abort(fix.conns_opened[0], 0);
    assert_true(ends(0));
    fix.now_ms += 400;
    (void)open_one();
    ms = sweep_after(ms - 400);
    assert_int_equal(ms, 400);
    assert_false(fix.conns_opened[1]->lingering);
    (void)sweep_after(ms);
    assert_true(fix.conns_opened[1]->lingering);
}

static void test_the_longest_silent_first(void **state)
{
    (void)state;
    (void)open_one();
    fix.now_ms += 100;
    (void)open_one();
    fix.now_ms += 150;
    (void)open_one();
    assert_int_equal(sweep(), IDLE_MS - 250);
    assert_int_equal(sweep_after(IDLE_MS - 250), 100);
    check_lingering(true, false, false);
    assert_int_equal(sweep_after(100), 150);
    check_lingering(true, true, false);
    (void)sweep_after(150);
    check_lingering(true, true, true);
}

static void test_several_at_once(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++)
        (void)open_one();
    (void)sweep_after(5 * IDLE_MS);
    check_lingering(true, true, true);
}

static void test_activity_postpones(void **state)
{
    (void)state;
    struct conn *received = open_one();
    struct conn *sent = open_one();
    (void)open_one();
    fix.now_ms += 600;
    conn_received(received, 1);
    fix.now_ms += 100;
    conn_sent(sent, 1);
    assert_int_equal(sweep_after(300),
                     600); /* the silent one; the next one must be ended 600 later */
    check_lingering(false, false, true);
    assert_int_equal(sweep_after(600), 100);
    check_lingering(true, false, true);
    (void)sweep_after(100);
    check_lingering(true, true, true);
}

/* The order within a period is not exact, so connections may be ended late, but never early. */
static void test_active_within_a_period(void **state)
{
    (void)state;
    fix.now_ms -= fix.now_ms % CONNS_PERIOD_MS;
    struct conn *first = open_one();
    struct conn *second = open_one();
    fix.now_ms += 100;
    conn_received(second, 1);
    fix.now_ms += CONNS_PERIOD_MS - 101;
    conn_received(first, 1);
    assert_int_equal(sweep_after(IDLE_MS - 1), 1);
    check_lingering(false, false, false); /* late: the time of the second is up */
    (void)sweep_after(1);
    check_lingering(true, true, false);
}

/* ---- the idle rule: what a look finds when the time of a connection is up ---- */

/* The connection is not idle when its time is up. It is given as long again. */
static void check_spared(const struct conn *conn)
{
    assert_int_equal(sweep_after(IDLE_MS), IDLE_MS);
    assert_false(conn->lingering);
}

static void check_ended(const struct conn *conn)
{
    (void)sweep_after(IDLE_MS);
    assert_true(conn->lingering);
    assert_int_equal(conn->error, -ETIME);
}

/* Its task waits to send, after the kernel had refused to take more. */
static struct conn *open_sending(void)
{
    struct conn *conn = open_one();
    sock_wake(&conn->sock);
    conn->sock.send_refused = true;
    assert_int_equal(sock_wait_send(&conn->sock, &conn->task), 0);
    return conn;
}

static void fill(struct conn *conn)
{
    static const char bytes[65536];
    while (net_send(conn->sock.fd, bytes, sizeof bytes) > 0)
        continue;
}

static void test_input_that_the_loop_has_not_seen(void **state)
{
    (void)state;
    struct conn *conn = open_one();
    assert_int_equal(send(fix.peers[0], "x", 1, 0), 1);
    check_spared(conn);
}

static void test_an_end_that_the_loop_has_not_seen(void **state)
{
    (void)state;
    struct conn *conn = open_one();
    assert_return_code(shutdown(fix.peers[0], SHUT_WR), 0);
    check_spared(conn);
}

static void test_room_that_the_loop_has_not_seen(void **state)
{
    (void)state;
    struct conn *conn = open_sending();
    check_spared(conn);
    check_spared(conn);
}

static void test_no_room_to_send(void **state)
{
    (void)state;
    struct conn *conn = open_sending();
    fill(conn);
    fix.unsent = 5000;
    check_spared(conn); /* perhaps the peer has taken some of them */
    check_ended(conn);
}

/* A queued task, or one that sleeps, does not wait for the peer. */
static void test_a_task_that_does_not_wait_for_the_peer(void **state)
{
    (void)state;
    struct conn *conn = open_one();
    sock_wake(&conn->sock);
    check_spared(conn);
    check_spared(conn);
    assert_int_equal(sock_wait_recv(&conn->sock, &conn->task), 0);
    check_ended(conn);
}

static void test_a_peer_that_takes_its_answers(void **state)
{
    (void)state;
    struct conn *conn = open_one();
    conn_sent(conn, 10000);
    for (fix.unsent = 4000; fix.unsent > 1000; fix.unsent -= 1000)
        check_spared(conn);
    check_spared(conn);
    check_ended(conn);
}

/* The process may be stopped while it looks. What it finds then is as old as the end of the look.
 */
static void test_a_look_that_takes_long(void **state)
{
    (void)state;
    struct conn *conn = open_one();
    conn_sent(conn, 10000);
    fix.moved_ms = 0;
    fix.look_ms = IDLE_MS - 1;
    (void)sweep_after(IDLE_MS);
    assert_false(conn->lingering);
    assert_int_equal(conn_silent_ms(conn), 0);
    assert_int_equal(fix.late_ms, 0);
    fix.look_ms = 0;
    (void)sweep_after(IDLE_MS - 1);
    assert_false(conn->lingering);
    (void)sweep_after(1);
    assert_true(conn->lingering);
}

/* It had taken all when it was looked at: only the kernel knows that this was just before. */
static void test_a_peer_that_has_just_taken_its_answers(void **state)
{
    (void)state;
    struct conn *conn = open_one();
    conn_sent(conn, 10000);
    fix.moved_ms = 190;
    check_spared(conn);
    fix.moved_ms += IDLE_MS;
    check_ended(conn);
}

/* The loop's clock may be behind when a byte moves, but the end is not early, and not long late. */
static void test_a_byte_that_moved_late_in_a_pass(void **state)
{
    (void)state;
    struct conn *conn = open_one();
    conn_received(conn, 1);
    fix.moved_ms = IDLE_MS - 20;
    assert_int_equal(sweep_after(IDLE_MS), 20);
    assert_false(conn->lingering);
    fix.moved_ms += 20;
    (void)sweep_after(20);
    assert_true(conn->lingering);
}

/* Whatever the kernel says of the time before the first look. */
static void test_a_silent_peer_is_spared_once(void **state)
{
    (void)state;
    struct conn *conn = open_one();
    conn_received(conn, 1);
    fix.moved_ms = 0;
    check_spared(conn);
    check_ended(conn);
}

/* To a Unix socket, what the kernel holds becomes less by whole buffers only. */
static void test_a_slow_peer_of_a_unix_socket(void **state)
{
    (void)state;
    struct conn *conn = open_one();
    conn->peer.sa.sa_family = AF_UNIX;
    conn_sent(conn, 100000);
    fix.moved_ms = 0; /* the kernel does not know */
    fix.unsent = 100000;
    for (int i = 0; i < 3; i++) {
        check_spared(conn);
        check_spared(conn);
        fix.unsent -= 30000;
    }
    check_spared(conn);
    check_spared(conn);
    check_ended(conn);
}

static void test_a_silent_peer_of_a_unix_socket(void **state)
{
    (void)state;
    struct conn *conn = open_one();
    conn->peer.sa.sa_family = AF_UNIX;
    fix.moved_ms = 0;
    check_spared(conn);
    check_ended(conn);
}

/* ---- peers that do not take what they are sent ---- */

/* From now on only stuck connections are ended. The next look comes after LOOK_MS. */
static void watch_sending(void)
{
    fix.reaper.idle_ms = 0;
    fix.reaper.send_ms = SEND_MS;
    fix.reaper.looked_ms = (uint32_t)fix.now_ms;
    assert_int_equal(sweep(), LOOK_MS);
}

/* So many rounds of looks end no connection. */
static void look_on(int rounds)
{
    for (int i = 0; i < rounds; i++) {
        assert_int_equal(sweep_after(LOOK_MS - 1), 1);
        assert_int_equal(sweep_after(1), LOOK_MS);
        assert_int_equal(fix.discards, 0);
    }
}

/* The next round of looks ends the only connection, and throws away what its peer has not taken. */
static void check_stuck(int id)
{
    fix.now_ms += LOOK_MS;
    sweep_parks();
    assert_false(fix.conns_opened[id]->lingering);
    assert_true(ends(id));
    assert_int_equal(fix.discards, 1);
    assert_int_equal(fix.errors[id], -ECOMM);
}

/* The first look finds what is held, and SEND_MS later a look finds it still held. */
static void test_a_peer_that_takes_nothing(void **state)
{
    (void)state;
    conn_sent(open_one(), 10);
    fix.unsent = 10;
    watch_sending();
    look_on(4);
    check_stuck(0);
}

/* What the kernel takes from us is no progress of the peer, nor are the bytes that it sends. */
static void test_a_peer_that_sends_and_takes_nothing(void **state)
{
    (void)state;
    struct conn *conn = open_one();
    watch_sending();
    for (int i = 0; i < 4; i++) {
        conn_received(conn, 7);
        conn_sent(conn, 11);
        fix.unsent += 11;
        look_on(1);
    }
    conn_received(conn, 7);
    check_stuck(0);
}

/* One byte in each time between looks is enough, although the kernel holds more and more. */
static void test_a_peer_that_takes_a_little(void **state)
{
    (void)state;
    struct conn *conn = open_one();
    watch_sending();
    for (int i = 0; i < 12; i++) {
        conn_sent(conn, 11);
        fix.unsent += 10;
        look_on(1);
    }
}

/* The time begins anew with the last byte that was taken. */
static void test_a_peer_that_stops_taking(void **state)
{
    (void)state;
    conn_sent(open_one(), 100);
    fix.unsent = 100;
    watch_sending();
    look_on(4);
    fix.unsent = 99;
    look_on(4);
    fix.unsent = 0;
    look_on(6);
    assert_int_equal(fix.conns_opened[0]->stuck, 0);
}

/* A connection that has sent nothing since all was taken costs no system call. */
static void test_looks_at_those_that_have_sent(void **state)
{
    (void)state;
    (void)open_one();
    conn_sent(open_one(), 100);
    watch_sending();
    look_on(5);
    assert_int_equal(fix.looks, 1);
}

/* Of a Unix socket the kernel counts whole buffers, so bytes that move are progress, too. */
static void test_a_busy_peer_of_a_unix_socket(void **state)
{
    (void)state;
    struct conn *conn = open_one();
    conn->peer.sa.sa_family = AF_UNIX;
    fix.unsent = 100000;
    conn_sent(conn, 100000);
    watch_sending();
    for (int i = 0; i < 12; i++) {
        conn_sent(conn, 2000);
        fix.unsent += 4608; /* with what the kernel adds for itself */
        look_on(1);
    }
    look_on(3); /* the last byte moved one round before these */
    check_stuck(0);
}

/* Whether it is idle may never be known, such as while epoll has no watch for its socket. */
static void test_a_peer_of_a_unix_socket_that_is_never_idle(void **state)
{
    (void)state;
    struct conn *conn = open_one();
    conn->peer.sa.sa_family = AF_UNIX;
    conn_sent(conn, 10);
    fix.unsent = 4096;
    sock_wake(&conn->sock); /* its task does not wait for the socket */
    watch_sending();
    fix.reaper.idle_ms = IDLE_MS;
    look_on(4);
    assert_false(conn->lingering);
    check_stuck(0);
}

/* A look for idleness finds that a byte has moved, and the look for progress after it knows. */
static void test_a_byte_of_a_unix_socket_between_the_looks(void **state)
{
    (void)state;
    struct conn *conn = open_one();
    conn->peer.sa.sa_family = AF_UNIX;
    conn_sent(conn, 10);
    fix.unsent = 4096;
    watch_sending();
    look_on(4);
    conn_received(conn, 1);
    fix.reaper.idle_ms = LOOK_MS - 100;
    assert_int_equal(sweep_after(LOOK_MS - 100), 100);
    fix.reaper.idle_ms = 0;
    assert_int_equal(sweep_after(100), LOOK_MS);
    look_on(3);
    check_stuck(0);
}

/* A look for idleness does not find as new what a look for progress has found. */
static void test_a_peer_of_a_unix_socket_that_stops_taking(void **state)
{
    (void)state;
    struct conn *conn = open_one();
    conn->peer.sa.sa_family = AF_UNIX;
    conn_sent(conn, 10);
    fix.unsent = 8192;
    watch_sending();
    look_on(4);
    fix.unsent = 4096;
    look_on(3);
    fix.reaper.idle_ms = 3 * LOOK_MS; /* the look for idleness comes with the fourth */
    look_on(1);
    assert_false(conn->lingering);
    check_stuck(0);
}

/* A peer may have taken its bytes until just before the end of the look for progress. */
static void test_a_peer_of_a_unix_socket_is_not_idle_early(void **state)
{
    (void)state;
    struct conn *conn = open_one();
    conn->peer.sa.sa_family = AF_UNIX;
    conn_sent(conn, 10);
    fix.moved_ms = 0; /* the kernel does not know */
    watch_sending();
    fix.reaper.idle_ms = IDLE_MS;
    fix.look_ms = 100;
    assert_int_equal(sweep_after(LOOK_MS), LOOK_MS);
    fix.look_ms = 0;
    (void)sweep_after(IDLE_MS - 1);
    assert_false(conn->lingering);
    (void)sweep_after(1);
    assert_true(conn->lingering);
}

static void test_a_lingering_one_is_not_looked_at(void **state)
{
    (void)state;
    struct conn *conn = open_one();
    conn_sent(conn, 10);
    fix.unsent = 10;
    watch_sending();
    conn_shut(conn, -ESHUTDOWN);
    for (unsigned ms = 0; ms < REAPER_LINGER_MS; ms += LOOK_MS)
        assert_int_equal(sweep_after(ms == 0 ? 0 : LOOK_MS), LOOK_MS);
    assert_int_equal(fix.looks, 0);
}

/* The process may be stopped in a round of looks. The time to the next round begins with its end.
 */
static void test_a_round_that_takes_long(void **state)
{
    (void)state;
    conn_sent(open_one(), 10);
    fix.unsent = 10;
    watch_sending();
    fix.look_ms = LOOK_MS - 1;
    assert_int_equal(sweep_after(LOOK_MS), LOOK_MS);
    fix.look_ms = 0;
    assert_int_equal(sweep_after(1), LOOK_MS - 1);
    assert_int_equal(fix.looks, 1);
}

/* A round of many looks is cut, and other tasks run in between. Nobody is left out or seen twice.
 */
static void test_a_long_round_is_cut(void **state)
{
    (void)state;
    for (int i = 0; i < CONNS; i++)
        conn_sent(open_one(), 10);
    fix.unsent = 10;
    watch_sending();
    for (int round = 1; round <= 4; round++) {
        assert_int_equal(sweep_after(LOOK_MS), 0);
        assert_int_equal(fix.looks, (round - 1) * CONNS + SLICE);
        assert_int_equal(sweep_after(3), LOOK_MS);
        assert_int_equal(fix.looks, round * CONNS);
    }
    assert_int_equal(sweep_after(LOOK_MS), 0);
    sweep_parks();
    for (int i = 0; i < CONNS; i++)
        assert_true(ends(i));
    assert_int_equal(fix.discards, CONNS);
}

/* Other tasks run between the slices: of silence, and of lingering. */
static void test_a_crowd_falls_silent(void **state)
{
    (void)state;
    for (int i = 0; i < CONNS; i++)
        (void)open_one();
    fix.reaper.idle_ms = IDLE_MS;
    assert_int_equal(sweep_after(IDLE_MS), 0);
    assert_true(fix.conns_opened[SLICE - 1]->lingering);
    assert_false(fix.conns_opened[SLICE]->lingering);
    assert_int_equal(sweep_after(1), IDLE_MS);
    assert_true(fix.conns_opened[CONNS - 1]->lingering);
    assert_int_equal(sweep_after(REAPER_LINGER_MS), 0);
    for (int i = 0; i < SLICE; i++)
        assert_true(ends(i));
    assert_false(list_empty(&fix.conns.lingering));
    sweep_parks();
    for (int i = SLICE; i < CONNS; i++)
        assert_true(ends(i));
}

/* The longest silent is found, whichever of the two lists it is in. */
static void test_idle_within_a_long_round(void **state)
{
    (void)state;
    for (int i = 0; i < CONNS; i++) {
        (void)open_one();
        fix.now_ms += CONNS_PERIOD_MS;
    }
    watch_sending();
    fix.reaper.idle_ms = CONNS * CONNS_PERIOD_MS + LOOK_MS + 10;
    assert_int_equal(sweep_after(LOOK_MS), 0);
    assert_false(list_empty(&fix.conns.due));
    fix.now_ms += 10;
    (void)sweep();
    check_lingering(true, false, false);
}

static void test_without_a_timeout_nobody_is_idle(void **state)
{
    (void)state;
    fix.reaper.idle_ms = 0;
    (void)open_one();
    assert_int_equal(sweep_after(UINT_MAX), UINT_MAX);
    check_lingering(false, false, false);
}

/* The peer has this time after our FIN to send its own; then it is cut, with the first reason. */
static void test_a_lingering_one_is_cut(void **state)
{
    (void)state;
    fix.reaper.idle_ms = 0;
    (void)open_one();
    fix.now_ms += 5000;
    conn_shut(fix.conns_opened[0], -ESHUTDOWN);
    assert_int_equal(sweep(), REAPER_LINGER_MS);
    assert_false(ends(0));
    assert_int_equal(sweep_after(REAPER_LINGER_MS - 1), 1);
    assert_false(ends(0));
    fix.now_ms++;
    sweep_parks();
    assert_true(ends(0));
    assert_int_equal(fix.errors[0], -ESHUTDOWN);
}

static void test_an_idle_one_is_cut_after_lingering(void **state)
{
    (void)state;
    fix.reaper.idle_ms = 60000;
    (void)open_one();
    assert_int_equal(sweep_after(60000), REAPER_LINGER_MS);
    assert_false(ends(0));
    fix.now_ms += REAPER_LINGER_MS;
    sweep_parks();
    assert_true(ends(0));
    assert_int_equal(fix.errors[0], -ETIME);
}

/* The reaper sleeps until the next end in either list. */
static void test_idle_and_lingering_together(void **state)
{
    (void)state;
    fix.reaper.idle_ms = REAPER_LINGER_MS + 500;
    (void)open_one();
    (void)open_one();
    conn_shut(fix.conns_opened[0], 0);
    assert_int_equal(sweep(), REAPER_LINGER_MS);
    assert_int_equal(sweep_after(REAPER_LINGER_MS), 500);
    assert_true(ends(0));
    assert_false(fix.conns_opened[1]->lingering);
    assert_int_equal(sweep_after(500), REAPER_LINGER_MS);
    assert_true(fix.conns_opened[1]->lingering);
}

static void test_wake_ends_the_sleep(void **state)
{
    (void)state;
    reaper_wake(&fix.reaper); /* queued: not into the queue a second time */
    recorder_expect(&fix.recorder, NULL, NULL);
    (void)open_one();
    assert_int_equal(timer_wait(&fix.reaper.timer, &fix.reaper.task, sweep()), 0);
    reaper_wake(&fix.reaper);
    recorder_expect(&fix.recorder, &fix.reaper.task, NULL);
}

/* A reaper that sleeps does not keep the daemon alive; uv_run() would not return here. */
static void test_does_not_keep_the_loop_running(void **state)
{
    (void)state;
    uv_unref((uv_handle_t *)&open_one()->sock.poll); /* that does */
    assert_int_equal(timer_wait(&fix.reaper.timer, &fix.reaper.task, sweep()), 0);
    assert_int_equal(uv_run(&fix.loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(fix.recorder.count, 0);
}

/* ---- headers of proxies ---- */

/* A connection that begins with a header. Its task waits to receive that. */
static struct conn *open_headless(void)
{
    fix.conns.proxies = (struct proxy_rules){.local = true, .timeout_ms = HEADER_MS};
    int fds[2];
    make_socketpair(fds);
    fix.peers[fix.count] = fds[1];
    fix.errors[fix.count] = NOT_CLOSED;
    const struct accepted accepted = {.fd = fds[0], .peer.sa.sa_family = AF_UNIX};
    assert_int_equal(conn_open(&fix.conns, &accepted), 0);
    struct conn *conn = fix.conns_opened[fix.count - 1];
    struct yield why = conn->task.resume(&conn->task);
    assert_int_equal(sock_wait_recv(why.sock, &conn->task), 0);
    return conn;
}

/* Its time is over to the millisecond, whatever the others do. */
static void test_a_late_header(void **state)
{
    (void)state;
    (void)open_headless();
    fix.now_ms += 100;
    (void)open_headless();
    assert_int_equal(sweep(), HEADER_MS - 100);
    assert_int_equal(sweep_after(HEADER_MS - 101), 1);
    assert_int_equal(fix.ledger.header->proxied.count[PROXY_LATE], 0);
    assert_int_equal(sweep_after(1), 100);
    assert_int_equal(fix.ledger.header->proxied.count[PROXY_LATE], 1);
    assert_true(ends(0));
    assert_int_equal(fix.errors[0], -ETIMEDOUT);
    assert_int_equal(fix.discards, 1);
    (void)fix.reaper.task.resume(&fix.reaper.task);
    fix.now_ms += 100;
    sweep_parks();
    assert_true(ends(1));
}

/* What has come while the process did not run is seen first, but a byte a time does not do. */
static void test_a_header_that_came_unseen(void **state)
{
    (void)state;
    struct conn *first = open_headless();
    (void)open_headless();
    assert_int_equal(send(fix.peers[0], "P", 1, 0), 1);
    assert_int_equal(sweep_after(HEADER_MS), CONNS_PERIOD_MS);
    assert_int_equal(fix.ledger.header->proxied.count[PROXY_LATE], 1);
    assert_true(ends(1));
    assert_int_equal(sweep_after(1), CONNS_PERIOD_MS - 1); /* woken for another reason */
    assert_false(list_empty(&fix.conns.headless));
    assert_int_equal(sweep_after(CONNS_PERIOD_MS - 1), CONNS_PERIOD_MS); /* still unseen */
    struct proxied *proxied = (void *)((char *)first + silent_handler.frame_size);
    proxied->have = 1; /* the task has received something */
    fix.now_ms += CONNS_PERIOD_MS;
    sweep_parks();
    assert_int_equal(fix.ledger.header->proxied.count[PROXY_LATE], 2);
    assert_true(ends(0));
}

/* The pass of the loop that accepts it may have begun long ago: that is not its time. */
static void test_a_header_counts_from_its_accept(void **state)
{
    (void)state;
    fix.late_ms = HEADER_MS;
    (void)open_headless();
    assert_int_equal(sweep(), HEADER_MS);
    assert_int_equal(fix.ledger.header->proxied.count[PROXY_LATE], 0);
}

/* Once the header is whole, the connection has the time that others have (go-proxyproto#75). */
static void test_a_header_in_time(void **state)
{
    (void)state;
    struct conn *conn = open_headless();
    fix.now_ms += HEADER_MS - 1;
    conn_header_done(conn);
    assert_int_equal(sweep(), IDLE_MS);
    assert_int_equal(sweep_after(IDLE_MS - 1), 1);
    assert_false(conn->lingering);
    assert_int_equal(fix.ledger.header->proxied.count[PROXY_LATE], 0);
}

static void test_a_header_that_may_take_for_ever(void **state)
{
    (void)state;
    (void)open_headless();
    fix.conns.proxies.timeout_ms = 0;
    assert_int_equal(sweep_after(1 << 30), IDLE_MS);
    assert_int_equal(fix.ledger.header->proxied.count[PROXY_LATE], 0);
}

/* The sleep may be too long for the first header that is awaited; for others it is not. */
static void test_the_first_header_ends_a_sleep(void **state)
{
    (void)state;
    struct conn *plain = open_one();
    struct yield why = fix.reaper.task.resume(&fix.reaper.task);
    assert_int_equal(timer_wait(why.timer, &fix.reaper.task, why.ms), 0);
    reaper_expect_header(&fix.reaper, plain);
    recorder_expect(&fix.recorder, NULL, NULL);
    reaper_expect_header(&fix.reaper, open_headless());
    recorder_expect(&fix.recorder, &fix.reaper.task, NULL);
    assert_int_equal(timer_wait(&fix.reaper.timer, &fix.reaper.task, sweep()), 0);
    reaper_expect_header(&fix.reaper, open_headless());
    recorder_expect(&fix.recorder, NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_sleeps_when_there_is_nobody),
        FIXTURE_TEST(test_a_late_header),
        FIXTURE_TEST(test_a_header_counts_from_its_accept),
        FIXTURE_TEST(test_a_header_that_came_unseen),
        FIXTURE_TEST(test_a_header_in_time),
        FIXTURE_TEST(test_a_header_that_may_take_for_ever),
        FIXTURE_TEST(test_the_first_header_ends_a_sleep),
        FIXTURE_TEST(test_a_parked_one_is_woken_once),
        FIXTURE_TEST(test_an_idle_one_is_ended_on_time),
        FIXTURE_TEST(test_a_later_one_is_ended_on_time),
        FIXTURE_TEST(test_the_longest_silent_first),
        FIXTURE_TEST(test_several_at_once),
        FIXTURE_TEST(test_activity_postpones),
        FIXTURE_TEST(test_active_within_a_period),
        FIXTURE_TEST(test_input_that_the_loop_has_not_seen),
        FIXTURE_TEST(test_an_end_that_the_loop_has_not_seen),
        FIXTURE_TEST(test_room_that_the_loop_has_not_seen),
        FIXTURE_TEST(test_no_room_to_send),
        FIXTURE_TEST(test_a_task_that_does_not_wait_for_the_peer),
        FIXTURE_TEST(test_a_peer_that_takes_its_answers),
        FIXTURE_TEST(test_a_look_that_takes_long),
        FIXTURE_TEST(test_a_peer_that_has_just_taken_its_answers),
        FIXTURE_TEST(test_a_byte_that_moved_late_in_a_pass),
        FIXTURE_TEST(test_a_silent_peer_is_spared_once),
        FIXTURE_TEST(test_a_slow_peer_of_a_unix_socket),
        FIXTURE_TEST(test_a_silent_peer_of_a_unix_socket),
        FIXTURE_TEST(test_a_peer_that_takes_nothing),
        FIXTURE_TEST(test_a_peer_that_sends_and_takes_nothing),
        FIXTURE_TEST(test_a_peer_that_takes_a_little),
        FIXTURE_TEST(test_a_peer_that_stops_taking),
        FIXTURE_TEST(test_looks_at_those_that_have_sent),
        FIXTURE_TEST(test_a_busy_peer_of_a_unix_socket),
        FIXTURE_TEST(test_a_peer_of_a_unix_socket_that_is_never_idle),
        FIXTURE_TEST(test_a_byte_of_a_unix_socket_between_the_looks),
        FIXTURE_TEST(test_a_peer_of_a_unix_socket_that_stops_taking),
        FIXTURE_TEST(test_a_peer_of_a_unix_socket_is_not_idle_early),
        FIXTURE_TEST(test_a_lingering_one_is_not_looked_at),
        FIXTURE_TEST(test_a_round_that_takes_long),
        FIXTURE_TEST(test_a_long_round_is_cut),
        FIXTURE_TEST(test_a_crowd_falls_silent),
        FIXTURE_TEST(test_idle_within_a_long_round),
        FIXTURE_TEST(test_without_a_timeout_nobody_is_idle),
        FIXTURE_TEST(test_a_lingering_one_is_cut),
        FIXTURE_TEST(test_an_idle_one_is_cut_after_lingering),
        FIXTURE_TEST(test_idle_and_lingering_together),
        FIXTURE_TEST(test_wake_ends_the_sleep),
        FIXTURE_TEST(test_does_not_keep_the_loop_running),
    };
    return RUN_TESTS("reaper", tests);
}
