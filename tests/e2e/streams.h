/*
 * streams.h - much pseudo-random data, sent on many connections at once, whose answers are checked
 * to the byte.
 */
#ifndef UVECHOD_STREAMS_H
#define UVECHOD_STREAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    STREAMS_MAX = 512,
    STREAM_CHUNK = 1000,
    PATTERN_BYTES = 1048573, /* a prime: no multiple of a chunk's or buffer's size */
};

#define STREAM_PREFIX "GOT:"

struct stream {
    int fd;
    const unsigned char *pattern; /* what is sent, over and over again */
    size_t start;                 /* where in the pattern the stream begins */
    uint64_t total;
    uint64_t sent;
    uint64_t checked;  /* bytes that came back, without the prefixes */
    uint64_t prefixes; /* that came back */
    const char *prefix;
    size_t prefix_len; /* 0: verbatim */
    size_t matched;    /* bytes of the current chunk's prefix */
    size_t chunk_len;  /* bytes of the current chunk */
    size_t chunk_max;
    size_t send_max; /* bytes that one call sends; 0: as many as the socket takes */
    size_t recv_max; /* bytes that one call receives; 0: as many as there are */
    bool shut;       /* all is sent, and the sending side has ended */
    bool ended;      /* the daemon's FIN has come, after all answers */
    bool may_be_cut; /* the FIN may come after the first of the answers */
    bool may_break;  /* the daemon may end the connection at any moment, in any way */
    bool broken;     /* the daemon has done so before all answers had come */
};

/*
 * PATTERN_BYTES random bytes, the same in every run. They have all values, or all but the prefix's
 * first byte, so that chunks can be told apart whatever their sizes.
 */
const unsigned char *pattern_get(bool prefixed);

/*
 * Makes a stream of total bytes on a connected socket, answered with STREAM_PREFIX before chunks
 * of at most STREAM_CHUNK bytes, or verbatim. Another prefix must begin with the same byte.
 */
void stream_init(struct stream *stream, int fd, unsigned seed, uint64_t total, bool prefixed);

/* Sends what the socket takes. Returns how many bytes. */
size_t stream_send(struct stream *stream);

/* Sends and receives as poll(2) has said. Ends the sending side when all is sent. */
void stream_act(struct stream *stream, short revents);

/* Sends, without receiving, until no socket takes more. What was sent becomes the total. */
void streams_jam(struct stream *streams, size_t count);

/* Waits once and then sends and receives what it can. Returns how many streams had not ended. */
size_t streams_turn(struct stream *streams, size_t count);

/* Runs all streams to their ends, and closes them. */
void streams_run(struct stream *streams, size_t count);

/* They send no more; the same for what has been sent so far. Returns how many bytes that was. */
uint64_t streams_cut_short(struct stream *streams, size_t count);

#endif
