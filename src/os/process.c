#include "os/process.h"

#include "os/descriptors.h"
#include "os/net.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    PROCESS_TEXT_MAX = 1024,   /* bytes of a file of /proc */
    PROCESS_FDS_AT_ONCE = 1024 /* numbers that one call of poll(2) asks for */
};

/* Reads a file of /proc as a string, empty if it cannot be read. Not with stdio: see watches.c. */
static void process_read(const char *path, char text[static PROCESS_TEXT_MAX])
{
    ssize_t len = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        len = read(fd, text, PROCESS_TEXT_MAX - 1);
        net_close(fd);
    }
    text[len > 0 ? len : 0] = '\0';
}

/* Stores the number that text begins with, and returns what follows. NULL stays NULL. */
static const char *process_number(const char *text, uint64_t *number)
{
    char *end = NULL;
    *number = PROCESS_UNKNOWN;
    if (text == NULL)
        return NULL;
    uint64_t value = strtoull(text, &end, 10);
    if (end == text)
        return NULL;
    *number = value;
    return end;
}

static uint64_t process_pages(uint64_t pages)
{
    return pages == PROCESS_UNKNOWN ? pages : pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* proc_pid_statm(5): pages that are mapped, and those of them that are in RAM. */
static void process_measure_memory(struct process_figures *figures)
{
    char text[PROCESS_TEXT_MAX];
    process_read("/proc/self/statm", text);
    const char *rest = process_number(text, &figures->virtual_bytes);
    (void)process_number(rest, &figures->resident_bytes);
    figures->virtual_bytes = process_pages(figures->virtual_bytes);
    figures->resident_bytes = process_pages(figures->resident_bytes);
}

static uint64_t process_us(const struct timeval *time)
{
    return (uint64_t)time->tv_sec * 1000000 + (uint64_t)time->tv_usec;
}

/* Of count numbers from first on, those that are open. */
static uint64_t process_count_fds(int first, size_t count)
{
    struct pollfd list[PROCESS_FDS_AT_ONCE];
    uint64_t open = 0;
    for (size_t i = 0; i < count; i++)
        list[i] = (struct pollfd){.fd = first + (int)i};
    if (net_look(list, count) < 0)
        return PROCESS_UNKNOWN;
    for (size_t i = 0; i < count; i++)
        open += (list[i].revents & POLLNVAL) == 0;
    return open;
}

/* Reading the directory instead would make an inode of each of 100,000 connections. */
static uint64_t process_count_all_fds(void)
{
    const int end = descriptors_end();
    uint64_t open = end < 0 ? PROCESS_UNKNOWN : 0;
    for (int first = 0; first < end; first += PROCESS_FDS_AT_ONCE) {
        int count = end - first < PROCESS_FDS_AT_ONCE ? end - first : PROCESS_FDS_AT_ONCE;
        uint64_t some = process_count_fds(first, (size_t)count);
        if (some == PROCESS_UNKNOWN)
            return some;
        open += some;
    }
    return open;
}

/* Since Linux 6.2 the size of the directory is how many descriptors are open. */
static uint64_t process_open_fds(void)
{
    struct stat directory;
    if (stat("/proc/self/fd", &directory) == 0 && directory.st_size > 0)
        return (uint64_t)directory.st_size;
    return process_count_all_fds();
}

void process_measure(struct process_figures *figures)
{
    struct rusage usage;
    struct rlimit fds;
    figures->cpu_us = getrusage(RUSAGE_SELF, &usage) == 0
                          ? process_us(&usage.ru_utime) + process_us(&usage.ru_stime)
                          : PROCESS_UNKNOWN;
    figures->max_fds =
        getrlimit(RLIMIT_NOFILE, &fds) == 0 ? (uint64_t)fds.rlim_cur : PROCESS_UNKNOWN;
    figures->open_fds = process_open_fds();
    process_measure_memory(figures);
}

static uint64_t process_clock_us(clockid_t clock)
{
    struct timespec now;
    (void)clock_gettime(clock, &now); /* fails only for clocks that Linux does not have */
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* proc_pid_stat(5): field 22, in ticks since the boot. Field 2, the name, may contain anything. */
uint64_t process_started_us(void)
{
    enum { PROCESS_AFTER_NAME = 20 };
    char text[PROCESS_TEXT_MAX];
    uint64_t ticks = PROCESS_UNKNOWN;
    process_read("/proc/self/stat", text);
    const char *field = strrchr(text, ')');
    for (int i = 0; i < PROCESS_AFTER_NAME && field != NULL; i++)
        field = strchr(field + 1, ' ');
    (void)process_number(field, &ticks);
    if (ticks == PROCESS_UNKNOWN)
        return ticks;
    uint64_t boot_us = process_clock_us(CLOCK_REALTIME) - process_clock_us(CLOCK_BOOTTIME);
    return boot_us + ticks * 1000000 / (uint64_t)sysconf(_SC_CLK_TCK);
}
