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

/*
 * At most half of what a file can have on this machine: with 32 bits, that is 1 GiB, and a process
 * has addresses for little more.
 */
static uint32_t services_fit(uint32_t buffers, uint32_t buffer_bytes)
{
    uint64_t most = (uint64_t)INTPTR_MAX / 2 / buffer_bytes;
    return most < buffers ? (uint32_t)most : buffers;
}

/* Of a connection, at most one buffer is lent at a time. */
void services_layout(const struct services *services, unsigned loops, uint32_t entries,
                     struct ledger_layout *layout)
{
    *layout = (struct ledger_layout){.entries = entries, .services = services->count};
    for (unsigned i = 0; i < services->count; i++) {
        struct ledger_service *service = &layout->service[i];
        if (services->list[i].handler->describe == NULL)
            continue;
        services->list[i].handler->describe(services->list[i].config, service);
        uint32_t bytes = (uint32_t)memory_pages(service->buffer_bytes);
        layout->buffer_bytes = bytes > layout->buffer_bytes ? bytes : layout->buffer_bytes;
        layout->buffers += loops * service->spares;
    }
    if (layout->buffer_bytes > 0)
        layout->buffers = services_fit(layout->buffers + entries, layout->buffer_bytes);
}

int conns_open(struct conns *conns, struct sched *sched, const struct services *services,
               struct ledger *ledger,
               void (*on_event)(struct conn *conn, enum conn_event event, int error))
{
    assert(services->count >= 1 && services->count <= SERVICES_MAX);
    *conns = (struct conns){.sched = sched,
                            .services = *services,
                            .ledger = ledger,
                            .entries = ledger->entries,
                            .on_event = on_event};
    list_init(&conns->active);
    list_init(&conns->due);
    list_init(&conns->lingering);
    list_init(&conns->headless);
    sched->loop->data = conns;
    for (unsigned i = 0; i < services->count; i++) {
        const struct handler *handler = conns_handler(conns, i);
        if (handler->open == NULL)
            continue;
        conns->states[i] = handler->open(services->list[i].config, ledger);
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

/* Before the descriptor is closed, because a client that sees the end may come again at once. */
static void conns_leave(struct conns *conns, const union net_peer *peer)
{
    if (conns->sources != NULL)
        sources_leave(conns->sources, peer);
}

void conn_refuse(struct conns *conns, const struct accepted *accepted)
{
    conns_leave(conns, &accepted->peer);
    if (accepted->adopted)
        ledger_abandon(conns->ledger, accepted->fd);
    net_close(accepted->fd);
}

static int conn_note(struct ledger *ledger, const struct conn *conn,
                     const struct accepted *accepted)
{
    if (accepted->adopted)
        return 0;
    return conn->headless ? ledger_enter_header(ledger, accepted->fd, accepted->service)
                          : ledger_enter(ledger, accepted->fd, accepted->service);
}

/* Before sock_init(), because a failure can be taken back only here. */
static int conn_enter(struct conns *conns, struct conn *conn, const struct accepted *accepted)
{
    struct sched *sched = conns->sched;
    int rc = conn_note(conns->ledger, conn, accepted);
    if (rc < 0)
        return rc;
    rc = sock_init(&conn->sock, sched->loop, &sched->waker, accepted->fd);
    if (rc < 0 && !accepted->adopted)
        ledger_leave(&conns->ledger->entries[accepted->fd]);
    return rc;
}

static struct yield conn_end(struct task *task);

/* The step in which the connection of a predecessor goes on. */
static task_step *conn_resume(struct conn *conn, const struct accepted *accepted)
{
    struct conns *conns = conn_owner(conn);
    uint32_t place = ledger_load(&conn_entry(conn)->place);
    const struct handler *handler = conns_handler(conns, conn->service);
    task_step *step = conn->headless ? proxy_resume(conn, accepted->left)
                                     : handler->resume(conn, accepted->left, accepted->ready);
    conn->spoke = (place & LEDGER_SPOKE) != 0;
    if (step != NULL)
        return step;
    ledger_abandon(conns->ledger, conn->sock.fd); /* the frame has nothing of it to release */
    conn->error = -ENOMEM;
    return conn_end;
}

/* A connection that the predecessor was ending goes on ending. */
static void conn_resume_end(struct conn *conn)
{
    enum ledger_end end = ledger_end_of(conn_entry(conn));
    if (end == LEDGER_IDLE)
        conn_shut(conn, -ETIME);
    if (end == LEDGER_DRAINED)
        conn_shut(conn, -ESHUTDOWN);
}

/* At the beginning of the list of the active if it has been silent for longer than all of them. */
static void conn_enlist(struct conn *conn, uint32_t silent_ms)
{
    struct conns *conns = conn_owner(conn);
    if (conn->headless) {
        uv_update_time(conn->sock.poll.loop); /* this pass of the loop may have begun long ago */
        conn->active_ms = conn_now(conn);
        list_append(&conns->headless, &conn->link);
        return;
    }
    conn->active_ms = conn_now(conn) - silent_ms;
    list_append(silent_ms > 0 ? conns_silent(conns)->next : &conns->active, &conn->link);
}

/* Whether the connection begins with the header of a proxy, or is in the middle of one. */
static bool conns_want_header(const struct conns *conns, const struct accepted *accepted)
{
    if (accepted->adopted)
        return ledger_kind(ledger_load(&conns->entries[accepted->fd].place)) == LEDGER_HEADER;
    return proxy_rules_name(&conns->proxies, &accepted->peer);
}

/* Returns a frame that is zero but for what says whether there is a proxy before it; or NULL. */
static struct conn *conns_make(const struct conns *conns, const struct accepted *accepted)
{
    const size_t bytes = conns_handler(conns, accepted->service)->frame_size;
    const bool header = conns_want_header(conns, accepted);
    union net_addr client = {.sa.sa_family = AF_UNSPEC};
    bool proxied =
        (accepted->adopted && ledger_recall_client(conns->ledger, accepted->fd, &client)) || header;
    struct conn *conn = calloc(1, proxied ? bytes + sizeof(struct proxied) : bytes);
    if (conn == NULL)
        return NULL;
    conn->proxied = proxied;
    conn->headless = header;
    if (proxied)
        proxy_set_client(conn, bytes, &client);
    return conn;
}

/* The first step of a connection that nobody has served. */
static task_step *conn_first(const struct conn *conn)
{
    return conn->headless ? proxy_start : conns_handler(conn_owner(conn), conn->service)->start;
}

int conn_open(struct conns *conns, const struct accepted *accepted)
{
    struct sched *sched = conns->sched;
    struct conn *conn = conns_make(conns, accepted);
    int rc = conn == NULL ? -ENOMEM : conn_enter(conns, conn, accepted);
    if (rc < 0) {
        free(conn);
        conn_refuse(conns, accepted);
        return rc;
    }
    conn_handle_opened(conn);
    conn->service = accepted->service;
    conn->peer = accepted->peer;
    conn->unsent = CONN_UNSENT_UNKNOWN;
    conn->owed = accepted->adopted ? CONN_OWED_UNKNOWN : 0;
    conn_enlist(conn, accepted->silent_ms);
    conns->frames++;
    bool adopted = accepted->adopted;
    counter_add(&conns->adopted, adopted);
    counter_add(&conns->accepted, 1);
    sched_spawn(sched, &conn->task, adopted ? conn_resume(conn, accepted) : conn_first(conn));
    conns->on_event(conn, adopted ? CONN_ADOPTED : CONN_OPENED, 0);
    if (adopted)
        conn_resume_end(conn);
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
        ledger_spoke(conn_entry(conn));
        conn_owner(conn)->on_event(conn, CONN_SPOKE, 0);
    }
}

void conn_sent(struct conn *conn, size_t bytes)
{
    counter_add(&conn_owner(conn)->bytes_out, bytes);
    conn->owed += (uint32_t)bytes;
    conn_moved(conn);
}

void conn_header_done(struct conn *conn)
{
    conn->headless = false;
    conn->spared = false;
    conn->active_ms = conn_now(conn);
    list_remove(&conn->link);
    list_append(&conn_owner(conn)->active, &conn->link);
    conn_owner(conn)->on_event(conn, CONN_HEADED, 0);
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

bool conn_spare(struct conn *conn, uint32_t limit_ms)
{
    conn->spared = net_ready(conn->sock.fd, POLLIN);
    uv_update_time(conn->sock.poll.loop); /* the process may have been stopped during the look */
    if (conn->spared)
        conn->active_ms = conn_now(conn) - limit_ms + CONNS_PERIOD_MS;
    return conn->spared;
}

/* Whether its socket is a Unix socket, of which the kernel counts whole buffers. */
static bool conn_is_local(const struct conn *conn)
{
    return conn->peer.sa.sa_family == AF_UNIX;
}

/*
 * Whether the peer may have taken bytes although the kernel counts as many as at the last look.
 * After two such looks the peer has taken none.
 */
static bool conn_may_have_taken(struct conn *conn)
{
    conn->spared = conn->unsent > 0 && conn_is_local(conn) && !conn->spared;
    return conn->spared;
}

/*
 * A look has found that bytes have moved, or that the peer has taken some. Where the kernel counts
 * whole buffers, both count as progress of the peer; elsewhere conn_is_stuck() knows better.
 */
static void conn_note_moved(struct conn *conn, uint32_t unsent)
{
    conn->unsent = unsent;
    conn->spared = false;
    if (conn_is_local(conn))
        conn->stuck = 0;
}

/* How many milliseconds ago, at the least, a byte has moved. UINT32_MAX: before the last look. */
static uint32_t conn_look(struct conn *conn)
{
    uint32_t before = conn->unsent;
    uint32_t unsent = (uint32_t)net_unsent(conn->sock.fd);
    if (unsent == before)
        return conn_may_have_taken(conn) ? 0 : UINT32_MAX;
    conn_note_moved(conn, unsent);
    if (before == CONN_UNSENT_UNKNOWN && unsent == 0)
        return net_moved_ms(conn->sock.fd);
    return 0;
}

bool conn_is_idle(struct conn *conn, uint32_t idle_ms)
{
    uint32_t moved_ms = conn_goes_on(conn) ? 0 : conn_look(conn);
    if (moved_ms >= idle_ms)
        return true;
    uv_update_time(conn->sock.poll.loop); /* the process may have been stopped during the look */
    /* It stays the first if it is the next to be looked at, as far as the order is exact. */
    if (idle_ms - moved_ms <= CONNS_PERIOD_MS)
        conn->active_ms = conn_now(conn) - moved_ms;
    else
        conn_date(conn);
    return false;
}

/* The head of due takes the place of the head of active in its ring. */
void conns_look_begin(struct conns *conns)
{
    if (!list_empty(&conns->due))
        return;
    list_append(&conns->active, &conns->due);
    list_remove(&conns->active);
    list_init(&conns->active);
}

/* From the end of due to the beginning of active, so that the order stays as it is. */
struct conn *conns_look_next(struct conns *conns)
{
    if (list_empty(&conns->due))
        return NULL;
    struct list *link = conns->due.prev;
    list_remove(link);
    list_append(conns->active.next, link);
    return container_of(link, struct conn, link);
}

/*
 * owed is what the kernel held at the last look, and what it has taken from us since. If it holds
 * as much now, the peer has taken none of that.
 */
bool conn_is_stuck(struct conn *conn)
{
    if (conn->owed == 0)
        return false;
    uint32_t held = (uint32_t)net_unsent(conn->sock.fd);
    if (conn_is_local(conn) && held != conn->unsent) {
        conn_note_moved(conn, held);
        uv_update_time(conn->sock.poll.loop);
        conn_date(conn); /* until now the peer may have taken bytes */
    }
    if (held < conn->owed)
        conn->stuck = 0;
    if (held > 0 && conn->stuck <= CONN_LOOKS)
        conn->stuck++;
    conn->owed = held;
    return conn->stuck > CONN_LOOKS;
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
    ledger_leave(conn_entry(conn)); /* first, because its answer may be lost from here on */
    if (conn->proxied)
        proxy_release(conn);
    conns_handler(conns, conn->service)->release(conn);
    list_remove(&conn->link);
    conns_leave(conns, &conn->peer);
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

/* Until the entry says that it ends, a successor would go on with it, and lose bytes at its end. */
struct yield conn_finish_reset(struct conn *conn, int error)
{
    ledger_leave(conn_entry(conn));
    net_discard(conn->sock.fd);
    return conn_finish(conn, error);
}

static struct yield conn_end_discarding(struct task *task)
{
    struct conn *conn = container_of(task, struct conn, task);
    return conn_finish_reset(conn, conn->error);
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
    if (handler->wake != NULL && !conn->headless)
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
    ledger_end(conn_entry(conn), error == -ETIME ? LEDGER_IDLE : LEDGER_DRAINED);
    (void)net_shutdown_send(conn->sock.fd); /* fails only if the peer has gone, which recv tells */
    conn_divert(conn, conn_linger, error);
}

void conn_abort(struct conn *conn, int error)
{
    list_remove(&conn->link);
    list_init(&conn->link); /* in no list any more: it ends in the turn to come */
    conn_divert(conn, conn_end, conn->lingering ? conn->error : error);
}

void conn_reset(struct conn *conn, int error)
{
    conn_abort(conn, error);
    conn->task.resume = conn_end_discarding;
}

static struct conn *conns_head(const struct list *head)
{
    return container_of(head->next, struct conn, link);
}

void conns_shut_all(struct conns *conns, int error)
{
    while (!list_empty(conns_silent(conns)))
        conn_shut(conns_head(conns_silent(conns)), error);
    while (!list_empty(&conns->headless))
        conn_shut(conns_head(&conns->headless), error);
}

void conns_abort_all(struct conns *conns, int error)
{
    while (!list_empty(conns_silent(conns)))
        conn_abort(conns_head(conns_silent(conns)), error);
    while (!list_empty(&conns->headless))
        conn_abort(conns_head(&conns->headless), error);
    while (!list_empty(&conns->lingering))
        conn_abort(conns_head(&conns->lingering), error);
}
