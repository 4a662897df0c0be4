/*
 * test_udp.c - --udp: what is answered and from which address, what is dropped and how that is
 * counted, and how the sockets outlive the process. Forged sources stand in test_forged.c.
 */
#include "harness.h"
#include "manager.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

enum { LONGEST = 65507, QUEUED = 100, CLIENTS = 64, BURST = 1500 };

static char bytes[LONGEST + 1];
static char answer[LONGEST + 256];

/* ---- clients ---- */

static socklen_t address_of(const char *text, uint16_t port, struct sockaddr_storage *addr)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    if (inet_pton(AF_INET, text, &in.sin_addr) == 1) {
        memcpy(addr, &in, sizeof in);
        return sizeof in;
    }
    assert_int_equal(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
    memcpy(addr, &in6, sizeof in6);
    return sizeof in6;
}

/* A socket that is bound to this address, and to the port unless that is 0. */
static int udp_bind(const char *address, uint16_t port)
{
    struct sockaddr_storage addr;
    socklen_t len = address_of(address, port, &addr);
    struct timeval limit = {.tv_sec = HARNESS_DEADLINE_MS / 1000};
    int fd = socket(addr.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    if (bind(fd, (struct sockaddr *)&addr, len) < 0) {
        (void)close(fd);
        return -errno;
    }
    return fd;
}

/*
 * A client that asks this address of the daemon. It is connected, so that it gets answers from that
 * address and port alone.
 */
static int udp_client(const struct daemon *daemon, const char *from, const char *address)
{
    struct sockaddr_storage addr;
    socklen_t len = address_of(address, daemon->port, &addr);
    int fd = udp_bind(from, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, len), 0);
    return fd;
}

static void udp_send(int fd, const void *data, size_t len)
{
    assert_int_equal(send(fd, data, len, 0), (ssize_t)len);
}

static void udp_expect(int fd, const char *prefix, const void *data, size_t len)
{
    const size_t prefix_len = strlen(prefix);
    ssize_t n = recv(fd, answer, sizeof answer, 0);
    if (n < 0)
        fail_msg("No answer: %s", strerror(errno));
    assert_int_equal(n, (ssize_t)(prefix_len + len));
    assert_memory_equal(answer, prefix, prefix_len);
    assert_memory_equal(answer + prefix_len, data, len);
}

static void udp_ping(int fd, const char *prefix, const char *text)
{
    udp_send(fd, text, strlen(text));
    udp_expect(fd, prefix, text, strlen(text));
}

static void udp_visit(const struct daemon *daemon)
{
    int fd = udp_client(daemon, "127.0.0.1", "127.0.0.1");
    udp_ping(fd, "GOT:", "hello");
    (void)close(fd);
}

/* ---- the daemon ---- */

/* Waits until it answers datagrams, on one address. */
static void start(struct daemon *daemon, const char *options)
{
    char all[512];
    (void)snprintf(all, sizeof all, "--bind=127.0.0.1 %s", options);
    daemon_launch(daemon, &(struct launch){.options = all});
    (void)daemon_wait_port(daemon, "Answering datagrams on ");
}

/* The line of statistics has this part, perhaps a moment after a client has got its answer. */
static void expect_datagrams(struct daemon *daemon, const char *part)
{
    const uint64_t deadline = harness_now_ms() + HARNESS_DEADLINE_MS;
    const char *line;
    do {
        daemon_signal(daemon, SIGUSR1);
        line = daemon_wait_line(daemon, "Datagrams: ");
    } while (strstr(line, part) == NULL && harness_now_ms() < deadline);
    assert_contains(line, part);
}

/* Waits until a second passes in which no thread wakes up: the memory has gone back before. */
static void expect_rest(const struct daemon *daemon)
{
    const uint64_t deadline = harness_now_ms() + HARNESS_DEADLINE_MS;
    struct pollfd ended = {.fd = daemon->pidfd, .events = POLLIN};
    long before;
    do {
        before = daemon_threads_sum(daemon).switches;
        assert_int_equal(poll(&ended, 1, 1500), 0);
    } while (daemon_threads_sum(daemon).switches != before && harness_now_ms() < deadline);
    assert_int_equal(daemon_threads_sum(daemon).switches, before);
}

/* ---- answers ---- */

static void check_sizes(struct daemon *daemon, const char *address, const char *options,
                        const char *prefix)
{
    static const size_t sizes[] = {0, 1, 3, 1472, 1473, 9000, 60000, LONGEST};
    char all[128];
    (void)snprintf(all, sizeof all, "--bind=%s --udp %s", address, options);
    daemon_start(daemon, all);
    int fd = udp_client(daemon, address, address);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        if (sizes[i] == LONGEST && *prefix != '\0')
            continue; /* the answer would be too long */
        udp_send(fd, bytes, sizes[i]);
        udp_expect(fd, prefix, bytes, sizes[i]);
    }
    (void)close(fd);
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
    daemon_forget(daemon);
}

static void every_size(struct daemon *daemon)
{
    check_sizes(daemon, "127.0.0.1", "", "GOT:");
    check_sizes(daemon, "127.0.0.1", "--rfc862", "");
    check_sizes(daemon, "127.0.0.1", "--chunk=1", "GOT:"); /* which cuts no datagram */
    check_sizes(daemon, "127.0.0.1", "--prefix=twice:twice:", "twice:twice:");
}

static void every_size_of_ipv6(struct daemon *daemon)
{
    harness_need_ipv6();
    check_sizes(daemon, "::1", "", "GOT:");
    check_sizes(daemon, "::1", "--rfc862", "");
}

/* The client is connected to the address that it has asked, and gets nothing from another. */
static void the_address_that_was_asked(struct daemon *daemon)
{
    static const char *const addresses[] = {"127.0.0.1", "127.0.0.2", "127.1.2.3"};
    daemon_start(daemon, "--udp"); /* on the wildcard address */
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        int fd = udp_client(daemon, "127.0.0.1", addresses[i]);
        udp_ping(fd, "GOT:", "who are you");
        (void)close(fd);
    }
    if (!harness_has_address("::1"))
        return;
    int fd = udp_client(daemon, "::1", "::1");
    udp_ping(fd, "GOT:", "who are you");
    (void)close(fd);
}

static void tcp_too(struct daemon *daemon)
{
    start(daemon, "--udp");
    udp_visit(daemon);
    client_visit(daemon);
}

static void no_tcp(struct daemon *daemon)
{
    start(daemon, "--udp=only");
    udp_visit(daemon);
    assert_int_equal(client_try(daemon, "127.0.0.1"), -ECONNREFUSED);
    assert_int_equal(daemon_count(daemon, "Listening"), 0);
}

static void off_unless_asked_for(struct daemon *daemon)
{
    daemon_start(daemon, NULL);
    int fd = udp_bind("0.0.0.0", daemon->port); /* nobody is there */
    assert_true(fd >= 0);
    (void)close(fd);
    daemon_signal(daemon, SIGUSR1);
    (void)daemon_wait_line(daemon, "Statistics: ");
    client_visit(daemon);
    assert_int_equal(daemon_count(daemon, "Datagrams"), 0);
}

/* Many clients at once, more than a batch. */
static void check_clients(struct daemon *daemon)
{
    int fds[CLIENTS];
    for (int i = 0; i < CLIENTS; i++)
        fds[i] = udp_client(daemon, "127.0.0.1", "127.0.0.1");
    for (int i = 0; i < CLIENTS; i++)
        for (int k = 0; k < 4; k++)
            udp_send(fds[i], &bytes[k], 1);
    for (int i = 0; i < CLIENTS; i++) {
        for (int k = 0; k < 4; k++)
            udp_expect(fds[i], "GOT:", &bytes[k], 1);
        (void)close(fds[i]);
    }
}

static void many_clients(struct daemon *daemon)
{
    start(daemon, "--udp");
    check_clients(daemon);
    expect_datagrams(daemon, "Datagrams: 256 answered; ");
}

static void many_workers(struct daemon *daemon)
{
    start(daemon, "--udp --workers=4");
    check_clients(daemon);
    expect_datagrams(daemon, "Datagrams: 256 answered; ");
    assert_int_equal(daemon_count(daemon, "Answering datagrams"), 1);
    /* A daemon of the same user cannot take a share of them unasked. */
    char options[64];
    (void)snprintf(options, sizeof options, "--udp=only --bind=127.0.0.1 --port=%u",
                   (unsigned)daemon->port);
    (void)harness_run_refused(&(struct launch){.options = options, .own_port = true}, 1,
                              "Cannot listen on", "Address already in use");
}

/* The memory for datagrams goes back when none come any more, and nothing runs then. */
static void quiet_again(struct daemon *daemon)
{
    start(daemon, "--udp");
    udp_visit(daemon);
    expect_rest(daemon);
    if (!harness_may_weigh())
        return;
    long before = daemon_memory_kb(daemon);
    int fd = udp_client(daemon, "127.0.0.1", "127.0.0.1");
    for (int i = 0; i < QUEUED; i++) {
        udp_send(fd, bytes, 60000);
        udp_expect(fd, "GOT:", bytes, 60000);
    }
    daemon_wait_figure(daemon, daemon_memory_kb, before + 200);
    (void)close(fd);
}

/* ---- what is dropped ---- */

static void check_port(struct daemon *daemon, uint16_t port, const char *to, const char *part)
{
    struct sockaddr_storage addr;
    int fd = udp_bind("127.0.0.2", port);
    socklen_t len = address_of(to, daemon->port, &addr);
    if (fd == -EACCES)
        harness_skip("may not bind privileged ports");
    assert_true(fd >= 0);
    assert_int_equal(sendto(fd, "loop", 4, 0, (struct sockaddr *)&addr, len), 4);
    expect_datagrams(daemon, part);
    assert_false(client_readable(fd, 0));
    (void)close(fd);
}

static void ports_of_services(struct daemon *daemon)
{
    start(daemon, "--udp");
    check_port(daemon, 2049, "127.0.0.1", " 1 for the source port, ");
    (void)daemon_wait_line(daemon, "1 datagram dropped, the last from 127.0.0.2:2049: its port is "
                                   "a service's; see --udp-any-source");
    check_port(daemon, 19, "127.0.0.1", " 2 for the source port, ");
    check_port(daemon, 1023, "127.0.0.1", "0 answered; dropped: 3 for the source port, ");
    udp_visit(daemon);
}

static void any_source(struct daemon *daemon)
{
    start(daemon, "--udp --udp-any-source");
    int fd = udp_bind("127.0.0.2", 2049);
    struct sockaddr_storage addr;
    socklen_t len = address_of("127.0.0.1", daemon->port, &addr);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, len), 0);
    udp_ping(fd, "GOT:", "closed network");
    (void)close(fd);
}

/* Another daemon may be at the same port of another host, and its answers would be answered. */
static void our_own_port(struct daemon *daemon)
{
    start(daemon, "--udp --rfc862 --udp-any-source");
    check_port(daemon, daemon->port, "127.0.0.1", " 1 for a port of ours, ");
}

static void our_own_prefix(struct daemon *daemon)
{
    start(daemon, "--udp");
    int fd = udp_client(daemon, "127.0.0.1", "127.0.0.1");
    udp_send(fd, "GOT:", 4);
    udp_send(fd, "GOT:GOT:x", 9);
    udp_ping(fd, "GOT:", "GOT");
    expect_datagrams(daemon, "1 answered; dropped: 0 for the source port, 0 for a port of ours, 0 "
                             "for the address, 2 for the prefix, ");
    (void)close(fd);
}

static void too_long_an_answer(struct daemon *daemon)
{
    start(daemon, "--udp");
    int fd = udp_client(daemon, "127.0.0.1", "127.0.0.1");
    udp_send(fd, bytes, LONGEST);
    udp_send(fd, bytes, LONGEST - 3);
    udp_send(fd, bytes, LONGEST - 4);
    udp_expect(fd, "GOT:", bytes, LONGEST - 4);
    expect_datagrams(daemon, " 2 too long, ");
    (void)close(fd);
}

static void sent_to_all(struct daemon *daemon)
{
    daemon_start(daemon, "--udp");
    struct sockaddr_storage addr;
    socklen_t len = address_of("127.255.255.255", daemon->port, &addr);
    const int on = 1;
    int fd = udp_bind("127.0.0.1", 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof on), 0);
    assert_int_equal(sendto(fd, "all", 3, 0, (struct sockaddr *)&addr, len), 3);
    expect_datagrams(daemon, " 1 for the address, ");
    assert_false(client_readable(fd, 0));
    (void)close(fd);
}

/* A burst, and what comes back meanwhile; one line says of all drops. */
static void rates(struct daemon *daemon)
{
    start(daemon, "--udp --udp-rate=1");
    int fd = udp_client(daemon, "127.0.0.1", "127.0.0.1");
    int other = udp_client(daemon, "127.0.0.2", "127.0.0.1");
    for (int i = 0; i < QUEUED; i++)
        udp_send(fd, "x", 1);
    udp_expect(fd, "GOT:", "x", 1);
    udp_ping(other, "GOT:", "I am another one");
    const char *line = daemon_wait_line(daemon, " dropped, the last from 127.0.0.1:");
    assert_contains(line, ": --udp-rate is reached");
    (void)close(fd);
    (void)close(other);
}

static void no_rate(struct daemon *daemon)
{
    start(daemon, "--udp --udp-rate=0");
    int fd = udp_client(daemon, "127.0.0.1", "127.0.0.1");
    for (int i = 0; i < BURST; i++)
        udp_ping(fd, "GOT:", "x");
    expect_datagrams(daemon, "Datagrams: 1500 answered; dropped: 0 for the source port, 0 for a "
                             "port of ours, 0 for the address, 0 for the prefix, 0 for --udp-rate, "
                             "0 too long, 0 for lack of room, 0 refused by the kernel");
    (void)close(fd);
}

/* Answers to clients that have gone come back as ICMP errors, and nothing else happens. */
static void clients_that_have_gone(struct daemon *daemon)
{
    start(daemon, "--udp");
    daemon_freeze(daemon);
    for (int i = 0; i < QUEUED; i++) {
        int fd = udp_client(daemon, "127.0.0.1", "127.0.0.1");
        udp_send(fd, "farewell", 8);
        (void)close(fd);
    }
    daemon_signal(daemon, SIGCONT);
    udp_visit(daemon);
    expect_datagrams(daemon, "Datagrams: 101 answered; ");
    expect_rest(daemon);
}

/* ---- sockets that systemd has made ---- */

static void need_systemd(void)
{
    if (!UVECHOD_SYSTEMD)
        harness_skip("built without libsystemd");
}

static void launch_passing(struct daemon *daemon, const int *fds, int count, const char *options)
{
    need_systemd();
    daemon_launch(
        daemon,
        &(struct launch){.own_port = true, .fds = fds, .fds_count = count, .options = options});
}

/* The datagram that has started the daemon is answered, too (systemd#15633). */
static void activation(struct daemon *daemon)
{
    struct sockaddr_in addr;
    socklen_t len = sizeof addr;
    int passed = udp_bind("127.0.0.1", 0);
    assert_int_equal(getsockname(passed, (struct sockaddr *)&addr, &len), 0);
    daemon->port = ntohs(addr.sin_port);
    int fd = udp_client(daemon, "127.0.0.1", "127.0.0.1");
    udp_send(fd, "start", 5);
    launch_passing(daemon, &passed, 1, "--workers=2");
    (void)daemon_wait_line(daemon, "(unknown), by one of the workers");
    udp_expect(fd, "GOT:", "start", 5);
    udp_ping(fd, "GOT:", "more");
    assert_int_equal(daemon_count(daemon, "Listening"), 0);
    (void)close(fd);
    (void)close(passed);
}

static void passed_without_datagrams(struct daemon *daemon)
{
    int passed = harness_listen("127.0.0.1");
    launch_passing(daemon, &passed, 1, "--udp");
    (void)daemon_wait_line(daemon, "--udp: systemd has passed no datagram socket");
    client_leave(client_connect_like(passed));
    (void)close(passed);
}

static void passed_with_others(struct daemon *daemon)
{
    int passed[] = {harness_listen("127.0.0.1"), udp_bind("127.0.0.1", 0)};
    launch_passing(daemon, passed, 2, "--udp=only");
    (void)daemon_wait_line(daemon, "--udp=only: systemd has passed other sockets, too");
    client_leave(client_connect_like(passed[0]));
    (void)close(passed[0]);
    (void)close(passed[1]);
}

static int unix_client(const char *server, const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct timeval limit = {.tv_sec = HARNESS_DEADLINE_MS / 1000};
    int fd = path != NULL ? harness_bind_unix(path, SOCK_DGRAM)
                          : socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    (void)snprintf(addr.sun_path, sizeof addr.sun_path, "%s", server);
    assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof addr), 0);
    return fd;
}

static void unix_datagrams(struct daemon *daemon)
{
    char server[108];
    char client[108];
    (void)snprintf(server, sizeof server, "%s", harness_path("datagrams"));
    (void)snprintf(client, sizeof client, "%s", harness_path("client"));
    int passed = harness_bind_unix(server, SOCK_DGRAM);
    launch_passing(daemon, &passed, 1, "");
    (void)daemon_wait_line(daemon, "Answering datagrams on unix:/");
    int fd = unix_client(server, client);
    udp_ping(fd, "GOT:", "local");
    udp_ping(fd, "GOT:", "");

    int unbound = unix_client(server, NULL);
    udp_send(unbound, "who am I", 8);
    expect_datagrams(daemon, "2 answered; dropped: 0 for the source port, 0 for a port of ours, 1 "
                             "for the address, ");
    (void)daemon_wait_line(daemon, "1 datagram dropped, the last from unix:: an address in it");
    (void)close(unbound);

    daemon_freeze(daemon);
    udp_send(fd, "farewell", 8);
    (void)close(fd);
    daemon_signal(daemon, SIGCONT);
    expect_datagrams(daemon, " 1 refused by the kernel");
    assert_int_equal(unlink(client), 0);
    (void)close(passed);
}

/* The client's name becomes a link to the daemon's own socket, and nothing loops. */
static void a_name_that_leads_to_us(struct daemon *daemon)
{
    char server[108];
    char client[108];
    (void)snprintf(server, sizeof server, "%s", harness_path("ours"));
    (void)snprintf(client, sizeof client, "%s", harness_path("link"));
    int passed = harness_bind_unix(server, SOCK_DGRAM);
    launch_passing(daemon, &passed, 1, "--rfc862");
    (void)daemon_wait_line(daemon, "Answering datagrams on unix:/");
    int fd = unix_client(server, client);
    assert_int_equal(unlink(client), 0);
    assert_int_equal(symlink(server, client), 0);
    udp_send(fd, "loop", 4);
    expect_datagrams(daemon, "1 answered; dropped: 0 for the source port, 1 for a port of ours, ");
    assert_int_equal(unlink(client), 0);
    (void)close(fd);
    (void)close(passed);
}

/* Descriptors that come with datagrams are not taken. */
static void descriptors_of_clients(struct daemon *daemon)
{
    char server[108];
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    (void)snprintf(server, sizeof server, "%s", harness_path("rights"));
    int passed = harness_bind_unix(server, SOCK_DGRAM);
    launch_passing(daemon, &passed, 1, "");
    (void)daemon_wait_line(daemon, "Answering datagrams on unix:/");
    int fd = unix_client(server, harness_path("sender"));
    udp_ping(fd, "GOT:", "hello");
    const long fds = daemon_fds(daemon);
    struct iovec iov = {.iov_base = bytes, .iov_len = 1};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
    *cmsg = (struct cmsghdr){
        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
    memcpy(CMSG_DATA(cmsg), &fd, sizeof fd);
    for (int i = 0; i < QUEUED; i++) {
        assert_int_equal(sendmsg(fd, &msg, 0), 1);
        udp_expect(fd, "GOT:", bytes, 1);
    }
    assert_int_equal(daemon_fds(daemon), fds);
    (void)close(fd);
    (void)close(passed);
}

/* A client that does not read: its queue takes some answers, and the others are dropped. */
static void a_full_queue(struct daemon *daemon)
{
    char server[108];
    (void)snprintf(server, sizeof server, "%s", harness_path("full"));
    int passed = harness_bind_unix(server, SOCK_DGRAM);
    launch_passing(daemon, &passed, 1, "");
    (void)daemon_wait_line(daemon, "Answering datagrams on unix:/");
    int fd = unix_client(server, harness_path("reader"));
    for (int i = 0; i < 5000; i++)
        udp_send(fd, "x", 1);
    (void)daemon_wait_line(daemon, ": the kernel has no room for the answer");
    for (ssize_t n = 1; n > 0;) /* makes room again, for everybody */
        n = recv(fd, answer, sizeof answer, MSG_DONTWAIT);
    int other = unix_client(server, harness_path("other"));
    udp_ping(other, "GOT:", "still there");
    (void)close(fd);
    (void)close(other);
    (void)close(passed);
}

/* ---- the end, and those who go on ---- */

/* What is queued is answered before the daemon ends. */
static void drain(struct daemon *daemon)
{
    start(daemon, "--udp --workers=2");
    int fd = udp_client(daemon, "127.0.0.1", "127.0.0.1");
    daemon_freeze(daemon);
    for (int i = 0; i < QUEUED; i++)
        udp_send(fd, "last", 4);
    daemon_signal(daemon, SIGTERM);
    daemon_signal(daemon, SIGCONT);
    assert_int_equal(daemon_wait_exit(daemon), 0);
    for (int i = 0; i < QUEUED; i++)
        udp_expect(fd, "GOT:", "last", 4);
    (void)close(fd);
}

static void check_upgrades(struct daemon *daemon, const char *options)
{
    start(daemon, options);
    int fd = udp_client(daemon, "127.0.0.1", "127.0.0.1");
    long fds = daemon_fds_but_uring(daemon);
    for (int i = 0; i < 3; i++) {
        udp_ping(fd, "GOT:", "before");
        daemon_signal(daemon, SIGUSR2);
        (void)daemon_wait_line(daemon, "Took over 0 connections");
        udp_ping(fd, "GOT:", "after");
    }
    expect_datagrams(daemon, "Datagrams: 6 answered; ");
    assert_int_equal(daemon_fds_but_uring(daemon), fds);
    client_visit(daemon);
    (void)close(fd);
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
    daemon_forget(daemon);
}

static void upgrades(struct daemon *daemon)
{
    check_upgrades(daemon, "--udp");
    check_upgrades(daemon, "--udp --workers=3");
}

/* What comes while there is no daemon waits for the next one. */
static void restarts(struct daemon *daemon)
{
    struct manager manager;
    manager_start(&manager, daemon, "--udp --workers=2");
    (void)daemon_wait_port(daemon, "Answering datagrams on ");
    int fd = udp_client(daemon, "127.0.0.1", "127.0.0.1");
    for (int i = 0; i < 3; i++) {
        udp_ping(fd, "GOT:", "one");
        manager_end(&manager, daemon);
        udp_send(fd, "two", 3);
        (void)manager_resume(&manager, daemon, i == 0 ? "--udp --workers=3" : "--udp");
        udp_expect(fd, "GOT:", "two", 3);
    }
    expect_datagrams(daemon, "Datagrams: 6 answered; ");
    (void)close(fd);
    manager_stop(&manager, daemon);
}

/* The next daemon does not want any: nobody is at the port then. */
static void a_restart_without(struct daemon *daemon)
{
    struct manager manager;
    manager_start(&manager, daemon, "--udp");
    (void)daemon_wait_port(daemon, "Answering datagrams on ");
    udp_visit(daemon);
    (void)manager_restart(&manager, daemon, "");
    int fd = udp_bind("127.0.0.1", daemon->port);
    assert_true(fd >= 0);
    (void)close(fd);
    manager_stop(&manager, daemon);
}

static void restarts_with_passed_sockets(struct daemon *daemon)
{
    struct manager manager;
    struct sockaddr_in addr;
    socklen_t len = sizeof addr;
    manager_open(&manager);
    manager.sockets[0] = harness_listen("127.0.0.1");
    manager.sockets[1] = udp_bind("127.0.0.1", 0);
    manager.socket_count = 2;
    assert_int_equal(getsockname(manager.sockets[1], (struct sockaddr *)&addr, &len), 0);
    daemon->port = ntohs(addr.sin_port);
    manager_launch(&manager, daemon, "");
    (void)daemon_wait_line(daemon, "Answering datagrams on ");
    long fds = daemon_fds_but_uring(daemon);
    int fd = udp_client(daemon, "127.0.0.1", "127.0.0.1");
    for (int i = 0; i < 3; i++) {
        udp_ping(fd, "GOT:", "one");
        (void)manager_restart(&manager, daemon, "");
        udp_ping(fd, "GOT:", "two");
        assert_int_equal(daemon_fds_but_uring(daemon), fds);
    }
    expect_datagrams(daemon, "Datagrams: 6 answered; ");
    (void)close(fd);
    manager_stop(&manager, daemon);
    (void)close(manager.sockets[0]);
    (void)close(manager.sockets[1]);
}

static void crashes(struct daemon *daemon)
{
    start(daemon, "--keep --udp --workers=2");
    int fd = udp_client(daemon, "127.0.0.1", "127.0.0.1");
    for (int i = 0; i < 3; i++) {
        udp_ping(fd, "GOT:", "before");
        assert_int_equal(kill(daemon_child(daemon), SIGKILL), 0);
        udp_ping(fd, "GOT:", "after");
        (void)daemon_wait_line(daemon, "Took over ");
    }
    /* What was answered in the moment of a crash may not have been counted. */
    daemon_signal(daemon, SIGUSR1);
    const char *line = daemon_wait_line(daemon, "Datagrams: ");
    unsigned long answered = strtoul(line + strlen("Datagrams: "), NULL, 10);
    assert_between(answered, 3, 6);
    (void)close(fd);
}

/* ---- options ---- */

static void refuse(const char *options, const char *part)
{
    (void)harness_run_refused(&(struct launch){.options = options}, 2, part, "--help");
}

static void wrong_options(struct daemon *daemon)
{
    (void)daemon;
    refuse("--udp=too", "--udp: 'too' is not 'only'");
    refuse("--udp=", "--udp: '' is not 'only'");
    refuse("--udp-rate=many", "--udp-rate: 'many' is not a number from 0 to 1000000");
    refuse("--udp-any-source=yes", "--udp-any-source: takes no value");
    refuse("--udp --bind=unix:@x", "--udp: --bind gives no IPv4 or IPv6 address");
    refuse("--udp=only --bind=unix:@x --bind=127.0.0.1", "--udp=only: a Unix socket");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        e2e_test(every_size),
        e2e_test(every_size_of_ipv6),
        e2e_test(the_address_that_was_asked),
        e2e_test(tcp_too),
        e2e_test(no_tcp),
        e2e_test(off_unless_asked_for),
        e2e_test(many_clients),
        e2e_test(many_workers),
        e2e_test(quiet_again),
        e2e_test(ports_of_services),
        e2e_test(any_source),
        e2e_test(our_own_port),
        e2e_test(our_own_prefix),
        e2e_test(too_long_an_answer),
        e2e_test(sent_to_all),
        e2e_test(rates),
        e2e_test(no_rate),
        e2e_test(clients_that_have_gone),
        e2e_test(activation),
        e2e_test(passed_without_datagrams),
        e2e_test(passed_with_others),
        e2e_test(unix_datagrams),
        e2e_test(a_name_that_leads_to_us),
        e2e_test(descriptors_of_clients),
        e2e_test(a_full_queue),
        e2e_test(drain),
        e2e_test(upgrades),
        e2e_test(restarts),
        e2e_test(a_restart_without),
        e2e_test(restarts_with_passed_sockets),
        e2e_test(crashes),
        e2e_test(wrong_options),
    };
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)('a' + i % 26);
    harness_init();
    return cmocka_run_group_tests_name("e2e.udp", tests, NULL, NULL);
}
