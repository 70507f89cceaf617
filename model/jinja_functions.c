/* jinja_functions.c - global functions, and the methods of loops, lists and mappings. */
#include <locale.h>
#include <stdio.h>
#include <string.h>

#include "model/jinja_internal.h"

static tq_jvalue raise(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    (void)self;
    const tq_jstring *s = tq_j_str(r, a->v[0]);
    int n = s->n < 300 ? (int)s->n : 300;
    r->raised = !r->failed;
    return tq_j_fail(r, "the template refuses: %.*s", n, s->p);
}

static tq_jvalue strftime_now(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    (void)self;
    char text[512], format[256];
    struct tm when;
    if (a->v[0].kind != TQ_J_STRING || a->v[0].u.s->n >= sizeof format - 1 || !localtime_r(&r->now, &when))
        return tq_j_fail(r, "strftime_now: expected a short format");
    snprintf(format, sizeof format, "%.*s ", (int)a->v[0].u.s->n, a->v[0].u.s->p); /* never gives nothing */
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    size_t n = c ? strftime_l(text, sizeof text, format, &when, c) : 0;
    if (c) freelocale(c);
    if (n == 0) return tq_j_fail(r, "strftime_now: the time is too long");
    char *copy = tq_j_alloc(r, n);
    if (!copy) return self;
    memcpy(copy, text, n - 1);
    return tq_j_string(r, copy, NULL, n - 1);
}

/* dict(a=1) and namespace(a=1); one mapping may come first. */
static tq_jvalue make_dict(tq_jrun *r, const tq_jargs *a) {
    tq_jvalue out = tq_j_dict(r, 0);
    if (a->n > 1 || (a->n == 1 && a->v[0].kind != TQ_J_DICT))
        return tq_j_fail(r, "expected a mapping, or names=values");
    const tq_jdict *first = a->n && !r->failed ? a->v[0].u.dict : NULL;
    for (size_t i = 0; first && i < first->n && !r->failed; i++)
        tq_j_put(r, out.u.dict, first->key[i], first->value[i]);
    for (size_t i = 0; i < a->n_kw && !r->failed; i++) {
        tq_jvalue key = tq_j_literal(r, a->name[i]);
        if (!r->failed) tq_j_put(r, out.u.dict, key, a->kw[i]);
    }
    return out;
}

static tq_jvalue dict(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    (void)self;
    return make_dict(r, a);
}

static tq_jvalue namespace(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    (void)self;
    tq_jvalue v = make_dict(r, a);
    if (!r->failed) v.kind = TQ_J_NAMESPACE;
    return v;
}

static tq_jvalue range(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    (void)self;
    int64_t part[3] = {0, 0, 1};
    size_t n = 0;
    while (n < 3 && tq_j_given(a, n)) {
        if (!tq_j_as_int(a->v[n], &part[n])) return tq_j_fail(r, "range: expected whole numbers");
        n++;
    }
    int64_t from = n > 1 ? part[0] : 0, end = n > 1 ? part[1] : part[0], step = part[2];
    if (step == 0) return tq_j_fail(r, "range: a step of 0");
    double count = ((double)end - (double)from) / (double)step;
    if (count > TQ_J_MAX_RANGE) return tq_j_fail(r, "range: more than %d numbers", TQ_J_MAX_RANGE);
    size_t items = 0;
    for (int64_t i = from; step > 0 ? i < end : i > end; i += step) {
        items++;
        if (step > 0 ? i > INT64_MAX - step : i < INT64_MIN - step) break;
    }
    tq_jvalue out = tq_j_list(r, items, false);
    for (size_t i = 0; i < items && tq_j_step(r, 1); i++)
        out.u.list->v[i] =
            tq_j_int((int64_t)((uint64_t)from + (uint64_t)i * (uint64_t)step)); /* none is out of range */
    return out;
}

const tq_jcallable tq_j_functions[] = {
    {"raise_exception", raise, 1, 1, {"message"}, false},
    {"strftime_now", strftime_now, 1, 1, {"format"}, false},
    {"namespace", namespace, 0, 0, {0}, true},
    {"dict", dict, 0, 0, {0}, true},
    {"range", range, 1, 3, {0}, false},
    {0},
};

/* --- methods of mappings --- */

static tq_jvalue items(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    (void)a;
    const tq_jdict *d = self.u.dict;
    tq_jvalue out = tq_j_list(r, d->n, false);
    for (size_t i = 0; i < d->n && tq_j_step(r, 1); i++)
        out.u.list->v[i] = tq_j_pair(r, d->key[i], d->value[i]);
    return out;
}

static tq_jvalue keys(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    (void)a;
    return tq_j_items(r, self);
}

static tq_jvalue values(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    (void)a;
    tq_jvalue out = tq_j_list(r, self.u.dict->n, false);
    for (size_t i = 0; !r->failed && i < self.u.dict->n; i++)
        out.u.list->v[i] = self.u.dict->value[i];
    return out;
}

static tq_jvalue get(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    const tq_jvalue *v = tq_j_get(r, self.u.dict, a->v[0]);
    return v ? *v : tq_j_given(a, 1) ? a->v[1] : tq_j_none();
}

const tq_jcallable tq_j_dict_methods[] = {
    {"items", items, 0, 0, {0}, false},
    {"keys", keys, 0, 0, {0}, false},
    {"values", values, 0, 0, {0}, false},
    {"get", get, 1, 2, {0}, false},
    {0},
};

/* --- methods of lists and loops --- */

static tq_jvalue list_index(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    for (size_t i = 0; i < self.u.list->n && tq_j_step(r, 1); i++)
        if (tq_j_equal(r, self.u.list->v[i], a->v[0])) return tq_j_int((int64_t)i);
    return tq_j_fail(r, "index: it is not in the list");
}

static tq_jvalue list_count(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    int64_t n = 0;
    for (size_t i = 0; i < self.u.list->n && tq_j_step(r, 1); i++)
        n += tq_j_equal(r, self.u.list->v[i], a->v[0]);
    return tq_j_int(n);
}

const tq_jcallable tq_j_list_methods[] = {
    {"index", list_index, 1, 1, {0}, false},
    {"count", list_count, 1, 1, {0}, false},
    {0},
};

static tq_jvalue cycle(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    if (a->n == 0) return tq_j_fail(r, "loop.cycle: nothing to cycle through");
    return a->v[self.u.loop->index % a->n];
}

static tq_jvalue changed(tq_jrun *r, tq_jvalue self, const tq_jargs *a) {
    tq_jvalue now = tq_j_list(r, a->n, true), before = self.u.loop->changed;
    if (r->failed) return now;
    memcpy(now.u.list->v, a->v, a->n * sizeof *a->v);
    self.u.loop->changed = now;
    return tq_j_bool(before.kind != TQ_J_LIST || !tq_j_equal(r, before, now));
}

const tq_jcallable tq_j_loop_methods[] = {
    {"cycle", cycle, 0, 0, {0}, true},
    {"changed", changed, 0, 0, {0}, true},
    {0},
};
