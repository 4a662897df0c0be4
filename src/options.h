/*
 * options.h - from argv to struct options, by the GNU conventions (getopt_long(3)).
 *
 * No globals and no exit(): the outcome is an error, done, or go on, and the caller decides.
 */
#ifndef UVECHOD_OPTIONS_H
#define UVECHOD_OPTIONS_H

#include "base/log.h"
#include "server/server.h"

#include <stdio.h>

struct options {
    struct server_config server;
    enum log_level log_level;
    struct endpoint_addr *addrs; /* what server.endpoints.addrs points to */
};

enum options_outcome {
    OPTIONS_ERROR,  /* one line on err says what was wrong and what was expected */
    OPTIONS_FAILED, /* help or version could not be written; one line on err says why */
    OPTIONS_DONE,   /* --help or --version: written to out */
    OPTIONS_RUN,
};

/*
 * Fills options from argv, whose strings must outlive it; argv may be permuted. Resolves names
 * (getaddrinfo(3)), which may take as long as the resolver does. After OPTIONS_RUN,
 * options_free() is due. Not to be called in two threads at once: getopt_long(3) is not safe.
 */
enum options_outcome options_parse(struct options *options, int argc, char **argv, FILE *out,
                                   FILE *err);

void options_free(struct options *options);

#endif
