/*
 * udp_load.h - a whole run with datagrams: warm up, measure, wait for the last answers, end.
 *
 * A lost datagram does not end the run. When its time is up it is counted, and in the closed loop
 * the next one takes its place.
 */
#ifndef ECHOLOAD_UDP_LOAD_H
#define ECHOLOAD_UDP_LOAD_H

#include "echoload/args.h"
#include "echoload/load.h"

#include <stdbool.h>

/*
 * Like load_run(). All went well if there was an answer, and no wrong one. How many are lost, late,
 * duplicate and out of order is in the result, of the whole run with its warm-up.
 */
bool udp_load_run(const struct args *args, struct load_result *result);

#endif
