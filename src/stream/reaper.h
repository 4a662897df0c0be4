/*
 * reaper.h - the task that ends connections whose time is up.
 *
 * The connections of a loop are kept in the order in which they last moved a byte, so the first
 * is the next to be idle for too long: one timer serves them all, and a connection pays for its
 * timeout with a list link instead of a timer of its own. When the time of the first is up,
 * conn_is_idle() looks whether it is idle in fact. An end by idleness is never early. It may be
 * late: by CONNS_PERIOD_MS because the order is not more exact, and by the same again because the
 * first may stay the first for so long when it has moved a byte after all.
 *
 * A peer that does not take what it is sent may send bytes all the same, so that order does not
 * tell which is stuck. Every active connection is looked at instead, by conn_is_stuck(), as often
 * as CONN_LOOKS says. That costs one system call for each that has sent something since its last
 * look, and a few hundred looks in one turn at most. An end by being stuck is never early, and late
 * by one look's distance; by two, if bytes have moved while a round of looks took several turns.
 *
 * A connection that begins with the header of a proxy is in none of this until its header is whole.
 * These have a list of their own, in the order in which they were accepted. An end for a late
 * header is never early, and late by CONNS_PERIOD_MS at most, counted from when the loop was able
 * to see what had come by then.
 */
#ifndef UVECHOD_REAPER_H
#define UVECHOD_REAPER_H

#include "stream/conn.h"
#include "task/task.h"
#include "task/timer.h"

struct reaper {
    struct task task;
    struct timer timer; /* does not keep the loop running */
    struct conns *conns;
    unsigned idle_ms;   /* without a byte in either direction; 0: for ever */
    unsigned send_ms;   /* with bytes that the peer does not take; 0: for ever */
    uint32_t looked_ms; /* loop time at which the last round of looks was over; it wraps */
    bool parked;        /* there is no connection, so that the loop may sleep for ever */
};

/* How long a peer has to answer our FIN with its own before the connection is cut. */
enum { REAPER_LINGER_MS = 2000 };

/*
 * Spawns the task on the scheduler of conns, to end what has been silent for idle_ms milliseconds,
 * and what has been stuck for send_ms (0: for ever). conns must outlive the reaper. Cannot fail.
 */
void reaper_start(struct reaper *reaper, struct conns *conns, unsigned idle_ms, unsigned send_ms);

/* Must be called when other code has called conn_shut(): makes it mind those connections, too. */
void reaper_wake(struct reaper *reaper);

/* Must be called when a connection has been opened: makes a parked reaper mind it. */
void reaper_unpark(struct reaper *reaper);

/*
 * Must be called when a connection has been opened: if no other header than that of this connection
 * is awaited, the task minds how long the header takes.
 */
void reaper_expect_header(struct reaper *reaper, const struct conn *conn);

/* Ends the task. The memory is the owner's again when the loop has run once more. */
void reaper_close(struct reaper *reaper);

#endif
