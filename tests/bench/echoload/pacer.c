#include "echoload/pacer.h"

#include <errno.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

uint64_t pacer_due(const struct pacer *pacer, uint64_t number)
{
    return pacer->first_ns + (uint64_t)((double)number * pacer->interval_ns);
}

/* Calls for every message whose time has come, and sets the timer for the next one. */
static void pacer_go(struct pacer *pacer)
{
    double due = (double)(uv_hrtime() - pacer->first_ns) / pacer->interval_ns;
    while ((double)pacer->next <= due)
        pacer->on_due(pacer, pacer->next++);
    uint64_t next = pacer_due(pacer, pacer->next) + 1;
    const struct itimerspec when = {.it_value.tv_sec = (time_t)(next / 1000000000),
                                    .it_value.tv_nsec = (long)(next % 1000000000)};
    (void)timerfd_settime(pacer->fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static void on_pace(uv_poll_t *poll, int status, int events)
{
    struct pacer *pacer = poll->data;
    uint64_t expirations;
    (void)status;
    (void)events;
    (void)!read(pacer->fd, &expirations, sizeof expirations);
    pacer_go(pacer);
}

int pacer_start(struct pacer *pacer, uv_loop_t *loop, double rate)
{
    /* The clock of uv_hrtime(). */
    pacer->fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (pacer->fd < 0)
        return -errno;
    int rc = uv_poll_init(loop, &pacer->poll, pacer->fd);
    if (rc < 0) {
        pacer_close(pacer);
        return rc;
    }
    pacer->poll.data = pacer;
    (void)uv_poll_start(&pacer->poll, UV_READABLE, on_pace);
    pacer->interval_ns = 1e9 / rate;
    pacer->first_ns = uv_hrtime();
    pacer_go(pacer);
    return 0;
}

void pacer_stop(struct pacer *pacer)
{
    if (pacer->fd >= 0)
        (void)uv_poll_stop(&pacer->poll);
}

void pacer_close(struct pacer *pacer)
{
    if (pacer->fd >= 0)
        (void)close(pacer->fd);
    pacer->fd = -1;
}
