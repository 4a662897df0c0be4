#include "echoload/client.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void on_poll(uv_poll_t *poll, int status, int events);

/* A bulk stream has no messages. Each of its bytes counts as a message without a latency. */
static uint64_t client_size(const struct client *client)
{
    const struct args *args = client->traffic->args;
    return args->mode == MODE_BULK ? 1 : args->size;
}

static uint64_t client_queued(const struct client *client)
{
    return client->started * client_size(client);
}

uint64_t client_pending(const struct client *client)
{
    return client->started - client->done;
}

static void client_fail(struct client *client, const char *what, int error)
{
    char why[160];
    (void)snprintf(why, sizeof why, "%s: %s", what, strerror(-error));
    client->traffic->on_failed(client, why);
}

static void client_fail_mismatch(struct client *client, const struct mismatch *mismatch)
{
    char why[160];
    unsigned long long offset = mismatch->offset;
    if (mismatch->expected < 0)
        (void)snprintf(why, sizeof why, "byte %llu of the answer: 0x%02x is surplus", offset,
                       (unsigned)mismatch->got);
    else
        (void)snprintf(why, sizeof why, "byte %llu of the answer: expected 0x%02x, got 0x%02x",
                       offset, (unsigned)mismatch->expected, (unsigned)mismatch->got);
    client->traffic->on_failed(client, why);
}

/* Not if the events stay the same: uv_poll_start() would cost a system call all the same. */
static void client_arm(struct client *client, unsigned char events)
{
    if (client->armed == events)
        return;
    int rc = uv_poll_start(&client->poll, events, on_poll);
    client->armed = events;
    if (rc < 0)
        client_fail(client, "watching", rc);
}

static void on_close(uv_handle_t *handle)
{
    struct client *client = handle->data;
    client->traffic->on_closed(client);
}

static void client_close(struct client *client)
{
    client->open = false;
    uv_close((uv_handle_t *)&client->poll, on_close);
    (void)close(client->fd);
}

static void client_end(struct client *client)
{
    const struct linger reset = {.l_onoff = 1};
    switch (client->traffic->args->close) {
    case CLOSE_HALF:
        client->ended = true;
        if (shutdown(client->fd, SHUT_WR) < 0)
            client_fail(client, "shutdown", -errno);
        return;
    case CLOSE_RESET:
        (void)setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        break;
    case CLOSE_FULL:
    default:
        break;
    }
    client_close(client);
}

void client_end_if_done(struct client *client)
{
    bool allowed = client->traffic->ending || client->done == client->goal;
    if (allowed && client->open && client->connected && !client->ended &&
        client_pending(client) == 0)
        client_end(client);
}

/* Sends once. The rest waits for the next event, so that no stream makes the others wait. */
static void client_send(struct client *client)
{
    uint64_t queued = client_queued(client);
    if (client->sent < queued) {
        uint64_t left = queued - client->sent;
        size_t len = left < PATTERN_WINDOW ? (size_t)left : PATTERN_WINDOW;
        const char *from =
            format_pattern(&client->traffic->format, client->verifier.start + client->sent);
        ssize_t n = send(client->fd, from, len, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) {
            client_fail(client, "send", -errno);
            return;
        }
        client->sent += n > 0 ? (uint64_t)n : 0;
    }
    bool full = client->sent < queued;
    client_arm(client, full ? UV_READABLE | UV_WRITABLE : UV_READABLE);
}

/* Sends, but not while the kernel is full: an event will say when there is room again. */
static void client_flush(struct client *client)
{
    if (!(client->armed & UV_WRITABLE))
        client_send(client);
}

static void client_start(struct client *client, uint64_t target, uint64_t now)
{
    const struct args *args = client->traffic->args;
    if (args->mode == MODE_BULK) {
        client->started = target;
        return;
    }
    for (; client->started < target; client->started++)
        client->times[client->started % args->depth] = now;
}

static void client_start_due(struct client *client, uint64_t now)
{
    const struct args *args = client->traffic->args;
    uint64_t target =
        args->mode == MODE_BULK ? client->sent + PATTERN_WINDOW : client->done + args->depth;
    target = target < client->goal ? target : client->goal;
    if (target > client->started)
        client_start(client, target, now);
}

static void client_fill_at(struct client *client, uint64_t now)
{
    client_start_due(client, now);
    client_flush(client);
}

void client_fill(struct client *client)
{
    client_fill_at(client, uv_hrtime());
}

void client_push(struct client *client)
{
    if (client->started < client->goal)
        client_start(client, client->started + 1, uv_hrtime());
    client_flush(client);
}

/* The moment at which the latency of a message begins. */
static uint64_t client_due(const struct client *client, uint64_t message)
{
    const struct traffic *traffic = client->traffic;
    const struct args *args = traffic->args;
    if (args->mode == MODE_CHURN)
        return client->opened_ns;
    if (traffic->pacer.interval_ns <= 0)
        return client->times[message % args->depth];
    return pacer_due(&traffic->pacer, message * args->connections + client->index);
}

static void client_count(struct client *client, uint64_t now)
{
    struct traffic *traffic = client->traffic;
    if (traffic->args->mode == MODE_BULK) {
        client->done = client->verifier.received;
        return;
    }
    for (uint64_t size = traffic->args->size;
         (client->done + 1) * size <= client->verifier.received; client->done++) {
        uint64_t due = client_due(client, client->done);
        histogram_record(&traffic->latencies, now > due ? now - due : 0);
        traffic->messages++;
    }
}

static void client_received(struct client *client, size_t len)
{
    struct traffic *traffic = client->traffic;
    struct mismatch mismatch;
    uint64_t before = client->verifier.received;
    if (!verifier_feed(&client->verifier, &traffic->format, client->sent, traffic->buffer, len,
                       &mismatch)) {
        client_fail_mismatch(client, &mismatch);
        return;
    }
    traffic->bytes += client->verifier.received - before;
    uint64_t now = uv_hrtime();
    client_count(client, now);
    if (client_pending(client) == 0)
        traffic->on_answered(client);
    if (traffic->flowing && client->open)
        client_fill_at(client, now);
    client_end_if_done(client);
}

static void client_finished(struct client *client)
{
    char why[96];
    uint64_t missing = client->sent - client->verifier.received;
    bool may_end = client->ended || client->traffic->args->server_ends;
    if (may_end && missing == 0) {
        client_close(client);
        return;
    }
    (void)snprintf(why, sizeof why, "closed by the server, %llu of %llu bytes are missing",
                   (unsigned long long)missing, (unsigned long long)client->sent);
    client->traffic->on_failed(client, why);
}

static void client_receive(struct client *client)
{
    ssize_t n = recv(client->fd, client->traffic->buffer, CLIENT_BUFFER, 0);
    if (n > 0)
        client_received(client, (size_t)n);
    else if (n == 0)
        client_finished(client);
    else if (errno != EAGAIN)
        client_fail(client, "recv", -errno);
}

static void client_connected(struct client *client)
{
    client->connected = true;
    client_arm(client, UV_READABLE);
    client->traffic->on_connected(client);
}

static void client_check_connect(struct client *client)
{
    int error = 0;
    socklen_t len = sizeof error;
    (void)getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &len);
    if (error != 0)
        client_fail(client, "connect", -error);
    else
        client_connected(client);
}

/* The kernel has room again. */
static void client_write(struct client *client)
{
    const struct traffic *traffic = client->traffic;
    if (traffic->flowing && traffic->pacer.interval_ns <= 0)
        client_start_due(client, uv_hrtime());
    client_send(client);
    client_end_if_done(client);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct client *client = poll->data;
    if (status < 0) { /* libuv has stopped the handle; the next system call says why */
        client->armed = 0;
        events = UV_READABLE;
    }
    if (!client->connected) {
        client_check_connect(client);
        return;
    }
    if (events & UV_READABLE)
        client_receive(client);
    if (client->open && (events & UV_WRITABLE))
        client_write(client);
    else if (client->open && client->armed == 0)
        client_flush(client); /* the system call has found no error: watch again */
}

int client_open(struct client *client, uint64_t serial)
{
    struct traffic *traffic = client->traffic;
    bool connected;
    client->opened_ns = uv_hrtime();
    client->started = client->done = client->sent = 0;
    client->armed = 0;
    client->ended = client->connected = false;
    verifier_init(&client->verifier, serial);
    client->fd = target_connect(&traffic->args->target, serial, &connected);
    if (client->fd < 0)
        return client->fd;
    int rc = uv_poll_init(traffic->loop, &client->poll, client->fd);
    if (rc < 0) {
        (void)close(client->fd);
        return rc;
    }
    client->poll.data = client;
    client->open = true;
    if (connected)
        client_connected(client);
    else
        client_arm(client, UV_WRITABLE);
    return 0;
}
