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
 * Opens /dev/null as each of the descriptors 0 to 2 that is closed. Otherwise the next socket or
 * libuv's own descriptor would get that number, and be sent our log lines. Must be called before
 * anything is opened. Returns 0, or the negative errno of open(2) if one of them stays closed.
 */
int descriptors_fill_stdio(void);

/*
 * Raises the soft limit of RLIMIT_NOFILE to the hard one (getrlimit(2)). Returns how many
 * descriptors that allows, or a negative errno.
 */
long descriptors_raise(void);

/*
 * Returns a number that is higher than that of every open descriptor: the next one, or the limit
 * where /proc does not tell (proc_pid_status(5)); or a negative errno. The process's own table may
 * be much longer than that: looking for the last open one costs a call for 256 numbers of the
 * table.
 */
int descriptors_end(void);

/*
 * Whether DESCRIPTORS_LOOP further descriptors can be had. It makes so many duplicates of fd and
 * closes them again. libuv aborts the process when it lacks a descriptor at its start. Returns 0 or
 * -EMFILE.
 */
int descriptors_probe(int fd);

/*
 * Closes every descriptor above the standard ones that an execve(2) would close, but for one
 * (keep; 0: none). So what another process has left in a shared table is as that execve(2) would
 * have left it. No other process may use the table. Costs a system call for each number up to the
 * highest.
 */
void descriptors_close_marked(int keep);

#endif
