/* jinja_value.c - what a template computes with: how values are made, compared, and looked into. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/jinja_internal.h"

struct tq_arena_chunk {
    struct tq_arena_chunk *next;
    size_t used, size;
    max_align_t data[];
};

void *tq_arena_alloc(tq_arena *a, size_t n) {
    enum { CHUNK = 1 << 16, ALIGN = sizeof(max_align_t) };
    if (n > a->limit) return NULL;
    n = (n + ALIGN - 1) / ALIGN * ALIGN;
    struct tq_arena_chunk *c = a->head;
    if (!c || c->size - c->used < n) {
        size_t size = n > CHUNK ? n : CHUNK;
        if (size > a->limit - a->total) return NULL;
        c = calloc(1, sizeof *c + size);
        if (!c) return NULL;
        *c = (struct tq_arena_chunk){.next = a->head, .size = size};
        a->head = c;
        a->total += size;
    }
    void *out = (char *)c->data + c->used;
    c->used += n;
    return out;
}

void tq_arena_free(tq_arena *a) {
    while (a->head) {
        struct tq_arena_chunk *next = a->head->next;
        free(a->head);
        a->head = next;
    }
    a->total = 0;
}

tq_jvalue tq_j_fail(tq_jrun *r, const char *fmt, ...) {
    char what[400];
    if (r->failed) return tq_j_undefined(NULL);
    r->failed = true;
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    tq_fail(r->err, "%s, line %d: %s", r->t->name, r->line, what);
    return tq_j_undefined(NULL);
}

void *tq_j_alloc(tq_jrun *r, size_t n) {
    void *memory = tq_arena_alloc(&r->arena, n);
    if (!memory) tq_j_fail(r, "more than %zu MiB of memory, or none left", r->arena.limit >> 20);
    return memory;
}

bool tq_j_step(tq_jrun *r, size_t n) {
    r->steps += n;
    if (r->steps > TQ_J_MAX_STEPS) tq_j_fail(r, "more than %d steps", TQ_J_MAX_STEPS);
    return !r->failed;
}

tq_jvalue tq_j_undefined(const char *name) {
    return (tq_jvalue){.kind = TQ_J_UNDEFINED, .u.missing = name};
}
tq_jvalue tq_j_none(void) {
    return (tq_jvalue){.kind = TQ_J_NONE};
}
tq_jvalue tq_j_bool(bool b) {
    return (tq_jvalue){.kind = TQ_J_BOOL, .u.b = b};
}
tq_jvalue tq_j_int(int64_t i) {
    return (tq_jvalue){.kind = TQ_J_INT, .u.i = i};
}
tq_jvalue tq_j_float(double f) {
    return (tq_jvalue){.kind = TQ_J_FLOAT, .u.f = f};
}

tq_jvalue tq_j_string(tq_jrun *r, const char *p, const unsigned char *typed, size_t n) {
    tq_jstring *s = tq_j_alloc(r, sizeof *s);
    if (!s) return tq_j_undefined(NULL);
    *s = (tq_jstring){.p = p, .typed = typed, .n = n};
    return (tq_jvalue){.kind = TQ_J_STRING, .u.s = s};
}

tq_jvalue tq_j_literal(tq_jrun *r, const char *text) {
    return tq_j_string(r, text, NULL, strlen(text));
}

tq_jvalue tq_j_part(tq_jrun *r, const tq_jstring *s, size_t from, size_t n) {
    return tq_j_string(r, s->p + from, s->typed ? s->typed + from : NULL, n);
}

tq_jvalue tq_j_taken(tq_jrun *r, const tq_jtext *t) {
    return tq_j_string(r, t->n ? t->p : "", t->n ? t->typed : NULL, t->n);
}

tq_jvalue tq_j_list(tq_jrun *r, size_t n, bool tuple) {
    tq_jlist *list = n <= TQ_J_MAX_MEMORY / sizeof(tq_jvalue) ? tq_j_alloc(r, sizeof *list) : NULL;
    tq_jvalue *v = list ? tq_j_alloc(r, (n + 1) * sizeof *v) : NULL;
    if (!v) return tq_j_fail(r, "a list of %zu", n);
    *list = (tq_jlist){.v = v, .n = n, .tuple = tuple};
    return (tq_jvalue){.kind = TQ_J_LIST, .u.list = list};
}

tq_jvalue tq_j_pair(tq_jrun *r, tq_jvalue a, tq_jvalue b) {
    tq_jvalue pair = tq_j_list(r, 2, true);
    if (r->failed) return pair;
    pair.u.list->v[0] = a;
    pair.u.list->v[1] = b;
    return pair;
}

tq_jvalue tq_j_dict(tq_jrun *r, size_t n) {
    tq_jdict *d = tq_j_alloc(r, sizeof *d);
    if (!d) return tq_j_undefined(NULL);
    d->capacity = n ? n : 4;
    d->key = d->capacity < TQ_J_MAX_MEMORY / sizeof *d->key ? tq_j_alloc(r, d->capacity * sizeof *d->key) : NULL;
    d->value = d->key ? tq_j_alloc(r, d->capacity * sizeof *d->value) : NULL;
    if (!d->value) return tq_j_fail(r, "a mapping of %zu", n);
    return (tq_jvalue){.kind = TQ_J_DICT, .u.dict = d};
}

static bool same_text(const tq_jstring *s, const char *text) {
    return s->n == strlen(text) && memcmp(s->p, text, s->n) == 0;
}

const tq_jvalue *tq_j_member(const tq_jdict *d, const char *key) {
    for (size_t i = 0; i < d->n; i++)
        if (d->key[i].kind == TQ_J_STRING && same_text(d->key[i].u.s, key)) return &d->value[i];
    return NULL;
}

const tq_jvalue *tq_j_get(tq_jrun *r, const tq_jdict *d, tq_jvalue key) {
    for (size_t i = 0; i < d->n && tq_j_step(r, 1); i++)
        if (tq_j_equal(r, d->key[i], key)) return &d->value[i];
    return NULL;
}

bool tq_j_put(tq_jrun *r, tq_jdict *d, tq_jvalue key, tq_jvalue value) {
    if (key.kind == TQ_J_LIST && !key.u.list->tuple) tq_j_fail(r, "a list cannot be a key");
    if (key.kind == TQ_J_DICT) tq_j_fail(r, "a mapping cannot be a key");
    tq_jvalue *found = (tq_jvalue *)tq_j_get(r, d, key);
    if (r->failed) return false;
    if (found) {
        *found = value;
        return true;
    }
    if (d->n == d->capacity) {
        tq_jvalue grown = tq_j_dict(r, 2 * d->capacity);
        if (r->failed) return false;
        memcpy(grown.u.dict->key, d->key, d->n * sizeof *d->key);
        memcpy(grown.u.dict->value, d->value, d->n * sizeof *d->value);
        d->key = grown.u.dict->key;
        d->value = grown.u.dict->value;
        d->capacity = grown.u.dict->capacity;
    }
    d->key[d->n] = key;
    d->value[d->n++] = value;
    return true;
}

const char *tq_j_kind_name(tq_jvalue v) {
    static const char *const names[] = {
        [TQ_J_UNDEFINED] = "an undefined value",
        [TQ_J_NONE] = "none",
        [TQ_J_BOOL] = "true or false",
        [TQ_J_INT] = "a number",
        [TQ_J_FLOAT] = "a number",
        [TQ_J_STRING] = "a string",
        [TQ_J_LIST] = "a list",
        [TQ_J_DICT] = "a mapping",
        [TQ_J_NAMESPACE] = "a namespace",
        [TQ_J_LOOP] = "loop",
        [TQ_J_MACRO] = "a macro",
        [TQ_J_FUNCTION] = "a function",
        [TQ_J_METHOD] = "a method",
    };
    return names[v.kind];
}

bool tq_j_true(tq_jvalue v) {
    switch (v.kind) {
    case TQ_J_UNDEFINED:
    case TQ_J_NONE:
        return false;
    case TQ_J_BOOL:
        return v.u.b;
    case TQ_J_INT:
        return v.u.i != 0;
    case TQ_J_FLOAT:
        return v.u.f != 0;
    case TQ_J_STRING:
        return v.u.s->n > 0;
    case TQ_J_LIST:
        return v.u.list->n > 0;
    case TQ_J_DICT:
        return v.u.dict->n > 0;
    default:
        return true;
    }
}

bool tq_j_is_number(tq_jvalue v) {
    return v.kind == TQ_J_BOOL || v.kind == TQ_J_INT || v.kind == TQ_J_FLOAT;
}

bool tq_j_as_int(tq_jvalue v, int64_t *out) {
    if (v.kind != TQ_J_BOOL && v.kind != TQ_J_INT) return false;
    *out = v.kind == TQ_J_BOOL ? v.u.b : v.u.i;
    return true;
}

double tq_j_as_float(tq_jvalue v) {
    return v.kind == TQ_J_FLOAT ? v.u.f : v.kind == TQ_J_BOOL ? v.u.b : (double)v.u.i;
}

bool tq_j_is_text(tq_jvalue v, const char *text) {
    return v.kind == TQ_J_STRING && same_text(v.u.s, text);
}

static bool deeper(tq_jrun *r) {
    if (++r->value_depth > TQ_J_MAX_VALUE_DEPTH)
        tq_j_fail(r, "lists within lists, deeper than %d", TQ_J_MAX_VALUE_DEPTH);
    return tq_j_step(r, 1);
}

static bool equal_lists(tq_jrun *r, const tq_jlist *a, const tq_jlist *b) {
    bool same = a->n == b->n && a->tuple == b->tuple && deeper(r);
    for (size_t i = 0; same && i < a->n; i++)
        same = tq_j_equal(r, a->v[i], b->v[i]);
    if (a->n == b->n && a->tuple == b->tuple) r->value_depth--;
    return same;
}

static bool equal_dicts(tq_jrun *r, const tq_jdict *a, const tq_jdict *b) {
    if (a->n != b->n) return false;
    bool same = deeper(r);
    for (size_t i = 0; same && i < a->n; i++) {
        const tq_jvalue *other = tq_j_get(r, b, a->key[i]);
        same = other && tq_j_equal(r, a->value[i], *other);
    }
    r->value_depth--;
    return same;
}

bool tq_j_equal(tq_jrun *r, tq_jvalue a, tq_jvalue b) {
    int64_t x, y;
    if (tq_j_as_int(a, &x) && tq_j_as_int(b, &y)) return x == y;
    if (tq_j_is_number(a) && tq_j_is_number(b)) return tq_j_as_float(a) == tq_j_as_float(b);
    if (a.kind != b.kind || r->failed) return false;
    switch (a.kind) {
    case TQ_J_UNDEFINED:
    case TQ_J_NONE:
        return true;
    case TQ_J_STRING:
        return tq_j_step(r, a.u.s->n / 64) && a.u.s->n == b.u.s->n && memcmp(a.u.s->p, b.u.s->p, a.u.s->n) == 0;
    case TQ_J_LIST:
        return equal_lists(r, a.u.list, b.u.list);
    case TQ_J_DICT:
        return equal_dicts(r, a.u.dict, b.u.dict);
    case TQ_J_FUNCTION:
        return a.u.function == b.u.function;
    default:
        return a.u.dict == b.u.dict;
    }
}

static int order_lists(tq_jrun *r, const tq_jlist *a, const tq_jlist *b, const char *op) {
    int order = 0;
    size_t i = 0;
    if (!deeper(r)) return 0;
    while (i < a->n && i < b->n && !r->failed && tq_j_equal(r, a->v[i], b->v[i]))
        i++;
    if (i < a->n && i < b->n)
        order = tq_j_order(r, a->v[i], b->v[i], op);
    else
        order = (a->n > b->n) - (a->n < b->n);
    r->value_depth--;
    return order;
}

int tq_j_order(tq_jrun *r, tq_jvalue a, tq_jvalue b, const char *op) {
    int64_t i, j;
    if (tq_j_as_int(a, &i) && tq_j_as_int(b, &j)) return (i > j) - (i < j);
    if (tq_j_is_number(a) && tq_j_is_number(b)) {
        double x = tq_j_as_float(a), y = tq_j_as_float(b);
        return (x > y) - (x < y);
    }
    if (a.kind == TQ_J_STRING && b.kind == TQ_J_STRING) {
        size_t n = a.u.s->n < b.u.s->n ? a.u.s->n : b.u.s->n;
        int order = n ? memcmp(a.u.s->p, b.u.s->p, n) : 0;
        return order ? order : (a.u.s->n > b.u.s->n) - (a.u.s->n < b.u.s->n);
    }
    if (a.kind == TQ_J_LIST && b.kind == TQ_J_LIST && a.u.list->tuple == b.u.list->tuple)
        return order_lists(r, a.u.list, b.u.list, op);
    tq_j_fail(r, "%s between %s and %s", op, tq_j_kind_name(a), tq_j_kind_name(b));
    return 0;
}

tq_jvalue tq_j_contains(tq_jrun *r, tq_jvalue item, tq_jvalue in) {
    switch (in.kind) {
    case TQ_J_STRING:
        if (item.kind != TQ_J_STRING) return tq_j_fail(r, "%s in a string: only a string can be", tq_j_kind_name(item));
        if (!tq_j_step(r, in.u.s->n / 64)) return item;
        return tq_j_bool(tq_j_find_text(in.u.s, item.u.s, 0) != SIZE_MAX);
    case TQ_J_LIST:
        for (size_t i = 0; i < in.u.list->n && tq_j_step(r, 1); i++)
            if (tq_j_equal(r, in.u.list->v[i], item)) return tq_j_bool(true);
        return tq_j_bool(false);
    case TQ_J_DICT:
        return tq_j_bool(tq_j_get(r, in.u.dict, item) != NULL);
    case TQ_J_UNDEFINED:
        return tq_j_bool(false);
    default:
        return tq_j_fail(r, "nothing can be in %s", tq_j_kind_name(in));
    }
}

static tq_jvalue characters(tq_jrun *r, const tq_jstring *s) {
    tq_jvalue out = tq_j_list(r, tq_j_characters(s), false);
    size_t at = 0;
    for (size_t i = 0; !r->failed && i < out.u.list->n && tq_j_step(r, 1); i++) {
        const tq_jstring rest = {.p = s->p + at, .n = s->n - at};
        size_t n = tq_j_offset(&rest, 1);
        out.u.list->v[i] = tq_j_part(r, s, at, n);
        at += n;
    }
    return out;
}

tq_jvalue tq_j_items(tq_jrun *r, tq_jvalue v) {
    tq_jvalue out;
    switch (v.kind) {
    case TQ_J_LIST:
        return v;
    case TQ_J_STRING:
        return characters(r, v.u.s);
    case TQ_J_UNDEFINED:
        return tq_j_list(r, 0, false);
    case TQ_J_DICT:
        out = tq_j_list(r, v.u.dict->n, false);
        for (size_t i = 0; !r->failed && i < v.u.dict->n; i++)
            out.u.list->v[i] = v.u.dict->key[i];
        return out;
    default:
        return tq_j_fail(r, "%s cannot be gone over", tq_j_kind_name(v));
    }
}

tq_jvalue tq_j_length(tq_jrun *r, tq_jvalue v) {
    switch (v.kind) {
    case TQ_J_UNDEFINED:
        return tq_j_int(0);
    case TQ_J_STRING:
        return tq_j_int((int64_t)tq_j_characters(v.u.s));
    case TQ_J_LIST:
        return tq_j_int((int64_t)v.u.list->n);
    case TQ_J_DICT:
        return tq_j_int((int64_t)v.u.dict->n);
    case TQ_J_LOOP:
        return tq_j_int((int64_t)v.u.loop->items->n);
    default:
        return tq_j_fail(r, "%s has no length", tq_j_kind_name(v));
    }
}
