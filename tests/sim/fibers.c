#include "fibers.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

#if defined(__SANITIZE_ADDRESS__)
#define FIBERS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FIBERS_ASAN 1
#endif
#endif
#ifdef FIBERS_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

/* AddressSanitizer makes frames several times as large. A page that cannot be written ends a stack
 * that grows too far. */
enum { STACK_BYTES = 1 << 20, STACK_GUARD = 1 << 16 };

struct fiber {
    ucontext_t context;
    void *stack;      /* NULL: of the caller, and of those that never ran; it is used again */
    void *fake_stack; /* what AddressSanitizer keeps for it while another fiber runs */
    const void *bottom;
    size_t bytes;
    bool ended;
    fiber_may_go *may_go;
    void (*entry)(void *arg);
    void *arg;
};

/* Where fibers_run() was called is a place of its own in the list. */
enum { FIBERS_CALLER = FIBERS_MAX };

static struct {
    struct fiber list[FIBERS_MAX + 1];
    unsigned count;
    unsigned current;
    unsigned previous; /* which has switched to the current one */
    struct chance chance;
    unsigned persists; /* how often the current fiber goes on when it may, of 10,000 */
    void (*stuck)(void);
} fibers;

/* ---- the switch ---- */

/* Tells AddressSanitizer that another stack is used from now on. */
static void fiber_leave(struct fiber *from, const struct fiber *to)
{
#ifdef FIBERS_ASAN
    __sanitizer_start_switch_fiber(from->ended ? NULL : &from->fake_stack, to->bottom, to->bytes);
#else
    (void)from, (void)to;
#endif
}

/* The first switch of all tells where the stack of the caller is. */
static void fiber_arrived(void)
{
#ifdef FIBERS_ASAN
    const void *bottom;
    size_t bytes;
    struct fiber *previous = &fibers.list[fibers.previous];
    __sanitizer_finish_switch_fiber(fibers.list[fibers.current].fake_stack, &bottom, &bytes);
    previous->bottom = bottom;
    previous->bytes = bytes;
#endif
}

static void fiber_switch(unsigned number)
{
    struct fiber *from = &fibers.list[fibers.current];
    struct fiber *to = &fibers.list[number];
    if (from == to)
        return;
    fibers.previous = fibers.current;
    fibers.current = number;
    fiber_leave(from, to);
    if (swapcontext(&from->context, &to->context) != 0)
        abort();
    fiber_arrived();
}

static void fiber_main(void)
{
    fiber_arrived();
    struct fiber *fiber = &fibers.list[fibers.current];
    fiber->entry(fiber->arg);
    fiber->ended = true;
    if (fibers.current == 0)
        fiber_switch(FIBERS_CALLER);
    fiber_wait(NULL, NULL);
}

/* ---- who runs next ---- */

static bool fiber_can_run(const struct fiber *fiber)
{
    return !fiber->ended && (fiber->may_go == NULL || fiber->may_go(fiber->arg));
}

/* One of those that may go on, or the number of fibers if none may. */
static unsigned fibers_choose(void)
{
    unsigned able[FIBERS_MAX];
    unsigned count = 0;
    for (unsigned i = 0; i < fibers.count; i++)
        if (fiber_can_run(&fibers.list[i]))
            able[count++] = i;
    if (count == 0)
        return fibers.count;
    if (count > 1 && chance_of(&fibers.chance, fibers.persists) &&
        fiber_can_run(&fibers.list[fibers.current]))
        return fibers.current;
    return able[count > 1 ? chance_below(&fibers.chance, count) : 0];
}

void fiber_wait(fiber_may_go *may_go, void *arg)
{
    struct fiber *fiber = &fibers.list[fibers.current];
    fiber->may_go = may_go;
    fiber->arg = arg;
    unsigned next;
    while ((next = fibers_choose()) == fibers.count)
        fibers.stuck();
    fiber_switch(next);
}

/* Of a stack that is used again, AddressSanitizer knows the frames that were dropped. */
static void *fiber_stack(void *used)
{
    if (used != NULL) {
#ifdef FIBERS_ASAN
        __asan_unpoison_memory_region((char *)used + STACK_GUARD, STACK_BYTES - STACK_GUARD);
#endif
        return used;
    }
    void *stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (stack == MAP_FAILED || mprotect(stack, STACK_GUARD, PROT_NONE) < 0)
        abort();
    return stack;
}

/* A function of its own, because getcontext() may return twice as far as the compiler knows. */
static void fiber_make(struct fiber *fiber)
{
    if (getcontext(&fiber->context) != 0)
        abort();
    fiber->context.uc_stack.ss_sp = (char *)fiber->stack + STACK_GUARD;
    fiber->context.uc_stack.ss_size = STACK_BYTES - STACK_GUARD;
    makecontext(&fiber->context, fiber_main, 0);
}

unsigned fiber_spawn(void (*entry)(void *arg), void *arg)
{
    if (fibers.count == FIBERS_MAX)
        return 0;
    struct fiber *fiber = &fibers.list[fibers.count];
    void *stack = fiber_stack(fiber->stack);
    *fiber = (struct fiber){.stack = stack,
                            .bottom = (char *)stack + STACK_GUARD,
                            .bytes = STACK_BYTES - STACK_GUARD,
                            .entry = entry,
                            .arg = arg};
    fiber_make(fiber);
    return fibers.count++;
}

unsigned fiber_number(void)
{
    return fibers.current % FIBERS_CALLER;
}

static bool fiber_has_ended(void *fiber)
{
    return ((const struct fiber *)fiber)->ended;
}

void fiber_join(unsigned number)
{
    fiber_wait(fiber_has_ended, &fibers.list[number]);
}

void fibers_begin(struct chance chance, void (*stuck)(void))
{
    static const unsigned persists[] = {0, 0, 9000, 9950};
    fibers.count = 0;
    fibers.current = FIBERS_CALLER;
    fibers.persists = persists[chance_below(&chance, sizeof persists / sizeof *persists)];
    fibers.chance = chance;
    fibers.stuck = stuck;
}

bool fibers_run(void (*entry)(void *arg), void *arg)
{
    fibers.count = 0;
    (void)fiber_spawn(entry, arg);
    fiber_switch(0);
    return fibers.list[0].ended;
}

void fibers_drop(void)
{
    fiber_switch(FIBERS_CALLER);
    abort(); /* nobody switches back */
}

void fibers_end(void)
{
    for (unsigned i = 1; i < fibers.count; i++)
        if (!fibers.list[i].ended)
            world_fail("thread %u has not ended", i);
}
