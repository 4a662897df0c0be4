#include "fates.h"

#include "headers.h"
#include "invariants.h"
#include "listening.h"
#include "memory.h"
#include "plan.h"
#include "process.h"
#include "stream/conn.h"
#include "stream/ledger.h"
#include "stream/proxy.h"
#include "world.h"

#include <errno.h>
#include <string.h>

/* As in deadlines.c. */
enum { FATES_CLOCK_US = 1000, FATES_LATE_US = CONNS_PERIOD_MS * 1000 + 300000 };

static struct {
    uint64_t sure[PROXY_RESULTS];
    uint64_t maybe[PROXY_RESULTS]; /* counted by a process that ended before its entry said so */
} fates;

void fates_begin(void)
{
    memset(&fates, 0, sizeof fates);
}

void fates_connected(struct socket *socket, const struct header *header)
{
    socket->headed = listening_is_proxied(socket);
    if (socket->headed || (header->as_data && plan_get()->proxied_hosts > 0))
        socket->header = header;
}

bool fates_awaits(const struct socket *socket)
{
    return socket->headed && !socket->passed;
}

static bool fates_is_good(const struct socket *socket)
{
    enum proxy_header_kind kind = socket->header->kind;
    return kind == PROXY_HEADER_CLIENT || kind == PROXY_HEADER_ANONYMOUS;
}

/* What the daemon counts when it knows what the header is. */
static enum proxy_result fates_result(const struct socket *socket)
{
    if (!fates_is_good(socket))
        return PROXY_BAD;
    return socket->header->kind == PROXY_HEADER_CLIENT ? PROXY_CLIENT : PROXY_ANONYMOUS;
}

/* Whether so much has been received that the daemon can know what it is. */
static bool fates_decided(const struct socket *socket)
{
    return socket->received >= socket->header->decided;
}

uint64_t fates_front(const struct socket *socket)
{
    return socket->headed ? socket->header->len : 0;
}

uint64_t fates_data(const struct socket *socket)
{
    uint64_t front = fates_front(socket);
    return socket->received > front ? socket->received - front : 0;
}

/* ---- its time ---- */

static uint64_t fates_timeout_us(void)
{
    return (uint64_t)plan_get()->config.proxies.timeout_ms * 1000;
}

/* Whether the header had come before its time was up, and a loop could have seen that by now. */
static bool fates_came_in_time(const struct socket *socket)
{
    return socket->written >= socket->header->decided && !world_has(FAULT_WATCHES) &&
           !world_has(FAULT_ROUNDS) &&
           socket->moved_us + FATES_CLOCK_US < socket->header_us + fates_timeout_us();
}

/* By the time at which it was accepted, or at which the process has ended that served it. */
static bool fates_is_late(const struct socket *socket)
{
    return fates_timeout_us() > 0 &&
           world_now() + FATES_CLOCK_US >= socket->header_us + fates_timeout_us();
}

void fates_served(struct socket *socket)
{
    socket->header_served_us = world_now();
}

/* ---- its bytes ---- */

bool fates_received(const struct socket *socket, uint64_t offset, uint64_t bytes, bool piped)
{
    if (!socket->headed)
        return false;
    if (fates_is_good(socket) && offset >= socket->header->len) {
        if (!socket->passed)
            world_fail("client %u has sent its header, and bytes behind it are received before its "
                       "end is noted",
                       socket->client);
        return false;
    }
    if (piped)
        world_fail("the header of client %u goes into a pipe", socket->client);
    if (fates_is_good(socket) && offset + bytes > socket->header->len)
        world_fail("%llu bytes behind the header of client %u are received with it",
                   (unsigned long long)(offset + bytes - socket->header->len), socket->client);
    return true;
}

/* ---- its end ---- */

static void fates_count(enum proxy_result result)
{
    fates.sure[result]++;
    fates_check_ledger();
}

void fates_passed(struct socket *socket)
{
    if (!fates_is_good(socket) || socket->received != socket->header->len)
        world_fail("%llu bytes of client %u are received, and count for a header",
                   (unsigned long long)socket->received, socket->client);
    socket->passed = true;
    socket->named = socket->header->kind == PROXY_HEADER_CLIENT;
    fates_count(fates_result(socket));
}

/* Whether the end of the stream has been told in the middle of the header. */
static bool fates_has_ended(const struct socket *socket)
{
    return socket->reason == REASON_ERROR && socket->error == 0 && socket->received > 0;
}

static bool fates_is_bad(const struct socket *socket)
{
    return fates_has_ended(socket) || (!fates_is_good(socket) && fates_decided(socket));
}

static void fates_end(struct socket *socket, enum proxy_result result, int error)
{
    socket->reason = REASON_ERROR;
    socket->error = error;
    fates_count(result);
}

void fates_discarded(struct socket *socket)
{
    if (!fates_is_bad(socket) && fates_came_in_time(socket))
        world_fail("client %u is reset, and its header has come in time", socket->client);
    if (fates_is_bad(socket))
        fates_end(socket, PROXY_BAD, -EPROTO);
    else if (fates_is_late(socket))
        fates_end(socket, PROXY_LATE, -ETIMEDOUT);
    else
        world_fail("client %u is reset %llu ms after the beginning, with %llu bytes of its header",
                   socket->client, (unsigned long long)(world_now() - socket->header_us) / 1000,
                   (unsigned long long)socket->received);
}

void fates_closed(const struct socket *socket)
{
    if (fates_awaits(socket) && socket->served && !socket->shut && fates_is_bad(socket) &&
        !socket->discards)
        world_fail("client %u is closed for its header, and not reset", socket->client);
}

/* What the process may have counted without a note of it. */
static bool fates_may_have(const struct socket *socket, unsigned result)
{
    if (!fates_awaits(socket) || socket->shut || socket->discards)
        return false;
    if (result == PROXY_LATE)
        return fates_is_late(socket);
    return result == PROXY_BAD ? fates_is_bad(socket)
                               : fates_decided(socket) && fates_result(socket) == result;
}

/* An entry that is left says that the daemon had counted. */
void fates_outlived(struct socket *socket)
{
    socket->named = false;
    if (!fates_awaits(socket))
        return;
    if (socket->left && !socket->discards && fates_is_bad(socket))
        fates_end(socket, PROXY_BAD, -EPROTO);
    for (unsigned result = 0; result < PROXY_RESULTS && !socket->left; result++)
        fates.maybe[result] += fates_may_have(socket, result);
    if (socket->left && socket->reason == REASON_NONE && fates_is_late(socket)) {
        fates.maybe[PROXY_LATE]++;
        socket->reason = REASON_ERROR;
        socket->error = -ETIMEDOUT;
    }
    socket->header_us = world_now();
}

void fates_before_sleep(const struct socket *socket)
{
    if (!fates_awaits(socket) || socket->shut)
        return;
    if (fates_decided(socket))
        world_fail("the header of client %u is known, and the daemon waits", socket->client);
    if (fates_timeout_us() > 0 &&
        deadlines_passed(socket->header_served_us) > fates_timeout_us() + FATES_LATE_US)
        world_fail("client %u has not sent its header for %llu ms, and is still there",
                   socket->client,
                   (unsigned long long)(world_now() - socket->header_served_us) / 1000);
}

/* ---- what is said of it ---- */

void fates_named(const struct socket *socket, const char *client)
{
    if (socket->named && client == NULL)
        world_fail("the log does not name client %u, whose proxy has", socket->client);
    if (client != NULL && (!socket->named || strcmp(client, socket->header->client) != 0))
        world_fail("the log calls client %u %s", socket->client, client);
}

static const char *fates_reason(const struct socket *socket)
{
    static const char *const reasons[] = {
        [PROXY_HEADER_NONE] = "there is none",
        [PROXY_HEADER_LONG] = "it is too long",
        [PROXY_HEADER_PROTOCOL] = "neither TCP4 nor TCP6 nor UNKNOWN",
        [PROXY_HEADER_ADDRESS] = "malformed address or port",
        [PROXY_HEADER_LINE] = "the line does not end with CR and LF",
        [PROXY_HEADER_VERSION] = "unknown version",
        [PROXY_HEADER_COMMAND] = "unknown command",
        [PROXY_HEADER_FAMILY] = "unknown address family or transport",
        [PROXY_HEADER_SHORT] = "it is too short for its addresses",
        [PROXY_HEADER_TLV] = "a TLV is longer than what is left",
        [PROXY_HEADER_CHECKSUM] = "wrong checksum",
    };
    if (fates_has_ended(socket))
        return "the connection ended before it was whole";
    return fates_is_bad(socket)    ? reasons[socket->header->kind]
           : fates_is_late(socket) ? "it was not whole in time"
                                   : "nothing";
}

void fates_complained(const struct socket *socket, const char *reason)
{
    if (!fates_awaits(socket) || strcmp(reason, fates_reason(socket)) != 0)
        world_fail("client %u is reset for \"%s\", and its header shows \"%s\"", socket->client,
                   reason, fates_awaits(socket) ? fates_reason(socket) : "no fault");
}

uint64_t fates_sure(unsigned result)
{
    return fates.sure[result];
}

uint64_t fates_most(unsigned result)
{
    uint64_t most = fates.sure[result] + fates.maybe[result];
    for (struct list *link = sockets_open()->next; link != sockets_open(); link = link->next)
        most += fates_may_have(container_of(link, struct socket, link), result);
    return most;
}

void fates_check(const uint64_t *counts)
{
    for (unsigned result = 0; result < PROXY_RESULTS; result++)
        if (counts[result] != fates.sure[result] &&
            (counts[result] < fates.sure[result] || counts[result] > fates_most(result)))
            world_fail("%llu headers of result %u are counted, and %llu to %llu would be right",
                       (unsigned long long)counts[result], result,
                       (unsigned long long)fates.sure[result],
                       (unsigned long long)fates_most(result));
}

void fates_check_ledger(void)
{
    struct ledger_header *header = process_file_head();
    uint64_t counts[PROXY_RESULTS];
    if (header == NULL)
        return;
    for (unsigned result = 0; result < PROXY_RESULTS; result++)
        counts[result] = atomic_load(&header->proxied.count[result]);
    fates_check(counts);
}
