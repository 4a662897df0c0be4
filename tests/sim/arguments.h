/*
 * arguments.h - the command line of uvechod-sim.
 */
#ifndef UVECHOD_SIM_ARGUMENTS_H
#define UVECHOD_SIM_ARGUMENTS_H

#include "histories.h"

#include "base/cli.h"

struct arguments {
    struct histories histories;
    uint64_t seed; /* of the one history that is to be run; 0: histories.from and count say */
    bool traced;
    bool hashed;
    bool no_shrink;
    const char *file; /* of seeds that have found something once; NULL: none */
};

/* The limits of *arguments have the effect that none has until the command line sets them. */
enum cli_outcome arguments_parse(struct arguments *arguments, int argc, char **argv);

/* Prints the options that let the limits have this effect again. */
void arguments_print(const struct histories *histories, unsigned clients);

#endif
