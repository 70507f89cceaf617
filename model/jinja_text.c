/* jinja_text.c - text that a template makes: how it grows, how values are printed into it, what strings can do. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "model/jinja_internal.h"
#include "model/tokenizer_internal.h"

bool tq_j_add(tq_jrun *r, tq_jtext *t, const char *p, const unsigned char *typed, size_t n) {
    if (r->failed || !tq_j_step(r, n / 64)) return false;
    if (n > TQ_J_MAX_OUTPUT - t->n) {
        tq_j_fail(r, "a text of more than %zu MiB", TQ_J_MAX_OUTPUT >> 20);
        return false;
    }
    if (t->n + n > t->capacity) {
        size_t capacity = 2 * (t->n + n) + 64;
        tq_jtext grown = {.p = tq_j_alloc(r, capacity), .typed = tq_j_alloc(r, capacity), t->n, capacity};
        if (r->failed) return false;
        if (t->n) {
            memcpy(grown.p, t->p, t->n);
            memcpy(grown.typed, t->typed, t->n);
        }
        *t = grown;
    }
    if (n) memcpy(t->p + t->n, p, n);
    if (n && typed) memcpy(t->typed + t->n, typed, n);
    t->n += n;
    return true;
}

bool tq_j_add_text(tq_jrun *r, tq_jtext *t, const char *text) {
    return tq_j_add(r, t, text, NULL, strlen(text));
}

bool tq_j_add_string(tq_jrun *r, tq_jtext *t, const tq_jstring *s) {
    return tq_j_add(r, t, s->p, s->typed, s->n);
}

/* Python's repr: the shortest digits that give the same number, with an exponent below 1e-4 and from 1e16 on. */
void tq_j_format_float(double f, char out[40]) {
    if (isnan(f) || isinf(f)) {
        snprintf(out, 40, "%s", isnan(f) ? "nan" : f > 0 ? "inf" : "-inf");
        return;
    }
    int digits = 1;
    do
        snprintf(out, 40, "%.*e", digits - 1, f);
    while (strtod(out, NULL) != f && ++digits <= 17);
    int exponent = (int)strtol(strchr(out, 'e') + 1, NULL, 10);
    if (exponent >= -4 && exponent < 16) {
        int decimals = digits - 1 - exponent;
        snprintf(out, 40, "%.*f", decimals > 0 ? decimals : 0, f);
        size_t n = strlen(out);
        if (decimals <= 0) snprintf(out + n, 40 - n, ".0");
    }
}

static bool add_number(tq_jrun *r, tq_jtext *t, tq_jvalue v) {
    char text[40];
    if (v.kind == TQ_J_FLOAT)
        tq_j_format_float(v.u.f, text);
    else
        snprintf(text, sizeof text, "%lld", (long long)v.u.i);
    return tq_j_add_text(r, t, text);
}

bool tq_j_add_str(tq_jrun *r, tq_jtext *t, tq_jvalue v) {
    if (v.kind == TQ_J_STRING) return tq_j_add_string(r, t, v.u.s);
    return v.kind == TQ_J_UNDEFINED || tq_j_add_repr(r, t, v);
}

static bool is_printable(utf8proc_int32_t c) {
    utf8proc_category_t k = utf8proc_category(c);
    bool hidden = k == UTF8PROC_CATEGORY_CC || k == UTF8PROC_CATEGORY_CF || k == UTF8PROC_CATEGORY_CS ||
                  k == UTF8PROC_CATEGORY_CO || k == UTF8PROC_CATEGORY_CN || k == UTF8PROC_CATEGORY_ZL ||
                  k == UTF8PROC_CATEGORY_ZP || k == UTF8PROC_CATEGORY_ZS;
    return c == ' ' || !hidden;
}

/* A character of a string within quotes. */
static bool add_quoted(tq_jrun *r, tq_jtext *t, const tq_jstring *s, size_t at, size_t n, char quote) {
    static const char from[] = "\n\r\t\\", to[] = "nrt\\";
    utf8proc_int32_t c;
    char text[16];
    const char *special = s->p[at] ? strchr(from, s->p[at]) : NULL;
    if (special || s->p[at] == quote) {
        text[0] = '\\';
        text[1] = special ? to[special - from] : quote;
        text[2] = '\0';
    } else {
        utf8proc_iterate((const utf8proc_uint8_t *)s->p + at, (utf8proc_ssize_t)n, &c);
        if (is_printable(c)) return tq_j_add(r, t, s->p + at, s->typed ? s->typed + at : NULL, n);
        snprintf(text, sizeof text, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", (unsigned)c);
    }
    unsigned char typed[16];
    memset(typed, s->typed ? s->typed[at] : 0, sizeof typed);
    return tq_j_add(r, t, text, typed, strlen(text));
}

static bool add_repr_string(tq_jrun *r, tq_jtext *t, const tq_jstring *s) {
    bool single = memchr(s->p, '\'', s->n) && !memchr(s->p, '"', s->n);
    const char quote[] = {single ? '"' : '\'', '\0'};
    tq_j_add_text(r, t, quote);
    for (size_t i = 0, n; i < s->n && !r->failed; i += n) {
        n = tq_utf8_length(s->p + i);
        add_quoted(r, t, s, i, n, quote[0]);
    }
    return tq_j_add_text(r, t, quote);
}

static bool add_repr_list(tq_jrun *r, tq_jtext *t, const tq_jlist *l) {
    tq_j_add_text(r, t, l->tuple ? "(" : "[");
    for (size_t i = 0; i < l->n && tq_j_step(r, 1); i++) {
        if (i) tq_j_add_text(r, t, ", ");
        tq_j_add_repr(r, t, l->v[i]);
    }
    return tq_j_add_text(r, t, !l->tuple ? "]" : l->n == 1 ? ",)" : ")");
}

static bool add_repr_dict(tq_jrun *r, tq_jtext *t, const tq_jdict *d) {
    tq_j_add_text(r, t, "{");
    for (size_t i = 0; i < d->n && tq_j_step(r, 1); i++) {
        if (i) tq_j_add_text(r, t, ", ");
        tq_j_add_repr(r, t, d->key[i]);
        tq_j_add_text(r, t, ": ");
        tq_j_add_repr(r, t, d->value[i]);
    }
    return tq_j_add_text(r, t, "}");
}

bool tq_j_add_repr(tq_jrun *r, tq_jtext *t, tq_jvalue v) {
    if (++r->value_depth > TQ_J_MAX_VALUE_DEPTH)
        tq_j_fail(r, "lists within lists, deeper than %d", TQ_J_MAX_VALUE_DEPTH);
    bool ok = !r->failed;
    if (ok) switch (v.kind) {
        case TQ_J_UNDEFINED:
            ok = tq_j_add_text(r, t, "Undefined");
            break;
        case TQ_J_NONE:
            ok = tq_j_add_text(r, t, "None");
            break;
        case TQ_J_BOOL:
            ok = tq_j_add_text(r, t, v.u.b ? "True" : "False");
            break;
        case TQ_J_INT:
        case TQ_J_FLOAT:
            ok = add_number(r, t, v);
            break;
        case TQ_J_STRING:
            ok = add_repr_string(r, t, v.u.s);
            break;
        case TQ_J_LIST:
            ok = add_repr_list(r, t, v.u.list);
            break;
        case TQ_J_DICT:
            ok = add_repr_dict(r, t, v.u.dict);
            break;
        default:
            tq_j_fail(r, "%s cannot be printed", tq_j_kind_name(v));
            ok = false;
        }
    r->value_depth--;
    return ok;
}

const tq_jstring *tq_j_str(tq_jrun *r, tq_jvalue v) {
    static const tq_jstring empty = {.p = ""};
    tq_jtext t = {0};
    if (v.kind == TQ_J_STRING) return v.u.s;
    tq_j_add_str(r, &t, v);
    tq_jvalue s = tq_j_taken(r, &t);
    return r->failed ? &empty : s.u.s;
}

size_t tq_j_characters(const tq_jstring *s) {
    size_t n = 0;
    for (size_t i = 0; i < s->n; i++)
        n += ((unsigned char)s->p[i] & 0xC0) != 0x80;
    return n;
}

size_t tq_j_offset(const tq_jstring *s, size_t characters) {
    size_t i = 0;
    for (; i < s->n; i++)
        if (((unsigned char)s->p[i] & 0xC0) != 0x80 && characters-- == 0) break;
    return i;
}

size_t tq_j_find_text(const tq_jstring *s, const tq_jstring *what, size_t from) {
    if (from > s->n) return SIZE_MAX;
    const char *at = memmem(s->p + from, s->n - from, what->p, what->n);
    return at ? (size_t)(at - s->p) : SIZE_MAX;
}

size_t tq_j_rfind_text(const tq_jstring *s, const tq_jstring *what, size_t end) {
    if (what->n > end) return SIZE_MAX;
    for (size_t i = end - what->n + 1; i-- > 0;)
        if (memcmp(s->p + i, what->p, what->n) == 0) return i;
    return SIZE_MAX;
}

/* Is the character [p, end) one of those in what? */
static bool is_one_of(const tq_jstring *what, const char *p, size_t n) {
    for (size_t i = 0, k; i < what->n; i += k) {
        k = tq_utf8_length(what->p + i);
        if (k == n && memcmp(what->p + i, p, n) == 0) return true;
    }
    return false;
}

tq_jvalue tq_j_strip(tq_jrun *r, const tq_jstring *s, const tq_jstring *what, int ends) {
    const char *p = s->p, *end = s->p + s->n;
    while ((ends & 1) && p < end) {
        size_t n = what ? tq_utf8_length(p) : tq_j_space(p, end);
        if (n == 0 || (what && !is_one_of(what, p, n))) break;
        p += n;
    }
    while ((ends & 2) && p < end) {
        const char *q = end - 1;
        while (q > p && ((unsigned char)*q & 0xC0) == 0x80)
            q--;
        if (what ? !is_one_of(what, q, (size_t)(end - q)) : !tq_j_space_before(p, end)) break;
        end = q;
    }
    return tq_j_part(r, s, (size_t)(p - s->p), (size_t)(end - p));
}

/* A character in another case; ß is the one letter of common use that becomes two. */
static void add_cased(tq_jrun *r, tq_jtext *t, const tq_jstring *s, size_t at, size_t n, bool upper) {
    utf8proc_int32_t c;
    utf8proc_uint8_t out[8];
    unsigned char typed[8];
    memset(typed, s->typed ? s->typed[at] : 0, sizeof typed);
    utf8proc_iterate((const utf8proc_uint8_t *)s->p + at, (utf8proc_ssize_t)n, &c);
    if (upper && c == 0xDF) {
        tq_j_add(r, t, "SS", typed, 2);
        return;
    }
    utf8proc_ssize_t k = utf8proc_encode_char(upper ? utf8proc_toupper(c) : utf8proc_tolower(c), out);
    tq_j_add(r, t, (const char *)out, typed, (size_t)k);
}

tq_jvalue tq_j_upper(tq_jrun *r, const tq_jstring *s, bool upper) {
    tq_jtext t = {0};
    for (size_t i = 0, n; i < s->n && !r->failed; i += n) {
        n = tq_utf8_length(s->p + i);
        add_cased(r, &t, s, i, n, upper);
    }
    return tq_j_taken(r, &t);
}

tq_jvalue tq_j_capitalize(tq_jrun *r, const tq_jstring *s) {
    tq_jtext t = {0};
    for (size_t i = 0, n; i < s->n && !r->failed; i += n) {
        n = tq_utf8_length(s->p + i);
        add_cased(r, &t, s, i, n, i == 0);
    }
    return tq_j_taken(r, &t);
}

/* Jinja's filter title: words begin after white space and - ( [ { <. */
tq_jvalue tq_j_title(tq_jrun *r, const tq_jstring *s) {
    tq_jtext t = {0};
    bool begins = true;
    for (size_t i = 0, n; i < s->n && !r->failed; i += n) {
        n = tq_utf8_length(s->p + i);
        add_cased(r, &t, s, i, n, begins);
        begins = tq_j_space(s->p + i, s->p + s->n) > 0 || (n == 1 && s->p[i] && strchr("-([{<", s->p[i]));
    }
    return tq_j_taken(r, &t);
}

tq_jvalue tq_j_replace(tq_jrun *r, const tq_jstring *s, const tq_jstring *from, const tq_jstring *to, int64_t count) {
    tq_jtext t = {0};
    size_t at = 0;
    while (count-- != 0 && !r->failed) {
        size_t found = tq_j_find_text(s, from, at);
        if (found == SIZE_MAX || !tq_j_step(r, 1)) break;
        const tq_jstring before = {s->p + at, s->typed ? s->typed + at : NULL, found - at};
        tq_j_add_string(r, &t, &before);
        tq_j_add_string(r, &t, to);
        at = found + from->n;
        if (from->n) continue;
        if (at == s->n) return tq_j_taken(r, &t); /* nothing is everywhere, at the end too */
        size_t n = tq_utf8_length(s->p + at);
        tq_j_add(r, &t, s->p + at, s->typed ? s->typed + at : NULL, n);
        at += n;
    }
    tq_j_add(r, &t, s->p + at, s->typed ? s->typed + at : NULL, s->n - at);
    return tq_j_taken(r, &t);
}
