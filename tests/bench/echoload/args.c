#include "echoload/args.h"

#include "echoload/verifier.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* getopt_long(3)'s value for options that have no short form. */
enum {
    ARG_PREFIX = UCHAR_MAX + 1,
    ARG_CHUNK,
    ARG_RFC862,
    ARG_SOURCES,
    ARG_CONNECTING,
    ARG_CLOSE,
    ARG_ECHO_FIRST,
    ARG_ECHO_LAST,
    ARG_TIMEOUT,
    ARG_PID,
};

enum { ARGS_COLUMN = 25 };

struct arg_spec {
    const char *name;
    int value;
    const char *arg; /* NULL: takes none */
    const char *help;
};

static const struct arg_spec arg_specs[] = {
    {"mode", 'm', "MODE", "pingpong, bulk, churn or idle, see below (pingpong)"},
    {"connections", 'c', "N", "connections at once (1)"},
    {"size", 's', "BYTES", "of a message (64)"},
    {"depth", 'd', "N", "messages under way per connection (1)"},
    {"duration", 't', "SECONDS", "what is measured (5, if there is no --count)"},
    {"count", 'n', "N", "end after N messages, connections (churn) or bytes (bulk)"},
    {"warmup", 'w', "SECONDS", "before anything is counted (0)"},
    {"rate", 'r', "N",
     "open loop: N messages per second over all connections,\n"
     "sent when they are due, whatever has been answered"},
    {"prefix", ARG_PREFIX, "TEXT", "expect TEXT before each chunk, at most 255 bytes (GOT:)"},
    {"chunk", ARG_CHUNK, "BYTES", "the longest chunk to expect behind a prefix (1000)"},
    {"rfc862", ARG_RFC862, NULL, "expect a verbatim echo: an empty prefix"},
    {"sources", ARG_SOURCES, "N", "connect from 127.0.0.1 and the N-1 addresses after it"},
    {"connecting", ARG_CONNECTING, "N", "connect, or echo last, at most so many at once (64)"},
    {"close", ARG_CLOSE, "HOW",
     "half: end our side, read to the end of theirs; full:\n"
     "close after the last answer; reset: full, with a reset (half)"},
    {"echo-first", ARG_ECHO_FIRST, NULL, "idle: a message on each connection at the beginning"},
    {"echo-last", ARG_ECHO_LAST, NULL, "idle: a message on each connection at the end"},
    {"timeout", ARG_TIMEOUT, "SECONDS", "fail after so long without a byte that is due (10)"},
    {"pid", ARG_PID, "PID", "report the CPU time of this process, too: the server"},
    {"json", 'j', NULL, "report in JSON"},
    {"help", 'h', NULL, "show this help and exit"},
    {"version", 'V', NULL, "show the version and exit"},
};

enum { ARG_COUNT = sizeof arg_specs / sizeof *arg_specs };

static const char *const mode_names[] = {"pingpong", "bulk", "churn", "idle", NULL};
static const char *const close_names[] = {"half", "full", "reset", NULL};

struct arg_parser {
    struct args *args;
    const struct arg_spec *spec;
    FILE *err;
};

const char *args_mode_name(enum load_mode mode)
{
    return mode_names[mode];
}

static enum args_outcome args_error(FILE *err)
{
    (void)fputs(". Try 'echoload --help'.\n", err);
    return ARGS_ERROR;
}

static bool args_count(const struct arg_parser *parser, const char *value, uint64_t max,
                       uint64_t *number)
{
    char *end;
    errno = 0;
    *number = strtoull(value, &end, 10);
    if (value[0] >= '0' && value[0] <= '9' && *end == '\0' && errno == 0 && *number >= 1 &&
        *number <= max)
        return true;
    (void)fprintf(parser->err, "echoload: --%s: '%s' is not a number from 1 to %llu",
                  parser->spec->name, value, (unsigned long long)max);
    return false;
}

static bool args_size(const struct arg_parser *parser, const char *value, size_t max, size_t *size)
{
    uint64_t number;
    bool good = args_count(parser, value, max, &number);
    *size = good ? (size_t)number : 0;
    return good;
}

static bool args_real(const struct arg_parser *parser, const char *value, double min, double *real)
{
    char *end;
    *real = strtod(value, &end);
    if (end != value && *end == '\0' && isfinite(*real) && *real >= min && *real <= 1e9)
        return true;
    (void)fprintf(parser->err, "echoload: --%s: '%s' is not a number from %g to 1e9",
                  parser->spec->name, value, min);
    return false;
}

static bool args_choice(const struct arg_parser *parser, const char *value,
                        const char *const *names, int *choice)
{
    for (*choice = 0; names[*choice] != NULL; ++*choice)
        if (strcmp(names[*choice], value) == 0)
            return true;
    (void)fprintf(parser->err, "echoload: --%s: '%s' is not one of", parser->spec->name, value);
    for (; *names != NULL; names++)
        (void)fprintf(parser->err, " %s", *names);
    return false;
}

static bool args_prefix(const struct arg_parser *parser, const char *prefix)
{
    parser->args->prefix = prefix;
    parser->args->prefix_len = strlen(prefix);
    if (parser->args->prefix_len <= FORMAT_PREFIX_MAX)
        return true;
    (void)fprintf(parser->err, "echoload: --prefix: at most %d bytes are possible",
                  FORMAT_PREFIX_MAX);
    return false;
}

/* The options whose value is a number. */
static bool args_set_number(const struct arg_parser *parser, const char *value)
{
    struct args *args = parser->args;
    uint64_t number = 0;
    bool good = true;
    switch (parser->spec->value) {
    case 'c':
        return args_size(parser, value, 4000000, &args->connections);
    case 's':
        return args_size(parser, value, 1 << 30, &args->size);
    case 'd':
        return args_size(parser, value, 65536, &args->depth);
    case 'n':
        return args_count(parser, value, INT64_MAX, &args->count);
    case ARG_CHUNK:
        return args_size(parser, value, INT_MAX, &args->chunk);
    case ARG_CONNECTING:
        return args_size(parser, value, 65536, &args->connecting);
    case ARG_SOURCES:
        good = args_count(parser, value, TARGET_SOURCES_MAX, &number);
        args->target.sources = (uint32_t)number;
        return good;
    case ARG_PID:
        good = args_count(parser, value, INT_MAX, &number);
        args->pid = (pid_t)number;
        return good;
    case 't':
        return args_real(parser, value, 0.001, &args->seconds);
    case 'w':
        return args_real(parser, value, 0, &args->warmup);
    case 'r':
        return args_real(parser, value, 0.001, &args->rate);
    default:
        return args_real(parser, value, 0.001, &args->timeout);
    }
}

static bool args_set(const struct arg_parser *parser, const char *value)
{
    struct args *args = parser->args;
    int choice = 0;
    bool good = true;
    switch (parser->spec->value) {
    case 'm':
        good = args_choice(parser, value, mode_names, &choice);
        args->mode = (enum load_mode)choice;
        break;
    case ARG_CLOSE:
        good = args_choice(parser, value, close_names, &choice);
        args->close = (enum load_close)choice;
        break;
    case ARG_PREFIX:
        good = args_prefix(parser, value);
        break;
    case ARG_RFC862:
        args->prefix_len = 0;
        break;
    case ARG_ECHO_FIRST:
        args->echo_first = true;
        break;
    case ARG_ECHO_LAST:
        args->echo_last = true;
        break;
    case 'j':
        args->json = true;
        break;
    default:
        good = args_set_number(parser, value);
        break;
    }
    return good;
}

static void args_help_line(const struct arg_spec *spec, FILE *out)
{
    char left[40];
    bool has_short = spec->value <= UCHAR_MAX;
    (void)snprintf(left, sizeof left, has_short ? "-%c, --%s%s%s" : "%c   --%s%s%s",
                   has_short ? spec->value : ' ', spec->name, spec->arg != NULL ? "=" : "",
                   spec->arg != NULL ? spec->arg : "");
    const char *line = spec->help;
    for (const char *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
        (void)fprintf(out, "  %-*s  %.*s\n", ARGS_COLUMN, left, (int)(end - line), line);
        left[0] = '\0';
    }
    (void)fprintf(out, "  %-*s  %s\n", ARGS_COLUMN, left, line);
}

static void args_help(FILE *out)
{
    (void)fputs("Usage: echoload [OPTION]... [HOST:PORT | [IPV6]:PORT | unix:PATH]\n"
                "Put load on an echo server (127.0.0.1:25000) and check every byte of its "
                "answers.\n\n",
                out);
    for (const struct arg_spec *spec = arg_specs; spec < arg_specs + ARG_COUNT; spec++)
        args_help_line(spec, out);
    (void)fputs(
        "\nThe defaults are in parentheses.\n\n"
        "  pingpong  sends --size bytes, --depth times, and the next for each that is answered\n"
        "  bulk      sends and receives on every connection as fast as it goes\n"
        "  churn     connects, sends one message, takes the answer, closes, and again\n"
        "  idle      connects and waits, for --duration or until standard input ends\n\n"
        "Latencies are those of messages (churn: of connections), in the open loop counted from\n"
        "when a message was due. The exit code is 1 after a connection that failed or a byte that\n"
        "was wrong, missing or surplus, and 2 after wrong usage.\n",
        out);
}

static void args_getopt_tables(struct option longs[ARG_COUNT + 1], char *shorts)
{
    *shorts++ = ':'; /* tell a missing argument from an unknown option */
    for (int i = 0; i < ARG_COUNT; i++) {
        const struct arg_spec *spec = &arg_specs[i];
        longs[i] = (struct option){.name = spec->name,
                                   .has_arg = spec->arg != NULL ? required_argument : no_argument,
                                   .val = spec->value};
        if (spec->value > UCHAR_MAX)
            continue;
        *shorts++ = (char)spec->value;
        if (spec->arg != NULL)
            *shorts++ = ':';
    }
    longs[ARG_COUNT] = (struct option){0};
    *shorts = '\0';
}

static const struct arg_spec *args_find(int value)
{
    for (int i = 0; i < ARG_COUNT; i++)
        if (arg_specs[i].value == value)
            return &arg_specs[i];
    return NULL;
}

static enum args_outcome args_misuse(int result, const char *argument, FILE *err)
{
    const struct arg_spec *spec = args_find(optopt);
    if (spec != NULL && result == ':')
        (void)fprintf(err, "echoload: --%s: %s is missing", spec->name, spec->arg);
    else if (spec != NULL)
        (void)fprintf(err, "echoload: --%s: takes no value, '%s' has one", spec->name, argument);
    else if (optopt != 0)
        (void)fprintf(err, "echoload: unknown option '-%c'", optopt);
    else
        (void)fprintf(err, "echoload: unknown or ambiguous option '%s'", argument);
    return args_error(err);
}

static enum args_outcome args_operand(struct args *args, int argc, char **argv, FILE *err)
{
    const char *text = optind < argc ? argv[optind] : "127.0.0.1:25000";
    const char *wrong = target_parse(&args->target, text);
    if (wrong != NULL) {
        (void)fprintf(err, "echoload: '%s' is no address: %s", text, wrong);
        return args_error(err);
    }
    if (optind + 1 < argc) {
        (void)fprintf(err, "echoload: '%s': one address is expected", argv[optind + 1]);
        return args_error(err);
    }
    return ARGS_RUN;
}

/* What only all options together can show to be wrong. */
static enum args_outcome args_check(struct args *args, FILE *err)
{
    const char *wrong = NULL;
    if (args->rate > 0 && args->mode != MODE_PINGPONG)
        wrong = "--rate goes with --mode=pingpong";
    else if (args->rate > 0 && args->depth > 1)
        wrong = "--rate and --depth exclude each other: what is due is sent";
    else if (args->target.sources > 0 && args->target.addr.sa.sa_family != AF_INET)
        wrong = "--sources needs an IPv4 address to connect to";
    else if (args->mode == MODE_IDLE && args->count > 0)
        wrong = "--count has no meaning with --mode=idle";
    else if (args->mode != MODE_IDLE && (args->echo_first || args->echo_last))
        wrong = "--echo-first and --echo-last go with --mode=idle";
    if (wrong != NULL) {
        (void)fprintf(err, "echoload: %s", wrong);
        return args_error(err);
    }
    if (args->count == 0 && args->seconds <= 0 && args->mode != MODE_IDLE)
        args->seconds = 5;
    return ARGS_RUN;
}

enum args_outcome args_parse(struct args *args, int argc, char **argv, FILE *out, FILE *err)
{
    *args = (struct args){.connections = 1,
                          .connecting = 64,
                          .size = 64,
                          .depth = 1,
                          .timeout = 10,
                          .prefix = "GOT:",
                          .prefix_len = 4,
                          .chunk = 1000};
    struct option longs[ARG_COUNT + 1];
    char shorts[2 * ARG_COUNT + 2];
    args_getopt_tables(longs, shorts);
    opterr = 0;
    int result;
    while ((result = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
        struct arg_parser parser = {.args = args, .spec = args_find(result), .err = err};
        if (parser.spec == NULL)
            return args_misuse(result, argv[optind - 1], err);
        if (result == 'h' || result == 'V') {
            result == 'h' ? args_help(out) : (void)fputs("echoload " UVECHOD_VERSION "\n", out);
            return fflush(out) == 0 ? ARGS_DONE : ARGS_ERROR;
        }
        if (!args_set(&parser, optarg))
            return args_error(err);
    }
    enum args_outcome outcome = args_operand(args, argc, argv, err);
    return outcome == ARGS_RUN ? args_check(args, err) : outcome;
}
