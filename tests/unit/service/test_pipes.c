/*
 * test_pipes.c - the pool of pipes. The pipes are real.
 */
#include "unit/support.h"

#include "os/net.h"
#include "service/pipes.h"
#include "stream/ledger.h"

#include <errno.h>
#include <sys/resource.h>

enum { ENTRIES = 1024 };

static struct {
    struct pipes pipes;
    struct ledger ledger;
    int fds;   /* how many descriptors were open before the test */
    int keeps; /* calls of ledger_keep() that succeed before one fails; -1: all do */
    bool malloc_fails;
} fix;

int __real_ledger_keep(struct ledger *ledger, int fd, const struct ledger_state *state);
int __wrap_ledger_keep(struct ledger *ledger, int fd, const struct ledger_state *state);
void *__real_malloc(size_t bytes);
void *__wrap_malloc(size_t bytes);

int __wrap_ledger_keep(struct ledger *ledger, int fd, const struct ledger_state *state)
{
    if (fix.keeps >= 0 && fix.keeps-- == 0)
        return -ENOSPC;
    return __real_ledger_keep(ledger, fd, state);
}

void *__wrap_malloc(size_t bytes)
{
    return fix.malloc_fails ? NULL : __real_malloc(bytes);
}

static struct ledger_state entry_of(int fd)
{
    struct ledger_state state;
    assert_int_equal(ledger_read(&fix.ledger, (uint32_t)fd, &state), 0);
    assert_false(state.served);
    return state;
}

static int fixture_open(void **state)
{
    (void)state;
    const struct ledger_layout layout = {.entries = ENTRIES, .services = 1};
    fix.keeps = -1;
    assert_int_equal(ledger_open(&fix.ledger, &layout), 0);
    fix.fds = count_fds();
    pipes_init(&fix.pipes, &fix.ledger);
    return 0;
}

static int fixture_close(void **state)
{
    (void)state;
    pipes_free(&fix.pipes);
    assert_int_equal(count_fds(), fix.fds);
    for (int fd = 0; fd < ENTRIES; fd++)
        if (entry_of(fd).kind != LEDGER_NOTHING)
            assert_int_equal(entry_of(fd).end, LEDGER_LEFT);
    ledger_close(&fix.ledger);
    return 0;
}

static void test_nothing_is_made_before_it_is_needed(void **state)
{
    (void)state;
    assert_int_equal(count_fds(), fix.fds);
    assert_int_equal(fix.pipes.made, 0);
}

/* A pipe holds PIPES_BYTES. Neither end of it blocks, and both outlive the program. */
static void test_a_pipe(void **state)
{
    (void)state;
    struct pipe *pipe = pipes_get(&fix.pipes);
    assert_non_null(pipe);
    int ends[] = {pipe->in, pipe->out};
    for (int i = 0; i < 2; i++) {
        assert_true((fcntl(ends[i], F_GETFL) & O_NONBLOCK) != 0);
        assert_int_equal(fcntl(ends[i], F_GETFD), 0);
        assert_int_equal(entry_of(ends[i]).kind, LEDGER_PIPE);
        assert_int_equal(entry_of(ends[i]).number, ends[1 - i]);
    }
    assert_true(fcntl(pipe->in, F_GETPIPE_SZ) >= PIPES_BYTES);
    assert_int_equal(write(pipe->in, "x", 1), 1);
    char byte;
    assert_int_equal(read(pipe->out, &byte, 1), 1);
    pipes_put(&fix.pipes, pipe);
}

static void test_the_pipe_that_came_back_last_is_lent_next(void **state)
{
    (void)state;
    struct pipe *first = pipes_get(&fix.pipes);
    struct pipe *second = pipes_get(&fix.pipes);
    assert_ptr_not_equal(first, second);
    pipes_put(&fix.pipes, first);
    pipes_put(&fix.pipes, second);
    assert_ptr_equal(pipes_get(&fix.pipes), second);
    assert_ptr_equal(pipes_get(&fix.pipes), first);
    assert_int_equal(fix.pipes.made, 2);
    pipes_put(&fix.pipes, first);
    pipes_put(&fix.pipes, second);
}

static void test_there_are_at_most_pipes_max(void **state)
{
    struct pipe *lent[PIPES_MAX];
    (void)state;
    for (int i = 0; i < PIPES_MAX; i++)
        assert_non_null(lent[i] = pipes_get(&fix.pipes));
    assert_null(pipes_get(&fix.pipes));
    pipes_put(&fix.pipes, lent[0]);
    assert_ptr_equal(pipes_get(&fix.pipes), lent[0]);
    for (int i = 0; i < PIPES_MAX; i++)
        pipes_put(&fix.pipes, lent[i]);
}

static void test_a_dropped_pipe_is_closed(void **state)
{
    (void)state;
    struct pipe *pipe = pipes_get(&fix.pipes);
    int in = pipe->in;
    int out = pipe->out;
    pipes_drop(&fix.pipes, pipe);
    assert_false(fd_is_open(in));
    assert_false(fd_is_open(out));
    assert_int_equal(fix.pipes.made, 0);
    assert_int_equal(count_fds(), fix.fds);
}

static void test_without_descriptors(void **state)
{
    struct rlimit before;
    (void)state;
    assert_return_code(getrlimit(RLIMIT_NOFILE, &before), errno);
    struct rlimit none = {.rlim_cur = 3, .rlim_max = before.rlim_max};
    assert_return_code(setrlimit(RLIMIT_NOFILE, &none), errno);
    struct pipe *pipe = pipes_get(&fix.pipes);
    assert_return_code(setrlimit(RLIMIT_NOFILE, &before), errno);
    assert_null(pipe);
    assert_int_equal(fix.pipes.made, 0);
}

/* Whatever is lacking, nothing is left open, and the ledger knows of nothing. */
static void test_without_an_entry_or_memory(void **state)
{
    (void)state;
    for (int keeps = 0; keeps < 2; keeps++) {
        fix.keeps = keeps;
        assert_null(pipes_get(&fix.pipes));
        assert_int_equal(count_fds(), fix.fds);
    }
    fix.keeps = -1;
    fix.malloc_fails = true;
    struct pipe *pipe = pipes_get(&fix.pipes);
    fix.malloc_fails = false;
    assert_null(pipe);
    assert_int_equal(fix.pipes.made, 0);
}

/* The pipe of a predecessor comes on top of those that the pool may make. */
static void test_an_inherited_pipe(void **state)
{
    struct pipe *lent[PIPES_MAX];
    int out;
    int in;
    (void)state;
    for (int i = 0; i < PIPES_MAX; i++)
        assert_non_null(lent[i] = pipes_get(&fix.pipes));
    assert_int_equal(net_pipe(&out, &in, PIPES_BYTES), 0);
    fix.malloc_fails = true;
    struct pipe *none = pipes_inherit(&fix.pipes, out, in);
    fix.malloc_fails = false;
    assert_null(none);
    struct pipe *pipe = pipes_inherit(&fix.pipes, out, in);
    assert_int_equal(pipe->out, out);
    assert_int_equal(pipe->in, in);
    pipes_put(&fix.pipes, pipe);
    assert_ptr_equal(pipes_get(&fix.pipes), pipe);
    assert_null(pipes_get(&fix.pipes));
    pipes_drop(&fix.pipes, pipe);
    for (int i = 0; i < PIPES_MAX; i++)
        pipes_put(&fix.pipes, lent[i]);
}

/* From a socket through a pipe to another socket; and what splice says when there is nothing. */
static void test_splicing(void **state)
{
    int from[2];
    int to[2];
    char got[8];
    (void)state;
    make_socketpair(from);
    make_socketpair(to);
    struct pipe *pipe = pipes_get(&fix.pipes);
    assert_int_equal(net_splice(from[0], pipe->in, PIPES_BYTES), -EAGAIN);
    assert_int_equal(send(from[1], "hello", 5, 0), 5);
    assert_int_equal(net_splice(from[0], pipe->in, PIPES_BYTES), 5);
    assert_int_equal(net_splice(pipe->out, to[0], 5), 5);
    assert_int_equal(recv(to[1], got, sizeof got, 0), 5);
    assert_memory_equal(got, "hello", 5);
    (void)close(from[1]);
    assert_int_equal(net_splice(from[0], pipe->in, PIPES_BYTES), 0);
    assert_int_equal(net_splice(from[0], to[0], 1), -EINVAL); /* no pipe among them */
    pipes_put(&fix.pipes, pipe);
    (void)close(from[0]);
    (void)close(to[0]);
    (void)close(to[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_nothing_is_made_before_it_is_needed),
        FIXTURE_TEST(test_a_pipe),
        FIXTURE_TEST(test_the_pipe_that_came_back_last_is_lent_next),
        FIXTURE_TEST(test_there_are_at_most_pipes_max),
        FIXTURE_TEST(test_a_dropped_pipe_is_closed),
        FIXTURE_TEST(test_without_descriptors),
        FIXTURE_TEST(test_without_an_entry_or_memory),
        FIXTURE_TEST(test_an_inherited_pipe),
        FIXTURE_TEST(test_splicing),
    };
    return RUN_TESTS("pipes", tests);
}
