/*
 * args.h - echoload's command line.
 */
#ifndef ECHOLOAD_ARGS_H
#define ECHOLOAD_ARGS_H

#include "base/cli.h"
#include "echoload/target.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

enum load_mode {
    MODE_PINGPONG, /* messages, as many under way as the depth says */
    MODE_BULK,     /* streams, both directions as full as they get */
    MODE_CHURN,    /* a connection per message */
    MODE_IDLE,     /* connections that stay open and send nothing */
};

enum load_close {
    CLOSE_HALF,  /* end our side of the connection, read to the end of the server's side */
    CLOSE_FULL,  /* close as soon as all answers have been received */
    CLOSE_RESET, /* the same with a reset, which leaves no TIME_WAIT behind */
};

struct args {
    struct target target;
    enum load_mode mode;
    enum load_close close;
    size_t connections;
    size_t connecting; /* how many connect, or echo at the end, at the same time */
    size_t size;       /* bytes of a message */
    size_t depth;      /* messages under way per connection */
    uint64_t count; /* of messages, connections (churn) or bytes (bulk); 0: until the time is up */
    double seconds; /* how long to measure; 0: until the count is reached */
    double warmup;  /* seconds before anything is counted */
    double rate;    /* messages per second, open loop; 0: closed loop */
    double timeout; /* seconds without a byte while an answer is missing; UDP: until it is lost */
    const char *prefix;
    size_t prefix_len;
    size_t chunk;
    bool echo_first;  /* idle: a message on every connection at the beginning */
    bool echo_last;   /* ... and at the end */
    bool server_ends; /* idle: the server may end a connection */
    pid_t pid;        /* of the server, to measure its CPU time; 0: do not measure it */
    bool udp;
    bool gso; /* UDP: many datagrams are one for the kernel */
    bool json;
};

/* Fills args from argv, whose strings must outlive them. Wrong usage is one line on err. */
enum cli_outcome args_parse(struct args *args, int argc, char **argv, FILE *out, FILE *err);

const char *args_mode_name(enum load_mode mode);

#endif
