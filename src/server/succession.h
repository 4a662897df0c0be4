/*
 * succession.h - the start of a daemon that goes on with the connections of its predecessor.
 *
 * It comes before everything else that the server opens: the listening sockets, and how many
 * descriptors there are, follow from what the predecessor has left.
 *
 * At its end, a task hands the connections to the workers, a few in each turn of the loop: the
 * clients are served meanwhile, and those that wait for an answer come first (takeover.h).
 */
#ifndef UVECHOD_SUCCESSION_H
#define UVECHOD_SUCCESSION_H

#include "base/log.h"
#include "server/kept.h"
#include "server/refusals.h"
#include "server/workers.h"
#include "stream/takeover.h"
#include "task/task.h"
#include "task/timer.h"

#include <stdbool.h>

struct succession {
    struct ledger ledger; /* of the predecessor */
    struct ledger *left;  /* the same, until somebody takes it; NULL: it is not open, or taken */
    struct takeover takeover;
    struct log *log;
    struct ledger_past past; /* what predecessors have counted; all zero without any */
    struct ledger_more more; /* the same */
    struct task task;
    struct timer timer;
    struct workers *workers; /* NULL: nothing has been handed to a worker yet */
    struct refusals *refusals;
    unsigned long handed; /* connections */
};

/*
 * Whether a daemon with these services could go on with every connection that a ledger may speak
 * of: the question that a running daemon asks another program before it executes that
 * (upgrade.h). Reads the header alone, because the running daemon goes on writing the rest. Returns
 * 0, or a negative errno: -EOPNOTSUPP for a service that the daemon lacks, -EPROTO if the record of
 * a service is none, or that of ledger_examine().
 */
int succession_check(int file, const struct services *services);

/*
 * Attaches the ledger, whose descriptor the file is, and finds what the predecessor has left; with
 * dates as in takeover_find(). kept says whether the predecessor has crashed: what it has counted
 * since it wrote that down last is lost then. Logs each connection that has to end. Returns 0, or a
 * negative errno of ledger_attach() or takeover_find(), with nothing to be freed; the descriptors
 * that were found are still open then.
 */
int succession_open(struct succession *succession, int file, const struct services *services,
                    bool dates, const struct kept *kept, struct log *log);

/* Returns the ledger of the predecessor, which the caller must close from now on. */
struct ledger *succession_take_ledger(struct succession *succession);

/*
 * Spawns the task that hands every connection to a worker. It ends with a line in the log: how many
 * there are, and how long it has taken from the last moment of the predecessor until the last of
 * them was handed over. No client has waited longer than that, and most have waited less. It frees
 * what is not needed any more. The workers must outlive the task, and so must refusals, which is
 * woken when a source has more connections than it may.
 */
void succession_adopt(struct succession *succession, struct workers *workers,
                      struct refusals *refusals);

/*
 * Does at once what is left for the task to do. Must be called before the workers are told to end:
 * what is not handed over by then would have nobody who ends it. Does nothing if all is done, and
 * without a predecessor.
 */
void succession_finish(struct succession *succession);

/*
 * The start has failed: closes every connection that has been found and not been handed to a
 * worker, and the ledger unless somebody has taken it. Does nothing without a predecessor.
 */
void succession_give_up(struct succession *succession);

#endif
