/*
 * victim.c - ends, upgrades and restarts a daemon.
 */
#include "handover/victim.h"

#include "e2e/harness.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum {
    KILLS_MAX = 5, /* a keeper gives up at the next one within ten seconds */
    TURNS_MAX = 40,
    SOON_US = 3000, /* longer than most takeovers */
    TURN_MS = 1,
};

/* ---- the story ---- */

/* Adds to the story, whose first half is forgotten when there is no room. */
__attribute__((format(printf, 2, 3))) static void tell(struct victim *victim, const char *format,
                                                       ...)
{
    char *story = victim->story;
    size_t len = strlen(story);
    if (len > sizeof victim->story - 100) {
        len -= sizeof victim->story / 2;
        memmove(story, story + sizeof victim->story / 2, len + 1);
    }
    va_list args;
    va_start(args, format);
    (void)vsnprintf(story + len, sizeof victim->story - len, format, args);
    va_end(args);
}

/* ---- the log ---- */

static bool is_bad(const char *line)
{
    static const char *const bad[] = {"Cannot ",
                                      "giving up",
                                      "nothing to go on with",
                                      "Ending the connection",
                                      " lost: ",
                                      " dropped, the last from ",
                                      "Sanitizer",
                                      "runtime error: "};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (strstr(line, bad[i]) != NULL)
            return true;
    return false;
}

/* Another process or program begins. */
static void note_begin(struct victim *victim)
{
    victim->asked = false;
    victim->serves = false;
    victim->stops = false;
}

/* Before the next kill, the keeper has logged the one before. */
static void note_crash(struct victim *victim, const char *line)
{
    int signum = 0;
    const char *number = strstr(line, "by signal ");
    if (number == NULL || sscanf(number, "by signal %d", &signum) != 1 || signum != victim->signum)
        fail_msg("The daemon has crashed by itself: %s", line);
    victim->signum = 0;
    victim->toll->interrupted += !victim->serves || victim->asked;
    note_begin(victim);
}

static void note(struct victim *victim, const char *line)
{
    if (is_bad(line))
        fail_msg("The daemon says: %s", line);
    if (strstr(line, "starting a successor") != NULL) {
        note_crash(victim, line);
    } else if (strstr(line, "Upgrading: executing ") != NULL) {
        victim->executions++;
        victim->toll->upgrades++;
        note_begin(victim);
    } else if (strstr(line, "Took over ") != NULL) {
        victim->serves = true;
        victim->toll->takeovers++;
    } else if (strstr(line, "Stopping: waiting for ") != NULL) {
        victim->stops = true;
    } else if (strstr(line, "Not upgrading: the daemon stops") != NULL) {
        victim->refusals++;
    }
}

static void follow(struct victim *victim)
{
    const char *line;
    while ((line = daemon_try_line(victim->daemon)) != NULL)
        note(victim, line);
}

/* ---- waiting ---- */

static void turn(struct victim *victim)
{
    crowd_turn(victim->crowd, TURN_MS);
    mail_turn(victim->mail);
    follow(victim);
}

/* Turns until this is so. */
static void turn_until(struct victim *victim, bool (*holds)(struct victim *), const char *what)
{
    uint64_t deadline = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (!holds(victim)) {
        turn(victim);
        if (harness_now_ms() > deadline)
            fail_msg("The daemon %s", what);
    }
}

static uint64_t now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* A moment, in which no client does anything. */
static void spin(uint64_t us)
{
    for (const uint64_t end_us = now_us() + us; now_us() < end_us;)
        ;
}

static void spin_a_moment(struct victim *victim)
{
    uint64_t us = dice_skewed(victim->dice, SOON_US);
    tell(victim, " +%llu us", (unsigned long long)us);
    spin(us);
}

/*
 * When the child that has ended last has a successor, the keeper has logged that end: so what the
 * log says last is of the daemon of now.
 */
static bool has_successor(struct victim *victim)
{
    pid_t child = victim->plan->kept ? daemon_find_child(victim->daemon) : victim->daemon->pid;
    follow(victim);
    return child != 0 && child != victim->dead;
}

static bool is_settled(struct victim *victim)
{
    bool settled = has_successor(victim) && victim->serves;
    if (settled && !victim->erred)
        victim->blamed = false;
    return settled;
}

static bool is_mail_answered(struct victim *victim)
{
    follow(victim);
    return mail_is_answered(victim->mail);
}

void victim_settle(struct victim *victim)
{
    turn_until(victim, is_settled, "does not serve");
    mail_ask(victim->mail);
    turn_until(victim, is_mail_answered, "answers no datagrams");
}

/* ---- kills ---- */

/* Sends the child a signal. Returns a descriptor of the child, or -1 if it has ended meanwhile. */
static int signal_child(struct victim *victim, pid_t child, int signum)
{
    int fd = (int)syscall(SYS_pidfd_open, child, 0);
    if (fd >= 0 && daemon_find_child(victim->daemon) == child &&
        syscall(SYS_pidfd_send_signal, fd, signum, NULL, 0) == 0)
        return fd;
    if (fd >= 0)
        (void)close(fd);
    return -1;
}

/* To the keeper or, at times, to its child; without a keeper, to the daemon. */
static void signal_somebody(struct victim *victim, int signum)
{
    pid_t child = victim->plan->kept ? daemon_find_child(victim->daemon) : 0;
    if (child == 0 || dice_once_in(victim->dice, 2)) {
        daemon_signal(victim->daemon, signum);
        return;
    }
    int fd = signal_child(victim, child, signum);
    if (fd >= 0)
        (void)close(fd);
}

/* Kills the child of now, and waits until it has ended. */
static void kill_child(struct victim *victim, int signum)
{
    pid_t child = daemon_child(victim->daemon);
    follow(victim);
    victim->signum = signum;
    int fd = signal_child(victim, child, signum);
    tell(victim, fd >= 0 ? " kill %d" : " no kill %d", signum);
    if (fd < 0)
        return;
    struct pollfd ended = {.fd = fd, .events = POLLIN};
    if (poll(&ended, 1, HARNESS_DEADLINE_MS) != 1)
        fail_msg("The child is not ended by signal %d", signum);
    (void)close(fd);
    victim->dead = child;
    victim->kills++;
    victim->toll->kills++;
    victim->erred = signum != SIGKILL;
    victim->blamed = victim->blamed || victim->erred;
}

/*
 * A signal of an error. Not twice in a row: whoever is being served at two such crashes is cut. A
 * sanitizer catches all but one of them, and ends the process by itself.
 */
static int draw_error(struct victim *victim)
{
    static const int errors[] = {SIGTRAP, SIGSEGV, SIGABRT, SIGBUS, SIGILL, SIGFPE};
    if (victim->blamed)
        return SIGKILL;
    return errors[harness_sanitized() ? 0 : dice_below(victim->dice, 6)];
}

static void suffer_kill(struct victim *victim)
{
    kill_child(victim, SIGKILL);
}

static void suffer_error(struct victim *victim)
{
    kill_child(victim, draw_error(victim));
}

/* As soon as a child is there, the next one follows. */
static void suffer_kills(struct victim *victim)
{
    kill_child(victim, SIGKILL);
    while (victim->kills < KILLS_MAX && !dice_once_in(victim->dice, 3)) {
        pid_t child;
        do
            child = daemon_child(victim->daemon);
        while (child == victim->dead);
        spin_a_moment(victim);
        kill_child(victim, SIGKILL);
    }
}

/* The keeper does not notice at once. If there is no child now, nobody makes one meanwhile. */
static void suffer_frozen_keeper(struct victim *victim)
{
    tell(victim, " keeper frozen");
    daemon_freeze(victim->daemon);
    if (daemon_find_child(victim->daemon) != 0)
        kill_child(victim, SIGKILL);
    for (uint64_t turns = dice_below(victim->dice, 5); turns > 0; turns--)
        turn(victim);
    daemon_signal(victim->daemon, SIGCONT);
}

/* ---- upgrades ---- */

/* Nobody waits for this upgrade. */
static void suffer_request(struct victim *victim)
{
    tell(victim, " upgrade?");
    victim->asked = true;
    signal_somebody(victim, SIGUSR2);
}

static void suffer_kill_of_upgrade(struct victim *victim)
{
    suffer_request(victim);
    spin_a_moment(victim);
    if (dice_once_in(victim->dice, 2))
        spin(dice_below(victim->dice, SOON_US) * 3); /* the new program takes longer to start */
    kill_child(victim, SIGKILL);
}

static bool is_upgraded(struct victim *victim)
{
    return victim->executions > 0 && is_settled(victim);
}

void victim_upgrade(struct victim *victim)
{
    turn_until(victim, is_settled, "does not serve");
    tell(victim, " upgrade");
    victim->executions = 0;
    daemon_signal(victim->daemon, SIGUSR2);
    turn_until(victim, is_upgraded, "is not upgraded");
    victim->kills = 0;
    victim->blamed = false;
    victim->erred = false;
    tell(victim, ";");
}

void victim_replace(struct victim *victim)
{
    turn_until(victim, is_settled, "does not serve");
    if (!victim->plan->kept || victim->kills >= KILLS_MAX) {
        victim_upgrade(victim);
        return;
    }
    kill_child(victim, SIGKILL);
    turn_until(victim, is_settled, "does not serve");
}

/* ---- restarts ---- */

static void begin_life(struct victim *victim)
{
    struct daemon *daemon = victim->daemon;
    if (victim->plan->managed)
        manager_launch(&victim->manager, daemon, victim->plan->options);
    else
        daemon_launch(daemon, &(struct launch){.options = victim->plan->options});
    victim->kills = 0;
    victim->signum = 0;
    victim->dead = 0;
    victim->blamed = false;
    victim->erred = false;
    note_begin(victim);
}

static bool has_ended(struct victim *victim)
{
    struct pollfd ended = {.fd = victim->daemon->pidfd, .events = POLLIN};
    if (victim->plan->managed)
        manager_drain(&victim->manager);
    return poll(&ended, 1, 0) > 0;
}

/* What has been sent to the manager is complete when the daemon has ended. */
static void suffer_restart(struct victim *victim)
{
    tell(victim, " restart");
    manager_drain(&victim->manager);
    daemon_signal(victim->daemon, SIGQUIT);
    if (victim->plan->kept && victim->kills < KILLS_MAX && dice_once_in(victim->dice, 2)) {
        spin_a_moment(victim);
        kill_child(victim, SIGKILL);
    }
    turn_until(victim, has_ended, "does not end for a restart");
    follow(victim);
    assert_int_equal(daemon_wait_exit(victim->daemon), 0);
    manager_drain(&victim->manager);
    assert_true(victim->manager.store_count > 0);
    begin_life(victim);
    if (victim->plan->kept && dice_once_in(victim->dice, 2)) {
        (void)daemon_child(victim->daemon);
        spin_a_moment(victim);
        kill_child(victim, SIGKILL);
    }
    turn_until(victim, is_settled, "does not take over after a restart");
    manager_drain(&victim->manager);
    assert_int_equal(victim->manager.store_count, 0); /* a later crash must not find it again */
    victim->toll->restarts++;
    tell(victim, ";");
}

/* ---- other signals ---- */

/* Signals that must not change anything, to whoever is there. */
static void suffer_noise(struct victim *victim)
{
    static const int signals[] = {SIGUSR1, SIGCONT, SIGWINCH, SIGURG, SIGCHLD};
    tell(victim, " noise");
    for (uint64_t i = dice_below(victim->dice, 8); i > 0; i--)
        signal_somebody(victim,
                        signals[dice_below(victim->dice, sizeof signals / sizeof *signals)]);
}

/* It stands still for a moment, at any place. */
static void suffer_freeze(struct victim *victim)
{
    tell(victim, " frozen");
    daemon_freeze(victim->daemon);
    for (uint64_t turns = dice_below(victim->dice, 5); turns > 0; turns--)
        turn(victim);
    daemon_signal(victim->daemon, SIGCONT);
}

/* ---- all of it ---- */

typedef void suffering(struct victim *victim);

/* Those of a daemon with a keeper, and of one without; more often what is written more often. */
static suffering *draw(struct victim *victim)
{
    static suffering *const kept[] = {
        suffer_kill,
        suffer_kill,
        suffer_kill,
        suffer_kills,
        suffer_kills,
        suffer_error,
        suffer_error,
        suffer_kill_of_upgrade,
        suffer_kill_of_upgrade,
        suffer_noise,
        suffer_request,
        suffer_freeze,
        suffer_frozen_keeper,
        victim_upgrade,
    };
    static suffering *const unkept[] = {suffer_noise,   suffer_freeze,  suffer_request,
                                        suffer_request, victim_upgrade, suffer_restart};
    if (!victim->plan->kept)
        return unkept[dice_below(victim->dice, sizeof unkept / sizeof *unkept)];
    bool worn = victim->kills >= KILLS_MAX;
    if (victim->plan->managed && dice_once_in(victim->dice, worn ? 2 : 15))
        return suffer_restart;
    return worn ? victim_upgrade : kept[dice_below(victim->dice, sizeof kept / sizeof *kept)];
}

void victim_suffer(struct victim *victim)
{
    for (uint64_t turns = dice_skewed(victim->dice, TURNS_MAX); turns > 0; turns--)
        turn(victim);
    if (dice_once_in(victim->dice, 2))
        victim_settle(victim);
    spin(dice_skewed(victim->dice, SOON_US));
    draw(victim)(victim);
}

static bool is_stopping(struct victim *victim)
{
    return has_successor(victim) && victim->stops;
}

static bool has_refused(struct victim *victim)
{
    return victim->refusals > 0;
}

/* SIGTERM among other signals, and perhaps a kill. */
static void stop_in_a_crowd(struct victim *victim)
{
    int signals[] = {SIGUSR1, SIGTERM, SIGUSR2};
    for (size_t i = 3; i > 1; i--) {
        size_t other = dice_below(victim->dice, i);
        int swapped = signals[i - 1];
        signals[i - 1] = signals[other];
        signals[other] = swapped;
    }
    tell(victim, " stop");
    for (size_t i = 0; i < 3; i++)
        daemon_signal(victim->daemon, signals[i]);
    if (victim->plan->kept && victim->kills < KILLS_MAX && dice_once_in(victim->dice, 2)) {
        spin_a_moment(victim);
        kill_child(victim, SIGKILL);
    }
    turn_until(victim, is_stopping, "does not stop");
}

void victim_stop(struct victim *victim)
{
    turn_until(victim, is_settled, "does not serve");
    stop_in_a_crowd(victim);
    victim->refusals = 0;
    daemon_signal(victim->daemon, SIGUSR2);
    turn_until(victim, has_refused, "does not refuse an upgrade while it stops");
    pid_t child = victim->plan->kept ? daemon_child(victim->daemon) : 0;
    crowd_leave(victim->crowd, true);
    turn_until(victim, has_ended, "does not end when all clients have gone");
    follow(victim);
    assert_int_equal(daemon_wait_exit(victim->daemon), 0);
    if (child != 0)
        assert_true(kill(child, 0) < 0 && errno == ESRCH);
    if (victim->plan->managed)
        manager_close(&victim->manager);
    daemon_forget(victim->daemon);
}

void victim_start(struct victim *victim, struct daemon *daemon, struct crowd *crowd,
                  struct mail *mail, struct dice *dice, struct toll *toll)
{
    *victim = (struct victim){.daemon = daemon,
                              .crowd = crowd,
                              .mail = mail,
                              .plan = crowd->plan,
                              .dice = dice,
                              .toll = toll};
    if (victim->plan->managed)
        manager_open(&victim->manager);
    begin_life(victim);
    (void)daemon_wait_port(daemon, "Listening on ");
    victim->serves = true;
}
