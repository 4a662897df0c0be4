/*
 * program.c: where the program stands, what it is executed with, and how it is asked before. This
 * test is the program: it executes a copy of a script in its place, in a child. Programs that are
 * asked are scripts, and this test itself, which then looks at what it was started with.
 */
#include "os/program.h"

#include "unit/support.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char self[PATH_MAX]; /* this test */
static char *deleted;       /* what readlink() says, or NULL */
static int readlink_error;
static bool memory_fails;
static int memory_passes; /* allocations that succeed all the same */

ssize_t __real_readlink(const char *path, char *buf, size_t size);
ssize_t __wrap_readlink(const char *path, char *buf, size_t size);

ssize_t __wrap_readlink(const char *path, char *buf, size_t size)
{
    if (readlink_error != 0) {
        errno = readlink_error;
        return -1;
    }
    if (deleted == NULL)
        return __real_readlink(path, buf, size);
    assert_true(strlen(deleted) <= size);
    memcpy(buf, deleted, strlen(deleted));
    return (ssize_t)strlen(deleted);
}

void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
char *__real_strdup(const char *text);
char *__wrap_strdup(const char *text);

static bool memory_is_out(void)
{
    return memory_fails && memory_passes-- <= 0;
}

void *__wrap_calloc(size_t count, size_t size)
{
    return memory_is_out() ? NULL : __real_calloc(count, size);
}

char *__wrap_strdup(const char *text)
{
    return memory_is_out() ? NULL : __real_strdup(text);
}

/* Which calls fail, by an errno; 0: none. */
static struct {
    int init;
    int plan; /* the last action of the plan */
    int spawn;
    bool spawns_early; /* posix_spawn() does not wait until the child has got anywhere */
    int pipe;
    int waits;     /* so many calls of waitpid() are interrupted */
    int no_status; /* waitpid() says that there is no such child */
} failing;

int __real_posix_spawn_file_actions_init(posix_spawn_file_actions_t *plan);
int __wrap_posix_spawn_file_actions_init(posix_spawn_file_actions_t *plan);
int __real_posix_spawn_file_actions_adddup2(posix_spawn_file_actions_t *plan, int from, int to);
int __wrap_posix_spawn_file_actions_adddup2(posix_spawn_file_actions_t *plan, int from, int to);
int __real_posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *plan,
                       const posix_spawnattr_t *attributes, char *const argv[], char *const env[]);
int __wrap_posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *plan,
                       const posix_spawnattr_t *attributes, char *const argv[], char *const env[]);
int __real_pipe2(int fds[2], int flags);
int __wrap_pipe2(int fds[2], int flags);
pid_t __real_waitpid(pid_t pid, int *status, int options);
pid_t __wrap_waitpid(pid_t pid, int *status, int options);

int __wrap_posix_spawn_file_actions_init(posix_spawn_file_actions_t *plan)
{
    return failing.init != 0 ? failing.init : __real_posix_spawn_file_actions_init(plan);
}

int __wrap_posix_spawn_file_actions_adddup2(posix_spawn_file_actions_t *plan, int from, int to)
{
    return failing.plan != 0 ? failing.plan
                             : __real_posix_spawn_file_actions_adddup2(plan, from, to);
}

/* The child gets nowhere; its own watchdog ends it if nobody else does. */
static int spawn_early(pid_t *pid)
{
    *pid = fork();
    if (*pid != 0)
        return *pid < 0 ? errno : 0;
    (void)alarm(30);
    for (;;)
        (void)pause();
}

int __wrap_posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *plan,
                       const posix_spawnattr_t *attributes, char *const argv[], char *const env[])
{
    if (failing.spawns_early)
        return spawn_early(pid);
    return failing.spawn != 0 ? failing.spawn
                              : __real_posix_spawn(pid, path, plan, attributes, argv, env);
}

int __wrap_pipe2(int fds[2], int flags)
{
    errno = failing.pipe;
    return failing.pipe != 0 ? -1 : __real_pipe2(fds, flags);
}

pid_t __wrap_waitpid(pid_t pid, int *status, int options)
{
    pid_t rc = failing.waits > 0 ? -1 : __real_waitpid(pid, status, options);
    if (failing.waits > 0 && failing.waits-- > 0)
        errno = EINTR;
    if (!failing.no_status)
        return rc;
    errno = ECHILD;
    return -1;
}

static void check_path(const char *name, const char *path)
{
    char argument[PATH_MAX];
    char *const argv[] = {name != NULL ? strcpy(argument, name) : NULL, NULL};
    struct program program;
    assert_int_equal(program_find(&program, argv), 0);
    assert_string_equal(program.path, path);
    assert_ptr_equal(program.argv, argv);
    program_free(&program);
}

/* A name that is a path is kept as it is, so that a symbolic link can be switched. */
static void test_where_the_program_stands(void **state)
{
    (void)state;
    check_path("/usr/sbin/uvechod", "/usr/sbin/uvechod");
    check_path("./uvechod", "./uvechod");
    check_path("uvechod", self);
    check_path(NULL, self);
}

static void test_a_program_that_has_been_replaced(void **state)
{
    (void)state;
    deleted = (char[]){"/usr/sbin/uvechod (deleted)"};
    check_path("uvechod", "/usr/sbin/uvechod");
    deleted = (char[]){"/opt/a (deleted) b"};
    check_path("uvechod", "/opt/a (deleted) b");
    deleted = NULL;
}

static void test_nobody_tells_where(void **state)
{
    char name[] = "uvechod";
    char *const argv[] = {name, NULL};
    struct program program;
    (void)state;
    readlink_error = ENOENT;
    assert_int_equal(program_find(&program, argv), -ENOENT);
    program_free(&program);
    readlink_error = 0;
}

static int take(const char *value)
{
    assert_int_equal(setenv("UVECHOD_TEST", value, 1), 0);
    int number = program_take_number("UVECHOD_TEST");
    assert_null(getenv("UVECHOD_TEST"));
    return number;
}

static void test_a_number_is_taken(void **state)
{
    (void)state;
    assert_int_equal(program_take_number("UVECHOD_TEST"), -ENOENT);
    assert_int_equal(take("0"), 0);
    assert_int_equal(take("17"), 17);
    assert_int_equal(take("2147483647"), INT_MAX);
    assert_int_equal(take("2147483648"), -EINVAL);
    assert_int_equal(take("99999999999999999999"), -EINVAL);
    assert_int_equal(take("-1"), -EINVAL);
    assert_int_equal(take(""), -EINVAL);
    assert_int_equal(take("3x"), -EINVAL);
}

/* Executes the path in a child, whose output comes through a pipe. Returns its exit code. */
static int execute(const char *path, char *out, size_t size)
{
    char name[PATH_MAX];
    char argument[] = "an argument";
    char *const argv[] = {strcpy(name, path), argument, NULL};
    struct program program;
    int ends[2];
    int status;
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        (void)dup2(ends[1], STDOUT_FILENO);
        (void)setenv("UVECHOD_TEST", "1", 1);
        int rc = program_find(&program, argv);
        if (rc == 0)
            rc = program_execute(&program, "UVECHOD_TEST", 42);
        child_exit(-rc);
    }
    assert_true(pid > 0);
    (void)close(ends[1]);
    size_t len = 0;
    for (ssize_t n; len < size - 1 && (n = read(ends[0], out + len, size - 1 - len)) > 0;)
        len += (size_t)n;
    out[len] = '\0';
    (void)close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* The same arguments, and the variable in the place of an older one. */
static void test_executes(void **state)
{
    static const char script[] = "#!/bin/sh\necho \"$1:$UVECHOD_TEST\"\nexit 3\n";
    char dir[32];
    char path[64];
    char out[256];
    (void)state;
    make_dir(dir);
    (void)snprintf(path, sizeof path, "%s/program", dir);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
    assert_int_equal(write(fd, script, sizeof script - 1), sizeof script - 1);
    (void)close(fd);
    assert_int_equal(execute(path, out, sizeof out), 3);
    assert_string_equal(out, "an argument:42\n");
    assert_int_equal(chmod(path, 0600), 0);
    assert_int_equal(execute(path, out, sizeof out), EACCES);
    (void)unlink(path);
    assert_int_equal(execute(path, out, sizeof out), ENOENT);
    assert_string_equal(out, "");
    remove_dir(dir);
}

/* Nothing is executed then, and nothing has changed. */
static void test_no_memory(void **state)
{
    char name[] = "uvechod";
    char path[] = "/nowhere/uvechod";
    char *const argv[2][2] = {{name, NULL}, {path, NULL}};
    struct program program;
    (void)state;
    for (int i = 0; i < 2; i++) {
        memory_fails = true;
        assert_int_equal(program_find(&program, argv[i]), -ENOMEM);
        assert_int_equal(program_execute(&program, "UVECHOD_TEST", 1), -ENOENT);
        program_free(&program);
        memory_fails = false;
        assert_int_equal(program_find(&program, argv[i]), 0);
        memory_fails = true;
        assert_int_equal(program_execute(&program, "UVECHOD_TEST", 1), -ENOMEM);
        program_free(&program);
        memory_fails = false;
    }
}

/* ---- asking ---- */

static char scratch[32];           /* the directory of the script */
static char script[64];            /* its path */
static struct program_asked asked; /* the child of the last question */
static int file;                   /* what the child may read */
static int open_before;            /* descriptors before the question */
static const char option[] = "--question";
static const char nothing[] = "--nothing"; /* makes this test end at once */

/*
 * What this test does when it is asked: says what it was started with. Everything is one line,
 * because the answer is compared as a whole.
 */
static int answer(int argc, char **argv)
{
    char byte;
    struct sigaction action;
    sigset_t blocked;
    bool pipe_default = sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_DFL;
    bool term_default = sigaction(SIGTERM, NULL, &action) == 0 && action.sa_handler == SIG_DFL;
    bool none_blocked = sigprocmask(SIG_BLOCK, NULL, &blocked) == 0 && sigisemptyset(&blocked) == 1;
    int number = program_take_number("UVECHOD_TEST");
    (void)printf("%d arguments, %s, %s;", argc, argv[1], argv[2]);
    for (int fd = 0; fd < 1000; fd++)
        if (fd_is_open(fd))
            (void)printf(" %d", fd);
    (void)printf("; file %d, read %d, write %d, map %d, stdin %d;", number,
                 (int)pread(number, &byte, 1, 0), (int)write(number, "x", 1),
                 mmap(NULL, 1, PROT_WRITE, MAP_SHARED, number, 0) == MAP_FAILED,
                 (int)read(STDIN_FILENO, &byte, 1));
    (void)printf(" group %d, signals %d%d%d\n", getpgrp() == getpid(), pipe_default, term_default,
                 none_blocked);
    (void)fflush(stdout);
    (void)fprintf(stderr, "and on standard error\n");
    return 7;
}

static int asking_open(void **state)
{
    (void)state;
    memset(&failing, 0, sizeof failing);
    make_dir(scratch);
    (void)snprintf(script, sizeof script, "%s/program", scratch);
    file = memfd_create("file", MFD_CLOEXEC);
    assert_int_equal(write(file, "12345678", 8), 8);
    open_before = count_fds();
    return 0;
}

/* Neither a descriptor nor a child is left. */
static int asking_close(void **state)
{
    (void)state;
    assert_int_equal(count_fds(), open_before);
    assert_int_equal(__real_waitpid(-1, NULL, 0), -1);
    assert_int_equal(errno, ECHILD);
    (void)unlink(script);
    remove_dir(scratch);
    (void)close(file);
    return 0;
}

static void write_script(const char *text, mode_t mode)
{
    (void)unlink(script);
    int fd = open(script, O_WRONLY | O_CREAT | O_CLOEXEC, 0700);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    (void)close(fd);
}

/* Asks the program at this path. */
static int ask_path(const char *path)
{
    char argument[] = "argument";
    char name[PATH_MAX];
    char *const argv[] = {strcpy(name, path), argument, NULL};
    struct program program;
    assert_int_equal(program_find(&program, argv), 0);
    int rc = program_ask(&asked, &program, option, "UVECHOD_TEST", file);
    program_free(&program);
    if (rc == 0)
        assert_int_equal(fcntl(asked.out, F_SETFL, O_NONBLOCK), 0);
    return rc;
}

/* Waits until nothing more comes, or until the child has said this. */
static void hear(const char *until)
{
    size_t len = until != NULL ? strlen(until) : sizeof asked.said + 1;
    while (program_hear(&asked)) {
        if (asked.len == len && memcmp(asked.said, until, len) == 0)
            return;
        wait_for(asked.out, POLLIN);
    }
    assert_null(until);
}

static void expect_said(const char *said)
{
    assert_int_equal(asked.len, strlen(said));
    assert_memory_equal(asked.said, said, asked.len);
}

/* Asks a program, which answers so and ends so. */
static void check_answer(const char *path, const char *said, int code, int signum)
{
    assert_int_equal(ask_path(path), 0);
    hear(NULL);
    program_end(&asked);
    assert_false(program_hear(&asked)); /* its descriptor is closed */
    expect_said(said);
    assert_int_equal(asked.code, code);
    assert_int_equal(asked.signum, signum);
}

/* Asks a script of the shell. */
static void check_script(const char *text, const char *said, int code, int signum)
{
    char whole[256];
    (void)snprintf(whole, sizeof whole, "#!/bin/sh\n%s\n", text);
    write_script(whole, 0700);
    check_answer(script, said, code, signum);
}

/* Whether the kernel can execute this test: not in qemu-user, unless binfmt_misc names that. */
static bool can_execute_self(void)
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        (void)execl(self, self, nothing, NULL);
        child_exit(errno);
    }
    assert_true(pid > 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_true(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == ENOEXEC);
    return WEXITSTATUS(status) == 0;
}

/*
 * A descriptor that is not close-on-exec, as those of connections, and a signal that is blocked or
 * ignored, do not reach the child.
 */
static void test_what_the_child_is_given(void **state)
{
    char bait[16] = "";
    char said[256];
    sigset_t blocked;
    (void)state;
    if (!can_execute_self()) {
        print_message("the kernel cannot execute programs for this processor\n");
        skip();
    }
    int inherited = open("/dev/null", O_RDONLY);
    assert_true(inherited > 3);
    if (!HAVE_SPAWN_CLOSEFROM)
        (void)snprintf(bait, sizeof bait, " %d", inherited);
    (void)sigemptyset(&blocked);
    (void)sigaddset(&blocked, SIGTERM);
    assert_int_equal(sigprocmask(SIG_BLOCK, &blocked, NULL), 0);
    assert_true(signal(SIGPIPE, SIG_IGN) == SIG_DFL);
    (void)snprintf(said, sizeof said,
                   "3 arguments, --question, argument; 0 1 2 3%s; file 3, read 1, write -1, map 1, "
                   "stdin 0; group 1, signals 111\nand on standard error\n",
                   bait);
    check_answer(self, said, 7, 0);
    assert_true(signal(SIGPIPE, SIG_DFL) == SIG_IGN);
    assert_int_equal(sigprocmask(SIG_UNBLOCK, &blocked, NULL), 0);
    (void)close(inherited);
}

/* A program without a name of its own is given its path. */
static void test_asks_a_program_without_arguments(void **state)
{
    char *const argv[] = {NULL};
    char *path = script;
    struct program program = {.argv = argv, .path = path};
    (void)state;
    write_script("#!/bin/sh\necho \"$#:$1\"\n", 0700);
    assert_int_equal(program_ask(&asked, &program, option, "UVECHOD_TEST", file), 0);
    assert_int_equal(fcntl(asked.out, F_SETFL, O_NONBLOCK), 0);
    hear(NULL);
    program_end(&asked);
    expect_said("1:--question\n");
}

static void test_answers(void **state)
{
    (void)state;
    check_script("echo yes", "yes\n", 0, 0);
    check_script("echo no >&2; exit 3", "no\n", 3, 0);
    check_script("printf 'no end of the line'; exit 255", "no end of the line", 255, 0);
    check_script("kill -SEGV $$", "", -1, SIGSEGV);
    check_answer("/bin/true", "", 0, 0);
    check_answer("/bin/false", "", 1, 0);
}

/* Where spawn_tells_errors() does not hold, the child has said nothing, and has failed. */
static void check_not_started(const char *path, int error)
{
    if (spawn_tells_errors())
        assert_int_equal(ask_path(path), error);
    else
        check_answer(path, "", 127, 0);
}

/* Without an interpreter's name, the shell is not tried, as execve(2) does not try it. */
static void test_programs_that_cannot_be_started(void **state)
{
    (void)state;
    check_not_started(script, -ENOENT);
    write_script("#!/bin/sh\n", 0600);
    check_not_started(script, -EACCES);
    write_script("echo a text\n", 0700);
    check_not_started(script, -ENOEXEC);
    write_script("\177ELF and no more", 0700);
    check_not_started(script, -ENOEXEC);
    write_script("#!/nowhere/sh\n", 0700);
    check_not_started(script, -ENOENT);
    check_not_started(scratch, -EACCES);
}

/* Nothing waits for a program that hangs: the caller ends it when the caller wants to. */
static void test_a_program_that_hangs(void **state)
{
    (void)state;
    write_script("#!/bin/sh\nexec sleep 1000\n", 0700);
    assert_int_equal(ask_path(script), 0);
    assert_true(program_hear(&asked));
    program_end(&asked);
    assert_int_equal(asked.len, 0);
    assert_int_equal(asked.signum, SIGKILL);
    write_script("#!/bin/sh\necho yes\nexec sleep 1000\n", 0700);
    assert_int_equal(ask_path(script), 0);
    hear("yes\n");
    program_end(&asked);
    assert_int_equal(asked.code, -1);
    assert_int_equal(asked.signum, SIGKILL);
}

/* As under qemu-user and valgrind, where vfork(2) does what fork(2) does. The child is ended. */
static void test_a_child_that_has_not_begun(void **state)
{
    (void)state;
    failing.spawns_early = true;
    assert_int_equal(ask_path("/bin/true"), 0);
    program_end(&asked);
    assert_int_equal(asked.signum, SIGKILL);
}

/* It has closed its output, and nothing more can come. */
static void test_a_program_that_hangs_silently(void **state)
{
    (void)state;
    check_script("exec sleep 1000 >/dev/null 2>&1", "", -1, SIGKILL);
}

/* What the program has started ends with it: the pipe has no writer any more. */
static void test_a_program_with_children(void **state)
{
    char byte;
    (void)state;
    write_script("#!/bin/sh\nsleep 1000 &\necho yes\n", 0700);
    assert_int_equal(ask_path(script), 0);
    hear("yes\n");
    int out = fcntl(asked.out, F_DUPFD_CLOEXEC, 0);
    program_end(&asked);
    wait_for(out, POLLIN);
    assert_int_equal(read(out, &byte, 1), 0);
    (void)close(out);
}

static void test_output_without_end(void **state)
{
    (void)state;
    write_script("#!/bin/sh\nexec yes\n", 0700);
    assert_int_equal(ask_path(script), 0);
    hear(NULL);
    program_end(&asked);
    assert_int_equal(asked.len, PROGRAM_SAID_MAX);
    assert_memory_equal(asked.said, "y\ny\ny\n", 6);
    assert_int_equal(asked.code, -1);
}

/* Whoever has started us may have ignored it, and so may nobody be told the exit code. */
static void test_sigchld_is_ignored(void **state)
{
    (void)state;
    assert_true(signal(SIGCHLD, SIG_IGN) == SIG_DFL);
    check_answer("/bin/false", "", 1, 0);
    assert_true(signal(SIGCHLD, SIG_DFL) == SIG_DFL);
}

/* Somebody else has taken the exit code. */
static void test_no_status(void **state)
{
    (void)state;
    failing.no_status = true;
    check_answer("/bin/true", "", -1, 0);
}

static void test_waits_on_after_a_signal(void **state)
{
    (void)state;
    failing.waits = 2;
    check_answer("/bin/false", "", 1, 0);
    assert_int_equal(failing.waits, 0);
}

/* Nothing is left then, and a later question is answered. */
static void test_the_question_fails(void **state)
{
    struct program nameless = {.path = NULL};
    (void)state;
    assert_int_equal(program_ask(&asked, &nameless, option, "UVECHOD_TEST", file), -ENOENT);
    int none = file;
    file = -1;
    assert_int_equal(ask_path("/bin/true"), -ENOENT);
    file = none;
    failing.pipe = EMFILE;
    assert_int_equal(ask_path("/bin/true"), -EMFILE);
    failing.pipe = 0;
    failing.init = ENOMEM;
    assert_int_equal(ask_path("/bin/true"), -ENOMEM);
    failing.init = 0;
    failing.plan = ENOMEM;
    assert_int_equal(ask_path("/bin/true"), -ENOMEM);
    failing.plan = 0;
    failing.spawn = EAGAIN;
    assert_int_equal(ask_path("/bin/true"), -EAGAIN);
    failing.spawn = 0;
    check_answer("/bin/true", "", 0, 0);
}

/* Each of the three allocations. */
static void test_no_memory_for_the_question(void **state)
{
    char *const argv[] = {self, NULL};
    struct program program;
    (void)state;
    assert_int_equal(program_find(&program, argv), 0);
    for (memory_passes = 0; memory_passes < 3; memory_passes++) {
        int passes = memory_passes;
        memory_fails = true;
        assert_int_equal(program_ask(&asked, &program, option, "UVECHOD_TEST", file), -ENOMEM);
        memory_fails = false;
        memory_passes = passes;
    }
    memory_passes = 0;
    program_free(&program);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], option) == 0)
        return answer(argc, argv);
    if (argc > 1 && strcmp(argv[1], nothing) == 0)
        return 0;
    assert_true(__real_readlink("/proc/self/exe", self, sizeof self - 1) > 0);
    for (int fd = 3; fd < 256; fd++)
        (void)close(fd); /* what the parent has left open would be in the child, too */
    (void)signal(SIGCHLD, SIG_DFL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_where_the_program_stands),
        cmocka_unit_test(test_a_program_that_has_been_replaced),
        cmocka_unit_test(test_nobody_tells_where),
        cmocka_unit_test(test_a_number_is_taken),
        cmocka_unit_test(test_executes),
        cmocka_unit_test(test_no_memory),
        TEST_WITH(asking, test_what_the_child_is_given),
        TEST_WITH(asking, test_asks_a_program_without_arguments),
        TEST_WITH(asking, test_answers),
        TEST_WITH(asking, test_programs_that_cannot_be_started),
        TEST_WITH(asking, test_a_program_that_hangs),
        TEST_WITH(asking, test_a_child_that_has_not_begun),
        TEST_WITH(asking, test_a_program_that_hangs_silently),
        TEST_WITH(asking, test_a_program_with_children),
        TEST_WITH(asking, test_output_without_end),
        TEST_WITH(asking, test_sigchld_is_ignored),
        TEST_WITH(asking, test_no_status),
        TEST_WITH(asking, test_waits_on_after_a_signal),
        TEST_WITH(asking, test_the_question_fails),
        TEST_WITH(asking, test_no_memory_for_the_question),
    };
    return RUN_TESTS("program", tests);
}
