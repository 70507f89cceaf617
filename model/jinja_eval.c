/* jinja_eval.c - the value of an expression. */
#include <string.h>

#include "model/jinja_internal.h"

const tq_jcallable *tq_j_find(const tq_jcallable *rows, const char *name) {
    for (; rows->name; rows++)
        if (strcmp(rows->name, name) == 0) return rows;
    return NULL;
}

bool tq_j_given(const tq_jargs *a, size_t i) {
    return i < a->n && !(a->v[i].kind == TQ_J_UNDEFINED && !a->v[i].u.missing);
}

/* Puts arguments with a name where they belong. */
static bool place(tq_jrun *r, const char *what, const tq_jcallable *row, const tq_jargs *a, tq_jargs *out) {
    *out = *a;
    for (size_t i = a->n; i < TQ_J_MAX_ARGS; i++)
        out->v[i] = tq_j_undefined(NULL);
    out->n = a->n > row->max ? a->n : row->max;
    for (size_t k = 0; k < a->n_kw; k++) {
        size_t i = 0;
        while (i < sizeof row->params / sizeof *row->params && row->params[i] &&
               strcmp(row->params[i], a->name[k]) != 0)
            i++;
        if (i == sizeof row->params / sizeof *row->params || !row->params[i] || i < a->n)
            return tq_j_fail(r, "%s %s: the argument %.60s is not supported", what, row->name, a->name[k]), false;
        out->v[i] = a->kw[k];
    }
    for (size_t i = 0; i < row->min; i++)
        if (i >= a->n && !tq_j_given(out, i))
            return tq_j_fail(r, "%s %s: an argument is missing", what, row->name), false;
    if (a->n > row->max) return tq_j_fail(r, "%s %s: too many arguments", what, row->name), false;
    return true;
}

tq_jvalue tq_j_invoke(tq_jrun *r, const char *what, const tq_jcallable *row, tq_jvalue self, const tq_jargs *a) {
    tq_jargs placed;
    /* What strings can do takes as long as they are. */
    if (r->failed || !tq_j_step(r, self.kind == TQ_J_STRING ? 1 + self.u.s->n / 64 : 1)) return self;
    if (row->open) return row->fn(r, self, a);
    return place(r, what, row, a, &placed) ? row->fn(r, self, &placed) : self;
}

static void eval_arguments(tq_jrun *r, const tq_jnode *n, tq_jargs *out) {
    out->n = out->n_kw = 0;
    for (const tq_jnode *m = n->args; m && !r->failed; m = m->next) {
        if (m->kind != TQ_N_KEYWORD) {
            out->v[out->n] = tq_j_eval(r, m);
            /* Given, whatever it is: undefined values have a name. */
            if (out->v[out->n].kind == TQ_J_UNDEFINED && !out->v[out->n].u.missing)
                out->v[out->n].u.missing = "an argument";
            out->n++;
        } else {
            out->name[out->n_kw] = m->name;
            out->kw[out->n_kw] = tq_j_eval(r, m->a);
            if (out->kw[out->n_kw].kind == TQ_J_UNDEFINED && !out->kw[out->n_kw].u.missing)
                out->kw[out->n_kw].u.missing = m->name;
            out->n_kw++;
        }
    }
}

tq_jvalue tq_j_call(tq_jrun *r, tq_jvalue f, const tq_jargs *a) {
    switch (f.kind) {
    case TQ_J_FUNCTION:
        return tq_j_invoke(r, "the function", f.u.function, tq_j_none(), a);
    case TQ_J_METHOD:
        return tq_j_invoke(r, "the method", f.u.method->row, f.u.method->self, a);
    case TQ_J_MACRO:
        return tq_j_call_macro(r, f.u.macro, a);
    case TQ_J_UNDEFINED:
        return tq_j_fail(r, "%.60s is not defined, or not supported: it cannot be called",
                         f.u.missing ? f.u.missing : "a value");
    default:
        return tq_j_fail(r, "%s cannot be called", tq_j_kind_name(f));
    }
}

static tq_jvalue eval_call(tq_jrun *r, const tq_jnode *n) {
    tq_jargs args;
    tq_jvalue f = tq_j_eval(r, n->a);
    eval_arguments(r, n, &args);
    r->line = n->line;
    if (r->failed) return f;
    if (f.kind == TQ_J_UNDEFINED && n->a->kind == TQ_N_ATTR)
        return tq_j_fail(r, "the method %.60s is not known here, or not supported", n->a->name);
    return tq_j_call(r, f, &args);
}

static tq_jvalue eval_row(tq_jrun *r, const tq_jnode *n, const char *what) {
    tq_jargs args;
    tq_jvalue self = tq_j_eval(r, n->a);
    eval_arguments(r, n, &args);
    r->line = n->line;
    if (!n->row) return tq_j_fail(r, "%s %.60s is not supported", what, n->name);
    return tq_j_invoke(r, what, n->row, self, &args);
}

static tq_jvalue eval_list(tq_jrun *r, const tq_jnode *n) {
    size_t count = 0;
    for (const tq_jnode *m = n->args; m; m = m->next)
        count++;
    tq_jvalue out = tq_j_list(r, count, n->kind == TQ_N_TUPLE);
    size_t i = 0;
    for (const tq_jnode *m = n->args; m && !r->failed; m = m->next)
        out.u.list->v[i++] = tq_j_eval(r, m);
    return out;
}

static tq_jvalue eval_dict(tq_jrun *r, const tq_jnode *n) {
    tq_jvalue out = tq_j_dict(r, 0);
    for (const tq_jnode *m = n->args; m && !r->failed; m = m->next->next) {
        tq_jvalue key = tq_j_eval(r, m), value = tq_j_eval(r, m->next);
        if (!r->failed) tq_j_put(r, out.u.dict, key, value);
    }
    return out;
}

static tq_jvalue eval_slice(tq_jrun *r, const tq_jnode *n) {
    tq_jvalue v = tq_j_eval(r, n->a), part[3];
    size_t i = 0;
    for (const tq_jnode *m = n->args; m && i < 3; m = m->next)
        part[i++] = tq_j_eval(r, m);
    r->line = n->line;
    return r->failed ? v : tq_j_slice(r, v, part);
}

static tq_jvalue eval_compare(tq_jrun *r, const tq_jnode *n) {
    tq_jvalue left = tq_j_eval(r, n->a), out = left;
    for (const tq_jnode *m = n->args; m && !r->failed; m = m->next) {
        tq_jvalue right = tq_j_eval(r, m->a);
        r->line = m->line;
        out = tq_j_compare(r, m->op, left, right);
        if (!tq_j_true(out)) break;
        left = right;
    }
    return out;
}

static tq_jvalue eval_sign(tq_jrun *r, const tq_jnode *n) {
    tq_jvalue v = tq_j_eval(r, n->a);
    if (r->failed) return v;
    if (!tq_j_is_number(v)) return tq_j_fail(r, "a sign before %s", tq_j_kind_name(v));
    if (v.kind == TQ_J_FLOAT) return tq_j_float(n->kind == TQ_N_NEG ? -v.u.f : v.u.f);
    return tq_j_binary(r, n->kind == TQ_N_NEG ? TQ_O_SUB : TQ_O_ADD, tq_j_int(0), v);
}

static tq_jvalue eval_name(tq_jrun *r, const tq_jnode *n) {
    const tq_jvalue *v = tq_j_lookup(r, n->name);
    if (v) return *v;
    const tq_jcallable *f = tq_j_find(tq_j_functions, n->name);
    return f ? (tq_jvalue){.kind = TQ_J_FUNCTION, .u.function = f} : tq_j_undefined(n->name);
}

static tq_jvalue eval_two(tq_jrun *r, const tq_jnode *n) {
    tq_jvalue a = tq_j_eval(r, n->a);
    if (n->kind == TQ_N_AND || n->kind == TQ_N_OR)
        return r->failed || tq_j_true(a) == (n->kind == TQ_N_OR) ? a : tq_j_eval(r, n->b);
    tq_jvalue b = tq_j_eval(r, n->b);
    r->line = n->line;
    if (r->failed) return a;
    return n->kind == TQ_N_ITEM ? tq_j_item(r, a, b) : tq_j_binary(r, n->op, a, b);
}

static tq_jvalue eval_node(tq_jrun *r, const tq_jnode *n) {
    tq_jvalue v;
    switch (n->kind) {
    case TQ_N_CONST:
        return n->value;
    case TQ_N_NAME:
        return eval_name(r, n);
    case TQ_N_LIST:
    case TQ_N_TUPLE:
        return eval_list(r, n);
    case TQ_N_DICT:
        return eval_dict(r, n);
    case TQ_N_ATTR:
        v = tq_j_eval(r, n->a);
        r->line = n->line;
        return r->failed ? v : tq_j_attribute(r, v, n->name);
    case TQ_N_SLICE:
        return eval_slice(r, n);
    case TQ_N_CALL:
        return eval_call(r, n);
    case TQ_N_FILTER:
        return eval_row(r, n, "the filter");
    case TQ_N_TEST:
        return eval_row(r, n, "the test");
    case TQ_N_NOT:
        v = tq_j_eval(r, n->a);
        return tq_j_bool(!tq_j_true(v));
    case TQ_N_NEG:
    case TQ_N_POS:
        return eval_sign(r, n);
    case TQ_N_ITEM:
    case TQ_N_AND:
    case TQ_N_OR:
    case TQ_N_BINARY:
        return eval_two(r, n);
    case TQ_N_COMPARE:
        return eval_compare(r, n);
    case TQ_N_COND:
        v = tq_j_eval(r, n->a);
        if (r->failed) return v;
        return tq_j_true(v) ? tq_j_eval(r, n->b)
               : n->c       ? tq_j_eval(r, n->c)
                            : tq_j_undefined("a condition without else");
    default:
        return tq_j_fail(r, "not an expression");
    }
}

tq_jvalue tq_j_eval(tq_jrun *r, const tq_jnode *n) {
    if (r->failed) return tq_j_none();
    r->line = n->line;
    if (!tq_j_step(r, 1)) return tq_j_none();
    if (r->depth >= TQ_J_MAX_DEPTH) return tq_j_fail(r, "nested deeper than %d", TQ_J_MAX_DEPTH);
    r->depth++;
    tq_jvalue v = eval_node(r, n);
    r->depth--;
    return v;
}
