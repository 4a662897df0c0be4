/*
 * epoll.c - baseline: the bare readiness loop, one recv and one send per message, nothing else.
 *
 * Level-triggered: one recv per event needs no second one that says EAGAIN. Reading stops while
 * bytes wait to be sent, which the loop needs for bulk streams not to deadlock.
 *
 * usage: epoll PORT
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER = 65536, EVENTS = 1024, FDS = 1 << 20 };

/* What the kernel would not take, by descriptor. */
static struct {
    char *bytes;
    size_t len;
    size_t sent;
} left[FDS];

static char buffer[BUFFER];
static int epfd;

static void watch(int op, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    epoll_ctl(epfd, op, fd, &event);
}

static void accept_all(int listener)
{
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
        watch(EPOLL_CTL_ADD, fd, EPOLLIN);
}

static void keep(int fd, const char *bytes, size_t len)
{
    left[fd].bytes = malloc(len);
    memcpy(left[fd].bytes, bytes, len);
    left[fd].len = len;
    left[fd].sent = 0;
    watch(EPOLL_CTL_MOD, fd, EPOLLOUT);
}

static void send_left(int fd)
{
    ssize_t n =
        send(fd, left[fd].bytes + left[fd].sent, left[fd].len - left[fd].sent, MSG_NOSIGNAL);
    left[fd].sent += n > 0 ? (size_t)n : 0;
    if (left[fd].sent < left[fd].len)
        return;
    free(left[fd].bytes);
    watch(EPOLL_CTL_MOD, fd, EPOLLIN);
}

static void echo(int fd)
{
    ssize_t n = recv(fd, buffer, BUFFER, 0);
    if (n <= 0) {
        close(fd);
        return;
    }
    ssize_t m = send(fd, buffer, (size_t)n, MSG_NOSIGNAL);
    if (m < n)
        keep(fd, buffer + (m > 0 ? m : 0), (size_t)(n - (m > 0 ? m : 0)));
}

static int listen_on(uint16_t port)
{
    const int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    const struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(port)};
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); /* accepted ones inherit it */
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
    int listener = listen_on((uint16_t)(argc > 1 ? atoi(argv[1]) : 7));
    epfd = epoll_create1(EPOLL_CLOEXEC);
    watch(EPOLL_CTL_ADD, listener, EPOLLIN);
    for (;;) {
        struct epoll_event events[EVENTS];
        int n = epoll_wait(epfd, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listener)
                accept_all(fd);
            else if (events[i].events & EPOLLOUT)
                send_left(fd);
            else
                echo(fd);
        }
    }
}
