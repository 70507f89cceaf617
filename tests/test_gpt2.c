/* test_gpt2.c - what only GPT-2 has: matrices that lie transposed, and a limit to its positions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model/session.h"
#include "model/tensor_writer.h"
#include "tests/logits_fixture.h"
#include "tests/scratch.h"
#include "tests/session_fixture.h"

#define FIXTURE LOGITS_DATA "/gpt2-small"

/* One by one and together, from any row on, in each dtype. */
static void rows_are_gathered(void **state) {
    enum { ROWS = 150, COLS = 37 };
    static float stored[COLS][ROWS], out[ROWS * COLS];
    static uint16_t half[COLS][ROWS];
    static const size_t from[][2] = {{0, ROWS}, {3, 1}, {64, 64}, {70, 80}, {149, 1}};
    (void)state;
    for (size_t c = 0; c < COLS; c++)
        for (size_t r = 0; r < ROWS; r++)
            stored[c][r] = (float)((int)(r * 5 + c) % 200 - 100); /* bf16 holds these exactly */
    tq_k()->f32_to_bf16(&half[0][0], &stored[0][0], (size_t)ROWS * COLS);
    for (int k = 0; k < 2; k++) {
        tq_matrix_view w = {.data = k ? (void *)half : (void *)stored,
                            .dtype = k ? TQ_BF16 : TQ_F32,
                            .rows = ROWS,
                            .cols = COLS,
                            .transposed = true};
        assert_false(tq_matrix_is_flat(&w));
        assert_int_equal(tq_matrix_bytes(&w), ROWS * COLS * (k ? 2 : 4));
        for (size_t i = 0; i < sizeof from / sizeof *from; i++) {
            tq_matrix_rows(&w, from[i][0], from[i][1], out);
            for (size_t r = 0; r < from[i][1]; r++)
                for (size_t c = 0; c < COLS; c++)
                    assert_true(out[r * COLS + c] == stored[c][from[i][0] + r]);
        }
        tq_matrix_row(&w, 77, out);
        for (size_t c = 0; c < COLS; c++)
            assert_true(out[c] == stored[c][77]);
    }
}

static void positions_end(void **state) {
    logits_fixture f;
    tq_err err = {""};
    (void)state;
    logits_fixture_open_dir(&f, FIXTURE, 1);
    size_t n = f.config.context + 1;
    int *ids = calloc(n, sizeof *ids);
    float *logits = calloc(f.config.vocab, sizeof *logits), *h = calloc(n * f.config.hidden, sizeof *h);
    tq_cache *c = tq_cache_new(f.model, n, &err);
    assert_true(ids && logits && h && c);
    check(tq_forward_append(f.forward, NULL, c, ids, n - 1, logits, NULL, &err), &err);
    assert_int_equal(tq_forward_append(f.forward, NULL, c, ids, 1, logits, NULL, &err), TQ_FAIL);
    assert_non_null(strstr(err.msg, "161 tokens: the model has learned 160 positions"));
    check(tq_forward_embed(f.forward, NULL, ids, n, h, &err), &err);
    assert_int_equal(tq_forward_block(f.forward, NULL, 0, h, 1, n, NULL, &err), TQ_FAIL);
    tq_cache_free(c);
    free(ids);
    free(logits);
    free(h);
    logits_fixture_close(&f);
}

/* tq: the same to the bit; hf: [in, out], each value the dequantized one as bf16, the rest as stored. */
static void exports_keep_the_layout(void **state) {
    char path[128];
    tq_err err = {{0}};
    (void)state;
    tq_session *s = open_session(FIXTURE, 2);
    const tq_model *m = tq_session_model(s);
    set_rules(s, NULL, (const char *[]){"*=4+2:32", "1.*=keep"}, 2);
    check(tq_session_apply(s, NULL, NULL, NULL, &err), &err);
    (void)snprintf(path, sizeof path, "%s/tq", scratch_dir);
    check(tq_session_export(s, TQ_EXPORT_TQ, path, false, NULL, &err), &err);
    tq_session *back = open_session(path, 2);
    float *a = session_logits(s), *b = session_logits(back);
    assert_memory_equal(a, b, 24 * tq_model_config(m)->vocab * sizeof *a);
    free(a);
    free(b);
    tq_session_close(back);

    (void)snprintf(path, sizeof path, "%s/hf", scratch_dir);
    check(tq_session_export(s, TQ_EXPORT_HF, path, false, NULL, &err), &err);
    back = open_session(path, 2);
    for (size_t i = 0; i < tq_model_block_matrices(m); i++) {
        const tq_matrix *x = tq_model_matrix(m, i), *y = tq_model_matrix(tq_session_model(back), i);
        const tq_qmatrix *q = tq_session_variant(s)[i];
        assert_int_equal(y->tensor->shape[0], x->w.cols);
        assert_int_equal(y->tensor->shape[1], x->w.rows);
        if (!q) {
            assert_memory_equal(x->w.data, y->w.data, tq_matrix_bytes(&x->w));
            continue;
        }
        size_t count = x->w.rows * x->w.cols;
        float *w = calloc(count, sizeof *w), *scratch = calloc(tq_qmatrix_scratch(q) + 1, sizeof *scratch);
        uint16_t *half = calloc(count, sizeof *half);
        assert_true(w && scratch && half);
        tq_qmatrix_dequantize_rows(q, 0, x->w.rows, w, scratch);
        tq_k()->f32_to_bf16(half, w, count);
        for (size_t r = 0; r < x->w.rows; r++)
            for (size_t c = 0; c < x->w.cols; c++)
                assert_int_equal(((const uint16_t *)y->tensor->data)[c * x->w.rows + r], half[r * x->w.cols + c]);
        free(w);
        free(scratch);
        free(half);
    }
    tq_session_close(back);
    tq_session_close(s);
}

/* The first published checkpoints have no "transformer." before their names, and hold masks. */
static void old_names_are_read(void **state) {
    char path[128];
    tq_err err = {{0}};
    tq_source *s = NULL, *old = NULL;
    tq_config config;
    tq_model *m = NULL;
    tq_writer *w = NULL;
    float mask[4] = {1, 0, 1, 1};
    (void)state;
    (void)snprintf(path, sizeof path, "%s/old.safetensors", scratch_dir);
    check(tq_source_open(FIXTURE, &s, &err), &err);
    check(tq_writer_new(path, NULL, &w, &err), &err);
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < tq_source_count(s); i++) {
            const tq_tensor *t = tq_source_at(s, i);
            const char *name = t->name + strlen("transformer.");
            check(pass ? tq_writer_data(w, t->data, t->bytes, &err)
                       : tq_writer_declare(w, name, t->dtype_name, t->shape, t->rank, t->bytes, &err),
                  &err);
        }
        check(pass ? tq_writer_data(w, mask, sizeof mask, &err)
                   : tq_writer_declare(w, "h.0.attn.bias", "F32", (const size_t[]){1, 1, 2, 2}, 4, sizeof mask, &err),
              &err);
    }
    check(tq_writer_finish(w, &err), &err);
    check(tq_source_open(path, &old, &err), &err);
    check(tq_config_load(FIXTURE, &config, &err), &err);
    check(tq_model_bind(old, &config, &m, &err), &err);
    assert_string_equal(tq_model_matrix(m, 5)->name, "h.1.attn.c_proj");
    assert_string_equal(tq_model_note(m), "skipped 1 mask tensors");
    tq_model_free(m);
    tq_source_close(old);
    tq_source_close(s);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_gathered),
        cmocka_unit_test(positions_end),
        cmocka_unit_test(exports_keep_the_layout),
        cmocka_unit_test(old_names_are_read),
    };
    return cmocka_run_group_tests_name("gpt2", tests, scratch_make, scratch_remove);
}
