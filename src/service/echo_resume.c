/*
 * How the generator goes on in another process: at the `yield 'send', client` if the predecessor
 * has received something and not sent all of the answer, else at the `yield 'recv', client`.
 *
 * An answer that is under way ends as the predecessor has framed it, and in the predecessor's own
 * buffer. That buffer does not get into the pool, whose buffers have the prefixes of this process
 * in place.
 */
#include "service/echo_frame.h"

#include <errno.h>
#include <string.h>

int64_t echo_answer(const struct ledger_service *predecessor, uint32_t received)
{
    struct echo_record record;
    struct chunks chunks;
    memcpy(&record, predecessor->record, sizeof record);
    if (predecessor->record_bytes != sizeof record || record.prefix_len > CHUNKS_PREFIX_MAX ||
        record.chunk < 1 || record.chunk > CHUNKS_CHUNK_MAX)
        return -EPROTO;
    chunks_init(&chunks, NULL, record.prefix, record.prefix_len, record.chunk);
    return (int64_t)chunks_answer(&chunks, received);
}

void echo_resume_release(struct echo *echo)
{
    struct ledger_entry *entry = conn_entry(&echo->conn);
    struct ledger_buffer buffer = {.bytes = echo->buffer, .number = ledger_number(entry)};
    ledger_note(entry, LEDGER_NOTHING, 0);
    echo->buffer = NULL;
    echo->inherited = false;
    ledger_take_back(echo_state_of(echo)->chunks.ledger, buffer);
}

/* There is nothing to receive yet, so a wait saves the call that would say so. */
static struct yield echo_resume_wait(struct task *task)
{
    return yield_recv(task, &echo_of(task)->conn.sock, echo_recv);
}

static task_step *echo_resume_recv(bool ready)
{
    return ready ? echo_recv : echo_resume_wait;
}

/* As echo_send(), but for where the buffer goes in the end. */
static struct yield echo_resume_send(struct task *task)
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
        return yield_send(task, sock, echo_resume_send);
    echo_resume_release(echo);
    return yield_recv(task, sock, echo_recv);
}

static task_step *echo_resume_copied(struct echo *echo, uint32_t left, bool ready)
{
    struct ledger *ledger = echo_state_of(echo)->chunks.ledger;
    struct ledger_buffer buffer = ledger_inherit(ledger, ledger_number(conn_entry(&echo->conn)));
    if (buffer.bytes == NULL)
        return NULL;
    echo->buffer = buffer.bytes;
    echo->inherited = true;
    if (left > 0)
        return echo_resume_send;
    echo_resume_release(echo);
    return echo_resume_recv(ready);
}

static task_step *echo_resume_spliced(struct echo *echo, uint32_t left, bool ready)
{
    const struct ledger_entry *entries = conn_owner(&echo->conn)->entries;
    uint32_t out = ledger_number(conn_entry(&echo->conn));
    uint32_t in = ledger_number(&entries[out]);
    struct pipe *pipe = pipes_inherit(&echo_state_of(echo)->pipes, (int)out, (int)in);
    if (pipe == NULL)
        return NULL;
    echo->pipe = pipe;
    echo->spliced = true;
    if (left > 0)
        return echo_splice_send;
    echo_splice_release(echo);
    return echo_resume_recv(ready);
}

task_step *echo_resume(struct conn *conn, uint32_t left, bool ready)
{
    struct echo *echo = container_of(conn, struct echo, conn);
    const struct ledger_entry *entry = conn_entry(conn);
    echo->out = ledger_load(&entry->goal) - left;
    switch (ledger_kind(ledger_load(&entry->place))) {
    case LEDGER_BUFFER:
        return echo_resume_copied(echo, left, ready);
    case LEDGER_PIPE:
        return echo_resume_spliced(echo, left, ready);
    default:
        return echo_resume_recv(ready);
    }
}
