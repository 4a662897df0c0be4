/*
 * target.h - the server's address, and the addresses to connect from.
 *
 * Does not use uvechod's os/net.h: a test tool must not share the code that it tests.
 */
#ifndef ECHOLOAD_TARGET_H
#define ECHOLOAD_TARGET_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

enum { TARGET_SOURCES_MAX = 65000 };

struct target {
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
        struct sockaddr_un un;
    } addr;
    socklen_t addr_len;
    uint32_t sources; /* how many addresses from 127.0.0.1 on to connect from; 0: do not bind */
};

/*
 * Understands HOST:PORT, [IPV6]:PORT and unix:PATH. Returns NULL, or says in words what is wrong
 * with text. Resolves names (getaddrinfo(3)).
 */
const char *target_parse(struct target *target, const char *text);

/*
 * Makes a non-blocking socket that connects from the source address that belongs to this serial
 * number. *connected says whether it is connected already. Returns the descriptor, which the caller
 * must close, or a negative errno.
 */
int target_connect(const struct target *target, uint64_t serial, bool *connected);

/*
 * Makes a non-blocking UDP socket that is connected from the source address that belongs to this
 * serial number, and has room for so many bytes that wait to be received, as far as we may. Returns
 * the descriptor, which the caller must close, or a negative errno of socket(2), setsockopt(2),
 * bind(2) or connect(2).
 */
int target_connect_udp(const struct target *target, uint64_t serial, int queue);

#endif
