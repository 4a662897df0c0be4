/*
 * load.h - a whole run: connect, warm up, measure, wait for the last answers, end.
 */
#ifndef ECHOLOAD_LOAD_H
#define ECHOLOAD_LOAD_H

#include "echoload/args.h"
#include "echoload/histogram.h"
#include "echoload/sequence.h"

#include <stdbool.h>
#include <stdint.h>

/* What was measured, between the end of the warm-up and the end of --duration or --count. */
struct load_result {
    double seconds;
    uint64_t messages; /* churn: connections */
    uint64_t bytes;    /* received, without prefixes; the same number was sent */
    double cpu;        /* of echoload, seconds */
    double server_cpu; /* of --pid, seconds; the next two are its parts */
    double server_user;
    double server_system;
    uint64_t connects; /* before the measurement */
    double connect_seconds;
    struct tally tally;         /* of datagrams, over the whole run with its warm-up */
    struct histogram latencies; /* nanoseconds */
};

/* Returns whether all went well; otherwise one line on stderr says what failed. */
bool load_run(const struct args *args, struct load_result *result);

#endif
