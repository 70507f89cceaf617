/* test_config.c - config.json against what transformers understands (tests/make/make_config_fixtures.py), and configs
 * that must be refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/config.h"
#include "model/json.h"
#include "model/tensor_writer.h"
#include "tests/scratch.h"

static size_t want_size(const cJSON *want, const char *name) {
    const cJSON *m = tq_json_get(want, name);
    assert_non_null(m);
    return (size_t)m->valuedouble;
}

static void check_size(const char *label, const cJSON *want, const char *name, size_t got) {
    if (want_size(want, name) != got)
        fail_msg("%s: %s is %zu, transformers has %zu", label, name, got, want_size(want, name));
}

/* Stored as float: the reference's double within a rounding. */
static void check_real(const char *label, const cJSON *want, const char *name, double got) {
    double expected = tq_json_get(want, name)->valuedouble;
    if (!(fabs(got - expected) <= 1e-7 * fabs(expected)))
        fail_msg("%s: %s is %.9g, transformers has %.9g", label, name, got, expected);
}

static void check_rope(const char *label, const cJSON *want, const tq_rope *r) {
    static const char *const names[] = {"default", "linear", "llama3", "yarn", "dynamic"};
    assert_string_equal(names[r->type], tq_json_text(want, "rope"));
    check_real(label, want, "theta", r->theta);
    check_real(label, want, "factor", r->factor);
    check_real(label, want, "attention_factor", r->attention_factor);
    check_real(label, want, "low", r->low_freq_factor);
    check_real(label, want, "high", r->high_freq_factor);
    check_real(label, want, "fast", r->beta_fast);
    check_real(label, want, "slow", r->beta_slow);
    check_size(label, want, "dims", r->dims);
    check_size(label, want, "original", r->original_context);
}

static void check_config(const char *label, const cJSON *want, const tq_config *c) {
    check_size(label, want, "vocab", c->vocab);
    check_size(label, want, "hidden", c->hidden);
    check_size(label, want, "intermediate", c->intermediate);
    check_size(label, want, "blocks", c->blocks);
    check_size(label, want, "heads", c->heads);
    check_size(label, want, "kv_heads", c->kv_heads);
    check_size(label, want, "head_dim", c->head_dim);
    check_size(label, want, "context", c->context);
    check_size(label, want, "window", c->sliding_window);
    check_real(label, want, "eps", c->norm_eps);
    assert_int_equal(c->tied, cJSON_IsTrue(tq_json_get(want, "tied")));
    assert_int_equal(c->attention_bias, cJSON_IsTrue(tq_json_get(want, "attention_bias")));
    assert_int_equal(c->mlp_bias, cJSON_IsTrue(tq_json_get(want, "mlp_bias")));
    check_rope(label, want, &c->rope);
    assert_int_equal(c->bos, tq_json_get(want, "bos")->valueint);
    const cJSON *eos = tq_json_get(want, "eos");
    assert_int_equal(c->n_eos, cJSON_GetArraySize(eos));
    for (size_t i = 0; i < c->n_eos; i++)
        assert_int_equal(c->eos[i], cJSON_GetArrayItem(eos, (int)i)->valueint);
    const char *mixtures = tq_json_text(want, "mixtures");
    const size_t moe[] = {c->experts, c->experts_used, c->expert_width, c->shared_width};
    for (size_t b = 0; b < c->blocks && mixtures && *mixtures; b++)
        assert_int_equal(c->mixture[b], mixtures[b] == 'm');
    for (int i = 0; i < 4 && mixtures && *mixtures; i++)
        assert_int_equal(moe[i], cJSON_GetArrayItem(tq_json_get(want, "moe"), i)->valueint);
    assert_true(mixtures && (*mixtures != 0) == (c->experts > 0));
    if (c->arch != TQ_ARCH_QWEN3_5 && c->arch != TQ_ARCH_QWEN3_5_MOE) return;
    const char *linear = tq_json_text(want, "linear");
    assert_int_equal(strlen(linear), c->blocks);
    for (size_t b = 0; b < c->blocks; b++)
        assert_int_equal(c->mixer[b], linear[b] == 'l' ? TQ_MIXER_DELTANET : TQ_MIXER_ATTENTION);
    const cJSON *delta = tq_json_get(want, "delta");
    const size_t got[] = {c->linear_key_heads, c->linear_value_heads, c->linear_key_dim, c->linear_value_dim,
                          c->linear_conv};
    for (int i = 0; i < 5; i++)
        assert_int_equal(got[i], cJSON_GetArrayItem(delta, i)->valueint);
    assert_true(c->output_gate && c->norm_plus_one);
}

static void test_reference(void **state) {
    (void)state;
    char *text = NULL;
    size_t n;
    size_t count = 0;
    tq_err err;
    scratch_delete("generation_config.json");
    if (tq_read_file("tests/data/configs.json", 1 << 20, &text, &n, &err)) fail_msg("%s", err.msg);
    cJSON *cases = NULL;
    if (tq_json_parse("configs.json", text, n, 100000, &cases, &err)) fail_msg("%s", err.msg);
    for (const cJSON *item = cases->child; item; item = item->next, count++) {
        const char *label = tq_json_text(item, "name");
        char *config = cJSON_Print(tq_json_get(item, "config"));
        tq_config c;
        scratch_text("config.json", config);
        if (tq_config_load(scratch_dir, &c, &err)) fail_msg("%s: %s", label, err.msg);
        check_config(label, tq_json_get(item, "want"), &c);
        cJSON_free(config);
    }
    print_message("%zu configs\n", count);
    assert_true(count >= 20);
    cJSON_Delete(cases);
    free(text);
}

static void test_arch_and_ends(void **state) {
    (void)state;
    tq_config c;
    tq_err err;
    scratch_text("config.json",
                 "{\"model_type\":\"llama\",\"vocab_size\":100,\"hidden_size\":64,\"intermediate_size\":64,"
                 "\"num_hidden_layers\":2,\"num_attention_heads\":4,\"eos_token_id\":[3,4]}");
    scratch_text("generation_config.json", "{\"eos_token_id\":[4,5],\"bos_token_id\":9}");
    if (tq_config_load(scratch_dir, &c, &err)) fail_msg("%s", err.msg);
    assert_int_equal(c.arch, TQ_ARCH_LLAMA);
    assert_string_equal(tq_arch_name(c.arch), "Llama");
    assert_string_equal(c.model_type, "llama");
    assert_int_equal(c.n_eos, 3);
    assert_int_equal(c.eos[2], 5);
    assert_int_equal(c.bos, 1);
    scratch_delete("generation_config.json");
    if (tq_config_load("samples/tiny-qwen3.5", &c, &err)) fail_msg("%s", err.msg);
    assert_int_equal(c.arch, TQ_ARCH_QWEN3_5);
    assert_true(c.tied);
    assert_int_equal(c.blocks, 8);
    assert_int_equal(c.rope.dims, 16);
    assert_int_equal(c.bos, -1);
}

#define BASE                                                                                                           \
    "\"vocab_size\":100,\"hidden_size\":64,\"intermediate_size\":128,\"num_hidden_layers\":4,"                         \
    "\"num_attention_heads\":4,\"num_key_value_heads\":2"
#define LLAMA(more) "{\"model_type\":\"llama\"," BASE more "}"
#define QWEN3(more) "{\"model_type\":\"qwen3\"," BASE more "}"
#define QWEN35(more) "{\"model_type\":\"qwen3_5_text\"," BASE more "}"
#define MOE(more) "{\"model_type\":\"qwen3_moe\"," BASE more "}"
#define MOE35(more) "{\"model_type\":\"qwen3_5_moe_text\"," BASE more "}"
#define GPT2(more) "{\"model_type\":\"gpt2\",\"vocab_size\":60000,\"n_embd\":64,\"n_layer\":2,\"n_head\":4" more "}"
#define ROPE(inner) LLAMA(",\"rope_scaling\":{" inner "}")
/* One of the base settings changed. */
#define SIZES(vocab, hidden, layers, heads, kv)                                                                        \
    "{\"model_type\":\"llama\",\"intermediate_size\":128,\"vocab_size\":" vocab ",\"hidden_size\":" hidden             \
    ",\"num_hidden_layers\":" layers ",\"num_attention_heads\":" heads ",\"num_key_value_heads\":" kv "}"

/* Which blocks attend within a window. */
static void test_windows(void **state) {
#define GEMMA(more) "{\"model_type\":\"gemma3_text\"," BASE more "}"
#define TYPES "\"full_attention\",\"sliding_attention\",\"sliding_attention\",\"full_attention\""
    static const struct {
        const char *json, *local; /* a letter a block */
        size_t window;
    } cases[] = {
        {QWEN3(",\"use_sliding_window\":true,\"sliding_window\":64,\"max_window_layers\":2"), "ffll", 64},
        {QWEN3(",\"use_sliding_window\":true,\"sliding_window\":64,\"layer_types\":[" TYPES "]"), "fllf", 64},
        {QWEN3(",\"use_sliding_window\":false,\"sliding_window\":64,\"max_window_layers\":2"), "ffff", 0},
        {"{\"model_type\":\"qwen2\"," BASE "}", "ffff", 0},
        {"{\"model_type\":\"mistral\"," BASE ",\"sliding_window\":9}", "llll", 9},
        {"{\"model_type\":\"phi3\"," BASE ",\"sliding_window\":2047}", "llll", 2047},
        {"{\"model_type\":\"phi3\"," BASE ",\"sliding_window\":null}", "ffff", 0},
        {GEMMA(""), "llll", 4096},
        {GEMMA(",\"sliding_window\":32,\"sliding_window_pattern\":2"), "lflf", 32},
        {GEMMA(",\"layer_types\":[" TYPES "]"), "fllf", 4096},
    };
    (void)state;
    scratch_delete("generation_config.json");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tq_config c;
        tq_err err;
        scratch_text("config.json", cases[i].json);
        if (tq_config_load(scratch_dir, &c, &err)) fail_msg("%s", err.msg);
        for (size_t b = 0; b < c.blocks; b++)
            if (c.local[b] != (cases[i].local[b] == 'l')) fail_msg("block %zu of %s", b, cases[i].json);
        assert_int_equal(c.sliding_window, cases[i].window);
    }
}

static void test_refused(void **state) {
    (void)state;
    static const struct {
        const char *json, *mention;
    } cases[] = {
        {"", "JSON"},
        {"{", "JSON"},
        {"[1]", "object"},
        {"{}", "model_type is missing"},
        {"{\"model_type\":7}", "model_type is missing"},
        {"{\"model_type\":\"mamba\"}", "mamba"},
        {"{\"model_type\":\"qwen3_5\"}", "text_config"},
        {"{\"model_type\":\"qwen3_5\",\"text_config\":{\"model_type\":\"gemma\"}}", "gemma"},
        {"{\"model_type\":\"llama\",\"model_type\":\"qwen3\"}", "twice"},
        {"{\"model_type\":\"llama\"}", "vocab_size is missing"},
        {SIZES("null", "64", "2", "4", "4"), "vocab_size is missing"},
        {SIZES("100", "1099511627776", "2", "4", "4"), "hidden_size"},
        {SIZES("100", "\"64\"", "2", "4", "4"), "hidden_size"},
        {SIZES("100", "-64", "2", "4", "4"), "hidden_size"},
        {SIZES("100", "64.5", "2", "4", "4"), "hidden_size"},
        {SIZES("100", "1e400", "2", "4", "4"), "hidden_size"},
        {SIZES("100", "NaN", "2", "4", "4"), "JSON"},
        {SIZES("0", "64", "2", "4", "4"), "vocab_size"},
        {SIZES("100", "64", "1000000000", "4", "4"), "num_hidden_layers"},
        {SIZES("100", "64", "0", "4", "4"), "num_hidden_layers"},
        {SIZES("100", "64", "2", "0", "4"), "num_attention_heads"},
        {SIZES("100", "64", "2", "4", "0"), "num_key_value_heads"},
        {SIZES("100", "64", "2", "4", "3"), "multiple"},
        {SIZES("100", "64", "2", "3", "3"), "multiple"},
        {LLAMA(",\"head_dim\":0"), "head_dim"},
        {LLAMA(",\"head_dim\":100000"), "head_dim"},
        {LLAMA(",\"head_dim\":15"), "even"},
        {LLAMA(",\"hidden_act\":\"gelu\""), "gelu"},
        {LLAMA(",\"hidden_act\":3"), "hidden_act"},
        {LLAMA(",\"rms_norm_eps\":0"), "rms_norm_eps"},
        {LLAMA(",\"rms_norm_eps\":\"1e-5\""), "rms_norm_eps"},
        {LLAMA(",\"max_position_embeddings\":0"), "max_position_embeddings"},
        {LLAMA(",\"tie_word_embeddings\":\"yes\""), "tie_word_embeddings"},
        {LLAMA(",\"attention_bias\":1"), "attention_bias"},
        {LLAMA(",\"quantization_config\":{\"bits\":4}"), "quantization_config"},
        {LLAMA(",\"num_local_experts\":8"), "num_local_experts"},
        {MOE(",\"num_experts\":1152921504606846976"), "num_experts"},
        {MOE(",\"num_experts\":1025"), "num_experts"},
        {MOE(",\"num_experts\":\"8\""), "num_experts"},
        {MOE(",\"num_local_experts\":-1"), "num_local_experts"},
        {MOE(",\"num_experts\":4,\"num_experts_per_tok\":5"), "more than the 4 experts"},
        {MOE(",\"num_experts_per_tok\":0"), "num_experts_per_tok"},
        {MOE(",\"moe_intermediate_size\":1e18"), "moe_intermediate_size"},
        {MOE(",\"decoder_sparse_step\":0"), "decoder_sparse_step"},
        {MOE(",\"mlp_only_layers\":3"), "mlp_only_layers"},
        {MOE(",\"mlp_only_layers\":[\"0\"]"), "mlp_only_layers"},
        {MOE(",\"norm_topk_prob\":1"), "norm_topk_prob"},
        {MOE35(",\"num_experts\":0"), "num_experts"},
        {MOE35(",\"shared_expert_intermediate_size\":0"), "shared_expert_intermediate_size"},
        {MOE35(",\"norm_topk_prob\":false"), "norm_topk_prob"},
        {"{\"model_type\":\"qwen3_5_moe\"}", "text_config"},
        {"{\"model_type\":\"gpt2\",\"n_embd\":64,\"n_layer\":2}", "n_head is missing"},
        {GPT2(",\"n_positions\":1152921504606846976"), "n_positions"},
        {GPT2(",\"n_inner\":0"), "n_inner"},
        {GPT2(",\"head_dim\":8"), "n_embd"},
        {GPT2(",\"num_key_value_heads\":2"), "n_embd"},
        {GPT2(",\"activation_function\":\"relu\""), "relu"},
        {GPT2(",\"scale_attn_weights\":false"), "scale_attn_weights"},
        {GPT2(",\"scale_attn_by_inverse_layer_idx\":true"), "scale_attn_by_inverse_layer_idx"},
        {GPT2(",\"layer_norm_epsilon\":0"), "layer_norm_epsilon"},
        {LLAMA(",\"final_logit_softcapping\":30.0"), "final_logit_softcapping"},
        {LLAMA(",\"embedding_multiplier\":12.0"), "embedding_multiplier"},
        {LLAMA(",\"sliding_window\":512"), "sliding_window"},
        {LLAMA(",\"rope_theta\":0"), "rope_theta"},
        {LLAMA(",\"rope_theta\":-1e4"), "rope_theta"},
        {LLAMA(",\"rope_scaling\":7"), "rope"},
        {LLAMA(",\"partial_rotary_factor\":1.5"), "partial_rotary_factor"},
        {ROPE("\"rope_type\":\"longrope\""), "longrope"},
        {ROPE("\"rope_type\":\"linear\""), "factor"},
        {ROPE("\"rope_type\":\"linear\",\"factor\":0"), "factor"},
        {ROPE("\"rope_type\":\"linear\",\"factor\":2,\"short_factor\":[1]"), "short_factor"},
        {ROPE("\"rope_type\":\"llama3\",\"factor\":8"), "low_freq_factor"},
        {ROPE("\"rope_type\":\"llama3\",\"factor\":8,\"low_freq_factor\":4,\"high_freq_factor\":1"), "larger"},
        {ROPE("\"rope_type\":\"yarn\",\"factor\":4,\"truncate\":false"), "truncate"},
        {ROPE("\"rope_type\":\"yarn\",\"factor\":4,\"original_max_position_embeddings\":0"), "original_max"},
        {ROPE("\"rope_type\":\"default\",\"mrope_section\":[1,2,3]"), "mrope_section"},
        {"{\"model_type\":\"mistral\"," BASE ",\"attention_bias\":true}", "attention_bias"},
        {"{\"model_type\":\"mistral\"," BASE ",\"sliding_window\":-1}", "sliding_window"},
        {QWEN3(",\"layer_types\":[\"full_attention\"]"), "layer_types"},
        {QWEN3(",\"layer_types\":[\"full_attention\",\"full_attention\",\"full_attention\",\"sliding_attention\"]"),
         "sliding"},
        {QWEN35(",\"layer_types\":[\"full_attention\",\"mamba\",\"full_attention\",\"full_attention\"]"), "mamba"},
        {QWEN35(",\"layer_types\":[1,2,3,4]"), "layer_types"},
        {QWEN35(",\"attn_output_gate\":false"), "attn_output_gate"},
        {QWEN35(",\"full_attention_interval\":0"), "full_attention_interval"},
        {QWEN35(",\"linear_num_value_heads\":3"), "multiple"},
        {QWEN35(",\"linear_key_head_dim\":1e9"), "linear_key_head_dim"},
        {"{\"model_type\":\"qwen3_5\",\"tie_word_embeddings\":false,\"text_config\":{\"tie_word_embeddings\":true," BASE
         "}}",
         "tie_word_embeddings"},
        {LLAMA(",\"eos_token_id\":100"), "eos_token_id"},
        {LLAMA(",\"eos_token_id\":[1,-2]"), "eos_token_id"},
        {LLAMA(",\"eos_token_id\":[1,2,3,4,5,6,7,8,9]"), "end tokens"},
        {LLAMA(",\"bos_token_id\":\"<s>\""), "bos_token_id"},
    };
    scratch_delete("generation_config.json");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tq_config c;
        tq_err err = {""};
        scratch_text("config.json", cases[i].json);
        if (tq_config_load(scratch_dir, &c, &err) != TQ_FAIL) fail_msg("not refused: %s", cases[i].json);
        if (!strstr(err.msg, cases[i].mention) || !strstr(err.msg, "config.json") || strchr(err.msg, '\n'))
            fail_msg("expected a line about %s: %s\n%s", cases[i].mention, err.msg, cases[i].json);
    }
    print_message("%zu configs refused\n", sizeof cases / sizeof *cases);
    /* What the refused ones are made from is accepted. */
    static const char *const good[] = {MOE(""),
                                       MOE(",\"num_experts\":0"),
                                       MOE35(""),
                                       GPT2(""),
                                       GPT2(",\"n_inner\":null"),
                                       LLAMA(""),
                                       QWEN3(""),
                                       QWEN35(",\"linear_num_value_heads\":16"),
                                       SIZES("100", "64", "2", "4", "4"),
                                       ROPE("\"rope_type\":\"linear\",\"factor\":2")};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        tq_config c;
        tq_err err;
        scratch_text("config.json", good[i]);
        if (tq_config_load(scratch_dir, &c, &err)) fail_msg("%s", err.msg);
    }
}

static void test_files(void **state) {
    (void)state;
    tq_config c;
    tq_err err;
    scratch_delete("config.json");
    assert_int_equal(tq_config_load(scratch_dir, &c, &err), TQ_FAIL);
    assert_non_null(strstr(err.msg, "config.json"));
    scratch_text("config.json", LLAMA(""));
    scratch_text("generation_config.json", "{\"eos_token_id\":");
    assert_int_equal(tq_config_load(scratch_dir, &c, &err), TQ_FAIL);
    assert_non_null(strstr(err.msg, "generation_config.json"));
    scratch_text("generation_config.json", "{\"eos_token_id\":1000}");
    assert_int_equal(tq_config_load(scratch_dir, &c, &err), TQ_FAIL);
    assert_non_null(strstr(err.msg, "generation_config.json"));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_reference), cmocka_unit_test(test_arch_and_ends),
                                       cmocka_unit_test(test_refused), cmocka_unit_test(test_files),
                                       cmocka_unit_test(test_windows)};
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
