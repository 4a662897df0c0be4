/*
 * legacy.c: what the service manager passes to a process after a restart, with real descriptors and
 * the real libsystemd. Some have the numbers that those of the pouch are to get, so main() keeps
 * the low numbers free.
 */
#include "server/legacy.h"

#include "os/net.h"
#include "os/pouch.h"
#include "os/systemd.h"
#include "unit/ledgers.h"
#include "unit/support.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>

enum { PASSED_FD = 3, LEDGER_FD = 4, CONN_FD = 30, PIPE_FD = 31, END = 32, HIGH = 100, CONNS = 4 };

/* Where the connections of the predecessor are; the passed descriptors stand there at first. */
static const int conns[CONNS] = {3, 5, 6, CONN_FD};

static struct {
    struct legacy legacy;
    struct log log;
    int lines;    /* the end of the log that the test reads */
    int receiver; /* of the service manager */
    char dir[32];
    char path[128];
    ino_t inodes[END]; /* of what was packed */
    int keep;          /* the pouch, as the manager has it */
    int passed;        /* so many descriptors are passed */
    char names[256];
    int fds;     /* open before the test */
    int failing; /* the call of net_dup_above() that fails; 0: none */
    int taking;  /* the call before which another thread takes the number; 0: none */
} fix;

int __real_net_dup_above(int fd, int lowest);
int __wrap_net_dup_above(int fd, int lowest);

int __wrap_net_dup_above(int fd, int lowest)
{
    if (fix.failing > 0 && --fix.failing == 0)
        return -EMFILE;
    if (fix.taking > 0 && --fix.taking == 0)
        assert_int_equal(__real_net_dup_above(fix.lines, lowest), lowest);
    return __real_net_dup_above(fd, lowest);
}

static ino_t inode_of(int fd)
{
    struct stat file;
    return fstat(fd, &file) == 0 ? file.st_ino : 0;
}

/* Moves a descriptor out of the way. */
static int high(int fd)
{
    int moved = net_dup_above(fd, HIGH);
    assert_true(moved >= HIGH);
    (void)close(fd);
    return moved;
}

/* Moves a descriptor from there. It is not closed when a program is executed. */
static void put(int fd, int number)
{
    assert_int_equal(fcntl(fd, F_DUPFD, number), number);
    (void)close(fd);
}

/* A ledger, or another file in its place. */
static int make_ledger(bool damaged)
{
    static const struct handler handler = {.frame_size = 0};
    static const struct service list[] = {{.handler = &handler}};
    const struct services services = {.list = list, .count = 1};
    struct ledger ledger;
    if (damaged)
        return high(memfd_create("no-ledger", MFD_CLOEXEC));
    ledger_of(&ledger, &services);
    int file = net_dup_above(ledger.file, HIGH);
    ledger_close(&ledger);
    return file;
}

/* The predecessor packs what it has, and ends. */
static void pack(bool damaged)
{
    static const int fds[] = {3, LEDGER_FD, 5, 6, CONN_FD, PIPE_FD};
    const size_t count = sizeof fds / sizeof *fds;
    struct pouch pouch;
    int ends[2];
    int ledger = make_ledger(damaged);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    (void)close(ends[1]);
    ends[0] = high(ends[0]);
    for (int i = CONNS; i-- > 0;)
        put(high(socket(AF_UNIX, SOCK_STREAM, 0)), conns[i]);
    put(ledger, LEDGER_FD);
    put(ends[0], PIPE_FD);
    for (size_t i = 0; i < count; i++)
        fix.inodes[fds[i]] = inode_of(fds[i]);
    assert_int_equal(pouch_pack(&pouch, fds, count, LEDGER_FD), 0);
    fix.keep = high(pouch.keep[0]);
    pouch.keep[0] = -1;
    pouch_close(&pouch);
    for (size_t i = 0; i < count; i++)
        (void)close(fds[i]);
}

/* The manager passes a descriptor, which it has itself, too. */
static void pass(int fd, const char *name)
{
    char value[32];
    put(high(dup(fd)), PASSED_FD + fix.passed++);
    (void)strcat(fix.names, fix.passed > 1 ? ":" : "");
    (void)strcat(fix.names, name);
    (void)snprintf(value, sizeof value, "%d", fix.passed);
    (void)setenv("LISTEN_FDS", value, 1);
    (void)setenv("LISTEN_FDNAMES", fix.names, 1);
    (void)snprintf(value, sizeof value, "%d", (int)getpid());
    (void)setenv("LISTEN_PID", value, 1);
}

static int fixture_open(void **state)
{
    int fds[2];
    (void)state;
    memset(&fix, 0, sizeof fix);
    support_begin();
    fix.fds = count_fds();
    fix.keep = -1;
    make_socketpair(fds);
    fix.lines = high(fds[0]);
    log_init(&fix.log, high(fds[1]), LOG_LEVEL_INFO);
    make_dir(fix.dir);
    (void)snprintf(fix.path, sizeof fix.path, "%s/notify", fix.dir);
    fix.receiver = high(make_receiver(fix.path));
    (void)setenv("NOTIFY_SOCKET", fix.path, 1);
    return 0;
}

/* Closes what has been taken out, and what has been passed besides. */
static int fixture_close(void **state)
{
    (void)state;
    for (int fd = 3; fd < END; fd++)
        (void)close(fd);
    for (int i = 0; i < fix.legacy.count; i++)
        (void)close(fix.legacy.first + i);
    systemd_free_names(fix.legacy.names);
    (void)close(fix.log.fd);
    log_close(&fix.log);
    (void)close(fix.lines);
    (void)close(fix.receiver);
    if (fix.keep >= 0)
        (void)close(fix.keep);
    (void)unlink(fix.path);
    remove_dir(fix.dir);
    assert_int_equal(count_fds(), fix.fds);
    return 0;
}

static void expect_lines(const char *expected)
{
    char text[512];
    legacy_log(&fix.legacy, &fix.log);
    ssize_t n = recv(fix.lines, text, sizeof text - 1, MSG_DONTWAIT);
    text[n > 0 ? n : 0] = '\0';
    assert_string_equal(text, expected);
}

/* The descriptors from 3 on that are open, but for those of the test and what was passed. */
static int count_low(void)
{
    int count = 0;
    for (int fd = 3; fd < END; fd++)
        count += fd_is_open(fd);
    return count;
}

/* Each descriptor is at its number, but for one that is lost, or -1. */
static void expect_taken(int lost)
{
    assert_true(fix.legacy.found);
    assert_int_equal(fix.legacy.ledger, LEDGER_FD);
    for (int fd = 3; fd < END; fd++)
        if (fd != lost)
            assert_int_equal(inode_of(fd), fix.inodes[fd]);
    assert_int_equal(fix.legacy.lost, lost >= 0);
    expect_message(fix.receiver, "FDSTOREREMOVE=1\nFDNAME=uvechod-pouch");
    expect_no_message(fix.receiver);
}

/* So many of the sockets that were passed besides are above all that was taken out. */
static void expect_named_sockets(int count, int first, const char *name)
{
    assert_int_equal(fix.legacy.count, count);
    assert_int_equal(fix.legacy.first, first);
    for (int i = 0; i < count; i++) {
        assert_string_equal(fix.legacy.names[i], i == 0 ? name : "other");
        assert_int_equal(inode_of(first + i), inode_of(i == 0 ? fix.lines : fix.log.fd));
    }
    if (count == 0)
        assert_null(fix.legacy.names);
    else
        assert_null(fix.legacy.names[count]);
    assert_false(fd_is_open(first + count));
}

static void expect_sockets(int count, int first)
{
    expect_named_sockets(count, first, "web");
}

static void test_a_pouch_alone(void **state)
{
    (void)state;
    pack(false);
    pass(fix.keep, "uvechod-pouch");
    legacy_take(&fix.legacy, false, false);
    expect_taken(-1);
    expect_sockets(0, END);
    expect_lines("");
}

static void test_a_pouch_and_sockets(void **state)
{
    (void)state;
    pack(false);
    pass(fix.lines, "web");
    pass(fix.log.fd, "other");
    pass(fix.keep, "uvechod-pouch");
    legacy_take(&fix.legacy, false, false);
    expect_taken(-1);
    expect_sockets(2, END);
    expect_lines("");
}

/* The options are for a pouch without sockets: they contradict nothing. */
static void test_own_addresses(void **state)
{
    (void)state;
    pack(false);
    pass(fix.keep, "uvechod-pouch");
    legacy_take(&fix.legacy, true, false);
    expect_taken(-1);
}

/* The process will not start: the next one finds everything. */
static void test_own_addresses_and_sockets(void **state)
{
    struct pouch_label label;
    (void)state;
    pack(false);
    pass(fix.lines, "web");
    pass(fix.keep, "uvechod-pouch");
    legacy_take(&fix.legacy, true, false);
    assert_true(fix.legacy.found);
    assert_true(fix.legacy.ledger < 0);
    assert_int_equal(count_low(), 0);
    expect_sockets(1, END);
    expect_no_message(fix.receiver);
    assert_int_equal(pouch_look(fix.keep, &label), 0);
    expect_lines("");
}

/* The socket for the metrics contradicts only the option for the metrics. */
static void test_own_addresses_and_metrics(void **state)
{
    (void)state;
    pack(false);
    pass(fix.lines, "metrics");
    pass(fix.keep, "uvechod-pouch");
    legacy_take(&fix.legacy, true, false);
    expect_taken(-1);
    expect_named_sockets(1, END, "metrics");
}

static void test_own_metrics_and_metrics(void **state)
{
    (void)state;
    pack(false);
    pass(fix.lines, "metrics");
    pass(fix.keep, "uvechod-pouch");
    legacy_take(&fix.legacy, false, true);
    assert_true(fix.legacy.found);
    assert_true(fix.legacy.ledger < 0);
    assert_int_equal(count_low(), 0);
    expect_named_sockets(1, END, "metrics");
}

/* Only that descriptor is lost. */
static void test_a_number_that_is_taken(void **state)
{
    (void)state;
    pack(false);
    pass(fix.keep, "uvechod-pouch");
    put(high(dup(fix.lines)), CONN_FD);
    legacy_take(&fix.legacy, false, false);
    expect_taken(CONN_FD);
    assert_int_equal(inode_of(CONN_FD), inode_of(fix.lines));
    expect_lines("1 descriptor of the predecessor is lost: Device or resource busy\n");
}

/* Where what has been passed would be put meanwhile, there is something: it goes to above that. */
static void test_the_next_place_to_move_to(void **state)
{
    (void)state;
    pack(false);
    pass(fix.lines, "web");
    pass(fix.log.fd, "other");
    pass(fix.keep, "uvechod-pouch");
    put(high(dup(fix.lines)), END + 1);
    put(high(dup(fix.lines)), END + 4);
    legacy_take(&fix.legacy, false, false);
    expect_taken(-1);
    assert_int_equal(inode_of(END + 1),
                     inode_of(fix.lines)); /* they were none of what was passed */
    assert_int_equal(inode_of(END + 4), inode_of(fix.lines));
    (void)close(END + 1);
    (void)close(END + 4);
    expect_sockets(2, END + 5);
}

/* Nobody can tell whether there is room, and there is. */
static void test_no_descriptor_to_look_with(void **state)
{
    (void)state;
    pack(false);
    pass(fix.lines, "web");
    pass(fix.keep, "uvechod-pouch");
    fix.failing = 1;
    legacy_take(&fix.legacy, false, false);
    expect_taken(-1);
    expect_sockets(1, END);
}

/* The second of the two that were passed cannot be moved: all of it is lost, wherever it stands. */
static void test_no_place_to_move_to(void **state)
{
    (void)state;
    pack(false);
    pass(fix.lines, "web");
    pass(fix.keep, "uvechod-pouch");
    fix.failing = 2 + 2; /* after a look for two numbers */
    legacy_take(&fix.legacy, false, false);
    assert_int_equal(fix.legacy.count, -EMFILE);
    assert_int_equal(inode_of(END), 0);
    assert_null(fix.legacy.names);
    assert_int_equal(count_low(), 0);
}

/* What is found to be free is taken by another thread, which a library has started. */
static void test_a_place_that_is_taken_meanwhile(void **state)
{
    (void)state;
    pack(false);
    pass(fix.keep, "uvechod-pouch");
    fix.taking = 2; /* after a look for one number */
    legacy_take(&fix.legacy, false, false);
    assert_int_equal(fix.legacy.count, -EBUSY);
    assert_int_equal(inode_of(END), inode_of(fix.lines));
    (void)close(END);
    assert_int_equal(count_low(), 0);
}

/* All is closed, because nobody knows what it is; the sockets are served. */
static void test_a_damaged_ledger(void **state)
{
    (void)state;
    pack(true);
    pass(fix.lines, "web");
    pass(fix.keep, "uvechod-pouch");
    legacy_take(&fix.legacy, false, false);
    assert_int_equal(fix.legacy.ledger, -EPROTO);
    assert_int_equal(count_low(), 0);
    expect_sockets(1, END);
    expect_message(fix.receiver, "FDSTOREREMOVE=1\nFDNAME=uvechod-pouch");
    expect_lines("Cannot take over what the service manager has kept: Protocol error\n");
}

/* What is passed under the name is none, or has been emptied by a process that has crashed. */
static void test_no_pouch_under_its_name(void **state)
{
    (void)state;
    pass(fix.lines, "web");
    pass(fix.lines, "uvechod-pouch");
    legacy_take(&fix.legacy, false, false);
    assert_int_equal(fix.legacy.ledger, -ENODATA);
    assert_int_equal(count_low(), 1); /* the socket, right behind where it was passed */
    expect_sockets(1, PASSED_FD + 2);
    expect_message(fix.receiver, "FDSTOREREMOVE=1\nFDNAME=uvechod-pouch");
    expect_lines("Cannot take over what the service manager has kept: No data available\n");
}

/* Nothing is touched. */
static void test_sockets_alone(void **state)
{
    (void)state;
    pass(fix.lines, "web");
    pass(fix.log.fd, "other");
    legacy_take(&fix.legacy, false, false);
    assert_false(fix.legacy.found);
    assert_int_equal(inode_of(PASSED_FD), inode_of(fix.lines));
    assert_int_equal(inode_of(PASSED_FD + 1), inode_of(fix.log.fd));
    expect_no_message(fix.receiver);
    expect_lines("");
}

static void test_nothing_is_passed(void **state)
{
    (void)state;
    legacy_take(&fix.legacy, false, false);
    assert_false(fix.legacy.found);
    expect_no_message(fix.receiver);
    expect_lines("");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_a_pouch_alone),
        FIXTURE_TEST(test_a_pouch_and_sockets),
        FIXTURE_TEST(test_own_addresses_and_metrics),
        FIXTURE_TEST(test_own_metrics_and_metrics),
        FIXTURE_TEST(test_own_addresses),
        FIXTURE_TEST(test_own_addresses_and_sockets),
        FIXTURE_TEST(test_a_number_that_is_taken),
        FIXTURE_TEST(test_a_damaged_ledger),
        FIXTURE_TEST(test_no_place_to_move_to),
        FIXTURE_TEST(test_no_pouch_under_its_name),
        FIXTURE_TEST(test_sockets_alone),
        FIXTURE_TEST(test_nothing_is_passed),
        FIXTURE_TEST(test_the_next_place_to_move_to),
        FIXTURE_TEST(test_no_descriptor_to_look_with),
        FIXTURE_TEST(test_a_place_that_is_taken_meanwhile),
    };
    if (!systemd_supported()) {
        print_message("this build has no libsystemd\n");
        return 0;
    }
    for (int fd = 3; fd < 2 * HIGH; fd++)
        (void)close(fd);
    return RUN_TESTS("legacy", tests);
}
