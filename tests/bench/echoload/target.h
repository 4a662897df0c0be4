/*
 * target.h - whom to connect to, and from which addresses.
 *
 * Of its own rather than uvechod's net.h: a tester must not share its code with what it tests.
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
    uint32_t sources; /* connect from 127.0.0.1 and so many less one following; 0: do not bind */
};

/*
 * Understands HOST:PORT, [IPV6]:PORT and unix:PATH. Returns NULL, or what is wrong with text, in
 * words.
 */
const char *target_parse(struct target *target, const char *text);

/*
 * A non-blocking socket that connects, or is connected already, from the source that this serial
 * number falls on. Returns the descriptor or a negative errno.
 */
int target_connect(const struct target *target, uint64_t serial, bool *connected);

#endif
