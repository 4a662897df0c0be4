/*
 * watches.h - how many descriptors epoll can watch, and so how many connections.
 */
#ifndef UVECHOD_WATCHES_H
#define UVECHOD_WATCHES_H

#include <stdbool.h>

/*
 * How many watches all processes of a user may have together (fs.epoll.max_user_watches, epoll(7)),
 * those of root, too. Returns a negative errno of open(2) where /proc does not say, or -EINVAL if
 * what stands there is no such number.
 */
long watches_max(void);

/*
 * Makes the epoll descriptor watch fd, for no event yet. libuv does so itself, but only when its
 * loop polls, and aborts the process when the kernel refuses. If fd is watched already then, libuv
 * only changes the events. Returns 0 or a negative errno of epoll_ctl(2): -ENOSPC or -ENOMEM where
 * there is no watch for it.
 */
int watches_add(int epoll, int fd);

/* Ends the watch of fd. Returns 0 or a negative errno of epoll_ctl(2): -ENOENT if there is none. */
int watches_remove(int epoll, int fd);

/* Whether fd is an epoll descriptor; what it reports is reported again. */
bool watches_is_epoll(int fd);

#endif
