/*
 * The simulated world has no datagrams: what would receive or send any is never called.
 */
#include "os/datagram.h"
#include "os/memory.h"
#include "world.h"

int datagram_open(const union net_addr *addr, int beside)
{
    (void)addr;
    (void)beside;
    world_fail("a datagram socket is opened");
}

int datagram_set_up(int fd)
{
    world_fail("descriptor %d is set up for datagrams", fd);
}

int datagrams_receive(int fd, bool local, struct datagrams_mail *mail)
{
    (void)local;
    (void)mail;
    world_fail("datagrams are received from descriptor %d", fd);
}

void datagrams_get(struct datagrams_mail *mail, unsigned number, struct datagram *datagram)
{
    (void)mail;
    (void)datagram;
    world_fail("datagram %u is looked at", number);
}

void datagrams_answer(struct datagrams_mail *mail, const struct datagram *datagram, char *bytes,
                      size_t len, const char *prefix, size_t prefix_len)
{
    (void)mail;
    (void)datagram;
    bytes[0] = 0; /* as the real one writes there */
    (void)prefix;
    world_fail("a datagram of %zu bytes is answered with a prefix of %zu", len, prefix_len);
}

void datagrams_send(int fd, struct datagrams_mail *mail, struct datagrams_sender *sender)
{
    (void)mail;
    (void)sender;
    world_fail("datagrams are sent to descriptor %d", fd);
}

bool datagram_is_full(int error)
{
    world_fail("error %d of a datagram is judged", error);
}

void *memory_map(size_t bytes)
{
    world_fail("%zu bytes are mapped for datagrams", bytes);
}
