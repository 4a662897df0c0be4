/*
 * pipes.h - the pipes through which bulk data passes from socket to socket without being copied.
 *
 * splice(2) moves pages from a socket to a pipe and from a pipe to a socket, so that a verbatim
 * echo need not touch its bytes. A pipe is borrowed for one answer and given back when that has
 * been sent; a loop that only serves clients that read needs one of them.
 */
#ifndef UVECHOD_PIPES_H
#define UVECHOD_PIPES_H

enum {
    PIPES_BYTES = 524288, /* that a pipe is asked to hold, and so the most that one answer is */
    PIPES_MAX = 8,        /* two descriptors each; who finds none left copies */
};

/* One of the pipes; empty whenever it is not lent. */
struct pipe {
    struct pipe *next; /* among the spare ones */
    int in;            /* write end */
    int out;           /* read end */
};

struct pipes {
    struct pipe *spare; /* not lent */
    unsigned made;      /* in all */
};

void pipes_init(struct pipes *pipes);

/* Closes them; every one must have been given back. */
void pipes_free(struct pipes *pipes);

/* An empty pipe, or NULL when all are lent or the machine has no more to give. */
struct pipe *pipes_get(struct pipes *pipes);

/* Gives back a pipe that is empty again. */
void pipes_put(struct pipes *pipes, struct pipe *pipe);

/* Gives back a pipe that has bytes left, which are lost: they are not to reach somebody else. */
void pipes_drop(struct pipes *pipes, struct pipe *pipe);

#endif
