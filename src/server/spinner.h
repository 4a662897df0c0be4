/*
 * spinner.h - keeps a loop from sleeping for a while after each event (--busy-poll).
 *
 * A thread that sleeps in epoll_wait(2) runs again some 10 to 50 microseconds after its event has
 * come, most of which the processor needs to wake up. An active idle handle makes the loop poll
 * without sleeping, so an event is found within one round, which takes less than a microsecond. The
 * price is a processor that works all the time.
 *
 * The spinner has an idle handle of its own, and a check handle, which libuv calls after each poll.
 * Tasks are queued then if the poll has found something for them: that begins the time anew. So
 * nothing on the path of a message knows of the spinner, and without the option neither handle
 * exists.
 *
 * The loop sleeps as ever
 * - when no poll has found anything for the time that is given;
 * - when the loop has no connection;
 * - for a while after another thread has had the processor for long.
 *
 * The spinner gives other threads the opportunity once in SPINNER_ROUNDS fruitless rounds. If it
 * did so in each, a round would take a third longer; if never, they would wait for the end of a
 * time slice (milliseconds). A thread that has an errand, such as the kernel's own, may have the
 * processor: that costs microseconds. A thread that works keeps it for a whole time slice, and the
 * clients wait. A loop that sleeps is served better then, because the kernel prefers a thread that
 * wakes up to one that has spun. So the loop rests: for a short while first, and for twice as long
 * if it loses the processor again soon after.
 */
#ifndef UVECHOD_SPINNER_H
#define UVECHOD_SPINNER_H

#include "stream/conn.h"

#include <stdint.h>
#include <uv.h>

enum {
    SPINNER_ROUNDS = 16,     /* from one opportunity for others to the next */
    SPINNER_AWAY_US = 100,   /* more than an errand, and less than a time slice */
    SPINNER_REST_MIN_MS = 1, /* how long the loop sleeps as ever then */
    SPINNER_REST_MAX_MS = 128,
    /* If it spins for this multiple of its last rest, the next rest is half of it; else, twice. */
    SPINNER_CALM = 8,
};

struct spinner {
    uv_check_t check; /* neither keeps the loop running */
    uv_idle_t idle;   /* active while the loop must not sleep */
    const struct conns *conns;
    uint64_t limit_ns;  /* how long after the last event */
    uint64_t quiet_ns;  /* uv_hrtime() at the first poll that found nothing; 0: none since then */
    uint64_t rested_ns; /* uv_hrtime() at the end of the last rest, which may be to come */
    unsigned rest_ms;   /* how long that lasts; 0: there was none */
    unsigned rounds;    /* polls that found nothing; it wraps */
    long losses;        /* processor_losses() when it began to spin */
};

/*
 * Keeps the loop of conns from sleeping for limit_us microseconds, at least 1, after each event.
 * conns must outlive the spinner. Must be called on the thread of the loop, or before it runs.
 * Cannot fail.
 */
void spinner_start(struct spinner *spinner, const struct conns *conns, unsigned limit_us);

/* Closes the handles. The memory is the owner's again when the loop has run once more. */
void spinner_close(struct spinner *spinner);

#endif
