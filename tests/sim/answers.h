/*
 * answers.h - what a client sends, and what it must be answered.
 */
#ifndef UVECHOD_SIM_ANSWERS_H
#define UVECHOD_SIM_ANSWERS_H

#include "socket.h"

/* Writes the bytes of the client's stream from offset on, of which a header may be the first. */
void answers_make(const struct socket *socket, uint64_t offset, void *bytes, size_t count);

/* How long the answer to a read of so many bytes is. */
uint64_t answers_length(uint64_t read);

/* The daemon sends count bytes of the answer that it owes: fails if they are not the next ones. */
void answers_verify(const struct socket *socket, const void *bytes, size_t count);

#endif
