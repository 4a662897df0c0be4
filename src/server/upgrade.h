/*
 * upgrade.h - the same process executes its program again, which goes on with every connection.
 *
 * A package, say, has replaced the program's file. On SIGUSR2 the process executes what stands
 * there now (execve(2)). Its descriptors stay open, and the ledger is one of them, whose number the
 * new program finds in its environment. Threads need not come to rest before: wherever they end,
 * the ledger says how to go on (takeover.h).
 *
 * An execve(2) that succeeds leaves no way back, so the program is asked first: it is started as a
 * child process (program.h) with UPGRADE_OPTION and the ledger, which the child can only read. It
 * says yes if it accepts the options and the ledger. All else is a no: the log says in one line
 * what the child has said or how it has ended, and the daemon goes on as if nothing had been asked.
 * The daemon serves its clients and acts on signals while it waits. If it is told to stop, it ends
 * the child at once, and there is no upgrade.
 *
 * The signals that the daemon handles are blocked from the yes until the new program handles them,
 * so that none is lost and none kills the process. Those that libuv has received already are acted
 * on before: the loop polls once between the block and the execution. If one of them stops the
 * daemon, there is no upgrade. The execution can still fail, because the file may have been
 * replaced since the yes: the log says why, and the daemon goes on.
 *
 * A daemon that is kept (keeper.h) ends instead, and its keeper executes the program. If that
 * fails, a successor of the same program goes on.
 */
#ifndef UVECHOD_UPGRADE_H
#define UVECHOD_UPGRADE_H

#include "base/log.h"
#include "os/program.h"
#include "server/kept.h"
#include "stream/ledger.h"
#include "task/sched.h"
#include "task/sock.h"
#include "task/task.h"

#include <stdbool.h>
#include <uv.h>

/*
 * What two versions of the daemon have agreed on: the variable of the environment that says which
 * descriptor the ledger is; the option that asks a program whether it could go on; and all that
 * this program then says for a yes, before it ends with exit code 0.
 */
#define UPGRADE_VARIABLE "UVECHOD_LEDGER"
#define UPGRADE_OPTION   "--check-handover"
#define UPGRADE_YES      "uvechod handover: yes\n"

/*
 * How long the program may take for its answer. It only starts, and reads its options and a page.
 * But that takes seconds on a machine that has far too much to do, and waiting costs nobody
 * anything.
 */
enum { UPGRADE_LIMIT_MS = 30000 };

/* Whoever is upgraded embeds this. */
struct upgraded {
    /* Stores what has been counted. Returns false if there must be no upgrade any more. */
    bool (*leave)(struct upgraded *upgraded, struct ledger_past *past);
    /* There is no upgrade, and the log says why: the daemon goes on. */
    void (*stay)(struct upgraded *upgraded);
};

struct upgrade {
    struct task task;
    struct sched *sched;
    struct log *log;
    const struct program *program;
    struct ledger *ledger;
    struct kept *kept;
    struct upgraded *upgraded;
    unsigned limit_ms; /* UPGRADE_LIMIT_MS, unless a test has changed it */
    bool begun;
    bool asking;  /* the child runs, and the fields below are in use */
    bool late;    /* the limit has passed */
    bool stopped; /* upgrade_stop() has been called */
    struct program_asked asked;
    struct sock sock; /* of the child's output */
    uv_timer_t limit;
};

/*
 * Everything must outlive upgrade; kept is NULL without a keeper. Cannot fail; upgrade_close() must
 * follow.
 */
void upgrade_init(struct upgrade *upgrade, struct sched *sched, struct log *log,
                  const struct program *program, struct ledger *ledger, struct kept *kept,
                  struct upgraded *upgraded);

/* Spawns the task. Does nothing while an upgrade has begun: that one answers for both requests. */
void upgrade_begin(struct upgrade *upgrade);

/* The daemon stops: ends the child in the next turn, if one is being asked. */
void upgrade_stop(struct upgrade *upgrade);

/* The task must have ended. The owner may free the memory when the loop has run once more. */
void upgrade_close(struct upgrade *upgrade);

#endif
