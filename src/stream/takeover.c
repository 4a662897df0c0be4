#include "stream/takeover.h"

#include "os/counts.h"
#include "os/descriptors.h"
#include "os/watches.h"
#include "stream/proxy_header.h"
#include "stream/remains.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { TAKEOVER_FIRST = 3 }; /* descriptors below are the standard ones */

/* What the entry says, if there is one. Returns 0 or -EPROTO. */
static int takeover_read(const struct takeover *takeover, int fd, struct ledger_state *state)
{
    *state = (struct ledger_state){.kind = LEDGER_NOTHING};
    int rc = ledger_read(takeover->ledger, (uint32_t)fd, state);
    return rc == -EBADF ? 0 : rc;
}

/* ---- listeners ---- */

/* Whether the descriptor is none of ours, whatever an old or damaged entry says. */
static bool takeover_is_no_listener(int kind)
{
    return kind == NET_CONNECTED || kind == -EBADF || kind == -ENOTSOCK || kind == -ENOTCONN ||
           kind == -EPROTONOSUPPORT;
}

/*
 * Returns 0, or a negative errno if a listening socket cannot be looked at: without that socket the
 * process would go on, and no client would reach it.
 */
static int takeover_find_listener(struct takeover *takeover, int fd)
{
    struct takeover_listener *listener = &takeover->listeners[takeover->listening];
    if (takeover_read(takeover, fd, &listener->noted) < 0 || listener->noted.served ||
        listener->noted.kind != LEDGER_LISTENER ||
        (listener->noted.end != LEDGER_OPEN && listener->noted.end != LEDGER_ASIDE) ||
        listener->noted.service >= takeover->services.count)
        return 0;
    listener->fd = fd;
    int rc = net_inspect(fd);
    listener->datagram = rc == NET_DATAGRAM;
    if (takeover_is_no_listener(rc))
        return 0;
    if (rc >= 0 && listener->datagram != (listener->noted.len == LEDGER_DATAGRAM))
        return 0; /* an old entry, whose number is another socket's now */
    if (rc >= 0)
        rc = net_local(fd, &listener->bound);
    takeover->listening += rc == 0;
    return rc;
}

/*
 * The listener that may have accepted the socket, or NULL. A listener itself was not accepted,
 * although another one may have its address (SO_REUSEPORT). What one that is no service's accepts
 * does not outlive its process.
 */
static const struct takeover_listener *takeover_listener_of(const struct takeover *takeover, int fd)
{
    const struct takeover_listener *found = NULL;
    union net_addr own;
    if (net_local(fd, &own) < 0)
        return NULL;
    for (size_t i = 0; i < takeover->listening; i++) {
        const struct takeover_listener *listener = &takeover->listeners[i];
        if (listener->fd == fd)
            return NULL;
        if (found == NULL && listener->noted.end == LEDGER_OPEN && !listener->datagram &&
            net_accepts(&listener->bound, &own))
            found = listener;
    }
    return found;
}

/* ---- who was being served at a crash ---- */

/* After any other end, nobody is compared with the suspects of before. */
static void takeover_begin_suspects(struct takeover *takeover)
{
    if (takeover->blames)
        memcpy(takeover->before, takeover->ledger->header->suspects, sizeof takeover->before);
}

/* What the crash before has left is overwritten last, because this process may crash, too. */
static void takeover_end_suspects(const struct takeover *takeover)
{
    struct ledger_suspect *noted = takeover->ledger->header->suspects;
    for (size_t i = takeover->suspects; i < LEDGER_SUSPECTS_MAX; i++)
        noted[i] = (struct ledger_suspect){.fd = 0};
}

static bool takeover_was_served(const struct takeover *takeover, uint32_t fd, uint32_t in)
{
    for (size_t i = 0; i < LEDGER_SUSPECTS_MAX; i++)
        if (takeover->before[i].fd == fd && takeover->before[i].in == in)
            return true;
    return false;
}

/*
 * Returns 0, or TAKEOVER_BLAMED. A successor notes the answer of a suspect before it sends that, so
 * at the second crash the answer may be under way; but if a byte of it has gone, all went well.
 */
static int takeover_suspect(struct takeover *takeover, int fd, const struct ledger_state *state,
                            const struct remains_counts *counts, const struct remains *remains)
{
    bool served = remains->unanswered > 0;
    bool unsent = served || (remains->left > 0 && remains->left == state->len);
    if (!takeover->blames || !counts->known || !unsent)
        return 0;
    if (takeover_was_served(takeover, (uint32_t)fd, counts->in))
        return TAKEOVER_BLAMED;
    if (served && takeover->suspects < LEDGER_SUSPECTS_MAX)
        takeover->ledger->header->suspects[takeover->suspects++] =
            (struct ledger_suspect){.fd = (uint32_t)fd, .in = counts->in};
    return 0;
}

/* ---- connections ---- */

static void takeover_abandon(struct takeover *takeover, int fd)
{
    if ((uint32_t)fd < takeover->ledger->layout.entries)
        ledger_abandon(takeover->ledger, fd);
}

static void takeover_cut(struct takeover *takeover, int fd, const union net_peer *peer, int error)
{
    takeover->on_cut(takeover, peer, error);
    takeover_abandon(takeover, fd);
    net_close(fd);
}

/* An entry serves the descriptor, which cannot be gone on with, or is none of ours. */
static void takeover_lose(struct takeover *takeover, int fd, int error)
{
    union net_peer peer;
    int rc = net_remote(fd, &peer);
    if (rc == -EBADF || rc == -ENOTSOCK)
        takeover_abandon(takeover, fd);
    else
        takeover_cut(takeover, fd, &peer, rc < 0 ? rc : error);
}

static void takeover_add(struct takeover *takeover, const struct accepted *accepted)
{
    takeover->list[takeover->count++] = *accepted;
}

/* Of a socket that nobody counts, counts->known stays false. Returns 0 or a negative errno. */
static int takeover_count(const struct takeover *takeover, int fd, const struct ledger_state *state,
                          struct remains_counts *counts)
{
    struct counts kernel = {.in = 0};
    int rc = counts_get(fd, &kernel);
    if (rc < 0 && rc != -EOPNOTSUPP)
        return rc;
    *counts = (struct remains_counts){
        .known = rc == 0, .in = (uint32_t)kernel.in, .out = (uint32_t)kernel.out};
    if (state->kind != LEDGER_PIPE)
        return 0;
    if (!ledger_is_pipe(takeover->ledger, state->number))
        return -EPROTO;
    int piped = net_piped((int)state->number);
    counts->piped = piped > 0 ? (uint32_t)piped : 0;
    return piped < 0 ? piped : 0;
}

/* Notes the answer to what was received. Returns its length, or -EPROTO. */
static int64_t takeover_answer(const struct takeover *takeover, int fd,
                               const struct ledger_state *state, uint32_t received, uint32_t out)
{
    const struct ledger_service *service = &takeover->ledger->layout.service[state->service];
    const struct handler *handler = takeover->services.list[state->service].handler;
    int64_t len = state->kind == LEDGER_PIPE ? received : handler->answer(service, received);
    if (len < 0 || (state->kind == LEDGER_BUFFER && len > service->buffer_bytes))
        return -EPROTO;
    ledger_answer(&takeover->ledger->entries[fd], received, (uint32_t)len, out + (uint32_t)len);
    return len;
}

/* Whether a buffer can hold a header of so many bytes more than were noted. */
static bool takeover_header_fits(const struct ledger_state *state, uint32_t unnoted)
{
    const uint32_t most = state->number == LEDGER_NO_BUFFER ? 0U : (uint32_t)PROXY_HEADER_MAX;
    return state->received <= most && unnoted <= most - state->received;
}

/*
 * Returns how many bytes of the header have been received and not been noted, or a negative errno.
 * The note is made by whoever goes on, after a look at them. At a Unix socket the notes must do,
 * unless they say that a read was under way.
 */
static int64_t takeover_header(struct takeover *takeover, int fd, const struct ledger_state *state)
{
    struct remains_counts counts = {.known = false};
    if (state->number == LEDGER_NO_BUFFER || state->end != LEDGER_OPEN)
        return takeover_header_fits(state, 0) ? 0 : -EPROTO;
    int rc = takeover_count(takeover, fd, state, &counts);
    if (rc < 0)
        return rc;
    if (!counts.known && state->goal != 0)
        return -EOPNOTSUPP;
    uint32_t unnoted = counts.known ? counts.in - state->received : 0;
    if (!takeover_header_fits(state, unnoted) || counts.out != 0)
        return -EPROTO;
    rc = takeover_suspect(takeover, fd, state, &counts, &(struct remains){.unanswered = unnoted});
    return rc < 0 ? rc : (int64_t)unnoted;
}

/* Brings the entry in order. Returns how many bytes are left to be sent, or a negative errno. */
static int64_t takeover_settle(struct takeover *takeover, int fd, const struct ledger_state *state)
{
    struct remains_counts counts;
    struct remains remains;
    if (state->service >= takeover->services.count ||
        takeover->services.list[state->service].handler->resume == NULL)
        return -EOPNOTSUPP;
    if (state->kind == LEDGER_NOTHING)
        return 0;
    if (state->kind == LEDGER_HEADER)
        return takeover_header(takeover, fd, state);
    int rc = takeover_count(takeover, fd, state, &counts);
    if (rc == 0 && state->end != LEDGER_OPEN)
        return counts.piped; /* what it still receives is thrown away, and nothing is sent */
    if (rc == 0)
        rc = remains_find(state, &counts, &remains);
    if (rc == 0)
        rc = takeover_suspect(takeover, fd, state, &counts, &remains);
    if (rc < 0)
        return rc;
    return remains.unanswered == 0
               ? remains.left
               : takeover_answer(takeover, fd, state, remains.unanswered, counts.out);
}

/* Most have nothing under way. Their peers are not asked for before their turn comes. */
static void takeover_served(struct takeover *takeover, int fd, const struct ledger_state *state)
{
    struct accepted accepted = {.fd = fd, .service = (uint8_t)state->service, .adopted = true};
    int64_t left = takeover_settle(takeover, fd, state);
    accepted.left = (uint32_t)left;
    if (left < 0)
        takeover_lose(takeover, fd, (int)left);
    else
        takeover_add(takeover, &accepted);
}

/* Somebody has passed a listening or datagram socket once more, which is served already. */
static bool takeover_is_passed_again(int fd)
{
    int kind = net_inspect(fd);
    return kind == NET_LISTENING || kind == NET_DATAGRAM;
}

/*
 * No entry serves the descriptor. The entry may be that of a pipe's end, which the descriptor is,
 * or which has not outlived another predecessor and left its number to a connection. Of a Unix
 * socket nobody knows whether it has moved a byte. If the mark of an old connection stands there,
 * it may be that one.
 */
static void takeover_orphan(struct takeover *takeover, int fd, enum ledger_end end)
{
    const struct takeover_listener *listener = takeover_listener_of(takeover, fd);
    struct accepted accepted = {.fd = fd};
    struct counts counts;
    if (listener == NULL) {
        if (end == LEDGER_LEFT && net_inspect(fd) == NET_CONNECTED)
            net_close(fd); /* it was passed to the predecessor */
        return;
    }
    accepted.service = (uint8_t)listener->noted.service;
    int rc = net_remote(fd, &accepted.peer);
    if (rc == 0)
        rc = counts_get(fd, &counts);
    if (rc == -ENOTCONN && takeover_is_passed_again(fd))
        return;
    bool fresh = rc == 0 ? counts.in == 0 && counts.out == 0 && !counts.ended
                         : rc == -EOPNOTSUPP && end == LEDGER_OPEN;
    if (fresh)
        takeover_add(takeover, &accepted);
    else if (end == LEDGER_OPEN || rc == -EOPNOTSUPP)
        takeover_cut(takeover, fd, &accepted.peer, rc < 0 ? rc : -EPROTO);
    else
        net_close(fd);
}

static void takeover_find_connection(struct takeover *takeover, int fd)
{
    struct ledger_state state;
    union net_peer peer;
    if (fd == takeover->ledger->file)
        return;
    if (takeover_read(takeover, fd, &state) < 0) {
        if (net_remote(fd, &peer) == 0)
            takeover_cut(takeover, fd, &peer, -EPROTO);
    } else if (state.served) {
        takeover_served(takeover, fd, &state);
    } else {
        takeover_orphan(takeover, fd, state.end);
    }
}

/* ---- pipes ---- */

/*
 * Whether the descriptor is an end of a pipe that no connection has. A pipe of which the
 * predecessor was about to note or to close one end may have lost it: the number can be another
 * descriptor's now, but no descriptor that this process has opened so far is of this kind.
 */
static bool takeover_is_idle_end(const struct takeover *takeover, int fd, const bool *named)
{
    struct ledger_state state;
    if (takeover_read(takeover, fd, &state) < 0 || state.served || state.kind != LEDGER_PIPE)
        return false;
    bool whole = ledger_is_pipe(takeover->ledger, (uint32_t)fd);
    bool has = named[fd] || (state.number < (uint32_t)takeover->end && named[state.number]);
    return !(whole && has) && net_inspect(fd) == -ENOTSOCK;
}

/* Closes the pipes that no connection has. */
static int takeover_close_pipes(struct takeover *takeover)
{
    bool *named = calloc((size_t)takeover->end, sizeof *named);
    if (named == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < takeover->count; i++) {
        struct ledger_state state;
        if (takeover_read(takeover, takeover->list[i].fd, &state) == 0 && state.served &&
            state.kind == LEDGER_PIPE && state.number < (uint32_t)takeover->end)
            named[state.number] = true;
    }
    for (int fd = TAKEOVER_FIRST; fd < takeover->end; fd++) {
        if (!takeover_is_idle_end(takeover, fd, named))
            continue;
        ledger_forget(takeover->ledger, fd);
        net_close(fd);
    }
    free(named);
    return 0;
}

/* ---- the loops of the predecessor ---- */

static void takeover_unwatch(const struct takeover *takeover, int fd)
{
    for (size_t i = 0; i < takeover->loops_count; i++)
        (void)watches_remove(takeover->loops[i], fd);
}

/* Not a socket: that of another thread may be closed at any time, and is no loop in any case. */
static bool takeover_is_loop(const struct takeover *takeover, int fd)
{
    struct ledger_state state;
    bool served = takeover_read(takeover, fd, &state) == 0 && state.served;
    return !served && net_inspect(fd) == -ENOTSOCK && watches_is_epoll(fd);
}

/* Comes last, because the numbers of all else are known then: a pipe may have been closed. */
static void takeover_find_loops(struct takeover *takeover)
{
    for (int fd = TAKEOVER_FIRST; fd < takeover->end; fd++)
        if (takeover_is_loop(takeover, fd))
            takeover->loops[takeover->loops_count++] = fd;
    for (size_t i = 0; i < takeover->listening; i++)
        takeover_unwatch(takeover, takeover->listeners[i].fd);
}

static void takeover_close_loops(struct takeover *takeover)
{
    while (takeover->loops_count > 0)
        net_close(takeover->loops[--takeover->loops_count]);
    free(takeover->loops);
    takeover->loops = NULL;
}

/* ---- the order in which they are handed over ---- */

/*
 * Asks the kernel which connections can go on at once, and puts these to the end of the list. The
 * others stay in their order. Whatever has no open descriptor is left out: the number will be that
 * of another one. Without an answer of the kernel, all stay where they are.
 */
static void takeover_look(struct takeover *takeover)
{
    const size_t count = takeover->count;
    size_t ready = 0;
    for (size_t i = 0; i < count; i++)
        takeover->polled[i] = (struct pollfd){
            .fd = takeover->list[i].fd, .events = takeover->list[i].left > 0 ? POLLOUT : POLLIN};
    if (net_look(takeover->polled, count) < 0)
        return;
    takeover->count = 0;
    for (size_t i = 0; i < count; i++) {
        struct accepted *accepted = &takeover->list[i];
        accepted->ready = takeover->polled[i].revents != 0;
        if ((takeover->polled[i].revents & POLLNVAL) != 0)
            takeover_abandon(takeover, accepted->fd);
        else if (accepted->ready)
            takeover->ready[ready++] = *accepted;
        else
            takeover->list[takeover->count++] = *accepted;
    }
    memcpy(&takeover->list[takeover->count], takeover->ready, ready * sizeof *takeover->ready);
    takeover->count += ready;
}

/* Whoever is known to be ready waits already, and a look at thousands takes milliseconds. */
static void takeover_look_again(struct takeover *takeover)
{
    if (takeover->count == 0 || takeover->count > takeover->look_at ||
        takeover->list[takeover->count - 1].ready)
        return;
    takeover_look(takeover);
    takeover->look_at = takeover->count - takeover->count / 8;
    takeover->look_at -= takeover->look_at > 0; /* at least one is taken between two looks */
}

static uint32_t takeover_passed_ms(const struct takeover *takeover)
{
    return (uint32_t)(uv_hrtime() / 1000000 - takeover->found_ms);
}

/* Connections that have been silent for as long stay in the order of their descriptors. */
static int takeover_compare(const void *one, const void *other)
{
    const struct accepted *first = one;
    const struct accepted *second = other;
    if (first->silent_ms != second->silent_ms)
        return first->silent_ms > second->silent_ms ? -1 : 1;
    return first->fd - second->fd;
}

enum { TAKEOVER_DATES = 256 }; /* that one call asks for */

/* None of the list is ready, so that all of them need dates. */
static void takeover_date(struct takeover *takeover)
{
    uint32_t passed_ms = takeover_passed_ms(takeover);
    for (int i = 0; i < TAKEOVER_DATES && takeover->undated > 0; i++) {
        struct accepted *accepted = &takeover->list[--takeover->undated];
        uint32_t silent_ms = net_moved_ms(accepted->fd);
        accepted->silent_ms = silent_ms > passed_ms ? silent_ms - passed_ms : 0;
    }
    if (takeover->undated > 0)
        return;
    qsort(takeover->list, takeover->count, sizeof *takeover->list, takeover_compare);
    takeover->look_at = takeover->count; /* much may have come meanwhile */
}

/* Whether all that are left have dates, if they need any. Those that are ready need none. */
static bool takeover_is_dated(struct takeover *takeover)
{
    if (takeover->count == 0 || takeover->list[takeover->count - 1].ready)
        return true;
    if (takeover->dates) {
        takeover->undated = takeover->count;
        takeover->dates = false;
    }
    return takeover->undated == 0;
}

bool takeover_next(struct takeover *takeover, struct accepted *accepted)
{
    if (takeover->undated == 0)
        takeover_look_again(takeover);
    if (!takeover_is_dated(takeover)) {
        takeover_date(takeover);
        return false;
    }
    while (takeover->count > 0) {
        *accepted = takeover->list[--takeover->count];
        /* What has come counts as if it had come now: this process could not receive it before. */
        accepted->silent_ms =
            accepted->ready ? 0 : accepted->silent_ms + takeover_passed_ms(takeover);
        int rc = accepted->adopted ? net_remote(accepted->fd, &accepted->peer) : 0;
        takeover_unwatch(takeover, accepted->fd);
        if (rc == 0)
            return true;
        takeover_lose(takeover, accepted->fd, rc);
    }
    return false;
}

/* ---- all of them ---- */

/* Of so large blocks, only the pages that are used take memory. */
static int takeover_allocate(struct takeover *takeover)
{
    size_t end = (size_t)takeover->end;
    takeover->listeners = calloc(end, sizeof *takeover->listeners);
    takeover->list = calloc(end, sizeof *takeover->list);
    takeover->ready = calloc(end, sizeof *takeover->ready);
    takeover->polled = calloc(end, sizeof *takeover->polled);
    takeover->loops = calloc(end, sizeof *takeover->loops);
    bool all = takeover->listeners != NULL && takeover->list != NULL && takeover->ready != NULL &&
               takeover->polled != NULL && takeover->loops != NULL;
    return all ? 0 : -ENOMEM;
}

int takeover_find(struct takeover *takeover, struct ledger *ledger, const struct services *services,
                  bool dates)
{
    takeover->ledger = ledger;
    takeover->services = *services;
    takeover->end = descriptors_end();
    takeover->dates = dates;
    int rc = takeover->end < 0 ? takeover->end : takeover_allocate(takeover);
    for (int fd = TAKEOVER_FIRST; fd < takeover->end && rc == 0; fd++)
        rc = takeover_find_listener(takeover, fd);
    if (rc < 0)
        return rc;
    takeover_begin_suspects(takeover);
    for (int fd = TAKEOVER_FIRST; fd < takeover->end; fd++)
        takeover_find_connection(takeover, fd);
    takeover_end_suspects(takeover);
    takeover_look(takeover); /* before anything is opened that may get their numbers */
    takeover->look_at = takeover->count;
    takeover->found_ms = uv_hrtime() / 1000000;
    rc = takeover_close_pipes(takeover);
    if (rc == 0)
        takeover_find_loops(takeover);
    return rc;
}

void takeover_move(struct takeover *takeover, struct ledger *to)
{
    size_t kept = 0;
    for (size_t i = 0; i < takeover->count; i++) {
        const struct accepted accepted = takeover->list[i];
        int rc = accepted.adopted ? ledger_transfer(takeover->ledger, to, accepted.fd) : 0;
        if (rc < 0)
            takeover_lose(takeover, accepted.fd, rc);
        else
            takeover->list[kept++] = accepted;
    }
    takeover->count = kept;
    takeover->ledger = to;
}

void takeover_free(struct takeover *takeover)
{
    takeover_close_loops(takeover);
    free(takeover->listeners);
    free(takeover->list);
    free(takeover->ready);
    free(takeover->polled);
    takeover->listeners = NULL;
    takeover->list = NULL;
    takeover->ready = NULL;
    takeover->polled = NULL;
    takeover->listening = 0;
    takeover->count = 0;
}
