/*
 * origins.h - which datagrams are answered, as far as their addresses tell.
 *
 * The source of a datagram can be forged. An answer to the port of a service that answers, too,
 * such as another echo (7), the time (13), characters (19) or names (53), would begin a loop that
 * nobody ends (CVE-1999-0103, CVE-2024-2169), and an answer to all hosts of a network multiplies.
 * So the rule of OpenBSD's inetd(8) holds: what comes from a privileged port or that of NFS is
 * dropped, and so is what comes from a port that we answer on, of whatever host: another daemon of
 * our kind may be there.
 *
 * The source of a Unix datagram is the name of its socket at that time. The answer goes to the
 * socket that has the name now, which the client may have replaced by a link to any other, even to
 * ours. What comes from a name of ours is dropped, so such a loop ends with the first answer.
 */
#ifndef UVECHOD_ORIGINS_H
#define UVECHOD_ORIGINS_H

#include "os/datagram.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What becomes of a datagram. The numbers stand in ledgers: a new result comes last. */
enum datagram_result {
    DATAGRAM_ANSWERED,
    DATAGRAM_PORT,    /* its source port is one of those above */
    DATAGRAM_OWN,     /* its source port is one that we answer on, or its name is */
    DATAGRAM_ADDRESS, /* its source is none that could be answered, or it was sent to many */
    DATAGRAM_PREFIX,  /* it begins with our own prefix */
    DATAGRAM_RATE,    /* its source has had enough answers (rates.h) */
    DATAGRAM_SIZE,    /* the answer would be too long */
    DATAGRAM_FULL,    /* the kernel had no room for the answer */
    DATAGRAM_FAILED,  /* the kernel refused the answer */
    DATAGRAM_RESULTS
};

/* A source port below is privileged. The one of NFS is above, for reasons of its own. */
enum { ORIGINS_UNPRIVILEGED = 1024, ORIGINS_NFS = 2049 };

struct origins {
    const uint16_t *ports; /* that we answer on */
    size_t count;
    const union net_addr *names; /* of the Unix sockets that we answer on */
    size_t names_count;
    bool any_source; /* privileged ports are answered, too, and that of NFS */
};

/*
 * Returns DATAGRAM_ANSWERED, or why the datagram is dropped: DATAGRAM_PORT, DATAGRAM_OWN or
 * DATAGRAM_ADDRESS. Port 0 cannot be answered in any case. An IPv4 address in an IPv6 one (RFC
 * 4291, 2.5.5.2) is not answered either: it would need a second look at all of the above, and a
 * socket for IPv6 alone never gets it.
 */
enum datagram_result origins_judge(const struct origins *origins, const struct datagram *datagram);

#endif
