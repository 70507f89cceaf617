/* jinja_strings.c - the methods of strings. */
#include <string.h>
#include <utf8proc.h>

#include "model/jinja_internal.h"
#include "model/tokenizer_internal.h"

/* An argument that must be a string; NULL when it is not given, none, or after a failure. */
static const tq_jstring *text(tq_jrun *r, const tq_jargs *a, size_t i) {
    if (!tq_j_given(a, i) || a->v[i].kind == TQ_J_NONE) return NULL;
    if (a->v[i].kind == TQ_J_STRING) return a->v[i].u.s;
    tq_j_fail(r, "%s where a string is expected", tq_j_kind_name(a->v[i]));
    return NULL;
}

static int64_t number(tq_jrun *r, const tq_jargs *a, size_t i, int64_t missing) {
    int64_t out = missing;
    if (tq_j_given(a, i) && a->v[i].kind != TQ_J_NONE && !tq_j_as_int(a->v[i], &out))
        tq_j_fail(r, "%s where a whole number is expected", tq_j_kind_name(a->v[i]));
    return out;
}

static tq_jvalue strip(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    return tq_j_strip(r, self.u.s, text(r, a, 0), 3);
}
static tq_jvalue lstrip(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    return tq_j_strip(r, self.u.s, text(r, a, 0), 1);
}
static tq_jvalue rstrip(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    return tq_j_strip(r, self.u.s, text(r, a, 0), 2);
}
static tq_jvalue upper(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    (void)a;
    return tq_j_upper(r, self.u.s, true);
}
static tq_jvalue lower(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    (void)a;
    return tq_j_upper(r, self.u.s, false);
}
static tq_jvalue capitalize(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    (void)a;
    return tq_j_capitalize(r, self.u.s);
}

static tq_jvalue replace(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    const tq_jstring *from = text(r, a, 0), *to = text(r, a, 1);
    int64_t count = number(r, a, 2, -1);
    if (!from || !to) return tq_j_fail(r, "replace: expected two strings");
    return tq_j_replace(r, self.u.s, from, to, count);
}

/* Does s begin (end) with one of what is in v: a string, or a tuple of them? */
static bool has_end(tq_jrun *r, const tq_jstring *s, tq_jvalue v, bool begin) {
    if (v.kind == TQ_J_LIST && v.u.list->tuple) {
        for (size_t i = 0; i < v.u.list->n && tq_j_step(r, 1); i++)
            if (v.u.list->v[i].kind == TQ_J_STRING && has_end(r, s, v.u.list->v[i], begin)) return true;
        return false;
    }
    if (v.kind != TQ_J_STRING) {
        tq_j_fail(r, "%s where a string is expected", tq_j_kind_name(v));
        return false;
    }
    const tq_jstring *w = v.u.s;
    if (!tq_j_step(r, w->n / 64)) return false;
    return w->n <= s->n && memcmp(begin ? s->p : s->p + s->n - w->n, w->p, w->n) == 0;
}

static tq_jvalue startswith(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    return tq_j_bool(has_end(r, self.u.s, a->v[0], true));
}
static tq_jvalue endswith(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    return tq_j_bool(has_end(r, self.u.s, a->v[0], false));
}

static tq_jvalue removeprefix(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    if (!has_end(r, self.u.s, a->v[0], true) || a->v[0].kind != TQ_J_STRING) return self;
    return tq_j_part(r, self.u.s, a->v[0].u.s->n, self.u.s->n - a->v[0].u.s->n);
}
static tq_jvalue removesuffix(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    if (!has_end(r, self.u.s, a->v[0], false) || a->v[0].kind != TQ_J_STRING) return self;
    return tq_j_part(r, self.u.s, 0, self.u.s->n - a->v[0].u.s->n);
}

/* Parts of a string, in order; a list is made of them at the end. */
typedef struct parts {
    tq_jvalue list;
    size_t n;
} parts;

static void add_part(tq_jrun *r, parts *p, const tq_jstring *s, size_t from, size_t end) {
    if (!tq_j_step(r, 1)) return;
    if (p->n == p->list.u.list->n) {
        tq_jvalue grown = tq_j_list(r, 2 * p->n + 8, false);
        if (r->failed) return;
        memcpy(grown.u.list->v, p->list.u.list->v, p->n * sizeof *grown.u.list->v);
        p->list = grown;
    }
    p->list.u.list->v[p->n++] = tq_j_part(r, s, from, end - from);
}

static tq_jvalue finish(tq_jrun *r, parts *p, bool reverse) {
    tq_jvalue *v = p->list.u.list->v;
    if (r->failed) return p->list;
    p->list.u.list->n = p->n;
    for (size_t i = 0; reverse && i < p->n / 2; i++) {
        tq_jvalue swap = v[i];
        v[i] = v[p->n - 1 - i];
        v[p->n - 1 - i] = swap;
    }
    return p->list;
}

/* At white space, runs of which are one; what is left after the last cut keeps its own. */
static tq_jvalue split_space(tq_jrun *r, const tq_jstring *s, int64_t limit) {
    parts p = {.list = tq_j_list(r, 0, false)};
    const char *at = s->p, *end = s->p + s->n;
    for (size_t n; !r->failed;) {
        while ((n = tq_j_space(at, end)) > 0)
            at += n;
        if (at == end) break;
        const char *to = at;
        while (to < end && tq_j_space(to, end) == 0)
            to += tq_utf8_length(to);
        if (limit >= 0 && limit-- == 0) to = end;
        add_part(r, &p, s, (size_t)(at - s->p), (size_t)(to - s->p));
        at = to;
    }
    return finish(r, &p, false);
}

static tq_jvalue rsplit_space(tq_jrun *r, const tq_jstring *s, int64_t limit) {
    parts p = {.list = tq_j_list(r, 0, false)};
    const char *end = s->p + s->n;
    for (size_t n; !r->failed;) {
        while ((n = tq_j_space_before(s->p, end)) > 0)
            end -= n;
        if (end == s->p) break;
        const char *from = end;
        while (from > s->p && tq_j_space_before(s->p, from) == 0)
            from--;
        if (limit >= 0 && limit-- == 0) from = s->p;
        add_part(r, &p, s, (size_t)(from - s->p), (size_t)(end - s->p));
        end = from;
    }
    return finish(r, &p, true);
}

static tq_jvalue split(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    const tq_jstring *s = self.u.s, *at = text(r, a, 0);
    int64_t limit = number(r, a, 1, -1);
    if (r->failed || !at) return r->failed ? self : split_space(r, s, limit);
    if (at->n == 0) return tq_j_fail(r, "split: an empty separator");
    parts p = {.list = tq_j_list(r, 0, false)};
    size_t from = 0, found;
    while (!r->failed && limit-- != 0 && (found = tq_j_find_text(s, at, from)) != SIZE_MAX) {
        add_part(r, &p, s, from, found);
        from = found + at->n;
    }
    if (!r->failed) add_part(r, &p, s, from, s->n);
    return finish(r, &p, false);
}

static tq_jvalue rsplit(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    const tq_jstring *s = self.u.s, *at = text(r, a, 0);
    int64_t limit = number(r, a, 1, -1);
    if (r->failed || !at) return r->failed ? self : rsplit_space(r, s, limit);
    if (at->n == 0) return tq_j_fail(r, "rsplit: an empty separator");
    if (!tq_j_step(r, (s->n / 64) * (at->n / 64))) return self;
    parts p = {.list = tq_j_list(r, 0, false)};
    size_t end = s->n, found;
    while (!r->failed && limit-- != 0 && (found = tq_j_rfind_text(s, at, end)) != SIZE_MAX) {
        add_part(r, &p, s, found + at->n, end);
        end = found;
    }
    if (!r->failed) add_part(r, &p, s, 0, end);
    return finish(r, &p, true);
}

/* Lines without their ends; of Python's line ends those that ASCII has. */
static tq_jvalue splitlines(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    const tq_jstring *s = self.u.s;
    bool keep = tq_j_given(a, 0) && tq_j_true(a->v[0]);
    parts p = {.list = tq_j_list(r, 0, false)};
    for (size_t i = 0, end, next; i < s->n && !r->failed; i = next) {
        end = i;
        while (end < s->n && !(s->p[end] && strchr("\n\r\v\f\x1c\x1d\x1e", s->p[end])))
            end++;
        next = end + (end < s->n);
        if (next < s->n && s->p[end] == '\r' && s->p[next] == '\n') next++;
        add_part(r, &p, s, i, keep ? next : end);
    }
    return finish(r, &p, false);
}

static tq_jvalue find_at(tq_jrun *r, tq_jvalue self, const tq_jargs *a, bool last) {
    const tq_jstring *what = text(r, a, 0);
    if (!what) return tq_j_fail(r, "find: expected a string");
    if (last && !tq_j_step(r, (self.u.s->n / 64) * (what->n / 64))) return self;
    size_t at = last ? tq_j_rfind_text(self.u.s, what, self.u.s->n) : tq_j_find_text(self.u.s, what, 0);
    const tq_jstring before = {.p = self.u.s->p, .n = at};
    return tq_j_int(at == SIZE_MAX ? -1 : (int64_t)tq_j_characters(&before));
}
static tq_jvalue find(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    return find_at(r, self, a, false);
}
static tq_jvalue rfind(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    return find_at(r, self, a, true);
}

static tq_jvalue count(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    const tq_jstring *what = text(r, a, 0);
    int64_t n = 0;
    if (!what || what->n == 0) return tq_j_fail(r, "count: expected a string that is not empty");
    for (size_t at = 0; (at = tq_j_find_text(self.u.s, what, at)) != SIZE_MAX && tq_j_step(r, 1); at += what->n)
        n++;
    return tq_j_int(n);
}

static tq_jvalue join(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    tq_jvalue list = tq_j_items(r, a->v[0]);
    tq_jtext t = {0};
    for (size_t i = 0; !r->failed && i < list.u.list->n; i++) {
        if (i) tq_j_add_string(r, &t, self.u.s);
        if (list.u.list->v[i].kind != TQ_J_STRING) return tq_j_fail(r, "join: expected strings");
        tq_j_add_string(r, &t, list.u.list->v[i].u.s);
    }
    return tq_j_taken(r, &t);
}

static bool all_of(tq_jrun *r, const tq_jstring *s, bool (*is)(utf8proc_int32_t c)) {
    utf8proc_int32_t c;
    if (!tq_j_step(r, s->n / 64)) return false;
    for (size_t i = 0, n; i < s->n; i += n) {
        n = tq_utf8_length(s->p + i);
        utf8proc_iterate((const utf8proc_uint8_t *)s->p + i, (utf8proc_ssize_t)n, &c);
        if (!is(c)) return false;
    }
    return s->n > 0;
}

static bool is_digit(utf8proc_int32_t c) {
    return utf8proc_category(c) == UTF8PROC_CATEGORY_ND;
}
static bool is_letter(utf8proc_int32_t c) {
    utf8proc_category_t k = utf8proc_category(c);
    return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}
static bool is_letter_or_digit(utf8proc_int32_t c) {
    return is_letter(c) || is_digit(c);
}
static bool is_space(utf8proc_int32_t c) {
    return tq_is_space(c) || (c >= 0x1C && c <= 0x1F);
}

static tq_jvalue isdigit_(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    (void)a;
    return tq_j_bool(all_of(r, self.u.s, is_digit));
}
static tq_jvalue isalpha_(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    (void)a;
    return tq_j_bool(all_of(r, self.u.s, is_letter));
}
static tq_jvalue isalnum_(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    (void)a;
    return tq_j_bool(all_of(r, self.u.s, is_letter_or_digit));
}
static tq_jvalue isspace_(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    (void)a;
    return tq_j_bool(all_of(r, self.u.s, is_space));
}

const tq_jcallable tq_j_string_methods[] = {
    {"strip", strip, 0, 1, {0}, false},
    {"lstrip", lstrip, 0, 1, {0}, false},
    {"rstrip", rstrip, 0, 1, {0}, false},
    {"upper", upper, 0, 0, {0}, false},
    {"lower", lower, 0, 0, {0}, false},
    {"capitalize", capitalize, 0, 0, {0}, false},
    {"replace", replace, 2, 3, {0}, false},
    {"startswith", startswith, 1, 1, {0}, false},
    {"endswith", endswith, 1, 1, {0}, false},
    {"removeprefix", removeprefix, 1, 1, {0}, false},
    {"removesuffix", removesuffix, 1, 1, {0}, false},
    {"split", split, 0, 2, {"sep", "maxsplit"}, false},
    {"rsplit", rsplit, 0, 2, {"sep", "maxsplit"}, false},
    {"splitlines", splitlines, 0, 1, {"keepends"}, false},
    {"find", find, 1, 1, {0}, false},
    {"rfind", rfind, 1, 1, {0}, false},
    {"count", count, 1, 1, {0}, false},
    {"join", join, 1, 1, {0}, false},
    {"isdigit", isdigit_, 0, 0, {0}, false},
    {"isalpha", isalpha_, 0, 0, {0}, false},
    {"isalnum", isalnum_, 0, 0, {0}, false},
    {"isspace", isspace_, 0, 0, {0}, false},
    {0},
};
