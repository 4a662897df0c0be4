/*
 * socket.h - one connection as the kernel keeps it: the bytes on their way in both directions as
 * counts, never as bytes, and what the daemon has been told of it.
 *
 * What a byte is follows from the client and the byte's place in its stream. So the kernel makes
 * the bytes when the daemon receives them, and verifies the answer in the moment in which the
 * daemon sends it (answers.c).
 */
#ifndef UVECHOD_SIM_SOCKET_H
#define UVECHOD_SIM_SOCKET_H

#include "base/list.h"
#include "os/net.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct header;
struct listening;

/* The answer that the daemon owes for its last read. */
struct answer {
    uint64_t offset; /* in the client's stream, of the first byte that was read */
    uint64_t read;   /* bytes that were read */
    uint64_t length; /* of the answer, with its prefixes */
    uint64_t sent;   /* of it */
    bool piped;      /* it stands in a pipe, not in a buffer */
};

/* Why the kernel thinks that a connection ends. */
enum socket_reason {
    REASON_NONE,  /* nobody has a reason yet */
    REASON_ERROR, /* a call has told the end of the stream or an error: socket.error */
    REASON_IDLE,
    REASON_DRAIN,  /* the deadline of the drain, or a second signal */
    REASON_EITHER, /* idle, or drained: both were due */
    REASON_STUCK,  /* it took no answer for too long */
};

struct socket {
    struct list link;                    /* among the sockets that the daemon has */
    struct list told;                    /* among those that a loop has told, in order */
    void (*stir)(struct socket *socket); /* the daemon has done something: the client may react */
    struct listening *at;                /* where it has connected */
    unsigned client;                     /* number of the client, which says what its bytes are */
    unsigned serial;                     /* of the connection: its peer address */
    int fd;                              /* -1: not accepted yet, or closed by the daemon */
    bool accepted;                       /* the daemon has or had it */
    bool served;                         /* a loop watches or watched it */
    bool given;                          /* a worker has or had it */
    unsigned worker;                     /* which one */
    bool closed;                         /* by the daemon */
    bool logged;                         /* the line "Connection from" has come */
    bool ended;                          /* the line "Connection closed" has come */

    /* From the client to the daemon. */
    uint64_t written;      /* arrived at the kernel */
    uint64_t received;     /* by the daemon */
    uint32_t receive_room; /* how many may be unread */
    bool fin;              /* the client has ended its stream */
    bool urgent;           /* the byte at urgent_at is urgent, and has not been received */
    uint64_t urgent_at;

    /* From the daemon to the client. */
    uint64_t sent;      /* taken by the kernel */
    uint64_t acked;     /* arrived at the client's kernel */
    uint64_t taken;     /* read by the client */
    uint32_t send_room; /* how many may be unacknowledged */
    uint32_t window;    /* how many may have arrived and not been read */
    bool shut;          /* the daemon has ended its stream */
    bool lacked_room;   /* the last send took less than it was given; no event has come since */

    int broken;        /* 0, or the errno that the peer's reset or silence means */
    bool broken_told;  /* a call has returned that errno */
    bool keeps_unread; /* what has arrived before a reset can still be received */
    int unspliceable;  /* 0, or the errno that splice(2) returns for it */

    /* The header of a proxy: fates.h. */
    const struct header *header; /* with which its stream begins; NULL: it sends none */
    bool headed;                 /* the daemon awaits one */
    bool passed;                 /* it is over, as the entry says */
    bool named;                  /* and this process knows the client from it */
    uint64_t header_us;          /* since when the daemon has waited for it at the most, */
    uint64_t header_served_us;   /* and at the least */

    struct answer answer;
    enum socket_reason reason;
    int error;          /* of REASON_ERROR: 0 or a negative errno */
    uint64_t moved_us;  /* when the last byte moved, in either direction */
    uint64_t active_us; /* the same, as far as the daemon can know: without bytes that it has not
                           received yet */
    uint64_t accepted_us;
    uint64_t stuck_us;  /* since when the client has taken no byte of those that the kernel holds */
    uint64_t looked_us; /* when the daemon looked whether it is idle; 0: it has not */
    uint64_t looked_active_us; /* active_us then */
    uint64_t looked_stuck_us;  /* since when its client was stuck then */
    bool looked_ready;         /* what it waits for had come, by the first call of the look */
    bool looked_begun;         /* net_ready() was called, and net_unsent() not yet */
    uint64_t shut_us;
    uint64_t accepted_turn;
    bool counted;   /* among those that were served */
    bool orphan;    /* its process has ended, and no loop of the successor watches it */
    bool survivor;  /* its process has ended once */
    bool left;      /* its entry says that its descriptor is about to be closed */
    bool ending;    /* its entry says that it is being ended */
    bool uncounted; /* nobody knows how much of its answer has been sent */
    bool discards;  /* its close throws away what has not been taken */
    bool is_told;
    unsigned told_by; /* which loop has told it */
    unsigned starved; /* passes in which it was ready and armed and was not served */
};

/* ---- the client's side ---- */

/* Makes it a connection that has not been accepted. Its rooms and stir are set by the caller. */
void socket_init(struct socket *socket, unsigned client, unsigned serial);

/* Bytes arrive at the daemon's kernel; at most socket_room(). */
void socket_arrive(struct socket *socket, uint64_t bytes);
uint64_t socket_room(const struct socket *socket);

/* The end of the client's stream arrives. */
void socket_finish(struct socket *socket);

/* A reset arrives, or the kernel gives up: error is ECONNRESET, ETIMEDOUT or EPIPE. */
void socket_break(struct socket *socket, int error);

/* Up to so many bytes of the answer arrive at the client; returns how many. */
uint64_t socket_deliver(struct socket *socket, uint64_t bytes);

/* ---- the daemon's side ---- */

/* The socket behind fd, which the daemon is about to receive from or send to. */
struct socket *socket_serve(int fd);

/* The same without that. */
struct socket *socket_of(int fd);

/* What epoll reports of it. */
unsigned socket_ready(const struct socket *socket);

uint64_t socket_unread(const struct socket *socket);
uint64_t socket_unacked(const struct socket *socket);

/* What the kernel says of the unacknowledged bytes (net_unsent()). */
uint64_t socket_counted(const struct socket *socket);

/* Bytes of the answer that have not been sent. */
uint64_t socket_owed(const struct socket *socket);

/* How many bytes can be received or sent now, 0 for the end, or why none: a negative errno. */
ssize_t socket_may_receive(struct socket *socket, uint64_t most);
ssize_t socket_may_send(struct socket *socket, uint64_t most);

/* The daemon has received so many bytes, which it must answer; or sent so many, verified. */
void socket_received(struct socket *socket, uint64_t bytes, bool piped);
void socket_sent(struct socket *socket, uint64_t bytes);

/* A call tells the daemon that the connection ends: 0 or a negative errno. Returns it. */
ssize_t socket_tell_end(struct socket *socket, int error);

/* The daemon closes it. */
void socket_close(struct socket *socket);

/* The process of the daemon has ended, and the socket is still open. */
void socket_outlive(struct socket *socket);

/* ---- all sockets that the daemon has ---- */

void sockets_begin(void);
struct list *sockets_open(void);
unsigned sockets_count(void); /* of them */

/* Whether a successor has not come to serve all that its predecessor has left. */
bool sockets_orphaned(void);

/* Puts an accepted connection among them. The second one: with a descriptor of its own. */
void sockets_add(struct socket *socket);
void socket_pass(struct socket *socket);

/*
 * How many other connections the source of this one has; or only those that are served and not
 * about to end: of an IPv4 address, an IPv6 network or the user of a Unix socket.
 */
unsigned sockets_of_source(const struct socket *socket, bool ending);

/* What the kernel has counted, for the statistics. */
struct socket_counts {
    uint64_t served, refused, over_source, bytes_in, bytes_out, messages, accepted, spoke, refusals;
    uint64_t lost; /* that a predecessor has served, and no successor */
};
struct socket_counts *sockets_counts(void);

#endif
