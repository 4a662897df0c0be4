#include "os/descriptors.h"

#include "os/net.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

int descriptors_fill_stdio(void)
{
    for (int fd = 0; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            continue;
        if (open("/dev/null", O_RDWR) < 0) /* gets the lowest number that is free: fd */
            return -errno;
    }
    return 0;
}

long descriptors_raise(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return -errno;
    limit.rlim_cur = limit.rlim_max;
    /* If that is not allowed, the soft limit that there is will do. */
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return -errno;
    return limit.rlim_cur > INT_MAX ? INT_MAX : (long)limit.rlim_cur;
}

/*
 * How many descriptors the process's table has room for, or -1 if /proc does not say. The line is
 * among the first, whose lengths are limited (proc_pid_status(5)).
 */
static int descriptors_room(void)
{
    static const char name[] = "\nFDSize:";
    char text[1024];
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t len = read(fd, text, sizeof text - 1);
    net_close(fd);
    text[len > 0 ? len : 0] = '\0';
    const char *line = strstr(text, name);
    return line != NULL ? (int)strtol(line + sizeof name - 1, NULL, 10) : -1;
}

enum { DESCRIPTORS_LOOK = 256 }; /* at most, because poll(2) takes no more than RLIMIT_NOFILE */

/* Returns the end of those below this one that are open. */
static int descriptors_trim(int end)
{
    struct pollfd list[DESCRIPTORS_LOOK];
    while (end > 0) {
        int count = end < DESCRIPTORS_LOOK ? end : DESCRIPTORS_LOOK;
        for (int i = 0; i < count; i++)
            list[i] = (struct pollfd){.fd = end - count + i};
        (void)net_look(list, (size_t)count); /* if poll(2) refuses, all count as open */
        for (int i = count; i > 0; i--, end--)
            if ((list[i - 1].revents & POLLNVAL) == 0)
                return end;
    }
    return end;
}

/*
 * Not by the names in /proc/self/fd: of 10,000 descriptors the kernel makes as many inodes first,
 * which took 10 to 23 ms.
 */
int descriptors_end(void)
{
    struct rlimit limit;
    int room = descriptors_room();
    if (room > 0)
        return descriptors_trim(room);
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return -errno;
    return limit.rlim_cur < INT_MAX ? (int)limit.rlim_cur : INT_MAX;
}

int descriptors_probe(int fd)
{
    int copies[DESCRIPTORS_LOOP];
    int count = 0;
    int rc = 0;
    while (count < DESCRIPTORS_LOOP && rc >= 0) {
        rc = net_dup_above(fd, 0);
        if (rc >= 0)
            copies[count++] = rc;
    }
    while (count > 0)
        net_close(copies[--count]);
    return rc < 0 ? rc : 0;
}

void descriptors_close_marked(int keep)
{
    const int end = descriptors_end();
    for (int fd = STDERR_FILENO + 1; fd < end; fd++) {
        int flags = fcntl(fd, F_GETFD);
        if (flags >= 0 && (flags & FD_CLOEXEC) != 0 && fd != keep)
            net_close(fd);
    }
}
