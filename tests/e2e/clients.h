/*
 * clients.h - clients of the daemon: blocking sockets with a deadline. And sockets of the tests'
 * own, to listen on or to bind.
 */
#ifndef UVECHOD_CLIENTS_H
#define UVECHOD_CLIENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct daemon;

/* Whether a socket can be bound to this numeric address here. */
bool harness_has_address(const char *address);

/* Skips the test where there is no IPv6. */
void harness_need_ipv6(void);

/* A TCP port that was free when it was asked for. */
uint16_t harness_free_port(void);

/* A listening socket at a free port of a numeric address. The caller closes it. */
int harness_listen(const char *address);

/*
 * A Unix socket of type SOCK_STREAM or another, bound to a path or, as "@name", to an abstract
 * name. The caller closes it.
 */
int harness_bind_unix(const char *path, int type);

/* Connects to the daemon, at 127.0.0.1 or another numeric address. Returns the socket. */
int client_connect(const struct daemon *daemon);
int client_connect_to(const struct daemon *daemon, const char *address);

/* Connects to 127.0.0.1 from this IPv4 address of the loopback. */
int client_connect_from(const struct daemon *daemon, const char *source);

/* As above for one of many that do not read: with buffers that soon are full. */
int client_connect_small(const struct daemon *daemon);

/* Tries once. Returns the socket or a negative errno. */
int client_try(const struct daemon *daemon, const char *address);

/* The same to a Unix socket: a path, or "@name" for an abstract one. */
int client_connect_unix(const char *path);
int client_try_unix(const char *path);

/* Connects to the address to which a listening socket of the test is bound. */
int client_connect_like(int listening);

void client_send(int fd, const void *data, size_t len);

/* Waits until the kernel on the other side has all that was sent, or the connection is reset. */
void client_wait_delivered(int fd);

/* Receives exactly len bytes, which must be these. */
void client_expect(int fd, const void *data, size_t len);

/* Sends text, and receives the prefix and the text again. */
void client_ping(int fd, const char *prefix, const char *text);

/* Ends the sending side, receives the end of the stream and closes. */
void client_leave(int fd);

/* Connects, sends "hello", receives "GOT:hello" and closes. */
void client_visit(const struct daemon *daemon);

/* Whether a byte or the end of the stream can be received within so many milliseconds. */
bool client_readable(int fd, int timeout_ms);

/* Whether the connection is reset within so many milliseconds. */
bool client_breaks(int fd, int timeout_ms);

/* Receives the end of the stream, which must be a FIN and come now. */
void client_expect_end(int fd);

/* Ends the sending side. */
void client_shutdown(int fd);

/* Closes with a FIN, or with a reset. */
void client_close(int fd);
void client_reset(int fd);

/* The client's own address as the daemon's log writes it. */
const char *client_name(int fd, char buf[static 80]);

#endif
