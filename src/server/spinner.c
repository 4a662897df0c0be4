#include "server/spinner.h"

#include "base/container_of.h"
#include "os/processor.h"

/* That it is active is all that is wanted of the handle. */
static void on_idle(uv_idle_t *idle)
{
    (void)idle;
}

static bool spinner_is_spinning(const struct spinner *spinner)
{
    return uv_is_active((const uv_handle_t *)&spinner->idle) != 0;
}

static void spinner_stop(struct spinner *spinner)
{
    (void)uv_idle_stop(&spinner->idle);
}

/* A poll has found something. */
static void spinner_begin(struct spinner *spinner)
{
    spinner->quiet_ns = 0;
    if (spinner_is_spinning(spinner) || uv_hrtime() < spinner->rested_ns)
        return;
    spinner->losses = processor_losses(); /* those at work do not count */
    (void)uv_idle_start(&spinner->idle, on_idle);
}

/* Others need the processor. */
static void spinner_rest(struct spinner *spinner, uint64_t now_ns)
{
    uint64_t last_ns = spinner->rest_ms * UINT64_C(1000000);
    unsigned rest_ms = now_ns - spinner->rested_ns > SPINNER_CALM * last_ns ? spinner->rest_ms / 2
                                                                            : spinner->rest_ms * 2;
    if (rest_ms < SPINNER_REST_MIN_MS)
        rest_ms = SPINNER_REST_MIN_MS;
    if (rest_ms > SPINNER_REST_MAX_MS)
        rest_ms = SPINNER_REST_MAX_MS;
    spinner->rest_ms = rest_ms;
    spinner->rested_ns = now_ns + rest_ms * UINT64_C(1000000);
    spinner_stop(spinner);
}

/*
 * Lets other threads run. If one has kept the processor for long, they need it. A long time alone
 * may also be due to interrupts, or to the host of a virtual machine.
 *
 * Looks at the clock at once, and not in the next round: that may find a message which has come
 * meanwhile, and then it is the message that has waited for the processor.
 */
static void spinner_give_way(struct spinner *spinner, uint64_t since_ns)
{
    processor_give_way();
    uint64_t now_ns = uv_hrtime();
    bool long_away = now_ns - since_ns >= SPINNER_AWAY_US * UINT64_C(1000);
    if (long_away && processor_losses() != spinner->losses)
        spinner_rest(spinner, now_ns);
}

static bool spinner_is_alone(const struct spinner *spinner)
{
    return counter_get(&spinner->conns->accepted) == counter_get(&spinner->conns->closed);
}

/* A poll has found nothing. The clock is asked here only, so that a message does not pay for it. */
static void spinner_go_on(struct spinner *spinner)
{
    uint64_t now_ns = uv_hrtime();
    if (spinner->quiet_ns == 0)
        spinner->quiet_ns = now_ns;
    if (now_ns - spinner->quiet_ns >= spinner->limit_ns || spinner_is_alone(spinner))
        spinner_stop(spinner);
    else if (++spinner->rounds % SPINNER_ROUNDS == 0)
        spinner_give_way(spinner, now_ns);
}

static void on_check(uv_check_t *check)
{
    struct spinner *spinner = container_of(check, struct spinner, check);
    if (sched_is_busy(spinner->conns->sched))
        spinner_begin(spinner);
    else if (spinner_is_spinning(spinner))
        spinner_go_on(spinner);
}

void spinner_start(struct spinner *spinner, const struct conns *conns, unsigned limit_us)
{
    uv_loop_t *loop = conns->sched->loop;
    *spinner = (struct spinner){.conns = conns, .limit_ns = limit_us * UINT64_C(1000)};
    (void)uv_check_init(loop, &spinner->check); /* documented to return 0 always, as the others */
    (void)uv_idle_init(loop, &spinner->idle);
    uv_unref((uv_handle_t *)&spinner->check);
    uv_unref((uv_handle_t *)&spinner->idle);
    (void)uv_check_start(&spinner->check, on_check);
}

void spinner_close(struct spinner *spinner)
{
    uv_close((uv_handle_t *)&spinner->check, NULL);
    uv_close((uv_handle_t *)&spinner->idle, NULL);
}
