#include "invariants.h"

#include "fates.h"
#include "files.h"
#include "kernel.h"
#include "ledgers.h"
#include "listening.h"
#include "lives.h"
#include "loop.h"
#include "memory.h"
#include "plan.h"
#include "process.h"
#include "service/pipes.h"
#include "task/sched.h"
#include "task/timer.h"
#include "world.h"

#include <errno.h>
#include <string.h>

/* What is known of each loop. */
struct loop_state {
    const struct sched *sched; /* NULL before its first turn */
    struct list told;          /* sockets whose tasks have been woken by events, in order */
    unsigned told_count;
    uint64_t turns;
};

static struct {
    struct loop_state loops[FILES_EPOLLS];
    uint64_t sleeps;
    uint64_t credit;     /* millionths of a connection that may be accepted */
    uint64_t counted_us; /* until when it has been counted */
} invariants;

/*
 * A socket that is ready and armed is reported within so many passes: epoll reports 1024 at a time,
 * and tells those first that it has not told last.
 */
enum { PASSES_MAX = 8, PASSES_SOCKETS = 512 };

/* How many of a crowd's sleeps are checked: one in so many, because each looks at all sockets. */
enum { CROWD_SLEEPS = 64 };

void invariants_begin(void)
{
    memset(&invariants, 0, sizeof invariants);
    for (int i = 0; i < FILES_EPOLLS; i++)
        list_init(&invariants.loops[i].told);
}

/* ---- in which order sockets are served ---- */

static void invariants_forget(struct socket *socket)
{
    if (!socket->is_told)
        return;
    socket->is_told = false;
    list_remove(&socket->told);
    invariants.loops[socket->told_by].told_count--;
}

void invariants_told(int fd)
{
    if (files_kind(fd) != FILE_SOCKET)
        return;
    struct socket *socket = socket_of(fd);
    socket->lacked_room = false;
    unsigned watches = *files_watches(fd);
    if (watches == 0)
        world_fail("descriptor %d is reported, and no loop watches it", fd);
    if (socket->is_told)
        return;
    socket->is_told = true;
    socket->told_by = (unsigned)__builtin_ctz(watches);
    struct loop_state *loop = &invariants.loops[socket->told_by];
    list_append(&loop->told, &socket->told);
    if (++loop->told_count > SCHED_TURN_MAX)
        world_fail("%u tasks have been woken, and no turn has begun", loop->told_count);
}

void invariants_took_back(int fd)
{
    if (files_kind(fd) == FILE_SOCKET)
        invariants_forget(socket_of(fd));
}

void invariants_served(struct socket *socket)
{
    const struct loop_state *loop = &invariants.loops[socket->told_by];
    socket->starved = 0;
    if (socket->accepted_turn != 0 && socket->accepted_turn == invariants.loops[0].turns + 1 &&
        plan_get()->config.workers == 1 && !plan_get()->crowd)
        world_fail("client %u is served in the turn in which its task was queued", socket->client);
    if (!socket->is_told)
        return;
    /* A task that is ended for other reasons is in the queue already when an error is reported. */
    if (loop->told.next != &socket->told && !socket->shut && !deadlines_stopped_twice())
        world_fail("client %u is served before client %u, which was reported first", socket->client,
                   container_of(loop->told.next, struct socket, told)->client);
    invariants_forget(socket);
}

/* The bucket of pace.h, which is full at first and holds the tokens of a second. */
void invariants_accepted(void)
{
    enum { TOKEN = 1000000, PACE_TICK_US = 2000 };
    uint64_t rate = plan_get()->config.max_rate;
    uint64_t full = rate * (TOKEN + PACE_TICK_US);
    if (rate == 0)
        return;
    invariants.credit += (world_now() - invariants.counted_us) * rate;
    if (invariants.credit > full || invariants.counted_us == 0)
        invariants.credit = full;
    invariants.counted_us = world_now();
    if (invariants.credit < TOKEN)
        world_fail("more than %llu connections are accepted in a second", (unsigned long long)rate);
    invariants.credit -= TOKEN;
}

void invariants_spawned(struct socket *socket)
{
    unsigned most = plan_get()->config.max_per_source;
    bool sudden = world_has(FAULT_MEMORY) || deadlines_stopped_twice(); /* ends without a reason */
    if (most > 0 && !sudden && sockets_of_source(socket, false) >= most)
        world_fail("client %u is served, and its source has %u connections already", socket->client,
                   sockets_of_source(socket, false));
    const struct sched *sched = invariants.loops[0].sched;
    if (sched != NULL && sched->running)
        socket->accepted_turn = invariants.loops[0].turns + 1;
}

void invariants_after_turn(const void *idle, bool active)
{
    const char *memory = idle;
    const struct sched *sched = (const void *)(memory - offsetof(struct sched, idle));
    struct loop_state *loop = &invariants.loops[files_epoll(uv_backend_fd(sched->loop))];
    loop->sched = sched;
    loop->turns++;
    if ((sched->head != NULL) != active)
        world_fail("the idle handle is %s, and the queue is %s", active ? "active" : "not active",
                   active ? "empty" : "not empty");
    if (sched->error == 0 && !list_empty(&loop->told))
        world_fail("client %u was reported, and is not served in the turn after that",
                   container_of(loop->told.next, struct socket, told)->client);
}

void invariants_timer(const uv_timer_t *timer)
{
    const struct timer *own = (const void *)timer; /* uv is its first member */
    const struct sched *sched = NULL;
    if (signals_ask())
        return; /* the limit of the answer runs, which is no task's sleep */
    for (int i = 0; i < FILES_EPOLLS && sched == NULL; i++)
        if (invariants.loops[i].sched != NULL && &invariants.loops[i].sched->retry == timer)
            sched = invariants.loops[i].sched;
    if (sched != NULL ? sched->unwatched == NULL : own->sleeper == NULL)
        world_fail("a timer runs, and nobody waits for it");
}

void invariants_ready(int fd)
{
    enum file_kind kind = files_kind(fd);
    unsigned *starved = NULL;
    if (kind == FILE_SOCKET)
        starved = &socket_of(fd)->starved;
    else if (kind == FILE_LISTENING)
        starved = &((struct listening *)files_object(fd, FILE_LISTENING))->starved;
    if (starved != NULL && ++*starved > PASSES_MAX + sockets_count() / PASSES_SOCKETS)
        world_fail("descriptor %d is ready and armed, and is not served for %u passes", fd,
                   *starved);
}

/* ---- why a socket is closed ---- */

/* What a connection that the daemon closes has been told, and by whom. */
void invariants_find_reason(struct socket *socket)
{
    if (socket->reason != REASON_NONE) /* a call has told an end, or it lingers */
        return;
    bool lacks = socket->survivor && world_has(FAULT_MEMORY); /* the rest of its answer is lost */
    if (process_lacked_buffer() || (lacks && !deadlines_stopped_twice())) {
        socket->reason = REASON_ERROR;
        socket->error = -ENOMEM;
    } else if (deadlines_stopped_twice()) {
        socket->reason = REASON_DRAIN;
    } else {
        world_fail("client %u is closed, and there is no reason", socket->client);
    }
}

/* A successor may close what its peer or its predecessor has ended, and what it cannot go on with:
 * for lack of memory or of a watch, and Unix sockets of which nobody knows what was sent. */
static void invariants_cut(const struct socket *socket)
{
    bool gone = socket->broken != 0 || (socket->shut && socket->fin);
    bool lacks = world_has(FAULT_MEMORY) || world_has(FAULT_POLLINIT) || world_has(FAULT_WATCHES);
    size_t most = plan_get()->config.max_per_source;
    if (most > 0 && sockets_of_source(socket, true) >= most)
        return; /* the predecessor was about to refuse it */
    if (lacks && !gone && !socket->left && !socket->uncounted)
        lives_lose_counts(); /* the predecessor has counted it, and the successor refuses it */
    if (!gone && !lacks && !socket->left && !socket->uncounted)
        world_fail("a successor does not go on with client %u, and there is no reason",
                   socket->client);
}

void invariants_closed(struct socket *socket)
{
    invariants_forget(socket);
    if (socket->orphan)
        invariants_cut(socket);
    if (!socket->served)
        return;
    if (socket->shut)
        deadlines_lingered(socket);
    fates_closed(socket);
    invariants_find_reason(socket);
    bool orderly = socket->reason == REASON_ERROR && socket->error == 0;
    if (orderly && socket_owed(socket) > 0)
        world_fail("client %u is closed, and %llu bytes are owed to it", socket->client,
                   (unsigned long long)socket_owed(socket));
    if (socket->discards && socket->reason != REASON_STUCK && socket->broken == 0 &&
        socket_unacked(socket) > 0)
        world_fail("client %u is closed, and loses the %llu bytes that it has not taken",
                   socket->client, (unsigned long long)socket_unacked(socket));
    if (orderly && socket_unread(socket) > 0)
        world_fail("client %u is closed, and %llu bytes of it are not read", socket->client,
                   (unsigned long long)socket_unread(socket));
}

/* ---- before all loops sleep ---- */

bool invariants_timer_within(uint64_t ms)
{
    for (int i = 0; i < FILES_EPOLLS; i++)
        if (invariants.loops[i].sched != NULL &&
            loop_has_timer_within(invariants.loops[i].sched->loop, ms))
            return true;
    return false;
}

bool invariants_retries(void)
{
    return invariants_timer_within(SCHED_RETRY_MS);
}

/*
 * A successor that hands its connections over pauses for a moment when another thread has not begun
 * with its last ones.
 */
static bool invariants_takes_over(void)
{
    enum { PAUSE_MS = 1 };
    return sockets_orphaned() && invariants_timer_within(PAUSE_MS);
}

static void invariants_socket_sleeps(const struct socket *socket)
{
    unsigned ready = socket_ready(socket);
    bool sends = socket_owed(socket) > 0 && !socket->shut;
    bool writable = loop_is_armed(socket->fd, UV_WRITABLE);
    bool readable = loop_is_armed(socket->fd, UV_READABLE);
    if (!writable && !readable) {
        if (!world_has(FAULT_WATCHES) || !invariants_retries())
            world_fail("client %u (descriptor %d) waits for nothing", socket->client, socket->fd);
        return;
    }
    if (sends && (ready & UV_WRITABLE) != 0 && !writable)
        world_fail("client %u (descriptor %d) could be sent to, and nobody waits for that",
                   socket->client, socket->fd);
    if (!sends && (ready & UV_READABLE) != 0 && !readable)
        world_fail("client %u (descriptor %d) could be received from, and nobody waits for that",
                   socket->client, socket->fd);
}

static void invariants_listening_sleeps(const struct listening *listening)
{
    if (listening->fd < 0)
        return;
    if (deadlines_stop_us() != 0)
        world_fail("the daemon stops, and sleeps while descriptor %d listens", listening->fd);
    if (listening->count == 0 || logs_listening() == 0)
        return;
    if (plan_get()->config.max_per_source > 0 && invariants_takes_over())
        return; /* places of its source belong to those that are still to come */
    if (loop_is_armed(listening->fd, UV_READABLE) || sockets_count() >= plan_get()->limit)
        return;
    bool may_pause = listening->failed != 0 || world_has(FAULT_WATCHES);
    if (plan_get()->config.max_rate > 0 ? !invariants_timer_within(1001)
                                        : !may_pause || !invariants_retries())
        world_fail("%u connections wait on descriptor %d, there is room (%u of %zu), and nobody "
                   "accepts them",
                   listening->count, listening->fd, sockets_count(), plan_get()->limit);
}

/* A listener whose last accept has not failed must have told that accepting goes on. */
static void invariants_pauses(void)
{
    unsigned long failed = 0;
    for (unsigned i = 0; i < listenings_count(); i++)
        failed += listening_get(i)->failed != 0;
    if (deadlines_stop_us() == 0 && logs_pauses() > failed)
        world_fail("%lu pauses of accepting have no end in the log, and %lu listeners pause",
                   logs_pauses(), failed);
}

/* Buffers are lent for answers under way. A pool keeps some; each worker has a pool. */
static void invariants_memory(unsigned owing)
{
    size_t most = owing + (size_t)CHUNKS_SPARES_MAX * plan_get()->config.workers;
    if (process_buffers() > most)
        world_fail("%zu buffers are in use for %u answers under way", process_buffers(), owing);
}

void invariants_before_sleep(void)
{
    if (plan_get()->crowd && invariants.sleeps++ % CROWD_SLEEPS != 0)
        return;
    unsigned owing = 0;
    bool takes_over = invariants_takes_over();
    for (struct list *link = sockets_open()->next; link != sockets_open(); link = link->next) {
        const struct socket *socket = container_of(link, struct socket, link);
        owing += socket_owed(socket) > 0 && !socket->answer.piped;
        owing += ledgers_holds_header(socket);
        if (takes_over && socket->orphan)
            continue; /* its turn will come, and what its entry names is lent to nobody */
        invariants_socket_sleeps(socket);
        ledgers_before_sleep(socket);
        fates_before_sleep(socket);
    }
    for (unsigned i = 0; i < listenings_count(); i++)
        invariants_listening_sleeps(listening_get(i));
    invariants_memory(owing);
    invariants_pauses();
    deadlines_before_sleep();
    manager_before_sleep();
    signals_before_sleep();
}
