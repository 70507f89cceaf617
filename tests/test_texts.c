/* test_texts.c - what is measured beside the one KLD: several texts and their changes, the worst tokens, questions and
 * their interval. A plan equal to the base gives exactly 0 in each. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/compare.h"
#include "model/questions.h"
#include "tests/scratch.h"
#include "tests/session_fixture.h"

#define MODEL "samples/tiny-qwen3.5"
#define TEXT "samples/eval.txt"
#define OTHER "samples/README.md"
#define TUNING "samples/calib.txt"

static const tq_eval_options options = {.ctx = 128, .tokens = 1024};

static tq_session *open_sample(void) {
    tq_session *s = open_session(MODEL, 2);
    tq_err err = {{0}};
    check(tq_session_load_text(s, TEXT, &err), &err);
    check(tq_session_set_tuning(s, TUNING, NULL, &err), &err);
    return s;
}

static tq_text_figures on_text(tq_session *s, size_t i) {
    tq_text_figures f;
    tq_err err = {{0}};
    int rc = tq_session_eval_text(s, i, &options, NULL, &f, &err);
    if (rc != TQ_OK) print_error("%s\n", err.msg);
    assert_int_equal(rc, TQ_OK);
    assert_true(f.known && f.parts == 8);
    return f;
}

/* --- texts --- */

static tq_text_figures figures(size_t parts, double level, double spread) {
    tq_text_figures f = {.known = true, .tokens = 100, .parts = parts};
    for (size_t i = 0; i < parts; i++)
        f.part[i] = level + spread * (double)(i % 2);
    return f;
}

static void changes_are_paired(void **state) {
    tq_text_figures a = figures(8, 0.5, 0.4), b = figures(8, 0.49, 0.4), noisy = figures(8, 0.49, 0.45);
    tq_text_figures few = figures(3, 0.1, 0), other = figures(7, 0.1, 0), none = {0};
    (void)state;
    /* The same spread in both cancels. */
    tq_text_change c = tq_text_compare(&a, &b);
    assert_true(c.known && fabs(c.mean + 0.01) < 1e-12 && c.error < 1e-12 && c.improves && !c.worsens);
    c = tq_text_compare(&b, &a);
    assert_true(c.worsens && !c.improves);
    c = tq_text_compare(&a, &noisy); /* 0.015 up, by pairs of -0.01 and +0.04: a standard error of 0.0094 */
    assert_true(c.known && fabs(c.mean - 0.015) < 1e-12 && fabs(c.error - 0.025 / sqrt(7)) < 1e-12);
    assert_true(!c.improves && !c.worsens);
    c = tq_text_compare(&a, &a);
    assert_true(c.known && c.mean == 0 && c.error == 0 && !c.improves && !c.worsens);
    assert_false(tq_text_compare(&few, &few).known);
    assert_false(tq_text_compare(&a, &other).known);
    assert_false(tq_text_compare(&none, &a).known);
}

static void only_the_tuning_text_improves(void **state) {
    const tq_text_change better = {.known = true, .mean = -1, .improves = true}, same = {.known = true},
                         worse = {.known = true, .mean = 1, .worsens = true}, unknown = {0};
    const tq_text_role roles[] = {TQ_TEXT_HELD_OUT, TQ_TEXT_TUNING, TQ_TEXT_HELD_OUT};
    (void)state;
    assert_true(tq_only_tuning_improves(roles, (const tq_text_change[]){same, better, worse}, 3));
    assert_true(tq_only_tuning_improves(roles, (const tq_text_change[]){same, better}, 2));
    assert_false(tq_only_tuning_improves(roles, (const tq_text_change[]){better, better, worse}, 3));
    assert_false(tq_only_tuning_improves(roles, (const tq_text_change[]){same, same, same}, 3));
    assert_false(tq_only_tuning_improves(roles, (const tq_text_change[]){unknown, better, worse}, 3));
    assert_false(tq_only_tuning_improves(roles + 1, (const tq_text_change[]){better}, 1)); /* nothing is held out */
}

/* Each text beside a session that has it as its only one, after changes here and there. */
static void columns_are_what_each_text_says_alone(void **state) {
    static const char *const paths[] = {TEXT, OTHER, TUNING};
    static const char *const steps[] = {"*=4", "6.*=4+2", "1.mlp.*=keep"};
    tq_session *s = open_sample();
    tq_err err = {{0}};
    tq_text_role role;
    (void)state;
    assert_int_equal(tq_session_add_text(s, OTHER, TQ_TEXT_HELD_OUT, &err), TQ_OK);
    assert_int_equal(tq_session_add_tuning_text(s, &err), TQ_OK);
    assert_int_equal(tq_session_add_text(s, OTHER, TQ_TEXT_HELD_OUT, &err), TQ_OK); /* there already */
    assert_int_equal(tq_session_texts(s), 3);
    assert_int_equal(tq_session_text_length(s, 0), tq_session_text_tokens(s));
    assert_true(tq_session_text_length(s, 1) > 0 && tq_session_text_length(s, 1) < tq_session_text_length(s, 2));
    assert_string_equal(tq_session_text_at(s, 1, &role), "README.md");
    assert_int_equal(role, TQ_TEXT_HELD_OUT);
    assert_string_equal(tq_session_text_at(s, 2, &role), "calib.txt");
    assert_int_equal(role, TQ_TEXT_TUNING);
    for (size_t k = 0; k < 3; k++) {
        set_rule(s, steps[k]);
        for (size_t i = 0; i < 3; i++) {
            tq_session *alone = open_sample();
            assert_int_equal(tq_session_load_text(alone, paths[i], &err), TQ_OK);
            assert_int_equal(tq_session_set_plan(alone, tq_session_plan(s), &err), TQ_OK);
            tq_text_figures f = on_text(s, i), g = on_text(alone, 0);
            assert_memory_equal(&f, &g, sizeof f);
            double mean = 0;
            for (size_t p = 0; p < f.parts; p++)
                mean += f.part[p] / (double)f.parts;
            assert_true(fabs(mean - f.kld) < 1e-12); /* eight windows, eight pieces */
            tq_session_close(alone);
        }
    }
    /* A comparison of other plans does not move them. */
    tq_text_figures before = on_text(s, 1);
    tq_plan *kept = tq_plan_new(tq_session_model(s), &err);
    tq_eval_result r;
    assert_int_equal(tq_session_measure(s, kept, &options, NULL, &r, &err), TQ_OK);
    tq_text_figures after = on_text(s, 1);
    assert_memory_equal(&before, &after, sizeof before);
    tq_plan_free(kept);
    tq_session_close(s);
}

static void the_tuning_text_is_told_by_its_bytes(void **state) {
    tq_session *s = open_sample();
    tq_err err = {{0}};
    tq_text_role role;
    (void)state;
    assert_int_equal(tq_session_set_tuning(s, TEXT, NULL, &err), TQ_OK);
    assert_int_equal(tq_session_add_tuning_text(s, &err), TQ_OK);
    assert_int_equal(tq_session_texts(s), 1);
    (void)tq_session_text_at(s, 0, &role);
    assert_int_equal(role, TQ_TEXT_TUNING);
    assert_int_equal(tq_session_add_text(s, "samples/none.txt", TQ_TEXT_HELD_OUT, &err), TQ_FAIL);
    assert_int_equal(tq_session_texts(s), 1);
    /* A tuning text beside the main one, then loaded as that. */
    assert_int_equal(tq_session_add_text(s, TUNING, TQ_TEXT_TUNING, &err), TQ_OK);
    assert_int_equal(tq_session_load_text(s, OTHER, &err), TQ_OK);
    (void)tq_session_text_at(s, 0, &role);
    assert_int_equal(role, TQ_TEXT_HELD_OUT);
    assert_int_equal(tq_session_load_text(s, TUNING, &err), TQ_OK);
    (void)tq_session_text_at(s, 0, &role);
    assert_int_equal(role, TQ_TEXT_TUNING);
    tq_session_close(s);
}

/* --- the worst tokens --- */

static void the_worst_tokens_are_the_highest(void **state) {
    tq_session *s = open_sample();
    tq_err err = {{0}};
    tq_eval_result r;
    size_t n = 0;
    (void)state;
    set_rule(s, "*=4");
    assert_int_equal(tq_session_eval(s, &options, NULL, NULL, NULL, &r, &err), TQ_OK);
    const tq_worst *w = tq_session_worst(s, &n);
    assert_int_equal(n, TQ_WORST_MAX);
    assert_true(w[0].kld == r.kld_max);
    const int *ids = tq_session_text_ids(s);
    for (size_t i = 0; i < n; i++) {
        assert_true(i == 0 || w[i].kld <= w[i - 1].kld);
        assert_true(w[i].begin % options.ctx == 0 && w[i].at > w[i].begin && w[i].at < w[i].begin + options.ctx);
        if (i >= 8) continue;
        tq_explain_at at = {.ids = ids + w[i].begin,
                            .n = w[i].at - w[i].begin,
                            .plan = {NULL, tq_session_plan(s)},
                            .token = {-1, -1},
                            .ends_only = true};
        tq_explanation *x = NULL;
        assert_int_equal(tq_session_explain(s, &at, NULL, &x, &err), TQ_OK);
        /* The window's first tokens alone, and all windows at once: fp32 sums in another order. */
        assert_true(fabs(x->b.kld - w[i].kld) < 1e-4 * (1 + w[i].kld));
        assert_int_equal(x->top[0][0].id, w[i].base_top);
        assert_int_equal(x->top[1][0].id, w[i].top);
        tq_explanation_free(x);
    }
    /* Another plan that is measured meanwhile leaves the list as it is. */
    tq_worst first = w[0];
    tq_plan *six = tq_plan_copy(tq_session_plan(s));
    assert_int_equal(tq_plan_rule(six, "*=4+2", NULL, &err), TQ_OK);
    assert_int_equal(tq_session_measure(s, six, &options, NULL, &r, &err), TQ_OK);
    w = tq_session_worst(s, &n);
    assert_int_equal(n, TQ_WORST_MAX);
    assert_memory_equal(&first, &w[0], sizeof first);
    tq_plan_free(six);
    tq_session_close(s);
}

/* --- questions --- */

/* Against the formula's values by hand: 0 and all of n, and the middle. */
static void the_interval_is_wilsons(void **state) {
    double low, high, z2 = 1.959963984540054 * 1.959963984540054;
    (void)state;
    tq_score_interval((tq_score){0, 0}, &low, &high);
    assert_true(low == 0 && high == 1);
    tq_score_interval((tq_score){0, 10}, &low, &high);
    assert_true(low < 1e-12 && fabs(high - z2 / (10 + z2)) < 1e-12);
    tq_score_interval((tq_score){10, 10}, &low, &high);
    assert_true(fabs(low - 10 / (10 + z2)) < 1e-12 && high > 1 - 1e-12 && high <= 1);
    tq_score_interval((tq_score){50, 100}, &low, &high);
    assert_true(fabs(low + high - 1) < 1e-12 && fabs(low - 0.40383) < 1e-5);
}

static void questions_are_asked_one_by_one(void **state) {
    tq_session *s = open_sample();
    tq_err err = {{0}};
    tq_questions *q = NULL;
    size_t right = 0, base = 0, sum = 0;
    atomic_bool cancel;
    bool is = true;
    (void)state;
    assert_int_equal(tq_questions_load("samples/questions.jsonl", &q, &err), TQ_OK);
    for (size_t i = 0; i < 24; i++) {
        assert_int_equal(tq_questions_ask_one(q, s, false, i, NULL, &is, &err), TQ_OK);
        sum += is;
        assert_int_equal(tq_questions_ask_one(q, s, true, i, NULL, &is, &err), TQ_OK);
        base += is;
    }
    assert_int_equal(sum, base); /* nothing is quantized: the control */
    assert_true(sum >= 20);
    atomic_init(&cancel, true);
    assert_int_equal(tq_questions_ask_one(q, s, true, 0, &(tq_progress){.cancel = &cancel}, &is, &err), TQ_CANCELLED);
    assert_false(is);
    set_rule(s, "*=4");
    assert_int_equal(tq_questions_ask(q, s, false, NULL, &right, &err), TQ_OK);
    assert_true(right > 400 && right < tq_questions_count(q));
    tq_questions_free(q);
    tq_session_close(s);
}

/* --- the control --- */

static void equal_to_the_base_is_exactly_nothing(void **state) {
    tq_session *s = open_sample();
    tq_err err = {{0}};
    size_t n = 1;
    (void)state;
    assert_int_equal(tq_session_add_text(s, OTHER, TQ_TEXT_HELD_OUT, &err), TQ_OK);
    assert_int_equal(tq_session_add_tuning_text(s, &err), TQ_OK);
    for (int round = 0; round < 2; round++) {
        if (round) set_rule(s, "*=4"); /* and back */
        if (round) (void)on_text(s, 1);
        set_rule(s, "*=keep");
        for (size_t i = 0; i < 3; i++) {
            tq_text_figures f = on_text(s, i);
            assert_true(f.kld == 0 && f.error == 0 && f.ppl == f.ppl_base);
            for (size_t p = 0; p < f.parts; p++)
                assert_true(f.part[p] == 0);
            tq_text_change c = tq_text_compare(&f, &f);
            assert_true(c.known && c.mean == 0 && !c.improves && !c.worsens);
        }
        (void)on_text(s, 0);
        (void)tq_session_worst(s, &n);
        assert_int_equal(n, 0);
    }
    tq_session_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(changes_are_paired),
        cmocka_unit_test(only_the_tuning_text_improves),
        cmocka_unit_test(columns_are_what_each_text_says_alone),
        cmocka_unit_test(the_tuning_text_is_told_by_its_bytes),
        cmocka_unit_test(the_worst_tokens_are_the_highest),
        cmocka_unit_test(the_interval_is_wilsons),
        cmocka_unit_test(questions_are_asked_one_by_one),
        cmocka_unit_test(equal_to_the_base_is_exactly_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
