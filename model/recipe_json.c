/* recipe_json.c - GPTQModel and mlx-lm: a default and what differs from it, as JSON.
 *
 * GPTQModel: what QuantizeConfig takes, so that QuantizeConfig(**json.load(file)) is the plan's. Keys of `dynamic` are
 * regular expressions for module names, "+:" with what differs, "-:" for what is not quantized.
 * mlx-lm: "quantization" as config.json holds it: what is true of all, and by module what differs, false for what is
 * not quantized; mlx_lm.convert takes it as quant_predicate=lambda path, module: q.get(path, True). */
#include <stdio.h>
#include <string.h>

#include "model/recipe.h"

enum { KEY_SIZE = 1024 };

static int check_divides(const tq_plan *plan, size_t most, const char *who, const char *groups, tq_err *err) {
    const tq_model *m = tq_plan_model(plan);
    for (size_t i = 0; i < tq_model_block_matrices(m); i++) {
        tq_choice c = tq_plan_get(plan, i);
        const tq_matrix *x = tq_model_matrix(m, i);
        char name[24];
        if (c.bits == TQ_BITS_KEEP) continue;
        if (c.group == TQ_GROUP_ROW ? most > 0 : most && c.group > most)
            return tq_fail(err, "%s has groups of %s, %s has %s", x->name, tq_group_name(c.group, name), who, groups);
        if (c.group != TQ_GROUP_ROW && x->w.cols % c.group)
            return tq_fail(err, "%s has %zu columns, which groups of %zu do not divide as %s's have to", x->name,
                           x->w.cols, c.group, who);
    }
    return tq_recipe_fits(plan, err);
}

static bool same_width(tq_choice a, tq_choice b) {
    return tq_recipe_bits(a) == tq_recipe_bits(b) && a.group == b.group;
}

/* --- GPTQModel --- */

int tq_recipe_gptqmodel_check(const tq_plan *plan, tq_err *err) {
    if (tq_recipe_plain_names(plan, err) != TQ_OK) return TQ_FAIL;
    return check_divides(plan, 0, "GPTQModel", "", err);
}

static double gptq_group(tq_choice c) {
    return c.group == TQ_GROUP_ROW ? -1 : (double)c.group;
}

/* "+:^model\.layers\.0\.mlp\.down_proj$" */
static void gptq_key(const tq_matrix *m, char sign, char out[KEY_SIZE]) {
    size_t n = (size_t)snprintf(out, KEY_SIZE, "%c:^", sign);
    for (const char *p = m->name; *p && n + 4 < KEY_SIZE; p++) {
        if (*p == '.') out[n++] = '\\';
        out[n++] = *p;
    }
    out[n++] = '$';
    out[n] = '\0';
}

static bool add_dynamic(cJSON *dynamic, const tq_matrix *m, tq_choice c, tq_choice common) {
    char key[KEY_SIZE];
    bool kept = c.bits == TQ_BITS_KEEP;
    if (!kept && same_width(c, common)) return true;
    gptq_key(m, kept ? '-' : '+', key);
    cJSON *o = cJSON_AddObjectToObject(dynamic, key);
    return o && (kept || (cJSON_AddNumberToObject(o, "bits", tq_recipe_bits(c)) &&
                          cJSON_AddNumberToObject(o, "group_size", gptq_group(c))));
}

int tq_recipe_gptqmodel(const tq_export_job *job, const tq_progress *p, tq_err *err) {
    tq_choice common = tq_recipe_common(job->plan);
    char label[512];
    cJSON *root = cJSON_CreateObject();
    (void)p;
    tq_recipe_label(job, TQ_EXPORT_GPTQMODEL, label, sizeof label);
    bool ok = cJSON_AddNumberToObject(root, "bits", tq_recipe_bits(common)) &&
              cJSON_AddNumberToObject(root, "group_size", gptq_group(common));
    cJSON *dynamic = ok ? cJSON_AddObjectToObject(root, "dynamic") : NULL;
    ok = dynamic != NULL;
    for (size_t i = 0; i < tq_model_block_matrices(job->model) && ok; i++)
        ok = add_dynamic(dynamic, tq_model_matrix(job->model, i), tq_plan_get(job->plan, i), common);
    cJSON *meta = ok ? cJSON_AddObjectToObject(root, "meta") : NULL;
    ok = meta && cJSON_AddStringToObject(meta, "note", label);
    return tq_recipe_save_json(root, ok, job, err);
}

/* --- mlx-lm --- */

int tq_recipe_mlx_lm_check(const tq_plan *plan, tq_err *err) {
    const tq_config *c = tq_model_config(tq_plan_model(plan));
    if (c->arch == TQ_ARCH_QWEN3_5) return tq_fail(err, "mlx-lm reads Qwen3.5 as a multimodal model, with other names");
    if (tq_recipe_plain_names(plan, err) != TQ_OK) return TQ_FAIL;
    return check_divides(plan, 128, "mlx", "32, 64 and 128", err);
}

static bool put_width(cJSON *o, tq_choice c) {
    return cJSON_AddNumberToObject(o, "group_size", (double)c.group) &&
           cJSON_AddNumberToObject(o, "bits", tq_recipe_bits(c)) && cJSON_AddStringToObject(o, "mode", "affine");
}

int tq_recipe_mlx_lm(const tq_export_job *job, const tq_progress *p, tq_err *err) {
    tq_choice common = tq_recipe_common(job->plan);
    char label[512];
    cJSON *root = cJSON_CreateObject();
    (void)p;
    tq_recipe_label(job, TQ_EXPORT_MLX_LM, label, sizeof label);
    bool ok = cJSON_AddStringToObject(root, "note", label) != NULL;
    cJSON *q = ok ? cJSON_AddObjectToObject(root, "quantization") : NULL;
    ok = q && put_width(q, common) && cJSON_AddFalseToObject(q, "model.embed_tokens") &&
         cJSON_AddFalseToObject(q, "lm_head");
    for (size_t i = 0; i < tq_model_block_matrices(job->model) && ok; i++) {
        const char *name = tq_model_matrix(job->model, i)->name;
        tq_choice c = tq_plan_get(job->plan, i);
        if (c.bits == TQ_BITS_KEEP) {
            ok = cJSON_AddFalseToObject(q, name) != NULL;
        } else if (!same_width(c, common)) {
            cJSON *o = cJSON_AddObjectToObject(q, name);
            ok = o && put_width(o, c);
        }
    }
    return tq_recipe_save_json(root, ok, job, err);
}
