/*
 * test_keepalive.c - a client whose network fails. The test makes two network namespaces, for the
 * daemon and for the client, with a virtual cable between them, and cuts the cable.
 */
#include "harness.h"

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    GONE_MS = 5000,  /* --keepalive=1 allows a second of silence, and four probes */
    SLACK_MS = 5000, /* for a slow machine */
};

#define SERVER_ADDRESS "192.0.2.1"

static struct {
    int client; /* the network of the client */
    int server; /* the network of the daemon, and of the test itself most of the time */
} nets;

static bool write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : write(fd, text, strlen(text));
    if (fd >= 0)
        (void)close(fd);
    return n == (ssize_t)strlen(text);
}

/* Makes this process root of a new user namespace, so that it may make networks. */
static bool become_root(void)
{
    char uid[32];
    char gid[32];
    (void)snprintf(uid, sizeof uid, "0 %lu 1", (unsigned long)geteuid());
    (void)snprintf(gid, sizeof gid, "0 %lu 1", (unsigned long)getegid());
    return unshare(CLONE_NEWUSER) == 0 && write_text("/proc/self/setgroups", "deny") &&
           write_text("/proc/self/uid_map", uid) && write_text("/proc/self/gid_map", gid);
}

/* Makes a new network and enters it. Returns a descriptor of the network, or -1. */
static int make_net(void)
{
    return unshare(CLONE_NEWNET) == 0 ? open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC) : -1;
}

static bool run(const char *command)
{
    (void)fflush(NULL);
    return system(command) == 0; /* NOLINT(cert-env33-c): the command is fixed */
}

/* Runs a command in the network of the client. */
static bool run_at_client(const char *command)
{
    assert_int_equal(setns(nets.client, CLONE_NEWNET), 0);
    bool good = run(command);
    assert_int_equal(setns(nets.server, CLONE_NEWNET), 0);
    return good;
}

/* Makes both networks and the cable. Returns NULL, or why this is not possible here. */
static const char *make_nets(void)
{
    char command[512];
    if (geteuid() != 0 && !become_root())
        return "no user namespace can be made here";
    nets.client = make_net();
    nets.server = nets.client < 0 ? -1 : make_net();
    if (nets.server < 0)
        return "no network can be made here";
    (void)snprintf(command, sizeof command,
                   "PATH=$PATH:/usr/sbin:/sbin; exec 2>/dev/null; ip link set lo up &&"
                   " ip link add server type veth peer name client &&"
                   " ip link set client netns /proc/%ld/fd/%d &&"
                   " ip addr add " SERVER_ADDRESS "/24 dev server && ip link set server up",
                   (long)getpid(), nets.client);
    if (!run(command) ||
        !run_at_client("PATH=$PATH:/usr/sbin:/sbin;"
                       " ip addr add 192.0.2.2/24 dev client && ip link set client up"))
        return "no cable between networks can be made here (ip(8), veth)";
    return NULL;
}

static int connect_from_client(const struct daemon *daemon)
{
    assert_int_equal(setns(nets.client, CLONE_NEWNET), 0);
    int fd = client_connect_to(daemon, SERVER_ADDRESS);
    assert_int_equal(setns(nets.server, CLONE_NEWNET), 0);
    return fd;
}

/*
 * The connection of the client whose cable is cut is ended in time, and the log gives the reason.
 * Another client is just as silent, but its kernel answers the probes: its connection stays.
 */
static void vanished_client_is_ended(struct daemon *daemon)
{
    char name[80];
    char closed[128];
    const char *why = make_nets();
    if (why != NULL)
        harness_skip(why);
    daemon_start(daemon, "--keepalive=1 --bind=" SERVER_ADDRESS);
    int silent = client_connect_to(daemon, SERVER_ADDRESS);
    client_ping(silent, "GOT:", "hello");
    int cut = connect_from_client(daemon);
    client_ping(cut, "GOT:", "hello");
    (void)snprintf(closed, sizeof closed, "Connection closed: %s (", client_name(cut, name));
    assert_true(run_at_client("PATH=$PATH:/usr/sbin:/sbin; ip link set client down"));
    uint64_t begin_ms = harness_now_ms();
    const char *line = daemon_wait_line(daemon, closed);
    assert_between(harness_now_ms() - begin_ms, 0, GONE_MS + SLACK_MS);
    if (strstr(line, "(Connection timed out)") == NULL &&
        strstr(line, "(No route to host)") == NULL)
        fail_msg("'%s' gives no reason", line);
    daemon_expect_stats(daemon, harness_workers(), " 1 connections now");
    client_ping(silent, "GOT:", "still here");
    assert_int_equal(daemon_count(daemon, "Connection closed"), 1);
}

int main(void)
{
    harness_init();
    const struct CMUnitTest tests[] = {
        e2e_test(vanished_client_is_ended),
    };
    return cmocka_run_group_tests_name("e2e.keepalive", tests, NULL, NULL);
}
