/*
 * stats.c: the list of figures, and what the log says of it.
 */
#include "server/stats.h"

#include "unit/support.h"

static const struct stats example = {
    .open = 1,
    .accepted = 2,
    .refused = 3,
    .over_source = 4,
    .bytes_in = 5,
    .bytes_out = UINT64_MAX - 1,
    .upgrades = 7,
    .accept_pauses = 8,
    .rate_pauses = 9,
    .up_s = 10,
    .limit = 11,
    .proxied = {[PROXY_CLIENT] = 1, [PROXY_ANONYMOUS] = 2, [PROXY_BAD] = 3, [PROXY_LATE] = 4},
    .datagrams = {[DATAGRAM_ANSWERED] = 10,
                  [DATAGRAM_PORT] = 11,
                  [DATAGRAM_OWN] = 12,
                  [DATAGRAM_ADDRESS] = 13,
                  [DATAGRAM_PREFIX] = 14,
                  [DATAGRAM_RATE] = 15,
                  [DATAGRAM_SIZE] = 16,
                  [DATAGRAM_FULL] = 17,
                  [DATAGRAM_FAILED] = 18},
    .workers = 2,
    .worker = {{12, 13}, {14, 15}}};

static const struct stats_row *row_of(const char *name)
{
    for (size_t i = 0; i < stats_row_count; i++)
        if (strcmp(stats_rows[i].name, name) == 0)
            return &stats_rows[i];
    fail_msg("there is no %s", name);
    return NULL;
}

static void test_lines_of_the_log(void **state)
{
    char text[512];
    (void)state;
    stats_describe(&example, STATS_MAIN, text, sizeof text);
    assert_string_equal(text,
                        "1 connections now, 2 in total; 5 bytes in, 18446744073709551614 out; 3 "
                        "refused; 8 accept pauses; 4 refused per source; 9 rate pauses; up 10 s; "
                        "7 upgrades");
    stats_describe(&example, STATS_PROXIED, text, sizeof text);
    assert_string_equal(text, "1 with a client, 2 without, 3 bad, 4 late");
    stats_describe(&example, STATS_DATAGRAMS, text, sizeof text);
    assert_string_equal(text,
                        "10 answered; dropped: 11 for the source port, 12 for a port of ours, "
                        "13 for the address, 14 for the prefix, 15 for --udp-rate, 16 too "
                        "long, 17 for lack of room, 18 refused by the kernel");
}

/* A text that is too long is cut, and ends with its NUL. */
static void test_cut(void **state)
{
    char whole[512];
    (void)state;
    stats_describe(&example, STATS_MAIN, whole, sizeof whole);
    for (size_t size = 1; size < strlen(whole) + 1; size++) {
        char text[512];
        memset(text, 'x', sizeof text);
        stats_describe(&example, STATS_MAIN, text, size);
        assert_int_equal(strlen(text), size - 1);
        assert_memory_equal(text, whole, size - 1);
    }
}

static void test_get(void **state)
{
    (void)state;
    assert_int_equal(stats_get(&example, row_of("uvechod_connections_max"), 0), 11);
    assert_int_equal(stats_get(&example, row_of("uvechod_worker_connections"), 0), 12);
    assert_int_equal(stats_get(&example, row_of("uvechod_worker_turns"), 1), 15);
    assert_true(stats_is_of_workers(row_of("uvechod_worker_turns")));
    assert_false(stats_is_of_workers(row_of("uvechod_build")));
    assert_false(stats_is_of_workers(row_of("uvechod_refused")));
}

/* What both formats of Prometheus, and promtool, ask for. */
static void test_rows_are_in_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < stats_row_count; i++) {
        const struct stats_row *row = &stats_rows[i];
        const size_t len = strlen(row->name);
        assert_true(strncmp(row->name, "uvechod_", 8) == 0 ||
                    strncmp(row->name, "process_", 8) == 0);
        assert_true(strspn(row->name, "abcdefghijklmnopqrstuvwxyz_") == len);
        assert_null(strstr(row->name, "_total"));
        assert_true(strlen(row->help) > 0 && row->help[strlen(row->help) - 1] != '.');
        if (row->unit != NULL)
            assert_string_equal(row->name + len - strlen(row->unit), row->unit);
        if (row->said != NULL)
            assert_non_null(strchr(row->said, '#'));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines_of_the_log),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_get),
        cmocka_unit_test(test_rows_are_in_order),
    };
    return RUN_TESTS("stats", tests);
}
