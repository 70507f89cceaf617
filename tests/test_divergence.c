/* Divergence: all kept is exactly zero, an incremental run is a full one bit for bit, cancelling leaves nothing half
 * done, little memory changes nothing but the work, more bits diverge less; figures against a plain computation. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/divergence.h"
#include "tests/logits_fixture.h"

#define CTX 32
#define WINDOWS 12

/* A text of WINDOWS windows and a bit. */
static int *make_text(const logits_fixture *f, size_t *n) {
    *n = WINDOWS * CTX + 7;
    int *ids = calloc(*n, sizeof *ids);
    assert_non_null(ids);
    for (size_t i = 0; i < *n; i++)
        ids[i] = f->ids[(i * 7 + i / 5) % f->n_ids];
    return ids;
}

static tq_evaluator *new_evaluator(const logits_fixture *f, const tq_eval_options *o, size_t limit) {
    size_t n = 0;
    int *ids = make_text(f, &n);
    tq_evaluator *e = NULL;
    tq_err err = {""};
    int rc = tq_evaluator_new(f->model, f->pool, ids, n, o, limit, &e, &err);
    if (rc != TQ_OK) print_error("%s\n", err.msg);
    assert_int_equal(rc, TQ_OK);
    free(ids);
    return e;
}

static tq_eval_result run(tq_evaluator *e, tq_variant q) {
    tq_eval_result r;
    tq_err err = {""};
    int rc = tq_evaluator_run(e, q, NULL, NULL, NULL, &r, &err);
    if (rc != TQ_OK) print_error("%s\n", err.msg);
    assert_int_equal(rc, TQ_OK);
    return r;
}

static void assert_same_figures(tq_eval_result a, tq_eval_result b) {
    a.seconds = b.seconds = 0.0;
    a.blocks_run = b.blocks_run = 0;
    assert_int_equal(a.tokens, b.tokens);
    assert_int_equal(a.windows, b.windows);
    const double x[] = {a.ppl_base, a.ppl,     a.kld_mean, a.kld_stderr, a.kld_median, a.kld_p90,   a.kld_p99,
                        a.kld_p999, a.kld_max, a.same_top, a.dp_mean,    a.dp_rms,     a.ppl_ratio, a.ppl_ratio_stderr};
    const double y[] = {b.ppl_base, b.ppl,     b.kld_mean, b.kld_stderr, b.kld_median, b.kld_p90,   b.kld_p99,
                        b.kld_p999, b.kld_max, b.same_top, b.dp_mean,    b.dp_rms,     b.ppl_ratio, b.ppl_ratio_stderr};
    assert_memory_equal(x, y, sizeof x);
}

static void assert_exact_zero(const tq_eval_result *r) {
    assert_true(r->kld_mean == 0.0 && r->kld_stderr == 0.0 && r->kld_median == 0.0 && r->kld_max == 0.0);
    assert_true(r->same_top == 1.0);
    assert_true(r->dp_mean == 0.0 && r->dp_rms == 0.0);
    assert_true(r->ppl == r->ppl_base && r->ppl_ratio == 1.0 && r->ppl_ratio_stderr == 0.0);
}

static void test_keep_is_zero(void **state) {
    (void)state;
    const char *const names[] = {"qwen3_5-tied", "llama-rope-linear", "mistral-window-f32", "qwen3_5_moe-small"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        logits_fixture f;
        logits_fixture_open(&f, names[i], 2);
        tq_evaluator *e = new_evaluator(&f, &(tq_eval_options){.ctx = CTX}, 0);
        tq_qmatrix **none = calloc(tq_model_matrices(f.model), sizeof(tq_qmatrix *));
        tq_eval_result r = run(e, none);
        assert_exact_zero(&r);
        assert_int_equal(r.windows, WINDOWS);
        assert_int_equal(r.tokens, WINDOWS * (CTX - 1));
        assert_int_equal(r.blocks_run, f.config.blocks);
        assert_true(r.ppl > 1.0);
        r = run(e, NULL);
        assert_exact_zero(&r);
        assert_int_equal(r.blocks_run, 0);
        free(none);
        tq_evaluator_free(e);
        logits_fixture_close(&f);
    }
}

/* KLD, perplexity and the rest computed the plain way from all logits. */
static void check_plain(logits_fixture *f, tq_variant q, bool half, const tq_eval_result *r) {
    size_t n = 0, vocab = f->config.vocab, count = 0, same = 0, first = half ? CTX / 2 : 0;
    int *ids = make_text(f, &n);
    float *base = logits_blocked(f, NULL, ids, WINDOWS, CTX), *quant = logits_blocked(f, q, ids, WINDOWS, CTX);
    double kld = 0.0, nll_base = 0.0, nll = 0.0, dp = 0.0, dp2 = 0.0, worst = 0.0;
    for (size_t w = 0; w < WINDOWS; w++) {
        for (size_t t = first; t + 1 < CTX; t++) {
            const float *x = base + (w * CTX + t) * vocab, *y = quant + (w * CTX + t) * vocab;
            double sum_x = 0.0, sum_y = 0.0, here = 0.0;
            size_t top_x = 0, top_y = 0, target = (size_t)ids[w * CTX + t + 1];
            for (size_t i = 0; i < vocab; i++) {
                sum_x += exp((double)x[i]);
                sum_y += exp((double)y[i]);
                if (x[i] > x[top_x]) top_x = i;
                if (y[i] > y[top_y]) top_y = i;
            }
            for (size_t i = 0; i < vocab; i++) {
                double p = (double)x[i] - log(sum_x);
                here += exp(p) * (p - ((double)y[i] - log(sum_y)));
            }
            double p = (double)x[target] - log(sum_x), s = (double)y[target] - log(sum_y);
            kld += here;
            if (here > worst) worst = here;
            nll_base -= p;
            nll -= s;
            dp += exp(s) - exp(p);
            dp2 += (exp(s) - exp(p)) * (exp(s) - exp(p));
            same += top_x == top_y;
            count++;
        }
    }
    double m = (double)count;
    /* Single-precision exponentials inside the kernel: 1e-5 of the value, with a floor where the value is small. */
    assert_int_equal(r->tokens, count);
    assert_true(fabs(r->kld_mean - kld / m) <= 1e-5 * kld / m + 1e-7);
    assert_true(fabs(r->kld_max - worst) <= 1e-4 * worst);
    assert_true(fabs(r->ppl_base / exp(nll_base / m) - 1.0) < 1e-5);
    assert_true(fabs(r->ppl / exp(nll / m) - 1.0) < 1e-5);
    assert_true(fabs(r->ppl_ratio / exp((nll - nll_base) / m) - 1.0) < 1e-5);
    assert_true(fabs(r->dp_mean - dp / m) < 1e-6);
    assert_true(fabs(r->dp_rms - sqrt(dp2 / m)) < 1e-6);
    assert_true(fabs(r->same_top - (double)same / m) < 1.5 / m); /* one position may be a tie */
    free(ids);
    free(base);
    free(quant);
}

static void test_figures(void **state) {
    (void)state;
    logits_fixture f;
    logits_fixture_open(&f, "qwen3_5-untied", 2);
    tq_qmatrix **q = logits_variant_new(&f, TQ_BITS_4, 64, TQ_RESIDUAL_NESTED);
    for (int half = 0; half < 2; half++) {
        tq_evaluator *e = new_evaluator(&f, &(tq_eval_options){.ctx = CTX, .score_half = half}, 0);
        tq_eval_result r = run(e, q);
        check_plain(&f, q, half, &r);
        assert_true(r.kld_median <= r.kld_p90 && r.kld_p90 <= r.kld_p99 && r.kld_p99 <= r.kld_p999);
        assert_true(r.kld_p999 <= r.kld_max && r.kld_stderr > 0.0 && r.kld_stderr < r.kld_mean);
        tq_evaluator_free(e);
    }
    logits_variant_free(&f, q);
    logits_fixture_close(&f);
}

static void test_more_bits_diverge_less(void **state) {
    (void)state;
    const char *const names[] = {"qwen3_5-tied", "qwen3-untied", "smollm2-f16"};
    const tq_bits bits[] = {TQ_BITS_4, TQ_BITS_4_2, TQ_BITS_4_4};
    for (size_t i = 0; i < 3; i++) {
        logits_fixture f;
        logits_fixture_open(&f, names[i], 2);
        tq_evaluator *e = new_evaluator(&f, &(tq_eval_options){.ctx = CTX}, 0);
        double last = INFINITY;
        for (size_t k = 0; k < 3; k++) {
            tq_qmatrix **q = logits_variant_new(&f, bits[k], 128, TQ_RESIDUAL_NESTED);
            tq_evaluator_touch(e, 0);
            tq_eval_result r = run(e, q);
            print_message("%-16s %-4s kld %.3e +- %.1e  p99 %.1e  same top %.3f  ppl ratio %.4f\n", names[i],
                          tq_bits_get(bits[k])->name, r.kld_mean, r.kld_stderr, r.kld_p99, r.same_top, r.ppl_ratio);
            assert_true(r.kld_mean > 0.0 && r.kld_mean < last / 2.0);
            last = r.kld_mean;
            logits_variant_free(&f, q);
        }
        tq_evaluator_free(e);
        logits_fixture_close(&f);
    }
}

/* Changes of single blocks, each followed by a run that is held against a new evaluator's. limit: of memory. */
static void check_incremental(const char *name, size_t limit, bool exact_blocks) {
    logits_fixture f;
    logits_fixture_open(&f, name, 2);
    tq_eval_options o = {.ctx = CTX};
    size_t n = tq_model_block_matrices(f.model), blocks = f.config.blocks;
    tq_qmatrix **four = logits_variant_new(&f, TQ_BITS_4, 128, TQ_RESIDUAL_NESTED);
    tq_qmatrix **eight = logits_variant_new(&f, TQ_BITS_4_4, 64, TQ_RESIDUAL_INDEPENDENT);
    tq_qmatrix **mix = calloc(tq_model_matrices(f.model), sizeof(tq_qmatrix *));
    tq_evaluator *e = new_evaluator(&f, &o, limit);
    (void)run(e, mix);
    for (size_t step = 0; step < 12; step++) {
        size_t i = step * 11 % n, block = tq_model_matrix(f.model, i)->block;
        mix[i] = step % 4 == 3 ? NULL : step % 2 ? eight[i] : four[i];
        tq_evaluator_touch(e, block);
        tq_eval_result a = run(e, mix);
        if (exact_blocks) assert_true(a.blocks_run == blocks - block || a.blocks_run == 0);
        tq_evaluator *fresh = new_evaluator(&f, &o, 0);
        assert_same_figures(a, run(fresh, mix));
        tq_evaluator_free(fresh);
        assert_same_figures(a, run(e, mix)); /* nothing is run again */
    }
    tq_evaluator_free(e);
    free(mix);
    logits_variant_free(&f, four);
    logits_variant_free(&f, eight);
    logits_fixture_close(&f);
}

static void test_incremental(void **state) {
    (void)state;
    check_incremental("qwen3_5-tied", 0, true);
    check_incremental("llama-untied", 0, true);
    check_incremental("qwen3_moe-fused-small", 0, true);
}

static void test_little_memory(void **state) {
    (void)state;
    size_t one = (size_t)WINDOWS * CTX * 64 * sizeof(float);
    check_incremental("qwen3_5-tied", 3 * one, false);
    check_incremental("qwen3_5-tied", 4 * one, false);
    check_incremental("qwen3_5-tied", 1, false);
}

/* Cancels when so many reports have come. */
typedef struct canceller {
    atomic_bool cancel;
    int left;
    double done, total;
} canceller;

static void count_down(void *ctx, double done, double total) {
    canceller *c = ctx;
    assert_true(done >= c->done && done <= total * (1.0 + 1e-9));
    c->done = done;
    c->total = total;
    if (c->left-- == 0) atomic_store(&c->cancel, true);
}

static void test_cancel(void **state) {
    (void)state;
    logits_fixture f;
    logits_fixture_open(&f, "qwen3_5-tied", 2);
    tq_qmatrix **q = logits_variant_new(&f, TQ_BITS_4, 64, TQ_RESIDUAL_NESTED);
    tq_eval_options o = {.ctx = CTX};
    tq_evaluator *whole = new_evaluator(&f, &o, 0);
    tq_eval_result want = run(whole, q);
    tq_evaluator_free(whole);
    int cancelled = 0;
    for (int stop = -1; stop < 12; stop++) { /* -1: cancelled before it starts */
        tq_evaluator *e = new_evaluator(&f, &o, stop % 2 ? 0 : 1);
        canceller c = {.cancel = stop < 0, .left = stop};
        tq_progress p = {.report = count_down, .ctx = &c, .cancel = &c.cancel};
        tq_eval_result r;
        tq_err err = {""};
        int rc = tq_evaluator_run(e, q, &p, NULL, NULL, &r, &err);
        assert_true(rc == TQ_CANCELLED || rc == TQ_OK);
        cancelled += rc == TQ_CANCELLED;
        if (rc == TQ_OK) assert_true(fabs(c.done / c.total - 1.0) < 1e-9);
        tq_evaluator_touch(e, 1); /* a change meanwhile */
        assert_same_figures(want, run(e, q));
        tq_evaluator_free(e);
    }
    assert_true(cancelled >= 6);
    logits_variant_free(&f, q);
    logits_fixture_close(&f);
}

typedef struct partials {
    int calls;
    size_t tokens;
} partials;

static void take_partial(void *ctx, const tq_eval_result *so_far) {
    partials *p = ctx;
    assert_true(so_far->tokens > p->tokens);
    assert_true(so_far->kld_mean > 0.0 && so_far->ppl > 1.0);
    p->tokens = so_far->tokens;
    p->calls++;
}

static void test_partial_figures(void **state) {
    (void)state;
    logits_fixture f;
    logits_fixture_open(&f, "qwen3-tied", 2);
    tq_qmatrix **q = logits_variant_new(&f, TQ_BITS_4, 64, TQ_RESIDUAL_NESTED);
    size_t n = 4096;
    int *ids = calloc(n, sizeof *ids);
    for (size_t i = 0; i < n; i++)
        ids[i] = f.ids[(i * 3 + i / 7) % f.n_ids];
    tq_evaluator *e = NULL;
    tq_err err = {""};
    assert_int_equal(tq_evaluator_new(f.model, f.pool, ids, n, &(tq_eval_options){.ctx = 128}, 0, &e, &err), TQ_OK);
    partials p = {0};
    tq_eval_result r;
    assert_int_equal(tq_evaluator_run(e, q, NULL, take_partial, &p, &r, &err), TQ_OK);
    assert_int_equal(r.tokens, 32 * 127);
    assert_in_range(p.calls, 5, 12);
    tq_evaluator_free(e);
    free(ids);
    logits_variant_free(&f, q);
    logits_fixture_close(&f);
}

static void test_options(void **state) {
    (void)state;
    logits_fixture f;
    logits_fixture_open(&f, "qwen3-tied", 1);
    tq_evaluator *e = new_evaluator(&f, &(tq_eval_options){.ctx = CTX, .tokens = 3 * CTX + 1}, 0);
    tq_eval_result r = run(e, NULL);
    assert_int_equal(r.windows, 3);
    tq_evaluator_free(e);
    e = new_evaluator(&f, &(tq_eval_options){.ctx = CTX, .tokens = 5}, 0); /* at least one window */
    r = run(e, NULL);
    assert_int_equal(r.windows, 1);
    tq_evaluator_free(e);
    tq_err err = {""};
    assert_int_equal(tq_evaluator_new(f.model, f.pool, f.ids, 20, &(tq_eval_options){.ctx = CTX}, 0, &e, &err),
                     TQ_FAIL);
    assert_non_null(strstr(err.msg, "20 tokens"));
    int bad[CTX] = {0};
    bad[5] = 320;
    assert_int_equal(tq_evaluator_new(f.model, f.pool, bad, CTX, &(tq_eval_options){.ctx = CTX}, 0, &e, &err), TQ_OK);
    assert_int_equal(tq_evaluator_run(e, NULL, NULL, NULL, NULL, &r, &err), TQ_FAIL);
    assert_non_null(strstr(err.msg, "token 320"));
    tq_evaluator_free(e);
    logits_fixture_close(&f);
}

static void test_threads(void **state) {
    (void)state;
    tq_eval_result first = {0};
    for (int threads = 1; threads <= 3; threads++) {
        logits_fixture f;
        logits_fixture_open(&f, "qwen3_5-untied", threads);
        tq_qmatrix **q = logits_variant_new(&f, TQ_BITS_4_2, 64, TQ_RESIDUAL_NESTED);
        tq_evaluator *e = new_evaluator(&f, &(tq_eval_options){.ctx = CTX}, 0);
        tq_eval_result r = run(e, q);
        if (threads == 1)
            first = r;
        else
            assert_same_figures(first, r);
        tq_evaluator_free(e);
        logits_variant_free(&f, q);
        logits_fixture_close(&f);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keep_is_zero),
        cmocka_unit_test(test_figures),
        cmocka_unit_test(test_more_bits_diverge_less),
        cmocka_unit_test(test_incremental),
        cmocka_unit_test(test_little_memory),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_partial_figures),
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests_name("divergence", tests, NULL, NULL);
}
