/*
 * mailbox.c: everything that is put in comes out once and in order, with one thread and with two.
 * realloc() is wrapped: it can fail, and its calls are counted.
 */
#include "server/mailbox.h"

#include "unit/support.h"

#include <errno.h>

enum { MANY = 20000 };

static struct {
    struct mailbox mailbox;
    struct mail mail;
    bool realloc_fails;
    int reallocs;
} fix;

void *__real_realloc(void *memory, size_t size);
void *__wrap_realloc(void *memory, size_t size);

void *__wrap_realloc(void *memory, size_t size)
{
    fix.reallocs++;
    return fix.realloc_fails ? NULL : __real_realloc(memory, size);
}

static int fixture_open(void **state)
{
    (void)state;
    memset(&fix, 0, sizeof fix);
    return mailbox_init(&fix.mailbox);
}

static int fixture_close(void **state)
{
    (void)state;
    mailbox_free(&fix.mailbox);
    free(fix.mail.accepted);
    return 0;
}

static int put(int fd)
{
    const struct accepted accepted = {
        .fd = fd, .peer.in = {.sin_family = AF_INET, .sin_port = (in_port_t)(fd % 60000)}};
    return mailbox_put(&fix.mailbox, &accepted);
}

/* Takes all connections: there must be count of them, with descriptors in sequence from first. */
static void expect_taken(int first, size_t count)
{
    mailbox_take(&fix.mailbox, &fix.mail);
    assert_int_equal(fix.mail.count, count);
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(fix.mail.accepted[i].fd, first + (int)i);
        assert_int_equal(fix.mail.accepted[i].peer.in.sin_port, (first + (int)i) % 60000);
    }
}

static void test_empty(void **state)
{
    (void)state;
    expect_taken(0, 0);
    assert_int_equal(fix.mail.orders, 0);
    assert_int_equal(fix.mail.error, 0);
    expect_taken(0, 0);
}

static void test_in_order_and_once(void **state)
{
    (void)state;
    for (int fd = 0; fd < 1000; fd++)
        assert_int_equal(put(fd), 0);
    expect_taken(0, 1000);
    expect_taken(0, 0);
    assert_int_equal(put(7), 0);
    expect_taken(7, 1);
}

/* When both lists have grown, no more memory is allocated. */
static void test_memory_is_kept(void **state)
{
    (void)state;
    for (int round = 0; round < 10; round++) {
        for (int fd = 0; fd < 100; fd++)
            assert_int_equal(put(fd), 0);
        expect_taken(0, 100);
        if (round == 1)
            fix.reallocs = 0;
    }
    assert_int_equal(fix.reallocs, 0);
}

/* Connections that are in the mailbox stay. A connection that does not fit is refused. */
static void test_without_memory(void **state)
{
    (void)state;
    int count = 0;
    assert_int_equal(put(count++), 0);
    fix.realloc_fails = true;
    int rc;
    while ((rc = put(count)) == 0)
        count++;
    assert_int_equal(rc, -ENOMEM);
    assert_int_equal(put(count), -ENOMEM);
    expect_taken(0, (size_t)count);
    fix.realloc_fails = false;
    assert_int_equal(put(1), 0);
    expect_taken(1, 1);
}

static void test_orders(void **state)
{
    (void)state;
    mailbox_order(&fix.mailbox, 1, -5);
    mailbox_order(&fix.mailbox, 4, -7);
    mailbox_order(&fix.mailbox, 8, 0);
    expect_taken(0, 0);
    assert_int_equal(fix.mail.orders, 13);
    assert_int_equal(fix.mail.error, -7);
    expect_taken(0, 0);
    assert_int_equal(fix.mail.orders, 0);
}

static void on_thread(void *arg)
{
    (void)arg;
    for (int fd = 0; fd < MANY; fd++)
        if (put(fd) < 0)
            abort();
}

static void test_two_threads(void **state)
{
    uv_thread_t thread;
    int next = 0;
    (void)state;
    assert_int_equal(uv_thread_create(&thread, on_thread, NULL), 0);
    while (next < MANY) {
        mailbox_take(&fix.mailbox, &fix.mail);
        for (size_t i = 0; i < fix.mail.count; i++)
            assert_int_equal(fix.mail.accepted[i].fd, next++);
    }
    assert_int_equal(uv_thread_join(&thread), 0);
    expect_taken(0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_empty),          FIXTURE_TEST(test_in_order_and_once),
        FIXTURE_TEST(test_memory_is_kept), FIXTURE_TEST(test_without_memory),
        FIXTURE_TEST(test_orders),         FIXTURE_TEST(test_two_threads),
    };
    return RUN_TESTS("mailbox", tests);
}
