/* test_gguf_model.c - models and tokenizers by way of GGUF: written out and read back against transformers' logits and
 * the tokenizers they came from, a SentencePiece vocabulary against sentencepiece, and metadata that must be refused.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/export.h"
#include "model/gguf_writer.h"
#include "model/rope.h"
#include "model/tensor_writer.h"
#include "model/tokenizer_internal.h"
#include "tests/logits_fixture.h"
#include "tests/scratch.h"

#define TOLERANCE 2e-3F /* against transformers, as test_forward.c has it */

static void export_model(const tq_model *m, tq_variant q) {
    tq_err err = {""};
    const tq_export_job job = {.model = m, .q = q, .path = scratch_path("x.gguf"), .force = true};
    if (tq_export_gguf(&job, NULL, &err)) fail_msg("%s", err.msg);
}

/* The exported file as a fixture of its own. */
static void open_gguf(logits_fixture *f) {
    tq_err err = {""};
    *f = (logits_fixture){0};
    if (tq_source_open(scratch_path("x.gguf"), &f->source, &err) || tq_config_of(f->source, &f->config, &err) ||
        tq_model_bind(f->source, &f->config, &f->model, &err))
        fail_msg("%s", err.msg);
    f->pool = tq_pool_new(1, &err);
    f->forward = tq_forward_new(f->model, f->pool, &err);
    assert_non_null(f->forward);
}

static void check_logits(const logits_fixture *reference, logits_fixture *f, const char *name) {
    size_t vocab = reference->config.vocab;
    float *logits = logits_blocked(f, NULL, reference->ids, 1, reference->n_ids), most = 0;
    for (size_t i = 0; i < reference->n_positions; i++) {
        float d = logits_max_diff(logits + reference->positions[i] * vocab, reference->logits + i * vocab, vocab);
        if (d > most) most = d;
    }
    print_message("%-20s by way of GGUF %.2e\n", name, (double)most);
    assert_true(most <= TOLERANCE);
    free(logits);
}

/* As llama.cpp's converter writes them (tests/make/make_gguf_models.py): DeltaNet's heads in another order, experts
 * stacked by kind. They are read, not written. */
static void test_converted(void **state) {
    static const char *const names[][2] = {
        {"qwen3_moe-sparse-small", "qwen3moe"}, {"qwen3_5-small", "qwen35"}, {"qwen3_5_moe-small", "qwen35moe"}};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        logits_fixture f, g = {0};
        tq_err err = {""};
        char path[128];
        logits_fixture_open(&f, names[i][0], 1);
        (void)snprintf(path, sizeof path, "tests/data/gguf/%s.gguf", names[i][1]);
        if (tq_source_open(path, &g.source, &err) || tq_config_of(g.source, &g.config, &err) ||
            tq_model_bind(g.source, &g.config, &g.model, &err))
            fail_msg("%s", err.msg);
        g.pool = tq_pool_new(1, &err);
        g.forward = tq_forward_new(g.model, g.pool, &err);
        assert_non_null(g.forward);
        assert_string_equal(tq_model_note(g.model), "");
        assert_int_equal(tq_model_matrices(g.model), tq_model_matrices(f.model));
        check_logits(&f, &g, names[i][1]);
        const tq_export_job job = {.model = g.model, .path = scratch_path("x.gguf"), .force = true};
        assert_int_equal(tq_export_gguf(&job, NULL, &err), TQ_FAIL);
        assert_non_null(strstr(err.msg, "architecture"));
        if (g.config.linear_converted) {
            tq_plan *plan = tq_plan_new(g.model, &err);
            assert_non_null(plan);
            assert_int_equal(tq_export_check(TQ_EXPORT_HF, plan, &err), TQ_FAIL);
            assert_non_null(strstr(err.msg, "export the original model"));
            tq_plan_free(plan);
        }
        logits_fixture_close(&f);
        logits_fixture_close(&g);
    }
}

/* Pairs of rows, norms with one added, biases, windows, frequencies: all there and back. */
static void test_round_trip(void **state) {
    static const char *const names[] = {"llama-untied", "llama-rope-llama3", "llama-rope-linear", "llama-rope-yarn",
                                        "smollm2-f16",  "qwen3-tied",        "olmo2-small"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        logits_fixture f, g;
        logits_fixture_open(&f, names[i], 1);
        export_model(f.model, NULL);
        open_gguf(&g);
        assert_string_equal(tq_model_note(g.model), "");
        assert_string_equal(tq_model_baseline(g.model), "");
        assert_int_equal(tq_model_matrices(g.model), tq_model_matrices(f.model));
        check_logits(&f, &g, names[i]);
        /* And once more, from one GGUF file to the next. */
        logits_fixture h;
        export_model(g.model, NULL);
        open_gguf(&h);
        check_logits(&f, &h, names[i]);
        logits_fixture_close(&h);
        logits_fixture_close(&g);
        logits_fixture_close(&f);
    }
}

/* Fixtures with what such a file cannot say, a query scale of its own or a window: without that, against themselves. */
static void test_altered(void **state) {
    static const char *const names[] = {"gemma3-small", "qwen2-small", "phi3-small"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        logits_fixture f, g;
        tq_err err = {""};
        logits_fixture_open(&f, names[i], 1);
        tq_forward_free(f.forward);
        tq_model_free(f.model);
        f.config.query_scale = 1.0F / sqrtf((float)f.config.head_dim);
        for (size_t b = 0; b < f.config.blocks && f.config.arch != TQ_ARCH_GEMMA3; b++)
            f.config.local[b] = false;
        if (tq_model_bind(f.source, &f.config, &f.model, &err)) fail_msg("%s", err.msg);
        f.forward = tq_forward_new(f.model, f.pool, &err);
        export_model(f.model, NULL);
        open_gguf(&g);
        size_t n = f.n_ids * f.config.vocab;
        float *a = logits_blocked(&f, NULL, f.ids, 1, f.n_ids), *b = logits_blocked(&g, NULL, f.ids, 1, f.n_ids);
        print_message("%-20s %.2e\n", names[i], (double)logits_max_diff(a, b, n));
        assert_true(logits_max_diff(a, b, n) <= 1e-4F); /* Gemma's norms are stored with one added: a rounding each */
        free(a);
        free(b);
        logits_fixture_close(&g);
        logits_fixture_close(&f);
    }
}

/* What is written is what the codes decode to, rounded to bf16: the two differ by no more than that rounding does. */
static void test_quantized(void **state) {
    (void)state;
    logits_fixture f, g;
    logits_fixture_open(&f, "llama-untied", 1);
    tq_qmatrix **q = logits_variant_new(&f, TQ_BITS_4, 32, TQ_RESIDUAL_NESTED);
    for (size_t i = tq_model_block_matrices(f.model); i < tq_model_matrices(f.model); i++)
        q[i] = logits_pack(&f, i, TQ_BITS_4_2, 64, TQ_RESIDUAL_NESTED); /* embedding and head */
    export_model(f.model, q);
    open_gguf(&g);
    for (size_t i = 0; i < tq_model_matrices(f.model); i++) {
        const tq_matrix *m = tq_model_matrix(g.model, i);
        size_t rows = m->w.rows, cols = m->w.cols;
        float *want = malloc(rows * cols * sizeof *want), *got = malloc(cols * sizeof *got);
        float *work = tq_calloc_aligned(tq_qmatrix_scratch(q[i]) + 1, sizeof *work);
        assert_int_equal(m->w.dtype, TQ_BF16);
        for (size_t r = 0; r < rows; r += 16)
            tq_qmatrix_dequantize_rows(q[i], r, rows - r < 16 ? rows - r : 16, want + r * cols, work);
        for (size_t r = 0; r < rows; r++) {
            tq_matrix_row(&m->w, r, got);
            for (size_t c = 0; c < cols; c++)
                assert_true(fabsf(got[c] - want[r * cols + c]) <= fabsf(want[r * cols + c]) / 256);
        }
        free(want);
        free(got);
        free(work);
    }
    logits_variant_free(&f, q);
    logits_fixture_close(&g);
    logits_fixture_close(&f);
}

static void test_refused_exports(void **state) {
    static const struct {
        const char *name, *mention;
    } cases[] = {{"qwen3_5-tied", "architecture"},
                 {"llama-rope-dynamic", "dynamic"},
                 {"mistral-window-f32", "window"},
                 {"gemma3-small", "query_pre_attn_scalar"},
                 {"phi3-small", "window"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        logits_fixture f;
        tq_err err = {""};
        logits_fixture_open(&f, cases[i].name, 1);
        const tq_export_job job = {.model = f.model, .path = scratch_path("x.gguf"), .force = true};
        assert_int_equal(tq_export_gguf(&job, NULL, &err), TQ_FAIL);
        assert_non_null(strstr(err.msg, cases[i].mention));
        logits_fixture_close(&f);
    }
}

static void copy(const char *from, const char *to) {
    char *data = NULL;
    size_t n = 0;
    tq_err err;
    if (tq_read_file(from, 1 << 24, &data, &n, &err) || tq_write_file(scratch_path(to), data, n, &err))
        fail_msg("%s", err.msg);
    free(data);
}

static tq_tokenizer *tokenizer_of(const char *path) {
    tq_source *s = NULL;
    tq_tokenizer *t = NULL;
    tq_err err;
    if (tq_source_open(path, &s, &err) || tq_tokenizer_of(s, &t, &err)) fail_msg("%s", err.msg);
    tq_source_close(s);
    assert_non_null(t);
    return t;
}

static uint32_t u32(const char *p) {
    const unsigned char *b = (const unsigned char *)p;
    return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}

static void check_same_ids(const tq_tokenizer *a, const tq_tokenizer *b, const char *text, size_t n, bool special) {
    int *x = NULL, *y = NULL;
    size_t n_x = 0, n_y = 0;
    tq_err err;
    assert_int_equal(tq_tokenizer_encode(a, text, n, special, true, &x, &n_x, &err), TQ_OK);
    assert_int_equal(tq_tokenizer_encode(b, text, n, special, true, &y, &n_y, &err), TQ_OK);
    if (n_x != n_y || memcmp(x, y, n_x * sizeof *x) != 0)
        fail_msg("%zu ids, the tokenizer it came from gives %zu: %.*s", n_y, n_x, (int)n, text);
    free(x);
    free(y);
}

/* tokenizer.json -> GGUF -> tokenizer: the ids stay, on lines that test_tokenizer.c holds against the reference. */
static void test_tokenizers(void **state) {
    static const char *const names[] = {"smollm2", "qwen2", "llama3"};
    (void)state;
    char *lines = NULL;
    size_t n_lines;
    tq_err err;
    if (tq_read_file("tests/data/tokenizers/lines.bin", 1 << 24, &lines, &n_lines, &err)) fail_msg("%s", err.msg);
    copy(LOGITS_DATA "/llama-untied/config.json", "config.json");
    copy(LOGITS_DATA "/llama-untied/model.safetensors", "model.safetensors");
    for (size_t k = 0; k < sizeof names / sizeof *names; k++) {
        char dir[128], file[160];
        logits_fixture f;
        tq_tokenizer *a = NULL;
        snprintf(dir, sizeof dir, "tests/data/tokenizers/%s", names[k]);
        snprintf(file, sizeof file, "%s/tokenizer.json", dir);
        copy(file, "tokenizer.json");
        logits_fixture_open_dir(&f, scratch_dir, 1);
        export_model(f.model, NULL);
        if (tq_tokenizer_load(dir, &a, &err)) fail_msg("%s", err.msg);
        tq_tokenizer *b = tokenizer_of(scratch_path("x.gguf"));
        for (size_t at = 0; at < n_lines;) {
            size_t n = u32(lines + at);
            check_same_ids(a, b, lines + at + 4, n, true);
            /* Tokens that are not special are found always there, as llama.cpp does it. */
            if (b->always.n == 0) check_same_ids(a, b, lines + at + 4, n, false);
            at += 4 + n;
        }
        tq_tokenizer_free(b);
        tq_tokenizer_free(a);
        logits_fixture_close(&f);
    }
    free(lines);
}

static void test_sentencepiece(void **state) {
    (void)state;
    tq_tokenizer *t = tokenizer_of("tests/data/gguf/spm.gguf");
    char *lines = NULL, *want = NULL;
    size_t n_lines, n_want, checked = 0;
    tq_err err;
    if (tq_read_file("tests/data/tokenizers/lines.bin", 1 << 24, &lines, &n_lines, &err) ||
        tq_read_file("tests/data/gguf/spm.ids.bin", 1 << 24, &want, &n_want, &err))
        fail_msg("%s", err.msg);
    for (size_t at = 0, w = 0; w < n_want; checked++) {
        const unsigned char *p = (const unsigned char *)want + w;
        size_t n = u32(lines + at), expected = p[0] | (size_t)p[1] << 8, count = 0, n_back = 0;
        int *ids = NULL;
        char *back = NULL;
        assert_int_equal(tq_tokenizer_encode(t, lines + at + 4, n, false, false, &ids, &count, &err), TQ_OK);
        for (size_t i = 0; i < expected || i < count; i++) {
            int id = i < expected ? p[2 + 2 * i] | p[3 + 2 * i] << 8 : -1;
            if (i >= count || ids[i] != id)
                fail_msg("line %zu, token %zu is %d, sentencepiece has %d: %.*s", checked, i, i < count ? ids[i] : -1,
                         id, (int)n, lines + at + 4);
        }
        assert_int_equal(tq_tokenizer_decode(t, ids, count, false, &back, &n_back, &err), TQ_OK);
        if (tq_utf8_valid(lines + at + 4, n)) {
            assert_int_equal(n_back, n);
            assert_memory_equal(back, lines + at + 4, n);
        }
        free(back);
        free(ids);
        at += 4 + n;
        w += 2 + 2 * expected;
    }
    assert_int_equal(checked, 200);
    /* bos goes before the text, unless the file says no */
    int *ids = NULL;
    size_t count = 0;
    assert_int_equal(tq_tokenizer_encode(t, "a", 1, false, true, &ids, &count, &err), TQ_OK);
    assert_int_equal(count, 2);
    assert_int_equal(ids[0], tq_tokenizer_id(t, "<s>"));
    free(ids);
    free(lines);
    free(want);
    tq_tokenizer_free(t);
}

/* ---- metadata that must be refused ---- */

typedef struct model_file {
    size_t heads, kv_heads, hidden, key_length, dims;
    const char *drop; /* a key that is left out */
    const char *tokenizer, *pre, *token, *merge, *scaling;
    bool heads_array, types_short, no_embedding, nan_score, biased;
} model_file;

static bool wanted(const model_file *f, const char *key) {
    return !f->drop || strcmp(f->drop, key) != 0;
}

static void put_size(tq_gguf_writer *w, const model_file *f, const char *key, size_t v) {
    if (wanted(f, key)) tq_gguf_put_u32(w, key, v);
}

static void put_vocabulary(tq_gguf_writer *w, const model_file *f) {
    const char *tokens[] = {"<s>", "a", "b", f->token ? f->token : "ab"}, *merges[] = {f->merge ? f->merge : "a b"};
    const int32_t types[] = {3, 1, 1, 1};
    const float scores[] = {0, -1, -2, f->nan_score ? NAN : -3};
    tq_gguf_put_text(w, "tokenizer.ggml.model", f->tokenizer ? f->tokenizer : "gpt2");
    if (f->pre) tq_gguf_put_text(w, "tokenizer.ggml.pre", f->pre);
    if (wanted(f, "tokens")) tq_gguf_put_texts(w, "tokenizer.ggml.tokens", tokens, 4);
    tq_gguf_put_i32s(w, "tokenizer.ggml.token_type", types, f->types_short ? 3 : 4);
    if (wanted(f, "merges")) tq_gguf_put_texts(w, "tokenizer.ggml.merges", merges, 1);
    if (wanted(f, "scores")) tq_gguf_put_f32s(w, "tokenizer.ggml.scores", scores, 4);
}

static void write_model(const model_file *f) {
    tq_gguf_writer *w = NULL;
    tq_err err = {""};
    const tq_gguf_type *f32 = tq_gguf_type_find(0);
    const size_t embedding[] = {4, 64}, q[] = {64, 64}, small = 64;
    const int32_t list[] = {4, 4};
    const float zeros[4096] = {0};
    assert_int_equal(tq_gguf_writer_new(scratch_path("x.gguf"), &w, &err), TQ_OK);
    tq_gguf_put_text(w, "general.architecture", "llama");
    put_size(w, f, "llama.embedding_length", f->hidden ? f->hidden : 64);
    put_size(w, f, "llama.block_count", 1);
    put_size(w, f, "llama.feed_forward_length", 96);
    if (f->heads_array)
        tq_gguf_put_i32s(w, "llama.attention.head_count", list, 2);
    else
        put_size(w, f, "llama.attention.head_count", f->heads ? f->heads : 4);
    if (f->kv_heads) put_size(w, f, "llama.attention.head_count_kv", f->kv_heads);
    if (f->key_length) put_size(w, f, "llama.attention.key_length", f->key_length);
    if (f->dims) put_size(w, f, "llama.rope.dimension_count", f->dims);
    if (f->scaling) {
        tq_gguf_put_text(w, "llama.rope.scaling.type", f->scaling);
        tq_gguf_put_f32(w, "llama.rope.scaling.factor", 2);
    }
    put_vocabulary(w, f);
    if (!f->no_embedding) assert_int_equal(tq_gguf_declare(w, "token_embd.weight", f32, embedding, 2, &err), TQ_OK);
    assert_int_equal(tq_gguf_declare(w, "blk.0.attn_q.weight", f32, q, 2, &err), TQ_OK);
    if (f->biased) assert_int_equal(tq_gguf_declare(w, "blk.0.attn_q.bias", f32, &small, 1, &err), TQ_OK);
    if (!f->no_embedding) assert_int_equal(tq_gguf_data(w, zeros, 4 * 64 * 4, &err), TQ_OK);
    assert_int_equal(tq_gguf_data(w, zeros, sizeof zeros, &err), TQ_OK);
    if (f->biased) assert_int_equal(tq_gguf_data(w, zeros, 64 * 4, &err), TQ_OK);
    if (tq_gguf_writer_finish(w, &err)) fail_msg("%s", err.msg);
}

/* Opens it as far as it goes; the line that refuses it. */
static void refuse(const model_file *f, const char *mention) {
    tq_err err = {""};
    tq_config config;
    tq_source *s = NULL;
    tq_tokenizer *t = NULL;
    write_model(f);
    int rc = tq_source_open(scratch_path("x.gguf"), &s, &err);
    if (!rc) rc = tq_config_of(s, &config, &err);
    if (!rc) rc = tq_tokenizer_of(s, &t, &err);
    tq_tokenizer_free(t);
    tq_source_close(s);
    if (!rc) fail_msg("opened, expected a line about: %s", mention);
    if (!strstr(err.msg, mention) || strchr(err.msg, '\n') || !strstr(err.msg, "x.gguf"))
        fail_msg("expected a line about %s: %s", mention, err.msg);
}

static void test_refused(void **state) {
    static const struct {
        model_file f;
        const char *mention;
    } cases[] = {
        {{.drop = "llama.embedding_length"}, "embedding_length is missing"},
        {{.drop = "llama.block_count"}, "block_count is missing"},
        {{.drop = "llama.attention.head_count"}, "head"},
        {{.heads_array = true}, "head"},
        {{.heads = 7}, "even number"},
        {{.heads = 64}, "even number"},
        {{.kv_heads = 3}, "multiple"},
        {{.key_length = 48}, "keys and values"},
        {{.dims = 400}, "dimension_count"},
        {{.dims = 3}, "even number"},
        {{.hidden = (size_t)1 << 31}, "embedding_length"},
        {{.scaling = "longrope"}, "longrope"},
        {{.no_embedding = true}, "token_embd.weight is missing"},
        {{.tokenizer = "bert"}, "bert is not supported"},
        {{.pre = "no-such"}, "no-such is not supported"},
        {{.token = "\xFF\xFE"}, "no text"},
        {{.token = "a"}, "twice"},
        {{.merge = "a x"}, "not in the vocabulary"},
        {{.merge = "ab"}, "not a pair"},
        {{.drop = "merges"}, "merges"},
        {{.tokenizer = "llama", .drop = "scores"}, "scores is missing"},
        {{.tokenizer = "llama", .nan_score = true}, "finite"},
        {{.types_short = true}, "for each of 4 tokens"},
    };
    (void)state;
    const model_file good = {0};
    tq_err err = {""};
    tq_config config;
    tq_source *s = NULL;
    write_model(&good);
    if (tq_source_open(scratch_path("x.gguf"), &s, &err) || tq_config_of(s, &config, &err)) fail_msg("%s", err.msg);
    assert_int_equal(config.head_dim, 16);
    assert_int_equal(config.kv_heads, 4);
    assert_true(config.tied);
    tq_source_close(s);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refuse(&cases[i].f, cases[i].mention);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_converted),     cmocka_unit_test(test_round_trip),      cmocka_unit_test(test_quantized),
        cmocka_unit_test(test_altered),       cmocka_unit_test(test_refused_exports), cmocka_unit_test(test_tokenizers),
        cmocka_unit_test(test_sentencepiece), cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests_name("gguf_model", tests, scratch_make, scratch_remove);
}
