#include "server/metrics.h"

#include "os/net.h"
#include "server/exposition.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* RFC 9110, 15. */
enum { METRICS_OK = 200, METRICS_NOT_FOUND = 404, METRICS_FAILED = 500, METRICS_UNAVAILABLE = 503 };

/* ---- answers ---- */

/* Without memory for the body, the answer is METRICS_FAILED. */
static void metrics_expose(struct metrics *metrics, enum exposition_format format,
                           struct http_reply *reply)
{
    struct stats stats = {.workers = 0};
    reply->status = METRICS_FAILED;
    FILE *out = open_memstream(&reply->body, &reply->len);
    if (out == NULL)
        return;
    metrics->metered->stats(metrics->metered, &stats);
    process_measure(&stats.process);
    stats.process_started_us = metrics->process_started_us;
    exposition_write(out, format, &stats);
    if (fclose(out) != 0) { /* the body may lack its end */
        free(reply->body);
        reply->body = NULL;
        reply->len = 0;
        return;
    }
    reply->status = METRICS_OK;
    reply->type = exposition_type(format);
}

/* One line for people. Without memory there is only the status. */
static void metrics_say(struct http_reply *reply, unsigned status, const char *word)
{
    const size_t len = strlen(word);
    reply->status = status;
    reply->type = "text/plain; charset=utf-8";
    reply->body = malloc(len + 1);
    if (reply->body == NULL)
        return;
    memcpy(reply->body, word, len);
    reply->body[len] = '\n';
    reply->len = len + 1;
}

static void metrics_say_alive(struct metrics *metrics, struct http_reply *reply)
{
    if (metrics->metered->alive(metrics->metered))
        metrics_say(reply, METRICS_OK, "ok");
    else
        metrics_say(reply, METRICS_UNAVAILABLE, "stuck");
}

static void metrics_say_ready(struct metrics *metrics, struct http_reply *reply)
{
    const char *why = metrics->metered->busy(metrics->metered);
    if (why == NULL)
        metrics_say(reply, METRICS_OK, "ok");
    else
        metrics_say(reply, METRICS_UNAVAILABLE, why);
}

static void metrics_answer(struct http_handler *handler, const struct http_request *request,
                           struct http_reply *reply)
{
    struct metrics *metrics = container_of(handler, struct metrics, handler);
    if (strcmp(request->path, "/metrics") == 0)
        metrics_expose(metrics, exposition_choose(request->accept), reply);
    else if (strcmp(request->path, "/stats") == 0)
        metrics_expose(metrics, EXPOSITION_JSON, reply);
    else if (strcmp(request->path, "/livez") == 0)
        metrics_say_alive(metrics, reply);
    else if (strcmp(request->path, "/readyz") == 0)
        metrics_say_ready(metrics, reply);
    else
        metrics_say(reply, METRICS_NOT_FOUND, "/metrics /stats /livez /readyz");
}

/* ---- the task ---- */

static void on_again(uv_timer_t *again)
{
    sock_wake(&container_of(again, struct metrics, again)->sock);
}

/* A wait of 0 is a turn of the run queue, so that clients of the daemon come between. */
static struct yield metrics_serve(struct task *task)
{
    struct metrics *metrics = container_of(task, struct metrics, task);
    int64_t wait_ms = http_run(&metrics->http);
    if (wait_ms == 0) {
        sched_wake(metrics->sched, task);
        return yield_park(task, metrics_serve);
    }
    (void)uv_timer_stop(&metrics->again);
    if (wait_ms > 0) {
        uv_update_time(metrics->sched->loop);
        (void)uv_timer_start(&metrics->again, on_again, (uint64_t)wait_ms, 0);
    }
    return yield_recv(task, &metrics->sock, metrics_serve);
}

int metrics_start(struct metrics *metrics, struct sched *sched, int listening,
                  struct metered *metered)
{
    metrics->handler.answer = metrics_answer;
    metrics->sched = sched;
    metrics->metered = metered;
    metrics->process_started_us = process_started_us();
    int fd = http_open(&metrics->http, listening, &metrics->handler);
    if (fd < 0)
        return fd;
    int rc = sock_init(&metrics->sock, sched->loop, &sched->waker, fd);
    if (rc < 0) {
        net_close(fd);
        http_close(&metrics->http);
        return rc;
    }
    (void)uv_timer_init(sched->loop, &metrics->again); /* documented to return 0 always */
    uv_unref((uv_handle_t *)&metrics->again);
    uv_unref((uv_handle_t *)&metrics->sock.poll);
    sched_spawn(sched, &metrics->task, metrics_serve);
    metrics->open = true;
    return 0;
}

void metrics_close(struct metrics *metrics)
{
    if (!metrics->open)
        return;
    metrics->open = false;
    metrics->sock.recv_wait = NULL; /* no task may wait when a socket is closed */
    uv_close((uv_handle_t *)&metrics->again, NULL);
    sock_close(&metrics->sock, NULL);
    http_close(&metrics->http);
}
