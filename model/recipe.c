/* recipe.c - what the recipes for other tools share. A recipe carries over which matrix gets how many bits, no codes.
 */
#include "model/recipe.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "model/tensor_writer.h"

int tq_recipe_bits(tq_choice c) {
    const tq_bits_traits *t = tq_bits_get(c.bits);
    return t->code_bits + t->fine_bits;
}

tq_choice tq_recipe_common(const tq_plan *plan) {
    size_t n = tq_model_block_matrices(tq_plan_model(plan)), best = 0;
    tq_choice common = {TQ_BITS_KEEP, TQ_GROUP_DEFAULT};
    for (size_t i = 0; i < n; i++) {
        tq_choice c = tq_plan_get(plan, i);
        size_t votes = 0;
        for (size_t k = i; k < n && c.bits != TQ_BITS_KEEP; k++) {
            tq_choice d = tq_plan_get(plan, k);
            votes += tq_recipe_bits(c) == tq_recipe_bits(d) && c.group == d.group;
        }
        if (votes <= best) continue;
        best = votes;
        common = c;
    }
    return common;
}

int tq_recipe_fits(const tq_plan *plan, tq_err *err) {
    const tq_model *m = tq_plan_model(plan);
    for (size_t i = tq_model_block_matrices(m); i < tq_model_matrices(m); i++)
        if (tq_plan_get(plan, i).bits != TQ_BITS_KEEP)
            return tq_fail(err, "%s is at %s: recipes are of the blocks' matrices, embedding and head stay as stored",
                           tq_model_matrix(m, i)->name, tq_bits_get(tq_plan_get(plan, i).bits)->name);
    if (tq_recipe_common(plan).bits != TQ_BITS_KEEP) return TQ_OK;
    return tq_fail(err, "the plan quantizes nothing in its blocks");
}

int tq_recipe_plain_names(const tq_plan *plan, tq_err *err) {
    const char *prefix = tq_model_config(tq_plan_model(plan))->prefix;
    if (strcmp(prefix, "model.") == 0) return TQ_OK;
    return tq_fail(err, "tensors are named %s...: what its modules are called for such a checkpoint is not known",
                   prefix);
}

void tq_recipe_label(const tq_export_job *job, tq_export_format f, char *out, size_t size) {
    const char *path = tq_source_path(tq_model_source(job->model)), *slash = strrchr(path, '/');
    char name[128];
    size_t n = 0;
    /* Of the name only what no quoting in any of these files could trip over. */
    for (const char *p = slash && slash[1] ? slash + 1 : path; *p && n + 1 < sizeof name; p++)
        name[n++] = (char)(strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-", *p) ? *p : '_');
    name[n] = '\0';
    (void)snprintf(out, size, "by tqexplore for %s from the plan of %s: %s", tq_export_format_name(f), name,
                   tq_export_note(f, job->plan));
}

void tq_recipe_line(tq_recipe_text *t, const char *format, ...) {
    char line[1024];
    va_list args;
    va_start(args, format);
    int length = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    size_t n = length < 0 ? 0 : (size_t)length;
    if (length < 0 || n >= sizeof line) t->failed = true;
    if (t->failed) return;
    if (t->n + n + 2 > t->room) {
        size_t room = 2 * t->room + n + 4096;
        char *grown = realloc(t->text, room);
        if (!grown) {
            t->failed = true;
            return;
        }
        t->text = grown;
        t->room = room;
    }
    memcpy(t->text + t->n, line, n);
    t->n += n;
    t->text[t->n++] = '\n';
    t->text[t->n] = '\0';
}

static int save(const char *text, size_t n, const tq_export_job *job, tq_err *err) {
    struct stat st;
    bool exists = lstat(job->path, &st) == 0;
    if (!text) return tq_fail(err, "%s: out of memory", job->path);
    if (exists && !job->force) return tq_fail(err, "%s: exists, --force overwrites it", job->path);
    if (exists && !S_ISREG(st.st_mode)) return tq_fail(err, "%s: not overwritten, it is no regular file", job->path);
    return tq_write_file(job->path, text, n, err);
}

int tq_recipe_save(tq_recipe_text *t, const tq_export_job *job, tq_err *err) {
    int rc = save(t->failed ? NULL : t->text, t->n, job, err);
    free(t->text);
    *t = (tq_recipe_text){0};
    return rc;
}

int tq_recipe_save_json(cJSON *root, bool ok, const tq_export_job *job, tq_err *err) {
    char *text = ok ? cJSON_Print(root) : NULL;
    int rc = save(text, text ? strlen(text) : 0, job, err);
    cJSON_free(text);
    cJSON_Delete(root);
    return rc;
}
