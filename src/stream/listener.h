/*
 * listener.h - the tcp_server task: waits to receive on a listening socket, accepts, hands over.
 *
 * It parks while there are as many connections as there may be; more of them wait in the backlog
 * meanwhile. It sleeps a little when the kernel is out of descriptors or memory. It never gives up:
 * a failure that concerns one connection ends that connection, and a lack of the machine passes.
 */
#ifndef UVECHOD_LISTENER_H
#define UVECHOD_LISTENER_H

#include "base/list.h"
#include "stream/conn.h"
#include "task/sched.h"
#include "task/sock.h"
#include "task/task.h"
#include "task/timer.h"

#include <stdbool.h>

/*
 * Where listeners bring the connections that they accept. Whoever serves these embeds it and fills
 * in the two functions.
 */
struct acceptor {
    /* Whether no connection may be taken now; acceptor_room() must be called when one may be. */
    bool (*full)(struct acceptor *acceptor);
    /* Takes over the descriptor in any case. Returns 0, or a negative errno: it is closed then. */
    int (*take)(struct acceptor *acceptor, const struct accepted *accepted);
    struct list parked; /* the listeners that wait for room */
};

void acceptor_init(struct acceptor *acceptor);

/*
 * A connection may be taken again: wakes the listener that has waited longest. Once it has accepted
 * what it found, it wakes the next one if there still is room. So listeners take turns, and a flood
 * of connections to one of them does not keep the others from their share.
 */
void acceptor_room(struct acceptor *acceptor);

enum listener_event {
    LISTENER_TOOK,    /* a connection was accepted and handed to the acceptor */
    LISTENER_REFUSED, /* a connection was accepted and closed: error says what was missing */
    LISTENER_PAUSED,  /* accept failed with error; it will be tried again for as long as it takes */
    LISTENER_RESUMED, /* accept succeeds again */
    LISTENER_ENDED,   /* the socket is closed and the task is done */
};

/* Whom listeners tell what happens. Whoever wants to know embeds it. */
struct listener_watcher {
    void (*on_event)(struct listener_watcher *watcher, enum listener_event event, int error);
};

struct listener {
    struct task task;
    struct sock sock;
    struct timer timer; /* for the pauses */
    struct sched *sched;
    struct acceptor *acceptor;
    struct listener_watcher *watcher;
    struct list link; /* among the acceptor's parked listeners */
    uint8_t service;  /* of the connections that come here */
    bool parked;      /* until the acceptor has room */
    bool paused;      /* the last accept failed for lack of something */
    bool stopping;    /* to end once what is in the backlog has been accepted */
};

/*
 * Takes over fd, a listening and non-blocking socket, and spawns the task that accepts from there
 * for the service with this number. sched, acceptor and watcher must outlive the listener. Returns
 * 0 or a negative errno of sock_init(): fd is still the caller's then.
 */
int listener_start(struct listener *listener, struct sched *sched, struct acceptor *acceptor,
                   struct listener_watcher *watcher, int fd, uint8_t service);

/*
 * Ends the task: what is in the backlog already is still accepted (as far as the limit lets it),
 * then the socket is closed. To be called once. The owner may free the memory when the
 * loop has run once more after LISTENER_ENDED.
 */
void listener_stop(struct listener *listener);

#endif
