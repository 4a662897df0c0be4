/*
 * fuzz_environment.c - what a service manager gives to the daemon: the environment, and sockets
 * from descriptor 3 on. The input is a byte that says which variables are set, the number of
 * descriptors, their kinds, and the variables' values, each ended by a NUL. The value "self" stands
 * for what fits this process: its number or, for NOTIFY_SOCKET, a socket that this file reads.
 *
 * The environment is replaced as a whole, because setenv(3) would keep every value for ever. The
 * descriptors that the process has from 3 on are put out of the way meanwhile.
 */
#include "os/systemd.h"

#include "fuzz/fuzz.h"

#include "server/endpoints.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    PASSED_FD = 3,
    PASSED_MAX = 8,
    FDS_MAX = 24, /* no descriptor that a run makes has this number */
    OWN_FD = 100, /* but for those of the manager and of peers, which have higher ones */
};

/* ---- the kinds of descriptors ---- */

/*
 * Makes a descriptor, and in *peer another that must stay open as long, if there is one. Returns
 * the descriptor, or -1 if this machine cannot make it.
 */
typedef int make_fn(int *peer);

/* A socket that is bound to a free port of the loopback address, or -1. */
static int make_bound(int family, int type)
{
    union net_addr addr = net_any((sa_family_t)family);
    int fd = socket(family, type, 0);
    if (family == AF_INET)
        addr.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else
        addr.in6.sin6_addr = in6addr_loopback;
    if (fd < 0 || bind(fd, &addr.sa, net_addr_len(&addr)) == 0)
        return fd;
    (void)close(fd);
    return -1;
}

static int make_nothing(int *peer)
{
    (void)peer;
    return -1;
}

static int make_tcp_bound(int *peer)
{
    (void)peer;
    return make_bound(AF_INET, SOCK_STREAM);
}

static int make_udp(int *peer)
{
    (void)peer;
    return make_bound(AF_INET, SOCK_DGRAM);
}

static int make_tcp_listening(int *peer)
{
    int fd = make_tcp_bound(peer);
    CHECK(fd < 0 || listen(fd, 1) == 0);
    return fd;
}

static int make_tcp6_listening(int *peer)
{
    (void)peer;
    int fd = make_bound(AF_INET6, SOCK_STREAM);
    CHECK(fd < 0 || listen(fd, 1) == 0);
    return fd;
}

/* Closing it resets the connection: otherwise the ports, which stay taken a while, would run out.
 */
static void reset_on_close(int fd)
{
    const struct linger linger = {.l_onoff = 1, .l_linger = 0};
    CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger) == 0);
}

static int make_tcp_connected(int *peer)
{
    union net_addr addr;
    int listener = make_tcp_listening(peer);
    if (listener < 0)
        return -1;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(net_local(listener, &addr) == 0 && connect(fd, &addr.sa, net_addr_len(&addr)) == 0);
    *peer = accept(listener, NULL, NULL);
    CHECK(*peer >= 0);
    (void)close(listener);
    reset_on_close(fd);
    reset_on_close(*peer);
    return fd;
}

static int make_tcp_reset(int *peer)
{
    int fd = make_tcp_connected(peer);
    if (fd >= 0)
        (void)close(*peer);
    *peer = -1;
    return fd;
}

static int make_unix_listening(int *peer)
{
    const struct sockaddr_un addr = {.sun_family = AF_UNIX}; /* the kernel chooses a name */
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    (void)peer;
    CHECK(fd >= 0 && bind(fd, (const struct sockaddr *)&addr, sizeof addr.sun_family) == 0);
    CHECK(listen(fd, 1) == 0);
    return fd;
}

static int make_pair(int type, int *peer)
{
    int fds[2];
    CHECK(socketpair(AF_UNIX, type, 0, fds) == 0);
    *peer = fds[1];
    return fds[0];
}

static int make_unix_connected(int *peer)
{
    return make_pair(SOCK_STREAM, peer);
}

static int make_unix_idle(int *peer)
{
    (void)peer;
    return socket(AF_UNIX, SOCK_STREAM, 0);
}

static int make_unix_datagram(int *peer)
{
    return make_pair(SOCK_DGRAM, peer);
}

static int make_unix_packets(int *peer)
{
    return make_pair(SOCK_SEQPACKET, peer);
}

static int make_netlink(int *peer)
{
    (void)peer;
    return socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
}

static int make_pipe(int *peer)
{
    int fds[2];
    CHECK(pipe(fds) == 0);
    *peer = fds[1];
    return fds[0];
}

static int make_device(int *peer)
{
    (void)peer;
    return open("/dev/null", O_RDWR);
}

static int make_event(int *peer)
{
    (void)peer;
    return eventfd(0, 0);
}

static int make_epoll(int *peer)
{
    (void)peer;
    return epoll_create1(0);
}

/* What net_inspect() must say of each. */
static const struct {
    make_fn *make;
    int inspected;
} kinds[] = {
    {make_nothing, -EBADF},
    {make_tcp_listening, NET_LISTENING},
    {make_tcp6_listening, NET_LISTENING},
    {make_unix_listening, NET_LISTENING},
    {make_tcp_connected, NET_CONNECTED},
    {make_tcp_reset, NET_CONNECTED},
    {make_unix_connected, NET_CONNECTED},
    {make_tcp_bound, -ENOTCONN},
    {make_unix_idle, -ENOTCONN},
    {make_udp, NET_DATAGRAM},
    {make_unix_datagram, NET_DATAGRAM},
    {make_unix_packets, -EPROTONOSUPPORT},
    {make_netlink, -EPROTONOSUPPORT},
    {make_pipe, -ENOTSOCK},
    {make_device, -ENOTSOCK},
    {make_event, -ENOTSOCK},
    {make_epoll, -ENOTSOCK},
};

enum { KINDS = sizeof kinds / sizeof *kinds };

/* ---- the manager ---- */

static struct {
    int fd; /* where it reads what it is told; 0 before the first input */
    union net_addr addr;
    char name[64];
    char pid[32];
} manager;

/* Gives fd a high number. Returns that, or -1 if fd is -1. */
static int move_away(int fd)
{
    if (fd < 0)
        return -1;
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, OWN_FD);
    CHECK(moved >= OWN_FD);
    (void)close(fd);
    return moved;
}

static void manager_open(void)
{
    (void)snprintf(manager.pid, sizeof manager.pid, "%ld", (long)getpid());
    (void)snprintf(manager.name, sizeof manager.name, "@uvechod-fuzz-%s", manager.pid);
    CHECK(net_unix(manager.name, &manager.addr) == 0);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    CHECK(fd >= 0 && bind(fd, &manager.addr.sa, net_addr_len(&manager.addr)) == 0);
    manager.fd = move_away(fd);
}

int __real_net_connect_datagram(const union net_addr *addr);
int __wrap_net_connect_datagram(const union net_addr *addr);

/* An input must not write to a socket of this machine. */
int __wrap_net_connect_datagram(const union net_addr *addr)
{
    if (memcmp(addr, &manager.addr, sizeof addr->un) != 0)
        return -ECONNREFUSED;
    return __real_net_connect_datagram(addr);
}

/* ---- a run ---- */

enum variable {
    LISTEN_FDS,
    LISTEN_PID,
    LISTEN_FDNAMES,
    WATCHDOG_USEC,
    WATCHDOG_PID,
    NOTIFY_SOCKET,
    VARIABLES,
};

static const char *const variable_names[VARIABLES] = {
    "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "WATCHDOG_USEC", "WATCHDOG_PID", "NOTIFY_SOCKET",
};

struct run {
    char *entries[VARIABLES]; /* NAME=value; NULL: not set */
    const char *values[VARIABLES];
    int stashed[FDS_MAX]; /* where the process's own descriptors are meanwhile, or -1 */
    int count;            /* of the descriptors that are passed */
    int inspected[PASSED_MAX];
    int peers[PASSED_MAX];
};

static void stash(struct run *run)
{
    for (int fd = PASSED_FD; fd < FDS_MAX; fd++)
        run->stashed[fd] = fcntl(fd, F_GETFD) >= 0 ? move_away(fd) : -1;
}

/* Puts the process's own descriptors back. The run must have closed all others. */
static void unstash(const struct run *run)
{
    for (int fd = PASSED_FD; fd < FDS_MAX; fd++) {
        CHECK(fcntl(fd, F_GETFD) < 0);
        if (run->stashed[fd] >= 0) {
            CHECK(dup3(run->stashed[fd], fd, O_CLOEXEC) == fd);
            (void)close(run->stashed[fd]);
        }
    }
}

/* Blocks the alarm by which libFuzzer looks for hangs: it would interrupt a connect(2). */
static int make_descriptor(unsigned kind, int *peer)
{
    sigset_t alarm;
    sigset_t before;
    (void)sigemptyset(&alarm);
    (void)sigaddset(&alarm, SIGALRM);
    CHECK(sigprocmask(SIG_BLOCK, &alarm, &before) == 0);
    int fd = kinds[kind].make(peer);
    CHECK(sigprocmask(SIG_SETMASK, &before, NULL) == 0);
    return fd;
}

static void take_descriptors(struct run *run, struct fuzz *fuzz)
{
    int made[PASSED_MAX];
    run->count = fuzz_byte(fuzz) % (PASSED_MAX + 1);
    for (int i = 0; i < run->count; i++) {
        int peer = -1;
        unsigned kind = fuzz_byte(fuzz) % KINDS;
        made[i] = move_away(make_descriptor(kind, &peer));
        run->peers[i] = move_away(peer);
        run->inspected[i] = made[i] < 0 ? -EBADF : kinds[kind].inspected;
    }
    for (int i = 0; i < run->count; i++) {
        if (made[i] < 0)
            continue;
        CHECK(dup2(made[i], PASSED_FD + i) == PASSED_FD + i); /* not close-on-exec, as by systemd */
        (void)close(made[i]);
    }
}

static void take_variable(struct run *run, enum variable variable, struct fuzz *fuzz)
{
    char *value = fuzz_string(fuzz);
    const char *self = variable == NOTIFY_SOCKET ? manager.name : manager.pid;
    const char *meant = strcmp(value, "self") == 0 ? self : value;
    size_t size = strlen(variable_names[variable]) + 1 + strlen(meant) + 1;
    char *entry = malloc(size);
    CHECK(entry != NULL);
    (void)snprintf(entry, size, "%s=%s", variable_names[variable], meant);
    run->entries[variable] = entry;
    run->values[variable] = strchr(entry, '=') + 1;
    free(value);
}

/* Whether text is the usual way to write a number from 1 to max. */
static bool is_number(const char *text, uint64_t max, uint64_t *number)
{
    char again[32];
    if (text == NULL)
        return false;
    *number = strtoull(text, NULL, 10);
    (void)snprintf(again, sizeof again, "%llu", (unsigned long long)*number);
    return strcmp(text, again) == 0 && *number >= 1 && *number <= max;
}

static bool is_self(const struct run *run, enum variable variable)
{
    return run->values[variable] != NULL && strcmp(run->values[variable], manager.pid) == 0;
}

static bool is_documented(int error)
{
    return error == -EINVAL || error == -ERANGE || error == -EBADF;
}

/* What the manager is told arrives as it is, or is refused for its length. */
static void check_notify(struct systemd *systemd, const char *text)
{
    char told[1024];
    size_t len = strlen(text);
    bool ok = systemd_notify(systemd, "%s", text);
    ssize_t n = recv(manager.fd, told, sizeof told, 0);
    CHECK(ok == (n > 0) && (len > 0 || !ok) && (len >= 512 || ok || len == 0));
    CHECK(!ok || ((size_t)n == len && memcmp(told, text, len) == 0));
}

static void check_manager(const struct run *run)
{
    struct systemd systemd;
    uint64_t usec;
    int rc = systemd_open(&systemd);
    CHECK(rc == 0 || (is_documented(rc) && systemd.watchdog_us == 0));
    if (run->values[WATCHDOG_USEC] == NULL)
        CHECK(systemd.watchdog_us == 0);
    else if (systemd_supported() && is_number(run->values[WATCHDOG_USEC], INT64_MAX, &usec) &&
             (run->values[WATCHDOG_PID] == NULL || is_self(run, WATCHDOG_PID)))
        CHECK(rc == 0 && systemd.watchdog_us == usec);
    if (systemd.notify_fd >= 0 && run->values[LISTEN_FDNAMES] != NULL) /* any text will do */
        check_notify(&systemd, run->values[LISTEN_FDNAMES]);
    CHECK(systemd.notify_fd >= 0 || systemd_notify(&systemd, "READY=1"));
    systemd_close(&systemd);
    CHECK(systemd.notify_fd == -1);
}

static const struct endpoint_kind *kind_of(int inspected)
{
    if (inspected == NET_DATAGRAM)
        return &endpoint_datagram;
    return inspected == NET_LISTENING ? &endpoint_listening : &endpoint_connected;
}

/* The first passed descriptor that cannot be served is named, and all of them are closed. */
static void check_adopt(const struct run *run, int first, int count, char **names)
{
    struct endpoints endpoints = {.count = 0};
    size_t bad;
    int rc = endpoints_adopt(&endpoints, first, (size_t)count, names, &bad);
    int good = 0;
    while (good < count && run->inspected[good] >= 0)
        good++;
    CHECK(good == count ? rc == 0 : rc == run->inspected[good] && bad == (size_t)good);
    CHECK(endpoints.count == (size_t)count);
    for (int i = 0; i < good; i++) {
        char text[NET_ADDR_STRLEN];
        CHECK(endpoints.list[i].kind == kind_of(run->inspected[i]));
        CHECK(strlen(net_format(&endpoints.list[i].bound, text)) < sizeof text);
    }
    if (rc == 0)
        endpoints_keep_alive(&endpoints, 60);
    endpoints_close(&endpoints);
}

/* How many sockets there are, if that is clear: a number, all of them open. Otherwise -1. */
static int clear_count(const struct run *run)
{
    uint64_t number;
    if (!is_self(run, LISTEN_PID))
        return run->values[LISTEN_PID] == NULL ? 0 : -1;
    if (!is_number(run->values[LISTEN_FDS], (uint64_t)run->count, &number))
        return -1;
    for (uint64_t i = 0; i < number; i++)
        if (run->inspected[i] == -EBADF)
            return -1;
    return (int)number;
}

static void check_sockets(const struct run *run)
{
    int first;
    char **names;
    int clear = clear_count(run);
    int count = systemd_sockets(&first, &names);
    CHECK(count <= run->count && (count >= 0 || is_documented(count)));
    bool names_fit = run->values[LISTEN_FDNAMES] == NULL || count != -EINVAL;
    CHECK(!systemd_supported() || clear < 0 || clear == count || !names_fit);
    CHECK((count > 0) == (names != NULL));
    for (int i = 0; i < count; i++)
        CHECK(names[i] != NULL && (fcntl(first + i, F_GETFD) & FD_CLOEXEC) != 0);
    CHECK(count <= 0 || (first == PASSED_FD && names[count] == NULL));
    for (int i = count > 0 ? count : 0; i < run->count; i++)
        if (run->inspected[i] != -EBADF) /* those that were not found are left alone */
            CHECK(close(PASSED_FD + i) == 0);
    if (count > 0)
        check_adopt(run, first, count, names);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = {data, size};
    struct run run = {.count = 0};
    char *environment[VARIABLES + 1] = {NULL};
    char **before = environ;
    unsigned set = fuzz_byte(&fuzz);
    if (manager.fd == 0)
        manager_open();
    stash(&run);
    take_descriptors(&run, &fuzz);
    for (int i = 0, n = 0; i < VARIABLES; i++) {
        if ((set >> i & 1) == 0)
            continue;
        take_variable(&run, (enum variable)i, &fuzz);
        environment[n++] = run.entries[i];
    }
    environ = environment;
    check_sockets(&run);
    check_manager(&run);
    environ = before;
    for (int i = 0; i < run.count; i++)
        if (run.peers[i] >= 0)
            (void)close(run.peers[i]);
    unstash(&run);
    for (int i = 0; i < VARIABLES; i++)
        free(run.entries[i]);
    return 0;
}
