/*
 * torture.h - runs the daemon once for each fault of a scenario.
 *
 * A scenario is something that the daemon does, such as one echo. It is run untouched first, which
 * counts the calls that it makes. Then it is run again for each of these calls, which fails: alone,
 * or together with those that follow it. Each run has a daemon of its own, so that what a fault has
 * left behind is found when that daemon ends.
 *
 * What must hold whatever fails:
 * - The daemon starts and serves, or ends with exit code 1 and one line that says why. Once it
 *   serves, it goes on and ends with 0 when it is told to.
 * - Only the connection whose own call has failed may end early. What it has received is right, and
 *   a line of the log gives the error. A call that may be tried again, or whose result can be done
 *   without, ends no connection at all.
 * - A bystander, which was connected before, gets every byte of its answers.
 * - A program that is executed at an upgrade does the same as one that starts. Only then may a
 * fault end all connections.
 * - No descriptor is left, no memory (AddressSanitizer), and the daemon sleeps when all is done.
 *
 * A scenario may have a keeper (--keep). Then no call fails: at each call the daemon is killed,
 * once right before it and once right after it. Nothing may be lost by that, neither a connection
 * nor a byte nor a line about a takeover. But for a datagram that is being answered.
 */
#ifndef UVECHOD_TORTURE_H
#define UVECHOD_TORTURE_H

#include "e2e/harness.h"
#include "torture/faults.h"

#include <stdbool.h>
#include <stddef.h>

struct scenario;

/* One run: the daemon, its clients and the fault. */
struct torture {
    const struct scenario *scenario;
    struct fault_page *page;
    int page_fd;          /* of the memory that the daemon maps, too */
    struct daemon daemon; /* for the port, the pid and the log */
    int log_writer;       /* the daemon's end of its log */
    char log[131072];     /* all of it, when the daemon has ended */
    bool passed;          /* all runs are as they must be */
    int status;           /* the exit code of the daemon, */
    bool killed;          /* or the signal that has ended it */
    int bystander;        /* -1: none */
    int client;           /* the connection that run is about, if it was there before; or -1 */
    size_t sent;          /* bytes that the client has sent before, and not received */
    long fds;             /* that the daemon has open while it serves the bystander alone */
    bool cut;             /* the scenario's connection has not got all */
    unsigned kills;       /* by the scenario itself, of a daemon that has a keeper */
    char victim[80];      /* that connection's name in the log */
};

struct scenario {
    const char *name;
    const char *prefix; /* of the daemon's answers */
    bool from_start;    /* calls count from main() until the daemon sleeps, and not in run */
    bool lonely;        /* there is no bystander */
    bool threads;       /* threads are started while calls fail */
    bool resolves;      /* a name is looked up */
    int keeps;        /* descriptors that the daemon keeps for the next connection, less those that
                         it has while the calls begin to count, and gives back */
    bool ends;        /* run makes the daemon end, and the bystander leave */
    bool starts_anew; /* run makes the daemon start anew: a start may fail */
    bool kept;        /* the daemon has a keeper, and is killed at calls */
    void (*launch)(struct torture *torture); /* calls torture_launch() */
    int (*connect)(struct torture *torture);
    /* Before calls count. May be NULL. */
    void (*prepare)(struct torture *torture);
    /* Calls count. Sets cut where a connection got less than it should. */
    void (*run)(struct torture *torture);
    /* After the daemon's end, with all of its log. May be NULL. */
    void (*check)(const struct torture *torture);
};

/* Runs the scenario with each fault. Prints how many calls have failed. */
void torture_run(struct torture *torture);

/* Ends the daemon that still runs, and prints the fault and the log of this run. */
void torture_print(struct torture *torture);

/* Waits until the daemon makes no calls any more, as it sleeps. With a keeper, both do. */
void torture_wait_quiet(const struct torture *torture);

/* Kills the daemon that has a keeper. It must sleep, so that no fault kills it meanwhile. */
void torture_kill(struct torture *torture);

/* Whether the daemon has ended, or does so within so many milliseconds. */
bool torture_ended(const struct torture *torture, int ms);

/* Reads what is in the log by now. */
void torture_read_log(struct torture *torture);

/* Notes how the log names this client, which the scenario is about. */
void torture_name(struct torture *torture, int fd);

/* The client has not got all of its answer. */
void torture_is_cut(struct torture *torture, int fd);

/* Starts the daemon. */
void torture_launch(struct torture *torture, struct launch *launch);

/* No call fails any more. */
void torture_disarm(const struct torture *torture);

#endif
