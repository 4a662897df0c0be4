/*
 * crowd.c - clients of many habits.
 */
#include "handover/crowd.h"

#include "e2e/harness.h"

#include <poll.h>

enum {
    MESSAGE_MAX = 4000, /* bytes, of ping-pong and churn */
    SMALL_MAX = 200,    /* of pipelined messages */
    SIP_MAX = 3000,     /* that a slow reader receives at once */
    REST_MAX = 20000,   /* of a client that ends its sending side */
    AHEAD_BYTES = 200,
    AHEAD_PIPELINED = 65536,
    POLL_MS = 100,
};

static const uint64_t endless = UINT64_MAX / 2;

void crowd_init(struct crowd *crowd, const struct daemon *daemon, const struct plan *plan,
                struct dice *dice)
{
    *crowd = (struct crowd){.daemon = daemon, .plan = plan, .dice = dice};
}

/* ---- one client ---- */

/* Of each version one. The second has a NUL in it. */
static void member_take_header(struct crowd *crowd, struct member *member)
{
    static const char v1[] = "PROXY TCP4 192.0.2.1 192.0.2.2 1234 25000\r\n";
    static const char v2[] = "\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x13"
                             "\xc0\x00\x02\x01\xc0\x00\x02\x02\x04\xd2\x61\xa8\x04\x00\x04noop";
    bool second = dice_once_in(crowd->dice, 2);
    member->header = second ? v2 : v1;
    member->header_left = crowd->plan->proxied ? (second ? sizeof v2 : sizeof v1) - 1 : 0;
}

/* Sends a piece of the header, or waits for another turn: so the daemon ends in the middle of it.
 */
static void member_send_header(struct crowd *crowd, struct member *member, short revents)
{
    size_t len = 1 + dice_skewed(crowd->dice, member->header_left - 1);
    if ((revents & POLLOUT) == 0 || !dice_once_in(crowd->dice, 4))
        return;
    client_send(member->stream.fd, member->header, len);
    member->header += len;
    member->header_left -= len;
}

static void member_come(struct crowd *crowd, struct member *member)
{
    struct stream *stream = &member->stream;
    const struct plan *plan = crowd->plan;
    bool small = member->habit == HABIT_SLOW || member->habit == HABIT_ABSENT;
    int fd = small ? client_connect_small(crowd->daemon) : client_connect(crowd->daemon);
    stream_init(stream, fd, (unsigned)dice_below(crowd->dice, PATTERN_BYTES), endless,
                plan->prefix[0] != '\0');
    stream->prefix = plan->prefix;
    stream->prefix_len = strlen(plan->prefix);
    stream->chunk_max = plan->chunk;
    member->wanted = member->habit == HABIT_IDLE ? 0 : endless;
    member->leave = (enum leave)dice_below(crowd->dice, LEAVES);
    if (member->habit == HABIT_CHURN)
        member->wanted = 1 + dice_skewed(crowd->dice, MESSAGE_MAX);
    if (member->habit == HABIT_HALF_CLOSED)
        member->wanted = 1 + dice_skewed(crowd->dice, REST_MAX);
    if (member->habit == HABIT_HALF_CLOSED ||
        (member->habit == HABIT_CHURN && member->leave == LEAVE_POLITELY))
        stream->total = member->wanted;
    member_take_header(crowd, member);
    crowd->connections++;
}

/* How many bytes it sends before answers must come. */
static uint64_t member_ahead(const struct member *member)
{
    switch (member->habit) {
    case HABIT_IDLE:
    case HABIT_PING_PONG:
        return 1;
    case HABIT_BYTES:
        return AHEAD_BYTES;
    case HABIT_PIPELINED:
        return AHEAD_PIPELINED;
    default:
        return endless;
    }
}

/* Whether it does not look at what has come. */
static bool member_is_deaf(const struct crowd *crowd, const struct member *member)
{
    if (crowd->leaves)
        return false;
    if (member->habit == HABIT_SLOW || (member->habit == HABIT_HALF_CLOSED && !member->stream.shut))
        return !dice_once_in(crowd->dice, 4);
    return member->habit == HABIT_ABSENT;
}

static short member_events(const struct crowd *crowd, const struct member *member)
{
    const struct stream *stream = &member->stream;
    if (member->header_left > 0)
        return POLLOUT;
    bool sends =
        stream->sent < member->wanted && stream->sent - stream->checked < member_ahead(member);
    bool shuts = stream->sent == stream->total && !stream->shut;
    return (short)((member_is_deaf(crowd, member) ? 0 : POLLIN) | (sends || shuts ? POLLOUT : 0));
}

static size_t member_send_max(const struct crowd *crowd, const struct member *member)
{
    switch (member->habit) {
    case HABIT_PING_PONG:
        return 1 + dice_skewed(crowd->dice, MESSAGE_MAX);
    case HABIT_PIPELINED:
        return 1 + dice_below(crowd->dice, SMALL_MAX);
    case HABIT_BYTES:
        return 1;
    default:
        return member->wanted < endless ? (size_t)(member->wanted - member->stream.sent) : 0;
    }
}

static void member_go(struct crowd *crowd, struct member *member, bool reset)
{
    crowd->bytes += member->stream.checked;
    if (reset)
        client_reset(member->stream.fd);
    else
        client_close(member->stream.fd);
    member->stream.fd = -1;
}

/* A client that leaves by itself. Returns whether it has gone. */
static bool member_churns(struct crowd *crowd, struct member *member)
{
    const struct stream *stream = &member->stream;
    bool answered = stream->checked == member->wanted;
    if (member->habit != HABIT_CHURN || crowd->leaves)
        return false;
    if (member->leave == LEAVE_RESET && (answered || dice_once_in(crowd->dice, 8))) {
        member_go(crowd, member, true);
        return true;
    }
    if ((member->leave == LEAVE_ANSWERED && answered) ||
        (member->leave == LEAVE_AT_ONCE && stream->sent == member->wanted)) {
        member_go(crowd, member, false);
        return true;
    }
    return false;
}

static void member_act(struct crowd *crowd, struct member *member, short revents)
{
    struct stream *stream = &member->stream;
    if (member->header_left > 0) {
        member_send_header(crowd, member, revents);
        return;
    }
    stream->send_max = member_send_max(crowd, member);
    stream->recv_max =
        member->habit == HABIT_SLOW && !crowd->leaves ? 1 + dice_skewed(crowd->dice, SIP_MAX) : 0;
    stream_act(stream, revents);
    bool gone = member_churns(crowd, member);
    if (!gone && stream->ended) {
        member_go(crowd, member, false);
        gone = true;
    }
    if (gone && !crowd->leaves)
        member_come(crowd, member);
}

/* ---- all of them ---- */

void crowd_join(struct crowd *crowd, enum habit habit, unsigned count)
{
    for (; count > 0; count--) {
        assert_true(crowd->count < CROWD_MAX);
        struct member *member = &crowd->members[crowd->count++];
        *member = (struct member){.habit = habit};
        member_come(crowd, member);
    }
}

void crowd_turn(struct crowd *crowd, int ms)
{
    struct pollfd ready[CROWD_MAX];
    for (size_t i = 0; i < crowd->count; i++) {
        struct member *member = &crowd->members[i];
        ready[i] = (struct pollfd){.fd = member->stream.fd};
        if (ready[i].fd >= 0)
            ready[i].events = member_events(crowd, member);
    }
    if (poll(ready, crowd->count, ms) <= 0)
        return;
    for (size_t i = 0; i < crowd->count; i++)
        if (ready[i].revents != 0)
            member_act(crowd, &crowd->members[i], ready[i].revents);
}

/* Turns until this is so of the client. It may take its time while bytes come or go. */
static void crowd_wait_member(struct crowd *crowd, const struct member *member,
                              bool (*holds)(const struct member *), const char *what)
{
    const struct stream *stream = &member->stream;
    uint64_t moved = 0;
    uint64_t deadline = harness_now_ms() + HARNESS_DEADLINE_MS;
    while (stream->fd >= 0 && !holds(member)) {
        crowd_turn(crowd, POLL_MS);
        if (stream->sent + stream->checked + stream->prefixes != moved) {
            moved = stream->sent + stream->checked + stream->prefixes;
            deadline = harness_now_ms() + HARNESS_DEADLINE_MS;
        }
        if (harness_now_ms() > deadline)
            fail_msg("A client (%s) %s, after %llu of %llu bytes", habit_name(member->habit), what,
                     (unsigned long long)stream->checked, (unsigned long long)stream->sent);
    }
}

static void crowd_wait(struct crowd *crowd, bool (*holds)(const struct member *), const char *what)
{
    for (size_t i = 0; i < crowd->count; i++)
        crowd_wait_member(crowd, &crowd->members[i], holds, what);
}

static bool member_is_answered(const struct member *member)
{
    return member->habit != HABIT_IDLE || member->stream.checked == member->wanted;
}

void crowd_ping(struct crowd *crowd)
{
    for (size_t i = 0; i < crowd->count; i++)
        if (crowd->members[i].habit == HABIT_IDLE)
            crowd->members[i].wanted += 1 + dice_skewed(crowd->dice, MESSAGE_MAX);
    crowd_wait(crowd, member_is_answered, "is not answered");
}

static bool member_has_met(const struct member *member)
{
    return member->stream.checked > 0 || member->wanted == 0;
}

void crowd_meet(struct crowd *crowd)
{
    crowd_wait(crowd, member_has_met, "gets no answer");
}

static bool member_stays(const struct member *member)
{
    return member->habit == HABIT_IDLE && member->stream.total == endless;
}

void crowd_leave(struct crowd *crowd, bool idle)
{
    size_t kept = 0;
    crowd->leaves = true;
    for (size_t i = 0; i < crowd->count; i++) {
        struct member *member = &crowd->members[i];
        if (!idle && member->habit == HABIT_IDLE)
            continue;
        member->stream.total = member->stream.sent;
        member->wanted = member->stream.sent;
    }
    crowd_wait(crowd, member_stays, "does not come to its end");
    for (size_t i = 0; i < crowd->count; i++)
        if (crowd->members[i].stream.fd >= 0)
            crowd->members[kept++] = crowd->members[i];
    crowd->count = kept;
    crowd->leaves = false;
}
