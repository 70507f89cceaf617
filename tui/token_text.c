/* token_text.c - a token as a person reads it. */
#include "tui/token_text.h"

#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

/* Bytes of a whole printable character at p, 0 when there is none. */
static size_t visible(const char *p, size_t n) {
    utf8proc_int32_t point;
    utf8proc_ssize_t length = utf8proc_iterate((const utf8proc_uint8_t *)p, (utf8proc_ssize_t)n, &point);
    if (length <= 0 || point < 0x20 || point == 0x7F) return 0;
    utf8proc_category_t c = utf8proc_category(point);
    bool hidden = c == UTF8PROC_CATEGORY_CC || c == UTF8PROC_CATEGORY_CF || c == UTF8PROC_CATEGORY_ZL ||
                  c == UTF8PROC_CATEGORY_ZP || c == UTF8PROC_CATEGORY_CS || c == UTF8PROC_CATEGORY_CO ||
                  c == UTF8PROC_CATEGORY_CN;
    return hidden ? 0 : (size_t)length;
}

/* Writes at most five bytes and the end; returns how many. */
static size_t escape(char *out, unsigned char c) {
    enum { ROOM = 6 };
    int n = c == '\n'   ? snprintf(out, ROOM, "\\n")
            : c == '\t' ? snprintf(out, ROOM, "\\t")
                        : snprintf(out, ROOM, "\\x%02X", c);
    return (size_t)n;
}

const char *tq_token_show(const tq_tokenizer *t, int id, tq_token_text buf) {
    size_t n = 0, used = 0;
    const char *bytes = t && id >= 0 ? tq_tokenizer_bytes(t, id, &n) : NULL;
    if (!bytes || n == 0) {
        snprintf(buf, sizeof(tq_token_text), "#%d", id);
        return buf;
    }
    for (size_t i = 0, step; i < n && used + 12 < sizeof(tq_token_text); i += step) {
        step = visible(bytes + i, n - i);
        if (step) {
            memcpy(buf + used, bytes + i, step);
            used += step;
        } else {
            step = 1;
            used += escape(buf + used, (unsigned char)bytes[i]);
        }
        if (i + step < n && used + 12 >= sizeof(tq_token_text)) {
            memcpy(buf + used, "...", 3);
            used += 3;
        }
    }
    buf[used] = '\0';
    return buf;
}
