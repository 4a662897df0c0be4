/*
 * packet.h - the bytes of a datagram that a client sends, and the check of its answer.
 *
 * A datagram begins with its number and that of its client. The rest is a piece of the endless
 * pattern (verifier.h), whose place both numbers choose. A datagram that is shorter than the header
 * has only its beginning. So it says only the low bytes of its number, and the receiver takes the
 * nearest number that it can be; the bytes themselves are all that is checked then.
 */
#ifndef ECHOLOAD_PACKET_H
#define ECHOLOAD_PACKET_H

#include "echoload/verifier.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PACKET_HEADER = 16,
    PACKET_MAX = 65507, /* of IPv4; an IPv6 one may be longer by 20 */
};

/* Writes the header: the number, the client, and a check of both, little-endian. */
void packet_header(char header[PACKET_HEADER], uint32_t client, uint64_t number);

/* What follows the header: at least PATTERN_WINDOW bytes. */
const char *packet_body(const struct format *format, uint32_t client, uint64_t number);

/*
 * The number of the datagram of at least 1 byte, of which the low bytes are at its beginning. The
 * nearest one below next, if it is a short datagram.
 */
uint64_t packet_number(const char *bytes, size_t len, uint64_t next);

/* Whether these are the bytes of a datagram of this size. */
bool packet_is_right(const struct format *format, uint32_t client, uint64_t number, size_t size,
                     const char *bytes, size_t len);

#endif
