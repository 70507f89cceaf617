/* test_ends.c - embedding and output head as matrices that are packed: looked up and multiplied as their dequantized
 * selves, tied and untied; evaluated, explained, calibrated. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/session.h"
#include "model/weights_internal.h"
#include "tests/logits_fixture.h"
#include "tests/session_fixture.h"

static const char *const models[] = {"qwen3-tied", "gemma3-small", "qwen3-untied", "llama-untied", "smollm2-f16"};
enum { MODELS = sizeof models / sizeof *models, TOKENS = 24, CTX = 16, WINDOWS = 3 };

/* Packed products against double: what fp32 sums of these lengths cost, relative to the largest logit. */
#define PRODUCT_TOLERANCE 2e-6

/* All rows in the original basis: [rows, cols]. */
static float *dense(const tq_qmatrix *q) {
    float *w = calloc(tq_qmatrix_rows(q) * tq_qmatrix_cols(q), sizeof *w);
    float *scratch = calloc(tq_qmatrix_scratch(q) + 1, sizeof *scratch);
    assert_true(w && scratch);
    tq_qmatrix_dequantize_rows(q, 0, tq_qmatrix_rows(q), w, scratch);
    free(scratch);
    return w;
}

/* Rows of the dequantized matrix times the scale, to the last bit. */
static void check_lookup(logits_fixture *f, tq_variant q, const float *w) {
    size_t hidden = f->config.hidden, n = f->config.vocab;
    int *ids = calloc(n, sizeof *ids);
    float *h = calloc(n * hidden, sizeof *h);
    tq_err err = {{0}};
    assert_true(ids && h);
    for (size_t i = 0; i < n; i++)
        ids[i] = (int)((i * 7919 + 3) % n); /* any order, some twice */
    assert_int_equal(tq_forward_embed(f->forward, q, ids, n, h, &err), TQ_OK);
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < hidden; k++)
            if (h[i * hidden + k] != w[(size_t)ids[i] * hidden + k] * f->config.embedding_scale)
                fail_msg("token %d, value %zu: %g", ids[i], k, (double)h[i * hidden + k]);
    assert_int_equal(tq_forward_embed(f->forward, q, &(int){(int)n}, 1, h, &err), TQ_FAIL);
    free(ids);
    free(h);
}

/* Logits of some states against the dequantized matrix in double; returns the largest difference over the largest
 * logit. */
static double head_error(logits_fixture *f, tq_variant q, const float *w) {
    size_t hidden = f->config.hidden, vocab = f->config.vocab;
    float *h = calloc(TOKENS * hidden, sizeof *h), *x = calloc(TOKENS * hidden, sizeof *x);
    float *logits = calloc(TOKENS * vocab, sizeof *logits);
    double worst = 0, most = 0;
    tq_err err = {{0}};
    assert_true(h && x && logits);
    assert_int_equal(tq_forward_embed(f->forward, NULL, f->ids, TOKENS, h, &err), TQ_OK);
    tq_forward_final_norm(f->forward, h, TOKENS, x);
    assert_int_equal(tq_forward_logits(f->forward, q, h, TOKENS, logits, &err), TQ_OK);
    for (size_t t = 0; t < TOKENS; t++)
        for (size_t v = 0; v < vocab; v++) {
            double sum = 0;
            for (size_t k = 0; k < hidden; k++)
                sum += (double)x[t * hidden + k] * (double)w[v * hidden + k];
            worst = fmax(worst, fabs(sum - (double)logits[t * vocab + v]));
            most = fmax(most, fabs(sum));
        }
    free(h);
    free(x);
    free(logits);
    return worst / most;
}

static void lookup_and_logits_are_the_dequantized_matrix(void **state) {
    static const struct {
        tq_bits bits;
        size_t group;
        tq_residual residual;
    } specs[] = {{TQ_BITS_4, 128, TQ_RESIDUAL_NESTED},
                 {TQ_BITS_4T, 32, TQ_RESIDUAL_NESTED},
                 {TQ_BITS_4_2, TQ_GROUP_ROW, TQ_RESIDUAL_NESTED},
                 {TQ_BITS_4_4, 64, TQ_RESIDUAL_NESTED},
                 {TQ_BITS_4_4, 32, TQ_RESIDUAL_INDEPENDENT}};
    (void)state;
    for (size_t m = 0; m < MODELS; m++)
        for (size_t k = 0; k < sizeof specs / sizeof *specs; k++) {
            logits_fixture f;
            logits_fixture_open(&f, models[m], 2);
            size_t n = tq_model_matrices(f.model), embedding = tq_model_embedding(f.model);
            size_t head = tq_model_head(f.model);
            tq_qmatrix **q = calloc(n, sizeof(tq_qmatrix *));
            assert_int_equal(head == embedding, f.config.tied);
            assert_int_equal(n, tq_model_block_matrices(f.model) + (f.config.tied ? 1 : 2));
            for (size_t i = embedding; i < n; i++)
                q[i] = logits_pack(&f, i, specs[k].bits, specs[k].group, specs[k].residual);
            float *w = dense(q[embedding]), *out = head == embedding ? w : dense(q[head]);
            check_lookup(&f, q, w);
            double error = head_error(&f, q, out);
            if (error > PRODUCT_TOLERANCE) fail_msg("%s, spec %zu: logits differ by %.1e", models[m], k, error);
            if (out != w) free(out);
            free(w);
            for (size_t i = embedding; i < n; i++)
                tq_qmatrix_free(q[i]);
            free(q);
            logits_fixture_close(&f);
        }
}

/* Whatever the number of threads, to the last bit. */
static void threads_do_not_matter(void **state) {
    (void)state;
    for (size_t m = 0; m < MODELS; m += 2) {
        float *first = NULL;
        size_t size = 0;
        for (int threads = 1; threads <= 3; threads++) {
            logits_fixture f;
            logits_fixture_open(&f, models[m], threads);
            tq_qmatrix **q = logits_variant_new(&f, TQ_BITS_4, 64, TQ_RESIDUAL_NESTED);
            for (size_t i = tq_model_block_matrices(f.model); i < tq_model_matrices(f.model); i++)
                q[i] = logits_pack(&f, i, TQ_BITS_4_2, 64, TQ_RESIDUAL_NESTED);
            float *logits = logits_blocked(&f, q, f.ids, 1, TOKENS);
            size = TOKENS * f.config.vocab * sizeof *logits;
            if (first)
                assert_memory_equal(first, logits, size);
            else
                first = logits;
            if (first != logits) free(logits);
            logits_variant_free(&f, q);
            logits_fixture_close(&f);
        }
        free(first);
    }
}

/* --- evaluation --- */

static tq_evaluator *new_evaluator(const logits_fixture *f) {
    int ids[WINDOWS * CTX];
    tq_evaluator *e = NULL;
    tq_err err = {{0}};
    for (size_t i = 0; i < WINDOWS * CTX; i++)
        ids[i] = f->ids[(i * 7 + i / 5) % f->n_ids];
    assert_int_equal(
        tq_evaluator_new(f->model, f->pool, ids, WINDOWS * CTX, &(tq_eval_options){.ctx = CTX}, 0, &e, &err), TQ_OK);
    return e;
}

static tq_eval_result run(tq_evaluator *e, tq_variant q) {
    tq_eval_result r;
    tq_err err = {{0}};
    int rc = tq_evaluator_run(e, q, NULL, NULL, NULL, &r, &err);
    if (rc != TQ_OK) print_error("%s\n", err.msg);
    assert_int_equal(rc, TQ_OK);
    return r;
}

static double fresh(const logits_fixture *f, tq_variant q) {
    tq_evaluator *e = new_evaluator(f);
    tq_eval_result r = run(e, q);
    tq_evaluator_free(e);
    return r.kld_mean;
}

/* Ends that come and go among packed blocks: what is kept of the run before gives what a new evaluator gives, a head
 * alone runs no block, and all kept again is exactly 0. */
static void evaluation_follows(void **state) {
    (void)state;
    for (size_t m = 0; m < MODELS; m++) {
        logits_fixture f;
        logits_fixture_open(&f, models[m], 2);
        size_t n = tq_model_matrices(f.model), embedding = tq_model_embedding(f.model), head = tq_model_head(f.model);
        size_t blocks = f.config.blocks, last = tq_model_block_matrices(f.model) - 1;
        tq_qmatrix **all = logits_variant_new(&f, TQ_BITS_4, 64, TQ_RESIDUAL_NESTED);
        for (size_t i = embedding; i < n; i++)
            all[i] = logits_pack(&f, i, TQ_BITS_4, 64, TQ_RESIDUAL_NESTED);
        tq_qmatrix **mix = calloc(n, sizeof(tq_qmatrix *));
        tq_evaluator *e = new_evaluator(&f);
        (void)run(e, mix);
        const size_t steps[] = {head, last, head, embedding, last, head, embedding, 0, embedding, 0, head};
        for (size_t k = 0; k < sizeof steps / sizeof *steps; k++) {
            size_t i = steps[k];
            mix[i] = mix[i] ? NULL : all[i];
            tq_evaluator_touch(e, tq_model_reach(f.model, i));
            tq_eval_result r = run(e, mix);
            assert_true(r.kld_mean == fresh(&f, mix));
            if (i == head && head != embedding) assert_int_equal(r.blocks_run, 0);
            if (i == embedding && mix[i]) assert_int_equal(r.blocks_run, blocks);
        }
        for (size_t i = 0; i < n; i++)
            mix[i] = NULL;
        tq_evaluator_touch(e, 0);
        tq_eval_result none = run(e, mix);
        assert_true(none.kld_mean == 0 && none.kld_max == 0 && none.same_top == 1 && none.ppl == none.ppl_base);
        free(mix);
        tq_evaluator_free(e);
        logits_variant_free(&f, all);
        logits_fixture_close(&f);
    }
}

/* A matrix in place of the head alone changes predictions; in place of the embedding too; their sum is no surprise. */
static void more_bits_diverge_less(void **state) {
    static const tq_bits bits[] = {TQ_BITS_4, TQ_BITS_4_2, TQ_BITS_4_4};
    (void)state;
    for (size_t m = 0; m < MODELS; m++) {
        logits_fixture f;
        logits_fixture_open(&f, models[m], 2);
        size_t n = tq_model_matrices(f.model);
        for (size_t i = tq_model_block_matrices(f.model); i < n; i++) {
            double before = INFINITY;
            for (size_t k = 0; k < 3; k++) {
                tq_qmatrix **q = calloc(n, sizeof(tq_qmatrix *));
                q[i] = logits_pack(&f, i, bits[k], 64, TQ_RESIDUAL_NESTED);
                double kld = fresh(&f, q);
                assert_true(kld > 0 && kld < before / 2);
                before = kld;
                tq_qmatrix_free(q[i]);
                free(q);
            }
        }
        logits_fixture_close(&f);
    }
}

/* --- the session --- */

/* What is looked up has plain codes under every calibration, and the blocks are calibrated beside it. */
static void embeddings_are_not_calibrated(void **state) {
    static const char *const rules[] = {"*=4", "embed_tokens=4"};
    static const tq_calibrate kinds[] = {TQ_CALIBRATE_LDLQ, TQ_CALIBRATE_ASYM};
    (void)state;
    for (size_t k = 0; k < 2; k++) {
        tq_session *s = open_session(LOGITS_SAMPLE, 2);
        tq_common common = tq_common_default();
        const tq_model *m = tq_session_model(s);
        tq_err err = {{0}};
        tq_eval_result plain, calibrated;
        tq_eval_options o = {.ctx = 128, .tokens = 1024};
        assert_int_equal(tq_session_load_text(s, "samples/eval.txt", &err), TQ_OK);
        assert_int_equal(
            tq_session_set_calibration(s, "samples/calib.txt", &(tq_calib_options){.tokens = 2048}, NULL, &err), TQ_OK);
        set_rules(s, &common, rules, 2);
        assert_int_equal(tq_session_eval(s, &o, NULL, NULL, NULL, &plain, &err), TQ_OK);
        tq_distortion before = tq_session_figures(s, tq_model_embedding(m)).distortion;
        common.calibrate = kinds[k];
        set_rules(s, &common, rules, 2);
        assert_int_equal(tq_session_eval(s, &o, NULL, NULL, NULL, &calibrated, &err), TQ_OK);
        tq_matrix_figures f = tq_session_figures(s, tq_model_embedding(m));
        assert_true(f.ready && !f.calibrated && f.distortion.rel_mse == before.rel_mse);
        assert_true(tq_session_figures(s, 0).calibrated);
        assert_int_equal(tq_session_stale(s), 0);
        assert_true(k == 1 || calibrated.kld_mean < plain.kld_mean); /* asym needs more tokens than these */
        tq_session_close(s);
    }
}

/* Untied, the head has an input like any other matrix. No text is needed: token ids go in. */
static void heads_are_calibrated(void **state) {
    logits_fixture f;
    tq_calibration *c = NULL;
    tq_err err = {{0}};
    tq_moment moment;
    int ids[2 * TQ_CALIB_CTX];
    (void)state;
    logits_fixture_open(&f, "llama-untied", 2);
    size_t head = tq_model_head(f.model), hidden = f.config.hidden, n = sizeof ids / sizeof *ids;
    for (size_t i = 0; i < n; i++)
        ids[i] = f.ids[(i * 7 + i / 5) % f.n_ids];
    assert_int_equal(tq_calibration_new(f.model, f.pool, ids, n, n, "0123456789abcdef", NULL, &c, &err), TQ_OK);
    assert_int_equal(tq_calibration_moment(c, head, NULL, &moment, &err), TQ_OK);
    assert_int_equal(moment.n, hidden);
    /* The mean of x x^T over all tokens, by the plain way. */
    float *h = calloc(n * hidden, sizeof *h), *x = calloc(n * hidden, sizeof *x);
    assert_int_equal(tq_forward_embed(f.forward, NULL, ids, n, h, &err), TQ_OK);
    for (size_t b = 0; b < f.config.blocks; b++)
        assert_int_equal(tq_forward_block(f.forward, NULL, b, h, n / TQ_CALIB_CTX, TQ_CALIB_CTX, NULL, &err), TQ_OK);
    tq_forward_final_norm(f.forward, h, n, x);
    for (size_t i = 0; i < hidden; i += 5)
        for (size_t j = 0; j < hidden; j += 3) {
            double sum = 0;
            for (size_t t = 0; t < n; t++)
                sum += (double)x[t * hidden + i] * (double)x[t * hidden + j];
            assert_true(fabs(sum / (double)n - (double)moment.xx[i * hidden + j]) < 1e-4);
        }
    free(h);
    free(x);
    tq_calibration_free(c);
    logits_fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lookup_and_logits_are_the_dequantized_matrix),
        cmocka_unit_test(threads_do_not_matter),
        cmocka_unit_test(evaluation_follows),
        cmocka_unit_test(more_bits_diverge_less),
        cmocka_unit_test(embeddings_are_not_calibrated),
        cmocka_unit_test(heads_are_calibrated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
