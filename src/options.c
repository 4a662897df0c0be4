#include "options.h"

#include "service/chunks.h"
#include "base/i18n.h"
#include "os/systemd.h"
#include "server/workers.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <netdb.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <uv.h>

enum {
    OPTIONS_ADDRS_MAX = 64, /* of one name, and of all: a bit of may_lack for each */
    OPTIONS_SECONDS_MAX = UINT_MAX / 1000 - 1 /* 49 days: what fits in milliseconds */
};

/* getopt_long(3)'s value for options that have no short form. */
enum {
    OPTION_PREFIX = UCHAR_MAX + 1,
    OPTION_CHUNK,
    OPTION_RFC862,
    OPTION_BACKLOG,
    OPTION_MAX_CONNECTIONS,
    OPTION_IDLE_TIMEOUT,
    OPTION_DRAIN_TIMEOUT,
    OPTION_SOCKET_MODE,
    OPTION_WORKERS,
};

struct option_spec {
    const char *name;
    int value;       /* the short form, or one of the above */
    const char *arg; /* NULL: takes none */
    const char *help;
};

static const struct option_spec option_specs[] = {
    {"port", 'p', "PORT", N_("listen on PORT, 0 to 65535; 0 takes a free one (25000)")},
    {"bind", 'b', "ADDRESS",
     N_("listen on this IPv4 or IPv6 address, or name, or on\n"
        "unix:/path or unix:@abstract; may be given several\n"
        "times (every IPv4 and IPv6 address)")},
    {"socket-mode", OPTION_SOCKET_MODE, "MODE",
     N_("permissions of the files of Unix sockets, octal (0666)")},
    {"prefix", OPTION_PREFIX, "TEXT",
     N_("put TEXT before each chunk, at most 255 bytes; empty\n"
        "for none (GOT:)")},
    {"chunk", OPTION_CHUNK, "BYTES", N_("the largest chunk, 1 to 65536 or 64k bytes (1000)")},
    {"rfc862", OPTION_RFC862, NULL, N_("echo verbatim, as RFC 862 asks: an empty prefix")},
    {"backlog", OPTION_BACKLOG, "N", N_("connections that may wait to be accepted (SOMAXCONN)")},
    {"max-connections", OPTION_MAX_CONNECTIONS, "N",
     N_("more than this wait in the backlog until one closes\n"
        "(what RLIMIT_NOFILE allows)")},
    {"idle-timeout", OPTION_IDLE_TIMEOUT, "SECONDS",
     N_("end a connection after so long without a byte in\n"
        "either direction; 0 for never (0)")},
    {"drain-timeout", OPTION_DRAIN_TIMEOUT, "SECONDS",
     N_("how long a stop waits for open connections (10)")},
    {"workers", OPTION_WORKERS, "N", N_("threads that serve, at most 64; 0 for one per CPU (1)")},
    {"quiet", 'q', NULL, N_("log warnings only")},
    {"verbose", 'v', NULL, N_("log every detail")},
    {"help", 'h', NULL, N_("show this help and exit")},
    {"version", 'V', NULL, N_("show the version and exit")},
};

enum { OPTION_COUNT = sizeof option_specs / sizeof *option_specs };

/* What may follow a number, and by how much it multiplies the number. */
struct option_unit {
    char letter;
    unsigned factor;
};

static const struct option_unit option_no_units[] = {{'\0', 1}};
static const struct option_unit option_size_units[] = {{'k', 1024}, {'M', 1048576}, {'\0', 1}};
static const struct option_unit option_time_units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'\0', 1}};

/* Options that people know from other daemons, and what they are told here. */
struct option_foreign {
    const char *letters;
    const char *names[4]; /* up to the first NULL */
    const char *advice;
};

static const struct option_foreign option_foreigners[] = {
    {"dD",
     {"daemon", "daemonize", "background"},
     N_("uvechod stays in the foreground; systemd or the shell's '&' starts it in the background")},
    {"cf", {"config", "config-file", "conf"}, N_("there is no configuration file, only options")},
    {"ug",
     {"user", "group"},
     N_("uvechod keeps the user that starts it; uvechod.service has a user of its own")},
    {"P",
     {"pidfile", "pid-file"},
     N_("there is no PID file; systemd and the shell's $! know the process")},
    {"l",
     {"logfile", "log-file", "log"},
     N_("the log goes to standard error; redirect that, or read the journal")},
    {"a", {"host", "listen", "address"}, N_("--bind says which address to listen on")},
    {"t", {"threads"}, N_("--workers says how many threads serve")},
    {"m",
     {"maxconn", "max-clients"},
     N_("--max-connections says how many connections may be open")},
    {"", {"timeout"}, N_("--idle-timeout ends idle connections, --drain-timeout bounds a stop")},
    {"", {"udp"}, N_("UDP is not served, only TCP and Unix sockets")},
};

enum { OPTION_FOREIGNERS = sizeof option_foreigners / sizeof *option_foreigners };

/* What the handling of one option needs to know. */
struct parser {
    struct options *options;
    const struct option_spec *spec;
    FILE *err;
};

/*
 * One line on err: what was wrong, as printf(3), and where help is. What the user typed is part of
 * it, so control characters become '?'. Returns false.
 */
static bool options_complain(FILE *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool options_complain(FILE *err, const char *format, ...)
{
    char line[512];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    for (char *c = line; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    (void)fprintf(err, _("uvechod: %s. Try 'uvechod --help'.\n"), line);
    return false;
}

/* The whole of value as a number in [min, max], with one of the units behind it; else false. */
static bool options_digits(const char *value, int base, const struct option_unit *unit,
                           unsigned long min, unsigned long max, unsigned long *number)
{
    char *end;
    errno = 0;
    *number = strtoul(value, &end, base);
    /* strtoul(3) accepts blanks and signs in front, and so would turn -1 into a large number. */
    if (value[0] < '0' || value[0] > '9' || errno != 0)
        return false;
    while (unit->letter != *end && unit->letter != '\0')
        unit++;
    bool whole = unit->letter == *end && (*end == '\0' || end[1] == '\0');
    if (!whole || *number > max / unit->factor)
        return false;
    *number *= unit->factor;
    return *number >= min;
}

static bool options_number(const struct parser *parser, const char *value, unsigned long min,
                           unsigned long max, unsigned long *number)
{
    if (options_digits(value, 10, option_no_units, min, max, number))
        return true;
    return options_complain(parser->err, _("--%s: '%s' is not a number from %lu to %lu"),
                            parser->spec->name, value, min, max);
}

static bool options_mode(const struct parser *parser, const char *value, mode_t *mode)
{
    unsigned long number;
    bool good = options_digits(value, 8, option_no_units, 0, 0777, &number);
    if (!good)
        (void)options_complain(parser->err, _("--%s: '%s' is not an octal number from 0 to 777"),
                               parser->spec->name, value);
    *mode = (mode_t)number;
    return good;
}

static bool options_seconds(const struct parser *parser, const char *value, unsigned *ms)
{
    unsigned long seconds;
    bool good = options_digits(value, 10, option_time_units, 0, OPTIONS_SECONDS_MAX, &seconds);
    if (!good)
        (void)options_complain(parser->err,
                               _("--%s: '%s' is not a time from 0 to %u seconds, such as 90, 90s, "
                                 "15m or 2h"),
                               parser->spec->name, value, OPTIONS_SECONDS_MAX);
    *ms = (unsigned)seconds * 1000;
    return good;
}

static bool options_chunk(const struct parser *parser, const char *value, size_t *chunk)
{
    unsigned long bytes;
    bool good = options_digits(value, 10, option_size_units, 1, CHUNKS_CHUNK_MAX, &bytes);
    if (!good)
        (void)options_complain(
            parser->err, _("--%s: '%s' is not a size from 1 to %d bytes, such as 1000 or 64k"),
            parser->spec->name, value, CHUNKS_CHUNK_MAX);
    *chunk = bytes;
    return good;
}

/* One more address, or several for a name: returns how many, or 0 after one line on err. */
static int options_find_address(const struct parser *parser, const char *name,
                                union net_addr *addrs, int max)
{
    static const char unix_scheme[] = "unix:";
    if (strncmp(name, unix_scheme, sizeof unix_scheme - 1) == 0) {
        int rc = net_unix(name + sizeof unix_scheme - 1, addrs);
        if (rc == 0)
            return 1;
        (void)options_complain(
            parser->err, _("--%s: '%s' is not the path of a Unix socket: %s"), parser->spec->name,
            name, rc == -ENAMETOOLONG ? _("it is longer than 107 bytes") : _("it is empty"));
        return 0;
    }
    int found = net_resolve(name, addrs, max);
    if (found > 0)
        return found;
    (void)options_complain(parser->err, _("--%s: '%s' is not an IPv4 or IPv6 address or name: %s"),
                           parser->spec->name, name, gai_strerror(found < 0 ? found : EAI_NODATA));
    return 0;
}

static bool options_has_address(const struct endpoints_config *endpoints,
                                const union net_addr *addr)
{
    char text[NET_ADDR_STRLEN];
    char other[NET_ADDR_STRLEN];
    (void)net_format(addr, text);
    for (size_t i = 0; i < endpoints->count; i++)
        if (strcmp(net_format(&endpoints->addrs[i], other), text) == 0)
            return true;
    return false;
}

/*
 * An address that is there already, as when a name and a number mean the same, is not listened on
 * twice. A name with several is not worth failing for one whose family the machine lacks.
 */
static bool options_add_address(const struct parser *parser, const char *name)
{
    struct endpoints_config *endpoints = &parser->options->server.endpoints;
    union net_addr *addrs = parser->options->addrs;
    if (addrs == NULL)
        addrs = parser->options->addrs = calloc(OPTIONS_ADDRS_MAX, sizeof *addrs);
    if (addrs == NULL)
        return options_complain(parser->err, "--%s: %s", parser->spec->name,
                                gai_strerror(EAI_MEMORY));
    endpoints->addrs = addrs;
    union net_addr found[OPTIONS_ADDRS_MAX];
    int count = options_find_address(parser, name, found, OPTIONS_ADDRS_MAX);
    for (int i = 0; i < count; i++) {
        if (options_has_address(endpoints, &found[i]))
            continue;
        if (endpoints->count == OPTIONS_ADDRS_MAX)
            return options_complain(parser->err,
                                    _("--%s: '%s' is one address too many, %d are possible"),
                                    parser->spec->name, name, OPTIONS_ADDRS_MAX);
        if (count > 1)
            endpoints->may_lack |= UINT64_C(1) << endpoints->count;
        addrs[endpoints->count++] = found[i];
    }
    return count > 0;
}

static bool options_prefix(const struct parser *parser, const char *prefix)
{
    struct server_config *server = &parser->options->server;
    server->prefix = prefix;
    server->prefix_len = strlen(prefix);
    if (server->prefix_len <= CHUNKS_PREFIX_MAX)
        return true;
    return options_complain(parser->err, _("--%s: %lu bytes are given, at most %d are possible"),
                            parser->spec->name, (unsigned long)server->prefix_len,
                            CHUNKS_PREFIX_MAX);
}

/* As many as the CPUs that we may run on, if it is left to us. */
static bool options_workers(const struct parser *parser, const char *value, unsigned *workers)
{
    unsigned long number;
    if (!options_number(parser, value, 0, WORKERS_MAX, &number))
        return false;
    if (number == 0)
        number = uv_available_parallelism();
    *workers = number < WORKERS_MAX ? (unsigned)number : WORKERS_MAX;
    return true;
}

/* One option that configures the daemon; false after one line on err. */
static bool options_set(const struct parser *parser, const char *value)
{
    struct server_config *server = &parser->options->server;
    unsigned long number = 0;
    bool good = true;
    switch (parser->spec->value) {
    case 'p':
        good = options_number(parser, value, 0, UINT16_MAX, &number);
        server->endpoints.port = (uint16_t)number;
        parser->options->address_option = parser->spec->name;
        break;
    case 'b':
        good = options_add_address(parser, value);
        parser->options->address_option = parser->spec->name;
        break;
    case OPTION_SOCKET_MODE:
        good = options_mode(parser, value, &server->endpoints.socket_mode);
        break;
    case OPTION_PREFIX:
        good = options_prefix(parser, value);
        break;
    case OPTION_RFC862:
        server->prefix_len = 0;
        break;
    case OPTION_CHUNK:
        good = options_chunk(parser, value, &server->chunk);
        break;
    case OPTION_BACKLOG:
        good = options_number(parser, value, 1, INT_MAX, &number);
        server->endpoints.backlog = (int)number;
        break;
    case OPTION_MAX_CONNECTIONS:
        good = options_number(parser, value, 1, INT_MAX, &number);
        server->max_connections = number;
        break;
    case OPTION_IDLE_TIMEOUT:
        good = options_seconds(parser, value, &server->idle_ms);
        break;
    case OPTION_DRAIN_TIMEOUT:
        good = options_seconds(parser, value, &server->drain_ms);
        break;
    case OPTION_WORKERS:
        good = options_workers(parser, value, &server->workers);
        break;
    case 'q':
        parser->options->log_level = LOG_LEVEL_NOTICE;
        break;
    case 'v':
        parser->options->log_level = LOG_LEVEL_DEBUG;
        break;
    default:
        break;
    }
    return good;
}

/* The left column of --help is as wide as "-p, --drain-timeout=SECONDS". */
static void options_help(FILE *out)
{
    (void)fputs(_("Usage: uvechod [OPTION]...\n"
                  "Answer every chunk that a client sends with a prefix and the chunk.\n\n"),
                out);
    for (const struct option_spec *spec = option_specs; spec < option_specs + OPTION_COUNT;
         spec++) {
        char left[40];
        (void)snprintf(left, sizeof left,
                       spec->value <= UCHAR_MAX ? "-%c, --%s%s%s" : "%c   --%s%s%s",
                       spec->value <= UCHAR_MAX ? spec->value : ' ', spec->name,
                       spec->arg != NULL ? "=" : "", spec->arg != NULL ? spec->arg : "");
        const char *line = _(spec->help);
        for (const char *end; (end = strchr(line, '\n')) != NULL; line = end + 1) {
            (void)fprintf(out, "  %-27s  %.*s\n", left, (int)(end - line), line);
            left[0] = '\0';
        }
        (void)fprintf(out, "  %-27s  %s\n", left, line);
    }
    (void)fputs(
        _("\nThe defaults are in parentheses. SIGTERM, SIGINT and SIGHUP stop the daemon once its\n"
          "connections have ended, a second one at once; SIGUSR1 logs statistics.\n"),
        out);
}

/* Help that could not be written, to a full disk say, is a failure. */
static enum options_outcome options_done(FILE *out, FILE *err)
{
    if (fflush(out) == 0 && ferror(out) == 0)
        return OPTIONS_DONE;
    (void)fprintf(err, _("uvechod: standard output: %s\n"), strerror(errno));
    return OPTIONS_FAILED;
}

static void options_getopt_tables(struct option longs[OPTION_COUNT + 1], char *shorts)
{
    *shorts++ = ':'; /* tell a missing argument from an unknown option */
    for (int i = 0; i < OPTION_COUNT; i++) {
        const struct option_spec *spec = &option_specs[i];
        longs[i] = (struct option){.name = spec->name,
                                   .has_arg = spec->arg != NULL ? required_argument : no_argument,
                                   .val = spec->value};
        if (spec->value > UCHAR_MAX)
            continue;
        *shorts++ = (char)spec->value;
        if (spec->arg != NULL)
            *shorts++ = ':';
    }
    longs[OPTION_COUNT] = (struct option){0};
    *shorts = '\0';
}

static const struct option_spec *options_find(int value)
{
    for (int i = 0; i < OPTION_COUNT; i++)
        if (option_specs[i].value == value)
            return &option_specs[i];
    return NULL;
}

static bool options_is_foreign(const struct option_foreign *foreign, int letter, const char *name,
                               size_t len)
{
    if (letter != 0)
        return strchr(foreign->letters, letter) != NULL;
    for (const char *const *known = foreign->names; *known != NULL; known++)
        if (strlen(*known) == len && strncmp(*known, name, len) == 0)
            return true;
    return false;
}

/* The first byte of text that is not ASCII; the NUL if there is none. */
static const char *options_beyond_ascii(const char *text)
{
    while (*text != '\0' && (unsigned char)*text <= 0x7f)
        text++;
    return text;
}

/* The argument that getopt_long(3) complains of. It has not passed it amid a character of UTF-8. */
static const char *options_culprit(char *const *argv)
{
    bool ascii = optopt >= 0 && optopt <= 0x7f;
    bool amid = !ascii && argv[optind] != NULL && *options_beyond_ascii(argv[optind]) != '\0';
    return argv[amid ? optind : optind - 1];
}

/* Writes "-x" to option, or the whole character of UTF-8 of which getopt_long(3) tells one byte. */
static void options_letter(int letter, const char *argument, char *option, size_t size)
{
    const char *at = options_beyond_ascii(argument);
    int len = 1;
    while (*at != '\0' && ((unsigned char)at[len] & 0xc0) == 0x80)
        len++;
    if (letter > 0 && letter <= 0x7f)
        (void)snprintf(option, size, "-%c", letter);
    else
        (void)snprintf(option, size, "-%.*s", len, at);
}

/* An option that is none of ours: a letter, or an argument that begins with "--" if that is 0. */
static void options_unknown(int letter, const char *argument, FILE *err)
{
    const char *name = letter == 0 ? argument + 2 : "";
    size_t len = strcspn(name, "=");
    char option[64];
    if (letter == 0)
        (void)snprintf(option, sizeof option, "--%.*s", (int)len, name);
    else
        options_letter(letter, argument, option, sizeof option);
    for (int i = 0; i < OPTION_FOREIGNERS; i++)
        if (options_is_foreign(&option_foreigners[i], letter, name, len)) {
            (void)options_complain(err, _("unknown option '%s': %s"), option,
                                   _(option_foreigners[i].advice));
            return;
        }
    if (letter != 0)
        (void)options_complain(err, _("unknown option '%s'"), option);
    else
        (void)options_complain(err, _("unknown or ambiguous option '%s'"), argument);
}

/* getopt_long(3) has found fault with an argument: result is ':' or '?', optopt its option. */
static enum options_outcome options_misuse(int result, const char *argument, FILE *err)
{
    const struct option_spec *spec = options_find(optopt);
    if (spec != NULL && result == ':')
        (void)options_complain(err, _("--%s: %s is missing"), spec->name, spec->arg);
    else if (spec != NULL)
        (void)options_complain(err, _("--%s: takes no value, '%s' has one"), spec->name, argument);
    else
        options_unknown(optopt, argument, err);
    return OPTIONS_ERROR;
}

static void options_defaults(struct options *options)
{
    *options = (struct options){
        .server = {.endpoints = {.port = 25000, .backlog = SOMAXCONN, .socket_mode = 0666},
                   .prefix = "GOT:",
                   .prefix_len = 4,
                   .chunk = 1000,
                   .workers = 1,
                   .drain_ms = 10000},
        .log_level = LOG_LEVEL_INFO,
    };
}

static enum options_outcome options_loop(struct options *options, int argc, char **argv, FILE *out,
                                         FILE *err)
{
    struct option longs[OPTION_COUNT + 1];
    char shorts[2 * OPTION_COUNT + 2];
    options_getopt_tables(longs, shorts);
    optind = 0; /* start anew: glibc and musl take 0 for it, others 1 */
    opterr = 0;
    int result;
    while ((result = getopt_long(argc, argv, shorts, longs, NULL)) != -1) {
        struct parser parser = {.options = options, .spec = options_find(result), .err = err};
        if (parser.spec == NULL)
            return options_misuse(result, options_culprit(argv), err);
        if (result == 'h') {
            options_help(out);
            return options_done(out, err);
        }
        if (result == 'V') {
            (void)fprintf(out, "uvechod %s (libuv %s, %s)\n", UVECHOD_VERSION, uv_version_string(),
                          systemd_supported() ? _("with systemd") : _("without systemd"));
            return options_done(out, err);
        }
        if (!options_set(&parser, optarg))
            return OPTIONS_ERROR;
    }
    int first;
    if (options->address_option != NULL && systemd_sockets(&first, NULL) > 0) {
        (void)options_complain(err,
                               _("--%s: systemd has passed the sockets; change ListenStream= with "
                                 "'systemctl edit uvechod.socket' instead"),
                               options->address_option);
        return OPTIONS_ERROR;
    }
    if (optind < argc) {
        (void)options_complain(err, _("'%s': no argument is expected but options"), argv[optind]);
        return OPTIONS_ERROR;
    }
    return OPTIONS_RUN;
}

enum options_outcome options_parse(struct options *options, int argc, char **argv, FILE *out,
                                   FILE *err)
{
    options_defaults(options);
    enum options_outcome outcome = options_loop(options, argc, argv, out, err);
    if (outcome != OPTIONS_RUN)
        options_free(options);
    return outcome;
}

void options_free(struct options *options)
{
    free(options->addrs);
    options->addrs = NULL;
}
