/* test_arithmetic.c - what the integer and bf16 paths of the forward pass cost against fp32, on the sample model. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kernels/kernels.h"
#include "model/session.h"
#include "model/tensor_writer.h"
#include "tests/scratch.h"
#include "tests/session_fixture.h"

#define MODEL "samples/tiny-qwen3.5"
#define TEXT "samples/eval.txt"

enum { TOKENS = 192 };

typedef struct fixture {
    tq_session *s;
    size_t vocab;
    int *ids;
    float *logits[2]; /* [TOKENS, vocab] */
} fixture;

static void open_at(fixture *f, const char *rule, int threads) {
    tq_err err = {{0}};
    char *text = calloc(1, 8 * TOKENS + 1);
    size_t n = 0;
    FILE *file = fopen(TEXT, "rb");
    assert_non_null(file);
    size_t bytes = fread(text, 1, 8 * TOKENS, file);
    (void)fclose(file);
    f->s = open_session(MODEL, threads);
    check(tq_tokenizer_encode(tq_session_tokenizer(f->s), text, bytes, false, false, &f->ids, &n, &err), &err);
    assert_true(n >= TOKENS);
    free(text);
    set_rule(f->s, rule);
    check(tq_session_apply(f->s, NULL, NULL, NULL, &err), &err);
    f->vocab = tq_model_config(tq_session_model(f->s))->vocab;
    for (int i = 0; i < 2; i++)
        f->logits[i] = calloc(TOKENS * f->vocab, sizeof(float));
}

/* The sample model with every tensor in fp32, without a tokenizer of its own. */
static void write_as_floats(void) {
    tq_err err = {{0}};
    tq_source *s = NULL;
    tq_writer *w = NULL;
    char *config = NULL;
    size_t bytes = 0;
    check(tq_read_file(MODEL "/config.json", 1 << 20, &config, &bytes, &err), &err);
    scratch_write("config.json", config, bytes);
    free(config);
    check(tq_source_open(MODEL, &s, &err), &err);
    check(tq_writer_new(scratch_path("model.safetensors"), NULL, &w, &err), &err);
    for (size_t i = 0; i < tq_source_count(s); i++) {
        const tq_tensor *t = tq_source_at(s, i);
        check(tq_writer_declare(w, t->name, "F32", t->shape, t->rank, t->count * sizeof(float), &err), &err);
    }
    for (size_t i = 0; i < tq_source_count(s); i++) {
        const tq_tensor *t = tq_source_at(s, i);
        float *values = malloc(t->count * sizeof *values);
        assert_non_null(values);
        if (t->dtype == TQ_F32)
            memcpy(values, t->data, t->count * sizeof *values);
        else
            tq_k()->bf16_to_f32(values, t->data, t->count);
        assert_true(t->dtype == TQ_F32 || t->dtype == TQ_BF16);
        check(tq_writer_data(w, values, t->count * sizeof *values, &err), &err);
        free(values);
    }
    check(tq_writer_finish(w, &err), &err);
    tq_source_close(s);
}

static void close_all(fixture *f) {
    tq_session_close(f->s);
    free(f->ids);
    free(f->logits[0]);
    free(f->logits[1]);
}

/* The logits of TOKENS tokens, all at once. */
static void together(fixture *f, tq_arithmetic a, float *logits) {
    tq_err err = {{0}};
    const tq_model *m = tq_session_model(f->s);
    size_t hidden = tq_model_config(m)->hidden;
    tq_forward *forward = tq_forward_new(m, tq_session_pool(f->s), &err);
    float *h = calloc(TOKENS * hidden, sizeof *h);
    tq_forward_set_arithmetic(forward, a);
    check(tq_forward_embed(forward, tq_session_variant(f->s), f->ids, TOKENS, h, &err), &err);
    for (size_t b = 0; b < tq_model_config(m)->blocks; b++)
        check(tq_forward_block(forward, tq_session_variant(f->s), b, h, 1, TOKENS, NULL, &err), &err);
    check(tq_forward_logits(forward, tq_session_variant(f->s), h, TOKENS, logits, &err), &err);
    tq_forward_free(forward);
    free(h);
}

/* The same, one token after the other. */
static void one_by_one(fixture *f, tq_arithmetic a, float *logits) {
    tq_err err = {{0}};
    const tq_model *m = tq_session_model(f->s);
    tq_forward *forward = tq_forward_new(m, tq_session_pool(f->s), &err);
    tq_cache *cache = tq_cache_new(m, TOKENS, &err);
    tq_forward_set_arithmetic(forward, a);
    for (size_t i = 0; i < TOKENS; i++)
        check(tq_forward_append(forward, tq_session_variant(f->s), cache, f->ids + i, 1, logits + i * f->vocab, NULL,
                                &err),
              &err);
    tq_forward_free(forward);
    tq_cache_free(cache);
}

static double divergence(const fixture *f) {
    double sum = 0;
    for (size_t i = 0; i < TOKENS; i++) {
        tq_kld_row row;
        tq_k()->kld_row(&row, f->logits[0] + i * f->vocab, f->logits[1] + i * f->vocab, f->vocab, 0);
        sum += row.kld;
    }
    return sum / TOKENS;
}

static void fast_is_close_to_exact(void **state) {
    static const char *const rules[] = {"*=4", "*=4t", "*=4+2", "*=4+4", "*=keep"};
    (void)state;
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        fixture f = {0};
        open_at(&f, rules[i], 2);
        together(&f, TQ_ARITHMETIC_EXACT, f.logits[0]);
        together(&f, TQ_ARITHMETIC_FAST, f.logits[1]);
        double prefill = divergence(&f);
        one_by_one(&f, TQ_ARITHMETIC_USUAL, f.logits[1]);
        double decode = divergence(&f);
        print_message("%-6s KLD of fp32 and bf16 over many tokens %.2g, of fp32 and integers one by one %.2g\n",
                      rules[i], prefill, decode);
        assert_true(prefill >= 0 && prefill <= 1e-4);
        assert_true(decode >= -1e-9 && decode <= 1e-6);
        close_all(&f);
    }
}

/* Weights that are stored otherwise are rounded to bf16 on the way: where that loses nothing, nothing is lost. */
static void fast_takes_every_storage(void **state) {
    fixture f = {0};
    (void)state;
    open_at(&f, "*=keep", 2);
    together(&f, TQ_ARITHMETIC_FAST, f.logits[0]);
    write_as_floats();
    tq_session_close(f.s);
    f.s = open_session(scratch_dir, 2);
    together(&f, TQ_ARITHMETIC_FAST, f.logits[1]);
    if (tq_k()->gemm_bf16_pays) assert_memory_equal(f.logits[0], f.logits[1], TOKENS * f.vocab * sizeof(float));
    together(&f, TQ_ARITHMETIC_EXACT, f.logits[0]);
    assert_true(divergence(&f) <= 1e-4);
    close_all(&f);
}

/* The fp32 path of one token gives what that of many gives. */
static void exact_is_exact_one_by_one(void **state) {
    fixture f = {0};
    (void)state;
    open_at(&f, "*=4+4", 2);
    together(&f, TQ_ARITHMETIC_USUAL, f.logits[0]);
    one_by_one(&f, TQ_ARITHMETIC_EXACT, f.logits[1]);
    assert_true(fabs(divergence(&f)) <= 1e-9);
    close_all(&f);
}

static void fast_does_not_depend_on_threads(void **state) {
    fixture one = {0}, three = {0};
    (void)state;
    open_at(&one, "*=4+2", 1);
    open_at(&three, "*=4+2", 3);
    together(&one, TQ_ARITHMETIC_FAST, one.logits[0]);
    together(&three, TQ_ARITHMETIC_FAST, three.logits[0]);
    assert_memory_equal(one.logits[0], three.logits[0], TOKENS * one.vocab * sizeof(float));
    close_all(&one);
    close_all(&three);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fast_is_close_to_exact), cmocka_unit_test(fast_takes_every_storage),
        cmocka_unit_test(exact_is_exact_one_by_one), cmocka_unit_test(fast_does_not_depend_on_threads)};
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
