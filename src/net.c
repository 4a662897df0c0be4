#include "net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* A system call's result as this file returns it. */
static ssize_t net_result(ssize_t n)
{
    return n < 0 ? -errno : n;
}

union net_addr net_any(sa_family_t family)
{
    union net_addr addr;
    memset(&addr, 0, sizeof addr); /* all zero is the wildcard in both families */
    addr.sa.sa_family = family;
    return addr;
}

uint16_t net_port(const union net_addr *addr)
{
    return ntohs(addr->sa.sa_family == AF_INET6 ? addr->in6.sin6_port : addr->in.sin_port);
}

void net_set_port(union net_addr *addr, uint16_t port)
{
    if (addr->sa.sa_family == AF_INET6)
        addr->in6.sin6_port = htons(port);
    else
        addr->in.sin_port = htons(port);
}

static socklen_t net_addr_len(const union net_addr *addr)
{
    return addr->sa.sa_family == AF_INET6 ? sizeof addr->in6 : sizeof addr->in;
}

const char *net_format(const union net_addr *addr, char buf[static NET_ADDR_STRLEN])
{
    char host[INET6_ADDRSTRLEN + 1 + 16]; /* "%", and at most 15 bytes of interface name */
    if (getnameinfo(&addr->sa, net_addr_len(addr), host, sizeof host, NULL, 0, NI_NUMERICHOST))
        (void)snprintf(host, sizeof host, "?");
    bool in6 = addr->sa.sa_family == AF_INET6;
    (void)snprintf(buf, NET_ADDR_STRLEN, "%s%s%s:%u", in6 ? "[" : "", host, in6 ? "]" : "",
                   (unsigned)net_port(addr));
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

static int net_set_option(int fd, int level, int option)
{
    const int on = 1;
    return (int)net_result(setsockopt(fd, level, option, &on, sizeof on));
}

/* What net_listen() does once it has a socket. */
static int net_bind_and_listen(int fd, const union net_addr *addr, int backlog)
{
    int rc = net_set_option(fd, SOL_SOCKET, SO_REUSEADDR);
    if (rc == 0 && addr->sa.sa_family == AF_INET6)
        rc = net_set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY);
    if (rc == 0)
        rc = net_set_option(fd, IPPROTO_TCP, TCP_NODELAY);
    if (rc == 0)
        rc = (int)net_result(bind(fd, &addr->sa, net_addr_len(addr)));
    if (rc == 0)
        rc = (int)net_result(listen(fd, backlog));
    return rc;
}

int net_listen(const union net_addr *addr, int backlog)
{
    int fd = socket(addr->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int rc = net_bind_and_listen(fd, addr, backlog);
    if (rc < 0) {
        net_close(fd);
        return rc;
    }
    return fd;
}

int net_local(int fd, union net_addr *addr)
{
    socklen_t len = sizeof *addr;
    return (int)net_result(getsockname(fd, &addr->sa, &len));
}

int net_accept(int fd, union net_addr *peer)
{
    int client;
    do {
        socklen_t len = sizeof *peer;
        client = accept4(fd, &peer->sa, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
    } while (client < 0 && errno == EINTR);
    return (int)net_result(client);
}

ssize_t net_recv(int fd, void *buf, size_t len)
{
    ssize_t n;
    do
        n = recv(fd, buf, len, 0);
    while (n < 0 && errno == EINTR);
    return net_result(n);
}

ssize_t net_recvv(int fd, struct iovec *iov, size_t count)
{
    struct msghdr msg = {.msg_iov = iov, .msg_iovlen = count};
    ssize_t n;
    do
        n = recvmsg(fd, &msg, 0);
    while (n < 0 && errno == EINTR);
    return net_result(n);
}

ssize_t net_send(int fd, const void *buf, size_t len)
{
    ssize_t n;
    do
        n = send(fd, buf, len, MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return net_result(n);
}

int net_shutdown_send(int fd)
{
    return (int)net_result(shutdown(fd, SHUT_WR));
}

int net_dup_above(int fd, int lowest)
{
    return (int)net_result(fcntl(fd, F_DUPFD_CLOEXEC, lowest));
}

void net_close(int fd)
{
    (void)close(fd);
}
