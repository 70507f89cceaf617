/* test_memory.c - what a model is said to take, and that one larger than memory goes through block by block. */
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
#include "tui/bench_model.h"

/* Scratch after a prompt of 512 tokens, as stored and packed: what is foretold is enough, and not absurdly much. */
static void activations_are_foretold(void **state) {
    enum { N = 512 };
    (void)state;
    for (size_t k = 0; k < logits_fixtures_count; k++) {
        logits_fixture f;
        tq_err err = {{0}};
        int ids[N];
        logits_fixture_open(&f, logits_fixtures[k], 2);
        float *logits = calloc(f.config.vocab, sizeof *logits);
        for (size_t i = 0; i < N; i++)
            ids[i] = f.ids[i % f.n_ids];
        size_t n =
            f.config.context && f.config.context < N ? f.config.context : N; /* GPT-2 has learned so many positions */
        size_t said = tq_activation_bytes(f.model, n, n, 2) + tq_model_state_bytes(f.model, 0);
        tq_qmatrix **q = logits_variant_new(&f, TQ_BITS_4, 32, TQ_RESIDUAL_NESTED);
        for (int packed = 0; packed < 2; packed++) {
            tq_cache *c = tq_cache_new(f.model, n, &err);
            assert_non_null(c);
            assert_int_equal(tq_forward_append(f.forward, packed ? q : NULL, c, ids, n, logits, NULL, &err), TQ_OK);
            tq_cache_free(c);
        }
        size_t held = tq_forward_held(f.forward);
        print_message("%-20s %8zu bytes foretold, %8zu held\n", logits_fixtures[k], said, held);
        assert_true(held <= said && said < 4 * held);
        free(logits);
        logits_variant_free(&f, q);
        logits_fixture_close(&f);
    }
}

static void plans_add_up(void **state) {
    tq_session *s = NULL;
    tq_err err = {{0}};
    (void)state;
    assert_int_equal(tq_session_open(LOGITS_SAMPLE, &(tq_session_options){.threads = 1}, &s, &err), TQ_OK);
    tq_memory m = tq_session_memory(s);
    tq_memory_plan p = tq_session_memory_plan(s, 512), longer = tq_session_memory_plan(s, 4096);
    assert_int_equal(p.packed + p.mapped, m.total);
    assert_int_equal(p.total, p.packed + p.mapped + p.state + p.activations);
    assert_int_equal(p.state, tq_model_state_bytes(tq_session_model(s), 512));
    assert_true(longer.state > 2 * p.state && longer.activations >= p.activations);
    assert_true(p.machine > 0 && p.machine == tq_machine_memory() && !p.streams);
    tq_session_close(s);
    assert_int_equal(tq_session_open(LOGITS_SAMPLE, &(tq_session_options){.threads = 1, .memory = m.total}, &s, &err),
                     TQ_OK);
    p = tq_session_memory_plan(s, 512);
    assert_true(p.machine == m.total && p.streams);
    tq_session_close(s);
}

/* --- streaming --- */

/* A line of /proc/self/status, in bytes; 0: there is none. */
static size_t status_of(const char *key) {
    char line[256];
    size_t n = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, key, strlen(key)) == 0) n = strtoul(line + strlen(key), NULL, 10) * 1024;
    if (f) fclose(f);
    return n;
}

#define SMALL_MACHINE ((size_t)32 << 20)

typedef struct watch {
    size_t before, most;
} watch;

static void look(void *ctx, double done, double total) {
    watch *w = ctx;
    size_t now = status_of("RssFile:");
    (void)done, (void)total;
    if (now > w->before && now - w->before > w->most) w->most = now - w->before;
}

/* 4 bits everywhere on a model of random weights, and as stored; the most of its file that was in memory at a time. */
typedef struct streamed {
    tq_eval_result stored_again, packed;
    size_t most, packing; /* bytes in memory: as stored, and while it is packed and evaluated */
    size_t left;          /* of the file, when a pass as stored is through */
    size_t stored, block; /* bytes of all matrices, of one block's */
} streamed;

static void run(tq_session *s, const char *rule, watch *w, tq_eval_result *r) {
    enum { CTX = 64, N = 2 * CTX };
    tq_evaluator *e = NULL;
    tq_err err;
    int ids[N];
    for (int i = 0; i < N; i++)
        ids[i] = i * 37 % (int)tq_model_config(tq_session_model(s))->vocab;
    tq_progress p = {.report = look, .ctx = w};
    set_rule(s, rule);
    check(tq_session_apply(s, &p, NULL, NULL, &err), &err);
    check(
        tq_evaluator_new(tq_session_model(s), tq_session_pool(s), ids, N, &(tq_eval_options){.ctx = CTX}, 0, &e, &err),
        &err);
    check(tq_evaluator_run(e, tq_session_variant(s), &p, NULL, NULL, r, &err), &err);
    r->seconds = 0;
    tq_evaluator_free(e);
}

/* Takes the session over. */
static streamed evaluate(tq_session *s) {
    streamed r = {0};
    watch w = {.before = status_of("RssFile:")};
    run(s, "*=keep", &w, &r.stored_again);
    r.most = w.most;
    w.most = 0;
    look(&w, 1, 1);
    r.left = w.most;
    w.most = 0;
    run(s, "*=4", &w, &r.packed);
    r.packing = w.most;
    r.stored = tq_model_matrix_bytes(tq_session_model(s));
    r.block = r.stored / tq_model_config(tq_session_model(s))->blocks;
    tq_session_close(s);
    return r;
}

static void same_figures(const char *what, const streamed *all, const streamed *b) {
    size_t mib = 1048576;
    print_message(
        "%s: %zu MiB of matrices; in memory at most %zu, streamed %zu, while they are packed %zu; %zu KiB left\n", what,
        all->stored / mib, all->most / mib, b->most / mib, b->packing / mib, b->left / 1024);
    assert_memory_equal(&all->stored_again, &b->stored_again, sizeof all->stored_again);
    assert_memory_equal(&all->packed, &b->packed, sizeof all->packed);
    assert_true(all->most > all->stored / 2);
    /* The kernel maps pages around a fault, of matrices too that were let go: a block's end lets go of those. */
    assert_true(b->left < b->stored / 100);
}

static void needs_rss(void) {
    if (status_of("RssFile:")) return;
    print_message("no RssFile in /proc/self/status: not measured\n");
    skip();
}

static void larger_than_memory_goes_through(void **state) {
    static const tq_shape shape = {
        .hidden = 512, .intermediate = 2048, .blocks = 12, .heads = 8, .kv_heads = 8, .vocab = 1024};
    streamed r[2];
    (void)state;
    needs_rss();
    for (size_t k = 0; k < 2; k++) {
        tq_session *s = NULL;
        tq_err err;
        check(tq_bench_model(&shape, &(tq_session_options){.threads = 2, .memory = k * SMALL_MACHINE}, &s, &err), &err);
        r[k] = evaluate(s);
    }
    same_figures("dense", &r[0], &r[1]);
    assert_true(r[1].most < 4 * r[1].block &&
                r[1].packing < 4 * r[1].block); /* two blocks, and what the kernel maps around a fault */
}

/* --- mixtures --- */

enum { HIDDEN = 512, WIDTH = 512, EXPERTS = 16, BLOCKS = 4, VOCAB = 512, HEAD = 64 };

typedef struct mixture_tensor {
    char name[80];
    size_t shape[3], rank;
} mixture_tensor;

typedef struct mixture_list {
    mixture_tensor t[BLOCKS * (9 + 3 * EXPERTS) + 2];
    size_t count;
} mixture_list;

static void list(mixture_list *l, size_t rank, size_t a, size_t b, size_t c, const char *fmt, ...)
    __attribute__((format(printf, 6, 7)));

static void list(mixture_list *l, size_t rank, size_t a, size_t b, size_t c, const char *fmt, ...) {
    mixture_tensor *t = &l->t[l->count++];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(t->name, sizeof t->name, fmt, args);
    va_end(args);
    t->shape[0] = a;
    t->shape[1] = b;
    t->shape[2] = c;
    t->rank = rank;
}

static void list_block(mixture_list *l, size_t b, bool together) {
    static const char *const projections[] = {"q", "k", "v", "o"};
    char p[32];
    (void)snprintf(p, sizeof p, "model.layers.%zu", b);
    list(l, 1, HIDDEN, 1, 1, "%s.input_layernorm.weight", p);
    list(l, 1, HIDDEN, 1, 1, "%s.post_attention_layernorm.weight", p);
    list(l, 1, HEAD, 1, 1, "%s.self_attn.q_norm.weight", p);
    list(l, 1, HEAD, 1, 1, "%s.self_attn.k_norm.weight", p);
    for (size_t k = 0; k < 4; k++)
        list(l, 2, HIDDEN, HIDDEN, 1, "%s.self_attn.%s_proj.weight", p, projections[k]);
    list(l, 2, EXPERTS, HIDDEN, 1, "%s.mlp.gate.weight", p);
    if (together) {
        list(l, 3, EXPERTS, (size_t)2 * WIDTH, HIDDEN, "%s.mlp.experts.gate_up_proj", p);
        list(l, 3, EXPERTS, HIDDEN, WIDTH, "%s.mlp.experts.down_proj", p);
        return;
    }
    for (size_t e = 0; e < EXPERTS; e++) {
        list(l, 2, WIDTH, HIDDEN, 1, "%s.mlp.experts.%zu.gate_proj.weight", p, e);
        list(l, 2, WIDTH, HIDDEN, 1, "%s.mlp.experts.%zu.up_proj.weight", p, e);
        list(l, 2, HIDDEN, WIDTH, 1, "%s.mlp.experts.%zu.down_proj.weight", p, e);
    }
}

static void write_mixture(const char *dir, bool together) {
    static const char config[] =
        "{\"model_type\":\"qwen3_moe\",\"hidden_size\":512,\"intermediate_size\":512,\"moe_intermediate_size\":512,"
        "\"num_experts\":16,\"num_experts_per_tok\":4,\"norm_topk_prob\":true,\"decoder_sparse_step\":1,"
        "\"mlp_only_layers\":[],\"num_hidden_layers\":4,\"num_attention_heads\":8,\"num_key_value_heads\":8,"
        "\"head_dim\":64,\"vocab_size\":512,\"rms_norm_eps\":1e-6,\"rope_theta\":10000.0,"
        "\"max_position_embeddings\":512,\"tie_word_embeddings\":true,\"hidden_act\":\"silu\"}";
    mixture_list *l = calloc(1, sizeof *l);
    uint16_t *data = malloc(sizeof *data * EXPERTS * 2 * WIDTH * HIDDEN);
    char path[128];
    tq_writer *w = NULL;
    tq_err err;
    assert_true(l && data);
    (void)snprintf(path, sizeof path, "%s/config.json", dir);
    check(tq_write_file(path, config, sizeof config - 1, &err), &err);
    (void)snprintf(path, sizeof path, "%s/model.safetensors", dir);
    list(l, 2, VOCAB, HIDDEN, 1, "model.embed_tokens.weight");
    list(l, 1, HIDDEN, 1, 1, "model.norm.weight");
    for (size_t b = 0; b < BLOCKS; b++)
        list_block(l, b, together);
    check(tq_writer_new(path, NULL, &w, &err), &err);
    for (size_t i = 0; i < l->count; i++) {
        const mixture_tensor *t = &l->t[i];
        check(tq_writer_declare(w, t->name, "BF16", t->shape, t->rank,
                                t->shape[0] * t->shape[1] * t->shape[2] * sizeof *data, &err),
              &err);
    }
    for (size_t i = 0; i < l->count; i++) {
        size_t n = l->t[i].shape[0] * l->t[i].shape[1] * l->t[i].shape[2];
        tq_bench_random(data, n, 0.08F, i);
        for (size_t k = 0; l->t[i].rank == 1 && k < n; k++)
            data[k] = 0x3f80; /* 1 */
        check(tq_writer_data(w, data, n * sizeof *data, &err), &err);
    }
    check(tq_writer_finish(w, &err), &err);
    free(data);
    free(l);
}

/* Experts one by one, and all in one tensor: of them only some at a time are there. */
static void mixtures_go_through_by_experts(void **state) {
    (void)state;
    needs_rss();
    for (int together = 0; together < 2; together++) {
        streamed r[2];
        write_mixture(scratch_dir, together);
        for (size_t k = 0; k < 2; k++) {
            tq_session *s = NULL;
            tq_err err;
            check(tq_session_open(scratch_dir, &(tq_session_options){.threads = 2, .memory = k * SMALL_MACHINE}, &s,
                                  &err),
                  &err);
            r[k] = evaluate(s);
        }
        same_figures(together ? "experts in one tensor" : "experts one by one", &r[0], &r[1]);
        assert_true(r[1].most < r[1].block / 2);
        assert_true(r[1].packing < r[1].block); /* and what the kernel maps around a fault */
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(activations_are_foretold),
        cmocka_unit_test(plans_add_up),
        cmocka_unit_test(larger_than_memory_goes_through),
        cmocka_unit_test(mixtures_go_through_by_experts),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
