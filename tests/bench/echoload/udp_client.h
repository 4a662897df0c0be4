/*
 * udp_client.h - one connected UDP socket: sends datagrams, and checks each answer.
 *
 * The load must not be the limit, so each call takes as many datagrams as there are (recvmmsg(2),
 * sendmmsg(2)). With --gso many datagrams are one for the kernel, both ways (UDP_SEGMENT and
 * UDP_GRO in udp(7)), as QUIC's implementations send them. The bytes to send are not copied: a
 * header and a piece of the pattern make a datagram.
 */
#ifndef ECHOLOAD_UDP_CLIENT_H
#define ECHOLOAD_UDP_CLIENT_H

#include "echoload/args.h"
#include "echoload/histogram.h"
#include "echoload/packet.h"
#include "echoload/sequence.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <uv.h>

enum {
    UDP_BATCH = 32,        /* messages of one call */
    UDP_SEGMENTS = 64,     /* datagrams in one message, at most */
    UDP_JOINED = 65000,    /* bytes in one message of more than one datagram */
    UDP_SLOT = 65536,      /* bytes of the longest message to be received */
    UDP_QUEUE = 4 << 20,   /* bytes that may wait to be received: the load must lose nothing */
    UDP_CONTROL = 64,      /* bytes of ancillary data: one int */
    UDP_DESCRIPTION = 128, /* bytes that describe the first wrong answer */
};

/* What one call sends or receives. Too large for a stack. */
struct udp_mail {
    struct mmsghdr in[UDP_BATCH];
    struct iovec in_iov[UDP_BATCH];
    _Alignas(size_t) char in_control[UDP_BATCH][UDP_CONTROL];
    struct mmsghdr out[UDP_BATCH];
    struct iovec out_iov[UDP_BATCH][2 * UDP_SEGMENTS];
    _Alignas(size_t) char out_control[UDP_BATCH][UDP_CONTROL];
    char out_header[UDP_BATCH][UDP_SEGMENTS][PACKET_HEADER];
    uint64_t out_count[UDP_BATCH]; /* datagrams of each message */
    char slot[UDP_BATCH][UDP_SLOT];
};

struct udp_client;

/* What all clients share. */
struct udp_traffic {
    uv_loop_t *loop;
    const struct args *args;
    struct format format;
    struct histogram latencies;  /* nanoseconds */
    struct tally tally;          /* since the start */
    uint64_t bytes;              /* received in right answers, since the start, without prefixes */
    bool flowing;                /* each answer makes room for a new datagram */
    int refused;                 /* the last negative errno that the network has reported, or 0 */
    char wrong[UDP_DESCRIPTION]; /* the first wrong answer; empty: there is none */
    struct udp_mail *mail;
    void (*on_answers)(struct udp_client *client);
    void (*on_failed)(struct udp_client *client, const char *what, int error);
    void *owner;
};

struct udp_client {
    uv_poll_t poll;
    struct udp_traffic *traffic;
    struct sequence sequence;
    uint32_t index;
    uint64_t goal; /* how many datagrams to send at most */
    int fd;
};

/*
 * Makes the socket and receives from now on. The caller must have set traffic, index and goal.
 * Returns 0 or a negative errno; udp_client_close() must follow in either case.
 */
int udp_client_open(struct udp_client *client);

/* Sends as many as --depth and the goal allow. What the kernel has no room for waits. */
void udp_client_fill(struct udp_client *client);

/* Sends one, whose latency begins at due_ns. One that the kernel has no room for is left out. */
void udp_client_push(struct udp_client *client, uint64_t due_ns);

/* Counts as lost what was sent at this time (ns) or before and is not answered. */
void udp_client_expire(struct udp_client *client, uint64_t ns);

/* Frees everything when the loop has closed its handles. */
void udp_client_close(struct udp_client *client);

#endif
