/*
 * The log of the simulated process, on the other side of base/log.h. Every line is read: it must
 * tell what the kernel knows.
 */
#include "base/log.h"

#include "clients.h"
#include "fates.h"
#include "invariants.h"
#include "listening.h"
#include "lives.h"
#include "memory.h"
#include "plan.h"
#include "process.h"
#include "socket.h"
#include "stream/proxy.h"
#include "world.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static struct {
    unsigned listening;
    unsigned long opened, closed, lacked, finished, refused, paused, resumed, errors;
    unsigned long headed;     /* lines about the client of a proxy */
    unsigned long complained; /* headers that were told to be wrong or late */
    uint64_t complained_us;   /* when the last line told that; 0: none has, of this process */
    bool starting_failed;
} logs;

void logs_begin(void)
{
    memset(&logs, 0, sizeof logs);
}

void logs_end_process(void)
{
    logs.resumed = logs.paused;
    logs.complained_us = 0;
}

int logs_listening(void)
{
    return (int)logs.listening;
}

unsigned long logs_pauses(void)
{
    return logs.paused - logs.resumed;
}

void log_init(struct log *log, int fd, enum log_level level)
{
    *log = (struct log){.fd = fd, .level = level};
}

bool log_enabled(const struct log *log, enum log_level level)
{
    return level <= log->level;
}

void log_close(struct log *log)
{
    log->fd = -1;
}

/* The connection with the peer in text, up to a blank: "PEER" or "CLIENT via PEER". */
static struct socket *logs_socket(const char *peer)
{
    char client[NET_ADDR_STRLEN + 40] = "";
    char text[NET_ADDR_STRLEN] = "";
    bool named = sscanf(peer, "%167s via %127s", client, text) == 2;
    if (!named)
        (void)sscanf(peer, "%127[^ ]", text);
    struct socket *socket = clients_socket(listening_serial(text));
    if (socket == NULL)
        world_fail("the log tells of a connection that there is not: %s", peer);
    fates_named(socket, named ? client : NULL);
    return socket;
}

static void logs_opened(const char *peer)
{
    struct socket *socket = logs_socket(peer);
    /* Of one that was about to be closed, and has moved no byte, nobody knows that it is old. */
    bool again = socket->survivor && socket->received == 0 && socket->sent == 0;
    if (socket->named && plan_get()->level == LOG_LEVEL_DEBUG) {
        logs.headed++; /* once more, with its client, when its header is whole */
        return;
    }
    if (socket->logged && !again)
        world_fail("the log tells twice that client %u has connected", socket->client);
    if (plan_get()->level < LOG_LEVEL_DEBUG && fates_data(socket) == 0)
        world_fail("the log tells of client %u, which has sent nothing", socket->client);
    socket->logged = true;
    logs.opened++;
}

/* The reason as the log must tell it; "" for none. */
static const char *logs_reason(const struct socket *socket)
{
    switch (socket->reason) {
    case REASON_IDLE:
        return "idle for too long";
    case REASON_STUCK:
        return "took no answer for too long";
    case REASON_DRAIN:
        return "the daemon stops";
    default:
        return socket->error != 0 ? strerror(-socket->error) : "";
    }
}

static bool logs_reason_is_right(const struct socket *socket, const char *reason)
{
    if (socket->reason == REASON_EITHER)
        return strcmp(reason, "idle for too long") == 0 || strcmp(reason, "the daemon stops") == 0;
    if (strcmp(reason, logs_reason(socket)) == 0)
        return true;
    /* Its time was over, and the successor had no buffer for the answer that its entry names. */
    return socket->ending && strcmp(reason, strerror(ENOMEM)) == 0 && process_lacked_buffer();
}

static void logs_closed(const char *peer)
{
    char reason[200] = "";
    struct socket *socket = logs_socket(peer);
    const char *told = strstr(peer, " (");
    if (told != NULL)
        (void)sscanf(told, " (%199[^)])", reason);
    if (!socket->closed || socket->ended)
        world_fail("the log tells that client %u is closed, at the wrong time", socket->client);
    bool lacked = socket->error == -ENOMEM || socket->error == -ENOBUFS; /* always told */
    if (!socket->logged && !lacked && !socket->survivor) /* or its process died before it told */
        world_fail("the log tells the end of client %u, and not its beginning", socket->client);
    logs.lacked += !socket->logged;
    if (!logs_reason_is_right(socket, reason))
        world_fail("client %u ends because of \"%s\", and the log says \"%s\"", socket->client,
                   logs_reason(socket), reason);
    socket->ended = true;
    logs.closed++;
}

static void logs_paused(const char *reason)
{
    if (strcmp(reason, strerror(listenings_last_error())) != 0)
        world_fail("accepting fails because of \"%s\", and the log says \"%s\"",
                   strerror(listenings_last_error()), reason);
    listenings_check_pause();
    logs.paused++;
}

/*
 * Between the daemon's decision and the end of the connection that is refused, another connection
 * of the source may end, if there are threads: then the kernel does not know why it was refused.
 * And a successor also refuses what it has taken over, but has no memory or watch for; where it
 * could not take over the connection at all, it says so and counts nothing.
 */
static bool logs_refusals_are_right(unsigned long long refused, unsigned long long over)
{
    const struct socket_counts *counts = sockets_counts();
    bool sure = plan_get()->config.workers == 1 || plan_get()->config.max_per_source == 0;
    unsigned long long least = counts->refused + counts->over_source;
    return refused + over >= least && refused + over <= least + counts->lost &&
           (!sure || over == counts->over_source);
}

/* The numbers must be the kernel's. */
static void logs_statistics(const char *line)
{
    unsigned long open = 0;
    unsigned long long total = 0;
    unsigned long long in = 0;
    unsigned long long out = 0;
    unsigned long long refused = 0;
    unsigned long long pauses = 0;
    unsigned long long over = 0;
    unsigned long long up = 0;
    const struct socket_counts *counts = sockets_counts();
    if (sscanf(line,
               "Statistics: %lu connections now, %llu in total; %llu bytes in, %llu out; %llu "
               "refused; %llu accept pauses; %llu refused per source; %*u rate pauses; up %llu s",
               &open, &total, &in, &out, &refused, &pauses, &over, &up) != 8)
        world_fail("the statistics cannot be read: %s", line);
    if (lives_lost_counts())
        return;
    bool all = total == counts->served || sockets_orphaned(); /* which are counted when served */
    if (open != sockets_count() || !all || in != counts->bytes_in || out != counts->bytes_out ||
        !logs_refusals_are_right(refused, over) || pauses != logs.paused)
        world_fail("%s; right is %u, %llu; %llu, %llu; %llu, %llu; %lu", line, sockets_count(),
                   (unsigned long long)counts->served, (unsigned long long)counts->bytes_in,
                   (unsigned long long)counts->bytes_out, (unsigned long long)counts->refused,
                   (unsigned long long)counts->over_source, logs.paused);
    uint64_t lived = (world_now() - plan_get()->begun_us) / 1000000;
    if (up > lived + 1 || up + 1 + world_stalled() / 1000000 < lived)
        world_fail("the statistics say up %llu s, and %llu s is right", up,
                   (unsigned long long)lived);
}

static void logs_headers(const char *counts)
{
    unsigned long long said[4];
    if (sscanf(counts, "%llu with a client, %llu without, %llu bad, %llu late", &said[0], &said[1],
               &said[2], &said[3]) != 4)
        world_fail("the counts of headers cannot be read: %s", counts);
    const uint64_t right[] = {said[0], said[1], said[2], said[3]};
    fates_check(right);
}

/* "N connections reset for their PROXY headers, the last from PEER: REASON", once a second. */
static void logs_complained(unsigned long count, const char *rest)
{
    enum { APART_US = 998000 }; /* whole milliseconds, which are made odd */
    char peer[NET_ADDR_STRLEN] = "";
    const char *from = strstr(rest, "the last from ");
    if (from == NULL || sscanf(from, "the last from %127s", peer) != 1)
        world_fail("the line about wrong headers cannot be read: %s", rest);
    peer[strlen(peer) - 1] = '\0'; /* the colon */
    const struct socket *socket = clients_socket(listening_serial(peer));
    if (socket == NULL)
        world_fail("the log tells of a header of nobody: %s", peer);
    fates_complained(socket, strstr(from, ": ") + 2);
    if (logs.complained_us != 0 && world_now() - logs.complained_us < APART_US)
        world_fail("two lines about wrong headers in a second");
    logs.complained_us = world_now();
    logs.complained += count;
    if (logs.complained > fates_most(PROXY_BAD) + fates_most(PROXY_LATE))
        world_fail("the log has told of %lu wrong headers, and there were fewer", logs.complained);
}

static void logs_listens(const char *addr)
{
    (void)addr;
    if (++logs.listening == 1)
        world_faults_may_occur(true);
}

static void logs_refused(const char *reason)
{
    (void)reason;
    logs.refused++;
}

static void logs_finished(const char *rest)
{
    (void)rest;
    logs.finished++;
}

static void logs_resumed(const char *rest)
{
    (void)rest;
    logs.resumed++;
    if (logs.resumed > logs.paused)
        world_fail("the log tells that accepting goes on, and not that it has paused");
}

static void logs_cannot(const char *rest)
{
    (void)rest;
    logs.errors++;
}

static void logs_not_upgrading(const char *rest)
{
    (void)rest;
    signals_answered();
}

/* How long nobody has served is only known of an upgrade. */
static void logs_took_over(const char *rest)
{
    unsigned long count = 0;
    unsigned long ms = 0;
    uint64_t gap_us = lives_gap_us();
    if (sscanf(rest, "%lu connection%*[s] in %lu ms", &count, &ms) != 2 &&
        sscanf(rest, "%lu connection in %lu ms", &count, &ms) != 2)
        world_fail("the line about the takeover cannot be read: %s", rest);
    /* It may have been stalled between the note of the time and the execution. */
    uint64_t longest_us = gap_us + world_stalled() + 1000;
    if (gap_us != UINT64_MAX && (ms > longest_us / 1000 || ms + 1 < gap_us / 1000))
        world_fail("the log tells of a gap of %lu ms, which was %llu us", ms,
                   (unsigned long long)gap_us);
}

/* How a line begins, and what is done with the rest of it. */
static const struct {
    const char *begin;
    void (*read)(const char *rest);
} logs_lines[] = {
    {"Connection from ", logs_opened},       {"Connection closed: ", logs_closed},
    {"Task finished", logs_finished},        {"Connection refused: ", logs_refused},
    {"Accepting paused: ", logs_paused},     {"Accepting again", logs_resumed},
    {"PROXY headers: ", logs_headers},       {"Listening on ", logs_listens},
    {"Took over ", logs_took_over},          {"Cannot upgrade: ", logs_not_upgrading},
    {"Not upgrading: ", logs_not_upgrading}, {"Cannot ", logs_cannot},
};

static void logs_read(const char *line)
{
    if (strncmp(line, "Statistics:", 11) == 0) {
        logs_statistics(line);
        return;
    }
    unsigned long count;
    if (strstr(line, " reset for ") != NULL && sscanf(line, "%lu", &count) == 1) {
        logs_complained(count, line);
        return;
    }
    for (size_t i = 0; i < sizeof logs_lines / sizeof *logs_lines; i++) {
        size_t len = strlen(logs_lines[i].begin);
        if (strncmp(line, logs_lines[i].begin, len) == 0) {
            logs_lines[i].read(line + len);
            return;
        }
    }
}

void log_write(struct log *log, enum log_level level, const char *format, ...)
{
    char line[500];
    va_list args;
    if (!log_enabled(log, level))
        return;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    world_trace("log: %s", line);
    bool refusal = strncmp(line, "Cannot upgrade: ", 16) == 0;
    if (level == LOG_LEVEL_ERROR && logs.listening > 0 && !refusal)
        world_fail("the daemon listens, and logs an error: %s", line);
    logs_read(line);
    if (logs.listening > 0)
        world_spend(); /* write(2) takes its time */
}

/* The reader of the log always reads. */
unsigned long log_lost(const struct log *log)
{
    (void)log;
    return 0;
}

void logs_end(int rc)
{
    const struct socket_counts *counts = sockets_counts();
    if (rc < 0 && logs.errors == 0)
        world_fail("the daemon has failed with %d, and has not said why", rc);
    if (lives_ended() > 0)
        return; /* what a process was about to tell when it ended is not told */
    unsigned long long over = counts->refused + counts->over_source - logs.refused;
    if (rc == 0 && !logs_refusals_are_right(logs.refused, over))
        world_fail("%llu connections were refused, the log tells of %lu",
                   (unsigned long long)counts->refused, logs.refused);
    if (logs.opened + logs.lacked != logs.closed)
        world_fail("the log tells of %lu beginnings and %lu ends", logs.opened, logs.closed);
    enum log_level level = plan_get()->level;
    if (level == LOG_LEVEL_DEBUG && logs.headed != fates_sure(PROXY_CLIENT))
        world_fail("proxies have named %llu clients, the log tells of %lu",
                   (unsigned long long)fates_sure(PROXY_CLIENT), logs.headed);
    uint64_t wrong = fates_sure(PROXY_BAD) + fates_sure(PROXY_LATE);
    if (logs.complained > wrong || (logs.complained == 0) != (wrong == 0))
        world_fail("%llu headers were wrong or late, the log tells of %lu",
                   (unsigned long long)wrong, logs.complained);
    uint64_t told = level == LOG_LEVEL_DEBUG ? counts->served : counts->spoke;
    if (level >= LOG_LEVEL_INFO && rc == 0 && logs.opened != told)
        world_fail("the log must tell of %llu connections, and tells of %lu",
                   (unsigned long long)told, logs.opened);
    if (level >= LOG_LEVEL_INFO && rc == 0 && logs.finished != logs.closed + listenings_count())
        world_fail("%lu connections are closed and %u listeners, the log tells of %lu tasks",
                   logs.closed, listenings_count(), logs.finished);
}
