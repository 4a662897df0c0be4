/*
 * control.h - signals, turned into calls on the loop.
 */
#ifndef UVECHOD_CONTROL_H
#define UVECHOD_CONTROL_H

#include "os/signals.h"

#include <uv.h>

/* What the signals ask for. The struct that acts on the signals embeds this one. */
struct controlled {
    void (*stop)(struct controlled *controlled);    /* SIGTERM, SIGINT, SIGHUP */
    void (*stats)(struct controlled *controlled);   /* SIGUSR1 */
    void (*upgrade)(struct controlled *controlled); /* SIGUSR2 */
    void (*restart)(struct controlled *controlled); /* SIGQUIT */
};

struct control {
    uv_signal_t handles[SIGNALS_HANDLED];
    int count; /* of the handles that must be closed */
    struct controlled *controlled;
};

/*
 * From now on the loop calls the functions of controlled, which must outlive control, when a signal
 * arrives. Signals that have arrived since signals_block() are not lost. The handles do not keep
 * the loop running. If SIGHUP is ignored, it stays ignored, because nohup(1) asks for that. Returns
 * 0 or libuv's negative errno; control_close() must be called in either case.
 */
int control_start(struct control *control, uv_loop_t *loop, struct controlled *controlled);

/*
 * Blocks the signals and closes the handles. The owner may free the memory when the loop has run
 * once more.
 */
void control_close(struct control *control);

#endif
