/*
 * complaints.h - the log of connections whose headers of a proxy were wrong or late: in one line a
 * second at most, however many there are.
 *
 * The first is logged at once, for whoever sets a proxy up. Those that come less than a second
 * after a line are counted in the next line. A proxy that is set up wrong will cause one.
 */
#ifndef UVECHOD_COMPLAINTS_H
#define UVECHOD_COMPLAINTS_H

#include "base/log.h"
#include "os/addr.h"
#include "stream/proxy_header.h"

#include <stdatomic.h>
#include <stdint.h>

/* Zero, but for its log, before the first. All workers share one. */
struct complaints {
    struct log *log;
    _Atomic uint32_t told_ms; /* when the last line was logged; odd, or 0: there was none; wraps */
    atomic_ulong untold;      /* how many there have been that no line has counted */
};

/* Such a connection, from the peer, is about to be reset for this fault. From any thread. */
void complaints_add(struct complaints *complaints, const union net_peer *peer,
                    enum proxy_header_kind fault);

#endif
