/*
 * test_log.c - lines that are written to a pipe, a socket, a file and a terminal, and read back.
 * Many go to a reader that does not read: if a write blocked, the watchdog would end the test.
 * open(2) is wrapped, so that it can fail as it does where /proc is missing.
 */
#include "unit/support.h"

#include "base/log.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <termios.h>
#include <time.h>

enum { LINE_MAX_BYTES = 500 }; /* with the newline */

static bool open_fails;

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    if (!open_fails)
        return __real_open(path, flags, 0600);
    errno = ENOENT;
    return -1;
}

struct fixture {
    struct log log;
    int reader; /* -1: there is none, or it is closed */
    int writer; /* what the log was given */
    int fds;    /* open before the test */
};

static struct fixture fixture;

static int fixture_open(void **state)
{
    open_fails = false;
    fixture = (struct fixture){.reader = -1, .writer = -1, .log = {.fd = -1}, .fds = count_fds()};
    assert_ptr_not_equal(signal(SIGPIPE, SIG_IGN), SIG_ERR);
    assert_return_code(unsetenv("JOURNAL_STREAM"), errno);
    *state = &fixture;
    return 0;
}

static void reader_close(struct fixture *f)
{
    assert_return_code(close(f->reader), errno);
    f->reader = -1;
}

static int fixture_close(void **state)
{
    struct fixture *f = *state;
    if (f->log.fd >= 0)
        log_close(&f->log);
    if (f->reader >= 0)
        reader_close(f);
    if (f->writer >= 0)
        assert_return_code(close(f->writer), errno); /* the log has not closed it */
    assert_int_equal(count_fds(), f->fds);
    return 0;
}

/* A pipe as a shell makes it, whose writing end blocks. Our reading end does not. */
static void use_pipe(struct fixture *f, enum log_level level)
{
    int fds[2];
    assert_return_code(pipe2(fds, O_CLOEXEC), errno);
    assert_return_code(fcntl(fds[0], F_SETFL, O_NONBLOCK), errno);
    f->reader = fds[0];
    f->writer = fds[1];
    log_init(&f->log, f->writer, level);
}

/* A socket, as systemd connects a service with its journal. */
static void use_socket(struct fixture *f)
{
    int fds[2];
    assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), errno);
    assert_return_code(fcntl(fds[0], F_SETFL, O_NONBLOCK), errno);
    f->reader = fds[0];
    f->writer = fds[1];
    log_init(&f->log, f->writer, LOG_LEVEL_INFO);
}

/* A file that has a line in it already. */
static void use_file(struct fixture *f)
{
    char path[] = "/tmp/test_log.XXXXXX";
    f->writer = mkostemp(path, O_CLOEXEC);
    assert_return_code(f->writer, errno);
    assert_return_code(unlink(path), errno);
    assert_int_equal(write(f->writer, "before\n", 7), 7);
    log_init(&f->log, f->writer, LOG_LEVEL_INFO);
}

/* A terminal that changes nothing in what is written to it. */
static void use_terminal(struct fixture *f)
{
    char path[64];
    struct termios raw;
    f->reader = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (f->reader < 0) {
        print_message("no terminal can be made here: %s\n", strerror(errno));
        skip();
    }
    assert_return_code(grantpt(f->reader), errno);
    assert_return_code(unlockpt(f->reader), errno);
    assert_int_equal(ptsname_r(f->reader, path, sizeof path), 0);
    f->writer = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
    assert_return_code(f->writer, errno);
    assert_return_code(tcgetattr(f->writer, &raw), errno);
    cfmakeraw(&raw);
    assert_return_code(tcsetattr(f->writer, TCSANOW, &raw), errno);
    log_init(&f->log, f->writer, LOG_LEVEL_INFO);
}

/* Says, as systemd does to a service, that this file leads to the journal. Restarts the log. */
static void use_journal(struct fixture *f, unsigned device_more, unsigned inode_more)
{
    struct stat file;
    char stream[64];
    assert_return_code(fstat(f->writer, &file), errno);
    (void)snprintf(stream, sizeof stream, "%llu:%llu",
                   (unsigned long long)file.st_dev + device_more,
                   (unsigned long long)file.st_ino + inode_more);
    assert_return_code(setenv("JOURNAL_STREAM", stream, 1), errno);
    log_close(&f->log);
    log_init(&f->log, f->writer, LOG_LEVEL_DEBUG);
}

/* Reads all that can be read now. Returns how many bytes. */
static size_t read_all(int fd, char *buf, size_t size)
{
    size_t len = 0;
    ssize_t n;
    do {
        n = read(fd, buf + len, size - 1 - len);
        len += n > 0 ? (size_t)n : 0;
    } while (n > 0);
    buf[len] = '\0';
    return len;
}

static void expect_text(const struct fixture *f, const char *text)
{
    char buf[4096];
    (void)read_all(f->reader, buf, sizeof buf);
    assert_string_equal(buf, text);
}

/* Writes numbered lines until so many are lost. Returns how many were written before that. */
static unsigned flood(struct fixture *f, unsigned lost)
{
    unsigned written = 0;
    while (f->log.lost == 0)
        log_write(&f->log, LOG_LEVEL_INFO, "line %u", written++);
    while (f->log.lost < lost)
        log_write(&f->log, LOG_LEVEL_INFO, "lost");
    assert_int_equal(f->log.lost, lost);
    return written - 1;
}

/* Reads what flood() has written: every line whole and in its place, and nothing behind them. */
static void expect_flood(const struct fixture *f, unsigned count)
{
    static char text[2 * 1024 * 1024];
    char line[32];
    size_t at = 0;
    size_t len = read_all(f->reader, text, sizeof text);
    for (unsigned i = 0; i < count; i++) {
        int n = snprintf(line, sizeof line, "line %u\n", i);
        assert_true(at + (size_t)n <= len);
        assert_memory_equal(text + at, line, (size_t)n);
        at += (size_t)n;
    }
    assert_int_equal(at, len);
}

/* The reader stops and goes on: the next line says, once, how many lines it has missed. */
static void expect_losses_told(struct fixture *f)
{
    const unsigned long before = log_lost(&f->log);
    unsigned count = flood(f, 7);
    expect_flood(f, count);
    log_write(&f->log, LOG_LEVEL_INFO, "here again");
    expect_text(f, "7 log lines lost: they could not be written\nhere again\n");
    assert_int_equal(f->log.lost, 0);
    assert_int_equal(log_lost(&f->log), before + 7);
    log_write(&f->log, LOG_LEVEL_INFO, "and on");
    expect_text(f, "and on\n");
}

static void test_levels(void **state)
{
    struct fixture *f = *state;
    static const char *const texts[] = {"0\n", "0\n1\n", "0\n1\n2\n", "0\n1\n2\n3\n",
                                        "0\n1\n2\n3\n4\n"};
    use_pipe(f, LOG_LEVEL_ERROR);
    for (int level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++) {
        f->log.level = (enum log_level)level;
        for (int line = LOG_LEVEL_ERROR; line <= LOG_LEVEL_DEBUG; line++) {
            assert_int_equal(log_enabled(&f->log, (enum log_level)line), line <= level);
            log_write(&f->log, (enum log_level)line, "%d", line);
        }
        expect_text(f, texts[level]);
    }
}

static void test_init_sets_the_level(void **state)
{
    struct fixture *f = *state;
    use_pipe(f, LOG_LEVEL_WARNING);
    assert_true(log_enabled(&f->log, LOG_LEVEL_WARNING));
    assert_false(log_enabled(&f->log, LOG_LEVEL_NOTICE));
    assert_int_equal(f->log.lost, 0);
}

static void test_one_line(void **state)
{
    struct fixture *f = *state;
    use_pipe(f, LOG_LEVEL_INFO);
    log_write(&f->log, LOG_LEVEL_INFO, "Connection from %s:%d", "127.0.0.1", 54321);
    expect_text(f, "Connection from 127.0.0.1:54321\n");
    log_write(&f->log, LOG_LEVEL_INFO, "%s", "");
    expect_text(f, "\n");
}

/* A line up to the limit is whole. A longer line is cut, but still ends with a newline. */
static void test_long_line_is_cut(void **state)
{
    struct fixture *f = *state;
    char text[2000];
    char buf[4096];
    use_pipe(f, LOG_LEVEL_INFO);
    memset(text, 'x', sizeof text);
    for (int len = LINE_MAX_BYTES - 3; len <= LINE_MAX_BYTES + 3; len++) {
        size_t expected = len < LINE_MAX_BYTES ? (size_t)len + 1 : LINE_MAX_BYTES;
        log_write(&f->log, LOG_LEVEL_INFO, "%.*s", len, text);
        assert_int_equal(read_all(f->reader, buf, sizeof buf), expected);
        assert_memory_equal(buf, text, expected - 1);
        assert_int_equal(buf[expected - 1], '\n');
    }
    log_write(&f->log, LOG_LEVEL_INFO, "%.2000s", text);
    assert_int_equal(read_all(f->reader, buf, sizeof buf), LINE_MAX_BYTES);
    assert_int_equal(buf[LINE_MAX_BYTES - 1], '\n');
}

static void test_control_characters(void **state)
{
    struct fixture *f = *state;
    use_pipe(f, LOG_LEVEL_INFO);
    log_write(&f->log, LOG_LEVEL_INFO, "%s", "a\nb\r\tc\x1b[31m\x01\x1f\x7f ~");
    expect_text(f, "a?b??c?[31m??? ~\n");
    log_write(&f->log, LOG_LEVEL_INFO, "%c|", '\0');
    expect_text(f, "?|\n");
    log_write(&f->log, LOG_LEVEL_INFO, "%s", "\xc3\xbc"); /* u with two dots, in UTF-8 */
    expect_text(f, "\xc3\xbc\n");
    log_write(&f->log, LOG_LEVEL_INFO, "%s", "\xc2\x85\xc2\x9b|\xc2\xa0"); /* NEL, CSI; a space */
    expect_text(f, "????|\xc2\xa0\n");
}

static void test_pipe_that_nobody_reads(void **state)
{
    struct fixture *f = *state;
    use_pipe(f, LOG_LEVEL_INFO);
    expect_losses_told(f);
    expect_losses_told(f); /* a second time, counted from 0 */
}

static void test_socket_that_nobody_reads(void **state)
{
    struct fixture *f = *state;
    use_socket(f);
    expect_losses_told(f);
    expect_losses_told(f);
}

static void test_pipe_that_cannot_be_reopened(void **state)
{
    struct fixture *f = *state;
    open_fails = true;
    use_pipe(f, LOG_LEVEL_INFO);
    assert_int_equal(f->log.fd, f->writer);
    expect_losses_told(f);
    expect_losses_told(f);
}

/* The process that started us shares our stderr: we must not change its flags. */
static void test_flags_of_the_pipe_stay(void **state)
{
    struct fixture *f = *state;
    use_pipe(f, LOG_LEVEL_INFO);
    log_write(&f->log, LOG_LEVEL_INFO, "x");
    assert_int_equal(fcntl(f->writer, F_GETFL) & O_NONBLOCK, 0);
    assert_int_not_equal(f->log.fd, f->writer);
    assert_true((fcntl(f->log.fd, F_GETFD) & FD_CLOEXEC) != 0);
}

static void test_flags_of_the_socket_stay(void **state)
{
    struct fixture *f = *state;
    use_socket(f);
    log_write(&f->log, LOG_LEVEL_INFO, "x");
    expect_text(f, "x\n");
    assert_int_equal(fcntl(f->writer, F_GETFL) & O_NONBLOCK, 0);
}

/* A line of a disabled level is not counted as lost, and does not report earlier losses. */
static void test_disabled_line_is_not_lost(void **state)
{
    struct fixture *f = *state;
    use_pipe(f, LOG_LEVEL_INFO);
    unsigned count = flood(f, 2);
    log_write(&f->log, LOG_LEVEL_DEBUG, "hidden");
    assert_int_equal(f->log.lost, 2);
    expect_flood(f, count);
    log_write(&f->log, LOG_LEVEL_DEBUG, "hidden");
    expect_text(f, "");
}

/* There is room for the report of losses but not for the line behind it: that line is lost. */
static void test_loss_after_the_confession(void **state)
{
    struct fixture *f = *state;
    char blank[1024] = "";
    use_pipe(f, LOG_LEVEL_INFO);
    int room =
        fcntl(f->writer, F_SETPIPE_SZ, 4096); /* one page, or the least that the kernel allows */
    assert_return_code(room, errno);
    memset(blank, ' ', sizeof blank);
    for (int len = room - 100; len > 0; len -= (int)sizeof blank) {
        size_t part = len < (int)sizeof blank ? (size_t)len : sizeof blank;
        assert_int_equal(write(f->writer, blank, part), part);
    }
    log_write(&f->log, LOG_LEVEL_INFO, "%200s", "too long");
    assert_int_equal(f->log.lost, 1);
    log_write(&f->log, LOG_LEVEL_INFO, "%200s", "too long");
    assert_int_equal(f->log.lost, 1);
    static char text[128 * 1024];
    size_t len = read_all(f->reader, text, sizeof text);
    const char *confession = "1 log line lost: it could not be written\n";
    assert_int_equal(len, (size_t)room - 100 + strlen(confession));
    assert_string_equal(text + room - 100, confession);
}

static void test_close_tells_of_losses(void **state)
{
    struct fixture *f = *state;
    use_pipe(f, LOG_LEVEL_INFO);
    expect_flood(f, flood(f, 3));
    log_close(&f->log);
    expect_text(f, "3 log lines lost: they could not be written\n");
    assert_int_equal(f->log.fd, -1);
}

static void test_close_does_not_block_either(void **state)
{
    struct fixture *f = *state;
    use_pipe(f, LOG_LEVEL_INFO);
    unsigned count = flood(f, 3);
    log_close(&f->log);
    expect_flood(f, count);
}

/* The log has not opened the socket, so it must not close it. */
static void test_close_leaves_what_it_was_given(void **state)
{
    struct fixture *f = *state;
    use_socket(f);
    log_close(&f->log);
    assert_true(fd_is_open(f->writer));
}

/* text begins with prefix. Returns what follows. */
static const char *expect_prefix(const char *text, const char *prefix)
{
    size_t len = strlen(prefix);
    assert_true(strlen(text) >= len);
    assert_memory_equal(text, prefix, len);
    return text + len;
}

/* text begins with a time (RFC 3339, UTC, milliseconds) not before since. Returns what follows. */
static const char *expect_time(const char *text, time_t since)
{
    struct tm utc = {0};
    char again[32];
    unsigned ms = 1000;
    int len = 0;
    const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &utc);
    assert_non_null(rest);
    assert_int_equal(sscanf(rest, ".%3uZ %n", &ms, &len), 1);
    assert_int_equal(len, 6);
    assert_true(timegm(&utc) >= since && timegm(&utc) <= check_seconds());
    assert_int_equal(strftime(again, sizeof again, "%Y-%m-%dT%H:%M:%S", &utc), 19);
    (void)expect_prefix(text, again);
    return rest + len;
}

/* Other processes may write to the file as well: every line goes to its end. */
static void test_file(void **state)
{
    struct fixture *f = *state;
    char buf[256] = "";
    time_t since = check_seconds();
    use_file(f);
    log_write(&f->log, LOG_LEVEL_INFO, "first");
    assert_int_equal(write(f->writer, "other\n", 6), 6);
    log_write(&f->log, LOG_LEVEL_INFO, "second");
    assert_true(pread(f->writer, buf, sizeof buf - 1, 0) > 0);
    const char *rest = expect_prefix(buf, "before\n");
    rest = expect_prefix(expect_time(rest, since), "first\nother\n");
    assert_string_equal(expect_time(rest, since), "second\n");
    assert_int_equal(f->log.lost, 0);
    log_close(&f->log);
    assert_true(fd_is_open(f->writer));
}

/* The reader has gone for good. The lines are lost, and the process goes on. */
static void expect_lost(struct fixture *f)
{
    for (unsigned long i = 1; i <= 3; i++) {
        log_write(&f->log, LOG_LEVEL_INFO, "into the void");
        assert_int_equal(f->log.lost, i);
    }
    log_close(&f->log);
}

static void test_closed_pipe(void **state)
{
    struct fixture *f = *state;
    use_pipe(f, LOG_LEVEL_INFO);
    reader_close(f);
    expect_lost(f);
}

/* Lines for a descriptor that is closed are lost, and nothing else happens. */
static void test_closed_descriptor(void **state)
{
    struct fixture *f = *state;
    int fd = dup(STDERR_FILENO);
    assert_return_code(close(fd), errno);
    log_init(&f->log, fd, LOG_LEVEL_INFO);
    assert_int_equal(f->log.style, LOG_STYLE_PLAIN);
    expect_lost(f);
}

/* A write to a socket raises no SIGPIPE, so its default action ends nothing. */
static void test_closed_socket(void **state)
{
    struct fixture *f = *state;
    assert_ptr_not_equal(signal(SIGPIPE, SIG_DFL), SIG_ERR);
    use_socket(f);
    reader_close(f);
    expect_lost(f);
}

/* The reader is closed from the beginning: the pipe cannot even be opened anew. */
static void test_pipe_closed_before(void **state)
{
    struct fixture *f = *state;
    use_pipe(f, LOG_LEVEL_INFO);
    log_close(&f->log);
    reader_close(f);
    log_init(&f->log, f->writer, LOG_LEVEL_INFO);
    expect_lost(f);
}

/* The time zone of the machine does not matter. */
static void test_file_in_another_zone(void **state)
{
    struct fixture *f = *state;
    char buf[64] = "";
    time_t since = check_seconds();
    use_file(f);
    assert_return_code(setenv("TZ", "IST-5:30", 1), errno);
    tzset();
    log_write(&f->log, LOG_LEVEL_INFO, "when?");
    assert_return_code(unsetenv("TZ"), errno);
    tzset();
    assert_true(pread(f->writer, buf, sizeof buf - 1, 7) > 0);
    assert_string_equal(expect_time(buf, since), "when?\n");
}

static void test_terminal(void **state)
{
    struct fixture *f = *state;
    char buf[64];
    size_t len = 0;
    time_t since = check_seconds();
    use_terminal(f);
    log_write(&f->log, LOG_LEVEL_INFO, "seen");
    while (len == 0 || buf[len - 1] != '\n') {
        ssize_t n = read(f->reader, buf + len, sizeof buf - 1 - len);
        assert_true(n > 0);
        len += (size_t)n;
    }
    buf[len] = '\0';
    assert_string_equal(expect_time(buf, since), "seen\n");
}

static void test_journal(void **state)
{
    struct fixture *f = *state;
    use_socket(f);
    use_journal(f, 0, 0);
    for (int level = LOG_LEVEL_ERROR; level <= LOG_LEVEL_DEBUG; level++)
        log_write(&f->log, (enum log_level)level, "level %d", level);
    expect_text(f, "<3>level 0\n<4>level 1\n<5>level 2\n<6>level 3\n<7>level 4\n");
}

/* The report of losses has the priority of a warning. */
static void test_journal_that_nobody_reads(void **state)
{
    struct fixture *f = *state;
    static char text[2 * 1024 * 1024];
    use_socket(f);
    use_journal(f, 0, 0);
    (void)flood(f, 2);
    assert_true(read_all(f->reader, text, sizeof text) > 0);
    log_write(&f->log, LOG_LEVEL_INFO, "here again");
    expect_text(f, "<4>2 log lines lost: they could not be written\n<6>here again\n");
}

/* The stderr of a service may be another file, and its children inherit the variable. */
static void test_a_journal_elsewhere(void **state)
{
    struct fixture *f = *state;
    static const char *const words[] = {"", "x", "1", "1:", ":1", "x:y"};
    use_socket(f);
    use_journal(f, 0, 1);
    log_write(&f->log, LOG_LEVEL_INFO, "another inode");
    use_journal(f, 1, 0);
    log_write(&f->log, LOG_LEVEL_INFO, "another device");
    expect_text(f, "another inode\nanother device\n");
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        assert_return_code(setenv("JOURNAL_STREAM", words[i], 1), errno);
        log_init(&f->log, f->writer, LOG_LEVEL_INFO);
        log_write(&f->log, LOG_LEVEL_INFO, "%s", "garbage");
        expect_text(f, "garbage\n");
    }
}

static void test_file_while_the_journal_is_elsewhere(void **state)
{
    struct fixture *f = *state;
    char buf[64] = "";
    time_t since = check_seconds();
    use_file(f);
    use_journal(f, 0, 1);
    log_write(&f->log, LOG_LEVEL_ERROR, "here");
    assert_true(pread(f->writer, buf, sizeof buf - 1, 7) > 0);
    assert_string_equal(expect_time(buf, since), "here\n");
}

/* What stands in front is part of the line, and of its limit. */
static void test_long_lines_with_a_head_are_cut(void **state)
{
    struct fixture *f = *state;
    char buf[4096];
    use_socket(f);
    use_journal(f, 0, 0);
    log_write(&f->log, LOG_LEVEL_INFO, "%0*d", LINE_MAX_BYTES - 4, 0);
    assert_int_equal(read_all(f->reader, buf, sizeof buf), LINE_MAX_BYTES);
    log_write(&f->log, LOG_LEVEL_INFO, "%0*d", LINE_MAX_BYTES - 3, 0);
    assert_int_equal(read_all(f->reader, buf, sizeof buf), LINE_MAX_BYTES);
    (void)expect_prefix(buf, "<6>00");
    assert_int_equal(buf[LINE_MAX_BYTES - 1], '\n');
    assert_int_equal(buf[LINE_MAX_BYTES - 2], '0');
}

/* How many bytes the character that starts so has; 0: it is none that starts. */
static size_t utf8_len(unsigned char first)
{
    if (first < 0x80)
        return 1;
    return first < 0xc0 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

static void expect_whole_characters(const char *text, size_t len)
{
    for (size_t at = 0; at < len;) {
        size_t bytes = utf8_len((unsigned char)text[at]);
        assert_true(bytes > 0 && at + bytes <= len);
        for (size_t i = 1; i < bytes; i++)
            assert_int_equal(utf8_len((unsigned char)text[at + i]), 0);
        at += bytes;
    }
}

/* Characters of two, three and four bytes, cut wherever the line ends: none is left in part. */
static void test_a_line_is_cut_between_characters(void **state)
{
    struct fixture *f = *state;
    static const char *const characters[] = {"\xc3\xbc", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
    char text[2048];
    char buf[4096];
    use_pipe(f, LOG_LEVEL_INFO);
    for (size_t c = 0; c < sizeof characters / sizeof *characters; c++)
        for (size_t shift = 0; shift < 4; shift++) {
            size_t bytes = strlen(characters[c]);
            memset(text, 'x', shift);
            for (size_t at = shift; at < 1000; at += bytes)
                memcpy(text + at, characters[c], bytes + 1);
            log_write(&f->log, LOG_LEVEL_INFO, "%s", text);
            size_t len = read_all(f->reader, buf, sizeof buf);
            assert_between(len, LINE_MAX_BYTES - 4, LINE_MAX_BYTES);
            assert_int_equal(buf[len - 1], '\n');
            assert_memory_equal(buf, text, len - 1);
            expect_whole_characters(buf, len - 1);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_levels),
        FIXTURE_TEST(test_init_sets_the_level),
        FIXTURE_TEST(test_one_line),
        FIXTURE_TEST(test_long_line_is_cut),
        FIXTURE_TEST(test_control_characters),
        FIXTURE_TEST(test_pipe_that_nobody_reads),
        FIXTURE_TEST(test_socket_that_nobody_reads),
        FIXTURE_TEST(test_pipe_that_cannot_be_reopened),
        FIXTURE_TEST(test_flags_of_the_pipe_stay),
        FIXTURE_TEST(test_flags_of_the_socket_stay),
        FIXTURE_TEST(test_disabled_line_is_not_lost),
        FIXTURE_TEST(test_loss_after_the_confession),
        FIXTURE_TEST(test_close_tells_of_losses),
        FIXTURE_TEST(test_close_does_not_block_either),
        FIXTURE_TEST(test_close_leaves_what_it_was_given),
        FIXTURE_TEST(test_file),
        FIXTURE_TEST(test_file_in_another_zone),
        FIXTURE_TEST(test_terminal),
        FIXTURE_TEST(test_journal),
        FIXTURE_TEST(test_journal_that_nobody_reads),
        FIXTURE_TEST(test_a_journal_elsewhere),
        FIXTURE_TEST(test_file_while_the_journal_is_elsewhere),
        FIXTURE_TEST(test_long_lines_with_a_head_are_cut),
        FIXTURE_TEST(test_a_line_is_cut_between_characters),
        FIXTURE_TEST(test_closed_pipe),
        FIXTURE_TEST(test_closed_descriptor),
        FIXTURE_TEST(test_closed_socket),
        FIXTURE_TEST(test_pipe_closed_before),
    };
    return RUN_TESTS("log", tests);
}
