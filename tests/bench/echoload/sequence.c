#include "echoload/sequence.h"

#include <errno.h>
#include <stdlib.h>

int sequence_init(struct sequence *sequence, size_t window)
{
    *sequence = (struct sequence){.window = window};
    sequence->times = calloc(window, sizeof *sequence->times);
    sequence->fates = calloc(window, sizeof *sequence->fates);
    if (sequence->times != NULL && sequence->fates != NULL)
        return 0;
    sequence_free(sequence);
    return -ENOMEM;
}

void sequence_free(struct sequence *sequence)
{
    free(sequence->times);
    free(sequence->fates);
    sequence->times = NULL;
    sequence->fates = NULL;
}

static size_t sequence_place(const struct sequence *sequence, uint64_t number)
{
    return (size_t)number & (sequence->window - 1);
}

static void sequence_lose(struct sequence *sequence, struct tally *tally, size_t place)
{
    sequence->fates[place] = FATE_LOST;
    sequence->pending--;
    tally->lost++;
}

void sequence_send(struct sequence *sequence, struct tally *tally, uint64_t ns)
{
    size_t place = sequence_place(sequence, sequence->next);
    if (sequence->fates[place] == FATE_PENDING)
        sequence_lose(sequence, tally, place);
    sequence->fates[place] = FATE_PENDING;
    sequence->times[place] = ns;
    sequence->next++;
    sequence->pending++;
    tally->sent++;
    if (sequence->next - sequence->oldest > sequence->window)
        sequence->oldest = sequence->next - sequence->window;
}

static enum sequence_fate sequence_fate(const struct sequence *sequence, uint64_t number)
{
    if (number >= sequence->next || sequence->next - number > sequence->window)
        return FATE_UNKNOWN;
    return sequence->fates[sequence_place(sequence, number)];
}

/* The datagram has an answer, right or wrong, and is neither pending nor lost any more. */
static void sequence_settle(struct sequence *sequence, struct tally *tally, uint64_t number,
                            enum sequence_fate fate)
{
    if (fate == FATE_PENDING)
        sequence->pending--;
    else if (fate == FATE_LOST)
        tally->lost--;
    if (fate != FATE_UNKNOWN)
        sequence->fates[sequence_place(sequence, number)] = FATE_ANSWERED;
}

static void sequence_order(struct sequence *sequence, struct tally *tally, uint64_t number)
{
    tally->answered++;
    if (number < sequence->behind)
        tally->reordered++;
    else
        sequence->behind = number + 1;
}

bool sequence_answer(struct sequence *sequence, struct tally *tally, uint64_t number, bool right,
                     uint64_t *sent_ns)
{
    enum sequence_fate fate = sequence_fate(sequence, number);
    sequence_settle(sequence, tally, number, fate);
    if (!right || number >= sequence->next)
        tally->wrong++;
    else if (fate == FATE_LOST)
        tally->late++;
    else if (fate != FATE_PENDING) /* nearly all that have left the window have been answered */
        tally->duplicates++;
    else
        sequence_order(sequence, tally, number);
    *sent_ns = sequence->times[sequence_place(sequence, number)];
    return right && fate == FATE_PENDING;
}

void sequence_expire(struct sequence *sequence, struct tally *tally, uint64_t ns)
{
    for (; sequence->oldest < sequence->next; sequence->oldest++) {
        size_t place = sequence_place(sequence, sequence->oldest);
        if (sequence->fates[place] != FATE_PENDING)
            continue;
        if (sequence->times[place] > ns)
            return;
        sequence_lose(sequence, tally, place);
    }
}
