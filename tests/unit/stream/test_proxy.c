/*
 * proxy.c: the step in front of a handler, on socket pairs and a real scheduler. The handler here
 * only keeps what it receives, so that each byte that is not its own shows.
 */
#include "stream/proxy.h"

#include "os/memory.h"
#include "stream/conn.h"
#include "stream/proxy_header.h"
#include "unit/ledgers.h"
#include "unit/support.h"

#include <arpa/inet.h>
#include <errno.h>

enum { NOT_CLOSED = 1 };

static const char v1[] = "PROXY TCP4 192.0.2.1 192.0.2.2 1234 25000\r\n";
static const char v1_unknown[] = "PROXY UNKNOWN\r\n";

static struct {
    uv_loop_t loop;
    struct sched sched;
    struct ledger ledger;
    struct conns conns;
    struct conn *conn; /* NULL when closed */
    int peer;          /* its other end */
    int fd;
    int error;    /* with which it has closed */
    int fault;    /* of CONN_MISLED; 0: there was none */
    int headed;   /* how often CONN_HEADED came */
    int released; /* and release was called */
    char got[64]; /* by the handler */
    size_t got_len;
    int recv_error;   /* of net_recv(), or 0 */
    bool no_buffer;   /* for ledger_lend() and ledger_inherit() */
    int discards;     /* calls of net_discard() */
    bool resumes;     /* the handler had been started by the predecessor */
    struct cidr from; /* 127.0.0.0/8 */
} fix;

ssize_t __real_net_recv(int fd, void *buf, size_t len);
ssize_t __wrap_net_recv(int fd, void *buf, size_t len);
struct ledger_buffer __real_ledger_lend(struct ledger *ledger);
struct ledger_buffer __wrap_ledger_lend(struct ledger *ledger);
struct ledger_buffer __real_ledger_inherit(const struct ledger *ledger, uint32_t number);
struct ledger_buffer __wrap_ledger_inherit(const struct ledger *ledger, uint32_t number);
void __wrap_net_discard(int fd);

ssize_t __wrap_net_recv(int fd, void *buf, size_t len)
{
    return fix.recv_error < 0 ? fix.recv_error : __real_net_recv(fd, buf, len);
}

struct ledger_buffer __wrap_ledger_lend(struct ledger *ledger)
{
    return fix.no_buffer ? (struct ledger_buffer){.bytes = NULL} : __real_ledger_lend(ledger);
}

struct ledger_buffer __wrap_ledger_inherit(const struct ledger *ledger, uint32_t number)
{
    return fix.no_buffer ? (struct ledger_buffer){.bytes = NULL}
                         : __real_ledger_inherit(ledger, number);
}

void __wrap_net_discard(int fd)
{
    assert_int_equal(fd, fix.fd);
    fix.discards++;
}

static struct yield keeper_recv(struct task *task)
{
    struct conn *conn = container_of(task, struct conn, task);
    ssize_t n = net_recv(conn->sock.fd, fix.got + fix.got_len, sizeof fix.got - fix.got_len);
    if (n == -EAGAIN)
        return yield_recv(task, &conn->sock, keeper_recv);
    if (n <= 0)
        return conn_finish(conn, (int)n);
    fix.got_len += (size_t)n;
    conn_received(conn, (size_t)n);
    return yield_recv(task, &conn->sock, keeper_recv);
}

static void keeper_release(struct conn *conn)
{
    assert_ptr_equal(conn, fix.conn);
    fix.released++;
}

static void keeper_wake(struct conn *conn)
{
    (void)conn;
    fail_msg("the handler has not been started");
}

static void keeper_describe(const void *config, struct ledger_service *service)
{
    (void)config;
    service->buffer_bytes = 1;
}

static task_step *keeper_resume(struct conn *conn, uint32_t left, bool ready)
{
    (void)conn, (void)left, (void)ready;
    assert_true(fix.resumes);
    return keeper_recv;
}

static const struct handler keeper = {.frame_size = sizeof(struct conn),
                                      .start = keeper_recv,
                                      .release = keeper_release,
                                      .wake = keeper_wake,
                                      .describe = keeper_describe,
                                      .resume = keeper_resume};
static const struct service list[] = {{.handler = &keeper}};
static const struct services services = {list, 1};

static void on_event(struct conn *conn, enum conn_event event, int error)
{
    if (event == CONN_OPENED || event == CONN_ADOPTED)
        fix.conn = conn;
    if (event == CONN_HEADED)
        fix.headed++;
    if (event == CONN_MISLED)
        fix.fault = error;
    if (event == CONN_CLOSED) {
        fix.error = error;
        fix.conn = NULL;
    }
}

static int fixture_open(void **state)
{
    (void)state;
    memset(&fix, 0, sizeof fix);
    fix.error = NOT_CLOSED;
    assert_int_equal(uv_loop_init(&fix.loop), 0);
    sched_init(&fix.sched, &fix.loop);
    ledger_of(&fix.ledger, &services);
    assert_int_equal(cidr_parse(&fix.from, "127.0.0.0/8"), 0);
    return conns_open(&fix.conns, &fix.sched, &services, &fix.ledger, on_event);
}

static void turn(void)
{
    for (int i = 0; i < 4; i++)
        loop_turn(&fix.loop);
}

/* Whether any buffer is lent: the lowest number is lent first. */
static bool any_lent(void)
{
    return fix.ledger.lent[0] != 0;
}

static int fixture_close(void **state)
{
    (void)state;
    (void)close(fix.peer);
    turn();
    assert_null(fix.conn);
    assert_int_equal(fix.released, 1);
    assert_false(any_lent());
    assert_true(list_empty(&fix.conns.headless));
    sched_close(&fix.sched);
    loop_close(&fix.loop);
    conns_close(&fix.conns);
    ledger_close(&fix.ledger);
    return 0;
}

static const struct ledger_entry *entry(void)
{
    return &fix.ledger.entries[fix.fd];
}

static enum ledger_kind kind(void)
{
    return ledger_kind(ledger_load(&entry()->place));
}

static void open_as(struct accepted accepted)
{
    int fds[2];
    make_socketpair(fds);
    accepted.fd = fds[0];
    accepted.peer.in =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    fix.fd = fds[0];
    fix.peer = fds[1];
    if (accepted.adopted) {
        assert_int_equal(ledger_enter_header(&fix.ledger, fix.fd, 0), 0);
        return;
    }
    assert_int_equal(conn_open(&fix.conns, &accepted), 0);
}

/* From a source whose connections begin with a header. */
static void open_proxied(void)
{
    fix.conns.proxies = (struct proxy_rules){.from = &fix.from, .count = 1};
    open_as((struct accepted){.fd = -1});
    turn();
    assert_true(fix.conn->headless);
    assert_int_equal(kind(), LEDGER_HEADER);
}

static void tell(const char *bytes, size_t len)
{
    assert_int_equal(send(fix.peer, bytes, len, MSG_NOSIGNAL), len);
    turn();
}

static void expect_got(const char *bytes)
{
    assert_int_equal(fix.got_len, strlen(bytes));
    assert_memory_equal(fix.got, bytes, fix.got_len);
}

static void expect_counted(enum proxy_result result)
{
    for (int i = 0; i < PROXY_RESULTS; i++)
        assert_int_equal(fix.ledger.header->proxied.count[i], i == (int)result);
}

static void test_the_rules(void **state)
{
    struct proxy_rules rules = {.from = &fix.from, .count = 1};
    union net_peer local = {.un.family = AF_UNIX};
    union net_peer near = {.in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002)}};
    union net_peer far = {.in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0xc0000201)}};
    (void)state;
    assert_int_equal(cidr_parse(&fix.from, "127.0.0.0/8"), 0);
    assert_true(proxy_rules_name(&rules, &near));
    assert_false(proxy_rules_name(&rules, &far));
    assert_false(proxy_rules_name(&rules, &local));
    rules.local = true;
    assert_true(proxy_rules_name(&rules, &local));
    rules.count = 0;
    assert_false(proxy_rules_name(&rules, &near));
}

static void test_without_a_rule(void **state)
{
    (void)state;
    open_as((struct accepted){.fd = -1});
    turn();
    assert_null(proxy_client(fix.conn));
    tell(v1, sizeof v1 - 1);
    expect_got(v1);
}

static void test_a_header_and_more(void **state)
{
    char all[80] = "";
    char text[NET_ADDR_STRLEN];
    (void)state;
    open_proxied();
    assert_null(proxy_client(fix.conn));
    (void)snprintf(all, sizeof all, "%sPROXY", v1);
    tell(all, strlen(all));
    expect_got("PROXY");
    assert_int_equal(fix.headed, 1);
    assert_string_equal(net_format(proxy_client(fix.conn), text), "192.0.2.1:1234");
    assert_int_equal(kind(), LEDGER_NOTHING);
    assert_int_equal(ledger_load(&entry()->received), sizeof v1 - 1);
    assert_int_equal(ledger_load(&entry()->goal), 0);
    assert_int_equal(fix.conns.bytes_in, 5);
    assert_false(any_lent());
    expect_counted(PROXY_CLIENT);
    union net_addr kept;
    bool knows = ledger_recall_client(&fix.ledger, fix.fd, &kept);
    assert_int_equal(knows, sockets_have_cookies());
    if (knows)
        assert_string_equal(net_format(&kept, text), "192.0.2.1:1234");
}

/* The entry says at each byte how many have come, and a buffer is lent only then. */
static void test_byte_by_byte(void **state)
{
    (void)state;
    open_proxied();
    assert_false(any_lent());
    for (size_t i = 0; i < sizeof v1_unknown - 1; i++) {
        assert_int_equal(ledger_load(&entry()->received), i);
        assert_int_equal(kind(), LEDGER_HEADER);
        assert_int_equal(any_lent(), i > 0);
        tell(v1_unknown + i, 1);
        assert_int_equal(ledger_load(&entry()->goal), 0);
        assert_false(fix.conn->spoke);
    }
    assert_false(fix.conn->headless);
    assert_null(proxy_client(fix.conn));
    tell("x", 1);
    expect_got("x");
    expect_counted(PROXY_ANONYMOUS);
    assert_int_equal(fix.ledger.header->clients.end, 0);
}

/* Waking is a hint: without a byte there is no buffer afterwards. */
static void test_a_false_wake(void **state)
{
    (void)state;
    open_proxied();
    sock_wake(&fix.conn->sock);
    turn();
    assert_false(any_lent());
    assert_int_equal(ledger_number(entry()), LEDGER_NO_BUFFER);
    tell(v1_unknown, sizeof v1_unknown - 1);
    assert_false(fix.conn->headless);
}

static void test_a_bad_header(void **state)
{
    (void)state;
    open_proxied();
    tell("GET", 3);
    assert_null(fix.conn);
    assert_int_equal(fix.error, -EPROTO);
    assert_int_equal(fix.fault, PROXY_HEADER_NONE);
    assert_int_equal(fix.discards, 1);
    expect_counted(PROXY_BAD);
}

static void end_after(const char *bytes)
{
    open_proxied();
    tell(bytes, strlen(bytes));
    assert_int_equal(shutdown(fix.peer, SHUT_WR), 0);
    turn();
    assert_null(fix.conn);
}

static void test_an_end_without_a_byte(void **state)
{
    (void)state;
    end_after("");
    assert_int_equal(fix.error, 0);
    assert_int_equal(fix.fault, 0);
    assert_int_equal(fix.discards, 0);
    expect_counted(PROXY_RESULTS);
}

static void test_an_end_within(void **state)
{
    (void)state;
    end_after("PROXY");
    assert_int_equal(fix.error, -EPROTO);
    assert_int_equal(fix.fault, PROXY_HEADER_ENDED);
    expect_counted(PROXY_BAD);
}

static void test_an_error(void **state)
{
    (void)state;
    open_proxied();
    fix.recv_error = -ECONNRESET;
    tell("PROXY", 5);
    assert_int_equal(fix.error, -ECONNRESET);
    assert_int_equal(fix.fault, 0);
}

static void test_no_memory(void **state)
{
    (void)state;
    open_proxied();
    fix.no_buffer = true;
    tell("PROXY", 5);
    assert_int_equal(fix.error, -ENOMEM);
}

static void test_late(void **state)
{
    (void)state;
    open_proxied();
    tell("PROXY", 5);
    proxy_end_late(fix.conn);
    turn();
    assert_int_equal(fix.error, -ETIMEDOUT);
    assert_int_equal(fix.fault, PROXY_HEADER_LATE);
    assert_int_equal(fix.discards, 1);
    expect_counted(PROXY_LATE);
}

static void test_shut(void **state)
{
    char byte;
    (void)state;
    open_proxied();
    tell("PROXY", 5);
    conns_shut_all(&fix.conns, -ESHUTDOWN);
    turn();
    assert_int_equal(recv(fix.peer, &byte, 1, 0), 0);
    tell(" what is thrown away", 20);
    assert_non_null(fix.conn);
    assert_int_equal(shutdown(fix.peer, SHUT_WR), 0);
    turn();
    assert_int_equal(fix.error, -ESHUTDOWN);
}

static void test_abort(void **state)
{
    (void)state;
    open_proxied();
    conns_abort_all(&fix.conns, -ESHUTDOWN);
    turn();
    assert_int_equal(fix.error, -ESHUTDOWN);
}

/* A predecessor has received some bytes, and noted fewer of them. */
static void adopt(const char *bytes, size_t received, size_t noted)
{
    open_as((struct accepted){.adopted = true});
    if (received > 0) {
        struct ledger_buffer buffer = ledger_lend(&fix.ledger);
        memcpy(buffer.bytes, bytes, received);
        memory_unmap(buffer.bytes, fix.ledger.layout.buffer_bytes);
        ledger_note(&fix.ledger.entries[fix.fd], LEDGER_HEADER, buffer.number);
        ledger_header_end(&fix.ledger.entries[fix.fd], (uint32_t)noted);
    }
    struct accepted accepted = {
        .fd = fix.fd, .adopted = true, .left = (uint32_t)(received - noted)};
    accepted.peer.sa.sa_family = AF_INET;
    assert_int_equal(conn_open(&fix.conns, &accepted), 0);
    turn();
}

/* At every byte, noted or not, without a rule for its source: the options may have changed. */
static void test_goes_on(void **state)
{
    const size_t len = sizeof v1 - 1;
    (void)state;
    for (size_t received = 0; received <= len; received++) {
        size_t unnoted = received < 2 ? received : 2;
        fix.got_len = 0;
        adopt(v1, received, received - unnoted);
        if (received < len)
            tell(v1 + received, len - received);
        tell("x", 1);
        expect_got("x");
        assert_int_equal(ledger_load(&entry()->received), len);
        assert_non_null(proxy_client(fix.conn));
        (void)close(fix.peer);
        turn();
        assert_null(fix.conn);
        assert_false(any_lent());
        fix.released = 1;
    }
    fix.peer = -1;
}

/* Behind the header of a predecessor's connection, which has named that client; NULL: none. */
static void adopt_behind(const union net_addr *client)
{
    int fds[2];
    make_socketpair(fds);
    fix.fd = fds[0];
    fix.peer = fds[1];
    fix.resumes = true;
    fix.released = 0;
    assert_int_equal(ledger_enter(&fix.ledger, fix.fd, 0), 0);
    if (client != NULL)
        ledger_keep_client(&fix.ledger, fix.fd, client);
    const struct accepted accepted = {.fd = fix.fd, .adopted = true, .peer.sa.sa_family = AF_INET};
    assert_int_equal(conn_open(&fix.conns, &accepted), 0);
    turn();
    assert_false(fix.conn->headless);
    tell("PROXY", 5);
    expect_got("PROXY");
}

static void test_the_client_of_a_predecessor(void **state)
{
    const union net_addr client = {.in = {.sin_family = AF_INET, .sin_port = htons(1234)}};
    char text[NET_ADDR_STRLEN];
    (void)state;
    adopt_behind(&client);
    assert_int_equal(fix.conn->proxied, sockets_have_cookies());
    if (fix.conn->proxied)
        assert_string_equal(net_format(proxy_client(fix.conn), text), "0.0.0.0:1234");
    (void)close(fix.peer);
    turn();
    assert_int_equal(fix.error, 0);
    assert_int_equal(fix.released, 1);
    fix.got_len = 0;
    adopt_behind(NULL); /* with the same descriptor, at the same place of the ledger */
    assert_false(fix.conn->proxied);
    assert_null(proxy_client(fix.conn));
}

static void test_goes_on_without_memory(void **state)
{
    (void)state;
    open_as((struct accepted){.adopted = true});
    struct ledger_buffer buffer = ledger_lend(&fix.ledger);
    ledger_note(&fix.ledger.entries[fix.fd], LEDGER_HEADER, buffer.number);
    memory_unmap(buffer.bytes, fix.ledger.layout.buffer_bytes);
    fix.no_buffer = true;
    struct accepted accepted = {.fd = fix.fd, .adopted = true};
    assert_int_equal(conn_open(&fix.conns, &accepted), 0);
    turn();
    assert_int_equal(fix.error, -ENOMEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_rules),
        FIXTURE_TEST(test_without_a_rule),
        FIXTURE_TEST(test_a_header_and_more),
        FIXTURE_TEST(test_byte_by_byte),
        FIXTURE_TEST(test_a_false_wake),
        FIXTURE_TEST(test_a_bad_header),
        FIXTURE_TEST(test_an_end_without_a_byte),
        FIXTURE_TEST(test_an_end_within),
        FIXTURE_TEST(test_an_error),
        FIXTURE_TEST(test_no_memory),
        FIXTURE_TEST(test_late),
        FIXTURE_TEST(test_shut),
        FIXTURE_TEST(test_abort),
        FIXTURE_TEST(test_goes_on),
        FIXTURE_TEST(test_the_client_of_a_predecessor),
        FIXTURE_TEST(test_goes_on_without_memory),
    };
    return RUN_TESTS("proxy", tests);
}
