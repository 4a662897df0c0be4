/*
 * client.h - one connection to the server: sends messages, checks what comes back.
 *
 * echoload must not be slower than the server that it measures. So the descriptor is watched for
 * reading from the beginning to the end, and for writing only while the kernel refuses bytes: a
 * message costs one recv, one send and a share of an epoll_wait.
 */
#ifndef ECHOLOAD_CLIENT_H
#define ECHOLOAD_CLIENT_H

#include "echoload/args.h"
#include "echoload/histogram.h"
#include "echoload/pacer.h"
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
    uint64_t messages;          /* answered, since the start */
    uint64_t bytes;             /* received, since the start, without prefixes */
    struct pacer pacer;         /* open loop */
    bool flowing;               /* each answer makes room for a new message */
    bool ending;                /* a connection ends when all its messages are answered */
    void (*on_connected)(struct client *client);
    void (*on_answered)(struct client *client); /* each time that all is answered */
    void (*on_closed)(struct client *client);   /* the client's memory may be used again */
    void (*on_failed)(struct client *client, const char *why);
    void *owner;
    char *buffer; /* to receive into, CLIENT_BUFFER bytes */
};

enum { CLIENT_BUFFER = 65536 };

struct client {
    uv_poll_t poll;
    struct traffic *traffic;
    struct verifier verifier;
    uint64_t index;     /* number among the connections that exist at once */
    uint64_t goal;      /* how many messages to send at most */
    uint64_t started;   /* messages that have been sent or may be sent */
    uint64_t done;      /* messages answered */
    uint64_t sent;      /* bytes */
    uint64_t opened_ns; /* when the client began to connect */
    uint64_t *times;    /* closed loop: when the last --depth messages were started */
    int fd;
    unsigned char armed; /* the events that poll is started for */
    bool open;
    bool connected;
    bool ended; /* we have shut down our side */
};

/*
 * Starts to connect. The serial number, which no other connection of the run has, chooses the
 * source address and the place in the pattern. The caller must have set traffic, index, goal and
 * times. on_connected may be called before this function returns. Returns 0 or a negative errno.
 */
int client_open(struct client *client, uint64_t serial);

/* Starts and sends as many messages as --depth allows (bulk: as much as the kernel takes). */
void client_fill(struct client *client);

/* Starts and sends one message, however many are not answered yet. */
void client_push(struct client *client);

/* Ends the connection if it may end (traffic->ending, or its goal) and all is answered. */
void client_end_if_done(struct client *client);

/* How many messages have been started and are not answered. */
uint64_t client_pending(const struct client *client);

#endif
