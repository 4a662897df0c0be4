#include "log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* Under PIPE_BUF (4096 on Linux, 512 in POSIX): a pipe takes such a write whole or not at all. */
enum { LOG_LINE_MAX = 500 };

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
    *log = (struct log){
        .level = level, .fd = own >= 0 ? own : fd, .own = own >= 0, .regular = regular};
}

bool log_enabled(const struct log *log, enum log_level level)
{
    return level <= log->level;
}

/*
 * A write that does not block: sockets (which cannot be opened anew) have a flag for it, other
 * files that could not be opened anew are asked first.
 */
static bool log_put(const struct log *log, const char *line, size_t len)
{
    if (log->own || log->regular)
        return write(log->fd, line, len) == (ssize_t)len;
    ssize_t n = send(log->fd, line, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n >= 0 || errno != ENOTSOCK)
        return n == (ssize_t)len;
    struct pollfd ready = {.fd = log->fd, .events = POLLOUT};
    return poll(&ready, 1, 0) == 1 && (ready.revents & POLLOUT) != 0 &&
           write(log->fd, line, len) == (ssize_t)len;
}

/* Says how many lines were lost; false while that cannot be said either. */
static bool log_confess(struct log *log)
{
    char line[LOG_LINE_MAX];
    int len = snprintf(line, sizeof line, "%lu log lines lost: nobody read them\n", log->lost);
    if (!log_put(log, line, (size_t)len))
        return false;
    log->lost = 0;
    return true;
}

void log_write(struct log *log, enum log_level level, const char *format, ...)
{
    if (!log_enabled(log, level))
        return;
    char line[LOG_LINE_MAX];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line - 1, format, args); /* room for the newline */
    va_end(args);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof line - 2 ? (size_t)n : sizeof line - 2;
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)line[i] < ' ' || line[i] == 0x7f)
            line[i] = '?'; /* one event, one line, whatever a name contains */
    line[len++] = '\n';
    if ((log->lost > 0 && !log_confess(log)) || !log_put(log, line, len))
        log->lost++;
}

void log_close(struct log *log)
{
    if (log->lost > 0)
        (void)log_confess(log);
    if (log->own)
        (void)close(log->fd);
    log->fd = -1;
}
