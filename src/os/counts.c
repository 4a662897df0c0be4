#include "os/counts.h"

/* Not <netinet/tcp.h>, whose struct tcp_info ends before the numbers that are needed here. */
#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

/* The numbers stand still from one look to the next, unless packets come one after the other. */
enum { COUNTS_TRIES = 100 };

/* What the kernel calls the states, as in /proc/net/tcp. */
enum counts_state {
    COUNTS_ESTABLISHED = 1,
    COUNTS_FIN_WAIT1 = 4,
    COUNTS_FIN_WAIT2 = 5,
    COUNTS_CLOSE_WAIT = 8,
    COUNTS_LAST_ACK = 9,
    COUNTS_CLOSING = 11,
};

/* Bytes that stand in the socket. */
struct counts_queues {
    int unread;
    int unacked;
};

/* 0 if SO_OOBINLINE is set, or a negative errno. MPTCP refuses to set it. */
static int counts_check(int fd)
{
    int urgent_in_line = 0;
    socklen_t len = sizeof urgent_in_line;
    if (getsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &urgent_in_line, &len) < 0)
        return -errno;
    return urgent_in_line != 0 ? 0 : -EOPNOTSUPP;
}

/* An older kernel knows a shorter struct. The two numbers are neighbours, in this order. */
static int counts_look(int fd, struct tcp_info *info)
{
    const size_t needed = offsetof(struct tcp_info, tcpi_bytes_received) + sizeof(uint64_t);
    socklen_t len = sizeof *info;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &len) < 0)
        return -errno;
    return len >= needed ? 0 : -EOPNOTSUPP;
}

static int counts_queued(int fd, struct counts_queues *queues)
{
    /* Of a type that fits both unsigned long, which glibc takes, and int, which musl takes. */
    const unsigned short unread = SIOCINQ;
    const unsigned short unacked = SIOCOUTQ;
    if (ioctl(fd, unread, &queues->unread) < 0 || ioctl(fd, unacked, &queues->unacked) < 0)
        return -errno;
    return 0;
}

/* How many FINs each number includes: 0, or -ENOTCONN in a state in which that is not known. */
static int counts_fins(unsigned state, struct counts *fins)
{
    switch (state) {
    case COUNTS_ESTABLISHED:
        *fins = (struct counts){.in = 0, .out = 0};
        return 0;
    case COUNTS_CLOSE_WAIT:
        *fins = (struct counts){.in = 1, .out = 0};
        return 0;
    case COUNTS_FIN_WAIT1:
    case COUNTS_FIN_WAIT2:
        *fins = (struct counts){.in = 0, .out = 1};
        return 0;
    case COUNTS_LAST_ACK:
    case COUNTS_CLOSING:
        *fins = (struct counts){.in = 1, .out = 1};
        return 0;
    default:
        return -ENOTCONN;
    }
}

/*
 * The state belongs to what is compared: the kernel reads it before it locks the socket for the
 * rest, so that a FIN can be counted in an answer whose state is still that before the FIN.
 */
static bool counts_stand_still(const struct tcp_info *before, const struct tcp_info *after)
{
    return before->tcpi_bytes_received == after->tcpi_bytes_received &&
           before->tcpi_bytes_acked == after->tcpi_bytes_acked &&
           before->tcpi_state == after->tcpi_state;
}

/* One try, in which *info is the last look and becomes the next. Returns as counts_get(). */
static int counts_try(int fd, struct tcp_info *info, struct counts *counts)
{
    const struct tcp_info before = *info;
    struct counts_queues queues;
    struct counts fins;
    int rc = counts_fins(before.tcpi_state, &fins);
    if (rc == 0)
        rc = counts_queued(fd, &queues);
    if (rc == 0)
        rc = counts_look(fd, info);
    if (rc != 0)
        return rc;
    if (!counts_stand_still(&before, info))
        return -EAGAIN;
    const uint64_t received = before.tcpi_bytes_received;
    const uint64_t acked = before.tcpi_bytes_acked;
    counts->in = received - (uint64_t)queues.unread - fins.in;
    counts->out = acked + (uint64_t)queues.unacked - fins.out;
    counts->ended = fins.out > 0;
    return 0;
}

int counts_get(int fd, struct counts *counts)
{
    struct tcp_info info;
    int rc = counts_check(fd);
    if (rc == 0)
        rc = counts_look(fd, &info);
    if (rc != 0)
        return rc;
    for (int i = 0; i < COUNTS_TRIES; i++) {
        rc = counts_try(fd, &info, counts);
        if (rc != -EAGAIN)
            return rc;
    }
    return rc;
}
