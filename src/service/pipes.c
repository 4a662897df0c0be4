#include "service/pipes.h"

#include "os/net.h"

#include <stddef.h>
#include <stdlib.h>

void pipes_init(struct pipes *pipes, struct ledger *ledger)
{
    *pipes = (struct pipes){.ledger = ledger};
}

/* The ledger forgets an end before its number can be another's. */
static void pipes_close(const struct pipes *pipes, int out, int in)
{
    ledger_forget(pipes->ledger, out);
    ledger_forget(pipes->ledger, in);
    net_close(out);
    net_close(in);
}

static void pipes_free_one(const struct pipes *pipes, struct pipe *pipe)
{
    pipes_close(pipes, pipe->out, pipe->in);
    free(pipe);
}

void pipes_free(struct pipes *pipes)
{
    while (pipes->spare != NULL) {
        struct pipe *pipe = pipes->spare;
        pipes->spare = pipe->next;
        pipes_free_one(pipes, pipe);
    }
    pipes->made = 0;
}

/* Notes both ends. Only then may they outlive the process, because nobody else would close them. */
static int pipes_note(const struct pipes *pipes, int out, int in)
{
    const struct ledger_state read_end = {.kind = LEDGER_PIPE, .number = (uint32_t)in};
    const struct ledger_state write_end = {.kind = LEDGER_PIPE, .number = (uint32_t)out};
    int rc = ledger_keep(pipes->ledger, out, &read_end);
    if (rc < 0)
        return rc;
    rc = ledger_keep(pipes->ledger, in, &write_end);
    if (rc < 0) {
        ledger_forget(pipes->ledger, out);
        return rc;
    }
    net_survive_exec(out);
    net_survive_exec(in);
    return 0;
}

/* Returns 0 or a negative errno, with nothing open. */
static int pipes_open(const struct pipes *pipes, int *out, int *in)
{
    int rc = net_pipe(out, in, PIPES_BYTES);
    if (rc < 0)
        return rc;
    rc = pipes_note(pipes, *out, *in);
    if (rc < 0) {
        net_close(*out);
        net_close(*in);
    }
    return rc;
}

static struct pipe *pipes_make(struct pipes *pipes)
{
    int out;
    int in;
    if (pipes->made >= PIPES_MAX || pipes_open(pipes, &out, &in) < 0)
        return NULL;
    struct pipe *pipe = pipes_inherit(pipes, out, in);
    if (pipe == NULL)
        pipes_close(pipes, out, in);
    return pipe;
}

struct pipe *pipes_inherit(struct pipes *pipes, int out, int in)
{
    struct pipe *pipe = malloc(sizeof *pipe);
    if (pipe == NULL)
        return NULL;
    *pipe = (struct pipe){.in = in, .out = out};
    pipes->made++;
    return pipe;
}

struct pipe *pipes_get(struct pipes *pipes)
{
    struct pipe *pipe = pipes->spare;
    if (pipe == NULL)
        return pipes_make(pipes);
    pipes->spare = pipe->next;
    return pipe;
}

void pipes_put(struct pipes *pipes, struct pipe *pipe)
{
    pipe->next = pipes->spare;
    pipes->spare = pipe;
}

void pipes_drop(struct pipes *pipes, struct pipe *pipe)
{
    pipes_free_one(pipes, pipe);
    pipes->made--;
}
