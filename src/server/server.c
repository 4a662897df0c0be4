#include "server/server.h"

#include "os/descriptors.h"
#include "os/signals.h"
#include "stream/conn_log.h"
#include "base/i18n.h"
#include "stream/listener.h"
#include "server/supervision.h"
#include "os/systemd.h"
#include "server/workers.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/*
 * A limit of descriptors can be absurdly high; each costs 8 bytes in libuv's table, whose size is a
 * power of 2. A few fewer than that leave room for what is no connection.
 */
enum { SERVER_CONNECTIONS_DEFAULT_MAX = (1 << 20) - 1024 };

struct server {
    const struct server_config *config;
    struct log *log;
    struct endpoints endpoints;
    struct workers workers;
    uv_loop_t *loop;            /* the first worker's */
    struct listener *listeners; /* endpoints.count of them */
    struct supervision supervision;
    uv_signal_t signals[SIGNALS_HANDLED];
    int signals_count; /* of them set up */
    struct task drain;
    struct timer drain_timer; /* does not keep the loop running */
    bool draining;
    bool at_once; /* a second signal has come */
    uint64_t started_ms;
    uint64_t refused;       /* connections accepted and dropped before a worker had them */
    uint64_t accept_pauses; /* for lack of descriptors or memory */
};

/* The loop of everything here. */
static struct sched *server_sched(struct server *server)
{
    return &server->workers.list[0].sched;
}

static void on_freed(struct workers *workers)
{
    struct server *server = workers->owner;
    for (size_t i = 0; i < server->endpoints.count; i++)
        listener_unpark(&server->listeners[i]);
}

static void server_stats(const struct server *server, struct stats *stats)
{
    workers_stats(&server->workers, stats);
    stats->refused += server->refused;
}

static void on_stats(struct supervision *supervision, struct stats *stats)
{
    server_stats(container_of(supervision, struct server, supervision), stats);
}

static bool on_alive(struct supervision *supervision)
{
    return workers_alive(&container_of(supervision, struct server, supervision)->workers);
}

static bool on_listener_full(struct listener *listener)
{
    struct server *server = listener->owner;
    return workers_full(&server->workers);
}

/* Takes over fd in any case: workers_take(). */
static int server_take(struct server *server, int fd, const union net_peer *peer)
{
    int rc = workers_take(&server->workers, fd, peer);
    if (rc == 0)
        supervision_wake(&server->supervision);
    return rc;
}

static int on_listener_take(struct listener *listener, int fd, const union net_peer *peer)
{
    return server_take(listener->owner, fd, peer);
}

static void on_listener_event(struct listener *listener, enum listener_event event, int error)
{
    struct server *server = listener->owner;
    switch (event) {
    case LISTENER_PAUSED:
        server->accept_pauses++;
        log_write(server->log, LOG_LEVEL_WARNING, _("Accepting paused: %s"), strerror(-error));
        break;
    case LISTENER_RESUMED:
        log_write(server->log, LOG_LEVEL_WARNING, _("Accepting again"));
        break;
    case LISTENER_REFUSED:
        server->refused++;
        conn_log_refused(server->log, error);
        break;
    case LISTENER_ENDED:
        log_write(server->log, LOG_LEVEL_INFO, _("Task finished"));
        break;
    }
}

/* The two steps of the task that ends the daemon. */
static struct yield server_drain_deadline(struct task *task)
{
    struct server *server = container_of(task, struct server, drain);
    unsigned long open = (unsigned long)workers_load(&server->workers);
    if (open == 0) /* and the last thread is about to say so */
        return yield_done(task);
    log_write(
        server->log, LOG_LEVEL_WARNING,
        P_("Drain deadline: ending %lu connection", "Drain deadline: ending %lu connections", open),
        open);
    workers_order(&server->workers, WORKER_SHUT, -ESHUTDOWN);
    return yield_done(task);
}

static struct yield server_drain(struct task *task)
{
    struct server *server = container_of(task, struct server, drain);
    workers_order(&server->workers, WORKER_DRAIN, 0);
    if (server->at_once) /* before the listeners had taken what was in their backlogs */
        workers_order(&server->workers, WORKER_ABORT, -ESHUTDOWN);
    unsigned long open = (unsigned long)workers_load(&server->workers);
    if (server->at_once || open == 0)
        return yield_done(task);
    unsigned drain_ms = server->config->drain_ms;
    log_write(
        server->log, LOG_LEVEL_INFO,
        P_("Stopping: waiting for %lu connection, %u s at most; a second signal ends it at once",
           "Stopping: waiting for %lu connections, %u s at most; a second signal ends them at once",
           open),
        open, drain_ms / 1000);
    return yield_sleep(task, &server->drain_timer, drain_ms, server_drain_deadline);
}

static void server_stop(struct server *server)
{
    if (server->draining) {
        unsigned long open = (unsigned long)workers_load(&server->workers);
        log_write(server->log, LOG_LEVEL_WARNING,
                  P_("Stopping at once: ending %lu connection",
                     "Stopping at once: ending %lu connections", open),
                  open);
        server->at_once = true;
        workers_order(&server->workers, WORKER_ABORT, -ESHUTDOWN);
        return;
    }
    server->draining = true;
    endpoints_remove_files(&server->endpoints);
    for (size_t i = 0; i < server->endpoints.count; i++)
        listener_stop(&server->listeners[i]);
    /* Queued behind the listeners, it counts what they still take out of their backlogs. */
    sched_spawn(server_sched(server), &server->drain, server_drain);
    supervision_drain(&server->supervision);
}

static void server_log_stats(const struct server *server)
{
    struct stats stats;
    server_stats(server, &stats);
    log_write(
        server->log, LOG_LEVEL_NOTICE,
        _("Statistics: %lu connections now, %llu in total; %llu bytes in, %llu out; %llu refused; "
          "%llu accept pauses; up %llu s"),
        (unsigned long)stats.open, (unsigned long long)stats.accepted,
        (unsigned long long)stats.bytes_in, (unsigned long long)stats.bytes_out,
        (unsigned long long)stats.refused, (unsigned long long)server->accept_pauses,
        (unsigned long long)(uv_now(server->loop) - server->started_ms) / 1000);
}

static void on_signal(uv_signal_t *signal, int signum)
{
    struct server *server = signal->data;
    if (signum == SIGUSR1)
        server_log_stats(server);
    else
        server_stop(server);
}

/* nohup(1) asks us to outlive the terminal by ignoring the signal that says it is gone. */
static bool server_ignores(int signum)
{
    struct sigaction action;
    return signum == SIGHUP && sigaction(signum, NULL, &action) == 0 &&
           action.sa_handler == SIG_IGN;
}

static int server_start_signals(struct server *server)
{
    int rc = 0;
    while (server->signals_count < SIGNALS_HANDLED && rc == 0) {
        int signum = signals_handled[server->signals_count];
        uv_signal_t *signal = &server->signals[server->signals_count];
        rc = uv_signal_init(server->loop, signal);
        if (rc < 0)
            return rc;
        server->signals_count++;
        signal->data = server;
        uv_unref((uv_handle_t *)signal);
        if (!server_ignores(signum))
            rc = uv_signal_start(signal, on_signal, signum);
    }
    if (rc == 0)
        signals_unblock(); /* main() has blocked them */
    return rc;
}

/* What the process needs beside its connections. */
static long server_reserve(const struct server *server)
{
    long workers = (long)server->config->workers;
    long reserve = DESCRIPTORS_RESERVE + (workers - 1) * DESCRIPTORS_LOOP;
    if (server->config->prefix_len == 0) /* bulk data is spliced */
        reserve += workers * 2 * PIPES_MAX;
    return reserve + (long)server->endpoints.count;
}

/* The limit of connections that the config asks for and the descriptors allow, or -EMFILE. */
static int server_set_limit(struct server *server, long descriptors)
{
    long reserve = server_reserve(server);
    if (descriptors <= reserve)
        return -EMFILE;
    size_t allowed = (size_t)(descriptors - reserve);
    size_t wanted = server->config->max_connections;
    if (wanted > allowed)
        log_write(server->log, LOG_LEVEL_WARNING,
                  _("--max-connections=%lu: RLIMIT_NOFILE allows %lu"), (unsigned long)wanted,
                  (unsigned long)allowed);
    if (wanted == 0)
        wanted = SERVER_CONNECTIONS_DEFAULT_MAX;
    server->workers.limit = wanted < allowed ? wanted : allowed;
    return 0;
}

static int server_cannot_listen(const struct server *server, const union net_addr *addr, int error)
{
    char text[NET_ADDR_STRLEN];
    log_write(server->log, LOG_LEVEL_ERROR, _("Cannot listen on %s: %s"), net_format(addr, text),
              strerror(-error));
    return error;
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
    else
        endpoints_keep_alive(&server->endpoints, server->config->endpoints.keepalive_s);
    return rc;
}

/* The sockets to serve: those that systemd has passed or, without any, those of our own. */
static int server_get_endpoints(struct server *server)
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

static int server_open_workers(struct server *server)
{
    const struct server_config *config = server->config;
    const struct worker_config worker = {.prefix = config->prefix,
                                         .prefix_len = config->prefix_len,
                                         .chunk = config->chunk,
                                         .idle_ms = config->idle_ms};
    struct workers *workers = &server->workers;
    int highest = (int)((long)workers->limit + server_reserve(server) - 1);
    workers->owner = server;
    workers->on_freed = on_freed;
    int rc = workers_open(workers, config->workers, &worker, server->log,
                          server->endpoints.list[0].fd, highest);
    if (rc < 0)
        return rc;
    server->loop = &workers->list[0].loop;
    server->started_ms = uv_now(server->loop);
    return 0;
}

/* Gets all that the loops will need, or they would abort. */
static int server_prepare(struct server *server)
{
    long descriptors = descriptors_raise();
    int rc = server_get_endpoints(server);
    if (rc < 0)
        return rc;
    rc = descriptors < 0 ? (int)descriptors : server_set_limit(server, descriptors);
    if (rc == 0) {
        server->listeners = calloc(server->endpoints.count, sizeof *server->listeners);
        rc = server->listeners == NULL ? -ENOMEM : server_open_workers(server);
    }
    return rc < 0 ? server_cannot_listen(server, &server->endpoints.list[0].bound, rc) : 0;
}

static void server_log_endpoint(const struct server *server, const struct endpoint *endpoint)
{
    char addr[NET_ADDR_STRLEN];
    if (endpoint->connected)
        return; /* it is logged as a connection */
    (void)net_format(&endpoint->bound, addr);
    if (endpoint->name == NULL)
        log_write(server->log, LOG_LEVEL_INFO, _("Listening on %s"), addr);
    else
        log_write(server->log, LOG_LEVEL_INFO, _("Listening on %s (%s)"), addr, endpoint->name);
}

/* The tasks that are there from the start. Cannot fail. */
static void server_start_tasks(struct server *server, const struct systemd *systemd)
{
    struct sched *sched = server_sched(server);
    server->supervision.sched = sched;
    server->supervision.stats = on_stats;
    server->supervision.alive = on_alive;
    supervision_start(&server->supervision, systemd);
    timer_init(&server->drain_timer, server->loop, &sched->waker);
    uv_unref((uv_handle_t *)&server->drain_timer.uv);
}

/* Serves a connection that was passed to us. One that has broken meanwhile is no failure of ours.
 */
static int server_start_connection(struct server *server, int fd)
{
    union net_peer peer;
    int rc = net_remote(fd, &peer);
    if (rc == 0)
        return server_take(server, fd, &peer);
    server->refused++;
    log_write(server->log, LOG_LEVEL_INFO, _("Connection refused: %s"), strerror(-rc));
    net_close(fd);
    return 0;
}

static int server_start_listener(struct server *server, struct listener *listener, int fd)
{
    listener->sched = server_sched(server);
    listener->owner = server;
    listener->full = on_listener_full;
    listener->take = on_listener_take;
    listener->on_event = on_listener_event;
    return listener_start(listener, fd);
}

/* Hands the descriptor over to the task that serves it. */
static int server_start_endpoint(struct server *server, size_t i)
{
    struct endpoint *endpoint = &server->endpoints.list[i];
    int rc = endpoint->connected
                 ? server_start_connection(server, endpoint->fd)
                 : server_start_listener(server, &server->listeners[i], endpoint->fd);
    if (rc == 0 || endpoint->connected)
        endpoint->fd = -1; /* a connection is closed in any case */
    return rc;
}

static int server_start_endpoints(struct server *server)
{
    bool listening = false;
    int rc = 0;
    for (size_t i = 0; i < server->endpoints.count && rc == 0; i++) {
        listening |= !server->endpoints.list[i].connected;
        rc = server_start_endpoint(server, i);
    }
    for (size_t i = 0; i < server->endpoints.count && rc == 0; i++)
        server_log_endpoint(server, &server->endpoints.list[i]);
    if (!listening) /* as by inetd: it ends with the connections that it has */
        workers_order(&server->workers, WORKER_DRAIN, 0);
    return rc;
}

/* All tasks have ended: closes what served them. */
static void server_close(struct server *server)
{
    signals_block(); /* a signal that still comes has nothing left to stop */
    for (int i = 0; i < server->signals_count; i++)
        uv_close((uv_handle_t *)&server->signals[i], NULL);
    timer_close(&server->drain_timer, NULL);
    supervision_close(&server->supervision);
    workers_close(&server->workers);
}

/* A task is wrong, and what it holds cannot be told: the kernel cleans up after us. */
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

/* Starts everything. Nothing says that it listens before all else stands, so that comes last. */
static int server_start(struct server *server, const struct systemd *systemd)
{
    server_start_tasks(server, systemd);
    int rc = server_start_signals(server);
    if (rc == 0)
        rc = workers_start(&server->workers);
    return rc < 0 ? rc : server_start_endpoints(server);
}

/* Runs the loops until the last task has ended; after a failed start that is at once. */
static int server_loop(struct server *server, const struct systemd *systemd)
{
    int rc = server_start(server, systemd);
    if (rc == 0) {
        supervision_ready(&server->supervision);
    } else {
        log_write(server->log, LOG_LEVEL_ERROR, _("Cannot start: %s"), strerror(-rc));
        (void)systemd_notify(&server->supervision.systemd, "ERRNO=%d", -rc);
        server_stop(server);
        /* Those that have been passed and are served already. */
        workers_order(&server->workers, WORKER_ABORT, rc);
    }
    const struct worker *wrong = workers_run(&server->workers);
    if (wrong != NULL)
        return server_stopped(server, wrong);
    server_close(server);
    return rc;
}

int server_run(const struct server_config *config, struct log *log)
{
    struct server server = {.config = config, .log = log};
    struct systemd systemd;
    signals_ignore_of_writes();
    int rc = systemd_open(&systemd);
    if (rc < 0)
        log_write(log, LOG_LEVEL_WARNING, _("WATCHDOG_USEC is ignored: %s"), strerror(-rc));
    rc = server_prepare(&server);
    if (rc == 0) {
        rc = server_loop(&server, &systemd);
    } else {
        (void)systemd_notify(&systemd, "ERRNO=%d", -rc);
        systemd_close(&systemd);
    }
    endpoints_close(&server.endpoints);
    free(server.listeners);
    return rc;
}
