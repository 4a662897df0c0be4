#include "echoload/cpu.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* Reads the first line of a file; the line is empty if there is no such file. */
static void cpu_read(char *line, int size, const char *path)
{
    line[0] = '\0';
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return;
    if (fgets(line, size, file) == NULL)
        line[0] = '\0';
    (void)fclose(file);
}

/* The first field of schedstat is nanoseconds on a CPU: more exact than the ticks of stat. */
static double cpu_thread_seconds(pid_t pid, const char *tid)
{
    char path[96];
    char line[256];
    (void)snprintf(path, sizeof path, "/proc/%d/task/%.16s/schedstat", pid, tid);
    cpu_read(line, sizeof line, path);
    return strtod(line, NULL) / 1e9;
}

/* A server that forks for each connection spends nearly all of its CPU time in its children. */
static void cpu_add_children(pid_t pid, const char *tid, struct cpu *cpu)
{
    char path[96];
    char line[4096];
    (void)snprintf(path, sizeof path, "/proc/%d/task/%.16s/children", pid, tid);
    cpu_read(line, sizeof line, path);
    char *rest = line;
    for (char *end; *rest != '\0' && *rest != '\n'; rest = end) {
        struct cpu child;
        long id = strtol(rest, &end, 10);
        if (end == rest)
            break;
        cpu_of_process((pid_t)id, &child);
        cpu->user += child.user;
        cpu->system += child.system;
        cpu->total += child.total;
        end += strspn(end, " ");
    }
}

/* Fields 14 to 17 of stat (proc(5)): utime, stime, and both of the children waited for. */
static void cpu_add_stat(pid_t pid, struct cpu *cpu)
{
    char path[64];
    char line[1024];
    (void)snprintf(path, sizeof path, "/proc/%d/stat", pid);
    cpu_read(line, sizeof line, path);
    const char *field = strrchr(line, ')'); /* the name may contain blanks */
    for (int skip = 0; field != NULL && skip < 12; skip++)
        field = strchr(field + 1, ' ');
    unsigned long times[4] = {0};
    if (field == NULL ||
        sscanf(field, "%lu %lu %lu %lu", &times[0], &times[1], &times[2], &times[3]) != 4)
        return;
    double tick = 1.0 / (double)sysconf(_SC_CLK_TCK);
    cpu->user += (double)(times[0] + times[2]) * tick;
    cpu->system += (double)(times[1] + times[3]) * tick;
    cpu->total += (double)(times[2] + times[3]) * tick;
}

void cpu_of_process(pid_t pid, struct cpu *cpu)
{
    *cpu = (struct cpu){0};
    cpu_add_stat(pid, cpu);
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *dir = opendir(path);
    if (dir == NULL)
        return;
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        cpu->total += cpu_thread_seconds(pid, entry->d_name);
        cpu_add_children(pid, entry->d_name, cpu);
    }
    (void)closedir(dir);
}

double cpu_own(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}
