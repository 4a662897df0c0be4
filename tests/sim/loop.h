/*
 * loop.h - what the rest of the simulation asks the simulated libuv.
 *
 * loop.c is a second implementation of those functions of <uv.h> that src/ calls, with the types of
 * the real header, so that the libraries of src/ are linked unchanged. Each worker is a fiber
 * (fibers.h): a thread that runs only while no other does, and gives way only at the places where
 * it matters: a lock, a message to another loop, a pass of a loop, a sleep.
 */
#ifndef UVECHOD_SIM_LOOP_H
#define UVECHOD_SIM_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

/* Whether a poll handle of any loop is started for all of these events of fd. */
bool loop_is_armed(int fd, int events);

/* Whether an active timer of the loop will be due within so many milliseconds. */
bool loop_has_timer_within(const uv_loop_t *loop, uint64_t ms);

/* The simulation is about to free bytes at memory: fails if a handle that is not closed is in it.
 */
void loop_check_free(const void *memory, size_t bytes);

/* How many passes all loops have made, and how many times handles were started and stopped. */
uint64_t loop_passes(void);
uint64_t loop_arms(void);

/* How many errors (POLLERR) have been told. libuv has stopped the handle then, each time. */
uint64_t loop_errors(void);

/* Before and after one history. loops_end() fails if a loop or a handle is left. */
void loops_begin(void);
void loops_end(void);

/* The process ends, and all its loops with it, as they are. */
void loops_drop(void);

#endif
