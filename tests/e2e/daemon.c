/*
 * daemon.c - starts a daemon, reads its log, sends it signals, waits for its end and reads /proc.
 */
#include "daemon.h"

#include "harness.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { POLL_AGAIN_MS = 5 };

/* ---- starting ---- */

void daemon_init(struct daemon *daemon)
{
    *daemon = (struct daemon){.err = -1, .pidfd = -1};
}

void daemon_forget(struct daemon *daemon)
{
    struct daemon *second = daemon->second;
    uint16_t port = daemon->port; /* a test may have chosen the port of the next one */
    if (daemon->err >= 0)
        (void)close(daemon->err);
    if (daemon->pidfd >= 0)
        (void)close(daemon->pidfd);
    free(daemon->log);
    daemon_init(daemon);
    daemon->second = second;
    daemon->port = port;
}

void daemon_launch(struct daemon *daemon, const struct launch *launch)
{
    int ends[2];
    assert_int_equal(daemon->pid, 0);
    daemon_forget(daemon);
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    launch_stderr(launch, ends);
    daemon->err = ends[0];
    daemon->pid = launch_fork(launch, null, ends[1]);
    (void)close(null);
    if (ends[1] >= 0)
        (void)close(ends[1]);
    daemon->pidfd = (int)syscall(SYS_pidfd_open, daemon->pid, 0);
    if (daemon->pidfd < 0)
        fail_msg("pidfd_open: %s", strerror(errno));
}
/* The port with which a line ends. */
static uint16_t port_of(const char *line)
{
    const char *colon = strrchr(line, ':');
    assert_non_null(colon);
    unsigned long port = strtoul(colon + 1, NULL, 10);
    assert_between(port, 1, UINT16_MAX);
    return (uint16_t)port;
}

const char *daemon_wait_port(struct daemon *daemon, const char *text)
{
    const char *line = daemon_wait_line(daemon, text);
    daemon->port = port_of(line);
    return line;
}

void daemon_start_as(struct daemon *daemon, const struct launch *launch)
{
    daemon_launch(daemon, launch);
    daemon->port = 0;
    for (int i = launch_addresses(launch); i > 0; i--) {
        const char *line = daemon_wait_line(daemon, "Listening on ");
        if (strstr(line, " unix:") != NULL)
            continue;
        uint16_t port = port_of(line);
        if (daemon->port != 0)
            assert_int_equal(port, daemon->port);
        daemon->port = port;
    }
}

void daemon_start(struct daemon *daemon, const char *options)
{
    daemon_start_as(daemon, &(struct launch){.options = options});
}

/* Lets this time pass. The daemon must not end meanwhile. */
static void daemon_pass(const struct daemon *daemon, int ms)
{
    struct pollfd ended = {.fd = daemon->pidfd, .events = POLLIN};
    if (poll(&ended, 1, ms) != 0)
        fail_msg("The daemon has ended");
}

void daemon_start_mute(struct daemon *daemon, struct launch launch)
{
    char options[512];
    daemon->port = harness_free_port();
    (void)snprintf(options, sizeof options, "--port=%u %s", (unsigned)daemon->port,
                   launch.options != NULL ? launch.options : "");
    launch.options = options;
    launch.own_port = true;
    daemon_launch(daemon, &launch);
    uint64_t deadline = harness_now_ms() + HARNESS_DEADLINE_MS / 4;
    int fd;
    while ((fd = client_try(daemon, "127.0.0.1")) < 0) {
        daemon_pass(daemon, POLL_AGAIN_MS);
        if (harness_now_ms() > deadline)
            fail_msg("The daemon cannot be reached: %s", strerror(-fd));
    }
    client_shutdown(fd);
    client_expect_end(fd); /* which the daemon itself says, not its backlog */
    client_close(fd);
}

/* ---- the log ---- */

/* Reads once. Returns false at the end of the stream. */
static bool daemon_read_log(struct daemon *daemon)
{
    char *log = realloc(daemon->log, daemon->log_len + 65536);
    assert_non_null(log);
    daemon->log = log;
    ssize_t n = read(daemon->err, log + daemon->log_len, 65535);
    daemon->log_len += n > 0 ? (size_t)n : 0;
    log[daemon->log_len] = '\0';
    if (n > 0)
        return true;
    (void)close(daemon->err);
    daemon->err = -1;
    return false;
}

/* Waits for something to read, and reads it. Returns false if nothing has come, or never will. */
static bool daemon_poll_log(struct daemon *daemon, int timeout_ms)
{
    struct pollfd ready = {.fd = daemon->err, .events = POLLIN};
    return daemon->err >= 0 && poll(&ready, 1, timeout_ms) > 0 && daemon_read_log(daemon);
}

static void daemon_drain_log(struct daemon *daemon)
{
    while (daemon_poll_log(daemon, 0))
        ;
}

unsigned daemon_count(struct daemon *daemon, const char *text)
{
    daemon_drain_log(daemon);
    unsigned count = 0;
    for (const char *at = daemon->log; at != NULL && (at = strstr(at, text)) != NULL; at++)
        count++;
    return count;
}

/* Copies the next whole line into daemon->line. Returns false if there is none yet. */
static bool daemon_next_line(struct daemon *daemon)
{
    if (daemon->log == NULL)
        return false;
    const char *line = daemon->log + daemon->log_seen;
    const char *end = strchr(line, '\n');
    if (end == NULL)
        return false;
    int len = (int)(end - line);
    (void)snprintf(daemon->line, sizeof daemon->line, "%.*s", len, line);
    daemon->log_seen += (size_t)len + 1;
    return true;
}

const char *daemon_wait_line(struct daemon *daemon, const char *text)
{
    for (;;) {
        while (daemon_next_line(daemon))
            if (strstr(daemon->line, text) != NULL)
                return daemon->line;
        if (!daemon_poll_log(daemon, HARNESS_DEADLINE_MS))
            fail_msg("The daemon %s without a line with '%s'",
                     daemon->err < 0 ? "has ended" : "goes on", text);
    }
}

const char *daemon_try_line(struct daemon *daemon)
{
    daemon_drain_log(daemon);
    return daemon_next_line(daemon) ? daemon->line : NULL;
}

/* ---- signals and the end ---- */

void daemon_signal(const struct daemon *daemon, int signum)
{
    assert_true(daemon->pid > 0);
    assert_int_equal(kill(daemon->pid, signum), 0);
}

/* Waits for the end, and reads the log meanwhile. Returns false if the daemon goes on. */
static bool daemon_poll_exit(struct daemon *daemon, int *status)
{
    uint64_t deadline = harness_now_ms() + HARNESS_DEADLINE_MS;
    struct pollfd ready[2] = {{.fd = daemon->pidfd, .events = POLLIN}, {.events = POLLIN}};
    do {
        ready[1].fd = daemon->err;
        (void)poll(ready, 2, HARNESS_DEADLINE_MS);
        daemon_drain_log(daemon);
        if (ready[0].revents != 0)
            return waitpid(daemon->pid, status, 0) == daemon->pid;
    } while (harness_now_ms() < deadline);
    return false;
}

int daemon_wait_exit(struct daemon *daemon)
{
    int status;
    if (!daemon_poll_exit(daemon, &status))
        fail_msg("The daemon does not end");
    daemon->pid = 0;
    if (!WIFEXITED(status))
        fail_msg("The daemon was ended by signal %d", WTERMSIG(status));
    return WEXITSTATUS(status);
}

int daemon_stop(struct daemon *daemon, int signum)
{
    daemon_signal(daemon, signum);
    return daemon_wait_exit(daemon);
}

void daemon_kill(struct daemon *daemon)
{
    daemon_signal(daemon, SIGKILL);
    assert_int_equal(waitpid(daemon->pid, NULL, 0), daemon->pid);
    daemon->pid = 0;
}

bool daemon_finish(struct daemon *daemon)
{
    if (daemon->pid == 0)
        return true;
    int status = -1;
    (void)kill(daemon->pid, SIGCONT);
    (void)kill(daemon->pid, SIGTERM);
    bool ended = daemon_poll_exit(daemon, &status);
    if (!ended) {
        (void)kill(daemon->pid, SIGKILL);
        (void)waitpid(daemon->pid, NULL, 0);
    }
    daemon->pid = 0;
    if (!ended || status != 0)
        print_error("The daemon did not end with 0 after the test: %s 0x%x\n",
                    ended ? "status" : "had to be killed,", (unsigned)status);
    return ended && status == 0;
}

void daemon_freeze(const struct daemon *daemon)
{
    int status;
    daemon_signal(daemon, SIGSTOP);
    assert_int_equal(waitpid(daemon->pid, &status, WUNTRACED), daemon->pid);
    assert_true(WIFSTOPPED(status));
}

/* ---- files in /proc ---- */

/* Reads the start of a file of a process as a string. Returns whether the file can be read. */
static bool proc_try(pid_t pid, const char *name, char *buf, size_t size)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, buf, size - 1);
    if (fd >= 0)
        (void)close(fd);
    buf[n > 0 ? n : 0] = '\0';
    return n >= 0;
}

/* Whether the process is a child of the daemon, and has not ended (proc_pid_stat(5)). */
static bool daemon_has_child(const struct daemon *daemon, pid_t pid)
{
    char stat[512];
    char state;
    int parent;
    const char *end = proc_try(pid, "stat", stat, sizeof stat) ? strrchr(stat, ')') : NULL;
    return end != NULL && sscanf(end, ") %c %d", &state, &parent) == 2 && parent == daemon->pid &&
           state != 'Z' && state != 'X';
}

/* Looks at all processes. */
static pid_t daemon_search_child(const struct daemon *daemon)
{
    pid_t child = 0;
    DIR *dir = opendir("/proc");
    assert_non_null(dir);
    for (const struct dirent *entry; child == 0 && (entry = readdir(dir)) != NULL;) {
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (pid > 0 && daemon_has_child(daemon, pid))
            child = pid;
    }
    (void)closedir(dir);
    return child;
}

/* The kernel has a list of children, unless it was built without CONFIG_PROC_CHILDREN. */
pid_t daemon_find_child(const struct daemon *daemon)
{
    char file[64];
    char list[512];
    (void)snprintf(file, sizeof file, "task/%d/children", (int)daemon->pid);
    if (!proc_try(daemon->pid, file, list, sizeof list))
        return daemon_search_child(daemon);
    char *end;
    for (char *at = list;; at = end) {
        pid_t pid = (pid_t)strtol(at, &end, 10);
        if (end == at)
            return 0;
        if (daemon_has_child(daemon, pid))
            return pid;
    }
}

pid_t daemon_child(const struct daemon *daemon)
{
    uint64_t deadline = harness_now_ms() + HARNESS_DEADLINE_MS;
    pid_t child;
    while ((child = daemon_find_child(daemon)) == 0)
        if (harness_now_ms() > deadline)
            fail_msg("The keeper has no child");
    return child;
}

/* ---- statistics ---- */

static bool daemon_try_proc(const struct daemon *daemon, const char *name, char *buf, size_t size)
{
    return proc_try(daemon->pid, name, buf, size) && buf[0] != '\0';
}

static void daemon_read_proc(const struct daemon *daemon, const char *name, char *buf, size_t size)
{
    if (!daemon_try_proc(daemon, name, buf, size))
        fail_msg("/proc/%d/%s: %s", (int)daemon->pid, name, strerror(errno));
}

/* The figure in a line such as "Pss_Anon:    1172 kB". */
static long rollup_kb(const char *rollup, const char *name)
{
    const char *line = strstr(rollup, name);
    assert_non_null(line);
    return strtol(line + strlen(name), NULL, 10);
}

/*
 * The sum that statm(5) has counts pages of the program and its libraries, too, which come when
 * they are first executed, and the kernel rounds that sum for each processor.
 */
long daemon_memory_kb(const struct daemon *daemon)
{
    char rollup[2048];
    daemon_read_proc(daemon, "smaps_rollup", rollup, sizeof rollup);
    return rollup_kb(rollup, "\nPss_Anon:") + rollup_kb(rollup, "\nPss_Shmem:");
}

/* libuv may give each loop an io_uring, if the user may lock that much memory just then. */
static bool is_uring(int folder, const char *name)
{
    static const char uring[] = "anon_inode:[io_uring]";
    char target[sizeof uring];
    return readlinkat(folder, name, target, sizeof target) == sizeof uring - 1 &&
           memcmp(target, uring, sizeof uring - 1) == 0;
}

static long count_fds(const struct daemon *daemon, bool with_urings)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/fd", (int)daemon->pid);
    DIR *dir = opendir(path);
    const struct dirent *entry;
    assert_non_null(dir);
    long count = 0;
    while ((entry = readdir(dir)) != NULL)
        if (with_urings || !is_uring(dirfd(dir), entry->d_name))
            count++;
    (void)closedir(dir);
    return count - 2; /* . and .. */
}

long daemon_fds(const struct daemon *daemon)
{
    return count_fds(daemon, true);
}

long daemon_fds_but_uring(const struct daemon *daemon)
{
    return count_fds(daemon, false);
}

void daemon_expect_stats(struct daemon *daemon, unsigned workers, const char *stats)
{
    const char *line;
    int attempts = workers > 1 ? 1000 : 1;
    do {
        daemon_signal(daemon, SIGUSR1);
        line = daemon_wait_line(daemon, "Statistics: ");
    } while (strstr(line, stats) == NULL && --attempts > 0);
    if (attempts == 0)
        fail_msg("'%s' instead of '%s'", line, stats);
}

/* The time that a thread has had on a CPU, of its file "stat" in /proc. Returns -1 if it has gone.
 */
static long thread_cpu_ms(const struct daemon *daemon, const char *tid)
{
    char file[64];
    char stat[1024];
    (void)snprintf(file, sizeof file, "task/%.16s/stat", tid);
    char *at = daemon_try_proc(daemon, file, stat, sizeof stat) ? strrchr(stat, ')') : NULL;
    for (int field = 2; at != NULL && field < 14; field++) /* to utime, see proc(5) */
        at = strchr(at + 1, ' ');
    if (at == NULL)
        return -1;
    long ticks = strtol(at, &at, 10);
    ticks += strtol(at, NULL, 10);
    return ticks * 1000 / sysconf(_SC_CLK_TCK);
}

/*
 * How often a thread went to sleep or was preempted. Returns -1 if it has gone, or if its name is
 * another one.
 */
static long thread_switches(const struct daemon *daemon, const char *tid, const char *name)
{
    char file[64];
    char status[4096];
    (void)snprintf(file, sizeof file, "task/%.16s/status", tid);
    if (!daemon_try_proc(daemon, file, status, sizeof status) || strstr(status, name) != status)
        return -1;
    const char *slept = strstr(status, "\nvoluntary_ctxt_switches:");
    const char *preempted = strstr(status, "\nnonvoluntary_ctxt_switches:");
    if (slept == NULL || preempted == NULL)
        return -1;
    return strtol(strchr(slept, ':') + 1, NULL, 10) + strtol(strchr(preempted, ':') + 1, NULL, 10);
}

/* Returns false if the thread has gone, or is not one of the daemon's own. */
static bool thread_read(const struct daemon *daemon, struct daemon_thread *thread, const char *tid,
                        const char *name)
{
    thread->switches = thread_switches(daemon, tid, name);
    thread->cpu_ms = thread_cpu_ms(daemon, tid);
    return thread->switches >= 0 && thread->cpu_ms >= 0;
}

/* Sanitizers have threads too, which have the first one's name and wake up at any time. */
unsigned daemon_threads(const struct daemon *daemon,
                        struct daemon_thread threads[DAEMON_THREADS_MAX])
{
    char path[64];
    unsigned count = 0;
    (void)snprintf(path, sizeof path, "%ld", (long)daemon->pid);
    assert_true(thread_read(daemon, &threads[count++], path, "Name:\t"));
    (void)snprintf(path, sizeof path, "/proc/%ld/task", (long)daemon->pid);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        assert_true(count < DAEMON_THREADS_MAX);
        count += thread_read(daemon, &threads[count], entry->d_name, "Name:\tuvechod worker\n");
    }
    (void)closedir(dir);
    return count;
}

struct daemon_thread daemon_threads_sum(const struct daemon *daemon)
{
    struct daemon_thread threads[DAEMON_THREADS_MAX];
    struct daemon_thread sum = {.switches = 0};
    for (unsigned count = daemon_threads(daemon, threads); count > 0; count--) {
        sum.switches += threads[count - 1].switches;
        sum.cpu_ms += threads[count - 1].cpu_ms;
    }
    return sum;
}

void daemon_wait_figure(const struct daemon *daemon, long (*figure)(const struct daemon *),
                        long most)
{
    uint64_t deadline = harness_now_ms() + HARNESS_DEADLINE_MS;
    long now;
    while ((now = figure(daemon)) > most && harness_now_ms() < deadline)
        daemon_pass(daemon, POLL_AGAIN_MS);
    if (now > most)
        fail_msg("The figure stays at %ld instead of %ld", now, most);
}

/* A daemon that sleeps for a moment sleeps on until something wakes it. */
static struct daemon_thread daemon_wait_asleep(const struct daemon *daemon)
{
    uint64_t deadline = harness_now_ms() + HARNESS_DEADLINE_MS;
    struct daemon_thread now = daemon_threads_sum(daemon);
    struct daemon_thread before;
    do {
        if (harness_now_ms() > deadline)
            fail_msg("The daemon does not come to rest");
        before = now;
        daemon_pass(daemon, 150);
        now = daemon_threads_sum(daemon);
    } while (now.switches != before.switches || now.cpu_ms != before.cpu_ms);
    return now;
}

void daemon_assert_asleep(const struct daemon *daemon)
{
    struct daemon_thread before = daemon_wait_asleep(daemon);
    daemon_pass(daemon, 1100);
    struct daemon_thread after = daemon_threads_sum(daemon);
    assert_int_equal(after.switches - before.switches, 0);
    assert_int_equal(after.cpu_ms - before.cpu_ms, 0);
}
