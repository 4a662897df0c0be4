/*
 * plan.c - draws a daemon and its clients.
 */
#include "handover/plan.h"

#include "e2e/harness.h"

enum { ACTS_MAX = 30, ACTS_LONG = 400, ACTS_SANITIZED = 12, LONG_ROUNDS = 25 };

/* ---- dice ---- */

/* splitmix64 */
static uint64_t dice_throw(struct dice *dice)
{
    uint64_t x = dice->state += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

uint64_t dice_below(struct dice *dice, uint64_t count)
{
    return dice_throw(dice) % count;
}

bool dice_once_in(struct dice *dice, uint64_t times)
{
    return dice_below(dice, times) == 0;
}

uint64_t dice_skewed(struct dice *dice, uint64_t most)
{
    unsigned bits = 0;
    while (bits < 63 && most >> bits > 0)
        bits++;
    uint64_t value = dice_below(dice, UINT64_C(1) << dice_below(dice, bits + 1));
    return value < most ? value : most;
}

/* ---- the plan ---- */

const char *habit_name(enum habit habit)
{
    static const char *const names[HABITS] = {
        [HABIT_IDLE] = "idle",           [HABIT_BULK] = "bulk",
        [HABIT_PING_PONG] = "ping-pong", [HABIT_PIPELINED] = "pipelined",
        [HABIT_BYTES] = "single bytes",  [HABIT_SLOW] = "slow readers",
        [HABIT_ABSENT] = "absent",       [HABIT_HALF_CLOSED] = "half-closed",
        [HABIT_CHURN] = "churn",
    };
    return names[habit];
}

static size_t draw_chunk(struct dice *dice)
{
    static const size_t chunks[] = {STREAM_CHUNK, STREAM_CHUNK, 7, 4096, 65536};
    const size_t count = sizeof chunks / sizeof *chunks;
    uint64_t drawn = dice_below(dice, count + 1);
    return drawn < count ? chunks[drawn] : 1 + dice_below(dice, 3000);
}

/*
 * None, the usual one, or a longer one. Streams know a prefix by its first byte. No answer is much
 * longer than twice what was asked, or a round would take long for nothing.
 */
static void draw_prefix(struct plan *plan, struct dice *dice)
{
    static const char end[] = "...";
    size_t len = strlen(STREAM_PREFIX);
    size_t room = sizeof plan->prefix - 1 - len;
    (void)strcpy(plan->prefix, STREAM_PREFIX);
    switch (dice_below(dice, 3)) {
    case 0:
        plan->prefix[0] = '\0';
        break;
    case 1:
        len += dice_skewed(dice, plan->chunk < room ? plan->chunk : room);
        for (size_t i = strlen(STREAM_PREFIX); i < len; i++)
            plan->prefix[i] = end[i % 3];
        plan->prefix[len] = '\0';
        break;
    default:
        break;
    }
}

static void draw_clients(struct plan *plan, struct dice *dice)
{
    for (int habit = 0; habit < HABITS; habit++)
        plan->clients[habit] = (unsigned)dice_below(dice, 2) * (unsigned)dice_below(dice, 4);
    plan->clients[HABIT_IDLE] = 1 + (unsigned)dice_below(dice, PLAN_CLIENTS_MAX);
    plan->clients[1 + dice_below(dice, HABITS - 1)] =
        PLAN_CLIENTS_MAX; /* there is something to do */
}

static void draw_acts(struct plan *plan, struct dice *dice)
{
    unsigned most = harness_sanitized() ? ACTS_SANITIZED : ACTS_MAX;
    if (dice_once_in(dice, LONG_ROUNDS))
        most = harness_sanitized() ? ACTS_MAX : ACTS_LONG;
    plan->acts = most / 3 + (unsigned)dice_below(dice, most);
}

void plan_draw(struct plan *plan, struct dice *dice, uint64_t seed)
{
    static const unsigned workers[] = {1, 2, 8};
    char prefix[sizeof plan->prefix + 16];
    *plan = (struct plan){.seed = seed};
    *dice = (struct dice){.state = seed};
    plan->kept = !dice_once_in(dice, 4);
    plan->managed = UVECHOD_SYSTEMD && (!plan->kept || dice_once_in(dice, 2));
    plan->chunk = draw_chunk(dice);
    draw_prefix(plan, dice);
    draw_clients(plan, dice);
    draw_acts(plan, dice);
    plan->proxied = dice_once_in(dice, 3);
    plan->mailed = dice_once_in(dice, 3);
    (void)snprintf(prefix, sizeof prefix, "--prefix=%s", plan->prefix);
    (void)snprintf(plan->options, sizeof plan->options,
                   "--bind=127.0.0.1 --drain-timeout=3600 --workers=%u --chunk=%zu %s%s%s%s",
                   workers[dice_below(dice, 3)], plan->chunk,
                   plan->prefix[0] == '\0' && dice_once_in(dice, 2) ? "--rfc862" : prefix,
                   plan->kept ? " --keep" : "",
                   plan->proxied ? " --proxy-from=127.0.0.1 --proxy-timeout=3600" : "",
                   plan->mailed ? " --udp --udp-rate=0" : "");
}

void plan_print(const struct plan *plan)
{
    print_message("The round of seed %llu: uvechod %s\n", (unsigned long long)plan->seed,
                  plan->options);
    print_message("%u things happen%s. Clients:", plan->acts,
                  plan->managed ? ", and there is a service manager" : "");
    for (int habit = 0; habit < HABITS; habit++)
        if (plan->clients[habit] > 0)
            print_message(" %u %s;", plan->clients[habit], habit_name((enum habit)habit));
    print_message("\n");
}
