/* test_experts.c - what only mixtures of experts have: matrices that are parts of one tensor, routes, moments of the
 * tokens that reach an expert, rules and rows for a kind of experts, exports of both layouts. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/calibration.h"
#include "model/packed.h"
#include "model/session.h"
#include "tests/logits_fixture.h"
#include "tests/scratch.h"
#include "tests/session_fixture.h"
#include "tui/table.h"

#define FUSED "qwen3_5_moe-fused-multimodal-small"
enum { EXPERTS = 6, TOKENS = 1024 };

/* Both layouts give the same matrices: names, order, shapes, and bytes in their places. */
static void matrices_are_those_of_experts(void **state) {
    static const struct {
        const char *fixture, *prefix;
        size_t block, first, sizes; /* first: the matrix of expert 0's gate */
    } cases[] = {{"qwen3_moe-small", "model.", 0, 4, 24}, {FUSED, "model.language_model.", 1, 6 + 18 + 7, 24}};
    (void)state;
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        logits_fixture f;
        char name[128];
        size_t bytes = 0, weights = 0;
        logits_fixture_open(&f, cases[k].fixture, 1);
        for (size_t e = 0; e < EXPERTS; e++) {
            static const char *const kinds[] = {"gate_proj", "up_proj", "down_proj"};
            for (size_t r = 0; r < 3; r++) {
                size_t i = cases[k].first + r * EXPERTS + e;
                const tq_matrix *m = tq_model_matrix(f.model, i);
                (void)snprintf(name, sizeof name, "%slayers.%zu.mlp.experts.%zu.%s", cases[k].prefix, cases[k].block, e,
                               kinds[r]);
                assert_string_equal(m->name, name);
                assert_string_equal(m->label, strstr(name, "mlp."));
                assert_int_equal(m->expert, e);
                (void)snprintf(name, sizeof name, "mlp.experts.*.%s", kinds[r]);
                assert_string_equal(m->group, name);
                assert_int_equal(m->w.rows, r == 2 ? f.config.hidden : cases[k].sizes);
                assert_int_equal(m->w.cols, r == 2 ? cases[k].sizes : f.config.hidden);
                size_t at = (size_t)((const char *)m->w.data - (const char *)m->tensor->data);
                size_t own = m->w.rows * m->w.cols * 2;
                bool one = m->tensor->rank == 2;
                assert_int_equal(at, one ? 0 : r == 2 ? e * own : (2 * e + r) * own);
            }
        }
        for (size_t i = 0; i < tq_model_block_matrices(f.model); i++) {
            bytes += tq_matrix_bytes(&tq_model_matrix(f.model, i)->w);
            weights += tq_model_matrix(f.model, i)->w.rows * tq_model_matrix(f.model, i)->w.cols;
        }
        assert_int_equal(bytes, tq_model_matrix_bytes(f.model));
        assert_int_equal(weights, tq_model_matrix_weights(f.model));
        assert_null(strstr(tq_model_note(f.model), "other"));
        logits_fixture_close(&f);
    }
}

/* Packed, in fp32 throughout, one token after another and all at once: the routes are the same. With 14-bit integers a
 * token between two experts may take the other one, so that nothing so small holds there. */
static void exact_decoding_is_the_blocks(void **state) {
    static const char *const names[] = {FUSED, "qwen3_moe-small", "qwen3_moe-fused-small", "qwen3_5_moe-small"};
    (void)state;
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        logits_fixture f;
        tq_err err = {""};
        logits_fixture_open(&f, names[k], 2);
        tq_qmatrix **q = logits_variant_new(&f, TQ_BITS_4_4, 64, TQ_RESIDUAL_INDEPENDENT);
        float *all = logits_blocked(&f, q, f.ids, 1, f.n_ids), *one = calloc(f.config.vocab, sizeof *one), worst = 0.0F;
        tq_cache *c = tq_cache_new(f.model, f.n_ids, &err);
        assert_true(c && one);
        tq_forward_set_arithmetic(f.forward, TQ_ARITHMETIC_EXACT);
        for (size_t i = 0; i < f.n_ids; i++) {
            check(tq_forward_append(f.forward, q, c, f.ids + i, 1, one, NULL, &err), &err);
            float d = logits_max_diff(one, all + i * f.config.vocab, f.config.vocab);
            if (!(d <= worst)) worst = d;
        }
        print_message("%-36s exact decode against blocks %.1e\n", names[k], (double)worst);
        assert_true(worst <= 1e-3F);
        tq_cache_free(c);
        free(all);
        free(one);
        logits_variant_free(&f, q);
        logits_fixture_close(&f);
    }
}

/* --- exports --- */

static tq_session *open_planned(const char *fixture, const char *const *rules, size_t n) {
    char path[256];
    tq_err err = {{0}};
    (void)snprintf(path, sizeof path, LOGITS_DATA "/%s", fixture);
    tq_session *s = open_session(path, 2);
    set_rules(s, NULL, rules, n);
    check(tq_session_apply(s, NULL, NULL, NULL, &err), &err);
    return s;
}

/* Some experts of a tensor packed, some kept: all packed ones come back as they were, kept ones as stored. */
static void tq_exports_come_back(void **state) {
    static const char *const rules[] = {"*=4", "*.experts.*.down_proj=4+4:32", "2.*=keep", "*.experts.3.*=keep"};
    static const char *const names[] = {FUSED, "qwen3_moe-small", "qwen3_moe-fused-small"};
    (void)state;
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        char path[256];
        tq_err err = {{0}};
        tq_session *s = open_planned(names[k], rules, 4);
        (void)snprintf(path, sizeof path, "%s/tq-%s", scratch_dir, names[k]);
        check(tq_session_export(s, TQ_EXPORT_TQ, path, false, NULL, &err), &err);
        tq_session *back = open_session(path, 2);
        size_t n = tq_model_matrices(tq_session_model(s)), vocab = tq_model_config(tq_session_model(s))->vocab;
        assert_int_equal(tq_model_matrices(tq_session_model(back)), n);
        for (size_t i = 0; i < n; i++) {
            const tq_matrix *a = tq_model_matrix(tq_session_model(s), i),
                            *b = tq_model_matrix(tq_session_model(back), i);
            assert_string_equal(a->name, b->name);
            assert_int_equal(tq_session_variant(s)[i] != NULL, b->packed != NULL);
            assert_true(tq_choice_equal(tq_plan_get(tq_session_plan(s), i), tq_plan_get(tq_session_plan(back), i)));
            if (!b->packed) assert_memory_equal(a->w.data, b->w.data, tq_matrix_bytes(&a->w));
        }
        float *x = session_logits(s), *y = session_logits(back);
        assert_memory_equal(x, y, SESSION_TOKENS * vocab * sizeof *x);
        assert_int_equal(tq_session_memory(s).total, tq_session_memory(back).total);
        free(x);
        free(y);
        tq_session_close(back);
        tq_session_close(s);
    }
}

/* The same tensors under the same names, each matrix what it is dequantized, or as stored. */
static void hf_exports_hold_the_effect(void **state) {
    static const char *const rules[] = {"*.experts.*.up_proj=4", "*.experts.*.down_proj=4+4:32", "*.experts.3.*=keep"};
    static const char *const names[] = {FUSED, "qwen3_moe-small"};
    (void)state;
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        char path[256];
        tq_err err = {{0}};
        tq_session *s = open_planned(names[k], rules, 3);
        (void)snprintf(path, sizeof path, "%s/hf-%s", scratch_dir, names[k]);
        check(tq_session_export(s, TQ_EXPORT_HF, path, false, NULL, &err), &err);
        tq_session *back = open_session(path, 2);
        const tq_source *from = tq_model_source(tq_session_model(s)), *to = tq_model_source(tq_session_model(back));
        assert_int_equal(tq_source_count(from), tq_source_count(to));
        for (size_t t = 0; t < tq_source_count(from); t++) {
            const tq_tensor *a = tq_source_at(from, t), *b = tq_source_find(to, a->name);
            assert_non_null(b);
            assert_string_equal(a->dtype_name, b->dtype_name);
            assert_int_equal(a->bytes, b->bytes);
        }
        size_t packed = 0;
        for (size_t i = 0; i < tq_model_matrices(tq_session_model(s)); i++) {
            const tq_matrix *a = tq_model_matrix(tq_session_model(s), i),
                            *b = tq_model_matrix(tq_session_model(back), i);
            const tq_qmatrix *q = tq_session_variant(s)[i];
            if (!q) {
                assert_memory_equal(a->w.data, b->w.data, tq_matrix_bytes(&a->w));
                continue;
            }
            packed++;
            float *scratch = calloc(tq_qmatrix_scratch(q) + 1, sizeof *scratch);
            float *w = calloc(a->w.rows * a->w.cols, sizeof *w);
            uint16_t *half = calloc(a->w.rows * a->w.cols, sizeof *half);
            assert_true(scratch && w && half);
            tq_qmatrix_dequantize_rows(q, 0, a->w.rows, w, scratch);
            tq_k()->f32_to_bf16(half, w, a->w.rows * a->w.cols);
            assert_memory_equal(half, b->w.data, a->w.rows * a->w.cols * sizeof *half);
            free(scratch);
            free(w);
            free(half);
        }
        assert_int_equal(packed, (k ? 2 : 3) * 2 * (EXPERTS - 1)); /* one block of three is dense in the second */
        tq_session_close(back);
        tq_session_close(s);
    }
}

static void gguf_export_is_refused(void **state) {
    char path[256];
    tq_err err = {{0}};
    (void)state;
    tq_session *s = open_session(LOGITS_DATA "/qwen3_moe-small", 2);
    (void)snprintf(path, sizeof path, "%s/x.gguf", scratch_dir);
    assert_int_equal(tq_session_export(s, TQ_EXPORT_GGUF, path, false, NULL, &err), TQ_FAIL);
    print_message("%s\n", err.msg);
    assert_non_null(strstr(err.msg, "architecture"));
    tq_session_close(s);
}

/* --- calibration --- */

static void make_ids(const logits_fixture *f, int *ids, size_t n) {
    for (size_t i = 0; i < n; i++)
        ids[i] = (int)((i * 7919 + i / 3 * 31) % f->config.vocab);
}

/* What the observer adds up by itself. */
typedef struct sums {
    size_t matrix, n;
    double *xx;
    size_t cols;
} sums;

static int add_up(void *ctx, const size_t *matrices, size_t count, const float *x, size_t n, tq_err *err) {
    sums *s = ctx;
    (void)err;
    for (size_t k = 0; k < count; k++) {
        if (matrices[k] != s->matrix) continue;
        s->n += n;
        for (size_t t = 0; t < n; t++)
            for (size_t i = 0; i < s->cols * s->cols; i++)
                s->xx[i] += (double)x[t * s->cols + i / s->cols] * (double)x[t * s->cols + i % s->cols];
    }
    return TQ_OK;
}

static void check_moment(logits_fixture *f, tq_calibration *c, const int *ids, size_t matrix) {
    tq_err err = {""};
    tq_moment m;
    sums s = {.matrix = matrix, .cols = tq_model_matrix(f->model, matrix)->w.cols};
    s.xx = calloc(s.cols * s.cols, sizeof *s.xx);
    float *h = calloc(TOKENS * f->config.hidden, sizeof *h);
    assert_true(s.xx && h);
    check(tq_forward_embed(f->forward, NULL, ids, TOKENS, h, &err), &err);
    tq_forward_observe(f->forward, add_up, &s);
    for (size_t b = 0; b < f->config.blocks; b++)
        check(tq_forward_block(f->forward, NULL, b, h, TOKENS / TQ_CALIB_CTX, TQ_CALIB_CTX, NULL, &err), &err);
    tq_forward_observe(f->forward, NULL, NULL);
    check(tq_calibration_moment(c, matrix, NULL, &m, &err), &err);
    assert_int_equal(m.n, s.cols);
    assert_int_equal(m.xx == NULL, s.n < TQ_CALIB_TOKENS_FEW);
    for (size_t i = 0; m.xx && i < s.cols * s.cols; i++)
        assert_true(fabs((double)m.xx[i] - s.xx[i] / (double)s.n) < 1e-3 * (1 + fabs(s.xx[i] / (double)s.n)));
    free(s.xx);
    free(h);
}

/* An expert's moment is that of the tokens which reach it; gathered, and again from the cache. */
static void experts_see_their_tokens(void **state) {
    char cache[96];
    int ids[TOKENS];
    (void)state;
    (void)snprintf(cache, sizeof cache, "%s/cache", scratch_dir);
    for (int round = 0; round < 2; round++) {
        logits_fixture f;
        tq_err err = {""};
        tq_calibration *c = NULL;
        logits_fixture_open(&f, FUSED, 2);
        make_ids(&f, ids, TOKENS);
        check(tq_calibration_new(f.model, f.pool, ids, TOKENS, TOKENS, "test", cache, &c, &err), &err);
        for (size_t i = 0; i < tq_model_matrices(f.model); i += 5)
            check_moment(&f, c, ids, i);
        tq_calibration_free(c);
        logits_fixture_close(&f);
    }
}

/* One token over and over reaches few experts: the others have no moment, and no file of the cache says otherwise. */
static void rare_experts_have_no_moment(void **state) {
    char cache[96];
    int ids[TQ_CALIB_CTX];
    size_t known[2] = {0}, unknown[2] = {0};
    (void)state;
    (void)snprintf(cache, sizeof cache, "%s/rare", scratch_dir);
    for (int round = 0; round < 2; round++) {
        logits_fixture f;
        tq_err err = {""};
        tq_calibration *c = NULL;
        tq_moment m;
        logits_fixture_open(&f, "qwen3_moe-small", 2);
        for (size_t i = 0; i < TQ_CALIB_CTX; i++)
            ids[i] = 17;
        check(tq_calibration_new(f.model, f.pool, ids, TQ_CALIB_CTX, TQ_CALIB_CTX, "test", cache, &c, &err), &err);
        for (size_t i = 0; i < tq_model_matrices(f.model); i++) {
            check(tq_calibration_moment(c, i, NULL, &m, &err), &err);
            const tq_matrix *x = tq_model_matrix(f.model, i);
            assert_true(m.xx || x->expert != SIZE_MAX || x->end == TQ_END_EMBEDDING);
            *(m.xx ? &known[round] : &unknown[round]) += 1;
        }
        tq_calibration_free(c);
        logits_fixture_close(&f);
    }
    assert_true(unknown[0] >= 3 && known[0] > 0);
    assert_int_equal(unknown[0], unknown[1]);
    assert_int_equal(known[0], known[1]);
}

typedef struct encoded {
    tq_session *s;
    tq_qmatrix **q;
    size_t calls, plain;
} encoded;

static int encode_one(void *ctx, size_t matrix, const tq_moment *moment, tq_err *err) {
    encoded *e = ctx;
    const tq_model *m = tq_session_model(e->s);
    tq_common common = tq_common_default();
    tq_qspec spec = tq_qspec_of(TQ_BITS_4, 32, &common);
    tq_calibrated figures;
    tq_calibrate_options options = {TQ_LAMBDA_DEFAULT, TQ_SWEEPS_DEFAULT};
    e->calls++;
    int rc =
        tq_qmatrix_encode_calibrated(&tq_model_matrix(m, matrix)->w, &spec, moment, &options, tq_model_rotations(m),
                                     tq_session_pool(e->s), NULL, &e->q[matrix], &figures, err);
    e->plain += figures.unseen;
    return rc;
}

/* All matrices are met once, each in turn; the result does not depend on the number of threads. */
static void asym_meets_all(void **state) {
    float *first = NULL;
    (void)state;
    for (int threads = 1; threads <= 2; threads++) {
        tq_session *s = NULL;
        tq_err err = {{0}};
        tq_calibration *c = NULL;
        int ids[TOKENS];
        check(tq_session_open(LOGITS_DATA "/" FUSED, &(tq_session_options){.threads = threads}, &s, &err), &err);
        const tq_model *m = tq_session_model(s);
        for (size_t i = 0; i < TOKENS; i++)
            ids[i] = (int)((i * 7919 + i / 3 * 31) % tq_model_config(m)->vocab);
        encoded e = {.s = s, .q = calloc(tq_model_matrices(m), sizeof(tq_qmatrix *))};
        check(tq_calibration_new(m, tq_session_pool(s), ids, TOKENS, TOKENS, "test", NULL, &c, &err), &err);
        check(tq_calibration_asym(c, e.q, encode_one, &e, NULL, &err), &err);
        assert_int_equal(e.calls, tq_model_matrices(m) - 1); /* all but the embedding, which is looked up */
        tq_forward *f = tq_forward_new(m, tq_session_pool(s), &err);
        size_t vocab = tq_model_config(m)->vocab;
        float *h = calloc(64 * tq_model_config(m)->hidden, sizeof *h), *logits = calloc(64 * vocab, sizeof *logits);
        assert_true(f && h && logits);
        check(tq_forward_embed(f, NULL, ids, 64, h, &err), &err);
        for (size_t b = 0; b < tq_model_config(m)->blocks; b++)
            check(tq_forward_block(f, e.q, b, h, 1, 64, NULL, &err), &err);
        check(tq_forward_logits(f, e.q, h, 64, logits, &err), &err);
        if (first) assert_memory_equal(first, logits, 64 * vocab * sizeof *logits);
        free(first);
        first = logits;
        for (size_t i = 0; i < tq_model_matrices(m); i++)
            tq_qmatrix_free(e.q[i]);
        free(e.q);
        free(h);
        tq_forward_free(f);
        tq_calibration_free(c);
        tq_session_close(s);
    }
    free(first);
}

/* --- plans and the table --- */

static void plans_have_rules_for_kinds(void **state) {
    static const char *const rules[] = {"*=4", "mlp.experts.*.down_proj=4+4:32", "2.mlp.experts.*.up_proj=4+2:64",
                                        "0.mlp.experts.4.gate_proj=keep"};
    (void)state;
    tq_session *s = open_planned("qwen3_moe-small", rules, 4);
    tq_err err = {{0}};
    char *json = NULL;
    tq_plan *back = NULL;
    check(tq_plan_to_json(tq_session_plan(s), NULL, &json, &err), &err);
    assert_non_null(strstr(json, "\"mlp.experts.*.down_proj=4+4:32\""));
    assert_non_null(strstr(json, "\"2.mlp.experts.*.up_proj=4+2:64\""));
    assert_non_null(strstr(json, "\"0.mlp.experts.4.gate_proj=keep\""));
    check(tq_plan_from_json(tq_session_model(s), json, strlen(json), "test", &back, &err), &err);
    for (size_t i = 0; i < tq_model_matrices(tq_session_model(s)); i++)
        assert_true(tq_choice_equal(tq_plan_get(back, i), tq_plan_get(tq_session_plan(s), i)));
    free(json);
    tq_plan_free(back);
    tq_session_close(s);
}

/* A kind of experts is one row that stands for all of them until it is unfolded. */
static void kinds_are_rows(void **state) {
    logits_fixture f;
    tq_table t;
    (void)state;
    logits_fixture_open(&f, "qwen3_moe-small", 1);
    size_t n = tq_model_matrices(f.model);
    bool *targets = calloc(n, sizeof *targets);
    assert_true(targets && tq_table_init(&t, f.model));
    assert_int_equal(t.count,
                     3 + 3 * 4 + 2 * 3 + 3 + 3); /* blocks, attention, kinds in two blocks, a dense MLP, the ends */
    tq_table_move(&t, 7);                        /* the first block's down_proj */
    assert_int_equal(tq_table_row(&t)->count, EXPERTS);
    assert_int_equal(tq_table_targets(&t, targets), EXPERTS);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(targets[i], i >= 16 && i < 22);
    tq_table_toggle(&t);
    assert_int_equal(tq_table_marks(&t), EXPERTS);
    tq_table_fold_here(&t, false);
    assert_int_equal(tq_table_row(&t)->count, EXPERTS); /* the cursor stays */
    assert_int_equal(t.count, 27 + EXPERTS);
    tq_table_move(&t, 3);
    assert_int_equal(tq_table_matrix(&t), 18);
    assert_int_equal(tq_table_head(&t)->matrix, 16);
    tq_table_toggle(&t);
    assert_int_equal(tq_table_marks(&t), EXPERTS - 1);
    tq_table_fold_here(&t, true);
    assert_int_equal(t.count, 27);
    assert_int_equal(tq_table_row(&t)->matrix, 16);
    tq_table_unmark(&t);
    assert_true(tq_table_filter(&t, "*.experts.2.*")); /* each alone: no heads but the blocks' */
    assert_int_equal(t.count, 2 + 2 * 3);
    assert_true(tq_table_filter(&t, "*.experts.[12].up_proj"));
    assert_int_equal(t.count, 2 + 2);
    tq_table_move(&t, -100);
    tq_table_move(&t, 1);
    assert_int_equal(tq_table_targets(&t, targets), 2); /* what the filter lets through */
    tq_table_range_begin(&t);
    tq_table_range_end(&t, true);
    assert_int_equal(tq_table_marks(&t), 2);
    assert_true(tq_table_filter(&t, ""));
    tq_table_show(&t, 13);
    assert_int_equal(tq_table_matrix(&t), 13);
    assert_int_equal(tq_table_row(&t)->count, 0);
    tq_table_free(&t);
    free(targets);
    logits_fixture_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matrices_are_those_of_experts), cmocka_unit_test(exact_decoding_is_the_blocks),
        cmocka_unit_test(tq_exports_come_back),          cmocka_unit_test(hf_exports_hold_the_effect),
        cmocka_unit_test(gguf_export_is_refused),        cmocka_unit_test(experts_see_their_tokens),
        cmocka_unit_test(rare_experts_have_no_moment),   cmocka_unit_test(asym_meets_all),
        cmocka_unit_test(plans_have_rules_for_kinds),    cmocka_unit_test(kinds_are_rows),
    };
    return cmocka_run_group_tests_name("experts", tests, scratch_make, scratch_remove);
}
