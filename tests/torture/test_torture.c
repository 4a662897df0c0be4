/*
 * test_torture.c - the scenarios in which every call of the daemon fails once.
 */
#include "torture/torture.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    TALK_BYTES = 300000, /* several buffers of the daemon */
    DATAGRAM_MS = 500,   /* an answer that has not come by then is lost */
    KILLED_DATAGRAMS = 3,
    TORTURE_WATCHDOG_S = 880, /* less than the timeout that ctest has */
    TALK_DEADLINE_MS = 30000,
    FEW_FDS = 1000,       /* a successor may have to look at each number, if /proc does not help */
    JAM_BYTES = 64 << 20, /* more than the kernel takes of a client that does not read */
};

/* ---- a client that knows its answer ---- */

/* A conversation: what is sent is sent once, and the answer is checked to the byte. */
struct talk {
    int fd;
    const char *prefix;
    size_t total;
    size_t sent;
    size_t checked; /* bytes that came back, without the prefixes */
    size_t matched; /* bytes of the current prefix */
    bool framed;    /* a prefix has come, and nothing after it */
    bool shut;      /* the sending side has ended */
    bool ended;     /* the answer is over, or the connection broken */
    bool broken;    /* there was no FIN */
};

/* No byte of the data is in a prefix. */
static unsigned char talk_byte(size_t at)
{
    return (unsigned char)('a' + at * 7919 % 20011 % 26);
}

/* Sends as much as the kernel takes. */
static void talk_send(struct talk *talk)
{
    unsigned char data[16384];
    ssize_t n = 1;
    while (talk->sent < talk->total && n > 0) {
        size_t len = talk->total - talk->sent;
        len = len < sizeof data ? len : sizeof data;
        for (size_t i = 0; i < len; i++)
            data[i] = talk_byte(talk->sent + i);
        n = send(talk->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
        talk->sent += n > 0 ? (size_t)n : 0;
    }
    if (n < 0 && errno != EAGAIN)
        talk->ended = true;
}

static void talk_check(struct talk *talk, unsigned char byte)
{
    size_t prefix_len = strlen(talk->prefix);
    if (talk->matched == prefix_len && !talk->framed && byte == (unsigned char)talk->prefix[0])
        talk->matched = 0; /* a chunk has ended, and the next begins */
    if (talk->matched < prefix_len) {
        assert_int_equal(byte, talk->prefix[talk->matched]);
        talk->matched++;
        talk->framed = true;
        return;
    }
    if (talk->checked >= talk->sent || byte != talk_byte(talk->checked))
        fail_msg("Wrong byte after %zu of %zu", talk->checked, talk->sent);
    talk->checked++;
    talk->framed = false;
}

static void talk_recv(struct talk *talk)
{
    unsigned char data[16384];
    ssize_t n = recv(talk->fd, data, sizeof data, MSG_DONTWAIT);
    for (ssize_t i = 0; i < n; i++)
        talk_check(talk, data[i]);
    if (n < 0 && errno != EAGAIN)
        talk->broken = true;
    if (n == 0 || talk->broken)
        talk->ended = true;
}

/* Waits, and sends and receives what can be sent and received at once. */
static void talk_turn(struct talk *talk)
{
    short out = talk->sent < talk->total ? POLLOUT : 0;
    struct pollfd ready = {.fd = talk->fd, .events = (short)(POLLIN | out)};
    if (poll(&ready, 1, TALK_DEADLINE_MS) <= 0)
        fail_msg("No answer after %zu of %zu bytes", talk->checked, talk->total);
    if (talk->sent < talk->total)
        talk_send(talk);
}

/* Sends so many bytes, and receives their answer. */
static void talk_ask(struct talk *talk, size_t bytes)
{
    talk->total += bytes;
    while (!talk->ended && talk->checked < talk->total) {
        talk_turn(talk);
        talk_recv(talk);
    }
}

/* Whether a connection that no call has failed on has got all, and nothing more. */
static bool talk_is_whole(const struct talk *talk)
{
    return talk->checked == talk->total && !talk->framed && !talk->broken;
}

/* Sends the rest, ends the sending side, and receives all that comes. */
static void talk_finish(struct torture *torture, struct talk *talk)
{
    while (!talk->ended) {
        if (talk->sent == talk->total && !talk->shut)
            talk->shut = shutdown(talk->fd, SHUT_WR) == 0;
        talk_turn(talk);
        talk_recv(talk);
    }
    if (talk->checked < talk->total || (torture->scenario->kept && !talk_is_whole(talk)))
        torture_is_cut(torture, talk->fd);
    client_close(talk->fd);
}

static struct talk talk_begin(struct torture *torture, size_t bytes)
{
    int fd = torture->scenario->connect(torture);
    return (struct talk){.fd = fd, .prefix = torture->scenario->prefix, .total = bytes};
}

/* ---- how daemons are started, and reached ---- */

/*
 * Passes a socket, unless it is -1, and says where the service manager is, unless NULL. The manager
 * wants a sign of life so often that no test waits long for one.
 */
static void launch_as(struct torture *torture, const char *options, int passed, const char *manager)
{
    char setting[64];
    const bool succeeds = torture->scenario->starts_anew || torture->scenario->kept;
    const char *const setup[] = {setting, manager, "WATCHDOG_USEC=40000", NULL};
    (void)snprintf(setting, sizeof setting, "%s=/proc/%ld/fd/%d", FAULT_PAGE_VARIABLE,
                   (long)getpid(), torture->page_fd);
    torture_launch(torture, &(struct launch){.options = options,
                                             .own_port = true,
                                             .nofile = succeeds ? FEW_FDS : 0,
                                             .setup = setup,
                                             .fds = &passed,
                                             .fds_count = passed >= 0});
}

static void launch_with(struct torture *torture, const char *options)
{
    launch_as(torture, options, -1, NULL);
}

/*
 * Binds the socket of the service manager, as the scenario's client, in place of the one that may
 * be at the path already.
 */
static void open_manager(struct torture *torture)
{
    const char *path = harness_path("notify");
    const char *other = harness_path("notify-anew");
    torture->client = harness_bind_unix(other, SOCK_DGRAM);
    assert_int_equal(rename(other, path), 0);
}

static void launch_managed(struct torture *torture, const char *options)
{
    char manager[128];
    (void)snprintf(manager, sizeof manager, "NOTIFY_SOCKET=%s", harness_path("notify"));
    open_manager(torture);
    launch_as(torture, options, -1, manager);
}

static void launch_notify(struct torture *torture)
{
    launch_managed(torture, "--port=0 --bind=127.0.0.1");
}

static void launch_watchdog(struct torture *torture)
{
    launch_managed(torture, "--port=0 --bind=127.0.0.1 --workers=2");
}

static void launch_listening(struct torture *torture)
{
    struct sockaddr_in addr;
    socklen_t len = sizeof addr;
    int fd = harness_listen("127.0.0.1");
    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    torture->page->port = ntohs(addr.sin_port);
    launch_as(torture, "--keepalive=0", fd, NULL); /* passed connections have keepalive */
    (void)close(fd);
}

static void launch_connected(struct torture *torture)
{
    int listening = harness_listen("127.0.0.1");
    torture->client = client_connect_like(listening);
    torture_name(torture, torture->client);
    int fd = accept(listening, NULL, NULL);
    assert_true(fd >= 0);
    launch_as(torture, "--verbose", fd, NULL);
    (void)close(fd);
    (void)close(listening);
}

#define TCP "--port=0 --bind=127.0.0.1 --verbose"

static void launch_tcp(struct torture *torture)
{
    launch_with(torture, TCP);
}

/* An abstract name, as no file is left of that. */
static const char *metrics_name(void)
{
    static char name[48];
    (void)snprintf(name, sizeof name, "@uvechod-torture-%ld", (long)getpid());
    return name;
}

static void launch_metrics(struct torture *torture)
{
    char options[128];
    (void)snprintf(options, sizeof options, TCP " --metrics=unix:%s", metrics_name());
    launch_with(torture, options);
}

static void launch_kept_metrics(struct torture *torture)
{
    char options[128];
    (void)snprintf(options, sizeof options, TCP " --keep --metrics=unix:%s", metrics_name());
    launch_with(torture, options);
}

static void launch_kept(struct torture *torture)
{
    launch_with(torture, TCP " --keep");
}

static void launch_kept_verbatim(struct torture *torture)
{
    launch_with(torture, TCP " --keep --rfc862");
}

static void launch_kept_workers(struct torture *torture)
{
    launch_with(torture, TCP " --keep --workers=2");
}

static void launch_kept_udp(struct torture *torture)
{
    launch_with(torture, TCP " --keep --udp");
}

static void launch_kept_proxy(struct torture *torture)
{
    launch_with(torture, TCP " --keep --proxy-from=127.0.0.1");
}

static void launch_start(struct torture *torture)
{
    launch_with(torture, "--port=0");
}

static void launch_name(struct torture *torture)
{
    launch_with(torture, "--port=0 --bind=localhost");
}

static void launch_udp(struct torture *torture)
{
    launch_with(torture, TCP " --udp");
}

static void launch_verbatim(struct torture *torture)
{
    launch_with(torture, TCP " --rfc862");
}

static void launch_workers(struct torture *torture)
{
    launch_with(torture, TCP " --workers=3");
}

static void launch_start_workers(struct torture *torture)
{
    launch_with(torture, "--port=0 --bind=127.0.0.1 --workers=3");
}

static void launch_deadline(struct torture *torture)
{
    launch_with(torture, TCP " --drain-timeout=0");
}

static void launch_idle(struct torture *torture)
{
    launch_with(torture, TCP " --idle-timeout=1");
}

static void launch_proxy(struct torture *torture)
{
    launch_with(torture, TCP " --proxy-from=127.0.0.1");
}

static void launch_start_ipv6(struct torture *torture)
{
    launch_with(torture, "--port=0 --bind=::1");
}

static void launch_ipv6(struct torture *torture)
{
    launch_with(torture, "--port=0 --bind=::1 --verbose");
}

static int connect_tcp(struct torture *torture)
{
    return client_connect(&torture->daemon);
}

/* As a proxy connects: with a header, which comes in two pieces. */
static int connect_with_header(struct torture *torture, const char *header)
{
    int fd = client_connect(&torture->daemon);
    (void)send(fd, header, 7, MSG_NOSIGNAL);
    client_wait_delivered(fd);
    (void)send(fd, header + 7, strlen(header) - 7, MSG_NOSIGNAL);
    return fd;
}

/* It names no client, so that the log calls the connection what it is called here. */
static int connect_proxy(struct torture *torture)
{
    return connect_with_header(torture, "PROXY UNKNOWN\r\n");
}

static int connect_named(struct torture *torture)
{
    return connect_with_header(torture, "PROXY TCP4 192.0.2.7 198.51.100.1 7007 25000\r\n");
}

static int connect_ipv6(struct torture *torture)
{
    return client_connect_to(&torture->daemon, "::1");
}

/*
 * For a client that does not read. With small segments the kernel keeps little of what it does not
 * read, and so a run takes little time.
 */
static int connect_narrow(const struct torture *torture)
{
    const struct sockaddr_in addr = {.sin_family = AF_INET,
                                     .sin_port = htons(torture->daemon.port),
                                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int segment = 1000;
    const int receive = 16384;
    const int send = 65536;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive, sizeof receive), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send, sizeof send), 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&addr, sizeof addr), 0);
    return fd;
}

/* A start that lacks a family goes on without. */
static int connect_any(struct torture *torture)
{
    int fd = client_try(&torture->daemon, "127.0.0.1");
    return fd >= 0 ? fd : client_connect_to(&torture->daemon, "::1");
}

static const char *unix_path(const struct torture *torture)
{
    (void)torture;
    return harness_path("socket");
}

/* A run whose look at its own socket file fails leaves the file. */
static void launch_unix(struct torture *torture)
{
    char options[200];
    (void)unlink(unix_path(torture));
    (void)snprintf(options, sizeof options, "--verbose --bind=unix:%s", unix_path(torture));
    launch_with(torture, options);
}

/* The file of a daemon that was killed stands at the path. */
static void launch_stale(struct torture *torture)
{
    char options[200];
    (void)unlink(unix_path(torture));
    (void)close(harness_bind_unix(unix_path(torture), SOCK_STREAM));
    (void)snprintf(options, sizeof options, "--bind=unix:%s", unix_path(torture));
    launch_with(torture, options);
}

static void launch_unix_verbatim(struct torture *torture)
{
    char options[200];
    (void)snprintf(options, sizeof options, "--verbose --rfc862 --bind=unix:%s",
                   unix_path(torture));
    launch_with(torture, options);
}

static int connect_unix(struct torture *torture)
{
    return client_connect_unix(unix_path(torture));
}

/* ---- the scenarios ---- */

static void run_talk(struct torture *torture, size_t bytes)
{
    struct talk talk = talk_begin(torture, bytes);
    talk_finish(torture, &talk);
}

static void run_echo(struct torture *torture)
{
    run_talk(torture, 5);
}

static int connect_udp(const struct torture *torture)
{
    const struct sockaddr_in addr = {.sin_family = AF_INET,
                                     .sin_port = htons(torture->daemon.port),
                                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&addr, sizeof addr), 0);
    return fd;
}

/* Whether an answer comes soon to a datagram that is sent now. */
static bool datagram_answered(int fd)
{
    char text[16];
    assert_int_equal(send(fd, "hello", 5, 0), 5);
    if (!client_readable(fd, DATAGRAM_MS))
        return false;
    ssize_t n = recv(fd, text, sizeof text, 0);
    assert_int_equal(n, 9);
    assert_memory_equal(text, "GOT:hello", 9);
    return true;
}

/*
 * A datagram may be lost where a call fails. When none fails any more, one is answered at the
 * latest after the daemon's pause.
 */
static void run_datagrams(struct torture *torture)
{
    const uint64_t deadline = harness_now_ms() + HARNESS_DEADLINE_MS;
    if (torture->page->call == FAULT_getsockname)
        return; /* the daemon does not know which port it has, and takes another for datagrams */
    int fd = connect_udp(torture);
    if (!datagram_answered(fd)) {
        torture_disarm(torture);
        while (!datagram_answered(fd))
            assert_true(harness_now_ms() < deadline);
    }
    (void)close(fd);
}

static void run_bulk(struct torture *torture)
{
    run_talk(torture, TALK_BYTES);
}

/* Several at once, so that each worker has one. Of those only the first may be cut: the last one.
 */
static void run_three(struct torture *torture)
{
    for (int i = 0; i < 3; i++)
        run_talk(torture, 5000);
}

/* Sends and does not read, until the daemon does not read any more either. */
static void talk_jam(struct torture *torture, struct talk *talk)
{
    size_t before;
    talk->total = JAM_BYTES;
    do {
        before = talk->sent;
        talk_send(talk);
        torture_wait_quiet(torture);
    } while (talk->sent > before && !talk->ended);
    assert_true(talk->sent < JAM_BYTES);
    talk->total = talk->sent;
}

static void run_jam(struct torture *torture)
{
    struct talk talk = talk_begin(torture, 0);
    talk_jam(torture, &talk);
    talk_finish(torture, &talk);
}

/* Some answers one by one, and the last one with the end. */
static void run_messages(struct torture *torture)
{
    struct talk talk = talk_begin(torture, 0);
    for (size_t len = 1; len <= 3; len++)
        talk_ask(&talk, len);
    talk.total += 5;
    talk_finish(torture, &talk);
}

/*
 * The daemon is killed, so that the calls that count are those of its successor. Of the client that
 * was there, an answer is under way.
 */
static void run_killed_twice(struct torture *torture)
{
    struct talk talk = {.fd = torture->client,
                        .prefix = torture->scenario->prefix,
                        .total = torture->sent,
                        .sent = torture->sent};
    torture_kill(torture);
    talk_finish(torture, &talk);
    run_messages(torture);
}

static void prepare_jam(struct torture *torture)
{
    struct talk talk = {.fd = connect_narrow(torture), .prefix = torture->scenario->prefix};
    talk_jam(torture, &talk);
    torture->client = talk.fd;
    torture->sent = talk.sent;
}

/* ---- kills of a daemon that counts ---- */

/*
 * Reads the first number of the line of statistics that begins so. No call counts any more: how the
 * last one went is known before.
 */
static unsigned long ask_count(struct torture *torture, const char *line)
{
    torture_wait_quiet(torture);
    torture_disarm(torture);
    (void)kill(torture->daemon.pid, SIGUSR1);
    torture_wait_quiet(torture);
    torture_read_log(torture);
    const char *found = strstr(torture->log, line);
    if (found == NULL)
        fail_msg("The statistics have no line '%s'", line);
    return strtoul(found + strlen(line), NULL, 10);
}

/*
 * Sends a datagram that is like no other, and looks when the daemon sleeps what has come. Returns
 * whether that is the answer; it may be nothing. An answer to an earlier datagram would be one too
 * many, because that one was looked for as long.
 */
static bool ask_datagram(struct torture *torture, int fd, unsigned number)
{
    char sent[32];
    char wanted[sizeof sent + 8];
    char got[64];
    int len = snprintf(sent, sizeof sent, "datagram %u", number);
    int wanted_len = snprintf(wanted, sizeof wanted, "%s%s", torture->scenario->prefix, sent);
    assert_int_equal(send(fd, sent, (size_t)len, 0), len);
    torture_wait_quiet(torture);
    ssize_t n = recv(fd, got, sizeof got, MSG_DONTWAIT);
    if (n < 0)
        return false;
    assert_int_equal(n, wanted_len);
    assert_memory_equal(got, wanted, (size_t)n);
    return true;
}

/*
 * Datagrams, and a connection with an answer between each two of them. A kill costs the datagram
 * that is being answered, and its count, at most.
 */
static void run_killed_datagrams(struct torture *torture)
{
    unsigned answers = 0;
    struct talk talk = talk_begin(torture, 0);
    int fd = connect_udp(torture);
    for (unsigned i = 1; i <= KILLED_DATAGRAMS; i++) {
        answers += ask_datagram(torture, fd, i);
        talk_ask(&talk, i);
    }
    talk_finish(torture, &talk);
    unsigned long counted = ask_count(torture, "Datagrams: ");
    unsigned kills = torture->page->struck;
    if (answers + kills < KILLED_DATAGRAMS)
        fail_msg("%u answers to %u datagrams, with %u kills", answers, KILLED_DATAGRAMS, kills);
    assert_between(counted, answers - kills, answers);
    assert_true(ask_datagram(torture, fd, 0)); /* the socket serves */
    assert_true(recv(fd, &answers, sizeof answers, MSG_DONTWAIT) < 0);
    (void)close(fd);
}

/*
 * Every header is counted once, whoever has received how much of it: also the bystander's. Whoever
 * serves a connection at its end knows the client that its proxy has named.
 */
static void run_killed_proxy(struct torture *torture)
{
    static const char closed[] = "Connection closed: ";
    static const char named[] = "Connection closed: 192.0.2.7:7007 via 127.0.0.1:";
    run_messages(torture);
    run_echo(torture);
    assert_int_equal(ask_count(torture, "PROXY headers: "), 3);
    unsigned ends = 0;
    for (const char *at = torture->log; (at = strstr(at, closed)) != NULL; at++, ends++)
        assert_int_equal(strncmp(at, named, sizeof named - 1), 0);
    assert_between(ends, 2 - torture->page->struck, 2); /* a kill can come before the line */
}

/* The keeper executes the program, unless the daemon is killed before it has asked for that. */
static void run_killed_upgrade(struct torture *torture)
{
    struct talk talk = {.fd = torture->client, .prefix = torture->scenario->prefix};
    (void)kill(torture->daemon.pid, SIGUSR2);
    talk_ask(&talk, 5);
    torture_wait_quiet(torture);
    torture_read_log(torture);
    if (torture->page->struck == 0 && strstr(torture->log, "Upgrading: ") == NULL)
        fail_msg("There is no upgrade");
    talk_finish(torture, &talk);
    run_echo(torture);
}

/* Leaves without waiting for the answer, by a reset. */
static void run_reset(struct torture *torture)
{
    int fd = torture->scenario->connect(torture);
    client_send(fd, "lost", 4);
    client_reset(fd);
    torture_wait_quiet(torture);
}

/* A client that is there before the calls count. */
static void prepare_client(struct torture *torture)
{
    torture->client = torture->scenario->connect(torture);
    client_ping(torture->client, torture->scenario->prefix, "before");
}

/*
 * The daemon waits for the client's last answer. That of a client whose daemon is killed is short,
 * because how many calls a long one takes is another number each time.
 */
static void run_drain(struct torture *torture)
{
    struct talk talk = {.fd = torture->client,
                        .prefix = torture->scenario->prefix,
                        .total = torture->scenario->kept ? 5 : TALK_BYTES};
    (void)kill(torture->daemon.pid, SIGTERM);
    torture_wait_quiet(torture);
    talk_finish(torture, &talk);
    client_leave(torture->bystander);
}

/* The daemon ends both connections, with nothing on the way: each gets a FIN. */
static void run_ended(struct torture *torture)
{
    client_expect_end(torture->client);
    client_close(torture->client);
    client_expect_end(torture->bystander);
    client_close(torture->bystander);
}

static void run_deadline(struct torture *torture)
{
    (void)kill(torture->daemon.pid, SIGTERM);
    run_ended(torture);
}

static void run_stop_at_once(struct torture *torture)
{
    (void)kill(torture->daemon.pid, SIGTERM);
    torture_wait_quiet(torture);
    (void)kill(torture->daemon.pid, SIGTERM);
    run_ended(torture);
}

static void run_idle(struct torture *torture)
{
    client_expect_end(torture->client);
    client_close(torture->client);
}

/* Unless this line is what could not be written. */
static void check_refusal(struct torture *torture)
{
    torture_read_log(torture);
    if (torture->page->call != FAULT_write && strstr(torture->log, "Upgrading: ") == NULL &&
        strstr(torture->log, "Cannot upgrade: ") == NULL)
        fail_msg("There is no upgrade, and no line says why");
}

/*
 * The daemon executes itself, or says why it cannot. The new program is under the same faults,
 * because they stand in the environment. It goes on with the connection, unless it cannot start.
 */
static void run_upgrade(struct torture *torture)
{
    struct talk talk = {.fd = torture->client, .prefix = torture->scenario->prefix, .total = 5};
    (void)kill(torture->daemon.pid, SIGUSR2);
    torture_wait_quiet(torture);
    if (torture_ended(torture, 0)) {
        client_close(torture->client);
        return;
    }
    check_refusal(torture);
    talk_finish(torture, &talk);
    run_echo(torture);
}

/* Uses the connection that was passed to the daemon, which ends with it. */
static void run_passed(struct torture *torture)
{
    struct talk talk = {
        .fd = torture->client, .prefix = torture->scenario->prefix, .total = TALK_BYTES};
    talk_finish(torture, &talk);
}

/*
 * The manager learns that the daemon is ready, unless the daemon could not open a socket to it. A
 * datagram that was made shorter tells nothing, and no kernel does that.
 */
static void run_notified(struct torture *torture)
{
    char text[1024] = "";
    unsigned call = torture->page->call;
    bool deaf = torture->page->struck > 0 && (call == FAULT_socket || call == FAULT_connect ||
                                              torture->page->error == FAULT_SHORT);
    while (!deaf && strstr(text, "READY=1") == NULL) {
        if (!client_readable(torture->client, TALK_DEADLINE_MS))
            fail_msg("The service manager is not told");
        ssize_t n = recv(torture->client, text, sizeof text - 1, 0);
        assert_true(n > 0);
        text[n] = '\0';
    }
    client_close(torture->client);
    run_echo(torture);
}

/* Waits for signs of life from the daemon. */
static void expect_pings(struct torture *torture)
{
    char text[1024];
    for (int pings = 0; pings < 3;) {
        if (!client_readable(torture->client, TALK_DEADLINE_MS))
            fail_msg("The service manager gets no sign of life");
        ssize_t n = recv(torture->client, text, sizeof text - 1, 0);
        assert_true(n > 0);
        text[n] = '\0';
        pings += strcmp(text, "WATCHDOG=1") == 0;
    }
}

/* The service manager starts anew: the daemon must connect to the new one. */
static void run_watchdog(struct torture *torture)
{
    int before = torture->client;
    open_manager(torture);
    (void)close(before);
    expect_pings(torture);
    client_close(torture->client);
}

/* ---- a log that nobody reads ---- */

/* Nothing more fits into the log. The lines that fill it are empty, so that they are none. */
static void prepare_full_log(struct torture *torture)
{
    char path[64];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", torture->log_writer);
    int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_true(fcntl(fd, F_SETPIPE_SZ, 4096) >= 0);
    while (write(fd, "\n", 1) == 1)
        continue;
    assert_int_equal(errno, EAGAIN);
    (void)close(fd);
}

/* One client comes and goes while nobody reads the log, and another one later. */
static void run_full_log(struct torture *torture)
{
    run_echo(torture);
    torture_wait_quiet(torture);
    torture_read_log(torture);
    run_echo(torture);
}

/*
 * No line is gone without having been counted: three for each of three clients, and one each for
 * the beginning and the end of the listener.
 */
static void check_full_log(const struct torture *torture)
{
    unsigned long lost = 0;
    unsigned long lines = 0;
    for (const char *line = torture->log; *line != '\0';) {
        char *end;
        size_t len = strcspn(line, "\n");
        if (len > 1) { /* one byte is what a short write leaves */
            unsigned long number = strtoul(line, &end, 10);
            bool counts_losses = strncmp(end, " log line", 9) == 0;
            lost += counts_losses ? number : 0;
            lines += !counts_losses;
        }
        line += len + (line[len] == '\n');
    }
    if (lost == 0)
        fail_msg("The daemon has not told that lines are lost");
    bool all = torture->page->struck == 0 || torture->page->call == FAULT_write;
    if (all && lines + lost != 3 * 3 + 2)
        fail_msg("%lu lines are there, and %lu are lost", lines, lost);
}

/* Returns whether the answer has come as a whole. Who asks may be cut, and not answered. */
static bool ask_metrics(void)
{
    static const char request[] = "GET /metrics HTTP/1.0\r\nAccept: "
                                  "application/openmetrics-text; version=1.0.0\r\n\r\n";
    static const char end[] = "# EOF\n";
    char answer[16384];
    size_t len = 0;
    ssize_t n;
    int fd = client_connect_unix(metrics_name());
    (void)send(fd, request, sizeof request - 1, MSG_NOSIGNAL);
    while ((n = recv(fd, answer + len, sizeof answer - len, 0)) > 0)
        len += (size_t)n;
    if (n < 0 && errno == EAGAIN)
        fail_msg("A client of the metrics gets neither an answer nor an end");
    client_close(fd);
    return len >= sizeof end - 1 &&
           memcmp(answer + len - (sizeof end - 1), end, sizeof end - 1) == 0;
}

/* The next one is answered. */
static void run_metrics(struct torture *torture)
{
    for (int i = 0; i < 2; i++)
        (void)ask_metrics();
    torture_wait_quiet(torture);
}

/* A kill cuts whoever asks at that moment, and nobody else. */
static void run_killed_metrics(struct torture *torture)
{
    if (!ask_metrics() && torture->page->struck == 0)
        fail_msg("There is no answer without a kill");
    torture_wait_quiet(torture);
    run_echo(torture);
    torture_wait_quiet(torture);
    torture_disarm(torture);
    assert_true(ask_metrics());
}

static void run_statistics(struct torture *torture)
{
    (void)kill(torture->daemon.pid, SIGUSR1);
    torture_wait_quiet(torture);
}

static const struct scenario scenario_start = {.name = "start",
                                               .prefix = "GOT:",
                                               .from_start = true,
                                               .launch = launch_start,
                                               .connect = connect_any,
                                               .run = run_echo};
static const struct scenario scenario_start_name = {.name = "start, name",
                                                    .prefix = "GOT:",
                                                    .from_start = true,
                                                    .launch = launch_name,
                                                    .connect = connect_any,
                                                    .run = run_echo,
                                                    .resolves = true};
static const struct scenario scenario_start_workers = {.name = "start, workers",
                                                       .prefix = "GOT:",
                                                       .from_start = true,
                                                       .launch = launch_start_workers,
                                                       .connect = connect_tcp,
                                                       .run = run_echo,
                                                       .threads = true};
static const struct scenario scenario_start_ipv6 = {.name = "start, IPv6",
                                                    .prefix = "GOT:",
                                                    .from_start = true,
                                                    .launch = launch_start_ipv6,
                                                    .connect = connect_ipv6,
                                                    .run = run_echo};
static const struct scenario scenario_start_unix = {.name = "start, Unix socket",
                                                    .prefix = "GOT:",
                                                    .from_start = true,
                                                    .launch = launch_unix,
                                                    .connect = connect_unix,
                                                    .run = run_echo};
static const struct scenario scenario_start_stale = {.name = "start, stale file",
                                                     .prefix = "GOT:",
                                                     .from_start = true,
                                                     .launch = launch_stale,
                                                     .connect = connect_unix,
                                                     .run = run_echo};
static const struct scenario scenario_echo = {.name = "echo",
                                              .prefix = "GOT:",
                                              .launch = launch_tcp,
                                              .connect = connect_tcp,
                                              .run = run_echo};
static const struct scenario scenario_ipv6 = {.name = "echo, IPv6",
                                              .prefix = "GOT:",
                                              .launch = launch_ipv6,
                                              .connect = connect_ipv6,
                                              .run = run_echo};
static const struct scenario scenario_start_udp = {.name = "start, datagrams",
                                                   .prefix = "GOT:",
                                                   .from_start = true,
                                                   .launch = launch_udp,
                                                   .connect = connect_tcp,
                                                   .run = run_datagrams};
static const struct scenario scenario_datagrams = {.name = "datagrams",
                                                   .prefix = "GOT:",
                                                   .launch = launch_udp,
                                                   .connect = connect_tcp,
                                                   .run = run_datagrams};
static const struct scenario scenario_verbatim = {.name = "verbatim",
                                                  .prefix = "",
                                                  .launch = launch_verbatim,
                                                  .connect = connect_tcp,
                                                  .run = run_echo};
static const struct scenario scenario_bulk = {.name = "bulk",
                                              .prefix = "GOT:",
                                              .launch = launch_tcp,
                                              .connect = connect_tcp,
                                              .run = run_bulk};
static const struct scenario scenario_splice = {.name = "splice",
                                                .prefix = "",
                                                .launch = launch_verbatim,
                                                .connect = connect_tcp,
                                                .run = run_bulk,
                                                .keeps = 2};
static const struct scenario scenario_jam = {.name = "backpressure",
                                             .prefix = "GOT:",
                                             .launch = launch_unix,
                                             .connect = connect_unix,
                                             .run = run_jam};
static const struct scenario scenario_jam_splice = {.name = "backpressure, spliced",
                                                    .prefix = "",
                                                    .launch = launch_unix_verbatim,
                                                    .connect = connect_unix,
                                                    .run = run_jam,
                                                    .keeps = 2};
static const struct scenario scenario_reset = {.name = "reset",
                                               .prefix = "GOT:",
                                               .launch = launch_tcp,
                                               .connect = connect_tcp,
                                               .run = run_reset};
static const struct scenario scenario_statistics = {.name = "statistics",
                                                    .prefix = "GOT:",
                                                    .launch = launch_tcp,
                                                    .connect = connect_tcp,
                                                    .run = run_statistics};
static const struct scenario scenario_metrics = {.name = "metrics",
                                                 .prefix = "GOT:",
                                                 .launch = launch_metrics,
                                                 .connect = connect_tcp,
                                                 .run = run_metrics};
static const struct scenario scenario_workers = {.name = "workers",
                                                 .prefix = "GOT:",
                                                 .launch = launch_workers,
                                                 .connect = connect_tcp,
                                                 .run = run_three};

static const struct scenario scenario_drain = {.name = "drain",
                                               .prefix = "GOT:",
                                               .ends = true,
                                               .launch = launch_tcp,
                                               .connect = connect_tcp,
                                               .prepare = prepare_client,
                                               .run = run_drain};
static const struct scenario scenario_deadline = {.name = "drain deadline",
                                                  .prefix = "GOT:",
                                                  .ends = true,
                                                  .launch = launch_deadline,
                                                  .connect = connect_tcp,
                                                  .prepare = prepare_client,
                                                  .run = run_deadline};
static const struct scenario scenario_stop_at_once = {.name = "stop at once",
                                                      .prefix = "GOT:",
                                                      .ends = true,
                                                      .launch = launch_tcp,
                                                      .connect = connect_tcp,
                                                      .prepare = prepare_client,
                                                      .run = run_stop_at_once};
static const struct scenario scenario_upgrade = {.name = "upgrade",
                                                 .prefix = "GOT:",
                                                 .lonely = true,
                                                 .starts_anew = true,
                                                 .launch = launch_tcp,
                                                 .connect = connect_tcp,
                                                 .prepare = prepare_client,
                                                 .run = run_upgrade};
static const struct scenario scenario_idle = {.name = "idle timeout",
                                              .prefix = "GOT:",
                                              .lonely = true,
                                              .launch = launch_idle,
                                              .connect = connect_tcp,
                                              .prepare = prepare_client,
                                              .run = run_idle};
static const struct scenario scenario_proxy = {.name = "proxy",
                                               .prefix = "GOT:",
                                               .launch = launch_proxy,
                                               .connect = connect_proxy,
                                               .run = run_echo};
static const struct scenario scenario_listening = {.name = "passed socket",
                                                   .prefix = "GOT:",
                                                   .from_start = true,
                                                   .launch = launch_listening,
                                                   .connect = connect_tcp,
                                                   .run = run_echo};
static const struct scenario scenario_notify = {.name = "service manager",
                                                .prefix = "GOT:",
                                                .from_start = true,
                                                .launch = launch_notify,
                                                .connect = connect_tcp,
                                                .run = run_notified};
static const struct scenario scenario_watchdog = {.name = "watchdog",
                                                  .prefix = "GOT:",
                                                  .launch = launch_watchdog,
                                                  .connect = connect_tcp,
                                                  .prepare = expect_pings,
                                                  .run = run_watchdog};
static const struct scenario scenario_full_log = {.name = "full log",
                                                  .prefix = "GOT:",
                                                  .launch = launch_tcp,
                                                  .connect = connect_tcp,
                                                  .prepare = prepare_full_log,
                                                  .run = run_full_log,
                                                  .check = check_full_log};
static const struct scenario scenario_connected = {.name = "passed connection",
                                                   .prefix = "GOT:",
                                                   .from_start = true,
                                                   .lonely = true,
                                                   .ends = true,
                                                   .launch = launch_connected,
                                                   .run = run_passed};

static const struct scenario scenario_killed_echo = {.name = "killed, echo",
                                                     .prefix = "GOT:",
                                                     .kept = true,
                                                     .launch = launch_kept,
                                                     .connect = connect_tcp,
                                                     .run = run_messages};
static const struct scenario scenario_killed_datagrams = {.name = "killed, datagrams",
                                                          .prefix = "GOT:",
                                                          .kept = true,
                                                          .launch = launch_kept_udp,
                                                          .connect = connect_tcp,
                                                          .run = run_killed_datagrams};
static const struct scenario scenario_killed_metrics = {.name = "killed, metrics",
                                                        .prefix = "GOT:",
                                                        .kept = true,
                                                        .launch = launch_kept_metrics,
                                                        .connect = connect_tcp,
                                                        .run = run_killed_metrics};
static const struct scenario scenario_killed_proxy = {.name = "killed, proxy",
                                                      .prefix = "GOT:",
                                                      .kept = true,
                                                      .launch = launch_kept_proxy,
                                                      .connect = connect_named,
                                                      .run = run_killed_proxy};
static const struct scenario scenario_killed_splice = {.name = "killed, splice",
                                                       .prefix = "",
                                                       .kept = true,
                                                       .keeps = 2,
                                                       .launch = launch_kept_verbatim,
                                                       .connect = connect_tcp,
                                                       .run = run_bulk};
static const struct scenario scenario_killed_workers = {.name = "killed, workers",
                                                        .prefix = "GOT:",
                                                        .kept = true,
                                                        .launch = launch_kept_workers,
                                                        .connect = connect_tcp,
                                                        .run = run_three};
static const struct scenario scenario_killed_twice = {.name = "killed twice",
                                                      .prefix = "GOT:",
                                                      .kept = true,
                                                      .keeps = -1,
                                                      .launch = launch_kept,
                                                      .connect = connect_tcp,
                                                      .prepare = prepare_jam,
                                                      .run = run_killed_twice};
static const struct scenario scenario_killed_mailbox = {.name = "killed twice, workers",
                                                        .prefix = "GOT:",
                                                        .kept = true,
                                                        .keeps = -1,
                                                        .launch = launch_kept_workers,
                                                        .connect = connect_tcp,
                                                        .prepare = prepare_jam,
                                                        .run = run_killed_twice};
static const struct scenario scenario_killed_pipe = {.name = "killed, pipe",
                                                     .prefix = "",
                                                     .kept = true,
                                                     .keeps = 1, /* may be a new pipe */
                                                     .launch = launch_kept_verbatim,
                                                     .connect = connect_tcp,
                                                     .prepare = prepare_jam,
                                                     .run = run_killed_twice};
static const struct scenario scenario_killed_upgrade = {.name = "killed, upgrade",
                                                        .prefix = "GOT:",
                                                        .kept = true,
                                                        .keeps = -1,
                                                        .launch = launch_kept,
                                                        .connect = connect_tcp,
                                                        .prepare = prepare_client,
                                                        .run = run_killed_upgrade};
static const struct scenario scenario_killed_drain = {.name = "killed, drain",
                                                      .prefix = "GOT:",
                                                      .kept = true,
                                                      .ends = true,
                                                      .launch = launch_kept,
                                                      .connect = connect_tcp,
                                                      .prepare = prepare_client,
                                                      .run = run_drain};

/* ---- cmocka ---- */

static int torture_setup(void **state)
{
    struct torture *torture = *state;
    torture->page_fd = memfd_create("faults", MFD_CLOEXEC);
    if (torture->page_fd < 0 || ftruncate(torture->page_fd, sizeof *torture->page) < 0)
        return -1;
    torture->page =
        mmap(NULL, sizeof *torture->page, PROT_READ | PROT_WRITE, MAP_SHARED, torture->page_fd, 0);
    return torture->page != MAP_FAILED ? 0 : -1;
}

static void torture_test(void **state)
{
    struct torture *torture = *state;
    if (torture->scenario->connect == connect_ipv6) {
        torture->passed = !harness_has_address("::1"); /* then there is no run */
        harness_need_ipv6();
    }
    torture_run(torture);
    torture->passed = true;
}

static int torture_teardown(void **state)
{
    struct torture *torture = *state;
    if (!torture->passed)
        torture_print(torture);
    (void)munmap(torture->page, sizeof *torture->page);
    return close(torture->page_fd);
}

#define torture_case(which)                                                                        \
    {                                                                                              \
#which, torture_test, torture_setup, torture_teardown, &(struct torture)                   \
        {                                                                                          \
            .scenario = &scenario_##which                                                          \
        }                                                                                          \
    }

/* Runs the tests that match the pattern. */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        torture_case(start),          torture_case(start_name),     torture_case(start_workers),
        torture_case(start_unix),     torture_case(start_stale),    torture_case(start_ipv6),
        torture_case(echo),           torture_case(ipv6),           torture_case(verbatim),
        torture_case(bulk),           torture_case(splice),         torture_case(jam),
        torture_case(jam_splice),     torture_case(full_log),       torture_case(reset),
        torture_case(statistics),     torture_case(workers),        torture_case(drain),
        torture_case(deadline),       torture_case(stop_at_once),   torture_case(idle),
        torture_case(listening),      torture_case(connected),      torture_case(notify),
        torture_case(watchdog),       torture_case(upgrade),        torture_case(killed_echo),
        torture_case(killed_splice),  torture_case(killed_workers), torture_case(killed_twice),
        torture_case(killed_pipe),    torture_case(killed_upgrade), torture_case(killed_drain),
        torture_case(killed_mailbox), torture_case(proxy),          torture_case(metrics),
        torture_case(datagrams),      torture_case(start_udp),      torture_case(killed_datagrams),
        torture_case(killed_proxy),   torture_case(killed_metrics),
    };
    harness_init();
    /* A successor looks at each number up to the highest descriptor, also at what a shell left. */
    for (int fd = STDERR_FILENO + 1; fd < FEW_FDS; fd++)
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    const char *all = getenv("UVECHOD_TORTURE");
    bool tries_all = all != NULL && strcmp(all, "all") == 0;
    (void)alarm(tries_all ? 0 : TORTURE_WATCHDOG_S); /* there are hundreds of daemons to start */
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests_name("torture", tests, NULL, NULL);
}
