#include "server/server_parts.h"

#include "base/i18n.h"
#include "server/restart.h"
#include "stream/conn_log.h"

#include <string.h>

enum { SERVER_SILENCE_MS = 2000 }; /* of a worker that is still taken for alive */

/* ---- listeners, the watchdog and SIGUSR1 ---- */

static void server_refused(struct server *server, int error)
{
    if (error == SOURCES_REFUSED) { /* counted and logged elsewhere, as there may be floods */
        refusals_wake(&server->refusals);
        return;
    }
    server->refused++;
    conn_log_refused(server->log, error);
}

static void on_listener_event(struct listener_watcher *watcher, enum listener_event event,
                              int error)
{
    struct server *server = container_of(watcher, struct server, watcher);
    switch (event) {
    case LISTENER_TOOK:
        supervision_wake(&server->supervision);
        break;
    case LISTENER_REFUSED:
        server_refused(server, error);
        break;
    case LISTENER_PAUSED:
        server->accept_pauses++;
        log_write(server->log, LOG_LEVEL_WARNING, _("Accepting paused: %s"), strerror(-error));
        break;
    case LISTENER_RESUMED:
        log_write(server->log, LOG_LEVEL_WARNING, _("Accepting again"));
        break;
    case LISTENER_ENDED:
        log_write(server->log, LOG_LEVEL_INFO, _("Task finished"));
        break;
    }
}

/* All but what only the metrics have: server_meter(). */
static void server_stats(struct supervised *supervised, struct stats *stats)
{
    const struct server *server = container_of(supervised, struct server, supervised);
    const struct ledger_past *past = &server->succession.past;
    workers_stats(&server->workers, stats);
    stats->accept_pauses = past->accept_pauses + server->accept_pauses;
    stats->rate_pauses = past->rate_pauses + server->workers.pace.pauses;
    stats->up_s = (uv_now(&server->workers.list[0].loop) - server->started_ms) / 1000;
    stats->limit = server->limit;
    stats->log_lines_lost = server->succession.more.log_lines_lost + log_lost(server->log);
    stats->draining = server->drain.begun;
    stats->accepted += past->accepted;
    stats->bytes_in += past->bytes_in;
    stats->bytes_out += past->bytes_out;
    stats->refused += past->refused + server->refused;
    stats->over_source += past->over_source;
    for (unsigned result = 0; result < PROXY_RESULTS; result++)
        stats->proxied[result] = counter_get(&server->ledger->header->proxied.count[result]);
    stats->upgrades = past->generations;
    datagrams_stats(server->ledger, stats);
}

static bool server_alive(struct supervised *supervised)
{
    struct server *server = container_of(supervised, struct server, supervised);
    bool alive = workers_alive(&server->workers);
    if (alive)
        kept_tell_moved(server->config->kept);
    return alive;
}

static void server_log_stats(struct controlled *controlled)
{
    struct server *server = container_of(controlled, struct server, controlled);
    const struct proxy_rules *rules = &server->config->proxies;
    struct stats stats;
    char text[512];
    server_stats(&server->supervised, &stats);
    stats_describe(&stats, STATS_MAIN, text, sizeof text);
    log_write(server->log, LOG_LEVEL_NOTICE, _("Statistics: %s"), text);
    if (rules->count > 0 || rules->local) {
        stats_describe(&stats, STATS_PROXIED, text, sizeof text);
        log_write(server->log, LOG_LEVEL_NOTICE, _("PROXY headers: %s"), text);
    }
    if (server->datagrams.list != NULL) {
        stats_describe(&stats, STATS_DATAGRAMS, text, sizeof text);
        log_write(server->log, LOG_LEVEL_NOTICE, _("Datagrams: %s"), text);
    }
}

/* ---- what the metrics ask ---- */

static void server_meter(struct metered *metered, struct stats *stats)
{
    struct server *server = container_of(metered, struct server, metered);
    server_stats(&server->supervised, stats);
    workers_stats_each(&server->workers, stats);
    stats->version = server->config->version;
}

/*
 * A worker may be busy for a moment. The pulse is that of the watchdog, too, so the silence of a
 * worker that hangs shows from the second question on.
 */
static bool server_turns(struct metered *metered)
{
    struct server *server = container_of(metered, struct server, metered);
    return server_alive(&server->supervised) ||
           workers_silent_ms(&server->workers) < SERVER_SILENCE_MS;
}

static const char *server_busy(struct metered *metered)
{
    const struct server *server = container_of(metered, struct server, metered);
    if (server->drain.begun)
        return "draining";
    return workers_are_full(&server->workers) ? "full" : NULL;
}

/* ---- signals and the successor ---- */

void server_drain(struct server *server)
{
    succession_finish(&server->succession);
    endpoints_remove_files(&server->endpoints);
    endpoints_stop(&server->endpoints);
    upgrade_stop(&server->upgrade);
    drain_begin(&server->drain);
    supervision_drain(&server->supervision);
}

static void server_stop(struct controlled *controlled)
{
    struct server *server = container_of(controlled, struct server, controlled);
    if (server->drain.begun)
        drain_at_once(&server->drain);
    else
        server_drain(server);
}

/* Returns if there can be no successor. */
static void server_restart(struct controlled *controlled)
{
    struct server *server = container_of(controlled, struct server, controlled);
    succession_finish(&server->succession); /* what no worker has is missing in the ledger */
    if (!server->drain.begun)
        restart_try(&(struct restart){.workers = &server->workers,
                                      .ledger = server->ledger,
                                      .systemd = &server->supervision.systemd,
                                      .log = server->log,
                                      .upgraded = &server->upgraded});
    server_stop(controlled);
}

static void server_upgrade(struct controlled *controlled)
{
    struct server *server = container_of(controlled, struct server, controlled);
    supervision_reload(&server->supervision);
    upgrade_begin(&server->upgrade);
}

static void server_stay(struct upgraded *upgraded)
{
    supervision_stay(&container_of(upgraded, struct server, upgraded)->supervision);
}

static void server_note_past(struct server *server, struct ledger_past *past)
{
    struct stats stats;
    server_stats(&server->supervised, &stats);
    *past = (struct ledger_past){.generations = server->succession.past.generations,
                                 .started_ms = server->started_ms,
                                 .accepted = stats.accepted,
                                 .bytes_in = stats.bytes_in,
                                 .bytes_out = stats.bytes_out,
                                 .refused = stats.refused,
                                 .over_source = stats.over_source,
                                 .accept_pauses = stats.accept_pauses,
                                 .rate_pauses = stats.rate_pauses};
    server->ledger->header->more = (struct ledger_more){.log_lines_lost = stats.log_lines_lost};
}

/* What other threads count from here on is lost, unless they rest. */
static bool server_leave(struct upgraded *upgraded, struct ledger_past *past)
{
    struct server *server = container_of(upgraded, struct server, upgraded);
    server_note_past(server, past);
    return !server->drain.begun;
}

static void server_note(struct supervised *supervised)
{
    struct server *server = container_of(supervised, struct server, supervised);
    server_note_past(server, &server->ledger->header->past);
}

void server_connect(struct server *server)
{
    server->complaints.log = server->log;
    server->watcher.on_event = on_listener_event;
    server->supervised = (struct supervised){
        .stats = server_stats,
        .alive = server_alive,
        .note = server->config->kept != NULL ? server_note : NULL,
    };
    server->upgraded = (struct upgraded){.leave = server_leave, .stay = server_stay};
    server->metered = (struct metered){
        .stats = server_meter,
        .alive = server_turns,
        .busy = server_busy,
    };
    server->controlled = (struct controlled){
        .stop = server_stop,
        .stats = server_log_stats,
        .upgrade = server_upgrade,
        .restart = server_restart,
    };
}
