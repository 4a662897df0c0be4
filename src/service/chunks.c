#include "service/chunks.h"

#include <assert.h>
#include <string.h>

/* Bytes of a slot. */
static size_t chunks_slot(const struct chunks *chunks)
{
    return chunks->prefix_len + chunks->chunk;
}

void chunks_init(struct chunks *chunks, struct ledger *ledger, const char *prefix,
                 size_t prefix_len, size_t chunk)
{
    assert(prefix_len <= CHUNKS_PREFIX_MAX && chunk >= 1 && chunk <= CHUNKS_CHUNK_MAX);
    if (prefix_len == 0)
        chunk = CHUNKS_BUFFER_BYTES; /* without prefixes no client can tell chunks apart */
    *chunks = (struct chunks){.ledger = ledger, .prefix_len = prefix_len, .chunk = chunk};
    if (prefix_len > 0)
        memcpy(chunks->prefix, prefix, prefix_len);
    size_t slots = CHUNKS_BUFFER_BYTES / chunk;
    chunks->slots = slots > CHUNKS_SLOTS_MAX ? CHUNKS_SLOTS_MAX : (unsigned)slots;
}

size_t chunks_bytes(const struct chunks *chunks)
{
    return chunks->slots * chunks_slot(chunks);
}

void chunks_free(struct chunks *chunks)
{
    while (chunks->spares > 0)
        ledger_take_back(chunks->ledger, chunks->spare[--chunks->spares]);
}

struct ledger_buffer chunks_make(const struct chunks *chunks)
{
    struct ledger_buffer buffer = ledger_lend(chunks->ledger);
    if (buffer.bytes == NULL)
        return buffer;
    for (unsigned i = 0; i < chunks->slots; i++)
        memcpy(buffer.bytes + i * chunks_slot(chunks), chunks->prefix, chunks->prefix_len);
    return buffer;
}

struct iovec *chunks_scatter(struct chunks *chunks, char *buffer, unsigned slots)
{
    struct iovec *iov = chunks->iov;
    assert(slots >= 1 && slots <= chunks->slots);
    for (unsigned i = 0; i < slots; i++) {
        iov[i].iov_base = buffer + i * chunks_slot(chunks) + chunks->prefix_len;
        iov[i].iov_len = chunks->chunk;
    }
    return iov;
}

size_t chunks_answer(const struct chunks *chunks, size_t received)
{
    if (received <= chunks->chunk) /* most are; this saves them a division */
        return chunks->prefix_len + received;
    size_t prefixes = (received + chunks->chunk - 1) / chunks->chunk;
    return prefixes * chunks->prefix_len + received;
}
