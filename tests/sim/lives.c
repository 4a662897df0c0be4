#include "lives.h"

#include "fibers.h"
#include "files.h"
#include "invariants.h"
#include "listening.h"
#include "loop.h"
#include "memory.h"
#include "plan.h"
#include "process.h"
#include "socket.h"
#include "spread.h"
#include "world.h"

#include <string.h>

/*
 * How many points a process passes until it is killed: as likely few as many, up to a power of two.
 * Half of the successors are killed while they take over, if they are killed at all.
 */
enum { LIVES_EXPONENT_MIN = 3, LIVES_EXPONENT_MAX = 13, LIVES_EXPONENT_START = 7 };

/* A history ends, so not all of its processes are killed. */
enum { LIVES_KILLS_MAX = 8 };

/* How many points a thread may still pass when another one has ended the process. */
enum { LIVES_LAST_STEPS = 12 };

static struct {
    struct chance chance;
    uint64_t points;            /* until the process is killed */
    unsigned steps[FIBERS_MAX]; /* of each thread, when the process ends */
    unsigned kills, ended;
    bool listened; /* a process has started as it should: from then on, all may be killed */
    bool ends;
    bool lost_counts;
    uint64_t executed_us; /* when the last process has executed its program; 0: it was killed */
} lives;

static void lives_draw_points(unsigned exponent_max)
{
    uint64_t exponent = chance_between(&lives.chance, LIVES_EXPONENT_MIN, exponent_max);
    lives.points = chance_between(&lives.chance, 1, UINT64_C(1) << exponent);
}

void lives_begin(void)
{
    memset(&lives, 0, sizeof lives);
    lives.chance = world_chance(CHANCE_LIVES);
    lives_draw_points(LIVES_EXPONENT_MAX);
}

bool life_ends(void)
{
    return lives.ends;
}

uint64_t lives_gap_us(void)
{
    return lives.executed_us != 0 ? world_now() - lives.executed_us : UINT64_MAX;
}

unsigned lives_ended(void)
{
    return lives.ended;
}

bool lives_lost_counts(void)
{
    return lives.lost_counts;
}

void lives_lose_counts(void)
{
    lives.lost_counts = true;
}

/* ---- the end ---- */

static bool life_goes_on(void *arg)
{
    (void)arg;
    return false;
}

/* The calling thread has come to its end, and the other ones take their last steps. */
static void life_end(void)
{
    lives.ends = true;
    bool at_once = chance_below(&lives.chance, 2) == 0;
    for (unsigned i = 0; i < FIBERS_MAX; i++)
        lives.steps[i] = at_once ? 0 : (unsigned)chance_below(&lives.chance, LIVES_LAST_STEPS);
    fiber_wait(life_goes_on, NULL);
}

static void life_last_step(void)
{
    unsigned *steps = &lives.steps[fiber_number()];
    if (*steps == 0)
        fiber_wait(life_goes_on, NULL);
    (*steps)--;
    lives.lost_counts = true;
}

void life_over(void)
{
    fibers_drop();
}

bool lives_may_end(void)
{
    return plan_get()->inherited == 0 && !world_has(FAULT_THREADS);
}

/* Whether a successor would go on if the process died now. */
static bool life_may_end(void)
{
    lives.listened = lives.listened || world_faults_occur();
    return lives.listened && lives.kills < LIVES_KILLS_MAX && deadlines_stop_us() == 0 &&
           lives_may_end() && process_file() >= 0;
}

void life_point(void)
{
    if (lives.ends) {
        life_last_step();
        return;
    }
    if (!world_has(FAULT_KILL) || !life_may_end() || --lives.points > 0)
        return;
    lives_draw_points(LIVES_EXPONENT_MAX);
    if (!world_fault_at_start(FAULT_KILL, 10000))
        return;
    world_trace("the process is killed");
    lives.kills++;
    lives.lost_counts = true;
    lives.executed_us = 0;
    life_end();
}

void life_execute(int ledger)
{
    if (ledger != process_file())
        world_fail("the program is executed with descriptor %d for the ledger", ledger);
    if (deadlines_stop_us() != 0)
        world_fail("the program is executed, and a signal to stop is forgotten");
    world_trace("the process executes its program");
    lives.executed_us = world_now();
    life_end();
}

/* ---- what is left ---- */

static void lives_outlive_sockets(void)
{
    for (struct list *link = sockets_open()->next; link != sockets_open(); link = link->next)
        socket_outlive(container_of(link, struct socket, link));
}

int lives_succeed(void)
{
    int ledger = process_file();
    lives_outlive_sockets();
    listenings_outlive();
    kernel_end_process(ledger);
    loops_drop();
    process_drop();
    signals_end_process();
    logs_end_process();
    manager_end_process();
    invariants_begin();
    spread_begin();
    world_faults_may_occur(false);
    lives.ended++;
    lives.ends = false;
    lives_draw_points(chance_below(&lives.chance, 2) == 0 ? LIVES_EXPONENT_START
                                                          : LIVES_EXPONENT_MAX);
    world_trace("a successor starts, with the ledger at descriptor %d", ledger);
    return ledger;
}
