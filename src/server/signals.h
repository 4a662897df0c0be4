/*
 * signals.h - the signals that the daemon acts on, as calls on the loop.
 */
#ifndef UVECHOD_SIGNALS_H
#define UVECHOD_SIGNALS_H

#include <uv.h>

enum { SIGNALS_COUNT = 4 };

/* What the signals ask for. Whoever acts on them embeds it. */
struct signals_actor {
    void (*stop)(struct signals_actor *actor);  /* SIGTERM, SIGINT, SIGHUP */
    void (*stats)(struct signals_actor *actor); /* SIGUSR1 */
};

struct signals {
    uv_signal_t handles[SIGNALS_COUNT];
    int count; /* of them set up */
    struct signals_actor *actor;
};

/*
 * Has the actor called from the loop when one of the signals comes, which does not keep the loop
 * running. A SIGHUP that is ignored stays ignored: nohup(1) asks for that. Returns 0 or libuv's
 * negative errno; signals_close() must be called in either case.
 */
int signals_start(struct signals *signals, uv_loop_t *loop, struct signals_actor *actor);

/*
 * Blocks the signals and closes the handles. The memory is the owner's when the loop has run once
 * more.
 */
void signals_close(struct signals *signals);

#endif
