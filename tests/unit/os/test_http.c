/*
 * http.c: a server of libmicrohttpd with clients on the loopback interface. The test runs the
 * library when its descriptor can be read from, as the daemon's task does, and turns the clock.
 */
#include "os/http.h"

#include "os/net.h"
#include "unit/support.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#if UVECHOD_MICROHTTPD

static struct {
    struct http http;
    struct http_handler handler;
    int listening;
    int fd; /* of http_open(); -1: nothing is open */
    union net_addr addr;
    unsigned asked;
    char path[64];
    char accept[64];
    int fds; /* open before the test */
} fix;

static struct {
    bool library; /* cannot be loaded */
    const char *symbol;
    bool calloc;
    int fcntl; /* the call that fails; counts down */
    uint64_t late_ms;
    bool wants; /* the library is to be run again after wants_ms */
    unsigned long long wants_ms;
} fault;

void *__real_dlopen(const char *name, int flags);
void *__wrap_dlopen(const char *name, int flags);
void *__real_dlsym(void *handle, const char *name);
void *__wrap_dlsym(void *handle, const char *name);
void *__real_calloc(size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
int __real_fcntl(int fd, int command, ...);
int __wrap_fcntl(int fd, int command, ...);
int __real_clock_gettime(clockid_t clock, struct timespec *now);
int __wrap_clock_gettime(clockid_t clock, struct timespec *now);

void *__wrap_dlopen(const char *name, int flags)
{
    return fault.library ? NULL : __real_dlopen(name, flags);
}

static void *no_daemon(void)
{
    return NULL;
}

static int wants(void *daemon, unsigned long long *ms)
{
    (void)daemon;
    *ms = fault.wants_ms;
    return 1; /* MHD_YES */
}

/* A symbol after '!' is found, and fails when it is called. */
void *__wrap_dlsym(void *handle, const char *name)
{
    void *(*fails)(void) = no_daemon;
    void *function;
    int (*asks)(void *, unsigned long long *) = wants;
    if (fault.symbol != NULL && strcmp(fault.symbol, name) == 0)
        return NULL;
    if (fault.wants && strcmp(name, "MHD_get_timeout") == 0) {
        memcpy(&function, &asks, sizeof function);
        return function;
    }
    if (fault.symbol == NULL || fault.symbol[0] != '!' || strcmp(fault.symbol + 1, name) != 0)
        return __real_dlsym(handle, name);
    memcpy(&function, &fails, sizeof function);
    return function;
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fault.calloc ? NULL : __real_calloc(count, size);
}

int __wrap_fcntl(int fd, int command, ...)
{
    va_list args;
    va_start(args, command);
    int argument = command == F_GETFL ? 0 : va_arg(args, int);
    va_end(args);
    if (fault.fcntl > 0 && --fault.fcntl == 0) {
        errno = EMFILE;
        return -1;
    }
    return __real_fcntl(fd, command, argument);
}

int __wrap_clock_gettime(clockid_t clock, struct timespec *now)
{
    int rc = __real_clock_gettime(clock, now);
    now->tv_sec += (time_t)(fault.late_ms / 1000);
    return rc;
}

static void answer(struct http_handler *handler, const struct http_request *request,
                   struct http_reply *reply)
{
    assert_ptr_equal(handler, &fix.handler);
    fix.asked++;
    (void)snprintf(fix.path, sizeof fix.path, "%s", request->path);
    (void)snprintf(fix.accept, sizeof fix.accept, "%s",
                   request->accept != NULL ? request->accept : "");
    *reply = (struct http_reply){.status = 200, .type = "text/x-test"};
    reply->body = strdup("body");
    reply->len = 4;
}

static int fixture_open(void **state)
{
    (void)state;
    memset(&fix, 0, sizeof fix);
    memset(&fault, 0, sizeof fault);
    fix.fds = count_fds();
    fix.handler.answer = answer;
    fix.addr = net_any(AF_INET);
    fix.addr.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    fix.listening = net_listen(&fix.addr, HTTP_BACKLOG, 0, 0);
    assert_true(fix.listening >= 0);
    assert_int_equal(net_local(fix.listening, &fix.addr), 0);
    fix.fd = -1;
    return 0;
}

static int fixture_close(void **state)
{
    (void)state;
    if (fix.fd >= 0) {
        (void)close(fix.fd);
        http_close(&fix.http);
    }
    (void)close(fix.listening);
    assert_int_equal(count_fds(), fix.fds);
    return 0;
}

static void serve(void)
{
    fix.fd = http_open(&fix.http, fix.listening, &fix.handler);
    assert_true(fix.fd >= 0);
}

static int client(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, &fix.addr.sa, net_addr_len(&fix.addr)), 0);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* Runs the library until fd has something to receive. */
static void run_for(int fd)
{
    struct pollfd list[] = {{.fd = fix.fd, .events = POLLIN}, {.fd = fd, .events = POLLIN}};
    for (int64_t wait_ms = 0; (list[1].revents & POLLIN) == 0; wait_ms = http_run(&fix.http))
        assert_true(poll(list, 2, wait_ms == 0 ? 0 : -1) >= 0);
}

/* Receives all, and closes. */
static const char *heard(int fd)
{
    static char text[4096];
    size_t len = 0;
    ssize_t n = 1;
    while (n > 0) {
        run_for(fd);
        n = recv(fd, text + len, sizeof text - 1 - len, 0);
        len += n > 0 ? (size_t)n : 0;
    }
    text[len] = '\0';
    (void)close(fd);
    return text;
}

static void test_get(void **state)
{
    (void)state;
    assert_true(http_supported());
    serve();
    int fd = client();
    say(fd, "GET /path?query HTTP/1.1\r\nHost: x\r\nAccept: this\r\n\r\n");
    const char *text = heard(fd);
    assert_non_null(strstr(text, "HTTP/1.1 200 "));
    assert_non_null(strstr(text, "\r\nContent-Type: text/x-test\r\n"));
    assert_non_null(strstr(text, "\r\nConnection: close\r\n"));
    assert_string_equal(text + strlen(text) - 8, "\r\n\r\nbody");
    assert_int_equal(fix.asked, 1);
    assert_string_equal(fix.path, "/path");
    assert_string_equal(fix.accept, "this");
}

static void test_other_methods(void **state)
{
    (void)state;
    serve();
    int fd = client();
    say(fd, "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n");
    const char *text = heard(fd);
    assert_non_null(strstr(text, "\r\nContent-Length: 4\r\n"));
    assert_string_equal(text + strlen(text) - 4, "\r\n\r\n");
    fd = client();
    say(fd, "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody");
    text = heard(fd);
    assert_non_null(strstr(text, "HTTP/1.1 405 "));
    assert_non_null(strstr(text, "\r\nAllow: GET, HEAD\r\n"));
    assert_int_equal(fix.asked, 1);
}

/* As long as a client is there, the server wants to be run when that one is late. */
static void test_late_client(void **state)
{
    (void)state;
    serve();
    assert_int_equal(http_run(&fix.http), -1);
    int fd = client();
    int64_t wait_ms = -1;
    while (wait_ms < 0) {
        wait_for(fix.fd, POLLIN);
        wait_ms = http_run(&fix.http);
    }
    assert_true(wait_ms <= HTTP_CLIENT_MS);
    say(fd, "GET");
    fault.late_ms = HTTP_CLIENT_MS - 1000; /* the library's limit of silence is later */
    assert_in_range(http_run(&fix.http), 1, 1000);
    fault.late_ms = HTTP_CLIENT_MS + 1000;
    assert_string_equal(heard(fd), "");
    while (http_run(&fix.http) == 0)
        ;
    assert_int_equal(http_run(&fix.http), -1);
    assert_int_equal(fix.asked, 0);
}

/* The sooner of the two times, and no more than fits into what libuv's timer is given. */
static void test_library_wants_to_be_run(void **state)
{
    (void)state;
    fault.wants = true;
    serve();
    assert_int_equal(http_run(&fix.http), 0);
    fault.wants_ms = 7;
    assert_int_equal(http_run(&fix.http), 7);
    fault.wants_ms = UINT64_MAX;
    assert_int_equal(http_run(&fix.http), INT32_MAX);
    int fd = client();
    wait_for(fix.fd, POLLIN);
    assert_in_range(http_run(&fix.http), 1, HTTP_CLIENT_MS);
    (void)close(fd);
}

static void test_ninth_client(void **state)
{
    int fds[HTTP_CLIENTS];
    (void)state;
    serve();
    for (int i = 0; i < HTTP_CLIENTS; i++)
        fds[i] = client();
    int ninth = client();
    say(ninth, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    for (int i = 0; i < HTTP_CLIENTS; i++)
        (void)close(fds[i]);
    assert_non_null(strstr(heard(ninth), "HTTP/1.1 200 "));
}

/* Clients are cut, and the listening socket stays open. */
static void test_close(void **state)
{
    char byte;
    (void)state;
    serve();
    int fd = client();
    wait_for(fix.fd, POLLIN);
    (void)http_run(&fix.http);
    (void)close(fix.fd);
    fix.fd = -1;
    http_close(&fix.http);
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
    assert_true(fd_is_open(fix.listening));
    (void)close(fd);
}

static void expect_refused(int error)
{
    assert_int_equal(http_open(&fix.http, fix.listening, &fix.handler), error);
    assert_true(fd_is_open(fix.listening));
    memset(&fault, 0, sizeof fault);
}

static void test_open_fails(void **state)
{
    (void)state;
    fault.calloc = true;
    expect_refused(-ENOMEM);
    fault.library = true;
    expect_refused(-ENOPKG);
    fault.symbol = "MHD_destroy_response";
    expect_refused(-ENOPKG);
    for (int call = 1; call <= 4; call++) { /* two of O_NONBLOCK, two of duplicates */
        fault.fcntl = call;
        expect_refused(-EMFILE);
    }
}

static void test_library_refuses(void **state)
{
    (void)state;
    fault.symbol = "!MHD_start_daemon";
    assert_int_equal(http_open(&fix.http, fix.listening, &fix.handler), -ENOMEM);
    fix.fds++; /* the duplicate that the real function would have closed */
    memset(&fault, 0, sizeof fault);
    fault.symbol = "!MHD_create_response_from_buffer";
    serve();
    int fd = client();
    say(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_string_equal(heard(fd), "");
    assert_int_equal(fix.asked, 1);
}

static void test_no_memory_for_a_header(void **state)
{
    (void)state;
    fault.symbol = "!MHD_add_response_header";
    serve();
    int fd = client();
    say(fd, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_string_equal(heard(fd), "");
}

#define http_test(name) cmocka_unit_test_setup_teardown(name, fixture_open, fixture_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        http_test(test_get),
        http_test(test_other_methods),
        http_test(test_late_client),
        http_test(test_library_wants_to_be_run),
        http_test(test_ninth_client),
        http_test(test_close),
        http_test(test_open_fails),
        http_test(test_library_refuses),
        http_test(test_no_memory_for_a_header),
    };
    return RUN_TESTS("http", tests);
}

#else

static void test_is_not_there(void **state)
{
    struct http http;
    (void)state;
    assert_false(http_supported());
    assert_int_equal(http_open(&http, -1, NULL), -EOPNOTSUPP);
    assert_int_equal(http_run(&http), -1);
    http_close(&http);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_is_not_there)};
    return RUN_TESTS("http", tests);
}

#endif
