#include "server/endpoints.h"

#include "os/datagram.h"
#include "os/systemd.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* How many further ports to try when a port is free for one address but in use for another. */
enum { ENDPOINTS_PORT_TRIES = 16 };

/* Looks at the file of the Unix socket that endpoint is bound to; false if there is none. */
static bool endpoint_stat(const struct endpoint *endpoint, struct stat *file)
{
    const char *path = net_unix_path(&endpoint->bound);
    return path != NULL && lstat(path, file) == 0;
}

/* Whether the file at the path is still the one that we made. */
static bool endpoint_owns_file(const struct endpoint *endpoint)
{
    struct stat file;
    return endpoint->inode != 0 && endpoint_stat(endpoint, &file) &&
           file.st_ino == endpoint->inode && file.st_mtim.tv_sec == endpoint->made.tv_sec &&
           file.st_mtim.tv_nsec == endpoint->made.tv_nsec;
}

static void endpoint_remove_file(struct endpoint *endpoint)
{
    if (endpoint_owns_file(endpoint))
        (void)unlink(net_unix_path(&endpoint->bound));
    endpoint->inode = 0;
}

/* Removes the file before the socket is closed, as endpoints_remove_files() requires. */
static void endpoint_close(struct endpoint *endpoint)
{
    endpoint_remove_file(endpoint);
    if (endpoint->fd >= 0)
        net_close(endpoint->fd);
    free(endpoint->task);
    free(endpoint->name);
}

static void endpoints_close_all(struct endpoints *endpoints)
{
    for (size_t i = 0; i < endpoints->count; i++)
        endpoint_close(&endpoints->list[i]);
    endpoints->count = 0;
}

static void endpoints_add(struct endpoints *endpoints, int fd, const struct endpoint_kind *kind)
{
    struct endpoint *endpoint = &endpoints->list[endpoints->count++];
    *endpoint = (struct endpoint){.fd = fd, .kind = kind};
    struct stat file;
    if (net_local(fd, &endpoint->bound) == 0 && endpoint_stat(endpoint, &file)) {
        endpoint->made = file.st_mtim;
        endpoint->inode = file.st_ino;
    }
}

/* Sockets without a descriptor are those with which somebody goes on. */
void endpoints_drop(struct endpoints *before)
{
    for (size_t i = 0; i < before->count; i++) {
        struct endpoint *endpoint = &before->list[i];
        if (endpoint->fd < 0)
            continue;
        if (before->noted != NULL)
            ledger_forget(before->noted, endpoint->fd);
        endpoint_close(endpoint);
    }
    free(before->list);
    *before = (struct endpoints){.list = NULL};
}

int endpoints_set_aside(struct endpoints *endpoints, struct endpoints *aside)
{
    const size_t room = aside->count + endpoints->count;
    struct endpoint *list = calloc(room > 0 ? room : 1, sizeof *list);
    size_t left = 0;
    if (list == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < aside->count; i++)
        list[i] = aside->list[i];
    free(aside->list);
    aside->list = list;
    aside->noted = endpoints->noted;
    for (size_t i = 0; i < endpoints->count; i++) {
        struct endpoint *endpoint = &endpoints->list[i];
        if (endpoint->kind->aside)
            list[aside->count++] = *endpoint;
        else
            endpoints->list[left++] = *endpoint;
    }
    endpoints->count = left;
    return 0;
}

/* Whether the error means that the kernel was built or booted without the family. */
static bool endpoints_no_family(int error)
{
    return error == -EAFNOSUPPORT || error == -EADDRNOTAVAIL;
}

static bool endpoint_is_at(const struct endpoint *endpoint, const union net_addr *addr)
{
    const union net_addr *bound = &endpoint->bound;
    return bound->sa.sa_family == addr->sa.sa_family && net_addr_len(bound) == net_addr_len(addr) &&
           memcmp(bound, addr, net_addr_len(addr)) == 0;
}

/* How many of the first count endpoints are of this kind and at this address. */
static unsigned endpoints_at(const struct endpoints *endpoints, size_t count,
                             const struct endpoint_kind *kind, const union net_addr *addr)
{
    unsigned found = 0;
    for (size_t i = 0; i < count; i++)
        found += endpoints->list[i].kind == kind && endpoint_is_at(&endpoints->list[i], addr);
    return found;
}

/* How many sockets of this kind an address gets. */
static unsigned endpoints_wanted(const struct endpoints_config *config,
                                 const struct endpoint_kind *kind, const union net_addr *addr)
{
    const bool local = addr->sa.sa_family == AF_UNIX;
    if (kind == &endpoint_datagram)
        return local || config->udp == ENDPOINTS_UDP_NONE ? 0 : config->workers;
    return local || config->udp != ENDPOINTS_UDP_ONLY ? 1 : 0;
}

static bool endpoints_wants(const struct endpoints_config *config, const struct endpoint *endpoint)
{
    for (size_t i = 0; i < config->count; i++) {
        union net_addr addr = config->addrs[i].addr;
        net_set_port(&addr, config->port);
        if (endpoint_is_at(endpoint, &addr))
            return true;
    }
    return false;
}

/*
 * Whether a socket of the predecessor is one of those that the config asks for. One at an address
 * is enough for connections. Every datagram socket is kept, even if there are fewer workers now,
 * because datagrams may wait there.
 */
static bool endpoints_keeps(const struct endpoints *endpoints,
                            const struct endpoints_config *config, const struct endpoint *endpoint)
{
    const union net_addr *addr = &endpoint->bound;
    if (!endpoints_wants(config, endpoint) || endpoints_wanted(config, endpoint->kind, addr) == 0)
        return false;
    return endpoint->kind == &endpoint_datagram ||
           endpoints_at(endpoints, endpoints->count, endpoint->kind, addr) == 0;
}

/* Takes the sockets of the predecessor that the config asks for. There is room for them. */
static void endpoints_keep(struct endpoints *endpoints, struct endpoints *before,
                           const struct endpoints_config *config)
{
    for (size_t i = 0; i < before->count; i++) {
        struct endpoint *endpoint = &before->list[i];
        if (!endpoints_keeps(endpoints, config, endpoint))
            continue;
        endpoints->list[endpoints->count++] = *endpoint;
        endpoint->fd = -1;
    }
}

/* The port of the first socket that has one, or 0. */
static uint16_t endpoints_port(const struct endpoints *endpoints)
{
    uint16_t port = 0;
    for (size_t i = 0; i < endpoints->count && port == 0; i++)
        port = net_port(&endpoints->list[i].bound);
    return port;
}

static const struct endpoint_kind *endpoints_stream_kind(const struct endpoints_config *config)
{
    return config->kind != NULL ? config->kind : &endpoint_listening;
}

/* Listens on the address endpoints->failed, unless one of the sockets does that were kept. */
static int endpoints_try_stream(struct endpoints *endpoints, size_t kept,
                                const struct endpoints_config *config)
{
    const union net_addr *addr = &endpoints->failed;
    const struct endpoint_kind *kind = endpoints_stream_kind(config);
    if (endpoints_at(endpoints, kept, kind, addr) >= endpoints_wanted(config, kind, addr))
        return 0;
    int rc = net_listen(addr, config->backlog, config->socket_mode, config->keepalive_s);
    if (rc >= 0)
        endpoints_add(endpoints, rc, kind);
    return rc < 0 ? rc : 0;
}

/* The first datagram socket at the address, or -1. */
static int endpoints_beside(const struct endpoints *endpoints, const union net_addr *addr)
{
    for (size_t i = 0; i < endpoints->count; i++)
        if (endpoints->list[i].kind == &endpoint_datagram &&
            endpoint_is_at(&endpoints->list[i], addr))
            return endpoints->list[i].fd;
    return -1;
}

/* Opens the datagram sockets that are missing at the address endpoints->failed. */
static int endpoints_try_datagrams(struct endpoints *endpoints, size_t kept,
                                   const struct endpoints_config *config)
{
    union net_addr addr = endpoints->failed;
    unsigned missing = endpoints_wanted(config, &endpoint_datagram, &addr);
    unsigned there = endpoints_at(endpoints, kept, &endpoint_datagram, &addr);
    for (missing -= there < missing ? there : missing; missing > 0; missing--) {
        int beside = endpoints_beside(endpoints, &addr);
        int rc = datagram_open(&addr, beside);
        if (rc == -EADDRINUSE && beside >= 0)
            break;
        if (rc < 0)
            return rc;
        endpoints_add(endpoints, rc, &endpoint_datagram);
        if (net_port(&addr) == 0) /* the others are to be where the kernel has put this one */
            net_set_port(&addr, net_port(&endpoints->list[endpoints->count - 1].bound));
    }
    return 0;
}

/* Opens the sockets that are missing at each address. */
static int endpoints_try(struct endpoints *endpoints, const struct endpoints_config *config)
{
    const size_t kept = endpoints->count;
    uint16_t port = config->port;
    int rc = 0;
    for (size_t i = 0; i < config->count; i++) {
        endpoints->failed = config->addrs[i].addr;
        net_set_port(&endpoints->failed, port);
        rc = endpoints_try_stream(endpoints, kept, config);
        if (port == 0) /* the kernel has chosen a port: all else uses the same */
            port = endpoints_port(endpoints);
        net_set_port(&endpoints->failed, port);
        if (rc == 0)
            rc = endpoints_try_datagrams(endpoints, kept, config);
        if (port == 0)
            port = endpoints_port(endpoints);
        if (rc < 0 && !(config->addrs[i].may_lack && endpoints_no_family(rc)))
            return rc;
    }
    return endpoints->count > 0 ? 0 : rc;
}

int endpoints_open(struct endpoints *endpoints, const struct endpoints_config *config)
{
    const struct endpoint_addr any[] = {{net_any(AF_INET), true}, {net_any(AF_INET6), true}};
    struct endpoints_config wanted = *config;
    if (config->count == 0) {
        wanted.addrs = any;
        wanted.count = sizeof any / sizeof *any;
    }
    struct endpoints before = *endpoints;
    if (wanted.port == 0)
        wanted.port = endpoints_port(&before);
    const size_t room = before.count + wanted.count * (1 + (size_t)wanted.workers);
    *endpoints = (struct endpoints){.list = calloc(room, sizeof *endpoints->list),
                                    .failed = wanted.addrs[0].addr};
    net_set_port(&endpoints->failed, wanted.port);
    if (endpoints->list != NULL)
        endpoints_keep(endpoints, &before, &wanted);
    endpoints_drop(&before); /* before others take their addresses */
    if (endpoints->list == NULL)
        return -ENOMEM;
    for (int tries = 0;; tries++) {
        int rc = endpoints_try(endpoints, &wanted);
        if (rc == 0)
            return 0;
        endpoints_close_all(endpoints);
        bool another_port_may_do = wanted.port == 0 && net_port(&endpoints->failed) != 0;
        if (rc != -EADDRINUSE || !another_port_may_do || tries == ENDPOINTS_PORT_TRIES)
            return rc;
    }
}

/* kind is what net_inspect() has returned. */
static const struct endpoint_kind *endpoint_kind_of(int kind, const char *name)
{
    if (kind == NET_CONNECTED)
        return &endpoint_connected;
    if (kind == NET_DATAGRAM)
        return &endpoint_datagram;
    return name != NULL && strcmp(name, ENDPOINT_METRICS) == 0 ? &endpoint_metrics
                                                               : &endpoint_listening;
}

int endpoints_adopt(struct endpoints *endpoints, int first, size_t count, char **names, size_t *bad)
{
    struct endpoints before = *endpoints;
    *endpoints = (struct endpoints){.list = calloc(count, sizeof *endpoints->list)};
    *bad = 0;
    endpoints_drop(&before);
    if (endpoints->list == NULL) {
        for (size_t i = 0; i < count; i++)
            net_close(first + (int)i);
        systemd_free_names(names);
        return -ENOMEM;
    }
    int rc = 0;
    for (size_t i = 0; i < count; i++) {
        struct endpoint *endpoint = &endpoints->list[endpoints->count++];
        endpoint->fd = first + (int)i;
        endpoint->name = names != NULL ? names[i] : NULL;
        if (rc < 0)
            continue; /* endpoints_close() will close this socket */
        *bad = i;
        rc = net_inspect(endpoint->fd);
        endpoint->kind = endpoint_kind_of(rc, endpoint->name);
        if (rc >= 0)
            rc = net_local(endpoint->fd, &endpoint->bound);
    }
    free(names);
    return rc < 0 ? rc : 0;
}

/* An inode and a part of its time fit into what an entry has for counts. */
static bool endpoint_is_file(const struct ledger_state *noted, const struct stat *file)
{
    return file->st_ino == ((uint64_t)noted->goal << 32 | noted->received) &&
           file->st_mtim.tv_nsec == (long)noted->len;
}

static const struct endpoint_kind *endpoint_kind_noted(const struct takeover_listener *listener)
{
    if (listener->noted.end == LEDGER_ASIDE)
        return &endpoint_metrics;
    return listener->datagram ? &endpoint_datagram : &endpoint_listening;
}

int endpoints_inherit(struct endpoints *endpoints, const struct takeover_listener *listeners,
                      size_t count)
{
    *endpoints = (struct endpoints){.list = calloc(count > 0 ? count : 1, sizeof *endpoints->list)};
    if (endpoints->list == NULL) {
        for (size_t i = 0; i < count; i++)
            net_close(listeners[i].fd);
        return -ENOMEM;
    }
    for (size_t i = 0; i < count; i++) {
        const struct takeover_listener *listener = &listeners[i];
        struct endpoint *endpoint = &endpoints->list[endpoints->count++];
        *endpoint = (struct endpoint){.fd = listener->fd,
                                      .service = (uint8_t)listener->noted.service,
                                      .kind = endpoint_kind_noted(listener),
                                      .bound = listener->bound};
        struct stat file;
        if (endpoint_stat(endpoint, &file) && endpoint_is_file(&listener->noted, &file)) {
            endpoint->made = file.st_mtim;
            endpoint->inode = file.st_ino;
        }
    }
    return 0;
}

int endpoints_note(const struct endpoints *endpoints, struct ledger *ledger)
{
    for (size_t i = 0; i < endpoints->count; i++) {
        const struct endpoint *endpoint = &endpoints->list[i];
        const uint64_t inode = endpoint->inode;
        const bool aside = endpoint->kind->aside;
        const bool datagram = endpoint->kind == &endpoint_datagram;
        const struct ledger_state noted = {.kind = LEDGER_LISTENER,
                                           .service = endpoint->service,
                                           .end = aside ? LEDGER_ASIDE : LEDGER_OPEN,
                                           .received = (uint32_t)inode,
                                           .goal = (uint32_t)(inode >> 32),
                                           .len = datagram ? LEDGER_DATAGRAM
                                                           : (uint32_t)endpoint->made.tv_nsec};
        net_survive_exec(endpoint->fd);
        bool listens = endpoint->kind->stop != NULL || aside;
        int rc = listens ? ledger_keep(ledger, endpoint->fd, &noted) : 0;
        if (rc < 0)
            return rc;
    }
    return 0;
}

void endpoints_keep_alive(const struct endpoints *endpoints, unsigned keepalive_s)
{
    for (size_t i = 0; i < endpoints->count; i++)
        if (endpoints->list[i].bound.sa.sa_family != AF_UNIX &&
            endpoints->list[i].kind != &endpoint_datagram)
            (void)net_set_keepalive(endpoints->list[i].fd, keepalive_s);
}

void endpoints_remove_files(struct endpoints *endpoints)
{
    for (size_t i = 0; i < endpoints->count; i++)
        endpoint_remove_file(&endpoints->list[i]);
}

int endpoints_start(struct endpoints *endpoints, const struct endpoint_context *context)
{
    int rc = 0;
    for (size_t i = 0; i < endpoints->count && rc == 0; i++)
        if (endpoints->list[i].kind->start != NULL)
            rc = endpoints->list[i].kind->start(&endpoints->list[i], context);
    return rc;
}

unsigned endpoints_turn(const struct endpoints *endpoints, size_t place)
{
    const struct endpoint *endpoint = &endpoints->list[place];
    return endpoints_at(endpoints, place, endpoint->kind, &endpoint->bound);
}

bool endpoints_have(const struct endpoints *endpoints, const struct endpoint_kind *kind)
{
    for (size_t i = 0; i < endpoints->count; i++)
        if (endpoints->list[i].kind == kind)
            return true;
    return false;
}

bool endpoints_stay(const struct endpoints *endpoints)
{
    for (size_t i = 0; i < endpoints->count; i++)
        if (endpoints->list[i].kind->stop != NULL)
            return true;
    return false;
}

void endpoints_stop(struct endpoints *endpoints)
{
    for (size_t i = 0; i < endpoints->count; i++)
        if (endpoints->list[i].task != NULL)
            endpoints->list[i].kind->stop(&endpoints->list[i]);
}

void endpoints_close(struct endpoints *endpoints)
{
    endpoints_close_all(endpoints);
    free(endpoints->list);
    endpoints->list = NULL;
}
