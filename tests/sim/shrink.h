/*
 * shrink.h - from a history that fails to the shortest one that can be found which still fails in
 * the same way: for the same reason, except for the numbers in it.
 */
#ifndef UVECHOD_SIM_SHRINK_H
#define UVECHOD_SIM_SHRINK_H

#include "histories.h"

/*
 * Leaves out kinds of faults, then clients, then faults from some moment on. first is the report of
 * the failure. Sets the limits in *histories. Returns how many histories that took.
 */
unsigned shrink(struct histories *histories, const struct report *first);

#endif
