/* config_families.c - what each model_type takes for granted and has of its own. Facts: transformers 5.17, the
 * configuration_*.py of each family. A new family is a row at the end, and a function where it has settings that the
 * others have not. */
#include <math.h>
#include <string.h>

#include "model/config_internal.h"

#define MAX_WIDTH ((size_t)1 << 20)
#define MAX_HEADS ((size_t)4096)
#define MAX_HEAD_DIM ((size_t)4096)
#define MAX_CONTEXT ((size_t)1 << 30)

/* Counts the blocks of a kind in layer_types, or fails when an entry is none of the two. */
static int count_layer_types(const tq_settings *s, const cJSON *types, size_t blocks, const char *kind, size_t *count,
                             tq_err *err) {
    size_t n = 0;
    *count = 0;
    if (!cJSON_IsArray(types)) return tq_fail(err, "%s: layer_types must be an array", s->file);
    for (const cJSON *t = types->child; t; t = t->next, n++) {
        const char *name = cJSON_GetStringValue(t);
        if (name && strcmp(name, kind) == 0)
            ++*count;
        else if (!name || strcmp(name, "full_attention") != 0)
            return tq_fail(err, "%s: layer_types: %s is not supported", s->file, name ? name : "an entry of no name");
    }
    if (n != blocks)
        return tq_fail(err, "%s: layer_types has %zu entries, num_hidden_layers is %zu", s->file, n, blocks);
    return TQ_OK;
}

/* Which blocks have the window, of those that may: by layer_types, or all from the first such block on. */
static int read_window(const tq_settings *s, const tq_family *f, tq_config *c, tq_err *err) {
    bool mistral = strcmp(f->model_type, "mistral") == 0;
    bool use = mistral;
    const cJSON *types = tq_json_get(s->json, "layer_types");
    const cJSON *given = cJSON_GetObjectItemCaseSensitive(s->json, "sliding_window");
    size_t window = 0;
    size_t from = 0;
    size_t sliding = 0;
    if (!cJSON_IsNull(given) && tq_setting_size(s, "sliding_window", 4096, 1, MAX_CONTEXT, &window, err))
        return TQ_FAIL;
    if ((c->arch == TQ_ARCH_QWEN3 || c->arch == TQ_ARCH_QWEN2) &&
        (tq_setting_bool(s, "use_sliding_window", false, &use, err) ||
         tq_setting_size(s, "max_window_layers", 28, 0, MAX_CONTEXT, &from, err)))
        return TQ_FAIL;
    if (c->arch == TQ_ARCH_LLAMA && !mistral && given && !cJSON_IsNull(given))
        return tq_fail(err, "%s: sliding_window is set: model_type llama has none", s->file);
    if (types && count_layer_types(s, types, c->blocks, "sliding_attention", &sliding, err)) return TQ_FAIL;
    if (sliding > 0 && !(use && window))
        return tq_fail(err, "%s: layer_types has sliding_attention, but no sliding window is in use", s->file);
    const cJSON *t = types ? types->child : NULL;
    for (size_t b = 0; b < c->blocks; b++, t = t ? t->next : NULL) {
        c->local[b] = use && window && (types ? strcmp(t->valuestring, "sliding_attention") == 0 : b >= from);
        if (c->local[b]) c->sliding_window = window;
    }
    return TQ_OK;
}

static int read_mixers(const tq_settings *s, tq_config *c, tq_err *err) {
    const cJSON *types = tq_json_get(s->json, "layer_types");
    size_t interval;
    size_t linear = 0;
    if (tq_setting_size(s, "full_attention_interval", 4, 1, MAX_CONTEXT, &interval, err)) return TQ_FAIL;
    if (types) {
        if (count_layer_types(s, types, c->blocks, "linear_attention", &linear, err)) return TQ_FAIL;
        const cJSON *t = types->child;
        for (size_t b = 0; b < c->blocks; b++, t = t->next)
            c->mixer[b] = strcmp(t->valuestring, "linear_attention") == 0 ? TQ_MIXER_DELTANET : TQ_MIXER_ATTENTION;
        return TQ_OK;
    }
    for (size_t b = 0; b < c->blocks; b++)
        c->mixer[b] = (b + 1) % interval ? TQ_MIXER_DELTANET : TQ_MIXER_ATTENTION;
    return TQ_OK;
}

static int read_qwen3_5(const tq_settings *s, const tq_family *f, tq_config *c, tq_err *err) {
    bool gate;
    (void)f;
    const char *gate_type = tq_json_text(s->json, "output_gate_type");
    if (tq_setting_bool(s, "attn_output_gate", true, &gate, err)) return TQ_FAIL;
    if (!gate) return tq_fail(err, "%s: attn_output_gate false is not supported", s->file);
    if (gate_type && strcmp(gate_type, "swish") != 0 && strcmp(gate_type, "silu") != 0)
        return tq_fail(err, "%s: output_gate_type %s is not supported, only swish", s->file, gate_type);
    c->output_gate = true;
    if (tq_setting_bool(s, "norm_plus_one", true, &c->norm_plus_one, err) ||
        tq_setting_bool(s, "linear_attention_converted", false, &c->linear_converted, err) ||
        tq_setting_size(s, "linear_num_key_heads", 16, 1, MAX_HEADS, &c->linear_key_heads, err) ||
        tq_setting_size(s, "linear_num_value_heads", 32, 1, MAX_HEADS, &c->linear_value_heads, err) ||
        tq_setting_size(s, "linear_key_head_dim", 128, 1, MAX_HEAD_DIM, &c->linear_key_dim, err) ||
        tq_setting_size(s, "linear_value_head_dim", 128, 1, MAX_HEAD_DIM, &c->linear_value_dim, err) ||
        tq_setting_size(s, "linear_conv_kernel_dim", 4, 1, 64, &c->linear_conv, err))
        return TQ_FAIL;
    if (c->linear_value_heads % c->linear_key_heads)
        return tq_fail(err, "%s: linear_num_value_heads %zu is no multiple of linear_num_key_heads %zu", s->file,
                       c->linear_value_heads, c->linear_key_heads);
    if (c->linear_key_heads * c->linear_key_dim > MAX_WIDTH || c->linear_value_heads * c->linear_value_dim > MAX_WIDTH)
        return tq_fail(err, "%s: the linear attention's heads are too large", s->file);
    return read_mixers(s, c, err);
}

static int read_qwen2(const tq_settings *s, const tq_family *f, tq_config *c, tq_err *err) {
    c->qkv_bias = true;
    return read_window(s, f, c, err);
}

/* Local blocks by layer_types, or all but every sliding_window_pattern-th; norms before and after mixer and MLP. */
static int read_gemma3(const tq_settings *s, const tq_family *f, tq_config *c, tq_err *err) {
    const cJSON *types = tq_json_get(s->json, "layer_types");
    size_t period, other, sliding = 0;
    double scalar;
    (void)f;
    if (tq_setting_size(s, "sliding_window", 4096, 1, MAX_CONTEXT, &c->sliding_window, err) ||
        tq_setting_size(s, "_sliding_window_pattern", 6, 1, MAX_CONTEXT, &other, err) ||
        tq_setting_size(s, "sliding_window_pattern", other, 1, MAX_CONTEXT, &period, err) ||
        tq_setting_real(s, "query_pre_attn_scalar", 256, 1e-6, 1e6, &scalar, err) ||
        tq_setting_bool(s, "norm_plus_one", true, &c->norm_plus_one, err))
        return TQ_FAIL;
    if (types && count_layer_types(s, types, c->blocks, "sliding_attention", &sliding, err)) return TQ_FAIL;
    const cJSON *t = types ? types->child : NULL;
    for (size_t b = 0; b < c->blocks; b++, t = t ? t->next : NULL)
        c->local[b] = types ? strcmp(t->valuestring, "sliding_attention") == 0 : (b + 1) % period != 0;
    c->embedding_scale = sqrtf((float)c->hidden);
    c->query_scale = (float)(1.0 / sqrt(scalar));
    return TQ_OK;
}

static int read_olmo2(const tq_settings *s, const tq_family *f, tq_config *c, tq_err *err) {
    (void)s;
    (void)f;
    (void)err;
    c->wide_qk_norm = true;
    return TQ_OK;
}

/* Every block has the window when there is one. */
static int read_phi3(const tq_settings *s, const tq_family *f, tq_config *c, tq_err *err) {
    (void)f;
    if (tq_setting_size(s, "sliding_window", 0, 1, MAX_CONTEXT, &c->sliding_window, err)) return TQ_FAIL;
    for (size_t b = 0; b < c->blocks; b++)
        c->local[b] = c->sliding_window > 0;
    return TQ_OK;
}

/* num_experts is called num_local_experts by transformers 5 for Qwen3-MoE. */
static int read_experts(const tq_settings *s, size_t experts, size_t width, tq_config *c, tq_err *err) {
    const char *key = tq_json_get(s->json, "num_experts") ? "num_experts" : "num_local_experts";
    if (tq_setting_size(s, key, experts, 0, TQ_MAX_EXPERTS, &c->experts, err) ||
        tq_setting_size(s, "num_experts_per_tok", 8, 1, TQ_MAX_EXPERTS, &c->experts_used, err) ||
        tq_setting_size(s, "moe_intermediate_size", width, 1, MAX_WIDTH, &c->expert_width, err))
        return TQ_FAIL;
    if (c->experts && c->experts_used > c->experts)
        return tq_fail(err, "%s: num_experts_per_tok %zu is more than the %zu experts", s->file, c->experts_used,
                       c->experts);
    return TQ_OK;
}

/* Blocks that are no mixture: those of mlp_only_layers, and all but every decoder_sparse_step-th. */
static int read_mixtures(const tq_settings *s, tq_config *c, tq_err *err) {
    const cJSON *dense = tq_json_get(s->json, "mlp_only_layers");
    size_t step, block;
    if (tq_setting_size(s, "decoder_sparse_step", 1, 1, MAX_CONTEXT, &step, err)) return TQ_FAIL;
    if (dense && !cJSON_IsArray(dense)) return tq_fail(err, "%s: mlp_only_layers must be an array", s->file);
    for (size_t b = 0; b < c->blocks; b++)
        c->mixture[b] = c->experts > 0 && (b + 1) % step == 0;
    for (const cJSON *item = dense ? dense->child : NULL; item; item = item->next) {
        if (!tq_json_size(item, &block)) return tq_fail(err, "%s: mlp_only_layers must hold block numbers", s->file);
        if (block < c->blocks) c->mixture[block] = false;
    }
    return TQ_OK;
}

static int read_qwen3_moe(const tq_settings *s, const tq_family *f, tq_config *c, tq_err *err) {
    bool windowed;
    (void)f;
    if (read_experts(s, 128, 768, c, err) || read_mixtures(s, c, err) ||
        tq_setting_bool(s, "norm_topk_prob", false, &c->norm_topk, err) ||
        tq_setting_bool(s, "use_sliding_window", false, &windowed, err))
        return TQ_FAIL;
    const cJSON *given = cJSON_GetObjectItemCaseSensitive(s->json, "sliding_window");
    if (!windowed || cJSON_IsNull(given)) return TQ_OK;
    if (tq_setting_size(s, "sliding_window", 4096, 1, MAX_CONTEXT, &c->sliding_window, err)) return TQ_FAIL;
    for (size_t b = 0; b < c->blocks; b++)
        c->local[b] = true;
    return TQ_OK;
}

/* Every block is a mixture, with an expert that every token goes through. */
static int read_qwen3_5_moe(const tq_settings *s, const tq_family *f, tq_config *c, tq_err *err) {
    if (read_qwen3_5(s, f, c, err) || read_experts(s, 256, 512, c, err) ||
        tq_setting_size(s, "shared_expert_intermediate_size", 512, 1, MAX_WIDTH, &c->shared_width, err) ||
        tq_setting_bool(s, "norm_topk_prob", true, &c->norm_topk, err))
        return TQ_FAIL;
    if (!c->experts)
        return tq_fail(err, "%s: num_experts must be a whole number from 1 to %d", s->file, TQ_MAX_EXPERTS);
    if (!c->norm_topk)
        return tq_fail(err, "%s: norm_topk_prob false is not supported with model_type %s", s->file, f->model_type);
    for (size_t b = 0; b < c->blocks; b++)
        c->mixture[b] = true;
    return TQ_OK;
}

/* The usual settings by the names that GPT-2 has for them. */
static const char *const gpt2_names[][2] = {{"hidden_size", "n_embd"},
                                            {"num_hidden_layers", "n_layer"},
                                            {"num_attention_heads", "n_head"},
                                            {"intermediate_size", "n_inner"},
                                            {"max_position_embeddings", "n_positions"},
                                            {"rms_norm_eps", "layer_norm_epsilon"},
                                            {NULL, NULL}};

static int read_gpt2(const tq_settings *s, const tq_family *f, tq_config *c, tq_err *err) {
    (void)f;
    c->layer_norm = true;
    if (c->heads != c->kv_heads || c->heads * c->head_dim != c->hidden)
        return tq_fail(err, "%s: GPT-2 has as many keys as queries, and n_embd is all heads together", s->file);
    return TQ_OK;
}

const tq_family tq_families[] = {
    {.model_type = "llama",
     .arch = TQ_ARCH_LLAMA,
     .context = 2048,
     .partial_rotary = 1,
     .theta = 10000,
     .bos = 1,
     .eos = 2,
     .attention_bias = true,
     .mlp_bias = true,
     .activation_key = "hidden_act",
     .more = read_window},
    {.model_type = "mistral",
     .arch = TQ_ARCH_LLAMA,
     .kv_heads = 8,
     .context = 131072,
     .partial_rotary = 1,
     .theta = 10000,
     .bos = 1,
     .eos = 2,
     .activation_key = "hidden_act",
     .more = read_window},
    {.model_type = "qwen2",
     .arch = TQ_ARCH_QWEN2,
     .kv_heads = 32,
     .context = 32768,
     .partial_rotary = 1,
     .theta = 10000,
     .bos = -1,
     .eos = -1,
     .activation_key = "hidden_act",
     .more = read_qwen2},
    {.model_type = "qwen3",
     .arch = TQ_ARCH_QWEN3,
     .kv_heads = 32,
     .head_dim = 128,
     .context = 32768,
     .partial_rotary = 1,
     .theta = 10000,
     .bos = -1,
     .eos = -1,
     .attention_bias = true,
     .activation_key = "hidden_act",
     .more = read_window},
    {.model_type = "qwen3_5_text",
     .arch = TQ_ARCH_QWEN3_5,
     .kv_heads = 4,
     .head_dim = 256,
     .context = 32768,
     .partial_rotary = 0.25,
     .theta = 10000,
     .bos = -1,
     .eos = -1,
     .attention_bias = true,
     .activation_key = "hidden_act",
     .more = read_qwen3_5},
    {.model_type = "gemma3_text",
     .arch = TQ_ARCH_GEMMA3,
     .vocab = 262208,
     .heads = 8,
     .kv_heads = 4,
     .head_dim = 256,
     .context = 131072,
     .partial_rotary = 1,
     .theta = 1000000,
     .bos = 2,
     .eos = 1,
     .attention_bias = true,
     .tied = true,
     .activation_key = "hidden_activation",
     .activation = TQ_ACT_GELU_TANH,
     .more = read_gemma3},
    {.model_type = "olmo2",
     .arch = TQ_ARCH_OLMO2,
     .context = 2048,
     .partial_rotary = 1,
     .theta = 10000,
     .bos = -1,
     .eos = 50279,
     .attention_bias = true,
     .activation_key = "hidden_act",
     .more = read_olmo2},
    {.model_type = "phi3",
     .arch = TQ_ARCH_PHI3,
     .context = 4096,
     .partial_rotary = 1,
     .theta = 10000,
     .bos = 1,
     .eos = 32000,
     .activation_key = "hidden_act",
     .more = read_phi3},
    {.model_type = "qwen3_moe",
     .arch = TQ_ARCH_QWEN3_MOE,
     .kv_heads = 4,
     .context = 32768,
     .partial_rotary = 1,
     .theta = 10000,
     .bos = -1,
     .eos = -1,
     .attention_bias = true,
     .activation_key = "hidden_act",
     .more = read_qwen3_moe},
    {.model_type = "qwen3_5_moe_text",
     .arch = TQ_ARCH_QWEN3_5_MOE,
     .intermediate = 512, /* no block has a dense MLP */
     .kv_heads = 2,
     .head_dim = 256,
     .context = 32768,
     .partial_rotary = 0.25,
     .theta = 10000,
     .bos = -1,
     .eos = -1,
     .attention_bias = true,
     .activation_key = "hidden_act",
     .more = read_qwen3_5_moe},
    {.model_type = "gpt2",
     .arch = TQ_ARCH_GPT2,
     .vocab = 50257,
     .feed = 4,
     .norm_eps = 1e-5,
     .context = 1024,
     .bos = 50256,
     .eos = 50256,
     .tied = true,
     .own = gpt2_names,
     .activation_key = "activation_function",
     .activation = TQ_ACT_GELU_TANH,
     .more = read_gpt2},
};
const size_t tq_families_count = sizeof tq_families / sizeof *tq_families;
