/*
 * datagram.h - datagrams of IPv4, IPv6 and Unix sockets, many in one system call (recvmmsg(2),
 * sendmmsg(2)), and each answered from the address that it was sent to.
 *
 * A socket that is bound to a wildcard address would answer from whichever address the kernel
 * prefers, and a client that has asked another one would not know the answer. So the kernel is
 * asked for the address of each datagram (IP_PKTINFO in ip(7), IPV6_RECVPKTINFO in ipv6(7)), and
 * told the same address with the answer.
 *
 * Datagrams of one source and one size may come as one: the kernel has put them together
 * (UDP_GRO, udp(7)), or the client has sent them so (UDP_SEGMENT). Answers to one client that are
 * of one size go out as one in the same way, which costs the kernel a third of what they cost one
 * by one. Where that is refused, they are sent one by one.
 */
#ifndef UVECHOD_DATAGRAM_H
#define UVECHOD_DATAGRAM_H

#include "os/addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/uio.h>

enum {
    DATAGRAM_BATCH = 32,     /* datagrams that one call receives; twice as many gain nothing */
    DATAGRAM_BYTES = 65536,  /* the longest that can be received */
    DATAGRAM_ROOM = 256,     /* bytes in front of each, for a prefix */
    DATAGRAM_SEGMENTS = 128, /* datagrams in one, at most: UDP_MAX_SEGMENTS of Linux 6.9 */
    DATAGRAM_JOINED = 64,    /* answers that are put together: what older kernels take */
    DATAGRAM_JOINED_BYTES = 65000, /* less than what one datagram of either family has room for */
    DATAGRAM_CONTROL = 128,        /* bytes of ancillary data: an address, a size, and what whoever
                                      has made the socket wants */
    DATAGRAM_QUEUE = 4 << 20, /* bytes that may wait to be received, with what the kernel adds */
};

/* A datagram that has been received. What it points to stays until the next call. */
struct datagram {
    const union net_addr *peer; /* AF_UNSPEC: it has no address that could be answered */
    union net_peer own; /* the address that it was sent to, without a port; of an IPv6 link-local
                           address with the interface; AF_UNSPEC: the kernel does not say */
    bool shared;        /* it was sent to a broadcast or multicast address */
    bool cut;           /* it was longer than DATAGRAM_BYTES */
    char *bytes;        /* with DATAGRAM_ROOM bytes in front */
    size_t len;
    size_t segment; /* bytes of each datagram in it, but for the last one; not 0 unless len is */
};

/* One or more answers of the same size to the same client. */
struct datagram_answer {
    const union net_addr *peer;
    union net_peer own; /* as in struct datagram */
    unsigned segments;
    unsigned parts; /* iovecs of each */
    size_t segment; /* bytes of each but the last one, which may be shorter */
    size_t last;
    size_t bytes; /* of all */
    struct iovec *iov;
};

/* What is received at a time and answered at a time. Too large for a stack: map it. */
struct datagrams_mail {
    struct mmsghdr in[DATAGRAM_BATCH];
    struct iovec in_iov[DATAGRAM_BATCH];
    union net_addr in_peer[DATAGRAM_BATCH];
    _Alignas(size_t) char in_control[DATAGRAM_BATCH][DATAGRAM_CONTROL];

    unsigned answers;
    unsigned iovs;
    struct datagram_answer answer[2 * DATAGRAM_BATCH]; /* a prefix can make two of one */
    struct mmsghdr out[2 * DATAGRAM_BATCH];
    _Alignas(size_t) char out_control[2 * DATAGRAM_BATCH][DATAGRAM_CONTROL];
    struct iovec out_iov[2 * DATAGRAM_BATCH * DATAGRAM_SEGMENTS];

    char slot[DATAGRAM_BATCH][DATAGRAM_ROOM + DATAGRAM_BYTES];
};

/* Whether a negative errno of sendmmsg(2) says that the kernel has no room at the moment. */
bool datagram_is_full(int error);

/* Is told what becomes of answers. Who sends embeds it. */
struct datagrams_sender {
    /* So many have been sent. */
    void (*on_sent)(struct datagrams_sender *sender, unsigned count);
    /* So many were not, and never will be: a negative errno of sendmmsg(2). */
    void (*on_unsent)(struct datagrams_sender *sender, const union net_addr *peer, unsigned count,
                      int error);
};

/*
 * Makes a socket that is bound to an IPv4 or IPv6 address, of which no other socket has the port;
 * beside which is -1. Or one that takes a part of what comes for another socket of ours, beside, on
 * the same address (SO_REUSEPORT in socket(7)): each client stays with one of them. The IPv6 socket
 * gets no IPv4 datagrams. Returns its descriptor, or a negative errno of socket(2), setsockopt(2)
 * or bind(2): -EADDRINUSE also if beside is another user's socket.
 */
int datagram_open(const union net_addr *addr, int beside);

/*
 * Sets up a socket, whoever has made it: the ancillary data that datagrams_receive() wants,
 * DATAGRAM_QUEUE if it has less and as far as we may, no answers to broadcast addresses, and none
 * of the errors that the network reports, which nobody would read. Returns 0 or a negative errno of
 * getsockopt(2) or setsockopt(2).
 */
int datagram_set_up(int fd);

/*
 * Receives up to DATAGRAM_BATCH datagrams without waiting. Returns how many, at least 1, or a
 * negative errno of recvmmsg(2): -EAGAIN when none has come, or an error that belongs to one of
 * those that were sent earlier, after which the next call may succeed. local says that this is a
 * Unix socket.
 */
int datagrams_receive(int fd, bool local, struct datagrams_mail *mail);

/* Stores the datagram with this number, counted from 0, of those that were received last. */
void datagrams_get(struct datagrams_mail *mail, unsigned number, struct datagram *datagram);

/*
 * Adds an answer to this datagram, or to that one of its segments that begins at bytes: prefix_len
 * bytes of the prefix, at most DATAGRAM_ROOM, and these len bytes, which may be 0. The bytes before
 * may be overwritten if the datagram is not a part of one. All of it must stay until
 * datagrams_send().
 */
void datagrams_answer(struct datagrams_mail *mail, const struct datagram *datagram, char *bytes,
                      size_t len, const char *prefix, size_t prefix_len);

/* Sends all answers without waiting, and tells what has become of them. */
void datagrams_send(int fd, struct datagrams_mail *mail, struct datagrams_sender *sender);

#endif
