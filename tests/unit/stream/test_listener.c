/*
 * listener.c: the accepting task, its steps driven by hand as the scheduler would. net_accept() is
 * wrapped and plays a backlog with an error after it. sched_spawn() and sched_wake() are wrapped,
 * so that there is no queue. Connections that are taken are only counted. The loop runs only to
 * close.
 */
#include "stream/listener.h"

#include "unit/support.h"

#include <errno.h>
#include <limits.h>

enum { BURST = 64, PAUSE_MS = 100, FD_OF_CONN = 4711, SERVICE = 3 };

static struct {
    uv_loop_t loop;
    struct sched sched;
    struct recorder recorder;
    struct acceptor acceptor;
    struct listener_watcher watcher;
    struct listener listener;
    size_t open; /* connections taken */
    size_t limit;
    int peer;    /* the other end of what stands for the listening socket */
    int backlog; /* connections that wait to be accepted */
    int error;   /* that accept returns when there are none */
    int skipped; /* so often accept returns skip_error first */
    int skip_error;
    int accepts;                               /* calls */
    int accepted_on;                           /* the socket of the last that gave a connection */
    struct listener other;                     /* on the same acceptor */
    int take_error;                            /* what taking one returns */
    int took, refused, paused, resumed, ended; /* events */
    int event_error;                           /* of the last event */
    int unwatched_woken;                       /* calls of sched_wake_unwatched() */
} fix;

int __wrap_net_accept(int fd, union net_peer *peer);
void __wrap_sched_spawn(struct sched *sched, struct task *task, task_step *first);
void __wrap_sched_wake(struct sched *sched, struct task *task);
void __wrap_sched_wake_unwatched(struct sched *sched);

int __wrap_net_accept(int fd, union net_peer *peer)
{
    assert_true(fd == fix.listener.sock.fd || fd == fix.other.sock.fd);
    fix.accepts++;
    if (fix.skipped > 0) {
        fix.skipped--;
        return fix.skip_error;
    }
    if (fix.backlog == 0)
        return fix.error;
    fix.backlog--;
    fix.accepted_on = fd;
    *peer = (union net_peer){.in = {.sin_family = AF_INET, .sin_port = htons(25000)}};
    return FD_OF_CONN;
}

static bool acceptor_full(struct acceptor *acceptor)
{
    assert_ptr_equal(acceptor, &fix.acceptor);
    return fix.open >= fix.limit;
}

static int acceptor_take(struct acceptor *acceptor, const struct accepted *accepted)
{
    assert_ptr_equal(acceptor, &fix.acceptor);
    assert_int_equal(accepted->fd, FD_OF_CONN);
    assert_int_equal(accepted->service, SERVICE);
    assert_int_equal(accepted->peer.sa.sa_family, AF_INET);
    assert_int_equal(ntohs(accepted->peer.in.sin_port), 25000);
    assert_true(fix.open < fix.limit);
    if (fix.take_error == 0)
        fix.open++;
    return fix.take_error;
}

void __wrap_sched_spawn(struct sched *sched, struct task *task, task_step *first)
{
    assert_ptr_equal(sched, &fix.sched);
    *task = (struct task){.resume = first};
}

void __wrap_sched_wake(struct sched *sched, struct task *task)
{
    assert_ptr_equal(sched, &fix.sched);
    fix.recorder.waker.wake(&fix.recorder.waker, task);
}

void __wrap_sched_wake_unwatched(struct sched *sched)
{
    assert_ptr_equal(sched, &fix.sched);
    fix.unwatched_woken++;
}

static void on_event(struct listener_watcher *watcher, enum listener_event event, int error)
{
    int *const counts[] = {&fix.took, &fix.refused, &fix.paused, &fix.resumed, &fix.ended};
    assert_ptr_equal(watcher, &fix.watcher);
    ++*counts[event];
    fix.event_error = error;
}

/* The waker of the listener's scheduler, which hands on to the recorder. */
static void on_wake(struct waker *waker, struct task *task)
{
    assert_ptr_equal(waker, &fix.sched.waker);
    fix.recorder.waker.wake(&fix.recorder.waker, task);
}

static int start_on(struct listener *listener, int fd)
{
    return listener_start(listener, &fix.sched, &fix.acceptor, &fix.watcher, fd, SERVICE);
}

/* Before the first step. */
static int unstepped_open(void **state)
{
    int fds[2];
    (void)state;
    memset(&fix, 0, sizeof fix);
    assert_int_equal(uv_loop_init(&fix.loop), 0);
    recorder_init(&fix.recorder);
    fix.sched = (struct sched){.waker.wake = on_wake, .loop = &fix.loop};
    fix.limit = 100000;
    fix.error = -EAGAIN;
    make_socketpair(fds);
    fix.peer = fds[1];
    fix.acceptor = (struct acceptor){.full = acceptor_full, .take = acceptor_take};
    acceptor_init(&fix.acceptor);
    fix.watcher = (struct listener_watcher){.on_event = on_event};
    memset(&fix.listener, 0xa5, sizeof fix.listener); /* that the start is to set up */
    assert_int_equal(start_on(&fix.listener, fds[0]), 0);
    return 0;
}

static struct yield step(void)
{
    return fix.listener.task.resume(&fix.listener.task);
}

/* After the first step, which waits and does not accept. */
static int fixture_open(void **state)
{
    (void)unstepped_open(state);
    assert_int_equal(step().reason, YIELD_RECV);
    assert_int_equal(fix.accepts, 0);
    return 0;
}

/* The step must wait for its socket. Arms that wait as the scheduler does. */
static void step_waits(void)
{
    struct yield why = step();
    assert_int_equal(why.reason, YIELD_RECV);
    assert_ptr_equal(why.sock, &fix.listener.sock);
    assert_int_equal(sock_wait_recv(why.sock, &fix.listener.task), 0);
}

static void step_parks(void)
{
    assert_int_equal(step().reason, YIELD_PARK);
    assert_true(fix.listener.parked);
}

static void step_sleeps(void)
{
    struct yield why = step();
    assert_int_equal(why.reason, YIELD_SLEEP);
    assert_ptr_equal(why.timer, &fix.listener.timer);
    assert_int_equal(why.ms, PAUSE_MS);
    assert_int_equal(timer_wait(why.timer, &fix.listener.task, why.ms), 0);
}

/* The listener has been woken once, and no other task. */
static void check_woken(void)
{
    recorder_expect(&fix.recorder, &fix.listener.task, NULL);
}

static void step_ends(void)
{
    int fd = fix.listener.sock.fd;
    assert_int_equal(step().reason, YIELD_DONE);
    assert_int_equal(fix.ended, 1);
    assert_false(fd_is_open(fd));
    assert_true(uv_is_closing((uv_handle_t *)&fix.listener.timer.uv));
}

/*
 * Drives the task after a stop as the scheduler does, until it ends. Fails when the task waits for
 * a connection that will never come.
 */
static void steps_end(void)
{
    for (;;) {
        int fd = fix.listener.sock.fd;
        struct yield why = step();
        if (why.reason == YIELD_DONE) {
            assert_false(fd_is_open(fd));
            return;
        }
        if (why.reason == YIELD_RECV && fix.backlog == 0)
            fail_msg("waits for a connection with an empty backlog instead of ending");
        assert_int_not_equal(why.reason, YIELD_PARK);
    }
}

static int unstepped_close(void **state)
{
    (void)state;
    if (fix.ended == 0) {
        fix.backlog = 0;
        fix.error = -EAGAIN;
        fix.skipped = 0;
        listener_stop(&fix.listener);
        (void)step();
    }
    (void)close(fix.peer);
    assert_int_equal(fix.ended, 1);
    loop_close(&fix.loop);
    return 0;
}

static int fixture_close(void **state)
{
    return unstepped_close(state);
}

static void test_waits_for_connections(void **state)
{
    (void)state;
    step_waits();
    assert_int_equal(fix.accepts, 1);
    assert_int_equal(fix.open, 0);
    recorder_expect(&fix.recorder, NULL, NULL);
}

static void test_waits_before_it_accepts(void **state)
{
    (void)state;
    fix.backlog = 1;
    step_waits();
    assert_int_equal(fix.accepts, 0);
    (void)step();
    assert_int_equal(fix.open, 1);
}

static void test_stop_before_the_first_step(void **state)
{
    (void)state;
    fix.backlog = 2;
    listener_stop(&fix.listener);
    step_ends();
    assert_int_equal(fix.open, 2);
}

static void test_accepts_what_waits(void **state)
{
    (void)state;
    fix.backlog = 3;
    assert_int_equal(step().reason, YIELD_RECV);
    assert_int_equal(fix.open, 3);
    assert_int_equal(fix.accepts, 4); /* until there are no more */
    fix.backlog = 1;
    step_waits();
    assert_int_equal(fix.open, 4);
    assert_int_equal(fix.paused + fix.resumed + fix.refused, 0);
}

static void test_a_burst_is_bounded(void **state)
{
    (void)state;
    fix.backlog = 2 * BURST + 2;
    for (int turn = 1; turn <= 2; turn++) {
        assert_int_equal(step().reason, YIELD_RECV);
        assert_int_equal(fix.accepts, turn * BURST);
        assert_int_equal(fix.open, turn * BURST);
    }
    step_waits();
    assert_int_equal(fix.open, 2 * BURST + 2);
}

/* After an error of one connection, the next in the backlog is served in the same turn. */
static void test_errors_that_are_skipped(void **state)
{
    static const int errors[] = {ECONNABORTED, EPERM,       EPROTO,   ENETDOWN,
                                 ENOPROTOOPT,  EHOSTDOWN,   ENONET,   EHOSTUNREACH,
                                 EOPNOTSUPP,   ENETUNREACH, ETIMEDOUT};
    (void)state;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        fix.skip_error = -errors[i];
        fix.skipped = 2;
        fix.backlog = 1;
        fix.open = 0;
        assert_int_equal(step().reason, YIELD_RECV);
        assert_int_equal(fix.open, 1);
        assert_int_equal(fix.paused, 0);
    }
}

/* With a firewall rule such errors may go on for ever, so a burst of nothing else is a lack. */
static void test_a_burst_that_is_all_skipped_pauses(void **state)
{
    (void)state;
    fix.skip_error = -EPERM;
    fix.skipped = 2 * BURST;
    fix.backlog = 1;
    step_sleeps();
    assert_int_equal(fix.accepts, BURST);
    assert_int_equal(fix.paused, 1);
    assert_int_equal(fix.event_error, -EPERM);
    timer_wake(&fix.listener.timer);
    check_woken();
    step_sleeps();
    assert_int_equal(fix.accepts, 2 * BURST);
    timer_wake(&fix.listener.timer);
    check_woken();
    step_waits();
    assert_int_equal(fix.paused, 1);
    assert_int_equal(fix.resumed, 1);
    assert_int_equal(fix.open, 1);
}

/* One connection that could be accepted shows that nothing is lacking. */
static void test_a_burst_with_one_connection_goes_on(void **state)
{
    (void)state;
    fix.skip_error = -EPERM;
    fix.skipped = BURST - 1;
    fix.backlog = 2;
    assert_int_equal(step().reason, YIELD_RECV);
    assert_int_equal(fix.accepts, BURST);
    assert_int_equal(fix.open, 1);
    assert_int_equal(fix.paused, 0);
}

/* Errors of the machine, and unknown ones, neither spin nor end the listener. */
static void test_errors_that_pause(void **state)
{
    static const int errors[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM, EINVAL, EBADF, EIO};
    (void)state;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        fix.error = -errors[i];
        fix.accepts = 0;
        step_sleeps();
        assert_int_equal(fix.accepts, 1);
        assert_int_equal(fix.paused, (int)i + 1);
        assert_int_equal(fix.event_error, -errors[i]);
        timer_wake(&fix.listener.timer);
        check_woken();
        fix.backlog = 1; /* succeeds, so that the next pause is an event again */
        fix.error = -EAGAIN;
        assert_int_equal(step().reason, YIELD_RECV);
        assert_int_equal(fix.resumed, (int)i + 1);
    }
}

static void test_what_came_before_an_error_is_served(void **state)
{
    (void)state;
    fix.backlog = 2;
    fix.error = -EMFILE;
    step_sleeps();
    assert_int_equal(fix.open, 2);
}

/* A pause is one event, and its end another, however long it takes. */
static void test_a_streak_is_told_once(void **state)
{
    (void)state;
    fix.error = -EMFILE;
    for (int i = 0; i < 5; i++) {
        step_sleeps();
        timer_wake(&fix.listener.timer);
        check_woken();
        fix.error = i % 2 == 0 ? -ENFILE : -EMFILE;
    }
    assert_int_equal(fix.paused, 1);
    assert_int_equal(fix.resumed, 0);
    assert_int_equal(fix.event_error, -EMFILE);
    fix.backlog = 2;
    fix.error = -EAGAIN;
    step_waits();
    assert_int_equal(fix.resumed, 1);
    assert_int_equal(fix.event_error, 0);
    assert_int_equal(fix.paused, 1);
}

/* A lack is not over after one connection, but when the backlog is empty. */
static void test_a_lack_that_goes_on(void **state)
{
    (void)state;
    fix.error = -EMFILE;
    for (int i = 0; i < 5; i++) {
        fix.backlog = 1;
        step_sleeps();
        timer_wake(&fix.listener.timer);
        check_woken();
    }
    assert_int_equal(fix.open, 5);
    assert_int_equal(fix.paused, 1);
    assert_int_equal(fix.resumed, 0);
    fix.error = -EAGAIN;
    step_waits();
    assert_int_equal(fix.resumed, 1);
}

static void test_parks_at_the_limit(void **state)
{
    (void)state;
    fix.limit = 3;
    fix.backlog = 5;
    step_parks();
    assert_int_equal(fix.accepts, 3); /* the others wait in the backlog */
    assert_int_equal(fix.open, 3);
    fix.open--;
    acceptor_room(&fix.acceptor);
    check_woken();
    assert_false(fix.listener.parked);
    step_parks();
    assert_int_equal(fix.accepts, 4);
    fix.open -= 2;
    acceptor_room(&fix.acceptor);
    acceptor_room(&fix.acceptor); /* the second to close in one turn */
    check_woken();
    step_waits();
    assert_int_equal(fix.accepts, 6);
}

/* The listener is woken, but another one has taken the place meanwhile: it does not accept. */
static void test_parks_again(void **state)
{
    (void)state;
    fix.limit = 1;
    fix.open = 1;
    fix.backlog = 1;
    step_parks();
    acceptor_room(&fix.acceptor);
    check_woken();
    step_parks();
    assert_int_equal(fix.accepts, 0);
}

static void test_room_leaves_others_alone(void **state)
{
    (void)state;
    acceptor_room(&fix.acceptor); /* queued */
    step_waits();
    acceptor_room(&fix.acceptor);
    recorder_expect(&fix.recorder, NULL, NULL);
    assert_ptr_equal(fix.listener.sock.recv_wait, &fix.listener.task);
}

/* A second listener, after its first step. */
static void other_open(void)
{
    int fds[2];
    make_socketpair(fds);
    (void)close(fds[1]);
    assert_int_equal(start_on(&fix.other, fds[0]), 0);
    assert_int_equal(fix.other.task.resume(&fix.other.task).reason, YIELD_RECV);
}

static void other_close(void)
{
    listener_stop(&fix.other);
    assert_int_equal(fix.other.task.resume(&fix.other.task).reason, YIELD_DONE);
    assert_int_equal(fix.ended, 1);
    fix.ended = 0; /* only the first listener's end is counted */
    fix.recorder.count = 0;
}

/* Runs the listeners that are woken, one after the other; each must wait for this reason. */
static void run_woken(enum yield_reason reason)
{
    while (fix.recorder.count > 0) {
        struct task *task = fix.recorder.woken[0];
        fix.recorder.count--;
        memmove(fix.recorder.woken, fix.recorder.woken + 1,
                fix.recorder.count * sizeof *fix.recorder.woken);
        assert_int_equal(task->resume(task).reason, reason);
    }
}

/* Both have more connections than there is ever room for. */
static void test_listeners_take_turns(void **state)
{
    (void)state;
    other_open();
    fix.backlog = 100;
    fix.limit = 0;
    step_parks();
    assert_int_equal(fix.other.task.resume(&fix.other.task).reason, YIELD_PARK);
    for (int i = 0; i < 6; i++) {
        fix.limit++;
        acceptor_room(&fix.acceptor);
        run_woken(YIELD_PARK);
        assert_int_equal(fix.open, fix.limit);
        assert_int_equal(fix.accepted_on, i % 2 == 0 ? fix.listener.sock.fd : fix.other.sock.fd);
    }
    other_close();
}

/* The first finds no connection, and must not keep the room from the second. */
static void test_room_that_is_left(void **state)
{
    (void)state;
    other_open();
    fix.limit = 0;
    step_parks();
    assert_int_equal(fix.other.task.resume(&fix.other.task).reason, YIELD_PARK);
    fix.limit = 1;
    acceptor_room(&fix.acceptor);
    run_woken(YIELD_RECV);
    assert_false(fix.listener.parked);
    assert_false(fix.other.parked);
    other_close();
}

/* The first ends, and must not take the room with it. */
static void test_room_of_a_listener_that_ends(void **state)
{
    (void)state;
    other_open();
    fix.limit = 0;
    assert_int_equal(fix.other.task.resume(&fix.other.task).reason, YIELD_PARK);
    step_parks();
    fix.limit = 1;
    acceptor_room(&fix.acceptor);
    other_close();
    assert_false(fix.listener.parked);
}

/* The connection is dropped with an event, and the listener goes on with the next one. */
static void test_refused_connections(void **state)
{
    (void)state;
    fix.backlog = 2;
    fix.take_error = -ENOMEM;
    step_waits();
    assert_int_equal(fix.refused, 2);
    assert_int_equal(fix.event_error, -ENOMEM);
    assert_int_equal(fix.open, 0);
    assert_int_equal(fix.paused, 0);
}

static void test_stop_while_waiting(void **state)
{
    (void)state;
    step_waits();
    listener_stop(&fix.listener);
    check_woken();
    step_ends();
}

static void test_stop_while_parked(void **state)
{
    (void)state;
    fix.limit = 0;
    step_parks();
    listener_stop(&fix.listener);
    check_woken();
    fix.backlog = 1;
    step_ends();
    assert_int_equal(fix.accepts, 0); /* the limit holds to the end */
}

static void test_stop_while_sleeping(void **state)
{
    (void)state;
    fix.error = -EMFILE;
    step_sleeps();
    listener_stop(&fix.listener);
    check_woken();
    step_ends(); /* although the error remains */
    assert_int_equal(fix.paused, 1);
}

/* It must accept its last connections before the drain counts them, and ends them. */
static void test_stop_without_a_watch(void **state)
{
    (void)state;
    assert_int_equal(fix.unwatched_woken, 0);
    listener_stop(&fix.listener);
    assert_int_equal(fix.unwatched_woken, 1);
}

static void test_stop_while_queued(void **state)
{
    (void)state;
    listener_stop(&fix.listener);
    recorder_expect(&fix.recorder, NULL, NULL); /* not into the queue a second time */
    step_ends();
}

static void test_stop_twice(void **state)
{
    (void)state;
    step_waits();
    listener_stop(&fix.listener);
    listener_stop(&fix.listener);
    check_woken();
    step_ends();
}

/* Clients that connected before the stop are served, but not beyond the limit. */
static void test_the_backlog_is_accepted_at_stop(void **state)
{
    (void)state;
    step_waits();
    fix.backlog = 3;
    listener_stop(&fix.listener);
    step_ends();
    assert_int_equal(fix.open, 3);
}

static void test_the_limit_holds_at_stop(void **state)
{
    (void)state;
    fix.limit = 2;
    fix.backlog = 3;
    listener_stop(&fix.listener);
    step_ends();
    assert_int_equal(fix.open, 2);
}

/* A backlog of any length, also of exactly as many as one turn accepts. */
static void test_a_long_backlog_at_stop(void **state)
{
    (void)state;
    fix.backlog = BURST;
    listener_stop(&fix.listener);
    steps_end();
    assert_int_equal(fix.open, BURST);
}

static void test_a_longer_backlog_at_stop(void **state)
{
    (void)state;
    fix.backlog = 2 * BURST + 1;
    listener_stop(&fix.listener);
    steps_end();
    assert_int_equal(fix.open, 2 * BURST + 1);
}

/* Clients that go on connecting while the listener stops do not keep it. */
static void test_the_last_burst_is_bounded(void **state)
{
    (void)state;
    fix.skip_error = -ECONNABORTED;
    fix.skipped = INT_MAX;
    listener_stop(&fix.listener);
    step_ends();
    assert_true(fix.skipped > 0);
}

/* The descriptor stays the caller's. */
static void test_start_on_what_cannot_be_polled(void **state)
{
    struct listener other;
    (void)state;
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    assert_int_equal(start_on(&other, fd), -EPERM);
    assert_true(fd_is_open(fd));
    (void)close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_waits_for_connections),
        TEST_WITH(unstepped, test_waits_before_it_accepts),
        TEST_WITH(unstepped, test_stop_before_the_first_step),
        FIXTURE_TEST(test_accepts_what_waits),
        FIXTURE_TEST(test_a_burst_is_bounded),
        FIXTURE_TEST(test_errors_that_are_skipped),
        FIXTURE_TEST(test_a_burst_that_is_all_skipped_pauses),
        FIXTURE_TEST(test_a_burst_with_one_connection_goes_on),
        FIXTURE_TEST(test_errors_that_pause),
        FIXTURE_TEST(test_what_came_before_an_error_is_served),
        FIXTURE_TEST(test_a_streak_is_told_once),
        FIXTURE_TEST(test_a_lack_that_goes_on),
        FIXTURE_TEST(test_parks_at_the_limit),
        FIXTURE_TEST(test_parks_again),
        FIXTURE_TEST(test_room_leaves_others_alone),
        FIXTURE_TEST(test_listeners_take_turns),
        FIXTURE_TEST(test_room_that_is_left),
        FIXTURE_TEST(test_room_of_a_listener_that_ends),
        FIXTURE_TEST(test_refused_connections),
        FIXTURE_TEST(test_stop_while_waiting),
        FIXTURE_TEST(test_stop_while_parked),
        FIXTURE_TEST(test_stop_while_sleeping),
        FIXTURE_TEST(test_stop_without_a_watch),
        FIXTURE_TEST(test_stop_while_queued),
        FIXTURE_TEST(test_stop_twice),
        FIXTURE_TEST(test_the_backlog_is_accepted_at_stop),
        FIXTURE_TEST(test_the_limit_holds_at_stop),
        FIXTURE_TEST(test_a_long_backlog_at_stop),
        FIXTURE_TEST(test_a_longer_backlog_at_stop),
        FIXTURE_TEST(test_the_last_burst_is_bounded),
        FIXTURE_TEST(test_start_on_what_cannot_be_polled),
    };
    return RUN_TESTS("listener", tests);
}
