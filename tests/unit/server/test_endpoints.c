/*
 * endpoints.c: on which addresses it listens, which sockets it takes over, and how it fails.
 * net_listen(), net_local() and net_close() are wrapped. In most tests they only give out numbers
 * as descriptors. If fix.real is set, they call the real functions: these tests use the loopback
 * interface and a directory of their own.
 */
#include "server/endpoints.h"

#include "os/datagram.h"
#include "unit/ledgers.h"
#include "unit/support.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

enum {
    FIRST_FD = 1000,
    CALLS_MAX = 64,
    ADDRS_MAX = 4,
    FREE_PORT = 40000,
    PORT_TRIES = 16,
    BACKLOG = 17,
    MODE = 0640,
    KEEPALIVE_S = 60,
    PASSED_FD = 500
};

static struct {
    bool real;
    bool calloc_fails;
    bool is_foreign; /* the datagram socket, so that none can stand beside it */
    bool local_fails;
    int results[CALLS_MAX];              /* of each net_listen(): an errno, or 0 for a descriptor */
    int always;                          /* an errno of every net_listen() except the first one */
    union net_addr requested[CALLS_MAX]; /* the addresses that were asked for */
    int calls;
    int open; /* descriptors given and not closed */
    int free_port;
    int fds; /* open before the test */
    char dir[32];
    char path[64];    /* of the Unix socket in dir */
    bool rival_tries; /* to listen on path just before the next file is removed */
    int rival;        /* what the rival's net_listen() returned */
    struct endpoints endpoints;
} fix;

int __real_net_listen(const union net_addr *addr, int backlog, mode_t mode, unsigned keepalive_s);
int __wrap_net_listen(const union net_addr *addr, int backlog, mode_t mode, unsigned keepalive_s);
int __real_net_local(int fd, union net_addr *addr);
int __wrap_net_local(int fd, union net_addr *addr);
void __real_net_close(int fd);
void __wrap_net_close(int fd);
int __real_unlink(const char *path);
int __wrap_unlink(const char *path);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
int __real_datagram_open(const union net_addr *addr, int beside);
int __wrap_datagram_open(const union net_addr *addr, int beside);

int __wrap_net_listen(const union net_addr *addr, int backlog, mode_t mode, unsigned keepalive_s)
{
    if (fix.real)
        return __real_net_listen(addr, backlog, mode, keepalive_s);
    assert_true(fix.calls < CALLS_MAX);
    assert_int_equal(backlog, BACKLOG);
    assert_int_equal(mode, MODE);
    assert_int_equal(keepalive_s, KEEPALIVE_S);
    fix.requested[fix.calls] = *addr;
    int rc = fix.results[fix.calls++];
    if (rc == 0 && fix.always < 0 && fix.open > 0)
        rc = fix.always;
    if (rc < 0)
        return rc;
    fix.open++;
    return FIRST_FD + fix.calls - 1;
}

int __wrap_net_local(int fd, union net_addr *addr)
{
    if (fix.real)
        return __real_net_local(fd, addr);
    if (fix.local_fails)
        return -ENOBUFS;
    *addr = fix.requested[fd - FIRST_FD];
    if (net_port(addr) == 0)
        net_set_port(addr, (uint16_t)fix.free_port++); /* every socket gets another port */
    return 0;
}

void __wrap_net_close(int fd)
{
    if (fix.real) {
        __real_net_close(fd);
        return;
    }
    assert_between(fd, FIRST_FD, FIRST_FD + CALLS_MAX);
    fix.open--;
}

/* Another daemon may try to listen between our look at the file and the removal of the file. */
int __wrap_unlink(const char *path)
{
    if (fix.rival_tries) {
        union net_addr addr;
        fix.rival_tries = false;
        assert_int_equal(net_unix(fix.path, &addr), 0);
        fix.rival = __real_net_listen(&addr, 1, 0600, 0);
    }
    return __real_unlink(path);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fix.calloc_fails ? NULL : __real_calloc(count, size);
}

static int fixture_open(void **state)
{
    (void)state;
    memset(&fix, 0, sizeof fix);
    fix.free_port = FREE_PORT;
    return 0;
}

static int fixture_close(void **state)
{
    (void)state;
    endpoints_close(&fix.endpoints);
    assert_int_equal(fix.open, 0);
    assert_null(fix.endpoints.list);
    return 0;
}

int __wrap_datagram_open(const union net_addr *addr, int beside)
{
    return fix.is_foreign && beside >= 0 ? -EADDRINUSE : __real_datagram_open(addr, beside);
}

static union net_addr addr_of(const char *text)
{
    union net_addr addr;
    assert_int_equal(net_resolve(text, &addr, 1), 1);
    return addr;
}

static int open_config(const union net_addr *addrs, size_t count, uint16_t port)
{
    struct endpoint_addr wanted[ADDRS_MAX] = {0};
    assert_true(count <= ADDRS_MAX);
    for (size_t i = 0; i < count; i++)
        wanted[i].addr = addrs[i];
    const struct endpoints_config config = {.addrs = wanted,
                                            .count = count,
                                            .port = port,
                                            .backlog = BACKLOG,
                                            .socket_mode = MODE,
                                            .keepalive_s = KEEPALIVE_S};
    return endpoints_open(&fix.endpoints, &config);
}

static int open_default(uint16_t port)
{
    return open_config(NULL, 0, port);
}

/* Opens 127.0.0.1, ::1 and 127.0.0.2. */
static int open_named(uint16_t port)
{
    const union net_addr addrs[] = {addr_of("127.0.0.1"), addr_of("::1"), addr_of("127.0.0.2")};
    return open_config(addrs, 3, port);
}

static void check_addr(const union net_addr *addr, const char *expected)
{
    char text[NET_ADDR_STRLEN];
    assert_string_equal(net_format(addr, text), expected);
}

/* After a failure: failed has the address, and no descriptor is open. */
static void check_failed(const char *expected)
{
    check_addr(&fix.endpoints.failed, expected);
    assert_int_equal(fix.endpoints.count, 0);
    assert_int_equal(fix.open, 0);
}

static void test_both_families_by_default(void **state)
{
    (void)state;
    assert_int_equal(open_default(25000), 0);
    assert_int_equal(fix.endpoints.count, 2);
    assert_int_equal(fix.endpoints.list[0].fd, FIRST_FD);
    assert_int_equal(fix.endpoints.list[1].fd, FIRST_FD + 1);
    assert_int_equal(fix.calls, 2);
    check_addr(&fix.requested[0], "0.0.0.0:25000");
    check_addr(&fix.requested[1], "[::]:25000");
}

static void test_named_addresses(void **state)
{
    (void)state;
    assert_int_equal(open_named(7), 0);
    assert_int_equal(fix.endpoints.count, 3);
    check_addr(&fix.requested[0], "127.0.0.1:7");
    check_addr(&fix.requested[1], "[::1]:7");
    check_addr(&fix.requested[2], "127.0.0.2:7");
}

/* All sockets use the port that the first socket got. */
static void test_a_free_port_is_shared(void **state)
{
    (void)state;
    assert_int_equal(open_named(0), 0);
    check_addr(&fix.requested[0], "127.0.0.1:0");
    check_addr(&fix.requested[1], "[::1]:40000");
    check_addr(&fix.requested[2], "127.0.0.2:40000");
}

static void test_a_free_port_without_ipv4(void **state)
{
    (void)state;
    fix.results[0] = -EAFNOSUPPORT;
    assert_int_equal(open_default(0), 0);
    assert_int_equal(fix.endpoints.count, 1);
    check_addr(&fix.requested[1], "[::]:0");
}

/* The port is free for one address but in use for the next: all start again with another port. */
static void test_a_port_that_is_not_free_for_all(void **state)
{
    (void)state;
    fix.results[1] = -EADDRINUSE;
    fix.results[4] = -EADDRINUSE;
    assert_int_equal(open_named(0), 0);
    assert_int_equal(fix.calls, 8);
    check_addr(&fix.requested[2], "127.0.0.1:0");
    check_addr(&fix.requested[3], "[::1]:40001");
    check_addr(&fix.requested[4], "127.0.0.2:40001");
    check_addr(&fix.requested[7], "127.0.0.2:40002");
    assert_int_equal(fix.endpoints.count, 3);
    assert_int_equal(fix.open, 3);
    assert_int_equal(fix.endpoints.list[0].fd, FIRST_FD + 5);
}

static void test_the_search_for_a_free_port_ends(void **state)
{
    (void)state;
    fix.always = -EADDRINUSE;
    assert_int_equal(open_named(0), -EADDRINUSE);
    assert_int_equal(fix.calls, 2 * (1 + PORT_TRIES));
    check_failed("[::1]:40016");
}

static void test_a_given_port_in_use_fails_at_once(void **state)
{
    (void)state;
    fix.results[1] = -EADDRINUSE;
    assert_int_equal(open_named(25000), -EADDRINUSE);
    assert_int_equal(fix.calls, 2);
    check_failed("[::1]:25000");
}

static void test_the_default_in_use(void **state)
{
    (void)state;
    fix.results[0] = -EADDRINUSE;
    assert_int_equal(open_default(25000), -EADDRINUSE);
    assert_int_equal(fix.calls, 1);
    check_failed("0.0.0.0:25000");
}

/* One of the two families may be missing if the user has named no address. */
static void test_a_family_may_be_missing(void **state)
{
    static const int errors[] = {-EAFNOSUPPORT, -EADDRNOTAVAIL};
    (void)state;
    for (int missing = 0; missing < 2; missing++)
        for (int e = 0; e < 2; e++) {
            fix.calls = 0;
            memset(fix.results, 0, sizeof fix.results);
            fix.results[missing] = errors[e];
            assert_int_equal(open_default(25000), 0);
            assert_int_equal(fix.endpoints.count, 1);
            assert_int_equal(fix.endpoints.list[0].fd, FIRST_FD + 1 - missing);
            endpoints_close(&fix.endpoints);
            assert_int_equal(fix.open, 0);
        }
}

static void test_both_families_are_missing(void **state)
{
    (void)state;
    fix.results[0] = fix.results[1] = -EAFNOSUPPORT;
    assert_int_equal(open_default(25000), -EAFNOSUPPORT);
    check_failed("[::]:25000");
}

static void test_a_named_family_must_not_be_missing(void **state)
{
    (void)state;
    fix.results[1] = -EAFNOSUPPORT;
    assert_int_equal(open_named(25000), -EAFNOSUPPORT);
    check_failed("[::1]:25000");
}

/* One address of a name is enough. The flag holds for its own address only. */
static void test_an_address_with_may_lack_is_left_out(void **state)
{
    (void)state;
    struct endpoint_addr addrs[] = {{addr_of("127.0.0.1"), false}, {addr_of("::1"), true}};
    const struct endpoints_config config = {.addrs = addrs,
                                            .count = 2,
                                            .port = 7,
                                            .backlog = BACKLOG,
                                            .socket_mode = MODE,
                                            .keepalive_s = KEEPALIVE_S};
    fix.results[1] = -EAFNOSUPPORT;
    assert_int_equal(endpoints_open(&fix.endpoints, &config), 0);
    assert_int_equal(fix.endpoints.count, 1);
    endpoints_close(&fix.endpoints);
    addrs[0].may_lack = true;
    addrs[1].may_lack = false;
    fix.results[3] = -EAFNOSUPPORT;
    assert_int_equal(endpoints_open(&fix.endpoints, &config), -EAFNOSUPPORT);
    check_failed("[::1]:7");
}

static void test_other_errors_of_the_default(void **state)
{
    (void)state;
    fix.results[1] = -EACCES;
    assert_int_equal(open_default(7), -EACCES);
    check_failed("[::]:7");
}

static void test_the_last_address_fails(void **state)
{
    (void)state;
    fix.results[2] = -EADDRNOTAVAIL;
    assert_int_equal(open_named(7), -EADDRNOTAVAIL);
    check_failed("127.0.0.2:7");
    assert_int_equal(fix.calls, 3);
}

static void test_no_memory(void **state)
{
    (void)state;
    fix.calloc_fails = true;
    assert_int_equal(open_default(7), -ENOMEM);
    assert_int_equal(fix.endpoints.count, 0);
    assert_int_equal(fix.endpoints.failed.sa.sa_family, AF_INET);
    assert_int_equal(fix.calls, 0);
}

/* If the port of the first socket is unknown, each other socket takes a free port. */
static void test_an_unknown_port_is_not_shared(void **state)
{
    (void)state;
    fix.local_fails = true;
    assert_int_equal(open_named(0), 0);
    check_addr(&fix.requested[2], "127.0.0.2:0");
}

static void test_what_was_taken_over_is_not_closed(void **state)
{
    (void)state;
    assert_int_equal(open_named(7), 0);
    fix.endpoints.list[1].fd = -1;
    endpoints_close(&fix.endpoints);
    assert_int_equal(fix.open, 1);
    fix.open = 0;
    endpoints_close(&fix.endpoints); /* a second call is harmless */
}

static void test_real_addresses_share_a_port(void **state)
{
    (void)state;
    int fds = count_fds();
    union net_addr addrs[] = {addr_of("127.0.0.1"), addr_of("127.0.0.2")};
    union net_addr local[2];
    fix.real = true;
    assert_int_equal(open_config(addrs, 2, 0), 0);
    assert_int_equal(count_fds(), fds + 2);
    for (int i = 0; i < 2; i++)
        assert_int_equal(net_local(fix.endpoints.list[i].fd, &local[i]), 0);
    assert_int_not_equal(net_port(&local[0]), 0);
    assert_int_equal(net_port(&local[0]), net_port(&local[1]));
    endpoints_close(&fix.endpoints);
    assert_int_equal(count_fds(), fds);
}

/* The same address twice: the second socket finds every port in use. */
static void test_a_real_port_in_use(void **state)
{
    (void)state;
    int fds = count_fds();
    union net_addr addrs[] = {addr_of("127.0.0.1"), addr_of("127.0.0.1")};
    fix.real = true;
    assert_int_equal(open_config(addrs, 2, 0), -EADDRINUSE);
    assert_int_equal(count_fds(), fds);
}

/* A fixture with real sockets, and a directory for Unix sockets. */
static int real_open(void **state)
{
    (void)fixture_open(state);
    fix.real = true;
    fix.fds = count_fds();
    make_dir(fix.dir);
    (void)snprintf(fix.path, sizeof fix.path, "%s/socket", fix.dir);
    return 0;
}

static int real_close(void **state)
{
    (void)fixture_close(state);
    remove_dir(fix.dir);
    assert_int_equal(count_fds(), fix.fds);
    return 0;
}

static union net_addr unix_addr(const char *path)
{
    union net_addr addr;
    assert_int_equal(net_unix(path, &addr), 0);
    return addr;
}

/* Opens a Unix socket. Then its descriptor is taken over and closed, as by a task that ends. */
static void open_and_end_listening(void)
{
    union net_addr addr = unix_addr(fix.path);
    assert_int_equal(open_config(&addr, 1, 25000), 0);
    assert_int_equal(fix.endpoints.count, 1);
    __real_net_close(fix.endpoints.list[0].fd);
    fix.endpoints.list[0].fd = -1;
}

static int make_listener(const char *path)
{
    union net_addr addr = path == NULL ? addr_of("127.0.0.1") : unix_addr(path);
    int fd = __real_net_listen(&addr, 1, 0600, 0);
    assert_return_code(fd, -fd);
    return fd;
}

static bool file_exists(void)
{
    return access(fix.path, F_OK) == 0;
}

/* Unix sockets have no port: the first socket with a port decides which free port all use. */
static void test_real_kinds_together(void **state)
{
    char name[64];
    struct stat file;
    (void)state;
    (void)snprintf(name, sizeof name, "@uvechod-test-%ld", (long)getpid());
    const union net_addr addrs[] = {unix_addr(fix.path), addr_of("127.0.0.1"), unix_addr(name),
                                    addr_of("127.0.0.2")};
    assert_int_equal(open_config(addrs, 4, 0), 0);
    const struct endpoint *list = fix.endpoints.list;
    assert_int_equal(fix.endpoints.count, 4);
    assert_memory_equal(&list[0].bound, &addrs[0], sizeof addrs[0].un);
    assert_memory_equal(&list[2].bound, &addrs[2], sizeof addrs[2].un);
    assert_int_equal(lstat(fix.path, &file), 0);
    assert_int_equal(file.st_mode & 07777, MODE);
    assert_int_equal(list[0].inode, file.st_ino);
    for (int i = 0; i < 4; i++) {
        assert_ptr_equal(list[i].kind, &endpoint_listening);
        assert_null(list[i].name);
        assert_int_equal(net_inspect(list[i].fd), NET_LISTENING);
        assert_true(i == 0 || list[i].inode == 0);
    }
    assert_int_not_equal(net_port(&list[1].bound), 0);
    assert_int_equal(net_port(&list[1].bound), net_port(&list[3].bound));
    endpoints_close(&fix.endpoints);
    assert_false(file_exists());
    assert_int_equal(count_fds(), fix.fds);
}

static void test_the_file_is_removed_even_if_the_socket_was_taken_over(void **state)
{
    (void)state;
    open_and_end_listening();
    assert_true(file_exists());
    endpoints_close(&fix.endpoints);
    assert_false(file_exists());
    open_and_end_listening();
    assert_int_equal(unlink(fix.path), 0); /* another process has removed the file before */
    endpoints_close(&fix.endpoints);
}

/* Another file has replaced ours: the file of another socket, or a plain file. */
static void test_a_file_that_has_replaced_ours_stays(void **state)
{
    char other[64];
    (void)state;
    (void)snprintf(other, sizeof other, "%s/other", fix.dir);
    open_and_end_listening();
    int fd = make_listener(other);
    assert_int_equal(rename(other, fix.path), 0);
    endpoints_close(&fix.endpoints);
    assert_true(file_exists());
    __real_net_close(fd);
    assert_int_equal(unlink(fix.path), 0);
    open_and_end_listening();
    fd = open(other, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_int_equal(rename(other, fix.path), 0);
    endpoints_close(&fix.endpoints);
    assert_true(file_exists());
    __real_net_close(fd);
    assert_int_equal(unlink(fix.path), 0);
}

/* Waits for the next tick of the kernel's clock: a new file then has a later time than ours. */
static void wait_for_a_later_file_time(void)
{
    struct stat file;
    struct timespec now;
    assert_int_equal(lstat(fix.path, &file), 0);
    do
        assert_int_equal(clock_gettime(CLOCK_REALTIME_COARSE, &now), 0);
    while (now.tv_sec == file.st_mtim.tv_sec && now.tv_nsec <= file.st_mtim.tv_nsec);
}

/* Another daemon starts while ours drains. Its file may even have the inode number of ours. */
static void test_the_file_of_a_successor_stays(void **state)
{
    (void)state;
    open_and_end_listening();
    wait_for_a_later_file_time();
    int fd = make_listener(fix.path);
    endpoints_close(&fix.endpoints);
    assert_true(file_exists());
    __real_net_close(fd);
    assert_int_equal(unlink(fix.path), 0);
}

/*
 * Until the file is gone, another daemon finds the path in use. As soon as it is gone, the other
 * daemon can listen there, although our socket has not been closed, and keeps its file.
 */
static void test_the_path_passes_to_a_successor(void **state)
{
    (void)state;
    union net_addr addr = unix_addr(fix.path);
    assert_int_equal(open_config(&addr, 1, 25000), 0);
    fix.rival_tries = true;
    endpoints_remove_files(&fix.endpoints);
    assert_int_equal(fix.rival, -EADDRINUSE);
    assert_false(file_exists());
    int fd = make_listener(fix.path);
    endpoints_remove_files(&fix.endpoints);
    endpoints_close(&fix.endpoints);
    assert_true(file_exists());
    __real_net_close(fd);
    assert_int_equal(unlink(fix.path), 0);
}

/* Sockets that were opened before the address that failed leave no file. */
static void test_a_failure_removes_the_files(void **state)
{
    char text[NET_ADDR_STRLEN];
    (void)state;
    const union net_addr addrs[] = {unix_addr(fix.path), unix_addr("/tmp/no-such-directory/s")};
    assert_int_equal(open_config(addrs, 2, 25000), -ENOENT);
    assert_string_equal(net_format(&fix.endpoints.failed, text), "unix:/tmp/no-such-directory/s");
    assert_int_equal(fix.endpoints.count, 0);
    assert_false(file_exists());
    assert_int_equal(count_fds(), fix.fds);
}

static const char *const passed_names[] = {"one", "two", "three", "four"};

/* Moves the descriptors to numbers in sequence, as systemd passes them. */
static void pass(const int *fds, int count)
{
    for (int i = 0; i < count; i++) {
        assert_int_equal(dup3(fds[i], PASSED_FD + i, O_CLOEXEC), PASSED_FD + i);
        (void)close(fds[i]);
    }
}

/* The first count names of passed_names, allocated as endpoints_adopt() takes them. */
static char **make_names(int count)
{
    char **names = __real_calloc((size_t)count + 1, sizeof *names);
    assert_non_null(names);
    for (int i = 0; i < count; i++)
        names[i] = strdup(passed_names[i]);
    return names;
}

static void expect_passed_closed(int count)
{
    for (int i = 0; i < count; i++)
        assert_false(fd_is_open(PASSED_FD + i));
    assert_int_equal(count_fds(), fix.fds);
}

/* The file of a passed socket is not removed, because we did not make it. */
static void test_adopt(void **state)
{
    (void)state;
    int pair[2];
    size_t bad = 99;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    pass((const int[]){make_listener(NULL), pair[0], make_listener(fix.path)}, 3);
    char **names = make_names(3);
    assert_int_equal(endpoints_adopt(&fix.endpoints, PASSED_FD, 3, names, &bad), 0);
    const struct endpoint *list = fix.endpoints.list;
    assert_int_equal(fix.endpoints.count, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(list[i].fd, PASSED_FD + i);
        assert_string_equal(list[i].name, passed_names[i]);
        assert_ptr_equal(list[i].kind, i == 1 ? &endpoint_connected : &endpoint_listening);
        assert_int_equal(list[i].inode, 0);
    }
    assert_int_equal(list[0].bound.sa.sa_family, AF_INET);
    assert_int_not_equal(net_port(&list[0].bound), 0);
    assert_string_equal(list[2].bound.un.sun_path, fix.path);
    endpoints_close(&fix.endpoints);
    assert_true(file_exists());
    assert_int_equal(unlink(fix.path), 0);
    (void)close(pair[1]);
    expect_passed_closed(3);
}

static int option_of(int fd, int level, int option)
{
    int value = -1;
    socklen_t len = sizeof value;
    assert_int_equal(getsockopt(fd, level, option, &value, &len), 0);
    return value;
}

/* Both listening and connected sockets. A Unix socket has no keepalive and is left as it is. */
static void test_passed_sockets_are_kept_alive(void **state)
{
    (void)state;
    size_t bad;
    int pair[2];
    int listener = make_listener(NULL);
    union net_addr addr;
    assert_int_equal(net_local(listener, &addr), 0);
    int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(client, &addr.sa, sizeof addr.in), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    pass((const int[]){listener, pair[0], client}, 3);
    assert_int_equal(endpoints_adopt(&fix.endpoints, PASSED_FD, 3, NULL, &bad), 0);
    endpoints_keep_alive(&fix.endpoints, 8);
    for (int fd = PASSED_FD; fd < PASSED_FD + 3; fd += 2) {
        assert_int_equal(option_of(fd, SOL_SOCKET, SO_KEEPALIVE), 1);
        assert_int_equal(option_of(fd, IPPROTO_TCP, TCP_KEEPIDLE), 8);
    }
    endpoints_keep_alive(&fix.endpoints, 0);
    for (int fd = PASSED_FD; fd < PASSED_FD + 3; fd++)
        assert_int_equal(option_of(fd, SOL_SOCKET, SO_KEEPALIVE), 0);
    endpoints_close(&fix.endpoints);
    (void)close(pair[1]);
    expect_passed_closed(3);
}

static void test_adopt_without_names(void **state)
{
    (void)state;
    size_t bad = 99;
    pass((const int[]){make_listener(NULL)}, 1);
    assert_int_equal(endpoints_adopt(&fix.endpoints, PASSED_FD, 1, NULL, &bad), 0);
    assert_int_equal(fix.endpoints.count, 1);
    assert_null(fix.endpoints.list[0].name);
    fix.endpoints.list[0].fd = -1; /* taken over */
    endpoints_close(&fix.endpoints);
    assert_true(fd_is_open(PASSED_FD));
    (void)close(PASSED_FD);
}

/* bad is the first socket that cannot be served. The sockets after it are closed, too. */
static void test_adopt_a_bad_socket(void **state)
{
    (void)state;
    int pipes[2];
    size_t bad = 99;
    int packets = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    pass((const int[]){make_listener(NULL), packets, pipes[0], pipes[1]}, 4);
    int rc = endpoints_adopt(&fix.endpoints, PASSED_FD, 4, make_names(4), &bad);
    assert_int_equal(rc, -EPROTONOSUPPORT);
    assert_int_equal(bad, 1);
    assert_string_equal(fix.endpoints.list[bad].name, "two");
    endpoints_close(&fix.endpoints);
    expect_passed_closed(4);
}

static void test_adopt_closed_descriptors(void **state)
{
    (void)state;
    size_t bad = 99;
    assert_int_equal(endpoints_adopt(&fix.endpoints, PASSED_FD, 2, NULL, &bad), -EBADF);
    assert_int_equal(bad, 0);
}

/* The passed sockets are closed and the names are freed, even without memory for the list. */
static void test_adopt_without_memory(void **state)
{
    (void)state;
    size_t bad = 99;
    pass((const int[]){make_listener(NULL), make_listener(NULL), make_listener(NULL)}, 3);
    char **names = make_names(3);
    fix.calloc_fails = true;
    assert_int_equal(endpoints_adopt(&fix.endpoints, PASSED_FD, 3, names, &bad), -ENOMEM);
    assert_int_equal(fix.endpoints.count, 0);
    endpoints_close(&fix.endpoints);
    expect_passed_closed(3);
}

/* ---- from one process to the next ---- */

static void open_ledger(struct ledger *ledger)
{
    static const struct handler handler = {.frame_size = 0};
    static const struct service list[] = {{.handler = &handler}};
    const struct services services = {.list = list, .count = 1};
    ledger_of(ledger, &services);
}

static bool survives_exec(int fd)
{
    return (fcntl(fd, F_GETFD) & FD_CLOEXEC) == 0;
}

/* Opens the Unix socket and notes it. Returns what a successor finds. */
static struct takeover_listener note_listener(void)
{
    struct ledger ledger;
    struct takeover_listener found;
    union net_addr addr = unix_addr(fix.path);
    open_ledger(&ledger);
    assert_int_equal(open_config(&addr, 1, 25000), 0);
    struct endpoint *endpoint = &fix.endpoints.list[0];
    assert_false(survives_exec(endpoint->fd));
    assert_int_equal(endpoints_note(&fix.endpoints, &ledger), 0);
    assert_true(survives_exec(endpoint->fd));
    found = (struct takeover_listener){.fd = endpoint->fd, .bound = endpoint->bound};
    assert_int_equal(ledger_read(&ledger, (uint32_t)endpoint->fd, &found.noted), 0);
    assert_int_equal(found.noted.kind, LEDGER_LISTENER);
    assert_false(found.noted.served);
    ledger_close(&ledger);
    return found;
}

/* The predecessor has ended, without closing anything. A successor has its sockets. */
static void inherit(const struct takeover_listener *found)
{
    free(fix.endpoints.list);
    assert_int_equal(endpoints_inherit(&fix.endpoints, found, 1), 0);
    assert_int_equal(fix.endpoints.count, 1);
    assert_int_equal(fix.endpoints.list[0].fd, found->fd);
    assert_ptr_equal(fix.endpoints.list[0].kind, &endpoint_listening);
    assert_memory_equal(&fix.endpoints.list[0].bound, &found->bound, sizeof found->bound.un);
}

static void test_a_successor_removes_the_file_of_its_predecessor(void **state)
{
    (void)state;
    struct takeover_listener found = note_listener();
    const struct endpoint before = fix.endpoints.list[0];
    inherit(&found);
    assert_int_equal(fix.endpoints.list[0].inode, before.inode);
    assert_int_equal(fix.endpoints.list[0].made.tv_nsec, before.made.tv_nsec);
    endpoints_close(&fix.endpoints);
    assert_false(file_exists());
}

/* Another file stands there now; or one with the same inode, but of another time; or none. */
static void test_a_successor_leaves_another_file_alone(void **state)
{
    char other[64];
    (void)state;
    struct takeover_listener found = note_listener();
    (void)snprintf(other, sizeof other, "%s/other", fix.dir);
    int rival = make_listener(other);
    assert_int_equal(rename(other, fix.path), 0);
    inherit(&found);
    assert_int_equal(fix.endpoints.list[0].inode, 0);
    endpoints_close(&fix.endpoints);
    assert_true(file_exists());
    assert_int_equal(unlink(fix.path), 0);
    __real_net_close(rival);

    found = note_listener();
    found.noted.len++;
    inherit(&found);
    endpoints_close(&fix.endpoints);
    assert_true(file_exists());
    assert_int_equal(unlink(fix.path), 0);

    found = note_listener();
    assert_int_equal(unlink(fix.path), 0);
    inherit(&found);
    assert_int_equal(fix.endpoints.list[0].inode, 0);
    endpoints_close(&fix.endpoints);
}

/* A connection that was passed lives on, and is noted when it is served. */
static void test_a_passed_connection_is_no_listener(void **state)
{
    struct ledger ledger;
    struct ledger_state entry;
    int pair[2];
    size_t bad;
    (void)state;
    open_ledger(&ledger);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    pass((const int[]){pair[0]}, 1);
    assert_int_equal(endpoints_adopt(&fix.endpoints, PASSED_FD, 1, NULL, &bad), 0);
    assert_int_equal(endpoints_note(&fix.endpoints, &ledger), 0);
    assert_true(survives_exec(PASSED_FD));
    assert_int_equal(ledger_read(&ledger, PASSED_FD, &entry), 0);
    assert_int_equal(entry.kind, LEDGER_NOTHING);
    endpoints_close(&fix.endpoints);
    ledger_close(&ledger);
    (void)close(pair[1]);
    expect_passed_closed(1);
}

static void test_a_listener_that_cannot_be_noted(void **state)
{
    const struct ledger_layout layout = {.entries = 1};
    struct ledger ledger;
    union net_addr addr = addr_of("127.0.0.1");
    (void)state;
    assert_int_equal(ledger_open(&ledger, &layout), 0);
    assert_int_equal(open_config(&addr, 1, 0), 0);
    assert_int_equal(endpoints_note(&fix.endpoints, &ledger), -EMFILE);
    endpoints_close(&fix.endpoints);
    ledger_close(&ledger);
}

static void test_inherit_without_memory(void **state)
{
    struct takeover_listener found[2] = {{.fd = -1}};
    (void)state;
    for (int i = 0; i < 2; i++)
        found[i].fd = make_listener(NULL);
    fix.calloc_fails = true;
    assert_int_equal(endpoints_inherit(&fix.endpoints, found, 2), -ENOMEM);
    assert_int_equal(fix.endpoints.count, 0);
    assert_false(fd_is_open(found[0].fd) || fd_is_open(found[1].fd));
}

/* All sockets of the predecessor were connections. */
static void test_inherit_no_listener(void **state)
{
    (void)state;
    assert_int_equal(endpoints_inherit(&fix.endpoints, NULL, 0), 0);
    assert_int_equal(fix.endpoints.count, 0);
    assert_false(endpoints_stay(&fix.endpoints));
}

/* ---- after a restart, with the sockets of a predecessor ---- */

enum { OLD = 3 };

/* A predecessor's sockets on these addresses and one port, which the ledger notes. */
static void leave_sockets(struct ledger *ledger, const union net_addr *addrs, size_t count)
{
    struct takeover_listener found[OLD];
    open_ledger(ledger);
    assert_int_equal(open_config(addrs, count, 0), 0);
    assert_int_equal(endpoints_note(&fix.endpoints, ledger), 0);
    for (size_t i = 0; i < count; i++) {
        struct endpoint *endpoint = &fix.endpoints.list[i];
        found[i] = (struct takeover_listener){.fd = endpoint->fd, .bound = endpoint->bound};
        assert_int_equal(ledger_read(ledger, (uint32_t)endpoint->fd, &found[i].noted), 0);
    }
    free(fix.endpoints.list);
    assert_int_equal(endpoints_inherit(&fix.endpoints, found, count), 0);
    fix.endpoints.noted = ledger;
}

static bool is_noted(const struct ledger *ledger, int fd)
{
    struct ledger_state entry;
    assert_int_equal(ledger_read(ledger, (uint32_t)fd, &entry), 0);
    return entry.kind == LEDGER_LISTENER && entry.end == LEDGER_OPEN;
}

/* One address stays, one goes and one comes; the port is the same although any would do. */
static void test_addresses_after_a_restart(void **state)
{
    struct ledger ledger;
    const union net_addr old[] = {addr_of("127.0.0.1"), addr_of("127.0.0.2")};
    const union net_addr now[] = {addr_of("127.0.0.3"), addr_of("127.0.0.2")};
    (void)state;
    leave_sockets(&ledger, old, 2);
    const struct endpoint gone = fix.endpoints.list[0];
    const struct endpoint kept = fix.endpoints.list[1];
    assert_int_equal(open_config(now, 2, 0), 0);
    const struct endpoint *list = fix.endpoints.list;
    assert_int_equal(fix.endpoints.count, 2);
    assert_int_equal(list[0].fd, kept.fd);
    assert_true(is_noted(&ledger, kept.fd));
    assert_false(is_noted(&ledger, gone.fd));
    assert_int_equal(net_port(&list[1].bound), net_port(&kept.bound));
    assert_int_equal(list[1].bound.in.sin_addr.s_addr, now[0].in.sin_addr.s_addr);
    assert_int_equal(net_inspect(list[1].fd), NET_LISTENING);
    endpoints_close(&fix.endpoints);
    ledger_close(&ledger);
}

/* The old sockets are closed before the new one is made: their addresses overlap. */
static void test_a_wildcard_after_a_restart(void **state)
{
    struct ledger ledger;
    const union net_addr old[] = {addr_of("127.0.0.1"), addr_of("127.0.0.2")};
    const union net_addr now = addr_of("0.0.0.0");
    (void)state;
    leave_sockets(&ledger, old, 2);
    uint16_t port = net_port(&fix.endpoints.list[0].bound);
    assert_int_equal(open_config(&now, 1, port), 0);
    assert_int_equal(fix.endpoints.count, 1);
    assert_int_equal(net_port(&fix.endpoints.list[0].bound), port);
    endpoints_close(&fix.endpoints);
    ledger_close(&ledger);
}

static void test_another_port_after_a_restart(void **state)
{
    struct ledger ledger;
    const union net_addr addr = addr_of("127.0.0.1");
    (void)state;
    int other = make_listener(NULL);
    union net_addr bound;
    assert_int_equal(net_local(other, &bound), 0);
    __real_net_close(other);
    leave_sockets(&ledger, &addr, 1);
    assert_int_equal(open_config(&addr, 1, net_port(&bound)), 0);
    assert_int_equal(fix.endpoints.count, 1);
    assert_int_equal(net_port(&fix.endpoints.list[0].bound), net_port(&bound));
    endpoints_close(&fix.endpoints);
    ledger_close(&ledger);
}

/* The file of a Unix socket stays with its socket, and goes with one that nobody asks for. */
static void test_a_file_after_a_restart(void **state)
{
    struct ledger ledger;
    const union net_addr addrs[] = {unix_addr(fix.path), addr_of("127.0.0.1")};
    (void)state;
    leave_sockets(&ledger, addrs, 2);
    const struct endpoint before = fix.endpoints.list[0];
    assert_int_equal(open_config(addrs, 2, 0), 0);
    assert_int_equal(fix.endpoints.list[0].fd, before.fd);
    assert_int_equal(fix.endpoints.list[0].inode, before.inode);
    assert_true(file_exists());
    assert_int_equal(open_config(&addrs[1], 1, 0), 0);
    assert_false(file_exists());
    assert_false(fd_is_open(before.fd));
    endpoints_close(&fix.endpoints);
    ledger_close(&ledger);
}

/* Those that are passed are the ones that count: what is the same socket stays open with them. */
static void test_passed_sockets_after_a_restart(void **state)
{
    struct ledger ledger;
    size_t bad;
    const union net_addr old[] = {addr_of("127.0.0.1"), addr_of("127.0.0.2")};
    (void)state;
    leave_sockets(&ledger, old, 2);
    const int fds[] = {fix.endpoints.list[0].fd, fix.endpoints.list[1].fd};
    pass((const int[]){dup(fds[0])}, 1);
    assert_int_equal(endpoints_adopt(&fix.endpoints, PASSED_FD, 1, NULL, &bad), 0);
    assert_int_equal(fix.endpoints.count, 1);
    assert_int_equal(fix.endpoints.list[0].fd, PASSED_FD);
    for (int i = 0; i < 2; i++) {
        assert_false(fd_is_open(fds[i]));
        assert_false(is_noted(&ledger, fds[i]));
    }
    assert_int_equal(net_inspect(PASSED_FD), NET_LISTENING);
    endpoints_close(&fix.endpoints);
    ledger_close(&ledger);
}

static void test_no_memory_after_a_restart(void **state)
{
    struct ledger ledger;
    size_t bad;
    const union net_addr addr = addr_of("127.0.0.1");
    (void)state;
    for (int i = 0; i < 2; i++) {
        leave_sockets(&ledger, &addr, 1);
        int fd = fix.endpoints.list[0].fd;
        if (i == 1)
            pass((const int[]){make_listener(NULL)}, 1);
        fix.calloc_fails = true;
        assert_int_equal(i == 0 ? open_config(&addr, 1, 0)
                                : endpoints_adopt(&fix.endpoints, PASSED_FD, 1, NULL, &bad),
                         -ENOMEM);
        fix.calloc_fails = false;
        assert_false(fd_is_open(fd));
        endpoints_close(&fix.endpoints);
        ledger_close(&ledger);
    }
}

/* ---- the socket of the metrics ---- */

static char **make_name(const char *name, int count)
{
    char **names = __real_calloc((size_t)count + 1, sizeof *names);
    assert_non_null(names);
    for (int i = 0; i < count; i++)
        names[i] = strdup(i == 0 ? name : "other");
    return names;
}

/* A passed one is known by its name, and goes to a list of its own, behind what is there. */
static void test_set_aside(void **state)
{
    struct endpoints aside = {.list = NULL};
    size_t bad;
    (void)state;
    pass((const int[]){make_listener(NULL), make_listener(NULL)}, 2);
    assert_int_equal(
        endpoints_adopt(&fix.endpoints, PASSED_FD, 2, make_name(ENDPOINT_METRICS, 2), &bad), 0);
    assert_ptr_equal(fix.endpoints.list[0].kind, &endpoint_metrics);
    for (int i = 0; i < 2; i++) { /* the second time there is nothing to move */
        assert_int_equal(endpoints_set_aside(&fix.endpoints, &aside), 0);
        assert_int_equal(aside.count, 1);
        assert_int_equal(aside.list[0].fd, PASSED_FD);
        assert_int_equal(fix.endpoints.count, 1);
        assert_int_equal(fix.endpoints.list[0].fd, PASSED_FD + 1);
    }
    fix.calloc_fails = true;
    assert_int_equal(endpoints_set_aside(&fix.endpoints, &aside), -ENOMEM);
    endpoints_close(&aside);
    endpoints_close(&fix.endpoints);
    expect_passed_closed(2);
}

/* A successor knows it by the ledger, and may drop it. */
static void test_noted_as_aside(void **state)
{
    struct ledger ledger;
    struct takeover_listener found;
    const union net_addr addr = unix_addr(fix.path);
    const struct endpoint_addr wanted = {.addr = addr};
    const struct endpoints_config config = {
        .addrs = &wanted, .count = 1, .backlog = 1, .socket_mode = 0600, .kind = &endpoint_metrics};
    (void)state;
    open_ledger(&ledger);
    assert_int_equal(endpoints_open(&fix.endpoints, &config), 0);
    assert_int_equal(endpoints_note(&fix.endpoints, &ledger), 0);
    found = (struct takeover_listener){.fd = fix.endpoints.list[0].fd, .bound = addr};
    assert_int_equal(ledger_read(&ledger, (uint32_t)found.fd, &found.noted), 0);
    assert_int_equal(found.noted.end, LEDGER_ASIDE);
    free(fix.endpoints.list);
    assert_int_equal(endpoints_inherit(&fix.endpoints, &found, 1), 0);
    assert_ptr_equal(fix.endpoints.list[0].kind, &endpoint_metrics);
    fix.endpoints.noted = &ledger;
    endpoints_drop(&fix.endpoints);
    assert_int_equal(fix.endpoints.count, 0);
    assert_false(fd_is_open(found.fd));
    assert_false(file_exists());
    assert_int_equal(ledger_read(&ledger, (uint32_t)found.fd, &found.noted), 0);
    assert_int_equal(found.noted.end, LEDGER_LEFT);
    ledger_close(&ledger);
}

/* ---- datagrams ---- */

static int open_udp(const union net_addr *addrs, size_t count, enum endpoints_udp udp,
                    unsigned workers)
{
    struct endpoint_addr wanted[ADDRS_MAX] = {0};
    for (size_t i = 0; i < count; i++)
        wanted[i].addr = addrs[i];
    const struct endpoints_config config = {.addrs = wanted,
                                            .count = count,
                                            .backlog = BACKLOG,
                                            .socket_mode = MODE,
                                            .udp = (uint8_t)udp,
                                            .workers = workers};
    return endpoints_open(&fix.endpoints, &config);
}

static unsigned count_kind(const struct endpoint_kind *kind)
{
    unsigned count = 0;
    for (size_t i = 0; i < fix.endpoints.count; i++)
        count += fix.endpoints.list[i].kind == kind;
    assert_int_equal(endpoints_have(&fix.endpoints, kind), count > 0);
    return count;
}

/* Each worker has one at each address, all with the same port; a Unix address has none. */
static void test_open_datagrams(void **state)
{
    (void)state;
    const union net_addr addrs[] = {addr_of("127.0.0.1"), addr_of("127.0.0.2"),
                                    unix_addr(fix.path)};
    assert_int_equal(open_udp(addrs, 3, ENDPOINTS_UDP_TOO, 3), 0);
    assert_int_equal(count_kind(&endpoint_listening), 3);
    assert_int_equal(count_kind(&endpoint_datagram), 6);
    const uint16_t port = net_port(&fix.endpoints.list[0].bound);
    unsigned turns[3] = {0};
    for (size_t i = 0; i < fix.endpoints.count; i++) {
        if (fix.endpoints.list[i].kind == &endpoint_datagram)
            turns[endpoints_turn(&fix.endpoints, i)]++;
        if (net_unix_path(&fix.endpoints.list[i].bound) == NULL)
            assert_int_equal(net_port(&fix.endpoints.list[i].bound), port);
    }
    for (int i = 0; i < 3; i++)
        assert_int_equal(turns[i], 2);
    endpoints_keep_alive(&fix.endpoints, KEEPALIVE_S); /* which these cannot have */
}

static void test_open_datagrams_only(void **state)
{
    (void)state;
    const union net_addr addr = addr_of("127.0.0.1");
    assert_int_equal(open_udp(&addr, 1, ENDPOINTS_UDP_ONLY, 2), 0);
    assert_int_equal(count_kind(&endpoint_listening), 0);
    assert_int_equal(count_kind(&endpoint_datagram), 2);
    assert_int_equal(net_port(&fix.endpoints.list[0].bound),
                     net_port(&fix.endpoints.list[1].bound));
    assert_true(endpoints_stay(&fix.endpoints));
    endpoints_stop(&fix.endpoints);
    endpoint_datagram.stop(&fix.endpoints.list[0]); /* which its own thread does */
}

static void test_datagrams_at_a_port_in_use(void **state)
{
    (void)state;
    const union net_addr addrs[] = {addr_of("127.0.0.1"), addr_of("192.0.2.1")};
    assert_int_equal(open_udp(addrs, 2, ENDPOINTS_UDP_ONLY, 1), -EADDRNOTAVAIL);
    assert_int_equal(fix.endpoints.count, 0);
}

/* The predecessor's go on, also if there are fewer workers, and are joined if there are more. */
static void test_keep_datagrams(void **state)
{
    (void)state;
    const union net_addr addr = addr_of("127.0.0.1");
    /* With TCP, whose port nobody else can have then. */
    assert_int_equal(open_udp(&addr, 1, ENDPOINTS_UDP_TOO, 2), 0);
    const union net_addr bound = fix.endpoints.list[0].bound;
    const int fd = fix.endpoints.list[1].fd;
    assert_int_equal(open_udp(&addr, 1, ENDPOINTS_UDP_TOO, 1), 0);
    assert_int_equal(count_kind(&endpoint_datagram), 2);
    assert_int_equal(open_udp(&addr, 1, ENDPOINTS_UDP_TOO, 4), 0);
    assert_int_equal(count_kind(&endpoint_datagram), 4);
    assert_int_equal(fix.endpoints.list[1].fd, fd);
    assert_int_equal(net_port(&fix.endpoints.list[4].bound), net_port(&bound));
    assert_int_equal(open_udp(&addr, 1, ENDPOINTS_UDP_NONE, 4), 0);
    assert_int_equal(count_kind(&endpoint_datagram), 0);
}

static void test_a_socket_that_cannot_be_shared(void **state)
{
    (void)state;
    const union net_addr addr = addr_of("127.0.0.1");
    fix.is_foreign = true;
    assert_int_equal(open_udp(&addr, 1, ENDPOINTS_UDP_ONLY, 3), 0);
    assert_int_equal(count_kind(&endpoint_datagram), 1);
}

/* They are noted as what they are, and found so. */
static void test_inherit_datagrams(void **state)
{
    const struct ledger_layout layout = {.entries = 4096, .services = 1};
    struct ledger ledger;
    struct ledger_state noted;
    const union net_addr addr = addr_of("127.0.0.1");
    (void)state;
    assert_int_equal(ledger_open(&ledger, &layout), 0);
    assert_int_equal(open_udp(&addr, 1, ENDPOINTS_UDP_ONLY, 1), 0);
    assert_int_equal(endpoints_note(&fix.endpoints, &ledger), 0);
    int fd = fix.endpoints.list[0].fd;
    assert_int_equal(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    assert_int_equal(ledger_read(&ledger, (uint32_t)fd, &noted), 0);
    assert_int_equal(noted.kind, LEDGER_LISTENER);
    assert_int_equal(noted.len, LEDGER_DATAGRAM);
    const struct takeover_listener found = {
        .fd = dup(fd), .noted = noted, .bound = fix.endpoints.list[0].bound, .datagram = true};
    endpoints_close(&fix.endpoints);
    assert_int_equal(endpoints_inherit(&fix.endpoints, &found, 1), 0);
    assert_int_equal(count_kind(&endpoint_datagram), 1);
    assert_int_equal(endpoints_start(&fix.endpoints, NULL), 0); /* it is served elsewhere */
    ledger_close(&ledger);
}

static void test_adopt_datagrams(void **state)
{
    (void)state;
    size_t bad = 99;
    int datagram = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    pass((const int[]){datagram}, 1);
    assert_int_equal(endpoints_adopt(&fix.endpoints, PASSED_FD, 1, NULL, &bad), 0);
    assert_int_equal(count_kind(&endpoint_datagram), 1);
    endpoints_close(&fix.endpoints);
    expect_passed_closed(1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_WITH(real, test_set_aside),
        TEST_WITH(real, test_noted_as_aside),
        FIXTURE_TEST(test_both_families_by_default),
        FIXTURE_TEST(test_named_addresses),
        FIXTURE_TEST(test_a_free_port_is_shared),
        FIXTURE_TEST(test_a_free_port_without_ipv4),
        FIXTURE_TEST(test_a_port_that_is_not_free_for_all),
        FIXTURE_TEST(test_the_search_for_a_free_port_ends),
        FIXTURE_TEST(test_a_given_port_in_use_fails_at_once),
        FIXTURE_TEST(test_the_default_in_use),
        FIXTURE_TEST(test_a_family_may_be_missing),
        FIXTURE_TEST(test_both_families_are_missing),
        FIXTURE_TEST(test_a_named_family_must_not_be_missing),
        FIXTURE_TEST(test_an_address_with_may_lack_is_left_out),
        FIXTURE_TEST(test_other_errors_of_the_default),
        FIXTURE_TEST(test_the_last_address_fails),
        FIXTURE_TEST(test_no_memory),
        FIXTURE_TEST(test_an_unknown_port_is_not_shared),
        FIXTURE_TEST(test_what_was_taken_over_is_not_closed),
        FIXTURE_TEST(test_real_addresses_share_a_port),
        FIXTURE_TEST(test_a_real_port_in_use),
        TEST_WITH(real, test_real_kinds_together),
        TEST_WITH(real, test_the_file_is_removed_even_if_the_socket_was_taken_over),
        TEST_WITH(real, test_a_file_that_has_replaced_ours_stays),
        TEST_WITH(real, test_the_file_of_a_successor_stays),
        TEST_WITH(real, test_the_path_passes_to_a_successor),
        TEST_WITH(real, test_a_failure_removes_the_files),
        TEST_WITH(real, test_adopt),
        TEST_WITH(real, test_passed_sockets_are_kept_alive),
        TEST_WITH(real, test_adopt_without_names),
        TEST_WITH(real, test_adopt_a_bad_socket),
        TEST_WITH(real, test_adopt_closed_descriptors),
        TEST_WITH(real, test_adopt_without_memory),
        TEST_WITH(real, test_a_successor_removes_the_file_of_its_predecessor),
        TEST_WITH(real, test_a_successor_leaves_another_file_alone),
        TEST_WITH(real, test_a_passed_connection_is_no_listener),
        TEST_WITH(real, test_a_listener_that_cannot_be_noted),
        TEST_WITH(real, test_inherit_without_memory),
        TEST_WITH(real, test_inherit_no_listener),
        TEST_WITH(real, test_addresses_after_a_restart),
        TEST_WITH(real, test_a_wildcard_after_a_restart),
        TEST_WITH(real, test_another_port_after_a_restart),
        TEST_WITH(real, test_a_file_after_a_restart),
        TEST_WITH(real, test_passed_sockets_after_a_restart),
        TEST_WITH(real, test_no_memory_after_a_restart),
        TEST_WITH(real, test_open_datagrams),
        TEST_WITH(real, test_open_datagrams_only),
        TEST_WITH(real, test_datagrams_at_a_port_in_use),
        TEST_WITH(real, test_keep_datagrams),
        TEST_WITH(real, test_a_socket_that_cannot_be_shared),
        TEST_WITH(real, test_inherit_datagrams),
        TEST_WITH(real, test_adopt_datagrams),
    };
    return RUN_TESTS("endpoints", tests);
}
