#include "os/systemd.h"

#include "os/net.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#if UVECHOD_SYSTEMD

#include <systemd/sd-daemon.h>

bool systemd_supported(void)
{
    return true;
}

int systemd_sockets(int *first, char ***names)
{
    *first = SD_LISTEN_FDS_START;
    if (names != NULL)
        *names = NULL;
    return names != NULL ? sd_listen_fds_with_names(0, names) : sd_listen_fds(0);
}

int systemd_open(struct systemd *systemd)
{
    *systemd = (struct systemd){.notify_fd = -1};
    const char *path = getenv("NOTIFY_SOCKET");
    /* An address that cannot be used is ignored, and so is a manager that has gone. */
    if (path != NULL && (path[0] == '/' || path[0] == '@') &&
        net_unix(path, &systemd->manager) == 0)
        systemd->notify_fd = net_connect_datagram(&systemd->manager);
    int rc = sd_watchdog_enabled(0, &systemd->watchdog_us);
    if (rc <= 0)
        systemd->watchdog_us = 0;
    return rc < 0 ? rc : 0;
}

#else

bool systemd_supported(void)
{
    return false;
}

int systemd_sockets(int *first, char ***names)
{
    *first = -1;
    if (names != NULL)
        *names = NULL;
    return 0;
}

int systemd_open(struct systemd *systemd)
{
    *systemd = (struct systemd){.notify_fd = -1};
    return 0;
}

#endif

void systemd_free_names(char **names)
{
    for (char **name = names; name != NULL && *name != NULL; name++)
        free(*name);
    free(names);
}

void systemd_close(struct systemd *systemd)
{
    if (systemd->notify_fd >= 0)
        net_close(systemd->notify_fd);
    systemd->notify_fd = -1;
}

static bool systemd_send(struct systemd *systemd, const char *state, size_t len)
{
    ssize_t n = net_send(systemd->notify_fd, state, len);
    if (n >= 0 || n == -EAGAIN)
        return n >= 0;
    int fd = net_connect_datagram(&systemd->manager);
    if (fd < 0)
        return false;
    net_close(systemd->notify_fd);
    systemd->notify_fd = fd;
    return net_send(fd, state, len) >= 0;
}

bool systemd_notify(struct systemd *systemd, const char *format, ...)
{
    if (systemd->notify_fd < 0)
        return true;
    char state[512];
    va_list args;
    va_start(args, format);
    int len = vsnprintf(state, sizeof state, format, args);
    va_end(args);
    return len > 0 && (size_t)len < sizeof state && systemd_send(systemd, state, (size_t)len);
}
