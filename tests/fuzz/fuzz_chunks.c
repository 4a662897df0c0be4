/*
 * fuzz_chunks.c - the echo's answers. The real steps of the echo serve up to CLIENTS_MAX clients,
 * which share buffers and pipes, and this file plays the kernel: the input says where the streams
 * of bytes are cut, how much each send takes, which calls fail, and whose turn is next.
 *
 * The answer is checked byte by byte against its definition: each receive of n bytes is answered
 * with the prefix and a chunk, again and again until n bytes are used up. The byte at each place of
 * a client's stream is a number that depends on the client and the place, so a byte that is lost,
 * moved or another client's is seen at once.
 *
 * As in the unit tests, no scheduler runs: being woken is a hint, so a step may be called at any
 * time. Buffers come from the heap, where AddressSanitizer guards their ends.
 */
#include "service/echo.h"

#include "fuzz/fuzz.h"

#include "os/net.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { CLIENTS_MAX = 10 }; /* two more than there are pipes */
enum { ENTRIES = 256 };    /* more descriptors than the process has */

struct client {
    struct conn *conn; /* NULL before the client has come and after it has gone */
    uint64_t received; /* bytes of the stream */
    uint64_t sent;     /* bytes of all answers */
    uint64_t start;    /* in the stream: what the pending answer answers */
    size_t answered;   /* bytes of the stream that it answers */
    size_t len;        /* bytes of the answer */
    size_t done;       /* bytes of the answer that have been sent */
    int pipe;          /* that the answer is in, or -1 */
    int ending;        /* what a call has told that ends the connection, or 1 */
    bool refused;      /* a send took less than it was given, and no event has come since */
    bool lingers;      /* the daemon has ended it: what it still sends is thrown away */
    bool aborted;
};

/* The bytes in a pipe are not kept: only a client, and how many bytes there are, is known. */
struct pipeline {
    bool open;
    int client;
    size_t left; /* bytes in it */
};

enum { PATTERN_BYTES = 65521 };
enum { PIPE_FIRST = 1000000 }; /* no descriptor has such a number; a pipe has two */

static struct world {
    struct fuzz fuzz;
    char prefix[CHUNKS_PREFIX_MAX];
    struct echo_config config;
    uv_loop_t loop;
    struct sched sched;
    struct ledger ledger;
    struct conns conns;
    struct client clients[CLIENTS_MAX];
    int turn; /* the client whose step runs, or -1 */
    struct pipeline pipes[PIPES_MAX];
    bool pipes_lack;
    bool memory_lacks;
    unsigned buffers; /* that exist, lent or spare */
    uint32_t lent;    /* that have existed so far */
    uint64_t bytes_in;
    uint64_t bytes_out;
    unsigned char pattern[PATTERN_BYTES]; /* of the streams; never changes, so it comes last */
} world;

/*
 * The bytes of a client's stream from place on, of which *span is made the number that stand side
 * by side, at most what it was. The stream repeats a pattern whose period is a prime number, so
 * that bytes which are moved by a chunk or a buffer differ.
 */
static const unsigned char *stream_bytes(int client, uint64_t place, size_t *span)
{
    size_t at = (size_t)((place + (uint64_t)client * 4099) % PATTERN_BYTES);
    if (*span > PATTERN_BYTES - at)
        *span = PATTERN_BYTES - at;
    return world.pattern + at;
}

/* The same of the answer that the client is owed, from place on. */
static const void *answer_bytes(const struct client *client, size_t place, size_t *span)
{
    size_t prefix_len = world.config.prefix_len;
    size_t slot = prefix_len > 0 ? prefix_len + world.config.chunk : SIZE_MAX;
    size_t in_slot = place % slot;
    bool in_prefix = in_slot < prefix_len;
    size_t most = in_prefix ? prefix_len - in_slot : slot - in_slot;
    if (*span > most)
        *span = most;
    if (in_prefix)
        return world.prefix + in_slot;
    uint64_t before = client->start + place / slot * world.config.chunk;
    return stream_bytes((int)(client - world.clients), before + in_slot - prefix_len, span);
}

/* Compares the next len bytes of the answer. */
static void answer_check(const struct client *client, const unsigned char *bytes, size_t len)
{
    size_t place = client->done;
    for (size_t span = len; len > 0; span = len) {
        const void *expected = answer_bytes(client, place, &span);
        CHECK(memcmp(bytes, expected, span) == 0);
        bytes += span;
        place += span;
        len -= span;
    }
}

static size_t answer_len(size_t received)
{
    size_t pieces = (received + world.config.chunk - 1) / world.config.chunk;
    return received + pieces * world.config.prefix_len;
}

/* ---- what the input decides ---- */

/*
 * How many of most bytes a call moves: from 1 to most, or a negative errno, or 0 for the end of a
 * stream. When the input is used up, streams are at their end and sends take all.
 */
static ssize_t decide_amount(size_t most)
{
    static const int errors[] = {-EAGAIN, -EAGAIN, -ECONNRESET, -ETIMEDOUT,
                                 -EPIPE,  -EINVAL, -ENOSYS,     0};
    unsigned code = fuzz_byte(&world.fuzz);
    size_t amount = most;
    if (code < 0x08)
        return errors[code];
    if (code < 0x60)
        amount = code - 7; /* a few */
    else if (code < 0x80)
        amount = most - (most > code - 0x60 ? code - 0x60 : 0); /* all, or a few less */
    else if (code < 0xa0)
        amount = (code - 0x7f) * world.config.chunk; /* whole chunks */
    else if (code < 0xb0)
        amount = (code - 0x9f) * world.config.chunk + 1;
    else if (code < 0xc0)
        amount = (code - 0xaf) * world.config.chunk - 1;
    else if (code < 0xe0)
        amount = fuzz_short(&world.fuzz) + 1;
    else
        amount = (fuzz_short(&world.fuzz) + 1) * 8;
    return (ssize_t)(amount == 0 ? 1 : amount < most ? amount : most);
}

static ssize_t decide_receive(size_t most)
{
    return world.fuzz.left > 0 ? decide_amount(most) : 0;
}

static ssize_t decide_send(size_t most)
{
    ssize_t n = world.fuzz.left > 0 ? decide_amount(most) : (ssize_t)most;
    return n == 0 ? -EAGAIN : n;
}

/* ---- the kernel ---- */

struct ledger_buffer __wrap_ledger_lend(struct ledger *ledger);
void __wrap_ledger_take_back(struct ledger *ledger, struct ledger_buffer buffer);
void __real_net_close(int fd);
void __wrap_net_close(int fd);
int __wrap_net_pipe(int *out, int *in, int bytes);
ssize_t __wrap_net_recv(int fd, void *buf, size_t len);
ssize_t __wrap_net_recvv(int fd, struct iovec *iov, unsigned short count);
ssize_t __wrap_net_send(int fd, const void *buf, size_t len);
int __wrap_net_shutdown_send(int fd);
ssize_t __wrap_net_splice(int from, int to, size_t len);
void __wrap_sched_spawn(struct sched *sched, struct task *task, task_step *first);

/* Exactly as many bytes as the layout says, so that AddressSanitizer sees each beyond the end. */
struct ledger_buffer __wrap_ledger_lend(struct ledger *ledger)
{
    CHECK(ledger == &world.ledger);
    if (world.memory_lacks)
        return (struct ledger_buffer){.bytes = NULL};
    struct ledger_buffer buffer = {.bytes = malloc(ledger->layout.service[0].buffer_bytes),
                                   .number = world.lent++ % LEDGER_BUFFERS_MAX};
    CHECK(buffer.bytes != NULL);
    world.buffers++;
    return buffer;
}

void __wrap_ledger_take_back(struct ledger *ledger, struct ledger_buffer buffer)
{
    CHECK(ledger == &world.ledger && world.buffers > 0);
    world.buffers--;
    free(buffer.bytes);
}

/* The pipe of which fd is an end; NULL: fd is no end of a pipe. */
static struct pipeline *pipe_of(int fd)
{
    if (fd < PIPE_FIRST)
        return NULL;
    struct pipeline *pipeline = &world.pipes[(fd - PIPE_FIRST) / 2];
    CHECK(pipeline < world.pipes + PIPES_MAX && pipeline->open);
    return pipeline;
}

static bool is_write_end(int fd)
{
    return fd % 2 != 0;
}

void __wrap_net_close(int fd)
{
    if (fd < PIPE_FIRST)
        __real_net_close(fd);
    else if (!is_write_end(fd)) /* the daemon closes this end last */
        *pipe_of(fd) = (struct pipeline){.open = false};
}

int __wrap_net_pipe(int *out, int *in, int bytes)
{
    CHECK(bytes == PIPES_BYTES);
    for (int i = 0; i < PIPES_MAX && !world.pipes_lack; i++) {
        if (world.pipes[i].open)
            continue;
        world.pipes[i] = (struct pipeline){.open = true};
        *out = PIPE_FIRST + 2 * i;
        *in = *out + 1;
        return 0;
    }
    return -EMFILE;
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

/* The client whose turn it is, which must be the one that fd belongs to. */
static struct client *client_of(int fd)
{
    CHECK(world.turn >= 0);
    struct client *client = &world.clients[world.turn];
    CHECK(client->conn != NULL && client->conn->sock.fd == fd);
    CHECK(client->ending == 1 && !client->aborted); /* after that no call is made */
    return client;
}

/* A receive tells n. A result that is not final may be followed by another call. */
static void client_told(struct client *client, ssize_t n, bool final)
{
    if (n <= 0 && n != -EAGAIN && final)
        client->ending = (int)n;
}

/* n bytes of the stream are received, to be answered; the answer before must have been sent. */
static void client_received(struct client *client, size_t n)
{
    CHECK(client->done == client->len);
    client->start = client->received;
    client->received += n;
    client->answered = n;
    client->len = answer_len(n);
    client->done = 0;
    world.bytes_in += n;
}

/* Fills a buffer from place on, with at most left bytes. Returns how many it has written. */
static size_t stream_fill(int client, uint64_t place, const struct iovec *iov, size_t left)
{
    size_t len = left < iov->iov_len ? left : iov->iov_len;
    for (size_t done = 0, span; done < len; done += span) {
        span = len - done;
        const unsigned char *bytes = stream_bytes(client, place + done, &span);
        memcpy((char *)iov->iov_base + done, bytes, span);
    }
    return len;
}

ssize_t __wrap_net_recvv(int fd, struct iovec *iov, unsigned short count)
{
    struct client *client = client_of(fd);
    size_t most = 0;
    for (unsigned i = 0; i < count; i++)
        most += iov[i].iov_len;
    CHECK(count > 0 && most > 0);
    ssize_t n = decide_receive(most);
    client_told(client, n, true);
    if (n <= 0 || client->lingers)
        return n;
    client_received(client, (size_t)n);
    for (ssize_t left = n; left > 0; iov++)
        left -=
            (ssize_t)stream_fill(world.turn, client->received - (uint64_t)left, iov, (size_t)left);
    return n;
}

ssize_t __wrap_net_recv(int fd, void *buf, size_t len)
{
    struct iovec iov = {.iov_base = buf, .iov_len = len};
    return __wrap_net_recvv(fd, &iov, 1);
}

/* Counts n bytes of the answer as sent, n being what a send returns. */
static ssize_t client_sent(struct client *client, ssize_t n)
{
    CHECK(!client->lingers);
    client_told(client, n, true);
    client->refused = client->refused || n < (ssize_t)(client->len - client->done);
    if (n > 0) {
        client->done += (size_t)n;
        client->sent += (uint64_t)n;
        world.bytes_out += (uint64_t)n;
    }
    return n;
}

ssize_t __wrap_net_send(int fd, const void *buf, size_t len)
{
    struct client *client = client_of(fd);
    CHECK(len > 0 && len == client->len - client->done);
    ssize_t n = decide_send(len);
    answer_check(client, buf, n > 0 ? (size_t)n : 0);
    return client_sent(client, n);
}

static ssize_t pipe_fill(struct pipeline *pipeline, int fd, size_t len)
{
    struct client *client = client_of(fd);
    CHECK(pipeline->left == 0 && !client->lingers && world.config.prefix_len == 0);
    ssize_t n = decide_receive(len);
    /* After these errors, and at the end, the echo asks recv. */
    client_told(client, n, n < 0 && n != -EINVAL && n != -ENOSYS);
    if (n <= 0)
        return n;
    client_received(client, (size_t)n);
    *pipeline = (struct pipeline){.open = true, .client = world.turn, .left = (size_t)n};
    return n;
}

ssize_t __wrap_net_splice(int from, int to, size_t len)
{
    struct pipeline *pipeline = pipe_of(to);
    if (pipeline != NULL) {
        CHECK(is_write_end(to));
        return pipe_fill(pipeline, from, len);
    }
    struct client *client = client_of(to);
    pipeline = pipe_of(from);
    CHECK(pipeline != NULL && !is_write_end(from) && pipeline->client == world.turn);
    CHECK(len == pipeline->left && len == client->len - client->done);
    ssize_t n = client_sent(client, decide_send(len));
    pipeline->left -= n > 0 ? (size_t)n : 0;
    return n;
}

/* ---- the clients ---- */

static void on_event(struct conn *conn, enum conn_event event, int error)
{
    if (event != CONN_CLOSED)
        return;
    struct client *client = &world.clients[world.turn];
    CHECK(client->conn == conn);
    client->conn = NULL;
    if (client->aborted || client->lingers)
        CHECK(error == -ETIME);
    else if (error != -ENOMEM || !world.memory_lacks)
        CHECK(error == client->ending);
    /* Whoever sees the end of the stream has got every answer. */
    CHECK(error != 0 || client->done == client->len);
}

static void client_come(struct client *client)
{
    int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); /* anything that epoll can watch */
    struct list *last = world.conns.active.prev;
    CHECK(fd >= 0);
    *client = (struct client){.ending = 1};
    CHECK(conn_open(&world.conns, &(struct accepted){.fd = fd}) == 0);
    CHECK(world.conns.active.prev != last);
    client->conn = container_of(world.conns.active.prev, struct conn, link);
}

/* How many buffers are lent. */
static unsigned buffers_lent(void)
{
    const struct echo_state *echo = world.conns.states[0];
    return world.buffers - echo->chunks.spares;
}

/* How many clients have an answer that waits in a buffer; lingering clients keep theirs. */
static unsigned answers_waiting(void)
{
    unsigned waiting = 0;
    for (int i = 0; i < CLIENTS_MAX; i++)
        waiting += world.clients[i].conn != NULL && world.clients[i].done < world.clients[i].len;
    for (int i = 0; i < PIPES_MAX; i++)
        waiting -= world.pipes[i].open && world.pipes[i].left > 0;
    return waiting;
}

/* Lets the client's task take one step. */
static void client_step(struct client *client)
{
    struct task *task = &client->conn->task;
    struct sock *sock = &client->conn->sock;
    world.turn = (int)(client - world.clients);
    struct yield why = task->resume(task);
    CHECK((why.reason == YIELD_DONE) == (client->conn == NULL));
    if (client->conn == NULL)
        return;
    bool owes = client->done < client->len && !client->lingers;
    CHECK(why.reason == (owes ? YIELD_SEND : YIELD_RECV) && why.sock == sock);
    CHECK(client->ending == 1 && sock->send_refused == client->refused);
    CHECK(buffers_lent() <= answers_waiting());
}

static void client_end(struct client *client, bool at_once)
{
    if (client->aborted)
        return;
    if (at_once)
        conn_abort(client->conn, -ETIME);
    else
        conn_shut(client->conn, -ETIME);
    client->aborted = at_once;
    client->lingers = true;
}

/* ---- a run ---- */

/* Once, because that takes longer than most inputs do. */
static void pattern_make(void)
{
    for (uint32_t i = 0; i < PATTERN_BYTES; i++)
        world.pattern[i] = (unsigned char)(i * 2654435761U >> 13);
}

static void world_open(void)
{
    static const struct service service = {.handler = &echo_handler, .config = &world.config};
    static const struct services services = {.list = &service, .count = 1};
    world.config.prefix_len = fuzz_byte(&world.fuzz);
    world.config.chunk = fuzz_short(&world.fuzz) + 1;
    world.config.prefix = world.prefix;
    for (size_t i = 0; i < world.config.prefix_len; i++)
        world.prefix[i] = (char)(i * 7 + 71);
    CHECK(uv_loop_init(&world.loop) == 0);
    world.sched.loop = &world.loop;
    struct ledger_layout layout;
    services_layout(&services, 1, ENTRIES, &layout);
    CHECK(ledger_open(&world.ledger, &layout) == 0);
    CHECK(conns_open(&world.conns, &world.sched, &services, &world.ledger, on_event) == 0);
}

static void world_close(void)
{
    CHECK(world.conns.bytes_in == world.bytes_in && world.conns.bytes_out == world.bytes_out);
    CHECK(world.conns.accepted == world.conns.closed);
    CHECK(buffers_lent() == 0);
    CHECK(uv_run(&world.loop, UV_RUN_DEFAULT) == 0); /* the close callbacks free the frames */
    CHECK(uv_loop_close(&world.loop) == 0);
    CHECK(world.conns.frames == 0);
    conns_close(&world.conns);
    ledger_close(&world.ledger);
    CHECK(world.buffers == 0);
    for (int i = 0; i < PIPES_MAX; i++)
        CHECK(!world.pipes[i].open);
}

/* The lower half of a byte names a client, the upper half says what happens to it. */
static void world_move(void)
{
    unsigned code = fuzz_byte(&world.fuzz);
    struct client *client = &world.clients[code % 16 % CLIENTS_MAX];
    if (client->conn == NULL) {
        client_come(client);
        return;
    }
    switch (code / 16) {
    case 15:
        client_end(client, true);
        break;
    case 14:
        client_end(client, false);
        break;
    case 13:
        world.memory_lacks = !world.memory_lacks;
        break;
    case 12:
        world.pipes_lack = !world.pipes_lack;
        break;
    default:
        for (unsigned steps = code / 16 + 1; steps > 0 && client->conn != NULL; steps--)
            client_step(client);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (world.pattern[1] == 0)
        pattern_make();
    memset(&world, 0, offsetof(struct world, pattern));
    world.fuzz = (struct fuzz){data, size};
    world_open();
    while (world.fuzz.left > 0)
        world_move();
    world.memory_lacks = false;
    for (int i = 0; i < CLIENTS_MAX; i++)
        while (world.clients[i].conn != NULL)
            client_step(&world.clients[i]);
    world_close();
    return 0;
}
