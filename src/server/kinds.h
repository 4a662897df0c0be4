/*
 * kinds.h - how an endpoint is served: by a task that owns its descriptor.
 *
 * Three kinds are for clients of a service: a socket that listens, a connection that another
 * process has accepted, and a datagram socket. The fourth one listens for something else.
 */
#ifndef UVECHOD_KINDS_H
#define UVECHOD_KINDS_H

#include "stream/listener.h"
#include "task/sched.h"

#include <stdbool.h>

struct endpoint;

/* What the task of an endpoint may use. All of this outlives the task. */
struct endpoint_context {
    struct sched *sched;              /* of the starting thread */
    struct acceptor *acceptor;        /* takes connections */
    struct listener_watcher *watcher; /* is told of connections that are refused, and of pauses */
};

struct endpoint_kind {
    bool aside; /* it is no service's: endpoints_set_aside() takes it out, before any start */
    /*
     * Starts to serve endpoint->fd. Takes the descriptor over and sets endpoint->fd to -1. May put
     * memory made by malloc() into endpoint->task, which the endpoint frees. Returns 0 or a
     * negative errno. NULL: it is served already, because that begins before the threads run.
     */
    int (*start)(struct endpoint *endpoint, const struct endpoint_context *context);
    /*
     * Ends the task in endpoint->task. Its memory is freed with the endpoint, after the loop has
     * been closed. NULL: this kind has no task.
     */
    void (*stop)(struct endpoint *endpoint);
};

/* A socket that listens: the task is a listener. */
extern const struct endpoint_kind endpoint_listening;

/* A connection that inetd(8) or systemd has accepted: goes to the acceptor, has no own task. */
extern const struct endpoint_kind endpoint_connected;

/* A socket that listens for those who want statistics (metrics.h). It is aside. */
extern const struct endpoint_kind endpoint_metrics;

/* The name by which such a socket is passed: FileDescriptorName= in systemd.socket(5). */
#define ENDPOINT_METRICS "metrics"

/* A datagram socket, which datagrams.h serves on the loop of any worker and ends there. */
extern const struct endpoint_kind endpoint_datagram;

#endif
