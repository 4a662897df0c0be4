#include "endpoints.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

/* How often a port that is free for one address may turn out to be taken for the next. */
enum { ENDPOINTS_PORT_TRIES = 16 };

static void endpoints_close_all(struct endpoints *endpoints)
{
    for (size_t i = 0; i < endpoints->count; i++)
        if (endpoints->fds[i] >= 0)
            net_close(endpoints->fds[i]);
    endpoints->count = 0;
}

/* The first endpoint has found a free port: the others are to have the same. */
static uint16_t endpoints_taken_port(const struct endpoints *endpoints)
{
    union net_addr addr;
    return net_local(endpoints->fds[0], &addr) == 0 ? net_port(&addr) : 0;
}

/* The kernel has been built or booted without this family. */
static bool endpoints_no_family(int error)
{
    return error == -EAFNOSUPPORT || error == -EADDRNOTAVAIL;
}

static int endpoints_try(struct endpoints *endpoints, const union net_addr *addrs, size_t count,
                         uint16_t port, int backlog, bool may_lack)
{
    int rc = 0;
    for (size_t i = 0; i < count; i++) {
        endpoints->failed = addrs[i];
        net_set_port(&endpoints->failed, port);
        rc = net_listen(&endpoints->failed, backlog);
        if (rc < 0 && !(may_lack && endpoints_no_family(rc)))
            return rc;
        if (rc < 0)
            continue;
        endpoints->fds[endpoints->count++] = rc;
        if (port == 0)
            port = endpoints_taken_port(endpoints);
    }
    return endpoints->count > 0 ? 0 : rc;
}

int endpoints_open(struct endpoints *endpoints, const union net_addr *addrs, size_t count,
                   uint16_t port, int backlog)
{
    const union net_addr any[] = {net_any(AF_INET), net_any(AF_INET6)};
    bool named = count > 0;
    if (!named) {
        addrs = any;
        count = sizeof any / sizeof *any;
    }
    *endpoints =
        (struct endpoints){.fds = malloc(count * sizeof *endpoints->fds), .failed = addrs[0]};
    net_set_port(&endpoints->failed, port);
    if (endpoints->fds == NULL)
        return -ENOMEM;
    for (int tries = 0;; tries++) {
        int rc = endpoints_try(endpoints, addrs, count, port, backlog, !named);
        if (rc == 0)
            return 0;
        endpoints_close_all(endpoints);
        if (rc != -EADDRINUSE || port != 0 || tries == ENDPOINTS_PORT_TRIES)
            return rc;
    }
}

void endpoints_close(struct endpoints *endpoints)
{
    endpoints_close_all(endpoints);
    free(endpoints->fds);
    endpoints->fds = NULL;
}
