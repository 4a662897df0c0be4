/*
 * list.h - a doubly linked ring. Its head is a link that belongs to no element.
 *
 * An element embeds a struct list, and container_of() finds the element from that link. Every call
 * is O(1).
 */
#ifndef UVECHOD_LIST_H
#define UVECHOD_LIST_H

#include "base/container_of.h"

#include <stdbool.h>

struct list {
    struct list *prev;
    struct list *next;
};

/* Makes head an empty ring. */
static inline void list_init(struct list *head)
{
    head->prev = head;
    head->next = head;
}

static inline bool list_empty(const struct list *head)
{
    return head->next == head;
}

/* Puts link at the end of the ring of head. The link must not be in a ring. */
static inline void list_append(struct list *head, struct list *link)
{
    link->prev = head->prev;
    link->next = head;
    head->prev->next = link;
    head->prev = link;
}

/* Takes link out of its ring. The link must be in one. */
static inline void list_remove(struct list *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
}

#endif
