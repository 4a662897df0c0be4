/*
 * process.h - what surrounds the simulated process: its signals, the service manager, its log, and
 * the files of Unix sockets. os.c, manager.c and logs.c implement the functions of src/os/ and of
 * base/log.h for them.
 */
#ifndef UVECHOD_SIM_PROCESS_H
#define UVECHOD_SIM_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

/* A fresh kernel and a fresh process, by the plan: kernel.c and os.c. */
void kernel_begin(void);
void signals_begin(void);

/* A system call begins, and takes its time. How many there have been. */
void kernel_enter(void);
uint64_t kernel_calls(void);

/* The signal will arrive at that time. */
void signals_send(uint64_t when_us, int signum);

/* The process ends: what survives of its descriptors, of which the ledger is one, and of its
 * signals. */
void kernel_end_process(int ledger);
void signals_end_process(void);

/* The daemon says why there is no upgrade. */
void signals_answered(void);

/* Whether a program is being asked. */
bool signals_ask(void);

/* Fails if signals are blocked and nobody will unblock them, or SIGUSR2 has been forgotten. */
void signals_before_sleep(void);

/* manager.c: the service manager. manager_before_sleep() fails if it misses something. */
void manager_begin(void);
void manager_end_process(void);
void manager_before_sleep(void);
void manager_end(int rc);

/* logs.c: what the daemon has logged. */
void logs_begin(void);
void logs_end(int rc);

/* The process ends: it will not tell that accepting goes on. */
void logs_end_process(void);

/* How many pauses of accepting the log has told of whose end it has not told of. */
unsigned long logs_pauses(void);

/* Whether the daemon has logged that it listens. */
int logs_listening(void);

#endif
