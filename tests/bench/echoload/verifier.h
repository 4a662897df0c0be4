/*
 * verifier.h - what a client sends, and the check that the right answer comes back.
 *
 * Every connection sends the same endless pattern, but each begins at another place. So bytes of
 * another connection, doubled, missing or swapped bytes do not match. The period of the pattern is
 * a prime number, so that the loss of a whole buffer or chunk is noticed. The bytes are counted,
 * too.
 *
 * An answer is the pattern again, cut into chunks, with the prefix before each. The server chooses
 * where to cut, so the pattern does not contain the first byte of the prefix: where this byte is
 * received, a prefix must follow. A chunk may have any length from one byte to the largest; a
 * prefix without a chunk is an error.
 *
 * Bytes are not looked at one by one. The pattern is in memory once, and its beginning is repeated
 * after its end, so that the bytes to send or to compare with are always contiguous.
 */
#ifndef ECHOLOAD_VERIFIER_H
#define ECHOLOAD_VERIFIER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PATTERN_PERIOD 65521
#define PATTERN_WINDOW 262144

enum { FORMAT_PREFIX_MAX = 255 };

/* What all connections have in common. */
struct format {
    char pattern[PATTERN_PERIOD + PATTERN_WINDOW];
    char prefix[FORMAT_PREFIX_MAX];
    size_t prefix_len; /* 0: verbatim */
    size_t chunk;      /* the longest chunk that may follow a prefix */
};

/* How far a connection's answer has come. In the beginning all but start is zero. */
struct verifier {
    uint64_t start;    /* the place in the pattern where this connection begins */
    uint64_t received; /* bytes of the pattern that have been received */
    uint64_t wire;     /* all bytes received, prefixes included */
    size_t chunk_len;  /* bytes of the present chunk */
    size_t prefix_at;  /* bytes of the present prefix; the whole prefix while in a chunk */
};

struct mismatch {
    uint64_t offset; /* on the wire */
    int expected;    /* -1: none, the byte is surplus */
    int got;
};

/* prefix_len is 0 to FORMAT_PREFIX_MAX, chunk at least 1. */
void format_init(struct format *format, const char *prefix, size_t prefix_len, size_t chunk);

/* PATTERN_WINDOW bytes of the endless pattern from this offset on. */
const char *format_pattern(const struct format *format, uint64_t offset);

/* Chooses the place in the pattern by the connection's serial number. */
void verifier_init(struct verifier *verifier, uint64_t serial);

/*
 * Checks the next len bytes of the answer. sent is how many bytes of the pattern have been sent.
 * Returns whether all are right; otherwise mismatch describes the first wrong byte.
 */
bool verifier_feed(struct verifier *verifier, const struct format *format, uint64_t sent,
                   const char *buf, size_t len, struct mismatch *mismatch);

#endif
