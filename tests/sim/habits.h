/*
 * habits.h - what a client does: how much, how fast, and how it ends.
 */
#ifndef UVECHOD_SIM_HABITS_H
#define UVECHOD_SIM_HABITS_H

#include "world.h"

#include <stdbool.h>
#include <stdint.h>

enum client_ending {
    ENDS_FIN,   /* ends its stream, and reads on */
    ENDS_CLOSE, /* closes its socket, whatever is unread */
    ENDS_RESET,
    ENDS_NEVER,
};

struct habits {
    uint64_t start_us;
    uint64_t total;   /* bytes that it sends */
    uint64_t message; /* bytes of a write, at most or exactly */
    bool exact;       /* each write has so many */
    uint64_t gap_us;  /* between writes, on average */
    bool steady;      /* the gap is exact */
    bool pingpong;    /* waits for each answer */
    bool reads;
    uint64_t take;       /* bytes of a read, at most */
    uint64_t take_us;    /* between reads, on average */
    uint64_t network_us; /* on the way */
    uint32_t receive_room, send_room, window;
    enum client_ending ending;
    bool answers_end; /* ends its stream when the daemon does */
    bool urgent;      /* sends urgent bytes now and then */
    bool keeps_unread;
    int unspliceable;
    unsigned returns; /* how many times it connects again */
};

/* Draws the habits of the client with this number. */
void habits_draw(struct habits *habits, unsigned number, struct chance *chance);

#endif
