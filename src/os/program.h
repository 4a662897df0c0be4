/*
 * program.h - the program that this process runs, and how the process executes it again.
 *
 * What stands in the program's file may be another version by then, or no program at all, and an
 * execve(2) that succeeds leaves no way back. So the file can be asked before: it is started as a
 * child process, which says in its output and by its exit code whether it could go on. The child
 * may do anything, such as hang or write without end. So nothing here waits for the child, and its
 * end can be forced at any time.
 */
#ifndef UVECHOD_PROGRAM_H
#define UVECHOD_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct program {
    char *const *argv; /* as main() was given it, up to a NULL */
    char *path;        /* of the program's file */
};

/*
 * Finds out where the program stands. That is argv[0] if this is a path, which leads to the newest
 * version where it is a symbolic link; else the file that is running now (/proc/self/exe, proc(5)).
 * argv must outlive program. Returns 0, -ENOMEM, or a negative errno of readlink(2): program_free()
 * must be called in either case.
 */
int program_find(struct program *program, char *const *argv);

void program_free(struct program *program);

/*
 * Executes what stands at the path now, with the same arguments and environment, and the variable
 * name set to number. All other threads end, wherever they are. Returns only when it fails: a
 * negative errno of execve(2), or -ENOMEM.
 */
int program_execute(const struct program *program, const char *name, int number);

enum { PROGRAM_SAID_MAX = 512 }; /* bytes of an answer; a longer one is cut */

/* A program that is being asked, in a process of its own. */
struct program_asked {
    pid_t pid;
    int out;    /* the reading end of the pipe that is its standard output and standard error */
    size_t len; /* how much it has said */
    char said[PROGRAM_SAID_MAX];
    int code;   /* set by program_end(): its exit code, or -1 */
    int signum; /* the same: the signal that has ended it, or 0 */
};

/*
 * Starts what stands at the path now (posix_spawn(3)), with option in front of its other arguments.
 * The child has a process group of its own, and these descriptors: /dev/null to read from, the pipe
 * to write to, and the file, opened anew for reading only, whose number the variable name says. A C
 * library without posix_spawn_file_actions_addclosefrom_np() leaves every other descriptor open
 * that is not close-on-exec. No signal is blocked there. SIGCHLD gets its default action in this
 * process, because without it nobody is told the exit code. Returns 0, and program_end() must
 * follow; or a negative errno of open(2), pipe2(2) or execve(2), or -ENOMEM.
 */
int program_ask(struct program_asked *asked, const struct program *program, const char *option,
                const char *name, int file);

/*
 * Reads what the child has said; asked->out must be non-blocking. Returns whether the child may say
 * more: false when it has ended or closed its output, and when it has said more than fits.
 */
bool program_hear(struct program_asked *asked);

/*
 * Kills the child, with its process group, and waits until it has gone; a child that was ending has
 * its own exit code all the same. Closes asked->out unless the caller has, and has set it to -1.
 * Waits no longer than the kernel takes to end a process: long only if that waits for a disk.
 */
void program_end(struct program_asked *asked);

/*
 * Takes the variable name out of the environment. Returns its number, -ENOENT if there is no such
 * variable, or -EINVAL if it is no number that a descriptor can have. No other thread may run yet.
 */
int program_take_number(const char *name);

#endif
