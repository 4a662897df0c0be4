/*
 * streams.c - sends a pattern on many connections, and compares what comes back with it.
 */
#include "streams.h"

#include "harness.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

enum { STREAM_PIECE = 262144 };

/* Random bytes, none of which is lacking; -1: all values. */
static unsigned char *pattern_make(int lacking)
{
    unsigned char *pattern = malloc(PATTERN_BYTES);
    assert_non_null(pattern);
    uint64_t x = 0x9e3779b97f4a7c15;
    for (size_t i = 0; i < PATTERN_BYTES; i++) {
        x ^= x << 13; /* xorshift64 */
        x ^= x >> 7;
        x ^= x << 17;
        pattern[i] = (unsigned char)(x >> 32);
        if (pattern[i] == lacking)
            pattern[i] ^= 1;
    }
    return pattern;
}

const unsigned char *pattern_get(bool prefixed)
{
    static const unsigned char *patterns[2];
    if (patterns[prefixed] == NULL)
        patterns[prefixed] = pattern_make(prefixed ? STREAM_PREFIX[0] : -1);
    return patterns[prefixed];
}

void stream_init(struct stream *stream, int fd, unsigned seed, uint64_t total, bool prefixed)
{
    *stream = (struct stream){
        .fd = fd,
        .pattern = pattern_get(prefixed),
        .start = (size_t)(seed * UINT64_C(7919) % PATTERN_BYTES),
        .total = total,
        .prefix = STREAM_PREFIX,
        .prefix_len = prefixed ? strlen(STREAM_PREFIX) : 0,
        .chunk_max = STREAM_CHUNK,
    };
}

/* The most that one call moves. */
static size_t stream_piece(size_t most)
{
    return most > 0 && most < STREAM_PIECE ? most : STREAM_PIECE;
}

/* The data from offset on. Lowers *len to what is in one piece there. */
static const unsigned char *stream_data(const struct stream *stream, uint64_t offset, size_t *len)
{
    size_t at = (size_t)((stream->start + offset) % PATTERN_BYTES);
    if (*len > PATTERN_BYTES - at)
        *len = PATTERN_BYTES - at;
    return stream->pattern + at;
}

/* Whether the connection may have ended as errno says. */
static bool stream_breaks(struct stream *stream)
{
    if (!stream->may_break || (errno != ECONNRESET && errno != EPIPE))
        return false;
    stream->broken = true;
    stream->ended = true;
    return true;
}

size_t stream_send(struct stream *stream)
{
    uint64_t left = stream->total - stream->sent;
    size_t len = stream_piece(stream->send_max);
    len = left < len ? (size_t)left : len;
    const unsigned char *data = stream_data(stream, stream->sent, &len);
    ssize_t n = send(stream->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN && !stream_breaks(stream))
        fail_msg("send after %llu bytes: %s", (unsigned long long)stream->sent, strerror(errno));
    stream->sent += n > 0 ? (size_t)n : 0;
    return n > 0 ? (size_t)n : 0;
}

void streams_jam(struct stream *streams, size_t count)
{
    static struct pollfd ready[STREAMS_MAX];
    for (size_t i = 0; i < count; i++)
        ready[i] = (struct pollfd){.fd = streams[i].fd, .events = POLLOUT};
    while (poll(ready, count, HARNESS_LOCKED_MS) > 0)
        for (size_t i = 0; i < count; i++) {
            if (ready[i].revents != 0)
                (void)stream_send(&streams[i]);
            if (streams[i].ended)
                ready[i].fd = -1;
            if (streams[i].sent == streams[i].total)
                fail_msg("%llu bytes are taken of a client that does not read",
                         (unsigned long long)streams[i].total);
        }
    for (size_t i = 0; i < count; i++)
        streams[i].total = streams[i].sent;
}

static size_t stream_check_prefix(struct stream *stream, const unsigned char *data, size_t len)
{
    size_t n = stream->prefix_len - stream->matched;
    n = len < n ? len : n;
    assert_memory_equal(data, &stream->prefix[stream->matched], n);
    stream->matched += n;
    stream->prefixes += stream->matched == stream->prefix_len;
    return n;
}

/* Checks the bytes up to the next prefix, which are the chunk or a part of it. */
static size_t stream_check_chunk(struct stream *stream, const unsigned char *data, size_t len)
{
    const unsigned char *prefix =
        stream->prefix_len > 0 ? memchr(data, STREAM_PREFIX[0], len) : NULL;
    size_t n = prefix != NULL ? (size_t)(prefix - data) : len;
    if (n == 0) {
        assert_true(stream->chunk_len > 0);
        stream->matched = 0;
        stream->chunk_len = 0;
        return 0;
    }
    const unsigned char *expected = stream_data(stream, stream->checked, &n);
    if (stream->checked + n > stream->sent || memcmp(data, expected, n) != 0)
        fail_msg("Wrong bytes after %llu", (unsigned long long)stream->checked);
    stream->chunk_len += n;
    if (stream->prefix_len > 0)
        assert_between(stream->chunk_len, 1, stream->chunk_max);
    stream->checked += n;
    return n;
}

/* A prefix without a chunk is as wrong as a byte that is missing. */
static void stream_check_end(struct stream *stream)
{
    bool whole = stream->chunk_len > 0 || (stream->sent == 0 && stream->matched == 0);
    bool complete = stream->shut && stream->checked == stream->sent && whole;
    stream->broken = stream->may_break && !complete;
    if (!stream->may_be_cut && !stream->may_break && !complete)
        fail_msg("The end after %llu of %llu bytes", (unsigned long long)stream->checked,
                 (unsigned long long)stream->sent);
    stream->ended = true;
}

static void stream_recv(struct stream *stream)
{
    static unsigned char buf[STREAM_PIECE];
    ssize_t n = recv(stream->fd, buf, stream_piece(stream->recv_max), MSG_DONTWAIT);
    if (n < 0 && errno != EAGAIN && !stream_breaks(stream))
        fail_msg("recv after %llu bytes: %s", (unsigned long long)stream->checked, strerror(errno));
    if (n == 0)
        stream_check_end(stream);
    for (size_t done = 0, len = n > 0 ? (size_t)n : 0; done < len;)
        done += stream->matched < stream->prefix_len
                    ? stream_check_prefix(stream, buf + done, len - done)
                    : stream_check_chunk(stream, buf + done, len - done);
}

void stream_act(struct stream *stream, short revents)
{
    if ((revents & POLLOUT) != 0)
        (void)stream_send(stream);
    if (!stream->ended && !stream->shut && stream->sent == stream->total) {
        if (shutdown(stream->fd, SHUT_WR) < 0 && !stream->may_break)
            fail_msg("shutdown: %s", strerror(errno));
        stream->shut = true;
    }
    if (!stream->ended && (revents & (POLLIN | POLLHUP | POLLERR)) != 0)
        stream_recv(stream);
}

size_t streams_turn(struct stream *streams, size_t count)
{
    static struct pollfd ready[STREAMS_MAX];
    size_t running = 0;
    for (size_t i = 0; i < count; i++) {
        short out = streams[i].sent < streams[i].total || !streams[i].shut ? POLLOUT : 0;
        ready[i] = (struct pollfd){.fd = streams[i].ended ? -1 : streams[i].fd,
                                   .events = (short)(POLLIN | out)};
        running += !streams[i].ended;
    }
    if (running > 0 && poll(ready, count, HARNESS_DEADLINE_MS) <= 0)
        fail_msg("%zu streams are stalled, the first after %llu of %llu bytes", running,
                 (unsigned long long)streams[0].checked, (unsigned long long)streams[0].total);
    for (size_t i = 0; i < count; i++)
        if (!streams[i].ended && ready[i].revents != 0)
            stream_act(&streams[i], ready[i].revents);
    return running;
}

void streams_run(struct stream *streams, size_t count)
{
    while (streams_turn(streams, count) > 0)
        ;
    for (size_t i = 0; i < count; i++)
        client_close(streams[i].fd);
}

uint64_t streams_cut_short(struct stream *streams, size_t count)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < count; i++) {
        streams[i].total = streams[i].sent;
        bytes += streams[i].sent;
    }
    streams_run(streams, count);
    return bytes;
}
