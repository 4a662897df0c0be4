/*
 * upgrade.c: the question to the program, on a real loop and with scripts as programs, and what is
 * done between the yes and the execution. program_execute() is wrapped, and never succeeds here.
 */
#include "server/upgrade.h"

#include "os/net.h"
#include "unit/ledgers.h"
#include "unit/support.h"

#include <errno.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define SCRIPT "#!/bin/sh\n"
#define YES    SCRIPT "printf '" UPGRADE_YES "'\n" /* printf(1) knows \n, too */

enum { KEPT_CODE = 42 }; /* of a process that leaves the execution to its keeper */

static struct {
    struct ledger ledger;
    struct program program;
    uv_loop_t loop;
    struct sched sched;
    uv_check_t check; /* is called after each poll of the loop */
    struct log log;
    int lines; /* the end of the log that the test reads */
    char dir[32];
    char path[64]; /* of the program */
    char name[64]; /* the same, as its argv[0] */
    char *argv[2]; /* of the program */
    int open;      /* descriptors before the upgrade */
    struct upgraded upgraded;
    struct upgrade upgrade;
    bool stops;         /* leave() says so */
    bool stops_at_poll; /* the same, from the poll between the yes and the execution on */
    int sock_error;     /* of sock_init(), or 0 */
    int asked;
    int executed;
    int blocked_polls; /* how often the loop has polled while the signals were blocked */
    int stayed;        /* how often the daemon was told to go on */
    struct kept kept;
} fix;

int __real_program_ask(struct program_asked *asked, const struct program *program,
                       const char *option, const char *variable, int number);
int __wrap_program_ask(struct program_asked *asked, const struct program *program,
                       const char *option, const char *variable, int number);
int __wrap_program_execute(const struct program *program, const char *variable, int number);
_Noreturn void __wrap_kept_execute(struct kept *kept);
int __real_sock_init(struct sock *sock, uv_loop_t *loop, struct waker *waker, int fd);
int __wrap_sock_init(struct sock *sock, uv_loop_t *loop, struct waker *waker, int fd);

int __wrap_sock_init(struct sock *sock, uv_loop_t *loop, struct waker *waker, int fd)
{
    return fix.sock_error != 0 ? -fix.sock_error : __real_sock_init(sock, loop, waker, fd);
}

static bool is_blocked(int signum)
{
    sigset_t blocked;
    assert_int_equal(sigprocmask(SIG_BLOCK, NULL, &blocked), 0);
    return sigismember(&blocked, signum) == 1;
}

static bool are_blocked(void)
{
    return is_blocked(SIGTERM) && is_blocked(SIGUSR1) && is_blocked(SIGUSR2);
}

/* Signals are acted on as ever while the program is asked. */
int __wrap_program_ask(struct program_asked *asked, const struct program *program,
                       const char *option, const char *variable, int number)
{
    assert_false(are_blocked());
    assert_ptr_equal(program, &fix.program);
    assert_string_equal(option, "--check-handover");
    assert_string_equal(variable, "UVECHOD_LEDGER");
    assert_int_equal(number, fix.ledger.file);
    assert_int_equal(fix.executed, fix.asked);
    fix.asked++;
    return __real_program_ask(asked, program, option, variable, number);
}

/* By now everything is ready for a successor. */
int __wrap_program_execute(const struct program *program, const char *variable, int number)
{
    const struct ledger_past *past = &fix.ledger.header->past;
    assert_ptr_equal(program, &fix.program);
    assert_string_equal(variable, "UVECHOD_LEDGER");
    assert_int_equal(number, fix.ledger.file);
    assert_int_equal(fcntl(number, F_GETFD) & FD_CLOEXEC, 0);
    assert_int_equal(count_fds(), fix.open);
    assert_int_equal(past->accepted, 17);
    assert_true(past->left_ns > 0 && past->left_ns <= uv_hrtime());
    assert_true(are_blocked());
    assert_true(fix.blocked_polls > 0);
    fix.executed++;
    return -ENOENT;
}

/* By now everything is ready for a successor, which the keeper executes. */
void __wrap_kept_execute(struct kept *kept)
{
    assert_ptr_equal(kept, &fix.kept);
    assert_true(fix.ledger.header->past.left_ns > 0);
    assert_true(are_blocked());
    child_exit(KEPT_CODE);
}

static bool leave(struct upgraded *upgraded, struct ledger_past *past)
{
    assert_ptr_equal(upgraded, &fix.upgraded);
    assert_ptr_equal(past, &fix.ledger.header->past);
    past->accepted = 17;
    return !fix.stops && !(fix.stops_at_poll && fix.blocked_polls > 0);
}

static void on_polled(uv_check_t *check)
{
    (void)check;
    fix.blocked_polls += are_blocked();
}

/* By then the log has said why. */
static void stay(struct upgraded *upgraded)
{
    assert_ptr_equal(upgraded, &fix.upgraded);
    assert_false(fix.upgrade.begun);
    fix.stayed++;
}

static int fixture_open(void **state)
{
    const struct services services = {.count = 0};
    int fds[2];
    (void)state;
    memset(&fix, 0, sizeof fix);
    make_dir(fix.dir);
    (void)snprintf(fix.path, sizeof fix.path, "%s/uvechod", fix.dir);
    fix.argv[0] = strcpy(fix.name, fix.path);
    fix.program = (struct program){.argv = fix.argv, .path = fix.path};
    ledger_of(&fix.ledger, &services);
    make_socketpair(fds);
    fix.lines = fds[0];
    log_init(&fix.log, fds[1], LOG_LEVEL_INFO);
    fix.upgraded = (struct upgraded){.leave = leave, .stay = stay};
    assert_int_equal(uv_loop_init(&fix.loop), 0);
    sched_init(&fix.sched, &fix.loop);
    assert_int_equal(uv_check_init(&fix.loop, &fix.check), 0);
    assert_int_equal(uv_check_start(&fix.check, on_polled), 0);
    uv_unref((uv_handle_t *)&fix.check);
    upgrade_init(&fix.upgrade, &fix.sched, &fix.log, &fix.program, &fix.ledger, NULL,
                 &fix.upgraded);
    fix.open = count_fds();
    return 0;
}

/* No signal is blocked, and neither a descriptor nor a process nor a handle is left. */
static int fixture_close(void **state)
{
    (void)state;
    assert_false(is_blocked(SIGTERM) || is_blocked(SIGUSR1) || is_blocked(SIGUSR2));
    assert_int_equal(count_fds(), fix.open);
    assert_int_equal(waitpid(-1, NULL, 0), -1);
    assert_int_equal(errno, ECHILD);
    upgrade_close(&fix.upgrade);
    sched_close(&fix.sched);
    uv_close((uv_handle_t *)&fix.check, NULL);
    loop_close(&fix.loop);
    ledger_close(&fix.ledger);
    log_close(&fix.log);
    (void)close(fix.log.fd);
    (void)close(fix.lines);
    (void)unlink(fix.path);
    remove_dir(fix.dir);
    return 0;
}

static void write_program(const char *text, mode_t mode)
{
    (void)unlink(fix.path);
    int fd = open(fix.path, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    (void)close(fd);
}

static void expect_lines(const char *expected)
{
    char text[1024];
    ssize_t n = recv(fix.lines, text, sizeof text - 1, MSG_DONTWAIT);
    text[n > 0 ? n : 0] = '\0';
    assert_string_equal(text, expected);
}

/* One line, in the place of whose %s stands the path of the program. */
static void expect_line(const char *expected)
{
    char line[1024];
    const char *path = strstr(expected, "%s");
    assert_non_null(path);
    (void)snprintf(line, sizeof line, "%.*s%s%s\n", (int)(path - expected), expected, fix.path,
                   path + 2);
    expect_lines(line);
}

/* Requests an upgrade, and runs the loop until the task has ended. */
static void run(void)
{
    upgrade_begin(&fix.upgrade);
    int stayed = fix.stayed;
    assert_int_equal(sched_run(&fix.sched), 0);
    assert_int_equal(fix.sched.tasks, 0);
    assert_false(fix.upgrade.begun);
    assert_int_equal(fix.stayed, stayed + 1);
}

/* This program is not executed, and the daemon, which says why, can be asked again. */
static void check_refused(const char *text, mode_t mode, const char *line)
{
    int asked = fix.asked;
    write_program(text, mode);
    run();
    assert_int_equal(fix.asked, asked + 1);
    assert_int_equal(fix.executed, 0);
    fix.asked = 0;
    expect_line(line);
}

/*
 * Runs the loop until the child is being asked and has said this. The limit is beyond the watchdog
 * of the test: what ends the child later is not the limit.
 */
static void run_until_said(const char *said)
{
    fix.upgrade.limit_ms = 3600000;
    upgrade_begin(&fix.upgrade);
    while (!fix.upgrade.asking || fix.upgrade.asked.len < strlen(said))
        (void)uv_run(&fix.loop, UV_RUN_ONCE);
    assert_memory_equal(fix.upgrade.asked.said, said, strlen(said));
}

/*
 * The signals that have come until then are acted on first: program_execute() sees that the loop
 * has polled while they were blocked. The execution fails, and the daemon may be asked again.
 */
static void test_a_yes(void **state)
{
    (void)state;
    write_program(YES, 0700);
    for (int i = 1; i <= 3; i++) {
        fix.blocked_polls = 0;
        run();
        assert_int_equal(fix.executed, i);
        char lines[512];
        (void)snprintf(lines, sizeof lines,
                       "Upgrading: executing %s\nCannot upgrade: %s: No such file or directory\n",
                       fix.path, fix.path);
        expect_lines(lines);
    }
    assert_int_equal(fix.asked, 3);
}

/* The daemon ends, in a process of its own, and does not execute the program itself. */
static void test_a_yes_with_a_keeper(void **state)
{
    int status;
    char line[256];
    (void)state;
    write_program(YES, 0700);
    pid_t pid = fork();
    if (pid == 0) {
        fix.upgrade.kept = &fix.kept;
        run();
        child_exit(EXIT_FAILURE);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), KEPT_CODE);
    (void)snprintf(line, sizeof line, "Upgrading: executing %s\n", fix.path);
    expect_lines(line);
}

/* What the log says of a program that cannot be executed, where an error would say this. */
static const char *not_started(const char *line)
{
    return spawn_tells_errors()
               ? line
               : "Cannot upgrade: %s has not said yes, and ended with exit code 127";
}

static void test_programs_that_cannot_be_started(void **state)
{
    (void)state;
    run();
    expect_line(not_started("Cannot upgrade: %s: No such file or directory"));
    fix.asked = 0;
    check_refused(YES, 0600, not_started("Cannot upgrade: %s: Permission denied"));
    check_refused("a text", 0700, not_started("Cannot upgrade: %s: Exec format error"));
}

static void test_programs_that_say_no(void **state)
{
    (void)state;
    check_refused(SCRIPT "echo no; exit 1", 0700, "Cannot upgrade: %s says \"no\"");
    check_refused(SCRIPT "echo no >&2; echo more", 0700, "Cannot upgrade: %s says \"no\"");
    check_refused(SCRIPT "printf no", 0700, "Cannot upgrade: %s says \"no\"");
    check_refused(SCRIPT "printf '" UPGRADE_YES "and more\n'", 0700,
                  "Cannot upgrade: %s says \"uvechod handover: yes\"");
    check_refused(SCRIPT "printf 'uvechod handover: yes'", 0700,
                  "Cannot upgrade: %s says \"uvechod handover: yes\"");
}

static void test_programs_that_say_nothing(void **state)
{
    (void)state;
    check_refused(SCRIPT, 0700, "Cannot upgrade: %s has not said yes, and ended with exit code 0");
    check_refused(SCRIPT "exit 3", 0700,
                  "Cannot upgrade: %s has not said yes, and ended with exit code 3");
    check_refused(SCRIPT "kill -SEGV $$", 0700, "Cannot upgrade: %s was ended by signal 11");
}

/* A yes counts only together with the exit code 0. */
static void test_a_yes_and_a_bad_end(void **state)
{
    (void)state;
    check_refused(YES "exit 1", 0700, "Cannot upgrade: %s said yes, but ended with exit code 1");
    check_refused(YES "kill -ABRT $$", 0700, "Cannot upgrade: %s was ended by signal 6");
}

/* Whatever the program says, the log has one line, and a terminal obeys nobody. */
static void test_odd_answers(void **state)
{
    char line[512];
    (void)state;
    check_refused(SCRIPT "printf 'a\\033[2J\\000b\\r\\n'", 0700,
                  "Cannot upgrade: %s says \"a?[2J?b?\"");
    check_refused(SCRIPT "exec yes", 0700, "Cannot upgrade: %s says \"y\"");
    (void)snprintf(line, sizeof line, "Cannot upgrade: %%s says \"%0200d\"", 0);
    check_refused(SCRIPT "exec printf %0999d 0", 0700, line);
    check_refused(SCRIPT "echo", 0700, "Cannot upgrade: %s says \"\"");
}

/* The limit passes for sure, because the program does not end by itself. */
static void test_programs_that_hang(void **state)
{
    (void)state;
    fix.upgrade.limit_ms = 1;
    check_refused(SCRIPT "exec sleep 1000", 0700, "Cannot upgrade: %s has not answered within 0 s");
    check_refused(YES "exec sleep 1000", 0700, "Cannot upgrade: %s has not answered within 0 s");
    fix.upgrade.limit_ms = 1234;
    check_refused(SCRIPT "sleep 1000 &", 0700, "Cannot upgrade: %s has not answered within 1 s");
    fix.upgrade.limit_ms = UPGRADE_LIMIT_MS;
    write_program(YES, 0700); /* the limit of before is over */
    run();
    assert_int_equal(fix.executed, 1);
}

/* One answer serves all requests that came before it. */
static void test_a_second_request_meanwhile(void **state)
{
    (void)state;
    write_program(SCRIPT "echo waits; exec sleep 1000", 0700);
    run_until_said("waits\n");
    upgrade_begin(&fix.upgrade);
    upgrade_stop(&fix.upgrade);
    assert_int_equal(sched_run(&fix.sched), 0);
    assert_int_equal(fix.asked, 1);
}

/* The answer that the log has already told is that of the first request only. */
static void test_a_second_request_after_the_answer(void **state)
{
    char byte;
    (void)state;
    write_program(SCRIPT "echo no", 0700);
    upgrade_begin(&fix.upgrade);
    while (recv(fix.lines, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0)
        (void)uv_run(&fix.loop, UV_RUN_ONCE);
    expect_line("Cannot upgrade: %s says \"no\"");
    fix.asked = 0;
    check_refused(SCRIPT "echo never", 0700, "Cannot upgrade: %s says \"never\"");
}

/* The child is ended at once. */
static void test_a_daemon_that_stops_while_it_asks(void **state)
{
    (void)state;
    write_program(SCRIPT "echo waits; exec sleep 1000", 0700);
    run_until_said("waits\n");
    assert_true(uv_loop_alive(&fix.loop));
    upgrade_stop(&fix.upgrade);
    assert_int_equal(sched_run(&fix.sched), 0);
    assert_int_equal(fix.executed, 0);
    expect_lines("Not upgrading: the daemon stops\n");
}

/* Nobody is asked any more. */
static void test_a_daemon_that_stops_already(void **state)
{
    (void)state;
    write_program(YES, 0700);
    upgrade_stop(&fix.upgrade);
    run();
    assert_int_equal(fix.asked, 0);
    expect_lines("Not upgrading: the daemon stops\n");
}

/* A signal that comes in the last moment, too. */
static void test_a_daemon_that_stops_after_the_yes(void **state)
{
    (void)state;
    write_program(YES, 0700);
    fix.stops_at_poll = true;
    run();
    assert_int_equal(fix.asked, 1);
    assert_int_equal(fix.executed, 0);
    expect_lines("Not upgrading: the daemon stops\n");
}

/* Nobody could go on, so nobody is asked. */
static void test_a_ledger_without_a_file(void **state)
{
    const int file = fix.ledger.file;
    (void)state;
    write_program(YES, 0700);
    fix.ledger.file = -1;
    fix.ledger.refused = -ENOSYS;
    run();
    fix.ledger.file = file;
    assert_int_equal(fix.asked, 0);
    expect_line("Cannot upgrade: %s: Function not implemented");
}

/* The memory for its name was missing at the start of the daemon. */
static void test_a_program_without_a_path(void **state)
{
    (void)state;
    fix.program.path = NULL;
    run();
    fix.program.path = fix.path;
    expect_lines("Cannot upgrade: ?: No such file or directory\n");
}

/* The child that is there already is ended. */
static void test_the_answer_cannot_be_waited_for(void **state)
{
    (void)state;
    fix.sock_error = EPERM;
    check_refused(SCRIPT "exec sleep 1000", 0700, "Cannot upgrade: %s: Operation not permitted");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_a_yes),
        FIXTURE_TEST(test_a_yes_with_a_keeper),
        FIXTURE_TEST(test_programs_that_cannot_be_started),
        FIXTURE_TEST(test_programs_that_say_no),
        FIXTURE_TEST(test_programs_that_say_nothing),
        FIXTURE_TEST(test_a_yes_and_a_bad_end),
        FIXTURE_TEST(test_odd_answers),
        FIXTURE_TEST(test_programs_that_hang),
        FIXTURE_TEST(test_a_second_request_meanwhile),
        FIXTURE_TEST(test_a_second_request_after_the_answer),
        FIXTURE_TEST(test_a_daemon_that_stops_while_it_asks),
        FIXTURE_TEST(test_a_daemon_that_stops_already),
        FIXTURE_TEST(test_a_daemon_that_stops_after_the_yes),
        FIXTURE_TEST(test_a_ledger_without_a_file),
        FIXTURE_TEST(test_a_program_without_a_path),
        FIXTURE_TEST(test_the_answer_cannot_be_waited_for),
    };
    loop_warm_up();
    return RUN_TESTS("upgrade", tests);
}
