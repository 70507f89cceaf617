/* jinja_filters.c - filters of one value. Those that choose among many are in jinja_choose.c. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/jinja_choose.h"

static tq_jvalue with_text(tq_jrun *r, const tq_jargs *a, size_t i, const char *missing) {
    if (!tq_j_given(a, i)) return tq_j_literal(r, missing);
    tq_jtext t = {0};
    tq_j_add_str(r, &t, a->v[i]);
    return tq_j_taken(r, &t);
}

static tq_jvalue trim(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    const tq_jstring *what = tq_j_given(a, 0) && a->v[0].kind == TQ_J_STRING ? a->v[0].u.s : NULL;
    return tq_j_strip(r, tq_j_str(r, self), what, 3);
}
static tq_jvalue upper(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    (void)a;
    return tq_j_upper(r, tq_j_str(r, self), true);
}
static tq_jvalue lower(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    (void)a;
    return tq_j_upper(r, tq_j_str(r, self), false);
}
static tq_jvalue capitalize(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    (void)a;
    return tq_j_capitalize(r, tq_j_str(r, self));
}
static tq_jvalue title(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    (void)a;
    return tq_j_title(r, tq_j_str(r, self));
}
static tq_jvalue string(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    (void)a;
    const tq_jstring *s = tq_j_str(r, self);
    return self.kind == TQ_J_STRING ? self : tq_j_part(r, s, 0, s->n);
}
static tq_jvalue safe(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    return string(r, self, a);
}
static tq_jvalue length(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    (void)a;
    return tq_j_length(r, self);
}
static tq_jvalue list(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    (void)a;
    tq_jvalue v = tq_j_items(r, self), out;
    if (r->failed || !v.u.list->tuple) return v;
    out = tq_j_list(r, v.u.list->n, false);
    if (!r->failed) memcpy(out.u.list->v, v.u.list->v, v.u.list->n * sizeof *v.u.list->v);
    return out;
}

static tq_jvalue replace(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    int64_t count = -1;
    tq_jvalue from = with_text(r, a, 0, ""), to = with_text(r, a, 1, "");
    if (tq_j_given(a, 2) && a->v[2].kind != TQ_J_NONE && !tq_j_as_int(a->v[2], &count))
        return tq_j_fail(r, "replace: expected a whole number");
    return r->failed ? self : tq_j_replace(r, tq_j_str(r, self), from.u.s, to.u.s, count);
}

static tq_jvalue fallback(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    bool empty = tq_j_given(a, 1) && tq_j_true(a->v[1]) && !tq_j_true(self);
    if (self.kind != TQ_J_UNDEFINED && !empty) return self;
    return tq_j_given(a, 0) ? a->v[0] : tq_j_literal(r, "");
}

static tq_jvalue first(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    (void)a;
    tq_jvalue v = tq_j_items(r, self);
    return r->failed ? v : v.u.list->n ? v.u.list->v[0] : tq_j_undefined("the first of nothing");
}
static tq_jvalue last(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    (void)a;
    tq_jvalue v = tq_j_items(r, self);
    return r->failed ? v : v.u.list->n ? v.u.list->v[v.u.list->n - 1] : tq_j_undefined("the last of nothing");
}

static tq_jvalue reverse(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    (void)a;
    const tq_jvalue part[3] = {tq_j_none(), tq_j_none(), tq_j_int(-1)};
    if (self.kind == TQ_J_STRING || self.kind == TQ_J_LIST) return tq_j_slice(r, self, part);
    tq_jvalue v = tq_j_items(r, self);
    return r->failed ? v : tq_j_slice(r, v, part);
}

static tq_jvalue items(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    if (self.kind == TQ_J_UNDEFINED) return tq_j_list(r, 0, false);
    if (self.kind != TQ_J_DICT) return tq_j_fail(r, "items of %s: expected a mapping", tq_j_kind_name(self));
    return tq_j_invoke(r, "the method", tq_j_find(tq_j_dict_methods, "items"), self, a);
}

static tq_jvalue join(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    tq_jvalue v = tq_j_items(r, self), between = with_text(r, a, 0, "");
    tq_jtext t = {0};
    for (size_t i = 0; !r->failed && i < v.u.list->n && tq_j_step(r, 1); i++) {
        if (i) tq_j_add_string(r, &t, between.u.s);
        tq_j_add_str(r, &t, tq_j_given(a, 1) ? tq_j_path(r, v.u.list->v[i], a->v[1]) : v.u.list->v[i]);
    }
    return tq_j_taken(r, &t);
}

/* json.dumps of transformers: separators are ", " and ": ", and with an indent "," and ": ". */
static tq_jvalue tojson(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    tq_jjson style = {.item = ", ", .key = ": ", .item_n = 2, .key_n = 2};
    tq_jtext t = {0};
    style.ascii = tq_j_given(a, 0) && tq_j_true(a->v[0]);
    style.sorted = tq_j_given(a, 3) && tq_j_true(a->v[3]);
    if (tq_j_given(a, 1) && a->v[1].kind != TQ_J_NONE) {
        if (!tq_j_as_int(a->v[1], &style.indent) || style.indent > 64)
            return tq_j_fail(r, "tojson: expected an indent of at most 64");
        if (style.indent < 0) style.indent = 0;
        style.lines = true;
        style.item_n = 1;
    }
    if (tq_j_given(a, 2) && a->v[2].kind != TQ_J_NONE) {
        const tq_jlist *two = a->v[2].kind == TQ_J_LIST ? a->v[2].u.list : NULL;
        if (!two || two->n != 2 || two->v[0].kind != TQ_J_STRING || two->v[1].kind != TQ_J_STRING)
            return tq_j_fail(r, "tojson: expected two separators");
        style.item = two->v[0].u.s->p;
        style.item_n = two->v[0].u.s->n;
        style.key = two->v[1].u.s->p;
        style.key_n = two->v[1].u.s->n;
    }
    tq_j_tojson(r, &t, self, &style);
    return tq_j_taken(r, &t);
}

/* Lines after the first (or all) moved to the right; those that are empty only when asked. */
static tq_jvalue indent(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    const tq_jstring *s = tq_j_str(r, self);
    int64_t width = 4;
    bool all = tq_j_given(a, 1) && tq_j_true(a->v[1]), empty = tq_j_given(a, 2) && tq_j_true(a->v[2]);
    tq_jtext t = {0}, by = {0};
    if (tq_j_given(a, 0) && a->v[0].kind == TQ_J_STRING) {
        tq_j_add_string(r, &by, a->v[0].u.s);
    } else {
        if (tq_j_given(a, 0) && (!tq_j_as_int(a->v[0], &width) || width > 1024))
            return tq_j_fail(r, "indent: expected at most 1024");
        for (int64_t i = 0; i < width && !r->failed; i++)
            tq_j_add_text(r, &by, " ");
    }
    tq_jvalue with = tq_j_taken(r, &by);
    for (size_t i = 0, next; i <= s->n && !r->failed; i = next) {
        const char *end = i < s->n ? memchr(s->p + i, '\n', s->n - i) : NULL;
        next = end ? (size_t)(end - s->p) + 1 : s->n + 1;
        size_t n = next - 1 - i;
        if (i ? n || empty : all) tq_j_add_string(r, &t, with.u.s);
        if (i < s->n) tq_j_add(r, &t, s->p + i, s->typed ? s->typed + i : NULL, n + (end != NULL));
    }
    return tq_j_taken(r, &t);
}

static tq_jvalue to_int(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    int64_t i;
    tq_jvalue missing = tq_j_given(a, 0) ? a->v[0] : tq_j_int(0);
    if (tq_j_as_int(self, &i)) return tq_j_int(i);
    double f = self.kind == TQ_J_FLOAT ? trunc(self.u.f) : NAN;
    if (self.kind == TQ_J_STRING) {
        char text[64] = "";
        tq_jvalue s = tq_j_strip(r, self.u.s, NULL, 3);
        if (!r->failed && s.u.s->n > 0 && s.u.s->n < sizeof text) {
            memcpy(text, s.u.s->p, s.u.s->n);
            char *end = text;
            f = strspn(text, "+-0123456789.eE") == s.u.s->n ? trunc(strtod(text, &end)) : NAN;
            if (!isnan(f) && *end) f = NAN;
        }
    }
    if (isnan(f)) return missing;
    if (fabs(f) > 9e18) return tq_j_fail(r, "int: a number that is too big");
    return tq_j_int((int64_t)f);
}

static tq_jvalue to_float(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    char text[64] = "", *end = text;
    if (tq_j_is_number(self)) return tq_j_float(tq_j_as_float(self));
    if (self.kind == TQ_J_STRING) {
        tq_jvalue s = tq_j_strip(r, self.u.s, NULL, 3);
        if (!r->failed && s.u.s->n > 0 && s.u.s->n < sizeof text) memcpy(text, s.u.s->p, s.u.s->n);
    }
    double f = *text && strspn(text, "+-0123456789.eE") == strlen(text) ? strtod(text, &end) : 0;
    if (*text && end > text && !*end) return tq_j_float(f);
    return tq_j_given(a, 0) ? a->v[0] : tq_j_float(0);
}

static tq_jvalue absolute(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    (void)a;
    if (!tq_j_is_number(self)) return tq_j_fail(r, "abs of %s", tq_j_kind_name(self));
    if (self.kind == TQ_J_FLOAT) return tq_j_float(fabs(self.u.f));
    return tq_j_binary(r, self.kind == TQ_J_INT && self.u.i < 0 ? TQ_O_SUB : TQ_O_ADD, tq_j_int(0), self);
}

/* To the even neighbour when both are as near. */
static tq_jvalue rounded(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    int64_t digits = 0;
    if (!tq_j_is_number(self)) return tq_j_fail(r, "round of %s", tq_j_kind_name(self));
    if (tq_j_given(a, 0) && (!tq_j_as_int(a->v[0], &digits) || digits < 0 || digits > 15))
        return tq_j_fail(r, "round: expected 0 to 15 digits");
    double f = tq_j_as_float(self), scale = pow(10, (double)digits);
    if (tq_j_given(a, 1) && tq_j_is_text(a->v[1], "ceil")) return tq_j_float(ceil(f * scale) / scale);
    if (tq_j_given(a, 1) && tq_j_is_text(a->v[1], "floor")) return tq_j_float(floor(f * scale) / scale);
    return tq_j_float(digits ? nearbyint(f * scale) / scale : nearbyint(f));
}

static tq_jvalue sum(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    tq_jvalue v = tq_j_items(r, self), out = tq_j_given(a, 1) ? a->v[1] : tq_j_int(0);
    bool path = tq_j_given(a, 0) && a->v[0].kind != TQ_J_NONE;
    for (size_t i = 0; !r->failed && i < v.u.list->n && tq_j_step(r, 1); i++)
        out = tq_j_binary(r, TQ_O_ADD, out, path ? tq_j_path(r, v.u.list->v[i], a->v[0]) : v.u.list->v[i]);
    return out;
}

static tq_jvalue attr(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    return a->v[0].kind == TQ_J_STRING ? tq_j_path(r, self, a->v[0]) : tq_j_fail(r, "attr: expected a name");
}

const tq_jcallable tq_j_filters[] = {
    {"trim", trim, 0, 1, {"chars"}, false},
    {"upper", upper, 0, 0, {0}, false},
    {"lower", lower, 0, 0, {0}, false},
    {"capitalize", capitalize, 0, 0, {0}, false},
    {"title", title, 0, 0, {0}, false},
    {"string", string, 0, 0, {0}, false},
    {"safe", safe, 0, 0, {0}, false},
    {"length", length, 0, 0, {0}, false},
    {"count", length, 0, 0, {0}, false},
    {"list", list, 0, 0, {0}, false},
    {"replace", replace, 2, 3, {"old", "new", "count"}, false},
    {"default", fallback, 0, 2, {"default_value", "boolean"}, false},
    {"d", fallback, 0, 2, {"default_value", "boolean"}, false},
    {"first", first, 0, 0, {0}, false},
    {"last", last, 0, 0, {0}, false},
    {"reverse", reverse, 0, 0, {0}, false},
    {"items", items, 0, 0, {0}, false},
    {"join", join, 0, 2, {"d", "attribute"}, false},
    {"tojson", tojson, 0, 4, {"ensure_ascii", "indent", "separators", "sort_keys"}, false},
    {"indent", indent, 0, 3, {"width", "first", "blank"}, false},
    {"int", to_int, 0, 1, {"default"}, false},
    {"float", to_float, 0, 1, {"default"}, false},
    {"abs", absolute, 0, 0, {0}, false},
    {"round", rounded, 0, 2, {"precision", "method"}, false},
    {"sum", sum, 0, 2, {"attribute", "start"}, false},
    {"attr", attr, 1, 1, {"name"}, false},
    {"map", tq_j_map, 0, 0, {0}, true},
    {"select", tq_j_select, 0, 0, {0}, true},
    {"reject", tq_j_reject, 0, 0, {0}, true},
    {"selectattr", tq_j_selectattr, 0, 0, {0}, true},
    {"rejectattr", tq_j_rejectattr, 0, 0, {0}, true},
    {"sort", tq_j_sort, 0, 3, {"reverse", "case_sensitive", "attribute"}, false},
    {"dictsort", tq_j_dictsort, 0, 3, {"case_sensitive", "by", "reverse"}, false},
    {"unique", tq_j_unique, 0, 2, {"case_sensitive", "attribute"}, false},
    {"min", tq_j_min, 0, 2, {"case_sensitive", "attribute"}, false},
    {"max", tq_j_max, 0, 2, {"case_sensitive", "attribute"}, false},
    {0},
};
