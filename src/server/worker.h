/*
 * worker.h - one loop and all that lives on it: scheduler, connections with their services, reaper.
 *
 * The first worker runs on the thread that starts the daemon, together with the listeners, the
 * signals and the drain. Every other worker has a thread and a mailbox. The starting thread puts
 * accepted connections and orders into the mailbox, and an async handle wakes the worker's loop. A
 * task reads the mail, so an order that has been carried out shows that the run queue turns.
 *
 * Workers share nothing on the path of a message: only the worker itself writes its counters, and
 * other threads read them (counter.h). Unless its comment says otherwise, a function here must be
 * called on the starting thread.
 */
#ifndef UVECHOD_WORKER_H
#define UVECHOD_WORKER_H

#include "stream/conn.h"
#include "base/log.h"
#include "server/complaints.h"
#include "server/mailbox.h"
#include "server/spinner.h"
#include "stream/reaper.h"
#include "stream/responder.h"
#include "task/sched.h"

#include <stdatomic.h>
#include <stdbool.h>

/* How each of them serves; the same for all. */
struct worker_config {
    struct services services;
    struct ledger *ledger;         /* of all connections */
    struct sources *sources;       /* of all connections; NULL: they are not counted by source */
    struct proxy_rules proxies;    /* who begins with a header */
    struct complaints *complaints; /* about their headers */
    unsigned idle_ms;              /* without a byte in either direction; 0: for ever */
    unsigned send_ms;              /* with bytes that the peer does not take; 0: for ever */
    unsigned busy_us; /* how long a loop does not sleep after an event; 0: it may at once */
    struct log *log;
    int fd;         /* any open one, whose duplicates show what libuv may have */
    int highest_fd; /* up to which descriptors are to be watched: sock_reserve() */
    bool counts_turns;
};

/* Bits. The worker obeys in this order, after it has served what was handed over before. */
enum worker_command {
    WORKER_SHUT = 1,  /* conns_shut_all() with the given error */
    WORKER_ABORT = 2, /* conns_abort_all() with the given error */
    WORKER_DRAIN = 4, /* no connection will come any more: the loop ends with the last one */
    WORKER_PULSE = 8, /* shows that the run queue turns: worker_alive() */
    WORKER_QUIT = 16, /* the loop returns at once and leaves everything as it is */
};

struct worker;

/* Whom a worker tells. Whoever owns workers embeds it. */
struct worker_parent {
    /* A connection has closed or was refused, or the thread has ended. On the worker's thread. */
    void (*on_room)(struct worker_parent *parent, const struct worker *worker);
};

/* What is read and written by other threads stands at the end, away from what messages touch. */
struct worker {
    uv_loop_t loop;
    struct sched sched;
    struct conns conns;
    struct reaper reaper;
    struct responders *responders; /* which end when the worker drains; NULL: there are none */
    struct log *log;
    struct complaints *complaints;
    struct worker_parent *parent;
    int error;  /* what sched_run() has returned */
    bool spins; /* only then is the spinner used */
    struct spinner spinner;
    bool counts_turns;    /* only then are these two used */
    uv_prepare_t turning; /* a call for each turn */
    _Atomic uint64_t turns;
    uint64_t handed;          /* connections handed over, */
    _Atomic uint64_t refused; /* and those of them that could not be served */

    bool threaded; /* has a thread; only then is what follows used */
    bool reading;  /* the task that reads the mail is queued, not parked */
    struct task reader;
    struct mail mail; /* what that task reads */
    uv_async_t bell;  /* wakes the loop when there is mail */
    uv_thread_t thread;
    struct mailbox mailbox;
    atomic_bool awaited; /* WORKER_PULSE has been ordered and not been carried out */
    atomic_bool ended;   /* the thread returns, or has returned */
};

/*
 * Opens a loop with everything on it; threaded for one that will have a thread. The parent, the
 * log, the ledger and the services with their configurations must outlive the worker. Returns 0 or
 * a negative errno, with nothing open.
 */
int worker_open(struct worker *worker, const struct worker_config *config,
                struct worker_parent *parent, bool threaded);

/* Runs the loop on the calling thread until no task is left, and sets worker->error. */
void worker_run(struct worker *worker);

/*
 * Starts the thread of a threaded worker. The thread calls worker_run(), sets ended and calls
 * on_room. Returns 0, and worker_join() must be called then, or a negative errno of
 * uv_thread_create().
 */
int worker_start(struct worker *worker);

/* Waits for the end of the thread. */
void worker_join(struct worker *worker);

/*
 * Serves a connection, whose descriptor and place among the sources this call takes over in any
 * case. A threaded worker is handed the connection, and counts and logs it as refused if there is
 * no memory for it. Returns 0 or a negative errno: conn_refuse() has been called then, and the
 * caller must count the refusal.
 */
int worker_take(struct worker *worker, const struct accepted *accepted);

/* How many connections the worker has, including those in its mailbox. */
size_t worker_load(const struct worker *worker);

/* Whether connections wait in its mailbox. Those that it is about to take out count, too. */
bool worker_is_behind(const struct worker *worker);

/* Gives orders (a set of enum worker_command), with the negative errno that is the reason, or 0. */
void worker_order(struct worker *worker, unsigned orders, int error);

/* Whether the last WORKER_PULSE has been carried out, or the thread has ended. */
bool worker_alive(const struct worker *worker);

/*
 * Closes what worker_open() has opened and frees the memory. All tasks have ended, and the thread
 * has been joined.
 */
void worker_close(struct worker *worker);

#endif
