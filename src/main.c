/*
 * The steps, in this order: signals, descriptors, language, options, log, server, exit code.
 */
#include "base/cli.h"
#include "base/i18n.h"
#include "base/log.h"
#include "os/descriptors.h"
#include "os/signals.h"
#include "server/server.h"
#include "service/echo.h"
#include "options.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct options options;
    signals_block(); /* until the server handles them */
    int rc = descriptors_fill_stdio();
    i18n_init();
    if (rc < 0) {
        (void)fprintf(
            stderr, _("uvechod: a standard descriptor is closed and cannot become /dev/null: %s\n"),
            strerror(-rc));
        return CLI_FAILED;
    }
    enum cli_outcome outcome = options_parse(&options, argc, argv, stdout, stderr);
    if (outcome != CLI_RUN)
        return (int)outcome;
    const struct service services[] = {{.handler = &echo_handler, .config = &options.echo}};
    options.server.services = (struct services){services, sizeof services / sizeof *services};
    struct log log;
    log_init(&log, STDERR_FILENO, options.log_level);
    rc = server_run(&options.server, &log);
    log_close(&log);
    if (rc == SERVER_MISUSE)
        return CLI_MISUSE;
    return rc < 0 ? CLI_FAILED : CLI_DONE;
}
