/*
 * clients.h - who connects to the daemon: slow and fast, patient and rude, each by the seed.
 */
#ifndef UVECHOD_SIM_CLIENTS_H
#define UVECHOD_SIM_CLIENTS_H

#include "scenario.h"
#include "socket.h"

/* Makes the clients of the plan and lets them come, but for those that are dropped. */
void clients_begin(const struct scenario_limits *limits);
void clients_end(void);

/* The connection with this serial number, if it is the last one of its client; or NULL. */
struct socket *clients_socket(unsigned serial);

/* How many connections were made in all. */
unsigned clients_connections(void);

#endif
