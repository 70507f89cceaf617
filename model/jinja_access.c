/* jinja_access.c - parts of values: attributes, items, slices. */
#include <string.h>

#include "model/jinja_internal.h"

static tq_jvalue method(tq_jrun *r, const tq_jcallable *row, tq_jvalue self) {
    tq_jmethod *m = tq_j_alloc(r, sizeof *m);
    if (!m) return self;
    *m = (tq_jmethod){.row = row, .self = self};
    return (tq_jvalue){.kind = TQ_J_METHOD, .u.method = m};
}

static tq_jvalue loop_attribute(const tq_jloop *l, const char *name) {
    size_t i = l->index, n = l->items->n;
    const struct {
        const char *name;
        tq_jvalue v;
    } rows[] = {
        {"index", tq_j_int((int64_t)i + 1)},
        {"index0", tq_j_int((int64_t)i)},
        {"revindex", tq_j_int((int64_t)(n - i))},
        {"revindex0", tq_j_int((int64_t)(n - i) - 1)},
        {"first", tq_j_bool(i == 0)},
        {"last", tq_j_bool(i + 1 == n)},
        {"length", tq_j_int((int64_t)n)},
        {"depth", tq_j_int(1)}, /* of recursive loops, which there are not */
        {"depth0", tq_j_int(0)},
        {"previtem", i > 0 ? l->items->v[i - 1] : tq_j_undefined("the previous item")},
        {"nextitem", i + 1 < n ? l->items->v[i + 1] : tq_j_undefined("the next item")},
    };
    for (size_t k = 0; k < sizeof rows / sizeof *rows; k++)
        if (strcmp(rows[k].name, name) == 0) return rows[k].v;
    return tq_j_undefined(name);
}

static const tq_jcallable *methods_of(tq_jvalue v) {
    switch (v.kind) {
    case TQ_J_STRING:
        return tq_j_string_methods;
    case TQ_J_DICT:
        return tq_j_dict_methods;
    case TQ_J_LIST:
        return tq_j_list_methods;
    case TQ_J_LOOP:
        return tq_j_loop_methods;
    default:
        return NULL;
    }
}

static tq_jvalue refuse(tq_jrun *r, tq_jvalue v, const char *name) {
    return tq_j_fail(r, "%.60s is undefined: it has no .%.60s", v.u.missing ? v.u.missing : "a value", name);
}

/* A method of that name or, of a mapping, a member; else undefined. */
static tq_jvalue look_up(tq_jrun *r, tq_jvalue v, const char *name) {
    const tq_jcallable *rows = methods_of(v), *row = rows ? tq_j_find(rows, name) : NULL;
    if (row) return method(r, row, v);
    if (v.kind == TQ_J_LOOP) return loop_attribute(v.u.loop, name);
    bool members = v.kind == TQ_J_DICT || v.kind == TQ_J_NAMESPACE;
    const tq_jvalue *found = members && tq_j_step(r, v.u.dict->n / 16) ? tq_j_member(v.u.dict, name) : NULL;
    return found ? *found : tq_j_undefined(name);
}

tq_jvalue tq_j_attribute(tq_jrun *r, tq_jvalue v, const char *name) {
    return v.kind == TQ_J_UNDEFINED ? refuse(r, v, name) : look_up(r, v, name);
}

/* Python's way to count from the end; false when it is outside. */
static bool position(int64_t i, size_t n, size_t *out) {
    if (i < 0) i += (int64_t)n;
    *out = (size_t)i;
    return i >= 0 && (size_t)i < n;
}

tq_jvalue tq_j_item(tq_jrun *r, tq_jvalue v, tq_jvalue key) {
    int64_t i;
    size_t at;
    if (v.kind == TQ_J_UNDEFINED) return refuse(r, v, "item");
    if (v.kind == TQ_J_DICT) {
        const tq_jvalue *found = tq_j_get(r, v.u.dict, key);
        if (found) return *found;
    } else if (v.kind == TQ_J_LIST && tq_j_as_int(key, &i)) {
        return position(i, v.u.list->n, &at) ? v.u.list->v[at] : tq_j_undefined("an item beyond the list's end");
    } else if (v.kind == TQ_J_STRING && tq_j_as_int(key, &i)) {
        if (!tq_j_step(r, v.u.s->n / 64)) return v;
        if (!position(i, tq_j_characters(v.u.s), &at)) return tq_j_undefined("a character beyond the string's end");
        size_t from = tq_j_offset(v.u.s, at);
        return tq_j_part(r, v.u.s, from, tq_j_offset(v.u.s, at + 1) - from);
    }
    if (key.kind != TQ_J_STRING) return tq_j_undefined("an item");
    char *name = tq_j_alloc(r, key.u.s->n + 1);
    if (!name) return key;
    memcpy(name, key.u.s->p, key.u.s->n);
    return look_up(r, v, name);
}

/* Python's slice.indices: where to begin, the step, and how many. */
typedef struct range {
    int64_t from, step;
    size_t n;
} range;

static int64_t clamp(tq_jvalue v, int64_t missing, int64_t n, int64_t low, int64_t high) {
    int64_t i;
    if (!tq_j_as_int(v, &i)) return missing;
    if (i < 0) i = i < -n ? low : i + n;
    return i < low ? low : i > high ? high : i;
}

static bool find_range(tq_jrun *r, const tq_jvalue part[3], size_t length, range *out) {
    int64_t n = (int64_t)length, step = 1, end;
    for (size_t i = 0; i < 3; i++)
        if (part[i].kind != TQ_J_NONE && part[i].kind != TQ_J_INT && part[i].kind != TQ_J_BOOL)
            return tq_j_fail(r, "a slice with %s", tq_j_kind_name(part[i])), false;
    tq_j_as_int(part[2], &step);
    if (step == 0) return tq_j_fail(r, "a slice of step 0"), false;
    if (step > n + 1) step = n + 1;
    if (step < -n - 1) step = -n - 1;
    if (step > 0) {
        out->from = clamp(part[0], 0, n, 0, n);
        end = clamp(part[1], n, n, 0, n);
        out->n = end > out->from ? (size_t)((end - out->from + step - 1) / step) : 0;
    } else {
        out->from = clamp(part[0], n - 1, n, -1, n - 1);
        end = clamp(part[1], -1, n, -1, n - 1);
        out->n = out->from > end ? (size_t)((out->from - end - step - 1) / -step) : 0;
    }
    out->step = step;
    return true;
}

tq_jvalue tq_j_slice(tq_jrun *r, tq_jvalue v, const tq_jvalue part[3]) {
    range at;
    if (v.kind == TQ_J_UNDEFINED) return refuse(r, v, "slice");
    if (v.kind != TQ_J_STRING && v.kind != TQ_J_LIST) return tq_j_undefined("a slice");
    if (v.kind == TQ_J_STRING && !tq_j_step(r, v.u.s->n / 64)) return v;
    size_t n = v.kind == TQ_J_STRING ? tq_j_characters(v.u.s) : v.u.list->n;
    if (!find_range(r, part, n, &at) || !tq_j_step(r, at.n / 16)) return v;
    if (v.kind == TQ_J_STRING && at.step == 1) {
        size_t from = tq_j_offset(v.u.s, (size_t)at.from), end = tq_j_offset(v.u.s, (size_t)at.from + at.n);
        return tq_j_part(r, v.u.s, from, end - from);
    }
    tq_jvalue all = tq_j_items(r, v), out = tq_j_list(r, at.n, v.kind == TQ_J_LIST && v.u.list->tuple);
    tq_jtext text = {0};
    for (size_t i = 0; !r->failed && i < at.n; i++) {
        tq_jvalue item = all.u.list->v[at.from + (int64_t)i * at.step];
        out.u.list->v[i] = item;
        if (v.kind == TQ_J_STRING) tq_j_add_string(r, &text, item.u.s);
    }
    return v.kind == TQ_J_STRING ? tq_j_taken(r, &text) : out;
}
