/* test_compare.c - two sides of one model: a plan equal to the base differs in nothing, hybrids are what a plan of only
 * these matrices gives, and what is compared leaves the session as it was. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/compare.h"
#include "tests/session_fixture.h"

#define MODEL "samples/tiny-qwen3.5"
#define TEXT "samples/eval.txt"
#define PARTS "What is the difference between 786 and 777" /* 4 bits answer it otherwise */

static tq_plan *plan_with(const tq_session *s, const char *rule) {
    tq_err err = {{0}};
    tq_plan *p = tq_plan_new(tq_session_model(s), &err);
    assert_non_null(p);
    assert_int_equal(tq_plan_rule(p, rule, NULL, &err), TQ_OK);
    return p;
}

static tq_comparison *compare(tq_session *s, const tq_plan *a, const tq_plan *b, const char *prompt, float temp) {
    tq_message m = {"user", prompt};
    tq_compare_job job = {.messages = &m,
                          .n = 1,
                          .plan = {a, b},
                          .sampling = {.temperature = temp, .top_p = 1, .seed = 7},
                          .max_tokens = 40};
    tq_comparison *c = NULL;
    tq_err err = {{0}};
    int rc = tq_session_compare(s, &job, NULL, NULL, NULL, &c, &err);
    if (rc != TQ_OK) print_error("%s\n", err.msg);
    assert_int_equal(rc, TQ_OK);
    return c;
}

static tq_explanation *explain(tq_session *s, const tq_comparison *c, const tq_plan *a, const tq_plan *b) {
    tq_explain_at at = {.ids = c->ids,
                        .n = c->n_ids,
                        .plan = {a, b},
                        .sampler = &c->sampler,
                        .token = {c->side[0].token, c->side[1].token}};
    tq_explanation *x = NULL;
    tq_err err = {{0}};
    if (c->side[0].token < 0) at.sampler = NULL;
    int rc = tq_session_explain(s, &at, NULL, &x, &err);
    if (rc != TQ_OK) print_error("%s\n", err.msg);
    assert_int_equal(rc, TQ_OK);
    return x;
}

static void assert_nothing_differs(tq_session *s, const tq_plan *a, const tq_plan *b, float temp) {
    tq_comparison *c = compare(s, a, b, PARTS, temp);
    assert_false(c->diverged);
    assert_true(c->kld == 0 && c->kld_common == 0);
    assert_string_equal(c->side[0].text, c->side[1].text);
    assert_int_equal(c->side[0].token, -1);
    assert_int_equal(c->side[0].tokens, c->side[1].tokens);
    assert_true(c->common >= 5);
    tq_explanation *x = explain(s, c, a, b);
    bool guilty[64];
    assert_true(x->reproduced);
    assert_int_equal(tq_explanation_alone(x), 0);
    assert_true(tq_explanation_shortest(x) == SIZE_MAX && x->tips == SIZE_MAX);
    assert_int_equal(x->n_matrices, 0);
    assert_int_equal(tq_explanation_guilty(x, tq_session_model(s), guilty), 0);
    for (size_t k = 0; k <= x->blocks; k++) {
        assert_true(x->prefix[k].kld == 0 && x->prefix[k].margin == x->a.margin && !x->prefix[k].flips);
        if (k == x->blocks) break;
        assert_false(x->differs[k]);
        assert_true(x->alone[k].kld == 0 && x->alone[k].margin == x->a.margin && !x->alone[k].flips);
    }
    assert_true(x->b.kld == 0);
    assert_int_equal(x->blocks_run, x->blocks); /* one side alone */
    tq_explanation_free(x);
    tq_comparison_free(c);
}

/* The control: equal sides differ by exactly nothing, greedily and drawn. */
static void equal_sides_do_not_differ(void **state) {
    tq_session *s = open_session(MODEL, 2);
    tq_plan *kept = plan_with(s, "*=keep"), *four = plan_with(s, "*=4"), *again = plan_with(s, "*=4");
    (void)state;
    for (int drawn = 0; drawn < 2; drawn++) {
        assert_nothing_differs(s, NULL, NULL, (float)drawn);
        assert_nothing_differs(s, NULL, kept, (float)drawn);
        assert_nothing_differs(s, kept, NULL, (float)drawn);
        assert_nothing_differs(s, four, again, (float)drawn);
    }
    tq_plan_free(kept);
    tq_plan_free(four);
    tq_plan_free(again);
    tq_session_close(s);
}

static void candidates_are_the_likeliest(void **state) {
    const float logits[] = {1, 5, -2, 5, 3, 0, 4};
    tq_candidate top[TQ_CANDIDATES];
    double sum = 0;
    (void)state;
    tq_candidates(logits, 7, top);
    const int ids[] = {1, 3, 6, 4, 0};
    for (int i = 0; i < 7; i++)
        sum += exp((double)logits[i]);
    for (int k = 0; k < TQ_CANDIDATES; k++) {
        assert_int_equal(top[k].id, ids[k]);
        assert_true(fabs(top[k].p - exp((double)logits[ids[k]]) / sum) < 1e-12);
    }
    tq_candidates(logits, 2, top);
    assert_int_equal(top[1].id, 0);
    assert_int_equal(top[2].id, -1);
}

/* What one plan as side b says at the same position. */
static tq_hybrid at_position(tq_session *s, const tq_comparison *c, const tq_plan *b) {
    tq_explain_at at = {.ids = c->ids,
                        .n = c->n_ids,
                        .plan = {NULL, b},
                        .sampler = &c->sampler,
                        .token = {c->side[0].token, c->side[1].token},
                        .ends_only = true};
    tq_explanation *x = NULL;
    tq_err err = {{0}};
    assert_int_equal(tq_session_explain(s, &at, NULL, &x, &err), TQ_OK);
    tq_hybrid h = x->b;
    tq_explanation_free(x);
    return h;
}

static void assert_same(tq_hybrid a, tq_hybrid b) {
    assert_true(a.known && b.known);
    assert_true(a.choice == b.choice && a.flips == b.flips && a.margin == b.margin && a.kld == b.kld);
}

static bool block_alone(const tq_matrix *m, size_t k) {
    return m->block == k;
}
static bool block_before(const tq_matrix *m, size_t k) {
    return m->block < k;
}

static tq_plan *four_where(const tq_session *s, bool (*where)(const tq_matrix *m, size_t k), size_t k) {
    const tq_model *m = tq_session_model(s);
    tq_plan *p = plan_with(s, "*=keep");
    for (size_t i = 0; i < tq_model_matrices(m); i++)
        if (where(tq_model_matrix(m, i), k)) tq_plan_set(p, i, (tq_choice){TQ_BITS_4, TQ_GROUP_DEFAULT});
    return p;
}

/* Hybrids beside plans that quantize the same matrices: equal to the last bit. */
static void hybrids_are_plans_of_these_matrices(void **state) {
    tq_session *s = open_session(MODEL, 2);
    tq_plan *four = plan_with(s, "*=4");
    (void)state;
    tq_comparison *c = compare(s, NULL, four, PARTS, 0);
    assert_true(c->diverged);
    assert_int_not_equal(c->side[0].token, c->side[1].token);
    assert_true(c->at == c->common && c->common > 3 && c->kld > 0);
    assert_memory_equal(c->side[0].text, c->side[1].text, c->side[0].mark);
    assert_int_equal(c->side[0].top[0].id, c->side[0].token);
    assert_int_equal(c->side[1].top[0].id, c->side[1].token);
    tq_explanation *x = explain(s, c, NULL, four);
    assert_true(x->reproduced);
    assert_int_equal(x->token[0], c->side[0].token);
    assert_true(x->a.margin > 0 && x->b.margin < 0 && x->b.flips);
    assert_true(fabs(x->b.kld - c->kld) < 1e-4); /* all tokens at once, and one by one */
    assert_same(x->prefix[0], x->a);
    assert_same(x->prefix[x->blocks], x->b);
    for (size_t k = 0; k < x->blocks; k++) {
        tq_plan *alone = four_where(s, block_alone, k), *before = four_where(s, block_before, k);
        assert_same(x->alone[k], at_position(s, c, alone));
        assert_same(x->prefix[k], at_position(s, c, before));
        tq_plan_free(alone);
        tq_plan_free(before);
    }
    assert_true(x->tips < x->blocks && !x->prefix[x->tips].flips && x->prefix[x->tips + 1].flips);
    assert_true(x->n_matrices > 0);
    for (size_t i = 0; i < x->n_matrices; i++) {
        size_t block = tq_model_matrix(tq_session_model(s), x->matrices[i].matrix)->block;
        tq_plan *p = x->matrices[i].after_prefix ? four_where(s, block_before, block) : plan_with(s, "*=keep");
        tq_plan_set(p, x->matrices[i].matrix, (tq_choice){TQ_BITS_4, TQ_GROUP_DEFAULT});
        assert_same(x->matrices[i].hybrid, at_position(s, c, p));
        tq_plan_free(p);
    }
    bool guilty[64];
    assert_true(tq_explanation_guilty(x, tq_session_model(s), guilty) > 0);
    tq_explanation_free(x);
    tq_comparison_free(c);
    tq_plan_free(four);
    tq_session_close(s);
}

/* A packed embedding that is the head too: a part of the first block and of the last, one matrix where matrices are
 * tried. */
static void ends_are_explained(void **state) {
    tq_session *s = open_session(MODEL, 2);
    tq_plan *end = plan_with(s, "embed_tokens=4"), *both = plan_with(s, "*=4");
    const tq_model *m = tq_session_model(s);
    size_t last = tq_model_matrices(m) - 1, found = 0;
    tq_err err = {{0}};
    (void)state;
    assert_int_equal(tq_plan_rule(both, "embed_tokens=4", NULL, &err), TQ_OK);
    for (int k = 0; k < 2; k++) {
        tq_plan *p = k ? both : end;
        tq_comparison *c = compare(s, NULL, p, PARTS, 0);
        tq_explanation *x = explain(s, c, NULL, p);
        assert_same(x->prefix[0], x->a);
        assert_same(x->prefix[x->blocks], x->b);
        assert_same(x->b, at_position(s, c, p));
        for (size_t b = 0; b < x->blocks; b++)
            assert_int_equal(x->differs[b], k || b == 0 || b + 1 == x->blocks);
        assert_true(x->alone[0].kld > 0 && x->alone[x->blocks - 1].kld > 0);
        for (size_t i = 0; i < x->n_matrices; i++) {
            if (x->matrices[i].matrix != last || x->matrices[i].after_prefix) continue;
            assert_same(x->matrices[i].hybrid, at_position(s, c, end));
            found++;
        }
        tq_explanation_free(x);
        tq_comparison_free(c);
    }
    assert_true(found > 0);
    tq_plan_free(end);
    tq_plan_free(both);
    tq_session_close(s);
}

/* The other way round it is the same difference; the number of threads makes none. */
static void sides_and_threads_do_not_matter(void **state) {
    tq_session *one = open_session(MODEL, 1), *two = open_session(MODEL, 2);
    tq_plan *p = plan_with(one, "*=4"), *q = plan_with(two, "*=4");
    (void)state;
    tq_comparison *a = compare(one, NULL, p, PARTS, 0), *b = compare(two, q, NULL, PARTS, 0);
    assert_int_equal(a->at, b->at);
    assert_string_equal(a->side[0].text, b->side[1].text);
    assert_string_equal(a->side[1].text, b->side[0].text);
    tq_explanation *x = explain(one, a, NULL, p), *y = explain(two, a, NULL, q), *z = explain(two, b, q, NULL);
    for (size_t k = 0; k < x->blocks; k++) {
        assert_same(x->alone[k], y->alone[k]);
        assert_same(x->prefix[k], y->prefix[k]);
    }
    assert_true(x->a.margin == -z->b.margin && x->b.margin == -z->a.margin);
    tq_explanation_free(x);
    tq_explanation_free(y);
    tq_explanation_free(z);
    tq_comparison_free(a);
    tq_comparison_free(b);
    tq_plan_free(p);
    tq_plan_free(q);
    tq_session_close(one);
    tq_session_close(two);
}

/* The plan in force, its evaluation and what was packed for it stay. */
static void the_session_stays_as_it_was(void **state) {
    const tq_eval_options o = {.ctx = 128, .tokens = 512};
    tq_session *s = open_session(MODEL, 2);
    tq_err err = {{0}};
    tq_eval_result before, after;
    (void)state;
    assert_int_equal(tq_session_load_text(s, TEXT, &err), TQ_OK);
    tq_plan *four = plan_with(s, "*=4"), *six = plan_with(s, "*=4+2"), *mixed = plan_with(s, "3.*=4+4");
    assert_int_equal(tq_session_set_plan(s, four, &err), TQ_OK);
    assert_int_equal(tq_session_eval(s, &o, NULL, NULL, NULL, &before, &err), TQ_OK);
    const tq_qmatrix *kept = tq_session_variant(s)[0];
    for (int round = 0; round < 2; round++) {
        tq_comparison_free(compare(s, six, mixed, PARTS, 0));
        tq_comparison_free(compare(s, four, six, PARTS, 0));
    }
    assert_ptr_equal(tq_session_variant(s)[0], kept);
    assert_int_equal(tq_session_stale(s), 0);
    assert_int_equal(tq_session_eval(s, &o, NULL, NULL, NULL, &after, &err), TQ_OK);
    assert_int_equal(after.blocks_run, 0);
    assert_true(before.kld_mean == after.kld_mean && before.ppl == after.ppl);
    tq_plan_free(four);
    tq_plan_free(six);
    tq_plan_free(mixed);
    tq_session_close(s);
}

static bool cancel_later(void *ctx, int side, const char *text, size_t bytes) {
    (void)side;
    (void)text;
    (void)bytes;
    atomic_store((atomic_bool *)ctx, true);
    return true;
}

static void cancelling_leaves_nothing_behind(void **state) {
    tq_session *s = open_session(MODEL, 2);
    tq_err err = {{0}};
    tq_plan *four = plan_with(s, "*=4");
    tq_message m = {"user", PARTS};
    tq_compare_job job = {.messages = &m, .n = 1, .plan = {NULL, four}};
    atomic_bool cancel;
    tq_progress p = {.cancel = &cancel};
    tq_comparison *c = NULL;
    tq_explanation *x = NULL;
    (void)state;
    atomic_init(&cancel, false);
    assert_int_equal(tq_session_compare(s, &job, &p, cancel_later, &cancel, &c, &err), TQ_CANCELLED);
    assert_null(c);
    tq_explain_at at = {.ids = (const int[]){1, 2, 3}, .n = 3, .plan = {NULL, four}, .token = {-1, -1}};
    assert_int_equal(tq_session_explain(s, &at, &p, &x, &err), TQ_CANCELLED);
    assert_null(x);
    at.n = 0;
    assert_int_equal(tq_session_explain(s, &at, NULL, &x, &err), TQ_FAIL);
    at.n = 3;
    at.ids = (const int[]){1, 2, 1 << 29};
    assert_int_equal(tq_session_explain(s, &at, NULL, &x, &err), TQ_FAIL);
    assert_non_null(strstr(err.msg, "vocabulary"));
    c = compare(s, NULL, four, PARTS, 0);
    assert_true(c->diverged);
    tq_comparison_free(c);
    tq_plan_free(four);
    tq_session_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_sides_do_not_differ),           cmocka_unit_test(candidates_are_the_likeliest),
        cmocka_unit_test(hybrids_are_plans_of_these_matrices), cmocka_unit_test(ends_are_explained),
        cmocka_unit_test(sides_and_threads_do_not_matter),     cmocka_unit_test(the_session_stays_as_it_was),
        cmocka_unit_test(cancelling_leaves_nothing_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
