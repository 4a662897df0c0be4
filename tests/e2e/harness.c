/*
 * harness.c - what every test needs: its setup and its end, files, languages.
 */
#include "harness.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef __has_feature /* of clang; gcc has the other two */
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define HARNESS_SANITIZED 1
#endif
#endif
#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
#define HARNESS_SANITIZED 1
#endif
#ifndef HARNESS_SANITIZED
#define HARNESS_SANITIZED 0
#endif

/* ---- tests ---- */

/* How we were started ourselves must not change the daemon. */
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

const char *const *harness_language(const char *language)
{
    static char all[64];
    static char path[PATH_MAX];
    static const char *const setup[] = {all, "LOCPATH=" UVECHOD_TEST_LOCALES, NULL};
    static const char *const setup_of_machine[] = {all, NULL};
    (void)snprintf(all, sizeof all, "LC_ALL=%s.UTF-8", language);
    locale_t locale = newlocale(LC_ALL_MASK, all + strlen("LC_ALL="), (locale_t)0);
    if (locale != (locale_t)0) {
        freelocale(locale);
        return setup_of_machine;
    }
    (void)snprintf(path, sizeof path, UVECHOD_TEST_LOCALES "/%s.UTF-8", language);
    if (access(path, X_OK) != 0)
        harness_skip("neither this locale nor localedef(1) and its sources (package locales)");
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

bool harness_sanitized(void)
{
    return HARNESS_SANITIZED;
}

bool harness_may_weigh(void)
{
    if (harness_sanitized())
        print_message("[          ] memory is not measured: a sanitizer needs some itself\n");
    return !harness_sanitized();
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
    test->run(&test->daemon);
    test->passed = true;
}

int harness_setup(void **state)
{
    struct e2e_case *test = *state;
    (void)alarm(HARNESS_WATCHDOG_S); /* kills us; the daemons are killed when we end */
    test->passed = false;
    daemon_init(&test->daemon);
    daemon_init(&test->second);
    test->daemon.second = &test->second;
    return 0;
}

/* Sockets that a test has left open are clients: they end before the daemons are told to. */
static void harness_close_clients(const struct e2e_case *test)
{
    DIR *dir = opendir("/proc/self/fd");
    if (dir == NULL)
        return;
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        int fd = (int)strtol(entry->d_name, NULL, 10);
        int type;
        socklen_t len = sizeof type;
        if (fd > STDERR_FILENO && fd != test->daemon.err && fd != test->second.err &&
            fd != dirfd(dir) && getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0)
            (void)close(fd);
    }
    (void)closedir(dir);
}

/* Returns whether the daemon ended well. Prints the end of its log if the test did not go well. */
static bool harness_finish(struct daemon *daemon, bool passed)
{
    bool good = daemon_finish(daemon);
    if (daemon->log != NULL && (!good || !passed)) {
        size_t skipped = daemon->log_len > 4000 ? daemon->log_len - 4000 : 0;
        print_message("The daemon's log:\n%s\n", daemon->log + skipped);
    }
    daemon_forget(daemon);
    return good;
}

int harness_teardown(void **state)
{
    struct e2e_case *test = *state;
    harness_close_clients(test);
    bool good = harness_finish(&test->daemon, test->passed);
    good = harness_finish(&test->second, test->passed) && good;
    return good ? 0 : -1;
}
