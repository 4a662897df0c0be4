/*
 * http.h - an HTTP server for a few clients, by libmicrohttpd.
 *
 * This is the only file that knows the library. It is loaded when a server is opened (dlopen(3)),
 * so that a daemon that serves no HTTP needs neither the library nor the memory that it takes. The
 * library starts no thread and never waits: it watches its sockets with an epoll descriptor of its
 * own, and does what there is to do in http_run().
 *
 * A connection is one request and its answer. All of it, from the accept to the last byte, has
 * HTTP_CLIENT_MS: whoever sends or reads too slowly is cut. Of further clients than HTTP_CLIENTS,
 * the connections wait in the backlog.
 */
#ifndef UVECHOD_HTTP_H
#define UVECHOD_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    HTTP_CLIENTS = 8,      /* at once */
    HTTP_MEMORY = 4096,    /* bytes for a request; one that needs more is refused (RFC 6585) */
    HTTP_CLIENT_MS = 5000, /* for a request and its answer */
    HTTP_BACKLOG = 16,     /* connections that may wait */
    HTTP_DESCRIPTORS = HTTP_CLIENTS + 6, /* what all of this takes, and a file of /proc */
};

/* Valid during the call only. */
struct http_request {
    const char *path;   /* without the query */
    const char *accept; /* the header, or NULL */
};

/* All zero but for the status is an answer without a body. */
struct http_reply {
    unsigned status;
    const char *type; /* of the body, or NULL */
    char *body;       /* made by malloc(3); freed by whoever has asked for the reply */
    size_t len;
};

/* Who answers. Whoever serves HTTP embeds it. */
struct http_handler {
    /* Fills reply, which is all zero. Called for GET and HEAD only; others are answered by 405. */
    void (*answer)(struct http_handler *handler, const struct http_request *request,
                   struct http_reply *reply);
};

struct http_client {
    int fd;           /* -1: there is none */
    uint64_t late_ms; /* when it will be cut, on the clock of http_run() */
};

struct http_library;
struct MHD_Daemon;

struct http {
    struct http_library *library;
    struct MHD_Daemon *daemon;
    struct http_handler *handler;
    struct http_client clients[HTTP_CLIENTS];
    bool left; /* a client has gone in this call of http_run() */
};

/* Whether this build can serve HTTP, if the library is there. */
bool http_supported(void);

/*
 * Serves at a listening socket, which stays the caller's and becomes non-blocking. The handler must
 * outlive the server. Returns a descriptor that can be read from when http_run() must be called; it
 * is a duplicate, which the caller must close. Or a negative errno with nothing to be closed:
 * -ENOPKG if the library or a function of it is missing, -EOPNOTSUPP if this build has none,
 * -ENOMEM without memory or if the library refuses to start, or that of fcntl(2).
 */
int http_open(struct http *http, int listening, struct http_handler *handler);

/*
 * Accepts, receives, answers and sends what it can without waiting, and cuts who is late. Returns
 * after how many milliseconds it must be called again, whatever happens, or -1 for never. Bounded:
 * a call serves each client once.
 */
int64_t http_run(struct http *http);

/* Cuts all clients, and unloads the library. */
void http_close(struct http *http);

#endif
