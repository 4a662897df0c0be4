/*
 * Services and endpoints of several kinds on one worker: the echo; a discard service (RFC 863),
 * which exists only in this test; and a datagram socket, which has its own task and no connections.
 */
#include "server/endpoints.h"
#include "server/workers.h"
#include "unit/server/services.h"
#include "unit/ledgers.h"
#include "unit/support.h"

#include <arpa/inet.h>
#include <errno.h>

enum { SERVICE_ECHO, SERVICE_DISCARD, SERVICES }; /* their numbers, and their count */

/* ---- the discard service ---- */

static struct yield discard_recv(struct task *task)
{
    struct conn *conn = container_of(task, struct conn, task);
    char bytes[512];
    ssize_t n = net_recv(conn->sock.fd, bytes, sizeof bytes);
    if (n == -EAGAIN)
        return yield_recv(task, &conn->sock, discard_recv);
    if (n <= 0)
        return conn_finish(conn, (int)n);
    conn_received(conn, (size_t)n);
    return yield_recv(task, &conn->sock, discard_recv);
}

static void discard_release(struct conn *conn)
{
    (void)conn; /* the frame holds nothing */
}

static const struct handler discard_handler = {
    .frame_size = sizeof(struct conn), .start = discard_recv, .release = discard_release};

/* ---- an endpoint without connections: sends each datagram back ---- */

struct reflector {
    struct task task;
    struct sock sock;
    bool stopping;
};

static struct yield reflector_recv(struct task *task)
{
    struct reflector *reflector = container_of(task, struct reflector, task);
    char bytes[512];
    ssize_t n;
    if (reflector->stopping) {
        sock_close(&reflector->sock, NULL);
        return yield_done(task);
    }
    while ((n = net_recv(reflector->sock.fd, bytes, sizeof bytes)) > 0)
        (void)net_send(reflector->sock.fd, bytes, (size_t)n);
    return yield_recv(task, &reflector->sock, reflector_recv);
}

static int reflector_start(struct endpoint *endpoint, const struct endpoint_context *context)
{
    struct reflector *reflector = endpoint->task = calloc(1, sizeof *reflector);
    struct sched *sched = context->sched;
    int rc = sock_init(&reflector->sock, sched->loop, &sched->waker, endpoint->fd);
    endpoint->fd = -1;
    sched_spawn(sched, &reflector->task, reflector_recv);
    return rc;
}

static void reflector_stop(struct endpoint *endpoint)
{
    struct reflector *reflector = endpoint->task;
    reflector->stopping = true;
    sock_wake(&reflector->sock);
}

static const struct endpoint_kind reflector_kind = {.start = reflector_start,
                                                    .stop = reflector_stop};

/* ---- the daemon that serves all three ---- */

static struct {
    struct log log;
    struct endpoints endpoints;
    struct ledger ledger;
    struct workers workers;
    struct listener_watcher watcher;
    int datagrams; /* the client's end */
} fix;

static void on_event(struct listener_watcher *watcher, enum listener_event event, int error)
{
    assert_ptr_equal(watcher, &fix.watcher);
    assert_true(event == LISTENER_TOOK || event == LISTENER_ENDED);
    assert_int_equal(error, 0);
}

/* Two addresses to listen on, and a third endpoint for the datagrams. */
static void open_endpoints(void)
{
    struct endpoint_addr addrs[3] = {0};
    for (int i = 0; i < 3; i++) {
        addrs[i].addr = net_any(AF_INET);
        addrs[i].addr.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)i);
    }
    const struct endpoints_config config = {.addrs = addrs, .count = 3, .backlog = 10};
    assert_int_equal(endpoints_open(&fix.endpoints, &config), 0);
    int pair[2];
    const int type = SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    assert_int_equal(socketpair(AF_UNIX, type, 0, pair), 0);
    struct endpoint *list = fix.endpoints.list;
    list[SERVICE_DISCARD].service = SERVICE_DISCARD;
    (void)close(list[SERVICES].fd);
    list[SERVICES].fd = pair[0];
    list[SERVICES].kind = &reflector_kind;
    fix.datagrams = pair[1];
}

static int fixture_open(void **state)
{
    static struct service services[SERVICES];
    (void)state;
    memset(&fix, 0, sizeof fix);
    services[SERVICE_ECHO] = echo_services().list[0];
    services[SERVICE_DISCARD].handler = &discard_handler;
    log_init(&fix.log, STDERR_FILENO, LOG_LEVEL_ERROR);
    open_endpoints();
    ledger_of(&fix.ledger, &(struct services){.list = services, .count = SERVICES});
    const struct worker_config config = {.services = {.list = services, .count = SERVICES},
                                         .ledger = &fix.ledger,
                                         .log = &fix.log,
                                         .fd = fix.datagrams,
                                         .highest_fd = 100};
    assert_int_equal(workers_open(&fix.workers, 1, 10, 0, &config), 0);
    fix.watcher.on_event = on_event;
    const struct endpoint_context context = {.sched = workers_sched(&fix.workers),
                                             .acceptor = &fix.workers.acceptor,
                                             .watcher = &fix.watcher};
    return endpoints_start(&fix.endpoints, &context);
}

/* Ends all tasks, and then the loop. */
static int fixture_close(void **state)
{
    (void)state;
    endpoints_stop(&fix.endpoints);
    assert_null(workers_run(&fix.workers));
    workers_close(&fix.workers);
    ledger_close(&fix.ledger);
    endpoints_close(&fix.endpoints);
    (void)close(fix.datagrams);
    log_close(&fix.log);
    return 0;
}

static void turn(void)
{
    (void)uv_run(workers_sched(&fix.workers)->loop, UV_RUN_NOWAIT);
}

/* Connects a client to this service. The client sends "Hello" and a FIN. Returns its socket. */
static int client_open(int service)
{
    const struct sockaddr *addr = &fix.endpoints.list[service].bound.sa;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, addr, sizeof(struct sockaddr_in)), 0);
    assert_int_equal(send(fd, "Hello", 5, 0), 5);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    return fd;
}

/* The daemon sends this answer, and then ends the connection. */
static void client_expect(int fd, const char *answer)
{
    char got[64];
    ssize_t n;
    size_t len = 0;
    while ((n = recv(fd, got + len, sizeof got - len, MSG_DONTWAIT)) != 0) {
        len += n > 0 ? (size_t)n : 0;
        turn(); /* the watchdog of the tests limits this loop */
    }
    assert_int_equal(len, strlen(answer));
    assert_memory_equal(got, answer, len);
    (void)close(fd);
}

/* Two endpoints with different services work at the same time on one loop. */
static void test_two_services(void **state)
{
    (void)state;
    int discarded = client_open(SERVICE_DISCARD);
    int echoed = client_open(SERVICE_ECHO);
    client_expect(echoed, "GOT:Hello");
    client_expect(discarded, "");
    struct stats stats;
    workers_stats(&fix.workers, &stats);
    assert_int_equal(stats.accepted, 2);
    assert_int_equal(stats.bytes_in, 10);
    assert_int_equal(stats.bytes_out, 9);
}

/* Datagrams are answered as well, and do not count in the statistics of connections. */
static void test_datagrams(void **state)
{
    char got[64];
    ssize_t n;
    (void)state;
    int echoed = client_open(SERVICE_ECHO);
    assert_int_equal(send(fix.datagrams, "ping", 4, 0), 4);
    while ((n = recv(fix.datagrams, got, sizeof got, 0)) < 0)
        turn();
    assert_int_equal(n, 4);
    assert_memory_equal(got, "ping", 4);
    client_expect(echoed, "GOT:Hello");
    assert_int_equal(counter_get(&fix.workers.list[0].conns.accepted), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_two_services),
        FIXTURE_TEST(test_datagrams),
    };
    return RUN_TESTS("services", tests);
}
