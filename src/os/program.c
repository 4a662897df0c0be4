#include "os/program.h"

#include "os/net.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the kernel appends to the path of a file that has been replaced or removed. */
static const char program_deleted[] = " (deleted)";

static void program_strip(char *path)
{
    size_t len = strlen(path);
    const size_t suffix = sizeof program_deleted - 1;
    if (len > suffix && strcmp(path + len - suffix, program_deleted) == 0)
        path[len - suffix] = '\0';
}

int program_find(struct program *program, char *const *argv)
{
    char path[PATH_MAX];
    *program = (struct program){.argv = argv};
    if (argv[0] != NULL && strchr(argv[0], '/') != NULL) {
        program->path = strdup(argv[0]);
        return program->path != NULL ? 0 : -ENOMEM;
    }
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n < 0)
        return -errno;
    path[n] = '\0';
    program_strip(path);
    program->path = strdup(path);
    return program->path != NULL ? 0 : -ENOMEM;
}

void program_free(struct program *program)
{
    free(program->path);
}

static bool program_sets(const char *setting, const char *name)
{
    size_t len = strlen(name);
    return strncmp(setting, name, len) == 0 && setting[len] == '=';
}

/* The environment with this setting in the place of every other one of the name; or NULL. */
static char **program_environment(const char *name, char *setting)
{
    size_t count = 0;
    while (environ[count] != NULL)
        count++;
    char **variables = calloc(count + 2, sizeof *variables);
    if (variables == NULL)
        return NULL;
    variables[0] = setting;
    size_t kept = 1;
    for (size_t i = 0; i < count; i++)
        if (!program_sets(environ[i], name))
            variables[kept++] = environ[i];
    return variables;
}

/* Returns the list that program_environment() makes, or NULL. setting is the memory for it. */
static char **program_set(char setting[static 64], const char *name, int number)
{
    (void)snprintf(setting, 64, "%s=%d", name, number);
    return program_environment(name, setting);
}

/* With a list of its own, because setenv(3) would change the environment under other threads. */
int program_execute(const struct program *program, const char *name, int number)
{
    char setting[64];
    if (program->path == NULL)
        return -ENOENT;
    char **variables = program_set(setting, name, number);
    if (variables == NULL)
        return -ENOMEM;
    (void)execve(program->path, program->argv, variables);
    int rc = -errno;
    free(variables);
    return rc;
}

/* ---- asking the program first ---- */

enum { PROGRAM_FILE = STDERR_FILENO + 1 }; /* the number of the file in the child */

/* The arguments with option in front of those after the name; or NULL. */
static char **program_arguments(const struct program *program, char *option)
{
    char *const *argv = program->argv;
    size_t count = 0;
    while (argv[count] != NULL)
        count++;
    char **arguments = calloc(count + 3, sizeof *arguments);
    if (arguments == NULL)
        return NULL;
    arguments[0] = count > 0 ? argv[0] : program->path;
    arguments[1] = option;
    for (size_t i = 1; i < count; i++)
        arguments[i + 1] = argv[i];
    return arguments;
}

/*
 * What the child does with its descriptors. All of ours are higher than the standard ones, and
 * dup2(2) to the same number clears FD_CLOEXEC here, as posix_spawn(3) says.
 */
static int program_plan(posix_spawn_file_actions_t *plan, int out, int file)
{
    int rc = posix_spawn_file_actions_addopen(plan, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(plan, out, STDOUT_FILENO);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(plan, out, STDERR_FILENO);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(plan, file, PROGRAM_FILE);
#if HAVE_SPAWN_CLOSEFROM
    if (rc == 0)
        rc = posix_spawn_file_actions_addclosefrom_np(plan, PROGRAM_FILE + 1);
#endif
    return -rc;
}

/* What signals_ignore_of_writes() has changed is as usual in the child. Cannot fail. */
static void program_set_signals(posix_spawnattr_t *attributes)
{
    sigset_t set;
    (void)sigemptyset(&set);
    (void)posix_spawnattr_setsigmask(attributes, &set);
    (void)sigaddset(&set, SIGPIPE);
    (void)sigaddset(&set, SIGXFSZ);
    (void)posix_spawnattr_setsigdefault(attributes, &set);
    (void)posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF |
                                                   POSIX_SPAWN_SETPGROUP);
}

/*
 * The child sets its process group, and we set the same group. Under qemu-user and valgrind,
 * vfork(2) does what fork(2) does: so the child may not have set the group when posix_spawn(3)
 * returns, and program_end() would kill nobody and wait for the child without end. That we cannot
 * set the group any more means that the child has executed the program, and has set it before.
 */
static int program_spawn(pid_t *pid, const struct program *program, char **arguments,
                         char **variables, int out, int file)
{
    posix_spawn_file_actions_t plan;
    posix_spawnattr_t attributes;
    int rc = -posix_spawn_file_actions_init(&plan);
    if (rc < 0)
        return rc;
    (void)posix_spawnattr_init(&attributes); /* cannot fail with glibc or musl */
    program_set_signals(&attributes);
    rc = program_plan(&plan, out, file);
    if (rc == 0)
        rc = -posix_spawn(pid, program->path, &plan, &attributes, arguments, variables);
    if (rc == 0)
        (void)setpgid(*pid, *pid);
    (void)posix_spawnattr_destroy(&attributes);
    (void)posix_spawn_file_actions_destroy(&plan);
    return rc;
}

/* The same with the arguments and the environment, which are needed for the call only. */
static int program_start(pid_t *pid, const struct program *program, const char *option,
                         const char *name, int out, int file)
{
    char setting[64];
    char *own = strdup(option); /* because the list is one of strings that may be changed */
    char **arguments = own != NULL ? program_arguments(program, own) : NULL;
    char **variables = program_set(setting, name, PROGRAM_FILE);
    int rc = -ENOMEM;
    if (arguments != NULL && variables != NULL)
        rc = program_spawn(pid, program, arguments, variables, out, file);
    free(variables);
    free(arguments);
    free(own);
    return rc;
}

/* The same file with a position and rights of its own. Returns a descriptor or a negative errno. */
static int program_open_again(int file)
{
    char path[32];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    int again = open(path, O_RDONLY | O_CLOEXEC);
    return again < 0 ? -errno : again;
}

int program_ask(struct program_asked *asked, const struct program *program, const char *option,
                const char *name, int file)
{
    int ends[2];
    *asked = (struct program_asked){.out = -1};
    if (program->path == NULL)
        return -ENOENT;
    int readable = program_open_again(file);
    if (readable < 0)
        return readable;
    int rc = pipe2(ends, O_CLOEXEC) < 0 ? -errno : 0;
    if (rc == 0) {
        (void)signal(SIGCHLD, SIG_DFL);
        rc = program_start(&asked->pid, program, option, name, ends[1], readable);
        net_close(ends[1]);
        if (rc == 0)
            asked->out = ends[0];
        else
            net_close(ends[0]);
    }
    net_close(readable);
    return rc;
}

bool program_hear(struct program_asked *asked)
{
    while (asked->len < sizeof asked->said) {
        ssize_t n = read(asked->out, asked->said + asked->len, sizeof asked->said - asked->len);
        if (n > 0)
            asked->len += (size_t)n;
        else if (n == 0 || errno != EINTR)
            return n < 0 && errno == EAGAIN;
    }
    return false;
}

void program_end(struct program_asked *asked)
{
    int status;
    pid_t pid;
    (void)kill(-asked->pid, SIGKILL);
    do
        pid = waitpid(asked->pid, &status, 0);
    while (pid < 0 && errno == EINTR);
    asked->code = pid > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    asked->signum = pid > 0 && WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    if (asked->out >= 0)
        net_close(asked->out);
    asked->out = -1;
}

int program_take_number(const char *name)
{
    const char *value = getenv(name);
    if (value == NULL)
        return -ENOENT;
    char *end;
    errno = 0;
    long number = strtol(value, &end, 10);
    bool valid = end != value && *end == '\0' && errno == 0 && number >= 0 && number <= INT_MAX;
    (void)unsetenv(name);
    return valid ? (int)number : -EINVAL;
}
