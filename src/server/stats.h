/*
 * stats.h - what the daemon has done so far, and the one list of what that is.
 *
 * There are four ways to see a figure, and all of them come from here: the lines that SIGUSR1 logs,
 * the status that the service manager shows (supervision.h), /metrics and /stats (metrics.h). A
 * new figure is a field of struct stats and a row of the list.
 */
#ifndef UVECHOD_STATS_H
#define UVECHOD_STATS_H

#include "os/process.h"
#include "stream/origins.h"
#include "stream/proxy.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { STATS_WORKERS_MAX = 64 };

/* The value of a figure that nobody knows: it is left out. */
#define STATS_UNKNOWN PROCESS_UNKNOWN

/* Of one worker. */
struct stats_worker {
    uint64_t connections; /* now, including those in its mailbox */
    uint64_t turns;       /* of its loop, since the process began */
};

struct stats {
    uint64_t open;           /* connections now, including those in the mailboxes */
    uint64_t accepted;       /* connections ever served */
    uint64_t refused;        /* connections accepted and closed at once, for lack of something */
    uint64_t over_source;    /* connections accepted and closed at once: their source had enough */
    uint64_t bytes_in;       /* ever received */
    uint64_t bytes_out;      /* ever sent, including prefixes */
    uint64_t upgrades;       /* how often a process has left its connections to the next one */
    uint64_t accept_pauses;  /* for lack of descriptors or memory */
    uint64_t rate_pauses;    /* by the limit of connections in a second */
    uint64_t up_s;           /* seconds since the first of these processes began */
    uint64_t limit;          /* of open connections */
    uint64_t log_lines_lost; /* ever, because nobody read the log */
    uint64_t proxied[PROXY_RESULTS];      /* headers of proxies, by what became of them */
    uint64_t datagrams[DATAGRAM_RESULTS]; /* that have ever come, by what became of them */
    uint64_t draining;                    /* 1 while the daemon stops, else 0 */
    /* What follows is for /metrics and /stats alone. */
    struct process_figures process;
    uint64_t process_started_us; /* since 1970 */
    const char *version;
    unsigned workers;
    struct stats_worker worker[STATS_WORKERS_MAX];
};

enum stats_kind {
    STATS_GAUGE,   /* may fall */
    STATS_COUNTER, /* rises only; but for those of one worker also over upgrades and restarts */
    STATS_INFO,    /* a text, as the value of its label */
};

/* The lines of the log. */
enum stats_line {
    STATS_MAIN,
    STATS_PROXIED,   /* for those who have proxies */
    STATS_DATAGRAMS, /* for those who answer datagrams */
};

/* A row of the list. */
struct stats_row {
    const char *name; /* as OpenMetrics names a family: what ends with the unit, if there is one */
    const char *help; /* one line of English, without a full stop */
    enum stats_kind kind;
    bool micro;        /* it is counted in millionths of the unit */
    const char *unit;  /* "bytes" or "seconds"; NULL: a number of something */
    const char *label; /* what tells the rows of one name apart, which follow each other; or NULL */
    const char
        *value;    /* of that label; NULL: the number of the worker, or the text of STATS_INFO */
    size_t offset; /* in struct stats; of rows with "worker" as label, in struct stats_worker */
    enum stats_line line; /* in which the log says it */
    const char *said;     /* there, marked with N_(), with '#' for the number; or NULL */
    const char *joins;    /* what stands before that in the log; NULL: "; " */
};

/* The list, and how many rows it has. */
extern const struct stats_row stats_rows[];
extern const size_t stats_row_count;

/* Whether there is one such figure for each worker. */
bool stats_is_of_workers(const struct stats_row *row);

/* The number of a row that is no STATS_INFO; of the given worker, if there is one for each. */
uint64_t stats_get(const struct stats *stats, const struct stats_row *row, unsigned worker);

/*
 * Writes what a line of the log says, in the language of the user, to text: size bytes with the
 * NUL.
 */
void stats_describe(const struct stats *stats, enum stats_line line, char *text, size_t size);

#endif
