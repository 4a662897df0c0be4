/*
 * sock.h - one socket, its one uv_poll_t, and the two tasks that may wait for it.
 *
 * The Python program has two dicts, recv_wait and send_wait, from socket to task, and hands both
 * to select. Here they are two fields of the socket, and the poll handle tells epoll about them.
 *
 * uv_poll_start() and uv_poll_stop() cost calls of epoll_ctl, so the poll handle stays armed when a
 * task is woken: it serves the next wait of the same kind. It is disarmed when an event arrives for
 * which no task waits. A wait to send is granted without asking the kernel until the kernel has
 * refused a send. So a message of a ping-pong costs no epoll_ctl at all.
 */
#ifndef UVECHOD_SOCK_H
#define UVECHOD_SOCK_H

#include "task/task.h"

#include <stdbool.h>
#include <sys/types.h>
#include <uv.h>

struct sock {
    uv_poll_t poll;         /* its data is the struct waker */
    struct task *recv_wait; /* NULL when no task waits to receive */
    struct task *send_wait; /* NULL when no task waits to send */
    int fd;
    unsigned char armed; /* what the poll handle is started for: UV_READABLE | UV_WRITABLE */
    bool send_refused;   /* the last send took less than it was given; cleared when writable */
};

/*
 * Makes room in the loop's table of descriptors up to highest_fd. libuv aborts the process when
 * that table cannot grow; at the start that does no harm to any client. fd is any open socket.
 * Where the highest numbers are taken already, room for the numbers below them is enough. Returns 0
 * or a negative errno; -EINVAL if highest_fd is beyond RLIMIT_NOFILE.
 */
int sock_reserve(uv_loop_t *loop, int fd, int highest_fd);

/*
 * Takes over fd and makes it non-blocking; waker is given the tasks to wake. Returns 0 or libuv's
 * negative errno: -EEXIST (a handle on this loop waits for fd already), -EPERM (epoll cannot watch
 * it: a regular file), -ENOMEM or -ENOSPC (see epoll_ctl(2)). After a failure fd is still the
 * caller's, and so is the memory.
 */
int sock_init(struct sock *sock, uv_loop_t *loop, struct waker *waker, int fd);

/*
 * Wakes the task when sock is readable, or has an error or an end of file to tell. Returns 0,
 * -EBUSY when another task waits for the same, which goes on waiting, or -ENOSPC or -ENOMEM when
 * the kernel has no watch for sock (epoll_ctl(2)): the task does not wait then, and one that
 * waited for the other reason is woken.
 */
int sock_wait_recv(struct sock *sock, struct task *task);

/*
 * As sock_wait_recv(), for writable. Returns 1 when there is nothing to wait for: the kernel has
 * not refused a send since the socket was last writable. The task is not woken then.
 */
int sock_wait_send(struct sock *sock, struct task *task);

/*
 * Sends as net_send() does: the bytes taken, or a negative errno. Fewer than len, or -EAGAIN,
 * means that the send buffer is full: the next wait to send really waits.
 */
ssize_t sock_send(struct sock *sock, const void *buf, size_t len);

/* The same from the pipe from, as net_splice() does; len is how many bytes the pipe holds. */
ssize_t sock_splice(struct sock *sock, int from, size_t len);

/* Wakes the tasks that wait, as their events would. Steps must expect that: readiness is a hint. */
void sock_wake(struct sock *sock);

/*
 * Closes the poll handle, then the descriptor, at once. No task may wait. The memory is the owner's
 * again when closed is called with &sock->poll.
 */
void sock_close(struct sock *sock, uv_close_cb closed);

#endif
