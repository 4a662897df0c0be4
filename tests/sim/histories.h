/*
 * histories.h - runs the histories of a row of seeds, in a child process, because a failure ends
 * the process in which it happens. What is known of them comes back in a struct report.
 */
#ifndef UVECHOD_SIM_HISTORIES_H
#define UVECHOD_SIM_HISTORIES_H

#include "scenario.h"
#include "world.h"

#include <stdbool.h>
#include <stdint.h>

struct histories {
    uint64_t from; /* the first seed */
    uint64_t count;
    uint64_t seconds;  /* of real time, after which no further history begins; 0: no end */
    unsigned patience; /* seconds of the processor's time that one history may take */
    struct world_limits world;
    struct scenario_limits scenario;
    enum world_telling telling;
    bool silent; /* what crashes may not write to standard error */
};

enum { REPORT_TEXT = 600 };

struct report {
    bool failed;
    uint64_t seed;            /* the last one, which has failed */
    char reason[REPORT_TEXT]; /* of the failure */
    char plan[REPORT_TEXT];   /* of the history that failed */
    unsigned clients;         /* of that history */
    uint64_t faults;          /* which occurred in that history */
    uint32_t kinds;           /* of faults, which that history had */
    uint64_t histories;       /* that have come to their end */
    uint64_t hash;            /* of all their lines */
    uint64_t passes, arms, lasted_us;
    struct scenario_totals totals;
};

/* Runs them until one fails. Returns the report, which is valid until the next call. */
const struct report *histories_run(const struct histories *histories);

#endif
