/*
 * harness.c - the tests' frame, and daemons as their parent sees them. Clients are in clients.c.
 */
#include "harness.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/capability.h>
#include <locale.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { ARGS_MAX = 80, POLL_AGAIN_MS = 5, LOOP_DESCRIPTORS = 16 /* as in descriptors.h */ };

/* ---- tests ---- */

/* Nothing of how we were started ourselves reaches the daemon. */
static void harness_clear_environment(void)
{
    static const char *const names[] = {
        "JOURNAL_STREAM", "LANG",          "LANGUAGE",     "LISTEN_FDS",    "LISTEN_FDNAMES",
        "LISTEN_PID",     "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC",
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        (void)unsetenv(names[i]);
    (void)setenv("LC_ALL", "C", 1);
}

void harness_init(void)
{
    harness_clear_environment();
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    (void)signal(SIGPIPE, SIG_IGN);
    (void)alarm(HARNESS_WATCHDOG_S); /* kills us, and our end kills the daemons */
}

void harness_skip(const char *why)
{
    print_message("[          ] not tested here: %s\n", why);
    skip();
}

/* ---- files ---- */

static char harness_directory[32];

static int harness_remove(const char *path, const struct stat *stat, int kind, struct FTW *ftw)
{
    (void)stat;
    (void)kind;
    (void)ftw;
    (void)remove(path);
    return 0;
}

static void harness_remove_directory(void)
{
    (void)nftw(harness_directory, harness_remove, 8, FTW_DEPTH | FTW_PHYS);
}

const char *harness_path(const char *name)
{
    static char paths[8][108]; /* as long as a Unix socket's may be */
    static unsigned next;
    if (harness_directory[0] == '\0') {
        memcpy(harness_directory, "/tmp/uvechod-XXXXXX", sizeof "/tmp/uvechod-XXXXXX");
        if (mkdtemp(harness_directory) == NULL || atexit(harness_remove_directory) != 0)
            fail_msg("%s: %s", harness_directory, strerror(errno));
    }
    char *path = paths[next++ % 8];
    assert_between(snprintf(path, 108, "%s/%s", harness_directory, name), 1, 107);
    return path;
}

/* ---- languages ---- */

/* Makes the locale in our directory, with localedef(1), once. Returns whether it is there. */
static bool language_make(const char *language, const char *path)
{
    if (access(path, X_OK) == 0)
        return true;
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        (void)dup2(null, STDOUT_FILENO);
        (void)dup2(null, STDERR_FILENO);
        (void)execlp("localedef", "localedef", "-i", language, "-f", "UTF-8", path, (char *)NULL);
        _exit(127);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    bool made = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    if (!made)
        (void)rmdir(path); /* which localedef leaves, and the next call would take for a locale */
    return made;
}

const char *const *harness_language(const char *language)
{
    static char all[64];
    static char place[128];
    static const char *const setup[] = {all, place, NULL};
    const char *name = all + (size_t)snprintf(all, sizeof all, "LC_ALL=");
    (void)snprintf(all + strlen(all), sizeof all - strlen(all), "%s.UTF-8", language);
    (void)snprintf(place, sizeof place, "LANGUAGE="); /* something that changes nothing */
    locale_t locale = newlocale(LC_ALL_MASK, name, (locale_t)0);
    if (locale != (locale_t)0) {
        freelocale(locale);
        return setup;
    }
    const char *path = harness_path(name);
    if (!language_make(language, path))
        harness_skip("neither this locale nor localedef(1) and its sources (package locales)");
    (void)snprintf(place, sizeof place, "LOCPATH=%.*s", (int)(strrchr(path, '/') - path), path);
    return setup;
}

void assert_contains(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("'%s' is not in '%s'", part, text);
}

void assert_one_line(const char *text)
{
    const char *end = strchr(text, '\n');
    if (end == NULL || end[1] != '\0')
        fail_msg("'%s' is not one line", text);
}

bool harness_may_weigh(void)
{
    if (HARNESS_ASAN || HARNESS_TSAN)
        print_message("[          ] memory is not weighed: a sanitizer holds some of its own\n");
    return !HARNESS_ASAN && !HARNESS_TSAN;
}

uint64_t harness_now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void harness_body(void **state)
{
    struct e2e_case *test = *state;
    test->run(test->daemon);
    test->passed = true;
}

int harness_setup(void **state)
{
    struct e2e_case *test = *state;
    test->passed = false;
    test->daemon = calloc(1, sizeof *test->daemon);
    if (test->daemon == NULL)
        return -1;
    test->daemon->err = -1;
    test->daemon->pidfd = -1;
    return 0;
}

/* What a test has left open is a client: it ends before its daemon is told to. */
static void harness_close_clients(const struct daemon *daemon)
{
    DIR *dir = opendir("/proc/self/fd");
    if (dir == NULL)
        return;
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        int fd = (int)strtol(entry->d_name, NULL, 10);
        int type;
        socklen_t len = sizeof type;
        if (fd > STDERR_FILENO && fd != daemon->err && fd != dirfd(dir) &&
            getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0)
            (void)close(fd);
    }
    (void)closedir(dir);
}

static void daemon_drain_log(struct daemon *daemon);
static bool daemon_poll_exit(struct daemon *daemon, int *status);

/* Ends what still runs, as an administrator would. Returns whether it ended well. */
static bool harness_end(struct daemon *daemon)
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

int harness_teardown(void **state)
{
    struct e2e_case *test = *state;
    struct daemon *daemon = test->daemon;
    harness_close_clients(daemon);
    bool good = harness_end(daemon);
    if (daemon->log != NULL && (!good || !test->passed)) {
        size_t skipped = daemon->log_len > 4000 ? daemon->log_len - 4000 : 0;
        print_message("The daemon's log:\n%s\n", daemon->log + skipped);
    }
    if (daemon->err >= 0)
        (void)close(daemon->err);
    if (daemon->pidfd >= 0)
        (void)close(daemon->pidfd);
    free(daemon->log);
    free(daemon);
    return good ? 0 : -1;
}

/* ---- starting ---- */

unsigned harness_workers(void)
{
    const char *workers = getenv("UVECHOD_TEST_WORKERS");
    return workers != NULL ? (unsigned)strtoul(workers, NULL, 10) : 1;
}

/* Splits options at the spaces; text is written to. */
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

/* In the child: a descriptor of ours becomes its 0, 1 or 2, or that one is closed. */
static void launch_descriptor(int from, int to)
{
    if (from < 0)
        (void)close(to);
    else if (dup2(from, to) < 0)
        _exit(126);
}

/* In the child: sets a variable to one or two numbers. */
static void launch_setenv(const char *name, unsigned long long first, const char *second)
{
    char value[64];
    (void)snprintf(value, sizeof value, "%llu%s", first, second);
    (void)setenv(name, value, 1);
}

/* In the child: JOURNAL_STREAM names what fd is (systemd.exec(5)). */
static void launch_journal(int fd)
{
    struct stat file;
    char inode[32];
    if (fstat(fd, &file) < 0)
        _exit(126);
    (void)snprintf(inode, sizeof inode, ":%llu", (unsigned long long)file.st_ino);
    launch_setenv("JOURNAL_STREAM", file.st_dev, inode);
}

/* In the child: descriptors 3 and on are the passed ones, none of which is that low itself. */
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

/* In the child: what a service manager puts into the environment, and then what the test does. */
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
    (void)execvp(launch->program != NULL ? launch->program : UVECHOD_BINARY, args);
    _exit(127);
}

/* Returns the pid. out and err become its stdout and stderr; -1 is closed. */
static pid_t launch_fork(const struct launch *launch, int out, int err)
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

/* Our end of a terminal that changes nothing, and the other. Returns 0 or -1. */
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

/* Both ends of what will be the daemon's stderr: ours, then its. */
static void launch_stderr(const struct launch *launch, int ends[2])
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

void daemon_launch(struct daemon *daemon, const struct launch *launch)
{
    int ends[2];
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

static bool address_parse(const char *text, uint16_t port, struct sockaddr_storage *addr,
                          socklen_t *len)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    bool is4 = inet_pton(AF_INET, text, &in.sin_addr) == 1;
    *len = is4 ? sizeof in : sizeof in6;
    if (is4)
        memcpy(addr, &in, sizeof in);
    else if (inet_pton(AF_INET6, text, &in6.sin6_addr) == 1)
        memcpy(addr, &in6, sizeof in6);
    else
        return false;
    return true;
}

/* A socket bound to a free port of the address. Returns it, or -1. */
static int address_bind(const char *text, struct sockaddr_storage *addr)
{
    socklen_t len;
    if (!address_parse(text, 0, addr, &len))
        return -1;
    int fd = socket(addr->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && (bind(fd, (struct sockaddr *)addr, len) < 0 ||
                    getsockname(fd, (struct sockaddr *)addr, &len) < 0)) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

bool harness_has_address(const char *address)
{
    struct sockaddr_storage addr;
    int fd = address_bind(address, &addr);
    if (fd >= 0)
        (void)close(fd);
    return fd >= 0;
}

uint16_t harness_free_port(void)
{
    struct sockaddr_storage addr;
    int fd = address_bind("0.0.0.0", &addr);
    assert_true(fd >= 0);
    (void)close(fd);
    struct sockaddr_in in;
    memcpy(&in, &addr, sizeof in);
    return ntohs(in.sin_port);
}

/* How many addresses a daemon with these options will listen on. */
static int launch_addresses(const struct launch *launch)
{
    int count = launch->fds_count;
    const char *at = launch->options != NULL ? launch->options : "";
    while ((at = strstr(at, "--bind=")) != NULL) {
        count++;
        at++;
    }
    return count > 0 ? count : 1 + harness_has_address("::");
}

void daemon_start_as(struct daemon *daemon, const struct launch *launch)
{
    daemon_launch(daemon, launch);
    for (int i = launch_addresses(launch); i > 0; i--) {
        const char *line = daemon_wait_line(daemon, "Listening on ");
        if (strstr(line, " unix:") != NULL)
            continue;
        unsigned long port = strtoul(strrchr(line, ':') + 1, NULL, 10);
        assert_between(port, 1, UINT16_MAX);
        if (daemon->port != 0)
            assert_int_equal(port, daemon->port);
        daemon->port = (uint16_t)port;
    }
}

void daemon_start(struct daemon *daemon, const char *options)
{
    daemon_start_as(daemon, &(struct launch){.options = options});
}

/* ---- the log ---- */

/* Reads once. Returns false at the end. */
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

/* Waits for something to be read. Returns false when nothing has come, or nothing ever will. */
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

/* The next whole line into daemon->line; false when there is none yet. */
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

/* ---- signals and the end ---- */

void daemon_signal(const struct daemon *daemon, int signum)
{
    assert_true(daemon->pid > 0);
    assert_int_equal(kill(daemon->pid, signum), 0);
}

/* Waits for the end and reads the log meanwhile. Returns false when the daemon goes on. */
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

void daemon_freeze(const struct daemon *daemon)
{
    int status;
    daemon_signal(daemon, SIGSTOP);
    assert_int_equal(waitpid(daemon->pid, &status, WUNTRACED), daemon->pid);
    assert_true(WIFSTOPPED(status));
}

/* ---- statistics ---- */

/* The start of one of its files in /proc, as a string. */
static bool daemon_try_proc(const struct daemon *daemon, const char *name, char *buf, size_t size)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/%s", (int)daemon->pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, buf, size - 1);
    if (fd >= 0)
        (void)close(fd);
    buf[n > 0 ? n : 0] = '\0';
    return n > 0;
}

static void daemon_read_proc(const struct daemon *daemon, const char *name, char *buf, size_t size)
{
    if (!daemon_try_proc(daemon, name, buf, size))
        fail_msg("/proc/%d/%s: %s", (int)daemon->pid, name, strerror(errno));
}

long daemon_rss_kb(const struct daemon *daemon)
{
    char statm[256];
    daemon_read_proc(daemon, "statm", statm, sizeof statm);
    const char *resident = strchr(statm, ' ');
    assert_non_null(resident);
    return strtol(resident, NULL, 10) * (sysconf(_SC_PAGESIZE) / 1024);
}

long daemon_fds(const struct daemon *daemon)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/fd", (int)daemon->pid);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    long count = 0;
    while (readdir(dir) != NULL)
        count++;
    (void)closedir(dir);
    return count - 2; /* . and .. */
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

/* What a file of /proc for a thread, "stat", gives as its time on a CPU. Returns -1 for none. */
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

/* How often it went to sleep or was made to. Returns -1 for none, and for one of another name. */
static long thread_switches(const struct daemon *daemon, const char *tid, const char *name)
{
    char file[64];
    char status[4096];
    (void)snprintf(file, sizeof file, "task/%.16s/status", tid);
    if (!daemon_try_proc(daemon, file, status, sizeof status) || strstr(status, name) != status)
        return -1;
    const char *slept = strstr(status, "\nvoluntary_ctxt_switches:");
    const char *made_to = strstr(status, "\nnonvoluntary_ctxt_switches:");
    if (slept == NULL || made_to == NULL)
        return -1;
    return strtol(strchr(slept, ':') + 1, NULL, 10) + strtol(strchr(made_to, ':') + 1, NULL, 10);
}

/* Returns false for what is not there, or not ours. */
static bool thread_read(const struct daemon *daemon, struct daemon_thread *thread, const char *tid,
                        const char *name)
{
    thread->switches = thread_switches(daemon, tid, name);
    thread->cpu_ms = thread_cpu_ms(daemon, tid);
    return thread->switches >= 0 && thread->cpu_ms >= 0;
}

/* Sanitizers have threads, too, which bear the first one's name and wake up as they please. */
unsigned daemon_threads(const struct daemon *daemon,
                        struct daemon_thread threads[HARNESS_THREADS_MAX])
{
    char path[64];
    unsigned count = 0;
    (void)snprintf(path, sizeof path, "%ld", (long)daemon->pid);
    assert_true(thread_read(daemon, &threads[count++], path, "Name:\t"));
    (void)snprintf(path, sizeof path, "/proc/%ld/task", (long)daemon->pid);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        assert_true(count < HARNESS_THREADS_MAX);
        count += thread_read(daemon, &threads[count], entry->d_name, "Name:\tuvechod worker\n");
    }
    (void)closedir(dir);
    return count;
}

struct daemon_thread daemon_threads_sum(const struct daemon *daemon)
{
    struct daemon_thread threads[HARNESS_THREADS_MAX];
    struct daemon_thread sum = {.switches = 0};
    for (unsigned count = daemon_threads(daemon, threads); count > 0; count--) {
        sum.switches += threads[count - 1].switches;
        sum.cpu_ms += threads[count - 1].cpu_ms;
    }
    return sum;
}

/* Passes a little time, or less if the daemon ends meanwhile, which it must not. */
static void daemon_pass(const struct daemon *daemon, int ms)
{
    struct pollfd ended = {.fd = daemon->pidfd, .events = POLLIN};
    if (poll(&ended, 1, ms) != 0)
        fail_msg("The daemon has ended");
}

void daemon_wait_figure(const struct daemon *daemon, long (*figure)(const struct daemon *),
                        long most)
{
    uint64_t deadline = harness_now_ms() + HARNESS_DEADLINE_MS / 4;
    long now;
    while ((now = figure(daemon)) > most && harness_now_ms() < deadline)
        daemon_pass(daemon, POLL_AGAIN_MS);
    if (now > most)
        fail_msg("The figure stays at %ld instead of %ld", now, most);
}

/* Who has slept through a moment will sleep on, if nothing wakes it. */
static struct daemon_thread daemon_wait_asleep(const struct daemon *daemon)
{
    uint64_t deadline = harness_now_ms() + HARNESS_DEADLINE_MS / 4;
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

/* ---- a run to the end ---- */

/* Appends what can be read to a string. Returns false at the end. */
static bool outcome_read(int fd, char *text, size_t size)
{
    size_t len = strlen(text);
    ssize_t n = read(fd, text + len, size - 1 - len);
    text[len + (n > 0 ? (size_t)n : 0)] = '\0';
    return n > 0;
}

/* Until both ends are closed, which is when it has ended. */
static void outcome_read_all(struct outcome *outcome, struct pollfd ready[2])
{
    while (ready[0].fd >= 0 || ready[1].fd >= 0) {
        if (poll(ready, 2, HARNESS_DEADLINE_MS) <= 0)
            fail_msg("The daemon does not end");
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
        fail_msg("The daemon was ended by signal %d: %s", WTERMSIG(status), outcome->err);
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
