#include "socket.h"

#include "answers.h"
#include "fates.h"
#include "files.h"
#include "invariants.h"
#include "kernel.h"
#include "ledgers.h"
#include "listening.h"
#include "plan.h"
#include "spread.h"
#include "world.h"

#include <errno.h>
#include <string.h>
#include <uv.h>

/* A socket is writable when so much of its send buffer is free: one in so many. */
enum { SOCKET_LOW_WATER = 3 };

enum { SOCKET_UNIX_BUFFER = 4096 };

/* Of 10,000 calls with the fault: how many move less than they could. */
enum { SOCKET_SHORT = 500 };

static struct {
    struct list open;
    unsigned count;
    struct socket_counts counts;
    struct chance chance;
} sockets;

void sockets_begin(void)
{
    memset(&sockets, 0, sizeof sockets);
    list_init(&sockets.open);
    sockets.chance = world_chance(CHANCE_SOCKET);
}

struct list *sockets_open(void)
{
    return &sockets.open;
}

unsigned sockets_count(void)
{
    return sockets.count;
}

bool sockets_orphaned(void)
{
    for (struct list *link = sockets.open.next; link != &sockets.open; link = link->next)
        if (container_of(link, struct socket, link)->orphan)
            return true;
    return false;
}

struct socket_counts *sockets_counts(void)
{
    return &sockets.counts;
}

/* A byte arrives. */
static void socket_moved(struct socket *socket)
{
    socket->moved_us = world_now();
}

/* The daemon moves a byte, or the client takes one. */
static void socket_active(struct socket *socket)
{
    socket_moved(socket);
    socket->active_us = world_now();
}

void socket_init(struct socket *socket, unsigned client, unsigned serial)
{
    *socket = (struct socket){.client = client, .serial = serial, .fd = -1};
    list_init(&socket->told);
    socket_active(socket);
}

uint64_t socket_unread(const struct socket *socket)
{
    return socket->written - socket->received;
}

uint64_t socket_unacked(const struct socket *socket)
{
    return socket->sent - socket->acked;
}

uint64_t socket_owed(const struct socket *socket)
{
    return socket->answer.length - socket->answer.sent;
}

uint64_t socket_room(const struct socket *socket)
{
    uint64_t unread = socket_unread(socket);
    return unread < socket->receive_room ? socket->receive_room - unread : 0;
}

void socket_arrive(struct socket *socket, uint64_t bytes)
{
    socket->written += bytes;
    socket_moved(socket);
}

void socket_finish(struct socket *socket)
{
    socket->fin = true;
}

/* Linux keeps what has arrived in order and throws away the rest, which can be all. */
void socket_break(struct socket *socket, int error)
{
    if (socket->broken != 0)
        return;
    world_trace("connection %u of client %u breaks: %s", socket->serial, socket->client,
                strerror(error));
    socket->broken = error;
    socket->urgent = false;
    if (!socket->keeps_unread)
        socket->written = socket->received;
}

/* A Unix socket counts a buffer as a whole until its last byte has been taken (unix(7)). */
uint64_t socket_counted(const struct socket *socket)
{
    uint64_t unacked = socket_unacked(socket);
    if (socket->broken != 0)
        return 0;
    if (socket->at->addr.sa.sa_family != AF_UNIX)
        return unacked;
    return (unacked + SOCKET_UNIX_BUFFER - 1) / SOCKET_UNIX_BUFFER * SOCKET_UNIX_BUFFER;
}

uint64_t socket_deliver(struct socket *socket, uint64_t bytes)
{
    uint64_t arrived = socket->acked - socket->taken;
    uint64_t room = arrived < socket->window ? socket->window - arrived : 0;
    uint64_t n = socket_unacked(socket);
    n = n < room ? n : room;
    n = n < bytes ? n : bytes;
    uint64_t counted = socket_counted(socket);
    socket->acked += n;
    if (n > 0)
        socket_moved(socket);
    if (socket_counted(socket) != counted) {
        socket_active(socket);
        socket->stuck_us = world_now();
    }
    return n;
}

unsigned socket_ready(const struct socket *socket)
{
    bool broken = socket->broken != 0;
    uint64_t unacked = socket_unacked(socket);
    uint64_t room = unacked < socket->send_room ? socket->send_room - unacked : 0;
    unsigned events = 0;
    if (socket_unread(socket) > 0 || socket->fin || broken)
        events |= UV_READABLE;
    if (room * SOCKET_LOW_WATER >= socket->send_room || broken || socket->shut)
        events |= UV_WRITABLE;
    if (broken && !socket->broken_told)
        events |= KERNEL_ERR;
    if (broken || (socket->shut && socket->fin))
        events |= KERNEL_HUP;
    return events;
}

struct socket *socket_of(int fd)
{
    return files_object(fd, FILE_SOCKET);
}

struct socket *socket_serve(int fd)
{
    struct socket *socket = socket_of(fd);
    invariants_served(socket);
    return socket;
}

ssize_t socket_tell_end(struct socket *socket, int error)
{
    if (socket->reason == REASON_NONE) {
        socket->reason = REASON_ERROR;
        socket->error = error;
    }
    socket->broken_told = socket->broken_told || error < 0;
    world_progress();
    return error;
}

static ssize_t socket_nothing(struct socket *socket)
{
    if (socket->broken != 0 && !socket->broken_told)
        return socket_tell_end(socket, -socket->broken);
    if (socket->broken != 0 || socket->fin)
        return socket_tell_end(socket, 0);
    sockets.counts.refusals++;
    return -EAGAIN;
}

ssize_t socket_may_receive(struct socket *socket, uint64_t most)
{
    uint64_t n = socket_unread(socket);
    if (n == 0)
        return socket_nothing(socket);
    if (socket->urgent && socket->urgent_at - socket->received < n)
        n = socket->urgent_at - socket->received;
    n = n < most ? n : most;
    if (n > 1 && world_fault(FAULT_SHORT, SOCKET_SHORT))
        n = chance_between(&sockets.chance, 1, n);
    return (ssize_t)n;
}

ssize_t socket_may_send(struct socket *socket, uint64_t most)
{
    uint64_t unacked = socket_unacked(socket);
    uint64_t n = unacked < socket->send_room ? socket->send_room - unacked : 0;
    if (socket->broken != 0 && !socket->broken_told)
        return socket_tell_end(socket, -socket->broken);
    if (socket->broken != 0 || socket->shut)
        return socket_tell_end(socket, -EPIPE);
    n = n < most ? n : most;
    if (n > 0 && world_fault(FAULT_SHORT, SOCKET_SHORT))
        n = chance_below(&sockets.chance, n + 1);
    sockets.counts.refusals += n < most;
    return n == 0 ? -EAGAIN : (ssize_t)n;
}

void socket_received(struct socket *socket, uint64_t bytes, bool piped)
{
    uint64_t offset = socket->received;
    socket->received += bytes;
    socket_active(socket);
    world_progress();
    if (socket->shut)
        return; /* it is thrown away */
    socket->looked_us = 0;
    if (fates_received(socket, offset, bytes, piped))
        return;
    if (socket_owed(socket) > 0)
        world_fail("client %u is received from while %llu bytes are owed to it", socket->client,
                   (unsigned long long)socket_owed(socket));
    socket->answer = (struct answer){
        .offset = offset, .read = bytes, .length = answers_length(bytes), .piped = piped};
    sockets.counts.bytes_in += bytes;
    sockets.counts.messages++;
    sockets.counts.spoke += offset == fates_front(socket);
}

void socket_sent(struct socket *socket, uint64_t bytes)
{
    if (socket_unacked(socket) == 0)
        socket->stuck_us = world_now();
    socket->answer.sent += bytes;
    socket->sent += bytes;
    socket->looked_us = 0;
    socket_active(socket);
    sockets.counts.bytes_out += bytes;
    world_progress();
    socket->stir(socket);
}

unsigned sockets_of_source(const struct socket *socket, bool ending)
{
    unsigned count = 0;
    for (struct list *link = sockets.open.next; link != &sockets.open; link = link->next) {
        const struct socket *other = container_of(link, struct socket, link);
        bool stays = other->served && other->reason == REASON_NONE;
        if (other != socket && (ending || stays))
            count += listening_same_source(other, socket);
    }
    return count;
}

void sockets_add(struct socket *socket)
{
    list_append(&sockets.open, &socket->link);
    sockets.count++;
    sockets.counts.accepted++;
    socket->accepted = true;
    socket->accepted_us = socket->header_us = world_now();
    world_progress();
}

void socket_pass(struct socket *socket)
{
    socket->fd = files_open(FILE_SOCKET, socket, 0);
    if (socket->fd < 0)
        world_fail("no descriptor is left for a connection that is passed");
    sockets_add(socket);
}

/* What the successor finds out by itself, and what nobody knows any more, is as if it never were.
 */
void socket_outlive(struct socket *socket)
{
    ledgers_outlived(socket);
    fates_outlived(socket);
    deadlines_outlived(socket);
    if (socket->left && socket->served && socket->reason == REASON_NONE &&
        socket->received + socket->sent > 0)
        invariants_find_reason(socket);
    if (!socket->ending) {
        socket->reason = REASON_NONE;
        socket->error = 0;
    }
    if (socket->is_told)
        list_init(&socket->told); /* its ring is gone */
    socket->is_told = false;
    socket->orphan = socket->survivor = true;
    socket->served = socket->given = socket->lacked_room = false;
    socket->starved = 0;
    socket->accepted_turn = 0;
}

void socket_close(struct socket *socket)
{
    invariants_closed(socket);
    spread_closed(socket);
    list_remove(&socket->link);
    sockets.count--;
    unsigned most = plan_get()->config.max_per_source;
    if (socket->orphan)
        sockets.counts.lost += !socket->served;
    else if (!socket->served && most > 0 && sockets_of_source(socket, true) >= most)
        sockets.counts.over_source++;
    else if (!socket->served)
        sockets.counts.refused++;
    socket->closed = true;
    socket->fd = -1;
    world_progress();
    socket->stir(socket);
}
