/*
 * faults.c - the functions of the C library that can fail, in front of the real ones.
 *
 * Built without sanitizers, because the program's start calls malloc() before they are ready. Some
 * headers are not included, because their prototypes have types that only the C library can use:
 * the prototypes here have types of the same sizes.
 */
#include "torture/faults.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { FAULTS_FDS = 4096 };

static struct fault_page *faults_page; /* NULL: nothing fails */
static atomic_bool faults_waker[FAULTS_FDS];
static pid_t faults_keeper;            /* whose calls are untouched; 0: there is none */
static _Thread_local bool faults_dies; /* of the page's call, when it has been made */

/*
 * The function behind ours. A sanitizer that is linked in statically has a name of its own for its
 * version; one in a library comes next, as the C library does.
 */
#define REAL(name)                                                                                 \
    __extension__({                                                                                \
        extern __typeof__(name) __interceptor_##name __attribute__((weak));                        \
        static __typeof__(&name) real;                                                             \
        if (real == NULL)                                                                          \
            real = (__typeof__(&name))__interceptor_##name; /* a type may lose its noreturn */     \
        if (real == NULL)                                                                          \
            real = (__typeof__(&name))dlsym(RTLD_NEXT, #name);                                     \
        real;                                                                                      \
    })

/* Whether the daemon is killed at calls, and not by this process. */
static bool faults_kills(void)
{
    return faults_keeper != 0 && getpid() != faults_keeper;
}

/*
 * Ends the process. By the system call itself, because the function's calls count. Nobody waits for
 * the program any more that this process may have asked.
 */
static void faults_die(void)
{
    faults_page->asking = false;
    (void)syscall(SYS_kill, getpid(), SIGKILL);
}

/* Counts a call, and returns whether the call shall fail; errno says how. */
static bool faults_strike(enum fault_call call, int fd)
{
    struct fault_page *page = faults_page;
    if (page == NULL)
        return false;
    page->total++;
    if (!page->armed || page->kept != faults_kills() || (fd >= 0 && fd == page->spared))
        return false;
    unsigned nth = ++page->counts[call];
    if (call != page->call || nth < page->first || nth - page->first >= page->times)
        return false;
    faults_dies = page->error == FAULT_KILL_AFTER;
    if (faults_dies)
        return false;
    page->struck++;
    if (page->error == FAULT_KILL_BEFORE)
        faults_die();
    errno = page->error;
    return true;
}

/*
 * The call has been made. Others that were made in it are not the one that counts. A wait may have
 * lasted until nothing fails any more.
 */
static void faults_made(enum fault_call call)
{
    struct fault_page *page = faults_page;
    if (page == NULL || !faults_dies || call != page->call || !page->armed)
        return;
    page->struck++;
    faults_die();
}

/* What a real function returns, if this process lives on. */
#define MADE(call, real)                                                                           \
    __extension__({                                                                                \
        __auto_type result = (real);                                                               \
        faults_made(FAULT_##call);                                                                 \
        result;                                                                                    \
    })

/* The same for a call that moves bytes. A short call is made, with *len lowered. */
static bool faults_strike_bytes(enum fault_call call, int fd, size_t *len)
{
    if (!faults_strike(call, fd))
        return false;
    if (faults_page->error != FAULT_SHORT)
        return true;
    *len = *len > 0;
    return false;
}

/* Notes whether eventfd or pipe2 has made the descriptor. */
static void faults_note_waker(int fd, bool waker)
{
    if (fd >= 0 && fd < FAULTS_FDS)
        faults_waker[fd] = waker;
}

static bool faults_is_waker(int fd)
{
    return fd >= 0 && fd < FAULTS_FDS && faults_waker[fd];
}

/* A function that returns failed, and the errno, when it fails. */
#define FAULT(type, name, call, fd, failed, parameters, arguments)                                 \
    type name parameters;                                                                          \
    type name parameters                                                                           \
    {                                                                                              \
        return faults_strike(FAULT_##call, fd) ? (failed) : MADE(call, REAL(name) arguments);      \
    }

/* A function that returns its error. */
#define FAULT_CODE(name, parameters, arguments)                                                    \
    int name parameters;                                                                           \
    int name parameters                                                                            \
    {                                                                                              \
        return faults_strike(FAULT_##name, -1) ? faults_page->error                                \
                                               : MADE(name, REAL(name) arguments);                 \
    }

/* ---- memory ---- */

FAULT(void *, malloc, malloc, -1, NULL, (size_t size), (size))
FAULT(void *, calloc, calloc, -1, NULL, (size_t count, size_t size), (count, size))
FAULT(void *, realloc, realloc, -1, NULL, (void *memory, size_t size), (memory, size))
FAULT(void *, mmap, mmap, -1, MAP_FAILED,
      (void *at, size_t len, int protection, int flags, int fd, off_t offset),
      (at, len, protection, flags, fd, offset))
FAULT(int, munmap, munmap, -1, -1, (void *at, size_t len), (at, len))
FAULT(int, madvise, madvise, -1, -1, (void *at, size_t len, int advice), (at, len, advice))
FAULT(int, memfd_create, memfd_create, -1, -1, (const char *name, unsigned flags), (name, flags))
FAULT(int, ftruncate, ftruncate, fd, -1, (int fd, off_t bytes), (fd, bytes))
FAULT(int, fallocate, fallocate, fd, -1, (int fd, int mode, off_t at, off_t bytes),
      (fd, mode, at, bytes))

/* ---- sockets ---- */

FAULT(int, socket, socket, -1, -1, (int family, int type, int protocol), (family, type, protocol))
FAULT(int, bind, bind, fd, -1, (int fd, const void *addr, unsigned len), (fd, addr, len))
FAULT(int, connect, connect, fd, -1, (int fd, const void *addr, unsigned len), (fd, addr, len))
FAULT(int, getsockname, getsockname, fd, -1, (int fd, void *addr, unsigned *len), (fd, addr, len))
FAULT(int, getpeername, getpeername, fd, -1, (int fd, void *addr, unsigned *len), (fd, addr, len))
FAULT(int, getsockopt, getsockopt, fd, -1,
      (int fd, int level, int option, void *value, unsigned *len), (fd, level, option, value, len))
FAULT(int, setsockopt, setsockopt, fd, -1,
      (int fd, int level, int option, const void *value, unsigned len),
      (fd, level, option, value, len))
FAULT(int, recvmmsg, recvmmsg, fd, -1,
      (int fd, void *messages, unsigned count, int flags, void *limit),
      (fd, messages, count, flags, limit))
FAULT(int, sendmmsg, sendmmsg, fd, -1, (int fd, void *messages, unsigned count, int flags),
      (fd, messages, count, flags))
FAULT(ssize_t, getrandom, getrandom, -1, -1, (void *bytes, size_t len, unsigned flags),
      (bytes, len, flags))
FAULT(int, shutdown, shutdown, fd, -1, (int fd, int how), (fd, how))

/* Tells the test the port, because the line of the log that says so may be what fails. */
static void faults_note_port(int fd)
{
    unsigned char addr[128]; /* family and port stand in front, in both families */
    unsigned len = sizeof addr;
    if (faults_page == NULL || REAL(getsockname)(fd, addr, &len) != 0)
        return;
    if ((addr[0] | addr[1]) != 1) /* AF_UNIX, of the metrics */
        faults_page->port = addr[2] << 8 | addr[3];
}

int listen(int fd, int backlog);
int listen(int fd, int backlog)
{
    int rc = faults_strike(FAULT_listen, fd) ? -1 : MADE(listen, REAL(listen)(fd, backlog));
    if (rc == 0)
        faults_note_port(fd);
    return rc;
}

int accept4(int fd, void *addr, unsigned *len, int flags);
int accept4(int fd, void *addr, unsigned *len, int flags)
{
    if (faults_strike(FAULT_accept4, fd))
        return -1;
    int client = MADE(accept4, REAL(accept4)(fd, addr, len, flags));
    if (client >= 0 && faults_page != NULL)
        faults_page->accepted = client;
    return client;
}

ssize_t recv(int fd, void *buf, size_t len, int flags);
ssize_t recv(int fd, void *buf, size_t len, int flags)
{
    return faults_strike_bytes(FAULT_recv, fd, &len) ? -1
                                                     : MADE(recv, REAL(recv)(fd, buf, len, flags));
}

ssize_t send(int fd, const void *buf, size_t len, int flags);
ssize_t send(int fd, const void *buf, size_t len, int flags)
{
    return faults_strike_bytes(FAULT_send, fd, &len) ? -1
                                                     : MADE(send, REAL(send)(fd, buf, len, flags));
}

/* The beginning of struct msghdr. */
struct faults_message {
    void *name;
    unsigned name_len;
    struct {
        void *base;
        size_t len;
    } * iov;
    size_t iov_count;
};

ssize_t recvmsg(int fd, struct faults_message *message, int flags);
ssize_t recvmsg(int fd, struct faults_message *message, int flags)
{
    size_t first = message->iov_count > 0 ? message->iov[0].len : 0;
    size_t count = message->iov_count;
    size_t len = first;
    if (faults_strike_bytes(FAULT_recvmsg, fd, &len))
        return -1;
    if (len == first)
        return MADE(recvmsg, REAL(recvmsg)(fd, message, flags));
    message->iov[0].len = len;
    message->iov_count = 1;
    ssize_t n = REAL(recvmsg)(fd, message, flags);
    message->iov[0].len = first;
    message->iov_count = count;
    return n;
}

ssize_t splice(int from, off_t *from_at, int to, off_t *to_at, size_t len, unsigned flags)
{
    int fd = faults_page != NULL && to == faults_page->spared ? to : from;
    enum fault_call call = faults_is_waker(from) ? FAULT_splice_out : FAULT_splice;
    if (faults_strike_bytes(call, fd, &len))
        return -1;
    ssize_t n = REAL(splice)(from, from_at, to, to_at, len, flags);
    faults_made(call);
    return n;
}

FAULT_CODE(getaddrinfo, (const char *name, const char *service, const void *hints, void **found),
           (name, service, hints, found))
FAULT_CODE(getnameinfo,
           (const void *addr, unsigned len, char *host, unsigned host_len, char *service,
            unsigned service_len, int flags),
           (addr, len, host, host_len, service, service_len, flags))

/* ---- descriptors ---- */

/* Linux closes the descriptor whatever close(2) returns. */
int close(int fd)
{
    faults_note_waker(fd, false);
    bool strikes = faults_strike(FAULT_close, fd);
    int error = errno;
    int rc = MADE(close, REAL(close)(fd));
    if (strikes)
        errno = error;
    return strikes ? -1 : rc;
}

int eventfd(unsigned count, int flags);
int eventfd(unsigned count, int flags)
{
    int fd = faults_strike(FAULT_eventfd, -1) ? -1 : MADE(eventfd, REAL(eventfd)(count, flags));
    faults_note_waker(fd, true);
    return fd;
}

int pipe2(int fds[2], int flags)
{
    if (faults_strike(FAULT_pipe2, -1) || MADE(pipe2, REAL(pipe2)(fds, flags)) < 0)
        return -1;
    faults_note_waker(fds[0], true);
    faults_note_waker(fds[1], true);
    return 0;
}

ssize_t write(int fd, const void *buf, size_t len)
{
    enum fault_call call = faults_is_waker(fd) ? FAULT_wake : FAULT_write;
    if (faults_strike_bytes(call, fd, &len))
        return -1;
    ssize_t n = REAL(write)(fd, buf, len);
    faults_made(call);
    return n;
}

FAULT(ssize_t, pread, pread, fd, -1, (int fd, void *buf, size_t len, off_t at), (fd, buf, len, at))
FAULT(ssize_t, pwrite, pwrite, fd, -1, (int fd, const void *buf, size_t len, off_t at),
      (fd, buf, len, at))
FAULT(ssize_t, read, read, fd, -1, (int fd, void *buf, size_t len), (fd, buf, len))
FAULT(int, poll, poll, -1, -1, (struct pollfd * fds, nfds_t count, int ms), (fds, count, ms))
FAULT(int, epoll_create1, epoll_create1, -1, -1, (int flags), (flags))

/*
 * The kernel refuses a new watch only. That a watch is there already is found out first. A refusal
 * of a descriptor that is libuv's own ends the process, and no caller can do anything about that.
 */
int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
    if (faults_kills())
        (void)faults_strike(FAULT_epoll_ctl, fd);
    int rc = MADE(epoll_ctl, REAL(epoll_ctl)(epoll, operation, fd, event));
    if (faults_kills() || operation != EPOLL_CTL_ADD || rc < 0 || faults_is_waker(fd) ||
        !faults_strike(FAULT_epoll_ctl, fd))
        return rc;
    int error = errno;
    (void)REAL(epoll_ctl)(epoll, EPOLL_CTL_DEL, fd, NULL);
    errno = error;
    return -1;
}

/* A loop that sleeps has run all its tasks. The first thread's loop does so when it has started. */
static bool faults_sleep(int ms)
{
    if (faults_page != NULL && ms != 0 && gettid() == getpid()) {
        faults_page->executing = false;
        faults_page->sleeps++;
    }
    return faults_strike(FAULT_epoll_wait, -1);
}

int epoll_wait(int epoll, struct epoll_event *events, int most, int ms)
{
    return faults_sleep(ms) ? -1 : MADE(epoll_wait, REAL(epoll_wait)(epoll, events, most, ms));
}

int epoll_pwait(int epoll, struct epoll_event *events, int most, int ms, const sigset_t *mask)
{
    return faults_sleep(ms) ? -1
                            : MADE(epoll_wait, REAL(epoll_pwait)(epoll, events, most, ms, mask));
}

/* The flags of a descriptor that is open can always be read and set. */
static bool faults_is_of_flags(enum fault_call call, int request)
{
    return !faults_kills() && call == FAULT_fcntl && (request == F_GETFD || request == F_SETFD);
}

/* The third argument, where there is one, is a number or a pointer. */
#define FAULT_CONTROL(name, call, type)                                                            \
    int name(int fd, type request, ...);                                                           \
    int name(int fd, type request, ...)                                                            \
    {                                                                                              \
        va_list arguments;                                                                         \
        va_start(arguments, request);                                                              \
        void *argument = va_arg(arguments, void *);                                                \
        va_end(arguments);                                                                         \
        bool fails =                                                                               \
            !faults_is_of_flags(FAULT_##call, (int)request) && faults_strike(FAULT_##call, fd);    \
        return fails ? -1 : MADE(call, REAL(name)(fd, request, argument));                         \
    }

FAULT_CONTROL(fcntl, fcntl, int)
FAULT_CONTROL(fcntl64, fcntl, int)
FAULT_CONTROL(ioctl, ioctl, unsigned long)

/* ---- files ---- */

#define FAULT_OPEN(name)                                                                           \
    int name(const char *path, int flags, ...)                                                     \
    {                                                                                              \
        va_list arguments;                                                                         \
        va_start(arguments, flags);                                                                \
        unsigned mode = va_arg(arguments, unsigned);                                               \
        va_end(arguments);                                                                         \
        return faults_strike(FAULT_open, -1) ? -1 : MADE(open, REAL(name)(path, flags, mode));     \
    }

FAULT_OPEN(open)
FAULT_OPEN(open64)
FAULT(int, fstat, fstat, fd, -1, (int fd, struct stat *file), (fd, file))
FAULT(int, lstat, lstat, -1, -1, (const char *path, struct stat *file), (path, file))
FAULT(int, access, access, -1, -1, (const char *path, int mode), (path, mode))
FAULT(ssize_t, readlink, readlink, -1, -1, (const char *path, char *target, size_t size),
      (path, target, size))
FAULT(int, fchmod, fchmod, fd, -1, (int fd, mode_t mode), (fd, mode))
FAULT(int, flock, flock, fd, -1, (int fd, int operation), (fd, operation))
FAULT(int, unlink, unlink, -1, -1, (const char *path), (path))

/* ---- processes ---- */

/* A keeper asks nobody. It waits for other children. */
static void faults_note_asking(bool asking)
{
    if (faults_page != NULL && faults_page->kept == faults_kills())
        faults_page->asking = asking;
}

int posix_spawn(pid_t *pid, const char *path, const void *plan, const void *attributes,
                char *const argv[], char *const environment[]);
int posix_spawn(pid_t *pid, const char *path, const void *plan, const void *attributes,
                char *const argv[], char *const environment[])
{
    if (faults_strike(FAULT_posix_spawn, -1))
        return faults_page->error;
    faults_note_asking(true);
    int rc = MADE(posix_spawn, REAL(posix_spawn)(pid, path, plan, attributes, argv, environment));
    faults_note_asking(rc == 0);
    return rc;
}

/* Never fails by itself, because no test needs that. */
int execve(const char *path, char *const argv[], char *const environment[]);
int execve(const char *path, char *const argv[], char *const environment[])
{
    if (faults_page != NULL)
        faults_page->executing = true;
    int rc = REAL(execve)(path, argv, environment);
    if (faults_page != NULL)
        faults_page->executing = false;
    return rc;
}

/* Never fails, and leaves nobody who could be killed after the call. */
void _exit(int code)
{
    if (faults_kills() && faults_page->error != FAULT_KILL_AFTER)
        (void)faults_strike(FAULT_exit, -1);
    REAL(_exit)(code);
    __builtin_unreachable();
}

/* Unless a signal has interrupted the call, somebody else has waited for the child before. */
pid_t waitpid(pid_t pid, int *status, int options);
pid_t waitpid(pid_t pid, int *status, int options)
{
    bool strikes = faults_strike(FAULT_waitpid, -1);
    int error = errno;
    if (strikes && error == EINTR)
        return -1;
    pid_t rc = MADE(waitpid, REAL(waitpid)(pid, status, options));
    faults_note_asking(false);
    if (strikes)
        errno = error;
    return strikes ? -1 : rc;
}

int kill(pid_t pid, int signum);
FAULT(int, kill, kill, -1, -1, (pid_t pid, int signum), (pid, signum))

/* ---- limits, threads, languages ---- */

FAULT(int, getrlimit, getrlimit, -1, -1, (int resource, void *limit), (resource, limit))
FAULT(int, setrlimit, setrlimit, -1, -1, (int resource, const void *limit), (resource, limit))
FAULT_CODE(pthread_create,
           (uintptr_t * thread, const void *attributes, void *(*run)(void *), void *argument),
           (thread, attributes, run, argument))
FAULT_CODE(pthread_mutex_init, (void *mutex, const void *attributes), (mutex, attributes))
FAULT_CODE(pthread_rwlock_init, (void *lock, const void *attributes), (lock, attributes))
FAULT_CODE(pthread_setname_np, (uintptr_t thread, const char *name), (thread, name))
FAULT(char *, setlocale, setlocale, -1, NULL, (int category, const char *locale),
      (category, locale))
FAULT(char *, bindtextdomain, bindtextdomain, -1, NULL, (const char *domain, const char *path),
      (domain, path))
FAULT(char *, textdomain, textdomain, -1, NULL, (const char *domain), (domain))

/* Before main(): a test may fail calls from the first line of main() on. */
__attribute__((constructor)) static void faults_begin(int argc, char **argv)
{
    const char *path = getenv(FAULT_PAGE_VARIABLE);
    bool asked = argc > 1 && strcmp(argv[1], "--check-handover") == 0;
    int fd = path != NULL && !asked ? REAL(open)(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *page =
        REAL(mmap)(NULL, sizeof(struct fault_page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    (void)REAL(close)(fd);
    if (page == MAP_FAILED)
        _exit(125);
    faults_page = page;
    if (faults_page->kept)
        faults_keeper = getpid();
}
