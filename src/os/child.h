/*
 * child.h - a child process that shares the descriptors of this one, so that they outlive it.
 *
 * The child is made as by fork(2), but there is one table of descriptors for both (CLONE_FILES in
 * clone(2)). What the child opens is open here, under the same number, and stays open when the
 * child ends, whatever has ended it. Both sides pay: the kernel counts each use of a descriptor
 * that several processes share.
 *
 * This process only waits for its child and for signals meanwhile. All signals are blocked here
 * while child_wait() does not run, so that none is lost between two children. The signals that stop
 * and continue a job of a shell are not blocked, and act on this process alone.
 */
#ifndef UVECHOD_CHILD_H
#define UVECHOD_CHILD_H

#include <signal.h>
#include <stdint.h>
#include <sys/types.h>

struct child {
    sigset_t mask;    /* what this process has blocked before, and what a child has blocked */
    sigset_t awaited; /* by child_wait() */
    pid_t pid;        /* of the last child */
    int code;         /* set when the child has ended: its exit code, or -1 */
    int signum;       /* the same: the signal that has ended it, or 0 */
};

/* What child_wait() returns if no signal has come. */
enum { CHILD_ENDED = 0, CHILD_LATE = -1 };

/*
 * Blocks the signals, and gives SIGCHLD its default action. Cannot fail. child_release() gives this
 * process its blocked signals back, and child_prepare() may follow again.
 */
void child_prepare(struct child *child);
void child_release(const struct child *child);

/*
 * Makes a child, in a process group of its own, so that a terminal's signals reach this process
 * alone. SIGTERM is sent to the child when this process ends. If the service manager has named this
 * process in LISTEN_PID or WATCHDOG_PID, the child has its own number there (sd_listen_fds(3),
 * sd_watchdog_enabled(3)). No other thread may run, and child_prepare() must have been called.
 * Returns 0 in the child, the child's number here, or a negative errno of clone(2).
 */
pid_t child_make(struct child *child);

/*
 * Waits until the child has ended, a signal has come for it, or so many milliseconds have passed
 * (0: waits for ever). Returns CHILD_ENDED, CHILD_LATE, or the signal: one of signals_handled
 * (signals.h) or SIGABRT. A SIGHUP that this process ignores does not come. If the child has ended
 * and a signal has come, the end is returned, and the signal is left for the next call.
 */
int child_wait(struct child *child, unsigned ms);

/* Sends the child a signal. It must not have been seen to end. */
void child_signal(const struct child *child, int signum);

#endif
