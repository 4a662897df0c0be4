/*
 * test_journal.c - how a line begins: with its priority for the journal, with the time on a
 * terminal and in a file, with neither on a pipe.
 */
#include "harness.h"

#include <fcntl.h>
#include <regex.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define TIME_PATTERN                                                                               \
    "^20[0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\\.[0-9][0-9][0-9]Z "

/* The line must match this extended regular expression. */
static void assert_matches(const char *line, const char *pattern)
{
    regex_t regex;
    assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    int rc = regexec(&regex, line, 0, NULL, 0);
    regfree(&regex);
    if (rc != 0)
        fail_msg("'%s' is not '%s'", line, pattern);
}

/* Waits for a line that contains text. In front of text it must match the pattern. */
static void expect_line(struct daemon *daemon, const char *pattern, const char *text)
{
    char whole[256];
    (void)snprintf(whole, sizeof whole, "%s%s", pattern, text);
    assert_matches(daemon_wait_line(daemon, text), whole);
}

/* Checks the priority of every kind of line. Sets the launch's options. */
static void check_priorities(struct daemon *daemon, struct launch launch)
{
    launch.options = "--bind=127.0.0.1 --verbose --drain-timeout=0";
    daemon_start_as(daemon, &launch);
    assert_int_equal(daemon_count(daemon, "<6>Listening on"), 1);
    client_close(client_connect(daemon));
    expect_line(daemon, "^<7>", "Connection from");
    expect_line(daemon, "^<7>", "Connection closed: ");
    client_visit(daemon);
    expect_line(daemon, "^<6>", "Connection closed: ");
    daemon_signal(daemon, SIGUSR1);
    expect_line(daemon, "^<5>", "Statistics: ");
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "hello");
    daemon_signal(daemon, SIGTERM);
    expect_line(daemon, "^<6>", "Stopping: ");
    expect_line(daemon, "^<4>", "Drain deadline");
    client_close(fd);
    assert_int_equal(daemon_wait_exit(daemon), 0);
    assert_int_equal(daemon_count(daemon, "\n<"),
                     daemon_count(daemon, "\n") - 1); /* every line has a priority */
}

static void journal_on_a_pipe(struct daemon *daemon)
{
    check_priorities(daemon, (struct launch){.journal = true});
}

/* What journald gives a service as its stderr. */
static void journal_on_a_socket(struct daemon *daemon)
{
    check_priorities(daemon, (struct launch){.journal = true, .stderr_kind = STDERR_SOCKET});
}

static void journal_of_an_error(struct daemon *daemon)
{
    daemon_launch(daemon, &(struct launch){.options = "--bind=unix:/nonexistent/socket",
                                           .own_port = true,
                                           .journal = true});
    expect_line(daemon, "^<3>", "Cannot listen on ");
    assert_int_equal(daemon_wait_exit(daemon), 1);
}

/* A control character in a name neither ends the line nor fakes a priority. */
static void journal_cannot_be_faked(struct daemon *daemon)
{
    if (!UVECHOD_SYSTEMD)
        harness_skip("built without libsystemd");
    int fd = harness_listen("127.0.0.1");
    daemon_start_as(daemon, &(struct launch){.own_port = true,
                                             .fds = &fd,
                                             .fds_count = 1,
                                             .fd_names = "a\n<0>panic",
                                             .journal = true});
    assert_int_equal(daemon_count(daemon, "\n<0>"), 0);
    assert_int_equal(daemon_count(daemon, "(a?<0>panic)\n"), 1);
}

/* stderr is not the journal, or JOURNAL_STREAM is not valid. */
static void check_plain(struct daemon *daemon, const char *setting)
{
    const char *const setup[] = {setting, NULL};
    daemon_start_as(daemon, &(struct launch){.options = "--bind=127.0.0.1", .setup = setup});
    assert_int_equal(strncmp(daemon->log, "Listening on 127.0.0.1:", 23), 0);
    client_visit(daemon);
    expect_line(daemon, "^", "Connection closed: ");
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
}

static void pipe_that_is_not_the_journal(struct daemon *daemon)
{
    check_plain(daemon, "JOURNAL_STREAM=1:1");
    check_plain(daemon, "JOURNAL_STREAM=");
    check_plain(daemon, "JOURNAL_STREAM=garbage");
    check_plain(daemon, "JOURNAL_STREAM=:");
    check_plain(daemon, "JOURNAL_STREAM=99999999999999999999999:1");
    check_plain(daemon, NULL);
}

static void socket_that_is_not_the_journal(struct daemon *daemon)
{
    daemon_start_as(daemon, &(struct launch){.options = "-v", .stderr_kind = STDERR_SOCKET});
    client_visit(daemon);
    expect_line(daemon, "^", "Connection closed: ");
}

/* One of the two numbers is right, the other is not. */
static void check_elsewhere(struct daemon *daemon, const char *name, unsigned device,
                            unsigned inode)
{
    struct stat file;
    char setting[80];
    FILE *log = fopen(harness_path(name), "we+");
    assert_non_null(log);
    assert_int_equal(fstat(fileno(log), &file), 0);
    (void)snprintf(setting, sizeof setting, "JOURNAL_STREAM=%llu:%llu",
                   (unsigned long long)file.st_dev + device,
                   (unsigned long long)file.st_ino + inode);
    const char *const setup[] = {setting, NULL};
    daemon_start_mute(daemon, (struct launch){.stderr_kind = STDERR_FILE,
                                              .stderr_path = harness_path(name),
                                              .setup = setup});
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
    assert_int_equal(fgetc(log), '2'); /* of the year */
    (void)fclose(log);
}

static void journal_elsewhere(struct daemon *daemon)
{
    check_elsewhere(daemon, "other-device", 1, 0);
    check_elsewhere(daemon, "other-inode", 0, 1);
}

static void time_on_a_terminal(struct daemon *daemon)
{
    daemon_launch(daemon,
                  &(struct launch){.options = "--bind=127.0.0.1", .stderr_kind = STDERR_TERMINAL});
    assert_matches(daemon_wait_port(daemon, "Listening on "), TIME_PATTERN "Listening on ");
    client_visit(daemon);
    expect_line(daemon, TIME_PATTERN, "Connection from ");
    expect_line(daemon, TIME_PATTERN, "Connection closed: ");
    expect_line(daemon, TIME_PATTERN, "Task finished");
}

/* The time is Coordinated Universal Time, whatever the time zone. */
static void check_time(const char *line, time_t before, time_t after)
{
    struct tm utc = {0};
    const char *end = strptime(line, "%Y-%m-%dT%H:%M:%S", &utc);
    assert_non_null(end);
    assert_between(timegm(&utc), before, after);
}

static void time_in_a_file(struct daemon *daemon)
{
    static const char *const setup[] = {"TZ=XYZ-5:30", NULL};
    char line[512];
    int lines = 0;
    time_t before = check_seconds();
    daemon_start_mute(daemon, (struct launch){.stderr_kind = STDERR_FILE,
                                              .stderr_path = harness_path("log"),
                                              .setup = setup});
    client_visit(daemon);
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
    FILE *log = fopen(harness_path("log"), "re");
    assert_non_null(log);
    for (; fgets(line, sizeof line, log) != NULL; lines++) {
        assert_matches(line, TIME_PATTERN "[A-Z][a-z]+ .*\n$");
        check_time(line, before, check_seconds());
    }
    (void)fclose(log);
    assert_between(lines, 5, 7); /* one or two listeners, a connection, and the ends of all */
}

/* A file is the journal if JOURNAL_STREAM says so. */
static void journal_in_a_file(struct daemon *daemon)
{
    char line[512];
    daemon_start_mute(daemon, (struct launch){.stderr_kind = STDERR_FILE,
                                              .stderr_path = harness_path("journal"),
                                              .journal = true});
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
    FILE *log = fopen(harness_path("journal"), "re");
    assert_non_null(log);
    assert_non_null(fgets(line, sizeof line, log));
    (void)fclose(log);
    assert_matches(line, "^<6>Listening on ");
}

int main(void)
{
    harness_init();
    const struct CMUnitTest tests[] = {
        e2e_test(journal_on_a_pipe),
        e2e_test(journal_on_a_socket),
        e2e_test(journal_of_an_error),
        e2e_test(journal_cannot_be_faked),
        e2e_test(pipe_that_is_not_the_journal),
        e2e_test(socket_that_is_not_the_journal),
        e2e_test(journal_elsewhere),
        e2e_test(time_on_a_terminal),
        e2e_test(time_in_a_file),
        e2e_test(journal_in_a_file),
    };
    return cmocka_run_group_tests_name("e2e.journal", tests, NULL, NULL);
}
