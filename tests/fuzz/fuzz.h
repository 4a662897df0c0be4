/*
 * fuzz.h - what the fuzz targets share: the entry point, taking an input apart, and a check.
 *
 * A target turns the bytes of an input into a use of our code and checks what our code promises.
 * With UVECHOD_FUZZ, libFuzzer invents the inputs (https://llvm.org/docs/LibFuzzer.html); in every
 * other build, replay.c feeds the inputs that are kept in corpus/. An input must do the same in
 * every run: no time, no random number and no earlier input may have an effect.
 */
#ifndef UVECHOD_TESTS_FUZZ_H
#define UVECHOD_TESTS_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Tries one input. Returns 0; a finding ends the process. libFuzzer gives the name. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/*
 * Ends the process, and so reports a finding, if the condition does not hold. Not an assert(),
 * which NDEBUG would take away.
 */
#define CHECK(condition) ((condition) ? (void)0 : fuzz_fail(__FILE__, __LINE__, #condition))

static inline _Noreturn void fuzz_fail(const char *file, int line, const char *condition)
{
    (void)fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
    abort();
}

/* What is left of an input. */
struct fuzz {
    const uint8_t *at;
    size_t left;
};

/* The next byte, or 0 when no byte is left. */
static inline uint8_t fuzz_byte(struct fuzz *fuzz)
{
    if (fuzz->left == 0)
        return 0;
    fuzz->left--;
    return *fuzz->at++;
}

/* The next two bytes as a number, the high byte first. */
static inline unsigned fuzz_short(struct fuzz *fuzz)
{
    unsigned high = fuzz_byte(fuzz);
    return high << 8 | fuzz_byte(fuzz);
}

/*
 * The bytes up to the next NUL, which is passed, or up to the end. Returns a string of exactly the
 * memory that it needs, so that AddressSanitizer sees each byte read beyond its end; the caller
 * must free() it.
 */
static inline char *fuzz_string(struct fuzz *fuzz)
{
    size_t len = strnlen((const char *)fuzz->at, fuzz->left);
    char *string = malloc(len + 1);
    CHECK(string != NULL);
    memcpy(string, fuzz->at, len);
    string[len] = '\0';
    size_t passed = len < fuzz->left ? len + 1 : len;
    fuzz->at += passed;
    fuzz->left -= passed;
    return string;
}

/* How many bytes the first character of text has; 0 if text does not start with one (RFC 3629). */
static inline size_t fuzz_utf8_char(const unsigned char *text)
{
    unsigned c = text[0];
    if (c < 0x80)
        return 1;
    size_t len = c >= 0xc2 && c < 0xe0   ? 2
                 : c >= 0xe0 && c < 0xf0 ? 3
                 : c >= 0xf0 && c < 0xf5 ? 4
                                         : 0;
    for (size_t i = 1; i < len; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    bool surrogate_or_long = (c == 0xe0 && text[1] < 0xa0) || (c == 0xed && text[1] > 0x9f) ||
                             (c == 0xf0 && text[1] < 0x90) || (c == 0xf4 && text[1] > 0x8f);
    return surrogate_or_long ? 0 : len;
}

static inline bool fuzz_is_utf8(const char *text)
{
    const unsigned char *at = (const unsigned char *)text;
    for (size_t len; *at != '\0'; at += len)
        if ((len = fuzz_utf8_char(at)) == 0)
            return false;
    return true;
}

/* Whether text is exactly one line with its end, and has no other control character. */
static inline bool fuzz_is_line(const char *text, size_t size)
{
    const unsigned char *at = (const unsigned char *)text;
    for (size_t i = 0; i + 1 < size; i++)
        if (at[i] < ' ' || at[i] == 0x7f || (at[i] == 0xc2 && (at[i + 1] & 0xe0) == 0x80))
            return false;
    return size > 0 && at[size - 1] == '\n';
}

#endif
