/*
 * metrics.c: what is answered to which path, and what the task waits for. The library is replaced:
 * http_open() gives a pipe, and http_run() says what the test wants it to say.
 */
#include "server/metrics.h"

#include "unit/support.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static struct {
    uv_loop_t loop;
    struct sched sched;
    struct metered metered;
    struct metrics metrics;
    bool alive;
    const char *busy;
    int pipe[2];
    int open_error;
    int init_error;
    bool no_stream, no_text, no_end;
    int64_t wait_ms;
    unsigned runs, closes;
} fix;

int __wrap_http_open(struct http *http, int listening, struct http_handler *handler);
int64_t __wrap_http_run(struct http *http);
void __wrap_http_close(struct http *http);
int __real_sock_init(struct sock *sock, uv_loop_t *loop, struct waker *waker, int fd);
int __wrap_sock_init(struct sock *sock, uv_loop_t *loop, struct waker *waker, int fd);
FILE *__real_open_memstream(char **text, size_t *len);
FILE *__wrap_open_memstream(char **text, size_t *len);
int __real_fclose(FILE *file);
int __wrap_fclose(FILE *file);
void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);

int __wrap_http_open(struct http *http, int listening, struct http_handler *handler)
{
    assert_int_equal(listening, 4711);
    http->handler = handler;
    return fix.open_error < 0 ? fix.open_error : dup(fix.pipe[0]);
}

int64_t __wrap_http_run(struct http *http)
{
    int64_t wait_ms = fix.wait_ms;
    (void)http;
    fix.runs++;
    fix.wait_ms = -1;
    return wait_ms;
}

void __wrap_http_close(struct http *http)
{
    (void)http;
    fix.closes++;
}

int __wrap_sock_init(struct sock *sock, uv_loop_t *loop, struct waker *waker, int fd)
{
    return fix.init_error < 0 ? fix.init_error : __real_sock_init(sock, loop, waker, fd);
}

FILE *__wrap_open_memstream(char **text, size_t *len)
{
    return fix.no_stream ? NULL : __real_open_memstream(text, len);
}

int __wrap_fclose(FILE *file)
{
    int rc = __real_fclose(file);
    return fix.no_end ? EOF : rc;
}

void *__wrap_malloc(size_t size)
{
    return fix.no_text ? NULL : __real_malloc(size);
}

static void on_stats(struct metered *metered, struct stats *stats)
{
    assert_ptr_equal(metered, &fix.metered);
    stats->open = 7;
    stats->version = "1.2.3";
}

static bool on_alive(struct metered *metered)
{
    assert_ptr_equal(metered, &fix.metered);
    return fix.alive;
}

static const char *on_busy(struct metered *metered)
{
    assert_ptr_equal(metered, &fix.metered);
    return fix.busy;
}

static int fixture_open(void **state)
{
    (void)state;
    memset(&fix, 0, sizeof fix);
    assert_int_equal(pipe2(fix.pipe, O_CLOEXEC | O_NONBLOCK), 0);
    assert_int_equal(uv_loop_init(&fix.loop), 0);
    sched_init(&fix.sched, &fix.loop);
    fix.metered = (struct metered){.stats = on_stats, .alive = on_alive, .busy = on_busy};
    fix.alive = true;
    fix.wait_ms = -1;
    return 0;
}

static int fixture_close(void **state)
{
    (void)state;
    metrics_close(&fix.metrics);
    metrics_close(&fix.metrics); /* does nothing */
    sched_close(&fix.sched);
    loop_close(&fix.loop);
    (void)close(fix.pipe[0]);
    (void)close(fix.pipe[1]);
    return 0;
}

static int start(void)
{
    return metrics_start(&fix.metrics, &fix.sched, 4711, &fix.metered);
}

/* ---- answers ---- */

static struct http_reply reply_to(const char *path, const char *accept)
{
    struct http_reply reply = {.status = 0};
    const struct http_request request = {.path = path, .accept = accept};
    fix.metrics.http.handler->answer(fix.metrics.http.handler, &request, &reply);
    return reply;
}

static void expect_reply(const char *path, const char *accept, unsigned status, const char *type,
                         const char *begin)
{
    struct http_reply reply = reply_to(path, accept);
    assert_int_equal(reply.status, status);
    assert_int_equal(strncmp(reply.type, type, strlen(type)), 0);
    assert_true(reply.len >= strlen(begin));
    assert_memory_equal(reply.body, begin, strlen(begin));
    free(reply.body);
}

static void test_paths(void **state)
{
    (void)state;
    assert_int_equal(start(), 0);
    expect_reply("/metrics", NULL, 200, "text/plain; version=0.0.4",
                 "# HELP uvechod_connections Connections that are open now.\n"
                 "# TYPE uvechod_connections gauge\nuvechod_connections 7\n");
    expect_reply("/metrics", "application/openmetrics-text", 200, "application/openmetrics-text",
                 "# HELP ");
    expect_reply("/stats", NULL, 200, "application/json", "{\"uvechod_connections\":7,");
    expect_reply("/livez", NULL, 200, "text/plain", "ok\n");
    expect_reply("/readyz", NULL, 200, "text/plain", "ok\n");
    expect_reply("/", NULL, 404, "text/plain", "/metrics ");
    fix.alive = false;
    fix.busy = "full";
    expect_reply("/livez", NULL, 503, "text/plain", "stuck\n");
    expect_reply("/readyz", NULL, 503, "text/plain", "full\n");
}

static void expect_failed(void)
{
    struct http_reply reply = reply_to("/metrics", NULL);
    assert_int_equal(reply.status, 500);
    assert_null(reply.body);
    assert_int_equal(reply.len, 0);
}

static void test_without_memory(void **state)
{
    (void)state;
    assert_int_equal(start(), 0);
    fix.no_stream = true;
    expect_failed();
    fix.no_stream = false;
    fix.no_end = true;
    expect_failed();
    fix.no_text = true;
    struct http_reply reply = reply_to("/livez", NULL);
    assert_int_equal(reply.status, 200);
    assert_int_equal(reply.len, 0);
}

/* ---- the task ---- */

static void test_start_fails(void **state)
{
    (void)state;
    fix.open_error = -ENOPKG;
    assert_int_equal(start(), -ENOPKG);
    assert_int_equal(fix.closes, 0);
    fix.open_error = 0;
    fix.init_error = -ENOMEM;
    assert_int_equal(start(), -ENOMEM);
    assert_int_equal(fix.closes, 1);
}

/* The loop has nothing else, and does not wait for the endpoint. */
static void test_keeps_no_loop_running(void **state)
{
    (void)state;
    assert_int_equal(start(), 0);
    fix.wait_ms = 1000000;
    assert_int_equal(sched_run(&fix.sched), 0);
    assert_int_equal(fix.runs, 1);
}

/* A wait of 0 ms is a turn; what can be read wakes the task, and so does the time. */
static void test_waits(void **state)
{
    (void)state;
    assert_int_equal(start(), 0);
    fix.wait_ms = 0;
    assert_int_equal(sched_run(&fix.sched), 0);
    assert_int_equal(fix.runs, 2);
    uv_ref((uv_handle_t *)&fix.metrics.sock.poll); /* a loop without references never polls */
    fix.wait_ms = 1;
    assert_int_equal(write(fix.pipe[1], "x", 1), 1);
    while (fix.runs == 2)
        (void)uv_run(&fix.loop, UV_RUN_ONCE);
    assert_int_equal(read(fix.pipe[0], &(char){'y'}, 1), 1);
    while (fix.runs == 3) /* the time has come */
        (void)uv_run(&fix.loop, UV_RUN_ONCE);
}

#define metrics_test(name) cmocka_unit_test_setup_teardown(name, fixture_open, fixture_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        metrics_test(test_paths),       metrics_test(test_without_memory),
        metrics_test(test_start_fails), metrics_test(test_keeps_no_loop_running),
        metrics_test(test_waits),
    };
    loop_warm_up();
    return RUN_TESTS("metrics", tests);
}
