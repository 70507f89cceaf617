/* config.c - config.json, checked once. Facts: transformers 5.17, the configuration_*.py of each family. */
#include "model/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/config_internal.h"
#include "model/docs.h"

enum { MAX_CONFIG_BYTES = 16 << 20, MAX_CONFIG_VALUES = 200000 };
#define MAX_VOCAB ((size_t)1 << 22)
#define MAX_WIDTH ((size_t)1 << 20)
#define MAX_HEADS ((size_t)4096)
#define MAX_HEAD_DIM ((size_t)4096)
#define MAX_CONTEXT ((size_t)1 << 30)

/* What a model_type means and what it takes for granted. 0 for kv_heads: as many as heads; for head_dim: hidden /
 * heads. */
static const struct family {
    const char *model_type;
    tq_arch arch;
    size_t kv_heads, head_dim, context;
    double partial_rotary;
    int bos, eos;
    bool attention_bias, mlp_bias; /* has the setting */
} families[] = {
    {"llama", TQ_ARCH_LLAMA, 0, 0, 2048, 1.0, 1, 2, true, true},
    {"mistral", TQ_ARCH_LLAMA, 8, 0, 131072, 1.0, 1, 2, false, false},
    {"qwen3", TQ_ARCH_QWEN3, 32, 128, 32768, 1.0, -1, -1, true, false},
    {"qwen3_5_text", TQ_ARCH_QWEN3_5, 4, 256, 32768, 0.25, -1, -1, true, false},
};
/* A multimodal checkpoint: the text model is described by text_config. */
static const char multimodal[] = "qwen3_5";

/* Settings of other models that would change the arithmetic: only their neutral value is accepted. */
static const struct foreign {
    const char *key;
    enum { ABSENT, ONE, TRUE } neutral; /* absent: also null, false, 0, "", [] and {} */
    const char *why;
} foreign[] = {
    {"quantization_config", ABSENT, "the weights are already quantized"},
    {"compression_config", ABSENT, "the weights are already compressed"},
    {"num_experts", ABSENT, "mixtures of experts are not supported"},
    {"num_local_experts", ABSENT, "mixtures of experts are not supported"},
    {"n_routed_experts", ABSENT, "mixtures of experts are not supported"},
    {"is_encoder_decoder", ABSENT, "encoder-decoder models are not supported"},
    {"use_bidirectional_attention", ABSENT, "attention is causal here"},
    {"is_causal", TRUE, "attention is causal here"},
    {"attn_logit_softcapping", ABSENT, "not supported"},
    {"final_logit_softcapping", ABSENT, "not supported"},
    {"query_pre_attn_scalar", ABSENT, "not supported"},
    {"attention_chunk_size", ABSENT, "not supported"},
    {"attn_temperature_tuning", ABSENT, "not supported"},
    {"no_rope_layers", ABSENT, "not supported"},
    {"use_qk_norm", ABSENT, "not supported"},
    {"qk_layernorm", ABSENT, "not supported"},
    {"clip_qkv", ABSENT, "not supported"},
    {"alibi", ABSENT, "not supported"},
    {"rope_interleaved", ABSENT, "not supported"},
    {"kv_lora_rank", ABSENT, "not supported"},
    {"q_lora_rank", ABSENT, "not supported"},
    {"embedding_multiplier", ONE, "not supported"},
    {"residual_multiplier", ONE, "not supported"},
    {"attention_multiplier", ONE, "not supported"},
    {"logits_scaling", ONE, "not supported"},
    {"logit_scale", ONE, "not supported"},
    {"scale_emb", ONE, "not supported"},
};

const char *tq_arch_name(tq_arch a) {
    static const char *const names[TQ_ARCH_COUNT] = {"Llama", "Qwen3", "Qwen3.5"};
    return names[a];
}

int tq_setting_size(const tq_settings *s, const char *key, size_t def, size_t lo, size_t hi, size_t *out, tq_err *err) {
    const cJSON *m = tq_json_get(s->json, key);
    *out = def;
    if (!m) return TQ_OK;
    size_t v;
    if (!tq_json_size(m, &v) || v < lo || v > hi)
        return tq_fail(err, "%s: %s must be a whole number from %zu to %zu", s->file, key, lo, hi);
    *out = v;
    return TQ_OK;
}

int tq_setting_real(const tq_settings *s, const char *key, double def, double lo, double hi, double *out, tq_err *err) {
    const cJSON *m = tq_json_get(s->json, key);
    *out = def;
    if (!m) return TQ_OK;
    if (!cJSON_IsNumber(m) || !(m->valuedouble >= lo && m->valuedouble <= hi))
        return tq_fail(err, "%s: %s must be a number from %g to %g", s->file, key, lo, hi);
    *out = m->valuedouble;
    return TQ_OK;
}

int tq_setting_bool(const tq_settings *s, const char *key, bool def, bool *out, tq_err *err) {
    const cJSON *m = tq_json_get(s->json, key);
    *out = def;
    if (!m) return TQ_OK;
    if (!cJSON_IsBool(m)) return tq_fail(err, "%s: %s must be true or false", s->file, key);
    *out = cJSON_IsTrue(m);
    return TQ_OK;
}

/* A size that has no default. */
static int required(const tq_settings *s, const char *key, size_t hi, size_t *out, tq_err *err) {
    if (tq_setting_size(s, key, 0, 1, hi, out, err)) return TQ_FAIL;
    if (*out > 0) return TQ_OK;
    tq_fail(err, "%s: %s is missing", s->file, key);
    return TQ_FAIL;
}

static bool is_neutral(const cJSON *m, int neutral) {
    if (!m || cJSON_IsNull(m)) return true;
    if (neutral == ONE) return cJSON_IsNumber(m) && m->valuedouble == 1;
    if (neutral == TRUE) return cJSON_IsTrue(m);
    if (cJSON_IsNumber(m)) return m->valuedouble == 0;
    if (cJSON_IsString(m)) return m->valuestring[0] == '\0';
    return cJSON_IsFalse(m) || ((cJSON_IsArray(m) || cJSON_IsObject(m)) && !m->child);
}

static int check_foreign(const tq_settings *s, tq_err *err) {
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        if (!is_neutral(cJSON_GetObjectItemCaseSensitive(s->json, foreign[i].key), foreign[i].neutral))
            return tq_fail(err, "%s: %s is set: %s", s->file, foreign[i].key, foreign[i].why);
    return TQ_OK;
}

static int check_activation(const tq_settings *s, tq_err *err) {
    const cJSON *m = tq_json_get(s->json, "hidden_act");
    const char *act = cJSON_GetStringValue(m);
    if (!m || (act && (strcmp(act, "silu") == 0 || strcmp(act, "swish") == 0))) return TQ_OK;
    return tq_fail(err, "%s: hidden_act %s is not supported, only silu", s->file, act ? act : "of no name");
}

/* Biases that the family does not have cannot be bound: their setting must be off. */
static int read_biases(const tq_settings *s, const struct family *f, tq_config *c, tq_err *err) {
    if (tq_setting_bool(s, "attention_bias", false, &c->attention_bias, err) ||
        tq_setting_bool(s, "mlp_bias", false, &c->mlp_bias, err))
        return TQ_FAIL;
    if ((c->attention_bias && !f->attention_bias) || (c->mlp_bias && !f->mlp_bias))
        return tq_fail(err, "%s: %s is set: not supported with model_type %s", s->file,
                       c->mlp_bias && !f->mlp_bias ? "mlp_bias" : "attention_bias", f->model_type);
    return TQ_OK;
}

static int read_heads(const tq_settings *s, const struct family *f, tq_config *c, tq_err *err) {
    bool kv_null = cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(s->json, "num_key_value_heads"));
    size_t kv_default = kv_null || f->kv_heads == 0 ? c->heads : f->kv_heads;
    if (tq_setting_size(s, "num_key_value_heads", kv_default, 1, MAX_HEADS, &c->kv_heads, err)) return TQ_FAIL;
    if (c->heads % c->kv_heads)
        return tq_fail(err, "%s: num_attention_heads %zu is no multiple of num_key_value_heads %zu", s->file, c->heads,
                       c->kv_heads);
    if (tq_setting_size(s, "head_dim", f->head_dim, 2, MAX_HEAD_DIM, &c->head_dim, err)) return TQ_FAIL;
    if (c->head_dim == 0) {
        if (c->hidden % c->heads)
            return tq_fail(err, "%s: hidden_size %zu is no multiple of num_attention_heads %zu", s->file, c->hidden,
                           c->heads);
        c->head_dim = c->hidden / c->heads;
    }
    if (c->heads * c->head_dim > MAX_WIDTH || c->head_dim > MAX_HEAD_DIM)
        return tq_fail(err, "%s: %zu heads of %zu dimensions are too many", s->file, c->heads, c->head_dim);
    return TQ_OK;
}

static int read_sizes(const tq_settings *s, const struct family *f, tq_config *c, tq_err *err) {
    double eps;
    if (required(s, "vocab_size", MAX_VOCAB, &c->vocab, err) ||
        required(s, "hidden_size", MAX_WIDTH, &c->hidden, err) ||
        required(s, "intermediate_size", MAX_WIDTH, &c->intermediate, err) ||
        required(s, "num_hidden_layers", TQ_MAX_BLOCKS, &c->blocks, err) ||
        required(s, "num_attention_heads", MAX_HEADS, &c->heads, err) ||
        tq_setting_size(s, "max_position_embeddings", f->context, 1, MAX_CONTEXT, &c->context, err) ||
        tq_setting_real(s, "rms_norm_eps", 1e-6, 1e-12, 1, &eps, err))
        return TQ_FAIL;
    c->norm_eps = (float)eps;
    return read_heads(s, f, c, err);
}

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

/* Every block has the window or none has: that is what the forward pass can represent. */
static int read_window(const tq_settings *s, const struct family *f, tq_config *c, tq_err *err) {
    bool mistral = strcmp(f->model_type, "mistral") == 0;
    bool use = mistral;
    const cJSON *types = tq_json_get(s->json, "layer_types");
    const cJSON *given = cJSON_GetObjectItemCaseSensitive(s->json, "sliding_window");
    size_t window = 0;
    size_t from = 0;
    size_t sliding = 0;
    if (!cJSON_IsNull(given) && tq_setting_size(s, "sliding_window", 4096, 1, MAX_CONTEXT, &window, err))
        return TQ_FAIL;
    if (c->arch == TQ_ARCH_QWEN3 && (tq_setting_bool(s, "use_sliding_window", false, &use, err) ||
                                     tq_setting_size(s, "max_window_layers", 28, 0, MAX_CONTEXT, &from, err)))
        return TQ_FAIL;
    if (c->arch == TQ_ARCH_LLAMA && !mistral && given && !cJSON_IsNull(given))
        return tq_fail(err, "%s: sliding_window is set: model_type llama has none", s->file);
    if (types) {
        if (count_layer_types(s, types, c->blocks, "sliding_attention", &sliding, err)) return TQ_FAIL;
        if (sliding > 0 && !(use && window))
            return tq_fail(err, "%s: layer_types has sliding_attention, but no sliding window is in use", s->file);
    } else if (use && window && from < c->blocks) {
        sliding = c->blocks - from;
    }
    if (sliding > 0 && sliding < c->blocks)
        return tq_fail(err, "%s: a sliding window in %zu of %zu blocks is not supported, only in all or none", s->file,
                       sliding, c->blocks);
    c->sliding_window = sliding ? window : 0;
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

static int read_qwen3_5(const tq_settings *s, tq_config *c, tq_err *err) {
    bool gate;
    const char *gate_type = tq_json_text(s->json, "output_gate_type");
    if (tq_setting_bool(s, "attn_output_gate", true, &gate, err)) return TQ_FAIL;
    if (!gate) return tq_fail(err, "%s: attn_output_gate false is not supported", s->file);
    if (gate_type && strcmp(gate_type, "swish") != 0 && strcmp(gate_type, "silu") != 0)
        return tq_fail(err, "%s: output_gate_type %s is not supported, only swish", s->file, gate_type);
    c->output_gate = true;
    c->norm_plus_one = true;
    if (tq_setting_size(s, "linear_num_key_heads", 16, 1, MAX_HEADS, &c->linear_key_heads, err) ||
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

static int add_eos(const tq_settings *s, const cJSON *item, tq_config *c, tq_err *err) {
    size_t id;
    if (!tq_json_size(item, &id) || id >= c->vocab)
        return tq_fail(err, "%s: eos_token_id must be a token id below vocab_size %zu", s->file, c->vocab);
    for (size_t i = 0; i < c->n_eos; i++)
        if (c->eos[i] == (int)id) return TQ_OK;
    if (c->n_eos == TQ_MAX_EOS) return tq_fail(err, "%s: more than %d end tokens", s->file, TQ_MAX_EOS);
    c->eos[c->n_eos++] = (int)id;
    return TQ_OK;
}

/* eos_token_id: an id, a list of ids, null or absent. */
static int read_eos(const tq_settings *s, tq_config *c, tq_err *err) {
    const cJSON *m = tq_json_get(s->json, "eos_token_id");
    if (!m) return TQ_OK;
    if (!cJSON_IsArray(m)) return add_eos(s, m, c, err);
    for (const cJSON *item = m->child; item; item = item->next)
        if (add_eos(s, item, c, err)) return TQ_FAIL;
    return TQ_OK;
}

static int read_bos(const tq_settings *s, const struct family *f, tq_config *c, tq_err *err) {
    const cJSON *m = cJSON_GetObjectItemCaseSensitive(s->json, "bos_token_id");
    size_t id;
    c->bos = m ? -1 : f->bos;
    if (c->bos >= (int)c->vocab) c->bos = -1;
    if (!m || cJSON_IsNull(m)) return TQ_OK;
    if (!tq_json_size(m, &id) || id >= c->vocab)
        return tq_fail(err, "%s: bos_token_id must be a token id below vocab_size %zu", s->file, c->vocab);
    c->bos = (int)id;
    return TQ_OK;
}

static int read_ends(const tq_docs *docs, const tq_settings *top, const tq_settings *text, const struct family *f,
                     tq_config *c, tq_err *err) {
    if (read_eos(text, c, err) || read_eos(top, c, err) || read_bos(text, f, c, err)) return TQ_FAIL;
    static const char name[] = "generation_config.json";
    char *path = tq_docs_path(docs, name);
    int rc = path ? TQ_OK : tq_fail(err, "%s: out of memory", name);
    if (path && tq_docs_has(docs, name)) {
        cJSON *json = tq_docs_load(docs, name, MAX_CONFIG_BYTES, MAX_CONFIG_VALUES, err);
        const tq_settings generation = {path, json};
        rc = json ? tq_json_unique(path, "the file", json, err) : TQ_FAIL;
        if (!rc) rc = read_eos(&generation, c, err);
        cJSON_Delete(json);
    }
    bool said = cJSON_GetObjectItemCaseSensitive(text->json, "eos_token_id") != NULL;
    if (!rc && c->n_eos == 0 && !said && f->eos >= 0 && f->eos < (int)c->vocab) c->eos[c->n_eos++] = f->eos;
    free(path);
    return rc;
}

/* Multimodal checkpoints say it at the top, in text_config, or in both. */
static int read_tied(const tq_settings *top, const tq_settings *text, tq_config *c, tq_err *err) {
    bool outer;
    if (tq_setting_bool(text, "tie_word_embeddings", false, &c->tied, err) ||
        tq_setting_bool(top, "tie_word_embeddings", c->tied, &outer, err))
        return TQ_FAIL;
    if (outer != c->tied && tq_json_get(text->json, "tie_word_embeddings"))
        return tq_fail(err, "%s: tie_word_embeddings differs between the top and text_config", top->file);
    c->tied = outer;
    return TQ_OK;
}

static int find_family(const tq_settings *top, tq_settings *text, const struct family **out, tq_err *err) {
    const char *type = tq_json_text(top->json, "model_type");
    *out = NULL;
    if (!type) return tq_fail(err, "%s: model_type is missing", top->file);
    *text = *top;
    if (strcmp(type, multimodal) == 0) {
        text->json = tq_json_get(top->json, "text_config");
        if (!cJSON_IsObject(text->json)) return tq_fail(err, "%s: model_type %s has no text_config", top->file, type);
        if (tq_json_unique(top->file, "text_config", text->json, err)) return TQ_FAIL;
        const char *inner = tq_json_text(text->json, "model_type");
        type = inner ? inner : "qwen3_5_text";
    }
    for (size_t i = 0; i < sizeof families / sizeof *families; i++)
        if (strcmp(families[i].model_type, type) == 0) {
            *out = &families[i];
            return TQ_OK;
        }
    tq_fail(err, "%s: model_type %s is not supported: expected llama, mistral, qwen3 or qwen3_5", top->file, type);
    return TQ_FAIL;
}

static int read_config(const tq_docs *docs, const tq_settings *top, tq_config *c, tq_err *err) {
    const struct family *f = NULL;
    tq_settings text;
    if (tq_json_unique(top->file, "the file", top->json, err) || find_family(top, &text, &f, err) || !f) return TQ_FAIL;
    c->arch = f->arch;
    snprintf(c->model_type, sizeof c->model_type, "%s", tq_json_text(top->json, "model_type"));
    if (check_foreign(top, err) || (text.json != top->json && check_foreign(&text, err)) ||
        check_activation(&text, err) || read_sizes(&text, f, c, err) || read_biases(&text, f, c, err) ||
        read_tied(top, &text, c, err))
        return TQ_FAIL;
    if (c->arch == TQ_ARCH_QWEN3_5 ? read_qwen3_5(&text, c, err) : read_window(&text, f, c, err)) return TQ_FAIL;
    if (tq_config_rope(&text, f->partial_rotary, c, err)) return TQ_FAIL;
    return read_ends(docs, top, &text, f, c, err);
}

static int load(const tq_docs *docs, tq_config *out, tq_err *err) {
    static const char name[] = "config.json";
    memset(out, 0, sizeof *out);
    out->bos = -1;
    char *path = tq_docs_path(docs, name);
    if (!path) return tq_fail(err, "%s: out of memory", name);
    cJSON *json = tq_docs_load(docs, name, MAX_CONFIG_BYTES, MAX_CONFIG_VALUES, err);
    const tq_settings top = {path, json};
    int rc = json ? read_config(docs, &top, out, err) : TQ_FAIL;
    cJSON_Delete(json);
    free(path);
    return rc;
}

int tq_config_load(const char *dir, tq_config *out, tq_err *err) {
    tq_docs docs = tq_docs_in(dir);
    return load(&docs, out, err);
}

int tq_config_of(const tq_source *source, tq_config *out, tq_err *err) {
    tq_docs docs = tq_docs_of(source);
    return load(&docs, out, err);
}
