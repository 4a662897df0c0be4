/*
 * mailbox.h - what one thread hands to another: accepted connections, and orders.
 *
 * The sender appends under a lock. The receiver takes everything at once by exchanging the full
 * list for an empty one, so that both hold the lock for a short time only. When the two lists have
 * grown to the size of a burst, nothing is allocated any more.
 */
#ifndef UVECHOD_MAILBOX_H
#define UVECHOD_MAILBOX_H

#include "stream/conn.h"

#include <stddef.h>
#include <uv.h>

/* What is in a mailbox; all zero is empty. */
struct mail {
    struct accepted *accepted; /* count connections, in the order in which they were put in */
    size_t count;
    size_t room;     /* for how many there is memory */
    unsigned orders; /* a set of bits, which the receiver understands */
    int error;       /* of the last order that gave one; else 0 */
};

struct mailbox {
    uv_mutex_t lock; /* of all below */
    struct mail mail;
};

/* Sets up an empty mailbox. Returns 0 or a negative errno of uv_mutex_init(). */
int mailbox_init(struct mailbox *mailbox);

/* Frees an empty mailbox, which no thread may use any more. */
void mailbox_free(struct mailbox *mailbox);

/*
 * Puts a connection in. Returns 0, or -ENOMEM: its descriptor is still the caller's then. From any
 * thread.
 */
int mailbox_put(struct mailbox *mailbox, const struct accepted *accepted);

/*
 * Adds these orders to those that have not been taken yet. error is the reason, a negative errno; 0
 * leaves the reason of earlier orders as it is. From any thread.
 */
void mailbox_order(struct mailbox *mailbox, unsigned orders, int error);

/*
 * Takes everything out and stores it in *mail, which is all zero before the first call. The mailbox
 * goes on with the memory that *mail had before. In the end the caller frees mail->accepted. From
 * any thread.
 */
void mailbox_take(struct mailbox *mailbox, struct mail *mail);

#endif
