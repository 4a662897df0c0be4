#include "stream/responder.h"

#include "os/memory.h"
#include "os/net.h"

#include <errno.h>
#include <string.h>

enum {
    RESPONDER_ROUNDS = 64,        /* a turn: about 6 ms of a flood of small datagrams */
    RESPONDER_LAST_ROUNDS = 1024, /* at the end: all that a queue can hold, but not without limit */
    RESPONDER_ROUND_BYTES = 1 << 16, /* on average: a turn with larger ones has fewer rounds */
    RESPONDER_PAUSE_MS = 100,        /* the kernel does not say when there is memory again */
    RESPONDERS_QUIET_MS = 1000,
    RESPONDER_LONGEST_IN = 65507, /* bytes of a datagram: 65,535 less the headers (RFC 768, 791) */
    RESPONDER_LONGEST_IN6 = 65527,
};

/* ---- results ---- */

/* So many datagrams are dropped, for this reason. */
static void responders_count(struct responders *responders, const struct datagram *datagram,
                             unsigned count, enum datagram_result result)
{
    responders->counts[result] += count;
    responders->culprit = datagram->peer;
    responders->reason = result;
}

static void on_sent(struct datagrams_sender *sender, unsigned count)
{
    struct responders *responders = container_of(sender, struct responders, sender);
    responders->counts[DATAGRAM_ANSWERED] += count;
}

static void on_unsent(struct datagrams_sender *sender, const union net_addr *peer, unsigned count,
                      int error)
{
    struct responders *responders = container_of(sender, struct responders, sender);
    responders_count(responders, &(struct datagram){.peer = peer}, count,
                     datagram_is_full(error) ? DATAGRAM_FULL : DATAGRAM_FAILED);
}

/* Adds what a round has counted to what all loops have. */
static void responders_publish(struct responders *responders)
{
    struct ledger_datagrams *counts = responders->config->counts;
    for (int i = 0; i < DATAGRAM_RESULTS; i++) {
        const unsigned count = responders->counts[i];
        responders->counts[i] = 0;
        if (count > 0)
            (void)atomic_fetch_add_explicit(&counts->count[i], count, memory_order_relaxed);
        if (i != DATAGRAM_ANSWERED)
            responders->dropped += count;
    }
    if (responders->culprit == NULL)
        return;
    responders->dropped_peer = *responders->culprit;
    responders->culprit = NULL;
    responders->watcher->on_drop(responders->watcher, responders);
}

/* ---- one datagram ---- */

static size_t responders_longest(const union net_addr *peer)
{
    switch (peer->sa.sa_family) {
    case AF_INET:
        return RESPONDER_LONGEST_IN;
    case AF_INET6:
        return RESPONDER_LONGEST_IN6;
    default:
        return SIZE_MAX;
    }
}

/* Another daemon of our kind would answer our answer, for ever. */
static bool responders_is_answer(const struct responders_config *config, const char *bytes,
                                 size_t len)
{
    return config->prefix_len > 0 && len >= config->prefix_len &&
           memcmp(bytes, config->prefix, config->prefix_len) == 0;
}

/* The token comes last, because what is dropped must not use up any. */
static enum datagram_result responders_judge(const struct responders_config *config,
                                             const struct datagram *datagram, const char *bytes,
                                             size_t len, struct rate *rate)
{
    if (datagram->cut || config->prefix_len + len > responders_longest(datagram->peer))
        return DATAGRAM_SIZE;
    if (responders_is_answer(config, bytes, len))
        return DATAGRAM_PREFIX;
    return rate_take(rate) ? DATAGRAM_ANSWERED : DATAGRAM_RATE;
}

/* Answers each of the datagrams that are in one. */
static void responders_segments(struct responders *responders, const struct datagram *datagram)
{
    const struct responders_config *config = responders->config;
    struct rate *rate = rates_find(config->rates, datagram->peer, uv_now(responders->sched->loop));
    size_t at = 0;
    do {
        char *bytes = datagram->bytes + at;
        size_t len = datagram->len - at;
        if (len > datagram->segment)
            len = datagram->segment;
        enum datagram_result result = responders_judge(config, datagram, bytes, len, rate);
        if (result == DATAGRAM_ANSWERED)
            datagrams_answer(responders->mail, datagram, bytes, len, config->prefix,
                             config->prefix_len);
        else
            responders_count(responders, datagram, 1, result);
        at += len;
    } while (at < datagram->len);
}

static unsigned datagram_segments(const struct datagram *datagram)
{
    return datagram->len <= datagram->segment
               ? 1
               : (unsigned)((datagram->len + datagram->segment - 1) / datagram->segment);
}

/* Returns how many bytes the datagram has. */
static size_t responders_answer(struct responders *responders, unsigned number)
{
    struct datagram datagram;
    datagrams_get(responders->mail, number, &datagram);
    const unsigned segments = datagram_segments(&datagram);
    enum datagram_result result = origins_judge(&responders->config->origins, &datagram);
    if (segments > DATAGRAM_SEGMENTS) /* than which no kernel has sent more so far */
        result = DATAGRAM_SIZE;
    if (result == DATAGRAM_ANSWERED)
        responders_segments(responders, &datagram);
    else
        responders_count(responders, &datagram, segments, result);
    return datagram.len;
}

/* ---- the memory that is there while datagrams come ---- */

static void responders_give_back(struct responders *responders)
{
    if (responders->mail != NULL)
        memory_unmap(responders->mail, sizeof *responders->mail);
    responders->mail = NULL;
}

static void on_quiet(uv_timer_t *timer)
{
    struct responders *responders = container_of(timer, struct responders, quiet);
    if (!responders->used) {
        (void)uv_timer_stop(timer);
        responders_give_back(responders);
    }
    responders->used = false;
}

static bool responders_lend(struct responders *responders)
{
    responders->used = true;
    if (responders->mail != NULL)
        return true;
    responders->mail = memory_map(sizeof *responders->mail);
    if (responders->mail == NULL)
        return false;
    (void)uv_timer_start(&responders->quiet, on_quiet, RESPONDERS_QUIET_MS, RESPONDERS_QUIET_MS);
    return true;
}

/* ---- the task ---- */

/*
 * Returns how many datagrams have come, and adds their bytes to *bytes; or a negative errno of
 * datagrams_receive().
 */
static int responder_round(const struct responder *responder, size_t *bytes)
{
    struct responders *responders = responder->responders;
    struct rates *rates = responders->config->rates;
    int n = datagrams_receive(responder->sock.fd, responder->local, responders->mail);
    if (n < 0)
        return n;
    rates_lock(rates);
    for (int i = 0; i < n; i++)
        *bytes += responders_answer(responders, (unsigned)i);
    rates_unlock(rates);
    datagrams_send(responder->sock.fd, responders->mail, &responders->sender);
    responders_publish(responders);
    return n;
}

/*
 * A batch that is not full was all there was. After an error, which may have been that of a
 * datagram sent earlier, there is another try. Returns 0, or the negative errno of the last round.
 */
static int responder_rounds(const struct responder *responder, int rounds)
{
    const size_t enough = (size_t)rounds * RESPONDER_ROUND_BYTES;
    size_t bytes = 0;
    int rc = responders_lend(responder->responders) ? 0 : -ENOMEM;
    while (responder->responders->mail != NULL && rounds-- > 0 && bytes < enough) {
        rc = responder_round(responder, &bytes);
        if (rc == -EAGAIN || (rc >= 0 && rc < DATAGRAM_BATCH))
            return 0;
    }
    return rc < 0 ? rc : 0;
}

static struct yield responder_end(struct responder *responder)
{
    list_remove(&responder->link);
    timer_close(&responder->timer, NULL);
    sock_close(&responder->sock, NULL);
    return yield_done(&responder->task);
}

static struct yield responder_answer(struct task *task)
{
    struct responder *responder = container_of(task, struct responder, task);
    int rc =
        responder_rounds(responder, responder->stopping ? RESPONDER_LAST_ROUNDS : RESPONDER_ROUNDS);
    if (responder->stopping)
        return responder_end(responder);
    if (rc < 0)
        return yield_sleep(task, &responder->timer, RESPONDER_PAUSE_MS, responder_answer);
    return yield_recv(task, &responder->sock, responder_answer);
}

static struct yield responder_wait(struct task *task)
{
    struct responder *responder = container_of(task, struct responder, task);
    if (responder->stopping) /* stopped before the first step: no other wake will come */
        return responder_answer(task);
    return yield_recv(task, &responder->sock, responder_answer);
}

int responder_start(struct responder *responder, struct responders *responders, int fd, bool local)
{
    struct sched *sched = responders->sched;
    *responder = (struct responder){.responders = responders, .local = local};
    int rc = sock_init(&responder->sock, sched->loop, &sched->waker, fd);
    if (rc < 0)
        return rc;
    timer_init(&responder->timer, sched->loop, &sched->waker);
    list_append(&responders->list, &responder->link);
    sched_spawn(sched, &responder->task, responder_wait);
    return 0;
}

/* ---- all of a loop ---- */

void responders_init(struct responders *responders, struct sched *sched,
                     const struct responders_config *config, struct responders_watcher *watcher)
{
    *responders = (struct responders){.sched = sched,
                                      .config = config,
                                      .watcher = watcher,
                                      .sender = {.on_sent = on_sent, .on_unsent = on_unsent}};
    list_init(&responders->list);
    (void)uv_timer_init(sched->loop, &responders->quiet); /* documented to return 0 always */
    uv_unref((uv_handle_t *)&responders->quiet);
}

void responders_stop(struct responders *responders)
{
    for (struct list *link = responders->list.next; link != &responders->list; link = link->next) {
        struct responder *responder = container_of(link, struct responder, link);
        responder->stopping = true;
        sock_wake(&responder->sock);
        timer_wake(&responder->timer);
    }
}

void responders_close(struct responders *responders)
{
    while (!list_empty(&responders->list))
        (void)responder_end(container_of(responders->list.next, struct responder, link));
    uv_close((uv_handle_t *)&responders->quiet, NULL);
    responders_give_back(responders);
}
