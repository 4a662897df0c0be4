#include "server/mailbox.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

enum { MAILBOX_ROOM = 64 }; /* at first: a listener's burst */

int mailbox_init(struct mailbox *mailbox)
{
    mailbox->mail = (struct mail){.accepted = NULL};
    return uv_mutex_init(&mailbox->lock);
}

void mailbox_free(struct mailbox *mailbox)
{
    assert(mailbox->mail.count == 0);
    free(mailbox->mail.accepted);
    uv_mutex_destroy(&mailbox->lock);
}

/* Makes room for one more. Returns 0 or -ENOMEM. */
static int mail_grow(struct mail *mail)
{
    if (mail->count < mail->room)
        return 0;
    size_t room = mail->room > 0 ? 2 * mail->room : MAILBOX_ROOM;
    struct accepted *accepted = realloc(mail->accepted, room * sizeof *accepted);
    if (accepted == NULL)
        return -ENOMEM;
    mail->accepted = accepted;
    mail->room = room;
    return 0;
}

int mailbox_put(struct mailbox *mailbox, const struct accepted *accepted)
{
    struct mail *mail = &mailbox->mail;
    uv_mutex_lock(&mailbox->lock);
    int rc = mail_grow(mail);
    if (rc == 0)
        mail->accepted[mail->count++] = *accepted;
    uv_mutex_unlock(&mailbox->lock);
    return rc;
}

void mailbox_order(struct mailbox *mailbox, unsigned orders, int error)
{
    uv_mutex_lock(&mailbox->lock);
    mailbox->mail.orders |= orders;
    if (error != 0)
        mailbox->mail.error = error;
    uv_mutex_unlock(&mailbox->lock);
}

void mailbox_take(struct mailbox *mailbox, struct mail *mail)
{
    struct mail empty = {.accepted = mail->accepted, .room = mail->room};
    uv_mutex_lock(&mailbox->lock);
    *mail = mailbox->mail;
    mailbox->mail = empty;
    uv_mutex_unlock(&mailbox->lock);
}
