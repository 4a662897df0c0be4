/*
 * pouch.c: descriptors are packed, closed, and taken out again at their numbers, by the same
 * process: what it has open itself is moved above them first. Then what damaged messages, limits
 * and a lack of room do. socketpair() and sendmsg() are wrapped to fail.
 */
#include "os/pouch.h"

#include "os/descriptors.h"
#include "os/net.h"
#include "unit/support.h"

#include <errno.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum { LOWEST = 20, MANY = 2000, HIGH = 9000, NUMBERS_MAX = 10000 };

static struct {
    struct pouch pouch;
    int fds[MANY]; /* the numbers, in ascending order */
    size_t count;
    ino_t inodes[NUMBERS_MAX]; /* what is packed at each number; 0: nothing */
    int before;                /* descriptors open before the test */
    int keep[POUCH_SOCKETS_MAX];
    size_t keeps;
    int pair_at, send_at; /* the call that fails; counts down */
    int send_errno;
    bool small; /* each pair takes one message only */
    unsigned sends;
    int receive_errno; /* what recvmsg() fails with once */
} fix;

int __real_socketpair(int domain, int type, int protocol, int ends[2]);
int __wrap_socketpair(int domain, int type, int protocol, int ends[2]);
ssize_t __real_sendmsg(int fd, const struct msghdr *msg, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags);

int __wrap_socketpair(int domain, int type, int protocol, int ends[2])
{
    if (fix.pair_at > 0 && --fix.pair_at == 0) {
        errno = EMFILE;
        return -1;
    }
    return __real_socketpair(domain, type, protocol, ends);
}

ssize_t __real_recvmsg(int fd, struct msghdr *msg, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *msg, int flags);

ssize_t __wrap_recvmsg(int fd, struct msghdr *msg, int flags)
{
    errno = fix.receive_errno;
    fix.receive_errno = 0;
    return errno != 0 ? -1 : __real_recvmsg(fd, msg, flags);
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags)
{
    if (fix.small && ++fix.sends % 2 == 0) {
        errno = EAGAIN;
        return -1;
    }
    if (fix.send_at > 0 && --fix.send_at == 0) {
        errno = fix.send_errno;
        return -1;
    }
    return __real_sendmsg(fd, msg, flags);
}

static ino_t inode_of(int fd)
{
    struct stat file;
    return fstat(fd, &file) == 0 ? file.st_ino : 0;
}

/* Puts the descriptor there, as one of those to be packed. */
static void place(int fd, int number)
{
    assert_true(fd >= 0 && number < NUMBERS_MAX && fix.count < MANY);
    assert_false(fd_is_open(number));
    assert_int_equal(dup3(fd, number, O_CLOEXEC), number);
    (void)close(fd);
    fix.fds[fix.count++] = number;
    fix.inodes[number] = inode_of(number);
}

/* What is packed in the order of the numbers: sockets, listening ones, and both ends of pipes. */
static void make_some(size_t count, int gap)
{
    int number = LOWEST;
    while (fix.count < count) {
        int ends[2];
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fix.count % 3 == 0)
            assert_int_equal(listen(fd, 1), 0);
        place(fd, number);
        number += 1 + (int)(fix.count % 7) * gap;
        if (fix.count % 5 != 0 || fix.count + 2 > count)
            continue;
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        place(ends[0], number);
        place(ends[1], number + 1 + gap);
        number += 2 + gap;
    }
}

static void close_all(void)
{
    for (size_t i = 0; i < fix.count; i++)
        (void)close(fix.fds[i]);
}

static int fixture_open(void **state)
{
    (void)state;
    memset(&fix, 0, sizeof fix);
    fix.before = count_fds();
    return 0;
}

static int fixture_close(void **state)
{
    (void)state;
    for (size_t i = 0; i < fix.keeps; i++)
        (void)close(fix.keep[i]);
    close_all();
    assert_int_equal(count_fds(), fix.before);
    return 0;
}

static int pack(void)
{
    return pouch_pack(&fix.pouch, fix.fds, fix.count, fix.fds[fix.count - 1]);
}

/* Keeps the ends as a service manager would, and ends the process that has packed. */
static void keep(void)
{
    for (size_t i = 0; i < fix.pouch.count; i++)
        fix.keep[fix.keeps++] = net_dup_above(fix.pouch.keep[i], HIGH);
    assert_true(pouch_is_kept(&fix.pouch));
    pouch_close(&fix.pouch);
    close_all();
}

static void look(struct pouch_label *label)
{
    assert_int_equal(pouch_look(fix.keep[0], label), 0);
    assert_int_equal(label->total, fix.count);
    assert_int_equal(label->end, fix.fds[fix.count - 1] + 1);
    assert_int_equal(label->key, fix.fds[fix.count - 1]);
}

/* Takes everything out. Returns how many are at their numbers. */
static size_t take(int *error)
{
    struct pouch_label label;
    size_t placed = 0;
    *error = 0;
    look(&label);
    for (size_t i = 0; i < fix.keeps; i++)
        placed += pouch_take(fix.keep[i], &label, error);
    return placed;
}

static void check_all(void)
{
    int error;
    assert_int_equal(take(&error), fix.count);
    assert_int_equal(error, 0);
    for (size_t i = 0; i < fix.count; i++) {
        assert_int_equal(inode_of(fix.fds[i]), fix.inodes[fix.fds[i]]);
        assert_int_equal(fcntl(fix.fds[i], F_GETFD), 0); /* it outlives the program */
    }
    assert_int_equal(count_fds(), fix.before + (int)fix.count + (int)fix.keeps);
}

static void check(size_t count, int gap)
{
    make_some(count, gap);
    assert_int_equal(pack(), 0);
    keep();
    check_all();
}

static void test_one(void **state)
{
    (void)state;
    check(1, 0);
}

static void test_a_full_message(void **state)
{
    (void)state;
    check(POUCH_MESSAGE_MAX, 1);
}

static void test_one_more_than_a_message(void **state)
{
    (void)state;
    check(POUCH_MESSAGE_MAX + 1, 1);
}

static void test_many_without_a_gap(void **state)
{
    (void)state;
    check(MANY, 0);
}

static void test_many_with_gaps(void **state)
{
    (void)state;
    check(MANY, 1);
}

/* The last pair comes first: the order of the pairs, and of the messages, does not matter. */
static void test_several_pairs_in_any_order(void **state)
{
    (void)state;
    make_some(MANY, 1);
    fix.send_at = 3; /* the second message is the last one for which the first pair has room */
    fix.send_errno = EAGAIN;
    assert_int_equal(pack(), 0);
    assert_int_equal(fix.pouch.count, 2);
    keep();
    int first = fix.keep[0];
    fix.keep[0] = fix.keep[1];
    fix.keep[1] = first;
    check_all();
}

/* ---- packing fails ---- */

static void check_refused(int error)
{
    make_some(MANY, 0);
    assert_int_equal(pack(), error);
    assert_int_equal(count_fds(), fix.before + (int)fix.count);
}

static void test_too_many_on_their_way(void **state)
{
    (void)state;
    fix.send_at = 4;
    fix.send_errno = ETOOMANYREFS;
    check_refused(-ETOOMANYREFS);
}

static void test_no_descriptor_for_a_pair(void **state)
{
    (void)state;
    fix.pair_at = 1;
    check_refused(-EMFILE);
}

static void test_no_descriptor_for_a_further_pair(void **state)
{
    (void)state;
    fix.pair_at = 2;
    fix.send_at = 2;
    fix.send_errno = EAGAIN;
    check_refused(-EMFILE);
}

/* More than all pairs take. The same descriptor serves for all of them. */
static void test_more_than_the_pairs_take(void **state)
{
    enum { MESSAGES = POUCH_SOCKETS_MAX + 1 };
    static int fds[MESSAGES * POUCH_MESSAGE_MAX];
    (void)state;
    fix.small = true;
    int fd = net_dup_above(STDIN_FILENO, 3);
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        fds[i] = fd;
    assert_int_equal(pouch_pack(&fix.pouch, fds, sizeof fds / sizeof *fds, fd), -ENOSPC);
    (void)close(fd);
}

static void test_a_closed_descriptor(void **state)
{
    (void)state;
    make_some(5, 0);
    (void)close(fix.fds[3]);
    assert_int_equal(pack(), -EBADF);
    assert_int_equal(count_fds(), fix.before + 4);
}

/* Nobody has taken the ends: the descriptors are still those of the process. */
static void test_ends_that_nobody_keeps(void **state)
{
    (void)state;
    make_some(300, 0);
    assert_int_equal(pack(), 0);
    assert_false(pouch_is_kept(&fix.pouch));
    pouch_close(&fix.pouch);
    for (size_t i = 0; i < fix.count; i++)
        assert_true(fd_is_open(fix.fds[i]));
}

/* ---- taking out fails ---- */

/* The process has something at one of the numbers: only that descriptor is lost. */
static void test_a_number_that_is_not_free(void **state)
{
    int error;
    (void)state;
    make_some(300, 1);
    assert_int_equal(pack(), 0);
    keep();
    int number = fix.fds[100];
    assert_int_equal(dup3(fix.keep[0], number, O_CLOEXEC), number);
    assert_int_equal(take(&error), 299);
    assert_int_equal(error, -EBUSY);
    assert_int_equal(inode_of(number), inode_of(fix.keep[0]));
    assert_int_equal(inode_of(fix.fds[101]), fix.inodes[fix.fds[101]]);
    assert_int_equal(inode_of(fix.fds[0]), fix.inodes[fix.fds[0]]);
}

/* What cannot be received stays where it is, unless a signal has interrupted the call. */
static void test_a_message_that_cannot_be_received(void **state)
{
    int error;
    (void)state;
    make_some(300, 0);
    assert_int_equal(pack(), 0);
    keep();
    fix.receive_errno = ENOMEM;
    assert_int_equal(take(&error), 0);
    assert_int_equal(error, -ENOMEM);
    fix.receive_errno = EINTR;
    assert_int_equal(take(&error), 300);
}

/* Of the messages for which there is no room, the first descriptors come (MSG_CTRUNC). */
static void test_a_limit_below_the_numbers(void **state)
{
    struct rlimit before;
    int error;
    (void)state;
    make_some(300, 0);
    assert_int_equal(pack(), 0);
    keep();
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    const struct rlimit low = {.rlim_cur = (rlim_t)fix.fds[100], .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    size_t placed = take(&error);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(error, -EMFILE);
    assert_int_equal(placed, 100);
    for (size_t i = 0; i < fix.count; i++)
        assert_int_equal(inode_of(fix.fds[i]), i < 100 ? fix.inodes[fix.fds[i]] : 0);
    assert_int_equal(count_fds(), fix.before + 100 + (int)fix.keeps);
}

/* An end whose messages are made by hand; each carries two descriptors, unless it is damaged. */
struct hand_made {
    char magic[8];
    struct pouch_label label;
    uint32_t count;
    uint32_t numbers[3];
};

static struct hand_made good(void)
{
    return (struct hand_made){.magic = "uvpouch",
                              .label = {.total = 2, .end = 60, .key = 40},
                              .count = 2,
                              .numbers = {40, 50}};
}

static void send_hand_made(int fill, const struct hand_made *message, size_t bytes, int rights)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(3 * sizeof(int))];
    } control = {.bytes = {0}};
    const int fds[3] = {fill, fill, fill};
    struct iovec iov = {.iov_base = (void *)(uintptr_t)message, .iov_len = bytes};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (rights > 0) {
        socklen_t len = (socklen_t)rights * (socklen_t)sizeof(int);
        msg.msg_control = &control;
        msg.msg_controllen = (socklen_t)CMSG_SPACE(len);
        control.header = (struct cmsghdr){.cmsg_len = (socklen_t)CMSG_LEN(len),
                                          .cmsg_level = SOL_SOCKET,
                                          .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.header), fds, len);
    }
    assert_int_equal(sendmsg(fill, &msg, 0), bytes);
}

/* What comes of such a message: pouch_look()'s result, and how many are taken out and why. */
static void check_hand_made(const struct hand_made *message, size_t bytes, int rights, int looked,
                            size_t taken, int reason)
{
    struct pouch_label label = {.total = 0};
    int ends[2];
    int error = 0;
    int before = count_fds();
    const struct pouch_label expected = good().label;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    send_hand_made(ends[1], message, bytes, rights);
    (void)close(ends[1]);
    assert_int_equal(pouch_look(ends[0], &label), looked);
    assert_int_equal(pouch_take(ends[0], &expected, &error), taken);
    assert_int_equal(error, reason);
    assert_int_equal(fd_is_open(40) + fd_is_open(50), taken);
    (void)close(ends[0]);
    (void)close(40);
    (void)close(50);
    assert_int_equal(count_fds(), before);
}

static void test_damaged_messages(void **state)
{
    const size_t size = sizeof(struct hand_made) - sizeof(uint32_t);
    struct hand_made bad = good();
    (void)state;
    check_hand_made(&bad, size, 2, 0, 2, 0);
    check_hand_made(&bad, size, 1, 0, 1, -EMFILE);
    check_hand_made(&bad, size, 0, 0, 0, -EMFILE);
    check_hand_made(&bad, size, 3, 0, 0, -EPROTO); /* more descriptors than numbers */
    check_hand_made(&bad, size - 1, 2, -EPROTO, 0, -EPROTO);
    check_hand_made(&bad, size + 1, 2, -EPROTO, 0, -EPROTO);
    check_hand_made(&bad, 10, 2, -EPROTO, 0, -EPROTO);
    bad.magic[0] = 'U';
    check_hand_made(&bad, size, 2, -EPROTO, 0, -EPROTO);
    bad = good();
    bad.count = POUCH_MESSAGE_MAX + 1;
    check_hand_made(&bad, size, 2, -EPROTO, 0, -EPROTO);
    bad = good();
    bad.label.end = UINT32_MAX;
    check_hand_made(&bad, size, 2, -EPROTO, 0, -EPROTO);
    bad = good();
    bad.label.total = 3; /* of another packing */
    check_hand_made(&bad, size, 2, 0, 0, -EPROTO);
}

static void test_damaged_numbers(void **state)
{
    const size_t size = sizeof(struct hand_made) - sizeof(uint32_t);
    static const uint32_t numbers[][2] = {{2, 40}, {50, 40}, {40, 40}, {40, 60}, {40, UINT32_MAX}};
    (void)state;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        struct hand_made bad = good();
        bad.numbers[0] = numbers[i][0];
        bad.numbers[1] = numbers[i][1];
        check_hand_made(&bad, size, 2, 0, 0, -EPROTO);
    }
}

/* The same numbers twice: those that come first stay. */
static void test_a_message_that_comes_twice(void **state)
{
    const struct hand_made message = good();
    struct pouch_label label;
    int ends[2];
    int error = 0;
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
    send_hand_made(ends[1], &message, sizeof message - sizeof(uint32_t), 2);
    send_hand_made(ends[1], &message, sizeof message - sizeof(uint32_t), 2);
    assert_int_equal(pouch_look(ends[0], &label), 0);
    assert_int_equal(pouch_take(ends[0], &label, &error), 2);
    assert_int_equal(error, -EBUSY);
    assert_int_equal(inode_of(40), inode_of(ends[1]));
    (void)close(40);
    (void)close(50);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

static void test_what_is_no_pouch(void **state)
{
    struct pouch_label label;
    int ends[2];
    (void)state;
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(pouch_look(ends[0], &label), -ENOTSOCK);
    (void)close(ends[0]);
    (void)close(ends[1]);
    assert_int_equal(pouch_look(ends[0], &label), -EBADF);
    make_socketpair(ends);
    assert_int_equal(pouch_look(ends[0], &label), -ENODATA); /* nothing has come */
    (void)close(ends[1]);
    assert_int_equal(pouch_look(ends[0], &label), -ENODATA); /* and nothing will */
    (void)close(ends[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_one),
        FIXTURE_TEST(test_a_full_message),
        FIXTURE_TEST(test_one_more_than_a_message),
        FIXTURE_TEST(test_many_without_a_gap),
        FIXTURE_TEST(test_many_with_gaps),
        FIXTURE_TEST(test_several_pairs_in_any_order),
        FIXTURE_TEST(test_too_many_on_their_way),
        FIXTURE_TEST(test_no_descriptor_for_a_pair),
        FIXTURE_TEST(test_no_descriptor_for_a_further_pair),
        FIXTURE_TEST(test_more_than_the_pairs_take),
        FIXTURE_TEST(test_a_closed_descriptor),
        FIXTURE_TEST(test_ends_that_nobody_keeps),
        FIXTURE_TEST(test_a_number_that_is_not_free),
        FIXTURE_TEST(test_a_message_that_cannot_be_received),
        FIXTURE_TEST(test_a_limit_below_the_numbers),
        FIXTURE_TEST(test_damaged_messages),
        FIXTURE_TEST(test_damaged_numbers),
        FIXTURE_TEST(test_a_message_that_comes_twice),
        FIXTURE_TEST(test_what_is_no_pouch),
    };
    if (descriptors_raise() < NUMBERS_MAX + POUCH_SOCKETS_MAX) {
        print_message("RLIMIT_NOFILE is too low here\n");
        return 0;
    }
    for (int fd = 3; fd < NUMBERS_MAX; fd++)
        (void)close(fd); /* what we have inherited would be in the way */
    return RUN_TESTS("pouch", tests);
}
