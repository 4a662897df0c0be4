/*
 * echo_frame.h - what the two ways of an echo share: the frame, and how it passes from one way to
 * the other; and how a successor of the process goes on with it. Only echo.c, echo_splice.c and
 * echo_resume.c include this file.
 */
#ifndef UVECHOD_ECHO_FRAME_H
#define UVECHOD_ECHO_FRAME_H

#include "service/echo.h"

/*
 * The locals of the generator. What a successor must know of the answer stands in the entry of the
 * ledger: which buffer or pipe the answer is in, how long it is, and the goal that out will reach.
 */
struct echo {
    struct conn conn;
    union {
        char *buffer;      /* of the answer; NULL while there is no answer */
        struct pipe *pipe; /* the same while spliced is set */
    };
    uint32_t out;             /* bytes that the kernel has taken in all, modulo 2^32 */
    unsigned short slots;     /* that the next read is offered; 0 means 1 */
    unsigned char hesitation; /* full reads that must pass before more slots are offered */
    bool spliced : 1;         /* the answer is in the pipe */
    bool refused : 1;         /* the kernel does not splice this socket */
    bool inherited : 1;       /* the buffer is the predecessor's: its prefixes may be other ones */
};

/*
 * How answers are framed: a successor must know it to answer what this process has received. In a
 * buffer, the prefix stands before each chunk and before the rest, which may be shorter. Without a
 * prefix, the chunk does not matter. This is the record of service 0, and belongs to
 * LEDGER_VERSION.
 */
struct echo_record {
    uint32_t chunk;
    uint32_t prefix_len;
    char prefix[CHUNKS_PREFIX_MAX];
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
static inline void echo_note_received(struct echo *echo, struct ledger_entry *entry,
                                      size_t received, size_t len)
{
    ledger_answer(entry, (uint32_t)received, (uint32_t)len, echo->out + (uint32_t)len);
    conn_received(&echo->conn, received);
}

/* n is what a send has returned. */
static inline void echo_note_sent(struct echo *echo, ssize_t n)
{
    if (n <= 0)
        return;
    echo->out += (uint32_t)n;
    conn_sent(&echo->conn, (size_t)n);
}

/* Bytes of the answer that are left to be sent. */
static inline uint32_t echo_left(const struct echo *echo, const struct ledger_entry *entry)
{
    return ledger_load(&entry->goal) - echo->out;
}

/* The first step, to which a connection that has been spliced comes back. */
struct yield echo_recv(struct task *task);

/* Gives back the buffer or the pipe of the answer. Does nothing when there is none. */
void echo_release(struct conn *conn);

/* Whether the answer that has been sent shows that the next one should be spliced. */
bool echo_splice_pays(const struct echo *echo, const struct ledger_entry *entry);

/* Takes the place of echo_recv when splicing pays. */
struct yield echo_splice_recv(struct task *task);

/* Sends what the pipe holds. */
struct yield echo_splice_send(struct task *task);

/* Gives back the pipe of a spliced answer, which may be sent or not. */
void echo_splice_release(struct echo *echo);

/* The two functions of the handler by which a successor goes on. */
int64_t echo_answer(const struct ledger_service *predecessor, uint32_t received);
task_step *echo_resume(struct conn *conn, uint32_t left, bool ready);

/* Gives back the predecessor's buffer. */
void echo_resume_release(struct echo *echo);

#endif
