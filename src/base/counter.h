/*
 * counter.h - numbers to which one thread adds and which every thread may read.
 *
 * Only the thread that owns a counter adds to it, so that adding is a plain load and a plain store:
 * counting a message locks nothing.
 */
#ifndef UVECHOD_COUNTER_H
#define UVECHOD_COUNTER_H

#include <stdatomic.h>
#include <stdint.h>

/* Adds n. Must be called by the thread that owns the counter. */
static inline void counter_add(_Atomic uint64_t *counter, uint64_t n)
{
    uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, value + n, memory_order_relaxed);
}

/* The same. A thread that reads this value also sees all that the owner has written before. */
static inline void counter_publish(_Atomic uint64_t *counter, uint64_t n)
{
    uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, value + n, memory_order_release);
}

/* The value. Any thread may call this. */
static inline uint64_t counter_get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_acquire);
}

#endif
