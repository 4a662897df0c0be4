/*
 * client.h - one connection to the server: sends what is due, checks what comes back.
 *
 * Its descriptor is watched for reading from the beginning to the end, for writing only while the
 * kernel has refused bytes, so that a message costs one recv, one send and a share of an
 * epoll_wait: echoload must not be slower than what it measures.
 */
#ifndef ECHOLOAD_CLIENT_H
#define ECHOLOAD_CLIENT_H

#include "echoload/args.h"
#include "echoload/histogram.h"
#include "echoload/verifier.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct client;

/* What all connections share. */
struct traffic {
    uv_loop_t *loop;
    const struct args *args;
    struct format format;
    struct histogram latencies; /* nanoseconds */
    uint64_t messages;          /* answered, ever */
    uint64_t bytes;             /* received, ever, without prefixes */
    uint64_t first_ns;          /* open loop: when the first message is due */
    double interval_ns;         /* open loop: from one message to the next */
    bool flowing;               /* answers make room for new messages */
    bool ending;                /* a connection whose messages are all answered ends */
    void (*on_connected)(struct client *client);
    void (*on_answered)(struct client *client); /* each time that nothing is under way */
    void (*on_closed)(struct client *client);   /* its memory may be used again */
    void (*on_failed)(struct client *client, const char *why);
    void *owner;
    char *buffer; /* to receive into, CLIENT_BUFFER bytes */
};

enum { CLIENT_BUFFER = 65536 };

struct client {
    uv_poll_t poll;
    struct traffic *traffic;
    struct verifier verifier;
    uint64_t index;     /* among its connections */
    uint64_t goal;      /* messages to send at most */
    uint64_t started;   /* messages that may be sent, or have been */
    uint64_t done;      /* messages answered */
    uint64_t sent;      /* bytes */
    uint64_t opened_ns; /* when it began to connect */
    uint64_t *times;    /* closed loop: when a message was started, --depth of them */
    int fd;
    unsigned char armed; /* what poll is started for */
    bool open;
    bool connected;
    bool ended; /* we have shut down our side */
};

/*
 * Starts to connect. The serial number, unique among all connections ever, chooses the source
 * address and the place in the pattern. traffic, index, goal and times are set by the caller.
 * on_connected may be called before this returns. Returns 0 or a negative errno.
 */
int client_open(struct client *client, uint64_t serial);

/* Starts and sends what the depth has room for (bulk: as much as the kernel takes). */
void client_fill(struct client *client);

/* Starts and sends one message, whatever is under way. */
void client_push(struct client *client);

/* With traffic->ending set: ends the connection if nothing is under way. */
void client_end_if_done(struct client *client);

/* Messages that were started and not answered. */
uint64_t client_pending(const struct client *client);

#endif
