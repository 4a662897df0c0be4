/*
 * memory.h - the memory of the simulated process. The libraries of src/ allocate here (the linker
 * replaces malloc() and the others in them), and so do the functions of os/memory.h. What is left
 * can be counted, and an allocation can fail.
 *
 * The simulation itself must not count: its own code allocates with memory_own() and gives back
 * with memory_disown().
 */
#ifndef UVECHOD_SIM_MEMORY_H
#define UVECHOD_SIM_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeroed memory of the simulation; it does not return without it. */
void *memory_own(size_t count, size_t bytes);
void memory_disown(void *memory);

void process_begin(void);

/* How many buffers of the ledger are in use. */
size_t process_buffers(void);

/* Whether a buffer was refused since it was asked so last: only one connection may end then. */
bool process_lacked_buffer(void);

/*
 * The ledger in force, which is the oldest that is open: its descriptor, or -1 if it is no file;
 * its beginning, and the buffer at a place of it; NULL where there is none. What is in a file is
 * there whether the process has mapped it or not.
 */
int process_file(void);
void *process_file_head(void);
void *process_file_part(uint64_t at);

/* The descriptor of the file behind object is closed. */
void memory_file_closed(void *object);

/* Fails if anything is left. */
void process_end(void);

/* Frees all that the process has allocated, when it ends; what stands in files stays. */
void process_drop(void);

#endif
