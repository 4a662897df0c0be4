/*
 * load.h - a whole run: connects, warms up, measures, lets everything be answered, ends.
 */
#ifndef ECHOLOAD_LOAD_H
#define ECHOLOAD_LOAD_H

#include "echoload/args.h"
#include "echoload/histogram.h"

#include <stdbool.h>
#include <stdint.h>

/* What was measured, between the end of the warm-up and the end of --duration or --count. */
struct load_result {
    double seconds;
    uint64_t messages; /* churn: connections */
    uint64_t bytes;    /* received, without prefixes: as many were sent */
    double cpu;        /* of echoload, seconds */
    double server_cpu; /* of --pid, and how it is divided */
    double server_user;
    double server_system;
    uint64_t connects; /* before the measurement */
    double connect_seconds;
    struct histogram latencies; /* nanoseconds */
};

/* Returns whether all went well; if not, one line on stderr has said what did not. */
bool load_run(const struct args *args, struct load_result *result);

#endif
