/*
 * cpu.h - the CPU time of a process that somebody else runs: the server's.
 */
#ifndef ECHOLOAD_CPU_H
#define ECHOLOAD_CPU_H

#include <sys/types.h>

struct cpu {
    double user;   /* seconds, in clock ticks of the kernel */
    double system; /* the same */
    double total;  /* to the nanosecond, where the kernel tells */
};

/* Of all threads of pid and of the children that it has or has waited for. */
void cpu_of_process(pid_t pid, struct cpu *cpu);

/* Of this process. */
double cpu_own(void);

#endif
