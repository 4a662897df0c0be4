#include "os/datagram.h"

#include "os/net.h"

#include <errno.h>
#include <netinet/udp.h>
#include <string.h>

/* Of <linux/udp.h>, which does not go together with <netinet/udp.h>; some C libraries lack them. */
#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

/* ---- sockets ---- */

static int datagram_set(int fd, int level, int option, int value)
{
    return setsockopt(fd, level, option, &value, sizeof value) < 0 ? -errno : 0;
}

static int datagram_get(int fd, int option, int *value)
{
    socklen_t len = sizeof *value;
    return getsockopt(fd, SOL_SOCKET, option, value, &len) < 0 ? -errno : 0;
}

/*
 * The first socket of an address is bound before it shares the address: bind(2) fails then if
 * somebody is there already, even if that is a daemon of the same user that would share.
 */
static int datagram_bind(int fd, const union net_addr *addr, int beside)
{
    int rc = 0;
    if (addr->sa.sa_family == AF_INET6)
        rc = datagram_set(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    if (rc == 0 && beside >= 0)
        rc = datagram_set(beside, SOL_SOCKET, SO_REUSEPORT, 1);
    if (rc == 0 && beside >= 0)
        rc = datagram_set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (rc == 0 && bind(fd, &addr->sa, net_addr_len(addr)) < 0)
        rc = -errno;
    return rc;
}

int datagram_open(const union net_addr *addr, int beside)
{
    int fd = socket(addr->sa.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int rc = datagram_bind(fd, addr, beside);
    if (rc == 0)
        return fd;
    net_close(fd);
    return rc;
}

/* The kernel doubles what it is told, and tells the double. More than rmem_max is for root. */
static void datagram_set_queue(int fd)
{
    int bytes = 0;
    if (datagram_get(fd, SO_RCVBUF, &bytes) == 0 && bytes / 2 >= DATAGRAM_QUEUE)
        return;
    if (datagram_set(fd, SOL_SOCKET, SO_RCVBUFFORCE, DATAGRAM_QUEUE) < 0)
        (void)datagram_set(fd, SOL_SOCKET, SO_RCVBUF, DATAGRAM_QUEUE);
}

int datagram_set_up(int fd)
{
    int family = 0;
    int rc = datagram_get(fd, SO_DOMAIN, &family);
    if (rc < 0)
        return rc;
    datagram_set_queue(fd);
    if (family == AF_UNIX)
        return 0;
    (void)datagram_set(fd, IPPROTO_UDP, UDP_GRO, 1); /* before Linux 5.0, each comes alone */
    (void)datagram_set(fd, SOL_SOCKET, SO_BROADCAST, 0);
    if (family == AF_INET) {
        (void)datagram_set(fd, IPPROTO_IP, IP_RECVERR, 0);
        return datagram_set(fd, IPPROTO_IP, IP_PKTINFO, 1);
    }
    (void)datagram_set(fd, IPPROTO_IPV6, IPV6_RECVERR, 0);
    return datagram_set(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, 1);
}

/* ---- receiving ---- */

/*
 * The kernel has overwritten the lengths with those of what came before. To a Unix socket a client
 * can send descriptors (SCM_RIGHTS in unix(7)), which stay open in this process if there is room
 * for ancillary data: without it the kernel closes them.
 */
static void datagrams_offer(struct datagrams_mail *mail, unsigned number, bool local)
{
    struct iovec *iov = &mail->in_iov[number];
    *iov =
        (struct iovec){.iov_base = mail->slot[number] + DATAGRAM_ROOM, .iov_len = DATAGRAM_BYTES};
    mail->in[number].msg_hdr =
        (struct msghdr){.msg_name = &mail->in_peer[number],
                        .msg_namelen = sizeof mail->in_peer[number],
                        .msg_iov = iov,
                        .msg_iovlen = 1,
                        .msg_control = mail->in_control[number],
                        .msg_controllen = local ? 0 : sizeof mail->in_control[number]};
}

int datagrams_receive(int fd, bool local, struct datagrams_mail *mail)
{
    int n;
    for (unsigned i = 0; i < DATAGRAM_BATCH; i++)
        datagrams_offer(mail, i, local);
    do
        n = recvmmsg(fd, mail->in, DATAGRAM_BATCH, MSG_DONTWAIT, NULL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

/*
 * The two addresses differ if the datagram was sent to more hosts than this one. What has come
 * before the kernel was asked for them, to a socket that systemd has made, has only one.
 */
static void datagram_note_in(struct datagram *datagram, const void *data)
{
    struct in_pktinfo info;
    memcpy(&info, data, sizeof info);
    if (info.ipi_spec_dst.s_addr == 0)
        info.ipi_spec_dst = info.ipi_addr;
    datagram->own.in = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = info.ipi_spec_dst};
    datagram->shared = info.ipi_addr.s_addr != info.ipi_spec_dst.s_addr ||
                       IN_MULTICAST(ntohl(info.ipi_addr.s_addr));
}

static void datagram_note_in6(struct datagram *datagram, const void *data)
{
    struct in6_pktinfo info;
    memcpy(&info, data, sizeof info);
    datagram->own.in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_addr = info.ipi6_addr};
    if (IN6_IS_ADDR_LINKLOCAL(&info.ipi6_addr))
        datagram->own.in6.sin6_scope_id = (uint32_t)info.ipi6_ifindex;
    datagram->shared = IN6_IS_ADDR_MULTICAST(&info.ipi6_addr);
}

static void datagram_note(struct datagram *datagram, struct cmsghdr *cmsg)
{
    const void *data = CMSG_DATA(cmsg);
    if (cmsg->cmsg_level == IPPROTO_IP && cmsg->cmsg_type == IP_PKTINFO) {
        datagram_note_in(datagram, data);
    } else if (cmsg->cmsg_level == IPPROTO_IPV6 && cmsg->cmsg_type == IPV6_PKTINFO) {
        datagram_note_in6(datagram, data);
    } else if (cmsg->cmsg_level == IPPROTO_UDP && cmsg->cmsg_type == UDP_GRO) {
        int segment;
        memcpy(&segment, data, sizeof segment);
        if (segment > 0)
            datagram->segment = (size_t)segment;
    }
}

/*
 * A Unix client that has not bound its socket has no address. Of other Unix addresses the kernel
 * writes no more than they have. An abstract name that ends with NULs would be another one without
 * them, and perhaps somebody else's: it is as good as none.
 */
static void datagrams_end_peer(union net_addr *peer, socklen_t len)
{
    if (len <= sizeof peer->sa.sa_family) {
        peer->sa.sa_family = AF_UNSPEC;
    } else if (peer->sa.sa_family == AF_UNIX && len < sizeof *peer) {
        memset((char *)peer + len, 0, sizeof *peer - len);
        if (peer->un.sun_path[0] == '\0' && net_addr_len(peer) != len)
            peer->sa.sa_family = AF_UNSPEC;
    }
}

/* In musl, CMSG_NXTHDR() changes a sign, which gcc tells although it is that header's affair. */
static struct cmsghdr *datagram_next(struct msghdr *msg, struct cmsghdr *cmsg)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-conversion"
    return CMSG_NXTHDR(msg, cmsg);
#pragma GCC diagnostic pop
}

void datagrams_get(struct datagrams_mail *mail, unsigned number, struct datagram *datagram)
{
    struct msghdr *msg = &mail->in[number].msg_hdr;
    datagrams_end_peer(&mail->in_peer[number], msg->msg_namelen);
    *datagram = (struct datagram){.peer = &mail->in_peer[number],
                                  .cut = (msg->msg_flags & MSG_TRUNC) != 0,
                                  .bytes = mail->slot[number] + DATAGRAM_ROOM,
                                  .len = mail->in[number].msg_len};
    datagram->segment = datagram->len;
    for (struct cmsghdr *cmsg = CMSG_FIRSTHDR(msg); cmsg != NULL; cmsg = datagram_next(msg, cmsg))
        datagram_note(datagram, cmsg);
    /* More ancillary data than there is room for: the address that was asked may be missing. */
    if ((msg->msg_flags & MSG_CTRUNC) != 0)
        datagram->shared = datagram->peer->sa.sa_family != AF_UNIX;
}

/* ---- answering ---- */

static bool datagram_same_own(const union net_peer *one, const union net_peer *other)
{
    if (one->sa.sa_family != other->sa.sa_family)
        return false;
    if (one->sa.sa_family == AF_INET)
        return one->in.sin_addr.s_addr == other->in.sin_addr.s_addr;
    return IN6_ARE_ADDR_EQUAL(&one->in6.sin6_addr, &other->in6.sin6_addr) &&
           one->in6.sin6_scope_id == other->in6.sin6_scope_id;
}

/* The kernel has written the whole of both, with zeros where nothing stands. */
static bool datagram_same_peer(const struct datagram_answer *answer,
                               const struct datagram *datagram)
{
    return datagram_same_own(&answer->own, &datagram->own) &&
           memcmp(answer->peer, datagram->peer, net_addr_len(datagram->peer)) == 0;
}

/* The last one may be shorter than the others, and one that is empty is none. */
static bool datagram_may_join(const struct datagram_answer *answer, const struct datagram *datagram,
                              unsigned parts, size_t len)
{
    return datagram->own.sa.sa_family != AF_UNSPEC && answer->parts == parts &&
           answer->last == answer->segment && len > 0 && len <= answer->segment &&
           answer->bytes + len <= DATAGRAM_JOINED_BYTES && answer->segments < DATAGRAM_SEGMENTS &&
           (answer->segments < DATAGRAM_JOINED || datagram->segment < datagram->len) &&
           datagram_same_peer(answer, datagram);
}

/* Returns the answer that the next segment belongs to. */
static struct datagram_answer *datagrams_answer_for(struct datagrams_mail *mail,
                                                    const struct datagram *datagram, unsigned parts,
                                                    size_t len)
{
    struct datagram_answer *answer = &mail->answer[mail->answers];
    if (mail->answers > 0 && datagram_may_join(answer - 1, datagram, parts, len))
        return answer - 1;
    *answer = (struct datagram_answer){.peer = datagram->peer,
                                       .own = datagram->own,
                                       .parts = parts,
                                       .segment = len,
                                       .iov = &mail->out_iov[mail->iovs]};
    mail->answers++;
    return answer;
}

/* What is only read stands in structs that are for receiving, too. */
static void *datagram_read_only(const void *memory)
{
    void *same;
    memcpy(&same, &memory, sizeof same);
    return same;
}

void datagrams_answer(struct datagrams_mail *mail, const struct datagram *datagram, char *bytes,
                      size_t len, const char *prefix, size_t prefix_len)
{
    const bool alone = datagram->segment == datagram->len;
    const unsigned parts = alone || prefix_len == 0 ? 1 : 2;
    const size_t whole = prefix_len + len;
    struct datagram_answer *answer = datagrams_answer_for(mail, datagram, parts, whole);
    struct iovec *iov = &mail->out_iov[mail->iovs];
    if (parts == 1) {
        memcpy(bytes - prefix_len, prefix, prefix_len);
        iov[0] = (struct iovec){.iov_base = bytes - prefix_len, .iov_len = whole};
    } else {
        iov[0] = (struct iovec){.iov_base = datagram_read_only(prefix), .iov_len = prefix_len};
        iov[1] = (struct iovec){.iov_base = bytes, .iov_len = len};
    }
    mail->iovs += parts;
    answer->segments++;
    answer->last = whole;
    answer->bytes += whole;
}

/* Appends ancillary data. The kernel takes exactly what the lengths say. */
static void datagram_put(struct msghdr *msg, int level, int type, const void *data, size_t len)
{
    struct cmsghdr *cmsg = (void *)((char *)msg->msg_control + msg->msg_controllen);
    *cmsg = (struct cmsghdr){
        .cmsg_level = level, .cmsg_type = type, .cmsg_len = (socklen_t)CMSG_LEN(len)};
    memcpy(CMSG_DATA(cmsg), data, len);
    msg->msg_controllen += (socklen_t)CMSG_SPACE(len);
}

/* An interface would bind the answer to a way that may not lead to the client. */
static void datagram_put_own(struct msghdr *msg, const union net_peer *own)
{
    if (own->sa.sa_family == AF_INET) {
        const struct in_pktinfo info = {.ipi_spec_dst = own->in.sin_addr};
        datagram_put(msg, IPPROTO_IP, IP_PKTINFO, &info, sizeof info);
    } else if (own->sa.sa_family == AF_INET6) {
        const struct in6_pktinfo info = {.ipi6_addr = own->in6.sin6_addr,
                                         .ipi6_ifindex = own->in6.sin6_scope_id};
        datagram_put(msg, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof info);
    }
}

/* Describes segments of an answer, the first of which is given, to sendmmsg(2). */
static void datagrams_address(struct datagrams_mail *mail, unsigned number, unsigned first,
                              unsigned segments)
{
    const struct datagram_answer *answer = &mail->answer[number];
    struct msghdr *msg = &mail->out[number].msg_hdr;
    const size_t parts = answer->parts;
    const unsigned short iovs = (unsigned short)(segments * parts); /* fits any type of a length */
    *msg = (struct msghdr){.msg_name = datagram_read_only(answer->peer),
                           .msg_namelen = net_addr_len(answer->peer),
                           .msg_iov = &answer->iov[first * parts],
                           .msg_iovlen = iovs,
                           .msg_control = mail->out_control[number]};
    datagram_put_own(msg, &answer->own);
    if (segments > 1) {
        const uint16_t segment = (uint16_t)answer->segment;
        datagram_put(msg, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof segment);
    }
}

/* Returns how many messages were sent, or a negative errno for the first. */
static int datagram_send(int fd, struct mmsghdr *messages, unsigned count)
{
    int n;
    do
        n = sendmmsg(fd, messages, count, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

/* What was refused as one: an interface that takes no such thing, or segments above its MTU. */
static void datagrams_send_singly(int fd, struct datagrams_mail *mail, unsigned number,
                                  struct datagrams_sender *sender)
{
    const struct datagram_answer *answer = &mail->answer[number];
    for (unsigned i = 0; i < answer->segments; i++) {
        datagrams_address(mail, number, i, 1);
        int rc = datagram_send(fd, &mail->out[number], 1);
        if (rc < 0)
            sender->on_unsent(sender, answer->peer, 1, rc);
        else
            sender->on_sent(sender, 1);
    }
}

bool datagram_is_full(int error)
{
    return error == -EAGAIN || error == -ENOBUFS;
}

void datagrams_send(int fd, struct datagrams_mail *mail, struct datagrams_sender *sender)
{
    for (unsigned i = 0; i < mail->answers; i++)
        datagrams_address(mail, i, 0, mail->answer[i].segments);
    for (unsigned at = 0; at < mail->answers;) {
        int n = datagram_send(fd, &mail->out[at], mail->answers - at);
        const struct datagram_answer *answer = &mail->answer[at];
        if (n < 0 && answer->segments > 1 && !datagram_is_full(n))
            datagrams_send_singly(fd, mail, at, sender);
        else if (n < 0)
            sender->on_unsent(sender, answer->peer, answer->segments, n);
        for (int i = 0; i < n; i++)
            sender->on_sent(sender, mail->answer[at + (unsigned)i].segments);
        at += n < 0 ? 1 : (unsigned)n;
    }
    mail->answers = 0;
    mail->iovs = 0;
}
