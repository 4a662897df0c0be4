#include "server/limits.h"

#include "base/i18n.h"
#include "os/descriptors.h"
#include "os/watches.h"

#include <errno.h>

/*
 * The limit of descriptors can be absurdly high, and each descriptor costs 8 bytes in libuv's
 * table, whose size is a power of 2. 1024 of 2^20 are left for descriptors that are not
 * connections.
 */
enum { LIMITS_DEFAULT_MAX = (1 << 20) - 1024 };

long limits_reserve(const struct services *services, unsigned workers, size_t endpoints)
{
    long reserve = DESCRIPTORS_RESERVE + ((long)workers - 1) * DESCRIPTORS_LOOP;
    for (unsigned i = 0; i < services->count; i++) {
        const struct service *service = &services->list[i];
        if (service->handler->descriptors != NULL)
            reserve += (long)workers * (long)service->handler->descriptors(service->config);
    }
    return reserve + (long)endpoints;
}

/* How many descriptors epoll may watch, and in *limit the name of the limit that says so. */
static long limits_descriptors(const char **limit)
{
    long descriptors = descriptors_raise();
    long watches = watches_max();
    bool watches_are_fewer = watches >= 0 && watches < descriptors;
    *limit = watches_are_fewer ? "fs.epoll.max_user_watches" : "RLIMIT_NOFILE";
    return watches_are_fewer ? watches : descriptors;
}

long limits_connections(size_t wanted, long reserve, struct log *log)
{
    const char *limit;
    long descriptors = limits_descriptors(&limit);
    if (descriptors <= reserve)
        return descriptors < 0 ? descriptors : -EMFILE;
    size_t allowed = (size_t)(descriptors - reserve);
    if (wanted > allowed)
        log_write(log, LOG_LEVEL_WARNING, _("--max-connections=%lu: %s allows %lu"),
                  (unsigned long)wanted, limit, (unsigned long)allowed);
    if (wanted == 0)
        wanted = LIMITS_DEFAULT_MAX;
    return (long)(wanted < allowed ? wanted : allowed);
}
