/*
 * i18n.c: the language of the environment, from the catalogues beside this executable, which the
 * build puts beside the daemon. The locales are those of the machine or, where it has none, those
 * that the build has made. Without either, the test is skipped and says so.
 */
#include "base/i18n.h"

#include "unit/support.h"

#include <errno.h>
#include <locale.h>

static bool readlink_fails;
static const char *binary; /* where the binary is said to be; NULL: where it is */

ssize_t __real_readlink(const char *path, char *buf, size_t size);
ssize_t __wrap_readlink(const char *path, char *buf, size_t size);

ssize_t __wrap_readlink(const char *path, char *buf, size_t size)
{
    if (binary != NULL) {
        memcpy(buf, binary, strlen(binary));
        return (ssize_t)strlen(binary);
    }
    if (!readlink_fails)
        return __real_readlink(path, buf, size);
    errno = ENOENT;
    return -1;
}

static int fixture_open(void **state)
{
    (void)state;
    (void)unsetenv("LANGUAGE");
    return 0;
}

static int fixture_close(void **state)
{
    (void)state;
    (void)setenv("LC_ALL", "C", 1);
    (void)unsetenv("LOCPATH");
    i18n_init();
    return 0;
}

/* Starts as the daemon does with LC_ALL=name. */
static void start_with(const char *name)
{
    assert_int_equal(setenv("LC_ALL", name, 1), 0);
    i18n_init();
}

static bool has_locale(const char *name)
{
    bool found = setlocale(LC_ALL, name) != NULL;
    assert_non_null(setlocale(LC_ALL, "C"));
    return found;
}

/* Starts in that locale, or skips the test. */
static void start_in(const char *name)
{
    if (!UVECHOD_GETTEXT) {
        print_message("this build has no gettext\n");
        skip();
    }
    bool found = has_locale(name);
    if (!found)
        assert_int_equal(setenv("LOCPATH", UVECHOD_TEST_LOCALES, 1), 0);
    if (!found && !has_locale(name)) {
        print_message("no locale %s, and localedef(1) could not make it\n", name);
        skip();
    }
    start_with(name);
}

static void expect_count(unsigned long count, const char *expected)
{
    char text[128];
    (void)snprintf(text, sizeof text, P_("%lu connection", "%lu connections", count), count);
    assert_string_equal(text, expected);
}

static void expect_english(void)
{
    assert_string_equal(_("Task finished"), "Task finished");
    expect_count(0, "0 connections");
    expect_count(1, "1 connection");
    expect_count(2, "2 connections");
}

static void test_english(void **state)
{
    static const char *const names[] = {"C", "C.UTF-8", "POSIX", "xx_XX.UTF-8", "", "\n"};
    (void)state;
    expect_english(); /* also before the start */
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        start_with(names[i]);
        expect_english();
    }
}

/* Without /proc nobody knows where the binary is: the daemon speaks English, unless it is
 * installed. */
static void test_without_proc(void **state)
{
    (void)state;
    readlink_fails = true;
    start_with("C.UTF-8");
    readlink_fails = false;
    expect_english();
}

/* A binary that stands by itself takes the catalogues of an installed one. */
static void test_without_catalogues(void **state)
{
    (void)state;
    binary = "/proc/self/uvechod";
    start_with("C.UTF-8");
    binary = NULL;
#if UVECHOD_GETTEXT
    assert_string_equal(bindtextdomain("uvechod", NULL), UVECHOD_LOCALEDIR);
#endif
    expect_english();
}

static void test_german(void **state)
{
    (void)state;
    start_in("de_DE.UTF-8");
    assert_string_equal(_("Task finished"), "Task abgeschlossen");
    expect_count(0, "0 Verbindungen");
    expect_count(1, "1 Verbindung");
    expect_count(2, "2 Verbindungen");
    assert_string_equal(_("no such message"), "no such message");
    assert_string_equal(_(N_("Task finished")), "Task abgeschlossen");
}

/* Zero is singular here, unlike in English and German. */
static void test_french(void **state)
{
    (void)state;
    start_in("fr_FR.UTF-8");
    assert_string_equal(_("Task finished"), "T\xc3\xa2"
                                            "che termin\xc3\xa9"
                                            "e");
    expect_count(0, "0 connexion");
    expect_count(1, "1 connexion");
    expect_count(2, "2 connexions");
}

/* The language of the messages need not be that of the locale: gettext(3) has a variable for it. */
static void test_a_preferred_language(void **state)
{
    (void)state;
    start_in("de_DE.UTF-8");
    assert_int_equal(setenv("LANGUAGE", "xx:fr:de", 1), 0);
    i18n_init();
    expect_count(2, "2 connexions");
    assert_int_equal(setenv("LANGUAGE", "xx:da", 1), 0); /* these have no catalogue */
    i18n_init();
    expect_english();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_english),
        FIXTURE_TEST(test_without_proc),
        FIXTURE_TEST(test_without_catalogues),
        FIXTURE_TEST(test_german),
        FIXTURE_TEST(test_french),
        FIXTURE_TEST(test_a_preferred_language),
    };
    return RUN_TESTS("i18n", tests);
}
