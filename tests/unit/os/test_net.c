/*
 * test_net.c - the socket calls, on real loopback connections of both families and on Unix sockets.
 * The calls are wrapped to inject every failure that accept(2), recv(2) and send(2) list.
 */
#include "unit/support.h"

#include "os/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/file.h>
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
    CALL_FCHMOD,
    CALL_OPEN,
    CALL_FLOCK,
    CALL_CONNECT,
    CALL_UNLINK,
    CALL_FSTAT,
    CALL_LSTAT,
    CALL_ACCEPT,
    CALL_RECV,
    CALL_RECVMSG,
    CALL_SEND,
};

/* Which call is to fail, and how. */
static struct {
    enum call call;
    int error;
    int skip;  /* this number of calls succeeds first */
    int times; /* then this number of calls fails */
    int count; /* calls so far */
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

/*
 * Gates, at which a test can hold up a process: there is one before and one after each call that
 * is wrapped as WRAP_GATED. The process counts them and calls a function at one of them.
 */
static struct {
    int at; /* 0: nowhere */
    int passed;
    void (*reached)(void);
} gate;

static void gate_pass(void)
{
    int error = errno;
    if (++gate.passed == gate.at)
        gate.reached();
    errno = error;
}

static int gated(int rc)
{
    gate_pass();
    return rc;
}

/* A call that fails if fault_strikes(), and calls the real function otherwise. */
#define WRAP(call, type, name, parameters, arguments)                                              \
    type __real_##name parameters;                                                                 \
    type __wrap_##name parameters;                                                                 \
    type __wrap_##name parameters                                                                  \
    {                                                                                              \
        return fault_strikes(call) ? -1 : __real_##name arguments;                                 \
    }

/* The same, with gates before and after the call. */
#define WRAP_GATED(call, name, parameters, arguments)                                              \
    int __real_##name parameters;                                                                  \
    int __wrap_##name parameters;                                                                  \
    int __wrap_##name parameters                                                                   \
    {                                                                                              \
        gate_pass();                                                                               \
        return gated(fault_strikes(call) ? -1 : __real_##name arguments);                          \
    }

WRAP(CALL_SOCKET, int, socket, (int family, int type, int protocol), (family, type, protocol))
WRAP(CALL_SETSOCKOPT, int, setsockopt,
     (int fd, int level, int option, const void *value, socklen_t len),
     (fd, level, option, value, len))
WRAP_GATED(CALL_BIND, bind, (int fd, const struct sockaddr *addr, socklen_t len), (fd, addr, len))
WRAP_GATED(CALL_CONNECT, connect, (int fd, const struct sockaddr *addr, socklen_t len),
           (fd, addr, len))
WRAP_GATED(CALL_FCHMOD, fchmod, (int fd, mode_t mode), (fd, mode))
WRAP_GATED(CALL_FLOCK, flock, (int fd, int operation), (fd, operation))
WRAP_GATED(CALL_UNLINK, unlink, (const char *path), (path))
WRAP_GATED(CALL_FSTAT, fstat, (int fd, struct stat *file), (fd, file))
WRAP_GATED(CALL_LSTAT, lstat, (const char *path, struct stat *file), (path, file))
WRAP_GATED(CALL_NONE, close, (int fd), (fd))
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
    gate_pass();
    return gated(fault_strikes(CALL_LISTEN) ? -1 : __real_listen(fd, backlog));
}

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = (flags & O_CREAT) != 0 ? va_arg(args, mode_t) : 0;
    va_end(args);
    gate_pass();
    return gated(fault_strikes(CALL_OPEN) ? -1 : __real_open(path, flags, mode));
}

static int domain; /* the family that every socket claims; 0: the real one */

static unsigned data_sent_ms; /* what TCP_INFO says of the last data; 0: the real value */
static unsigned data_received_ms;

int __real_getsockopt(int fd, int level, int option, void *value, socklen_t *len);
static bool protocol_fails; /* SO_PROTOCOL cannot be read */

int __wrap_getsockopt(int fd, int level, int option, void *value, socklen_t *len);
int __wrap_getsockopt(int fd, int level, int option, void *value, socklen_t *len)
{
    if (option == SO_PROTOCOL && protocol_fails) {
        errno = ENOBUFS;
        return -1;
    }
    int rc = __real_getsockopt(fd, level, option, value, len);
    if (rc == 0 && level == SOL_SOCKET && option == SO_DOMAIN && domain != 0)
        memcpy(value, &domain, sizeof domain);
    if (rc == 0 && level == IPPROTO_TCP && option == TCP_INFO && data_sent_ms != 0) {
        ((struct tcp_info *)value)->tcpi_last_data_sent = data_sent_ms;
        ((struct tcp_info *)value)->tcpi_last_data_recv = data_received_ms;
    }
    return rc;
}

static int pipe_bytes; /* size of a pipe that cannot be made larger; 0: the real size */

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

static int fds_before;
static char dir[32];

static int fixture_open(void **state)
{
    (void)state; /* some tests get the family here */
    fault_set(CALL_NONE, 0, 0, 0);
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

/* Listens on a free port of the loopback, in *addr. Skips the test if the family is missing. */
static int listen_on(sa_family_t family, union net_addr *addr)
{
    *addr = loopback(family);
    int fd = net_listen(addr, 16, 0, 0);
    if (family == AF_INET6 && (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL)) {
        print_message("no IPv6 on this machine\n");
        skip();
    }
    assert_return_code(fd, -fd);
    assert_int_equal(net_local(fd, addr), 0);
    return fd;
}

/* A connection, and the socket that has accepted it. */
struct link {
    int listener;
    int client;
    int server;
    union net_addr addr; /* of the listener */
    union net_peer peer; /* the client, as net_accept() returned it */
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

/* A connection stays open for the next program. */
static void expect_open_over_exec(int fd)
{
    assert_true((fcntl(fd, F_GETFD) & FD_CLOEXEC) == 0);
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
    assert_int_not_equal(socket_option(fd, SOL_SOCKET, SO_OOBINLINE), 0);
    if (family == AF_INET6)
        assert_int_not_equal(socket_option(fd, IPPROTO_IPV6, IPV6_V6ONLY), 0);
    net_close(fd);
}

/* Both sockets have one port, because the IPv6 wildcard does not include IPv4. */
static void test_listen_on_both_wildcards(void **state)
{
    (void)state;
    union net_addr probe;
    net_close(listen_on(AF_INET6, &probe)); /* skips the test if the family is missing */
    union net_addr addr6 = net_any(AF_INET6);
    int fd6 = net_listen(&addr6, 1, 0, 0);
    assert_return_code(fd6, -fd6);
    assert_int_equal(net_local(fd6, &addr6), 0);
    union net_addr addr4 = net_any(AF_INET);
    net_set_port(&addr4, net_port(&addr6));
    int fd4 = net_listen(&addr4, 1, 0, 0);
    assert_return_code(fd4, -fd4);
    net_close(fd4);
    net_close(fd6);
}

static void test_listen_in_use(void **state)
{
    union net_addr addr;
    int fd = listen_on(*(const sa_family_t *)*state, &addr);
    assert_int_equal(net_listen(&addr, 1, 0, 0), -EADDRINUSE);
    net_close(fd);
}

static void test_listen_not_ours(void **state)
{
    (void)state;
    union net_addr addr = net_any(AF_INET);
    assert_int_equal(inet_pton(AF_INET, "192.0.2.1", &addr.in.sin_addr), 1);
    assert_int_equal(net_listen(&addr, 1, 0, 0), -EADDRNOTAVAIL);
}

static void test_listen_unknown_family(void **state)
{
    (void)state;
    union net_addr addr = net_any(AF_MAX);
    assert_int_equal(net_listen(&addr, 1, 0, 0), -EAFNOSUPPORT);
}

/* Each call can fail: its error is returned, and no descriptor stays open. */
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
        {CALL_SETSOCKOPT, EOPNOTSUPP, 2},
        {CALL_SETSOCKOPT, EPERM, 3}, /* IPv6 sets one more option */
    };
    union net_addr addr;
    net_close(listen_on(family, &addr)); /* skips the test if the family is missing */
    addr = loopback(family);
    size_t count = COUNT(faults) - (family == AF_INET6 ? 0 : 1);
    for (size_t i = 0; i < count; i++) {
        fault_set(faults[i].call, faults[i].error, faults[i].skip, 1);
        assert_int_equal(net_listen(&addr, 1, 0, 0), -faults[i].error);
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
    expect_open_over_exec(link.server);
    assert_int_not_equal(socket_option(link.server, IPPROTO_TCP, TCP_NODELAY), 0);
    assert_int_not_equal(socket_option(link.server, SOL_SOCKET, SO_OOBINLINE), 0);
    assert_int_equal(net_local(link.client, &client), 0);
    assert_int_equal(link.peer.sa.sa_family, family);
    assert_memory_equal(&link.peer, &client, addr_len(&client));
    assert_int_equal(net_accept(link.listener, &link.peer), -EAGAIN);
    link_close(&link);
}

static void expect_keepalive(int fd, int idle_s, int interval_s)
{
    assert_int_equal(socket_option(fd, SOL_SOCKET, SO_KEEPALIVE), idle_s > 0);
    if (idle_s == 0)
        return;
    assert_int_equal(socket_option(fd, IPPROTO_TCP, TCP_KEEPIDLE), idle_s);
    assert_int_equal(socket_option(fd, IPPROTO_TCP, TCP_KEEPINTVL), interval_s);
    assert_int_equal(socket_option(fd, IPPROTO_TCP, TCP_KEEPCNT), NET_KEEPALIVE_PROBES);
}

/* Accepted sockets inherit keepalive from the listening socket. */
static void test_accepted_sockets_are_kept_alive(void **state)
{
    static const struct {
        unsigned asked_s;
        int idle_s;
        int interval_s;
    } times[] = {{0, 0, 0},
                 {1, 1, 1},
                 {7, 7, 1},
                 {60, 60, 15},
                 {32767, 32767, 8191},
                 {4000000000U, 32767, 8191}};
    sa_family_t family = *(const sa_family_t *)*state;
    union net_addr addr;
    net_close(listen_on(family, &addr)); /* skips the test if the family is missing */
    for (size_t i = 0; i < COUNT(times); i++) {
        union net_peer peer;
        addr = loopback(family);
        int listener = net_listen(&addr, 16, 0, times[i].asked_s);
        assert_return_code(listener, -listener);
        assert_int_equal(net_local(listener, &addr), 0);
        int client = connect_to(&addr);
        int server = net_accept(listener, &peer);
        expect_keepalive(server, times[i].idle_s, times[i].interval_s);
        assert_int_equal(net_set_keepalive(server, 0), 0);
        expect_keepalive(server, 0, 0);
        net_close(server);
        net_close(client);
        net_close(listener);
    }
}

static void test_keepalive_failures(void **state)
{
    (void)state;
    union net_addr addr;
    int fd = listen_on(AF_INET, &addr);
    for (int skip = 0; skip < 4; skip++) {
        fault_set(CALL_SETSOCKOPT, ENOPROTOOPT, skip, 1);
        assert_int_equal(net_set_keepalive(fd, 9), -ENOPROTOOPT);
    }
    fault_set(CALL_SETSOCKOPT, ENOPROTOOPT, 3, 1);
    addr = loopback(AF_INET);
    assert_int_equal(net_listen(&addr, 1, 0, 9), -ENOPROTOOPT);
    net_close(fd);
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

/* A call on one descriptor: net_accept(), net_recv(), net_recvv() or net_send(). */
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

/* Each error is returned negated after one call: after EAGAIN, the call must not be repeated. */
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

/* Three calls are interrupted by a signal. The fourth is the real one. */
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

static void test_an_error_after_an_interruption(void **state)
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
    assert_int_equal(net_send(link.server, "late", 4), 4); /* the other direction is still open */
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

/* A pipe of the usual size or more is used. A smaller pipe is closed again. */
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

/* SIGPIPE has its default action here: it would kill the test. */
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
    (void)close(fds[1]); /* an end to receive, and POLLHUP, which is always reported */
    assert_true(net_ready(fds[0], POLLIN));
    assert_true(net_ready(fds[0], 0));
    (void)close(fds[0]);
}

/* Many at once, one of which is not open. */
static void test_look(void **state)
{
    struct rlimit limit;
    int fds[2];
    (void)state;
    make_socketpair(fds);
    int closed = net_dup_above(fds[0], 0);
    net_close(closed);
    assert_int_equal(send(fds[1], "x", 1, 0), 1);
    struct pollfd list[] = {{.fd = fds[0], .events = POLLIN},
                            {.fd = fds[1], .events = POLLIN},
                            {.fd = fds[1], .events = POLLOUT},
                            {.fd = closed, .events = POLLIN}};
    assert_int_equal(net_look(list, 4), 0);
    assert_int_equal(list[0].revents, POLLIN);
    assert_int_equal(list[1].revents, 0);
    assert_int_equal(list[2].revents, POLLOUT);
    assert_int_equal(list[3].revents, POLLNVAL);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const struct rlimit few = {.rlim_cur = 3, .rlim_max = limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
    assert_int_equal(net_look(list, 4), -EINVAL);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

/* The later direction counts, less a tick of the kernel's clock. */
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

/* Of the socket, not of the descriptor. */
static void test_cookie(void **state)
{
    const sa_family_t families[] = {AF_INET, AF_INET6, AF_UNIX};
    (void)state;
    if (!sockets_have_cookies())
        skip();
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        uint64_t cookies[4] = {0};
        int fd = socket(families[i], SOCK_STREAM | SOCK_CLOEXEC, 0);
        int other = socket(families[i], SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(net_cookie(fd, &cookies[0]), 0);
        assert_int_equal(net_cookie(other, &cookies[1]), 0);
        assert_int_equal(dup2(fd, other), other);
        assert_int_equal(net_cookie(other, &cookies[2]), 0);
        assert_true(cookies[0] != 0 && cookies[0] != cookies[1] && cookies[0] == cookies[2]);
        (void)close(fd);
        (void)close(other);
        assert_int_equal(net_cookie(fd, &cookies[3]), -EBADF);
    }
}

/* What has not been sent is gone, and the peer is told by a reset. */
static void test_discard(void **state)
{
    struct link link;
    char byte;
    link_open(&link, *(const sa_family_t *)*state);
    net_discard(link.server);
    assert_int_equal(net_send(link.server, "x", 1), 1);
    net_close(link.server);
    link.server = -1;
    wait_for(link.client, POLLERR);
    ssize_t n = net_recv(link.client, &byte, 1);
    assert_int_equal(n == 1 ? net_recv(link.client, &byte, 1) : n, -ECONNRESET);
    link_close(&link);
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

/* A directory for Unix sockets. A file that is left in it fails the test. */
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

/* addr must be all zero behind its path or name, as net_unix() makes it. */
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

/* Makes the file of a socket that is closed already. */
static void make_stale(const union net_addr *addr, int type)
{
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    assert_return_code(bind(fd, &addr->sa, sizeof addr->un), errno);
    net_close(fd);
}

/* The file has the permissions that were asked for. The umask does not matter. */
static void test_listen_unix(void **state)
{
    (void)state;
    static const mode_t modes[] = {0600, 0660, 0666, 0777, 0};
    union net_addr addr = in_dir("s");
    mode_t mask = umask(0077);
    for (size_t i = 0; i < COUNT(modes); i++) {
        struct stat file;
        union net_addr local;
        int fd = net_listen(&addr, 16, modes[i], 0);
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

/* The name has exactly the given bytes, and vanishes with the socket. */
static void test_listen_abstract(void **state)
{
    (void)state;
    char name[64];
    char buf[NET_ADDR_STRLEN];
    union net_addr addr, local;
    (void)snprintf(name, sizeof name, "@uvechod-test-%ld", (long)getpid());
    assert_int_equal(net_unix(name, &addr), 0);
    for (int i = 0; i < 2; i++) {
        int fd = net_listen(&addr, 16, 0600, 0);
        assert_return_code(fd, -fd);
        assert_int_equal(net_local(fd, &local), 0);
        assert_memory_equal(&local, &addr, sizeof addr.un);
        assert_string_equal(net_format(&local, buf) + strlen("unix:"), name);
        assert_int_equal(net_listen(&addr, 16, 0600, 0), -EADDRINUSE);
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
        int fd = net_listen(&addr, 16, 0640, 0);
        assert_return_code(fd, -fd);
        assert_return_code(lstat(addr.un.sun_path, &file), errno);
        assert_int_equal(file.st_mode, S_IFSOCK | 0640);
        net_close(connect_unix(&addr));
        net_close(fd);
        remove_file(&addr);
    }
}

/* net_listen() must find the path in use, and the file must stay. */
static void check_live(const union net_addr *addr)
{
    ino_t inode = file_of(addr);
    assert_int_equal(net_listen(addr, 16, 0600, 0), -EADDRINUSE);
    assert_int_equal(file_of(addr), inode);
}

static void test_a_live_socket_is_left_alone(void **state)
{
    (void)state;
    union net_addr addr = in_dir("s");
    int fd = net_listen(&addr, 16, 0600, 0);
    assert_return_code(fd, -fd);
    check_live(&addr);
    net_close(connect_unix(&addr));
    net_close(fd);
    remove_file(&addr);
}

/* A socket with a full backlog, or with another type, is left alone as well. */
static void test_a_busy_socket_is_left_alone(void **state)
{
    (void)state;
    union net_addr addr = in_dir("s");
    int fd = net_listen(&addr, 0, 0600, 0);
    int client = connect_unix(&addr); /* a backlog of 0 holds one connection */
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
    assert_int_equal(net_listen(&addr, 16, 0666, 0), -EEXIST);
    assert_int_equal(file_of(&addr), inode);
    assert_int_equal(pread(fd, text, sizeof text, 0), 4);
    assert_string_equal(text, "text");
    struct stat file;
    assert_return_code(fstat(fd, &file), errno);
    assert_int_equal(file.st_mode, S_IFREG | 0400);
    net_close(fd);
    remove_file(&addr);
    assert_return_code(mkdir(addr.un.sun_path, 0700), errno);
    assert_int_equal(net_listen(&addr, 16, 0666, 0), -EEXIST);
    assert_return_code(rmdir(addr.un.sun_path), errno);
}

/* The target is left alone, too: a stale socket, a missing file, or the link itself. */
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
        assert_int_equal(net_listen(&addr, 16, 0666, 0), -EEXIST);
        assert_int_equal(file_of(&addr), inode);
        remove_file(&addr);
    }
    remove_file(&stale);
}

static void test_listen_in_a_missing_directory(void **state)
{
    (void)state;
    union net_addr addr = in_dir("no/s");
    assert_int_equal(net_listen(&addr, 16, 0666, 0), -ENOENT);
    addr = in_dir("s");
    net_close(net_listen(&addr, 16, 0666, 0));
    union net_addr below = in_dir("s/s");
    assert_int_equal(net_listen(&below, 16, 0666, 0), -ENOTDIR);
    remove_file(&addr);
}

/* The error is returned, and no descriptor or file is left. */
static void test_listen_unix_failures(void **state)
{
    (void)state;
    static const struct {
        enum call call;
        int error;
    } faults[] = {{CALL_SOCKET, EMFILE}, {CALL_OPEN, EROFS},   {CALL_FLOCK, ENOLCK},
                  {CALL_BIND, EACCES},   {CALL_FCHMOD, EPERM}, {CALL_LISTEN, ENOMEM}};
    union net_addr addr = in_dir("s");
    for (size_t i = 0; i < COUNT(faults); i++) {
        fault_set(faults[i].call, faults[i].error, 0, 1);
        assert_int_equal(net_listen(&addr, 1, 0600, 0), -faults[i].error);
        assert_int_equal(count_fds(), fds_before);
        assert_int_equal(access(addr.un.sun_path, F_OK), -1);
    }
}

/* Each call in the replacement of a stale file can fail: no descriptor stays open. */
static void test_a_stale_file_that_cannot_be_replaced(void **state)
{
    (void)state;
    static const struct {
        enum call call;
        int error;
        int skip;
    } faults[] = {{CALL_SOCKET, EMFILE, 1}, {CALL_SOCKET, ENFILE, 1}, {CALL_SOCKET, ENOBUFS, 1},
                  {CALL_SOCKET, ENOMEM, 1}, {CALL_UNLINK, EACCES, 0}, {CALL_BIND, EADDRINUSE, 1}};
    union net_addr addr = in_dir("s");
    for (size_t i = 0; i < COUNT(faults); i++) {
        if (access(addr.un.sun_path, F_OK) < 0)
            make_stale(&addr, SOCK_STREAM);
        fault_set(faults[i].call, faults[i].error, faults[i].skip, 1);
        assert_int_equal(net_listen(&addr, 1, 0600, 0), -faults[i].error);
        assert_true(fault.count > faults[i].skip);
        assert_int_equal(count_fds(), fds_before);
    }
}

/* The daemon that listened there has stopped, and has removed its file just now. */
static void test_a_file_that_goes_meanwhile(void **state)
{
    (void)state;
    union net_addr addr = in_dir("s");
    fault_set(CALL_BIND, EADDRINUSE, 0, 1);
    int fd = net_listen(&addr, 16, 0600, 0);
    assert_return_code(fd, -fd);
    net_close(connect_unix(&addr));
    net_close(fd);
    remove_file(&addr);
    make_stale(&addr, SOCK_STREAM);
    fault_set(CALL_UNLINK, ENOENT, 0, 1);
    assert_int_equal(net_listen(&addr, 16, 0600, 0), -EADDRINUSE); /* the second bind(2) tells */
    remove_file(&addr);
}

static const char *leaver_path;

/* What a daemon does that ends. */
static void leaver_leave(void)
{
    (void)unlinkat(AT_FDCWD, leaver_path, 0);
}

/* The same at any moment: the path is free, so that it can be listened on. */
static void test_a_file_that_goes_at_any_moment(void **state)
{
    (void)state;
    union net_addr addr = in_dir("s");
    leaver_path = addr.un.sun_path;
    gate.reached = leaver_leave;
    for (gate.at = 1;; gate.at++) {
        make_stale(&addr, SOCK_STREAM);
        gate.passed = 0;
        int fd = net_listen(&addr, 16, 0600, 0);
        assert_return_code(fd, -fd);
        bool done = gate.passed < gate.at;
        net_close(fd);
        if (access(addr.un.sun_path, F_OK) == 0)
            remove_file(&addr);
        if (done)
            break;
    }
    gate.at = 0;
}

/* An error that stays must not be taken for a rival that comes and goes. */
static void test_a_lock_that_cannot_be_looked_at(void **state)
{
    (void)state;
    static const enum call calls[] = {CALL_FSTAT, CALL_LSTAT};
    union net_addr addr = in_dir("s");
    union net_addr lock = in_dir("s.uvechod-lock");
    for (size_t i = 0; i < COUNT(calls); i++) {
        fault_set(calls[i], EACCES, 0, 1);
        assert_int_equal(net_listen(&addr, 16, 0600, 0), -EACCES);
        assert_int_equal(count_fds(), fds_before);
        remove_file(&lock);
    }
}

/* Another process that holds the lock is about to listen on the path. */
static void test_a_locked_path_is_in_use(void **state)
{
    (void)state;
    union net_addr addr = in_dir("s");
    union net_addr lock = in_dir("s.uvechod-lock");
    int fd = open(lock.un.sun_path, O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    assert_int_equal(net_listen(&addr, 1, 0600, 0), -EADDRINUSE);
    net_close(fd);
    fd = net_listen(&addr, 1, 0600,
                    0); /* a lock file without a lock is what a killed process leaves */
    assert_return_code(fd, -fd);
    assert_int_equal(access(lock.un.sun_path, F_OK), -1);
    net_close(fd);
    remove_file(&addr);
}

/* A symbolic link in the place of the lock file is not followed. */
static void test_a_lock_that_is_a_link(void **state)
{
    (void)state;
    union net_addr addr = in_dir("s");
    union net_addr lock = in_dir("s.uvechod-lock");
    assert_return_code(symlink("target", lock.un.sun_path), errno);
    assert_int_equal(net_listen(&addr, 1, 0600, 0), -ELOOP);
    remove_file(&lock);
}

static const char *link_target;
static const char *link_path;

/* Puts a link in the place of the file, if there is a file yet. */
static void put_link(void)
{
    if (unlinkat(AT_FDCWD, link_path, 0) == 0)
        assert_return_code(symlink(link_target, link_path), errno);
}

/*
 * A symbolic link that takes the place of the file just after bind(2), or later: what it points to
 * keeps its mode.
 */
static void test_a_link_in_place_of_the_file_is_not_followed(void **state)
{
    (void)state;
    union net_addr addr = in_dir("s");
    union net_addr target = in_dir("target");
    struct stat file;
    int fd = open(target.un.sun_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0400);
    link_target = target.un.sun_path;
    link_path = addr.un.sun_path;
    for (gate.at = 1;; gate.at++) {
        gate.passed = 0;
        gate.reached = put_link;
        int server = net_listen(&addr, 1, 0666, 0);
        assert_return_code(server, -server);
        assert_return_code(fstat(fd, &file), errno);
        assert_int_equal(file.st_mode & 07777, 0400);
        bool done = gate.passed < gate.at;
        net_close(server);
        remove_file(&addr);
        if (done)
            break;
    }
    gate.at = 0;
    net_close(fd);
    remove_file(&target);
}

/* ---- two processes that listen on one path ---- */

static int rival = -1; /* our end of the socket pair to the other process */

static void rival_say(char word)
{
    assert_int_equal(write(rival, &word, 1), 1);
}

static char rival_hear(void)
{
    char word;
    return read(rival, &word, 1) == 1 ? word : '\0'; /* NUL: the other process has ended */
}

/* The other process is at its gate: it says so and waits. */
static void rival_pause(void)
{
    rival_say('p');
    (void)rival_hear();
}

/*
 * What the other process does in a loop: it reads its gate, listens, says the result, and waits
 * before it closes the socket.
 */
static void rival_main(const union net_addr *addr)
{
    gate.reached = rival_pause;
    while ((gate.at = rival_hear()) != '\0') {
        gate.passed = 0;
        int fd = net_listen(addr, 16, 0600, 0);
        gate.at = 0;
        rival_say(fd >= 0 ? 'l' : fd == -EADDRINUSE ? 'u' : 'f');
        (void)rival_hear();
        if (fd >= 0)
            net_close(fd);
        rival_say('c');
    }
    _exit(0);
}

static char rival_at; /* the gate of the other process */

/* Its last word: it pauses (p), listens (l), or found the path in use (u). 0: nothing yet. */
static char rival_state;

/* Lets the other process run to its gate, or to its end. */
static void rival_go(void)
{
    rival_say(rival_state == '\0' ? rival_at : 'g');
    rival_state = rival_hear();
}

static pid_t rival_fork(const union net_addr *addr)
{
    int ends[2];
    assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), errno);
    pid_t pid = fork();
    assert_return_code(pid, errno);
    rival = ends[pid == 0];
    net_close(ends[pid != 0]);
    if (pid == 0)
        rival_main(addr);
    return pid;
}

/*
 * One order of the calls of two processes: ours go as far as our gate, then those of the other
 * process as far as its gate, then the rest of ours, then the rest of the other's. Exactly one
 * process must listen. The other must have found the path in use, and the path must lead to the
 * process that listens. Returns how many processes have reached their gates: 1 means only ours.
 */
static int check_order(const union net_addr *addr, int ours_at, char theirs_at)
{
    rival_at = theirs_at;
    rival_state = '\0';
    gate.passed = 0;
    gate.at = ours_at;
    gate.reached = rival_go;
    int fd = net_listen(addr, 16, 0600, 0);
    gate.at = 0;
    bool came = rival_state != '\0';
    if (!came)
        rival_go();
    bool paused = rival_state == 'p';
    if (paused)
        rival_go();
    assert_true(fd >= 0 ? rival_state == 'u' : fd == -EADDRINUSE && rival_state == 'l');
    int client = connect_unix(addr);
    if (fd >= 0) {
        union net_peer peer;
        net_close(net_accept(fd, &peer));
        net_close(fd);
    }
    net_close(client);
    rival_go();
    assert_int_equal(rival_state, 'c');
    return came + (came && paused);
}

static void check_orders(bool stale)
{
    union net_addr addr = in_dir("s");
    int orders = 0;
    int gates;
    int ours = 1;
    pid_t pid = rival_fork(&addr);
    do {
        char theirs = 1;
        do {
            if (stale)
                make_stale(&addr, SOCK_STREAM);
            gates = check_order(&addr, ours, theirs++);
            remove_file(&addr);
            orders++;
        } while (gates == 2);
        ours++;
    } while (gates == 1);
    net_close(rival);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    print_message("%d orders\n", orders);
    assert_true(orders > 50);
}

static void test_two_on_one_path(void **state)
{
    (void)state;
    check_orders(false);
}

static void test_two_on_a_stale_path(void **state)
{
    (void)state;
    check_orders(true);
}

static void expect_peer(const union net_peer *peer, pid_t pid)
{
    assert_int_equal(peer->sa.sa_family, AF_UNIX);
    assert_int_equal(peer->un.pid, pid);
    assert_int_equal(peer->un.uid, geteuid());
}

/* The peer is the process that has connected, not the one that asks. */
static void test_accept_unix(void **state)
{
    (void)state;
    union net_peer peer, same;
    union net_addr addr = in_dir("s");
    int fd = net_listen(&addr, 16, 0600, 0);
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
    expect_open_over_exec(server);
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

/* The client is bound to a path. Such an address is larger than a union net_peer. */
static void test_remote_with_a_path(void **state)
{
    (void)state;
    union net_peer peer;
    union net_addr addr = in_dir("server");
    union net_addr mine = in_dir("a-client-with-a-path-longer-than-28-bytes");
    int fd = net_listen(&addr, 16, 0600, 0);
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

static void test_survive_exec(void **state)
{
    (void)state;
    int fd = net_dup_above(STDIN_FILENO, 0);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    net_survive_exec(fd);
    assert_int_equal(fcntl(fd, F_GETFD), 0);
    net_close(fd);
}

static void test_piped(void **state)
{
    int out;
    int in;
    (void)state;
    assert_int_equal(net_pipe(&out, &in, 65536), 0);
    assert_int_equal(net_piped(out), 0);
    assert_int_equal(write(in, "hello", 5), 5);
    assert_int_equal(net_piped(out), 5);
    net_close(out);
    net_close(in);
    assert_int_equal(net_piped(out), -EBADF);
}

/* Sockets of another program, which has set neither option. */
static void test_inspect_tcp(void **state)
{
    sa_family_t family = *(const sa_family_t *)*state;
    union net_addr addr;
    net_close(listen_on(family, &addr)); /* skips the test if the family is missing */
    int listener = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(net_inspect(listener), -ENOTCONN);
    addr = loopback(family);
    assert_return_code(bind(listener, &addr.sa, addr_len(&addr)), errno);
    assert_return_code(listen(listener, 1), errno);
    assert_int_equal(net_local(listener, &addr), 0);
    int client = connect_to(&addr);
    assert_int_equal(net_inspect(client), NET_CONNECTED);
    assert_int_not_equal(socket_option(client, IPPROTO_TCP, TCP_NODELAY), 0);
    assert_int_not_equal(socket_option(client, SOL_SOCKET, SO_OOBINLINE), 0);
    assert_int_equal(net_inspect(listener), NET_LISTENING);
    assert_int_not_equal(socket_option(listener, IPPROTO_TCP, TCP_NODELAY), 0);
    assert_int_not_equal(socket_option(listener, SOL_SOCKET, SO_OOBINLINE), 0);
    net_close(client);
    net_close(listener);
}

/* A program passes a connection that its client has reset meanwhile. It is still a connection. */
static void test_inspect_what_was_reset(void **state)
{
    struct link link;
    union net_peer peer;
    link_open(&link, *(const sa_family_t *)*state);
    link_reset(&link);
    assert_int_equal(net_inspect(link.server), NET_CONNECTED);
    assert_int_equal(net_remote(link.server, &peer), -ENOTCONN);
    link_close(&link);
}

static void test_inspect_unix(void **state)
{
    (void)state;
    union net_addr addr = in_dir("s");
    int fds[2];
    int fd = net_listen(&addr, 16, 0600, 0);
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

/* Whatever its family, but not what ping(8) uses. */
static void test_inspect_datagrams(void **state)
{
    (void)state;
    static const int families[] = {AF_INET, AF_INET6, AF_UNIX};
    for (size_t i = 0; i < COUNT(families); i++) {
        int fd = socket(families[i], SOCK_DGRAM | SOCK_CLOEXEC, 0);
        if (fd < 0 && errno == EAFNOSUPPORT)
            continue;
        assert_return_code(fd, errno);
        assert_int_equal(net_inspect(fd), NET_DATAGRAM);
        protocol_fails = families[i] != AF_UNIX;
        assert_int_equal(net_inspect(fd), protocol_fails ? -ENOBUFS : NET_DATAGRAM);
        protocol_fails = false;
        net_close(fd);
    }
    int ping = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_ICMP);
    if (ping < 0)
        return; /* not everybody may (icmp(7), ping_group_range) */
    assert_int_equal(net_inspect(ping), -EPROTONOSUPPORT);
    net_close(ping);
}

/* Packets, connected or not, and streams of other families are refused. */
static void test_inspect_what_cannot_be_served(void **state)
{
    (void)state;
    static const struct {
        int family;
        int type;
    } kinds[] = {{AF_UNIX, SOCK_SEQPACKET}, {AF_NETLINK, SOCK_RAW}};
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
    assert_int_equal(n, -EAGAIN); /* the queue is full, and the call does not wait */
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
    int fd = net_listen(&addr, 1, 0600, 0);
    assert_int_equal(net_connect_datagram(&addr), -EPROTOTYPE);
    fault_set(CALL_SOCKET, EMFILE, 0, 1);
    assert_int_equal(net_connect_datagram(&addr), -EMFILE);
    net_close(fd);
    remove_file(&addr);
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
    FIXTURE_TEST(test_survive_exec),
    FIXTURE_TEST(test_piped),
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
    V4_TEST(test_accepted_sockets_are_kept_alive),
    V6_TEST(test_accepted_sockets_are_kept_alive),
    FIXTURE_TEST(test_keepalive_failures),
    FIXTURE_TEST(test_accept_failures),
    FIXTURE_TEST(test_recv_failures),
    FIXTURE_TEST(test_send_failures),
    FIXTURE_TEST(test_interrupted_calls_are_repeated),
    FIXTURE_TEST(test_an_error_after_an_interruption),
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
    FIXTURE_TEST(test_look),
    FIXTURE_TEST(test_moved_ms),
    FIXTURE_TEST(test_cookie),
    FIXTURE_TEST(test_dup_above),
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
    DIR_TEST(test_a_file_that_goes_meanwhile),
    DIR_TEST(test_a_file_that_goes_at_any_moment),
    DIR_TEST(test_a_lock_that_cannot_be_looked_at),
    DIR_TEST(test_a_locked_path_is_in_use),
    DIR_TEST(test_a_lock_that_is_a_link),
    DIR_TEST(test_a_link_in_place_of_the_file_is_not_followed),
    DIR_TEST(test_two_on_one_path),
    DIR_TEST(test_two_on_a_stale_path),
    DIR_TEST(test_accept_unix),
    V4_TEST(test_remote),
    V6_TEST(test_remote),
    DIR_TEST(test_remote_with_a_path),
    FIXTURE_TEST(test_remote_failures),
    V4_TEST(test_discard),
    V6_TEST(test_discard),
    V4_TEST(test_inspect_tcp),
    V6_TEST(test_inspect_tcp),
    V4_TEST(test_inspect_what_was_reset),
    V6_TEST(test_inspect_what_was_reset),
    DIR_TEST(test_inspect_unix),
    FIXTURE_TEST(test_inspect_what_cannot_be_served),
    FIXTURE_TEST(test_inspect_datagrams),
    FIXTURE_TEST(test_inspect_no_socket),
    DIR_TEST(test_connect_datagram),
    DIR_TEST(test_connect_datagram_failures),
};

int main(void)
{
    return RUN_TESTS("net", tests);
}
