/*
 * The order of steps: signals, descriptors, language, options, log, server, exit code.
 */
#include "os/descriptors.h"
#include "base/i18n.h"
#include "base/log.h"
#include "options.h"
#include "os/signals.h"
#include "server/server.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_RUN_TIME = 1, EXIT_USAGE = 2 };

int main(int argc, char **argv)
{
    struct options options;
    signals_block(); /* until the server's handlers stand */
    int rc = descriptors_fill_stdio();
    i18n_init();
    if (rc < 0) {
        (void)fprintf(
            stderr, _("uvechod: a standard descriptor is closed and cannot become /dev/null: %s\n"),
            strerror(-rc));
        return EXIT_RUN_TIME;
    }
    switch (options_parse(&options, argc, argv, stdout, stderr)) {
    case OPTIONS_ERROR:
        return EXIT_USAGE;
    case OPTIONS_FAILED:
        return EXIT_RUN_TIME;
    case OPTIONS_DONE:
        return 0;
    case OPTIONS_RUN:
        break;
    }
    struct log log;
    log_init(&log, STDERR_FILENO, options.log_level);
    rc = server_run(&options.server, &log);
    log_close(&log);
    options_free(&options);
    return rc < 0 ? EXIT_RUN_TIME : 0;
}
