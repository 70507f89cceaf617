/* recipe_exllamav3.c - exllamav3: the YAML that util/recompile.py takes (-or), which puts a model together from whole
 * conversions: of each tensor, the one whose glob comes first. A kept matrix comes from the model itself. */
#include <string.h>

#include "model/recipe.h"

enum { SOURCES = 4 };

static const struct {
    int bits; /* 0: as stored */
    const char *id, *dir;
} sources[SOURCES] = {
    {4, "4bpw", "exl3-4.0bpw"}, {6, "6bpw", "exl3-6.0bpw"}, {8, "8bpw", "exl3-8.0bpw"}, {0, "stored", "original"}};

int tq_recipe_exllamav3_check(const tq_plan *plan, tq_err *err) {
    const tq_config *c = tq_model_config(tq_plan_model(plan));
    if (c->arch == TQ_ARCH_OLMO2) return tq_fail(err, "exllamav3 does not know OLMo 2");
    if (strcmp(c->prefix, "model.language_model.") != 0 && tq_recipe_plain_names(plan, err) != TQ_OK) return TQ_FAIL;
    return tq_recipe_fits(plan, err);
}

static const char *source_of(tq_choice c) {
    for (size_t i = 0; i < SOURCES; i++)
        if (sources[i].bits == tq_recipe_bits(c)) return sources[i].id;
    return "";
}

/* Is the conversion at these bits needed beside the one that most matrices come from? */
static bool is_used(const tq_plan *plan, int bits) {
    for (size_t i = 0; i < tq_model_block_matrices(tq_plan_model(plan)); i++)
        if (tq_recipe_bits(tq_plan_get(plan, i)) == bits) return bits != tq_recipe_bits(tq_recipe_common(plan));
    return false;
}

int tq_recipe_exllamav3(const tq_export_job *job, const tq_progress *p, tq_err *err) {
    tq_recipe_text t = {0};
    char label[512];
    int common = tq_recipe_bits(tq_recipe_common(job->plan));
    (void)p;
    tq_recipe_label(job, TQ_EXPORT_EXLLAMAV3, label, sizeof label);
    tq_recipe_line(&t, "# %s.", label);
    tq_recipe_line(&t, "# First convert the model whole, with convert.py -b %d.0 and each -b that is named below; then",
                   common);
    tq_recipe_line(
        &t, "# util/recompile.py -i exl3-%d.0bpw -o OUT -or THIS, with the directories as they are with you.", common);
    tq_recipe_line(&t, "sources:");
    size_t used = 0;
    for (size_t i = 0; i < SOURCES; i++) {
        if (!is_used(job->plan, sources[i].bits)) continue;
        tq_recipe_line(&t, "  - id: \"%s\"", sources[i].id);
        tq_recipe_line(&t, "    model_dir: \"%s\"", sources[i].dir);
        used++;
    }
    if (!used) tq_recipe_line(&t, "  []");
    tq_recipe_line(&t, "overrides:");
    for (size_t i = 0; i < tq_model_block_matrices(job->model); i++) {
        tq_choice c = tq_plan_get(job->plan, i);
        if (tq_recipe_bits(c) == common) continue;
        tq_recipe_line(&t, "  - key: \"%s.*\"", tq_model_matrix(job->model, i)->name);
        tq_recipe_line(&t, "    source: \"%s\"", source_of(c));
    }
    if (!used) tq_recipe_line(&t, "  []");
    return tq_recipe_save(&t, job, err);
}
