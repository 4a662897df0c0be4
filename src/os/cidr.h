/*
 * cidr.h - networks as people write them (RFC 4632, 3.1; RFC 4291, 2.3), and whether a peer is in
 * one.
 */
#ifndef UVECHOD_CIDR_H
#define UVECHOD_CIDR_H

#include "os/addr.h"

#include <stdbool.h>
#include <stdint.h>

/* The addresses that begin with the same bits. */
struct cidr {
    sa_family_t family;    /* AF_INET or AF_INET6 */
    uint8_t bits;          /* how many, up to 32 or 128; those of the address behind them are of no
                              account */
    unsigned char net[16]; /* in network byte order; of AF_INET the first 4 */
};

/*
 * Stores the network that text names: "192.0.2.0/24", "2001:db8::/32", or an address alone, which
 * is a network of one. IPv4 addresses that are mapped into IPv6 (RFC 4291, 2.5.5.2) are stored as
 * what they are, "::ffff:192.0.2.0/120" as "192.0.2.0/24". Asks nobody for names. Returns 0 or
 * -EINVAL.
 */
int cidr_parse(struct cidr *cidr, const char *text);

/*
 * Whether the peer's address is in the network. A socket of both families shows an IPv4 peer as
 * mapped: it counts as IPv4, and is in no network of IPv6, not even in ::/0. The peer of a Unix
 * socket is in none.
 */
bool cidr_has(const struct cidr *cidr, const union net_peer *peer);

#endif
