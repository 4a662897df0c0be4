/*
 * kinds.h - how an endpoint is served: by a task that owns its descriptor.
 *
 * There are two kinds: a socket that listens, and a connection that another process has accepted. A
 * descriptor of another sort, such as a datagram socket or the epoll descriptor of a library, would
 * be a third kind, whose own task yields recv on the descriptor.
 */
#ifndef UVECHOD_KINDS_H
#define UVECHOD_KINDS_H

#include "stream/listener.h"
#include "task/sched.h"

struct endpoint;

/* What the task of an endpoint may use. All of this outlives the task. */
struct endpoint_context {
    struct sched *sched;              /* of the starting thread */
    struct acceptor *acceptor;        /* takes connections */
    struct listener_watcher *watcher; /* is told of connections that are refused, and of pauses */
};

struct endpoint_kind {
    /*
     * Starts to serve endpoint->fd. Takes the descriptor over and sets endpoint->fd to -1. May put
     * memory made by malloc() into endpoint->task, which the endpoint frees. Returns 0 or a
     * negative errno.
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

#endif
