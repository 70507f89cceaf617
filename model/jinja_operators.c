/* jinja_operators.c - arithmetic and comparisons, as Python has them. */
#include <math.h>
#include <string.h>

#include "model/jinja_internal.h"

static const char *const signs[] = {
    [TQ_O_ADD] = "+",       [TQ_O_SUB] = "-", [TQ_O_MUL] = "*",  [TQ_O_DIV] = "/",
    [TQ_O_FLOORDIV] = "//", [TQ_O_MOD] = "%", [TQ_O_POW] = "**", [TQ_O_CONCAT] = "~",
    [TQ_O_EQ] = "==",       [TQ_O_NE] = "!=", [TQ_O_LT] = "<",   [TQ_O_LE] = "<=",
    [TQ_O_GT] = ">",        [TQ_O_GE] = ">=", [TQ_O_IN] = "in",  [TQ_O_NOT_IN] = "not in",
};

static tq_jvalue concat(tq_jrun *r, tq_jvalue a, tq_jvalue b) {
    tq_jtext t = {0};
    tq_j_add_str(r, &t, a);
    tq_j_add_str(r, &t, b);
    return tq_j_taken(r, &t);
}

static tq_jvalue join_lists(tq_jrun *r, const tq_jlist *a, const tq_jlist *b) {
    if (!tq_j_step(r, (a->n + b->n) / 16)) return tq_j_none();
    tq_jvalue out = tq_j_list(r, a->n + b->n, a->tuple);
    if (r->failed) return out;
    memcpy(out.u.list->v, a->v, a->n * sizeof *a->v);
    memcpy(out.u.list->v + a->n, b->v, b->n * sizeof *b->v);
    return out;
}

static tq_jvalue repeat(tq_jrun *r, tq_jvalue a, int64_t times) {
    tq_jtext t = {0};
    if (a.kind == TQ_J_STRING) {
        for (int64_t i = 0; i < times && tq_j_step(r, 1) && a.u.s->n; i++)
            tq_j_add_string(r, &t, a.u.s);
        return tq_j_taken(r, &t);
    }
    size_t n = a.u.list->n, all = 0;
    if (times < 0) times = 0;
    if (!tq_mul_size(&all, n, (size_t)times) || !tq_j_step(r, all))
        return tq_j_fail(r, "a list that is repeated too often");
    tq_jvalue out = tq_j_list(r, all, a.u.list->tuple);
    for (size_t i = 0; i < all && !r->failed; i++)
        out.u.list->v[i] = a.u.list->v[i % n];
    return out;
}

static tq_jvalue int_power(tq_jrun *r, int64_t a, int64_t b) {
    int64_t out = 1;
    if (b < 0) return tq_j_float(pow((double)a, (double)b));
    for (int64_t i = 0; i < b && a != 1 && out != 0; i++)
        if (!tq_j_step(r, 1) || __builtin_mul_overflow(out, a, &out)) return tq_j_fail(r, "a number that is too big");
    return tq_j_int(out);
}

static tq_jvalue int_arithmetic(tq_jrun *r, tq_jop op, int64_t a, int64_t b) {
    int64_t out = 0;
    bool over = false;
    switch (op) {
    case TQ_O_ADD:
        over = __builtin_add_overflow(a, b, &out);
        break;
    case TQ_O_SUB:
        over = __builtin_sub_overflow(a, b, &out);
        break;
    case TQ_O_MUL:
        over = __builtin_mul_overflow(a, b, &out);
        break;
    case TQ_O_POW:
        return int_power(r, a, b);
    default:
        if (b == 0) return tq_j_fail(r, "a division by zero");
        if (op == TQ_O_DIV) return tq_j_float((double)a / (double)b);
        if (b == -1) { /* INT64_MIN / -1 */
            over = op == TQ_O_FLOORDIV && __builtin_sub_overflow(0, a, &out);
            break;
        }
        out = op == TQ_O_MOD ? a % b : a / b;
        if (a % b != 0 && (a < 0) != (b < 0)) out += op == TQ_O_MOD ? b : -1; /* towards minus infinity */
    }
    return over ? tq_j_fail(r, "a number that is too big") : tq_j_int(out);
}

static tq_jvalue float_arithmetic(tq_jrun *r, tq_jop op, double a, double b) {
    double rest;
    switch (op) {
    case TQ_O_ADD:
        return tq_j_float(a + b);
    case TQ_O_SUB:
        return tq_j_float(a - b);
    case TQ_O_MUL:
        return tq_j_float(a * b);
    case TQ_O_POW:
        return tq_j_float(pow(a, b));
    default:
        if (b == 0) return tq_j_fail(r, "a division by zero");
        if (op == TQ_O_DIV) return tq_j_float(a / b);
        rest = fmod(a, b);
        if (rest != 0 && (rest < 0) != (b < 0)) rest += b;
        return tq_j_float(op == TQ_O_MOD ? rest : floor((a - rest) / b + 0.5));
    }
}

tq_jvalue tq_j_binary(tq_jrun *r, tq_jop op, tq_jvalue a, tq_jvalue b) {
    int64_t i, j;
    if (r->failed) return a;
    if (op == TQ_O_CONCAT) return concat(r, a, b);
    for (int side = 0; side < 2; side++) {
        tq_jvalue v = side ? b : a;
        if (v.kind == TQ_J_UNDEFINED)
            return tq_j_fail(r, "%.60s is undefined: no %s with it", v.u.missing ? v.u.missing : "a value", signs[op]);
    }
    if (tq_j_as_int(a, &i) && tq_j_as_int(b, &j)) return int_arithmetic(r, op, i, j);
    if (tq_j_is_number(a) && tq_j_is_number(b)) return float_arithmetic(r, op, tq_j_as_float(a), tq_j_as_float(b));
    if (op == TQ_O_ADD && a.kind == TQ_J_STRING && b.kind == TQ_J_STRING) return concat(r, a, b);
    if (op == TQ_O_ADD && a.kind == TQ_J_LIST && b.kind == TQ_J_LIST && a.u.list->tuple == b.u.list->tuple)
        return join_lists(r, a.u.list, b.u.list);
    if (op == TQ_O_MUL && (a.kind == TQ_J_STRING || a.kind == TQ_J_LIST) && tq_j_as_int(b, &j)) return repeat(r, a, j);
    if (op == TQ_O_MUL && (b.kind == TQ_J_STRING || b.kind == TQ_J_LIST) && tq_j_as_int(a, &i)) return repeat(r, b, i);
    if (op == TQ_O_MOD && a.kind == TQ_J_STRING) return tq_j_fail(r, "%% after a string is not supported");
    return tq_j_fail(r, "%s between %s and %s", signs[op], tq_j_kind_name(a), tq_j_kind_name(b));
}

tq_jvalue tq_j_compare(tq_jrun *r, tq_jop op, tq_jvalue a, tq_jvalue b) {
    tq_jvalue in;
    if (r->failed) return a;
    switch (op) {
    case TQ_O_EQ:
        return tq_j_bool(tq_j_equal(r, a, b));
    case TQ_O_NE:
        return tq_j_bool(!tq_j_equal(r, a, b));
    case TQ_O_IN:
        return tq_j_contains(r, a, b);
    case TQ_O_NOT_IN:
        in = tq_j_contains(r, a, b);
        return tq_j_bool(!tq_j_true(in));
    default:
        break;
    }
    int order = tq_j_order(r, a, b, signs[op]);
    bool nan = (a.kind == TQ_J_FLOAT && isnan(a.u.f)) || (b.kind == TQ_J_FLOAT && isnan(b.u.f));
    bool yes = op == TQ_O_LT ? order < 0 : op == TQ_O_LE ? order <= 0 : op == TQ_O_GT ? order > 0 : order >= 0;
    return tq_j_bool(yes && !nan);
}
