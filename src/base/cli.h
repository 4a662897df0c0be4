/*
 * cli.h - a command line by the GNU conventions (getopt_long(3)), read by a table with one row for
 * each option.
 *
 * No globals and no exit(): the outcome says what was found, and the caller decides. Must not be
 * called in two threads at once, because getopt_long(3) must not.
 */
#ifndef UVECHOD_CLI_H
#define UVECHOD_CLI_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* The first three have the value of the exit code that programs usually give for them. */
enum cli_outcome {
    CLI_DONE,   /* --help or --version: written to out */
    CLI_FAILED, /* help or version could not be written; one line on err says why */
    CLI_MISUSE, /* one line on err says what was wrong and what was expected */
    CLI_RUN,    /* all options are set: go on */
};

enum { CLI_OPTIONS_MAX = 32 };

struct cli;

/*
 * Sets what cli->option stands for. value is NULL if the option has none. An outcome other
 * than CLI_RUN ends the parsing.
 */
typedef enum cli_outcome cli_set_fn(const struct cli *cli, const char *value);

/* Where a value goes: a field of the struct that cli->target points to. */
struct cli_field {
    size_t offset;
    size_t size; /* 1, 2, 4 or 8 */
};

#define CLI_FIELD(type, member)                                                                    \
    {                                                                                              \
        offsetof(type, member), sizeof(((type *)0)->member)                                        \
    }

struct cli_option {
    const char *name; /* after "--" */
    char letter;      /* after "-"; 0: there is no short form */
    const char *arg;  /* what --help calls the value, as "[=VALUE]" if that may be left out; NULL:
                         takes none */
    cli_set_fn *set;
    struct cli_field field;
    uint64_t min; /* of a number, as it is given; what cli_constant() sets */
    uint64_t max;
    const char *help; /* marked with N_(); '\n' between its lines */
};

struct cli {
    const char *program;              /* as messages name it */
    const struct cli_option *options; /* the table */
    size_t count;                     /* rows, at most CLI_OPTIONS_MAX */
    void *target;                     /* the struct that the options set */
    FILE *out;
    FILE *err;
    /*
     * What to say of an option that does not exist but is known elsewhere: a letter, or a name of
     * len bytes if letter is 0. Returns NULL if there is nothing to say. May be NULL.
     */
    const char *(*advise)(int letter, const char *name, size_t len);

    /* Set by cli_parse(). */
    const struct cli_option *option; /* the row that is being set */
    char **operands;                 /* what is no option, up to a NULL */
};

/* Calls the setter of each option in argv, which may be permuted and must end with a NULL. */
enum cli_outcome cli_parse(struct cli *cli, int argc, char **argv);

/*
 * Setters for the table: a number that is stored in the row's field. Each takes a whole number from
 * min to max.
 */
cli_set_fn cli_number;       /* digits alone */
cli_set_fn cli_octal;        /* octal digits alone */
cli_set_fn cli_bytes;        /* ... with k (1024) or M (1048576) after it */
cli_set_fn cli_seconds;      /* ... with s, m or h after it */
cli_set_fn cli_milliseconds; /* the same, in seconds as well; stored in milliseconds */
cli_set_fn cli_constant;     /* stores min: of an option that takes no value */

/*
 * Writes one line to cli->err: what was wrong, as printf(3), and where help is. What the user typed
 * is part of the line, so control characters become '?'. Returns CLI_MISUSE.
 */
enum cli_outcome cli_complain(const struct cli *cli, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Writes the table to cli->out, between these texts, which are already translated. */
enum cli_outcome cli_help(const struct cli *cli, const char *before, const char *after);

/*
 * Ends what was written to cli->out. Returns CLI_DONE, or CLI_FAILED after one line on cli->err if
 * it could not be written, for instance because the disk is full.
 */
enum cli_outcome cli_done(const struct cli *cli);

#endif
