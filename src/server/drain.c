#include "server/drain.h"

#include "base/i18n.h"

#include <errno.h>

void drain_init(struct drain *drain, struct workers *workers, struct log *log, unsigned deadline_ms)
{
    *drain = (struct drain){.workers = workers, .log = log, .deadline_ms = deadline_ms};
    struct sched *sched = workers_sched(workers);
    timer_init(&drain->timer, sched->loop, &sched->waker);
    uv_unref((uv_handle_t *)&drain->timer.uv);
}

static struct yield drain_deadline(struct task *task)
{
    struct drain *drain = container_of(task, struct drain, task);
    unsigned long open = (unsigned long)workers_load(drain->workers);
    if (open == 0) /* the last worker has not rung the bell yet */
        return yield_done(task);
    log_write(
        drain->log, LOG_LEVEL_WARNING,
        P_("Drain deadline: ending %lu connection", "Drain deadline: ending %lu connections", open),
        open);
    workers_order(drain->workers, WORKER_SHUT, -ESHUTDOWN);
    return yield_done(task);
}

static struct yield drain_wait(struct task *task)
{
    struct drain *drain = container_of(task, struct drain, task);
    workers_order(drain->workers, WORKER_DRAIN, 0);
    if (drain->at_once) /* again, for the connections that the listeners have accepted since */
        workers_order(drain->workers, WORKER_ABORT, -ESHUTDOWN);
    unsigned long open = (unsigned long)workers_load(drain->workers);
    if (drain->at_once || open == 0)
        return yield_done(task);
    log_write(
        drain->log, LOG_LEVEL_INFO,
        P_("Stopping: waiting for %lu connection, %u s at most; a second signal ends it at once",
           "Stopping: waiting for %lu connections, %u s at most; a second signal ends them at once",
           open),
        open, drain->deadline_ms / 1000);
    return yield_sleep(task, &drain->timer, drain->deadline_ms, drain_deadline);
}

void drain_begin(struct drain *drain)
{
    drain->begun = true;
    /*
     * The listeners are queued already. They run first and accept the connections in their
     * backlogs, so that the task counts these, too.
     */
    sched_spawn(workers_sched(drain->workers), &drain->task, drain_wait);
}

void drain_at_once(struct drain *drain)
{
    unsigned long open = (unsigned long)workers_load(drain->workers);
    log_write(drain->log, LOG_LEVEL_WARNING,
              P_("Stopping at once: ending %lu connection",
                 "Stopping at once: ending %lu connections", open),
              open);
    drain->at_once = true;
    workers_order(drain->workers, WORKER_ABORT, -ESHUTDOWN);
}

void drain_close(struct drain *drain)
{
    timer_close(&drain->timer, NULL);
}
