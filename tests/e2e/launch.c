/*
 * launch.c - starts the program with the options, descriptors, limits and environment of a test.
 */
#include "launch.h"

#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum { ARGS_MAX = 80, LOOP_DESCRIPTORS = 16 /* as in descriptors.h */ };

unsigned harness_workers(void)
{
    const char *workers = getenv("UVECHOD_TEST_WORKERS");
    return workers != NULL ? (unsigned)strtoul(workers, NULL, 10) : 1;
}

/* Splits text, which it changes, at the spaces. */
static void launch_args(const struct launch *launch, char *text, char *args[ARGS_MAX])
{
    static char name[] = "uvechod";
    static char any_port[] = "--port=0";
    static char workers[32];
    int count = 0;
    args[count++] = name;
    (void)snprintf(workers, sizeof workers, "--workers=%u", harness_workers());
    if (launch->program == NULL && harness_workers() > 1)
        args[count++] = workers;
    if (!launch->own_port)
        args[count++] = any_port;
    char *rest = text;
    for (char *arg; (arg = strsep(&rest, " ")) != NULL && count < ARGS_MAX - 1;)
        if (*arg != '\0')
            args[count++] = arg;
    args[count] = NULL;
}

/* In the child: makes a descriptor its 0, 1 or 2, or closes that one if from is -1. */
static void launch_descriptor(int from, int to)
{
    if (from < 0)
        (void)close(to);
    else if (dup2(from, to) < 0)
        _exit(126);
}

/* In the child: sets a variable to a number and what follows it. */
static void launch_setenv(const char *name, unsigned long long number, const char *rest)
{
    char value[64];
    (void)snprintf(value, sizeof value, "%llu%s", number, rest);
    (void)setenv(name, value, 1);
}

/* In the child: sets JOURNAL_STREAM to the device and inode of fd (systemd.exec(5)). */
static void launch_journal(int fd)
{
    struct stat file;
    char inode[32];
    if (fstat(fd, &file) < 0)
        _exit(126);
    (void)snprintf(inode, sizeof inode, ":%llu", (unsigned long long)file.st_ino);
    launch_setenv("JOURNAL_STREAM", file.st_dev, inode);
}

/* In the child: makes the passed descriptors 3 and on. First out of the way: they may be so low. */
static void launch_pass(const struct launch *launch)
{
    enum { FIRST = 3 }; /* SD_LISTEN_FDS_START */
    int high[ARGS_MAX];
    for (int i = 0; i < launch->fds_count; i++)
        high[i] = fcntl(launch->fds[i], F_DUPFD_CLOEXEC, FIRST + launch->fds_count);
    for (int i = 0; i < launch->fds_count; i++)
        launch_descriptor(high[i], FIRST + i);
    launch_setenv("LISTEN_FDS", (unsigned)launch->fds_count, "");
    launch_setenv("LISTEN_PID", (unsigned)getpid(), "");
    if (launch->fd_names != NULL)
        (void)setenv("LISTEN_FDNAMES", launch->fd_names, 1);
}

/* In the child: sets what a service manager sets in the environment, and then what the test says.
 */
static void launch_environment(const struct launch *launch)
{
    launch_setenv("WATCHDOG_PID", (unsigned)getpid(), "");
    if (launch->fds_count > 0)
        launch_pass(launch);
    if (launch->journal)
        launch_journal(STDERR_FILENO);
    for (const char *const *setting = launch->setup; setting != NULL && *setting != NULL; setting++)
        (void)putenv((char *)(uintptr_t)*setting);
}

/*
 * In the child: becomes a user who has no other process, as RLIMIT_NPROC does not limit root, and
 * starts the program, whose path this user may not be allowed to walk.
 */
static void launch_exec_limited(const struct launch *launch, char **args)
{
    const struct rlimit limit = {launch->nproc, launch->nproc};
    uid_t user = 20000 + (uid_t)getpid() % 40000;
    int program = open(UVECHOD_BINARY, O_RDONLY | O_CLOEXEC);
    if (setrlimit(RLIMIT_NPROC, &limit) < 0 || setresuid(user, user, user) < 0)
        _exit(126);
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* another user has to ask again */
    (void)fexecve(program, args, environ);
    _exit(127);
}

/* In the child: becomes the daemon. */
static void launch_exec(const struct launch *launch, pid_t parent, int out, int err, char **args)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(126);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)signal(SIGHUP, launch->ignores_hup ? SIG_IGN : SIG_DFL);
    (void)alarm(0);
    if (launch->may_not_bind_low)
        (void)prctl(PR_CAPBSET_DROP, CAP_NET_BIND_SERVICE);
    launch_descriptor(launch->stdin_closed ? -1 : open("/dev/null", O_RDONLY | O_CLOEXEC), 0);
    launch_descriptor(launch->stdout_closed ? -1 : out, 1);
    launch_descriptor(err, 2);
    for (int i = 0; i < launch->inherited; i++)
        (void)fcntl(0, F_DUPFD, 3);
    rlim_t nofile = launch->nofile + (rlim_t)LOOP_DESCRIPTORS * (harness_workers() - 1);
    struct rlimit limit = {nofile, nofile};
    if (launch->nofile > 0 && setrlimit(RLIMIT_NOFILE, &limit) < 0)
        _exit(126);
    launch_environment(launch);
    if (launch->nproc > 0)
        launch_exec_limited(launch, args);
    (void)execvp(launch->program != NULL ? launch->program : UVECHOD_BINARY, args);
    _exit(127);
}

pid_t launch_fork(const struct launch *launch, int out, int err)
{
    char text[4096];
    char *args[ARGS_MAX];
    (void)snprintf(text, sizeof text, "%s", launch->options != NULL ? launch->options : "");
    launch_args(launch, text, args);
    (void)fflush(NULL);
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0)
        launch_exec(launch, parent, out, err, args);
    if (pid < 0)
        fail_msg("fork: %s", strerror(errno));
    return pid;
}

/* Opens both ends of a terminal in raw mode, ours first. Returns 0 or -1. */
static int launch_terminal(int ends[2])
{
    char path[64];
    struct termios raw;
    ends[0] = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (ends[0] < 0 || grantpt(ends[0]) < 0 || unlockpt(ends[0]) < 0 ||
        ptsname_r(ends[0], path, sizeof path) != 0)
        return -1;
    ends[1] = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (ends[1] < 0 || tcgetattr(ends[1], &raw) < 0)
        return -1;
    cfmakeraw(&raw);
    return tcsetattr(ends[1], TCSANOW, &raw);
}

void launch_stderr(const struct launch *launch, int ends[2])
{
    ends[0] = -1;
    ends[1] = -1;
    int rc = 0;
    if (launch->stderr_kind == STDERR_PIPE)
        rc = pipe2(ends, O_CLOEXEC);
    else if (launch->stderr_kind == STDERR_SOCKET)
        rc = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends);
    else if (launch->stderr_kind == STDERR_TERMINAL)
        rc = launch_terminal(ends);
    else if (launch->stderr_kind == STDERR_FILE)
        rc = ends[1] = open(launch->stderr_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (rc < 0 && launch->stderr_kind == STDERR_TERMINAL)
        harness_skip("no terminal can be made here (is /dev/pts mounted?)");
    if (rc < 0)
        fail_msg("stderr: %s", strerror(errno));
}

int launch_addresses(const struct launch *launch)
{
    int count = launch->fds_count;
    const char *at = launch->options != NULL ? launch->options : "";
    while ((at = strstr(at, "--bind=")) != NULL) {
        count++;
        at++;
    }
    return count > 0 ? count : 1 + harness_has_address("::");
}

/* ---- a run to the end ---- */

/* Appends what can be read to a string. Returns false at the end. */
static bool outcome_read(int fd, char *text, size_t size)
{
    size_t len = strlen(text);
    ssize_t n = read(fd, text + len, size - 1 - len);
    text[len + (n > 0 ? (size_t)n : 0)] = '\0';
    return n > 0;
}

/* Reads both streams to their ends, which come when the program ends. */
static void outcome_read_all(struct outcome *outcome, struct pollfd ready[2])
{
    while (ready[0].fd >= 0 || ready[1].fd >= 0) {
        if (poll(ready, 2, HARNESS_DEADLINE_MS) <= 0)
            fail_msg("The program does not end");
        if (ready[0].revents != 0 && !outcome_read(ready[0].fd, outcome->out, sizeof outcome->out))
            ready[0].fd = -1;
        if (ready[1].revents != 0 && !outcome_read(ready[1].fd, outcome->err, sizeof outcome->err))
            ready[1].fd = -1;
    }
}

void harness_run(struct outcome *outcome, const struct launch *launch)
{
    int out[2];
    int err[2];
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    assert_int_equal(pipe2(err, O_CLOEXEC), 0);
    int file = launch->stdout_path != NULL ? open(launch->stdout_path, O_WRONLY | O_CLOEXEC) : -1;
    pid_t pid = launch_fork(launch, file >= 0 ? file : out[1], err[1]);
    (void)close(out[1]);
    (void)close(err[1]);
    if (file >= 0)
        (void)close(file);
    outcome->out[0] = '\0';
    outcome->err[0] = '\0';
    struct pollfd ready[2] = {{.fd = out[0], .events = POLLIN}, {.fd = err[0], .events = POLLIN}};
    outcome_read_all(outcome, ready);
    (void)close(out[0]);
    (void)close(err[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (!WIFEXITED(status))
        fail_msg("The program was ended by signal %d: %s", WTERMSIG(status), outcome->err);
    outcome->status = WEXITSTATUS(status);
}

const char *harness_run_refused(const struct launch *launch, int code, const char *part,
                                const char *other)
{
    static struct outcome outcome; /* too large for a stack */
    harness_run(&outcome, launch);
    if (outcome.status != code)
        fail_msg("%s: exit code %d and '%s'", launch->options, outcome.status, outcome.err);
    assert_string_equal(outcome.out, "");
    assert_one_line(outcome.err);
    assert_contains(outcome.err, part);
    assert_contains(outcome.err, other);
    return outcome.err;
}
