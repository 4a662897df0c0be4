/*
 * echo_frame.h - what the two ways of an echo share: the frame, and how it passes from one way to
 * the other. Only echo.c and echo_splice.c include this file.
 */
#ifndef UVECHOD_ECHO_FRAME_H
#define UVECHOD_ECHO_FRAME_H

#include "service/echo.h"

/* The locals of the generator. */
struct echo {
    struct conn conn;
    union {
        char *buffer;      /* of the answer; NULL while there is no answer */
        struct pipe *pipe; /* the same while spliced is set */
    };
    unsigned len;             /* bytes of the answer */
    unsigned sent;            /* bytes of the answer that the kernel has taken */
    unsigned short slots;     /* that the next read is offered; 0 means 1 */
    unsigned char hesitation; /* full reads that must pass before more slots are offered */
    bool spliced;             /* the answer is in the pipe */
    bool refused;             /* the kernel does not splice this socket */
};

static inline struct echo *echo_of(struct task *task)
{
    return container_of(container_of(task, struct conn, task), struct echo, conn);
}

/* What all echoes of the loop share. */
static inline struct echo_state *echo_state_of(const struct echo *echo)
{
    return conn_state(&echo->conn);
}

/* Bytes have been received. Their answer has len bytes, of which none has been sent. */
static inline void echo_note_received(struct echo *echo, size_t received, size_t len)
{
    conn_received(&echo->conn, received);
    echo->len = (unsigned)len;
    echo->sent = 0;
}

/* n is what a send has returned. Returns true when a part of the answer is left to be sent. */
static inline bool echo_note_sent(struct echo *echo, ssize_t n)
{
    if (n > 0) {
        echo->sent += (unsigned)n;
        conn_sent(&echo->conn, (size_t)n);
    }
    return echo->sent < echo->len;
}

/* The first step, to which a connection that has been spliced comes back. */
struct yield echo_recv(struct task *task);

/* Gives back the buffer or the pipe of the answer. Does nothing when there is none. */
void echo_release(struct conn *conn);

/* Whether the answer that has been sent shows that the next one should be spliced. */
bool echo_splice_pays(const struct echo *echo);

/* Takes the place of echo_recv when splicing pays. */
struct yield echo_splice_recv(struct task *task);

/* Gives back the pipe of a spliced answer, which may be sent or not. */
void echo_splice_release(struct echo *echo);

#endif
