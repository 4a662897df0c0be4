/*
 * mail.c - datagrams that say which number they have, and how their answers are checked.
 */
#include "handover/mail.h"

#include "e2e/harness.h"

#include <errno.h>
#include <netinet/in.h>
#include <unistd.h>

enum {
    NUMBER_BYTES = 9,  /* in front: "#" and eight digits */
    AHEAD_MAX = 64,    /* more than the daemon receives at once */
    REST_MAX = 1000,   /* bytes behind the number, which are part of the pattern */
    ANSWER_MAX = 65536 /* more than any has */
};

void mail_init(struct mail *mail, const struct plan *plan, struct dice *dice)
{
    memset(mail, 0, sizeof *mail);
    mail->fd = -1;
    mail->plan = plan;
    mail->dice = dice;
}

void mail_open(struct mail *mail, const struct daemon *daemon)
{
    const struct sockaddr_in addr = {.sin_family = AF_INET,
                                     .sin_port = htons(daemon->port),
                                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    mail->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    assert_true(mail->fd >= 0);
    assert_int_equal(connect(mail->fd, (const struct sockaddr *)&addr, sizeof addr), 0);
}

void mail_close(struct mail *mail)
{
    if (mail->fd >= 0)
        (void)close(mail->fd);
    mail->fd = -1;
}

/* The same bytes for the same number. Returns how many. */
static size_t mail_write(uint32_t number, unsigned char *bytes)
{
    struct dice dice = {.state = number};
    const size_t rest = (size_t)dice_skewed(&dice, REST_MAX);
    (void)snprintf((char *)bytes, NUMBER_BYTES + 1, "#%08x", (unsigned)number);
    memcpy(bytes + NUMBER_BYTES, pattern_get(false) + dice_below(&dice, PATTERN_BYTES - REST_MAX),
           rest);
    return NUMBER_BYTES + rest;
}

/* The daemon's socket outlives every process, so only a lack of room may keep the kernel. */
static void mail_send(struct mail *mail)
{
    static unsigned char bytes[NUMBER_BYTES + REST_MAX];
    assert_true(mail->sent < MAIL_NUMBERS);
    const size_t len = mail_write(++mail->sent, bytes);
    if (send(mail->fd, bytes, len, 0) < 0 && errno != EAGAIN && errno != ENOBUFS)
        fail_msg("Datagram %u cannot be sent: %s", (unsigned)mail->sent, strerror(errno));
}

static bool mail_has(const struct mail *mail, uint32_t number)
{
    return (mail->seen[number / 64] >> number % 64 & 1) != 0;
}

static void mail_note(struct mail *mail, uint32_t number)
{
    if (mail_has(mail, number))
        fail_msg("Datagram %u is answered twice", (unsigned)number);
    mail->seen[number / 64] |= UINT64_C(1) << number % 64;
    mail->answers++;
    if (number > mail->newest)
        mail->newest = number;
}

static void mail_check(struct mail *mail, unsigned char *answer, size_t len)
{
    static unsigned char wanted[NUMBER_BYTES + REST_MAX];
    const size_t prefix = strlen(mail->plan->prefix);
    unsigned number = 0;
    answer[len] = '\0';
    if (len < prefix + NUMBER_BYTES || memcmp(answer, mail->plan->prefix, prefix) != 0 ||
        sscanf((const char *)answer + prefix, "#%8x", &number) != 1 || number == 0 ||
        number > mail->sent)
        fail_msg("An answer of %zu bytes answers nothing", len);
    if (mail_write(number, wanted) != len - prefix ||
        memcmp(answer + prefix, wanted, len - prefix) != 0)
        fail_msg("A wrong answer to datagram %u", number);
    mail_note(mail, number);
}

/*
 * How many are sent in a turn. With more ahead of the answers, the queues of both sides would be
 * full, and lose more than any end of the daemon. But for one now and then: all may be lost.
 */
static uint64_t mail_burst(const struct mail *mail)
{
    const uint32_t ahead = mail->sent - mail->newest;
    if (ahead >= AHEAD_MAX)
        return dice_once_in(mail->dice, 100) ? 1 : 0;
    return 1 + dice_skewed(mail->dice, AHEAD_MAX - 1 - ahead);
}

void mail_turn(struct mail *mail)
{
    static unsigned char answer[ANSWER_MAX + 1];
    ssize_t n;
    if (mail->fd < 0)
        return;
    for (uint64_t i = mail_burst(mail); i > 0; i--)
        mail_send(mail);
    while ((n = recv(mail->fd, answer, ANSWER_MAX, 0)) >= 0)
        mail_check(mail, answer, (size_t)n);
    if (errno != EAGAIN)
        fail_msg("Nobody answers datagrams: %s", strerror(errno));
}

void mail_ask(struct mail *mail)
{
    mail->mark = mail->sent;
}

bool mail_is_answered(const struct mail *mail)
{
    return mail->fd < 0 || mail->newest > mail->mark;
}
