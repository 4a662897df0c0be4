#include "os/descriptors.h"

#include "os/net.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
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
