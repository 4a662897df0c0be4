/*
 * test_metrics.c - metrics and health by HTTP: what they say, that nobody who asks can hold up the
 * echo, and that figures and socket outlive upgrades, restarts and crashes. Debian's promtool and
 * prometheus judge the figures, too, where they are installed.
 */
#include "harness.h"

#include "manager.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CLIENTS = 8, ANSWER_MAX = 64 * 1024, LATE_MS = 5000, BYTE_MS = 500 };

#define OPENMETRICS "Accept: application/openmetrics-text; version=1.0.0, text/plain; q=0.5\r\n"

static struct {
    struct daemon where; /* whose port is that of the metrics */
    char unix_path[128]; /* instead of a port, unless empty */
    char answer[ANSWER_MAX];
} fix;

/* Skips the test where the daemon has no metrics. The first one of those that starts a daemon. */
static void need_metrics(void)
{
    if (!UVECHOD_MICROHTTPD)
        harness_skip("built without libmicrohttpd");
}

/* ---- a client ---- */

/* Finds the port in the last line that names it. */
static void find_metrics(const struct daemon *daemon)
{
    const char *text = "Serving metrics on 127.0.0.1:";
    const char *line = NULL;
    for (const char *at = daemon->log; (at = strstr(at, text)) != NULL; at++)
        line = at;
    assert_non_null(line);
    fix.unix_path[0] = '\0';
    fix.where.port = (uint16_t)strtoul(line + strlen(text), NULL, 10);
    assert_int_not_equal(fix.where.port, 0);
}

static void start(struct daemon *daemon, const char *options)
{
    char all[512];
    need_metrics();
    (void)snprintf(all, sizeof all, "--bind=127.0.0.1 --metrics=127.0.0.1:0 %s", options);
    daemon_start(daemon, all);
    find_metrics(daemon);
}

static int reach(void)
{
    return fix.unix_path[0] != '\0' ? client_connect_unix(fix.unix_path)
                                    : client_connect(&fix.where);
}

/* Receives up to the end of the stream, and closes. Returns the answer with its head. */
static const char *hear(int fd)
{
    size_t len = 0;
    ssize_t n;
    while ((n = recv(fd, fix.answer + len, sizeof fix.answer - 1 - len, 0)) > 0)
        len += (size_t)n;
    if (n < 0 && errno != ECONNRESET)
        fail_msg("recv: %s", strerror(errno));
    fix.answer[len] = '\0';
    client_close(fd);
    return fix.answer;
}

static void send_request(int fd, const char *method, const char *path, const char *headers)
{
    char request[512];
    int len = snprintf(request, sizeof request, "%s %s HTTP/1.1\r\nHost: uvechod\r\n%s\r\n", method,
                       path, headers);
    client_send(fd, request, (size_t)len);
}

static const char *request(const char *method, const char *path, const char *headers)
{
    int fd = reach();
    send_request(fd, method, path, headers);
    return hear(fd);
}

static const char *ask(const char *path)
{
    return request("GET", path, "");
}

static void expect_status(const char *answer, int status)
{
    char head[32];
    (void)snprintf(head, sizeof head, "HTTP/1.1 %d ", status);
    assert_int_equal(strncmp(answer, head, strlen(head)), 0);
}

static const char *body_of(const char *answer)
{
    const char *end = strstr(answer, "\r\n\r\n");
    assert_non_null(end);
    return end + 4;
}

/* The value of a sample in /metrics, which must be a line of its own. */
static unsigned long long sample(const char *name)
{
    char line[128];
    (void)snprintf(line, sizeof line, "\n%s ", name);
    const char *answer = ask("/metrics");
    expect_status(answer, 200);
    const char *found = strstr(answer, line);
    if (found == NULL)
        fail_msg("no %s in %s", name, answer);
    return strtoull(found + strlen(line), NULL, 10);
}

/* ---- formats ---- */

static void text_for_prometheus(struct daemon *daemon)
{
    start(daemon, "");
    const char *answer = ask("/metrics");
    expect_status(answer, 200);
    assert_contains(answer, "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n");
    assert_contains(answer, "\n# TYPE uvechod_connections gauge\nuvechod_connections 0\n");
    assert_contains(answer, "\n# TYPE uvechod_connections_accepted_total counter\n");
    assert_contains(answer, "\nuvechod_build_info{version=\"" UVECHOD_VERSION "\"} 1\n");
    assert_contains(answer, "\nprocess_open_fds ");
    assert_null(strstr(answer, "# EOF"));
}

static void openmetrics(struct daemon *daemon)
{
    start(daemon, "");
    const char *answer = request("GET", "/metrics", OPENMETRICS);
    expect_status(answer, 200);
    assert_contains(answer, "\r\nContent-Type: application/openmetrics-text; version=1.0.0;");
    assert_contains(answer, "\n# TYPE uvechod_connections_accepted counter\n"
                            "uvechod_connections_accepted_total 0\n");
    assert_contains(answer, "\n# UNIT uvechod_received_bytes bytes\n");
    assert_contains(answer, "\n# TYPE uvechod_build info\n");
    assert_string_equal(answer + strlen(answer) - 7, "\n# EOF\n");
}

/* A value of JSON (RFC 8259) of those kinds that are used. Returns what follows, or fails. */
static const char *json_value(const char *at)
{
    if (*at == '"') {
        const char *end = strchr(at + 1, '"');
        assert_non_null(end);
        return end + 1;
    }
    if (isdigit((unsigned char)*at))
        return at + strspn(at, "0123456789.");
    const bool object = *at == '{';
    assert_true(object || *at == '[');
    do {
        at++;
        if (object) {
            at = json_value(at);
            assert_int_equal(*at++, ':');
        }
        at = json_value(at);
    } while (*at == ',');
    assert_int_equal(*at, object ? '}' : ']');
    return at + 1;
}

static void json(struct daemon *daemon)
{
    start(daemon, "--workers=3");
    const char *answer = ask("/stats");
    expect_status(answer, 200);
    assert_contains(answer, "\r\nContent-Type: application/json\r\n");
    assert_string_equal(json_value(body_of(answer)), "\n");
    assert_contains(answer, "\"uvechod_worker_connections\":[0,0,0],");
    assert_contains(answer, "\"uvechod_build_info\":{\"version\":\"" UVECHOD_VERSION "\"}");
}

/* The log, both texts and JSON say the same. */
static void the_same_figures_everywhere(struct daemon *daemon)
{
    start(daemon, "--workers=1");
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "12345");
    client_visit(daemon);
    daemon_expect_stats(daemon, 2, "1 connections now, 2 in total; 10 bytes in, 18 out; 0 refused");
    assert_int_equal(sample("uvechod_connections"), 1);
    assert_int_equal(sample("uvechod_connections_accepted_total"), 2);
    assert_int_equal(sample("uvechod_received_bytes_total"), 10);
    assert_int_equal(sample("uvechod_sent_bytes_total"), 18);
    assert_int_equal(sample("uvechod_worker_connections{worker=\"0\"}"), 1);
    assert_contains(ask("/stats"), "{\"uvechod_connections\":1,"
                                   "\"uvechod_connections_accepted_total\":2,"
                                   "\"uvechod_received_bytes_total\":10,"
                                   "\"uvechod_sent_bytes_total\":18,");
    client_leave(fd);
    daemon_expect_stats(daemon, 2, "0 connections now, 2 in total; ");
}

/* ---- other requests ---- */

static void other_requests(struct daemon *daemon)
{
    start(daemon, "");
    const char *answer = request("HEAD", "/metrics", "");
    expect_status(answer, 200);
    assert_contains(answer, "\r\nContent-Length: ");
    assert_string_equal(body_of(answer), "");
    expect_status(ask("/nothing"), 404);
    expect_status(ask("/metrics?with=query"), 200);
    answer = request("POST", "/metrics", "Content-Length: 0\r\n");
    expect_status(answer, 405);
    assert_contains(answer, "\r\nAllow: GET, HEAD\r\n");
    int fd = reach();
    client_send(fd, "no HTTP at all\r\n\r\n", 18);
    (void)hear(fd);
    client_visit(daemon);
}

static void a_request_that_is_too_big(struct daemon *daemon)
{
    static char header[8192] = "GET /metrics HTTP/1.1\r\nHost: x\r\nX: ";
    start(daemon, "");
    memset(header + strlen(header), 'x', sizeof header - 1 - strlen(header));
    int fd = reach();
    (void)send(fd, header, sizeof header, MSG_NOSIGNAL); /* the daemon may be quicker */
    const char *answer = hear(fd);
    assert_null(strstr(answer, " 200 "));
    client_visit(daemon);
    assert_int_equal(sample("uvechod_draining"), 0);
}

/* ---- clients that hold something up ---- */

/* Each byte comes in time, and all of them do not. Meanwhile the echo goes on. */
static void one_byte_after_the_other(struct daemon *daemon)
{
    static const char text[] = "GET /metrics HTTP/1.1\r\nHost: somebody who is very slow\r\n";
    start(daemon, "");
    int echo = client_connect(daemon);
    int fd = reach();
    bool cut = false;
    for (size_t i = 0; i < sizeof text && !cut; i++) {
        (void)send(fd, &text[i], 1, MSG_NOSIGNAL);
        client_ping(echo, "GOT:", "hello");
        cut = client_readable(fd, BYTE_MS);
    }
    assert_true(cut);
    assert_string_equal(hear(fd), "");
    client_leave(echo);
    assert_int_equal(sample("uvechod_connections"), 0);
}

/* Each asks and reads nothing. */
static void nobody_reads(struct daemon *daemon)
{
    int fds[CLIENTS];
    start(daemon, "");
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = client_connect_small(&fix.where);
        send_request(fds[i], "GET", "/metrics", "");
    }
    client_visit(daemon);
    client_visit(daemon);
    for (int i = 0; i < CLIENTS; i++)
        client_close(fds[i]);
    assert_int_equal(sample("uvechod_connections_accepted_total"), 2);
}

/* The ninth waits until one of the eight has gone. */
static void the_ninth_client(struct daemon *daemon)
{
    int fds[CLIENTS];
    start(daemon, "");
    for (int i = 0; i < CLIENTS; i++) {
        fds[i] = reach();
        client_send(fds[i], "GET", 3);
    }
    int ninth = reach();
    send_request(ninth, "GET", "/livez", "");
    assert_false(client_readable(ninth, HARNESS_LOCKED_MS));
    client_visit(daemon);
    client_close(fds[3]);
    expect_status(hear(ninth), 200);
    for (int i = 0; i < CLIENTS; i++)
        if (i != 3)
            client_close(fds[i]);
}

/* Of those that hold all places and say nothing, each is cut in time, and the next is served. */
static void silent_clients_are_cut(struct daemon *daemon)
{
    int fds[CLIENTS];
    start(daemon, "");
    for (int i = 0; i < CLIENTS; i++)
        fds[i] = reach();
    expect_status(ask("/livez"), 200);
    for (int i = 0; i < CLIENTS; i++)
        assert_string_equal(hear(fds[i]), "");
}

/* They take no place of a client, and no descriptor of one. */
static void clients_count_in_no_limit(struct daemon *daemon)
{
    int fds[CLIENTS];
    start(daemon, "--max-connections=1 --max-per-source=1 --max-rate=1 --workers=1");
    for (int i = 0; i < CLIENTS - 1; i++) {
        fds[i] = reach();
        client_send(fds[i], "GET", 3);
    }
    expect_status(ask("/livez"), 200);
    client_visit(daemon);
    assert_int_equal(sample("uvechod_connections_max"), 1);
    assert_int_equal(sample("uvechod_connections_accepted_total"), 1);
    assert_int_equal(sample("uvechod_refused_per_source_total"), 0);
    for (int i = 0; i < CLIENTS - 1; i++)
        client_close(fds[i]);
}

/* ---- health ---- */

static void full(struct daemon *daemon)
{
    start(daemon, "--max-connections=1 --workers=1");
    expect_status(ask("/readyz"), 200);
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "hello");
    const char *answer = ask("/readyz");
    expect_status(answer, 503);
    assert_string_equal(body_of(answer), "full\n");
    expect_status(ask("/livez"), 200);
    client_leave(fd);
    daemon_expect_stats(daemon, 2, "0 connections now");
    expect_status(ask("/readyz"), 200);
}

static void draining(struct daemon *daemon)
{
    start(daemon, "--workers=2");
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "hello");
    daemon_signal(daemon, SIGTERM);
    (void)daemon_wait_line(daemon, "Stopping: waiting for 1 connection");
    const char *answer = ask("/readyz");
    expect_status(answer, 503);
    assert_string_equal(body_of(answer), "draining\n");
    expect_status(ask("/livez"), 200);
    assert_int_equal(sample("uvechod_draining"), 1);
    client_leave(fd);
    assert_int_equal(daemon_wait_exit(daemon), 0);
}

/* A client of the metrics keeps no daemon from its end. */
static void a_stop_waits_for_no_client(struct daemon *daemon)
{
    start(daemon, "");
    int fd = reach();
    client_send(fd, "GET", 3);
    expect_status(ask("/livez"), 200); /* so the one before has been accepted */
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
    assert_string_equal(hear(fd), "");
}

/* An idle daemon sleeps, after a scrape as before. */
static void it_sleeps(struct daemon *daemon)
{
    start(daemon, "");
    expect_status(ask("/metrics"), 200);
    daemon_assert_asleep(daemon);
}

/* ---- upgrade, restart, crash ---- */

static void expect_past(unsigned generations)
{
    assert_int_equal(sample("uvechod_connections"), 1);
    assert_int_equal(sample("uvechod_connections_accepted_total"), 2);
    assert_int_equal(sample("uvechod_received_bytes_total"), 10);
    assert_int_equal(sample("uvechod_generations_total"), generations);
}

static int make_past(struct daemon *daemon)
{
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "12345");
    client_visit(daemon);
    daemon_expect_stats(daemon, 2, "1 connections now, 2 in total; 10 bytes in, 18 out");
    return fd;
}

/* A client that waits to be accepted is served by the next one, at the same port. */
static void upgrades(struct daemon *daemon)
{
    start(daemon, "--workers=1");
    const uint16_t port = fix.where.port;
    int fd = make_past(daemon);
    for (unsigned i = 1; i <= 3; i++) {
        int cut = reach();
        client_send(cut, "GET", 3);
        expect_status(ask("/livez"), 200);
        daemon_signal(daemon, SIGUSR2);
        (void)daemon_wait_line(daemon, "Took over 1 connection in ");
        assert_string_equal(hear(cut), "");
        find_metrics(daemon);
        assert_int_equal(fix.where.port, port);
        expect_past(i);
    }
    client_ping(fd, "GOT:", "more");
    client_leave(fd);
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
}

static void crashes(struct daemon *daemon)
{
    start(daemon, "--keep --workers=1");
    const uint16_t port = fix.where.port;
    int fd = client_connect(daemon);
    client_ping(fd, "GOT:", "12345");
    for (unsigned i = 1; i <= 3; i++) {
        int cut = reach();
        client_send(cut, "GET", 3);
        expect_status(ask("/livez"), 200);
        assert_int_equal(kill(daemon_child(daemon), SIGKILL), 0);
        (void)daemon_wait_line(daemon, "Took over 1 connection in ");
        assert_string_equal(hear(cut), "");
        find_metrics(daemon);
        assert_int_equal(fix.where.port, port);
        assert_int_equal(sample("uvechod_connections"), 1);
        assert_true(sample("uvechod_connections_accepted_total") >= 1);
        assert_int_equal(sample("uvechod_generations_total"), i);
    }
    client_ping(fd, "GOT:", "more");
    client_leave(fd);
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
}

/* The daemon of the next start has the socket if it asks for it, and else nobody has. */
static void restarts(struct daemon *daemon)
{
    static const char options[] = "--metrics=127.0.0.1:0 --workers=1";
    struct manager manager;
    need_metrics();
    manager_start(&manager, daemon, options);
    find_metrics(daemon);
    const uint16_t port = fix.where.port;
    int fd = make_past(daemon);
    for (unsigned i = 1; i <= 2; i++) {
        (void)manager_restart(&manager, daemon, options);
        find_metrics(daemon);
        assert_int_equal(fix.where.port, port);
        expect_past(i);
    }
    (void)manager_restart(&manager, daemon, "--workers=1");
    assert_int_equal(client_try(&fix.where, "127.0.0.1"), -ECONNREFUSED);
    client_ping(fd, "GOT:", "more");
    client_leave(fd);
    manager_stop(&manager, daemon);
}

/* ---- addresses ---- */

static void unix_socket(struct daemon *daemon)
{
    char options[256];
    struct stat file;
    need_metrics();
    (void)snprintf(fix.unix_path, sizeof fix.unix_path, "%s", harness_path("metrics.sock"));
    (void)snprintf(options, sizeof options, "--bind=127.0.0.1 --metrics=unix:%s --socket-mode=0600",
                   fix.unix_path);
    daemon_start(daemon, options);
    expect_status(ask("/metrics"), 200);
    assert_int_equal(stat(fix.unix_path, &file), 0);
    assert_int_equal(file.st_mode & 0777, 0600);
    daemon_signal(daemon, SIGUSR2);
    (void)daemon_wait_line(daemon, "Took over ");
    expect_status(ask("/readyz"), 200);
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
    assert_int_equal(stat(fix.unix_path, &file), -1);
    assert_int_equal(errno, ENOENT);
}

static void start_passed(struct daemon *daemon, const int *fds, int count, const char *names,
                         const char *options)
{
    need_metrics();
    if (!UVECHOD_SYSTEMD)
        harness_skip("built without libsystemd");
    const struct launch launch = {
        .options = options, .own_port = true, .fds = fds, .fds_count = count, .fd_names = names};
    daemon_launch(daemon, &launch);
}

static void passed_with_others(struct daemon *daemon)
{
    int fds[] = {harness_listen("127.0.0.1"), harness_listen("127.0.0.1")};
    start_passed(daemon, fds, 2, "metrics:echo", NULL);
    (void)daemon_wait_port(daemon, "Listening on ");
    find_metrics(daemon);
    expect_status(ask("/readyz"), 200);
    client_visit(daemon);
    daemon_signal(daemon, SIGUSR2);
    (void)daemon_wait_line(daemon, "Took over ");
    expect_status(ask("/readyz"), 200);
    client_visit(daemon);
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
    client_close(fds[0]);
    client_close(fds[1]);
}

/* The daemon opens the sockets of the echo itself, also where options say. */
static void passed_alone(struct daemon *daemon)
{
    int fd = harness_listen("127.0.0.1");
    start_passed(daemon, &fd, 1, "metrics", "--port=0 --bind=127.0.0.1");
    (void)daemon_wait_port(daemon, "Listening on ");
    find_metrics(daemon);
    expect_status(ask("/readyz"), 200);
    client_visit(daemon);
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
    client_close(fd);
}

/* Two sockets, of which the first is the metrics' if its name says so. fd is an old client. */
static void expect_served(const struct daemon *daemon, const struct manager *manager, int fd)
{
    int fresh = client_connect_like(manager->sockets[1]);
    find_metrics(daemon);
    expect_status(ask("/readyz"), 200);
    client_ping(fresh, "GOT:", "x");
    client_ping(fd, "GOT:", "y");
    client_leave(fresh);
}

/*
 * After an upgrade, LISTEN_FDNAMES has the names of descriptors that have long been something else:
 * the ledger knows better. After a restart the names are new, and may have changed.
 */
static void passed_again(struct daemon *daemon)
{
    struct manager manager;
    need_metrics();
    manager_open(&manager);
    manager.socket_count = 2;
    for (int i = 0; i < 2; i++)
        manager.sockets[i] = harness_listen("127.0.0.1");
    manager.socket_names[0] = "metrics";
    manager_launch(&manager, daemon, "");
    (void)daemon_wait_line(daemon, "Listening on ");
    int fd = client_connect_like(manager.sockets[1]);
    expect_served(daemon, &manager, fd);
    (void)manager_restart(&manager, daemon, "");
    expect_served(daemon, &manager, fd);
    for (int i = 0; i < 2; i++) {
        daemon_signal(daemon, SIGUSR2);
        (void)daemon_wait_line(daemon, "Took over ");
        expect_served(daemon, &manager, fd);
    }
    (void)manager_restart(&manager, daemon, "");
    expect_served(daemon, &manager, fd);
    manager.socket_names[0] = "more";
    (void)manager_restart(&manager, daemon, "");
    assert_int_equal(daemon_count(daemon, "Serving metrics on "), 0);
    int more = client_connect_like(manager.sockets[0]);
    client_ping(more, "GOT:", "z");
    client_ping(fd, "GOT:", "y");
    client_leave(more);
    client_leave(fd);
    manager_stop(&manager, daemon);
    for (int i = 0; i < 2; i++)
        (void)close(manager.sockets[i]);
}

static void passed_and_named(struct daemon *daemon)
{
    int fds[] = {harness_listen("127.0.0.1"), harness_listen("127.0.0.1")};
    need_metrics();
    (void)daemon;
    if (!UVECHOD_SYSTEMD)
        harness_skip("built without libsystemd");
    struct launch launch = {.options = "--metrics=127.0.0.1:0",
                            .own_port = true,
                            .fds = fds,
                            .fds_count = 2,
                            .fd_names = "metrics:echo"};
    (void)harness_run_refused(&launch, 2, "--metrics: systemd has passed", "'metrics'");
    launch.options = NULL;
    launch.fd_names = "metrics:metrics";
    (void)harness_run_refused(&launch, 2, "More than one socket", "'metrics'");
    client_close(fds[0]);
    client_close(fds[1]);
}

static void address_in_use(struct daemon *daemon)
{
    char options[80];
    start(daemon, "");
    (void)snprintf(options, sizeof options, "--bind=127.0.0.1 --metrics=127.0.0.1:%u",
                   fix.where.port);
    const struct launch launch = {.options = options};
    (void)harness_run_refused(&launch, 1, "Cannot listen on 127.0.0.1:", strerror(EADDRINUSE));
    expect_status(ask("/readyz"), 200);
}

/* ---- Prometheus ---- */

static void promtool_checks(struct daemon *daemon)
{
    if (system("command -v promtool >/dev/null") != 0)
        harness_skip("there is no promtool (Debian: prometheus)");
    start(daemon, "--workers=2");
    client_visit(daemon);
    FILE *promtool = popen("promtool check metrics", "w");
    assert_non_null(promtool);
    (void)fputs(body_of(ask("/metrics")), promtool);
    assert_int_equal(pclose(promtool), 0);
}

/* Writes what it is told to scrape, and where to write what it has scraped. */
static void configure_prometheus(const char *path, uint16_t written_to)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    (void)fprintf(file,
                  "global: {scrape_interval: 1s}\n"
                  "scrape_configs:\n"
                  "  - {job_name: uvechod, static_configs: [{targets: ['127.0.0.1:%u']}]}\n"
                  "remote_write:\n"
                  "  - {url: 'http://127.0.0.1:%u/'}\n",
                  fix.where.port, written_to);
    assert_int_equal(fclose(file), 0);
}

/* Starts it with a directory of its own. Returns its pid; it is killed when we end. */
static pid_t start_prometheus(const char *dir, const char *config, uint16_t port)
{
    char options[3][256];
    (void)snprintf(options[0], sizeof options[0], "--config.file=%s", config);
    (void)snprintf(options[1], sizeof options[1], "--storage.tsdb.path=%s", dir);
    (void)snprintf(options[2], sizeof options[2], "--web.listen-address=127.0.0.1:%u", port);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        int log = open(config, O_WRONLY | O_APPEND | O_CLOEXEC); /* it has been asked to be quiet */
        (void)dup2(log, STDERR_FILENO);
        (void)execlp("prometheus", "prometheus", "--log.level=error", options[0], options[1],
                     options[2], (char *)NULL);
        _exit(127);
    }
    return pid;
}

/* It writes away what it has scraped: that is the event for which the test waits. */
static void prometheus_scrapes(struct daemon *daemon)
{
    char dir[] = "/tmp/uvechod-prometheus.XXXXXX";
    char command[64];
    struct sockaddr_in addr;
    socklen_t len = sizeof addr;
    if (system("command -v prometheus >/dev/null") != 0)
        harness_skip("there is no prometheus (Debian: prometheus)");
    start(daemon, "");
    client_visit(daemon);
    int writes = harness_listen("127.0.0.1");
    assert_int_equal(getsockname(writes, (struct sockaddr *)&addr, &len), 0);
    const char *config = harness_path("prometheus.yml");
    configure_prometheus(config, ntohs(addr.sin_port));
    assert_non_null(mkdtemp(dir));
    struct daemon web = {.port = harness_free_port()};
    pid_t pid = start_prometheus(dir, config, web.port);
    int written = accept(writes, NULL, NULL);
    assert_true(written >= 0);
    assert_true(client_readable(written, HARNESS_DEADLINE_MS));
    int fd = client_connect(&web);
    send_request(fd, "GET", "/api/v1/query?query=uvechod_connections_accepted_total",
                 "Connection: close\r\n");
    const char *answer = hear(fd);
    (void)kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    (void)snprintf(command, sizeof command, "rm -rf %s", dir);
    assert_int_equal(system(command), 0);
    client_close(written);
    client_close(writes);
    assert_contains(answer, "\"job\":\"uvechod\"},\"value\":[");
    assert_contains(answer, ",\"1\"]}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        e2e_test(text_for_prometheus),
        e2e_test(openmetrics),
        e2e_test(json),
        e2e_test(the_same_figures_everywhere),
        e2e_test(other_requests),
        e2e_test(a_request_that_is_too_big),
        e2e_test(one_byte_after_the_other),
        e2e_test(nobody_reads),
        e2e_test(the_ninth_client),
        e2e_test(silent_clients_are_cut),
        e2e_test(clients_count_in_no_limit),
        e2e_test(full),
        e2e_test(draining),
        e2e_test(a_stop_waits_for_no_client),
        e2e_test(it_sleeps),
        e2e_test(upgrades),
        e2e_test(crashes),
        e2e_test(restarts),
        e2e_test(unix_socket),
        e2e_test(passed_with_others),
        e2e_test(passed_alone),
        e2e_test(passed_again),
        e2e_test(passed_and_named),
        e2e_test(address_in_use),
        e2e_test(promtool_checks),
        e2e_test(prometheus_scrapes),
    };
    harness_init();
    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
