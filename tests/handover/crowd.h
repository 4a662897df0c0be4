/*
 * crowd.h - clients of many habits at once, all of whose answers are checked to the byte.
 *
 * A connection that the daemon resets, ends too early or answers wrongly fails the test, and so do
 * answers that do not come.
 */
#ifndef UVECHOD_CROWD_H
#define UVECHOD_CROWD_H

#include "e2e/daemon.h"
#include "e2e/streams.h"
#include "handover/plan.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CROWD_MAX = HABITS * PLAN_CLIENTS_MAX };

/* How a client of HABIT_CHURN leaves. */
enum leave {
    LEAVE_POLITELY, /* ends its sending side, and closes when the daemon has ended the other */
    LEAVE_ANSWERED, /* closes when all has come back */
    LEAVE_RESET,    /* the same with a reset, or at any moment before */
    LEAVE_AT_ONCE,  /* closes when all is sent */
    LEAVES,
};

struct member {
    enum habit habit;
    enum leave leave;
    uint64_t wanted;    /* how much it sends */
    const char *header; /* the rest of what it must send first */
    size_t header_left;
    struct stream stream;
};

struct crowd {
    const struct daemon *daemon;
    const struct plan *plan;
    struct dice *dice;
    struct member members[CROWD_MAX];
    size_t count;
    bool leaves;          /* nobody comes again, and everybody receives */
    uint64_t connections; /* so far */
    uint64_t bytes;       /* that have come back, without the prefixes, and were right */
};

void crowd_init(struct crowd *crowd, const struct daemon *daemon, const struct plan *plan,
                struct dice *dice);

/* So many clients come. The daemon must listen. */
void crowd_join(struct crowd *crowd, enum habit habit, unsigned count);

/* Waits at most so long until somebody can do something, and everybody does so. */
void crowd_turn(struct crowd *crowd, int ms);

/* The idle ones send something, and receive the answer. */
void crowd_ping(struct crowd *crowd);

/* Goes on until everybody has received something. */
void crowd_meet(struct crowd *crowd);

/* All clients but the idle ones send no more, receive what is to come and go. With idle ones, all.
 */
void crowd_leave(struct crowd *crowd, bool idle);

#endif
