/*
 * torture.c - the list of faults, and one run of the daemon with a fault.
 */
#include "torture/torture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    TORTURE_ERRORS = 10,
    TORTURE_STRETCH = 3, /* calls that fail one after the other while the daemon serves */
    TORTURE_DEADLINE_MS = 30000,
    TORTURE_NTH_MAX = 2000,     /* far more calls than a scenario makes */
    TORTURE_SPIN_CALLS = 20000, /* far more than a run makes */
};

/* The errors of each call, as its manual page lists them, less those that only a bug can cause. */
static const struct {
    const char *name;
    int errors[TORTURE_ERRORS]; /* up to the first 0 */
} torture_calls[] = {
    [FAULT_accept4] = {"accept4",
                       {EMFILE, EINTR, ECONNABORTED, ENFILE, EAGAIN, ENOMEM, EPROTO, ENOBUFS, EPERM,
                        ENETDOWN}},
    [FAULT_access] = {"access", {EACCES, EIO, ENOMEM}},
    [FAULT_bind] = {"bind", {EADDRINUSE, EACCES, EADDRNOTAVAIL, ENOMEM}},
    [FAULT_bindtextdomain] = {"bindtextdomain", {ENOMEM}},
    [FAULT_calloc] = {"calloc", {ENOMEM}},
    [FAULT_close] = {"close", {EIO, EINTR, ENOSPC, EDQUOT}},
    [FAULT_connect] = {"connect", {ECONNREFUSED, EINTR, EAGAIN, EACCES, ENOENT}},
    [FAULT_epoll_create1] = {"epoll_create1", {EMFILE, ENFILE, ENOMEM}},
    [FAULT_epoll_ctl] = {"epoll_ctl", {ENOSPC, ENOMEM}},
    [FAULT_epoll_wait] = {"epoll_wait", {EINTR}},
    [FAULT_eventfd] = {"eventfd", {EMFILE, ENFILE, ENODEV, ENOMEM}},
    [FAULT_exit] = {"_exit", {0}}, /* kills only */
    [FAULT_fallocate] = {"fallocate", {ENOMEM, EINTR}},
    [FAULT_fchmod] = {"fchmod", {EPERM, EIO, EROFS}},
    [FAULT_fcntl] = {"fcntl", {EPERM, EMFILE, EBUSY, EINVAL}},
    [FAULT_flock] = {"flock", {EINTR, ENOLCK, EWOULDBLOCK}},
    [FAULT_fstat] = {"fstat", {ENOMEM, EIO, EACCES}},
    [FAULT_ftruncate] = {"ftruncate", {EFBIG, ENOMEM, EPERM}},
    [FAULT_getaddrinfo] = {"getaddrinfo",
                           {EAI_MEMORY, EAI_AGAIN, EAI_FAIL, EAI_NONAME, EAI_FAMILY}},
    [FAULT_getnameinfo] = {"getnameinfo", {EAI_MEMORY, EAI_AGAIN, EAI_FAIL, EAI_FAMILY}},
    [FAULT_getpeername] = {"getpeername", {ENOTCONN, ENOBUFS}},
    [FAULT_getrlimit] = {"getrlimit", {EPERM}},
    [FAULT_getsockname] = {"getsockname", {ENOBUFS}},
    [FAULT_getrandom] = {"getrandom", {ENOSYS, EINTR}},
    [FAULT_getsockopt] = {"getsockopt", {ENOBUFS, ENOPROTOOPT}},
    [FAULT_ioctl] = {"ioctl", {EINVAL, ENOTTY}},
    [FAULT_kill] = {"kill", {EPERM}},
    [FAULT_listen] = {"listen", {EADDRINUSE, EOPNOTSUPP}},
    [FAULT_lstat] = {"lstat", {ENOENT, EACCES, ENOMEM}},
    [FAULT_madvise] = {"madvise", {EAGAIN, ENOMEM}},
    [FAULT_malloc] = {"malloc", {ENOMEM}},
    [FAULT_memfd_create] = {"memfd_create", {ENOSYS, EPERM, EMFILE, EINVAL, ENOMEM}},
    [FAULT_mmap] = {"mmap", {ENOMEM}},
    [FAULT_munmap] = {"munmap", {ENOMEM}},
    [FAULT_open] = {"open", {EACCES, EMFILE, EINTR, ENFILE, ENOENT, ENOMEM, ENXIO}},
    [FAULT_pipe2] = {"pipe2", {EMFILE, ENFILE}},
    [FAULT_poll] = {"poll", {EINTR, ENOMEM}},
    [FAULT_posix_spawn] = {"posix_spawn", {EAGAIN, ENOMEM, ENOENT, EACCES, ENOEXEC, ETXTBSY}},
    [FAULT_pread] = {"pread", {EIO, EINTR}},
    [FAULT_pthread_create] = {"pthread_create", {EAGAIN, EPERM}},
    [FAULT_pthread_mutex_init] = {"pthread_mutex_init", {ENOMEM, EAGAIN}},
    [FAULT_pthread_rwlock_init] = {"pthread_rwlock_init", {ENOMEM, EAGAIN}},
    [FAULT_pthread_setname_np] = {"pthread_setname_np", {ERANGE}},
    [FAULT_pwrite] = {"pwrite", {ENOSPC, EINTR}},
    [FAULT_read] = {"read", {EINTR}},
    [FAULT_wake] = {"write to a loop", {EINTR}},
    [FAULT_readlink] = {"readlink", {EACCES, ENOENT, ENOMEM}},
    [FAULT_realloc] = {"realloc", {ENOMEM}},
    [FAULT_recv] = {"recv",
                    {ECONNRESET, FAULT_SHORT, EINTR, EAGAIN, ENOMEM, ETIMEDOUT, EHOSTUNREACH}},
    [FAULT_recvmmsg] = {"recvmmsg", {EAGAIN, EINTR, ECONNREFUSED, ENOMEM}},
    [FAULT_recvmsg] = {"recvmsg",
                       {FAULT_SHORT, ENOMEM, EINTR, ECONNRESET, EAGAIN, ETIMEDOUT, EHOSTUNREACH}},
    [FAULT_send] = {"send",
                    {FAULT_SHORT, EPIPE, EAGAIN, ECONNRESET, EINTR, ENOBUFS, ENOMEM, ETIMEDOUT}},
    [FAULT_sendmmsg] = {"sendmmsg", {EAGAIN, ENOBUFS, EINTR, EPERM, EINVAL, ENETUNREACH}},
    [FAULT_setlocale] = {"setlocale", {ENOMEM}},
    [FAULT_setrlimit] = {"setrlimit", {EPERM}},
    [FAULT_setsockopt] = {"setsockopt", {ENOBUFS, ENOMEM, ENOPROTOOPT}},
    [FAULT_shutdown] = {"shutdown", {ENOTCONN, ENOBUFS}},
    [FAULT_socket] = {"socket", {EMFILE, ENFILE, ENOBUFS, ENOMEM, EACCES, EAFNOSUPPORT}},
    [FAULT_splice] = {"splice", {FAULT_SHORT, EINVAL, EAGAIN, ENOMEM, EINTR, ECONNRESET}},
    [FAULT_splice_out] = {"splice from a pipe",
                          {FAULT_SHORT, EPIPE, EAGAIN, ENOMEM, EINTR, ECONNRESET}},
    [FAULT_textdomain] = {"textdomain", {ENOMEM}},
    [FAULT_unlink] = {"unlink", {EACCES, EBUSY, EIO, ENOENT, EROFS}},
    [FAULT_waitpid] = {"waitpid", {ECHILD, EINTR}},
    [FAULT_write] = {"write", {EAGAIN, EIO, EINTR, ENOSPC, EPIPE, FAULT_SHORT, EFBIG}},
};

/* Whether every error of every call is tried, or of each call another one in turn. */
static bool torture_all(void)
{
    const char *all = getenv("UVECHOD_TORTURE");
    return all != NULL && strcmp(all, "all") == 0;
}

static bool torture_is_eai(unsigned call)
{
    return call == FAULT_getaddrinfo || call == FAULT_getnameinfo;
}

static const char *torture_error(const struct fault_page *page)
{
    if (page->error == FAULT_KILL_BEFORE)
        return "killed before";
    if (page->error == FAULT_KILL_AFTER)
        return "killed after";
    if (page->error == FAULT_SHORT && !torture_is_eai(page->call))
        return "one byte only";
    return torture_is_eai(page->call) ? gai_strerror(page->error) : strerror(page->error);
}

/* ---- the daemon ---- */

void torture_read_log(struct torture *torture)
{
    size_t len = strlen(torture->log);
    ssize_t n;
    while (len < sizeof torture->log - 1 &&
           (n = read(torture->daemon.err, torture->log + len, sizeof torture->log - 1 - len)) > 0)
        len += (size_t)n;
    torture->log[len] = '\0';
}

bool torture_ended(const struct torture *torture, int ms)
{
    struct pollfd ready = {.fd = torture->daemon.pidfd, .events = POLLIN};
    return poll(&ready, 1, ms) > 0;
}

void torture_launch(struct torture *torture, struct launch *launch)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_true(fcntl(ends[0], F_SETFL, O_NONBLOCK) == 0);
    launch->program = TORTURE_BINARY;
    torture->log[0] = '\0';
    torture->daemon.err = ends[0];
    torture->log_writer = ends[1];
    torture->daemon.pid = launch_fork(launch, STDOUT_FILENO, ends[1]);
    torture->daemon.pidfd = (int)syscall(SYS_pidfd_open, torture->daemon.pid, 0);
    assert_true(torture->daemon.pidfd >= 0);
}

/* Whether the daemon that sleeps does so to wait for what it has started in vain. */
static bool torture_gives_up(struct torture *torture)
{
    torture_read_log(torture);
    return strstr(torture->log, "Cannot start: ") != NULL;
}

/* Waits until the daemon has started, or has ended. Returns whether it has started. */
static bool torture_started(struct torture *torture)
{
    uint64_t deadline = harness_now_ms() + TORTURE_DEADLINE_MS;
    while (!torture_ended(torture, 1)) {
        if (torture->page->sleeps > 0 && !torture_gives_up(torture))
            return true;
        if (harness_now_ms() > deadline)
            fail_msg("The daemon neither starts nor ends");
    }
    return false;
}

/* Waits for the end of the daemon. */
static void torture_wait_end(struct torture *torture)
{
    siginfo_t info = {.si_pid = 0};
    (void)close(torture->log_writer);
    if (!torture_ended(torture, TORTURE_DEADLINE_MS)) {
        torture_read_log(torture);
        fail_msg("The daemon does not end");
    }
    assert_int_equal(waitid(P_PID, (id_t)torture->daemon.pid, &info, WEXITED), 0);
    torture->killed = info.si_code != CLD_EXITED;
    torture->status = info.si_status;
    torture_read_log(torture);
    (void)close(torture->daemon.err);
    (void)close(torture->daemon.pidfd);
    torture->daemon.pid = 0;
}

/* Whether a thread of the daemon waits for something to happen (proc_pid_stat(5)). */
static bool torture_thread_sleeps(int tasks, const char *thread)
{
    char path[64];
    char text[256] = "";
    (void)snprintf(path, sizeof path, "%.32s/stat", thread); /* a number */
    int fd = openat(tasks, path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return true; /* it has ended */
    ssize_t n = read(fd, text, sizeof text - 1);
    (void)close(fd);
    const char *name_end = n > 0 ? strrchr(text, ')') : NULL;
    return name_end == NULL || name_end[2] == 'S';
}

/* Whether all of them do. A thread that has been woken and does not run yet does not sleep. */
static bool torture_process_sleeps(pid_t pid)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%ld/task", (long)pid);
    DIR *tasks = opendir(path);
    if (tasks == NULL)
        return true;
    bool sleeps = true;
    for (struct dirent *entry; sleeps && (entry = readdir(tasks)) != NULL;)
        sleeps = entry->d_name[0] == '.' || torture_thread_sleeps(dirfd(tasks), entry->d_name);
    (void)closedir(tasks);
    return sleeps;
}

/* The keeper comes first, because only the daemon can wake it then. */
static bool torture_sleeps(const struct torture *torture)
{
    if (!torture_process_sleeps(torture->daemon.pid))
        return false;
    if (!torture->scenario->kept)
        return true;
    pid_t child = daemon_find_child(&torture->daemon);
    return child > 0 && torture_process_sleeps(child);
}

void torture_wait_quiet(const struct torture *torture)
{
    uint64_t deadline = harness_now_ms() + TORTURE_DEADLINE_MS;
    unsigned before;
    do {
        before = torture->page->total;
        if (harness_now_ms() > deadline)
            fail_msg("The daemon does not sleep");
        if (torture_ended(torture, 2))
            return;
    } while (torture->page->asking || torture->page->executing || !torture_sleeps(torture) ||
             torture->page->total != before);
}

void torture_kill(struct torture *torture)
{
    torture->kills++;
    assert_int_equal(kill(daemon_child(&torture->daemon), SIGKILL), 0);
}

void torture_disarm(const struct torture *torture)
{
    torture->page->armed = false;
}

/* How many descriptors the daemon has open. */
static long torture_fds(const struct torture *torture)
{
    return daemon_fds_but_uring(&torture->daemon);
}

/* A client goes in a while after it was told, so the figure is waited for. */
static void torture_check_fds(struct torture *torture)
{
    uint64_t deadline = harness_now_ms() + TORTURE_DEADLINE_MS;
    while (torture_fds(torture) > torture->fds + torture->scenario->keeps)
        if (harness_now_ms() > deadline || torture_ended(torture, 1)) {
            torture_read_log(torture);
            fail_msg("Descriptors are left");
        }
}

/* ---- what must hold ---- */

/* Whether the call may be tried again, or its result can be done without, or it was no failure. */
static bool torture_is_harmless(const struct fault_page *page)
{
    int error = page->error;
    if (page->kept)
        return true;
    switch (page->call) {
    case FAULT_splice:
        return error != ENOMEM && error != ECONNRESET; /* where nothing splices, all is copied */
    case FAULT_fallocate:
        return error == EINTR;
    case FAULT_splice_out:
    case FAULT_recv:
    case FAULT_recvmsg:
    case FAULT_send:
        return error == FAULT_SHORT || error == EINTR || error == EAGAIN;
    case FAULT_calloc:
    case FAULT_epoll_ctl: /* this and the next: only a connection that is opened */
    case FAULT_ioctl:
    case FAULT_malloc:
    case FAULT_mmap:
    case FAULT_realloc:
        return false;
    default:
        return true;
    }
}

/* Whether the log gives the fault as the reason why nobody went on with this connection. */
static bool torture_is_not_taken_over(const struct torture *torture, const char *name)
{
    char line[256];
    (void)snprintf(line, sizeof line, "Cannot take over the connection from %s: %s\n", name,
                   torture_error(torture->page));
    return strstr(torture->log, line) != NULL;
}

/*
 * Whether the log gives the fault as the reason why the connection was refused. Or why it has
 * ended, if a fault may end a connection that is served. Or that line may be one of those that the
 * log has lost.
 */
static bool torture_has_reason(const struct torture *torture)
{
    char line[256];
    const char *reason = torture_error(torture->page);
    unsigned call = torture->page->call;
    (void)snprintf(line, sizeof line, "Connection refused: %s\n", reason);
    if (strstr(torture->log, line) != NULL)
        return true;
    if (torture_is_not_taken_over(torture, torture->victim) ||
        torture_is_not_taken_over(torture, "?:0")) /* its peer could not be found out */
        return true;
    if (torture_is_harmless(torture->page))
        return false;
    if (strstr(torture->log, " lost: ") != NULL)
        return true;
    if (call == FAULT_epoll_ctl || call == FAULT_ioctl)
        return false;
    (void)snprintf(line, sizeof line, "Connection closed: %s (%s)", torture->victim, reason);
    return strstr(torture->log, line) != NULL;
}

/* Lines that are no error, or that say how the daemon serves all the same. */
static bool torture_is_news(const char *line)
{
    return strncmp(line, "Listening on ", 13) == 0 || strncmp(line, "Task finished", 13) == 0 ||
           strncmp(line, "No file in memory", 17) == 0 ||
           strncmp(line, "Connection from ", 16) == 0 || strncmp(line, "Upgrading: ", 11) == 0;
}

/*
 * Whether the daemon takes the fault for another daemon on the path of its socket: one that has the
 * lock, that may listen, or whose file is back after it had gone.
 */
static bool torture_is_rival(const struct fault_page *page)
{
    unsigned call = page->call;
    return call == FAULT_connect || (call == FAULT_flock && page->error == EWOULDBLOCK) ||
           ((call == FAULT_lstat || call == FAULT_unlink) && page->error == ENOENT);
}

/*
 * Whether the fault is told as another error. The C library takes most failures for a name that it
 * does not know, and pthread_create(3) has one error for all that lacks. A file whose seals nobody
 * can read is no ledger.
 */
static bool torture_is_renamed(const struct torture *torture)
{
    unsigned call = torture->page->call;
    bool memory = call == FAULT_calloc || call == FAULT_malloc || call == FAULT_realloc;
    if (torture->scenario->resolves && strstr(torture->log, "address or name: ") != NULL)
        return true;
    if (torture_is_rival(torture->page))
        return strstr(torture->log, strerror(EADDRINUSE)) != NULL;
    if (call == FAULT_fcntl && torture->scenario->starts_anew)
        return strstr(torture->log, strerror(EPROTO)) != NULL;
    if (call == FAULT_mmap || memory)
        return torture->scenario->resolves || strstr(torture->log, strerror(EAGAIN)) != NULL ||
               strstr(torture->log, gai_strerror(EAI_MEMORY)) != NULL;
    return torture_is_eai(call);
}

/* Counts the lines that are errors, and returns whether one of them gives the fault. */
static bool torture_complains(const struct torture *torture, unsigned *lines)
{
    bool named = torture_is_renamed(torture);
    *lines = 0;
    for (const char *line = torture->log; *line != '\0';) {
        const char *end = strchr(line, '\n');
        end = end != NULL ? end + 1 : line + strlen(line);
        const char *at = strstr(line, torture_error(torture->page));
        bool news = torture_is_news(line);
        *lines += !news;
        named = named || (!news && at != NULL && at < end);
        line = end;
    }
    return named;
}

/*
 * libuv aborts when it cannot make its first pipe, which is for signals (before an upgrade, there
 * is the pipe of the program that is asked), and when its table of descriptors cannot grow. Both
 * happen at the start only: the daemon has looked before whether there are descriptors, and makes
 * the table grow at once (sock_reserve()).
 */
static bool torture_may_abort(const struct torture *torture)
{
    const struct fault_page *page = torture->page;
    unsigned first = torture->scenario->starts_anew ? 2 : 1;
    bool may = (page->call == FAULT_pipe2 && page->first == first) || page->call == FAULT_realloc;
    return may && torture->killed && torture->status == SIGABRT;
}

/* The daemon has ended before it served. */
static void torture_check_refusal(struct torture *torture)
{
    unsigned lines;
    if (torture_may_abort(torture))
        return;
    bool named = torture_complains(torture, &lines);
    if (torture->killed || (torture->status != 1 && torture->status != 2))
        fail_msg("The daemon did not end with an exit code for an error");
    if (lines != 1)
        fail_msg("The daemon did not say in one line why it ends");
    if (!named)
        fail_msg("The line does not give the error");
}

static unsigned torture_count(const struct torture *torture, const char *text)
{
    unsigned count = 0;
    for (const char *at = torture->log; (at = strstr(at, text)) != NULL; at++)
        count++;
    return count;
}

/* Whether the line about a takeover comes after each line of this text. */
static bool torture_took_over_after(const struct torture *torture, const char *text)
{
    const char *last = torture->log;
    for (const char *at = last; (at = strstr(at, text)) != NULL; at++)
        last = at;
    return last == torture->log || strstr(last, "Took over ") != NULL;
}

/* How often the daemon must have been killed. The wait that is the point may not have ended. */
static unsigned torture_points(const struct fault_page *page)
{
    bool reached = page->times > 0 && page->counts[page->call] >= page->first;
    bool waits = page->call == FAULT_epoll_wait && page->error == FAULT_KILL_AFTER;
    return waits ? page->struck > 0 : reached;
}

/* At each point that was reached, the daemon was killed once, and a successor has gone on. */
static void torture_check_kills(const struct torture *torture)
{
    const struct fault_page *page = torture->page;
    unsigned points = torture_points(page);
    if (page->struck != points)
        fail_msg("%u kills at %u points", page->struck, points);
    if (torture_count(torture, "starting a successor\n") != points + torture->kills)
        fail_msg("The log does not have one line for each kill");
    if (!torture->scenario->ends && (!torture_took_over_after(torture, "starting a successor\n") ||
                                     !torture_took_over_after(torture, "Upgrading: ")))
        fail_msg("No line says that a successor has taken over");
    if (torture->cut)
        fail_msg("A connection has ended by a kill");
    if (strstr(torture->log, "Cannot ") != NULL || strstr(torture->log, "refused: ") != NULL ||
        strstr(torture->log, " lost: ") != NULL)
        fail_msg("A line tells of a loss");
}

static void torture_check_end(struct torture *torture)
{
    torture_wait_end(torture);
    if (torture->killed || torture->status != 0)
        fail_msg("The daemon did not end with 0");
    if (torture->scenario->kept)
        torture_check_kills(torture);
    if (torture->cut && !torture_has_reason(torture))
        fail_msg("A connection has ended, and need not have, or no line says why");
    if (torture->scenario->check != NULL)
        torture->scenario->check(torture);
}

/* ---- one run ---- */

void torture_is_cut(struct torture *torture, int fd)
{
    torture->cut = true;
    torture_name(torture, fd);
}

void torture_name(struct torture *torture, int fd)
{
    int domain = 0;
    socklen_t len = sizeof domain;
    assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len), 0);
    if (domain == AF_UNIX)
        (void)snprintf(torture->victim, sizeof torture->victim, "unix:pid=%ld,uid=%lu",
                       (long)getpid(), (unsigned long)geteuid());
    else
        (void)client_name(fd, torture->victim);
}

/* The bystander talks, also while calls fail, unless these may be its own. */
static void torture_ping_bystander(const struct torture *torture)
{
    if (torture->bystander >= 0)
        client_ping(torture->bystander, torture->scenario->prefix, "bystander");
}

static void torture_arm(struct torture *torture)
{
    torture->fds = torture_fds(torture);
    if (torture->bystander >= 0 && !torture->scenario->kept)
        torture->page->spared = torture->page->accepted;
    torture->page->armed = true;
}

static void torture_serve(struct torture *torture)
{
    const struct scenario *scenario = torture->scenario;
    struct fault_page *page = torture->page;
    torture->daemon.port = (uint16_t)page->port;
    if (!scenario->lonely) {
        torture->bystander = scenario->connect(torture);
        torture_ping_bystander(torture);
    }
    if (scenario->prepare != NULL)
        scenario->prepare(torture);
    if (!scenario->from_start) {
        torture_wait_quiet(torture);
        torture_arm(torture);
    }
    scenario->run(torture);
    if (scenario->ends || (scenario->starts_anew && torture_ended(torture, 0)))
        return;
    if (torture_is_harmless(page))
        torture_ping_bystander(torture);
    if (scenario->kept)
        torture_wait_quiet(torture); /* no call is left of which it is not known how it went */
    torture_disarm(torture);
}

/* The daemon is as it was before, and serves. */
static void torture_check_service(struct torture *torture)
{
    torture_ping_bystander(torture);
    torture_wait_quiet(torture);
    if (!torture->scenario->from_start)
        torture_check_fds(torture);
    if (torture->page->total > TORTURE_SPIN_CALLS)
        fail_msg("The daemon spins");
    if (torture->bystander >= 0)
        client_leave(torture->bystander);
    (void)kill(torture->daemon.pid, SIGTERM);
}

/* Whether the daemon has ended because it could not start anew. */
static bool torture_has_refused(struct torture *torture)
{
    if (!torture->scenario->starts_anew || !torture_ended(torture, 0))
        return false;
    torture_wait_end(torture);
    torture_check_refusal(torture);
    return true;
}

static void torture_daemon(struct torture *torture)
{
    const struct scenario *scenario = torture->scenario;
    torture->bystander = -1;
    torture->client = -1;
    torture->cut = false;
    torture->kills = 0;
    torture->victim[0] = '\0';
    torture->page->armed = scenario->from_start;
    scenario->launch(torture);
    bool started = torture_started(torture);
    if (scenario->from_start)
        torture_disarm(torture);
    if (!started) {
        torture_wait_end(torture);
        bool refused = scenario->ends && !torture->killed && torture->status == 0;
        if (!refused || !torture_has_reason(torture))
            torture_check_refusal(torture);
        if (torture->client >= 0)
            client_close(torture->client);
        return;
    }
    torture_serve(torture);
    if (torture_has_refused(torture))
        return;
    if (!scenario->ends)
        torture_check_service(torture);
    torture_check_end(torture);
}

/* Returns whether a call has failed. */
static bool torture_once(struct torture *torture, unsigned call, unsigned first, unsigned times,
                         int error)
{
    struct fault_page *page = torture->page;
    memset(page, 0, sizeof *page);
    page->call = call;
    page->first = first;
    page->times = times;
    page->error = error;
    page->spared = -1;
    page->kept = torture->scenario->kept;
    torture_daemon(torture);
    return page->struck > 0;
}

void torture_print(struct torture *torture)
{
    siginfo_t info = {.si_status = 0};
    if (torture->daemon.pid > 0) {
        torture_read_log(torture);
        pid_t child = torture->scenario->kept ? daemon_find_child(&torture->daemon) : 0;
        if (!torture_ended(torture, 100))
            (void)kill(torture->daemon.pid, SIGKILL);
        if (child > 0)
            (void)kill(child, SIGKILL);
        (void)waitid(P_PID, (id_t)torture->daemon.pid, &info, WEXITED);
        print_error("The daemon has ended by %d (%d)\n", info.si_status, info.si_code);
    }
    const struct fault_page *page = torture->page;
    print_error("%s: %s %u, %u times: %s (%u failed, %u calls)\n%s", torture->scenario->name,
                torture_calls[page->call].name, page->first, page->times, torture_error(page),
                page->struck, page->total, torture->log);
}

/* ---- all runs ---- */

static unsigned torture_errors(unsigned call)
{
    unsigned count = 0;
    while (count < TORTURE_ERRORS && torture_calls[call].errors[count] != 0)
        count++;
    return count;
}

/*
 * From the first on: for ever while the daemon starts, and later a while. What a call that is tried
 * again returns in the end must be something else.
 */
static unsigned torture_stretch(const struct torture *torture, unsigned call, int error)
{
    bool again = error == EINTR || error == EAGAIN || (call == FAULT_lstat && error == ENOENT);
    return torture->scenario->from_start && !again ? FAULT_ALWAYS : TORTURE_STRETCH;
}

/* Every error, alone and with the later calls. Returns how many runs had a fault. */
static unsigned torture_nth_all(struct torture *torture, unsigned call, unsigned nth)
{
    unsigned struck = 0;
    for (unsigned i = 0; i < torture_errors(call); i++) {
        int error = torture_calls[call].errors[i];
        struck += torture_once(torture, call, nth, 1, error);
        struck += torture_once(torture, call, nth, torture_stretch(torture, call, error), error);
    }
    return struck;
}

/* Returns how often the daemon was killed. */
static unsigned torture_nth_kept(struct torture *torture, unsigned call, unsigned nth)
{
    unsigned struck = torture_once(torture, call, nth, 1, FAULT_KILL_BEFORE);
    return struck + torture_once(torture, call, nth, 1, FAULT_KILL_AFTER);
}

/* One error, another one for the next call, now alone and now with the later calls. */
static unsigned torture_nth(struct torture *torture, unsigned call, unsigned nth)
{
    if (torture->scenario->kept)
        return torture_nth_kept(torture, call, nth);
    if (torture_all())
        return torture_nth_all(torture, call, nth);
    unsigned errors = torture_errors(call);
    int error = torture_calls[call].errors[(nth - 1) % errors];
    bool alone = (nth - 1) / errors % 2 == (call & 1);
    return torture_once(torture, call, nth, alone ? 1 : torture_stretch(torture, call, error),
                        error);
}

/*
 * Whether the nth call is left out. With a sanitizer a daemon takes five times as long to start:
 * there the first call fails, the fifth, and so on.
 */
static bool torture_skips(unsigned nth)
{
    return harness_sanitized() && !torture_all() && nth % 4 != 1;
}

/* Fails call 1, then 2, and so on until the scenario is not touched any more. */
static unsigned torture_call(struct torture *torture, unsigned call, unsigned seen)
{
    unsigned total = 0;
    for (unsigned nth = 1; nth <= TORTURE_NTH_MAX; nth++) {
        unsigned struck = torture_skips(nth) ? 0 : torture_nth(torture, call, nth);
        total += struck;
        if (struck == 0 && nth >= seen)
            return total;
        /* The run that is not touched is the same for each call: without "all" it is left out. */
        if (nth >= seen && !torture_all())
            return total;
    }
    fail_msg("The calls do not end");
    return 0;
}

/*
 * glibc crashes itself when it looks up a name and there is no memory, and so does AddressSanitizer
 * when a thread begins.
 */
static bool torture_must_not(const struct torture *torture, unsigned call)
{
    const struct scenario *scenario = torture->scenario;
    return (scenario->resolves || (scenario->threads && harness_sanitized())) &&
           (call == FAULT_malloc || call == FAULT_calloc || call == FAULT_realloc);
}

void torture_run(struct torture *torture)
{
    unsigned counts[FAULT_CALLS_COUNT];
    unsigned total = 0;
    unsigned calls = 0;
    (void)torture_once(torture, FAULT_malloc, FAULT_ALWAYS, 0, ENOMEM); /* nothing fails */
    if (torture->cut)
        fail_msg("A connection has ended without a fault");
    for (unsigned call = 0; call < FAULT_CALLS_COUNT; call++)
        counts[call] = torture->page->counts[call];
    for (unsigned call = 0; call < FAULT_CALLS_COUNT; call++) {
        if (counts[call] == 0 || torture_must_not(torture, call))
            continue;
        calls += counts[call];
        total += torture_call(torture, call, counts[call]);
    }
    print_message("[          ] %s: %u calls, %u faults\n", torture->scenario->name, calls, total);
    if (total == 0)
        fail_msg("No call has failed");
}
