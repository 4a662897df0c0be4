/*
 * stopper.h - the signals that end a run before its time (SIGINT, SIGTERM), and the end of its
 * loop.
 */
#ifndef ECHOLOAD_STOPPER_H
#define ECHOLOAD_STOPPER_H

#include <uv.h>

enum { STOPPER_SIGNALS = 2 };

struct stopper {
    uv_signal_t handles[STOPPER_SIGNALS];
    void (*on_signal)(struct stopper *stopper, int signum);
    void *owner;
};

/* Calls on_signal for each of the signals from now on. */
void stopper_start(struct stopper *stopper, uv_loop_t *loop);

/*
 * Closes all handles of the loop, and the loop. Blocks the signals first: they have nothing to stop
 * any more, and without their handles they would kill this process, whose exit code is about to
 * say how the run was.
 */
void stopper_close(uv_loop_t *loop);

#endif
