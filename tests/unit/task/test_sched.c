/*
 * test_sched.c - the run queue and what becomes of each yield. Tasks write their names to a trace
 * as they run, and a check handle writes a '|' when the loop has polled: "ab|a" is two turns.
 */
#include "unit/support.h"

#include "os/net.h"
#include "task/sched.h"
#include "task/sock.h"
#include "task/timer.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/syscall.h>

enum { HOUR_MS = 3600 * 1000, PING_PONGS = 1000 };

/* A task of these tests. */
struct frame {
    struct task task;
    struct frame *child; /* spawned by step_spawn() */
    int rounds;          /* left to step_rounds() */
    char name;
};

static struct {
    uv_loop_t loop;
    struct sched sched;
    uv_check_t check;
    struct sock sock;
    struct timer timer;
    int peer;        /* the other end of sock */
    char trace[256]; /* who ran; '|': the loop has polled */
} fix;

/* What a further epoll watch fails with; 0: there are enough. */
static int no_watch;

/* Found by libuv, too, before the C library's. */
int epoll_ctl(int epoll, int op, int fd, struct epoll_event *event)
{
    if (op == EPOLL_CTL_ADD && no_watch != 0) {
        errno = no_watch;
        return -1;
    }
    return (int)syscall(SYS_epoll_ctl, epoll, op, fd, event);
}

static void note(char what)
{
    size_t len = strlen(fix.trace);
    if (len + 1 < sizeof fix.trace)
        fix.trace[len] = what;
}

static void on_check(uv_check_t *check)
{
    assert_ptr_equal(check, &fix.check);
    note('|');
}

static int fixture_open(void **state)
{
    int fds[2];
    (void)state;
    memset(&fix, 0, sizeof fix);
    no_watch = 0;
    assert_int_equal(uv_loop_init(&fix.loop), 0);
    memset(&fix.sched, 1, sizeof fix.sched); /* memory that was in use */
    sched_init(&fix.sched, &fix.loop);
    assert_int_equal(uv_check_init(&fix.loop, &fix.check), 0);
    assert_int_equal(uv_check_start(&fix.check, on_check), 0);
    uv_unref((uv_handle_t *)&fix.check);
    make_socketpair(fds);
    fix.peer = fds[1];
    assert_int_equal(sock_init(&fix.sock, &fix.loop, &fix.sched.waker, fds[0]), 0);
    timer_init(&fix.timer, &fix.loop, &fix.sched.waker);
    return 0;
}

static int fixture_close(void **state)
{
    (void)state;
    fix.sock.recv_wait = NULL; /* tests of errors leave a task waiting */
    fix.sock.send_wait = NULL;
    sock_close(&fix.sock, NULL);
    timer_close(&fix.timer, NULL);
    uv_close((uv_handle_t *)&fix.check, NULL);
    sched_close(&fix.sched);
    assert_return_code(close(fix.peer), errno);
    loop_close(&fix.loop);
    return 0;
}

static struct frame *enter(struct task *task)
{
    struct frame *frame = container_of(task, struct frame, task);
    note(frame->name);
    return frame;
}

static struct yield step_done(struct task *task)
{
    (void)enter(task);
    return yield_done(task);
}

/* Runs rounds times, each in another turn. */
static struct yield step_rounds(struct task *task)
{
    struct frame *frame = enter(task);
    if (--frame->rounds == 0)
        return yield_done(task);
    sched_wake(&fix.sched, task);
    return yield_park(task, step_rounds);
}

static struct yield step_spawn(struct task *task)
{
    struct frame *frame = enter(task);
    sched_spawn(&fix.sched, &frame->child->task, step_done);
    return yield_done(task);
}

static struct yield step_recv(struct task *task)
{
    (void)enter(task);
    return yield_recv(task, &fix.sock, step_done);
}

static struct yield step_send(struct task *task)
{
    (void)enter(task);
    return yield_send(task, &fix.sock, step_done);
}

static struct yield step_sleep_short(struct task *task)
{
    (void)enter(task);
    return yield_sleep(task, &fix.timer, 1, step_done);
}

static struct yield step_sleep_long(struct task *task)
{
    (void)enter(task);
    return yield_sleep(task, &fix.timer, HOUR_MS, step_done);
}

static struct yield step_park(struct task *task)
{
    (void)enter(task);
    return yield_park(task, step_done);
}

static struct yield step_unknown(struct task *task)
{
    struct yield why = yield_park(task, step_done);
    (void)enter(task);
    why.reason = (enum yield_reason)42;
    return why;
}

static void spawn(struct frame *frame, char name, task_step *first)
{
    frame->name = name;
    memset(&frame->task, 1, sizeof frame->task);
    sched_spawn(&fix.sched, &frame->task, first);
}

static bool idle_is_active(void)
{
    return uv_is_active((const uv_handle_t *)&fix.sched.idle) != 0;
}

/* The loop may sleep, as the queue is empty. */
static void expect_idle_stopped(void)
{
    assert_null(fix.sched.head);
    assert_false(idle_is_active());
}

static void peer_send(void)
{
    assert_int_equal(send(fix.peer, "x", 1, 0), 1);
}

static void fill(struct sock *sock)
{
    static const char block[64 * 1024];
    while (sock_send(sock, block, sizeof block) > 0)
        ;
}

static void drain(int fd)
{
    char block[64 * 1024];
    while (recv(fd, block, sizeof block, MSG_DONTWAIT) > 0)
        ;
}

static void test_nothing_to_run(void **state)
{
    (void)state;
    expect_idle_stopped();
    assert_int_equal(sched_run(&fix.sched), 0);
    assert_int_equal(fix.sched.tasks, 0);
}

static void test_first_in_first_out(void **state)
{
    (void)state;
    struct frame a, b, c;
    spawn(&a, 'a', step_done);
    spawn(&b, 'b', step_done);
    spawn(&c, 'c', step_done);
    assert_string_equal(fix.trace, ""); /* nothing runs before the loop does */
    assert_int_equal(sched_run(&fix.sched), 0);
    assert_string_equal(fix.trace, "abc|");
}

static void test_order_lasts_over_turns(void **state)
{
    (void)state;
    struct frame a = {.rounds = 3}, b = {.rounds = 2}, c = {.rounds = 3};
    spawn(&a, 'a', step_rounds);
    spawn(&b, 'b', step_rounds);
    spawn(&c, 'c', step_rounds);
    assert_int_equal(sched_run(&fix.sched), 0);
    assert_string_equal(fix.trace, "abc|abc|ac|");
}

/* The order of waking counts, not that of waiting. */
static void test_woken_in_order_of_waking(void **state)
{
    (void)state;
    struct frame a, b;
    spawn(&a, 'a', step_park);
    spawn(&b, 'b', step_park);
    loop_turn(&fix.loop);
    sched_wake(&fix.sched, &b.task);
    sched_wake(&fix.sched, &a.task);
    assert_int_equal(sched_run(&fix.sched), 0);
    assert_string_equal(fix.trace, "ab|ba|");
}

static void test_idle_follows_the_queue(void **state)
{
    (void)state;
    struct frame a = {.rounds = 2}, b;
    assert_false(idle_is_active());
    spawn(&a, 'a', step_rounds);
    assert_true(idle_is_active());
    spawn(&b, 'b', step_park);
    loop_turn(&fix.loop);
    assert_true(idle_is_active()); /* a is queued again */
    loop_turn(&fix.loop);
    expect_idle_stopped(); /* b waits, but not in the queue */
    sched_wake(&fix.sched, &b.task);
    assert_true(idle_is_active());
    loop_turn(&fix.loop);
    expect_idle_stopped();
}

/* When all tasks wait, the loop sleeps without limit. */
static void test_waiting_uses_no_time(void **state)
{
    (void)state;
    struct frame a;
    spawn(&a, 'a', step_recv);
    assert_int_equal(uv_backend_timeout(&fix.loop), 0);
    loop_turn(&fix.loop);
    expect_idle_stopped();
    assert_int_equal(uv_backend_timeout(&fix.loop), -1);
}

static void test_recv(void **state)
{
    (void)state;
    struct frame a;
    spawn(&a, 'a', step_recv);
    loop_turn(&fix.loop);
    assert_ptr_equal(fix.sock.recv_wait, &a.task);
    peer_send();
    assert_int_equal(sched_run(&fix.sched), 0);
    assert_string_equal(fix.trace, "a||a|");
    assert_int_equal(fix.sched.tasks, 0);
}

static void test_granted_send_goes_on_in_the_turn(void **state)
{
    (void)state;
    struct frame a, b;
    spawn(&a, 'a', step_send);
    spawn(&b, 'b', step_done);
    assert_int_equal(sched_run(&fix.sched), 0);
    assert_string_equal(fix.trace, "aab|");
    assert_int_equal(fix.sched.tasks, 0);
}

static void test_refused_send_waits(void **state)
{
    (void)state;
    struct frame a, b;
    fill(&fix.sock);
    spawn(&a, 'a', step_send);
    spawn(&b, 'b', step_done);
    loop_turn(&fix.loop);
    assert_ptr_equal(fix.sock.send_wait, &a.task);
    expect_idle_stopped();
    drain(fix.peer);
    assert_int_equal(sched_run(&fix.sched), 0);
    assert_string_equal(fix.trace, "ab||a|");
}

static struct yield step_recv_byte(struct task *task)
{
    char byte;
    (void)enter(task);
    if (net_recv(fix.sock.fd, &byte, 1) == -EAGAIN)
        return yield_recv(task, &fix.sock, step_recv_byte);
    return yield_done(task);
}

static struct yield step_send_byte(struct task *task)
{
    (void)enter(task);
    if (sock_send(&fix.sock, "x", 1) == -EAGAIN)
        return yield_send(task, &fix.sock, step_send_byte);
    return yield_done(task);
}

/* Nothing can be watched any more. libuv has its own watches from the loop's first pass on. */
static void take_watches(int error)
{
    struct frame first;
    spawn(&first, '.', step_done);
    loop_turn(&fix.loop);
    assert_string_equal(fix.trace, ".|");
    no_watch = error;
}

/* Without a watch the kernel would never tell of the event: the task looks now and then. */
static void check_no_watch(int error)
{
    struct frame a, b;
    take_watches(error);
    spawn(&a, 'a', step_recv_byte);
    spawn(&b, 'b', step_done);
    for (int i = 0; i < 3; i++)
        loop_turn(&fix.loop);
    assert_memory_equal(fix.trace, ".|ab|", 5);
    assert_int_equal(fix.sched.error, 0);
    assert_null(fix.sock.recv_wait);
    expect_idle_stopped(); /* and does not spin */
    assert_int_equal(send(fix.peer, "x", 1, 0), 1);
    assert_int_equal(sched_run(&fix.sched), 0);
    assert_int_equal(fix.sched.tasks, 0);
}

static void test_no_watch_for_a_wait(void **state)
{
    (void)state;
    check_no_watch(ENOSPC);
}

static void test_no_memory_for_a_watch(void **state)
{
    (void)state;
    check_no_watch(ENOMEM);
}

/* libuv gives the watch back and asks for another one when the reason changes. */
static void test_no_watch_for_another_reason(void **state)
{
    (void)state;
    struct frame a, b;
    spawn(&a, 'a', step_recv_byte);
    loop_turn(&fix.loop);
    assert_ptr_equal(fix.sock.recv_wait, &a.task);
    fill(&fix.sock);
    no_watch = ENOSPC;
    spawn(&b, 'b', step_send_byte);
    for (int i = 0; i < 3; i++)
        loop_turn(&fix.loop);
    expect_idle_stopped();
    assert_int_equal(fix.sched.tasks, 2);
    no_watch = 0;
    drain(fix.peer);
    assert_int_equal(send(fix.peer, "x", 1, 0), 1);
    assert_int_equal(sched_run(&fix.sched), 0);
    assert_int_equal(fix.sched.tasks, 0);
}

/* There is a watch again before there is an event. */
static void test_a_watch_is_had_later(void **state)
{
    (void)state;
    struct frame a;
    take_watches(ENOSPC);
    spawn(&a, 'a', step_recv_byte);
    loop_turn(&fix.loop);
    no_watch = 0;
    while (fix.sock.recv_wait == NULL)
        loop_turn(&fix.loop);
    expect_idle_stopped();
    assert_int_equal(send(fix.peer, "x", 1, 0), 1);
    while (fix.sched.tasks > 0)
        loop_turn(&fix.loop);
}

/* A task that is to end does not wait until it would look again. */
static void test_wake_without_a_watch(void **state)
{
    (void)state;
    struct frame a;
    take_watches(ENOSPC);
    spawn(&a, 'a', step_recv_byte);
    loop_turn(&fix.loop);
    assert_ptr_equal(fix.sched.unwatched, &a.task);
    assert_int_equal(send(fix.peer, "x", 1, 0), 1);
    sched_wake_unwatched(&fix.sched);
    assert_null(fix.sched.unwatched);
    assert_false(uv_is_active((uv_handle_t *)&fix.sched.retry));
    loop_turn(&fix.loop);
    assert_int_equal(fix.sched.tasks, 0);
    sched_wake_unwatched(&fix.sched); /* nobody waits so any more */
    expect_idle_stopped();
}

static void test_sleep(void **state)
{
    (void)state;
    struct frame a, b;
    spawn(&a, 'a', step_sleep_short);
    spawn(&b, 'b', step_done);
    uint64_t begin_ms = uv_now(&fix.loop);
    assert_int_equal(sched_run(&fix.sched), 0);
    assert_true(uv_now(&fix.loop) > begin_ms);
    assert_memory_equal(fix.trace, "ab|", 3);
    assert_string_equal(fix.trace + strlen(fix.trace) - 2, "a|");
    assert_int_equal(fix.sched.tasks, 0);
}

static void test_sleep_ends_early(void **state)
{
    (void)state;
    struct frame a;
    spawn(&a, 'a', step_sleep_long);
    loop_turn(&fix.loop);
    assert_ptr_equal(fix.timer.sleeper, &a.task);
    timer_wake(&fix.timer);
    assert_int_equal(sched_run(&fix.sched), 0);
    assert_string_equal(fix.trace, "a|a|");
}

/* sched_run() does not wait for a task that nothing can wake. */
static void test_parked_task_does_not_keep_it_running(void **state)
{
    (void)state;
    struct frame a;
    spawn(&a, 'a', step_park);
    assert_int_equal(sched_run(&fix.sched), 0);
    assert_int_equal(fix.sched.tasks, 1);
    sched_wake(&fix.sched, &a.task);
    assert_int_equal(sched_run(&fix.sched), 0);
    assert_string_equal(fix.trace, "a|a|");
    assert_int_equal(fix.sched.tasks, 0);
}

static void test_tasks_are_counted(void **state)
{
    (void)state;
    struct frame a, b, c;
    spawn(&a, 'a', step_done);
    spawn(&b, 'b', step_recv);
    spawn(&c, 'c', step_park);
    assert_int_equal(fix.sched.tasks, 3);
    loop_turn(&fix.loop);
    assert_int_equal(fix.sched.tasks, 2);
    sock_wake(&fix.sock);
    loop_turn(&fix.loop);
    assert_int_equal(fix.sched.tasks, 1);
    sched_wake(&fix.sched, &c.task);
    loop_turn(&fix.loop);
    assert_int_equal(fix.sched.tasks, 0);
}

static void test_spawn_and_finish_in_a_step(void **state)
{
    (void)state;
    struct frame a, b, c;
    a.child = &c;
    c.name = 'c';
    spawn(&a, 'a', step_spawn);
    spawn(&b, 'b', step_done);
    loop_turn(&fix.loop);
    assert_string_equal(fix.trace, "ab|");
    assert_int_equal(fix.sched.tasks, 1);
    assert_int_equal(sched_run(&fix.sched), 0);
    assert_string_equal(fix.trace, "ab|c|"); /* the next turn, after the sockets were polled */
    assert_int_equal(fix.sched.tasks, 0);
}

/* A task that never waits does not keep others from their sockets. */
static void test_busy_task_starves_nobody(void **state)
{
    (void)state;
    struct frame reader, busy = {.rounds = 5};
    spawn(&reader, 'r', step_recv);
    peer_send();
    spawn(&busy, 'b', step_rounds);
    assert_int_equal(sched_run(&fix.sched), 0);
    assert_string_equal(fix.trace, "rb|br|b|b|b|");
}

/* A finished frame can be used again at once, even by the step that finished. */
static void test_frame_is_spawned_again(void **state)
{
    (void)state;
    struct frame a;
    for (int i = 0; i < 3; i++) {
        spawn(&a, 'a', step_done);
        assert_int_equal(sched_run(&fix.sched), 0);
    }
    assert_string_equal(fix.trace, "a|a|a|");
}

static void test_unknown_reason(void **state)
{
    (void)state;
    struct frame a, b, c;
    spawn(&a, 'a', step_done);
    spawn(&b, 'b', step_unknown);
    spawn(&c, 'c', step_done);
    assert_int_equal(sched_run(&fix.sched), -EINVAL);
    assert_int_equal(fix.sched.reason, 42);
    assert_int_equal(fix.sched.error, -EINVAL);
    assert_string_equal(fix.trace, "ab|"); /* c does not run any more */
    assert_ptr_equal(fix.sched.head, &c.task);
}

/* Both tasks take this step. The second wait is a mistake, and the first one is kept. */
static void expect_busy(task_step *step, enum yield_reason reason, struct task *const *wait)
{
    struct frame a, b;
    spawn(&a, 'a', step);
    spawn(&b, 'b', step);
    assert_int_equal(sched_run(&fix.sched), -EBUSY);
    assert_int_equal(fix.sched.reason, reason);
    assert_ptr_equal(*wait, &a.task);
    assert_string_equal(fix.trace, "ab|");
}

static void test_second_receiver(void **state)
{
    (void)state;
    expect_busy(step_recv, YIELD_RECV, &fix.sock.recv_wait);
}

static void test_second_sender(void **state)
{
    (void)state;
    fill(&fix.sock);
    expect_busy(step_send, YIELD_SEND, &fix.sock.send_wait);
}

static void test_second_sleeper(void **state)
{
    (void)state;
    expect_busy(step_sleep_long, YIELD_SLEEP, &fix.timer.sleeper);
}

/* An end of a socket pair that sends a byte, receives one, and so on. */
struct player {
    struct task task;
    struct sock sock;
    int left;
};

struct match {
    struct player players[2];
    int rc; /* 0, or what failed */
};

static struct yield player_recv(struct task *task);

static struct yield player_send(struct task *task)
{
    struct player *player = container_of(task, struct player, task);
    if (sock_send(&player->sock, "x", 1) != 1)
        return yield_send(task, &player->sock, player_send);
    return yield_recv(task, &player->sock, player_recv);
}

static struct yield player_recv(struct task *task)
{
    struct player *player = container_of(task, struct player, task);
    char byte;
    if (net_recv(player->sock.fd, &byte, 1) != 1)
        return yield_recv(task, &player->sock, player_recv);
    if (--player->left > 0)
        return yield_send(task, &player->sock, player_send);
    (void)sock_send(&player->sock, "x", 1); /* lets the other one finish */
    sock_close(&player->sock, NULL);
    return yield_done(task);
}

/* Sets up the match on the scheduler. No asserts here and below: cmocka's belong to one thread. */
static int match_begin(struct match *match, struct sched *sched)
{
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return -errno;
    for (int i = 0; i < 2; i++) {
        struct player *player = &match->players[i];
        player->left = PING_PONGS;
        int rc = sock_init(&player->sock, sched->loop, &sched->waker, fds[i]);
        if (rc < 0)
            return rc;
        sched_spawn(sched, &player->task, i == 0 ? player_send : player_recv);
    }
    return 0;
}

/* Whether both have played to the end. */
static bool match_is_over(const struct match *match)
{
    return match->players[0].left == 0 && match->players[1].left == 0;
}

/* Makes, runs and closes a loop with its scheduler, in a thread. */
static void on_match_thread(void *arg)
{
    struct match *match = arg;
    uv_loop_t loop;
    struct sched sched;
    match->rc = uv_loop_init(&loop);
    if (match->rc < 0)
        return;
    sched_init(&sched, &loop);
    match->rc = match_begin(match, &sched);
    if (match->rc == 0)
        match->rc = sched_run(&sched);
    sched_close(&sched);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    if (match->rc == 0)
        match->rc = uv_loop_close(&loop);
}

static void test_two_threads(void **state)
{
    (void)state;
    static struct match matches[2];
    uv_thread_t threads[2];
    int fds = count_fds();
    for (int i = 0; i < 2; i++)
        assert_int_equal(uv_thread_create(&threads[i], on_match_thread, &matches[i]), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(uv_thread_join(&threads[i]), 0);
        assert_int_equal(matches[i].rc, 0);
        assert_true(match_is_over(&matches[i]));
    }
    assert_int_equal(count_fds(), fds);
}

/* One thread, two loops: what happens in one is not seen in the other. */
static void test_two_schedulers_in_turn(void **state)
{
    (void)state;
    struct frame here;
    uv_loop_t loop;
    struct sched sched;
    static struct match match;
    assert_int_equal(uv_loop_init(&loop), 0);
    sched_init(&sched, &loop);
    assert_int_equal(match_begin(&match, &sched), 0);
    spawn(&here, 'h', step_unknown);
    assert_int_equal(fix.sched.tasks, 1);
    assert_int_equal(sched.tasks, 2);
    for (int i = 0; i < 5; i++)
        loop_turn(&loop);
    assert_string_equal(fix.trace, "");
    assert_int_equal(sched_run(&fix.sched), -EINVAL);
    assert_int_equal(sched_run(&sched), 0); /* the mistake was on the other scheduler */
    assert_true(match_is_over(&match));
    sched_close(&sched);
    loop_close(&loop);
}

/* Calls by which libuv comes to call epoll_ctl(2). */
static int poll_starts;
static int poll_stops;

int __wrap_uv_poll_start(uv_poll_t *handle, int events, uv_poll_cb on_poll);
int __real_uv_poll_start(uv_poll_t *handle, int events, uv_poll_cb on_poll);
int __wrap_uv_poll_stop(uv_poll_t *handle);
int __real_uv_poll_stop(uv_poll_t *handle);

int __wrap_uv_poll_start(uv_poll_t *handle, int events, uv_poll_cb on_poll)
{
    poll_starts++;
    return __real_uv_poll_start(handle, events, on_poll);
}

int __wrap_uv_poll_stop(uv_poll_t *handle)
{
    poll_stops++;
    return __real_uv_poll_stop(handle);
}

/* More sockets than libuv reports at once, each with a task that receives a byte at a time. */
enum { CROWD = 1500, CROWD_BYTES = 3 };

struct member {
    struct task task;
    struct sock sock;
    int peer;
    int left; /* bytes that it still has to receive */
};

static struct yield member_recv(struct task *task)
{
    struct member *member = container_of(task, struct member, task);
    char byte;
    if (recv(member->sock.fd, &byte, 1, 0) == 1)
        member->left--;
    if (member->left > 0)
        return yield_recv(task, &member->sock, member_recv);
    sock_close(&member->sock, NULL);
    return yield_done(task);
}

static void member_start(struct member *member)
{
    int fds[2];
    make_socketpair(fds);
    member->peer = fds[1];
    member->left = CROWD_BYTES;
    assert_int_equal(sock_init(&member->sock, &fix.loop, &fix.sched.waker, fds[0]), 0);
    assert_int_equal(send(member->peer, "xyz", CROWD_BYTES, 0), CROWD_BYTES);
    sched_spawn(&fix.sched, &member->task, member_recv);
}

/* All sockets are ready all the time. Each handle is started once, and never stopped. */
static void test_a_crowd_costs_no_more_than_one(void **state)
{
    (void)state;
    struct member *crowd = calloc(CROWD, sizeof *crowd);
    struct rlimit limit;
    assert_non_null(crowd);
    assert_return_code(getrlimit(RLIMIT_NOFILE, &limit), errno);
    limit.rlim_cur = limit.rlim_max;
    assert_return_code(setrlimit(RLIMIT_NOFILE, &limit), errno);
    if (limit.rlim_cur < 2 * CROWD + 64) {
        free(crowd);
        skip();
    }
    poll_starts = 0;
    poll_stops = 0;
    for (int i = 0; i < CROWD; i++)
        member_start(&crowd[i]);
    assert_int_equal(sched_run(&fix.sched), 0);
    assert_int_equal(poll_starts, CROWD);
    assert_int_equal(poll_stops, 0);
    for (int i = 0; i < CROWD; i++) {
        assert_int_equal(crowd[i].left, 0);
        (void)close(crowd[i].peer);
    }
    free(crowd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_nothing_to_run),
        FIXTURE_TEST(test_first_in_first_out),
        FIXTURE_TEST(test_order_lasts_over_turns),
        FIXTURE_TEST(test_woken_in_order_of_waking),
        FIXTURE_TEST(test_idle_follows_the_queue),
        FIXTURE_TEST(test_waiting_uses_no_time),
        FIXTURE_TEST(test_recv),
        FIXTURE_TEST(test_granted_send_goes_on_in_the_turn),
        FIXTURE_TEST(test_refused_send_waits),
        FIXTURE_TEST(test_no_watch_for_a_wait),
        FIXTURE_TEST(test_no_memory_for_a_watch),
        FIXTURE_TEST(test_no_watch_for_another_reason),
        FIXTURE_TEST(test_a_watch_is_had_later),
        FIXTURE_TEST(test_wake_without_a_watch),
        FIXTURE_TEST(test_sleep),
        FIXTURE_TEST(test_sleep_ends_early),
        FIXTURE_TEST(test_parked_task_does_not_keep_it_running),
        FIXTURE_TEST(test_tasks_are_counted),
        FIXTURE_TEST(test_spawn_and_finish_in_a_step),
        FIXTURE_TEST(test_busy_task_starves_nobody),
        FIXTURE_TEST(test_frame_is_spawned_again),
        FIXTURE_TEST(test_unknown_reason),
        FIXTURE_TEST(test_second_receiver),
        FIXTURE_TEST(test_second_sender),
        FIXTURE_TEST(test_second_sleeper),
        FIXTURE_TEST(test_two_schedulers_in_turn),
        cmocka_unit_test(test_two_threads),
        FIXTURE_TEST(test_a_crowd_costs_no_more_than_one),
    };
    return RUN_TESTS("sched", tests);
}
