/*
 * udp_single.c - baseline: the bare loop, one recvfrom and one sendto per datagram, which waits in
 * recvfrom.
 *
 * usage: udp_single PORT
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>

enum { BYTES = 65536, QUEUE = 4 << 20 };

int main(int argc, char **argv)
{
    static char bytes[BYTES];
    const struct sockaddr_in addr = {.sin_family = AF_INET,
                                     .sin_port = htons((uint16_t)(argc > 1 ? atoi(argv[1]) : 7)),
                                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int queue = QUEUE;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &queue, sizeof queue);
    if (bind(fd, (const struct sockaddr *)&addr, sizeof addr) < 0)
        return 1;
    for (;;) {
        struct sockaddr_in peer;
        socklen_t len = sizeof peer;
        ssize_t n = recvfrom(fd, bytes, BYTES, 0, (struct sockaddr *)&peer, &len);
        if (n >= 0)
            (void)!sendto(fd, bytes, (size_t)n, 0, (const struct sockaddr *)&peer, len);
    }
}
