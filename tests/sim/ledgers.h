/*
 * ledgers.h - whether a successor could go on if the process died now.
 *
 * The rule by which a successor finds out what was under way stands in src/stream/remains.h. Here
 * that rule is applied to the entry of a socket and to the counts of the simulated kernel, and its
 * result is compared with what the kernel knows to be under way: to the byte.
 */
#ifndef UVECHOD_SIM_LEDGERS_H
#define UVECHOD_SIM_LEDGERS_H

#include "socket.h"

/* A system call concerns the socket: before and after it does something. */
void ledgers_check(const struct socket *socket);

/* All loops are about to sleep. */
void ledgers_before_sleep(const struct socket *socket);

/* The descriptor of the socket is about to be closed: its entry must not be in force. */
void ledgers_closed(const struct socket *socket);

/* Whether its entry names a buffer for the header of a proxy. */
bool ledgers_holds_header(const struct socket *socket);

/* The memory of the buffer there goes back: no entry names that for a header. */
void ledgers_check_unnamed(uint64_t at);

/* The process has ended, and the socket is open: what its entry says goes into the socket. */
void ledgers_outlived(struct socket *socket);

/* The daemon is about to store something there. */
void ledgers_store(void);

/* The daemon has stored something there: stores.h. If it is an entry, a successor could go on. */
void ledgers_stored(const volatile void *field);

#endif
