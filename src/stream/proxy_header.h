/*
 * proxy_header.h - the header of the PROXY protocol, in which a proxy says for whom it connects.
 *
 * Source: "The PROXY protocol, versions 1 & 2" of HAProxy, doc/proxy-protocol.txt, called "the
 * document" here. Its headers stand at the very beginning of a connection, and what follows is the
 * client's. Version 1 is a line of text, version 2 is binary.
 *
 * Nothing here reads from a socket. The bytes that have come so far are looked at as a whole, in
 * whatever pieces they came, and the answer is a pure function of them. While the header is not
 * whole, the answer says how many bytes are missing at the least: who reads no more than that takes
 * no byte of what follows.
 */
#ifndef UVECHOD_PROXY_HEADER_H
#define UVECHOD_PROXY_HEADER_H

#include "os/addr.h"

#include <stdbool.h>
#include <stddef.h>

enum {
    PROXY_HEADER_V1_MAX = 107, /* with CR and LF; the document, 2.1 */
    PROXY_HEADER_MAX = 4096,   /* of version 2, with all its TLVs: a limit of ours */
};

/* What the bytes are. */
enum proxy_header_kind {
    PROXY_HEADER_PARTIAL,   /* the beginning of a header */
    PROXY_HEADER_CLIENT,    /* a header that names the client */
    PROXY_HEADER_ANONYMOUS, /* a header without one: UNKNOWN, LOCAL, UNSPEC, or an address of a
                               kind that a stream cannot have */
    PROXY_HEADER_NONE,      /* no header: all that follows are faults */
    PROXY_HEADER_LONG,      /* longer than may be */
    PROXY_HEADER_PROTOCOL,  /* version 1, neither TCP4 nor TCP6 nor UNKNOWN */
    PROXY_HEADER_ADDRESS,   /* version 1, an address or port that is none */
    PROXY_HEADER_LINE,      /* version 1, CR or LF where they do not end the line */
    PROXY_HEADER_VERSION,   /* version 2, of another version */
    PROXY_HEADER_COMMAND,   /* version 2, neither LOCAL nor PROXY */
    PROXY_HEADER_FAMILY,    /* version 2, an address family or transport that is not defined */
    PROXY_HEADER_SHORT,     /* version 2, shorter than its addresses */
    PROXY_HEADER_TLV,       /* version 2, a TLV that ends behind the header */
    PROXY_HEADER_CHECKSUM,  /* version 2, the CRC32C is wrong */
    PROXY_HEADER_ENDED,     /* the connection ended before it was whole: said by proxy.c only, */
    PROXY_HEADER_LATE,      /* and so is that the time was up */
};

struct proxy_header {
    enum proxy_header_kind kind;
    size_t missing;        /* PARTIAL: bytes that will have to come at the least, 1 or more */
    union net_addr client; /* CLIENT only; a Unix path is cut off at its first NUL */
};

/*
 * Says what the first len bytes of a connection are. They must not be more than the header has,
 * which holds for who reads what missing says; 0 bytes are PARTIAL. len must be at most
 * PROXY_HEADER_MAX.
 */
struct proxy_header proxy_header_parse(const unsigned char *bytes, size_t len);

#endif
