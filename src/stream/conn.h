/*
 * conn.h - accepted connections: what each is, and the set of them that a loop serves.
 *
 * A connection is a task and its socket, with what the server must know of it whatever protocol
 * it speaks: its peer, when it last moved a byte, why it ends. A protocol is a struct handler;
 * its frame starts with a struct conn and adds its own locals. A service is a protocol with its
 * configuration; a daemon has a table of them, and a connection knows the number of its own.
 *
 * A connection ends in one of two ways. Either its own step says `return conn_finish(conn, error)`,
 * or other code calls conn_shut() or conn_abort(), which is generator.close() here: that wakes the
 * task from whatever it waits for, and the task goes on in a step of conn.c. The frame is freed
 * when its last handle has closed.
 */
#ifndef UVECHOD_CONN_H
#define UVECHOD_CONN_H

#include "base/counter.h"
#include "base/list.h"
#include "os/net.h"
#include "stream/ledger.h"
#include "stream/proxy.h"
#include "stream/sources.h"
#include "task/sched.h"
#include "task/sock.h"
#include "task/task.h"

#include <stdbool.h>
#include <stdint.h>

/* What every message touches stands at the end, next to the locals that the frame adds. */
struct conn {
    struct list link; /* among the active, the lingering or the headless of its set */
    union net_peer peer;
    short error;        /* why it ends: 0 or a negative errno */
    bool lingering : 1; /* we have sent our FIN and wait for the peer's */
    bool proxied : 1;   /* it has begun with the header of a proxy, or is about to */
    bool headless : 1;  /* that header is not whole: no step of its handler has run */
    uint8_t handles;    /* how many of the frame's are open; the socket's is one of them */
    struct task task;
    struct sock sock;
    uint32_t active_ms; /* loop time of its last byte or, when lingering, of our FIN; it wraps */
    uint32_t unsent;    /* what net_unsent() said at a look, or CONN_UNSENT_UNKNOWN */
    bool spoke;         /* it has sent a byte */
    uint8_t service;    /* its number among those of its set */
    bool spared;        /* the last look found it silent, and let it live all the same */
    uint8_t stuck;      /* looks of conn_is_stuck() in a row that found bytes and no progress */
    uint32_t owed;      /* what the kernel would hold now had the peer taken nothing since then */
};

/* A look at each quarter of the time shows whether a connection is stuck for so long. */
enum { CONN_LOOKS = 4 };

/*
 * Bytes have moved since the last look. A look is one of conn_is_idle(); at a Unix socket, one of
 * conn_is_stuck() is a look, too.
 */
#define CONN_UNSENT_UNKNOWN UINT32_MAX

/*
 * What the kernel holds for the peer of a predecessor's connection is not known. This is more than
 * any kernel holds, so the first look counts as progress, and stores what is held then.
 */
enum { CONN_OWED_UNKNOWN = 1 << 30 };

/* A protocol. */
struct handler {
    size_t frame_size; /* of the struct that starts with a struct conn */
    task_step *start;  /* its first step; the frame is zero but for its conn */
    /* Gives back what the frame holds; called once, at the end. It may not have been started. */
    void (*release)(struct conn *);
    /*
     * Wakes the task if it waits for anything but the socket: its timer, a second socket, or the
     * sched_wake() that ends a park. The task then goes on in a step of conn.c. NULL for a handler
     * whose tasks wait for the socket only.
     */
    void (*wake)(struct conn *);
    /* Says what the service needs of the ledger, and stores its record; all else is zero. */
    void (*describe)(const void *config, struct ledger_service *service);
    /* Makes what all frames on one loop share. Returns it, or NULL without memory. */
    void *(*open)(const void *config, struct ledger *ledger);
    void (*close)(void *state); /* frees what open has made */
    /* How many descriptors one such state may hold at the same time. */
    unsigned (*descriptors)(const void *config);
    /* These four are NULL where frames share nothing. */

    /*
     * How many bytes the answer to so many received bytes has in a buffer of a predecessor, whose
     * record this is. Returns that, or -EPROTO if the record is none.
     */
    int64_t (*answer)(const struct ledger_service *predecessor, uint32_t received);
    /*
     * Returns the step in which a connection of a predecessor goes on, whose entry is that of the
     * predecessor: left bytes of the answer have not been sent. The frame is zero but for its conn.
     * Unless it is ready, the step would find nothing to receive, and no room to send: it can begin
     * with a wait. Returns NULL without memory.
     */
    task_step *(*resume)(struct conn *conn, uint32_t left, bool ready);
    /* These two are NULL for a handler whose connections end with their process. */
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

enum { SERVICES_MAX = LEDGER_SERVICES_MAX };

/*
 * Stores the layout of a ledger for the services on so many loops, with an entry for each of so
 * many descriptors: whatever they do, none of them lacks a buffer. The exception is a machine of 32
 * bits, where 1 GiB of buffers is all that there is.
 */
void services_layout(const struct services *services, unsigned loops, uint32_t entries,
                     struct ledger_layout *layout);

/* A connection that has been accepted, and that no task serves yet. */
struct accepted {
    int fd;              /* non-blocking */
    uint8_t service;     /* its number */
    bool adopted;        /* a predecessor has served it, and its entry is in force */
    bool ready;          /* of such: its task can go on at once, as far as anybody knows */
    uint32_t left;       /* of such: bytes of the answer that have not been sent; or of a header,
                            that have come and were not noted */
    uint32_t silent_ms;  /* of such: how long ago its last byte moved */
    union net_peer peer; /* who has connected */
};

enum conn_event {
    CONN_OPENED,  /* accepted, and its task is queued */
    CONN_ADOPTED, /* the same for one that a predecessor has opened */
    CONN_HEADED,  /* the header of a proxy is whole, and its handler starts */
    CONN_MISLED,  /* that header will never be: error is an enum proxy_header_kind */
    CONN_SPOKE,   /* its first byte has come, not counting a header */
    CONN_CLOSED,  /* its descriptor is closed; error is 0 or the negative errno that ended it */
};

/* Milliseconds. A power of 2, so that no period is cut short when active_ms wraps. */
enum { CONNS_PERIOD_MS = 256 };

/* Fewer freed frames than this may each keep a page of memory. */
enum { CONNS_TRIM_MIN = 256 };

struct conns {
    struct sched *sched;
    struct services services;
    struct ledger *ledger;
    struct ledger_entry *entries; /* of the ledger: this saves a message a load */
    void *states[SERVICES_MAX];   /* of each service, what its handler's open has made */
    void (*on_event)(struct conn *conn, enum conn_event event, int error);
    struct sources *sources; /* of the connections; NULL: they are not counted by source */
    struct list active;      /* the longest silent first, within CONNS_PERIOD_MS */
    struct list due;         /* the same: silent for longer, and waiting for conns_look() */
    struct list lingering;   /* the longest lingering first */
    struct list headless;    /* those whose headers are not whole, the first to be accepted first */
    struct proxy_rules proxies; /* who begins with a header; zero: nobody */
    unsigned frames;            /* that are in memory */
    unsigned freed; /* frames that were freed since memory last went back to the system */
    /* These are counted by the thread of the loop, and may be read by any: see counter.h. */
    _Atomic uint64_t accepted; /* with those of a predecessor, */
    _Atomic uint64_t adopted;  /* which has counted these already */
    _Atomic uint64_t closed;   /* and their descriptors with them */
    _Atomic uint64_t bytes_in;
    _Atomic uint64_t bytes_out;
};

/*
 * Makes an empty set on the scheduler, whose loop's data it becomes, and opens the services. Where
 * its connections are is noted in the ledger, which several sets may share. The scheduler, the list
 * of services, their configurations and the ledger must outlive the set. The layout of the ledger
 * must be that of the same services. on_event is called for every connection. The owner may set
 * sources and proxies afterwards, which must outlive the set then. Returns 0, or -ENOMEM with
 * nothing open.
 */
int conns_open(struct conns *conns, struct sched *sched, const struct services *services,
               struct ledger *ledger,
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

/* Its entry in the ledger. */
static inline struct ledger_entry *conn_entry(const struct conn *conn)
{
    return &conn_owner(conn)->entries[conn->sock.fd];
}

/* Calls conn_shut() or conn_abort() for every connection that is open. */
void conns_shut_all(struct conns *conns, int error);
void conns_abort_all(struct conns *conns, int error);

/*
 * Spawns the handler of the connection's service; a connection that is adopted goes on where its
 * entry says, which takeover.h has brought in order. Takes over the descriptor in any case, and
 * with sources the place that sources_enter() has given to the connection. Returns 0, or -ENOMEM or
 * another negative errno of ledger_enter() or sock_init(): conn_refuse() has been called then.
 *
 * No connection of the set may have been silent for longer than one that comes with a silent_ms: so
 * the longest silent must come last.
 */
int conn_open(struct conns *conns, const struct accepted *accepted);

/*
 * Closes a connection that no task serves, and gives its place among the sources back. Of one that
 * was to be adopted, nobody has what its entry names.
 */
void conn_refuse(struct conns *conns, const struct accepted *accepted);

/* Steps must call these when they have received or sent bytes: counts them and their time. */
void conn_received(struct conn *conn, size_t bytes);
void conn_sent(struct conn *conn, size_t bytes);

/* How long ago its last byte or our FIN was, in milliseconds; must be less than 49 days. */
uint32_t conn_silent_ms(const struct conn *conn);

/*
 * A look at a connection that has been silent for idle_ms, the first of conns_silent():
 * whether it is idle, so that it may be ended. A connection is idle when its task waits for the
 * peer, and the peer does nothing. So it is not idle
 * - while its task does not wait for its socket: it is queued, sleeps or parks;
 * - when what its task waits for has come and the loop has not seen it yet, because the process
 *   has not run for a while: input, its end, or room to send;
 * - when the peer has taken some of the bytes that the kernel holds for it since the last look;
 * - when bytes have moved since the last look and the kernel still holds some of them, or moved
 *   some of them less than idle_ms ago: the steps date a byte too early in a long pass of the
 *   loop, and do not see when the peer takes it.
 * It then counts as active again. A peer that does nothing is idle at the second look at the
 * latest; one of a Unix socket that has bytes to take, at the third, because the kernel counts
 * those by whole buffers. At most three system calls.
 */
bool conn_is_idle(struct conn *conn, uint32_t idle_ms);

/*
 * A look at every active connection, in slices: begin takes them all, unless some are left of the
 * time before; next returns one after the other, and NULL when there is none left. All stay active
 * meanwhile, in their order. A connection that moves bytes before its turn may be left out.
 */
void conns_look_begin(struct conns *conns);
struct conn *conns_look_next(struct conns *conns);

/* The list that begins with the connection that has been silent longest; it may be empty. */
static inline struct list *conns_silent(struct conns *conns)
{
    return list_empty(&conns->due) ? &conns->active : &conns->due;
}

/*
 * One of the looks at an active connection, which must lie at least a CONN_LOOKS-th of some time
 * apart: whether the kernel has held bytes for the peer for at least that time, and the peer has
 * taken none of them. What the kernel has taken from us meanwhile is no progress of the peer. The
 * exception is a Unix socket, of which the kernel counts whole buffers: there, a byte that has
 * moved in either direction meanwhile is progress, too. At most one system call, and none for a
 * connection that has sent nothing since the kernel held nothing.
 */
bool conn_is_stuck(struct conn *conn);

/*
 * What a connection's own step returns at its end: closes the connection, tells on_event why (0:
 * the peer was done; a negative errno: what broke it) and ends the task.
 */
struct yield conn_finish(struct conn *conn, int error);

/* The same as a reset, whatever is on its way: conn_reset(). */
struct yield conn_finish_reset(struct conn *conn, int error);

/*
 * For proxy.c: the time for the header (limit_ms) is up. If something has come that the task has
 * not received, because the process or the loop was held up, the connection has CONNS_PERIOD_MS
 * more, and this returns true. limit_ms must be more than CONNS_PERIOD_MS. One system call.
 */
bool conn_spare(struct conn *conn, uint32_t limit_ms);

/* For proxy.c: the header is whole. From now on the connection is as if it were accepted now. */
void conn_header_done(struct conn *conn);

/*
 * A frame may own more libuv handles than its socket's, at most 254. The handler calls the first
 * when it has opened one, closes those that are open in release, and calls the second in the
 * close callback of each. The frame is freed when its last handle has closed, whichever that is:
 * libuv closes the handles of one pass in the reverse order.
 */
void conn_handle_opened(struct conn *conn);
void conn_handle_closed(struct conn *conn);

/*
 * Not for its own step. Ends the connection for the reason error, so that what is on its way to the
 * peer arrives: sends a FIN, then throws away what the peer still sends until the peer ends, too.
 * (Closing with unread input would make the kernel send a reset, which destroys answers in flight.)
 * The peer may never end, so the caller must see to it that conn_abort() is called in the end.
 */
void conn_shut(struct conn *conn, int error);

/* Not for its own step. Ends the connection in the turn to come, whatever is on its way. */
void conn_abort(struct conn *conn, int error);

/*
 * The same, and throws away what the peer has not taken: a TCP peer is sent a reset. Otherwise the
 * kernel would keep these bytes for minutes after the end.
 */
void conn_reset(struct conn *conn, int error);

#endif
