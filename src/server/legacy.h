/*
 * legacy.h - what a predecessor has left with the service manager when it was restarted.
 *
 * The service manager passes the sockets of the pouch (pouch.h) together with those of socket
 * activation. The descriptors in them are taken out before the process opens any other, so that
 * each gets the number that it had: the ledger, which is one of them, holds as it stands, and all
 * else is as after an upgrade (takeover.h). What has been passed besides is moved out of the way
 * first, above these numbers.
 *
 * Until it is taken out, everything stays with the service manager. So a daemon that does not get
 * that far, because its options are wrong, costs no connection: the next one finds them.
 */
#ifndef UVECHOD_LEGACY_H
#define UVECHOD_LEGACY_H

#include "base/log.h"

#include <stdbool.h>
#include <stddef.h>

struct legacy {
    bool found;      /* a pouch has been passed: only then the rest is set */
    int ledger;      /* the predecessor's, a descriptor; or a negative errno: there is none */
    int first;       /* of the sockets that have been passed besides, where they are now */
    int count;       /* how many; or a negative errno: they are closed */
    char **names;    /* theirs, as systemd_sockets() returns them */
    size_t lost;     /* descriptors that could not be taken out */
    int lost_reason; /* the first reason why, a negative errno */
};

/*
 * Takes everything out and lets the service manager forget it. To be called before anything is
 * opened that is to stay open. With own_addresses, the options say where to listen, and with
 * own_metrics, where to serve metrics: if sockets for that have been passed besides, the daemon
 * will not start, and nothing is taken out.
 */
void legacy_take(struct legacy *legacy, bool own_addresses, bool own_metrics);

/* Logs what has been lost. */
void legacy_log(const struct legacy *legacy, struct log *log);

#endif
