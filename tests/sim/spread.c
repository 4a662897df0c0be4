#include "spread.h"

#include "fibers.h"
#include "lives.h"
#include "plan.h"
#include "world.h"

#include <string.h>

static struct {
    unsigned loads[FIBERS_MAX];  /* how many connections each worker has */
    unsigned before[FIBERS_MAX]; /* the same when the connection below was accepted */
    struct socket *accepted;     /* a connection that no worker has yet, or NULL */
    bool unsure;                 /* connections of a predecessor are on their way to workers */
} spread;

void spread_begin(void)
{
    memset(&spread, 0, sizeof spread);
}

void spread_accepted(struct socket *socket)
{
    if (spread.accepted != NULL)
        world_fail("client %u was accepted, and no worker is told", spread.accepted->client);
    spread.accepted = socket;
    spread.unsure = sockets_orphaned();
    memcpy(spread.before, spread.loads, sizeof spread.before);
}

/*
 * Connections may end between the choice of a worker and now, but none is added. So the worker had
 * at least what it has now, and each other had at most what it had when accept returned. A process
 * that ends may end between the close of a connection and its count, and then the others go on with
 * that count for some steps.
 */
static void spread_check(const struct socket *socket, unsigned worker)
{
    for (unsigned i = 0; i < plan_get()->config.workers && !spread.unsure && !life_ends(); i++)
        if (spread.before[i] < spread.loads[worker])
            world_fail("worker %u has %u connections and gets client %u, and worker %u has %u",
                       worker, spread.loads[worker], socket->client, i, spread.before[i]);
}

static void spread_give(struct socket *socket, unsigned worker)
{
    if (socket == spread.accepted) {
        spread_check(socket, worker);
        spread.accepted = NULL;
    }
    spread.loads[worker]++;
    socket->worker = worker;
    socket->given = true;
}

/* The worker may be quicker: it may have served and closed the connection before its bell rings. */
void spread_rung(unsigned worker)
{
    if (fiber_number() == 0 && spread.accepted != NULL)
        spread_give(spread.accepted, worker);
}

void spread_served(struct socket *socket)
{
    if (!socket->given)
        spread_give(socket, fiber_number());
    if (socket->worker != fiber_number())
        world_fail("client %u was given to worker %u, and worker %u serves it", socket->client,
                   socket->worker, fiber_number());
}

void spread_closed(const struct socket *socket)
{
    if (socket->given)
        spread.loads[socket->worker]--;
    else if (socket == spread.accepted)
        spread.accepted = NULL;
}
