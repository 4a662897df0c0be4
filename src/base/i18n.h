/*
 * i18n.h - messages in the reader's language (gettext(3)).
 *
 * What a person reads is translated: log lines, help, errors. What a program reads is not: names of
 * options and the bytes on the wire. The catalogues are in src/share/po.
 */
#ifndef UVECHOD_I18N_H
#define UVECHOD_I18N_H

#if UVECHOD_GETTEXT
#include <libintl.h>
#define _(text)          gettext(text)
#define P_(one, many, n) ngettext(one, many, n) /* by the number n: singular or plural */
#else
#define _(text)          (text)
#define P_(one, many, n) ((n) == 1 ? (one) : (many))
#endif

#define N_(text) text /* only marks text; _() must be applied to it later */

/*
 * Takes the language from the environment (setlocale(3)) for the whole process. The catalogues are
 * those in the directory `locale` beside the binary, as in a build tree, or otherwise the installed
 * ones. Must be called once, before there is a second thread. Cannot fail: without a locale or a
 * catalogue, messages are English.
 */
void i18n_init(void);

#endif
