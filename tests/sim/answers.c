#include "answers.h"

#include "headers.h"
#include "plan.h"
#include "world.h"

#include <string.h>

/*
 * The bytes are those of a table, repeated. Its length is a prime, so that an answer that is
 * shifted by a chunk, a page or a buffer is wrong nearly everywhere; and so is another client's.
 */
enum { ANSWERS_PERIOD = 8191, ANSWERS_STRIDE = 977 };

static const unsigned char *answers_table(void)
{
    static unsigned char table[2 * ANSWERS_PERIOD];
    static bool made;
    if (!made) {
        struct chance chance = {.state = 25000};
        for (int i = 0; i < ANSWERS_PERIOD; i++)
            table[i] = table[i + ANSWERS_PERIOD] = (unsigned char)chance_next(&chance);
        made = true;
    }
    return table;
}

/* The bytes from offset on; lowers *count to how many of them are valid. */
static const unsigned char *answers_bytes(const struct socket *socket, uint64_t offset,
                                          size_t *count)
{
    const struct header *header = socket->header;
    uint64_t begin = (uint64_t)socket->client * ANSWERS_STRIDE;
    bool within = header != NULL && offset < header->len;
    uint64_t valid = within ? header->len - offset : ANSWERS_PERIOD;
    *count = *count < valid ? *count : (size_t)valid;
    return within ? header->bytes + offset : answers_table() + (offset + begin) % ANSWERS_PERIOD;
}

void answers_make(const struct socket *socket, uint64_t offset, void *bytes, size_t count)
{
    for (size_t done = 0; done < count;) {
        size_t part = count - done;
        const unsigned char *next = answers_bytes(socket, offset + done, &part);
        memcpy((char *)bytes + done, next, part);
        done += part;
    }
}

uint64_t answers_length(uint64_t read)
{
    const struct echo_config *echo = &plan_get()->echo;
    uint64_t chunks = (read + echo->chunk - 1) / echo->chunk;
    return read + chunks * echo->prefix_len;
}

/* Verifies bytes up to the end of a prefix, of a chunk or of the count. Returns how many. */
static size_t answers_step(const struct socket *socket, uint64_t place, const unsigned char *bytes,
                           size_t count)
{
    const struct echo_config *echo = &plan_get()->echo;
    const struct answer *answer = &socket->answer;
    uint64_t slot = echo->prefix_len + echo->chunk;
    uint64_t within = place % slot;
    if (within < echo->prefix_len) {
        size_t part = echo->prefix_len - within < count ? echo->prefix_len - within : count;
        if (memcmp(bytes, echo->prefix + within, part) != 0)
            world_fail("client %u is sent a wrong prefix, %llu bytes into the answer to byte %llu",
                       socket->client, (unsigned long long)place,
                       (unsigned long long)answer->offset);
        return part;
    }
    uint64_t chunk_place = place / slot * echo->chunk + within - echo->prefix_len;
    size_t part = slot - within < count ? slot - within : count;
    const unsigned char *right = answers_bytes(socket, answer->offset + chunk_place, &part);
    if (memcmp(bytes, right, part) != 0)
        world_fail("client %u is sent wrong bytes for its bytes from %llu on", socket->client,
                   (unsigned long long)(answer->offset + chunk_place));
    return part;
}

void answers_verify(const struct socket *socket, const void *bytes, size_t count)
{
    const unsigned char *next = bytes;
    uint64_t place = socket->answer.sent;
    while (count > 0) {
        size_t part = answers_step(socket, place, next, count);
        place += part;
        next += part;
        count -= part;
    }
}
