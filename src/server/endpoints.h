/*
 * endpoints.h - the sockets that the daemon serves: those that were passed to it or, without any,
 * those that it opens on the addresses that the user named. A successor goes on with those of its
 * predecessor, and after a restart only with those that are still asked for.
 */
#ifndef UVECHOD_ENDPOINTS_H
#define UVECHOD_ENDPOINTS_H

#include "os/net.h"
#include "server/kinds.h"
#include "stream/takeover.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* An address to listen on. Its port is not used: endpoints_config.port holds for all addresses. */
struct endpoint_addr {
    union net_addr addr;
    bool may_lack; /* the family may be missing here, if another address can be listened on */
};

/* Which sockets an IPv4 or IPv6 address gets. A Unix address gets one for streams in any case. */
enum endpoints_udp {
    ENDPOINTS_UDP_NONE, /* one for TCP */
    ENDPOINTS_UDP_TOO,  /* one for TCP, and for UDP one for each worker */
    ENDPOINTS_UDP_ONLY,
};

/* What the user asks for. */
struct endpoints_config {
    const struct endpoint_addr *addrs; /* to listen on */
    size_t count;                      /* 0: every IPv4 and every IPv6 address */
    uint16_t port;                     /* of the IPv4 and IPv6 addresses; 0: any free port */
    int backlog;                       /* how many connections may wait to be accepted */
    mode_t socket_mode;                /* permissions of the files of Unix sockets */
    unsigned keepalive_s; /* silence of a TCP peer after which the kernel probes it; 0: never */
    const struct endpoint_kind *kind; /* NULL: endpoint_listening */
    uint8_t udp;                      /* an enum endpoints_udp */
    unsigned workers;                 /* how many share the datagrams */
};

struct endpoint {
    int fd;          /* -1 once a task has taken the descriptor over */
    uint8_t service; /* the number of the service that answers here */
    const struct endpoint_kind *kind;
    void *task;           /* in the kind's own memory; NULL: no task serves the endpoint */
    union net_addr bound; /* the address that fd is bound to */
    char *name;           /* the name that systemd has given to the socket, or NULL */
    /* Of the Unix socket's file that we made. A later file may have the same inode number. */
    struct timespec made;
    ino_t inode; /* 0: we made no file */
};

struct endpoints {
    struct endpoint *list;
    size_t count;
    union net_addr failed; /* the address on which endpoints_open() could not listen */
    struct ledger *noted;  /* where the predecessor has noted its sockets; NULL: it has none */
};

/*
 * Opens a listening socket on each address of the config, or goes on with that of a predecessor:
 * endpoints is all zero, or as endpoints_inherit() has left it with noted set. The predecessor's
 * other sockets are closed before, so connections that wait there are reset. An address with
 * may_lack is left out if the machine lacks its family, as long as there is another address to
 * listen on. Without any address in the config, both wildcard addresses are used, with may_lack.
 * Port 0 takes a free port, the same for all addresses, which is that of the predecessor if it has
 * one. Fewer workers than there are get datagrams of an address at which somebody else has made the
 * socket. Returns 0, -ENOMEM, or the negative errno of net_listen() or datagram_open() with the
 * address in failed.
 * endpoints_close() must be called in either case.
 */
int endpoints_open(struct endpoints *endpoints, const struct endpoints_config *config);

/*
 * Closes the sockets that endpoints_inherit() has taken over, and forgets them where they are
 * noted. Nobody goes on with them. before is all zero then.
 */
void endpoints_drop(struct endpoints *before);

/*
 * Moves the endpoints whose kind is aside to the end of another list, which is all zero or has some
 * already. Returns 0 or -ENOMEM; endpoints_close() must be called for both in either case.
 */
int endpoints_set_aside(struct endpoints *endpoints, struct endpoints *aside);

/*
 * Takes over count > 0 sockets, whose descriptors begin with first, and the array of their names,
 * made by malloc() like each name in it (NULL: the sockets have no names). As for endpoints_open(),
 * endpoints is all zero, or has the sockets of a predecessor, which are closed: what waits at one
 * that has been passed again waits on. Returns 0 or -ENOMEM; or
 * the negative errno of net_inspect() or net_local() for the first socket that cannot be served,
 * and in *bad the index of that socket, counted from 0. endpoints_close() must be called in either
 * case.
 */
int endpoints_adopt(struct endpoints *endpoints, int first, size_t count, char **names,
                    size_t *bad);

/*
 * Takes over the listening sockets of a predecessor, and the files of its Unix sockets, if they are
 * still its own. Returns 0, or -ENOMEM with the sockets closed. endpoints_close() must be called in
 * either case.
 */
int endpoints_inherit(struct endpoints *endpoints, const struct takeover_listener *listeners,
                      size_t count);

/*
 * Notes the listening sockets in the ledger, so that a successor finds them, and lets all sockets
 * outlive the program. To be called before endpoints_start(). Returns 0 or a negative errno of
 * ledger_keep().
 */
int endpoints_note(const struct endpoints *endpoints, struct ledger *ledger);

/*
 * Calls net_set_keepalive() for the sockets that endpoints_adopt() has taken over and that are no
 * Unix sockets. Those of endpoints_open() are set already. The kernel may refuse this for other
 * streams than TCP, such as MPTCP: such a socket is served without keepalive.
 */
void endpoints_keep_alive(const struct endpoints *endpoints, unsigned keepalive_s);

/*
 * Removes the files of Unix sockets that we made, unless another file has replaced them. Must be
 * called before the sockets stop listening: as long as they listen, no other daemon replaces a file
 * between our look at the file and its removal.
 */
void endpoints_remove_files(struct endpoints *endpoints);

/*
 * Starts to serve all endpoints. Returns 0, or the negative errno of the first endpoint that could
 * not be started: the endpoints before it are served then, those after it are not.
 */
int endpoints_start(struct endpoints *endpoints, const struct endpoint_context *context);

/* How many endpoints of the same kind and at the same address come before the one at this place. */
unsigned endpoints_turn(const struct endpoints *endpoints, size_t place);

/* Whether any endpoint is of this kind. */
bool endpoints_have(const struct endpoints *endpoints, const struct endpoint_kind *kind);

/* Whether any endpoint is served by a task that runs until endpoints_stop(). */
bool endpoints_stay(const struct endpoints *endpoints);

/* Ends the tasks that serve the endpoints. Must be called once only. */
void endpoints_stop(struct endpoints *endpoints);

/*
 * Does the same as endpoints_remove_files(), closes the descriptors that no task has taken over,
 * and frees the list with the memory of the tasks. No loop may run these tasks any more.
 */
void endpoints_close(struct endpoints *endpoints);

#endif
