/*
 * pacer.h - the open loop: says when each message has to be sent, however late the answers are.
 *
 * A timerfd wakes the loop, because uv_timer_t knows only milliseconds. Messages whose time has
 * come while the loop was busy are due at once, and their latency begins when they were due.
 */
#ifndef ECHOLOAD_PACER_H
#define ECHOLOAD_PACER_H

#include <stdint.h>
#include <uv.h>

struct pacer {
    uv_poll_t poll;
    int fd;             /* -1: not started */
    uint64_t first_ns;  /* when message 0 is due, on the clock of uv_hrtime() */
    double interval_ns; /* from one message to the next */
    uint64_t next;      /* number of the next message */
    void (*on_due)(struct pacer *pacer, uint64_t number);
    void *owner;
};

/*
 * Starts: on_due is called for message 0 at once, and then for each, in their order, rate times a
 * second. Returns 0, or a negative errno of timerfd_create(2) or uv_poll_init().
 */
int pacer_start(struct pacer *pacer, uv_loop_t *loop, double rate);

/* When this message is due, in the time of uv_hrtime(). */
uint64_t pacer_due(const struct pacer *pacer, uint64_t number);

/* on_due is not called any more, if it ever was. */
void pacer_stop(struct pacer *pacer);

/* Frees the descriptor when the loop has closed its handles. */
void pacer_close(struct pacer *pacer);

#endif
