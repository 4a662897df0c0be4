/*
 * systemd.h - what the service manager gives to the daemon, and what it wants to be told.
 *
 * This is the only file that knows libsystemd. Without libsystemd, or when no service manager has
 * started the daemon, there are no passed sockets, there is no watchdog, and nothing is told.
 */
#ifndef UVECHOD_SYSTEMD_H
#define UVECHOD_SYSTEMD_H

#include "os/net.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct systemd {
    int notify_fd;          /* -1: nobody wants to be told */
    union net_addr manager; /* what notify_fd is connected to */
    uint64_t watchdog_us;   /* the watchdog must be told at least this often; 0: there is none */
};

/* Whether this build has libsystemd. */
bool systemd_supported(void);

/*
 * Finds the passed sockets (sd_listen_fds(3)) and makes them close-on-exec. Returns how many there
 * are, with the number of the first in *first and the others behind it, or a negative errno:
 * -EINVAL or -ERANGE if LISTEN_FDS or LISTEN_PID is no number, -EBADF if LISTEN_FDS is too high,
 * -EINVAL if LISTEN_FDNAMES has another number of names, -ENOMEM. If names is not NULL, *names
 * becomes an array of as many strings, which must be freed with systemd_free_names(), or NULL
 * without sockets.
 */
int systemd_sockets(int *first, char ***names);
void systemd_free_names(char **names);

/*
 * Connects to NOTIFY_SOCKET, if it can, and looks up the watchdog. Returns 0, or a negative errno
 * such as -EINVAL or -ERANGE if WATCHDOG_USEC is no positive number: then there is no watchdog, but
 * all else works. systemd_close() must be called in either case.
 */
int systemd_open(struct systemd *systemd);
void systemd_close(struct systemd *systemd);

/*
 * How often the watchdog must be told, as in struct systemd; opens nothing. 0: there is none for
 * this process, or WATCHDOG_USEC is no positive number. A process that will make a child with
 * child_make() may call this function of this file alone: libsystemd remembers the number of the
 * process, and only learns of children that fork(2) has made.
 */
uint64_t systemd_watchdog_us(void);

/*
 * Tells the manager one or more assignments, one per line (sd_notify(3)), in the format of
 * printf(3). Returns true if they have been told or nobody wants to be told, and false if the
 * manager's queue is full: sd_notify() itself would wait for room there, which the loop must not. A
 * manager that has made its socket anew is connected to again.
 */
bool systemd_notify(struct systemd *systemd, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/*
 * Gives the manager copies of the descriptors, to be passed by this name to the process that it
 * starts next (FDSTORE=1 in sd_notify(3)), instead of those that it has by this name. It keeps them
 * whatever happens to them (FDPOLL=0, of systemd 246), but drops them when the unit stops and is
 * not started again. Waits until the manager has read that, for a few seconds at most. Whether it
 * keeps them it does not say. Returns 0 or a negative errno: -ETIMEDOUT if it has not read that,
 * -EOPNOTSUPP if there is no manager.
 */
int systemd_store(const char *name, const int *fds, size_t count);

/* Lets the manager drop what it has stored by this name (FDSTOREREMOVE=1). May wait for room. */
void systemd_unstore(const char *name);

#endif
