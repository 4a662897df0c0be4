/*
 * conn.h - accepted connections: what each is, and the set of them that a loop serves.
 *
 * A connection is a task and its socket, with what the server must know of it whatever protocol
 * it speaks: its peer, when it last moved a byte, why it ends. A protocol is a struct handler;
 * its frame starts with a struct conn and adds its own locals. A service is a protocol with its
 * configuration; a daemon has a table of them, and a connection knows the number of its own.
 *
 * A connection ends in one of two ways. Its own step says `return conn_finish(conn, error)`; or
 * somebody else says conn_shut(), which is generator.close() here: the task goes on in another
 * step, which says goodbye to the peer. Frames are freed in the close callback only.
 */
#ifndef UVECHOD_CONN_H
#define UVECHOD_CONN_H

#include "base/counter.h"
#include "base/list.h"
#include "os/net.h"
#include "task/sched.h"
#include "task/sock.h"
#include "task/task.h"

#include <stdbool.h>
#include <stdint.h>

/* What every message touches stands together, at the end, where the frame goes on with the same. */
struct conn {
    struct list link; /* among the active or the lingering of its set */
    union net_peer peer;
    uint32_t unsent; /* bytes that the kernel had yet to deliver when that was last looked at */
    short error;     /* why it lingers: 0 or a negative errno */
    bool lingering;  /* we have sent our FIN and wait for the peer's */
    struct task task;
    struct sock sock;
    uint32_t active_ms; /* loop time of its last byte, when lingering of our FIN; it wraps */
    bool spoke;         /* it has sent a byte */
    uint8_t service;    /* its number among those of its set */
};

/* A protocol. */
struct handler {
    size_t frame_size;              /* of the struct that starts with a struct conn */
    task_step *start;               /* its first step; the frame is zero but for its conn */
    void (*release)(struct conn *); /* gives back what the frame holds; called once, at the end */
    /* Makes what all frames on one loop share. Returns it, or NULL without memory. */
    void *(*open)(const void *config);
    void (*close)(void *state); /* frees what open has made */
    /* How many descriptors one such state may hold at the same time. */
    unsigned (*descriptors)(const void *config);
    /* These three are NULL where frames share nothing. */
};

/* A protocol as this daemon speaks it. */
struct service {
    const struct handler *handler;
    const void *config; /* the handler's own */
};

/* All services; the number of one is its place in the list. */
struct services {
    const struct service *list;
    unsigned count; /* 1 to SERVICES_MAX */
};

enum { SERVICES_MAX = 4 };

/* A connection that has been accepted, and that no task serves yet. */
struct accepted {
    int fd;              /* non-blocking */
    uint8_t service;     /* its number */
    union net_peer peer; /* who has connected */
};

enum conn_event {
    CONN_OPENED, /* accepted, and its task is queued */
    CONN_SPOKE,  /* its first byte has come */
    CONN_CLOSED, /* its descriptor is closed; error is 0 or the negative errno that ended it */
};

/* Milliseconds, a power of 2, lest the wrap of their clock cuts one short. */
enum { CONNS_PERIOD_MS = 256 };

/* Fewer freed frames than this may each keep a page of memory. */
enum { CONNS_TRIM_MIN = 256 };

struct conns {
    struct sched *sched;
    struct services services;
    void *states[SERVICES_MAX]; /* of each service, what its handler's open has made */
    void (*on_event)(struct conn *conn, enum conn_event event, int error);
    struct list active;    /* the longest silent first, within CONNS_PERIOD_MS */
    struct list lingering; /* the longest lingering first */
    unsigned frames;       /* that are in memory */
    unsigned freed;        /* frames that were freed since memory last went back to the system */
    /* These are counted by the thread of the loop, and may be read by any: see counter.h. */
    _Atomic uint64_t accepted;
    _Atomic uint64_t closed; /* and their descriptors with them */
    _Atomic uint64_t bytes_in;
    _Atomic uint64_t bytes_out;
};

/*
 * Makes an empty set on the scheduler, whose loop's data it becomes, and opens the services. The
 * scheduler, the list of services and their configurations must outlive the set. on_event is
 * called for every connection. Returns 0, or -ENOMEM with nothing open.
 */
int conns_open(struct conns *conns, struct sched *sched, const struct services *services,
               void (*on_event)(struct conn *conn, enum conn_event event, int error));

/* Closes the services. Every connection must have been closed, and its memory freed. */
void conns_close(struct conns *conns);

/* The set that a connection belongs to: a loop has one, so no frame need say which. */
static inline struct conns *conn_owner(const struct conn *conn)
{
    return conn->sock.poll.loop->data;
}

/* What the frames of the connection's service share on its loop. */
static inline void *conn_state(const struct conn *conn)
{
    return conn_owner(conn)->states[conn->service];
}

/* Every connection that is open says goodbye (conn_shut) or ends at once (conn_abort). */
void conns_shut_all(struct conns *conns, int error);
void conns_abort_all(struct conns *conns, int error);

/*
 * Spawns the handler of the connection's service. Takes over the descriptor in any case. Returns 0,
 * or -ENOMEM or another negative errno of sock_init(): the descriptor is closed then.
 */
int conn_open(struct conns *conns, const struct accepted *accepted);

/* The handler has received or sent this many bytes: counts them, and notes that it lives. */
void conn_received(struct conn *conn, size_t bytes);
void conn_sent(struct conn *conn, size_t bytes);

/* How long ago its last byte was, or our FIN, in milliseconds; less than 49 days. */
uint32_t conn_silent_ms(const struct conn *conn);

/*
 * Whether bytes move that no step has seen, in which case its silence ends now: some have arrived
 * that it was waiting for, when the process has not run for a while, or the peer takes what it has
 * been sent, slowly. The latter is told from a look at the time before, so a peer that takes
 * nothing is found out the second time. Two system calls: for when its time is up only.
 */
bool conn_stirs(struct conn *conn);

/*
 * The last word of a connection's own step: closes it, tells on_event why (0: the peer was done;
 * a negative errno: what broke it) and ends the task.
 */
struct yield conn_finish(struct conn *conn, int error);

/*
 * For others than its own step. Ends the connection for the reason error, so that what is on its
 * way to the peer arrives: a FIN first, then whatever the peer still sends is thrown away until
 * it ends too. (Closing with unread input would make the kernel send a reset, which destroys
 * answers in flight.) The peer may take for ever: somebody must call conn_abort() in the end.
 */
void conn_shut(struct conn *conn, int error);

/* For others than its own step. Ends the connection in this turn, whatever is on its way. */
void conn_abort(struct conn *conn, int error);

#endif
