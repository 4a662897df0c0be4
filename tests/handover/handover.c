/*
 * handover [--seconds=N] [--seed=N]: plays rounds for so long (10 s), the first one of this seed.
 * In each round, a daemon is killed, crashes, is upgraded and restarted at random moments, and
 * everything a client gets is checked. A round that fails says its seed, and what has happened.
 */
#include "handover/crowd.h"
#include "handover/mail.h"
#include "handover/plan.h"
#include "handover/victim.h"

#include "e2e/harness.h"

#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    MEMORY_KB = 512, /* that a process may have more than its predecessors of long before */
    ACTS_MIN = 5,    /* in a round, also if the time is over */
};

static struct {
    uint64_t seconds;
    uint64_t start_ms;
    uint64_t seed; /* of the next round */
    unsigned long rounds;
    struct toll toll;
    uint64_t connections;
    uint64_t bytes;
    uint64_t answers; /* to datagrams, */
    uint64_t unheard; /* and datagrams that were lost */
    /* Of the round that runs. */
    struct plan plan;
    struct dice dice;         /* of what happens to the daemon */
    struct dice dice_clients; /* which are thrown more or less often, as the machine is fast */
    struct crowd crowd;
    struct mail mail;
    struct victim victim;
} run = {.seconds = 10};

/* What the daemon needs, with all clients but the idle ones gone. */
struct needs {
    long fds;
    long memory_kb; /* 0 if it cannot be measured */
};

/* The process that serves; nobody waits for some upgrades, so it may be another one soon. */
static struct daemon serving(const struct daemon *daemon)
{
    struct daemon found = *daemon;
    if (run.plan.kept)
        found.pid = daemon_child(daemon);
    return found;
}

static long memory_kb(const struct daemon *daemon)
{
    const struct daemon found = serving(daemon);
    return daemon_memory_kb(&found);
}

/* A process that has just taken over has nothing but what all of them have. */
static struct needs measure(const struct daemon *daemon)
{
    victim_upgrade(&run.victim);
    crowd_ping(&run.crowd);
    return (struct needs){.fds = daemon_fds_but_uring(daemon), /* which a keeper shares */
                          .memory_kb = harness_sanitized() ? 0 : memory_kb(daemon)};
}

/* To see that it sleeps takes more than a second, so not every round does. */
static void compare(const struct daemon *daemon, struct needs before)
{
    victim_replace(&run.victim);
    crowd_ping(&run.crowd);
    daemon_wait_figure(daemon, daemon_fds_but_uring, before.fds);
    if (before.memory_kb > 0)
        daemon_wait_figure(daemon, memory_kb, before.memory_kb + MEMORY_KB);
    if (dice_once_in(&run.dice, 5)) {
        const struct daemon found = serving(daemon);
        daemon_assert_asleep(&found);
    }
}

static void join_all(void)
{
    for (int habit = HABIT_IDLE + 1; habit < HABITS; habit++)
        crowd_join(&run.crowd, (enum habit)habit, run.plan.clients[habit]);
    if (run.plan.mailed)
        mail_open(&run.mail, run.crowd.daemon);
}

/* Whatever has happened, datagrams are answered in the end. */
static void end_mail(void)
{
    if (run.plan.mailed)
        victim_settle(&run.victim);
    mail_close(&run.mail);
}

/* Clients that do not come again, because nobody listens while a daemon stops. */
static void join_for_the_stop(void)
{
    crowd_join(&run.crowd, HABIT_BULK, 2);
    crowd_join(&run.crowd, HABIT_PING_PONG, 1);
    crowd_join(&run.crowd, HABIT_PIPELINED, 1);
    crowd_meet(&run.crowd);
}

static bool is_over(void)
{
    return harness_now_ms() - run.start_ms >= run.seconds * 1000;
}

/* What has been drawn ends early when the time is over. */
static void play(struct daemon *daemon)
{
    run.dice_clients = run.dice;
    crowd_init(&run.crowd, daemon, &run.plan, &run.dice_clients);
    mail_init(&run.mail, &run.plan, &run.dice_clients);
    victim_start(&run.victim, daemon, &run.crowd, &run.mail, &run.dice, &run.toll);
    crowd_join(&run.crowd, HABIT_IDLE, run.plan.clients[HABIT_IDLE]);
    crowd_ping(&run.crowd);
    struct needs before = measure(daemon);
    join_all();
    for (unsigned i = 0; i < run.plan.acts && !(is_over() && i > ACTS_MIN); i++)
        victim_suffer(&run.victim);
    end_mail();
    crowd_leave(&run.crowd, false);
    compare(daemon, before);
    join_for_the_stop();
    victim_stop(&run.victim);
}

static void random_ends(struct daemon *daemon)
{
    run.start_ms = harness_now_ms();
    do {
        (void)alarm(HARNESS_WATCHDOG_S); /* for each round */
        plan_draw(&run.plan, &run.dice, run.seed);
        play(daemon);
        run.seed++;
        run.rounds++;
        run.connections += run.crowd.connections;
        run.bytes += run.crowd.bytes;
        run.answers += run.mail.answers;
        run.unheard += run.mail.sent - run.mail.answers;
    } while (!is_over());
}

/* The first wrong byte or connection ends everything. */
static void print_totals(int wrong)
{
    const struct toll *toll = &run.toll;
    print_message(
        "handover: %llu s, %lu rounds, %lu kills (%lu during a takeover or an upgrade), "
        "%lu upgrades, %lu restarts, %lu takeovers, %llu connections, %llu bytes and %llu "
        "datagrams verified, %llu lost, %d wrong\n",
        (unsigned long long)(harness_now_ms() - run.start_ms) / 1000, run.rounds, toll->kills,
        toll->interrupted, toll->upgrades, toll->restarts, toll->takeovers,
        (unsigned long long)run.connections, (unsigned long long)run.bytes,
        (unsigned long long)run.answers, (unsigned long long)run.unheard, wrong);
}

static int tell_and_tear_down(void **state)
{
    const struct e2e_case *test = *state;
    print_totals(test->passed ? 0 : 1);
    if (!test->passed) {
        plan_print(&run.plan);
        print_message("What has happened: %s\n", run.victim.story);
    }
    return harness_teardown(state);
}

/* Returns whether the argument is this option, and its number. */
static bool parse(const char *argument, const char *option, uint64_t *number)
{
    char *end;
    size_t len = strlen(option);
    if (strncmp(argument, option, len) != 0 || argument[len] < '0' || argument[len] > '9')
        return false;
    *number = strtoull(argument + len, &end, 10);
    return *end == '\0';
}

int main(int argc, char **argv)
{
    static struct e2e_case ends = {.run = random_ends};
    const struct CMUnitTest tests[] = {
        {"random_ends", harness_body, harness_setup, tell_and_tear_down, &ends}};
    const struct rlimit none = {0, 0};
    if (getrandom(&run.seed, sizeof run.seed, 0) < 0)
        return EXIT_FAILURE;
    run.seed %= UINT64_C(1000000000000); /* soon read and written by people */
    for (int i = 1; i < argc; i++)
        if (!parse(argv[i], "--seconds=", &run.seconds) && !parse(argv[i], "--seed=", &run.seed)) {
            (void)fprintf(stderr, "Usage: handover [--seconds=N] [--seed=N]\n");
            return 2;
        }
    harness_init();
    (void)setrlimit(RLIMIT_CORE, &none); /* thousands of them would fill the disk */
    print_message("First seed: %llu\n", (unsigned long long)run.seed);
    return cmocka_run_group_tests_name("handover", tests, NULL, NULL);
}
