/* export_turboquant.c - the directory of turboquant-model, the published PyTorch implementation.
 *
 * Its reader takes codes, level table and norms from the files and undoes the rotation: w = norm * D H c / d, H
 * Sylvester's, D signs drawn anew for each group. With hadamard and independent residuals that is what a packed matrix
 * is here, with norm = scale * sqrt(d), so nothing is coded again: its weights are those that were measured.
 *
 * model.safetensors: "codebook" F32 [16]; for a matrix a.b.c "a_b_c.indices" U8 [rows, cols / 2] (even columns in the
 * low nibbles), "a_b_c.norms" F32 [rows] or [rows, groups], "a_b_c.bias"; with a second stage "a_b_c.pass2_indices"
 * (4-bit slots, also for 2 bits), "a_b_c.pass2_norms", "a_b_c.pass2_codebook". All else is in
 * non_quantized.safetensors. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/arch.h"
#include "model/export_internal.h"

enum { NAME_SIZE = 512, CODES = 16, SECOND_SEED = 1000 };

static const tq_qspec *spec_of(const tq_plan *plan, size_t i, tq_qspec *spec) {
    *spec = tq_plan_spec(plan, i);
    return spec->bits == TQ_BITS_KEEP ? NULL : spec;
}

/* --- what it cannot say --- */

/* Groups that are all of one length, a power of two: its modules scale a shorter last group by the length of the
 * others, though what quantizes for them does not. */
static int check_groups(const tq_matrix *m, const tq_qspec *spec, tq_err *err) {
    size_t cols = m->w.cols, group = spec->group == TQ_GROUP_ROW ? cols : spec->group;
    if (cols % group)
        return tq_fail(err, "%s has %zu columns, which groups of %zu do not divide as its have to", m->name, cols,
                       group);
    if (group < 2 || (group & (group - 1)))
        return tq_fail(err, "%s has groups of %zu columns, its rotation takes powers of two", m->name, group);
    return TQ_OK;
}

static int check_spec(const tq_matrix *m, const tq_qspec *spec, tq_err *err) {
    if (tq_bits_get(spec->bits)->trellis) return tq_fail(err, "%s is at %s", m->name, tq_bits_get(spec->bits)->name);
    if (spec->rotation != TQ_ROTATION_HADAMARD)
        return tq_fail(err, "rotation %s is not what its reader computes, take --rotation hadamard",
                       tq_rotation_name(spec->rotation));
    if (spec->residual != TQ_RESIDUAL_INDEPENDENT)
        return tq_fail(err, "residuals are %s, it has the published method's: --residual independent",
                       tq_residual_name(spec->residual));
    if (spec->seed > TQ_SEED_MAX) return tq_fail(err, "the rotation's seed is too large for its JSON");
    return check_groups(m, spec, err);
}

/* Two matrices in one model: it has one group size, and one width of residuals. */
static int check_pair(const tq_matrix *a, const tq_qspec *x, const tq_matrix *b, const tq_qspec *y, tq_err *err) {
    char first[24], second[24];
    if (x->group != y->group)
        return tq_fail(err, "groups of %s (%s) and of %s (%s): it has one size for all", tq_group_name(x->group, first),
                       a->name, tq_group_name(y->group, second), b->name);
    int i = tq_bits_get(x->bits)->fine_bits, k = tq_bits_get(y->bits)->fine_bits;
    if (i && k && i != k)
        return tq_fail(err, "%s (%s) and %s (%s): it has one width of residuals for all", tq_bits_get(x->bits)->name,
                       a->name, tq_bits_get(y->bits)->name, b->name);
    return TQ_OK;
}

/* Of a packed model: it has one table for all first stages, an export of an earlier version may have several. */
static int check_tables(const tq_model *m, tq_err *err) {
    const tq_levels *first = NULL;
    for (size_t i = 0; i < tq_model_matrices(m); i++) {
        const tq_qmatrix *q = tq_model_matrix(m, i)->packed;
        const tq_levels *l = q ? tq_qmatrix_packed(q, 0)->levels : NULL;
        if (l && first && (memcmp(l->a, first->a, sizeof l->a) != 0 || l->step != first->step))
            return tq_fail(err, "%s has another level table than the matrices before it", tq_model_matrix(m, i)->name);
        if (l) first = l;
    }
    return TQ_OK;
}

int tq_export_turboquant_check(const tq_plan *plan, tq_err *err) {
    const tq_model *m = tq_plan_model(plan);
    const tq_matrix *a = NULL, *fine = NULL;
    tq_qspec x, f, y;
    if (strcmp(tq_model_config(m)->prefix, "model.") != 0)
        return tq_fail(err, "tensors are named %s...: its reader knows modules of text models by theirs",
                       tq_model_config(m)->prefix);
    for (size_t i = 0; i < tq_model_matrices(m); i++) {
        const tq_matrix *b = tq_model_matrix(m, i);
        if (!spec_of(plan, i, &y)) continue;
        if (check_spec(b, &y, err) != TQ_OK || (a && check_pair(a, &x, b, &y, err) != TQ_OK) ||
            (fine && check_pair(fine, &f, b, &y, err) != TQ_OK))
            return TQ_FAIL;
        if (b->end != TQ_END_NONE)
            return tq_fail(err, "%s is at %s: embedding and head stay as stored in it", b->name,
                           tq_bits_get(y.bits)->name);
        if (b->tensor && b->tensor->count != b->w.rows * b->w.cols)
            return tq_fail(err, "%s is one of several in its tensor", b->name);
        a = b;
        x = y;
        if (!tq_bits_get(y.bits)->fine_bits) continue;
        fine = b;
        f = y;
    }
    return check_tables(m, err) == TQ_OK ? tq_export_hf_check(plan, err) : TQ_FAIL;
}

/* --- a stage of a matrix --- */

static size_t groups_of(const tq_packed *p) {
    return (p->blocks + p->group_blocks - 1) / p->group_blocks;
}

static void module_name(const tq_matrix *m, char out[NAME_SIZE]) {
    (void)snprintf(out, NAME_SIZE, "%s", m->name);
    for (char *dot = out; (dot = strchr(dot, '.'));)
        *dot = '_';
}

/* Rows of codes, two in a byte. */
static int write_codes(tq_export_run *r, const tq_qmatrix *q, size_t stage, tq_err *err) {
    const tq_packed *p = tq_qmatrix_packed(q, stage);
    size_t cols = tq_qmatrix_cols(q), rows = tq_qmatrix_rows(q), ld = p->blocks * TQ_BLOCK;
    size_t tile_bytes = p->blocks * 2 * TQ_BLOCK * (size_t)p->code_bits;
    uint8_t *codes = malloc(TQ_TILE_ROWS * ld);
    int rc = codes ? TQ_OK : tq_fail(err, "%s: out of memory", r->job->path);
    for (size_t row = 0; row < rows && rc == TQ_OK; row++) {
        size_t in_tile = row % TQ_TILE_ROWS;
        uint8_t *line = codes + in_tile * ld;
        if (in_tile == 0)
            tq_k()->unpack(codes, ld, p->codes + row / TQ_TILE_ROWS * tile_bytes, p->blocks, p->code_bits);
        for (size_t c = 0; c < cols; c += 2)
            line[c / 2] = (uint8_t)(line[c] | line[c + 1] << 4);
        rc = tq_export_data(r, line, cols / 2, err);
    }
    free(codes);
    return rc;
}

static int write_norms(tq_export_run *r, const tq_qmatrix *q, size_t stage, tq_err *err) {
    const tq_packed *p = tq_qmatrix_packed(q, stage);
    size_t cols = tq_qmatrix_cols(q), rows = tq_qmatrix_rows(q), groups = groups_of(p);
    size_t group = tq_rotation_group(tq_qmatrix_rotation(q, stage));
    float *norms = malloc(groups * sizeof *norms);
    int rc = norms ? TQ_OK : tq_fail(err, "%s: out of memory", r->job->path);
    for (size_t row = 0; row < rows && rc == TQ_OK; row++) {
        for (size_t g = 0; g < groups; g++) {
            size_t begin = g * group, d = cols - begin < group ? cols - begin : group;
            float scale;
            tq_k()->f16_to_f32(&scale,
                               p->scales + (row / TQ_TILE_ROWS * groups + g) * TQ_TILE_ROWS + row % TQ_TILE_ROWS, 1);
            norms[g] = (float)((double)scale * (double)p->scale_mul * sqrt((double)d));
        }
        rc = tq_export_data(r, norms, groups * sizeof *norms, err);
    }
    free(norms);
    return rc;
}

static int put_codebook(tq_export_run *r, const char *name, const tq_packed *p, tq_export_pass pass, tq_err *err) {
    float levels[CODES];
    size_t n = (size_t)1 << p->code_bits;
    for (size_t i = 0; i < n; i++)
        levels[i] = (float)p->levels->a[i] * p->levels->step;
    if (pass == TQ_PASS_WRITE) return tq_export_data(r, levels, n * sizeof *levels, err);
    return tq_export_declare(r, name, tq_dtype_name(TQ_F32), &n, 1, n * sizeof *levels, err);
}

static int put_norms(tq_export_run *r, const char *module, const char *prefix, const tq_qmatrix *q, size_t stage,
                     tq_export_pass pass, tq_err *err) {
    size_t rows = tq_qmatrix_rows(q), groups = groups_of(tq_qmatrix_packed(q, stage));
    char name[NAME_SIZE + 32];
    (void)snprintf(name, sizeof name, "%s.%snorms", module, prefix);
    if (pass == TQ_PASS_WRITE) return write_norms(r, q, stage, err);
    return tq_export_declare(r, name, tq_dtype_name(TQ_F32), (const size_t[]){rows, groups}, groups > 1 ? 2 : 1,
                             rows * groups * sizeof(float), err);
}

static int put_codes(tq_export_run *r, const char *module, const char *prefix, const tq_qmatrix *q, size_t stage,
                     tq_export_pass pass, tq_err *err) {
    size_t rows = tq_qmatrix_rows(q), half = tq_qmatrix_cols(q) / 2;
    char name[NAME_SIZE + 32];
    (void)snprintf(name, sizeof name, "%s.%sindices", module, prefix);
    if (pass == TQ_PASS_WRITE) return write_codes(r, q, stage, err);
    return tq_export_declare(r, name, tq_dtype_name(TQ_U8), (const size_t[]){rows, half}, 2, rows * half, err);
}

/* --- the files --- */

static const tq_tensor *bias_of(const tq_export_run *r, const tq_matrix *m) {
    char name[NAME_SIZE + 8];
    (void)snprintf(name, sizeof name, "%s.bias", m->name);
    return m->bias ? tq_source_find(r->source, name) : NULL;
}

static int put_floats(tq_export_run *r, const char *module, const tq_matrix *m, const tq_qmatrix *q,
                      tq_export_pass pass, tq_err *err) {
    const tq_tensor *bias = bias_of(r, m);
    char name[NAME_SIZE + 32];
    int rc = put_norms(r, module, "", q, 0, pass, err);
    (void)snprintf(name, sizeof name, "%s.bias", module);
    if (rc == TQ_OK && bias) rc = tq_export_tensor(r, name, bias, pass, err);
    if (rc != TQ_OK || tq_qmatrix_stages(q) == 1) return rc;
    (void)snprintf(name, sizeof name, "%s.pass2_codebook", module);
    rc = put_norms(r, module, "pass2_", q, 1, pass, err);
    return rc == TQ_OK ? put_codebook(r, name, tq_qmatrix_packed(q, 1), pass, err) : rc;
}

static int put_bytes(tq_export_run *r, const char *module, const tq_qmatrix *q, tq_export_pass pass, tq_err *err) {
    int rc = put_codes(r, module, "", q, 0, pass, err);
    return rc == TQ_OK && tq_qmatrix_stages(q) > 1 ? put_codes(r, module, "pass2_", q, 1, pass, err) : rc;
}

/* Floats before bytes, so that they are aligned. */
static int put_quantized(tq_export_run *r, tq_export_pass pass, tq_err *err) {
    const tq_model *m = r->job->model;
    bool first = true;
    int rc = TQ_OK;
    for (int bytes = 0; bytes <= 1; bytes++)
        for (size_t i = 0; i < tq_model_matrices(m) && rc == TQ_OK; i++) {
            const tq_qmatrix *q = tq_export_packed(m, r->job->q, i);
            char module[NAME_SIZE];
            if (!q) continue;
            module_name(tq_model_matrix(m, i), module);
            if (first) rc = put_codebook(r, "codebook", tq_qmatrix_packed(q, 0), pass, err);
            first = false;
            if (rc == TQ_OK)
                rc = bytes ? put_bytes(r, module, q, pass, err)
                           : put_floats(r, module, tq_model_matrix(m, i), q, pass, err);
        }
    return rc;
}

/* Is it a bias that went with its matrix? */
static bool is_taken_bias(const tq_export_run *r, const tq_tensor *t) {
    for (size_t i = 0; i < tq_model_matrices(r->job->model); i++)
        if (tq_export_packed(r->job->model, r->job->q, i) && bias_of(r, tq_model_matrix(r->job->model, i)) == t)
            return true;
    return false;
}

/* Tensors that are no module's of a text model. */
static bool is_foreign(const tq_tensor *t) {
    for (size_t i = 0; i < tq_foreigns_count; i++)
        if (strstr(t->name, tq_foreigns[i].part)) return true;
    return false;
}

static int put_kept(tq_export_run *r, tq_export_pass pass, tq_err *err) {
    int rc = TQ_OK;
    for (size_t i = 0; i < tq_source_count(r->source) && rc == TQ_OK; i++) {
        const tq_tensor *t = tq_source_at(r->source, i);
        bool quantized = r->owner[i] != SIZE_MAX && tq_export_packed(r->job->model, r->job->q, r->owner[i]);
        if (quantized || is_foreign(t) || tq_export_is_packed_part(t->name) || is_taken_bias(r, t)) continue;
        rc = tq_export_tensor(r, t->name, t, pass, err);
    }
    return rc;
}

static int write_config(const tq_export_run *r, tq_err *err) {
    const tq_plan *plan = r->job->plan;
    tq_common common = tq_plan_common(plan);
    tq_qspec spec, shown = {.group = TQ_GROUP_DEFAULT};
    int fine = 0;
    for (size_t i = 0; i < tq_model_matrices(r->job->model); i++)
        if (spec_of(plan, i, &spec)) {
            shown = spec;
            if (tq_bits_get(spec.bits)->fine_bits) fine = tq_bits_get(spec.bits)->fine_bits;
        }
    cJSON *o = cJSON_CreateObject();
    bool ok = cJSON_AddNumberToObject(o, "bit_width", 4) &&
              (shown.group == TQ_GROUP_ROW ? cJSON_AddNullToObject(o, "group_size")
                                           : cJSON_AddNumberToObject(o, "group_size", (double)shown.group)) &&
              cJSON_AddNumberToObject(o, "seed", (double)common.seed) && cJSON_AddTrueToObject(o, "skip_embeddings") &&
              cJSON_AddTrueToObject(o, "skip_lm_head") &&
              (fine ? cJSON_AddNumberToObject(o, "residual_bit_width", fine)
                    : cJSON_AddNullToObject(o, "residual_bit_width")) &&
              cJSON_AddNumberToObject(o, "residual_seed", (double)(common.seed + SECOND_SEED)) &&
              cJSON_AddStringToObject(o, "rotation", "hadamard") &&
              cJSON_AddStringToObject(o, "rotation_strategy", "different") &&
              cJSON_AddStringToObject(o, "norm_codec", "fp32") && cJSON_AddFalseToObject(o, "entropy_coding") &&
              cJSON_AddFalseToObject(o, "cpu_offload_pass2") && cJSON_AddStringToObject(o, "embedding_quant", "none") &&
              cJSON_AddNumberToObject(o, "embedding_group_size", 32);
    char *text = ok ? cJSON_Print(o) : NULL;
    int rc = tq_export_text(r, "turboquant_config.json", text, err);
    cJSON_free(text);
    cJSON_Delete(o);
    return rc;
}

/* About what it takes, in what is counted of it: codes by the nibble, norms in fp32, and what stays. */
static size_t bytes_of(const tq_export_job *job) {
    size_t bytes = tq_export_tq_bytes(job->model, job->q);
    for (size_t i = 0; i < tq_model_matrices(job->model); i++) {
        const tq_qmatrix *q = tq_export_packed(job->model, job->q, i);
        for (size_t s = 0; q && s < tq_qmatrix_stages(q); s++)
            bytes += tq_qmatrix_rows(q) * (groups_of(tq_qmatrix_packed(q, s)) * sizeof(uint16_t) +
                                           (tq_qmatrix_packed(q, s)->code_bits == 2 ? tq_qmatrix_cols(q) / 4 : 0));
    }
    return bytes;
}

int tq_export_turboquant(const tq_export_job *job, const tq_progress *p, tq_err *err) {
    tq_export_run r;
    int rc = tq_export_begin(&r, job, TQ_KIND_TURBOQUANT, bytes_of(job), p, err);
    if (rc != TQ_OK) return rc;
    rc = tq_export_file(&r, "model.safetensors", put_quantized, err);
    if (rc == TQ_OK) rc = tq_export_file(&r, "non_quantized.safetensors", put_kept, err);
    if (rc == TQ_OK) rc = tq_outdir_copy(&r.dir, r.source, true, err);
    if (rc == TQ_OK) rc = write_config(&r, err);
    if (rc == TQ_OK) rc = tq_export_plan(&r, err);
    return tq_export_end(&r, rc, err);
}
