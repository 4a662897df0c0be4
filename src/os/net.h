/*
 * net.h - the socket calls. Each returns a value >= 0 or a negative errno.
 *
 * Apart from log.c, which sends its lines itself, pouch.c, which sends descriptors, datagram.c,
 * counts.c, which only asks the kernel, and http.c, whose sockets are its library's, this is the
 * only file with raw socket calls. Every
 * descriptor made here is non-blocking, and those of net_accept() apart, close-on-exec. A call that
 * a signal interrupts is repeated: -EINTR is never returned.
 */
#ifndef UVECHOD_NET_H
#define UVECHOD_NET_H

#include "os/addr.h"

#include <poll.h>
#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>

/*
 * Makes a socket that listens on addr, with a backlog as in listen(2): for IPv4 and IPv6 with
 * SO_REUSEADDR, for IPv6 with IPV6_V6ONLY, and with TCP_NODELAY, SO_OOBINLINE and, unless
 * keepalive_s is 0, net_set_keepalive(), which accepted sockets inherit. So a byte that the client
 * sends as urgent (MSG_OOB, send(2)) is received like all others, in its place.
 *
 * The file of a Unix socket has the permissions mode. A file that is there already is replaced if
 * it is a socket on which nobody listens. Any number of processes may try so at once: as long as
 * one listens there, or is about to, the others get -EADDRINUSE. Each has the path to itself by a
 * lock (flock(2)) on a file beside it, PATH.uvechod-lock, from its look at what is there until it
 * listens; so it must be allowed to make a second file there. Nobody waits for the lock. A
 * temporary name, made and then renamed, would need the lock as well, and be the name that the
 * kernel shows as the socket's address (ss(8), getsockname(2)) ever after. A program of another
 * kind that has bound the path and does not listen yet is taken for dead.
 *
 * Changes the umask of the process for a moment, so no other thread may make files meanwhile.
 *
 * Returns the descriptor, -EEXIST for a file that is no socket, -EADDRINUSE as said, or a negative
 * errno of socket(2), setsockopt(2), bind(2), listen(2), or for a path of open(2), flock(2) or
 * unlink(2).
 */
int net_listen(const union net_addr *addr, int backlog, mode_t mode, unsigned keepalive_s);

/*
 * Makes the kernel probe the peer of a TCP socket that has been silent for idle_s seconds, at most
 * NET_KEEPALIVE_MAX; 0 makes it stop that (tcp(7), SO_KEEPALIVE). A peer that answers none of
 * NET_KEEPALIVE_PROBES probes, a quarter of that time but at least one second apart, has vanished,
 * and the connection ends with ETIMEDOUT or what the network has said: after twice idle_s seconds
 * of silence, or idle_s + 4 where that is more. Bytes that the peer has not acknowledged are sent
 * again instead of probes, for about 15 minutes (tcp_retries2).
 *
 * The connections of a listening socket inherit this, so that it costs no call for each; those that
 * are waiting to be accepted already do not. Returns 0 or a negative errno of setsockopt(2).
 */
enum {
    NET_KEEPALIVE_PROBES = 4,
    NET_KEEPALIVE_MAX = 32767, /* the most that Linux takes, in seconds */
};
int net_set_keepalive(int fd, unsigned idle_s);

/*
 * Finds out what a descriptor that another program has made can be used for, and sets TCP_NODELAY
 * and SO_OOBINLINE if it is a TCP socket; connections that wait to be accepted from it already do
 * not inherit them any more. Returns NET_LISTENING or NET_CONNECTED for a stream socket of IPv4,
 * IPv6 or Unix, NET_DATAGRAM for one of UDP or a Unix one for datagrams, -EPROTONOSUPPORT for any
 * other kind of socket, or a negative errno of getsockopt(2), such as -ENOTSOCK.
 */
enum net_kind { NET_LISTENING, NET_CONNECTED, NET_DATAGRAM };
int net_inspect(int fd);

/* Stores the address that fd is bound to (getsockname(2)). Returns 0 or a negative errno. */
int net_local(int fd, union net_addr *addr);

/* Stores who is connected to fd (getpeername(2), SO_PEERCRED). Returns 0 or a negative errno. */
int net_remote(int fd, union net_peer *peer);

/*
 * Accepts one connection and stores its peer. Returns the descriptor of the connection, which stays
 * open when the process executes another program (takeover.h), and which the caller must close; or
 * a negative errno of accept(2): -EAGAIN when no connection is waiting.
 */
int net_accept(int fd, union net_peer *peer);

/*
 * Makes a datagram socket that is connected to a Unix address. Returns its descriptor, which the
 * caller must close, or a negative errno of socket(2) or connect(2).
 */
int net_connect_datagram(const union net_addr *addr);

/*
 * Receive at most len bytes into buf, or fill the buffers of iov one after the other. Return how
 * many bytes, 0 at the end of the stream, or a negative errno of recv(2): -EAGAIN when nothing has
 * arrived. The second is not inline, because its message on the stack would cost each message a
 * stack guard, 8 instructions, also where the first receives.
 */
ssize_t net_recv(int fd, void *buf, size_t len);
ssize_t net_recvv(int fd, struct iovec *iov, unsigned short count) __attribute__((noinline));

/*
 * Sends as many of len bytes as the kernel takes. Returns how many, or a negative errno of send(2):
 * -EAGAIN when the kernel takes none. Never raises SIGPIPE.
 */
ssize_t net_send(int fd, const void *buf, size_t len);

/*
 * Makes a pipe for net_splice(): what is written to *in can be read from *out. The kernel is asked
 * for room for so many bytes (fcntl(2), F_SETPIPE_SZ), but may give less, down to 64 KiB. Returns
 * 0, a negative errno of pipe2(2), or -EMFILE if the user has so many pipes that a further pipe
 * would have less room than that (pipe(7), pipe-user-pages-soft).
 */
int net_pipe(int *out, int *in, int bytes);

/*
 * Moves at most len bytes from one descriptor to the other without copying them (splice(2)). One of
 * the two must be a pipe. Returns how many bytes, 0 at the end of the stream, or a negative errno:
 * -EAGAIN when the call would have to wait, -EINVAL when one of the two cannot be spliced.
 */
ssize_t net_splice(int from, int to, size_t len);

/*
 * Whether one of the events of poll(2) has come to fd, or an error or a hangup. Does not wait.
 * False if the kernel does not say.
 */
bool net_ready(int fd, short events);

/*
 * The same of many descriptors at once: stores in the revents of each what poll(2) says. Returns 0,
 * or a negative errno of poll(2), such as -EINVAL for more of them than RLIMIT_NOFILE allows.
 */
int net_look(struct pollfd *list, size_t count);

/*
 * How many bytes have been sent and not acknowledged or, to a Unix socket, not received (SIOCOUTQ;
 * tcp(7), unix(7)); there, buffers are counted as a whole until their last byte has been received.
 * 0 if the kernel does not say.
 */
size_t net_unsent(int fd);

/*
 * How many milliseconds ago, at the least, data went over a TCP connection in either direction
 * (TCP_INFO, tcp(7)); keepalive probes are no data. 0 for another socket: its kernel side keeps no
 * such times.
 */
uint32_t net_moved_ms(int fd);

/*
 * Stores the number that the kernel gives to a socket and, until the machine starts anew, to no
 * other one (SO_COOKIE; since Linux 4.12). It stays the same in another process and as another
 * descriptor. Returns 0 or a negative errno of getsockopt(2).
 */
int net_cookie(int fd, uint64_t *cookie);

/* Ends the sending side with a FIN (shutdown(2)). Returns 0 or a negative errno. */
int net_shutdown_send(int fd);

/*
 * From now on, closing fd throws away what has not been sent, and sends a TCP peer a reset instead
 * of a FIN (SO_LINGER; socket(7)). Changes nothing for a Unix socket.
 */
void net_discard(int fd);

/*
 * Makes a duplicate of fd whose number is at least lowest (fcntl(2), F_DUPFD_CLOEXEC). Returns it,
 * or a negative errno: -EMFILE if no such number is free, -EINVAL if lowest is beyond
 * RLIMIT_NOFILE.
 */
int net_dup_above(int fd, int lowest);

/* Returns how many bytes can be read from a pipe (FIONREAD, pipe(7)), or a negative errno. */
int net_piped(int fd);

/* Leaves fd open when the process executes another program (execve(2)). */
void net_survive_exec(int fd);

/* Closes fd. There is no result: after an error the descriptor is gone as well (close(2)). */
void net_close(int fd);

#endif
