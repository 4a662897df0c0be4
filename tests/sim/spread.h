/*
 * spread.h - which worker gets which connection. workers.h promises that a connection goes to the
 * worker that has the fewest at that moment. Each function fails the history when that is not so.
 *
 * Worker n runs on fiber n. The starting thread accepts a connection and hands it over before it
 * accepts the next: it serves it itself, or it wakes the loop of another worker.
 */
#ifndef UVECHOD_SIM_SPREAD_H
#define UVECHOD_SIM_SPREAD_H

#include "socket.h"

void spread_begin(void);

/* The starting thread has accepted the connection. */
void spread_accepted(struct socket *socket);

/* The caller's thread wakes the loop of that worker: for the connection accepted last, if any. */
void spread_rung(unsigned worker);

/* The caller's thread serves the connection. */
void spread_served(struct socket *socket);

/* The daemon closes the connection. */
void spread_closed(const struct socket *socket);

#endif
