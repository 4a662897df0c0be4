/*
 * fuzz_ledger.c - a ledger that a broken predecessor has left: a well-made file in which the input
 * changes bytes of the header and whole entries. Whatever it says, a successor must either refuse
 * it, or get only what can be: and no buffer twice.
 */
#include "fuzz/fuzz.h"

#include "os/memory.h"
#include "os/net.h"
#include "stream/ledger.h"

#include <errno.h>
#include <unistd.h>

enum { ENTRIES_MAX = 600, BUFFERS_MAX = 130, NAMED_MAX = 1 << 18 };

/* The changes of the header: each is a place and a byte. */
static void change_header(struct fuzz *fuzz, struct ledger_header *header)
{
    for (unsigned changes = fuzz_byte(fuzz) % 8; changes > 0; changes--) {
        size_t place = fuzz_short(fuzz) % sizeof *header;
        ((unsigned char *)header)[place] = (unsigned char)fuzz_byte(fuzz);
    }
}

/* A place that is likely to mean something; a part of them is any number. */
static uint32_t invent_place(struct fuzz *fuzz)
{
    uint32_t bits = fuzz_byte(fuzz);
    uint32_t number = fuzz_byte(fuzz);
    if ((bits & 128) != 0)
        number = number << 16 | fuzz_short(fuzz);
    return (bits & 63) << LEDGER_KIND_SHIFT | (bits & 64) << 24 | number;
}

static void change_entries(struct fuzz *fuzz, struct ledger *ledger)
{
    while (fuzz->left > 0) {
        uint32_t fd = fuzz_byte(fuzz) * 3U % ledger->layout.entries;
        struct ledger_entry *entry = &ledger->entries[fd];
        CHECK(ledger_enter(ledger, (int)fd, 0) == 0);
        ledger_store(&entry->place, invent_place(fuzz));
        ledger_store(&entry->len, (uint32_t)fuzz_short(fuzz) * (fd % 2 == 0 ? 1 : 65521));
    }
}

static struct ledger_layout invent_layout(struct fuzz *fuzz)
{
    struct ledger_layout layout = {.entries = 1 + (uint32_t)fuzz_short(fuzz) % ENTRIES_MAX,
                                   .buffers = fuzz_byte(fuzz) % BUFFERS_MAX,
                                   .buffer_bytes = (uint32_t)memory_pages(fuzz_byte(fuzz) * 100U),
                                   .services = fuzz_byte(fuzz) % (LEDGER_SERVICES_MAX + 1)};
    for (unsigned i = 0; i < layout.services; i++)
        layout.service[i].buffer_bytes = layout.buffer_bytes - layout.buffer_bytes / 7 * i;
    return layout;
}

/* What a successor is told can be. */
static void check_state(const struct ledger *ledger, const struct ledger_state *state)
{
    const struct ledger_layout *layout = &ledger->layout;
    if (!state->served)
        return;
    CHECK(state->service < layout->services);
    CHECK(state->kind <= LEDGER_HEADER);
    if (state->kind == LEDGER_PIPE)
        CHECK(state->number < layout->entries);
    if (state->kind == LEDGER_BUFFER)
        CHECK(state->number < layout->buffers && state->len <= layout->buffer_bytes);
    if (state->kind == LEDGER_HEADER)
        CHECK(state->number < layout->buffers || state->number == LEDGER_NO_BUFFER);
}

/* What the number of an entry is one of: headers stand in buffers, as answers do. */
static enum ledger_kind named_by(const struct ledger_state *state)
{
    if (state->kind != LEDGER_HEADER)
        return state->kind;
    return state->number == LEDGER_NO_BUFFER ? LEDGER_NOTHING : LEDGER_BUFFER;
}

/* No two entries that can be believed name the same. */
static void check_entries(const struct ledger *ledger)
{
    static bool named[LEDGER_PIPE + 1][LEDGER_BUFFERS_MAX];
    static uint32_t numbers[2][NAMED_MAX];
    unsigned count = 0;
    struct ledger_state state;
    for (uint32_t fd = 0; fd < ledger->layout.entries; fd++) {
        int rc = ledger_read(ledger, fd, &state);
        CHECK(rc == 0 || rc == -EPROTO);
        if (rc < 0)
            continue;
        check_state(ledger, &state);
        enum ledger_kind kind = named_by(&state);
        if (!state.served || kind == LEDGER_NOTHING)
            continue;
        CHECK(!named[kind][state.number] && count < NAMED_MAX);
        named[kind][state.number] = true;
        numbers[0][count] = kind;
        numbers[1][count++] = state.number;
    }
    while (count-- > 0)
        named[numbers[0][count]][numbers[1][count]] = false;
}

/* A buffer that is lent is in the file, and no entry that can be believed names it. */
static void check_buffers(struct ledger *ledger)
{
    struct ledger_buffer buffers[3];
    struct ledger_state state;
    for (int i = 0; i < 3; i++) {
        buffers[i] = ledger_lend(ledger);
        if (buffers[i].bytes == NULL)
            continue;
        memset(buffers[i].bytes, i, ledger->layout.buffer_bytes);
        for (uint32_t fd = 0; fd < ledger->layout.entries; fd++)
            if (ledger_read(ledger, fd, &state) == 0 && state.served)
                CHECK(named_by(&state) != LEDGER_BUFFER || state.number != buffers[i].number);
    }
    for (int i = 0; i < 3; i++)
        if (buffers[i].bytes != NULL)
            ledger_take_back(ledger, buffers[i]);
}

static void check_successor(int file)
{
    struct ledger ledger;
    int rc = ledger_attach(&ledger, file);
    CHECK(rc == 0 || rc == -EPROTO);
    if (rc < 0) {
        net_close(file);
        return;
    }
    check_entries(&ledger);
    check_buffers(&ledger);
    ledger_close(&ledger);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = {data, size};
    struct ledger_layout layout = invent_layout(&fuzz);
    struct ledger ledger;
    CHECK(ledger_open(&ledger, &layout) == 0);
    if (ledger.file >= 0) {
        struct ledger_header changed;
        memcpy(&changed, ledger.header, sizeof changed);
        change_header(&fuzz, &changed);
        uint32_t filled = ledger_load(&changed.filled);
        change_entries(&fuzz, &ledger);
        if (filled == 0) /* the input has not changed it */
            changed.filled = ledger_load(&ledger.header->filled);
        memcpy(ledger.header, &changed, sizeof changed);
        int file = net_dup_above(ledger.file, 0);
        CHECK(file >= 0);
        check_successor(file);
    }
    ledger_close(&ledger);
    return 0;
}
