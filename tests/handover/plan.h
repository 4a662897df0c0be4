/*
 * plan.h - what a round draws from its seed: the daemon and its clients. And the dice for all that
 * is drawn later, so that the same happens to a daemon when its seed is played again. The moments
 * are others, as the machine has it.
 */
#ifndef UVECHOD_PLAN_H
#define UVECHOD_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dice {
    uint64_t state;
};

/* 0 to count - 1. */
uint64_t dice_below(struct dice *dice, uint64_t count);

/* True once in so many times. */
bool dice_once_in(struct dice *dice, uint64_t times);

/* 0 to most, where small numbers are likely: each power of two comes as often as any other. */
uint64_t dice_skewed(struct dice *dice, uint64_t most);

/* What a client does with its connection. */
enum habit {
    HABIT_IDLE,        /* speaks when the test tells it to */
    HABIT_BULK,        /* sends and receives as much as it can */
    HABIT_PING_PONG,   /* sends a message when the one before has come back */
    HABIT_PIPELINED,   /* sends many small messages ahead */
    HABIT_BYTES,       /* the same, each of one byte */
    HABIT_SLOW,        /* receives a little now and then, and sends as much as it can */
    HABIT_ABSENT,      /* receives nothing until the end of the round */
    HABIT_HALF_CLOSED, /* ends its sending side, receives the rest, and comes again */
    HABIT_CHURN,       /* leaves in one of many ways after a message, and comes again */
    HABITS,
};

const char *habit_name(enum habit habit);

enum { PLAN_CLIENTS_MAX = 6 /* of one habit */ };

struct plan {
    uint64_t seed;
    bool kept;    /* --keep */
    bool proxied; /* every client comes with the header of a proxy */
    bool mailed;  /* there is a client that sends datagrams */
    bool managed; /* there is a service manager, so that the daemon can be restarted */
    size_t chunk;
    char prefix[256];
    unsigned clients[HABITS]; /* how many have this habit */
    unsigned acts;            /* so many things happen to the daemon */
    char options[512];        /* of the daemon */
};

void plan_draw(struct plan *plan, struct dice *dice, uint64_t seed);

/* Prints what was drawn. */
void plan_print(const struct plan *plan);

#endif
