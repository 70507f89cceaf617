/* jinja_tests.c - what may follow `is`. */
#include <string.h>
#include <utf8proc.h>

#include "model/jinja_internal.h"

#define TEST(name, condition)                                                                                          \
    static tq_jvalue name(tq_jrun *r, tq_jvalue v, const tq_jargs *a) {                                                \
        (void)r;                                                                                                       \
        (void)a;                                                                                                       \
        return tq_j_bool(condition);                                                                                   \
    }

TEST(is_defined, v.kind != TQ_J_UNDEFINED)
TEST(is_undefined, v.kind == TQ_J_UNDEFINED)
TEST(is_none, v.kind == TQ_J_NONE)
TEST(is_boolean, v.kind == TQ_J_BOOL)
TEST(is_true, v.kind == TQ_J_BOOL && v.u.b)
TEST(is_false, v.kind == TQ_J_BOOL && !v.u.b)
TEST(is_integer, v.kind == TQ_J_INT)
TEST(is_float, v.kind == TQ_J_FLOAT)
TEST(is_number, tq_j_is_number(v))
TEST(is_string, v.kind == TQ_J_STRING)
TEST(is_mapping, v.kind == TQ_J_DICT)
TEST(is_sequence, v.kind == TQ_J_STRING || v.kind == TQ_J_LIST || v.kind == TQ_J_DICT || v.kind == TQ_J_UNDEFINED)
TEST(is_iterable, v.kind == TQ_J_STRING || v.kind == TQ_J_LIST || v.kind == TQ_J_DICT || v.kind == TQ_J_UNDEFINED ||
                      v.kind == TQ_J_LOOP)
TEST(is_callable, v.kind == TQ_J_MACRO || v.kind == TQ_J_FUNCTION || v.kind == TQ_J_METHOD || v.kind == TQ_J_LOOP)
TEST(is_truthy, tq_j_true(v))

/* The remainder of a division by `by`, for odd, even and divisibleby. */
static tq_jvalue remainder_is(tq_jrun *r, tq_jvalue v, tq_jvalue by, int64_t wanted) {
    int64_t rest = 0;
    tq_jvalue out = tq_j_binary(r, TQ_O_MOD, v, by);
    if (!r->failed && !tq_j_as_int(out, &rest)) return tq_j_bool(tq_j_as_float(out) == (double)wanted);
    return tq_j_bool(rest == wanted);
}
static tq_jvalue is_odd(tq_jrun *r, tq_jvalue v, const tq_jargs *a) {
    (void)a;
    return remainder_is(r, v, tq_j_int(2), 1);
}
static tq_jvalue is_even(tq_jrun *r, tq_jvalue v, const tq_jargs *a) {
    (void)a;
    return remainder_is(r, v, tq_j_int(2), 0);
}
static tq_jvalue is_divisible(tq_jrun *r, tq_jvalue v, const tq_jargs *a) {
    return remainder_is(r, v, a->v[0], 0);
}

static tq_jvalue is_eq(tq_jrun *r, tq_jvalue v, const tq_jargs *a) {
    return tq_j_compare(r, TQ_O_EQ, v, a->v[0]);
}
static tq_jvalue is_same(tq_jrun *r, tq_jvalue v, const tq_jargs *a) {
    return tq_j_bool(v.kind == a->v[0].kind && tq_j_equal(r, v, a->v[0]));
}
static tq_jvalue is_ne(tq_jrun *r, tq_jvalue v, const tq_jargs *a) {
    return tq_j_compare(r, TQ_O_NE, v, a->v[0]);
}
static tq_jvalue is_lt(tq_jrun *r, tq_jvalue v, const tq_jargs *a) {
    return tq_j_compare(r, TQ_O_LT, v, a->v[0]);
}
static tq_jvalue is_le(tq_jrun *r, tq_jvalue v, const tq_jargs *a) {
    return tq_j_compare(r, TQ_O_LE, v, a->v[0]);
}
static tq_jvalue is_gt(tq_jrun *r, tq_jvalue v, const tq_jargs *a) {
    return tq_j_compare(r, TQ_O_GT, v, a->v[0]);
}
static tq_jvalue is_ge(tq_jrun *r, tq_jvalue v, const tq_jargs *a) {
    return tq_j_compare(r, TQ_O_GE, v, a->v[0]);
}
static tq_jvalue is_in(tq_jrun *r, tq_jvalue v, const tq_jargs *a) {
    return tq_j_contains(r, v, a->v[0]);
}

/* Does changing to that case change nothing, and is there a letter at all? */
static tq_jvalue in_case(tq_jrun *r, tq_jvalue v, bool up) {
    const tq_jstring *s = tq_j_str(r, v);
    tq_jvalue same = tq_j_upper(r, s, up), other = tq_j_upper(r, s, !up);
    if (r->failed) return v;
    bool is = same.u.s->n == s->n && memcmp(same.u.s->p, s->p, s->n) == 0;
    bool letters = other.u.s->n != s->n || memcmp(other.u.s->p, s->p, s->n) != 0;
    return tq_j_bool(is && letters);
}
static tq_jvalue is_upper(tq_jrun *r, tq_jvalue v, const tq_jargs *a) {
    (void)a;
    return in_case(r, v, true);
}
static tq_jvalue is_lower(tq_jrun *r, tq_jvalue v, const tq_jargs *a) {
    (void)a;
    return in_case(r, v, false);
}

const tq_jcallable tq_j_tests[] = {
    {"defined", is_defined, 0, 0, {0}, false},
    {"undefined", is_undefined, 0, 0, {0}, false},
    {"none", is_none, 0, 0, {0}, false},
    {"boolean", is_boolean, 0, 0, {0}, false},
    {"true", is_true, 0, 0, {0}, false},
    {"false", is_false, 0, 0, {0}, false},
    {"integer", is_integer, 0, 0, {0}, false},
    {"float", is_float, 0, 0, {0}, false},
    {"number", is_number, 0, 0, {0}, false},
    {"string", is_string, 0, 0, {0}, false},
    {"mapping", is_mapping, 0, 0, {0}, false},
    {"sequence", is_sequence, 0, 0, {0}, false},
    {"iterable", is_iterable, 0, 0, {0}, false},
    {"callable", is_callable, 0, 0, {0}, false},
    {"truthy", is_truthy, 0, 0, {0}, false}, /* what select does without a test; no name of Jinja's */
    {"odd", is_odd, 0, 0, {0}, false},
    {"even", is_even, 0, 0, {0}, false},
    {"divisibleby", is_divisible, 1, 1, {"num"}, false},
    {"eq", is_eq, 1, 1, {0}, false},
    {"equalto", is_eq, 1, 1, {0}, false},
    {"==", is_eq, 1, 1, {0}, false},
    {"sameas", is_same, 1, 1, {0}, false},
    {"ne", is_ne, 1, 1, {0}, false},
    {"!=", is_ne, 1, 1, {0}, false},
    {"lt", is_lt, 1, 1, {0}, false},
    {"lessthan", is_lt, 1, 1, {0}, false},
    {"<", is_lt, 1, 1, {0}, false},
    {"le", is_le, 1, 1, {0}, false},
    {"<=", is_le, 1, 1, {0}, false},
    {"gt", is_gt, 1, 1, {0}, false},
    {"greaterthan", is_gt, 1, 1, {0}, false},
    {">", is_gt, 1, 1, {0}, false},
    {"ge", is_ge, 1, 1, {0}, false},
    {">=", is_ge, 1, 1, {0}, false},
    {"in", is_in, 1, 1, {"seq"}, false},
    {"upper", is_upper, 0, 0, {0}, false},
    {"lower", is_lower, 0, 0, {0}, false},
    {0},
};
