/*
 * test_echo.c - the bytes on the wire: chunks and prefixes, half-close, both address families,
 * and much data of many clients.
 */
#include "harness.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>

enum {
    MEBIBYTE = 1 << 20,
    CROWD = 500, /* clients at once */
    EXACT_MAX = 65536,
};

/* ---- chunks, to the byte ---- */

/* Fills in what a client receives that has sent len bytes at once. Returns its length. */
static size_t expected_answer(char *answer, const char *prefix, size_t chunk,
                              const unsigned char *data, size_t len)
{
    size_t at = 0;
    for (size_t done = 0; done < len;) {
        size_t part = len - done < chunk ? len - done : chunk;
        size_t prefix_len = strlen(prefix);
        memcpy(answer + at, prefix, prefix_len);
        memcpy(answer + at + prefix_len, data + done, part);
        at += prefix_len + part;
        done += part;
    }
    return at;
}

/* The daemon is frozen while len bytes arrive, so that it finds them all when it goes on. */
static void check_exact(const struct daemon *daemon, const char *prefix, size_t chunk, size_t len)
{
    static char answer[EXACT_MAX * 8];
    const unsigned char *data = pattern_get(false) + len;
    size_t answer_len = expected_answer(answer, prefix, chunk, data, len);
    daemon_freeze(daemon);
    int fd = client_connect(daemon);
    client_send(fd, data, len);
    client_wait_delivered(fd);
    daemon_signal(daemon, SIGCONT);
    client_expect(fd, answer, answer_len);
    client_leave(fd);
}

static void chunks_of_a_backlog(struct daemon *daemon)
{
    static const size_t sizes[] = {1,    2,    999,  1000, 1001,  1999,  2000, 2001,
                                   2500, 7999, 8000, 8001, 16001, 25000, 30000};
    daemon_start(daemon, NULL);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        check_exact(daemon, "GOT:", 1000, sizes[i]);
}

/* The same on a connection that was idle before. */
static void chunks_on_an_old_connection(struct daemon *daemon)
{
    static char answer[8192];
    const unsigned char *data = pattern_get(false);
    daemon_start(daemon, NULL);
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "hello");
    for (size_t len = 2500; len > 0; len -= 500) {
        size_t answer_len = expected_answer(answer, "GOT:", 1000, data, len);
        daemon_freeze(daemon);
        client_send(fd, data, len);
        client_wait_delivered(fd);
        daemon_signal(daemon, SIGCONT);
        client_expect(fd, answer, answer_len);
    }
    client_shutdown(fd);
    client_expect_end(fd);
}

struct variant {
    const char *options;
    const char *prefix;
    size_t chunk; /* 0: not limited */
    size_t len;
};

static void variants_of_chunk_and_prefix(struct daemon *daemon)
{
    static const struct variant variants[] = {
        {"--chunk=1", "GOT:", 1, 5000},
        {"--chunk=1 --prefix=x", "x", 1, 3000},
        {"--chunk=7 --prefix=->", "->", 7, 701},
        {"--chunk=999", "GOT:", 999, 2500},
        {"--chunk=65536", "GOT:", 65536, 30000},
        {"--chunk=65535 --prefix=\n", "\n", 65535, 1},
        {"--prefix=", "", 0, 30000},
        {"--prefix= --chunk=10", "", 0, 2500},
        {"--rfc862", "", 0, 30000},
        {"--rfc862 --chunk=1", "", 0, 2500},
        {"--prefix=%s%n", "%s%n", 1000, 2500},
    };
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        const struct variant *variant = &variants[i];
        daemon_start(daemon, variant->options);
        check_exact(daemon, variant->prefix, variant->chunk > 0 ? variant->chunk : variant->len,
                    variant->len);
        assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
    }
}

static void longest_prefix(struct daemon *daemon)
{
    char options[300] = "--chunk=100 --prefix=";
    char prefix[256];
    memset(prefix, 'p', 254);
    memcpy(prefix + 254, "!", 2);
    memcpy(options + strlen(options), prefix, sizeof prefix);
    daemon_start(daemon, options);
    check_exact(daemon, prefix, 100, 2550);
}

/* ---- one client ---- */

static void hello(struct daemon *daemon)
{
    daemon_start(daemon, NULL);
    int fd = client_connect(daemon);
    client_send(fd, "Hello\n", 6);
    client_shutdown(fd);
    client_expect(fd, "GOT:Hello\n", 10);
    client_expect_end(fd);
}

static void nothing_but_an_end(struct daemon *daemon)
{
    daemon_start(daemon, NULL);
    int fd = client_connect(daemon);
    client_shutdown(fd);
    client_expect_end(fd);
}

/* Everything is sent and the sending side ended before the first answer is read. */
static void half_close_is_answered_in_full(struct daemon *daemon)
{
    daemon_start(daemon, NULL);
    struct stream stream;
    stream_init(&stream, client_connect(daemon), 1, 64 * MEBIBYTE, true);
    streams_jam(&stream, 1);
    assert_true(stream.sent > 65536);
    client_shutdown(stream.fd);
    stream.shut = true;
    streams_run(&stream, 1);
    assert_true(stream.prefixes >= stream.total / STREAM_CHUNK);
}

static void single_bytes(struct daemon *daemon)
{
    daemon_start(daemon, "--rfc862");
    const unsigned char *data = pattern_get(false);
    int fd = client_connect(daemon);
    for (size_t i = 0; i < 2000; i++)
        client_send(fd, data + i, 1);
    client_expect(fd, data, 2000);
    for (size_t i = 0; i < 500; i++) {
        client_send(fd, data + i, 1);
        client_expect(fd, data + i, 1);
    }
    client_shutdown(fd);
    client_expect_end(fd);
}

/* Each byte is sent after the answer to the last one, so each is a chunk. */
static void every_byte_value(struct daemon *daemon)
{
    daemon_start(daemon, NULL);
    int fd = client_connect(daemon);
    for (unsigned value = 0; value < 256; value++) {
        char byte = (char)value;
        client_send(fd, &byte, 1);
        client_expect(fd, "GOT:", 4);
        client_expect(fd, &byte, 1);
    }
}

/* An urgent byte is part of the stream, like all others, but a chunk ends in front of it. */
static void urgent_byte(struct daemon *daemon)
{
    daemon_start(daemon, NULL);
    int fd = client_connect(daemon);
    client_send(fd, "abc", 3);
    assert_int_equal(send(fd, "!", 1, MSG_OOB | MSG_NOSIGNAL), 1);
    client_expect(fd, "GOT:abcGOT:!", 12);
    client_send(fd, "d", 1);
    client_expect(fd, "GOT:d", 5);
    daemon_assert_asleep(daemon);
    client_shutdown(fd);
    client_expect_end(fd);
}

/* ---- addresses ---- */

static void both_families(struct daemon *daemon)
{
    harness_need_ipv6();
    daemon_start(daemon, NULL);
    assert_int_equal(daemon_count(daemon, "Listening on 0.0.0.0:"), 1);
    assert_int_equal(daemon_count(daemon, "Listening on [::]:"), 1);
    int v4 = client_connect_to(daemon, "127.0.0.1");
    int v6 = client_connect_to(daemon, "::1");
    client_ping(v4, "GOT:", "four");
    client_ping(v6, "GOT:", "six");
    client_ping(v4, "GOT:", "four");
}

static void several_addresses(struct daemon *daemon)
{
    daemon_start(daemon, "--bind=127.0.0.2 --bind=127.0.0.3");
    assert_int_equal(daemon_count(daemon, "Listening on 127.0.0.2:"), 1);
    assert_int_equal(daemon_count(daemon, "Listening on 127.0.0.3:"), 1);
    client_ping(client_connect_to(daemon, "127.0.0.2"), "GOT:", "two");
    client_ping(client_connect_to(daemon, "127.0.0.3"), "GOT:", "three");
    assert_int_equal(client_try(daemon, "127.0.0.1"), -ECONNREFUSED);
}

static void addresses_of_both_families(struct daemon *daemon)
{
    harness_need_ipv6();
    daemon_start(daemon, "--bind=127.0.0.1 --bind=::1");
    client_ping(client_connect_to(daemon, "127.0.0.1"), "GOT:", "four");
    client_ping(client_connect_to(daemon, "::1"), "GOT:", "six");
    assert_int_equal(client_try(daemon, "127.0.0.2"), -ECONNREFUSED);
}

/* A socket that is for IPv6 only does not take the port of IPv4. */
static void one_family_leaves_the_other(struct daemon *daemon)
{
    harness_need_ipv6();
    daemon_start(daemon, "--bind=::");
    client_ping(client_connect_to(daemon, "::1"), "GOT:", "six");
    assert_int_equal(client_try(daemon, "127.0.0.1"), -ECONNREFUSED);
}

/* ---- much data ---- */

static void check_crowd(struct daemon *daemon, const char *options, bool prefixed)
{
    static struct stream streams[CROWD];
    daemon_start(daemon, options);
    for (unsigned i = 0; i < CROWD; i++)
        stream_init(&streams[i], client_connect(daemon), i, MEBIBYTE, prefixed);
    streams_run(streams, CROWD);
    for (size_t i = 0; i < CROWD; i++) {
        assert_int_equal(streams[i].checked, MEBIBYTE);
        if (prefixed)
            assert_true(streams[i].prefixes >= MEBIBYTE / STREAM_CHUNK);
    }
}

static void crowd_with_prefixes(struct daemon *daemon)
{
    check_crowd(daemon, NULL, true);
}

static void crowd_verbatim(struct daemon *daemon)
{
    check_crowd(daemon, "--rfc862", false);
}

/* Sends the next ping if the answer to the last one has come. Returns whether it has. */
static bool ping_pong(int fd, unsigned count)
{
    char text[20];
    char answer[20];
    if (count > 0) {
        if (!client_readable(fd, 0))
            return false;
        int len = snprintf(answer, sizeof answer, "GOT:ping %08u", count - 1);
        client_expect(fd, answer, (size_t)len);
    }
    int len = snprintf(text, sizeof text, "ping %08u", count);
    client_send(fd, text, (size_t)len);
    return true;
}

static void ping_pong_beside_bulk(struct daemon *daemon)
{
    daemon_start(daemon, NULL);
    struct stream bulk;
    stream_init(&bulk, client_connect(daemon), 2, 200 * UINT64_C(1000000), true);
    int fd = client_connect(daemon);
    unsigned sent = ping_pong(fd, 0);
    while (streams_turn(&bulk, 1) > 0)
        sent += ping_pong(fd, sent);
    print_message("[          ] %u pings were answered beside 200 MB\n", sent - 1);
    assert_true(sent > 10);
    assert_int_equal(bulk.checked, 200 * UINT64_C(1000000));
}

/* One gigabyte, or as many megabytes as UVECHOD_E2E_STREAM_MB says, which is for slow builds. */
static void gigabyte(struct daemon *daemon)
{
    const char *megabytes = getenv("UVECHOD_E2E_STREAM_MB");
    uint64_t total = UINT64_C(1) << 30;
    if (megabytes != NULL) {
        total = strtoull(megabytes, NULL, 10) * 1000000;
        print_message("[          ] reduced to %s MB\n", megabytes);
    }
    daemon_start(daemon, "--rfc862");
    struct stream stream;
    stream_init(&stream, client_connect(daemon), 3, total, false);
    streams_run(&stream, 1);
    assert_int_equal(stream.checked, total);
}

int main(void)
{
    harness_init();
    const struct CMUnitTest tests[] = {
        e2e_test(chunks_of_a_backlog),
        e2e_test(chunks_on_an_old_connection),
        e2e_test(variants_of_chunk_and_prefix),
        e2e_test(longest_prefix),
        e2e_test(hello),
        e2e_test(nothing_but_an_end),
        e2e_test(half_close_is_answered_in_full),
        e2e_test(single_bytes),
        e2e_test(every_byte_value),
        e2e_test(urgent_byte),
        e2e_test(both_families),
        e2e_test(several_addresses),
        e2e_test(addresses_of_both_families),
        e2e_test(one_family_leaves_the_other),
        e2e_test(crowd_with_prefixes),
        e2e_test(crowd_verbatim),
        e2e_test(ping_pong_beside_bulk),
        e2e_test(gigabyte),
    };
    return cmocka_run_group_tests_name("e2e.echo", tests, NULL, NULL);
}
