/*
 * test_memory.c - blocks of real memory: they are zero when they are new, and their pages are given
 * back to the system; and the parts of a file in memory likewise. munmap() is wrapped to fail, as
 * it does beyond vm.max_map_count. malloc_trim() is wrapped to count the calls. The calls that make
 * a file are wrapped to fail in every way that the daemon must survive.
 */
#include "os/memory.h"

#include "unit/support.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum { PAGES = 16, MFD_NOEXEC = 8 /* MFD_NOEXEC_SEAL, which headers may lack */ };

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

/* What the calls that make a file return: an errno, or 0 for what the kernel says. */
static struct {
    int create;      /* memfd_create() */
    int flags;       /* the same, only when it is given MFD_NOEXEC_SEAL */
    int truncate;    /* ftruncate() */
    int allocate;    /* fallocate() */
    int seal;        /* fcntl(F_ADD_SEALS) */
    int interrupted; /* so often fallocate() and pwrite() first return EINTR */
    size_t most;     /* that pwrite() writes; 0: all */
} failing;

int __real_memfd_create(const char *name, unsigned flags);
int __wrap_memfd_create(const char *name, unsigned flags);
int __real_ftruncate(int fd, off_t bytes);
int __wrap_ftruncate(int fd, off_t bytes);
int __real_fallocate(int fd, int mode, off_t at, off_t bytes);
int __wrap_fallocate(int fd, int mode, off_t at, off_t bytes);
ssize_t __real_pwrite(int fd, const void *from, size_t bytes, off_t at);
ssize_t __wrap_pwrite(int fd, const void *from, size_t bytes, off_t at);
int __real_fcntl(int fd, int cmd, ...);
int __wrap_fcntl(int fd, int cmd, ...);

static bool fails(int error)
{
    if (error != 0)
        errno = error;
    return error != 0;
}

int __wrap_memfd_create(const char *name, unsigned flags)
{
    if (fails(failing.create) || ((flags & MFD_NOEXEC) != 0 && fails(failing.flags)))
        return -1;
    return __real_memfd_create(name, flags);
}

int __wrap_ftruncate(int fd, off_t bytes)
{
    return fails(failing.truncate) ? -1 : __real_ftruncate(fd, bytes);
}

int __wrap_fallocate(int fd, int mode, off_t at, off_t bytes)
{
    if (failing.interrupted > 0) {
        failing.interrupted--;
        errno = EINTR;
        return -1;
    }
    return fails(failing.allocate) ? -1 : __real_fallocate(fd, mode, at, bytes);
}

ssize_t __wrap_pwrite(int fd, const void *from, size_t bytes, off_t at)
{
    if (failing.interrupted > 0) {
        failing.interrupted--;
        errno = EINTR;
        return -1;
    }
    return __real_pwrite(fd, from, failing.most > 0 ? failing.most : bytes, at);
}

int __wrap_fcntl(int fd, int cmd, ...)
{
    va_list arguments;
    va_start(arguments, cmd);
    int value = cmd == F_ADD_SEALS ? va_arg(arguments, int) : 0;
    va_end(arguments);
    return cmd == F_ADD_SEALS && fails(failing.seal) ? -1 : __real_fcntl(fd, cmd, value);
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

/* ---- files in memory ---- */

/* How many pages of the file take memory. */
static long file_pages(int file)
{
    struct stat status;
    assert_int_equal(fstat(file, &status), 0);
    return (long)((size_t)status.st_blocks * 512 / page_bytes());
}

static int make_file(void)
{
    int file = memory_file_make("test", 4 * PAGES * page_bytes());
    assert_true(file >= 0);
    return file;
}

static void test_a_number_of_bytes_is_rounded_up_to_pages(void **state)
{
    (void)state;
    assert_int_equal(memory_pages(0), 0);
    assert_int_equal(memory_pages(1), page_bytes());
    assert_int_equal(memory_pages(page_bytes()), page_bytes());
    assert_int_equal(memory_pages(page_bytes() + 1), 2 * page_bytes());
}

/* However long it is, a new file takes no memory; and no program that is executed inherits it. */
static void test_a_file_is_sparse(void **state)
{
    (void)state;
    int file = memory_file_make("test", UINT64_C(1) << 30);
    assert_true(file >= 0);
    assert_int_equal(memory_file_bytes(file), 1 << 30);
    assert_int_equal(file_pages(file), 0);
    assert_int_equal(fcntl(file, F_GETFD), FD_CLOEXEC);
    (void)close(file);
    assert_int_equal(memory_file_bytes(file), -EBADF);
}

/* An access behind the end of a shortened file would kill the process (SIGBUS). */
static void test_the_length_of_a_file_cannot_change(void **state)
{
    (void)state;
    int file = make_file();
    off_t bytes = (off_t)memory_file_bytes(file);
    assert_int_equal(bytes, 4 * PAGES * page_bytes());
    assert_int_equal(__real_ftruncate(file, bytes - 1), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(__real_ftruncate(file, bytes + 1), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(__real_fcntl(file, F_ADD_SEALS, F_SEAL_WRITE), -1); /* nor can the rest */
    assert_int_equal(errno, EPERM);
    assert_int_equal(memory_file_bytes(file), bytes);
    (void)close(file);
}

/* Whatever its length is now. */
static void test_a_file_whose_length_can_change(void **state)
{
    (void)state;
    int file = __real_memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_int_equal(__real_ftruncate(file, 4096), 0);
    assert_int_equal(memory_file_bytes(file), -EPROTO);
    assert_int_equal(__real_fcntl(file, F_ADD_SEALS, F_SEAL_GROW), 0);
    assert_int_equal(memory_file_bytes(file), -EPROTO);
    assert_int_equal(__real_fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK), 0);
    assert_int_equal(memory_file_bytes(file), 4096);
    (void)close(file);
    file = open("/dev/null", O_RDONLY | O_CLOEXEC); /* which has no seals */
    assert_int_equal(memory_file_bytes(file), -EPROTO);
    (void)close(file);
}

static void test_a_file_is_read(void **state)
{
    char read[3] = "";
    (void)state;
    int file = make_file();
    uint64_t bytes = (uint64_t)memory_file_bytes(file);
    assert_int_equal(pwrite(file, "abcde", 5, 100), 5);
    assert_int_equal(memory_file_read(file, 101, read, sizeof read), 0);
    assert_memory_equal(read, "bcd", sizeof read);
    assert_int_equal(memory_file_read(file, bytes - 2, read, sizeof read), -EIO);
    (void)close(file);
    assert_int_equal(memory_file_read(file, 0, read, sizeof read), -EBADF);
}

static void test_write(void **state)
{
    char read[5] = "";
    (void)state;
    int file = make_file();
    uint64_t bytes = (uint64_t)memory_file_bytes(file);
    failing.interrupted = 2;
    assert_int_equal(memory_file_write(file, 100, "abcde", 5), 0);
    assert_int_equal(failing.interrupted, 0);
    assert_int_equal(memory_file_read(file, 100, read, sizeof read), 0);
    assert_memory_equal(read, "abcde", sizeof read);
    assert_int_equal(memory_file_write(file, bytes, "abcde", 5), -EPERM); /* it must not grow */
    failing.most = 3;
    assert_int_equal(memory_file_write(file, 100, "abcde", 5), -ENOSPC);
    failing.most = 0;
    (void)close(file);
    assert_int_equal(memory_file_write(file, 0, "abcde", 5), -EBADF);
}

/* What one part writes is in the file, at the same place, and survives the part. */
static void test_what_is_written_is_in_the_file(void **state)
{
    (void)state;
    size_t bytes = PAGES * page_bytes();
    int file = make_file();
    char *first = memory_file_map(file, bytes, bytes);
    char *second = memory_file_map(file, bytes, bytes);
    assert_non_null(first);
    assert_non_null(second);
    assert_ptr_not_equal(first, second);
    assert_int_equal(first[7], 0);
    first[7] = 'x';
    assert_int_equal(second[7], 'x');
    assert_int_equal(munmap(first, bytes), 0);
    assert_int_equal(second[7], 'x');
    memory_file_unmap(file, bytes, second, bytes);
    assert_int_equal(file_pages(file), 0);
    (void)close(file);
}

static void check_part_goes_back(bool munmap_works)
{
    size_t bytes = PAGES * page_bytes();
    int file = make_file();
    char *memory = memory_file_map(file, bytes, bytes);
    char *other = memory_file_map(file, 0, bytes);
    memset(memory, 'x', bytes);
    other[0] = 'y';
    assert_int_equal(file_pages(file), PAGES + 1);
    munmap_fails = !munmap_works;
    memory_file_unmap(file, bytes, memory, bytes);
    munmap_fails = false;
    assert_int_equal(resident(memory), munmap_works ? -1 : 0);
    assert_int_equal(file_pages(file), 1); /* the other part keeps its page */
    char *again = memory_file_map(file, bytes, bytes);
    for (size_t i = 0; i < bytes; i++)
        assert_int_equal(again[i], 0);
    if (!munmap_works)
        assert_int_equal(munmap(memory, bytes), 0);
    memory_file_unmap(file, bytes, again, bytes);
    memory_file_unmap(file, 0, other, bytes);
    (void)close(file);
}

static void test_a_part_is_given_back(void **state)
{
    (void)state;
    check_part_goes_back(true);
}

static void test_the_pages_of_a_part_are_given_back_even_if_munmap_fails(void **state)
{
    (void)state;
    check_part_goes_back(false);
}

static void test_pages_can_be_provided(void **state)
{
    (void)state;
    int file = make_file();
    failing.interrupted = 3;
    assert_int_equal(memory_file_fill(file, page_bytes(), 5 * page_bytes()), 0);
    assert_int_equal(failing.interrupted, 0);
    assert_int_equal(file_pages(file), 5);
    failing.allocate = ENOSPC;
    assert_int_equal(memory_file_fill(file, 0, page_bytes()), -ENOSPC);
    failing.allocate = 0;
    (void)close(file);
}

/* The file is gone then, too. */
static void check_no_file(int error)
{
    int before = count_fds();
    assert_int_equal(memory_file_make("test", page_bytes()), -error);
    assert_int_equal(count_fds(), before);
    memset(&failing, 0, sizeof failing);
}

static void test_a_file_that_cannot_be_made(void **state)
{
    (void)state;
    failing.create = ENOSYS;
    check_no_file(ENOSYS);
    failing.create = EMFILE;
    check_no_file(EMFILE);
    failing.truncate = EFBIG;
    check_no_file(EFBIG);
    failing.allocate = EOPNOTSUPP;
    check_no_file(EOPNOTSUPP);
    failing.seal = EINVAL;
    check_no_file(EINVAL);
    assert_int_equal(memory_file_make("test", UINT64_MAX), -EFBIG);
}

/* A kernel before Linux 6.3 does not know a flag that a later one may ask for. */
static void test_a_flag_that_the_kernel_does_not_know(void **state)
{
    (void)state;
    failing.flags = EINVAL;
    int file = make_file();
    failing.flags = EACCES;
    assert_int_equal(memory_file_make("test", page_bytes()), -EACCES);
    failing.flags = 0;
    (void)close(file);
}

/* The kernel's own refusal, not a wrapped one. The signal that comes with it is ignored. */
static void test_a_file_beyond_the_limit_of_files(void **state)
{
    struct rlimit limit;
    (void)state;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    struct rlimit low = {.rlim_cur = page_bytes(), .rlim_max = limit.rlim_max};
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    assert_int_equal(memory_file_make("test", 2 * page_bytes()), -EFBIG);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    (void)signal(SIGXFSZ, SIG_DFL);
}

static void test_parts_without_a_file(void **state)
{
    (void)state;
    size_t bytes = PAGES * page_bytes();
    assert_int_equal(memory_file_fill(-1, 0, bytes), 0);
    char *first = memory_file_map(-1, 0, bytes);
    char *second = memory_file_map(-1, 0, bytes);
    memset(first, 'x', bytes);
    assert_int_equal(second[0], 0);
    memory_file_unmap(-1, 0, first, bytes);
    memory_file_unmap(-1, 0, second, bytes);
    assert_int_equal(resident(first), -1);
    assert_null(memory_file_map(-1, 0, SIZE_MAX - 65535));
}

static void test_a_part_of_too_much(void **state)
{
    (void)state;
    int file = make_file();
    assert_null(memory_file_map(file, 0, SIZE_MAX - 65535));
    (void)close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_block_is_aligned_and_zero),
        cmocka_unit_test(test_a_block_is_given_back),
        cmocka_unit_test(test_the_pages_are_given_back_even_if_munmap_fails),
        cmocka_unit_test(test_too_much),
        cmocka_unit_test(test_the_heap_is_trimmed),
        cmocka_unit_test(test_a_number_of_bytes_is_rounded_up_to_pages),
        cmocka_unit_test(test_a_file_is_sparse),
        cmocka_unit_test(test_the_length_of_a_file_cannot_change),
        cmocka_unit_test(test_a_file_whose_length_can_change),
        cmocka_unit_test(test_a_file_is_read),
        cmocka_unit_test(test_write),
        cmocka_unit_test(test_what_is_written_is_in_the_file),
        cmocka_unit_test(test_a_part_is_given_back),
        cmocka_unit_test(test_the_pages_of_a_part_are_given_back_even_if_munmap_fails),
        cmocka_unit_test(test_pages_can_be_provided),
        cmocka_unit_test(test_a_file_that_cannot_be_made),
        cmocka_unit_test(test_a_flag_that_the_kernel_does_not_know),
        cmocka_unit_test(test_a_file_beyond_the_limit_of_files),
        cmocka_unit_test(test_parts_without_a_file),
        cmocka_unit_test(test_a_part_of_too_much),
    };
    return RUN_TESTS("memory", tests);
}
