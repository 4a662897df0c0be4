/*
 * The way of verbatim bulk data: the two steps of echo.c once more, with a pipe in the place of
 * the buffer. splice(2) moves the bytes from the socket to the pipe and back without copying them.
 * It moves them as they are, so an echo with a prefix cannot go this way.
 */
#include "service/echo_frame.h"

#include <errno.h>

/* An answer of fewer bytes does not pay for a pipe: receiving and sending them is cheaper. */
enum { ECHO_SPLICE_MIN = 32768 };

static struct yield echo_splice_send(struct task *task);

/* A read that has filled its buffer shows that the connection carries bulk data. */
bool echo_splice_pays(const struct echo *echo)
{
    const struct chunks *chunks = &echo_state_of(echo)->chunks;
    return chunks->prefix_len == 0 && echo->len == chunks->chunk && !echo->refused;
}

/* Whether this socket, kernel or sandbox never splices, so that there is no use in asking again. */
static bool echo_splice_is_refused(ssize_t n)
{
    return n == -EINVAL || n == -ENOSYS || n == -EOPNOTSUPP || n == -EPERM;
}

/*
 * Receives with echo_recv when there is no pipe, and when the socket cannot be spliced. Also when
 * splice finds nothing or the end: it says so, too, when bytes stand behind an urgent byte, which
 * splice never passes and recv steps over.
 */
struct yield echo_splice_recv(struct task *task)
{
    struct echo *echo = echo_of(task);
    struct sock *sock = &echo->conn.sock;
    struct pipes *pipes = &echo_state_of(echo)->pipes;
    struct pipe *pipe = pipes_get(pipes);
    if (pipe == NULL)
        return echo_recv(task);
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
    echo_note_received(echo, (size_t)n, (size_t)n);
    return yield_send(task, sock, echo_splice_send);
}

static struct yield echo_splice_send(struct task *task)
{
    struct echo *echo = echo_of(task);
    struct sock *sock = &echo->conn.sock;
    ssize_t n = sock_splice(sock, echo->pipe->out, echo->len - echo->sent);
    if (n < 0 && n != -EAGAIN)
        return conn_finish(&echo->conn, (int)n);
    if (echo_note_sent(echo, n))
        return yield_send(task, sock, echo_splice_send);
    echo_release(&echo->conn);
    return yield_recv(task, sock, echo->len >= ECHO_SPLICE_MIN ? echo_splice_recv : echo_recv);
}

void echo_splice_release(struct echo *echo)
{
    struct pipes *pipes = &echo_state_of(echo)->pipes;
    if (echo->sent == echo->len)
        pipes_put(pipes, echo->pipe);
    else
        pipes_drop(pipes, echo->pipe);
    echo->spliced = false;
}
