/*
 * Behind real proxies: a HAProxy and a nginx that are installed here send their headers, of both
 * versions, and what goes through them comes back to the byte. A proxy is given its listening
 * sockets, so a client may connect before the proxy is there, and nobody waits for a port.
 */
#include "harness.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STREAM_BYTES = 2 << 20, SOCKETS_MAX = 3 };

/* A proxy in front of the daemon. */
static struct {
    pid_t pid; /* 0: none runs */
    int sockets[SOCKETS_MAX];
    int count;
} proxy;

static const char *find_program(const char *const *paths)
{
    for (; *paths != NULL; paths++)
        if (access(*paths, R_OK) == 0)
            return *paths;
    return NULL;
}

static const char *find_haproxy(void)
{
    static const char *const paths[] = {"/usr/sbin/haproxy", "/usr/local/sbin/haproxy",
                                        "/usr/bin/haproxy", NULL};
    const char *found = find_program(paths);
    if (found == NULL)
        harness_skip("there is no HAProxy");
    return found;
}

static const char *find_nginx(void)
{
    static const char *const paths[] = {"/usr/sbin/nginx", "/usr/local/sbin/nginx",
                                        "/usr/bin/nginx", NULL};
    const char *found = find_program(paths);
    if (found == NULL)
        harness_skip("there is no nginx");
    return found;
}

static const char *find_nginx_stream(void)
{
    static const char *const paths[] = {"/usr/lib/nginx/modules/ngx_stream_module.so",
                                        "/usr/lib64/nginx/modules/ngx_stream_module.so", NULL};
    const char *found = find_program(paths);
    if (found == NULL)
        harness_skip("there is no ngx_stream_module.so");
    return found;
}

static int add_socket(const char *address)
{
    assert_true(proxy.count < SOCKETS_MAX);
    return proxy.sockets[proxy.count++] = harness_listen(address);
}

/* Never returns. The proxy ends with the test, whatever ends that; SIGTERM ends its children, too.
 */
static _Noreturn void exec_proxy(char *const *argv)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGTERM);
    for (int i = 0; i < proxy.count; i++)
        (void)fcntl(proxy.sockets[i], F_SETFD, 0);
    (void)execv(argv[0], argv);
    _exit(127);
}

static void start_proxy(const char *program, const char *const *arguments)
{
    char *argv[8] = {(char *)(uintptr_t)program};
    for (int i = 0; arguments[i] != NULL; i++)
        argv[i + 1] = (char *)(uintptr_t)arguments[i];
    proxy.pid = fork();
    assert_true(proxy.pid >= 0);
    if (proxy.pid == 0)
        exec_proxy(argv);
}

static void stop_proxy(void)
{
    int status;
    assert_int_equal(kill(proxy.pid, SIGTERM), 0);
    assert_int_equal(waitpid(proxy.pid, &status, 0), proxy.pid);
    for (int i = 0; i < proxy.count; i++)
        (void)close(proxy.sockets[i]);
    memset(&proxy, 0, sizeof proxy);
}

static const char *write_file(const char *name, const char *text)
{
    const char *path = harness_path(name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    return path;
}

/* One HAProxy with a listener for each of these ways to reach the daemon. */
static void start_haproxy(const struct daemon *daemon, const char *program,
                          const char *const *servers, int count)
{
    char config[2048] = "global\n    maxconn 100\ndefaults\n    mode tcp\n    timeout connect 60s\n"
                        "    timeout client 60s\n    timeout server 60s\n";
    for (int i = 0; i < count; i++) {
        size_t len = strlen(config);
        (void)snprintf(config + len, sizeof config - len,
                       "listen proxy%d\n    bind fd@%d\n    server daemon 127.0.0.1:%u %s\n", i,
                       proxy.sockets[i], (unsigned)daemon->port, servers[i]);
    }
    const char *path = write_file("haproxy.cfg", config);
    start_proxy(program, (const char *const[]){"-q", "-db", "-f", path, NULL});
}

static void start_nginx(const struct daemon *daemon, const char *program, const char *module)
{
    char config[2048];
    char inherited[32];
    struct sockaddr_in addr;
    socklen_t len = sizeof addr;
    int fd = add_socket("127.0.0.1");
    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    (void)snprintf(
        config, sizeof config,
        "load_module %s;\ndaemon off;\nworker_processes 1;\nuser root;\nerror_log stderr error;\n"
        "pid %s;\nevents { }\nstream {\n    server {\n        listen 127.0.0.1:%u;\n"
        "        proxy_pass 127.0.0.1:%u;\n        proxy_protocol on;\n        proxy_half_close "
        "on;\n    }\n}\n",
        module, harness_path("nginx.pid"), (unsigned)ntohs(addr.sin_port), (unsigned)daemon->port);
    const char *path = write_file("nginx.conf", config);
    (void)snprintf(inherited, sizeof inherited, "%d;", fd);
    assert_int_equal(setenv("NGINX", inherited, 1), 0); /* as at its own upgrade */
    start_proxy(program, (const char *const[]){"-c", path, NULL});
    assert_int_equal(unsetenv("NGINX"), 0);
}

/* The log names the client as the client names itself. */
static void check_client(struct daemon *daemon, int listening)
{
    char name[80];
    char line[160];
    int fd = client_connect_like(listening);
    (void)client_name(fd, name);
    client_ping(fd, "GOT:", "hello");
    (void)snprintf(line, sizeof line, "Connection from %s via 127.0.0.1:", name);
    (void)daemon_wait_line(daemon, line);
    client_leave(fd);
    (void)snprintf(line, sizeof line, "Connection closed: %s via 127.0.0.1:", name);
    (void)daemon_wait_line(daemon, line);
}

/* Bulk data through all listeners of the proxy at once, with an upgrade of the daemon amid it. */
static void check_streams(struct daemon *daemon)
{
    static struct stream streams[SOCKETS_MAX];
    for (int i = 0; i < proxy.count; i++)
        stream_init(&streams[i], client_connect_like(proxy.sockets[i]), (unsigned)i, STREAM_BYTES,
                    true);
    daemon_signal(daemon, SIGUSR2);
    streams_run(streams, (size_t)proxy.count);
    (void)daemon_wait_line(daemon, "Took over ");
    assert_int_equal(daemon_count(daemon, "reset for "), 0);
}

static void check_proxy(struct daemon *daemon)
{
    for (int i = 0; i < proxy.count; i++)
        check_client(daemon, proxy.sockets[i]);
    check_streams(daemon);
    stop_proxy();
}

static void haproxy(struct daemon *daemon)
{
    static const char *const servers[] = {"send-proxy", "send-proxy-v2",
                                          "send-proxy-v2 proxy-v2-options crc32c"};
    const char *program = find_haproxy();
    daemon_start(daemon, "--proxy-from=127.0.0.0/8");
    for (int i = 0; i < 3; i++)
        (void)add_socket("127.0.0.1");
    start_haproxy(daemon, program, servers, 3);
    check_proxy(daemon);
}

static void haproxy_on_ipv6(struct daemon *daemon)
{
    static const char *const servers[] = {"send-proxy", "send-proxy-v2"};
    const char *program = find_haproxy();
    harness_need_ipv6();
    daemon_start(daemon, "--proxy-from=127.0.0.0/8");
    for (int i = 0; i < 2; i++)
        (void)add_socket("::1");
    start_haproxy(daemon, program, servers, 2);
    check_proxy(daemon);
}

/* HAProxy's own checks come with LOCAL, and are logged as health checks are. */
static void checks_of_haproxy(struct daemon *daemon)
{
    static const char *const servers[] = {"check inter 100 send-proxy-v2 check-send-proxy"};
    const char *program = find_haproxy();
    daemon_start(daemon, "--proxy-from=127.0.0.0/8 --verbose");
    (void)add_socket("127.0.0.1");
    start_haproxy(daemon, program, servers, 1);
    (void)daemon_wait_line(daemon, "Connection from 127.0.0.1:");
    (void)daemon_wait_line(daemon, "Connection closed: 127.0.0.1:");
    (void)daemon_wait_line(daemon, "Connection closed: 127.0.0.1:");
    stop_proxy();
    assert_int_equal(daemon_count(daemon, " via "), 0);
    assert_int_equal(daemon_count(daemon, "reset for "), 0);
}

static void nginx(struct daemon *daemon)
{
    const char *program = find_nginx();
    const char *module = find_nginx_stream();
    daemon_start(daemon, "--proxy-from=127.0.0.0/8");
    start_nginx(daemon, program, module);
    check_proxy(daemon);
}

/* A proxy that sends no header, although the daemon was told so. */
static void a_proxy_without_headers(struct daemon *daemon)
{
    static const char *const servers[] = {""};
    const char *program = find_haproxy();
    daemon_start(daemon, "--proxy-from=127.0.0.0/8");
    (void)add_socket("127.0.0.1");
    start_haproxy(daemon, program, servers, 1);
    int fd = client_connect_like(proxy.sockets[0]);
    client_send(fd, "hello", 5);
    (void)daemon_wait_line(daemon, "for its PROXY header, the last from 127.0.0.1:");
    client_close(fd);
    stop_proxy();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        e2e_test(haproxy), e2e_test(haproxy_on_ipv6),         e2e_test(checks_of_haproxy),
        e2e_test(nginx),   e2e_test(a_proxy_without_headers),
    };
    harness_init();
    return cmocka_run_group_tests_name("proxies", tests, NULL, NULL);
}
