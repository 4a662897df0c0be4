/*
 * test_echo.c - the steps of a connection, copied (echo.c) and spliced (echo_splice.c). The tests
 * call the steps as the scheduler would. The net_*() calls are wrapped: this file plays the kernel
 * and the peer, who send, refuse and break what a test wants. There is a loop because a socket
 * needs one; it runs only to close the socket. sched_spawn() is wrapped, so that no queue has the
 * task.
 */
#include "service/echo.h"

#include "ledger1.h"
#include "unit/ledgers.h"
#include "unit/support.h"

#include "service/chunks.h"
#include "stream/conn.h"
#include "stream/remains.h"
#include "os/net.h"
#include "task/sched.h"

#include <errno.h>
#include <stdlib.h>

enum {
    WIRE_MAX = 1 << 20, /* bytes that a test sends or gets */
    CALLS_MAX = 4096,   /* receiving calls of a test */
    NO_LIMIT = WIRE_MAX,
};

/* The peer and the kernel between us. */
static struct {
    char in[WIRE_MAX]; /* all that the peer has sent */
    size_t in_len;
    size_t in_at;          /* bytes of it that have been received */
    int in_end;            /* what a receive returns after the last byte: 0 or a negative errno */
    size_t recv_max;       /* the most that a receive returns */
    char out[WIRE_MAX];    /* what the peer has got */
    char answer[WIRE_MAX]; /* what the peer should have got */
    size_t out_len;
    size_t answer_len;
    size_t send_max;           /* the most that a send takes; 0: sends are refused */
    int send_error;            /* what every send returns: a negative errno, or 0 for no error */
    bool refused;              /* the last call returned -EAGAIN */
    int closed;                /* descriptors, without those of pipes */
    int calls;                 /* receiving ones */
    unsigned slots[CALLS_MAX]; /* what each of these calls offered */
} wire;

/* The pipe. A test has one connection, which borrows one pipe at most. */
static struct {
    char data[WIRE_MAX];
    size_t at;
    size_t len;
    int refusal;  /* what splice returns where it is not possible, or 0 where it is */
    int blind;    /* what splice says although there are bytes: 1: nothing, 2: the end */
    bool lacking; /* no pipe can be made */
    int filled;   /* how often splice has filled it */
    int closed;   /* ends that were closed */
} pipeline;

enum { PIPE_IN = LEDGERS_ENTRIES - 2, PIPE_OUT }; /* no descriptor here has such a number */

/* The process dies in one of its calls: when the kernel has not begun it, or has finished it. */
static struct {
    jmp_buf here;
    int calls; /* that pass before; -1: it lives on */
    bool done; /* the kernel has finished the last one */
} death;

static bool memory_fails;
static bool malloc_fails;
static bool inherit_fails; /* no buffer, and no pipe, of another process can be had */
static unsigned buffers;   /* how many have been allocated */

static struct {
    uv_loop_t loop;
    struct sched sched;
    struct echo_config config;
    struct echo_state *echo;
    struct ledger ledger;
    struct conns conns;
    struct conn *conn;    /* NULL once it is closed */
    int error;            /* the reason for which it was closed */
    unsigned pipes_left;  /* when it had been closed */
    int peer;             /* the other end of a real socket, used by the poll handle only */
    struct pipe *pipe;    /* the one that was lent last */
    struct ledger *noted; /* of the process that lives */
} fix;

/* What another process has, which goes on with the connection. */
static struct {
    uv_loop_t loop;
    struct sched sched;
    struct echo_config config;
    struct ledger ledgers[2]; /* the predecessor's, and one of its own */
    struct ledger *ledger;    /* the one that is used */
    struct conns conns;
    bool ready; /* the connection, as the successor is told */
} next;

void *__real_malloc(size_t bytes);
void *__wrap_malloc(size_t bytes);
struct ledger_buffer __real_ledger_lend(struct ledger *ledger);
struct ledger_buffer __wrap_ledger_lend(struct ledger *ledger);
void __real_net_close(int fd);
void __wrap_net_close(int fd);
ssize_t __wrap_net_recv(int fd, void *buf, size_t len);
ssize_t __wrap_net_recvv(int fd, struct iovec *iov, unsigned short count);
ssize_t __wrap_net_send(int fd, const void *buf, size_t len);
int __wrap_net_shutdown_send(int fd);
void __wrap_sched_spawn(struct sched *sched, struct task *task, task_step *first);
int __wrap_net_pipe(int *out, int *in, int bytes);
ssize_t __wrap_net_splice(int from, int to, size_t len);

struct ledger_buffer __real_ledger_inherit(const struct ledger *ledger, uint32_t number);
struct ledger_buffer __wrap_ledger_inherit(const struct ledger *ledger, uint32_t number);
struct pipe *__real_pipes_inherit(struct pipes *pipes, int out, int in);
struct pipe *__wrap_pipes_inherit(struct pipes *pipes, int out, int in);
struct pipe *__real_pipes_get(struct pipes *pipes);
struct pipe *__wrap_pipes_get(struct pipes *pipes);

struct pipe *__wrap_pipes_get(struct pipes *pipes)
{
    fix.pipe = __real_pipes_get(pipes);
    return fix.pipe;
}

struct ledger_buffer __wrap_ledger_inherit(const struct ledger *ledger, uint32_t number)
{
    return inherit_fails ? (struct ledger_buffer){.bytes = NULL}
                         : __real_ledger_inherit(ledger, number);
}

struct pipe *__wrap_pipes_inherit(struct pipes *pipes, int out, int in)
{
    return inherit_fails ? NULL : __real_pipes_inherit(pipes, out, in);
}

static void may_die(bool done)
{
    if (death.done == done && death.calls >= 0 && death.calls-- == 0)
        longjmp(death.here, 1);
}

void *__wrap_malloc(size_t bytes)
{
    return malloc_fails ? NULL : __real_malloc(bytes);
}

struct ledger_buffer __wrap_ledger_lend(struct ledger *ledger)
{
    if (memory_fails)
        return (struct ledger_buffer){.bytes = NULL};
    buffers++;
    return __real_ledger_lend(ledger);
}

void __wrap_net_close(int fd)
{
    if (fd == PIPE_IN || fd == PIPE_OUT) {
        pipeline.closed++;
        pipeline.at = pipeline.len; /* the bytes in it are lost */
        return;
    }
    wire.closed++;
    __real_net_close(fd);
}

int __wrap_net_shutdown_send(int fd)
{
    (void)fd;
    return 0;
}

void __wrap_sched_spawn(struct sched *sched, struct task *task, task_step *first)
{
    (void)sched;
    *task = (struct task){.resume = first};
}

/* The naive reference: the peer should get the answer to these bytes, which one call received. */
static void wire_expect(const char *bytes, size_t len)
{
    size_t most = fix.echo->chunks.prefix_len == 0 ? len : fix.echo->chunks.chunk;
    for (size_t at = 0; at < len; at += most) {
        size_t piece = len - at < most ? len - at : most;
        memcpy(wire.answer + wire.answer_len, fix.echo->chunks.prefix, fix.echo->chunks.prefix_len);
        wire.answer_len += fix.echo->chunks.prefix_len;
        memcpy(wire.answer + wire.answer_len, bytes + at, piece);
        wire.answer_len += piece;
    }
}

static ssize_t wire_receive(int fd, struct iovec *iov, unsigned short count)
{
    assert_int_equal(fd, fix.conn->sock.fd);
    assert_true(wire.calls < CALLS_MAX);
    wire.slots[wire.calls++] = count;
    size_t start = wire.in_at;
    size_t left = wire.in_len - start < wire.recv_max ? wire.in_len - start : wire.recv_max;
    if (left == 0) {
        wire.refused = wire.in_end == -EAGAIN;
        return wire.in_end;
    }
    for (size_t i = 0; i < count && left > 0; i++) {
        size_t piece = left < iov[i].iov_len ? left : iov[i].iov_len;
        memcpy(iov[i].iov_base, wire.in + wire.in_at, piece);
        wire.in_at += piece;
        left -= piece;
    }
    wire_expect(wire.in + start, wire.in_at - start);
    return (ssize_t)(wire.in_at - start);
}

ssize_t __wrap_net_recvv(int fd, struct iovec *iov, unsigned short count)
{
    may_die(false);
    ssize_t n = wire_receive(fd, iov, count);
    may_die(true);
    return n;
}

ssize_t __wrap_net_recv(int fd, void *buf, size_t len)
{
    struct iovec iov = {.iov_base = buf, .iov_len = len};
    return __wrap_net_recvv(fd, &iov, 1);
}

static ssize_t wire_send(int fd, const void *buf, size_t len)
{
    assert_int_equal(fd, fix.conn->sock.fd);
    assert_true(len > 0);
    if (wire.send_error < 0)
        return wire.send_error;
    if (wire.send_max == 0) {
        wire.refused = true;
        return -EAGAIN;
    }
    if (len > wire.send_max)
        len = wire.send_max;
    assert_true(wire.out_len + len <= WIRE_MAX);
    memcpy(wire.out + wire.out_len, buf, len);
    wire.out_len += len;
    return (ssize_t)len;
}

ssize_t __wrap_net_send(int fd, const void *buf, size_t len)
{
    may_die(false);
    ssize_t n = wire_send(fd, buf, len);
    may_die(true);
    return n;
}

int __wrap_net_pipe(int *out, int *in, int bytes)
{
    assert_int_equal(bytes, PIPES_BYTES);
    if (pipeline.lacking)
        return -EMFILE;
    *out = PIPE_OUT;
    *in = PIPE_IN;
    return 0;
}

static ssize_t pipe_fill(size_t len)
{
    if (pipeline.refusal != 0)
        return pipeline.refusal;
    if (pipeline.blind != 0)
        return pipeline.blind == 1 ? -EAGAIN : 0;
    assert_int_equal(pipeline.at, pipeline.len); /* the pipe is empty */
    struct iovec iov = {.iov_base = pipeline.data, .iov_len = len};
    ssize_t n = wire_receive(fix.conn->sock.fd, &iov, 1);
    pipeline.at = 0;
    pipeline.len = n > 0 ? (size_t)n : 0;
    pipeline.filled += n > 0;
    return n;
}

static ssize_t pipe_drain(int from, int to, size_t len)
{
    assert_int_equal(from, PIPE_OUT);
    assert_int_equal(len, pipeline.len - pipeline.at);
    ssize_t n = wire_send(to, pipeline.data + pipeline.at, len);
    pipeline.at += n > 0 ? (size_t)n : 0;
    return n;
}

ssize_t __wrap_net_splice(int from, int to, size_t len)
{
    may_die(false);
    if (to == PIPE_IN)
        assert_int_equal(from, fix.conn->sock.fd);
    ssize_t n = to == PIPE_IN ? pipe_fill(len) : pipe_drain(from, to, len);
    may_die(true);
    return n;
}

static void on_event(struct conn *conn, enum conn_event event, int error)
{
    if (event == CONN_OPENED || event == CONN_ADOPTED)
        fix.conn = conn;
    if (event != CONN_CLOSED)
        return;
    assert_ptr_equal(fix.conn, conn);
    fix.conn = NULL;
    fix.error = error;
}

static void on_wake(struct waker *waker, struct task *task)
{
    (void)waker, (void)task;
}

/* Opens a connection whose peer has sent nothing yet. */
static void open_conn(const char *prefix, size_t prefix_len, size_t chunk)
{
    static const struct service service = {.handler = &echo_handler, .config = &fix.config};
    static const struct services services = {.list = &service, .count = 1};
    int fds[2];
    memset(&wire, 0, sizeof wire);
    wire.in_end = -EAGAIN;
    wire.recv_max = wire.send_max = NO_LIMIT;
    fix.error = 1;
    death.calls = -1;
    fix.config = (struct echo_config){.prefix = prefix, .prefix_len = prefix_len, .chunk = chunk};
    memset(&pipeline, 0, sizeof pipeline);
    assert_int_equal(uv_loop_init(&fix.loop), 0);
    fix.sched = (struct sched){.waker.wake = on_wake, .loop = &fix.loop};
    ledger_of(&fix.ledger, &services);
    fix.noted = &fix.ledger;
    assert_int_equal(conns_open(&fix.conns, &fix.sched, &services, &fix.ledger, on_event), 0);
    fix.echo = fix.conns.states[0];
    buffers = 0;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    fix.peer = fds[1];
    assert_int_equal(conn_open(&fix.conns, &(struct accepted){.fd = fds[0]}), 0);
}

/* Puts bytes of the peer into the receive buffer. */
static void peer_sends(const char *bytes, size_t len)
{
    assert_true(wire.in_len + len <= WIRE_MAX);
    memcpy(wire.in + wire.in_len, bytes, len);
    wire.in_len += len;
}

static void peer_sends_random(size_t len, unsigned *seed)
{
    assert_true(wire.in_len + len <= WIRE_MAX);
    for (size_t i = 0; i < len; i++)
        wire.in[wire.in_len++] = (char)rand_r(seed);
}

static struct yield step(void)
{
    struct task *task = &fix.conn->task;
    const uint32_t fd = (uint32_t)fix.conn->sock.fd;
    struct ledger_state state;
    wire.refused = false;
    struct yield why = task->resume(task);
    assert_int_equal(ledger_read(fix.noted, fd, &state), 0); /* never damaged */
    assert_int_equal(state.served, fix.conn != NULL);
    return why;
}

/* Runs steps until the kernel refuses a call or the task is done. Returns the last yield. */
static enum yield_reason drive(void)
{
    struct yield why;
    do
        why = step();
    while (why.reason != YIELD_DONE && !wire.refused);
    return why.reason;
}

/* The next step yields this reason and the socket of the connection. */
static void step_yields(enum yield_reason reason)
{
    struct sock *sock = &fix.conn->sock;
    struct yield why = step();
    assert_int_equal(why.reason, reason);
    assert_ptr_equal(why.sock, sock);
}

static unsigned buffers_held(void)
{
    return buffers - fix.echo->chunks.spares;
}

static void check_answer(void)
{
    assert_int_equal(wire.in_at, wire.in_len);
    assert_int_equal(wire.out_len, wire.answer_len);
    assert_memory_equal(wire.out, wire.answer, wire.answer_len);
}

/* The connection has ended for this reason and holds no buffer. */
static void check_closed(int error)
{
    assert_null(fix.conn);
    assert_int_equal(fix.error, error);
    assert_int_equal(wire.closed, 1);
    assert_int_equal(buffers_held(), 0);
    assert_int_equal(fix.conns.accepted, fix.conns.closed);
}

/* Every test ends here: the last step has ended the connection, and no handle is left. */
static void close_conn(enum yield_reason last, int error)
{
    assert_int_equal(last, YIELD_DONE);
    check_closed(error);
    (void)close(fix.peer);
    assert_int_equal(uv_run(&fix.loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&fix.loop), 0);
    assert_int_equal(pipeline.at, pipeline.len);
    fix.pipes_left = fix.echo->pipes.made;
    conns_close(&fix.conns);
    ledger_close(&fix.ledger);
    assert_int_equal(pipeline.closed % 2, 0);
}

static void end_of_file(void)
{
    wire.in_end = 0;
    close_conn(drive(), 0);
}

static void test_answers_a_message(void **state)
{
    (void)state;
    open_conn("GOT:", 4, 1000);
    peer_sends("Hello\n", 6);
    step_yields(YIELD_SEND);
    assert_int_equal(wire.out_len, 0);
    assert_int_equal(fix.conns.bytes_in, 6);
    step_yields(YIELD_RECV);
    assert_int_equal(wire.out_len, 10);
    assert_memory_equal(wire.out, "GOT:Hello\n", 10);
    assert_int_equal(fix.conns.bytes_out, 10);
    peer_sends("again", 5);
    assert_int_equal(drive(), YIELD_RECV);
    assert_int_equal(wire.out_len, 19);
    assert_memory_equal(wire.out + 10, "GOT:again", 9);
    end_of_file();
}

static void test_answers_verbatim_without_prefix(void **state)
{
    (void)state;
    open_conn("", 0, 1);
    peer_sends("a\0b\n\xff", 5);
    assert_int_equal(drive(), YIELD_RECV);
    assert_int_equal(wire.out_len, 5);
    assert_memory_equal(wire.out, "a\0b\n\xff", 5);
    end_of_file();
}

/* A connection that waits, before its first byte or after an answer, has no buffer. */
static void test_holds_no_buffer_while_idle(void **state)
{
    (void)state;
    open_conn("GOT:", 4, 1000);
    step_yields(YIELD_RECV);
    assert_true(wire.refused);
    assert_int_equal(buffers_held(), 0);
    peer_sends("x", 1);
    step_yields(YIELD_SEND);
    assert_int_equal(buffers_held(), 1);
    step_yields(YIELD_RECV);
    assert_int_equal(buffers_held(), 0);
    step_yields(YIELD_RECV);
    assert_int_equal(buffers_held(), 0);
    assert_int_equal(buffers, 1);
    end_of_file();
}

static void test_finishes_short_writes(void **state)
{
    unsigned seed = 3;
    (void)state;
    open_conn("GOT:", 4, 1000);
    peer_sends_random(100, &seed);
    wire.send_max = 1;
    step_yields(YIELD_SEND);
    for (size_t sent = 1; sent < 104; sent++) {
        step_yields(YIELD_SEND);
        assert_int_equal(wire.out_len, sent);
        assert_int_equal(fix.conns.bytes_out, sent);
        assert_true(fix.conn->sock.send_refused);
    }
    step_yields(YIELD_RECV);
    check_answer();
    end_of_file();
}

/* While an answer waits nothing is received. No byte of the answer is lost or sent twice. */
static void test_waits_while_sending_is_refused(void **state)
{
    unsigned seed = 4;
    (void)state;
    open_conn("GOT:", 4, 1000);
    peer_sends_random(2500, &seed);
    wire.send_max = 0;
    step_yields(YIELD_SEND);
    for (int i = 0; i < 3; i++) {
        step_yields(YIELD_SEND);
        assert_true(fix.conn->sock.send_refused);
        assert_int_equal(wire.calls, 1);
        assert_int_equal(fix.conns.bytes_out, 0);
        assert_int_equal(buffers_held(), 1);
    }
    wire.send_max = NO_LIMIT;
    assert_int_equal(drive(), YIELD_RECV);
    check_answer();
    end_of_file();
}

/* All that the peer has sent before its FIN is answered. */
static void test_answers_all_before_the_end(void **state)
{
    unsigned seed = 5;
    (void)state;
    open_conn("GOT:", 4, 1000);
    peer_sends_random(2500, &seed);
    wire.in_end = 0;
    enum yield_reason last = drive();
    check_answer();
    assert_int_equal(wire.out_len, 2512);
    close_conn(last, 0);
}

static void test_ends_at_once_without_a_byte(void **state)
{
    (void)state;
    open_conn("GOT:", 4, 1000);
    wire.in_end = 0;
    close_conn(step().reason, 0);
    assert_int_equal(wire.out_len, 0);
}

static void test_reset_while_receiving(void **state)
{
    (void)state;
    open_conn("GOT:", 4, 1000);
    wire.in_end = -ECONNRESET;
    close_conn(step().reason, -ECONNRESET);
}

static void test_timeout_while_receiving_again(void **state)
{
    (void)state;
    open_conn("GOT:", 4, 1000);
    peer_sends("x", 1);
    assert_int_equal(drive(), YIELD_RECV);
    wire.in_end = -ETIMEDOUT;
    close_conn(step().reason, -ETIMEDOUT);
}

static void check_send_error(int error, size_t send_before)
{
    open_conn("GOT:", 4, 1000);
    peer_sends("Hello", 5);
    step_yields(YIELD_SEND);
    if (send_before > 0) {
        wire.send_max = send_before;
        step_yields(YIELD_SEND);
    }
    wire.send_error = error;
    close_conn(step().reason, error);
    assert_int_equal(wire.out_len, send_before);
}

static void test_reset_while_sending(void **state)
{
    (void)state;
    check_send_error(-ECONNRESET, 0);
    check_send_error(-EPIPE, 0);
    check_send_error(-EPIPE, 4); /* in the middle of an answer */
}

static void test_no_memory(void **state)
{
    (void)state;
    open_conn("GOT:", 4, 1000);
    memory_fails = true;
    enum yield_reason last = step().reason;
    memory_fails = false;
    close_conn(last, -ENOMEM);
    assert_int_equal(wire.calls, 0);
}

/* The service cannot open. */
static void test_no_memory_to_start(void **state)
{
    const struct echo_config config = {.prefix = "GOT:", .prefix_len = 4, .chunk = 1000};
    (void)state;
    malloc_fails = true;
    void *echo = echo_handler.open(&config, NULL);
    malloc_fails = false;
    assert_null(echo);
}

/* Somebody else ends the connection in the middle of an answer: the pool gets the buffer back. */
static void test_aborted_in_the_middle_of_an_answer(void **state)
{
    (void)state;
    open_conn("GOT:", 4, 1000);
    peer_sends("Hello", 5);
    wire.send_max = 2;
    step_yields(YIELD_SEND);
    step_yields(YIELD_SEND);
    conn_abort(fix.conn, -ESHUTDOWN);
    close_conn(step().reason, -ESHUTDOWN);
    assert_int_equal(wire.out_len, 2);
}

static void test_shut_in_the_middle_of_an_answer(void **state)
{
    (void)state;
    open_conn("GOT:", 4, 1000);
    peer_sends("Hello", 5);
    wire.send_max = 0;
    step_yields(YIELD_SEND);
    step_yields(YIELD_SEND);
    conn_shut(fix.conn, -ETIME);
    peer_sends("ignored", 7);
    step_yields(YIELD_RECV);
    wire.in_end = 0;
    close_conn(drive(), -ETIME);
    assert_int_equal(wire.out_len, 0);
}

static void check_chunks(const char *prefix, size_t prefix_len, size_t chunk, size_t len)
{
    unsigned seed = (unsigned)(len + prefix_len);
    open_conn(prefix, prefix_len, chunk);
    peer_sends_random(len, &seed);
    assert_int_equal(drive(), YIELD_RECV);
    check_answer();
    /* All reads but the last have filled whole chunks, so only the last chunk may be shorter. */
    size_t prefixes = (len + chunk - 1) / chunk;
    assert_int_equal(wire.out_len, len + prefixes * prefix_len);
    end_of_file();
}

static void test_chunk_boundaries(void **state)
{
    static const size_t lens[] = {1, 999, 1000, 1001, 2500, 9000, 9001, 73000, 138001, 200000};
    static const size_t chunks[] = {1000, 65536, 7};
    static char long_prefix[255];
    memset(long_prefix, 'x', sizeof long_prefix);
    (void)state;
    for (size_t i = 0; i < sizeof lens / sizeof *lens; i++)
        for (size_t c = 0; c < sizeof chunks / sizeof *chunks; c++) {
            check_chunks("", 0, chunks[c], lens[i]);
            check_chunks("\0", 1, chunks[c], lens[i]);
            check_chunks("GOT:", 4, chunks[c], lens[i]);
            if (lens[i] <= 2500)
                check_chunks(long_prefix, 255, chunks[c], lens[i]);
        }
}

/* 2500 bytes at once are two whole chunks and a shorter one. */
static void test_a_backlog_is_cut_into_chunks(void **state)
{
    unsigned seed = 6;
    (void)state;
    open_conn("GOT:", 4, 1000);
    peer_sends_random(2500, &seed);
    assert_int_equal(drive(), YIELD_RECV);
    assert_int_equal(wire.out_len, 2512);
    for (size_t i = 0; i < 3; i++) {
        size_t piece = i < 2 ? 1000 : 500;
        assert_memory_equal(wire.out + i * 1004, "GOT:", 4);
        assert_memory_equal(wire.out + i * 1004 + 4, wire.in + i * 1000, piece);
    }
    end_of_file();
}

/* After a full read, more slots are offered, up to a whole buffer; after a small read, one slot. */
static void test_reads_grow_and_shrink(void **state)
{
    unsigned seed = 7;
    (void)state;
    open_conn("GOT:", 4, 1000);
    assert_int_equal(fix.echo->chunks.slots, 65);
    peer_sends_random(1000 + 8000 + 64000 + 65000 + 2500, &seed);
    assert_int_equal(drive(), YIELD_RECV);
    static const unsigned grown[] = {1, 8, 64, 65, 65, 3};
    assert_int_equal(wire.calls, 6);
    assert_memory_equal(wire.slots, grown, sizeof grown);
    peer_sends_random(1, &seed);
    assert_int_equal(drive(), YIELD_RECV);
    assert_int_equal(wire.slots[6], 3);
    assert_int_equal(wire.slots[7], 1);
    peer_sends_random(999, &seed); /* not full, so no more slots */
    assert_int_equal(drive(), YIELD_RECV);
    assert_int_equal(wire.slots[8], 1);
    assert_int_equal(wire.slots[9], 1);
    check_answer();
    end_of_file();
}

/* Ping-pong with messages that fill a slot: more slots are offered sometimes, not every time. */
static void test_messages_of_a_whole_chunk(void **state)
{
    unsigned seed = 17;
    int grown = 0;
    (void)state;
    open_conn("GOT:", 4, 1000);
    for (int i = 0; i < 90; i++) {
        int call = wire.calls;
        peer_sends_random(1000, &seed);
        assert_int_equal(drive(), YIELD_RECV);
        grown += wire.slots[call] > 1;
    }
    assert_between(grown, 5, 10);
    peer_sends_random(20000, &seed); /* and now there is a backlog */
    int call = wire.calls;
    assert_int_equal(drive(), YIELD_RECV);
    assert_true(wire.calls - call <= 12);
    check_answer();
    end_of_file();
}

/* Opens a connection whose first read fills the buffer, so that the next read is spliced. */
static void make_bulk(size_t more, unsigned *seed)
{
    open_conn("", 0, 1000);
    peer_sends_random(CHUNKS_BUFFER_BYTES + more, seed);
    step_yields(YIELD_SEND);
    assert_int_equal(pipeline.filled, 0);
    step_yields(YIELD_RECV);
}

static void test_bulk_is_spliced(void **state)
{
    unsigned seed = 8;
    (void)state;
    make_bulk(PIPES_BYTES / 2, &seed);
    step_yields(YIELD_SEND);
    assert_int_equal(pipeline.filled, 1);
    assert_int_equal(buffers_held(), 0);
    step_yields(YIELD_RECV);
    check_answer();
    peer_sends_random(PIPES_BYTES / 2, &seed);
    assert_int_equal(drive(), YIELD_RECV);
    assert_int_equal(pipeline.filled, 2);
    assert_int_equal(fix.echo->pipes.made, 1);
    assert_non_null(fix.echo->pipes.spare);
    check_answer();
    assert_int_equal(fix.conns.bytes_in, wire.in_len);
    assert_int_equal(fix.conns.bytes_out, wire.out_len);
    end_of_file();
}

static void test_chunks_are_never_spliced(void **state)
{
    unsigned seed = 9;
    (void)state;
    open_conn("GOT:", 4, 1000);
    peer_sends_random(300000, &seed);
    assert_int_equal(drive(), YIELD_RECV);
    assert_int_equal(pipeline.filled, 0);
    end_of_file();
}

/* After a spliced answer that was too short for splicing, the next bytes are copied. */
static void test_small_messages_are_not_spliced(void **state)
{
    unsigned seed = 10;
    (void)state;
    make_bulk(100, &seed);
    assert_int_equal(drive(), YIELD_RECV);
    assert_int_equal(pipeline.filled, 1);
    peer_sends_random(100, &seed);
    assert_int_equal(drive(), YIELD_RECV);
    peer_sends_random(CHUNKS_BUFFER_BYTES - 1, &seed);
    assert_int_equal(drive(), YIELD_RECV);
    assert_int_equal(pipeline.filled, 1);
    check_answer();
    end_of_file();
}

/* The pipe is lent until the last byte has left it. */
static void test_a_pipe_is_emptied_bit_by_bit(void **state)
{
    unsigned seed = 11;
    (void)state;
    make_bulk(100000, &seed);
    step_yields(YIELD_SEND);
    wire.send_max = 30000;
    step_yields(YIELD_SEND);
    assert_true(fix.conn->sock.send_refused);
    wire.send_max = 0;
    step_yields(YIELD_SEND);
    assert_null(fix.echo->pipes.spare);
    wire.send_max = NO_LIMIT;
    step_yields(YIELD_RECV);
    assert_non_null(fix.echo->pipes.spare);
    check_answer();
    end_of_file();
}

static void test_sockets_that_cannot_be_spliced(void **state)
{
    static const int refusals[] = {-EINVAL, -ENOSYS, -EOPNOTSUPP, -EPERM};
    unsigned seed = 12;
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        make_bulk(3 * CHUNKS_BUFFER_BYTES, &seed);
        pipeline.refusal = refusals[i];
        step_yields(YIELD_SEND);
        pipeline.refusal = 0; /* but splice is not called again */
        assert_int_equal(drive(), YIELD_RECV);
        assert_int_equal(pipeline.filled, 0);
        check_answer();
        end_of_file();
    }
}

/* Of another error the connection ends. */
static void test_splice_fails(void **state)
{
    unsigned seed = 12;
    (void)state;
    make_bulk(3 * CHUNKS_BUFFER_BYTES, &seed);
    pipeline.refusal = -ECONNRESET;
    close_conn(step().reason, -ECONNRESET);
    pipeline.refusal = 0;
}

/* As it is in front of an urgent byte, which splice never takes. */
static void test_splice_finds_nothing(void **state)
{
    unsigned seed = 17;
    (void)state;
    for (int blind = 1; blind <= 2; blind++) {
        make_bulk(100000, &seed);
        assert_int_equal(drive(), YIELD_RECV);
        pipeline.blind = blind;
        peer_sends_random(2 * CHUNKS_BUFFER_BYTES, &seed);
        assert_int_equal(drive(), YIELD_RECV);
        check_answer();
        end_of_file();
        pipeline.blind = 0;
    }
}

static void test_without_a_pipe(void **state)
{
    unsigned seed = 13;
    (void)state;
    make_bulk(3 * CHUNKS_BUFFER_BYTES, &seed);
    pipeline.lacking = true;
    step_yields(YIELD_SEND);
    step_yields(YIELD_RECV);
    pipeline.lacking = false; /* the next time there may be a pipe */
    assert_int_equal(drive(), YIELD_RECV);
    assert_int_equal(pipeline.filled, 1);
    check_answer();
    end_of_file();
}

/* The bytes that are left in a pipe must not reach another client. */
static void test_a_pipe_with_bytes_left_is_not_lent_again(void **state)
{
    unsigned seed = 14;
    (void)state;
    make_bulk(100000, &seed);
    step_yields(YIELD_SEND);
    wire.send_max = 10;
    step_yields(YIELD_SEND);
    wire.send_error = -ECONNRESET;
    close_conn(step().reason, -ECONNRESET);
    assert_int_equal(pipeline.closed, 2);
    assert_int_equal(fix.pipes_left, 0);
}

static void test_ends_while_splicing(void **state)
{
    unsigned seed = 15;
    static const int ends[] = {0, -ECONNRESET};
    (void)state;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        make_bulk(100000, &seed);
        assert_int_equal(drive(), YIELD_RECV);
        wire.in_end = ends[i];
        close_conn(drive(), ends[i]);
        assert_int_equal(wire.out_len, wire.answer_len);
    }
}

static void test_shut_while_spliced(void **state)
{
    unsigned seed = 16;
    (void)state;
    make_bulk(100000, &seed);
    step_yields(YIELD_SEND);
    conn_shut(fix.conn, -ETIME);
    wire.in_end = 0;
    close_conn(drive(), -ETIME);
    assert_int_equal(pipeline.closed, 2);
}

/* The kernel gives, takes and refuses pieces of random length. */
static void check_random_pieces(unsigned seed)
{
    static const size_t chunks[] = {1, 10, 1000, 4096};
    bool verbatim = seed % 3 == 0; /* with bulk data among the rest */
    open_conn("GOT:", verbatim ? 0 : 4, chunks[seed % 4]);
    for (int i = 0; i < 100; i++) {
        peer_sends_random((size_t)rand_r(&seed) % (verbatim && i % 30 == 0 ? 150000 : 1500), &seed);
        wire.recv_max = (size_t)(rand_r(&seed) % 3 == 0 ? 1 + rand_r(&seed) % 20 : NO_LIMIT);
        wire.send_max = (size_t)(rand_r(&seed) % 2 == 0 ? rand_r(&seed) % 2000 : NO_LIMIT);
        if (wire.send_max > 0 && wire.send_max < 50)
            wire.send_max = 50; /* smaller pieces would be more calls than CALLS_MAX */
        for (int steps = rand_r(&seed) % 20; steps > 0; steps--)
            assert_int_not_equal(step().reason, YIELD_DONE);
    }
    wire.recv_max = wire.send_max = NO_LIMIT;
    assert_int_equal(drive(), YIELD_RECV);
    check_answer();
    assert_int_equal(fix.conns.bytes_in, wire.in_len);
    assert_int_equal(fix.conns.bytes_out, wire.out_len);
    end_of_file();
}

static void test_random_pieces(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 48; seed++)
        check_random_pieces(seed);
}

/* ---- another process goes on ---- */

/* Brings the entry in order, as takeover.h says. Returns how many bytes are left to be sent. */
static uint32_t settle_entry(uint32_t fd)
{
    struct ledger *ledger = &next.ledgers[0];
    struct ledger_entry *entry = &ledger->entries[fd];
    struct ledger_state state;
    struct remains remains;
    assert_int_equal(ledger_read(ledger, fd, &state), 0);
    struct remains_counts counts = {
        .known = true, .in = (uint32_t)wire.in_at, .out = (uint32_t)wire.out_len};
    if (state.kind == LEDGER_PIPE)
        counts.piped = (uint32_t)(pipeline.len - pipeline.at);
    assert_int_equal(remains_find(&state, &counts, &remains), 0);
    if (remains.unanswered == 0)
        return remains.left;
    int64_t len = remains.unanswered;
    if (state.kind == LEDGER_BUFFER)
        len = echo_handler.answer(&ledger->layout.service[0], remains.unanswered);
    assert_true(len > 0);
    ledger_answer(entry, remains.unanswered, (uint32_t)len, counts.out + (uint32_t)len);
    return (uint32_t)len;
}

/* As the server does. */
static void settle_ledger(int fd, const struct services *all)
{
    struct ledger_layout layout;
    struct ledger *predecessor = &next.ledgers[0];
    services_layout(all, 1, LEDGERS_ENTRIES, &layout);
    next.ledger = predecessor;
    if (ledger_fits(predecessor, &layout)) {
        ledger_settle(predecessor, &layout);
    } else {
        next.ledger = &next.ledgers[1];
        ledger_widen(predecessor, &layout);
        assert_int_equal(ledger_open(next.ledger, &layout), 0);
        assert_int_equal(ledger_transfer(predecessor, next.ledger, fd), 0);
        ledger_close(predecessor);
    }
    fix.noted = next.ledger;
}

/* The process has ended. Another one, with other options, goes on with its connection. */
static void succeed(const char *prefix, size_t prefix_len, size_t chunk)
{
    static const struct service service = {.handler = &echo_handler, .config = &next.config};
    static const struct services services = {.list = &service, .count = 1};
    const int fd = fix.conn->sock.fd;
    next.config = (struct echo_config){.prefix = prefix, .prefix_len = prefix_len, .chunk = chunk};
    assert_int_equal(uv_loop_init(&next.loop), 0);
    next.sched = (struct sched){.waker.wake = on_wake, .loop = &next.loop};
    assert_int_equal(ledger_attach(&next.ledgers[0], net_dup_above(fix.ledger.file, 0)), 0);
    struct accepted accepted = {.fd = fd, .adopted = true, .ready = next.ready};
    accepted.left = settle_entry((uint32_t)fd);
    settle_ledger(fd, &services);
    assert_int_equal(conns_open(&next.conns, &next.sched, &services, next.ledger, on_event), 0);
    fix.echo = next.conns.states[0];
    assert_int_equal(conn_open(&next.conns, &accepted), 0);
}

/* What the successor has left, and what the dead process could not give back. */
static void bury(struct conn *dead, struct pipe *pipe)
{
    assert_int_equal(uv_run(&next.loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&next.loop), 0);
    conns_close(&next.conns);
    for (uint32_t number = 0; number < next.ledger->layout.buffers; number++) /* all are back */
        assert_int_equal(next.ledger->lent[number / 64] >> number % 64 & 1, 0);
    ledger_close(next.ledger);
    uv_close((uv_handle_t *)&dead->sock.poll, NULL);
    assert_int_equal(uv_run(&fix.loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&fix.loop), 0);
    free(dead);
    if (pipe != NULL)
        pipes_put(&((struct echo_state *)fix.conns.states[0])->pipes, pipe);
    conns_close(&fix.conns);
    ledger_close(&fix.ledger);
    (void)close(fix.peer);
}

/* How a connection is served before and after its process dies. */
struct lives {
    const char *prefix[2];
    size_t chunk[2];
    size_t recv_max;
    size_t send_max;
};

/* Runs until everything is answered. Returns whether the process has lived so long. */
static bool run_to_death(void)
{
    if (setjmp(death.here) != 0)
        return false;
    while (wire.out_len < wire.answer_len || wire.in_at < wire.in_len)
        (void)step();
    death.calls = -1;
    return true;
}

/* The pipe that a process cannot give back when it dies. */
static struct pipe *pipe_of_the_dead(void)
{
    struct ledger_state state;
    assert_int_equal(ledger_read(&fix.ledger, (uint32_t)fix.conn->sock.fd, &state), 0);
    return state.kind == LEDGER_PIPE ? fix.pipe : NULL;
}

static void open_lives(const struct lives *lives, int calls, bool done)
{
    unsigned seed = 5;
    open_conn(lives->prefix[0], strlen(lives->prefix[0]), lives->chunk[0]);
    peer_sends_random(300000, &seed);
    wire.recv_max = lives->recv_max;
    wire.send_max = lives->send_max;
    death.calls = calls;
    death.done = done;
}

/* Dies in the call with this number, and lets another process go on. Returns as run_to_death(). */
static bool check_death(const struct lives *lives, int calls, bool done)
{
    open_lives(lives, calls, done);
    bool lived = run_to_death();
    struct conn *dead = fix.conn;
    struct pipe *pipe = pipe_of_the_dead();
    next.ready = calls % 2 == 0; /* readiness is a hint: it may be wrong */
    succeed(lives->prefix[1], strlen(lives->prefix[1]), lives->chunk[1]);
    wire.recv_max = wire.send_max = NO_LIMIT;
    peer_sends("more", 4);
    (void)run_to_death();
    check_answer();
    wire.in_end = 0;
    assert_int_equal(drive(), YIELD_DONE);
    assert_int_equal(fix.error, 0);
    bury(dead, pipe);
    return lived;
}

static void check_deaths(const struct lives *lives)
{
    for (int done = 0; done < 2; done++) {
        int calls = 0;
        while (!check_death(lives, calls, done != 0))
            calls++;
        assert_true(calls > 8);
    }
}

/* Whatever call a process dies in, the peer gets every byte once, as the options of the day say. */
static void test_another_process_goes_on(void **state)
{
    const struct lives copied = {{"GOT:", "GOT:"}, {1000, 1000}, NO_LIMIT, 30000};
    const struct lives changed = {{"GOT:", "HI:"}, {1000, 2000}, 40000, 30000};
    const struct lives moved = {{"GOT:", "LONGER-ANSWER:"}, {1000, 77}, 40000, 30000};
    const struct lives unspliced = {{"", "LONGER-ANSWER:"}, {1, 77}, NO_LIMIT, 20000};
    const struct lives verbatim = {{"GOT:", ""}, {1000, 1}, 40000, 30000};
    const struct lives spliced = {{"", ""}, {1, 1}, NO_LIMIT, 20000};
    const struct lives prefixed = {{"", "GOT:"}, {1, 1000}, NO_LIMIT, 20000};
    (void)state;
    check_deaths(&copied);
    check_deaths(&changed);
    check_deaths(&moved);
    check_deaths(&unspliced);
    check_deaths(&verbatim);
    check_deaths(&spliced);
    check_deaths(&prefixed);
}

/* Nothing is under way. Only a connection that is ready tries to receive before it waits. */
static void check_begin(bool ready)
{
    const struct lives lives = {{"GOT:", "GOT:"}, {1000, 1000}, NO_LIMIT, NO_LIMIT};
    open_lives(&lives, -1, true);
    assert_true(run_to_death());
    struct conn *dead = fix.conn;
    const size_t received = wire.in_at;
    next.ready = ready;
    succeed("GOT:", 4, 1000);
    peer_sends("more", 4);
    step_yields(ready ? YIELD_SEND : YIELD_RECV);
    assert_int_equal(wire.in_at - received, ready ? 4 : 0);
    (void)run_to_death();
    check_answer();
    wire.in_end = 0;
    assert_int_equal(drive(), YIELD_DONE);
    bury(dead, NULL);
}

static void test_begins_with_a_wait(void **state)
{
    (void)state;
    check_begin(false);
    check_begin(true);
}

/* Dies while an answer is under way, which the successor cannot have. */
static void check_no_memory_to_go_on(const struct lives *lives, int calls, bool piped)
{
    open_lives(lives, calls, true);
    assert_false(run_to_death());
    struct conn *dead = fix.conn;
    struct pipe *pipe = pipe_of_the_dead();
    assert_int_equal(pipe != NULL, piped);
    inherit_fails = true;
    succeed(lives->prefix[1], strlen(lives->prefix[1]), lives->chunk[1]);
    inherit_fails = false;
    assert_int_equal(drive(), YIELD_DONE);
    assert_int_equal(fix.error, -ENOMEM);
    assert_int_equal(pipeline.closed, piped ? 2 : 0);
    bury(dead, pipe);
}

static void test_no_memory_to_go_on(void **state)
{
    const struct lives copied = {{"GOT:", "GOT:"}, {1000, 1000}, NO_LIMIT, 20000};
    const struct lives spliced = {{"", ""}, {1, 1}, NO_LIMIT, 20000};
    (void)state;
    check_no_memory_to_go_on(&copied, 0, false);
    check_no_memory_to_go_on(&spliced, 6, true);
}

/* The answer of the predecessor cannot be ended: its buffer goes back, and no other. */
static void check_end_of_an_old_answer(int error)
{
    const struct lives lives = {{"GOT:", "GOT:"}, {1000, 1000}, NO_LIMIT, 20000};
    open_lives(&lives, 0, true);
    assert_false(run_to_death());
    struct conn *dead = fix.conn;
    succeed("GOT:", 4, 1000);
    wire.send_max = 2;
    step_yields(YIELD_SEND);
    if (error == -ESHUTDOWN)
        conn_abort(fix.conn, error);
    else
        wire.send_error = error;
    assert_int_equal(step().reason, YIELD_DONE);
    assert_int_equal(fix.error, error);
    assert_int_equal(fix.echo->chunks.spares, 0); /* its prefixes may be others */
    bury(dead, NULL);
}

static void test_an_old_answer_that_cannot_be_ended(void **state)
{
    (void)state;
    check_end_of_an_old_answer(-ECONNRESET);
    check_end_of_an_old_answer(-EPIPE);
    check_end_of_an_old_answer(-ESHUTDOWN);
}

/* Records that this program has not written. */
static void check_record(uint32_t chunk, uint32_t prefix_len, uint32_t bytes, int64_t answer)
{
    const uint32_t numbers[] = {chunk, prefix_len};
    struct ledger_service service = {.buffer_bytes = 0};
    echo_handler.describe(&fix.config, &service);
    memcpy(service.record, numbers, sizeof numbers);
    service.record_bytes += bytes;
    assert_int_equal(echo_handler.answer(&service, 1001), answer);
}

static void test_another_record(void **state)
{
    (void)state;
    fix.config = (struct echo_config){.prefix = "GOT:", .prefix_len = 4, .chunk = 1000};
    check_record(1000, 4, 0, 1009);
    check_record(1, 4, 0, 5005);
    check_record(1000, 0, 0, 1001);
    check_record(1000, CHUNKS_PREFIX_MAX, 0, 1001 + 2 * CHUNKS_PREFIX_MAX);
    check_record(0, 4, 0, -EPROTO);
    check_record(CHUNKS_CHUNK_MAX + 1, 4, 0, -EPROTO);
    check_record(1000, CHUNKS_PREFIX_MAX + 1, 0, -EPROTO);
    check_record(1000, UINT32_MAX, 0, -EPROTO);
    check_record(1000, 4, 1, -EPROTO);
}

/* Whoever changes the record must raise LEDGER_VERSION. */
static void test_version_1_reads_the_record(void **state)
{
    struct ledger_service service = {.buffer_bytes = 0};
    struct ledger1_echo record;
    (void)state;
    if (LEDGER_VERSION != 1)
        skip();
    fix.config = (struct echo_config){.prefix = "GOT:", .prefix_len = 4, .chunk = 1000};
    echo_handler.describe(&fix.config, &service);
    assert_int_equal(service.record_bytes, sizeof record);
    memcpy(&record, service.record, sizeof record);
    assert_int_equal(record.chunk, 1000);
    assert_int_equal(record.prefix_len, 4);
    assert_memory_equal(record.prefix, "GOT:", 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_a_message),
        cmocka_unit_test(test_answers_verbatim_without_prefix),
        cmocka_unit_test(test_holds_no_buffer_while_idle),
        cmocka_unit_test(test_finishes_short_writes),
        cmocka_unit_test(test_waits_while_sending_is_refused),
        cmocka_unit_test(test_answers_all_before_the_end),
        cmocka_unit_test(test_ends_at_once_without_a_byte),
        cmocka_unit_test(test_reset_while_receiving),
        cmocka_unit_test(test_timeout_while_receiving_again),
        cmocka_unit_test(test_reset_while_sending),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_no_memory_to_start),
        cmocka_unit_test(test_aborted_in_the_middle_of_an_answer),
        cmocka_unit_test(test_shut_in_the_middle_of_an_answer),
        cmocka_unit_test(test_chunk_boundaries),
        cmocka_unit_test(test_a_backlog_is_cut_into_chunks),
        cmocka_unit_test(test_reads_grow_and_shrink),
        cmocka_unit_test(test_messages_of_a_whole_chunk),
        cmocka_unit_test(test_bulk_is_spliced),
        cmocka_unit_test(test_chunks_are_never_spliced),
        cmocka_unit_test(test_small_messages_are_not_spliced),
        cmocka_unit_test(test_a_pipe_is_emptied_bit_by_bit),
        cmocka_unit_test(test_sockets_that_cannot_be_spliced),
        cmocka_unit_test(test_splice_fails),
        cmocka_unit_test(test_splice_finds_nothing),
        cmocka_unit_test(test_without_a_pipe),
        cmocka_unit_test(test_a_pipe_with_bytes_left_is_not_lent_again),
        cmocka_unit_test(test_ends_while_splicing),
        cmocka_unit_test(test_shut_while_spliced),
        cmocka_unit_test(test_random_pieces),
        cmocka_unit_test(test_another_process_goes_on),
        cmocka_unit_test(test_begins_with_a_wait),
        cmocka_unit_test(test_no_memory_to_go_on),
        cmocka_unit_test(test_an_old_answer_that_cannot_be_ended),
        cmocka_unit_test(test_another_record),
        cmocka_unit_test(test_version_1_reads_the_record),
    };
    return RUN_TESTS("echo", tests);
}
