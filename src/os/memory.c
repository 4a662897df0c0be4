#include "os/memory.h"

#include "os/net.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h> /* says which C library this is */
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U /* since Linux 6.3; headers may be older */
#endif

void *memory_map(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return memory != MAP_FAILED ? memory : NULL;
}

void memory_unmap(void *memory, size_t bytes)
{
    if (munmap(memory, bytes) < 0)
        (void)madvise(memory, bytes, MADV_DONTNEED);
}

void memory_trim(void)
{
#ifdef __GLIBC__
    (void)malloc_trim(0);
#endif
}

size_t memory_pages(size_t bytes)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    return (bytes + page - 1) / page * page;
}

/* A signal may interrupt the call, which then has done nothing. */
static int memory_file_allocate(int file, int mode, off_t at, off_t bytes)
{
    int rc;
    do
        rc = fallocate(file, mode, at, bytes);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? -errno : 0;
}

static int memory_file_free(int file, off_t at, off_t bytes)
{
    return memory_file_allocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, at, bytes);
}

/* vm.memfd_noexec may ask for the last flag, and an older kernel does not know it. */
static int memory_file_create(const char *name)
{
    int file = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (file < 0 && errno == EINVAL)
        file = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    return file < 0 ? -errno : file;
}

/* What keeps the length as it is. */
enum { MEMORY_SEALS = F_SEAL_SHRINK | F_SEAL_GROW };

/* Sets the length for good. The last seal is against seals that would forbid writing. */
static int memory_file_size(int file, off_t bytes)
{
    if (ftruncate(file, bytes) < 0 || fcntl(file, F_ADD_SEALS, MEMORY_SEALS | F_SEAL_SEAL) < 0)
        return -errno;
    return 0;
}

int memory_file_make(const char *name, uint64_t bytes)
{
    off_t length = (off_t)bytes;
    if (length < 0 || (uint64_t)length != bytes)
        return -EFBIG;
    int file = memory_file_create(name);
    if (file < 0)
        return file;
    int rc = memory_file_size(file, length);
    if (rc == 0)
        rc = memory_file_free(file, 0, length);
    if (rc == 0)
        return file;
    net_close(file);
    return rc;
}

int64_t memory_file_bytes(int file)
{
    struct stat status;
    if (fstat(file, &status) < 0)
        return -errno;
    int seals = fcntl(file, F_GET_SEALS);
    return seals >= 0 && (seals & MEMORY_SEALS) == MEMORY_SEALS ? status.st_size : -EPROTO;
}

/* The memory of a file is read all at once, unless a signal kills the process. */
int memory_file_read(int file, uint64_t at, void *to, size_t bytes)
{
    ssize_t n;
    do
        n = pread(file, to, bytes, (off_t)at);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    return (size_t)n == bytes ? 0 : -EIO;
}

/* All at once, too, unless the memory ends on the way. */
int memory_file_write(int file, uint64_t at, const void *from, size_t bytes)
{
    ssize_t n;
    do
        n = pwrite(file, from, bytes, (off_t)at);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    return (size_t)n == bytes ? 0 : -ENOSPC;
}

void *memory_file_map(int file, uint64_t at, size_t bytes)
{
    if (file < 0)
        return memory_map(bytes);
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, (off_t)at);
    return memory != MAP_FAILED ? memory : NULL;
}

int memory_file_fill(int file, uint64_t at, size_t bytes)
{
    return file < 0 ? 0 : memory_file_allocate(file, 0, (off_t)at, (off_t)bytes);
}

void memory_file_drop(int file, uint64_t at, uint64_t bytes)
{
    (void)memory_file_free(file, (off_t)at, (off_t)bytes);
}

void memory_file_unmap(int file, uint64_t at, void *memory, size_t bytes)
{
    memory_unmap(memory, bytes);
    if (file >= 0)
        memory_file_drop(file, at, bytes);
}
