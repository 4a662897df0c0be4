/*
 * net.h - the socket calls, each returning a value >= 0 or a negative errno.
 *
 * This is the only file with raw socket calls (but for one way to write the log), so it is the
 * only one that tests must wrap.
 * Every descriptor made here is close-on-exec and non-blocking. A call that a signal interrupts
 * is repeated: -EINTR is never returned.
 */
#ifndef UVECHOD_NET_H
#define UVECHOD_NET_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/un.h>

/* Who has connected, in the 28 bytes of an IPv6 address, where a sockaddr_storage has 128. */
union net_peer {
    struct sockaddr sa;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct {
        sa_family_t family; /* AF_UNIX, whose clients have no address worth telling */
        pid_t pid;
        uid_t uid;
    } un;
};

/* What a socket is bound to: an IPv4 or IPv6 address with its port, or a Unix socket's. */
union net_addr {
    struct sockaddr sa;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_un un;
};

/* Enough for net_format() and net_format_peer(), with the NUL. */
#define NET_ADDR_STRLEN 128

/* The wildcard address of family AF_INET or AF_INET6, port 0. */
union net_addr net_any(sa_family_t family);

/*
 * The address of the Unix socket path, or of the abstract one that path names as "@name"
 * (unix(7)). Returns 0, -EINVAL for an empty path or name or -ENAMETOOLONG for 108 bytes or more.
 */
int net_unix(const char *path, union net_addr *addr);

/* The path in the file system of a Unix socket's address; NULL if it has none. */
const char *net_unix_path(const union net_addr *addr);

/* The port, in host byte order; Unix sockets have none (0), and setting it does nothing. */
uint16_t net_port(const union net_addr *addr);
void net_set_port(union net_addr *addr, uint16_t port);

/*
 * Writes "192.0.2.1:80", "[2001:db8::1]:80" (RFC 3986, 3.2.2), "unix:/path" or "unix:@name" to
 * buf, for a peer of a Unix socket "unix:pid=1,uid=0"; returns buf.
 */
const char *net_format(const union net_addr *addr, char buf[static NET_ADDR_STRLEN]);
const char *net_format_peer(const union net_peer *peer, char buf[static NET_ADDR_STRLEN]);

/*
 * Finds the stream addresses of a numeric address or a name, port 0, and stores up to max of
 * them. Returns how many, or a negative EAI_* code for gai_strerror() (see getaddrinfo(3)).
 */
int net_resolve(const char *name, union net_addr *addrs, int max);

/*
 * A listening socket on addr: for IPv4 and IPv6 with SO_REUSEADDR, for IPv6 IPV6_V6ONLY, and
 * TCP_NODELAY, which accepted sockets inherit. A Unix socket's file gets the permissions mode;
 * one that stands there already is replaced if it is a socket that nobody listens on (of two
 * daemons that start on one path in the same moment, either may win). backlog as
 * in listen(2). Returns the descriptor, -EEXIST for a file that is no socket, or a negative errno
 * of socket(2), setsockopt(2), bind(2), chmod(2) or listen(2).
 */
int net_listen(const union net_addr *addr, int backlog, mode_t mode);

/*
 * What a descriptor that somebody else made can be used for: NET_LISTENING or NET_CONNECTED, both
 * of a stream of IPv4, IPv6 or Unix; -EPROTONOSUPPORT for another kind of socket, or a negative
 * errno of getsockopt(2), such as -ENOTSOCK. Either is given TCP_NODELAY where it applies.
 */
enum net_kind { NET_LISTENING, NET_CONNECTED };
int net_inspect(int fd);

/* The address that fd is bound to (getsockname(2)). Returns 0 or a negative errno. */
int net_local(int fd, union net_addr *addr);

/* Who is connected to fd (getpeername(2), SO_PEERCRED). Returns 0 or a negative errno. */
int net_remote(int fd, union net_peer *peer);

/*
 * Accepts one connection; stores its peer. Returns its descriptor or a negative errno of
 * accept(2), where -EAGAIN says that none is waiting.
 */
int net_accept(int fd, union net_peer *peer);

/* A datagram socket connected to a Unix address, or a negative errno of socket or connect(2). */
int net_connect_datagram(const union net_addr *addr);

/*
 * Receives at most len bytes into buf, or into the iov in order. Returns how many, 0 at the end
 * of the stream, or a negative errno of recv(2); -EAGAIN when nothing has arrived.
 */
ssize_t net_recv(int fd, void *buf, size_t len);
ssize_t net_recvv(int fd, struct iovec *iov, unsigned short count);

/*
 * Sends what the kernel takes of len bytes. Returns how many, or a negative errno of send(2);
 * -EAGAIN when it takes none. Never raises SIGPIPE.
 */
ssize_t net_send(int fd, const void *buf, size_t len);

/*
 * A pipe for net_splice(), asked to hold bytes (fcntl(2), F_SETPIPE_SZ); it may hold less,
 * down to 64 KiB. Returns 0, a negative errno of pipe2(2), or -EMFILE where the user has so many
 * pipes that a further one would hold less (pipe(7), pipe-user-pages-soft).
 */
int net_pipe(int *out, int *in, int bytes);

/*
 * Moves at most len bytes from one descriptor to the other, one of which is a pipe, without
 * copying them (splice(2)). Returns how many, 0 at the end of the stream, or a negative errno:
 * -EAGAIN when it would have to wait, -EINVAL when one of them cannot be spliced.
 */
ssize_t net_splice(int from, int to, size_t len);

/*
 * Whether one of the events of poll(2) has come to fd, or an error or a hangup. Does not wait.
 * False if the kernel does not say.
 */
bool net_ready(int fd, short events);

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

/* Ends the sending side with a FIN (shutdown(2)). Returns 0 or a negative errno. */
int net_shutdown_send(int fd);

/* A duplicate of fd whose number is at least lowest, or a negative errno (F_DUPFD, fcntl(2)). */
int net_dup_above(int fd, int lowest);

/* Closes fd. Errors are not told: the descriptor is gone in any case (close(2)). */
void net_close(int fd);

#endif
