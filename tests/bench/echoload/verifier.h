/*
 * verifier.h - what a client sends, and whether what comes back is the answer to it.
 *
 * Every connection sends the same endless pattern, each from a place of its own, so that bytes of
 * another connection, bytes twice, bytes missing or in the wrong order do not match. The period
 * is prime: no loss of a whole buffer or chunk can hide in it; and bytes are counted, too.
 *
 * An answer is the pattern again, cut into chunks, each behind the prefix. Where a stream is cut
 * is the server's choice, so the first byte of the prefix never occurs in the pattern: wherever
 * it is received a prefix must follow, and nowhere else. Chunks may be of any length from one
 * byte to the largest; a prefix without a chunk is as wrong as any other byte.
 *
 * Nothing is looked at one by one: the pattern is in memory once, with a window behind it, so
 * that what is due is always one contiguous piece to send from and to compare with.
 */
#ifndef ECHOLOAD_VERIFIER_H
#define ECHOLOAD_VERIFIER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PATTERN_PERIOD 65521
#define PATTERN_WINDOW 262144

enum { FORMAT_PREFIX_MAX = 255 };

/* What is the same for all connections. */
struct format {
    char pattern[PATTERN_PERIOD + PATTERN_WINDOW];
    char prefix[FORMAT_PREFIX_MAX];
    size_t prefix_len; /* 0: verbatim */
    size_t chunk;      /* the longest that may follow a prefix */
};

/* A connection's place in its answer; all zero but for start at its beginning. */
struct verifier {
    uint64_t start;    /* where in the pattern this connection begins */
    uint64_t received; /* bytes of the pattern that have come back */
    uint64_t wire;     /* all bytes received, prefixes included */
    size_t chunk_len;  /* bytes of the present chunk */
    size_t prefix_at;  /* bytes of the present prefix; all of them while in a chunk */
};

struct mismatch {
    uint64_t offset; /* on the wire */
    int expected;    /* -1: nothing, the byte is surplus */
    int got;
};

/* prefix_len is 0 to FORMAT_PREFIX_MAX, chunk at least 1. */
void format_init(struct format *format, const char *prefix, size_t prefix_len, size_t chunk);

/* PATTERN_WINDOW bytes of the pattern, from this offset of an endless stream of it. */
const char *format_pattern(const struct format *format, uint64_t offset);

/* A place in the pattern for the connection with this serial number. */
void verifier_init(struct verifier *verifier, uint64_t serial);

/*
 * Takes len more bytes of the answer to what has been sent, which is sent bytes of the pattern.
 * Returns whether all are right; if not, mismatch says what is wrong with the first that is not.
 */
bool verifier_feed(struct verifier *verifier, const struct format *format, uint64_t sent,
                   const char *buf, size_t len, struct mismatch *mismatch);

#endif
