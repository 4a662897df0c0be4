#include "server/control.h"

#include <signal.h>
#include <stdbool.h>

static void on_signal(uv_signal_t *handle, int signum)
{
    const struct control *control = handle->data;
    if (signum == SIGUSR1)
        control->controlled->stats(control->controlled);
    else if (signum == SIGUSR2)
        control->controlled->upgrade(control->controlled);
    else if (signum == SIGQUIT)
        control->controlled->restart(control->controlled);
    else
        control->controlled->stop(control->controlled);
}

static bool control_ignores(int signum)
{
    struct sigaction action;
    return signum == SIGHUP && sigaction(signum, NULL, &action) == 0 &&
           action.sa_handler == SIG_IGN;
}

int control_start(struct control *control, uv_loop_t *loop, struct controlled *controlled)
{
    int rc = 0;
    control->controlled = controlled;
    for (control->count = 0; control->count < SIGNALS_HANDLED && rc == 0;) {
        int signum = signals_handled[control->count];
        uv_signal_t *handle = &control->handles[control->count];
        rc = uv_signal_init(loop, handle);
        if (rc < 0)
            return rc;
        control->count++;
        handle->data = control;
        uv_unref((uv_handle_t *)handle);
        if (!control_ignores(signum))
            rc = uv_signal_start(handle, on_signal, signum);
    }
    if (rc == 0)
        signals_unblock(); /* main() has blocked the signals */
    return rc;
}

/*
 * libuv restores the default action of a signal when the handle is closed. That action kills the
 * process. The daemon has already stopped when it gets here: a signal that arrives now must not
 * turn the exit code into a failure.
 */
void control_close(struct control *control)
{
    signals_block();
    for (int i = 0; i < control->count; i++)
        uv_close((uv_handle_t *)&control->handles[i], NULL);
}
