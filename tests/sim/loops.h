/*
 * loops.h - what the files of the simulated libuv share: loop.c runs a loop, handles.c has the
 * handles of all kinds, polls.c those of descriptors, threads.c what several loops need.
 *
 * A handle of the simulation has the struct of the real header, in which it uses the fields that
 * all versions of libuv have: data, loop, type, close_cb, next_closing, flags, those of its kind,
 * and the four that are reserved (u.reserved). What else is known of a loop stands in a struct
 * loop, in the memory of the simulation.
 */
#ifndef UVECHOD_SIM_LOOPS_H
#define UVECHOD_SIM_LOOPS_H

#include "world.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

enum { HANDLE_ACTIVE = 1, HANDLE_REF = 2, HANDLE_CLOSING = 4, HANDLE_CLOSED = 8 };

/*
 * The most events of one epoll_wait(), and how many times libuv polls again when it got so many. A
 * history with FAULT_ROUNDS has room for a few events only: few sockets can show then what would
 * else need more than a thousand.
 */
enum { LOOP_EVENTS_MAX = 1024, LOOP_EVENTS_FEW = 8, LOOP_ROUNDS_MAX = 48 };

enum { LOOP_SIGNALS_MAX = 64 };

/* Handles in no order that matters; each knows its place (u.reserved[slot]), so that it can leave
 * at once. */
struct roster {
    uv_handle_t **list;
    size_t count, room;
    unsigned slot;
};

enum event_kind { EVENT_TRUE, EVENT_FALSE, EVENT_ASYNCS, EVENT_VOID };

struct loop_event {
    enum event_kind kind; /* EVENT_VOID: the handle has been stopped since */
    int fd;
    unsigned events;
    uint64_t rank; /* what was told longest ago comes first */
};

struct loop {
    uv_loop_t *uv;
    struct roster idles, timers, polls, asyncs, signals;
    struct roster armed;  /* those of polls that are active */
    uv_poll_t **watchers; /* the armed one of each descriptor, or NULL */
    unsigned watchers_room;
    uint64_t timer_ids;
    struct loop_event *batch; /* the events of this round */
    size_t batch_room, batch_count, batch_at;
    int told_fd;                  /* whose callback runs now, or -1 */
    uint64_t told;                /* events so far */
    int caught[LOOP_SIGNALS_MAX]; /* signals that have arrived and wait for the next poll */
    unsigned caught_count;
    uint64_t wakes_us; /* while the loop sleeps: when it wakes by itself */
    unsigned spins;    /* passes without sleep or progress */
    uint64_t progress; /* world_progressed() at the last pass */
};

/* What is the same for all loops of a history. */
struct loops {
    uv_loop_t *list[32];
    unsigned count;
    struct chance order;
    unsigned few;      /* how many events a poll reports in a history with FAULT_ROUNDS */
    bool timers_last;  /* as since libuv 1.45: after the events, and once before the first pass */
    bool timers_batch; /* as since libuv 1.49: those that are started meanwhile wait for a pass */
    uint64_t passes, arms, errors;
};

extern struct loops loops;

static inline struct loop *loop_of(const uv_loop_t *uv)
{
    return uv->internal_fields;
}

/* The number of the loop among those that are open, in the order in which they were opened. */
unsigned loop_number(const uv_loop_t *uv);

/* ---- handles.c ---- */

struct roster *loop_roster(struct loop *loop, uv_handle_type type);
void roster_add(struct roster *roster, uv_handle_t *handle);
void roster_remove(struct roster *roster, uv_handle_t *handle);

/* Fails if the handle is not open. */
void handle_check(const void *handle);
void handle_init(uv_loop_t *loop, void *handle, uv_handle_type type);
void handle_set(void *handle, unsigned flags);
void handle_start(void *handle);
void handle_stop(void *handle);
bool handle_is_active(const void *handle);

uv_timer_t *loop_first_timer(const struct loop *loop);
void loop_run_timers(struct loop *loop);
void loop_run_idles(struct loop *loop);
void loop_run_closing(struct loop *loop);

/* ---- polls.c ---- */

/* Takes what is left of the descriptor's events out of the batch, and its watch. */
void poll_disarm(uv_poll_t *poll);

/* Fails if libuv would have to register a descriptor itself. */
void loop_check_watches(const struct loop *loop);

/* Whether a descriptor that the loop watches has something to tell. */
bool loop_has_event(const struct loop *loop);

/* Fills the batch; with lies, if chance wants them or if lie is true. first: of this pass. */
void loop_gather(struct loop *loop, bool first, bool lie);

/* Whether the batch has as many events as one poll can report, so that there may be more. */
bool loop_batch_is_full(const struct loop *loop);

/* Calls the callbacks of the batch. Returns how many events were not void. */
unsigned loop_dispatch(struct loop *loop);

void loop_free_polls(struct loop *loop);

/* ---- threads.c ---- */

bool loop_has_async(const struct loop *loop);
void loop_run_asyncs(struct loop *loop);

#endif
