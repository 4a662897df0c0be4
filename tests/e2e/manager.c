/*
 * manager.c - stores what a daemon sends away, and starts the next one with it.
 */
#include "manager.h"

#include "harness.h"

#include <poll.h>
#include <signal.h>
#include <unistd.h>

#define POUCH "uvechod-pouch"

void manager_open(struct manager *manager)
{
    static unsigned count;
    char name[32];
    if (!UVECHOD_SYSTEMD)
        harness_skip("built without libsystemd");
    (void)snprintf(name, sizeof name, "notify-%u", count++);
    *manager = (struct manager){.fd = -1};
    const char *path = harness_path(name);
    manager->fd = harness_bind_unix(path, SOCK_DGRAM);
    (void)snprintf(manager->setting, sizeof manager->setting, "NOTIFY_SOCKET=%s", path);
}

void manager_empty(struct manager *manager)
{
    while (manager->store_count > 0)
        (void)close(manager->store[--manager->store_count]);
}

void manager_close(struct manager *manager)
{
    manager_empty(manager);
    (void)close(manager->fd);
}

/* Stores or closes the descriptors that have come with a message. */
static void manager_store(struct manager *manager, const char *text, const int *fds, size_t count)
{
    const char *const wanted = "FDSTORE=1\nFDPOLL=0\nFDNAME=" POUCH;
    bool stores = strncmp(text, wanted, strlen(wanted)) == 0 && !manager->stores_nothing;
    for (size_t i = 0; i < count; i++) {
        if (!stores) {
            (void)close(fds[i]);
            continue;
        }
        assert_true(manager->store_count < MANAGER_STORE_MAX);
        manager->store[manager->store_count++] = fds[i];
    }
}

bool manager_read(struct manager *manager, int timeout_ms)
{
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(MANAGER_STORE_MAX * sizeof(int))];
    char text[1024];
    int fds[MANAGER_STORE_MAX];
    size_t count = 0;
    struct pollfd ready = {.fd = manager->fd, .events = POLLIN};
    if (poll(&ready, 1, timeout_ms) <= 0)
        return false;
    struct iovec iov = {.iov_base = text, .iov_len = sizeof text - 1};
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    ssize_t n = recvmsg(manager->fd, &msg, MSG_CMSG_CLOEXEC);
    assert_true(n > 0);
    text[n] = '\0';
    const struct cmsghdr *part = CMSG_FIRSTHDR(&msg);
    if (part != NULL) {
        count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(fds, CMSG_DATA(part), count * sizeof(int));
    }
    if (strstr(text, "FDSTOREREMOVE=1\nFDNAME=" POUCH) != NULL)
        manager_empty(manager);
    manager_store(manager, text, fds, count);
    return strcmp(text, "BARRIER=1") == 0;
}

void manager_serve(struct manager *manager)
{
    uint64_t deadline = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (!manager_read(manager, HARNESS_DEADLINE_MS))
        if (harness_now_ms() > deadline)
            fail_msg("The daemon does not send BARRIER=1");
}

void manager_drain(struct manager *manager)
{
    struct pollfd ready = {.fd = manager->fd, .events = POLLIN};
    while (poll(&ready, 1, 0) > 0)
        (void)manager_read(manager, 0);
}

void manager_launch(const struct manager *manager, struct daemon *daemon, const char *options)
{
    const char *const setup[] = {manager->setting, NULL};
    int fds[MANAGER_SOCKETS_MAX + MANAGER_STORE_MAX];
    char names[1024] = "";
    int count = 0;
    for (int i = 0; i < manager->socket_count; i++) {
        const char *name = manager->socket_names[i];
        (void)strcat(names, count > 0 ? ":" : "");
        (void)strcat(names, name != NULL ? name : "test.socket");
        fds[count++] = manager->sockets[i];
    }
    for (int i = 0; i < manager->store_count; i++) {
        (void)strcat(names, count > 0 ? ":" POUCH : POUCH);
        fds[count++] = manager->store[i];
    }
    daemon_launch(daemon, &(struct launch){.options = options,
                                           .own_port = manager->socket_count > 0,
                                           .setup = setup,
                                           .fds = fds,
                                           .fds_count = count,
                                           .fd_names = names});
}

void manager_start(struct manager *manager, struct daemon *daemon, const char *options)
{
    char all[512];
    (void)snprintf(all, sizeof all, "--bind=127.0.0.1 %s", options);
    manager_open(manager);
    manager_launch(manager, daemon, all);
    (void)daemon_wait_port(daemon, "Listening on ");
}

const char *manager_resume(struct manager *manager, struct daemon *daemon, const char *options)
{
    char all[512];
    (void)snprintf(all, sizeof all, "--bind=127.0.0.1 %s", options);
    manager_launch(manager, daemon, manager->socket_count > 0 ? options : all);
    const char *line = daemon_wait_line(daemon, "Took over ");
    manager_drain(manager);
    assert_int_equal(manager->store_count, 0); /* a later crash must not find it again */
    return line;
}

void manager_end(struct manager *manager, struct daemon *daemon)
{
    manager_drain(manager);
    daemon_signal(daemon, SIGQUIT);
    manager_serve(manager);
    assert_int_equal(daemon_wait_exit(daemon), 0);
    assert_true(manager->store_count > 0);
}

const char *manager_restart(struct manager *manager, struct daemon *daemon, const char *options)
{
    manager_end(manager, daemon);
    return manager_resume(manager, daemon, options);
}

void manager_stop(struct manager *manager, struct daemon *daemon)
{
    assert_int_equal(daemon_stop(daemon, SIGTERM), 0);
    manager_close(manager);
}
