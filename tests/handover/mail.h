/*
 * mail.h - a client that sends datagrams, each of them like no other, and checks what comes back.
 *
 * A datagram may be lost where the daemon ends. An answer that is wrong, that comes twice or that
 * nobody has asked for fails the test, and so does a socket that is not there for a moment.
 */
#ifndef UVECHOD_MAIL_H
#define UVECHOD_MAIL_H

#include "e2e/daemon.h"
#include "handover/plan.h"

#include <stdbool.h>
#include <stdint.h>

enum { MAIL_NUMBERS = 1 << 23 /* more than a round sends */ };

struct mail {
    int fd; /* -1: nothing is sent */
    const struct plan *plan;
    struct dice *dice;
    uint32_t sent;   /* datagrams, whose numbers are 1 to this one */
    uint32_t newest; /* of those that were answered */
    uint32_t mark;   /* what newest must exceed for mail_is_answered() */
    uint64_t answers;
    uint64_t seen[MAIL_NUMBERS / 64 + 1]; /* the numbers whose answers have come */
};

/* The daemon must answer datagrams. Before mail_open() and after mail_close() nothing is sent. */
void mail_init(struct mail *mail, const struct plan *plan, struct dice *dice);
void mail_open(struct mail *mail, const struct daemon *daemon);
void mail_close(struct mail *mail);

/* Sends a few datagrams, and receives all answers that are there. Does not wait. */
void mail_turn(struct mail *mail);

/* From now on mail_is_answered() tells whether one that is sent later has been answered. */
void mail_ask(struct mail *mail);
bool mail_is_answered(const struct mail *mail);

#endif
