/*
 * Deadlines: none may be early, by the time at which the last byte moved at the kernel, and none
 * later than stream/reaper.h promises, the time apart in which the daemon did not run.
 */
#include "invariants.h"

#include "fates.h"
#include "listening.h"
#include "memory.h"
#include "plan.h"
#include "stream/reaper.h"
#include "world.h"

#include <errno.h>
#include <string.h>

enum {
    CLOCK_US = 1000,   /* the loop counts whole milliseconds */
    SLACK_US = 300000, /* beside stalls: turns, retries, ticks */
    LATE_US = 2 * CONNS_PERIOD_MS * 1000,
};

static struct {
    uint64_t stop_us; /* when the first signal to stop was taken; 0: it was not */
    bool twice;
    uint64_t twice_us;
} deadlines;

void deadlines_begin(void)
{
    memset(&deadlines, 0, sizeof deadlines);
}

void deadlines_stopped(void)
{
    if (deadlines.stop_us != 0) {
        deadlines.twice = true;
        deadlines.twice_us = world_now();
        return;
    }
    deadlines.stop_us = world_now();
}

uint64_t deadlines_stop_us(void)
{
    return deadlines.stop_us;
}

bool deadlines_stopped_twice(void)
{
    return deadlines.twice;
}

uint64_t deadlines_passed(uint64_t since_us)
{
    uint64_t ran_us = world_last_stall_end();
    uint64_t from_us = since_us > ran_us ? since_us : ran_us;
    return world_now() > from_us ? world_now() - from_us : 0;
}

static uint64_t deadlines_drain_us(void)
{
    return (uint64_t)plan_get()->config.drain_ms * 1000;
}

static uint64_t deadlines_idle_us(void)
{
    return (uint64_t)plan_get()->config.idle_ms * 1000;
}

/* Any byte of a Unix socket counts as one that the client takes (conn_is_stuck()). */
static uint64_t deadlines_stuck_since(const struct socket *socket)
{
    bool local = socket->at->addr.sa.sa_family == AF_UNIX;
    return local && socket->active_us > socket->stuck_us ? socket->active_us : socket->stuck_us;
}

void deadlines_looked(struct socket *socket, bool ready)
{
    socket->looked_us = world_now();
    socket->looked_active_us = socket->active_us;
    socket->looked_stuck_us = deadlines_stuck_since(socket);
    socket->looked_ready = ready;
}

/*
 * Whether the last look has found the socket idle, by what the kernel knew then. Bytes of the
 * client do not count while an answer is owed: the daemon does not receive them then, and the
 * client must take its answer first. When no answer is owed, such bytes make the socket ready.
 */
static bool deadlines_is_idle(const struct socket *socket)
{
    return deadlines_idle_us() > 0 && socket->looked_us != 0 && !socket->looked_ready &&
           socket->looked_us - socket->looked_active_us + CLOCK_US >= deadlines_idle_us();
}

/* Whether the last look has found that its client takes nothing. */
static bool deadlines_is_stuck(const struct socket *socket)
{
    uint64_t send_us = (uint64_t)plan_get()->config.send_ms * 1000;
    return send_us > 0 && socket->looked_us != 0 &&
           socket->looked_us - socket->looked_stuck_us + CLOCK_US >= send_us;
}

static bool deadlines_is_drained(void)
{
    return deadlines.stop_us != 0 &&
           world_now() + CLOCK_US >= deadlines.stop_us + deadlines_drain_us();
}

/*
 * The successor dates the socket by what the kernel knows, or by the time at which it begins. It
 * ends again what its predecessor was ending, which had looked at it before it noted that. What it
 * was about to reset is left by its entry first, and no call has told the kernel why.
 */
void deadlines_outlived(struct socket *socket)
{
    bool idle = deadlines_is_idle(socket);
    if (socket->ending && socket->reason == REASON_NONE && !idle)
        world_fail("the entry of client %u says that it ends, and it is not idle", socket->client);
    if (socket->ending && socket->reason == REASON_NONE)
        socket->reason = REASON_IDLE;
    if (socket->left && socket->reason == REASON_NONE && deadlines_is_stuck(socket))
        socket->reason = REASON_STUCK;
    /* Of TCP the kernel knows when a byte moved; whether the peer has taken what it holds, a
     * successor sees at its second look. */
    if (socket->at->addr.sa.sa_family == AF_UNIX || socket_unacked(socket) > 0)
        socket->accepted_us = world_now();
    socket->stuck_us = socket->shut_us = world_now();
    socket->looked_us = 0;
    socket->looked_begun = socket->looked_ready = false;
}

void deadlines_shut(struct socket *socket)
{
    if (socket->ending) {
        socket->shut_us = world_now();
        return;
    }
    bool idle = deadlines_is_idle(socket);
    bool drained = deadlines_is_drained();
    if (!idle && !drained)
        world_fail("client %u is ended, and is neither idle (a byte moved %llu ms ago, %s) nor "
                   "over the deadline",
                   socket->client, (unsigned long long)(world_now() - socket->active_us) / 1000,
                   socket->looked_us == 0 ? "nobody has looked"
                   : socket->looked_ready ? "it is ready"
                                          : "it is not ready");
    if (socket->reason == REASON_NONE)
        socket->reason = idle && drained ? REASON_EITHER : idle ? REASON_IDLE : REASON_DRAIN;
    socket->shut_us = world_now();
}

void deadlines_stuck(struct socket *socket)
{
    if (!deadlines_is_stuck(socket))
        world_fail("client %u is reset, and had taken a byte %llu ms before", socket->client,
                   (unsigned long long)(socket->looked_us - socket->looked_stuck_us) / 1000);
    if (socket->reason == REASON_NONE)
        socket->reason = REASON_STUCK;
}

void deadlines_lingered(struct socket *socket)
{
    uint64_t lingered = world_now() - socket->shut_us;
    if (socket->fin || socket->broken != 0 || deadlines.twice ||
        lingered + CLOCK_US >= REAPER_LINGER_MS * 1000)
        return;
    if (!socket->ending || !process_lacked_buffer())
        world_fail("client %u is given %llu ms to answer our end", socket->client,
                   (unsigned long long)lingered / 1000);
    socket->reason = REASON_ERROR; /* the successor has not got the buffer that its entry names */
    socket->error = -ENOMEM;
}

/*
 * A peer that does nothing is found at the second look, a Unix socket's at the third (conn.h). A
 * successor may look for the first time before the task of the connection has run.
 */
static uint64_t deadlines_latest(const struct socket *socket)
{
    bool local = socket->at->addr.sa.sa_family == AF_UNIX;
    unsigned looks = (local ? 3U : 2U) + (socket->survivor ? 1 : 0);
    return looks * (deadlines_idle_us() + LATE_US) + SLACK_US;
}

/* Looks lie a quarter of the time apart. One more finds the bytes, and one may be left out. */
static void deadlines_takes_nothing(const struct socket *socket)
{
    uint64_t send_us = (uint64_t)plan_get()->config.send_ms * 1000;
    uint64_t stuck = deadlines_passed(deadlines_stuck_since(socket));
    if (send_us > 0 && socket_unacked(socket) > 0 && socket->broken == 0 &&
        stuck > send_us + 2 * (send_us / CONN_LOOKS) + SLACK_US)
        world_fail("client %u takes no byte for %llu ms, and is still there", socket->client,
                   (unsigned long long)stuck / 1000);
}

static void deadlines_socket(const struct socket *socket)
{
    bool moved = socket->moved_us > socket->accepted_us;
    uint64_t quiet = deadlines_passed(moved ? socket->moved_us : socket->accepted_us);
    uint64_t lingers = deadlines_passed(socket->shut_us);
    if (deadlines.twice && deadlines_passed(deadlines.twice_us) > SLACK_US)
        world_fail("a second signal has come, and client %u is still there", socket->client);
    if (socket->shut && lingers > REAPER_LINGER_MS * 1000 + SLACK_US)
        world_fail("client %u does not answer our end for %llu ms, and is still there",
                   socket->client, (unsigned long long)lingers / 1000);
    if (socket->shut)
        return;
    if (deadlines_idle_us() > 0 && !fates_awaits(socket) && !world_has(FAULT_WATCHES) &&
        quiet > deadlines_latest(socket))
        world_fail("client %u is idle for %llu ms, and is still there", socket->client,
                   (unsigned long long)quiet / 1000);
    deadlines_takes_nothing(socket);
    if (deadlines.stop_us != 0 &&
        deadlines_passed(deadlines.stop_us) > deadlines_drain_us() + SLACK_US)
        world_fail("the deadline of the drain has passed, and client %u is still there",
                   socket->client);
}

void deadlines_before_sleep(void)
{
    for (struct list *link = sockets_open()->next; link != sockets_open(); link = link->next)
        deadlines_socket(container_of(link, struct socket, link));
}
