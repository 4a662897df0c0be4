/*
 * mailbox.h - what one thread hands to another: accepted connections, and orders.
 *
 * The sender appends under a lock, the receiver takes everything at once by swapping the full list
 * for an empty one: both hold the lock for a moment only, whatever there is, and once the lists
 * have grown to the size of a burst nothing is allocated any more.
 */
#ifndef UVECHOD_MAILBOX_H
#define UVECHOD_MAILBOX_H

#include "stream/conn.h"

#include <stddef.h>
#include <uv.h>

/* What is in a mailbox; all zero is empty. */
struct mail {
    struct accepted *accepted; /* connections, count of them, in the order of their coming */
    size_t count;
    size_t room;     /* for how many there is memory */
    unsigned orders; /* a set of bits, the receiver's business */
    int error;       /* of the last order that came with one */
};

struct mailbox {
    uv_mutex_t lock; /* of all below */
    struct mail mail;
};

/* Sets up an empty mailbox. Returns 0 or a negative errno of uv_mutex_init(). */
int mailbox_init(struct mailbox *mailbox);

/* Nobody may use it any more, and no connection may be left in it. */
void mailbox_free(struct mailbox *mailbox);

/*
 * Puts a connection in. Returns 0, or -ENOMEM: its descriptor is still the caller's then. From any
 * thread.
 */
int mailbox_put(struct mailbox *mailbox, const struct accepted *accepted);

/*
 * Adds these orders to those that have not been taken yet. error: why, or 0 for those that need no
 * reason, which leave that of earlier ones as it is. From any thread.
 */
void mailbox_order(struct mailbox *mailbox, unsigned orders, int error);

/*
 * Takes everything. What mail contained before must have been dealt with: its memory becomes the
 * mailbox's. In the end the caller frees mail->accepted. From any thread.
 */
void mailbox_take(struct mailbox *mailbox, struct mail *mail);

#endif
