/*
 * world.h - the simulated world: its clock, what happens in it and when, chance, and the report of
 * what went wrong.
 *
 * One number, the seed, decides everything that happens: the order in which sockets are reported,
 * how long each call takes, what each client does, and which faults occur. The same seed is the
 * same history, to the byte. So no code of tests/sim may ask the real clock, and none may let the
 * order of addresses in memory decide anything.
 */
#ifndef UVECHOD_SIM_WORLD_H
#define UVECHOD_SIM_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The kinds of faults, each with a stream of chance of its own, so that leaving out one kind leaves
 * the others as they were. A seed has some of them. F(name, "what a person calls it").
 */
#define WORLD_FAULTS(F)                                                                            \
    F(SHORT, "short")         /* reads and writes move less than they could */                     \
    F(SPURIOUS, "spurious")   /* sockets are reported that have nothing to tell */                 \
    F(POLLERR, "pollerr")     /* POLLERR without an error: libuv stops the handle */               \
    F(STALL, "stall")         /* time passes in a call: SIGSTOP, or a busy machine */              \
    F(RESET, "reset")         /* clients reset their connections */                                \
    F(LACK, "lack")           /* accept fails for lack of descriptors or memory, for a while */    \
    F(SKIP, "skip")           /* accept fails because of one connection */                         \
    F(FIREWALL, "firewall")   /* accept fails with EPERM, for a while */                           \
    F(MEMORY, "memory")       /* allocations fail */                                               \
    F(SPLICE, "splice")       /* splice and pipes are refused, or move little */                   \
    F(URGENT, "urgent")       /* clients send urgent bytes */                                      \
    F(POLLINIT, "pollinit")   /* a descriptor cannot be watched at all */                          \
    F(WATCHES, "watches")     /* epoll has no watch left, for a while */                           \
    F(INTERRUPT, "interrupt") /* SIGUSR1, at any moment */                                         \
    F(TWICE, "twice")         /* a second signal to stop */                                        \
    F(MANAGER, "manager")     /* the service manager's queue is full */                            \
    F(THREADS, "threads")     /* a worker's thread cannot be started */                            \
    F(ROUNDS, "rounds")       /* epoll reports few events at once: a pass polls several times */   \
    F(KILL, "kill")           /* SIGKILL at any moment, and a successor */                         \
    F(UPGRADE, "upgrade")     /* SIGUSR2, at any moment */                                         \
    F(PROGRAM, "program")     /* the program cannot be executed */

enum world_fault {
#define WORLD_FAULT_ENUM(name, text) FAULT_##name,
    WORLD_FAULTS(WORLD_FAULT_ENUM)
#undef WORLD_FAULT_ENUM
        FAULT_COUNT
};

/* A stream of chance (splitmix64). Everything that draws by itself has a stream of its own. */
struct chance {
    uint64_t state;
};

uint64_t chance_next(struct chance *chance);
uint64_t chance_below(struct chance *chance, uint64_t n); /* 0 to n - 1; 0 if n is 0 */
uint64_t chance_between(struct chance *chance, uint64_t a, uint64_t b); /* a to b */
bool chance_of(struct chance *chance, unsigned of_10000);

/* ---- the history of one seed ---- */

/* What the shrinker leaves out of the history that a seed says. */
struct world_limits {
    uint32_t without;    /* a set of kinds of faults */
    uint64_t faults_max; /* only so many faults occur in all; later ones do not */
    int planted;         /* a kind of fault whose fifth occurrence fails by itself, or -1 */
};

/* Begins the history of a seed, at a clock that may wrap soon. */
void world_begin(uint64_t seed, const struct world_limits *limits);
void world_end(void);
uint64_t world_seed(void);

/* How long the history has lasted, in microseconds. */
uint64_t world_lasted(void);

/* A stream that depends on the seed and on a number only: of client 7, of the order of events. */
struct chance world_chance(uint64_t number);

/* Whether the history has faults of this kind at all; whether one occurs now. None does before
 * world_faults_may_occur(true) (the daemon listens) and after world_faults_may_occur(false). */
bool world_has(enum world_fault fault);
bool world_has_any(void);
const char *world_fault_name(enum world_fault fault);
bool world_fault(enum world_fault fault, unsigned of_10000);
void world_faults_may_occur(bool may);
bool world_faults_occur(void); /* whether they may */

/* The same as world_fault(), also while a successor starts. */
bool world_fault_at_start(enum world_fault fault, unsigned of_10000);

/* How many faults have occurred. */
uint64_t world_faults(void);

/* Gives the history this kind of fault, or takes it away (a plan that needs pairs). */
void world_want(enum world_fault fault, bool wanted);

/* The clock, in microseconds. It jumps: nothing happens between two events. */
uint64_t world_now(void);

/*
 * Lets happen(arg) be called at that time, or as soon as the clock is moved when it has passed
 * already. Of two at the same time the one that was ordered first comes first.
 */
void world_at(uint64_t when_us, void (*happen)(void *arg), void *arg);

/* The time of the next event, or UINT64_MAX. */
uint64_t world_next(void);

/* Moves the clock to that time, and lets happen what is due until then, in order. */
void world_run_until(uint64_t when_us);

/* A system call takes its time: a few microseconds, in which the world goes on; or a stall. */
void world_spend(void);

/* How long the daemon has not run in all, by stalls, in microseconds; and when the last ended. */
uint64_t world_stalled(void);
uint64_t world_last_stall_end(void);

/* ---- what is told ---- */

/* What becomes of the lines of the history. */
enum world_telling { WORLD_SILENT, WORLD_PRINTS, WORLD_HASHES };

void world_tell(enum world_telling telling);
uint64_t world_hash(void); /* of all lines since world_tell() */

/* Tells a line of the history, with the time and the thread before it. */
void world_trace(const char *format, ...) __attribute__((format(printf, 1, 2)));
bool world_is_traced(void); /* not silent: a costly line may be worth making */

/* An invariant does not hold: gives the reason to the reporter, which ends the process. */
void world_fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
void world_report_to(void (*reporter)(const char *reason));

/* Something has got on: bytes moved, a connection was accepted or ended. Loops may turn again. */
void world_progress(void);
uint64_t world_progressed(void); /* how many times */

#endif
