/*
 * test_net.c - the socket calls: on real loopback connections of both families and on Unix sockets,
 * and with every failure that accept(2), recv(2) and send(2) list, injected by wrapping the calls.
 */
#include "unit/support.h"

#include "os/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

enum call {
    CALL_NONE,
    CALL_SOCKET,
    CALL_SETSOCKOPT,
    CALL_BIND,
    CALL_LISTEN,
    CALL_CHMOD,
    CALL_UNLINK,
    CALL_ACCEPT,
    CALL_RECV,
    CALL_RECVMSG,
    CALL_SEND,
};

/* Which call is to fail, and how. */
static struct {
    enum call call;
    int error;
    int skip;  /* so many of its calls succeed first */
    int times; /* then so many fail */
    int count; /* calls seen */
} fault;

static void fault_set(enum call call, int error, int skip, int times)
{
    fault.call = call;
    fault.error = error;
    fault.skip = skip;
    fault.times = times;
    fault.count = 0;
}

static bool fault_strikes(enum call call)
{
    if (call != fault.call)
        return false;
    int nth = fault.count++;
    if (nth < fault.skip || nth >= fault.skip + fault.times)
        return false;
    errno = fault.error;
    return true;
}

/* A call that fails when it is told to, and is the real one otherwise. */
#define WRAP(call, type, name, parameters, arguments)                                              \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        return fault_strikes(call) ? -1 : __real_##name arguments;                                 \
    }

WRAP(CALL_SOCKET, int, socket, (int family, int type, int protocol), (family, type, protocol))
WRAP(CALL_SETSOCKOPT, int, setsockopt,
     (int fd, int level, int option, const void *value, socklen_t len),
     (fd, level, option, value, len))
WRAP(CALL_BIND, int, bind, (int fd, const struct sockaddr *addr, socklen_t len), (fd, addr, len))
WRAP(CALL_CHMOD, int, chmod, (const char *path, mode_t mode), (path, mode))
WRAP(CALL_UNLINK, int, unlink, (const char *path), (path))
WRAP(CALL_ACCEPT, int, accept4, (int fd, struct sockaddr *addr, socklen_t *len, int flags),
     (fd, addr, len, flags))
WRAP(CALL_RECV, ssize_t, recv, (int fd, void *buf, size_t len, int flags), (fd, buf, len, flags))
WRAP(CALL_RECVMSG, ssize_t, recvmsg, (int fd, struct msghdr *msg, int flags), (fd, msg, flags))

static int listen_backlog; /* of the last listen() */

int __real_listen(int fd, int backlog);
int __wrap_listen(int fd, int backlog);
int __wrap_listen(int fd, int backlog)
{
    listen_backlog = backlog;
    return fault_strikes(CALL_LISTEN) ? -1 : __real_listen(fd, backlog);
}

static int domain; /* what every socket's family is; 0: the truth */

static unsigned data_sent_ms; /* what TCP_INFO says of the last data; 0: the truth */
static unsigned data_received_ms;

int __real_getsockopt(int fd, int level, int option, void *value, socklen_t *len);
int __wrap_getsockopt(int fd, int level, int option, void *value, socklen_t *len);
int __wrap_getsockopt(int fd, int level, int option, void *value, socklen_t *len)
{
    int rc = __real_getsockopt(fd, level, option, value, len);
    if (rc == 0 && level == SOL_SOCKET && option == SO_DOMAIN && domain != 0)
        memcpy(value, &domain, sizeof domain);
    if (rc == 0 && level == IPPROTO_TCP && option == TCP_INFO && data_sent_ms != 0) {
        ((struct tcp_info *)value)->tcpi_last_data_sent = data_sent_ms;
        ((struct tcp_info *)value)->tcpi_last_data_recv = data_received_ms;
    }
    return rc;
}

static int pipe_bytes; /* what a pipe holds that cannot be made larger; 0: it can */

int __real_fcntl(int fd, int cmd, ...);
int __wrap_fcntl(int fd, int cmd, ...);
int __wrap_fcntl(int fd, int cmd, ...)
{
    if (pipe_bytes != 0 && cmd == F_GETPIPE_SZ)
        return pipe_bytes;
    if (pipe_bytes != 0 && cmd == F_SETPIPE_SZ) {
        errno = EPERM;
        return -1;
    }
    va_list args;
    va_start(args, cmd);
    int value = cmd == F_GETFD || cmd == F_GETFL || cmd == F_GETPIPE_SZ ? 0 : va_arg(args, int);
    va_end(args);
    return __real_fcntl(fd, cmd, value);
}

static int send_flags; /* of the last send() */

ssize_t __real_send(int fd, const void *buf, size_t len, int flags);
ssize_t __wrap_send(int fd, const void *buf, size_t len, int flags);
ssize_t __wrap_send(int fd, const void *buf, size_t len, int flags)
{
    send_flags = flags;
    return fault_strikes(CALL_SEND) ? -1 : __real_send(fd, buf, len, flags);
}

/* What getaddrinfo() returns: rc or, when that is 0, list. */
static struct {
    bool active;
    int rc;
    struct addrinfo *list;
    int freed;
} resolver;

int __real_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                       struct addrinfo **list);
int __wrap_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                       struct addrinfo **list);
int __wrap_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                       struct addrinfo **list)
{
    if (!resolver.active)
        return __real_getaddrinfo(name, service, hints, list);
    if (resolver.rc == 0)
        *list = resolver.list;
    return resolver.rc;
}

void __real_freeaddrinfo(struct addrinfo *list);
void __wrap_freeaddrinfo(struct addrinfo *list);
void __wrap_freeaddrinfo(struct addrinfo *list)
{
    resolver.freed++;
    if (!resolver.active)
        __real_freeaddrinfo(list);
}

static int fds_before;
static char dir[32];

static int fixture_open(void **state)
{
    (void)state; /* the family, for some */
    fault_set(CALL_NONE, 0, 0, 0);
    memset(&resolver, 0, sizeof resolver);
    fds_before = count_fds();
    return 0;
}

static int fixture_close(void **state)
{
    (void)state;
    fault_set(CALL_NONE, 0, 0, 0);
    assert_int_equal(count_fds(), fds_before);
    return 0;
}

static union net_addr loopback(sa_family_t family)
{
    union net_addr addr = net_any(family);
    if (family == AF_INET6)
        addr.in6.sin6_addr = in6addr_loopback;
    else
        addr.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return addr;
}

static socklen_t addr_len(const union net_addr *addr)
{
    return addr->sa.sa_family == AF_INET6 ? sizeof addr->in6 : sizeof addr->in;
}

/* A listener on a free port of the loopback; *addr tells which. Without the family: skips. */
static int listen_on(sa_family_t family, union net_addr *addr)
{
    *addr = loopback(family);
    int fd = net_listen(addr, 16, 0);
    if (family == AF_INET6 && (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL)) {
        print_message("no IPv6 on this machine\n");
        skip();
    }
    assert_return_code(fd, -fd);
    assert_int_equal(net_local(fd, addr), 0);
    return fd;
}

/* A connection and what it came through. */
struct link {
    int listener;
    int client;
    int server;
    union net_addr addr; /* of the listener */
    union net_peer peer; /* the client, as net_accept() says */
};

static int connect_to(const union net_addr *addr)
{
    int fd = socket(addr->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_return_code(fd, errno);
    assert_return_code(connect(fd, &addr->sa, addr_len(addr)), errno);
    return fd;
}

static void link_open(struct link *link, sa_family_t family)
{
    link->listener = listen_on(family, &link->addr);
    link->client = connect_to(&link->addr);
    wait_for(link->listener, POLLIN);
    link->server = net_accept(link->listener, &link->peer);
    assert_return_code(link->server, -link->server);
}

static void link_close(struct link *link)
{
    net_close(link->server);
    net_close(link->client);
    net_close(link->listener);
}

/* Closes the client's end with a reset instead of a FIN. */
static void link_reset(struct link *link)
{
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    int rc = setsockopt(link->client, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    assert_return_code(rc, errno);
    net_close(link->client);
    link->client = -1;
    wait_for(link->server, POLLIN);
}

static int socket_option(int fd, int level, int option)
{
    int value = 0;
    socklen_t len = sizeof value;
    assert_return_code(getsockopt(fd, level, option, &value, &len), errno);
    return value;
}

static void expect_cloexec_and_nonblock(int fd)
{
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0);
    assert_true((fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
}

static void test_listen(void **state)
{
    sa_family_t family = *(const sa_family_t *)*state;
    union net_addr addr;
    int fd = listen_on(family, &addr);
    assert_int_equal(addr.sa.sa_family, family);
    assert_int_not_equal(net_port(&addr), 0);
    assert_int_equal(listen_backlog, 16);
    expect_cloexec_and_nonblock(fd);
    assert_int_not_equal(socket_option(fd, SOL_SOCKET, SO_ACCEPTCONN), 0);
    assert_int_not_equal(socket_option(fd, SOL_SOCKET, SO_REUSEADDR), 0);
    assert_int_not_equal(socket_option(fd, IPPROTO_TCP, TCP_NODELAY), 0);
    if (family == AF_INET6)
        assert_int_not_equal(socket_option(fd, IPPROTO_IPV6, IPV6_V6ONLY), 0);
    net_close(fd);
}

/* Two sockets, one port: the IPv6 wildcard leaves IPv4 alone. */
static void test_listen_on_both_wildcards(void **state)
{
    (void)state;
    union net_addr probe;
    net_close(listen_on(AF_INET6, &probe)); /* skips */
    union net_addr addr6 = net_any(AF_INET6);
    int fd6 = net_listen(&addr6, 1, 0);
    assert_return_code(fd6, -fd6);
    assert_int_equal(net_local(fd6, &addr6), 0);
    union net_addr addr4 = net_any(AF_INET);
    net_set_port(&addr4, net_port(&addr6));
    int fd4 = net_listen(&addr4, 1, 0);
    assert_return_code(fd4, -fd4);
    net_close(fd4);
    net_close(fd6);
}

static void test_listen_in_use(void **state)
{
    union net_addr addr;
    int fd = listen_on(*(const sa_family_t *)*state, &addr);
    assert_int_equal(net_listen(&addr, 1, 0), -EADDRINUSE);
    net_close(fd);
}

static void test_listen_not_ours(void **state)
{
    (void)state;
    union net_addr addr = net_any(AF_INET);
    assert_int_equal(inet_pton(AF_INET, "192.0.2.1", &addr.in.sin_addr), 1);
    assert_int_equal(net_listen(&addr, 1, 0), -EADDRNOTAVAIL);
}

static void test_listen_unknown_family(void **state)
{
    (void)state;
    union net_addr addr = net_any(AF_MAX);
    assert_int_equal(net_listen(&addr, 1, 0), -EAFNOSUPPORT);
}

/* Whichever call fails, and whichever of its calls: told, and nothing left open. */
static void test_listen_failures(void **state)
{
    sa_family_t family = *(const sa_family_t *)*state;
    static const struct {
        enum call call;
        int error;
        int skip;
    } faults[] = {
        {CALL_SOCKET, EMFILE, 0},
        {CALL_SOCKET, ENFILE, 0},
        {CALL_SOCKET, ENOBUFS, 0},
        {CALL_SOCKET, EACCES, 0},
        {CALL_SETSOCKOPT, ENOPROTOOPT, 0},
        {CALL_SETSOCKOPT, ENOMEM, 1},
        {CALL_BIND, EACCES, 0},
        {CALL_BIND, EADDRINUSE, 0},
        {CALL_LISTEN, EADDRINUSE, 0},
        {CALL_LISTEN, EOPNOTSUPP, 0},
        {CALL_SETSOCKOPT, EOPNOTSUPP, 2}, /* IPv6 has one option more */
    };
    union net_addr addr;
    net_close(listen_on(family, &addr)); /* skips */
    addr = loopback(family);
    size_t count = COUNT(faults) - (family == AF_INET6 ? 0 : 1);
    for (size_t i = 0; i < count; i++) {
        fault_set(faults[i].call, faults[i].error, faults[i].skip, 1);
        assert_int_equal(net_listen(&addr, 1, 0), -faults[i].error);
        assert_int_equal(fault.count, faults[i].skip + 1);
        assert_int_equal(count_fds(), fds_before);
    }
}

static void test_local_failure(void **state)
{
    (void)state;
    union net_addr addr;
    assert_int_equal(net_local(-1, &addr), -EBADF);
}

static void test_accept(void **state)
{
    sa_family_t family = *(const sa_family_t *)*state;
    struct link link;
    union net_addr client;
    link_open(&link, family);
    expect_cloexec_and_nonblock(link.server);
    assert_int_not_equal(socket_option(link.server, IPPROTO_TCP, TCP_NODELAY), 0);
    assert_int_equal(net_local(link.client, &client), 0);
    assert_int_equal(link.peer.sa.sa_family, family);
    assert_memory_equal(&link.peer, &client, addr_len(&client));
    assert_int_equal(net_accept(link.listener, &link.peer), -EAGAIN);
    link_close(&link);
}

static const int accept_errors[] = {
    EAGAIN, EBADF,        ECONNABORTED, EFAULT,          EINVAL,          EMFILE,
    ENFILE, ENOBUFS,      ENOMEM,       ENOTSOCK,        EOPNOTSUPP,      EPERM,
    EPROTO, ENOSR,        ETIMEDOUT,    ENETDOWN,        ENOPROTOOPT,     EHOSTDOWN,
    ENONET, EHOSTUNREACH, ENETUNREACH,  EPROTONOSUPPORT, ESOCKTNOSUPPORT,
};

static const int recv_errors[] = {
    EAGAIN, EBADF,    ECONNREFUSED, ECONNRESET, EFAULT,       EINVAL,      EIO,
    ENOMEM, ENOTCONN, ENOTSOCK,     ETIMEDOUT,  EHOSTUNREACH, ENETUNREACH,
};

static const int send_errors[] = {
    EACCES,     EAGAIN,  EALREADY,  EBADF,   ECONNRESET, EDESTADDRREQ, EFAULT,
    EINVAL,     EISCONN, EMSGSIZE,  ENOBUFS, ENOMEM,     ENOTCONN,     ENOTSOCK,
    EOPNOTSUPP, EPIPE,   ETIMEDOUT, EIO,     ENETDOWN,   ENETUNREACH,  EHOSTUNREACH,
};

/* One of the four calls that carry connections, all with the same descriptor. */
typedef ssize_t operation(int fd);

static ssize_t do_accept(int fd)
{
    union net_peer peer;
    return net_accept(fd, &peer);
}

static ssize_t do_recv(int fd)
{
    char buf[4];
    return net_recv(fd, buf, sizeof buf);
}

static ssize_t do_recvv(int fd)
{
    char buf[4];
    struct iovec iov = {.iov_base = buf, .iov_len = sizeof buf};
    return net_recvv(fd, &iov, 1);
}

static ssize_t do_send(int fd)
{
    return net_send(fd, "abc", 3);
}

/* Each comes back negated, and at once: -EAGAIN above all must not be repeated. */
static void expect_failures(enum call call, operation *run, const int *errors, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        fault_set(call, errors[i], 0, 1);
        assert_int_equal(run(-1), -errors[i]);
        assert_int_equal(fault.count, 1);
    }
}

static void test_accept_failures(void **state)
{
    (void)state;
    expect_failures(CALL_ACCEPT, do_accept, accept_errors, COUNT(accept_errors));
}

static void test_recv_failures(void **state)
{
    (void)state;
    expect_failures(CALL_RECV, do_recv, recv_errors, COUNT(recv_errors));
    expect_failures(CALL_RECVMSG, do_recvv, recv_errors, COUNT(recv_errors));
}

static void test_send_failures(void **state)
{
    (void)state;
    expect_failures(CALL_SEND, do_send, send_errors, COUNT(send_errors));
}

/* The signal comes three times; the fourth call is the real one. */
static ssize_t interrupted(enum call call, operation *run, int fd)
{
    fault_set(call, EINTR, 0, 3);
    ssize_t n = run(fd);
    assert_int_equal(fault.count, 4);
    return n;
}

static void test_interrupted_calls_are_repeated(void **state)
{
    (void)state;
    struct link link;
    link_open(&link, AF_INET);
    assert_int_equal(interrupted(CALL_SEND, do_send, link.client), 3);
    wait_for(link.server, POLLIN);
    assert_int_equal(interrupted(CALL_RECV, do_recv, link.server), 3);
    assert_int_equal(interrupted(CALL_SEND, do_send, link.client), 3);
    wait_for(link.server, POLLIN);
    assert_int_equal(interrupted(CALL_RECVMSG, do_recvv, link.server), 3);
    int second = connect_to(&link.addr);
    wait_for(link.listener, POLLIN);
    ssize_t fd = interrupted(CALL_ACCEPT, do_accept, link.listener);
    assert_return_code(fd, -(int)fd);
    net_close((int)fd);
    net_close(second);
    link_close(&link);
}

/* What fails after an interruption is told as it is. */
static void test_interrupted_then_nothing(void **state)
{
    (void)state;
    struct link link;
    link_open(&link, AF_INET);
    assert_int_equal(interrupted(CALL_ACCEPT, do_accept, link.listener), -EAGAIN);
    assert_int_equal(interrupted(CALL_RECV, do_recv, link.server), -EAGAIN);
    assert_int_equal(interrupted(CALL_RECVMSG, do_recvv, link.server), -EAGAIN);
    link_close(&link);
}

static void test_recv(void **state)
{
    struct link link;
    char buf[16];
    link_open(&link, *(const sa_family_t *)*state);
    assert_int_equal(net_recv(link.server, buf, sizeof buf), -EAGAIN);
    assert_int_equal(net_send(link.client, "hello", 5), 5);
    wait_for(link.server, POLLIN);
    assert_int_equal(net_recv(link.server, buf, 2), 2);
    assert_int_equal(net_recv(link.server, buf + 2, sizeof buf - 2), 3);
    assert_memory_equal(buf, "hello", 5);
    assert_int_equal(net_shutdown_send(link.client), 0);
    wait_for(link.server, POLLIN);
    assert_int_equal(net_recv(link.server, buf, sizeof buf), 0);
    assert_int_equal(net_send(link.server, "late", 4), 4); /* the other direction stays */
    assert_int_equal(net_recv(link.client, buf, sizeof buf), 4);
    link_close(&link);
}

static void test_recvv(void **state)
{
    struct link link;
    char buf[8] = "-------";
    struct iovec iov[] = {{.iov_base = buf, .iov_len = 2}, {.iov_base = buf + 3, .iov_len = 3}};
    link_open(&link, *(const sa_family_t *)*state);
    assert_int_equal(net_recvv(link.server, iov, 2), -EAGAIN);
    assert_int_equal(net_send(link.client, "abcdef", 6), 6);
    wait_for(link.server, POLLIN);
    assert_int_equal(net_recvv(link.server, iov, 2), 5);
    assert_string_equal(buf, "ab-cde-");
    assert_int_equal(net_recvv(link.server, iov, 1), 1);
    net_close(link.client);
    wait_for(link.server, POLLIN);
    link.client = -1;
    assert_int_equal(net_recvv(link.server, iov, 2), 0);
    link_close(&link);
}

/* Any size from the usual one up will do, and a lesser one leaves nothing open. */
static void test_pipes_of_all_sizes(void **state)
{
    static const int sizes[] = {0, 65536, 65535, 8192};
    int ends[2];
    (void)state;
    int lowest = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);
    net_close(lowest);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        pipe_bytes = sizes[i];
        int rc = net_pipe(&ends[0], &ends[1], 131072);
        pipe_bytes = 0;
        assert_int_equal(rc, sizes[i] == 0 || sizes[i] >= 65536 ? 0 : -EMFILE);
        if (rc == 0) {
            assert_int_equal(fcntl(ends[0], F_GETPIPE_SZ), sizes[i] == 0 ? 131072 : 65536);
            net_close(ends[0]);
            net_close(ends[1]);
        }
        int next = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 0);
        assert_int_equal(next, lowest);
        net_close(next);
    }
}

static void test_send_until_full(void **state)
{
    static const char block[1024 * 1024];
    struct link link;
    ssize_t n;
    link_open(&link, *(const sa_family_t *)*state);
    do
        n = net_send(link.server, block, sizeof block);
    while (n > 0);
    assert_int_equal(n, -EAGAIN);
    link_close(&link);
}

static void test_reset(void **state)
{
    struct link link;
    char buf[4];
    link_open(&link, *(const sa_family_t *)*state);
    link_reset(&link);
    assert_int_equal(net_recv(link.server, buf, sizeof buf), -ECONNRESET);
    assert_int_equal(net_send(link.server, "x", 1), -EPIPE);
    link_close(&link);
}

/* With SIGPIPE at its default, which would end the test. */
static void test_send_raises_no_signal(void **state)
{
    (void)state;
    int fds[2];
    make_socketpair(fds);
    net_close(fds[1]);
    assert_ptr_equal(signal(SIGPIPE, SIG_DFL), SIG_DFL);
    assert_int_equal(net_send(fds[0], "x", 1), -EPIPE);
    assert_true((send_flags & MSG_NOSIGNAL) != 0);
    net_close(fds[0]);
}

static void test_shutdown_failures(void **state)
{
    (void)state;
    union net_addr addr;
    int fd = listen_on(AF_INET, &addr);
    int unconnected = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(net_shutdown_send(unconnected), -ENOTCONN);
    assert_int_equal(net_shutdown_send(-1), -EBADF);
    net_close(unconnected);
    net_close(fd);
}

static void test_ready(void **state)
{
    int fds[2];
    (void)state;
    make_socketpair(fds);
    assert_false(net_ready(fds[0], POLLIN));
    assert_true(net_ready(fds[0], POLLOUT));
    assert_int_equal(send(fds[1], "x", 1, 0), 1);
    assert_true(net_ready(fds[0], POLLIN));
    char byte;
    assert_int_equal(net_recv(fds[0], &byte, 1), 1);
    assert_false(net_ready(fds[0], POLLIN));
    (void)close(fds[1]); /* an end to receive, and a hangup that need not be asked for */
    assert_true(net_ready(fds[0], POLLIN));
    assert_true(net_ready(fds[0], 0));
    (void)close(fds[0]);
}

/* Of both directions the later one counts, and a tick of the kernel's clock less. */
static void test_moved_ms(void **state)
{
    (void)state;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    data_sent_ms = 3000;
    data_received_ms = 2000;
    assert_int_equal(net_moved_ms(fd), 1990);
    data_received_ms = 4000;
    assert_int_equal(net_moved_ms(fd), 2990);
    data_received_ms = 5;
    assert_int_equal(net_moved_ms(fd), 0);
    data_sent_ms = 0;
    (void)close(fd);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(net_moved_ms(fd), 0);
    (void)close(fd);
}

static void test_dup_above(void **state)
{
    (void)state;
    union net_addr addr, same;
    struct rlimit limit;
    int fd = listen_on(AF_INET, &addr);
    int copy = net_dup_above(fd, 300);
    assert_between(copy, 300, INT16_MAX);
    assert_true((fcntl(copy, F_GETFD) & FD_CLOEXEC) != 0);
    assert_int_equal(net_local(copy, &same), 0);
    assert_memory_equal(&addr, &same, sizeof addr.in);
    net_close(copy);
    assert_int_equal(net_dup_above(-1, 0), -EBADF);
    assert_return_code(getrlimit(RLIMIT_NOFILE, &limit), errno);
    assert_true(net_dup_above(fd, (int)limit.rlim_cur) < 0);
    net_close(fd);
    assert_false(fd_is_open(fd));
}

static void test_ports(void **state)
{
    union net_addr addr = net_any(*(const sa_family_t *)*state);
    assert_int_equal(net_port(&addr), 0);
    net_set_port(&addr, 25000);
    assert_int_equal(net_port(&addr), 25000);
    assert_int_equal(ntohs(addr.in.sin_port), 25000); /* the same place in both families */
}

static void expect_format(sa_family_t family, const char *host, uint32_t scope, uint16_t port,
                          const char *text)
{
    union net_addr addr = net_any(family);
    char buf[NET_ADDR_STRLEN];
    void *raw = family == AF_INET6 ? (void *)&addr.in6.sin6_addr : (void *)&addr.in.sin_addr;
    assert_int_equal(inet_pton(family, host, raw), 1);
    if (family == AF_INET6)
        addr.in6.sin6_scope_id = scope;
    net_set_port(&addr, port);
    assert_ptr_equal(net_format(&addr, buf), buf);
    assert_string_equal(buf, text);
}

static void test_format(void **state)
{
    (void)state;
    expect_format(AF_INET, "192.0.2.1", 0, 80, "192.0.2.1:80");
    expect_format(AF_INET, "255.255.255.255", 0, 65535, "255.255.255.255:65535");
    expect_format(AF_INET, "0.0.0.0", 0, 0, "0.0.0.0:0");
    expect_format(AF_INET6, "2001:db8::1", 0, 80, "[2001:db8::1]:80");
    expect_format(AF_INET6, "::", 0, 25000, "[::]:25000");
    expect_format(AF_INET6, "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", 0, 65535,
                  "[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
}

static void test_format_with_zone(void **state)
{
    (void)state;
    char text[NET_ADDR_STRLEN];
    char name[IF_NAMESIZE];
    unsigned first = 1;
    while (first < 100 && if_indextoname(first, name) == NULL)
        first++;
    if (first == 100)
        skip();
    (void)snprintf(text, sizeof text, "[fe80::1%%%s]:7", name);
    expect_format(AF_INET6, "fe80::1", first, 7, text);
    expect_format(AF_INET6, "fe80::1", 4294967295U, 7, "[fe80::1%4294967295]:7"); /* has no name */
}

static void test_format_of_no_address(void **state)
{
    (void)state;
    char buf[NET_ADDR_STRLEN];
    union net_addr addr = net_any(AF_UNSPEC);
    assert_string_equal(net_format(&addr, buf), "?:0");
}

static void test_resolve_numeric(void **state)
{
    (void)state;
    union net_addr addrs[4];
    char buf[NET_ADDR_STRLEN];
    assert_int_equal(net_resolve("192.0.2.7", addrs, 4), 1); /* once, not per socket type */
    assert_string_equal(net_format(&addrs[0], buf), "192.0.2.7:0");
    assert_int_equal(net_resolve("2001:db8::7", addrs, 4), 1);
    assert_string_equal(net_format(&addrs[0], buf), "[2001:db8::7]:0");
}

/* A label of more than 63 bytes cannot even be asked for. */
static void test_resolve_bad_name(void **state)
{
    (void)state;
    union net_addr addr;
    char name[80];
    memset(name, 'x', sizeof name);
    memcpy(name + 70, ".invalid", sizeof ".invalid");
    int rc = net_resolve(name, &addr, 1);
    assert_true(rc < 0);
    assert_non_null(gai_strerror(rc));
}

static void test_resolve_failures(void **state)
{
    (void)state;
    static const int codes[] = {EAI_NONAME, EAI_AGAIN, EAI_FAIL, EAI_MEMORY, EAI_SYSTEM};
    union net_addr addr;
    resolver.active = true;
    for (size_t i = 0; i < COUNT(codes); i++) {
        int negative = codes[i] < 0 ? codes[i] : -codes[i];
        resolver.rc = codes[i];
        assert_int_equal(net_resolve("example.org", &addr, 1), negative);
        resolver.rc = -codes[i]; /* systems differ in the sign */
        assert_int_equal(net_resolve("example.org", &addr, 1), negative);
    }
    assert_int_equal(resolver.freed, 0);
}

/* Of three results the middle one is of a family that is not ours. */
static void test_resolve_chooses(void **state)
{
    (void)state;
    union net_addr found[] = {loopback(AF_INET), net_any(AF_UNIX), loopback(AF_INET6)};
    struct addrinfo list[3];
    union net_addr addrs[3];
    memset(list, 0, sizeof list);
    for (size_t i = 0; i < COUNT(list); i++) {
        list[i].ai_family = found[i].sa.sa_family;
        list[i].ai_addr = &found[i].sa;
        list[i].ai_addrlen = addr_len(&found[i]);
        list[i].ai_next = i + 1 < COUNT(list) ? &list[i + 1] : NULL;
    }
    resolver.active = true;
    resolver.list = list;
    assert_int_equal(net_resolve("example.org", addrs, 3), 2);
    assert_memory_equal(&addrs[0], &found[0], sizeof found[0].in);
    assert_memory_equal(&addrs[1], &found[2], sizeof found[2].in6);
    memset(addrs, 0, sizeof addrs);
    assert_int_equal(net_resolve("example.org", addrs, 1), 1);
    assert_int_equal(addrs[1].sa.sa_family, 0);
    assert_int_equal(resolver.freed, 2);
}

/* A directory for Unix sockets; fixture_close() sees to it that nothing is left there. */
static int dir_open(void **state)
{
    make_dir(dir);
    return fixture_open(state);
}

static int dir_close(void **state)
{
    remove_dir(dir);
    return fixture_close(state);
}

/* The address of name in the directory. */
static union net_addr in_dir(const char *name)
{
    char path[64];
    union net_addr addr;
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(net_unix(path, &addr), 0);
    return addr;
}

/* Unlike an address that the kernel has given, this one is all zero behind its path. */
static int connect_unix(const union net_addr *addr)
{
    size_t len = strlen(addr->un.sun_path + 1) + 1;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_return_code(fd, errno);
    len += offsetof(struct sockaddr_un, sun_path);
    assert_return_code(connect(fd, &addr->sa, (socklen_t)len), errno);
    return fd;
}

static ino_t file_of(const union net_addr *addr)
{
    struct stat file;
    assert_return_code(lstat(addr->un.sun_path, &file), errno);
    return file.st_ino;
}

static void remove_file(const union net_addr *addr)
{
    assert_return_code(unlink(addr->un.sun_path), errno);
}

/* A stream or datagram socket's file that nobody has open. */
static void make_stale(const union net_addr *addr, int type)
{
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    assert_return_code(bind(fd, &addr->sa, sizeof addr->un), errno);
    net_close(fd);
}

static void test_unix_addresses(void **state)
{
    (void)state;
    char path[128] = "/";
    union net_addr addr, other;
    memset(&addr, 0xa5, sizeof addr);
    memset(path + 1, 'x', 106);
    assert_int_equal(net_unix(path, &addr), 0);
    assert_int_equal(addr.sa.sa_family, AF_UNIX);
    assert_string_equal(addr.un.sun_path, path);
    assert_string_equal(net_unix_path(&addr), path);
    path[107] = 'x';
    assert_int_equal(net_unix(path, &other), -ENAMETOOLONG);
    assert_int_equal(net_unix("", &other), -EINVAL);
    assert_int_equal(net_unix("x", &other), 0); /* relative, and nothing left of what was there */
    assert_memory_equal(other.un.sun_path, "x\0\0\0", 4);
    assert_int_equal(other.un.sun_path[107], 0);
    assert_int_equal(net_port(&addr), 0);
    other = addr;
    net_set_port(&addr, 25000);
    assert_memory_equal(&addr, &other, sizeof addr.un);
    assert_int_equal(net_port(&addr), 0);
}

static void test_abstract_addresses(void **state)
{
    (void)state;
    char name[128] = "@";
    union net_addr addr;
    memset(&addr, 0xa5, sizeof addr);
    assert_int_equal(net_unix("@ab", &addr), 0);
    assert_memory_equal(addr.un.sun_path, "\0ab\0", 4);
    assert_int_equal(addr.un.sun_path[107], 0);
    assert_null(net_unix_path(&addr));
    memset(name + 1, 'x', 106);
    assert_int_equal(net_unix(name, &addr), 0);
    name[107] = 'x';
    assert_int_equal(net_unix(name, &addr), -ENAMETOOLONG);
    addr = net_any(AF_INET6);
    assert_null(net_unix_path(&addr));
}

/* To bind it would be to leave the choice of a name to the kernel. */
static void test_an_abstract_address_has_a_name(void **state)
{
    (void)state;
    union net_addr addr;
    assert_int_equal(net_unix("@", &addr), -EINVAL);
}

/* The permissions are those that were asked for, whatever the umask. */
static void test_listen_unix(void **state)
{
    (void)state;
    static const mode_t modes[] = {0600, 0660, 0666, 0777, 0};
    union net_addr addr = in_dir("s");
    mode_t mask = umask(0077);
    for (size_t i = 0; i < COUNT(modes); i++) {
        struct stat file;
        union net_addr local;
        int fd = net_listen(&addr, 16, modes[i]);
        assert_return_code(fd, -fd);
        expect_cloexec_and_nonblock(fd);
        assert_int_equal(listen_backlog, 16);
        assert_int_not_equal(socket_option(fd, SOL_SOCKET, SO_ACCEPTCONN), 0);
        assert_return_code(lstat(addr.un.sun_path, &file), errno);
        assert_int_equal(file.st_mode, S_IFSOCK | modes[i]);
        assert_int_equal(net_local(fd, &local), 0);
        assert_memory_equal(&local, &addr, sizeof addr.un);
        net_close(fd);
        remove_file(&addr);
    }
    (void)umask(mask);
}

/* Its name is as long as it says, and it is gone with the socket. */
static void test_listen_abstract(void **state)
{
    (void)state;
    char name[64];
    char buf[NET_ADDR_STRLEN];
    union net_addr addr, local;
    (void)snprintf(name, sizeof name, "@uvechod-test-%ld", (long)getpid());
    assert_int_equal(net_unix(name, &addr), 0);
    for (int i = 0; i < 2; i++) {
        int fd = net_listen(&addr, 16, 0600);
        assert_return_code(fd, -fd);
        assert_int_equal(net_local(fd, &local), 0);
        assert_memory_equal(&local, &addr, sizeof addr.un);
        assert_string_equal(net_format(&local, buf) + strlen("unix:"), name);
        assert_int_equal(net_listen(&addr, 16, 0600), -EADDRINUSE);
        net_close(connect_unix(&addr));
        net_close(fd);
    }
}

static void test_a_stale_file_is_replaced(void **state)
{
    (void)state;
    static const int types[] = {SOCK_STREAM, SOCK_DGRAM};
    union net_addr addr = in_dir("s");
    for (size_t i = 0; i < COUNT(types); i++) {
        struct stat file;
        make_stale(&addr, types[i]);
        int fd = net_listen(&addr, 16, 0640);
        assert_return_code(fd, -fd);
        assert_return_code(lstat(addr.un.sun_path, &file), errno);
        assert_int_equal(file.st_mode, S_IFSOCK | 0640);
        net_close(connect_unix(&addr));
        net_close(fd);
        remove_file(&addr);
    }
}

/* Refused, and whoever listens there does not lose its file or its clients. */
static void check_live(const union net_addr *addr)
{
    ino_t inode = file_of(addr);
    assert_int_equal(net_listen(addr, 16, 0600), -EADDRINUSE);
    assert_int_equal(file_of(addr), inode);
}

static void test_a_live_socket_is_left_alone(void **state)
{
    (void)state;
    union net_addr addr = in_dir("s");
    int fd = net_listen(&addr, 16, 0600);
    assert_return_code(fd, -fd);
    check_live(&addr);
    net_close(connect_unix(&addr));
    net_close(fd);
    remove_file(&addr);
}

/* It is alive, too, if it cannot take a connection just now, or ever. */
static void test_a_busy_socket_is_left_alone(void **state)
{
    (void)state;
    union net_addr addr = in_dir("s");
    int fd = net_listen(&addr, 0, 0600);
    int client = connect_unix(&addr); /* a backlog of 0 is one of 1 */
    check_live(&addr);
    net_close(client);
    net_close(fd);
    remove_file(&addr);
    fd = make_receiver(addr.un.sun_path);
    check_live(&addr);
    net_close(fd);
    remove_file(&addr);
}

static void test_other_files_are_left_alone(void **state)
{
    (void)state;
    char text[8] = "";
    union net_addr addr = in_dir("s");
    int fd = open(addr.un.sun_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0400);
    assert_int_equal(write(fd, "text", 4), 4);
    ino_t inode = file_of(&addr);
    assert_int_equal(net_listen(&addr, 16, 0666), -EEXIST);
    assert_int_equal(file_of(&addr), inode);
    assert_int_equal(pread(fd, text, sizeof text, 0), 4);
    assert_string_equal(text, "text");
    struct stat file;
    assert_return_code(fstat(fd, &file), errno);
    assert_int_equal(file.st_mode, S_IFREG | 0400);
    net_close(fd);
    remove_file(&addr);
    assert_return_code(mkdir(addr.un.sun_path, 0700), errno);
    assert_int_equal(net_listen(&addr, 16, 0666), -EEXIST);
    assert_return_code(rmdir(addr.un.sun_path), errno);
}

/* Nor is what it points to, be it a stale socket, nothing, or itself. */
static void test_a_symbolic_link_is_left_alone(void **state)
{
    (void)state;
    union net_addr addr = in_dir("s");
    union net_addr stale = in_dir("stale");
    make_stale(&stale, SOCK_STREAM);
    const char *const targets[] = {stale.un.sun_path, "nowhere", "s"};
    for (size_t i = 0; i < COUNT(targets); i++) {
        assert_return_code(symlink(targets[i], addr.un.sun_path), errno);
        ino_t inode = file_of(&addr);
        assert_int_equal(net_listen(&addr, 16, 0666), -EEXIST);
        assert_int_equal(file_of(&addr), inode);
        remove_file(&addr);
    }
    remove_file(&stale);
}

static void test_listen_in_a_missing_directory(void **state)
{
    (void)state;
    union net_addr addr = in_dir("no/s");
    assert_int_equal(net_listen(&addr, 16, 0666), -ENOENT);
    addr = in_dir("s");
    net_close(net_listen(&addr, 16, 0666));
    union net_addr below = in_dir("s/s");
    assert_int_equal(net_listen(&below, 16, 0666), -ENOTDIR);
    remove_file(&addr);
}

/* Told, nothing left open, and no file either: the next start is to find what this one found. */
static void test_listen_unix_failures(void **state)
{
    (void)state;
    static const struct {
        enum call call;
        int error;
    } faults[] = {
        {CALL_SOCKET, EMFILE}, {CALL_BIND, EACCES}, {CALL_CHMOD, EPERM}, {CALL_LISTEN, ENOMEM}};
    union net_addr addr = in_dir("s");
    for (size_t i = 0; i < COUNT(faults); i++) {
        fault_set(faults[i].call, faults[i].error, 0, 1);
        assert_int_equal(net_listen(&addr, 1, 0600), -faults[i].error);
        assert_int_equal(count_fds(), fds_before);
        assert_int_equal(access(addr.un.sun_path, F_OK), -1);
    }
}

/* A stale file that cannot be asked, removed or bound anew is in use, or tells what is wrong. */
static void test_a_stale_file_that_cannot_be_replaced(void **state)
{
    (void)state;
    static const struct {
        enum call call;
        int error;
        int skip;
        int result;
    } faults[] = {{CALL_SOCKET, EMFILE, 1, -EADDRINUSE},
                  {CALL_UNLINK, EACCES, 0, -EACCES},
                  {CALL_BIND, EADDRINUSE, 1, -EADDRINUSE}};
    union net_addr addr = in_dir("s");
    for (size_t i = 0; i < COUNT(faults); i++) {
        if (access(addr.un.sun_path, F_OK) < 0)
            make_stale(&addr, SOCK_STREAM);
        fault_set(faults[i].call, faults[i].error, faults[i].skip, 1);
        assert_int_equal(net_listen(&addr, 1, 0600), faults[i].result);
        assert_int_equal(fault.count, faults[i].skip + 1);
        assert_int_equal(count_fds(), fds_before);
    }
}

static void expect_peer(const union net_peer *peer, pid_t pid)
{
    assert_int_equal(peer->sa.sa_family, AF_UNIX);
    assert_int_equal(peer->un.pid, pid);
    assert_int_equal(peer->un.uid, geteuid());
}

/* Whoever has connected, not whoever asks. */
static void test_accept_unix(void **state)
{
    (void)state;
    union net_peer peer, same;
    union net_addr addr = in_dir("s");
    int fd = net_listen(&addr, 16, 0600);
    assert_int_equal(net_accept(fd, &peer), -EAGAIN);
    pid_t child = fork();
    assert_return_code(child, errno);
    if (child == 0) {
        int client = connect_unix(&addr);
        _exit(client < 0);
    }
    wait_for(fd, POLLIN);
    memset(&peer, 0xa5, sizeof peer);
    int server = net_accept(fd, &peer);
    assert_return_code(server, -server);
    expect_cloexec_and_nonblock(server);
    expect_peer(&peer, child);
    memset(&same, 0xa5, sizeof same);
    assert_int_equal(net_remote(server, &same), 0);
    expect_peer(&same, child);
    assert_int_equal(waitpid(child, NULL, 0), child);
    net_close(server);
    net_close(fd);
    remove_file(&addr);
}

static void test_remote(void **state)
{
    struct link link;
    union net_peer peer;
    link_open(&link, *(const sa_family_t *)*state);
    assert_int_equal(net_remote(link.server, &peer), 0);
    assert_memory_equal(&peer, &link.peer, addr_len(&link.addr));
    assert_int_equal(net_remote(link.client, &peer), 0);
    assert_memory_equal(&peer, &link.addr, addr_len(&link.addr));
    assert_int_equal(net_remote(link.listener, &peer), -ENOTCONN);
    link_close(&link);
}

/* Larger than what has room for its address: one that is bound to a path. */
static void test_remote_with_a_path(void **state)
{
    (void)state;
    union net_peer peer;
    union net_addr addr = in_dir("server");
    union net_addr mine = in_dir("a-client-with-a-path-longer-than-28-bytes");
    int fd = net_listen(&addr, 16, 0600);
    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_return_code(bind(client, &mine.sa, sizeof mine.un), errno);
    assert_return_code(connect(client, &addr.sa, sizeof addr.un), errno);
    int server = net_accept(fd, &peer);
    assert_return_code(server, -server);
    expect_peer(&peer, getpid());
    assert_int_equal(net_remote(server, &peer), 0);
    expect_peer(&peer, getpid());
    net_close(client);
    net_close(server);
    net_close(fd);
    remove_file(&addr);
    remove_file(&mine);
}

static void test_remote_failures(void **state)
{
    (void)state;
    union net_peer peer;
    int fds[2];
    assert_return_code(pipe2(fds, O_CLOEXEC), errno);
    assert_int_equal(net_remote(fds[0], &peer), -ENOTSOCK);
    assert_int_equal(net_remote(-1, &peer), -EBADF);
    net_close(fds[0]);
    net_close(fds[1]);
}

/* A socket that somebody else has made, and who has not thought of delays. */
static void test_inspect_tcp(void **state)
{
    sa_family_t family = *(const sa_family_t *)*state;
    union net_addr addr;
    net_close(listen_on(family, &addr)); /* skips */
    int listener = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(net_inspect(listener), -ENOTCONN);
    addr = loopback(family);
    assert_return_code(bind(listener, &addr.sa, addr_len(&addr)), errno);
    assert_return_code(listen(listener, 1), errno);
    assert_int_equal(net_local(listener, &addr), 0);
    int client = connect_to(&addr);
    assert_int_equal(net_inspect(client), NET_CONNECTED);
    assert_int_not_equal(socket_option(client, IPPROTO_TCP, TCP_NODELAY), 0);
    assert_int_equal(net_inspect(listener), NET_LISTENING);
    assert_int_not_equal(socket_option(listener, IPPROTO_TCP, TCP_NODELAY), 0);
    net_close(client);
    net_close(listener);
}

static void test_inspect_unix(void **state)
{
    (void)state;
    union net_addr addr = in_dir("s");
    int fds[2];
    int fd = net_listen(&addr, 16, 0600);
    int client = connect_unix(&addr);
    assert_int_equal(net_inspect(fd), NET_LISTENING);
    assert_int_equal(net_inspect(client), NET_CONNECTED);
    net_close(client);
    net_close(fd);
    remove_file(&addr);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(net_inspect(fd), -ENOTCONN);
    net_close(fd);
    make_socketpair(fds);
    assert_int_equal(net_inspect(fds[0]), NET_CONNECTED);
    net_close(fds[0]);
    net_close(fds[1]);
}

/* Neither datagrams nor packets, connected or not, nor streams of other families. */
static void test_inspect_what_cannot_be_served(void **state)
{
    (void)state;
    static const struct {
        int family;
        int type;
    } kinds[] = {{AF_INET, SOCK_DGRAM},
                 {AF_UNIX, SOCK_DGRAM},
                 {AF_UNIX, SOCK_SEQPACKET},
                 {AF_NETLINK, SOCK_RAW}};
    int fds[2];
    for (size_t i = 0; i < COUNT(kinds); i++) {
        int fd = socket(kinds[i].family, kinds[i].type | SOCK_CLOEXEC, 0);
        assert_return_code(fd, errno);
        assert_int_equal(net_inspect(fd), -EPROTONOSUPPORT);
        net_close(fd);
    }
    assert_return_code(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), errno);
    assert_int_equal(net_inspect(fds[0]), -EPROTONOSUPPORT);
    net_close(fds[0]);
    net_close(fds[1]);
    make_socketpair(fds);
    domain = AF_VSOCK;
    assert_int_equal(net_inspect(fds[0]), -EPROTONOSUPPORT);
    domain = 0;
    net_close(fds[0]);
    net_close(fds[1]);
}

static void test_inspect_no_socket(void **state)
{
    (void)state;
    int fds[2];
    assert_return_code(pipe2(fds, O_CLOEXEC), errno);
    assert_int_equal(net_inspect(fds[0]), -ENOTSOCK);
    net_close(fds[0]);
    net_close(fds[1]);
    assert_int_equal(net_inspect(fds[0]), -EBADF);
    assert_int_equal(net_inspect(-1), -EBADF);
}

static void test_connect_datagram(void **state)
{
    (void)state;
    static const char large[2000];
    union net_addr addr = in_dir("s");
    int receiver = make_receiver(addr.un.sun_path);
    int fd = net_connect_datagram(&addr);
    assert_return_code(fd, -fd);
    expect_cloexec_and_nonblock(fd);
    assert_int_equal(net_send(fd, "one", 3), 3);
    assert_int_equal(net_send(fd, "two", 3), 3);
    expect_message(receiver, "one");
    expect_message(receiver, "two");
    ssize_t n;
    do
        n = net_send(fd, large, sizeof large);
    while (n > 0);
    assert_int_equal(n, -EAGAIN); /* nobody reads, and nobody waits */
    net_close(receiver);
    assert_int_equal(net_send(fd, "x", 1), -ECONNREFUSED);
    net_close(fd);
    remove_file(&addr);
}

static void test_connect_datagram_failures(void **state)
{
    (void)state;
    union net_addr addr = in_dir("s");
    assert_int_equal(net_connect_datagram(&addr), -ENOENT);
    make_stale(&addr, SOCK_DGRAM);
    assert_int_equal(net_connect_datagram(&addr), -ECONNREFUSED);
    int fd = net_listen(&addr, 1, 0600);
    assert_int_equal(net_connect_datagram(&addr), -EPROTOTYPE);
    fault_set(CALL_SOCKET, EMFILE, 0, 1);
    assert_int_equal(net_connect_datagram(&addr), -EMFILE);
    net_close(fd);
    remove_file(&addr);
}

static void expect_unix_format(const char *path, const char *expected)
{
    char buf[NET_ADDR_STRLEN];
    union net_addr addr;
    assert_int_equal(net_unix(path, &addr), 0);
    assert_ptr_equal(net_format(&addr, buf), buf);
    assert_string_equal(buf, expected);
}

static void test_format_unix(void **state)
{
    (void)state;
    char text[128] = "unix:/";
    expect_unix_format("/run/uvechod.socket", "unix:/run/uvechod.socket");
    expect_unix_format("relative", "unix:relative");
    expect_unix_format("@name", "unix:@name");
    memset(text + 6, 'x', 106);
    expect_unix_format(text + 5, text);
    text[5] = '@';
    expect_unix_format(text + 5, text);
    union net_addr full; /* as the kernel may give it: 107 bytes of an abstract name */
    char buf[NET_ADDR_STRLEN];
    memset(&full, 'y', sizeof full);
    full.un.sun_family = AF_UNIX;
    full.un.sun_path[0] = '\0';
    memset(text + 6, 'y', 107);
    assert_string_equal(net_format(&full, buf), text);
}

static void test_format_peer(void **state)
{
    (void)state;
    char buf[NET_ADDR_STRLEN];
    union net_peer peer = {.in = {.sin_family = AF_INET, .sin_port = htons(80)}};
    peer.in.sin_addr.s_addr = htonl(0xc0000201);
    assert_ptr_equal(net_format_peer(&peer, buf), buf);
    assert_string_equal(buf, "192.0.2.1:80");
    peer = (union net_peer){.in6 = {.sin6_family = AF_INET6, .sin6_port = htons(25000)}};
    peer.in6.sin6_addr = in6addr_loopback;
    assert_string_equal(net_format_peer(&peer, buf), "[::1]:25000");
    peer = (union net_peer){.un = {.family = AF_UNIX, .pid = 4711, .uid = 4294967294U}};
    assert_ptr_equal(net_format_peer(&peer, buf), buf);
    assert_string_equal(buf, "unix:pid=4711,uid=4294967294");
}

static sa_family_t v4 = AF_INET;
static sa_family_t v6 = AF_INET6;

#define V4_TEST(test)                                                                              \
    {                                                                                              \
#test "_v4", test, fixture_open, fixture_close, &v4                                        \
    }
#define V6_TEST(test)                                                                              \
    {                                                                                              \
#test "_v6", test, fixture_open, fixture_close, &v6                                        \
    }

#define DIR_TEST(test) cmocka_unit_test_setup_teardown(test, dir_open, dir_close)

static const struct CMUnitTest tests[] = {
    V4_TEST(test_listen),
    V6_TEST(test_listen),
    FIXTURE_TEST(test_listen_on_both_wildcards),
    V4_TEST(test_listen_in_use),
    V6_TEST(test_listen_in_use),
    FIXTURE_TEST(test_listen_not_ours),
    FIXTURE_TEST(test_listen_unknown_family),
    V4_TEST(test_listen_failures),
    V6_TEST(test_listen_failures),
    FIXTURE_TEST(test_local_failure),
    V4_TEST(test_accept),
    V6_TEST(test_accept),
    FIXTURE_TEST(test_accept_failures),
    FIXTURE_TEST(test_recv_failures),
    FIXTURE_TEST(test_send_failures),
    FIXTURE_TEST(test_interrupted_calls_are_repeated),
    FIXTURE_TEST(test_interrupted_then_nothing),
    V4_TEST(test_recv),
    V6_TEST(test_recv),
    V4_TEST(test_recvv),
    V6_TEST(test_recvv),
    cmocka_unit_test(test_pipes_of_all_sizes),
    V4_TEST(test_send_until_full),
    V6_TEST(test_send_until_full),
    V4_TEST(test_reset),
    V6_TEST(test_reset),
    FIXTURE_TEST(test_send_raises_no_signal),
    FIXTURE_TEST(test_shutdown_failures),
    FIXTURE_TEST(test_ready),
    FIXTURE_TEST(test_moved_ms),
    FIXTURE_TEST(test_dup_above),
    V4_TEST(test_ports),
    V6_TEST(test_ports),
    FIXTURE_TEST(test_format),
    FIXTURE_TEST(test_format_with_zone),
    FIXTURE_TEST(test_format_of_no_address),
    FIXTURE_TEST(test_resolve_numeric),
    FIXTURE_TEST(test_resolve_bad_name),
    FIXTURE_TEST(test_resolve_failures),
    FIXTURE_TEST(test_resolve_chooses),
    FIXTURE_TEST(test_unix_addresses),
    FIXTURE_TEST(test_abstract_addresses),
    FIXTURE_TEST(test_an_abstract_address_has_a_name),
    DIR_TEST(test_listen_unix),
    FIXTURE_TEST(test_listen_abstract),
    DIR_TEST(test_a_stale_file_is_replaced),
    DIR_TEST(test_a_live_socket_is_left_alone),
    DIR_TEST(test_a_busy_socket_is_left_alone),
    DIR_TEST(test_other_files_are_left_alone),
    DIR_TEST(test_a_symbolic_link_is_left_alone),
    DIR_TEST(test_listen_in_a_missing_directory),
    DIR_TEST(test_listen_unix_failures),
    DIR_TEST(test_a_stale_file_that_cannot_be_replaced),
    DIR_TEST(test_accept_unix),
    V4_TEST(test_remote),
    V6_TEST(test_remote),
    DIR_TEST(test_remote_with_a_path),
    FIXTURE_TEST(test_remote_failures),
    V4_TEST(test_inspect_tcp),
    V6_TEST(test_inspect_tcp),
    DIR_TEST(test_inspect_unix),
    FIXTURE_TEST(test_inspect_what_cannot_be_served),
    FIXTURE_TEST(test_inspect_no_socket),
    DIR_TEST(test_connect_datagram),
    DIR_TEST(test_connect_datagram_failures),
    FIXTURE_TEST(test_format_unix),
    FIXTURE_TEST(test_format_peer),
};

int main(void)
{
    return RUN_TESTS("net", tests);
}
