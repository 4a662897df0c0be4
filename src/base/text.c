#include "base/text.h"

#include <stdbool.h>

void text_clean(char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        unsigned char next = i + 1 < len ? (unsigned char)text[i + 1] : 0;
        bool pair = c == 0xc2 && next >= 0x80 && next <= 0x9f;
        if (pair)
            text[i++] = '?';
        if (pair || c < ' ' || c == 0x7f)
            text[i] = '?';
    }
}

size_t text_cut(const char *text, size_t len)
{
    while (len > 0 && ((unsigned char)text[len - 1] & 0xc0) == 0x80)
        len--;
    return len > 0 && (unsigned char)text[len - 1] >= 0xc0 ? len - 1 : len;
}
