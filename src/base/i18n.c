#include "base/i18n.h"

#if UVECHOD_GETTEXT

#include <limits.h>
#include <locale.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/*
 * Where the catalogues may be, relative to the directory of the binary: beside the binary in a
 * build tree, or where the installation puts them, for any prefix. The "/." is there because
 * /usr/bin/locale is a program.
 */
static const char *const i18n_places[] = {"locale/.", UVECHOD_LOCALEDIR_FROM_PROGRAM "/."};

enum { I18N_PLACES = sizeof i18n_places / sizeof *i18n_places };

/* Writes the path of the first of those places that exists; false if none does. */
static bool i18n_find(char path[static PATH_MAX])
{
    ssize_t len = readlink("/proc/self/exe", path, PATH_MAX);
    char *slash = len > 0 ? memrchr(path, '/', (size_t)len) : NULL;
    if (slash == NULL)
        return false;
    size_t room = PATH_MAX - (size_t)(slash + 1 - path);
    for (int i = 0; i < I18N_PLACES; i++) {
        int n = snprintf(slash + 1, room, "%s", i18n_places[i]);
        if ((size_t)n < room && access(path, X_OK) == 0)
            return true;
    }
    return false;
}

void i18n_init(void)
{
    char path[PATH_MAX];
    (void)setlocale(LC_ALL, "");
    (void)bindtextdomain("uvechod", i18n_find(path) ? path : UVECHOD_LOCALEDIR);
    (void)textdomain("uvechod");
}

#else

void i18n_init(void)
{
}

#endif
