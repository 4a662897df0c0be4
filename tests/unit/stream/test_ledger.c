/*
 * test_ledger.c - the ledger in real memory, written by one struct ledger and read by another, as a
 * successor does, or by a daemon of version 1; what a broken predecessor may have written; and
 * every call that can fail.
 */
#include "stream/ledger.h"

#include "ledger1.h"
#include "os/memory.h"
#include "os/net.h"
#include "unit/support.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { ENTRIES = 1000, BUFFERS = 300, BUFFER_PAGES = 2, SERVICES = 2 };

static struct {
    struct ledger_layout layout;
    struct ledger ledger;
} fix;

/* Which calls fail. A count says how many calls of that kind pass before. */
static struct {
    int make;     /* an errno, or 0 */
    int fill;     /* the same */
    int fills;    /* that pass */
    bool map;     /* memory_file_map() */
    bool read;    /* memory_file_read() */
    bool write;   /* memory_file_write() */
    bool mutex;   /* uv_mutex_init() */
    int allocate; /* calloc(): the first, the second; 0: none */
} failing;

int __real_memory_file_make(const char *name, uint64_t bytes);
int __wrap_memory_file_make(const char *name, uint64_t bytes);
int __real_memory_file_fill(int file, uint64_t at, size_t bytes);
int __wrap_memory_file_fill(int file, uint64_t at, size_t bytes);
void *__real_memory_file_map(int file, uint64_t at, size_t bytes);
void *__wrap_memory_file_map(int file, uint64_t at, size_t bytes);
int __real_memory_file_read(int file, uint64_t at, void *to, size_t bytes);
int __wrap_memory_file_read(int file, uint64_t at, void *to, size_t bytes);
int __real_memory_file_write(int file, uint64_t at, const void *from, size_t bytes);
int __wrap_memory_file_write(int file, uint64_t at, const void *from, size_t bytes);
int __real_uv_mutex_init(uv_mutex_t *mutex);
int __wrap_uv_mutex_init(uv_mutex_t *mutex);
void *__real_calloc(size_t count, size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);

int __wrap_memory_file_make(const char *name, uint64_t bytes)
{
    return failing.make != 0 ? -failing.make : __real_memory_file_make(name, bytes);
}

int __wrap_memory_file_fill(int file, uint64_t at, size_t bytes)
{
    if (failing.fill != 0 && failing.fills-- <= 0)
        return -failing.fill;
    return __real_memory_file_fill(file, at, bytes);
}

void *__wrap_memory_file_map(int file, uint64_t at, size_t bytes)
{
    return failing.map ? NULL : __real_memory_file_map(file, at, bytes);
}

int __wrap_memory_file_read(int file, uint64_t at, void *to, size_t bytes)
{
    return failing.read ? -EIO : __real_memory_file_read(file, at, to, bytes);
}

int __wrap_memory_file_write(int file, uint64_t at, const void *from, size_t bytes)
{
    return failing.write ? -ENOSPC : __real_memory_file_write(file, at, from, bytes);
}

int __wrap_uv_mutex_init(uv_mutex_t *mutex)
{
    return failing.mutex ? -EAGAIN : __real_uv_mutex_init(mutex);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    if (failing.allocate > 0 && --failing.allocate == 0)
        return NULL;
    return __real_calloc(count, bytes);
}

static size_t buffer_bytes(void)
{
    return BUFFER_PAGES * memory_pages(1);
}

static int setup(void **state)
{
    (void)state;
    memset(&failing, 0, sizeof failing);
    memset(&fix, 0, sizeof fix);
    fix.layout = (struct ledger_layout){.entries = ENTRIES,
                                        .buffers = BUFFERS,
                                        .buffer_bytes = (uint32_t)buffer_bytes(),
                                        .services = SERVICES};
    fix.layout.service[0] =
        (struct ledger_service){.buffer_bytes = 5000, .record_bytes = 3, .record = "one"};
    fix.layout.service[1] = (struct ledger_service){.record_bytes = LEDGER_RECORD_MAX};
    return 0;
}

static int setup_open(void **state)
{
    (void)setup(state);
    assert_int_equal(ledger_open(&fix.ledger, &fix.layout), 0);
    assert_int_equal(fix.ledger.refused, 0);
    return 0;
}

static int teardown_open(void **state)
{
    (void)state;
    ledger_close(&fix.ledger);
    return 0;
}

/* The ledger as a successor opens it, with a descriptor of its own. */
static int attach(struct ledger *successor)
{
    int file = net_dup_above(fix.ledger.file, 0);
    assert_true(file >= 0);
    int rc = ledger_attach(successor, file);
    if (rc < 0)
        net_close(file);
    return rc;
}

static struct ledger_state read_entry(const struct ledger *ledger, uint32_t fd)
{
    struct ledger_state state;
    assert_int_equal(ledger_read(ledger, fd, &state), 0);
    return state;
}

/* How many pages of the file take memory. */
static size_t file_pages(void)
{
    struct stat status;
    assert_int_equal(fstat(fix.ledger.file, &status), 0);
    return (size_t)status.st_blocks * 512 / memory_pages(1);
}

/* How many mappings of the file there are. */
static int file_mappings(void)
{
    char line[512];
    int count = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    assert_non_null(maps);
    while (fgets(line, sizeof line, maps) != NULL)
        count += strstr(line, "uvechod-ledger") != NULL;
    (void)fclose(maps);
    return count;
}

/* ---- entries ---- */

static void test_an_empty_ledger(void **state)
{
    struct ledger_state entry = {.received = 1};
    (void)state;
    for (uint32_t fd = 0; fd < ENTRIES; fd++) {
        entry = read_entry(&fix.ledger, fd);
        assert_false(entry.served);
        assert_int_equal(entry.end, LEDGER_OPEN);
        assert_int_equal(entry.kind, LEDGER_NOTHING);
    }
    entry.received = 4711;
    assert_int_equal(ledger_read(&fix.ledger, ENTRIES, &entry), -EBADF);
    assert_int_equal(entry.received, 4711);
}

/* All that the steps of a connection store is read as it was stored. */
static void test_the_life_of_an_entry(void **state)
{
    (void)state;
    struct ledger_entry *entry = &fix.ledger.entries[7];
    assert_int_equal(ledger_enter(&fix.ledger, 7, 1), 0);
    struct ledger_state read = read_entry(&fix.ledger, 7);
    assert_true(read.served);
    assert_false(read.spoke);
    assert_int_equal(read.service, 1);
    assert_int_equal(read.received | read.goal | read.len | read.number | read.kind | read.end, 0);

    ledger_note(entry, LEDGER_PIPE, 999);
    ledger_answer(entry, 100, 104, 104);
    ledger_spoke(entry);
    read = read_entry(&fix.ledger, 7);
    assert_int_equal(read.kind, LEDGER_PIPE);
    assert_int_equal(read.number, 999);
    assert_int_equal(ledger_number(entry), 999);
    assert_int_equal(read.received, 100);
    assert_int_equal(read.len, 104);
    assert_int_equal(read.goal, 104);
    assert_true(read.spoke);

    ledger_answer(entry, 50, 54, 158);
    ledger_note(entry, LEDGER_NOTHING, 0);
    read = read_entry(&fix.ledger, 7);
    assert_int_equal(read.kind, LEDGER_NOTHING);
    assert_int_equal(read.received, 150);
    assert_int_equal(read.goal, 158);
    assert_true(read.served && read.spoke);
    assert_int_equal(read.service, 1);
}

static void test_the_end_of_an_entry(void **state)
{
    (void)state;
    struct ledger_entry *entry = &fix.ledger.entries[7];
    assert_int_equal(ledger_enter(&fix.ledger, 7, 0), 0);
    ledger_note(entry, LEDGER_PIPE, 5);
    ledger_end(entry, LEDGER_DRAINED);
    assert_int_equal(read_entry(&fix.ledger, 7).end, LEDGER_DRAINED);
    assert_true(read_entry(&fix.ledger, 7).served);
    ledger_leave(entry);
    assert_int_equal(read_entry(&fix.ledger, 7).end, LEDGER_LEFT);
    assert_false(read_entry(&fix.ledger, 7).served);
    assert_int_equal(ledger_number(entry), 5);
    assert_int_equal(ledger_enter(&fix.ledger, 7, 0), 0); /* the next connection begins anew */
    assert_int_equal(read_entry(&fix.ledger, 7).end, LEDGER_OPEN);
    assert_int_equal(read_entry(&fix.ledger, 7).kind, LEDGER_NOTHING);
}

/* The counts are modulo 2^32. */
static void test_the_counts_wrap(void **state)
{
    (void)state;
    struct ledger_entry *entry = &fix.ledger.entries[0];
    assert_int_equal(ledger_enter(&fix.ledger, 0, 0), 0);
    ledger_answer(entry, UINT32_MAX, 1, UINT32_MAX);
    ledger_answer(entry, 3, 7, 6);
    assert_int_equal(read_entry(&fix.ledger, 0).received, 2);
    assert_int_equal(read_entry(&fix.ledger, 0).goal, 6);
}

static void test_a_descriptor_beyond_the_entries(void **state)
{
    (void)state;
    assert_int_equal(ledger_enter(&fix.ledger, ENTRIES - 1, 0), 0);
    assert_int_equal(ledger_enter(&fix.ledger, ENTRIES, 0), -EMFILE);
}

static void keep_end(int end, int other)
{
    const struct ledger_state noted = {.kind = LEDGER_PIPE, .number = (uint32_t)other};
    assert_int_equal(ledger_keep(&fix.ledger, end, &noted), 0);
}

/* Each end must name the other one. */
static void test_what_is_no_pipe(void **state)
{
    (void)state;
    keep_end(3, 4);
    assert_false(ledger_is_pipe(&fix.ledger, 3));
    keep_end(4, 5);
    assert_false(ledger_is_pipe(&fix.ledger, 3));
    keep_end(4, 3);
    assert_true(ledger_is_pipe(&fix.ledger, 3) && ledger_is_pipe(&fix.ledger, 4));
    keep_end(5, 5);
    keep_end(6, ENTRIES);
    for (uint32_t end = 5; end < 8; end++)
        assert_false(ledger_is_pipe(&fix.ledger, end));
    assert_false(ledger_is_pipe(&fix.ledger, ENTRIES));
    assert_int_equal(ledger_enter(&fix.ledger, 4, 0), 0);
    ledger_note(&fix.ledger.entries[4], LEDGER_PIPE, 3);
    assert_false(ledger_is_pipe(&fix.ledger, 3) || ledger_is_pipe(&fix.ledger, 4));
}

/* Entries take memory as descriptors come, and what was there keeps its contents. */
static void test_entries_take_memory_when_they_are_used(void **state)
{
    const uint32_t page_entries = (uint32_t)(memory_pages(1) / sizeof(struct ledger_entry));
    (void)state;
    assert_int_equal(file_pages(), 1); /* the header */
    assert_int_equal(ledger_enter(&fix.ledger, 0, 0), 0);
    assert_int_equal(file_pages(), 2);
    ledger_answer(&fix.ledger.entries[0], 1, 2, 3);
    if (page_entries >= ENTRIES)
        return; /* the pages of this machine are too large */
    failing.fill = ENOSPC;
    assert_int_equal(ledger_enter(&fix.ledger, (int)page_entries - 1, 0), 0);
    assert_int_equal(ledger_enter(&fix.ledger, (int)page_entries, 0), -ENOSPC);
    failing.fill = 0;
    assert_int_equal(ledger_enter(&fix.ledger, (int)page_entries, 0), 0);
    assert_int_equal(file_pages(), 3);
    assert_int_equal(read_entry(&fix.ledger, 0).goal, 3);
}

/* ---- buffers ---- */

static void test_a_buffer_stands_where_the_file_says(void **state)
{
    (void)state;
    struct ledger_buffer first = ledger_lend(&fix.ledger);
    struct ledger_buffer second = ledger_lend(&fix.ledger);
    assert_int_equal(first.number, 0);
    assert_int_equal(second.number, 1);
    memset(first.bytes, 'a', buffer_bytes());
    memset(second.bytes, 'b', buffer_bytes());
    char *end =
        memory_file_map(fix.ledger.file, ledger_buffer_at(&fix.ledger, 1), 2 * buffer_bytes());
    assert_non_null(end);
    assert_memory_equal(end, second.bytes, buffer_bytes());
    assert_memory_equal(end + buffer_bytes(), first.bytes, buffer_bytes());
    assert_int_equal(memory_file_bytes(fix.ledger.file),
                     ledger_buffer_at(&fix.ledger, 0) + buffer_bytes());
    assert_int_equal(munmap(end, 2 * buffer_bytes()), 0);
    ledger_take_back(&fix.ledger, second);
    ledger_take_back(&fix.ledger, first);
}

/* The lowest number is lent first, and a buffer that comes back has lost its bytes and memory. */
static void test_buffers_go_back(void **state)
{
    struct ledger_buffer buffers[100];
    (void)state;
    for (uint32_t i = 0; i < 100; i++) {
        buffers[i] = ledger_lend(&fix.ledger);
        assert_int_equal(buffers[i].number, i);
        buffers[i].bytes[0] = 'x';
    }
    assert_int_equal(file_pages(), 1 + 100 * BUFFER_PAGES);
    ledger_take_back(&fix.ledger, buffers[70]);
    ledger_take_back(&fix.ledger, buffers[3]);
    assert_int_equal(file_pages(), 1 + 98 * BUFFER_PAGES);
    buffers[3] = ledger_lend(&fix.ledger);
    buffers[70] = ledger_lend(&fix.ledger);
    assert_int_equal(buffers[3].number, 3);
    assert_int_equal(buffers[70].number, 70);
    assert_int_equal(buffers[3].bytes[0], 0);
    for (uint32_t i = 0; i < 100; i++)
        ledger_take_back(&fix.ledger, buffers[i]);
    assert_int_equal(file_pages(), 1);
    assert_int_equal(file_mappings(), 1);
}

/* Whether a mapping gets the addresses below the one before, as Linux does it; qemu-user does not.
 */
static bool maps_downwards(void)
{
    const size_t bytes = 1 << 24; /* for which there is no hole between others */
    char *first = memory_map(bytes);
    char *second = memory_map(bytes);
    bool downwards = second < first;
    memory_unmap(second, bytes);
    memory_unmap(first, bytes);
    return downwards;
}

/* Otherwise the number of mappings that a process may have would limit the buffers. */
static void test_neighbours_are_one_mapping(void **state)
{
    struct ledger_buffer buffers[BUFFERS];
    (void)state;
    if (!maps_downwards())
        skip();
    for (int i = 0; i < BUFFERS; i++)
        buffers[i] = ledger_lend(&fix.ledger);
    assert_true(file_mappings() < BUFFERS / 10);
    for (int i = 0; i < BUFFERS; i++)
        ledger_take_back(&fix.ledger, buffers[i]);
}

static void test_all_buffers_are_lent(void **state)
{
    struct ledger_buffer buffers[BUFFERS];
    (void)state;
    for (int i = 0; i < BUFFERS; i++) {
        buffers[i] = ledger_lend(&fix.ledger);
        assert_non_null(buffers[i].bytes);
    }
    assert_null(ledger_lend(&fix.ledger).bytes);
    assert_null(ledger_lend(&fix.ledger).bytes);
    ledger_take_back(&fix.ledger, buffers[BUFFERS - 1]);
    assert_int_equal(ledger_lend(&fix.ledger).number, BUFFERS - 1);
    for (int i = 0; i < BUFFERS; i++) {
        buffers[i].number = (uint32_t)i;
        ledger_take_back(&fix.ledger, buffers[i]);
    }
}

/* A buffer that cannot be lent is free again, and takes no memory. */
static void test_no_memory_for_a_buffer(void **state)
{
    (void)state;
    failing.map = true;
    assert_null(ledger_lend(&fix.ledger).bytes);
    failing.map = false;
    failing.fill = ENOSPC;
    assert_null(ledger_lend(&fix.ledger).bytes);
    failing.fill = 0;
    assert_int_equal(file_mappings(), 1);
    struct ledger_buffer buffer = ledger_lend(&fix.ledger);
    assert_int_equal(buffer.number, 0);
    ledger_take_back(&fix.ledger, buffer);
}

/* ---- a ledger that cannot be opened ---- */

static void check_cannot_open(int error)
{
    int fds = count_fds();
    assert_int_equal(ledger_open(&fix.ledger, &fix.layout), error);
    assert_int_equal(count_fds(), fds);
    assert_int_equal(file_mappings(), 0);
    memset(&failing, 0, sizeof failing);
}

static void test_open_fails(void **state)
{
    (void)state;
    failing.allocate = 1;
    check_cannot_open(-ENOMEM);
    failing.mutex = true;
    check_cannot_open(-EAGAIN);
    failing.map = true;
    check_cannot_open(-ENOMEM);
}

/* Everything works in private memory. */
static void check_without_file(int error)
{
    int fds = count_fds();
    assert_int_equal(ledger_open(&fix.ledger, &fix.layout), 0);
    memset(&failing, 0, sizeof failing);
    assert_int_equal(fix.ledger.refused, error);
    assert_int_equal(count_fds(), fds);
    assert_int_equal(ledger_enter(&fix.ledger, ENTRIES - 1, 1), 0);
    assert_true(read_entry(&fix.ledger, ENTRIES - 1).served);
    struct ledger_buffer first = ledger_lend(&fix.ledger);
    struct ledger_buffer second = ledger_lend(&fix.ledger);
    memset(first.bytes, 'x', buffer_bytes());
    assert_int_equal(second.bytes[0], 0);
    ledger_take_back(&fix.ledger, first);
    ledger_take_back(&fix.ledger, second);
    ledger_close(&fix.ledger);
}

static void test_no_file(void **state)
{
    (void)state;
    failing.make = ENOSYS;
    check_without_file(-ENOSYS);
    failing.make = EMFILE;
    check_without_file(-EMFILE);
    failing.fill = ENOSPC;
    check_without_file(-ENOSPC);
}

/* ---- a successor ---- */

static void test_a_successor_reads_what_was_written(void **state)
{
    struct ledger successor;
    (void)state;
    struct ledger_buffer buffer = ledger_lend(&fix.ledger);
    struct ledger_buffer spare = ledger_lend(&fix.ledger);
    memcpy(buffer.bytes, "GOT:hello", 10);
    assert_int_equal(ledger_enter(&fix.ledger, 12, 0), 0);
    ledger_note(&fix.ledger.entries[12], LEDGER_BUFFER, buffer.number);
    ledger_answer(&fix.ledger.entries[12], 5, 9, 9);

    assert_int_equal(attach(&successor), 0);
    assert_memory_equal(&successor.layout, &fix.layout, sizeof fix.layout);
    struct ledger_state entry = read_entry(&successor, 12);
    assert_int_equal(entry.kind, LEDGER_BUFFER);
    assert_int_equal(entry.len, 9);
    char *bytes =
        memory_file_map(successor.file, ledger_buffer_at(&successor, entry.number), buffer_bytes());
    assert_string_equal(bytes, "GOT:hello");
    assert_int_equal(munmap(bytes, buffer_bytes()), 0);
    /* The buffer of an answer is not lent again; one that no entry names, is. */
    struct ledger_buffer next = ledger_lend(&successor);
    assert_int_equal(next.number, spare.number);
    ledger_take_back(&successor, next);
    ledger_close(&successor);
    ledger_take_back(&fix.ledger, spare);
    ledger_take_back(&fix.ledger, buffer);
}

/* What is in the file outlives the struct and its mappings. */
static void test_the_file_outlives_its_writer(void **state)
{
    struct ledger successor;
    (void)setup_open(state);
    assert_int_equal(ledger_enter(&fix.ledger, 12, 1), 0);
    int file = net_dup_above(fix.ledger.file, 0);
    ledger_close(&fix.ledger);
    assert_int_equal(file_mappings(), 0);
    assert_int_equal(ledger_attach(&successor, file), 0);
    assert_int_equal(read_entry(&successor, 12).service, 1);
    ledger_close(&successor);
}

static void test_attach_fails(void **state)
{
    struct ledger successor;
    (void)state;
    for (int i = 1; i <= 3; i++) {
        failing.allocate = i;
        assert_int_equal(attach(&successor), -ENOMEM);
    }
    failing.mutex = true;
    assert_int_equal(attach(&successor), -EAGAIN);
    failing.mutex = false;
    failing.map = true;
    assert_int_equal(attach(&successor), -ENOMEM);
    failing.map = false;
    assert_int_equal(ledger_attach(&successor, -1), -EBADF);
    assert_int_equal(file_mappings(), 1);
}

/* A descriptor that can only read is enough, and nothing has changed: no page, no descriptor. */
static void test_examine(void **state)
{
    char path[32];
    struct ledger_layout layout;
    (void)state;
    assert_int_equal(ledger_enter(&fix.ledger, 12, 1), 0);
    struct ledger_buffer buffer = ledger_lend(&fix.ledger); /* which no entry names */
    buffer.bytes[0] = 'x';
    size_t pages = file_pages();
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fix.ledger.file);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    int fds = count_fds();
    assert_int_equal(ledger_examine(file, &layout), 0);
    assert_int_equal(layout.buffers, BUFFERS + fix.ledger.clients);
    layout.buffers = BUFFERS;
    assert_memory_equal(&layout, &fix.layout, sizeof layout);
    assert_int_equal(count_fds(), fds);
    assert_int_equal(file_pages(), pages);
    assert_int_equal(buffer.bytes[0], 'x');
    int deaf = open(path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(ledger_examine(deaf, &layout), -EBADF);
    (void)close(deaf);
    fix.ledger.header->version = LEDGER_VERSION + 1;
    assert_int_equal(ledger_examine(file, &layout), -EPROTO);
    fix.ledger.header->version = LEDGER_VERSION;
    (void)close(file);
    assert_int_equal(ledger_examine(file, &layout), -EBADF);
    ledger_take_back(&fix.ledger, buffer);
}

/* ---- what a broken predecessor has written ---- */

/* A header with one change is refused; after that the header is as before. */
#define CHECK_HEADER(change)                                                                       \
    do {                                                                                           \
        struct ledger_header before;                                                               \
        memcpy(&before, fix.ledger.header, sizeof before);                                         \
        struct ledger_header *header = fix.ledger.header;                                          \
        change;                                                                                    \
        struct ledger successor;                                                                   \
        assert_int_equal(attach(&successor), -EPROTO);                                             \
        memcpy(header, &before, sizeof before);                                                    \
    } while (0)

static void test_a_damaged_header(void **state)
{
    (void)state;
    CHECK_HEADER(header->magic[0] ^= 1);
    CHECK_HEADER(header->magic[7] ^= 1);
    CHECK_HEADER(header->version++);
    CHECK_HEADER(header->header_bytes++);
    CHECK_HEADER(header->entry_bytes = 48);
    CHECK_HEADER(header->filled = ENTRIES + 1);
    CHECK_HEADER(header->layout.entries = 0);
    CHECK_HEADER(header->layout.entries = UINT32_MAX);
    CHECK_HEADER(header->layout.entries = 10 * ENTRIES);
    CHECK_HEADER(header->layout.buffers++);
    CHECK_HEADER(header->layout.buffers = UINT32_MAX);
    CHECK_HEADER(header->layout.buffer_bytes++);
    CHECK_HEADER(header->layout.buffer_bytes = UINT32_MAX & ~65535U);
    CHECK_HEADER(header->layout.services = LEDGER_SERVICES_MAX + 1);
    CHECK_HEADER(header->layout.service[1].record_bytes = LEDGER_RECORD_MAX + 1);
    CHECK_HEADER(header->layout.service[0].buffer_bytes = header->layout.buffer_bytes + 1);
    struct ledger successor;
    assert_int_equal(attach(&successor), 0);
    ledger_close(&successor);
}

/* The file need not even be one in memory. */
static void test_what_is_no_ledger(void **state)
{
    struct ledger successor;
    int fds[2];
    (void)state;
    make_socketpair(fds);
    assert_int_equal(ledger_attach(&successor, fds[0]), -EPROTO);
    (void)close(fds[0]);
    (void)close(fds[1]);
    int file = memory_file_make("empty", 100);
    assert_int_equal(ledger_attach(&successor, file), -EPROTO);
    net_close(file);
    file = memory_file_make("zero", 1 << 20);
    assert_int_equal(ledger_attach(&successor, file), -EPROTO);
    net_close(file);
}

enum { DAMAGED = 20, WELL };

/* The entry with this place is damaged; another one is not. */
static void check_damaged(uint32_t place, uint32_t len)
{
    struct ledger successor;
    struct ledger_state entry;
    assert_int_equal(ledger_enter(&fix.ledger, DAMAGED, 0), 0);
    assert_int_equal(ledger_enter(&fix.ledger, WELL, 1), 0);
    fix.ledger.entries[DAMAGED].place = place;
    fix.ledger.entries[DAMAGED].len = len;
    assert_int_equal(attach(&successor), 0);
    assert_int_equal(ledger_read(&successor, DAMAGED, &entry), -EPROTO);
    assert_int_equal(ledger_read(&successor, WELL, &entry), 0);
    ledger_close(&successor);
}

static uint32_t place(enum ledger_kind kind, uint32_t number)
{
    return LEDGER_SERVED | (uint32_t)kind << LEDGER_KIND_SHIFT | number;
}

static void test_a_damaged_entry(void **state)
{
    (void)state;
    check_damaged(place(LEDGER_BUFFER, BUFFERS), 0);
    check_damaged(place(LEDGER_BUFFER, LEDGER_NUMBER), 0);
    check_damaged(place(LEDGER_BUFFER, 0), 5001);
    check_damaged(place(LEDGER_BUFFER, 0), UINT32_MAX);
    check_damaged(place(LEDGER_PIPE, ENTRIES), 0);
    check_damaged(place(LEDGER_HEADER, BUFFERS), 0);
    check_damaged(place(LEDGER_HEADER, LEDGER_NO_BUFFER - 1), 0);
    check_damaged(place(LEDGER_NOTHING, 0) | SERVICES << LEDGER_SERVICE_SHIFT, 0);
    check_damaged(LEDGER_SERVED | 3U << LEDGER_SERVICE_SHIFT, 0);
    check_damaged(UINT32_MAX, 0);
}

/* A header of a proxy that a successor goes on with: its buffer is its own, or there is none. */
static void test_a_header(void **state)
{
    struct ledger successor;
    struct ledger_state entry;
    (void)state;
    for (int fd = 30; fd < 33; fd++)
        assert_int_equal(ledger_enter_header(&fix.ledger, fd, 0), 0);
    struct ledger_buffer buffer = ledger_lend(&fix.ledger);
    memcpy(buffer.bytes, "PROXY", 5);
    ledger_note(&fix.ledger.entries[31], LEDGER_HEADER, buffer.number);
    ledger_header_begin(&fix.ledger.entries[31], 15);
    assert_int_equal(attach(&successor), 0);
    for (int fd = 30; fd < 33; fd++) {
        assert_int_equal(ledger_read(&successor, (uint32_t)fd, &entry), 0);
        assert_true(entry.served && entry.kind == LEDGER_HEADER);
        assert_int_equal(entry.number, fd == 31 ? buffer.number : LEDGER_NO_BUFFER);
        assert_int_equal(entry.goal, fd == 31 ? 15 : 0);
    }
    struct ledger_buffer found = ledger_inherit(&successor, buffer.number);
    assert_memory_equal(found.bytes, "PROXY", 5);
    struct ledger_buffer other = ledger_lend(&successor);
    assert_int_not_equal(other.number, found.number);
    ledger_take_back(&successor, other);
    memory_unmap(found.bytes, successor.layout.buffer_bytes);
    ledger_abandon(&successor, 30);
    ledger_abandon(&successor, 31);
    other = ledger_lend(&successor);
    assert_int_equal(other.number, found.number);
    assert_int_equal(other.bytes[0], 0);
    ledger_take_back(&successor, other);
    ledger_close(&successor);
    ledger_take_back(&fix.ledger, buffer);
}

/* As much of the buffer is copied as the other one has, noted or not. */
static void test_transferring_a_header(void **state)
{
    struct ledger to;
    struct ledger_state entry;
    struct ledger_layout layout = fix.ledger.layout;
    (void)state;
    layout.buffer_bytes *= 2;
    assert_int_equal(ledger_open(&to, &layout), 0);
    assert_int_equal(ledger_enter_header(&fix.ledger, 30, 0), 0);
    assert_int_equal(ledger_enter_header(&fix.ledger, 31, 0), 0);
    struct ledger_buffer buffer = ledger_lend(&fix.ledger);
    ledger_note(&fix.ledger.entries[30], LEDGER_HEADER, buffer.number);
    memset(buffer.bytes, 'x', fix.ledger.layout.buffer_bytes);
    assert_int_equal(ledger_transfer(&fix.ledger, &to, 30), 0);
    assert_int_equal(ledger_transfer(&fix.ledger, &to, 31), 0);
    assert_int_equal(ledger_read(&to, 31, &entry), 0);
    assert_int_equal(entry.number, LEDGER_NO_BUFFER);
    assert_int_equal(ledger_read(&to, 30, &entry), 0);
    assert_int_equal(entry.kind, LEDGER_HEADER);
    struct ledger_buffer found = ledger_inherit(&to, entry.number);
    assert_memory_equal(found.bytes, buffer.bytes, fix.ledger.layout.buffer_bytes);
    ledger_take_back(&to, found);
    ledger_take_back(&fix.ledger, buffer);
    ledger_close(&to);
}

/* None of two entries with one buffer is to be believed, however many others are. */
static void check_named_twice(enum ledger_kind kind)
{
    struct ledger successor;
    struct ledger_state entry;
    for (int fd = 30; fd < 33; fd++)
        assert_int_equal(ledger_enter(&fix.ledger, fd, 0), 0);
    fix.ledger.entries[30].place = place(kind, 8);
    fix.ledger.entries[31].place = place(kind, 9);
    fix.ledger.entries[32].place = place(kind, 8);
    assert_int_equal(attach(&successor), 0);
    assert_int_equal(ledger_read(&successor, 30, &entry), -EPROTO);
    assert_int_equal(ledger_read(&successor, 31, &entry), 0);
    assert_int_equal(ledger_read(&successor, 32, &entry), -EPROTO);
    ledger_close(&successor);
}

static void test_two_entries_with_one_buffer(void **state)
{
    (void)state;
    check_named_twice(LEDGER_BUFFER);
    check_named_twice(LEDGER_PIPE);
}

/* The header of a broken predecessor says that there are fewer entries. */
static void test_an_entry_behind_the_last(void **state)
{
    struct ledger successor;
    struct ledger_state entry;
    (void)state;
    assert_int_equal(ledger_enter(&fix.ledger, 30, 0), 0);
    assert_int_equal(ledger_enter(&fix.ledger, 31, 0), 0);
    fix.ledger.entries[30].place = place(LEDGER_BUFFER, 8);
    fix.ledger.entries[31].place = place(LEDGER_BUFFER, 8);
    fix.ledger.header->filled = 31;
    assert_int_equal(attach(&successor), 0);
    assert_int_equal(ledger_read(&successor, 30, &entry), 0);
    assert_int_equal(ledger_read(&successor, 31, &entry), -EPROTO);
    ledger_close(&successor);
}

/* The number of a buffer and the descriptor of a pipe may be equal. */
static void test_a_buffer_is_no_pipe(void **state)
{
    struct ledger successor;
    (void)state;
    assert_int_equal(ledger_enter(&fix.ledger, 30, 0), 0);
    assert_int_equal(ledger_enter(&fix.ledger, 31, 0), 0);
    fix.ledger.entries[30].place = place(LEDGER_BUFFER, 8);
    fix.ledger.entries[31].place = place(LEDGER_PIPE, 8);
    assert_int_equal(attach(&successor), 0);
    assert_int_equal(read_entry(&successor, 30).kind, LEDGER_BUFFER);
    assert_int_equal(read_entry(&successor, 31).kind, LEDGER_PIPE);
    ledger_close(&successor);
}

/* A writer that is not quite dead may change an entry after the survey. */
static void test_an_entry_that_changes_later(void **state)
{
    struct ledger successor;
    struct ledger_state entry;
    (void)state;
    assert_int_equal(ledger_enter(&fix.ledger, 30, 0), 0);
    assert_int_equal(attach(&successor), 0);
    fix.ledger.entries[30].place = place(LEDGER_BUFFER, 8);
    assert_int_equal(ledger_read(&successor, 30, &entry), -EPROTO);
    ledger_close(&successor);
}

/* An entry that has been left is not in force, so what it names is another's. */
static void test_what_was_left_names_nothing(void **state)
{
    struct ledger successor;
    (void)state;
    for (int fd = 30; fd < 32; fd++) {
        assert_int_equal(ledger_enter(&fix.ledger, fd, 0), 0);
        ledger_note(&fix.ledger.entries[fd], LEDGER_BUFFER, 8);
    }
    ledger_leave(&fix.ledger.entries[30]);
    assert_int_equal(attach(&successor), 0);
    assert_int_equal(read_entry(&successor, 30).end, LEDGER_LEFT);
    assert_int_equal(read_entry(&successor, 31).number, 8);
    ledger_close(&successor);
}

/* ---- what a successor goes on with ---- */

/* Field by field, because what lies between them may be anything. */
static void expect_entry(const struct ledger *ledger, uint32_t fd,
                         const struct ledger_state *expected)
{
    const struct ledger_state entry = read_entry(ledger, fd);
    assert_int_equal(entry.received, expected->received);
    assert_int_equal(entry.goal, expected->goal);
    assert_int_equal(entry.len, expected->len);
    assert_int_equal(entry.number, expected->number);
    assert_int_equal(entry.kind, expected->kind);
    assert_int_equal(entry.end, expected->end);
    assert_int_equal(entry.service, expected->service);
    assert_int_equal(entry.served, expected->served);
    assert_int_equal(entry.spoke, expected->spoke);
}

static void test_descriptors_that_are_no_connections(void **state)
{
    const struct ledger_state pipe = {.kind = LEDGER_PIPE, .number = 41};
    const struct ledger_state listener = {
        .kind = LEDGER_LISTENER, .service = 1, .received = 1, .goal = 2, .len = UINT32_MAX};
    struct ledger successor;
    (void)state;
    assert_int_equal(ledger_keep(&fix.ledger, 40, &pipe), 0);
    assert_int_equal(ledger_keep(&fix.ledger, 41, &listener), 0);
    assert_int_equal(ledger_keep(&fix.ledger, ENTRIES, &pipe), -EMFILE);
    assert_int_equal(attach(&successor), 0);
    expect_entry(&successor, 40, &pipe);
    expect_entry(&successor, 41, &listener);
    ledger_forget(&successor, 41);
    assert_int_equal(read_entry(&successor, 41).end, LEDGER_LEFT);
    ledger_close(&successor);
}

/* A connection with a buffer of its own, in which an answer of 3 bytes stands. */
static void enter_with_buffer(int fd, struct ledger_buffer *buffer)
{
    *buffer = ledger_lend(&fix.ledger);
    assert_non_null(buffer->bytes);
    memcpy(buffer->bytes, "abc", 3);
    assert_int_equal(ledger_enter(&fix.ledger, fd, 0), 0);
    ledger_note(&fix.ledger.entries[fd], LEDGER_BUFFER, buffer->number);
    ledger_answer(&fix.ledger.entries[fd], 3, 3, 3);
}

/* The buffers that no entry names have no memory any more, whatever the predecessor kept. */
static void test_a_successor_inherits_buffers(void **state)
{
    struct ledger successor;
    struct ledger_buffer spare[5];
    struct ledger_buffer named[2];
    (void)state;
    spare[0] = ledger_lend(&fix.ledger);
    enter_with_buffer(20, &named[0]); /* number 1 */
    spare[1] = ledger_lend(&fix.ledger);
    spare[2] = ledger_lend(&fix.ledger);
    enter_with_buffer(21, &named[1]); /* number 4 */
    spare[3] = ledger_lend(&fix.ledger);
    spare[4] = ledger_lend(&fix.ledger);
    memset(spare[4].bytes, 'x', 10);
    size_t pages = file_pages();
    assert_int_equal(attach(&successor), 0);
    assert_int_equal(file_pages(), pages - (size_t)5 * BUFFER_PAGES);
    for (int i = 0; i < 2; i++) {
        struct ledger_buffer buffer = ledger_inherit(&successor, named[i].number);
        assert_memory_equal(buffer.bytes, "abc", 3);
        ledger_take_back(&successor, buffer);
    }
    assert_int_equal(file_pages(), pages - (size_t)7 * BUFFER_PAGES);
    struct ledger_buffer next = ledger_lend(&successor);
    assert_int_equal(next.number, 0);
    ledger_take_back(&successor, next);
    failing.map = true;
    assert_null(ledger_inherit(&successor, 1).bytes);
    failing.map = false;
    ledger_close(&successor);
    for (int i = 0; i < 5; i++)
        ledger_take_back(&fix.ledger, spare[i]);
    for (int i = 0; i < 2; i++)
        ledger_take_back(&fix.ledger, named[i]);
}

static void test_a_connection_is_abandoned(void **state)
{
    struct ledger successor;
    struct ledger_buffer buffer;
    (void)state;
    enter_with_buffer(20, &buffer);
    assert_int_equal(ledger_enter(&fix.ledger, 21, 0), 0);
    size_t pages = file_pages();
    assert_int_equal(attach(&successor), 0);
    ledger_abandon(&successor, 20);
    ledger_abandon(&successor, 21);
    assert_int_equal(read_entry(&successor, 20).end, LEDGER_LEFT);
    assert_int_equal(read_entry(&successor, 21).end, LEDGER_LEFT);
    assert_int_equal(file_pages(), pages - BUFFER_PAGES);
    struct ledger_buffer next = ledger_lend(&successor);
    assert_int_equal(next.number, buffer.number);
    ledger_take_back(&successor, next);
    ledger_close(&successor);
    ledger_take_back(&fix.ledger, buffer);
}

/* Nothing tells whose the buffer is that two entries name. */
static void test_damaged_entries_are_abandoned(void **state)
{
    struct ledger successor;
    struct ledger_buffer buffer;
    (void)state;
    enter_with_buffer(20, &buffer);
    assert_int_equal(ledger_enter(&fix.ledger, 21, 0), 0);
    ledger_note(&fix.ledger.entries[21], LEDGER_BUFFER, buffer.number);
    assert_int_equal(attach(&successor), 0);
    ledger_abandon(&successor, 20);
    ledger_abandon(&successor, 21);
    struct ledger_buffer next = ledger_lend(&successor);
    assert_int_equal(next.number, buffer.number + 1);
    ledger_take_back(&successor, next);
    ledger_close(&successor);
    ledger_take_back(&fix.ledger, buffer);
}

static void test_what_fits(void **state)
{
    struct ledger_layout layout = fix.layout;
    (void)state;
    assert_true(ledger_fits(&fix.ledger, &layout));
    layout.entries++;
    assert_false(ledger_fits(&fix.ledger, &layout));
    layout.entries -= 2;
    layout.buffers--;
    assert_true(ledger_fits(&fix.ledger, &layout));
    layout.buffers += 2;
    assert_false(ledger_fits(&fix.ledger, &layout));
    layout.buffers = 0;
    layout.buffer_bytes += (uint32_t)memory_pages(1);
    assert_false(ledger_fits(&fix.ledger, &layout));
}

/* Field by field, because nobody sets the bytes between the fields. */
static void assert_same(const struct ledger_state *one, const struct ledger_state *other)
{
    assert_int_equal(one->received, other->received);
    assert_int_equal(one->goal, other->goal);
    assert_int_equal(one->len, other->len);
    assert_int_equal(one->number, other->number);
    assert_int_equal(one->kind, other->kind);
    assert_int_equal(one->end, other->end);
    assert_int_equal(one->service, other->service);
    assert_int_equal(one->served, other->served);
    assert_int_equal(one->spoke, other->spoke);
}

/* What does not fit moves to a ledger of the successor's own. */
static void test_a_connection_is_transferred(void **state)
{
    struct ledger_layout layout = fix.layout;
    struct ledger successor;
    struct ledger own;
    struct ledger_buffer buffer;
    (void)state;
    (void)ledger_lend(&fix.ledger); /* so that the numbers differ */
    enter_with_buffer(20, &buffer);
    ledger_spoke(&fix.ledger.entries[20]);
    ledger_end(&fix.ledger.entries[20], LEDGER_IDLE);
    assert_int_equal(attach(&successor), 0);
    layout.entries = 10;
    layout.buffers++;
    layout.service[0].buffer_bytes = 10;
    assert_false(ledger_fits(&successor, &layout));
    ledger_widen(&successor, &layout);
    assert_int_equal(layout.entries, ENTRIES);
    assert_int_equal(layout.buffers, BUFFERS + 1);
    assert_int_equal(layout.service[0].buffer_bytes, 5000);
    assert_int_equal(ledger_open(&own, &layout), 0);
    assert_int_equal(ledger_transfer(&successor, &own, 20), 0);
    struct ledger_state before = read_entry(&successor, 20);
    struct ledger_state after = read_entry(&own, 20);
    assert_int_equal(before.number, 1);
    assert_int_equal(after.number, 0);
    before.number = after.number;
    assert_same(&after, &before);
    ledger_close(&successor);
    struct ledger_buffer moved = ledger_inherit(&own, 0);
    assert_memory_equal(moved.bytes, "abc", 3);
    ledger_take_back(&own, moved);
    ledger_close(&own);
}

static void test_no_memory_to_transfer(void **state)
{
    struct ledger successor;
    struct ledger own;
    struct ledger_buffer buffer;
    (void)state;
    enter_with_buffer(20, &buffer);
    assert_int_equal(attach(&successor), 0);
    assert_int_equal(ledger_open(&own, &fix.layout), 0);
    failing.map = true;
    assert_int_equal(ledger_transfer(&successor, &own, 20), -ENOMEM);
    failing.map = false;
    failing.fill = ENOSPC;
    assert_int_equal(ledger_transfer(&successor, &own, 20), -ENOMEM);
    failing.fill = 0;
    assert_int_equal(ledger_lend(&own).number, 0);
    ledger_close(&own);
    ledger_close(&successor);
}

/* The successor's records take the place of the predecessor's; where things stand stays. */
static void test_the_ledger_is_settled(void **state)
{
    struct ledger_layout layout = {.entries = 10, .buffers = 1, .services = 1};
    struct ledger successor;
    struct ledger third;
    (void)state;
    layout.service[0] =
        (struct ledger_service){.buffer_bytes = 4000, .record_bytes = 3, .record = "two"};
    assert_int_equal(ledger_enter(&fix.ledger, 30, 0), 0);
    assert_int_equal(attach(&successor), 0);
    fix.ledger.entries[30].place = place(LEDGER_BUFFER, 8); /* as if lent after the survey */
    ledger_settle(&successor, &layout);
    assert_int_equal(read_entry(&successor, 30).number, 8);
    ledger_close(&successor);
    assert_int_equal(attach(&third), 0);
    assert_int_equal(third.layout.entries, ENTRIES);
    assert_int_equal(third.layout.buffers, BUFFERS);
    assert_int_equal(third.layout.services, 1);
    assert_memory_equal(third.layout.service[0].record, "two", 3);
    assert_int_equal(third.layout.service[0].buffer_bytes, 5000); /* may still be in use */
    ledger_close(&third);
}

/* ---- clients ---- */

static const union net_addr client4 = {
    .in = {.sin_family = AF_INET, .sin_port = 0x1234, .sin_addr = {.s_addr = 0x01020304}}};
static const union net_addr client6 = {
    .in6 = {.sin6_family = AF_INET6, .sin6_port = 0x1234, .sin6_addr = {.s6_addr = {1, [15] = 2}}}};

static bool recalls(const struct ledger *ledger, int fd, const union net_addr *expected)
{
    char text[NET_ADDR_STRLEN];
    char other[NET_ADDR_STRLEN];
    union net_addr client;
    if (!ledger_recall_client(ledger, fd, &client))
        return false;
    assert_string_equal(net_format(&client, text), net_format(expected, other));
    return true;
}

/* Two sockets, whose clients are kept. */
static void keep_clients(int fds[2])
{
    make_socketpair(fds);
    ledger_keep_client(&fix.ledger, fds[0], &client4);
    ledger_keep_client(&fix.ledger, fds[1], &client6);
}

static void close_both(const int fds[2])
{
    (void)close(fds[0]);
    (void)close(fds[1]);
}

static void test_a_successor_knows_the_clients(void **state)
{
    struct ledger successor;
    union net_addr client;
    int fds[2];
    int others[2];
    (void)state;
    if (!sockets_have_cookies())
        skip();
    make_socketpair(fds);
    assert_false(ledger_recall_client(&fix.ledger, fds[0], &client));
    close_both(fds);
    keep_clients(fds);
    make_socketpair(others);
    assert_int_equal(file_pages(), 2); /* the header, and one for both */
    assert_int_equal(attach(&successor), 0);
    assert_int_equal(successor.layout.buffers, BUFFERS);
    ledger_settle(&successor, &fix.layout);
    ledger_close(&successor);
    assert_int_equal(attach(&successor), 0); /* of which the next one knows as much */
    assert_true(recalls(&successor, fds[0], &client4));
    assert_true(recalls(&successor, fds[1], &client6));
    assert_false(ledger_recall_client(&successor, others[0], &client));
    assert_false(ledger_recall_client(&successor, ENTRIES - 1, &client));
    assert_int_equal(file_pages(), 2);
    ledger_close(&successor);
    close_both(fds);
    close_both(others);
}

/* The next socket with the same number has no name, whether it is behind a proxy or not. */
static void test_a_client_of_another_socket(void **state)
{
    const union net_addr local = {.un = {.sun_family = AF_UNIX, .sun_path = "/run/client"}};
    union net_addr client;
    int fds[2];
    int others[2];
    (void)state;
    if (!sockets_have_cookies())
        skip();
    keep_clients(fds);
    make_socketpair(others);
    assert_int_equal(dup2(others[0], fds[0]), fds[0]);
    assert_false(ledger_recall_client(&fix.ledger, fds[0], &client));
    ledger_keep_client(&fix.ledger, fds[0], &local);
    assert_false(ledger_recall_client(&fix.ledger, fds[0], &client));
    (void)close(fds[1]);
    assert_false(ledger_recall_client(&fix.ledger, fds[1], &client));
    ledger_keep_client(&fix.ledger, fds[1], &client4); /* it has no cookie */
    ledger_keep_client(&fix.ledger, fds[0], &client6);
    assert_true(recalls(&fix.ledger, fds[0], &client6));
    (void)close(fds[0]);
    close_both(others);
}

/* As much as is written of a name that does not fit is none. */
static void test_no_room_for_a_client(void **state)
{
    union net_addr client;
    int fds[2];
    (void)state;
    failing.write = true;
    keep_clients(fds);
    failing.write = false;
    assert_int_equal(fix.ledger.header->clients.end, 0);
    ledger_keep_client(&fix.ledger, fds[1], &client6);
    assert_false(ledger_recall_client(&fix.ledger, fds[0], &client));
    failing.read = true;
    assert_false(ledger_recall_client(&fix.ledger, fds[1], &client));
    close_both(fds);
}

static void test_a_damaged_client(void **state)
{
    struct ledger_client damaged = {.addr.in6 = client6.in6};
    union net_addr client;
    int fds[2];
    (void)state;
    if (!sockets_have_cookies())
        skip();
    keep_clients(fds);
    assert_int_equal(net_cookie(fds[0], &damaged.cookie), 0);
    damaged.addr.sa.sa_family = AF_UNIX;
    uint64_t at = fix.ledger.header->header_bytes +
                  memory_pages(ENTRIES * sizeof(struct ledger_entry)) +
                  (uint64_t)fds[0] * sizeof damaged;
    assert_int_equal(memory_file_write(fix.ledger.file, at, &damaged, sizeof damaged), 0);
    assert_false(ledger_recall_client(&fix.ledger, fds[0], &client));
    assert_true(recalls(&fix.ledger, fds[1], &client6));
    close_both(fds);
}

/* Without room of its own for the clients, a file is one of a daemon that does not know of them. */
static void check_without_clients(uint32_t buffers)
{
    const uint32_t right = fix.ledger.header->clients.buffers;
    struct ledger successor;
    union net_addr client;
    int fds[2];
    keep_clients(fds);
    fix.ledger.header->clients.buffers = buffers;
    assert_int_equal(attach(&successor), 0);
    assert_int_equal(successor.layout.buffers, BUFFERS + right);
    assert_true(ledger_fits(&successor, &fix.layout));
    assert_int_equal(ledger_buffer_at(&successor, 0), ledger_buffer_at(&fix.ledger, 0));
    ledger_keep_client(&successor, fds[0], &client4);
    assert_false(ledger_recall_client(&successor, fds[0], &client));
    ledger_close(&successor);
    fix.ledger.header->clients.buffers = right;
    assert_int_equal(file_pages(), 1); /* such a daemon has freed their memory */
    assert_int_equal(attach(&successor), 0);
    assert_false(ledger_recall_client(&successor, fds[0], &client));
    ledger_keep_client(&successor, fds[0], &client6);
    assert_true(recalls(&successor, fds[0], &client6));
    ledger_close(&successor);
    memory_file_drop(fix.ledger.file, ledger_buffer_at(&fix.ledger, BUFFERS - 1 + right),
                     right * buffer_bytes());
    close_both(fds);
}

static void test_a_file_without_clients(void **state)
{
    (void)state;
    if (!sockets_have_cookies())
        skip();
    check_without_clients(0);
    check_without_clients(1);
    check_without_clients(BUFFERS);
    check_without_clients(UINT32_MAX);
}

static void test_no_file_for_clients(void **state)
{
    union net_addr client;
    int fds[2];
    (void)state;
    failing.make = ENOSYS;
    assert_int_equal(ledger_open(&fix.ledger, &fix.layout), 0);
    keep_clients(fds);
    assert_false(ledger_recall_client(&fix.ledger, fds[0], &client));
    ledger_close(&fix.ledger);
    close_both(fds);
}

/* Such as a ledger without buffers, or with all that can be numbered. */
static void test_no_buffers_for_clients(void **state)
{
    (void)state;
    fix.layout.buffers = LEDGER_BUFFERS_MAX;
    failing.make = ENOSYS;
    assert_int_equal(ledger_open(&fix.ledger, &fix.layout), 0);
    assert_int_equal(fix.ledger.clients, 0);
    ledger_close(&fix.ledger);
    fix.layout = (struct ledger_layout){.entries = ENTRIES};
    assert_int_equal(ledger_open(&fix.ledger, &fix.layout), 0);
    assert_int_equal(fix.ledger.clients, 0);
    ledger_close(&fix.ledger);
}

static void test_a_client_is_transferred(void **state)
{
    struct ledger successor;
    struct ledger own;
    union net_addr client;
    int fds[2];
    (void)state;
    if (!sockets_have_cookies())
        skip();
    keep_clients(fds);
    for (int i = 0; i < 2; i++)
        assert_int_equal(ledger_enter(&fix.ledger, fds[i], 0), 0);
    assert_int_equal(attach(&successor), 0);
    fix.layout.buffers++;
    assert_int_equal(ledger_open(&own, &fix.layout), 0);
    assert_int_equal(ledger_transfer(&successor, &own, fds[1]), 0);
    assert_true(recalls(&own, fds[1], &client6));
    failing.write = true; /* the connection goes on all the same */
    assert_int_equal(ledger_transfer(&successor, &own, fds[0]), 0);
    assert_false(ledger_recall_client(&own, fds[0], &client));
    ledger_close(&own);
    ledger_close(&successor);
    close_both(fds);
}

/* ---- version 1 ---- */

/* The daemon's struct is that of version 1, or the field of both is the same. */
#define SAME_LENGTH(type)                                                                          \
    assert_int_equal(sizeof(struct ledger_##type), sizeof(struct ledger1_##type))
#define SAME(type, field)                                                                          \
    do {                                                                                           \
        assert_int_equal(offsetof(struct ledger_##type, field),                                    \
                         offsetof(struct ledger1_##type, field));                                  \
        assert_int_equal(sizeof((struct ledger_##type *)NULL)->field,                              \
                         sizeof((struct ledger1_##type *)NULL)->field);                            \
    } while (0)

static void need_version_1(void)
{
    if (LEDGER_VERSION != 1)
        skip();
}

static void test_version_1_has_the_same_fields(void **state)
{
    (void)state;
    need_version_1();
    SAME_LENGTH(entry);
    SAME(entry, received);
    SAME(entry, goal);
    SAME(entry, len);
    SAME(entry, place);
    SAME_LENGTH(service);
    SAME(service, buffer_bytes);
    SAME(service, spares);
    SAME(service, record_bytes);
    SAME(service, record);
    SAME_LENGTH(layout);
    SAME(layout, entries);
    SAME(layout, buffers);
    SAME(layout, buffer_bytes);
    SAME(layout, services);
    SAME(layout, service);
    SAME_LENGTH(past);
    SAME(past, generations);
    SAME(past, started_ms);
    SAME(past, left_ns);
    SAME(past, accepted);
    SAME(past, bytes_in);
    SAME(past, bytes_out);
    SAME(past, refused);
    SAME(past, over_source);
    SAME(past, accept_pauses);
    SAME(past, rate_pauses);
    SAME_LENGTH(suspect);
    SAME(suspect, fd);
    SAME(suspect, in);
    /* What later daemons have added at the end is zero for this one, up to the first entry. */
    assert_true(sizeof(struct ledger_header) >= sizeof(struct ledger1_header));
    assert_int_equal(memory_pages(sizeof(struct ledger_header)),
                     memory_pages(sizeof(struct ledger1_header)));
    assert_int_equal(offsetof(struct ledger_header, proxied), sizeof(struct ledger1_header));
    SAME(header, magic);
    SAME(header, version);
    SAME(header, header_bytes);
    SAME(header, entry_bytes);
    SAME(header, filled);
    SAME(header, layout);
    SAME(header, past);
    SAME(header, suspects);
}

/* The file as a daemon of version 1 reads it: the header, the entries, and the buffers at the end.
 */
static void test_version_1_reads_the_file(void **state)
{
    struct ledger1_header header;
    struct ledger1_entry entry;
    char answer[7];
    (void)state;
    need_version_1();
    struct ledger_buffer buffer = ledger_lend(&fix.ledger);
    memcpy(buffer.bytes, "GOT:abc", sizeof answer);
    assert_int_equal(ledger_enter(&fix.ledger, 7, 0), 0);
    ledger_note(&fix.ledger.entries[7], LEDGER_BUFFER, buffer.number);
    ledger_answer(&fix.ledger.entries[7], 3, 7, 9);

    assert_int_equal(memory_file_read(fix.ledger.file, 0, &header, sizeof header), 0);
    assert_memory_equal(header.magic, LEDGER1_MAGIC, sizeof header.magic);
    assert_int_equal(header.version, 1);
    assert_int_equal(header.entry_bytes, sizeof entry);
    assert_true(header.filled > 7);
    assert_int_equal(header.layout.entries, ENTRIES);
    assert_int_equal(header.layout.buffers, BUFFERS + fix.ledger.clients);
    assert_int_equal(header.layout.services, SERVICES);
    assert_memory_equal(header.layout.service[0].record, "one", 3);
    assert_int_equal(memory_file_read(fix.ledger.file, header.header_bytes + 7 * sizeof entry,
                                      &entry, sizeof entry),
                     0);
    assert_int_equal(entry.received, 3);
    assert_int_equal(entry.len, 7);
    assert_int_equal(entry.goal, 9);
    assert_int_equal(entry.place, LEDGER1_SERVED | LEDGER1_BUFFER | buffer.number);
    uint64_t end = (uint64_t)memory_file_bytes(fix.ledger.file);
    assert_int_equal(
        memory_file_read(fix.ledger.file,
                         end - (uint64_t)(buffer.number + 1) * header.layout.buffer_bytes, answer,
                         sizeof answer),
        0);
    assert_memory_equal(answer, "GOT:abc", sizeof answer);
    ledger_take_back(&fix.ledger, buffer);
}

static void test_version_1_reads_the_places(void **state)
{
    const struct ledger_state listener = {.kind = LEDGER_LISTENER, .service = 1};
    struct ledger_entry *entry = &fix.ledger.entries[8];
    (void)state;
    need_version_1();
    assert_int_equal(ledger_keep(&fix.ledger, 8, &listener), 0);
    assert_int_equal(entry->place, LEDGER1_LISTENER | UINT32_C(0x10000000));
    assert_int_equal(ledger_enter(&fix.ledger, 8, 3), 0);
    assert_int_equal(entry->place, LEDGER1_SERVED | LEDGER1_SERVICE);
    assert_int_equal(ledger_enter(&fix.ledger, 8, 0), 0);
    ledger_note(entry, LEDGER_PIPE, LEDGER1_NUMBER);
    assert_int_equal(entry->place, LEDGER1_SERVED | LEDGER1_PIPE | LEDGER1_NUMBER);
    ledger_note(entry, LEDGER_NOTHING, 0);
    ledger_spoke(entry);
    assert_int_equal(entry->place, LEDGER1_SERVED | LEDGER1_SPOKE);
    ledger_end(entry, LEDGER_IDLE);
    assert_int_equal(entry->place, LEDGER1_SERVED | LEDGER1_SPOKE | LEDGER1_IDLE);
    ledger_leave(entry);
    assert_int_equal(entry->place, LEDGER1_SPOKE | LEDGER1_LEFT);
    assert_int_equal(ledger_enter(&fix.ledger, 8, 0), 0);
    ledger_end(entry, LEDGER_DRAINED);
    assert_int_equal(entry->place, LEDGER1_SERVED | LEDGER1_DRAINED);
}

#define OPEN(test) cmocka_unit_test_setup_teardown(test, setup_open, teardown_open)

/* What has been counted of datagrams goes on in a ledger that has more room. */
static void test_carry_counts(void **state)
{
    (void)state;
    const struct ledger_layout layout = {.entries = 4};
    struct ledger from;
    struct ledger to;
    assert_int_equal(ledger_open(&from, &layout), 0);
    assert_int_equal(ledger_open(&to, &layout), 0);
    for (unsigned i = 0; i < LEDGER_DATAGRAMS_MAX; i++)
        atomic_store(&from.header->datagrams.count[i], UINT64_MAX - i);
    for (unsigned i = 0; i < LEDGER_PROXIED_MAX; i++)
        atomic_store(&from.header->proxied.count[i], UINT64_MAX / 2 - i);
    ledger_carry_counts(&from, &to);
    for (unsigned i = 0; i < LEDGER_DATAGRAMS_MAX; i++)
        assert_true(atomic_load(&to.header->datagrams.count[i]) == UINT64_MAX - i);
    for (unsigned i = 0; i < LEDGER_PROXIED_MAX; i++)
        assert_true(atomic_load(&to.header->proxied.count[i]) == UINT64_MAX / 2 - i);
    ledger_close(&from);
    ledger_close(&to);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        OPEN(test_an_empty_ledger),
        OPEN(test_the_life_of_an_entry),
        OPEN(test_the_end_of_an_entry),
        OPEN(test_the_counts_wrap),
        OPEN(test_a_descriptor_beyond_the_entries),
        OPEN(test_what_is_no_pipe),
        OPEN(test_entries_take_memory_when_they_are_used),
        OPEN(test_a_buffer_stands_where_the_file_says),
        OPEN(test_buffers_go_back),
        OPEN(test_neighbours_are_one_mapping),
        OPEN(test_all_buffers_are_lent),
        OPEN(test_no_memory_for_a_buffer),
        cmocka_unit_test_setup(test_open_fails, setup),
        cmocka_unit_test_setup(test_no_file, setup),
        OPEN(test_a_successor_reads_what_was_written),
        cmocka_unit_test_setup(test_the_file_outlives_its_writer, setup),
        OPEN(test_attach_fails),
        OPEN(test_examine),
        OPEN(test_a_damaged_header),
        OPEN(test_what_is_no_ledger),
        OPEN(test_a_damaged_entry),
        OPEN(test_a_header),
        OPEN(test_transferring_a_header),
        OPEN(test_two_entries_with_one_buffer),
        OPEN(test_an_entry_behind_the_last),
        OPEN(test_a_buffer_is_no_pipe),
        OPEN(test_an_entry_that_changes_later),
        OPEN(test_what_was_left_names_nothing),
        OPEN(test_descriptors_that_are_no_connections),
        OPEN(test_a_successor_inherits_buffers),
        OPEN(test_a_connection_is_abandoned),
        OPEN(test_damaged_entries_are_abandoned),
        OPEN(test_what_fits),
        OPEN(test_a_connection_is_transferred),
        OPEN(test_no_memory_to_transfer),
        OPEN(test_the_ledger_is_settled),
        OPEN(test_a_successor_knows_the_clients),
        OPEN(test_a_client_of_another_socket),
        OPEN(test_no_room_for_a_client),
        OPEN(test_a_damaged_client),
        OPEN(test_a_file_without_clients),
        cmocka_unit_test_setup(test_no_file_for_clients, setup),
        cmocka_unit_test_setup(test_no_buffers_for_clients, setup),
        OPEN(test_a_client_is_transferred),
        cmocka_unit_test(test_version_1_has_the_same_fields),
        OPEN(test_version_1_reads_the_file),
        OPEN(test_version_1_reads_the_places),
        cmocka_unit_test(test_carry_counts),
    };
    return RUN_TESTS("ledger", tests);
}
