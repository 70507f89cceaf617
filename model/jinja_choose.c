/* jinja_choose.c - see jinja_choose.h. */
#include "model/jinja_choose.h"

#include <stdlib.h>
#include <string.h>

/* Does a name begin here that is a number? Its value. */
static bool is_index(const char *p, size_t n, int64_t *out) {
    char text[16] = "";
    if (n == 0 || n >= sizeof text) return false;
    memcpy(text, p, n);
    *out = (int64_t)strtol(text, NULL, 10);
    return strspn(text, "0123456789") == n;
}

tq_jvalue tq_j_path(tq_jrun *r, tq_jvalue v, tq_jvalue path) {
    int64_t i;
    if (r->failed) return v;
    if (tq_j_as_int(path, &i)) return tq_j_item(r, v, path);
    if (path.kind != TQ_J_STRING) return tq_j_fail(r, "an attribute that is %s", tq_j_kind_name(path));
    const char *p = path.u.s->p, *end = p + path.u.s->n;
    while (p < end && tq_j_step(r, 1)) {
        const char *dot = memchr(p, '.', (size_t)(end - p));
        size_t n = (size_t)((dot ? dot : end) - p);
        tq_jvalue key = is_index(p, n, &i) ? tq_j_int(i) : tq_j_string(r, p, NULL, n);
        if (r->failed) break;
        v = tq_j_item(r, v, key);
        p += n + (dot != NULL);
    }
    return v;
}

/* A filter or test that is named by an argument, and the arguments after it. */
static const tq_jcallable *named(tq_jrun *r, const tq_jargs *a, size_t i, bool test, tq_jargs *rest) {
    char name[40] = "truthy";
    *rest = (tq_jargs){0};
    if (i < a->n) {
        if (a->v[i].kind != TQ_J_STRING || a->v[i].u.s->n >= sizeof name) {
            tq_j_fail(r, "expected the name of a %s", test ? "test" : "filter");
            return NULL;
        }
        memcpy(name, a->v[i].u.s->p, a->v[i].u.s->n);
        name[a->v[i].u.s->n] = '\0';
    }
    const tq_jcallable *row = tq_j_find(test ? tq_j_tests : tq_j_filters, name);
    if (!row) tq_j_fail(r, "the %s %s is not supported", test ? "test" : "filter", name);
    for (size_t k = i + 1; k < a->n; k++)
        rest->v[rest->n++] = a->v[k];
    for (size_t k = 0; k < a->n_kw; k++) {
        rest->name[k] = a->name[k];
        rest->kw[k] = a->kw[k];
    }
    rest->n_kw = a->n_kw;
    return row;
}

static const tq_jvalue *keyword(const tq_jargs *a, const char *name) {
    for (size_t i = 0; i < a->n_kw; i++)
        if (strcmp(a->name[i], name) == 0) return &a->kw[i];
    return NULL;
}

static tq_jvalue one_deeper(tq_jrun *r, const char *what, const tq_jcallable *row, tq_jvalue v, const tq_jargs *a) {
    if (r->depth >= TQ_J_MAX_DEPTH) return tq_j_fail(r, "nested deeper than %d", TQ_J_MAX_DEPTH);
    r->depth++;
    tq_jvalue out = tq_j_invoke(r, what, row, v, a);
    r->depth--;
    return out;
}

/* Of none, or anything else that is false, nothing is chosen. */
static tq_jvalue candidates(tq_jrun *r, tq_jvalue v) {
    return tq_j_true(v) ? tq_j_items(r, v) : tq_j_list(r, 0, false);
}

tq_jvalue tq_j_map(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    const tq_jvalue *attribute = keyword(a, "attribute"), *missing = keyword(a, "default");
    tq_jargs rest;
    const tq_jcallable *row = NULL;
    if (!attribute && a->n == 0) return tq_j_fail(r, "map: expected a filter or attribute=");
    if (!attribute) row = named(r, a, 0, false, &rest);
    tq_jvalue all = candidates(r, self);
    if (r->failed) return all;
    tq_jvalue out = tq_j_list(r, all.u.list->n, false);
    for (size_t i = 0; !r->failed && i < out.u.list->n && tq_j_step(r, 1); i++) {
        tq_jvalue v = all.u.list->v[i];
        v = attribute ? tq_j_path(r, v, *attribute) : one_deeper(r, "the filter", row, v, &rest);
        out.u.list->v[i] = attribute && missing && v.kind == TQ_J_UNDEFINED ? *missing : v;
    }
    return out;
}

static tq_jvalue choose(tq_jrun *r, tq_jvalue self, const tq_jargs *a, bool attribute, bool wanted) {
    tq_jargs rest;
    if (attribute && a->n == 0) return tq_j_fail(r, "expected an attribute");
    const tq_jcallable *row = named(r, a, attribute, true, &rest);
    tq_jvalue all = candidates(r, self);
    if (r->failed) return all;
    tq_jvalue out = tq_j_list(r, all.u.list->n, false);
    size_t kept = 0;
    for (size_t i = 0; !r->failed && i < all.u.list->n && tq_j_step(r, 1); i++) {
        tq_jvalue v = attribute ? tq_j_path(r, all.u.list->v[i], a->v[0]) : all.u.list->v[i];
        if (tq_j_true(one_deeper(r, "the test", row, v, &rest)) == wanted && !r->failed)
            out.u.list->v[kept++] = all.u.list->v[i];
    }
    if (!r->failed) out.u.list->n = kept;
    return out;
}

tq_jvalue tq_j_select(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    return choose(r, self, a, false, true);
}
tq_jvalue tq_j_reject(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    return choose(r, self, a, false, false);
}
tq_jvalue tq_j_selectattr(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    return choose(r, self, a, true, true);
}
tq_jvalue tq_j_rejectattr(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    return choose(r, self, a, true, false);
}

/* What values are ordered by: an attribute, and without case unless that is asked for. */
typedef struct order {
    const tq_jvalue *attribute;
    bool cased, reverse;
} order;

static tq_jvalue sort_key(tq_jrun *r, tq_jvalue v, const order *o) {
    if (o->attribute) v = tq_j_path(r, v, *o->attribute);
    return !o->cased && v.kind == TQ_J_STRING ? tq_j_upper(r, v.u.s, false) : v;
}

/* Merges v[0 .. n) by keys; stable, also when reversed. */
static void merge_sort(tq_jrun *r, tq_jvalue *v, tq_jvalue *key, tq_jvalue *room, size_t n, bool reverse) {
    if (n < 2 || r->failed) return;
    size_t half = n / 2, i = 0, j = half, k = 0;
    merge_sort(r, v, key, room, half, reverse);
    merge_sort(r, v + half, key + half, room, n - half, reverse);
    while ((i < half || j < n) && tq_j_step(r, 1)) {
        int by = i == half ? 1 : j == n ? -1 : tq_j_order(r, key[i], key[j], "<");
        size_t from = i < half && (j == n || (reverse ? by >= 0 : by <= 0)) ? i++ : j++;
        room[2 * k] = v[from];
        room[2 * k++ + 1] = key[from];
    }
    for (i = 0; i < n && !r->failed; i++) {
        v[i] = room[2 * i];
        key[i] = room[2 * i + 1];
    }
}

static tq_jvalue sorted(tq_jrun *r, tq_jvalue self, const order *o) {
    tq_jvalue all = tq_j_items(r, self);
    if (r->failed) return all;
    size_t n = all.u.list->n;
    tq_jvalue out = tq_j_list(r, n, false), keys = tq_j_list(r, n, false), room = tq_j_list(r, 2 * n, false);
    for (size_t i = 0; !r->failed && i < n; i++) {
        out.u.list->v[i] = all.u.list->v[i];
        keys.u.list->v[i] = sort_key(r, all.u.list->v[i], o);
    }
    if (!r->failed) merge_sort(r, out.u.list->v, keys.u.list->v, room.u.list->v, n, o->reverse);
    return out;
}

static const tq_jvalue *attribute_of(const tq_jargs *a, size_t i) {
    return tq_j_given(a, i) && a->v[i].kind != TQ_J_NONE ? &a->v[i] : NULL;
}

static bool flag(const tq_jargs *a, size_t i) {
    return tq_j_given(a, i) && tq_j_true(a->v[i]);
}

tq_jvalue tq_j_sort(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    const order o = {attribute_of(a, 2), flag(a, 1), flag(a, 0)};
    return sorted(r, self, &o);
}

tq_jvalue tq_j_dictsort(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    const tq_jvalue by = tq_j_int(tq_j_given(a, 1) && tq_j_is_text(a->v[1], "value"));
    const order o = {&by, flag(a, 0), flag(a, 2)};
    if (self.kind != TQ_J_DICT) return tq_j_fail(r, "dictsort of %s: expected a mapping", tq_j_kind_name(self));
    const tq_jargs none = {0};
    tq_jvalue pairs = tq_j_invoke(r, "the method", tq_j_find(tq_j_dict_methods, "items"), self, &none);
    return r->failed ? pairs : sorted(r, pairs, &o);
}

tq_jvalue tq_j_unique(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    const order o = {attribute_of(a, 1), flag(a, 0), false};
    tq_jvalue all = tq_j_items(r, self);
    if (r->failed) return all;
    tq_jvalue out = tq_j_list(r, all.u.list->n, false), keys = tq_j_list(r, all.u.list->n, false);
    size_t kept = 0;
    for (size_t i = 0; !r->failed && i < all.u.list->n; i++) {
        tq_jvalue key = sort_key(r, all.u.list->v[i], &o);
        size_t k = 0;
        while (k < kept && tq_j_step(r, 1) && !tq_j_equal(r, keys.u.list->v[k], key))
            k++;
        if (r->failed || k < kept) continue;
        keys.u.list->v[kept] = key;
        out.u.list->v[kept++] = all.u.list->v[i];
    }
    if (!r->failed) out.u.list->n = kept;
    return out;
}

static tq_jvalue extreme(tq_jrun *r, tq_jvalue self, const tq_jargs *a, bool least) {
    const order o = {attribute_of(a, 1), flag(a, 0), !least};
    tq_jvalue all = sorted(r, self, &o);
    return r->failed ? all : all.u.list->n ? all.u.list->v[0] : tq_j_undefined("an extreme of nothing");
}
tq_jvalue tq_j_min(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    return extreme(r, self, a, true);
}
tq_jvalue tq_j_max(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    return extreme(r, self, a, false);
}
