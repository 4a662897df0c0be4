#include "os/pouch.h"

#include "os/net.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

static const char pouch_magic[8] = "uvpouch";

enum { POUCH_LOWEST = 3 }; /* lower are the standard ones */

struct pouch_message {
    char magic[8];
    struct pouch_label label;
    uint32_t count;
    uint32_t numbers[POUCH_MESSAGE_MAX];
};

/* Room for the descriptors that go along with a message. */
union pouch_rights {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int) * POUCH_MESSAGE_MAX)];
};

static size_t pouch_bytes(uint32_t count)
{
    return offsetof(struct pouch_message, numbers) + count * sizeof(uint32_t);
}

/* ---- packing ---- */

/* Messages, because a stream would not keep them apart; with an end, because nothing follows. */
static int pouch_add_pair(struct pouch *pouch)
{
    int ends[2];
    if (pouch->count == POUCH_SOCKETS_MAX)
        return -ENOSPC;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) < 0)
        return -errno;
    pouch->keep[pouch->count] = ends[0];
    pouch->fill[pouch->count] = ends[1];
    pouch->count++;
    return 0;
}

/* The lengths are of the type socklen_t, which some C libraries hold in a wider one. */
static int pouch_send(int fill, struct pouch_message *message, const int *fds)
{
    const socklen_t bytes = (socklen_t)sizeof(int) * message->count;
    union pouch_rights rights = {.header = {.cmsg_level = SOL_SOCKET,
                                            .cmsg_type = SCM_RIGHTS,
                                            .cmsg_len = (socklen_t)CMSG_LEN(bytes)}};
    struct iovec iov = {.iov_base = message, .iov_len = pouch_bytes(message->count)};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = &rights,
                         .msg_controllen = (socklen_t)CMSG_SPACE(bytes)};
    memcpy(CMSG_DATA(&rights.header), fds, bytes);
    ssize_t n;
    do
        n = sendmsg(fill, &msg, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0;
}

/* Puts a message into the last pair or, if that is full, into a new one. */
static int pouch_put(struct pouch *pouch, struct pouch_message *message, const int *fds)
{
    int rc = pouch->count > 0 ? pouch_send(pouch->fill[pouch->count - 1], message, fds) : -EAGAIN;
    if (rc != -EAGAIN)
        return rc;
    rc = pouch_add_pair(pouch);
    return rc == 0 ? pouch_send(pouch->fill[pouch->count - 1], message, fds) : rc;
}

static int pouch_put_all(struct pouch *pouch, struct pouch_message *message, const int *fds)
{
    const size_t total = message->label.total;
    int rc = 0;
    for (size_t at = 0; at < total && rc == 0; at += message->count) {
        size_t left = total - at;
        message->count = left < POUCH_MESSAGE_MAX ? (uint32_t)left : POUCH_MESSAGE_MAX;
        for (uint32_t i = 0; i < message->count; i++)
            message->numbers[i] = (uint32_t)fds[at + i];
        rc = pouch_put(pouch, message, fds + at);
    }
    return rc;
}

int pouch_pack(struct pouch *pouch, const int *fds, size_t count, int key)
{
    assert(count > 0 && fds[0] >= POUCH_LOWEST);
    struct pouch_message message = {.label = {.total = (uint32_t)count,
                                              .end = (uint32_t)fds[count - 1] + 1,
                                              .key = (uint32_t)key}};
    memcpy(message.magic, pouch_magic, sizeof message.magic);
    pouch->count = 0;
    int rc = pouch_put_all(pouch, &message, fds);
    if (rc < 0)
        pouch_close(pouch);
    return rc;
}

static void pouch_close_ends(int *ends, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (ends[i] >= 0)
            net_close(ends[i]);
        ends[i] = -1;
    }
}

/* A socket whose other end is closed reports a hangup. */
bool pouch_is_kept(struct pouch *pouch)
{
    pouch_close_ends(pouch->keep, pouch->count);
    for (size_t i = 0; i < pouch->count; i++)
        if (net_ready(pouch->fill[i], 0))
            return false;
    return true;
}

void pouch_close(struct pouch *pouch)
{
    pouch_close_ends(pouch->keep, pouch->count);
    pouch_close_ends(pouch->fill, pouch->count);
    pouch->count = 0;
}

/* ---- taking out ---- */

static bool pouch_is_ours(const struct pouch_message *message, ssize_t bytes)
{
    return bytes >= (ssize_t)pouch_bytes(0) &&
           memcmp(message->magic, pouch_magic, sizeof message->magic) == 0 &&
           message->count <= POUCH_MESSAGE_MAX && bytes == (ssize_t)pouch_bytes(message->count) &&
           message->label.end <= INT_MAX;
}

/* Without room for descriptors the kernel leaves them in the message, and says so: MSG_CTRUNC. */
int pouch_look(int keep, struct pouch_label *label)
{
    struct pouch_message message;
    ssize_t n;
    do
        n = recv(keep, &message, sizeof message, MSG_PEEK | MSG_DONTWAIT | MSG_TRUNC);
    while (n < 0 && errno == EINTR);
    if (n == 0 || (n < 0 && errno == EAGAIN))
        return -ENODATA;
    if (n < 0)
        return -errno;
    if (!pouch_is_ours(&message, n))
        return -EPROTO;
    *label = message.label;
    return 0;
}

/* Receives a message with its descriptors. Returns how many those are, or a negative errno. */
static int pouch_receive(int keep, struct pouch_message *message, int fds[POUCH_MESSAGE_MAX])
{
    union pouch_rights rights;
    struct iovec iov = {.iov_base = message, .iov_len = sizeof *message};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &rights, .msg_controllen = sizeof rights};
    ssize_t n;
    do
        n = recvmsg(keep, &msg, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    const struct cmsghdr *header = CMSG_FIRSTHDR(&msg);
    if (header == NULL || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
        return 0;
    size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    memcpy(fds, CMSG_DATA(header), count * sizeof(int));
    return (int)count;
}

static bool pouch_ascends(const struct pouch_message *message)
{
    uint32_t lowest = POUCH_LOWEST;
    for (uint32_t i = 0; i < message->count; i++) {
        if (message->numbers[i] < lowest || message->numbers[i] >= message->label.end)
            return false;
        lowest = message->numbers[i] + 1;
    }
    return true;
}

/* Returns 0 or a negative errno: the descriptor is closed then. */
static int pouch_move(int fd, int number)
{
    if (fd == number)
        return 0;
    int moved = fcntl(fd, F_DUPFD, number); /* not to be closed when the program is executed */
    int rc = moved < 0 ? -errno : 0;
    net_close(fd);
    if (rc < 0 || moved == number)
        return rc;
    net_close(moved);
    return -EBUSY;
}

static void pouch_note(int *error, int reason)
{
    if (*error == 0)
        *error = reason;
}

/*
 * Where the kernel had no room for all, the first ones have come. Those that are missing are
 * closed.
 */
static int pouch_place(const struct pouch_message *message, const int *fds, uint32_t count,
                       int *error)
{
    int placed = 0;
    if (count < message->count)
        pouch_note(error, -EMFILE);
    for (uint32_t i = count; i-- > 0;) {
        int rc = pouch_move(fds[i], (int)message->numbers[i]);
        if (rc < 0)
            pouch_note(error, rc);
        placed += rc == 0;
    }
    return placed;
}

/*
 * Takes the message out that pouch_look() has found to be ours. Returns how many of its descriptors
 * are at their numbers now, or a negative errno if it stays where it is.
 */
static int pouch_take_one(int keep, int *error)
{
    struct pouch_message message;
    int fds[POUCH_MESSAGE_MAX];
    int count = pouch_receive(keep, &message, fds);
    if (count < 0)
        return count;
    if ((uint32_t)count <= message.count && pouch_ascends(&message))
        return pouch_place(&message, fds, (uint32_t)count, error);
    pouch_note(error, -EPROTO);
    pouch_close_ends(fds, (size_t)count);
    return 0;
}

size_t pouch_take(int keep, const struct pouch_label *label, int *error)
{
    struct pouch_label next;
    size_t placed = 0;
    int rc;
    while ((rc = pouch_look(keep, &next)) == 0) {
        if (memcmp(&next, label, sizeof next) != 0)
            rc = -EPROTO;
        else
            rc = pouch_take_one(keep, error);
        if (rc < 0)
            break;
        placed += (size_t)rc;
    }
    if (rc != -ENODATA)
        pouch_note(error, rc);
    return placed;
}
