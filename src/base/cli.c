#include "base/cli.h"

#include "base/i18n.h"
#include "base/text.h"

#include <assert.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* What may follow a number, and by how much it multiplies the number. */
struct cli_unit {
    char letter;
    unsigned factor;
};

static const struct cli_unit cli_no_units[] = {{'\0', 1}};
static const struct cli_unit cli_size_units[] = {{'k', 1024}, {'M', 1048576}, {'\0', 1}};
static const struct cli_unit cli_time_units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'\0', 1}};

enum cli_outcome cli_complain(const struct cli *cli, const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    size_t len = n < 0 ? 0 : (size_t)n < sizeof line ? (size_t)n : text_cut(line, sizeof line - 1);
    text_clean(line, len);
    line[len] = '\0';
    (void)fprintf(cli->err, _("%s: %s. Try '%s --help'.\n"), cli->program, line, cli->program);
    return CLI_MISUSE;
}

static void cli_store(const struct cli *cli, uint64_t number)
{
    void *field = (char *)cli->target + cli->option->field.offset;
    switch (cli->option->field.size) {
    case sizeof(uint8_t):
        *(uint8_t *)field = (uint8_t)number;
        break;
    case sizeof(uint16_t):
        *(uint16_t *)field = (uint16_t)number;
        break;
    case sizeof(uint32_t):
        *(uint32_t *)field = (uint32_t)number;
        break;
    default:
        assert(cli->option->field.size == sizeof number);
        memcpy(field, &number, sizeof number); /* size_t and uint64_t may be different types */
        break;
    }
}

/* Stores value times scale if it is, as a whole, a number from min to max with one of the units. */
static bool cli_digits(const struct cli *cli, const char *value, int base,
                       const struct cli_unit *unit, unsigned scale)
{
    char *end;
    errno = 0;
    uint64_t number = strtoull(value, &end, base);
    /* strtoull(3) accepts blanks and signs in front, and so would turn -1 into a large number. */
    if (value[0] < '0' || value[0] > '9' || errno != 0)
        return false;
    while (unit->letter != *end && unit->letter != '\0')
        unit++;
    bool whole = unit->letter == *end && (*end == '\0' || end[1] == '\0');
    if (!whole || number > cli->option->max / unit->factor)
        return false;
    number *= unit->factor;
    if (number < cli->option->min)
        return false;
    cli_store(cli, number * scale);
    return true;
}

/* The bounds of the row, for printf(3). */
#define CLI_MIN(cli) ((unsigned long long)(cli)->option->min)
#define CLI_MAX(cli) ((unsigned long long)(cli)->option->max)

enum cli_outcome cli_number(const struct cli *cli, const char *value)
{
    if (cli_digits(cli, value, 10, cli_no_units, 1))
        return CLI_RUN;
    return cli_complain(cli, _("--%s: '%s' is not a number from %llu to %llu"), cli->option->name,
                        value, CLI_MIN(cli), CLI_MAX(cli));
}

enum cli_outcome cli_octal(const struct cli *cli, const char *value)
{
    if (cli_digits(cli, value, 8, cli_no_units, 1))
        return CLI_RUN;
    return cli_complain(cli, _("--%s: '%s' is not an octal number from %llo to %llo"),
                        cli->option->name, value, CLI_MIN(cli), CLI_MAX(cli));
}

enum cli_outcome cli_bytes(const struct cli *cli, const char *value)
{
    if (cli_digits(cli, value, 10, cli_size_units, 1))
        return CLI_RUN;
    return cli_complain(cli,
                        _("--%s: '%s' is not a size from %llu to %llu bytes, such as 1000 or 64k"),
                        cli->option->name, value, CLI_MIN(cli), CLI_MAX(cli));
}

static enum cli_outcome cli_time(const struct cli *cli, const char *value, unsigned scale)
{
    if (cli_digits(cli, value, 10, cli_time_units, scale))
        return CLI_RUN;
    return cli_complain(
        cli, _("--%s: '%s' is not a time from %llu to %llu seconds, such as 90, 90s, 15m or 2h"),
        cli->option->name, value, CLI_MIN(cli), CLI_MAX(cli));
}

enum cli_outcome cli_seconds(const struct cli *cli, const char *value)
{
    return cli_time(cli, value, 1);
}

enum cli_outcome cli_milliseconds(const struct cli *cli, const char *value)
{
    return cli_time(cli, value, 1000);
}

enum cli_outcome cli_constant(const struct cli *cli, const char *value)
{
    (void)value;
    cli_store(cli, cli->option->min);
    return CLI_RUN;
}

static int cli_has_arg(const struct cli_option *option)
{
    if (option->arg == NULL)
        return no_argument;
    return option->arg[0] == '[' ? optional_argument : required_argument;
}

/* The left column is as wide as "-p, --drain-timeout=SECONDS". */
static void cli_help_option(const struct cli_option *option, FILE *out)
{
    char left[40];
    (void)snprintf(left, sizeof left, option->letter != '\0' ? "-%c, --%s%s%s" : "%c   --%s%s%s",
                   option->letter != '\0' ? option->letter : ' ', option->name,
                   cli_has_arg(option) == required_argument ? "=" : "",
                   option->arg != NULL ? option->arg : "");
    const char *line = _(option->help);
    for (const char *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        (void)fprintf(out, "  %-28s %.*s\n", left, (int)(end - line), line);
        left[0] = '\0';
    }
    (void)fprintf(out, "  %-28s %s\n", left, line);
}

enum cli_outcome cli_help(const struct cli *cli, const char *before, const char *after)
{
    (void)fputs(before, cli->out);
    for (size_t i = 0; i < cli->count; i++)
        cli_help_option(&cli->options[i], cli->out);
    (void)fputs(after, cli->out);
    return cli_done(cli);
}

enum cli_outcome cli_done(const struct cli *cli)
{
    if (fflush(cli->out) == 0 && ferror(cli->out) == 0)
        return CLI_DONE;
    (void)fprintf(cli->err, _("%s: standard output: %s\n"), cli->program, strerror(errno));
    return CLI_FAILED;
}

/* What getopt_long(3) returns for row i: its letter or, without one, a number above all letters. */
static int cli_value(const struct cli *cli, size_t i)
{
    unsigned char letter = (unsigned char)cli->options[i].letter;
    return letter != '\0' ? letter : UCHAR_MAX + 1 + (int)i;
}

static const struct cli_option *cli_find(const struct cli *cli, int value)
{
    for (size_t i = 0; i < cli->count; i++)
        if (cli_value(cli, i) == value)
            return &cli->options[i];
    return NULL;
}

static void cli_getopt_tables(const struct cli *cli, struct option *longs, char *shorts)
{
    *shorts++ = ':'; /* tell a missing argument from an unknown option */
    for (size_t i = 0; i < cli->count; i++) {
        const struct cli_option *option = &cli->options[i];
        longs[i] = (struct option){
            .name = option->name, .has_arg = cli_has_arg(option), .val = cli_value(cli, i)};
        if (option->letter == '\0')
            continue;
        *shorts++ = option->letter;
        if (option->arg != NULL)
            *shorts++ = ':';
    }
    longs[cli->count] = (struct option){0};
    *shorts = '\0';
}

/* The first byte of text that is not ASCII; the NUL if there is none. */
static const char *cli_beyond_ascii(const char *text)
{
    while (*text != '\0' && (unsigned char)*text <= 0x7f)
        text++;
    return text;
}

/*
 * The argument that getopt_long(3) complains of. In the middle of a character of UTF-8 it has not
 * passed that argument yet.
 */
static const char *cli_culprit(char *const *argv)
{
    bool ascii = optopt >= 0 && optopt <= 0x7f;
    bool inside = !ascii && argv[optind] != NULL && *cli_beyond_ascii(argv[optind]) != '\0';
    return argv[inside ? optind : optind - 1];
}

/* Writes "-x" to option, or the whole character of UTF-8 of which getopt_long(3) gives one byte. */
static void cli_format_letter(int letter, const char *argument, char *option, size_t size)
{
    const char *at = cli_beyond_ascii(argument);
    int len = 1;
    while (*at != '\0' && ((unsigned char)at[len] & 0xc0) == 0x80)
        len++;
    if (letter > 0 && letter <= 0x7f)
        (void)snprintf(option, size, "-%c", letter);
    else
        (void)snprintf(option, size, "-%.*s", len, at);
}

/* An option that does not exist: a letter, or an argument that begins with "--" if that is 0. */
static enum cli_outcome cli_unknown(const struct cli *cli, int letter, const char *argument)
{
    const char *name = letter == 0 ? argument + 2 : "";
    size_t len = strcspn(name, "=");
    char option[64];
    if (letter == 0)
        (void)snprintf(option, sizeof option, "--%.*s", (int)len, name);
    else
        cli_format_letter(letter, argument, option, sizeof option);
    const char *advice = cli->advise != NULL ? cli->advise(letter, name, len) : NULL;
    if (advice != NULL)
        return cli_complain(cli, _("unknown option '%s': %s"), option, advice);
    if (letter != 0)
        return cli_complain(cli, _("unknown option '%s'"), option);
    return cli_complain(cli, _("unknown or ambiguous option '%s'"), argument);
}

/* getopt_long(3) has found fault with an argument: result is ':' or '?', optopt its option. */
static enum cli_outcome cli_fault(const struct cli *cli, int result, const char *argument)
{
    const struct cli_option *option = cli_find(cli, optopt);
    if (option == NULL)
        return cli_unknown(cli, optopt, argument);
    if (result == ':')
        return cli_complain(cli, _("--%s: %s is missing"), option->name, option->arg);
    return cli_complain(cli, _("--%s: takes no value, '%s' has one"), option->name, argument);
}

enum cli_outcome cli_parse(struct cli *cli, int argc, char **argv)
{
    struct option longs[CLI_OPTIONS_MAX + 1];
    char shorts[2 * CLI_OPTIONS_MAX + 2];
    assert(cli->count <= CLI_OPTIONS_MAX);
    cli_getopt_tables(cli, longs, shorts);
    optind = 0; /* start anew: glibc and musl take 0 for it, others 1 */
    opterr = 0;
    int result;
    while ((result = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
        cli->option = cli_find(cli, result);
        if (cli->option == NULL)
            return cli_fault(cli, result, cli_culprit(argv));
        enum cli_outcome outcome = cli->option->set(cli, optarg);
        if (outcome != CLI_RUN)
            return outcome;
    }
    cli->operands = argv + optind;
    return CLI_RUN;
}
