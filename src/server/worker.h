/*
 * worker.h - one loop and all that lives on it: scheduler, connections with their services, reaper.
 *
 * The first worker runs on the thread that starts the daemon, together with the listeners and all
 * that decides. Every other one has a thread and a mailbox: what is accepted for it, and what it
 * is ordered to do, is put there, and an async handle wakes its loop. A task reads the mail, so an
 * order that has been carried out shows that the run queue turns.
 *
 * Nothing that a message passes through is shared: what a worker counts it alone writes, and
 * others read it (counter.h). Unless said otherwise a function here is the starting thread's.
 */
#ifndef UVECHOD_WORKER_H
#define UVECHOD_WORKER_H

#include "stream/conn.h"
#include "base/log.h"
#include "server/mailbox.h"
#include "stream/reaper.h"
#include "task/sched.h"

#include <stdatomic.h>
#include <stdbool.h>

/* How each of them serves; the same for all. */
struct worker_config {
    struct services services;
    unsigned idle_ms; /* without a byte in either direction; 0: for ever */
    struct log *log;
    int fd;         /* any open one, whose duplicates show what libuv may have */
    int highest_fd; /* up to which descriptors are to be watched: sock_reserve() */
};

/* Bits, to be carried out in this order behind all connections that were handed over before. */
enum worker_command {
    WORKER_SHUT = 1,  /* every connection says goodbye, for the reason that is given */
    WORKER_ABORT = 2, /* every connection ends at once, for the reason that is given */
    WORKER_DRAIN = 4, /* nobody comes any more: ends with the last connection */
    WORKER_PULSE = 8, /* says that its run queue turns */
    WORKER_QUIT = 16, /* ends at once and leaves everything as it is */
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
    struct log *log;
    struct worker_parent *parent;
    int error; /* what sched_run() has returned */

    bool threaded; /* has what follows, but for handed, which the first has, too */
    bool reading;  /* the task that reads the mail is queued, not parked */
    struct task reader;
    struct mail mail; /* what it reads */
    uv_async_t bell;  /* rung when there is mail */
    uv_thread_t thread;
    struct mailbox mailbox;
    _Atomic uint64_t refused; /* connections handed over and not served */
    atomic_bool awaited;      /* a WORKER_PULSE that was ordered is still to be carried out */
    atomic_bool ended;        /* the thread returns, or has returned */
    uint64_t handed;          /* connections handed over */
};

/*
 * Opens a loop with everything on it; threaded for one that will have a thread. The parent, the log
 * and the services with their configurations must outlive the worker. Returns 0 or a negative
 * errno, with nothing open.
 */
int worker_open(struct worker *worker, const struct worker_config *config,
                struct worker_parent *parent, bool threaded);

/* Runs the loop until nothing is left to do, on the calling thread, and sets worker->error. */
void worker_run(struct worker *worker);

/*
 * Starts the thread of a threaded worker: it does worker_run(), and says that it has by ended and
 * on_room. Returns 0, and worker_join() must be called then, or a negative errno of
 * uv_thread_create().
 */
int worker_start(struct worker *worker);

/* Waits for the end of the thread. */
void worker_join(struct worker *worker);

/*
 * Serves a connection, whose descriptor this call takes over in any case. A threaded worker is
 * handed the connection, and counts and logs it as refused if there is no memory for it. Returns 0
 * or a negative errno: the descriptor is closed then, and the caller must count the refusal.
 */
int worker_take(struct worker *worker, const struct accepted *accepted);

/* How many connections it has, with those on their way to it. */
size_t worker_load(const struct worker *worker);

/* Gives orders (a set of enum worker_command), with the negative errno that is the reason, or 0. */
void worker_order(struct worker *worker, unsigned orders, int error);

/* Whether the last WORKER_PULSE that it was ordered has been carried out, or it has ended. */
bool worker_alive(const struct worker *worker);

/*
 * Closes what worker_open() has opened and frees the memory. All tasks have ended, and the thread
 * has been joined.
 */
void worker_close(struct worker *worker);

#endif
