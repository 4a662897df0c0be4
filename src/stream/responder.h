/*
 * responder.h - the task that answers datagrams, each with one: a prefix and what has come.
 *
 *     def udp_server(address):                     responder_start
 *         while True:
 *             yield 'recv', sock                   responder_wait
 *             data, client = sock.recvfrom(65536)  datagrams_receive
 *             sock.sendto(b'GOT:' + data, client)  datagrams_send
 *
 * One task serves all clients of a socket, and keeps nothing of them. What it cannot answer now, it
 * drops and counts: UDP promises no more (RFC 768), and what is queued for clients can be made to
 * grow by anybody. So the answer to a datagram is under way in one turn of the task only, and the
 * memory for it belongs to all responders of a loop. It goes back to the system when no datagram
 * has come for a while.
 *
 * A flood must not hold up the other tasks of the loop: a turn has a bounded number of rounds, each
 * of them a call that receives and one that sends.
 */
#ifndef UVECHOD_RESPONDER_H
#define UVECHOD_RESPONDER_H

#include "base/list.h"
#include "stream/ledger.h"
#include "stream/origins.h"
#include "stream/rates.h"
#include "task/sched.h"
#include "task/sock.h"
#include "task/timer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How datagrams are answered; the same on all loops. What it points to must outlive them. */
struct responders_config {
    const char *prefix; /* put before each, prefix_len bytes */
    size_t prefix_len;  /* at most DATAGRAM_ROOM */
    struct origins origins;
    struct rates *rates;
    struct ledger_datagrams *counts; /* where results are counted, at least DATAGRAM_RESULTS */
};

struct responders;

/* Whoever wants to know of dropped datagrams embeds it. */
struct responders_watcher {
    /* responders->dropped has grown. On the thread of the loop. */
    void (*on_drop)(struct responders_watcher *watcher, const struct responders *responders);
};

/* The responders of one loop, and what they share. */
struct responders {
    struct sched *sched;
    const struct responders_config *config;
    struct responders_watcher *watcher;
    struct list list;            /* of those that have not ended */
    struct datagrams_mail *mail; /* mapped while datagrams come, and NULL while none do */
    uv_timer_t quiet;            /* looks whether any have come; does not keep the loop running */
    bool used;                   /* mail has been, since the timer looked */
    struct datagrams_sender sender;
    unsigned counts[DATAGRAM_RESULTS]; /* of this round */
    const union net_addr *culprit;     /* of this round: the last one whose datagram was dropped */
    uint64_t dropped;                  /* datagrams, so far */
    enum datagram_result reason;       /* of the last of them, and its source: */
    union net_addr dropped_peer;
};

struct responder {
    struct task task;
    struct sock sock;
    struct timer timer; /* of a pause, for lack of memory */
    struct list link;
    struct responders *responders;
    bool local; /* a Unix socket */
    bool stopping;
};

/*
 * Sets up a loop without responders. sched, config and watcher must outlive it. Cannot fail;
 * responders_close() must follow.
 */
void responders_init(struct responders *responders, struct sched *sched,
                     const struct responders_config *config, struct responders_watcher *watcher);

/*
 * Spawns the task, which owns the descriptor of a socket that datagram_set_up() has set up; local
 * says that this is a Unix socket. Returns 0, or a negative errno of sock_init(), with the
 * descriptor still open. The memory is the owner's again when the loop has been closed.
 */
int responder_start(struct responder *responder, struct responders *responders, int fd, bool local);

/*
 * Ends the tasks, which answer what has come so far, but not without limit, and close their
 * sockets. To be called on the thread of the loop, once or more.
 */
void responders_stop(struct responders *responders);

/*
 * Closes everything, also of tasks that have never run. No task may run any more. The memory is the
 * owner's again when the loop has run once more.
 */
void responders_close(struct responders *responders);

#endif
