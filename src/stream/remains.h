/*
 * remains.h - what is left to be done on a connection whose process has ended: the rule.
 *
 * The entry of the ledger says what the process has noted, and the kernel's counts say what it has
 * done. The process may have ended between any two of its stores and calls (ledger.h), and the
 * difference shows where. The rule is a function of these numbers alone, so that the simulation can
 * apply it after each store.
 */
#ifndef UVECHOD_REMAINS_H
#define UVECHOD_REMAINS_H

#include "stream/ledger.h"

#include <stdbool.h>
#include <stdint.h>

/* What the kernel knows of a connection; modulo 2^32, as in the entry. */
struct remains_counts {
    bool known;     /* whether in and out are: nobody counts the bytes of a Unix socket */
    uint32_t in;    /* bytes that have been received */
    uint32_t out;   /* bytes that have been sent, whether the peer has them or not */
    uint32_t piped; /* bytes in the pipe that the entry names; else 0 */
};

/* At most one of the two is not 0. */
struct remains {
    uint32_t unanswered; /* bytes that were received, and whose answer has not been noted: nothing
                            of that answer has been sent */
    uint32_t left;       /* bytes of the answer that have not been sent: its last ones */
};

/*
 * Finds out what is left. Of a connection whose counts are not known, what is left is what its pipe
 * holds, received or not. Returns 0; -EOPNOTSUPP if the entry names a buffer, of which the counts
 * alone could tell what it holds; or -EPROTO if the entry and the counts contradict each other.
 * remains is only set when 0 is returned.
 */
int remains_find(const struct ledger_state *state, const struct remains_counts *counts,
                 struct remains *remains);

#endif
