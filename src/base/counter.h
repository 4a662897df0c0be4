/*
 * counter.h - numbers that one thread counts and any other may read.
 *
 * Only the owner adds, so that adding is a plain load and a plain store: nothing is locked, and
 * nothing shared is written on the way of a message.
 */
#ifndef UVECHOD_COUNTER_H
#define UVECHOD_COUNTER_H

#include <stdatomic.h>
#include <stdint.h>

/* Adds n; for the thread that owns the counter alone. */
static inline void counter_add(_Atomic uint64_t *counter, uint64_t n)
{
    uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, value + n, memory_order_relaxed);
}

/* The same, and whoever then reads this value finds all that the owner has done before it. */
static inline void counter_publish(_Atomic uint64_t *counter, uint64_t n)
{
    uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, value + n, memory_order_release);
}

/* The value, for any thread. */
static inline uint64_t counter_get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_acquire);
}

#endif
