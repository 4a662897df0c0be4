/*
 * harness.h - starts the real daemon, watches it from outside, and talks to it as clients do.
 *
 * A test is a function that is given a struct daemon, in which it starts the one it needs; the
 * harness ends that daemon after the test, whatever came of it, and a daemon that does not end
 * with 0 then (a finding of a sanitizer, say) fails the test. Nothing here sleeps: every wait is
 * for an event, with a deadline far beyond what a slow machine takes. What fails, fails the test.
 */
#ifndef UVECHOD_HARNESS_H
#define UVECHOD_HARNESS_H

#include "check.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/types.h>

#ifdef __has_feature /* clang's way of saying it */
#if __has_feature(address_sanitizer)
#define HARNESS_ASAN 1
#endif
#endif
#ifdef __SANITIZE_ADDRESS__ /* gcc's */
#define HARNESS_ASAN 1
#endif
#ifndef HARNESS_ASAN
#define HARNESS_ASAN 0
#endif
#ifdef __has_feature
#if __has_feature(thread_sanitizer)
#define HARNESS_TSAN 1
#endif
#endif
#ifdef __SANITIZE_THREAD__
#define HARNESS_TSAN 1
#endif
#ifndef HARNESS_TSAN
#define HARNESS_TSAN 0
#endif

enum {
    HARNESS_DEADLINE_MS = 60000, /* for what should happen at once */
    HARNESS_WATCHDOG_S = 280,    /* for one executable; under the timeout that ctest is given */
    HARNESS_LOCKED_MS = 300,     /* a socket that takes nothing for so long is blocked */
    HARNESS_THREADS_MAX = 66,    /* of a daemon, with room for more than there may be */
};

/* ---- tests ---- */

struct daemon;

/* What cmocka hands around: a test, and the daemon that it starts. */
struct e2e_case {
    void (*run)(struct daemon *daemon);
    struct daemon *daemon;
    bool passed;
};

void harness_body(void **state);
int harness_setup(void **state);
int harness_teardown(void **state);

/* An element of cmocka's array of tests, to be used in main() only. */
#define e2e_test(function)                                                                         \
    {                                                                                              \
#function, harness_body, harness_setup, harness_teardown, &(struct e2e_case)               \
        {                                                                                          \
            .run = (function)                                                                      \
        }                                                                                          \
    }

/* To be called first in main(): a watchdog, and as many descriptors as may be had. */
void harness_init(void);

/* Ends the test as skipped, and says why. */
void harness_skip(const char *why);

/* A text has this part, or is one line. */
void assert_contains(const char *text, const char *part);
void assert_one_line(const char *text);

/*
 * How many workers the daemons of this run have unless a test says otherwise: 1, or
 * UVECHOD_TEST_WORKERS of the environment. Whatever limit of descriptors a test gives a daemon
 * (nofile) is raised by what the further workers need.
 */
unsigned harness_workers(void);

/* Whether memory figures mean anything; says so when they do not. */
bool harness_may_weigh(void);

/*
 * The path of a file in a directory of ours, which goes with all that is in it when we end. Valid
 * until the eighth call after.
 */
const char *harness_path(const char *name);

/*
 * Makes the program speak a language ("de_DE"), by LC_ALL and, where the machine has not installed
 * it, a locale of our own. Skips the test where neither is possible. For a launch's environment:
 * returns two strings and NULL, which are overwritten by the next call.
 */
const char *const *harness_language(const char *language);

/* Milliseconds on a clock that only goes forward. */
uint64_t harness_now_ms(void);

/* Whether this machine has this numeric address for a socket to be bound to. */
bool harness_has_address(const char *address);

/* A port that was free when asked for. */
uint16_t harness_free_port(void);

/* ---- daemons ---- */

enum stderr_kind { STDERR_PIPE, STDERR_SOCKET, STDERR_TERMINAL, STDERR_FILE, STDERR_CLOSED };

/* How a daemon is started; all zero is the usual way. */
struct launch {
    const char *options; /* separated by single spaces; NULL for none */
    bool own_port;       /* do not put --port=0 in front of the options */
    enum stderr_kind stderr_kind;
    bool stdin_closed;
    bool stdout_closed;
    const char *stdout_path; /* for harness_run() */
    const char *stderr_path; /* for STDERR_FILE, which is not read as the daemon's log */
    bool ignores_hup;        /* as under nohup(1) */
    bool may_not_bind_low;   /* without the right to bind privileged ports */
    rlim_t nofile;           /* RLIMIT_NOFILE, soft and hard; 0: what we have */
    int inherited;           /* descriptors that whoever starts it has forgotten to close */
    const char *program;     /* to be run instead, which starts the daemon itself; in PATH */

    /* What systemd does for a service. */
    const int *fds;           /* passed as 3 and on, described by LISTEN_FDS and LISTEN_PID */
    int fds_count;            /* 0: neither are there */
    const char *fd_names;     /* LISTEN_FDNAMES; NULL: there is none */
    bool journal;             /* its stderr is the journal, says JOURNAL_STREAM */
    const char *const *setup; /* environment: NAME=VALUE..., NULL; overrides all of the above */
};

struct daemon {
    pid_t pid; /* 0 when none runs */
    int pidfd;
    int err;   /* our end of its stderr; -1 when there is none, or it has ended */
    char *log; /* what has been read of it so far, a string */
    size_t log_len;
    size_t log_seen; /* daemon_wait_line() has come so far */
    char line[1024];
    uint16_t port; /* the same one on all addresses */
};

/* Starts it and waits for nothing. */
void daemon_launch(struct daemon *daemon, const struct launch *launch);

/*
 * Starts it and waits until it says where it listens: as often as it has --bind options, or passed
 * sockets, all of which must listen. Unix sockets have no port.
 */
void daemon_start(struct daemon *daemon, const char *options);
void daemon_start_as(struct daemon *daemon, const struct launch *launch);

/* As above for one that will not say so: chooses the port, and waits until it can be reached. */
void daemon_start_mute(struct daemon *daemon, struct launch launch);

/* Sends a signal. */
void daemon_signal(const struct daemon *daemon, int signum);

/* Waits until it has ended. Returns its exit code, or fails if it was killed. */
int daemon_wait_exit(struct daemon *daemon);

/* Both of the above. */
int daemon_stop(struct daemon *daemon, int signum);

/* SIGSTOP, until it stands still. SIGCONT makes it go on. */
void daemon_freeze(const struct daemon *daemon);

/* Waits for the next line that contains text, and returns it. Those before it are passed over. */
const char *daemon_wait_line(struct daemon *daemon, const char *text);

/* How often text is in what has been logged and can be read without waiting. */
unsigned daemon_count(struct daemon *daemon, const char *text);

/*
 * Asks for the line of statistics, which must have this part: at once, or with several workers a
 * little later, as a thread may have answered and not counted yet.
 */
void daemon_expect_stats(struct daemon *daemon, unsigned workers, const char *stats);

/* Statistics of a running daemon. */
long daemon_rss_kb(const struct daemon *daemon);
long daemon_fds(const struct daemon *daemon);

/* What a thread of it has done so far. */
struct daemon_thread {
    long switches; /* how often it went to sleep or was made to */
    long cpu_ms;
};

/* Of each of its own threads, the first one first. Returns how many there are. */
unsigned daemon_threads(const struct daemon *daemon,
                        struct daemon_thread threads[HARNESS_THREADS_MAX]);

/* Of all of them together. */
struct daemon_thread daemon_threads_sum(const struct daemon *daemon);

/* Waits until a figure is no higher than most. */
void daemon_wait_figure(const struct daemon *daemon, long (*figure)(const struct daemon *),
                        long most);

/* Waits until the daemon sleeps, and then for a second in which it must not wake up. */
void daemon_assert_asleep(const struct daemon *daemon);

/* A process that ends by itself. */
struct outcome {
    int status; /* its exit code */
    char out[16384];
    char err[16384];
};

/* Runs the program to its end. The launch's stderr_kind is not looked at. */
void harness_run(struct outcome *outcome, const struct launch *launch);

/*
 * Runs it to an end with this code, after nothing on stdout and one line on stderr, which has both
 * parts. Returns the line, which lasts until the next call.
 */
const char *harness_run_refused(const struct launch *launch, int code, const char *part,
                                const char *other);

/* ---- clients: blocking sockets with a deadline ---- */

/* Connects to the daemon, at 127.0.0.1 or another address. Returns the socket. */
int client_connect(const struct daemon *daemon);
int client_connect_to(const struct daemon *daemon, const char *address);

/* As above for one of many that do not read: with buffers that soon are full. */
int client_connect_small(const struct daemon *daemon);

/* Tries once. Returns the socket or a negative errno. */
int client_try(const struct daemon *daemon, const char *address);

/* The same to a Unix socket: a path, or "@name" for an abstract one. */
int client_connect_unix(const char *path);
int client_try_unix(const char *path);

/* Connects to where a listening socket of ours is bound. */
int client_connect_like(int listening);

/* A listening socket of ours, at a free port of a numeric address. */
int harness_listen(const char *address);

/* A Unix socket of ours, of type SOCK_STREAM or another, bound to such a path. */
int harness_bind_unix(const char *path, int type);

void client_send(int fd, const void *data, size_t len);

/* Waits until the kernel on the other side has all that was sent. */
void client_wait_delivered(int fd);

/* Receives exactly len bytes, which must be these. */
void client_expect(int fd, const void *data, size_t len);

/* Sends text and receives it again, behind the prefix. */
void client_ping(int fd, const char *prefix, const char *text);

/* Whether a byte or the end of the stream is there to be received within so many milliseconds. */
bool client_readable(int fd, int timeout_ms);

/* Whether the connection breaks, by a reset, within so many milliseconds. */
bool client_breaks(int fd, int timeout_ms);

/* The stream ends here, with a FIN. */
void client_expect_end(int fd);

/* Ends the sending side. */
void client_shutdown(int fd);

/* Closes with a FIN, or with a reset. */
void client_close(int fd);
void client_reset(int fd);

/* The client's own address as the daemon's log has it. */
const char *client_name(int fd, char buf[static 80]);

/* ---- streams: much seeded random data, checked to the byte ---- */

enum {
    STREAMS_MAX = 512,
    STREAM_CHUNK = 1000,
    PATTERN_BYTES = 1048573, /* a prime: no chunk or buffer size keeps in step with it */
};

#define STREAM_PREFIX "GOT:"

struct stream {
    int fd;
    const unsigned char *pattern; /* what is sent: this, over and over again */
    size_t start;                 /* from here on */
    uint64_t total;
    uint64_t sent;
    uint64_t checked;  /* bytes that came back, prefixes not counted */
    uint64_t prefixes; /* that came back */
    size_t prefix_len; /* 0: verbatim */
    size_t matched;    /* bytes of the current chunk's prefix */
    size_t chunk_len;  /* bytes of the current chunk */
    size_t chunk_max;
    bool shut;       /* all is sent, and the sending side ended */
    bool ended;      /* the daemon's FIN has come, behind all answers */
    bool may_be_cut; /* behind the first of the answers is enough */
};

/*
 * PATTERN_BYTES random bytes, the same in every run. Of all values, or without the prefix's first
 * byte, so that chunks can be told apart whatever their sizes.
 */
const unsigned char *pattern_get(bool prefixed);

/*
 * Makes a stream of total bytes on a connected socket, answered with STREAM_PREFIX before chunks
 * of at most STREAM_CHUNK bytes, or verbatim.
 */
void stream_init(struct stream *stream, int fd, unsigned seed, uint64_t total, bool prefixed);

/* Sends what the socket takes. Returns how many bytes. */
size_t stream_send(struct stream *stream);

/* Sends, without receiving, until no socket takes more. The totals are then what was sent. */
void streams_jam(struct stream *streams, size_t count);

/* Waits once and then sends and receives what it can. Returns how many streams had not ended. */
size_t streams_turn(struct stream *streams, size_t count);

/* Runs all streams to their ends, and closes them. */
void streams_run(struct stream *streams, size_t count);

#endif
