#include "server.h"

#include "chunks.h"
#include "conn.h"
#include "descriptors.h"
#include "echo.h"
#include "endpoints.h"
#include "listener.h"
#include "reaper.h"
#include "sched.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* A limit of descriptors can be absurdly high; each costs 8 bytes in libuv's table. */
enum { SERVER_CONNECTIONS_DEFAULT_MAX = 1 << 20 };

static const int server_signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};

enum { SERVER_SIGNALS = sizeof server_signals / sizeof *server_signals };

struct server {
    const struct server_config *config;
    struct log *log;
    struct endpoints endpoints;
    uv_loop_t loop;
    struct sched sched;
    struct chunks chunks;
    struct conns conns;
    struct listener *listeners; /* endpoints.count of them */
    struct reaper reaper;
    uv_signal_t signals[SERVER_SIGNALS];
    int signals_count; /* of them set up */
    struct task drain;
    struct timer drain_timer; /* does not keep the loop running */
    bool draining;
    uint64_t started_ms;
    uint64_t refused;       /* connections accepted and dropped */
    uint64_t accept_pauses; /* for lack of descriptors or memory */
};

/* What ended a connection, for the log. */
static const char *server_reason(int error)
{
    switch (-error) {
    case ETIME:
        return "idle for too long";
    case ESHUTDOWN:
        return "the daemon stops";
    default:
        return strerror(-error);
    }
}

static void on_conn_event(struct conn *conn, enum conn_event event, int error)
{
    struct server *server = container_of(conn->owner, struct server, conns);
    struct log *log = server->log;
    /* Who never says a byte is a health check, and those come every second. */
    enum log_level level = conn->spoke ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG;
    char peer[NET_ADDR_STRLEN];
    if (event == CONN_CLOSED)
        for (size_t i = 0; i < server->endpoints.count; i++)
            listener_unpark(&server->listeners[i]);
    if (!log_enabled(log, level))
        return;
    (void)net_format(&conn->peer, peer);
    switch (event) {
    case CONN_OPENED:
        log_write(log, level, "Connection from %s", peer);
        break;
    case CONN_SPOKE:
        if (!log_enabled(log, LOG_LEVEL_DEBUG)) /* it has been said otherwise */
            log_write(log, level, "Connection from %s", peer);
        break;
    case CONN_CLOSED:
        if (error == 0)
            log_write(log, level, "Connection closed: %s", peer);
        else
            log_write(log, level, "Connection closed: %s (%s)", peer, server_reason(error));
        log_write(log, level, "Task finished");
        break;
    }
}

static void on_listener_event(struct listener *listener, enum listener_event event, int error)
{
    struct server *server = container_of(listener->conns, struct server, conns);
    switch (event) {
    case LISTENER_PAUSED:
        server->accept_pauses++;
        log_write(server->log, LOG_LEVEL_WARNING, "Accepting paused: %s", strerror(-error));
        break;
    case LISTENER_RESUMED:
        log_write(server->log, LOG_LEVEL_WARNING, "Accepting again");
        break;
    case LISTENER_REFUSED:
        server->refused++;
        log_write(server->log, LOG_LEVEL_WARNING, "Connection refused: %s", strerror(-error));
        break;
    case LISTENER_ENDED:
        log_write(server->log, LOG_LEVEL_INFO, "Task finished");
        break;
    }
}

/* The two steps of the task that ends the daemon. */
static struct yield server_drain_deadline(struct task *task)
{
    struct server *server = container_of(task, struct server, drain);
    log_write(server->log, LOG_LEVEL_WARNING, "Drain deadline: ending %zu connections",
              server->conns.open);
    conns_shut_all(&server->conns, -ESHUTDOWN);
    reaper_wake(&server->reaper);
    return yield_done(task);
}

static struct yield server_drain(struct task *task)
{
    struct server *server = container_of(task, struct server, drain);
    if (server->conns.open == 0)
        return yield_done(task);
    unsigned drain_ms = server->config->drain_ms;
    log_write(server->log, LOG_LEVEL_INFO,
              "Stopping: waiting for %zu connections, %u s at most; "
              "a second signal ends them at once",
              server->conns.open, drain_ms / 1000);
    return yield_sleep(task, &server->drain_timer, drain_ms, server_drain_deadline);
}

static void server_stop(struct server *server)
{
    if (server->draining) {
        log_write(server->log, LOG_LEVEL_WARNING, "Stopping at once: ending %zu connections",
                  server->conns.open);
        conns_abort_all(&server->conns, -ESHUTDOWN);
        return;
    }
    server->draining = true;
    for (size_t i = 0; i < server->endpoints.count; i++)
        listener_stop(&server->listeners[i]);
    /* Queued behind the listeners, it counts what they still take out of their backlogs. */
    sched_spawn(&server->sched, &server->drain, server_drain);
}

static void server_log_figures(const struct server *server)
{
    const struct conns *conns = &server->conns;
    log_write(server->log, LOG_LEVEL_NOTICE,
              "Figures: %zu connections now, %" PRIu64 " in total; %" PRIu64 " bytes in, %" PRIu64
              " out; %" PRIu64 " refused; %" PRIu64 " accept pauses; up %" PRIu64 " s",
              conns->open, conns->accepted, conns->bytes_in, conns->bytes_out, server->refused,
              server->accept_pauses, (uv_now(&server->loop) - server->started_ms) / 1000);
}

static void on_signal(uv_signal_t *signal, int signum)
{
    struct server *server = signal->data;
    if (signum == SIGUSR1)
        server_log_figures(server);
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
    while (server->signals_count < SERVER_SIGNALS && rc == 0) {
        int signum = server_signals[server->signals_count];
        uv_signal_t *signal = &server->signals[server->signals_count];
        rc = uv_signal_init(&server->loop, signal);
        if (rc < 0)
            return rc;
        server->signals_count++;
        signal->data = server;
        uv_unref((uv_handle_t *)signal);
        if (!server_ignores(signum))
            rc = uv_signal_start(signal, on_signal, signum);
    }
    return rc;
}

/* The limit of connections that the config asks for and the descriptors allow, or -EMFILE. */
static int server_set_limit(struct server *server)
{
    long descriptors = descriptors_raise();
    if (descriptors < 0)
        return (int)descriptors;
    long reserve = DESCRIPTORS_RESERVE + (long)server->config->addrs_count;
    if (descriptors <= reserve)
        return -EMFILE;
    size_t allowed = (size_t)(descriptors - reserve);
    size_t wanted = server->config->max_connections;
    if (wanted > allowed)
        log_write(server->log, LOG_LEVEL_WARNING, "--max-connections=%zu: RLIMIT_NOFILE allows %zu",
                  wanted, allowed);
    if (wanted == 0)
        wanted = SERVER_CONNECTIONS_DEFAULT_MAX;
    server->conns.limit = wanted < allowed ? wanted : allowed;
    return 0;
}

/* Listens, and makes sure that the loop will find what it needs, or it would abort. */
static int server_listen(struct server *server)
{
    const struct server_config *config = server->config;
    int rc = endpoints_open(&server->endpoints, config->addrs, config->addrs_count, config->port,
                            config->backlog);
    if (rc == 0)
        rc = server_set_limit(server);
    if (rc == 0)
        rc = descriptors_probe(server->endpoints.fds[0]);
    if (rc == 0)
        server->listeners = calloc(server->endpoints.count, sizeof *server->listeners);
    return rc == 0 && server->listeners == NULL ? -ENOMEM : rc;
}

static int server_init_loop(struct server *server)
{
    int rc = uv_loop_init(&server->loop);
    if (rc < 0)
        return rc;
    size_t highest = server->conns.limit + server->config->addrs_count + DESCRIPTORS_RESERVE - 1;
    rc = sock_reserve(&server->loop, server->endpoints.fds[0], (int)highest);
    server->started_ms = uv_now(&server->loop);
    if (rc < 0)
        (void)uv_loop_close(&server->loop);
    return rc;
}

static void server_log_listening(const struct server *server)
{
    for (size_t i = 0; i < server->endpoints.count; i++) {
        union net_addr addr;
        char text[NET_ADDR_STRLEN];
        if (net_local(server->listeners[i].sock.fd, &addr) == 0)
            log_write(server->log, LOG_LEVEL_INFO, "Listening on %s", net_format(&addr, text));
    }
}

/* The tasks that are there from the start. What cannot fail comes first. */
static void server_start_tasks(struct server *server)
{
    const struct server_config *config = server->config;
    sched_init(&server->sched, &server->loop);
    chunks_init(&server->chunks, config->prefix, config->prefix_len, config->chunk);
    server->conns.sched = &server->sched;
    server->conns.handler = &echo_handler;
    server->conns.service = &server->chunks;
    server->conns.on_event = on_conn_event;
    conns_init(&server->conns);
    server->reaper.conns = &server->conns;
    server->reaper.idle_ms = config->idle_ms;
    reaper_start(&server->reaper);
    timer_init(&server->drain_timer, &server->loop, &server->sched.waker);
    uv_unref((uv_handle_t *)&server->drain_timer.uv);
}

static int server_start_listeners(struct server *server)
{
    for (size_t i = 0; i < server->endpoints.count; i++) {
        server->listeners[i].conns = &server->conns;
        server->listeners[i].on_event = on_listener_event;
        int rc = listener_start(&server->listeners[i], server->endpoints.fds[i]);
        if (rc < 0)
            return rc;
        server->endpoints.fds[i] = -1;
    }
    return 0;
}

/*
 * A signal that still comes has nothing left to stop. libuv would give it its default action back,
 * which kills, and so turn a stop that went well into one that did not.
 */
static void server_block_signals(void)
{
    sigset_t set;
    (void)sigemptyset(&set);
    for (int i = 0; i < SERVER_SIGNALS; i++)
        (void)sigaddset(&set, server_signals[i]);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* All tasks have ended: closes what served them. */
static void server_close(struct server *server)
{
    server_block_signals();
    for (int i = 0; i < server->signals_count; i++)
        uv_close((uv_handle_t *)&server->signals[i], NULL);
    timer_close(&server->drain_timer, NULL);
    reaper_close(&server->reaper);
    sched_close(&server->sched);
    (void)uv_run(&server->loop, UV_RUN_DEFAULT);
    int rc = uv_loop_close(&server->loop);
    assert(rc == 0); /* a handle was left open */
    (void)rc;
    chunks_free(&server->chunks);
}

/* Runs the loop until its last task has ended; after a failed start that is at once. */
static int server_loop(struct server *server)
{
    server_start_tasks(server);
    int rc = server_start_listeners(server);
    if (rc == 0)
        rc = server_start_signals(server);
    if (rc == 0) {
        server_log_listening(server);
    } else {
        log_write(server->log, LOG_LEVEL_ERROR, "Cannot start: %s", strerror(-rc));
        server_stop(server);
    }
    int ran = sched_run(&server->sched);
    if (ran < 0) {
        /* A task is wrong, and what it holds cannot be told: the kernel cleans up after us. */
        log_write(server->log, LOG_LEVEL_ERROR, "%s %d: %s",
                  ran == -EINVAL ? "Unknown reason" : "Reason", server->sched.reason,
                  strerror(-ran));
        return ran;
    }
    server_close(server);
    return rc;
}

int server_run(const struct server_config *config, struct log *log)
{
    struct server server = {.config = config, .log = log};
    (void)signal(SIGPIPE, SIG_IGN);
    int rc = server_listen(&server);
    if (rc == 0)
        rc = server_init_loop(&server);
    if (rc < 0) {
        char addr[NET_ADDR_STRLEN];
        log_write(log, LOG_LEVEL_ERROR, "Cannot listen on %s: %s",
                  net_format(&server.endpoints.failed, addr), strerror(-rc));
    } else {
        rc = server_loop(&server);
    }
    endpoints_close(&server.endpoints);
    free(server.listeners);
    return rc;
}
