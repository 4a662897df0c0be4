#include "os/net.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* A system call's result as this file returns it. */
static ssize_t net_result(ssize_t n)
{
    return n < 0 ? -errno : n;
}

static int net_set_number(int fd, int level, int option, int value)
{
    return (int)net_result(setsockopt(fd, level, option, &value, sizeof value));
}

static int net_set_option(int fd, int level, int option)
{
    return net_set_number(fd, level, option, 1);
}

int net_set_keepalive(int fd, unsigned idle_s)
{
    int idle = idle_s < NET_KEEPALIVE_MAX ? (int)idle_s : NET_KEEPALIVE_MAX;
    int interval = idle < NET_KEEPALIVE_PROBES ? 1 : idle / NET_KEEPALIVE_PROBES;
    if (idle == 0)
        return net_set_number(fd, SOL_SOCKET, SO_KEEPALIVE, 0);
    int rc = net_set_number(fd, IPPROTO_TCP, TCP_KEEPIDLE, idle);
    if (rc == 0)
        rc = net_set_number(fd, IPPROTO_TCP, TCP_KEEPINTVL, interval);
    if (rc == 0)
        rc = net_set_number(fd, IPPROTO_TCP, TCP_KEEPCNT, NET_KEEPALIVE_PROBES);
    return rc == 0 ? net_set_option(fd, SOL_SOCKET, SO_KEEPALIVE) : rc;
}

/* Sets what a TCP connection needs, on it or on the socket that it will be accepted from. */
static int net_set_up_stream(int fd)
{
    int rc = net_set_option(fd, IPPROTO_TCP, TCP_NODELAY);
    return rc == 0 ? net_set_option(fd, SOL_SOCKET, SO_OOBINLINE) : rc;
}

/* Sets what a TCP socket needs before it is bound, and a Unix socket does not. */
static int net_set_up_tcp(int fd, sa_family_t family)
{
    int rc = net_set_option(fd, SOL_SOCKET, SO_REUSEADDR);
    if (rc == 0 && family == AF_INET6)
        rc = net_set_option(fd, IPPROTO_IPV6, IPV6_V6ONLY);
    return rc == 0 ? net_set_up_stream(fd) : rc;
}

static int net_socket(sa_family_t family, int type)
{
    return (int)net_result(socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

static int net_connect(int fd, const union net_addr *addr)
{
    return (int)net_result(connect(fd, &addr->sa, net_addr_len(addr)));
}

int net_connect_datagram(const union net_addr *addr)
{
    int fd = net_socket(addr->sa.sa_family, SOCK_DGRAM);
    if (fd < 0)
        return fd;
    int rc = net_connect(fd, addr);
    if (rc == 0)
        return fd;
    net_close(fd);
    return rc;
}

/* Whether fd is still the file at path: 0, -ESTALE if it is not, or another negative errno. */
static int net_is_at(int fd, const char *path)
{
    struct stat ours;
    struct stat there;
    if (fstat(fd, &ours) < 0)
        return -errno;
    if (lstat(path, &there) < 0)
        return errno == ENOENT ? -ESTALE : -errno;
    return ours.st_ino == there.st_ino && ours.st_dev == there.st_dev ? 0 : -ESTALE;
}

/*
 * One attempt to lock the file at path. Returns its descriptor, -EADDRINUSE while another process
 * has the lock, or -ESTALE if that process has removed the file just now: somebody else may have
 * made and locked a new one.
 */
static int net_try_lock(const char *path)
{
    int fd = open(path, O_RDONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    int rc = (int)net_result(flock(fd, LOCK_EX | LOCK_NB));
    if (rc == 0)
        rc = net_is_at(fd, path);
    if (rc == 0)
        return fd;
    net_close(fd);
    return rc == -EWOULDBLOCK ? -EADDRINUSE : rc;
}

/*
 * The right to look at what stands at the socket's path and to put another socket there, as a lock
 * on a file beside it. A process that is killed leaves the file, but no lock. The file is removed
 * before it is unlocked: a process that has opened it and locks it afterwards sees that it is gone.
 */
struct net_lock {
    char path[sizeof(struct sockaddr_un) + sizeof ".uvechod-lock"];
    int fd;
};

static int net_lock(struct net_lock *lock, const char *path)
{
    (void)snprintf(lock->path, sizeof lock->path, "%s.uvechod-lock", path);
    do
        lock->fd = net_try_lock(lock->path);
    while (lock->fd == -ESTALE);
    return lock->fd < 0 ? lock->fd : 0;
}

static void net_unlock(const struct net_lock *lock)
{
    (void)unlink(lock->path);
    net_close(lock->fd);
}

/* Removes the file at path. The daemon that it belonged to may have removed it just now. */
static int net_remove(const char *path)
{
    return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

/*
 * Removes what stands at path if it is a socket that nobody listens on any more: a daemon that was
 * killed leaves one. Connecting tells, and changes nothing for a daemon that does listen. Must be
 * called with the path locked: a daemon between its bind(2) and listen(2) refuses connections, too.
 */
static int net_remove_stale(const char *path, const union net_addr *addr)
{
    struct stat file;
    if (lstat(path, &file) < 0)
        return errno == ENOENT ? 0 : -errno; /* removed since bind(2) has found it */
    if (!S_ISSOCK(file.st_mode))
        return -EEXIST;
    int fd = net_socket(AF_UNIX, SOCK_STREAM);
    if (fd < 0)
        return fd;
    int rc = net_connect(fd, addr);
    net_close(fd);
    if (rc == -ECONNREFUSED)
        return net_remove(path);
    return rc == -ENOENT ? 0 : -EADDRINUSE; /* ENOENT: removed since lstat(2) has found it */
}

static int net_bind(int fd, const union net_addr *addr)
{
    return (int)net_result(bind(fd, &addr->sa, net_addr_len(addr)));
}

/*
 * Binds a socket whose file has the permissions mode from the first moment on. Linux takes them
 * from the socket itself, less the umask: chmod(2) of the path would follow a link put there
 * meanwhile.
 */
static int net_bind_file(int fd, const union net_addr *addr, mode_t mode)
{
    if (fchmod(fd, mode) < 0)
        return -errno;
    mode_t mask = umask(0);
    int rc = net_bind(fd, addr);
    (void)umask(mask);
    return rc;
}

/* Must be called with the path locked. */
static int net_listen_path(int fd, const union net_addr *addr, int backlog, mode_t mode)
{
    const char *path = net_unix_path(addr);
    int rc = net_bind_file(fd, addr, mode);
    if (rc == -EADDRINUSE) {
        rc = net_remove_stale(path, addr);
        if (rc == 0)
            rc = net_bind_file(fd, addr, mode);
    }
    if (rc < 0)
        return rc;
    rc = (int)net_result(listen(fd, backlog));
    if (rc < 0)
        (void)unlink(path);
    return rc;
}

static int net_listen_unix(int fd, const union net_addr *addr, int backlog, mode_t mode)
{
    struct net_lock lock;
    const char *path = net_unix_path(addr);
    if (path == NULL) { /* an abstract name, which goes with its socket */
        int rc = net_bind(fd, addr);
        return rc == 0 ? (int)net_result(listen(fd, backlog)) : rc;
    }
    int rc = net_lock(&lock, path);
    if (rc < 0)
        return rc;
    rc = net_listen_path(fd, addr, backlog, mode);
    net_unlock(&lock);
    return rc;
}

static int net_listen_tcp(int fd, const union net_addr *addr, int backlog, unsigned keepalive_s)
{
    int rc = net_set_up_tcp(fd, addr->sa.sa_family);
    if (rc == 0 && keepalive_s > 0)
        rc = net_set_keepalive(fd, keepalive_s);
    if (rc == 0)
        rc = net_bind(fd, addr);
    return rc == 0 ? (int)net_result(listen(fd, backlog)) : rc;
}

int net_listen(const union net_addr *addr, int backlog, mode_t mode, unsigned keepalive_s)
{
    sa_family_t family = addr->sa.sa_family;
    int fd = net_socket(family, SOCK_STREAM);
    if (fd < 0)
        return fd;
    int rc = family == AF_UNIX ? net_listen_unix(fd, addr, backlog, mode)
                               : net_listen_tcp(fd, addr, backlog, keepalive_s);
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

/* UDP has the number 17; the others of its type are such as those of ping(8). */
static int net_inspect_datagram(int fd, int family)
{
    int protocol = IPPROTO_UDP;
    int rc = family == AF_UNIX ? 0 : net_get_option(fd, SO_PROTOCOL, &protocol);
    if (rc < 0)
        return rc;
    return protocol == IPPROTO_UDP ? NET_DATAGRAM : -EPROTONOSUPPORT;
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
    if (family != AF_INET && family != AF_INET6 && family != AF_UNIX)
        return -EPROTONOSUPPORT;
    if (type == SOCK_DGRAM)
        return net_inspect_datagram(fd, family);
    if (type != SOCK_STREAM)
        return -EPROTONOSUPPORT;
    if (family != AF_UNIX)
        (void)net_set_up_stream(fd);
    if (listening)
        return NET_LISTENING;
    union net_peer peer;
    int broken = 0;
    rc = net_remote(fd, &peer);
    if (rc == -ENOTCONN && net_get_option(fd, SO_ERROR, &broken) == 0 && broken != 0)
        return NET_CONNECTED; /* the peer has reset the connection meanwhile */
    return rc < 0 ? rc : NET_CONNECTED;
}

int net_local(int fd, union net_addr *addr)
{
    socklen_t len = sizeof *addr;
    memset(addr, 0, sizeof *addr); /* the kernel writes no more of a Unix address than it has */
    return (int)net_result(getsockname(fd, &addr->sa, &len));
}

/* Stores who the client of a Unix socket is: the kernel knows, though the address is empty. */
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
        client = accept4(fd, &peer->sa, &len, SOCK_NONBLOCK);
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
    /* The usual 16 pages are enough. A user with too many pipes is given only 2 or 1. */
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

int net_look(struct pollfd *list, size_t count)
{
    int n;
    do
        n = poll(list, (nfds_t)count, 0);
    while (n < 0 && errno == EINTR); /* as poll(2) says when a signal comes and nothing is ready */
    return n < 0 ? -errno : 0;
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

int net_cookie(int fd, uint64_t *cookie)
{
    socklen_t len = sizeof *cookie;
    return (int)net_result(getsockopt(fd, SOL_SOCKET, SO_COOKIE, cookie, &len));
}

int net_shutdown_send(int fd)
{
    return (int)net_result(shutdown(fd, SHUT_WR));
}

void net_discard(int fd)
{
    const struct linger none = {.l_onoff = 1};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
}

int net_dup_above(int fd, int lowest)
{
    return (int)net_result(fcntl(fd, F_DUPFD_CLOEXEC, lowest));
}

int net_piped(int fd)
{
    /* Of a type that fits both unsigned long, which glibc takes, and int, which musl takes. */
    const unsigned short request = FIONREAD;
    int bytes = 0;
    return ioctl(fd, request, &bytes) < 0 ? -errno : bytes;
}

void net_survive_exec(int fd)
{
    (void)fcntl(fd, F_SETFD, 0);
}

void net_close(int fd)
{
    (void)close(fd);
}
