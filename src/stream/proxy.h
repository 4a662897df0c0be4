/*
 * proxy.h - the step in front of a handler that receives the header of a proxy.
 *
 * A connection from a source that the rules name begins with a header (proxy_header.h). Its task
 * receives that first, not a byte more, and then goes on with the first step of its handler, which
 * sees the client's bytes alone. A handler need know nothing of this.
 *
 * What has come of a header stands in a buffer of the ledger, so a successor of this process goes
 * on with it, whatever has ended this process: ledger.h, LEDGER_HEADER. A connection that has sent
 * nothing needs no buffer. The time that a header may take counts from the accept, and once more
 * from the beginning of a successor; the reaper watches it.
 *
 * The name of the client stands behind the handler's frame, which connections without a header do
 * not pay for, and in the ledger for a successor (struct ledger_client), unless it is the path of a
 * Unix socket. It is for the log alone: limits and everything else that a connection is told apart
 * by go by the proxy.
 */
#ifndef UVECHOD_PROXY_H
#define UVECHOD_PROXY_H

#include "os/addr.h"
#include "os/cidr.h"
#include "task/task.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct conn;

/* Whose connections begin with a header. */
struct proxy_rules {
    const struct cidr *from; /* networks, count of them */
    size_t count;
    bool local;          /* every peer of a Unix socket, too */
    unsigned timeout_ms; /* how long a header may take; 0: for ever */
};

/* What becomes of a header. Counted for each; their numbers stand in ledgers. */
enum proxy_result {
    PROXY_CLIENT,    /* it has named the client */
    PROXY_ANONYMOUS, /* it has named none, such as that of a health check */
    PROXY_BAD,       /* it was wrong, or the proxy ended its stream in the middle of it */
    PROXY_LATE,      /* it was not whole in time */
    PROXY_RESULTS
};

/* What a connection behind a proxy has behind the frame of its handler. */
struct proxied {
    union net_addr client; /* once the header is whole; AF_UNSPEC: it has named none */
    char *bytes;           /* of the header, in a buffer of the ledger; NULL: there is none */
    uint32_t have;         /* how many of them */
    uint32_t looked;       /* how many when the reaper last looked at it */
};

/* Whether the connections of this peer begin with a header. */
bool proxy_rules_name(const struct proxy_rules *rules, const union net_peer *peer);

/*
 * The client of a new frame, before which frame_size bytes of the handler stand: as a predecessor
 * has known it, or AF_UNSPEC.
 */
void proxy_set_client(struct conn *conn, size_t frame_size, const union net_addr *client);

/* The first step of such a connection. It goes on in the first step of the handler. */
struct yield proxy_start(struct task *task);

/*
 * Returns the step in which the connection of a predecessor goes on whose entry is a LEDGER_HEADER.
 * So many bytes of the header have been received that the entry does not know of. Returns NULL
 * without memory.
 */
task_step *proxy_resume(struct conn *conn, uint32_t unnoted);

/*
 * For the reaper, when the time for the header is up: whether the header is late. It is not yet
 * while the task has not been able to receive what has come: conn_spare(). Once the task has
 * received bytes after a look, all that had come in time is known, and a peer that sends a byte at
 * a time gains nothing. At most one system call.
 */
bool proxy_is_late(struct conn *conn);

/* Its time is up: counts and tells that, and resets the connection. Not for its own step. */
void proxy_end_late(struct conn *conn);

/* Gives the buffer of the header back, if there is one. For the end of the connection. */
void proxy_release(struct conn *conn);

/* The client that a header has named; NULL: none is known. */
const union net_addr *proxy_client(const struct conn *conn);

#endif
