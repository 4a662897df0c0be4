/*
 * listening.h - the listening sockets of the kernel: where clients connect, and how accept(2)
 * fails.
 */
#ifndef UVECHOD_SIM_LISTENING_H
#define UVECHOD_SIM_LISTENING_H

#include "os/net.h"
#include "socket.h"

#include <stdbool.h>

enum { LISTENING_MAX = 4, LISTENING_BACKLOG_MAX = 4096 };

struct listening {
    union net_addr addr;
    int fd;    /* -1: closed */
    bool open; /* clients may connect */
    bool file; /* the file of its Unix socket is there, and the daemon has made it */
    unsigned backlog;
    struct socket *waiting[LISTENING_BACKLOG_MAX]; /* a ring */
    unsigned first, count;
    int failed;        /* the errno of the last accept, if the daemon must pause for it; else 0 */
    unsigned failures; /* of accept, one after the other */
    uint64_t tried_us; /* when accept was called last; 0: never */
    unsigned starved;
};

void listenings_begin(void);

/* Makes one that listens, as net_listen() does and as a service manager does. */
int listening_open(const union net_addr *addr, unsigned backlog, bool passed);

/* An address at which another process has accepted a connection. */
struct listening *listening_elsewhere(const union net_addr *addr);

/* One of those that listen, by chance; NULL when there is none. */
struct listening *listening_choose(uint64_t number);

/* Those of the history, and how many there are. */
struct listening *listening_get(unsigned index);
unsigned listenings_count(void);

/* The one with the file at path; NULL if there is none. */
struct listening *listening_at(const char *path);

/* A client connects. False if nobody listens or the backlog is full. */
bool listening_connect(struct listening *listening, struct socket *socket);

/* The daemon closes it: what waits there is reset. */
void listening_close(struct listening *listening);

/* The process ends: a successor accepts at once, whatever its predecessor waited for. */
void listenings_outlive(void);

/* Whether two connections come from one source. */
bool listening_same_source(const struct socket *one, const struct socket *other);

/* Whether the plan names its source as one whose connections begin with the header of a proxy. */
bool listening_is_proxied(const struct socket *socket);

/* The peer address of a connection. */
void listening_peer(const struct socket *socket, union net_peer *peer);

/* The serial number of the connection with the peer address in text, as a log line has it. */
unsigned listening_serial(const char *peer);

/* The errno of the last accept(2) that has failed. */
int listenings_last_error(void);

/*
 * The daemon tells that it pauses: it must lack something, or have failed as often as it tries in a
 * turn.
 */
void listenings_check_pause(void);

#endif
