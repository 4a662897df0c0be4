#include "echoload/stopper.h"

#include <signal.h>

static const int stopper_signals[STOPPER_SIGNALS] = {SIGINT, SIGTERM};

static void on_signal(uv_signal_t *handle, int signum)
{
    struct stopper *stopper = handle->data;
    stopper->on_signal(stopper, signum);
}

void stopper_start(struct stopper *stopper, uv_loop_t *loop)
{
    for (size_t i = 0; i < STOPPER_SIGNALS; i++) {
        (void)uv_signal_init(loop, &stopper->handles[i]);
        (void)uv_signal_start(&stopper->handles[i], on_signal, stopper_signals[i]);
        stopper->handles[i].data = stopper;
    }
}

static void stopper_block(void)
{
    sigset_t set;
    (void)sigemptyset(&set);
    for (size_t i = 0; i < STOPPER_SIGNALS; i++)
        (void)sigaddset(&set, stopper_signals[i]);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
}

static void on_walk(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

/* A uv_stop() that no run has seen yet ends the first one at once. */
void stopper_close(uv_loop_t *loop)
{
    stopper_block();
    uv_walk(loop, on_walk, NULL);
    while (uv_loop_close(loop) == UV_EBUSY)
        (void)uv_run(loop, UV_RUN_DEFAULT);
}
