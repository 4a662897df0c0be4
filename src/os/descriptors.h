/*
 * descriptors.h - how many file descriptors the process may have, and so how many connections.
 */
#ifndef UVECHOD_DESCRIPTORS_H
#define UVECHOD_DESCRIPTORS_H

#include <stddef.h>

enum {
    DESCRIPTORS_RESERVE = 32, /* what the process may need beside its connections and listeners */
    DESCRIPTORS_LOOP = 16,    /* what is enough for libuv to start a loop and its signals */
};

/*
 * Opens /dev/null as those of the descriptors 0 to 2 that are closed: the next socket would get
 * such a number, and its client our log lines. To be called before anything is opened.
 */
void descriptors_fill_stdio(void);

/*
 * Raises RLIMIT_NOFILE's soft limit to the hard one (getrlimit(2)). Returns how many descriptors
 * that allows, or a negative errno.
 */
long descriptors_raise(void);

/*
 * Whether DESCRIPTORS_LOOP of them are still to be had, found by making and closing duplicates of
 * fd: libuv aborts the process when it lacks one at its start. Returns 0 or -EMFILE.
 */
int descriptors_probe(int fd);

#endif
