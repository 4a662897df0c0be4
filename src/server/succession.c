#include "server/succession.h"

#include "base/i18n.h"

#include <errno.h>
#include <string.h>

/* That a peer has gone meanwhile is nothing that anybody should look at. */
static void on_cut(struct takeover *takeover, const union net_peer *peer, int error)
{
    struct succession *succession = container_of(takeover, struct succession, takeover);
    char text[NET_ADDR_STRLEN];
    if (error == TAKEOVER_BLAMED) {
        log_write(succession->log, LOG_LEVEL_WARNING,
                  _("Ending the connection from %s, which was being served at two crashes"),
                  net_format_peer(peer, text));
        return;
    }
    log_write(succession->log, error == -ENOTCONN ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING,
              _("Cannot take over the connection from %s: %s"), net_format_peer(peer, text),
              strerror(-error));
}

int succession_check(int file, const struct services *services)
{
    struct ledger_layout layout;
    int rc = ledger_examine(file, &layout);
    if (rc < 0)
        return rc;
    if (layout.services > services->count)
        return -EOPNOTSUPP;
    for (unsigned i = 0; i < layout.services; i++) {
        const struct handler *handler = services->list[i].handler;
        if (handler->answer != NULL && handler->answer(&layout.service[i], 0) < 0)
            return -EPROTO;
    }
    return 0;
}

/* After a crash, more connections may be open than were noted as accepted. */
static void succession_count(struct succession *succession, const struct kept *kept)
{
    struct ledger_past *past = &succession->past;
    uint64_t adopted = 0;
    for (size_t i = 0; i < succession->takeover.count; i++)
        adopted += succession->takeover.list[i].adopted;
    if (past->accepted < adopted)
        past->accepted = adopted;
    past->generations++;
    if (kept_crashed_ns(kept) != 0)
        past->left_ns = kept_crashed_ns(kept);
}

int succession_open(struct succession *succession, int file, const struct services *services,
                    bool dates, const struct kept *kept, struct log *log)
{
    struct ledger *ledger = &succession->ledger;
    *succession = (struct succession){.takeover = {.blames = kept_blames(kept), .on_cut = on_cut},
                                      .log = log};
    int rc = ledger_attach(ledger, file);
    if (rc < 0)
        return rc;
    succession->past = ledger->header->past;
    succession->more = ledger->header->more;
    rc = takeover_find(&succession->takeover, ledger, services, dates);
    if (rc < 0) {
        takeover_free(&succession->takeover);
        ledger_close(ledger);
        return rc;
    }
    succession_count(succession, kept);
    succession->left = ledger;
    return 0;
}

struct ledger *succession_take_ledger(struct succession *succession)
{
    struct ledger *ledger = succession->left;
    succession->left = NULL;
    return ledger;
}

/*
 * In one turn. To serve that many takes a millisecond or two, and clients wait no longer. Fewer, if
 * few are left: so a daemon with ten connections goes the same way as one with 10,000.
 */
enum { SUCCESSION_SLICE_MAX = 64, SUCCESSION_SLICES = 16, SUCCESSION_PAUSE_MS = 1 };

static size_t succession_slice(const struct succession *succession)
{
    size_t slice = succession->takeover.count / SUCCESSION_SLICES + 1;
    return slice < SUCCESSION_SLICE_MAX ? slice : SUCCESSION_SLICE_MAX;
}

static bool succession_is_over(const struct succession *succession)
{
    return succession->takeover.list == NULL;
}

static void succession_end(struct succession *succession)
{
    uint64_t gap_ns = uv_hrtime() - succession->past.left_ns;
    takeover_free(&succession->takeover); /* first: after the line, nothing is left of it */
    log_write(succession->log, LOG_LEVEL_INFO,
              P_("Took over %lu connection in %lu ms", "Took over %lu connections in %lu ms",
                 succession->handed),
              succession->handed, (unsigned long)(gap_ns / 1000000));
    timer_close(&succession->timer, NULL); /* if the task sleeps, it is not needed any more */
}

static void succession_hand_over(struct succession *succession, size_t most)
{
    struct takeover *takeover = &succession->takeover;
    struct accepted accepted;
    while (most-- > 0 && takeover_next(takeover, &accepted)) {
        int rc = workers_adopt(succession->workers, &accepted);
        succession->handed += rc == 0;
        if (rc == SOURCES_REFUSED)
            refusals_wake(succession->refusals);
    }
    workers_expect(succession->workers, takeover->count);
    if (takeover->count == 0)
        succession_end(succession);
}

/*
 * A mailbox is read to its end in one step of its worker, whose clients wait meanwhile. So nothing
 * is put into a mailbox before all of them are empty.
 */
static struct yield succession_go_on(struct task *task)
{
    struct succession *succession = container_of(task, struct succession, task);
    struct workers *workers = succession->workers;
    if (succession_is_over(succession))
        return yield_done(task);
    if (workers_are_behind(workers))
        return yield_sleep(task, &succession->timer, SUCCESSION_PAUSE_MS, succession_go_on);
    succession_hand_over(succession, succession_slice(succession));
    sched_wake(workers_sched(workers), task);
    return yield_park(task, succession_go_on);
}

void succession_adopt(struct succession *succession, struct workers *workers,
                      struct refusals *refusals)
{
    struct sched *sched = workers_sched(workers);
    succession->workers = workers;
    succession->refusals = refusals;
    workers_expect(workers, succession->takeover.count);
    timer_init(&succession->timer, sched->loop, &sched->waker);
    sched_spawn(sched, &succession->task, succession_go_on);
}

void succession_finish(struct succession *succession)
{
    while (succession->workers != NULL && !succession_is_over(succession))
        succession_hand_over(succession, SIZE_MAX);
}

void succession_give_up(struct succession *succession)
{
    for (size_t i = 0; i < succession->takeover.count; i++)
        net_close(succession->takeover.list[i].fd);
    takeover_free(&succession->takeover);
    struct ledger *ledger = succession_take_ledger(succession);
    if (ledger != NULL)
        ledger_close(ledger);
}
