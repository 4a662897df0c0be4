/*
 * restart.c: what is packed, what the process has done before it ends, and what if it cannot end.
 * The service manager and the workers' threads are wrapped, and so is exit(), which returns to the
 * test.
 */
#include "server/restart.h"

#include "os/net.h"
#include "os/pouch.h"
#include "os/signals.h"
#include "unit/ledgers.h"
#include "unit/support.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>

enum { PACKED_MAX = 16 };

static struct {
    struct ledger ledger;
    struct workers workers;
    struct systemd systemd;
    struct log log;
    int lines; /* the end of the log that the test reads */
    struct upgraded upgraded;
    struct restart restart;
    jmp_buf after_exit;
    int packed[PACKED_MAX]; /* what pouch_pack() was given */
    size_t packed_count;
    int pack_error;  /* what it returns, unless 0 */
    int store_error; /* what systemd_store() returns */
    bool keeps;      /* the manager does */
    int kept[POUCH_SOCKETS_MAX];
    size_t kept_count;
    int unstored;
    int rests; /* how often the workers have rested, less how often they have gone on */
    int fds;   /* open before the test */
} fix;

int __real_pouch_pack(struct pouch *pouch, const int *fds, size_t count, int key);
int __wrap_pouch_pack(struct pouch *pouch, const int *fds, size_t count, int key);
int __wrap_systemd_store(const char *name, const int *fds, size_t count);
void __wrap_systemd_unstore(const char *name);
void __wrap_workers_rest(struct workers *workers);
void __wrap_workers_resume(struct workers *workers);
size_t __wrap_workers_load(const struct workers *workers);
_Noreturn void __wrap_exit(int status);

static bool is_blocked(int signum)
{
    sigset_t blocked;
    assert_int_equal(sigprocmask(SIG_BLOCK, NULL, &blocked), 0);
    return sigismember(&blocked, signum) == 1;
}

int __wrap_pouch_pack(struct pouch *pouch, const int *fds, size_t count, int key)
{
    assert_int_equal(key, fix.ledger.file);
    assert_int_equal(fix.rests, 1);
    assert_true(count <= PACKED_MAX);
    memcpy(fix.packed, fds, count * sizeof *fds);
    fix.packed_count = count;
    return fix.pack_error < 0 ? fix.pack_error : __real_pouch_pack(pouch, fds, count, key);
}

int __wrap_systemd_store(const char *name, const int *fds, size_t count)
{
    assert_string_equal(name, "uvechod-pouch");
    for (size_t i = 0; i < count && fix.keeps; i++)
        fix.kept[fix.kept_count++] = net_dup_above(fds[i], 0);
    return fix.store_error;
}

void __wrap_systemd_unstore(const char *name)
{
    assert_string_equal(name, "uvechod-pouch");
    fix.unstored++;
}

void __wrap_workers_rest(struct workers *workers)
{
    assert_ptr_equal(workers, &fix.workers);
    assert_true(is_blocked(SIGQUIT) && is_blocked(SIGTERM));
    fix.rests++;
}

void __wrap_workers_resume(struct workers *workers)
{
    assert_ptr_equal(workers, &fix.workers);
    fix.rests--;
}

size_t __wrap_workers_load(const struct workers *workers)
{
    assert_ptr_equal(workers, &fix.workers);
    return 2;
}

void __wrap_exit(int status)
{
    assert_int_equal(status, 0);
    longjmp(fix.after_exit, 1);
}

static bool leave(struct upgraded *upgraded, struct ledger_past *past)
{
    assert_ptr_equal(upgraded, &fix.upgraded);
    assert_int_equal(fix.rests, 1); /* nobody counts any more */
    past->accepted = 17;
    return true;
}

static int fixture_open(void **state)
{
    static const struct handler handler = {.frame_size = 0};
    static const struct service list[] = {{.handler = &handler}};
    const struct services services = {.list = list, .count = 1};
    int fds[2];
    (void)state;
    memset(&fix, 0, sizeof fix);
    fix.fds = count_fds();
    ledger_of(&fix.ledger, &services);
    make_socketpair(fds);
    fix.lines = fds[0];
    log_init(&fix.log, fds[1], LOG_LEVEL_INFO);
    fix.upgraded.leave = leave;
    fix.keeps = true;
    fix.restart = (struct restart){.workers = &fix.workers,
                                   .ledger = &fix.ledger,
                                   .systemd = &fix.systemd,
                                   .log = &fix.log,
                                   .upgraded = &fix.upgraded};
    return 0;
}

static int fixture_close(void **state)
{
    (void)state;
    ledger_close(&fix.ledger);
    for (size_t i = 0; i < fix.kept_count; i++)
        (void)close(fix.kept[i]);
    (void)close(fix.log.fd);
    log_close(&fix.log);
    (void)close(fix.lines);
    assert_int_equal(count_fds(), fix.fds);
    return 0;
}

static void expect_lines(const char *expected)
{
    char text[512];
    ssize_t n = recv(fix.lines, text, sizeof text - 1, MSG_DONTWAIT);
    text[n > 0 ? n : 0] = '\0';
    assert_string_equal(text, expected);
}

/* Returns whether the process has ended. */
static bool try_restart(void)
{
    if (setjmp(fix.after_exit) != 0)
        return true;
    restart_try(&fix.restart);
    return false;
}

/* The process goes on as before. It had begun to leave, or not. */
static void check_refused(bool begun, int error)
{
    char lines[256];
    (void)snprintf(lines, sizeof lines, "%sCannot leave the connections to a successor: %s\n",
                   begun ? "Restarting: leaving 2 connections to the successor\n" : "",
                   strerror(error));
    assert_false(try_restart());
    expect_lines(lines);
    assert_int_equal(fix.rests, 0);
    assert_false(is_blocked(SIGQUIT) || is_blocked(SIGTERM));
}

/* The process ends. Only the manager has the descriptors then, and they can be taken out. */
static void test_it_ends(void **state)
{
    const struct ledger_past *past = &fix.ledger.header->past;
    struct pouch_label label;
    (void)state;
    assert_true(try_restart());
    expect_lines("Restarting: leaving 2 connections to the successor\n");
    assert_int_equal(fix.rests, 1);
    assert_true(is_blocked(SIGQUIT) && is_blocked(SIGTERM) && is_blocked(SIGUSR2));
    assert_int_equal(past->accepted, 17);
    assert_true(past->left_ns > 0 && past->left_ns <= uv_hrtime());
    assert_int_equal(fix.unstored, 0);
    assert_int_equal(fix.kept_count, 1);
    assert_int_equal(pouch_look(fix.kept[0], &label), 0);
    assert_int_equal(label.total, 1);
    assert_int_equal(label.key, fix.ledger.file);
    signals_unblock();
}

/* A socket for each entry; only some of them are needed. */
static void test_what_is_packed(void **state)
{
    int fds[10];
    (void)state;
    for (int i = 0; i < 10; i += 2)
        make_socketpair(fds + i);
    const struct ledger_state listener = {.kind = LEDGER_LISTENER};
    const struct ledger_state one = {.kind = LEDGER_PIPE, .number = (uint32_t)fds[3]};
    const struct ledger_state other = {.kind = LEDGER_PIPE, .number = (uint32_t)fds[2]};
    assert_int_equal(ledger_enter(&fix.ledger, fds[0], 0), 0);
    assert_int_equal(ledger_keep(&fix.ledger, fds[1], &listener), 0);
    assert_int_equal(ledger_keep(&fix.ledger, fds[2], &one), 0);
    assert_int_equal(ledger_keep(&fix.ledger, fds[3], &other), 0);
    assert_int_equal(ledger_enter(&fix.ledger, fds[4], 0), 0);
    ledger_leave(&fix.ledger.entries[fds[4]]); /* about to be closed */
    assert_int_equal(ledger_keep(&fix.ledger, fds[5], &listener), 0);
    ledger_forget(&fix.ledger, fds[5]);
    assert_int_equal(ledger_enter(&fix.ledger, fds[6], 0), 0);
    ledger_end(&fix.ledger.entries[fds[6]], LEDGER_IDLE); /* waits for the peer's FIN */
    const struct ledger_state closed = {.kind = LEDGER_PIPE, .number = (uint32_t)fds[9]};
    const struct ledger_state closed_other = {.kind = LEDGER_PIPE, .number = (uint32_t)fds[8]};
    assert_int_equal(ledger_keep(&fix.ledger, fds[8], &closed), 0);
    assert_int_equal(ledger_keep(&fix.ledger, fds[9], &closed_other), 0);
    ledger_forget(&fix.ledger, fds[8]);
    ledger_forget(&fix.ledger, fds[9]);
    assert_int_equal(ledger_keep(&fix.ledger, fds[7], &listener), 0);
    fix.ledger.entries[fds[7]].place = LEDGER_SERVED | LEDGER_PIPE << LEDGER_KIND_SHIFT |
                                       LEDGER_NUMBER; /* damaged: there is no such pipe */
    assert_true(try_restart());
    const int expected[] = {fix.ledger.file, fds[0], fds[1], fds[2], fds[3], fds[6]};
    assert_int_equal(fix.packed_count, 6);
    assert_memory_equal(fix.packed, expected, sizeof expected);
    for (int i = 0; i < 10; i++)
        (void)close(fds[i]);
    signals_unblock();
}

static void test_without_a_manager(void **state)
{
    (void)state;
    fix.systemd.notify_fd = -1;
    assert_false(try_restart());
    expect_lines("");
    assert_int_equal(fix.packed_count, 0);
}

/* Nobody could go on. */
static void test_a_ledger_without_a_file(void **state)
{
    const int file = fix.ledger.file;
    (void)state;
    fix.ledger.file = -1;
    fix.ledger.refused = -ENOSYS;
    check_refused(false, ENOSYS);
    fix.ledger.file = file;
    assert_int_equal(fix.packed_count, 0);
}

static void test_what_cannot_be_packed(void **state)
{
    (void)state;
    fix.pack_error = -ETOOMANYREFS;
    check_refused(false, ETOOMANYREFS);
    assert_int_equal(fix.kept_count, 0);
}

static void test_a_manager_that_does_not_answer(void **state)
{
    (void)state;
    fix.store_error = -ETIMEDOUT;
    check_refused(true, ETIMEDOUT);
    assert_int_equal(fix.unstored, 1); /* so it does not pass them to another process later */
}

/* It says nothing, but has closed what it was given. */
static void test_a_manager_that_keeps_nothing(void **state)
{
    (void)state;
    fix.keeps = false;
    check_refused(true, ENOSPC);
    assert_int_equal(fix.unstored, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_it_ends),
        FIXTURE_TEST(test_what_is_packed),
        FIXTURE_TEST(test_without_a_manager),
        FIXTURE_TEST(test_a_ledger_without_a_file),
        FIXTURE_TEST(test_what_cannot_be_packed),
        FIXTURE_TEST(test_a_manager_that_does_not_answer),
        FIXTURE_TEST(test_a_manager_that_keeps_nothing),
    };
    return RUN_TESTS("restart", tests);
}
