/*
 * datagram.c: batches on real sockets of the loopback and of Unix, with every failure of the calls
 * that set sockets up, receive and send.
 */
#include "os/datagram.h"
#include "os/net.h"

#include "unit/support.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/udp.h>

enum { PREFIX_LEN = 4 };

/* Which option cannot be set or read. */
static int failing_option;
static int failing_call_errors[8]; /* of recvmmsg() or sendmmsg(), each once; 0: a real call */
static int failing_calls;
static int sent_calls;

static struct {
    struct datagrams_mail mail;
    struct datagrams_sender sender;
    unsigned sent;
    unsigned unsent;
    int error;
    int server;
    int client;
    union net_addr addr; /* of the server */
} fix;

int __wrap_setsockopt(int fd, int level, int option, const void *value, socklen_t len);
int __real_setsockopt(int fd, int level, int option, const void *value, socklen_t len);
int __wrap_getsockopt(int fd, int level, int option, void *value, socklen_t *len);
int __real_getsockopt(int fd, int level, int option, void *value, socklen_t *len);
int __wrap_socket(int family, int type, int protocol);
int __real_socket(int family, int type, int protocol);
int __wrap_recvmmsg(int fd, struct mmsghdr *list, unsigned count, int flags, struct timespec *time);
int __real_recvmmsg(int fd, struct mmsghdr *list, unsigned count, int flags, struct timespec *time);
int __wrap_sendmmsg(int fd, struct mmsghdr *list, unsigned count, int flags);
int __real_sendmmsg(int fd, struct mmsghdr *list, unsigned count, int flags);

static bool socket_fails;

int __wrap_setsockopt(int fd, int level, int option, const void *value, socklen_t len)
{
    if (option == failing_option) {
        errno = ENOPROTOOPT;
        return -1;
    }
    return __real_setsockopt(fd, level, option, value, len);
}

int __wrap_getsockopt(int fd, int level, int option, void *value, socklen_t *len)
{
    if (option == failing_option) {
        errno = ENOPROTOOPT;
        return -1;
    }
    return __real_getsockopt(fd, level, option, value, len);
}

int __wrap_socket(int family, int type, int protocol)
{
    if (!socket_fails)
        return __real_socket(family, type, protocol);
    errno = EMFILE;
    return -1;
}

static bool call_fails(void)
{
    if (failing_calls == 0)
        return false;
    errno = failing_call_errors[--failing_calls];
    return errno != 0;
}

int __wrap_recvmmsg(int fd, struct mmsghdr *list, unsigned count, int flags, struct timespec *time)
{
    return call_fails() ? -1 : __real_recvmmsg(fd, list, count, flags, time);
}

int __wrap_sendmmsg(int fd, struct mmsghdr *list, unsigned count, int flags)
{
    sent_calls++;
    return call_fails() ? -1 : __real_sendmmsg(fd, list, count, flags);
}

static void on_sent(struct datagrams_sender *sender, unsigned count)
{
    assert_ptr_equal(sender, &fix.sender);
    fix.sent += count;
}

static void on_unsent(struct datagrams_sender *sender, const union net_addr *peer, unsigned count,
                      int error)
{
    assert_ptr_equal(sender, &fix.sender);
    assert_int_not_equal(peer->sa.sa_family, AF_UNSPEC);
    fix.unsent += count;
    fix.error = error;
}

static union net_addr loopback(int family)
{
    union net_addr addr = net_any((sa_family_t)family);
    if (family == AF_INET)
        addr.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else
        addr.in6.sin6_addr = in6addr_loopback;
    return addr;
}

static void open_pair(int family)
{
    union net_addr any = net_any((sa_family_t)family);
    fix.server = datagram_open(&any, -1);
    assert_true(fix.server >= 0);
    assert_int_equal(datagram_set_up(fix.server), 0);
    assert_int_equal(net_local(fix.server, &fix.addr), 0);
    union net_addr to = loopback(family);
    net_set_port(&to, net_port(&fix.addr));
    fix.addr = to;
    fix.client = __real_socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(fix.client >= 0);
    assert_int_equal(connect(fix.client, &to.sa, net_addr_len(&to)), 0);
}

static int fixture_open(void **state)
{
    (void)state;
    memset(&fix, 0, sizeof fix);
    failing_option = -1;
    failing_calls = sent_calls = 0;
    socket_fails = false;
    fix.sender = (struct datagrams_sender){.on_sent = on_sent, .on_unsent = on_unsent};
    open_pair(AF_INET);
    return 0;
}

static int fixture_close(void **state)
{
    (void)state;
    net_close(fix.server);
    net_close(fix.client);
    return 0;
}

static void client_sends(const char *text)
{
    size_t len = strlen(text);
    assert_int_equal(send(fix.client, text, len, 0), (ssize_t)len);
}

static void client_gets(const char *text)
{
    char buf[1024];
    ssize_t n = recv(fix.client, buf, sizeof buf - 1, 0);
    assert_true(n >= 0);
    buf[n] = '\0';
    assert_string_equal(buf, text);
}

/* Receives, and answers each segment. Returns how many messages have come. */
static int answer_all(const char *prefix)
{
    wait_for(fix.server, POLLIN);
    int n = datagrams_receive(fix.server, false, &fix.mail);
    for (int i = 0; i < n; i++) {
        struct datagram datagram;
        datagrams_get(&fix.mail, (unsigned)i, &datagram);
        size_t at = 0;
        do {
            size_t left = datagram.len - at;
            size_t len = left < datagram.segment ? left : datagram.segment;
            datagrams_answer(&fix.mail, &datagram, datagram.bytes + at, len, prefix,
                             strlen(prefix));
            at += len;
        } while (at < datagram.len);
    }
    datagrams_send(fix.server, &fix.mail, &fix.sender);
    return n;
}

/* ---- sockets ---- */

static void test_open_what_cannot_be_opened(void **state)
{
    (void)state;
    union net_addr any = net_any(AF_INET);
    union net_addr any6 = net_any(AF_INET6);
    int fds = count_fds();
    socket_fails = true;
    assert_int_equal(datagram_open(&any, -1), -EMFILE);
    socket_fails = false;
    failing_option = IPV6_V6ONLY;
    int rc = datagram_open(&any6, -1);
    assert_true(rc == -ENOPROTOOPT || rc == -EAFNOSUPPORT);
    failing_option = SO_REUSEPORT;
    assert_int_equal(datagram_open(&any, fix.server), -ENOPROTOOPT);
    failing_option = -1;
    any.in.sin_addr.s_addr = htonl(0xc0000201); /* of RFC 5737: nobody's */
    assert_int_equal(datagram_open(&any, -1), -EADDRNOTAVAIL);
    assert_int_equal(count_fds(), fds);
}

/* Nobody shares a port unasked, and asked, both are bound to it. */
static void test_open_beside(void **state)
{
    (void)state;
    union net_addr any = net_any(AF_INET);
    net_set_port(&any, net_port(&fix.addr));
    assert_int_equal(datagram_open(&any, -1), -EADDRINUSE);
    int fd = datagram_open(&any, fix.server);
    assert_true(fd >= 0);
    assert_int_equal(datagram_open(&any, -1), -EADDRINUSE);
    net_close(fd);
}

static void test_set_up_failures(void **state)
{
    (void)state;
    failing_option = SO_DOMAIN;
    assert_int_equal(datagram_set_up(fix.server), -ENOPROTOOPT);
    failing_option = IP_PKTINFO;
    assert_int_equal(datagram_set_up(fix.server), -ENOPROTOOPT);
    failing_option = SO_RCVBUFFORCE; /* and so the other one is tried */
    assert_int_equal(datagram_set_up(fix.client), 0);
    failing_option = -1;
    assert_int_equal(datagram_set_up(-1), -EBADF);
}

/* A queue that somebody has made longer stays so. */
static void test_the_queue(void **state)
{
    (void)state;
    int bytes = 2 * DATAGRAM_QUEUE;
    socklen_t len = sizeof bytes;
    int rc = __real_setsockopt(fix.client, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
    assert_int_equal(datagram_set_up(fix.client), 0);
    assert_int_equal(__real_getsockopt(fix.client, SOL_SOCKET, SO_RCVBUF, &bytes, &len), 0);
    if (rc == 0)
        assert_int_equal(bytes, 4 * DATAGRAM_QUEUE);
    else
        assert_true(bytes > 0); /* net.core.rmem_max */
}

/* ---- one by one ---- */

static void test_nothing_has_come(void **state)
{
    (void)state;
    assert_int_equal(datagrams_receive(fix.server, false, &fix.mail), -EAGAIN);
    failing_call_errors[0] = EINTR;
    failing_calls = 1;
    assert_int_equal(datagrams_receive(fix.server, false, &fix.mail), -EAGAIN);
}

static void test_what_a_datagram_says(void **state)
{
    (void)state;
    struct datagram datagram;
    union net_addr own;
    client_sends("hello");
    wait_for(fix.server, POLLIN);
    assert_int_equal(datagrams_receive(fix.server, false, &fix.mail), 1);
    datagrams_get(&fix.mail, 0, &datagram);
    assert_int_equal(net_local(fix.client, &own), 0);
    assert_int_equal(datagram.peer->sa.sa_family, AF_INET);
    assert_int_equal(net_port(datagram.peer), net_port(&own));
    assert_int_equal(datagram.own.in.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
    assert_false(datagram.shared);
    assert_false(datagram.cut);
    assert_int_equal(datagram.len, 5);
    assert_int_equal(datagram.segment, 5);
    assert_memory_equal(datagram.bytes, "hello", 5);
}

static void test_answers_of_one_client(void **state)
{
    (void)state;
    client_sends("one");
    client_sends("two");
    client_sends("3"); /* a shorter one ends what can be put together */
    client_sends("four");
    client_sends("");
    assert_int_equal(answer_all("GOT:"), 5);
    client_gets("GOT:one");
    client_gets("GOT:two");
    client_gets("GOT:3");
    client_gets("GOT:four");
    client_gets("GOT:");
    assert_int_equal(fix.sent, 5);
    assert_int_equal(fix.unsent, 0);
}

static void test_verbatim(void **state)
{
    (void)state;
    client_sends("");
    client_sends("one");
    assert_int_equal(answer_all(""), 2);
    client_gets("");
    client_gets("one");
}

/* The answer comes from the address that was asked, or the connected client would not get it. */
static void test_ipv6(void **state)
{
    (void)state;
    int fd = __real_socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    union net_addr addr = loopback(AF_INET6);
    if (fd < 0 || bind(fd, &addr.sa, net_addr_len(&addr)) < 0)
        skip();
    net_close(fd);
    fixture_close(NULL);
    open_pair(AF_INET6);
    client_sends("six");
    assert_int_equal(answer_all("GOT:"), 1);
    client_gets("GOT:six");
    failing_option = IPV6_RECVPKTINFO;
    assert_int_equal(datagram_set_up(fix.server), -ENOPROTOOPT);
}

/* ---- several in one ---- */

static bool send_segments(const char *text, uint16_t segment)
{
    int gso = segment;
    if (__real_setsockopt(fix.client, IPPROTO_UDP, 103 /* UDP_SEGMENT */, &gso, sizeof gso) < 0)
        return false;
    client_sends(text);
    return true;
}

static void check_segments(const char *prefix, const char *const *answers)
{
    if (!send_segments("aabbccd", 2))
        skip();
    int messages = 0;
    while (fix.sent + fix.unsent < 4)
        messages += answer_all(prefix);
    assert_int_equal(messages, 1);
    for (int i = 0; i < 4; i++)
        client_gets(answers[i]);
    assert_int_equal(fix.sent, 4);
}

static void test_segments_with_prefixes(void **state)
{
    (void)state;
    check_segments("GOT:", (const char *const[]){"GOT:aa", "GOT:bb", "GOT:cc", "GOT:d"});
    assert_int_equal(sent_calls, 1);
}

static void test_segments_verbatim(void **state)
{
    (void)state;
    check_segments("", (const char *const[]){"aa", "bb", "cc", "d"});
    assert_int_equal(sent_calls, 1);
}

/* Refused as one, they go one by one, and what is refused again is told. */
static void test_segments_refused_as_one(void **state)
{
    (void)state;
    if (!send_segments("aabbcc", 2))
        skip();
    failing_calls = 3; /* the last comes first */
    failing_call_errors[2] = EINVAL;
    failing_call_errors[1] = 0;
    failing_call_errors[0] = EPERM;
    wait_for(fix.server, POLLIN);
    struct datagram datagram;
    int calls = failing_calls;
    failing_calls = 0;
    assert_int_equal(datagrams_receive(fix.server, false, &fix.mail), 1);
    failing_calls = calls;
    datagrams_get(&fix.mail, 0, &datagram);
    for (size_t at = 0; at < 6; at += 2)
        datagrams_answer(&fix.mail, &datagram, datagram.bytes + at, 2, "GOT:", PREFIX_LEN);
    datagrams_send(fix.server, &fix.mail, &fix.sender);
    client_gets("GOT:aa");
    client_gets("GOT:cc");
    assert_int_equal(fix.sent, 2);
    assert_int_equal(fix.unsent, 1);
    assert_int_equal(fix.error, -EPERM);
}

/* As the kernel would say it of a link-local address, whose interface counts. */
static void test_link_local(void **state)
{
    (void)state;
    const struct in6_pktinfo info = {.ipi6_addr.s6_addr = {0xfe, 0x80, [15] = 1},
                                     .ipi6_ifindex = 5};
    struct datagram datagram;
    struct msghdr *msg = &fix.mail.in[0].msg_hdr;
    fix.mail.in_peer[0] = loopback(AF_INET6);
    *msg = (struct msghdr){.msg_namelen = sizeof fix.mail.in_peer[0].in6,
                           .msg_control = fix.mail.in_control[0],
                           .msg_controllen = CMSG_SPACE(sizeof info)};
    *CMSG_FIRSTHDR(msg) = (struct cmsghdr){
        .cmsg_level = IPPROTO_IPV6, .cmsg_type = IPV6_PKTINFO, .cmsg_len = CMSG_LEN(sizeof info)};
    memcpy(CMSG_DATA(CMSG_FIRSTHDR(msg)), &info, sizeof info);
    datagrams_get(&fix.mail, 0, &datagram);
    assert_int_equal(datagram.own.in6.sin6_scope_id, 5);
}

static unsigned answers_of(const struct datagram *one, const struct datagram *other)
{
    fix.mail.answers = fix.mail.iovs = 0;
    datagrams_answer(&fix.mail, one, one->bytes, 1, "", 0);
    datagrams_answer(&fix.mail, other, other->bytes, 1, "", 0);
    return fix.mail.answers;
}

/* Answers are put together if both ends are the same. */
static void test_what_is_put_together(void **state)
{
    (void)state;
    static char bytes[DATAGRAM_ROOM + 1];
    const union net_addr peer = loopback(AF_INET6);
    const struct sockaddr_in6 own = loopback(AF_INET6).in6;
    const struct datagram one = {
        .peer = &peer, .own = {.in6 = own}, .bytes = bytes + DATAGRAM_ROOM, .len = 1, .segment = 1};
    struct datagram other = one;
    assert_int_equal(answers_of(&one, &other), 1);
    other.own.in6.sin6_scope_id = 1;
    assert_int_equal(answers_of(&one, &other), 2);
    other.own.in = loopback(AF_INET).in;
    assert_int_equal(answers_of(&one, &other), 2);
    fix.mail.answers = fix.mail.iovs = 0;
}

/* ---- failures ---- */

/* After an error that datagram is skipped, and not the rest. */
static void test_one_that_cannot_be_sent(void **state)
{
    (void)state;
    struct datagram datagram;
    client_sends("one");
    client_sends("three");
    client_sends("eleven");
    wait_for(fix.server, POLLIN);
    assert_int_equal(datagrams_receive(fix.server, false, &fix.mail), 3);
    for (unsigned i = 0; i < 3; i++) {
        datagrams_get(&fix.mail, i, &datagram);
        datagrams_answer(&fix.mail, &datagram, datagram.bytes, datagram.len, "", 0);
    }
    failing_calls = 2;
    failing_call_errors[1] = EINTR;
    failing_call_errors[0] = ENOBUFS;
    datagrams_send(fix.server, &fix.mail, &fix.sender);
    client_gets("three");
    client_gets("eleven");
    assert_int_equal(fix.sent, 2);
    assert_int_equal(fix.unsent, 1);
    assert_int_equal(fix.error, -ENOBUFS);
}

/* ---- Unix ---- */

static int bind_unix(union net_addr *addr, const char *name)
{
    assert_int_equal(net_unix(name, addr), 0);
    int fd = __real_socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, &addr->sa, net_addr_len(addr)), 0);
    return fd;
}

static void test_unix_clients(void **state)
{
    (void)state;
    char name[64];
    struct datagram datagram;
    union net_addr server;
    union net_addr client;
    fixture_close(NULL);
    (void)snprintf(name, sizeof name, "@uvechod-test-%ld-s", (long)getpid());
    fix.server = bind_unix(&server, name);
    assert_int_equal(datagram_set_up(fix.server), 0);
    (void)snprintf(name, sizeof name, "@uvechod-test-%ld-c", (long)getpid());
    fix.client = bind_unix(&client, name);
    memset(fix.mail.in_peer, 0xa5, sizeof fix.mail.in_peer);
    assert_int_equal(connect(fix.client, &server.sa, net_addr_len(&server)), 0);
    client_sends("local");
    assert_int_equal(answer_all("GOT:"), 1);
    client_gets("GOT:local");
    datagrams_get(&fix.mail, 0, &datagram);
    assert_memory_equal(datagram.peer->un.sun_path, client.un.sun_path, sizeof client.un.sun_path);

    int unbound = __real_socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(sendto(unbound, "x", 1, 0, &server.sa, net_addr_len(&server)), 1);
    wait_for(fix.server, POLLIN);
    assert_int_equal(datagrams_receive(fix.server, true, &fix.mail), 1);
    datagrams_get(&fix.mail, 0, &datagram);
    assert_int_equal(datagram.peer->sa.sa_family, AF_UNSPEC);
    net_close(unbound);
}

/* Descriptors that a client sends are closed by the kernel, and never open here. */
static void test_descriptors_of_a_client(void **state)
{
    (void)state;
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    struct datagram datagram;
    int fds[2];
    int pipe_fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(pipe2(pipe_fds, O_NONBLOCK), 0);
    struct iovec iov = {.iov_base = control, .iov_len = 1};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
    *cmsg = (struct cmsghdr){
        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(sizeof(int))};
    memcpy(CMSG_DATA(cmsg), &pipe_fds[1], sizeof(int));
    assert_int_equal(sendmsg(fds[0], &msg, 0), 1);
    net_close(pipe_fds[1]);
    assert_int_equal(datagrams_receive(fds[1], true, &fix.mail), 1);
    datagrams_get(&fix.mail, 0, &datagram);
    assert_int_equal(datagram.len, 1);
    char byte;
    assert_int_equal(read(pipe_fds[0], &byte, 1), 0); /* nobody has the other end */
    net_close(pipe_fds[0]);
    net_close(fds[0]);
    net_close(fds[1]);
}

/* Sends a datagram from an abstract name of so many bytes. Returns the family that is seen then. */
static sa_family_t family_of_name(const char *name, size_t len)
{
    union net_addr server;
    struct datagram datagram;
    char text[64];
    socklen_t addr_len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
    (void)snprintf(text, sizeof text, "@uvechod-test-%ld-n", (long)getpid());
    int fd = bind_unix(&server, text);
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    memcpy(un.sun_path, name, len);
    int client = __real_socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(client, (struct sockaddr *)&un, addr_len), 0);
    assert_int_equal(sendto(client, "x", 1, 0, &server.sa, net_addr_len(&server)), 1);
    assert_int_equal(datagrams_receive(fd, true, &fix.mail), 1);
    datagrams_get(&fix.mail, 0, &datagram);
    net_close(client);
    net_close(fd);
    return datagram.peer->sa.sa_family;
}

static void test_names_that_end_with_nul(void **state)
{
    (void)state;
    char name[40] = "";
    int len = snprintf(name + 1, sizeof name - 1, "uvechod-test-%ld", (long)getpid()) + 1;
    assert_int_equal(family_of_name(name, (size_t)len), AF_UNIX);
    assert_int_equal(family_of_name(name, (size_t)len + 1), AF_UNSPEC);
}

static int set_on(int fd, int level, int option)
{
    const int on = 1;
    return __real_setsockopt(fd, level, option, &on, sizeof on);
}

/* Nobody knows then which address was asked. */
static void test_too_much_ancillary_data(void **state)
{
    (void)state;
    static const int options[] = {IP_RECVTTL, IP_RECVTOS, IP_RECVORIGDSTADDR};
    struct datagram datagram;
    assert_int_equal(set_on(fix.server, SOL_SOCKET, SO_TIMESTAMP), 0);
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        if (set_on(fix.server, IPPROTO_IP, options[i]) < 0)
            skip(); /* qemu-user does not know all of them */
    client_sends("hello");
    wait_for(fix.server, POLLIN);
    assert_int_equal(datagrams_receive(fix.server, false, &fix.mail), 1);
    datagrams_get(&fix.mail, 0, &datagram);
    assert_true(datagram.shared);
}

static void test_one_that_is_too_long(void **state)
{
    (void)state;
    static char bytes[DATAGRAM_BYTES + 1];
    struct datagram datagram;
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(send(fds[0], bytes, sizeof bytes, 0), (ssize_t)sizeof bytes);
    assert_int_equal(datagrams_receive(fds[1], true, &fix.mail), 1);
    datagrams_get(&fix.mail, 0, &datagram);
    assert_true(datagram.cut);
    net_close(fds[0]);
    net_close(fds[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_open_what_cannot_be_opened),
        FIXTURE_TEST(test_open_beside),
        FIXTURE_TEST(test_set_up_failures),
        FIXTURE_TEST(test_the_queue),
        FIXTURE_TEST(test_nothing_has_come),
        FIXTURE_TEST(test_what_a_datagram_says),
        FIXTURE_TEST(test_answers_of_one_client),
        FIXTURE_TEST(test_verbatim),
        FIXTURE_TEST(test_ipv6),
        FIXTURE_TEST(test_link_local),
        FIXTURE_TEST(test_what_is_put_together),
        FIXTURE_TEST(test_segments_with_prefixes),
        FIXTURE_TEST(test_segments_verbatim),
        FIXTURE_TEST(test_segments_refused_as_one),
        FIXTURE_TEST(test_one_that_cannot_be_sent),
        FIXTURE_TEST(test_unix_clients),
        FIXTURE_TEST(test_descriptors_of_a_client),
        FIXTURE_TEST(test_names_that_end_with_nul),
        FIXTURE_TEST(test_too_much_ancillary_data),
        FIXTURE_TEST(test_one_that_is_too_long),
    };
    return RUN_TESTS("datagram", tests);
}
