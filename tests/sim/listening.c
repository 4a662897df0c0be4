#include "listening.h"

#include "files.h"
#include "invariants.h"
#include "memory.h"
#include "plan.h"
#include "process.h"
#include "spread.h"
#include "world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What listener.c promises: how often it tries in a turn, and how long it pauses (less the clock).
 */
enum { ACCEPT_BURST = 64, ACCEPT_PAUSE_US = 99000 };

/* Of 10,000 calls of accept. */
enum { ACCEPT_LACKS = 200, ACCEPT_SKIPS = 500, ACCEPT_FIREWALLED = 40, ACCEPT_EMPTY = 300 };
enum { LACK_US_MAX = 700000, FIREWALL_US_MAX = 2000000 };

static struct {
    struct listening list[LISTENING_MAX];
    unsigned count;
    struct chance chance;
    uint64_t lack_until, firewall_until;
    int lack;       /* the errno meanwhile */
    int last_error; /* of accept */
    struct listening *last_failed;
    struct listening elsewhere;
} listenings;

void listenings_begin(void)
{
    listenings.count = 0;
    listenings.lack_until = listenings.firewall_until = 0;
    listenings.last_error = 0;
    listenings.chance = world_chance(CHANCE_LISTENING);
}

struct listening *listening_elsewhere(const union net_addr *addr)
{
    listenings.elsewhere.addr = *addr;
    listenings.elsewhere.fd = -1;
    return &listenings.elsewhere;
}

struct listening *listening_get(unsigned index)
{
    return &listenings.list[index];
}

unsigned listenings_count(void)
{
    return listenings.count;
}

int listenings_last_error(void)
{
    return listenings.last_error;
}

/* Whether the next accept would fail as well. */
static bool listening_is_lack(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
}

void listenings_check_pause(void)
{
    if (!listening_is_lack(listenings.last_error) &&
        listenings.last_failed->failures < ACCEPT_BURST)
        world_fail("accepting pauses because of one connection that is gone");
}

struct listening *listening_at(const char *path)
{
    for (unsigned i = 0; i < listenings.count; i++) {
        const char *own = net_unix_path(&listenings.list[i].addr);
        if (own != NULL && strcmp(own, path) == 0)
            return &listenings.list[i];
    }
    return NULL;
}

int listening_open(const union net_addr *addr, unsigned backlog, bool passed)
{
    if (listenings.count == LISTENING_MAX)
        world_fail("the daemon listens on more addresses than it was told");
    struct listening *listening = &listenings.list[listenings.count];
    int fd = files_open(FILE_LISTENING, listening, 0);
    if (fd < 0)
        return fd;
    listenings.count++;
    listening->addr = *addr;
    listening->fd = fd;
    listening->open = true;
    listening->file = !passed && net_unix_path(addr) != NULL;
    listening->backlog = backlog < LISTENING_BACKLOG_MAX ? backlog : LISTENING_BACKLOG_MAX;
    listening->first = listening->count = 0;
    listening->failed = 0;
    listening->failures = 0;
    listening->tried_us = 0;
    listening->starved = 0;
    return fd;
}

int net_listen(const union net_addr *addr, int backlog, mode_t mode, unsigned keepalive_s)
{
    (void)mode, (void)keepalive_s;
    kernel_enter();
    int fd = listening_open(addr, (unsigned)backlog, false);
    world_trace("listen: descriptor %d", fd);
    return fd;
}

struct listening *listening_choose(uint64_t number)
{
    for (unsigned i = 0; i < listenings.count; i++) {
        struct listening *listening = &listenings.list[(number + i) % listenings.count];
        if (listening->open)
            return listening;
    }
    return NULL;
}

bool listening_connect(struct listening *listening, struct socket *socket)
{
    if (listening->count >= listening->backlog)
        return false;
    listening->waiting[(listening->first + listening->count++) % LISTENING_BACKLOG_MAX] = socket;
    socket->at = listening;
    return true;
}

static struct socket *listening_take(struct listening *listening)
{
    struct socket *socket = listening->waiting[listening->first];
    listening->first = (listening->first + 1) % LISTENING_BACKLOG_MAX;
    listening->count--;
    return socket;
}

/* What waits when the daemon stops is accepted, as far as there is room and nothing is lacking. */
static void listening_check_backlog(const struct listening *listening)
{
    const struct plan *plan = plan_get();
    if (deadlines_stop_us() != 0 && listening->tried_us < deadlines_stop_us() &&
        listening->count > 0 && plan->config.max_rate == 0 && sockets_count() < plan->limit)
        world_fail("descriptor %d is closed, and nobody has accepted the %u connections that wait",
                   listening->fd, listening->count);
}

void listening_close(struct listening *listening)
{
    listening_check_backlog(listening);
    if (listening->file)
        world_fail("the file of a Unix socket is there still when the socket is closed");
    listening->fd = -1;
    listening->open = false;
    while (listening->count > 0) {
        struct socket *socket = listening_take(listening);
        socket_break(socket, ECONNRESET);
        socket->closed = true;
        socket->stir(socket);
    }
}

void listenings_outlive(void)
{
    for (unsigned i = 0; i < listenings.count; i++) {
        struct listening *listening = &listenings.list[i];
        listening->failed = 0;
        listening->failures = listening->starved = 0;
        listening->tried_us = 0;
    }
}

/* Some clients share a host. */
static unsigned char listening_host(const struct socket *socket)
{
    return (unsigned char)(socket->client % 16 + 1);
}

bool listening_same_source(const struct socket *one, const struct socket *other)
{
    sa_family_t family = one->at->addr.sa.sa_family;
    if (family != other->at->addr.sa.sa_family)
        return false;
    return family == AF_UNIX || listening_host(one) == listening_host(other);
}

bool listening_is_proxied(const struct socket *socket)
{
    const struct plan *plan = plan_get();
    switch (socket->at->addr.sa.sa_family) {
    case AF_UNIX:
        return plan->proxied_unix;
    case AF_INET6:
        return plan->proxied_in6 && listening_host(socket) < plan->proxied_hosts;
    default:
        return plan->proxied_in && listening_host(socket) < plan->proxied_hosts;
    }
}

/* The serial number is the port, or the process number of a Unix socket's client. */
void listening_peer(const struct socket *socket, union net_peer *peer)
{
    sa_family_t family = socket->at->addr.sa.sa_family;
    memset(peer, 0, sizeof *peer);
    peer->sa.sa_family = family;
    if (family == AF_UNIX) {
        peer->un.pid = (pid_t)socket->serial;
        return;
    }
    uint16_t port = htons((uint16_t)socket->serial);
    unsigned char host = listening_host(socket);
    if (family == AF_INET6) {
        peer->in6.sin6_port = port;
        peer->in6.sin6_addr.s6_addr[0] = 0xfd;
        peer->in6.sin6_addr.s6_addr[7] = host;
        peer->in6.sin6_addr.s6_addr[15] = (unsigned char)(socket->client + 1);
    } else {
        peer->in.sin_port = port;
        peer->in.sin_addr.s_addr = htonl(0x0a000000U + host);
    }
}

unsigned listening_serial(const char *peer)
{
    unsigned serial = 0;
    const char *colon = strrchr(peer, ':');
    if (sscanf(peer, "unix:pid=%u", &serial) == 1)
        return serial;
    return colon != NULL ? (unsigned)strtoul(colon + 1, NULL, 10) : 0;
}

/* The errno for lack of something, which lasts for a while; or 0. */
static int listenings_lack(void)
{
    static const int errors[] = {EMFILE, ENFILE, ENOMEM, ENOBUFS};
    struct chance *chance = &listenings.chance;
    if (listenings.lack_until <= world_now() && world_fault(FAULT_LACK, ACCEPT_LACKS)) {
        listenings.lack_until = world_now() + chance_between(chance, 1, LACK_US_MAX);
        listenings.lack = errors[chance_below(chance, sizeof errors / sizeof *errors)];
    }
    if (listenings.lack_until > world_now())
        return listenings.lack;
    if (listenings.firewall_until <= world_now() && world_fault(FAULT_FIREWALL, ACCEPT_FIREWALLED))
        listenings.firewall_until = world_now() + chance_between(chance, 1, FIREWALL_US_MAX);
    return listenings.firewall_until > world_now() ? EPERM : 0;
}

/* The errno of one connection that is gone, or 0. */
static int listening_skip(struct listening *listening)
{
    static const int errors[] = {ECONNABORTED, EPROTO,       ENETDOWN,   EPERM,
                                 ETIMEDOUT,    EHOSTUNREACH, EOPNOTSUPP, ENETUNREACH,
                                 ENOPROTOOPT,  EHOSTDOWN,    ENONET};
    if (!world_fault(FAULT_SKIP, ACCEPT_SKIPS))
        return 0;
    struct socket *socket = listening_take(listening);
    socket_break(socket, ECONNRESET);
    socket->closed = true;
    socket->stir(socket);
    world_progress();
    return errors[chance_below(&listenings.chance, sizeof errors / sizeof *errors)];
}

static int listening_accept(struct listening *listening, union net_peer *peer)
{
    struct socket *socket = listening->waiting[listening->first];
    int fd = files_open(FILE_SOCKET, socket, 0);
    if (fd < 0)
        return fd;
    (void)listening_take(listening);
    socket->fd = fd;
    files_survive(fd);
    sockets_add(socket);
    invariants_accepted();
    spread_accepted(socket);
    if (sockets_count() > plan_get()->limit + plan_get()->connected)
        world_fail("%u connections are open, and the limit is %zu", sockets_count(),
                   plan_get()->limit);
    listening_peer(socket, peer);
    return fd;
}

static int listening_try(struct listening *listening, union net_peer *peer)
{
    int error = listenings_lack();
    if (error == 0)
        error = listening_skip(listening);
    return error != 0 ? -error : listening_accept(listening, peer);
}

/* After an error that stays the daemon pauses, unless it stops. */
static void listening_tried(struct listening *listening)
{
    if (listening_is_lack(listening->failed) && deadlines_stop_us() == 0 &&
        world_now() - listening->tried_us < ACCEPT_PAUSE_US)
        world_fail("accept is tried again %llu us after it has failed for lack of something",
                   (unsigned long long)(world_now() - listening->tried_us));
    listening->tried_us = world_now();
}

static void listening_failed(struct listening *listening, int error)
{
    listening->failed = error;
    listening->failures++;
    listenings.last_error = error;
    listenings.last_failed = listening;
}

int net_accept(int fd, union net_peer *peer)
{
    kernel_enter();
    struct listening *listening = files_object(fd, FILE_LISTENING);
    listening->starved = 0;
    listening_tried(listening);
    memset(peer, 0, sizeof *peer);
    if (listening->count == 0 || world_fault(FAULT_SPURIOUS, ACCEPT_EMPTY)) {
        listening->failed = 0;
        listening->failures = 0;
        return -EAGAIN;
    }
    int rc = listening_try(listening, peer);
    world_trace("accept: %s %d", rc < 0 ? strerror(-rc) : "descriptor", rc < 0 ? 0 : rc);
    listening->failed = 0;
    if (rc < 0)
        listening_failed(listening, -rc);
    else
        listening->failures = 0;
    return rc;
}
