/*
 * test_storm.c - what befalls the daemon under load: a stop amid a storm of connections, standing
 * still for seconds, connections that an administrator kills, and a clock that wraps. No client
 * that the daemon has accepted loses a byte, unless the connection itself was killed.
 */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef CLONE_NEWTIME /* of Linux 5.6; older C libraries lack it */
#define CLONE_NEWTIME 0x00000080
#endif

enum {
    STORM_CHILDREN = 4,
    STORM_BEFORE = 1000, /* visits before the daemon is stopped */
    BURST = 40,          /* connections that a child opens at once */
    HELD_MAX = 4000,     /* connections that a child keeps: more than it can open */
    TEXT = 3000,
};

/* ---- a stop amid a storm of connections ---- */

/* What became of the visits from each port of the clients, which may have been used again. */
struct visits {
    atomic_uint answered[UINT16_MAX + 1]; /* to the byte, and ended with a FIN */
    atomic_uint refused;                  /* connect(2) failed */
    atomic_uint cut;                      /* reset before the first byte of an answer */
    atomic_uint wrong;                    /* anything else */
};

/* A storm: processes that connect all the time, until the daemon no longer listens. */
struct storm {
    struct visits *visits; /* in memory that all share */
    bool holds;            /* the clients stay until the daemon ends the connections */
    int told;              /* a byte is written here for each visit that has begun well */
    pid_t children[STORM_CHILDREN];
};

static uint16_t own_port(int fd)
{
    struct sockaddr_in in = {.sin_port = 0};
    socklen_t len = sizeof in;
    (void)getsockname(fd, (struct sockaddr *)&in, &len);
    return ntohs(in.sin_port);
}

/* Receives up to len bytes or the end. Returns how many, or a negative errno if there are none. */
static ssize_t receive(int fd, char *buf, size_t len)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = recv(fd, buf + done, len - done, 0);
        if (n < 0 && done == 0)
            return -errno;
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

/* In a child: receives the answer. Returns whether the connection goes on. */
static bool visit_is_answered(struct storm *storm, int fd)
{
    char answer[TEXT];
    ssize_t n = receive(fd, answer, TEXT);
    if (n == TEXT && memcmp(answer, pattern_get(false), TEXT) == 0) {
        ssize_t told = write(storm->told, "", 1); /* fails once enough have come */
        (void)told;
        return true;
    }
    if (n == -ECONNRESET)
        storm->visits->cut++;
    else
        storm->visits->wrong++;
    (void)close(fd);
    return false;
}

/* In a child: the daemon's FIN must come now. */
static void visit_ends(struct storm *storm, int fd)
{
    char byte;
    if (recv(fd, &byte, 1, 0) == 0)
        storm->visits->answered[own_port(fd)]++;
    else
        storm->visits->wrong++;
    (void)close(fd);
}

/* In a child: connects and sends. Returns the socket, or -1 once connections are refused. */
static int visit_begins(const struct daemon *daemon, struct storm *storm)
{
    for (;;) {
        int fd = client_try(daemon, "127.0.0.1");
        if (fd == -ECONNREFUSED || fd == -ECONNRESET)
            storm->visits->refused++;
        else if (fd < 0)
            storm->visits->wrong++;
        if (fd < 0)
            return -1;
        if (send(fd, pattern_get(false), TEXT, MSG_NOSIGNAL) == TEXT)
            return fd;
        storm->visits->cut++;
        (void)close(fd);
    }
}

/* In a child: many connections at once. Returns how many. */
static int burst(const struct daemon *daemon, struct storm *storm, int fds[BURST])
{
    int count = 0;
    while (count < BURST && (fds[count] = visit_begins(daemon, storm)) >= 0)
        count++;
    return count;
}

/* In a child: connects until connections are refused. */
static void storm_child(const struct daemon *daemon, struct storm *storm)
{
    static int held[HELD_MAX];
    int fds[BURST];
    int holds = 0;
    int count;
    do {
        count = burst(daemon, storm, fds);
        for (int i = 0; i < count; i++) {
            if (!visit_is_answered(storm, fds[i]))
                continue;
            if (storm->holds) {
                held[holds++] = fds[i];
                continue;
            }
            (void)shutdown(fds[i], SHUT_WR);
            visit_ends(storm, fds[i]);
        }
    } while (count == BURST && holds <= HELD_MAX - BURST);
    while (holds > 0)
        visit_ends(storm, held[--holds]);
}

/* Begins a storm, and waits until many clients have come. */
static void storm_begin(const struct daemon *daemon, struct storm *storm)
{
    int told[2];
    char some[64];
    (void)pattern_get(false); /* which the children share */
    storm->visits = mmap(NULL, sizeof *storm->visits, PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(storm->visits != MAP_FAILED);
    assert_int_equal(pipe2(told, O_CLOEXEC), 0);
    storm->told = told[1];
    pid_t parent = getpid();
    (void)fflush(NULL);
    for (int i = 0; i < STORM_CHILDREN; i++) {
        storm->children[i] = fork();
        assert_true(storm->children[i] >= 0);
        if (storm->children[i] > 0)
            continue;
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)close(told[0]);
        if (getppid() == parent)
            storm_child(daemon, storm);
        _exit(0);
    }
    for (ssize_t begun = 0; begun < STORM_BEFORE;) {
        ssize_t n = read(told[0], some, sizeof some);
        assert_true(n > 0);
        begun += n;
    }
    (void)close(told[0]);
    (void)close(told[1]);
}

static void storm_wait(const struct storm *storm)
{
    for (int i = 0; i < STORM_CHILDREN; i++) {
        int status = -1;
        assert_int_equal(waitpid(storm->children[i], &status, 0), storm->children[i]);
        assert_int_equal(status, 0);
    }
}

/* What the log at path says from an offset on, as a string that must be freed. */
static char *read_log(const char *path, size_t offset)
{
    struct stat stat;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &stat), 0);
    size_t len = (size_t)stat.st_size - offset;
    char *log = calloc(1, len + 1);
    assert_non_null(log);
    assert_int_equal(pread(fd, log, len, (off_t)offset), len);
    (void)close(fd);
    return log;
}

static size_t log_len(const char *path)
{
    char *log = read_log(path, 0);
    size_t len = strlen(log);
    free(log);
    return len;
}

/*
 * Each connection that the log says was accepted has been answered to the byte, and no other one
 * has. The daemon runs with --verbose.
 */
static void check_visits(const struct visits *visits, const char *log)
{
    static const char from[] = "Connection from 127.0.0.1:";
    static unsigned accepted[UINT16_MAX + 1];
    unsigned answered = 0;
    memset(accepted, 0, sizeof accepted);
    for (const char *at = log; (at = strstr(at, from)) != NULL;) {
        at += strlen(from);
        accepted[strtoul(at, NULL, 10)]++;
    }
    for (unsigned port = 0; port <= UINT16_MAX; port++) {
        if (accepted[port] != visits->answered[port])
            fail_msg("Port %u: accepted %u times, answered %u times", port, accepted[port],
                     visits->answered[port]);
        answered += accepted[port];
    }
    print_message("[          ] %u clients were answered, %u cut before, %u refused\n", answered,
                  visits->cut, visits->refused);
    assert_int_equal(visits->wrong, 0);
    assert_int_equal(visits->refused, STORM_CHILDREN);
    assert_true(answered >= STORM_BEFORE);
}

/* Prints what the daemon has said, but for its connections: what a sanitizer says is there, too. */
static void print_other_lines(const char *log)
{
    for (const char *line = log; *line != '\0';) {
        int len = (int)strcspn(line, "\n");
        if (strncmp(line, "Connection ", strlen("Connection ")) != 0)
            print_error("%.*s\n", len, line);
        line += line[len] == '\0' ? len : len + 1;
    }
}

/* Stops the daemon amid the storm. Returns its log, a string that must be freed. */
static char *stop_amid(struct daemon *daemon, struct storm *storm, const char *options)
{
    const char *path = harness_path("storm");
    (void)unlink(path);
    daemon_start_mute(
        daemon,
        (struct launch){.options = options, .stderr_kind = STDERR_FILE, .stderr_path = path});
    size_t before = log_len(path);
    storm_begin(daemon, storm);
    daemon_signal(daemon, SIGTERM);
    uint64_t begin_ms = harness_now_ms();
    int code = daemon_wait_exit(daemon);
    char *log = read_log(path, before);
    if (code != 0)
        print_other_lines(log);
    assert_int_equal(code, 0);
    print_message("[          ] the daemon ended after %u ms\n",
                  (unsigned)(harness_now_ms() - begin_ms));
    storm_wait(storm);
    check_visits(storm->visits, log);
    (void)munmap(storm->visits, sizeof *storm->visits);
    return log;
}

static void stop_amid_a_storm(struct daemon *daemon)
{
    struct storm storm = {.holds = false};
    char *log = stop_amid(daemon, &storm, "-v --rfc862 --bind=127.0.0.1 --drain-timeout=3600");
    assert_null(strstr(log, "Drain deadline"));
    free(log);
}

/* Clients above the limit wait in the backlog, where the end of the daemon cuts them. */
static void stop_amid_a_storm_at_the_limit(struct daemon *daemon)
{
    struct storm storm = {.holds = false};
    free(stop_amid(daemon, &storm,
                   "-v --rfc862 --bind=127.0.0.1 --drain-timeout=3600 --max-connections=2"));
}

/* The clients stay, so that the deadline ends all of them, also those that came last. */
static void deadline_amid_a_storm(struct daemon *daemon)
{
    struct storm storm = {.holds = true};
    char *log = stop_amid(daemon, &storm, "-v --rfc862 --bind=127.0.0.1 --drain-timeout=1");
    assert_contains(log, "Drain deadline: ending ");
    free(log);
}

/* ---- standing still under load ---- */

enum {
    STALLS = 3,
    STALL_MS = 3300, /* more than the timeout of three seconds */
    SLOW_MS = 2000,  /* a machine that needs so long for a few messages makes clients idle itself */
    BULK = 16,
    TALKERS = 30,
    STEP = 1 << 20, /* bytes that each stream moves between two stalls */
    ENDLESS = 1 << 30,
};

static void streams_enter(struct stream *streams, const struct daemon *daemon)
{
    for (unsigned i = 0; i < BULK; i++)
        stream_init(&streams[i], client_connect(daemon), i, ENDLESS, true);
}

/* Each stream moves some more bytes. */
static void streams_go_on(struct stream *streams)
{
    uint64_t least[BULK];
    for (unsigned i = 0; i < BULK; i++)
        least[i] = streams[i].checked + STEP;
    for (unsigned i = 0; i < BULK; i++)
        while (!streams[i].ended && streams[i].checked < least[i])
            (void)streams_turn(streams, BULK);
}

/* Takes all that the kernel holds for the streams, until nothing has come for a while. */
static void streams_take_what_is_there(struct stream *streams, int silence_ms)
{
    struct pollfd ready[BULK];
    for (unsigned i = 0; i < BULK; i++)
        ready[i] = (struct pollfd){.fd = streams[i].fd, .events = POLLIN};
    while (poll(ready, BULK, silence_ms) > 0)
        (void)streams_turn(streams, BULK);
}

/* Fails no test of a machine that is busy with other things. */
static void need_speed(uint64_t since_ms)
{
    if (harness_now_ms() - since_ms > SLOW_MS)
        harness_skip("this machine is too slow today");
}

/* While the daemon stands still, each talker sends something, or leaves. */
static void check_stall(struct daemon *daemon, struct stream *streams)
{
    int talkers[TALKERS];
    streams_go_on(streams);
    uint64_t begin_ms = harness_now_ms();
    for (int i = 0; i < TALKERS; i++) {
        talkers[i] = client_connect(daemon);
        client_ping(talkers[i], "GOT:", "hello");
    }
    daemon_freeze(daemon);
    need_speed(begin_ms);
    for (int i = 0; i < TALKERS; i++)
        if (i % 3 == 0)
            client_shutdown(talkers[i]);
        else if (i % 3 == 1)
            client_reset(talkers[i]);
        else
            client_send(talkers[i], "late", 4);
    streams_take_what_is_there(streams, STALL_MS);
    daemon_signal(daemon, SIGCONT);
    begin_ms = harness_now_ms();
    for (int i = 0; i < TALKERS; i++) {
        if (i % 3 == 2)
            client_expect(talkers[i], "GOT:late", 8);
        if (i % 3 == 0)
            client_expect_end(talkers[i]);
        if (i % 3 != 1)
            client_close(talkers[i]);
    }
    need_speed(begin_ms);
}

/* The time that passes while the daemon cannot run makes no connection idle that has traffic. */
static void stalls_under_load(struct daemon *daemon)
{
    static struct stream streams[BULK];
    daemon_start(daemon, "--idle-timeout=3");
    streams_enter(streams, daemon);
    int stalls = harness_workers() > 1 ? 1 : STALLS; /* each takes its time */
    for (int stall = 0; stall < stalls; stall++)
        check_stall(daemon, streams);
    (void)streams_cut_short(streams, BULK);
    daemon_expect_stats(daemon, 2, /* may be asked again, too: the resets may not be noticed yet */
                        "Statistics: 0 connections now, ");
    assert_int_equal(daemon_count(daemon, "idle for too long"), 0);
    assert_int_equal(daemon_count(daemon, "Connection closed: "), BULK + stalls * TALKERS);
}

/* ---- ss -K ---- */

/* A network of our own, in which nobody else's connections can be killed. Stays to our end. */
static void enter_own_network(void)
{
    struct ifreq lo = {.ifr_name = "lo"};
    if (unshare(CLONE_NEWNET) < 0)
        harness_skip("needs root, to have a network of its own");
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(ioctl(fd, SIOCGIFFLAGS, &lo), 0);
    lo.ifr_flags |= IFF_UP;
    assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &lo), 0);
    (void)close(fd);
}

/*
 * Runs ss(8), which kills the daemon's side of a connection, or the listening socket for port 0.
 * Returns whether it has killed anything; it then prints what.
 */
static bool ss_kills(const struct daemon *daemon, uint16_t port)
{
    char ours[32];
    char theirs[32];
    char some[64];
    int out[2];
    (void)snprintf(ours, sizeof ours, ":%u", (unsigned)daemon->port);
    (void)snprintf(theirs, sizeof theirs, ":%u", (unsigned)port);
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    (void)fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        (void)dup2(out[1], STDOUT_FILENO);
        if (port > 0)
            (void)execlp("ss", "ss", "-KHtn", "sport", "=", ours, "and", "dport", "=", theirs,
                         (char *)NULL);
        else
            (void)execlp("ss", "ss", "-KHtnl", "sport", "=", ours, (char *)NULL);
        _exit(127);
    }
    (void)close(out[1]);
    ssize_t printed = 0;
    for (ssize_t n; (n = read(out[0], some, sizeof some)) > 0;)
        printed += n;
    (void)close(out[0]);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    return printed > 0;
}

/* Every second stream is killed, amid its data; the daemon says so once for each. */
static void killed_under_load(struct daemon *daemon)
{
    static struct stream streams[BULK];
    char name[BULK][80];
    char line[160];
    enter_own_network();
    daemon_start(daemon, "--bind=127.0.0.1");
    long fds = daemon_fds(daemon);
    streams_enter(streams, daemon);
    for (unsigned i = 0; i < BULK; i++)
        (void)client_name(streams[i].fd, name[i]);
    for (unsigned i = 0; i < BULK; i += 2) {
        streams_go_on(streams);
        streams[i].may_break = true;
        if (!ss_kills(daemon, own_port(streams[i].fd)))
            harness_skip("needs ss(8) and a kernel that lets it kill (INET_DIAG_DESTROY)");
    }
    (void)streams_cut_short(streams, BULK);
    daemon_wait_figure(daemon, daemon_fds, fds);
    for (unsigned i = 0; i < BULK; i++) {
        assert_int_equal(streams[i].broken, i % 2 == 0);
        (void)snprintf(line, sizeof line, "Connection closed: %.79s%s\n", name[i],
                       i % 2 == 0 ? " (Software caused connection abort)" : "");
        assert_int_equal(daemon_count(daemon, line), 1);
    }
    client_visit(daemon);
    daemon_assert_asleep(daemon);
}

/* A listening socket that is killed costs no connection, and the daemon does not spin. */
static void killed_listener(struct daemon *daemon)
{
    enter_own_network();
    daemon_start(daemon, "--bind=127.0.0.1");
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "hello");
    if (!ss_kills(daemon, 0))
        harness_skip("needs ss(8) and a kernel that lets it kill (INET_DIAG_DESTROY)");
    (void)daemon_wait_line(daemon, "Accepting paused: ");
    struct daemon_thread before = daemon_threads_sum(daemon);
    assert_false(client_readable(fd, 1000));
    struct daemon_thread after = daemon_threads_sum(daemon);
    assert_between(after.cpu_ms - before.cpu_ms, 0, 200);
    assert_between(after.switches - before.switches, 0, 100);
    assert_int_equal(client_try(daemon, "127.0.0.1"), -ECONNREFUSED);
    client_ping(fd, "GOT:", "still here");
    client_leave(fd);
    assert_int_equal(daemon_count(daemon, "Accepting paused: "), 1);
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
}

/* ---- a clock that wraps ---- */

/*
 * Processes that we start from now on see a monotonic clock that is so short of 2^32 milliseconds,
 * where 32 bits wrap, as if the machine had run for 49 days. Stays to our end.
 */
static void enter_own_time(int left_ms)
{
    int64_t ahead_ms = (INT64_C(1) << 32) - left_ms - (int64_t)harness_now_ms();
    int64_t ms = (ahead_ms % 1000 + 1000) % 1000;
    if (unshare(CLONE_NEWTIME) < 0)
        harness_skip("needs root and a kernel with time namespaces");
    FILE *file = fopen("/proc/self/timens_offsets", "we");
    assert_non_null(file);
    (void)fprintf(file, "monotonic %lld %lld\n", (long long)((ahead_ms - ms) / 1000),
                  (long long)ms * 1000000);
    assert_int_equal(fclose(file), 0);
}

/*
 * The daemon's clock wraps while one client talks and another one is silent: the first one stays,
 * and the second one is ended after its time.
 */
static void clock_that_wraps(struct daemon *daemon)
{
    if (harness_workers() > 1)
        harness_skip("each loop has its own clock, so it is enough to test a single one");
    enter_own_time(1500);
    daemon_start(daemon, "--idle-timeout=3");
    int active = client_connect(daemon);
    int silent = client_connect(daemon);
    uint64_t begin_ms = harness_now_ms();
    client_ping(silent, "GOT:", "I shall be silent");
    uint64_t lasts_ms = 0;
    uint64_t pinged_ms = begin_ms;
    while (lasts_ms == 0 || harness_now_ms() - begin_ms < 5000) {
        need_speed(pinged_ms);
        client_ping(active, "GOT:", "I live");
        pinged_ms = harness_now_ms();
        assert_true(harness_now_ms() - begin_ms < HARNESS_DEADLINE_MS);
        if (lasts_ms == 0 && client_readable(silent, 50))
            lasts_ms = harness_now_ms() - begin_ms;
        (void)client_readable(active, 50);
    }
    client_expect_end(silent);
    client_close(silent);
    (void)daemon_wait_line(daemon, "idle for too long");
    assert_true(lasts_ms >= 2990); /* less rounding */
    assert_int_equal(daemon_count(daemon, "idle for too long"), 1);
    need_speed(pinged_ms);
    client_ping(active, "GOT:", "I live");
}

int main(void)
{
    harness_init();
    const struct CMUnitTest tests[] = {
        e2e_test(stop_amid_a_storm),     e2e_test(stop_amid_a_storm_at_the_limit),
        e2e_test(deadline_amid_a_storm), e2e_test(stalls_under_load),
        e2e_test(killed_under_load), /* in a network of its own, as all that follow */
        e2e_test(killed_listener),       e2e_test(clock_that_wraps), /* with a clock of its own */
    };
    return cmocka_run_group_tests_name("e2e.storm", tests, NULL, NULL);
}
