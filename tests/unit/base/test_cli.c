/*
 * cli.c: what each setter stores, in fields of each size, and what ends the parsing. How options
 * are written and what is said of wrong ones is tested with the daemon's own table
 * (test_options.c).
 */
#include "base/cli.h"

#include "unit/support.h"

#include <stdlib.h>

/* The fields have neighbours, which must stay as they are. */
struct fields {
    uint8_t before;
    bool flag;
    uint8_t after;
    uint16_t port;
    uint16_t beside;
    int number;
    unsigned mode;
    size_t bytes;
    uint64_t most;
    unsigned seconds;
    unsigned ms;
};

static struct {
    struct fields fields;
    struct cli cli;
    char *out;
    char *err;
    int stopped; /* calls of end_here() */
} run;

static enum cli_outcome end_here(const struct cli *cli, const char *value)
{
    assert_ptr_equal(cli, &run.cli);
    assert_null(value);
    run.stopped++;
    return CLI_DONE;
}

static enum cli_outcome help(const struct cli *cli, const char *value)
{
    (void)value;
    return cli_help(cli, "before\n", "after\n");
}

/* Without a value, as if it were 15. */
static enum cli_outcome maybe(const struct cli *cli, const char *value)
{
    return cli_number(cli, value != NULL ? value : "15");
}

#define FIELD(member) CLI_FIELD(struct fields, member)

static const struct cli_option table[] = {
    {"flag", 'f', NULL, cli_constant, FIELD(flag), true, 0, "set a flag"},
    {"port", 'p', "PORT", cli_number, FIELD(port), 0, UINT16_MAX, "of 16 bits"},
    {"number", 0, "N", cli_number, FIELD(number), 10, 20, "of 32 bits\nand of two lines"},
    {"mode", 0, "MODE", cli_octal, FIELD(mode), 07, 0777, "octal"},
    {"bytes", 0, "BYTES", cli_bytes, FIELD(bytes), 1, 3000000, "a size"},
    {"most", 0, "N", cli_number, FIELD(most), 0, UINT64_MAX, "of 64 bits"},
    {"seconds", 0, "TIME", cli_seconds, FIELD(seconds), 0, 7200, "a time"},
    {"ms", 0, "TIME", cli_milliseconds, FIELD(ms), 0, 7200, "a time, too"},
    {"maybe", 'm', "[=N]", maybe, FIELD(number), 10, 20, "a value or none"},
    {"stop", 's', NULL, end_here, {0, 0}, 0, 0, "go no further"},
    {"help", 'h', NULL, help, {0, 0}, 0, 0, "show this"},
};

static int run_free(void **state)
{
    (void)state;
    free(run.out);
    free(run.err);
    memset(&run, 0, sizeof run);
    return 0;
}

/* Parses a command line whose arguments stand between blanks. */
static enum cli_outcome parse(const char *line)
{
    static char copy[2048];
    static char program[] = "tool";
    static char *argv[16];
    size_t size;
    int argc = 1;
    char *rest = NULL;
    (void)run_free(NULL);
    (void)snprintf(copy, sizeof copy, "%s", line);
    argv[0] = program;
    for (char *arg = strtok_r(copy, " ", &rest); arg != NULL; arg = strtok_r(NULL, " ", &rest))
        argv[argc++] = arg;
    argv[argc] = NULL;
    run.cli = (struct cli){.program = "tool",
                           .options = table,
                           .count = sizeof table / sizeof *table,
                           .target = &run.fields,
                           .out = open_memstream(&run.out, &size),
                           .err = open_memstream(&run.err, &size)};
    enum cli_outcome outcome = cli_parse(&run.cli, argc, argv);
    (void)fclose(run.cli.out);
    (void)fclose(run.cli.err);
    return outcome;
}

static const struct fields *parse_good(const char *line)
{
    assert_int_equal(parse(line), CLI_RUN);
    assert_string_equal(run.err, "");
    return &run.fields;
}

static void parse_bad(const char *line, const char *said)
{
    static const struct fields untouched;
    char expected[160];
    (void)snprintf(expected, sizeof expected, "tool: %s. Try 'tool --help'.\n", said);
    assert_int_equal(parse(line), CLI_MISUSE);
    assert_string_equal(run.err, expected);
    assert_memory_equal(&run.fields, &untouched, sizeof untouched);
}

static void test_fields_of_each_size(void **state)
{
    (void)state;
    const struct fields *fields = parse_good("-f --port=65535 --number=20 --bytes=2 --most=3");
    assert_true(fields->flag);
    assert_int_equal(fields->before, 0);
    assert_int_equal(fields->after, 0);
    assert_int_equal(fields->port, 65535);
    assert_int_equal(fields->beside, 0);
    assert_int_equal(fields->number, 20);
    assert_int_equal(fields->bytes, 2);
    assert_int_equal(fields->most, 3);
    assert_true(parse_good("--most=18446744073709551615")->most == UINT64_MAX);
}

static void test_numbers(void **state)
{
    (void)state;
    assert_int_equal(parse_good("--number=10")->number, 10);
    assert_int_equal(parse_good("--mode=640")->mode, 0640);
    assert_int_equal(parse_good("--mode=007")->mode, 07);
    assert_int_equal(parse_good("--bytes=2k")->bytes, 2048);
    assert_int_equal(parse_good("--bytes=2M")->bytes, 2097152);
    assert_int_equal(parse_good("--seconds=2m")->seconds, 120);
    assert_int_equal(parse_good("--seconds=2h")->seconds, 7200);
    assert_int_equal(parse_good("--ms=3")->ms, 3000);
    assert_int_equal(parse_good("--ms=3s")->ms, 3000);
    parse_bad("--number=9", "--number: '9' is not a number from 10 to 20");
    parse_bad("--number=21", "--number: '21' is not a number from 10 to 20");
    parse_bad("--number=15k", "--number: '15k' is not a number from 10 to 20");
    parse_bad("--most=18446744073709551616",
              "--most: '18446744073709551616' is not a number from 0 to 18446744073709551615");
    parse_bad("--mode=6", "--mode: '6' is not an octal number from 7 to 777");
    parse_bad("--mode=8", "--mode: '8' is not an octal number from 7 to 777");
    parse_bad("--bytes=3M",
              "--bytes: '3M' is not a size from 1 to 3000000 bytes, such as 1000 or 64k");
    parse_bad("--ms=3h",
              "--ms: '3h' is not a time from 0 to 7200 seconds, such as 90, 90s, 15m or 2h");
}

static void test_operands(void **state)
{
    (void)state;
    (void)parse_good("--number=10");
    assert_null(run.cli.operands[0]);
    assert_int_equal(parse_good("one -p7 two -- -f")->port, 7);
    assert_string_equal(run.cli.operands[0], "one");
    assert_string_equal(run.cli.operands[1], "two");
    assert_string_equal(run.cli.operands[2], "-f");
    assert_null(run.cli.operands[3]);
    assert_false(run.fields.flag);
}

/* What comes after the option that ends the parsing is not looked at. */
static void test_a_setter_may_end_the_parsing(void **state)
{
    (void)state;
    assert_int_equal(parse("-fs --port=x -s"), CLI_DONE);
    assert_int_equal(run.stopped, 1);
    assert_true(run.fields.flag);
    assert_string_equal(run.err, "");
}

static void test_without_advice(void **state)
{
    (void)state;
    parse_bad("--daemon", "unknown or ambiguous option '--daemon'");
    parse_bad("-d", "unknown option '-d'");
}

/* A letter of several bytes is printed as a whole, wherever it is in a group of letters. */
static void test_a_letter_of_several_bytes(void **state)
{
    (void)state;
    parse_bad("-\xc3\xbc", "unknown option '-\xc3\xbc'");
    parse_bad("-\xe2\x82\xacx", "unknown option '-\xe2\x82\xac'");
    parse_bad("-\xf0\x9f\x98\x80 -f", "unknown option '-\xf0\x9f\x98\x80'");
    parse_bad("-\xc3", "unknown option '-\xc3'");
    assert_int_equal(parse("-f\xc3\xbc"), CLI_MISUSE);
    assert_string_equal(run.err, "tool: unknown option '-\xc3\xbc'. Try 'tool --help'.\n");
}

/* A line that is too long is cut between two characters, wherever they stand in it. */
static void test_a_long_complaint_is_cut_between_characters(void **state)
{
    (void)state;
    for (int shift = 0; shift < 3; shift++) {
        char line[1024] = "--port=";
        memset(line + 7, 'x', (size_t)shift);
        for (size_t at = 7 + (size_t)shift; at + 3 < sizeof line; at += 3)
            memcpy(line + at, "\xe2\x82\xac", 4); /* the euro sign */
        assert_int_equal(parse(line), CLI_MISUSE);
        const char *end = strstr(run.err, ". Try 'tool --help'.\n");
        assert_non_null(end);
        assert_true(end - run.err > 480);
        assert_memory_equal(end - 3, "\xe2\x82\xac", 3);
    }
}

/* Also those that UTF-8 writes in two bytes: the last is what a terminal takes for ESC [. */
static void test_control_characters(void **state)
{
    (void)state;
    assert_int_equal(parse("--port=\x1b[\x7f_\xc2\x80_\xc2\x9f_\xc2\x9b"
                           "x"),
                     CLI_MISUSE);
    assert_non_null(strstr(run.err, "'?[?_??_??_??x' is not"));
    assert_int_equal(parse("--port=\xc2\xa0\xc3\x80"), CLI_MISUSE); /* a space and a letter */
    assert_non_null(strstr(run.err, "'\xc2\xa0\xc3\x80' is not"));
}

static void test_help(void **state)
{
    (void)state;
    assert_int_equal(parse("-h"), CLI_DONE);
    assert_int_equal(strncmp(run.out, "before\n  -f, --flag ", 19), 0);
    assert_non_null(strstr(run.out, "\n  -p, --port=PORT              of 16 bits\n"
                                    "      --number=N               of 32 bits\n"
                                    "                               and of two lines\n"));
    assert_non_null(strstr(run.out, "show this\nafter\n"));
}

#define CLI_TEST(test) cmocka_unit_test_teardown(test, run_free)

static void test_a_value_that_may_be_left_out(void **state)
{
    (void)state;
    assert_int_equal(parse_good("--maybe")->number, 15);
    assert_int_equal(parse_good("--maybe=12")->number, 12);
    assert_int_equal(parse_good("--maybe --flag")->number, 15);
    assert_true(run.fields.flag);
    assert_int_equal(parse("--help"), CLI_DONE);
    assert_non_null(strstr(run.out, "--maybe[=N] "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLI_TEST(test_fields_of_each_size),
        CLI_TEST(test_numbers),
        CLI_TEST(test_operands),
        CLI_TEST(test_a_setter_may_end_the_parsing),
        CLI_TEST(test_without_advice),
        CLI_TEST(test_help),
        CLI_TEST(test_a_letter_of_several_bytes),
        CLI_TEST(test_a_long_complaint_is_cut_between_characters),
        CLI_TEST(test_control_characters),
        CLI_TEST(test_a_value_that_may_be_left_out),
    };
    return RUN_TESTS("cli", tests);
}
