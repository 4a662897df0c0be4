#include "os/signals.h"

#include <pthread.h>
#include <signal.h>

const int signals_handled[SIGNALS_HANDLED] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGQUIT};

static void signals_mask(int how)
{
    sigset_t set;
    (void)sigemptyset(&set);
    for (int i = 0; i < SIGNALS_HANDLED; i++)
        (void)sigaddset(&set, signals_handled[i]);
    (void)pthread_sigmask(how, &set, NULL);
}

void signals_block(void)
{
    signals_mask(SIG_BLOCK);
}

void signals_unblock(void)
{
    signals_mask(SIG_UNBLOCK);
}

void signals_ignore_of_writes(void)
{
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN);
}
