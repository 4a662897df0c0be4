/*
 * text.h - making text from elsewhere fit to be part of a line for people.
 */
#ifndef UVECHOD_TEXT_H
#define UVECHOD_TEXT_H

#include <stddef.h>

/*
 * Replaces each byte of a control character by '?', so that one message is one line and a terminal
 * obeys nobody but its user. These are the characters of Unicode's class Cc: the bytes 0 to 31 and
 * 127 and, in UTF-8, the pairs that stand for 128 to 159.
 */
void text_clean(char *text, size_t len);

/*
 * Returns how many of len bytes to keep of a text that goes on after them, so that no character is
 * cut in two (UTF-8, RFC 3629). The last character goes, even where it is whole.
 */
size_t text_cut(const char *text, size_t len);

#endif
