#include "server/pace.h"

#include "base/container_of.h"
#include "base/i18n.h"

enum {
    PACE_SECOND_MS = 1000,
    PACE_TOKEN = 1000, /* so that a rate is also what comes back in a millisecond */
};

void pace_init(struct pace *pace, uv_loop_t *loop, struct acceptor *acceptor, struct log *log,
               unsigned rate)
{
    *pace = (struct pace){.acceptor = acceptor,
                          .log = log,
                          .rate = rate,
                          .credit = (uint64_t)rate * PACE_TOKEN,
                          .counted_ms = uv_now(loop)};
    (void)uv_timer_init(loop, &pace->timer); /* documented to return 0 always */
}

static void pace_count(struct pace *pace)
{
    uint64_t full = (uint64_t)pace->rate * PACE_TOKEN;
    uv_update_time(pace->timer.loop); /* this pass of the loop may have begun long ago */
    uint64_t now_ms = uv_now(pace->timer.loop);
    uint64_t passed_ms = now_ms - pace->counted_ms;
    pace->counted_ms = now_ms;
    if (passed_ms > PACE_SECOND_MS)
        passed_ms = PACE_SECOND_MS; /* more fills no more, and might overflow */
    pace->credit += passed_ms * pace->rate;
    if (pace->credit > full)
        pace->credit = full;
}

static void on_token(uv_timer_t *timer)
{
    acceptor_room(container_of(timer, struct pace, timer)->acceptor);
}

static void pace_tell(struct pace *pace)
{
    if (pace->pauses > 1 && pace->counted_ms - pace->told_ms < PACE_SECOND_MS)
        return;
    pace->told_ms = pace->counted_ms;
    log_write(pace->log, LOG_LEVEL_WARNING, _("--max-rate=%u is reached: connections wait"),
              pace->rate);
}

bool pace_allows(struct pace *pace)
{
    if (pace->rate == 0)
        return true;
    pace_count(pace);
    if (pace->credit >= PACE_TOKEN)
        return true;
    if (uv_is_active((const uv_handle_t *)&pace->timer))
        return false;
    uint64_t wait_ms = (PACE_TOKEN - pace->credit + pace->rate - 1) / pace->rate;
    (void)uv_timer_start(&pace->timer, on_token, wait_ms, 0);
    pace->pauses++;
    pace_tell(pace);
    return false;
}

void pace_take(struct pace *pace)
{
    if (pace->rate == 0)
        return;
    pace_count(pace); /* what has come during accept(2) does not come on top of a full bucket */
    if (pace->credit >= PACE_TOKEN)
        pace->credit -= PACE_TOKEN;
}

void pace_stop(struct pace *pace)
{
    uv_unref((uv_handle_t *)&pace->timer);
}

void pace_close(struct pace *pace)
{
    uv_close((uv_handle_t *)&pace->timer, NULL);
}
