/*
 * server.c and the files of its steps: server_run() in a thread of the test, on the loopback
 * interface. The test uses signals and connections, as users of the daemon do. It reads the log
 * line by line through a pipe, and waits by waiting for a line. The clock of connections and sleeps
 * is wrapped and runs CLOCK_SPEED times as fast, so that deadlines come soon. The calls by which a
 * start can fail are wrapped, too.
 */
#include "server/server.h"

#include "unit/server/services.h"
#include "unit/support.h"

#include "service/chunks.h"
#include "stream/conn.h"
#include "os/descriptors.h"
#include "os/http.h"
#include "stream/listener.h"
#include "service/pipes.h"
#include "task/sched.h"
#include "task/timer.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { CLOCK_SPEED = 20, HOUR_MS = 3600000, LINE_MAX_BYTES = 1024, PASSED_FD = 3, PASSED_MAX = 2 };

/* The failures to cause: each is a negative errno, or 0. Must be set before the server starts. */
static struct {
    int loop_init, reserve, raise, probe, signal_init, signal_start, sched_run;
    long descriptors;      /* what descriptors_raise() returns; 0: the real value */
    long watches;          /* what watches_max() returns; 0: the real value */
    int listener_start;    /* of the listener_start_at-th call */
    int listener_start_at; /* counts down */
    int accept;            /* of the first call of net_accept() */
    int remote;            /* of net_remote() */
    atomic_int conn_open;  /* of the first call */
    int file;              /* of memory_file_make() */
    int calloc_at;         /* the call that fails; counts down */
    int http;              /* of http_open() */
    bool hangs;            /* a worker does not answer when /livez asks */
} fault;

static struct {
    struct server_config config;
    struct service service; /* used instead of services.h after serve_echo() */
    struct echo_config echo;
    union net_addr addrs[2];
    struct endpoint_addr wanted[2]; /* the same addresses, for the config */
    enum log_level level;
    uv_thread_t thread;
    bool running;
    int rc;
    int log_fd; /* the writing end */
    FILE *log;  /* the reading end */
    char line[LINE_MAX_BYTES];
    unsigned port;
    unsigned alive_status; /* of /livez */
    uv_sem_t loop_runs;
    int manager;           /* receives the server's messages; -1: there is no manager */
    int early;             /* messages received before the server listened */
    char dir[32];          /* of a Unix socket */
    char path[64];         /* of that socket */
    int fds;               /* open before the test */
    atomic_int bad_closes; /* calls of net_close() for a descriptor that is not open */
} fix;

uint64_t __real_uv_now(const uv_loop_t *loop);
uint64_t __wrap_uv_now(const uv_loop_t *loop);
int __real_timer_wait(struct timer *timer, struct task *task, unsigned ms);
int __wrap_timer_wait(struct timer *timer, struct task *task, unsigned ms);
int __real_uv_loop_init(uv_loop_t *loop);
int __wrap_uv_loop_init(uv_loop_t *loop);
int __real_uv_signal_init(uv_loop_t *loop, uv_signal_t *handle);
int __wrap_uv_signal_init(uv_loop_t *loop, uv_signal_t *handle);
int __real_uv_signal_start(uv_signal_t *handle, uv_signal_cb cb, int signum);
int __wrap_uv_signal_start(uv_signal_t *handle, uv_signal_cb cb, int signum);
int __real_sock_reserve(uv_loop_t *loop, int fd, int highest_fd);
int __wrap_sock_reserve(uv_loop_t *loop, int fd, int highest_fd);
long __real_descriptors_raise(void);
long __wrap_descriptors_raise(void);
long __real_watches_max(void);
long __wrap_watches_max(void);
int __real_descriptors_probe(int fd);
int __wrap_descriptors_probe(int fd);
int __real_listener_start(struct listener *listener, struct sched *sched, struct acceptor *acceptor,
                          struct listener_watcher *watcher, int fd, uint8_t service);
int __wrap_listener_start(struct listener *listener, struct sched *sched, struct acceptor *acceptor,
                          struct listener_watcher *watcher, int fd, uint8_t service);
int __real_net_accept(int fd, union net_peer *peer);
int __wrap_net_accept(int fd, union net_peer *peer);
int __real_net_remote(int fd, union net_peer *peer);
int __wrap_net_remote(int fd, union net_peer *peer);
void __real_net_close(int fd);
void __wrap_net_close(int fd);
int __real_conn_open(struct conns *conns, const struct accepted *accepted);
int __wrap_conn_open(struct conns *conns, const struct accepted *accepted);
int __real_sched_run(struct sched *sched);
int __wrap_sched_run(struct sched *sched);
int __real_memory_file_make(const char *name, uint64_t bytes);
int __wrap_memory_file_make(const char *name, uint64_t bytes);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
int __real_http_open(struct http *http, int listening, struct http_handler *handler);
int __wrap_http_open(struct http *http, int listening, struct http_handler *handler);
bool __real_workers_alive(struct workers *workers);
bool __wrap_workers_alive(struct workers *workers);

uint64_t __wrap_uv_now(const uv_loop_t *loop)
{
    return __real_uv_now(loop) * CLOCK_SPEED;
}

int __wrap_timer_wait(struct timer *timer, struct task *task, unsigned ms)
{
    return __real_timer_wait(timer, task, ms / CLOCK_SPEED + 1);
}

int __wrap_uv_loop_init(uv_loop_t *loop)
{
    return fault.loop_init < 0 ? fault.loop_init : __real_uv_loop_init(loop);
}

int __wrap_uv_signal_init(uv_loop_t *loop, uv_signal_t *handle)
{
    return fault.signal_init < 0 ? fault.signal_init : __real_uv_signal_init(loop, handle);
}

int __wrap_uv_signal_start(uv_signal_t *handle, uv_signal_cb cb, int signum)
{
    return fault.signal_start < 0 ? fault.signal_start : __real_uv_signal_start(handle, cb, signum);
}

int __wrap_sock_reserve(uv_loop_t *loop, int fd, int highest_fd)
{
    return fault.reserve < 0 ? fault.reserve : __real_sock_reserve(loop, fd, highest_fd);
}

long __wrap_descriptors_raise(void)
{
    if (fault.raise < 0)
        return fault.raise;
    return fault.descriptors > 0 ? fault.descriptors : __real_descriptors_raise();
}

long __wrap_watches_max(void)
{
    return fault.watches != 0 ? fault.watches : __real_watches_max();
}

int __wrap_descriptors_probe(int fd)
{
    return fault.probe < 0 ? fault.probe : __real_descriptors_probe(fd);
}

int __wrap_listener_start(struct listener *listener, struct sched *sched, struct acceptor *acceptor,
                          struct listener_watcher *watcher, int fd, uint8_t service)
{
    struct pollfd told = {.fd = fix.manager, .events = POLLIN};
    fix.early += poll(&told, 1, 0);
    if (fault.listener_start < 0 && --fault.listener_start_at == 0)
        return fault.listener_start;
    return __real_listener_start(listener, sched, acceptor, watcher, fd, service);
}

int __wrap_net_accept(int fd, union net_peer *peer)
{
    int rc = fault.accept;
    fault.accept = 0;
    return rc < 0 ? rc : __real_net_accept(fd, peer);
}

int __wrap_net_remote(int fd, union net_peer *peer)
{
    return fault.remote < 0 ? fault.remote : __real_net_remote(fd, peer);
}

void __wrap_net_close(int fd)
{
    fix.bad_closes += !fd_is_open(fd);
    __real_net_close(fd);
}

int __wrap_conn_open(struct conns *conns, const struct accepted *accepted)
{
    int rc = atomic_exchange(&fault.conn_open, 0);
    if (rc < 0)
        net_close(accepted->fd);
    return rc < 0 ? rc : __real_conn_open(conns, accepted);
}

int __wrap_sched_run(struct sched *sched)
{
    uv_sem_post(&fix.loop_runs);
    if (fault.sched_run < 0) {
        sched->reason = 4711;
        return fault.sched_run;
    }
    return __real_sched_run(sched);
}

int __wrap_memory_file_make(const char *name, uint64_t bytes)
{
    return fault.file < 0 ? fault.file : __real_memory_file_make(name, bytes);
}

void *__wrap_calloc(size_t count, size_t size)
{
    if (fault.calloc_at > 0 && --fault.calloc_at == 0)
        return NULL;
    return __real_calloc(count, size);
}

int __wrap_http_open(struct http *http, int listening, struct http_handler *handler)
{
    struct http_reply reply = {.status = 0};
    if (fault.hangs) {
        handler->answer(handler, &(struct http_request){.path = "/livez"}, &reply);
        free(reply.body);
        fix.alive_status = reply.status;
    }
    return fault.http < 0 ? fault.http : __real_http_open(http, listening, handler);
}

bool __wrap_workers_alive(struct workers *workers)
{
    return __real_workers_alive(workers) && !fault.hangs;
}

/* Occupies the numbers of passed sockets, so that the test opens no other descriptor there. */
static void hold_passed(void)
{
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    for (int fd = PASSED_FD; fd < PASSED_FD + PASSED_MAX; fd++)
        if (fd != null)
            assert_int_equal(dup3(null, fd, O_CLOEXEC), fd);
    if (null >= PASSED_FD + PASSED_MAX)
        (void)close(null);
}

/* What a predecessor has left: a listener, and a connection that it has served. */
static struct {
    struct ledger ledger;
    int fds[3]; /* of the ledger's file, the listener and the connection */
    int client;
} past;

static int fixture_open(void **state)
{
    (void)state;
    memset(&fix, 0, sizeof fix);
    memset(&fault, 0, sizeof fault);
    fix.manager = -1;
    fix.fds = count_fds();
    fix.level = LOG_LEVEL_INFO;
    fix.addrs[0] = fix.addrs[1] = net_any(AF_INET);
    fix.addrs[0].in.sin_addr.s_addr = htonl(0x7f000001); /* 127.0.0.1 */
    fix.addrs[1].in.sin_addr.s_addr = htonl(0x7f000002);
    fix.config =
        (struct server_config){.endpoints = {.addrs = fix.wanted, .count = 1, .backlog = 10},
                               .services = echo_services(),
                               .workers = 1,
                               .drain_ms = HOUR_MS};
    return uv_sem_init(&fix.loop_runs, 0);
}

/* Must be called before the server starts. */
static void serve_echo(const struct echo_config *echo)
{
    fix.echo = *echo;
    fix.service = (struct service){.handler = &echo_handler, .config = &fix.echo};
    fix.config.services = (struct services){.list = &fix.service, .count = 1};
}

static void on_thread(void *arg)
{
    struct log log;
    (void)arg;
    log_init(&log, fix.log_fd, fix.level);
    fix.wanted[0].addr = fix.addrs[0];
    fix.wanted[1].addr = fix.addrs[1];
    fix.rc = server_run(&fix.config, &log);
    log_close(&log);
    (void)close(fix.log_fd);
}

static void make_log_pipe(void)
{
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    fix.log_fd = fds[1];
    fix.log = fdopen(fds[0], "r");
    assert_non_null(fix.log);
}

/* Starts the server, and waits for nothing. */
static void server_start(void)
{
    make_log_pipe();
    assert_int_equal(uv_thread_create(&fix.thread, on_thread, NULL), 0);
    fix.running = true;
}

/* The next line of the log. */
static const char *next_line(void)
{
    if (fgets(fix.line, sizeof fix.line, fix.log) == NULL)
        fail_msg("the log has ended");
    fix.line[strcspn(fix.line, "\n")] = '\0';
    return fix.line;
}

static void expect_line(const char *expected)
{
    assert_string_equal(next_line(), expected);
}

/* The next line is what, a colon, and strerror() of the error. */
static void expect_reason(const char *what, int error)
{
    char expected[LINE_MAX_BYTES];
    (void)snprintf(expected, sizeof expected, "%s: %s", what, strerror(error));
    expect_line(expected);
}

/* The next line is before, the address of the client, and after. */
static void expect_line_of(const char *before, int client, const char *after)
{
    union net_addr addr;
    char text[NET_ADDR_STRLEN];
    char expected[LINE_MAX_BYTES];
    assert_int_equal(net_local(client, &addr), 0);
    (void)snprintf(expected, sizeof expected, "%s%s%s", before, net_format(&addr, text), after);
    expect_line(expected);
}

/* The next line begins with start. Returns the rest of the line. */
static const char *expect_start(const char *start)
{
    const char *line = next_line();
    if (strncmp(line, start, strlen(start)) != 0)
        fail_msg("'%s' does not start with '%s'", line, start);
    return line + strlen(start);
}

/* Starts the server and waits until it listens. */
static void server_listens(void)
{
    fix.port = (unsigned)strtoul(expect_start("Listening on 127.0.0.1:"), NULL, 10);
    assert_between(fix.port, 1, 65535);
}

static void server_up(void)
{
    server_start();
    server_listens();
}

static void send_signal(int signum)
{
    assert_int_equal(kill(getpid(), signum), 0);
}

/* The server ends by itself with this result, and logs no further line. */
static void server_ends(int rc)
{
    char *line = fgets(fix.line, sizeof fix.line, fix.log);
    if (line != NULL)
        fail_msg("a line too many: %s", line);
    assert_int_equal(uv_thread_join(&fix.thread), 0);
    fix.running = false;
    assert_int_equal(fix.rc, rc);
    assert_int_equal(fix.bad_closes, 0);
}

/* Connects to a server that listens. The server may not have accepted the connection yet. */
static int client_open(void)
{
    union net_addr addr = fix.addrs[0];
    net_set_port(&addr, (uint16_t)fix.port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, &addr.sa, sizeof addr.in), 0);
    return fd;
}

static void client_send(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void client_expect(int fd, const char *text)
{
    char buf[64];
    assert_int_equal(recv(fd, buf, strlen(text), MSG_WAITALL), strlen(text));
    assert_memory_equal(buf, text, strlen(text));
}

static void client_expect_end(int fd)
{
    char byte;
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
}

/* Connects a client, which gets an answer and is logged. */
static int client_echoed(void)
{
    int fd = client_open();
    client_send(fd, "Hello");
    client_expect(fd, "GOT:Hello");
    expect_line_of("Connection from ", fd, "");
    return fd;
}

static void expect_closed(int fd, const char *reason)
{
    expect_line_of("Connection closed: ", fd, reason);
    expect_line("Task finished");
}

/* The client ends its connection, and the log gives no other reason. */
static void client_close(int fd)
{
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    client_expect_end(fd);
    expect_closed(fd, "");
    (void)close(fd);
}

/* Stops a server without connections. */
static void server_down(void)
{
    send_signal(SIGTERM);
    expect_line("Task finished"); /* the listener's */
    server_ends(0);
}

/* If a test has failed while its server runs, two signals end the server at once. */
static int fixture_close(void **state)
{
    (void)state;
    if (fix.running) {
        send_signal(SIGTERM);
        send_signal(SIGINT);
        (void)uv_thread_join(&fix.thread);
    }
    if (fix.log != NULL)
        (void)fclose(fix.log);
    if (fix.manager >= 0)
        (void)close(fix.manager);
    uv_sem_destroy(&fix.loop_runs);
    hold_passed();
    support_begin();
    if (fix.dir[0] != '\0')
        remove_dir(fix.dir);
    assert_int_equal(count_fds(), fix.fds);
    return 0;
}

static void test_each_signal_stops(void **state)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    (void)state;
    for (int i = 0; i < 3; i++) {
        server_up();
        send_signal(signals[i]);
        expect_line("Task finished");
        server_ends(0);
        (void)fclose(fix.log);
        fix.log = NULL;
    }
}

static void test_listens_on_each_address(void **state)
{
    char expected[64];
    (void)state;
    fix.config.endpoints.count = 2;
    server_up();
    (void)snprintf(expected, sizeof expected, "Listening on 127.0.0.2:%u", fix.port);
    expect_line(expected);
    send_signal(SIGTERM);
    expect_line("Task finished");
    expect_line("Task finished");
    server_ends(0);
}

/* Both families, or only IPv4 if the machine has no IPv6. */
static void test_listens_on_all_addresses(void **state)
{
    char expected[64];
    (void)state;
    int ipv6 = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    union net_addr any = net_any(AF_INET6);
    bool has_ipv6 = ipv6 >= 0 && bind(ipv6, &any.sa, sizeof any.in6) == 0;
    if (ipv6 >= 0)
        (void)close(ipv6);
    fix.config.endpoints.count = 0;
    server_start();
    const char *port = expect_start("Listening on 0.0.0.0:");
    (void)snprintf(expected, sizeof expected, "Listening on [::]:%.8s", port);
    if (has_ipv6)
        expect_line(expected);
    send_signal(SIGTERM);
    for (int i = 0; i <= has_ipv6; i++)
        expect_line("Task finished");
    server_ends(0);
}

static void test_echoes_with_its_config(void **state)
{
    (void)state;
    serve_echo(&(struct echo_config){.prefix = "=", .prefix_len = 1, .chunk = 2});
    server_up();
    int fd = client_open();
    client_send(fd, "abcde");
    client_expect(fd, "=ab=cd=e");
    expect_line_of("Connection from ", fd, "");
    client_close(fd);
    server_down();
}

/* A client that sends no byte is not logged. A client that sends one is. */
static void test_silent_connections_are_not_logged(void **state)
{
    (void)state;
    server_up();
    int fd = client_open();
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    client_expect_end(fd);
    (void)close(fd);
    client_close(client_echoed());
    server_down();
}

static void test_verbose_logs_all_once(void **state)
{
    (void)state;
    fix.level = LOG_LEVEL_DEBUG;
    server_up();
    int silent = client_open();
    expect_line_of("Connection from ", silent, "");
    client_close(silent);
    int fd = client_open();
    expect_line_of("Connection from ", fd, "");
    client_send(fd, "Hello");
    client_expect(fd, "GOT:Hello");
    client_close(fd);
    server_down();
}

static void test_stats(void **state)
{
    (void)state;
    server_up();
    client_close(client_echoed());
    int fd = client_echoed();
    send_signal(SIGUSR1);
    (void)expect_start("Statistics: 1 connections now, 2 in total; 10 bytes in, 18 out; 0 refused; "
                       "0 accept pauses; 0 refused per source; 0 rate pauses; up ");
    client_close(fd);
    server_down();
}

/* --quiet does not hide the statistics, because the user has asked for them. */
static void test_stats_when_quiet(void **state)
{
    (void)state;
    fix.level = LOG_LEVEL_NOTICE;
    server_start();
    uv_sem_wait(&fix.loop_runs);
    send_signal(SIGUSR1);
    (void)expect_start("Statistics: 0 connections now, 0 in total; 0 bytes in, 0 out; 0 refused; ");
    send_signal(SIGTERM);
    server_ends(0);
}

static void test_hangup_is_ignored_under_nohup(void **state)
{
    (void)state;
    (void)signal(SIGHUP, SIG_IGN);
    server_up();
    send_signal(SIGHUP);
    client_close(client_echoed());
    server_down();
    (void)signal(SIGHUP, SIG_DFL);
}

static void test_sigpipe_is_ignored(void **state)
{
    struct sigaction action;
    (void)state;
    (void)signal(SIGPIPE, SIG_DFL);
    server_up();
    assert_int_equal(sigaction(SIGPIPE, NULL, &action), 0);
    assert_ptr_equal(action.sa_handler, SIG_IGN);
    server_down();
}

/* Stops the server while it has clients, and expects this line about them. */
static void stop_with_client(const char *line)
{
    send_signal(SIGTERM);
    expect_line("Task finished"); /* the listener's */
    expect_line(line);
}

static void test_drain_until_the_client_goes(void **state)
{
    (void)state;
    server_up();
    int fd = client_echoed();
    stop_with_client("Stopping: waiting for 1 connection, 3600 s at most; "
                     "a second signal ends it at once");
    int late = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    union net_addr addr = fix.addrs[0];
    net_set_port(&addr, (uint16_t)fix.port);
    assert_int_equal(connect(late, &addr.sa, sizeof addr.in), -1);
    assert_int_equal(errno, ECONNREFUSED);
    (void)close(late);
    client_send(fd, "more");
    client_expect(fd, "GOT:more");
    client_close(fd);
    server_ends(0);
}

static void test_drain_until_the_deadline(void **state)
{
    (void)state;
    fix.config.drain_ms = 2000;
    server_up();
    int fd = client_echoed();
    stop_with_client("Stopping: waiting for 1 connection, 2 s at most; "
                     "a second signal ends it at once");
    expect_line("Drain deadline: ending 1 connection");
    client_expect_end(fd);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    expect_closed(fd, " (the daemon stops)");
    server_ends(0);
    (void)close(fd);
}

/* A client that does not answer our FIN does not delay the end. */
static void test_the_deadline_of_a_stubborn_client(void **state)
{
    (void)state;
    fix.config.drain_ms = 0;
    server_up();
    int fd = client_echoed();
    stop_with_client("Stopping: waiting for 1 connection, 0 s at most; "
                     "a second signal ends it at once");
    expect_line("Drain deadline: ending 1 connection");
    expect_closed(fd, " (the daemon stops)");
    server_ends(0);
    (void)close(fd);
}

static void test_a_second_signal_ends_at_once(void **state)
{
    (void)state;
    server_up();
    int one = client_echoed();
    int two = client_echoed();
    stop_with_client("Stopping: waiting for 2 connections, 3600 s at most; "
                     "a second signal ends them at once");
    send_signal(SIGINT);
    expect_line("Stopping at once: ending 2 connections");
    expect_closed(one, " (the daemon stops)");
    expect_closed(two, " (the daemon stops)");
    client_expect_end(one);
    client_expect_end(two);
    server_ends(0);
    (void)close(one);
    (void)close(two);
}

static void test_idle_timeout(void **state)
{
    (void)state;
    fix.config.idle_ms = 10000;
    server_up();
    int fd = client_echoed();
    client_expect_end(fd);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    expect_closed(fd, " (idle for too long)");
    (void)close(fd);
    server_down();
}

static void test_a_reset_is_logged(void **state)
{
    const struct linger reset = {.l_onoff = 1};
    (void)state;
    server_up();
    int fd = client_echoed();
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), 0);
    (void)close(fd);
    const char *line = expect_start("Connection closed: 127.0.0.1:");
    assert_non_null(strstr(line, strerror(ECONNRESET)));
    expect_line("Task finished");
    server_down();
}

/* A connection above the limit waits until another connection closes. Then it is served. */
static void check_limit_of_one(void)
{
    int one = client_echoed();
    int two = client_open();
    client_send(two, "patience");
    send_signal(SIGUSR1);
    (void)expect_start("Statistics: 1 connections now, 1 in total; ");
    client_close(one);
    client_expect(two, "GOT:patience");
    expect_line_of("Connection from ", two, "");
    client_close(two);
}

static void test_max_connections(void **state)
{
    (void)state;
    fix.config.max_connections = 1;
    server_up();
    check_limit_of_one();
    server_down();
}

static void test_max_connections_is_clamped(void **state)
{
    (void)state;
    fault.descriptors = DESCRIPTORS_RESERVE + 1 + 1; /* an address, a connection */
    fix.config.max_connections = 100;
    server_start();
    expect_line("--max-connections=100: RLIMIT_NOFILE allows 1");
    fix.port = (unsigned)strtoul(expect_start("Listening on 127.0.0.1:"), NULL, 10);
    check_limit_of_one();
    server_down();
}

/* libuv would abort if epoll could not watch a descriptor. An unknown limit is ignored. */
static void test_epoll_watches_are_a_limit(void **state)
{
    (void)state;
    fault.watches = DESCRIPTORS_RESERVE + 1 + 1; /* an address, a connection */
    fix.config.max_connections = 100;
    server_start();
    expect_line("--max-connections=100: fs.epoll.max_user_watches allows 1");
    fix.port = (unsigned)strtoul(expect_start("Listening on 127.0.0.1:"), NULL, 10);
    check_limit_of_one();
    server_down();
    (void)fclose(fix.log);
    fix.log = NULL;
    fault.watches = -ENOENT;
    fault.descriptors = DESCRIPTORS_RESERVE + 1 + 7;
    server_start();
    expect_line("--max-connections=100: RLIMIT_NOFILE allows 7");
    (void)expect_start("Listening on 127.0.0.1:");
    server_down();
}

/* Each loop needs some descriptors, and more for its pipes if the echo splices. */
static void test_what_workers_need_is_reserved(void **state)
{
    (void)state;
    fix.config.workers = 3;
    fix.config.max_connections = 100;
    for (int verbatim = 0; verbatim <= 1; verbatim++) {
        serve_echo(
            &(struct echo_config){.prefix_len = verbatim ? 0 : 4, .prefix = "GOT:", .chunk = 1000});
        fault.descriptors = DESCRIPTORS_RESERVE + 2 * DESCRIPTORS_LOOP +
                            verbatim * 3 * 2 * PIPES_MAX + 1 /* an address */ + 7;
        server_start();
        expect_line("--max-connections=100: RLIMIT_NOFILE allows 7");
        (void)expect_start("Listening on 127.0.0.1:");
        server_down();
        (void)fclose(fix.log);
        fix.log = NULL;
    }
}

/* Without the option, the descriptors set the limit, and no warning is logged. */
static void test_the_default_limit(void **state)
{
    (void)state;
    fault.descriptors = DESCRIPTORS_RESERVE + 1 + 1;
    server_up();
    check_limit_of_one();
    server_down();
}

static void test_accept_pauses_are_logged(void **state)
{
    (void)state;
    fault.accept = -EMFILE;
    server_up();
    int fd = client_open();
    expect_reason("Accepting paused", EMFILE);
    client_send(fd, "Hello");
    expect_line("Accepting again");
    client_expect(fd, "GOT:Hello");
    expect_line_of("Connection from ", fd, "");
    send_signal(SIGUSR1);
    assert_non_null(strstr(next_line(), "; 0 refused; 1 accept pauses; "));
    client_close(fd);
    server_down();
}

/* Connections are served all the same. */
static void test_a_ledger_without_a_file(void **state)
{
    (void)state;
    fault.file = -ENOSYS;
    server_start();
    expect_reason("No file in memory, connections cannot be handed over", ENOSYS);
    server_listens();
    int fd = client_open();
    client_send(fd, "Hello");
    client_expect(fd, "GOT:Hello");
    expect_line_of("Connection from ", fd, "");
    client_close(fd);
    server_down();
}

static void test_refused_connections_are_logged(void **state)
{
    (void)state;
    fault.conn_open = -ENOMEM;
    server_up();
    int fd = client_open();
    expect_reason("Connection refused", ENOMEM);
    client_expect_end(fd);
    (void)close(fd);
    send_signal(SIGUSR1);
    assert_non_null(strstr(next_line(), "; 1 refused; 0 accept pauses; "));
    server_down();
}

/* The start fails. One line names the address with its port and the reason. Returns the errno. */
static void check_cannot_listen(int error, bool bound)
{
    char *end;
    char reason[64];
    server_start();
    const char *port = expect_start("Cannot listen on 127.0.0.1:");
    if (bound)
        assert_between(strtoul(port, &end, 10), 1, 65535);
    else
        assert_int_equal(strtoul(port, &end, 10), fix.config.endpoints.port);
    (void)snprintf(reason, sizeof reason, ": %s", strerror(-error));
    assert_string_equal(end, reason);
    server_ends(error);
    (void)fclose(fix.log);
    fix.log = NULL;
    memset(&fault, 0, sizeof fault);
}

static void test_address_in_use(void **state)
{
    union net_addr addr;
    (void)state;
    int other = net_listen(&fix.addrs[0], 1, 0, 0);
    assert_int_equal(net_local(other, &addr), 0);
    fix.config.endpoints.port = net_port(&addr);
    check_cannot_listen(-EADDRINUSE, false);
    (void)close(other);
}

static void test_starts_that_fail_before_the_loop(void **state)
{
    (void)state;
    fault.loop_init = -EMFILE;
    check_cannot_listen(-EMFILE, true);
    fault.reserve = -ENOMEM;
    check_cannot_listen(-ENOMEM, true);
    fault.raise = -EFAULT;
    check_cannot_listen(-EFAULT, true);
    fault.probe = -EMFILE;
    check_cannot_listen(-EMFILE, true);
    fault.calloc_at = 1; /* for the endpoints */
    check_cannot_listen(-ENOMEM, false);
    fault.calloc_at = 2; /* for the ledger */
    check_cannot_listen(-ENOMEM, true);
    fault.calloc_at = 3; /* for the workers */
    check_cannot_listen(-ENOMEM, true);
    fault.descriptors = DESCRIPTORS_RESERVE + 1; /* none for a connection */
    check_cannot_listen(-EMFILE, true);
}

/* The start fails. Listeners that run already end, and no line says that the daemon listens. */
static void check_cannot_start(int error, int listeners)
{
    char expected[LINE_MAX_BYTES];
    (void)snprintf(expected, sizeof expected, "Cannot start: %s", strerror(-error));
    server_start();
    expect_line(expected);
    for (int i = 0; i < listeners; i++)
        expect_line("Task finished");
    server_ends(error);
    (void)fclose(fix.log);
    fix.log = NULL;
    memset(&fault, 0, sizeof fault);
}

static void test_starts_that_fail_within_the_loop(void **state)
{
    (void)state;
    fix.config.endpoints.count = 2;
    fault.listener_start = -ENOMEM;
    fault.listener_start_at = 1;
    check_cannot_start(-ENOMEM, 0);
    fault.listener_start = -ENOMEM;
    fault.listener_start_at = 2;
    check_cannot_start(-ENOMEM, 1);
    fault.calloc_at = 5; /* endpoints, ledger, workers, the first listener, the second */
    check_cannot_start(-ENOMEM, 1);
    fault.signal_init = -EMFILE;
    check_cannot_start(-EMFILE, 0);
    fault.signal_start = -EINVAL;
    check_cannot_start(-EINVAL, 0);
}

static void serve_metrics(void)
{
    static struct endpoint_addr addr;
    addr = (struct endpoint_addr){.addr = fix.addrs[1]};
    fix.config.metrics = (struct endpoints_config){.addrs = &addr, .count = 1};
}

/* One line says why there are no metrics, and nothing is served. */
static void test_start_without_metrics(void **state)
{
    static const int errors[] = {-ENOPKG, -ENOMEM};
    (void)state;
    serve_metrics();
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        fault.http = errors[i];
        server_start();
        const char *why = strchr(expect_start("Cannot serve metrics on 127.0.0.2:"), ' ');
        assert_non_null(why);
        assert_string_equal(why + 1, errors[i] == -ENOPKG ? "libmicrohttpd is not installed"
                                                          : strerror(ENOMEM));
        server_ends(errors[i]);
        (void)fclose(fix.log);
        fix.log = NULL;
    }
    fault.http = 0;
    fault.signal_init = -EMFILE; /* before the metrics are served */
    check_cannot_start(-EMFILE, 0);
}

/* A worker may be busy for a moment, and is alive then. */
static void test_a_worker_that_is_busy(void **state)
{
    (void)state;
    serve_metrics();
    fault.hangs = true;
    fault.http = -ENOMEM; /* asking is all */
    server_start();
    (void)expect_start("Cannot serve metrics on 127.0.0.2:");
    server_ends(-ENOMEM);
    assert_int_equal(fix.alive_status, 200);
}

/* Makes a manager, which the server finds by NOTIFY_SOCKET. */
static void watch_server(void)
{
    char name[64];
    (void)snprintf(name, sizeof name, "@uvechod-test-%ld", (long)getpid());
    fix.manager = make_receiver(name);
    assert_int_equal(setenv("NOTIFY_SOCKET", name, 1), 0);
}

static void expect_told(const char *message)
{
    expect_message(fix.manager, message);
}

/* The next messages are READY=1 and the statistics of a daemon without connections. */
static void expect_ready(void)
{
    expect_told("READY=1");
    expect_told("STATUS=0 connections; 0 bytes in, 0 bytes out");
}

/* Passes the sockets as systemd does. Their names are separated by ':'. */
static void pass_sockets(const int *fds, int count, const char *names)
{
    char text[32];
    for (int i = 0; i < count; i++) {
        assert_int_equal(dup2(fds[i], PASSED_FD + i), PASSED_FD + i);
        (void)close(fds[i]);
    }
    (void)snprintf(text, sizeof text, "%ld", (long)getpid());
    assert_int_equal(setenv("LISTEN_PID", text, 1), 0);
    (void)snprintf(text, sizeof text, "%d", count);
    assert_int_equal(setenv("LISTEN_FDS", text, 1), 0);
    assert_int_equal(setenv("LISTEN_FDNAMES", names, 1), 0);
}

static void expect_passed_closed(int count)
{
    for (int i = 0; i < count; i++)
        assert_false(fd_is_open(PASSED_FD + i));
}

static void need_systemd(void)
{
    if (UVECHOD_SYSTEMD)
        return;
    print_message("this build has no libsystemd\n");
    skip();
}

static int make_listener(const union net_addr *addr)
{
    int fd = net_listen(addr, 10, 0600, 0);
    assert_return_code(fd, -fd);
    return fd;
}

/* Makes fix.addrs[1] the address of a Unix socket in a new directory. */
static void make_unix_addr(void)
{
    make_dir(fix.dir);
    (void)snprintf(fix.path, sizeof fix.path, "%s/socket", fix.dir);
    assert_int_equal(net_unix(fix.path, &fix.addrs[1]), 0);
}

/* Is served over the Unix socket. The log has the process and the user that the kernel names. */
static void check_unix_client(void)
{
    char who[64];
    char line[LINE_MAX_BYTES];
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, &fix.addrs[1].sa, sizeof fix.addrs[1].un), 0);
    client_send(fd, "Hello");
    client_expect(fd, "GOT:Hello");
    (void)snprintf(who, sizeof who, "unix:pid=%ld,uid=%ld", (long)getpid(), (long)geteuid());
    (void)snprintf(line, sizeof line, "Connection from %s", who);
    expect_line(line);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    client_expect_end(fd);
    (void)snprintf(line, sizeof line, "Connection closed: %s", who);
    expect_line(line);
    expect_line("Task finished");
    (void)close(fd);
}

static void test_a_unix_socket(void **state)
{
    char line[LINE_MAX_BYTES];
    struct stat file;
    (void)state;
    make_unix_addr();
    fix.config.endpoints.addrs = &fix.wanted[1];
    fix.config.endpoints.socket_mode = 0640;
    server_start();
    (void)snprintf(line, sizeof line, "Listening on unix:%s", fix.path);
    expect_line(line);
    assert_int_equal(lstat(fix.path, &file), 0);
    assert_int_equal(file.st_mode, S_IFSOCK | 0640);
    check_unix_client();
    server_down();
    assert_int_equal(access(fix.path, F_OK), -1);
}

/* Both sockets belong to the manager, and so does the Unix socket's file: it is not removed. */
static void test_passed_sockets_are_served(void **state)
{
    char line[LINE_MAX_BYTES];
    union net_addr addr;
    (void)state;
    need_systemd();
    make_unix_addr();
    const int fds[] = {make_listener(&fix.addrs[0]), make_listener(&fix.addrs[1])};
    assert_int_equal(net_local(fds[0], &addr), 0);
    pass_sockets(fds, 2, "tcp:local");
    server_start();
    fix.port = net_port(&addr);
    (void)snprintf(line, sizeof line, "Listening on 127.0.0.1:%u (tcp)", fix.port);
    expect_line(line);
    (void)snprintf(line, sizeof line, "Listening on unix:%s (local)", fix.path);
    expect_line(line);
    client_close(client_echoed());
    check_unix_client();
    send_signal(SIGTERM);
    expect_line("Task finished");
    expect_line("Task finished");
    server_ends(0);
    expect_passed_closed(2);
    assert_int_equal(unlink(fix.path), 0);
}

/* inetd starts a daemon for each connection: it serves this connection and ends with it. */
static void test_a_passed_connection_is_served(void **state)
{
    (void)state;
    need_systemd();
    union net_addr addr;
    union net_peer peer;
    int listener = make_listener(&fix.addrs[0]);
    assert_int_equal(net_local(listener, &addr), 0);
    fix.port = net_port(&addr);
    int fd = client_open();
    wait_for(listener, POLLIN);
    int server = net_accept(listener, &peer);
    (void)close(listener);
    pass_sockets(&server, 1, "connection");
    watch_server();
    server_start();
    expect_told("READY=1");
    expect_told("STATUS=1 connection; 0 bytes in, 0 bytes out");
    client_send(fd, "Hello");
    client_expect(fd, "GOT:Hello");
    expect_line_of("Connection from ", fd, "");
    client_close(fd);
    server_ends(0);
    expect_passed_closed(1);
}

/* The client has reset it meanwhile. It is refused like any other, and the daemon ends. */
static void test_a_passed_connection_that_has_broken(void **state)
{
    int fds[2];
    (void)state;
    need_systemd();
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    pass_sockets(&fds[0], 1, "connection");
    fault.remote = -ENOTCONN;
    watch_server();
    server_start();
    expect_reason("Connection refused", ENOTCONN);
    server_ends(0);
    expect_told("READY=1");
    client_expect_end(fds[1]);
    (void)close(fds[1]);
    expect_passed_closed(1);
}

/* A stop waits for a passed connection as for any other connection. */
static void test_a_passed_connection_is_drained(void **state)
{
    int fds[2];
    (void)state;
    need_systemd();
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    pass_sockets(&fds[0], 1, "connection");
    watch_server();
    server_start();
    expect_told("READY=1");
    send_signal(SIGTERM);
    expect_line("Stopping: waiting for 1 connection, 3600 s at most; "
                "a second signal ends it at once");
    client_send(fds[1], "Hello");
    client_expect(fds[1], "GOT:Hello");
    (void)expect_start("Connection from unix:pid=");
    assert_int_equal(shutdown(fds[1], SHUT_WR), 0);
    client_expect_end(fds[1]);
    (void)expect_start("Connection closed: unix:pid=");
    expect_line("Task finished");
    server_ends(0);
    (void)close(fds[1]);
    expect_passed_closed(1);
}

static void test_a_passed_socket_that_cannot_be_served(void **state)
{
    char line[LINE_MAX_BYTES];
    (void)state;
    need_systemd();
    const int fds[] = {make_listener(&fix.addrs[0]),
                       socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)};
    pass_sockets(fds, 2, "tcp:packets");
    watch_server();
    server_start();
    (void)snprintf(line, sizeof line,
                   "Cannot serve the passed socket %d (packets), only sockets of TCP, UDP or Unix: "
                   "Protocol not supported",
                   PASSED_FD + 1);
    expect_line(line);
    server_ends(-EPROTONOSUPPORT);
    expect_told("ERRNO=93");
    expect_no_message(fix.manager);
    expect_passed_closed(2);
}

/* Both systemd and an option say where to listen. */
static void test_passed_sockets_contradict_an_option(void **state)
{
    (void)state;
    need_systemd();
    int fd = make_listener(&fix.addrs[0]);
    pass_sockets(&fd, 1, "tcp");
    fix.config.address_option = "bind";
    watch_server();
    server_start();
    expect_line("--bind: systemd has passed the sockets; change ListenStream= with 'systemctl edit "
                "uvechod.socket' instead");
    server_ends(SERVER_MISUSE);
    expect_told("ERRNO=33");
    expect_no_message(fix.manager);
    expect_passed_closed(1);
}

static void test_malformed_passed_sockets(void **state)
{
    (void)state;
    need_systemd();
    pass_sockets(NULL, 0, "");
    assert_int_equal(setenv("LISTEN_FDS", "many", 1), 0);
    watch_server();
    server_start();
    expect_line("LISTEN_FDS or LISTEN_FDNAMES, the passed sockets: Invalid argument");
    server_ends(-EINVAL);
    expect_told("ERRNO=22");
    expect_no_message(fix.manager);
}

/* The variables are inherited, and name another process: no socket is ours. */
static void test_sockets_passed_to_another_process(void **state)
{
    char pid[32];
    (void)state;
    int fd = make_listener(&fix.addrs[0]);
    pass_sockets(&fd, 1, "tcp");
    (void)snprintf(pid, sizeof pid, "%ld", (long)getppid());
    assert_int_equal(setenv("LISTEN_PID", pid, 1), 0);
    server_up();
    client_close(client_echoed());
    server_down();
    assert_true(fd_is_open(PASSED_FD));
}

/* When READY=1 arrives, the server listens, handles signals, and has logged the addresses. */
static void test_ready_comes_last(void **state)
{
    (void)state;
    need_systemd();
    watch_server();
    fix.config.endpoints.count = 2;
    server_start();
    expect_ready();
    send_signal(SIGTERM); /* would kill the process if the server did not handle signals yet */
    assert_int_equal(fix.early, 0);
    (void)expect_start("Listening on 127.0.0.1:");
    (void)expect_start("Listening on 127.0.0.2:");
    expect_line("Task finished");
    expect_line("Task finished");
    server_ends(0);
}

/* At the start, when a connection opens, after its first message, and after its end. */
static void test_the_manager_receives_stats(void **state)
{
    (void)state;
    need_systemd();
    watch_server();
    server_up();
    expect_ready();
    int fd = client_open();
    expect_told("STATUS=1 connection; 0 bytes in, 0 bytes out");
    client_send(fd, "Hello");
    client_expect(fd, "GOT:Hello");
    expect_told("STATUS=1 connection; 5 bytes in, 9 bytes out");
    expect_line_of("Connection from ", fd, "");
    client_close(fd);
    expect_told("STATUS=0 connections; 5 bytes in, 9 bytes out");
    server_down();
}

static void test_the_manager_learns_of_the_stop(void **state)
{
    (void)state;
    need_systemd();
    watch_server();
    server_up();
    expect_ready();
    int fd = client_echoed();
    (void)receive_message(fix.manager, fix.line); /* the report of the connection */
    stop_with_client("Stopping: waiting for 1 connection, 3600 s at most; "
                     "a second signal ends it at once");
    expect_told("STOPPING=1");
    expect_told("EXTEND_TIMEOUT_USEC=20000000");
    (void)receive_message(fix.manager, fix.line);
    assert_memory_equal(fix.line, "STATUS=Stopping: waiting for 1 connection; ", 43);
    expect_told("EXTEND_TIMEOUT_USEC=20000000");
    expect_told("EXTEND_TIMEOUT_USEC=20000000");
    client_close(fd);
    server_ends(0);
}

/* A daemon that has a keeper leaves its ledger open. */
static void close_kept_ledger(const struct kept *kept)
{
    assert_int_equal(close(atomic_load(&kept->ledger)), 0);
}

/* Pings come again and again, every 400 ms by the clock of the test. The keeper sees the same. */
static void test_the_watchdog_is_pinged(void **state)
{
    enum { LONG_AGO = 12345 };
    static struct kept kept;
    (void)state;
    fix.config.kept = &kept;
    need_systemd();
    watch_server();
    assert_int_equal(setenv("WATCHDOG_USEC", "800000", 1), 0);
    server_up();
    expect_ready();
    assert_true(atomic_load(&kept.ready));
    assert_true(atomic_load(&kept.ledger) > 0);
    for (int i = 0; i < 5; i++)
        expect_told("WATCHDOG=1");
    atomic_store(&kept.moved_ms, LONG_AGO);
    while (atomic_load(&kept.moved_ms) == LONG_AGO) /* some pings may have been sent before */
        expect_told("WATCHDOG=1");
    server_down();
    close_kept_ledger(&kept);
}

/* The successor of a daemon that is killed at its end finds the ledger, and nothing to do. */
static void test_the_ledger_of_a_keeper_stays_open(void **state)
{
    static struct kept kept;
    (void)state;
    fix.config.kept = &kept;
    server_up();
    server_down();
    close_kept_ledger(&kept);
}

static void test_a_malformed_watchdog(void **state)
{
    (void)state;
    need_systemd();
    watch_server();
    assert_int_equal(setenv("WATCHDOG_USEC", "often", 1), 0);
    server_start();
    expect_line("WATCHDOG_USEC is ignored: Invalid argument");
    fix.port = (unsigned)strtoul(expect_start("Listening on 127.0.0.1:"), NULL, 10);
    expect_ready();
    client_close(client_echoed());
    server_down();
}

/* Whether the start fails early or late, the manager gets the errno and no READY=1. */
static void test_the_manager_learns_of_a_failed_start(void **state)
{
    (void)state;
    need_systemd();
    watch_server();
    fault.probe = -EMFILE;
    check_cannot_listen(-EMFILE, true);
    expect_told("ERRNO=24");
    expect_no_message(fix.manager);
    fault.signal_start = -EINVAL;
    check_cannot_start(-EINVAL, 0);
    expect_told("ERRNO=22");
    expect_told("STOPPING=1");
}

/* A start that has failed does not wait for a passed connection to end. */
static void test_a_failed_start_ends_a_passed_connection(void **state)
{
    int fds[2];
    (void)state;
    need_systemd();
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    const int passed[] = {fds[0], make_listener(&fix.addrs[0])};
    pass_sockets(passed, 2, "connection:tcp");
    fault.listener_start = -ENOSPC;
    fault.listener_start_at = 1;
    check_cannot_start(-ENOSPC, 0);
    client_expect_end(fds[1]);
    (void)close(fds[1]);
    expect_passed_closed(2);
}

/* In a child process, because the daemon closes nothing: the kernel cleans up. */
static void check_wrong_task(int error, const char *line)
{
    int status;
    make_log_pipe();
    fault.sched_run = error;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        on_thread(NULL);
        child_exit(fix.rc == error ? 0 : 1);
    }
    (void)close(fix.log_fd);
    (void)expect_start("Listening on ");
    expect_line(line);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_null(fgets(fix.line, sizeof fix.line, fix.log));
    (void)fclose(fix.log);
    fix.log = NULL;
}

static void test_a_wrong_task_ends_the_daemon(void **state)
{
    (void)state;
    char busy[LINE_MAX_BYTES];
    (void)snprintf(busy, sizeof busy, "Reason 4711: %s", strerror(EBUSY));
    check_wrong_task(-EINVAL, "Unknown reason 4711");
    check_wrong_task(-EBUSY, busy);
}

/* Clients on three threads: the limit, the statistics and the stop concern all threads. */
static void test_several_workers(void **state)
{
    (void)state;
    fix.config.workers = 3;
    fix.config.max_connections = 1;
    server_up();
    for (int i = 0; i < 3; i++) {
        int one = client_echoed();
        int two = client_open();
        client_send(two, "patience");
        send_signal(SIGUSR1);
        (void)expect_start("Statistics: 1 connections now, ");
        client_close(one);
        client_expect(two, "GOT:patience");
        expect_line_of("Connection from ", two, "");
        client_close(two);
    }
    int fd = client_echoed();
    stop_with_client("Stopping: waiting for 1 connection, 3600 s at most; "
                     "a second signal ends it at once");
    client_close(fd);
    server_ends(0);
}

static void test_the_deadline_of_several_workers(void **state)
{
    (void)state;
    fix.config.workers = 3;
    fix.config.drain_ms = 2000;
    server_up();
    int fds[3];
    for (int i = 0; i < 3; i++)
        fds[i] = client_echoed();
    stop_with_client("Stopping: waiting for 3 connections, 2 s at most; "
                     "a second signal ends them at once");
    expect_line("Drain deadline: ending 3 connections");
    for (int i = 0; i < 3; i++) {
        client_expect_end(fds[i]);
        assert_int_equal(shutdown(fds[i], SHUT_WR), 0);
        expect_closed(fds[i], " (the daemon stops)");
        (void)close(fds[i]);
    }
    server_ends(0);
}

/* Pings come because the run queues of all workers turn. */
static void test_the_watchdog_of_several_workers(void **state)
{
    (void)state;
    fix.config.workers = 3;
    test_the_watchdog_is_pinged(state);
}

static void test_a_wrong_task_of_several_workers(void **state)
{
    (void)state;
    fix.config.workers = 3;
    check_wrong_task(-EINVAL, "Unknown reason 4711");
}

/* ---- the connections of a predecessor ---- */

enum { PAST_ENTRIES = 1 << 20, FEW_ENTRIES = 1000, HIGH_FD = 400 };

static int past_listen(void)
{
    const struct ledger_state noted = {.kind = LEDGER_LISTENER};
    int fd = net_listen(&fix.addrs[0], 10, 0600, 0);
    assert_true(fd >= 0);
    assert_int_equal(ledger_keep(&past.ledger, fd, &noted), 0);
    return fd;
}

/* The connection has a descriptor that is higher than any that the server would need itself. */
static void past_serve(int listener)
{
    union net_addr addr;
    union net_peer peer;
    assert_int_equal(net_local(listener, &addr), 0);
    past.client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(past.client, &addr.sa, sizeof addr.in), 0);
    wait_for(listener, POLLIN);
    int low = net_accept(listener, &peer);
    int fd = net_dup_above(low, HIGH_FD);
    assert_true(fd >= HIGH_FD);
    (void)close(low);
    assert_int_equal(ledger_enter(&past.ledger, fd, 0), 0);
    past.fds[0] = past.ledger.file;
    past.fds[1] = listener;
    past.fds[2] = fd;
}

/* Where it is not known what there is, a successor leaves all descriptors open. */
static void past_close(void)
{
    for (int i = 0; i < 3; i++)
        if (fd_is_open(past.fds[i]))
            (void)close(past.fds[i]);
}

/* A predecessor with so many entries has ended, and left everything open. */
static void predecessor_ends(uint32_t entries, bool listens)
{
    struct ledger_layout layout;
    services_layout(&fix.config.services, 1, entries, &layout);
    assert_int_equal(ledger_open(&past.ledger, &layout), 0);
    int listener = past_listen();
    past_serve(listener);
    if (!listens) {
        ledger_forget(&past.ledger, listener);
        (void)close(listener);
    }
    past.ledger.header->past =
        (struct ledger_past){.generations = 2, .accepted = 5, .left_ns = uv_hrtime()};
    fix.config.ledger = past.ledger.file;
    fix.config.max_connections = 1;
    past.ledger.file = -1; /* the successor's */
    ledger_close(&past.ledger);
}

static void log_end(void)
{
    (void)fclose(fix.log);
    fix.log = NULL;
}

/* The library is no longer there: the connections go on without metrics. */
static void test_successor_without_metrics(void **state)
{
    (void)state;
    predecessor_ends(PAST_ENTRIES, true);
    serve_metrics();
    fault.http = -ENOPKG;
    server_start();
    (void)expect_start("Cannot serve metrics on 127.0.0.2:");
    server_listens();
    (void)expect_start("Took over 1 connection in ");
    client_send(past.client, "Hello");
    client_expect(past.client, "GOT:Hello");
    expect_line_of("Connection from ", past.client, "");
    client_close(past.client);
    client_close(client_echoed());
    server_down();
}

static void check_successor(uint32_t entries)
{
    predecessor_ends(entries, true);
    server_up();
    (void)expect_start("Took over 1 connection in ");
    client_send(past.client, "Hello");
    client_expect(past.client, "GOT:Hello");
    expect_line_of("Connection from ", past.client, "");
    send_signal(SIGUSR1);
    const char *stats =
        expect_start("Statistics: 1 connections now, 5 in total; 5 bytes in, 9 out; 0 refused; ");
    assert_string_equal(strrchr(stats, ';'), "; 3 upgrades");
    client_close(past.client);
    client_close(client_echoed());
    server_down();
    log_end();
}

/* With the ledger of the predecessor, or another one where that has no room. */
static void test_goes_on_with_connections(void **state)
{
    (void)state;
    check_successor(PAST_ENTRIES);
    check_successor(FEW_ENTRIES);
}

/* One line says why; no descriptor stays open, and the client sees the end. */
static void check_no_successor(const char *line, int error)
{
    server_start();
    expect_line(line);
    server_ends(error);
    client_expect_end(past.client);
    (void)close(past.client);
    log_end();
    memset(&fault, 0, sizeof fault);
}

static void test_a_successor_that_cannot_start(void **state)
{
    char line[LINE_MAX_BYTES];
    (void)state;
    (void)snprintf(line, sizeof line, "Cannot start: %s", strerror(ENOMEM));
    predecessor_ends(PAST_ENTRIES, false);
    fault.reserve = -ENOMEM;
    check_no_successor(line, -ENOMEM);
    predecessor_ends(PAST_ENTRIES, true);
    fault.signal_init = -ENOMEM;
    check_no_successor(line, -ENOMEM);
    predecessor_ends(PAST_ENTRIES, true);
    fault.listener_start = -ENOMEM;
    fault.listener_start_at = 1;
    check_no_successor(line, -ENOMEM);
}

/* Each allocation of the start fails. Returns whether the successor has started. */
static bool successor_lacks_memory(uint32_t entries, int at)
{
    predecessor_ends(entries, true);
    fault.calloc_at = at;
    server_start();
    bool starts = strncmp(next_line(), "Listening on ", 13) == 0;
    if (starts) {
        const char *took = "Took over 1 connection in ";
        if (strncmp(next_line(), "Connection refused: ", 20) == 0) {
            (void)next_line(); /* it was the connection that had no memory */
            took = "Took over 0 connections in ";
        }
        assert_non_null(strstr(fix.line, took));
        assert_int_equal(shutdown(past.client, SHUT_WR), 0);
        client_expect_end(past.client);
        server_down();
    } else {
        assert_int_equal(strncmp(fix.line, "Cannot ", 7), 0);
        server_ends(-ENOMEM);
        if (strncmp(fix.line, "Cannot take over: ", 18) == 0)
            past_close();
    }
    (void)close(past.client);
    log_end();
    return starts;
}

static void test_a_successor_without_memory(void **state)
{
    const uint32_t entries[] = {PAST_ENTRIES, FEW_ENTRIES};
    (void)state;
    for (int i = 0; i < 2; i++) {
        int at = 1;
        while (!successor_lacks_memory(entries[i], at))
            at++;
        assert_between(at, 8, 30);
    }
}

/* The environment names no descriptor, or a descriptor of something else. */
static void test_a_ledger_that_is_none(void **state)
{
    (void)state;
    fix.config.ledger = -EINVAL;
    server_start();
    expect_reason("Cannot take over", EINVAL);
    server_ends(-EINVAL);
    log_end();
    fix.config.ledger = PASSED_FD; /* of /dev/null */
    server_start();
    expect_reason("Cannot take over", EPROTO);
    server_ends(-EPROTO);
}

/* The last connection has ended with the predecessor. A keeper's ledger stays open once more. */
static void test_a_successor_with_nothing_to_do(void **state)
{
    static struct kept kept;
    struct ledger_layout layout;
    (void)state;
    for (int keeps = 0; keeps < 2; keeps++) {
        services_layout(&fix.config.services, 1, FEW_ENTRIES, &layout);
        assert_int_equal(ledger_open(&past.ledger, &layout), 0);
        int file = past.ledger.file;
        past.ledger.file = -1; /* the successor's */
        ledger_close(&past.ledger);
        fix.config.ledger = file;
        fix.config.kept = keeps ? &kept : NULL;
        server_start();
        server_ends(0);
        log_end();
        assert_int_equal(fd_is_open(file), keeps);
    }
    assert_int_equal(close(fix.config.ledger), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_each_signal_stops),
        FIXTURE_TEST(test_listens_on_each_address),
        FIXTURE_TEST(test_listens_on_all_addresses),
        FIXTURE_TEST(test_echoes_with_its_config),
        FIXTURE_TEST(test_silent_connections_are_not_logged),
        FIXTURE_TEST(test_verbose_logs_all_once),
        FIXTURE_TEST(test_stats),
        FIXTURE_TEST(test_stats_when_quiet),
        FIXTURE_TEST(test_hangup_is_ignored_under_nohup),
        FIXTURE_TEST(test_sigpipe_is_ignored),
        FIXTURE_TEST(test_drain_until_the_client_goes),
        FIXTURE_TEST(test_drain_until_the_deadline),
        FIXTURE_TEST(test_the_deadline_of_a_stubborn_client),
        FIXTURE_TEST(test_a_second_signal_ends_at_once),
        FIXTURE_TEST(test_idle_timeout),
        FIXTURE_TEST(test_a_reset_is_logged),
        FIXTURE_TEST(test_max_connections),
        FIXTURE_TEST(test_max_connections_is_clamped),
        FIXTURE_TEST(test_what_workers_need_is_reserved),
        FIXTURE_TEST(test_epoll_watches_are_a_limit),
        FIXTURE_TEST(test_the_default_limit),
        FIXTURE_TEST(test_accept_pauses_are_logged),
        FIXTURE_TEST(test_a_ledger_without_a_file),
        FIXTURE_TEST(test_refused_connections_are_logged),
        FIXTURE_TEST(test_address_in_use),
        FIXTURE_TEST(test_starts_that_fail_before_the_loop),
        FIXTURE_TEST(test_starts_that_fail_within_the_loop),
        FIXTURE_TEST(test_start_without_metrics),
        FIXTURE_TEST(test_a_worker_that_is_busy),
        FIXTURE_TEST(test_a_unix_socket),
        FIXTURE_TEST(test_passed_sockets_are_served),
        FIXTURE_TEST(test_a_passed_connection_is_served),
        FIXTURE_TEST(test_a_passed_connection_that_has_broken),
        FIXTURE_TEST(test_a_passed_connection_is_drained),
        FIXTURE_TEST(test_a_passed_socket_that_cannot_be_served),
        FIXTURE_TEST(test_passed_sockets_contradict_an_option),
        FIXTURE_TEST(test_malformed_passed_sockets),
        FIXTURE_TEST(test_sockets_passed_to_another_process),
        FIXTURE_TEST(test_ready_comes_last),
        FIXTURE_TEST(test_the_manager_receives_stats),
        FIXTURE_TEST(test_the_manager_learns_of_the_stop),
        FIXTURE_TEST(test_the_watchdog_is_pinged),
        FIXTURE_TEST(test_the_ledger_of_a_keeper_stays_open),
        FIXTURE_TEST(test_a_malformed_watchdog),
        FIXTURE_TEST(test_the_manager_learns_of_a_failed_start),
        FIXTURE_TEST(test_a_failed_start_ends_a_passed_connection),
        FIXTURE_TEST(test_several_workers),
        FIXTURE_TEST(test_the_deadline_of_several_workers),
        FIXTURE_TEST(test_the_watchdog_of_several_workers),
        FIXTURE_TEST(test_a_wrong_task_of_several_workers),
        FIXTURE_TEST(test_a_wrong_task_ends_the_daemon),
        FIXTURE_TEST(test_goes_on_with_connections),
        FIXTURE_TEST(test_successor_without_metrics),
        FIXTURE_TEST(test_a_successor_that_cannot_start),
        FIXTURE_TEST(test_a_successor_without_memory),
        FIXTURE_TEST(test_a_ledger_that_is_none),
        FIXTURE_TEST(test_a_successor_with_nothing_to_do),
    };
    hold_passed();
    loop_warm_up();
    return RUN_TESTS("server", tests);
}
