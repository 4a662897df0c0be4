/*
 * The generator, line by line:
 *
 *     def echo_handler(client, address):           echo_handler.start
 *         while True:
 *             yield 'recv', client                 return yield_recv(..., echo_recv)
 *             data = client.recv(1000)             echo_recv
 *             if not data: break                   echo_recv
 *             yield 'send', client                 return yield_send(..., echo_send)
 *             client.send(b'GOT:' + data)          echo_send
 *         client.close()                           conn_finish
 */
#include "echo.h"

#include "chunks.h"

#include <errno.h>

/* When a read fills every slot it was offered, the next one is offered this many times more. */
enum { ECHO_SLOTS_GROWTH = 8 };

/* The locals of the generator. */
struct echo {
    struct conn conn;
    char *buffer;   /* the answer; NULL but while one is under way */
    unsigned len;   /* bytes of the answer */
    unsigned sent;  /* how many of them the kernel has taken */
    unsigned slots; /* to offer to the next read; 0 before the first is as good as 1 */
};

static struct yield echo_recv(struct task *task);
static struct yield echo_send(struct task *task);

static struct echo *echo_of(struct conn *conn)
{
    return container_of(conn, struct echo, conn);
}

static struct chunks *echo_chunks(const struct echo *echo)
{
    return echo->conn.owner->service;
}

static void echo_release(struct conn *conn)
{
    struct echo *echo = echo_of(conn);
    if (echo->buffer != NULL)
        chunks_put(echo_chunks(echo), echo->buffer);
    echo->buffer = NULL;
}

/* One call, whether the peer has sent one chunk or a backlog of them. */
static ssize_t echo_receive(struct echo *echo)
{
    const struct chunks *chunks = echo_chunks(echo);
    int fd = echo->conn.sock.fd;
    if (echo->slots <= 1)
        return net_recv(fd, echo->buffer + chunks->prefix_len, chunks->chunk);
    struct iovec iov[CHUNKS_SLOTS_MAX];
    chunks_scatter(chunks, echo->buffer, echo->slots, iov);
    return net_recvv(fd, iov, echo->slots);
}

/* A small read must not pay for describing slots that it will not fill. */
static unsigned echo_next_slots(const struct echo *echo, size_t received)
{
    const struct chunks *chunks = echo_chunks(echo);
    unsigned slots = echo->slots > 1 ? echo->slots : 1;
    if (received < slots * chunks->chunk)
        return (unsigned)(received / chunks->chunk) + 1;
    slots *= ECHO_SLOTS_GROWTH;
    return slots < chunks->slots ? slots : chunks->slots;
}

static struct yield echo_recv(struct task *task)
{
    struct echo *echo = echo_of(container_of(task, struct conn, task));
    echo->buffer = chunks_get(echo_chunks(echo));
    if (echo->buffer == NULL)
        return conn_finish(&echo->conn, -ENOMEM);
    ssize_t n = echo_receive(echo);
    if (n == -EAGAIN) {
        echo_release(&echo->conn);
        return yield_recv(task, &echo->conn.sock, echo_recv);
    }
    if (n <= 0)
        return conn_finish(&echo->conn, (int)n);
    conn_received(&echo->conn, (size_t)n);
    echo->slots = echo_next_slots(echo, (size_t)n);
    echo->len = (unsigned)chunks_answer(echo_chunks(echo), (size_t)n);
    echo->sent = 0;
    return yield_send(task, &echo->conn.sock, echo_send);
}

static struct yield echo_send(struct task *task)
{
    struct echo *echo = echo_of(container_of(task, struct conn, task));
    struct sock *sock = &echo->conn.sock;
    ssize_t n = sock_send(sock, echo->buffer + echo->sent, echo->len - echo->sent);
    if (n < 0 && n != -EAGAIN)
        return conn_finish(&echo->conn, (int)n);
    if (n > 0) {
        echo->sent += (unsigned)n;
        conn_sent(&echo->conn, (size_t)n);
    }
    if (echo->sent < echo->len)
        return yield_send(task, sock, echo_send);
    echo_release(&echo->conn);
    return yield_recv(task, sock, echo_recv);
}

const struct handler echo_handler = {
    .frame_size = sizeof(struct echo), .start = echo_recv, .release = echo_release};
