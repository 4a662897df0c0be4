#include "histories.h"

#include "fibers.h"
#include "lives.h"
#include "loop.h"
#include "plan.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/*
 * How many calls that watch a descriptor, or stop that, a history without faults may cost: for each
 * connection, and for each wait: after a send without room, a receive without bytes, or an error,
 * for which libuv has stopped watching. Nothing for a message.
 */
enum { BUDGET_CONNECTION = 3, BUDGET_WAIT = 2, BUDGET_OTHERS = 20 };

/* In memory that parent and child share, so that it outlives a crash. */
static struct report *report;

static void history_note_faults(void)
{
    report->faults = world_faults();
    report->kinds = 0;
    for (unsigned fault = 0; fault < FAULT_COUNT; fault++)
        report->kinds |= (uint32_t)world_has(fault) << fault;
}

static void report_failure(const char *reason)
{
    history_note_faults();
    report->failed = true;
    (void)snprintf(report->reason, sizeof report->reason, "%s", reason);
    (void)fflush(stdout);
    _exit(1);
}

/* The linker lets assert() of the daemon's code come here, and gives the simulation's sigaction()
 * to all who do not ask for the real one. */
// NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
_Noreturn void __wrap___assert_fail(const char *assertion, const char *file, unsigned line,
                                    const char *function);
int __real_sigaction(int signum, const struct sigaction *action, struct sigaction *before);

_Noreturn void __wrap___assert_fail(const char *assertion, const char *file, unsigned line,
                                    const char *function)
{
    (void)file, (void)line;
    world_fail("%s: the assertion %s does not hold", function, assertion);
}

/* The history may hold any lock now, so that only its own memory is touched. */
static void on_patience_end(int signum)
{
    static const char reason[] = "the code loops for ever";
    (void)signum;
    report->failed = true;
    memcpy(report->reason, reason, sizeof reason);
    _exit(1);
}

/* A process of the daemon, and what it was started with. */
struct daemon {
    struct server_config config;
    struct log log;
    int rc; /* what server_run() has returned */
};

static void on_start(void *arg)
{
    struct daemon *daemon = arg;
    log_init(&daemon->log, 2, plan_get()->level);
    daemon->rc = server_run(&daemon->config, &daemon->log);
}

static void history_run(uint64_t seed, const struct histories *histories)
{
    struct daemon daemon;
    memset(&daemon, 0, sizeof daemon);
    world_begin(seed, &histories->world);
    loops_begin();
    scenario_begin(seed, &histories->scenario, &daemon.config);
    (void)snprintf(report->plan, sizeof report->plan, "%s", scenario_text());
    report->clients = scenario_clients();
    world_trace("seed %llu: %s", (unsigned long long)seed, report->plan);
    while (!fibers_run(on_start, &daemon))
        daemon.config.ledger = lives_succeed();
    world_trace("the daemon returns %d", daemon.rc);
    loops_end();
    scenario_end(daemon.rc);
    report->lasted_us += world_lasted();
    world_end();
}

/* What the histories before this one have cost. */
struct costs {
    uint64_t arms, waits, connections;
};

static struct costs costs_so_far(void)
{
    const struct scenario_totals *totals = scenario_totals();
    return (struct costs){.arms = loop_arms(),
                          .waits = totals->refusals + loop_errors(),
                          .connections = totals->connections};
}

static void history_check_budget(const struct costs *before)
{
    struct costs now = costs_so_far();
    uint64_t arms = now.arms - before->arms;
    uint64_t waits = now.waits - before->waits;
    uint64_t connections = now.connections - before->connections;
    uint64_t budget = BUDGET_OTHERS + connections * BUDGET_CONNECTION + waits * BUDGET_WAIT;
    if (!world_has_any() && arms > budget)
        world_fail("%llu calls to watch %llu connections, which had to wait %llu times",
                   (unsigned long long)arms, (unsigned long long)connections,
                   (unsigned long long)waits);
}

static void history_count(const struct costs *before)
{
    history_check_budget(before);
    report->totals = *scenario_totals();
    report->histories++;
    report->hash = world_hash();
    report->passes = loop_passes();
    report->arms = loop_arms();
}

/* What is left to see when the daemon's code crashes. */
static void on_crash(int signum)
{
    history_note_faults();
    report->failed = true;
    (void)snprintf(report->reason, sizeof report->reason, "the daemon crashes: signal %d", signum);
    _exit(1);
}

static void child_set_up(const struct histories *histories)
{
    static char stack[1 << 16];
    const stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    const struct sigaction crash = {.sa_handler = on_crash, .sa_flags = SA_ONSTACK};
    const struct sigaction alarm = {.sa_handler = on_patience_end, .sa_flags = SA_ONSTACK};
    if (histories->silent && freopen("/dev/null", "w", stderr) == NULL)
        _exit(1);
    (void)sigaltstack(&alternate, NULL);
    (void)__real_sigaction(SIGPROF, &alarm, NULL);
#if !defined(__SANITIZE_ADDRESS__)
    (void)__real_sigaction(SIGSEGV, &crash, NULL);
    (void)__real_sigaction(SIGBUS, &crash, NULL);
#endif
    (void)__real_sigaction(SIGABRT, &crash, NULL);
    world_report_to(report_failure);
    world_tell(histories->telling);
}
// NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)

/* Counts the process's own time, because a busy machine may give it none for long. */
static void patience_begin(unsigned seconds)
{
    const struct itimerval patience = {.it_value.tv_sec = (time_t)seconds};
    (void)setitimer(ITIMER_PROF, &patience, NULL);
}

static void child_main(const struct histories *histories)
{
    time_t end = histories->seconds > 0 ? time(NULL) + (time_t)histories->seconds : 0;
    child_set_up(histories);
    for (uint64_t i = 0; i < histories->count && (end == 0 || time(NULL) < end); i++) {
        struct costs before = costs_so_far();
        report->seed = histories->from + i;
        patience_begin(histories->patience);
        history_run(report->seed, histories);
        history_count(&before);
    }
    (void)fflush(stdout);
    exit(0); /* not _exit(), so that executed lines are counted and leaks are found */
}

/* What a child could not report itself: the sanitizers end it. */
static void report_status(int status)
{
    if (report->failed || (WIFEXITED(status) && WEXITSTATUS(status) == 0))
        return;
    report->failed = true;
    if (WIFSIGNALED(status))
        (void)snprintf(report->reason, sizeof report->reason, "the daemon crashes: signal %d",
                       WTERMSIG(status));
    else
        (void)snprintf(report->reason, sizeof report->reason,
                       "a sanitizer has found something: exit code %d", WEXITSTATUS(status));
}

const struct report *histories_run(const struct histories *histories)
{
    if (report == NULL)
        report =
            mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (report == MAP_FAILED)
        abort();
    memset(report, 0, sizeof *report);
    (void)fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        child_main(histories);
    int status;
    if (child < 0 || waitpid(child, &status, 0) < 0)
        abort();
    report_status(status);
    return report;
}
