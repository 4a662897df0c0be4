/*
 * test_log.c - the lines of the log, and that they hold up no connection and reach no client.
 */
#include "harness.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FILLERS = 2000 }; /* connections whose lines are more than a pipe or socket holds */

/* ---- the lines ---- */

static void expect_line(struct daemon *daemon, const char *line)
{
    assert_string_equal(daemon_wait_line(daemon, ""), line);
}

/* The next line is about the client with this address. */
static void expect_line_of(struct daemon *daemon, const char *before, const char *name,
                           const char *after)
{
    char line[256];
    (void)snprintf(line, sizeof line, "%s%s%s", before, name, after);
    expect_line(daemon, line);
}

static void check_life(struct daemon *daemon, const char *address)
{
    char name[80];
    int fd = client_connect_to(daemon, address);
    (void)client_name(fd, name);
    client_ping(fd, "GOT:", "hello");
    expect_line_of(daemon, "Connection from ", name, "");
    client_close(fd);
    expect_line_of(daemon, "Connection closed: ", name, "");
    expect_line(daemon, "Task finished");
}

static void life_of_a_connection(struct daemon *daemon)
{
    daemon_start(daemon, NULL);
    check_life(daemon, "127.0.0.1");
    if (harness_has_address("::1"))
        check_life(daemon, "::1");
    check_life(daemon, "127.0.0.1");
}

static void life_in_detail(struct daemon *daemon)
{
    daemon_start(daemon, "-v");
    check_life(daemon, "127.0.0.1");
}

static void a_reset_is_named(struct daemon *daemon)
{
    char name[80];
    daemon_start(daemon, NULL);
    int fd = client_connect(daemon);
    (void)client_name(fd, name);
    client_ping(fd, "GOT:", "hello");
    expect_line_of(daemon, "Connection from ", name, "");
    client_reset(fd);
    expect_line_of(daemon, "Connection closed: ", name, " (Connection reset by peer)");
    expect_line(daemon, "Task finished");
}

/* Connects and closes without a byte, as a load balancer does every second. */
static void health_check(const struct daemon *daemon, bool reset)
{
    int fd = client_connect(daemon);
    client_shutdown(fd);
    client_expect_end(fd);
    if (reset)
        client_reset(fd);
    else
        client_close(fd);
}

static void health_checks_are_not_logged(struct daemon *daemon)
{
    daemon_start(daemon, NULL);
    for (int i = 0; i < 20; i++)
        health_check(daemon, i % 2 == 0);
    client_reset(client_connect(daemon));
    check_life(daemon, "127.0.0.1"); /* its lines are the next ones */
}

static void health_checks_are_logged_in_detail(struct daemon *daemon)
{
    daemon_start(daemon, "--verbose");
    for (int i = 0; i < 3; i++) {
        char name[80];
        int fd = client_connect(daemon);
        (void)client_name(fd, name);
        expect_line_of(daemon, "Connection from ", name, "");
        client_close(fd);
        expect_line_of(daemon, "Connection closed: ", name, "");
        expect_line(daemon, "Task finished");
    }
}

static void quiet_is_quiet(struct daemon *daemon)
{
    daemon_start_mute(daemon, (struct launch){.options = "--quiet"});
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "hello");
    client_reset(fd);
    daemon_signal(daemon, SIGUSR1);
    assert_non_null(strstr(daemon_wait_line(daemon, ""), "Statistics: "));
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
    assert_int_equal(daemon_count(daemon, "\n"), 1); /* what was asked for, and nothing else */
}

static void the_end_is_logged(struct daemon *daemon)
{
    daemon_start(daemon, "--bind=127.0.0.1");
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
    expect_line(daemon, "Task finished"); /* the listener's */
    assert_int_equal(daemon_count(daemon, "\n"), 2);
}

/* ---- lines that nobody reads ---- */

static void fill_log(const struct daemon *daemon)
{
    for (int i = 0; i < FILLERS; i++) {
        int fd = client_connect(daemon);
        client_ping(fd, "GOT:", "hello");
        client_reset(fd);
    }
}

/* How many lines the daemon has reported as lost, in all its reports. */
static unsigned long lost_lines(const struct daemon *daemon)
{
    static const char said[] = " log line"; /* one or several; the number stands before */
    unsigned long lost = 0;
    for (const char *at = daemon->log; (at = strstr(at, said)) != NULL; at++) {
        const char *number = at;
        while (number > daemon->log && number[-1] >= '0' && number[-1] <= '9')
            number--;
        lost += strtoul(number, NULL, 10);
    }
    return lost;
}

/* Lines that were written, and lines that were reported as lost. */
static unsigned long counted_lines(struct daemon *daemon)
{
    return daemon_count(daemon, "Connection from") + daemon_count(daemon, "Connection closed") +
           daemon_count(daemon, "Task finished") + lost_lines(daemon);
}

/*
 * Each connection has three lines, each of which was either written or counted as lost. Workers may
 * write them a little later. Lost lines are reported with the next line, which SIGUSR1 causes.
 */
static void check_counted(struct daemon *daemon, unsigned connections)
{
    uint64_t begin_ms = harness_now_ms();
    do {
        assert_true(harness_now_ms() - begin_ms < HARNESS_DEADLINE_MS);
        daemon_signal(daemon, SIGUSR1);
        (void)daemon_wait_line(daemon, "Statistics:");
    } while (counted_lines(daemon) < 3 * connections);
    assert_int_equal(counted_lines(daemon), 3 * connections);
    assert_true(lost_lines(daemon) > 0);
}

static void check_loss(struct daemon *daemon)
{
    assert_between(daemon_count(daemon, "Connection from"), 1, FILLERS - 1);
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "I am heard again");
    client_close(fd);
    check_counted(daemon, FILLERS + 1);
}

static void pipe_that_nobody_reads(struct daemon *daemon)
{
    daemon_start(daemon, "-v");
    assert_true(fcntl(daemon->err, F_SETPIPE_SZ, 4096) >= 4096);
    fill_log(daemon);
    check_loss(daemon);
}

static void socket_that_nobody_reads(struct daemon *daemon)
{
    daemon_start_as(daemon, &(struct launch){.options = "-v", .stderr_kind = STDERR_SOCKET});
    fill_log(daemon);
    check_loss(daemon);
}

/*
 * The reader stops reading again and again. All the while streams are answered to the byte, and
 * after each time the lines are all there or counted.
 */
static void reader_that_stops_now_and_then(struct daemon *daemon)
{
    enum { STOPS = 3, STREAMS = 4, VISITORS = 500 };
    struct stream streams[STREAMS];
    unsigned connections = 0;
    daemon_start(daemon, NULL);
    assert_true(fcntl(daemon->err, F_SETPIPE_SZ, 4096) >= 4096);
    for (int stop = 0; stop < STOPS; stop++) {
        unsigned long before = lost_lines(daemon);
        for (unsigned i = 0; i < STREAMS; i++)
            stream_init(&streams[i], client_connect(daemon), i, 8 << 20, true);
        for (int i = 0; i < VISITORS; i++) {
            (void)streams_turn(streams, STREAMS);
            client_visit(daemon);
        }
        streams_run(streams, STREAMS);
        connections += STREAMS + VISITORS;
        (void)daemon_count(daemon, "lost"); /* reads what there is */
        check_counted(daemon, connections);
        assert_true(lost_lines(daemon) > before);
    }
}

/* The reader has closed its end. */
static void check_no_reader(struct daemon *daemon, enum stderr_kind kind)
{
    daemon_start_as(daemon, &(struct launch){.options = "-v", .stderr_kind = kind});
    (void)close(daemon->err);
    daemon->err = -1;
    for (int i = 0; i < 20; i++) {
        client_visit(daemon);
    }
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
}

static void pipe_without_a_reader(struct daemon *daemon)
{
    check_no_reader(daemon, STDERR_PIPE);
}

static void socket_without_a_reader(struct daemon *daemon)
{
    check_no_reader(daemon, STDERR_SOCKET);
}

/* The end of the daemon does not wait for a reader either. */
static void ends_with_a_full_pipe(struct daemon *daemon)
{
    daemon_start(daemon, "-v");
    assert_true(fcntl(daemon->err, F_SETPIPE_SZ, 4096) >= 4096);
    fill_log(daemon);
    int unread = daemon->err;
    daemon->err = -1; /* not to be read while waiting */
    int status = daemon_stop(daemon, SIGTERM);
    daemon->err = unread;
    assert_int_equal(status, 0);
}

/* Other processes share stderr with the daemon, which must not make it non-blocking for them. */
static void shared_stderr_stays_blocking(struct daemon *daemon)
{
    daemon_start(daemon, NULL);
    client_ping(client_connect(daemon), "GOT:", "hello");
    char info[64];
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/fdinfo/2", (int)daemon->pid);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    unsigned long flags = O_NONBLOCK;
    while (fgets(info, sizeof info, file) != NULL)
        if (strncmp(info, "flags:", 6) == 0)
            flags = strtoul(info + 6, NULL, 8);
    (void)fclose(file);
    assert_int_equal(flags & O_NONBLOCK, 0);
}

/* ---- a file that may not grow ---- */

/* What a file contains, as a string that must be freed. */
static char *read_file(const char *path)
{
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    char *text = calloc(1, 65536);
    assert_non_null(text);
    text[fread(text, 1, 65535, file)] = '\0';
    (void)fclose(file);
    return text;
}

/* How many bytes are missing in the log file until it is as long as it may be. */
static long bytes_missing(const struct daemon *daemon)
{
    (void)daemon;
    struct stat file;
    assert_int_equal(stat(harness_path("log"), &file), 0);
    return 1024 - (long)file.st_size;
}

/*
 * A log that has grown to the limit of file sizes (SIGXFSZ, setrlimit(2)) costs lines and no
 * connection. The lines that are lost are counted.
 */
static void log_at_the_limit_of_file_sizes(struct daemon *daemon)
{
    const char *path = harness_path("log");
    daemon_start_mute(daemon, (struct launch){.options = "-v --bind=127.0.0.1",
                                              .stderr_kind = STDERR_FILE,
                                              .stderr_path = path});
    struct rlimit before;
    assert_int_equal(prlimit(daemon->pid, RLIMIT_FSIZE, NULL, &before), 0);
    const struct rlimit small = {.rlim_cur = 1024, .rlim_max = before.rlim_max};
    assert_int_equal(prlimit(daemon->pid, RLIMIT_FSIZE, &small, NULL), 0);
    int held = client_connect(daemon);
    client_ping(held, "GOT:", "hello");
    for (int i = 0; i < 50; i++)
        client_close(client_connect(daemon));
    daemon_wait_figure(daemon, bytes_missing, 0); /* other threads may log later */
    client_ping(held, "GOT:", "still here");
    char *full = read_file(path);
    assert_int_equal(strlen(full), 1024);
    assert_int_equal(prlimit(daemon->pid, RLIMIT_FSIZE, &before, NULL), 0);
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
    char *whole = read_file(path);
    assert_memory_equal(whole, full, 1024);
    assert_contains(whole + 1024, " log lines lost: they could not be written\n");
    free(full);
    free(whole);
}

/* ---- a full disk ---- */

enum { DISK = 65536, DISK_FREE = 8192 /* bytes; two pages */ };

/* Makes a file system of DISK bytes that nobody else sees. Returns its root directory. */
static int small_disk(void)
{
    int context = (int)syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);
    if (context < 0 ||
        syscall(SYS_fsconfig, context, FSCONFIG_SET_STRING, "size", "65536", 0) < 0 ||
        syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        harness_skip("needs root, to make a file system");
    int disk = (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, 0);
    assert_true(disk >= 0);
    (void)close(context);
    return disk;
}

/* Fills the disk, but for DISK_FREE bytes. */
static void fill_disk(int disk)
{
    static const char ballast[DISK - DISK_FREE];
    int fd = openat(disk, "ballast", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, ballast, sizeof ballast), sizeof ballast);
    (void)close(fd);
}

static unsigned count_lines(const char *text)
{
    unsigned count = 0;
    while ((text = strchr(text, '\n')) != NULL) {
        count++;
        text++;
    }
    return count;
}

/* Puts into daemon->log what the file says, so that the lost lines can be counted. */
static void log_from_file(struct daemon *daemon, const char *path)
{
    free(daemon->log);
    daemon->log = read_file(path);
    daemon->log_len = strlen(daemon->log);
}

/*
 * The disk fills up, the echo goes on, and after somebody has made room lines are written again:
 * all lines are there or counted. A line of which the disk took the beginning only counts as lost,
 * and the next line does not continue it.
 */
static void log_on_a_full_disk(struct daemon *daemon)
{
    enum { VISITORS = 200, LATE = 20 };
    char path[64];
    struct stream stream;
    int disk = small_disk();
    fill_disk(disk);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d/log", disk);
    daemon_start_mute(daemon, (struct launch){.options = "--bind=127.0.0.1",
                                              .stderr_kind = STDERR_FILE,
                                              .stderr_path = path});
    stream_init(&stream, client_connect(daemon), 1, 8 << 20, true);
    for (int i = 0; i < VISITORS; i++) {
        client_visit(daemon);
        (void)streams_turn(&stream, 1);
    }
    streams_run(&stream, 1);
    char *full = read_file(path);
    assert_int_equal(strlen(full), DISK_FREE);
    bool cut = full[DISK_FREE - 1] != '\n';
    free(full);
    assert_int_equal(unlinkat(disk, "ballast", 0), 0);
    for (int i = 0; i < LATE; i++)
        client_visit(daemon);
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
    log_from_file(daemon, path);
    assert_int_equal(daemon->log[DISK_FREE] == '\n', cut);
    unsigned others = daemon_count(daemon, "lost") + daemon_count(daemon, "Stopping: ") + cut;
    assert_true(lost_lines(daemon) > 0);
    assert_int_equal(count_lines(daemon->log) - others + lost_lines(daemon),
                     1 + 3 * (VISITORS + 1 + LATE) + 1); /* the listener has two lines */
    (void)close(disk);
}

/* A device that takes nothing at all. */
static void log_to_a_full_device(struct daemon *daemon)
{
    daemon_start_mute(
        daemon,
        (struct launch){.options = "-v", .stderr_kind = STDERR_FILE, .stderr_path = "/dev/full"});
    for (int i = 0; i < 20; i++)
        client_visit(daemon);
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
}

/* ---- no stderr at all ---- */

/* A daemon that was started without some of the descriptors 0, 1 and 2. */
static void check_closed(struct daemon *daemon, const struct launch *launch)
{
    daemon_start_mute(daemon, *launch);
    int fds[8];
    for (int i = 0; i < 8; i++)
        fds[i] = client_connect(daemon);
    for (int i = 0; i < 8; i++)
        client_ping(fds[i], "GOT:", "hello");
    daemon_signal(daemon, SIGUSR1); /* makes it log a line */
    for (int i = 0; i < 8; i++)
        client_ping(fds[i], "GOT:", "hello again");
    for (int i = 0; i < 8; i++)
        client_leave(fds[i]); /* having received nothing that was not sent */
    daemon_assert_asleep(daemon);
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
}

static void stderr_closed(struct daemon *daemon)
{
    struct launch launch = {.options = "-v", .stderr_kind = STDERR_CLOSED};
    check_closed(daemon, &launch);
    launch.options = "-v --bind=127.0.0.1";
    launch.stdout_closed = true;
    check_closed(daemon, &launch);
}

static void all_three_closed(struct daemon *daemon)
{
    struct launch launch = {
        .options = "-v", .stderr_kind = STDERR_CLOSED, .stdin_closed = true, .stdout_closed = true};
    check_closed(daemon, &launch);
    launch.options = "-v --bind=127.0.0.1";
    check_closed(daemon, &launch);
    launch.options = "-v --bind=127.0.0.1 --bind=127.0.0.2 --bind=127.0.0.3";
    check_closed(daemon, &launch);
}

int main(void)
{
    harness_init();
    const struct CMUnitTest tests[] = {
        e2e_test(life_of_a_connection),
        e2e_test(life_in_detail),
        e2e_test(a_reset_is_named),
        e2e_test(health_checks_are_not_logged),
        e2e_test(health_checks_are_logged_in_detail),
        e2e_test(quiet_is_quiet),
        e2e_test(the_end_is_logged),
        e2e_test(pipe_that_nobody_reads),
        e2e_test(socket_that_nobody_reads),
        e2e_test(reader_that_stops_now_and_then),
        e2e_test(pipe_without_a_reader),
        e2e_test(socket_without_a_reader),
        e2e_test(ends_with_a_full_pipe),
        e2e_test(shared_stderr_stays_blocking),
        e2e_test(log_at_the_limit_of_file_sizes),
        e2e_test(log_on_a_full_disk),
        e2e_test(log_to_a_full_device),
        e2e_test(stderr_closed),
        e2e_test(all_three_closed),
    };
    return cmocka_run_group_tests_name("e2e.log", tests, NULL, NULL);
}
