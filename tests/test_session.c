/* test_session.c - the façade: what changes is quantized, evaluated from there on, and answered with. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/session.h"
#include "tests/scratch.h"
#include "tests/session_fixture.h"

#define MODEL "samples/tiny-qwen3.5"
#define TEXT "samples/eval.txt"

static const tq_eval_options coarse = {.ctx = 128, .tokens = 512}, fine = {.ctx = 256, .tokens = 1024};

static tq_session *open_sample(void) {
    tq_session *s = open_session(MODEL, 2);
    tq_err err = {{0}};
    check(tq_session_load_text(s, TEXT, &err), &err);
    return s;
}

static tq_eval_result evaluate(tq_session *s, const tq_eval_options *o) {
    tq_eval_result r;
    tq_err err = {{0}};
    int rc = tq_session_eval(s, o, NULL, NULL, NULL, &r, &err);
    if (rc != TQ_OK) print_error("%s\n", err.msg);
    assert_int_equal(rc, TQ_OK);
    return r;
}

static void count_call(void *ctx, size_t matrix) {
    (void)matrix;
    (*(int *)ctx)++;
}

static void only_what_differs_is_quantized(void **state) {
    tq_session *s = open_sample();
    tq_err err = {{0}};
    int calls = 0;
    (void)state;
    size_t all = tq_model_block_matrices(tq_session_model(s));
    assert_int_equal(tq_session_stale(s), 0);
    set_rule(s, "*=4");
    assert_int_equal(tq_session_stale(s), all);
    assert_false(tq_session_figures(s, 0).ready);
    assert_int_equal(tq_session_apply(s, NULL, count_call, &calls, &err), TQ_OK);
    assert_int_equal(calls, all);
    set_rule(s, "2.mlp.*=4+4");
    assert_int_equal(tq_session_stale(s), 3);
    set_rule(s, "2.mlp.*=4"); /* back: nothing to do */
    assert_int_equal(tq_session_stale(s), 0);
    set_rule(s, "2.mlp.up_proj=keep");
    calls = 0;
    assert_int_equal(tq_session_apply(s, NULL, count_call, &calls, &err), TQ_OK);
    assert_int_equal(calls, 1);
    size_t up = tq_model_find(tq_session_model(s), "model.layers.2.mlp.up_proj");
    assert_null(tq_session_variant(s)[up]);
    assert_true(tq_session_figures(s, up).distortion.rel_mse == 0);
    tq_session_close(s);
}

/* The memory that is told from the plan is what the packed matrices take. */
static void memory_is_what_is_held(void **state) {
    static const char *const rules[] = {"*=4", "mlp.*=4+2:32", "3.*=4+4:row", "5.mlp.up_proj=keep"};
    tq_session *s = open_sample();
    tq_err err = {{0}};
    (void)state;
    const tq_model *m = tq_session_model(s);
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        set_rule(s, rules[i]);
    tq_memory before = tq_session_memory(s);
    assert_int_equal(tq_session_apply(s, NULL, NULL, NULL, &err), TQ_OK);
    tq_memory after = tq_session_memory(s);
    assert_memory_equal(&before, &after, sizeof before);
    size_t quantized = 0, kept = tq_model_kept_bytes(m);
    for (size_t i = 0; i < tq_model_matrices(m); i++) {
        const tq_qmatrix *q = tq_session_variant(s)[i];
        quantized += q ? tq_qmatrix_bytes(q) : 0;
        kept += q ? 0 : tq_model_matrix(m, i)->tensor->bytes;
    }
    assert_int_equal(after.quantized, quantized);
    assert_int_equal(after.kept, kept);
    assert_int_equal(after.total, quantized + kept);
    assert_int_equal(after.baseline, tq_source_bytes(tq_model_source(m)));
    tq_session_close(s);
}

/* After changes here and there, both evaluators say what a fresh session says. */
static void evaluation_goes_on_where_it_was(void **state) {
    static const char *const steps[] = {"*=4", "6.*=4+2", "1.mlp.*=keep", "7.mlp.down_proj=4+4:64", "*=4+4", "*=keep"};
    tq_session *s = open_sample();
    (void)state;
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        set_rule(s, steps[i]);
        tq_session *fresh = open_sample();
        tq_err err = {{0}};
        assert_int_equal(tq_session_set_plan(fresh, tq_session_plan(s), &err), TQ_OK);
        for (int k = 0; k < 2; k++) {
            const tq_eval_options *o = k ? &fine : &coarse;
            tq_eval_result a = evaluate(s, o), b = evaluate(fresh, o);
            assert_true(a.kld_mean == b.kld_mean);
            assert_true(a.ppl == b.ppl);
            assert_true(a.ppl_base == b.ppl_base);
            if (i == 1) assert_true(a.blocks_run == 2); /* blocks 6 and 7 */
        }
        tq_session_close(fresh);
    }
    tq_eval_result last = evaluate(s, &fine);
    assert_true(last.kld_mean == 0 && last.kld_max == 0 && last.same_top == 1);
    tq_session_close(s);
}

static void cancel_at_once(void *ctx, double done, double total) {
    (void)done;
    (void)total;
    atomic_store((atomic_bool *)ctx, true);
}

static void cancelling_leaves_the_rest_stale(void **state) {
    tq_session *s = open_sample();
    tq_err err = {{0}};
    tq_eval_result r;
    atomic_bool cancel = false;
    tq_progress p = {.report = cancel_at_once, .ctx = &cancel, .cancel = &cancel};
    (void)state;
    set_rule(s, "*=4");
    assert_int_equal(tq_session_apply(s, &p, NULL, NULL, &err), TQ_CANCELLED);
    assert_true(tq_session_stale(s) > 0);
    assert_int_equal(tq_session_apply(s, NULL, NULL, NULL, &err), TQ_OK);
    atomic_store(&cancel, false);
    assert_int_equal(tq_session_eval(s, &coarse, &p, NULL, NULL, &r, &err), TQ_CANCELLED);
    tq_eval_result a = evaluate(s, &coarse);
    tq_session *fresh = open_sample();
    set_rule(fresh, "*=4");
    tq_eval_result b = evaluate(fresh, &coarse);
    assert_true(a.kld_mean == b.kld_mean && a.kld_mean > 0);
    tq_session_close(fresh);
    tq_session_close(s);
}

static void figures_go_stale_with_the_plan(void **state) {
    tq_session *s = open_sample();
    (void)state;
    assert_null(tq_session_plan_figures(s).eval);
    tq_eval_result r = evaluate(s, &coarse);
    assert_non_null(tq_session_plan_figures(s).eval);
    assert_true(tq_session_plan_figures(s).eval->ppl == r.ppl);
    assert_string_equal(tq_session_plan_figures(s).text_name, "eval.txt");
    set_rule(s, "0.*=4");
    assert_null(tq_session_plan_figures(s).eval);
    tq_session_close(s);
}

static void trying_changes_nothing(void **state) {
    tq_session *s = open_sample();
    tq_err err = {{0}};
    (void)state;
    double last = 1;
    for (int b = TQ_BITS_4; b < TQ_BITS_COUNT; b++) {
        tq_matrix_figures f;
        tq_choice c = {(tq_bits)b, 128};
        assert_int_equal(tq_session_try(s, 4, c, &f, &err), TQ_OK);
        double most = last * (b == TQ_BITS_4T ? 0.8 : 0.2); /* 4t takes as many bits as 4 */
        assert_true(f.distortion.rel_mse < most && f.distortion.rel_mse > 0);
        last = f.distortion.rel_mse;
        char rule[16];
        (void)snprintf(rule, sizeof rule, "*=%s", tq_bits_get((tq_bits)b)->name);
        set_rule(s, rule);
        assert_int_equal(tq_session_apply(s, NULL, NULL, NULL, &err), TQ_OK);
        assert_true(tq_session_figures(s, 4).distortion.rel_mse == f.distortion.rel_mse);
        assert_int_equal(tq_session_figures(s, 4).bytes, f.bytes);
        set_rule(s, "*=keep");
        assert_int_equal(tq_session_apply(s, NULL, NULL, NULL, &err), TQ_OK);
    }
    assert_true(evaluate(s, &coarse).kld_mean == 0);
    tq_session_close(s);
}

/* Collects pieces; each has to be whole UTF-8. */
typedef struct pieces {
    char text[4096];
    size_t n, count, stop_after;
} pieces;

static bool collect(void *ctx, const char *text, size_t bytes) {
    pieces *p = ctx;
    assert_true(p->n + bytes < sizeof p->text);
    assert_true(((unsigned char)text[0] & 0xC0) != 0x80);
    memcpy(p->text + p->n, text, bytes);
    p->n += bytes;
    p->text[p->n] = '\0';
    return ++p->count != p->stop_after;
}

static char *answer(tq_session *s, const tq_message *messages, size_t n, bool base, tq_chat_stats *stats) {
    tq_err err = {{0}};
    pieces p = {.n = 0};
    char *text = NULL;
    tq_chat_options o = {.max_tokens = 48, .base = base, .sampling = {.top_p = 1}};
    int rc = tq_session_answer(s, messages, n, &o, NULL, collect, &p, &text, stats, &err);
    if (rc != TQ_OK) print_error("%s\n", err.msg);
    assert_int_equal(rc, TQ_OK);
    assert_string_equal(text, p.text);
    return text;
}

/* A conversation that goes on in the cache says what one that starts over says; so does one that the other variant
 * was asked in between. */
static void the_cache_changes_no_answer(void **state) {
    tq_session *s = open_sample();
    (void)state;
    tq_message talk[5] = {{"user", "What is 12 + 30?"}, {"assistant", ""}, {"user", "And which is larger, 5 or 9?"}};
    tq_chat_stats st;
    set_rule(s, "*=4+4");
    char *first = answer(s, talk, 1, false, &st);
    assert_true(st.tokens > 0 && st.prompt_tokens > 0);
    talk[1].text = first;
    char *on = answer(s, talk, 3, false, &st);
    char *base = answer(s, talk, 3, true, &st);
    char *over = answer(s, talk, 3, false, &st);
    tq_session *fresh = open_sample();
    set_rule(fresh, "*=4+4");
    char *new = answer(fresh, talk, 3, false, &st);
    char *new_base = answer(fresh, talk, 3, true, &st);
    assert_string_equal(over, new);
    assert_string_equal(base, new_base);
    assert_string_equal(on, over);
    set_rule(s, "*=keep"); /* the variant is the base model now */
    char *kept = answer(s, talk, 3, false, &st);
    assert_string_equal(kept, base);
    char *all[] = {first, on, base, over, new, new_base, kept};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
    tq_session_close(fresh);
    tq_session_close(s);
}

static void an_answer_stops_when_told(void **state) {
    tq_session *s = open_sample();
    tq_err err = {{0}};
    (void)state;
    tq_message talk = {"user", "What can you do?"};
    pieces p = {.stop_after = 3};
    tq_chat_stats st;
    tq_chat_options o = {.max_tokens = 64, .sampling = {.top_p = 1}};
    assert_int_equal(tq_session_answer(s, &talk, 1, &o, NULL, collect, &p, NULL, &st, &err), TQ_OK);
    assert_int_equal(p.count, 3);
    assert_false(st.ended);
    o.max_tokens = 2;
    p = (pieces){.n = 0};
    assert_int_equal(tq_session_answer(s, &talk, 1, &o, NULL, collect, &p, NULL, &st, &err), TQ_OK);
    assert_int_equal(st.tokens, 2);
    assert_false(st.ended);
    tq_session_close(s);
}

static double area(const double *density, double range) {
    double sum = 0;
    for (size_t i = 0; i < TQ_HIST_BINS; i++)
        sum += density[i] * 2 * range / TQ_HIST_BINS;
    return sum;
}

/* Rotated groups are close to N(0, 1) whatever the weights were; the squares of z sum up to d exactly. */
static void rotation_makes_weights_normal(void **state) {
    tq_session *s = open_sample();
    tq_err err = {{0}};
    (void)state;
    for (size_t i = 0; i < tq_model_matrices(tq_session_model(s)); i++) {
        tq_inspection x;
        double distance = 0;
        assert_int_equal(tq_session_inspect(s, i, &x, &err), TQ_OK);
        assert_true(fabs(area(x.stored, x.range) - 1) < 1e-9 && fabs(area(x.rotated, x.range) - 1) < 1e-9);
        for (size_t b = 0; b < TQ_HIST_BINS; b++) {
            double width = 2 * x.range / TQ_HIST_BINS, low = -x.range + (double)b * width;
            double normal = (erf((low + width) / sqrt(2)) - erf(low / sqrt(2))) / 2;
            distance += fabs(x.rotated[b] * width - normal);
        }
        /* A sphere in 128 dimensions has kurtosis 3 * 128 / 130; the rest is the noise of at least 2^16 samples. */
        assert_true(distance < 0.05);
        assert_true(fabs(x.kurtosis_rotated - 3) < 0.15);
        assert_true(x.norm_min <= x.norm_median && x.norm_median <= x.norm_max && x.rms > 0 && x.absmax >= x.rms);
    }
    tq_session_close(s);
}

static void what_cannot_be_is_refused(void **state) {
    static const tq_eval_options too_long = {.ctx = 1U << 20};
    tq_session *s = NULL;
    tq_eval_result r;
    tq_err err = {{0}};
    (void)state;
    assert_int_equal(tq_session_open(MODEL, &(tq_session_options){.cpu = "z80"}, &s, &err), TQ_FAIL);
    assert_non_null(strstr(err.msg, "z80"));
    assert_int_equal(tq_session_open(MODEL, &(tq_session_options){.threads = 1}, &s, &err), TQ_OK);
    assert_int_equal(tq_session_eval(s, &coarse, NULL, NULL, NULL, &r, &err), TQ_FAIL); /* no text */
    assert_int_equal(tq_session_set_text(s, "short", "Hello", 5, &err), TQ_OK);
    assert_int_equal(tq_session_eval(s, &coarse, NULL, NULL, NULL, &r, &err), TQ_FAIL);
    assert_non_null(strstr(err.msg, "short"));
    assert_int_equal(tq_session_eval(s, &too_long, NULL, NULL, NULL, &r, &err), TQ_FAIL);
    assert_non_null(strstr(err.msg, "at most"));
    tq_session_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_differs_is_quantized),  cmocka_unit_test(memory_is_what_is_held),
        cmocka_unit_test(evaluation_goes_on_where_it_was), cmocka_unit_test(cancelling_leaves_the_rest_stale),
        cmocka_unit_test(figures_go_stale_with_the_plan),  cmocka_unit_test(trying_changes_nothing),
        cmocka_unit_test(the_cache_changes_no_answer),     cmocka_unit_test(an_answer_stops_when_told),
        cmocka_unit_test(rotation_makes_weights_normal),   cmocka_unit_test(what_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
