#include "os/http.h"

#include <errno.h>

#if UVECHOD_MICROHTTPD

#include <dlfcn.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

/* The number changes with the library's interface, which has not happened since 2015. */
#define HTTP_LIBRARY "libmicrohttpd.so.12"

struct http_library {
    void *handle;
    __typeof__(&MHD_start_daemon) start;
    __typeof__(&MHD_stop_daemon) stop;
    __typeof__(&MHD_run) run;
    __typeof__(&MHD_get_timeout) timeout;
    __typeof__(&MHD_get_daemon_info) info;
    __typeof__(&MHD_get_connection_info) connection;
    __typeof__(&MHD_lookup_connection_value) header;
    __typeof__(&MHD_create_response_from_buffer) make;
    __typeof__(&MHD_add_response_header) add;
    __typeof__(&MHD_queue_response) queue;
    __typeof__(&MHD_destroy_response) destroy;
};

bool http_supported(void)
{
    return true;
}

static uint64_t http_now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* fails only for clocks that Linux does not have */
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- the library ---- */

/* Finds all functions. Copied as bytes, because C converts no pointer to data to a function. */
static bool http_find(struct http_library *library)
{
    const struct {
        const char *name;
        void *function;
    } wanted[] = {
        {"MHD_start_daemon", &library->start},
        {"MHD_stop_daemon", &library->stop},
        {"MHD_run", &library->run},
        {"MHD_get_timeout", &library->timeout},
        {"MHD_get_daemon_info", &library->info},
        {"MHD_get_connection_info", &library->connection},
        {"MHD_lookup_connection_value", &library->header},
        {"MHD_create_response_from_buffer", &library->make},
        {"MHD_add_response_header", &library->add},
        {"MHD_queue_response", &library->queue},
        {"MHD_destroy_response", &library->destroy},
    };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        void *found = dlsym(library->handle, wanted[i].name);
        if (found == NULL)
            return false;
        memcpy(wanted[i].function, &found, sizeof found);
    }
    return true;
}

static void http_unload(struct http_library *library)
{
    if (library->handle != NULL)
        (void)dlclose(library->handle);
    free(library);
}

static int http_load(struct http *http)
{
    struct http_library *library = calloc(1, sizeof *library);
    if (library == NULL)
        return -ENOMEM;
    library->handle = dlopen(HTTP_LIBRARY, RTLD_NOW | RTLD_LOCAL);
    if (library->handle == NULL || !http_find(library)) {
        http_unload(library);
        return -ENOPKG;
    }
    http->library = library;
    return 0;
}

/* ---- clients ---- */

static int http_fd(const struct http *http, struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        http->library->connection(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info->connect_fd;
}

/* There are never more clients than the library has been told, so one place is free. */
static struct http_client *http_place(struct http *http)
{
    struct http_client *client = http->clients;
    while (client->fd >= 0)
        client++;
    return client;
}

static void on_http_client(void *arg, struct MHD_Connection *connection, void **context,
                           enum MHD_ConnectionNotificationCode event)
{
    struct http *http = arg;
    struct http_client *client = *context;
    if (event == MHD_CONNECTION_NOTIFY_STARTED) {
        client = http_place(http);
        *client = (struct http_client){.fd = http_fd(http, connection),
                                       .late_ms = http_now_ms() + HTTP_CLIENT_MS};
        *context = client;
    } else {
        client->fd = -1;
        http->left = true;
    }
}

/*
 * The library has a limit for silence only, and a client may send one byte after the other. A
 * socket that is shut down shows the library an end or an error, and the library closes it.
 * Returns after how many milliseconds the next one is late, or -1.
 */
static int64_t http_cut(struct http *http)
{
    const uint64_t now_ms = http_now_ms();
    int64_t next_ms = -1;
    for (size_t i = 0; i < HTTP_CLIENTS; i++) {
        struct http_client *client = &http->clients[i];
        if (client->fd < 0)
            continue;
        if (client->late_ms <= now_ms) {
            (void)shutdown(client->fd, SHUT_RDWR);
            client->late_ms = now_ms + HTTP_CLIENT_MS;
        }
        if (next_ms < 0 || (int64_t)(client->late_ms - now_ms) < next_ms)
            next_ms = (int64_t)(client->late_ms - now_ms);
    }
    return next_ms;
}

/* ---- answers ---- */

static bool http_is_read(const char *method)
{
    return strcmp(method, MHD_HTTP_METHOD_GET) == 0 || strcmp(method, MHD_HTTP_METHOD_HEAD) == 0;
}

/* Takes over the body. The library sends none for HEAD. */
static enum MHD_Result http_send(const struct http_library *library,
                                 struct MHD_Connection *connection, const struct http_reply *reply)
{
    struct MHD_Response *response = library->make(reply->len, reply->body, MHD_RESPMEM_MUST_FREE);
    if (response == NULL) {
        free(reply->body);
        return MHD_NO;
    }
    bool whole = library->add(response, MHD_HTTP_HEADER_CONNECTION, "close") == MHD_YES;
    if (reply->type != NULL)
        whole = library->add(response, MHD_HTTP_HEADER_CONTENT_TYPE, reply->type) && whole;
    if (reply->status == MHD_HTTP_METHOD_NOT_ALLOWED)
        whole = library->add(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD") && whole;
    enum MHD_Result result = whole ? library->queue(connection, reply->status, response) : MHD_NO;
    library->destroy(response);
    return result;
}

/* Called when the headers are there. A body is not waited for: the library throws it away. */
static enum MHD_Result on_http_request(void *arg, struct MHD_Connection *connection,
                                       const char *path, const char *method, const char *version,
                                       const char *upload, size_t *upload_len, void **context)
{
    struct http *http = arg;
    struct http_reply reply = {.status = 0};
    (void)version;
    (void)upload;
    *upload_len = 0; /* nothing of it is to be shown again */
    (void)context;
    if (http_is_read(method)) {
        const struct http_request request = {
            .path = path,
            .accept = http->library->header(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT)};
        http->handler->answer(http->handler, &request, &reply);
    } else {
        reply.status = MHD_HTTP_METHOD_NOT_ALLOWED;
    }
    return http_send(http->library, connection, &reply);
}

/* ---- the server ---- */

/* The library closes what it is given. Whether it does so if it cannot start, it does not say. */
static int http_start(struct http *http, int listening)
{
    int flags = fcntl(listening, F_GETFL);
    if (flags < 0 || fcntl(listening, F_SETFL, flags | O_NONBLOCK) < 0)
        return -errno;
    listening = fcntl(listening, F_DUPFD_CLOEXEC, 0);
    if (listening < 0)
        return -errno;
    http->daemon = http->library->start(
        MHD_USE_EPOLL, 0, NULL, NULL, on_http_request, http, MHD_OPTION_LISTEN_SOCKET, listening,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)HTTP_CLIENTS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)HTTP_MEMORY, MHD_OPTION_NOTIFY_CONNECTION, on_http_client, (void *)http,
        MHD_OPTION_END);
    return http->daemon != NULL ? 0 : -ENOMEM;
}

int http_open(struct http *http, int listening, struct http_handler *handler)
{
    *http = (struct http){.handler = handler};
    for (size_t i = 0; i < HTTP_CLIENTS; i++)
        http->clients[i].fd = -1;
    int rc = http_load(http);
    if (rc < 0)
        return rc;
    rc = http_start(http, listening);
    if (rc < 0) {
        http_unload(http->library);
        return rc;
    }
    const union MHD_DaemonInfo *info = http->library->info(http->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    int fd = fcntl(info->epoll_fd, F_DUPFD_CLOEXEC, 0);
    if (fd >= 0)
        return fd;
    rc = -errno;
    http_close(http);
    return rc;
}

int64_t http_run(struct http *http)
{
    MHD_UNSIGNED_LONG_LONG wanted_ms;
    http->left = false;
    (void)http->library->run(http->daemon);
    const int64_t late_ms = http_cut(http); /* after the call, in which clients come and go */
    if (http->left) /* the library accepts again in the next call only, if it was full */
        return 0;
    const bool wants = http->library->timeout(http->daemon, &wanted_ms) == MHD_YES;
    if (!wants || (late_ms >= 0 && wanted_ms > (uint64_t)late_ms))
        return late_ms;
    return wanted_ms < INT32_MAX ? (int64_t)wanted_ms : INT32_MAX;
}

void http_close(struct http *http)
{
    http->library->stop(http->daemon);
    http_unload(http->library);
}

#else

bool http_supported(void)
{
    return false;
}

int http_open(struct http *http, int listening, struct http_handler *handler)
{
    (void)http;
    (void)listening;
    (void)handler;
    return -EOPNOTSUPP;
}

int64_t http_run(struct http *http)
{
    (void)http;
    return -1;
}

void http_close(struct http *http)
{
    (void)http;
}

#endif
