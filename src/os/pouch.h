/*
 * pouch.h - descriptors that outlive the process, in sockets that somebody else keeps.
 *
 * A descriptor that is sent over a Unix socket (SCM_RIGHTS, unix(7)) stays open while it is on its
 * way. So many descriptors are packed into a few pairs of sockets, and whoever keeps one end of
 * each pair keeps them all: a service manager, say, which takes long for each descriptor that it
 * stores. Another process takes them out there and puts each at the number that it had.
 *
 *     | magic, label, how many | the numbers, in ascending order |   + the descriptors: a message
 *
 * The kernel gives descriptors the lowest free numbers. So of a message whose numbers ascend, none
 * comes out above its own number, provided that the process has nothing open at these numbers. Then
 * each finds its number free if the highest is put there first. The label says how far the numbers
 * go before anything is taken out, so that the process can clear them.
 *
 * The kernel allows a user as many descriptors on their way as the sender has by RLIMIT_NOFILE.
 */
#ifndef UVECHOD_POUCH_H
#define UVECHOD_POUCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    POUCH_MESSAGE_MAX = 253, /* descriptors of one message, as the kernel has it (SCM_MAX_FD) */
    POUCH_SOCKETS_MAX = 64,  /* a pair takes about 20,000 descriptors with the kernel's defaults */
};

struct pouch {
    int keep[POUCH_SOCKETS_MAX]; /* the ends that somebody must keep; here until pouch_is_kept() */
    int fill[POUCH_SOCKETS_MAX];
    size_t count; /* of the pairs */
};

/* What each message says of all of them. */
struct pouch_label {
    uint32_t total; /* descriptors that were packed */
    uint32_t end;   /* all numbers are lower; at most INT_MAX */
    uint32_t key;   /* the number of the one descriptor that tells what the others are */
};

/*
 * Packs copies of the descriptors, whose numbers ascend and are 3 or more. The key is one of them.
 * Returns 0, and pouch_close() must be called; or a negative errno, with nothing open: that of
 * socketpair(2) or sendmsg(2), such as -ETOOMANYREFS if the user has too many on their way; or
 * -ENOSPC for more than the pairs take.
 */
int pouch_pack(struct pouch *pouch, const int *fds, size_t count, int key);

/*
 * To be called once when the ends to be kept have been sent away. Closes our copies of them, and
 * returns whether each of them is open elsewhere: if not, its descriptors are closed.
 */
bool pouch_is_kept(struct pouch *pouch);

/* Closes our ends. Whoever keeps the others has the descriptors still. */
void pouch_close(struct pouch *pouch);

/*
 * Looks at the next message of an end that was kept, and leaves it there. Returns 0 with the label,
 * -ENODATA if no message is left, -EPROTO if it is none of ours, or a negative errno of recv(2),
 * such as -ENOTSOCK.
 */
int pouch_look(int keep, struct pouch_label *label);

/*
 * Takes all messages out that have this label, and puts each descriptor at its number, where it
 * outlives the program (execve(2)). One whose number cannot be had, or that comes twice, is closed.
 * Stops at a message that is not ours. Returns how many are at their numbers now. If less than all
 * of an end, *error becomes the first reason, a negative errno: -EMFILE if the kernel had no room
 * for them all, -EBUSY if a number was not free, -EPROTO for what is not ours, or that of
 * recvmsg(2) or fcntl(2). Otherwise *error stays as it is.
 */
size_t pouch_take(int keep, const struct pouch_label *label, int *error);

#endif
