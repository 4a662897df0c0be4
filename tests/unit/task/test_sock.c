/*
 * test_sock.c - the waits of a socket, on socket pairs and loopback connections, with a waker that
 * notes who was woken. libuv's poll calls are wrapped: what they cost is what sock.c promises, and
 * an event that comes back for ever shows as a growing count.
 */
#include "unit/support.h"

#include "os/net.h"
#include "task/sock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <sys/resource.h>

struct fixture {
    uv_loop_t loop;
    struct recorder recorder;
    struct sock sock;
    int peer; /* the other end, or -1 */
    int fds;  /* open before the socket pair was made */
    struct task reader;
    struct task writer;
    uv_handle_t *closed; /* what on_closed() was called with */
};

static struct fixture fixture;

/* What the wrapped calls have seen since the test began. */
static struct {
    int starts;
    int stops;
    int wakeups;  /* events that libuv has reported */
    int armed;    /* for what the handle was started last */
    int status;   /* of the last event */
    int fail;     /* what the next start is to return, without starting */
    int no_watch; /* what the next watch is to fail with */
    char closes[4];
    uv_poll_cb on_poll;
} calls;

static void on_counted_poll(uv_poll_t *poll, int status, int events)
{
    calls.wakeups++;
    calls.status = status;
    calls.on_poll(poll, status, events);
}

int __real_uv_poll_start(uv_poll_t *poll, int events, uv_poll_cb callback);
int __wrap_uv_poll_start(uv_poll_t *poll, int events, uv_poll_cb callback);
int __wrap_uv_poll_start(uv_poll_t *poll, int events, uv_poll_cb callback)
{
    if (poll != &fixture.sock.poll)
        return __real_uv_poll_start(poll, events, callback);
    int fail = calls.fail;
    calls.fail = 0;
    if (fail != 0)
        return fail;
    calls.starts++;
    calls.armed = events;
    calls.on_poll = callback;
    return __real_uv_poll_start(poll, events, on_counted_poll);
}

int __real_uv_poll_stop(uv_poll_t *poll);
int __wrap_uv_poll_stop(uv_poll_t *poll);
int __wrap_uv_poll_stop(uv_poll_t *poll)
{
    calls.stops++;
    calls.armed = 0;
    return __real_uv_poll_stop(poll);
}

int __real_watches_add(int epoll, int fd);
int __wrap_watches_add(int epoll, int fd);
int __wrap_watches_add(int epoll, int fd)
{
    int fail = calls.no_watch;
    calls.no_watch = 0;
    return fail != 0 ? fail : __real_watches_add(epoll, fd);
}

static void note_close(char what)
{
    size_t len = strlen(calls.closes);
    if (len + 1 < sizeof calls.closes)
        calls.closes[len] = what;
}

void __real_uv_close(uv_handle_t *handle, uv_close_cb closed);
void __wrap_uv_close(uv_handle_t *handle, uv_close_cb closed);
void __wrap_uv_close(uv_handle_t *handle, uv_close_cb closed)
{
    note_close('h');
    __real_uv_close(handle, closed);
}

void __real_net_close(int fd);
void __wrap_net_close(int fd);
void __wrap_net_close(int fd)
{
    note_close('d');
    __real_net_close(fd);
}

static void on_closed(uv_handle_t *handle)
{
    fixture.closed = handle;
}

static void peer_close(struct fixture *f)
{
    assert_return_code(close(f->peer), 0);
    f->peer = -1;
}

static int fixture_open(void **state)
{
    int fds[2];
    fixture = (struct fixture){.closed = NULL};
    memset(&calls, 0, sizeof calls);
    assert_int_equal(uv_loop_init(&fixture.loop), 0);
    recorder_init(&fixture.recorder);
    fixture.fds = count_fds();
    make_socketpair(fds);
    fixture.peer = fds[1];
    memset(&fixture.sock, 1, sizeof fixture.sock); /* memory that was in use */
    assert_int_equal(sock_init(&fixture.sock, &fixture.loop, &fixture.recorder.waker, fds[0]), 0);
    *state = &fixture;
    return 0;
}

static int fixture_close(void **state)
{
    struct fixture *f = *state;
    sock_wake(&f->sock); /* a test may leave a task waiting */
    if (f->closed == NULL)
        sock_close(&f->sock, on_closed);
    if (f->peer >= 0)
        peer_close(f);
    loop_turn(&f->loop);
    assert_int_equal(count_fds(), f->fds);
    loop_close(&f->loop);
    assert_ptr_equal(f->closed, &f->sock.poll);
    return 0;
}

/* The socket of the test becomes this one. */
static void fixture_replace(struct fixture *f, int fd, int peer)
{
    sock_close(&f->sock, NULL);
    loop_turn(&f->loop);
    peer_close(f);
    f->peer = peer;
    assert_int_equal(sock_init(&f->sock, &f->loop, &f->recorder.waker, fd), 0);
}

/* Sends until the kernel refuses. */
static void fill(struct sock *sock)
{
    static const char block[64 * 1024];
    ssize_t n;
    do
        n = sock_send(sock, block, sizeof block);
    while (n > 0);
    assert_int_equal(n, -EAGAIN);
}

static void drain(int fd)
{
    char block[64 * 1024];
    ssize_t n;
    do
        n = recv(fd, block, sizeof block, MSG_DONTWAIT);
    while (n > 0);
    assert_int_equal(errno, EAGAIN);
}

static void peer_send(const struct fixture *f)
{
    assert_int_equal(send(f->peer, "x", 1, 0), 1);
}

static void receive_byte(int fd)
{
    char byte;
    assert_int_equal(recv(fd, &byte, 1, 0), 1);
}

static void wait_recv(struct fixture *f)
{
    assert_int_equal(sock_wait_recv(&f->sock, &f->reader), 0);
}

static void wait_send(struct fixture *f)
{
    assert_int_equal(sock_wait_send(&f->sock, &f->writer), 0);
}

/* Sleeps in the loop until there is an event. */
static void run_once(struct fixture *f)
{
    (void)uv_run(&f->loop, UV_RUN_ONCE);
}

static void expect_calls(int starts, int stops)
{
    assert_int_equal(calls.starts, starts);
    assert_int_equal(calls.stops, stops);
}

static void test_new_sock_is_at_rest(void **state)
{
    struct fixture *f = *state;
    assert_null(f->sock.recv_wait);
    assert_null(f->sock.send_wait);
    assert_int_equal(f->sock.armed, 0);
    assert_int_equal(uv_loop_alive(&f->loop), 0);
    expect_calls(0, 0);
}

static void test_recv_wait(void **state)
{
    struct fixture *f = *state;
    wait_recv(f);
    assert_int_equal(calls.armed, UV_READABLE);
    loop_turn(&f->loop);
    recorder_expect(&f->recorder, NULL, NULL);
    peer_send(f);
    run_once(f);
    recorder_expect(&f->recorder, &f->reader, NULL);
    assert_null(f->sock.recv_wait);
}

/* What has arrived before the wait wakes as well. */
static void test_recv_wait_comes_late(void **state)
{
    struct fixture *f = *state;
    peer_send(f);
    wait_recv(f);
    recorder_expect(&f->recorder, NULL, NULL);
    run_once(f);
    recorder_expect(&f->recorder, &f->reader, NULL);
}

static void test_ping_pong_arms_once(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 100; i++) {
        wait_recv(f);
        peer_send(f);
        run_once(f);
        recorder_expect(&f->recorder, &f->reader, NULL);
        receive_byte(f->sock.fd);
        assert_int_equal(sock_wait_send(&f->sock, &f->reader), 1);
        assert_int_equal(sock_send(&f->sock, "y", 1), 1);
        receive_byte(f->peer);
    }
    expect_calls(1, 0);
    assert_int_equal(calls.wakeups, 100);
}

static void test_unwanted_event_disarms(void **state)
{
    struct fixture *f = *state;
    wait_recv(f);
    peer_send(f);
    for (int i = 0; i < 5; i++)
        loop_turn(&f->loop);
    recorder_expect(&f->recorder, &f->reader, NULL); /* and did not read */
    assert_int_equal(calls.wakeups, 2);
    expect_calls(1, 1);
    assert_int_equal(uv_run(&f->loop, UV_RUN_DEFAULT), 0); /* nothing holds up the end */
    wait_recv(f);
    expect_calls(2, 1);
    run_once(f);
    recorder_expect(&f->recorder, &f->reader, NULL);
}

static void test_end_of_file_does_not_spin(void **state)
{
    struct fixture *f = *state;
    char byte;
    wait_recv(f);
    assert_return_code(shutdown(f->peer, SHUT_WR), 0);
    run_once(f);
    recorder_expect(&f->recorder, &f->reader, NULL);
    assert_int_equal(recv(f->sock.fd, &byte, 1, 0), 0);
    for (int i = 0; i < 5; i++)
        loop_turn(&f->loop);
    assert_int_equal(calls.wakeups, 2);
    expect_calls(1, 1);
    assert_int_equal(uv_loop_alive(&f->loop), 0);
}

static void test_send_is_granted_until_refused(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(sock_wait_send(&f->sock, &f->writer), 1);
    assert_int_equal(sock_send(&f->sock, "x", 1), 1);
    assert_int_equal(sock_wait_send(&f->sock, &f->writer), 1);
    assert_null(f->sock.send_wait);
    expect_calls(0, 0);
    fill(&f->sock);
    wait_send(f);
    assert_int_equal(calls.armed, UV_WRITABLE);
    loop_turn(&f->loop);
    recorder_expect(&f->recorder, NULL, NULL);
    drain(f->peer);
    run_once(f);
    recorder_expect(&f->recorder, &f->writer, NULL);
    assert_int_equal(sock_wait_send(&f->sock, &f->writer), 1);
}

/* Fewer than it was given tells as much as -EAGAIN: the next wait really waits. */
static void test_short_send_is_a_refusal(void **state)
{
    struct fixture *f = *state;
    static const char huge[16 * 1024 * 1024];
    ssize_t n = sock_send(&f->sock, huge, sizeof huge);
    assert_true(n > 0 && n < (ssize_t)sizeof huge);
    assert_int_equal(sock_wait_send(&f->sock, &f->writer), 0);
}

/* Bytes that did not go through sock_send() have filled the buffer: it takes none at all. */
static void test_refused_at_once(void **state)
{
    struct fixture *f = *state;
    fill(&f->sock);
    f->sock.send_refused = false;
    assert_int_equal(sock_send(&f->sock, "x", 1), -EAGAIN);
    wait_send(f);
}

static void test_failed_send_is_no_refusal(void **state)
{
    struct fixture *f = *state;
    peer_close(f);
    assert_int_equal(sock_send(&f->sock, "x", 1), -EPIPE);
    assert_int_equal(sock_wait_send(&f->sock, &f->writer), 1);
}

/* WRITABLE stays armed for the next wait, and is disarmed when it comes and no task waits. */
static void test_writable_does_not_spin(void **state)
{
    struct fixture *f = *state;
    fill(&f->sock);
    wait_send(f);
    drain(f->peer);
    for (int i = 0; i < 5; i++)
        loop_turn(&f->loop);
    recorder_expect(&f->recorder, &f->writer, NULL);
    assert_int_equal(calls.wakeups, 2);
    expect_calls(1, 1);
}

static void test_refused_again_costs_nothing(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 3; i++) {
        fill(&f->sock);
        wait_send(f);
        drain(f->peer);
        run_once(f);
        recorder_expect(&f->recorder, &f->writer, NULL);
    }
    expect_calls(1, 0);
}

static void test_both_wait_and_each_is_woken_alone(void **state)
{
    struct fixture *f = *state;
    fill(&f->sock);
    wait_recv(f);
    wait_send(f);
    assert_int_equal(calls.armed, UV_READABLE | UV_WRITABLE);
    peer_send(f);
    run_once(f);
    recorder_expect(&f->recorder, &f->reader, NULL);
    assert_ptr_equal(f->sock.send_wait, &f->writer);
    receive_byte(f->sock.fd);
    drain(f->peer);
    run_once(f);
    recorder_expect(&f->recorder, &f->writer, NULL);
}

static void test_both_are_woken_by_one_event(void **state)
{
    struct fixture *f = *state;
    fill(&f->sock);
    wait_send(f);
    wait_recv(f);
    drain(f->peer);
    peer_send(f);
    run_once(f);
    recorder_expect(&f->recorder, &f->reader, &f->writer);
    assert_int_equal(calls.wakeups, 1);
}

/* Only what is unwanted is disarmed: the other wait goes on. */
static void test_disarms_one_of_two(void **state)
{
    struct fixture *f = *state;
    fill(&f->sock);
    wait_recv(f);
    wait_send(f);
    peer_send(f);
    for (int i = 0; i < 5; i++)
        loop_turn(&f->loop);
    recorder_expect(&f->recorder, &f->reader, NULL); /* and did not read */
    assert_int_equal(calls.wakeups, 2);
    assert_int_equal(calls.armed, UV_WRITABLE);
    expect_calls(3, 0);
    drain(f->peer);
    run_once(f);
    recorder_expect(&f->recorder, &f->writer, NULL);
}

/* When a wait must be armed for, what no task waits for any more is dropped at the same time. */
static void test_arms_for_the_waits_alone(void **state)
{
    struct fixture *f = *state;
    wait_recv(f);
    peer_send(f);
    run_once(f);
    recorder_expect(&f->recorder, &f->reader, NULL); /* and does not read */
    fill(&f->sock);
    wait_send(f);
    assert_int_equal(calls.armed, UV_WRITABLE);
    loop_turn(&f->loop);
    assert_int_equal(calls.wakeups, 1);
}

static void test_second_receiver_is_refused(void **state)
{
    struct fixture *f = *state;
    wait_recv(f);
    assert_int_equal(sock_wait_recv(&f->sock, &f->writer), -EBUSY);
    peer_send(f);
    run_once(f);
    recorder_expect(&f->recorder, &f->reader, NULL);
}

static void test_second_sender_is_refused(void **state)
{
    struct fixture *f = *state;
    fill(&f->sock);
    wait_send(f);
    assert_int_equal(sock_wait_send(&f->sock, &f->reader), -EBUSY);
    drain(f->peer);
    run_once(f);
    recorder_expect(&f->recorder, &f->writer, NULL);
}

/* Unread bytes at the peer make its close a reset. Both waiters learn of it, and find out why. */
static void test_error_wakes_both(void **state)
{
    struct fixture *f = *state;
    char byte;
    fill(&f->sock);
    wait_recv(f);
    wait_send(f);
    peer_close(f);
    run_once(f);
    assert_true(calls.status < 0);
    recorder_expect(&f->recorder, &f->reader, &f->writer);
    assert_int_equal(net_recv(f->sock.fd, &byte, 1), -ECONNRESET);
    assert_int_equal(sock_wait_send(&f->sock, &f->writer), 1); /* the next send tells, too */
}

/* libuv has stopped the handle by itself: the next wait must start it anew. */
static void test_wait_after_error_arms_anew(void **state)
{
    struct fixture *f = *state;
    fill(&f->sock);
    wait_recv(f);
    peer_close(f);
    run_once(f);
    assert_true(calls.status < 0);
    recorder_expect(&f->recorder, &f->reader, NULL);
    expect_calls(1, 0);
    wait_recv(f);
    expect_calls(2, 0);
    run_once(f);
    recorder_expect(&f->recorder, &f->reader, NULL);
}

/* A listener on 127.0.0.1, a connection to it; the client's end is *client. */
static int tcp_connect(int *client)
{
    union net_addr addr = net_any(AF_INET);
    union net_peer peer;
    addr.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = net_listen(&addr, 1, 0, 0);
    assert_return_code(listener, -listener);
    assert_int_equal(net_local(listener, &addr), 0);
    *client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_return_code(*client, errno);
    assert_return_code(connect(*client, &addr.sa, sizeof addr.in), errno);
    wait_for(listener, POLLIN);
    int server = net_accept(listener, &peer);
    assert_return_code(server, -server);
    net_close(listener);
    return server;
}

static void test_reset_over_tcp(void **state)
{
    struct fixture *f = *state;
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    int client = -1;
    int server = tcp_connect(&client);
    fixture_replace(f, server, client);
    wait_recv(f);
    loop_turn(&f->loop);
    assert_return_code(setsockopt(client, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), errno);
    peer_close(f);
    run_once(f);
    assert_int_equal(calls.status, UV_EBADF);
    recorder_expect(&f->recorder, &f->reader, NULL);
    char byte;
    assert_int_equal(net_recv(server, &byte, 1), -ECONNRESET);
    wait_recv(f);
    expect_calls(2, 0);
    run_once(f); /* the end of the stream, now */
    recorder_expect(&f->recorder, &f->reader, NULL);
}

static void test_error_nobody_waits_for(void **state)
{
    struct fixture *f = *state;
    wait_recv(f);
    peer_send(f);
    run_once(f);
    receive_byte(f->sock.fd);
    recorder_expect(&f->recorder, &f->reader, NULL);
    fill(&f->sock);
    peer_close(f);
    for (int i = 0; i < 5; i++)
        loop_turn(&f->loop);
    assert_int_equal(calls.wakeups, 2);
    assert_true(calls.status < 0);
    assert_int_equal(uv_loop_alive(&f->loop), 0);
}

static void test_sock_wake(void **state)
{
    struct fixture *f = *state;
    sock_wake(&f->sock);
    recorder_expect(&f->recorder, NULL, NULL);
    fill(&f->sock);
    wait_send(f);
    wait_recv(f);
    sock_wake(&f->sock);
    recorder_expect(&f->recorder, &f->reader, &f->writer);
    sock_wake(&f->sock);
    recorder_expect(&f->recorder, NULL, NULL);
    assert_int_equal(calls.wakeups, 0);
}

/* Being woken by hand does not make the kernel take more. */
static void test_sock_wake_grants_no_send(void **state)
{
    struct fixture *f = *state;
    fill(&f->sock);
    wait_send(f);
    sock_wake(&f->sock);
    recorder_expect(&f->recorder, &f->writer, NULL);
    wait_send(f);
    expect_calls(1, 0);
    drain(f->peer);
    run_once(f);
    recorder_expect(&f->recorder, &f->writer, NULL);
}

static void test_failed_start_leaves_nobody_waiting(void **state)
{
    struct fixture *f = *state;
    fill(&f->sock);
    calls.fail = -ENOMEM;
    assert_int_equal(sock_wait_send(&f->sock, &f->writer), -ENOMEM);
    assert_null(f->sock.send_wait);
    calls.fail = -ENOMEM;
    assert_int_equal(sock_wait_recv(&f->sock, &f->reader), -ENOMEM);
    assert_null(f->sock.recv_wait);
    expect_calls(0, 0);
    wait_recv(f); /* and is started, not thought to be armed */
    expect_calls(1, 0);
    assert_int_equal(calls.armed, UV_READABLE);
}

/* The handle is not left started: libuv would try to get a watch itself. */
static void test_no_watch_leaves_nobody_waiting(void **state)
{
    struct fixture *f = *state;
    calls.no_watch = -ENOSPC;
    assert_int_equal(sock_wait_recv(&f->sock, &f->reader), -ENOSPC);
    assert_null(f->sock.recv_wait);
    assert_int_equal(calls.armed, 0);
    recorder_expect(&f->recorder, NULL, NULL);
    wait_recv(f);
    assert_int_equal(calls.armed, UV_READABLE);
}

/* The watch was for both of them. */
static void test_no_watch_wakes_who_waits_already(void **state)
{
    struct fixture *f = *state;
    fill(&f->sock);
    wait_recv(f);
    calls.no_watch = -ENOSPC;
    assert_int_equal(sock_wait_send(&f->sock, &f->writer), -ENOSPC);
    assert_null(f->sock.send_wait);
    assert_null(f->sock.recv_wait);
    recorder_expect(&f->recorder, &f->reader, NULL);
}

/* Its event has come for one of two, and the other one cannot be watched any more. */
static void test_no_watch_for_the_other_one(void **state)
{
    struct fixture *f = *state;
    fill(&f->sock);
    wait_recv(f);
    assert_int_equal(sock_wait_send(&f->sock, &f->writer), 0);
    sock_wake(&f->sock);
    recorder_expect(&f->recorder, &f->reader, &f->writer);
    assert_int_equal(sock_wait_send(&f->sock, &f->writer), 0);
    peer_send(f); /* no task waits for that any more */
    calls.no_watch = -ENOSPC;
    loop_turn(&f->loop);
    assert_int_equal(calls.no_watch, 0);
    assert_null(f->sock.send_wait);
    recorder_expect(&f->recorder, &f->writer, NULL);
}

static void test_init_makes_non_blocking(void **state)
{
    struct fixture *f = *state;
    int fds[2];
    assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), errno);
    fixture_replace(f, fds[0], fds[1]);
    assert_true((fcntl(fds[0], F_GETFL) & O_NONBLOCK) != 0);
}

static void test_regular_file_is_refused(void **state)
{
    struct fixture *f = *state;
    struct sock sock;
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_int_equal(sock_init(&sock, &f->loop, &f->recorder.waker, fileno(file)), -EPERM);
    assert_true(fd_is_open(fileno(file)));
    assert_return_code(fclose(file), errno);
}

static void test_same_descriptor_twice_is_refused(void **state)
{
    struct fixture *f = *state;
    struct sock twin;
    wait_recv(f);
    assert_int_equal(sock_init(&twin, &f->loop, &f->recorder.waker, f->sock.fd), -EEXIST);
    peer_send(f);
    run_once(f);
    recorder_expect(&f->recorder, &f->reader, NULL);
}

static void test_close_order(void **state)
{
    struct fixture *f = *state;
    int fd = f->sock.fd;
    wait_recv(f);
    peer_send(f);
    run_once(f);
    recorder_expect(&f->recorder, &f->reader, NULL);
    sock_close(&f->sock, on_closed); /* armed, and with bytes unread */
    assert_string_equal(calls.closes, "hd");
    assert_false(fd_is_open(fd));
    assert_int_equal(f->sock.fd, -1);
    assert_null(f->closed);
    loop_turn(&f->loop);
    assert_ptr_equal(f->closed, &f->sock.poll);
    assert_int_equal(calls.wakeups, 1);
}

static void test_reserve_makes_room(void **state)
{
    struct fixture *f = *state;
    unsigned highest = f->loop.nwatchers + 500;
    int fds = count_fds();
    assert_int_equal(sock_reserve(&f->loop, f->sock.fd, (int)highest), 0);
    assert_true(f->loop.nwatchers > highest);
    assert_int_equal(count_fds(), fds);
    assert_int_equal(uv_loop_alive(&f->loop), 0);
}

/* While others wait on the loop: nothing of theirs is lost, and reserving does not wait for it. */
static void test_reserve_beside_a_wait(void **state)
{
    struct fixture *f = *state;
    wait_recv(f);
    assert_int_equal(sock_reserve(&f->loop, f->sock.fd, 600), 0);
    recorder_expect(&f->recorder, NULL, NULL);
    peer_send(f);
    run_once(f);
    recorder_expect(&f->recorder, &f->reader, NULL);
}

static void test_reserve_above_the_limit(void **state)
{
    struct fixture *f = *state;
    struct rlimit limit;
    assert_return_code(getrlimit(RLIMIT_NOFILE, &limit), errno);
    int fds = count_fds();
    assert_int_equal(sock_reserve(&f->loop, f->sock.fd, (int)limit.rlim_cur), -EINVAL);
    assert_int_equal(count_fds(), fds);
}

/* Descriptors that the process has inherited stay open: the room below them is all it needs. */
static void test_reserve_below_inherited_ones(void **state)
{
    struct fixture *f = *state;
    struct rlimit before;
    int fds = count_fds();
    assert_return_code(getrlimit(RLIMIT_NOFILE, &before), errno);
    const struct rlimit limit = {.rlim_cur = 700, .rlim_max = before.rlim_max};
    assert_return_code(setrlimit(RLIMIT_NOFILE, &limit), errno);
    for (int fd = 697; fd < 700; fd++)
        assert_int_equal(dup3(f->sock.fd, fd, O_CLOEXEC), fd);
    assert_int_equal(sock_reserve(&f->loop, f->sock.fd, 699), 0);
    assert_true(f->loop.nwatchers > 696);
    for (int fd = 697; fd < 700; fd++)
        (void)close(fd);
    assert_return_code(setrlimit(RLIMIT_NOFILE, &before), errno);
    assert_int_equal(count_fds(), fds);
}

static void test_reserve_needs_a_socket(void **state)
{
    struct fixture *f = *state;
    FILE *file = tmpfile();
    assert_non_null(file);
    int fds = count_fds();
    assert_int_equal(sock_reserve(&f->loop, fileno(file), 600), -EPERM);
    assert_int_equal(count_fds(), fds);
    assert_return_code(fclose(file), errno);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_new_sock_is_at_rest),
        FIXTURE_TEST(test_recv_wait),
        FIXTURE_TEST(test_recv_wait_comes_late),
        FIXTURE_TEST(test_ping_pong_arms_once),
        FIXTURE_TEST(test_unwanted_event_disarms),
        FIXTURE_TEST(test_end_of_file_does_not_spin),
        FIXTURE_TEST(test_send_is_granted_until_refused),
        FIXTURE_TEST(test_short_send_is_a_refusal),
        FIXTURE_TEST(test_refused_at_once),
        FIXTURE_TEST(test_failed_send_is_no_refusal),
        FIXTURE_TEST(test_writable_does_not_spin),
        FIXTURE_TEST(test_refused_again_costs_nothing),
        FIXTURE_TEST(test_both_wait_and_each_is_woken_alone),
        FIXTURE_TEST(test_both_are_woken_by_one_event),
        FIXTURE_TEST(test_disarms_one_of_two),
        FIXTURE_TEST(test_arms_for_the_waits_alone),
        FIXTURE_TEST(test_second_receiver_is_refused),
        FIXTURE_TEST(test_second_sender_is_refused),
        FIXTURE_TEST(test_error_wakes_both),
        FIXTURE_TEST(test_wait_after_error_arms_anew),
        FIXTURE_TEST(test_reset_over_tcp),
        FIXTURE_TEST(test_error_nobody_waits_for),
        FIXTURE_TEST(test_sock_wake),
        FIXTURE_TEST(test_sock_wake_grants_no_send),
        FIXTURE_TEST(test_failed_start_leaves_nobody_waiting),
        FIXTURE_TEST(test_no_watch_leaves_nobody_waiting),
        FIXTURE_TEST(test_no_watch_wakes_who_waits_already),
        FIXTURE_TEST(test_no_watch_for_the_other_one),
        FIXTURE_TEST(test_init_makes_non_blocking),
        FIXTURE_TEST(test_regular_file_is_refused),
        FIXTURE_TEST(test_same_descriptor_twice_is_refused),
        FIXTURE_TEST(test_close_order),
        FIXTURE_TEST(test_reserve_makes_room),
        FIXTURE_TEST(test_reserve_beside_a_wait),
        FIXTURE_TEST(test_reserve_above_the_limit),
        FIXTURE_TEST(test_reserve_below_inherited_ones),
        FIXTURE_TEST(test_reserve_needs_a_socket),
    };
    return RUN_TESTS("sock", tests);
}
