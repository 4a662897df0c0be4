#include "server/restart.h"

#include "base/i18n.h"
#include "os/pouch.h"
#include "os/signals.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { RESTART_FIRST = 3 }; /* descriptors below are the standard ones */

/*
 * Whether a successor needs the descriptor. Each connection is in the ledger, because none waits in
 * a mailbox when the workers rest. Those that are about to be closed are not sent: they end with
 * this process.
 */
static bool restart_needs(const struct ledger *ledger, int fd)
{
    struct ledger_state state;
    if (fd == ledger->file)
        return true;
    if (ledger_read(ledger, (uint32_t)fd, &state) < 0)
        return false;
    if (state.end == LEDGER_LEFT) /* its number may be that of another descriptor by now */
        return false;
    return state.served || state.kind == LEDGER_LISTENER || ledger_is_pipe(ledger, (uint32_t)fd);
}

/* Returns the descriptors in ascending order, which the caller frees, or NULL without memory. */
static int *restart_list(const struct ledger *ledger, size_t *count)
{
    int end = (int)ledger_load(&ledger->header->filled);
    if (end <= ledger->file)
        end = ledger->file + 1;
    int *list = calloc((size_t)end, sizeof *list);
    *count = 0;
    for (int fd = RESTART_FIRST; list != NULL && fd < end; fd++)
        if (restart_needs(ledger, fd))
            list[(*count)++] = fd;
    return list;
}

static int restart_pack(const struct restart *restart, struct pouch *pouch)
{
    size_t count;
    int *list = restart_list(restart->ledger, &count);
    int rc = list != NULL ? pouch_pack(pouch, list, count, restart->ledger->file) : -ENOMEM;
    free(list);
    return rc;
}

/* Does not say that it has kept them, but a socket that it has closed shows. */
static int restart_store(struct pouch *pouch)
{
    int rc = systemd_store(RESTART_NAME, pouch->keep, pouch->count);
    if (rc == 0 && !pouch_is_kept(pouch))
        rc = -ENOSPC;
    if (rc < 0)
        systemd_unstore(RESTART_NAME);
    pouch_close(pouch);
    return rc;
}

/* The threads rest. Returns 0 if the process may end, or a negative errno. */
static int restart_leave(const struct restart *restart)
{
    struct ledger_past *past = &restart->ledger->header->past;
    struct pouch pouch;
    (void)restart->upgraded->leave(restart->upgraded, past); /* true: it does not stop */
    past->left_ns = uv_hrtime();
    unsigned long open = (unsigned long)workers_load(restart->workers);
    int rc = restart_pack(restart, &pouch);
    if (rc < 0)
        return rc;
    log_write(restart->log, LOG_LEVEL_INFO,
              P_("Restarting: leaving %lu connection to the successor",
                 "Restarting: leaving %lu connections to the successor", open),
              open);
    return restart_store(&pouch);
}

/* What has been allocated is left to the kernel. */
void restart_try(const struct restart *restart)
{
    if (restart->systemd->notify_fd < 0)
        return;
    int rc = restart->ledger->refused;
    signals_block();
    workers_rest(restart->workers);
    if (restart->ledger->file >= 0)
        rc = restart_leave(restart);
    if (rc == 0)
        exit(EXIT_SUCCESS);
    log_write(restart->log, LOG_LEVEL_WARNING, _("Cannot leave the connections to a successor: %s"),
              strerror(-rc));
    workers_resume(restart->workers);
    signals_unblock();
}
