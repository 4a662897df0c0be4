/*
 * The service manager, on the other side of os/systemd.h: passes sockets, listens to what the
 * daemon tells it, and would kill a daemon that misses a ping.
 */
#include "os/pouch.h"
#include "os/systemd.h"

#include "files.h"
#include "invariants.h"
#include "kernel.h"
#include "listening.h"
#include "lives.h"
#include "plan.h"
#include "process.h"
#include "socket.h"
#include "world.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MANAGER_FULL = 1000 };         /* of 10,000 messages */
enum { MANAGER_FIRST = 3 };           /* SD_LISTEN_FDS_START */
enum { MANAGER_SLACK_US = 300000 };   /* beside stalls */
enum { MANAGER_REPORT_US = 5000000 }; /* SUPERVISION_STATUS_MS */

static struct {
    bool ready; /* READY=1 was told */
    bool ready_tried;
    bool reloads;      /* RELOADING=1 was told, and READY=1 has not followed */
    uint64_t ready_us; /* when it was last tried */
    bool stopping;
    bool failed;                   /* ERRNO= was told */
    uint64_t pinged_us;            /* when the last ping came; 0: none has yet */
    unsigned long long status_sum; /* of its three numbers */
    uint64_t changed_us; /* since when it is wrong, as far as sleeps have shown; 0: it is not */
    uint64_t alone_us;   /* since when the daemon has no connection, as far as sleeps have shown */
    bool quiet;          /* at the last sleep there was nothing to do */
    uint64_t accepted;   /* until the last sleep: a connection may end before the daemon sleeps */
} manager;

void manager_begin(void)
{
    memset(&manager, 0, sizeof manager);
}

/* A process begins with a report, and finds out only then that there is nothing to do. */
void manager_end_process(void)
{
    manager.quiet = false;
    manager.alone_us = manager.changed_us = 0;
}

bool systemd_supported(void)
{
    return true;
}

int systemd_sockets(int *first, char ***names)
{
    *first = MANAGER_FIRST;
    *names = NULL;
    return (int)(plan_get()->passed + plan_get()->connected);
}

void systemd_free_names(char **names)
{
    if (names != NULL)
        world_fail("names are freed that nobody has made");
}

int systemd_open(struct systemd *systemd)
{
    *systemd = (struct systemd){.notify_fd = -1};
    if (!plan_get()->managed)
        return 0;
    systemd->notify_fd = files_open(FILE_MANAGER, NULL, 0);
    systemd->watchdog_us = plan_get()->watchdog_us;
    return 0;
}

void systemd_close(struct systemd *systemd)
{
    if (systemd->notify_fd >= 0)
        files_close(systemd->notify_fd);
    systemd->notify_fd = -1;
}

static void manager_pinged(void)
{
    uint64_t period = plan_get()->watchdog_us;
    if (manager.pinged_us != 0 && deadlines_passed(manager.pinged_us) > period)
        world_fail("the watchdog is told after %llu ms",
                   (unsigned long long)(world_now() - manager.pinged_us) / 1000);
    manager.pinged_us = world_now();
}

static unsigned long long manager_sum(void)
{
    const struct socket_counts *counts = sockets_counts();
    return sockets_count() + counts->bytes_in + counts->bytes_out;
}

/* The numbers of a status must be those of the kernel. */
static void manager_status(const char *text)
{
    unsigned long open = 0;
    unsigned long long in = 0;
    unsigned long long out = 0;
    const struct socket_counts *counts = sockets_counts();
    manager.status_sum = manager_sum();
    manager.changed_us = 0;
    const char *number = strpbrk(text, "0123456789");
    if (number == NULL ||
        sscanf(number, "%lu connection%*[s]; %llu bytes in, %llu bytes out", &open, &in, &out) != 3)
        if (number == NULL ||
            sscanf(number, "%lu connection; %llu bytes in, %llu bytes out", &open, &in, &out) != 3)
            world_fail("the status cannot be read: %s", text);
    if (lives_lost_counts())
        return;
    if (open != sockets_count() || in != counts->bytes_in || out != counts->bytes_out)
        world_fail("the status says \"%s\": %u connections, %llu and %llu bytes would be right",
                   text, sockets_count(), (unsigned long long)counts->bytes_in,
                   (unsigned long long)counts->bytes_out);
}

static void manager_note(const char *text, bool told)
{
    if (strcmp(text, "READY=1") == 0) {
        world_faults_may_occur(true);
        manager.ready = manager.ready || told;
        manager.reloads = manager.reloads && !told;
        manager.ready_tried = true;
        manager.ready_us = world_now();
    } else if (strncmp(text, "RELOADING=1\n", 12) == 0) {
        manager.reloads = manager.reloads || told;
    } else if (strcmp(text, "WATCHDOG=1") == 0) {
        manager_pinged();
    } else if (strncmp(text, "STATUS=", 7) == 0) {
        if (!manager.failed) /* or passed connections are there that nobody has counted */
            manager_status(text);
    } else if (strcmp(text, "STOPPING=1") == 0) {
        manager.stopping = true;
    } else if (strncmp(text, "ERRNO=", 6) == 0) {
        manager.failed = true;
    }
}

bool systemd_notify(struct systemd *systemd, const char *format, ...)
{
    char text[512];
    va_list args;
    if (systemd->notify_fd < 0)
        return true;
    kernel_enter();
    if (files_kind(systemd->notify_fd) != FILE_MANAGER)
        world_fail("the socket to the manager was closed");
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    bool told = !world_fault(FAULT_MANAGER, MANAGER_FULL);
    world_trace("manager%s: %s", told ? "" : " (is not told)", text);
    manager_note(text, told);
    return told;
}

/* Whether no connection waits to be accepted, and no listener pauses. */
static bool manager_nobody_waits(void)
{
    for (unsigned i = 0; i < listenings_count(); i++)
        if (listening_get(i)->count > 0 || listening_get(i)->failed != 0)
            return false;
    return true;
}

/* What has changed is told by the next report, and a daemon with nothing to tell sleeps. */
static void manager_reports(void)
{
    const struct plan *plan = plan_get();
    if (manager_sum() == manager.status_sum || lives_lost_counts())
        manager.changed_us = 0;
    else if (manager.changed_us == 0)
        manager.changed_us = world_now();
    else if (deadlines_passed(manager.changed_us) > MANAGER_REPORT_US + MANAGER_SLACK_US)
        world_fail("the manager is not told of what has changed");
    uint64_t accepted = sockets_counts()->accepted;
    bool quiet = sockets_count() == 0 && accepted == manager.accepted && deadlines_stop_us() == 0 &&
                 manager.ready && !manager.reloads && manager_nobody_waits() && !signals_ask();
    manager.accepted = accepted;
    if (!quiet || !manager.quiet) /* the last connection may have ended since the last sleep */
        manager.alone_us = world_now();
    manager.quiet = quiet;
    /* Tasks without a watch and the watchdog have timers as well; others have ended by then. */
    bool others = world_has(FAULT_WATCHES) || plan->watchdog_us > 0;
    if (quiet && !others && manager.alone_us != 0 &&
        deadlines_passed(manager.alone_us) > 2 * MANAGER_REPORT_US + MANAGER_SLACK_US &&
        invariants_timer_within(MANAGER_REPORT_US / 1000))
        world_fail("the daemon has nothing to do, and will be woken");
}

void manager_before_sleep(void)
{
    const struct plan *plan = plan_get();
    if (!plan->managed)
        return;
    if (manager.ready_tried && !manager.ready &&
        deadlines_passed(manager.ready_us) > MANAGER_REPORT_US + MANAGER_SLACK_US)
        world_fail("the manager was busy once, and is never told that the daemon is ready");
    manager_reports();
    if (plan->watchdog_us > 0 && manager.pinged_us != 0 &&
        deadlines_passed(manager.pinged_us) > plan->watchdog_us)
        world_fail("the watchdog is not told for %llu ms",
                   (unsigned long long)(world_now() - manager.pinged_us) / 1000);
}

void manager_end(int rc)
{
    if (!plan_get()->managed)
        return;
    if (rc < 0 && !manager.failed)
        world_fail("the manager is not told why the daemon could not start");
    if (rc == 0 && !manager.ready_tried)
        world_fail("the manager is not told that the daemon is ready");
    if (rc == 0 && deadlines_stop_us() != 0 && !manager.stopping)
        world_fail("the manager is not told that the daemon stops");
}

/* ---- restarts: no signal of the simulation asks for one ---- */

int systemd_store(const char *name, const int *fds, size_t count)
{
    (void)fds;
    world_fail("%lu sockets are stored as %s", (unsigned long)count, name);
}

void systemd_unstore(const char *name)
{
    world_fail("what is stored as %s is removed", name);
}

int pouch_pack(struct pouch *pouch, const int *fds, size_t count, int key)
{
    (void)pouch;
    (void)fds;
    world_fail("%lu descriptors are packed, with %d", (unsigned long)count, key);
}

bool pouch_is_kept(struct pouch *pouch)
{
    (void)pouch;
    return false;
}

void pouch_close(struct pouch *pouch)
{
    (void)pouch;
}
