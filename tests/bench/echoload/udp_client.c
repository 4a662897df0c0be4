#include "echoload/udp_client.h"

#include "echoload/target.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Not in the headers of older C libraries. */
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

enum {
    UDP_ROUNDS = 8,         /* calls in a row that receive on one socket */
    UDP_WINDOWS = 1 << 20,  /* places in the windows of all clients together, about */
    UDP_WINDOW_MIN = 1024,  /* more than any --depth that a queue has room for, mostly */
    UDP_WINDOW_MAX = 65536, /* a second at 65,536 datagrams/s */
};

/* A short datagram cannot say which of more datagrams than this it is. */
static size_t udp_window_limit(size_t size)
{
    return size == 1 ? 256 : UDP_WINDOW_MAX;
}

static size_t udp_window(const struct args *args)
{
    size_t window = UDP_WINDOW_MIN;
    while (window < UDP_WINDOWS / args->connections || window < 2 * args->depth)
        window *= 2;
    size_t limit = udp_window_limit(args->size);
    return window < limit ? window : limit;
}

static void udp_describe(struct udp_client *client, uint64_t number, size_t len)
{
    struct udp_traffic *traffic = client->traffic;
    if (traffic->wrong[0] == '\0')
        (void)snprintf(traffic->wrong, sizeof traffic->wrong,
                       "connection %u: a wrong answer of %zu bytes, to datagram %llu or another",
                       (unsigned)client->index, len, (unsigned long long)number);
}

static void udp_client_take(struct udp_client *client, const char *bytes, size_t len, uint64_t now)
{
    struct udp_traffic *traffic = client->traffic;
    const struct format *format = &traffic->format;
    size_t size = traffic->args->size;
    size_t prefix = format->prefix_len;
    uint64_t number = UINT64_MAX; /* none */
    bool right = len > prefix && memcmp(bytes, format->prefix, prefix) == 0;
    if (len > prefix)
        number = packet_number(bytes + prefix, len - prefix, client->sequence.next);
    right =
        right && packet_is_right(format, client->index, number, size, bytes + prefix, len - prefix);
    uint64_t sent_ns;
    uint64_t wrong = traffic->tally.wrong;
    if (sequence_answer(&client->sequence, &traffic->tally, number, right, &sent_ns)) {
        histogram_record(&traffic->latencies, now > sent_ns ? now - sent_ns : 0);
        traffic->bytes += size;
    }
    if (traffic->tally.wrong > wrong)
        udp_describe(client, number, len);
}

/*
 * The size of each datagram in a message, but for the last one; 0: it is one datagram. The kernel
 * has not been asked for anything else that could stand there.
 */
static size_t udp_segment(struct msghdr *message)
{
    const struct cmsghdr *c = CMSG_FIRSTHDR(message);
    int size = 0;
    if (c != NULL && c->cmsg_level == IPPROTO_UDP && c->cmsg_type == UDP_GRO)
        memcpy(&size, CMSG_DATA(c), sizeof size);
    return (size_t)size;
}

static void udp_client_split(struct udp_client *client, unsigned i, uint64_t now)
{
    struct udp_mail *mail = client->traffic->mail;
    size_t left = mail->in[i].msg_len;
    size_t segment = udp_segment(&mail->in[i].msg_hdr);
    const char *bytes = mail->slot[i];
    do {
        size_t len = segment > 0 && segment < left ? segment : left;
        udp_client_take(client, bytes, len, now);
        bytes += len;
        left -= len;
    } while (left > 0);
}

/* Returns how many messages, or a negative errno. */
static int udp_client_receive(struct udp_client *client)
{
    struct udp_mail *mail = client->traffic->mail;
    for (unsigned i = 0; i < UDP_BATCH; i++) {
        mail->in_iov[i] = (struct iovec){.iov_base = mail->slot[i], .iov_len = UDP_SLOT};
        mail->in[i].msg_hdr = (struct msghdr){.msg_iov = &mail->in_iov[i],
                                              .msg_iovlen = 1,
                                              .msg_control = mail->in_control[i],
                                              .msg_controllen = UDP_CONTROL};
    }
    int n = recvmmsg(client->fd, mail->in, UDP_BATCH, MSG_DONTWAIT, NULL);
    if (n < 0)
        return -errno;
    uint64_t now = uv_hrtime();
    for (unsigned i = 0; i < (unsigned)n; i++)
        udp_client_split(client, i, now);
    return n;
}

/* An error that belongs to a datagram, which is lost, not to the socket. */
static bool udp_is_reported(int error)
{
    return error == -ECONNREFUSED || error == -EHOSTUNREACH || error == -ENETUNREACH;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct udp_client *client = poll->data;
    struct udp_traffic *traffic = client->traffic;
    int n = UDP_BATCH;
    (void)events;
    if (status < 0) /* the socket has an error, which the next call returns; libuv has stopped */
        (void)uv_poll_start(poll, UV_READABLE, on_readable);
    for (int round = 0; round < UDP_ROUNDS && n == UDP_BATCH; round++) {
        n = udp_client_receive(client);
        if (traffic->flowing)
            udp_client_fill(client);
    }
    if (udp_is_reported(n))
        traffic->refused = n;
    else if (n < 0 && n != -EAGAIN && n != -EINTR)
        traffic->on_failed(client, "receive", n);
    traffic->on_answers(client);
}

static void udp_set_segment(struct msghdr *message, char *control, size_t size)
{
    uint16_t segment = (uint16_t)size;
    message->msg_control = control;
    message->msg_controllen = CMSG_SPACE(sizeof segment);
    struct cmsghdr *c = CMSG_FIRSTHDR(message);
    *c = (struct cmsghdr){
        .cmsg_len = CMSG_LEN(sizeof segment), .cmsg_level = IPPROTO_UDP, .cmsg_type = UDP_SEGMENT};
    memcpy(CMSG_DATA(c), &segment, sizeof segment);
}

/* Makes message i of count datagrams from this number on. */
static void udp_client_put(struct udp_client *client, unsigned i, uint64_t number, uint64_t count)
{
    const struct udp_traffic *traffic = client->traffic;
    struct udp_mail *mail = traffic->mail;
    size_t size = traffic->args->size;
    size_t header = size < PACKET_HEADER ? size : PACKET_HEADER;
    struct iovec *iov = mail->out_iov[i];
    for (uint64_t k = 0; k < count; k++) {
        const char *body = packet_body(&traffic->format, client->index, number + k);
        packet_header(mail->out_header[i][k], client->index, number + k);
        *iov++ = (struct iovec){.iov_base = mail->out_header[i][k], .iov_len = header};
        *iov++ = (struct iovec){.iov_base = (void *)(uintptr_t)body, .iov_len = size - header};
    }
    const unsigned short iovs = (unsigned short)(2 * count); /* fits any type of a length */
    mail->out_count[i] = count;
    mail->out[i].msg_hdr = (struct msghdr){.msg_iov = mail->out_iov[i], .msg_iovlen = iovs};
    if (count > 1)
        udp_set_segment(&mail->out[i].msg_hdr, mail->out_control[i], size);
}

static uint64_t udp_joined(const struct args *args)
{
    uint64_t fit = UDP_JOINED / args->size;
    if (!args->gso || fit < 2)
        return 1;
    return fit < UDP_SEGMENTS ? fit : UDP_SEGMENTS;
}

/* Returns how many messages hold the next count datagrams, or as many of them as one call takes. */
static unsigned udp_client_prepare(struct udp_client *client, uint64_t count)
{
    uint64_t joined = udp_joined(client->traffic->args);
    uint64_t number = client->sequence.next;
    unsigned i = 0;
    for (; i < UDP_BATCH && count > 0; i++) {
        uint64_t part = count < joined ? count : joined;
        udp_client_put(client, i, number, part);
        number += part;
        count -= part;
    }
    return i;
}

/* Sends count datagrams, as long as the kernel has room for them. */
static void udp_client_send(struct udp_client *client, uint64_t count, uint64_t ns)
{
    struct udp_traffic *traffic = client->traffic;
    while (count > 0) {
        unsigned messages = udp_client_prepare(client, count);
        int n = sendmmsg(client->fd, traffic->mail->out, messages, MSG_DONTWAIT);
        int error = n < 0 ? -errno : 0;
        if (udp_is_reported(error)) { /* of an earlier one; the error is gone now */
            traffic->refused = error;
            return;
        }
        if (error < 0 && error != -EAGAIN && error != -ENOBUFS && error != -EINTR)
            traffic->on_failed(client, "send", error);
        if (n <= 0)
            return;
        for (int i = 0; i < n; i++) {
            for (uint64_t k = 0; k < traffic->mail->out_count[i]; k++)
                sequence_send(&client->sequence, &traffic->tally, ns);
            count -= traffic->mail->out_count[i];
        }
    }
}

static uint64_t udp_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

void udp_client_fill(struct udp_client *client)
{
    const struct sequence *sequence = &client->sequence;
    uint64_t depth = client->traffic->args->depth;
    if (sequence->pending >= depth || sequence->next >= client->goal)
        return;
    uint64_t count = udp_min(depth - sequence->pending, client->goal - sequence->next);
    udp_client_send(client, count, uv_hrtime());
}

void udp_client_push(struct udp_client *client, uint64_t due_ns)
{
    if (client->sequence.next < client->goal)
        udp_client_send(client, 1, due_ns);
}

void udp_client_expire(struct udp_client *client, uint64_t ns)
{
    sequence_expire(&client->sequence, &client->traffic->tally, ns);
}

int udp_client_open(struct udp_client *client)
{
    const struct args *args = client->traffic->args;
    const int on = 1;
    client->fd = target_connect_udp(&args->target, client->index, UDP_QUEUE);
    if (client->fd < 0)
        return client->fd;
    if (args->gso && setsockopt(client->fd, IPPROTO_UDP, UDP_GRO, &on, sizeof on) < 0)
        return -errno;
    int rc = sequence_init(&client->sequence, udp_window(args));
    if (rc == 0)
        rc = uv_poll_init(client->traffic->loop, &client->poll, client->fd);
    if (rc < 0)
        return rc;
    client->poll.data = client;
    return uv_poll_start(&client->poll, UV_READABLE, on_readable);
}

void udp_client_close(struct udp_client *client)
{
    if (client->fd >= 0)
        (void)close(client->fd);
    client->fd = -1;
    sequence_free(&client->sequence);
}
