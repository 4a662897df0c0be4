/*
 * plan.h - what the seed says about a history: how the daemon is configured, what it finds when it
 * starts, and when it is stopped. The clients have plans of their own: clients.h.
 */
#ifndef UVECHOD_SIM_PLAN_H
#define UVECHOD_SIM_PLAN_H

#include "scenario.h"
#include "service/echo.h"

#include <stdbool.h>
#include <stdint.h>

enum { PLAN_ENDPOINTS_MAX = 3, PLAN_PROXIES_MAX = 2 };

struct plan {
    struct server_config config;
    struct service service;
    struct program program;
    char path[32]; /* of the program */
    struct echo_config echo;
    char prefix[CHUNKS_PREFIX_MAX];
    struct endpoint_addr addrs[PLAN_ENDPOINTS_MAX];
    enum log_level level;

    unsigned descriptors; /* the limit of the process */
    unsigned inherited;   /* numbers that a parent has left open */
    long watches;         /* what watches_max() returns */
    bool managed;         /* there is a service manager, which wants to be told */
    uint64_t watchdog_us; /* 0: the manager has no watchdog */
    unsigned passed;      /* sockets that the manager passes: listening ones */
    unsigned connected;   /* and connections behind them */
    bool hangup_ignored;  /* nohup(1) has ignored SIGHUP */
    bool crowd;

    struct cidr proxies[PLAN_PROXIES_MAX];
    unsigned proxied_hosts; /* hosts below this number are proxies, if their family is; 0: none */
    bool proxied_in, proxied_in6, proxied_unix;

    unsigned clients;
    size_t limit; /* how many connections there may be, by the rules of README */
    uint64_t begun_us;
    uint64_t stop_us;  /* the first signal to stop */
    uint64_t twice_us; /* the second, or 0 */
};

/* Draws the plan of the seed. It stays as it is until the next call. */
void plan_draw(uint64_t seed, bool crowd);
const struct plan *plan_get(void);

/* Which stream of chance belongs to whom: world_chance(). Client n has CHANCE_CLIENT + n. */
enum plan_chance {
    CHANCE_PLAN = 1000,
    CHANCE_KERNEL,
    CHANCE_SOCKET,
    CHANCE_LISTENING,
    CHANCE_PIPE,
    CHANCE_OS,
    CHANCE_LIVES,
    CHANCE_SIGNALS,
    CHANCE_PROXIES = 1201, /* so that the seeds of seeds.txt that are older have none */
    CHANCE_CLIENT = 10000,
    CHANCE_HEADERS = 20000, /* and client n has this one + n for its header */
};

/* Of a number between 1 and what is said: small numbers are as likely as large ones. */
struct chance;
uint64_t plan_size(struct chance *chance, uint64_t largest);

#endif
