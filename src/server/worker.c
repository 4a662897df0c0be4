#include "server/worker.h"

#include "os/descriptors.h"
#include "stream/conn_log.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

static void on_conn_event(struct conn *conn, enum conn_event event, int error)
{
    struct worker *worker = container_of(conn_owner(conn), struct worker, conns);
    conn_log_event(worker->log, conn, event, error);
    if (event == CONN_OPENED || event == CONN_ADOPTED)
        reaper_unpark(&worker->reaper);
    if (event == CONN_OPENED)
        reaper_expect_header(&worker->reaper, conn);
    if (event == CONN_MISLED)
        complaints_add(worker->complaints, &conn->peer, (enum proxy_header_kind)error);
    if (event == CONN_ADOPTED) /* it may be ending, sooner than all that the reaper knows */
        reaper_wake(&worker->reaper);
    if (event == CONN_CLOSED) /* last, because the next connection may be logged from here on */
        worker->parent->on_room(worker->parent, worker);
}

static void worker_obey(struct worker *worker, unsigned orders, int error)
{
    if ((orders & WORKER_SHUT) != 0) {
        conns_shut_all(&worker->conns, error);
        reaper_wake(&worker->reaper);
    }
    if ((orders & WORKER_ABORT) != 0)
        conns_abort_all(&worker->conns, error);
    if ((orders & WORKER_DRAIN) != 0 && worker->responders != NULL)
        responders_stop(worker->responders);
    if (!worker->threaded)
        return; /* only a worker with a thread has the bell and answers the watchdog */
    if ((orders & WORKER_DRAIN) != 0)
        uv_unref((uv_handle_t *)&worker->bell);
    if ((orders & WORKER_PULSE) != 0)
        worker->awaited = false;
    if ((orders & WORKER_QUIT) != 0)
        uv_stop(&worker->loop);
}

/* Logs a failure here, because the thread that accepted the connection does not wait for it. */
static void worker_serve(struct worker *worker, const struct accepted *accepted)
{
    int rc = conn_open(&worker->conns, accepted);
    if (rc == 0)
        return;
    counter_publish(&worker->refused, 1);
    conn_log_refused(worker->log, rc);
    worker->parent->on_room(worker->parent, worker);
}

static struct yield worker_read(struct task *task)
{
    struct worker *worker = container_of(task, struct worker, reader);
    struct mail *mail = &worker->mail;
    mailbox_take(&worker->mailbox, mail);
    for (size_t i = 0; i < mail->count; i++)
        worker_serve(worker, &mail->accepted[i]);
    worker_obey(worker, mail->orders, mail->error);
    worker->reading = false;
    return yield_park(task, worker_read);
}

static void on_bell(uv_async_t *bell)
{
    struct worker *worker = container_of(bell, struct worker, bell);
    if (worker->reading)
        return;
    worker->reading = true;
    sched_wake(&worker->sched, &worker->reader);
}

static void on_turn(uv_prepare_t *turning)
{
    counter_add(&container_of(turning, struct worker, turning)->turns, 1);
}

/* Cannot fail: both functions are documented to return 0 always. */
static void worker_count_turns(struct worker *worker)
{
    worker->counts_turns = true;
    (void)uv_prepare_init(&worker->loop, &worker->turning);
    (void)uv_prepare_start(&worker->turning, on_turn);
    uv_unref((uv_handle_t *)&worker->turning);
}

static int worker_open_loop(struct worker *worker, const struct worker_config *config)
{
    int rc = descriptors_probe(config->fd);
    if (rc == 0)
        rc = uv_loop_init(&worker->loop);
    if (rc < 0)
        return rc;
    rc = sock_reserve(&worker->loop, config->fd, config->highest_fd);
    if (rc < 0)
        (void)uv_loop_close(&worker->loop);
    else
        net_survive_exec(uv_backend_fd(&worker->loop)); /* a successor closes it (takeover.h) */
    return rc;
}

/* What only a worker with a thread needs. The loop is open. */
static int worker_open_mail(struct worker *worker)
{
    int rc = mailbox_init(&worker->mailbox);
    if (rc < 0)
        return rc;
    rc = uv_async_init(&worker->loop, &worker->bell, on_bell);
    if (rc < 0)
        mailbox_free(&worker->mailbox);
    return rc;
}

/* The scheduler, the set of connections and the services. */
static int worker_open_conns(struct worker *worker, const struct worker_config *config)
{
    sched_init(&worker->sched, &worker->loop);
    int rc = conns_open(&worker->conns, &worker->sched, &config->services, config->ledger,
                        on_conn_event);
    if (rc < 0)
        sched_close(&worker->sched);
    worker->conns.sources = config->sources;
    worker->conns.proxies = config->proxies;
    return rc;
}

/* Undoes worker_open_mail() and worker_open_loop(). */
static void worker_close_loop(struct worker *worker)
{
    if (worker->threaded)
        uv_close((uv_handle_t *)&worker->bell, NULL);
    (void)uv_run(&worker->loop, UV_RUN_DEFAULT);
    int rc = uv_loop_close(&worker->loop);
    assert(rc == 0); /* a handle was left open */
    (void)rc;
    if (!worker->threaded)
        return;
    mailbox_free(&worker->mailbox);
    free(worker->mail.accepted);
}

int worker_open(struct worker *worker, const struct worker_config *config,
                struct worker_parent *parent, bool threaded)
{
    *worker = (struct worker){.log = config->log,
                              .complaints = config->complaints,
                              .parent = parent,
                              .threaded = threaded};
    int rc = worker_open_loop(worker, config);
    if (rc < 0)
        return rc;
    if (threaded) {
        rc = worker_open_mail(worker);
        if (rc < 0) {
            (void)uv_loop_close(&worker->loop);
            return rc;
        }
    }
    rc = worker_open_conns(worker, config);
    if (rc < 0) {
        worker_close_loop(worker);
        return rc;
    }
    reaper_start(&worker->reaper, &worker->conns, config->idle_ms, config->send_ms);
    worker->spins = config->busy_us > 0;
    if (worker->spins)
        spinner_start(&worker->spinner, &worker->conns, config->busy_us);
    worker->reading = true;
    if (threaded)
        sched_spawn(&worker->sched, &worker->reader, worker_read);
    if (config->counts_turns)
        worker_count_turns(worker);
    return 0;
}

void worker_run(struct worker *worker)
{
    worker->error = sched_run(&worker->sched);
}

/*
 * Only the starting thread handles signals. All signals are blocked here, so that the kernel
 * delivers none to this thread. Those that the daemon handles were blocked when the thread was
 * made: if this thread took one before it blocks it, an upgrade could lose that signal.
 */
static void on_thread(void *arg)
{
    struct worker *worker = arg;
    sigset_t all;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, NULL);
    (void)pthread_setname_np(pthread_self(), "uvechod worker"); /* 15 characters at most */
    worker_run(worker);
    worker->ended = true;
    worker->parent->on_room(worker->parent, worker);
}

int worker_start(struct worker *worker)
{
    return uv_thread_create(&worker->thread, on_thread, worker);
}

void worker_join(struct worker *worker)
{
    (void)uv_thread_join(&worker->thread); /* fails only for a thread that cannot be joined */
}

int worker_take(struct worker *worker, const struct accepted *accepted)
{
    int rc;
    if (!worker->threaded) {
        rc = conn_open(&worker->conns, accepted);
    } else {
        rc = mailbox_put(&worker->mailbox, accepted);
        if (rc < 0)
            conn_refuse(&worker->conns, accepted);
        else
            (void)uv_async_send(&worker->bell);
    }
    if (rc == 0)
        worker->handed++;
    return rc;
}

size_t worker_load(const struct worker *worker)
{
    return (size_t)(worker->handed - counter_get(&worker->conns.closed) -
                    counter_get(&worker->refused));
}

bool worker_is_behind(const struct worker *worker)
{
    return worker->handed != counter_get(&worker->conns.accepted) + counter_get(&worker->refused);
}

void worker_order(struct worker *worker, unsigned orders, int error)
{
    if (!worker->threaded) {
        worker_obey(worker, orders, error);
        return;
    }
    if ((orders & WORKER_PULSE) != 0)
        worker->awaited = true;
    mailbox_order(&worker->mailbox, orders, error);
    (void)uv_async_send(&worker->bell);
}

bool worker_alive(const struct worker *worker)
{
    return !worker->awaited || worker->ended;
}

void worker_close(struct worker *worker)
{
    if (worker->spins)
        spinner_close(&worker->spinner);
    if (worker->counts_turns)
        uv_close((uv_handle_t *)&worker->turning, NULL);
    reaper_close(&worker->reaper);
    sched_close(&worker->sched);
    worker_close_loop(worker);
    conns_close(&worker->conns);
}
