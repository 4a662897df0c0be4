#include "server/server_parts.h"

#include "base/i18n.h"
#include "os/systemd.h"

#include <string.h>

static int server_cannot_listen(const struct server *server, const union net_addr *addr, int error)
{
    char text[NET_ADDR_STRLEN];
    log_write(server->log, LOG_LEVEL_ERROR, _("Cannot listen on %s: %s"), net_format(addr, text),
              strerror(-error));
    return error;
}

int server_cannot_serve(const struct server *server, int error)
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

int server_open_endpoints(struct server *server)
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

int server_open_aside(struct server *server)
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

void server_log_endpoints(const struct server *server)
{
    for (size_t i = 0; i < server->endpoints.count; i++)
        server_log_endpoint(server, i);
}

int server_any_fd(const struct server *server)
{
    const struct takeover *takeover = &server->succession.takeover;
    if (server->endpoints.count > 0)
        return server->endpoints.list[0].fd;
    return takeover->count > 0 ? takeover->list[0].fd : -1;
}
