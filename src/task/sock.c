#include "task/sock.h"

#include "os/net.h"
#include "os/watches.h"

#include <assert.h>
#include <errno.h>

static void on_poll(uv_poll_t *poll, int status, int events);

/*
 * Starts the poll handle. uv_poll_start() gives up the watch that the handle had, and libuv adds
 * another one when its loop polls; there it aborts the process if the kernel refuses. So the watch
 * is added here, where a refusal is an error like others.
 */
static int sock_start(struct sock *sock, int events)
{
    int rc = uv_poll_start(&sock->poll, events, on_poll);
    if (rc < 0)
        return rc;
    rc = watches_add(uv_backend_fd(sock->poll.loop), sock->fd);
    if (rc < 0)
        (void)uv_poll_stop(&sock->poll);
    return rc;
}

/* Starts the poll handle for exactly these events, or stops it when there are none. */
static int sock_arm(struct sock *sock, int events)
{
    int rc = events != 0 ? sock_start(sock, events) : uv_poll_stop(&sock->poll);
    sock->armed = (unsigned char)(rc == 0 ? events : 0);
    return rc;
}

static void on_reserve_closed(uv_handle_t *handle)
{
    *(bool *)handle->data = true;
}

int sock_reserve(uv_loop_t *loop, int fd, int highest_fd)
{
    int high = net_dup_above(fd, highest_fd);
    while (high == -EMFILE && highest_fd > 0) /* the numbers above have been inherited, for good */
        high = net_dup_above(fd, --highest_fd);
    if (high < 0)
        return high;
    uv_poll_t poll;
    bool closed = false;
    int rc = uv_poll_init(loop, &poll, high);
    if (rc == 0) {
        (void)uv_poll_start(&poll, UV_WRITABLE, NULL); /* it is closed before the loop polls */
        poll.data = &closed;
        uv_close((uv_handle_t *)&poll, on_reserve_closed);
        while (!closed)
            (void)uv_run(loop, UV_RUN_NOWAIT);
    }
    net_close(high);
    return rc;
}

int sock_init(struct sock *sock, uv_loop_t *loop, struct waker *waker, int fd)
{
    int rc = uv_poll_init(loop, &sock->poll, fd);
    if (rc < 0)
        return rc;
    sock->poll.data = waker;
    sock->recv_wait = NULL;
    sock->send_wait = NULL;
    sock->fd = fd;
    sock->armed = 0;
    sock->send_refused = false;
    return 0;
}

/* Ends a wait. Returns the task that waited, or NULL. */
static struct task *sock_take(struct task **wait)
{
    struct task *task = *wait;
    *wait = NULL;
    return task;
}

static void sock_wake_task(const struct sock *sock, struct task *task)
{
    struct waker *waker = sock->poll.data;
    if (task != NULL)
        waker->wake(waker, task);
}

void sock_wake(struct sock *sock)
{
    struct task *receiver = sock_take(&sock->recv_wait);
    struct task *sender = sock_take(&sock->send_wait);
    sock_wake_task(sock, receiver);
    sock_wake_task(sock, sender);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct sock *sock = container_of(poll, struct sock, poll);
    if (status < 0) {
        /* POLLERR: libuv has stopped the handle. The task's own call finds the real error. */
        sock->armed = 0;
        sock->send_refused = false;
        sock_wake(sock);
        return;
    }
    struct task *receiver = (events & UV_READABLE) != 0 ? sock_take(&sock->recv_wait) : NULL;
    struct task *sender = (events & UV_WRITABLE) != 0 ? sock_take(&sock->send_wait) : NULL;
    if ((events & UV_WRITABLE) != 0)
        sock->send_refused = false;
    int wanted = (receiver != NULL ? UV_READABLE : 0) | (sender != NULL ? UV_WRITABLE : 0);
    /* An event for which no task waited would be reported again at once, and for ever. */
    if ((events & ~wanted) != 0 && sock_arm(sock, sock->armed & ~(events & ~wanted)) < 0) {
        receiver = receiver != NULL ? receiver : sock_take(&sock->recv_wait);
        sender = sender != NULL ? sender : sock_take(&sock->send_wait);
    }
    /* This comes last, because a task that is woken may run at once and close the socket. */
    sock_wake_task(sock, receiver);
    sock_wake_task(sock, sender);
}

/* Arms sock for the tasks that wait. After a failure they would not hear of events: none waits. */
static int sock_arm_waits(struct sock *sock, struct task **failed, int wanted)
{
    int rc = sock_arm(sock, wanted);
    if (rc < 0) {
        *failed = NULL;
        sock_wake(sock);
    }
    return rc;
}

/* Inline, because a call costs 24 instructions of each message. */
static inline int sock_wait(struct sock *sock, struct task **wait, struct task *task)
{
    if (*wait != NULL)
        return -EBUSY;
    *wait = task;
    int wanted =
        (sock->recv_wait != NULL ? UV_READABLE : 0) | (sock->send_wait != NULL ? UV_WRITABLE : 0);
    return (wanted & ~sock->armed) == 0 ? 0 : sock_arm_waits(sock, wait, wanted);
}

int sock_wait_recv(struct sock *sock, struct task *task)
{
    return sock_wait(sock, &sock->recv_wait, task);
}

int sock_wait_send(struct sock *sock, struct task *task)
{
    if (sock->send_wait == NULL && !sock->send_refused)
        return 1;
    return sock_wait(sock, &sock->send_wait, task);
}

/* Notes whether the send buffer has turned out to be full. */
static ssize_t sock_sent(struct sock *sock, ssize_t n, size_t len)
{
    if (n == -EAGAIN || (n >= 0 && (size_t)n < len))
        sock->send_refused = true;
    return n;
}

ssize_t sock_send(struct sock *sock, const void *buf, size_t len)
{
    return sock_sent(sock, net_send(sock->fd, buf, len), len);
}

ssize_t sock_splice(struct sock *sock, int from, size_t len)
{
    return sock_sent(sock, net_splice(from, sock->fd, len), len);
}

void sock_close(struct sock *sock, uv_close_cb closed)
{
    assert(sock->recv_wait == NULL && sock->send_wait == NULL);
    uv_close((uv_handle_t *)&sock->poll, closed);
    net_close(sock->fd);
    sock->fd = -1;
}
