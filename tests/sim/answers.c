#include "answers.h"

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

/* The bytes from offset on; at least ANSWERS_PERIOD of them are valid. */
static const unsigned char *answers_bytes(unsigned client, uint64_t offset)
{
    return answers_table() + (offset + (uint64_t)client * ANSWERS_STRIDE) % ANSWERS_PERIOD;
}

static size_t answers_part(size_t count)
{
    return count < ANSWERS_PERIOD ? count : ANSWERS_PERIOD;
}

void answers_make(unsigned client, uint64_t offset, void *bytes, size_t count)
{
    for (size_t done = 0; done < count;) {
        size_t part = answers_part(count - done);
        memcpy((char *)bytes + done, answers_bytes(client, offset + done), part);
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
    size_t part = answers_part(slot - within < count ? slot - within : count);
    if (memcmp(bytes, answers_bytes(socket->client, answer->offset + chunk_place), part) != 0)
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
