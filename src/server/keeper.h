/*
 * keeper.h - a process that keeps everything open when the daemon crashes, and starts a successor.
 *
 * With --keep, the process that was started is the keeper, and the daemon is its child, with which
 * it shares its descriptors (child.h). When a signal ends the daemon, each connection is still
 * open, and the ledger says where each one stands. The keeper closes what an execve(2) would have
 * closed, and makes the next child, which goes on as after an upgrade (takeover.h).
 *
 * The keeper is made before anything of the server is opened, opens nothing itself while there is a
 * daemon, and has no loop and no thread: so little can go wrong in it that it is not kept itself.
 * What a restart has left (legacy.h) has been taken out before: so no crash can lose a part of
 * that. Each child starts from the keeper's memory, which nothing has touched.
 *
 * - A daemon that ends by itself ends the keeper, with the same exit code.
 * - A daemon that a signal ends before any has been ready, or without a ledger, has no successor.
 * - More than KEEPER_CRASHES_MAX crashes within KEEPER_INTERVAL_MS end the keeper with exit code 1,
 *   so that a daemon that cannot live does not take up a processor for ever.
 * - The keeper forwards the signals that the daemon handles, and SIGABRT. If the daemon crashes
 *   while it stops, its successor stops, too.
 * - For an upgrade the daemon asks the program (upgrade.h) and ends, and the keeper executes it. So
 *   the service manager's main process stays the same.
 * - If the service manager has set a watchdog, the keeper ends a daemon that hangs, before the
 *   manager would end the keeper, too.
 */
#ifndef UVECHOD_KEEPER_H
#define UVECHOD_KEEPER_H

#include "base/log.h"
#include "server/server.h"

enum {
    KEEPER_CHILD = -1,      /* what keeper_run() returns in a child */
    KEEPER_CRASHES_MAX = 5, /* within the interval, as systemd's StartLimitBurst= */
    KEEPER_INTERVAL_MS = 10000,
    KEEPER_ABORT_MS = 1000, /* how long a daemon that hangs may take to end by SIGABRT */
};

/*
 * Becomes the keeper. Returns KEEPER_CHILD in each child, which is to run the server with this
 * config: its kept and, in a successor, its ledger have been set, and its legacy is for the first
 * child alone. In the keeper, returns the exit code when no daemon is left, or CLI_FAILED if none
 * could be started; the log at this level says why. Signals must be blocked (signals_block()), and
 * no other thread may run.
 */
int keeper_run(struct server_config *config, enum log_level level);

#endif
