/*
 * daemon.h - a running daemon as its parent sees it: its log, signals, exit code, and its figures
 * in /proc.
 */
#ifndef UVECHOD_DAEMON_H
#define UVECHOD_DAEMON_H

#include "launch.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { DAEMON_THREADS_MAX = 66 /* more than a daemon may have */ };

struct daemon {
    struct daemon *second; /* for tests that run two daemons at once; the second one has NULL */
    pid_t pid;             /* 0 when none runs */
    int pidfd;
    int err;   /* our end of its stderr; -1 when there is none, or it has ended */
    char *log; /* what has been read from err so far, a string; NULL before */
    size_t log_len;
    size_t log_seen; /* how much of it daemon_wait_line() has passed */
    char line[1024];
    uint16_t port; /* the same one on all addresses */
};

/* All zero but for the descriptors. */
void daemon_init(struct daemon *daemon);

/* Closes and frees what a daemon that has ended has left, so that another can be started. */
void daemon_forget(struct daemon *daemon);

/* Starts the daemon and waits for nothing. The one before must have ended. */
void daemon_launch(struct daemon *daemon, const struct launch *launch);

/*
 * Starts the daemon and waits until it logs where it listens: once for each --bind option or
 * passed socket, all of which must listen. Unix sockets have no port.
 */
void daemon_start(struct daemon *daemon, const char *options);
void daemon_start_as(struct daemon *daemon, const struct launch *launch);

/* As above for a daemon that logs nothing: chooses the port, and waits until it can be reached. */
void daemon_start_mute(struct daemon *daemon, struct launch launch);

/* Sends a signal. */
void daemon_signal(const struct daemon *daemon, int signum);

/*
 * Waits until the daemon has ended. Returns its exit code, or fails the test if a signal has ended
 * it.
 */
int daemon_wait_exit(struct daemon *daemon);

/* Both of the above. */
int daemon_stop(struct daemon *daemon, int signum);

/* Ends the daemon by SIGKILL. */
void daemon_kill(struct daemon *daemon);

/* Ends a daemon that still runs, as an administrator would. Returns whether it ended with 0. */
bool daemon_finish(struct daemon *daemon);

/* Stops the daemon by SIGSTOP, and waits until it stands still. SIGCONT makes it go on. */
void daemon_freeze(const struct daemon *daemon);

/* Waits for the next line that contains text, and returns it. Lines before it are passed over. */
const char *daemon_wait_line(struct daemon *daemon, const char *text);

/* The same for a line that ends with a TCP address, whose port becomes the daemon's. */
const char *daemon_wait_port(struct daemon *daemon, const char *text);

/* Returns the next line that has been logged by now, or NULL. */
const char *daemon_try_line(struct daemon *daemon);

/* How often text is in what has been logged by now, read or not. */
unsigned daemon_count(struct daemon *daemon, const char *text);

/*
 * The child that serves, of a daemon with a keeper (--keep). Between two children there is none for
 * a moment: daemon_find_child() returns 0 then, and daemon_child() waits. A child that has ended
 * does not count.
 */
pid_t daemon_find_child(const struct daemon *daemon);
pid_t daemon_child(const struct daemon *daemon);

/*
 * Asks for the line of statistics, which must contain this part. With several workers the daemon
 * may be asked again, as a thread may have answered a client and not counted the answer yet.
 */
void daemon_expect_stats(struct daemon *daemon, unsigned workers, const char *stats);

/* The memory that is its own and resident, and how many descriptors it has open. */
long daemon_memory_kb(const struct daemon *daemon);
long daemon_fds(const struct daemon *daemon);

/*
 * For comparing one generation with the next: whether libuv gets an io_uring for a loop depends on
 * the memory that other processes of the user have locked just then (RLIMIT_MEMLOCK).
 */
long daemon_fds_but_uring(const struct daemon *daemon);

/* What one of its threads has done so far. */
struct daemon_thread {
    long switches; /* how often it went to sleep or was preempted */
    long cpu_ms;
};

/* Reads each of the daemon's own threads, the first one first. Returns how many there are. */
unsigned daemon_threads(const struct daemon *daemon,
                        struct daemon_thread threads[DAEMON_THREADS_MAX]);

/* The sums over all of them. */
struct daemon_thread daemon_threads_sum(const struct daemon *daemon);

/* Waits until a figure is at most this. */
void daemon_wait_figure(const struct daemon *daemon, long (*figure)(const struct daemon *),
                        long most);

/* Waits until the daemon sleeps, and then for a second in which it must not wake up. */
void daemon_assert_asleep(const struct daemon *daemon);

#endif
