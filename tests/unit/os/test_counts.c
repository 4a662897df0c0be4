/*
 * test_counts.c - what the kernel says of real loopback connections of both families, beside what
 * the test itself has counted. getsockopt(2) and ioctl(2) are wrapped, so that things can happen
 * between two of them.
 */
#include "unit/support.h"

#include "os/counts.h"
#include "os/net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))

enum {
    TRIES_MOST = 1000,  /* looks after which counts_get() must have given up */
    ALL = 1 << 20,      /* more than is ever unread */
    FLOW_ROUNDS = 4000, /* of a recv, a send and counts_get() */
    FLOW_MOST = 20000,  /* bytes of each */
};

/*
 * The beginning of the kernel's struct tcp_info (Linux 4.1). <netinet/tcp.h>, which libuv includes,
 * has a shorter one, and <linux/tcp.h> does not go together with that.
 */
struct kernel_info {
    uint8_t state;
    uint8_t others[119];
    uint64_t acked;
    uint64_t received;
};

/* A connection, and what the test itself has counted at the side that has accepted it. */
static struct {
    int client;
    int server;
    uint64_t written; /* by the client */
    struct counts hand;
    int fds_before;
} fix;

static char bytes[ALL];

/* ---- what can happen between two calls ---- */

/* The calls of counts_get() are counted; before the call with this number, something happens. */
static struct {
    int at; /* 0: never */
    int calls;
    void (*happens)(void);
} gate;

/* What TCP_INFO is made to say. */
static struct {
    socklen_t len; /* of the struct; 0: the real one */
    int error;     /* 0: none */
    bool moves;    /* the numbers are others each time */
    bool late;     /* the first look says the state before the FIN, but counts the FIN */
    int calls;
} look;

static void gate_pass(void)
{
    if (++gate.calls == gate.at)
        gate.happens();
}

static void look_change(struct kernel_info *info, socklen_t *len)
{
    look.calls++;
    if (look.moves)
        info->received += (uint64_t)look.calls;
    if (look.late && look.calls == 1)
        info->state = TCP_ESTABLISHED;
    if (look.len != 0)
        *len = look.len;
}

int __real_getsockopt(int fd, int level, int option, void *value, socklen_t *len);
int __wrap_getsockopt(int fd, int level, int option, void *value, socklen_t *len);
int __wrap_getsockopt(int fd, int level, int option, void *value, socklen_t *len)
{
    gate_pass();
    bool looks = level == IPPROTO_TCP && option == TCP_INFO;
    if (looks && look.error != 0) {
        errno = look.error;
        return -1;
    }
    int rc = __real_getsockopt(fd, level, option, value, len);
    if (rc == 0 && looks)
        look_change(value, len);
    return rc;
}

static unsigned long ioctl_fails; /* this request; 0: none */

int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...)
{
    va_list args;
    va_start(args, request);
    void *value = va_arg(args, void *);
    va_end(args);
    gate_pass();
    if (request == ioctl_fails) {
        errno = ENOMEM;
        return -1;
    }
    return __real_ioctl(fd, request, value);
}

/* ---- the two sides ---- */

static int queued(int fd, unsigned long request)
{
    int n = -1;
    assert_return_code(__real_ioctl(fd, request, &n), errno);
    return n;
}

static struct kernel_info info_of(int fd)
{
    struct kernel_info info;
    socklen_t len = sizeof info;
    assert_return_code(__real_getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &len), errno);
    return info;
}

/* Waits until all that the client has written, and its FIN, have arrived, or the watchdog strikes.
 */
static void await_arrival(unsigned fins)
{
    while (info_of(fix.server).received < fix.written + fins)
        (void)sched_yield();
}

/* Waits until the client has acknowledged all. */
static void await_acks(void)
{
    while (queued(fix.server, SIOCOUTQ) > 0)
        (void)sched_yield();
}

static void client_writes(size_t len)
{
    assert_int_equal(send(fix.client, bytes, len, MSG_NOSIGNAL), len);
    fix.written += len;
    await_arrival(0);
}

static void client_ends(void)
{
    assert_return_code(shutdown(fix.client, SHUT_WR), errno);
    await_arrival(1);
}

/* Closes the client's end, with a reset. */
static void client_resets(void)
{
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    int rc = setsockopt(fix.client, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    assert_return_code(rc, errno);
    net_close(fix.client);
    fix.client = -1;
    wait_for(fix.server, POLLHUP);
}

/* Reads until the server has nothing more to deliver. */
static void client_reads_all(void)
{
    while (recv(fix.client, bytes, sizeof bytes, MSG_DONTWAIT) > 0 ||
           queued(fix.server, SIOCOUTQ) > 0)
        (void)sched_yield();
}

static ssize_t server_reads(size_t most)
{
    ssize_t n = net_recv(fix.server, bytes, most);
    fix.hand.in += n > 0 ? (size_t)n : 0;
    return n;
}

static ssize_t server_sends(size_t len)
{
    ssize_t n = net_send(fix.server, bytes, len);
    fix.hand.out += n > 0 ? (size_t)n : 0;
    return n;
}

static void server_ends(void)
{
    assert_int_equal(net_shutdown_send(fix.server), 0);
    fix.hand.ended = true;
}

/* Sends until the client, which reads nothing, and both kernels are full. */
static void server_jams(void)
{
    do {
        while (server_sends(sizeof bytes) > 0)
            continue;
        /* What the client's kernel has taken meanwhile makes room: it takes no more in the end. */
    } while (net_ready(fix.server, POLLOUT));
    assert_true(queued(fix.server, SIOCOUTQ) > 0);
}

/* The kernel counts what the test has counted. */
static void check(void)
{
    struct counts counts = {.in = UINT64_MAX, .out = UINT64_MAX};
    int rc;
    do
        rc = counts_get(fix.server, &counts);
    while (rc == -EAGAIN);
    assert_int_equal(rc, 0);
    assert_int_equal(counts.in, fix.hand.in);
    assert_int_equal(counts.out, fix.hand.out);
    assert_int_equal(counts.ended, fix.hand.ended);
}

static void check_unknown(int fd, int error)
{
    struct counts counts = {.in = 1, .out = 2};
    assert_int_equal(counts_get(fd, &counts), error);
    assert_int_equal(counts.in, 1);
    assert_int_equal(counts.out, 2);
}

static void check_state(unsigned state)
{
    assert_int_equal(info_of(fix.server).state, state);
}

static void await_state(unsigned state)
{
    while (info_of(fix.server).state != state)
        (void)sched_yield();
}

/* ---- the fixture ---- */

static int listen_on(sa_family_t family, union net_addr *addr)
{
    *addr = net_any(family);
    if (family == AF_INET6)
        addr->in6.sin6_addr = in6addr_loopback;
    else
        addr->in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = net_listen(addr, 16, 0, 0);
    if (family == AF_INET6 && (fd == -EAFNOSUPPORT || fd == -EADDRNOTAVAIL))
        return fd;
    assert_return_code(fd, -fd);
    assert_int_equal(net_local(fd, addr), 0);
    return fd;
}

static int connect_to(const union net_addr *addr)
{
    int fd = socket(addr->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_return_code(fd, errno);
    assert_return_code(connect(fd, &addr->sa, net_addr_len(addr)), errno);
    return fd;
}

/* Without IPv6 on this machine there is no connection, and the test is skipped. */
static int fixture_open(void **state)
{
    union net_addr addr;
    union net_peer peer;
    memset(&fix, 0, sizeof fix);
    memset(&gate, 0, sizeof gate);
    memset(&look, 0, sizeof look);
    ioctl_fails = 0;
    fix.fds_before = count_fds();
    fix.client = fix.server = -1;
    int listener = listen_on(*(const sa_family_t *)*state, &addr);
    if (listener < 0)
        return 0;
    fix.client = connect_to(&addr);
    wait_for(listener, POLLIN);
    fix.server = net_accept(listener, &peer);
    assert_return_code(fix.server, -fix.server);
    net_close(listener);
    return 0;
}

static int fixture_close(void **state)
{
    (void)state;
    if (fix.client >= 0)
        net_close(fix.client);
    if (fix.server >= 0)
        net_close(fix.server);
    assert_int_equal(count_fds(), fix.fds_before);
    return 0;
}

/* Whether TCP_INFO has the numbers. qemu-user's kernel, for one, gives the first bytes only. */
static bool kernel_counts(void)
{
    struct kernel_info info;
    socklen_t len = sizeof info;
    return __real_getsockopt(fix.server, IPPROTO_TCP, TCP_INFO, &info, &len) == 0 &&
           len >= sizeof info;
}

static void need_connection(void)
{
    if (fix.server < 0) {
        print_message("no IPv6 on this machine\n");
        skip();
    }
    if (!kernel_counts()) {
        check_unknown(fix.server, -EOPNOTSUPP);
        print_message("this kernel does not count\n");
        skip();
    }
}

/* ---- the table ---- */

static void test_fresh(void **state)
{
    (void)state;
    need_connection();
    check();
}

static void test_received(void **state)
{
    (void)state;
    need_connection();
    client_writes(1000);
    check();
    assert_int_equal(server_reads(300), 300);
    check();
    assert_int_equal(recv(fix.server, bytes, 200, MSG_PEEK), 200);
    check();
    assert_int_equal(server_reads(1), 1);
    check();
    assert_int_equal(server_reads(ALL), 699);
    check();
    assert_int_equal(server_reads(ALL), -EAGAIN);
    check();
    client_writes(1);
    check();
    assert_int_equal(server_reads(ALL), 1);
    check();
}

static void test_sent(void **state)
{
    (void)state;
    need_connection();
    assert_int_equal(server_sends(777), 777);
    check();
    await_acks();
    check();
    assert_int_equal(server_sends(1), 1);
    check();
    client_reads_all();
    check();
}

/* What is in neither kernel's acknowledged part yet counts as sent. */
static void test_sent_until_nothing_more_is_taken(void **state)
{
    (void)state;
    need_connection();
    server_jams();
    check();
    for (int i = 0; i < 10; i++) {
        assert_int_equal(recv(fix.client, bytes, 100000, MSG_WAITALL), 100000);
        check();
        (void)server_sends(50000);
        check();
    }
    client_reads_all();
    check();
}

static void test_the_peers_fin(void **state)
{
    (void)state;
    need_connection();
    client_writes(10);
    client_ends();
    check_state(TCP_CLOSE_WAIT);
    check();
    assert_int_equal(server_reads(4), 4);
    check();
    assert_int_equal(server_reads(ALL), 6);
    check();
    assert_int_equal(server_reads(ALL), 0);
    check();
    assert_int_equal(server_reads(ALL), 0);
    check();
    assert_int_equal(server_sends(10), 10);
    check();
    await_acks();
    check();
}

static void test_a_fin_alone(void **state)
{
    (void)state;
    need_connection();
    client_ends();
    check();
    assert_int_equal(server_reads(ALL), 0);
    check();
}

static void test_our_fin(void **state)
{
    (void)state;
    need_connection();
    assert_int_equal(server_sends(50), 50);
    server_ends();
    check(); /* whether it has been acknowledged or not */
    await_state(TCP_FIN_WAIT2);
    await_acks();
    check();
    client_writes(9);
    check();
    assert_int_equal(server_reads(4), 4);
    check();
}

static void test_our_fin_behind_what_nobody_takes(void **state)
{
    (void)state;
    need_connection();
    server_jams();
    server_ends();
    check_state(TCP_FIN_WAIT1);
    check();
    client_writes(5);
    check();
    assert_int_equal(server_reads(3), 3);
    check();
    client_ends();
    check_state(TCP_CLOSING);
    check();
    assert_int_equal(server_reads(ALL), 2);
    check();
    assert_int_equal(server_reads(ALL), 0);
    check();
}

static void test_our_fin_after_the_peers(void **state)
{
    (void)state;
    need_connection();
    client_writes(5);
    client_ends();
    server_jams();
    server_ends();
    check_state(TCP_LAST_ACK);
    check();
    assert_int_equal(server_reads(3), 3);
    check();
    assert_int_equal(server_reads(ALL), 2);
    assert_int_equal(server_reads(ALL), 0);
    check();
}

/* Both have ended, and all is acknowledged: the kernel has nothing more to do. */
static void test_both_fins(void **state)
{
    (void)state;
    need_connection();
    client_writes(5);
    assert_int_equal(server_sends(6), 6);
    server_ends();
    await_state(TCP_FIN_WAIT2);
    client_ends();
    await_state(TCP_CLOSE);
    check_unknown(fix.server, -ENOTCONN);
}

/* The peer closes although it has not read all, which resets the connection. */
static void test_reset(void **state)
{
    (void)state;
    need_connection();
    client_writes(100);
    assert_int_equal(server_reads(30), 30);
    assert_int_equal(server_sends(50), 50);
    await_acks();
    check();
    net_close(fix.client);
    fix.client = -1;
    wait_for(fix.server, POLLHUP);
    check_state(TCP_CLOSE);
    check_unknown(fix.server, -ENOTCONN);
    assert_int_equal(server_reads(30), 30); /* Linux keeps what has arrived */
    check_unknown(fix.server, -ENOTCONN);
}

static void test_reset_after_a_fin(void **state)
{
    (void)state;
    need_connection();
    client_writes(100);
    client_ends();
    check();
    client_resets();
    check_unknown(fix.server, -ENOTCONN);
}

/* What stands in the pipe has been taken out of one socket and not yet been put into the other. */
static void test_spliced(void **state)
{
    int out;
    int in;
    (void)state;
    need_connection();
    assert_int_equal(net_pipe(&out, &in, 65536), 0);
    client_writes(50000);
    for (uint64_t before = 0; fix.hand.in < fix.written; before = fix.hand.in) {
        ssize_t n = net_splice(fix.server, in, 20000);
        assert_true(n > 0);
        fix.hand.in = before + (size_t)n;
        check();
    }
    while (fix.hand.out < fix.hand.in) {
        ssize_t n = net_splice(out, fix.server, 7000);
        assert_true(n > 0);
        fix.hand.out += (size_t)n;
        check();
    }
    net_close(out);
    net_close(in);
}

/* ---- urgent bytes ---- */

static void client_writes_urgent(const char *text)
{
    size_t len = strlen(text);
    assert_int_equal(send(fix.client, text, len, MSG_OOB | MSG_NOSIGNAL), len);
    fix.written += len;
    await_arrival(0);
}

static void expect_read(const char *text)
{
    size_t len = strlen(text);
    assert_int_equal(server_reads(ALL), len);
    assert_memory_equal(bytes, text, len);
    check();
}

/* recv stops in front of an urgent byte that it can see. */
static void test_urgent_bytes(void **state)
{
    (void)state;
    need_connection();
    client_writes_urgent("abcU");
    check();
    client_writes_urgent("def");
    check();
    client_writes(1);
    check();
    expect_read("abcUde");
    assert_int_equal(server_reads(ALL), 2);
    check();
    client_writes_urgent("V");
    check();
    expect_read("V");
    client_writes_urgent("W");
    client_ends();
    check();
    expect_read("W");
    assert_int_equal(server_reads(ALL), 0);
    check();
}

/* splice(2) does not pass an urgent byte, but recv(2) does. */
static void test_urgent_bytes_and_splice(void **state)
{
    int out;
    int in;
    (void)state;
    need_connection();
    assert_int_equal(net_pipe(&out, &in, 65536), 0);
    client_writes_urgent("abcU");
    client_writes(3);
    assert_int_equal(net_splice(fix.server, in, 65536), 3);
    fix.hand.in += 3;
    check();
    assert_int_equal(net_splice(fix.server, in, 65536), -EAGAIN);
    check();
    client_ends();
    assert_int_equal(net_splice(fix.server, in, 65536), 0);
    check();
    assert_int_equal(server_reads(ALL), 4);
    assert_int_equal(bytes[0], 'U');
    check();
    net_close(out);
    net_close(in);
}

static void test_urgent_bytes_out_of_line(void **state)
{
    static const int off = 0;
    (void)state;
    need_connection();
    assert_return_code(setsockopt(fix.server, SOL_SOCKET, SO_OOBINLINE, &off, sizeof off), errno);
    client_writes_urgent("abcU");
    check_unknown(fix.server, -EOPNOTSUPP);
}

/* ---- while things happen ---- */

static void happen_bytes(void)
{
    client_writes(10);
}

static void happen_acks(void)
{
    client_reads_all();
}

static void happen_reset(void)
{
    client_resets();
}

static void happen_bytes_and_fin(void)
{
    client_writes(10);
    client_ends();
}

/* Any of them, before any of the calls: it was before the counts or after them, never between. */
static void test_between_two_calls(void **state)
{
    static const struct {
        void (*happens)(void);
        bool is_last; /* nothing can happen after it */
    } events[] = {{happen_bytes, false},
                  {happen_acks, false},
                  {client_ends, true},
                  {happen_bytes_and_fin, true},
                  {happen_reset, true}};
    need_connection();
    for (size_t i = 0; i < COUNT(events); i++)
        for (int at = 1;; at++) {
            assert_int_equal(fixture_close(NULL) + fixture_open(state), 0);
            server_jams();
            client_writes(100);
            assert_int_equal(server_reads(33), 33);
            gate.happens = events[i].happens;
            gate.at = at;
            struct counts counts;
            int rc = counts_get(fix.server, &counts);
            if (gate.calls < at)
                break; /* there is no such call */
            if (rc == -ENOTCONN && events[i].happens == happen_reset)
                continue;
            assert_int_equal(rc, 0);
            assert_int_equal(counts.in, fix.hand.in);
            assert_int_equal(counts.out, fix.hand.out);
        }
}

/* The client, a process: sends and reads without a pause until the connection ends. */
static _Noreturn void flow_client(void)
{
    unsigned seed = 1;
    (void)alarm(30); /* a child has no alarm of its parent's */
    net_close(fix.server);
    for (;;) {
        struct pollfd ready = {.fd = fix.client, .events = POLLIN | POLLOUT};
        (void)poll(&ready, 1, -1);
        size_t len = 1 + (size_t)rand_r(&seed) % FLOW_MOST;
        ssize_t n = recv(fix.client, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN))
            child_exit(0);
        n = send(fix.client, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            child_exit(0);
    }
}

/* Returns whether the counts were known. */
static bool flow_check(void)
{
    struct counts counts;
    int rc = counts_get(fix.server, &counts);
    if (rc == -EAGAIN)
        return false;
    assert_int_equal(rc, 0);
    assert_int_equal(counts.in, fix.hand.in);
    assert_int_equal(counts.out, fix.hand.out);
    return true;
}

static void test_while_data_flows(void **state)
{
    unsigned seed = 2;
    int known = 0;
    int looks = 0;
    int status = -1;
    (void)state;
    need_connection();
    pid_t child = fork();
    if (child == 0)
        flow_client();
    assert_true(child > 0);
    for (int i = 0; i < FLOW_ROUNDS; i++) {
        wait_for(fix.server, POLLIN);
        assert_true(server_reads(1 + (size_t)rand_r(&seed) % FLOW_MOST) > 0);
        known += flow_check();
        (void)server_sends(1 + (size_t)rand_r(&seed) % FLOW_MOST);
        look.calls = 0;
        known += flow_check();
        looks = look.calls > looks ? look.calls : looks;
    }
    print_message("%d of %d counts known, after %d looks at the most; %llu bytes\n", known,
                  2 * FLOW_ROUNDS, looks, (unsigned long long)(fix.hand.in + fix.hand.out));
    assert_true(known > 0);
    net_close(fix.server);
    fix.server = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* The kernel reads the state first, and locks the socket for the other numbers only afterwards. */
static void test_a_state_from_before_the_fin(void **state)
{
    (void)state;
    need_connection();
    client_writes(5);
    client_ends();
    look.late = true;
    check();
    assert_int_equal(look.calls, 3);
}

/* ---- what is not known ---- */

static void test_numbers_that_never_stand_still(void **state)
{
    (void)state;
    need_connection();
    look.moves = true;
    check_unknown(fix.server, -EAGAIN);
    assert_true(look.calls > 2 && look.calls < TRIES_MOST);
}

static void test_a_kernel_that_tells_less(void **state)
{
    (void)state;
    need_connection();
    look.len = offsetof(struct kernel_info, received);
    check_unknown(fix.server, -EOPNOTSUPP);
    look.len += 7;
    check_unknown(fix.server, -EOPNOTSUPP);
    look.len += 1;
    check();
}

static void test_failures(void **state)
{
    static const unsigned long requests[] = {SIOCINQ, SIOCOUTQ};
    (void)state;
    need_connection();
    look.error = ENOBUFS;
    check_unknown(fix.server, -ENOBUFS);
    look.error = 0;
    for (size_t i = 0; i < COUNT(requests); i++) {
        ioctl_fails = requests[i];
        check_unknown(fix.server, -ENOMEM);
    }
    ioctl_fails = 0;
    check_unknown(-1, -EBADF);
}

static void check_socket_unknown(int family, int type, int protocol, int error)
{
    int fd = socket(family, type | SOCK_CLOEXEC, protocol);
    static const int on = 1;
    if (fd < 0) {
        print_message("no such socket on this machine: %s\n", strerror(errno));
        return;
    }
    (void)setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on);
    check_unknown(fd, error);
    net_close(fd);
}

static void test_other_sockets(void **state)
{
    union net_addr addr;
    int fds[2];
    (void)state;
    need_connection();
    make_socketpair(fds);
    check_unknown(fds[0], -EOPNOTSUPP);
    net_close(fds[0]);
    net_close(fds[1]);
    assert_return_code(pipe2(fds, O_CLOEXEC), errno);
    check_unknown(fds[0], -ENOTSOCK);
    net_close(fds[0]);
    net_close(fds[1]);
    check_socket_unknown(AF_INET, SOCK_DGRAM, 0, -EOPNOTSUPP);
    check_socket_unknown(AF_INET, SOCK_STREAM, 0, -ENOTCONN);
    check_socket_unknown(AF_INET, SOCK_STREAM, IPPROTO_MPTCP, -EOPNOTSUPP);
    int listener = listen_on(AF_INET, &addr);
    check_unknown(listener, -ENOTCONN);
    net_close(listener);
}

static sa_family_t v4 = AF_INET;
static sa_family_t v6 = AF_INET6;

#define BOTH_TESTS(test)                                                                           \
    {#test "_v4", test, fixture_open, fixture_close, &v4},                                         \
    {                                                                                              \
#test "_v6", test, fixture_open, fixture_close, &v6                                        \
    }

static const struct CMUnitTest tests[] = {
    BOTH_TESTS(test_fresh),
    BOTH_TESTS(test_received),
    BOTH_TESTS(test_sent),
    BOTH_TESTS(test_sent_until_nothing_more_is_taken),
    BOTH_TESTS(test_the_peers_fin),
    BOTH_TESTS(test_a_fin_alone),
    BOTH_TESTS(test_our_fin),
    BOTH_TESTS(test_our_fin_behind_what_nobody_takes),
    BOTH_TESTS(test_our_fin_after_the_peers),
    BOTH_TESTS(test_both_fins),
    BOTH_TESTS(test_reset),
    BOTH_TESTS(test_reset_after_a_fin),
    BOTH_TESTS(test_spliced),
    BOTH_TESTS(test_urgent_bytes),
    BOTH_TESTS(test_urgent_bytes_and_splice),
    BOTH_TESTS(test_urgent_bytes_out_of_line),
    BOTH_TESTS(test_between_two_calls),
    BOTH_TESTS(test_while_data_flows),
    BOTH_TESTS(test_a_state_from_before_the_fin),
    BOTH_TESTS(test_numbers_that_never_stand_still),
    BOTH_TESTS(test_a_kernel_that_tells_less),
    BOTH_TESTS(test_failures),
    BOTH_TESTS(test_other_sockets),
};

int main(void)
{
    return RUN_TESTS("counts", tests);
}
