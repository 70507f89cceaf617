/* config.c - config.json, checked once. Facts: transformers 5.17, the configuration_*.py of each family. */
#include "model/config.h"

#include <math.h>
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

/* Multimodal checkpoints: the text model is described by text_config. */
static const struct multimodal {
    const char *model_type, *text_type;
} multimodals[] = {{"qwen3_5", "qwen3_5_text"}, {"gemma3", "gemma3_text"}, {"qwen3_5_moe", "qwen3_5_moe_text"}};

#define MOE (1U << TQ_ARCH_QWEN3_MOE | 1U << TQ_ARCH_QWEN3_5_MOE)

/* Settings of other models that would change the arithmetic: only their neutral value is accepted. */
static const struct foreign {
    const char *key;
    enum { ABSENT, ONE, TRUE } neutral; /* absent: also null, false, 0, "", [] and {} */
    const char *why;
    unsigned known; /* 1 << tq_arch of those that have it */
} foreign[] = {
    {"quantization_config", ABSENT, "the weights are already quantized", 0},
    {"compression_config", ABSENT, "the weights are already compressed", 0},
    {"num_experts", ABSENT, "not a mixture of experts by its model_type", MOE},
    {"num_local_experts", ABSENT, "not a mixture of experts by its model_type", MOE},
    {"n_routed_experts", ABSENT, "mixtures of experts are not supported", 0},
    {"is_encoder_decoder", ABSENT, "encoder-decoder models are not supported", 0},
    {"use_bidirectional_attention", ABSENT, "attention is causal here", 0},
    {"is_causal", TRUE, "attention is causal here", 0},
    {"attn_logit_softcapping", ABSENT, "not supported", 0},
    {"final_logit_softcapping", ABSENT, "not supported", 0},
    {"query_pre_attn_scalar", ABSENT, "not supported", 1U << TQ_ARCH_GEMMA3},
    {"attention_chunk_size", ABSENT, "not supported", 0},
    {"attn_temperature_tuning", ABSENT, "not supported", 0},
    {"no_rope_layers", ABSENT, "not supported", 0},
    {"use_qk_norm", ABSENT, "not supported", 0},
    {"qk_layernorm", ABSENT, "not supported", 0},
    {"clip_qkv", ABSENT, "not supported", 0},
    {"alibi", ABSENT, "not supported", 0},
    {"rope_interleaved", ABSENT, "not supported", 0},
    {"kv_lora_rank", ABSENT, "not supported", 0},
    {"q_lora_rank", ABSENT, "not supported", 0},
    {"embedding_multiplier", ONE, "not supported", 0},
    {"residual_multiplier", ONE, "not supported", 0},
    {"attention_multiplier", ONE, "not supported", 0},
    {"logits_scaling", ONE, "not supported", 0},
    {"logit_scale", ONE, "not supported", 0},
    {"scale_emb", ONE, "not supported", 0},
    {"scale_attn_weights", TRUE, "not supported", 0},
    {"scale_attn_by_inverse_layer_idx", ABSENT, "not supported", 0},
    {"add_cross_attention", ABSENT, "not supported", 0},
};

const char *tq_arch_name(tq_arch a) {
    static const char *const names[TQ_ARCH_COUNT] = {"Llama",  "Qwen3", "Qwen3.5",   "Qwen2",       "Gemma 3",
                                                     "OLMo 2", "Phi-3", "Qwen3-MoE", "Qwen3.5-MoE", "GPT-2"};
    return names[a];
}

const char *tq_setting_name(const tq_settings *s, const char *usual) {
    for (size_t i = 0; s->own && s->own[i][0]; i++)
        if (strcmp(s->own[i][0], usual) == 0) return s->own[i][1];
    return usual;
}

int tq_setting_size(const tq_settings *s, const char *key, size_t def, size_t lo, size_t hi, size_t *out, tq_err *err) {
    key = tq_setting_name(s, key);
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
    key = tq_setting_name(s, key);
    const cJSON *m = tq_json_get(s->json, key);
    *out = def;
    if (!m) return TQ_OK;
    if (!cJSON_IsNumber(m) || !(m->valuedouble >= lo && m->valuedouble <= hi))
        return tq_fail(err, "%s: %s must be a number from %g to %g", s->file, key, lo, hi);
    *out = m->valuedouble;
    return TQ_OK;
}

int tq_setting_bool(const tq_settings *s, const char *key, bool def, bool *out, tq_err *err) {
    key = tq_setting_name(s, key);
    const cJSON *m = tq_json_get(s->json, key);
    *out = def;
    if (!m) return TQ_OK;
    if (!cJSON_IsBool(m)) return tq_fail(err, "%s: %s must be true or false", s->file, key);
    *out = cJSON_IsTrue(m);
    return TQ_OK;
}

/* A size that must be there unless its default is one. */
static int required(const tq_settings *s, const char *key, size_t def, size_t hi, size_t *out, tq_err *err) {
    if (tq_setting_size(s, key, def, 1, hi, out, err)) return TQ_FAIL;
    if (*out > 0) return TQ_OK;
    tq_fail(err, "%s: %s is missing", s->file, tq_setting_name(s, key));
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

static int check_foreign(const tq_settings *s, tq_arch arch, tq_err *err) {
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++)
        if (!(foreign[i].known >> arch & 1U) &&
            !is_neutral(cJSON_GetObjectItemCaseSensitive(s->json, foreign[i].key), foreign[i].neutral))
            return tq_fail(err, "%s: %s is set: %s", s->file, foreign[i].key, foreign[i].why);
    return TQ_OK;
}

static int read_activation(const tq_settings *s, const tq_family *f, tq_config *c, tq_err *err) {
    static const struct {
        const char *name;
        tq_activation activation;
    } names[] = {{"silu", TQ_ACT_SILU},
                 {"swish", TQ_ACT_SILU},
                 {"gelu_pytorch_tanh", TQ_ACT_GELU_TANH},
                 {"gelu_new", TQ_ACT_GELU_TANH}};
    const cJSON *m = tq_json_get(s->json, f->activation_key);
    const char *act = cJSON_GetStringValue(m);
    c->activation = f->activation;
    if (!m) return TQ_OK;
    for (size_t i = 0; act && i < sizeof names / sizeof *names; i++)
        if (strcmp(names[i].name, act) == 0 && names[i].activation == f->activation) return TQ_OK;
    return tq_fail(err, "%s: %s %s is not supported with model_type %s, only %s", s->file, f->activation_key,
                   act ? act : "of no name", f->model_type, f->activation == TQ_ACT_SILU ? "silu" : names[2].name);
}

/* Biases that the family does not have cannot be bound: their setting must be off. */
static int read_biases(const tq_settings *s, const tq_family *f, tq_config *c, tq_err *err) {
    if (tq_setting_bool(s, "attention_bias", false, &c->attention_bias, err) ||
        tq_setting_bool(s, "mlp_bias", false, &c->mlp_bias, err))
        return TQ_FAIL;
    if ((c->attention_bias && !f->attention_bias) || (c->mlp_bias && !f->mlp_bias))
        return tq_fail(err, "%s: %s is set: not supported with model_type %s", s->file,
                       c->mlp_bias && !f->mlp_bias ? "mlp_bias" : "attention_bias", f->model_type);
    return TQ_OK;
}

static int read_heads(const tq_settings *s, const tq_family *f, tq_config *c, tq_err *err) {
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

static int read_sizes(const tq_settings *s, const tq_family *f, tq_config *c, tq_err *err) {
    double eps;
    if (required(s, "vocab_size", f->vocab, MAX_VOCAB, &c->vocab, err) ||
        required(s, "hidden_size", 0, MAX_WIDTH, &c->hidden, err) ||
        required(s, "intermediate_size", f->feed ? f->feed * c->hidden : f->intermediate, MAX_WIDTH, &c->intermediate,
                 err) ||
        required(s, "num_hidden_layers", 0, TQ_MAX_BLOCKS, &c->blocks, err) ||
        required(s, "num_attention_heads", f->heads, MAX_HEADS, &c->heads, err) ||
        tq_setting_size(s, "max_position_embeddings", f->context, 1, MAX_CONTEXT, &c->context, err) ||
        tq_setting_real(s, "rms_norm_eps", f->norm_eps > 0 ? f->norm_eps : 1e-6, 1e-12, 1, &eps, err))
        return TQ_FAIL;
    c->norm_eps = (float)eps;
    if (read_heads(s, f, c, err)) return TQ_FAIL;
    c->embedding_scale = 1;
    c->query_scale = 1.0F / sqrtf((float)c->head_dim);
    return TQ_OK;
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

static int read_bos(const tq_settings *s, const tq_family *f, tq_config *c, tq_err *err) {
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

static int read_ends(const tq_docs *docs, const tq_settings *top, const tq_settings *text, const tq_family *f,
                     tq_config *c, tq_err *err) {
    if (read_eos(text, c, err) || read_eos(top, c, err) || read_bos(text, f, c, err)) return TQ_FAIL;
    static const char name[] = "generation_config.json";
    char *path = tq_docs_path(docs, name);
    int rc = path ? TQ_OK : tq_fail(err, "%s: out of memory", name);
    if (path && tq_docs_has(docs, name)) {
        cJSON *json = tq_docs_load(docs, name, MAX_CONFIG_BYTES, MAX_CONFIG_VALUES, err);
        const tq_settings generation = {path, json, NULL};
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
static int read_tied(const tq_settings *top, const tq_settings *text, const tq_family *f, tq_config *c, tq_err *err) {
    bool outer;
    if (tq_setting_bool(text, "tie_word_embeddings", f->tied, &c->tied, err) ||
        tq_setting_bool(top, "tie_word_embeddings", c->tied, &outer, err))
        return TQ_FAIL;
    if (outer != c->tied && tq_json_get(text->json, "tie_word_embeddings"))
        return tq_fail(err, "%s: tie_word_embeddings differs between the top and text_config", top->file);
    c->tied = outer;
    return TQ_OK;
}

static int find_family(const tq_settings *top, tq_settings *text, const tq_family **out, tq_err *err) {
    const char *type = tq_json_text(top->json, "model_type");
    *out = NULL;
    if (!type) return tq_fail(err, "%s: model_type is missing", top->file);
    *text = *top;
    for (size_t i = 0; i < sizeof multimodals / sizeof *multimodals; i++) {
        if (strcmp(type, multimodals[i].model_type) != 0) continue;
        text->json = tq_json_get(top->json, "text_config");
        if (!cJSON_IsObject(text->json)) return tq_fail(err, "%s: model_type %s has no text_config", top->file, type);
        if (tq_json_unique(top->file, "text_config", text->json, err)) return TQ_FAIL;
        const char *inner = tq_json_text(text->json, "model_type");
        type = inner ? inner : multimodals[i].text_type;
        break;
    }
    for (size_t i = 0; i < tq_families_count; i++)
        if (strcmp(tq_families[i].model_type, type) == 0) {
            *out = &tq_families[i];
            text->own = tq_families[i].own;
            return TQ_OK;
        }
    tq_fail(err,
            "%s: model_type %s is not supported: expected llama, mistral, qwen2, qwen3, qwen3_moe, "
            "qwen3_5, qwen3_5_moe, gemma3, olmo2, phi3 or gpt2",
            top->file, type);
    return TQ_FAIL;
}

static int read_config(const tq_docs *docs, const tq_settings *top, tq_config *c, tq_err *err) {
    const tq_family *f = NULL;
    tq_settings text;
    if (tq_json_unique(top->file, "the file", top->json, err) || find_family(top, &text, &f, err) || !f) return TQ_FAIL;
    c->arch = f->arch;
    snprintf(c->model_type, sizeof c->model_type, "%s", tq_json_text(top->json, "model_type"));
    if (check_foreign(top, c->arch, err) || (text.json != top->json && check_foreign(&text, c->arch, err)) ||
        read_activation(&text, f, c, err) || read_sizes(&text, f, c, err) || read_biases(&text, f, c, err) ||
        read_tied(top, &text, f, c, err))
        return TQ_FAIL;
    if (f->more(&text, f, c, err) || (!c->layer_norm && tq_config_rope(&text, f, c, err))) return TQ_FAIL;
    return read_ends(docs, top, &text, f, c, err);
}

static int load(const tq_docs *docs, tq_config *out, tq_err *err) {
    static const char name[] = "config.json";
    memset(out, 0, sizeof *out);
    out->bos = -1;
    char *path = tq_docs_path(docs, name);
    if (!path) return tq_fail(err, "%s: out of memory", name);
    cJSON *json = tq_docs_load(docs, name, MAX_CONFIG_BYTES, MAX_CONFIG_VALUES, err);
    const tq_settings top = {path, json, NULL};
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
