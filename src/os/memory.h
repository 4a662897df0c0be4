/*
 * memory.h - memory that goes back to the system.
 *
 * free() returns memory to the system only from the end of the heap: one small block there keeps
 * all free memory before it. A block of memory_map() goes back whatever else is in use. It costs a
 * system call and a page fault for each of its pages, so it is for large blocks that are made
 * rarely. What free() has kept of small blocks goes back with memory_trim().
 */
#ifndef UVECHOD_MEMORY_H
#define UVECHOD_MEMORY_H

#include <stddef.h>

/*
 * Returns bytes > 0 of zeroed memory, aligned to a page, which the caller gives back with
 * memory_unmap(). Returns NULL when there is no memory, or when the process has as many mappings
 * as it may have (mmap(2); vm.max_map_count in proc_sys_vm(5)). Blocks that lie side by side are
 * one mapping.
 */
void *memory_map(size_t bytes);

/*
 * Gives back what memory_map(bytes) has returned. The pages always go back to the system. Only the
 * addresses stay taken when a hole between two blocks would be one mapping too many (munmap(2)).
 */
void memory_unmap(void *memory, size_t bytes);

/*
 * Gives the free pages of the heap back to the system (malloc_trim(3)). It takes time in proportion
 * to the number of free blocks. Does nothing with another C library than glibc.
 */
void memory_trim(void);

#endif
