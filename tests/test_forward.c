/* Logits against transformers' logits; blocks against token by token; threads, variants, and what must be refused. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "model/tensor_writer.h"
#include "tests/logits_fixture.h"

/* Against another implementation's order of additions in fp32. */
#define REFERENCE_TOLERANCE 2e-3F
/* Between our own two ways. */
#define SELF_TOLERANCE 1e-3F
/* Packed products of one token take the input in 14-bit integers, blocks take it in fp32 (kernels.h, tq_xq): the KL
 * divergence between the two is at most this part of the one that the quantized weights cause. */
#define DECODE_NOISE 1e-3

static int argmax(const float *x, size_t n) {
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return (int)best;
}

static tq_cache *new_cache(const logits_fixture *f, size_t ctx) {
    tq_err err = {""};
    tq_cache *c = tq_cache_new(f->model, ctx, &err);
    assert_non_null(c);
    return c;
}

static void append(logits_fixture *f, tq_variant q, tq_cache *c, const int *ids, size_t n, float *logits) {
    tq_err err = {""};
    int rc = tq_forward_append(f->forward, q, c, ids, n, logits, NULL, &err);
    if (rc != TQ_OK) print_error("%s\n", err.msg);
    assert_int_equal(rc, TQ_OK);
}

/* The largest difference to `want` ([n_ids, vocab]) when the prompt is appended in pieces of `piece` tokens. */
static float pieces_diff(logits_fixture *f, tq_variant q, size_t piece, const float *want) {
    size_t vocab = f->config.vocab;
    tq_cache *c = new_cache(f, f->n_ids);
    float *logits = calloc(vocab, sizeof *logits), worst = 0.0F;
    for (size_t i = 0; i < f->n_ids; i += piece) {
        size_t n = f->n_ids - i < piece ? f->n_ids - i : piece;
        append(f, q, c, f->ids + i, n, logits);
        assert_int_equal(tq_cache_length(c), i + n);
        float d = logits_max_diff(logits, want + (i + n - 1) * vocab, vocab);
        if (!(d <= worst)) worst = d;
    }
    free(logits);
    tq_cache_free(c);
    return worst;
}

/* The sequence length decides the frequencies of this one, so that pieces are another computation than the whole, in
 * the reference too. */
static bool depends_on_length(const logits_fixture *f) {
    return f->config.rope.type == TQ_ROPE_DYNAMIC && f->n_ids > f->config.context;
}

static void check_greedy(logits_fixture *f, const char *name) {
    size_t vocab = f->config.vocab;
    float *logits = calloc(vocab, sizeof *logits);
    tq_cache *c = new_cache(f, f->n_ids + f->n_greedy);
    append(f, NULL, c, f->ids, f->n_ids, logits);
    for (size_t i = 0; i < f->n_greedy; i++) {
        int id = argmax(logits, vocab);
        if (id != f->greedy[i]) fail_msg("%s: greedy token %zu is %d, expected %d", name, i, id, f->greedy[i]);
        append(f, NULL, c, &id, 1, logits);
    }
    tq_cache_free(c);
    free(logits);
}

static void check_reference(const char *name) {
    logits_fixture f;
    logits_fixture_open(&f, name, 2);
    float *logits = logits_blocked(&f, NULL, f.ids, 1, f.n_ids), worst = 0.0F, one = 0.0F, some = 0.0F;
    for (size_t i = 0; i < f.n_positions; i++) {
        float d =
            logits_max_diff(logits + f.positions[i] * f.config.vocab, f.logits + i * f.config.vocab, f.config.vocab);
        if (!(d <= worst)) worst = d;
    }
    if (!depends_on_length(&f)) {
        one = pieces_diff(&f, NULL, 1, logits);
        some = pieces_diff(&f, NULL, 13, logits);
    }
    print_message("%-20s reference %.2e  token by token %.2e  by 13 %.2e\n", name, (double)worst, (double)one,
                  (double)some);
    assert_true(worst <= REFERENCE_TOLERANCE);
    assert_true(one <= SELF_TOLERANCE && some <= SELF_TOLERANCE);
    assert_int_equal(f.n_greedy, 64);
    check_greedy(&f, name);
    free(logits);
    logits_fixture_close(&f);
}

static void test_reference(void **state) {
    (void)state;
    for (size_t i = 0; i < logits_fixtures_count; i++)
        check_reference(logits_fixtures[i]);
}

static void test_sample(void **state) {
    (void)state;
    check_reference("sample");
}

/* The mean KL divergence from rows of p to rows of q. */
static double mean_kld(const float *p, const float *q, size_t n, size_t vocab) {
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        tq_kld_row row;
        tq_k()->kld_row(&row, p + i * vocab, q + i * vocab, vocab, 0);
        sum += row.kld;
    }
    return sum / (double)n;
}

/* The logits of every position, token by token: [n_ids, vocab]. */
static float *decoded_logits(logits_fixture *f, tq_variant q) {
    float *logits = calloc(f->n_ids * f->config.vocab, sizeof *logits);
    assert_non_null(logits);
    tq_cache *c = new_cache(f, f->n_ids);
    for (size_t i = 0; i < f->n_ids; i++)
        append(f, q, c, f->ids + i, 1, logits + i * f->config.vocab);
    tq_cache_free(c);
    return logits;
}

/* How far packed products are from decoded tiles, and that the variant is used at all. */
static void check_noise(logits_fixture *f, tq_variant q, const char *name) {
    size_t vocab = f->config.vocab, piece = f->n_ids % 13 == 1 ? 11 : 13; /* no rest of a single token */
    float *base = logits_blocked(f, NULL, f->ids, 1, f->n_ids), *blocked = logits_blocked(f, q, f->ids, 1, f->n_ids);
    float *decoded = decoded_logits(f, q), some = pieces_diff(f, q, piece, blocked);
    double change = mean_kld(base, blocked, f->n_ids, vocab), noise = mean_kld(blocked, decoded, f->n_ids, vocab);
    print_message("%-40s kld %.1e  decode noise %.1e of it, at most %.1e  by %zu %.1e\n", name, change, noise / change,
                  (double)logits_max_diff(blocked, decoded, f->n_ids * vocab), piece, (double)some);
    assert_true(change > 1e-5);
    assert_true(noise <= DECODE_NOISE * change);
    assert_true(some <= SELF_TOLERANCE);
    free(base);
    free(blocked);
    free(decoded);
}

static void check_variant(const char *fixture, tq_bits bits, size_t group, tq_residual residual) {
    logits_fixture f;
    char name[80];
    logits_fixture_open(&f, fixture, 2);
    tq_qmatrix **q = logits_variant_new(&f, bits, group, residual);
    (void)snprintf(name, sizeof name, "%s %s:%zu %s", fixture, tq_bits_get(bits)->name, group,
                   tq_residual_name(residual));
    check_noise(&f, q, name);
    logits_variant_free(&f, q);
    logits_fixture_close(&f);
}

static void test_variants(void **state) {
    (void)state;
    const char *const names[] = {"sample", "qwen3_5-tied", "qwen3-untied", "smollm2-f16", "mistral-window-f32"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        check_variant(names[i], TQ_BITS_4, 128, TQ_RESIDUAL_NESTED);
        check_variant(names[i], TQ_BITS_4_2, TQ_GROUP_ROW, TQ_RESIDUAL_NESTED);
        check_variant(names[i], TQ_BITS_4_4, 32, TQ_RESIDUAL_NESTED);
        check_variant(names[i], TQ_BITS_4_4, 64, TQ_RESIDUAL_INDEPENDENT);
    }
}

/* Every other matrix kept, and groups that differ within q/k/v: several rotations of one input. */
static void test_mixed_variant(void **state) {
    (void)state;
    logits_fixture f;
    logits_fixture_open(&f, "qwen3-tied", 2);
    tq_qmatrix **a = logits_variant_new(&f, TQ_BITS_4_4, 32, TQ_RESIDUAL_INDEPENDENT);
    tq_qmatrix **b = logits_variant_new(&f, TQ_BITS_4, 64, TQ_RESIDUAL_NESTED);
    size_t n = tq_model_matrices(f.model);
    tq_qmatrix **mixed = calloc(n, sizeof(tq_qmatrix *));
    for (size_t i = 0; i < n; i++)
        mixed[i] = i % 3 == 0 ? a[i] : i % 3 == 1 ? b[i] : NULL;
    check_noise(&f, mixed, "qwen3-tied mixed");
    free(mixed);
    logits_variant_free(&f, a);
    logits_variant_free(&f, b);
    logits_fixture_close(&f);
}

static void test_threads(void **state) {
    (void)state;
    const char *const names[] = {"qwen3_5-untied", "llama-rope-linear"};
    for (size_t i = 0; i < 2; i++) {
        float *first[3] = {NULL};
        for (int threads = 1; threads <= 3; threads++) {
            logits_fixture f;
            logits_fixture_open(&f, names[i], threads);
            tq_qmatrix **q = logits_variant_new(&f, TQ_BITS_4_2, 64, TQ_RESIDUAL_NESTED);
            tq_cache *c = new_cache(&f, f.n_ids);
            float *decoded = calloc(f.config.vocab, sizeof *decoded);
            for (size_t t = 0; t < f.n_ids; t++)
                append(&f, q, c, f.ids + t, 1, decoded);
            float *all[3] = {logits_blocked(&f, NULL, f.ids, 1, f.n_ids), logits_blocked(&f, q, f.ids, 2, f.n_ids / 2),
                             decoded};
            const size_t rows[3] = {f.n_ids, f.n_ids, 1};
            for (size_t k = 0; k < 3; k++) {
                if (first[k]) {
                    assert_memory_equal(first[k], all[k], rows[k] * f.config.vocab * sizeof(float));
                    free(all[k]);
                } else {
                    first[k] = all[k];
                }
            }
            tq_cache_free(c);
            logits_variant_free(&f, q);
            logits_fixture_close(&f);
        }
        for (size_t k = 0; k < 3; k++)
            free(first[k]);
    }
}

/* Sequences side by side do not see each other. */
static void test_independent_sequences(void **state) {
    (void)state;
    const char *const names[] = {"qwen3_5-tied", "mistral-window-f32"};
    for (size_t i = 0; i < 2; i++) {
        logits_fixture f;
        logits_fixture_open(&f, names[i], 2);
        size_t len = f.n_ids / 2, size = len * f.config.vocab;
        float *both = logits_blocked(&f, NULL, f.ids, 2, len);
        float *a = logits_blocked(&f, NULL, f.ids, 1, len), *b = logits_blocked(&f, NULL, f.ids + len, 1, len);
        assert_true(logits_max_diff(both, a, size) <= 1e-4F);
        assert_true(logits_max_diff(both + size, b, size) <= 1e-4F);
        free(both);
        free(a);
        free(b);
        logits_fixture_close(&f);
    }
}

static void test_refusals(void **state) {
    (void)state;
    logits_fixture f;
    logits_fixture_open(&f, "qwen3_5-tied", 1);
    tq_err err = {""};
    float *logits = calloc(f.config.vocab, sizeof *logits);
    int bad[] = {3, (int)f.config.vocab}, negative = -1;
    tq_cache *c = new_cache(&f, 8);
    assert_int_equal(tq_forward_append(f.forward, NULL, c, bad, 2, logits, NULL, &err), TQ_FAIL);
    assert_non_null(strstr(err.msg, "token 320"));
    assert_int_equal(tq_forward_append(f.forward, NULL, c, &negative, 1, logits, NULL, &err), TQ_FAIL);
    append(&f, NULL, c, f.ids, 6, logits);
    assert_int_equal(tq_forward_append(f.forward, NULL, c, f.ids, 3, logits, NULL, &err), TQ_FAIL);
    assert_non_null(strstr(err.msg, "full"));
    assert_int_equal(tq_cache_length(c), 6); /* what was refused changed nothing */
    append(&f, NULL, c, f.ids, 2, logits);
    tq_cache_free(c);
    free(logits);
    logits_fixture_close(&f);
}

/* A cancelled append resets the cache; what follows is as from a new one. */
static void test_cancel(void **state) {
    (void)state;
    logits_fixture f;
    logits_fixture_open(&f, "qwen3_5-tied", 2);
    tq_err err = {""};
    atomic_bool cancel = true;
    tq_progress p = {.cancel = &cancel};
    size_t vocab = f.config.vocab;
    float *fresh = calloc(vocab, sizeof *fresh), *again = calloc(vocab, sizeof *again);
    tq_cache *a = new_cache(&f, f.n_ids), *b = new_cache(&f, f.n_ids);
    append(&f, NULL, a, f.ids, 20, fresh);
    append(&f, NULL, b, f.ids + 30, 9, again);
    assert_int_equal(tq_forward_append(f.forward, NULL, b, f.ids, 20, again, &p, &err), TQ_CANCELLED);
    assert_int_equal(tq_cache_length(b), 0);
    append(&f, NULL, b, f.ids, 20, again);
    assert_memory_equal(fresh, again, vocab * sizeof *fresh);
    tq_cache_free(a);
    tq_cache_free(b);
    free(fresh);
    free(again);
    logits_fixture_close(&f);
}

static void test_model_facts(void **state) {
    (void)state;
    logits_fixture f;
    logits_fixture_open(&f, "qwen3_5-multimodal", 1);
    assert_string_equal(tq_model_config(f.model)->prefix, "model.language_model.");
    assert_non_null(strstr(tq_model_note(f.model), "vision"));
    assert_non_null(strstr(tq_model_note(f.model), "3 MTP"));
    assert_null(strstr(tq_model_note(f.model), "other"));
    print_message("%s\n", tq_model_note(f.model));
    assert_int_equal(tq_model_block_matrices(f.model), 6 + 6 + 7);
    assert_int_equal(tq_model_matrices(f.model), 6 + 6 + 7 + (f.config.tied ? 1 : 2));
    assert_string_equal(tq_model_matrix(f.model, 0)->name, "model.language_model.layers.0.linear_attn.in_proj_qkv");
    assert_string_equal(tq_model_matrix(f.model, 0)->label, "linear_attn.in_proj_qkv");
    assert_string_equal(tq_model_block_kind(f.model, 0), "DeltaNet");
    assert_string_equal(tq_model_block_kind(f.model, 2), "attention");
    assert_int_equal(tq_model_find(f.model, "model.language_model.layers.2.mlp.down_proj"), 18);
    assert_true(tq_model_find(f.model, "model.layers.2.mlp.down_proj") == SIZE_MAX);
    size_t weights = 0;
    for (size_t i = 0; i < tq_model_block_matrices(f.model); i++)
        weights += tq_model_matrix(f.model, i)->w.rows * tq_model_matrix(f.model, i)->w.cols;
    assert_int_equal(tq_model_matrix_weights(f.model), weights);
    assert_int_equal(tq_model_matrix_bytes(f.model), weights * 2);
    assert_int_equal(tq_model_kept_bytes(f.model), tq_model_kept_weights(f.model) * 2);
    /* keys and values of one block; convolution, state and scales of two */
    assert_int_equal(tq_model_state_bytes(f.model, 100), 4 * (2 * 64 * 100 + 2 * (3 * 160 + 4 * 24 * 16 + 4)));
    logits_fixture_close(&f);

    logits_fixture_open_dir(&f, LOGITS_DATA "/llama-untied", 1);
    assert_string_equal(tq_model_note(f.model), "");
    logits_fixture_close(&f);
}

/* Writes a copy of a fixture's tensors in which one is left out, renamed, reshaped or overwritten. */
typedef struct edit {
    const char *tensor;
    const char *shape; /* "flat": one dimension */
    const char *dtype; /* instead of the file's */
    bool leave_out;
    bool infinite; /* the first value */
} edit;

static void write_edited(const char *from, const char *path, const edit *e) {
    tq_err err = {""};
    tq_source *s = NULL;
    tq_writer *w = NULL;
    assert_int_equal(tq_source_open(from, &s, &err), TQ_OK);
    assert_int_equal(tq_writer_new(path, NULL, &w, &err), TQ_OK);
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < tq_source_count(s); i++) {
            const tq_tensor *t = tq_source_at(s, i);
            bool hit = strcmp(t->name, e->tensor) == 0;
            if (hit && e->leave_out) continue;
            if (pass == 0) {
                const char *dtype = hit && e->dtype ? e->dtype : t->dtype_name;
                size_t rank = hit && e->shape ? 1 : t->rank;
                const size_t *shape = hit && e->shape ? &t->count : t->shape;
                assert_int_equal(tq_writer_declare(w, t->name, dtype, shape, rank, t->bytes, &err), TQ_OK);
            } else if (hit && e->infinite) {
                uint16_t inf = 0x7f80;
                assert_int_equal(tq_writer_data(w, &inf, sizeof inf, &err), TQ_OK);
                assert_int_equal(tq_writer_data(w, (const char *)t->data + sizeof inf, t->bytes - sizeof inf, &err),
                                 TQ_OK);
            } else {
                assert_int_equal(tq_writer_data(w, t->data, t->bytes, &err), TQ_OK);
            }
        }
    }
    assert_int_equal(tq_writer_finish(w, &err), TQ_OK);
    tq_source_close(s);
}

static void check_edited(const edit *e, const char *expected) {
    char path[] = "/tmp/tq-forward-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    tq_err err = {""};
    tq_config config;
    tq_source *s = NULL;
    tq_model *m = NULL;
    write_edited(LOGITS_DATA "/qwen3_5-untied", path, e);
    assert_int_equal(tq_config_load(LOGITS_DATA "/qwen3_5-untied", &config, &err), TQ_OK);
    char file[64];
    (void)snprintf(file, sizeof file, "%s.safetensors", path);
    assert_int_equal(rename(path, file), 0);
    assert_int_equal(tq_source_open(file, &s, &err), TQ_OK);
    int rc = tq_model_bind(s, &config, &m, &err);
    if (e->infinite && strstr(e->tensor, "mlp")) { /* matrices are not read at binding */
        assert_int_equal(rc, TQ_OK);
        float *h = calloc(4 * config.hidden, sizeof *h);
        const int ids[] = {5, 6, 7, 8};
        tq_forward *f = tq_forward_new(m, NULL, &err);
        assert_non_null(f);
        assert_int_equal(tq_forward_embed(f, NULL, ids, 4, h, &err), TQ_OK);
        assert_int_equal(tq_forward_block(f, NULL, 0, h, 1, 4, NULL, &err), TQ_OK);
        rc = tq_forward_block(f, NULL, 1, h, 1, 4, NULL, &err);
        tq_forward_free(f);
        free(h);
        tq_model_free(m);
    } else {
        assert_null(m);
    }
    assert_int_equal(rc, TQ_FAIL);
    if (!strstr(err.msg, expected)) fail_msg("'%s' is not in '%s'", expected, err.msg);
    tq_source_close(s);
    unlink(file);
}

static void test_bad_models(void **state) {
    (void)state;
    static const struct {
        edit e;
        const char *expected;
    } cases[] = {
        {{.tensor = "model.layers.1.linear_attn.in_proj_z.weight", .leave_out = true},
         "model.layers.1.linear_attn.in_proj_z.weight is missing, expected [96, 64]"},
        {{.tensor = "model.embed_tokens.weight", .leave_out = true}, "model.embed_tokens.weight is missing"},
        {{.tensor = "lm_head.weight", .leave_out = true}, "lm_head.weight is missing, expected [320, 64]"},
        {{.tensor = "model.layers.2.self_attn.q_proj.bias", .leave_out = true}, "q_proj.bias is missing"},
        {{.tensor = "model.layers.0.mlp.up_proj.weight", .shape = "flat"}, "is [8704], expected [136, 64]"},
        {{.tensor = "model.layers.0.linear_attn.conv1d.weight", .shape = "flat"}, "is [640], expected [160, 1, 4]"},
        {{.tensor = "model.layers.0.mlp.gate_proj.weight", .dtype = "I16"}, "is I16, expected F32, F16 or BF16"},
        {{.tensor = "model.norm.weight", .infinite = true}, "model.norm.weight holds a value that is not finite"},
        {{.tensor = "model.layers.1.mlp.down_proj.weight", .infinite = true}, "block 1: result is not finite"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_edited(&cases[i].e, cases[i].expected);
}

/* A file of 13 GB, all holes: opening it may read norms, not matrices. */
static void test_large_model_opens_at_once(void **state) {
    (void)state;
    char dir[] = "/tmp/tq-large-XXXXXX", path[64], shape[64];
    assert_non_null(mkdtemp(dir));
    enum { HIDDEN = 4096, FEED = 11008, VOCAB = 32000, BLOCKS = 32 };
    static const struct {
        const char *name;
        size_t rows, cols;
    } parts[] = {
        {"input_layernorm", HIDDEN, 0},       {"post_attention_layernorm", HIDDEN, 0},
        {"self_attn.q_proj", HIDDEN, HIDDEN}, {"self_attn.k_proj", HIDDEN, HIDDEN},
        {"self_attn.v_proj", HIDDEN, HIDDEN}, {"self_attn.o_proj", HIDDEN, HIDDEN},
        {"mlp.gate_proj", FEED, HIDDEN},      {"mlp.up_proj", FEED, HIDDEN},
        {"mlp.down_proj", HIDDEN, FEED},
    };
    size_t at = 0, used = 0, room = 1 << 20;
    char *header = calloc(room, 1);
    used = (size_t)snprintf(
        header, room,
        "{\"model.embed_tokens.weight\":{\"dtype\":\"BF16\",\"shape\":[%d,%d],\"data_offsets\":[0,%zu]}"
        ",\"model.norm.weight\":{\"dtype\":\"BF16\",\"shape\":[%d],\"data_offsets\":[%zu,%zu]}",
        VOCAB, HIDDEN, (size_t)VOCAB * HIDDEN * 2, HIDDEN, (size_t)VOCAB * HIDDEN * 2,
        (size_t)VOCAB * HIDDEN * 2 + HIDDEN * 2);
    at = (size_t)VOCAB * HIDDEN * 2 + HIDDEN * 2;
    for (int b = 0; b < BLOCKS; b++) {
        for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
            size_t bytes = parts[i].rows * (parts[i].cols ? parts[i].cols : 1) * 2;
            if (parts[i].cols)
                (void)snprintf(shape, sizeof shape, "%zu,%zu", parts[i].rows, parts[i].cols);
            else
                (void)snprintf(shape, sizeof shape, "%zu", parts[i].rows);
            used += (size_t)snprintf(
                header + used, room - used,
                ",\"model.layers.%d.%s.weight\":{\"dtype\":\"BF16\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}", b,
                parts[i].name, shape, at, at + bytes);
            at += bytes;
        }
    }
    header[used++] = '}';
    while (used % 8)
        header[used++] = ' '; /* as the reference writes it: data begin aligned */
    (void)snprintf(path, sizeof path, "%s/model.safetensors", dir);
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    uint64_t length = used; /* little-endian, as every machine that this runs on */
    assert_int_equal(fwrite(&length, 8, 1, out), 1);
    assert_int_equal(fwrite(header, used, 1, out), 1);
    assert_int_equal(fflush(out), 0);
    assert_int_equal(ftruncate(fileno(out), (off_t)(8 + used + at)), 0);
    fclose(out);
    free(header);

    tq_err err = {""};
    tq_config config = {.arch = TQ_ARCH_LLAMA,
                        .vocab = VOCAB,
                        .hidden = HIDDEN,
                        .intermediate = FEED,
                        .blocks = BLOCKS,
                        .heads = 32,
                        .kv_heads = 32,
                        .head_dim = 128,
                        .context = 4096,
                        .norm_eps = 1e-5F,
                        .tied = true,
                        .rope = {.theta = 1e4F, .dims = 128}};
    tq_source *s = NULL;
    tq_model *m = NULL;
    double start = tq_now();
    assert_int_equal(tq_source_open(path, &s, &err), TQ_OK);
    assert_int_equal(tq_model_bind(s, &config, &m, &err), TQ_OK);
    double seconds = tq_now() - start;
    print_message("%.1f GB opened and bound in %.1f ms\n", (double)at / 1e9, seconds * 1e3);
    assert_int_equal(tq_model_matrices(m), 7 * BLOCKS + 1); /* embedding and head are one */
    assert_true(seconds < 0.2);                             /* as long as drawing the table may take */
    tq_model_free(m);
    tq_source_close(s);
    unlink(path);
    rmdir(dir);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reference),
        cmocka_unit_test(test_sample),
        cmocka_unit_test(test_variants),
        cmocka_unit_test(test_mixed_variant),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_independent_sequences),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_model_facts),
        cmocka_unit_test(test_bad_models),
        cmocka_unit_test(test_large_model_opens_at_once),
    };
    return cmocka_run_group_tests_name("forward", tests, NULL, NULL);
}
