/*
 * conn_log.h - what the log says of connections, from whichever thread.
 */
#ifndef UVECHOD_CONN_LOG_H
#define UVECHOD_CONN_LOG_H

#include "stream/conn.h"
#include "base/log.h"

/*
 * One line or two for what has happened to conn; error is 0 or the negative errno that ended it.
 * Who never says a byte is a health check, and is only logged at LOG_LEVEL_DEBUG.
 */
void conn_log_event(struct log *log, const struct conn *conn, enum conn_event event, int error);

/* A connection has been accepted and dropped; error is the negative errno that says why. */
void conn_log_refused(struct log *log, int error);

#endif
