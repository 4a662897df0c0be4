/*
 * sources.h - how many connections each source has, so that no source has more than it may.
 *
 * A source is an IPv4 address, which may be mapped into an IPv6 address (RFC 4291, 2.5.5.2); or the
 * first 64 bits of an IPv6 address, because a host chooses the others as it likes (RFC 8981); or
 * the user at the other end of a Unix socket.
 *
 * The memory is fixed when the set is opened. There cannot be more sources than connections, so
 * that is enough: no source is ever refused because of other sources. The sources of a kind are
 * the leaves of a binary tree. Each of its forks is about one bit of the address, so that at most
 * 64 forks lie above a source, whatever addresses an attacker has. A hash table would have to be
 * keyed by a secret for that.
 *
 * Connections are accepted on one thread and end on any, so a lock protects the tree. It is taken
 * when a connection begins and ends, not for its messages.
 */
#ifndef UVECHOD_SOURCES_H
#define UVECHOD_SOURCES_H

#include "os/net.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

enum source_kind { SOURCE_IPV4, SOURCE_IPV6, SOURCE_USER, SOURCE_KINDS };

struct source_node; /* a source or a fork */

struct sources {
    uv_mutex_t lock;           /* of all that is below, but for refused and refused_peer */
    struct source_node *nodes; /* 0 is not used: it stands for no node */
    uint32_t roots[SOURCE_KINDS];
    uint32_t released;           /* the first of the nodes that are free again */
    uint32_t fresh;              /* the first of the nodes that have never been used */
    uint32_t end;                /* how many nodes there are */
    unsigned max;                /* connections of one source */
    uint64_t refused;            /* connections; only for the thread that calls sources_enter() */
    union net_peer refused_peer; /* of the last of them */
};

/* What becomes of a connection whose source has enough already: closed, and counted for itself. */
enum { SOURCES_REFUSED = -EUSERS };

/*
 * Opens a set without connections, for at most room of them (1 to 2^30) at the same time and max
 * of one source. Returns 0, -ENOMEM or a negative errno of uv_mutex_init(), with nothing open.
 */
int sources_open(struct sources *sources, size_t room, unsigned max);

/* Frees the memory. No thread may use the set any more. */
void sources_close(struct sources *sources);

/*
 * Counts a connection for the source of its peer. Returns true, and sources_leave() must be called
 * before its descriptor is closed; or false if the source has max connections already, and counts
 * a refusal. Must be called by one thread only.
 */
bool sources_enter(struct sources *sources, const union net_peer *peer);

/*
 * A connection that sources_enter() has counted ends. To be called before its descriptor is closed:
 * a client that sees the end may come again at once. From any thread.
 */
void sources_leave(struct sources *sources, const union net_peer *peer);

#endif
