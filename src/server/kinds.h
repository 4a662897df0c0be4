/*
 * kinds.h - how an endpoint is served: by a task that owns its descriptor.
 *
 * A socket that listens is one kind, a connection that somebody else has accepted another. What is
 * no connection at all, such as a datagram socket or the epoll descriptor of a library, is one more
 * kind, with a task of its own that yields recv on the descriptor.
 */
#ifndef UVECHOD_KINDS_H
#define UVECHOD_KINDS_H

#include "stream/listener.h"
#include "task/sched.h"

struct endpoint;

/* What the task of an endpoint may use; all of it outlives the task. */
struct endpoint_context {
    struct sched *sched;              /* of the starting thread */
    struct acceptor *acceptor;        /* takes connections */
    struct listener_watcher *watcher; /* hears what happens to them before they are served */
};

struct endpoint_kind {
    /*
     * Starts to serve. Takes over endpoint->fd, which becomes -1 then, and may keep memory of its
     * own in endpoint->task. Returns 0 or a negative errno.
     */
    int (*start)(struct endpoint *endpoint, const struct endpoint_context *context);
    /*
     * Ends the task in endpoint->task, whose memory is freed with the endpoint, after the loop has
     * been closed. NULL: nothing stays that would have to be ended.
     */
    void (*stop)(struct endpoint *endpoint);
};

/* A socket that listens: the task is a listener. */
extern const struct endpoint_kind endpoint_listening;

/* A connection, as inetd(8) passes them: it goes to the acceptor, and no task stays. */
extern const struct endpoint_kind endpoint_connected;

#endif
