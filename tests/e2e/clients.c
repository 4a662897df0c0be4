/*
 * clients.c - what talks to the daemon: single sockets, and streams of data checked to the byte.
 */
#include "harness.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- clients ---- */

/* The daemon's address in the family of this numeric one. */
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

/* No call on it waits for ever, and no small message for the next one. */
static void client_set_up(int fd)
{
    const struct timeval deadline = {.tv_sec = HARNESS_DEADLINE_MS / 1000};
    const int on = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &deadline, sizeof deadline);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &deadline, sizeof deadline);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
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

int harness_bind_unix(const char *path, int type)
{
    struct sockaddr_un un;
    socklen_t len = client_address_unix(path, &un);
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&un, len) < 0)
        fail_msg("%s: %s", path, strerror(errno));
    return fd;
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

int harness_listen(const char *address)
{
    struct sockaddr_storage addr;
    const struct daemon any_port = {.port = 0};
    socklen_t len = client_address(&any_port, address, &addr);
    int fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, len) < 0 || listen(fd, SOMAXCONN) < 0)
        fail_msg("%s: %s", address, strerror(errno));
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

int client_try(const struct daemon *daemon, const char *address)
{
    return client_try_sized(daemon, address, false);
}

/* A connection that must come about. */
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
        if (harness_now_ms() > deadline)
            fail_msg("%d bytes are not delivered", queued);
        (void)client_readable(fd, 1);
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

bool client_readable(int fd, int timeout_ms)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    return poll(&ready, 1, timeout_ms) > 0;
}

bool client_breaks(int fd, int timeout_ms)
{
    struct pollfd broken = {.fd = fd}; /* POLLERR and POLLHUP come unasked */
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

/* ---- streams ---- */

enum { STREAM_PIECE = 262144 };

/* lacking is a byte that they do without, or -1. */
static unsigned char *pattern_make(int lacking)
{
    unsigned char *pattern = malloc(PATTERN_BYTES);
    assert_non_null(pattern);
    uint64_t x = 0x9e3779b97f4a7c15;
    for (size_t i = 0; i < PATTERN_BYTES; i++) {
        x ^= x << 13; /* xorshift64 */
        x ^= x >> 7;
        x ^= x << 17;
        pattern[i] = (unsigned char)(x >> 32);
        if (pattern[i] == lacking)
            pattern[i] ^= 1;
    }
    return pattern;
}

const unsigned char *pattern_get(bool prefixed)
{
    static const unsigned char *patterns[2];
    if (patterns[prefixed] == NULL)
        patterns[prefixed] = pattern_make(prefixed ? STREAM_PREFIX[0] : -1);
    return patterns[prefixed];
}

void stream_init(struct stream *stream, int fd, unsigned seed, uint64_t total, bool prefixed)
{
    *stream = (struct stream){
        .fd = fd,
        .pattern = pattern_get(prefixed),
        .start = (size_t)(seed * UINT64_C(7919) % PATTERN_BYTES),
        .total = total,
        .prefix_len = prefixed ? strlen(STREAM_PREFIX) : 0,
        .chunk_max = STREAM_CHUNK,
    };
}

/* The data from offset on: as much as stands in one piece, at most len. */
static const unsigned char *stream_data(const struct stream *stream, uint64_t offset, size_t *len)
{
    size_t at = (size_t)((stream->start + offset) % PATTERN_BYTES);
    if (*len > PATTERN_BYTES - at)
        *len = PATTERN_BYTES - at;
    return stream->pattern + at;
}

size_t stream_send(struct stream *stream)
{
    uint64_t left = stream->total - stream->sent;
    size_t len = left < STREAM_PIECE ? (size_t)left : STREAM_PIECE;
    const unsigned char *data = stream_data(stream, stream->sent, &len);
    ssize_t n = send(stream->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN)
        fail_msg("send after %llu bytes: %s", (unsigned long long)stream->sent, strerror(errno));
    stream->sent += n > 0 ? (size_t)n : 0;
    return n > 0 ? (size_t)n : 0;
}

void streams_jam(struct stream *streams, size_t count)
{
    static struct pollfd ready[STREAMS_MAX];
    for (size_t i = 0; i < count; i++)
        ready[i] = (struct pollfd){.fd = streams[i].fd, .events = POLLOUT};
    while (poll(ready, count, HARNESS_LOCKED_MS) > 0)
        for (size_t i = 0; i < count; i++) {
            if (ready[i].revents != 0)
                (void)stream_send(&streams[i]);
            if (streams[i].sent == streams[i].total)
                fail_msg("%llu bytes are taken of a client that does not read",
                         (unsigned long long)streams[i].total);
        }
    for (size_t i = 0; i < count; i++)
        streams[i].total = streams[i].sent;
}

static size_t stream_check_prefix(struct stream *stream, const unsigned char *data, size_t len)
{
    size_t n = stream->prefix_len - stream->matched;
    n = len < n ? len : n;
    assert_memory_equal(data, &STREAM_PREFIX[stream->matched], n);
    stream->matched += n;
    stream->prefixes += stream->matched == stream->prefix_len;
    return n;
}

/* The bytes up to the next prefix, which begin a chunk or go on in it. */
static size_t stream_check_chunk(struct stream *stream, const unsigned char *data, size_t len)
{
    const unsigned char *prefix =
        stream->prefix_len > 0 ? memchr(data, STREAM_PREFIX[0], len) : NULL;
    size_t n = prefix != NULL ? (size_t)(prefix - data) : len;
    if (n == 0) {
        assert_true(stream->chunk_len > 0);
        stream->matched = 0;
        stream->chunk_len = 0;
        return 0;
    }
    const unsigned char *expected = stream_data(stream, stream->checked, &n);
    if (stream->checked + n > stream->sent || memcmp(data, expected, n) != 0)
        fail_msg("Wrong bytes after %llu", (unsigned long long)stream->checked);
    stream->chunk_len += n;
    if (stream->prefix_len > 0)
        assert_between(stream->chunk_len, 1, stream->chunk_max);
    stream->checked += n;
    return n;
}

static void stream_check_end(struct stream *stream)
{
    if (!stream->may_be_cut && (!stream->shut || stream->checked != stream->sent))
        fail_msg("The end after %llu of %llu bytes", (unsigned long long)stream->checked,
                 (unsigned long long)stream->sent);
    stream->ended = true;
}

static void stream_recv(struct stream *stream)
{
    static unsigned char buf[STREAM_PIECE];
    ssize_t n = recv(stream->fd, buf, sizeof buf, MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN)
        fail_msg("recv after %llu bytes: %s", (unsigned long long)stream->checked, strerror(errno));
    if (n == 0)
        stream_check_end(stream);
    for (size_t done = 0, len = n > 0 ? (size_t)n : 0; done < len;)
        done += stream->matched < stream->prefix_len
                    ? stream_check_prefix(stream, buf + done, len - done)
                    : stream_check_chunk(stream, buf + done, len - done);
}

static void stream_act(struct stream *stream, short revents)
{
    if ((revents & POLLOUT) != 0)
        (void)stream_send(stream);
    if (!stream->shut && stream->sent == stream->total) {
        client_shutdown(stream->fd);
        stream->shut = true;
    }
    if ((revents & (POLLIN | POLLHUP | POLLERR)) != 0)
        stream_recv(stream);
}

size_t streams_turn(struct stream *streams, size_t count)
{
    static struct pollfd ready[STREAMS_MAX];
    size_t running = 0;
    for (size_t i = 0; i < count; i++) {
        short out = streams[i].sent < streams[i].total || !streams[i].shut ? POLLOUT : 0;
        ready[i] = (struct pollfd){.fd = streams[i].ended ? -1 : streams[i].fd,
                                   .events = (short)(POLLIN | out)};
        running += !streams[i].ended;
    }
    if (running > 0 && poll(ready, count, HARNESS_DEADLINE_MS) <= 0)
        fail_msg("%zu streams are stalled, the first after %llu of %llu bytes", running,
                 (unsigned long long)streams[0].checked, (unsigned long long)streams[0].total);
    for (size_t i = 0; i < count; i++)
        if (!streams[i].ended && ready[i].revents != 0)
            stream_act(&streams[i], ready[i].revents);
    return running;
}

void streams_run(struct stream *streams, size_t count)
{
    while (streams_turn(streams, count) > 0)
        ;
    for (size_t i = 0; i < count; i++)
        client_close(streams[i].fd);
}
