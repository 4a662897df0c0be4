#include "server/server.h"

#include "base/i18n.h"
#include "os/signals.h"
#include "os/systemd.h"
#include "server/complaints.h"
#include "server/control.h"
#include "server/drain.h"
#include "server/limits.h"
#include "server/metrics.h"
#include "server/refusals.h"
#include "server/restart.h"
#include "server/succession.h"
#include "server/supervision.h"
#include "server/upgrade.h"
#include "server/workers.h"
#include "stream/conn_log.h"

#include <errno.h>
#include <string.h>

/*
 * Descriptors that the process has inherited take numbers from connections, whose numbers are then
 * higher. An entry of the ledger that is not used takes 16 bytes of addresses only.
 */
enum { SERVER_INHERITED_MAX = 1 << 16 };

enum { SERVER_SILENCE_MS = 2000 }; /* of a worker that is still taken for alive */

struct server {
    const struct server_config *config;
    struct log *log;
    struct systemd systemd;
    struct endpoints endpoints;
    struct endpoints aside; /* the listening socket of the metrics, or none */
    size_t limit;           /* of connections */
    struct ledger own;      /* opened unless that of the predecessor has room for what is wanted */
    struct ledger *ledger;  /* of the connections of all workers: one of the two */
    struct sources sources; /* open only with a limit for each */
    struct workers workers;
    struct datagrams datagrams;
    struct refusals refusals; /* started only with sources */
    struct complaints complaints;
    struct supervision supervision;
    struct drain drain;
    struct control control;
    struct listener_watcher watcher;
    struct supervised supervised;
    struct controlled controlled;
    struct succession succession; /* opened only if there is a predecessor */
    struct upgrade upgrade;
    struct upgraded upgraded;
    struct metrics metrics; /* open only with a socket for it */
    struct metered metered;
    bool unmetered; /* the metrics cannot be served, and the log says why */
    uint64_t started_ms;
    uint64_t refused;       /* connections closed before they were handed to a worker */
    uint64_t accept_pauses; /* for lack of descriptors or memory */
};

/* ---- events and questions while the daemon runs ---- */

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
        stats->proxied[result] += server->succession.proxied.results[result];
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

/* A line of its own, for those who have proxies. */
static void server_log_proxied(const struct server *server, const struct stats *stats)
{
    const struct proxy_rules *rules = &server->config->proxies;
    if (rules->count == 0 && !rules->local)
        return;
    log_write(server->log, LOG_LEVEL_NOTICE,
              _("PROXY headers: %llu with a client, %llu without, %llu bad, %llu late"),
              (unsigned long long)stats->proxied[PROXY_CLIENT],
              (unsigned long long)stats->proxied[PROXY_ANONYMOUS],
              (unsigned long long)stats->proxied[PROXY_BAD],
              (unsigned long long)stats->proxied[PROXY_LATE]);
}

static void server_log_stats(struct controlled *controlled)
{
    struct server *server = container_of(controlled, struct server, controlled);
    struct stats stats;
    char text[512];
    server_stats(&server->supervised, &stats);
    stats_describe(&stats, text, sizeof text);
    log_write(server->log, LOG_LEVEL_NOTICE, _("Statistics: %s"), text);
    server_log_proxied(server, &stats);
    datagrams_log_stats(&server->datagrams, &stats, server->log);
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

/* ---- signals ---- */

/* Called at the first signal to stop, and when the start has failed. */
static void server_drain(struct server *server)
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
    memcpy(server->ledger->header->proxied.results, stats.proxied, sizeof stats.proxied);
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

/* ---- the steps of the start ---- */

static bool server_inherits(const struct server *server)
{
    return server->config->ledger != 0;
}

/* Comes first, because all else follows from what the predecessor has left. */
static int server_succeed(struct server *server)
{
    const struct server_config *config = server->config;
    int rc = config->ledger < 0
                 ? config->ledger
                 : succession_open(&server->succession, config->ledger, &config->services,
                                   config->idle_ms > 0, config->kept, server->log);
    if (rc < 0)
        log_write(server->log, LOG_LEVEL_ERROR, _("Cannot take over: %s"), strerror(-rc));
    return rc;
}

static int server_cannot_listen(const struct server *server, const union net_addr *addr, int error)
{
    char text[NET_ADDR_STRLEN];
    log_write(server->log, LOG_LEVEL_ERROR, _("Cannot listen on %s: %s"), net_format(addr, text),
              strerror(-error));
    return error;
}

/* There is an endpoint, unless all connections of the predecessor were passed to it. */
static int server_cannot_serve(const struct server *server, int error)
{
    if (server->endpoints.count > 0)
        return server_cannot_listen(server, &server->endpoints.list[0].bound, error);
    log_write(server->log, LOG_LEVEL_ERROR, _("Cannot start: %s"), strerror(-error));
    return error;
}

/* Both systemd and an option say where to listen. */
static int server_contradicted(const struct server *server)
{
    log_write(server->log, LOG_LEVEL_ERROR,
              _("--%s: systemd has passed the sockets; change ListenStream= with 'systemctl edit "
                "uvechod.socket' instead"),
              server->config->address_option);
    return SERVER_MISUSE;
}

/* That is not worth a failure: after a restart it would end connections that have been kept. */
static void server_warn_udp(const struct server *server)
{
    const struct endpoints *endpoints = &server->endpoints;
    const uint8_t udp = server->config->endpoints.udp;
    if (udp != ENDPOINTS_UDP_NONE && !endpoints_have(endpoints, &endpoint_datagram))
        log_write(server->log, LOG_LEVEL_WARNING,
                  _("--udp: systemd has passed no datagram socket; add ListenDatagram= with "
                    "'systemctl edit uvechod.socket'"));
    else if (udp == ENDPOINTS_UDP_ONLY && endpoints_have(endpoints, &endpoint_listening))
        log_write(server->log, LOG_LEVEL_WARNING,
                  _("--udp=only: systemd has passed other sockets, too, which are served"));
}

/* Both an option and systemd say where the statistics are served, or systemd says so twice. */
static int server_metrics_contradicted(const struct server *server)
{
    log_write(server->log, LOG_LEVEL_ERROR,
              server->aside.count > 1 ? _("More than one socket has been passed as '%s'")
                                      : _("--metrics: systemd has passed a socket as '%s', too"),
              ENDPOINT_METRICS);
    return SERVER_MISUSE;
}

/* How many of the passed sockets are for the metrics. */
static int server_count_aside(int count, char *const *names)
{
    int aside = 0;
    for (int i = 0; i < count && names != NULL; i++)
        aside += strcmp(names[i], ENDPOINT_METRICS) == 0;
    return aside;
}

/* Sockets for the metrics alone change nothing about those of the services. */
static int server_adopt(struct server *server, int first, int count, char **names)
{
    size_t bad;
    const int aside = server_count_aside(count, names);
    struct endpoints *into = aside == count ? &server->aside : &server->endpoints;
    if (aside > 0 && aside < count)
        endpoints_drop(&server->aside); /* the predecessor's */
    int rc = endpoints_adopt(into, first, (size_t)count, names, &bad);
    if (rc == 0)
        rc = endpoints_set_aside(&server->endpoints, &server->aside);
    if (rc < 0)
        log_write(server->log, LOG_LEVEL_ERROR,
                  _("Cannot serve the passed socket %d (%s), only sockets of TCP, UDP or Unix: %s"),
                  first + (int)bad, bad < into->count ? into->list[bad].name : "?", strerror(-rc));
    else if (aside < count && server->config->address_option != NULL)
        rc = server_contradicted(server);
    else if (server->aside.count > 1 || (aside > 0 && server->config->metrics.count > 0))
        rc = server_metrics_contradicted(server);
    else
        endpoints_keep_alive(&server->endpoints, server->config->endpoints.keepalive_s);
    if (rc == 0)
        server_warn_udp(server);
    return rc;
}

static void server_open_systemd(struct server *server)
{
    int rc = systemd_open(&server->systemd);
    if (rc < 0)
        log_write(server->log, LOG_LEVEL_WARNING, _("WATCHDOG_USEC is ignored: %s"), strerror(-rc));
}

/* Takes over the sockets of the predecessor. */
static int server_inherit_endpoints(struct server *server)
{
    const struct takeover *takeover = &server->succession.takeover;
    int rc = endpoints_inherit(&server->endpoints, takeover->listeners, takeover->listening);
    server->endpoints.noted = server->succession.left;
    if (rc == 0)
        rc = endpoints_set_aside(&server->endpoints, &server->aside);
    return rc < 0 ? server_cannot_serve(server, rc) : 0;
}

static int server_sockets(const struct server *server, int *first, char ***names)
{
    const struct legacy *legacy = &server->config->legacy;
    if (!legacy->found)
        return systemd_sockets(first, names);
    *first = legacy->first;
    *names = legacy->names;
    return legacy->count;
}

/* Opens those for the services. */
static int server_open_own(struct server *server)
{
    int rc = endpoints_open(&server->endpoints, &server->config->endpoints);
    if (rc < 0)
        return server_cannot_listen(server, &server->endpoints.failed, rc);
    if (server_inherits(server))
        endpoints_keep_alive(&server->endpoints, server->config->endpoints.keepalive_s);
    return 0;
}

/*
 * Serves those sockets that systemd has passed. If there are none, opens sockets. After an upgrade
 * it is not asked: what it had passed to the predecessor has other numbers now, or is a connection.
 */
static int server_open_endpoints(struct server *server)
{
    int first;
    char **names;
    if (server_inherits(server)) {
        int rc = server_inherit_endpoints(server);
        if (rc < 0 || !server->config->legacy.found)
            return rc;
    }
    int passed = server_sockets(server, &first, &names);
    if (passed < 0)
        log_write(server->log, LOG_LEVEL_ERROR,
                  _("LISTEN_FDS or LISTEN_FDNAMES, the passed sockets: %s"), strerror(-passed));
    if (passed < 0)
        return passed;
    bool own = passed == 0 || server_count_aside(passed, names) == passed;
    int rc = passed > 0 ? server_adopt(server, first, passed, names) : 0;
    return rc == 0 && own ? server_open_own(server) : rc;
}

/*
 * The socket of the metrics has been passed, which its name shows, or left by the predecessor. If
 * not, or after a restart with other options, this opens the one that is asked for, if any.
 */
static int server_open_aside(struct server *server)
{
    struct endpoints_config config = server->config->metrics;
    const bool restarted = !server_inherits(server) || server->config->legacy.found;
    if (server->aside.count > 0 && (!restarted || server->aside.list[0].name != NULL))
        return 0;
    if (config.count == 0) {
        endpoints_drop(&server->aside);
        return 0;
    }
    config.backlog = HTTP_BACKLOG;
    config.socket_mode = server->config->endpoints.socket_mode;
    config.kind = &endpoint_metrics;
    int rc = endpoints_open(&server->aside, &config);
    return rc < 0 ? server_cannot_listen(server, &server->aside.failed, rc) : 0;
}

static long server_reserve(const struct server *server)
{
    const struct server_config *config = server->config;
    const long metrics = server->aside.count > 0 ? HTTP_DESCRIPTORS : 0;
    return limits_reserve(&config->services, config->workers, server->endpoints.count) + metrics;
}

static int server_set_limit(struct server *server)
{
    long limit =
        limits_connections(server->config->max_connections, server_reserve(server), server->log);
    server->limit = limit < 0 ? 0 : (size_t)limit;
    return limit < 0 ? (int)limit : 0;
}

/* Connections that were passed to the daemon, or taken over, do not wait for room. */
static int server_open_sources(struct server *server)
{
    if (server->config->max_per_source == 0)
        return 0;
    size_t come = server->endpoints.count + server->succession.takeover.count;
    return sources_open(&server->sources, server->limit + come, server->config->max_per_source);
}

static void server_close_sources(struct server *server)
{
    if (server->config->max_per_source > 0)
        sources_close(&server->sources);
}

static int server_higher(int fd, int other)
{
    return fd > other ? fd : other;
}

/* The highest descriptor that the process needs, if it has inherited none, or that it has. */
static int server_highest_fd(const struct server *server)
{
    const struct takeover *takeover = &server->succession.takeover;
    int highest = (int)((long)server->limit + server_reserve(server) - 1);
    for (size_t i = 0; i < takeover->count; i++)
        highest = server_higher(highest, takeover->list[i].fd);
    for (size_t i = 0; i < server->endpoints.count; i++)
        highest = server_higher(highest, server->endpoints.list[i].fd);
    for (size_t i = 0; i < server->aside.count; i++)
        highest = server_higher(highest, server->aside.list[i].fd);
    return highest;
}

/* Any socket of those that are to be served, or -1. */
static int server_any_fd(const struct server *server)
{
    const struct takeover *takeover = &server->succession.takeover;
    if (server->endpoints.count > 0)
        return server->endpoints.list[0].fd;
    return takeover->count > 0 ? takeover->list[0].fd : -1;
}

/* Without a file in memory the daemon serves as ever, but no successor could go on. */
static int server_make_ledger(struct server *server, const struct ledger_layout *layout)
{
    server->ledger = &server->own;
    int rc = ledger_open(server->ledger, layout);
    if (rc == 0 && server->ledger->refused < 0)
        log_write(server->log, LOG_LEVEL_INFO,
                  _("No file in memory, connections cannot be handed over: %s"),
                  strerror(-server->ledger->refused));
    return rc;
}

/*
 * Goes on with the predecessor's ledger or, if that has no room for what is wanted, moves. The old
 * one stays open until everything stands in the new one: this process may crash.
 */
static int server_inherit_ledger(struct server *server, struct ledger_layout *layout)
{
    struct ledger *predecessor = server->succession.left;
    if (ledger_fits(predecessor, layout)) {
        ledger_settle(predecessor, layout);
        server->ledger = succession_take_ledger(&server->succession);
        return 0;
    }
    ledger_widen(predecessor, layout);
    int rc = server_make_ledger(server, layout);
    if (rc == 0) {
        ledger_carry_datagrams(predecessor, server->ledger);
        takeover_move(&server->succession.takeover, server->ledger);
    }
    return rc;
}

/* A successor needs the new ledger alone from now on. */
static void server_leave_ledger(struct server *server)
{
    struct ledger *predecessor = succession_take_ledger(&server->succession);
    kept_tell_ledger(server->config->kept, server->ledger->file);
    if (predecessor != NULL)
        ledger_close(predecessor);
}

static int server_open_ledger(struct server *server)
{
    struct ledger_layout layout;
    uint32_t entries = (uint32_t)server_highest_fd(server) + 1 + SERVER_INHERITED_MAX;
    services_layout(&server->config->services, server->config->workers,
                    entries < LEDGER_ENTRIES_MAX ? entries : LEDGER_ENTRIES_MAX, &layout);
    return server_inherits(server) ? server_inherit_ledger(server, &layout)
                                   : server_make_ledger(server, &layout);
}

static int server_open_loops(struct server *server)
{
    const struct server_config *config = server->config;
    const struct worker_config worker = {.services = config->services,
                                         .ledger = server->ledger,
                                         .sources =
                                             config->max_per_source > 0 ? &server->sources : NULL,
                                         .proxies = config->proxies,
                                         .complaints = &server->complaints,
                                         .idle_ms = config->idle_ms,
                                         .send_ms = config->send_ms,
                                         .busy_us = config->busy_us,
                                         .log = server->log,
                                         .fd = server_any_fd(server),
                                         .highest_fd = server_highest_fd(server),
                                         .counts_turns = server->aside.count > 0};
    return workers_open(&server->workers, config->workers, server->limit, config->max_rate,
                        &worker);
}

/* What all workers share, and the workers. */
static int server_open_shared(struct server *server)
{
    int rc = server_open_ledger(server);
    if (rc < 0)
        return rc;
    rc = endpoints_note(&server->endpoints, server->ledger);
    if (rc == 0)
        rc = endpoints_note(&server->aside, server->ledger);
    server_leave_ledger(server);
    if (rc == 0)
        rc = server_open_sources(server);
    if (rc == 0) {
        rc = server_open_loops(server);
        if (rc < 0)
            server_close_sources(server);
    }
    if (rc < 0)
        ledger_close(server->ledger);
    return rc;
}

/* Gives the loops all they will need now, because libuv aborts if it cannot get it later. */
static int server_open_workers(struct server *server)
{
    int rc = server_set_limit(server);
    if (rc == 0)
        rc = server_open_shared(server);
    return rc < 0 ? server_cannot_serve(server, rc) : 0;
}

/* Supervision, drain and refusals, which run on the first worker's loop. Cannot fail. */
static void server_start_tasks(struct server *server)
{
    supervision_start(&server->supervision, workers_sched(&server->workers), &server->supervised,
                      &server->systemd);
    drain_init(&server->drain, &server->workers, server->log, server->config->drain_ms);
    upgrade_init(&server->upgrade, workers_sched(&server->workers), server->log,
                 server->config->program, server->ledger, server->config->kept, &server->upgraded);
    if (server->config->max_per_source > 0)
        refusals_start(&server->refusals, workers_sched(&server->workers), server->log,
                       &server->sources);
    server->started_ms = server->succession.past.started_ms;
    if (server->started_ms == 0) /* no predecessor has noted it */
        server->started_ms = uv_now(&server->workers.list[0].loop);
}

/*
 * Serves the metrics, where there is a socket for them. A program that was installed without the
 * library that its predecessor had must not cost connections.
 */
static int server_start_metrics(struct server *server)
{
    char addr[NET_ADDR_STRLEN];
    if (server->aside.count == 0)
        return 0;
    const struct endpoint *endpoint = &server->aside.list[0];
    (void)net_format(&endpoint->bound, addr);
    int rc = metrics_start(&server->metrics, workers_sched(&server->workers), endpoint->fd,
                           &server->metered);
    if (rc == 0)
        log_write(server->log, LOG_LEVEL_INFO, _("Serving metrics on %s"), addr);
    else
        log_write(server->log, LOG_LEVEL_ERROR, _("Cannot serve metrics on %s: %s"), addr,
                  rc == -ENOPKG ? _("libmicrohttpd is not installed") : strerror(-rc));
    server->unmetered = rc < 0 && !server_inherits(server);
    return server->unmetered ? rc : 0;
}

/* One line for all sockets of an address. A socket that has not been shared is one worker's. */
static void server_log_datagrams(const struct server *server, size_t place, const char *addr)
{
    const struct endpoint *endpoint = &server->endpoints.list[place];
    if (endpoints_turn(&server->endpoints, place) > 0)
        return;
    if (endpoint->name == NULL)
        log_write(server->log, LOG_LEVEL_INFO, _("Answering datagrams on %s"), addr);
    else if (server->workers.count == 1)
        log_write(server->log, LOG_LEVEL_INFO, _("Answering datagrams on %s (%s)"), addr,
                  endpoint->name);
    else
        log_write(server->log, LOG_LEVEL_INFO,
                  _("Answering datagrams on %s (%s), by one of the workers"), addr, endpoint->name);
}

static void server_log_endpoint(const struct server *server, size_t place)
{
    const struct endpoint *endpoint = &server->endpoints.list[place];
    char addr[NET_ADDR_STRLEN];
    if (endpoint->kind->stop == NULL)
        return; /* a connection: it does not listen */
    (void)net_format(&endpoint->bound, addr);
    if (endpoint->kind == &endpoint_datagram)
        server_log_datagrams(server, place, addr);
    else if (endpoint->name == NULL)
        log_write(server->log, LOG_LEVEL_INFO, _("Listening on %s"), addr);
    else
        log_write(server->log, LOG_LEVEL_INFO, _("Listening on %s (%s)"), addr, endpoint->name);
}

static int server_start_endpoints(struct server *server)
{
    const struct endpoint_context context = {.sched = workers_sched(&server->workers),
                                             .acceptor = &server->workers.acceptor,
                                             .watcher = &server->watcher};
    int rc = endpoints_start(&server->endpoints, &context);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < server->endpoints.count; i++)
        server_log_endpoint(server, i);
    if (server_inherits(server))
        succession_adopt(&server->succession, &server->workers);
    if (!endpoints_stay(&server->endpoints)) { /* the daemon ends with its last connection */
        succession_finish(&server->succession);
        workers_order(&server->workers, WORKER_DRAIN, 0);
    }
    return 0;
}

/* Ends the tasks that run already, such as connections that were passed to the daemon. */
static void server_cannot_start(struct server *server, int error)
{
    if (!server->unmetered)
        log_write(server->log, LOG_LEVEL_ERROR, _("Cannot start: %s"), strerror(-error));
    (void)systemd_notify(&server->supervision.systemd, "ERRNO=%d", -error);
    succession_give_up(&server->succession);
    server_drain(server);
    workers_order(&server->workers, WORKER_ABORT, error);
}

/* ---- the end ---- */

/* A task has broken a rule. What it holds is unknown, so the cleaning up is left to the kernel. */
static int server_stopped(const struct server *server, const struct worker *worker)
{
    int reason = worker->sched.reason;
    int error = worker->error;
    if (error == -EINVAL)
        log_write(server->log, LOG_LEVEL_ERROR, _("Unknown reason %d"), reason);
    else
        log_write(server->log, LOG_LEVEL_ERROR, _("Reason %d: %s"), reason, strerror(-error));
    return error;
}

/*
 * Under a keeper, the ledger's file stays open when the ledger is closed: the successor of a daemon
 * that is killed from here on finds in it that nothing is left. The keeper's end closes it.
 */
static void server_keep_file(const struct server *server, struct ledger *ledger)
{
    if (server->config->kept != NULL && ledger != NULL)
        ledger->file = -1;
}

/* All tasks must have ended. */
static void server_close(struct server *server)
{
    control_close(&server->control);
    upgrade_close(&server->upgrade);
    drain_close(&server->drain);
    supervision_close(&server->supervision);
    if (server->config->max_per_source > 0)
        refusals_close(&server->refusals);
    metrics_close(&server->metrics);
    datagrams_close(&server->datagrams);
    workers_close(&server->workers);
    datagrams_free(&server->datagrams);
    server_close_sources(server);
    server_keep_file(server, server->ledger);
    ledger_close(server->ledger);
}

/* Called before any worker is open. An error of 0: there is nothing to serve any more. */
static void server_give_up(struct server *server, int error)
{
    if (error < 0)
        (void)systemd_notify(&server->systemd, "ERRNO=%d", -error);
    systemd_close(&server->systemd);
    endpoints_close(&server->endpoints);
    endpoints_close(&server->aside);
    server_keep_file(server, server->succession.left);
    succession_give_up(&server->succession);
}

int server_run(const struct server_config *config, struct log *log)
{
    struct server server = {
        .config = config,
        .log = log,
        .complaints = {.log = log},
        .watcher = {.on_event = on_listener_event},
        .supervised = {.stats = server_stats,
                       .alive = server_alive,
                       .note = config->kept != NULL ? server_note : NULL},
        .upgraded = {.leave = server_leave, .stay = server_stay},
        .metered = {.stats = server_meter, .alive = server_turns, .busy = server_busy},
        .controlled = {.stop = server_stop,
                       .stats = server_log_stats,
                       .upgrade = server_upgrade,
                       .restart = server_restart}};
    signals_ignore_of_writes();
    server_open_systemd(&server); /* first, because systemd is told of later failures */

    int rc = server_inherits(&server) ? server_succeed(&server) : 0;
    if (rc == 0)
        rc = server_open_endpoints(&server); /* the sockets to serve */
    if (rc == 0)
        rc = server_open_aside(&server);                /* that of the metrics */
    bool ended = rc == 0 && server_any_fd(&server) < 0; /* with the last connection */
    if (rc == 0 && !ended)
        rc = server_open_workers(&server); /* the loops, with their services */
    if (rc < 0 || ended) {
        server_give_up(&server, rc);
        return rc;
    }
    server_start_tasks(&server); /* supervision, drain and refusals; cannot fail */
    rc = datagrams_start(&server.datagrams, &config->datagrams, &server.endpoints, &server.workers,
                         server.ledger, log); /* on the loops, before threads run them */
    if (rc == 0)
        rc = workers_start(&server.workers); /* while signals are blocked, as in all its threads */
    if (rc == 0)
        rc = control_start(&server.control, workers_sched(&server.workers)->loop,
                           &server.controlled);
    if (rc == 0)
        rc = server_start_metrics(&server);
    if (rc == 0)
        kept_tell_ready(config->kept); /* before any client can see that the daemon listens */
    if (rc == 0)
        rc = server_start_endpoints(&server); /* last, because this logs that the daemon listens */
    if (rc == 0)
        supervision_ready(&server.supervision);
    else
        server_cannot_start(&server, rc);

    const struct worker *wrong = workers_run(&server.workers); /* until the last task has ended */
    if (wrong != NULL)
        rc = server_stopped(&server, wrong);
    else
        server_close(&server);
    endpoints_close(&server.endpoints);
    endpoints_close(&server.aside);
    return rc;
}
