#include "stream/conn_log.h"

#include "base/i18n.h"

#include <errno.h>
#include <string.h>

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
    char peer[NET_ADDR_STRLEN];
    if (!log_enabled(log, level))
        return;
    (void)net_format_peer(&conn->peer, peer);
    switch (event) {
    case CONN_OPENED:
        log_write(log, level, _("Connection from %s"), peer);
        break;
    case CONN_ADOPTED: /* the predecessor has logged it */
        break;
    case CONN_SPOKE:
        if (!log_enabled(log, LOG_LEVEL_DEBUG)) /* at that level CONN_OPENED has logged this line */
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
