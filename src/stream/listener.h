/*
 * listener.h - the tcp_server task: waits to receive on a listening socket, accepts, hands over.
 *
 * It parks while connections are at their limit, so that more of them wait in the backlog,
 * and sleeps a little when the kernel is out of descriptors or memory. It never gives up: what
 * is wrong with one connection ends that connection, what is wrong with the machine passes.
 */
#ifndef UVECHOD_LISTENER_H
#define UVECHOD_LISTENER_H

#include "os/net.h"
#include "task/sched.h"
#include "task/sock.h"
#include "task/task.h"
#include "task/timer.h"

#include <stdbool.h>

enum listener_event {
    LISTENER_PAUSED,  /* accept failed with error; it will be tried again for as long as it takes */
    LISTENER_RESUMED, /* accept succeeds again */
    LISTENER_REFUSED, /* a connection was accepted and dropped: error says what was missing */
    LISTENER_ENDED,   /* the socket is closed and the task is done */
};

struct listener {
    struct task task;
    struct sock sock;
    struct timer timer; /* for the pauses */
    struct sched *sched;
    void *owner;
    /* Whether no connection may be taken now; then listener_unpark() is due when one may be. */
    bool (*full)(struct listener *listener);
    /* Takes over fd in any case. Returns 0, or a negative errno when it has been dropped. */
    int (*take)(struct listener *listener, int fd, const union net_peer *peer);
    void (*on_event)(struct listener *listener, enum listener_event event, int error);
    bool parked;   /* until a connection closes */
    bool paused;   /* the last accept failed for lack of something */
    bool stopping; /* to end once what is in the backlog has been accepted */
};

/*
 * Takes over fd, a listening and non-blocking socket, and spawns the task on listener->sched. The
 * caller has set sched, owner and the three calls. Returns 0 or a negative errno of sock_init(); fd
 * is the caller's then.
 */
int listener_start(struct listener *listener, int fd);

/* A connection has closed: if the listener is parked, it looks again. */
void listener_unpark(struct listener *listener);

/*
 * Ends the task: what is in the backlog already is still accepted (as far as the limit lets it),
 * then the socket is closed. The memory is the owner's when the loop has run once more after
 * LISTENER_ENDED.
 */
void listener_stop(struct listener *listener);

#endif
