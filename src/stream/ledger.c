#include "stream/ledger.h"

#include "os/memory.h"
#include "os/net.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(struct ledger_entry) == 16, "bytes of an idle connection");
_Static_assert(sizeof(struct ledger_header) <= 4096, "a header is a page");
_Static_assert(sizeof(struct ledger_client) == 40 && offsetof(struct ledger_client, cookie) == 32,
               "with 32 bits and with 64, and no cookie stands in two pages");
_Static_assert((int)LEDGER_BUFFERS_MAX <= (int)LEDGER_NO_BUFFER,
               "the number of a buffer fits into a place");
_Static_assert(LEDGER_ENTRIES_MAX <= LEDGER_BUFFERS_MAX, "and so does a descriptor");

static const char ledger_magic[8] = "uvechod";

enum { LEDGER_WORD = 64 }; /* bits of a word of a set */

/* ---- sets of numbers ---- */

static uint64_t *set_make(size_t count)
{
    return calloc(count / LEDGER_WORD + 1, sizeof(uint64_t));
}

static bool set_has(const uint64_t *set, uint32_t number)
{
    return (set[number / LEDGER_WORD] >> number % LEDGER_WORD & 1) != 0;
}

static void set_add(uint64_t *set, uint32_t number)
{
    set[number / LEDGER_WORD] |= UINT64_C(1) << number % LEDGER_WORD;
}

static void set_remove(uint64_t *set, uint32_t number)
{
    set[number / LEDGER_WORD] &= ~(UINT64_C(1) << number % LEDGER_WORD);
}

/* ---- the layout ---- */

static size_t ledger_header_bytes(void)
{
    return memory_pages(sizeof(struct ledger_header));
}

/* Bytes of the header and of all entries, which are mapped as one. */
static size_t ledger_head_bytes(const struct ledger_layout *layout)
{
    return memory_pages(ledger_header_bytes() + layout->entries * sizeof(struct ledger_entry));
}

static uint64_t ledger_bytes(const struct ledger_layout *layout)
{
    return ledger_head_bytes(layout) + (uint64_t)layout->buffers * layout->buffer_bytes;
}

/* How many buffers the clients take; 0: there is no room for them, and none is kept. */
static uint32_t ledger_client_buffers(const struct ledger_layout *layout)
{
    const uint64_t bytes = (uint64_t)layout->entries * sizeof(struct ledger_client);
    if (layout->buffer_bytes == 0)
        return 0;
    uint64_t buffers = (bytes + layout->buffer_bytes - 1) / layout->buffer_bytes;
    return buffers <= LEDGER_BUFFERS_MAX - layout->buffers ? (uint32_t)buffers : 0;
}

/* The layout as the file has it, for daemons that do not know of clients, too. */
static struct ledger_layout ledger_file_layout(const struct ledger *ledger)
{
    struct ledger_layout layout = ledger->layout;
    layout.buffers += ledger->clients;
    return layout;
}

static uint64_t ledger_client_at(const struct ledger *ledger, uint32_t fd)
{
    return ledger_head_bytes(&ledger->layout) + (uint64_t)fd * sizeof(struct ledger_client);
}

/*
 * Buffer 0 comes last. Buffers are lent the lowest number first, and Linux maps each block below
 * the one before: so buffers that are lent one after the other are one mapping. Otherwise each
 * would be a mapping of its own, of which a process may have 65,530 (vm.max_map_count).
 */
uint64_t ledger_buffer_at(const struct ledger *ledger, uint32_t number)
{
    const struct ledger_layout *layout = &ledger->layout;
    return ledger_head_bytes(layout) +
           (uint64_t)(layout->buffers + ledger->clients - 1 - number) * layout->buffer_bytes;
}

/* ---- opening and closing ---- */

/* Maps the header and the entries. The file and the layout are known. */
static int ledger_map(struct ledger *ledger)
{
    void *head = memory_file_map(ledger->file, 0, ledger_head_bytes(&ledger->layout));
    if (head == NULL)
        return -ENOMEM;
    ledger->header = head;
    ledger->entries = (void *)((char *)head + ledger_header_bytes());
    return 0;
}

static void ledger_unmap(struct ledger *ledger)
{
    memory_unmap(ledger->header, ledger_head_bytes(&ledger->layout)); /* the file keeps it all */
}

static int ledger_open_private(struct ledger *ledger)
{
    ledger->lent = set_make(ledger->layout.buffers);
    if (ledger->lent == NULL)
        return -ENOMEM;
    int rc = uv_mutex_init(&ledger->lock);
    if (rc < 0)
        free(ledger->lent);
    return rc;
}

static void ledger_close_private(struct ledger *ledger)
{
    uv_mutex_destroy(&ledger->lock);
    free(ledger->lent);
    free(ledger->named);
    free(ledger->twice);
}

static void ledger_write_header(struct ledger *ledger)
{
    struct ledger_header *header = ledger->header;
    memcpy(header->magic, ledger_magic, sizeof header->magic);
    header->version = LEDGER_VERSION;
    header->header_bytes = (uint32_t)ledger_header_bytes();
    header->entry_bytes = sizeof(struct ledger_entry);
    header->layout = ledger_file_layout(ledger);
    header->clients.buffers = ledger->clients;
}

/* Makes the file with its first page; without a file, later calls need none. */
static void ledger_make_file(struct ledger *ledger)
{
    const struct ledger_layout layout = ledger_file_layout(ledger);
    int file = memory_file_make("uvechod-ledger", ledger_bytes(&layout));
    int rc = file < 0 ? file : memory_file_fill(file, 0, ledger_header_bytes());
    if (rc < 0 && file >= 0)
        net_close(file);
    ledger->file = rc < 0 ? -1 : file;
    ledger->refused = rc < 0 ? rc : 0;
}

static void ledger_close_file(const struct ledger *ledger)
{
    if (ledger->file >= 0)
        net_close(ledger->file);
}

int ledger_open(struct ledger *ledger, const struct ledger_layout *layout)
{
    assert(layout->entries >= 1 && layout->entries <= LEDGER_ENTRIES_MAX);
    assert(layout->buffers <= LEDGER_BUFFERS_MAX && layout->services <= LEDGER_SERVICES_MAX);
    *ledger = (struct ledger){.layout = *layout, .clients = ledger_client_buffers(layout)};
    int rc = ledger_open_private(ledger);
    if (rc < 0)
        return rc;
    ledger_make_file(ledger);
    rc = ledger_map(ledger);
    if (rc < 0) {
        ledger_close_file(ledger);
        ledger_close_private(ledger);
        return rc;
    }
    ledger_write_header(ledger);
    return 0;
}

void ledger_close(struct ledger *ledger)
{
    ledger_unmap(ledger);
    ledger_close_file(ledger);
    ledger_close_private(ledger);
}

/* ---- the ledger of a predecessor ---- */

static bool ledger_is_ours(const struct ledger_header *header)
{
    return memcmp(header->magic, ledger_magic, sizeof header->magic) == 0 &&
           header->version == LEDGER_VERSION && header->header_bytes == ledger_header_bytes() &&
           header->entry_bytes == sizeof(struct ledger_entry) &&
           ledger_load(&header->filled) <= header->layout.entries;
}

static bool ledger_layout_is_possible(const struct ledger_layout *layout)
{
    for (unsigned i = 0; i < layout->services && i < LEDGER_SERVICES_MAX; i++)
        if (layout->service[i].record_bytes > LEDGER_RECORD_MAX ||
            layout->service[i].buffer_bytes > layout->buffer_bytes)
            return false;
    return layout->entries >= 1 && layout->entries <= LEDGER_ENTRIES_MAX &&
           layout->buffers <= LEDGER_BUFFERS_MAX && layout->services <= LEDGER_SERVICES_MAX &&
           layout->buffer_bytes <= LEDGER_BUFFER_BYTES_MAX &&
           layout->buffer_bytes == memory_pages(layout->buffer_bytes);
}

/* The layout comes from a copy of the header, which nobody can change after the check. */
int ledger_examine(int file, struct ledger_layout *layout)
{
    struct ledger_header header;
    int64_t bytes = memory_file_bytes(file);
    if (bytes < 0)
        return (int)bytes;
    if ((uint64_t)bytes < ledger_header_bytes())
        return -EPROTO;
    int rc = memory_file_read(file, 0, &header, sizeof header);
    if (rc < 0)
        return rc;
    if (!ledger_is_ours(&header) || !ledger_layout_is_possible(&header.layout) ||
        (uint64_t)bytes != ledger_bytes(&header.layout))
        return -EPROTO;
    *layout = header.layout;
    return 0;
}

/* A copy, because a process that is not quite dead may still write. */
static void ledger_copy(const struct ledger *ledger, uint32_t fd, struct ledger_state *state)
{
    const struct ledger_entry *entry = &ledger->entries[fd];
    uint32_t place = ledger_load(&entry->place);
    *state = (struct ledger_state){.received = ledger_load(&entry->received),
                                   .goal = ledger_load(&entry->goal),
                                   .len = ledger_load(&entry->len),
                                   .number = place & LEDGER_NUMBER,
                                   .kind = ledger_kind(place),
                                   .end = (enum ledger_end)(place >> LEDGER_END_SHIFT & 3),
                                   .service = place >> LEDGER_SERVICE_SHIFT & 3,
                                   .served = (place & LEDGER_SERVED) != 0,
                                   .spoke = (place & LEDGER_SPOKE) != 0};
}

/* What an entry says by itself is possible. */
static bool ledger_is_possible(const struct ledger *ledger, const struct ledger_state *state)
{
    const struct ledger_layout *layout = &ledger->layout;
    if (state->service >= layout->services)
        return !state->served && state->end == LEDGER_OPEN && state->kind == LEDGER_NOTHING;
    switch (state->kind) {
    case LEDGER_NOTHING:
        return true;
    case LEDGER_BUFFER:
        return state->number < layout->buffers &&
               state->len <= layout->service[state->service].buffer_bytes;
    case LEDGER_PIPE:
        return state->number < layout->entries;
    case LEDGER_LISTENER: /* or LEDGER_HEADER */
        break;
    }
    return !state->served || state->number < layout->buffers || state->number == LEDGER_NO_BUFFER;
}

/* Whether an entry in force names a buffer. */
static bool ledger_has_buffer(const struct ledger_state *state)
{
    return state->kind == LEDGER_BUFFER ||
           (state->kind == LEDGER_HEADER && state->number != LEDGER_NO_BUFFER);
}

/* Whether an entry names a buffer or pipe, which no other one may name. */
static bool ledger_names(const struct ledger_state *state)
{
    return state->served && (state->kind == LEDGER_PIPE || ledger_has_buffer(state));
}

/* The number of what the entry names among all buffers and pipes. */
static uint32_t ledger_named(const struct ledger *ledger, const struct ledger_state *state)
{
    return ledger_has_buffer(state) ? state->number : ledger->layout.buffers + state->number;
}

/* Finds out what the entries name, and what more than one of them names. */
static void ledger_survey(struct ledger *ledger)
{
    uint32_t filled = ledger_load(&ledger->header->filled);
    ledger->surveyed = filled < ledger->layout.entries ? filled : ledger->layout.entries;
    for (uint32_t fd = 0; fd < ledger->surveyed; fd++) {
        struct ledger_state state;
        ledger_copy(ledger, fd, &state);
        if (!ledger_names(&state) || !ledger_is_possible(ledger, &state))
            continue;
        uint32_t named = ledger_named(ledger, &state);
        if (set_has(ledger->named, named))
            set_add(ledger->twice, named);
        set_add(ledger->named, named);
        if (ledger_has_buffer(&state))
            set_add(ledger->lent, state.number);
    }
}

/* Such as the buffers that the predecessor kept although no entry named them. */
static void ledger_drop_unlent(const struct ledger *ledger)
{
    const uint64_t bytes = ledger->layout.buffer_bytes;
    uint32_t first = 0;
    for (uint32_t number = 0; number <= ledger->layout.buffers; number++) {
        if (number < ledger->layout.buffers && !set_has(ledger->lent, number))
            continue;
        if (number > first)
            memory_file_drop(ledger->file, ledger_buffer_at(ledger, number - 1),
                             (number - first) * bytes);
        first = number + 1;
    }
}

/* Whoever has made the file may know of no clients, or have damaged their number. */
static void ledger_find_clients(struct ledger *ledger)
{
    struct ledger_layout *layout = &ledger->layout;
    const uint32_t buffers = ledger->header->clients.buffers;
    if (buffers == 0 || buffers > layout->buffers)
        return;
    layout->buffers -= buffers;
    if (buffers == ledger_client_buffers(layout))
        ledger->clients = buffers;
    else
        layout->buffers += buffers;
}

/* The sets that only a predecessor's ledger needs. */
static int ledger_make_sets(struct ledger *ledger)
{
    size_t count = (size_t)ledger->layout.buffers + ledger->layout.entries;
    ledger->named = set_make(count);
    ledger->twice = set_make(count);
    return ledger->named != NULL && ledger->twice != NULL ? 0 : -ENOMEM;
}

int ledger_attach(struct ledger *ledger, int file)
{
    *ledger = (struct ledger){.file = file};
    int rc = ledger_examine(file, &ledger->layout);
    if (rc == 0)
        rc = ledger_open_private(ledger);
    if (rc < 0)
        return rc;
    rc = ledger_make_sets(ledger);
    if (rc == 0)
        rc = ledger_map(ledger);
    if (rc < 0) {
        ledger_close_private(ledger);
        return rc;
    }
    ledger_find_clients(ledger);
    ledger_survey(ledger);
    ledger_drop_unlent(ledger);
    return 0;
}

bool ledger_fits(const struct ledger *ledger, const struct ledger_layout *layout)
{
    return layout->entries <= ledger->layout.entries && layout->buffers <= ledger->layout.buffers &&
           layout->buffer_bytes <= ledger->layout.buffer_bytes;
}

static uint32_t ledger_larger(uint32_t one, uint32_t other)
{
    return one > other ? one : other;
}

static uint32_t ledger_smaller(uint32_t one, uint32_t other)
{
    return one < other ? one : other;
}

void ledger_widen(const struct ledger *ledger, struct ledger_layout *layout)
{
    layout->entries = ledger_larger(layout->entries, ledger->layout.entries);
    layout->buffers = ledger_larger(layout->buffers, ledger->layout.buffers);
    layout->buffer_bytes = ledger_larger(layout->buffer_bytes, ledger->layout.buffer_bytes);
    for (unsigned i = 0; i < layout->services && i < ledger->layout.services; i++)
        layout->service[i].buffer_bytes =
            ledger_larger(layout->service[i].buffer_bytes, ledger->layout.service[i].buffer_bytes);
}

/* An answer of the predecessor may be longer than answers are now, and still be under way. */
void ledger_settle(struct ledger *ledger, const struct ledger_layout *layout)
{
    assert(ledger_fits(ledger, layout));
    struct ledger_layout settled = *layout;
    ledger_widen(ledger, &settled);
    ledger->layout = settled;
    ledger->header->layout = ledger_file_layout(ledger);
    free(ledger->named);
    free(ledger->twice);
    ledger->named = NULL;
    ledger->twice = NULL;
}

/* ---- entries ---- */

/* Whether what an entry of a predecessor names is what the survey has found, and is its alone. */
static bool ledger_is_alone(const struct ledger *ledger, uint32_t fd,
                            const struct ledger_state *state)
{
    if (ledger->named == NULL || !ledger_names(state))
        return true;
    uint32_t named = ledger_named(ledger, state);
    return fd < ledger->surveyed && set_has(ledger->named, named) && !set_has(ledger->twice, named);
}

int ledger_read(const struct ledger *ledger, uint32_t fd, struct ledger_state *state)
{
    struct ledger_state read;
    if (fd >= ledger->layout.entries)
        return -EBADF;
    ledger_copy(ledger, fd, &read);
    if (!ledger_is_possible(ledger, &read) || !ledger_is_alone(ledger, fd, &read))
        return -EPROTO;
    *state = read;
    return 0;
}

/*
 * Provides the memory of further entries, up to that of fd, in whole pages. A write to an entry
 * without memory would kill the process. Descriptors get the lowest free numbers, so there is no
 * memory for many entries that nobody uses.
 */
static int ledger_fill(struct ledger *ledger, uint32_t fd)
{
    const size_t bytes = sizeof(struct ledger_entry);
    uint32_t entries = (uint32_t)(memory_pages((fd + 1) * bytes) / bytes);
    if (entries > ledger->layout.entries)
        entries = ledger->layout.entries;
    int rc = 0;
    uv_mutex_lock(&ledger->lock);
    uint32_t filled = ledger_load(&ledger->header->filled);
    if (entries > filled)
        rc = memory_file_fill(ledger->file, ledger_header_bytes() + filled * bytes,
                              (entries - filled) * bytes);
    if (rc == 0 && entries > filled)
        ledger_store(&ledger->header->filled, entries);
    uv_mutex_unlock(&ledger->lock);
    return rc;
}

static uint32_t ledger_place(const struct ledger_state *state)
{
    return state->number | (uint32_t)state->kind << LEDGER_KIND_SHIFT |
           state->service << LEDGER_SERVICE_SHIFT | (uint32_t)state->end << LEDGER_END_SHIFT |
           (state->served ? (uint32_t)LEDGER_SERVED : 0) |
           (state->spoke ? (uint32_t)LEDGER_SPOKE : 0);
}

/*
 * Writes an entry anew. What it said before is out of force first, unless it said the same: a
 * successor notes its listeners once more, and may end meanwhile.
 */
static int ledger_write(struct ledger *ledger, int fd, const struct ledger_state *state)
{
    const uint32_t place = ledger_place(state);
    assert(fd >= 0 && state->service < LEDGER_SERVICES_MAX);
    if ((uint32_t)fd >= ledger->layout.entries)
        return -EMFILE;
    if ((uint32_t)fd >= atomic_load_explicit(&ledger->header->filled, memory_order_acquire)) {
        int rc = ledger_fill(ledger, (uint32_t)fd);
        if (rc < 0)
            return rc;
    }
    struct ledger_entry *entry = &ledger->entries[fd];
    if (ledger_load(&entry->place) != place)
        ledger_store(&entry->place, 0);
    ledger_store(&entry->received, state->received);
    ledger_store(&entry->goal, state->goal);
    ledger_store(&entry->len, state->len);
    ledger_store(&entry->place, place);
    return 0;
}

int ledger_enter(struct ledger *ledger, int fd, unsigned service)
{
    return ledger_write(ledger, fd, &(struct ledger_state){.service = service, .served = true});
}

int ledger_enter_header(struct ledger *ledger, int fd, unsigned service)
{
    return ledger_write(
        ledger, fd,
        &(struct ledger_state){
            .service = service, .served = true, .kind = LEDGER_HEADER, .number = LEDGER_NO_BUFFER});
}

int ledger_keep(struct ledger *ledger, int fd, const struct ledger_state *state)
{
    assert(!state->served && (state->end == LEDGER_OPEN || state->end == LEDGER_ASIDE));
    assert(state->kind == LEDGER_PIPE || state->kind == LEDGER_LISTENER);
    return ledger_write(ledger, fd, state);
}

void ledger_forget(struct ledger *ledger, int fd)
{
    ledger_leave(&ledger->entries[fd]);
}

/* Whether an entry of this place is that of a pipe's end. */
static bool ledger_is_end(uint32_t place)
{
    return (place & LEDGER_SERVED) == 0 && ledger_kind(place) == LEDGER_PIPE &&
           place >> LEDGER_END_SHIFT == LEDGER_OPEN;
}

bool ledger_is_pipe(const struct ledger *ledger, uint32_t end)
{
    if (end >= ledger->layout.entries)
        return false;
    uint32_t place = ledger_load(&ledger->entries[end].place);
    uint32_t other = place & LEDGER_NUMBER;
    if (!ledger_is_end(place) || other >= ledger->layout.entries || other == end)
        return false;
    place = ledger_load(&ledger->entries[other].place);
    return ledger_is_end(place) && (place & LEDGER_NUMBER) == end;
}

void ledger_close_pipe(struct ledger *ledger, int end)
{
    int other = (int)ledger_number(&ledger->entries[end]);
    ledger_forget(ledger, end);
    ledger_forget(ledger, other);
    net_close(end);
    net_close(other);
}

/* ---- clients ---- */

static void ledger_write_client(struct ledger *ledger, uint32_t fd,
                                const struct ledger_client *client)
{
    struct ledger_clients *clients = &ledger->header->clients;
    assert(fd < ledger->layout.entries);
    if (ledger->clients == 0 || ledger->file < 0 ||
        memory_file_write(ledger->file, ledger_client_at(ledger, fd), client, sizeof *client) < 0)
        return;
    uv_mutex_lock(&ledger->lock);
    if (fd >= ledger_load(&clients->end))
        ledger_store(&clients->end, fd + 1);
    uv_mutex_unlock(&ledger->lock);
}

/* Not from mapped memory: to look at a page where nobody has been would take memory for it. */
static bool ledger_read_client(const struct ledger *ledger, uint32_t fd,
                               struct ledger_client *client)
{
    const uint64_t at = ledger_client_at(ledger, fd);
    if (ledger->clients == 0 || fd >= ledger_load(&ledger->header->clients.end))
        return false;
    return memory_file_read(ledger->file, at, client, sizeof *client) == 0 && client->cookie != 0;
}

static bool ledger_is_client(sa_family_t family)
{
    return family == AF_INET || family == AF_INET6;
}

void ledger_keep_client(struct ledger *ledger, int fd, const union net_addr *client)
{
    struct ledger_client kept = {.addr.in6 = client->in6};
    if (ledger_is_client(client->sa.sa_family) && net_cookie(fd, &kept.cookie) == 0)
        ledger_write_client(ledger, (uint32_t)fd, &kept);
}

bool ledger_recall_client(const struct ledger *ledger, int fd, union net_addr *client)
{
    struct ledger_client kept;
    uint64_t cookie;
    if (!ledger_read_client(ledger, (uint32_t)fd, &kept) || net_cookie(fd, &cookie) < 0 ||
        cookie != kept.cookie || !ledger_is_client(kept.addr.sa.sa_family))
        return false;
    client->in6 = kept.addr.in6;
    return true;
}

/* ---- buffers ---- */

/* Returns the lowest number of a buffer that is not lent, or the number of buffers. */
static uint32_t ledger_take_number(struct ledger *ledger)
{
    const uint32_t buffers = ledger->layout.buffers;
    uv_mutex_lock(&ledger->lock);
    uint32_t word = ledger->lent_before;
    while (word < buffers / LEDGER_WORD && ledger->lent[word] == UINT64_MAX)
        word++;
    ledger->lent_before = word;
    uint64_t left = ~ledger->lent[word];
    uint32_t number = left != 0 ? word * LEDGER_WORD + (uint32_t)__builtin_ctzll(left) : buffers;
    if (number >= buffers)
        number = buffers;
    else
        set_add(ledger->lent, number);
    uv_mutex_unlock(&ledger->lock);
    return number;
}

static void ledger_free_number(struct ledger *ledger, uint32_t number)
{
    uv_mutex_lock(&ledger->lock);
    assert(set_has(ledger->lent, number));
    set_remove(ledger->lent, number);
    if (number / LEDGER_WORD < ledger->lent_before)
        ledger->lent_before = number / LEDGER_WORD;
    uv_mutex_unlock(&ledger->lock);
}

struct ledger_buffer ledger_lend(struct ledger *ledger)
{
    const size_t bytes = ledger->layout.buffer_bytes;
    struct ledger_buffer buffer = {.number = ledger_take_number(ledger)};
    if (buffer.number == ledger->layout.buffers)
        return buffer;
    uint64_t at = ledger_buffer_at(ledger, buffer.number);
    buffer.bytes = memory_file_map(ledger->file, at, bytes);
    if (buffer.bytes != NULL && memory_file_fill(ledger->file, at, bytes) == 0)
        return buffer;
    if (buffer.bytes != NULL)
        memory_file_unmap(ledger->file, at, buffer.bytes, bytes);
    ledger_free_number(ledger, buffer.number);
    buffer.bytes = NULL;
    return buffer;
}

struct ledger_buffer ledger_inherit(const struct ledger *ledger, uint32_t number)
{
    const uint64_t at = ledger_buffer_at(ledger, number);
    return (struct ledger_buffer){
        .bytes = memory_file_map(ledger->file, at, ledger->layout.buffer_bytes), .number = number};
}

void ledger_take_back(struct ledger *ledger, struct ledger_buffer buffer)
{
    memory_file_unmap(ledger->file, ledger_buffer_at(ledger, buffer.number), buffer.bytes,
                      ledger->layout.buffer_bytes);
    ledger_free_number(ledger, buffer.number);
}

void ledger_abandon(struct ledger *ledger, int fd)
{
    struct ledger_state state;
    int rc = ledger_read(ledger, (uint32_t)fd, &state);
    ledger_leave(&ledger->entries[fd]);
    if (rc < 0 || !state.served)
        return;
    if (state.kind == LEDGER_PIPE && ledger_is_pipe(ledger, state.number))
        ledger_close_pipe(ledger, (int)state.number);
    if (!ledger_has_buffer(&state))
        return;
    memory_file_drop(ledger->file, ledger_buffer_at(ledger, state.number),
                     ledger->layout.buffer_bytes);
    ledger_free_number(ledger, state.number);
}

/* Of a header, bytes may have come that are not noted: all that the buffers have is copied. */
static size_t ledger_transfer_bytes(const struct ledger *from, const struct ledger *to,
                                    const struct ledger_state *state)
{
    if (state->kind == LEDGER_BUFFER)
        return state->len;
    return ledger_smaller(from->layout.buffer_bytes, to->layout.buffer_bytes);
}

/* Copies what stands in the buffer that state names to a buffer of the other ledger. */
static int ledger_transfer_buffer(const struct ledger *from, struct ledger *to,
                                  struct ledger_state *state)
{
    struct ledger_buffer source = ledger_inherit(from, state->number);
    if (source.bytes == NULL)
        return -ENOMEM;
    struct ledger_buffer buffer = ledger_lend(to);
    if (buffer.bytes != NULL)
        memcpy(buffer.bytes, source.bytes, ledger_transfer_bytes(from, to, state));
    memory_unmap(source.bytes, from->layout.buffer_bytes);
    if (buffer.bytes == NULL)
        return -ENOMEM;
    memory_unmap(buffer.bytes, to->layout.buffer_bytes); /* whoever goes on maps it again */
    state->number = buffer.number;
    return 0;
}

static int ledger_transfer_pipe(const struct ledger *from, struct ledger *to, uint32_t out)
{
    uint32_t in = ledger_number(&from->entries[out]);
    int rc = ledger_keep(to, (int)out, &(struct ledger_state){.kind = LEDGER_PIPE, .number = in});
    return rc < 0 ? rc
                  : ledger_keep(to, (int)in,
                                &(struct ledger_state){.kind = LEDGER_PIPE, .number = out});
}

static void ledger_transfer_client(const struct ledger *from, struct ledger *to, uint32_t fd)
{
    struct ledger_client client;
    if (ledger_read_client(from, fd, &client))
        ledger_write_client(to, fd, &client);
}

int ledger_transfer(const struct ledger *from, struct ledger *to, int fd)
{
    struct ledger_state state;
    int rc = ledger_read(from, (uint32_t)fd, &state);
    if (rc == 0 && ledger_has_buffer(&state))
        rc = ledger_transfer_buffer(from, to, &state);
    if (rc == 0 && state.kind == LEDGER_PIPE)
        rc = ledger_transfer_pipe(from, to, state.number);
    if (rc == 0)
        ledger_transfer_client(from, to, (uint32_t)fd);
    if (rc == 0)
        rc = ledger_write(to, fd, &state);
    return rc;
}

void ledger_carry_counts(const struct ledger *from, struct ledger *to)
{
    for (int i = 0; i < LEDGER_DATAGRAMS_MAX; i++)
        atomic_store(&to->header->datagrams.count[i],
                     atomic_load(&from->header->datagrams.count[i]));
    for (int i = 0; i < LEDGER_PROXIED_MAX; i++)
        atomic_store(&to->header->proxied.count[i], atomic_load(&from->header->proxied.count[i]));
}
