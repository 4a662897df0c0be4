/*
 * endpoints.h - where the daemon is spoken to: the sockets that it is given, and the addresses
 * that the user named, as sockets that listen on them.
 */
#ifndef UVECHOD_ENDPOINTS_H
#define UVECHOD_ENDPOINTS_H

#include "os/net.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* What the user asks for. */
struct endpoints_config {
    const union net_addr *addrs; /* to listen on; their ports do not count */
    size_t count;                /* 0: every IPv4 and every IPv6 address */
    uint64_t may_lack;           /* a bit for each that may be of a family the machine lacks */
    uint16_t port;               /* of the IPv4 and IPv6 addresses; 0: a free one */
    int backlog;                 /* of connections that wait to be accepted */
    mode_t socket_mode;          /* permissions of the files of Unix sockets */
    unsigned keepalive_s; /* how long a TCP peer may be silent before it is probed; 0: never */
};

struct endpoint {
    int fd;               /* -1 once somebody has taken the descriptor over */
    bool connected;       /* one connection to serve, instead of a socket that listens */
    union net_addr bound; /* what fd is bound to */
    char *name;           /* what systemd calls it; NULL if we have made it */
    struct timespec made; /* when the Unix socket's file was, and its number: a successor's */
    ino_t inode;          /* may be the same; 0: we have made none */
};

struct endpoints {
    struct endpoint *list;
    size_t count;
    union net_addr failed; /* the address that endpoints_open() failed on */
};

/*
 * Listens on what the config asks for. Of the addresses that may be of a family the machine lacks,
 * one that can be listened on is enough; without any address at all, both are such. Port 0 takes a
 * free port, the same one for all addresses. Returns 0 or net_listen()'s negative errno, with the
 * address in failed; endpoints_close() is due in either case.
 */
int endpoints_open(struct endpoints *endpoints, const struct endpoints_config *config);

/*
 * Takes over count > 0 sockets from first on, with their names (which become the endpoints'; NULL
 * if nobody has named them). Returns 0, or net_inspect()'s negative errno for the first that
 * cannot be served, with its number among them in *bad; endpoints_close() is due in either case.
 */
int endpoints_adopt(struct endpoints *endpoints, int first, size_t count, char **names,
                    size_t *bad);

/*
 * Applies net_set_keepalive() to the TCP sockets that endpoints_adopt() has taken over; those of
 * endpoints_open() have it from the start. Of another kind of stream over IP, MPTCP say, the kernel
 * may refuse this: the socket is served all the same.
 */
void endpoints_keep_alive(const struct endpoints *endpoints, unsigned keepalive_s);

/*
 * Removes the files of Unix sockets that we have made and that are still the same. Must be called
 * before the sockets stop listening: until then no other daemon takes them for dead, and puts
 * another file there between our look at the file and its removal.
 */
void endpoints_remove_files(struct endpoints *endpoints);

/*
 * Closes what has not been taken over, removes the files of Unix sockets that we have made and
 * that are still the same, and frees the list.
 */
void endpoints_close(struct endpoints *endpoints);

#endif
