/*
 * memory.h - memory that goes back to the system.
 *
 * free() returns memory to the system only from the end of the heap: one small block there keeps
 * all free memory before it. A block of memory_map() goes back whatever else is in use. It costs a
 * system call and a page fault for each of its pages, so it is for large blocks that are made
 * rarely. What free() has kept of small blocks goes back with memory_trim().
 *
 * A file in memory (memfd_create(2)) is memory that outlives the process, as long as a descriptor
 * of the file does. Its parts are mapped as blocks are, and go back to the system as blocks do.
 */
#ifndef UVECHOD_MEMORY_H
#define UVECHOD_MEMORY_H

#include <stddef.h>
#include <stdint.h>

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
 *
 * A process with several threads must have called this before there were any. Where another
 * allocator takes the place of glibc's malloc(), such as that of a sanitizer or of LD_PRELOAD, the
 * first call makes glibc's own heap, and two threads that do so at a time crash.
 */
void memory_trim(void);

/* Returns the number of bytes, rounded up to whole pages. */
size_t memory_pages(size_t bytes);

/*
 * Makes a file in memory of so many bytes. They are zero, and take no memory before they are
 * written. Nobody can change the length (F_ADD_SEALS in fcntl(2)), because an access behind the end
 * of a shortened file kills the process. The name is shown in /proc. Returns the descriptor, which
 * is close-on-exec and which the caller closes with net_close(). Or returns a negative errno of
 * memfd_create(2), ftruncate(2), fcntl(2) or fallocate(2): -EFBIG for more bytes than RLIMIT_FSIZE
 * allows, -EOPNOTSUPP where the memory of a part would not go back to the system.
 * signals_ignore_of_writes() must have been called, because RLIMIT_FSIZE raises SIGXFSZ, too.
 */
int memory_file_make(const char *name, uint64_t bytes);

/*
 * Returns how many bytes the file has for good. Or returns a negative errno of fstat(2), or -EPROTO
 * when the length can change: then memory_file_make() has not made the file.
 */
int64_t memory_file_bytes(int file);

/*
 * Reads bytes from this place of the file, which must have them. Returns 0, or a negative errno of
 * pread(2).
 */
int memory_file_read(int file, uint64_t at, void *to, size_t bytes);

/*
 * Writes bytes to this place of the file, which must have them. Unlike a store to what is mapped,
 * the call needs no memory_file_fill() before it. Returns 0, or a negative errno of pwrite(2):
 * -ENOSPC or -ENOMEM when there is no memory. A part of the bytes may have been written then.
 */
int memory_file_write(int file, uint64_t at, const void *from, size_t bytes);

/*
 * Maps a part of the file; the place must be that of a page, and bytes > 0. Without a file (-1) the
 * part is a block of memory_map(). Returns the memory, which the caller gives back with
 * memory_file_unmap(), or NULL as memory_map() does. Parts that lie side by side in the file and in
 * memory are one mapping. A write to a page for which there is no memory kills the process, unless
 * memory_file_fill() has provided the page: vm.overcommit_memory in proc_sys_vm(5).
 */
void *memory_file_map(int file, uint64_t at, size_t bytes);

/*
 * Provides the pages of a part of the file, all in one call, which costs less than a fault for each
 * page. Returns 0, also without a file (-1), or a negative errno of fallocate(2): -ENOSPC or
 * -ENOMEM when there is no memory. Some of the pages may have been provided then.
 */
int memory_file_fill(int file, uint64_t at, size_t bytes);

/*
 * Gives the memory of a part of the file back to the system, whether it is mapped or not; the place
 * and bytes must be those of whole pages. The part reads as zero afterwards.
 */
void memory_file_drop(int file, uint64_t at, uint64_t bytes);

/*
 * Gives back the part that memory_file_map() has returned for the same place and size. The pages
 * always go back to the system, and read as zero when they are mapped again. As in memory_unmap(),
 * the addresses may stay taken.
 */
void memory_file_unmap(int file, uint64_t at, void *memory, size_t bytes);

#endif
