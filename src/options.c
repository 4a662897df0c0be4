#include "options.h"

#include "base/i18n.h"
#include "os/http.h"
#include "os/systemd.h"
#include "server/workers.h"

#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <uv.h>

enum {
    OPTIONS_SECONDS_MAX = UINT_MAX / 1000 - 1, /* 49 days: what fits in milliseconds */
    OPTIONS_KEEPALIVE_MAX = 32767,             /* what the kernel takes as TCP_KEEPIDLE */
    OPTIONS_BUSY_MAX = 1000000                 /* a second: longer is for ever, with a probe each */
};

static enum cli_outcome options_port(const struct cli *cli, const char *value)
{
    struct options *options = cli->target;
    options->server.address_option = cli->option->name;
    return cli_number(cli, value);
}

/* Writes the addresses of name to addrs. Returns how many, or 0 after one line on err. */
static int options_find_address(const struct cli *cli, const char *name, union net_addr *addrs,
                                int max)
{
    static const char unix_scheme[] = "unix:";
    if (strncmp(name, unix_scheme, sizeof unix_scheme - 1) == 0) {
        int rc = net_unix(name + sizeof unix_scheme - 1, addrs);
        if (rc == 0)
            return 1;
        (void)cli_complain(
            cli, _("--%s: '%s' is not the path of a Unix socket: %s"), cli->option->name, name,
            rc == -ENAMETOOLONG ? _("it is longer than 107 bytes") : _("it is empty"));
        return 0;
    }
    int found = net_resolve(name, addrs, max);
    if (found > 0)
        return found;
    (void)cli_complain(cli, _("--%s: '%s' is not an IPv4 or IPv6 address or name: %s"),
                       cli->option->name, name, gai_strerror(found < 0 ? found : EAI_NODATA));
    return 0;
}

static bool options_has_address(const struct endpoints_config *endpoints,
                                const union net_addr *addr)
{
    char text[NET_ADDR_STRLEN];
    char other[NET_ADDR_STRLEN];
    (void)net_format(addr, text);
    for (size_t i = 0; i < endpoints->count; i++)
        if (strcmp(net_format(&endpoints->addrs[i].addr, other), text) == 0)
            return true;
    return false;
}

/*
 * An address that is there already is not added again: a name and a number may mean the same
 * address. If a name has several addresses, the start must not fail because the machine lacks the
 * family of one of them.
 */
static enum cli_outcome options_bind(const struct cli *cli, const char *name)
{
    struct options *options = cli->target;
    struct endpoints_config *endpoints = &options->server.endpoints;
    union net_addr found[OPTIONS_ADDRS_MAX];
    options->server.address_option = cli->option->name;
    int count = options_find_address(cli, name, found, OPTIONS_ADDRS_MAX);
    for (int i = 0; i < count; i++) {
        if (options_has_address(endpoints, &found[i]))
            continue;
        if (endpoints->count == OPTIONS_ADDRS_MAX)
            return cli_complain(cli, _("--%s: '%s' is one address too many, %d are possible"),
                                cli->option->name, name, OPTIONS_ADDRS_MAX);
        options->addrs[endpoints->count++] = (struct endpoint_addr){found[i], count > 1};
    }
    return count > 0 ? CLI_RUN : CLI_MISUSE;
}

static enum cli_outcome options_proxy_from(const struct cli *cli, const char *value)
{
    struct options *options = cli->target;
    struct proxy_rules *proxies = &options->server.proxies;
    struct cidr cidr;
    if (strcmp(value, "unix") == 0) {
        proxies->local = true;
        return CLI_RUN;
    }
    if (cidr_parse(&cidr, value) < 0)
        return cli_complain(cli,
                            _("--%s: '%s' is not an IPv4 or IPv6 address or network, such as "
                              "192.0.2.0/24, or 'unix'"),
                            cli->option->name, value);
    if (proxies->count == OPTIONS_PROXIES_MAX)
        return cli_complain(cli, _("--%s: '%s' is one network too many, %d are possible"),
                            cli->option->name, value, OPTIONS_PROXIES_MAX);
    options->proxies[proxies->count++] = cidr;
    return CLI_RUN;
}

/* Splits "name:port", or "[address]:port", at the last colon. Returns false if there is no port. */
static bool options_split(char *text, char **name, uint16_t *port)
{
    char *end;
    char *colon = strrchr(text, ':');
    if (colon == NULL || colon[1] < '0' || colon[1] > '9')
        return false;
    unsigned long number = strtoul(colon + 1, &end, 10);
    if (*end != '\0' || number > UINT16_MAX)
        return false;
    *port = (uint16_t)number;
    *colon = '\0';
    *name = text;
    if (*text == '[' && colon[-1] == ']') { /* colon is not the first byte */
        *name = text + 1;
        colon[-1] = '\0';
    }
    return true;
}

/* One address, the first one of a name. */
static enum cli_outcome options_metrics(const struct cli *cli, const char *value)
{
    struct options *options = cli->target;
    struct endpoints_config *metrics = &options->server.metrics;
    union net_addr found[OPTIONS_ADDRS_MAX];
    char text[256];
    char *name = text;
    (void)snprintf(text, sizeof text, "%s", value);
    if (!http_supported())
        return cli_complain(cli, _("--%s: this build has no libmicrohttpd, which serves metrics"),
                            cli->option->name);
    if (strncmp(value, "unix:", 5) != 0 &&
        (strlen(value) >= sizeof text || !options_split(text, &name, &metrics->port)))
        return cli_complain(cli, _("--%s: '%s' is not ADDRESS:PORT, [IPv6]:PORT or unix:PATH"),
                            cli->option->name, value);
    if (options_find_address(cli, name, found, OPTIONS_ADDRS_MAX) == 0)
        return CLI_MISUSE;
    options->metrics = (struct endpoint_addr){.addr = found[0]};
    metrics->count = 1;
    return CLI_RUN;
}

static enum cli_outcome options_prefix(const struct cli *cli, const char *prefix)
{
    struct options *options = cli->target;
    size_t len = strlen(prefix);
    if (len > CHUNKS_PREFIX_MAX)
        return cli_complain(cli, _("--%s: %lu bytes are given, at most %d are possible"),
                            cli->option->name, (unsigned long)len, CHUNKS_PREFIX_MAX);
    options->echo.prefix = prefix;
    options->echo.prefix_len = len;
    return CLI_RUN;
}

static enum cli_outcome options_udp(const struct cli *cli, const char *value)
{
    struct endpoints_config *endpoints = &((struct options *)cli->target)->server.endpoints;
    if (value != NULL && strcmp(value, "only") != 0)
        return cli_complain(cli, _("--%s: '%s' is not 'only', and nothing else may be said"),
                            cli->option->name, value);
    endpoints->udp = value != NULL ? ENDPOINTS_UDP_ONLY : ENDPOINTS_UDP_TOO;
    return CLI_RUN;
}

/* A Unix address is for streams. What would be bound for datagrams only systemd can pass. */
static enum cli_outcome options_check_udp(const struct cli *cli,
                                          const struct endpoints_config *endpoints)
{
    size_t local = 0;
    for (size_t i = 0; i < endpoints->count; i++)
        local += endpoints->addrs[i].addr.sa.sa_family == AF_UNIX;
    if (local == 0 || endpoints->udp == ENDPOINTS_UDP_NONE)
        return CLI_RUN;
    if (endpoints->udp == ENDPOINTS_UDP_ONLY)
        return cli_complain(cli, _("--udp=only: a Unix socket of --bind gets no datagrams"));
    if (local == endpoints->count)
        return cli_complain(cli,
                            _("--udp: --bind gives no IPv4 or IPv6 address, only Unix sockets"));
    return CLI_RUN;
}

/* 0 stands for the number of CPUs that the process may run on. */
static enum cli_outcome options_workers(const struct cli *cli, const char *value)
{
    unsigned *workers = &((struct options *)cli->target)->server.workers;
    enum cli_outcome outcome = cli_number(cli, value);
    if (*workers == 0)
        *workers = uv_available_parallelism();
    if (*workers > WORKERS_MAX)
        *workers = WORKERS_MAX;
    return outcome;
}

static enum cli_outcome options_help(const struct cli *cli, const char *value)
{
    (void)value;
    return cli_help(
        cli,
        _("Usage: uvechod [OPTION]...\n"
          "Answer every chunk that a client sends with a prefix and the chunk.\n\n"),
        _("\nThe defaults are in parentheses. SIGTERM, SIGINT or SIGHUP stops the daemon when its\n"
          "connections have ended, a second signal at once; SIGUSR1 logs statistics.\n"
          "SIGUSR2 executes the program again, which goes on with every connection.\n"));
}

static enum cli_outcome options_version(const struct cli *cli, const char *value)
{
    (void)value;
    (void)fprintf(cli->out, "uvechod %s (libuv %s, %s)\n", UVECHOD_VERSION, uv_version_string(),
                  systemd_supported() ? _("with systemd") : _("without systemd"));
    return cli_done(cli);
}

#define FIELD(member) CLI_FIELD(struct options, member)
#define NO_FIELD                                                                                   \
    {                                                                                              \
        0, 0                                                                                       \
    }

static const struct cli_option options_table[] = {
    {"port", 'p', "PORT", options_port, FIELD(server.endpoints.port), 0, UINT16_MAX,
     N_("listen on PORT, 0 to 65535; 0 takes a free one (25000)")},
    {"bind", 'b', "ADDRESS", options_bind, NO_FIELD, 0, 0,
     N_("listen on this IPv4 or IPv6 address, or name, or on\n"
        "unix:/path or unix:@abstract; may be given several\n"
        "times (every IPv4 and IPv6 address)")},
    {"socket-mode", 0, "MODE", cli_octal, FIELD(server.endpoints.socket_mode), 0, 0777,
     N_("permissions of the files of Unix sockets, octal (0666)")},
    {"prefix", 0, "TEXT", options_prefix, NO_FIELD, 0, 0,
     N_("put TEXT before each chunk, at most 255 bytes; empty\n"
        "for none (GOT:)")},
    {"chunk", 0, "BYTES", cli_bytes, FIELD(echo.chunk), 1, CHUNKS_CHUNK_MAX,
     N_("the largest chunk, 1 to 65536 or 64k bytes (1000)")},
    {"rfc862", 0, NULL, cli_constant, FIELD(echo.prefix_len), 0, 0,
     N_("echo verbatim, as RFC 862 asks: an empty prefix")},
    {"backlog", 0, "N", cli_number, FIELD(server.endpoints.backlog), 1, INT_MAX,
     N_("connections that may wait to be accepted (SOMAXCONN)")},
    {"max-connections", 0, "N", cli_number, FIELD(server.max_connections), 1, INT_MAX,
     N_("serve at most N connections at once; more wait in the\n"
        "backlog (what RLIMIT_NOFILE allows)")},
    {"max-per-source", 0, "N", cli_number, FIELD(server.max_per_source), 0, INT_MAX,
     N_("serve at most N connections of one IPv4 address, IPv6\n"
        "/64 network or local user at once; more are closed;\n"
        "0 for no limit (0)")},
    {"max-rate", 0, "N", cli_number, FIELD(server.max_rate), 0, INT_MAX,
     N_("accept at most N connections a second; more wait in\n"
        "the backlog; 0 for no limit (0)")},
    {"idle-timeout", 0, "SECONDS", cli_milliseconds, FIELD(server.idle_ms), 0, OPTIONS_SECONDS_MAX,
     N_("end a connection after this time without a byte in\n"
        "either direction; 0 for never (0)")},
    {"send-timeout", 0, "SECONDS", cli_milliseconds, FIELD(server.send_ms), 0, OPTIONS_SECONDS_MAX,
     N_("end a connection whose client has not taken a byte of\n"
        "what it is sent for this time; 0 for never (0)")},
    {"drain-timeout", 0, "SECONDS", cli_milliseconds, FIELD(server.drain_ms), 0,
     OPTIONS_SECONDS_MAX, N_("how long a stop waits for open connections (10)")},
    {"proxy-from", 0, "CIDR", options_proxy_from, NO_FIELD, 0, 0,
     N_("connections from this address or network, or 'unix' for\n"
        "Unix sockets, begin with a header of the PROXY protocol;\n"
        "may be given several times (none)")},
    {"proxy-timeout", 0, "SECONDS", cli_milliseconds, FIELD(server.proxies.timeout_ms), 1,
     OPTIONS_SECONDS_MAX, N_("how long such a header may take (10)")},
    {"keepalive", 0, "SECONDS", cli_seconds, FIELD(server.endpoints.keepalive_s), 0,
     OPTIONS_KEEPALIVE_MAX,
     N_("probe a TCP client after this time without a packet; end\n"
        "the connection if no answer comes; 0 for never (60)")},
    {"workers", 0, "N", options_workers, FIELD(server.workers), 0, WORKERS_MAX,
     N_("threads that serve, at most 64; 0 for one per CPU (1)")},
    {"busy-poll", 0, "MICROSECONDS", cli_number, FIELD(server.busy_us), 0, OPTIONS_BUSY_MAX,
     N_("after a message, poll for so long instead of sleeping:\n"
        "the lowest latency, for CPU time; 0 to 1000000 (0)")},
    {"udp", 0, "[=only]", options_udp, NO_FIELD, 0, 0,
     N_("answer datagrams, too, at the same addresses and port;\n"
        "with =only there is no TCP")},
    {"udp-any-source", 0, NULL, cli_constant, FIELD(server.datagrams.any_source), true, 0,
     N_("answer datagrams from ports below 1024 and 2049, too:\n"
        "for closed networks only, as other servers are there")},
    {"udp-rate", 0, "N", cli_number, FIELD(server.datagrams.rate), 0, RATES_MAX,
     N_("answer at most N datagrams a second of one IPv4\n"
        "address or IPv6 /64 network; 0 for no limit (1000)")},
    {"keep", 0, NULL, cli_constant, FIELD(keep), true, 0,
     N_("a crash ends no connection: a second process keeps them\n"
        "for a successor")},
    {"metrics", 0, "ADDRESS", options_metrics, NO_FIELD, 0, 0,
     N_("serve statistics for Prometheus by HTTP at ADDRESS:PORT,\n"
        "or at unix:/path or unix:@abstract (nowhere)")},
    {"check-handover", 0, NULL, cli_constant, FIELD(check_handover), true, 0,
     N_("for the running daemon only, before it is upgraded: say\n"
        "whether this program could go on with its connections")},
    {"quiet", 'q', NULL, cli_constant, FIELD(log_level), LOG_LEVEL_NOTICE, 0,
     N_("log warnings only")},
    {"verbose", 'v', NULL, cli_constant, FIELD(log_level), LOG_LEVEL_DEBUG, 0,
     N_("log every detail")},
    {"help", 'h', NULL, options_help, NO_FIELD, 0, 0, N_("show this help and exit")},
    {"version", 'V', NULL, options_version, NO_FIELD, 0, 0, N_("show the version and exit")},
};

/* Options that people know from other daemons, and what to do here instead. */
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
    {"", {"timeout"}, N_("--idle-timeout ends idle connections, --drain-timeout limits a stop")},
};

static bool options_is_foreign(const struct option_foreign *foreign, int letter, const char *name,
                               size_t len)
{
    if (letter != 0)
        return letter <= 0x7f && strchr(foreign->letters, letter) != NULL;
    for (const char *const *known = foreign->names; *known != NULL; known++)
        if (strlen(*known) == len && strncmp(*known, name, len) == 0)
            return true;
    return false;
}

static const char *options_advise(int letter, const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof option_foreigners / sizeof *option_foreigners; i++)
        if (options_is_foreign(&option_foreigners[i], letter, name, len))
            return _(option_foreigners[i].advice);
    return NULL;
}

static void options_defaults(struct options *options)
{
    *options = (struct options){
        .server = {.endpoints = {.addrs = options->addrs,
                                 .port = 25000,
                                 .backlog = SOMAXCONN,
                                 .socket_mode = 0666,
                                 .keepalive_s = 60},
                   .metrics = {.addrs = &options->metrics},
                   .version = UVECHOD_VERSION,
                   .workers = 1,
                   .proxies = {.from = options->proxies, .timeout_ms = 10000},
                   .datagrams = {.rate = 1000},
                   .drain_ms = 10000},
        .echo = {.prefix = "GOT:", .prefix_len = 4, .chunk = 1000},
        .log_level = LOG_LEVEL_INFO,
    };
}

enum cli_outcome options_parse(struct options *options, int argc, char **argv, FILE *out, FILE *err)
{
    struct cli cli = {.program = "uvechod",
                      .options = options_table,
                      .count = sizeof options_table / sizeof *options_table,
                      .target = options,
                      .out = out,
                      .err = err,
                      .advise = options_advise};
    options_defaults(options);
    enum cli_outcome outcome = cli_parse(&cli, argc, argv);
    if (outcome == CLI_RUN && *cli.operands != NULL)
        return cli_complain(&cli, _("'%s': only options are expected"), *cli.operands);
    options->server.endpoints.workers = options->server.workers;
    options->server.datagrams.prefix = options->echo.prefix;
    options->server.datagrams.prefix_len = options->echo.prefix_len;
    return outcome == CLI_RUN ? options_check_udp(&cli, &options->server.endpoints) : outcome;
}
