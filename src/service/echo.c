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
 *
 * A verbatim echo of bulk data goes another way: echo_recv and echo_send stand once more below, as
 * echo_splice_recv and echo_splice_send, with a pipe in the place of a buffer.
 */
#include "service/echo.h"

#include <errno.h>
#include <stdlib.h>

/*
 * When a read fills every slot it was offered, the next one is offered this many times more. That
 * costs 3 % of a message, so a client whose messages are exactly a chunk long, and for whom it was
 * in vain, is offered more only after so many more of them.
 */
enum { ECHO_SLOTS_GROWTH = 8, ECHO_HESITATION = 8 };

/*
 * Fewer bytes than this in a pipe do not pay for it. A read that fills its buffer is what shows
 * that a connection is bulk.
 */
enum { ECHO_SPLICE_MIN = 32768 };

/* The locals of the generator. */
struct echo {
    struct conn conn;
    union {
        char *buffer;      /* the answer; NULL but while one is under way */
        struct pipe *pipe; /* the same, when spliced */
    };
    unsigned len;             /* bytes of the answer */
    unsigned sent;            /* how many of them the kernel has taken */
    unsigned short slots;     /* to offer to the next read; 0 before the first is as good as 1 */
    unsigned char hesitation; /* reads that may fill their slot before more is offered */
    bool spliced;             /* the answer is in the pipe */
    bool refused;             /* the kernel does not splice this socket */
};

static struct yield echo_recv(struct task *task);
static struct yield echo_send(struct task *task);
static struct yield echo_splice_recv(struct task *task);
static struct yield echo_splice_send(struct task *task);

static struct echo *echo_of(struct task *task)
{
    return container_of(container_of(task, struct conn, task), struct echo, conn);
}

static struct chunks *echo_chunks(const struct echo *echo)
{
    struct echo_state *state = conn_state(&echo->conn);
    return &state->chunks;
}

static struct pipes *echo_pipes(const struct echo *echo)
{
    struct echo_state *state = conn_state(&echo->conn);
    return &state->pipes;
}

static void echo_release(struct conn *conn)
{
    struct echo *echo = container_of(conn, struct echo, conn);
    if (echo->spliced && echo->sent == echo->len)
        pipes_put(echo_pipes(echo), echo->pipe);
    else if (echo->spliced)
        pipes_drop(echo_pipes(echo), echo->pipe);
    else if (echo->buffer != NULL)
        chunks_put(echo_chunks(echo), echo->buffer);
    echo->buffer = NULL;
    echo->spliced = false;
}

/* One call, whether the peer has sent one chunk or a backlog of them. */
static ssize_t echo_receive(struct echo *echo, struct chunks *chunks)
{
    int fd = echo->conn.sock.fd;
    if (echo->slots <= 1)
        return net_recv(fd, echo->buffer + chunks->prefix_len, chunks->chunk);
    return net_recvv(fd, chunks_scatter(chunks, echo->buffer, echo->slots), echo->slots);
}

/* How many slots are worth describing to the next read. */
static unsigned short echo_next_slots(struct echo *echo, const struct chunks *chunks,
                                      size_t received)
{
    unsigned slots = echo->slots > 1 ? echo->slots : 1;
    if (slots > 1 && received <= chunks->chunk)
        echo->hesitation = ECHO_HESITATION;
    if (received < chunks->chunk)
        return 1;
    if (received == chunks->chunk && echo->hesitation > 0) {
        echo->hesitation--;
        return 1;
    }
    if (received < slots * chunks->chunk)
        return (unsigned short)(received / chunks->chunk + 1);
    slots *= ECHO_SLOTS_GROWTH;
    return (unsigned short)(slots < chunks->slots ? slots : chunks->slots);
}

/* Whether what was received shows that it is worth splicing the rest. */
static bool echo_is_bulk(const struct echo *echo, size_t received)
{
    const struct chunks *chunks = echo_chunks(echo);
    return chunks->prefix_len == 0 && received == chunks->chunk && !echo->refused;
}

/* The answer is there, len bytes of it. */
static struct yield echo_answer(struct echo *echo, size_t received, size_t len, task_step *send)
{
    conn_received(&echo->conn, received);
    echo->len = (unsigned)len;
    echo->sent = 0;
    return yield_send(&echo->conn.task, &echo->conn.sock, send);
}

/* The kernel has taken n bytes of the answer, or said why not. True: there is more to send. */
static bool echo_account(struct echo *echo, ssize_t n)
{
    if (n > 0) {
        echo->sent += (unsigned)n;
        conn_sent(&echo->conn, (size_t)n);
    }
    return echo->sent < echo->len;
}

static struct yield echo_recv(struct task *task)
{
    struct echo *echo = echo_of(task);
    struct chunks *chunks = echo_chunks(echo);
    echo->buffer = chunks_get(chunks);
    if (echo->buffer == NULL)
        return conn_finish(&echo->conn, -ENOMEM);
    ssize_t n = echo_receive(echo, chunks);
    if (n == -EAGAIN) {
        echo_release(&echo->conn);
        return yield_recv(task, &echo->conn.sock, echo_recv);
    }
    if (n <= 0)
        return conn_finish(&echo->conn, (int)n);
    echo->slots = echo_next_slots(echo, chunks, (size_t)n);
    return echo_answer(echo, (size_t)n, chunks_answer(chunks, (size_t)n), echo_send);
}

static struct yield echo_send(struct task *task)
{
    struct echo *echo = echo_of(task);
    struct sock *sock = &echo->conn.sock;
    ssize_t n = sock_send(sock, echo->buffer + echo->sent, echo->len - echo->sent);
    if (n < 0 && n != -EAGAIN)
        return conn_finish(&echo->conn, (int)n);
    if (echo_account(echo, n))
        return yield_send(task, sock, echo_send);
    echo_release(&echo->conn);
    return yield_recv(task, sock, echo_is_bulk(echo, echo->len) ? echo_splice_recv : echo_recv);
}

/* By a socket, a kernel or a sandbox that never does it: who asks again asks in vain. */
static bool echo_splice_is_refused(ssize_t n)
{
    return n == -EINVAL || n == -ENOSYS || n == -EOPNOTSUPP || n == -EPERM;
}

/*
 * Without a pipe, or from a socket that cannot be spliced, it is received as ever. So it is when
 * there seems to be nothing, or the end: splice never passes the place of an urgent byte, and says
 * either with bytes behind it, where recv steps over.
 */
static struct yield echo_splice_recv(struct task *task)
{
    struct echo *echo = echo_of(task);
    struct sock *sock = &echo->conn.sock;
    struct pipe *pipe = pipes_get(echo_pipes(echo));
    if (pipe == NULL)
        return echo_recv(task);
    ssize_t n = net_splice(sock->fd, pipe->in, PIPES_BYTES);
    if (n <= 0)
        pipes_put(echo_pipes(echo), pipe);
    if (echo_splice_is_refused(n))
        echo->refused = true;
    if (n == 0 || n == -EAGAIN || echo->refused)
        return echo_recv(task);
    if (n < 0)
        return conn_finish(&echo->conn, (int)n);
    echo->pipe = pipe;
    echo->spliced = true;
    return echo_answer(echo, (size_t)n, (size_t)n, echo_splice_send);
}

static struct yield echo_splice_send(struct task *task)
{
    struct echo *echo = echo_of(task);
    struct sock *sock = &echo->conn.sock;
    ssize_t n = sock_splice(sock, echo->pipe->out, echo->len - echo->sent);
    if (n < 0 && n != -EAGAIN)
        return conn_finish(&echo->conn, (int)n);
    if (echo_account(echo, n))
        return yield_send(task, sock, echo_splice_send);
    echo_release(&echo->conn);
    return yield_recv(task, sock, echo->len >= ECHO_SPLICE_MIN ? echo_splice_recv : echo_recv);
}

static void *echo_open(const void *config)
{
    const struct echo_config *echo = config;
    struct echo_state *state = malloc(sizeof *state);
    if (state == NULL)
        return NULL;
    chunks_init(&state->chunks, echo->prefix, echo->prefix_len, echo->chunk);
    pipes_init(&state->pipes);
    return state;
}

static void echo_close(void *own)
{
    struct echo_state *state = own;
    chunks_free(&state->chunks);
    pipes_free(&state->pipes);
    free(state);
}

/* Two for each pipe; only a verbatim echo is spliced. */
static unsigned echo_descriptors(const void *config)
{
    const struct echo_config *echo = config;
    return echo->prefix_len == 0 ? 2 * PIPES_MAX : 0;
}

const struct handler echo_handler = {.frame_size = sizeof(struct echo),
                                     .start = echo_recv,
                                     .release = echo_release,
                                     .open = echo_open,
                                     .close = echo_close,
                                     .descriptors = echo_descriptors};
