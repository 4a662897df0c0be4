/*
 * endpoints.h - where the daemon is spoken to: the sockets that it is given, and the addresses
 * that the user named, as sockets that listen on them.
 */
#ifndef UVECHOD_ENDPOINTS_H
#define UVECHOD_ENDPOINTS_H

#include "os/net.h"
#include "server/kinds.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

/* An address to listen on. Its port is not used: endpoints_config.port holds for all addresses. */
struct endpoint_addr {
    union net_addr addr;
    bool may_lack; /* no error if the machine lacks the family, as long as another address works */
};

/* What the user asks for. */
struct endpoints_config {
    const struct endpoint_addr *addrs; /* to listen on */
    size_t count;                      /* 0: every IPv4 and every IPv6 address */
    uint16_t port;                     /* of the IPv4 and IPv6 addresses; 0: a free one */
    int backlog;                       /* of connections that wait to be accepted */
    mode_t socket_mode;                /* permissions of the files of Unix sockets */
    unsigned keepalive_s; /* how long a TCP peer may be silent before it is probed; 0: never */
};

struct endpoint {
    int fd;          /* -1 once a task has taken the descriptor over */
    uint8_t service; /* which of the services is spoken here: its number */
    const struct endpoint_kind *kind;
    void *task;           /* what serves it, the kind's own; NULL: nothing does */
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
 * address in failed; endpoints_close() must be called in either case.
 */
int endpoints_open(struct endpoints *endpoints, const struct endpoints_config *config);

/*
 * Takes over count > 0 sockets from first on, with their names (which become the endpoints'; NULL
 * if nobody has named them). Returns 0, or net_inspect()'s negative errno for the first that
 * cannot be served, with its number among them in *bad; endpoints_close() must be called in either
 * case.
 */
int endpoints_adopt(struct endpoints *endpoints, int first, size_t count, char **names,
                    size_t *bad);

/*
 * Applies net_set_keepalive() to the TCP sockets that endpoints_adopt() has taken over; those of
 * endpoints_open() have it from the start. For another kind of stream over IP, such as MPTCP, the
 * kernel may refuse this: the socket is served all the same.
 */
void endpoints_keep_alive(const struct endpoints *endpoints, unsigned keepalive_s);

/*
 * Removes the files of Unix sockets that we have made and that are still the same. Must be called
 * before the sockets stop listening: until then no other daemon takes them for dead, and puts
 * another file there between our look at the file and its removal.
 */
void endpoints_remove_files(struct endpoints *endpoints);

/*
 * Starts to serve all of them, each as its kind does. Returns 0 or the first failure's negative
 * errno: those before it are served then.
 */
int endpoints_start(struct endpoints *endpoints, const struct endpoint_context *context);

/* Whether any of them is served by a task that stays until it is stopped. */
bool endpoints_stay(const struct endpoints *endpoints);

/* Ends the tasks that stay. To be called once. */
void endpoints_stop(struct endpoints *endpoints);

/*
 * Closes what has not been taken over, frees what served the rest, removes the files of Unix
 * sockets that we have made and that are still the same, and frees the list.
 */
void endpoints_close(struct endpoints *endpoints);

#endif
