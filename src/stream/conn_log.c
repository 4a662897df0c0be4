#include "stream/conn_log.h"

#include "base/i18n.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { CONN_LOG_STRLEN = 2 * NET_ADDR_STRLEN + 32 }; /* "%s via %s" in any language */

/* The peer or, if that is a proxy which has named the client, both. */
static void conn_log_name(const struct conn *conn, char buf[static CONN_LOG_STRLEN])
{
    const union net_addr *client = proxy_client(conn);
    char peer[NET_ADDR_STRLEN];
    char name[NET_ADDR_STRLEN];
    (void)net_format_peer(&conn->peer, peer);
    if (client == NULL)
        (void)snprintf(buf, CONN_LOG_STRLEN, "%s", peer);
    else
        (void)snprintf(buf, CONN_LOG_STRLEN, _("%s via %s"), net_format(client, name), peer);
}

static const char *conn_log_reason(int error)
{
    switch (-error) {
    case ETIME:
        return _("idle for too long");
    case ECOMM:
        return _("took no answer for too long");
    case ESHUTDOWN:
        return _("the daemon stops");
    default:
        return strerror(-error);
    }
}

static void conn_log_closed(struct log *log, enum log_level level, const char *peer, int error)
{
    if (error == 0)
        log_write(log, level, _("Connection closed: %s"), peer);
    else
        log_write(log, level, _("Connection closed: %s (%s)"), peer, conn_log_reason(error));
    log_write(log, level, _("Task finished"));
}

/* A connection that has not spoken is taken for a health check, unless the daemon lacked memory. */
static enum log_level conn_log_level(const struct conn *conn, int error)
{
    if (error == -ENOMEM || error == -ENOBUFS)
        return LOG_LEVEL_WARNING;
    return conn->spoke ? LOG_LEVEL_INFO : LOG_LEVEL_DEBUG;
}

void conn_log_event(struct log *log, const struct conn *conn, enum conn_event event, int error)
{
    enum log_level level = conn_log_level(conn, error);
    char peer[CONN_LOG_STRLEN];
    if (!log_enabled(log, level))
        return;
    conn_log_name(conn, peer);
    switch (event) {
    case CONN_OPENED:
        log_write(log, level, _("Connection from %s"), peer);
        break;
    case CONN_HEADED: /* at the level at which CONN_OPENED has logged the proxy */
        if (proxy_client(conn) != NULL)
            log_write(log, level, _("Connection from %s"), peer);
        break;
    case CONN_ADOPTED: /* the predecessor has logged it */
    case CONN_MISLED:  /* the server logs it, once a second */
        break;
    case CONN_SPOKE:
        if (!log_enabled(log, LOG_LEVEL_DEBUG)) /* at that level this line is in the log already */
            log_write(log, level, _("Connection from %s"), peer);
        break;
    case CONN_CLOSED:
        conn_log_closed(log, level, peer, error);
        break;
    }
}

void conn_log_refused(struct log *log, int error)
{
    log_write(log, LOG_LEVEL_WARNING, _("Connection refused: %s"), strerror(-error));
}
