#include "server/datagrams.h"

#include "base/counter.h"
#include "os/datagram.h"

#include <errno.h>
#include <stdlib.h>

_Static_assert((int)DATAGRAM_RESULTS <= (int)LEDGER_DATAGRAMS_MAX, "the ledger has room");

/* The ports of all datagram sockets; a Unix socket has none. */
static size_t datagrams_find_ports(const struct endpoints *endpoints, uint16_t *ports)
{
    size_t count = 0;
    for (size_t i = 0; i < endpoints->count; i++) {
        const struct endpoint *endpoint = &endpoints->list[i];
        const uint16_t port = net_port(&endpoint->bound);
        bool known = port == 0 || endpoint->kind != &endpoint_datagram;
        for (size_t k = 0; k < count && !known; k++)
            known = ports[k] == port;
        if (!known)
            ports[count++] = port;
    }
    return count;
}

static size_t datagrams_find_names(const struct endpoints *endpoints, union net_addr *names)
{
    size_t count = 0;
    for (size_t i = 0; i < endpoints->count; i++) {
        const struct endpoint *endpoint = &endpoints->list[i];
        if (endpoint->kind == &endpoint_datagram && endpoint->bound.sa.sa_family == AF_UNIX)
            names[count++] = endpoint->bound;
    }
    return count;
}

static void datagrams_open_loop(struct datagrams *datagrams, struct worker *worker, struct log *log)
{
    struct datagrams_worker *own = &datagrams->list[datagrams->count++];
    drops_start(&own->drops, &worker->sched, log, &own->responders);
    responders_init(&own->responders, &worker->sched, &datagrams->config, &own->drops.watcher);
    worker->responders = &own->responders;
}

/* What all sockets share, and what each loop has. */
static int datagrams_open(struct datagrams *datagrams, const struct datagrams_config *config,
                          const struct endpoints *endpoints, struct workers *workers,
                          struct log *log)
{
    int rc = rates_open(&datagrams->rates, config->rate);
    datagrams->limited = rc == 0;
    if (rc < 0)
        return rc;
    datagrams->ports = calloc(endpoints->count, sizeof *datagrams->ports);
    datagrams->names = calloc(endpoints->count, sizeof *datagrams->names);
    datagrams->list = calloc(workers->count, sizeof *datagrams->list);
    if (datagrams->ports == NULL || datagrams->names == NULL || datagrams->list == NULL)
        return -ENOMEM;
    datagrams->config.origins = (struct origins){
        .ports = datagrams->ports,
        .count = datagrams_find_ports(endpoints, datagrams->ports),
        .names = datagrams->names,
        .names_count = datagrams_find_names(endpoints, datagrams->names),
        .any_source = config->any_source,
    };
    for (unsigned i = 0; i < workers->count; i++)
        datagrams_open_loop(datagrams, &workers->list[i], log);
    return 0;
}

static int datagrams_serve(struct datagrams *datagrams, struct endpoint *endpoint, unsigned turn)
{
    struct datagrams_worker *worker = &datagrams->list[turn % datagrams->count];
    struct responder *responder = malloc(sizeof *responder);
    int rc = responder != NULL ? datagram_set_up(endpoint->fd) : -ENOMEM;
    if (rc == 0)
        rc = responder_start(responder, &worker->responders, endpoint->fd,
                             endpoint->bound.sa.sa_family == AF_UNIX);
    if (rc < 0) {
        free(responder);
        return rc;
    }
    endpoint->task = responder;
    endpoint->fd = -1;
    return 0;
}

int datagrams_start(struct datagrams *datagrams, const struct datagrams_config *config,
                    const struct endpoints *endpoints, struct workers *workers,
                    struct ledger *ledger, struct log *log)
{
    *datagrams = (struct datagrams){.config = {.prefix = config->prefix,
                                               .prefix_len = config->prefix_len,
                                               .rates = &datagrams->rates,
                                               .counts = &ledger->header->datagrams}};
    if (!endpoints_have(endpoints, &endpoint_datagram))
        return 0;
    int rc = datagrams_open(datagrams, config, endpoints, workers, log);
    for (size_t i = 0; i < endpoints->count && rc == 0; i++)
        if (endpoints->list[i].kind == &endpoint_datagram)
            rc = datagrams_serve(datagrams, &endpoints->list[i], endpoints_turn(endpoints, i));
    return rc;
}

void datagrams_stats(const struct ledger *ledger, struct stats *stats)
{
    for (int i = 0; i < DATAGRAM_RESULTS; i++)
        stats->datagrams[i] = counter_get(&ledger->header->datagrams.count[i]);
}

void datagrams_close(struct datagrams *datagrams)
{
    for (unsigned i = 0; i < datagrams->count; i++) {
        responders_close(&datagrams->list[i].responders);
        drops_close(&datagrams->list[i].drops);
    }
}

void datagrams_free(struct datagrams *datagrams)
{
    if (datagrams->limited)
        rates_close(&datagrams->rates);
    free(datagrams->ports);
    free(datagrams->names);
    free(datagrams->list);
}
