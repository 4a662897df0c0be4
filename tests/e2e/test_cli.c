/*
 * test_cli.c - the command line: help, version, wrong options, and starts that fail.
 */
#include "harness.h"

#include <linux/capability.h>
#include <netdb.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

static struct outcome outcome; /* too large for a stack */

/* Runs with these options and nothing else. */
static void run(const char *options)
{
    harness_run(&outcome, &(struct launch){.options = options, .own_port = true});
}

/* ---- help and version ---- */

static void check_help(const char *options)
{
    static const char *const names[] = {
        "-p, --port=PORT",
        "-b, --bind=ADDRESS",
        "--socket-mode=MODE",
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
        "--check-handover",
        "-q, --quiet",
        "-v, --verbose",
        "-h, --help",
        "-V, --version",
        "25000",
        "SIGUSR1",
    };
    run(options);
    assert_int_equal(outcome.status, 0);
    assert_string_equal(outcome.err, "");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        assert_contains(outcome.out, names[i]);
    for (const char *line = outcome.out, *end; (end = strchr(line, '\n')) != NULL; line = end + 1)
        assert_between(end - line, 0, 100);
}

static void help(struct daemon *daemon)
{
    (void)daemon;
    check_help("--help");
    check_help("-h");
    check_help("--port=0 -h");
}

static void check_version(const char *options)
{
    static const char beginning[] = "uvechod " UVECHOD_VERSION " (libuv 1.";
    run(options);
    assert_int_equal(outcome.status, 0);
    assert_string_equal(outcome.err, "");
    assert_int_equal(strncmp(outcome.out, beginning, strlen(beginning)), 0);
    assert_one_line(outcome.out);
}

static void version(struct daemon *daemon)
{
    (void)daemon;
    check_version("--version");
    check_version("-V");
}

static void help_that_cannot_be_written(struct daemon *daemon)
{
    (void)daemon;
    if (access("/dev/full", W_OK) != 0)
        harness_skip("no /dev/full");
    harness_run(&outcome, &(struct launch){.options = "--help", .stdout_path = "/dev/full"});
    assert_int_not_equal(outcome.status, 0);
    assert_one_line(outcome.err);
    assert_contains(outcome.err, "No space left");
}

/* ---- wrong options ---- */

struct misuse {
    const char *options;
    const char *said; /* what the line must contain */
};

static void check_misuse(const struct misuse *misuse)
{
    run(misuse->options);
    if (outcome.status != 2)
        fail_msg("%s: exit code %d and '%s'", misuse->options, outcome.status, outcome.err);
    assert_string_equal(outcome.out, "");
    assert_one_line(outcome.err);
    assert_int_equal(strncmp(outcome.err, "uvechod: ", 9), 0);
    assert_contains(outcome.err, misuse->said);
    assert_contains(outcome.err, "Try 'uvechod --help'");
}

static void check_misuses(const struct misuse *misuses, size_t count)
{
    for (size_t i = 0; i < count; i++)
        check_misuse(&misuses[i]);
}

static void unknown_options(struct daemon *daemon)
{
    (void)daemon;
    static const struct misuse misuses[] = {
        {"--nosuch", "'--nosuch'"},
        {"-x", "'-x'"},
        {"-d", "uvechod stays in the foreground"},
        {"--config=/etc/uvechod.conf", "there is no configuration file"},
        {"-vx", "'-x'"},
        {"-\xc3\xbc", "'-\xc3\xbc'"}, /* a letter of two bytes */
        {"-v\xe2\x82\xacx", "'-\xe2\x82\xac'"},
        {"-q -v\xf0\x9f\x98\x80", "'-\xf0\x9f\x98\x80'"},
        {"-\xc3", "'-\xc3'"},
        {"--portt=1", "'--portt=1'"},
        {"--b=1", "'--b=1'"},
        {"stray", "'stray'"},
        {"--port=0 25000", "'25000'"},
        {"-- stray", "'stray'"},
        {"--rfc862=yes", "--rfc862"},
        {"--help=me", "--help"},
        {"--verbose=9", "--verbose"},
        {"--quiet=", "--quiet"},
    };
    check_misuses(misuses, sizeof misuses / sizeof *misuses);
}

static void missing_values(struct daemon *daemon)
{
    (void)daemon;
    static const struct misuse misuses[] = {
        {"--port", "--port"},
        {"-p", "--port"},
        {"--bind", "--bind"},
        {"-b", "--bind"},
        {"--socket-mode", "--socket-mode"},
        {"--prefix", "--prefix"},
        {"--chunk", "--chunk"},
        {"--backlog", "--backlog"},
        {"--max-connections", "--max-connections"},
        {"--max-per-source", "--max-per-source"},
        {"--max-rate", "--max-rate"},
        {"--idle-timeout", "--idle-timeout"},
        {"--send-timeout", "--send-timeout"},
        {"--drain-timeout", "--drain-timeout"},
        {"--proxy-from", "--proxy-from"},
        {"--proxy-timeout", "--proxy-timeout"},
        {"--keepalive", "--keepalive"},
        {"--workers", "--workers"},
        {"--busy-poll", "--busy-poll"},
    };
    check_misuses(misuses, sizeof misuses / sizeof *misuses);
}

static void bad_ports(struct daemon *daemon)
{
    (void)daemon;
    static const struct misuse misuses[] = {
        {"--port=65536", "--port: '65536' is not a number from 0 to 65535"},
        {"--port=abc", "--port: 'abc' is not a number from 0 to 65535"},
        {"-p abc", "--port: 'abc'"},
        {"-p-1", "--port: '-1'"},
        {"--port=", "--port: ''"},
        {"--port=-1", "--port: '-1'"},
        {"--port=+1", "--port: '+1'"},
        {"--port=1x", "--port: '1x'"},
        {"--port=0x10", "--port: '0x10'"},
        {"--port=\t1", "--port: "},
        {"--port=1.5", "--port: '1.5'"},
        {"--port=99999999999999999999999", "--port: '99999999999999999999999'"},
        {"--port=18446744073709551616", "--port: '18446744073709551616'"},
        {"--port=1 --port=65536", "--port: '65536'"},
    };
    check_misuses(misuses, sizeof misuses / sizeof *misuses);
}

static void bad_numbers(struct daemon *daemon)
{
    (void)daemon;
    static const struct misuse misuses[] = {
        {"--chunk=0", "--chunk: '0' is not a size from 1 to 65536"},
        {"--chunk=65537", "--chunk: '65537' is not a size from 1 to 65536"},
        {"--chunk=-1", "--chunk: '-1'"},
        {"--chunk=1kk", "--chunk: '1kk'"},
        {"--chunk=", "--chunk: ''"},
        {"--backlog=0", "--backlog: '0'"},
        {"--backlog=2147483648", "--backlog: '2147483648'"},
        {"--backlog=many", "--backlog: 'many'"},
        {"--max-connections=0", "--max-connections: '0'"},
        {"--max-connections=-5", "--max-connections: '-5'"},
        {"--max-connections=2147483648", "--max-connections: '2147483648'"},
        {"--max-per-source=many", "--max-per-source: 'many'"},
        {"--max-rate=1.5", "--max-rate: '1.5'"},
        {"--send-timeout=1ms", "--send-timeout: '1ms'"},
        {"--idle-timeout=-1", "--idle-timeout: '-1'"},
        {"--idle-timeout=1ms", "--idle-timeout: '1ms'"},
        {"--idle-timeout=4294968", "--idle-timeout: '4294968'"},
        {"--drain-timeout=soon", "--drain-timeout: 'soon'"},
        {"--drain-timeout=99999999999", "--drain-timeout: '99999999999'"},
        {"--proxy-from=host", "--proxy-from: 'host' is not an IPv4 or IPv6 address or network"},
        {"--proxy-timeout=0", "--proxy-timeout: '0'"},
        {"--keepalive=1d", "--keepalive: '1d'"},
        {"--workers=65", "--workers: '65' is not a number from 0 to 64"},
        {"--workers=-1", "--workers: '-1'"},
        {"--workers=all", "--workers: 'all'"},
        {"--busy-poll=1000001", "--busy-poll: '1000001' is not a number from 0 to 1000000"},
        {"--busy-poll=-1", "--busy-poll: '-1'"},
        {"--busy-poll=50us", "--busy-poll: '50us'"},
    };
    check_misuses(misuses, sizeof misuses / sizeof *misuses);
}

static void prefix_too_long(struct daemon *daemon)
{
    (void)daemon;
    char options[300] = "--prefix=";
    memset(options + strlen(options), 'p', 256);
    check_misuse(&(struct misuse){options, "--prefix: 256 bytes"});
}

/* The resolver refuses all of these without a query: no label may be empty or so long. */
static void bad_addresses(struct daemon *daemon)
{
    (void)daemon;
    static const struct misuse misuses[] = {
        {"--bind=", "--bind: ''"},
        {"--bind=a..b", "--bind: 'a..b'"},
        {"-b a..b", "--bind: 'a..b'"},
        {"--bind=127.0.0.1 --bind=1..2", "--bind: '1..2'"},
        {"--bind=a-label-that-is-longer-than-the-63-bytes-which-a-label-may-have-at-most",
         "--bind: 'a-label"},
    };
    check_misuses(misuses, sizeof misuses / sizeof *misuses);
}

/* Whatever a value contains, the complaint is one line. */
static void values_with_control_characters(struct daemon *daemon)
{
    (void)daemon;
    static const struct misuse misuses[] = {
        {"--port=1\n2", "--port"},
        {"--no\nsuch", "such"},
        {"stray\nargument", "argument"},
    };
    check_misuses(misuses, sizeof misuses / sizeof *misuses);
}

/* The question of a running daemon, asked by somebody else. What can go well is in e2e.upgrade. */
static void check_handover_without_a_daemon(struct daemon *daemon)
{
    static const char *const number[] = {"UVECHOD_LEDGER=x", NULL};
    static const char *const none[] = {"UVECHOD_LEDGER=0", NULL};
    struct launch launch = {.options = "--check-handover"};
    (void)daemon;
    (void)harness_run_refused(&launch, 2, "--check-handover", "UVECHOD_LEDGER");
    launch.setup = number;
    (void)harness_run_refused(&launch, 1, "cannot take over", "Invalid argument");
    launch.setup = none;
    (void)harness_run_refused(&launch, 1, "cannot take over", "another version, or damaged");
    launch.options = "--check-handover --no-such-option";
    (void)harness_run_refused(&launch, 2, "--no-such-option", "unknown");
}

/* ---- starts that fail ---- */

static void check_port_in_use(const char *port_option, uint16_t port, const char *bind,
                              const char *address)
{
    char options[80];
    char said[32];
    (void)snprintf(options, sizeof options, "%s%u%s", port_option, (unsigned)port, bind);
    (void)snprintf(said, sizeof said, "%s:%u:", address, (unsigned)port);
    (void)harness_run_refused(&(struct launch){.options = options, .own_port = true}, 1, said,
                              "Address already in use");
}

static void port_in_use(struct daemon *daemon)
{
    daemon_start(daemon, "--bind=127.0.0.1");
    check_port_in_use("--port=", daemon->port, "", "0.0.0.0");
    check_port_in_use("-p ", daemon->port, " -b 127.0.0.1", "127.0.0.1");
    check_port_in_use("-p", daemon->port, " --bind=127.0.0.2 --bind=127.0.0.1", "127.0.0.1");
    client_ping(client_connect(daemon), "GOT:", "I was first");
}

static void address_of_another_machine(struct daemon *daemon)
{
    (void)daemon;
    if (harness_has_address("198.51.100.1")) /* reserved for documentation */
        harness_skip("this machine binds to addresses that it does not have");
    (void)harness_run_refused(&(struct launch){.options = "--bind=198.51.100.1"}, 1,
                              "198.51.100.1:", "Cannot assign requested address");
}

static long unprivileged_port_start(void)
{
    char text[32] = "1024";
    FILE *file = fopen("/proc/sys/net/ipv4/ip_unprivileged_port_start", "re");
    if (file != NULL) {
        size_t n = fread(text, 1, sizeof text - 1, file);
        assert_true(n > 0);
        (void)fclose(file);
    }
    return strtol(text, NULL, 10);
}

static void privileged_port(struct daemon *daemon)
{
    (void)daemon;
    if (unprivileged_port_start() <= 7)
        harness_skip("anybody may bind port 7 here");
    if (geteuid() == 0 && prctl(PR_CAPBSET_READ, CAP_SETPCAP) != 1)
        harness_skip("root that cannot give up a right");
    const struct launch launch = {
        .options = "--port=7 --bind=127.0.0.1", .own_port = true, .may_not_bind_low = true};
    (void)harness_run_refused(&launch, 1, "127.0.0.1:7:", "Permission denied");
}

/* Runs a command in a shell with a /dev of its own, which is empty. */
static void run_without_dev(const char *command)
{
    const char *path = harness_path("without-dev");
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fprintf(file,
                        "exec unshare --user --map-root-user --mount sh -c '\n"
                        "mount -t tmpfs none /dev || exit 99\n%s'\n",
                        command) > 0);
    assert_int_equal(fclose(file), 0);
    harness_run(&outcome, &(struct launch){.options = path, .program = "sh", .own_port = true});
    if (strstr(outcome.err, "unshare") != NULL || outcome.status == 99 || outcome.status == 127)
        harness_skip("no mount name space can be made here (unshare(1), mount(8))");
}

/*
 * Without /dev/null the next descriptor that libuv opens for itself would become our stderr. With
 * all three open, nothing needs that file.
 */
static void closed_descriptors_without_dev_null(struct daemon *daemon)
{
    (void)daemon;
    run_without_dev("exec " UVECHOD_BINARY " --port=0 <&-");
    assert_int_equal(outcome.status, 1);
    assert_one_line(outcome.err);
    assert_contains(outcome.err, "/dev/null: No such file or directory");
    run_without_dev("exec " UVECHOD_BINARY " --port=0 <&- >&- 2>&-");
    assert_int_equal(outcome.status, 1);
    run_without_dev("exec " UVECHOD_BINARY " --version");
    assert_int_equal(outcome.status, 0);
}

/* ---- starts that succeed ---- */

/* Whether or not the port is free, a line contains it. */
static void default_port(struct daemon *daemon)
{
    daemon_launch(daemon, &(struct launch){.options = "--bind=127.0.0.1", .own_port = true});
    bool taken = strstr(daemon_wait_line(daemon, " on 127.0.0.1:25000"), "Cannot") != NULL;
    if (taken)
        assert_int_equal(daemon_wait_exit(daemon), 1);
}

static void options_in_every_form(struct daemon *daemon)
{
    static const struct launch launch = {.options = "-p0 -b 127.0.0.1 --pre ab --chu 3 -v --back 9",
                                         .own_port = true};
    daemon_launch(daemon, &launch);
    (void)daemon_wait_port(daemon, "Listening on 127.0.0.1:");
    int fd = client_connect(daemon);
    client_ping(fd, "ab", "123");
    client_ping(fd, "ab", "1");
}

/* The last one of an option counts. */
static void options_given_twice(struct daemon *daemon)
{
    daemon_start(daemon, "--port=1 --port=0 --rfc862 --prefix=A: --chunk=1 --chunk=100");
    client_ping(client_connect(daemon), "A:", "hello");
}

static void names_are_resolved(struct daemon *daemon)
{
    struct addrinfo *found = NULL;
    if (getaddrinfo("localhost", NULL, NULL, &found) != 0)
        harness_skip("localhost does not resolve (no /etc/hosts?)");
    freeaddrinfo(found);
    daemon_launch(daemon, &(struct launch){.options = "--bind=localhost"});
    const char *line = daemon_wait_port(daemon, "Listening on ");
    bool in6 = strstr(line, "[::1]") != NULL;
    client_ping(client_connect_to(daemon, in6 ? "::1" : "127.0.0.1"), "GOT:", "hello");
}

int main(void)
{
    harness_init();
    const struct CMUnitTest tests[] = {
        e2e_test(help),
        e2e_test(version),
        e2e_test(help_that_cannot_be_written),
        e2e_test(unknown_options),
        e2e_test(missing_values),
        e2e_test(bad_ports),
        e2e_test(bad_numbers),
        e2e_test(prefix_too_long),
        e2e_test(bad_addresses),
        e2e_test(values_with_control_characters),
        e2e_test(check_handover_without_a_daemon),
        e2e_test(port_in_use),
        e2e_test(address_of_another_machine),
        e2e_test(privileged_port),
        e2e_test(closed_descriptors_without_dev_null),
        e2e_test(default_port),
        e2e_test(options_in_every_form),
        e2e_test(options_given_twice),
        e2e_test(names_are_resolved),
    };
    return cmocka_run_group_tests_name("e2e.cli", tests, NULL, NULL);
}
