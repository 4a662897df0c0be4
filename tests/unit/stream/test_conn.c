/*
 * conn.c: opening, finishing, shutting and aborting connections, with a protocol that this file
 * makes up, on a real scheduler and loop that are turned by hand, and on socket pairs. The calls
 * that end a connection (net_shutdown_send(), net_close()) are wrapped to see their order.
 */
#include "stream/conn.h"

#include "task/timer.h"
#include "unit/ledgers.h"
#include "unit/support.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

enum { CONNS = 4, NOT_CLOSED = 1 };

/* The protocol: receives what comes and says nothing, or waits to send for ever. */
struct probe {
    struct conn conn;
    int id;
    int steps;
    int zeros; /* must be 0 at the start */
    bool stuck_sending;
};

/* What the test sees of a connection, which outlives its frame. */
struct seen {
    struct conn *conn; /* NULL when it is closed */
    int fd;
    int peer; /* the other end, -1 when the test has closed it */
    int opened;
    int adopted;
    int spoke;
    int closed;
    int released;
    int error; /* that it was closed with */
};

static struct {
    uv_loop_t loop;
    struct sched sched;
    struct conns conns;
    struct ledger ledger;
    uint8_t service; /* of the next connection */
    struct seen seen[CONNS];
    int count; /* opened */
    bool calloc_fails;
    int fins;               /* calls of net_shutdown_send() */
    int closes;             /* calls of net_close() */
    int discards;           /* calls of net_discard() */
    int trims;              /* calls of memory_trim() */
    int fds;                /* open before the test */
    int timers;             /* of wanderers that have not closed yet */
    int states;             /* of services, that are open */
    int early;              /* frames that were freed before their timer had closed */
    struct sources sources; /* of the tests that count connections by source */
    bool resume_fails;      /* for lack of memory */
    bool ready;             /* as probe_resume() was told */
    uint32_t left;          /* what the handler was told when a connection went on */
    int late;               /* descriptors that were closed before their sources had been left */
} fix;

void __real_free(void *memory);
void __wrap_free(void *memory);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
int __real_net_shutdown_send(int fd);
int __wrap_net_shutdown_send(int fd);
void __real_net_close(int fd);
void __wrap_net_close(int fd);
void __wrap_memory_trim(void);
void __real_net_discard(int fd);
void __wrap_net_discard(int fd);

void *__wrap_calloc(size_t count, size_t size)
{
    return fix.calloc_fails ? NULL : __real_calloc(count, size);
}

/* Wanderers are ended one at a time. */
void __wrap_free(void *memory)
{
    if (fix.timers > 0)
        fix.early++;
    __real_free(memory);
}

int __wrap_net_shutdown_send(int fd)
{
    fix.fins++;
    return __real_net_shutdown_send(fd);
}

void __wrap_net_close(int fd)
{
    fix.closes++;
    if (fix.conns.sources != NULL && fix.sources.roots[SOURCE_IPV4] != 0)
        fix.late++;
    __real_net_close(fd);
}

static struct ledger_state read_entry(int fd);

void __wrap_net_discard(int fd)
{
    fix.discards++;
    assert_false(read_entry(fd).served); /* otherwise a successor would serve it, and lose bytes */
    __real_net_discard(fd);
}

void __wrap_memory_trim(void)
{
    fix.trims++;
}

static struct probe *probe_of(struct conn *conn)
{
    return container_of(conn, struct probe, conn);
}

static struct seen *seen_of(const struct conn *conn)
{
    for (int i = 0; i < fix.count; i++)
        if (fix.seen[i].conn == conn)
            return &fix.seen[i];
    fail_msg("an event of a connection that is closed, or was never opened");
    return NULL;
}

static struct yield probe_recv(struct task *task)
{
    struct conn *conn = container_of(task, struct conn, task);
    char buf[64];
    probe_of(conn)->steps++;
    if (probe_of(conn)->stuck_sending)
        return yield_send(task, &conn->sock, probe_recv);
    ssize_t n = net_recv(conn->sock.fd, buf, sizeof buf);
    if (n == -EAGAIN)
        return yield_recv(task, &conn->sock, probe_recv);
    if (n <= 0)
        return conn_finish(conn, (int)n);
    conn_received(conn, (size_t)n);
    return yield_recv(task, &conn->sock, probe_recv);
}

static void probe_release(struct conn *conn)
{
    seen_of(conn)->released++;
}

static void on_event(struct conn *conn, enum conn_event event, int error)
{
    bool begins = event == CONN_OPENED || event == CONN_ADOPTED;
    struct seen *seen = begins ? &fix.seen[fix.count++] : seen_of(conn);
    assert_ptr_equal(conn_owner(conn), &fix.conns);
    switch (event) {
    case CONN_OPENED:
        assert_int_equal(error, 0);
        assert_int_equal(probe_of(conn)->zeros, 0);
        seen->opened++;
        seen->conn = conn;
        break;
    case CONN_ADOPTED:
        assert_int_equal(error, 0);
        seen->adopted++;
        seen->conn = conn;
        break;
    case CONN_HEADED:
    case CONN_MISLED:
        fail_msg("there are no headers here");
        break;
    case CONN_SPOKE:
        assert_int_equal(error, 0);
        seen->spoke++;
        break;
    case CONN_CLOSED:
        assert_false(fd_is_open(seen->fd));
        seen->closed++;
        seen->error = error;
        seen->conn = NULL;
        break;
    }
}

static task_step *probe_resume(struct conn *conn, uint32_t left, bool ready)
{
    assert_int_equal(probe_of(conn)->zeros, 0);
    assert_ptr_equal(conn_owner(conn), &fix.conns);
    fix.left = left;
    fix.ready = ready;
    return fix.resume_fails ? NULL : probe_recv;
}

static void probe_describe(const void *config, struct ledger_service *service)
{
    (void)config;
    service->buffer_bytes = 5000;
}

static const struct handler probe_handler = {.frame_size = sizeof(struct probe),
                                             .start = probe_recv,
                                             .release = probe_release,
                                             .describe = probe_describe,
                                             .resume = probe_resume};

/* A second protocol: sleeps, parks and receives in turn, so its frame owns a timer as well. */
struct wanderer {
    struct probe probe;
    struct timer timer;
    bool parked;
    bool finishing; /* its next step is its last */
};

static struct wanderer *wanderer_of(struct conn *conn)
{
    return container_of(probe_of(conn), struct wanderer, probe);
}

static struct yield wanderer_sleep(struct task *task);

static struct yield wanderer_receive(struct task *task)
{
    struct conn *conn = container_of(task, struct conn, task);
    return wanderer_of(conn)->finishing ? conn_finish(conn, 0)
                                        : yield_recv(task, &conn->sock, wanderer_sleep);
}

static struct yield wanderer_park(struct task *task)
{
    struct conn *conn = container_of(task, struct conn, task);
    if (wanderer_of(conn)->finishing)
        return conn_finish(conn, 0);
    wanderer_of(conn)->parked = true;
    return yield_park(task, wanderer_receive);
}

static struct yield wanderer_sleep(struct task *task)
{
    struct conn *conn = container_of(task, struct conn, task);
    if (wanderer_of(conn)->finishing)
        return conn_finish(conn, 0);
    return yield_sleep(task, &wanderer_of(conn)->timer, 3600000, wanderer_park);
}

static struct yield wanderer_start(struct task *task)
{
    struct conn *conn = container_of(task, struct conn, task);
    timer_init(&wanderer_of(conn)->timer, &fix.loop, &fix.sched.waker);
    conn_handle_opened(conn);
    fix.timers++;
    return wanderer_sleep(task);
}

static void on_timer_closed(uv_handle_t *handle)
{
    struct timer *timer = container_of((uv_timer_t *)handle, struct timer, uv);
    fix.timers--;
    conn_handle_closed(&container_of(timer, struct wanderer, timer)->probe.conn);
}

static void wanderer_release(struct conn *conn)
{
    probe_release(conn);
    timer_close(&wanderer_of(conn)->timer, on_timer_closed);
}

static void wanderer_wake(struct conn *conn)
{
    struct wanderer *wanderer = wanderer_of(conn);
    timer_wake(&wanderer->timer);
    if (!wanderer->parked)
        return;
    wanderer->parked = false;
    sched_wake(&fix.sched, &conn->task);
}

static const struct handler wanderer_handler = {.frame_size = sizeof(struct wanderer),
                                                .start = wanderer_start,
                                                .release = wanderer_release,
                                                .wake = wanderer_wake};

enum { PROBE, WANDERER, SERVICES };

static const struct service services[] = {
    [PROBE] = {.handler = &probe_handler}, [WANDERER] = {.handler = &wanderer_handler}};

static int fixture_open(void **state)
{
    (void)state;
    memset(&fix, 0, sizeof fix);
    assert_int_equal(uv_loop_init(&fix.loop), 0);
    ledger_of(&fix.ledger, &(struct services){services, SERVICES});
    fix.fds = count_fds();
    sched_init(&fix.sched, &fix.loop);
    memset(&fix.conns, 0xa5, sizeof fix.conns); /* that conns_open() is to set up */
    return conns_open(&fix.conns, &fix.sched, &(struct services){services, SERVICES}, &fix.ledger,
                      on_event);
}

static uint64_t open_count(void)
{
    return fix.conns.accepted - fix.conns.closed;
}

/* Opens the next connection; its step has not run yet. */
static struct conn *open_one(void)
{
    struct seen *seen = &fix.seen[fix.count];
    int fds[2];
    make_socketpair(fds);
    *seen = (struct seen){.fd = fds[0], .peer = fds[1], .error = NOT_CLOSED};
    struct accepted accepted = {
        .fd = fds[0],
        .service = fix.service,
        .peer.in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)(1000 + fix.count))}};
    assert_int_equal(conn_open(&fix.conns, &accepted), 0);
    return seen->conn;
}

/* Opens connections whose tasks wait to receive. */
static void open_waiting(int count)
{
    for (int i = 0; i < count; i++)
        (void)open_one();
    loop_turn(&fix.loop);
    for (int i = 0; i < count; i++)
        assert_ptr_equal(fix.seen[i].conn->sock.recv_wait, &fix.seen[i].conn->task);
}

/* Opens a connection whose task waits to send to a peer that does not read. */
static struct conn *open_sending(void)
{
    static const char bytes[65536];
    struct conn *conn = open_one();
    while (sock_send(&conn->sock, bytes, sizeof bytes) > 0)
        continue;
    probe_of(conn)->stuck_sending = true;
    loop_turn(&fix.loop);
    assert_ptr_equal(conn->sock.send_wait, &conn->task);
    return conn;
}

static void peer_sends(int id, const char *text)
{
    assert_int_equal(send(fix.seen[id].peer, text, strlen(text), 0), strlen(text));
    loop_turn(&fix.loop); /* polls it */
    loop_turn(&fix.loop); /* runs the task that it woke, if that has not happened yet */
}

static void peer_closes(int id)
{
    (void)close(fix.seen[id].peer);
    fix.seen[id].peer = -1;
    loop_turn(&fix.loop);
    loop_turn(&fix.loop);
}

/* The peer has got our FIN, and nothing else has ended. */
static void check_fin(int id)
{
    char byte;
    assert_int_equal(recv(fix.seen[id].peer, &byte, 1, 0), 0);
}

static void check_open(int id)
{
    assert_int_equal(fix.seen[id].closed, 0);
    assert_int_equal(fix.seen[id].released, 0);
    assert_true(fd_is_open(fix.seen[id].fd));
}

static void check_closed(int id, int error)
{
    assert_int_equal(fix.seen[id].opened, 1);
    assert_int_equal(fix.seen[id].closed, 1);
    assert_int_equal(fix.seen[id].released, 1);
    assert_int_equal(fix.seen[id].error, error);
}

/* The ring is these connections in this order. */
static void check_order(const struct list *head, const int *ids, size_t count)
{
    struct list *link = head->next;
    for (size_t i = 0; i < count; i++, link = link->next)
        assert_ptr_equal(container_of(link, struct conn, link), fix.seen[ids[i]].conn);
    assert_ptr_equal(link, head);
}

/* Ends all connections that the test has left open. Then no handle and no descriptor is left. */
static int fixture_close(void **state)
{
    (void)state;
    conns_abort_all(&fix.conns, 0);
    loop_turn(&fix.loop);
    assert_int_equal(open_count(), 0);
    assert_int_equal(fix.sched.tasks, 0);
    for (int i = 0; i < fix.count; i++)
        if (fix.seen[i].peer >= 0)
            (void)close(fix.seen[i].peer);
    assert_int_equal(count_fds(), fix.fds);
    sched_close(&fix.sched);
    loop_close(&fix.loop);
    ledger_close(&fix.ledger);
    return 0;
}

static void test_open(void **state)
{
    (void)state;
    struct conn *conn = open_one();
    assert_int_equal(fix.seen[0].opened, 1);
    assert_int_equal(probe_of(conn)->steps, 0);
    assert_int_equal(ntohs(conn->peer.in.sin_port), 1000);
    assert_int_equal(conn->active_ms, uv_now(&fix.loop));
    assert_int_equal(open_count(), 1);
    assert_int_equal(fix.conns.accepted, 1);
    assert_int_equal(fix.conns.bytes_in, 0);
    assert_int_equal(fix.conns.bytes_out, 0);
    loop_turn(&fix.loop);
    assert_int_equal(probe_of(conn)->steps, 1);
    check_open(0);
}

static void test_finish(void **state)
{
    (void)state;
    open_waiting(2);
    peer_closes(1);
    check_closed(1, 0);
    check_open(0);
    assert_int_equal(open_count(), 1);
    assert_int_equal(fix.conns.accepted, 2);
    assert_int_equal(fix.closes, 1);
    assert_int_equal(fix.fins, 0);
    check_order(&fix.conns.active, (int[]){0}, 1);
}

static void test_spoke_is_told_once(void **state)
{
    (void)state;
    open_waiting(1);
    assert_int_equal(fix.seen[0].spoke, 0);
    peer_sends(0, "Hello");
    assert_int_equal(fix.seen[0].spoke, 1);
    peer_sends(0, "again");
    assert_int_equal(fix.seen[0].spoke, 1);
    assert_int_equal(fix.conns.bytes_in, 10);
    conn_sent(fix.seen[0].conn, 7);
    assert_int_equal(fix.seen[0].spoke, 1);
    assert_int_equal(fix.conns.bytes_out, 7);
    assert_int_equal(fix.conns.bytes_in, 10);
}

static void test_sending_is_not_speaking(void **state)
{
    (void)state;
    open_waiting(1);
    conn_sent(fix.seen[0].conn, 1);
    assert_int_equal(fix.seen[0].spoke, 0);
    assert_false(fix.seen[0].conn->spoke);
}

/* Makes it one that has been silent for long. */
static struct conn *silent(int id)
{
    fix.seen[id].conn->active_ms = 1;
    return fix.seen[id].conn;
}

/* The longest silent comes first, whichever direction the others moved a byte in. */
static void test_activity_order(void **state)
{
    (void)state;
    open_waiting(4);
    check_order(&fix.conns.active, (int[]){0, 1, 2, 3}, 4);
    conn_received(silent(1), 1);
    check_order(&fix.conns.active, (int[]){0, 2, 3, 1}, 4);
    conn_sent(silent(0), 1);
    check_order(&fix.conns.active, (int[]){2, 3, 1, 0}, 4);
    conn_sent(fix.seen[1].conn, 1); /* within the same millisecond all are equal */
    check_order(&fix.conns.active, (int[]){2, 3, 1, 0}, 4);
    peer_closes(3);
    check_order(&fix.conns.active, (int[]){2, 1, 0}, 3);
}

/* From the shortest silent to the longest. The order stays, and who moves a byte comes last. */
static void test_looks_keep_the_order(void **state)
{
    (void)state;
    open_waiting(4);
    conns_look_begin(&fix.conns);
    check_order(&fix.conns.due, (int[]){0, 1, 2, 3}, 4);
    check_order(&fix.conns.active, NULL, 0);
    assert_ptr_equal(conns_look_next(&fix.conns), fix.seen[3].conn);
    conn_received(silent(1), 1);
    check_order(&fix.conns.due, (int[]){0, 2}, 2);
    check_order(&fix.conns.active, (int[]){3, 1}, 2);
    assert_ptr_equal(conns_look_next(&fix.conns), fix.seen[2].conn);
    conns_look_begin(&fix.conns); /* goes on with the round */
    check_order(&fix.conns.active, (int[]){2, 3, 1}, 3);
    assert_ptr_equal(conns_silent(&fix.conns), &fix.conns.due);
    assert_ptr_equal(conns_look_next(&fix.conns), fix.seen[0].conn);
    assert_null(conns_look_next(&fix.conns));
    check_order(&fix.conns.active, (int[]){0, 2, 3, 1}, 4);
    assert_ptr_equal(conns_silent(&fix.conns), &fix.conns.active);
}

static void test_looks_at_nobody(void **state)
{
    (void)state;
    conns_look_begin(&fix.conns);
    assert_null(conns_look_next(&fix.conns));
    check_order(&fix.conns.active, NULL, 0);
    open_waiting(1);
    check_order(&fix.conns.active, (int[]){0}, 1);
}

static void test_ends_within_a_round_of_looks(void **state)
{
    (void)state;
    open_waiting(3);
    conns_look_begin(&fix.conns);
    (void)conns_look_next(&fix.conns);
    peer_closes(1);
    conns_shut_all(&fix.conns, -ESHUTDOWN);
    check_order(&fix.conns.lingering, (int[]){0, 2}, 2);
    (void)open_one();
    conns_look_begin(&fix.conns);
    conns_abort_all(&fix.conns, -ESHUTDOWN);
    loop_turn(&fix.loop);
    assert_int_equal(open_count(), 0);
}

/* ---- sources ---- */

/* From now on one connection of each source is allowed. Enters the next connection's. */
static void enter_source(void)
{
    const union net_peer peer = {.in.sin_family = AF_INET};
    assert_int_equal(sources_open(&fix.sources, CONNS, 1), 0);
    assert_true(sources_enter(&fix.sources, &peer));
    fix.conns.sources = &fix.sources;
}

/* Its source has been left, and that before the descriptor was closed. */
static void check_source_left(void)
{
    assert_int_equal(fix.closes, 1);
    assert_int_equal(fix.late, 0);
    assert_int_equal(fix.sources.roots[SOURCE_IPV4], 0);
    fix.conns.sources = NULL;
    sources_close(&fix.sources);
}

/* A client that sees the end may come again at once. */
static void test_a_source_is_left_before_the_end_shows(void **state)
{
    (void)state;
    enter_source();
    open_waiting(1);
    assert_int_not_equal(fix.sources.roots[SOURCE_IPV4], 0);
    peer_closes(0);
    check_closed(0, 0);
    check_source_left();
}

/* A connection that lingers still takes up its descriptor. */
static void test_a_lingering_one_counts_for_its_source(void **state)
{
    (void)state;
    enter_source();
    open_waiting(1);
    conn_shut(fix.seen[0].conn, -ETIME);
    loop_turn(&fix.loop);
    assert_int_not_equal(fix.sources.roots[SOURCE_IPV4], 0);
    peer_closes(0);
    check_source_left();
}

static void test_a_source_is_left_without_memory(void **state)
{
    int fds[2];
    (void)state;
    enter_source();
    make_socketpair(fds);
    fix.calloc_fails = true;
    const struct accepted accepted = {.fd = fds[0], .peer.in.sin_family = AF_INET};
    assert_int_equal(conn_open(&fix.conns, &accepted), -ENOMEM);
    assert_false(fd_is_open(fds[0]));
    (void)close(fds[1]);
    check_source_left();
}

static void test_activity_is_dated(void **state)
{
    (void)state;
    open_waiting(2);
    for (int i = 0; i < 2; i++) {
        struct conn *conn = fix.seen[i].conn;
        conn->active_ms = 1; /* long ago */
        if (i == 0)
            conn_received(conn, 1);
        else
            conn_sent(conn, 1);
        assert_int_equal(conn->active_ms, uv_now(&fix.loop));
    }
}

/* A FIN is sent first, then all input is thrown away until the peer's FIN. */
static void test_shut(void **state)
{
    (void)state;
    open_waiting(2);
    fix.seen[0].conn->active_ms = 1;
    conn_shut(fix.seen[0].conn, -ETIME);
    assert_int_equal(fix.fins, 1);
    assert_true(fix.seen[0].conn->lingering);
    assert_int_equal(fix.seen[0].conn->active_ms, uv_now(&fix.loop));
    check_order(&fix.conns.active, (int[]){1}, 1);
    check_order(&fix.conns.lingering, (int[]){0}, 1);
    loop_turn(&fix.loop);
    check_fin(0);
    check_open(0);
    peer_sends(0, "to be thrown away");
    peer_sends(0, "this, too");
    check_open(0);
    assert_int_equal(fix.conns.bytes_in, 0);
    assert_int_equal(open_count(), 2);
    peer_closes(0);
    check_closed(0, -ETIME);
    check_open(1);
    check_order(&fix.conns.lingering, NULL, 0);
}

/* Unread input would make close(2) send a reset, so it is read first. */
static void test_shut_with_unread_input(void **state)
{
    (void)state;
    open_waiting(1);
    assert_int_equal(send(fix.seen[0].peer, "unread", 6, 0), 6);
    conn_shut(fix.seen[0].conn, 0);
    assert_int_equal(fix.closes, 0);
    loop_turn(&fix.loop);
    loop_turn(&fix.loop);
    int unread = -1;
    assert_int_equal(recv(fix.seen[0].fd, &unread, sizeof unread, MSG_PEEK), -1);
    assert_int_equal(errno, EAGAIN);
    check_open(0);
    assert_int_equal(fix.seen[0].spoke, 0);
    peer_closes(0);
    check_closed(0, 0);
}

static void test_shut_a_queued_task(void **state)
{
    (void)state;
    (void)open_one();
    conn_shut(fix.seen[0].conn, -ETIME);
    loop_turn(&fix.loop);
    check_fin(0);
    check_open(0);
    assert_int_equal(probe_of(fix.seen[0].conn)->steps, 0);
    peer_closes(0);
    check_closed(0, -ETIME);
}

static void test_shut_a_sending_task(void **state)
{
    (void)state;
    struct conn *conn = open_sending();
    int steps = probe_of(conn)->steps;
    conn_shut(conn, -ETIME);
    loop_turn(&fix.loop);
    assert_int_equal(probe_of(conn)->steps, steps);
    assert_ptr_equal(conn->sock.recv_wait, &conn->task);
    assert_null(conn->sock.send_wait);
    peer_closes(0);
    check_closed(0, -ETIME);
}

static void test_shut_twice(void **state)
{
    (void)state;
    open_waiting(1);
    conn_shut(fix.seen[0].conn, -ETIME);
    loop_turn(&fix.loop);
    fix.seen[0].conn->active_ms = 1;
    conn_shut(fix.seen[0].conn, -ESHUTDOWN);
    assert_int_equal(fix.fins, 1);
    assert_int_equal(fix.seen[0].conn->active_ms, 1); /* the linger time is not prolonged */
    peer_closes(0);
    check_closed(0, -ETIME);
}

/* However the peer ends, the first reason is kept. */
static void test_shut_then_reset(void **state)
{
    (void)state;
    open_waiting(1);
    peer_sends(0, "x");
    assert_int_equal(send(fix.seen[0].fd, "unread by the peer", 18, 0), 18);
    conn_shut(fix.seen[0].conn, -ETIME);
    loop_turn(&fix.loop);
    peer_closes(0); /* with unread input: a reset */
    check_closed(0, -ETIME);
}

/* What the peer has not taken is discarded when no successor can go on with the connection. */
static void test_reset(void **state)
{
    (void)state;
    open_waiting(1);
    conn_reset(fix.seen[0].conn, -ECOMM);
    check_open(0);
    assert_int_equal(fix.discards, 0);
    loop_turn(&fix.loop);
    check_closed(0, -ECOMM);
    assert_int_equal(fix.discards, 1);
}

static void test_abort(void **state)
{
    (void)state;
    open_waiting(2);
    conn_abort(fix.seen[0].conn, -ESHUTDOWN);
    check_open(0); /* not inside the call: the caller may be walking the list */
    check_order(&fix.conns.active, (int[]){1}, 1);
    loop_turn(&fix.loop);
    check_closed(0, -ESHUTDOWN);
    check_open(1);
    assert_int_equal(fix.fins, 0);
    assert_int_equal(fix.closes, 1);
    assert_int_equal(open_count(), 1);
}

static void test_abort_a_queued_task(void **state)
{
    (void)state;
    (void)open_one();
    conn_abort(fix.seen[0].conn, -ESHUTDOWN);
    loop_turn(&fix.loop);
    check_closed(0, -ESHUTDOWN);
}

static void test_abort_a_sending_task(void **state)
{
    (void)state;
    conn_abort(open_sending(), -ETIME);
    loop_turn(&fix.loop);
    check_closed(0, -ETIME);
}

/* The same when both come in one turn, before the task has run. */
static void test_shut_then_abort(void **state)
{
    (void)state;
    open_waiting(2);
    conn_shut(fix.seen[0].conn, -ETIME);
    loop_turn(&fix.loop);
    conn_abort(fix.seen[0].conn, -ESHUTDOWN);
    conn_shut(fix.seen[1].conn, -ETIME);
    conn_abort(fix.seen[1].conn, -ESHUTDOWN);
    loop_turn(&fix.loop);
    check_closed(0, -ETIME);
    check_closed(1, -ETIME);
    check_order(&fix.conns.lingering, NULL, 0);
}

/* Bytes that came in the same turn do not revive it. */
static void test_abort_with_input(void **state)
{
    (void)state;
    open_waiting(1);
    assert_int_equal(send(fix.seen[0].peer, "late", 4, 0), 4);
    conn_abort(fix.seen[0].conn, -ESHUTDOWN);
    loop_turn(&fix.loop);
    check_closed(0, -ESHUTDOWN);
    assert_int_equal(fix.conns.bytes_in, 0);
}

/* What a wanderer may wait for. */
enum { ASLEEP, PARKED, RECEIVING, WAITS };

/* Opens a wanderer, which waits for this. Returns its number. */
static int open_wanderer(int wait)
{
    fix.service = WANDERER;
    struct conn *conn = open_one();
    struct wanderer *wanderer = wanderer_of(conn);
    loop_turn(&fix.loop);
    for (int i = ASLEEP; i < wait; i++) {
        wanderer_wake(conn);
        loop_turn(&fix.loop);
    }
    assert_int_equal(wanderer->timer.sleeper != NULL, wait == ASLEEP);
    assert_int_equal(wanderer->parked, wait == PARKED);
    assert_int_equal(conn->sock.recv_wait != NULL, wait == RECEIVING);
    assert_int_equal(conn->handles, 2);
    return fix.count - 1;
}

/* The frame has been freed, after both of its handles had closed. */
static void check_frame_freed(void)
{
    assert_int_equal(fix.timers, 0);
    assert_int_equal(fix.early, 0);
}

static void test_abort_whatever_it_waits_for(void **state)
{
    (void)state;
    for (int wait = ASLEEP; wait < WAITS; wait++) {
        int id = open_wanderer(wait);
        conn_abort(fix.seen[id].conn, -ESHUTDOWN);
        loop_turn(&fix.loop);
        check_closed(id, -ESHUTDOWN);
        check_frame_freed();
    }
}

static void test_shut_whatever_it_waits_for(void **state)
{
    (void)state;
    for (int wait = ASLEEP; wait < WAITS; wait++) {
        int id = open_wanderer(wait);
        struct conn *conn = fix.seen[id].conn;
        conn_shut(conn, -ETIME);
        loop_turn(&fix.loop);
        check_fin(id);
        check_open(id);
        assert_ptr_equal(conn->sock.recv_wait, &conn->task);
        peer_closes(id);
        check_closed(id, -ETIME);
        check_frame_freed();
    }
}

static void test_shut_and_abort_whatever_it_waits_for(void **state)
{
    (void)state;
    for (int wait = ASLEEP; wait < WAITS; wait++) {
        int id = open_wanderer(wait);
        conn_shut(fix.seen[id].conn, -ETIME);
        if (wait != PARKED) /* then also when both come in one turn */
            loop_turn(&fix.loop);
        conn_abort(fix.seen[id].conn, -ESHUTDOWN);
        loop_turn(&fix.loop);
        check_closed(id, -ETIME);
        check_frame_freed();
    }
}

static void test_finish_whatever_it_waited_for(void **state)
{
    (void)state;
    for (int wait = ASLEEP; wait < WAITS; wait++) {
        int id = open_wanderer(wait);
        wanderer_of(fix.seen[id].conn)->finishing = true;
        if (wait == RECEIVING)
            peer_sends(id, "x");
        else
            wanderer_wake(fix.seen[id].conn);
        loop_turn(&fix.loop);
        check_closed(id, 0);
        check_frame_freed();
    }
}

/* A frame may also close a handle early, and open it again. */
static void test_a_handle_that_is_closed_early(void **state)
{
    (void)state;
    int id = open_wanderer(RECEIVING);
    struct conn *conn = fix.seen[id].conn;
    timer_close(&wanderer_of(conn)->timer, on_timer_closed);
    loop_turn(&fix.loop);
    assert_int_equal(conn->handles, 1);
    check_open(id);
    timer_init(&wanderer_of(conn)->timer, &fix.loop, &fix.sched.waker);
    conn_handle_opened(conn);
    fix.timers++;
    conn_abort(conn, 0);
    loop_turn(&fix.loop);
    check_closed(id, 0);
    check_frame_freed();
}

static void test_shut_all(void **state)
{
    (void)state;
    open_waiting(3);
    conn_shut(fix.seen[1].conn, -ETIME);
    (void)open_one(); /* queued */
    conns_shut_all(&fix.conns, -ESHUTDOWN);
    check_order(&fix.conns.active, NULL, 0);
    check_order(&fix.conns.lingering, (int[]){1, 0, 2, 3}, 4);
    assert_int_equal(fix.fins, 4);
    loop_turn(&fix.loop);
    for (int i = 0; i < 4; i++) {
        check_fin(i);
        check_open(i);
        peer_closes(i);
        check_closed(i, i == 1 ? -ETIME : -ESHUTDOWN);
    }
    conns_shut_all(&fix.conns, 0);
    assert_int_equal(fix.fins, 4);
}

static void test_abort_all(void **state)
{
    (void)state;
    open_waiting(2);
    conn_shut(fix.seen[1].conn, -ETIME);
    (void)open_sending();
    (void)open_one(); /* queued */
    conns_abort_all(&fix.conns, -ESHUTDOWN);
    check_order(&fix.conns.active, NULL, 0);
    check_order(&fix.conns.lingering, NULL, 0);
    conns_abort_all(&fix.conns, -EIO); /* finds none: all have their reason already */
    loop_turn(&fix.loop);
    for (int i = 0; i < 4; i++)
        check_closed(i, i == 1 ? -ETIME : -ESHUTDOWN);
    assert_int_equal(open_count(), 0);
}

/* No frame, no event, no count; and the descriptor is gone, as promised. */
static void check_open_fails(int fd, int error)
{
    const struct accepted accepted = {.fd = fd, .peer.in.sin_family = AF_INET};
    assert_int_equal(conn_open(&fix.conns, &accepted), error);
    assert_false(fd_is_open(fd));
    assert_int_equal(fix.count, 0);
    assert_int_equal(open_count(), 0);
    assert_int_equal(fix.conns.accepted, 0);
    assert_int_equal(fix.sched.tasks, 0);
    check_order(&fix.conns.active, NULL, 0);
}

static void test_open_without_memory(void **state)
{
    int fds[2];
    (void)state;
    make_socketpair(fds);
    fix.calloc_fails = true;
    check_open_fails(fds[0], -ENOMEM);
    (void)close(fds[1]);
}

static struct ledger_state read_entry(int fd)
{
    struct ledger_state state;
    assert_int_equal(ledger_read(&fix.ledger, (uint32_t)fd, &state), 0);
    return state;
}

/* The entry says what becomes of the connection; a successor must know it at every moment. */
static void test_the_entry_of_a_connection(void **state)
{
    (void)state;
    struct conn *conn = open_one();
    int fd = conn->sock.fd;
    assert_true(read_entry(fd).served);
    assert_int_equal(read_entry(fd).service, conn->service);
    assert_false(read_entry(fd).spoke);
    conn_received(conn, 5);
    assert_true(read_entry(fd).spoke);
    conn_shut(conn, -ETIME);
    assert_int_equal(read_entry(fd).end, LEDGER_IDLE);
    conn_abort(conn, 0);
    loop_turn(&fix.loop);
    assert_int_equal(open_count(), 0);
    assert_false(read_entry(fd).served);
    assert_int_equal(read_entry(fd).end, LEDGER_LEFT);
}

static void test_the_entry_of_a_drained_connection(void **state)
{
    (void)state;
    struct conn *conn = open_one();
    conn_shut(conn, -ESHUTDOWN);
    assert_int_equal(read_entry(conn->sock.fd).end, LEDGER_DRAINED);
}

static void test_a_descriptor_without_an_entry(void **state)
{
    int fds[2];
    (void)state;
    make_socketpair(fds);
    int high = net_dup_above(fds[0], LEDGERS_ENTRIES);
    if (high >= 0)
        check_open_fails(high, -EMFILE);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

static void *open_state(const void *config, struct ledger *ledger)
{
    assert_ptr_equal(ledger, &fix.ledger);
    if (config == NULL)
        return NULL;
    fix.states++;
    return &fix.states;
}

static void close_state(void *state)
{
    assert_ptr_equal(state, &fix.states);
    fix.states--;
}

/* If a service cannot open, those that have opened are closed again. */
static void test_a_service_that_cannot_open(void **state)
{
    static const struct handler handler = {
        .frame_size = sizeof(struct conn), .open = open_state, .close = close_state};
    static const struct service some[] = {{.handler = &handler, .config = &handler},
                                          {.handler = &probe_handler},
                                          {.handler = &handler, .config = NULL}};
    struct conns conns;
    (void)state;
    assert_int_equal(
        conns_open(&conns, &fix.sched, &(struct services){some, 2}, &fix.ledger, on_event), 0);
    assert_int_equal(fix.states, 1);
    conns_close(&conns);
    assert_int_equal(fix.states, 0);
    assert_int_equal(
        conns_open(&conns, &fix.sched, &(struct services){some, 3}, &fix.ledger, on_event),
        -ENOMEM);
    assert_int_equal(fix.states, 0);
}

/* ---- connections of a predecessor ---- */

/* What the predecessor has left: a descriptor, and an entry with these bits in its place. */
static struct accepted make_served(uint32_t place)
{
    struct seen *seen = &fix.seen[fix.count];
    int fds[2];
    make_socketpair(fds);
    *seen = (struct seen){.fd = fds[0], .peer = fds[1], .error = NOT_CLOSED};
    assert_int_equal(ledger_enter(&fix.ledger, fds[0], PROBE), 0);
    ledger_answer(&fix.ledger.entries[fds[0]], 7, 0, 9);
    ledger_store(&fix.ledger.entries[fds[0]].place, LEDGER_SERVED | place);
    return (struct accepted){.fd = fds[0],
                             .service = PROBE,
                             .adopted = true,
                             .left = 5,
                             .silent_ms = 1234,
                             .peer.in = {.sin_family = AF_INET}};
}

static struct ledger_state entry_now(int fd)
{
    struct ledger_state state;
    assert_int_equal(ledger_read(&fix.ledger, (uint32_t)fd, &state), 0);
    return state;
}

static void test_adopts(void **state)
{
    (void)state;
    struct accepted accepted = make_served(0);
    assert_int_equal(conn_open(&fix.conns, &accepted), 0);
    assert_int_equal(fix.left, 5);
    assert_int_equal(fix.seen[0].adopted, 1);
    assert_int_equal(conn_silent_ms(fix.seen[0].conn), 1234);
    struct ledger_state entry = entry_now(accepted.fd);
    assert_int_equal(entry.received, 7); /* the entry is as it was */
    assert_int_equal(entry.goal, 9);
    peer_sends(0, "x");
    assert_int_equal(fix.seen[0].spoke, 1);
    peer_closes(0);
    assert_int_equal(fix.seen[0].closed, 1);
    assert_int_equal(fix.seen[0].error, 0);
    assert_int_equal(open_count(), 0);
}

/* The set is in the order of silence: the longest silent comes last, and goes to its beginning. */
static void test_adopts_in_the_order_of_silence(void **state)
{
    const uint32_t silent_ms[] = {0, 1000, 2000};
    struct accepted accepted;
    (void)state;
    (void)open_one(); /* a new one comes first, because it has moved a byte just now */
    for (int i = 0; i < 3; i++) {
        accepted = make_served(0);
        accepted.silent_ms = silent_ms[i];
        accepted.ready = i == 0;
        assert_int_equal(conn_open(&fix.conns, &accepted), 0);
        assert_int_equal(fix.ready, i == 0);
        if (i == 1)
            conns_look_begin(&fix.conns); /* a round of looks takes all of them meanwhile */
    }
    struct list *link = conns_silent(&fix.conns);
    const int order[] = {3, 2, 0, 1};
    for (int i = 0; i < 4; i++) {
        link = link->next;
        assert_ptr_equal(container_of(link, struct conn, link), fix.seen[order[i]].conn);
    }
    assert_ptr_equal(link->next, conns_silent(&fix.conns));
    for (int i = 0; i < 4; i++)
        peer_closes(i);
}

/* What has been logged is not logged again. */
static void test_adopts_one_that_has_spoken(void **state)
{
    (void)state;
    struct accepted accepted = make_served(LEDGER_SPOKE);
    assert_int_equal(conn_open(&fix.conns, &accepted), 0);
    peer_sends(0, "x");
    assert_int_equal(fix.seen[0].spoke, 0);
    peer_closes(0);
    assert_int_equal(fix.seen[0].closed, 1);
}

/* Our FIN was about to be sent, or had been sent: the connection lingers. */
static void check_adopts_one_that_ends(enum ledger_end end, int error)
{
    int id = fix.count;
    struct accepted accepted = make_served((uint32_t)end << LEDGER_END_SHIFT);
    assert_int_equal(conn_open(&fix.conns, &accepted), 0);
    loop_turn(&fix.loop);
    check_fin(id);
    assert_true(fix.seen[id].conn->lingering);
    assert_int_equal(entry_now(accepted.fd).end, end);
    peer_sends(id, "unheard");
    assert_int_equal(probe_of(fix.seen[id].conn)->steps, 0);
    peer_closes(id);
    assert_int_equal(fix.seen[id].closed, 1);
    assert_int_equal(fix.seen[id].error, error);
}

static void test_adopts_one_that_ends(void **state)
{
    (void)state;
    check_adopts_one_that_ends(LEDGER_IDLE, -ETIME);
    check_adopts_one_that_ends(LEDGER_DRAINED, -ESHUTDOWN);
}

static bool is_lent(uint32_t number)
{
    return (fix.ledger.lent[number / 64] >> number % 64 & 1) != 0;
}

/* The buffer of the answer is free again, and the entry is not in force. */
static void check_abandoned(const struct accepted *accepted, uint32_t buffer)
{
    assert_int_equal(entry_now(accepted->fd).end, LEDGER_LEFT);
    assert_false(fd_is_open(accepted->fd));
    assert_false(is_lent(buffer));
    assert_int_equal(open_count(), 0);
}

static struct accepted make_served_with_buffer(uint32_t *number)
{
    struct ledger_buffer buffer = ledger_lend(&fix.ledger);
    assert_non_null(buffer.bytes);
    *number = buffer.number;
    assert_int_equal(munmap(buffer.bytes, fix.ledger.layout.buffer_bytes), 0);
    assert_true(is_lent(buffer.number));
    return make_served((uint32_t)LEDGER_BUFFER << LEDGER_KIND_SHIFT | buffer.number);
}

static void test_adopts_without_memory(void **state)
{
    uint32_t buffer;
    (void)state;
    struct accepted accepted = make_served_with_buffer(&buffer);
    fix.calloc_fails = true;
    assert_int_equal(conn_open(&fix.conns, &accepted), -ENOMEM);
    fix.calloc_fails = false;
    check_abandoned(&accepted, buffer);
    (void)close(fix.seen[0].peer);
}

static void test_goes_on_without_memory(void **state)
{
    uint32_t buffer;
    (void)state;
    struct accepted accepted = make_served_with_buffer(&buffer);
    fix.resume_fails = true;
    assert_int_equal(conn_open(&fix.conns, &accepted), 0);
    loop_turn(&fix.loop);
    check_abandoned(&accepted, buffer);
    assert_int_equal(fix.seen[0].error, -ENOMEM);
    assert_int_equal(fix.seen[0].released, 1);
    (void)close(fix.seen[0].peer);
    fix.seen[0].peer = -1;
}

static void test_open_what_cannot_be_polled(void **state)
{
    (void)state;
    check_open_fails(open("/proc/self/exe", O_RDONLY | O_CLOEXEC), -EPERM);
}

static void test_memory_goes_back_after_many(void **state)
{
    (void)state;
    open_waiting(2);
    fix.conns.freed = CONNS_TRIM_MIN - 2;
    peer_closes(0); /* one is left: one more must go */
    assert_int_equal(fix.trims, 0);
    peer_closes(1);
    assert_int_equal(fix.trims, 1);
    assert_int_equal(fix.conns.freed, 0);
    assert_int_equal(fix.conns.frames, 0);
}

/* To look through the memory of a million frames takes long, so many of them must have gone. */
static void test_memory_stays_while_more_are_left(void **state)
{
    (void)state;
    open_waiting(3);
    fix.conns.frames += 1000000;
    fix.conns.freed = 1000000 + CONNS_TRIM_MIN - 1;
    peer_closes(0); /* two are left of which the test knows */
    assert_int_equal(fix.trims, 0);
    peer_closes(1);
    assert_int_equal(fix.trims, 1);
    fix.conns.frames -= 1000000;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_open),
        FIXTURE_TEST(test_finish),
        FIXTURE_TEST(test_spoke_is_told_once),
        FIXTURE_TEST(test_sending_is_not_speaking),
        FIXTURE_TEST(test_activity_order),
        FIXTURE_TEST(test_looks_keep_the_order),
        FIXTURE_TEST(test_looks_at_nobody),
        FIXTURE_TEST(test_ends_within_a_round_of_looks),
        FIXTURE_TEST(test_a_source_is_left_before_the_end_shows),
        FIXTURE_TEST(test_a_lingering_one_counts_for_its_source),
        FIXTURE_TEST(test_a_source_is_left_without_memory),
        FIXTURE_TEST(test_activity_is_dated),
        FIXTURE_TEST(test_shut),
        FIXTURE_TEST(test_shut_with_unread_input),
        FIXTURE_TEST(test_shut_a_queued_task),
        FIXTURE_TEST(test_shut_a_sending_task),
        FIXTURE_TEST(test_shut_twice),
        FIXTURE_TEST(test_shut_then_reset),
        FIXTURE_TEST(test_reset),
        FIXTURE_TEST(test_abort),
        FIXTURE_TEST(test_abort_a_queued_task),
        FIXTURE_TEST(test_abort_a_sending_task),
        FIXTURE_TEST(test_shut_then_abort),
        FIXTURE_TEST(test_abort_with_input),
        FIXTURE_TEST(test_abort_whatever_it_waits_for),
        FIXTURE_TEST(test_shut_whatever_it_waits_for),
        FIXTURE_TEST(test_shut_and_abort_whatever_it_waits_for),
        FIXTURE_TEST(test_finish_whatever_it_waited_for),
        FIXTURE_TEST(test_a_handle_that_is_closed_early),
        FIXTURE_TEST(test_shut_all),
        FIXTURE_TEST(test_abort_all),
        FIXTURE_TEST(test_open_without_memory),
        FIXTURE_TEST(test_the_entry_of_a_connection),
        FIXTURE_TEST(test_the_entry_of_a_drained_connection),
        FIXTURE_TEST(test_a_descriptor_without_an_entry),
        FIXTURE_TEST(test_a_service_that_cannot_open),
        FIXTURE_TEST(test_adopts),
        FIXTURE_TEST(test_adopts_in_the_order_of_silence),
        FIXTURE_TEST(test_adopts_one_that_has_spoken),
        FIXTURE_TEST(test_adopts_one_that_ends),
        FIXTURE_TEST(test_adopts_without_memory),
        FIXTURE_TEST(test_goes_on_without_memory),
        FIXTURE_TEST(test_open_what_cannot_be_polled),
        FIXTURE_TEST(test_memory_goes_back_after_many),
        FIXTURE_TEST(test_memory_stays_while_more_are_left),
    };
    return RUN_TESTS("conn", tests);
}
