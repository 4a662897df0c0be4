#include "clients.h"

#include "base/container_of.h"
#include "fates.h"
#include "habits.h"
#include "headers.h"
#include "listening.h"
#include "memory.h"
#include "plan.h"
#include "world.h"

#include <errno.h>
#include <string.h>

enum {
    CLIENT_TRIES = 8,           /* to connect */
    CLIENT_BACKOFF_US = 300000, /* the longest wait of a client that cannot get on */
    CLIENT_SEGMENT = 1448,      /* bytes that may arrive at once, now and then */
    CLIENT_RESET_US = 2000000,  /* the latest moment of a reset */
    CLIENTS_SERIALS = 65536,
};

struct client {
    struct socket socket;
    struct habits habits;
    struct header header;
    struct chance chance;
    unsigned number;
    uint64_t backoff_us;
    unsigned tries;
    unsigned reset_serial; /* the connection that it is going to reset */
    bool connected;
    bool gone; /* it has closed its socket */
    bool write_due, take_due, network_due;
};

static struct {
    struct client *list;
    unsigned count;
    unsigned serials;
    unsigned short by_serial[CLIENTS_SERIALS];
} clients;

static uint64_t client_jitter(struct client *client, uint64_t mean_us)
{
    return 1 + chance_below(&client->chance, 2 * mean_us);
}

static void client_after(struct client *client, uint64_t us, void (*happen)(void *arg))
{
    world_at(world_now() + us, happen, client);
}

/* ---- what the daemon sends ---- */

static void on_take(void *arg);
static void on_network(void *arg);

static void client_network_soon(struct client *client)
{
    const struct socket *socket = &client->socket;
    if (client->network_due || (socket_unacked(socket) == 0 && !socket->shut && !socket->closed))
        return;
    client->network_due = true;
    client_after(client, client_jitter(client, client->habits.network_us), on_network);
}

static void client_take_soon(struct client *client)
{
    const struct socket *socket = &client->socket;
    if (client->take_due || !client->habits.reads || socket->acked == socket->taken)
        return;
    client->take_due = true;
    client_after(client, client_jitter(client, client->habits.take_us), on_take);
}

static void on_connect(void *arg);

/* The connection is over for both: it may come again. */
static void client_return(struct client *client)
{
    if (!client->connected)
        return;
    client->connected = false;
    if (client->habits.returns == 0)
        return;
    client->habits.returns--;
    client_after(client, client_jitter(client, client->habits.gap_us), on_connect);
}

static void client_finish(struct client *client)
{
    if (client->socket.fin || client->socket.broken != 0)
        return;
    world_trace("client %u ends its stream", client->number);
    socket_finish(&client->socket);
}

static void client_sees_end(struct client *client)
{
    const struct socket *socket = &client->socket;
    bool ends = socket->shut || socket->closed;
    if (!ends || socket_unacked(socket) > 0 || socket->acked != socket->taken)
        return;
    if (client->habits.answers_end)
        client_finish(client);
    if (socket->closed)
        client_return(client);
}

/* A closed socket answers bytes by a reset. */
static void client_rejects(struct client *client)
{
    socket_break(&client->socket, chance_of(&client->chance, 5000) ? ECONNRESET : EPIPE);
}

static void on_network(void *arg)
{
    struct client *client = arg;
    struct socket *socket = &client->socket;
    client->network_due = false;
    if (socket->broken == 0 && client->gone && socket_unacked(socket) > 0)
        client_rejects(client);
    if (socket->broken != 0) {
        if (socket->closed)
            client_return(client);
        return;
    }
    bool segment = chance_of(&client->chance, 5000);
    uint64_t n = socket_deliver(socket, segment ? CLIENT_SEGMENT : UINT64_MAX);
    client_take_soon(client);
    client_sees_end(client);
    if (n > 0 && socket_unacked(socket) > 0)
        client_network_soon(client);
}

static void on_take(void *arg)
{
    struct client *client = arg;
    struct socket *socket = &client->socket;
    uint64_t n = socket->acked - socket->taken;
    client->take_due = false;
    if (n > client->habits.take)
        n = chance_between(&client->chance, 1, client->habits.take);
    socket->taken += n;
    if (n > 0)
        world_trace("client %u reads %llu", client->number, (unsigned long long)n);
    client_network_soon(client);
    client_take_soon(client);
    client_sees_end(client);
}

static void on_stir(struct socket *socket)
{
    client_network_soon(container_of(socket, struct client, socket));
}

/* ---- what it sends ---- */

static void on_write(void *arg);

static void client_write_soon(struct client *client, bool gets_on)
{
    uint64_t us = client->habits.gap_us;
    if (gets_on)
        client->backoff_us = us;
    else if (client->backoff_us < CLIENT_BACKOFF_US)
        client->backoff_us = 2 * client->backoff_us + 1;
    client->write_due = true;
    if (client->habits.steady && gets_on)
        client_after(client, us > 0 ? us : 1, on_write);
    else
        client_after(client, client_jitter(client, client->backoff_us), on_write);
}

static bool client_is_answered(const struct client *client)
{
    const struct socket *socket = &client->socket;
    return socket_unread(socket) == 0 && socket_owed(socket) == 0 &&
           (socket->taken == socket->sent || !client->habits.reads);
}

static void client_close(struct client *client)
{
    const struct socket *socket = &client->socket;
    client->gone = true;
    if (socket->acked > socket->taken || socket_unacked(socket) > 0)
        client_rejects(client);
    else
        client_finish(client);
}

/* How many bytes of the header it sends here, and how many bytes in all. */
static uint64_t client_head(const struct client *client)
{
    return client->socket.header != NULL ? client->header.sent : 0;
}

static bool client_is_cut(const struct client *client)
{
    return client->socket.header != NULL && client->header.cut;
}

static uint64_t client_total(const struct client *client)
{
    return client_head(client) + (client_is_cut(client) ? 0 : client->habits.total);
}

static enum client_ending client_ending(const struct client *client)
{
    enum client_ending ending = client->habits.ending;
    if (!client_is_cut(client))
        return ending;
    return !client->header.ends ? ENDS_NEVER : ending == ENDS_NEVER ? ENDS_FIN : ending;
}

/* It has sent everything. */
static void client_ends(struct client *client)
{
    bool waits = client->habits.pingpong && !client_is_answered(client);
    switch (client_ending(client)) {
    case ENDS_FIN:
        if (waits)
            client_write_soon(client, false);
        else
            client_finish(client);
        break;
    case ENDS_CLOSE:
        client_close(client);
        break;
    default:
        break;
    }
}

static uint64_t client_next_message(struct client *client)
{
    const struct habits *habits = &client->habits;
    uint64_t n = habits->message;
    uint64_t written = client->socket.written;
    uint64_t left = client_total(client) - written;
    if (!habits->exact && chance_of(&client->chance, 5000))
        n = chance_between(&client->chance, 1, n);
    if (written < client_head(client)) {
        bool joined = client->header.pieces == PIECES_JOINED;
        n = header_next(&client->header, written, &client->chance) + (joined ? n : 0);
    }
    n = n < left ? n : left;
    uint64_t room = socket_room(&client->socket);
    return n < room ? n : room;
}

static void client_writes(struct client *client)
{
    struct socket *socket = &client->socket;
    uint64_t n = client_next_message(client);
    if (client->habits.pingpong && !client_is_answered(client))
        n = 0;
    if (n > 0 && client->habits.urgent && !socket->urgent && chance_of(&client->chance, 2000)) {
        socket->urgent = true;
        socket->urgent_at = socket->written + chance_below(&client->chance, n);
    }
    if (n > 0) {
        world_trace("client %u sends %llu", client->number, (unsigned long long)n);
        socket_arrive(socket, n);
    }
    client_write_soon(client, n > 0);
}

static void on_write(void *arg)
{
    struct client *client = arg;
    const struct socket *socket = &client->socket;
    client->write_due = false;
    if (!client->connected || client->gone || socket->fin || socket->broken != 0 || socket->closed)
        return;
    if (socket->written < client_total(client))
        client_writes(client);
    else
        client_ends(client);
}

static void on_reset(void *arg)
{
    struct client *client = arg;
    if (client->connected && client->reset_serial == client->socket.serial && !client->gone)
        socket_break(&client->socket, chance_of(&client->chance, 8000) ? ECONNRESET : ETIMEDOUT);
}

/* ---- connecting ---- */

static void client_open_socket(struct client *client)
{
    const struct habits *habits = &client->habits;
    struct socket *socket = &client->socket;
    unsigned serial = ++clients.serials;
    if (serial >= CLIENTS_SERIALS)
        world_fail("the history has too many connections");
    clients.by_serial[serial] = (unsigned short)client->number;
    socket_init(socket, client->number, serial);
    socket->stir = on_stir;
    socket->receive_room = habits->receive_room;
    socket->send_room = habits->send_room;
    socket->window = habits->window;
    socket->keeps_unread = habits->keeps_unread;
    socket->unspliceable = habits->unspliceable;
    client->gone = false;
    client->backoff_us = habits->gap_us;
}

static void client_connected(struct client *client)
{
    client->connected = true;
    world_trace("client %u connects, connection %u", client->number, client->socket.serial);
    if (!client->write_due)
        client_write_soon(client, true);
    if (client->habits.ending != ENDS_RESET || !world_has(FAULT_RESET))
        return;
    client->reset_serial = client->socket.serial;
    client_after(client, chance_below(&client->chance, CLIENT_RESET_US), on_reset);
}

static void on_connect(void *arg)
{
    struct client *client = arg;
    struct listening *listening = listening_choose(chance_next(&client->chance));
    if (listening != NULL && listening->count < listening->backlog) {
        client_open_socket(client);
        if (!listening_connect(listening, &client->socket))
            world_fail("a connection does not fit into a backlog that has room");
        fates_connected(&client->socket, &client->header);
        client_connected(client);
    } else if (++client->tries < CLIENT_TRIES) {
        client_after(client, client_jitter(client, CLIENT_BACKOFF_US), on_connect);
    }
}

/* A connection that another process has accepted, and passes to the daemon. */
static void client_pass(struct client *client)
{
    client_open_socket(client);
    client->socket.at = listening_elsewhere(&plan_get()->addrs[0].addr);
    fates_connected(&client->socket, &client->header);
    socket_pass(&client->socket);
    client_connected(client);
}

static bool clients_drop(const struct scenario_limits *limits, unsigned number)
{
    return limits != NULL && number < SCENARIO_CLIENTS_MAX &&
           (limits->dropped[number / 64] >> number % 64 & 1) != 0;
}

void clients_begin(const struct scenario_limits *limits)
{
    const struct plan *plan = plan_get();
    clients.count = plan->clients;
    clients.serials = 0;
    clients.list = memory_own(plan->clients, sizeof *clients.list);
    for (unsigned i = 0; i < plan->clients; i++) {
        struct client *client = &clients.list[i];
        client->number = i;
        client->chance = world_chance(CHANCE_CLIENT + i);
        habits_draw(&client->habits, i, &client->chance);
        if (plan->proxied_hosts > 0)
            header_draw(&client->header, i);
        if (i < plan->connected)
            client_pass(client);
        else if (!clients_drop(limits, i))
            world_at(client->habits.start_us, on_connect, client);
    }
}

void clients_end(void)
{
    memory_disown(clients.list);
    clients.list = NULL;
    clients.count = 0;
}

struct socket *clients_socket(unsigned serial)
{
    if (serial == 0 || serial > clients.serials)
        return NULL;
    struct socket *socket = &clients.list[clients.by_serial[serial]].socket;
    return socket->serial == serial ? socket : NULL;
}

unsigned clients_connections(void)
{
    return clients.serials;
}
