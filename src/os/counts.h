/*
 * counts.h - how many bytes a process has taken out of a TCP connection and put into it, as the
 * kernel knows it.
 *
 * A process that dies between a recv(2) and the note that it makes of it cannot say what it has
 * read. The kernel can: what has arrived, less what is still unread, has been read, and what has
 * been acknowledged, with what is still to be acknowledged, has been sent. So a successor knows
 * where to go on. The counts are exact or not given at all, because one byte too many or too few
 * makes all later bytes of the answer wrong.
 */
#ifndef UVECHOD_COUNTS_H
#define UVECHOD_COUNTS_H

#include <stdbool.h>
#include <stdint.h>

/* Bytes since the connection was made, and whether we have ended our side of it. */
struct counts {
    uint64_t in;  /* which recv(2) or splice(2) has taken out of the socket; peeking takes none */
    uint64_t out; /* which send(2) or splice(2) has put into it, whether the peer has them or not */
    bool ended;   /* shutdown(2) has been called */
};

/*
 * Stores the counts of fd, a TCP connection that accept(2) has returned: the socket that has called
 * connect(2) counts its SYN as a byte that was sent, and nothing tells the two apart. SO_OOBINLINE
 * (socket(7)) must have been set since before the first byte came, and nobody else may receive from
 * fd or send to it meanwhile. The peer may: what it changes makes the kernel be asked again.
 *
 * Takes five system calls when nothing changes. Returns 0 and exact counts, or stores nothing and
 * returns
 *
 *   -EOPNOTSUPP  for another socket than one of TCP: nobody counts the bytes of a Unix socket, and
 *                of MPTCP one sees one of several paths; for a TCP socket without SO_OOBINLINE,
 *                whose urgent bytes are counted and never read; and for a kernel that does not tell
 *                all of this (before Linux 4.1);
 *   -ENOTCONN    in a state in which the numbers do not mean this, below;
 *   -EAGAIN      if the numbers never stood still, however often the kernel was asked;
 *   or a negative errno of getsockopt(2) or ioctl(2).
 *
 * The kernel counts a FIN as a byte in either direction (RFC 9293, 3.4). The peer's has been
 * counted in CLOSE-WAIT, LAST-ACK and CLOSING, and ours from shutdown(2) on, in FIN-WAIT-1,
 * FIN-WAIT-2, LAST-ACK and CLOSING: there and in ESTABLISHED the counts are exact. In CLOSED they
 * are not, because a connection that was reset does not tell whether a FIN came before. No byte can
 * be sent any more there, so nobody needs them: CLOSED is also what Linux calls a connection that
 * both sides have ended (TIME-WAIT). Before ESTABLISHED (SYN-RECEIVED, where TCP Fast Open accepts
 * a connection) the kernel says 0 for the bytes that are unread.
 *
 * Source: tcp(7) for SIOCINQ and SIOCOUTQ; RFC 4898, tcpEStatsAppHCThruOctetsReceived and
 * tcpEStatsAppHCThruOctetsAcked, for the other two numbers, which TCP_INFO has.
 */
int counts_get(int fd, struct counts *counts);

#endif
