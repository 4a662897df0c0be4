#include "server/supervision.h"

#include "base/i18n.h"

#include <limits.h>
#include <stdio.h>

static struct yield supervision_ping(struct task *task)
{
    struct supervision *supervision = container_of(task, struct supervision, watchdog);
    /* Half of the time that is given, as sd_watchdog_enabled(3) recommends. */
    uint64_t ms = supervision->systemd.watchdog_us / 2000;
    if (supervision->supervised->alive(supervision->supervised))
        (void)systemd_notify(&supervision->systemd, "WATCHDOG=1");
    else
        ms /= SUPERVISION_IMPATIENCE;
    if (ms < 1)
        ms = 1;
    return yield_sleep(task, &supervision->watchdog_timer, ms < UINT_MAX ? (unsigned)ms : UINT_MAX,
                       supervision_ping);
}

/* Four periods: three reports may be lost before the manager kills the daemon. */
static void supervision_extend(struct supervision *supervision)
{
    (void)systemd_notify(&supervision->systemd, "EXTEND_TIMEOUT_USEC=%d",
                         4 * SUPERVISION_STATUS_MS * 1000);
}

/* Empty for a daemon that nobody has tried to upgrade. */
static void supervision_format_upgrades(const struct supervision *supervision, unsigned long count,
                                        char *text, size_t size)
{
    char counted[60] = "";
    if (count > 0)
        (void)snprintf(counted, sizeof counted, P_("; %lu upgrade", "; %lu upgrades", count),
                       count);
    (void)snprintf(text, size, "%s%s", counted,
                   supervision->refused ? _("; the last upgrade failed, see the log") : "");
}

static void supervision_tell(struct supervision *supervision, const struct stats *stats)
{
    unsigned long open = (unsigned long)stats->open;
    char connections[120];
    char bytes[120];
    char upgrades[180];
    (void)snprintf(connections, sizeof connections,
                   supervision->draining ? P_("Stopping: waiting for %lu connection",
                                              "Stopping: waiting for %lu connections", open)
                                         : P_("%lu connection", "%lu connections", open),
                   open);
    (void)snprintf(bytes, sizeof bytes, _("%llu bytes in, %llu bytes out"),
                   (unsigned long long)stats->bytes_in, (unsigned long long)stats->bytes_out);
    supervision_format_upgrades(supervision, (unsigned long)stats->upgrades, upgrades,
                                sizeof upgrades);
    (void)systemd_notify(&supervision->systemd, "STATUS=%s; %s%s", connections, bytes, upgrades);
    supervision->told_open = stats->open;
    supervision->told_bytes = stats->bytes_in + stats->bytes_out;
}

static void supervision_tell_now(struct supervision *supervision)
{
    struct stats stats;
    supervision->supervised->stats(supervision->supervised, &stats);
    supervision_tell(supervision, &stats);
}

static bool supervision_changed(const struct supervision *supervision, const struct stats *stats)
{
    return stats->open != supervision->told_open ||
           stats->bytes_in + stats->bytes_out != supervision->told_bytes;
}

/*
 * Sleeps after each report, so that there is a least time between two of them. Parks when nothing
 * has changed during a sleep and no connection is open, so that an idle daemon is never woken.
 */
static struct yield supervision_report(struct task *task)
{
    struct supervision *supervision = container_of(task, struct supervision, status);
    struct stats stats;
    supervision->supervised->stats(supervision->supervised, &stats);
    if (supervision->supervised->note != NULL)
        supervision->supervised->note(supervision->supervised);
    if (supervision->ready_unsent) /* without it the manager would kill the daemon in the end */
        supervision->ready_unsent = !systemd_notify(&supervision->systemd, "READY=1");
    if (supervision->draining)
        supervision_extend(supervision);
    if (supervision_changed(supervision, &stats)) {
        supervision_tell(supervision, &stats);
    } else if (stats.open == 0 && !supervision->draining && !supervision->ready_unsent) {
        supervision->parked = true;
        return yield_park(task, supervision_report);
    }
    return yield_sleep(task, &supervision->status_timer, SUPERVISION_STATUS_MS, supervision_report);
}

/* supervision_ready() counts as the first report. */
static struct yield supervision_begin(struct task *task)
{
    struct supervision *supervision = container_of(task, struct supervision, status);
    return yield_sleep(task, &supervision->status_timer, SUPERVISION_STATUS_MS, supervision_report);
}

static void supervision_timer_init(struct sched *sched, struct timer *timer)
{
    timer_init(timer, sched->loop, &sched->waker);
    uv_unref((uv_handle_t *)&timer->uv);
}

void supervision_start(struct supervision *supervision, struct sched *sched,
                       struct supervised *supervised, const struct systemd *systemd)
{
    *supervision =
        (struct supervision){.sched = sched, .supervised = supervised, .systemd = *systemd};
    supervision_timer_init(sched, &supervision->watchdog_timer);
    supervision_timer_init(sched, &supervision->status_timer);
    if (systemd->notify_fd >= 0 || supervised->note != NULL)
        sched_spawn(sched, &supervision->status, supervision_begin);
    if (systemd->notify_fd >= 0 && systemd->watchdog_us > 0)
        sched_spawn(sched, &supervision->watchdog, supervision_ping);
}

void supervision_ready(struct supervision *supervision)
{
    supervision->ready_unsent = !systemd_notify(&supervision->systemd, "READY=1");
    supervision_tell_now(supervision);
    if (supervision->supervised->note != NULL)
        supervision->supervised->note(supervision->supervised);
}

void supervision_reload(struct supervision *supervision)
{
    if (supervision->draining || supervision->reloading)
        return;
    supervision->reloading = true;
    (void)systemd_notify(&supervision->systemd, "RELOADING=1\nMONOTONIC_USEC=%llu",
                         (unsigned long long)(uv_hrtime() / 1000));
}

void supervision_stay(struct supervision *supervision)
{
    supervision->reloading = false;
    if (supervision->draining)
        return;
    supervision->refused = true;
    supervision_ready(supervision);
    supervision_wake(supervision); /* READY=1 may have to be repeated */
}

void supervision_wake(struct supervision *supervision)
{
    if (!supervision->parked)
        return;
    supervision->parked = false;
    sched_wake(supervision->sched, &supervision->status);
}

void supervision_drain(struct supervision *supervision)
{
    supervision->draining = true;
    (void)systemd_notify(&supervision->systemd, "STOPPING=1");
    supervision_extend(supervision);
    supervision_tell_now(supervision);
    supervision_wake(supervision);
}

void supervision_close(struct supervision *supervision)
{
    timer_close(&supervision->watchdog_timer, NULL);
    timer_close(&supervision->status_timer, NULL);
    systemd_close(&supervision->systemd);
}
