/*
 * responder.c: the answering task on real sockets, its steps driven by hand as the scheduler would.
 * What is received can be made to fail, and so can the memory for it.
 */
#include "stream/responder.h"

#include "os/memory.h"
#include "os/net.h"
#include "unit/support.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>

enum { ROUNDS = 64, LAST_ROUNDS = 1024, PAUSE_MS = 100 };

static struct {
    uv_loop_t loop;
    struct sched sched;
    struct recorder recorder;
    struct rates rates;
    struct ledger_datagrams counts;
    struct responders_config config;
    struct responders_watcher watcher;
    struct responders responders;
    struct responder responder;
    int client;
    int drops;      /* events */
    int receives;   /* calls */
    int error;      /* that the next calls return; 0: a real call */
    int errors;     /* so many of them */
    int unsent;     /* error of what is sent; 0: a real call */
    bool no_memory; /* is mapped */
    bool flood;     /* each call returns a whole batch */
    size_t len;     /* of each datagram of the flood */
    bool segmented; /* what comes is said to be so many datagrams of a byte */
} fix;

int __wrap_datagrams_receive(int fd, bool local, struct datagrams_mail *mail);
int __real_datagrams_receive(int fd, bool local, struct datagrams_mail *mail);
void __wrap_datagrams_get(struct datagrams_mail *mail, unsigned number, struct datagram *datagram);
void __real_datagrams_get(struct datagrams_mail *mail, unsigned number, struct datagram *datagram);
void __wrap_datagrams_send(int fd, struct datagrams_mail *mail, struct datagrams_sender *sender);
void __real_datagrams_send(int fd, struct datagrams_mail *mail, struct datagrams_sender *sender);
void *__wrap_memory_map(size_t bytes);
void *__real_memory_map(size_t bytes);
void __wrap_sched_spawn(struct sched *sched, struct task *task, task_step *first);

int __wrap_datagrams_receive(int fd, bool local, struct datagrams_mail *mail)
{
    fix.receives++;
    if (fix.errors > 0) {
        fix.errors--;
        return fix.error;
    }
    int n = __real_datagrams_receive(fd, local, mail);
    return fix.flood && n < 0 ? DATAGRAM_BATCH : n;
}

void __wrap_datagrams_get(struct datagrams_mail *mail, unsigned number, struct datagram *datagram)
{
    static const union net_addr nobody = {.sa = {.sa_family = AF_UNSPEC}};
    if (fix.flood) {
        *datagram = (struct datagram){.peer = &nobody, .len = fix.len, .segment = fix.len};
        return;
    }
    __real_datagrams_get(mail, number, datagram);
    if (fix.segmented)
        datagram->segment = 1;
}

void __wrap_datagrams_send(int fd, struct datagrams_mail *mail, struct datagrams_sender *sender)
{
    if (fix.unsent == 0) {
        __real_datagrams_send(fd, mail, sender);
        return;
    }
    for (unsigned i = 0; i < mail->answers; i++)
        sender->on_unsent(sender, mail->answer[i].peer, mail->answer[i].segments, fix.unsent);
    mail->answers = mail->iovs = 0;
}

void *__wrap_memory_map(size_t bytes)
{
    return fix.no_memory ? NULL : __real_memory_map(bytes);
}

void __wrap_sched_spawn(struct sched *sched, struct task *task, task_step *first)
{
    assert_ptr_equal(sched, &fix.sched);
    *task = (struct task){.resume = first};
}

static void on_drop(struct responders_watcher *watcher, const struct responders *responders)
{
    assert_ptr_equal(watcher, &fix.watcher);
    assert_ptr_equal(responders, &fix.responders);
    fix.drops++;
}

static void on_wake(struct waker *waker, struct task *task)
{
    assert_ptr_equal(waker, &fix.sched.waker);
    fix.recorder.waker.wake(&fix.recorder.waker, task);
}

static void connect_client(int server)
{
    union net_addr addr;
    assert_int_equal(net_local(server, &addr), 0);
    fix.client = socket(addr.sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fix.client, &addr.sa, net_addr_len(&addr)), 0);
}

static int open_on(const char *address, const char *prefix, unsigned rate)
{
    union net_addr addr = net_any(strchr(address, ':') != NULL ? AF_INET6 : AF_INET);
    void *in = addr.sa.sa_family == AF_INET ? (void *)&addr.in.sin_addr : &addr.in6.sin6_addr;
    assert_int_equal(inet_pton(addr.sa.sa_family, address, in), 1);
    int server = datagram_open(&addr, -1);
    if (server < 0)
        return server;
    memset(&fix, 0, sizeof fix);
    assert_int_equal(datagram_set_up(server), 0);
    connect_client(server);
    assert_int_equal(uv_loop_init(&fix.loop), 0);
    recorder_init(&fix.recorder);
    fix.sched = (struct sched){.waker.wake = on_wake, .loop = &fix.loop};
    fix.watcher = (struct responders_watcher){.on_drop = on_drop};
    assert_int_equal(rates_open(&fix.rates, rate), 0);
    fix.config = (struct responders_config){
        .prefix = prefix, .prefix_len = strlen(prefix), .rates = &fix.rates, .counts = &fix.counts};
    responders_init(&fix.responders, &fix.sched, &fix.config, &fix.watcher);
    memset(&fix.responder, 0xa5, sizeof fix.responder); /* that the start is to set up */
    assert_int_equal(responder_start(&fix.responder, &fix.responders, server, false), 0);
    return 0;
}

static int fixture_open(void **state)
{
    (void)state;
    return open_on("127.0.0.1", "GOT:", 3);
}

static int fixture_close(void **state)
{
    (void)state;
    responders_close(&fix.responders);
    loop_close(&fix.loop);
    rates_close(&fix.rates);
    (void)close(fix.client);
    return 0;
}

static struct yield step(void)
{
    return fix.responder.task.resume(&fix.responder.task);
}

static void step_waits(void)
{
    struct yield yield = step();
    assert_int_equal(yield.reason, YIELD_RECV);
    assert_ptr_equal(yield.sock, &fix.responder.sock);
}

static void client_sends(const void *data, size_t len)
{
    assert_int_equal(send(fix.client, data, len, 0), (ssize_t)len);
}

static void client_gets(const char *text)
{
    char buf[64];
    ssize_t n = recv(fix.client, buf, sizeof buf - 1, MSG_DONTWAIT);
    assert_int_equal(n, (ssize_t)strlen(text));
    assert_memory_equal(buf, text, strlen(text));
}

static void expect_count(enum datagram_result result, uint64_t count)
{
    assert_int_equal(atomic_load(&fix.counts.count[result]), count);
}

static void test_answers(void **state)
{
    (void)state;
    step_waits();
    client_sends("one", 3);
    client_sends("", 0);
    step_waits();
    assert_int_equal(fix.receives, 1);
    client_gets("GOT:one");
    client_gets("GOT:");
    expect_count(DATAGRAM_ANSWERED, 2);
    assert_int_equal(fix.drops, 0);
    step_waits(); /* woken for nothing */
    assert_int_equal(fix.receives, 2);
}

static void test_what_is_dropped(void **state)
{
    (void)state;
    static char longest[65507];
    step_waits();
    client_sends("GOT:", 4);
    client_sends(longest, sizeof longest);
    for (int i = 0; i < 5; i++)
        client_sends("x", 1);
    step_waits();
    for (int i = 0; i < 3; i++)
        client_gets("GOT:x");
    expect_count(DATAGRAM_ANSWERED, 3);
    expect_count(DATAGRAM_PREFIX, 1);
    expect_count(DATAGRAM_SIZE, 1);
    expect_count(DATAGRAM_RATE, 2);
    assert_int_equal(fix.drops, 1);
    assert_int_equal(fix.responders.dropped, 4);
    assert_int_equal(fix.responders.reason, DATAGRAM_RATE);
    assert_int_equal(fix.responders.dropped_peer.sa.sa_family, AF_INET);
}

static void test_ipv6(void **state)
{
    (void)state;
    static char longest[65527];
    if (open_on("::1", "", 0) < 0)
        skip();
    step_waits();
    client_sends(longest, sizeof longest);
    client_sends("verbatim", 8);
    step_waits();
    assert_int_equal(recv(fix.client, longest, sizeof longest, MSG_DONTWAIT), sizeof longest);
    client_gets("verbatim");
    fixture_close(NULL);
}

/* More segments than any kernel makes are dropped as one, and a part of them is counted as such. */
static void test_segments(void **state)
{
    (void)state;
    step_waits();
    fix.segmented = true;
    client_sends("abcde", 5);
    step_waits();
    client_gets("GOT:a");
    client_gets("GOT:b");
    client_gets("GOT:c");
    expect_count(DATAGRAM_ANSWERED, 3);
    expect_count(DATAGRAM_RATE, 2);
    static char many[DATAGRAM_SEGMENTS + 1];
    client_sends(many, sizeof many);
    step_waits();
    expect_count(DATAGRAM_SIZE, DATAGRAM_SEGMENTS + 1);
}

static void test_what_is_not_sent(void **state)
{
    (void)state;
    step_waits();
    fix.unsent = -ENOBUFS;
    client_sends("x", 1);
    step_waits();
    fix.unsent = -EPERM;
    client_sends("x", 1);
    step_waits();
    expect_count(DATAGRAM_FULL, 1);
    expect_count(DATAGRAM_FAILED, 1);
    assert_int_equal(fix.drops, 2);
}

static void test_a_flood_takes_turns(void **state)
{
    (void)state;
    step_waits();
    fix.flood = true;
    step_waits();
    assert_int_equal(fix.receives, ROUNDS);
    expect_count(DATAGRAM_ADDRESS, ROUNDS * DATAGRAM_BATCH);
    responders_stop(&fix.responders);
    fix.receives = 0;
    assert_int_equal(step().reason, YIELD_DONE);
    assert_int_equal(fix.receives, LAST_ROUNDS);
}

/* Long ones take more time each, so a turn has fewer of them. */
static void test_a_flood_of_long_ones(void **state)
{
    enum { ROUND_BYTES = 1 << 16, LONG = 4096 };
    (void)state;
    step_waits();
    fix.flood = true;
    fix.len = LONG;
    step_waits();
    assert_int_equal(fix.receives, ROUNDS * ROUND_BYTES / (DATAGRAM_BATCH * LONG));
    fix.flood = false;
}

/* An error of something sent earlier: the next call succeeds. */
static void test_an_error_once(void **state)
{
    (void)state;
    step_waits();
    client_sends("x", 1);
    fix.error = -ECONNREFUSED;
    fix.errors = 1;
    step_waits();
    client_gets("GOT:x");
}

/* It pauses instead of spinning, and a stop ends the pause. */
static void test_an_error_that_stays(void **state)
{
    (void)state;
    step_waits();
    fix.error = -ENOMEM;
    fix.errors = INT_MAX;
    struct yield yield = step();
    assert_int_equal(yield.reason, YIELD_SLEEP);
    assert_int_equal(yield.ms, PAUSE_MS);
    assert_int_equal(fix.receives, ROUNDS);
    assert_int_equal(timer_wait(yield.timer, &fix.responder.task, yield.ms), 0);
    responders_stop(&fix.responders);
    recorder_expect(&fix.recorder, &fix.responder.task, NULL);
}

static void test_no_memory(void **state)
{
    (void)state;
    step_waits();
    client_sends("x", 1);
    fix.no_memory = true;
    assert_int_equal(step().reason, YIELD_SLEEP);
    assert_int_equal(fix.receives, 0);
    fix.no_memory = false;
    step_waits();
    client_gets("GOT:x");
}

/* The memory stays while datagrams come, and goes back when none have for a while. */
static void test_quiet(void **state)
{
    (void)state;
    step_waits();
    step_waits();
    assert_non_null(fix.responders.mail);
    uv_timer_t *quiet = &fix.responders.quiet;
    assert_true(uv_is_active((uv_handle_t *)quiet));
    quiet->timer_cb(quiet);
    assert_non_null(fix.responders.mail);
    quiet->timer_cb(quiet);
    assert_null(fix.responders.mail);
    assert_false(uv_is_active((uv_handle_t *)quiet));
}

static void test_stop(void **state)
{
    (void)state;
    step_waits();
    assert_int_equal(sock_wait_recv(&fix.responder.sock, &fix.responder.task), 0);
    client_sends("last", 4);
    responders_stop(&fix.responders);
    recorder_expect(&fix.recorder, &fix.responder.task, NULL);
    assert_int_equal(step().reason, YIELD_DONE);
    client_gets("GOT:last");
    assert_true(list_empty(&fix.responders.list));
    responders_stop(&fix.responders); /* once more: nobody is left */
}

static void test_stop_before_the_first_step(void **state)
{
    (void)state;
    client_sends("last", 4);
    responders_stop(&fix.responders);
    assert_int_equal(step().reason, YIELD_DONE);
    client_gets("GOT:last");
}

static void test_start_on_no_socket(void **state)
{
    (void)state;
    struct responder responder;
    assert_int_equal(responder_start(&responder, &fix.responders, -1, false), UV_EBADF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_answers),
        FIXTURE_TEST(test_what_is_dropped),
        cmocka_unit_test(test_ipv6),
        FIXTURE_TEST(test_segments),
        FIXTURE_TEST(test_what_is_not_sent),
        FIXTURE_TEST(test_a_flood_takes_turns),
        FIXTURE_TEST(test_a_flood_of_long_ones),
        FIXTURE_TEST(test_an_error_once),
        FIXTURE_TEST(test_an_error_that_stays),
        FIXTURE_TEST(test_no_memory),
        FIXTURE_TEST(test_quiet),
        FIXTURE_TEST(test_stop),
        FIXTURE_TEST(test_stop_before_the_first_step),
        FIXTURE_TEST(test_start_on_no_socket),
    };
    return RUN_TESTS("responder", tests);
}
