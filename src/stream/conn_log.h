/*
 * conn_log.h - what the log says of connections. Any thread may call these.
 */
#ifndef UVECHOD_CONN_LOG_H
#define UVECHOD_CONN_LOG_H

#include "stream/conn.h"
#include "base/log.h"

/*
 * Writes one line or two about an event; error is 0 or the negative errno that ended the
 * connection. A client that has sent no byte is a health check: it is logged at LOG_LEVEL_DEBUG
 * only.
 */
void conn_log_event(struct log *log, const struct conn *conn, enum conn_event event, int error);

/* Writes that a connection was accepted and closed at once; error is the negative errno why. */
void conn_log_refused(struct log *log, int error);

#endif
