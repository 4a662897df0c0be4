#include "echoload/sample.h"

#include <uv.h>

void sample_take(struct sample *sample, pid_t pid, uint64_t messages, uint64_t bytes)
{
    *sample =
        (struct sample){.ns = uv_hrtime(), .messages = messages, .bytes = bytes, .cpu = cpu_own()};
    if (pid > 0)
        cpu_of_process(pid, &sample->server);
}

void sample_result(const struct sample *begin, const struct sample *end, struct load_result *result)
{
    result->seconds = (double)(end->ns - begin->ns) / 1e9;
    result->messages = end->messages - begin->messages;
    result->bytes = end->bytes - begin->bytes;
    result->cpu = end->cpu - begin->cpu;
    result->server_cpu = end->server.total - begin->server.total;
    result->server_user = end->server.user - begin->server.user;
    result->server_system = end->server.system - begin->server.system;
}
