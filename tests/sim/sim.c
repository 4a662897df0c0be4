/*
 * sim.c - uvechod-sim: runs histories of the daemon in a simulated world until one fails, and
 * then looks for the shortest one that still fails.
 */
#include "arguments.h"
#include "histories.h"
#include "shrink.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static double seconds_now(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double ratio(uint64_t a, uint64_t b)
{
    return b > 0 ? (double)a / (double)b : 0;
}

static void print_figures(const struct report *report, double seconds)
{
    const struct scenario_totals *totals = &report->totals;
    (void)printf("%llu histories with %llu successors in %.1f s; in a second %.0f connections, "
                 "%.0f passes, %.0f calls "
                 "and %.0f s of simulated time; for a message %.2f calls and %.3f changes of a "
                 "watch\n",
                 (unsigned long long)report->histories, (unsigned long long)totals->lives, seconds,
                 (double)totals->connections / seconds, (double)report->passes / seconds,
                 (double)totals->calls / seconds, (double)report->lasted_us / 1e6 / seconds,
                 ratio(totals->calls, totals->messages), ratio(report->arms, totals->messages));
}

static void print_kinds(uint32_t kinds)
{
    (void)printf("  faults:");
    for (unsigned fault = 0; fault < FAULT_COUNT; fault++)
        if ((kinds >> fault & 1) != 0)
            (void)printf(" %s", world_fault_name(fault));
    (void)printf("%s\n", kinds == 0 ? " none" : "");
}

static void print_failure(const struct histories *histories, const struct report *report)
{
    struct histories one = *histories;
    one.from = report->seed;
    (void)printf("FAILED: seed %llu: %s\n  plan: %s\n", (unsigned long long)report->seed,
                 report->reason, report->plan);
    print_kinds(report->kinds);
    (void)printf("  again: ");
    arguments_print(&one, report->clients);
}

static void shrink_and_print(const struct histories *histories, const struct report *report)
{
    struct histories shorter = *histories;
    unsigned clients = report->clients;
    unsigned runs = shrink(&shorter, report);
    (void)printf("The shortest history that fails so, found with %u:\n", runs);
    shorter.telling = WORLD_PRINTS;
    report = histories_run(&shorter);
    print_kinds(report->kinds);
    (void)printf("  fails: %s\n  again: ", report->reason);
    arguments_print(&shorter, clients);
}

static int run(const struct arguments *arguments, const struct histories *histories)
{
    double start = seconds_now();
    const struct report *report = histories_run(histories);
    if (arguments->hashed)
        (void)printf("hash %016llx\n", (unsigned long long)report->hash);
    if (!report->failed) {
        print_figures(report, seconds_now() - start);
        return 0;
    }
    print_failure(histories, report);
    if (!arguments->no_shrink && !arguments->traced)
        shrink_and_print(histories, report);
    return 1;
}

/* Stores the seeds of the file, each with a reason behind it, which is only for people. Returns how
 * many, or -1. */
static int read_seeds(const char *path, unsigned long long *seeds, int most)
{
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        (void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return -1;
    }
    char line[200];
    int count = 0;
    while (count < most && fgets(line, sizeof line, file) != NULL)
        count += sscanf(line, "%llu", &seeds[count]) == 1;
    (void)fclose(file);
    return count;
}

/* Reads all seeds before the first history: at its end the child process would move the place in a
 * file that is still open back to where the parent process is, and the seeds would never end. */
static int run_file(const struct arguments *arguments)
{
    enum { SEEDS_MAX = 1000 };
    unsigned long long seeds[SEEDS_MAX];
    int count = read_seeds(arguments->file, seeds, SEEDS_MAX);
    int result = count < 0 ? 2 : 0;
    struct histories histories = arguments->histories;
    histories.count = 1;
    for (int i = 0; i < count && result == 0; i++) {
        histories.from = seeds[i];
        result = run(arguments, &histories);
    }
    return result;
}

int main(int argc, char **argv)
{
    struct arguments arguments;
    enum cli_outcome outcome = arguments_parse(&arguments, argc, argv);
    if (outcome != CLI_RUN)
        return (int)outcome;
    int result = arguments.file != NULL ? run_file(&arguments) : 0;
    return result != 0 ? result : run(&arguments, &arguments.histories);
}
