#include "server/server_parts.h"

#include "base/i18n.h"
#include "os/signals.h"

#include <string.h>

/* ---- the start ---- */

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

static void server_open_systemd(struct server *server)
{
    int rc = systemd_open(&server->systemd);
    if (rc < 0)
        log_write(server->log, LOG_LEVEL_WARNING, _("WATCHDOG_USEC is ignored: %s"), strerror(-rc));
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

static int server_start_endpoints(struct server *server)
{
    const struct endpoint_context context = {.sched = workers_sched(&server->workers),
                                             .acceptor = &server->workers.acceptor,
                                             .watcher = &server->watcher};
    int rc = endpoints_start(&server->endpoints, &context);
    if (rc < 0)
        return rc;
    server_log_endpoints(server);
    if (server_inherits(server))
        succession_adopt(&server->succession, &server->workers, &server->refusals);
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

/* All that exists before the first task. server_any_fd() is -1 then if there is nothing to serve.
 */
static int server_open(struct server *server)
{
    int rc = server_inherits(server) ? server_succeed(server) : 0;
    if (rc == 0)
        rc = server_open_endpoints(server); /* the sockets to serve */
    if (rc == 0)
        rc = server_open_aside(server); /* that of the metrics */
    if (rc == 0 && server_any_fd(server) >= 0)
        rc = server_open_workers(server); /* the loops, with their services */
    return rc;
}

/* Everything that runs. What was started before an error runs on until it is told to end. */
static int server_start(struct server *server)
{
    server_start_tasks(server); /* supervision, drain and refusals; cannot fail */
    int rc = datagrams_start(&server->datagrams, &server->config->datagrams, &server->endpoints,
                             &server->workers, server->ledger,
                             server->log); /* on the loops, before threads run them */
    if (rc == 0)
        rc = workers_start(&server->workers); /* while signals are blocked, as in all its threads */
    if (rc == 0)
        rc = control_start(&server->control, workers_sched(&server->workers)->loop,
                           &server->controlled);
    if (rc == 0)
        rc = server_start_metrics(server);
    if (rc == 0)
        kept_tell_ready(server->config->kept); /* before a client can see that the daemon listens */
    if (rc == 0)
        rc = server_start_endpoints(server); /* last, because this logs that the daemon listens */
    if (rc == 0)
        supervision_ready(&server->supervision);
    return rc;
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
    struct server server = {.config = config, .log = log};
    server_connect(&server);
    signals_ignore_of_writes();
    server_open_systemd(&server); /* first, because systemd is told of later failures */
    int rc = server_open(&server);
    if (rc < 0 || server_any_fd(&server) < 0) {
        server_give_up(&server, rc);
        return rc;
    }
    rc = server_start(&server);
    if (rc < 0)
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
