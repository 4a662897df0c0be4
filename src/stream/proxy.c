/*
 * The generator, line by line:
 *
 *     def proxied(client, handler):
 *         header = b''                             proxy_start
 *         while missing(header) > 0:               proxy_recv
 *             yield 'recv', client                 proxy_wait
 *             header += client.recv(missing(header))
 *         yield from handler(client)               proxy_pass
 */
#include "stream/proxy.h"

#include "stream/conn.h"
#include "stream/proxy_header.h"

#include <assert.h>
#include <errno.h>

_Static_assert((int)PROXY_RESULTS <= (int)LEDGER_PROXIED_MAX, "a ledger has room for all counters");

static struct conn *proxy_conn(struct task *task)
{
    return container_of(task, struct conn, task);
}

static const struct handler *proxy_handler(const struct conn *conn)
{
    return conn_owner(conn)->services.list[conn->service].handler;
}

/* A frame has pointers in it, so what stands behind it is aligned for pointers. */
static struct proxied *proxy_of(struct conn *conn)
{
    assert(conn->proxied);
    return (void *)((char *)conn + proxy_handler(conn)->frame_size);
}

static const struct proxied *proxy_view(const struct conn *conn)
{
    return (const void *)((const char *)conn + proxy_handler(conn)->frame_size);
}

bool proxy_rules_name(const struct proxy_rules *rules, const union net_peer *peer)
{
    if (peer->sa.sa_family == AF_UNIX)
        return rules->local;
    for (size_t i = 0; i < rules->count; i++)
        if (cidr_has(&rules->from[i], peer))
            return true;
    return false;
}

/* ---- the buffer ---- */

static bool proxy_lend(struct conn *conn, struct proxied *proxied)
{
    struct ledger *ledger = conn_owner(conn)->ledger;
    if (proxied->bytes != NULL)
        return true;
    assert(ledger->layout.buffer_bytes >= PROXY_HEADER_MAX);
    struct ledger_buffer buffer = ledger_lend(ledger);
    proxied->bytes = buffer.bytes;
    if (buffer.bytes != NULL)
        ledger_note(conn_entry(conn), LEDGER_HEADER, buffer.number);
    return buffer.bytes != NULL;
}

/* The entry says what comes next, and forgets the buffer before others can have that. */
static void proxy_put(struct conn *conn, struct proxied *proxied, enum ledger_kind kind)
{
    struct ledger_entry *entry = conn_entry(conn);
    struct ledger_buffer buffer = {.bytes = proxied->bytes, .number = ledger_number(entry)};
    ledger_note(entry, kind, kind == LEDGER_NOTHING ? 0 : LEDGER_NO_BUFFER);
    proxied->bytes = NULL;
    ledger_take_back(conn_owner(conn)->ledger, buffer);
}

void proxy_release(struct conn *conn)
{
    struct proxied *proxied = proxy_of(conn);
    if (proxied->bytes != NULL)
        proxy_put(conn, proxied, LEDGER_NOTHING);
}

const union net_addr *proxy_client(const struct conn *conn)
{
    if (!conn->proxied || proxy_view(conn)->client.sa.sa_family == AF_UNSPEC)
        return NULL;
    return &proxy_view(conn)->client;
}

void proxy_set_client(struct conn *conn, size_t frame_size, const union net_addr *client)
{
    struct proxied *proxied = (void *)((char *)conn + frame_size);
    proxied->client = *client;
}

/* ---- the ends of a header ---- */

static void proxy_count(struct conn *conn, enum proxy_result result)
{
    struct ledger_proxied *proxied = &conn_owner(conn)->ledger->header->proxied;
    (void)atomic_fetch_add_explicit(&proxied->count[result], 1, memory_order_relaxed);
}

static struct yield proxy_refuse(struct conn *conn, enum proxy_header_kind fault)
{
    proxy_count(conn, PROXY_BAD);
    conn_owner(conn)->on_event(conn, CONN_MISLED, (int)fault);
    return conn_finish_reset(conn, -EPROTO);
}

bool proxy_is_late(struct conn *conn)
{
    struct proxied *proxied = proxy_of(conn);
    const bool heard = conn->spared && proxied->have > proxied->looked;
    proxied->looked = proxied->have;
    return heard || !conn_spare(conn, conn_owner(conn)->proxies.timeout_ms);
}

void proxy_end_late(struct conn *conn)
{
    proxy_count(conn, PROXY_LATE);
    conn_owner(conn)->on_event(conn, CONN_MISLED, PROXY_HEADER_LATE);
    conn_reset(conn, -ETIMEDOUT);
}

/* error is 0 or negative. A health check that closes without a byte has done nothing wrong. */
static struct yield proxy_ended(struct conn *conn, const struct proxied *proxied, int error)
{
    if (error == 0 && proxied->have > 0)
        return proxy_refuse(conn, PROXY_HEADER_ENDED);
    return conn_finish(conn, error);
}

static struct yield proxy_pass(struct conn *conn, struct proxied *proxied,
                               const struct proxy_header *header)
{
    ledger_keep_client(conn_owner(conn)->ledger, conn->sock.fd, &header->client);
    /* First: the entry says from then on that the header is over, and a successor counts none. */
    proxy_count(conn, header->kind == PROXY_HEADER_CLIENT ? PROXY_CLIENT : PROXY_ANONYMOUS);
    proxy_put(conn, proxied, LEDGER_NOTHING);
    proxied->client = header->client;
    conn_header_done(conn);
    return proxy_handler(conn)->start(&conn->task);
}

/* ---- receiving ---- */

/*
 * Looks at what has come, and notes it afterwards: should it make this process crash, a successor
 * finds that it was being looked at (takeover.h).
 */
static struct proxy_header proxy_look(struct conn *conn, const struct proxied *proxied)
{
    struct ledger_entry *entry = conn_entry(conn);
    struct proxy_header header =
        proxy_header_parse((const unsigned char *)proxied->bytes, proxied->have);
    ledger_header_end(entry, proxied->have - ledger_load(&entry->received));
    return header;
}

static struct yield proxy_recv(struct task *task);

static struct yield proxy_wait(struct conn *conn, struct proxied *proxied)
{
    ledger_header_end(conn_entry(conn), 0);
    if (proxied->have == 0)
        proxy_put(conn, proxied, LEDGER_HEADER);
    return yield_recv(&conn->task, &conn->sock, proxy_recv);
}

static struct yield proxy_recv(struct task *task)
{
    struct conn *conn = proxy_conn(task);
    struct proxied *proxied = proxy_of(conn);
    if (!proxy_lend(conn, proxied))
        return conn_finish(conn, -ENOMEM);
    struct proxy_header header = proxy_look(conn, proxied);
    while (header.kind == PROXY_HEADER_PARTIAL) {
        ledger_header_begin(conn_entry(conn), (uint32_t)header.missing);
        ssize_t n = net_recv(conn->sock.fd, proxied->bytes + proxied->have, header.missing);
        if (n == -EAGAIN)
            return proxy_wait(conn, proxied);
        if (n <= 0)
            return proxy_ended(conn, proxied, (int)n);
        proxied->have += (uint32_t)n;
        header = proxy_look(conn, proxied);
    }
    if (header.kind == PROXY_HEADER_CLIENT || header.kind == PROXY_HEADER_ANONYMOUS)
        return proxy_pass(conn, proxied, &header);
    return proxy_refuse(conn, header.kind);
}

/* Without a look whether something has come: for that, a buffer would be needed. */
struct yield proxy_start(struct task *task)
{
    return yield_recv(task, &proxy_conn(task)->sock, proxy_recv);
}

task_step *proxy_resume(struct conn *conn, uint32_t unnoted)
{
    struct proxied *proxied = proxy_of(conn);
    const struct ledger_entry *entry = conn_entry(conn);
    uint32_t number = ledger_number(entry);
    if (number == LEDGER_NO_BUFFER)
        return proxy_start;
    struct ledger_buffer buffer = ledger_inherit(conn_owner(conn)->ledger, number);
    proxied->bytes = buffer.bytes;
    proxied->have = ledger_load(&entry->received) + unnoted;
    return buffer.bytes != NULL ? proxy_recv : NULL;
}
