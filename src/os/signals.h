/*
 * signals.h - the signals that the daemon handles, and when they may arrive.
 *
 * A signal that arrives before its handler stands would kill the process, and leave the file of a
 * Unix socket behind. So main() blocks them first; they stay pending until the server's handlers
 * stand. The same holds at the end: libuv gives a signal its default action back.
 */
#ifndef UVECHOD_SIGNALS_H
#define UVECHOD_SIGNALS_H

enum { SIGNALS_HANDLED = 6 };

/*
 * SIGTERM, SIGINT and SIGHUP, which stop the daemon, SIGUSR1, which asks for statistics, SIGUSR2,
 * which asks for an upgrade, and SIGQUIT, which stops the daemon for a restart.
 */
extern const int signals_handled[SIGNALS_HANDLED];

/*
 * Block and unblock those signals for the calling thread (pthread_sigmask(3)) and for the threads
 * that it makes from then on. They cannot fail. A signal that is pending is delivered before
 * signals_unblock() returns, even if whoever started the process had blocked it.
 */
void signals_block(void);
void signals_unblock(void);

/*
 * Ignores, for the whole process, the signals that a write can raise: SIGPIPE (nobody reads any
 * more) and SIGXFSZ (the file has reached RLIMIT_FSIZE, setrlimit(2)). The write then fails with
 * EPIPE or EFBIG. Cannot fail.
 */
void signals_ignore_of_writes(void);

#endif
