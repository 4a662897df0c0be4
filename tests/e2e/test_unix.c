/*
 * test_unix.c - Unix sockets that are named on the command line: the echo, and the socket files.
 */
#include "harness.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

/* The option for a path or for an abstract "@name". The string is valid until the next call. */
static const char *bind_option(const char *path)
{
    static char option[160];
    (void)snprintf(option, sizeof option, "--bind=unix:%s", path);
    return option;
}

/* Starts a daemon at the path, with more options, and waits until it logs that it listens. */
static void start_at(struct daemon *daemon, const char *path, const char *options)
{
    char all[512];
    char line[160];
    (void)snprintf(all, sizeof all, "%s %s", bind_option(path), options);
    (void)snprintf(line, sizeof line, "Listening on unix:%s", path);
    daemon_launch(daemon, &(struct launch){.options = all, .own_port = true});
    assert_string_equal(daemon_wait_line(daemon, ""), line);
}

static void check_echo(const char *path)
{
    int fd = client_connect_unix(path);
    client_ping(fd, "GOT:", "hello");
    client_leave(fd);
}

/* The type and permissions of the file at the path, or 0 if there is none. */
static mode_t mode_of(const char *path)
{
    struct stat file;
    if (lstat(path, &file) == 0)
        return file.st_mode;
    assert_int_equal(errno, ENOENT);
    return 0;
}

static void use_abstract(char name[static 64])
{
    static unsigned count;
    (void)snprintf(name, 64, "@uvechod-unix-%d-%u", (int)getpid(), count++);
}

/* ---- echoing ---- */

static void path_and_tcp(struct daemon *daemon)
{
    char options[200];
    const char *path = harness_path("beside");
    (void)snprintf(options, sizeof options, "%s --bind=127.0.0.1", bind_option(path));
    daemon_start(daemon, options);
    assert_int_not_equal(daemon->port, 0);
    int local = client_connect_unix(path);
    int remote = client_connect(daemon);
    client_ping(local, "GOT:", "local");
    client_ping(remote, "GOT:", "remote");
    client_ping(local, "GOT:", "local again");
}

static void abstract_and_tcp(struct daemon *daemon)
{
    char name[64];
    char options[200];
    use_abstract(name);
    (void)snprintf(options, sizeof options, "--bind=127.0.0.1 %s", bind_option(name));
    daemon_start(daemon, options);
    check_echo(name);
    client_ping(client_connect(daemon), "GOT:", "remote");
}

static void several_paths(struct daemon *daemon)
{
    char options[400];
    char name[64];
    const char *first = harness_path("first");
    const char *second = harness_path("second");
    use_abstract(name);
    (void)snprintf(options, sizeof options, "--bind=unix:%s --bind=unix:%s", second, name);
    start_at(daemon, first, options);
    (void)daemon_wait_line(daemon, second);
    (void)daemon_wait_line(daemon, name);
    check_echo(first);
    check_echo(second);
    check_echo(name);
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
    assert_int_equal(mode_of(first), 0);
    assert_int_equal(mode_of(second), 0);
}

static void abstract_name_is_free_again(struct daemon *daemon)
{
    char name[64];
    use_abstract(name);
    start_at(daemon, name, "");
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
    assert_int_equal(client_try_unix(name), -ECONNREFUSED);
    start_at(daemon, name, "");
    check_echo(name);
}

static void longest_path(struct daemon *daemon)
{
    char path[108];
    const char *start = harness_path("");
    memset(path, 'l', sizeof path - 1);
    memcpy(path, start, strlen(start));
    path[sizeof path - 1] = '\0';
    start_at(daemon, path, "");
    check_echo(path);
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
    assert_int_equal(mode_of(path), 0);
}

static void longest_abstract_name(struct daemon *daemon)
{
    char name[108];
    use_abstract(name);
    memset(name + strlen(name), 'l', sizeof name - 1 - strlen(name));
    name[sizeof name - 1] = '\0';
    start_at(daemon, name, "");
    check_echo(name);
}

static void streams_are_whole(struct daemon *daemon)
{
    struct stream streams[3];
    const char *path = harness_path("streams");
    start_at(daemon, path, "");
    for (unsigned i = 0; i < 3; i++)
        stream_init(&streams[i], client_connect_unix(path), i, (1 << 20) + i, true);
    streams_run(streams, 3);
}

static void stream_is_verbatim(struct daemon *daemon)
{
    struct stream stream;
    const char *path = harness_path("verbatim");
    start_at(daemon, path, "--rfc862");
    stream_init(&stream, client_connect_unix(path), 5, 1 << 20, false);
    streams_run(&stream, 1);
}

/* A client that does not read does not delay other clients, and loses no byte. */
static void jammed_client(struct daemon *daemon)
{
    struct stream jammed;
    const char *path = harness_path("jammed");
    start_at(daemon, path, "");
    stream_init(&jammed, client_connect_unix(path), 2, 1 << 28, true);
    streams_jam(&jammed, 1);
    check_echo(path);
    streams_run(&jammed, 1);
}

static void half_close_is_answered(struct daemon *daemon)
{
    const char *path = harness_path("half");
    start_at(daemon, path, "");
    int fd = client_connect_unix(path);
    client_send(fd, "hi", 2);
    client_shutdown(fd);
    client_expect(fd, "GOT:hi", 6);
    client_expect_end(fd);
}

static void drain_waits(struct daemon *daemon)
{
    const char *path = harness_path("drain");
    start_at(daemon, path, "--drain-timeout=3600");
    int fd = client_connect_unix(path);
    client_ping(fd, "GOT:", "hello");
    daemon_signal(daemon, SIGTERM);
    (void)daemon_wait_line(daemon, "Stopping: waiting for 1 connection,");
    client_ping(fd, "GOT:", "still here");
    assert_true(client_try_unix(path) < 0);
    client_close(fd);
    assert_int_equal(daemon_wait_exit(daemon), 0);
}

static void peer_is_logged(struct daemon *daemon)
{
    char peer[64];
    char line[128];
    const char *path = harness_path("peer");
    start_at(daemon, path, "");
    (void)snprintf(peer, sizeof peer, "unix:pid=%d,uid=%u", (int)getpid(), (unsigned)getuid());
    check_echo(path);
    (void)snprintf(line, sizeof line, "Connection from %s", peer);
    assert_string_equal(daemon_wait_line(daemon, ""), line);
    (void)snprintf(line, sizeof line, "Connection closed: %s", peer);
    assert_string_equal(daemon_wait_line(daemon, ""), line);
}

/* ---- permissions ---- */

/* The umask under which the daemon is started does not matter. */
static void check_mode(struct daemon *daemon, const char *options, mode_t mask, mode_t mode)
{
    const char *path = harness_path("mode");
    mode_t before = umask(mask);
    start_at(daemon, path, options);
    (void)umask(before);
    assert_true(S_ISSOCK(mode_of(path)));
    assert_int_equal(mode_of(path) & 07777, mode);
    if ((mode & S_IWUSR) != 0)
        check_echo(path);
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
}

static void permissions(struct daemon *daemon)
{
    check_mode(daemon, "", 022, 0666);
    check_mode(daemon, "", 077, 0666);
    check_mode(daemon, "--socket-mode=600", 0, 0600);
    check_mode(daemon, "--socket-mode=0660", 077, 0660);
    check_mode(daemon, "--socket-mode=777", 077, 0777);
    check_mode(daemon, "--socket-mode=666 --socket-mode=0", 0, 0);
}

static void bad_permissions(struct daemon *daemon)
{
    (void)daemon;
    static const char *const modes[] = {"8", "999", "1000", "-1", "0x1ff", "rw", "", "66a"};
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        char options[64];
        char said[64];
        (void)snprintf(options, sizeof options, "--socket-mode=%s", modes[i]);
        (void)snprintf(said, sizeof said, "--socket-mode: '%s'", modes[i]);
        (void)harness_run_refused(&(struct launch){.options = options}, 2, said, "octal");
    }
}

/* ---- files that exist already ---- */

static void stale_file_is_replaced(struct daemon *daemon)
{
    const char *path = harness_path("stale");
    start_at(daemon, path, "");
    daemon_kill(daemon);
    assert_true(S_ISSOCK(mode_of(path)));
    start_at(daemon, path, "--socket-mode=600");
    assert_int_equal(mode_of(path) & 07777, 0600);
    check_echo(path);
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
    assert_int_equal(mode_of(path), 0);
}

static void refuse_at(const char *path, const char *reason)
{
    (void)harness_run_refused(&(struct launch){.options = bind_option(path), .own_port = true}, 1,
                              path, reason);
}

static void live_socket_is_left_alone(struct daemon *daemon)
{
    char name[64];
    char options[100];
    const char *path = harness_path("live");
    use_abstract(name);
    (void)snprintf(options, sizeof options, "--bind=unix:%s", name);
    start_at(daemon, path, options);
    int fd = client_connect_unix(path);
    client_ping(fd, "GOT:", "hello");
    refuse_at(path, "Address already in use");
    refuse_at(name, "Address already in use");
    client_ping(fd, "GOT:", "still here");
    check_echo(path);
    check_echo(name);
}

/* A daemon that listens counts as alive, even if it does not accept at the moment. */
static void busy_socket_is_left_alone(struct daemon *daemon)
{
    const char *path = harness_path("busy");
    start_at(daemon, path, "--backlog=1");
    daemon_freeze(daemon);
    int waiting[2] = {client_connect_unix(path), client_connect_unix(path)};
    refuse_at(path, "Address already in use");
    daemon_signal(daemon, SIGCONT);
    client_ping(waiting[0], "GOT:", "hello");
    client_ping(waiting[1], "GOT:", "hello");
    check_echo(path);
}

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static void check_file(const char *path, const char *text)
{
    char read[64] = "";
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    assert_non_null(fgets(read, sizeof read, file));
    (void)fclose(file);
    assert_string_equal(read, text);
}

static void other_files_are_left_alone(struct daemon *daemon)
{
    (void)daemon;
    const char *path = harness_path("file");
    const char *link = harness_path("link");
    write_file(path, "precious");
    assert_int_equal(symlink(path, link), 0);
    refuse_at(path, "File exists");
    refuse_at(link, "File exists");
    check_file(path, "precious");
    check_file(link, "precious");
    path = harness_path("directory");
    assert_int_equal(mkdir(path, 0700), 0);
    refuse_at(path, "File exists");
    assert_true(S_ISDIR(mode_of(path)));
    path = harness_path("fifo");
    assert_int_equal(mkfifo(path, 0600), 0);
    refuse_at(path, "File exists");
    assert_true(S_ISFIFO(mode_of(path)));
}

/* A socket of another type is left alone, because nobody can find out whether it is in use. */
static void datagram_socket_is_left_alone(struct daemon *daemon)
{
    (void)daemon;
    const char *path = harness_path("datagram");
    (void)harness_bind_unix(path, SOCK_DGRAM);
    refuse_at(path, "Address already in use");
    assert_true(S_ISSOCK(mode_of(path)));
}

static void missing_directories_are_refused(struct daemon *daemon)
{
    (void)daemon;
    refuse_at(harness_path("missing/socket"), "No such file or directory");
    write_file(harness_path("not-a-directory"), "precious");
    refuse_at(harness_path("not-a-directory/socket"), "Not a directory");
}

/* A start that fails removes the files that it has made. */
static void failed_start_leaves_no_file(struct daemon *daemon)
{
    (void)daemon;
    char options[300];
    const char *path = harness_path("half-started");
    const char *missing = harness_path("missing/socket");
    (void)snprintf(options, sizeof options, "--bind=unix:%s --bind=unix:%s", path, missing);
    (void)harness_run_refused(&(struct launch){.options = options, .own_port = true}, 1, missing,
                              "No such file or directory");
    assert_int_equal(mode_of(path), 0);
}

static void misuse(const char *path, const char *why)
{
    const char *line = harness_run_refused(
        &(struct launch){.options = bind_option(path), .own_port = true}, 2, "--bind", why);
    assert_int_equal(strncmp(line, "uvechod: ", 9), 0);
}

static void impossible_paths_are_misuse(struct daemon *daemon)
{
    (void)daemon;
    char path[109];
    memset(path, 'l', sizeof path - 1);
    path[sizeof path - 1] = '\0';
    path[0] = '/';
    misuse(path, "107 bytes");
    path[0] = '@';
    misuse(path, "107 bytes");
    misuse("", "it is empty");
    misuse("@", "it is empty"); /* otherwise the kernel would choose a name */
}

/* ---- the end ---- */

static void file_is_removed(struct daemon *daemon)
{
    const char *path = harness_path("removed");
    start_at(daemon, path, "");
    assert_true(S_ISSOCK(mode_of(path)));
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
    assert_int_equal(mode_of(path), 0);
}

/* Another socket, or another kind of file, has replaced the daemon's file. */
static void replaced_file_stays(struct daemon *daemon)
{
    const char *path = harness_path("replaced");
    const char *other = harness_path("replaced-too");
    char option[160];
    (void)snprintf(option, sizeof option, "--bind=unix:%s", other);
    start_at(daemon, path, option);
    (void)daemon_wait_line(daemon, other);
    assert_int_equal(unlink(path), 0);
    int fd = harness_bind_unix(path, SOCK_STREAM);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(unlink(other), 0);
    write_file(other, "precious");
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
    assert_true(S_ISSOCK(mode_of(path)));
    client_close(client_connect_unix(path));
    check_file(other, "precious");
}

static void missing_file_is_no_error(struct daemon *daemon)
{
    const char *path = harness_path("gone");
    start_at(daemon, path, "");
    assert_int_equal(unlink(path), 0);
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
    assert_int_equal(mode_of(path), 0);
}

/* A daemon that still serves its last clients does not remove the file of its successor. */
static void successor_keeps_its_file(struct daemon *daemon)
{
    struct daemon *successor = daemon->second;
    const char *path = harness_path("successor");
    start_at(daemon, path, "--drain-timeout=3600");
    int fd = client_connect_unix(path);
    client_ping(fd, "GOT:", "hello");
    daemon_signal(daemon, SIGTERM);
    (void)daemon_wait_line(daemon, "Stopping: waiting for 1 connection,");
    start_at(successor, path, "");
    check_echo(path);
    client_ping(fd, "GOT:", "still here");
    client_close(fd);
    assert_int_equal(daemon_wait_exit(daemon), 0);
    assert_true(S_ISSOCK(mode_of(path)));
    check_echo(path);
}

/* ---- several daemons at once ---- */

/* Makes a directory for one socket, so that the test finds any file that is left in it. */
static const char *start_directory(void)
{
    const char *path = harness_path("start");
    assert_true(mkdir(path, 0700) == 0 || errno == EEXIST);
    return path;
}

static void check_nothing_left(void)
{
    assert_int_equal(rmdir(start_directory()), 0);
}

enum { RIVALS = 4 };

/* How often the tests below start daemons. With a sanitizer each start takes long. */
static int rounds(void)
{
    return harness_sanitized() ? 4 : 15;
}

/* Starts the daemon at path and waits for nothing. */
static void launch_at(struct daemon *daemon, const char *path)
{
    daemon_launch(daemon, &(struct launch){.options = bind_option(path), .own_port = true});
}

/* Waits until the daemon listens (true), or has found the path in use (false). */
static bool wins(struct daemon *daemon)
{
    if (strstr(daemon_wait_line(daemon, "isten"), "Listening on ") != NULL)
        return true;
    assert_contains(daemon->line, "Address already in use");
    assert_int_equal(daemon_wait_exit(daemon), 1);
    return false;
}

/* All daemons start at the same moment. One serves, and the others leave its file alone. */
static void check_rivals(const char *path)
{
    struct daemon rivals[RIVALS];
    struct daemon *winner = NULL;
    int winners = 0;
    (void)start_directory();
    for (int i = 0; i < RIVALS; i++) {
        daemon_init(&rivals[i]);
        launch_at(&rivals[i], path);
    }
    for (int i = 0; i < RIVALS; i++)
        if (wins(&rivals[i])) {
            winner = &rivals[i];
            winners++;
        }
    assert_int_equal(winners, 1);
    check_echo(path);
    assert_int_equal(daemon_stop(winner, SIGTERM), 0);
    for (int i = 0; i < RIVALS; i++)
        daemon_forget(&rivals[i]);
}

static void one_of_several_serves(struct daemon *daemon)
{
    for (int i = 0; i < rounds(); i++) {
        check_rivals(harness_path("start/socket"));
        check_nothing_left();
        (void)start_directory();
        start_at(daemon, harness_path("start/socket"), "");
        daemon_kill(daemon); /* a killed daemon leaves its file */
        check_rivals(harness_path("start/socket"));
        check_nothing_left();
    }
}

/* A daemon stops when another one starts. The new one either serves, or found the path in use. */
static void stop_and_start_at_once(struct daemon *daemon)
{
    for (int i = 0; i < rounds(); i++) {
        const char *path = harness_path("start/socket");
        (void)start_directory();
        start_at(daemon, path, "");
        launch_at(daemon->second, path);
        assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
        if (wins(daemon->second)) {
            check_echo(path);
            assert_int_equal(daemon_stop(daemon->second, SIGTERM), 0);
        }
        check_nothing_left();
    }
}

/* ---- signals during the start ---- */

/* Starts the daemon at start/socket, and does not wait for a line of the log. */
static void start_unwatched(struct daemon *daemon)
{
    (void)start_directory();
    launch_at(daemon, harness_path("start/socket"));
}

/* A signal that is pending before the daemon's first instruction stops the daemon in good order. */
static void signal_before_the_start(struct daemon *daemon)
{
    static const int signums[] = {SIGTERM, SIGINT, SIGHUP};
    for (size_t i = 0; i < sizeof signums / sizeof *signums; i++) {
        sigset_t set;
        assert_int_equal(sigemptyset(&set), 0);
        assert_int_equal(sigaddset(&set, signums[i]), 0);
        assert_int_equal(sigprocmask(SIG_BLOCK, &set, NULL), 0); /* the daemon inherits this */
        start_unwatched(daemon);
        daemon_signal(daemon, signums[i]);
        assert_int_equal(sigprocmask(SIG_UNBLOCK, &set, NULL), 0);
        assert_int_equal(daemon_wait_exit(daemon), 0);
        check_nothing_left();
    }
}

/* If the signal killed the daemon at this moment, the file would stay. */
static void signal_when_the_file_appears(struct daemon *daemon)
{
    for (int i = 0; i < rounds(); i++) {
        char event[512];
        int watch = inotify_init1(IN_CLOEXEC);
        assert_true(inotify_add_watch(watch, start_directory(), IN_CREATE) >= 0);
        start_unwatched(daemon);
        assert_true(read(watch, event, sizeof event) > 0);
        (void)close(watch);
        assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
        check_nothing_left();
    }
}

/* Whether SIGTERM is in a set of signals in /proc/PID/status: the blocked or the caught signals. */
static bool has_sigterm(const char *status, const char *set)
{
    const char *at = strstr(status, set);
    return at != NULL && (strtoull(at + strlen(set), NULL, 16) & 1ULL << (SIGTERM - 1)) != 0;
}

/* Whether the daemon has blocked or handles SIGTERM, so that SIGTERM does not kill it. */
static bool is_safe_from_signals(const struct daemon *daemon)
{
    char path[64];
    char status[4096];
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)daemon->pid);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    status[fread(status, 1, sizeof status - 1, file)] = '\0';
    (void)fclose(file);
    /* fork(2) of newer C libraries, and sanitizers before main(), block signals for a moment. */
    bool runs = strncmp(status, "Name:\tuvechod\n", strlen("Name:\tuvechod\n")) == 0;
    bool blocked = runs && !harness_sanitized() && has_sigterm(status, "\nSigBlk:\t");
    return blocked || (runs && has_sigterm(status, "\nSigCgt:\t"));
}

/* Sends the signal when the daemon has just blocked it, then a little later each time. */
static void signal_at_any_moment_of_the_start(struct daemon *daemon)
{
    for (int i = 0; i < rounds(); i++) {
        start_unwatched(daemon);
        uint64_t begin_ms = harness_now_ms();
        while (!is_safe_from_signals(daemon))
            assert_true(harness_now_ms() - begin_ms < HARNESS_DEADLINE_MS);
        for (int reads = 0; reads < 8 * i; reads++)
            (void)is_safe_from_signals(daemon);
        assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
        check_nothing_left();
    }
}

/* ---- idle clients ---- */

enum { SLOW_READS = 60, SLOW_PAUSE_MS = 100, SLOW_STALL_MS = 500, SLOW_TRIES = 5 };

/*
 * Reads 20 kB per second for six seconds, unless the connection ends. Returns how long (ms) the
 * machine has kept this process from that.
 */
static uint64_t read_slowly(int fd, int *reads)
{
    static char some[2000];
    uint64_t begin_ms = harness_now_ms();
    *reads = 0;
    while (*reads < SLOW_READS && recv(fd, some, sizeof some, MSG_DONTWAIT) > 0 &&
           !client_breaks(fd, SLOW_PAUSE_MS))
        ++*reads;
    return harness_now_ms() - begin_ms - (uint64_t)*reads * SLOW_PAUSE_MS;
}

/*
 * The timeout is one second, and that of an unread Unix socket three: the kernel only shows when a
 * whole buffer of up to 36 KiB has been read. A reader that was kept from reading may have been
 * idle, and tries again.
 */
static void slow_reader_is_not_idle(struct daemon *daemon)
{
    char path[64];
    struct stream stream;
    int tries = 0;
    int reads = 0;
    use_abstract(path);
    start_at(daemon, path, "--rfc862 --idle-timeout=1");
    for (;;) {
        stream_init(&stream, client_connect_unix(path), 1, 1 << 28, false);
        streams_jam(&stream, 1);
        uint64_t stalled_ms = read_slowly(stream.fd, &reads);
        if (reads == SLOW_READS)
            break;
        assert_true(stalled_ms > SLOW_STALL_MS && ++tries < SLOW_TRIES);
        (void)daemon_wait_line(daemon, "(idle for too long)");
        client_close(stream.fd);
    }
    assert_int_equal(daemon_count(daemon, "idle for too long"), tries);
    (void)daemon_wait_line(daemon, "(idle for too long)"); /* the client has stopped reading */
}

static void stubborn_reader_is_cut(struct daemon *daemon)
{
    char path[64];
    struct stream stream;
    use_abstract(path);
    start_at(daemon, path, "--rfc862 --idle-timeout=1");
    stream_init(&stream, client_connect_unix(path), 1, 1 << 28, false);
    uint64_t begin_ms =
        harness_now_ms(); /* before the last byte moves, however slow this test is */
    streams_jam(&stream, 1);
    (void)daemon_wait_line(daemon, "(idle for too long)"); /* 3 s, and 2 s after our FIN */
    assert_true(harness_now_ms() - begin_ms >= 4900);
}

int main(void)
{
    harness_init();
    const struct CMUnitTest tests[] = {
        e2e_test(path_and_tcp),
        e2e_test(abstract_and_tcp),
        e2e_test(several_paths),
        e2e_test(abstract_name_is_free_again),
        e2e_test(longest_path),
        e2e_test(longest_abstract_name),
        e2e_test(streams_are_whole),
        e2e_test(stream_is_verbatim),
        e2e_test(jammed_client),
        e2e_test(half_close_is_answered),
        e2e_test(drain_waits),
        e2e_test(peer_is_logged),
        e2e_test(permissions),
        e2e_test(bad_permissions),
        e2e_test(stale_file_is_replaced),
        e2e_test(live_socket_is_left_alone),
        e2e_test(busy_socket_is_left_alone),
        e2e_test(other_files_are_left_alone),
        e2e_test(datagram_socket_is_left_alone),
        e2e_test(missing_directories_are_refused),
        e2e_test(failed_start_leaves_no_file),
        e2e_test(impossible_paths_are_misuse),
        e2e_test(file_is_removed),
        e2e_test(replaced_file_stays),
        e2e_test(missing_file_is_no_error),
        e2e_test(successor_keeps_its_file),
        e2e_test(one_of_several_serves),
        e2e_test(stop_and_start_at_once),
        e2e_test(signal_before_the_start),
        e2e_test(signal_when_the_file_appears),
        e2e_test(signal_at_any_moment_of_the_start),
        e2e_test(slow_reader_is_not_idle),
        e2e_test(stubborn_reader_is_cut),
    };
    return cmocka_run_group_tests_name("e2e.unix", tests, NULL, NULL);
}
