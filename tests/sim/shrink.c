#include "shrink.h"

#include <string.h>

struct shrinking {
    struct histories *histories;
    char wanted[REPORT_TEXT]; /* the reason without its numbers */
    uint64_t faults;          /* of the shortest history so far */
    unsigned clients;
    unsigned runs;
};

static void reason_without_numbers(const char *reason, char text[REPORT_TEXT])
{
    size_t len = 0;
    for (; *reason != '\0'; reason++)
        if (*reason < '0' || *reason > '9')
            text[len++] = *reason;
    text[len] = '\0';
}

/* Whether the history fails still, with the limits that it has now. */
static bool shrink_fails(struct shrinking *shrinking)
{
    char text[REPORT_TEXT];
    const struct report *report = histories_run(shrinking->histories);
    shrinking->runs++;
    if (!report->failed)
        return false;
    reason_without_numbers(report->reason, text);
    if (strcmp(text, shrinking->wanted) != 0)
        return false;
    shrinking->faults = report->faults;
    return true;
}

/* The last kinds end whole processes, and so change most. */
static void shrink_kinds(struct shrinking *shrinking)
{
    uint32_t *without = &shrinking->histories->world.without;
    for (unsigned fault = FAULT_COUNT; fault-- > 0;) {
        uint32_t before = *without;
        *without |= UINT32_C(1) << fault;
        if (*without != before && !shrink_fails(shrinking))
            *without = before;
    }
}

static void drop(uint64_t *dropped, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++)
        dropped[i / 64] |= UINT64_C(1) << i % 64;
}

/* Leaves out half of the clients if it can, then quarters, and in the end one by one. */
static void shrink_clients(struct shrinking *shrinking)
{
    struct scenario_limits *scenario = &shrinking->histories->scenario;
    unsigned size = 1;
    while (size < shrinking->clients)
        size *= 2;
    for (; size >= 1; size /= 2)
        for (unsigned from = 0; from < shrinking->clients; from += size) {
            struct scenario_limits before = *scenario;
            unsigned to = from + size < shrinking->clients ? from + size : shrinking->clients;
            drop(scenario->dropped, from, to);
            if (memcmp(&before, scenario, sizeof before) != 0 && !shrink_fails(shrinking))
                *scenario = before;
        }
}

/* The fewest faults after which it fails, if fewer faults never were worse than more. */
static void shrink_faults(struct shrinking *shrinking)
{
    uint64_t *max = &shrinking->histories->world.faults_max;
    uint64_t enough = shrinking->faults;
    uint64_t too_few = 0;
    *max = 0;
    if (shrink_fails(shrinking))
        return;
    while (enough - too_few > 1) {
        *max = too_few + (enough - too_few) / 2;
        if (shrink_fails(shrinking))
            enough = *max;
        else
            too_few = *max;
    }
    *max = enough;
}

unsigned shrink(struct histories *histories, const struct report *first)
{
    struct shrinking shrinking = {
        .histories = histories, .faults = first->faults, .clients = first->clients};
    reason_without_numbers(first->reason, shrinking.wanted);
    histories->from = first->seed;
    histories->count = 1;
    histories->seconds = 0;
    histories->telling = WORLD_SILENT;
    histories->silent = true;
    shrink_kinds(&shrinking);
    shrink_clients(&shrinking);
    shrink_faults(&shrinking);
    shrink_clients(&shrinking);
    histories->silent = false;
    return shrinking.runs;
}
