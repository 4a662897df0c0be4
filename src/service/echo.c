/*
 * The generator, line by line:
 *
 *     def echo_handler(client, address):           echo_handler.start
 *         while True:
 *             yield 'recv', client                 return yield_recv(..., echo_recv)
 *             data = client.recv(1000)             echo_recv
 *             if not data: break                   echo_recv
 *             yield 'send', client                 return yield_send(..., echo_send)
 *             client.send(b'GOT:' + data)          echo_send
 *         client.close()                           conn_finish
 *
 * Its locals are struct echo in echo_frame.h. Verbatim bulk data takes another way, which stands in
 * echo_splice.c. How the generator goes on in another process stands in echo_resume.c.
 */
#include "service/echo_frame.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct yield echo_send(struct task *task);
static ssize_t echo_receive(struct echo *echo, struct chunks *chunks);
static unsigned short echo_next_slots(struct echo *echo, const struct chunks *chunks,
                                      size_t received);

/*
 * Gives the buffer back. The entry forgets the buffer first, because the next connection may have
 * the buffer at once.
 */
static inline void echo_put(struct echo *echo, struct ledger_entry *entry)
{
    struct ledger_buffer buffer = {.bytes = echo->buffer, .number = ledger_number(entry)};
    ledger_note(entry, LEDGER_NOTHING, 0);
    echo->buffer = NULL;
    chunks_put(&echo_state_of(echo)->chunks, buffer);
}

struct yield echo_recv(struct task *task)
{
    struct echo *echo = echo_of(task);
    struct chunks *chunks = &echo_state_of(echo)->chunks;
    struct ledger_entry *entry = conn_entry(&echo->conn);
    struct ledger_buffer buffer = chunks_get(chunks);
    if (buffer.bytes == NULL)
        return conn_finish(&echo->conn, -ENOMEM);
    echo->buffer = buffer.bytes;
    ledger_note(entry, LEDGER_BUFFER, buffer.number);
    ssize_t n = echo_receive(echo, chunks);
    if (n == -EAGAIN) {
        echo_put(echo, entry);
        return yield_recv(task, &echo->conn.sock, echo_recv);
    }
    if (n <= 0)
        return conn_finish(&echo->conn, (int)n);
    echo->slots = echo_next_slots(echo, chunks, (size_t)n);
    echo_note_received(echo, entry, (size_t)n, chunks_answer(chunks, (size_t)n));
    return yield_send(task, &echo->conn.sock, echo_send);
}

static struct yield echo_send(struct task *task)
{
    struct echo *echo = echo_of(task);
    struct sock *sock = &echo->conn.sock;
    struct ledger_entry *entry = conn_entry(&echo->conn);
    uint32_t left = echo_left(echo, entry);
    ssize_t n = sock_send(sock, echo->buffer + ledger_load(&entry->len) - left, left);
    if (n < 0 && n != -EAGAIN)
        return conn_finish(&echo->conn, (int)n);
    echo_note_sent(echo, n);
    if (n < (ssize_t)left)
        return yield_send(task, sock, echo_send);
    echo_put(echo, entry);
    return yield_recv(task, sock, echo_splice_pays(echo, entry) ? echo_splice_recv : echo_recv);
}

/* One system call, whether the peer has sent one chunk or a backlog of chunks. */
static ssize_t echo_receive(struct echo *echo, struct chunks *chunks)
{
    int fd = echo->conn.sock.fd;
    if (echo->slots <= 1)
        return net_recv(fd, echo->buffer + chunks->prefix_len, chunks->chunk);
    return net_recvv(fd, chunks_scatter(chunks, echo->buffer, echo->slots), echo->slots);
}

/*
 * A read that fills all its slots is followed by one that is offered ECHO_SLOTS_GROWTH times as
 * many. To describe more than one slot costs 3 % of a message. A client whose messages are exactly
 * as long as a chunk fills its one slot every time and needs no second one. Therefore, after an
 * offer that was of no use, ECHO_HESITATION full reads pass before the next offer.
 */
enum { ECHO_SLOTS_GROWTH = 8, ECHO_HESITATION = 8 };

/* How many slots the next read should be offered, after a read of received bytes. */
static unsigned short echo_next_slots(struct echo *echo, const struct chunks *chunks,
                                      size_t received)
{
    unsigned slots = echo->slots > 1 ? echo->slots : 1;
    if (slots > 1 && received <= chunks->chunk)
        echo->hesitation = ECHO_HESITATION;
    if (received < chunks->chunk)
        return 1;
    if (received == chunks->chunk && echo->hesitation > 0) {
        echo->hesitation--;
        return 1;
    }
    if (received < slots * chunks->chunk)
        return (unsigned short)(received / chunks->chunk + 1);
    slots *= ECHO_SLOTS_GROWTH;
    return (unsigned short)(slots < chunks->slots ? slots : chunks->slots);
}

void echo_release(struct conn *conn)
{
    struct echo *echo = container_of(conn, struct echo, conn);
    struct ledger_entry *entry = conn_entry(conn);
    if (echo->spliced)
        echo_splice_release(echo);
    else if (echo->inherited)
        echo_resume_release(echo);
    else if (echo->buffer != NULL)
        echo_put(echo, entry);
}

static void echo_describe(const void *config, struct ledger_service *service)
{
    const struct echo_config *echo = config;
    struct echo_record record = {.chunk = (uint32_t)echo->chunk,
                                 .prefix_len = (uint32_t)echo->prefix_len};
    struct chunks chunks;
    _Static_assert(sizeof record <= LEDGER_RECORD_MAX, "the record of a service");
    chunks_init(&chunks, NULL, echo->prefix, echo->prefix_len, echo->chunk);
    memcpy(record.prefix, chunks.prefix, sizeof record.prefix);
    service->buffer_bytes = (uint32_t)chunks_bytes(&chunks);
    service->spares = CHUNKS_SPARES_MAX;
    service->record_bytes = sizeof record;
    memcpy(service->record, &record, sizeof record);
}

static void *echo_open(const void *config, struct ledger *ledger)
{
    const struct echo_config *echo = config;
    struct echo_state *state = malloc(sizeof *state);
    if (state == NULL)
        return NULL;
    chunks_init(&state->chunks, ledger, echo->prefix, echo->prefix_len, echo->chunk);
    pipes_init(&state->pipes, ledger);
    return state;
}

static void echo_close(void *own)
{
    struct echo_state *state = own;
    chunks_free(&state->chunks);
    pipes_free(&state->pipes);
    free(state);
}

/* Two for each pipe; only a verbatim echo is spliced. */
static unsigned echo_descriptors(const void *config)
{
    const struct echo_config *echo = config;
    return echo->prefix_len == 0 ? 2 * PIPES_MAX : 0;
}

const struct handler echo_handler = {.frame_size = sizeof(struct echo),
                                     .start = echo_recv,
                                     .release = echo_release,
                                     .describe = echo_describe,
                                     .open = echo_open,
                                     .close = echo_close,
                                     .descriptors = echo_descriptors,
                                     .answer = echo_answer,
                                     .resume = echo_resume};
