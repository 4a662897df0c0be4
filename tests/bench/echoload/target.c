#include "echoload/target.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char *target_parse_unix(struct target *target, const char *path)
{
    struct sockaddr_un *un = &target->addr.un;
    size_t len = strlen(path);
    if (len == 0 || len >= sizeof un->sun_path)
        return "the path is empty or too long";
    *un = (struct sockaddr_un){.sun_family = AF_UNIX};
    memcpy(un->sun_path, path, len + 1);
    target->addr_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + 1);
    return NULL;
}

static const char *target_resolve(struct target *target, const char *host, const char *port)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int rc = getaddrinfo(host, port, &hints, &found);
    if (rc != 0)
        return gai_strerror(rc);
    memcpy(&target->addr, found->ai_addr, found->ai_addrlen);
    target->addr_len = found->ai_addrlen;
    freeaddrinfo(found);
    return NULL;
}

const char *target_parse(struct target *target, const char *text)
{
    if (strncmp(text, "unix:", 5) == 0)
        return target_parse_unix(target, text + 5);
    const char *colon = strrchr(text, ':');
    if (colon == NULL)
        return "no port is given";
    const char *start = text;
    const char *end = colon;
    if (*start == '[' && end[-1] == ']') {
        start++;
        end--;
    }
    char host[256];
    if (end == start || (size_t)(end - start) >= sizeof host)
        return "no host is given";
    (void)snprintf(host, sizeof host, "%.*s", (int)(end - start), start);
    return target_resolve(target, host, colon + 1);
}

/*
 * Sets the source address and leaves the choice of the port to connect(2). connect(2) can use the
 * same port again for another destination or source. bind(2) cannot, so that there would be no
 * port left after 28,000 connections.
 */
static int target_bind(int fd, uint32_t source)
{
    const int on = 1;
    const struct sockaddr_in from = {.sin_family = AF_INET,
                                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK + source)};
    if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on) < 0)
        return -errno;
    return bind(fd, (const struct sockaddr *)&from, sizeof from) < 0 ? -errno : 0;
}

/*
 * On loopback the handshake is over when connect(2) returns, although it returns EINPROGRESS. A
 * second call, which says so, is cheaper than waiting for an event.
 */
static int target_start(const struct target *target, int fd, bool *connected)
{
    int rc = connect(fd, &target->addr.sa, target->addr_len);
    if (rc < 0 && errno == EINPROGRESS)
        rc = connect(fd, &target->addr.sa, target->addr_len);
    *connected = rc == 0 || errno == EISCONN;
    return *connected || errno == EALREADY ? 0 : -errno;
}

static int target_prepare(const struct target *target, int fd, uint64_t serial)
{
    const int on = 1;
    if (target->addr.sa.sa_family != AF_UNIX)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return target->sources > 0 ? target_bind(fd, (uint32_t)(serial % target->sources)) : 0;
}

int target_connect(const struct target *target, uint64_t serial, bool *connected)
{
    int fd = socket(target->addr.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int rc = target_prepare(target, fd, serial);
    if (rc == 0)
        rc = target_start(target, fd, connected);
    if (rc == 0)
        return fd;
    (void)close(fd);
    return rc;
}

int target_connect_udp(const struct target *target, uint64_t serial, int queue)
{
    int fd = socket(target->addr.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &queue, sizeof queue) < 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &queue, sizeof queue);
    int rc = target->sources > 0 ? target_bind(fd, (uint32_t)(serial % target->sources)) : 0;
    if (rc == 0 && connect(fd, &target->addr.sa, target->addr_len) < 0)
        rc = -errno;
    if (rc == 0)
        return fd;
    (void)close(fd);
    return rc;
}
