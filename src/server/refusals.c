#include "server/refusals.h"

#include "base/i18n.h"

enum { REFUSALS_MS = 1000 };

static void refusals_tell(struct refusals *refusals)
{
    char peer[NET_ADDR_STRLEN];
    unsigned long count = (unsigned long)(refusals->sources->refused - refusals->told);
    if (count == 0)
        return;
    refusals->told = refusals->sources->refused;
    log_write(refusals->log, LOG_LEVEL_WARNING,
              P_("%lu connection refused, the last from %s: --max-per-source=%u",
                 "%lu connections refused, the last from %s: --max-per-source=%u", count),
              count, net_format_peer(&refusals->sources->refused_peer, peer),
              refusals->sources->max);
}

static struct yield refusals_park(struct task *task);

static struct yield refusals_sleep(struct task *task)
{
    struct refusals *refusals = container_of(task, struct refusals, task);
    return yield_sleep(task, &refusals->timer, REFUSALS_MS, refusals_park);
}

static struct yield refusals_park(struct task *task)
{
    struct refusals *refusals = container_of(task, struct refusals, task);
    refusals_tell(refusals);
    refusals->parked = true;
    return yield_park(task, refusals_sleep);
}

void refusals_start(struct refusals *refusals, struct sched *sched, struct log *log,
                    const struct sources *sources)
{
    *refusals = (struct refusals){.sched = sched, .log = log, .sources = sources};
    timer_init(&refusals->timer, sched->loop, &sched->waker);
    uv_unref((uv_handle_t *)&refusals->timer.uv);
    sched_spawn(sched, &refusals->task, refusals_park);
}

void refusals_wake(struct refusals *refusals)
{
    if (!refusals->parked)
        return;
    refusals->parked = false;
    sched_wake(refusals->sched, &refusals->task);
}

void refusals_close(struct refusals *refusals)
{
    refusals_tell(refusals);
    timer_close(&refusals->timer, NULL);
}
