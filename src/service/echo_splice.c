/*
 * The way of verbatim bulk data: the two steps of echo.c once more, with a pipe in the place of
 * the buffer. splice(2) moves the bytes from the socket to the pipe and back without copying them.
 * It moves them as they are, so an echo with a prefix cannot go this way.
 */
#include "service/echo_frame.h"

#include <errno.h>

/* An answer of fewer bytes does not pay for a pipe: receiving and sending them is cheaper. */
enum { ECHO_SPLICE_MIN = 32768 };

/* Not with a prefix, although a predecessor without one may have spliced the answer so far. */
static bool echo_splice_may(const struct echo *echo)
{
    return echo_state_of(echo)->chunks.prefix_len == 0 && !echo->refused;
}

/* A read that has filled its buffer shows that the connection carries bulk data. */
bool echo_splice_pays(const struct echo *echo, const struct ledger_entry *entry)
{
    const struct chunks *chunks = &echo_state_of(echo)->chunks;
    return echo_splice_may(echo) && ledger_load(&entry->len) == chunks->chunk;
}

/* Whether this socket, kernel or sandbox never splices, so that there is no use in asking again. */
static bool echo_splice_is_refused(ssize_t n)
{
    return n == -EINVAL || n == -ENOSYS || n == -EOPNOTSUPP || n == -EPERM;
}

/*
 * Receives with echo_recv when there is no pipe, and when the socket cannot be spliced. Also when
 * splice finds nothing or the end: it says so, too, when an urgent byte comes next, which splice
 * never takes and recv receives like any other.
 */
struct yield echo_splice_recv(struct task *task)
{
    struct echo *echo = echo_of(task);
    struct sock *sock = &echo->conn.sock;
    struct pipes *pipes = &echo_state_of(echo)->pipes;
    struct pipe *pipe = pipes_get(pipes);
    if (pipe == NULL)
        return echo_recv(task);
    struct ledger_entry *entry = conn_entry(&echo->conn);
    ledger_note(entry, LEDGER_PIPE, (uint32_t)pipe->out);
    ssize_t n = net_splice(sock->fd, pipe->in, PIPES_BYTES);
    if (n <= 0)
        pipes_put(pipes, pipe);
    if (echo_splice_is_refused(n))
        echo->refused = true;
    if (n == 0 || n == -EAGAIN || echo->refused)
        return echo_recv(task);
    if (n < 0)
        return conn_finish(&echo->conn, (int)n);
    echo->pipe = pipe;
    echo->spliced = true;
    echo_note_received(echo, entry, (size_t)n, (size_t)n);
    return yield_send(task, sock, echo_splice_send);
}

struct yield echo_splice_send(struct task *task)
{
    struct echo *echo = echo_of(task);
    struct sock *sock = &echo->conn.sock;
    const struct ledger_entry *entry = conn_entry(&echo->conn);
    uint32_t left = echo_left(echo, entry);
    ssize_t n = sock_splice(sock, echo->pipe->out, left);
    if (n < 0 && n != -EAGAIN)
        return conn_finish(&echo->conn, (int)n);
    echo_note_sent(echo, n);
    if (n < (ssize_t)left)
        return yield_send(task, sock, echo_splice_send);
    bool pays = ledger_load(&entry->len) >= ECHO_SPLICE_MIN && echo_splice_may(echo);
    echo_splice_release(echo);
    return yield_recv(task, sock, pays ? echo_splice_recv : echo_recv);
}

/*
 * The entry forgets the pipe before the descriptor of the pipe can be another's. It forgets the
 * length, too: of an answer in a buffer, the next kind, that length could not be.
 */
void echo_splice_release(struct echo *echo)
{
    struct pipes *pipes = &echo_state_of(echo)->pipes;
    struct ledger_entry *entry = conn_entry(&echo->conn);
    struct pipe *pipe = echo->pipe;
    ledger_store(&entry->len, 0);
    ledger_note(entry, LEDGER_NOTHING, 0);
    echo->pipe = NULL;
    echo->spliced = false;
    if (echo_left(echo, entry) == 0)
        pipes_put(pipes, pipe);
    else
        pipes_drop(pipes, pipe);
}
