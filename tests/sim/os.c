/*
 * What the layers need of the operating system beside sockets: signals, the number of descriptors,
 * and the files of Unix sockets. The linker replaces the functions of libc that server/ calls
 * itself by those named __wrap_...
 */
#include "files.h"
#include "invariants.h"
#include "kernel.h"
#include "listening.h"
#include "lives.h"
#include "os/descriptors.h"
#include "os/http.h"
#include "os/net.h"
#include "os/process.h"
#include "os/processor.h"
#include "os/program.h"
#include "os/signals.h"
#include "plan.h"
#include "process.h"
#include "server/upgrade.h"
#include "world.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

/* What an answer may take beyond the limit: the daemon may be busy. */
enum { PROGRAM_SLACK_MS = 1000 };

/* ---- signals ---- */

const int signals_handled[SIGNALS_HANDLED] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGQUIT, SIGUSR2};

static struct {
    unsigned pending; /* a set of bits: places in signals_handled */
    unsigned caught;  /* those of them that libuv has in its pipe: a block does not hold them up */
    bool blocked;
    bool first;  /* SIGUSR2 was caught before the others that are caught */
    bool asked;  /* SIGUSR2 has been taken, and no answer has come */
    bool asking; /* a program */
    bool hangs;  /* it says nothing */
    bool agreed; /* the program that was asked last has */
    uint64_t asked_us;
} signals;

void signals_begin(void)
{
    signals.pending = signals.caught = 0;
    signals.asked = signals.first = false;
    signals.blocked = true; /* main() has blocked them */
}

static void on_signal_arrives(void *arg)
{
    intptr_t place = (intptr_t)arg;
    world_trace("signal %d arrives", signals_handled[place]);
    signals.pending |= 1U << place;
    if (signals.blocked)
        return;
    if (signals_handled[place] == SIGUSR2)
        signals.first = signals.caught == 0;
    signals.caught |= 1U << place;
}

void signals_send(uint64_t when_us, int signum)
{
    for (intptr_t i = 0; i < SIGNALS_HANDLED; i++)
        if (signals_handled[i] == signum)
            world_at(when_us, on_signal_arrives, (void *)i);
}

/* Those that were blocked come in the order of their places, and others as they have arrived. */
static int signals_next(void)
{
    const int last = SIGNALS_HANDLED - 1; /* SIGUSR2 */
    bool upgrade = signals.first && (signals.caught >> last & 1) != 0;
    return upgrade ? last : __builtin_ctz(signals.caught);
}

int kernel_take_signal(void)
{
    if (signals.caught == 0 || life_ends())
        return 0;
    int place = signals_next();
    signals.pending &= ~(1U << place);
    signals.caught &= ~(1U << place);
    int signum = signals_handled[place];
    if (signum == SIGUSR2)
        signals.asked = true;
    else if (signum != SIGUSR1)
        deadlines_stopped();
    return signum;
}

void signals_block(void)
{
    signals.blocked = true;
}

void signals_unblock(void)
{
    signals.blocked = false;
    signals.caught = signals.pending;
    signals.first = false;
}

void signals_ignore_of_writes(void)
{
}

/* Who has sent a signal that a process has not seen before it was killed sends it again. */
void signals_end_process(void)
{
    signals.blocked = true;
    signals.caught = 0;
    signals.asked = false;
    signals.asking = false;
}

void signals_answered(void)
{
    signals.asked = false;
}

bool signals_ask(void)
{
    return signals.asking;
}

void signals_before_sleep(void)
{
    if (signals.blocked)
        world_fail("all loops sleep, and signals are blocked");
    if (signals.asking &&
        deadlines_passed(signals.asked_us) > (UPGRADE_LIMIT_MS + PROGRAM_SLACK_MS) * 1000ULL)
        world_fail("the daemon waits for the answer of a program that says nothing");
    if (signals.asked && !signals.asking)
        world_fail("SIGUSR2 has come, and the daemon neither upgrades nor says why");
}

/* ---- the metrics, which no plan asks for ---- */

int http_open(struct http *http, int listening, struct http_handler *handler)
{
    (void)http;
    (void)handler;
    world_fail("the daemon serves metrics at %d", listening);
}

int64_t http_run(struct http *http)
{
    (void)http;
    world_fail("http_run() without http_open()");
}

void http_close(struct http *http)
{
    (void)http;
    world_fail("http_close() without http_open()");
}

void process_measure(struct process_figures *figures)
{
    (void)figures;
    world_fail("the daemon measures its process, and nobody has asked for that");
}

uint64_t process_started_us(void)
{
    world_fail("the daemon asks when it began, and nobody has asked for that");
}

/* ---- the program ---- */

/* Of 10,000. What is asked and does not refuse agrees, unless it hangs. */
enum { PROGRAM_FAILS = 6000, PROGRAM_LACKS = 1500, PROGRAM_REFUSES = 2000, PROGRAM_HANGS = 1000 };

int program_ask(struct program_asked *asked, const struct program *program, const char *option,
                const char *name, int file)
{
    static const int errors[] = {ENOENT, EACCES, ENOEXEC, ENOMEM, EMFILE};
    kernel_enter();
    if (program != plan_get()->config.program || strcmp(option, UPGRADE_OPTION) != 0 ||
        strcmp(name, UPGRADE_VARIABLE) != 0 || files_kind(file) != FILE_MEMORY)
        world_fail("another program is asked, or something else");
    *asked = (struct program_asked){.out = -1};
    if (world_fault(FAULT_PROGRAM, PROGRAM_LACKS))
        return -errors[world_faults() % (sizeof errors / sizeof *errors)];
    asked->code = world_fault(FAULT_PROGRAM, PROGRAM_REFUSES) ? 1 : 0;
    signals.agreed = asked->code == 0;
    signals.asked_us = world_now();
    signals.hangs = world_fault(FAULT_PROGRAM, PROGRAM_HANGS);
    asked->out = files_open(FILE_ANSWER, signals.hangs ? NULL : asked, 0);
    signals.asking = asked->out >= 0;
    return asked->out < 0 ? asked->out : 0;
}

bool program_hear(struct program_asked *asked)
{
    kernel_enter();
    if (!signals.asking)
        world_fail("a program that nobody asks is heard");
    if (signals.hangs)
        return true;
    asked->len = sizeof UPGRADE_YES - 1;
    memcpy(asked->said, UPGRADE_YES, asked->len);
    return false;
}

void program_end(struct program_asked *asked)
{
    kernel_enter();
    if (!signals.asking)
        world_fail("a program that nobody asks is ended");
    signals.asking = false;
    if (asked->out >= 0)
        net_close(asked->out);
}

int program_execute(const struct program *program, const char *name, int number)
{
    static const int errors[] = {ENOENT, EACCES, ENOEXEC, ENOMEM, ETXTBSY};
    kernel_enter();
    if (program != plan_get()->config.program || strcmp(name, UPGRADE_VARIABLE) != 0)
        world_fail("another program is executed");
    if (!signals.agreed)
        world_fail("a program is executed that has not agreed");
    if (!signals.blocked || signals.caught != 0 || !files_survives(number))
        world_fail("signals or the ledger would be lost when the program is executed");
    if (world_fault(FAULT_PROGRAM, PROGRAM_FAILS))
        return -errors[world_faults() % (sizeof errors / sizeof *errors)];
    life_execute(number);
    return 0;
}

/* ---- the processor: asked only with --busy-poll, without which every daemon here runs ---- */

void processor_give_way(void)
{
    world_fail("the processor is given away");
}

long processor_losses(void)
{
    world_fail("a thread asks for its losses of the processor");
}

/* ---- descriptors ---- */

int descriptors_end(void)
{
    return files_end_number();
}

long descriptors_raise(void)
{
    return (long)files_limit();
}

int descriptors_probe(int fd)
{
    int copies[DESCRIPTORS_LOOP];
    int count = 0;
    if (!kernel_is_open(fd))
        world_fail("descriptor %d is probed, and is not open", fd);
    while (count < DESCRIPTORS_LOOP && (copies[count] = files_open(FILE_COPY, NULL, 0)) >= 0)
        count++;
    bool lacks = count < DESCRIPTORS_LOOP;
    while (count > 0)
        files_close(copies[--count]);
    return lacks ? -EMFILE : 0;
}

/* ---- libc ---- */

/* The names that the linker gives to what it wraps are reserved for it. */
// NOLINTBEGIN(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
int __wrap_lstat(const char *path, struct stat *file);
int __wrap_unlink(const char *path);
int __wrap_sigaction(int signum, const struct sigaction *action, struct sigaction *old);
int __wrap_pthread_sigmask(int how, const sigset_t *set, sigset_t *old);
int __wrap_pthread_setname_np(pthread_t thread, const char *name);

int __wrap_lstat(const char *path, struct stat *file)
{
    const struct listening *listening = listening_at(path);
    if (listening == NULL || !listening->file) {
        errno = ENOENT;
        return -1;
    }
    memset(file, 0, sizeof *file);
    file->st_mode = S_IFSOCK | 0600;
    file->st_ino = (ino_t)(listening - listening_get(0)) + 1;
    return 0;
}

int __wrap_unlink(const char *path)
{
    struct listening *listening = listening_at(path);
    if (listening == NULL || !listening->file)
        world_fail("%s is removed, which is not a file of the daemon", path);
    if (!listening->open)
        world_fail("%s is removed after its socket was closed", path);
    listening->file = false;
    return 0;
}

int __wrap_sigaction(int signum, const struct sigaction *action, struct sigaction *old)
{
    if (action != NULL)
        world_fail("the action of signal %d is changed behind libuv", signum);
    memset(old, 0, sizeof *old);
    old->sa_handler = plan_get()->hangup_ignored && signum == SIGHUP ? SIG_IGN : SIG_DFL;
    return 0;
}

int __wrap_pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
    (void)how, (void)set, (void)old;
    return 0;
}

int __wrap_pthread_setname_np(pthread_t thread, const char *name)
{
    (void)thread;
    return strlen(name) < 16 ? 0 : ERANGE;
}
// NOLINTEND(bugprone-reserved-identifier,cert-dcl37-c,cert-dcl51-cpp)
