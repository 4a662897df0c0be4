/* polls.c - descriptors that a loop watches, and their events. */
#include "kernel.h"
#include "loop.h"
#include "loops.h"
#include "memory.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* How often a poll tells a lie, and how many of the sockets it is told of. Of 10,000. */
enum { POLLS_LIE = 200, POLLS_LIED_OF = 2000 };

static const unsigned both = UV_READABLE | UV_WRITABLE;

static int poll_fd(const uv_poll_t *poll)
{
    return poll->io_watcher.fd;
}

static unsigned poll_events(const uv_poll_t *poll)
{
    return poll->io_watcher.pevents;
}

static uv_poll_t *loop_watcher(const struct loop *loop, int fd)
{
    return (unsigned)fd < loop->watchers_room ? loop->watchers[fd] : NULL;
}

static void loop_grow_watchers(struct loop *loop, int fd)
{
    if ((unsigned)fd < loop->watchers_room)
        return;
    unsigned room = 64;
    while (room <= (unsigned)fd)
        room *= 2;
    uv_poll_t **watchers = memory_own(room, sizeof(uv_poll_t *));
    for (unsigned i = 0; i < loop->watchers_room; i++)
        watchers[i] = loop->watchers[i];
    memory_disown(loop->watchers);
    loop->watchers = watchers;
    loop->watchers_room = room;
}

void loop_free_polls(struct loop *loop)
{
    memory_disown(loop->watchers);
    memory_disown(loop->batch);
}

/* ---- start and stop ---- */

/* The handle is not told of events any more; the kernel keeps the watch. */
static void poll_stop(uv_poll_t *poll)
{
    if (!handle_is_active(poll))
        return;
    struct loop *loop = loop_of(poll->loop);
    loop->watchers[poll_fd(poll)] = NULL;
    roster_remove(&loop->armed, (uv_handle_t *)poll);
    poll->io_watcher.pevents = 0;
    handle_stop(poll);
}

void poll_disarm(uv_poll_t *poll)
{
    struct loop *loop = loop_of(poll->loop);
    int fd = poll_fd(poll);
    if (!kernel_is_open(fd))
        world_fail("descriptor %d is closed before its handle", fd);
    poll_stop(poll);
    for (size_t i = loop->batch_at; i < loop->batch_count; i++)
        if (loop->batch[i].fd == fd)
            loop->batch[i].kind = EVENT_VOID;
    kernel_unwatch(uv_backend_fd(poll->loop), fd);
}

int uv_poll_init(uv_loop_t *uv, uv_poll_t *poll, int fd)
{
    if (loop_watcher(loop_of(uv), fd) != NULL)
        return UV_EEXIST;
    int rc = kernel_try_watch(fd);
    if (rc < 0)
        return rc;
    handle_init(uv, poll, UV_POLL);
    poll->io_watcher.fd = fd;
    poll->io_watcher.pevents = 0;
    uint64_t never = 0;
    memcpy(&poll->u.reserved[2], &never, sizeof never);
    return 0;
}

/* A callback that takes its interest back costs a call, which it must have a reason for. */
static void poll_changes(const uv_poll_t *poll, unsigned events)
{
    loops.arms++;
    if (loop_of(poll->loop)->told_fd == poll_fd(poll) && (poll_events(poll) & ~events) != 0)
        invariants_took_back(poll_fd(poll));
}

int uv_poll_start(uv_poll_t *poll, int events, uv_poll_cb poll_cb)
{
    handle_check(poll);
    struct loop *loop = loop_of(poll->loop);
    uv_poll_t *other = loop_watcher(loop, poll_fd(poll));
    if (other != NULL && other != poll)
        return UV_EEXIST;
    poll_changes(poll, (unsigned)events);
    poll_disarm(poll);
    if (events == 0)
        return 0;
    loop_grow_watchers(loop, poll_fd(poll));
    loop->watchers[poll_fd(poll)] = poll;
    poll->io_watcher.pevents = (unsigned)events;
    poll->poll_cb = poll_cb;
    roster_add(&loop->armed, (uv_handle_t *)poll);
    handle_start(poll);
    return 0;
}

int uv_poll_stop(uv_poll_t *poll)
{
    handle_check(poll);
    poll_changes(poll, 0);
    poll_disarm(poll);
    return 0;
}

void loop_check_watches(const struct loop *loop)
{
    int epoll = uv_backend_fd(loop->uv);
    for (size_t i = 0; i < loop->armed.count; i++) {
        int fd = poll_fd((uv_poll_t *)loop->armed.list[i]);
        if (!kernel_is_watched(epoll, fd))
            world_fail("libuv itself has to watch descriptor %d; it aborts if that fails", fd);
    }
}

bool loop_is_armed(int fd, int events)
{
    for (unsigned i = 0; i < loops.count; i++) {
        const uv_poll_t *poll = loop_watcher(loop_of(loops.list[i]), fd);
        if (poll != NULL && (poll_events(poll) & (unsigned)events) == (unsigned)events)
            return true;
    }
    return false;
}

/* ---- the events of a round ---- */

/* What epoll reports of the handle, and libuv passes on. */
static unsigned poll_ready(const uv_poll_t *poll)
{
    unsigned events = kernel_ready(poll_fd(poll));
    events &= poll_events(poll) | KERNEL_ERR | KERNEL_HUP;
    if (events == KERNEL_ERR || events == KERNEL_HUP)
        events |= poll_events(poll);
    return events;
}

bool loop_has_event(const struct loop *loop)
{
    for (size_t i = 0; i < loop->armed.count; i++)
        if (poll_ready((uv_poll_t *)loop->armed.list[i]) != 0)
            return true;
    return false;
}

static struct loop_event *loop_add_event(struct loop *loop)
{
    if (loop->batch_count == loop->batch_room) {
        size_t room = loop->batch_room > 0 ? 2 * loop->batch_room : 64;
        struct loop_event *batch = memory_own(room, sizeof *batch);
        if (loop->batch_count > 0)
            memcpy(batch, loop->batch, loop->batch_count * sizeof *batch);
        memory_disown(loop->batch);
        loop->batch = batch;
        loop->batch_room = room;
    }
    return &loop->batch[loop->batch_count++];
}

/* An event that epoll does not have: readiness without a reason, or POLLERR without an error. */
static unsigned poll_lie(const uv_poll_t *poll, bool spurious, bool pollerr)
{
    if (spurious && chance_of(&loops.order, POLLS_LIED_OF))
        return poll_events(poll) & (unsigned)chance_between(&loops.order, 1, both);
    return pollerr && chance_of(&loops.order, POLLS_LIED_OF) ? KERNEL_ERR : 0;
}

static void loop_gather_polls(struct loop *loop, bool first, bool lie)
{
    bool spurious = first && world_fault(FAULT_SPURIOUS, lie ? 10000 : POLLS_LIE);
    bool pollerr = first && world_fault(FAULT_POLLERR, lie ? 10000 : POLLS_LIE);
    for (size_t i = 0; i < loop->armed.count; i++) {
        const uv_poll_t *poll = (uv_poll_t *)loop->armed.list[i];
        unsigned ready = poll_ready(poll);
        unsigned events = ready != 0 ? ready : poll_lie(poll, spurious, pollerr);
        if (events == 0)
            continue;
        if (ready != 0 && first)
            invariants_ready(poll_fd(poll));
        struct loop_event *event = loop_add_event(loop);
        event->kind = ready != 0 ? EVENT_TRUE : EVENT_FALSE;
        event->fd = poll_fd(poll);
        event->events = events;
        memcpy(&event->rank, &poll->u.reserved[2], sizeof event->rank);
    }
}

static void loop_shuffle(struct loop *loop)
{
    for (size_t i = loop->batch_count; i > 1; i--) {
        size_t other = chance_below(&loops.order, i);
        struct loop_event event = loop->batch[i - 1];
        loop->batch[i - 1] = loop->batch[other];
        loop->batch[other] = event;
    }
}

static int event_compare(const void *a, const void *b)
{
    const struct loop_event *x = a;
    const struct loop_event *y = b;
    if (x->rank != y->rank)
        return x->rank < y->rank ? -1 : 1;
    return (x->fd > y->fd) - (x->fd < y->fd);
}

static size_t loop_batch_max(void)
{
    return world_has(FAULT_ROUNDS) ? loops.few : LOOP_EVENTS_MAX;
}

bool loop_batch_is_full(const struct loop *loop)
{
    return loop->batch_count == loop_batch_max();
}

void loop_gather(struct loop *loop, bool first, bool lie)
{
    loop->batch_count = 0;
    loop->batch_at = 0;
    if (loop_has_async(loop))
        *loop_add_event(loop) = (struct loop_event){.kind = EVENT_ASYNCS, .fd = -1};
    loop_gather_polls(loop, first, lie);
    if (loop->batch_count > loop_batch_max()) {
        /* epoll puts what it has told at the end of its list. */
        qsort(loop->batch, loop->batch_count, sizeof *loop->batch, event_compare);
        loop->batch_count = loop_batch_max();
    }
    loop_shuffle(loop);
}

/* ---- the callbacks ---- */

static const char *event_text(const struct loop_event *event)
{
    if ((event->events & KERNEL_ERR) != 0)
        return event->kind == EVENT_FALSE ? "error (without one)" : "error";
    if ((event->events & both) == both)
        return event->kind == EVENT_FALSE ? "readable, writable (not true)" : "readable, writable";
    if ((event->events & UV_READABLE) != 0)
        return event->kind == EVENT_FALSE ? "readable (not true)" : "readable";
    return event->kind == EVENT_FALSE ? "writable (not true)" : "writable";
}

static void poll_tell(struct loop *loop, uv_poll_t *poll, const struct loop_event *event)
{
    uint64_t told = ++loop->told;
    memcpy(&poll->u.reserved[2], &told, sizeof told);
    world_trace("descriptor %d is %s", event->fd, event_text(event));
    loop->told_fd = event->fd;
    if ((event->events & KERNEL_ERR) != 0) {
        loops.errors++;
        poll_stop(poll); /* the kernel's watch stays, as with libuv */
        poll->poll_cb(poll, UV_EBADF, 0);
    } else {
        invariants_told(event->fd);
        poll->poll_cb(poll, 0, (int)(event->events & both));
    }
    loop->told_fd = -1;
}

unsigned loop_dispatch(struct loop *loop)
{
    unsigned told = 0;
    while (loop->batch_at < loop->batch_count) {
        struct loop_event event = loop->batch[loop->batch_at++];
        if (event.kind == EVENT_VOID)
            continue;
        if (event.kind == EVENT_ASYNCS) {
            loop_run_asyncs(loop);
            told++;
            continue;
        }
        uv_poll_t *poll = loop_watcher(loop, event.fd);
        if (poll == NULL)
            continue;
        event.events &= poll_events(poll) | KERNEL_ERR | KERNEL_HUP;
        if (event.events == 0)
            continue;
        told++;
        poll_tell(loop, poll, &event);
    }
    return told;
}
