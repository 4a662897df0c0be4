/*
 * log.h - one line per event on stderr, in levels, never blocking.
 *
 * A line is one write of less than PIPE_BUF bytes. A line that cannot be written at once, because
 * the reader of our stderr does not read or a disk is full, is lost: it must not hold up the loop.
 * The number of lost lines is logged before the first line that can be written again.
 *
 * In systemd's journal a line starts with its priority, such as "<6>" (sd-daemon(3)). On a terminal
 * and in a file it starts with the time, such as "2026-01-31T23:59:59.000Z" (RFC 3339). On a pipe
 * it starts with neither, because the program at the other end notes the time itself.
 *
 * Between log_init() and log_close() any number of threads may write.
 */
#ifndef UVECHOD_LOG_H
#define UVECHOD_LOG_H

#include <stdatomic.h>
#include <stdbool.h>

enum log_level {
    LOG_LEVEL_ERROR,   /* the daemon ends */
    LOG_LEVEL_WARNING, /* somebody should look */
    LOG_LEVEL_NOTICE,  /* what somebody has asked for; a quiet daemon logs it, too */
    LOG_LEVEL_INFO,    /* what happens every day */
    LOG_LEVEL_DEBUG,
};

enum log_style { LOG_STYLE_PLAIN, LOG_STYLE_TIME, LOG_STYLE_JOURNAL };

struct log {
    enum log_level level; /* more detailed lines are not written */
    enum log_style style;
    int fd;
    bool own;               /* log_init() has opened fd anew, non-blocking */
    bool regular;           /* fd is a regular file, to which a write does not block */
    atomic_bool cut;        /* the last line lacks its end, and the next must start a new line */
    atomic_ulong lost;      /* lines that were lost and have not been reported yet */
    atomic_ulong lost_ever; /* all lines that were lost */
};

/*
 * Makes a log that writes to fd, which must stay open until log_close(). A terminal or pipe is
 * opened anew where that is possible: it is then non-blocking for us alone, and not for the process
 * that started us. A regular file is not opened anew, because all that write to it share the
 * position of the next line. Cannot fail.
 */
void log_init(struct log *log, int fd, enum log_level level);

/* Whether a line of this level is written. Saves making costly arguments for a line that is not. */
bool log_enabled(const struct log *log, enum log_level level);

/*
 * Writes one line in the format of printf(3), to which the newline is added. A line that is too
 * long is cut. Control characters become '?'.
 */
void log_write(struct log *log, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* How many lines were lost since log_init(). */
unsigned long log_lost(const struct log *log);

/* Reports lines that were lost, if it can, and closes what log_init() has opened. */
void log_close(struct log *log);

#endif
