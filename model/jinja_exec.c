/* jinja_exec.c - statements, scopes and macros, and a rendering as a whole. */
#include <stdlib.h>
#include <string.h>

#include "model/jinja_internal.h"

const tq_jvalue *tq_j_lookup(tq_jrun *r, const char *name) {
    size_t seen = 0;
    const tq_jbinding *b = NULL;
    for (const tq_jscope *s = r->scope; s && !b; s = s->parent)
        for (b = s->first; b && strcmp(b->name, name) != 0; b = b->next)
            seen++;
    return tq_j_step(r, seen / 16) && b ? &b->value : NULL;
}

bool tq_j_bind(tq_jrun *r, const char *name, tq_jvalue v) {
    if (r->failed) return false;
    size_t seen = 0;
    for (tq_jbinding *b = r->scope->first; b && tq_j_step(r, ++seen % 16 == 0); b = b->next)
        if (strcmp(b->name, name) == 0) {
            b->value = v;
            return true;
        }
    tq_jbinding *b = tq_j_alloc(r, sizeof *b);
    if (!b) return false;
    *b = (tq_jbinding){.name = name, .value = v, .next = r->scope->first};
    r->scope->first = b;
    return true;
}

/* A scope within parent; the caller puts the old one back. */
static tq_jscope *enter(tq_jrun *r, tq_jscope *parent) {
    tq_jscope *old = r->scope, *inner = tq_j_alloc(r, sizeof *inner);
    if (inner) {
        inner->parent = parent;
        r->scope = inner;
    }
    return old;
}

static void assign(tq_jrun *r, const tq_jnode *target, tq_jvalue v) {
    if (r->failed) return;
    r->line = target->line;
    if (target->kind == TQ_N_NAME) {
        tq_j_bind(r, target->name, v);
    } else if (target->kind == TQ_N_ATTR) {
        tq_jvalue space = tq_j_eval(r, target->a);
        if (!r->failed && space.kind != TQ_J_NAMESPACE)
            tq_j_fail(r, "%.60s is %s: attributes of a namespace alone can be set", target->a->name,
                      tq_j_kind_name(space));
        tq_jvalue key = tq_j_literal(r, target->name);
        if (!r->failed) tq_j_put(r, space.u.dict, key, v);
    } else {
        tq_jvalue items = tq_j_items(r, v);
        size_t i = 0;
        const tq_jnode *m = target->args;
        for (; m && !r->failed && i < items.u.list->n; m = m->next)
            assign(r, m, items.u.list->v[i++]);
        if (!r->failed && (m || i < items.u.list->n))
            tq_j_fail(r, "%zu values for another number of names", items.u.list->n);
    }
}

static void print(tq_jrun *r, tq_jvalue v) {
    tq_j_add_str(r, r->out, v);
}

/* What a body prints, as a string. */
static tq_jvalue capture(tq_jrun *r, const tq_jnode *body, tq_jscope *parent) {
    tq_jtext text = {0}, *out = r->out;
    tq_jscope *old = enter(r, parent);
    r->out = &text;
    tq_j_exec(r, body);
    r->out = out;
    r->scope = old;
    return tq_j_taken(r, &text);
}

/* Filters over a value: the chain's innermost node has no operand. */
static tq_jvalue filtered(tq_jrun *r, const tq_jnode *filters, tq_jvalue v) {
    if (!filters || r->failed) return v;
    tq_jnode one = *filters, held = {.kind = TQ_N_CONST, .line = filters->line, .value = filtered(r, filters->a, v)};
    one.a = &held;
    return tq_j_eval(r, &one);
}

/* The items that pass the loop's own condition. */
static tq_jvalue loop_items(tq_jrun *r, const tq_jnode *n) {
    tq_jvalue v = tq_j_eval(r, n->b), all, out;
    if (r->failed) return v;
    all = tq_j_items(r, v);
    if (!n->c || r->failed) return all;
    out = tq_j_list(r, all.u.list->n, false);
    size_t kept = 0;
    for (size_t i = 0; i < all.u.list->n && !r->failed; i++) {
        tq_jscope *old = enter(r, r->scope);
        assign(r, n->a, all.u.list->v[i]);
        if (!r->failed && tq_j_true(tq_j_eval(r, n->c))) out.u.list->v[kept++] = all.u.list->v[i];
        r->scope = old;
    }
    if (!r->failed) out.u.list->n = kept;
    return out;
}

/* Names that are set in a loop are forgotten with each turn. */
static void exec_for(tq_jrun *r, const tq_jnode *n) {
    tq_jvalue items = loop_items(r, n);
    tq_jloop *loop = tq_j_alloc(r, sizeof *loop);
    if (r->failed) return;
    *loop = (tq_jloop){.items = items.u.list, .changed = tq_j_undefined(NULL)};
    tq_jflow flow = TQ_J_NEXT;
    for (size_t i = 0; i < items.u.list->n && flow != TQ_J_BREAK && tq_j_step(r, 1); i++) {
        tq_jscope *old = enter(r, r->scope);
        loop->index = i;
        tq_j_bind(r, "loop", (tq_jvalue){.kind = TQ_J_LOOP, .u.loop = loop});
        assign(r, n->a, items.u.list->v[i]);
        flow = tq_j_exec(r, n->body);
        r->scope = old;
    }
    if (items.u.list->n == 0 && !r->failed) {
        tq_jscope *old = enter(r, r->scope);
        tq_j_exec(r, n->orelse);
        r->scope = old;
    }
}

static tq_jflow exec_if(tq_jrun *r, const tq_jnode *n) {
    for (;;) {
        tq_jvalue v = tq_j_eval(r, n->a);
        if (r->failed) return TQ_J_NEXT;
        if (tq_j_true(v)) return tq_j_exec(r, n->body);
        if (!n->orelse || n->orelse->kind != TQ_N_IF || n->orelse->next) return tq_j_exec(r, n->orelse);
        n = n->orelse;
    }
}

static void define_macro(tq_jrun *r, const tq_jnode *n) {
    tq_jmacro *m = tq_j_alloc(r, sizeof *m);
    if (!m) return;
    *m = (tq_jmacro){.node = n, .scope = r->scope};
    tq_j_bind(r, n->name, (tq_jvalue){.kind = TQ_J_MACRO, .u.macro = m});
}

static tq_jflow exec_inner(tq_jrun *r, const tq_jnode *n) {
    tq_jscope *old = enter(r, r->scope), *inner = r->scope;
    for (const tq_jnode *m = n->args; m && !r->failed; m = m->next) {
        r->scope = old; /* values are those of outside */
        tq_jvalue v = tq_j_eval(r, m->b);
        r->scope = inner;
        assign(r, m->a, v);
    }
    tq_jflow flow = r->failed ? TQ_J_NEXT : tq_j_exec(r, n->body);
    r->scope = old;
    return flow;
}

static tq_jflow exec_one(tq_jrun *r, const tq_jnode *n) {
    tq_jvalue v;
    switch (n->kind) {
    case TQ_N_DATA:
        print(r, n->value);
        break;
    case TQ_N_PRINT:
        v = tq_j_eval(r, n->a);
        if (!r->failed) print(r, v);
        break;
    case TQ_N_FOR:
        exec_for(r, n);
        break;
    case TQ_N_IF:
        return exec_if(r, n);
    case TQ_N_SET:
        v = tq_j_eval(r, n->b);
        assign(r, n->a, v);
        break;
    case TQ_N_SETBLOCK:
        v = capture(r, n->body, r->scope);
        assign(r, n->a, filtered(r, n->b, v));
        break;
    case TQ_N_FILTERBLOCK:
        v = filtered(r, n->b, capture(r, n->body, r->scope));
        if (!r->failed) print(r, v);
        break;
    case TQ_N_MACRO:
        define_macro(r, n);
        break;
    case TQ_N_WITH:
    case TQ_N_SCOPE:
        return exec_inner(r, n);
    case TQ_N_BREAK:
        return TQ_J_BREAK;
    case TQ_N_CONTINUE:
        return TQ_J_CONTINUE;
    default:
        tq_j_fail(r, "not a statement");
    }
    return TQ_J_NEXT;
}

tq_jflow tq_j_exec(tq_jrun *r, const tq_jnode *n) {
    tq_jflow flow = TQ_J_NEXT;
    if (r->depth >= TQ_J_MAX_DEPTH) tq_j_fail(r, "nested deeper than %d", TQ_J_MAX_DEPTH);
    r->depth++;
    for (; n && flow == TQ_J_NEXT && tq_j_step(r, 1); n = n->next) {
        r->line = n->line;
        flow = exec_one(r, n);
    }
    r->depth--;
    return flow;
}

/* Binds one argument of a macro: given by position, by name, by its default, or undefined. */
static void bind_argument(tq_jrun *r, const tq_jnode *arg, size_t i, const tq_jargs *a, size_t *used) {
    tq_jvalue v = tq_j_undefined(arg->name);
    size_t k = 0;
    while (k < a->n_kw && strcmp(a->name[k], arg->name) != 0)
        k++;
    *used += k < a->n_kw;
    if (i < a->n)
        v = a->v[i];
    else if (k < a->n_kw)
        v = a->kw[k];
    else if (arg->a)
        v = tq_j_eval(r, arg->a);
    tq_j_bind(r, arg->name, v);
}

tq_jvalue tq_j_call_macro(tq_jrun *r, const tq_jmacro *m, const tq_jargs *a) {
    int line = r->line;
    size_t i = 0, used = 0;
    tq_jscope *old = enter(r, m->scope);
    for (const tq_jnode *arg = m->node->args; arg && !r->failed; arg = arg->next)
        bind_argument(r, arg, i++, a, &used);
    if (a->n > i || used < a->n_kw) tq_j_fail(r, "the macro %.60s: an argument that it does not have", m->node->name);
    tq_jvalue out = r->failed ? tq_j_none() : capture(r, m->node->body, r->scope);
    r->scope = old;
    r->line = line;
    return out;
}

static bool bind_variables(tq_jrun *r, const cJSON *vars) {
    for (const cJSON *m = vars->child; m && !r->failed; m = m->next)
        tq_j_bind(r, m->string, tq_j_of_json(r, m, strcmp(m->string, "messages") == 0));
    return !r->failed;
}

/* Out of the arena. */
static int take(tq_jrun *r, tq_rendering *out) {
    size_t n = r->out->n;
    out->text = malloc(n + 1);
    out->typed = malloc(n + 1);
    if (!out->text || !out->typed) return tq_fail(r->err, "%s: out of memory", r->t->name);
    if (n) memcpy(out->text, r->out->p, n);
    if (n) memcpy(out->typed, r->out->typed, n);
    out->text[n] = '\0';
    out->n = n;
    return TQ_OK;
}

int tq_jinja_render(const tq_jinja *t, const cJSON *vars, time_t now, tq_rendering *out, tq_err *err) {
    tq_jscope variables = {0}, top = {.parent = &variables};
    tq_jtext text = {0};
    tq_jrun r = {.t = t,
                 .arena = {.limit = TQ_J_MAX_MEMORY},
                 .err = err,
                 .line = 1,
                 .now = now,
                 .scope = &variables,
                 .out = &text};
    *out = (tq_rendering){0};
    if (bind_variables(&r, vars)) {
        r.scope = &top;
        tq_j_exec(&r, t->body);
    }
    out->raised = r.raised;
    int rc = r.failed ? TQ_FAIL : take(&r, out);
    tq_arena_free(&r.arena);
    return rc;
}

void tq_rendering_free(tq_rendering *r) {
    free(r->text);
    free(r->typed);
    *r = (tq_rendering){0};
}
