/*
 * verifier.c of the load generator: a right answer passes however the server cuts it into chunks
 * and the network into pieces. Every kind of wrong answer is found, at the first wrong byte. No
 * loop, no sockets.
 */
#include "echoload/verifier.h"

#include "unit/support.h"

#include <stdlib.h>

enum { SENT = 5000, ANSWER_MAX = 256 * SENT };

static struct format format;
static struct verifier verifier;
static struct mismatch mismatch;
static char answer[ANSWER_MAX];
static size_t answer_len;

static void use_format(const char *prefix, size_t chunk)
{
    format_init(&format, prefix, strlen(prefix), chunk);
    verifier_init(&verifier, 7);
    answer_len = 0;
}

static void add(const char *bytes, size_t len)
{
    assert_true(answer_len + len <= sizeof answer);
    memcpy(answer + answer_len, bytes, len);
    answer_len += len;
}

static void add_prefix(void)
{
    add(format.prefix, format.prefix_len);
}

static void add_chunk(uint64_t offset, size_t len)
{
    add_prefix();
    add(format_pattern(&format, verifier.start + offset), len);
}

/* The answer to SENT bytes, in chunks of random lengths. */
static void add_answer(unsigned *seed)
{
    for (size_t offset = 0; offset < SENT;) {
        size_t len = 1 + (size_t)rand_r(seed) % format.chunk;
        len = len < SENT - offset ? len : SENT - offset;
        add_chunk(offset, len);
        offset += len;
    }
}

static bool feed(const char *bytes, size_t len)
{
    return verifier_feed(&verifier, &format, SENT, bytes, len, &mismatch);
}

static void expect_wrong(uint64_t offset, int expected, int got)
{
    assert_false(feed(answer, answer_len));
    assert_int_equal(mismatch.offset, offset);
    assert_int_equal(mismatch.expected, expected);
    assert_int_equal(mismatch.got, (unsigned char)got);
}

static unsigned char pattern_byte(uint64_t offset)
{
    return (unsigned char)*format_pattern(&format, verifier.start + offset);
}

static void test_pattern_has_no_prefix_and_no_period_but_its_own(void **state)
{
    (void)state;
    for (int first = 1; first < 256; first += 85) {
        use_format((char[]){(char)first, '\0'}, 1000);
        assert_null(memchr(format.pattern, first, sizeof format.pattern));
    }
    const char *start = format_pattern(&format, 0);
    assert_ptr_equal(start, format_pattern(&format, PATTERN_PERIOD));
    for (uint64_t shift = 1; shift < PATTERN_PERIOD; shift++)
        assert_memory_not_equal(start, format_pattern(&format, shift), 16);
}

static void test_connections_start_apart(void **state)
{
    (void)state;
    struct verifier other;
    for (uint64_t serial = 1; serial < PATTERN_PERIOD; serial++) {
        verifier_init(&verifier, 0);
        verifier_init(&other, serial);
        assert_int_not_equal(verifier.start, other.start);
    }
    verifier_init(&other, UINT64_MAX);
    assert_true(other.start < PATTERN_PERIOD);
}

static void test_right_answers_pass_however_cut(void **state)
{
    (void)state;
    const char *prefixes[] = {"GOT:", "", "aab", "GGG", "x"};
    unsigned seed = 862;
    for (int i = 0; i < 1000; i++) {
        use_format(prefixes[i % 5], 1 + (size_t)rand_r(&seed) % 1500);
        add_answer(&seed);
        for (size_t fed = 0; fed < answer_len;) {
            size_t len = 1 + (size_t)rand_r(&seed) % 2000;
            len = len < answer_len - fed ? len : answer_len - fed;
            assert_true(feed(answer + fed, len));
            fed += len;
        }
        assert_int_equal(verifier.received, SENT);
        assert_int_equal(verifier.wire, answer_len);
    }
}

/* If a single byte of an answer is changed, left out or doubled, the verifier notices. */
static void test_every_single_error_is_found(void **state)
{
    (void)state;
    unsigned seed = 1;
    use_format("GOT:", 100);
    add_answer(&seed);
    for (size_t at = 0; at < answer_len; at++) {
        answer[at] ^= 1;
        verifier_init(&verifier, 7);
        assert_false(feed(answer, answer_len));
        /* One byte later if the wrong byte looks like the start of a prefix. */
        assert_true(mismatch.offset <= at + 1);
        answer[at] ^= 1;

        verifier_init(&verifier, 7);
        bool good = feed(answer, at) && feed(answer + at + 1, answer_len - at - 1);
        assert_false(good && verifier.received == SENT);

        verifier_init(&verifier, 7);
        good = feed(answer, at + 1) && feed(answer + at, answer_len - at);
        assert_false(good);
    }
}

static void test_surplus_is_found(void **state)
{
    (void)state;
    use_format("GOT:", SENT);
    add_chunk(0, SENT);
    add("z", 1);
    expect_wrong(SENT + 4, -1, 'z');

    use_format("GOT:", SENT);
    add_chunk(0, SENT);
    add_prefix();
    expect_wrong(SENT + 4, -1, 'G');

    use_format("", SENT);
    assert_false(verifier_feed(&verifier, &format, 0, "z", 1, &mismatch));
    assert_int_equal(mismatch.expected, -1);
}

static void test_missing_prefix_is_found(void **state)
{
    (void)state;
    use_format("GOT:", 1000);
    add(format_pattern(&format, verifier.start), 1);
    expect_wrong(0, 'G', answer[0]);
}

static void test_empty_chunk_is_found(void **state)
{
    (void)state;
    use_format("GOT:", 1000);
    add_prefix();
    add_chunk(0, 10);
    expect_wrong(4, pattern_byte(0), 'G');
}

static void test_too_long_chunk_is_found(void **state)
{
    (void)state;
    use_format("GOT:", 1000);
    add_chunk(0, 1001);
    expect_wrong(1004, 'G', pattern_byte(1000));
}

static void test_other_connections_bytes_are_found(void **state)
{
    (void)state;
    struct verifier other;
    use_format("", 1000);
    verifier_init(&other, 8);
    add(format_pattern(&format, other.start), SENT);
    assert_false(feed(answer, answer_len));
    assert_true(mismatch.offset < 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pattern_has_no_prefix_and_no_period_but_its_own),
        cmocka_unit_test(test_connections_start_apart),
        cmocka_unit_test(test_right_answers_pass_however_cut),
        cmocka_unit_test(test_every_single_error_is_found),
        cmocka_unit_test(test_surplus_is_found),
        cmocka_unit_test(test_missing_prefix_is_found),
        cmocka_unit_test(test_empty_chunk_is_found),
        cmocka_unit_test(test_too_long_chunk_is_found),
        cmocka_unit_test(test_other_connections_bytes_are_found),
    };
    return RUN_TESTS("verifier", tests);
}
