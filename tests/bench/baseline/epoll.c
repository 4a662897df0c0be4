/*
 * epoll.c - baseline: the bare readiness loop, one recv and one send per message, nothing else.
 *
 * Level-triggered: one recv per event needs no second one that says EAGAIN. Reading stops while
 * bytes wait to be sent, which the loop needs for bulk streams not to deadlock.
 *
 * With more threads each has an epoll of its own, and they share nothing: what a message costs more
 * then is what it costs on this machine to be served by another thread.
 *
 * With microseconds, each thread polls for so long before it sleeps.
 *
 * usage: epoll PORT [THREADS [MICROSECONDS]]
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 65536, EVENTS = 1024, FDS = 1 << 20, THREADS = 64 };

/* The bytes that the kernel has refused, by descriptor. */
static struct {
    char *bytes;
    size_t len;
    size_t sent;
} left[FDS];

static int listener;
static int epfds[THREADS];
static unsigned threads;
static int64_t busy_ns;
static _Thread_local int epfd; /* the thread's own */
static _Thread_local char buffer[BUFFER];

static void watch(int on, int op, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    epoll_ctl(on, op, fd, &event);
}

static void accept_all(void)
{
    static unsigned turn;
    int fd;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
        watch(epfds[turn++ % threads], EPOLL_CTL_ADD, fd, EPOLLIN);
}

static void keep(int fd, const char *bytes, size_t len)
{
    left[fd].bytes = malloc(len);
    memcpy(left[fd].bytes, bytes, len);
    left[fd].len = len;
    left[fd].sent = 0;
    watch(epfd, EPOLL_CTL_MOD, fd, EPOLLOUT);
}

static void send_left(int fd)
{
    ssize_t n =
        send(fd, left[fd].bytes + left[fd].sent, left[fd].len - left[fd].sent, MSG_NOSIGNAL);
    left[fd].sent += n > 0 ? (size_t)n : 0;
    if (left[fd].sent < left[fd].len)
        return;
    free(left[fd].bytes);
    watch(epfd, EPOLL_CTL_MOD, fd, EPOLLIN);
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

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int next(struct epoll_event *events)
{
    if (busy_ns > 0) {
        int64_t since = now_ns();
        do {
            int n = epoll_wait(epfd, events, EVENTS, 0);
            if (n > 0)
                return n;
        } while (now_ns() - since < busy_ns);
    }
    return epoll_wait(epfd, events, EVENTS, -1);
}

static _Noreturn void *serve(void *own)
{
    epfd = *(int *)own;
    for (;;) {
        struct epoll_event events[EVENTS];
        int n = next(events);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listener)
                accept_all();
            else if (events[i].events & EPOLLOUT)
                send_left(fd);
            else
                echo(fd);
        }
    }
}

int main(int argc, char **argv)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    listener = listen_on((uint16_t)(argc > 1 ? atoi(argv[1]) : 7));
    threads = argc > 2 ? (unsigned)atoi(argv[2]) : 1; /* at most THREADS */
    busy_ns = argc > 3 ? 1000 * (int64_t)atoi(argv[3]) : 0;
    for (unsigned i = 0; i < threads; i++)
        epfds[i] = epoll_create1(EPOLL_CLOEXEC);
    watch(epfds[0], EPOLL_CTL_ADD, listener, EPOLLIN);
    for (unsigned i = 1; i < threads; i++) {
        pthread_t thread;
        pthread_create(&thread, NULL, serve, &epfds[i]);
    }
    serve(&epfds[0]);
}
