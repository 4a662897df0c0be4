/*
 * ledger1.c - an echo daemon of version 1 of the ledger, which stays as it is.
 *
 * It has been written from the description of that version, and includes no file of src/. So what
 * it does is what an older or newer release does with our connections, and we with its: it is
 * executed in the place of the daemon by SIGUSR2, goes on with every connection, and by another
 * SIGUSR2 executes whatever its path leads to then.
 *
 * It is as simple as the ledger allows: one thread, and one chunk at a time. It never splices, but
 * sends what is left in pipes. It has no timeouts and no statistics, looks at no option but the
 * question whether it could take over, and ends at once by SIGTERM. A Unix client is ended if its
 * answer stands in a buffer, because nobody counts its bytes, and forgotten if no entry knows it.
 */
#include "ledger1.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <linux/tcp.h> /* not <netinet/tcp.h>, whose struct tcp_info is shorter */
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WATCHED_MAX = 1024, ARGS_MAX = 100, ANSWER_MAX = 256 };

enum role { SIGNALS, LISTENER, CLIENT, ENDED };

struct watched {
    enum role role;
    uint32_t out; /* of a client: bytes that the kernel has taken, modulo 2^32 */
};

struct daemon {
    char **argv;
    char *ledger;   /* the whole file, mapped */
    uint64_t bytes; /* of the file */
    struct ledger1_header *header;
    struct ledger1_entry *entries;
    struct ledger1_echo echo;
    bool *lent; /* the buffers, by their numbers */
    struct watched watched[WATCHED_MAX];
    struct pollfd polled[WATCHED_MAX]; /* the same, in the same order */
    size_t count;
};

static void die(const char *what)
{
    perror(what);
    exit(1);
}

/* ---- the ledger ---- */

static uint32_t load(const _Atomic uint32_t *field)
{
    return atomic_load_explicit(field, memory_order_relaxed);
}

static void store(_Atomic uint32_t *field, uint32_t value)
{
    atomic_store_explicit(field, value, memory_order_release);
}

static uint32_t kind_of(const struct ledger1_entry *entry)
{
    return load(&entry->place) & LEDGER1_KIND;
}

static uint32_t number_of(const struct ledger1_entry *entry)
{
    return load(&entry->place) & LEDGER1_NUMBER;
}

/* The answer stands there from now on. */
static void note(struct ledger1_entry *entry, uint32_t kind, uint32_t number)
{
    uint32_t rest = load(&entry->place) & ~(LEDGER1_KIND | LEDGER1_NUMBER);
    store(&entry->place, rest | kind | number);
}

/* received bytes have been received, and their answer of len bytes follows the first out bytes. */
static void note_answer(struct ledger1_entry *entry, uint32_t received, uint32_t len, uint32_t out)
{
    store(&entry->len, len);
    store(&entry->goal, out + len);
    store(&entry->received, load(&entry->received) + received);
}

/* The descriptor is about to be closed. */
static void note_left(struct ledger1_entry *entry)
{
    store(&entry->place, (load(&entry->place) & ~LEDGER1_SERVED) | LEDGER1_LEFT);
}

/* Buffer 0 is the last one of the file. */
static char *buffer_of(const struct daemon *daemon, uint32_t number)
{
    return daemon->ledger + daemon->bytes -
           (uint64_t)(number + 1) * daemon->header->layout.buffer_bytes;
}

/* Returns the lowest number of a buffer that is not lent, or the number of buffers. */
static uint32_t buffer_lend(struct daemon *daemon)
{
    const uint32_t buffers = daemon->header->layout.buffers;
    uint32_t number = 0;
    while (number < buffers && daemon->lent[number])
        number++;
    if (number < buffers)
        daemon->lent[number] = true;
    return number;
}

/* Closes both ends of a pipe, of which this is the reading one. */
static void pipe_close(struct daemon *daemon, uint32_t end)
{
    uint32_t other = number_of(&daemon->entries[end]);
    note_left(&daemon->entries[end]);
    note_left(&daemon->entries[other]);
    (void)close((int)end);
    (void)close((int)other);
}

/* There is no answer any more. */
static void release(struct daemon *daemon, struct ledger1_entry *entry)
{
    const uint32_t kind = kind_of(entry);
    const uint32_t number = number_of(entry);
    note(entry, LEDGER1_NOTHING, 0);
    if (kind == LEDGER1_BUFFER)
        daemon->lent[number] = false;
    if (kind == LEDGER1_PIPE)
        pipe_close(daemon, number);
}

/* ---- clients ---- */

static struct ledger1_entry *entry_of(const struct daemon *daemon, size_t i)
{
    return &daemon->entries[daemon->polled[i].fd];
}

static void watch(struct daemon *daemon, int fd, enum role role, uint32_t out)
{
    if (daemon->count == WATCHED_MAX)
        die("too many descriptors");
    daemon->polled[daemon->count] = (struct pollfd){.fd = fd, .events = POLLIN};
    daemon->watched[daemon->count++] = (struct watched){.role = role, .out = out};
}

/* Begins to serve a client that has moved no byte, or ends it if there is no room. */
static void begin(struct daemon *daemon, int fd, uint32_t service)
{
    struct ledger1_header *header = daemon->header;
    if ((uint32_t)fd >= header->layout.entries || daemon->count == WATCHED_MAX) {
        (void)close(fd);
        return;
    }
    struct ledger1_entry *entry = &daemon->entries[fd];
    if ((uint32_t)fd >= load(&header->filled))
        store(&header->filled, (uint32_t)fd + 1); /* the stores below provide the memory */
    store(&entry->place, 0);
    store(&entry->received, 0);
    store(&entry->goal, 0);
    store(&entry->len, 0);
    store(&entry->place, LEDGER1_SERVED | service);
    header->past.accepted++;
    watch(daemon, fd, CLIENT, 0);
}

/* Ends a client. The last one of the list takes its place there. */
static void drop(struct daemon *daemon, size_t i)
{
    struct ledger1_entry *entry = entry_of(daemon, i);
    note_left(entry);
    release(daemon, entry);
    (void)close(daemon->polled[i].fd);
    daemon->count--;
    daemon->polled[i] = daemon->polled[daemon->count];
    daemon->watched[i] = daemon->watched[daemon->count];
}

/* Returns whether the client goes on. */
static bool receive(struct daemon *daemon, size_t i)
{
    const struct ledger1_echo *echo = &daemon->echo;
    const uint32_t buffer_bytes = daemon->header->layout.service[0].buffer_bytes;
    const uint32_t room = echo->prefix_len > 0 ? echo->chunk : buffer_bytes;
    struct ledger1_entry *entry = entry_of(daemon, i);
    const uint32_t number = buffer_lend(daemon);
    if (number == daemon->header->layout.buffers)
        return false;
    char *buffer = buffer_of(daemon, number);
    memcpy(buffer, echo->prefix, echo->prefix_len);
    note(entry, LEDGER1_BUFFER, number);
    ssize_t n = recv(daemon->polled[i].fd, buffer + echo->prefix_len, room, 0);
    if (n <= 0) {
        release(daemon, entry);
        return n < 0 && errno == EAGAIN;
    }
    note_answer(entry, (uint32_t)n, echo->prefix_len + (uint32_t)n, daemon->watched[i].out);
    daemon->header->past.bytes_in += (uint64_t)n;
    return true;
}

/* Sends what it can of len bytes, the end of the answer. Returns as send(2). */
static ssize_t send_rest(const struct daemon *daemon, size_t i, uint32_t len)
{
    const struct ledger1_entry *entry = entry_of(daemon, i);
    const int fd = daemon->polled[i].fd;
    if (kind_of(entry) == LEDGER1_PIPE)
        return splice((int)number_of(entry), NULL, fd, NULL, len, SPLICE_F_NONBLOCK);
    const char *buffer = buffer_of(daemon, number_of(entry));
    return send(fd, buffer + load(&entry->len) - len, len, MSG_NOSIGNAL);
}

/* Returns whether the client goes on. */
static bool answer(struct daemon *daemon, size_t i)
{
    struct ledger1_entry *entry = entry_of(daemon, i);
    struct watched *client = &daemon->watched[i];
    uint32_t left = load(&entry->goal) - client->out;
    if (left > 0) {
        ssize_t n = send_rest(daemon, i, left);
        if (n <= 0)
            return n < 0 && errno == EAGAIN;
        client->out += (uint32_t)n;
        left -= (uint32_t)n;
        daemon->header->past.bytes_out += (uint64_t)n;
    }
    if (left == 0)
        release(daemon, entry);
    return true;
}

static void serve(struct daemon *daemon, size_t i)
{
    const struct ledger1_entry *entry = entry_of(daemon, i);
    bool goes_on = kind_of(entry) != LEDGER1_NOTHING || receive(daemon, i);
    if (goes_on && kind_of(entry) != LEDGER1_NOTHING)
        goes_on = answer(daemon, i);
    if (!goes_on)
        drop(daemon, i);
    else
        daemon->polled[i].events = kind_of(entry) == LEDGER1_NOTHING ? POLLIN : POLLOUT;
}

/* Our FIN has been sent. What still comes is thrown away, until the peer's FIN. */
static void discard(struct daemon *daemon, size_t i)
{
    char bytes[4096];
    ssize_t n = recv(daemon->polled[i].fd, bytes, sizeof bytes, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN))
        drop(daemon, i);
}

/* A successor needs the descriptors, so they are not close-on-exec. */
static void accept_clients(struct daemon *daemon, size_t i)
{
    const uint32_t service = load(&entry_of(daemon, i)->place) & LEDGER1_SERVICE;
    int fd;
    while ((fd = accept4(daemon->polled[i].fd, NULL, NULL, SOCK_NONBLOCK)) >= 0)
        begin(daemon, fd, service);
}

/* ---- the takeover ---- */

/*
 * Stores how many bytes a TCP connection has received and sent; the kernel counts a FIN as a byte.
 * Returns false if nobody can say: of a Unix socket, and when the connection is gone.
 */
static bool count(int fd, uint32_t *in, uint32_t *out)
{
    enum { CLOSED = 7 }; /* as the kernel numbers states, of which these have counted a FIN: */
    enum { IN_FINS = 1 << 8 | 1 << 9 | 1 << 11, OUT_FINS = 1 << 4 | 1 << 5 | 1 << 9 | 1 << 11 };
    struct tcp_info before;
    struct tcp_info now;
    socklen_t len = sizeof now;
    unsigned unread;
    unsigned unacked;
    do {
        if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &before, &len) < 0 ||
            ioctl(fd, SIOCINQ, &unread) < 0 || ioctl(fd, SIOCOUTQ, &unacked) < 0 ||
            getsockopt(fd, IPPROTO_TCP, TCP_INFO, &now, &len) < 0 || now.tcpi_state == CLOSED)
            return false;
    } while (before.tcpi_bytes_received != now.tcpi_bytes_received ||
             before.tcpi_bytes_acked != now.tcpi_bytes_acked ||
             before.tcpi_state != now.tcpi_state);
    *in = (uint32_t)now.tcpi_bytes_received - unread - (IN_FINS >> now.tcpi_state & 1);
    *out = (uint32_t)now.tcpi_bytes_acked + unacked - (OUT_FINS >> now.tcpi_state & 1);
    return true;
}

/* Notes the answer to what was received; before each chunk, and the rest, is a prefix. */
static void settle_unanswered(const struct daemon *daemon, struct ledger1_entry *entry,
                              uint32_t received, uint32_t out)
{
    const struct ledger1_echo *echo = &daemon->echo;
    const uint32_t chunks = (received + echo->chunk - 1) / echo->chunk;
    note_answer(entry, received, received + chunks * echo->prefix_len, out);
}

/* Brings the entry of a client in order. Returns whether the client goes on. */
static bool settle(struct daemon *daemon, size_t i)
{
    struct ledger1_entry *entry = entry_of(daemon, i);
    const bool piped = kind_of(entry) == LEDGER1_PIPE;
    uint32_t in = load(&entry->received);
    uint32_t out = load(&entry->goal);
    unsigned left;
    bool counted = count(daemon->polled[i].fd, &in, &out);
    if (piped ? ioctl((int)number_of(entry), FIONREAD, &left) < 0 : !counted)
        return false;
    if (in != load(&entry->received))
        settle_unanswered(daemon, entry, in - load(&entry->received), out);
    daemon->watched[i].out = piped ? load(&entry->goal) - left : out;
    daemon->polled[i].events = POLLOUT;
    return true;
}

/* The port to which a TCP socket is bound; 0: it is no such socket. */
static in_port_t port_of(int fd)
{
    struct sockaddr_storage addr = {.ss_family = AF_UNSPEC};
    socklen_t len = sizeof addr;
    (void)getsockname(fd, (struct sockaddr *)&addr, &len);
    if (addr.ss_family == AF_INET)
        return ((struct sockaddr_in *)&addr)->sin_port;
    return addr.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&addr)->sin6_port : 0;
}

/*
 * No entry serves the descriptor. It is a client if it has the port of a listener: one that was
 * accepted and has moved no byte, or one that was about to be closed.
 */
static void adopt(struct daemon *daemon, int fd)
{
    const in_port_t port = port_of(fd);
    const struct pollfd *polled = daemon->polled;
    uint32_t in;
    uint32_t out;
    size_t i = 1;
    while (i < daemon->count &&
           (daemon->watched[i].role != LISTENER || port_of(polled[i].fd) != port))
        i++;
    if (port == 0 || i == daemon->count)
        return;
    if (count(fd, &in, &out) && in == 0 && out == 0)
        begin(daemon, fd, load(&entry_of(daemon, i)->place) & LEDGER1_SERVICE);
    else
        (void)close(fd);
}

static bool is_listener(uint32_t place)
{
    return (place & (LEDGER1_SERVED | LEDGER1_END | LEDGER1_KIND)) == LEDGER1_LISTENER;
}

static void take_listener(struct daemon *daemon, int fd, uint32_t place)
{
    if (is_listener(place))
        watch(daemon, fd, LISTENER, 0);
}

/* What was under way on a client that is being ended is lost. */
static void take_client(struct daemon *daemon, int fd, uint32_t place)
{
    struct ledger1_entry *entry = &daemon->entries[fd];
    if (is_listener(place))
        return;
    if ((place & LEDGER1_SERVED) == 0) {
        adopt(daemon, fd);
    } else if ((place & LEDGER1_END) != LEDGER1_OPEN) {
        release(daemon, entry);
        (void)shutdown(fd, SHUT_WR);
        watch(daemon, fd, ENDED, 0);
    } else {
        watch(daemon, fd, CLIENT, load(&entry->goal));
        if (kind_of(entry) != LEDGER1_NOTHING && !settle(daemon, daemon->count - 1))
            drop(daemon, daemon->count - 1);
    }
}

/* Calls take for each open descriptor, with the place of its entry. */
static void take_each(struct daemon *daemon, void (*take)(struct daemon *, int, uint32_t))
{
    DIR *folder = opendir("/proc/self/fd");
    if (folder == NULL)
        die("/proc/self/fd");
    for (const struct dirent *name; (name = readdir(folder)) != NULL;) {
        char *rest;
        const long fd = strtol(name->d_name, &rest, 10);
        if (*rest != '\0' || fd <= STDERR_FILENO || fd == dirfd(folder))
            continue;
        const bool known = (uint32_t)fd < daemon->header->layout.entries;
        take(daemon, (int)fd, known ? load(&daemon->entries[fd].place) : 0);
    }
    (void)closedir(folder);
}

static void take_over(struct daemon *daemon)
{
    for (uint32_t fd = 0; fd < load(&daemon->header->filled); fd++) {
        const struct ledger1_entry *entry = &daemon->entries[fd];
        if ((load(&entry->place) & LEDGER1_SERVED) != 0 && kind_of(entry) == LEDGER1_BUFFER)
            daemon->lent[number_of(entry)] = true;
    }
    take_each(daemon, take_listener);
    const size_t others = daemon->count;
    take_each(daemon, take_client);
    daemon->header->past.generations++; /* the predecessor has ended */
    (void)fprintf(stderr, "Version 1 has taken over: clients: %zu\n", daemon->count - others);
}

/* ---- upgrades ---- */

/* Starts the program that is to be executed, and waits for its answer. */
static bool ask(const struct daemon *daemon, char answer[static ANSWER_MAX])
{
    static char option[] = LEDGER1_OPTION;
    char *argv[ARGS_MAX + 2] = {daemon->argv[0], option};
    int ends[2];
    int status = -1;
    size_t len = 0;
    for (size_t i = 1; i < ARGS_MAX && daemon->argv[i] != NULL; i++)
        argv[i + 1] = daemon->argv[i];
    if (pipe2(ends, O_CLOEXEC) < 0)
        die("pipe2");
    pid_t pid = fork();
    if (pid == 0) {
        (void)dup2(ends[1], STDOUT_FILENO);
        (void)dup2(ends[1], STDERR_FILENO);
        (void)execv(argv[0], argv);
        _exit(127);
    }
    (void)close(ends[1]);
    for (ssize_t n; (n = read(ends[0], answer + len, ANSWER_MAX - 1 - len)) > 0;)
        len += (size_t)n;
    (void)close(ends[0]);
    answer[len] = '\0';
    return waitpid(pid, &status, 0) == pid && status == 0 && strcmp(answer, LEDGER1_YES) == 0;
}

/* The variable of the environment still says where the ledger is. */
static void upgrade(struct daemon *daemon)
{
    char answer[ANSWER_MAX];
    struct timespec now;
    if (!ask(daemon, answer)) {
        (void)fprintf(stderr, "Version 1 cannot upgrade: the answer is: %s\n", answer);
        return;
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    daemon->header->past.left_ns = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
    (void)execv(daemon->argv[0], daemon->argv);
    perror("Version 1 cannot upgrade");
}

static void handle_signal(struct daemon *daemon)
{
    struct signalfd_siginfo info;
    if (read(daemon->polled[0].fd, &info, sizeof info) != sizeof info)
        die("signalfd");
    if (info.ssi_signo == SIGUSR2)
        upgrade(daemon);
    else
        exit(0);
}

/* ---- the start ---- */

static bool is_known(int file)
{
    struct ledger1_header header;
    return pread(file, &header, sizeof header, 0) == sizeof header &&
           memcmp(header.magic, LEDGER1_MAGIC, sizeof header.magic) == 0 && header.version == 1 &&
           header.entry_bytes == sizeof(struct ledger1_entry) && header.layout.services == 1 &&
           header.layout.service[0].record_bytes == sizeof(struct ledger1_echo);
}

static void open_ledger(struct daemon *daemon, int file)
{
    struct stat status;
    if (fstat(file, &status) < 0)
        die("the ledger");
    daemon->bytes = (uint64_t)status.st_size;
    daemon->ledger =
        mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (daemon->ledger == MAP_FAILED)
        die("the ledger");
    daemon->header = (void *)daemon->ledger;
    daemon->entries = (void *)(daemon->ledger + daemon->header->header_bytes);
    memcpy(&daemon->echo, daemon->header->layout.service[0].record, sizeof daemon->echo);
    daemon->lent = calloc(daemon->header->layout.buffers, sizeof *daemon->lent);
    if (daemon->lent == NULL)
        die("calloc");
}

/* The predecessor has blocked them. Those that have come since are waiting. */
static void open_signals(struct daemon *daemon)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGUSR2);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    int fd = signalfd(-1, &set, SFD_CLOEXEC);
    if (fd < 0)
        die("signalfd");
    watch(daemon, fd, SIGNALS, 0);
}

/* From the last one on, because a client that ends is replaced by the last one. */
static void run(struct daemon *daemon)
{
    static void (*const act[])(struct daemon *, size_t) = {
        [LISTENER] = accept_clients, [CLIENT] = serve, [ENDED] = discard};
    for (;;) {
        if (poll(daemon->polled, daemon->count, -1) < 0)
            die("poll");
        for (size_t i = daemon->count - 1; i > 0; i--)
            if (daemon->polled[i].revents != 0)
                act[daemon->watched[i].role](daemon, i);
        if (daemon->polled[0].revents != 0)
            handle_signal(daemon);
    }
}

int main(int argc, char **argv)
{
    static struct daemon daemon;
    const char *number = getenv(LEDGER1_VARIABLE);
    const int file = number != NULL ? (int)strtol(number, NULL, 10) : -1;
    if (!is_known(file)) {
        (void)fprintf(stderr, "Version 1 cannot take over: the ledger is of another version\n");
        return 1;
    }
    if (argc > 1 && strcmp(argv[1], LEDGER1_OPTION) == 0)
        return fputs(LEDGER1_YES, stdout) >= 0 && fflush(stdout) == 0 ? 0 : 1;
    daemon.argv = argv;
    open_ledger(&daemon, file);
    open_signals(&daemon);
    take_over(&daemon);
    run(&daemon);
}
