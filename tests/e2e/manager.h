/*
 * manager.h - a service manager that restarts a daemon. It does what systemd does with FDSTORE=1
 * and BARRIER=1 (sd_notify(3)): what the daemon sends away is kept, and passed to the next one.
 *
 * A function that cannot do what its comment says fails the test.
 */
#ifndef UVECHOD_MANAGER_H
#define UVECHOD_MANAGER_H

#include <stdbool.h>

struct daemon;

enum { MANAGER_STORE_MAX = 32, MANAGER_SOCKETS_MAX = 4 };

struct manager {
    int fd;
    char setting[128];                /* NOTIFY_SOCKET=... */
    int sockets[MANAGER_SOCKETS_MAX]; /* that it has opened for the daemon; set by the test */
    int socket_count;
    const char *socket_names[MANAGER_SOCKETS_MAX]; /* NULL: test.socket; set by the test */
    int store[MANAGER_STORE_MAX];
    int store_count;
    bool stores_nothing; /* as with FileDescriptorStoreMax=0 */
};

/* Skips the test if the daemon is built without libsystemd. manager_close() must follow. */
void manager_open(struct manager *manager);

/* Closes all that is stored. */
void manager_empty(struct manager *manager);

/* The same, and the manager ends. */
void manager_close(struct manager *manager);

/*
 * Reads the next message of the daemon, for which it waits so long. Returns whether it was the
 * barrier, which is answered by closing what came with it. False if nothing has come.
 */
bool manager_read(struct manager *manager, int timeout_ms);

/* Reads until the daemon has sent the barrier. */
void manager_serve(struct manager *manager);

/* Reads what has come by now. */
void manager_drain(struct manager *manager);

/* Starts a daemon with the sockets and all that is stored: copies of both, as systemd does. */
void manager_launch(const struct manager *manager, struct daemon *daemon, const char *options);

/* Opens the manager, and starts the first daemon, at 127.0.0.1. */
void manager_start(struct manager *manager, struct daemon *daemon, const char *options);

/*
 * Starts the next daemon, and waits until it has taken over what is stored. Returns the line of the
 * log that says so.
 */
const char *manager_resume(struct manager *manager, struct daemon *daemon, const char *options);

/* Ends the daemon for a restart: by SIGQUIT. It must leave something in the store. */
void manager_end(struct manager *manager, struct daemon *daemon);

/* Both of the above. */
const char *manager_restart(struct manager *manager, struct daemon *daemon, const char *options);

/* Stops the daemon, and closes the manager. */
void manager_stop(struct manager *manager, struct daemon *daemon);

#endif
