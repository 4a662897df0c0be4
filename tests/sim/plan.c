#include "plan.h"

#include "os/descriptors.h"
#include "world.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

enum { PLAN_PORT = 25000, PLAN_SECOND_US = 1000000 };

enum { PLAN_PROXIED = 2000 }; /* of 10,000 histories */

static struct plan plan;

const struct plan *plan_get(void)
{
    return &plan;
}

uint64_t plan_size(struct chance *chance, uint64_t largest)
{
    uint64_t most = 1;
    for (uint64_t n = largest; n > 1; n /= 2)
        most += chance_of(chance, 5000) ? 1 : 0;
    uint64_t size = chance_between(chance, 1, 1ULL << (most < 40 ? most : 40));
    return size < largest ? size : chance_between(chance, 1, largest);
}

static void plan_draw_echo(struct chance *chance)
{
    size_t len = chance_of(chance, 7500) ? 4 : chance_between(chance, 1, CHUNKS_PREFIX_MAX);
    uint64_t kind = chance_below(chance, 4);
    for (size_t i = 0; i < len; i++)
        plan.prefix[i] = len == 4 ? "GOT:"[i] : (char)('a' + chance_below(chance, 26));
    plan.echo =
        (struct echo_config){.prefix = plan.prefix,
                             .prefix_len = chance_of(chance, 3500) ? 0 : len,
                             .chunk = kind == 0   ? chance_between(chance, 1, 70)
                                      : kind == 1 ? chance_between(chance, 1, CHUNKS_CHUNK_MAX)
                                                  : 1000};
    plan.service = (struct service){.handler = &echo_handler, .config = &plan.echo};
}

static void plan_draw_addrs(struct chance *chance)
{
    size_t count = chance_between(chance, 1, PLAN_ENDPOINTS_MAX);
    for (size_t i = 0; i < count; i++) {
        union net_addr *addr = &plan.addrs[i].addr;
        memset(&plan.addrs[i], 0, sizeof plan.addrs[i]);
        uint64_t family = chance_below(chance, 3);
        addr->sa.sa_family = family == 0 ? AF_INET6 : family == 1 ? AF_UNIX : AF_INET;
        if (family == 1)
            (void)snprintf(addr->un.sun_path, sizeof addr->un.sun_path, "/run/echo%zu", i);
        net_set_port(addr, PLAN_PORT);
    }
    plan.config.endpoints = (struct endpoints_config){
        .addrs = plan.addrs,
        .count = count,
        .port = PLAN_PORT,
        .backlog = (int)(chance_of(chance, 2000) ? chance_between(chance, 1, 10) : 4096)};
}

static void plan_draw_manager(struct chance *chance)
{
    plan.managed = chance_of(chance, 7000);
    if (plan.managed && chance_of(chance, 7000))
        plan.watchdog_us = chance_between(chance, 1, 10) * PLAN_SECOND_US;
    if (!plan.managed || !chance_of(chance, 2000))
        return;
    plan.passed = (unsigned)chance_between(chance, 0, 2);
    plan.connected = plan.passed == 0 || chance_of(chance, 3000) ? 1 : 0;
}

/* How many descriptors the daemon keeps back, as README and --help promise. */
static size_t plan_reserve(void)
{
    size_t workers = plan.config.workers;
    size_t pipes = plan.echo.prefix_len == 0 ? (size_t)2 * PIPES_MAX : 0;
    size_t sockets = plan.passed + plan.connected;
    if (sockets == 0)
        sockets = plan.config.endpoints.count;
    return DESCRIPTORS_RESERVE + (workers - 1) * DESCRIPTORS_LOOP + workers * pipes + sockets;
}

static void plan_draw_limits(struct chance *chance)
{
    size_t reserve = plan_reserve();
    plan.descriptors = chance_of(chance, 2500) && !plan.crowd
                           ? (unsigned)(reserve + chance_between(chance, 1, 30))
                           : 12000;
    plan.inherited = chance_of(chance, 1000) ? (unsigned)chance_between(chance, 1, 60) : 0;
    plan.watches = chance_of(chance, 1000)   ? (long)(reserve + chance_between(chance, 1, 5000))
                   : chance_of(chance, 1000) ? -2
                                             : 1000000;
    size_t most = plan.descriptors;
    if (plan.watches >= 0 && (size_t)plan.watches < most)
        most = (size_t)plan.watches;
    plan.limit = most - reserve;
    if (!chance_of(chance, 4000))
        return;
    plan.config.max_connections = chance_between(chance, 1, plan.crowd ? 2000 : 20);
    if (plan.config.max_connections < plan.limit)
        plan.limit = plan.config.max_connections;
}

static void plan_draw_times(struct chance *chance)
{
    plan.begun_us = world_now();
    plan.config.idle_ms =
        chance_of(chance, 6000) ? (unsigned)chance_between(chance, 1, 6) * 1000 : 0;
    plan.config.drain_ms = (unsigned)chance_between(chance, 0, 5) * 1000;
    plan.stop_us = plan.begun_us + chance_between(chance, 1000, 20 * PLAN_SECOND_US);
    uint64_t later = chance_below(chance, plan.config.drain_ms * 1000ULL + 2 * PLAN_SECOND_US);
    plan.twice_us = world_has(FAULT_TWICE) ? plan.stop_us + later : 0;
}

/* Faults that show something only together. */
static void plan_want_pairs(struct chance *chance)
{
    if (plan.config.idle_ms > 0 && chance_of(chance, 5000))
        world_want(FAULT_STALL, true);
    if (plan.echo.prefix_len == 0 && chance_of(chance, 4000))
        world_want(FAULT_SPLICE, true);
    if (plan.echo.prefix_len == 0 && chance_of(chance, 3000))
        world_want(FAULT_URGENT, true);
    /* Drawn in any case: what the shrinker leaves out must not change the rest. */
    bool unwatched = chance_of(chance, 3000);
    if (plan.twice_us != 0 && unwatched)
        world_want(FAULT_WATCHES, true);
    if (plan.crowd) { /* or it would run apart, and each look at all of it is dear */
        world_want(FAULT_STALL, false);
        world_want(FAULT_ROUNDS, false); /* it has more events than a poll reports in any case */
    }
}

/* One client, and then nobody for long, so that a daemon can be seen to sleep. */
static void plan_draw_solitude(struct chance *chance)
{
    if (plan.crowd || !chance_of(chance, 500))
        return;
    plan.clients = 1;
    plan.stop_us += 30 * PLAN_SECOND_US;
    if (plan.twice_us != 0)
        plan.twice_us += 30 * PLAN_SECOND_US;
}

/* Some of the families of addresses are those of proxies, and all of their hosts, or some. */
static void plan_draw_proxies(void)
{
    enum { HOSTS_ALL = 17, HOSTS_SOME = 8 };
    struct chance chance = world_chance(CHANCE_PROXIES);
    if (plan.crowd || !chance_of(&chance, PLAN_PROXIED))
        return;
    bool all = chance_of(&chance, 5000);
    uint64_t families = chance_between(&chance, 1, 7);
    struct proxy_rules *rules = &plan.config.proxies;
    plan.proxied_hosts = all ? HOSTS_ALL : HOSTS_SOME;
    plan.proxied_in = (families & 1) != 0;
    plan.proxied_in6 = (families & 2) != 0;
    plan.proxied_unix = rules->local = (families & 4) != 0;
    if (plan.proxied_in)
        plan.proxies[rules->count++] =
            (struct cidr){.family = AF_INET, .bits = all ? 8 : 29, .net = {10}};
    if (plan.proxied_in6)
        plan.proxies[rules->count++] =
            (struct cidr){.family = AF_INET6, .bits = all ? 8 : 61, .net = {0xfd}};
    rules->from = plan.proxies;
    if (!chance_of(&chance, 2000))
        rules->timeout_ms = (unsigned)chance_between(&chance, 1, 4) * 1000;
}

void plan_draw(uint64_t seed, bool crowd)
{
    static const enum log_level levels[] = {LOG_LEVEL_NOTICE, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG};
    struct chance chance = world_chance(CHANCE_PLAN);
    (void)seed;
    plan = (struct plan){.crowd = crowd, .path = "/usr/sbin/uvechod"};
    plan.config.workers = chance_of(&chance, 5000) ? 1 : (unsigned)chance_between(&chance, 2, 4);
    plan_draw_echo(&chance);
    plan_draw_addrs(&chance);
    plan_draw_manager(&chance);
    plan_draw_times(&chance);
    plan_draw_limits(&chance);
    plan_want_pairs(&chance);
    if (chance_of(&chance, 2000))
        plan.config.max_per_source = (unsigned)chance_between(&chance, 1, 4);
    if (chance_of(&chance, 2000))
        plan.config.max_rate = (unsigned)chance_between(&chance, 1, 40);
    if (chance_of(&chance, 3000))
        plan.config.send_ms = (unsigned)chance_between(&chance, 1, 6) * 1000;
    plan.config.services = (struct services){.list = &plan.service, .count = 1};
    plan.config.program = &plan.program;
    plan.program.path = plan.path;
    plan.level = levels[chance_below(&chance, 3)];
    plan.hangup_ignored = chance_of(&chance, 1000);
    plan.clients =
        (unsigned)(crowd ? chance_between(&chance, 1100, 2600) : chance_between(&chance, 1, 40));
    plan_draw_solitude(&chance);
    plan_draw_proxies();
    if (plan.clients < plan.connected)
        plan.clients = plan.connected;
}
