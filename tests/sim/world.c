#include "world.h"

#include "memory.h"

#include <string.h>

/* The chance of a kind of fault in a history that has faults; THREADS ends a history at once. */
enum { WORLD_QUIET_ONE_OF = 8, WORLD_THREADS_ONE_OF = 40 };

/* Of the histories that would be chosen, so many have processes that end. */
enum { WORLD_ENDS_ONE_OF = 2 };

/* How many calls stall, of 10,000, at the least and at the most of a history. */
enum { WORLD_STALLS_MIN = 10, WORLD_STALLS_MAX = 500 };

/* The streams that belong to the world itself; those of others have small numbers. */
enum { STREAM_WORLD = 1 << 30, STREAM_SPEND, STREAM_FAULTS };

struct event {
    uint64_t when;
    uint64_t order;
    void (*happen)(void *arg);
    void *arg;
};

static struct {
    uint64_t seed;
    struct world_limits limits;
    uint32_t faults; /* the kinds that the history has */
    bool faults_may_occur;
    uint64_t occurred;
    unsigned planted_left;
    struct chance chances[FAULT_COUNT];
    struct chance spend;
    unsigned stalls; /* of 10,000 calls */

    uint64_t now, began;
    uint64_t stalled, last_stall_end;
    uint64_t progressed;

    struct event *events; /* a heap: the first is the next */
    size_t count, room;
    uint64_t orders;
} world;

/* ---- chance ---- */

uint64_t chance_next(struct chance *chance)
{
    chance->state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t z = chance->state;
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t chance_below(struct chance *chance, uint64_t n)
{
    uint64_t drawn = chance_next(chance);
    return n > 0 ? drawn % n : 0;
}

uint64_t chance_between(struct chance *chance, uint64_t a, uint64_t b)
{
    return a + chance_below(chance, b - a + 1);
}

bool chance_of(struct chance *chance, unsigned of_10000)
{
    return chance_below(chance, 10000) < of_10000;
}

struct chance world_chance(uint64_t number)
{
    struct chance seed = {world.seed};
    struct chance mixed = {chance_next(&seed) ^ (number * UINT64_C(0xd1342543de82ef95))};
    return (struct chance){chance_next(&mixed)};
}

/* ---- faults ---- */

const char *world_fault_name(enum world_fault fault)
{
    static const char *const names[] = {
#define WORLD_FAULT_TEXT(name, text) text,
        WORLD_FAULTS(WORLD_FAULT_TEXT)
#undef WORLD_FAULT_TEXT
    };
    return names[fault];
}

void world_want(enum world_fault fault, bool wanted)
{
    uint32_t bit = UINT32_C(1) << fault;
    world.faults = wanted ? world.faults | bit : world.faults & ~bit;
    world.faults &= ~world.limits.without;
}

/* Some histories have no faults, some have a few kinds, and some have most kinds. */
static void world_choose_faults(void)
{
    struct chance chance = world_chance(STREAM_WORLD);
    bool quiet = chance_below(&chance, WORLD_QUIET_ONE_OF) == 0;
    unsigned share = (unsigned)chance_between(&chance, 1000, 7000);
    world.stalls = (unsigned)chance_between(&chance, WORLD_STALLS_MIN, WORLD_STALLS_MAX);
    for (unsigned fault = 0; fault < FAULT_COUNT; fault++) {
        world.chances[fault] = world_chance(STREAM_FAULTS + fault);
        bool chosen = chance_of(&chance, share);
        if (fault == FAULT_THREADS)
            chosen = chosen && chance_below(&chance, WORLD_THREADS_ONE_OF) == 0;
        if (fault == FAULT_KILL || fault == FAULT_UPGRADE)
            chosen = chosen && chance_below(&chance, WORLD_ENDS_ONE_OF) == 0;
        world_want(fault, chosen && !quiet);
    }
}

bool world_has(enum world_fault fault)
{
    return (world.faults >> fault & 1) != 0;
}

bool world_has_any(void)
{
    return world.faults != 0;
}

static void world_occurred(enum world_fault fault)
{
    world.occurred++;
    if (world.limits.planted == (int)fault && --world.planted_left == 0)
        world_fail("planted: the fault %s occurs once more", world_fault_name(fault));
}

bool world_fault(enum world_fault fault, unsigned of_10000)
{
    return world.faults_may_occur && world_fault_at_start(fault, of_10000);
}

bool world_fault_at_start(enum world_fault fault, unsigned of_10000)
{
    if (!world_has(fault))
        return false;
    bool occurs = chance_of(&world.chances[fault], of_10000);
    if (!occurs || world.occurred >= world.limits.faults_max)
        return false;
    world_occurred(fault);
    return true;
}

void world_faults_may_occur(bool may)
{
    world.faults_may_occur = may;
}

bool world_faults_occur(void)
{
    return world.faults_may_occur;
}

uint64_t world_faults(void)
{
    return world.occurred;
}

/* ---- what happens, and when ---- */

static bool event_precedes(const struct event *a, const struct event *b)
{
    return a->when != b->when ? a->when < b->when : a->order < b->order;
}

static void events_grow(void)
{
    if (world.count < world.room)
        return;
    size_t room = world.room > 0 ? 2 * world.room : 1024;
    struct event *events = memory_own(room, sizeof *events);
    if (world.count > 0)
        memcpy(events, world.events, world.count * sizeof *events);
    memory_disown(world.events);
    world.events = events;
    world.room = room;
}

void world_at(uint64_t when_us, void (*happen)(void *arg), void *arg)
{
    struct event event = {.when = when_us, .order = world.orders++, .happen = happen, .arg = arg};
    events_grow();
    size_t at = world.count++;
    for (; at > 0 && event_precedes(&event, &world.events[(at - 1) / 2]); at = (at - 1) / 2)
        world.events[at] = world.events[(at - 1) / 2];
    world.events[at] = event;
}

static struct event events_pop(void)
{
    struct event first = world.events[0];
    struct event last = world.events[--world.count];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < world.count; at = child) {
        if (child + 1 < world.count &&
            event_precedes(&world.events[child + 1], &world.events[child]))
            child++;
        if (event_precedes(&last, &world.events[child]))
            break;
        world.events[at] = world.events[child];
    }
    world.events[at] = last;
    return first;
}

uint64_t world_now(void)
{
    return world.now;
}

uint64_t world_next(void)
{
    return world.count > 0 ? world.events[0].when : UINT64_MAX;
}

void world_run_until(uint64_t when_us)
{
    while (world_next() <= when_us) {
        struct event event = events_pop();
        if (event.when > world.now)
            world.now = event.when;
        event.happen(event.arg);
    }
    if (when_us > world.now)
        world.now = when_us;
}

/* From a millisecond to some seconds; short ones are as likely as long ones. */
static void world_stall(void)
{
    struct chance *chance = &world.chances[FAULT_STALL];
    uint64_t us = chance_between(chance, 1000, UINT64_C(1000) << chance_between(chance, 1, 12));
    world_trace("the daemon does not run for %llu ms", (unsigned long long)us / 1000);
    world.stalled += us;
    world_run_until(world.now + us);
    world.last_stall_end = world.now;
}

void world_spend(void)
{
    world_run_until(world.now + chance_between(&world.spend, 1, 8));
    if (world_fault(FAULT_STALL, world.stalls))
        world_stall();
}

uint64_t world_stalled(void)
{
    return world.stalled;
}

uint64_t world_last_stall_end(void)
{
    return world.last_stall_end;
}

void world_progress(void)
{
    world.progressed++;
}

uint64_t world_progressed(void)
{
    return world.progressed;
}

/* ---- the history ---- */

/* A time after the boot of a machine. The daemon counts 32 bits of milliseconds: they wrap soon in
 * a third of the histories. */
static uint64_t world_first_time(struct chance *chance)
{
    uint64_t wrap_us = (UINT64_C(1) << 32) * 1000;
    if (chance_below(chance, 3) == 0)
        return wrap_us - chance_below(chance, 20 * UINT64_C(1000000));
    return chance_between(chance, UINT64_C(1000000), wrap_us);
}

void world_begin(uint64_t seed, const struct world_limits *limits)
{
    world.seed = seed;
    world.limits = *limits;
    world.faults = 0;
    world.faults_may_occur = false;
    world.occurred = 0;
    world.planted_left = 5;
    world.spend = world_chance(STREAM_SPEND);
    world.now = world_first_time(&world.spend);
    world.began = world.now;
    world.stalled = 0;
    world.last_stall_end = 0;
    world.progressed = 0;
    world.count = 0;
    world.orders = 0;
    world_choose_faults();
}

void world_end(void)
{
    world.count = 0; /* what would have happened to clients after the end */
}

uint64_t world_seed(void)
{
    return world.seed;
}

uint64_t world_lasted(void)
{
    return world.now - world.began;
}
