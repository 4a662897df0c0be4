/*
 * fibers.h - the threads of the simulated process. Each is a fiber: it runs until it waits, and
 * then chance says which of those that may go on runs next. So two threads never run at once, and
 * the same seed lets them run in the same order. In some histories a thread mostly goes on until it
 * sleeps, as if the others had no processor: what it does in a row then meets them all at once.
 */
#ifndef UVECHOD_SIM_FIBERS_H
#define UVECHOD_SIM_FIBERS_H

#include "world.h"

#include <stdbool.h>

/* As many as a history can need: one for each worker. */
enum { FIBERS_MAX = 16 };

/* Whether what a fiber waits for is there. Must have no effect that another fiber could see. */
typedef bool fiber_may_go(void *arg);

/* Where no fiber may go on, stuck() is called, again and again: it lets the time pass, or fails. */
void fibers_begin(struct chance chance, void (*stuck)(void));

/*
 * Runs entry(arg) as fiber 0, and whatever it starts, until it returns or fibers_drop() is called.
 * Returns whether it has returned. It may be called again then: no fiber of before runs any more.
 */
bool fibers_run(void (*entry)(void *arg), void *arg);

/* From a fiber: the process ends here and now, and with it all fibers, wherever they are. */
void fibers_drop(void) __attribute__((noreturn));

/* Starts a fiber; it runs when others wait. Returns its number, or 0 if there are too many. */
unsigned fiber_spawn(void (*entry)(void *arg), void *arg);

/* Lets others run. The caller goes on when may_go(arg) is true; at any time if may_go is NULL. */
void fiber_wait(fiber_may_go *may_go, void *arg);

/* The number of the caller; of each fiber in the order in which they were started. */
unsigned fiber_number(void);

/* Waits until the fiber has ended. */
void fiber_join(unsigned number);

/* Fails if a fiber has not ended. */
void fibers_end(void);

#endif
