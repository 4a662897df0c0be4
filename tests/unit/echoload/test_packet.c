/*
 * packet.c of the load generator: a datagram of any size is told from its neighbours, from that of
 * another client and from one with a wrong byte, and its number is found in it. No sockets.
 */
#include "echoload/packet.h"

#include "unit/support.h"

static struct format format;
static char bytes[PACKET_MAX];

static void make(uint32_t client, uint64_t number, size_t size)
{
    char header[PACKET_HEADER];
    packet_header(header, client, number);
    size_t head = size < PACKET_HEADER ? size : PACKET_HEADER;
    memcpy(bytes, header, head);
    memcpy(bytes + head, packet_body(&format, client, number), size - head);
}

static int packet_setup(void **state)
{
    (void)state;
    format_init(&format, "", 0, 1000);
    return 0;
}

static void test_right(void **state)
{
    static const size_t sizes[] = {1, 2, 7, 8, 15, 16, 17, 64, 1472, 65507};
    (void)state;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        make(3, 70000, sizes[i]);
        assert_true(packet_is_right(&format, 3, 70000, sizes[i], bytes, sizes[i]));
        assert_false(packet_is_right(&format, 3, 70001, sizes[i], bytes, sizes[i]));
        assert_false(packet_is_right(&format, 3, 70000, sizes[i] + 1, bytes, sizes[i]));
        assert_int_equal(packet_number(bytes, sizes[i], 70002), 70000);
    }
}

static void test_every_byte_counts(void **state)
{
    enum { SIZE = 100 };
    (void)state;
    make(5, 1000, SIZE);
    for (size_t i = 0; i < SIZE; i++) {
        bytes[i] ^= 1;
        assert_false(packet_is_right(&format, 5, 1000, SIZE, bytes, SIZE));
        bytes[i] ^= 1;
    }
    assert_false(packet_is_right(&format, 4, 1000, SIZE, bytes, SIZE));
}

/* A byte says the number modulo 256: one of the last 256. */
static void test_number_of_a_byte(void **state)
{
    (void)state;
    for (uint64_t number = 1000; number < 1256; number++) {
        make(0, number, 1);
        assert_int_equal(packet_number(bytes, 1, 1256), number);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_right, packet_setup),
        cmocka_unit_test_setup(test_every_byte_counts, packet_setup),
        cmocka_unit_test_setup(test_number_of_a_byte, packet_setup),
    };
    return RUN_TESTS("packet", tests);
}
