/*
 * net.h - the socket calls, each returning a value >= 0 or a negative errno.
 *
 * This is the only file with raw socket calls, so it is the only one that tests must wrap.
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

/* An IPv4 or IPv6 address with its port; 28 bytes, where a sockaddr_storage has 128. */
union net_addr {
    struct sockaddr sa;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
};

/* Enough for net_format(): "[", an IPv6 address, "%", a zone, "]:", a port and the NUL. */
#define NET_ADDR_STRLEN 80

/* The wildcard address of family AF_INET or AF_INET6, port 0. */
union net_addr net_any(sa_family_t family);

/* The port, in host byte order. */
uint16_t net_port(const union net_addr *addr);
void net_set_port(union net_addr *addr, uint16_t port);

/* Writes "192.0.2.1:80" or "[2001:db8::1]:80" to buf (RFC 3986, 3.2.2); returns buf. */
const char *net_format(const union net_addr *addr, char buf[static NET_ADDR_STRLEN]);

/*
 * Finds the stream addresses of a numeric address or a name, port 0, and stores up to max of
 * them. Returns how many, or a negative EAI_* code for gai_strerror() (see getaddrinfo(3)).
 */
int net_resolve(const char *name, union net_addr *addrs, int max);

/*
 * A listening socket on addr: SO_REUSEADDR, for IPv6 IPV6_V6ONLY, and TCP_NODELAY, which accepted
 * sockets inherit. backlog as in listen(2). Returns the descriptor or a negative errno of
 * socket(2), setsockopt(2), bind(2) or listen(2).
 */
int net_listen(const union net_addr *addr, int backlog);

/* The address that fd is bound to (getsockname(2)). Returns 0 or a negative errno. */
int net_local(int fd, union net_addr *addr);

/*
 * Accepts one connection; stores its peer. Returns its descriptor or a negative errno of
 * accept(2), where -EAGAIN says that none is waiting.
 */
int net_accept(int fd, union net_addr *peer);

/*
 * Receives at most len bytes into buf, or into the iov in order. Returns how many, 0 at the end
 * of the stream, or a negative errno of recv(2); -EAGAIN when nothing has arrived.
 */
ssize_t net_recv(int fd, void *buf, size_t len);
ssize_t net_recvv(int fd, struct iovec *iov, size_t count);

/*
 * Sends what the kernel takes of len bytes. Returns how many, or a negative errno of send(2);
 * -EAGAIN when it takes none. Never raises SIGPIPE.
 */
ssize_t net_send(int fd, const void *buf, size_t len);

/* Ends the sending side with a FIN (shutdown(2)). Returns 0 or a negative errno. */
int net_shutdown_send(int fd);

/* A duplicate of fd whose number is at least lowest, or a negative errno (F_DUPFD, fcntl(2)). */
int net_dup_above(int fd, int lowest);

/* Closes fd. Errors are not told: the descriptor is gone in any case (close(2)). */
void net_close(int fd);

#endif
