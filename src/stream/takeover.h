/*
 * takeover.h - what a process finds that goes on with the connections of another one: sockets that
 * are open already, and the ledger of its predecessor.
 *
 * For each descriptor, the ledger and the kernel say together what it is:
 * - a listening or datagram socket, or an end of a pipe, which the predecessor has noted as such;
 * - a connection that the predecessor served. Its entry is brought in order: what was received and
 *   not answered becomes an answer that is under way, by the record of the predecessor. From then
 *   on the record is not needed any more, and options that have changed do no harm;
 * - a connection that was accepted, and that no entry knows yet. It has moved no byte, and begins
 *   like any other;
 * - a connection that the predecessor had done with and not closed yet. It is closed;
 * - the epoll descriptor of a loop, which has outlived its process: to close one costs a
 *   microsecond for each connection that it watches, and execve(2) would spend this time while
 *   nobody is served. So its watches are ended one by one, each before the connection gets another;
 * - something else, which the process has inherited. It is left alone.
 *
 * Of an orphan, which no entry serves, the address must be that of a listener: so nothing that was
 * inherited is taken for a connection of ours. To bring an entry in order twice changes nothing, so
 * a process may end at any moment of it, and its successor begins again.
 *
 * What is found is handed over one after the other, and clients are served meanwhile. So those come
 * first that can go on at once: input has come, or room for the answer that is under way. The
 * others have to be looked at again and again, because they may speak before their turn comes.
 * Whatever has not been handed over when this process ends is found by the next one.
 *
 * The exception to "no byte is lost" is a Unix socket whose answer stands in a buffer. Nobody
 * counts its bytes, so nobody knows how much of the answer has gone: it is ended, and on_cut is
 * told. The same if a header of a proxy was being read there.
 *
 * An input may be the cause of a crash. After a crash for which the process itself is to blame, the
 * ledger notes each connection whose input had been received and not been answered: at most one for
 * each thread, because these were being served. If the next crash finds one of them at the same
 * place, with nothing of its answer sent, the connection is cut: so no client can hold up all
 * others for long. Unix sockets are not counted, and so never blamed.
 */
#ifndef UVECHOD_TAKEOVER_H
#define UVECHOD_TAKEOVER_H

#include "os/net.h"
#include "stream/conn.h"
#include "stream/ledger.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The error of a connection that has been served at two crashes in a row. */
enum { TAKEOVER_BLAMED = -ENOTRECOVERABLE };

/* A listening socket of the predecessor. */
struct takeover_listener {
    int fd;
    struct ledger_state noted; /* as ledger_keep() has noted it */
    union net_addr bound;
    bool datagram; /* it is a datagram socket */
};

struct takeover {
    struct ledger *ledger;
    struct services services;
    bool blames;     /* set by the caller: the predecessor has crashed, and not been killed */
    size_t suspects; /* of this crash, noted in the ledger so far */
    struct ledger_suspect before[LEDGER_SUSPECTS_MAX]; /* of the crash before */
    int end;                                           /* no descriptor is as high */
    struct takeover_listener *listeners;               /* in the order of their descriptors */
    size_t listening;                                  /* how many */
    struct accepted *list;                             /* connections; the last one is the next */
    size_t count;
    struct accepted *ready; /* room for as many, */
    struct pollfd *polled;  /* and for what the kernel says of each */
    int *loops;             /* epoll descriptors of the predecessor, or of several */
    size_t loops_count;
    size_t look_at;    /* with so many left, the next look is due */
    size_t undated;    /* how many at the beginning of the list have no date yet */
    uint64_t found_ms; /* to which the dates refer, on the clock of uv_hrtime() */
    /* A connection could not be gone on with, and is about to be closed. error is why. */
    void (*on_cut)(struct takeover *takeover, const union net_peer *peer, int error);
    bool dates;
};

/*
 * Finds what there is. The ledger is one of ledger_attach() that is not settled, and its services
 * are those of the list. on_cut is set, and blames; all else is zero. With dates, takeover_next()
 * asks the kernel how long each connection has been silent, which costs a call for each. Returns 0,
 * -ENOMEM, or a negative errno of descriptors_end() or, for a listening socket, of net_inspect() or
 * net_local(); takeover_free() must be called in either case.
 *
 * The descriptors are the caller's then. Needs at most eight system calls for a connection with an
 * answer under way, none for any other that has an entry, one for all of them together, and up to
 * two for each number that no connection has.
 */
int takeover_find(struct takeover *takeover, struct ledger *ledger, const struct services *services,
                  bool dates);

/*
 * Takes the next connection from the list and stores it, with its peer. First come those that can
 * go on at once, as far as a look at all shows: there is another look when these and an eighth of
 * all have been taken since the last one, so that all looks together cost as much as eight at
 * everything. Then come the others, with dates the longest silent last, as conn_open() wants them.
 * Those whose peer has gone are cut and left out. Two system calls at most, and one for each loop
 * of the predecessor.
 *
 * Returns false if the list is empty, or if this call has been spent on asking for dates: clients
 * should be served before the next call then.
 */
bool takeover_next(struct takeover *takeover, struct accepted *accepted);

/*
 * Copies what was found to another ledger, because that of the predecessor has no room for what is
 * wanted now. A connection for which there is no memory is cut. The predecessor's ledger may be
 * closed then.
 */
void takeover_move(struct takeover *takeover, struct ledger *to);

/* Frees the lists, which are empty then, and closes the loops. Whatever was in them is as it was.
 */
void takeover_free(struct takeover *takeover);

#endif
