/*
 * container_of.h - from a member to the struct that embeds it.
 *
 * libuv gives a callback the handle, the scheduler gives a step the task. container_of() finds the
 * frame around them, so that no pointer back to the frame must be kept.
 */
#ifndef UVECHOD_CONTAINER_OF_H
#define UVECHOD_CONTAINER_OF_H

#include <stddef.h>

/* A pointer to the struct of this type that has *ptr as this member. */
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#endif
