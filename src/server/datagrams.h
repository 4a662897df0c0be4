/*
 * datagrams.h - the answering of datagrams on the loops of all workers.
 *
 * Each worker has a socket of its own for each address, and the kernel gives each client to one of
 * them (SO_REUSEPORT in socket(7)). So many clients are spread evenly, and a single one is not. A
 * socket that somebody else has made cannot be shared: one worker serves it alone.
 *
 * The tasks are spawned before the threads run. From then on each belongs to the thread of its
 * loop, and ends when the worker is told that the daemon stops (WORKER_DRAIN).
 */
#ifndef UVECHOD_DATAGRAMS_H
#define UVECHOD_DATAGRAMS_H

#include "base/log.h"
#include "server/drops.h"
#include "server/endpoints.h"
#include "server/stats.h"
#include "server/workers.h"
#include "stream/ledger.h"
#include "stream/rates.h"
#include "stream/responder.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* How datagrams are answered. */
struct datagrams_config {
    const char *prefix; /* put before each, prefix_len bytes */
    size_t prefix_len;  /* at most DATAGRAM_ROOM */
    unsigned rate;      /* answers to one source in a second, at most RATES_MAX; 0: no limit */
    bool any_source;    /* answer privileged ports, too (origins.h) */
};

/* What a worker has for them. */
struct datagrams_worker {
    struct responders responders;
    struct drops drops;
};

struct datagrams {
    struct datagrams_worker *list; /* for each worker; NULL: there is no datagram socket */
    unsigned count;
    uint16_t *ports;       /* of the sockets */
    union net_addr *names; /* of the Unix sockets */
    struct rates rates;
    bool limited; /* rates is open */
    struct responders_config config;
};

/*
 * Starts to serve the datagram sockets among the endpoints, if there are any. No thread may run
 * yet. Results are counted in the ledger. Everything that is given must outlive the tasks. Returns
 * 0, or -ENOMEM or a negative errno of rates_open(), datagram_set_up() or sock_init(), with some of
 * the sockets served. datagrams_close() must be called in either case.
 */
int datagrams_start(struct datagrams *datagrams, const struct datagrams_config *config,
                    const struct endpoints *endpoints, struct workers *workers,
                    struct ledger *ledger, struct log *log);

/* Stores how many datagrams have been answered and dropped, in this process and before. */
void datagrams_stats(const struct ledger *ledger, struct stats *stats);

/* Closes what is left. All tasks must have ended or never have run; all loops run once more. */
void datagrams_close(struct datagrams *datagrams);

/* Frees the memory. The loops must have been closed since datagrams_close(). */
void datagrams_free(struct datagrams *datagrams);

#endif
