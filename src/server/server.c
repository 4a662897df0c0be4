#include "server/server.h"

#include "base/i18n.h"
#include "os/descriptors.h"
#include "os/signals.h"
#include "os/systemd.h"
#include "os/watches.h"
#include "server/control.h"
#include "server/drain.h"
#include "server/supervision.h"
#include "server/workers.h"
#include "stream/conn_log.h"

#include <errno.h>
#include <string.h>

/*
 * The limit of descriptors can be absurdly high, and each descriptor costs 8 bytes in libuv's
 * table, whose size is a power of 2. 1024 of 2^20 are left for descriptors that are not
 * connections.
 */
enum { SERVER_CONNECTIONS_DEFAULT_MAX = (1 << 20) - 1024 };

struct server {
    const struct server_config *config;
    struct log *log;
    struct systemd systemd;
    struct endpoints endpoints;
    size_t limit; /* of connections */
    struct workers workers;
    struct supervision supervision;
    struct drain drain;
    struct control control;
    struct listener_watcher watcher;
    struct supervised supervised;
    struct controlled controlled;
    uint64_t started_ms;
    uint64_t refused;       /* connections closed before they were handed to a worker */
    uint64_t accept_pauses; /* for lack of descriptors or memory */
};

/* ---- events and questions while the daemon runs ---- */

static void on_listener_event(struct listener_watcher *watcher, enum listener_event event,
                              int error)
{
    struct server *server = container_of(watcher, struct server, watcher);
    switch (event) {
    case LISTENER_TOOK:
        supervision_wake(&server->supervision);
        break;
    case LISTENER_REFUSED:
        server->refused++;
        conn_log_refused(server->log, error);
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

static void server_stats(struct supervised *supervised, struct stats *stats)
{
    const struct server *server = container_of(supervised, struct server, supervised);
    workers_stats(&server->workers, stats);
    stats->refused += server->refused;
}

static bool server_alive(struct supervised *supervised)
{
    return workers_alive(&container_of(supervised, struct server, supervised)->workers);
}

static void server_log_stats(struct controlled *controlled)
{
    struct server *server = container_of(controlled, struct server, controlled);
    struct stats stats;
    server_stats(&server->supervised, &stats);
    log_write(
        server->log, LOG_LEVEL_NOTICE,
        _("Statistics: %lu connections now, %llu in total; %llu bytes in, %llu out; %llu refused; "
          "%llu accept pauses; up %llu s"),
        (unsigned long)stats.open, (unsigned long long)stats.accepted,
        (unsigned long long)stats.bytes_in, (unsigned long long)stats.bytes_out,
        (unsigned long long)stats.refused, (unsigned long long)server->accept_pauses,
        (unsigned long long)(uv_now(&server->workers.list[0].loop) - server->started_ms) / 1000);
}

/* Called at the first signal to stop, and when the start has failed. */
static void server_drain(struct server *server)
{
    endpoints_remove_files(&server->endpoints);
    endpoints_stop(&server->endpoints);
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

/* ---- the steps of the start ---- */

static int server_cannot_listen(const struct server *server, const union net_addr *addr, int error)
{
    char text[NET_ADDR_STRLEN];
    log_write(server->log, LOG_LEVEL_ERROR, _("Cannot listen on %s: %s"), net_format(addr, text),
              strerror(-error));
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

static int server_adopt(struct server *server, int first, int count, char **names)
{
    size_t bad;
    int rc = endpoints_adopt(&server->endpoints, first, (size_t)count, names, &bad);
    if (rc < 0)
        log_write(server->log, LOG_LEVEL_ERROR,
                  _("Cannot serve the passed socket %d (%s), only stream sockets of IPv4, IPv6 or "
                    "Unix: %s"),
                  first + (int)bad,
                  bad < server->endpoints.count ? server->endpoints.list[bad].name : "?",
                  strerror(-rc));
    else if (server->config->address_option != NULL)
        rc = server_contradicted(server);
    else
        endpoints_keep_alive(&server->endpoints, server->config->endpoints.keepalive_s);
    return rc;
}

static void server_open_systemd(struct server *server)
{
    int rc = systemd_open(&server->systemd);
    if (rc < 0)
        log_write(server->log, LOG_LEVEL_WARNING, _("WATCHDOG_USEC is ignored: %s"), strerror(-rc));
}

/* Takes over the sockets that systemd has passed or, if there are none, opens sockets. */
static int server_open_endpoints(struct server *server)
{
    int first;
    char **names;
    int passed = systemd_sockets(&first, &names);
    if (passed < 0)
        log_write(server->log, LOG_LEVEL_ERROR,
                  _("LISTEN_FDS or LISTEN_FDNAMES, the passed sockets: %s"), strerror(-passed));
    if (passed != 0)
        return passed < 0 ? passed : server_adopt(server, first, passed, names);
    int rc = endpoints_open(&server->endpoints, &server->config->endpoints);
    return rc < 0 ? server_cannot_listen(server, &server->endpoints.failed, rc) : 0;
}

/* How many descriptors the process needs beside those of its connections. */
static long server_reserve(const struct server *server)
{
    const struct services *services = &server->config->services;
    long workers = (long)server->config->workers;
    long reserve = DESCRIPTORS_RESERVE + (workers - 1) * DESCRIPTORS_LOOP;
    for (unsigned i = 0; i < services->count; i++)
        if (services->list[i].handler->descriptors != NULL)
            reserve +=
                workers * (long)services->list[i].handler->descriptors(services->list[i].config);
    return reserve + (long)server->endpoints.count;
}

/* How many descriptors epoll may watch, and in *limit the name of the limit that says so. */
static long server_descriptors(const char **limit)
{
    long descriptors = descriptors_raise();
    long watches = watches_max();
    bool watches_are_fewer = watches >= 0 && watches < descriptors;
    *limit = watches_are_fewer ? "fs.epoll.max_user_watches" : "RLIMIT_NOFILE";
    return watches_are_fewer ? watches : descriptors;
}

/*
 * The limit is what the config asks for, but not more than the descriptors allow. Returns 0, or a
 * negative errno: -EMFILE if no descriptor is left for a connection.
 */
static int server_set_limit(struct server *server)
{
    const char *limit;
    long descriptors = server_descriptors(&limit);
    long reserve = server_reserve(server);
    if (descriptors <= reserve)
        return descriptors < 0 ? (int)descriptors : -EMFILE;
    size_t allowed = (size_t)(descriptors - reserve);
    size_t wanted = server->config->max_connections;
    if (wanted > allowed)
        log_write(server->log, LOG_LEVEL_WARNING, _("--max-connections=%lu: %s allows %lu"),
                  (unsigned long)wanted, limit, (unsigned long)allowed);
    if (wanted == 0)
        wanted = SERVER_CONNECTIONS_DEFAULT_MAX;
    server->limit = wanted < allowed ? wanted : allowed;
    return 0;
}

/* Gives the loops all they will need now, because libuv aborts if it cannot get it later. */
static int server_open_workers(struct server *server)
{
    const struct server_config *config = server->config;
    int rc = server_set_limit(server);
    if (rc == 0) {
        const struct worker_config worker = {
            .services = config->services,
            .idle_ms = config->idle_ms,
            .log = server->log,
            .fd = server->endpoints.list[0].fd,
            .highest_fd = (int)((long)server->limit + server_reserve(server) - 1)};
        rc = workers_open(&server->workers, config->workers, server->limit, &worker);
    }
    return rc < 0 ? server_cannot_listen(server, &server->endpoints.list[0].bound, rc) : 0;
}

/* Supervision and drain, which run on the first worker's loop. Cannot fail. */
static void server_start_tasks(struct server *server)
{
    supervision_start(&server->supervision, workers_sched(&server->workers), &server->supervised,
                      &server->systemd);
    drain_init(&server->drain, &server->workers, server->log, server->config->drain_ms);
    server->started_ms = uv_now(&server->workers.list[0].loop);
}

static void server_log_endpoint(const struct server *server, const struct endpoint *endpoint)
{
    char addr[NET_ADDR_STRLEN];
    if (endpoint->kind->stop == NULL)
        return; /* a connection: it does not listen */
    (void)net_format(&endpoint->bound, addr);
    if (endpoint->name == NULL)
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
        server_log_endpoint(server, &server->endpoints.list[i]);
    if (!endpoints_stay(&server->endpoints)) /* the daemon ends with its last connection */
        workers_order(&server->workers, WORKER_DRAIN, 0);
    return 0;
}

/* Ends the tasks that run already, such as connections that were passed to the daemon. */
static void server_cannot_start(struct server *server, int error)
{
    log_write(server->log, LOG_LEVEL_ERROR, _("Cannot start: %s"), strerror(-error));
    (void)systemd_notify(&server->supervision.systemd, "ERRNO=%d", -error);
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

/* All tasks must have ended. */
static void server_close(struct server *server)
{
    control_close(&server->control);
    drain_close(&server->drain);
    supervision_close(&server->supervision);
    workers_close(&server->workers);
}

/* Called before any worker is open. */
static void server_give_up(struct server *server, int error)
{
    (void)systemd_notify(&server->systemd, "ERRNO=%d", -error);
    systemd_close(&server->systemd);
    endpoints_close(&server->endpoints);
}

int server_run(const struct server_config *config, struct log *log)
{
    struct server server = {.config = config,
                            .log = log,
                            .watcher = {.on_event = on_listener_event},
                            .supervised = {.stats = server_stats, .alive = server_alive},
                            .controlled = {.stop = server_stop, .stats = server_log_stats}};
    signals_ignore_of_writes();
    server_open_systemd(&server); /* first, because systemd is told of later failures */

    int rc = server_open_endpoints(&server); /* the sockets to serve */
    if (rc == 0)
        rc = server_open_workers(&server); /* the loops, with their services */
    if (rc < 0) {
        server_give_up(&server, rc);
        return rc;
    }
    server_start_tasks(&server); /* supervision and drain; cannot fail */
    rc = control_start(&server.control, workers_sched(&server.workers)->loop, &server.controlled);
    if (rc == 0)
        rc = workers_start(&server.workers); /* the threads */
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
    return rc;
}
