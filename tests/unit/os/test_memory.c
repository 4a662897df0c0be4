/*
 * test_memory.c - blocks of real memory: they are zero when they are new, and their pages are given
 * back to the system. munmap() is wrapped to fail, as it does beyond vm.max_map_count.
 * malloc_trim() is wrapped to count the calls.
 */
#include "os/memory.h"

#include "unit/support.h"

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>

enum { PAGES = 16 };

static bool munmap_fails;
static int trims; /* calls of malloc_trim() */

int __real_munmap(void *memory, size_t bytes);
int __wrap_munmap(void *memory, size_t bytes);
int __wrap_malloc_trim(size_t pad);

int __wrap_munmap(void *memory, size_t bytes)
{
    if (!munmap_fails)
        return __real_munmap(memory, bytes);
    errno = ENOMEM;
    return -1;
}

int __wrap_malloc_trim(size_t pad)
{
    trims += pad == 0;
    return 0;
}

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

/* How many pages of the block are in memory; -1 when its addresses are not mapped. */
static int resident(void *memory)
{
    unsigned char pages[PAGES];
    int count = 0;
    if (mincore(memory, PAGES * page_bytes(), pages) < 0)
        return -1;
    for (int i = 0; i < PAGES; i++)
        count += pages[i] & 1;
    return count;
}

static void test_a_block_is_aligned_and_zero(void **state)
{
    (void)state;
    char *memory = memory_map(PAGES * page_bytes());
    assert_non_null(memory);
    assert_int_equal((uintptr_t)memory % page_bytes(), 0);
    for (size_t i = 0; i < PAGES * page_bytes(); i++)
        assert_int_equal(memory[i], 0);
    memory_unmap(memory, PAGES * page_bytes());
}

/* The size need not be a multiple of the page size. */
static void test_a_block_is_given_back(void **state)
{
    (void)state;
    size_t bytes = PAGES * page_bytes() - 1;
    char *memory = memory_map(bytes);
    memset(memory, 'x', bytes);
    assert_int_equal(resident(memory), PAGES);
    memory_unmap(memory, bytes);
    assert_int_equal(resident(memory), -1);
}

static void test_the_pages_are_given_back_even_if_munmap_fails(void **state)
{
    (void)state;
    size_t bytes = PAGES * page_bytes() - 1;
    char *memory = memory_map(bytes);
    memset(memory, 'x', bytes);
    munmap_fails = true;
    memory_unmap(memory, bytes);
    munmap_fails = false;
    assert_int_equal(resident(memory), 0);
    memory_unmap(memory, bytes);
}

static void test_too_much(void **state)
{
    (void)state;
    assert_null(memory_map(SIZE_MAX - 65535));
}

/* The test only counts the call: the effect depends on the C library, or on the sanitizer. */
static void test_the_heap_is_trimmed(void **state)
{
    (void)state;
    memory_trim();
#ifdef __GLIBC__
    assert_int_equal(trims, 1);
#else
    assert_int_equal(trims, 0);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_block_is_aligned_and_zero),
        cmocka_unit_test(test_a_block_is_given_back),
        cmocka_unit_test(test_the_pages_are_given_back_even_if_munmap_fails),
        cmocka_unit_test(test_too_much),
        cmocka_unit_test(test_the_heap_is_trimmed),
    };
    return RUN_TESTS("memory", tests);
}
