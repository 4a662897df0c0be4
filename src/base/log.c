#include "base/log.h"

#include "base/i18n.h"
#include "base/text.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* Less than PIPE_BUF (4096 on Linux, 512 in POSIX): a pipe takes such a write whole or not. */
enum { LOG_LINE_MAX = 500 };

/* systemd tells which file is its journal: the stderr of a service may be another file. */
static bool log_is_journal(const struct stat *file)
{
    const char *stream = getenv("JOURNAL_STREAM");
    char ours[64];
    (void)snprintf(ours, sizeof ours, "%llu:%llu", (unsigned long long)file->st_dev,
                   (unsigned long long)file->st_ino);
    return stream != NULL && strcmp(stream, ours) == 0;
}

static enum log_style log_style_of(int fd)
{
    struct stat file;
    if (fstat(fd, &file) < 0)
        return LOG_STYLE_PLAIN;
    if (log_is_journal(&file))
        return LOG_STYLE_JOURNAL;
    return S_ISREG(file.st_mode) || isatty(fd) ? LOG_STYLE_TIME : LOG_STYLE_PLAIN;
}

void log_init(struct log *log, int fd, enum log_level level)
{
    struct stat file;
    bool regular = fstat(fd, &file) == 0 && S_ISREG(file.st_mode);
    int own = -1;
    if (!regular) {
        char path[32];
        (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        own = open(path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    }
    *log = (struct log){.level = level,
                        .style = log_style_of(fd),
                        .fd = own >= 0 ? own : fd,
                        .own = own >= 0,
                        .regular = regular};
}

bool log_enabled(const struct log *log, enum log_level level)
{
    return level <= log->level;
}

/*
 * A write that does not block. For a socket, which cannot be opened anew, there is a flag. Any
 * other file that could not be opened anew is polled first. Returns how many bytes were written, or
 * -1.
 */
static ssize_t log_try(const struct log *log, const char *line, size_t len)
{
    if (log->own || log->regular)
        return write(log->fd, line, len);
    ssize_t n = send(log->fd, line, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n >= 0 || errno != ENOTSOCK)
        return n;
    struct pollfd ready = {.fd = log->fd, .events = POLLOUT};
    if (poll(&ready, 1, 0) != 1 || (ready.revents & POLLOUT) == 0)
        return -1;
    return write(log->fd, line, len);
}

/* Returns whether the whole line was written. A full disk takes only its beginning. */
static bool log_put(struct log *log, const char *line, size_t len)
{
    ssize_t n = log_try(log, line, len);
    if (n > 0)
        log->cut = (size_t)n < len;
    return n == (ssize_t)len;
}

static size_t log_put_time(char *line, size_t size)
{
    struct timespec now;
    struct tm utc;
    (void)clock_gettime(CLOCK_REALTIME, &now); /* fails only for clocks that Linux does not have */
    (void)gmtime_r(&now.tv_sec, &utc);         /* fails only for years that Linux does not reach */
    size_t len = strftime(line, size, "%Y-%m-%dT%H:%M:%S", &utc);
    int n = snprintf(line + len, size - len, ".%03ldZ ", now.tv_nsec / 1000000);
    return len + (size_t)n;
}

/* Writes what a line begins with: priority, time or nothing. Returns its length. */
static size_t log_put_head(const struct log *log, enum log_level level, char *line, size_t size)
{
    static const char priorities[] = {'3', '4', '5', '6', '7'}; /* syslog(3)'s */
    switch (log->style) {
    case LOG_STYLE_JOURNAL:
        return (size_t)snprintf(line, size, "<%c>", priorities[level]);
    case LOG_STYLE_TIME:
        return log_put_time(line, size);
    default:
        return 0;
    }
}

static bool log_line(struct log *log, enum log_level level, const char *format, va_list args)
    __attribute__((format(printf, 3, 0)));

static bool log_line(struct log *log, enum log_level level, const char *format, va_list args)
{
    char line[LOG_LINE_MAX];
    size_t head = log->cut;
    line[0] = '\n';
    head += log_put_head(log, level, line + head, sizeof line - head);
    size_t room = sizeof line - head; /* the newline takes the place of the NUL */
    int n = vsnprintf(line + head, room, format, args);
    size_t len = n < 0 ? 0 : (size_t)n < room ? (size_t)n : text_cut(line + head, room - 1);
    text_clean(line + head, len);
    len += head;
    line[len++] = '\n';
    return log_put(log, line, len);
}

static bool log_say(struct log *log, const char *format, ...) __attribute__((format(printf, 2, 3)));

static bool log_say(struct log *log, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    bool said = log_line(log, LOG_LEVEL_WARNING, format, args);
    va_end(args);
    return said;
}

/* Reports how many lines were lost. One thread does so; false if this line is lost as well. */
static bool log_catch_up(struct log *log)
{
    unsigned long lost = log->lost;
    if (lost > 0)
        lost = atomic_exchange(&log->lost, 0);
    if (lost == 0 || log_say(log,
                             P_("%lu log line lost: it could not be written",
                                "%lu log lines lost: they could not be written", lost),
                             lost))
        return true;
    log->lost += lost;
    return false;
}

void log_write(struct log *log, enum log_level level, const char *format, ...)
{
    if (!log_enabled(log, level))
        return;
    va_list args;
    va_start(args, format);
    if (!log_catch_up(log) || !log_line(log, level, format, args)) {
        log->lost++;
        log->lost_ever++;
    }
    va_end(args);
}

unsigned long log_lost(const struct log *log)
{
    return log->lost_ever;
}

void log_close(struct log *log)
{
    (void)log_catch_up(log);
    if (log->own)
        (void)close(log->fd);
    log->fd = -1;
}
