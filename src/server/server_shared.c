#include "server/server_parts.h"

#include "base/i18n.h"
#include "server/limits.h"

#include <string.h>

/*
 * Descriptors that the process has inherited take numbers from connections, whose numbers are then
 * higher. An entry of the ledger that is not used takes 16 bytes of addresses only.
 */
enum { SERVER_INHERITED_MAX = 1 << 16 };

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

void server_close_sources(struct server *server)
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
        ledger_carry_counts(predecessor, server->ledger);
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

int server_open_workers(struct server *server)
{
    int rc = server_set_limit(server);
    if (rc == 0)
        rc = server_open_shared(server);
    return rc < 0 ? server_cannot_serve(server, rc) : 0;
}
