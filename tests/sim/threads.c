/* threads.c - what several loops need: threads, locks and messages between loops. */
#include "fibers.h"
#include "loop.h"
#include "loops.h"
#include "spread.h"

#include <errno.h>
#include <string.h>

/* How many threads cannot be started in a history that has that fault. Of 10,000. */
enum { THREADS_FAIL = 5000 };

/* ---- threads ---- */

int uv_thread_create(uv_thread_t *thread, uv_thread_cb entry, void *arg)
{
    if (world_has(FAULT_THREADS) && chance_of(&loops.order, THREADS_FAIL)) {
        world_trace("a thread cannot be started");
        return UV_EAGAIN;
    }
    unsigned number = fiber_spawn(entry, arg);
    if (number == 0)
        return UV_EAGAIN;
    memset(thread, 0, sizeof *thread);
    memcpy(thread, &number, sizeof number);
    return 0;
}

int uv_thread_join(uv_thread_t *thread)
{
    unsigned number;
    memcpy(&number, thread, sizeof number);
    fiber_join(number);
    return 0;
}

/* ---- locks: the memory of a real one holds who has locked it ---- */

struct lock {
    unsigned made; /* LOCK_MADE */
    unsigned held;
    unsigned holder;
};

enum { LOCK_MADE = 0x10c4ed };

_Static_assert(sizeof(struct lock) <= sizeof(uv_mutex_t), "a lock fits where the real one is");

static struct lock *lock_of(uv_mutex_t *mutex)
{
    struct lock *lock = (struct lock *)(void *)mutex;
    if (lock->made != LOCK_MADE)
        world_fail("a mutex is used that was not made");
    return lock;
}

int uv_mutex_init(uv_mutex_t *mutex)
{
    *(struct lock *)(void *)mutex = (struct lock){.made = LOCK_MADE};
    return 0;
}

void uv_mutex_destroy(uv_mutex_t *mutex)
{
    struct lock *lock = lock_of(mutex);
    if (lock->held != 0)
        world_fail("a mutex is destroyed that is locked");
    lock->made = 0;
}

static bool lock_is_free(void *lock)
{
    return ((const struct lock *)lock)->held == 0;
}

void uv_mutex_lock(uv_mutex_t *mutex)
{
    struct lock *lock = lock_of(mutex);
    if (lock->held != 0 && lock->holder == fiber_number())
        world_fail("a thread locks a mutex that it has locked");
    fiber_wait(lock_is_free, lock);
    lock->held = 1;
    lock->holder = fiber_number();
}

void uv_mutex_unlock(uv_mutex_t *mutex)
{
    struct lock *lock = lock_of(mutex);
    if (lock->held == 0 || lock->holder != fiber_number())
        world_fail("a thread unlocks a mutex that it has not locked");
    lock->held = 0;
    fiber_wait(NULL, NULL);
}

/* ---- messages between loops ---- */

int uv_async_init(uv_loop_t *loop, uv_async_t *async, uv_async_cb async_cb)
{
    handle_init(loop, async, UV_ASYNC);
    async->async_cb = async_cb;
    async->pending = 0;
    handle_start(async);
    return 0;
}

/* Sent again before the callback has run, it is one message. */
int uv_async_send(uv_async_t *async)
{
    handle_check(async);
    spread_rung(loop_number(async->loop));
    async->pending = 1;
    fiber_wait(NULL, NULL);
    return 0;
}

bool loop_has_async(const struct loop *loop)
{
    for (size_t i = 0; i < loop->asyncs.count; i++)
        if (handle_is_active(loop->asyncs.list[i]) && ((uv_async_t *)loop->asyncs.list[i])->pending)
            return true;
    return false;
}

void loop_run_asyncs(struct loop *loop)
{
    for (size_t i = 0; i < loop->asyncs.count; i++) {
        uv_async_t *async = (uv_async_t *)loop->asyncs.list[i];
        if (!handle_is_active(async) || async->pending == 0)
            continue;
        async->pending = 0;
        world_trace("a message from another thread");
        async->async_cb(async);
    }
}
