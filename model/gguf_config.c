/* gguf_config.c - what a GGUF file says of its model, as the config.json that the model would have: one reader checks
 * both. Facts: the `gguf` package 0.19, constants.py; what a missing key means: llama.cpp, as of llama-cpp-python
 * 0.3.36.
 *
 * A key that changes the arithmetic goes over under the name that config.json has for it; config.c refuses what it does
 * not know. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/gguf_docs.h"

enum { KEY_SIZE = 160 };

/* Settings that go over as they are: numbers or booleans, after the architecture's name and a point. */
static const struct setting_row {
    const char *json, *gguf;
    bool required;
} settings[] = {
    {"hidden_size", "embedding_length", true},
    {"num_hidden_layers", "block_count", true},
    {"intermediate_size", "feed_forward_length", true},
    {"num_attention_heads", "attention.head_count", true},
    {"num_key_value_heads", "attention.head_count_kv", false},
    {"max_position_embeddings", "context_length", false},
    {"rms_norm_eps", "attention.layer_norm_rms_epsilon", false},
    {"rope_theta", "rope.freq_base", false},
    {"sliding_window", "attention.sliding_window", false},
    /* of other models */
    {"num_experts", "expert_count", false},
    {"num_experts_per_tok", "expert_used_count", false},
    {"moe_intermediate_size", "expert_feed_forward_length", false},
    {"shared_expert_intermediate_size", "expert_shared_feed_forward_length", false},
    {"attn_logit_softcapping", "attn_logit_softcapping", false},
    {"final_logit_softcapping", "final_logit_softcapping", false},
    {"logit_scale", "logit_scale", false},
    {"embedding_multiplier", "embedding_scale", false},
    {"residual_multiplier", "residual_scale", false},
    {"attention_multiplier", "attention.scale", false},
    {"clip_qkv", "attention.clamp_kqv", false},
    {"kv_lora_rank", "attention.kv_lora_rank", false},
    {"q_lora_rank", "attention.q_lora_rank", false},
    {"alibi", "attention.max_alibi_bias", false},
};

static const tq_gguf_value *find(const tq_gguf_job *j, const char *name) {
    char key[KEY_SIZE];
    (void)snprintf(key, sizeof key, "%s.%s", j->arch, name);
    return tq_gguf_find(j->meta, key);
}

static int add_settings(const tq_gguf_job *j, cJSON *root, tq_err *err) {
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        const struct setting_row *row = &settings[i];
        const tq_gguf_value *v = find(j, row->gguf);
        bool required = row->required && !(strcmp(row->json, "intermediate_size") == 0 && find(j, "expert_count"));
        if (!v && required) return tq_fail(err, "%s: %s.%s is missing", j->file, j->arch, row->gguf);
        if (v && (v->array || v->kind == TQ_GGUF_STRING))
            return tq_fail(err, "%s: %s.%s is no single number: blocks that differ in it are not supported", j->file,
                           j->arch, row->gguf);
        if (v && !cJSON_AddNumberToObject(root, row->json, tq_gguf_number(v, 0)))
            return tq_fail(err, "%s: out of memory", j->file);
    }
    return TQ_OK;
}

/* Sizes of a head: the same for keys and values, and said even where it is hidden / heads, since families differ in
 * what they take for granted. */
static int add_heads(const tq_gguf_job *j, cJSON *root, tq_err *err) {
    size_t heads = 0, hidden = 0, key = 0, value = 0, dims = 0;
    const tq_gguf_value *k = find(j, "attention.key_length"), *v = find(j, "attention.value_length");
    const tq_gguf_value *d = find(j, "rope.dimension_count");
    if (!tq_gguf_size(find(j, "attention.head_count"), 1, 1 << 20, &heads) ||
        !tq_gguf_size(find(j, "embedding_length"), 1, 1 << 24, &hidden))
        return tq_fail(err, "%s: %s.attention.head_count and embedding_length are no sizes", j->file, j->arch);
    key = value = hidden / heads;
    if ((k && !tq_gguf_size(k, 1, 1 << 20, &key)) || (v && !tq_gguf_size(v, 1, 1 << 20, &value)) || key != value)
        return tq_fail(err, "%s: keys and values of different lengths are not supported", j->file);
    dims = key;
    if (d && (!tq_gguf_size(d, 2, key, &dims)))
        return tq_fail(err, "%s: %s.rope.dimension_count must be a whole number from 2 to %zu", j->file, j->arch, key);
    bool ok =
        cJSON_AddNumberToObject(root, "head_dim", (double)key) &&
        cJSON_AddNumberToObject(root, "partial_rotary_factor", dims == key ? 1 : ((double)dims + 1e-6) / (double)key);
    return ok ? TQ_OK : tq_fail(err, "%s: out of memory", j->file);
}

/* YaRN's defaults are the same on both sides; its attention factor is multiplied into what YaRN says. */
static int add_rope(const tq_gguf_job *j, cJSON *root, tq_err *err) {
    tq_gguf_text type = tq_gguf_string(find(j, "rope.scaling.type"));
    const tq_gguf_value *factor = find(j, "rope.scaling.factor"), *old = find(j, "rope.scale_linear");
    const tq_gguf_value *context = find(j, "rope.scaling.original_context_length");
    const tq_gguf_value *attention = find(j, "rope.scaling.attn_factor");
    char name[16];
    (void)snprintf(name, sizeof name, "%.*s", type.n < 15 ? (int)type.n : 15, type.p ? type.p : "");
    if (!type.p && (factor || old)) (void)snprintf(name, sizeof name, "linear");
    if (!factor) factor = old;
    if (!name[0] || strcmp(name, "none") == 0 || !factor) return TQ_OK;
    if (attention && tq_gguf_number(attention, 0) != 1)
        return tq_fail(err, "%s: %s.rope.scaling.attn_factor is not supported", j->file, j->arch);
    cJSON *scaling = cJSON_AddObjectToObject(root, "rope_scaling");
    bool ok =
        scaling && cJSON_AddStringToObject(scaling, "rope_type", name) &&
        cJSON_AddNumberToObject(scaling, "factor", tq_gguf_number(factor, 0)) &&
        (!context || cJSON_AddNumberToObject(scaling, "original_max_position_embeddings", tq_gguf_number(context, 0)));
    return ok ? TQ_OK : tq_fail(err, "%s: out of memory", j->file);
}

/* Ends of a turn, besides the end of a text. */
static int add_ends(const tq_gguf_job *j, cJSON *root, tq_err *err) {
    static const char *const keys[] = {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"};
    size_t id;
    cJSON *list = cJSON_AddArrayToObject(root, "eos_token_id");
    bool ok = list != NULL;
    for (size_t i = 0; i < sizeof keys / sizeof *keys && ok; i++)
        if (tq_gguf_size(tq_gguf_find(j->meta, keys[i]), 0, INT32_MAX, &id))
            ok = cJSON_AddItemToArray(list, cJSON_CreateNumber((double)id));
    if (ok && tq_gguf_size(tq_gguf_find(j->meta, "tokenizer.ggml.bos_token_id"), 0, INT32_MAX, &id))
        ok = cJSON_AddNumberToObject(root, "bos_token_id", (double)id) != NULL;
    else if (ok)
        ok = cJSON_AddNullToObject(root, "bos_token_id") != NULL;
    return ok ? TQ_OK : tq_fail(err, "%s: out of memory", j->file);
}

static bool has_tensor(const tq_gguf_job *j, const char *name) {
    return tq_source_find(j->source, name) != NULL;
}

/* What the tensors say. */
static int add_shapes(const tq_gguf_job *j, cJSON *root, tq_err *err) {
    static const char embedding[] = "model.embed_tokens.weight";
    const tq_tensor *t = tq_source_find(j->source, embedding);
    if (!t || t->rank != 2) return tq_fail(err, "%s: tensor token_embd.weight is missing", j->file);
    bool ok =
        cJSON_AddNumberToObject(root, "vocab_size", (double)t->shape[0]) &&
        cJSON_AddBoolToObject(root, "tie_word_embeddings", !has_tensor(j, "lm_head.weight")) &&
        (!has_tensor(j, "model.layers.0.self_attn.o_proj.bias") || cJSON_AddTrueToObject(root, "attention_bias")) &&
        (!has_tensor(j, "model.layers.0.mlp.down_proj.bias") || cJSON_AddTrueToObject(root, "mlp_bias"));
    return ok ? TQ_OK : tq_fail(err, "%s: out of memory", j->file);
}

/* Gemma 3: a local window in all but every sixth block. Models of 62 blocks (27B) scale queries by hidden / heads,
 * the others by the head. Norms are stored with one added. */
static int add_gemma3(const tq_gguf_job *j, cJSON *root, tq_err *err) {
    enum { PERIOD = 6 };
    size_t blocks = 0, heads = 1, hidden = 0, period = PERIOD;
    const tq_gguf_value *every = find(j, "attention.sliding_window_pattern"), *local = find(j, "rope.freq_base_swa");
    (void)tq_gguf_size(find(j, "block_count"), 1, 1 << 20, &blocks);
    (void)tq_gguf_size(find(j, "attention.head_count"), 1, 1 << 20, &heads);
    (void)tq_gguf_size(find(j, "embedding_length"), 1, 1 << 24, &hidden);
    if (every && !tq_gguf_size(every, 1, 1 << 20, &period))
        return tq_fail(err, "%s: %s.attention.sliding_window_pattern is no size", j->file, j->arch);
    const cJSON *head = cJSON_GetObjectItemCaseSensitive(root, "head_dim");
    double scalar = blocks == TQ_GGUF_GEMMA3_LARGEST ? (double)hidden / (double)heads : head->valuedouble;
    bool ok = cJSON_AddStringToObject(root, "hidden_activation", "gelu_pytorch_tanh") &&
              cJSON_AddNumberToObject(root, "query_pre_attn_scalar", scalar) &&
              cJSON_AddNumberToObject(root, "sliding_window_pattern", (double)period) &&
              cJSON_AddNumberToObject(root, "rope_local_base_freq", local ? tq_gguf_number(local, 0) : 10000) &&
              cJSON_AddFalseToObject(root, TQ_NORM_PLUS_ONE);
    return ok ? TQ_OK : tq_fail(err, "%s: out of memory", j->file);
}

/* Phi-3 with a long context: two tables of divisors, by the length of the text. */
static int add_phi3(const tq_gguf_job *j, cJSON *root, tq_err *err) {
    (void)root;
    if (!has_tensor(j, "rope_factors_long.weight") && !has_tensor(j, "rope_factors_short.weight")) return TQ_OK;
    return tq_fail(err, "%s: rope type longrope is not supported", j->file);
}

/* llama.cpp always makes the weights of a token's experts add up to one. */
static int add_qwen3_moe(const tq_gguf_job *j, cJSON *root, tq_err *err) {
    return cJSON_AddTrueToObject(root, "norm_topk_prob") ? TQ_OK : tq_fail(err, "%s: out of memory", j->file);
}

/* Qwen3.5. Blocks that predict further tokens are counted by the file, and are not read. */
static int add_qwen3_5(const tq_gguf_job *j, cJSON *root, tq_err *err) {
    static const char *const names[][2] = {{"ssm.group_count", "linear_num_key_heads"},
                                           {"ssm.time_step_rank", "linear_num_value_heads"},
                                           {"ssm.state_size", "linear_key_head_dim"},
                                           {"ssm.conv_kernel", "linear_conv_kernel_dim"}};
    size_t inner = 0, heads = 1, blocks = 0, extra = 0, interval = 4;
    bool ok = cJSON_AddFalseToObject(root, TQ_NORM_PLUS_ONE) && cJSON_AddTrueToObject(root, TQ_LINEAR_CONVERTED);
    for (size_t i = 0; i < sizeof names / sizeof *names && ok; i++) {
        size_t n = 0;
        if (!tq_gguf_size(find(j, names[i][0]), 1, 1 << 20, &n))
            return tq_fail(err, "%s: %s.%s must be a size", j->file, j->arch, names[i][0]);
        ok = cJSON_AddNumberToObject(root, names[i][1], (double)n) != NULL;
        if (i == 1) heads = n;
    }
    if (!tq_gguf_size(find(j, "ssm.inner_size"), 1, 1 << 24, &inner) || inner % heads)
        return tq_fail(err, "%s: %s.ssm.inner_size must be a multiple of ssm.time_step_rank", j->file, j->arch);
    size_t value = inner / heads;
    const tq_gguf_value *every = find(j, "full_attention_interval"), *more = find(j, "nextn_predict_layers");
    if ((every && !tq_gguf_size(every, 1, 1 << 20, &interval)) ||
        !tq_gguf_size(find(j, "block_count"), 1, 1 << 20, &blocks) ||
        (more && !tq_gguf_size(more, 0, blocks - 1, &extra)))
        return tq_fail(err, "%s: %s.full_attention_interval and nextn_predict_layers must be sizes", j->file, j->arch);
    ok =
        ok && cJSON_AddNumberToObject(root, "linear_value_head_dim", (double)value) &&
        cJSON_AddNumberToObject(root, "full_attention_interval", (double)interval) &&
        cJSON_ReplaceItemInObjectCaseSensitive(root, "num_hidden_layers", cJSON_CreateNumber((double)(blocks - extra)));
    return ok ? TQ_OK : tq_fail(err, "%s: out of memory", j->file);
}

/* What an architecture has besides. */
static const struct more_row {
    const char *model_type;
    int (*add)(const tq_gguf_job *j, cJSON *root, tq_err *err);
} more[] = {
    {"gemma3_text", add_gemma3},       {"phi3", add_phi3}, {"qwen3_moe", add_qwen3_moe}, {"qwen3_5_text", add_qwen3_5},
    {"qwen3_5_moe_text", add_qwen3_5},
};

int tq_gguf_config(const tq_gguf_job *j, cJSON *root, tq_err *err) {
    if (!cJSON_AddStringToObject(root, "model_type", j->model_type)) return tq_fail(err, "%s: out of memory", j->file);
    if (add_settings(j, root, err) || add_heads(j, root, err) || add_rope(j, root, err) || add_shapes(j, root, err) ||
        add_ends(j, root, err))
        return TQ_FAIL;
    for (size_t i = 0; i < sizeof more / sizeof *more; i++)
        if (strcmp(more[i].model_type, j->model_type) == 0) return more[i].add(j, root, err);
    return TQ_OK;
}
