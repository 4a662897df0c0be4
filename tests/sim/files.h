/*
 * files.h - the descriptors of the simulated process: numbers, lowest first as in Unix, and what
 * stands behind each. The limit of the seed holds for them as RLIMIT_NOFILE does.
 */
#ifndef UVECHOD_SIM_FILES_H
#define UVECHOD_SIM_FILES_H

#include <stdbool.h>

enum { FILES_MAX = 16384 };

enum file_kind {
    FILE_NONE,
    FILE_INHERITED, /* open since before the process: nobody closes it */
    FILE_LOOP,      /* what libuv opens for a loop */
    FILE_MANAGER,   /* the socket to the service manager */
    FILE_LISTENING,
    FILE_SOCKET,
    FILE_PIPE_IN,
    FILE_PIPE_OUT,
    FILE_MEMORY, /* the file in memory */
    FILE_ANSWER, /* the output of a program that is asked; without an object, it says nothing */
    FILE_COPY,   /* a duplicate, which only takes a number */
};

/* An empty table, but for the descriptors 0 to 2. limit is at most FILES_MAX. */
void files_begin(unsigned limit);

/* Fails if a descriptor is left that the process has opened. */
void files_end(void);

/* How many descriptors the process may have. */
unsigned files_limit(void);

/* Opens the lowest number that is free and at least lowest. Returns it or -EMFILE. */
int files_open(enum file_kind kind, void *object, int lowest);

/* Takes that number, as a parent process may leave it. Does nothing if it is taken. */
void files_inherit(int fd);

/* Of a descriptor that may be closed, or no descriptor at all. */
enum file_kind files_kind(int fd);

/* What stands behind fd. Fails if it is not of this kind. */
void *files_object(int fd, enum file_kind kind);

void files_close(int fd);

/* The descriptor outlives the program: it is not close-on-exec. Whether it does. */
void files_survive(int fd);
bool files_survives(int fd);

/* No descriptor is as high. */
int files_end_number(void);

/* The process has ended, and its epoll descriptors with it. */
void files_forget_epolls(void);

/*
 * The epoll descriptors that watch fd, as a set of bits: each epoll descriptor is given a bit when
 * it watches first. files_epoll() returns the number of that bit.
 */
enum { FILES_EPOLLS = 8 };
unsigned files_epoll(int epoll);
unsigned *files_watches(int fd);

#endif
