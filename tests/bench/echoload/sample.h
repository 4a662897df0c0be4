/*
 * sample.h - how far a run has come at one moment; two of them are a measurement.
 */
#ifndef ECHOLOAD_SAMPLE_H
#define ECHOLOAD_SAMPLE_H

#include "echoload/cpu.h"
#include "echoload/load.h"

#include <stdint.h>
#include <sys/types.h>

struct sample {
    uint64_t ns;
    uint64_t messages;
    uint64_t bytes;
    double cpu;
    struct cpu server;
};

/* Takes the time, and the CPU time of this process and of pid unless it is 0. */
void sample_take(struct sample *sample, pid_t pid, uint64_t messages, uint64_t bytes);

/* Stores what has happened from begin to end. */
void sample_result(const struct sample *begin, const struct sample *end,
                   struct load_result *result);

#endif
