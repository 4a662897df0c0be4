#include "os/systemd.h"

#include "os/net.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if UVECHOD_SYSTEMD

#include <systemd/sd-daemon.h>

bool systemd_supported(void)
{
    return true;
}

/*
 * libsystemd remembers the number of the process, which is another one in a child that clone(2) has
 * made (child.h). So the variables that name a process are read here.
 */

/* Of a number from 1 to most, in decimal digits. Returns 0, -EINVAL or -ERANGE. */
static int systemd_parse(const char *text, uint64_t most, uint64_t *number)
{
    char *end;
    errno = 0;
    *number = strtoull(text, &end, 10);
    if (errno == ERANGE)
        return -ERANGE;
    bool valid = *text >= '0' && *text <= '9' && *end == '\0' && *number > 0 && *number <= most;
    return valid ? 0 : -EINVAL;
}

/* Whether a variable names this process. Returns 1 or 0; missing if it is not set; or -EINVAL. */
static int systemd_is_ours(const char *name, int missing)
{
    const char *text = getenv(name);
    uint64_t pid;
    if (text == NULL)
        return missing;
    int rc = systemd_parse(text, INT_MAX, &pid);
    return rc < 0 ? rc : (pid_t)pid == getpid();
}

/* As sd_watchdog_enabled(3). Returns 0 or a negative errno; *us is 0 without a watchdog. */
static int systemd_watchdog(uint64_t *us)
{
    const char *text = getenv("WATCHDOG_USEC");
    uint64_t value;
    *us = 0;
    int rc = text != NULL ? systemd_parse(text, UINT64_MAX - 1, &value) : -ENOENT;
    if (rc == 0)
        rc = systemd_is_ours("WATCHDOG_PID", 1);
    if (rc > 0)
        *us = value;
    return rc < 0 && rc != -ENOENT ? rc : 0;
}

/* ---- passed sockets ---- */

/* Makes them close-on-exec. Returns 0 or -EBADF. */
static int systemd_mark(int count)
{
    int rc = 0;
    for (int i = 0; i < count && rc == 0; i++)
        rc = fcntl(SD_LISTEN_FDS_START + i, F_SETFD, FD_CLOEXEC);
    return rc < 0 ? -errno : 0;
}

/* Splits the text at its colons; NULL: they have no names. Returns 0, -EINVAL or -ENOMEM. */
static int systemd_split(const char *text, size_t count, char **names)
{
    for (size_t i = 0; i < count; i++) {
        const char *name = text != NULL ? text : "unknown";
        size_t len = strcspn(name, ":");
        bool last = i + 1 == count;
        if (text != NULL && last != (text[len] == '\0'))
            return -EINVAL;
        names[i] = strndup(name, len);
        if (names[i] == NULL)
            return -ENOMEM;
        if (text != NULL)
            text += len + 1; /* beyond the end after the last one */
    }
    return 0;
}

static int systemd_name(size_t count, char ***names)
{
    char **list = calloc(count + 1, sizeof *list);
    int rc = list != NULL ? systemd_split(getenv("LISTEN_FDNAMES"), count, list) : -ENOMEM;
    if (rc == 0)
        *names = list;
    else
        systemd_free_names(list);
    return rc;
}

int systemd_sockets(int *first, char ***names)
{
    const char *text = getenv("LISTEN_FDS");
    uint64_t count = 0;
    *first = SD_LISTEN_FDS_START;
    if (names != NULL)
        *names = NULL;
    int rc = systemd_is_ours("LISTEN_PID", 0);
    if (rc <= 0 || text == NULL)
        return rc < 0 ? rc : 0;
    rc = systemd_parse(text, INT_MAX - SD_LISTEN_FDS_START, &count);
    if (rc == 0)
        rc = systemd_mark((int)count);
    if (rc == 0 && names != NULL)
        rc = systemd_name((size_t)count, names);
    return rc < 0 ? rc : (int)count;
}

/* ---- the manager ---- */

int systemd_open(struct systemd *systemd)
{
    *systemd = (struct systemd){.notify_fd = -1};
    const char *path = getenv("NOTIFY_SOCKET");
    /* An address that cannot be used is ignored, and so is a manager that has gone. */
    if (path != NULL && (path[0] == '/' || path[0] == '@') &&
        net_unix(path, &systemd->manager) == 0)
        systemd->notify_fd = net_connect_datagram(&systemd->manager);
    return systemd_watchdog(&systemd->watchdog_us);
}

uint64_t systemd_watchdog_us(void)
{
    uint64_t us;
    (void)systemd_watchdog(&us);
    return us;
}

/* Far more than a manager takes that does not hang, and far less than it waits for our end. */
enum { SYSTEMD_STORE_US = 5000000 };

void systemd_unstore(const char *name)
{
    (void)sd_notifyf(0, "FDSTOREREMOVE=1\nFDNAME=%s", name);
}

int systemd_store(const char *name, const int *fds, size_t count)
{
    char state[256];
    systemd_unstore(name);
    (void)snprintf(state, sizeof state, "FDSTORE=1\nFDPOLL=0\nFDNAME=%s", name);
    int rc = sd_pid_notify_with_fds(0, 0, state, fds, (unsigned)count);
    if (rc > 0)
        rc = sd_notify_barrier(0, SYSTEMD_STORE_US);
    return rc == 0 ? -EOPNOTSUPP : rc < 0 ? rc : 0; /* 0: NOTIFY_SOCKET is not set */
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

uint64_t systemd_watchdog_us(void)
{
    return 0;
}

int systemd_store(const char *name, const int *fds, size_t count)
{
    (void)name;
    (void)fds;
    (void)count;
    return -EOPNOTSUPP;
}

void systemd_unstore(const char *name)
{
    (void)name;
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
