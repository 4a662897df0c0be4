/*
 * succession.c: what the start of a successor makes of what was found. takeover_find(),
 * takeover_next() and the functions of the workers are wrapped: the test says what is found, and
 * who gets it.
 */
#include "server/succession.h"

#include "unit/ledgers.h"
#include "unit/support.h"

#include <errno.h>
#include <string.h>

enum { CONNS = 3, CROWD = 2000, SECOND_MS = 1000 };

static struct {
    struct ledger ledger; /* the predecessor's */
    struct succession succession;
    struct workers workers;
    struct log log;
    int lines; /* the end of the log that the test reads */
    int fds[CONNS];
    int peers[CONNS];
    size_t count;   /* of connections that are found */
    int cut;        /* why one more is cut, or 0 */
    int find_error; /* of takeover_find(), or 0 */
    bool blames;    /* what takeover_find() must be told */
    const struct kept *kept;
    size_t adopted;
    size_t refused; /* so many of them are not adopted, */
    int refusal;    /* for this reason */
    unsigned wakes; /* calls of refusals_wake() */
    struct refusals refusals;
    size_t expected; /* as workers_expect() says */
    size_t slice;    /* the most that were adopted in one turn */
    unsigned dates;  /* calls of takeover_next() that ask for dates */
    bool behind;     /* the workers are */
    unsigned asked;  /* whether they are */
    bool crowd;      /* there are CROWD connections, of which none is a descriptor */
    int open;        /* descriptors before the succession */
    uv_loop_t loop;
    struct worker worker; /* the only one, whose scheduler runs the task */
} fix;

static const struct services services = {.count = 0};

int __wrap_takeover_find(struct takeover *takeover, struct ledger *ledger,
                         const struct services *all, bool dates);
bool __wrap_takeover_next(struct takeover *takeover, struct accepted *accepted);
int __wrap_workers_adopt(struct workers *workers, const struct accepted *accepted);
void __wrap_refusals_wake(struct refusals *refusals);
void __wrap_workers_expect(struct workers *workers, size_t coming);
bool __wrap_workers_are_behind(const struct workers *workers);

int __wrap_takeover_find(struct takeover *takeover, struct ledger *ledger,
                         const struct services *all, bool dates)
{
    union net_peer peer = {.in = {.sin_family = AF_INET, .sin_port = htons(7)}};
    assert_ptr_equal(ledger, &fix.succession.ledger);
    assert_ptr_equal(all, &services);
    assert_true(dates);
    assert_int_equal(takeover->blames, fix.blames);
    peer.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    takeover->list = calloc(CROWD, sizeof *takeover->list);
    assert_non_null(takeover->list);
    takeover->count = fix.crowd ? CROWD : 0;
    if (fix.find_error < 0)
        return fix.find_error;
    for (size_t i = 0; i < fix.count; i++)
        takeover->list[takeover->count++] = (struct accepted){.fd = fix.fds[i], .adopted = i > 0};
    if (fix.cut < 0)
        takeover->on_cut(takeover, &peer, fix.cut);
    return 0;
}

bool __wrap_takeover_next(struct takeover *takeover, struct accepted *accepted)
{
    if (takeover->count == 0 || (fix.dates > 0 && fix.dates-- > 0))
        return false;
    *accepted = takeover->list[--takeover->count];
    return true;
}

int __wrap_workers_adopt(struct workers *workers, const struct accepted *accepted)
{
    assert_ptr_equal(workers, &fix.workers);
    if (!fix.crowd)
        assert_int_equal(accepted->fd, fix.fds[fix.count - 1 - fix.adopted]);
    fix.adopted++;
    return fix.adopted <= fix.refused ? fix.refusal : 0;
}

void __wrap_refusals_wake(struct refusals *refusals)
{
    assert_ptr_equal(refusals, &fix.refusals);
    fix.wakes++;
}

/* Comes at the end of each slice. */
void __wrap_workers_expect(struct workers *workers, size_t coming)
{
    assert_ptr_equal(workers, &fix.workers);
    assert_false(fix.behind);
    if (fix.expected > 0 && fix.expected - coming > fix.slice)
        fix.slice = fix.expected - coming;
    fix.expected = coming;
}

/* After three questions they are not behind any more. */
bool __wrap_workers_are_behind(const struct workers *workers)
{
    assert_ptr_equal(workers, &fix.workers);
    if (++fix.asked > 3)
        fix.behind = false;
    return fix.behind;
}

static int fixture_open(void **state)
{
    (void)state;
    memset(&fix, 0, sizeof fix);
    ledger_of(&fix.ledger, &services);
    for (int i = 0; i < CONNS; i++) {
        int fds[2];
        make_socketpair(fds);
        fix.fds[i] = fds[0];
        fix.peers[i] = fds[1];
    }
    int fds[2];
    make_socketpair(fds);
    fix.lines = fds[0];
    log_init(&fix.log, fds[1], LOG_LEVEL_INFO);
    fix.ledger.header->past =
        (struct ledger_past){.generations = 3,
                             .accepted = 10,
                             .bytes_in = 70,
                             .left_ns = uv_hrtime() - UINT64_C(5000) * 1000000};
    assert_int_equal(uv_loop_init(&fix.loop), 0);
    fix.workers.list = &fix.worker;
    sched_init(&fix.worker.sched, &fix.loop);
    fix.open = count_fds();
    return 0;
}

static int fixture_close(void **state)
{
    (void)state;
    for (int i = 0; i < CONNS; i++) {
        (void)close(fix.fds[i]);
        (void)close(fix.peers[i]);
    }
    sched_close(&fix.worker.sched);
    assert_int_equal(uv_run(&fix.loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&fix.loop), 0);
    ledger_close(&fix.ledger);
    log_close(&fix.log);
    (void)close(fix.log.fd);
    (void)close(fix.lines);
    return 0;
}

static int try_open(int file)
{
    return succession_open(&fix.succession, file, &services, true, fix.kept, &fix.log);
}

/* Opens the predecessor's ledger. */
static void succeed(size_t count)
{
    fix.count = count;
    assert_int_equal(try_open(net_dup_above(fix.ledger.file, 0)), 0);
}

static const char *read_lines(char text[static 512])
{
    ssize_t n = recv(fix.lines, text, 511, MSG_DONTWAIT);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void begin(size_t count)
{
    succeed(count);
    succession_adopt(&fix.succession, &fix.workers, &fix.refusals);
    assert_int_equal(fix.adopted, 0); /* before the loop runs */
    assert_int_equal(fix.expected, fix.succession.takeover.count);
}

/* The line says how many there are, and for how long not all of them were served. */
static void expect_end(size_t count, const char *line)
{
    char text[512];
    assert_int_equal(fix.adopted, count);
    assert_int_equal(fix.expected, 0);
    assert_int_equal(strncmp(read_lines(text), line, strlen(line)), 0);
    assert_between(strtol(text + strlen(line), NULL, 10), 5 * SECOND_MS, 60 * SECOND_MS);
    assert_ptr_equal(strchr(text, '\n'), text + strlen(text) - 1); /* and is the only one */
    assert_null(fix.succession.takeover.list);
    ledger_close(&fix.succession.ledger);
    assert_int_equal(count_fds(), fix.open);
}

static void run(void)
{
    (void)uv_run(&fix.loop, UV_RUN_DEFAULT);
    assert_int_equal(fix.worker.sched.tasks, 0);
}

static void check_adopted(size_t count, const char *line)
{
    begin(count);
    run();
    expect_end(count, line);
}

static void test_none_is_there(void **state)
{
    (void)state;
    check_adopted(0, "Took over 0 connections in ");
}

static void test_one(void **state)
{
    (void)state;
    check_adopted(1, "Took over 1 connection in ");
}

static void test_several(void **state)
{
    (void)state;
    check_adopted(CONNS, "Took over 3 connections in ");
}

/* Only those that go on are counted, and a line says later what their source has to do with it. */
static void test_too_many_of_a_source(void **state)
{
    (void)state;
    fix.refused = 2;
    fix.refusal = SOURCES_REFUSED;
    begin(CONNS);
    run();
    assert_int_equal(fix.wakes, 2);
    expect_end(CONNS, "Took over 1 connection in ");
}

static void test_no_memory_for_some(void **state)
{
    (void)state;
    fix.refused = 1;
    fix.refusal = -ENOMEM;
    begin(CONNS);
    run();
    assert_int_equal(fix.wakes, 0);
    expect_end(CONNS, "Took over 2 connections in ");
}

/* The workers say which connections the predecessor has counted. */
static void test_counts_go_on(void **state)
{
    (void)state;
    begin(CONNS);
    assert_int_equal(fix.succession.past.generations, 4);
    assert_int_equal(fix.succession.past.accepted, 10);
    assert_int_equal(fix.succession.past.bytes_in, 70);
    run();
    assert_int_equal(fix.succession.past.accepted, 10);
    ledger_close(&fix.succession.ledger);
}

/* The loop turns between the slices, and none of them holds it up for long. */
static void test_a_crowd(void **state)
{
    (void)state;
    fix.crowd = true;
    begin(0);
    (void)uv_run(&fix.loop, UV_RUN_NOWAIT);
    assert_between(fix.adopted, 1, 64);
    assert_int_equal(fix.expected, CROWD - fix.adopted);
    run();
    assert_between(fix.slice, 1, 64);
    expect_end(CROWD, "Took over 2000 connections in ");
}

/* Nothing is handed over while mailboxes are full. */
static void test_workers_that_are_behind(void **state)
{
    (void)state;
    begin(CONNS);
    fix.behind = true;
    run();
    assert_true(fix.asked > 3);
    expect_end(CONNS, "Took over 3 connections in ");
}

/* To ask for dates takes a few turns. */
static void test_dates_are_asked_for(void **state)
{
    (void)state;
    begin(CONNS);
    fix.dates = 5;
    run();
    assert_int_equal(fix.dates, 0);
    expect_end(CONNS, "Took over 3 connections in ");
}

/* The daemon stops meanwhile. The task may be in the queue, or sleep, or have ended. */
static void check_finished(bool behind)
{
    begin(CONNS);
    fix.behind = behind;
    (void)uv_run(&fix.loop, UV_RUN_NOWAIT);
    assert_int_equal(fix.adopted, behind ? 0 : 1);
    fix.behind = false;
    fix.dates = 2;
    succession_finish(&fix.succession);
    assert_int_equal(fix.adopted, CONNS);
    succession_finish(&fix.succession);
    (void)uv_run(&fix.loop, UV_RUN_DEFAULT);
    succession_finish(&fix.succession);
    expect_end(CONNS, "Took over 3 connections in ");
}

static void test_finished_at_once(void **state)
{
    (void)state;
    check_finished(false);
}

static void test_finished_at_once_in_a_pause(void **state)
{
    (void)state;
    check_finished(true);
}

/* There is no predecessor, or the start has failed. */
static void test_nothing_to_finish(void **state)
{
    struct succession none = {.log = &fix.log};
    (void)state;
    succession_finish(&none);
    succeed(CONNS);
    succession_give_up(&fix.succession);
    succession_finish(&fix.succession);
    assert_int_equal(fix.adopted, 0);
}

/* The keeper knows when it ended. What it had noted by then may be fewer than are open. */
static void test_a_crash(void **state)
{
    const struct kept kept = {.crashed_ns = uv_hrtime() - 1, .blames = true};
    (void)state;
    fix.kept = &kept;
    fix.blames = true;
    fix.ledger.header->past.accepted = 1;
    begin(CONNS);
    assert_int_equal(fix.succession.past.generations, 4);
    assert_int_equal(fix.succession.past.bytes_in, 70);
    assert_int_equal(fix.succession.past.left_ns, kept.crashed_ns);
    run();
    assert_int_equal(fix.succession.past.accepted, 2);
    ledger_close(&fix.succession.ledger);
}

/* A keeper that has only executed the program. */
static void test_a_keeper_without_a_crash(void **state)
{
    const struct kept kept = {.ledger = 7};
    (void)state;
    fix.kept = &kept;
    uint64_t left_ns = fix.ledger.header->past.left_ns;
    begin(CONNS);
    assert_int_equal(fix.succession.past.left_ns, left_ns);
    run();
    assert_int_equal(fix.succession.past.accepted, 10);
    ledger_close(&fix.succession.ledger);
}

static void check_line(int error, const char *line)
{
    char text[512];
    fix.cut = error;
    succeed(1);
    assert_string_equal(read_lines(text), line);
    takeover_free(&fix.succession.takeover);
    ledger_close(&fix.succession.ledger);
}

/* The log has a line, or none. */
static void check_cut(int error, bool logged)
{
    char line[256] = "";
    if (logged)
        (void)snprintf(line, sizeof line, "Cannot take over the connection from 127.0.0.1:7: %s\n",
                       strerror(-error));
    check_line(error, line);
}

/* A peer that has gone meanwhile is worth a line only for whoever debugs. */
static void test_a_connection_that_has_to_end(void **state)
{
    (void)state;
    check_cut(-EPROTO, true);
    check_cut(-ENOTCONN, false);
    check_line(TAKEOVER_BLAMED,
               "Ending the connection from 127.0.0.1:7, which was being served at two crashes\n");
    fix.log.level = LOG_LEVEL_DEBUG;
    check_cut(-ENOTCONN, true);
}

static void test_a_file_that_is_no_ledger(void **state)
{
    (void)state;
    int file = open("/dev/null", O_RDWR | O_CLOEXEC);
    assert_int_equal(try_open(file), -EPROTO);
    assert_true(fd_is_open(file));
    (void)close(file);
    assert_int_equal(count_fds(), fix.open);
}

static void test_nothing_can_be_found(void **state)
{
    (void)state;
    fix.find_error = -ENOMEM;
    assert_int_equal(try_open(net_dup_above(fix.ledger.file, 0)), -ENOMEM);
    assert_null(fix.succession.takeover.list);
    assert_int_equal(count_fds(), fix.open);
}

/* The start has failed, so that everything is closed. */
static void test_given_up(void **state)
{
    (void)state;
    succeed(CONNS);
    succession_give_up(&fix.succession);
    succession_give_up(&fix.succession); /* a second time is harmless */
    for (int i = 0; i < CONNS; i++)
        assert_false(fd_is_open(fix.fds[i]));
    assert_int_equal(fix.succession.takeover.count, 0);
    assert_int_equal(count_fds(), fix.open - CONNS);
}

/* Whoever has taken the ledger closes it. */
static void test_given_up_without_the_ledger(void **state)
{
    (void)state;
    succeed(CONNS);
    struct ledger *ledger = succession_take_ledger(&fix.succession);
    assert_ptr_equal(ledger, &fix.succession.ledger);
    assert_null(succession_take_ledger(&fix.succession));
    succession_give_up(&fix.succession);
    assert_true(fd_is_open(ledger->file));
    ledger_close(ledger);
    assert_int_equal(count_fds(), fix.open - CONNS);
}

/* ---- the question whether a daemon could go on ---- */

static void describe(const void *config, struct ledger_service *service)
{
    (void)config;
    service->record_bytes = 1;
    service->record[0] = 'r';
}

/* Knows its own record only. */
static int64_t answer_size(const struct ledger_service *predecessor, uint32_t received)
{
    bool known = predecessor->record_bytes == 1 && predecessor->record[0] == 'r';
    return known ? (int64_t)received : -EPROTO;
}

static const struct handler recorded = {.describe = describe, .answer = answer_size};
static const struct handler other = {.describe = describe};

/* What a daemon with so many of these services says to the ledger, which it can only read. */
static int check_with(const struct ledger *ledger, const struct service *list, unsigned count)
{
    char path[32];
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", ledger->file);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    int fds = count_fds();
    int rc = succession_check(file, &(struct services){list, count});
    assert_int_equal(count_fds(), fds);
    (void)close(file);
    return rc;
}

static void test_a_daemon_could_go_on(void **state)
{
    static const struct service list[] = {{.handler = &recorded}, {.handler = &other}};
    static const struct service swapped[] = {{.handler = &other}, {.handler = &recorded}};
    struct ledger ledger;
    (void)state;
    ledger_of(&ledger, &(struct services){list, 2});
    struct ledger_service *service = ledger.header->layout.service;
    assert_int_equal(check_with(&ledger, list, 2), 0);
    assert_int_equal(check_with(&ledger, list, 1), -EOPNOTSUPP);
    service[0].record[0] = 'x';
    assert_int_equal(check_with(&ledger, list, 2), -EPROTO);
    assert_int_equal(check_with(&ledger, swapped, 2), 0); /* for whom this record is no record */
    service[0].record[0] = 'r';
    ledger.header->version++;
    assert_int_equal(check_with(&ledger, list, 2), -EPROTO);
    assert_int_equal(succession_check(-1, &(struct services){list, 2}), -EBADF);
    ledger_close(&ledger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_none_is_there),
        FIXTURE_TEST(test_one),
        FIXTURE_TEST(test_several),
        FIXTURE_TEST(test_too_many_of_a_source),
        FIXTURE_TEST(test_no_memory_for_some),
        FIXTURE_TEST(test_counts_go_on),
        FIXTURE_TEST(test_a_crowd),
        FIXTURE_TEST(test_workers_that_are_behind),
        FIXTURE_TEST(test_dates_are_asked_for),
        FIXTURE_TEST(test_finished_at_once),
        FIXTURE_TEST(test_finished_at_once_in_a_pause),
        FIXTURE_TEST(test_nothing_to_finish),
        FIXTURE_TEST(test_a_crash),
        FIXTURE_TEST(test_a_keeper_without_a_crash),
        FIXTURE_TEST(test_a_connection_that_has_to_end),
        FIXTURE_TEST(test_a_file_that_is_no_ledger),
        FIXTURE_TEST(test_nothing_can_be_found),
        FIXTURE_TEST(test_given_up),
        FIXTURE_TEST(test_given_up_without_the_ledger),
        FIXTURE_TEST(test_a_daemon_could_go_on),
    };
    return RUN_TESTS("succession", tests);
}
