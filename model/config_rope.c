/* config_rope.c - the rotary embedding's settings, in their old form (rope_theta, rope_scaling) and the new one
 * (rope_parameters). Facts: transformers 5.17, modeling_rope_utils.py; YaRN: arXiv 2309.00071, section 3.4. */
#include <math.h>
#include <string.h>

#include "model/config_internal.h"

enum { MAX_KEYS = 9 };
#define MAX_CONTEXT ((size_t)1 << 30)

/* The settings that each type has, besides rope_type, type, rope_theta and partial_rotary_factor. */
static const struct rope_row {
    const char *name;
    tq_rope_type type;
    const char *keys[MAX_KEYS];
} rope_types[] = {
    {"default", TQ_ROPE_DEFAULT, {0}},
    {"linear", TQ_ROPE_LINEAR, {"factor"}},
    {"dynamic", TQ_ROPE_DYNAMIC, {"factor"}},
    {"llama3", TQ_ROPE_LLAMA3, {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"}},
    {"yarn",
     TQ_ROPE_YARN,
     {"factor", "original_max_position_embeddings", "attention_factor", "beta_fast", "beta_slow", "mscale",
      "mscale_all_dim", "truncate"}},
};

static bool is_listed(const char *key, const char *const *list, size_t n) {
    for (size_t i = 0; i < n && list[i]; i++)
        if (strcmp(key, list[i]) == 0) return true;
    return false;
}

static const struct rope_row *find_type(const char *name) {
    for (size_t i = 0; i < sizeof rope_types / sizeof *rope_types; i++)
        if (strcmp(rope_types[i].name, name) == 0) return &rope_types[i];
    return NULL;
}

/* mrope_*: with text alone all three position ids are equal, and the sections make no difference. */
static int check_keys(const tq_settings *s, const struct rope_row *row, tq_arch arch, tq_err *err) {
    static const char *const common[] = {"rope_type", "type", "rope_theta", "partial_rotary_factor"};
    static const char *const qwen[] = {"mrope_section", "mrope_interleaved"};
    for (const cJSON *m = s->json->child; m; m = m->next) {
        if (cJSON_IsNull(m) || is_listed(m->string, common, 4) || is_listed(m->string, row->keys, MAX_KEYS)) continue;
        if ((arch == TQ_ARCH_QWEN3_5 || arch == TQ_ARCH_QWEN3_5_MOE) && is_listed(m->string, qwen, 2)) continue;
        return tq_fail(err, "%s: rope setting %s is not understood with rope type %s", s->file, m->string, row->name);
    }
    return tq_json_unique(s->file, "the rope settings", s->json, err);
}

/* The factor on cos and sin: 0.1 ln(factor) + 1 unless the file has its own (arXiv 2309.00071, equation 22). */
static double yarn_mscale(double factor, double mscale) {
    return factor <= 1 ? 1.0 : 0.1 * mscale * log(factor) + 1.0;
}

static int read_yarn(const tq_settings *s, double factor, tq_rope *r, tq_err *err) {
    double own, fast, slow, mscale, mscale_all;
    bool truncate;
    if (tq_setting_real(s, "attention_factor", -1, 0, 1e3, &own, err) ||
        tq_setting_real(s, "beta_fast", 32, 0, 1e6, &fast, err) ||
        tq_setting_real(s, "beta_slow", 1, 0, 1e6, &slow, err) ||
        tq_setting_real(s, "mscale", 0, 0, 1e3, &mscale, err) ||
        tq_setting_real(s, "mscale_all_dim", 0, 0, 1e3, &mscale_all, err) ||
        tq_setting_bool(s, "truncate", true, &truncate, err))
        return TQ_FAIL;
    if (!truncate) return tq_fail(err, "%s: yarn with truncate false is not supported", s->file);
    if (fast == 0) fast = 32;
    if (slow == 0) slow = 1;
    if (own < 0 && mscale > 0 && mscale_all > 0)
        own = yarn_mscale(factor, mscale) / yarn_mscale(factor, mscale_all);
    else if (own < 0)
        own = yarn_mscale(factor, 1);
    r->attention_factor = (float)own;
    r->beta_fast = (float)fast;
    r->beta_slow = (float)slow;
    return TQ_OK;
}

static int read_llama3(const tq_settings *s, tq_rope *r, tq_err *err) {
    double low, high;
    if (tq_setting_real(s, "low_freq_factor", -1, 1e-6, 1e6, &low, err) ||
        tq_setting_real(s, "high_freq_factor", -1, 1e-6, 1e6, &high, err))
        return TQ_FAIL;
    if (low < 0 || high < 0)
        return tq_fail(err, "%s: rope type llama3 needs low_freq_factor and high_freq_factor", s->file);
    if (high <= low) return tq_fail(err, "%s: high_freq_factor must be larger than low_freq_factor", s->file);
    r->low_freq_factor = (float)low;
    r->high_freq_factor = (float)high;
    return TQ_OK;
}

/* What a scaled type needs; top is the object that holds the rope settings. */
static int read_scaling(const tq_settings *s, const tq_settings *top, const tq_config *c, tq_rope *r, tq_err *err) {
    double factor;
    if (tq_setting_real(s, "factor", -1, 1e-3, 1e6, &factor, err)) return TQ_FAIL;
    r->original_context = c->context;
    if (r->type == TQ_ROPE_LLAMA3 || r->type == TQ_ROPE_YARN) {
        size_t own;
        if (tq_setting_size(s, "original_max_position_embeddings", c->context, 1, MAX_CONTEXT, &own, err) ||
            tq_setting_size(top, "original_max_position_embeddings", own, 1, MAX_CONTEXT, &r->original_context, err))
            return TQ_FAIL;
    }
    if (factor < 0 && r->type == TQ_ROPE_YARN) factor = (double)c->context / (double)r->original_context;
    if (factor < 0) return tq_fail(err, "%s: the rope scaling has no factor", s->file);
    r->factor = (float)factor;
    if (r->type == TQ_ROPE_LLAMA3) return read_llama3(s, r, err);
    if (r->type == TQ_ROPE_YARN) return read_yarn(s, factor, r, err);
    return TQ_OK;
}

/* One rope out of its settings, which may be an empty object. theta: where they do not say it. */
static int read_rope(const tq_settings *top, const cJSON *json, double theta, const tq_family *f, const tq_config *c,
                     tq_rope *out, tq_err *err) {
    if (!cJSON_IsObject(json)) return tq_fail(err, "%s: expected an object of rope settings", top->file);
    const tq_settings s = {top->file, json, NULL};
    const char *name = tq_json_text(json, "rope_type");
    if (!name) name = tq_json_text(json, "type");
    if (!name) name = "default";
    const struct rope_row *row = find_type(name);
    if (!row) return tq_fail(err, "%s: rope type %s is not supported", top->file, name);
    if (check_keys(&s, row, c->arch, err)) return TQ_FAIL;

    double partial;
    if (tq_setting_real(&s, "rope_theta", theta, 1.5, 1e15, &theta, err) ||
        tq_setting_real(top, "partial_rotary_factor", f->partial_rotary, 1e-6, 1, &partial, err) ||
        tq_setting_real(&s, "partial_rotary_factor", partial, 1e-6, 1, &partial, err))
        return TQ_FAIL;
    *out = (tq_rope){.type = row->type, .theta = (float)theta, .factor = 1, .attention_factor = 1};
    out->dims = (size_t)((double)c->head_dim * partial);
    if (out->dims < 2 || out->dims % 2)
        return tq_fail(err, "%s: head_dim %zu times partial_rotary_factor %g is not an even number of dimensions",
                       top->file, c->head_dim, partial);
    if (row->type == TQ_ROPE_DEFAULT) return TQ_OK;
    if (row->type == TQ_ROPE_DYNAMIC && out->dims < 4)
        return tq_fail(err, "%s: rope type dynamic needs at least 4 rotated dimensions", top->file);
    return read_scaling(&s, top, c, out, err);
}

static const cJSON none = {.type = cJSON_Object};

static const cJSON *member(const cJSON *object, const char *name) {
    const cJSON *m = cJSON_IsObject(object) ? tq_json_get(object, name) : NULL;
    return m ? m : &none;
}

/* Gemma 3: the rope of local blocks, never scaled, beside that of the others. New files have both in rope_parameters.
 */
static int read_two(const tq_settings *top, const cJSON *json, double theta, const tq_family *f, tq_config *c,
                    tq_err *err) {
    double local;
    bool both = cJSON_IsObject(tq_json_get(json, "full_attention"));
    if (tq_setting_real(top, "rope_local_base_freq", 10000, 1.5, 1e15, &local, err)) return TQ_FAIL;
    if (read_rope(top, both ? member(json, "full_attention") : json, theta, f, c, &c->rope, err)) return TQ_FAIL;
    return read_rope(top, both ? member(json, "sliding_attention") : &none, local, f, c, &c->local_rope, err);
}

int tq_config_rope(const tq_settings *top, const tq_family *f, tq_config *c, tq_err *err) {
    double theta;
    const cJSON *json = tq_json_get(top->json, "rope_scaling");
    if (!json || (cJSON_IsObject(json) && !json->child)) json = tq_json_get(top->json, "rope_parameters");
    if (!json) json = &none;
    if (tq_setting_real(top, "rope_theta", f->theta, 1.5, 1e15, &theta, err)) return TQ_FAIL;
    if (c->arch == TQ_ARCH_GEMMA3) return read_two(top, json, theta, f, c, err);
    if (read_rope(top, json, theta, f, c, &c->rope, err)) return TQ_FAIL;
    c->local_rope = c->rope;
    return TQ_OK;
}
