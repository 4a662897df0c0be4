#include "os/watches.h"

#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>

long watches_max(void)
{
    long max;
    FILE *file = fopen("/proc/sys/fs/epoll/max_user_watches", "re");
    if (file == NULL)
        return -errno;
    int found = fscanf(file, "%ld", &max);
    (void)fclose(file);
    return found == 1 && max >= 0 ? max : -EINVAL;
}

int watches_add(int epoll, int fd)
{
    struct epoll_event event = {.data.fd = fd};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}
