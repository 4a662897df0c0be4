#include "service/chunks.h"

#include "base/container_of.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/*
 * Buffers that the pool keeps. One serves any number of clients that read their answers; more
 * are only out while clients do not, and memory goes back when they have gone.
 */
enum { CHUNKS_SPARES_MAX = 16 };

/* Stands in front of a buffer, so that a spare one keeps its prefixes. */
struct chunks_spare {
    struct chunks_spare *next;
    char buffer[];
};

static size_t chunks_slot(const struct chunks *chunks)
{
    return chunks->prefix_len + chunks->chunk;
}

void chunks_init(struct chunks *chunks, const char *prefix, size_t prefix_len, size_t chunk)
{
    assert(prefix_len <= CHUNKS_PREFIX_MAX && chunk >= 1 && chunk <= CHUNKS_CHUNK_MAX);
    if (prefix_len == 0)
        chunk = CHUNKS_BUFFER_BYTES; /* without prefixes nobody can tell chunks apart */
    *chunks = (struct chunks){.prefix_len = prefix_len, .chunk = chunk};
    if (prefix_len > 0)
        memcpy(chunks->prefix, prefix, prefix_len);
    size_t slots = CHUNKS_BUFFER_BYTES / chunk;
    chunks->slots = slots > CHUNKS_SLOTS_MAX ? CHUNKS_SLOTS_MAX : (unsigned)slots;
}

void chunks_free(struct chunks *chunks)
{
    while (chunks->spare != NULL) {
        struct chunks_spare *spare = chunks->spare;
        chunks->spare = spare->next;
        free(spare);
    }
    chunks->spares = 0;
}

char *chunks_get(struct chunks *chunks)
{
    struct chunks_spare *spare = chunks->spare;
    if (spare != NULL) {
        chunks->spare = spare->next;
        chunks->spares--;
        return spare->buffer;
    }
    spare = malloc(sizeof *spare + chunks->slots * chunks_slot(chunks));
    if (spare == NULL)
        return NULL;
    for (unsigned i = 0; i < chunks->slots; i++)
        memcpy(spare->buffer + i * chunks_slot(chunks), chunks->prefix, chunks->prefix_len);
    return spare->buffer;
}

void chunks_put(struct chunks *chunks, char *buffer)
{
    struct chunks_spare *spare = container_of(buffer, struct chunks_spare, buffer);
    if (chunks->spares == CHUNKS_SPARES_MAX) {
        free(spare);
        return;
    }
    spare->next = chunks->spare;
    chunks->spare = spare;
    chunks->spares++;
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
    if (received <= chunks->chunk) /* most are, and a division takes its time */
        return chunks->prefix_len + received;
    size_t prefixes = (received + chunks->chunk - 1) / chunks->chunk;
    return prefixes * chunks->prefix_len + received;
}
