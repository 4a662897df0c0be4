/*
 * test_languages.c - German and French: what people read is translated, what programs read is not.
 */
#include "harness.h"

#include <signal.h>
#include <stdlib.h>

struct language {
    const char *name;
    const char *listening;
    const char *connection;
    const char *closed;
    const char *stops; /* why a connection was closed */
    const char *finished;
    const char *stopping;
    const char *cannot_listen;
    const char *usage;
    const char *no_number;
    const char *none; /* of the manager's status */
};

static const struct language german = {
    .name = "de_DE",
    .listening = "Lausche auf ",
    .connection = "Verbindung von ",
    .closed = "Verbindung geschlossen: ",
    .stops = " (der Dienst wird beendet)",
    .finished = "Task abgeschlossen",
    .stopping = "warte auf 1 Verbindung,",
    .cannot_listen = "Lauschen auf ",
    .usage = "Aufruf: uvechod [OPTION]...\n",
    .no_number = "ist keine Zahl von 0 bis 65535",
    .none = "STATUS=0 Verbindungen; 0 Byte empfangen, 0 Byte gesendet",
};

static const struct language french = {
    .name = "fr_FR",
    .listening = "Écoute sur ",
    .connection = "Connexion de ",
    .closed = "Connexion fermée\u00a0: ",
    .stops = " (le démon s’arrête)",
    .finished = "Tâche terminée",
    .stopping = "attente de 1 connexion,",
    .cannot_listen = "Impossible d’écouter sur ",
    .usage = "Utilisation\u00a0: uvechod [OPTION]...\n",
    .no_number = "n’est pas un nombre de 0 à 65535",
    .none = "STATUS=0 connexion",
};

/* The environment in which the daemon speaks the language. */
static const char *const *speak(const struct language *language)
{
    if (!UVECHOD_GETTEXT)
        harness_skip("built without gettext");
    return harness_language(language->name);
}

/* Starts a daemon on 127.0.0.1, which must log that in this language. */
static void start(struct daemon *daemon, const struct language *language, const char *options)
{
    char all[128];
    (void)snprintf(all, sizeof all, "--bind=127.0.0.1 %s", options);
    daemon_launch(daemon, &(struct launch){.options = all, .setup = speak(language)});
    const char *line = daemon_wait_port(daemon, "");
    assert_int_equal(strncmp(line, language->listening, strlen(language->listening)), 0);
}

/* ---- the log ---- */

static void expect_line(struct daemon *daemon, const char *before, const char *name,
                        const char *after)
{
    char line[256];
    (void)snprintf(line, sizeof line, "%s%s%s", before, name, after);
    assert_string_equal(daemon_wait_line(daemon, ""), line);
}

/* All log lines of a connection are translated, and its bytes are not. */
static void check_life(struct daemon *daemon, const struct language *language)
{
    char name[80];
    start(daemon, language, "");
    int fd = client_connect(daemon);
    (void)client_name(fd, name);
    client_ping(fd, "GOT:", "hello");
    client_close(fd);
    expect_line(daemon, language->connection, name, "");
    expect_line(daemon, language->closed, name, "");
    expect_line(daemon, language->finished, "", "");
}

static void life_in_german(struct daemon *daemon)
{
    check_life(daemon, &german);
}

static void life_in_french(struct daemon *daemon)
{
    check_life(daemon, &french);
}

static void check_end(struct daemon *daemon, const struct language *language)
{
    char name[80];
    start(daemon, language, "--drain-timeout=1");
    int fd = client_connect(daemon);
    (void)client_name(fd, name);
    client_ping(fd, "GOT:", "hello");
    daemon_signal(daemon, SIGTERM);
    (void)daemon_wait_line(daemon, language->stopping);
    client_expect_end(fd);
    client_close(fd);
    assert_int_equal(daemon_wait_exit(daemon), 0);
    (void)daemon_wait_line(daemon, language->closed);
    assert_contains(daemon->line, name);
    assert_contains(daemon->line, language->stops);
}

static void end_in_german(struct daemon *daemon)
{
    check_end(daemon, &german);
}

static void end_in_french(struct daemon *daemon)
{
    check_end(daemon, &french);
}

/* In a language that has no translation, or is not installed. */
static void english_otherwise(struct daemon *daemon)
{
    static const char *const setup[] = {"LC_ALL=tlh_001.UTF-8", NULL};
    daemon_start_as(daemon, &(struct launch){.options = "--bind=127.0.0.1", .setup = setup});
    client_close(client_connect(daemon));
}

/* The error is one line, all translated but the option, which is as it must be typed. */
static void check_misuse(const struct language *language)
{
    const char *line = harness_run_refused(
        &(struct launch){.options = "--port=abc", .own_port = true, .setup = speak(language)}, 2,
        "--port", language->no_number);
    assert_int_equal(strncmp(line, "uvechod: ", 9), 0);
    assert_contains(line, "abc");
    assert_contains(line, "uvechod --help");
    assert_null(strstr(line, "Try "));
}

static void check_errors(const struct language *language)
{
    const struct launch launch = {
        .options = "--bind=unix:/nonexistent/socket", .own_port = true, .setup = speak(language)};
    const char *line =
        harness_run_refused(&launch, 1, language->cannot_listen, "unix:/nonexistent/socket");
    assert_int_equal(strncmp(line, language->cannot_listen, strlen(language->cannot_listen)), 0);
    check_misuse(language);
}

static void errors_in_german(struct daemon *daemon)
{
    (void)daemon;
    check_errors(&german);
}

static void errors_in_french(struct daemon *daemon)
{
    (void)daemon;
    check_errors(&french);
}

/* ---- what is not translated ---- */

static void check_stream(struct daemon *daemon, const struct language *language)
{
    struct stream stream;
    start(daemon, language, "--prefix=GOT: --chunk=1000 --idle-timeout=3600");
    stream_init(&stream, client_connect(daemon), 4, 1 << 20, true);
    streams_run(&stream, 1);
}

static void bytes_in_german(struct daemon *daemon)
{
    check_stream(daemon, &german);
}

static void bytes_in_french(struct daemon *daemon)
{
    check_stream(daemon, &french);
}

/* The manager reads keys, which stay; people read what follows STATUS=. */
static void check_notification(struct daemon *daemon, const struct language *language)
{
    char setting[128];
    char text[512] = "";
    const char *path = harness_path(language->name);
    const char *const *setup = speak(language);
    if (!UVECHOD_SYSTEMD)
        harness_skip("built without libsystemd");
    int fd = harness_bind_unix(path, SOCK_DGRAM);
    (void)snprintf(setting, sizeof setting, "NOTIFY_SOCKET=%s", path);
    const char *const all[] = {setting, setup[0], setup[1], NULL};
    daemon_launch(daemon, &(struct launch){.setup = all});
    assert_true(client_readable(fd, HARNESS_DEADLINE_MS));
    assert_int_equal(recv(fd, text, sizeof text - 1, 0), strlen("READY=1"));
    assert_string_equal(text, "READY=1");
    assert_true(client_readable(fd, HARNESS_DEADLINE_MS));
    assert_true(recv(fd, text, sizeof text - 1, 0) > 0);
    assert_int_equal(strncmp(text, language->none, strlen(language->none)), 0);
}

static void notification_in_german(struct daemon *daemon)
{
    check_notification(daemon, &german);
}

static void notification_in_french(struct daemon *daemon)
{
    check_notification(daemon, &french);
}

/* Returns the next line of help that starts with an option, or NULL. Moves *at behind it. */
static const char *next_option(const char **at)
{
    while (**at != '\0') {
        const char *line = *at;
        const char *end = strchr(line, '\n');
        *at = end != NULL ? end + 1 : line + strlen(line);
        if (line[strspn(line, " ")] == '-')
            return line;
    }
    return NULL;
}

/* How many characters a line has, which are fewer than its bytes. */
static size_t columns(const char *line)
{
    size_t count = 0;
    for (; *line != '\n' && *line != '\0'; line++)
        count += ((unsigned char)*line & 0xc0) != 0x80;
    return count;
}

static void check_columns(const char *text)
{
    for (const char *line = text; line != NULL && *line != '\0'; line = strchr(line, '\n')) {
        line += *line == '\n';
        assert_between(columns(line), 0, 100);
    }
}

/* The same options in the same places, and another explanation of each. */
static void compare_help(const char *english, const char *other)
{
    enum { LEFT = 31 }; /* columns of the option itself */
    unsigned count = 0;
    for (const char *line; (line = next_option(&english)) != NULL; count++) {
        const char *translated = next_option(&other);
        assert_non_null(translated);
        assert_memory_equal(line, translated, LEFT);
        size_t len = strcspn(line, "\n");
        if (strncmp(line, translated, len + 1) == 0)
            fail_msg("Not translated: %.*s", (int)len, line);
    }
    assert_null(next_option(&other));
    assert_between(count, 14, 40);
}

static void check_help(const struct language *language)
{
    static struct outcome english; /* too large for a stack */
    static struct outcome other;
    struct launch launch = {.options = "--help", .own_port = true};
    harness_run(&english, &launch);
    launch.setup = speak(language);
    harness_run(&other, &launch);
    assert_int_equal(other.status, 0);
    assert_string_equal(other.err, "");
    assert_int_equal(strncmp(other.out, language->usage, strlen(language->usage)), 0);
    compare_help(english.out, other.out);
    check_columns(other.out);
    assert_contains(other.out, "SIGUSR1");
}

static void help_in_german(struct daemon *daemon)
{
    (void)daemon;
    check_help(&german);
}

static void help_in_french(struct daemon *daemon)
{
    (void)daemon;
    check_help(&french);
}

int main(void)
{
    harness_init();
    const struct CMUnitTest tests[] = {
        e2e_test(life_in_german),         e2e_test(life_in_french),
        e2e_test(end_in_german),          e2e_test(end_in_french),
        e2e_test(english_otherwise),      e2e_test(errors_in_german),
        e2e_test(errors_in_french),       e2e_test(bytes_in_german),
        e2e_test(bytes_in_french),        e2e_test(notification_in_german),
        e2e_test(notification_in_french), e2e_test(help_in_german),
        e2e_test(help_in_french),
    };
    return cmocka_run_group_tests_name("e2e.languages", tests, NULL, NULL);
}
