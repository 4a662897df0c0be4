#include "scenario.h"

#include "clients.h"
#include "fates.h"
#include "files.h"
#include "invariants.h"
#include "kernel.h"
#include "listening.h"
#include "lives.h"
#include "memory.h"
#include "pipe.h"
#include "plan.h"
#include "process.h"
#include "socket.h"
#include "spread.h"
#include "stream/reaper.h"
#include "world.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>

enum { SCENARIO_SLACK_US = 500000, SCENARIO_FIRST_INHERITED = 8 };

static struct scenario_totals totals;

const struct scenario_totals *scenario_totals(void)
{
    return &totals;
}

unsigned scenario_clients(void)
{
    return plan_get()->clients;
}

const char *scenario_text(void)
{
    static char text[400];
    const struct plan *plan = plan_get();
    (void)snprintf(text, sizeof text,
                   "%u clients, %u workers, prefix of %zu, chunk %zu, idle %u ms, drain %u ms, "
                   "limit %zu, %zu endpoints, %u + %u sockets passed, log level %d, stop after "
                   "%llu ms, %u hosts behind proxies, headers %u ms",
                   plan->clients, plan->config.workers, plan->echo.prefix_len, plan->echo.chunk,
                   plan->config.idle_ms, plan->config.drain_ms, plan->limit,
                   plan->config.endpoints.count, plan->passed, plan->connected, (int)plan->level,
                   (unsigned long long)(plan->stop_us - plan->begun_us) / 1000, plan->proxied_hosts,
                   plan->config.proxies.timeout_ms);
    return text;
}

static void scenario_begin_kernel(void)
{
    files_begin(plan_get()->descriptors);
    sockets_begin();
    listenings_begin();
    kernel_pipes_begin();
    kernel_begin();
}

static void scenario_begin_process(void)
{
    process_begin();
    signals_begin();
    manager_begin();
    logs_begin();
    invariants_begin();
    spread_begin();
    deadlines_begin();
    fates_begin();
    lives_begin();
}

static void scenario_send_signals(void)
{
    static const int stops[] = {SIGTERM, SIGINT, SIGHUP};
    const struct plan *plan = plan_get();
    struct chance chance = world_chance(CHANCE_OS);
    unsigned kinds = plan->hangup_ignored ? 2 : 3;
    uint64_t kind = chance_below(&chance, kinds);
    signals_send(plan->stop_us, stops[kind]);
    if (plan->twice_us != 0)
        signals_send(plan->twice_us, stops[chance_below(&chance, kinds)]);
    unsigned asks = world_has(FAULT_INTERRUPT) ? (unsigned)chance_between(&chance, 1, 5) : 0;
    while (asks-- > 0)
        signals_send(plan->begun_us + chance_below(&chance, plan->stop_us - plan->begun_us +
                                                                plan->config.drain_ms * 1000ULL),
                     SIGUSR1);
    chance = world_chance(CHANCE_SIGNALS);
    bool upgraded = world_has(FAULT_UPGRADE) && lives_may_end();
    unsigned upgrades = upgraded ? (unsigned)chance_between(&chance, 1, 4) : 0;
    if (upgraded && chance_below(&chance, 4) == 0) {
        uint64_t drawn = chance_below(&chance, 512);
        /* Both are taken at once, or the upgrade is at one of its steps when the stop comes. */
        signals_send(plan->stop_us - 1 - drawn % (drawn < 256 ? 4 : 64), SIGUSR2);
    }
    while (upgrades-- > 0)
        signals_send(plan->begun_us + chance_below(&chance, plan->stop_us - plan->begun_us +
                                                                plan->config.drain_ms * 1000ULL),
                     SIGUSR2);
}

static void scenario_pass_sockets(void)
{
    const struct plan *plan = plan_get();
    for (unsigned i = 0; i < plan->passed; i++)
        (void)listening_open(&plan->addrs[i % plan->config.endpoints.count].addr,
                             (unsigned)plan->config.endpoints.backlog, true);
}

void scenario_begin(uint64_t seed, const struct scenario_limits *limits,
                    struct server_config *config)
{
    plan_draw(seed, limits != NULL && limits->crowd);
    scenario_begin_kernel();
    scenario_begin_process();
    scenario_pass_sockets();
    clients_begin(limits);
    for (unsigned i = 0; i < plan_get()->inherited; i++)
        files_inherit(SCENARIO_FIRST_INHERITED + (int)(2 * i));
    scenario_send_signals();
    *config = plan_get()->config;
}

/* Whether the daemon may fail to start. */
static bool scenario_may_fail(int rc)
{
    if (logs_listening() > 0)
        return false;
    return world_has(FAULT_THREADS) || (rc == -EMFILE && plan_get()->inherited > 0);
}

static void scenario_check_end(int rc)
{
    const struct plan *plan = plan_get();
    bool listens = plan->passed > 0 || plan->connected == 0;
    uint64_t stop_us = deadlines_stop_us();
    if (rc != 0 && !scenario_may_fail(rc))
        world_fail("the daemon has ended with %d", rc);
    if (rc == 0 && stop_us == 0 && listens)
        world_fail("the daemon has ended, and nobody has stopped it");
    if (sockets_count() > 0)
        world_fail("the daemon has ended with %u connections open", sockets_count());
    uint64_t latest =
        stop_us + plan->config.drain_ms * 1000ULL + REAPER_LINGER_MS * 1000 + SCENARIO_SLACK_US;
    if (stop_us != 0 && world_now() > latest + world_stalled())
        world_fail("the daemon ends %llu ms after its deadline",
                   (unsigned long long)(world_now() - latest) / 1000);
}

void scenario_end(int rc)
{
    world_faults_may_occur(false);
    scenario_check_end(rc);
    process_end();
    files_end();
    logs_end(rc);
    manager_end(rc);
    totals.connections += sockets_counts()->accepted;
    totals.bytes += sockets_counts()->bytes_in + sockets_counts()->bytes_out;
    totals.messages += sockets_counts()->messages;
    totals.refusals += sockets_counts()->refusals;
    totals.calls += kernel_calls();
    totals.lives += lives_ended();
    clients_end();
}
