#include "os/watches.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>

long watches_max(void)
{
    char text[32];
    char *end = text;
    FILE *file = fopen("/proc/sys/fs/epoll/max_user_watches", "re");
    if (file == NULL)
        return -errno;
    bool got = fgets(text, sizeof text, file) != NULL;
    (void)fclose(file);
    errno = 0;
    long max = got ? strtol(text, &end, 10) : 0;
    return end != text && errno == 0 && max >= 0 ? max : -EINVAL;
}

int watches_add(int epoll, int fd)
{
    struct epoll_event event = {.data.fd = fd};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}
