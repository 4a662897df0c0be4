/*
 * complaints.c: a line a second at most, each with its reason, and nobody left uncounted.
 */
#include "server/complaints.h"

#include "unit/support.h"

#include <unistd.h>

static struct {
    struct log log;
    struct complaints complaints;
    int out;
    uint64_t now_ms;
} fix;

uint64_t __wrap_uv_hrtime(void);

uint64_t __wrap_uv_hrtime(void)
{
    return fix.now_ms * 1000000;
}

static int fixture_open(void **state)
{
    int ends[2];
    (void)state;
    memset(&fix, 0, sizeof fix);
    assert_int_equal(pipe(ends), 0);
    log_init(&fix.log, ends[1], LOG_LEVEL_WARNING);
    fix.out = ends[0];
    fix.complaints.log = &fix.log;
    fix.now_ms = UINT32_MAX - 500; /* the time wraps soon */
    return 0;
}

static int fixture_close(void **state)
{
    (void)state;
    (void)close(fix.log.fd);
    log_close(&fix.log);
    (void)close(fix.out);
    return 0;
}

static void add(enum proxy_header_kind fault)
{
    union net_peer peer = {.in = {.sin_family = AF_INET}};
    complaints_add(&fix.complaints, &peer, fault);
}

static void expect(const char *text)
{
    char line[512];
    wait_for(fix.out, POLLIN);
    ssize_t n = read(fix.out, line, sizeof line - 1);
    assert_true(n > 0);
    line[n] = '\0';
    assert_non_null(strstr(line, text));
}

static void expect_nothing(void)
{
    struct pollfd ready = {.fd = fix.out, .events = POLLIN};
    assert_int_equal(poll(&ready, 1, 0), 0);
}

static void test_a_line_a_second(void **state)
{
    (void)state;
    add(PROXY_HEADER_NONE);
    expect("1 connection reset for its PROXY header, the last from 0.0.0.0:0: there is none");
    for (int i = 0; i < 5; i++)
        add(PROXY_HEADER_LONG);
    fix.now_ms += 997;
    add(PROXY_HEADER_LONG);
    expect_nothing();
    fix.now_ms += 5;
    add(PROXY_HEADER_LATE);
    expect(
        "7 connections reset for their PROXY headers, the last from 0.0.0.0:0: it was not whole");
    fix.now_ms += 1002;
    add(PROXY_HEADER_ENDED);
    expect("1 connection reset");
}

static void test_each_reason(void **state)
{
    char *reasons[PROXY_HEADER_LATE + 1];
    (void)state;
    for (int kind = PROXY_HEADER_NONE; kind <= PROXY_HEADER_LATE; kind++) {
        char line[512];
        fix.now_ms += 2000;
        add((enum proxy_header_kind)kind);
        ssize_t n = read(fix.out, line, sizeof line - 1);
        assert_true(n > 0);
        line[n] = '\0';
        reasons[kind] = strdup(line);
        assert_non_null(reasons[kind]);
        for (int other = PROXY_HEADER_NONE; other < kind; other++)
            assert_string_not_equal(reasons[kind], reasons[other]);
    }
    for (int kind = PROXY_HEADER_NONE; kind <= PROXY_HEADER_LATE; kind++)
        free(reasons[kind]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_a_line_a_second),
        FIXTURE_TEST(test_each_reason),
    };
    return RUN_TESTS("complaints", tests);
}
