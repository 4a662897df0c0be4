#include "server/kept.h"

#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

uint32_t kept_now_ms(void)
{
    return (uint32_t)(uv_hrtime() / 1000000);
}

void kept_tell_ledger(struct kept *kept, int ledger)
{
    if (kept != NULL)
        atomic_store(&kept->ledger, ledger > 0 ? ledger : 0);
}

void kept_tell_predecessor(struct kept *kept, int ledger)
{
    kept_tell_ledger(kept, ledger);
    kept_tell_ready(kept);
}

void kept_tell_ready(struct kept *kept)
{
    if (kept == NULL)
        return;
    kept_tell_moved(kept);
    atomic_store(&kept->ready, true);
}

void kept_tell_moved(struct kept *kept)
{
    if (kept != NULL)
        atomic_store(&kept->moved_ms, kept_now_ms());
}

/* Not exit(3), whose handlers would run while other threads serve. */
void kept_execute(struct kept *kept)
{
    atomic_store(&kept->executes, true);
    _exit(EXIT_SUCCESS);
}

uint64_t kept_crashed_ns(const struct kept *kept)
{
    return kept != NULL ? kept->crashed_ns : 0;
}

bool kept_blames(const struct kept *kept)
{
    return kept != NULL && kept->blames;
}
