/*
 * test_echoload.c - the load generator against servers that answer rightly, wrongly, too little,
 * too much, late or never: what it must find, what it prints, and its exit codes. Each test forks a
 * server, which serves one connection after the other.
 */
#include "unit/support.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static struct {
    pid_t pid; /* of the server; 0 when none runs */
    uint16_t port;
} fix;

/* Answers n bytes that fd has sent. Returns false to end the connection. */
typedef bool answer_fn(int fd, char *bytes, size_t n, uint64_t before);

struct outcome {
    int code;
    char text[4096]; /* both streams */
};

static void send_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        bytes += n;
        len -= (size_t)n;
    }
}

static void serve(int listener, answer_fn *answer)
{
    for (;;) {
        static char bytes[700]; /* chunks of no round length */
        int fd = accept(listener, NULL, NULL);
        uint64_t before = 0;
        ssize_t n;
        while ((n = recv(fd, bytes, sizeof bytes, 0)) > 0 && answer(fd, bytes, (size_t)n, before))
            before += (uint64_t)n;
        if (n == 0)
            (void)answer(fd, bytes, 0, before);
        (void)close(fd);
    }
}

static void start_server(answer_fn *answer)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    const int on = 1; /* otherwise each small send waits for the acknowledgement of the last */
    assert_return_code(setsockopt(listener, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
    assert_return_code(bind(listener, (const struct sockaddr *)&addr, sizeof addr), 0);
    assert_return_code(listen(listener, 100), 0);
    assert_return_code(getsockname(listener, (struct sockaddr *)&addr, &len), 0);
    fix.port = ntohs(addr.sin_port);
    fix.pid = fork();
    assert_true(fix.pid >= 0);
    if (fix.pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        serve(listener, answer);
    }
    (void)close(listener);
}

static void stop_server(void)
{
    if (fix.pid == 0)
        return;
    (void)kill(fix.pid, SIGKILL);
    (void)waitpid(fix.pid, NULL, 0);
    fix.pid = 0;
}

static int fixture_open(void **state)
{
    (void)alarm(30); /* each test has as long */
    (void)state;
    memset(&fix, 0, sizeof fix);
    return 0;
}

static int fixture_close(void **state)
{
    (void)state;
    stop_server();
    return 0;
}

enum udp_fault { UDP_NONE, UDP_DROP, UDP_DOUBLE, UDP_SWAP, UDP_CORRUPT, UDP_CUT };

enum { UDP_EVERY = 10 /* the fault concerns every tenth datagram */ };

/* Returns whether the datagram is kept back, to be answered after the next one. */
static bool answer_datagram(int fd, char *bytes, size_t n, enum udp_fault fault,
                            const struct sockaddr_in *peer)
{
    if (fault == UDP_DROP || fault == UDP_SWAP)
        return fault == UDP_SWAP;
    if (fault == UDP_CORRUPT)
        bytes[n - 1] ^= 1;
    if (fault == UDP_CUT)
        n--;
    for (int times = fault == UDP_DOUBLE ? 2 : 1; times > 0; times--)
        (void)sendto(fd, bytes, n, 0, (const struct sockaddr *)peer, sizeof *peer);
    return false;
}

static void serve_datagrams(int fd, enum udp_fault fault)
{
    static char bytes[65536];
    static char kept[65536];
    ssize_t kept_len = 0;
    for (unsigned number = 1;; number++) {
        struct sockaddr_in peer;
        socklen_t len = sizeof peer;
        ssize_t n = recvfrom(fd, bytes, sizeof bytes, 0, (struct sockaddr *)&peer, &len);
        if (n <= 0)
            _exit(1);
        enum udp_fault now = number % UDP_EVERY == 0 ? fault : UDP_NONE;
        bool keeps = answer_datagram(fd, bytes, (size_t)n, now, &peer);
        if (kept_len > 0)
            (void)sendto(fd, kept, (size_t)kept_len, 0, (const struct sockaddr *)&peer,
                         sizeof peer);
        kept_len = keeps ? n : 0;
        if (keeps)
            memcpy(kept, bytes, (size_t)n);
    }
}

static void start_datagram_server(enum udp_fault fault)
{
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof addr;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    assert_return_code(bind(fd, (const struct sockaddr *)&addr, sizeof addr), 0);
    assert_return_code(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    fix.port = ntohs(addr.sin_port);
    fix.pid = fork();
    assert_true(fix.pid >= 0);
    if (fix.pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        serve_datagrams(fd, fault);
    }
    (void)close(fd);
}

static struct outcome echoload(const char *options)
{
    struct outcome outcome = {0};
    char command[512];
    (void)snprintf(command, sizeof command, "exec '%s' %s 127.0.0.1:%u 2>&1 </dev/null",
                   ECHOLOAD_BINARY, options, (unsigned)fix.port);
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    size_t len = fread(outcome.text, 1, sizeof outcome.text - 1, pipe);
    outcome.text[len] = '\0';
    int status = pclose(pipe);
    assert_true(WIFEXITED(status));
    outcome.code = WEXITSTATUS(status);
    return outcome;
}

static void expect(const char *options, int code, const char *text)
{
    struct outcome outcome = echoload(options);
    if (outcome.code != code || strstr(outcome.text, text) == NULL)
        fail_msg("echoload %s: exit code %d: %s", options, outcome.code, outcome.text);
}

static bool answer_right(int fd, char *bytes, size_t n, uint64_t before)
{
    (void)before;
    if (n > 0) {
        send_all(fd, "GOT:", 4);
        send_all(fd, bytes, n);
    }
    return true;
}

static bool answer_verbatim(int fd, char *bytes, size_t n, uint64_t before)
{
    (void)before;
    send_all(fd, bytes, n);
    return true;
}

static bool answer_wrong(int fd, char *bytes, size_t n, uint64_t before)
{
    if (n > 0 && before + n > 5000)
        bytes[n - 1] ^= 1;
    return answer_verbatim(fd, bytes, n, before);
}

static bool answer_less(int fd, char *bytes, size_t n, uint64_t before)
{
    return answer_verbatim(fd, bytes, n > 0 ? n - 1 : 0, before);
}

static bool answer_more(int fd, char *bytes, size_t n, uint64_t before)
{
    if (n == 0)
        bytes[n++] = '!';
    return answer_verbatim(fd, bytes, n, before);
}

static bool answer_once(int fd, char *bytes, size_t n, uint64_t before)
{
    return answer_verbatim(fd, bytes, n, before) && before > 0;
}

static bool answer_never(int fd, char *bytes, size_t n, uint64_t before)
{
    (void)fd, (void)bytes, (void)n, (void)before;
    return true;
}

/* Stalls once: no answer for a fifth of a second, unless the client gives up before. */
static bool answer_late(int fd, char *bytes, size_t n, uint64_t before)
{
    struct pollfd gone = {.fd = fd, .events = POLLRDHUP};
    if (before < 128 && before + n > 64) /* one read may take several messages */
        (void)poll(&gone, 1, 200);
    return answer_verbatim(fd, bytes, n, before);
}

static void test_right_answers(void **state)
{
    (void)state;
    start_server(answer_right);
    expect("--count=100", 0, "messages    100 in ");
    expect("--count=100 --size=5000 --depth=7 --json", 0, "\"messages\": 100,");
    expect("--mode=bulk --count=1000000", 0, "bytes       1000000 each way");
    expect("--mode=churn --count=20", 0, "connections 20 in ");
    expect("--mode=churn --count=20 --close=reset", 0, "connections 20 in ");
    expect("--mode=idle --echo-first --echo-last --duration=0.1", 0, "holding 1 connections");
    expect("--rate=1000 --duration=0.2", 0, "open loop");
}

/* Not all connections get a message, or are made at all. */
static void test_count_below_connections(void **state)
{
    (void)state;
    start_server(answer_right);
    expect("--mode=churn --count=2 --connections=5", 0, "connections 2 in ");
    expect("--count=1 --connections=1 --rate=100", 0, "messages    1 in ");
}

static void test_another_prefix(void **state)
{
    (void)state;
    start_server(answer_right);
    expect("--rfc862", 1, "connection 0: byte 0 of the answer: expected 0x");
    expect("--prefix=GET:", 1, "byte 1 of the answer: expected 0x45, got 0x4f");
    expect("--chunk=699 --size=700", 1, "byte 703 of the answer: expected 0x47");
}

static void test_wrong_byte(void **state)
{
    (void)state;
    start_server(answer_wrong);
    expect("--rfc862 --count=1000", 1, "of the answer: expected 0x");
    expect("--rfc862 --mode=bulk", 1, "of the answer: expected 0x");
}

static void test_missing_byte(void **state)
{
    (void)state;
    start_server(answer_less);
    expect("--rfc862 --count=1 --timeout=0.2", 1, "timed out, 1 of 64 bytes sent are missing");
}

static void test_early_end(void **state)
{
    (void)state;
    start_server(answer_once);
    expect("--rfc862 --depth=2 --size=5000", 1, "connection 0: ");
}

static bool answer_and_reset(int fd, char *bytes, size_t n, uint64_t before)
{
    const struct linger reset = {.l_onoff = 1};
    (void)answer_verbatim(fd, bytes, n, before);
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    return false;
}

#define HOLD "--rfc862 --mode=idle --echo-first --duration=50 "

static void test_server_ends(void **state)
{
    (void)state;
    start_server(answer_once);
    expect(HOLD "--server-ends", 0, "holding 1 connections");
    expect(HOLD, 1, "connection 0: closed by the server, 0 of 64 bytes are missing");
    stop_server();
    start_server(answer_and_reset);
    expect(HOLD "--server-ends", 1, "connection 0: recv: Connection reset by peer");
}

/* Whether a signal reaches a handler of the process: it is neither blocked nor left to the kernel.
 */
static bool handles(pid_t pid, int signum)
{
    char path[64], line[256];
    unsigned long long blocked = 0, caught = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, "SigBlk:", 7) == 0)
            blocked = strtoull(line + 7, NULL, 16);
        else if (strncmp(line, "SigCgt:", 7) == 0)
            caught = strtoull(line + 7, NULL, 16);
    (void)fclose(file);
    return ((caught & ~blocked) >> (signum - 1) & 1) != 0;
}

/* A run that holds a connection until the server ends it. */
struct holding {
    pid_t pid;
    int messages; /* what it says on its standard error */
};

/*
 * Returns when it holds the connection and has had an answer: a server that has not accepted the
 * connection would not end but reset it.
 */
static struct holding start_holding(int output)
{
    char address[32], line[64];
    int messages[2];
    assert_return_code(pipe2(messages, O_CLOEXEC), errno);
    (void)snprintf(address, sizeof address, "127.0.0.1:%u", (unsigned)fix.port);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid > 0) {
        (void)close(messages[1]);
        assert_true(read(messages[0], line, sizeof line) > 0);
        return (struct holding){.pid = pid, .messages = messages[0]};
    }
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)dup2(output, STDOUT_FILENO);
    (void)dup2(messages[1], STDERR_FILENO);
    (void)execl(ECHOLOAD_BINARY, "echoload", "--rfc862", "--mode=idle", "--duration=50",
                "--echo-first", "--server-ends", address, (char *)NULL);
    _exit(127);
}

/* Nothing tells when a handler has gone, so the run is looked at again, unless it fails or ends. */
static void wait_until_unhandled(const struct holding *holding, int signum)
{
    struct pollfd said = {.fd = holding->messages, .events = POLLIN};
    while (handles(holding->pid, signum))
        assert_int_equal(poll(&said, 1, 1), 0);
}

/* The pipe is full, so the run has ended and cannot say so when the signal comes. */
static void test_signal_after_the_end(void **state)
{
    (void)state;
    static char junk[4096]; /* a pipe of one page is filled by one write of a page */
    int output[2], status;
    start_server(answer_verbatim);
    assert_return_code(pipe2(output, O_CLOEXEC), errno);
    assert_return_code(fcntl(output[1], F_SETPIPE_SZ, sizeof junk), errno);
    assert_int_equal(write(output[1], junk, sizeof junk), sizeof junk);
    struct holding holding = start_holding(output[1]);
    (void)close(output[1]);
    stop_server();
    wait_until_unhandled(&holding, SIGTERM);
    (void)kill(holding.pid, SIGTERM);
    while (read(output[0], junk, sizeof junk) > 0)
        ;
    (void)close(output[0]);
    (void)close(holding.messages);
    assert_int_equal(waitpid(holding.pid, &status, 0), holding.pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_surplus_byte(void **state)
{
    (void)state;
    start_server(answer_more);
    expect("--rfc862 --count=3", 1, "connection 0: byte 192 of the answer: 0x21 is surplus");
}

static void test_no_answer(void **state)
{
    (void)state;
    start_server(answer_never);
    expect("--rfc862 --timeout=0.2", 1, "timed out, 64 of 64 bytes sent are missing");
}

static void test_no_server(void **state)
{
    (void)state;
    start_server(answer_never);
    stop_server(); /* its port is free now */
    expect("", 1, "connection 0: connect: Connection refused");
}

static double percentile(const char *options, const char *name)
{
    struct outcome outcome = echoload(options);
    const char *found = strstr(outcome.text, name);
    assert_int_equal(outcome.code, 0);
    assert_non_null(found);
    return strtod(found + strlen(name), NULL);
}

/* In the fifth of a second the open loop should send 100 messages, and the closed loop sends none.
 */
static void test_open_loop_sees_a_stall(void **state)
{
    (void)state;
    start_server(answer_late);
    double closed = percentile("--json --rfc862 --count=500", "\"p90\": ");
    double open = percentile("--json --rfc862 --count=200 --rate=500", "\"p90\": ");
    assert_true(closed < 50000);
    assert_true(open > 50000);
}

/* The time ends during the stall. Messages that should have been sent by then count all the same.
 */
static void test_open_loop_waits_for_the_end_of_a_stall(void **state)
{
    (void)state;
    start_server(answer_late);
    assert_true(percentile("--json --rfc862 --duration=0.1 --rate=500", "\"p90\": ") > 50000);
}

/*
 * All are sent at once, so that losses are counted when the time is up for all. 205 of them fit
 * into the server's queue; the last tenth one has a successor.
 */
#define UDP_ONCE "--udp --rfc862 --count=205 --depth=205 --timeout=5 "

static void test_datagrams_right(void **state)
{
    (void)state;
    start_datagram_server(UDP_NONE);
    const char *all = "205 sent, 205 answered, 0 lost, 0 late (0.000 %), 0 duplicate, "
                      "0 out of order, 0 wrong";
    expect(UDP_ONCE, 0, all);
    expect(UDP_ONCE "--gso", 0, all);
    expect("--udp --rfc862 --count=300 --depth=7 --size=1", 0, "300 sent, 300 answered, 0 lost");
    expect("--udp --rfc862 --count=300 --depth=7 --size=15", 0, "300 sent, 300 answered, 0 lost");
    expect("--udp --rfc862 --count=20 --size=65507", 0, "20 sent, 20 answered, 0 lost");
    expect("--udp --rfc862 --count=100 --connections=30 --rate=5000 --json", 0,
           "\"datagrams\": {\"sent\": 100, \"answered\": 100, \"lost\": 0, ");
    expect("--udp --rfc862 --duration=0.1 --warmup=0.05", 0, " 0 lost");
}

static void test_datagrams_lost(void **state)
{
    (void)state;
    start_datagram_server(UDP_DROP);
    expect(UDP_ONCE, 0,
           "205 sent, 185 answered, 20 lost, 0 late (9.756 %), 0 duplicate, "
           "0 out of order, 0 wrong");
}

/* After a loss the closed loop goes on with the next one. */
static void test_datagrams_lost_go_on(void **state)
{
    (void)state;
    start_datagram_server(UDP_DROP);
    expect("--udp --rfc862 --count=15 --timeout=2", 0, "15 sent, 14 answered, 1 lost, 0 late");
}

/* The answer comes when the datagram has been counted as lost, and the next one is sent. */
static void test_datagrams_late(void **state)
{
    (void)state;
    start_datagram_server(UDP_SWAP);
    expect("--udp --rfc862 --count=15 --timeout=2", 0,
           "15 sent, 14 answered, 0 lost, 1 late (6.667 %), 0 duplicate, 0 out of order, 0 wrong");
}

static void test_datagrams_doubled(void **state)
{
    (void)state;
    start_datagram_server(UDP_DOUBLE);
    expect(UDP_ONCE, 0,
           "205 sent, 205 answered, 0 lost, 0 late (0.000 %), 20 duplicate, "
           "0 out of order, 0 wrong");
}

static void test_datagrams_swapped(void **state)
{
    (void)state;
    start_datagram_server(UDP_SWAP);
    expect(UDP_ONCE, 0,
           "205 sent, 205 answered, 0 lost, 0 late (0.000 %), 0 duplicate, "
           "20 out of order, 0 wrong");
}

static void test_datagrams_wrong(void **state)
{
    (void)state;
    start_datagram_server(UDP_CORRUPT);
    expect(UDP_ONCE, 1,
           "205 sent, 185 answered, 0 lost, 0 late (0.000 %), 0 duplicate, "
           "0 out of order, 20 wrong");
    stop_server();
    start_datagram_server(UDP_CUT);
    expect(UDP_ONCE, 1,
           "185 answered, 0 lost, 0 late (0.000 %), 0 duplicate, "
           "0 out of order, 20 wrong");
    expect(UDP_ONCE, 1, "echoload: connection 0: a wrong answer of 63 bytes");
}

/* Without the prefix that is expected every answer is wrong; nobody knows to which datagram. */
static void test_datagrams_without_prefix(void **state)
{
    (void)state;
    start_datagram_server(UDP_NONE);
    expect("--udp --count=10 --depth=10 --timeout=0.2", 1, ", 10 wrong");
}

static void test_datagrams_without_server(void **state)
{
    (void)state;
    start_datagram_server(UDP_NONE);
    stop_server(); /* its port is free now */
    expect("--udp --count=2 --timeout=0.1", 1, "echoload: no answer: Connection refused");
}

static void test_wrong_usage(void **state)
{
    (void)state;
    expect("--frequency", 2, "echoload: unknown or ambiguous option '--frequency'");
    expect("--size=0", 2, "echoload: --size: '0' is not a number from 1 to ");
    expect("--mode=fast", 2, "echoload: --mode: 'fast' is not one of pingpong bulk churn idle");
    expect("--duration", 2, "echoload: --duration: '127.0.0.1:0' is not a number");
    expect("--mode=bulk --rate=1", 2, "echoload: --rate goes with --mode=pingpong");
    expect("--server-ends", 2, "echoload: --server-ends goes with --mode=idle");
    expect("--mode=idle --server-ends --echo-last", 2,
           "echoload: --server-ends and --echo-last exclude each other");
    expect("--gso", 2, "echoload: --gso goes with --udp");
    expect("--udp --mode=bulk", 2, "echoload: --udp goes with --mode=pingpong");
    expect("--udp --size=65504", 2,
           "echoload: --udp: --size and the prefix together are more than");
    expect("--udp --size=1 --depth=129", 2, "echoload: --udp: --depth is at most 128 if --size is");
    expect("nowhere", 2, "echoload: 'nowhere' is no address: no port is given");
    expect("--help", 0, "Usage: echoload [OPTION]...");
    expect("--version", 0, "echoload ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_right_answers),
        FIXTURE_TEST(test_count_below_connections),
        FIXTURE_TEST(test_another_prefix),
        FIXTURE_TEST(test_wrong_byte),
        FIXTURE_TEST(test_missing_byte),
        FIXTURE_TEST(test_early_end),
        FIXTURE_TEST(test_server_ends),
        FIXTURE_TEST(test_signal_after_the_end),
        FIXTURE_TEST(test_surplus_byte),
        FIXTURE_TEST(test_no_answer),
        FIXTURE_TEST(test_no_server),
        FIXTURE_TEST(test_open_loop_sees_a_stall),
        FIXTURE_TEST(test_open_loop_waits_for_the_end_of_a_stall),
        FIXTURE_TEST(test_datagrams_right),
        FIXTURE_TEST(test_datagrams_lost),
        FIXTURE_TEST(test_datagrams_lost_go_on),
        FIXTURE_TEST(test_datagrams_late),
        FIXTURE_TEST(test_datagrams_doubled),
        FIXTURE_TEST(test_datagrams_swapped),
        FIXTURE_TEST(test_datagrams_wrong),
        FIXTURE_TEST(test_datagrams_without_prefix),
        FIXTURE_TEST(test_datagrams_without_server),
        FIXTURE_TEST(test_wrong_usage),
    };
    return RUN_TESTS("echoload", tests);
}
