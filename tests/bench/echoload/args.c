#include "echoload/args.h"

#include "echoload/packet.h"
#include "echoload/verifier.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const mode_names[] = {"pingpong", "bulk", "churn", "idle", NULL};
static const char *const close_names[] = {"half", "full", "reset", NULL};

const char *args_mode_name(enum load_mode mode)
{
    return mode_names[mode];
}

static void args_store(const struct cli *cli, const void *value)
{
    memcpy((char *)cli->target + cli->option->field.offset, value, cli->option->field.size);
}

static enum cli_outcome args_real(const struct cli *cli, const char *value, double min)
{
    char *end;
    double real = strtod(value, &end);
    if (end == value || *end != '\0' || !isfinite(real) || real < min || real > 1e9)
        return cli_complain(cli, "--%s: '%s' is not a number from %g to 1e9", cli->option->name,
                            value, min);
    args_store(cli, &real);
    return CLI_RUN;
}

static enum cli_outcome args_positive(const struct cli *cli, const char *value)
{
    return args_real(cli, value, 0.001);
}

static enum cli_outcome args_not_negative(const struct cli *cli, const char *value)
{
    return args_real(cli, value, 0);
}

static enum cli_outcome args_choice(const struct cli *cli, const char *value,
                                    const char *const *names)
{
    char list[80] = "";
    for (unsigned choice = 0; names[choice] != NULL; choice++) {
        if (strcmp(names[choice], value) == 0) {
            args_store(cli, &choice);
            return CLI_RUN;
        }
        size_t len = strlen(list);
        (void)snprintf(list + len, sizeof list - len, " %s", names[choice]);
    }
    return cli_complain(cli, "--%s: '%s' is not one of%s", cli->option->name, value, list);
}

static enum cli_outcome args_mode(const struct cli *cli, const char *value)
{
    return args_choice(cli, value, mode_names);
}

static enum cli_outcome args_close(const struct cli *cli, const char *value)
{
    return args_choice(cli, value, close_names);
}

static enum cli_outcome args_prefix(const struct cli *cli, const char *prefix)
{
    struct args *args = cli->target;
    args->prefix = prefix;
    args->prefix_len = strlen(prefix);
    if (args->prefix_len <= FORMAT_PREFIX_MAX)
        return CLI_RUN;
    return cli_complain(cli, "--prefix: at most %d bytes are possible", FORMAT_PREFIX_MAX);
}

static enum cli_outcome args_help(const struct cli *cli, const char *value)
{
    (void)value;
    return cli_help(
        cli,
        "Usage: echoload [OPTION]... [HOST:PORT | [IPV6]:PORT | unix:PATH]\n"
        "Put load on an echo server (127.0.0.1:25000) and check every byte of its answers.\n\n",
        "\nThe defaults are in parentheses.\n\n"
        "  pingpong  sends --size bytes, --depth times, and the next for each that is answered\n"
        "  bulk      sends and receives on every connection as fast as it goes\n"
        "  churn     connects, sends one message, takes the answer, closes, and again\n"
        "  idle      connects and waits, for --duration or until standard input ends\n\n"
        "A latency is that of a message (churn: of a connection). In the open loop it begins when\n"
        "the message had to be sent. The exit code is 1 after a connection that failed or a byte\n"
        "that was wrong, missing or surplus, and 2 after wrong usage. With --udp, losses,\n"
        "duplicates and a changed order are reported; the exit code is 1 after a wrong answer, or\n"
        "without any.\n");
}

static enum cli_outcome args_version(const struct cli *cli, const char *value)
{
    (void)value;
    (void)fputs("echoload " UVECHOD_VERSION "\n", cli->out);
    return cli_done(cli);
}

#define FIELD(member) CLI_FIELD(struct args, member)
#define NO_FIELD                                                                                   \
    {                                                                                              \
        0, 0                                                                                       \
    }

static const struct cli_option args_table[] = {
    {"mode", 'm', "MODE", args_mode, FIELD(mode), 0, 0,
     "pingpong, bulk, churn or idle, see below (pingpong)"},
    {"connections", 'c', "N", cli_number, FIELD(connections), 1, 4000000,
     "connections at once (1)"},
    {"size", 's', "BYTES", cli_number, FIELD(size), 1, 1 << 30, "bytes of a message (64)"},
    {"depth", 'd', "N", cli_number, FIELD(depth), 1, 65536,
     "messages under way per connection (1)"},
    {"duration", 't', "SECONDS", args_positive, FIELD(seconds), 0, 0,
     "how long to measure (5, if there is no --count)"},
    {"count", 'n', "N", cli_number, FIELD(count), 1, INT64_MAX,
     "end after N messages, connections (churn) or bytes (bulk)"},
    {"warmup", 'w', "SECONDS", args_not_negative, FIELD(warmup), 0, 0,
     "how long to run before the measurement (0)"},
    {"rate", 'r', "N", args_positive, FIELD(rate), 0, 0,
     "open loop: N messages per second over all connections,\n"
     "each sent at its time, even if answers are missing"},
    {"prefix", 0, "TEXT", args_prefix, NO_FIELD, 0, 0,
     "expect TEXT before each chunk, at most 255 bytes (GOT:)"},
    {"chunk", 0, "BYTES", cli_number, FIELD(chunk), 1, INT_MAX,
     "the longest chunk to expect after a prefix (1000)"},
    {"rfc862", 0, NULL, cli_constant, FIELD(prefix_len), 0, 0,
     "expect a verbatim echo: an empty prefix"},
    {"sources", 0, "N", cli_number, FIELD(target.sources), 1, TARGET_SOURCES_MAX,
     "connect from 127.0.0.1 and the N-1 addresses after it"},
    {"connecting", 0, "N", cli_number, FIELD(connecting), 1, 65536,
     "at most N connect, or echo at the end, at once (64)"},
    {"close", 0, "HOW", args_close, FIELD(close), 0, 0,
     "half: end our side, read to the end of theirs; full:\n"
     "close after the last answer; reset: full, with a reset (half)"},
    {"echo-first", 0, NULL, cli_constant, FIELD(echo_first), true, 0,
     "idle: a message on each connection at the beginning"},
    {"echo-last", 0, NULL, cli_constant, FIELD(echo_last), true, 0,
     "idle: a message on each connection at the end"},
    {"server-ends", 0, NULL, cli_constant, FIELD(server_ends), true, 0,
     "idle: the server may end a connection when it has\n"
     "answered all, but not with a reset"},
    {"timeout", 0, "SECONDS", args_positive, FIELD(timeout), 0, 0,
     "fail after this time without a byte of a missing answer (10);\n"
     "UDP: a datagram without an answer is lost then (1)"},
    {"udp", 'u', NULL, cli_constant, FIELD(udp), true, 0,
     "a message is a datagram, a connection is a UDP socket"},
    {"gso", 0, NULL, cli_constant, FIELD(gso), true, 0,
     "UDP: send and receive many datagrams of a socket as one"},
    {"pid", 0, "PID", cli_number, FIELD(pid), 1, INT_MAX,
     "report the CPU time of this process, too: the server"},
    {"json", 'j', NULL, cli_constant, FIELD(json), true, 0, "report in JSON"},
    {"help", 'h', NULL, args_help, NO_FIELD, 0, 0, "show this help and exit"},
    {"version", 'V', NULL, args_version, NO_FIELD, 0, 0, "show the version and exit"},
};

/* The address to connect to: one operand at most. */
static enum cli_outcome args_operands(const struct cli *cli, struct args *args)
{
    char *const *operands = cli->operands;
    const char *text = operands[0] != NULL ? operands[0] : "127.0.0.1:25000";
    const char *wrong = target_parse(&args->target, text);
    if (wrong != NULL)
        return cli_complain(cli, "'%s' is no address: %s", text, wrong);
    if (operands[0] != NULL && operands[1] != NULL)
        return cli_complain(cli, "'%s': one address is expected", operands[1]);
    return CLI_RUN;
}

/* More datagrams under way could not be told apart by their only byte. */
enum { ARGS_UDP_DEPTH_OF_A_BYTE = 128 };

static const char *args_check_udp(const struct args *args)
{
    if (!args->udp)
        return args->gso ? "--gso goes with --udp" : NULL;
    if (args->mode != MODE_PINGPONG)
        return "--udp goes with --mode=pingpong";
    if (args->target.addr.sa.sa_family == AF_UNIX)
        return "--udp needs an IPv4 or IPv6 address to connect to";
    if (args->size + args->prefix_len > PACKET_MAX)
        return "--udp: --size and the prefix together are more than 65507 bytes";
    if (args->size == 1 && args->depth > ARGS_UDP_DEPTH_OF_A_BYTE)
        return "--udp: --depth is at most 128 if --size is 1";
    return NULL;
}

/* What is wrong only in connection with another option. */
static enum cli_outcome args_check(const struct cli *cli, struct args *args)
{
    const char *wrong = args_check_udp(args);
    if (args->rate > 0 && args->mode != MODE_PINGPONG)
        wrong = "--rate goes with --mode=pingpong";
    else if (args->rate > 0 && args->depth > 1)
        wrong = "--rate and --depth exclude each other: a message is sent when its time has come";
    else if (args->target.sources > 0 && args->target.addr.sa.sa_family != AF_INET)
        wrong = "--sources needs an IPv4 address to connect to";
    else if (args->mode == MODE_IDLE && args->count > 0)
        wrong = "--count has no meaning with --mode=idle";
    else if (args->mode != MODE_IDLE && (args->echo_first || args->echo_last))
        wrong = "--echo-first and --echo-last go with --mode=idle";
    else if (args->mode != MODE_IDLE && args->server_ends)
        wrong = "--server-ends goes with --mode=idle";
    else if (args->server_ends && args->echo_last)
        wrong = "--server-ends and --echo-last exclude each other";
    if (wrong != NULL)
        return cli_complain(cli, "%s", wrong);
    if (args->timeout <= 0)
        args->timeout = args->udp ? 1 : 10;
    if (args->count == 0 && args->seconds <= 0 && args->mode != MODE_IDLE)
        args->seconds = 5;
    return CLI_RUN;
}

enum cli_outcome args_parse(struct args *args, int argc, char **argv, FILE *out, FILE *err)
{
    struct cli cli = {.program = "echoload",
                      .options = args_table,
                      .count = sizeof args_table / sizeof *args_table,
                      .target = args,
                      .out = out,
                      .err = err};
    *args = (struct args){.connections = 1,
                          .connecting = 64,
                          .size = 64,
                          .depth = 1,
                          .prefix = "GOT:",
                          .prefix_len = 4,
                          .chunk = 1000};
    enum cli_outcome outcome = cli_parse(&cli, argc, argv);
    if (outcome == CLI_RUN)
        outcome = args_operands(&cli, args);
    return outcome == CLI_RUN ? args_check(&cli, args) : outcome;
}
