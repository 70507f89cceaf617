/* export.c - the tensors of an export: which there are, declared shard by shard, then written in the same order. */
#include "model/export.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "model/export_internal.h"
#include "model/json.h"
#include "model/packed.h"
#include "model/tensor_writer.h"

enum { DENSE_ROWS = 64, NAME_SIZE = 512, COPY_BYTES = 8 << 20 };
/* Beside the tensors: headers, tokenizer, plan. */
#define SPARE_BYTES ((size_t)64 << 20)

typedef enum export_kind { KIND_TQ, KIND_HF } export_kind;

/* The two passes over the tensors of a shard. */
typedef enum export_pass { PASS_DECLARE, PASS_WRITE } export_pass;

typedef struct export_run {
    const tq_export_job *job;
    export_kind kind;
    const tq_progress *progress;
    const tq_source *source;
    size_t *owner; /* [tensors of the source]: the matrix whose weights a tensor holds, SIZE_MAX: none */
    tq_outdir dir;
    cJSON *weight_map; /* of the index; NULL with a single shard */
    const char *shard; /* name of the one being written */
    char shard_name[64];
    tq_writer *writer;
    double done, total;
    size_t bytes; /* declared so far */
} export_run;

static const tq_qmatrix *packed_of(const tq_model *m, tq_variant q, size_t i) {
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

static bool is_packed_part(const char *name) {
    return strstr(name, TQ_PACKED_INFIX) != NULL;
}

/* Norms that are stored as they are although transformers adds one to them. */
static bool is_shifted(const tq_model *m, export_kind kind, const tq_tensor *t) {
    const tq_config *c = tq_model_config(m);
    size_t n = strlen(t->name);
    static const char end[] = "norm.weight";
    return kind == KIND_HF && c->arch == TQ_ARCH_GEMMA3 && !c->norm_plus_one && n >= sizeof end - 1 &&
           strcmp(t->name + n - (sizeof end - 1), end) == 0;
}

/* Does a tensor that stays go out as its bytes? Else it goes as floats: blocks, rows out of order, shifted norms. */
static bool is_copied(const tq_model *m, export_kind kind, const tq_tensor *t) {
    return !t->codec && !t->paired && !is_shifted(m, kind, t);
}

static size_t kept_tensor_bytes(const tq_model *m, export_kind kind, const tq_tensor *t) {
    return is_copied(m, kind, t) ? t->bytes : t->count * sizeof(float);
}

bool tq_is_idle_head(const tq_model *m, const tq_tensor *t) {
    static const char head[] = "lm_head.weight";
    size_t n = strlen(t->name);
    return tq_model_config(m)->tied && n >= sizeof head - 1 && strcmp(t->name + n - (sizeof head - 1), head) == 0;
}

/* All tensors that are no quantizable matrix. */
static size_t other_bytes(const tq_model *m, export_kind kind) {
    const tq_source *s = tq_model_source(m);
    size_t bytes = 0;
    for (size_t i = 0; i < tq_source_count(s); i++)
        if (!is_packed_part(tq_source_at(s, i)->name)) bytes += kept_tensor_bytes(m, kind, tq_source_at(s, i));
    for (size_t i = 0; i < tq_model_matrices(m); i++) {
        const tq_tensor *t = tq_model_matrix(m, i)->tensor;
        if (t) bytes -= kept_tensor_bytes(m, kind, t);
    }
    return bytes;
}

static size_t export_bytes(const tq_model *m, tq_variant q, export_kind kind) {
    size_t bytes = other_bytes(m, kind);
    for (size_t i = 0; i < tq_model_matrices(m); i++) {
        const tq_matrix *x = tq_model_matrix(m, i);
        const tq_qmatrix *packed = packed_of(m, q, i);
        if (!packed)
            bytes += kept_tensor_bytes(m, kind, x->tensor);
        else
            bytes += kind == KIND_TQ ? packed_bytes(packed) : x->w.rows * x->w.cols * sizeof(uint16_t);
    }
    return bytes;
}

size_t tq_export_tq_bytes(const tq_model *m, tq_variant q) {
    return export_bytes(m, q, KIND_TQ);
}
size_t tq_export_hf_bytes(const tq_model *m, tq_variant q) {
    return export_bytes(m, q, KIND_HF);
}

/* Which tensor of the source stands for which matrix: its weights, or the spec of its packed form. */
static int find_owners(export_run *r, tq_err *err) {
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
        if (t) r->owner[t - first] = i;
    }
    return TQ_OK;
}

static int declare(export_run *r, const char *name, const char *dtype, const size_t *shape, size_t rank, size_t bytes,
                   tq_err *err) {
    if (r->weight_map && !cJSON_AddStringToObject(r->weight_map, name, r->shard))
        return tq_fail(err, "%s: out of memory", r->job->path);
    r->bytes += bytes;
    return tq_writer_declare(r->writer, name, dtype, shape, rank, bytes, err);
}

static int write_data(export_run *r, const void *data, size_t bytes, tq_err *err) {
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

/* The rows of a tensor as floats. */
static int write_floats(export_run *r, const tq_tensor *t, tq_err *err) {
    tq_matrix_view w = tq_tensor_view(t);
    float *row = malloc((w.cols + 1) * sizeof *row), shift = is_shifted(r->job->model, r->kind, t) ? 1.0F : 0.0F;
    if (!row) return tq_fail(err, "%s: out of memory", r->job->path);
    int rc = TQ_OK;
    for (size_t i = 0; i < w.rows && rc == TQ_OK; i++) {
        tq_matrix_row(&w, i, row);
        for (size_t c = 0; c < w.cols; c++)
            row[c] -= shift;
        rc = write_data(r, row, w.cols * sizeof *row, err);
    }
    free(row);
    return rc;
}

static int copy_tensor(export_run *r, const tq_tensor *t, export_pass pass, tq_err *err) {
    if (!is_copied(r->job->model, r->kind, t)) {
        if (pass == PASS_WRITE) return write_floats(r, t, err);
        return declare(r, t->name, tq_dtype_name(TQ_F32), t->shape, t->rank, t->count * sizeof(float), err);
    }
    if (pass == PASS_DECLARE) return declare(r, t->name, t->dtype_name, t->shape, t->rank, t->bytes, err);
    return write_data(r, t->data, t->bytes, err);
}

static int put_packed(export_run *r, const char *name, const tq_qmatrix *q, export_pass pass, tq_err *err) {
    tq_qpart parts[TQ_PACKED_PARTS + 1];
    char spec[256], tensor[NAME_SIZE];
    size_t n = tq_packed_parts(q, parts, spec);
    int rc = TQ_OK;
    for (size_t i = 0; i < n && rc == TQ_OK; i++) {
        (void)snprintf(tensor, sizeof tensor, "%s" TQ_PACKED_INFIX "%s", name, parts[i].name);
        if (pass == PASS_DECLARE)
            rc = declare(r, tensor, tq_dtype_name(parts[i].dtype), parts[i].shape, parts[i].rank, parts[i].bytes, err);
        else
            rc = write_data(r, parts[i].data, parts[i].bytes, err);
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

static int write_dense(export_run *r, const tq_qmatrix *q, tq_err *err) {
    size_t threads = (size_t)tq_pool_threads(r->job->pool), rows = tq_qmatrix_rows(q), batch = (size_t)16 * DENSE_ROWS;
    dense_run d = {.q = q, .cols = tq_qmatrix_cols(q), .scratch_size = (tq_qmatrix_scratch(q) + 15) / 16 * 16};
    d.out = malloc(batch * d.cols * sizeof *d.out);
    d.scratch = tq_calloc_aligned(threads * (d.scratch_size + DENSE_ROWS * d.cols), sizeof *d.scratch);
    int rc = d.out && d.scratch ? TQ_OK : tq_fail(err, "%s: out of memory", r->job->path);
    for (; d.first < rows && rc == TQ_OK; d.first += batch) {
        d.rows = rows - d.first < batch ? rows - d.first : batch;
        tq_pool_run(r->job->pool, (d.rows + DENSE_ROWS - 1) / DENSE_ROWS, 1, dequantize_some, &d);
        rc = write_data(r, d.out, d.rows * d.cols * sizeof *d.out, err);
    }
    free(d.out);
    free(d.scratch);
    return rc;
}

static int put_dense(export_run *r, const tq_matrix *m, const tq_qmatrix *q, export_pass pass, tq_err *err) {
    char tensor[NAME_SIZE];
    if (pass == PASS_WRITE) return write_dense(r, q, err);
    (void)snprintf(tensor, sizeof tensor, "%s.weight", m->name);
    return declare(r, tensor, tq_dtype_name(TQ_BF16), (const size_t[]){m->w.rows, m->w.cols}, 2,
                   m->w.rows * m->w.cols * sizeof(uint16_t), err);
}

static int put_tensor(export_run *r, size_t i, export_pass pass, tq_err *err) {
    const tq_tensor *t = tq_source_at(r->source, i);
    bool left_out = is_packed_part(t->name) || tq_is_idle_head(r->job->model, t);
    if (r->owner[i] == SIZE_MAX) return left_out ? TQ_OK : copy_tensor(r, t, pass, err);
    const tq_matrix *m = tq_model_matrix(r->job->model, r->owner[i]);
    const tq_qmatrix *q = packed_of(r->job->model, r->job->q, r->owner[i]);
    if (!q) return copy_tensor(r, t, pass, err);
    return r->kind == KIND_TQ ? put_packed(r, m->name, q, pass, err) : put_dense(r, m, q, pass, err);
}

static int write_shard(export_run *r, size_t shard, tq_err *err) {
    static const char *const metadata[] = {"format", "pt", NULL};
    char *path = tq_path_join(r->dir.temp, r->shard);
    if (!path) return tq_fail(err, "%s: out of memory", r->job->path);
    int rc = tq_writer_new(path, metadata, &r->writer, err);
    free(path);
    for (export_pass pass = PASS_DECLARE; pass <= PASS_WRITE; pass++)
        for (size_t i = 0; i < tq_source_count(r->source) && rc == TQ_OK; i++)
            if (tq_source_shard_of(r->source, i) == shard) rc = put_tensor(r, i, pass, err);
    if (rc == TQ_OK)
        rc = tq_writer_finish(r->writer, err);
    else
        tq_writer_abort(r->writer);
    r->writer = NULL;
    return rc;
}

static int write_text(const export_run *r, const char *name, const char *text, tq_err *err) {
    char *path = tq_path_join(r->dir.temp, name);
    int rc =
        path && text ? tq_write_file(path, text, strlen(text), err) : tq_fail(err, "%s: out of memory", r->job->path);
    free(path);
    return rc;
}

/* Takes the weight map over. */
static int write_index(export_run *r, tq_err *err) {
    cJSON *root = cJSON_CreateObject(), *metadata = cJSON_AddObjectToObject(root, "metadata");
    bool ok = metadata && cJSON_AddNumberToObject(metadata, "total_size", (double)r->bytes) &&
              cJSON_AddItemToObject(root, "weight_map", r->weight_map);
    if (ok) r->weight_map = NULL;
    char *text = ok ? cJSON_Print(root) : NULL;
    int rc = write_text(r, "model.safetensors.index.json", text, err);
    cJSON_free(text);
    cJSON_Delete(root);
    return rc;
}

static int write_plan(const export_run *r, tq_err *err) {
    char *text = NULL;
    int rc = tq_plan_to_json(r->job->plan, r->job->figures, &text, err);
    if (rc == TQ_OK) rc = write_text(r, TQ_PLAN_FILE, text, err);
    free(text);
    return rc;
}

/* As in the source; a source of another format has other names. */
static void name_shard(export_run *r, size_t i, size_t shards) {
    bool ours = strcmp(tq_source_format(r->source), "safetensors") == 0;
    (void)snprintf(r->shard_name, sizeof r->shard_name, "model-%05zu-of-%05zu.safetensors", i + 1, shards);
    r->shard = shards == 1 ? "model.safetensors" : ours ? tq_source_shard_name(r->source, i) : r->shard_name;
}

static int write_everything(export_run *r, tq_err *err) {
    size_t shards = tq_source_shards(r->source);
    int rc = find_owners(r, err);
    if (shards > 1) r->weight_map = cJSON_CreateObject();
    if (shards > 1 && !r->weight_map) rc = tq_fail(err, "%s: out of memory", r->job->path);
    for (size_t i = 0; i < shards && rc == TQ_OK; i++) {
        name_shard(r, i, shards);
        rc = write_shard(r, i, err);
    }
    if (rc == TQ_OK && shards > 1) rc = write_index(r, err);
    if (rc == TQ_OK) rc = tq_outdir_copy(&r->dir, r->source, r->kind == KIND_HF, err);
    if (rc == TQ_OK) rc = write_plan(r, err);
    return rc;
}

static int export_run_all(const tq_export_job *job, export_kind kind, const tq_progress *p, tq_err *err) {
    export_run r = {.job = job, .kind = kind, .progress = p, .source = tq_model_source(job->model)};
    size_t bytes = export_bytes(job->model, job->q, kind);
    if (kind == KIND_HF && tq_model_config(job->model)->rope.divisors)
        return tq_fail(err, "%s: not exported: its rotary frequencies are a table, which config.json cannot say",
                       tq_source_path(r.source));
    r.total = (double)bytes;
    int rc = tq_outdir_new(job->path, job->force, bytes + SPARE_BYTES, &r.dir, err);
    if (rc != TQ_OK) return rc;
    rc = write_everything(&r, err);
    if (rc == TQ_OK)
        rc = tq_outdir_finish(&r.dir, err);
    else
        tq_outdir_abort(&r.dir);
    cJSON_Delete(r.weight_map);
    free(r.owner);
    return rc;
}

int tq_export_tq(const tq_export_job *job, const tq_progress *p, tq_err *err) {
    return export_run_all(job, KIND_TQ, p, err);
}
int tq_export_hf(const tq_export_job *job, const tq_progress *p, tq_err *err) {
    return export_run_all(job, KIND_HF, p, err);
}
