/*
 * libev.c - baseline: the bare loop again, on libev: one recv and one send per message; a watcher
 * is changed only when the kernel would not take everything.
 *
 * usage: libev PORT
 */
#include <arpa/inet.h>
#include <ev.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER = 65536 };

struct client {
    ev_io io; /* first: libev hands its address to the callbacks */
    char *left;
    size_t len;
    size_t sent;
};

static char buffer[BUFFER];

static void on_readable(struct ev_loop *loop, ev_io *io, int events);

typedef void watcher_cb(struct ev_loop *loop, ev_io *io, int events);

static void rewatch(struct ev_loop *loop, struct client *client, watcher_cb *cb, int events)
{
    int fd = client->io.fd;
    ev_io_stop(loop, &client->io);
    ev_io_init(&client->io, cb, fd, events);
    ev_io_start(loop, &client->io);
}

static void on_writable(struct ev_loop *loop, ev_io *io, int events)
{
    struct client *client = (struct client *)io;
    (void)events;
    ssize_t n = send(io->fd, client->left + client->sent, client->len - client->sent, MSG_NOSIGNAL);
    client->sent += n > 0 ? (size_t)n : 0;
    if (client->sent < client->len)
        return;
    free(client->left);
    rewatch(loop, client, on_readable, EV_READ);
}

static void keep(struct ev_loop *loop, struct client *client, const char *bytes, size_t len)
{
    client->left = malloc(len);
    memcpy(client->left, bytes, len);
    client->len = len;
    client->sent = 0;
    rewatch(loop, client, on_writable, EV_WRITE);
}

static void on_readable(struct ev_loop *loop, ev_io *io, int events)
{
    (void)events;
    ssize_t n = recv(io->fd, buffer, BUFFER, 0);
    if (n <= 0) {
        ev_io_stop(loop, io);
        close(io->fd);
        free(io);
        return;
    }
    ssize_t m = send(io->fd, buffer, (size_t)n, MSG_NOSIGNAL);
    m = m > 0 ? m : 0;
    if (m < n)
        keep(loop, (struct client *)io, buffer + m, (size_t)(n - m));
}

static void on_accept(struct ev_loop *loop, ev_io *io, int events)
{
    (void)events;
    int fd;
    while ((fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct client *client = malloc(sizeof *client);
        ev_io_init(&client->io, on_readable, fd, EV_READ);
        ev_io_start(loop, &client->io);
    }
}

static int listen_on(uint16_t port)
{
    const int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(port)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (bind(fd, (const struct sockaddr *)&addr, sizeof addr) < 0 || listen(fd, SOMAXCONN) < 0)
        exit(1);
    return fd;
}

int main(int argc, char **argv)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    struct ev_loop *loop = ev_default_loop(EVBACKEND_EPOLL);
    ev_io listener;
    ev_io_init(&listener, on_accept, listen_on((uint16_t)(argc > 1 ? atoi(argv[1]) : 7)), EV_READ);
    ev_io_start(loop, &listener);
    ev_run(loop, 0);
}
