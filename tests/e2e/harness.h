/*
 * harness.h - the tests of the real daemon, which they see from outside only.
 *
 * A test is a function that is given a struct daemon: daemon_start(daemon, options) starts it, and
 * starts another one there once it has ended. After the test the harness ends the daemon that still
 * runs. A daemon that does not end with 0 then (because a sanitizer has found something, say) fails
 * the test. Nothing here sleeps: every wait is for an event, with a deadline far beyond what a slow
 * machine takes. A function that cannot do what its comment says fails the test.
 */
#ifndef UVECHOD_HARNESS_H
#define UVECHOD_HARNESS_H

#include "check.h"

#include "clients.h"
#include "daemon.h"
#include "launch.h"
#include "streams.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum {
    HARNESS_DEADLINE_MS = 60000, /* for what should happen at once */
    HARNESS_WATCHDOG_S = 280,    /* for one test; ctest has a longer one for all of them */
    HARNESS_LOCKED_MS = 300,     /* a socket that takes nothing for so long is blocked */
};

/* What cmocka hands from the setup to the test and the teardown. */
struct e2e_case {
    void (*run)(struct daemon *daemon);
    struct daemon daemon;
    struct daemon second; /* daemon.second */
    bool passed;
};

void harness_body(void **state);
int harness_setup(void **state);
int harness_teardown(void **state);

/* An element of cmocka's array of tests, to be used in main() only. */
#define e2e_test(function)                                                                         \
    {                                                                                              \
#function, harness_body, harness_setup, harness_teardown, &(struct e2e_case)               \
        {                                                                                          \
            .run = (function)                                                                      \
        }                                                                                          \
    }

/*
 * Must be called first in main(). Raises the limit of descriptors as far as it goes, and clears the
 * environment of what would change the daemon.
 */
void harness_init(void);

/* Ends the test as skipped, and prints why. */
void harness_skip(const char *why);

/* The text contains this part, or is one line with its newline. */
void assert_contains(const char *text, const char *part);
void assert_one_line(const char *text);

/* Whether this is a build with a sanitizer, whose daemons start slowly and need more memory. */
bool harness_sanitized(void);

/* Whether the daemon's memory can be measured. Prints why not under a sanitizer. */
bool harness_may_weigh(void);

/*
 * The path of a file in a directory of ours. The directory and all files in it are removed when
 * the executable ends. The string is valid until the eighth call after this one.
 */
const char *harness_path(const char *name);

/*
 * The environment in which the program speaks a language ("de_DE"), for struct launch. It sets
 * LC_ALL and, where the machine has not installed the locale, the place of the one that the build
 * has made. Skips the test where there is neither. Returns strings and NULL, which the next call
 * overwrites.
 */
const char *const *harness_language(const char *language);

/* Milliseconds on a clock that only goes forward. */
uint64_t harness_now_ms(void);

#endif
