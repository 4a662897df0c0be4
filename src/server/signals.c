#include "server/signals.h"

#include "base/container_of.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>

static const int signals_numbers[SIGNALS_COUNT] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};

static void on_signal(uv_signal_t *handle, int signum)
{
    const struct signals *signals = handle->data;
    if (signum == SIGUSR1)
        signals->actor->stats(signals->actor);
    else
        signals->actor->stop(signals->actor);
}

static bool signals_ignored(int signum)
{
    struct sigaction action;
    return signum == SIGHUP && sigaction(signum, NULL, &action) == 0 &&
           action.sa_handler == SIG_IGN;
}

int signals_start(struct signals *signals, uv_loop_t *loop, struct signals_actor *actor)
{
    signals->actor = actor;
    int rc = 0;
    for (signals->count = 0; signals->count < SIGNALS_COUNT && rc == 0;) {
        int signum = signals_numbers[signals->count];
        uv_signal_t *handle = &signals->handles[signals->count];
        rc = uv_signal_init(loop, handle);
        if (rc < 0)
            return rc;
        signals->count++;
        handle->data = signals;
        uv_unref((uv_handle_t *)handle);
        if (!signals_ignored(signum))
            rc = uv_signal_start(handle, on_signal, signum);
    }
    return rc;
}

/*
 * When its handles are closed, libuv restores the default action of a signal, which kills. A signal
 * that comes so late has nothing left to stop, and must not turn a good end into a bad one.
 */
static void signals_block(void)
{
    sigset_t set;
    (void)sigemptyset(&set);
    for (int i = 0; i < SIGNALS_COUNT; i++)
        (void)sigaddset(&set, signals_numbers[i]);
    (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
}

void signals_close(struct signals *signals)
{
    signals_block();
    for (int i = 0; i < signals->count; i++)
        uv_close((uv_handle_t *)&signals->handles[i], NULL);
}
