/*
 * fates.h - what becomes of the headers of proxies (headers.h).
 *
 * A connection of a source that the plan names begins with a header. The daemon takes the header
 * off: answers no byte of it, receives no byte behind it together with it, and counts it once.
 * Where a source is not named, the same bytes are data.
 *
 * The daemon counts a header before its entry says that the header is over. A process that ends
 * between the two leaves a successor that counts again, so that the right count is known as a range
 * only. The range is as wide as there were such ends.
 */
#ifndef UVECHOD_SIM_FATES_H
#define UVECHOD_SIM_FATES_H

#include "socket.h"

#include <stdbool.h>
#include <stdint.h>

struct header;

void fates_begin(void);

/* The client has connected, and sends this header if it sends one there. */
void fates_connected(struct socket *socket, const struct header *header);

/* Whether the daemon is in the middle of a header, or has not begun with it. */
bool fates_awaits(const struct socket *socket);

/* How many bytes in front of the client's the daemon takes off; how many of the client's it has. */
uint64_t fates_front(const struct socket *socket);
uint64_t fates_data(const struct socket *socket);

/*
 * The daemon has received bytes from that offset on. Returns whether they are those of a header,
 * which are not answered.
 */
bool fates_received(const struct socket *socket, uint64_t offset, uint64_t bytes, bool piped);

/* The entry says that the header is over. */
void fates_passed(struct socket *socket);

/* The daemon is about to reset the connection, or to close it, in the middle of the header. */
void fates_discarded(struct socket *socket);
void fates_closed(const struct socket *socket);

/* The process has ended, and the connection is open; after ledgers_outlived(). */
void fates_outlived(struct socket *socket);

/* The successor serves it. */
void fates_served(struct socket *socket);

/* All loops are about to sleep. */
void fates_before_sleep(const struct socket *socket);

/* A line of the log is about the connection, and names this client in front of it, or none. */
void fates_named(const struct socket *socket, const char *client);

/* The log says why the connection is about to be reset. */
void fates_complained(const struct socket *socket, const char *reason);

/* Fails if the counts of the daemon, in the order of enum proxy_result, cannot be right. */
void fates_check(const uint64_t *counts);

/* The same of the counts in the ledger in force, if there is one. */
void fates_check_ledger(void);

/* How many there have been of a result, at the least; at the most. */
uint64_t fates_sure(unsigned result);
uint64_t fates_most(unsigned result);

#endif
