#include "server/legacy.h"

#include "base/i18n.h"
#include "os/descriptors.h"
#include "os/net.h"
#include "os/pouch.h"
#include "os/systemd.h"
#include "server/kinds.h"
#include "server/restart.h"
#include "stream/ledger.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { LEGACY_FIRST = 3 }; /* descriptors below are the standard ones */

/* What has been passed: the sockets, then those of the pouch, as in sd_listen_fds(3). */
struct legacy_passed {
    int first;
    int count;
    int sockets; /* how many are none of the pouch */
    char **names;
};

static bool legacy_is_pouch(const char *name)
{
    return strcmp(name, RESTART_NAME) == 0;
}

/* Returns whether there are any of the pouch. */
static bool legacy_find(struct legacy_passed *passed)
{
    *passed = (struct legacy_passed){.first = -1};
    passed->count = systemd_sockets(&passed->first, &passed->names);
    if (passed->count <= 0)
        return false;
    while (passed->sockets < passed->count && !legacy_is_pouch(passed->names[passed->sockets]))
        passed->sockets++;
    if (passed->sockets < passed->count)
        return true;
    systemd_free_names(passed->names);
    return false;
}

/* Finds the first label; all of them are the same unless something is wrong. */
static int legacy_look(const struct legacy_passed *passed, struct pouch_label *label)
{
    int rc = -ENODATA;
    *label = (struct pouch_label){.total = 0};
    for (int i = passed->sockets; i < passed->count && rc < 0; i++)
        rc = pouch_look(passed->first + i, label);
    return rc;
}

/*
 * Returns the first number from base on at which all that was passed has room in a row: whoever has
 * started the process may have left descriptors open there. Without room, the base.
 */
static int legacy_room(const struct legacy_passed *passed, int base)
{
    int first = base;
    for (int free = 0; free < passed->count;) {
        int fd = net_dup_above(passed->first, first + free);
        if (fd < 0)
            return base;
        net_close(fd);
        free = fd == first + free ? free + 1 : 1;
        first = fd - free + 1;
    }
    return first;
}

/*
 * Returns a number above what will be taken out. If the limit is lower than that now, a number at
 * the limit: the descriptors above are lost in any case.
 */
static int legacy_base(const struct legacy_passed *passed, const struct pouch_label *label)
{
    long limit = descriptors_raise();
    long base = passed->first + passed->count;
    if ((long)label->end > base)
        base = (long)label->end;
    bool fits = limit < 0 || base + passed->count <= limit;
    return legacy_room(passed, (int)(fits ? base : limit - passed->count));
}

/* The old number is free then, whatever is returned: 0 or a negative errno. */
static int legacy_move_one(int fd, int number)
{
    int moved = net_dup_above(fd, number);
    net_close(fd);
    if (moved < 0 || moved == number)
        return moved < 0 ? moved : 0;
    net_close(moved);
    return -EBUSY;
}

/* Returns 0, or a negative errno: what has been passed is closed then, and nothing else. */
static int legacy_move(struct legacy_passed *passed, int base)
{
    int rc = 0;
    int moved = 0;
    while (moved < passed->count && rc == 0) {
        rc = legacy_move_one(passed->first + moved, base + moved);
        moved += rc == 0;
    }
    for (int i = 0; i < passed->count && rc < 0; i++)
        if (i != moved) /* which is closed already */
            net_close(i < moved ? base + i : passed->first + i);
    passed->first = base;
    return rc;
}

static void legacy_unpack(struct legacy *legacy, const struct legacy_passed *passed,
                          const struct pouch_label *label)
{
    size_t placed = 0;
    int reason = 0; /* stays so if a whole part is missing */
    for (int i = passed->sockets; i < passed->count; i++)
        placed += pouch_take(passed->first + i, label, &reason);
    legacy->lost = label->total > placed ? label->total - placed : 0;
    legacy->lost_reason = reason < 0 ? reason : -ENODATA;
    legacy->ledger = (int)label->key;
}

/* Without a ledger nobody knows what the descriptors are. */
static void legacy_give_up(struct legacy *legacy, const struct legacy_passed *passed, uint32_t end,
                           int error)
{
    for (int fd = LEGACY_FIRST; fd < (int)end && fd < passed->first; fd++)
        net_close(fd);
    legacy->ledger = error;
}

static void legacy_open(struct legacy *legacy, struct legacy_passed *passed, bool contradicts)
{
    struct pouch_label label;
    struct ledger_layout layout;
    int rc = legacy_look(passed, &label);
    legacy->ledger = contradicts ? -ECANCELED : rc;
    legacy->count = legacy_move(passed, legacy_base(passed, &label));
    if (legacy->count < 0 || contradicts)
        return;
    if (rc == 0) {
        legacy_unpack(legacy, passed, &label);
        rc = ledger_examine(legacy->ledger, &layout);
        if (rc < 0)
            legacy_give_up(legacy, passed, label.end, rc);
    }
    systemd_unstore(RESTART_NAME);
}

/* Only the sockets stay open, with their names. */
static void legacy_keep_sockets(struct legacy *legacy, const struct legacy_passed *passed)
{
    for (int i = passed->sockets; i < passed->count; i++) {
        if (legacy->count == 0)
            net_close(passed->first + i);
        free(passed->names[i]);
    }
    passed->names[passed->sockets] = NULL;
    legacy->first = passed->first;
    legacy->names = passed->names;
    if (legacy->count == 0)
        legacy->count = passed->sockets;
    if (legacy->count <= 0) {
        systemd_free_names(legacy->names);
        legacy->names = NULL;
    }
}

/* How many of the sockets besides are for the metrics. */
static int legacy_count_metrics(const struct legacy_passed *passed)
{
    int metrics = 0;
    for (int i = 0; i < passed->sockets; i++)
        metrics += strcmp(passed->names[i], ENDPOINT_METRICS) == 0;
    return metrics;
}

void legacy_take(struct legacy *legacy, bool own_addresses, bool own_metrics)
{
    struct legacy_passed passed;
    *legacy = (struct legacy){.found = legacy_find(&passed)};
    if (!legacy->found)
        return;
    const int metrics = legacy_count_metrics(&passed);
    legacy_open(legacy, &passed,
                (own_addresses && passed.sockets > metrics) || (own_metrics && metrics > 0));
    legacy_keep_sockets(legacy, &passed);
}

void legacy_log(const struct legacy *legacy, struct log *log)
{
    if (!legacy->found || legacy->ledger == -ECANCELED)
        return; /* or it says itself that the options are wrong */
    if (legacy->ledger < 0)
        log_write(log, LOG_LEVEL_WARNING,
                  _("Cannot take over what the service manager has kept: %s"),
                  strerror(-legacy->ledger));
    else if (legacy->lost > 0)
        log_write(log, LOG_LEVEL_WARNING,
                  P_("%lu descriptor of the predecessor is lost: %s",
                     "%lu descriptors of the predecessor are lost: %s",
                     (unsigned long)legacy->lost),
                  (unsigned long)legacy->lost, strerror(-legacy->lost_reason));
}
