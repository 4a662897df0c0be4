/*
 * chunks.h - what an answer looks like in memory: buffers of slots, each a prefix and a chunk.
 *
 *     | prefix | chunk | prefix | chunk | prefix | chunk | ...
 *
 * The prefixes are in place before anything is received. A scatter read fills the chunks between
 * them, and what then stands from the first prefix to the last byte received is the answer: one
 * contiguous send, with nothing copied and no system call per chunk. With an empty prefix an
 * answer is what was received, and a buffer is one slot.
 *
 * Buffers belong to a pool, one per loop; an idle connection has none.
 */
#ifndef UVECHOD_CHUNKS_H
#define UVECHOD_CHUNKS_H

#include <stddef.h>
#include <sys/uio.h>

#define CHUNKS_PREFIX_MAX   255   /* bytes */
#define CHUNKS_CHUNK_MAX    65536 /* bytes */
#define CHUNKS_SLOTS_MAX    1024  /* what readv(2) takes: IOV_MAX on Linux */
#define CHUNKS_BUFFER_BYTES 65536 /* about so many received bytes fit in a buffer */

struct chunks_spare;

struct chunks {
    char prefix[CHUNKS_PREFIX_MAX];
    size_t prefix_len;
    size_t chunk;               /* bytes of a chunk */
    unsigned slots;             /* in a buffer, at least 1 */
    struct chunks_spare *spare; /* buffers given back, the last one first */
    unsigned spares;
    struct iovec iov[CHUNKS_SLOTS_MAX]; /* of one read; too large for a stack frame to be cheap */
};

/*
 * Sets up the layout and an empty pool. prefix_len is 0 to CHUNKS_PREFIX_MAX, chunk 1 to
 * CHUNKS_CHUNK_MAX; the prefix is copied.
 */
void chunks_init(struct chunks *chunks, const char *prefix, size_t prefix_len, size_t chunk);

/* Frees the pool; every buffer must have been put back. */
void chunks_free(struct chunks *chunks);

/* A buffer with its prefixes in place; NULL without memory. */
char *chunks_get(struct chunks *chunks);

/* Gives a buffer back: what its chunks contain is lost. */
void chunks_put(struct chunks *chunks, char *buffer);

/*
 * Describes the chunks of the first slots of buffer; 1 <= slots <= chunks->slots. Returns that many
 * iovecs, which are good until the next call.
 */
struct iovec *chunks_scatter(struct chunks *chunks, char *buffer, unsigned slots);

/* How many bytes, from the start of the buffer, answer a read of received > 0 bytes. */
size_t chunks_answer(const struct chunks *chunks, size_t received);

#endif
