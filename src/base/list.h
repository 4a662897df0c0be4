/*
 * list.h - a doubly linked ring: its head is a link that no element owns.
 *
 * Elements embed a struct list and are found again with container_of(). Every call is O(1).
 */
#ifndef UVECHOD_LIST_H
#define UVECHOD_LIST_H

#include "base/container_of.h"

#include <stdbool.h>

struct list {
    struct list *prev;
    struct list *next;
};

/* Makes an empty ring of head. */
static inline void list_init(struct list *head)
{
    head->prev = head;
    head->next = head;
}

static inline bool list_empty(const struct list *head)
{
    return head->next == head;
}

/* Puts link, which is in no ring, before head: at the end. */
static inline void list_append(struct list *head, struct list *link)
{
    link->prev = head->prev;
    link->next = head;
    head->prev->next = link;
    head->prev = link;
}

/* Takes link out of the ring that it is in. */
static inline void list_remove(struct list *link)
{
    link->prev->next = link->next;
    link->next->prev = link->prev;
}

#endif
