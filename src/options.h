/*
 * options.h - from argv to struct options.
 */
#ifndef UVECHOD_OPTIONS_H
#define UVECHOD_OPTIONS_H

#include "base/cli.h"
#include "base/log.h"
#include "server/server.h"
#include "service/echo.h"

#include <stdio.h>

enum { OPTIONS_ADDRS_MAX = 64, OPTIONS_PROXIES_MAX = 64 };

struct options {
    struct server_config server; /* but for its services */
    struct echo_config echo;
    enum log_level log_level;
    bool keep;           /* a crash is survived (keeper.h) */
    bool check_handover; /* only say whether this program could go on (upgrade.h) */
    struct endpoint_addr addrs[OPTIONS_ADDRS_MAX]; /* server.endpoints.addrs points to them */
    struct cidr proxies[OPTIONS_PROXIES_MAX];      /* server.proxies.from points to them */
    struct endpoint_addr metrics;                  /* and server.metrics.addrs to this one */
};

/*
 * Fills options from argv, whose strings must outlive them; argv may be permuted. options must not
 * be moved, as they point to their own addresses. Resolves names (getaddrinfo(3)), which may take
 * as long as the resolver does. Must not be called in two threads at once (cli.h).
 */
enum cli_outcome options_parse(struct options *options, int argc, char **argv, FILE *out,
                               FILE *err);

#endif
