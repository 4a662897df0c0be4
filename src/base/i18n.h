/*
 * i18n.h - messages in the reader's language (gettext(3)).
 *
 * What a person reads goes through here: log lines, help, errors. What a program reads does not:
 * names of options and the bytes on the wire. Catalogues are in src/share/po.
 */
#ifndef UVECHOD_I18N_H
#define UVECHOD_I18N_H

#if UVECHOD_GETTEXT
#include <libintl.h>
#define _(text)          gettext(text)
#define P_(one, many, n) ngettext(one, many, n) /* as many as there are things to count */
#else
#define _(text)          (text)
#define P_(one, many, n) ((n) == 1 ? (one) : (many))
#endif

#define N_(text) text /* translated later, where _() is applied to it */

/*
 * Takes the language from the environment (setlocale(3)) for the whole process, and the
 * catalogues from the directory `locale` beside the binary, as in a build tree, or else from
 * where they are installed. To be called once, before there is a second thread. Cannot fail:
 * without locale or catalogue, messages are English.
 */
void i18n_init(void);

#endif
