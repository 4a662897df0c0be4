#include "arguments.h"

#include <stdlib.h>
#include <string.h>

/* A history takes milliseconds, that of a crowd seconds, and with a sanitizer ten times as long. */
enum { ARGUMENTS_PATIENCE = 60 };

/* Of the kind whose name stands at text, len bytes long; FAULT_COUNT if there is none. */
static unsigned fault_named(const char *text, size_t len)
{
    unsigned fault = 0;
    while (fault < FAULT_COUNT && (strlen(world_fault_name(fault)) != len ||
                                   memcmp(world_fault_name(fault), text, len) != 0))
        fault++;
    return fault;
}

static enum cli_outcome arguments_without(const struct cli *cli, const char *value)
{
    struct arguments *arguments = cli->target;
    while (*value != '\0') {
        size_t len = strcspn(value, ",");
        unsigned fault = fault_named(value, len);
        if (fault == FAULT_COUNT)
            return cli_complain(cli, "--without: '%.*s' is no kind of fault", (int)len, value);
        arguments->histories.world.without |= UINT32_C(1) << fault;
        value += len;
        value += *value == ',';
    }
    return CLI_RUN;
}

static enum cli_outcome arguments_plant(const struct cli *cli, const char *value)
{
    struct arguments *arguments = cli->target;
    unsigned fault = fault_named(value, strlen(value));
    if (fault == FAULT_COUNT)
        return cli_complain(cli, "--plant: '%s' is no kind of fault", value);
    arguments->histories.world.planted = (int)fault;
    return CLI_RUN;
}

static enum cli_outcome arguments_clients(const struct cli *cli, const char *value)
{
    uint64_t *dropped = ((struct arguments *)cli->target)->histories.scenario.dropped;
    memset(dropped, 0xff, SCENARIO_CLIENTS_MAX / 8);
    while (*value != '\0') {
        char *end;
        unsigned long client = strtoul(value, &end, 10);
        if (end == value || client >= SCENARIO_CLIENTS_MAX || (*end != ',' && *end != '\0'))
            return cli_complain(cli, "--clients: '%s' is no list of numbers", value);
        dropped[client / 64] &= ~(UINT64_C(1) << client % 64);
        value = *end == ',' ? end + 1 : end;
    }
    return CLI_RUN;
}

static enum cli_outcome arguments_file(const struct cli *cli, const char *value)
{
    ((struct arguments *)cli->target)->file = value;
    return CLI_RUN;
}

static enum cli_outcome arguments_help(const struct cli *cli, const char *value)
{
    (void)value;
    return cli_help(cli,
                    "Usage: uvechod-sim [OPTION]...\n"
                    "Run the daemon in a simulated world, a history for each seed.\n\n",
                    "\nThe exit code is 1 after a failure and 2 after wrong usage.\n");
}

#define FIELD(member) CLI_FIELD(struct arguments, member)
#define NO_FIELD                                                                                   \
    {                                                                                              \
        0, 0                                                                                       \
    }

static const struct cli_option arguments_table[] = {
    {"from", 'f', "SEED", cli_number, FIELD(histories.from), 1, INT64_MAX, "the first seed (1)"},
    {"count", 'n', "N", cli_number, FIELD(histories.count), 1, INT64_MAX,
     "how many seeds (1000; with --seconds, without end)"},
    {"seconds", 't', "N", cli_number, FIELD(histories.seconds), 1, INT32_MAX,
     "how long to begin further histories"},
    {"patience", 0, "N", cli_number, FIELD(histories.patience), 1, INT32_MAX,
     "fail after so many seconds in one history (60)"},
    {"seeds", 0, "FILE", arguments_file, NO_FIELD, 0, 0,
     "first those in this file: a number at the beginning of a line"},
    {"crowd", 0, NULL, cli_constant, FIELD(histories.scenario.crowd), true, 0,
     "with thousands of clients"},
    {"seed", 's', "SEED", cli_number, FIELD(seed), 1, INT64_MAX, "only this seed"},
    {"trace", 0, NULL, cli_constant, FIELD(traced), true, 0,
     "print the histories: seconds, thread, what happens"},
    {"hash", 0, NULL, cli_constant, FIELD(hashed), true, 0,
     "print a hash of what --trace would print"},
    {"without", 0, "KIND,...", arguments_without, NO_FIELD, 0, 0, "no faults of these kinds"},
    {"faults", 0, "N", cli_number, FIELD(histories.world.faults_max), 0, INT64_MAX,
     "only the first N faults of a history"},
    {"clients", 0, "N,...", arguments_clients, NO_FIELD, 0, 0,
     "only these clients; they are counted from 0"},
    {"no-shrink", 0, NULL, cli_constant, FIELD(no_shrink), true, 0,
     "do not look for a shorter history that fails"},
    {"plant", 0, "KIND", arguments_plant, NO_FIELD, 0, 0,
     "fail when a fault of this kind occurs for the fifth time"},
    {"help", 'h', NULL, arguments_help, NO_FIELD, 0, 0, "show this help and exit"},
};

/* What is asked for together but excludes each other, and what follows from what is asked for. */
static void arguments_complete(struct arguments *arguments)
{
    struct histories *histories = &arguments->histories;
    if (histories->count == 0)
        histories->count = histories->seconds > 0 ? INT64_MAX : 1000;
    if (arguments->seed != 0) {
        histories->from = arguments->seed;
        histories->count = 1;
    }
    if (arguments->traced)
        histories->telling = WORLD_PRINTS;
    else if (arguments->hashed)
        histories->telling = WORLD_HASHES;
}

enum cli_outcome arguments_parse(struct arguments *arguments, int argc, char **argv)
{
    struct cli cli = {.program = "uvechod-sim",
                      .options = arguments_table,
                      .count = sizeof arguments_table / sizeof *arguments_table,
                      .target = arguments,
                      .out = stdout,
                      .err = stderr};
    *arguments =
        (struct arguments){.histories = {.from = 1,
                                         .patience = ARGUMENTS_PATIENCE,
                                         .world = {.faults_max = INT64_MAX, .planted = -1}}};
    enum cli_outcome outcome = cli_parse(&cli, argc, argv);
    if (outcome == CLI_RUN && *cli.operands != NULL)
        return cli_complain(&cli, "'%s': only options are expected", *cli.operands);
    arguments_complete(arguments);
    return outcome;
}

/* ---- the way back ---- */

static void arguments_print_without(uint32_t without)
{
    const char *before = " --without=";
    for (unsigned fault = 0; fault < FAULT_COUNT; fault++) {
        if ((without >> fault & 1) == 0)
            continue;
        (void)printf("%s%s", before, world_fault_name(fault));
        before = ",";
    }
}

static void arguments_print_clients(const uint64_t *dropped, unsigned clients)
{
    const char *before = " --clients=";
    unsigned come = 0;
    for (unsigned client = 0; client < clients; client++)
        come += (dropped[client / 64] >> client % 64 & 1) == 0;
    for (unsigned client = 0; client < clients && come < clients; client++) {
        if ((dropped[client / 64] >> client % 64 & 1) != 0)
            continue;
        (void)printf("%s%u", before, client);
        before = ",";
    }
    if (come == 0 && clients > 0)
        (void)printf(" --clients=");
}

void arguments_print(const struct histories *histories, unsigned clients)
{
    (void)printf("uvechod-sim --seed=%llu", (unsigned long long)histories->from);
    if (histories->scenario.crowd)
        (void)printf(" --crowd");
    arguments_print_without(histories->world.without);
    if (histories->world.faults_max != INT64_MAX)
        (void)printf(" --faults=%llu", (unsigned long long)histories->world.faults_max);
    arguments_print_clients(histories->scenario.dropped, clients);
    if (histories->world.planted >= 0)
        (void)printf(" --plant=%s", world_fault_name((unsigned)histories->world.planted));
    (void)printf(" --trace\n");
}
