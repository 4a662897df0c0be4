/*
 * chunks.h - the buffers in which answers stand: a row of slots, each a prefix and a chunk.
 *
 *     | prefix | chunk | prefix | chunk | prefix | chunk | ...
 *
 * The prefixes are in place before anything is received. A scatter read fills the chunks between
 * them. The bytes from the first prefix to the last byte received are then the answer, which one
 * send takes: nothing is copied, and no chunk costs a system call of its own. With an empty prefix
 * the answer is what was received, and a buffer is one slot.
 *
 * Buffers belong to a pool, and each loop has one pool. An idle connection holds no buffer. A
 * connection whose client reads holds one only while its task runs, so that such clients share one
 * buffer. Clients that do not read make the pool lend more buffers. These go back to the system
 * when they are given back, except for CHUNKS_SPARES_MAX of them. The pool has the buffers from the
 * ledger, so that a successor of the process finds the answers that stand in them.
 */
#ifndef UVECHOD_CHUNKS_H
#define UVECHOD_CHUNKS_H

#include "stream/ledger.h"

#include <stddef.h>
#include <sys/uio.h>

#define CHUNKS_PREFIX_MAX   255   /* bytes */
#define CHUNKS_CHUNK_MAX    65536 /* bytes */
#define CHUNKS_SLOTS_MAX    1024  /* the most that readv(2) takes: IOV_MAX on Linux */
#define CHUNKS_BUFFER_BYTES 65536 /* a buffer has room for about so many received bytes */
#define CHUNKS_SPARES_MAX   8     /* buffers that the pool keeps */

struct chunks {
    char prefix[CHUNKS_PREFIX_MAX];
    size_t prefix_len;
    size_t chunk;    /* bytes of a chunk */
    unsigned slots;  /* in a buffer, at least 1 */
    unsigned spares; /* buffers in spare */
    struct ledger *ledger;
    struct ledger_buffer spare[CHUNKS_SPARES_MAX]; /* given back; the last one is lent next */
    struct iovec iov[CHUNKS_SLOTS_MAX]; /* of one read; on the stack they would cost time */
};

/*
 * Sets up the layout and an empty pool. prefix_len must be 0 to CHUNKS_PREFIX_MAX, chunk must be 1
 * to CHUNKS_CHUNK_MAX (both in bytes). The prefix is copied; it may be NULL when prefix_len is 0.
 * The ledger must outlive the pool, and its buffers have at least chunks_bytes(). Without a ledger
 * (NULL) no buffer can be lent.
 */
void chunks_init(struct chunks *chunks, struct ledger *ledger, const char *prefix,
                 size_t prefix_len, size_t chunk);

/* Returns how many bytes a buffer of this layout has. */
size_t chunks_bytes(const struct chunks *chunks);

/* Frees the pool. Every buffer must have been given back. */
void chunks_free(struct chunks *chunks);

/*
 * What chunks_get() does when there is no spare buffer. Not inline, because its registers and those
 * of ledger_take_back() would cost each message 26 instructions.
 */
struct ledger_buffer chunks_make(const struct chunks *chunks) __attribute__((noinline));

/*
 * Lends a buffer that has its prefixes in place. The caller gives it back with chunks_put(). Its
 * bytes are NULL when there is no memory.
 */
static inline struct ledger_buffer chunks_get(struct chunks *chunks)
{
    return chunks->spares > 0 ? chunks->spare[--chunks->spares] : chunks_make(chunks);
}

/* Takes a buffer back, which no entry names any more. The bytes in its chunks are lost. */
static inline void chunks_put(struct chunks *chunks, struct ledger_buffer buffer)
{
    if (chunks->spares < CHUNKS_SPARES_MAX)
        chunks->spare[chunks->spares++] = buffer;
    else
        ledger_take_back(chunks->ledger, buffer);
}

/*
 * Describes the chunks of the first slots of a buffer to readv(2); slots must be 1 to
 * chunks->slots. Returns that many iovecs, which are valid until the next call.
 */
struct iovec *chunks_scatter(struct chunks *chunks, char *buffer, unsigned slots);

/*
 * Returns the length of the answer to a read of received > 0 bytes: so many bytes, from the start
 * of the buffer, must be sent.
 */
size_t chunks_answer(const struct chunks *chunks, size_t received);

#endif
