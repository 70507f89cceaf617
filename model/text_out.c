/* text_out.c - bytes of tokens to complete UTF-8. See text_out.h. */
#include "model/text_out.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#define REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */

static bool append_text(tq_text_out *o, const char *p, size_t n) {
    if (!o->text || o->n + n + 1 > o->capacity) {
        size_t capacity = 2 * (o->n + n + 1) + 256;
        char *grown = realloc(o->text, capacity);
        if (!grown) return false;
        o->text = grown;
        o->capacity = capacity;
    }
    memcpy(o->text + o->n, p, n);
    o->n += n;
    o->text[o->n] = '\0';
    return true;
}

/* Could these n < 4 bytes be the beginning of a character? */
static bool is_prefix(const char *p, size_t n) {
    unsigned char lead = (unsigned char)p[0];
    size_t length = lead >= 0xF0 && lead < 0xF5 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC2 ? 2 : 1;
    if (lead >= 0xF5 || n >= length) return false;
    for (size_t i = 1; i < n; i++)
        if (((unsigned char)p[i] & 0xC0) != 0x80) return false;
    return true;
}

/* Moves what is complete in bytes to the text, invalid bytes as U+FFFD; what may go on waits, unless this is the end.
 */
static bool take_bytes(tq_text_out *o, const char *bytes, size_t n, bool end) {
    for (size_t i = 0; i < n;) {
        utf8proc_int32_t point;
        utf8proc_ssize_t left = (utf8proc_ssize_t)(n - i);
        utf8proc_ssize_t length = utf8proc_iterate((const utf8proc_uint8_t *)bytes + i, left, &point);
        if (length > 0) {
            if (!append_text(o, bytes + i, (size_t)length)) return false;
            i += (size_t)length;
        } else if (!end && left < 4 && is_prefix(bytes + i, (size_t)left)) {
            o->waiting = (size_t)left;
            memcpy(o->tail, bytes + i, o->waiting);
            return true;
        } else {
            if (!append_text(o, REPLACEMENT, strlen(REPLACEMENT))) return false;
            i++;
        }
    }
    return true;
}

int tq_text_out_put(tq_text_out *o, const char *bytes, size_t n, bool end, tq_err *err) {
    size_t before = o->n, waiting = o->waiting;
    char *joined = malloc(waiting + n + 1);
    if (!joined) return tq_fail(err, "out of memory");
    memcpy(joined, o->tail, waiting);
    if (n) memcpy(joined + waiting, bytes, n);
    o->waiting = 0;
    bool ok = take_bytes(o, joined, waiting + n, end);
    free(joined);
    if (!ok) return tq_fail(err, "out of memory");
    if (o->n > before && o->piece && !o->piece(o->ctx, o->text + before, o->n - before)) o->stopped = true;
    return TQ_OK;
}

int tq_text_out_take(tq_text_out *o, char **text, tq_err *err) {
    if (!o->text && !append_text(o, "", 0)) return tq_fail(err, "out of memory");
    *text = o->text;
    o->text = NULL;
    o->n = o->capacity = 0;
    return TQ_OK;
}
