#include "echoload/udp_load.h"

#include "echoload/pacer.h"
#include "echoload/sample.h"
#include "echoload/stopper.h"
#include "echoload/udp_client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum { UDP_LOAD_LOOKS = 8 /* how often losses are looked for in --timeout seconds */ };

enum udp_load_phase {
    UDP_PHASE_WARMUP,
    UDP_PHASE_MEASURING,
    UDP_PHASE_ENDING,
};

struct udp_load {
    uv_loop_t loop;
    const struct args *args;
    struct load_result *result;
    struct udp_traffic traffic;
    struct udp_client *clients;
    size_t opened; /* clients, also one that could not be */
    struct pacer pacer;
    enum udp_load_phase phase;
    struct sample begin;
    uv_timer_t timer;   /* ends the warm-up, later the measurement */
    uv_timer_t watcher; /* looks for losses */
    struct stopper stopper;
    bool failed;
};

static void udp_load_fail(struct udp_load *load, const char *what, const char *why)
{
    if (!load->failed)
        (void)fprintf(stderr, "echoload: %s: %s\n", what, why);
    load->failed = true;
    uv_stop(&load->loop);
}

static void on_failed(struct udp_client *client, const char *what, int error)
{
    udp_load_fail(client->traffic->owner, what, strerror(-error));
}

static uint64_t udp_load_goal(const struct args *args, uint64_t index)
{
    if (args->count == 0)
        return UINT64_MAX;
    return args->count / args->connections + (index < args->count % args->connections);
}

static void udp_load_sample(const struct udp_load *load, struct sample *sample)
{
    sample_take(sample, load->args->pid, load->traffic.tally.answered, load->traffic.bytes);
}

static uint64_t udp_load_pending(const struct udp_load *load)
{
    uint64_t pending = 0;
    for (size_t i = 0; i < load->opened; i++)
        pending += load->clients[i].sequence.pending;
    return pending;
}

/* Sends nothing any more, and waits for the answers that are missing. */
static void udp_load_stop(struct udp_load *load)
{
    struct sample end;
    if (load->phase == UDP_PHASE_ENDING)
        return;
    udp_load_sample(load, &end);
    if (load->phase == UDP_PHASE_MEASURING)
        sample_result(&load->begin, &end, load->result);
    load->phase = UDP_PHASE_ENDING;
    load->traffic.flowing = false;
    pacer_stop(&load->pacer);
    (void)uv_timer_stop(&load->timer);
    if (udp_load_pending(load) == 0)
        uv_stop(&load->loop);
}

static void on_measured(uv_timer_t *timer)
{
    udp_load_stop(timer->data);
}

static void udp_load_measure(struct udp_load *load)
{
    load->phase = UDP_PHASE_MEASURING;
    histogram_reset(&load->traffic.latencies);
    udp_load_sample(load, &load->begin);
    if (load->args->seconds > 0)
        (void)uv_timer_start(&load->timer, on_measured, (uint64_t)(load->args->seconds * 1000), 0);
}

static void on_warm(uv_timer_t *timer)
{
    udp_load_measure(timer->data);
}

/* Whether all of --count have been sent. */
static bool udp_load_is_done(const struct udp_load *load)
{
    return load->args->count > 0 && load->traffic.tally.sent >= load->args->count;
}

/* After an answer or a loss. Few datagrams are pending when it looks at all clients. */
static void udp_load_go_on(struct udp_load *load)
{
    if (load->phase != UDP_PHASE_ENDING && !udp_load_is_done(load))
        return;
    if (udp_load_pending(load) > 0)
        return;
    udp_load_stop(load);
    uv_stop(&load->loop);
}

static void on_answers(struct udp_client *client)
{
    udp_load_go_on(client->traffic->owner);
}

/* A client whose datagrams are all lost is woken by nobody else. */
static void on_watch(uv_timer_t *timer)
{
    struct udp_load *load = timer->data;
    uint64_t now = uv_hrtime();
    uint64_t patience = (uint64_t)(load->args->timeout * 1e9);
    for (size_t i = 0; i < load->opened; i++) {
        if (now > patience)
            udp_client_expire(&load->clients[i], now - patience);
        if (load->traffic.flowing)
            udp_client_fill(&load->clients[i]);
    }
    udp_load_go_on(load);
}

static void on_due(struct pacer *pacer, uint64_t number)
{
    struct udp_load *load = pacer->owner;
    if (!load->failed)
        udp_client_push(&load->clients[number % load->args->connections], pacer_due(pacer, number));
}

static void on_signal(struct stopper *stopper, int signum)
{
    struct udp_load *load = stopper->owner;
    if (load->phase == UDP_PHASE_ENDING)
        udp_load_fail(load, "stopped by", strsignal(signum));
    else
        udp_load_stop(load);
}

static void udp_load_init_handles(struct udp_load *load)
{
    load->stopper = (struct stopper){.on_signal = on_signal, .owner = load};
    stopper_start(&load->stopper, &load->loop);
    (void)uv_timer_init(&load->loop, &load->timer);
    load->timer.data = load;
    (void)uv_timer_init(&load->loop, &load->watcher);
    load->watcher.data = load;
    uint64_t look = (uint64_t)(load->args->timeout * 1000 / UDP_LOAD_LOOKS) + 1;
    (void)uv_timer_start(&load->watcher, on_watch, look, look);
}

static void udp_load_init_traffic(struct udp_load *load)
{
    const struct args *args = load->args;
    struct udp_traffic *traffic = &load->traffic;
    traffic->loop = &load->loop;
    traffic->args = args;
    traffic->owner = load;
    traffic->on_answers = on_answers;
    traffic->on_failed = on_failed;
    traffic->flowing = args->rate <= 0;
    format_init(&traffic->format, args->prefix, args->prefix_len, args->chunk);
    load->pacer = (struct pacer){.fd = -1, .on_due = on_due, .owner = load};
}

static int udp_load_open(struct udp_load *load)
{
    int rc = 0;
    while (load->opened < load->args->connections && rc == 0) {
        struct udp_client *client = &load->clients[load->opened];
        *client = (struct udp_client){.traffic = &load->traffic,
                                      .index = (uint32_t)load->opened,
                                      .goal = udp_load_goal(load->args, load->opened)};
        load->opened++;
        rc = udp_client_open(client);
    }
    return rc;
}

static void udp_load_start(struct udp_load *load)
{
    const struct args *args = load->args;
    if (args->warmup > 0)
        (void)uv_timer_start(&load->timer, on_warm, (uint64_t)(args->warmup * 1000), 0);
    else
        udp_load_measure(load);
    int rc = args->rate > 0 ? pacer_start(&load->pacer, &load->loop, args->rate) : 0;
    if (rc < 0)
        udp_load_fail(load, "timerfd", strerror(-rc));
    for (size_t i = 0; i < load->opened && load->traffic.flowing; i++)
        udp_client_fill(&load->clients[i]);
}

static void udp_load_close(struct udp_load *load)
{
    stopper_close(&load->loop);
    pacer_close(&load->pacer);
    for (size_t i = 0; i < load->opened; i++)
        udp_client_close(&load->clients[i]);
}

static void udp_load_judge(struct udp_load *load)
{
    const struct udp_traffic *traffic = &load->traffic;
    if (traffic->tally.wrong > 0)
        udp_load_fail(load, traffic->wrong, "not what was sent");
    else if (traffic->tally.answered + traffic->tally.late == 0 && !load->failed)
        udp_load_fail(load, "no answer",
                      traffic->refused < 0 ? strerror(-traffic->refused) : "timed out");
}

static void udp_load_go(struct udp_load *load)
{
    udp_load_init_traffic(load);
    udp_load_init_handles(load);
    int rc = udp_load_open(load);
    if (rc < 0)
        udp_load_fail(load, "connect", strerror(-rc));
    else
        udp_load_start(load);
    if (!load->failed)
        (void)uv_run(&load->loop, UV_RUN_DEFAULT);
    load->result->latencies = load->traffic.latencies;
    load->result->tally = load->traffic.tally;
    if (!load->failed)
        udp_load_judge(load);
    udp_load_close(load);
}

bool udp_load_run(const struct args *args, struct load_result *result)
{
    struct udp_load *load = calloc(1, sizeof *load);
    if (load == NULL)
        return false;
    load->args = args;
    load->result = result;
    load->clients = calloc(args->connections, sizeof *load->clients);
    load->traffic.mail = calloc(1, sizeof *load->traffic.mail);
    int rc = load->clients == NULL || load->traffic.mail == NULL ? -ENOMEM : 0;
    if (rc == 0)
        rc = uv_loop_init(&load->loop);
    if (rc < 0)
        udp_load_fail(load, "start", strerror(-rc));
    else
        udp_load_go(load);
    bool good = !load->failed;
    free(load->traffic.mail);
    free(load->clients);
    free(load);
    return good;
}
