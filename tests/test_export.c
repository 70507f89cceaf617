/* test_export.c - exports opened again: the same logits, the same bytes, and nothing overwritten. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "model/packed.h"
#include "model/session.h"
#include "model/tensor_writer.h"
#include "tests/scratch.h"
#include "tests/session_fixture.h"

#define FIXTURES "tests/data/logits/"
static const char *const models[] = {"qwen3_5-tied", "qwen3_5-multimodal", "llama-untied", "mistral-window-f32",
                                     "smollm2-f16"};
enum { N_MODELS = sizeof models / sizeof *models, TOKENS = 24 };

/* A plan with every bit config in it. */
static tq_session *open_planned(const char *model, tq_residual residual) {
    static const char *const rules[] = {
        "*=4", "mlp.up_proj=4+2:32", "mlp.down_proj=4+4:row", "0.*_proj=4+4:64", "*.o*_proj=keep", "*embed*=4+2:64"};
    char path[256];
    tq_err err = {{0}};
    (void)snprintf(path, sizeof path, FIXTURES "%s", model);
    tq_session *s = open_session(path, 2);
    tq_common common = tq_common_default();
    common.residual = residual;
    common.seed = 7;
    set_rules(s, &common, rules, sizeof rules / sizeof *rules);
    if (!tq_model_config(tq_session_model(s))->tied) set_rule(s, "lm_head=4+4:32");
    assert_int_equal(tq_session_apply(s, NULL, NULL, NULL, &err), TQ_OK);
    return s;
}

/* Logits after a blocked prefill and after each of some single tokens: [TOKENS, vocab]; the caller frees them. */
static float *logits_of(tq_session *s) {
    tq_err err = {{0}};
    const tq_model *m = tq_session_model(s);
    size_t vocab = tq_model_config(m)->vocab;
    tq_forward *f = tq_forward_new(m, tq_session_pool(s), &err);
    tq_cache *c = tq_cache_new(m, 2 * TOKENS, &err);
    float *logits = calloc(TOKENS * vocab, sizeof *logits);
    int ids[TOKENS];
    assert_non_null(f);
    assert_non_null(c);
    assert_non_null(logits);
    for (int i = 0; i < TOKENS; i++)
        ids[i] = (int)((size_t)(i * 31 + 5) % vocab);
    assert_int_equal(tq_forward_append(f, tq_session_variant(s), c, ids, TOKENS, logits, NULL, &err), TQ_OK);
    for (size_t i = 1; i < TOKENS; i++)
        assert_int_equal(tq_forward_append(f, tq_session_variant(s), c, &ids[i], 1, logits + i * vocab, NULL, &err),
                         TQ_OK);
    tq_cache_free(c);
    tq_forward_free(f);
    return logits;
}

static void out_path(char path[256], const char *kind, const char *model) {
    (void)snprintf(path, 256, "%s/%s-%s", scratch_dir, kind, model);
}

static void export_to(tq_session *s, tq_export_format format, const char *path, bool force) {
    tq_err err = {{0}};
    int rc = tq_session_export(s, format, path, force, NULL, &err);
    if (rc != TQ_OK) print_error("%s\n", err.msg);
    assert_int_equal(rc, TQ_OK);
}

static void tq_gives_the_same_logits(void **state) {
    char path[256];
    (void)state;
    for (size_t i = 0; i < 2 * N_MODELS; i++) {
        tq_residual residual = i < N_MODELS ? TQ_RESIDUAL_NESTED : TQ_RESIDUAL_INDEPENDENT;
        tq_session *s = open_planned(models[i % N_MODELS], residual);
        size_t vocab = tq_model_config(tq_session_model(s))->vocab;
        out_path(path, residual == TQ_RESIDUAL_NESTED ? "tq" : "tq2", models[i % N_MODELS]);
        export_to(s, TQ_EXPORT_TQ, path, false);
        tq_session *back = open_session(path, 2);
        float *a = logits_of(s), *b = logits_of(back);
        assert_memory_equal(a, b, TOKENS * vocab * sizeof *a);
        assert_true(tq_session_is_packed(back));
        for (size_t j = 0; j < tq_model_matrices(tq_session_model(s)); j++) {
            tq_matrix_figures x = tq_session_figures(s, j), y = tq_session_figures(back, j);
            assert_true(tq_choice_equal(tq_plan_get(tq_session_plan(s), j), tq_plan_get(tq_session_plan(back), j)));
            assert_int_equal(x.bytes, y.bytes);
            assert_true(fabs(x.distortion.rel_mse - y.distortion.rel_mse) <= 1e-12); /* decimal and back */
        }
        assert_int_equal(tq_session_memory(s).total, tq_session_memory(back).total);
        free(a);
        free(b);
        tq_session_close(back);
        tq_session_close(s);
    }
}

/* An export of an export is the same file. */
static void tq_of_tq_is_the_same(void **state) {
    char path[256], again[256], file[512];
    char *data[2];
    size_t n[2];
    tq_err err = {{0}};
    (void)state;
    out_path(path, "tq", models[0]);
    out_path(again, "again", models[0]);
    tq_session *s = open_session(path, 2);
    export_to(s, TQ_EXPORT_TQ, again, false);
    tq_session_close(s);
    for (int i = 0; i < 2; i++) {
        (void)snprintf(file, sizeof file, "%s/model.safetensors", i ? again : path);
        assert_int_equal(tq_read_file(file, (size_t)1 << 30, &data[i], &n[i], &err), TQ_OK);
    }
    assert_int_equal(n[0], n[1]);
    assert_memory_equal(data[0], data[1], n[0]);
    free(data[0]);
    free(data[1]);
}

static float bf16_to_float(float x) {
    uint16_t half;
    float back;
    tq_k()->f32_to_bf16(&half, &x, 1);
    tq_k()->bf16_to_f32(&back, &half, 1);
    return back;
}

/* Quantized matrices are the dequantized ones rounded to bf16, all else is the source's bytes. */
static void hf_holds_the_effect(void **state) {
    char path[256];
    (void)state;
    for (size_t i = 0; i < N_MODELS; i++) {
        tq_session *s = open_planned(models[i], TQ_RESIDUAL_NESTED);
        out_path(path, "hf", models[i]);
        export_to(s, TQ_EXPORT_HF, path, false);
        tq_session *back = open_session(path, 2);
        const tq_source *from = tq_model_source(tq_session_model(s)), *to = tq_model_source(tq_session_model(back));
        assert_false(tq_session_is_packed(back));
        assert_int_equal(tq_source_count(from), tq_source_count(to));
        for (size_t t = 0; t < tq_source_count(from); t++) {
            const tq_tensor *a = tq_source_at(from, t), *b = tq_source_find(to, a->name);
            char name[256];
            assert_non_null(b);
            (void)snprintf(name, sizeof name, "%s", a->name);
            char *end = strstr(name, ".weight");
            if (end) *end = '\0';
            size_t m = tq_model_find(tq_session_model(s), name);
            const tq_qmatrix *q = m == SIZE_MAX ? NULL : tq_session_variant(s)[m];
            if (!q) {
                assert_int_equal(a->bytes, b->bytes);
                assert_memory_equal(a->data, b->data, a->bytes);
                continue;
            }
            size_t rows = tq_qmatrix_rows(q), cols = tq_qmatrix_cols(q);
            float *scratch = calloc(tq_qmatrix_scratch(q) + 1, sizeof *scratch), *w = calloc(rows * cols, sizeof *w);
            float *stored = calloc(cols, sizeof *stored);
            tq_matrix_view view = {.data = b->data, .dtype = b->dtype, .rows = rows, .cols = cols};
            tq_qmatrix_dequantize_rows(q, 0, rows, w, scratch);
            assert_string_equal(b->dtype_name, "BF16");
            for (size_t r = 0; r < rows; r++) {
                tq_matrix_row(&view, r, stored);
                for (size_t c = 0; c < cols; c++)
                    assert_true(stored[c] == bf16_to_float(w[r * cols + c]));
            }
            free(stored);
            free(w);
            free(scratch);
        }
        tq_session_close(back);
        tq_session_close(s);
    }
}

static bool exists(const char *path) {
    struct stat st;
    return lstat(path, &st) == 0;
}

static void refuse(tq_session *s, tq_export_format format, const char *path, bool force, const char *why) {
    tq_err err = {{0}};
    assert_int_equal(tq_session_export(s, format, path, force, NULL, &err), TQ_FAIL);
    if (!strstr(err.msg, why)) print_error("%s\n", err.msg);
    assert_non_null(strstr(err.msg, why));
    assert_non_null(strstr(err.msg, path));
}

/* Other people's directories and files survive --force. */
static void nothing_else_is_overwritten(void **state) {
    char path[256], other[256], file[512], target[512];
    tq_err err = {{0}};
    (void)state;
    tq_session *s = open_planned(models[0], TQ_RESIDUAL_NESTED);
    out_path(path, "tq", models[0]);
    refuse(s, TQ_EXPORT_TQ, path, false, "--force");
    refuse(s, TQ_EXPORT_HF, path, false, "--force");
    export_to(s, TQ_EXPORT_TQ, path, true);

    (void)snprintf(other, sizeof other, "%s/other", scratch_dir);
    assert_int_equal(mkdir(other, 0777), 0);
    (void)snprintf(file, sizeof file, "%s/model.safetensors", other);
    assert_int_equal(tq_write_file(file, "mine", 4, &err), TQ_OK);
    refuse(s, TQ_EXPORT_TQ, other, true, "no export of tqexplore");
    assert_true(exists(file));

    (void)snprintf(file, sizeof file, "%s/thesis.txt", path); /* in a directory of ours */
    assert_int_equal(tq_write_file(file, "mine", 4, &err), TQ_OK);
    refuse(s, TQ_EXPORT_TQ, path, true, "thesis.txt");
    assert_true(exists(file));
    assert_int_equal(unlink(file), 0);

    (void)snprintf(target, sizeof target, "%s/link", scratch_dir);
    assert_int_equal(symlink(path, target), 0);
    refuse(s, TQ_EXPORT_TQ, target, true, "no export of tqexplore");
    refuse(s, TQ_EXPORT_PLAN, target, true, "no regular file");
    refuse(s, TQ_EXPORT_PLAN, path, true, "no regular file");

    (void)snprintf(target, sizeof target, "%s/plan.json", scratch_dir);
    export_to(s, TQ_EXPORT_PLAN, target, false);
    refuse(s, TQ_EXPORT_PLAN, target, false, "--force");
    export_to(s, TQ_EXPORT_PLAN, target, true);
    (void)snprintf(target, sizeof target, "%s/nowhere/x", scratch_dir);
    refuse(s, TQ_EXPORT_TQ, target, false, "cannot make");
    tq_session_close(s);
}

static void cancel_after_some(void *ctx, double done, double total) {
    if (done > total / 3) atomic_store((atomic_bool *)ctx, true);
}

/* Neither cancelling nor a full export leaves anything beside the target. */
static void cancelling_leaves_nothing(void **state) {
    char path[256], command[512];
    tq_err err = {{0}};
    atomic_bool cancel = false;
    tq_progress p = {.report = cancel_after_some, .ctx = &cancel, .cancel = &cancel};
    (void)state;
    tq_session *s = open_planned(models[0], TQ_RESIDUAL_NESTED);
    out_path(path, "cancelled", models[0]);
    assert_int_equal(tq_session_export(s, TQ_EXPORT_TQ, path, false, &p, &err), TQ_CANCELLED);
    assert_false(exists(path));
    (void)snprintf(command, sizeof command, "! ls '%s' | grep -q tmp", scratch_dir);
    assert_int_equal(system(command), 0);
    tq_session_close(s);
}

/* A damaged packed export is an error that names its file and tensor. */
static void damaged_parts_are_refused(void **state) {
    static const char *const damage[][2] = {
        {"tq1 4 128", "tq1 9 128"},       {"tq1 4 128", "tq3 4 128"},       {"tq1 4 128", "tq2 4 128"},
        {" hadamard 7 ", " hadamard x "}, {" hadamard 7 ", " hadamarx 7 "}, {" codes ", " cod/s "},
        {"tq1 4 128", "tq1 4 32 "},
    };
    char path[256], bad[256], file[512], command[1200];
    (void)state;
    out_path(path, "tq", models[0]);
    out_path(bad, "bad", models[0]);
    (void)snprintf(command, sizeof command, "cp -r '%s' '%s'", path, bad);
    assert_int_equal(system(command), 0);
    for (size_t i = 0; i < sizeof damage / sizeof *damage; i++) {
        char *data = NULL;
        size_t n = 0;
        tq_err err = {{0}};
        tq_session *s = NULL;
        (void)snprintf(file, sizeof file, "%s/model.safetensors", path);
        assert_int_equal(tq_read_file(file, (size_t)1 << 30, &data, &n, &err), TQ_OK);
        char *at = memmem(data, n, damage[i][0], strlen(damage[i][0]));
        assert_non_null(at);
        memcpy(at, damage[i][1], strlen(damage[i][1]));
        (void)snprintf(file, sizeof file, "%s/model.safetensors", bad);
        assert_int_equal(tq_write_file(file, data, n, &err), TQ_OK);
        assert_int_equal(tq_session_open(bad, &(tq_session_options){.threads = 1}, &s, &err), TQ_FAIL);
        if (!strstr(err.msg, ".weight.tq.")) print_error("case %zu: %s\n", i, err.msg);
        assert_non_null(strstr(err.msg, bad));
        assert_non_null(strstr(err.msg, ".weight.tq."));
        free(data);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tq_gives_the_same_logits),  cmocka_unit_test(tq_of_tq_is_the_same),
        cmocka_unit_test(hf_holds_the_effect),       cmocka_unit_test(nothing_else_is_overwritten),
        cmocka_unit_test(cancelling_leaves_nothing), cmocka_unit_test(damaged_parts_are_refused),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
