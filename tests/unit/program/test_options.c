/*
 * options.c: good and bad values for every row of the table, in each way of writing an option. What
 * options_parse() writes goes to memory. So that no test asks the network, net_resolve() is
 * wrapped: it knows a few names, and passes only numeric addresses on to the real function.
 */
#include "options.h"

#include "os/http.h"
#include "unit/support.h"

#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <stdlib.h>

enum { ARGS_MAX = 160 };

static struct {
    struct options options;
    char *out;
    char *err;
    enum cli_outcome outcome;
} run;

int __real_net_resolve(const char *name, union net_addr *addrs, int max);
int __wrap_net_resolve(const char *name, union net_addr *addrs, int max);
unsigned __wrap_uv_available_parallelism(void);

static unsigned cpus;

unsigned __wrap_uv_available_parallelism(void)
{
    return cpus;
}

/* One name has two addresses; numeric addresses are real; every other name is unknown. */
int __wrap_net_resolve(const char *name, union net_addr *addrs, int max)
{
    if (strcmp(name, "both.test") == 0) {
        int count = __real_net_resolve("192.0.2.1", addrs, max);
        return count + __real_net_resolve("2001:db8::1", addrs + count, max - count);
    }
    return strspn(name, "0123456789abcdef:.") == strlen(name) ? __real_net_resolve(name, addrs, max)
                                                              : EAI_NONAME;
}

static void run_free(void)
{
    free(run.out);
    free(run.err);
    memset(&run, 0, sizeof run);
}

static int run_teardown(void **state)
{
    (void)state;
    run_free();
    return 0;
}

static enum cli_outcome parse_argv(int argc, char **argv)
{
    size_t size;
    run_free();
    memset(&run.options, 0xa5, sizeof run.options); /* whatever the caller's stack holds */
    FILE *out = open_memstream(&run.out, &size);
    FILE *err = open_memstream(&run.err, &size);
    assert_non_null(out);
    assert_non_null(err);
    run.outcome = options_parse(&run.options, argc, argv, out, err);
    assert_int_equal(fclose(out), 0);
    assert_int_equal(fclose(err), 0);
    return run.outcome;
}

/* Parses a command line. Blanks separate the arguments; '' is an empty argument. */
static enum cli_outcome parse(const char *line)
{
    static char copy[1024];
    static char *argv[ARGS_MAX + 1];
    int argc = 0;
    char *rest = NULL;
    assert_true(strlen(line) < sizeof copy);
    strcpy(copy, line);
    static char name[] = "uvechod", empty[] = "";
    argv[argc++] = name;
    for (char *arg = strtok_r(copy, " ", &rest); arg != NULL; arg = strtok_r(NULL, " ", &rest)) {
        assert_true(argc < ARGS_MAX);
        argv[argc++] = strcmp(arg, "''") == 0 ? empty : arg;
    }
    argv[argc] = NULL;
    return parse_argv(argc, argv);
}

static const struct server_config *parse_good(const char *line)
{
    if (parse(line) != CLI_RUN)
        fail_msg("'%s' is refused: %s", line, run.err);
    assert_string_equal(run.out, "");
    assert_string_equal(run.err, "");
    return &run.options.server;
}

/* The line must be refused, in one line that contains word and, unless NULL, other. */
static void parse_bad(const char *line, const char *word, const char *other)
{
    if (parse(line) != CLI_MISUSE)
        fail_msg("'%s' is not refused", line);
    assert_string_equal(run.out, "");
    size_t len = strlen(run.err);
    assert_true(len > 0);
    assert_ptr_equal(strchr(run.err, '\n'), run.err + len - 1);
    assert_memory_equal(run.err, "uvechod: ", 9);
    if (strstr(run.err, word) == NULL || (other != NULL && strstr(run.err, other) == NULL))
        fail_msg("'%s' is refused without naming %s, %s: %s", line, word, other, run.err);
    assert_non_null(strstr(run.err, "Try 'uvechod --help'."));
}

/* The same, for the options of the echo. */
static const struct echo_config *parse_echo(const char *line)
{
    (void)parse_good(line);
    return &run.options.echo;
}

static void check_prefix(const char *line, const char *prefix)
{
    const struct echo_config *echo = parse_echo(line);
    assert_int_equal(echo->prefix_len, strlen(prefix));
    assert_memory_equal(echo->prefix, prefix, strlen(prefix));
}

static void test_defaults(void **state)
{
    (void)state;
    const struct server_config *server = parse_good("");
    assert_int_equal(server->endpoints.port, 25000);
    assert_int_equal(server->endpoints.count, 0);
    assert_int_equal(server->endpoints.backlog, SOMAXCONN);
    assert_int_equal(server->endpoints.socket_mode, 0666);
    assert_int_equal(run.options.echo.prefix_len, 4);
    assert_memory_equal(run.options.echo.prefix, "GOT:", 4);
    assert_int_equal(run.options.echo.chunk, 1000);
    assert_int_equal(server->max_connections, 0);
    assert_int_equal(server->idle_ms, 0);
    assert_int_equal(server->drain_ms, 10000);
    assert_int_equal(server->endpoints.keepalive_s, 60);
    assert_int_equal(run.options.log_level, LOG_LEVEL_INFO);
}

static void test_port(void **state)
{
    (void)state;
    assert_int_equal(parse_good("--port=0")->endpoints.port, 0);
    assert_int_equal(parse_good("--port=65535")->endpoints.port, 65535);
    assert_int_equal(parse_good("--port 7")->endpoints.port, 7);
    assert_int_equal(parse_good("-p 7")->endpoints.port, 7);
    assert_int_equal(parse_good("-p7")->endpoints.port, 7);
    assert_int_equal(parse_good("-qp7")->endpoints.port, 7);
    assert_int_equal(parse_good("--po=7")->endpoints.port, 7);
    assert_int_equal(parse_good("--port=007")->endpoints.port, 7);
    assert_int_equal(parse_good("--port=1 --port=2")->endpoints.port, 2);
}

static void test_chunk(void **state)
{
    (void)state;
    assert_int_equal(parse_echo("--chunk=1")->chunk, 1);
    assert_int_equal(parse_echo("--chunk=65536")->chunk, 65536);
    assert_int_equal(parse_echo("--chunk 999")->chunk, 999);
    assert_int_equal(parse_echo("--chu=2")->chunk, 2);
    assert_int_equal(parse_echo("--chunk=64k")->chunk, 65536);
    assert_int_equal(parse_echo("--chunk=1k")->chunk, 1024);
    parse_bad("--chunk=65k", "--chunk: '65k'", "from 1 to 65536 bytes");
    parse_bad("--chunk=1M", "--chunk: '1M'", "such as 1000 or 64k");
    parse_bad("--chunk=1K", "--chunk: '1K'", NULL);
    parse_bad("--chunk=1kk", "--chunk: '1kk'", NULL);
    parse_bad("--chunk=k", "--chunk: 'k'", NULL);
    parse_bad("--chunk=0k", "--chunk: '0k'", NULL);
    parse_bad("--chunk=18014398509481985k", "--chunk: '18014398509481985k'", NULL); /* 2^64 + 1k */
}

static void test_times_have_units(void **state)
{
    (void)state;
    assert_int_equal(parse_good("--idle-timeout=90")->idle_ms, 90000);
    assert_int_equal(parse_good("--idle-timeout=90s")->idle_ms, 90000);
    assert_int_equal(parse_good("--idle-timeout=15m")->idle_ms, 900000);
    assert_int_equal(parse_good("--drain-timeout=2h")->drain_ms, 7200000);
    assert_int_equal(parse_good("--drain-timeout=0h")->drain_ms, 0);
    assert_int_equal(parse_good("--idle-timeout=1193h")->idle_ms, 4294800000);
    parse_bad("--idle-timeout=1194h", "--idle-timeout: '1194h'", "from 0 to 4294966 seconds");
    parse_bad("--idle-timeout=1ms", "--idle-timeout: '1ms'", "such as 90, 90s, 15m or 2h");
    parse_bad("--drain-timeout=1k", "--drain-timeout: '1k'", NULL);
    parse_bad("--backlog=1k", "--backlog: '1k'", NULL);
    parse_bad("--port=1h", "--port: '1h'", NULL);
}

static void test_backlog(void **state)
{
    (void)state;
    assert_int_equal(parse_good("--backlog=1")->endpoints.backlog, 1);
    assert_int_equal(parse_good("--backlog 2147483647")->endpoints.backlog, INT_MAX);
    assert_int_equal(parse_good("--ba=5")->endpoints.backlog, 5);
}

static void test_max_connections(void **state)
{
    (void)state;
    assert_int_equal(parse_good("--max-connections=1")->max_connections, 1);
    assert_int_equal(parse_good("--max-connections 2147483647")->max_connections, INT_MAX);
    assert_int_equal(parse_good("--max-c=5")->max_connections, 5);
}

static void test_limits_against_abuse(void **state)
{
    (void)state;
    assert_int_equal(parse_good("")->max_per_source, 0);
    assert_int_equal(parse_good("")->max_rate, 0);
    assert_int_equal(parse_good("")->send_ms, 0);
    assert_int_equal(parse_good("--max-per-source=1")->max_per_source, 1);
    assert_int_equal(parse_good("--max-per-source 2147483647")->max_per_source, INT_MAX);
    assert_int_equal(parse_good("--max-rate=100")->max_rate, 100);
    assert_int_equal(parse_good("--max-rate=100")->max_connections, 0);
    assert_int_equal(parse_good("--max-rate=100 --max-rate=0")->max_rate, 0);
    assert_int_equal(parse_good("--send-timeout=30s")->send_ms, 30000);
    assert_int_equal(parse_good("--send-timeout=30s")->idle_ms, 0);
    assert_int_equal(parse_good("--send=4294966")->send_ms, 4294966000U);
}

static void test_busy_poll(void **state)
{
    (void)state;
    assert_int_equal(parse_good("")->busy_us, 0);
    assert_int_equal(parse_good("--busy-poll=50")->busy_us, 50);
    assert_int_equal(parse_good("--busy-poll 1000000")->busy_us, 1000000);
    assert_int_equal(parse_good("--busy=50 --busy-poll=0")->busy_us, 0);
}

static void test_proxies(void **state)
{
    const struct proxy_rules *rules = &parse_good("")->proxies;
    char line[OPTIONS_PROXIES_MAX * 14 + 64] = "";
    (void)state;
    assert_int_equal(rules->count, 0);
    assert_false(rules->local);
    assert_int_equal(rules->timeout_ms, 10000);
    rules = &parse_good("--proxy-from=192.0.2.0/24 --proxy-from ::1 --proxy-from=unix")->proxies;
    assert_int_equal(rules->count, 2);
    assert_true(rules->local);
    assert_int_equal(rules->from[0].bits, 24);
    assert_int_equal(rules->from[1].family, AF_INET6);
    assert_int_equal(parse_good("--proxy-timeout=1m")->proxies.timeout_ms, 60000);
    parse_bad("--proxy-from=192.0.2.0/33", "--proxy-from", "192.0.2.0/33");
    parse_bad("--proxy-from=UNIX", "--proxy-from", "192.0.2.0/24");
    for (int i = 0; i < OPTIONS_PROXIES_MAX; i++)
        strcat(line, "--proxy-f=::1 ");
    assert_int_equal(parse_good(line)->proxies.count, OPTIONS_PROXIES_MAX);
    strcat(line, "--proxy-f=::2/128");
    parse_bad(line, "--proxy-from", "::2/128");
}

static void test_timeouts(void **state)
{
    (void)state;
    assert_int_equal(parse_good("--idle-timeout=0")->idle_ms, 0);
    assert_int_equal(parse_good("--idle-timeout=1")->idle_ms, 1000);
    assert_int_equal(parse_good("--idle-timeout 4294966")->idle_ms, 4294966000U);
    assert_int_equal(parse_good("--idle=60")->idle_ms, 60000);
    assert_int_equal(parse_good("--idle=60")->drain_ms, 10000);
    assert_int_equal(parse_good("--drain-timeout=0")->drain_ms, 0);
    assert_int_equal(parse_good("--drain-timeout 3600")->drain_ms, 3600000);
    assert_int_equal(parse_good("--drain=3")->drain_ms, 3000);
    assert_int_equal(parse_good("--drain=3")->idle_ms, 0);
}

static void test_keepalive(void **state)
{
    (void)state;
    assert_int_equal(parse_good("--keepalive=0")->endpoints.keepalive_s, 0);
    assert_int_equal(parse_good("--keepalive 90")->endpoints.keepalive_s, 90);
    assert_int_equal(parse_good("--keepa=2m")->endpoints.keepalive_s, 120);
    assert_int_equal(parse_good("--keepalive=9h")->endpoints.keepalive_s, 32400);
    assert_int_equal(parse_good("--keepalive=32767s")->endpoints.keepalive_s, 32767);
    assert_int_equal(parse_good("--keepalive=1")->idle_ms, 0);
    parse_bad("--keepalive=10h", "--keepalive: '10h'", "from 0 to 32767 seconds");
}

static void test_log_levels(void **state)
{
    static const struct {
        const char *line;
        enum log_level level;
    } rows[] = {
        {"-q", LOG_LEVEL_NOTICE},       {"--quiet", LOG_LEVEL_NOTICE}, {"-v", LOG_LEVEL_DEBUG},
        {"--verbose", LOG_LEVEL_DEBUG}, {"-q -v", LOG_LEVEL_DEBUG},    {"-vq", LOG_LEVEL_NOTICE},
        {"--q", LOG_LEVEL_NOTICE},      {"--verb", LOG_LEVEL_DEBUG},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        (void)parse_good(rows[i].line);
        assert_int_equal(run.options.log_level, rows[i].level);
    }
}

/* The daemon puts it in front of all others, which are checked as ever. */
static void test_check_handover(void **state)
{
    (void)state;
    (void)parse_good("--port=1");
    assert_false(run.options.check_handover);
    (void)parse_good("--check-handover --port=1");
    assert_true(run.options.check_handover);
    assert_int_equal(run.options.server.endpoints.port, 1);
    parse_bad("--check-handover --port=x", "--port", "'x'");
    parse_bad("--check-handover=yes", "--check-handover: takes no value", NULL);
}

/* Whole, although --keepalive begins so, too. */
static void test_keep(void **state)
{
    (void)state;
    (void)parse_good("--port=1");
    assert_false(run.options.keep);
    assert_int_equal(parse_good("--keep --port=1")->endpoints.keepalive_s, 60);
    assert_true(run.options.keep);
    parse_bad("--keep=2m", "--keep: takes no value", NULL);
}

static void test_prefix(void **state)
{
    (void)state;
    check_prefix("--prefix=X", "X");
    check_prefix("--prefix abc", "abc");
    check_prefix("--prefix=", "");
    check_prefix("--prefix ''", "");
    check_prefix("--prefix=--rfc862", "--rfc862");
    check_prefix("--prefix --rfc862", "--rfc862");
    check_prefix("--pre=a=b", "a=b");
    check_prefix("--prefix=a --prefix=bc", "bc");
}

static void test_rfc862(void **state)
{
    (void)state;
    check_prefix("--rfc862", "");
    check_prefix("--rfc", "");
    check_prefix("--prefix=X --rfc862", "");
    check_prefix("--rfc862 --prefix=XY", "XY");
}

static void test_prefix_length(void **state)
{
    char longest[512] = "--prefix=";
    char line[768];
    (void)state;
    memset(longest + strlen(longest), 'x', 255);
    assert_int_equal(parse_echo(longest)->prefix_len, 255);
    (void)snprintf(line, sizeof line, "%sy", longest);
    parse_bad(line, "--prefix", "255");
    assert_non_null(strstr(run.err, "256"));
}

static void check_addr(size_t at, const char *text)
{
    char buf[NET_ADDR_STRLEN];
    assert_true(at < run.options.server.endpoints.count);
    assert_string_equal(net_format(&run.options.server.endpoints.addrs[at].addr, buf), text);
}

static void test_bind(void **state)
{
    (void)state;
    assert_int_equal(parse_good("--bind=127.0.0.1")->endpoints.count, 1);
    check_addr(0, "127.0.0.1:0");
    assert_int_equal(parse_good("--bind ::1")->endpoints.count, 1);
    check_addr(0, "[::1]:0");
    assert_int_equal(parse_good("-b ::1 -b127.0.0.2 --bi=::")->endpoints.count, 3);
    check_addr(0, "[::1]:0");
    check_addr(1, "127.0.0.2:0");
    check_addr(2, "[::]:0");
    assert_int_equal(parse_good("-b both.test -b 127.0.0.1")->endpoints.count, 3);
    check_addr(0, "192.0.2.1:0");
    check_addr(1, "[2001:db8::1]:0");
    check_addr(2, "127.0.0.1:0");
}

/* Only the addresses of a name that has several; an address that was named itself must work. */
static void test_which_addresses_may_be_missing(void **state)
{
    (void)state;
    const struct endpoint_addr *addrs =
        parse_good("-b ::1 -b both.test -b 127.0.0.1")->endpoints.addrs;
    assert_false(addrs[0].may_lack);
    assert_true(addrs[1].may_lack);
    assert_true(addrs[2].may_lack);
    assert_false(addrs[3].may_lack);
}

static void test_bind_unix(void **state)
{
    char line[160] = "--bind=unix:/";
    (void)state;
    assert_int_equal(parse_good("--bind=unix:/run/s")->endpoints.count, 1);
    check_addr(0, "unix:/run/s");
    assert_int_equal(run.options.server.endpoints.addrs[0].addr.sa.sa_family, AF_UNIX);
    assert_int_equal(parse_good("-b unix:@name -b ::1 -bunix:s -b unix:unix:")->endpoints.count, 4);
    check_addr(0, "unix:@name");
    check_addr(1, "[::1]:0");
    check_addr(2, "unix:s");
    check_addr(3, "unix:unix:");
    memset(line + strlen(line), 'x', 106);
    assert_int_equal(parse_good(line)->endpoints.count, 1);
    check_addr(0, line + strlen("--bind="));
    strcat(line, "x");
    parse_bad(line, "--bind", "longer than 107 bytes");
    parse_bad("--bind=unix:", "--bind", "it is empty");
    parse_bad("-b ::1 -b unix:", "--bind", "'unix:'");
    parse_bad("--bind=UNIX:/run/s", "--bind", "UNIX:/run/s"); /* no scheme, and no name */
}

/* Without a name the kernel would choose one that no client knows. */
static void test_bind_an_abstract_name_without_a_name(void **state)
{
    (void)state;
    parse_bad("--bind=unix:@", "--bind", "it is empty");
}

static void test_socket_mode(void **state)
{
    static const char *const words[] = {"",    "8",   "0778", "1000",
                                        "-1",  "+7",  "0x1f", "rw",
                                        "0o7", "7.0", "u=rw", "77777777777777777777777"};
    char line[64];
    (void)state;
    assert_int_equal(parse_good("--socket-mode=0")->endpoints.socket_mode, 0);
    assert_int_equal(parse_good("--socket-mode=777")->endpoints.socket_mode, 0777);
    assert_int_equal(parse_good("--socket-mode 0600")->endpoints.socket_mode, 0600);
    assert_int_equal(parse_good("--soc=660")->endpoints.socket_mode, 0660);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        (void)snprintf(line, sizeof line, "--socket-mode=%s", words[i]);
        parse_bad(line, "--socket-mode: '", "an octal number from 0 to 777");
        assert_non_null(strstr(run.err, words[i]));
    }
}

/* The server needs it for its complaint if systemd has said where to listen, too. */
static void test_the_last_address_option_is_recorded(void **state)
{
    (void)state;
    assert_null(parse_good("-v --socket-mode=600 --backlog=5 --prefix=x")->address_option);
    assert_string_equal(parse_good("-p0")->address_option, "port");
    assert_string_equal(parse_good("-b unix:/run/s -q")->address_option, "bind");
    assert_string_equal(parse_good("-p 1 -b ::1")->address_option, "bind");
    assert_string_equal(parse_good("-b ::1 -p 1")->address_option, "port");
}

/* An address that is given twice gets one socket. */
static void expect_metrics(const char *line, const char *expected, uint16_t port)
{
    char text[NET_ADDR_STRLEN];
    const struct endpoints_config *metrics = &parse_good(line)->metrics;
    assert_int_equal(metrics->count, 1);
    assert_int_equal(metrics->port, port);
    assert_string_equal(net_format(&metrics->addrs[0].addr, text), expected);
}

static void test_metrics(void **state)
{
    (void)state;
    assert_int_equal(parse_good("")->metrics.count, 0);
    if (!http_supported()) {
        parse_bad("--metrics=127.0.0.1:9862", "--metrics", "libmicrohttpd");
        skip();
    }
    assert_null(parse_good("--metrics=127.0.0.1:9862")->address_option);
    expect_metrics("--metrics=127.0.0.1:9862", "127.0.0.1:0", 9862);
    expect_metrics("--metrics=127.0.0.1:0", "127.0.0.1:0", 0);
    expect_metrics("--metrics=[::1]:65535", "[::1]:0", 65535);
    expect_metrics("--metrics=::1:80", "[::1]:0", 80);
    expect_metrics("--metrics=both.test:80", "192.0.2.1:0", 80);
    expect_metrics("--metrics=unix:/run/m", "unix:/run/m", 0);
    expect_metrics("--metrics=unix:@m", "unix:@m", 0);
    expect_metrics("--metrics=127.0.0.1:1 --metrics=127.0.0.2:2", "127.0.0.2:0", 2);
}

static bool without_library;

bool __real_http_supported(void);
bool __wrap_http_supported(void);
bool __wrap_http_supported(void)
{
    return !without_library && __real_http_supported();
}

static void test_metrics_without_a_library(void **state)
{
    (void)state;
    without_library = true;
    parse_bad("--metrics=127.0.0.1:9862", "--metrics", "libmicrohttpd");
    without_library = false;
}

static void test_bad_metrics(void **state)
{
    char line[400] = "--metrics=";
    (void)state;
    if (!http_supported())
        skip();
    parse_bad("--metrics=127.0.0.1", "--metrics", "ADDRESS:PORT");
    parse_bad("--metrics=127.0.0.1:", "--metrics", "ADDRESS:PORT");
    parse_bad("--metrics=127.0.0.1:x", "--metrics", "ADDRESS:PORT");
    parse_bad("--metrics=127.0.0.1:80x", "--metrics", "ADDRESS:PORT");
    parse_bad("--metrics=127.0.0.1:65536", "--metrics", "ADDRESS:PORT");
    parse_bad("--metrics=127.0.0.1:99999999999999999999", "--metrics", "ADDRESS:PORT");
    parse_bad("--metrics=9862", "--metrics", "ADDRESS:PORT");
    parse_bad("--metrics=:9862", "--metrics", "''");
    parse_bad("--metrics=[:9862", "--metrics", "'['");
    parse_bad("--metrics=nowhere.test:80", "--metrics", "nowhere.test");
    parse_bad("--metrics=unix:", "--metrics", "it is empty");
    memset(line + strlen(line), '1', 300);
    (void)strcat(line, ":80");
    parse_bad(line, "--metrics", "ADDRESS:PORT");
}

static void test_bind_twice(void **state)
{
    (void)state;
    assert_int_equal(parse_good("-b 1.2.3.4 -b ::1 -b 1.2.3.4 -b ::1")->endpoints.count, 2);
    check_addr(0, "1.2.3.4:0");
    check_addr(1, "[::1]:0");
    assert_int_equal(parse_good("-b unix:/a -b unix:/a -b unix:/b")->endpoints.count, 2);
    assert_false(run.options.server.endpoints.addrs[0].may_lack);
}

static void test_bind_is_bounded(void **state)
{
    char line[1024] = "";
    (void)state;
    for (int i = 0; i < 64; i++)
        (void)snprintf(line + strlen(line), sizeof line - strlen(line), "-b 1.2.3.%d ", i);
    assert_int_equal(parse_good(line)->endpoints.count, 64);
    check_addr(63, "1.2.3.63:0");
    strcat(line, "-b 5.6.7.8");
    parse_bad(line, "--bind", "5.6.7.8");
    assert_non_null(strstr(run.err, "64 are possible"));
}

static void test_bad_bind(void **state)
{
    (void)state;
    parse_bad("--bind=nowhere.test", "--bind", "nowhere.test");
    assert_non_null(strstr(run.err, gai_strerror(EAI_NONAME)));
    parse_bad("-b 127.0.0.1 -b 1.2.3.4.5", "--bind", "1.2.3.4.5");
    parse_bad("--bind=", "--bind", "''");
}

/* A refused number is named together with the bounds of the option. */
static void test_bad_numbers(void **state)
{
    static const struct {
        const char *option;
        const char *bounds;
        const char *too_small;
        const char *too_large;
    } rows[] = {
        {"port", "0 to 65535", "-1", "65536"},
        {"chunk", "1 to 65536", "0", "65537"},
        {"backlog", "1 to 2147483647", "0", "2147483648"},
        {"max-connections", "1 to 2147483647", "0", "2147483648"},
        {"max-per-source", "0 to 2147483647", "-1", "2147483648"},
        {"max-rate", "0 to 2147483647", "-1", "2147483648"},
        {"idle-timeout", "0 to 4294966", "-1", "4294967"},
        {"send-timeout", "0 to 4294966", "-1", "4294967"},
        {"drain-timeout", "0 to 4294966", "-1", "4294967"},
        {"proxy-timeout", "1 to 4294966", "0", "4294967"},
        {"keepalive", "0 to 32767", "-1", "32768"},
        {"workers", "0 to 64", "-1", "65"},
        {"busy-poll", "0 to 1000000", "-1", "1000001"},
    };
    static const char *const words[] = {"abc",
                                        "",
                                        "12x",
                                        "1.5",
                                        "+1",
                                        "0x10",
                                        "-",
                                        "1e3",
                                        "-1",
                                        "18446744073709551617",
                                        "99999999999999999999"};
    char line[128];
    char option[32];
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        (void)snprintf(option, sizeof option, "--%s", rows[i].option);
        (void)snprintf(line, sizeof line, "%s=%s", option, rows[i].too_small);
        parse_bad(line, option, rows[i].bounds);
        (void)snprintf(line, sizeof line, "%s %s", option, rows[i].too_large);
        parse_bad(line, option, rows[i].bounds);
        for (size_t w = 0; w < sizeof words / sizeof *words; w++) {
            (void)snprintf(line, sizeof line, "%s=%s", option, words[w]);
            parse_bad(line, option, rows[i].bounds);
            assert_non_null(strstr(run.err, words[w]));
        }
    }
}

/* Blanks around a number are refused. parse() cannot test that: it splits at blanks. */
static void test_blanks_are_no_part_of_a_number(void **state)
{
    static const char *const words[] = {"--port= 1", "--port=1 ", "--port=\t1", "--port=1\n"};
    (void)state;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        char name[] = "uvechod";
        char arg[16];
        strcpy(arg, words[i]);
        char *argv[] = {name, arg, NULL};
        assert_int_equal(parse_argv(2, argv), CLI_MISUSE);
        assert_non_null(strstr(run.err, "--port"));
        /* One line, whatever the argument contains. */
        assert_ptr_equal(strchr(run.err, '\n'), run.err + strlen(run.err) - 1);
        assert_null(strchr(run.err, '\t'));
    }
}

/* 0 stands for the number of CPUs, but not for more threads than are possible. */
static void test_workers(void **state)
{
    (void)state;
    assert_int_equal(parse_good("")->workers, 1);
    assert_int_equal(parse_good("--workers=1")->workers, 1);
    assert_int_equal(parse_good("--workers 64")->workers, 64);
    static const unsigned rows[][2] = {{1, 1}, {3, 3}, {64, 64}, {65, 64}, {1000, 64}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cpus = rows[i][0];
        assert_int_equal(parse_good("--workers=0")->workers, rows[i][1]);
    }
}

static void test_missing_values(void **state)
{
    static const char *const rows[][2] = {
        {"--port", "PORT"},
        {"--bind", "ADDRESS"},
        {"--metrics", "ADDRESS"},
        {"--socket-mode", "MODE"},
        {"--prefix", "TEXT"},
        {"--chunk", "BYTES"},
        {"--backlog", "N"},
        {"--max-connections", "N"},
        {"--max-per-source", "N"},
        {"--max-rate", "N"},
        {"--idle-timeout", "SECONDS"},
        {"--send-timeout", "SECONDS"},
        {"--drain-timeout", "SECONDS"},
        {"--proxy-from", "CIDR"},
        {"--proxy-timeout", "SECONDS"},
        {"--keepalive", "SECONDS"},
        {"--workers", "N"},
        {"--busy-poll", "MICROSECONDS"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        parse_bad(rows[i][0], rows[i][0], rows[i][1]);
    parse_bad("-p", "--port", "PORT");
    parse_bad("-vb", "--bind", "ADDRESS");
}

static void test_superfluous_values(void **state)
{
    (void)state;
    parse_bad("--rfc862=yes", "--rfc862: takes no value", "'--rfc862=yes'");
    parse_bad("--quiet=1", "--quiet: takes no value", "'--quiet=1'");
    parse_bad("--verbose=1", "--verbose: takes no value", "'--verbose=1'");
    parse_bad("--help=me", "--help: takes no value", "'--help=me'");
    parse_bad("--version=2", "--version: takes no value", "'--version=2'");
}

static void test_unknown_options(void **state)
{
    (void)state;
    parse_bad("--colour", "--colour", "unknown");
    parse_bad("--colour=red", "--colour", "unknown");
    parse_bad("-x", "'-x'", "unknown");
    parse_bad("-qx", "'-x'", "unknown");
    parse_bad("-?", "'-?'", "unknown");
    parse_bad("-:", "'-:'", "unknown");
    parse_bad("--p=1", "--p=1", "ambiguous");     /* port or prefix */
    parse_bad("--ver", "--ver", "ambiguous");     /* verbose or version */
    parse_bad("--b=1", "--b=1", "ambiguous");     /* bind or backlog */
    parse_bad("--max=1", "--max=1", "ambiguous"); /* of connections, per source, or rate */
}

/* For options of other daemons, the message says what to do here. */
static void test_udp(void **state)
{
    (void)state;
    const struct server_config *config = parse_good("");
    assert_int_equal(config->endpoints.udp, ENDPOINTS_UDP_NONE);
    assert_int_equal(config->datagrams.rate, 1000);
    assert_false(config->datagrams.any_source);
    config = parse_good("--udp --udp-any-source --udp-rate=0 --workers=3 --prefix=ab");
    assert_int_equal(config->endpoints.udp, ENDPOINTS_UDP_TOO);
    assert_int_equal(config->endpoints.workers, 3);
    assert_int_equal(config->datagrams.rate, 0);
    assert_true(config->datagrams.any_source);
    assert_string_equal(config->datagrams.prefix, "ab");
    assert_int_equal(config->datagrams.prefix_len, 2);
    assert_int_equal(parse_good("--udp=only")->endpoints.udp, ENDPOINTS_UDP_ONLY);
    assert_int_equal(parse_good("--udp=only --udp")->endpoints.udp, ENDPOINTS_UDP_TOO);
    assert_int_equal(parse_good("--udp-rate=1000000")->datagrams.rate, 1000000);
    parse_good("--udp --bind=127.0.0.1 --bind=unix:@x");
    parse_good("--bind=unix:@x");
    parse_bad("--udp=tcp", "--udp: 'tcp'", "'only'");
    parse_bad("--udp=", "--udp: ''", "'only'");
    parse_bad("--udp only", "'only'", "only options");
    parse_bad("--udp-rate=1000001", "--udp-rate: '1000001'", "1000000");
    parse_bad("--udp --bind=unix:@x", "--udp: --bind", "only Unix sockets");
    parse_bad("--udp=only --bind=127.0.0.1 --bind=unix:@x", "--udp=only", "Unix socket");
}

static void test_options_of_other_daemons(void **state)
{
    (void)state;
    parse_bad("-d", "unknown option '-d'", "foreground");
    parse_bad("-qD", "unknown option '-D'", "foreground");
    parse_bad("--daemon", "unknown option '--daemon'", "foreground");
    parse_bad("--config=/etc/uvechod.conf", "unknown option '--config':", "configuration file");
    parse_bad("-c /etc/uvechod.conf", "unknown option '-c'", "configuration file");
    parse_bad("--user nobody", "unknown option '--user'", "uvechod.service");
    parse_bad("--pid-file=/run/x", "unknown option '--pid-file'", "PID file");
    parse_bad("--log=/tmp/x", "unknown option '--log'", "standard error");
    parse_bad("--listen=::1", "unknown option '--listen'", "--bind");
    parse_bad("--threads=4", "unknown option '--threads'", "--workers");
    parse_bad("--maxconn=4", "unknown option '--maxconn'", "--max-connections");
    parse_bad("--timeout=4", "unknown option '--timeout'", "--idle-timeout");
    parse_bad("--daemo", "'--daemo'", "unknown or ambiguous"); /* only whole names are known */
}

static void test_stray_arguments(void **state)
{
    (void)state;
    parse_bad("25000", "'25000'", NULL);
    parse_bad("stray --port=1", "'stray'", NULL);
    parse_bad("-q -- --port=1", "'--port=1'", NULL);
    parse_bad("''", "''", NULL);
    parse_bad("-", "'-'", NULL);
    parse_bad("-b 127.0.0.1 stray", "'stray'", NULL);
    assert_int_equal(parse("--"), CLI_RUN);
}

/* Only the first mistake is reported; the rest of the line is not looked at. */
static void test_the_first_mistake_counts(void **state)
{
    (void)state;
    parse_bad("--port=x --chunk=y --help", "--port", "'x'");
    assert_null(strstr(run.err, "chunk"));
}

static void test_help_lists_every_option(void **state)
{
    static const char *const texts[] = {
        "-p, --port=PORT",
        "-b, --bind=ADDRESS",
        "--socket-mode=MODE",
        "unix:/path",
        "unix:@abstract",
        "(0666)",
        "--prefix=TEXT",
        "--chunk=BYTES",
        "--rfc862",
        "--backlog=N",
        "--max-connections=N",
        "--max-per-source=N",
        "--max-rate=N",
        "--idle-timeout=SECONDS",
        "--send-timeout=SECONDS",
        "--drain-timeout=SECONDS",
        "--proxy-from=CIDR",
        "--proxy-timeout=SECONDS",
        "--keepalive=SECONDS",
        "--workers=N",
        "--busy-poll=MICROSECONDS",
        "--keep",
        "--check-handover",
        "-q, --quiet",
        "-v, --verbose",
        "-h, --help",
        "-V, --version",
        "(25000)",
        "(GOT:)",
        "(1000)",
        "(SOMAXCONN)",
        "(10)",
    };
    static const char *const lines[] = {"--help", "-h", "--he", "-qh", "--port=1 --help"};
    (void)state;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        assert_int_equal(parse(lines[i]), CLI_DONE);
        assert_string_equal(run.err, "");
        for (size_t t = 0; t < sizeof texts / sizeof *texts; t++)
            if (strstr(run.out, texts[t]) == NULL)
                fail_msg("no %s in:\n%s", texts[t], run.out);
    }
}

/* The help fits a terminal, and its right column is aligned. */
static void test_help_is_tidy(void **state)
{
    (void)state;
    assert_int_equal(parse("--help"), CLI_DONE);
    assert_int_equal(run.out[strlen(run.out) - 1], '\n');
    assert_null(strstr(strstr(run.out, "--bind") + 1, "--bind")); /* only its own row names it */
    char *rest = NULL;
    int rows = 0;
    for (char *line = strtok_r(run.out, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        assert_true(strlen(line) <= 88);
        assert_int_not_equal(line[strlen(line) - 1], ' ');
        if (line[0] != ' ')
            continue;
        assert_int_equal(line[30], ' ');
        assert_int_not_equal(line[31], ' ');
        rows++;
    }
    assert_true(rows >= 14);
}

static void test_version(void **state)
{
    static const char *const lines[] = {"--version", "-V", "--vers", "-b 127.0.0.1 -V"};
    char expected[128];
    (void)state;
    (void)snprintf(expected, sizeof expected, "uvechod %s (libuv %s, %s systemd)\n",
                   UVECHOD_VERSION, uv_version_string(), UVECHOD_SYSTEMD ? "with" : "without");
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        assert_int_equal(parse(lines[i]), CLI_DONE);
        assert_string_equal(run.err, "");
        assert_string_equal(run.out, expected);
    }
}

/* Help that cannot be written is a failure; one line says why. */
static void test_unwritable_output(void **state)
{
    static const char *const args[] = {"--help", "--version"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        char name[] = "uvechod";
        char arg[16];
        strcpy(arg, args[i]);
        char *argv[] = {name, arg, NULL};
        char *text = NULL;
        size_t size;
        FILE *full = fopen("/dev/full", "w");
        FILE *err = open_memstream(&text, &size);
        assert_non_null(full);
        assert_int_equal(options_parse(&run.options, 2, argv, full, err), CLI_FAILED);
        (void)fclose(full);
        (void)fclose(err);
        assert_non_null(strstr(text, strerror(ENOSPC)));
        assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1);
        free(text);
    }
}

/* getopt_long(3) keeps its state in globals: a parse must not depend on an earlier one. */
static void test_parsing_again(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        parse_bad("-qvx --port=1", "'-x'",
                  NULL); /* ends in the middle of a group of short options */
        assert_int_equal(parse_good("-qp7")->endpoints.port, 7);
        assert_int_equal(parse_good("")->endpoints.port, 25000);
        assert_int_equal(parse("--port=1 --help -q"), CLI_DONE);
        parse_bad("--port", "--port", "PORT");
        assert_int_equal(parse_good("-b 127.0.0.1 --port=9")->endpoints.port, 9);
        assert_int_equal(run.options.server.endpoints.count, 1);
    }
}

#define OPTIONS_TEST(test) cmocka_unit_test_teardown(test, run_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        OPTIONS_TEST(test_defaults),
        OPTIONS_TEST(test_port),
        OPTIONS_TEST(test_chunk),
        OPTIONS_TEST(test_times_have_units),
        OPTIONS_TEST(test_backlog),
        OPTIONS_TEST(test_max_connections),
        OPTIONS_TEST(test_limits_against_abuse),
        OPTIONS_TEST(test_busy_poll),
        OPTIONS_TEST(test_proxies),
        OPTIONS_TEST(test_timeouts),
        OPTIONS_TEST(test_keepalive),
        OPTIONS_TEST(test_log_levels),
        OPTIONS_TEST(test_keep),
        OPTIONS_TEST(test_prefix),
        OPTIONS_TEST(test_check_handover),
        OPTIONS_TEST(test_rfc862),
        OPTIONS_TEST(test_prefix_length),
        OPTIONS_TEST(test_bind),
        OPTIONS_TEST(test_which_addresses_may_be_missing),
        OPTIONS_TEST(test_bind_unix),
        OPTIONS_TEST(test_bind_an_abstract_name_without_a_name),
        OPTIONS_TEST(test_socket_mode),
        OPTIONS_TEST(test_the_last_address_option_is_recorded),
        OPTIONS_TEST(test_metrics),
        OPTIONS_TEST(test_bad_metrics),
        OPTIONS_TEST(test_metrics_without_a_library),
        OPTIONS_TEST(test_bind_twice),
        OPTIONS_TEST(test_bind_is_bounded),
        OPTIONS_TEST(test_bad_bind),
        OPTIONS_TEST(test_bad_numbers),
        OPTIONS_TEST(test_blanks_are_no_part_of_a_number),
        OPTIONS_TEST(test_workers),
        OPTIONS_TEST(test_missing_values),
        OPTIONS_TEST(test_superfluous_values),
        OPTIONS_TEST(test_unknown_options),
        OPTIONS_TEST(test_options_of_other_daemons),
        OPTIONS_TEST(test_udp),
        OPTIONS_TEST(test_stray_arguments),
        OPTIONS_TEST(test_the_first_mistake_counts),
        OPTIONS_TEST(test_help_lists_every_option),
        OPTIONS_TEST(test_help_is_tidy),
        OPTIONS_TEST(test_version),
        OPTIONS_TEST(test_unwritable_output),
        OPTIONS_TEST(test_parsing_again),
    };
    return RUN_TESTS("options", tests);
}
