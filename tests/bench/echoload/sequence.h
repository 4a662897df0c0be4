/*
 * sequence.h - what has become of each datagram that a client has sent: answered, lost, answered
 * too late, twice, in another order, or wrongly.
 *
 * Datagrams are numbered from 0. The last ones, as many as the window is wide, are remembered. A
 * datagram without an answer is lost when its time is up, or when it leaves the window. An answer
 * that comes after that is late, and its datagram is no longer counted as lost.
 */
#ifndef ECHOLOAD_SEQUENCE_H
#define ECHOLOAD_SEQUENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Counts of datagrams. As long as wrong answers can be told to which datagram they belong, sent is
 * the sum of answered, lost, late and wrong, and of those that are still waited for.
 */
struct tally {
    uint64_t sent;
    uint64_t answered;   /* rightly and in time */
    uint64_t lost;       /* and never answered */
    uint64_t late;       /* answered rightly, when they had been counted as lost */
    uint64_t duplicates; /* right answers to what had been answered before */
    uint64_t reordered;  /* of those answered, the ones that came after a later one's answer */
    uint64_t wrong;      /* answers that differ in a byte or in their length, or to nothing sent */
};

enum sequence_fate {
    FATE_UNKNOWN, /* before the first datagram with this place in the window */
    FATE_PENDING,
    FATE_ANSWERED,
    FATE_LOST,
};

struct sequence {
    uint64_t next;    /* number of the next datagram */
    uint64_t oldest;  /* none before it is pending */
    uint64_t behind;  /* an answer to a datagram before this one comes out of order */
    uint64_t pending; /* how many are waited for */
    uint64_t *times;  /* when each was sent, by its number modulo the window */
    unsigned char *fates;
    size_t window;
};

/* Begins at 0 with a window that is a power of two. Returns 0 or -ENOMEM. */
int sequence_init(struct sequence *sequence, size_t window);

/* Frees the memory; also of one whose bytes are all zero. */
void sequence_free(struct sequence *sequence);

/* Notes that the next datagram has been sent. The times (ns) must not decrease. */
void sequence_send(struct sequence *sequence, struct tally *tally, uint64_t ns);

/*
 * Notes an answer to the datagram with this number, whose bytes are right or not. Returns whether
 * it is the right answer in time, and the first one; then *sent_ns is the time of sending.
 */
bool sequence_answer(struct sequence *sequence, struct tally *tally, uint64_t number, bool right,
                     uint64_t *sent_ns);

/* Counts those as lost that were sent at this time (ns) or before and are not answered. */
void sequence_expire(struct sequence *sequence, struct tally *tally, uint64_t ns);

#endif
