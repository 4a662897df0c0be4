#include "service/pipes.h"

#include "os/net.h"

#include <stddef.h>
#include <stdlib.h>

void pipes_init(struct pipes *pipes)
{
    *pipes = (struct pipes){.spare = NULL};
}

static void pipe_close(struct pipe *pipe)
{
    net_close(pipe->in);
    net_close(pipe->out);
    free(pipe);
}

void pipes_free(struct pipes *pipes)
{
    while (pipes->spare != NULL) {
        struct pipe *pipe = pipes->spare;
        pipes->spare = pipe->next;
        pipe_close(pipe);
    }
    pipes->made = 0;
}

static struct pipe *pipes_make(struct pipes *pipes)
{
    struct pipe *pipe = pipes->made < PIPES_MAX ? malloc(sizeof *pipe) : NULL;
    if (pipe == NULL)
        return NULL;
    if (net_pipe(&pipe->out, &pipe->in, PIPES_BYTES) < 0) {
        free(pipe);
        return NULL;
    }
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
    pipe_close(pipe);
    pipes->made--;
}
