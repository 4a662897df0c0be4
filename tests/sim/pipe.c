/*
 * The pipes of the kernel, and splice(2). A pipe holds bytes of one connection, which stand there
 * as a count and a place in the client's stream.
 */
#include "pipe.h"

#include "files.h"
#include "ledgers.h"
#include "lives.h"
#include "memory.h"
#include "plan.h"
#include "process.h"
#include "service/pipes.h"
#include "socket.h"
#include "world.h"

#include <errno.h>
#include <string.h>

/* Of 10,000 calls. */
enum { PIPE_FAILS = 500, PIPE_SMALL = 3000, SPLICE_FAILS = 20 };
enum { PIPE_BYTES_MIN = 65536 };

struct pipe_buffer {
    int in, out; /* -1: closed */
    uint64_t room;
    uint64_t count;
    const struct socket *from; /* whose bytes they are */
    unsigned serial;
    uint64_t offset; /* of the first, in the client's stream */
};

static struct {
    struct chance chance;
    unsigned count;
} kernel_pipes;

void kernel_pipes_begin(void)
{
    kernel_pipes.chance = world_chance(CHANCE_PIPE);
    kernel_pipes.count = 0;
}

static int pipe_open_ends(struct pipe_buffer *pipe)
{
    pipe->out = files_open(FILE_PIPE_OUT, pipe, 0);
    pipe->in = pipe->out < 0 ? pipe->out : files_open(FILE_PIPE_IN, pipe, 0);
    if (pipe->in >= 0)
        return 0;
    int rc = pipe->in;
    if (pipe->out >= 0)
        files_close(pipe->out);
    memory_disown(pipe);
    return rc;
}

static int pipe_refusal(void)
{
    static const int errors[] = {EMFILE, ENFILE, ENOMEM};
    return -errors[chance_below(&kernel_pipes.chance, sizeof errors / sizeof *errors)];
}

int net_pipe(int *out, int *in, int bytes)
{
    kernel_enter();
    if (world_fault(FAULT_SPLICE, PIPE_FAILS))
        return pipe_refusal();
    struct pipe_buffer *pipe = memory_own(1, sizeof *pipe);
    pipe->room = world_fault(FAULT_SPLICE, PIPE_SMALL) ? PIPE_BYTES_MIN : (uint64_t)bytes;
    int rc = pipe_open_ends(pipe);
    if (rc < 0)
        return rc;
    *out = pipe->out;
    *in = pipe->in;
    /* A worker of a successor may inherit more than it would make. */
    unsigned most = PIPES_MAX * plan_get()->config.workers;
    if (++kernel_pipes.count > most * (lives_ended() > 0 ? 2 : 1))
        world_fail("there are %u pipes", kernel_pipes.count);
    return 0;
}

void kernel_pipe_close(int fd, void *object)
{
    struct pipe_buffer *pipe = object;
    if (pipe->in == fd)
        pipe->in = -1;
    else
        pipe->out = -1;
    if (pipe->in >= 0 || pipe->out >= 0)
        return;
    kernel_pipes.count--;
    memory_disown(pipe);
}

/* Why splice takes nothing from the socket although it has bytes; 1 if it takes some. */
static ssize_t pipe_obstacle(struct socket *socket, const struct pipe_buffer *pipe)
{
    if (socket->unspliceable != 0)
        return -socket->unspliceable;
    if (pipe->count > 0)
        world_fail("a pipe that holds bytes of client %u is lent to client %u", pipe->from->client,
                   socket->client);
    if (socket->urgent && socket->urgent_at == socket->received)
        return socket->fin ? 0 : -EAGAIN; /* as if nothing were there: recv takes it */
    if (socket_unread(socket) > 0 && world_fault(FAULT_SPLICE, SPLICE_FAILS))
        return socket_tell_end(socket, -ENOMEM);
    return 1;
}

static ssize_t pipe_fill(struct pipe_buffer *pipe, struct socket *socket, size_t len)
{
    ssize_t n = pipe_obstacle(socket, pipe);
    if (n <= 0)
        return n;
    bool ends = socket_unread(socket) == 0;
    if (ends && socket->broken == 0) /* the end of the stream is recv's to tell */
        return socket->fin ? 0 : -EAGAIN;
    n = socket_may_receive(socket, len < pipe->room ? len : pipe->room);
    if (n <= 0)
        return n;
    pipe->from = socket;
    pipe->serial = socket->serial;
    pipe->offset = socket->received;
    pipe->count = (uint64_t)n;
    socket_received(socket, (uint64_t)n, true);
    return n;
}

static ssize_t pipe_drain(struct pipe_buffer *pipe, struct socket *socket, size_t len)
{
    if (len > pipe->count)
        world_fail("client %u is to be spliced %zu bytes of %llu", socket->client, len,
                   (unsigned long long)pipe->count);
    if (pipe->from != socket || pipe->serial != socket->serial ||
        pipe->offset != socket->answer.offset + socket->answer.sent)
        world_fail("client %u is spliced bytes of client %u, or wrong ones", socket->client,
                   pipe->from->client);
    ssize_t n = socket_may_send(socket, len);
    if (n <= 0)
        return n;
    pipe->offset += (uint64_t)n;
    pipe->count -= (uint64_t)n;
    socket_sent(socket, (uint64_t)n);
    return n;
}

uint64_t kernel_pipe_count(int out, const struct socket *socket)
{
    if (files_kind(out) != FILE_PIPE_OUT)
        world_fail("descriptor %d is no pipe of client %u", out, socket->client);
    const struct pipe_buffer *pipe = files_object(out, FILE_PIPE_OUT);
    return pipe->from == socket && pipe->serial == socket->serial ? pipe->count : 0;
}

int net_piped(int fd)
{
    kernel_enter();
    enum file_kind kind = files_kind(fd);
    if (kind != FILE_PIPE_OUT && kind != FILE_PIPE_IN)
        return kind == FILE_NONE ? -EBADF : -ENOTTY;
    return (int)((const struct pipe_buffer *)files_object(fd, kind))->count;
}

ssize_t net_splice(int from, int to, size_t len)
{
    kernel_enter();
    bool fills = files_kind(to) == FILE_PIPE_IN;
    int fd = fills ? from : to;
    struct socket *socket = socket_serve(fd);
    ledgers_check(socket);
    ssize_t n = fills ? pipe_fill(files_object(to, FILE_PIPE_IN), socket, len)
                      : pipe_drain(files_object(from, FILE_PIPE_OUT), socket, len);
    ledgers_check(socket);
    world_trace("splice %s descriptor %d (client %u): %zd", fills ? "from" : "to", fd,
                socket->client, n);
    return n;
}
