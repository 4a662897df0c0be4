#include "os/memory.h"

#include <stdlib.h> /* says which C library this is */
#include <sys/mman.h>
#ifdef __GLIBC__
#include <malloc.h>
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
