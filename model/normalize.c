/* normalize.c - text made valid UTF-8, and the normalizer's steps. */
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "model/tokenizer_internal.h"

bool tq_buffer_add(tq_buffer *b, const void *data, size_t n) {
    if (n > b->capacity - b->n) {
        size_t need;
        size_t capacity;
        if (!tq_add_size(&need, b->n, n) || !tq_mul_size(&capacity, need, 2)) return false;
        char *grown = realloc(b->data, capacity);
        if (!grown) return false;
        b->data = grown;
        b->capacity = capacity;
    }
    if (n > 0) memcpy(b->data + b->n, data, n);
    b->n += n;
    return true;
}

/* How many bytes at p (n of them, n > 0) form a character; *valid says whether a whole one. What is ill-formed is as
 * long as the longest prefix of a well-formed sequence that it is, at least 1. */
static size_t sequence(const unsigned char *p, size_t n, bool *valid) {
    unsigned char lo = 0x80;
    unsigned char hi = 0xBF;
    size_t len = p[0] < 0x80 ? 1 : p[0] < 0xC2 ? 0 : p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : p[0] < 0xF5 ? 4 : 0;
    *valid = len == 1;
    if (len <= 1) return 1;
    if (p[0] == 0xE0) lo = 0xA0;
    if (p[0] == 0xED) hi = 0x9F;
    if (p[0] == 0xF0) lo = 0x90;
    if (p[0] == 0xF4) hi = 0x8F;
    for (size_t i = 1; i < len; i++) {
        if (i == n || p[i] < lo || p[i] > hi) return i;
        lo = 0x80;
        hi = 0xBF;
    }
    *valid = true;
    return len;
}

size_t tq_utf8_length(const char *p) {
    unsigned char c = (unsigned char)*p;
    return c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
}

bool tq_is_space(int32_t c) {
    return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
           c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool tq_utf8_valid(const char *text, size_t n) {
    bool valid = true;
    for (size_t i = 0; i < n && valid;)
        i += sequence((const unsigned char *)text + i, n - i, &valid);
    return valid;
}

bool tq_utf8_lossy(const char *text, size_t n, tq_buffer *out) {
    bool valid;
    for (size_t i = 0; i < n;) {
        size_t from = i;
        size_t len = 0;
        for (valid = true; i < n; i += len) {
            len = sequence((const unsigned char *)text + i, n - i, &valid);
            if (!valid) break;
        }
        if (!tq_buffer_add(out, text + from, i - from)) return false;
        if (i == n) break;
        if (!tq_buffer_add(out, "\xEF\xBF\xBD", 3)) return false;
        i += len;
    }
    return true;
}

static bool is_ascii(const char *p, size_t n) {
    unsigned char all = 0;
    for (size_t i = 0; i < n; i++)
        all |= (unsigned char)p[i];
    return all < 0x80;
}

/* ASCII is the same in every normalization form. */
static bool unicode_form(tq_normal_kind kind, const char *text, size_t n, tq_buffer *out) {
    static const utf8proc_option_t options[] = {
        [TQ_NORMAL_NFC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE,
        [TQ_NORMAL_NFD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE,
        [TQ_NORMAL_NFKC] = UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT,
        [TQ_NORMAL_NFKD] = UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT,
    };
    if (is_ascii(text, n)) return tq_buffer_add(out, text, n);
    utf8proc_uint8_t *mapped = NULL;
    utf8proc_ssize_t len = utf8proc_map((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)n, &mapped, options[kind]);
    bool ok = len >= 0 && tq_buffer_add(out, mapped, (size_t)len);
    free(mapped);
    return ok;
}

static bool replace(const tq_normal_step *step, const char *text, size_t n, tq_buffer *out) {
    size_t len = strlen(step->from);
    size_t i = 0;
    while (i < n) {
        const char *hit = memmem(text + i, n - i, step->from, len);
        size_t to = hit ? (size_t)(hit - text) : n;
        if (!tq_buffer_add(out, text + i, to - i)) return false;
        if (hit && !tq_buffer_add(out, step->to, strlen(step->to))) return false;
        i = hit ? to + len : n;
    }
    return true;
}

static bool run_step(const tq_normal_step *step, const char *text, size_t n, tq_buffer *out) {
    switch (step->kind) {
    case TQ_NORMAL_PREPEND: /* an empty text stays empty */
        return n == 0 || (tq_buffer_add(out, step->to, strlen(step->to)) && tq_buffer_add(out, text, n));
    case TQ_NORMAL_REPLACE:
        return replace(step, text, n, out);
    default:
        return unicode_form(step->kind, text, n, out);
    }
}

int tq_normalize(const tq_normal_step *steps, size_t n_steps, const char *text, size_t n, tq_buffer *out, tq_err *err) {
    tq_buffer next = {0};
    int rc = TQ_OK;
    out->n = 0;
    if (!tq_buffer_add(out, text, n)) rc = tq_fail(err, "out of memory normalizing %zu bytes of text", n);
    for (size_t i = 0; i < n_steps && !rc; i++) {
        next.n = 0;
        if (!run_step(&steps[i], out->data, out->n, &next) || next.n > TQ_MAX_TEXT)
            rc = tq_fail(err, "cannot normalize %zu bytes of text", n);
        tq_buffer swap = *out;
        *out = next;
        next = swap;
    }
    free(next.data);
    return rc;
}
