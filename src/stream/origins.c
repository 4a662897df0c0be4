#include "stream/origins.h"

#include <string.h>

static bool origins_answers_on(const struct origins *origins, uint16_t port)
{
    for (size_t i = 0; i < origins->count; i++)
        if (origins->ports[i] == port)
            return true;
    return false;
}

static enum datagram_result origins_judge_port(const struct origins *origins, uint16_t port)
{
    if (port == 0)
        return DATAGRAM_PORT;
    if (!origins->any_source && (port < ORIGINS_UNPRIVILEGED || port == ORIGINS_NFS))
        return DATAGRAM_PORT;
    return origins_answers_on(origins, port) ? DATAGRAM_OWN : DATAGRAM_ANSWERED;
}

/* "This" network, which has the unspecified address, multicast, and broadcast on each network and
 * on that of the loopback, the only one whose length is the same everywhere (RFC 1122, 3.2.1.3). */
static bool origins_is_host(struct in_addr in)
{
    const uint32_t addr = ntohl(in.s_addr);
    return addr >> 24 != 0 && !IN_MULTICAST(addr) && addr != INADDR_BROADCAST &&
           addr != UINT32_C(0x7fffffff);
}

static bool origins_is_host6(const struct in6_addr *in6)
{
    return !IN6_IS_ADDR_UNSPECIFIED(in6) && !IN6_IS_ADDR_MULTICAST(in6) &&
           !IN6_IS_ADDR_V4MAPPED(in6);
}

static enum datagram_result origins_judge_name(const struct origins *origins,
                                               const union net_addr *peer)
{
    for (size_t i = 0; i < origins->names_count; i++)
        if (memcmp(origins->names[i].un.sun_path, peer->un.sun_path, sizeof peer->un.sun_path) == 0)
            return DATAGRAM_OWN;
    return DATAGRAM_ANSWERED;
}

enum datagram_result origins_judge(const struct origins *origins, const struct datagram *datagram)
{
    const union net_addr *peer = datagram->peer;
    bool host;
    switch (peer->sa.sa_family) {
    case AF_INET:
        host = origins_is_host(peer->in.sin_addr);
        break;
    case AF_INET6:
        host = origins_is_host6(&peer->in6.sin6_addr);
        break;
    case AF_UNIX:
        return origins_judge_name(origins, peer);
    default:
        return DATAGRAM_ADDRESS;
    }
    if (!host || datagram->shared)
        return DATAGRAM_ADDRESS;
    return origins_judge_port(origins, net_port(peer));
}
