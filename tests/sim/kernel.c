/*
 * The descriptors as libuv and the daemon see them: the functions of os/net.h that concern no
 * listening socket and no pipe, and the watches of epoll.
 */
#include "kernel.h"

#include "answers.h"
#include "fates.h"
#include "files.h"
#include "invariants.h"
#include "ledgers.h"
#include "listening.h"
#include "lives.h"
#include "memory.h"
#include "os/counts.h"
#include "os/net.h"
#include "os/watches.h"
#include "pipe.h"
#include "plan.h"
#include "process.h"
#include "socket.h"
#include "spread.h"
#include "world.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

/* Of 10,000 calls. */
enum { WATCH_LACKS = 300, WATCH_REFUSED = 300 };
enum { WATCH_LACK_US_MAX = 600000 };

/* What a loop of libuv opens beside its epoll descriptor: an eventfd or two pipes, and the like. */
enum { LOOP_FILES = 4 };

static struct {
    uint64_t watches_lack_until;
    struct chance chance;
    uint64_t calls;
} kernel;

void kernel_begin(void)
{
    kernel.watches_lack_until = 0;
    kernel.calls = 0;
    kernel.chance = world_chance(CHANCE_KERNEL);
}

void kernel_enter(void)
{
    kernel.calls++;
    world_spend();
    life_point();
}

uint64_t kernel_calls(void)
{
    return kernel.calls;
}

unsigned kernel_ready(int fd)
{
    switch (files_kind(fd)) {
    case FILE_LISTENING: {
        const struct listening *listening = files_object(fd, FILE_LISTENING);
        return listening->count > 0 ? UV_READABLE : 0;
    }
    case FILE_SOCKET:
        return socket_ready(socket_of(fd));
    case FILE_COPY:
        return UV_WRITABLE;
    case FILE_ANSWER:
        return files_object(fd, FILE_ANSWER) != NULL ? UV_READABLE : 0;
    default:
        return 0;
    }
}

bool kernel_is_open(int fd)
{
    return files_kind(fd) != FILE_NONE;
}

bool kernel_is_watched(int epoll, int fd)
{
    return (*files_watches(fd) >> files_epoll(epoll) & 1) != 0;
}

/* libuv tries by adding a watch and removing it again. */
int kernel_try_watch(int fd)
{
    if (files_kind(fd) == FILE_NONE)
        return -EBADF;
    if (files_kind(fd) != FILE_SOCKET)
        return 0;
    struct socket *socket = socket_of(fd);
    if (world_fault(FAULT_POLLINIT, WATCH_REFUSED))
        return socket->serial % 2 == 0 ? -ENOSPC : -ENOMEM;
    if (socket->served)
        world_fail("client %u is served twice", socket->client);
    socket->served = true;
    socket->orphan = false;
    sockets_counts()->served += !socket->counted;
    socket->counted = true;
    invariants_spawned(socket);
    fates_served(socket);
    spread_served(socket);
    return 0;
}

void kernel_unwatch(int epoll, int fd)
{
    if (kernel_is_open(fd))
        *files_watches(fd) &= ~(1U << files_epoll(epoll));
}

/* A user's watches are used up for a while, by whichever of the processes. */
static int kernel_lacks_watches(void)
{
    uint64_t *until = &kernel.watches_lack_until;
    if (*until <= world_now() && world_fault(FAULT_WATCHES, WATCH_LACKS))
        *until = world_now() + chance_between(&kernel.chance, 1, WATCH_LACK_US_MAX);
    if (*until <= world_now())
        return 0;
    return *until % 2 == 0 ? -ENOSPC : -ENOMEM;
}

int watches_add(int epoll, int fd)
{
    kernel_enter();
    unsigned bit = 1U << files_epoll(epoll);
    unsigned *watches = files_watches(fd);
    if ((*watches & bit) != 0)
        return -EEXIST;
    int rc = kernel_lacks_watches();
    if (rc == 0)
        *watches |= bit;
    else
        world_trace("no watch for descriptor %d", fd);
    return rc;
}

/* No epoll descriptor outlives its process here. */
bool watches_is_epoll(int fd)
{
    (void)fd;
    return false;
}

int watches_remove(int epoll, int fd)
{
    world_fail("the watch of descriptor %d by %d is to be ended", fd, epoll);
    return -ENOENT;
}

long watches_max(void)
{
    return plan_get()->watches;
}

int kernel_open_loop(void *loop)
{
    int epoll = files_open(FILE_LOOP, loop, 0);
    int rc = epoll;
    for (int i = 1; i < LOOP_FILES && rc >= 0; i++)
        rc = files_open(FILE_LOOP, loop, epoll);
    if (rc >= 0)
        return epoll;
    kernel_close_loop(loop);
    return rc;
}

void kernel_close_loop(const void *loop)
{
    for (int fd = 0; fd < FILES_MAX; fd++)
        if (files_kind(fd) == FILE_LOOP && files_object(fd, FILE_LOOP) == loop)
            files_close(fd);
}

/* ---- receiving and sending ---- */

static void kernel_scatter(const struct socket *socket, struct iovec *iov, size_t bytes)
{
    uint64_t offset = socket->received;
    for (; bytes > 0; iov++) {
        size_t part = bytes < iov->iov_len ? bytes : iov->iov_len;
        answers_make(socket, offset, iov->iov_base, part);
        offset += part;
        bytes -= part;
    }
}

ssize_t net_recvv(int fd, struct iovec *iov, unsigned short count)
{
    kernel_enter();
    struct socket *socket = socket_serve(fd);
    ledgers_check(socket);
    size_t len = 0;
    for (unsigned i = 0; i < count; i++)
        len += iov[i].iov_len;
    if (socket->urgent && socket->urgent_at == socket->received)
        socket->urgent = false; /* recv ends in front of it, and the next recv begins with it */
    ssize_t n = socket_may_receive(socket, len);
    world_trace("recv descriptor %d (client %u), %zu: %zd", fd, socket->client, len, n);
    if (n <= 0)
        return n;
    kernel_scatter(socket, iov, (size_t)n);
    socket_received(socket, (uint64_t)n, false);
    ledgers_check(socket);
    return n;
}

ssize_t net_recv(int fd, void *buf, size_t len)
{
    struct iovec iov = {.iov_base = buf, .iov_len = len};
    return net_recvv(fd, &iov, 1);
}

/*
 * After a send that took less than it was given the daemon waits for room: a send before that is a
 * call for nothing. A false POLLERR wakes it, too, and so does the end of a lack of watches.
 */
static void kernel_note_send(struct socket *socket, size_t len, ssize_t n)
{
    bool woken = world_has(FAULT_WATCHES) || world_has(FAULT_POLLERR) || socket->broken != 0;
    if (socket->lacked_room && !woken)
        world_fail("client %u is sent to, and no event has told of room since the last refusal",
                   socket->client);
    socket->lacked_room = n == -EAGAIN || (n >= 0 && (size_t)n < len);
}

ssize_t net_send(int fd, const void *buf, size_t len)
{
    kernel_enter();
    struct socket *socket = socket_serve(fd);
    ledgers_check(socket);
    if (len == 0 || len > socket_owed(socket))
        world_fail("client %u is to be sent %zu bytes of %llu", socket->client, len,
                   (unsigned long long)socket_owed(socket));
    answers_verify(socket, buf, len);
    ssize_t n = socket_may_send(socket, len);
    kernel_note_send(socket, len, n);
    world_trace("send descriptor %d (client %u), %zu: %zd", fd, socket->client, len, n);
    if (n > 0)
        socket_sent(socket, (uint64_t)n);
    ledgers_check(socket);
    return n;
}

int net_shutdown_send(int fd)
{
    struct socket *socket = socket_of(fd);
    deadlines_shut(socket);
    kernel_enter();
    world_trace("shutdown descriptor %d (client %u)", fd, socket->client);
    socket->shut = true;
    ledgers_check(socket);
    world_progress();
    socket->stir(socket);
    return socket->broken != 0 ? -ENOTCONN : 0;
}

/* The daemon resets a connection whose client takes nothing, or whose header is wrong or late. */
void net_discard(int fd)
{
    kernel_enter();
    struct socket *socket = socket_of(fd);
    if (fates_awaits(socket))
        fates_discarded(socket);
    else
        deadlines_stuck(socket);
    socket->discards = true;
}

/* ---- looks ---- */

static bool kernel_comes(const struct socket *socket, short events)
{
    unsigned ready = socket_ready(socket);
    return ((events & POLLIN) != 0 && (ready & UV_READABLE) != 0) ||
           ((events & POLLOUT) != 0 && (ready & UV_WRITABLE) != 0) ||
           (ready & (KERNEL_ERR | KERNEL_HUP)) != 0;
}

static short kernel_look(const struct pollfd *polled)
{
    switch (files_kind(polled->fd)) {
    case FILE_SOCKET:
        return kernel_comes(socket_of(polled->fd), polled->events) ? polled->events : 0;
    case FILE_NONE:
        return POLLNVAL;
    default:
        return 0;
    }
}

int net_look(struct pollfd *list, size_t count)
{
    size_t ready = 0;
    kernel_enter();
    for (size_t i = 0; i < count; i++) {
        list[i].revents = kernel_look(&list[i]);
        ready += list[i].revents != 0;
    }
    world_trace("looked at %zu descriptors: %zu are ready", count, ready);
    return 0;
}

bool net_ready(int fd, short events)
{
    kernel_enter();
    struct socket *socket = socket_of(fd);
    bool comes = kernel_comes(socket, events);
    deadlines_looked(socket, comes);
    socket->looked_begun = true;
    world_trace("ready? descriptor %d (client %u): %s", fd, socket->client, comes ? "yes" : "no");
    return comes;
}

size_t net_unsent(int fd)
{
    kernel_enter();
    struct socket *socket = socket_of(fd);
    unsigned awaited = socket_owed(socket) > 0 ? UV_WRITABLE : UV_READABLE;
    bool comes = (socket_ready(socket) & awaited) != 0;
    deadlines_looked(socket, socket->looked_begun ? socket->looked_ready : comes);
    socket->looked_begun = false;
    size_t unsent = (size_t)socket_counted(socket);
    world_trace("unsent to descriptor %d (client %u): %zu", fd, socket->client, unsent);
    return unsent;
}

uint32_t net_moved_ms(int fd)
{
    kernel_enter();
    struct socket *socket = socket_of(fd);
    deadlines_looked(socket, socket->looked_ready);
    if (socket->at->addr.sa.sa_family == AF_UNIX)
        return 0;
    uint32_t ms = (uint32_t)((world_now() - socket->moved_us) / 1000);
    uint32_t tick = socket->serial % 11; /* the kernel's clock is not exact */
    ms = ms > tick ? ms - tick : 0;
    world_trace("moved on descriptor %d (client %u): %u ms ago", fd, socket->client, ms);
    return ms;
}

int net_cookie(int fd, uint64_t *cookie)
{
    kernel_enter();
    *cookie = socket_of(fd)->serial;
    return 0;
}

/* The socket to the manager is a Unix socket without an address of its own. */
int net_local(int fd, union net_addr *addr)
{
    switch (files_kind(fd)) {
    case FILE_SOCKET:
        *addr = socket_of(fd)->at->addr;
        return 0;
    case FILE_LISTENING:
        *addr = ((const struct listening *)files_object(fd, FILE_LISTENING))->addr;
        return 0;
    case FILE_MANAGER:
        *addr = (union net_addr){.sa.sa_family = AF_UNIX};
        return 0;
    default:
        return files_kind(fd) == FILE_NONE ? -EBADF : -ENOTSOCK;
    }
}

/* A connection that both sides have ended, and whose bytes have arrived, is one no more. */
static bool kernel_is_over(const struct socket *socket)
{
    return socket->broken != 0 || (socket->shut && socket->fin && socket_unacked(socket) == 0);
}

int net_remote(int fd, union net_peer *peer)
{
    switch (files_kind(fd)) {
    case FILE_SOCKET:
        if (kernel_is_over(socket_of(fd)))
            return -ENOTCONN;
        listening_peer(socket_of(fd), peer);
        return 0;
    case FILE_MANAGER:
        *peer = (union net_peer){.sa.sa_family = AF_UNIX};
        return 0;
    case FILE_LISTENING:
        return -ENOTCONN;
    default:
        return files_kind(fd) == FILE_NONE ? -EBADF : -ENOTSOCK;
    }
}

int net_inspect(int fd)
{
    switch (files_kind(fd)) {
    case FILE_LISTENING:
        return NET_LISTENING;
    case FILE_SOCKET:
        return NET_CONNECTED;
    case FILE_MANAGER:
        return NET_DATAGRAM;
    default:
        return files_kind(fd) == FILE_NONE ? -EBADF : -ENOTSOCK;
    }
}

/* What a successor asks: five calls, of which the first decides, because nothing moves then. */
int counts_get(int fd, struct counts *counts)
{
    kernel_enter();
    const struct socket *socket = socket_of(fd);
    if (socket->at->addr.sa.sa_family == AF_UNIX)
        return -EOPNOTSUPP;
    if (kernel_is_over(socket))
        return -ENOTCONN;
    *counts = (struct counts){.in = socket->received, .out = socket->sent, .ended = socket->shut};
    world_trace("counts of descriptor %d (client %u): %llu, %llu", fd, socket->client,
                (unsigned long long)counts->in, (unsigned long long)counts->out);
    return 0;
}

int net_set_keepalive(int fd, unsigned idle_s)
{
    (void)idle_s;
    return kernel_is_open(fd) ? 0 : -EBADF;
}

/* ---- numbers ---- */

int net_dup_above(int fd, int lowest)
{
    kernel_enter();
    if (!kernel_is_open(fd))
        world_fail("descriptor %d is to be duplicated, and is not open", fd);
    return lowest >= (int)files_limit() ? -EINVAL : files_open(FILE_COPY, NULL, lowest);
}

/* Only for what a successor goes on with. */
void net_survive_exec(int fd)
{
    kernel_enter();
    enum file_kind kind = files_kind(fd);
    if (kind == FILE_LOOP)
        return; /* here it ends with the process, as all that libuv opens */
    if (kind != FILE_PIPE_IN && kind != FILE_PIPE_OUT && kind != FILE_LISTENING &&
        kind != FILE_SOCKET && kind != FILE_MEMORY)
        world_fail("descriptor %d outlives the program", fd);
    files_survive(fd);
}

/* Whoever has it has it no more: the daemon, or its process, which ends. */
static void kernel_close(int fd)
{
    void *object = files_kind(fd) != FILE_NONE ? files_object(fd, files_kind(fd)) : NULL;
    switch (files_kind(fd)) {
    case FILE_SOCKET:
        socket_close(object);
        break;
    case FILE_LISTENING:
        listening_close(object);
        break;
    case FILE_PIPE_IN:
    case FILE_PIPE_OUT:
        kernel_pipe_close(fd, object);
        break;
    case FILE_MEMORY:
        memory_file_closed(object);
        break;
    default:
        break;
    }
    files_close(fd);
}

void net_close(int fd)
{
    kernel_enter();
    world_trace("close descriptor %d", fd);
    if (files_kind(fd) == FILE_SOCKET)
        ledgers_closed(socket_of(fd));
    kernel_close(fd);
}

/* As execve(2) does it. A keeper of the descriptors would keep the same ones. */
void kernel_end_process(int ledger)
{
    for (int fd = 0; fd < files_end_number(); fd++) {
        enum file_kind kind = files_kind(fd);
        if (kind == FILE_NONE || kind == FILE_INHERITED || files_survives(fd) || fd == ledger)
            continue;
        if (kind == FILE_SOCKET || kind == FILE_LISTENING)
            world_fail("descriptor %d does not outlive the process", fd);
        kernel_close(fd);
    }
    files_forget_epolls();
}
