/*
 * uv_streams_best.c - baseline: libuv's streams at their best: one static buffer for all reads,
 * uv_try_write, and a write request only for what the kernel would not take. Reading stops until
 * that is gone, which is also what a server must do for a client that does not read.
 *
 * usage: uv_streams_best PORT
 */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <uv.h>

static char buffer[65536];

static void echo_read(uv_stream_t *client, ssize_t nread, const uv_buf_t *buf);

static void alloc_buffer(uv_handle_t *handle, size_t suggested_size, uv_buf_t *buf)
{
    (void)handle;
    (void)suggested_size;
    buf->base = buffer;
    buf->len = sizeof buffer;
}

static void on_close(uv_handle_t *handle)
{
    free(handle);
}

static void on_written(uv_write_t *req, int status)
{
    uv_stream_t *client = req->handle;
    free(req);
    if (status == 0)
        uv_read_start(client, alloc_buffer, echo_read);
}

/* The bytes are in memory directly after their request. */
static void keep(uv_stream_t *client, char *bytes, size_t len)
{
    uv_write_t *req = malloc(sizeof *req + len);
    uv_buf_t left = uv_buf_init((char *)(req + 1), (unsigned)len);
    memcpy(left.base, bytes, len);
    uv_read_stop(client);
    uv_write(req, client, &left, 1, on_written);
}

static void echo_read(uv_stream_t *client, ssize_t nread, const uv_buf_t *buf)
{
    if (nread < 0)
        uv_close((uv_handle_t *)client, on_close);
    if (nread <= 0)
        return;
    uv_buf_t answer = uv_buf_init(buf->base, (unsigned)nread);
    int n = uv_try_write(client, &answer, 1);
    if (n < nread)
        keep(client, buf->base + (n > 0 ? n : 0), (size_t)(nread - (n > 0 ? n : 0)));
}

static void on_new_connection(uv_stream_t *server, int status)
{
    if (status < 0)
        return;
    uv_tcp_t *client = malloc(sizeof *client);
    uv_tcp_init(server->loop, client);
    if (uv_accept(server, (uv_stream_t *)client) == 0) {
        uv_tcp_nodelay(client, 1);
        uv_read_start((uv_stream_t *)client, alloc_buffer, echo_read);
    } else {
        uv_close((uv_handle_t *)client, on_close);
    }
}

int main(int argc, char **argv)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    uv_tcp_t server;
    struct sockaddr_in addr;
    uv_tcp_init(uv_default_loop(), &server);
    uv_ip4_addr("0.0.0.0", argc > 1 ? atoi(argv[1]) : 7, &addr);
    if (uv_tcp_bind(&server, (const struct sockaddr *)&addr, 0) < 0 ||
        uv_listen((uv_stream_t *)&server, SOMAXCONN, on_new_connection) < 0)
        return 1;
    return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
