/*
 * test_chunks.c - the layout of buffers, the scatter list and the length of the answer, against a
 * naive reference that cuts the input into chunks one by one; and the pool. ledger_lend() and
 * ledger_take_back() are wrapped, to count the buffers and to fail. No loop, no sockets.
 */
#include "service/chunks.h"

#include "unit/support.h"

#include <stdbool.h>
#include <stdlib.h>

/* No layout needs more for a buffer. */
enum { BUFFER_BYTES = CHUNKS_BUFFER_BYTES + CHUNKS_SLOTS_MAX * CHUNKS_PREFIX_MAX };

static struct {
    bool fail;
    int live; /* buffers that are lent */
    int lent; /* buffers that have been lent since the test began */
} memory;

/* The ledger whose buffers the pool lends; nothing looks into it. */
static struct ledger ledger;

struct ledger_buffer __wrap_ledger_lend(struct ledger *lender);
void __wrap_ledger_take_back(struct ledger *lender, struct ledger_buffer buffer);

/* Fresh memory: a prefix that is not written would be seen. */
struct ledger_buffer __wrap_ledger_lend(struct ledger *lender)
{
    struct ledger_buffer buffer = {.number = (uint32_t)memory.lent + 1000};
    assert_ptr_equal(lender, &ledger);
    if (memory.fail)
        return buffer;
    memory.live++;
    memory.lent++;
    buffer.bytes = malloc(BUFFER_BYTES);
    assert_non_null(buffer.bytes);
    memset(buffer.bytes, 0xa5, BUFFER_BYTES);
    return buffer;
}

void __wrap_ledger_take_back(struct ledger *lender, struct ledger_buffer buffer)
{
    assert_ptr_equal(lender, &ledger);
    memory.live--;
    free(buffer.bytes);
}

static int setup(void **state)
{
    (void)state;
    memset(&memory, 0, sizeof memory);
    return 0;
}

/* All that was lent is given back. */
static int teardown(void **state)
{
    (void)state;
    assert_int_equal(memory.live, 0);
    return 0;
}

/* CHUNKS_PREFIX_MAX bytes for prefixes; each differs from the byte beside it. */
static const char *prefix_bytes(void)
{
    static char prefix[CHUNKS_PREFIX_MAX];
    for (size_t i = 0; i < sizeof prefix; i++)
        prefix[i] = (char)('!' + i % 89);
    return prefix;
}

/* Fills with bytes that no prefix contains. */
static void random_bytes(char *bytes, size_t count, unsigned *seed)
{
    for (size_t i = 0; i < count; i++)
        bytes[i] = (char)(rand_r(seed) % 2 != 0 ? -1 - rand_r(seed) % 100 : 0);
}

/* Makes the answer in the simplest way: copies prefix and chunk, one after the other. */
static size_t naive_answer(const char *prefix, size_t prefix_len, size_t chunk, const char *in,
                           size_t in_len, char *out)
{
    size_t len = 0;
    for (size_t at = 0; at < in_len; at += chunk) {
        size_t piece = in_len - at < chunk ? in_len - at : chunk;
        memcpy(out + len, prefix, prefix_len);
        memcpy(out + len + prefix_len, in + at, piece);
        len += prefix_len + piece;
    }
    return len;
}

/* Distributes the bytes as recvmsg(2) does. */
static void scatter_fill(const struct iovec *iov, const char *in, size_t in_len)
{
    for (; in_len > 0; iov++) {
        size_t piece = in_len < iov->iov_len ? in_len : iov->iov_len;
        memcpy(iov->iov_base, in, piece);
        in += piece;
        in_len -= piece;
    }
}

/* A read of in_len bytes into that many slots of a buffer gives the same as the naive answer. */
static void check_read(struct chunks *chunks, size_t chunk, unsigned slots, size_t in_len,
                       unsigned *seed)
{
    size_t room = in_len + (in_len / chunk + 1) * chunks->prefix_len;
    char *in = malloc(in_len);
    char *expected = malloc(room);
    struct ledger_buffer lent = chunks_get(chunks);
    char *buffer = lent.bytes;
    assert_non_null(buffer);
    random_bytes(in, in_len, seed);
    size_t len = naive_answer(prefix_bytes(), chunks->prefix_len, chunk, in, in_len, expected);

    scatter_fill(chunks_scatter(chunks, buffer, slots), in, in_len);
    assert_int_equal(chunks_answer(chunks, in_len), len);
    assert_memory_equal(buffer, expected, len);

    chunks_put(chunks, lent);
    free(expected);
    free(in);
}

/* Every slot is where the layout says: a whole prefix, and then as many bytes as a chunk has. */
static void check_layout(struct chunks *chunks, size_t prefix_len, size_t chunk)
{
    struct ledger_buffer lent = chunks_get(chunks);
    char *buffer = lent.bytes;
    assert_non_null(buffer);
    const struct iovec *iov = chunks_scatter(chunks, buffer, chunks->slots);
    for (size_t i = 0; i < chunks->slots; i++) {
        char *slot = buffer + i * (prefix_len + chunk);
        assert_memory_equal(slot, prefix_bytes(), prefix_len);
        assert_ptr_equal(iov[i].iov_base, slot + prefix_len);
        assert_int_equal(iov[i].iov_len, chunk);
    }
    chunks_put(chunks, lent);
}

static void check_boundaries(struct chunks *chunks, size_t chunk, unsigned *seed)
{
    const size_t most = chunks->slots * chunks->chunk;
    const size_t sizes[] = {1,         chunk - 1,     chunk,    chunk + 1,
                            2 * chunk, 2 * chunk + 1, most - 1, most};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i] > 0 && sizes[i] <= most)
            check_read(chunks, chunk, chunks->slots, sizes[i], seed);
}

static void test_layout(void **state)
{
    static const size_t sizes[] = {1, 999, 1000, 1001, 65536};
    static const unsigned slots[] = {1024, 65, 65, 65, 1};
    static const size_t prefixes[] = {1, 4, 255};
    unsigned seed = 1;
    (void)state;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++)
        for (size_t p = 0; p < sizeof prefixes / sizeof *prefixes; p++) {
            struct chunks chunks;
            chunks_init(&chunks, &ledger, prefix_bytes(), prefixes[p], sizes[s]);
            assert_int_equal(chunks.slots, slots[s]);
            check_layout(&chunks, prefixes[p], sizes[s]);
            check_boundaries(&chunks, sizes[s], &seed);
            chunks_free(&chunks);
        }
}

/* Without a prefix no client can see the chunk size, so every size is served by one large slot. */
static void test_layout_without_prefix(void **state)
{
    static const size_t sizes[] = {1, 999, 1000, 1001, 65536};
    unsigned seed = 2;
    (void)state;
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        struct chunks chunks;
        chunks_init(&chunks, &ledger, NULL, 0, sizes[s]);
        assert_int_equal(chunks.slots, 1);
        check_layout(&chunks, 0, CHUNKS_BUFFER_BYTES);
        check_boundaries(&chunks, sizes[s], &seed);
        chunks_free(&chunks);
    }
}

static void test_few_slots_can_be_described(void **state)
{
    struct chunks chunks;
    (void)state;
    chunks_init(&chunks, &ledger, "GOT:", 4, 10);
    struct ledger_buffer lent = chunks_get(&chunks);
    char *buffer = lent.bytes;
    chunks.iov[3].iov_len = 4711;
    const struct iovec *iov = chunks_scatter(&chunks, buffer, 3);
    assert_ptr_equal(iov[2].iov_base, buffer + 2 * 14 + 4);
    assert_int_equal(iov[3].iov_len, 4711);
    chunks_put(&chunks, lent);
    chunks_free(&chunks);
}

/* Prefix, chunk and read of any size, on buffers that are used again and again. */
static void test_random_reads_match_the_reference(void **state)
{
    unsigned seed = 25000;
    (void)state;
    for (int i = 0; i < 200; i++) {
        struct chunks chunks;
        size_t prefix_len = (size_t)rand_r(&seed) % (CHUNKS_PREFIX_MAX + 1);
        size_t chunk = 1 + (size_t)rand_r(&seed) % (i % 2 == 0 ? 50 : CHUNKS_CHUNK_MAX);
        chunks_init(&chunks, &ledger, prefix_bytes(), prefix_len, chunk);
        for (int read = 0; read < 5; read++) {
            unsigned slots = 1 + (unsigned)rand_r(&seed) % chunks.slots;
            size_t in_len = 1 + (size_t)rand_r(&seed) % (slots * chunks.chunk);
            check_read(&chunks, chunk, slots, in_len, &seed);
        }
        chunks_free(&chunks);
    }
}

static void test_the_prefix_is_copied(void **state)
{
    char prefix[] = "GOT:";
    struct chunks chunks;
    (void)state;
    chunks_init(&chunks, &ledger, prefix, 4, 1000);
    memset(prefix, '?', sizeof prefix);
    struct ledger_buffer buffer = chunks_get(&chunks);
    assert_memory_equal(buffer.bytes, "GOT:", 4);
    chunks_put(&chunks, buffer);
    chunks_free(&chunks);
}

/* The pool lends this buffer next, by its number and its bytes. */
static void check_lends(struct chunks *chunks, const struct ledger_buffer *expected)
{
    struct ledger_buffer buffer = chunks_get(chunks);
    assert_int_equal(buffer.number, expected->number);
    assert_ptr_equal(buffer.bytes, expected->bytes);
}

static void test_the_pool_gives_the_last_buffer_first(void **state)
{
    struct chunks chunks;
    (void)state;
    chunks_init(&chunks, &ledger, "GOT:", 4, 1000);
    struct ledger_buffer first = chunks_get(&chunks);
    struct ledger_buffer second = chunks_get(&chunks);
    assert_int_equal(first.number, 1000);
    assert_int_equal(second.number, 1001);
    chunks_put(&chunks, first);
    chunks_put(&chunks, second);
    assert_int_equal(chunks.spares, 2);
    check_lends(&chunks, &second);
    check_lends(&chunks, &first);
    assert_int_equal(chunks.spares, 0);
    assert_int_equal(memory.lent, 2);
    chunks_put(&chunks, first);
    chunks_put(&chunks, second);
    chunks_free(&chunks);
}

/* Of many buffers that come back, the pool keeps a few and gives the rest back at once. */
static void test_the_pool_is_bounded(void **state)
{
    struct ledger_buffer buffers[2 * CHUNKS_SPARES_MAX];
    struct chunks chunks;
    (void)state;
    chunks_init(&chunks, &ledger, "GOT:", 4, 1000);
    for (int i = 0; i < 2 * CHUNKS_SPARES_MAX; i++)
        buffers[i] = chunks_get(&chunks);
    for (int i = 0; i < 2 * CHUNKS_SPARES_MAX; i++) {
        chunks_put(&chunks, buffers[i]);
        assert_int_equal(chunks.spares, i < CHUNKS_SPARES_MAX ? i + 1 : CHUNKS_SPARES_MAX);
    }
    assert_int_equal(memory.live, CHUNKS_SPARES_MAX);
    chunks_free(&chunks);
    assert_int_equal(chunks.spares, 0);
}

static void test_no_memory(void **state)
{
    struct chunks chunks;
    (void)state;
    chunks_init(&chunks, &ledger, "GOT:", 4, 1000);
    struct ledger_buffer buffer = chunks_get(&chunks);
    memory.fail = true;
    assert_null(chunks_get(&chunks).bytes);
    chunks_put(&chunks, buffer);
    check_lends(&chunks, &buffer); /* a spare buffer needs no memory */
    memory.fail = false;
    chunks_put(&chunks, buffer);
    chunks_free(&chunks);
}

static void test_freeing_twice_is_harmless(void **state)
{
    struct chunks chunks;
    (void)state;
    chunks_init(&chunks, &ledger, "GOT:", 4, 1000);
    chunks_put(&chunks, chunks_get(&chunks));
    chunks_free(&chunks);
    chunks_free(&chunks);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_layout, setup, teardown),
        cmocka_unit_test_setup_teardown(test_layout_without_prefix, setup, teardown),
        cmocka_unit_test_setup_teardown(test_few_slots_can_be_described, setup, teardown),
        cmocka_unit_test_setup_teardown(test_random_reads_match_the_reference, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_prefix_is_copied, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_pool_gives_the_last_buffer_first, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_pool_is_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_memory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_freeing_twice_is_harmless, setup, teardown),
    };
    return RUN_TESTS("chunks", tests);
}
