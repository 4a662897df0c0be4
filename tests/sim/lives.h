/*
 * lives.h - the lives of the daemon: its process ends at any moment, and a successor goes on.
 *
 * A process ends in one of two ways. It is killed: before any of its system calls, before any of
 * its stores to the ledger, or between two passes of a loop. Or it executes its program again
 * (SIGUSR2). Its memory is gone then, and with it whatever libuv knew; the sockets and pipes of the
 * kernel and the file of the ledger stay. A successor finds them as a keeper of the descriptors
 * would hand them on, and may be killed before it has taken them over.
 *
 * The threads of a process end at different places. When one of them is killed, or executes the
 * program, each of the others takes some steps more, and ends in the middle of what it does.
 *
 * A daemon that stops is not killed: nobody would start a successor.
 */
#ifndef UVECHOD_SIM_LIVES_H
#define UVECHOD_SIM_LIVES_H

#include <stdbool.h>
#include <stdint.h>

void lives_begin(void);

/*
 * Whether processes end in this history. A successor has less room for what it opens than the first
 * process had, by the descriptors that its connections have taken: where a parent has left some
 * open and the limit is tight, it cannot start. Nor can it where threads cannot.
 */
bool lives_may_end(void);

/* The process may be killed here: what comes next has not happened. */
void life_point(void);

/* Whether the process has ended, and only its other threads take their last steps. */
bool life_ends(void);

/* All threads have taken their last steps. Does not return. */
void life_over(void);

/* The process executes its program, which finds the ledger at this descriptor. Does not return. */
void life_execute(int ledger);

/* After the end: leaves of the process what a successor finds. Returns the ledger's descriptor. */
int lives_succeed(void);

/* How long ago the last process has executed its program; UINT64_MAX if it was killed. */
uint64_t lives_gap_us(void);

/* How many processes have ended so. */
unsigned lives_ended(void);

/* Whether counts were lost, because a process was killed or its threads counted on to the end. */
bool lives_lost_counts(void);
void lives_lose_counts(void);

#endif
