/*
 * test_busy_poll.c - --busy-poll: whether the daemon polls or sleeps. The tests see each system
 * call of the daemon (ptrace(2)), and a poll that may sleep has another timeout than zero. So
 * nothing depends on how quick the machine is.
 */
#include "harness.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STREAMS = 40, BYTES = 200000, GENERATIONS = 4 };

/* ---- the system calls of the daemon ---- */

enum { TRACED_MAX = 16 };

struct traced {
    pid_t tid;
    bool stopped; /* until we let it go on */
    int signum;   /* which it gets then; mostly 0 */
    long call;    /* that it is about to make, or has made last */
    int timeout;  /* of that call, if it is a poll */
    bool enters;  /* it is about to make it */
    bool found;   /* the call was a poll, and has found something */
    /* What it has done in the last trace_until_sleep(). */
    unsigned polls;  /* that may not sleep */
    unsigned yields; /* opportunities for other threads */
};

static struct {
    struct traced list[TRACED_MAX];
    unsigned count;
} tracer;

static void trace_go_on(struct traced *traced)
{
    traced->stopped = false;
    assert_int_equal(ptrace(PTRACE_SYSCALL, traced->tid, NULL, (long)traced->signum), 0);
}

static bool is_poll(long call)
{
#ifdef SYS_epoll_wait
    if (call == SYS_epoll_wait)
        return true;
#endif
    return call == SYS_epoll_pwait;
}

static void trace_look(struct traced *traced)
{
    struct __ptrace_syscall_info info;
    if (ptrace(PTRACE_GET_SYSCALL_INFO, traced->tid, sizeof info, &info) < 0)
        harness_skip("the kernel does not tell the system calls of others");
    traced->enters = info.op == PTRACE_SYSCALL_INFO_ENTRY;
    if (traced->enters) {
        traced->call = (long)info.entry.nr;
        traced->timeout = (int)info.entry.args[3];
    }
    traced->found =
        info.op == PTRACE_SYSCALL_INFO_EXIT && is_poll(traced->call) && info.exit.rval > 0;
}

/* Waits until a thread, or any, stops, and looks why. Returns it. */
static struct traced *trace_wait(pid_t tid)
{
    int status;
    struct traced *traced = tracer.list;
    tid = waitpid(tid, &status, __WALL);
    while (traced < tracer.list + tracer.count && traced->tid != tid)
        traced++;
    assert_true(traced < tracer.list + tracer.count && WIFSTOPPED(status));
    traced->stopped = true;
    traced->signum = 0;
    traced->enters = traced->found = false;
    if (WSTOPSIG(status) == (SIGTRAP | 0x80))
        trace_look(traced);
    else if (WSTOPSIG(status) != SIGTRAP) /* SIGTRAP: we have interrupted it */
        traced->signum = WSTOPSIG(status);
    return traced;
}

static void trace_interrupt(const struct traced *traced)
{
    assert_int_equal(ptrace(PTRACE_INTERRUPT, traced->tid, NULL, NULL), 0);
    (void)trace_wait(traced->tid);
}

static void trace_thread(pid_t tid)
{
    assert_in_range(tracer.count, 0, TRACED_MAX - 1);
    if (ptrace(PTRACE_SEIZE, tid, NULL, (long)PTRACE_O_TRACESYSGOOD) < 0)
        harness_skip("may not trace the daemon");
    struct traced *traced = &tracer.list[tracer.count++];
    *traced = (struct traced){.tid = tid, .call = -1};
    trace_interrupt(traced);
    trace_go_on(traced);
}

/* Begins to trace all threads of the daemon. */
static void trace_begin(const struct daemon *daemon)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/task", (int)daemon->pid);
    DIR *dir = opendir(path);
    assert_non_null(dir);
    tracer.count = 0;
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        if (entry->d_name[0] != '.')
            trace_thread((pid_t)strtol(entry->d_name, NULL, 10));
    (void)closedir(dir);
}

/* From here on the daemon runs by itself. */
static void trace_end(void)
{
    for (unsigned i = 0; i < tracer.count; i++) {
        struct traced *traced = &tracer.list[i];
        if (!traced->stopped)
            trace_interrupt(traced);
        assert_int_equal(ptrace(PTRACE_DETACH, traced->tid, NULL, (long)traced->signum), 0);
    }
}

/* Lets the daemon run until a poll of any thread has found something. Returns that thread. */
static struct traced *trace_server(void)
{
    struct traced *traced;
    for (unsigned i = 0; i < tracer.count; i++)
        if (tracer.list[i].stopped)
            trace_go_on(&tracer.list[i]);
    while (traced = trace_wait(-1), !traced->found)
        trace_go_on(traced);
    return traced;
}

/* Lets a thread run until it is about to make its next call. */
static void trace_call(struct traced *traced)
{
    do {
        trace_go_on(traced);
        (void)trace_wait(traced->tid);
    } while (!traced->enters);
}

/* Lets a thread run until it may sleep, and counts what it does before that. */
static void trace_until_sleep(struct traced *traced)
{
    traced->polls = traced->yields = 0;
    trace_call(traced);
    while (!is_poll(traced->call) || traced->timeout == 0) {
        traced->polls += is_poll(traced->call);
        traced->yields += traced->call == SYS_sched_yield;
        trace_call(traced);
    }
}

/* ---- when it polls ---- */

/*
 * Sends a message, and lets the thread that answers it run until it may sleep. Returns that thread.
 * A poll that has found something else is another thread's.
 */
static struct traced *say(int fd)
{
    struct traced *server;
    client_send(fd, "hi", 2);
    do {
        server = trace_server();
        trace_until_sleep(server);
    } while (!client_readable(fd, 0));
    client_expect(fd, "GOT:hi", 6);
    return server;
}

static int connect_and_talk(const struct daemon *daemon)
{
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "hello");
    return fd;
}

static void sleeps_without_the_option(struct daemon *daemon)
{
    daemon_start(daemon, "");
    int fd = connect_and_talk(daemon);
    trace_begin(daemon);
    unsigned polls = say(fd)->polls + say(fd)->polls;
    trace_end();
    assert_int_equal(polls, 0);
    client_leave(fd);
}

/* What is wrong must be said after trace_end(): a daemon that is traced cannot be stopped. */
static void expect_polls(const struct daemon *daemon, int fd, bool yields)
{
    uint64_t deadline = harness_now_ms() + HARNESS_DEADLINE_MS;
    const struct traced *server;
    bool done;
    trace_begin(daemon);
    do {
        server = say(fd);
        done = yields ? server->yields > 0 : server->polls >= 2;
    } while (!done && harness_now_ms() < deadline);
    trace_end();
    assert_true(done);
}

/*
 * Whichever thread answers a message polls for a while, and sleeps in the end: at least two polls,
 * because the time begins with the end of the first. While other processes have needed the
 * processor it does not, so there may have to be several messages.
 */
static void polls_after_a_message(struct daemon *daemon)
{
    int fds[TRACED_MAX];
    daemon_start(daemon, "--busy-poll=10000");
    for (unsigned i = 0; i < harness_workers(); i++) {
        fds[i] = connect_and_talk(daemon); /* each has a thread of its own */
        expect_polls(daemon, fds[i], false);
    }
    for (unsigned i = 0; i < harness_workers(); i++)
        client_leave(fds[i]);
}

/* Sooner or later a poll is followed by an opportunity for other threads. */
static void gives_way(struct daemon *daemon)
{
    daemon_start(daemon, "--busy-poll=1000");
    int fd = connect_and_talk(daemon);
    expect_polls(daemon, fd, true);
    client_leave(fd);
}

/* The last client has gone: a second of polls would be some hundred thousands of them. */
static void sleeps_without_a_client(struct daemon *daemon)
{
    daemon_start(daemon, "--busy-poll=1000000");
    int fd = connect_and_talk(daemon);
    trace_begin(daemon);
    client_close(fd);
    struct traced *server = trace_server();
    do
        trace_call(server);
    while (server->call != SYS_close);
    trace_until_sleep(server);
    trace_end();
    assert_in_range(server->polls, 0, 3);
}

/* ---- what does not change ---- */

static void every_byte_is_right(struct daemon *daemon)
{
    static struct stream streams[STREAMS];
    daemon_start(daemon, "--busy-poll=200");
    for (unsigned i = 0; i < STREAMS; i++)
        stream_init(&streams[i], client_connect(daemon), i, BYTES, true);
    streams_run(streams, STREAMS);
}

/* A stop waits for the clients as ever, and the polls do not keep the loop running. */
static void stops_while_it_polls(struct daemon *daemon)
{
    daemon_start(daemon, "--busy-poll=1000000");
    int fd = connect_and_talk(daemon);
    daemon_signal(daemon, SIGTERM);
    (void)daemon_wait_line(daemon, "1 connection");
    client_ping(fd, "GOT:", "still there");
    client_leave(fd);
    assert_int_equal(daemon_wait_exit(daemon), 0);
}

static void an_upgrade_goes_on_polling(struct daemon *daemon)
{
    daemon_start(daemon, "--busy-poll=20000");
    int fd = connect_and_talk(daemon);
    for (int i = 0; i < GENERATIONS; i++) {
        daemon_signal(daemon, SIGUSR2);
        assert_contains(daemon_wait_line(daemon, "Took over "), "Took over 1 connection in ");
        client_ping(fd, "GOT:", "more");
    }
    expect_polls(daemon, fd, false);
    client_leave(fd);
}

int main(void)
{
    harness_init();
    const struct CMUnitTest tests[] = {
        e2e_test(sleeps_without_the_option),
        e2e_test(polls_after_a_message),
        e2e_test(gives_way),
        e2e_test(sleeps_without_a_client),
        e2e_test(every_byte_is_right),
        e2e_test(stops_while_it_polls),
        e2e_test(an_upgrade_goes_on_polling),
    };
    return cmocka_run_group_tests_name("e2e.busy_poll", tests, NULL, NULL);
}
