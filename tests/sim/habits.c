#include "habits.h"

#include "answers.h"
#include "plan.h"

#include <errno.h>

enum client_kind {
    KIND_ORDINARY, /* anything */
    KIND_CHUNKS,   /* messages that are a chunk, or a byte more or less */
    KIND_BULK,
    KIND_BYTES,  /* a byte at a time */
    KIND_ABSENT, /* never reads */
    KIND_FULL,   /* never reads, and its answers fill the send buffer exactly */
    KIND_LATE,   /* reads a little just before it would be idle */
    KIND_SILENT, /* sends nothing */
    KIND_RUDE,   /* closes with unread bytes */
    KIND_COUNT
};

/* More events than so many for its bytes make a history long and no better. */
enum { HABITS_EVENTS_MAX = 100 };

/* A delay, in microseconds: as likely short as long. */
static uint64_t habits_delay(struct chance *chance)
{
    static const uint64_t longest[] = {50, 2000, 50000, 800000};
    return chance_between(chance, 1, longest[chance_below(chance, 4)]);
}

static uint32_t habits_room(struct chance *chance)
{
    return (uint32_t)chance_between(chance, 1, chance_of(chance, 3000) ? 5000 : 600000);
}

static void habits_ordinary(struct habits *habits, struct chance *chance)
{
    uint64_t life = plan_get()->stop_us - plan_get()->begun_us;
    *habits = (struct habits){
        .start_us = plan_get()->begun_us + 1000 + chance_below(chance, life * 2 / 3),
        .total = chance_below(chance, chance_of(chance, 3000) ? 3000000 : 30000),
        .message = plan_size(chance, 300000),
        .exact = chance_of(chance, 3000),
        .gap_us = habits_delay(chance),
        .steady = chance_of(chance, 2000),
        .pingpong = chance_of(chance, 5000),
        .reads = chance_of(chance, 9000),
        .take = plan_size(chance, 300000),
        .take_us = habits_delay(chance),
        .network_us = chance_of(chance, 8000) ? chance_between(chance, 1, 100)
                                              : chance_between(chance, 100, 50000),
        .receive_room = habits_room(chance),
        .send_room = habits_room(chance),
        .window = habits_room(chance),
        .ending = (enum client_ending)chance_below(chance, ENDS_NEVER + 1),
        .answers_end = chance_of(chance, 8000),
        .urgent = world_has(FAULT_URGENT) && chance_of(chance, 5000),
        .keeps_unread = chance_of(chance, 5000),
        .returns = chance_of(chance, 2000) ? (unsigned)chance_between(chance, 1, 3) : 0};
}

static void habits_chunks(struct habits *habits, struct chance *chance)
{
    uint64_t chunk = plan_get()->echo.chunk;
    habits->message = chunk * chance_between(chance, 1, 3) + chance_below(chance, 3) - 1;
    if (habits->message == 0)
        habits->message = 1;
    habits->exact = true;
    habits->gap_us = chance_between(chance, 1, 3000);
    habits->total = habits->message * chance_between(chance, 1, 60);
}

static void habits_bulk(struct habits *habits, struct chance *chance)
{
    habits->receive_room = (uint32_t)chance_between(chance, 70000, 600000);
    habits->message = habits->receive_room;
    habits->total = chance_between(chance, 200000, 3000000);
    habits->send_room = (uint32_t)chance_between(chance, 5000, 300000);
    habits->take = chance_between(chance, 5000, 300000);
    habits->gap_us = chance_between(chance, 1, 3000);
    habits->pingpong = false;
}

/* A multiple of its answer fits: when the buffer is full, the next answer is refused as a whole. */
static void habits_full(struct habits *habits, struct chance *chance)
{
    uint64_t idle_us = (uint64_t)plan_get()->config.idle_ms * 1000;
    habits->message =
        plan_size(chance, plan_get()->echo.chunk < 5000 ? plan_get()->echo.chunk : 5000);
    uint64_t messages = chance_between(chance, 1, 4);
    uint64_t answer = answers_length(habits->message);
    habits->exact = habits->steady = true;
    habits->pingpong = habits->reads = false;
    habits->window = 0;
    habits->send_room = (uint32_t)(messages * answer);
    habits->receive_room = 65536;
    habits->gap_us = idle_us > 0 ? idle_us * chance_between(chance, 30, 190) / 100 : 300000;
    habits->total = habits->message * (messages + 4);
    habits->ending = ENDS_NEVER;
}

static void habits_late(struct habits *habits, struct chance *chance)
{
    uint64_t idle_us = (uint64_t)plan_get()->config.idle_ms * 1000;
    habits->reads = true;
    habits->take_us = idle_us > 0 ? idle_us * chance_between(chance, 30, 60) / 100 : 300000;
    habits->total = habits->message = habits->receive_room =
        (uint32_t)chance_between(chance, 2, 20000);
    habits->send_room = (uint32_t)chance_between(chance, 1, habits->message);
    habits->window = (uint32_t)chance_between(chance, 1, habits->message);
    habits->take = chance_between(chance, habits->message / 4 + 1, habits->message);
    habits->ending = ENDS_NEVER;
}

static void habits_of_kind(struct habits *habits, enum client_kind kind, struct chance *chance)
{
    switch (kind) {
    case KIND_CHUNKS:
        habits_chunks(habits, chance);
        break;
    case KIND_BULK:
        habits_bulk(habits, chance);
        break;
    case KIND_BYTES:
        habits->message = 1;
        habits->total = chance_between(chance, 1, HABITS_EVENTS_MAX);
        break;
    case KIND_ABSENT:
        habits->reads = false;
        habits->pingpong = false;
        break;
    case KIND_FULL:
        habits_full(habits, chance);
        break;
    case KIND_LATE:
        habits_late(habits, chance);
        break;
    case KIND_SILENT:
        habits->total = 0;
        break;
    case KIND_RUDE:
        habits->reads = false;
        habits->ending = ENDS_CLOSE;
        break;
    default:
        break;
    }
}

static void habits_cap(struct habits *habits)
{
    uint64_t least = habits->message;
    if (habits->reads && habits->take < least)
        least = habits->take;
    if (habits->receive_room < least)
        least = habits->receive_room;
    if (habits->send_room > 0 && habits->send_room < least)
        least = habits->send_room;
    if (habits->window > 0 && habits->window < least)
        least = habits->window;
    if (habits->total > HABITS_EVENTS_MAX * least)
        habits->total = HABITS_EVENTS_MAX * least;
}

/* A crowd speaks at the same moments, so that more sockets are ready at once than epoll reports. */
static void habits_crowd(struct habits *habits, struct chance *chance)
{
    enum { BEAT_US = 500000 };
    habits->start_us = plan_get()->begun_us + 1000 * chance_between(chance, 1, 2);
    habits->message = chance_between(chance, 1, 200);
    habits->total = habits->message * chance_between(chance, 1, 4);
    habits->exact = habits->steady = habits->reads = true;
    habits->gap_us = BEAT_US;
    habits->take = habits->receive_room = habits->send_room = habits->window = 60000;
    habits->returns = 0;
}

static int habits_refusal(struct chance *chance)
{
    static const int errors[] = {EINVAL, ENOSYS, EOPNOTSUPP, EPERM};
    return errors[chance_below(chance, sizeof errors / sizeof *errors)];
}

/* Half of the clients of a history are of the kind that the history is about. */
void habits_draw(struct habits *habits, unsigned number, struct chance *chance)
{
    struct chance about = world_chance(CHANCE_PLAN + 100);
    enum client_kind kind = (enum client_kind)chance_below(&about, KIND_COUNT);
    if (chance_of(chance, 5000))
        kind = (enum client_kind)chance_below(chance, KIND_COUNT);
    (void)number;
    habits_ordinary(habits, chance);
    if (plan_get()->crowd)
        habits_crowd(habits, chance);
    else
        habits_of_kind(habits, kind, chance);
    if (kind != KIND_FULL)
        habits_cap(habits);
    if (world_has(FAULT_SPLICE) && chance_of(chance, 1000))
        habits->unspliceable = habits_refusal(chance);
}
