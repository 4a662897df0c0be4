#include "server/workers.h"

#include "os/memory.h"
#include "stream/conn_log.h"

#include <errno.h>
#include <stdlib.h>

/*
 * The listeners run on the first worker's thread: that worker wakes them at once. The thread of
 * another worker rings the bell if a listener waits. No wake-up is lost, because the connection has
 * been counted as closed before we exchange the flag, and workers_at_limit() counts again after it
 * has set the flag: either we find the flag set, or that function finds the connection closed.
 */
static void on_room(struct worker_parent *parent, const struct worker *worker)
{
    struct workers *workers = container_of(parent, struct workers, parent);
    if (!worker->threaded)
        acceptor_room(&workers->acceptor);
    else if (atomic_exchange(&workers->waiting, false) || worker->ended)
        (void)uv_async_send(&workers->bell);
}

static bool workers_have_ended(const struct workers *workers)
{
    for (unsigned i = 1; i <= workers->started; i++)
        if (!workers->list[i].ended)
            return false;
    return true;
}

/* When no thread is left, the bell no longer keeps the first worker's loop running. */
static void on_bell(uv_async_t *bell)
{
    struct workers *workers = container_of(bell, struct workers, bell);
    for (unsigned i = 1; i <= workers->started; i++)
        if (workers->list[i].ended && workers->list[i].error < 0)
            uv_stop(bell->loop);
    if (workers_have_ended(workers))
        uv_unref((uv_handle_t *)bell);
    acceptor_room(&workers->acceptor);
}

static void workers_close_some(struct workers *workers, unsigned count)
{
    while (count > 0)
        worker_close(&workers->list[--count]);
    free(workers->list);
    workers->list = NULL;
}

static int workers_open_each(struct workers *workers, const struct worker_config *config)
{
    int rc = 0;
    for (unsigned i = 0; i < workers->count && rc == 0; i++) {
        rc = worker_open(&workers->list[i], config, &workers->parent, i > 0);
        if (rc < 0)
            workers_close_some(workers, i);
    }
    return rc;
}

static bool workers_at_limit(struct workers *workers)
{
    if (workers_load(workers) < workers->limit)
        return false;
    (void)atomic_exchange(&workers->waiting, true);
    return workers_load(workers) >= workers->limit;
}

static bool workers_full(struct acceptor *acceptor)
{
    struct workers *workers = container_of(acceptor, struct workers, acceptor);
    bool early = workers->coming > 0 && workers->list->conns.sources != NULL;
    return early || workers_at_limit(workers) || !pace_allows(&workers->pace);
}

/* The worker with the fewest connections; of several, the next after the one chosen last. */
static unsigned workers_choose(const struct workers *workers)
{
    unsigned best = 0;
    size_t least = SIZE_MAX;
    for (unsigned i = 1; i <= workers->count; i++) {
        unsigned candidate = (workers->last + i) % workers->count;
        size_t load = worker_load(&workers->list[candidate]);
        if (load < least) {
            best = candidate;
            least = load;
        }
    }
    return best;
}

static int workers_take(struct acceptor *acceptor, const struct accepted *accepted)
{
    struct workers *workers = container_of(acceptor, struct workers, acceptor);
    struct sources *sources = workers->list->conns.sources;
    pace_take(&workers->pace);
    if (sources != NULL && !sources_enter(sources, &accepted->peer)) {
        net_close(accepted->fd);
        return SOURCES_REFUSED;
    }
    workers->last = workers_choose(workers);
    return worker_take(&workers->list[workers->last], accepted);
}

int workers_adopt(struct workers *workers, const struct accepted *accepted)
{
    struct sources *sources = workers->list->conns.sources;
    if (sources != NULL && !sources_enter(sources, &accepted->peer)) {
        if (accepted->adopted)
            ledger_abandon(workers->list->conns.ledger, accepted->fd);
        net_close(accepted->fd);
        return SOURCES_REFUSED;
    }
    workers->last = workers_choose(workers);
    struct worker *worker = &workers->list[workers->last];
    int rc = worker_take(worker, accepted);
    if (rc < 0) {
        workers->refused++;
        conn_log_refused(worker->log, rc);
    }
    return rc;
}

int workers_open(struct workers *workers, unsigned count, size_t limit, unsigned rate,
                 const struct worker_config *config)
{
    *workers = (struct workers){.acceptor = {.full = workers_full, .take = workers_take},
                                .parent = {.on_room = on_room},
                                .list = calloc(count, sizeof *workers->list),
                                .count = count,
                                .last = count - 1,
                                .limit = limit};
    if (workers->list == NULL)
        return -ENOMEM;
    acceptor_init(&workers->acceptor);
    int rc = workers_open_each(workers, config);
    if (rc < 0)
        return rc;
    uv_loop_t *loop = &workers->list->loop;
    if (count > 1) {
        rc = uv_async_init(loop, &workers->bell, on_bell);
        if (rc < 0) {
            workers_close_some(workers, count);
            return rc;
        }
        uv_unref((uv_handle_t *)&workers->bell); /* until threads run that ring the bell */
    }
    pace_init(&workers->pace, loop, &workers->acceptor, config->log, rate);
    return 0;
}

int workers_start(struct workers *workers)
{
    int rc = 0;
    if (workers->count > 1)
        memory_trim(); /* for the first time, which must be over before there are threads */
    for (unsigned i = 1; i < workers->count && rc == 0; i++) {
        rc = worker_start(&workers->list[i]);
        if (rc == 0)
            workers->started = i;
    }
    if (workers->started > 0)
        uv_ref((uv_handle_t *)&workers->bell);
    return rc;
}

void workers_rest(struct workers *workers)
{
    for (unsigned i = 1; i <= workers->started; i++)
        worker_order(&workers->list[i], WORKER_QUIT, 0);
    for (unsigned i = 1; i <= workers->started; i++)
        worker_join(&workers->list[i]);
}

/* The loop of the first worker returns, as it does when one of its own tasks is wrong. */
static void workers_fail(const struct workers *workers, int error, int reason)
{
    struct sched *sched = workers_sched(workers);
    sched->error = error;
    sched->reason = reason;
    uv_stop(sched->loop);
}

void workers_resume(struct workers *workers)
{
    const unsigned resting = workers->started;
    workers->started = 0;
    for (unsigned i = 1; i <= resting; i++) {
        struct worker *worker = &workers->list[i];
        if (worker->error < 0) {
            workers_fail(workers, worker->error, worker->sched.reason);
            return;
        }
        worker->ended = false;
    }
    int rc = workers_start(workers);
    if (rc < 0)
        workers_fail(workers, rc, 0);
}

const struct worker *workers_run(struct workers *workers)
{
    const struct worker *wrong = NULL;
    worker_run(&workers->list[0]);
    workers_order(workers, WORKER_QUIT, 0); /* for the workers that have not ended by themselves */
    for (unsigned i = workers->started + 1; i-- > 0;) {
        if (i > 0)
            worker_join(&workers->list[i]);
        if (workers->list[i].error < 0)
            wrong = &workers->list[i];
    }
    return wrong;
}

void workers_expect(struct workers *workers, size_t coming)
{
    workers->coming = coming;
    acceptor_room(&workers->acceptor); /* some may have ended instead of being adopted */
}

bool workers_are_behind(const struct workers *workers)
{
    for (unsigned i = 0; i < workers->count; i++)
        if (worker_is_behind(&workers->list[i]))
            return true;
    return false;
}

size_t workers_load(const struct workers *workers)
{
    size_t load = workers->coming;
    for (unsigned i = 0; i < workers->count; i++)
        load += worker_load(&workers->list[i]);
    return load;
}

void workers_order(struct workers *workers, unsigned orders, int error)
{
    if ((orders & WORKER_DRAIN) != 0)
        pace_stop(&workers->pace);
    for (unsigned i = 0; i < workers->count; i++)
        worker_order(&workers->list[i], orders, error);
}

bool workers_alive(struct workers *workers)
{
    for (unsigned i = 0; i < workers->count; i++)
        if (!worker_alive(&workers->list[i]))
            return false;
    workers->pulsed_ms = uv_hrtime() / 1000000;
    workers_order(workers, WORKER_PULSE, 0);
    return true;
}

uint64_t workers_silent_ms(const struct workers *workers)
{
    for (unsigned i = 0; i < workers->count; i++)
        if (!worker_alive(&workers->list[i]))
            return uv_hrtime() / 1000000 - workers->pulsed_ms;
    return 0;
}

bool workers_are_full(const struct workers *workers)
{
    return workers_load(workers) >= workers->limit;
}

void workers_stats_each(const struct workers *workers, struct stats *stats)
{
    stats->workers = workers->count;
    for (unsigned i = 0; i < workers->count; i++)
        stats->worker[i] = (struct stats_worker){.connections = worker_load(&workers->list[i]),
                                                 .turns = counter_get(&workers->list[i].turns)};
}

void workers_stats(const struct workers *workers, struct stats *stats)
{
    *stats = (struct stats){.open = workers_load(workers), .refused = workers->refused};
    for (unsigned i = 0; i < workers->count; i++) {
        const struct worker *worker = &workers->list[i];
        stats->accepted += counter_get(&worker->conns.accepted);
        stats->accepted -= counter_get(&worker->conns.adopted);
        stats->refused += counter_get(&worker->refused);
        stats->bytes_in += counter_get(&worker->conns.bytes_in);
        stats->bytes_out += counter_get(&worker->conns.bytes_out);
    }
    if (workers->list->conns.sources != NULL)
        stats->over_source = workers->list->conns.sources->refused;
}

void workers_close(struct workers *workers)
{
    pace_close(&workers->pace);
    if (workers->count > 1)
        uv_close((uv_handle_t *)&workers->bell, NULL);
    workers_close_some(workers, workers->count);
}
