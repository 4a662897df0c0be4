/*
 * The steps, in this order: signals, descriptors, environment, language, options, what a
 * predecessor has left, keeper, log, server, exit code. A program that is only asked whether it
 * could go on ends after the options. With --keep, all that follows the keeper runs in its child,
 * and once more in each successor of that.
 */
#include "base/cli.h"
#include "base/i18n.h"
#include "base/log.h"
#include "os/descriptors.h"
#include "os/program.h"
#include "os/signals.h"
#include "server/keeper.h"
#include "server/server.h"
#include "server/succession.h"
#include "server/upgrade.h"
#include "service/echo.h"
#include "options.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/*
 * Answers the daemon that has started this program (upgrade.h): the yes, or one line that says why
 * not. ledger is what program_take_number() has returned. Returns the exit code.
 */
static int main_answer(int ledger, const struct services *services)
{
    if (ledger == -ENOENT) {
        (void)fprintf(stderr, _("uvechod: %s is for the running daemon only, which sets %s\n"),
                      UPGRADE_OPTION, UPGRADE_VARIABLE);
        return CLI_MISUSE;
    }
    int rc = ledger < 0 ? ledger : succession_check(ledger, services);
    if (rc == 0)
        return fputs(UPGRADE_YES, stdout) >= 0 && fflush(stdout) == 0 ? CLI_DONE : CLI_FAILED;
    (void)fprintf(stderr, _("uvechod %s: cannot take over the connections: %s\n"), UVECHOD_VERSION,
                  rc == -EPROTO ? _("their record is of another version, or damaged")
                                : strerror(-rc));
    return CLI_FAILED;
}

/* After an upgrade the ledger is known, and a predecessor has left nothing else. */
static void main_inherit(struct server_config *config)
{
    if (config->ledger != 0)
        return;
    legacy_take(&config->legacy, config->address_option != NULL, config->metrics.count > 0);
    config->ledger = config->legacy.ledger > 0 ? config->legacy.ledger : 0;
}

/* Log and server. Returns the exit code. */
static int main_serve(struct options *options)
{
    struct server_config *config = &options->server;
    struct log log;
    log_init(&log, STDERR_FILENO, options->log_level);
    legacy_log(&config->legacy, &log);
    int rc = server_run(config, &log);
    log_close(&log);
    if (rc == SERVER_MISUSE)
        return CLI_MISUSE;
    return rc < 0 ? CLI_FAILED : CLI_DONE;
}

int main(int argc, char **argv)
{
    struct options options;
    signals_block(); /* until the server handles them */
    int rc = descriptors_fill_stdio();
    int ledger = program_take_number(UPGRADE_VARIABLE); /* of the program that has executed us */
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
    const struct services all = {services, sizeof services / sizeof *services};
    if (options.check_handover)
        return main_answer(ledger, &all);
    struct program program;
    (void)program_find(&program, argv); /* an upgrade will say that there is none */
    options.server.program = &program;
    options.server.ledger = ledger == -ENOENT ? 0 : ledger;
    options.server.services = all;
    main_inherit(&options.server);
    int code = options.keep ? keeper_run(&options.server, options.log_level) : KEEPER_CHILD;
    if (code == KEEPER_CHILD)
        code = main_serve(&options);
    program_free(&program);
    return code;
}
