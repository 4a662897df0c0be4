/*
 * invariants.h - what must be true at every step; the loop's own hooks stand in kernel.h. Each
 * function fails the history when something is not as it must be.
 */
#ifndef UVECHOD_SIM_INVARIANTS_H
#define UVECHOD_SIM_INVARIANTS_H

#include "socket.h"

#include <stdbool.h>
#include <stdint.h>

void invariants_begin(void);

/* The daemon receives from the socket or sends to it: those told first are served first. */
void invariants_served(struct socket *socket);

/* The daemon is about to close the socket: it must have a reason. */
void invariants_closed(struct socket *socket);

/* Fails if a socket that the daemon closes, or is about to, has no reason to be closed. */
void invariants_find_reason(struct socket *socket);

/* A loop watches the socket from now on: a task is queued for it, and runs in a later turn. */
void invariants_spawned(struct socket *socket);

/* A connection is accepted: not more of them in a second than the config says. */
void invariants_accepted(void);

/* Whether a timer of any loop is due within 100 ms, as a task that tries again needs. */
bool invariants_retries(void);

/* Whether a timer of any loop will be due within so many milliseconds. */
bool invariants_timer_within(uint64_t ms);

/* ---- deadlines.c ---- */

/* The daemon looks whether the socket is idle: it asks whether the socket is ready, and more. */
void deadlines_looked(struct socket *socket, bool ready);

/* The daemon is about to end its stream: for idleness, or because the drain is over. */
void deadlines_shut(struct socket *socket);

/* The process has ended, and the socket is open. */
void deadlines_outlived(struct socket *socket);

/* The daemon is about to reset a connection whose client takes no byte. */
void deadlines_stuck(struct socket *socket);

/* The daemon is about to close a socket whose stream it has ended, and whose peer has not. */
void deadlines_lingered(struct socket *socket);

/* All loops are about to sleep: nothing is overdue. */
void deadlines_before_sleep(void);

/* How long ago that was, by the time in which the daemon has run without a break. */
uint64_t deadlines_passed(uint64_t since_us);

/* The signal to stop was taken; the second one. When that was, or 0. */
void deadlines_stopped(void);
uint64_t deadlines_stop_us(void);
bool deadlines_stopped_twice(void);
void deadlines_begin(void);

#endif
