/*
 * kept.h - what a daemon tells its keeper, and what the keeper tells the daemon's successor.
 *
 * It stands in memory that the keeper (keeper.h) shares with each of its children, so that it is
 * still there when the daemon has ended, whatever has ended it. Each field has one writer at a
 * time. A daemon without a keeper has no such memory: all functions take NULL, and do nothing then.
 */
#ifndef UVECHOD_KEPT_H
#define UVECHOD_KEPT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct kept {
    /* The daemon writes these. */
    atomic_int ledger;         /* the descriptor of its ledger; 0: there is none */
    atomic_bool ready;         /* it serves, or a predecessor has served */
    atomic_bool executes;      /* it has ended so that the keeper executes the program */
    _Atomic uint32_t moved_ms; /* when its run queues moved last, on the clock of kept_now_ms() */
    /* The keeper writes these, while there is no daemon. */
    uint64_t crashed_ns; /* when a signal ended the predecessor, on that of uv_hrtime(); or 0 */
    bool blames;         /* the predecessor itself was the cause, as far as anybody can tell */
};

/* Milliseconds, modulo 2^32, on a clock that is the same in all processes. */
uint32_t kept_now_ms(void);

/*
 * The descriptor of a ledger in which every connection and listening socket stands that there is;
 * negative: there is none. A successor goes on with it from now on.
 */
void kept_tell_ledger(struct kept *kept, int ledger);

/* The same of a ledger that a predecessor has left: there will be a successor from now on. */
void kept_tell_predecessor(struct kept *kept, int ledger);

/* The daemon serves: if it is ended by a signal from now on, there will be a successor. */
void kept_tell_ready(struct kept *kept);

/* The daemon does not hang. */
void kept_tell_moved(struct kept *kept);

/*
 * Ends the daemon, so that the keeper executes the program: the same as an execve(2) of the daemon
 * itself, because all threads end, wherever they are. kept must not be NULL.
 */
_Noreturn void kept_execute(struct kept *kept);

/* When a signal ended the predecessor (uv_hrtime()); 0: none did, or there is no keeper. */
uint64_t kept_crashed_ns(const struct kept *kept);

/*
 * Whether the predecessor was ended by an error of its own, such as SIGSEGV, or has hung. SIGKILL
 * comes from outside, and nothing that the predecessor did is to blame.
 */
bool kept_blames(const struct kept *kept);

#endif
