#include "echoload/verifier.h"

#include <string.h>

/* xorshift64: the same bytes on every machine and in every run. */
static uint64_t pattern_next(uint64_t state)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

void format_init(struct format *format, const char *prefix, size_t prefix_len, size_t chunk)
{
    memcpy(format->prefix, prefix, prefix_len);
    format->prefix_len = prefix_len;
    format->chunk = chunk;
    uint64_t state = 0x9e3779b97f4a7c15;
    for (size_t i = 0; i < PATTERN_PERIOD; i++) {
        state = pattern_next(state);
        char byte = (char)(state >> 32 & 0xff);
        if (prefix_len > 0 && byte == prefix[0])
            byte = (char)(byte ^ 1);
        format->pattern[i] = byte;
    }
    for (size_t i = PATTERN_PERIOD; i < sizeof format->pattern; i++)
        format->pattern[i] = format->pattern[i - PATTERN_PERIOD];
}

const char *format_pattern(const struct format *format, uint64_t offset)
{
    return format->pattern + offset % PATTERN_PERIOD;
}

void verifier_init(struct verifier *verifier, uint64_t serial)
{
    /* The places are so far apart that the messages of neighbours do not overlap. */
    *verifier = (struct verifier){.start = serial % PATTERN_PERIOD * 7919 % PATTERN_PERIOD};
}

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Compares len bytes, and adds the number of right ones to verifier->wire. */
static bool verifier_compare(struct verifier *verifier, const char *expected, const char *buf,
                             size_t len, struct mismatch *mismatch)
{
    size_t right = len;
    if (memcmp(expected, buf, len) != 0)
        for (right = 0; expected[right] == buf[right];)
            right++;
    verifier->wire += right;
    if (right == len)
        return true;
    *mismatch = (struct mismatch){.offset = verifier->wire,
                                  .expected = (unsigned char)expected[right],
                                  .got = (unsigned char)buf[right]};
    return false;
}

/* How many bytes of buf belong to the present chunk; 0 if a prefix begins here. */
static size_t verifier_chunk_len(const struct verifier *verifier, const struct format *format,
                                 const char *buf, size_t len)
{
    if (format->prefix_len == 0)
        return len;
    len = min_size(len, format->chunk - verifier->chunk_len);
    /* A prefix directly after a prefix is wrong; the comparison will say so. */
    size_t first = verifier->chunk_len == 0 ? 1 : 0;
    if (len <= first)
        return len;
    const char *prefix = memchr(buf + first, format->prefix[0], len - first);
    return prefix != NULL ? (size_t)(prefix - buf) : len;
}

/* Checks buf up to the end of the prefix or chunk. Returns how many bytes, 0 after a mismatch. */
static size_t verifier_step(struct verifier *verifier, const struct format *format, uint64_t left,
                            const char *buf, size_t len, struct mismatch *mismatch)
{
    if (verifier->prefix_at < format->prefix_len) {
        len = min_size(len, format->prefix_len - verifier->prefix_at);
        const char *expected = format->prefix + verifier->prefix_at;
        verifier->prefix_at += len;
        verifier->chunk_len = 0;
        return verifier_compare(verifier, expected, buf, len, mismatch) ? len : 0;
    }
    len = min_size(len, PATTERN_WINDOW);
    len = left < len ? (size_t)left : len;
    const char *expected = format_pattern(format, verifier->start + verifier->received);
    verifier->received += len;
    verifier->chunk_len += len;
    return verifier_compare(verifier, expected, buf, len, mismatch) ? len : 0;
}

bool verifier_feed(struct verifier *verifier, const struct format *format, uint64_t sent,
                   const char *buf, size_t len, struct mismatch *mismatch)
{
    while (len > 0) {
        uint64_t left = sent - verifier->received;
        if (left == 0) {
            *mismatch = (struct mismatch){
                .offset = verifier->wire, .expected = -1, .got = (unsigned char)*buf};
            return false;
        }
        size_t piece = len;
        if (verifier->prefix_at == format->prefix_len) {
            piece = verifier_chunk_len(verifier, format, buf, len);
            if (piece == 0) {
                verifier->prefix_at = 0;
                continue;
            }
        }
        piece = verifier_step(verifier, format, left, buf, piece, mismatch);
        if (piece == 0)
            return false;
        buf += piece;
        len -= piece;
    }
    return true;
}
