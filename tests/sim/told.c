/* told.c - what is told of a history: its lines, their hash, and its failure. */
#include "fibers.h"
#include "world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { LINE_MAX_BYTES = 500 };

static struct {
    enum world_telling telling;
    uint64_t hash;
    void (*reporter)(const char *reason);
} told;

void world_tell(enum world_telling telling)
{
    told.telling = telling;
    told.hash = UINT64_C(0xcbf29ce484222325);
}

bool world_is_traced(void)
{
    return told.telling != WORLD_SILENT;
}

/* FNV-1a. */
static void told_hash(const char *line)
{
    for (; *line != '\0'; line++)
        told.hash = (told.hash ^ (unsigned char)*line) * UINT64_C(0x100000001b3);
}

uint64_t world_hash(void)
{
    return told.hash;
}

void world_trace(const char *format, ...)
{
    if (!world_is_traced())
        return;
    char text[LINE_MAX_BYTES];
    char line[LINE_MAX_BYTES + 40];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    unsigned long long us = world_lasted();
    (void)snprintf(line, sizeof line, "%5llu.%06llu  %u  %s", us / 1000000, us % 1000000,
                   fiber_number(), text);
    if (told.telling == WORLD_HASHES)
        told_hash(line);
    else
        (void)puts(line);
}

void world_report_to(void (*reporter)(const char *reason))
{
    told.reporter = reporter;
}

void world_fail(const char *format, ...)
{
    char reason[LINE_MAX_BYTES];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    told.reporter(reason);
    abort(); /* a reporter does not return */
}
