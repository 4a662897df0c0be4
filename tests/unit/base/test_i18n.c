/*
 * i18n.c: the language of the environment, from the catalogues beside this executable, which the
 * build puts beside the daemon. The locales are those of the machine. Where a locale is missing,
 * the test makes it (localedef(1)); where that is not possible, the test is skipped and says so.
 */
#include "base/i18n.h"

#include "unit/support.h"

#include <errno.h>
#include <ftw.h>
#include <locale.h>
#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>

static char dir[32]; /* of the locales that the tests have made */

static int fixture_open(void **state)
{
    (void)state;
    (void)unsetenv("LANGUAGE");
    return 0;
}

static int on_entry(const char *path, const struct stat *file, int kind, struct FTW *place)
{
    (void)file;
    (void)kind;
    (void)place;
    return remove(path);
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

/* Runs localedef(1) without its output. Returns whether it has made the locale. */
static bool compile_locale(const char *language, const char *path)
{
    int status = -1;
    const char *const argv[] = {"localedef", "-i", language, "-f", "UTF-8", path, NULL};
    pid_t child;
    posix_spawn_file_actions_t actions;
    assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
    for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++)
        assert_int_equal(posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", O_WRONLY, 0),
                         0);
    int rc = posix_spawnp(&child, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    if (rc != 0)
        return false;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (status != 0)
        (void)rmdir(path); /* localedef leaves it, and the next call would take it for a locale */
    return status == 0;
}

/*
 * Makes the locale name of a language such as "de_DE"; false if that is not possible here. Each
 * locale has a directory of its own, because glibc remembers what it has not found in a directory.
 */
static bool make_locale(const char *language, const char *name)
{
    char path[64];
    (void)snprintf(path, sizeof path, "%s/%s", dir, language);
    assert_int_equal(setenv("LOCPATH", path, 1), 0);
    (void)mkdir(path, 0700);
    (void)snprintf(path, sizeof path, "%s/%s/%s", dir, language, name);
    return access(path, F_OK) == 0 || compile_locale(language, path);
}

/* Starts in that locale, or skips the test. */
static void start_in(const char *language, const char *name)
{
    if (!UVECHOD_GETTEXT) {
        print_message("this build has no gettext\n");
        skip();
    }
    if (!has_locale(name) && !(make_locale(language, name) && has_locale(name))) {
        print_message("no locale %s, and localedef cannot make it\n", name);
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

static void test_german(void **state)
{
    (void)state;
    start_in("de_DE", "de_DE.UTF-8");
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
    start_in("fr_FR", "fr_FR.UTF-8");
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
    start_in("de_DE", "de_DE.UTF-8");
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
        FIXTURE_TEST(test_german),
        FIXTURE_TEST(test_french),
        FIXTURE_TEST(test_a_preferred_language),
    };
    make_dir(dir);
    int failed = RUN_TESTS("i18n", tests);
    return nftw(dir, on_entry, 8, FTW_DEPTH | FTW_PHYS) == 0 ? failed : 1;
}
