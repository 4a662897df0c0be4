/*
 * The generator, line by line:
 *
 *     def tcp_server(address, handler):            listener_start
 *         while True:
 *             yield 'recv', sock                   listener_wait
 *             client, addr = sock.accept()         net_accept
 *             tasks.append(handler(client, addr))  acceptor->take: conn_open in the end
 */
#include "stream/listener.h"

#include <errno.h>

enum {
    LISTENER_BURST = 64,        /* tries per turn: a flood must not hold up other tasks */
    LISTENER_LAST_BURST = 4096, /* tries at the end: the whole backlog, but not without limit */
    LISTENER_PAUSE_MS = 100,    /* the kernel does not say when descriptors are free again */
};

/*
 * Whether accept(2) failed because of one connection, which is gone: the next connection can be
 * accepted at once. After any other error, the next try would fail as well, and the task would
 * spin.
 */
static bool listener_may_skip(int error)
{
    switch (-error) {
    case ECONNABORTED:
    case EPERM: /* a firewall rule */
    case EPROTO:
    case ENETDOWN:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
    case ETIMEDOUT:
        return true;
    default:
        return false;
    }
}

static void listener_tell(struct listener *listener, enum listener_event event, int error)
{
    listener->watcher->on_event(listener->watcher, event, error);
}

static bool listener_full(struct listener *listener)
{
    return listener->acceptor->full(listener->acceptor);
}

static void listener_set_paused(struct listener *listener, bool paused, int error)
{
    if (listener->paused == paused)
        return;
    listener->paused = paused;
    listener_tell(listener, paused ? LISTENER_PAUSED : LISTENER_RESUMED, error);
}

/* Returns 0 if a connection was accepted, even if it was then refused; or net_accept()'s errno. */
static int listener_accept_one(struct listener *listener)
{
    struct accepted accepted = {.service = listener->service};
    accepted.fd = net_accept(listener->sock.fd, &accepted.peer);
    if (accepted.fd < 0)
        return accepted.fd;
    int rc = listener->acceptor->take(listener->acceptor, &accepted);
    listener_tell(listener, rc == 0 ? LISTENER_TOOK : LISTENER_REFUSED, rc);
    return 0;
}

/*
 * Accepts up to burst connections. Returns 0, or a negative errno: the listener must pause. If
 * every try of the burst was skipped, the last error counts as such, too, because a firewall rule
 * can make accept fail without end.
 */
static int listener_accept_burst(struct listener *listener, int burst)
{
    bool accepted = false;
    int rc = 0;
    for (int i = 0; i < burst && !listener_full(listener); i++) {
        rc = listener_accept_one(listener);
        if (rc == -EAGAIN)
            return 0;
        if (rc < 0 && !listener_may_skip(rc))
            return rc;
        accepted = accepted || rc == 0;
    }
    return accepted ? 0 : rc;
}

static struct yield listener_end(struct listener *listener)
{
    timer_close(&listener->timer, NULL);
    sock_close(&listener->sock, NULL);
    listener_tell(listener, LISTENER_ENDED, 0);
    return yield_done(&listener->task);
}

static struct yield listener_accept(struct task *task);

static struct yield listener_park(struct listener *listener)
{
    listener->parked = true;
    list_append(&listener->acceptor->parked, &listener->link);
    return yield_park(&listener->task, listener_accept);
}

static void listener_unpark(struct listener *listener)
{
    if (!listener->parked)
        return;
    listener->parked = false;
    list_remove(&listener->link);
    sched_wake(listener->sched, &listener->task);
}

static struct yield listener_accept(struct task *task)
{
    struct listener *listener = container_of(task, struct listener, task);
    int burst = listener->stopping ? LISTENER_LAST_BURST : LISTENER_BURST;
    int lacking = listener_accept_burst(listener, burst);
    bool full = listener_full(listener);
    if (!full)
        acceptor_room(listener->acceptor); /* what this listener has left is the next one's */
    if (listener->stopping)
        return listener_end(listener);
    listener_set_paused(listener, lacking < 0, lacking);
    if (lacking < 0)
        return yield_sleep(task, &listener->timer, LISTENER_PAUSE_MS, listener_accept);
    return full ? listener_park(listener) : yield_recv(task, &listener->sock, listener_accept);
}

static struct yield listener_wait(struct task *task)
{
    struct listener *listener = container_of(task, struct listener, task);
    if (listener->stopping) /* stopped before the first step: no other wake will come */
        return listener_accept(task);
    return yield_recv(task, &listener->sock, listener_accept);
}

int listener_start(struct listener *listener, struct sched *sched, struct acceptor *acceptor,
                   struct listener_watcher *watcher, int fd, uint8_t service)
{
    *listener = (struct listener){
        .sched = sched, .acceptor = acceptor, .watcher = watcher, .service = service};
    int rc = sock_init(&listener->sock, sched->loop, &sched->waker, fd);
    if (rc < 0)
        return rc;
    timer_init(&listener->timer, sched->loop, &sched->waker);
    sched_spawn(sched, &listener->task, listener_wait);
    return 0;
}

void acceptor_init(struct acceptor *acceptor)
{
    list_init(&acceptor->parked);
}

void acceptor_room(struct acceptor *acceptor)
{
    if (!list_empty(&acceptor->parked))
        listener_unpark(container_of(acceptor->parked.next, struct listener, link));
}

void listener_stop(struct listener *listener)
{
    listener->stopping = true;
    sched_wake_unwatched(listener->sched); /* it may be among them */
    sock_wake(&listener->sock);
    timer_wake(&listener->timer);
    listener_unpark(listener);
}
