/*
 * control.h - what the daemon is told by signals, as calls on the loop.
 */
#ifndef UVECHOD_CONTROL_H
#define UVECHOD_CONTROL_H

#include "os/signals.h"

#include <uv.h>

/* What the signals ask for. Whoever acts on them embeds it. */
struct controlled {
    void (*stop)(struct controlled *controlled);  /* SIGTERM, SIGINT, SIGHUP */
    void (*stats)(struct controlled *controlled); /* SIGUSR1 */
};

struct control {
    uv_signal_t handles[SIGNALS_HANDLED];
    int count; /* of them set up */
    struct controlled *controlled;
};

/*
 * From now on the loop calls controlled when a signal comes, also for those that have come since
 * signals_block(). The handles do not keep the loop running. A SIGHUP that is ignored stays
 * ignored, because nohup(1) asks for that. Returns 0 or libuv's negative errno; control_close()
 * must be called in either case.
 */
int control_start(struct control *control, uv_loop_t *loop, struct controlled *controlled);

/*
 * Blocks the signals and closes the handles. The owner may free the memory when the loop has run
 * once more.
 */
void control_close(struct control *control);

#endif
