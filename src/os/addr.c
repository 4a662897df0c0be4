#include "os/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

union net_addr net_any(sa_family_t family)
{
    union net_addr addr;
    memset(&addr, 0, sizeof addr); /* all zero is the wildcard in both families */
    addr.sa.sa_family = family;
    return addr;
}

int net_unix(const char *path, union net_addr *addr)
{
    size_t len = strlen(path);
    if (len == 0 || strcmp(path, "@") == 0) /* for which the kernel would choose a name */
        return -EINVAL;
    if (len >= sizeof addr->un.sun_path)
        return -ENAMETOOLONG;
    memset(addr, 0, sizeof *addr);
    addr->un.sun_family = AF_UNIX;
    memcpy(addr->un.sun_path, path, len);
    if (path[0] == '@')
        addr->un.sun_path[0] = '\0';
    return 0;
}

const char *net_unix_path(const union net_addr *addr)
{
    if (addr->sa.sa_family != AF_UNIX || addr->un.sun_path[0] == '\0')
        return NULL;
    return addr->un.sun_path;
}

uint16_t net_port(const union net_addr *addr)
{
    switch (addr->sa.sa_family) {
    case AF_INET:
        return ntohs(addr->in.sin_port);
    case AF_INET6:
        return ntohs(addr->in6.sin6_port);
    default:
        return 0;
    }
}

void net_set_port(union net_addr *addr, uint16_t port)
{
    if (addr->sa.sa_family == AF_INET)
        addr->in.sin_port = htons(port);
    else if (addr->sa.sa_family == AF_INET6)
        addr->in6.sin6_port = htons(port);
}

/* The kernel takes an abstract name for as long as the length says: our names end before NULs. */
static socklen_t net_unix_len(const struct sockaddr_un *un)
{
    size_t len = sizeof un->sun_path;
    while (len > 0 && un->sun_path[len - 1] == '\0')
        len--;
    if (un->sun_path[0] != '\0' && len < sizeof un->sun_path)
        len++; /* the NUL of a path counts, where there is room for it */
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

socklen_t net_addr_len(const union net_addr *addr)
{
    switch (addr->sa.sa_family) {
    case AF_INET:
        return sizeof addr->in;
    case AF_INET6:
        return sizeof addr->in6;
    default:
        return net_unix_len(&addr->un);
    }
}

static bool net_same_host(const union net_addr *one, const union net_addr *other)
{
    if (one->sa.sa_family == AF_INET)
        return one->in.sin_addr.s_addr == other->in.sin_addr.s_addr;
    return memcmp(&one->in6.sin6_addr, &other->in6.sin6_addr, sizeof one->in6.sin6_addr) == 0;
}

bool net_accepts(const union net_addr *listening, const union net_addr *own)
{
    const sa_family_t family = listening->sa.sa_family;
    const union net_addr any = net_any(family);
    if (family != own->sa.sa_family)
        return false;
    if (family == AF_UNIX)
        return memcmp(listening->un.sun_path, own->un.sun_path, sizeof own->un.sun_path) == 0;
    return net_port(listening) == net_port(own) &&
           (net_same_host(listening, &any) || net_same_host(listening, own));
}

static void net_format_unix(const struct sockaddr_un *un, char *buf)
{
    bool abstract = un->sun_path[0] == '\0';
    int len = (int)(sizeof un->sun_path - abstract);
    (void)snprintf(buf, NET_ADDR_STRLEN, "unix:%s%.*s", abstract ? "@" : "", len,
                   un->sun_path + abstract);
}

const char *net_format(const union net_addr *addr, char buf[static NET_ADDR_STRLEN])
{
    if (addr->sa.sa_family == AF_UNIX) {
        net_format_unix(&addr->un, buf);
        return buf;
    }
    char host[INET6_ADDRSTRLEN + 1 + 16]; /* "%", and at most 15 bytes of interface name */
    if (getnameinfo(&addr->sa, net_addr_len(addr), host, sizeof host, NULL, 0, NI_NUMERICHOST))
        (void)snprintf(host, sizeof host, "?");
    bool in6 = addr->sa.sa_family == AF_INET6;
    (void)snprintf(buf, NET_ADDR_STRLEN, "%s%s%s:%u", in6 ? "[" : "", host, in6 ? "]" : "",
                   (unsigned)net_port(addr));
    return buf;
}

const char *net_format_peer(const union net_peer *peer, char buf[static NET_ADDR_STRLEN])
{
    union net_addr addr = {.in6 = peer->in6};
    if (peer->sa.sa_family != AF_UNIX)
        return net_format(&addr, buf);
    (void)snprintf(buf, NET_ADDR_STRLEN, "unix:pid=%ld,uid=%lu", (long)peer->un.pid,
                   (unsigned long)peer->un.uid);
    return buf;
}

int net_resolve(const char *name, union net_addr *addrs, int max)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    int rc = getaddrinfo(name, NULL, &hints, &found);
    if (rc != 0)
        return rc < 0 ? rc : -rc; /* EAI_* is negative in glibc and musl, positive elsewhere */
    int count = 0;
    for (const struct addrinfo *ai = found; ai != NULL && count < max; ai = ai->ai_next) {
        if (ai->ai_family != AF_INET && ai->ai_family != AF_INET6)
            continue;
        memcpy(&addrs[count++], ai->ai_addr, ai->ai_addrlen);
    }
    freeaddrinfo(found);
    return count;
}
