/*
 * limits.h - how many connections the daemon serves at once: as many as are wanted, if the
 * descriptors of the process and the watches of epoll allow that.
 */
#ifndef UVECHOD_LIMITS_H
#define UVECHOD_LIMITS_H

#include "base/log.h"
#include "stream/conn.h"

#include <stddef.h>

/*
 * Returns how many descriptors the process needs beside those of its connections: for so many
 * workers and endpoints, and for what the services open.
 */
long limits_reserve(const struct services *services, unsigned workers, size_t endpoints);

/*
 * Returns the limit of connections that are open at once, where reserve is what limits_reserve()
 * has returned. wanted is 0 if it does not matter. Raises the soft limit of descriptors to the hard
 * one. Logs a warning if fewer are allowed than wanted. Returns a negative errno of
 * descriptors_raise(), or -EMFILE if no descriptor is left for a connection.
 */
long limits_connections(size_t wanted, long reserve, struct log *log);

#endif
