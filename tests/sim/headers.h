/*
 * headers.h - the headers of proxies that clients send: whole or not, right or wrong.
 *
 * They are built here from HAProxy's document, and not looked at by the daemon's parser: of each it
 * is known at which byte it is whole, or at which its fault can be known.
 */
#ifndef UVECHOD_SIM_HEADERS_H
#define UVECHOD_SIM_HEADERS_H

#include "stream/proxy_header.h"
#include "world.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In which pieces it is sent. */
enum header_pieces {
    PIECES_WHOLE,  /* all at once, and nothing else */
    PIECES_JOINED, /* the client's first bytes with it */
    PIECES_SOME,   /* any */
    PIECES_SMALL,  /* as small as the number of events allows */
    PIECES_COUNT
};

struct header {
    unsigned char bytes[PROXY_HEADER_MAX];
    uint32_t len;
    uint32_t decided;            /* after so many bytes it is whole, or must be wrong */
    enum proxy_header_kind kind; /* what it is, or is wrong with it */
    char client[160];            /* as the log names it, if kind is PROXY_HEADER_CLIENT */
    uint32_t sent;               /* so many bytes of it are sent */
    bool cut;                    /* and nothing after them */
    bool ends;                   /* in that case: the client ends its stream then */
    bool as_data;                /* it is sent by connections of other sources, too */
    enum header_pieces pieces;
};

/* Draws the header of the client with this number. */
void header_draw(struct header *header, unsigned number);

/* How many bytes are sent at once when the first ones, so many, have been sent. At least one. */
uint64_t header_next(const struct header *header, uint64_t written, struct chance *chance);

#endif
