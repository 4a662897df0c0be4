#include "server/stats.h"

#include "base/i18n.h"

#include <stdio.h>
#include <string.h>

#define STATS(member)   .offset = offsetof(struct stats, member)
#define WORKERS(member) .label = "worker", .offset = offsetof(struct stats_worker, member)
/* One of several rows of the same name, by the result. */
#define PROXIED(result, number, text)                                                              \
    {                                                                                              \
        "uvechod_proxy_headers", "Headers of the PROXY protocol, by what became of them",          \
            STATS_COUNTER, .label = "result", .value = (result), STATS(proxied[number]),           \
                           .line = STATS_PROXIED, .said = (text), .joins = ", "                    \
    }
#define DATAGRAMS(result, number, text, before)                                                    \
    {                                                                                              \
        "uvechod_udp_datagrams", "Datagrams that have come, by what became of them",               \
            STATS_COUNTER, .label = "result", .value = (result), STATS(datagrams[number]),         \
                           .line = STATS_DATAGRAMS, .said = (text), .joins = (before)              \
    }

/* In the order in which the log says them. */
const struct stats_row stats_rows[] = {
    {"uvechod_connections", "Connections that are open now", STATS(open),
     .said = N_("# connections now")},
    {"uvechod_connections_accepted", "Connections that were served", STATS_COUNTER, STATS(accepted),
     .said = N_("# in total"), .joins = ", "},
    {"uvechod_received_bytes", "Bytes received from clients", STATS_COUNTER, .unit = "bytes",
     STATS(bytes_in), .said = N_("# bytes in")},
    {"uvechod_sent_bytes", "Bytes sent to clients, with prefixes", STATS_COUNTER, .unit = "bytes",
     STATS(bytes_out), .said = N_("# out"), .joins = ", "},
    {"uvechod_refused", "Connections closed at once for lack of memory or descriptors",
     STATS_COUNTER, STATS(refused), .said = N_("# refused")},
    {"uvechod_accept_pauses", "Pauses in accepting for lack of memory or descriptors",
     STATS_COUNTER, STATS(accept_pauses), .said = N_("# accept pauses")},
    {"uvechod_refused_per_source", "Connections closed at once by --max-per-source", STATS_COUNTER,
     STATS(over_source), .said = N_("# refused per source")},
    {"uvechod_rate_pauses", "Pauses in accepting by --max-rate", STATS_COUNTER, STATS(rate_pauses),
     .said = N_("# rate pauses")},
    {"uvechod_uptime_seconds", "Time since the start, over upgrades and restarts", STATS_GAUGE,
     .unit = "seconds", STATS(up_s), .said = N_("up # s")},
    {"uvechod_generations", "Processes that have left their connections to the next one",
     STATS_COUNTER, STATS(upgrades), .said = N_("# upgrades")},
    /* Not in the log, whose line would be too long. */
    {"uvechod_connections_max", "Connections that may be open at once", STATS(limit)},
    {"uvechod_log_lines_lost", "Lines that could not be written to the log", STATS_COUNTER,
     STATS(log_lines_lost)},
    DATAGRAMS("answered", DATAGRAM_ANSWERED, N_("# answered"), ", "),
    DATAGRAMS("source_port", DATAGRAM_PORT, N_("dropped: # for the source port"), "; "),
    DATAGRAMS("own_port", DATAGRAM_OWN, N_("# for a port of ours"), ", "),
    DATAGRAMS("address", DATAGRAM_ADDRESS, N_("# for the address"), ", "),
    DATAGRAMS("prefix", DATAGRAM_PREFIX, N_("# for the prefix"), ", "),
    DATAGRAMS("rate", DATAGRAM_RATE, N_("# for --udp-rate"), ", "),
    DATAGRAMS("size", DATAGRAM_SIZE, N_("# too long"), ", "),
    DATAGRAMS("no_room", DATAGRAM_FULL, N_("# for lack of room"), ", "),
    DATAGRAMS("failed", DATAGRAM_FAILED, N_("# refused by the kernel"), ", "),
    PROXIED("client", PROXY_CLIENT, N_("# with a client")),
    PROXIED("anonymous", PROXY_ANONYMOUS, N_("# without")),
    PROXIED("bad", PROXY_BAD, N_("# bad")),
    PROXIED("late", PROXY_LATE, N_("# late")),
    {"uvechod_draining", "Whether the daemon stops and waits for its connections", STATS(draining)},
    {"uvechod_worker_connections", "Connections that are open now on one worker",
     WORKERS(connections)},
    {"uvechod_worker_turns", "Turns of the loop of one worker since its process began",
     STATS_COUNTER, WORKERS(turns)},
    {"uvechod_build", "The version that runs", STATS_INFO, .label = "version"},
    {"process_cpu_seconds", "Processor time in user and kernel mode", STATS_COUNTER,
     .unit = "seconds", STATS(process.cpu_us), .micro = true},
    {"process_open_fds", "Open descriptors", STATS(process.open_fds)},
    {"process_max_fds", "Descriptors that may be open", STATS(process.max_fds)},
    {"process_resident_memory_bytes", "Memory that is in RAM", STATS_GAUGE, .unit = "bytes",
     STATS(process.resident_bytes)},
    {"process_virtual_memory_bytes", "Memory that is mapped", STATS_GAUGE, .unit = "bytes",
     STATS(process.virtual_bytes)},
    {"process_start_time_seconds", "When the process began, since 1970", STATS_GAUGE,
     .unit = "seconds", STATS(process_started_us), .micro = true},
};

const size_t stats_row_count = sizeof stats_rows / sizeof *stats_rows;

bool stats_is_of_workers(const struct stats_row *row)
{
    return row->label != NULL && strcmp(row->label, "worker") == 0;
}

uint64_t stats_get(const struct stats *stats, const struct stats_row *row, unsigned worker)
{
    const void *from = stats_is_of_workers(row) ? (const void *)&stats->worker[worker] : stats;
    uint64_t number;
    memcpy(&number, (const char *)from + row->offset, sizeof number);
    return number;
}

/* Returns how long the text is then. */
static size_t stats_say(const struct stats *stats, const struct stats_row *row, char *text,
                        size_t len, size_t size)
{
    const char *said = _(row->said);
    const char *joins = row->joins != NULL ? row->joins : "; ";
    const size_t before = strcspn(said, "#");
    const char *after = said[before] != '\0' ? said + before + 1 : "";
    int n = snprintf(text + len, size - len, "%s%.*s%llu%s", len > 0 ? joins : "", (int)before,
                     said, (unsigned long long)stats_get(stats, row, 0), after);
    len += n > 0 ? (size_t)n : 0;
    return len < size ? len : size - 1;
}

void stats_describe(const struct stats *stats, enum stats_line line, char *text, size_t size)
{
    size_t len = 0;
    text[0] = '\0';
    for (size_t i = 0; i < stats_row_count; i++)
        if (stats_rows[i].said != NULL && stats_rows[i].line == line)
            len = stats_say(stats, &stats_rows[i], text, len, size);
}
