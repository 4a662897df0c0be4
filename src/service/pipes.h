/*
 * pipes.h - the pipes through which bulk data passes from socket to socket without being copied.
 *
 * splice(2) moves pages from a socket to a pipe and from a pipe to a socket, so that a verbatim
 * echo need not touch its bytes. A pipe is lent for one answer and given back when the answer has
 * been sent. A loop whose clients all read needs only one pipe. A client that does not read keeps
 * its pipe, so there are a few; a connection for which no pipe is left copies its bytes.
 *
 * The pipes stay open when the process executes another program, and the ledger says which
 * descriptors they are: a successor finds the answers that stand in them.
 */
#ifndef UVECHOD_PIPES_H
#define UVECHOD_PIPES_H

#include "stream/ledger.h"

enum {
    PIPES_BYTES = 524288, /* that a pipe is asked to hold; no spliced answer is longer */
    PIPES_MAX = 8,        /* of a loop; each takes two descriptors */
};

/* A pipe is empty when it is not lent. */
struct pipe {
    struct pipe *next; /* in the list of spare pipes */
    int in;            /* write end */
    int out;           /* read end */
};

struct pipes {
    struct pipe *spare; /* the pipes that are not lent */
    unsigned made;      /* how many pipes there are, lent or not */
    struct ledger *ledger;
};

/* Makes an empty pool: no pipe is made before it is needed. The ledger must outlive the pool. */
void pipes_init(struct pipes *pipes, struct ledger *ledger);

/* Closes the pipes. Every pipe must have been given back. */
void pipes_free(struct pipes *pipes);

/*
 * Lends an empty pipe. Returns NULL when all PIPES_MAX are lent, when there is no memory, and when
 * net_pipe() or ledger_keep() fails.
 */
struct pipe *pipes_get(struct pipes *pipes);

/*
 * Takes over the pipe of a predecessor, whose ends the ledger knows, into the pool. There may be
 * more than PIPES_MAX then. Returns the pipe, which is lent, or NULL without memory: the ends are
 * still the caller's then.
 */
struct pipe *pipes_inherit(struct pipes *pipes, int out, int in);

/* Takes back a pipe, which must be empty. */
void pipes_put(struct pipes *pipes, struct pipe *pipe);

/* Takes back a pipe that still holds bytes, and closes it: no other client must get them. */
void pipes_drop(struct pipes *pipes, struct pipe *pipe);

#endif
