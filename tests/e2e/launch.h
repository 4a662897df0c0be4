/*
 * launch.h - how the program is started, and runs that end by themselves.
 */
#ifndef UVECHOD_LAUNCH_H
#define UVECHOD_LAUNCH_H

#include <stdbool.h>
#include <sys/resource.h>
#include <sys/types.h>

enum stderr_kind { STDERR_PIPE, STDERR_SOCKET, STDERR_TERMINAL, STDERR_FILE, STDERR_CLOSED };

/* How the program is started; all zero is the usual way. */
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
    rlim_t nofile;           /* RLIMIT_NOFILE, soft and hard; 0: ours */
    rlim_t nproc;        /* threads that it may have, as a user of its own (root only); 0: any */
    int inherited;       /* so many further descriptors are open when the program starts */
    const char *program; /* is run instead of the daemon, and starts it; searched in PATH */

    /* What systemd does for a service. */
    const int *fds;           /* passed as 3 and on, described by LISTEN_FDS and LISTEN_PID */
    int fds_count;            /* 0: neither variable is set */
    const char *fd_names;     /* LISTEN_FDNAMES; NULL: not set */
    bool journal;             /* JOURNAL_STREAM says that stderr is the journal */
    const char *const *setup; /* environment: NAME=VALUE..., NULL; overrides all of the above */
};

/*
 * How many workers the daemons of this run have unless a test says otherwise: 1, or
 * UVECHOD_TEST_WORKERS of the environment. The limit of descriptors that a test gives a daemon
 * (nofile) is raised by what the further workers need.
 */
unsigned harness_workers(void);

/*
 * Starts the program with out and err as its stdout and stderr; -1 closes them. It is killed when
 * we end. Returns its pid.
 */
pid_t launch_fork(const struct launch *launch, int out, int err);

/*
 * Opens what will be the daemon's stderr: our end and the daemon's. Each is -1 where there is none.
 * The caller closes both.
 */
void launch_stderr(const struct launch *launch, int ends[2]);

/* How many addresses a daemon that is started so listens on. */
int launch_addresses(const struct launch *launch);

/* What a run that has ended by itself leaves. */
struct outcome {
    int status; /* its exit code */
    char out[16384];
    char err[16384];
};

/* Runs the program to its end. The launch's stderr_kind is not used. */
void harness_run(struct outcome *outcome, const struct launch *launch);

/*
 * Runs the program, which must end with this code, print nothing on stdout and one line on stderr
 * that contains both parts. Returns the line, which is valid until the next call.
 */
const char *harness_run_refused(const struct launch *launch, int code, const char *part,
                                const char *other);

#endif
