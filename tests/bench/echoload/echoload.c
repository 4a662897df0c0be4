/*
 * echoload - puts load on an echo server, measures it and checks every byte of its answers.
 *
 * The order of steps: options, descriptors, run, report, exit code.
 */
#include "echoload/args.h"
#include "echoload/load.h"
#include "echoload/report.h"
#include "echoload/udp_load.h"

#include <stdio.h>
#include <sys/resource.h>

static void raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv)
{
    static struct load_result result; /* too large for the stack of some systems */
    struct args args;
    enum cli_outcome outcome = args_parse(&args, argc, argv, stdout, stderr);
    if (outcome != CLI_RUN)
        return (int)outcome;
    raise_descriptors();
    bool good = (args.udp ? udp_load_run : load_run)(&args, &result);
    if (!good && result.tally.sent == 0)
        return CLI_FAILED;
    (args.json ? report_json : report_text)(&args, &result, stdout);
    return fflush(stdout) == 0 && good ? CLI_DONE : CLI_FAILED;
}
