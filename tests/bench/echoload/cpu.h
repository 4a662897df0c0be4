/*
 * cpu.h - the CPU time of another process, the server, and of this one.
 */
#ifndef ECHOLOAD_CPU_H
#define ECHOLOAD_CPU_H

#include <sys/types.h>

struct cpu {
    double user;   /* seconds, as exact as the kernel's clock ticks */
    double system; /* the same */
    double total;  /* seconds, exact to the nanosecond if the kernel says so */
};

/* The CPU time of all threads of pid, and of its children, including those that have ended. */
void cpu_of_process(pid_t pid, struct cpu *cpu);

/* The CPU time of this process, in seconds. */
double cpu_own(void);

#endif
