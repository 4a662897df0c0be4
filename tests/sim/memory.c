#include "memory.h"

#include "base/list.h"
#include "files.h"
#include "ledgers.h"
#include "lives.h"
#include "loop.h"
#include "os/memory.h"
#include "world.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* The names that the linker gives to what it wraps are reserved for it. */
// NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void __real_free(void *memory);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *memory, size_t bytes);
void __wrap_free(void *memory);

/* What stands before each block. Its size keeps the block aligned for every type. */
struct block {
    struct list link;      /* among those of the process, while it is mapped or allocated */
    struct list part;      /* among the parts of its file */
    struct file_pages *of; /* the file; NULL: it was allocated, not mapped */
    size_t bytes;
    uint64_t at; /* in the file; the head of the file is at 0, buffers stand behind */
    bool mapped; /* or allocated: the process has it */
    char unused[7];
};

_Static_assert(sizeof(struct block) % 16 == 0, "a block is aligned as malloc() aligns");

/*
 * A file in memory: those parts of it that somebody has mapped since they were dropped. They are
 * kept as long as the file is open, whether the process has them or not.
 */
struct file_pages {
    struct list link;
    struct list parts;
    uint64_t bytes;
    int fd; /* -1: it is no file, but memory that the process maps in the place of one */
};

static struct {
    struct list blocks;
    struct list files;      /* that are open, the oldest first, which is in force */
    struct file_pages none; /* in force where the system has refused a file */
    size_t count, buffers;
    unsigned lacked; /* buffers that were refused */
} process;

enum { MEMORY_FAILS = 40 }; /* of 10,000 */

void *memory_own(size_t count, size_t bytes)
{
    void *memory = __real_calloc(count, bytes);
    if (memory == NULL)
        abort();
    return memory;
}

void memory_disown(void *memory)
{
    __real_free(memory);
}

static bool process_lacks(size_t bytes, bool buffer)
{
    if (!world_fault(FAULT_MEMORY, MEMORY_FAILS))
        return false;
    world_trace("no memory for %zu bytes%s", bytes, buffer ? " of a buffer" : "");
    process.lacked += buffer;
    return true;
}

static void *process_allocate(size_t bytes, struct file_pages *of, uint64_t at)
{
    if (process_lacks(bytes, at > 0))
        return NULL;
    struct block *block = __real_calloc(1, sizeof *block + bytes);
    if (block == NULL)
        abort();
    *block = (struct block){.bytes = bytes, .of = of, .at = at, .mapped = true};
    list_append(&process.blocks, &block->link);
    if (of != NULL)
        list_append(&of->parts, &block->part);
    process.count++;
    process.buffers += at > 0;
    return block + 1;
}

/* The process has it no more. */
static void process_leave(struct block *block)
{
    list_remove(&block->link);
    block->mapped = false;
    process.count--;
}

static void process_free(struct block *block)
{
    if (block->mapped)
        process_leave(block);
    if (block->of != NULL)
        list_remove(&block->part);
    process.buffers -= block->at > 0;
    /* Whoever uses a frame after its end should find neither pointers nor numbers in it. */
    memset(block + 1, 0xa5, block->bytes < 512 ? block->bytes : 512);
    __real_free(block);
}

static void process_release(void *memory)
{
    struct block *block = (struct block *)memory - 1;
    if (!block->mapped || block->of != NULL)
        world_fail("memory is freed twice, or in another way than it was allocated");
    loop_check_free(memory, block->bytes);
    process_free(block);
}

void *__wrap_malloc(size_t bytes)
{
    void *memory = process_allocate(bytes, NULL, 0);
    return memory != NULL ? memset(memory, 0x5a, bytes < 512 ? bytes : 512) : NULL;
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    return process_allocate(count * bytes, NULL, 0);
}

void __wrap_free(void *memory)
{
    if (memory != NULL)
        process_release(memory);
}

void *__wrap_realloc(void *memory, size_t bytes)
{
    void *larger = process_allocate(bytes, NULL, 0);
    if (larger == NULL || memory == NULL)
        return larger;
    size_t before = ((struct block *)memory - 1)->bytes;
    memcpy(larger, memory, before < bytes ? before : bytes);
    process_release(memory);
    return larger;
}
// NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)

/* ---- files in memory: each has a head, and its other parts are buffers ---- */

enum { MEMORY_PAGE = 4096, MEMORY_NO_FILE = 8 };

size_t memory_pages(size_t bytes)
{
    return (bytes + MEMORY_PAGE - 1) / MEMORY_PAGE * MEMORY_PAGE;
}

/* The system of one seed in MEMORY_NO_FILE refuses a file. */
int memory_file_make(const char *name, uint64_t bytes)
{
    if (world_seed() % MEMORY_NO_FILE == 0)
        return -ENOSYS;
    struct file_pages *pages = memory_own(1, sizeof *pages);
    int file = files_open(FILE_MEMORY, pages, 0);
    if (file < 0) {
        memory_disown(pages);
        return file;
    }
    *pages = (struct file_pages){.bytes = bytes, .fd = file};
    list_init(&pages->parts);
    list_append(&process.files, &pages->link);
    world_trace("%s is descriptor %d", name, file);
    return file;
}

int64_t memory_file_bytes(int file)
{
    if (files_kind(file) != FILE_MEMORY)
        return files_kind(file) == FILE_NONE ? -EBADF : -EPROTO;
    return (int64_t)((struct file_pages *)files_object(file, FILE_MEMORY))->bytes;
}

static struct block *pages_find(const struct file_pages *pages, uint64_t at)
{
    const struct list *head = &pages->parts;
    for (struct list *link = head->next; link != head; link = link->next) {
        struct block *block = container_of(link, struct block, part);
        if (block->at == at)
            return block;
    }
    return NULL;
}

/* The pages behind a descriptor, or -1, in which there is that part. */
static struct file_pages *pages_of(int file, uint64_t at, uint64_t bytes)
{
    if (file < 0)
        return &process.none;
    struct file_pages *pages = files_object(file, FILE_MEMORY);
    if (at % MEMORY_PAGE != 0 || at + bytes > pages->bytes)
        world_fail("a part of the file in memory at %llu does not exist", (unsigned long long)at);
    return pages;
}

/* Only of the head, which the predecessor has mapped. */
int memory_file_read(int file, uint64_t at, void *to, size_t bytes)
{
    if (at != 0)
        world_fail("the file in memory is read at %llu", (unsigned long long)at);
    const struct block *block = pages_find(pages_of(file, at, bytes), at);
    if (block == NULL || block->bytes < bytes)
        world_fail("the head of the file in memory is read, and is not there");
    memcpy(to, block + 1, bytes);
    return 0;
}

/* There is no room for the clients that proxies name, so no successor knows them. */
int memory_file_write(int file, uint64_t at, const void *from, size_t bytes)
{
    (void)file, (void)at, (void)from, (void)bytes;
    return -ENOSPC;
}

/* The process maps again what it, or its predecessor, has left in the file. */
static void *pages_map_again(struct block *block, size_t bytes)
{
    if (block->mapped)
        world_fail("the part at %llu is mapped twice", (unsigned long long)block->at);
    if (block->at > 0 ? bytes != block->bytes : bytes > block->bytes)
        world_fail("%zu bytes are mapped of a part of %zu", bytes, block->bytes);
    if (process_lacks(bytes, block->at > 0))
        return NULL;
    list_append(&process.blocks, &block->link);
    block->mapped = true;
    process.count++;
    return block + 1;
}

void *memory_file_map(int file, uint64_t at, size_t bytes)
{
    struct file_pages *pages = pages_of(file, at, bytes);
    struct block *block = pages_find(pages, at);
    return block != NULL ? pages_map_again(block, bytes) : process_allocate(bytes, pages, at);
}

int memory_file_fill(int file, uint64_t at, size_t bytes)
{
    if (file < 0)
        return 0;
    const struct file_pages *pages = pages_of(file, at / MEMORY_PAGE * MEMORY_PAGE, bytes);
    return process_lacks(bytes, at > 0 && pages_find(pages, at) != NULL) ? -ENOSPC : 0;
}

void memory_file_drop(int file, uint64_t at, uint64_t bytes)
{
    life_point();
    struct file_pages *pages = pages_of(file, at, bytes);
    for (struct list *link = pages->parts.next, *next; link != &pages->parts; link = next) {
        struct block *block = container_of(link, struct block, part);
        next = link->next;
        if (block->at < at || block->at >= at + bytes)
            continue;
        if (block->mapped)
            world_fail("the part at %llu is dropped, and mapped", (unsigned long long)block->at);
        process_free(block);
    }
}

/* What is mapped of a file stays in the file. */
void memory_unmap(void *memory, size_t bytes)
{
    struct block *block = (struct block *)memory - 1;
    if (!block->mapped || (block->at > 0 ? bytes != block->bytes : bytes > block->bytes))
        world_fail("%zu bytes are unmapped of a part of %zu", bytes, block->bytes);
    loop_check_free(memory, bytes);
    if (block->of == &process.none)
        process_free(block);
    else
        process_leave(block);
}

void memory_file_unmap(int file, uint64_t at, void *memory, size_t bytes)
{
    if (pages_find(pages_of(file, at, bytes), at) != (struct block *)memory - 1)
        world_fail("the part of the file at %llu is not there", (unsigned long long)at);
    ledgers_check_unnamed(at);
    memory_unmap(memory, bytes);
    if (file >= 0)
        memory_file_drop(file, at, bytes);
}

void memory_file_closed(void *object)
{
    struct file_pages *pages = object;
    while (!list_empty(&pages->parts))
        process_free(container_of(pages->parts.next, struct block, part));
    list_remove(&pages->link);
    memory_disown(pages);
}

void memory_trim(void)
{
}

/* ---- what the simulation asks ---- */

static const struct file_pages *process_pages(void)
{
    if (list_empty(&process.files))
        return &process.none;
    return container_of(process.files.next, struct file_pages, link);
}

int process_file(void)
{
    return process_pages()->fd;
}

void *process_file_part(uint64_t at)
{
    struct block *block = pages_find(process_pages(), at);
    return block != NULL ? block + 1 : NULL;
}

void *process_file_head(void)
{
    return process_file_part(0);
}

void process_begin(void)
{
    memset(&process, 0, sizeof process);
    list_init(&process.blocks);
    list_init(&process.files);
    list_init(&process.none.parts);
    process.none.fd = -1;
}

size_t process_buffers(void)
{
    return process.buffers;
}

bool process_lacked_buffer(void)
{
    if (process.lacked == 0)
        return false;
    process.lacked--;
    return true;
}

void process_end(void)
{
    if (process.count > 0 || process.buffers > 0)
        world_fail("%zu allocations are left, and %zu buffers", process.count, process.buffers);
}

void process_drop(void)
{
    process.lacked = 0;
    while (!list_empty(&process.blocks)) {
        struct block *block = container_of(process.blocks.next, struct block, link);
        if (block->of != NULL && block->of != &process.none)
            process_leave(block);
        else
            process_free(block);
    }
}
