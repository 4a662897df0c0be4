#include "stream/remains.h"

#include <errno.h>

/* Whatever the entry says of an answer is of no account: the answer before has been sent. */
static int remains_unanswered(const struct ledger_state *state, const struct remains_counts *counts,
                              struct remains *remains)
{
    uint32_t unanswered = counts->in - state->received;
    if (state->kind == LEDGER_PIPE && unanswered != counts->piped)
        return -EPROTO;
    *remains = (struct remains){.unanswered = unanswered};
    return 0;
}

static int remains_left(const struct ledger_state *state, const struct remains_counts *counts,
                        struct remains *remains)
{
    uint32_t left = state->goal - counts->out;
    if (state->kind == LEDGER_PIPE ? left != counts->piped : left > state->len)
        return -EPROTO;
    *remains = (struct remains){.left = left};
    return 0;
}

static int remains_uncounted(const struct ledger_state *state, const struct remains_counts *counts,
                             struct remains *remains)
{
    if (state->kind != LEDGER_PIPE)
        return -EOPNOTSUPP;
    *remains = (struct remains){.left = counts->piped};
    return 0;
}

int remains_find(const struct ledger_state *state, const struct remains_counts *counts,
                 struct remains *remains)
{
    if (state->kind == LEDGER_NOTHING) {
        *remains = (struct remains){.left = 0};
        return 0;
    }
    if (!counts->known)
        return remains_uncounted(state, counts, remains);
    return counts->in != state->received ? remains_unanswered(state, counts, remains)
                                         : remains_left(state, counts, remains);
}
