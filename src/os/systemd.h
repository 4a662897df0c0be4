/*
 * systemd.h - what the service manager gives us and wants to be told.
 *
 * The only file that knows libsystemd. Without it, or when something else has started us, there
 * are no sockets, no watchdog and nobody to tell, and every call here does just that.
 */
#ifndef UVECHOD_SYSTEMD_H
#define UVECHOD_SYSTEMD_H

#include "os/net.h"

#include <stdbool.h>
#include <stdint.h>

struct systemd {
    int notify_fd;          /* -1: nobody wants to be told */
    union net_addr manager; /* what it is connected to */
    uint64_t watchdog_us;   /* a ping is due in this time; 0: none is */
};

/* Whether this build has libsystemd. */
bool systemd_supported(void);

/*
 * How many sockets have been passed (sd_listen_fds(3)), the first of them in *first, or a
 * negative errno: -EINVAL for a LISTEN_FDS that is no number, -EBADF for one too high. They are
 * made close-on-exec. If names is not NULL it is set to as many strings, to be freed with
 * systemd_free_names(), or to NULL when there are none.
 */
int systemd_sockets(int *first, char ***names);
void systemd_free_names(char **names);

/*
 * Connects to NOTIFY_SOCKET, which nobody need be reading, and looks up the watchdog. Returns 0
 * or a negative errno, such as -EINVAL or -ERANGE, for a WATCHDOG_USEC that is no positive number;
 * there is no watchdog then, but the rest works.
 */
int systemd_open(struct systemd *systemd);
void systemd_close(struct systemd *systemd);

/*
 * Tells an assignment or several, one per line (sd_notify(3)), formatted as printf(3). Returns
 * whether there is nobody to tell, or it has been told: what does not fit into the manager's queue
 * is not. sd_notify() itself would wait for room, and the loop must not. A manager that has made
 * its socket anew is found again.
 */
bool systemd_notify(struct systemd *systemd, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
