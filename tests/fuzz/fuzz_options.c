/*
 * fuzz_options.c - the command line. The input is a byte and the arguments, each ended by a NUL;
 * the lowest bit of the byte makes standard output fail. Every command line must lead to one clear
 * outcome. If all arguments have the form --name=number, a model says which outcome that is, and
 * which numbers are stored.
 *
 * No input may ask the network, so getaddrinfo() is told that names are numeric. The name that a
 * machine with many addresses has is made up here.
 */
#include "options.h"

#include "fuzz/fuzz.h"

#include "server/workers.h"

#include <arpa/inet.h>
#include <limits.h>
#include <netdb.h>

enum { ARGS_MAX = 100 };

static const char many_name[] = "many.test"; /* has MANY_ADDRESSES addresses */
enum { MANY_ADDRESSES = 40 };

int __real_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                       struct addrinfo **found);
int __wrap_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                       struct addrinfo **found);
int __real_net_resolve(const char *name, union net_addr *addrs, int max);
int __wrap_net_resolve(const char *name, union net_addr *addrs, int max);

int __wrap_getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                       struct addrinfo **found)
{
    struct addrinfo numeric = *hints;
    numeric.ai_flags |= AI_NUMERICHOST;
    return __real_getaddrinfo(name, service, &numeric, found);
}

int __wrap_net_resolve(const char *name, union net_addr *addrs, int max)
{
    if (strcmp(name, many_name) != 0)
        return __real_net_resolve(name, addrs, max);
    int count = MANY_ADDRESSES < max ? MANY_ADDRESSES : max;
    for (int i = 0; i < count; i++) {
        addrs[i] = net_any(AF_INET);
        addrs[i].in.sin_addr.s_addr = htonl(0xc0000200U + (unsigned)i); /* 192.0.2.0/24 */
    }
    return count;
}

/* A command line and what came of it. */
struct run {
    bool out_fails;
    bool utf8; /* all arguments are UTF-8 */
    int argc;
    char *args[ARGS_MAX + 1]; /* as they were given */
    char *argv[ARGS_MAX + 1]; /* the same, which may be permuted */
    enum cli_outcome outcome;
    struct options options;
    char *out;
    char *err;
    size_t out_size;
    size_t err_size;
};

/* ---- the model of --name=number ---- */

struct row {
    const char *name;
    struct cli_field field;
    uint64_t min;
    uint64_t max;
    const char *units; /* letters that may follow the number */
    unsigned base;
    unsigned scale; /* of what is stored */
};

#define ROW_FIELD(member) CLI_FIELD(struct options, member)

/* As the manual page has them. */
static const struct row rows[] = {
    {"port", ROW_FIELD(server.endpoints.port), 0, 65535, "", 10, 1},
    {"socket-mode", ROW_FIELD(server.endpoints.socket_mode), 0, 0777, "", 8, 1},
    {"chunk", ROW_FIELD(echo.chunk), 1, 65536, "kM", 10, 1},
    {"backlog", ROW_FIELD(server.endpoints.backlog), 1, INT_MAX, "", 10, 1},
    {"max-connections", ROW_FIELD(server.max_connections), 1, INT_MAX, "", 10, 1},
    {"idle-timeout", ROW_FIELD(server.idle_ms), 0, 4294966, "smh", 10, 1000},
    {"drain-timeout", ROW_FIELD(server.drain_ms), 0, 4294966, "smh", 10, 1000},
    {"keepalive", ROW_FIELD(server.endpoints.keepalive_s), 0, 32767, "smh", 10, 1},
    {"busy-poll", ROW_FIELD(server.busy_us), 0, 1000000, "", 10, 1},
};

enum { ROWS = sizeof rows / sizeof *rows };

static uint64_t unit_factor(char letter)
{
    static const char letters[] = "smhkM";
    static const unsigned factors[] = {1, 60, 3600, 1024, 1048576};
    return factors[strchr(letters, letter) - letters];
}

/* Stores the number that text stands for, by the long way; false if it is none within the bounds.
 */
static bool row_value(const struct row *row, const char *text, uint64_t *value)
{
    uint64_t number = 0;
    size_t digits = 0;
    for (; text[digits] >= '0' && text[digits] < '0' + (char)row->base; digits++)
        if (number <= row->max) /* larger numbers are all the same, and must not overflow */
            number = number * row->base + (uint64_t)(text[digits] - '0');
    const char *unit = text + digits;
    if (digits == 0 || (*unit != '\0' && (strchr(row->units, *unit) == NULL || unit[1] != '\0')))
        return false;
    number *= *unit != '\0' ? unit_factor(*unit) : 1;
    *value = number * row->scale;
    return number >= row->min && number <= row->max;
}

static uint64_t row_stored(const struct row *row, const struct options *options)
{
    const char *field = (const char *)options + row->field.offset;
    uint8_t n8;
    uint16_t n16;
    uint32_t n32;
    uint64_t n64;
    switch (row->field.size) {
    case sizeof n8:
        return memcpy(&n8, field, sizeof n8), n8;
    case sizeof n16:
        return memcpy(&n16, field, sizeof n16), n16;
    case sizeof n32:
        return memcpy(&n32, field, sizeof n32), n32;
    default:
        CHECK(row->field.size == sizeof n64);
        return memcpy(&n64, field, sizeof n64), n64;
    }
}

/* The row whose name argument gives as --name=, with the text behind that; NULL for any other. */
static const struct row *row_find(const char *argument, const char **text)
{
    const char *equals = strchr(argument, '=');
    if (equals == NULL || strncmp(argument, "--", 2) != 0)
        return NULL;
    size_t len = (size_t)(equals - argument) - 2;
    *text = equals + 1;
    for (size_t i = 0; i < ROWS; i++)
        if (strlen(rows[i].name) == len && strncmp(rows[i].name, argument + 2, len) == 0)
            return &rows[i];
    return NULL;
}

/* Compares with the model, if the model knows all arguments. */
static void check_model(const struct run *run)
{
    uint64_t expected[ROWS];
    bool given[ROWS] = {false};
    const char *text;
    for (int i = 1; i < run->argc; i++) {
        const struct row *row = row_find(run->args[i], &text);
        if (row == NULL)
            return;
        if (!row_value(row, text, &expected[row - rows])) {
            CHECK(run->outcome == CLI_MISUSE); /* and what follows is not looked at */
            return;
        }
        given[row - rows] = true;
    }
    CHECK(run->outcome == CLI_RUN);
    for (size_t i = 0; i < ROWS; i++)
        if (given[i])
            CHECK(row_stored(&rows[i], &run->options) == expected[i]);
}

/* ---- what holds for every command line ---- */

static void check_addresses(const struct endpoints_config *endpoints)
{
    char text[OPTIONS_ADDRS_MAX][NET_ADDR_STRLEN];
    CHECK(endpoints->count <= OPTIONS_ADDRS_MAX);
    for (size_t i = 0; i < endpoints->count; i++) {
        sa_family_t family = endpoints->addrs[i].addr.sa.sa_family;
        CHECK(family == AF_INET || family == AF_INET6 || family == AF_UNIX);
        CHECK(strlen(net_format(&endpoints->addrs[i].addr, text[i])) < NET_ADDR_STRLEN);
        for (size_t j = 0; j < i; j++)
            CHECK(strcmp(text[i], text[j]) != 0);
    }
}

static void check_run(const struct run *run)
{
    const struct options *options = &run->options;
    CHECK(run->out_size == 0 && run->err_size == 0);
    for (size_t i = 0; i < ROWS; i++) {
        uint64_t number = row_stored(&rows[i], options);
        CHECK(number % rows[i].scale == 0 && number / rows[i].scale <= rows[i].max);
        /* The default of --max-connections, 0, stands for another limit. */
        CHECK(number >= rows[i].min || strcmp(rows[i].name, "max-connections") == 0);
    }
    CHECK(options->server.workers >= 1 && options->server.workers <= WORKERS_MAX);
    CHECK(options->echo.prefix_len <= CHUNKS_PREFIX_MAX);
    CHECK(options->echo.prefix_len == 0 ||
          options->echo.prefix_len == strlen(options->echo.prefix));
    CHECK(options->log_level == LOG_LEVEL_NOTICE || options->log_level == LOG_LEVEL_INFO ||
          options->log_level == LOG_LEVEL_DEBUG);
    CHECK(options->server.endpoints.addrs == options->addrs);
    CHECK(options->server.endpoints.count == 0 || options->server.address_option != NULL);
    check_addresses(&options->server.endpoints);
}

/* One line that begins with the program's name, in UTF-8 if the arguments are. */
static void check_complaint(const struct run *run)
{
    static const char head[] = "uvechod: ";
    CHECK(run->out_size == 0);
    CHECK(strncmp(run->err, head, sizeof head - 1) == 0);
    CHECK(run->err_size > sizeof head && fuzz_is_line(run->err, run->err_size));
    CHECK(!run->utf8 || fuzz_is_utf8(run->err));
}

static void check_outcome(const struct run *run)
{
    switch (run->outcome) {
    case CLI_RUN:
        check_run(run);
        break;
    case CLI_DONE:
        CHECK(!run->out_fails && run->err_size == 0);
        CHECK(run->out_size > 0 && run->out[run->out_size - 1] == '\n');
        break;
    case CLI_FAILED:
        CHECK(run->out_fails);
        check_complaint(run);
        break;
    default:
        CHECK(run->outcome == CLI_MISUSE);
        check_complaint(run);
        break;
    }
}

/* ---- a run ---- */

static void take_arguments(struct run *run, struct fuzz *fuzz)
{
    static char name[] = "uvechod";
    run->utf8 = true;
    run->args[run->argc++] = name;
    while (fuzz->left > 0 && run->argc < ARGS_MAX) {
        char *argument = fuzz_string(fuzz);
        run->utf8 = run->utf8 && fuzz_is_utf8(argument);
        run->args[run->argc++] = argument;
    }
    memcpy(run->argv, run->args, sizeof run->argv);
}

static void parse(struct run *run)
{
    FILE *out =
        run->out_fails ? fopen("/dev/full", "w") : open_memstream(&run->out, &run->out_size);
    FILE *err = open_memstream(&run->err, &run->err_size);
    CHECK(out != NULL && err != NULL);
    memset(&run->options, 0xa5, sizeof run->options); /* whatever the caller's stack holds */
    run->outcome = options_parse(&run->options, run->argc, run->argv, out, err);
    (void)fclose(out);
    (void)fclose(err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz fuzz = {data, size};
    struct run run = {.out_fails = (fuzz_byte(&fuzz) & 1) != 0};
    take_arguments(&run, &fuzz);
    parse(&run);
    check_outcome(&run);
    check_model(&run);
    while (run.argc > 1)
        free(run.args[--run.argc]);
    free(run.out);
    free(run.err);
    return 0;
}
