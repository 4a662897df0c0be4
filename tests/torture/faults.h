/*
 * faults.h - fails chosen calls of the daemon: what the test and the daemon share.
 *
 * The daemon under test is the real one, linked with faults.c. That file defines the functions of
 * the C library that can fail. The definitions of an executable come before those of a library, so
 * libuv and libsystemd call them, too. Each counts its calls and passes them on, or fails.
 *
 * The test says in a page of shared memory which call fails, and reads there what has happened. A
 * program that the daemon asks before an upgrade makes its calls untouched: what it may answer is
 * the affair of other tests.
 *
 * Where the daemon has a keeper, its calls do not fail. The daemon is killed at them instead, right
 * before the call is made or right after it. The keeper itself makes its calls untouched, and they
 * do not count. The page is the same for all successors, so one of them counts on where the daemon
 * before was killed.
 */
#ifndef UVECHOD_TORTURE_FAULTS_H
#define UVECHOD_TORTURE_FAULTS_H

#include <stdatomic.h>
#include <stdbool.h>

/* The calls that can be made to fail. Allocations inside the C library count, too. */
#define FAULT_CALLS(CALL)                                                                          \
    CALL(accept4)                                                                                  \
    CALL(access)                                                                                   \
    CALL(bind)                                                                                     \
    CALL(bindtextdomain)                                                                           \
    CALL(calloc)                                                                                   \
    CALL(close)                                                                                    \
    CALL(connect)                                                                                  \
    CALL(epoll_create1)                                                                            \
    CALL(epoll_ctl)  /* can only fail when it adds a watch; kills come at all of them */           \
    CALL(epoll_wait) /* and epoll_pwait */                                                         \
    CALL(eventfd)                                                                                  \
    CALL(exit) /* _exit(2), which no fault can keep from ending the process */                     \
    CALL(fallocate)                                                                                \
    CALL(fchmod)                                                                                   \
    CALL(fcntl) /* the same: the flags of a descriptor are read and set without fail */            \
    CALL(flock)                                                                                    \
    CALL(fstat)                                                                                    \
    CALL(ftruncate)                                                                                \
    CALL(getaddrinfo)                                                                              \
    CALL(getnameinfo)                                                                              \
    CALL(getpeername)                                                                              \
    CALL(getrlimit)                                                                                \
    CALL(getsockname)                                                                              \
    CALL(getrandom)                                                                                \
    CALL(getsockopt)                                                                               \
    CALL(ioctl)                                                                                    \
    CALL(kill)                                                                                     \
    CALL(listen)                                                                                   \
    CALL(lstat)                                                                                    \
    CALL(madvise)                                                                                  \
    CALL(malloc)                                                                                   \
    CALL(memfd_create)                                                                             \
    CALL(mmap)                                                                                     \
    CALL(munmap)                                                                                   \
    CALL(open)                                                                                     \
    CALL(pipe2)                                                                                    \
    CALL(poll)                                                                                     \
    CALL(posix_spawn)                                                                              \
    CALL(pread)                                                                                    \
    CALL(pthread_create)                                                                           \
    CALL(pthread_mutex_init)                                                                       \
    CALL(pthread_rwlock_init)                                                                      \
    CALL(pthread_setname_np)                                                                       \
    CALL(pwrite)                                                                                   \
    CALL(read) /* of libuv's own descriptors, as the next */                                       \
    CALL(wake) /* write(2) to what eventfd and pipe2 have made */                                  \
    CALL(readlink)                                                                                 \
    CALL(realloc)                                                                                  \
    CALL(recv)                                                                                     \
    CALL(recvmmsg)                                                                                 \
    CALL(recvmsg)                                                                                  \
    CALL(send)                                                                                     \
    CALL(sendmmsg)                                                                                 \
    CALL(setlocale)                                                                                \
    CALL(setrlimit)                                                                                \
    CALL(setsockopt)                                                                               \
    CALL(shutdown)                                                                                 \
    CALL(socket)                                                                                   \
    CALL(splice)     /* from a socket */                                                           \
    CALL(splice_out) /* from a pipe */                                                             \
    CALL(textdomain)                                                                               \
    CALL(unlink)                                                                                   \
    CALL(waitpid)                                                                                  \
    CALL(write) /* to all other descriptors: the log */

enum fault_call {
#define FAULT_ENUM(name) FAULT_##name,
    FAULT_CALLS(FAULT_ENUM)
#undef FAULT_ENUM
        FAULT_CALLS_COUNT
};

enum {
    FAULT_SHORT = -1,          /* in the place of an errno: the call moves one byte only; */
    FAULT_KILL_BEFORE = -2001, /* SIGKILL comes before the call is made, */
    FAULT_KILL_AFTER = -2002,  /* or when it has been made, before its result is used */
    FAULT_ALWAYS = 1U << 30,   /* more calls than there are: all from the first on */
};

/* The name in the environment of the file that is the page. */
#define FAULT_PAGE_VARIABLE "UVECHOD_TORTURE_PAGE"

/* What the test sets is constant while armed is set. */
struct fault_page {
    atomic_bool armed; /* calls are counted, and may fail */
    unsigned call;     /* enum fault_call: which fails, */
    unsigned first;    /* from which on, counted from 1, */
    unsigned times;    /* how many of them, */
    int error;         /* and how: an errno, an EAI_* or one of the above */
    bool kept;         /* the first process is the daemon's keeper: only others are struck */
    atomic_int spared; /* a descriptor whose calls are not counted and do not fail; or -1 */

    /* Written by the daemon. */
    atomic_uint counts[FAULT_CALLS_COUNT]; /* while armed */
    atomic_uint struck;                    /* calls that have failed so far */
    atomic_uint total;                     /* calls, armed or not */
    atomic_uint sleeps;                    /* how often the first thread's loop has slept */
    atomic_int accepted;                   /* the descriptor accepted last */
    atomic_int port;                       /* of the TCP socket that listens */
    atomic_bool asking;                    /* the daemon waits for a child process of its own */
    atomic_bool executing;                 /* its program, until the new one's loop sleeps */
};

#endif
