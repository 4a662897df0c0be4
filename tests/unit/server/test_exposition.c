/*
 * exposition.c: the texts for programs, and which of them a reader asks for.
 */
#include "server/exposition.h"

#include "unit/support.h"

#include <stdlib.h>

static struct stats example(void)
{
    return (struct stats){.open = 1,
                          .accepted = 2,
                          .bytes_in = 3,
                          .version = "1.2.3",
                          .workers = 2,
                          .worker = {{4, 5}, {6, 7}},
                          .process = {.cpu_us = 12000034, .open_fds = 8, .max_fds = 9}};
}

/* Returns the text, which the caller frees. */
static char *written(enum exposition_format format, const struct stats *stats)
{
    char *text;
    size_t len;
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    exposition_write(out, format, stats);
    assert_int_equal(fclose(out), 0);
    assert_int_equal(strlen(text), len);
    return text;
}

static void expect_part(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("no '%s' in '%s'", part, text);
}

static void test_text(void **state)
{
    const struct stats stats = example();
    (void)state;
    char *text = written(EXPOSITION_TEXT, &stats);
    expect_part(text, "# HELP uvechod_connections Connections that are open now.\n"
                      "# TYPE uvechod_connections gauge\n"
                      "uvechod_connections 1\n");
    expect_part(text, "\n# TYPE uvechod_received_bytes_total counter\n"
                      "uvechod_received_bytes_total 3\n");
    expect_part(text, "\n# TYPE uvechod_worker_turns_total counter\n"
                      "uvechod_worker_turns_total{worker=\"0\"} 5\n"
                      "uvechod_worker_turns_total{worker=\"1\"} 7\n");
    expect_part(text, "\n# TYPE uvechod_build_info gauge\n"
                      "uvechod_build_info{version=\"1.2.3\"} 1\n");
    expect_part(text, "\nprocess_cpu_seconds_total 12.000034\n");
    assert_null(strstr(text, "# UNIT"));
    assert_null(strstr(text, "# EOF"));
    free(text);
}

static void test_openmetrics(void **state)
{
    const struct stats stats = example();
    (void)state;
    char *text = written(EXPOSITION_OPENMETRICS, &stats);
    expect_part(text, "\n# TYPE uvechod_received_bytes counter\n"
                      "# UNIT uvechod_received_bytes bytes\n"
                      "uvechod_received_bytes_total 3\n");
    expect_part(text, "\n# TYPE uvechod_build info\nuvechod_build_info{version=\"1.2.3\"} 1\n");
    assert_string_equal(text + strlen(text) - 7, "\n# EOF\n");
    free(text);
}

static void test_json(void **state)
{
    const struct stats stats = example();
    (void)state;
    char *text = written(EXPOSITION_JSON, &stats);
    expect_part(text, "{\"uvechod_connections\":1,\"uvechod_connections_accepted_total\":2,");
    expect_part(text, ",\"uvechod_worker_connections\":[4,6],\"uvechod_worker_turns_total\":[5,7],"
                      "\"uvechod_build_info\":{\"version\":\"1.2.3\"},"
                      "\"process_cpu_seconds_total\":12.000034,");
    assert_string_equal(text + strlen(text) - 2, "}\n");
    free(text);
}

/* What the kernel does not tell is in none of the formats, not even its name. */
static void test_unknown(void **state)
{
    struct stats stats = example();
    (void)state;
    stats.process.open_fds = STATS_UNKNOWN;
    for (int format = EXPOSITION_TEXT; format <= EXPOSITION_JSON; format++) {
        char *text = written((enum exposition_format)format, &stats);
        expect_part(text, "process_max_fds");
        assert_null(strstr(text, "process_open_fds"));
        free(text);
    }
}

static void test_choice(void **state)
{
    static const struct {
        const char *accept;
        enum exposition_format format;
    } cases[] = {
        {NULL, EXPOSITION_TEXT},
        {"", EXPOSITION_TEXT},
        {"*/*", EXPOSITION_TEXT},
        {"text/plain", EXPOSITION_TEXT},
        {"application/openmetrics-text", EXPOSITION_OPENMETRICS},
        {"Application/OpenMetrics-Text ; version=1.0.0; charset=utf-8", EXPOSITION_OPENMETRICS},
        {"application/openmetrics-text;version=0.0.1", EXPOSITION_TEXT},
        {"application/openmetrics-textual", EXPOSITION_TEXT},
        {"application/openmetrics-text;q=0", EXPOSITION_TEXT},
        {"application/openmetrics-text;q=x", EXPOSITION_TEXT},
        {"application/openmetrics-text;q=0.3, text/plain;q=0.4", EXPOSITION_TEXT},
        {"application/openmetrics-text;q=0.25, text/*;q=0.2", EXPOSITION_OPENMETRICS},
        {"application/openmetrics-text;q=0.123456, text/*;q=0.1239", EXPOSITION_OPENMETRICS},
        {"text/plain;q=1.0,\tapplication/openmetrics-text; q=1", EXPOSITION_OPENMETRICS},
        {"application/openmetrics-text;nothing;q=0.1, text/plain;q=0.2", EXPOSITION_TEXT},
        {" ,;=, ", EXPOSITION_TEXT},
        /* Prometheus 2.42 */
        {"application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;"
         "q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
         EXPOSITION_OPENMETRICS},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (exposition_choose(cases[i].accept) != cases[i].format)
            fail_msg("%s", cases[i].accept);
}

static void test_types(void **state)
{
    (void)state;
    assert_string_equal(exposition_type(EXPOSITION_TEXT),
                        "text/plain; version=0.0.4; charset=utf-8");
    assert_string_equal(exposition_type(EXPOSITION_OPENMETRICS),
                        "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert_string_equal(exposition_type(EXPOSITION_JSON), "application/json");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),   cmocka_unit_test(test_openmetrics),
        cmocka_unit_test(test_json),   cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_choice), cmocka_unit_test(test_types),
    };
    return RUN_TESTS("exposition", tests);
}
