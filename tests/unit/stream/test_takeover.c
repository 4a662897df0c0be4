/*
 * takeover.c: what a successor makes of the descriptors that it finds, which are real sockets here.
 * This process plays the predecessor, its successor and the clients. Their own ends are open, too,
 * and must be left alone.
 */
#include "stream/takeover.h"

#include "os/counts.h"
#include "os/descriptors.h"
#include "os/memory.h"
#include "os/watches.h"
#include "unit/ledgers.h"
#include "unit/support.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>

enum { PREFIX = 4, CUTS = 8, HEIR_FD = 200, LIVE = 0, MORTAL, SERVICES };

static struct {
    struct ledger ledger; /* the predecessor's */
    struct ledger heir;   /* the successor's */
    struct takeover takeover;
    int listener;
    int client; /* of the connection that was made last */
    int cuts[CUTS];
    int cut_count;
    int fds;         /* open before the test */
    int mortal;      /* calls of calloc() until one fails; 0: none does */
    int count_error; /* of counts_get(), or 0 */
    int end_error;   /* of descriptors_end(), or 0 */
    int local_error; /* of net_local(), or 0 */
    int look_error;  /* of net_look(), or 0 */
    size_t looked;   /* how many descriptors the looks were at, in all */
    uint64_t now_ms; /* of uv_hrtime() */
    bool blames;     /* the predecessor has crashed */
    uint32_t moved_ms[LEDGERS_ENTRIES];
    struct counts moved[LEDGERS_ENTRIES]; /* bytes that the test itself has moved */
} fix;

void *__real_calloc(size_t count, size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
uint32_t __wrap_net_moved_ms(int fd);
int __real_counts_get(int fd, struct counts *counts);
int __wrap_counts_get(int fd, struct counts *counts);
int __real_descriptors_end(void);
int __wrap_descriptors_end(void);
int __real_net_local(int fd, union net_addr *addr);
int __wrap_net_local(int fd, union net_addr *addr);
int __real_net_look(struct pollfd *list, size_t count);
int __wrap_net_look(struct pollfd *list, size_t count);
uint64_t __wrap_uv_hrtime(void);

static bool is_unix(int fd)
{
    union net_addr addr;
    return __real_net_local(fd, &addr) == 0 && addr.sa.sa_family == AF_UNIX;
}

/*
 * The kernel counts what this test has counted. Where the kernel does not count TCP either, because
 * qemu-user passes on the first bytes of TCP_INFO only, this test answers in the kernel's place.
 */
int __wrap_counts_get(int fd, struct counts *counts)
{
    int rc = fix.count_error < 0 ? fix.count_error : __real_counts_get(fd, counts);
    if (rc == 0) {
        assert_int_equal(counts->in, fix.moved[fd].in);
        assert_int_equal(counts->out, fix.moved[fd].out);
        assert_int_equal(counts->ended, fix.moved[fd].ended);
    }
    if (rc != -EOPNOTSUPP || is_unix(fd))
        return rc;
    *counts = fix.moved[fd];
    return 0;
}

int __wrap_net_local(int fd, union net_addr *addr)
{
    return fix.local_error < 0 ? fix.local_error : __real_net_local(fd, addr);
}

int __wrap_net_look(struct pollfd *list, size_t count)
{
    fix.looked += count;
    return fix.look_error < 0 ? fix.look_error : __real_net_look(list, count);
}

uint64_t __wrap_uv_hrtime(void)
{
    return fix.now_ms * 1000000;
}

int __wrap_descriptors_end(void)
{
    return fix.end_error < 0 ? fix.end_error : __real_descriptors_end();
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    if (fix.mortal > 0 && --fix.mortal == 0)
        return NULL;
    return __real_calloc(count, bytes);
}

uint32_t __wrap_net_moved_ms(int fd)
{
    return fix.moved_ms[fd];
}

static void describe(const void *config, struct ledger_service *service)
{
    (void)config;
    service->buffer_bytes = 5000;
    service->record_bytes = 1;
    service->record[0] = PREFIX;
}

static int64_t answer(const struct ledger_service *predecessor, uint32_t received)
{
    return (int64_t)predecessor->record[0] + received;
}

static task_step *resume(struct conn *conn, uint32_t left, bool ready)
{
    (void)conn, (void)left, (void)ready;
    fail_msg("nobody is to go on here");
    return NULL;
}

static const struct handler live = {.describe = describe, .answer = answer, .resume = resume};
static const struct handler mortal = {.describe = describe};
static const struct service list[] = {[LIVE] = {.handler = &live}, [MORTAL] = {.handler = &mortal}};
static const struct services services = {list, SERVICES};

static void on_cut(struct takeover *takeover, const union net_peer *peer, int error)
{
    (void)takeover, (void)peer;
    assert_true(fix.cut_count < CUTS);
    fix.cuts[fix.cut_count++] = error;
}

static int setup(void **state)
{
    (void)state;
    memset(&fix, 0, sizeof fix);
    fix.fds = count_fds();
    ledger_of(&fix.ledger, &services);
    return 0;
}

/* Listens at a loopback address or at an abstract name, and notes it. */
static void listen_on(const union net_addr *addr)
{
    const struct ledger_state noted = {.kind = LEDGER_LISTENER, .service = LIVE, .len = 77};
    fix.listener = net_listen(addr, 16, 0600, 0);
    assert_true(fix.listener >= 0);
    assert_int_equal(ledger_keep(&fix.ledger, fix.listener, &noted), 0);
}

static void listen_tcp(void)
{
    union net_addr addr = net_any(AF_INET);
    addr.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listen_on(&addr);
}

static void listen_unix(void)
{
    char name[32];
    union net_addr addr;
    (void)snprintf(name, sizeof name, "@takeover.%d", (int)getpid());
    assert_int_equal(net_unix(name, &addr), 0);
    listen_on(&addr);
}

/* A connection that has been accepted. Its client is fix.client. */
static int connect_one(void)
{
    union net_addr addr;
    union net_peer peer;
    assert_int_equal(net_local(fix.listener, &addr), 0);
    fix.client = socket(addr.sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fix.client >= 0);
    assert_int_equal(connect(fix.client, &addr.sa, net_addr_len(&addr)), 0);
    wait_for(fix.listener, POLLIN);
    int fd = net_accept(fix.listener, &peer);
    assert_true(fd >= 0 && fd < LEDGERS_ENTRIES);
    return fd;
}

static int serve_one(unsigned service)
{
    int fd = connect_one();
    assert_int_equal(ledger_enter(&fix.ledger, fd, service), 0);
    return fd;
}

static struct ledger_entry *entry_of(int fd)
{
    return &fix.ledger.entries[fd];
}

/* The client has sent so many bytes, and the predecessor has received them. */
static void receive(int fd, uint32_t bytes)
{
    char data[5000];
    assert_true(bytes <= sizeof data);
    assert_int_equal(send(fix.client, memset(data, 'x', bytes), bytes, 0), bytes);
    for (uint32_t received = 0; received < bytes;) {
        wait_for(fd, POLLIN);
        ssize_t n = net_recv(fd, data, bytes - received);
        assert_true(n > 0);
        received += (uint32_t)n;
    }
    fix.moved[fd].in += bytes;
}

static void send_some(int fd, uint32_t bytes)
{
    char data[5000];
    assert_int_equal(net_send(fd, memset(data, 'y', bytes), bytes), bytes);
    fix.moved[fd].out += bytes;
}

/* A buffer that an entry names, of which this process keeps no mapping. */
static uint32_t name_buffer(int fd)
{
    struct ledger_buffer buffer = ledger_lend(&fix.ledger);
    assert_non_null(buffer.bytes);
    memory_unmap(buffer.bytes, fix.ledger.layout.buffer_bytes);
    ledger_note(entry_of(fd), LEDGER_BUFFER, buffer.number);
    return buffer.number;
}

static void make_pipe(int *out, int *in)
{
    assert_int_equal(net_pipe(out, in, 65536), 0);
    const struct ledger_state read_end = {.kind = LEDGER_PIPE, .number = (uint32_t)*in};
    const struct ledger_state write_end = {.kind = LEDGER_PIPE, .number = (uint32_t)*out};
    assert_int_equal(ledger_keep(&fix.ledger, *out, &read_end), 0);
    assert_int_equal(ledger_keep(&fix.ledger, *in, &write_end), 0);
}

/* The predecessor has ended: its successor looks. */
static int find_as(bool dates)
{
    int file = net_dup_above(fix.ledger.file, HEIR_FD);
    assert_int_equal(ledger_attach(&fix.heir, file), 0);
    fix.takeover = (struct takeover){.blames = fix.blames, .on_cut = on_cut};
    return takeover_find(&fix.takeover, &fix.heir, &services, dates);
}

static void find(size_t count, int cuts)
{
    assert_int_equal(find_as(false), 0);
    assert_int_equal(fix.takeover.count, count);
    assert_int_equal(fix.cut_count, cuts);
}

/* Closes what the test has left, and checks that this is all. */
static void finish(void)
{
    takeover_free(&fix.takeover);
    ledger_close(&fix.heir);
    ledger_close(&fix.ledger);
    (void)close(fix.listener);
    assert_int_equal(count_fds(), fix.fds);
}

static void finish_with(int fd)
{
    (void)close(fix.client);
    (void)close(fd);
    finish();
}

/* The only connection that was found is this one, with so many bytes to send. */
static void check_adopted(int fd, uint32_t left)
{
    const struct accepted *accepted = &fix.takeover.list[0];
    struct ledger_state state;
    assert_int_equal(accepted->fd, fd);
    assert_true(accepted->adopted);
    assert_int_equal(accepted->left, left);
    assert_int_equal(ledger_read(&fix.heir, (uint32_t)fd, &state), 0);
    assert_true(state.served);
}

/* The next one is this. */
static void expect_next(int fd, bool ready, uint32_t silent_ms)
{
    struct accepted accepted;
    assert_true(takeover_next(&fix.takeover, &accepted));
    assert_int_equal(accepted.fd, fd);
    assert_int_equal(accepted.ready, ready);
    assert_int_equal(accepted.silent_ms, silent_ms);
    assert_int_equal(accepted.peer.sa.sa_family, AF_INET);
}

static void expect_none(void)
{
    struct accepted accepted;
    assert_false(takeover_next(&fix.takeover, &accepted));
    assert_int_equal(fix.takeover.count, 0);
}

static void test_nothing_is_there(void **state)
{
    (void)state;
    listen_tcp();
    find(0, 0);
    expect_none();
    assert_int_equal(fix.takeover.listening, 1);
    assert_int_equal(fix.takeover.listeners[0].fd, fix.listener);
    assert_int_equal(fix.takeover.listeners[0].noted.len, 77);
    assert_int_equal(net_port(&fix.takeover.listeners[0].bound) > 0, 1);
    finish();
}

/* A socket for datagrams, at the address of the listener, and noted as what it is or as another. */
static int datagrams_at_listener(uint32_t len)
{
    const struct ledger_state noted = {.kind = LEDGER_LISTENER, .service = LIVE, .len = len};
    union net_addr addr;
    assert_int_equal(net_local(fix.listener, &addr), 0);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, &addr.sa, net_addr_len(&addr)), 0);
    if (len != 0)
        assert_int_equal(ledger_keep(&fix.ledger, fd, &noted), 0);
    return fd;
}

static void test_a_datagram_socket(void **state)
{
    (void)state;
    listen_tcp();
    int fd = datagrams_at_listener(LEDGER_DATAGRAM);
    find(0, 0);
    expect_none();
    assert_int_equal(fix.takeover.listening, 2);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(fix.takeover.listeners[i].datagram, fix.takeover.listeners[i].fd == fd);
    (void)close(fd);
    finish();
}

/* The number was a listener's, or systemd has passed the socket once more: it is left alone. */
static void test_other_datagram_sockets(void **state)
{
    (void)state;
    listen_tcp();
    int stale = datagrams_at_listener(77);
    find(0, 0);
    expect_none();
    assert_int_equal(fix.cut_count, 0);
    assert_int_equal(fix.takeover.listening, 1);
    assert_true(fd_is_open(stale));
    (void)close(stale);
    finish();
}

static void test_a_datagram_socket_that_is_passed_again(void **state)
{
    (void)state;
    listen_tcp();
    int passed = datagrams_at_listener(0);
    find(0, 0);
    expect_none();
    assert_int_equal(fix.cut_count, 0);
    assert_true(fd_is_open(passed));
    (void)close(passed);
    finish();
}

/* As systemd passes it with ReusePort=. Neither of the two was accepted from the other. */
static void test_two_listeners_at_one_address(void **state)
{
    const struct ledger_state noted = {.kind = LEDGER_LISTENER, .service = LIVE};
    union net_addr addr;
    int yes = 1;
    (void)state;
    listen_tcp();
    assert_int_equal(setsockopt(fix.listener, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof yes), 0);
    assert_int_equal(net_local(fix.listener, &addr), 0);
    int twin = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(setsockopt(twin, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof yes), 0);
    assert_int_equal(bind(twin, &addr.sa, net_addr_len(&addr)), 0);
    assert_int_equal(listen(twin, 16), 0);
    assert_int_equal(ledger_keep(&fix.ledger, twin, &noted), 0);
    find(0, 0);
    assert_int_equal(fix.takeover.listening, 2);
    assert_true(fd_is_open(twin));
    (void)close(twin);
    finish();
}

static void test_an_idle_connection(void **state)
{
    (void)state;
    listen_tcp();
    int fd = serve_one(LIVE);
    find(1, 0);
    check_adopted(fd, 0);
    expect_next(fd, false, 0);
    expect_none();
    finish_with(fd);
}

/* Noted, and in part sent. */
static void test_an_answer_under_way(void **state)
{
    (void)state;
    listen_tcp();
    int fd = serve_one(LIVE);
    (void)name_buffer(fd);
    receive(fd, 100);
    ledger_answer(entry_of(fd), 100, 104, 104);
    send_some(fd, 30);
    find(1, 0);
    check_adopted(fd, 74);
    assert_int_equal(fix.takeover.list[0].service, LIVE);
    finish_with(fd);
}

/* Received and not noted: the answer is noted now, and a second look finds the same. */
static void test_a_message_that_was_not_noted(void **state)
{
    (void)state;
    listen_tcp();
    int fd = serve_one(LIVE);
    (void)name_buffer(fd);
    receive(fd, 50);
    ledger_answer(entry_of(fd), 50, 54, 54);
    send_some(fd, 54);
    receive(fd, 10);
    for (int look = 0; look < 2; look++) {
        find(1, 0);
        check_adopted(fd, 14);
        assert_int_equal(ledger_load(&entry_of(fd)->received), 60);
        assert_int_equal(ledger_load(&entry_of(fd)->len), 14);
        assert_int_equal(ledger_load(&entry_of(fd)->goal), 68);
        if (look == 0) {
            takeover_free(&fix.takeover);
            ledger_close(&fix.heir);
        }
    }
    finish_with(fd);
}

/* Our FIN has been sent, and what the peer sends is thrown away: much more than an answer. */
static void test_one_that_ends_and_receives(void **state)
{
    (void)state;
    listen_tcp();
    int fd = serve_one(LIVE);
    (void)name_buffer(fd);
    receive(fd, 100);
    ledger_answer(entry_of(fd), 100, 104, 104);
    ledger_end(entry_of(fd), LEDGER_IDLE);
    assert_int_equal(net_shutdown_send(fd), 0);
    fix.moved[fd].ended = true;
    receive(fd, 4998);
    find(1, 0);
    check_adopted(fd, 0);
    finish_with(fd);
}

/* The answer of an impossible length: more would have been received than a buffer has. */
static void test_an_answer_that_is_too_long(void **state)
{
    (void)state;
    listen_tcp();
    int fd = serve_one(LIVE);
    uint32_t buffer = name_buffer(fd);
    receive(fd, 4997);
    find(0, 1);
    assert_int_equal(fix.cuts[0], -EPROTO);
    assert_false(fd_is_open(fd));
    assert_int_equal(fix.heir.lent[0] >> buffer & 1, 0);
    (void)close(fix.client);
    finish();
}

/* A pipe that is named stays, with its bytes; one that nobody names goes. */
static void test_spliced(void **state)
{
    int out[2];
    int in[2];
    (void)state;
    listen_tcp();
    int fd = serve_one(LIVE);
    make_pipe(&out[0], &in[0]);
    make_pipe(&out[1], &in[1]);
    ledger_note(entry_of(fd), LEDGER_PIPE, (uint32_t)out[0]);
    assert_int_equal(send(fix.client, "hello", 5, 0), 5);
    wait_for(fd, POLLIN);
    assert_int_equal(net_splice(fd, in[0], 5), 5);
    fix.moved[fd].in += 5;
    find(1, 0); /* the splice was not noted */
    check_adopted(fd, 5);
    assert_int_equal(ledger_load(&entry_of(fd)->received), 5);
    assert_int_equal(ledger_load(&entry_of(fd)->goal), 5);
    assert_true(fd_is_open(out[0]) && fd_is_open(in[0]));
    assert_false(fd_is_open(out[1]) || fd_is_open(in[1]));
    (void)close(out[0]);
    (void)close(in[0]);
    finish_with(fd);
}

/* The pipe of the entry is none, or holds something else than it should. */
static void test_a_pipe_that_contradicts(void **state)
{
    int out;
    int in;
    (void)state;
    listen_tcp();
    int fd = serve_one(LIVE);
    make_pipe(&out, &in);
    ledger_note(entry_of(fd), LEDGER_PIPE, (uint32_t)out);
    assert_int_equal(write(in, "x", 1), 1); /* from nowhere */
    int client = fix.client;
    int other = serve_one(LIVE);
    ledger_note(entry_of(other), LEDGER_PIPE, (uint32_t)fix.client);
    find(0, 2);
    assert_int_equal(fix.cuts[0], -EPROTO);
    assert_int_equal(fix.cuts[1], -EPROTO);
    assert_false(fd_is_open(fd) || fd_is_open(other) || fd_is_open(out) || fd_is_open(in));
    (void)close(client);
    (void)close(fix.client);
    finish();
}

/* The predecessor ended while it made a pipe, and one end was close-on-exec still. */
static void test_a_pipe_with_one_end(void **state)
{
    int out;
    int in;
    (void)state;
    listen_tcp();
    make_pipe(&out, &in);
    assert_int_equal(close(in), 0);
    int other = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(other, in);
    find(0, 0);
    assert_false(fd_is_open(out));
    assert_true(fd_is_open(other));
    (void)close(other);
    finish();
}

/* The predecessor ended while it closed a pipe. */
static void check_pipe_that_was_left(int forgotten)
{
    int ends[2];
    listen_tcp();
    make_pipe(&ends[0], &ends[1]);
    for (int i = 0; i < forgotten; i++)
        ledger_forget(&fix.ledger, ends[i]);
    find(0, 0);
    assert_false(fd_is_open(ends[0]) || fd_is_open(ends[1]));
    finish();
}

static void test_pipes_that_were_left(void **state)
{
    check_pipe_that_was_left(1);
    (void)setup(state);
    check_pipe_that_was_left(2);
}

/* What stands in an entry without force, under the number that a connection gets. */
enum mark { MARK_NONE, MARK_LEFT, MARK_PIPE };

/*
 * Accepted and not noted yet; the number may have been another connection's, or that of a pipe that
 * has not outlived the predecessor of the predecessor.
 */
static void check_orphan(enum mark mark)
{
    int out = -1;
    int in = -1;
    listen_tcp();
    if (mark == MARK_PIPE) {
        make_pipe(&out, &in);
        (void)close(out);
        (void)close(in);
    }
    int fd = connect_one();
    if (mark == MARK_PIPE)
        assert_int_equal(fd, in);
    if (mark == MARK_LEFT) {
        assert_int_equal(ledger_enter(&fix.ledger, fd, LIVE), 0);
        ledger_answer(entry_of(fd), 9, 9, 9);
        ledger_leave(entry_of(fd));
    }
    assert_int_equal(send(fix.client, "early", 5, 0), 5);
    find(1, 0);
    assert_int_equal(fix.takeover.list[0].fd, fd);
    assert_false(fix.takeover.list[0].adopted);
    assert_int_equal(fix.takeover.list[0].service, LIVE);
    finish_with(fd);
}

static void test_an_orphan(void **state)
{
    (void)state;
    check_orphan(MARK_NONE);
    (void)setup(state);
    check_orphan(MARK_LEFT);
    (void)setup(state);
    check_orphan(MARK_PIPE);
}

/* One that has moved bytes is no orphan: nobody knows where its answer stands. */
static void test_orphans_that_have_moved_bytes(void **state)
{
    int fds[2];
    int clients[2];
    (void)state;
    listen_tcp();
    for (int i = 0; i < 2; i++) {
        fds[i] = connect_one();
        clients[i] = fix.client;
    }
    send_some(fds[0], 5);
    receive(fds[1], 5);
    find(0, 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(fix.cuts[i], -EPROTO);
        assert_false(fd_is_open(fds[i]));
        (void)close(clients[i]);
    }
    finish();
}

/* Its peer has reset the connection before anybody served it. */
static void test_an_orphan_that_was_reset(void **state)
{
    const struct linger none = {.l_onoff = 1};
    (void)state;
    listen_tcp();
    int fd = connect_one();
    assert_int_equal(setsockopt(fix.client, SOL_SOCKET, SO_LINGER, &none, sizeof none), 0);
    (void)close(fix.client);
    wait_for(fd, POLLIN);
    find(0, 1);
    assert_int_equal(fix.cuts[0], -ENOTCONN);
    assert_false(fd_is_open(fd));
    finish();
}

/* The kernel does not say how many bytes were moved. */
static void test_without_counts(void **state)
{
    (void)state;
    listen_tcp();
    int fd = serve_one(LIVE);
    (void)name_buffer(fd);
    fix.count_error = -EAGAIN;
    find(0, 1);
    assert_int_equal(fix.cuts[0], -EAGAIN);
    assert_false(fd_is_open(fd));
    (void)close(fix.client);
    finish();
}

static bool is_served(int fd)
{
    struct ledger_state state;
    assert_int_equal(ledger_read(&fix.heir, (uint32_t)fd, &state), 0);
    return state.served;
}

/* Entries that say something else than the kernel: the descriptors are none of ours. */
static void test_entries_of_other_descriptors(void **state)
{
    const struct ledger_state noted = {.kind = LEDGER_LISTENER, .service = LIVE};
    int fds[2];
    (void)state;
    listen_tcp();
    int served = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_int_equal(ledger_enter(&fix.ledger, served, LIVE), 0);
    int damaged = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_int_equal(ledger_enter(&fix.ledger, damaged, LIVE), 0);
    ledger_note(entry_of(damaged), LEDGER_BUFFER, LEDGER_NUMBER);
    make_socketpair(fds);
    assert_int_equal(ledger_keep(&fix.ledger, fds[0], &noted), 0);
    find(1, 0);
    expect_none();
    assert_int_equal(fix.cut_count, 0);
    assert_false(is_served(served));
    assert_int_equal(fix.takeover.listening, 1);
    assert_true(fd_is_open(served) && fd_is_open(damaged) && fd_is_open(fds[0]));
    (void)close(served);
    (void)close(damaged);
    (void)close(fds[0]);
    (void)close(fds[1]);
    finish();
}

/* Its last answer has gone, and its descriptor was about to be closed. */
static void test_one_that_was_left(void **state)
{
    (void)state;
    listen_tcp();
    int fd = serve_one(LIVE);
    receive(fd, 5);
    ledger_leave(entry_of(fd));
    find(0, 0);
    assert_false(fd_is_open(fd));
    (void)close(fix.client);
    finish();
}

/* It had been silent for too long, and never moved a byte: only our FIN tells it from a new one. */
static void test_a_silent_one_that_was_left(void **state)
{
    (void)state;
    listen_tcp();
    int fd = serve_one(LIVE);
    assert_int_equal(net_shutdown_send(fd), 0);
    fix.moved[fd].ended = true;
    ledger_leave(entry_of(fd));
    find(0, 0);
    assert_false(fd_is_open(fd));
    (void)close(fix.client);
    finish();
}

/* The same of a connection that no listener here has accepted: it was passed. */
static void test_a_passed_one_that_was_left(void **state)
{
    int fds[2];
    (void)state;
    listen_tcp();
    make_socketpair(fds);
    assert_int_equal(ledger_enter(&fix.ledger, fds[0], LIVE), 0);
    ledger_leave(entry_of(fds[0]));
    find(0, 0);
    assert_false(fd_is_open(fds[0]));
    (void)close(fds[1]);
    finish();
}

static void test_a_damaged_entry(void **state)
{
    (void)state;
    listen_tcp();
    int fd = serve_one(LIVE);
    ledger_note(entry_of(fd), LEDGER_BUFFER, LEDGER_NUMBER);
    find(0, 1);
    assert_int_equal(fix.cuts[0], -EPROTO);
    assert_false(fd_is_open(fd));
    (void)close(fix.client);
    finish();
}

/* Its peer has reset the connection: there is nobody to go on with. */
static void test_one_that_was_reset(void **state)
{
    const struct linger none = {.l_onoff = 1};
    (void)state;
    listen_tcp();
    int fd = serve_one(LIVE);
    assert_int_equal(setsockopt(fix.client, SOL_SOCKET, SO_LINGER, &none, sizeof none), 0);
    (void)close(fix.client);
    wait_for(fd, POLLIN);
    find(1, 0);
    expect_none();
    assert_int_equal(fix.cut_count, 1);
    assert_int_equal(fix.cuts[0], -ENOTCONN);
    assert_false(fd_is_open(fd));
    finish();
}

static void test_an_entry_without_its_descriptor(void **state)
{
    struct ledger_state entry;
    (void)state;
    listen_tcp();
    int fd = serve_one(LIVE);
    (void)close(fd);
    find(0, 0);
    assert_int_equal(ledger_read(&fix.heir, (uint32_t)fd, &entry), 0);
    assert_false(entry.served);
    (void)close(fix.client);
    finish();
}

static void test_a_service_that_cannot_go_on(void **state)
{
    (void)state;
    listen_tcp();
    int fd = serve_one(MORTAL);
    find(0, 1);
    assert_int_equal(fix.cuts[0], -EOPNOTSUPP);
    assert_false(fd_is_open(fd));
    (void)close(fix.client);
    finish();
}

/* Nobody counts the bytes of a Unix socket: with a buffer it ends, with a pipe it goes on. */
static void test_unix_sockets(void **state)
{
    int out;
    int in;
    int clients[3];
    (void)state;
    listen_unix();
    int idle = serve_one(LIVE);
    clients[0] = fix.client;
    int buffered = serve_one(LIVE);
    clients[1] = fix.client;
    (void)name_buffer(buffered);
    int spliced = serve_one(LIVE);
    clients[2] = fix.client;
    make_pipe(&out, &in);
    ledger_note(entry_of(spliced), LEDGER_PIPE, (uint32_t)out);
    assert_int_equal(write(in, "hello", 5), 5);
    find(2, 1);
    assert_int_equal(fix.cuts[0], -EOPNOTSUPP);
    assert_false(fd_is_open(buffered));
    assert_int_equal(fix.takeover.list[0].fd, idle);
    assert_int_equal(fix.takeover.list[0].left, 0);
    assert_int_equal(fix.takeover.list[1].fd, spliced);
    assert_int_equal(fix.takeover.list[1].left, 5);
    for (int i = 0; i < 3; i++)
        (void)close(clients[i]);
    (void)close(idle);
    (void)close(out);
    (void)close(in);
    (void)close(spliced);
    finish();
}

/* A fresh one begins; of one whose number bears an old mark, nobody knows which it is. */
static void test_orphans_of_a_unix_socket(void **state)
{
    (void)state;
    listen_unix();
    int fresh = connect_one();
    int client = fix.client;
    int marked = serve_one(LIVE);
    ledger_leave(entry_of(marked));
    find(1, 1);
    assert_int_equal(fix.takeover.list[0].fd, fresh);
    assert_false(fix.takeover.list[0].adopted);
    assert_int_equal(fix.cuts[0], -EOPNOTSUPP);
    assert_false(fd_is_open(marked));
    (void)close(client);
    finish_with(fresh);
}

/* A connection that is not of any listener here, and a listener that is not noted. */
static void test_what_was_inherited(void **state)
{
    (void)state;
    listen_tcp();
    int fd = connect_one();
    int client = fix.client;
    int listener = fix.listener;
    ledger_forget(&fix.ledger, listener);
    listen_tcp();
    find(0, 0);
    assert_true(fd_is_open(fd) && fd_is_open(client) && fd_is_open(listener));
    (void)close(client);
    (void)close(listener);
    (void)close(fd);
    finish();
}

/* Another descriptor of the listening socket, which a service manager has passed: no orphan. */
static void test_a_listener_that_is_passed_again(void **state)
{
    (void)state;
    listen_tcp();
    int again = net_dup_above(fix.listener, 0);
    find(0, 0);
    assert_int_equal(fix.takeover.listening, 1);
    assert_true(fd_is_open(again));
    (void)close(again);
    finish();
}

/* ---- the loops of the predecessor ---- */

static int make_loop(int fd)
{
    int loop = epoll_create1(0);
    assert_true(loop >= 0);
    assert_int_equal(watches_add(loop, fix.listener), 0);
    assert_int_equal(watches_add(loop, fd), 0);
    return loop;
}

/* Adds the watch again, which shows that there was none. */
static void expect_unwatched(int loop, int fd)
{
    assert_int_equal(watches_add(loop, fd), 0);
    assert_int_equal(watches_remove(loop, fd), 0);
}

/*
 * The watch of a connection ends when its turn comes, in whichever loop it is, that of a listener
 * at once: so a user has no more watches than before. Then the loops are closed.
 */
static void test_loops_that_are_left(void **state)
{
    (void)state;
    listen_tcp();
    int first = serve_one(LIVE);
    int first_client = fix.client;
    int second = serve_one(LIVE);
    int first_loop = make_loop(first);
    int second_loop = make_loop(second);
    find(2, 0);
    assert_int_equal(fix.takeover.loops_count, 2);
    expect_unwatched(first_loop, fix.listener);
    expect_unwatched(second_loop, fix.listener);
    assert_int_equal(watches_add(first_loop, first), -EEXIST);
    expect_next(second, false, 0);
    expect_unwatched(second_loop, second);
    expect_next(first, false, 0);
    expect_unwatched(first_loop, first);
    assert_true(fd_is_open(first_loop) && fd_is_open(second_loop));
    takeover_free(&fix.takeover);
    assert_false(fd_is_open(first_loop) || fd_is_open(second_loop));
    (void)close(first_client);
    (void)close(first);
    finish_with(second);
}

/* ---- the order ---- */

enum { MANY = 24 };

static struct {
    int fds[MANY];
    int clients[MANY];
} many;

static void serve_many(int count)
{
    listen_tcp();
    for (int i = 0; i < count; i++) {
        many.fds[i] = serve_one(LIVE);
        many.clients[i] = fix.client;
    }
}

static void client_speaks(int i)
{
    assert_int_equal(send(many.clients[i], "x", 1, 0), 1);
    wait_for(many.fds[i], POLLIN);
}

static void finish_many(int count)
{
    for (int i = 0; i < count; i++) {
        (void)close(many.clients[i]);
        (void)close(many.fds[i]);
    }
    finish();
}

/* Whose input waits, and whose answer can go on; then those that nobody waits for. */
static void test_those_that_can_go_on_come_first(void **state)
{
    (void)state;
    serve_many(4);
    fix.client = many.clients[1];
    (void)name_buffer(many.fds[1]);
    receive(many.fds[1], 100);
    ledger_answer(entry_of(many.fds[1]), 100, 104, 104);
    find(4, 0);
    client_speaks(2); /* after the first look */
    expect_next(many.fds[1], true, 0);
    expect_next(many.fds[2], true, 0);
    expect_next(many.fds[3], false, 0);
    expect_next(many.fds[0], false, 0);
    expect_none();
    finish_many(4);
}

/* A client that speaks waits until an eighth of the others has been taken, and no longer. */
static void test_one_that_speaks_meanwhile(void **state)
{
    struct accepted accepted = {.fd = -1};
    int taken = 0;
    (void)state;
    serve_many(MANY);
    find(MANY, 0);
    fix.looked = 0;
    expect_next(many.fds[MANY - 1], false, 0);
    client_speaks(0); /* whose turn would come last */
    while (accepted.fd != many.fds[0]) {
        assert_true(takeover_next(&fix.takeover, &accepted));
        taken++;
    }
    assert_true(accepted.ready);
    assert_in_range(taken, 1, MANY / 8 + 1);
    while (takeover_next(&fix.takeover, &accepted))
        assert_false(accepted.ready);
    assert_int_equal(fix.takeover.count, 0);
    assert_in_range(fix.looked, MANY, 8 * MANY);
    finish_many(MANY);
}

/* Nothing is asked while there is somebody that is known to wait. */
static void test_no_look_before_those_that_wait(void **state)
{
    (void)state;
    serve_many(4);
    client_speaks(1);
    client_speaks(2);
    find(4, 0);
    fix.looked = 0;
    expect_next(many.fds[2], true, 0);
    expect_next(many.fds[1], true, 0);
    assert_int_equal(fix.looked, 0);
    expect_next(many.fds[3], false, 0);
    assert_int_equal(fix.looked, 2);
    expect_next(many.fds[0], false, 0);
    finish_many(4);
}

/* All are handed over, in the order in which they are. */
static void test_without_looks(void **state)
{
    (void)state;
    serve_many(2);
    client_speaks(0);
    fix.look_error = -ENOMEM;
    find(2, 0);
    expect_next(many.fds[1], false, 0);
    expect_next(many.fds[0], false, 0);
    expect_none();
    finish_many(2);
}

/*
 * The longest silent comes last, because each goes to the beginning of the list of its reaper. The
 * dates are those of the moment in which each is taken.
 */
static void test_the_order_of_silence(void **state)
{
    const uint32_t silent_ms[] = {1000, 3000, 2000, 3000, 5000, 3};
    struct accepted accepted;
    (void)state;
    serve_many(6);
    for (int i = 0; i < 6; i++)
        fix.moved_ms[many.fds[i]] = silent_ms[i];
    fix.now_ms = 70000;
    assert_int_equal(find_as(true), 0);
    client_speaks(4);
    expect_next(many.fds[4], true, 0); /* needs no date */
    fix.now_ms += 7;
    assert_false(takeover_next(&fix.takeover, &accepted)); /* asks for the dates of the others */
    assert_int_equal(fix.takeover.count, 5);
    fix.now_ms += 5;
    expect_next(many.fds[5], false, 12); /* has not moved a byte since it was found */
    expect_next(many.fds[0], false, 1005);
    expect_next(many.fds[2], false, 2005);
    fix.now_ms += 100;
    expect_next(many.fds[3], false, 3105);
    expect_next(many.fds[1], false, 3105);
    expect_none();
    finish_many(6);
}

/* Dates are asked for in slices, and nothing is taken meanwhile. */
static void test_many_dates(void **state)
{
    enum { COUNT = 600, SLICES = 3 };
    struct accepted accepted;
    uint32_t last_ms = 0;
    (void)state;
    listen_tcp();
    assert_int_equal(find_as(true), 0);
    fix.look_error = -ENOMEM; /* they are none */
    fix.takeover.list = realloc(fix.takeover.list, COUNT * sizeof *fix.takeover.list);
    fix.takeover.polled = realloc(fix.takeover.polled, COUNT * sizeof *fix.takeover.polled);
    assert_true(fix.takeover.list != NULL && fix.takeover.polled != NULL);
    for (int i = 0; i < COUNT; i++) {
        fix.takeover.list[i] = (struct accepted){.fd = i % LEDGERS_ENTRIES};
        fix.moved_ms[i % LEDGERS_ENTRIES] = 1 + (uint32_t)(i * 7 % LEDGERS_ENTRIES);
    }
    fix.takeover.count = COUNT;
    for (int i = 0; i < SLICES; i++)
        assert_false(takeover_next(&fix.takeover, &accepted));
    for (int i = 0; i < COUNT; i++) {
        assert_true(takeover_next(&fix.takeover, &accepted));
        assert_true(accepted.silent_ms >= last_ms && accepted.silent_ms > 0);
        last_ms = accepted.silent_ms;
    }
    expect_none();
    finish();
}

/* What has no place in the other ledger is cut; what no entry serves needs none. */
static void test_what_was_found_is_moved(void **state)
{
    struct ledger_layout layout = fix.ledger.layout;
    struct ledger own;
    struct ledger_state entry;
    int fds[3];
    int clients[3];
    (void)state;
    listen_tcp();
    for (int i = 0; i < 3; i++) {
        fds[i] = i < 2 ? serve_one(LIVE) : connect_one();
        clients[i] = fix.client;
    }
    fix.client = clients[1];
    (void)name_buffer(fds[1]);
    receive(fds[1], 10);
    find(3, 0);
    layout.buffers = 0; /* so that no buffer can be lent */
    assert_int_equal(ledger_open(&own, &layout), 0);
    takeover_move(&fix.takeover, &own);
    assert_int_equal(fix.takeover.count, 2);
    assert_int_equal(fix.takeover.list[0].fd, fds[0]);
    assert_int_equal(fix.takeover.list[1].fd, fds[2]);
    assert_int_equal(fix.cuts[0], -ENOMEM);
    assert_false(fd_is_open(fds[1]));
    assert_int_equal(ledger_read(&own, (uint32_t)fds[0], &entry), 0);
    assert_true(entry.served);
    ledger_close(&own);
    for (int i = 0; i < 3; i++)
        (void)close(clients[i]);
    (void)close(fds[0]);
    (void)close(fds[2]);
    finish();
}

static void test_without_memory(void **state)
{
    int file = -1;
    (void)state;
    listen_tcp();
    for (int i = 1; i <= 6; i++) {
        file = net_dup_above(fix.ledger.file, HEIR_FD);
        assert_int_equal(ledger_attach(&fix.heir, file), 0);
        fix.takeover = (struct takeover){.on_cut = on_cut};
        fix.mortal = i;
        assert_int_equal(takeover_find(&fix.takeover, &fix.heir, &services, false), -ENOMEM);
        if (i < 6) {
            takeover_free(&fix.takeover);
            ledger_close(&fix.heir);
        }
    }
    finish();
}

static void test_descriptors_that_cannot_be_found(void **state)
{
    (void)state;
    listen_tcp();
    fix.end_error = -EMFILE;
    assert_int_equal(find_as(false), -EMFILE);
    finish();
}

/* The daemon must not go on without it. */
static void test_a_listener_that_cannot_be_looked_at(void **state)
{
    (void)state;
    listen_tcp();
    fix.local_error = -ENOBUFS;
    assert_int_equal(find_as(false), -ENOBUFS);
    finish();
}

#define TEST(test) cmocka_unit_test_setup(test, setup)

/* ---- connections that may be the cause of a crash ---- */

/* The predecessor crashed again: what was found before is forgotten. */
static void crash_again(void)
{
    takeover_free(&fix.takeover);
    ledger_close(&fix.heir);
    fix.takeover.count = 0;
}

/* A connection that was being served: it has received 10 bytes, and noted nothing. */
static int serve_a_suspect(void)
{
    listen_tcp();
    int fd = serve_one(LIVE);
    (void)name_buffer(fd);
    receive(fd, 10);
    fix.blames = true;
    return fd;
}

static void expect_suspect(uint32_t fd, uint32_t in)
{
    const struct ledger_suspect *suspects = fix.ledger.header->suspects;
    assert_int_equal(suspects[0].fd, fd);
    assert_int_equal(suspects[0].in, in);
    assert_int_equal(suspects[1].fd, 0);
}

/* The successor notes the answer, and crashes before it sends a byte. */
static void test_a_suspect_at_the_same_place(void **state)
{
    (void)state;
    int fd = serve_a_suspect();
    find(1, 0);
    check_adopted(fd, 14);
    expect_suspect((uint32_t)fd, 10);
    crash_again();
    find(0, 1);
    assert_int_equal(fix.cuts[0], TAKEOVER_BLAMED);
    assert_false(fd_is_open(fd));
    expect_suspect(0, 0);
    (void)close(fix.client);
    finish();
}

/* The successor crashes before it has noted the answer. */
static void test_a_suspect_during_the_takeover(void **state)
{
    (void)state;
    int fd = serve_a_suspect();
    fix.ledger.header->suspects[0] = (struct ledger_suspect){.fd = (uint32_t)fd, .in = 10};
    find(0, 1);
    assert_int_equal(fix.cuts[0], TAKEOVER_BLAMED);
    assert_false(fd_is_open(fd));
    (void)close(fix.client);
    finish();
}

/* A byte of the answer has gone, so the input has done no harm. */
static void test_a_suspect_that_was_answered(void **state)
{
    (void)state;
    int fd = serve_a_suspect();
    find(1, 0);
    send_some(fd, 1);
    crash_again();
    find(1, 0);
    check_adopted(fd, 13);
    expect_suspect(0, 0);
    finish_with(fd);
}

/* The next input may be the cause, but that was not seen before. */
static void test_a_suspect_at_another_place(void **state)
{
    (void)state;
    int fd = serve_a_suspect();
    find(1, 0);
    send_some(fd, 14);
    receive(fd, 7);
    crash_again();
    find(1, 0);
    check_adopted(fd, 11);
    expect_suspect((uint32_t)fd, 17);
    finish_with(fd);
}

/* A client that does not read was not being served, however often the daemon crashes. */
static void test_a_client_that_does_not_read(void **state)
{
    (void)state;
    int fd = serve_a_suspect();
    ledger_answer(entry_of(fd), 10, 14, 14);
    for (int crash = 0; crash < 3; crash++) {
        find(1, 0);
        check_adopted(fd, 14);
        expect_suspect(0, 0);
        if (crash < 2)
            crash_again();
    }
    finish_with(fd);
}

/* Whoever kills a daemon twice kills no connection. */
static void test_nobody_is_blamed(void **state)
{
    (void)state;
    int fd = serve_a_suspect();
    fix.blames = false;
    fix.ledger.header->suspects[0] = (struct ledger_suspect){.fd = (uint32_t)fd, .in = 10};
    find(1, 0);
    check_adopted(fd, 14);
    expect_suspect(0, 0);
    finish_with(fd);
}

/* Many threads cannot serve more connections than there is room for. */
static void test_more_suspects_than_fit(void **state)
{
    int fds[LEDGER_SUSPECTS_MAX + 1];
    int clients[LEDGER_SUSPECTS_MAX + 1];
    (void)state;
    listen_tcp();
    for (int i = 0; i <= LEDGER_SUSPECTS_MAX; i++) {
        fds[i] = serve_one(LIVE);
        clients[i] = fix.client;
        (void)name_buffer(fds[i]);
        receive(fds[i], 1);
    }
    fix.blames = true;
    find(LEDGER_SUSPECTS_MAX + 1, 0);
    assert_int_equal(fix.takeover.suspects, LEDGER_SUSPECTS_MAX);
    assert_int_equal(fix.ledger.header->suspects[LEDGER_SUSPECTS_MAX - 1].fd,
                     fds[LEDGER_SUSPECTS_MAX - 1]);
    for (int i = 0; i <= LEDGER_SUSPECTS_MAX; i++) {
        (void)close(fds[i]);
        (void)close(clients[i]);
    }
    finish();
}

/* ---- headers of proxies ---- */

static int serve_header(void)
{
    int fd = connect_one();
    assert_int_equal(ledger_enter_header(&fix.ledger, fd, LIVE), 0);
    return fd;
}

/* So many bytes have been noted, and so many more have been received. */
static int serve_part(uint32_t noted, uint32_t unnoted)
{
    int fd = serve_header();
    struct ledger_buffer buffer = ledger_lend(&fix.ledger);
    memory_unmap(buffer.bytes, fix.ledger.layout.buffer_bytes);
    ledger_note(entry_of(fd), LEDGER_HEADER, buffer.number);
    receive(fd, noted + unnoted);
    ledger_header_end(entry_of(fd), noted);
    return fd;
}

/* No listener is taken for it, although the kind is the same. */
static void test_a_header_of_which_nothing_has_come(void **state)
{
    (void)state;
    listen_tcp();
    int fd = serve_header();
    find(1, 0);
    check_adopted(fd, 0);
    assert_int_equal(fix.takeover.listening, 1);
    expect_next(fd, false, 0);
    finish_with(fd);
}

static void test_a_part_of_a_header(void **state)
{
    (void)state;
    listen_tcp();
    int fd = serve_part(20, 3);
    ledger_header_begin(entry_of(fd), 15);
    find(1, 0);
    check_adopted(fd, 3);
    assert_int_equal(ledger_load(&entry_of(fd)->received), 20); /* whoever looks at it notes it */
    finish_with(fd);
}

static void test_a_header_that_is_too_long(void **state)
{
    (void)state;
    listen_tcp();
    int fd = serve_part(4000, 97);
    find(0, 1);
    assert_int_equal(fix.cuts[0], -EPROTO);
    assert_false(fd_is_open(fd));
    finish_with(-1);
}

static void test_a_header_without_a_buffer(void **state)
{
    (void)state;
    listen_tcp();
    int fd = serve_header();
    entry_of(fd)->received = 1;
    find(0, 1);
    assert_int_equal(fix.cuts[0], -EPROTO);
    finish_with(-1);
}

static void test_a_header_after_an_answer(void **state)
{
    (void)state;
    listen_tcp();
    int fd = serve_part(10, 0);
    send_some(fd, 1);
    find(0, 1);
    assert_int_equal(fix.cuts[0], -EPROTO);
    finish_with(-1);
}

static void test_a_header_that_nobody_counts(void **state)
{
    (void)state;
    listen_tcp();
    (void)serve_part(10, 0);
    fix.count_error = -ENOTCONN;
    find(0, 1);
    assert_int_equal(fix.cuts[0], -ENOTCONN);
    finish_with(-1);
}

static void test_a_header_of_one_that_ends(void **state)
{
    (void)state;
    listen_tcp();
    int fd = serve_part(10, 0);
    ledger_end(entry_of(fd), LEDGER_DRAINED);
    find(1, 0);
    check_adopted(fd, 0);
    finish_with(fd);
}

/* The notes are all that there is, and they say when they may be wrong. */
static void test_a_header_at_a_unix_socket(void **state)
{
    (void)state;
    listen_unix();
    int fd = serve_part(10, 0);
    find(1, 0);
    check_adopted(fd, 0);
    takeover_free(&fix.takeover);
    ledger_close(&fix.heir);
    ledger_header_begin(entry_of(fd), 5);
    find(0, 1);
    assert_int_equal(fix.cuts[0], -EOPNOTSUPP);
    finish_with(-1);
}

/* The process has crashed twice over the same bytes. */
static void test_a_header_that_is_a_suspect(void **state)
{
    (void)state;
    listen_tcp();
    fix.blames = true;
    int fd = serve_part(10, 2);
    find(1, 0);
    expect_suspect((uint32_t)fd, 12);
    takeover_free(&fix.takeover);
    ledger_close(&fix.heir);
    find(0, 1);
    assert_int_equal(fix.cuts[0], TAKEOVER_BLAMED);
    finish_with(-1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_nothing_is_there),
        TEST(test_two_listeners_at_one_address),
        TEST(test_a_datagram_socket),
        TEST(test_other_datagram_sockets),
        TEST(test_a_datagram_socket_that_is_passed_again),
        TEST(test_an_idle_connection),
        TEST(test_one_that_ends_and_receives),
        TEST(test_a_pipe_with_one_end),
        TEST(test_pipes_that_were_left),
        TEST(test_an_answer_under_way),
        TEST(test_a_message_that_was_not_noted),
        TEST(test_an_answer_that_is_too_long),
        TEST(test_spliced),
        TEST(test_a_pipe_that_contradicts),
        TEST(test_an_orphan),
        TEST(test_orphans_that_have_moved_bytes),
        TEST(test_an_orphan_that_was_reset),
        TEST(test_without_counts),
        TEST(test_entries_of_other_descriptors),
        TEST(test_one_that_was_left),
        TEST(test_a_silent_one_that_was_left),
        TEST(test_a_passed_one_that_was_left),
        TEST(test_a_damaged_entry),
        TEST(test_one_that_was_reset),
        TEST(test_an_entry_without_its_descriptor),
        TEST(test_a_service_that_cannot_go_on),
        TEST(test_unix_sockets),
        TEST(test_orphans_of_a_unix_socket),
        TEST(test_what_was_inherited),
        cmocka_unit_test_setup(test_a_listener_that_is_passed_again, setup),
        TEST(test_those_that_can_go_on_come_first),
        TEST(test_one_that_speaks_meanwhile),
        TEST(test_no_look_before_those_that_wait),
        TEST(test_loops_that_are_left),
        TEST(test_without_looks),
        TEST(test_the_order_of_silence),
        TEST(test_many_dates),
        TEST(test_what_was_found_is_moved),
        TEST(test_without_memory),
        TEST(test_descriptors_that_cannot_be_found),
        TEST(test_a_listener_that_cannot_be_looked_at),
        TEST(test_a_suspect_at_the_same_place),
        TEST(test_a_suspect_during_the_takeover),
        TEST(test_a_suspect_that_was_answered),
        TEST(test_a_suspect_at_another_place),
        TEST(test_a_client_that_does_not_read),
        TEST(test_nobody_is_blamed),
        TEST(test_more_suspects_than_fit),
        TEST(test_a_header_of_which_nothing_has_come),
        TEST(test_a_part_of_a_header),
        TEST(test_a_header_that_is_too_long),
        TEST(test_a_header_without_a_buffer),
        TEST(test_a_header_after_an_answer),
        TEST(test_a_header_that_nobody_counts),
        TEST(test_a_header_of_one_that_ends),
        TEST(test_a_header_at_a_unix_socket),
        TEST(test_a_header_that_is_a_suspect),
    };
    return RUN_TESTS("takeover", tests);
}
