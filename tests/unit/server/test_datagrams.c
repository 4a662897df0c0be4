/*
 * datagrams.c: which worker serves which socket, what all of them share, and every failure of the
 * start. The loops do not run: what tasks do is tested in test_responder.c and by the e2e tests.
 */
#include "server/datagrams.h"

#include "os/datagram.h"
#include "unit/ledgers.h"
#include "unit/server/services.h"
#include "unit/support.h"

#include <errno.h>
#include <stdlib.h>

enum { WORKERS = 2, SOCKETS_MAX = 4 };

static struct {
    struct services services;
    struct log log;
    int lines;
    struct ledger ledger;
    struct workers workers;
    struct endpoint list[SOCKETS_MAX];
    struct endpoints endpoints;
    struct datagrams_config config;
    struct datagrams datagrams;
    int calloc_at; /* the call that fails; counts down */
    bool malloc_fails;
    int set_up; /* what datagram_set_up() returns; 0: a real call */
    int rates;  /* what rates_open() returns; 0: a real call */
    int start;  /* what responder_start() returns; 0: a real call */
} fix;

void *__wrap_calloc(size_t count, size_t size);
void *__real_calloc(size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__real_malloc(size_t size);
int __wrap_datagram_set_up(int fd);
int __real_datagram_set_up(int fd);
int __wrap_rates_open(struct rates *rates, unsigned rate);
int __real_rates_open(struct rates *rates, unsigned rate);
int __wrap_responder_start(struct responder *responder, struct responders *responders, int fd,
                           bool local);
int __real_responder_start(struct responder *responder, struct responders *responders, int fd,
                           bool local);

void *__wrap_calloc(size_t count, size_t size)
{
    if (fix.calloc_at > 0 && --fix.calloc_at == 0)
        return NULL;
    return __real_calloc(count, size);
}

void *__wrap_malloc(size_t size)
{
    return fix.malloc_fails ? NULL : __real_malloc(size);
}

int __wrap_datagram_set_up(int fd)
{
    return fix.set_up < 0 ? fix.set_up : __real_datagram_set_up(fd);
}

int __wrap_rates_open(struct rates *rates, unsigned rate)
{
    return fix.rates < 0 ? fix.rates : __real_rates_open(rates, rate);
}

int __wrap_responder_start(struct responder *responder, struct responders *responders, int fd,
                           bool local)
{
    return fix.start < 0 ? fix.start : __real_responder_start(responder, responders, fd, local);
}

static int fixture_open(void **state)
{
    int fds[2];
    (void)state;
    memset(&fix, 0, sizeof fix);
    fix.services = echo_services();
    make_socketpair(fds);
    fix.lines = fds[0];
    log_init(&fix.log, fds[1], LOG_LEVEL_INFO);
    ledger_of(&fix.ledger, &fix.services);
    const struct worker_config config = {.services = fix.services,
                                         .ledger = &fix.ledger,
                                         .log = &fix.log,
                                         .fd = fix.lines,
                                         .highest_fd = 100};
    assert_int_equal(workers_open(&fix.workers, WORKERS, 10, 0, &config), 0);
    fix.endpoints = (struct endpoints){.list = fix.list};
    fix.config = (struct datagrams_config){.prefix = "GOT:", .prefix_len = 4, .rate = 10};
    return 0;
}

static int fixture_close(void **state)
{
    (void)state;
    datagrams_close(&fix.datagrams);
    workers_close(&fix.workers);
    datagrams_free(&fix.datagrams);
    for (size_t i = 0; i < fix.endpoints.count; i++) {
        if (fix.list[i].fd >= 0)
            net_close(fix.list[i].fd);
        free(fix.list[i].task);
    }
    ledger_close(&fix.ledger);
    log_close(&fix.log);
    (void)close(fix.log.fd);
    (void)close(fix.lines);
    return 0;
}

/* A socket for datagrams, at the address of the one with this number or, if that is new, its own.
 */
static void add_socket(size_t like)
{
    const size_t place = fix.endpoints.count++;
    struct endpoint *endpoint = &fix.list[place];
    union net_addr addr = net_any(AF_INET);
    bool beside = like < place;
    *endpoint = (struct endpoint){.kind = &endpoint_datagram};
    endpoint->fd =
        datagram_open(beside ? &fix.list[like].bound : &addr, beside ? fix.list[like].fd : -1);
    assert_true(endpoint->fd >= 0);
    assert_int_equal(net_local(endpoint->fd, &endpoint->bound), 0);
}

static int start(void)
{
    return datagrams_start(&fix.datagrams, &fix.config, &fix.endpoints, &fix.workers, &fix.ledger,
                           &fix.log);
}

static const struct responders *server_of(size_t place)
{
    assert_int_equal(fix.list[place].fd, -1);
    return ((const struct responder *)fix.list[place].task)->responders;
}

static void test_none(void **state)
{
    (void)state;
    fix.list[0] = (struct endpoint){.fd = -1, .kind = &endpoint_listening};
    fix.endpoints.count = 1;
    assert_int_equal(start(), 0);
    assert_null(fix.datagrams.list);
    assert_null(fix.workers.list[0].responders);
}

/* Each worker one of those that share an address, and the first worker one that stands alone. */
static void test_shares(void **state)
{
    (void)state;
    add_socket(0);
    add_socket(0);
    add_socket(2);
    assert_int_equal(start(), 0);
    for (unsigned i = 0; i < WORKERS; i++)
        assert_ptr_equal(server_of(i), fix.workers.list[i].responders);
    assert_ptr_equal(server_of(2), fix.workers.list[0].responders);
    const struct origins *origins = &fix.datagrams.config.origins;
    assert_int_equal(origins->count, 2);
    assert_int_equal(origins->ports[0], net_port(&fix.list[0].bound));
    assert_int_equal(origins->ports[1], net_port(&fix.list[2].bound));
}

static void test_statistics(void **state)
{
    struct stats stats;
    (void)state;
    add_socket(0);
    assert_int_equal(start(), 0);
    for (int i = 0; i < DATAGRAM_RESULTS; i++)
        atomic_store(&fix.ledger.header->datagrams.count[i], (uint64_t)(10 + i));
    datagrams_stats(&fix.ledger, &stats);
    for (int i = 0; i < DATAGRAM_RESULTS; i++)
        assert_int_equal(stats.datagrams[i], 10 + i);
}

static void test_failures(void **state)
{
    add_socket(0);
    fix.rates = -ENOSYS;
    assert_int_equal(start(), -ENOSYS);
    fix.rates = 0;
    for (int i = 2; i <= 4; i++) { /* the first is of the table of rates */
        fixture_close(state);
        assert_int_equal(fixture_open(state), 0);
        add_socket(0);
        fix.calloc_at = i;
        assert_int_equal(start(), -ENOMEM);
        fix.calloc_at = 0;
    }
}

static void test_a_socket_that_cannot_be_served(void **state)
{
    (void)state;
    add_socket(0);
    fix.malloc_fails = true;
    assert_int_equal(start(), -ENOMEM);
    fix.malloc_fails = false;
    assert_true(fix.list[0].fd >= 0);
}

static void test_a_socket_that_cannot_be_set_up(void **state)
{
    (void)state;
    add_socket(0);
    fix.set_up = -EPERM;
    assert_int_equal(start(), -EPERM);
}

static void test_a_socket_that_cannot_be_polled(void **state)
{
    (void)state;
    add_socket(0);
    add_socket(1);
    fix.start = -EEXIST;
    assert_int_equal(start(), -EEXIST);
    assert_null(fix.list[0].task);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_none),
        FIXTURE_TEST(test_shares),
        FIXTURE_TEST(test_statistics),
        FIXTURE_TEST(test_failures),
        FIXTURE_TEST(test_a_socket_that_cannot_be_served),
        FIXTURE_TEST(test_a_socket_that_cannot_be_set_up),
        FIXTURE_TEST(test_a_socket_that_cannot_be_polled),
    };
    return RUN_TESTS("datagrams", tests);
}
