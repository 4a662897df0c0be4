#include "server/keeper.h"

#include "base/cli.h"
#include "base/i18n.h"
#include "os/child.h"
#include "os/descriptors.h"
#include "os/systemd.h"
#include "server/kept.h"
#include "server/upgrade.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <uv.h>

enum { KEEPER_AGAIN = -2 }; /* instead of an exit code: a successor is to be started */

enum { KEEPER_PATIENCE_MAX_MS = 20 * 24 * 3600 * 1000 }; /* less than kept_now_ms() wraps in */

struct keeper {
    struct server_config *config; /* of the next child */
    enum log_level level;
    struct log log; /* open only while there is no daemon, which would share the descriptor */
    struct kept *kept;
    struct child child;
    unsigned patience_ms; /* how long the daemon may not move; 0: as long as it likes */
    bool hung;            /* the daemon has been sent SIGABRT */
    int stops;            /* the signal that has told the daemon to stop, or 0 */
    uint64_t crashes_ns[KEEPER_CRASHES_MAX];
    unsigned crashes; /* ever */
};

/* ---- while the daemon runs ---- */

static unsigned keeper_silent_ms(const struct keeper *keeper)
{
    return kept_now_ms() - atomic_load(&keeper->kept->moved_ms);
}

/* How long to wait for the next event; 0: for ever. */
static unsigned keeper_wait_ms(const struct keeper *keeper)
{
    if (keeper->hung)
        return KEEPER_ABORT_MS;
    unsigned silent_ms = keeper_silent_ms(keeper);
    if (keeper->patience_ms == 0)
        return 0;
    return silent_ms < keeper->patience_ms ? keeper->patience_ms - silent_ms : 1;
}

/* A daemon that is not ready yet may take its time, as systemd's watchdog lets it. */
static void keeper_late(struct keeper *keeper)
{
    if (keeper->hung) {
        child_signal(&keeper->child, SIGKILL);
    } else if (!atomic_load(&keeper->kept->ready)) {
        kept_tell_moved(keeper->kept);
    } else if (keeper_silent_ms(keeper) >= keeper->patience_ms) {
        keeper->hung = true;
        child_signal(&keeper->child, SIGABRT);
    }
}

static void keeper_forward(struct keeper *keeper, int signum)
{
    if (signum == SIGTERM || signum == SIGINT || signum == SIGHUP || signum == SIGQUIT)
        keeper->stops = signum;
    child_signal(&keeper->child, signum);
}

/* Returns when the daemon has ended. */
static void keeper_watch(struct keeper *keeper)
{
    for (;;) {
        int event = child_wait(&keeper->child, keeper_wait_ms(keeper));
        if (event == CHILD_ENDED)
            return;
        if (event == CHILD_LATE)
            keeper_late(keeper);
        else
            keeper_forward(keeper, event);
    }
}

/* ---- between two daemons ---- */

/* Whether this crash is one too many in the last seconds. */
static bool keeper_loops(struct keeper *keeper)
{
    uint64_t *oldest_ns = &keeper->crashes_ns[keeper->crashes++ % KEEPER_CRASHES_MAX];
    const uint64_t now_ns = keeper->kept->crashed_ns;
    bool loops = keeper->crashes > KEEPER_CRASHES_MAX &&
                 now_ns - *oldest_ns < (uint64_t)KEEPER_INTERVAL_MS * 1000000;
    *oldest_ns = now_ns;
    return loops;
}

static void keeper_log_crash(struct keeper *keeper)
{
    if (keeper->hung)
        log_write(&keeper->log, LOG_LEVEL_ERROR,
                  _("The daemon has not moved for %u ms and was ended; starting a successor"),
                  keeper->patience_ms);
    else
        log_write(&keeper->log, LOG_LEVEL_ERROR,
                  _("The daemon was ended by signal %d; starting a successor"),
                  keeper->child.signum);
}

/* A signal has ended the daemon. */
static int keeper_crashed(struct keeper *keeper)
{
    struct kept *kept = keeper->kept;
    kept->crashed_ns = uv_hrtime();
    kept->blames = keeper->hung || keeper->child.signum != SIGKILL;
    if (!atomic_load(&kept->ready) || atomic_load(&kept->ledger) == 0) {
        log_write(&keeper->log, LOG_LEVEL_ERROR,
                  _("The daemon was ended by signal %d, and there is nothing to go on with"),
                  keeper->child.signum);
        return CLI_FAILED;
    }
    if (keeper_loops(keeper)) {
        log_write(&keeper->log, LOG_LEVEL_ERROR,
                  _("The daemon was ended by signal %d, more than %d times within %d s: giving up"),
                  keeper->child.signum, KEEPER_CRASHES_MAX, KEEPER_INTERVAL_MS / 1000);
        return CLI_FAILED;
    }
    keeper_log_crash(keeper);
    return KEEPER_AGAIN;
}

/*
 * The daemon has asked the program and has ended. If it was told to stop in the last moment, a
 * successor stops instead. The program must find the signals blocked that we have found blocked.
 */
static int keeper_execute(struct keeper *keeper)
{
    const struct program *program = keeper->config->program;
    const int ledger = atomic_load(&keeper->kept->ledger);
    keeper->kept->crashed_ns = 0;
    keeper->kept->blames = false;
    if (keeper->stops == 0) {
        child_release(&keeper->child);
        int rc = program_execute(program, UPGRADE_VARIABLE, ledger);
        child_prepare(&keeper->child);
        log_write(&keeper->log, LOG_LEVEL_ERROR, _("Cannot upgrade: %s: %s"),
                  program->path != NULL ? program->path : "?", strerror(-rc));
    }
    return KEEPER_AGAIN;
}

/* A daemon that is killed while it ends may have asked for the execution. Its successor has not. */
static int keeper_judge(struct keeper *keeper)
{
    const bool executes = atomic_exchange(&keeper->kept->executes, false);
    if (keeper->child.signum != 0)
        return keeper_crashed(keeper);
    if (executes)
        return keeper_execute(keeper);
    return keeper->child.code;
}

/* What was passed besides the ledger was for the first daemon. If it is still open, it is closed.
 */
static void keeper_forget_legacy(struct keeper *keeper)
{
    systemd_free_names(keeper->config->legacy.names);
    keeper->config->legacy = (struct legacy){.found = false};
}

/*
 * Nothing is left of the daemon but the ledger, what the ledger speaks of, and the epoll
 * descriptors of its loops, which the successor closes (takeover.h).
 */
static void keeper_clear(struct keeper *keeper)
{
    int ledger = atomic_load(&keeper->kept->ledger);
    descriptors_close_marked(ledger);
    keeper->config->ledger = ledger;
}

/* Returns the exit code, or KEEPER_AGAIN. */
static int keeper_decide(struct keeper *keeper)
{
    log_init(&keeper->log, STDERR_FILENO, keeper->level);
    int code = keeper_judge(keeper);
    log_close(&keeper->log);
    keeper_forget_legacy(keeper);
    if (code == KEEPER_AGAIN)
        keeper_clear(keeper);
    return code;
}

/* ---- from the first daemon to the last ---- */

/* Two thirds of the watchdog's time, from 1 ms to twenty days; 0 without a watchdog. */
static unsigned keeper_patience_ms(uint64_t watchdog_us)
{
    const uint64_t ms = watchdog_us / 1500;
    if (watchdog_us == 0 || ms > KEEPER_PATIENCE_MAX_MS)
        return watchdog_us == 0 ? 0 : KEEPER_PATIENCE_MAX_MS;
    return ms > 0 ? (unsigned)ms : 1;
}

static int keeper_open(struct keeper *keeper)
{
    void *shared =
        mmap(NULL, sizeof *keeper->kept, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return -errno;
    keeper->kept = shared;
    keeper->config->kept = shared;
    if (keeper->config->ledger > 0)
        kept_tell_predecessor(keeper->kept, keeper->config->ledger);
    keeper->patience_ms = keeper_patience_ms(systemd_watchdog_us());
    (void)descriptors_raise(); /* as the daemon does, because the table is the same */
    child_prepare(&keeper->child);
    return 0;
}

/* Returns 0 in the child, a positive number here, or a negative errno. */
static int keeper_start(struct keeper *keeper)
{
    keeper->hung = false;
    kept_tell_moved(keeper->kept);
    int rc = child_make(&keeper->child);
    if (rc > 0 && keeper->stops != 0)
        child_signal(&keeper->child, keeper->stops);
    return rc;
}

static int keeper_cannot_start(struct keeper *keeper, int error)
{
    log_init(&keeper->log, STDERR_FILENO, keeper->level);
    log_write(&keeper->log, LOG_LEVEL_ERROR, _("Cannot start: %s"), strerror(-error));
    log_close(&keeper->log);
    return CLI_FAILED;
}

int keeper_run(struct server_config *config, enum log_level level)
{
    struct keeper keeper = {.config = config, .level = level};
    int code = KEEPER_AGAIN;
    int rc = keeper_open(&keeper);
    while (rc >= 0 && code == KEEPER_AGAIN) {
        rc = keeper_start(&keeper);
        if (rc == 0)
            return KEEPER_CHILD;
        if (rc > 0) {
            keeper_watch(&keeper);
            code = keeper_decide(&keeper);
        }
    }
    return rc < 0 ? keeper_cannot_start(&keeper, rc) : code;
}
