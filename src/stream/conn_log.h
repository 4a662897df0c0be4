/*
 * conn_log.h - the log lines about connections. Any thread may call these functions.
 */
#ifndef UVECHOD_CONN_LOG_H
#define UVECHOD_CONN_LOG_H

#include "base/log.h"
#include "stream/conn.h"

/*
 * Logs an event in one line or two. error is the negative errno that ended the connection, or 0. A
 * client that has sent no byte is taken for a health check, and logged at LOG_LEVEL_DEBUG only. A
 * connection that ends because memory was lacking is logged at LOG_LEVEL_WARNING in any case.
 */
void conn_log_event(struct log *log, const struct conn *conn, enum conn_event event, int error);

/* Logs that a connection was accepted and closed at once. error is the reason, a negative errno. */
void conn_log_refused(struct log *log, int error);

#endif
