#include "server/upgrade.h"

#include "base/i18n.h"
#include "base/text.h"
#include "os/net.h"
#include "os/signals.h"

#include <errno.h>
#include <string.h>

enum { UPGRADE_QUOTED_MAX = 200 }; /* bytes of what the child has said, in the log */

void upgrade_init(struct upgrade *upgrade, struct sched *sched, struct log *log,
                  const struct program *program, struct ledger *ledger, struct kept *kept,
                  struct upgraded *upgraded)
{
    *upgrade = (struct upgrade){.sched = sched,
                                .log = log,
                                .program = program,
                                .ledger = ledger,
                                .kept = kept,
                                .upgraded = upgraded,
                                .limit_ms = UPGRADE_LIMIT_MS};
    (void)uv_timer_init(sched->loop, &upgrade->limit); /* documented to return 0 always */
}

static struct yield upgrade_finish(struct task *task)
{
    struct upgrade *upgrade = container_of(task, struct upgrade, task);
    upgrade->begun = false;
    upgrade->upgraded->stay(upgrade->upgraded);
    return yield_done(task);
}

static void upgrade_log_error(const struct upgrade *upgrade, int error)
{
    const char *path = upgrade->program->path;
    log_write(upgrade->log, LOG_LEVEL_ERROR, _("Cannot upgrade: %s: %s"), path != NULL ? path : "?",
              strerror(-error));
}

static void upgrade_log_stop(const struct upgrade *upgrade)
{
    log_write(upgrade->log, LOG_LEVEL_WARNING, _("Not upgrading: the daemon stops"));
}

/* ---- the execution ---- */

/* Returns only if the program cannot be executed: a negative errno. */
static int upgrade_execute(const struct upgrade *upgrade)
{
    log_write(upgrade->log, LOG_LEVEL_INFO, _("Upgrading: executing %s"), upgrade->program->path);
    upgrade->ledger->header->past.left_ns = uv_hrtime();
    net_survive_exec(upgrade->ledger->file);
    if (upgrade->kept != NULL)
        kept_execute(upgrade->kept);
    return program_execute(upgrade->program, UPGRADE_VARIABLE, upgrade->ledger->file);
}

static struct yield upgrade_act(struct task *task)
{
    struct upgrade *upgrade = container_of(task, struct upgrade, task);
    struct ledger_past *past = &upgrade->ledger->header->past;
    if (!upgrade->upgraded->leave(upgrade->upgraded, past))
        upgrade_log_stop(upgrade);
    else
        upgrade_log_error(upgrade, upgrade_execute(upgrade));
    struct yield yield = upgrade_finish(task);
    signals_unblock();
    return yield;
}

/* The queue is empty again when this wake is seen, so the loop has polled meanwhile. */
static struct yield upgrade_wait(struct task *task)
{
    struct upgrade *upgrade = container_of(task, struct upgrade, task);
    signals_block();
    sched_wake(upgrade->sched, task);
    return yield_park(task, upgrade_act);
}

/* ---- the question ---- */

/* All that the child has said is the yes. */
static bool upgrade_has_agreed(const struct program_asked *asked)
{
    const size_t len = sizeof UPGRADE_YES - 1;
    return asked->len == len && memcmp(asked->said, UPGRADE_YES, len) == 0;
}

/* The first line of what the child has said, made fit for the log. */
static const char *upgrade_quote(const struct program_asked *asked,
                                 char text[static UPGRADE_QUOTED_MAX + 1])
{
    const char *end = memchr(asked->said, '\n', asked->len);
    size_t len = end != NULL ? (size_t)(end - asked->said) : asked->len;
    if (len > UPGRADE_QUOTED_MAX)
        len = text_cut(asked->said, UPGRADE_QUOTED_MAX);
    memcpy(text, asked->said, len);
    text_clean(text, len);
    text[len] = '\0';
    return text;
}

/* What the child has said tells more than how it has ended. */
static void upgrade_log_refusal(const struct upgrade *upgrade)
{
    const struct program_asked *asked = &upgrade->asked;
    const char *path = upgrade->program->path;
    char text[UPGRADE_QUOTED_MAX + 1];
    if (upgrade->late)
        log_write(upgrade->log, LOG_LEVEL_ERROR,
                  _("Cannot upgrade: %s has not answered within %u s"), path,
                  upgrade->limit_ms / 1000);
    else if (asked->len > 0 && !upgrade_has_agreed(asked))
        log_write(upgrade->log, LOG_LEVEL_ERROR, _("Cannot upgrade: %s says \"%s\""), path,
                  upgrade_quote(asked, text));
    else if (asked->signum != 0)
        log_write(upgrade->log, LOG_LEVEL_ERROR, _("Cannot upgrade: %s was ended by signal %d"),
                  path, asked->signum);
    else
        log_write(upgrade->log, LOG_LEVEL_ERROR,
                  asked->len > 0
                      ? _("Cannot upgrade: %s said yes, but ended with exit code %d")
                      : _("Cannot upgrade: %s has not said yes, and ended with exit code %d"),
                  path, asked->code);
}

/*
 * The line in the log is the answer to the requests before it. So the task ends in the same step: a
 * signal that comes after the line begins another upgrade.
 */
static struct yield upgrade_judge(struct task *task)
{
    struct upgrade *upgrade = container_of(task, struct upgrade, task);
    const struct program_asked *asked = &upgrade->asked;
    if (upgrade->stopped)
        upgrade_log_stop(upgrade);
    else if (!upgrade->late && asked->code == 0 && upgrade_has_agreed(asked))
        return upgrade_wait(task);
    else
        upgrade_log_refusal(upgrade);
    return upgrade_finish(task);
}

static void on_upgrade_closed(uv_handle_t *handle)
{
    struct upgrade *upgrade = container_of((uv_poll_t *)handle, struct upgrade, sock.poll);
    sched_wake(upgrade->sched, &upgrade->task);
}

/* Readiness is a hint: the limit and upgrade_stop() wake the task, too. */
static struct yield upgrade_hear(struct task *task)
{
    struct upgrade *upgrade = container_of(task, struct upgrade, task);
    if (program_hear(&upgrade->asked) && !upgrade->late && !upgrade->stopped)
        return yield_recv(task, &upgrade->sock, upgrade_hear);
    upgrade->asking = false;
    (void)uv_timer_stop(&upgrade->limit);
    sock_close(&upgrade->sock, on_upgrade_closed);
    upgrade->asked.out = -1;
    program_end(&upgrade->asked);
    return yield_park(task, upgrade_judge); /* until the handle is closed */
}

static void on_upgrade_limit(uv_timer_t *limit)
{
    struct upgrade *upgrade = container_of(limit, struct upgrade, limit);
    upgrade->late = true;
    sock_wake(&upgrade->sock);
}

/* Returns 0, or a negative errno with no child left. */
static int upgrade_ask(struct upgrade *upgrade)
{
    struct program_asked *asked = &upgrade->asked;
    struct sched *sched = upgrade->sched;
    if (upgrade->ledger->file < 0)
        return upgrade->ledger->refused;
    int rc = program_ask(asked, upgrade->program, UPGRADE_OPTION, UPGRADE_VARIABLE,
                         upgrade->ledger->file);
    if (rc < 0)
        return rc;
    rc = sock_init(&upgrade->sock, sched->loop, &sched->waker, asked->out);
    if (rc < 0) {
        program_end(asked);
        return rc;
    }
    upgrade->asking = true;
    upgrade->late = false;
    uv_update_time(sched->loop);
    (void)uv_timer_start(&upgrade->limit, on_upgrade_limit, upgrade->limit_ms, 0);
    return 0;
}

static struct yield upgrade_start(struct task *task)
{
    struct upgrade *upgrade = container_of(task, struct upgrade, task);
    if (upgrade->stopped) {
        upgrade_log_stop(upgrade);
        return upgrade_finish(task);
    }
    int rc = upgrade_ask(upgrade);
    if (rc < 0) {
        upgrade_log_error(upgrade, rc);
        return upgrade_finish(task);
    }
    return yield_recv(task, &upgrade->sock, upgrade_hear);
}

void upgrade_begin(struct upgrade *upgrade)
{
    if (upgrade->begun)
        return;
    upgrade->begun = true;
    sched_spawn(upgrade->sched, &upgrade->task, upgrade_start);
}

void upgrade_stop(struct upgrade *upgrade)
{
    upgrade->stopped = true;
    if (upgrade->asking)
        sock_wake(&upgrade->sock);
}

void upgrade_close(struct upgrade *upgrade)
{
    uv_close((uv_handle_t *)&upgrade->limit, NULL);
}
