/*
 * test_forged.c - datagrams with forged sources, which only a network of our own may carry: the
 * whole suite runs in a namespace, and is skipped where none can be made.
 */
#include "harness.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const char *lacking; /* why there is no namespace; NULL: we are in one */

static bool set_up_loopback(void)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool up = fd >= 0 && ioctl(fd, SIOCSIFFLAGS, &request) == 0;
    (void)close(fd);
    return up;
}

static void enter_namespace(void)
{
    int flags = CLONE_NEWNET | (geteuid() == 0 ? 0 : CLONE_NEWUSER);
    if (unshare(flags) < 0)
        lacking = "no network can be made here";
    else if (!set_up_loopback())
        lacking = "the loopback cannot be brought up here";
}

/* Sends a datagram whose source is this. The kernel may find fault with it, which is as good. */
static void forge(const char *source, uint16_t source_port, const char *to, uint16_t port,
                  const char *text)
{
    struct {
        struct iphdr ip;
        struct udphdr udp;
        char text[64];
    } packet = {.ip = {.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP}};
    struct sockaddr_in addr = {.sin_family = AF_INET};
    const size_t len = strlen(text);
    int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
    assert_true(fd >= 0);
    assert_int_equal(inet_pton(AF_INET, to, &addr.sin_addr), 1);
    packet.ip.daddr = addr.sin_addr.s_addr;
    assert_int_equal(inet_pton(AF_INET, source, &packet.ip.saddr), 1);
    packet.udp.uh_sport = htons(source_port);
    packet.udp.uh_dport = htons(port);
    packet.udp.uh_ulen = htons((uint16_t)(sizeof packet.udp + len));
    memcpy(packet.text, text, len);
    (void)sendto(fd, &packet, sizeof packet.ip + sizeof packet.udp + len, 0,
                 (struct sockaddr *)&addr, sizeof addr);
    (void)close(fd);
}

static void start_on(struct daemon *daemon, const char *address, uint16_t port, const char *options)
{
    char all[256];
    if (lacking != NULL)
        harness_skip(lacking);
    (void)snprintf(all, sizeof all, "--bind=%s --port=%u --udp=only %s", address, (unsigned)port,
                   options);
    daemon_launch(daemon, &(struct launch){.options = all, .own_port = true});
    (void)daemon_wait_port(daemon, "Answering datagrams on ");
}

/* Sends and receives, so that what was sent before has been dealt with. */
static void visit(uint16_t port)
{
    const struct sockaddr_in addr = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    char text[16];
    struct timeval limit = {.tv_sec = HARNESS_DEADLINE_MS / 1000};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    assert_int_equal(sendto(fd, "x", 1, 0, (const struct sockaddr *)&addr, sizeof addr), 1);
    assert_true(recv(fd, text, sizeof text, 0) > 0);
    (void)close(fd);
}

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

static void ports_of_services(struct daemon *daemon)
{
    static const uint16_t ports[] = {0, 7, 13, 19, 53, 1023, 2049};
    start_on(daemon, "0.0.0.0", 25000, "");
    for (size_t i = 0; i < sizeof ports / sizeof *ports; i++)
        forge("127.0.0.9", ports[i], "127.0.0.1", 25000, "x");
    visit(25000);
    expect_datagrams(daemon, "Datagrams: 1 answered; dropped: 7 for the source port, ");
}

/* As from itself, and from a daemon on another host. */
static void our_own_port(struct daemon *daemon)
{
    start_on(daemon, "0.0.0.0", 25000, "--rfc862 --udp-any-source");
    forge("127.0.0.1", 25000, "127.0.0.1", 25000, "x");
    forge("127.0.0.9", 25000, "127.0.0.1", 25000, "x");
    visit(25000);
    expect_datagrams(daemon, "1 answered; dropped: 0 for the source port, 2 for a port of ours, ");
}

/*
 * The kernel drops some of these itself, and puts our address in the place of the unspecified one.
 * What comes through must not be answered.
 */
static void no_hosts(struct daemon *daemon)
{
    static const char *const sources[] = {"127.255.255.255", "224.0.0.1", "255.255.255.255"};
    start_on(daemon, "0.0.0.0", 25000, "");
    for (size_t i = 0; i < sizeof sources / sizeof *sources; i++)
        forge(sources[i], 40000, "127.0.0.1", 25000, "x");
    forge("127.0.0.9", 40000, "127.255.255.255", 25000, "x");
    visit(25000);
    expect_datagrams(daemon, "Datagrams: 1 answered; dropped: 0 for the source port, ");
    expect_datagrams(daemon, " 0 refused by the kernel");
}

/* Two daemons are made to talk to each other. The second one sees an answer, and is silent. */
static void another_daemon(struct daemon *daemon)
{
    start_on(daemon, "127.0.0.1", 25000, "");
    start_on(daemon->second, "127.0.0.2", 25001, "");
    forge("127.0.0.2", 25001, "127.0.0.1", 25000, "x");
    expect_datagrams(daemon->second, "Datagrams: 0 answered; dropped: 0 for the source port, 0 for "
                                     "a port of ours, 0 for the address, 1 for the prefix, ");
    expect_datagrams(daemon, "Datagrams: 1 answered; ");
}

/* Without a prefix, the port tells, if they have the same. */
static void another_daemon_without_prefix(struct daemon *daemon)
{
    start_on(daemon, "127.0.0.1", 25000, "--rfc862");
    start_on(daemon->second, "127.0.0.2", 25000, "--rfc862");
    forge("127.0.0.2", 25000, "127.0.0.1", 25000, "x");
    visit(25000);
    expect_datagrams(daemon, "Datagrams: 1 answered; dropped: 0 for the source port, 1 for a port "
                             "of ours, ");
    expect_datagrams(daemon->second, "Datagrams: 0 answered; ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        e2e_test(ports_of_services),
        e2e_test(our_own_port),
        e2e_test(no_hosts),
        e2e_test(another_daemon),
        e2e_test(another_daemon_without_prefix),
    };
    enter_namespace();
    harness_init();
    return cmocka_run_group_tests_name("e2e.forged", tests, NULL, NULL);
}
