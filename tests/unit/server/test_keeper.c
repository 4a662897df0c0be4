/*
 * keeper.c and kept.c: what the keeper decides. Its children are wrapped: the test says what
 * becomes of them, and the clock goes on when the keeper waits.
 */
#include "server/keeper.h"

#include "base/cli.h"
#include "os/child.h"
#include "os/descriptors.h"
#include "os/systemd.h"
#include "server/kept.h"

#include "unit/support.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { LEDGER = 7, SENT_MAX = 8, START_MS = 1000000 };

/* What child_wait() returns next, and what has happened meanwhile. */
struct event {
    int event;    /* a signal, CHILD_ENDED or CHILD_LATE */
    int code;     /* of a child that has ended */
    int signum;   /* the same */
    bool ready;   /* the daemon has told its ledger, and that it is ready */
    bool opened;  /* it has only told its ledger */
    bool private; /* its ledger is no file */
    bool executes;
    bool moves;  /* at the end of the wait */
    unsigned ms; /* how long it took */
};

static struct {
    struct program program;
    struct server_config config;
    const struct event *events; /* up to .ms == UINT_MAX */
    int made;                   /* children */
    int made_last; /* child_make() returns 0 for this one: the test is the child then */
    int make_error;
    int sent[SENT_MAX]; /* signals */
    int sent_to[SENT_MAX];
    int sends;
    int cleared;
    int executed;
    unsigned waited_ms; /* the last limit of child_wait() */
    uint64_t now_ms;
    uint64_t watchdog_us;
    bool prepared;
    bool no_memory; /* mmap() fails */
    int lines;      /* the end of the log that the test reads */
    int stderr_before;
} fix;

_Noreturn void __real__exit(int code);
_Noreturn void __wrap__exit(int code);
void *__real_mmap(void *at, size_t bytes, int access, int flags, int fd, off_t offset);
void *__wrap_mmap(void *at, size_t bytes, int access, int flags, int fd, off_t offset);
void *__wrap_mmap64(void *at, size_t bytes, int access, int flags, int fd, off_t offset);
pid_t __wrap_child_make(struct child *child);
int __wrap_child_wait(struct child *child, unsigned ms);
void __wrap_child_signal(const struct child *child, int signum);
void __wrap_child_prepare(struct child *child);
void __wrap_child_release(const struct child *child);
int __wrap_program_execute(const struct program *program, const char *name, int number);
void __wrap_descriptors_close_marked(int keep);
long __wrap_descriptors_raise(void);
uint64_t __wrap_systemd_watchdog_us(void);
uint64_t __wrap_uv_hrtime(void);

/* What a child of the test has executed must be counted for the coverage. */
void __wrap__exit(int code)
{
#if UVECHOD_COVERAGE
    __gcov_dump();
#endif
    __real__exit(code);
}

void *__wrap_mmap(void *at, size_t bytes, int access, int flags, int fd, off_t offset)
{
    if (!fix.no_memory)
        return __real_mmap(at, bytes, access, flags, fd, offset);
    errno = ENOMEM;
    return MAP_FAILED;
}

void *__wrap_mmap64(void *at, size_t bytes, int access, int flags, int fd, off_t offset)
{
    return __wrap_mmap(at, bytes, access, flags, fd, offset);
}

pid_t __wrap_child_make(struct child *child)
{
    (void)child;
    assert_true(fix.prepared);
    if (fix.make_error < 0)
        return fix.make_error;
    return ++fix.made == fix.made_last ? 0 : 1000 + fix.made;
}

int __wrap_child_wait(struct child *child, unsigned ms)
{
    const struct event *event = fix.events++;
    assert_true(event->ms != UINT_MAX);
    fix.waited_ms = ms;
    fix.now_ms += event->ms;
    if (event->ready) {
        kept_tell_ledger(fix.config.kept, event->private ? -1 : LEDGER);
        kept_tell_ready(fix.config.kept);
    }
    if (event->opened)
        kept_tell_ledger(fix.config.kept, LEDGER);
    if (event->moves)
        kept_tell_moved(fix.config.kept);
    if (event->executes)
        atomic_store(&fix.config.kept->executes, true);
    child->code = event->code;
    child->signum = event->signum;
    return event->event;
}

void __wrap_child_signal(const struct child *child, int signum)
{
    (void)child;
    assert_true(fix.sends < SENT_MAX);
    fix.sent[fix.sends] = signum;
    fix.sent_to[fix.sends++] = fix.made;
}

void __wrap_child_prepare(struct child *child)
{
    *child = (struct child){.code = -1};
    assert_false(fix.prepared);
    fix.prepared = true;
}

void __wrap_child_release(const struct child *child)
{
    (void)child;
    assert_true(fix.prepared);
    fix.prepared = false;
}

int __wrap_program_execute(const struct program *program, const char *name, int number)
{
    assert_false(fix.prepared);
    assert_ptr_equal(program, &fix.program);
    assert_string_equal(name, "UVECHOD_LEDGER");
    assert_int_equal(number, LEDGER);
    fix.executed++;
    return -ENOEXEC;
}

void __wrap_descriptors_close_marked(int keep)
{
    assert_int_equal(keep, LEDGER);
    fix.cleared++;
}

long __wrap_descriptors_raise(void)
{
    return 1024;
}

uint64_t __wrap_systemd_watchdog_us(void)
{
    return fix.watchdog_us;
}

uint64_t __wrap_uv_hrtime(void)
{
    return fix.now_ms * 1000000;
}

static int fixture_open(void **state)
{
    int fds[2];
    (void)state;
    memset(&fix, 0, sizeof fix);
    fix.now_ms = START_MS;
    fix.program = (struct program){.path = (char *)(uintptr_t) "/x/uvechod"};
    fix.config = (struct server_config){.program = &fix.program};
    make_socketpair(fds);
    fix.lines = fds[0];
    fix.stderr_before = dup(STDERR_FILENO);
    assert_int_equal(dup2(fds[1], STDERR_FILENO), STDERR_FILENO);
    (void)close(fds[1]);
    return 0;
}

static int fixture_close(void **state)
{
    (void)state;
    assert_int_equal(dup2(fix.stderr_before, STDERR_FILENO), STDERR_FILENO);
    (void)close(fix.stderr_before);
    (void)close(fix.lines);
    if (fix.config.kept != NULL)
        assert_int_equal(munmap(fix.config.kept, sizeof *fix.config.kept), 0);
    return 0;
}

#define END                                                                                        \
    {                                                                                              \
        .ms = UINT_MAX                                                                             \
    }

/* The keeper ends with this code, has used up the events and logged these lines. */
static void check(const struct event *events, int code, const char *lines)
{
    char text[1024];
    fix.events = events;
    assert_int_equal(keeper_run(&fix.config, LOG_LEVEL_INFO), code);
    assert_int_equal(fix.events->ms, UINT_MAX);
    ssize_t n = recv(fix.lines, text, sizeof text - 1, MSG_DONTWAIT);
    text[n > 0 ? n : 0] = '\0';
    assert_string_equal(text, lines);
}

/* The signals that were sent, and how many children had been made by then. */
static void expect_sent(int index, int signum, int made)
{
    assert_true(index < fix.sends);
    assert_int_equal(fix.sent[index], signum);
    assert_int_equal(fix.sent_to[index], made);
}

#define SUCCESSOR(signum) "The daemon was ended by signal " #signum "; starting a successor\n"

/* Such as after a start that has failed, or a stop. */
static void test_a_daemon_that_ends_by_itself(void **state)
{
    const struct event fails[] = {{.code = 2}, END};
    const struct event stops[] = {{.ready = true, .code = 0}, END};
    (void)state;
    check(fails, 2, "");
    assert_int_equal(fix.waited_ms, 0);
    (void)munmap(fix.config.kept, sizeof *fix.config.kept);
    fix.prepared = false;
    check(stops, 0, "");
    assert_int_equal(fix.made, 2);
    assert_int_equal(fix.cleared, 0);
}

static void test_a_child(void **state)
{
    const struct event events[] = {END};
    (void)state;
    fix.made_last = 1;
    check(events, KEEPER_CHILD, "");
    assert_non_null(fix.config.kept);
    assert_int_equal(fix.config.ledger, 0);
    assert_int_equal(kept_crashed_ns(fix.config.kept), 0);
}

static void test_a_successor(void **state)
{
    const struct event events[] = {{.ready = true, .signum = SIGSEGV, .code = -1, .ms = 5}, END};
    (void)state;
    fix.made_last = 2;
    check(events, KEEPER_CHILD, SUCCESSOR(11));
    assert_int_equal(fix.cleared, 1);
    assert_int_equal(fix.config.ledger, LEDGER);
    assert_int_equal(kept_crashed_ns(fix.config.kept), (START_MS + 5) * UINT64_C(1000000));
    assert_true(kept_blames(fix.config.kept));
    assert_false(kept_blames(NULL));
    assert_int_equal(kept_crashed_ns(NULL), 0);
}

/* Whatever the daemon did, SIGKILL came from outside. */
static void test_nobody_is_to_blame(void **state)
{
    const struct event events[] = {{.ready = true, .signum = SIGKILL, .code = -1}, END};
    (void)state;
    fix.made_last = 2;
    check(events, KEEPER_CHILD, SUCCESSOR(9));
    assert_false(kept_blames(fix.config.kept));
}

static void test_a_daemon_that_was_not_ready(void **state)
{
    const struct event events[] = {{.opened = true, .signum = SIGSEGV, .code = -1}, END};
    (void)state;
    check(events, CLI_FAILED,
          "The daemon was ended by signal 11, and there is nothing to go on with\n");
    assert_int_equal(fix.made, 1);
}

/* Such as on a system that refuses a file in memory. */
static void test_a_daemon_without_a_ledger(void **state)
{
    const struct event events[] = {{.ready = true, .private = true, .signum = SIGKILL, .code = -1},
                                   END};
    (void)state;
    check(events, CLI_FAILED,
          "The daemon was ended by signal 9, and there is nothing to go on with\n");
    assert_int_equal(fix.made, 1);
}

/* The predecessor's connections are there from the beginning. */
static void test_a_crash_during_a_takeover(void **state)
{
    const struct event events[] = {{.signum = SIGKILL, .code = -1}, {.code = 0}, END};
    (void)state;
    fix.config.ledger = LEDGER;
    check(events, 0, SUCCESSOR(9));
    assert_int_equal(fix.made, 2);
    assert_int_equal(fix.config.ledger, LEDGER);
}

/* A ledger that could not be found: the daemon says so itself. */
static void test_a_ledger_that_is_none(void **state)
{
    const struct event events[] = {{.signum = SIGKILL, .code = -1}, END};
    (void)state;
    fix.config.ledger = -EINVAL;
    check(events, CLI_FAILED,
          "The daemon was ended by signal 9, and there is nothing to go on with\n");
    assert_int_equal(fix.config.ledger, -EINVAL);
}

/* Six crashes, of which the last comes so long after the first. */
static void check_crashes(unsigned ms, int code, const char *last)
{
    char lines[1024] = "";
    struct event events[KEEPER_CRASHES_MAX + 3] = {{.ready = true, .signum = SIGABRT, .code = -1}};
    for (int i = 1; i <= KEEPER_CRASHES_MAX; i++) {
        events[i] = (struct event){.signum = SIGABRT, .code = -1};
        (void)strcat(lines, SUCCESSOR(6));
    }
    events[KEEPER_CRASHES_MAX].ms = ms;
    events[KEEPER_CRASHES_MAX + 1] = (struct event)END;
    if (code == 0) {
        events[KEEPER_CRASHES_MAX + 1] = (struct event){.code = 0};
        events[KEEPER_CRASHES_MAX + 2] = (struct event)END;
    }
    (void)strcat(lines, last);
    check(events, code, lines);
}

static void test_a_crash_too_many(void **state)
{
    (void)state;
    check_crashes(KEEPER_INTERVAL_MS - 1, CLI_FAILED,
                  "The daemon was ended by signal 6, more than 5 times within 10 s: giving up\n");
    assert_int_equal(fix.made, KEEPER_CRASHES_MAX + 1);
}

static void test_crashes_now_and_then(void **state)
{
    (void)state;
    check_crashes(KEEPER_INTERVAL_MS, 0, SUCCESSOR(6));
    assert_int_equal(fix.made, KEEPER_CRASHES_MAX + 2);
}

static void test_signals_are_forwarded(void **state)
{
    const struct event events[] = {
        {.ready = true, .event = SIGUSR1}, {.event = SIGUSR2}, {.event = SIGABRT},
        {.signum = SIGABRT, .code = -1},   {.code = 0},        END};
    (void)state;
    check(events, 0, SUCCESSOR(6));
    assert_int_equal(fix.sends, 3);
    expect_sent(0, SIGUSR1, 1);
    expect_sent(1, SIGUSR2, 1);
    expect_sent(2, SIGABRT, 1);
}

static void check_stop(int signum)
{
    const struct event events[] = {
        {.ready = true, .event = signum}, {.signum = SIGKILL, .code = -1}, {.code = 0}, END};
    fix.made = fix.sends = 0;
    fix.prepared = false;
    check(events, 0, SUCCESSOR(9));
    assert_int_equal(fix.sends, 2);
    expect_sent(0, signum, 1);
    expect_sent(1, signum, 2);
    (void)munmap(fix.config.kept, sizeof *fix.config.kept);
    fix.config.kept = NULL;
    fix.config.ledger = 0;
}

/* A daemon that crashes while it stops has a successor that stops. */
static void test_a_stop_is_not_forgotten(void **state)
{
    static const int signums[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT};
    (void)state;
    for (size_t i = 0; i < sizeof signums / sizeof *signums; i++)
        check_stop(signums[i]);
}

/* It is the ledger's by then, or closed. Nothing is leaked either. */
static void test_what_was_passed_to_the_first_daemon(void **state)
{
    const struct event events[] = {{.ready = true, .signum = SIGSEGV, .code = -1}, END};
    (void)state;
    char **names = calloc(2, sizeof *names);
    assert_non_null(names);
    names[0] = strdup("x.socket");
    fix.config.legacy = (struct legacy){.found = true, .first = 30, .count = 1, .names = names};
    fix.made_last = 2;
    check(events, KEEPER_CHILD, SUCCESSOR(11));
    assert_false(fix.config.legacy.found);
    assert_null(fix.config.legacy.names);
}

/* A daemon that has asked the program ends, and the keeper executes it; here that fails. */
static void test_an_upgrade(void **state)
{
    const struct event events[] = {
        {.ready = true, .signum = SIGSEGV, .code = -1}, {.executes = true, .code = 0}, END};
    (void)state;
    fix.made_last = 3;
    check(events, KEEPER_CHILD, SUCCESSOR(11) "Cannot upgrade: /x/uvechod: Exec format error\n");
    assert_int_equal(fix.executed, 1);
    assert_int_equal(fix.cleared, 2);
    assert_true(fix.prepared);
    assert_int_equal(fix.config.ledger, LEDGER);
    assert_int_equal(kept_crashed_ns(fix.config.kept), 0);
    assert_false(kept_blames(fix.config.kept));
    assert_false(atomic_load(&fix.config.kept->executes));
}

/* The daemon has just said why it ends. Its successor ends for another reason. */
static void test_a_kill_instead_of_an_end(void **state)
{
    const struct event events[] = {
        {.ready = true, .executes = true, .signum = SIGKILL, .code = -1}, {.code = 0}, END};
    (void)state;
    check(events, 0, SUCCESSOR(9));
    assert_int_equal(fix.executed, 0);
    assert_int_equal(fix.made, 2);
}

/* The stop came after the daemon had blocked its signals. */
static void test_a_stop_instead_of_an_upgrade(void **state)
{
    const struct event events[] = {
        {.ready = true, .event = SIGTERM}, {.executes = true, .code = 0}, {.code = 0}, END};
    (void)state;
    check(events, 0, "");
    assert_int_equal(fix.executed, 0);
    expect_sent(1, SIGTERM, 2);
}

/* ---- the watchdog: 3 s, of which the keeper waits 2 ---- */

static void test_a_daemon_that_hangs(void **state)
{
    const struct event events[] = {{.ready = true, .event = CHILD_LATE},
                                   {.event = CHILD_LATE, .ms = 2000},
                                   {.event = CHILD_LATE, .ms = KEEPER_ABORT_MS},
                                   {.signum = SIGKILL, .code = -1},
                                   END};
    (void)state;
    fix.watchdog_us = 3000000;
    fix.made_last = 2;
    check(events, KEEPER_CHILD,
          "The daemon has not moved for 2000 ms and was ended; starting a successor\n");
    assert_int_equal(fix.sends, 2);
    expect_sent(0, SIGABRT, 1);
    expect_sent(1, SIGKILL, 1);
    assert_int_equal(fix.waited_ms, KEEPER_ABORT_MS);
    assert_true(kept_blames(fix.config.kept));
}

/* What becomes of the successor has nothing to do with that. */
static void test_a_kill_after_a_hang(void **state)
{
    const struct event events[] = {{.ready = true, .event = CHILD_LATE, .ms = 1},
                                   {.event = CHILD_LATE, .ms = 2000},
                                   {.signum = SIGABRT, .code = -1},
                                   {.signum = SIGKILL, .code = -1},
                                   END};
    (void)state;
    fix.watchdog_us = 3000000;
    fix.made_last = 3;
    check(
        events, KEEPER_CHILD,
        "The daemon has not moved for 2000 ms and was ended; starting a successor\n" SUCCESSOR(9));
    assert_false(kept_blames(fix.config.kept));
}

/* The keeper waits from the last sign of life on. */
static void test_a_daemon_that_moves(void **state)
{
    const struct event events[] = {{.ready = true, .event = CHILD_LATE, .ms = 100},
                                   {.event = CHILD_LATE, .ms = 1999, .moves = true},
                                   {.event = SIGUSR1, .ms = 1500},
                                   {.code = 0},
                                   END};
    (void)state;
    fix.watchdog_us = 3000000;
    check(events, 0, "");
    assert_int_equal(fix.sends, 1);
    assert_int_equal(fix.waited_ms, 500);
}

/* The manager's watchdog does not run yet, either. */
static void test_a_slow_start(void **state)
{
    const struct event events[] = {
        {.event = CHILD_LATE, .ms = 2000}, {.event = CHILD_LATE, .ms = 2000}, {.code = 0}, END};
    (void)state;
    fix.watchdog_us = 3000000;
    check(events, 0, "");
    assert_int_equal(fix.sends, 0);
    assert_int_equal(fix.waited_ms, 2000);
}

/* The times that can be given go from a microsecond to thousands of years. */
static void test_odd_watchdogs(void **state)
{
    static const struct {
        uint64_t us;
        unsigned ms;
    } rows[] = {{0, 0}, {1, 1}, {1500, 1}, {30000000, 20000}, {8589934592000000, 1728000000}};
    const struct event events[] = {{.code = 0}, END};
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fix.prepared = false;
        fix.watchdog_us = rows[i].us;
        check(events, 0, "");
        assert_int_equal(fix.waited_ms, rows[i].ms);
        assert_int_equal(munmap(fix.config.kept, sizeof *fix.config.kept), 0);
        fix.config.kept = NULL;
    }
}

static void test_no_process_can_be_made(void **state)
{
    const struct event events[] = {END};
    (void)state;
    fix.make_error = -EAGAIN;
    check(events, CLI_FAILED, "Cannot start: Resource temporarily unavailable\n");
}

static void test_no_memory_can_be_shared(void **state)
{
    const struct event events[] = {END};
    char line[128];
    (void)state;
    (void)snprintf(line, sizeof line, "Cannot start: %s\n", strerror(ENOMEM));
    fix.no_memory = true;
    check(events, CLI_FAILED, line);
    fix.no_memory = false;
}

/* What the daemon does for an upgrade, in a process of its own. */
static void test_the_daemon_asks_for_the_execution(void **state)
{
    int status;
    (void)state;
    struct kept *kept =
        mmap(NULL, sizeof *kept, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    assert_true(kept != MAP_FAILED);
    pid_t pid = fork();
    if (pid == 0)
        kept_execute(kept);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
    assert_true(atomic_load(&kept->executes));
    assert_int_equal(munmap(kept, sizeof *kept), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_a_daemon_that_ends_by_itself),
        FIXTURE_TEST(test_a_child),
        FIXTURE_TEST(test_a_successor),
        FIXTURE_TEST(test_nobody_is_to_blame),
        FIXTURE_TEST(test_what_was_passed_to_the_first_daemon),
        FIXTURE_TEST(test_a_daemon_that_was_not_ready),
        FIXTURE_TEST(test_a_daemon_without_a_ledger),
        FIXTURE_TEST(test_a_crash_during_a_takeover),
        FIXTURE_TEST(test_a_ledger_that_is_none),
        FIXTURE_TEST(test_a_crash_too_many),
        FIXTURE_TEST(test_crashes_now_and_then),
        FIXTURE_TEST(test_signals_are_forwarded),
        FIXTURE_TEST(test_a_stop_is_not_forgotten),
        FIXTURE_TEST(test_an_upgrade),
        FIXTURE_TEST(test_a_stop_instead_of_an_upgrade),
        FIXTURE_TEST(test_a_kill_instead_of_an_end),
        FIXTURE_TEST(test_a_daemon_that_hangs),
        FIXTURE_TEST(test_a_kill_after_a_hang),
        FIXTURE_TEST(test_a_daemon_that_moves),
        FIXTURE_TEST(test_a_slow_start),
        FIXTURE_TEST(test_odd_watchdogs),
        FIXTURE_TEST(test_no_process_can_be_made),
        FIXTURE_TEST(test_no_memory_can_be_shared),
        FIXTURE_TEST(test_the_daemon_asks_for_the_execution),
    };
    return RUN_TESTS("keeper", tests);
}
