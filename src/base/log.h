/*
 * log.h - one line per event on stderr, in levels, never blocking.
 *
 * A line is one write of less than PIPE_BUF bytes. When whoever reads our stderr does not read,
 * the line is lost instead of holding up the loop; how many were lost is said in front of the
 * first line that can be written again.
 *
 * Under systemd's journal a line starts with its priority, as "<6>" (sd-daemon(3)); on a terminal
 * and in a file with the time, as "2026-01-31T23:59:59.000Z" (RFC 3339); on a pipe with neither,
 * because whoever reads that keeps its own time.
 *
 * Once log_init() has returned, and until log_close(), any number of threads may write.
 */
#ifndef UVECHOD_LOG_H
#define UVECHOD_LOG_H

#include <stdatomic.h>
#include <stdbool.h>

enum log_level {
    LOG_LEVEL_ERROR,   /* the daemon ends */
    LOG_LEVEL_WARNING, /* somebody should look */
    LOG_LEVEL_NOTICE,  /* what was asked for, even of a quiet daemon */
    LOG_LEVEL_INFO,    /* what happens every day */
    LOG_LEVEL_DEBUG,
};

enum log_style { LOG_STYLE_PLAIN, LOG_STYLE_TIME, LOG_STYLE_JOURNAL };

struct log {
    enum log_level level; /* more detailed lines are not written */
    enum log_style style;
    int fd;
    bool own;          /* fd has been opened anew, non-blocking */
    bool regular;      /* a write to a regular file does not block either */
    atomic_bool cut;   /* the last line was not written to its end: the next starts a new one */
    atomic_ulong lost; /* lines lost since the last one that could be written */
};

/*
 * Writes to what fd refers to, from now until log_close(), which the fd must outlive. A terminal
 * or pipe is opened anew where possible, so that being non-blocking is ours alone and changes
 * nothing for the process that started us. A regular file is not: its writers share the place
 * where the next line goes. Cannot fail.
 */
void log_init(struct log *log, int fd, enum log_level level);

/* Whether a line of this level is written; asked before costly arguments are made. */
bool log_enabled(const struct log *log, enum log_level level);

/*
 * Writes one line, as printf(3); the newline is added. A line that is too long is cut, control
 * characters become '?'.
 */
void log_write(struct log *log, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

void log_close(struct log *log);

#endif
