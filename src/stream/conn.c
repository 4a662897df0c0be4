#include "stream/conn.h"

#include "os/memory.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>

static const struct handler *conns_handler(const struct conns *conns, unsigned service)
{
    return conns->services.list[service].handler;
}

static void conns_close_services(struct conns *conns, unsigned count)
{
    while (count-- > 0)
        if (conns->states[count] != NULL)
            conns_handler(conns, count)->close(conns->states[count]);
}

int conns_open(struct conns *conns, struct sched *sched, const struct services *services,
               void (*on_event)(struct conn *conn, enum conn_event event, int error))
{
    assert(services->count >= 1 && services->count <= SERVICES_MAX);
    *conns = (struct conns){.sched = sched, .services = *services, .on_event = on_event};
    list_init(&conns->active);
    list_init(&conns->lingering);
    sched->loop->data = conns;
    for (unsigned i = 0; i < services->count; i++) {
        const struct handler *handler = conns_handler(conns, i);
        if (handler->open == NULL)
            continue;
        conns->states[i] = handler->open(services->list[i].config);
        if (conns->states[i] == NULL) {
            conns_close_services(conns, i);
            return -ENOMEM;
        }
    }
    return 0;
}

void conns_close(struct conns *conns)
{
    conns_close_services(conns, conns->services.count);
}

static uint32_t conn_now(const struct conn *conn)
{
    return (uint32_t)uv_now(conn->sock.poll.loop);
}

uint32_t conn_silent_ms(const struct conn *conn)
{
    return conn_now(conn) - conn->active_ms;
}

int conn_open(struct conns *conns, const struct accepted *accepted)
{
    const struct handler *handler = conns_handler(conns, accepted->service);
    struct sched *sched = conns->sched;
    struct conn *conn = calloc(1, handler->frame_size);
    int rc =
        conn == NULL ? -ENOMEM : sock_init(&conn->sock, sched->loop, &sched->waker, accepted->fd);
    if (rc < 0) {
        free(conn);
        net_close(accepted->fd);
        return rc;
    }
    conn_handle_opened(conn);
    conn->service = accepted->service;
    conn->peer = accepted->peer;
    conn->active_ms = conn_now(conn);
    conn->unsent = CONN_UNSENT_UNKNOWN;
    list_append(&conns->active, &conn->link);
    conns->frames++;
    counter_add(&conns->accepted, 1);
    sched_spawn(sched, &conn->task, handler->start);
    conns->on_event(conn, CONN_OPENED, 0);
    return 0;
}

/*
 * Makes now the time of its last byte. O(1), because the end of the list is where the most lively
 * connection belongs. Among those of the same period the order does not matter: a busy connection
 * then seldom moves, which would touch the cache lines of three others.
 */
static void conn_date(struct conn *conn)
{
    uint32_t now_ms = conn_now(conn);
    bool same_period = now_ms / CONNS_PERIOD_MS == conn->active_ms / CONNS_PERIOD_MS;
    conn->active_ms = now_ms;
    if (same_period)
        return;
    list_remove(&conn->link);
    list_append(&conn_owner(conn)->active, &conn->link);
}

/* A step has moved bytes. */
static void conn_moved(struct conn *conn)
{
    conn->unsent = CONN_UNSENT_UNKNOWN;
    conn_date(conn);
}

void conn_received(struct conn *conn, size_t bytes)
{
    counter_add(&conn_owner(conn)->bytes_in, bytes);
    conn_moved(conn);
    if (!conn->spoke) {
        conn->spoke = true;
        conn_owner(conn)->on_event(conn, CONN_SPOKE, 0);
    }
}

void conn_sent(struct conn *conn, size_t bytes)
{
    counter_add(&conn_owner(conn)->bytes_out, bytes);
    conn_moved(conn);
}

/* Whether the task goes on although its peer does nothing. */
static bool conn_goes_on(const struct conn *conn)
{
    const struct sock *sock = &conn->sock;
    bool receives = sock->recv_wait != NULL;
    bool sends = sock->send_wait != NULL;
    if (!receives && !sends)
        return true;
    return net_ready(sock->fd, (short)((receives ? POLLIN : 0) | (sends ? POLLOUT : 0)));
}

/*
 * Whether the peer may have taken bytes although the kernel counts as many as at the last look:
 * of a Unix socket it counts whole buffers. After two such looks the peer has taken none.
 */
static bool conn_may_have_taken(struct conn *conn)
{
    conn->spared = conn->unsent > 0 && conn->peer.sa.sa_family == AF_UNIX && !conn->spared;
    return conn->spared;
}

/* How many milliseconds ago, at the least, a byte has moved. UINT32_MAX: before the last look. */
static uint32_t conn_look(struct conn *conn)
{
    uint32_t before = conn->unsent;
    conn->unsent = (uint32_t)net_unsent(conn->sock.fd);
    if (conn->unsent == before)
        return conn_may_have_taken(conn) ? 0 : UINT32_MAX;
    conn->spared = false;
    if (before == CONN_UNSENT_UNKNOWN && conn->unsent == 0)
        return net_moved_ms(conn->sock.fd);
    return 0;
}

bool conn_is_idle(struct conn *conn, uint32_t idle_ms)
{
    uint32_t moved_ms = conn_goes_on(conn) ? 0 : conn_look(conn);
    if (moved_ms >= idle_ms)
        return true;
    /* It stays the first if it is the next to be looked at, as far as the order is exact. */
    if (idle_ms - moved_ms <= CONNS_PERIOD_MS)
        conn->active_ms = conn_now(conn) - moved_ms;
    else
        conn_date(conn);
    return false;
}

/*
 * Gives the memory of freed frames back to the system. That takes time in proportion to all the
 * frames that there were, so more frames must have been freed than are left.
 */
static void conns_trim(struct conns *conns)
{
    if (conns->freed < conns->frames + CONNS_TRIM_MIN)
        return;
    conns->freed = 0;
    memory_trim();
}

static void conn_free(struct conn *conn)
{
    struct conns *conns = conn_owner(conn);
    free(conn);
    conns->frames--;
    conns->freed++;
    conns_trim(conns);
}

void conn_handle_opened(struct conn *conn)
{
    assert(conn->handles < UINT8_MAX);
    conn->handles++;
}

void conn_handle_closed(struct conn *conn)
{
    assert(conn->handles > 0);
    if (--conn->handles == 0)
        conn_free(conn);
}

static void on_closed(uv_handle_t *poll)
{
    struct sock *sock = container_of(poll, struct sock, poll);
    conn_handle_closed(container_of(sock, struct conn, sock));
}

struct yield conn_finish(struct conn *conn, int error)
{
    struct conns *conns = conn_owner(conn);
    conns_handler(conns, conn->service)->release(conn);
    list_remove(&conn->link);
    sock_close(&conn->sock, on_closed);
    counter_publish(&conns->closed, 1);
    conns->on_event(conn, CONN_CLOSED, error);
    return yield_done(&conn->task);
}

/* Throws away what the peer sends until the peer ends, too. */
static struct yield conn_linger(struct task *task)
{
    struct conn *conn = container_of(task, struct conn, task);
    char discard[4096];
    ssize_t n = net_recv(conn->sock.fd, discard, sizeof discard);
    if (n > 0 || n == -EAGAIN)
        return yield_recv(task, &conn->sock, conn_linger);
    return conn_finish(conn, conn->error);
}

static struct yield conn_end(struct task *task)
{
    struct conn *conn = container_of(task, struct conn, task);
    return conn_finish(conn, conn->error);
}

/*
 * The task goes on in another step than the one that it has chosen, in the turn to come. A task
 * waits for one thing at a time, so at most one of the wakes finds it; none does when it is queued
 * already.
 */
static void conn_divert(struct conn *conn, task_step *step, int error)
{
    const struct handler *handler = conns_handler(conn_owner(conn), conn->service);
    conn->error = (short)error;
    conn->task.resume = step;
    sock_wake(&conn->sock);
    if (handler->wake != NULL)
        handler->wake(conn);
}

void conn_shut(struct conn *conn, int error)
{
    if (conn->lingering)
        return;
    conn->lingering = true;
    uv_update_time(conn->sock.poll.loop); /* this pass of the loop may have begun long ago */
    conn->active_ms = conn_now(conn);
    list_remove(&conn->link);
    list_append(&conn_owner(conn)->lingering, &conn->link);
    (void)net_shutdown_send(conn->sock.fd); /* fails only if the peer has gone, which recv tells */
    conn_divert(conn, conn_linger, error);
}

void conn_abort(struct conn *conn, int error)
{
    list_remove(&conn->link);
    list_init(&conn->link); /* in no list any more: it ends in the turn to come */
    conn_divert(conn, conn_end, conn->lingering ? conn->error : error);
}

static struct conn *conn_first(const struct list *head)
{
    return container_of(head->next, struct conn, link);
}

void conns_shut_all(struct conns *conns, int error)
{
    while (!list_empty(&conns->active))
        conn_shut(conn_first(&conns->active), error);
}

void conns_abort_all(struct conns *conns, int error)
{
    while (!list_empty(&conns->active))
        conn_abort(conn_first(&conns->active), error);
    while (!list_empty(&conns->lingering))
        conn_abort(conn_first(&conns->lingering), error);
}
