#include "server/kinds.h"

#include "os/net.h"
#include "server/endpoints.h"

#include <errno.h>
#include <stdlib.h>

static int listening_start(struct endpoint *endpoint, const struct endpoint_context *context)
{
    struct listener *listener = calloc(1, sizeof *listener);
    if (listener == NULL)
        return -ENOMEM;
    int rc = listener_start(listener, context->sched, context->acceptor, context->watcher,
                            endpoint->fd, endpoint->service);
    if (rc < 0) {
        free(listener);
        return rc;
    }
    endpoint->task = listener;
    endpoint->fd = -1;
    return 0;
}

static void listening_stop(struct endpoint *endpoint)
{
    listener_stop(endpoint->task);
}

const struct endpoint_kind endpoint_listening = {.start = listening_start, .stop = listening_stop};

/*
 * If the connection has broken since it was passed, or its source has enough already, it is
 * refused, and the start goes on.
 */
static int connected_start(struct endpoint *endpoint, const struct endpoint_context *context)
{
    struct accepted accepted = {.fd = endpoint->fd, .service = endpoint->service};
    int rc = net_remote(accepted.fd, &accepted.peer);
    endpoint->fd = -1;
    if (rc < 0) {
        net_close(accepted.fd);
    } else {
        rc = context->acceptor->take(context->acceptor, &accepted);
        if (rc != SOURCES_REFUSED)
            return rc;
    }
    context->watcher->on_event(context->watcher, LISTENER_REFUSED, rc);
    return 0;
}

const struct endpoint_kind endpoint_connected = {.start = connected_start};

const struct endpoint_kind endpoint_metrics = {.aside = true};

/* Only its own thread may end the task. */
static void datagram_stop(struct endpoint *endpoint)
{
    (void)endpoint;
}

const struct endpoint_kind endpoint_datagram = {.stop = datagram_stop};
