/*
 * victim.h - a daemon to which things happen while its clients go on: kills, crashes, upgrades,
 * restarts and signals, at any moment, also in the middle of each other.
 *
 * What the daemon logs is followed. A line that says that a connection or an upgrade has failed
 * fails the test, and so does a crash that nobody has caused.
 */
#ifndef UVECHOD_VICTIM_H
#define UVECHOD_VICTIM_H

#include "e2e/daemon.h"
#include "e2e/manager.h"
#include "handover/crowd.h"
#include "handover/mail.h"
#include "handover/plan.h"

#include <stdbool.h>
#include <stdint.h>

/* What has happened to all daemons together. */
struct toll {
    unsigned long kills;       /* of a child of a keeper, by SIGKILL or as by an error */
    unsigned long interrupted; /* of them: before a takeover or an upgrade was over */
    unsigned long takeovers;
    unsigned long upgrades;
    unsigned long restarts;
};

struct victim {
    struct daemon *daemon;
    struct crowd *crowd;
    struct mail *mail;
    const struct plan *plan;
    struct dice *dice;
    struct toll *toll;
    struct manager manager;
    pid_t dead;          /* the child that has ended last, as far as the test knows */
    unsigned kills;      /* of children of this keeper */
    int signum;          /* of the last of them, until the keeper has logged it */
    bool erred;          /* the last of them was as by an error */
    bool blamed;         /* the ledger may still say who was served at such an end */
    bool asked;          /* an upgrade was asked for, and nobody has waited for it */
    bool serves;         /* the log says that it has taken over everything */
    bool stops;          /* the log says that it waits for its last connections */
    unsigned executions; /* upgrades that were begun, since the counter was set to 0 */
    unsigned refusals;   /* the same of upgrades that came too late */
    char story[4096];    /* what has happened to the daemon, for whoever looks for the cause */
};

/* Starts the daemon. Everything must outlive the victim; victim_stop() must follow. */
void victim_start(struct victim *victim, struct daemon *daemon, struct crowd *crowd,
                  struct mail *mail, struct dice *dice, struct toll *toll);

/* Lets the clients go on for a moment, and then one of many things happen. */
void victim_suffer(struct victim *victim);

/* Waits until the process of now serves, and has answered a datagram if some are sent. */
void victim_settle(struct victim *victim);

/* Upgrades the daemon, and waits until the successor has taken over. */
void victim_upgrade(struct victim *victim);

/*
 * The same by a kill, if a keeper allows another one: only what an execution does not close anyway
 * shows what crashes have left behind.
 */
void victim_replace(struct victim *victim);

/*
 * Tells the daemon to stop while other things happen. It must wait for its clients, who go on, must
 * refuse an upgrade meanwhile, and must end with 0 and leave no process when they have gone.
 */
void victim_stop(struct victim *victim);

#endif
