/*
 * restart.h - the end of a daemon whose successor goes on with its connections.
 *
 * When systemd restarts the service, it ends this process and starts another one. It sends SIGQUIT
 * for that (RestartKillSignal= in systemd.kill(5)), and SIGTERM only to stop. Meanwhile systemd
 * keeps what the successor needs: the ledger, each connection, the pipes of answers under way and
 * the listening sockets, all packed into a few sockets (pouch.h). legacy.h tells what the successor
 * does with them.
 *
 * The threads of the workers rest meanwhile, so no descriptor is opened or closed between the look
 * at the ledger and the end of the process. Nothing else must come to rest: the ledger says where
 * each connection is (takeover.h).
 */
#ifndef UVECHOD_RESTART_H
#define UVECHOD_RESTART_H

#include "base/log.h"
#include "os/systemd.h"
#include "server/upgrade.h"
#include "server/workers.h"
#include "stream/ledger.h"

/* By this name the service manager stores the sockets, and passes them to the successor. */
#define RESTART_NAME "uvechod-pouch"

struct restart {
    struct workers *workers;
    struct ledger *ledger;
    const struct systemd *systemd;
    struct log *log;
    struct upgraded *upgraded;
};

/*
 * Leaves everything to a successor and ends the process with exit code 0. Returns only if that is
 * not possible: without a service manager, or when the daemon stops already, silently; else it has
 * logged why. The daemon serves as before then. May take seconds, in which nobody is served, if the
 * service manager does not answer. Must be called on the starting thread, while no task runs.
 */
void restart_try(const struct restart *restart);

#endif
