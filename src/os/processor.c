#include "os/processor.h"

#include <sched.h>
#include <sys/resource.h>

void processor_give_way(void)
{
    (void)sched_yield(); /* always succeeds on Linux */
}

long processor_losses(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_nivcsw : 0;
}
