/*
 * addr.h - addresses of sockets: making them, reading them and writing them as text.
 *
 * The functions are named net_..., because net.h includes this file and they belong to it.
 */
#ifndef UVECHOD_ADDR_H
#define UVECHOD_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

/*
 * Who is connected. It has the 28 bytes of an IPv6 address, where a sockaddr_storage has 128: every
 * connection keeps one.
 */
union net_peer {
    struct sockaddr sa;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct {
        sa_family_t family; /* AF_UNIX; the clients of Unix sockets seldom have an address */
        pid_t pid;
        uid_t uid;
    } un;
};

/* What a socket is bound to: an IPv4 or IPv6 address with its port, or a Unix socket's address. */
union net_addr {
    struct sockaddr sa;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_un un;
};

/* Enough bytes for the text of net_format() and net_format_peer(), with the NUL. */
#define NET_ADDR_STRLEN 128

/* The wildcard address of family AF_INET or AF_INET6, port 0. */
union net_addr net_any(sa_family_t family);

/*
 * Writes the address of the Unix socket path, or of the abstract socket that path names as "@name"
 * (unix(7)), to *addr. Returns 0, -EINVAL for an empty path or name, or -ENAMETOOLONG for a path of
 * 108 bytes or more.
 */
int net_unix(const char *path, union net_addr *addr);

/* The path of a Unix socket in the file system; NULL for every other address. It is part of addr.
 */
const char *net_unix_path(const union net_addr *addr);

/* How many bytes of addr the kernel must be given: the last parameter of bind(2) and connect(2). */
socklen_t net_addr_len(const union net_addr *addr);

/* The port, in host byte order. Unix sockets have none: it is 0, and setting it does nothing. */
uint16_t net_port(const union net_addr *addr);
void net_set_port(union net_addr *addr, uint16_t port);

/*
 * Whether a socket that listens on one address may have accepted a connection whose own end is the
 * other: it is the same address, or the wildcard of its family with the same port.
 */
bool net_accepts(const union net_addr *listening, const union net_addr *own);

/*
 * Write "192.0.2.1:80", "[2001:db8::1]:80" (RFC 3986, 3.2.2), "unix:/path" or "unix:@name" to
 * buf, and for the peer of a Unix socket "unix:pid=1,uid=0". Return buf.
 */
const char *net_format(const union net_addr *addr, char buf[static NET_ADDR_STRLEN]);
const char *net_format_peer(const union net_peer *peer, char buf[static NET_ADDR_STRLEN]);

/*
 * Finds the addresses for streams of a numeric address or a name, and stores up to max of them,
 * with port 0. Asks the network for a name, and waits for the answer. Returns how many addresses it
 * stored, or a negative EAI_* code for gai_strerror() (see getaddrinfo(3)).
 */
int net_resolve(const char *name, union net_addr *addrs, int max);

#endif
