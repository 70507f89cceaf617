/* gguf_export.c - the effect of quantization as a GGUF file: quantized matrices as BF16, small tensors as F32, the rest
 * as stored, under the names and in the order of rows that llama.cpp expects. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "model/export_internal.h"
#include "model/gguf_export.h"
#include "model/rope.h"
#include "model/tensor_writer.h"
#include "model/weights_internal.h"

enum { NAME_SIZE = 320, STRIP = 16 };
/* Beside the tensors: tokenizer and names. */
#define SPARE_BYTES ((size_t)64 << 20)

/* A tensor on its way out. */
typedef struct outgoing {
    const tq_tensor *t;
    const tq_qmatrix *q; /* NULL: as stored */
    const tq_gguf_type *type;
    size_t paired; /* rows of a head that go out paired; 0: as they are */
    float shift;   /* what is added: a norm's one */
    char name[NAME_SIZE];
} outgoing;

typedef struct gguf_run {
    const tq_export_job *job;
    const tq_gguf_arch *arch;
    tq_gguf_writer *w;
    outgoing *out; /* [n] */
    size_t n;
    const float *divisors; /* of a rope that config.json says by factors; [half] */
    size_t half;
    const tq_progress *progress;
    double done, total;
} gguf_run;

static const tq_gguf_type *type_of(tq_dtype dtype) {
    const tq_gguf_type *t;
    for (size_t i = 0; (t = tq_gguf_type_at(i)); i++)
        if (t->dtype == dtype) return t;
    return NULL;
}

static const tq_gguf_type *type_named(const char *name) {
    const tq_gguf_type *t;
    for (size_t i = 0; (t = tq_gguf_type_at(i)); i++)
        if (strcmp(t->codec.name, name) == 0) return t;
    return NULL;
}

void tq_gguf_plain_name(const tq_config *c, const char *name, char *out, size_t size) {
    size_t n = strlen(c->prefix), length = strlen(name);
    static const char head[] = "lm_head.weight";
    if (length >= sizeof head - 1 && strcmp(name + length - (sizeof head - 1), head) == 0)
        (void)snprintf(out, size, "%s", head);
    else if (strncmp(name, c->prefix, n) == 0)
        (void)snprintf(out, size, "model.%s", name + n);
    else
        (void)snprintf(out, size, "%s", name);
}

static size_t find_matrix(const tq_model *m, const tq_tensor *t) {
    for (size_t i = 0; i < tq_model_matrices(m); i++)
        if (tq_model_matrix(m, i)->tensor == t) return i;
    return SIZE_MAX;
}

static bool is_norm(const char *name) {
    static const char end[] = "norm.weight";
    size_t n = strlen(name);
    return n >= sizeof end - 1 && strcmp(name + n - (sizeof end - 1), end) == 0;
}

/* False for a tensor that has no place in such a file: vision, MTP. */
static bool plan_tensor(const gguf_run *r, const tq_tensor *t, outgoing *o) {
    const tq_model *m = r->job->model;
    const tq_config *c = tq_model_config(m);
    char ours[NAME_SIZE];
    tq_gguf_plain_name(c, t->name, ours, sizeof ours);
    *o = (outgoing){.t = t};
    if (tq_is_idle_head(m, t)) return false;
    if (!tq_gguf_name_of(r->arch, ours, o->name, sizeof o->name)) return false;
    size_t i = find_matrix(m, t);
    o->q = i != SIZE_MAX && r->job->q ? r->job->q[i] : NULL;
    const char *heads = tq_gguf_paired(r->arch, o->name);
    o->paired = heads ? c->head_dim : 0;
    if (is_norm(o->name) && c->norm_plus_one) o->shift = 1;
    if (o->q)
        o->type = type_of(TQ_BF16);
    else if (t->rank == 1)
        o->type = type_of(TQ_F32);
    else
        o->type = t->codec ? type_named(t->dtype_name) : type_of(t->dtype);
    return o->type != NULL;
}

/* Which of our rows stands at place r of the file. */
static size_t our_row(size_t paired, size_t r) {
    if (!paired) return r;
    size_t i = r % paired;
    return r - i + i / 2 + i % 2 * (paired / 2);
}

static int put(gguf_run *r, const void *data, size_t bytes, tq_err *err) {
    if (tq_progress_cancelled(r->progress)) return tq_cancelled(err);
    r->done += (double)bytes;
    tq_progress_report(r->progress, r->done, r->total);
    return tq_gguf_data(r->w, data, bytes, err);
}

/* Strips of the dequantized matrix; all of it first where rows change places. */
static int write_quantized(gguf_run *r, const outgoing *o, tq_err *err) {
    size_t rows = tq_qmatrix_rows(o->q), cols = tq_qmatrix_cols(o->q), held = o->paired ? rows : STRIP;
    held = (held + STRIP - 1) / STRIP * STRIP;
    float *values = tq_calloc_aligned(held * cols, sizeof *values);
    float *scratch = tq_calloc_aligned(tq_qmatrix_scratch(o->q) + 1, sizeof *scratch);
    uint16_t *half = malloc(cols * sizeof *half);
    int rc = values && scratch && half ? TQ_OK : tq_fail(err, "%s: out of memory", r->job->path);
    for (size_t r0 = 0; r0 < rows && rc == TQ_OK; r0 += held) {
        size_t n = rows - r0 < held ? rows - r0 : held;
        for (size_t i = 0; i < n; i += STRIP)
            tq_qmatrix_dequantize_rows(o->q, r0 + i, n - i < STRIP ? n - i : STRIP, values + i * cols, scratch);
        for (size_t i = 0; i < n && rc == TQ_OK; i++) {
            tq_k()->f32_to_bf16(half, values + our_row(o->paired, i) * cols, cols);
            rc = put(r, half, cols * sizeof *half, err);
        }
    }
    free(values);
    free(scratch);
    free(half);
    return rc;
}

/* Our order of rows, or of a vector's elements, to that of the file. */
static int write_vector(gguf_run *r, const outgoing *o, tq_err *err) {
    tq_matrix_view w = tq_tensor_view(o->t);
    float *values = calloc(2 * o->t->count, sizeof *values);
    if (!values) return tq_fail(err, "%s: out of memory", r->job->path);
    float *out = values + o->t->count;
    for (size_t i = 0; i < w.rows; i++)
        tq_matrix_row(&w, i, values + i * w.cols);
    for (size_t i = 0; i < o->t->count; i++)
        out[i] = values[our_row(o->paired, i)] + o->shift;
    int rc = put(r, out, o->t->count * sizeof *out, err);
    free(values);
    return rc;
}

/* A vector as floats, or the rows of a matrix as bytes of its type. */
static int write_stored(gguf_run *r, const outgoing *o, tq_err *err) {
    const tq_tensor *t = o->t;
    if (t->rank == 1) return write_vector(r, o, err);
    if ((t->paired != 0) == (o->paired != 0)) return put(r, t->data, t->bytes, err); /* in order */
    size_t rows = t->shape[0], bytes = t->bytes / rows;
    int rc = TQ_OK;
    for (size_t i = 0; i < rows && rc == TQ_OK; i++)
        rc = put(r, (const char *)t->data + our_row(o->paired, i) * bytes, bytes, err);
    return rc;
}

static int plan_all(gguf_run *r, tq_err *err) {
    const tq_source *s = tq_model_source(r->job->model);
    r->out = calloc(tq_source_count(s) + 1, sizeof *r->out);
    if (!r->out) return tq_fail(err, "%s: out of memory", r->job->path);
    for (size_t i = 0; i < tq_source_count(s); i++)
        if (plan_tensor(r, tq_source_at(s, i), &r->out[r->n])) {
            const outgoing *o = &r->out[r->n++];
            size_t blocks = o->t->count / o->type->codec.block;
            r->total += (double)(blocks * o->type->codec.bytes);
        }
    return TQ_OK;
}

/* Llama 3.1's frequencies as what the plain ones are divided by; read off the angles at position 1, of which each is
 * one frequency below pi. */
static int find_divisors(gguf_run *r, float **values, tq_err *err) {
    const tq_rope *rope = &tq_model_config(r->job->model)->rope;
    tq_rope plain = *rope;
    if (rope->type != TQ_ROPE_LLAMA3) return TQ_OK;
    plain.type = TQ_ROPE_DEFAULT;
    r->half = rope->dims / 2;
    *values = malloc(r->half * sizeof **values);
    if (!*values) return tq_fail(err, "out of memory");
    tq_rope_frequencies(&plain, 0, 0, *values);
    float *scaled = malloc(r->half * sizeof *scaled);
    if (!scaled) return tq_fail(err, "out of memory");
    tq_rope_frequencies(rope, 0, 0, scaled);
    for (size_t i = 0; i < r->half; i++)
        (*values)[i] /= scaled[i];
    free(scaled);
    r->divisors = *values;
    return TQ_OK;
}

static int write_file(gguf_run *r, tq_err *err) {
    static const char freqs[] = "rope_freqs.weight";
    int rc = tq_gguf_write_meta(r->w, r->job->model, r->arch, err);
    if (rc == TQ_OK && r->divisors) rc = tq_gguf_declare(r->w, freqs, type_of(TQ_F32), &r->half, 1, err);
    for (size_t i = 0; i < r->n && rc == TQ_OK; i++)
        rc = tq_gguf_declare(r->w, r->out[i].name, r->out[i].type, r->out[i].t->shape, r->out[i].t->rank, err);
    if (rc == TQ_OK && r->divisors) rc = put(r, r->divisors, r->half * sizeof *r->divisors, err);
    for (size_t i = 0; i < r->n && rc == TQ_OK; i++)
        rc = r->out[i].q ? write_quantized(r, &r->out[i], err) : write_stored(r, &r->out[i], err);
    return rc;
}

static int check_target(const tq_export_job *job, tq_err *err) {
    struct stat st;
    if (lstat(job->path, &st)) return TQ_OK;
    if (!job->force) return tq_fail(err, "%s: exists, --force overwrites it", job->path);
    return S_ISREG(st.st_mode) ? TQ_OK : tq_fail(err, "%s: not overwritten, it is no regular file", job->path);
}

static int check_space(const gguf_run *r, tq_err *err) {
    size_t space = tq_free_space(r->job->path), bytes = (size_t)r->total + SPARE_BYTES;
    if (!space || space >= bytes) return TQ_OK;
    return tq_fail(err, "%s: %zu MiB must be free for the export, %zu MiB are", r->job->path, (bytes >> 20) + 1,
                   space >> 20);
}

int tq_export_gguf(const tq_export_job *job, const tq_progress *p, tq_err *err) {
    gguf_run r = {.job = job, .arch = tq_gguf_arch_of(tq_model_config(job->model)), .progress = p};
    float *divisors = NULL;
    const char *why = tq_gguf_blocked(job->model);
    if (why) return tq_fail(err, "%s: not exported as GGUF: %s", tq_source_path(tq_model_source(job->model)), why);
    int rc = check_target(job, err);
    if (rc == TQ_OK) rc = plan_all(&r, err);
    if (rc == TQ_OK) rc = find_divisors(&r, &divisors, err);
    if (rc == TQ_OK) rc = check_space(&r, err);
    if (rc == TQ_OK) rc = tq_gguf_writer_new(job->path, &r.w, err);
    if (rc == TQ_OK) {
        rc = write_file(&r, err);
        if (rc == TQ_OK)
            rc = tq_gguf_writer_finish(r.w, err);
        else
            tq_gguf_writer_abort(r.w);
    }
    free(divisors);
    free(r.out);
    return rc;
}

int tq_export_gguf_check(const tq_plan *plan, tq_err *err) {
    const char *why = tq_gguf_blocked(tq_plan_model(plan));
    return why ? tq_fail(err, "%s", why) : TQ_OK;
}
