/*
 * endpoints.h - from the addresses that the user named to sockets that listen on them.
 */
#ifndef UVECHOD_ENDPOINTS_H
#define UVECHOD_ENDPOINTS_H

#include "net.h"

#include <stddef.h>
#include <stdint.h>

struct endpoints {
    int *fds; /* listening; -1 once somebody has taken the descriptor over */
    size_t count;
    union net_addr failed; /* the address that endpoints_open() failed on */
};

/*
 * Listens on port of each address or, when there is none (count 0), of every IPv4 and every IPv6
 * address, where the machine may lack one of the two families. Port 0 takes a free port, the
 * same one for all of them. Returns 0 or a negative errno (see net_listen()), with the address
 * in failed; endpoints_close() is due in either case.
 */
int endpoints_open(struct endpoints *endpoints, const union net_addr *addrs, size_t count,
                   uint16_t port, int backlog);

/* Closes what has not been taken over, and frees the list. */
void endpoints_close(struct endpoints *endpoints);

#endif
