/*
 * clients.c - sockets that talk to the daemon, and sockets to listen on.
 */
#include "clients.h"

#include "harness.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- addresses ---- */

/* This numeric address with the daemon's port. Returns its length. */
static socklen_t client_address(const struct daemon *daemon, const char *address,
                                struct sockaddr_storage *addr)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST};
    struct addrinfo *found = NULL;
    char port[8];
    (void)snprintf(port, sizeof port, "%u", (unsigned)daemon->port);
    assert_int_equal(getaddrinfo(address, port, &hints, &found), 0);
    socklen_t len = found->ai_addrlen;
    memcpy(addr, found->ai_addr, len);
    freeaddrinfo(found);
    return len;
}

/* A socket at a free port of this numeric address, which it fills in. Returns it, or -1. */
static int address_bind(const char *address, struct sockaddr_storage *addr)
{
    const struct daemon any_port = {.port = 0};
    socklen_t len = client_address(&any_port, address, addr);
    int fd = socket(addr->ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && (bind(fd, (struct sockaddr *)addr, len) < 0 ||
                    getsockname(fd, (struct sockaddr *)addr, &len) < 0)) {
        int error = errno;
        (void)close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

bool harness_has_address(const char *address)
{
    struct sockaddr_storage addr;
    int fd = address_bind(address, &addr);
    if (fd >= 0)
        (void)close(fd);
    return fd >= 0;
}

void harness_need_ipv6(void)
{
    if (!harness_has_address("::1"))
        harness_skip("this machine has no IPv6");
}

/*
 * Of ports from which the kernel does not choose (net.ipv4.ip_local_port_range begins at 32768), so
 * that the kernel does not give the port to a test that runs at the same time. Each process begins
 * elsewhere, for the same reason.
 */
uint16_t harness_free_port(void)
{
    enum { FIRST = 10000, PORTS = 14000, APART = 16 };
    static unsigned tried;
    while (tried < PORTS) {
        unsigned port = FIRST + ((unsigned)getpid() * APART + tried++) % PORTS;
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_true(fd >= 0);
        bool is_free = bind(fd, (const struct sockaddr *)&in, sizeof in) == 0;
        (void)close(fd);
        if (is_free)
            return (uint16_t)port;
    }
    fail_msg("There is no free port");
    return 0;
}

int harness_listen(const char *address)
{
    struct sockaddr_storage addr;
    int fd = address_bind(address, &addr);
    if (fd < 0 || listen(fd, SOMAXCONN) < 0)
        fail_msg("%s: %s", address, strerror(errno));
    return fd;
}

/* Returns the length of the address. */
static socklen_t client_address_unix(const char *path, struct sockaddr_un *un)
{
    size_t len = strlen(path);
    assert_between(len, 1, sizeof un->sun_path - 1);
    *un = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(un->sun_path, path, len);
    if (path[0] == '@')
        un->sun_path[0] = '\0';
    else
        len++;
    return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

int harness_bind_unix(const char *path, int type)
{
    struct sockaddr_un un;
    socklen_t len = client_address_unix(path, &un);
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&un, len) < 0)
        fail_msg("%s: %s", path, strerror(errno));
    return fd;
}

/* ---- connecting ---- */

/* No call on the socket waits for ever, and no small message is held back for the next one. */
static void client_set_up(int fd)
{
    const struct timeval deadline = {.tv_sec = HARNESS_DEADLINE_MS / 1000};
    const int on = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &deadline, sizeof deadline);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

int client_try_unix(const char *path)
{
    struct sockaddr_un un;
    socklen_t len = client_address_unix(path, &un);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        fail_msg("socket: %s", strerror(errno));
    client_set_up(fd);
    if (connect(fd, (struct sockaddr *)&un, len) == 0)
        return fd;
    int error = errno;
    (void)close(fd);
    return -error;
}

int client_connect_like(int listening)
{
    struct sockaddr_storage addr;
    socklen_t len = sizeof addr;
    assert_int_equal(getsockname(listening, (struct sockaddr *)&addr, &len), 0);
    int fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        fail_msg("socket: %s", strerror(errno));
    client_set_up(fd);
    if (connect(fd, (struct sockaddr *)&addr, len) < 0)
        fail_msg("connect: %s", strerror(errno));
    return fd;
}

static int client_try_sized(const struct daemon *daemon, const char *address, bool small)
{
    struct sockaddr_storage addr;
    socklen_t len = client_address(daemon, address, &addr);
    int fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        fail_msg("socket: %s", strerror(errno));
    client_set_up(fd);
    if (small) {
        const int receive = 4096;
        const int send = 65536 * 4; /* with much less the kernel waits between its segments */
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive, sizeof receive);
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send, sizeof send);
    }
    if (connect(fd, (struct sockaddr *)&addr, len) == 0)
        return fd;
    int error = errno;
    (void)close(fd);
    return -error;
}

int client_connect_from(const struct daemon *daemon, const char *source)
{
    struct sockaddr_storage addr;
    struct sockaddr_in from = {.sin_family = AF_INET};
    socklen_t len = client_address(daemon, "127.0.0.1", &addr);
    assert_int_equal(inet_pton(AF_INET, source, &from.sin_addr), 1);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        fail_msg("socket: %s", strerror(errno));
    client_set_up(fd);
    if (bind(fd, (struct sockaddr *)&from, sizeof from) < 0 ||
        connect(fd, (struct sockaddr *)&addr, len) < 0)
        fail_msg("from %s: %s", source, strerror(errno));
    return fd;
}

int client_try(const struct daemon *daemon, const char *address)
{
    return client_try_sized(daemon, address, false);
}

/* Fails the test unless fd is a connection. */
static int client_must(int fd)
{
    if (fd < 0)
        fail_msg("connect: %s", strerror(-fd));
    return fd;
}

int client_connect_to(const struct daemon *daemon, const char *address)
{
    return client_must(client_try(daemon, address));
}

int client_connect(const struct daemon *daemon)
{
    return client_connect_to(daemon, "127.0.0.1");
}

int client_connect_unix(const char *path)
{
    return client_must(client_try_unix(path));
}

int client_connect_small(const struct daemon *daemon)
{
    return client_must(client_try_sized(daemon, "127.0.0.1", true));
}

/* ---- talking ---- */

void client_send(int fd, const void *data, size_t len)
{
    const char *at = data;
    while (len > 0) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
        if (n <= 0)
            fail_msg("send: %s", strerror(errno));
        at += n;
        len -= (size_t)n;
    }
}

void client_wait_delivered(int fd)
{
    uint64_t deadline = harness_now_ms() + HARNESS_DEADLINE_MS / 4;
    int queued = 1;
    while (ioctl(fd, SIOCOUTQ, &queued) == 0 && queued > 0) {
        if (client_breaks(fd, 1))
            return;
        if (harness_now_ms() > deadline)
            fail_msg("%d bytes are not delivered", queued);
    }
    assert_int_equal(queued, 0);
}

void client_expect(int fd, const void *data, size_t len)
{
    const char *expected = data;
    char buf[65536];
    for (size_t done = 0; done < len;) {
        size_t part = len - done < sizeof buf ? len - done : sizeof buf;
        ssize_t n = recv(fd, buf, part, 0);
        if (n <= 0)
            fail_msg("%s after %zu of %zu bytes", n < 0 ? strerror(errno) : "End of the stream",
                     done, len);
        assert_memory_equal(buf, expected + done, (size_t)n);
        done += (size_t)n;
    }
}

void client_ping(int fd, const char *prefix, const char *text)
{
    client_send(fd, text, strlen(text));
    client_expect(fd, prefix, strlen(prefix));
    client_expect(fd, text, strlen(text));
}

void client_leave(int fd)
{
    client_shutdown(fd);
    client_expect_end(fd);
    client_close(fd);
}

void client_visit(const struct daemon *daemon)
{
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "hello");
    client_close(fd);
}

bool client_readable(int fd, int timeout_ms)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    return poll(&ready, 1, timeout_ms) > 0;
}

bool client_breaks(int fd, int timeout_ms)
{
    struct pollfd broken = {.fd = fd}; /* POLLERR and POLLHUP need not be asked for */
    return poll(&broken, 1, timeout_ms) > 0;
}

void client_expect_end(int fd)
{
    char byte;
    ssize_t n = recv(fd, &byte, 1, 0);
    if (n != 0)
        fail_msg("%s instead of the end of the stream", n < 0 ? strerror(errno) : "A byte");
}

void client_shutdown(int fd)
{
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
}

void client_close(int fd)
{
    (void)close(fd);
}

void client_reset(int fd)
{
    const struct linger now = {.l_onoff = 1};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    (void)close(fd);
}

const char *client_name(int fd, char buf[static 80])
{
    struct sockaddr_storage addr;
    socklen_t len = sizeof addr;
    char host[64];
    char port[8];
    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    assert_int_equal(getnameinfo((struct sockaddr *)&addr, len, host, sizeof host, port,
                                 sizeof port, NI_NUMERICHOST | NI_NUMERICSERV),
                     0);
    bool in6 = addr.ss_family == AF_INET6;
    (void)snprintf(buf, 80, "%s%s%s:%s", in6 ? "[" : "", host, in6 ? "]" : "", port);
    return buf;
}
