#include "os/watches.h"

#include "os/net.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

/*
 * Not with stdio, which reads one byte at a time when there is no memory for its buffer: the kernel
 * gives the whole number to the first read(2) only.
 */
long watches_max(void)
{
    char text[32];
    char *end;
    int fd = open("/proc/sys/fs/epoll/max_user_watches", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t len = read(fd, text, sizeof text - 1);
    net_close(fd);
    text[len > 0 ? len : 0] = '\0';
    errno = 0;
    long max = strtol(text, &end, 10);
    return end != text && errno == 0 && max >= 0 ? max : -EINVAL;
}

int watches_add(int epoll, int fd)
{
    struct epoll_event event = {.data.fd = fd};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

int watches_remove(int epoll, int fd)
{
    return epoll_ctl(epoll, EPOLL_CTL_DEL, fd, NULL) < 0 ? -errno : 0;
}

/* Not by /proc, which may be missing. Of any other descriptor epoll_wait(2) says EINVAL. */
bool watches_is_epoll(int fd)
{
    struct epoll_event event;
    return epoll_wait(fd, &event, 1, 0) >= 0;
}
