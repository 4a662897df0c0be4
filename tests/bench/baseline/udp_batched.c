/*
 * udp_batched.c - baseline: the bare batched loop, recvmmsg and sendmmsg of 32 datagrams at most,
 * and epoll.
 *
 * usage: udp_batched PORT
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

enum { BATCH = 32, ROUNDS = 64, BYTES = 65536, QUEUE = 4 << 20 };

static char slots[BATCH][BYTES];
static struct sockaddr_in peers[BATCH];
static struct iovec iovs[BATCH];
static struct mmsghdr messages[BATCH];

static int receive(int fd)
{
    for (int i = 0; i < BATCH; i++) {
        iovs[i] = (struct iovec){.iov_base = slots[i], .iov_len = BYTES};
        messages[i].msg_hdr = (struct msghdr){.msg_name = &peers[i],
                                              .msg_namelen = sizeof peers[i],
                                              .msg_iov = &iovs[i],
                                              .msg_iovlen = 1};
    }
    return recvmmsg(fd, messages, BATCH, 0, NULL);
}

static void answer(int fd, int n)
{
    for (int i = 0; i < n; i++)
        iovs[i].iov_len = messages[i].msg_len;
    for (int sent = 0; sent < n;) {
        int rc = sendmmsg(fd, messages + sent, (unsigned)(n - sent), 0);
        sent += rc > 0 ? rc : 1; /* what cannot be sent is left out */
    }
}

int main(int argc, char **argv)
{
    const struct sockaddr_in addr = {.sin_family = AF_INET,
                                     .sin_port = htons((uint16_t)(argc > 1 ? atoi(argv[1]) : 7)),
                                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int queue = QUEUE;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int epfd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &queue, sizeof queue);
    if (bind(fd, (const struct sockaddr *)&addr, sizeof addr) < 0)
        return 1;
    epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event);
    for (;;) {
        epoll_wait(epfd, &event, 1, -1);
        int n = BATCH;
        for (int round = 0; round < ROUNDS && n == BATCH; round++)
            answer(fd, n = receive(fd));
    }
}
