#include "ledgers.h"

#include "answers.h"
#include "fates.h"
#include "files.h"
#include "listening.h"
#include "lives.h"
#include "memory.h"
#include "pipe.h"
#include "plan.h"
#include "stream/ledger.h"
#include "stream/proxy_header.h"
#include "stream/remains.h"
#include "world.h"

#include <string.h>

/*
 * Of what is left of an answer, so many bytes are compared after each store, and at a system call.
 * The bytes behind them come into reach as the answer is sent. To compare all of them each time
 * would make a history of bulk data take twice the time.
 */
enum { LEDGERS_GLANCE = 64, LEDGERS_LOOK = 4096 };

static const struct ledger_header *ledgers_header(void)
{
    return process_file_head();
}

static const struct ledger_entry *ledgers_entries(void)
{
    const struct ledger_header *header = ledgers_header();
    return (const void *)((const char *)header + header->header_bytes);
}

static bool ledgers_is_of(const struct ledger *ledger, const struct ledger_header *header)
{
    const struct ledger_layout *ours = &ledger->layout;
    const struct ledger_layout *theirs = &header->layout;
    return ledger->entries == ledgers_entries() && ours->entries == theirs->entries &&
           ours->buffers == theirs->buffers && ours->buffer_bytes == theirs->buffer_bytes &&
           ours->services == theirs->services &&
           ours->service[0].buffer_bytes == theirs->service[0].buffer_bytes;
}

/*
 * The ledger as a successor would see it. To copy the layout, with its records, at each look would
 * make a history take twice the time.
 */
static const struct ledger *ledgers_ledger(void)
{
    static struct ledger ledger;
    const struct ledger_header *header = ledgers_header();
    if (!ledgers_is_of(&ledger, header))
        ledger = (struct ledger){.layout = header->layout,
                                 .entries = (struct ledger_entry *)(uintptr_t)ledgers_entries()};
    return &ledger;
}

/* What the entry of the socket says. */
static struct ledger_state ledgers_read(const struct socket *socket)
{
    struct ledger_state state = {.number = 0};
    if (ledger_read(ledgers_ledger(), (uint32_t)socket->fd, &state) < 0)
        world_fail("the entry of client %u (descriptor %d) is damaged", socket->client, socket->fd);
    return state;
}

/* The bytes of the buffer that the entry names. */
static const char *ledgers_buffer(const struct socket *socket, const struct ledger_state *state)
{
    const char *buffer = process_file_part(ledger_buffer_at(ledgers_ledger(), state->number));
    if (buffer == NULL)
        world_fail("the buffer %u of client %u is not lent", state->number, socket->client);
    return buffer;
}

/* The counts of the simulated kernel. */
static struct remains_counts ledgers_counts(const struct socket *socket,
                                            const struct ledger_state *state)
{
    struct remains_counts counts = {
        .known = true, .in = (uint32_t)socket->received, .out = (uint32_t)socket->sent};
    if (state->kind == LEDGER_PIPE)
        counts.piped = (uint32_t)kernel_pipe_count((int)state->number, socket);
    return counts;
}

/*
 * A successor would send so many bytes of its buffer or pipe, from a place of the answer of len
 * bytes on. They are the bytes that the client must still get.
 */
static void ledgers_compare(const struct socket *socket, const struct ledger_state *state,
                            uint64_t len, uint64_t left, uint64_t most)
{
    if (left != socket_owed(socket))
        world_fail("a successor would send %llu bytes to client %u, which is owed %llu",
                   (unsigned long long)left, socket->client,
                   (unsigned long long)socket_owed(socket));
    if (left == 0)
        return;
    if ((state->kind == LEDGER_PIPE) != socket->answer.piped)
        world_fail("a successor would not find the answer to client %u", socket->client);
    if (state->kind == LEDGER_BUFFER)
        answers_verify(socket, ledgers_buffer(socket, state) + (len - left),
                       left < most ? left : most);
}

/* A successor does not know the counts of a Unix socket, and goes on without them. */
static bool ledgers_is_uncounted(const struct socket *socket)
{
    return socket->survivor && socket->at->addr.sa.sa_family == AF_UNIX;
}

/*
 * A successor would go on with the header from the bytes in its buffer. Where nobody counts what
 * was received, the notes are right unless a read is under way.
 */
static void ledgers_check_header(const struct socket *socket, const struct ledger_state *state)
{
    unsigned char right[PROXY_HEADER_MAX];
    bool local = socket->at->addr.sa.sa_family == AF_UNIX;
    uint64_t have = local ? state->received : socket->received;
    if (!fates_awaits(socket) || socket->sent != 0)
        world_fail("a successor would take the next bytes of client %u for a header",
                   socket->client);
    if (state->goal == 0 && local && state->received != socket->received)
        world_fail("a successor would go on with %u bytes of a header of client %u, which has sent "
                   "%llu",
                   state->received, socket->client, (unsigned long long)socket->received);
    if (state->number == LEDGER_NO_BUFFER && (socket->received != 0 || state->received != 0))
        world_fail("a successor would not find the header of client %u", socket->client);
    if (state->number == LEDGER_NO_BUFFER || have == 0)
        return;
    if (state->received > have || have > sizeof right)
        world_fail("the entry of client %u contradicts the kernel", socket->client);
    answers_make(socket, 0, right, have);
    if (memcmp(right, ledgers_buffer(socket, state), have) != 0)
        world_fail("a successor would find another header of client %u", socket->client);
}

static void ledgers_check_served(const struct socket *socket, const struct ledger_state *state,
                                 uint64_t most)
{
    if (state->kind == LEDGER_HEADER) {
        ledgers_check_header(socket, state);
        return;
    }
    const struct remains_counts counts = ledgers_counts(socket, state);
    struct remains remains;
    if (ledgers_is_uncounted(socket)) {
        if (state->kind == LEDGER_PIPE)
            ledgers_compare(socket, state, state->len, counts.piped, most);
        return;
    }
    if (remains_find(state, &counts, &remains) < 0)
        world_fail("the entry of client %u contradicts the kernel", socket->client);
    if (state->kind == LEDGER_NOTHING &&
        (state->received != counts.in || state->goal != counts.out))
        world_fail("a successor would go on with client %u from wrong counts", socket->client);
    if (remains.unanswered == 0) {
        ledgers_compare(socket, state, state->len, remains.left, most);
    } else if (remains.unanswered != socket->answer.read || socket->answer.sent != 0) {
        world_fail("a successor would answer %u bytes of client %u, which has sent %llu",
                   remains.unanswered, socket->client, (unsigned long long)socket->answer.read);
    } else {
        uint64_t len = answers_length(remains.unanswered);
        ledgers_compare(socket, state, len, len, most);
    }
}

static void ledgers_look(const struct socket *socket, uint64_t most)
{
    struct ledger_state state = ledgers_read(socket);
    if (!state.served && state.end == LEDGER_OPEN) {
        if (socket->received != 0 || socket->sent != 0)
            world_fail("client %u has moved bytes, and no entry knows it", socket->client);
    } else if (state.served && state.end == LEDGER_OPEN) {
        if (socket->shut)
            world_fail("the entry of client %u does not say that it ends", socket->client);
        ledgers_check_served(socket, &state, most);
    }
}

void ledgers_check(const struct socket *socket)
{
    ledgers_look(socket, LEDGERS_LOOK);
}

/* Of two entries that name the same buffer, a successor would believe none. */
void ledgers_before_sleep(const struct socket *socket)
{
    struct ledger_state state = ledgers_read(socket);
    ledgers_check(socket);
    if (!state.served)
        return;
    if (state.kind == LEDGER_HEADER && !socket->shut &&
        (socket->received > 0) != (state.number != LEDGER_NO_BUFFER))
        world_fail("client %u has sent %llu bytes of a header, and its entry says otherwise",
                   socket->client, (unsigned long long)socket->received);
    if (!socket->shut && socket_owed(socket) == 0 && state.kind != LEDGER_NOTHING &&
        state.kind != LEDGER_HEADER)
        world_fail("the entry of client %u names what the next client may have", socket->client);
    /* A process may have died before it could log that. */
    if (!socket->shut && !socket->survivor && state.spoke != (fates_data(socket) > 0))
        world_fail("the entry of client %u does not say whether it has spoken", socket->client);
}

void ledgers_check_unnamed(uint64_t at)
{
    for (struct list *link = sockets_open()->next; link != sockets_open(); link = link->next) {
        const struct socket *socket = container_of(link, struct socket, link);
        if (!fates_awaits(socket) || !ledgers_holds_header(socket))
            continue;
        struct ledger_state state = ledgers_read(socket);
        if (ledger_buffer_at(ledgers_ledger(), state.number) == at)
            world_fail("the buffer of the header of client %u is given back", socket->client);
    }
}

bool ledgers_holds_header(const struct socket *socket)
{
    struct ledger_state state = ledgers_read(socket);
    return state.served && state.kind == LEDGER_HEADER && state.number != LEDGER_NO_BUFFER;
}

static bool ledgers_reads_header(const struct ledger_state *state)
{
    return state->kind == LEDGER_HEADER && state->number != LEDGER_NO_BUFFER && state->goal != 0;
}

/* Of a Unix socket nobody counts what was sent of a buffer, and whether an old mark is its own. */
void ledgers_outlived(struct socket *socket)
{
    struct ledger_state state = ledgers_read(socket);
    bool local = socket->at->addr.sa.sa_family == AF_UNIX;
    socket->left = !state.served && state.end == LEDGER_LEFT && (socket->served || socket->left);
    if (state.served && !socket->counted)
        lives_lose_counts(); /* its thread has ended between its entry and its count */
    socket->ending = state.served && state.end != LEDGER_OPEN;
    socket->uncounted =
        local && (state.served ? state.kind == LEDGER_BUFFER || ledgers_reads_header(&state)
                               : state.end == LEDGER_LEFT);
}

void ledgers_store(void)
{
    life_point();
}

void ledgers_closed(const struct socket *socket)
{
    if (process_file_head() != NULL && ledgers_read(socket).served)
        world_fail("client %u is closed, and its entry is in force", socket->client);
}

/* An entry in force that is that of a header no more: a successor takes the next bytes for data. */
static void ledgers_note_header(struct socket *socket)
{
    if (!fates_awaits(socket))
        return;
    struct ledger_state state = ledgers_read(socket);
    if (state.served && state.end == LEDGER_OPEN && state.kind != LEDGER_HEADER)
        fates_passed(socket);
}

void ledgers_stored(const volatile void *field)
{
    if (process_file_head() == NULL)
        return;
    uintptr_t first = (uintptr_t)ledgers_entries();
    uintptr_t place = (uintptr_t)field;
    uintptr_t fd = (place - first) / sizeof(struct ledger_entry);
    if (place < first || fd >= ledgers_header()->layout.entries || fd >= FILES_MAX ||
        files_kind((int)fd) != FILE_SOCKET)
        return;
    struct socket *socket = socket_of((int)fd);
    ledgers_note_header(socket);
    ledgers_look(socket, LEDGERS_GLANCE);
}
