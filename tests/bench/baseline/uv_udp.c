/*
 * uv_udp.c - baseline: libuv's uv_udp at its best, with UV_UDP_RECVMMSG and uv_udp_try_send; with a
 * second argument as libuv's guide teaches it, with a buffer and a request for each datagram.
 *
 * usage: uv_udp PORT [guide]
 */
#include <stdlib.h>
#include <sys/socket.h>
#include <uv.h>

enum { BATCH = 32, BYTES = 65536, QUEUE = 4 << 20 };

static char slots[BATCH * BYTES];

static void give_all(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)handle;
    (void)suggested;
    *buf = uv_buf_init(slots, sizeof slots);
}

static void on_batched(uv_udp_t *udp, ssize_t n, const uv_buf_t *buf, const struct sockaddr *peer,
                       unsigned flags)
{
    (void)flags;
    uv_buf_t answer = uv_buf_init(buf->base, (unsigned)(n > 0 ? n : 0));
    if (n >= 0 && peer != NULL)
        (void)uv_udp_try_send(udp, &answer, 1, peer);
}

static void give_one(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)handle;
    *buf = uv_buf_init(malloc(suggested), (unsigned)suggested);
}

static void on_sent(uv_udp_send_t *request, int status)
{
    (void)status;
    free(request->data);
    free(request);
}

static void on_one(uv_udp_t *udp, ssize_t n, const uv_buf_t *buf, const struct sockaddr *peer,
                   unsigned flags)
{
    (void)flags;
    if (n < 0 || peer == NULL) {
        free(buf->base);
        return;
    }
    uv_udp_send_t *request = malloc(sizeof *request);
    uv_buf_t answer = uv_buf_init(buf->base, (unsigned)n);
    request->data = buf->base;
    if (uv_udp_send(request, udp, &answer, 1, peer, on_sent) < 0)
        on_sent(request, 0);
}

int main(int argc, char **argv)
{
    const int queue = QUEUE;
    uv_loop_t *loop = uv_default_loop();
    uv_udp_t udp;
    struct sockaddr_in addr;
    uv_os_fd_t fd;
    int guide = argc > 2;
    uv_ip4_addr("127.0.0.1", argc > 1 ? atoi(argv[1]) : 7, &addr);
    uv_udp_init_ex(loop, &udp, AF_INET | (guide ? 0 : UV_UDP_RECVMMSG));
    if (uv_udp_bind(&udp, (const struct sockaddr *)&addr, 0) < 0)
        return 1;
    uv_fileno((const uv_handle_t *)&udp, &fd);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &queue, sizeof queue);
    uv_udp_recv_start(&udp, guide ? give_one : give_all, guide ? on_one : on_batched);
    return uv_run(loop, UV_RUN_DEFAULT);
}
