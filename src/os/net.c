#include "os/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
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

int net_unix(const char *path, union net_addr *addr)
{
    size_t len = strlen(path);
    if (len == 0 || strcmp(path, "@") == 0) /* the kernel would choose a name */
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

/* An abstract name goes on for as long as the address says: to its last byte that is not NUL. */
static socklen_t net_unix_len(const struct sockaddr_un *un)
{
    size_t len = sizeof un->sun_path;
    while (len > 0 && un->sun_path[len - 1] == '\0')
        len--;
    if (un->sun_path[0] != '\0')
        len++; /* a path has its NUL counted */
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

static socklen_t net_addr_len(const union net_addr *addr)
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

static int net_set_option(int fd, int level, int option)
{
    const int on = 1;
    return (int)net_result(setsockopt(fd, level, option, &on, sizeof on));
}

/* What only the sockets of the internet families need before they are bound. */
static int net_set_up_tcp(int fd, sa_family_t family)
{
    int rc = net_set_option(fd, SOL_SOCKET, SO_REUSEADDR);
    if (rc == 0 && family == AF_INET6)
        rc = net_set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY);
    if (rc == 0)
        rc = net_set_option(fd, IPPROTO_TCP, TCP_NODELAY);
    return rc;
}

static int net_connect(const union net_addr *addr, int type)
{
    int fd = socket(addr->sa.sa_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (connect(fd, &addr->sa, net_addr_len(addr)) == 0)
        return fd;
    int rc = -errno;
    net_close(fd);
    return rc;
}

int net_connect_datagram(const union net_addr *addr)
{
    return net_connect(addr, SOCK_DGRAM);
}

/*
 * Takes away what stands at path if it is a socket that nobody listens on any more: a daemon
 * that was killed leaves one. Asked by connecting, which changes nothing for who does listen.
 */
static int net_remove_stale(const char *path, const union net_addr *addr)
{
    struct stat file;
    if (lstat(path, &file) < 0)
        return -errno;
    if (!S_ISSOCK(file.st_mode))
        return -EEXIST;
    int fd = net_connect(addr, SOCK_STREAM);
    if (fd >= 0)
        net_close(fd);
    if (fd != -ECONNREFUSED)
        return -EADDRINUSE;
    return (int)net_result(unlink(path));
}

static int net_bind(int fd, const union net_addr *addr)
{
    return (int)net_result(bind(fd, &addr->sa, net_addr_len(addr)));
}

static int net_bind_tcp(int fd, const union net_addr *addr)
{
    int rc = net_set_up_tcp(fd, addr->sa.sa_family);
    return rc == 0 ? net_bind(fd, addr) : rc;
}

static int net_bind_unix(int fd, const union net_addr *addr)
{
    const char *path = net_unix_path(addr);
    int rc = net_bind(fd, addr);
    if (rc != -EADDRINUSE || path == NULL)
        return rc;
    rc = net_remove_stale(path, addr);
    return rc == 0 ? net_bind(fd, addr) : rc;
}

/* Nobody can connect before listen(2), so the file never has other permissions for anybody. */
static int net_open_to(int fd, const union net_addr *addr, int backlog, mode_t mode)
{
    const char *path = net_unix_path(addr);
    int rc = path != NULL ? (int)net_result(chmod(path, mode)) : 0;
    if (rc == 0)
        rc = (int)net_result(listen(fd, backlog));
    if (rc < 0 && path != NULL)
        (void)unlink(path);
    return rc;
}

int net_listen(const union net_addr *addr, int backlog, mode_t mode)
{
    sa_family_t family = addr->sa.sa_family;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int rc = family == AF_UNIX ? net_bind_unix(fd, addr) : net_bind_tcp(fd, addr);
    if (rc == 0)
        rc = net_open_to(fd, addr, backlog, mode);
    if (rc == 0)
        return fd;
    net_close(fd);
    return rc;
}

static int net_get_option(int fd, int option, int *value)
{
    socklen_t len = sizeof *value;
    return (int)net_result(getsockopt(fd, SOL_SOCKET, option, value, &len));
}

int net_inspect(int fd)
{
    int family = 0;
    int type = 0;
    int listening = 0;
    int rc = net_get_option(fd, SO_DOMAIN, &family);
    if (rc == 0)
        rc = net_get_option(fd, SO_TYPE, &type);
    if (rc == 0)
        rc = net_get_option(fd, SO_ACCEPTCONN, &listening);
    if (rc < 0)
        return rc;
    if (type != SOCK_STREAM || (family != AF_INET && family != AF_INET6 && family != AF_UNIX))
        return -EPROTONOSUPPORT;
    if (family != AF_UNIX)
        (void)net_set_option(fd, IPPROTO_TCP, TCP_NODELAY);
    if (listening)
        return NET_LISTENING;
    union net_peer peer;
    int broken = 0;
    rc = net_remote(fd, &peer);
    if (rc == -ENOTCONN && net_get_option(fd, SO_ERROR, &broken) == 0 && broken != 0)
        return NET_CONNECTED; /* it was, and has been reset since */
    return rc < 0 ? rc : NET_CONNECTED;
}

int net_local(int fd, union net_addr *addr)
{
    socklen_t len = sizeof *addr;
    memset(addr, 0, sizeof *addr); /* a Unix address may be shorter */
    return (int)net_result(getsockname(fd, &addr->sa, &len));
}

/* The client of a Unix socket, whom the kernel knows though its address is empty. */
static void net_credentials(int fd, union net_peer *peer)
{
    struct ucred cred = {.pid = 0};
    socklen_t len = sizeof cred;
    (void)getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len);
    peer->un.pid = cred.pid;
    peer->un.uid = cred.uid;
}

int net_remote(int fd, union net_peer *peer)
{
    socklen_t len = sizeof *peer;
    peer->sa.sa_family = AF_UNSPEC;
    int rc = (int)net_result(getpeername(fd, &peer->sa, &len));
    if (rc == 0 && peer->sa.sa_family == AF_UNIX)
        net_credentials(fd, peer);
    return rc;
}

int net_accept(int fd, union net_peer *peer)
{
    int client;
    peer->sa.sa_family = AF_UNSPEC;
    do {
        socklen_t len = sizeof *peer;
        client = accept4(fd, &peer->sa, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);
    } while (client < 0 && errno == EINTR);
    if (client >= 0 && peer->sa.sa_family == AF_UNIX)
        net_credentials(client, peer);
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

ssize_t net_recvv(int fd, struct iovec *iov, unsigned short count)
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

int net_pipe(int *out, int *in, int bytes)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
        return -errno;
    /* One of the usual 16 pages will do. Who has too many pipes gets one of two. */
    if (fcntl(fds[1], F_SETPIPE_SZ, bytes) < 0 && fcntl(fds[1], F_GETPIPE_SZ) < 65536) {
        net_close(fds[0]);
        net_close(fds[1]);
        return -EMFILE;
    }
    *out = fds[0];
    *in = fds[1];
    return 0;
}

ssize_t net_splice(int from, int to, size_t len)
{
    ssize_t n;
    do
        n = splice(from, NULL, to, NULL, len, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    while (n < 0 && errno == EINTR);
    return net_result(n);
}

bool net_ready(int fd, short events)
{
    struct pollfd ready = {.fd = fd, .events = events};
    return poll(&ready, 1, 0) > 0;
}

size_t net_unsent(int fd)
{
    /* Of a type that fits both unsigned long, which glibc takes, and int, which musl takes. */
    const unsigned short request = SIOCOUTQ;
    int bytes = 0;
    return ioctl(fd, request, &bytes) == 0 && bytes > 0 ? (size_t)bytes : 0;
}

/* The kernel counts in ticks of its clock, which are 10 ms at the longest. */
enum { NET_TICK_MS = 10 };

uint32_t net_moved_ms(int fd)
{
    struct tcp_info info = {.tcpi_last_data_sent = 0};
    socklen_t len = sizeof info;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len) < 0)
        return 0;
    uint32_t sent_ms = info.tcpi_last_data_sent;
    uint32_t received_ms = info.tcpi_last_data_recv;
    uint32_t moved_ms = sent_ms < received_ms ? sent_ms : received_ms;
    return moved_ms > NET_TICK_MS ? moved_ms - NET_TICK_MS : 0;
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
