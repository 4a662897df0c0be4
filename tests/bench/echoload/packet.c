#include "echoload/packet.h"

#include <string.h>

enum { PACKET_NUMBER = 8, PACKET_CLIENT = 4 };

static void packet_put(char *to, size_t len, uint64_t value)
{
    for (size_t i = 0; i < len; i++)
        to[i] = (char)(value >> 8 * i & 0xff);
}

/* Neighbours differ in all bytes (Fibonacci hashing). */
static uint64_t packet_hash(uint32_t client, uint64_t number)
{
    return (number + ((uint64_t)client << 40)) * UINT64_C(0x9e3779b97f4a7c15) >> 32;
}

void packet_header(char header[PACKET_HEADER], uint32_t client, uint64_t number)
{
    packet_put(header, PACKET_NUMBER, number);
    packet_put(header + PACKET_NUMBER, PACKET_CLIENT, client);
    packet_put(header + PACKET_NUMBER + PACKET_CLIENT,
               PACKET_HEADER - PACKET_NUMBER - PACKET_CLIENT, packet_hash(client, number));
}

const char *packet_body(const struct format *format, uint32_t client, uint64_t number)
{
    return format_pattern(format, packet_hash(client, number));
}

uint64_t packet_number(const char *bytes, size_t len, uint64_t next)
{
    size_t known = len < PACKET_NUMBER ? len : PACKET_NUMBER;
    uint64_t number = 0;
    for (size_t i = 0; i < known; i++)
        number |= (uint64_t)(unsigned char)bytes[i] << 8 * i;
    if (known == PACKET_NUMBER)
        return number;
    uint64_t period = UINT64_C(1) << 8 * known;
    uint64_t since = (next - 1 - number) & (period - 1); /* how many were sent after it */
    return next - 1 - since;
}

bool packet_is_right(const struct format *format, uint32_t client, uint64_t number, size_t size,
                     const char *bytes, size_t len)
{
    char header[PACKET_HEADER];
    packet_header(header, client, number);
    if (len != size || memcmp(header, bytes, len < PACKET_HEADER ? len : PACKET_HEADER) != 0)
        return false;
    return len <= PACKET_HEADER || memcmp(packet_body(format, client, number),
                                          bytes + PACKET_HEADER, len - PACKET_HEADER) == 0;
}
