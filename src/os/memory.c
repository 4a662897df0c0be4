#include "os/memory.h"

#include <sys/mman.h>

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
