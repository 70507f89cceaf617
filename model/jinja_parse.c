/* jinja_parse.c - statements: from tokens to nodes. Each tag is a row of a table. */
#include <stdlib.h>
#include <string.h>

#include "model/jinja_internal.h"
#include "model/tokenizer_internal.h"

static tq_jnode *parse_body(tq_jparse *p);

static int line_of(const tq_jparse *p) {
    return tq_jparse_peek(p)->line;
}

/* Is the next tag {% NAME? */
static bool at_tag(const tq_jparse *p, const char *name) {
    const tq_jtoken *t = tq_jparse_peek(p);
    return !p->failed && t->kind == TQ_T_BLOCK && t[1].kind == TQ_T_NAME && strcmp(t[1].p, name) == 0;
}

static bool take_tag(tq_jparse *p, const char *name) {
    if (!at_tag(p, name)) return false;
    p->at += 2;
    return true;
}

static bool end_tag(tq_jparse *p) {
    return tq_jparse_expect(p, TQ_T_BLOCK_END, NULL);
}

/* {% NAME %}, which closes what began at line. */
static bool close_tag(tq_jparse *p, const char *name, int line) {
    if (take_tag(p, name)) return end_tag(p);
    return tq_jparse_fail(p, line, "%s is missing", name);
}

static bool parse_for(tq_jparse *p, tq_jnode *n) {
    n->a = tq_jparse_target(p, false);
    if (!n->a || !tq_jparse_expect(p, TQ_T_NAME, "in")) return false;
    n->b = tq_jparse_tuple(p, false);
    if (n->b && tq_jparse_take(p, TQ_T_NAME, "if")) n->c = tq_jparse_expression(p);
    if (tq_jparse_is(p, TQ_T_NAME, "recursive")) return tq_jparse_fail(p, n->line, "recursive loops are not supported");
    if (!end_tag(p)) return false;
    p->loops++;
    n->body = parse_body(p);
    p->loops--;
    if (take_tag(p, "else")) {
        if (!end_tag(p)) return false;
        n->orelse = parse_body(p);
    }
    return close_tag(p, "endfor", n->line);
}

static bool parse_if(tq_jparse *p, tq_jnode *n) {
    int line = n->line;
    for (;;) {
        n->a = tq_jparse_tuple(p, false);
        if (!n->a || !end_tag(p)) return false;
        n->body = parse_body(p);
        int next = line_of(p);
        if (!take_tag(p, "elif")) break;
        n->orelse = tq_jparse_node(p, TQ_N_IF, next);
        if (!n->orelse) return false;
        n = n->orelse;
    }
    if (take_tag(p, "else")) {
        if (!end_tag(p)) return false;
        n->orelse = parse_body(p);
    }
    return close_tag(p, "endif", line);
}

static bool parse_set(tq_jparse *p, tq_jnode *n) {
    n->a = tq_jparse_target(p, true);
    if (!n->a) return false;
    if (tq_jparse_take(p, TQ_T_OP, "=")) {
        n->b = tq_jparse_tuple(p, true);
        return n->b && end_tag(p);
    }
    n->kind = TQ_N_SETBLOCK;
    if (tq_jparse_is(p, TQ_T_OP, "|")) n->b = tq_jparse_filters(p, NULL, false);
    if (!end_tag(p)) return false;
    n->body = parse_body(p);
    return close_tag(p, "endset", n->line);
}

static bool parse_macro(tq_jparse *p, tq_jnode *n) {
    tq_jnode **next = &n->args;
    n->name = tq_jparse_name(p);
    if (!n->name || !tq_jparse_expect(p, TQ_T_OP, "(")) return false;
    for (size_t i = 0; !p->failed && !tq_jparse_take(p, TQ_T_OP, ")"); i++) {
        if (i == TQ_J_MAX_ARGS) return tq_jparse_fail(p, n->line, "more than %d arguments", TQ_J_MAX_ARGS);
        *next = tq_jparse_node(p, TQ_N_NAME, line_of(p));
        if (!*next || !((*next)->name = tq_jparse_name(p))) return false;
        if (tq_jparse_take(p, TQ_T_OP, "=")) {
            (*next)->kind = TQ_N_KEYWORD;
            (*next)->a = tq_jparse_expression(p);
        }
        next = &(*next)->next;
        if (!tq_jparse_take(p, TQ_T_OP, ",") && !tq_jparse_is(p, TQ_T_OP, ")")) tq_jparse_expect(p, TQ_T_OP, ")");
    }
    if (!end_tag(p)) return false;
    int loops = p->loops;
    p->loops = 0;
    n->body = parse_body(p);
    p->loops = loops;
    return close_tag(p, "endmacro", n->line);
}

static bool parse_filter_block(tq_jparse *p, tq_jnode *n) {
    n->b = tq_jparse_filters(p, NULL, true);
    if (!n->b || !end_tag(p)) return false;
    n->body = parse_body(p);
    return close_tag(p, "endfilter", n->line);
}

static bool parse_with(tq_jparse *p, tq_jnode *n) {
    tq_jnode **next = &n->args;
    while (!p->failed && !tq_jparse_is(p, TQ_T_BLOCK_END, NULL)) {
        *next = tq_jparse_node(p, TQ_N_SET, line_of(p));
        if (!*next) return false;
        (*next)->a = tq_jparse_target(p, false);
        if (!tq_jparse_expect(p, TQ_T_OP, "=")) return false;
        (*next)->b = tq_jparse_expression(p);
        next = &(*next)->next;
        if (!tq_jparse_take(p, TQ_T_OP, ",")) break;
    }
    if (!end_tag(p)) return false;
    n->body = parse_body(p);
    return close_tag(p, "endwith", n->line);
}

/* Marks what the assistant said, for training: what is within it is said as it stands. */
static bool parse_generation(tq_jparse *p, tq_jnode *n) {
    if (!end_tag(p)) return false;
    int loops = p->loops;
    p->loops = 0;
    n->body = parse_body(p);
    p->loops = loops;
    return close_tag(p, "endgeneration", n->line);
}

static bool parse_leave(tq_jparse *p, tq_jnode *n) {
    if (!p->loops)
        return tq_jparse_fail(p, n->line, "%s outside of a loop", n->kind == TQ_N_BREAK ? "break" : "continue");
    return end_tag(p);
}

static const struct {
    const char *name;
    tq_jnode_kind kind;
    bool (*parse)(tq_jparse *p, tq_jnode *n);
} tags[] = {
    {"for", TQ_N_FOR, parse_for},
    {"if", TQ_N_IF, parse_if},
    {"set", TQ_N_SET, parse_set},
    {"macro", TQ_N_MACRO, parse_macro},
    {"filter", TQ_N_FILTERBLOCK, parse_filter_block},
    {"with", TQ_N_WITH, parse_with},
    {"generation", TQ_N_SCOPE, parse_generation},
    {"break", TQ_N_BREAK, parse_leave},
    {"continue", TQ_N_CONTINUE, parse_leave},
};

/* After {%. */
static tq_jnode *parse_tag(tq_jparse *p) {
    int line = line_of(p);
    const char *name = tq_jparse_name(p);
    for (size_t i = 0; name && i < sizeof tags / sizeof *tags; i++)
        if (strcmp(name, tags[i].name) == 0) {
            tq_jnode *n = tq_jparse_node(p, tags[i].kind, line);
            return n && tags[i].parse(p, n) && !p->failed ? n : NULL;
        }
    if (name) tq_jparse_fail(p, line, "the tag %.60s is not supported here", name);
    return NULL;
}

static tq_jnode *parse_print(tq_jparse *p) {
    tq_jnode *n = tq_jparse_node(p, TQ_N_PRINT, line_of(p));
    if (!n) return NULL;
    n->a = tq_jparse_tuple(p, true);
    return n->a && tq_jparse_expect(p, TQ_T_PRINT_END, NULL) ? n : NULL;
}

static tq_jnode *parse_data(tq_jparse *p) {
    const tq_jtoken *t = &p->tokens[p->at++];
    tq_jnode *n = tq_jparse_node(p, TQ_N_DATA, t->line);
    tq_jstring *s = n ? tq_jparse_alloc(p, sizeof *s) : NULL;
    if (!s) return NULL;
    *s = (tq_jstring){.p = t->p, .n = t->n};
    n->value = (tq_jvalue){.kind = TQ_J_STRING, .u.s = s};
    return n;
}

/* Does the tag here end what is being parsed? Who began it says whether it is the right one. */
static bool at_end(const tq_jparse *p) {
    const tq_jtoken *t = tq_jparse_peek(p);
    if (p->failed || t->kind == TQ_T_END) return true;
    return t->kind == TQ_T_BLOCK && t[1].kind == TQ_T_NAME &&
           (strncmp(t[1].p, "end", 3) == 0 || at_tag(p, "else") || at_tag(p, "elif"));
}

static tq_jnode *parse_body(tq_jparse *p) {
    tq_jnode *first = NULL, **next = &first;
    if (p->failed || !tq_jparse_enter(p, line_of(p))) return NULL;
    while (!at_end(p)) {
        if (tq_jparse_is(p, TQ_T_DATA, NULL))
            *next = parse_data(p);
        else if (tq_jparse_take(p, TQ_T_PRINT, NULL))
            *next = parse_print(p);
        else if (tq_jparse_take(p, TQ_T_BLOCK, NULL))
            *next = parse_tag(p);
        else
            tq_jparse_expect(p, TQ_T_BLOCK, NULL);
        if (!*next) break;
        next = &(*next)->next;
    }
    p->nest--;
    return p->failed ? NULL : first;
}

const tq_jnode *tq_jparse_template(tq_jparse *p) {
    const tq_jnode *first = parse_body(p);
    const tq_jtoken *t = tq_jparse_peek(p);
    if (!p->failed && t->kind != TQ_T_END)
        tq_jparse_fail(p, t->line, "%.60s without what it would end", t->kind == TQ_T_BLOCK ? t[1].p : "a tag");
    return p->failed ? NULL : first;
}

/* Every name that is followed by something else than "=": names of arguments and attributes among them, which does no
 * harm to what this is asked for. */
static bool find_reads(tq_jparse *p, tq_jinja *t) {
    const char **names = tq_jparse_alloc(p, (p->n_tokens + 1) * sizeof *names);
    if (!names) return false;
    for (size_t i = 0; i + 1 < p->n_tokens; i++) {
        const tq_jtoken *next = &p->tokens[i + 1];
        bool set = next->kind == TQ_T_OP && strcmp(next->p, "=") == 0;
        bool attribute = i > 0 && p->tokens[i - 1].kind == TQ_T_OP && strcmp(p->tokens[i - 1].p, ".") == 0;
        if (p->tokens[i].kind == TQ_T_NAME && !set && !attribute) names[t->n_reads++] = p->tokens[i].p;
    }
    t->reads = names;
    return true;
}

bool tq_jinja_reads(const tq_jinja *t, const char *name) {
    for (size_t i = 0; i < t->n_reads; i++)
        if (strcmp(t->reads[i], name) == 0) return true;
    return false;
}

int tq_jinja_parse(const char *name, const char *text, size_t n, tq_jinja **out, tq_err *err) {
    *out = NULL;
    tq_jinja *t = calloc(1, sizeof *t);
    if (!t || !(t->name = strdup(name))) {
        free(t);
        return tq_fail(err, "%s: out of memory", name);
    }
    t->arena.limit = TQ_J_MAX_MEMORY;
    tq_jparse p = {.name = t->name, .arena = &t->arena, .err = err};
    bool ok = tq_jinja_lex(&p, text, n) && find_reads(&p, t);
    if (ok) {
        t->body = tq_jparse_template(&p);
        ok = !p.failed;
    }
    free(p.tokens);
    if (!ok) {
        tq_jinja_free(t);
        return TQ_FAIL;
    }
    *out = t;
    return TQ_OK;
}

void tq_jinja_free(tq_jinja *t) {
    if (!t) return;
    tq_arena_free(&t->arena);
    free(t->name);
    free(t);
}
