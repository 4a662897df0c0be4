/*
 * pipe.h - what the kernel asks of its pipes (pipe.c), beside the functions of os/net.h.
 */
#ifndef UVECHOD_SIM_PIPE_H
#define UVECHOD_SIM_PIPE_H

#include "socket.h"

#include <stdint.h>

void kernel_pipes_begin(void);

/* The daemon closes one end. */
void kernel_pipe_close(int fd, void *object);

/* How many bytes of the socket the pipe holds; out must be its reading end. */
uint64_t kernel_pipe_count(int out, const struct socket *socket);

#endif
