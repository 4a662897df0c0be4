#include "server/drops.h"

#include "base/i18n.h"

enum { DROPS_MS = 1000 };

static const char *const drops_reasons[DATAGRAM_RESULTS] = {
    [DATAGRAM_PORT] = N_("its port is a service's; see --udp-any-source"),
    [DATAGRAM_OWN] = N_("its port is one that is answered on here"),
    [DATAGRAM_ADDRESS] = N_("an address in it stands for no single host"),
    [DATAGRAM_PREFIX] = N_("it begins with the prefix, as an answer does"),
    [DATAGRAM_RATE] = N_("--udp-rate is reached"),
    [DATAGRAM_SIZE] = N_("the answer would be too long"),
    [DATAGRAM_FULL] = N_("the kernel has no room for the answer"),
    [DATAGRAM_FAILED] = N_("the kernel refuses the answer"),
};

/* Only a Unix socket may have no address. */
static const char *drops_format(const union net_addr *peer, char buf[static NET_ADDR_STRLEN])
{
    return peer->sa.sa_family == AF_UNSPEC ? "unix:" : net_format(peer, buf);
}

static void drops_tell(struct drops *drops)
{
    char peer[NET_ADDR_STRLEN];
    const struct responders *responders = drops->responders;
    unsigned long count = (unsigned long)(responders->dropped - drops->told);
    if (count == 0)
        return;
    drops->told = responders->dropped;
    log_write(drops->log, LOG_LEVEL_WARNING,
              P_("%lu datagram dropped, the last from %s: %s",
                 "%lu datagrams dropped, the last from %s: %s", count),
              count, drops_format(&responders->dropped_peer, peer),
              _(drops_reasons[responders->reason]));
}

static struct yield drops_park(struct task *task);

static struct yield drops_sleep(struct task *task)
{
    struct drops *drops = container_of(task, struct drops, task);
    return yield_sleep(task, &drops->timer, DROPS_MS, drops_park);
}

static struct yield drops_park(struct task *task)
{
    struct drops *drops = container_of(task, struct drops, task);
    drops_tell(drops);
    drops->parked = true;
    return yield_park(task, drops_sleep);
}

static void on_drop(struct responders_watcher *watcher, const struct responders *responders)
{
    struct drops *drops = container_of(watcher, struct drops, watcher);
    (void)responders;
    if (!drops->parked)
        return;
    drops->parked = false;
    sched_wake(drops->sched, &drops->task);
}

void drops_start(struct drops *drops, struct sched *sched, struct log *log,
                 const struct responders *responders)
{
    *drops = (struct drops){
        .watcher = {.on_drop = on_drop}, .sched = sched, .log = log, .responders = responders};
    timer_init(&drops->timer, sched->loop, &sched->waker);
    uv_unref((uv_handle_t *)&drops->timer.uv);
    sched_spawn(sched, &drops->task, drops_park);
}

void drops_close(struct drops *drops)
{
    drops_tell(drops);
    timer_close(&drops->timer, NULL);
}
