#include "os/cidr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

enum { CIDR_IN = 32, CIDR_IN6 = 128, CIDR_MAPPED = CIDR_IN6 - CIDR_IN };

static bool cidr_is_mapped(const unsigned char *addr)
{
    static const unsigned char prefix[CIDR_MAPPED / 8] = {[10] = 0xff, [11] = 0xff};
    return memcmp(addr, prefix, sizeof prefix) == 0;
}

/* Digits only, and no zero before others. Returns the number, or -EINVAL. */
static int cidr_bits(const char *digits, int most)
{
    int bits = 0;
    if (*digits == '\0' || (digits[0] == '0' && digits[1] != '\0'))
        return -EINVAL;
    for (; *digits >= '0' && *digits <= '9' && bits <= most; digits++)
        bits = bits * 10 + (*digits - '0');
    return *digits == '\0' && bits <= most ? bits : -EINVAL;
}

/* A network of mapped addresses alone is one of IPv4. */
static void cidr_unmap(struct cidr *cidr)
{
    if (cidr->family != AF_INET6 || cidr->bits < CIDR_MAPPED || !cidr_is_mapped(cidr->net))
        return;
    cidr->family = AF_INET;
    cidr->bits -= CIDR_MAPPED;
    memmove(cidr->net, cidr->net + CIDR_MAPPED / 8, CIDR_IN / 8);
}

int cidr_parse(struct cidr *cidr, const char *text)
{
    char addr[INET6_ADDRSTRLEN];
    const char *slash = strchr(text, '/');
    size_t len = slash != NULL ? (size_t)(slash - text) : strlen(text);
    if (len >= sizeof addr)
        return -EINVAL;
    memcpy(addr, text, len);
    addr[len] = '\0';
    *cidr = (struct cidr){.family = strchr(addr, ':') != NULL ? AF_INET6 : AF_INET};
    if (inet_pton(cidr->family, addr, cidr->net) != 1)
        return -EINVAL;
    int most = cidr->family == AF_INET ? CIDR_IN : CIDR_IN6;
    int bits = slash != NULL ? cidr_bits(slash + 1, most) : most;
    if (bits < 0)
        return bits;
    cidr->bits = (uint8_t)bits;
    cidr_unmap(cidr);
    return 0;
}

static bool cidr_same(const unsigned char *one, const unsigned char *other, unsigned bits)
{
    const unsigned rest = bits % 8;
    if (memcmp(one, other, bits / 8) != 0)
        return false;
    return rest == 0 || (one[bits / 8] ^ other[bits / 8]) >> (8 - rest) == 0;
}

bool cidr_has(const struct cidr *cidr, const union net_peer *peer)
{
    sa_family_t family = peer->sa.sa_family;
    const unsigned char *addr = (const void *)&peer->in.sin_addr;
    if (family == AF_INET6) {
        addr = peer->in6.sin6_addr.s6_addr;
        if (cidr_is_mapped(addr)) {
            family = AF_INET;
            addr += CIDR_MAPPED / 8;
        }
    }
    return family == cidr->family && cidr_same(cidr->net, addr, cidr->bits);
}
