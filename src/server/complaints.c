#include "server/complaints.h"

#include "base/i18n.h"

#include <uv.h>

enum { COMPLAINTS_MS = 1000 };

static const char *complaints_reason(enum proxy_header_kind fault)
{
    switch (fault) {
    case PROXY_HEADER_LONG:
        return _("it is too long");
    case PROXY_HEADER_PROTOCOL:
        return _("neither TCP4 nor TCP6 nor UNKNOWN");
    case PROXY_HEADER_ADDRESS:
        return _("malformed address or port");
    case PROXY_HEADER_LINE:
        return _("the line does not end with CR and LF");
    case PROXY_HEADER_VERSION:
        return _("unknown version");
    case PROXY_HEADER_COMMAND:
        return _("unknown command");
    case PROXY_HEADER_FAMILY:
        return _("unknown address family or transport");
    case PROXY_HEADER_SHORT:
        return _("it is too short for its addresses");
    case PROXY_HEADER_TLV:
        return _("a TLV is longer than what is left");
    case PROXY_HEADER_CHECKSUM:
        return _("wrong checksum");
    case PROXY_HEADER_ENDED:
        return _("the connection ended before it was whole");
    case PROXY_HEADER_LATE:
        return _("it was not whole in time");
    default:
        return _("there is none");
    }
}

/* Whether the calling thread may log a line now; of several threads one may. */
static bool complaints_may_tell(struct complaints *complaints)
{
    uint32_t now_ms = (uint32_t)(uv_hrtime() / 1000000) | 1;
    uint32_t told_ms = atomic_load(&complaints->told_ms);
    if (told_ms != 0 && now_ms - told_ms < COMPLAINTS_MS)
        return false;
    return atomic_compare_exchange_strong(&complaints->told_ms, &told_ms, now_ms);
}

void complaints_add(struct complaints *complaints, const union net_peer *peer,
                    enum proxy_header_kind fault)
{
    char text[NET_ADDR_STRLEN];
    (void)atomic_fetch_add(&complaints->untold, 1);
    if (!complaints_may_tell(complaints))
        return;
    unsigned long count = atomic_exchange(&complaints->untold, 0);
    log_write(complaints->log, LOG_LEVEL_WARNING,
              P_("%lu connection reset for its PROXY header, the last from %s: %s",
                 "%lu connections reset for their PROXY headers, the last from %s: %s", count),
              count, net_format_peer(peer, text), complaints_reason(fault));
}
