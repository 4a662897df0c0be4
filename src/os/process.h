/*
 * process.h - what the kernel counts about this process, for the statistics.
 *
 * These are the figures that monitoring knows as process_* of every program, read from getrusage(2)
 * and proc(5) when somebody asks.
 */
#ifndef UVECHOD_PROCESS_H
#define UVECHOD_PROCESS_H

#include <stdint.h>

/* The value of a figure that the kernel does not tell. */
#define PROCESS_UNKNOWN UINT64_MAX

struct process_figures {
    uint64_t cpu_us;         /* processor time of all threads, in user and kernel mode */
    uint64_t open_fds;       /* open descriptors */
    uint64_t max_fds;        /* the soft limit of descriptors */
    uint64_t resident_bytes; /* memory that is in RAM */
    uint64_t virtual_bytes;  /* memory that is mapped */
};

/*
 * Reads all figures. Each is PROCESS_UNKNOWN where the kernel does not tell, as where /proc is not
 * mounted. Costs seven system calls with Linux 6.2 or later; an older kernel does not say how many
 * descriptors are open, and is asked about 1024 of the numbers at a time.
 */
void process_measure(struct process_figures *figures);

/*
 * When the process began, in microseconds since 1970, or PROCESS_UNKNOWN. An execve(2) changes
 * nothing about that. The kernel notes the time since the boot, so what is returned moves when the
 * clock is set: call this once.
 */
uint64_t process_started_us(void);

#endif
