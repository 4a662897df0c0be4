/*
 * pace.h - how many connections are accepted in a second: a bucket of tokens.
 *
 * Each connection takes a token, and so many come back in a second as may be accepted. The bucket
 * holds the tokens of one second, so a client that comes after a pause is not delayed. Without a
 * token the listeners park, and connections wait in their backlogs: they are delayed, not refused.
 * (HAProxy's maxconnrate does the same.) A client that is refused would come again at once, and
 * refusing costs an accept as well. When a backlog is full, the kernel lets the clients try again.
 *
 * Time is the loop's. A token never comes early, because the loop's time is never ahead.
 */
#ifndef UVECHOD_PACE_H
#define UVECHOD_PACE_H

#include "base/log.h"
#include "stream/listener.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct pace {
    uv_timer_t timer; /* keeps the loop running: a parked listener does not */
    struct acceptor *acceptor;
    struct log *log;
    unsigned rate;       /* tokens a second; 0: no limit, and nothing else here is used */
    uint64_t credit;     /* thousandths of a token */
    uint64_t counted_ms; /* loop time up to which credit has been counted */
    uint64_t told_ms;    /* loop time of the last line in the log, if pauses > 0 */
    uint64_t pauses;     /* how often there was no token */
};

/*
 * Sets up a full bucket on the loop, which calls acceptor_room() when a token comes back. log and
 * acceptor must outlive it. Cannot fail.
 */
void pace_init(struct pace *pace, uv_loop_t *loop, struct acceptor *acceptor, struct log *log,
               unsigned rate);

/*
 * Whether there is a token. If not, acceptor_room() will be called when there is one, and a line
 * is logged, once a second at most.
 */
bool pace_allows(struct pace *pace);

/* Takes a token, if there is one. */
void pace_take(struct pace *pace);

/* No listener will wait for a token any more: the loop need not run for that. */
void pace_stop(struct pace *pace);

/* Closes the timer. The owner may free the memory when the loop has run once more. */
void pace_close(struct pace *pace);

#endif
