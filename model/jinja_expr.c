/* jinja_expr.c - expressions: from tokens to nodes, by recursive descent in Jinja's order of precedence. */
#include <string.h>

#include "model/jinja_internal.h"

tq_jnode *tq_jparse_node(tq_jparse *p, tq_jnode_kind kind, int line) {
    tq_jnode *n = tq_jparse_alloc(p, sizeof *n);
    if (!n) return NULL;
    n->kind = kind;
    n->line = line;
    return n;
}

const tq_jtoken *tq_jparse_peek(const tq_jparse *p) {
    return &p->tokens[p->at];
}

bool tq_jparse_is(const tq_jparse *p, tq_jtoken_kind kind, const char *text) {
    const tq_jtoken *t = tq_jparse_peek(p);
    return !p->failed && t->kind == kind && (!text || strcmp(t->p, text) == 0);
}

bool tq_jparse_take(tq_jparse *p, tq_jtoken_kind kind, const char *text) {
    if (!tq_jparse_is(p, kind, text)) return false;
    p->at += p->tokens[p->at].kind != TQ_T_END;
    return true;
}

static const char *shown(const tq_jtoken *t) {
    static const char *const names[] = {
        [TQ_T_DATA] = "text",    [TQ_T_PRINT] = "{{",       [TQ_T_PRINT_END] = "}}",
        [TQ_T_BLOCK] = "{%",     [TQ_T_BLOCK_END] = "%}",   [TQ_T_STRING] = "a string",
        [TQ_T_INT] = "a number", [TQ_T_FLOAT] = "a number", [TQ_T_END] = "the end",
    };
    return t->kind == TQ_T_NAME || t->kind == TQ_T_OP ? t->p : names[t->kind];
}

bool tq_jparse_expect(tq_jparse *p, tq_jtoken_kind kind, const char *text) {
    if (tq_jparse_take(p, kind, text)) return true;
    const tq_jtoken *t = tq_jparse_peek(p), wanted = {.kind = kind, .p = text ? text : "a name"};
    return tq_jparse_fail(p, t->line, "expected %s before %.40s", shown(&wanted), shown(t));
}

const char *tq_jparse_name(tq_jparse *p) {
    const tq_jtoken *t = tq_jparse_peek(p);
    return tq_jparse_expect(p, TQ_T_NAME, NULL) ? t->p : NULL;
}

bool tq_jparse_enter(tq_jparse *p, int line) {
    if (++p->nest <= TQ_J_MAX_NEST) return true;
    return tq_jparse_fail(p, line, "more than %d blocks or brackets within each other", TQ_J_MAX_NEST);
}

static int line_of(const tq_jparse *p) {
    return tq_jparse_peek(p)->line;
}

static bool is_op(const tq_jparse *p, const char *op) {
    return tq_jparse_is(p, TQ_T_OP, op);
}

static bool is_word(const tq_jparse *p, const char *word) {
    return tq_jparse_is(p, TQ_T_NAME, word);
}

static bool take_op(tq_jparse *p, const char *op) {
    return tq_jparse_take(p, TQ_T_OP, op);
}

static bool take_word(tq_jparse *p, const char *word) {
    return tq_jparse_take(p, TQ_T_NAME, word);
}

/* A node around a, which may be NULL after a failure. */
static tq_jnode *around(tq_jparse *p, tq_jnode_kind kind, tq_jnode *a) {
    tq_jnode *n = a ? tq_jparse_node(p, kind, a->line) : NULL;
    if (n) n->a = a;
    return n;
}

static tq_jnode *constant(tq_jparse *p, int line, tq_jvalue v) {
    tq_jnode *n = tq_jparse_node(p, TQ_N_CONST, line);
    if (n) n->value = v;
    return n;
}

static tq_jnode *text_constant(tq_jparse *p, int line, const char *text, size_t n) {
    tq_jstring *s = tq_jparse_alloc(p, sizeof *s);
    if (!s) return NULL;
    *s = (tq_jstring){.p = text, .n = n};
    return constant(p, line, (tq_jvalue){.kind = TQ_J_STRING, .u.s = s});
}

/* Strings beside each other are one. */
static tq_jnode *parse_strings(tq_jparse *p) {
    int line = line_of(p);
    size_t n = 0, first = p->at;
    while (tq_jparse_is(p, TQ_T_STRING, NULL))
        n += p->tokens[p->at++].n;
    if (p->at == first + 1) return text_constant(p, line, p->tokens[first].p, n);
    char *all = tq_jparse_alloc(p, n + 1);
    size_t k = 0;
    for (size_t i = first; all && i < p->at; i++) {
        memcpy(all + k, p->tokens[i].p, p->tokens[i].n);
        k += p->tokens[i].n;
    }
    return all ? text_constant(p, line, all, n) : NULL;
}

static tq_jnode *parse_name(tq_jparse *p) {
    static const struct {
        const char *name;
        tq_jvalue v;
    } words[] = {
        {"true", {.kind = TQ_J_BOOL, .u.b = true}},
        {"True", {.kind = TQ_J_BOOL, .u.b = true}},
        {"false", {.kind = TQ_J_BOOL, .u.b = false}},
        {"False", {.kind = TQ_J_BOOL, .u.b = false}},
        {"none", {.kind = TQ_J_NONE}},
        {"None", {.kind = TQ_J_NONE}},
    };
    int line = line_of(p);
    const char *name = tq_jparse_name(p);
    for (size_t i = 0; name && i < sizeof words / sizeof *words; i++)
        if (strcmp(name, words[i].name) == 0) return constant(p, line, words[i].v);
    tq_jnode *n = name ? tq_jparse_node(p, TQ_N_NAME, line) : NULL;
    if (n) n->name = name;
    return n;
}

/* Expressions with commas up to `end`, which is taken; pairs: KEY: VALUE. */
static tq_jnode *parse_items(tq_jparse *p, tq_jnode_kind kind, const char *end, bool pairs) {
    tq_jnode *n = tq_jparse_node(p, kind, line_of(p));
    tq_jnode **next = n ? &n->args : NULL;
    while (n && !p->failed && !take_op(p, end)) {
        for (int part = 0; part < 1 + pairs; part++) {
            if (part && !tq_jparse_expect(p, TQ_T_OP, ":")) return NULL;
            *next = tq_jparse_expression(p);
            if (!*next) return NULL;
            next = &(*next)->next;
        }
        if (!take_op(p, ",") && !is_op(p, end)) tq_jparse_expect(p, TQ_T_OP, end);
    }
    return p->failed ? NULL : n;
}

/* After "(": an expression, or a tuple. */
static tq_jnode *parse_parentheses(tq_jparse *p) {
    int line = line_of(p);
    if (take_op(p, ")")) return tq_jparse_node(p, TQ_N_TUPLE, line);
    tq_jnode *first = tq_jparse_expression(p);
    if (!first || take_op(p, ")")) return first;
    if (!tq_jparse_expect(p, TQ_T_OP, ",")) return NULL;
    tq_jnode *n = parse_items(p, TQ_N_TUPLE, ")", false);
    if (!n) return NULL;
    first->next = n->args;
    n->args = first;
    return n;
}

static tq_jnode *parse_primary(tq_jparse *p) {
    const tq_jtoken *t = tq_jparse_peek(p);
    if (p->failed || !tq_jparse_enter(p, t->line)) return NULL;
    tq_jnode *n = NULL;
    if (t->kind == TQ_T_NAME)
        n = parse_name(p);
    else if (t->kind == TQ_T_STRING)
        n = parse_strings(p);
    else if (tq_jparse_take(p, TQ_T_INT, NULL))
        n = constant(p, t->line, tq_j_int(t->i));
    else if (tq_jparse_take(p, TQ_T_FLOAT, NULL))
        n = constant(p, t->line, tq_j_float(t->f));
    else if (take_op(p, "("))
        n = parse_parentheses(p);
    else if (take_op(p, "["))
        n = parse_items(p, TQ_N_LIST, "]", false);
    else if (take_op(p, "{"))
        n = parse_items(p, TQ_N_DICT, "}", true);
    else
        tq_jparse_fail(p, t->line, "expected an expression before %.40s", shown(t));
    p->nest--;
    return n;
}

/* After "[": an index, or the parts of a slice. */
static tq_jnode *parse_subscript(tq_jparse *p, tq_jnode *a) {
    tq_jnode *parts[3] = {0}, *n;
    size_t colons = 0;
    int line = line_of(p);
    while (!p->failed && !is_op(p, "]")) {
        if (take_op(p, ":")) {
            if (++colons == 3) tq_jparse_expect(p, TQ_T_OP, "]");
        } else if (parts[colons]) {
            tq_jparse_expect(p, TQ_T_OP, "]");
        } else {
            parts[colons] = tq_jparse_expression(p);
        }
    }
    if (!tq_jparse_expect(p, TQ_T_OP, "]")) return NULL;
    n = around(p, colons ? TQ_N_SLICE : TQ_N_ITEM, a);
    if (!n) return NULL;
    n->line = line;
    if (!colons) {
        n->b = parts[0];
        if (!n->b) tq_jparse_fail(p, line, "an index is missing");
        return p->failed ? NULL : n;
    }
    for (size_t i = 3; i-- > 0;) {
        tq_jnode *part = parts[i] ? parts[i] : constant(p, line, tq_j_none());
        if (!part) return NULL;
        part->next = n->args;
        n->args = part;
    }
    return n;
}

static tq_jnode *parse_argument(tq_jparse *p) {
    const tq_jtoken *t = tq_jparse_peek(p);
    if (is_op(p, "*") || is_op(p, "**")) {
        tq_jparse_fail(p, t->line, "%s in a call is not supported", t->p);
        return NULL;
    }
    const tq_jtoken *after = t->kind == TQ_T_NAME ? t + 1 : t;
    if (after == t || after->kind != TQ_T_OP || strcmp(after->p, "=") != 0) return tq_jparse_expression(p);
    p->at += 2;
    tq_jnode *n = around(p, TQ_N_KEYWORD, tq_jparse_expression(p));
    if (n) n->name = t->p;
    return n;
}

/* After "(": arguments up to ")". */
static bool parse_arguments(tq_jparse *p, tq_jnode *n) {
    tq_jnode **next = &n->args;
    bool keywords = false;
    for (size_t i = 0; !p->failed && !take_op(p, ")"); i++) {
        if (i == TQ_J_MAX_ARGS) return tq_jparse_fail(p, n->line, "more than %d arguments", TQ_J_MAX_ARGS);
        *next = parse_argument(p);
        if (!*next) return false;
        if (keywords && (*next)->kind != TQ_N_KEYWORD)
            return tq_jparse_fail(p, n->line, "an argument without a name after one with a name");
        keywords = (*next)->kind == TQ_N_KEYWORD;
        next = &(*next)->next;
        if (!take_op(p, ",") && !is_op(p, ")")) tq_jparse_expect(p, TQ_T_OP, ")");
    }
    return !p->failed;
}

static tq_jnode *parse_call(tq_jparse *p, tq_jnode *a) {
    tq_jnode *n = around(p, TQ_N_CALL, a);
    if (!n) return NULL;
    n->line = line_of(p);
    return parse_arguments(p, n) ? n : NULL;
}

static tq_jnode *parse_dot(tq_jparse *p, tq_jnode *a) {
    const tq_jtoken *t = tq_jparse_peek(p);
    tq_jnode *n = around(p, t->kind == TQ_T_INT ? TQ_N_ITEM : TQ_N_ATTR, a);
    if (!n) return NULL;
    n->line = t->line;
    if (tq_jparse_take(p, TQ_T_INT, NULL))
        n->b = constant(p, t->line, tq_j_int(t->i));
    else
        n->name = tq_jparse_name(p);
    return p->failed ? NULL : n;
}

/* How long one chain a.b[c](d)|e may be: it is as deep as it is long when it is evaluated. */
static bool count_link(tq_jparse *p, const tq_jnode *a, int *links) {
    return a && (++*links <= TQ_J_MAX_NEST || tq_jparse_fail(p, a->line, "an expression of too many parts"));
}

static tq_jnode *parse_postfix(tq_jparse *p, tq_jnode *a) {
    int links = 0;
    while (count_link(p, a, &links)) {
        if (take_op(p, "."))
            a = parse_dot(p, a);
        else if (take_op(p, "["))
            a = parse_subscript(p, a);
        else if (take_op(p, "("))
            a = parse_call(p, a);
        else
            return a;
    }
    return NULL;
}

static tq_jnode *parse_filter(tq_jparse *p, tq_jnode *a) {
    tq_jnode *n = tq_jparse_node(p, TQ_N_FILTER, line_of(p));
    if (!n) return NULL;
    n->a = a;
    n->name = tq_jparse_name(p);
    if (!n->name) return NULL;
    n->row = tq_j_find(tq_j_filters, n->name); /* NULL is an error where it is met: it may never be */
    if (take_op(p, "(")) parse_arguments(p, n);
    return p->failed ? NULL : n;
}

tq_jnode *tq_jparse_filters(tq_jparse *p, tq_jnode *a, bool bare) {
    int links = 0;
    while (bare || take_op(p, "|")) {
        bare = false;
        a = parse_filter(p, a);
        if (!count_link(p, a, &links)) return NULL;
    }
    return a;
}

/* After `is`. */
static tq_jnode *parse_test(tq_jparse *p, tq_jnode *a) {
    static const tq_jtoken_kind values[] = {TQ_T_NAME, TQ_T_STRING, TQ_T_INT, TQ_T_FLOAT};
    int line = line_of(p);
    bool negated = take_word(p, "not");
    tq_jnode *n = around(p, TQ_N_TEST, a);
    if (!n) return NULL;
    n->line = line;
    n->name = tq_jparse_name(p);
    if (!n->name) return NULL;
    n->row = tq_j_find(tq_j_tests, n->name);
    bool argument = is_op(p, "[") || is_op(p, "{");
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        argument = argument || tq_jparse_is(p, values[i], NULL);
    argument = argument && !is_word(p, "else") && !is_word(p, "or") && !is_word(p, "and");
    if (take_op(p, "(")) {
        parse_arguments(p, n);
    } else if (argument) {
        if (is_word(p, "is")) tq_jparse_fail(p, line, "a test of a test is not supported: use parentheses");
        n->args = parse_postfix(p, parse_primary(p));
    }
    if (p->failed) return NULL;
    return negated ? around(p, TQ_N_NOT, n) : n;
}

static tq_jnode *parse_unary(tq_jparse *p, bool filters) {
    int line = line_of(p), links = 0;
    tq_jnode *a;
    if (!tq_jparse_enter(p, line)) return NULL;
    if (take_op(p, "-"))
        a = around(p, TQ_N_NEG, parse_unary(p, false));
    else if (take_op(p, "+"))
        a = around(p, TQ_N_POS, parse_unary(p, false));
    else
        a = parse_primary(p);
    p->nest--;
    a = parse_postfix(p, a);
    while (filters && count_link(p, a, &links)) {
        if (take_op(p, "|"))
            a = parse_filter(p, a);
        else if (take_word(p, "is"))
            a = parse_test(p, a);
        else if (take_op(p, "("))
            a = parse_call(p, a);
        else
            break;
    }
    return p->failed ? NULL : a;
}

static tq_jnode *parse_operand(tq_jparse *p) {
    return parse_unary(p, true);
}

/* Binary operators, the ones that bind closest first; all go from left to right. */
static const struct level {
    const struct {
        const char *text;
        tq_jop op;
    } ops[4];
} levels[] = {
    {{{"**", TQ_O_POW}}},
    {{{"*", TQ_O_MUL}, {"/", TQ_O_DIV}, {"//", TQ_O_FLOORDIV}, {"%", TQ_O_MOD}}},
    {{{"~", TQ_O_CONCAT}}},
    {{{"+", TQ_O_ADD}, {"-", TQ_O_SUB}}},
};
enum { LEVELS = sizeof levels / sizeof *levels };

static tq_jnode *parse_level(tq_jparse *p, size_t level) {
    int links = 0;
    tq_jnode *a = level == 0 ? parse_operand(p) : parse_level(p, level - 1);
    while (count_link(p, a, &links)) {
        size_t i = 0;
        while (i < 4 && !(levels[level].ops[i].text && is_op(p, levels[level].ops[i].text)))
            i++;
        if (i == 4) return a;
        p->at++;
        a = around(p, TQ_N_BINARY, a);
        if (!a) return NULL;
        a->op = levels[level].ops[i].op;
        a->b = level == 0 ? parse_operand(p) : parse_level(p, level - 1);
        if (!a->b) return NULL;
    }
    return NULL;
}

static bool take_comparison(tq_jparse *p, tq_jop *op) {
    static const struct {
        const char *text;
        tq_jop op;
    } ops[] = {{"==", TQ_O_EQ}, {"!=", TQ_O_NE}, {"<", TQ_O_LT}, {"<=", TQ_O_LE}, {">", TQ_O_GT}, {">=", TQ_O_GE}};
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++)
        if (take_op(p, ops[i].text)) {
            *op = ops[i].op;
            return true;
        }
    const tq_jtoken *t = tq_jparse_peek(p);
    bool negated = is_word(p, "not") && t[1].kind == TQ_T_NAME && strcmp(t[1].p, "in") == 0;
    if (!negated && !is_word(p, "in")) return false;
    p->at += 1 + (size_t)negated;
    *op = negated ? TQ_O_NOT_IN : TQ_O_IN;
    return true;
}

static tq_jnode *parse_comparison(tq_jparse *p) {
    tq_jnode *a = parse_level(p, LEVELS - 1), *n = NULL, **next = NULL;
    tq_jop op;
    while (a && take_comparison(p, &op)) {
        if (!n) {
            n = around(p, TQ_N_COMPARE, a);
            next = n ? &n->args : NULL;
        }
        tq_jnode *operand = n ? around(p, TQ_N_OPERAND, parse_level(p, LEVELS - 1)) : NULL;
        if (!operand) return NULL;
        operand->op = op;
        *next = operand;
        next = &operand->next;
    }
    return n ? n : a;
}

static tq_jnode *parse_not(tq_jparse *p) {
    if (!take_word(p, "not")) return parse_comparison(p);
    if (!tq_jparse_enter(p, line_of(p))) return NULL;
    tq_jnode *n = around(p, TQ_N_NOT, parse_not(p));
    p->nest--;
    return n;
}

static tq_jnode *parse_logic(tq_jparse *p, bool or_level) {
    int links = 0;
    tq_jnode *a = or_level ? parse_logic(p, false) : parse_not(p);
    while (count_link(p, a, &links) && take_word(p, or_level ? "or" : "and")) {
        a = around(p, or_level ? TQ_N_OR : TQ_N_AND, a);
        if (!a) return NULL;
        a->b = or_level ? parse_logic(p, false) : parse_not(p);
        if (!a->b) return NULL;
    }
    return p->failed ? NULL : a;
}

tq_jnode *tq_jparse_expression(tq_jparse *p) {
    int links = 0;
    if (!tq_jparse_enter(p, line_of(p))) return NULL;
    tq_jnode *a = parse_logic(p, true);
    while (count_link(p, a, &links) && take_word(p, "if")) {
        tq_jnode *n = tq_jparse_node(p, TQ_N_COND, a->line);
        if (!n) return NULL;
        n->b = a;
        n->a = parse_logic(p, true);
        if (n->a && take_word(p, "else")) n->c = tq_jparse_expression(p);
        a = p->failed ? NULL : n;
    }
    p->nest--;
    return p->failed ? NULL : a;
}

tq_jnode *tq_jparse_tuple(tq_jparse *p, bool cond) {
    tq_jnode *first = cond ? tq_jparse_expression(p) : parse_logic(p, true);
    if (!first || !is_op(p, ",")) return first;
    tq_jnode *n = tq_jparse_node(p, TQ_N_TUPLE, first->line), **next = &first->next;
    if (!n) return NULL;
    n->args = first;
    while (take_op(p, ",") && !tq_jparse_is(p, TQ_T_BLOCK_END, NULL) && !tq_jparse_is(p, TQ_T_PRINT_END, NULL)) {
        *next = cond ? tq_jparse_expression(p) : parse_logic(p, true);
        if (!*next) return NULL;
        next = &(*next)->next;
    }
    return p->failed ? NULL : n;
}

/* A name that something is bound to. */
static tq_jnode *parse_target_name(tq_jparse *p) {
    int line = line_of(p);
    tq_jnode *n = tq_jparse_is(p, TQ_T_NAME, NULL) ? parse_name(p) : NULL;
    if (n && n->kind == TQ_N_NAME && strcmp(n->name, "loop") != 0) return n;
    tq_jparse_fail(p, line, "expected a name to assign to before %.40s", shown(tq_jparse_peek(p)));
    return NULL;
}

tq_jnode *tq_jparse_target(tq_jparse *p, bool attribute) {
    bool parentheses = take_op(p, "(");
    tq_jnode *first = parse_target_name(p);
    if (!first) return NULL;
    if (attribute && !parentheses && take_op(p, ".")) return parse_dot(p, first);
    if (!is_op(p, ",")) return parentheses && !tq_jparse_expect(p, TQ_T_OP, ")") ? NULL : first;
    tq_jnode *n = tq_jparse_node(p, TQ_N_TUPLE, first->line), **next = &first->next;
    if (!n) return NULL;
    n->args = first;
    while (take_op(p, ",") && tq_jparse_is(p, TQ_T_NAME, NULL) && !is_word(p, "in")) {
        *next = parse_target_name(p);
        if (!*next) return NULL;
        next = &(*next)->next;
    }
    return parentheses && !tq_jparse_expect(p, TQ_T_OP, ")") ? NULL : n;
}
