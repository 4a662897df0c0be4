/*
 * The order of steps: descriptors, language, options, log, server, exit code.
 */
#include "os/descriptors.h"
#include "base/cli.h"
#include "base/i18n.h"
#include "base/log.h"
#include "options.h"
#include "server/server.h"
#include "service/echo.h"

#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct options options;
    descriptors_fill_stdio();
    i18n_init();
    enum cli_outcome outcome = options_parse(&options, argc, argv, stdout, stderr);
    if (outcome != CLI_RUN)
        return (int)outcome;
    const struct service services[] = {{.handler = &echo_handler, .config = &options.echo}};
    options.server.services = (struct services){services, sizeof services / sizeof *services};
    struct log log;
    log_init(&log, STDERR_FILENO, options.log_level);
    int rc = server_run(&options.server, &log);
    log_close(&log);
    if (rc == SERVER_MISUSE)
        return CLI_MISUSE;
    return rc < 0 ? CLI_FAILED : CLI_DONE;
}
