/*
 * container_of.h - from a struct to the one that embeds it.
 *
 * libuv hands a callback the handle, the scheduler hands a step the task: this finds the frame
 * around them again, without a pointer kept for it.
 */
#ifndef UVECHOD_CONTAINER_OF_H
#define UVECHOD_CONTAINER_OF_H

#include <stddef.h>

/* The struct of this type whose member is *ptr. */
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#endif
