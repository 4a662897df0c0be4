/*
 * scenario.h - one history: how the daemon is configured, which clients come, and what must be true
 * in the end.
 */
#ifndef UVECHOD_SIM_SCENARIO_H
#define UVECHOD_SIM_SCENARIO_H

#include "server/server.h"

#include <stdbool.h>
#include <stdint.h>

/* Enough for a crowd. The shrinker leaves out clients one by one. */
enum { SCENARIO_CLIENTS_MAX = 4096 };

/* What the shrinker and the command line may change of what a seed says. */
struct scenario_limits {
    uint64_t dropped[SCENARIO_CLIENTS_MAX / 64]; /* a set of clients that do not come */
    bool crowd; /* thousands of clients: histories of their own, because they are dear */
};

/*
 * Makes the plan of the seed, between world_begin() and server_run(), and stores the configuration,
 * which is valid until scenario_end(), in *config.
 */
void scenario_begin(uint64_t seed, const struct scenario_limits *limits,
                    struct server_config *config);

/* server_run() has returned rc: fails if the end was not as it must be. */
void scenario_end(int rc);

/* One line of text about the plan, for the trace and the report. */
const char *scenario_text(void);

/* Of all histories so far. */
struct scenario_totals {
    uint64_t connections, bytes, calls;
    uint64_t lives;    /* processes that have ended, and had a successor */
    uint64_t messages; /* receives that have returned bytes */
    uint64_t refusals; /* sends that took less than they were given, and receives without bytes */
};
const struct scenario_totals *scenario_totals(void);

/* How many clients the history has, before any is dropped. */
unsigned scenario_clients(void);

#endif
