#include "os/child.h"

#include "os/signals.h"

#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static bool child_ignores(int signum)
{
    struct sigaction action;
    return sigaction(signum, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

/* A blocked signal comes to sigtimedwait(2) even if it is ignored, so SIGHUP may be left out. */
static void child_await(struct child *child)
{
    (void)sigemptyset(&child->awaited);
    for (int i = 0; i < SIGNALS_HANDLED; i++)
        if (signals_handled[i] != SIGHUP || !child_ignores(SIGHUP))
            (void)sigaddset(&child->awaited, signals_handled[i]);
    (void)sigaddset(&child->awaited, SIGABRT);
    (void)sigaddset(&child->awaited, SIGCHLD);
}

void child_prepare(struct child *child)
{
    static const int of_jobs[] = {SIGTSTP, SIGTTIN, SIGTTOU};
    sigset_t set;
    *child = (struct child){.code = -1};
    (void)signal(SIGCHLD, SIG_DFL); /* ignored, it would keep the exit code from us */
    child_await(child);
    (void)sigfillset(&set);
    for (size_t i = 0; i < sizeof of_jobs / sizeof *of_jobs; i++)
        (void)sigdelset(&set, of_jobs[i]);
    (void)sigprocmask(SIG_SETMASK, &set, &child->mask);
}

void child_release(const struct child *child)
{
    (void)sigprocmask(SIG_SETMASK, &child->mask, NULL);
}

/* ---- in the child ---- */

/* Without memory the variable still names the parent, and so tells the child nothing. */
static void child_rename(const char *name, pid_t parent)
{
    char number[16];
    const char *value = getenv(name);
    (void)snprintf(number, sizeof number, "%d", (int)parent);
    if (value == NULL || strcmp(value, number) != 0)
        return;
    (void)snprintf(number, sizeof number, "%d", (int)getpid());
    (void)setenv(name, number, 1);
}

static void child_begin(const struct child *child, pid_t parent)
{
    (void)setpgid(0, 0);
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) /* which has ended before the call */
        (void)kill(getpid(), SIGTERM);
    child_rename("LISTEN_PID", parent);
    child_rename("WATCHDOG_PID", parent);
    child_release(child);
}

/* ---- in the parent ---- */

/* Not fork(2), which copies the table of descriptors. */
static pid_t child_clone(void)
{
    const unsigned long flags = CLONE_FILES | SIGCHLD;
#ifdef __s390__ /* where the stack comes first */
    return (pid_t)syscall(SYS_clone, 0UL, flags, 0UL, 0UL, 0UL);
#else
    return (pid_t)syscall(SYS_clone, flags, 0UL, 0UL, 0UL, 0UL);
#endif
}

pid_t child_make(struct child *child)
{
    const pid_t parent = getpid();
    pid_t pid = child_clone();
    if (pid == 0)
        child_begin(child, parent);
    if (pid > 0)
        child->pid = pid;
    return pid >= 0 ? pid : -errno;
}

/*
 * Reaps every child: this process may have some of the program that it was before, and as the first
 * process of a container it gets those of others.
 */
static bool child_reap(struct child *child)
{
    int status;
    pid_t pid;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid != child->pid)
            continue;
        child->code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
        child->signum = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
        return true;
    }
    return false;
}

static int child_next_signal(const struct child *child, siginfo_t *info, unsigned ms)
{
    const struct timespec limit = {.tv_sec = (time_t)(ms / 1000),
                                   .tv_nsec = (long)(ms % 1000) * 1000000};
    return sigtimedwait(&child->awaited, info, ms > 0 ? &limit : NULL);
}

/*
 * musl's abort(3) in a child sends SIGABRT to the thread that was there before clone(2), which is
 * this process. Left pending, that signal would be taken for one that is for the next child.
 */
static void child_forget(const struct child *child)
{
    static const struct timespec at_once;
    sigset_t set;
    siginfo_t info;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGABRT);
    if (sigtimedwait(&set, &info, &at_once) == SIGABRT && info.si_pid != child->pid)
        (void)kill(getpid(), SIGABRT);
}

/* A signal that comes from the child is not for the child. */
int child_wait(struct child *child, unsigned ms)
{
    while (!child_reap(child)) {
        siginfo_t info;
        int signum = child_next_signal(child, &info, ms);
        if (signum < 0 && errno == EAGAIN)
            return CHILD_LATE;
        if (signum > 0 && signum != SIGCHLD && info.si_pid != child->pid)
            return signum;
    }
    child_forget(child);
    return CHILD_ENDED;
}

void child_signal(const struct child *child, int signum)
{
    (void)kill(child->pid, signum);
}
