/*
 * test_sock.c - the waits of a socket, on socket pairs and loopback connections, with a waker that
 * records the tasks that it woke. libuv's poll calls are wrapped and counted, because sock.c
 * promises how many there are, and because an event that comes again and again shows as a growing
 * count.
 */
#include "unit/support.h"

#include "os/net.h"
#include "task/sock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <sys/resource.h>

static struct {
    uv_loop_t loop;
    struct recorder recorder;
    struct sock sock;
    int peer; /* the other end, or -1 */
    int fds;  /* open before the socket pair was made */
    struct task reader;
    struct task writer;
    uv_handle_t *closed; /* what on_closed() was called with */
} fix;

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
    if (poll != &fix.sock.poll)
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
    fix.closed = handle;
}

static void peer_close(void)
{
    assert_return_code(close(fix.peer), 0);
    fix.peer = -1;
}

static int fixture_open(void **state)
{
    int fds[2];
    (void)state;
    memset(&fix, 0, sizeof fix);
    memset(&calls, 0, sizeof calls);
    assert_int_equal(uv_loop_init(&fix.loop), 0);
    recorder_init(&fix.recorder);
    fix.fds = count_fds();
    make_socketpair(fds);
    fix.peer = fds[1];
    memset(&fix.sock, 1, sizeof fix.sock); /* memory that was in use */
    assert_int_equal(sock_init(&fix.sock, &fix.loop, &fix.recorder.waker, fds[0]), 0);
    return 0;
}

static int fixture_close(void **state)
{
    (void)state;
    sock_wake(&fix.sock); /* a test may leave a task waiting */
    if (fix.closed == NULL)
        sock_close(&fix.sock, on_closed);
    if (fix.peer >= 0)
        peer_close();
    loop_turn(&fix.loop);
    assert_int_equal(count_fds(), fix.fds);
    loop_close(&fix.loop);
    assert_ptr_equal(fix.closed, &fix.sock.poll);
    return 0;
}

/* The socket of the test becomes this one. */
static void fixture_replace(int fd, int peer)
{
    sock_close(&fix.sock, NULL);
    loop_turn(&fix.loop);
    peer_close();
    fix.peer = peer;
    assert_int_equal(sock_init(&fix.sock, &fix.loop, &fix.recorder.waker, fd), 0);
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

static void peer_send(void)
{
    assert_int_equal(send(fix.peer, "x", 1, 0), 1);
}

static void receive_byte(int fd)
{
    char byte;
    assert_int_equal(recv(fd, &byte, 1, 0), 1);
}

static void wait_recv(void)
{
    assert_int_equal(sock_wait_recv(&fix.sock, &fix.reader), 0);
}

static void wait_send(void)
{
    assert_int_equal(sock_wait_send(&fix.sock, &fix.writer), 0);
}

/* Sleeps in the loop until there is an event. */
static void run_once(void)
{
    (void)uv_run(&fix.loop, UV_RUN_ONCE);
}

static void expect_calls(int starts, int stops)
{
    assert_int_equal(calls.starts, starts);
    assert_int_equal(calls.stops, stops);
}

static void test_new_sock_is_at_rest(void **state)
{
    (void)state;
    assert_null(fix.sock.recv_wait);
    assert_null(fix.sock.send_wait);
    assert_int_equal(fix.sock.armed, 0);
    assert_int_equal(uv_loop_alive(&fix.loop), 0);
    expect_calls(0, 0);
}

static void test_recv_wait(void **state)
{
    (void)state;
    wait_recv();
    assert_int_equal(calls.armed, UV_READABLE);
    loop_turn(&fix.loop);
    recorder_expect(&fix.recorder, NULL, NULL);
    peer_send();
    run_once();
    recorder_expect(&fix.recorder, &fix.reader, NULL);
    assert_null(fix.sock.recv_wait);
}

/* Bytes that have come before the wait wake as well. */
static void test_recv_wait_comes_late(void **state)
{
    (void)state;
    peer_send();
    wait_recv();
    recorder_expect(&fix.recorder, NULL, NULL);
    run_once();
    recorder_expect(&fix.recorder, &fix.reader, NULL);
}

static void test_ping_pong_arms_once(void **state)
{
    (void)state;
    for (int i = 0; i < 100; i++) {
        wait_recv();
        peer_send();
        run_once();
        recorder_expect(&fix.recorder, &fix.reader, NULL);
        receive_byte(fix.sock.fd);
        assert_int_equal(sock_wait_send(&fix.sock, &fix.reader), 1);
        assert_int_equal(sock_send(&fix.sock, "y", 1), 1);
        receive_byte(fix.peer);
    }
    expect_calls(1, 0);
    assert_int_equal(calls.wakeups, 100);
}

static void test_unwanted_event_disarms(void **state)
{
    (void)state;
    wait_recv();
    peer_send();
    for (int i = 0; i < 5; i++)
        loop_turn(&fix.loop);
    recorder_expect(&fix.recorder, &fix.reader, NULL); /* and did not read */
    assert_int_equal(calls.wakeups, 2);
    expect_calls(1, 1);
    assert_int_equal(uv_run(&fix.loop, UV_RUN_DEFAULT), 0); /* no handle keeps the loop running */
    wait_recv();
    expect_calls(2, 1);
    run_once();
    recorder_expect(&fix.recorder, &fix.reader, NULL);
}

static void test_end_of_file_does_not_spin(void **state)
{
    (void)state;
    char byte;
    wait_recv();
    assert_return_code(shutdown(fix.peer, SHUT_WR), 0);
    run_once();
    recorder_expect(&fix.recorder, &fix.reader, NULL);
    assert_int_equal(recv(fix.sock.fd, &byte, 1, 0), 0);
    for (int i = 0; i < 5; i++)
        loop_turn(&fix.loop);
    assert_int_equal(calls.wakeups, 2);
    expect_calls(1, 1);
    assert_int_equal(uv_loop_alive(&fix.loop), 0);
}

static void test_send_is_granted_until_refused(void **state)
{
    (void)state;
    assert_int_equal(sock_wait_send(&fix.sock, &fix.writer), 1);
    assert_int_equal(sock_send(&fix.sock, "x", 1), 1);
    assert_int_equal(sock_wait_send(&fix.sock, &fix.writer), 1);
    assert_null(fix.sock.send_wait);
    expect_calls(0, 0);
    fill(&fix.sock);
    wait_send();
    assert_int_equal(calls.armed, UV_WRITABLE);
    loop_turn(&fix.loop);
    recorder_expect(&fix.recorder, NULL, NULL);
    drain(fix.peer);
    run_once();
    recorder_expect(&fix.recorder, &fix.writer, NULL);
    assert_int_equal(sock_wait_send(&fix.sock, &fix.writer), 1);
}

/* A send that takes less than all is like -EAGAIN: the next wait really waits. */
static void test_short_send_is_a_refusal(void **state)
{
    (void)state;
    static const char huge[16 * 1024 * 1024];
    ssize_t n = sock_send(&fix.sock, huge, sizeof huge);
    assert_true(n > 0 && n < (ssize_t)sizeof huge);
    assert_int_equal(sock_wait_send(&fix.sock, &fix.writer), 0);
}

/* Bytes that did not go through sock_send() fill the buffer, so that it takes none at all. */
static void test_refused_at_once(void **state)
{
    (void)state;
    fill(&fix.sock);
    fix.sock.send_refused = false;
    assert_int_equal(sock_send(&fix.sock, "x", 1), -EAGAIN);
    wait_send();
}

static void test_failed_send_is_no_refusal(void **state)
{
    (void)state;
    peer_close();
    assert_int_equal(sock_send(&fix.sock, "x", 1), -EPIPE);
    assert_int_equal(sock_wait_send(&fix.sock, &fix.writer), 1);
}

/* WRITABLE stays armed for the next wait, and is disarmed once no task waits for it. */
static void test_writable_does_not_spin(void **state)
{
    (void)state;
    fill(&fix.sock);
    wait_send();
    drain(fix.peer);
    for (int i = 0; i < 5; i++)
        loop_turn(&fix.loop);
    recorder_expect(&fix.recorder, &fix.writer, NULL);
    assert_int_equal(calls.wakeups, 2);
    expect_calls(1, 1);
}

static void test_refused_again_costs_nothing(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        fill(&fix.sock);
        wait_send();
        drain(fix.peer);
        run_once();
        recorder_expect(&fix.recorder, &fix.writer, NULL);
    }
    expect_calls(1, 0);
}

static void test_both_wait_and_each_is_woken_alone(void **state)
{
    (void)state;
    fill(&fix.sock);
    wait_recv();
    wait_send();
    assert_int_equal(calls.armed, UV_READABLE | UV_WRITABLE);
    peer_send();
    run_once();
    recorder_expect(&fix.recorder, &fix.reader, NULL);
    assert_ptr_equal(fix.sock.send_wait, &fix.writer);
    receive_byte(fix.sock.fd);
    drain(fix.peer);
    run_once();
    recorder_expect(&fix.recorder, &fix.writer, NULL);
}

static void test_both_are_woken_by_one_event(void **state)
{
    (void)state;
    fill(&fix.sock);
    wait_send();
    wait_recv();
    drain(fix.peer);
    peer_send();
    run_once();
    recorder_expect(&fix.recorder, &fix.reader, &fix.writer);
    assert_int_equal(calls.wakeups, 1);
}

/* Only what is unwanted is disarmed: the other wait goes on. */
static void test_disarms_one_of_two(void **state)
{
    (void)state;
    fill(&fix.sock);
    wait_recv();
    wait_send();
    peer_send();
    for (int i = 0; i < 5; i++)
        loop_turn(&fix.loop);
    recorder_expect(&fix.recorder, &fix.reader, NULL); /* and did not read */
    assert_int_equal(calls.wakeups, 2);
    assert_int_equal(calls.armed, UV_WRITABLE);
    expect_calls(3, 0);
    drain(fix.peer);
    run_once();
    recorder_expect(&fix.recorder, &fix.writer, NULL);
}

/* A wait that starts the handle anew drops the events for which no task waits any more. */
static void test_arms_for_the_waits_alone(void **state)
{
    (void)state;
    wait_recv();
    peer_send();
    run_once();
    recorder_expect(&fix.recorder, &fix.reader, NULL); /* and does not read */
    fill(&fix.sock);
    wait_send();
    assert_int_equal(calls.armed, UV_WRITABLE);
    loop_turn(&fix.loop);
    assert_int_equal(calls.wakeups, 1);
}

static void test_second_receiver_is_refused(void **state)
{
    (void)state;
    wait_recv();
    assert_int_equal(sock_wait_recv(&fix.sock, &fix.writer), -EBUSY);
    peer_send();
    run_once();
    recorder_expect(&fix.recorder, &fix.reader, NULL);
}

static void test_second_sender_is_refused(void **state)
{
    (void)state;
    fill(&fix.sock);
    wait_send();
    assert_int_equal(sock_wait_send(&fix.sock, &fix.reader), -EBUSY);
    drain(fix.peer);
    run_once();
    recorder_expect(&fix.recorder, &fix.writer, NULL);
}

/* Unread bytes at the peer make its close a reset. Both tasks are woken, and get the error. */
static void test_error_wakes_both(void **state)
{
    (void)state;
    char byte;
    fill(&fix.sock);
    wait_recv();
    wait_send();
    peer_close();
    run_once();
    assert_true(calls.status < 0);
    recorder_expect(&fix.recorder, &fix.reader, &fix.writer);
    assert_int_equal(net_recv(fix.sock.fd, &byte, 1), -ECONNRESET);
    assert_int_equal(sock_wait_send(&fix.sock, &fix.writer),
                     1); /* granted, and the next send returns the error */
}

/* libuv has stopped the handle by itself: the next wait must start it anew. */
static void test_wait_after_error_arms_anew(void **state)
{
    (void)state;
    fill(&fix.sock);
    wait_recv();
    peer_close();
    run_once();
    assert_true(calls.status < 0);
    recorder_expect(&fix.recorder, &fix.reader, NULL);
    expect_calls(1, 0);
    wait_recv();
    expect_calls(2, 0);
    run_once();
    recorder_expect(&fix.recorder, &fix.reader, NULL);
}

/* Makes a connection on 127.0.0.1. Returns the server's end; *client is the other. */
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
    (void)state;
    const struct linger reset = {.l_onoff = 1, .l_linger = 0};
    int client = -1;
    int server = tcp_connect(&client);
    fixture_replace(server, client);
    wait_recv();
    loop_turn(&fix.loop);
    assert_return_code(setsockopt(client, SOL_SOCKET, SO_LINGER, &reset, sizeof reset), errno);
    peer_close();
    run_once();
    assert_int_equal(calls.status, UV_EBADF);
    recorder_expect(&fix.recorder, &fix.reader, NULL);
    char byte;
    assert_int_equal(net_recv(server, &byte, 1), -ECONNRESET);
    wait_recv();
    expect_calls(2, 0);
    run_once(); /* the end of the stream, now */
    recorder_expect(&fix.recorder, &fix.reader, NULL);
}

static void test_error_nobody_waits_for(void **state)
{
    (void)state;
    wait_recv();
    peer_send();
    run_once();
    receive_byte(fix.sock.fd);
    recorder_expect(&fix.recorder, &fix.reader, NULL);
    fill(&fix.sock);
    peer_close();
    for (int i = 0; i < 5; i++)
        loop_turn(&fix.loop);
    assert_int_equal(calls.wakeups, 2);
    assert_true(calls.status < 0);
    assert_int_equal(uv_loop_alive(&fix.loop), 0);
}

static void test_sock_wake(void **state)
{
    (void)state;
    sock_wake(&fix.sock);
    recorder_expect(&fix.recorder, NULL, NULL);
    fill(&fix.sock);
    wait_send();
    wait_recv();
    sock_wake(&fix.sock);
    recorder_expect(&fix.recorder, &fix.reader, &fix.writer);
    sock_wake(&fix.sock);
    recorder_expect(&fix.recorder, NULL, NULL);
    assert_int_equal(calls.wakeups, 0);
}

/* A task that is woken by hand finds the buffer still full. */
static void test_sock_wake_grants_no_send(void **state)
{
    (void)state;
    fill(&fix.sock);
    wait_send();
    sock_wake(&fix.sock);
    recorder_expect(&fix.recorder, &fix.writer, NULL);
    wait_send();
    expect_calls(1, 0);
    drain(fix.peer);
    run_once();
    recorder_expect(&fix.recorder, &fix.writer, NULL);
}

static void test_failed_start_leaves_nobody_waiting(void **state)
{
    (void)state;
    fill(&fix.sock);
    calls.fail = -ENOMEM;
    assert_int_equal(sock_wait_send(&fix.sock, &fix.writer), -ENOMEM);
    assert_null(fix.sock.send_wait);
    calls.fail = -ENOMEM;
    assert_int_equal(sock_wait_recv(&fix.sock, &fix.reader), -ENOMEM);
    assert_null(fix.sock.recv_wait);
    expect_calls(0, 0);
    wait_recv(); /* and is started, not thought to be armed */
    expect_calls(1, 0);
    assert_int_equal(calls.armed, UV_READABLE);
}

/* The handle is not left started: libuv would try to get a watch itself. */
static void test_no_watch_leaves_nobody_waiting(void **state)
{
    (void)state;
    calls.no_watch = -ENOSPC;
    assert_int_equal(sock_wait_recv(&fix.sock, &fix.reader), -ENOSPC);
    assert_null(fix.sock.recv_wait);
    assert_int_equal(calls.armed, 0);
    recorder_expect(&fix.recorder, NULL, NULL);
    wait_recv();
    assert_int_equal(calls.armed, UV_READABLE);
}

/* The watch was for both of them. */
static void test_no_watch_wakes_who_waits_already(void **state)
{
    (void)state;
    fill(&fix.sock);
    wait_recv();
    calls.no_watch = -ENOSPC;
    assert_int_equal(sock_wait_send(&fix.sock, &fix.writer), -ENOSPC);
    assert_null(fix.sock.send_wait);
    assert_null(fix.sock.recv_wait);
    recorder_expect(&fix.recorder, &fix.reader, NULL);
}

/* Its event has come for one of two, and the other one cannot be watched any more. */
static void test_no_watch_for_the_other_one(void **state)
{
    (void)state;
    fill(&fix.sock);
    wait_recv();
    assert_int_equal(sock_wait_send(&fix.sock, &fix.writer), 0);
    sock_wake(&fix.sock);
    recorder_expect(&fix.recorder, &fix.reader, &fix.writer);
    assert_int_equal(sock_wait_send(&fix.sock, &fix.writer), 0);
    peer_send(); /* no task waits for that any more */
    calls.no_watch = -ENOSPC;
    loop_turn(&fix.loop);
    assert_int_equal(calls.no_watch, 0);
    assert_null(fix.sock.send_wait);
    recorder_expect(&fix.recorder, &fix.writer, NULL);
}

static void test_init_makes_non_blocking(void **state)
{
    (void)state;
    int fds[2];
    assert_return_code(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), errno);
    fixture_replace(fds[0], fds[1]);
    assert_true((fcntl(fds[0], F_GETFL) & O_NONBLOCK) != 0);
}

static void test_regular_file_is_refused(void **state)
{
    (void)state;
    struct sock sock;
    FILE *file = tmpfile();
    assert_non_null(file);
    assert_int_equal(sock_init(&sock, &fix.loop, &fix.recorder.waker, fileno(file)), -EPERM);
    assert_true(fd_is_open(fileno(file)));
    assert_return_code(fclose(file), errno);
}

static void test_same_descriptor_twice_is_refused(void **state)
{
    (void)state;
    struct sock twin;
    wait_recv();
    assert_int_equal(sock_init(&twin, &fix.loop, &fix.recorder.waker, fix.sock.fd), -EEXIST);
    peer_send();
    run_once();
    recorder_expect(&fix.recorder, &fix.reader, NULL);
}

static void test_close_order(void **state)
{
    (void)state;
    int fd = fix.sock.fd;
    wait_recv();
    peer_send();
    run_once();
    recorder_expect(&fix.recorder, &fix.reader, NULL);
    sock_close(&fix.sock, on_closed); /* armed, and with bytes unread */
    assert_string_equal(calls.closes, "hd");
    assert_false(fd_is_open(fd));
    assert_int_equal(fix.sock.fd, -1);
    assert_null(fix.closed);
    loop_turn(&fix.loop);
    assert_ptr_equal(fix.closed, &fix.sock.poll);
    assert_int_equal(calls.wakeups, 1);
}

static void test_reserve_makes_room(void **state)
{
    (void)state;
    unsigned highest = fix.loop.nwatchers + 500;
    int fds = count_fds();
    assert_int_equal(sock_reserve(&fix.loop, fix.sock.fd, (int)highest), 0);
    assert_true(fix.loop.nwatchers > highest);
    assert_int_equal(count_fds(), fds);
    assert_int_equal(uv_loop_alive(&fix.loop), 0);
}

/* Reserving while a task waits on the loop neither loses its event nor waits for it. */
static void test_reserve_beside_a_wait(void **state)
{
    (void)state;
    wait_recv();
    assert_int_equal(sock_reserve(&fix.loop, fix.sock.fd, 600), 0);
    recorder_expect(&fix.recorder, NULL, NULL);
    peer_send();
    run_once();
    recorder_expect(&fix.recorder, &fix.reader, NULL);
}

static void test_reserve_above_the_limit(void **state)
{
    (void)state;
    struct rlimit limit;
    assert_return_code(getrlimit(RLIMIT_NOFILE, &limit), errno);
    int fds = count_fds();
    assert_int_equal(sock_reserve(&fix.loop, fix.sock.fd, (int)limit.rlim_cur), -EINVAL);
    assert_int_equal(count_fds(), fds);
}

/* Descriptors that the process has inherited stay open: the room below them is all it needs. */
static void test_reserve_below_inherited_ones(void **state)
{
    (void)state;
    struct rlimit before;
    int fds = count_fds();
    assert_return_code(getrlimit(RLIMIT_NOFILE, &before), errno);
    const struct rlimit limit = {.rlim_cur = 700, .rlim_max = before.rlim_max};
    assert_return_code(setrlimit(RLIMIT_NOFILE, &limit), errno);
    for (int fd = 697; fd < 700; fd++)
        assert_int_equal(dup3(fix.sock.fd, fd, O_CLOEXEC), fd);
    assert_int_equal(sock_reserve(&fix.loop, fix.sock.fd, 699), 0);
    assert_true(fix.loop.nwatchers > 696);
    for (int fd = 697; fd < 700; fd++)
        (void)close(fd);
    assert_return_code(setrlimit(RLIMIT_NOFILE, &before), errno);
    assert_int_equal(count_fds(), fds);
}

static void test_reserve_needs_a_socket(void **state)
{
    (void)state;
    FILE *file = tmpfile();
    assert_non_null(file);
    int fds = count_fds();
    assert_int_equal(sock_reserve(&fix.loop, fileno(file), 600), -EPERM);
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
