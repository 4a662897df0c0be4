#include "echoload/load.h"

#include "echoload/client.h"
#include "echoload/sample.h"
#include "echoload/stopper.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

enum { LOAD_STALLS_MAX = 4 /* how often the progress is looked at in --timeout seconds */ };

enum load_phase {
    PHASE_CONNECTING,
    PHASE_WARMUP,
    PHASE_MEASURING, /* idle: the connections are held */
    PHASE_ENDING,
};

struct load {
    uv_loop_t loop;
    const struct args *args;
    struct load_result *result;
    struct traffic traffic;
    struct client *clients;
    uint64_t *times;
    enum load_phase phase;
    uint64_t serial;  /* connections begun since the start */
    size_t connected; /* of those, how many have been connected */
    size_t slots;     /* clients that have been used */
    size_t open;      /* of those, how many are not closed for good */
    size_t echoes;    /* --echo-last: clients whose last message has been started */
    size_t echoing;   /* of those, the clients whose last message is not answered */
    uint64_t begun_ns;
    struct sample begin;
    uint64_t progress; /* at the last look */
    unsigned stalls;   /* how many looks in a row have found no progress */
    bool failed;
    uv_timer_t timer; /* ends the warm-up, later the measurement */
    uv_timer_t watchdog;
    uv_idle_t connector; /* active while there are clients to connect */
    struct stopper stopper;
    uv_poll_t stdin_poll;
    bool stdin_watched;
    char buffer[CLIENT_BUFFER];
};

static void load_stop(struct load *load);

static bool load_is_idle(const struct load *load)
{
    return load->args->mode == MODE_IDLE;
}

static void load_fail(struct load *load, const char *what, const char *why)
{
    if (!load->failed)
        (void)fprintf(stderr, "echoload: %s: %s\n", what, why);
    load->failed = true;
    uv_stop(&load->loop);
}

static void on_failed(struct client *client, const char *why)
{
    char what[48];
    (void)snprintf(what, sizeof what, "connection %llu", (unsigned long long)client->index);
    load_fail(client->traffic->owner, what, why);
}

/* How many of the --count messages this client must send. */
static uint64_t load_goal(const struct load *load, uint64_t index)
{
    const struct args *args = load->args;
    if (args->mode == MODE_CHURN)
        return 1;
    if (args->count == 0)
        return UINT64_MAX;
    return args->count / args->connections + (index < args->count % args->connections);
}

static void load_take_sample(const struct load *load, struct sample *sample)
{
    sample_take(sample, load->args->pid, load->traffic.messages, load->traffic.bytes);
}

static void load_measured(struct load *load)
{
    struct sample end;
    load_take_sample(load, &end);
    sample_result(&load->begin, &end, load->result);
}

/* Only some clients at a time: the kernel needs a buffer for each message that is on its way. */
static void load_echo_last(struct load *load)
{
    const struct args *args = load->args;
    while (load->echoes < args->connections && load->echoing < args->connecting && !load->failed) {
        load->echoing++;
        client_push(&load->clients[load->echoes++]);
    }
}

/* Begins nothing new, and waits for the answers that are missing. */
static void load_end(struct load *load)
{
    load->phase = PHASE_ENDING;
    load->traffic.flowing = false;
    load->traffic.ending = true;
    uv_idle_stop(&load->connector);
    (void)uv_timer_stop(&load->timer);
    pacer_stop(&load->traffic.pacer);
    if (load->stdin_watched)
        (void)uv_poll_stop(&load->stdin_poll);
    if (load->args->echo_last)
        load_echo_last(load);
    else
        for (size_t i = 0; i < load->args->connections && !load->failed; i++)
            client_end_if_done(&load->clients[i]);
    if (load->open == 0)
        uv_stop(&load->loop);
}

static void load_stop(struct load *load)
{
    if (load->phase == PHASE_MEASURING)
        load_measured(load);
    if (load->phase != PHASE_ENDING)
        load_end(load);
}

static void on_measured(uv_timer_t *timer)
{
    load_stop(timer->data);
}

static void load_measure(struct load *load)
{
    load->phase = PHASE_MEASURING;
    histogram_reset(&load->traffic.latencies);
    load_take_sample(load, &load->begin);
    if (load_is_idle(load))
        (void)fprintf(stderr, "echoload: holding %zu connections\n", load->args->connections);
    if (load->args->seconds > 0)
        (void)uv_timer_start(&load->timer, on_measured, (uint64_t)(load->args->seconds * 1000), 0);
}

static void on_warm(uv_timer_t *timer)
{
    load_measure(timer->data);
}

static void load_warm_up(struct load *load)
{
    if (load->args->warmup <= 0) {
        load_measure(load);
        return;
    }
    load->phase = PHASE_WARMUP;
    (void)uv_timer_start(&load->timer, on_warm, (uint64_t)(load->args->warmup * 1000), 0);
}

static void on_due(struct pacer *pacer, uint64_t number)
{
    struct load *load = pacer->owner;
    struct client *client = &load->clients[number % load->args->connections];
    if (client->open && client->started < client->goal && !load->failed)
        client_push(client);
}

static void load_start_pacing(struct load *load)
{
    int rc = pacer_start(&load->traffic.pacer, &load->loop, load->args->rate);
    if (rc < 0)
        load_fail(load, "timerfd", strerror(-rc));
}

/* All clients are connected, and have sent nothing, or with --echo-first one message. */
static void load_begin(struct load *load)
{
    const struct args *args = load->args;
    load->result->connects = load->connected;
    load->result->connect_seconds = (double)(uv_hrtime() - load->begun_ns) / 1e9;
    load_warm_up(load);
    if (load_is_idle(load))
        return;
    load->traffic.flowing = args->rate <= 0;
    if (args->rate > 0)
        load_start_pacing(load);
    for (size_t i = 0; i < args->connections && !load->failed; i++) {
        if (load->traffic.flowing)
            client_fill(&load->clients[i]);
        client_end_if_done(
            &load->clients[i]); /* a small --count may leave this client nothing to send */
    }
}

static void on_connected(struct client *client)
{
    struct load *load = client->traffic->owner;
    load->connected++;
    if (load->args->mode == MODE_CHURN)
        client_fill(client);
    else if (load->args->echo_first)
        client_push(client);
    if (load->phase == PHASE_CONNECTING && load->connected == load->args->connections &&
        !load->args->echo_first)
        load_begin(load);
}

static void on_answered(struct client *client)
{
    struct load *load = client->traffic->owner;
    if (load->phase == PHASE_CONNECTING && load->args->echo_first &&
        load->traffic.messages == load->args->connections)
        load_begin(load);
    if (load->phase == PHASE_ENDING && load->args->echo_last) {
        load->echoing--;
        load_echo_last(load);
    }
}

/* Whether --count allows one more connection (churn). */
static bool load_may_connect(const struct load *load)
{
    const struct args *args = load->args;
    return args->mode != MODE_CHURN || args->count == 0 || load->serial < args->count;
}

/* Whether a new connection takes the place of a closed one. */
static bool load_churns_on(const struct load *load)
{
    return load->args->mode == MODE_CHURN && load->phase != PHASE_ENDING && !load->failed &&
           load_may_connect(load);
}

static void load_connect(struct load *load, struct client *client)
{
    int rc = client_open(client, load->serial++);
    char why[80];
    (void)snprintf(why, sizeof why, "connect: %s", strerror(-rc));
    if (rc < 0)
        on_failed(client, why);
}

static void on_closed(struct client *client)
{
    struct load *load = client->traffic->owner;
    if (load_churns_on(load)) {
        load_connect(load, client);
        return;
    }
    if (--load->open > 0 || load->failed)
        return;
    load_stop(load);
    uv_stop(&load->loop);
}

/* Connects a few per turn of the loop: the server needs time to accept them from its backlog. */
static void on_connect(uv_idle_t *idle)
{
    struct load *load = idle->data;
    const struct args *args = load->args;
    uint64_t pending = load->serial - load->connected;
    for (; pending < args->connecting && load->slots < args->connections; pending++) {
        if (load->failed || !load_may_connect(load))
            break;
        load->open++;
        load_connect(load, &load->clients[load->slots++]);
    }
    if (load->slots == args->connections || !load_may_connect(load))
        uv_idle_stop(idle);
}

/* Whether an answer is missing. An idle connection or a slow rate is not a stall. */
static bool load_waits(const struct load *load)
{
    if (load->phase == PHASE_CONNECTING)
        return true;
    for (size_t i = 0; i < load->args->connections; i++) {
        const struct client *client = &load->clients[i];
        if (client->open && (!client->connected || client->ended || client_pending(client) > 0))
            return true;
    }
    return false;
}

static void load_fail_stalled(struct load *load)
{
    char why[128];
    for (size_t i = 0; i < load->args->connections; i++) {
        struct client *client = &load->clients[i];
        if (!client->open)
            continue;
        if (!client->connected) {
            on_failed(client, "connect: timed out");
        } else if (client_pending(client) > 0 || client->ended) {
            (void)snprintf(why, sizeof why, "timed out, %llu of %llu bytes sent are missing%s",
                           (unsigned long long)(client->sent - client->verifier.received),
                           (unsigned long long)client->sent,
                           client->ended ? ", and the end of the stream" : "");
            on_failed(client, why);
        }
    }
    load_fail(load, "connect", "timed out");
}

static void on_watch(uv_timer_t *timer)
{
    struct load *load = timer->data;
    uint64_t progress = load->traffic.bytes + load->connected + load->serial - load->open;
    bool stalled = progress == load->progress && load_waits(load);
    load->progress = progress;
    load->stalls = stalled ? load->stalls + 1 : 0;
    if (load->stalls > LOAD_STALLS_MAX)
        load_fail_stalled(load);
}

static void on_signal(struct stopper *stopper, int signum)
{
    struct load *load = stopper->owner;
    if (load->phase == PHASE_ENDING || load->phase == PHASE_CONNECTING)
        load_fail(load, "stopped by", strsignal(signum));
    else
        load_stop(load);
}

/* An idle run ends with its standard input: the writer at the other end decides when. */
static void on_stdin(uv_poll_t *poll, int status, int events)
{
    char discarded[256];
    (void)events;
    if (status < 0 || read(STDIN_FILENO, discarded, sizeof discarded) == 0)
        load_stop(poll->data);
}

/*
 * Without --duration, only the end of standard input ends an idle run. So a standard input that
 * cannot be watched, such as a regular file, is an error.
 */
static void load_watch_stdin(struct load *load)
{
    int rc = uv_poll_init(&load->loop, &load->stdin_poll, STDIN_FILENO);
    load->stdin_watched = rc == 0;
    if (rc == 0)
        rc = uv_poll_start(&load->stdin_poll, UV_READABLE, on_stdin);
    load->stdin_poll.data = load;
    if (rc < 0)
        load_fail(load, "standard input", strerror(-rc));
}

static bool load_allocate(struct load *load)
{
    const struct args *args = load->args;
    load->clients = calloc(args->connections, sizeof *load->clients);
    load->times = calloc(args->connections * args->depth, sizeof *load->times);
    if (load->clients == NULL || load->times == NULL)
        return false;
    for (size_t i = 0; i < args->connections; i++)
        load->clients[i] = (struct client){.traffic = &load->traffic,
                                           .index = i,
                                           .goal = load_goal(load, i),
                                           .times = &load->times[i * args->depth]};
    return true;
}

static void load_init_traffic(struct load *load)
{
    const struct args *args = load->args;
    struct traffic *traffic = &load->traffic;
    traffic->loop = &load->loop;
    traffic->args = args;
    traffic->owner = load;
    traffic->pacer = (struct pacer){.fd = -1, .on_due = on_due, .owner = load};
    traffic->buffer = load->buffer;
    traffic->on_connected = on_connected;
    traffic->on_answered = on_answered;
    traffic->on_closed = on_closed;
    traffic->on_failed = on_failed;
    format_init(&traffic->format, args->prefix, args->prefix_len, args->chunk);
}

/* Handles that exist for the whole run. They do not prevent its end. */
static void load_init_handles(struct load *load)
{
    load->stopper = (struct stopper){.on_signal = on_signal, .owner = load};
    stopper_start(&load->stopper, &load->loop);
    (void)uv_timer_init(&load->loop, &load->timer);
    load->timer.data = load;
    (void)uv_timer_init(&load->loop, &load->watchdog);
    load->watchdog.data = load;
    uint64_t look = (uint64_t)(load->args->timeout * 1000 / LOAD_STALLS_MAX) + 1;
    (void)uv_timer_start(&load->watchdog, on_watch, look, look);
    (void)uv_idle_init(&load->loop, &load->connector);
    load->connector.data = load;
    (void)uv_idle_start(&load->connector, on_connect);
    if (load_is_idle(load) && load->args->seconds <= 0)
        load_watch_stdin(load);
}

static void load_close(struct load *load)
{
    stopper_close(&load->loop);
    pacer_close(&load->traffic.pacer);
}

static bool load_go(struct load *load)
{
    int rc = uv_loop_init(&load->loop);
    if (rc < 0 || !load_allocate(load)) {
        load_fail(load, "start", strerror(rc < 0 ? -rc : ENOMEM));
        return false;
    }
    load_init_traffic(load);
    load_init_handles(load);
    load->begun_ns = uv_hrtime();
    if (load->args->mode == MODE_CHURN) {
        load->traffic.flowing = true;
        load_warm_up(load);
    }
    if (!load->failed)
        (void)uv_run(&load->loop, UV_RUN_DEFAULT);
    /* Only now, not at the end of the time: the answers that were late then must count as well. */
    load->result->latencies = load->traffic.latencies;
    load_close(load);
    return !load->failed;
}

bool load_run(const struct args *args, struct load_result *result)
{
    struct load *load = calloc(1, sizeof *load);
    if (load == NULL)
        return false;
    load->args = args;
    load->result = result;
    bool good = load_go(load);
    free(load->times);
    free(load->clients);
    free(load);
    return good;
}
