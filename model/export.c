/* export.c - the tensors of an export: which there are, declared file by file, then written in the same order. */
#include "model/export.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/export_internal.h"
#include "model/packed.h"

enum { DENSE_ROWS = 64, NAME_SIZE = 512, COPY_BYTES = 8 << 20 };
/* Beside the tensors: headers, tokenizer, plan. */
#define SPARE_BYTES ((size_t)64 << 20)

const tq_qmatrix *tq_export_packed(const tq_model *m, tq_variant q, size_t i) {
    return q && q[i] ? q[i] : tq_model_matrix(m, i)->packed;
}

static size_t packed_bytes(const tq_qmatrix *q) {
    tq_qpart parts[TQ_PACKED_PARTS + 1];
    char spec[256];
    size_t bytes = 0;
    for (size_t i = tq_packed_parts(q, parts, spec); i-- > 0;)
        bytes += parts[i].bytes;
    return bytes;
}

bool tq_export_is_packed_part(const char *name) {
    return strstr(name, TQ_PACKED_INFIX) != NULL;
}

/* Norms that are stored as they are although transformers adds one to them. */
static bool is_shifted(const tq_model *m, tq_export_kind kind, const tq_tensor *t) {
    const tq_config *c = tq_model_config(m);
    size_t n = strlen(t->name);
    static const char end[] = "norm.weight";
    return kind != TQ_KIND_TQ && c->arch == TQ_ARCH_GEMMA3 && !c->norm_plus_one && n >= sizeof end - 1 &&
           strcmp(t->name + n - (sizeof end - 1), end) == 0;
}

/* Does a tensor that stays go out as its bytes? Else it goes as floats: blocks, rows out of order, shifted norms. */
static bool is_copied(const tq_model *m, tq_export_kind kind, const tq_tensor *t) {
    return !t->codec && !t->paired && !is_shifted(m, kind, t);
}

static size_t kept_tensor_bytes(const tq_model *m, tq_export_kind kind, const tq_tensor *t) {
    return is_copied(m, kind, t) ? t->bytes : t->count * sizeof(float);
}

bool tq_is_idle_head(const tq_model *m, const tq_tensor *t) {
    static const char head[] = "lm_head.weight";
    size_t n = strlen(t->name);
    return tq_model_config(m)->tied && n >= sizeof head - 1 && strcmp(t->name + n - (sizeof head - 1), head) == 0;
}

/* A matrix as stored; it may be a part of its tensor. */
static size_t kept_matrix_bytes(const tq_matrix *x) {
    size_t element = x->tensor->codec || x->tensor->paired ? sizeof(float) : tq_dtype_size(x->tensor->dtype);
    return x->w.rows * x->w.cols * element;
}

/* Does its tensor hold other experts' matrices too? */
static bool is_stacked(const tq_matrix *x) {
    return x->tensor && x->tensor->count != x->w.rows * x->w.cols;
}

/* Are some matrices of this tensor packed, and are all of them? */
static bool some_packed(const tq_model *m, tq_variant q, const tq_tensor *t, bool *all) {
    bool some = false;
    *all = true;
    for (size_t i = 0; i < tq_model_matrices(m); i++) {
        if (tq_model_matrix(m, i)->tensor != t) continue;
        bool packed = tq_export_packed(m, q, i) != NULL;
        some = some || packed;
        *all = *all && packed;
    }
    return some;
}

/* Do a tensor's matrices go out one by one? A tensor of all experts stays one for transformers, which knows it as
 * safetensors files have it; ours has a name for each packed one. */
static bool is_split(const tq_model *m, tq_export_kind kind) {
    return kind == TQ_KIND_TQ || strcmp(tq_source_format(tq_model_source(m)), "safetensors") != 0;
}

/* What such a tensor goes out as, as one, when some of its matrices are packed: those are bf16 by themselves. */
static tq_dtype stacked_dtype(const tq_tensor *t, bool all) {
    return all || t->dtype == TQ_BF16 ? TQ_BF16 : TQ_F32;
}

/* All tensors that are no quantizable matrix. */
static size_t other_bytes(const tq_model *m, tq_export_kind kind) {
    const tq_source *s = tq_model_source(m);
    size_t bytes = 0;
    for (size_t i = 0; i < tq_source_count(s); i++)
        if (!tq_export_is_packed_part(tq_source_at(s, i)->name))
            bytes += kept_tensor_bytes(m, kind, tq_source_at(s, i));
    for (size_t i = 0; i < tq_model_matrices(m); i++) {
        const tq_matrix *x = tq_model_matrix(m, i);
        if (x->tensor) bytes -= kept_matrix_bytes(x);
    }
    return bytes;
}

static size_t export_bytes(const tq_model *m, tq_variant q, tq_export_kind kind) {
    size_t bytes = other_bytes(m, kind);
    for (size_t i = 0; i < tq_model_matrices(m); i++) {
        const tq_matrix *x = tq_model_matrix(m, i);
        const tq_qmatrix *packed = tq_export_packed(m, q, i);
        bool all = false;
        if (is_stacked(x) && !is_split(m, kind) && some_packed(m, q, x->tensor, &all))
            bytes += x->w.rows * x->w.cols * tq_dtype_size(stacked_dtype(x->tensor, all));
        else if (!packed)
            bytes += kept_matrix_bytes(x);
        else
            bytes += kind == TQ_KIND_TQ ? packed_bytes(packed) : x->w.rows * x->w.cols * sizeof(uint16_t);
    }
    return bytes;
}

size_t tq_export_tq_bytes(const tq_model *m, tq_variant q) {
    return export_bytes(m, q, TQ_KIND_TQ);
}
size_t tq_export_hf_bytes(const tq_model *m, tq_variant q) {
    return export_bytes(m, q, TQ_KIND_HF);
}

/* Which tensor of the source stands for which matrix: its weights, or the spec of its packed form. */
static int find_owners(tq_export_run *r, tq_err *err) {
    size_t count = tq_source_count(r->source);
    const tq_tensor *first = count ? tq_source_at(r->source, 0) : NULL;
    r->owner = malloc((count + 1) * sizeof *r->owner);
    if (!r->owner) return tq_fail(err, "%s: out of memory", r->job->path);
    for (size_t i = 0; i < count; i++)
        r->owner[i] = SIZE_MAX;
    for (size_t i = 0; i < tq_model_matrices(r->job->model); i++) {
        const tq_matrix *m = tq_model_matrix(r->job->model, i);
        char name[NAME_SIZE];
        (void)snprintf(name, sizeof name, "%s" TQ_PACKED_INFIX "spec", m->name);
        const tq_tensor *t = m->tensor ? m->tensor : tq_source_find(r->source, name);
        if (t && r->owner[t - first] == SIZE_MAX) r->owner[t - first] = i;
    }
    return TQ_OK;
}

int tq_export_declare(tq_export_run *r, const char *name, const char *dtype, const size_t *shape, size_t rank,
                      size_t bytes, tq_err *err) {
    if (r->weight_map && !cJSON_AddStringToObject(r->weight_map, name, r->shard))
        return tq_fail(err, "%s: out of memory", r->job->path);
    r->bytes += bytes;
    return tq_writer_declare(r->writer, name, dtype, shape, rank, bytes, err);
}

int tq_export_data(tq_export_run *r, const void *data, size_t bytes, tq_err *err) {
    const char *p = data;
    while (bytes) {
        size_t piece = bytes < COPY_BYTES ? bytes : COPY_BYTES;
        if (tq_progress_cancelled(r->progress)) return tq_cancelled(err);
        if (tq_writer_data(r->writer, p, piece, err) != TQ_OK) return TQ_FAIL;
        p += piece;
        bytes -= piece;
        r->done += (double)piece;
        tq_progress_report(r->progress, r->done, r->total);
    }
    return TQ_OK;
}

/* Rows as floats, less `shift`. */
static int write_floats(tq_export_run *r, tq_matrix_view w, float shift, tq_err *err) {
    float *row = malloc((w.cols + 1) * sizeof *row);
    if (!row) return tq_fail(err, "%s: out of memory", r->job->path);
    int rc = TQ_OK;
    for (size_t i = 0; i < w.rows && rc == TQ_OK; i++) {
        tq_matrix_row(&w, i, row);
        for (size_t c = 0; c < w.cols; c++)
            row[c] -= shift;
        rc = tq_export_data(r, row, w.cols * sizeof *row, err);
    }
    free(row);
    return rc;
}

int tq_export_tensor(tq_export_run *r, const char *name, const tq_tensor *t, tq_export_pass pass, tq_err *err) {
    if (!is_copied(r->job->model, r->kind, t)) {
        float shift = is_shifted(r->job->model, r->kind, t) ? 1.0F : 0.0F;
        if (pass == TQ_PASS_WRITE) return write_floats(r, tq_tensor_view(t), shift, err);
        return tq_export_declare(r, name, tq_dtype_name(TQ_F32), t->shape, t->rank, t->count * sizeof(float), err);
    }
    if (pass == TQ_PASS_DECLARE) return tq_export_declare(r, name, t->dtype_name, t->shape, t->rank, t->bytes, err);
    return tq_export_data(r, t->data, t->bytes, err);
}

static int put_packed(tq_export_run *r, const char *name, const tq_qmatrix *q, tq_export_pass pass, tq_err *err) {
    tq_qpart parts[TQ_PACKED_PARTS + 1];
    char spec[256], tensor[NAME_SIZE];
    size_t n = tq_packed_parts(q, parts, spec);
    int rc = TQ_OK;
    for (size_t i = 0; i < n && rc == TQ_OK; i++) {
        (void)snprintf(tensor, sizeof tensor, "%s" TQ_PACKED_INFIX "%s", name, parts[i].name);
        if (pass == TQ_PASS_DECLARE)
            rc = tq_export_declare(r, tensor, tq_dtype_name(parts[i].dtype), parts[i].shape, parts[i].rank,
                                   parts[i].bytes, err);
        else
            rc = tq_export_data(r, parts[i].data, parts[i].bytes, err);
    }
    return rc;
}

/* Strips of DENSE_ROWS rows are dequantized side by side, some strips at a time. */
typedef struct dense_run {
    const tq_qmatrix *q;
    size_t first, rows, cols;
    uint16_t *out;  /* [rows, cols] */
    float *scratch; /* [threads][scratch] */
    size_t scratch_size;
} dense_run;

static void dequantize_some(void *ctx, size_t begin, size_t end, int thread) {
    const dense_run *d = ctx;
    float *scratch = d->scratch + (size_t)thread * (d->scratch_size + DENSE_ROWS * d->cols);
    float *rows = scratch + d->scratch_size;
    for (size_t strip = begin; strip < end; strip++) {
        size_t r = strip * DENSE_ROWS, n = d->rows - r < DENSE_ROWS ? d->rows - r : DENSE_ROWS;
        tq_qmatrix_dequantize_rows(d->q, d->first + r, n, rows, scratch);
        tq_k()->f32_to_bf16(d->out + r * d->cols, rows, n * d->cols);
    }
}

static int write_dense(tq_export_run *r, const tq_qmatrix *q, tq_dtype dtype, tq_err *err) {
    size_t threads = (size_t)tq_pool_threads(r->job->pool), rows = tq_qmatrix_rows(q), batch = (size_t)16 * DENSE_ROWS;
    dense_run d = {.q = q, .cols = tq_qmatrix_cols(q), .scratch_size = (tq_qmatrix_scratch(q) + 15) / 16 * 16};
    d.out = malloc(batch * d.cols * sizeof *d.out);
    d.scratch = tq_calloc_aligned(threads * (d.scratch_size + DENSE_ROWS * d.cols), sizeof *d.scratch);
    int rc = d.out && d.scratch ? TQ_OK : tq_fail(err, "%s: out of memory", r->job->path);
    for (; d.first < rows && rc == TQ_OK; d.first += batch) {
        d.rows = rows - d.first < batch ? rows - d.first : batch;
        tq_pool_run(r->job->pool, (d.rows + DENSE_ROWS - 1) / DENSE_ROWS, 1, dequantize_some, &d);
        tq_matrix_view rows_out = {.data = d.out, .dtype = TQ_BF16, .rows = d.rows, .cols = d.cols};
        rc = dtype == TQ_BF16 ? tq_export_data(r, d.out, d.rows * d.cols * sizeof *d.out, err)
                              : write_floats(r, rows_out, 0, err);
    }
    free(d.out);
    free(d.scratch);
    return rc;
}

/* The same as the file has it, [cols, rows]: GPT-2. */
static int write_transposed(tq_export_run *r, const tq_qmatrix *q, tq_err *err) {
    size_t rows = tq_qmatrix_rows(q), cols = tq_qmatrix_cols(q);
    float *row = malloc(TQ_TILE_ROWS * cols * sizeof *row),
          *scratch = malloc((tq_qmatrix_scratch(q) + 1) * sizeof *scratch);
    float *all = tq_calloc_aligned(rows, cols * sizeof *all);
    uint16_t *half = malloc(rows * cols * sizeof *half);
    int rc = row && scratch && all && half ? TQ_OK : tq_fail(err, "%s: out of memory", r->job->path);
    for (size_t at = 0; rc == TQ_OK && at < rows; at += TQ_TILE_ROWS) {
        size_t n = rows - at < TQ_TILE_ROWS ? rows - at : TQ_TILE_ROWS;
        tq_qmatrix_dequantize_rows(q, at, n, row, scratch);
        for (size_t i = 0; i < n; i++)
            for (size_t c = 0; c < cols; c++)
                all[c * rows + at + i] = row[i * cols + c];
    }
    if (rc == TQ_OK) {
        tq_k()->f32_to_bf16(half, all, rows * cols);
        rc = tq_export_data(r, half, rows * cols * sizeof *half, err);
    }
    free(row);
    free(scratch);
    free(all);
    free(half);
    return rc;
}

static int put_dense(tq_export_run *r, const tq_matrix *m, const tq_qmatrix *q, tq_export_pass pass, tq_err *err) {
    char tensor[NAME_SIZE];
    bool transposed = m->w.transposed;
    if (pass == TQ_PASS_WRITE) return transposed ? write_transposed(r, q, err) : write_dense(r, q, TQ_BF16, err);
    (void)snprintf(tensor, sizeof tensor, "%s.weight", m->name);
    return tq_export_declare(r, tensor, tq_dtype_name(TQ_BF16),
                             (const size_t[]){transposed ? m->w.cols : m->w.rows, transposed ? m->w.rows : m->w.cols},
                             2, m->w.rows * m->w.cols * sizeof(uint16_t), err);
}

/* A matrix as stored: declared as a tensor of its own; what is written may be a part of one as well. */
static int put_kept(tq_export_run *r, const tq_matrix *x, tq_dtype dtype, tq_export_pass pass, tq_err *err) {
    char tensor[NAME_SIZE];
    bool as_is = !x->w.codec && !x->w.paired && x->w.dtype == dtype;
    if (pass == TQ_PASS_WRITE)
        return as_is ? tq_export_data(r, x->w.data, tq_matrix_bytes(&x->w), err) : write_floats(r, x->w, 0, err);
    (void)snprintf(tensor, sizeof tensor, "%s.weight", x->name);
    return tq_export_declare(r, tensor, tq_dtype_name(dtype), (const size_t[]){x->w.rows, x->w.cols}, 2,
                             x->w.rows * x->w.cols * tq_dtype_size(dtype), err);
}

/* The matrices of one tensor, each by itself. */
static int put_split(tq_export_run *r, const tq_tensor *t, tq_export_pass pass, tq_err *err) {
    const tq_model *model = r->job->model;
    int rc = TQ_OK;
    for (size_t i = 0; i < tq_model_matrices(model) && rc == TQ_OK; i++) {
        const tq_matrix *x = tq_model_matrix(model, i);
        const tq_qmatrix *q = tq_export_packed(model, r->job->q, i);
        if (x->tensor != t) continue;
        if (!q)
            rc = put_kept(r, x, t->codec || t->paired ? TQ_F32 : t->dtype, pass, err);
        else
            rc = r->kind == TQ_KIND_TQ ? put_packed(r, x->name, q, pass, err) : put_dense(r, x, q, pass, err);
    }
    return rc;
}

/* The matrices of one tensor, as that tensor: they are written in the order in which they lie in it. */
static int put_stacked(tq_export_run *r, const tq_tensor *t, tq_dtype dtype, tq_export_pass pass, tq_err *err) {
    const tq_model *model = r->job->model;
    int rc = TQ_OK;
    if (pass == TQ_PASS_DECLARE)
        return tq_export_declare(r, t->name, tq_dtype_name(dtype), t->shape, t->rank, t->count * tq_dtype_size(dtype),
                                 err);
    const char *at = t->data, *end = at + t->bytes;
    while (at < end && rc == TQ_OK) {
        size_t i = 0;
        while (i < tq_model_matrices(model) && tq_model_matrix(model, i)->w.data != at)
            i++;
        if (i == tq_model_matrices(model)) return tq_fail(err, "%s: tensor %s is bound in part", r->job->path, t->name);
        const tq_matrix *x = tq_model_matrix(model, i);
        const tq_qmatrix *q = tq_export_packed(model, r->job->q, i);
        rc = q ? write_dense(r, q, dtype, err) : put_kept(r, x, dtype, pass, err);
        at += tq_matrix_bytes(&x->w);
    }
    return rc;
}

static int put_tensor(tq_export_run *r, size_t i, tq_export_pass pass, tq_err *err) {
    const tq_tensor *t = tq_source_at(r->source, i);
    bool left_out = tq_export_is_packed_part(t->name) || tq_is_idle_head(r->job->model, t);
    if (r->owner[i] == SIZE_MAX) return left_out ? TQ_OK : tq_export_tensor(r, t->name, t, pass, err);
    const tq_matrix *m = tq_model_matrix(r->job->model, r->owner[i]);
    if (is_stacked(m)) {
        bool all, some = some_packed(r->job->model, r->job->q, t, &all), split = is_split(r->job->model, r->kind);
        if (split && (some || r->kind == TQ_KIND_HF)) return put_split(r, t, pass, err);
        return some ? put_stacked(r, t, stacked_dtype(t, all), pass, err) : tq_export_tensor(r, t->name, t, pass, err);
    }
    const tq_qmatrix *q = tq_export_packed(r->job->model, r->job->q, r->owner[i]);
    if (!q) return tq_export_tensor(r, t->name, t, pass, err);
    return r->kind == TQ_KIND_TQ ? put_packed(r, m->name, q, pass, err) : put_dense(r, m, q, pass, err);
}

int tq_export_file(tq_export_run *r, const char *name, int (*put)(tq_export_run *r, tq_export_pass pass, tq_err *err),
                   tq_err *err) {
    static const char *const metadata[] = {"format", "pt", NULL};
    char *path = tq_path_join(r->dir.temp, name);
    if (!path) return tq_fail(err, "%s: out of memory", r->job->path);
    int rc = tq_writer_new(path, metadata, &r->writer, err);
    free(path);
    for (tq_export_pass pass = TQ_PASS_DECLARE; pass <= TQ_PASS_WRITE && rc == TQ_OK; pass++)
        rc = put(r, pass, err);
    if (rc == TQ_OK)
        rc = tq_writer_finish(r->writer, err);
    else
        tq_writer_abort(r->writer);
    r->writer = NULL;
    return rc;
}

static int put_shard(tq_export_run *r, tq_export_pass pass, tq_err *err) {
    int rc = TQ_OK;
    for (size_t i = 0; i < tq_source_count(r->source) && rc == TQ_OK; i++)
        if (tq_source_shard_of(r->source, i) == r->shard_index) rc = put_tensor(r, i, pass, err);
    return rc;
}

int tq_export_text(const tq_export_run *r, const char *name, const char *text, tq_err *err) {
    char *path = tq_path_join(r->dir.temp, name);
    int rc =
        path && text ? tq_write_file(path, text, strlen(text), err) : tq_fail(err, "%s: out of memory", r->job->path);
    free(path);
    return rc;
}

/* Takes the weight map over. */
static int write_index(tq_export_run *r, tq_err *err) {
    cJSON *root = cJSON_CreateObject(), *metadata = cJSON_AddObjectToObject(root, "metadata");
    bool ok = metadata && cJSON_AddNumberToObject(metadata, "total_size", (double)r->bytes) &&
              cJSON_AddItemToObject(root, "weight_map", r->weight_map);
    if (ok) r->weight_map = NULL;
    char *text = ok ? cJSON_Print(root) : NULL;
    int rc = tq_export_text(r, "model.safetensors.index.json", text, err);
    cJSON_free(text);
    cJSON_Delete(root);
    return rc;
}

int tq_export_plan(const tq_export_run *r, tq_err *err) {
    char *text = NULL;
    int rc = tq_plan_to_json(r->job->plan, r->job->figures, &text, err);
    if (rc == TQ_OK) rc = tq_export_text(r, TQ_PLAN_FILE, text, err);
    free(text);
    return rc;
}

/* As in the source; a source of another format has other names. */
static void name_shard(tq_export_run *r, size_t i, size_t shards) {
    bool ours = strcmp(tq_source_format(r->source), "safetensors") == 0;
    r->shard_index = i;
    (void)snprintf(r->shard_name, sizeof r->shard_name, "model-%05zu-of-%05zu.safetensors", i + 1, shards);
    r->shard = shards == 1 ? "model.safetensors" : ours ? tq_source_shard_name(r->source, i) : r->shard_name;
}

static int write_everything(tq_export_run *r, tq_err *err) {
    size_t shards = tq_source_shards(r->source);
    int rc = TQ_OK;
    if (shards > 1) r->weight_map = cJSON_CreateObject();
    if (shards > 1 && !r->weight_map) rc = tq_fail(err, "%s: out of memory", r->job->path);
    for (size_t i = 0; i < shards && rc == TQ_OK; i++) {
        name_shard(r, i, shards);
        rc = tq_export_file(r, r->shard, put_shard, err);
    }
    if (rc == TQ_OK && shards > 1) rc = write_index(r, err);
    if (rc == TQ_OK) rc = tq_outdir_copy(&r->dir, r->source, r->kind == TQ_KIND_HF, err);
    if (rc == TQ_OK) rc = tq_export_plan(r, err);
    return rc;
}

int tq_export_begin(tq_export_run *r, const tq_export_job *job, tq_export_kind kind, size_t bytes, const tq_progress *p,
                    tq_err *err) {
    *r = (tq_export_run){.job = job, .kind = kind, .progress = p, .source = tq_model_source(job->model)};
    r->total = (double)bytes;
    int rc = tq_outdir_new(job->path, job->force, bytes + SPARE_BYTES, &r->dir, err);
    if (rc != TQ_OK) return rc;
    rc = find_owners(r, err);
    return rc == TQ_OK ? TQ_OK : tq_export_end(r, rc, err);
}

int tq_export_end(tq_export_run *r, int rc, tq_err *err) {
    if (rc == TQ_OK)
        rc = tq_outdir_finish(&r->dir, err);
    else
        tq_outdir_abort(&r->dir);
    cJSON_Delete(r->weight_map);
    free(r->owner);
    return rc;
}

static int export_all(const tq_export_job *job, tq_export_kind kind, const tq_progress *p, tq_err *err) {
    tq_export_run r;
    int rc = tq_export_begin(&r, job, kind, export_bytes(job->model, job->q, kind), p, err);
    return rc == TQ_OK ? tq_export_end(&r, write_everything(&r, err), err) : rc;
}

int tq_export_tq(const tq_export_job *job, const tq_progress *p, tq_err *err) {
    return export_all(job, TQ_KIND_TQ, p, err);
}
int tq_export_hf(const tq_export_job *job, const tq_progress *p, tq_err *err) {
    return export_all(job, TQ_KIND_HF, p, err);
}

int tq_export_hf_check(const tq_plan *plan, tq_err *err) {
    const tq_config *c = tq_model_config(tq_plan_model(plan));
    if (c->rope.divisors) return tq_fail(err, "its rotary frequencies are a table, which config.json cannot say");
    if (c->linear_converted) return tq_fail(err, "its DeltaNet is as llama.cpp has it, export the original model");
    return TQ_OK;
}
