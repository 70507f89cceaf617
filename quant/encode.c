/* A float matrix into codes: a tile of 16 rows at a time, all of a row while it is in the cache. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant/encode_internal.h"
#include "quant/rotation_internal.h"

#define REPORT_SECONDS 0.04

/* Squares of groups outside of this range might leave fp32; such groups are brought near 1 first. */
#define SAFE_LOW 1e-24F
#define SAFE_HIGH 1e30F

static float largest(const float *x, size_t n) {
    float most = 0;
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i])) return INFINITY;
        if (fabsf(x[i]) > most) most = fabsf(x[i]);
    }
    return most;
}

/* ||w||^2 / 2^(2 * *exponent) after w was divided by 2^*exponent; 0 for zeros, infinity when a weight is not finite. */
static float safe_norm2(float *w, size_t n, int *exponent) {
    const tq_kernels *k = tq_k();
    *exponent = 0;
    float norm2 = k->dot(w, w, n);
    if (norm2 >= SAFE_LOW && norm2 <= SAFE_HIGH) return norm2;
    float most = largest(w, n);
    if (most == 0 || most > FLT_MAX) return most;
    frexpf(most, exponent);
    for (size_t i = 0; i < n; i++)
        w[i] = ldexpf(w[i], -*exponent);
    return k->dot(w, w, n);
}

bool tq_encode_group_z(const tq_encoder *e, tq_encode_scratch *s, size_t begin, size_t len, double *unit) {
    int exponent;
    float *w = s->row + begin;
    float norm2 = safe_norm2(w, len, &exponent);
    *unit = 0;
    if (norm2 > FLT_MAX) return false;
    if (norm2 == 0) return true;
    float to_z = sqrtf((float)len / norm2);
    tq_rotation_group_apply(e->stage->rotation, s->z, w, begin, len, to_z, s->rotation);
    *unit = ldexp(1.0 / (double)to_z, exponent);
    return true;
}

void tq_encode_group_fit(tq_encoder *e, const double m[3], size_t at, double unit, tq_encode_sums *sum) {
    e->scale[at] = e->energy[at] = 0;
    if (unit == 0) return;
    double step = (double)e->stage->levels.step, zc = m[0] * step, cc = m[1] * step * step;
    double left = cc > 0 ? m[2] - zc * zc / cc : m[2]; /* of a perfect fit rounding may leave less than nothing */
    sum->ww += unit * unit * m[2];
    sum->error += unit * unit * fmax(left, 0);
    if (cc == 0) return;
    e->scale[at] = (float)fmin(unit * zc / cc, (double)FLT_MAX);
    e->energy[at] = (float)cc;
}

/* Codes one group of a row; at is its place among the scales. */
static bool encode_group(tq_encoder *e, tq_encode_scratch *s, size_t begin, size_t len, uint8_t *codes, uint8_t *fine,
                         size_t at, tq_encode_sums *sum) {
    double unit, moments[3] = {0};
    if (!tq_encode_group_z(e, s, begin, len, &unit)) return false;
    if (unit == 0) {
        memset(codes, 0, len);
        memset(fine, 0, len);
    } else {
        tq_k()->encode_fit(codes, fine, moments, s->z, len, &e->book.coder);
    }
    tq_encode_group_fit(e, moments, at, unit, sum);
    return true;
}

static bool encode_row(tq_encoder *e, tq_encode_scratch *s, size_t r, size_t row_in_tile, tq_encode_sums *sum) {
    size_t cols = e->w->cols, at = tq_encode_scale_of(e, r);
    size_t group = tq_rotation_group(e->stage->rotation);
    tq_matrix_row(e->w, r, s->row);
    if (e->index > 0) tq_k()->axpy(s->row, -1.0F, s->deq + row_in_tile * cols, cols);
    for (size_t begin = 0; begin < cols; begin += group, at += TQ_TILE_ROWS) {
        size_t len = cols - begin < group ? cols - begin : group;
        size_t place = row_in_tile * e->ld + begin;
        if (!encode_group(e, s, begin, len, s->codes + place, s->fine + place, at, sum)) return false;
    }
    return true;
}

void tq_encode_bad_row(tq_encoder *e, size_t row) {
    size_t known = atomic_load(&e->bad_row);
    while (row < known && !atomic_compare_exchange_weak(&e->bad_row, &known, row)) {
    }
}

static void encode_tile(tq_encoder *e, tq_encode_scratch *s, size_t tile) {
    const tq_kernels *k = tq_k();
    const tq_stage_shape *shape = &e->stage->shape;
    size_t first = tile * TQ_TILE_ROWS;
    size_t rows = tq_encode_rows_of(e, tile);
    tq_encode_sums sum = {0};
    if (e->index > 0) tq_qmatrix_dequantize_stages(e->q, e->index, first, rows, s->deq, s->deq_work);
    for (size_t r = 0; r < rows; r++) {
        if (encode_row(e, s, first + r, r, &sum)) continue;
        tq_encode_bad_row(e, first + r);
        return;
    }
    memset(s->codes + rows * e->ld, 0, (TQ_TILE_ROWS - rows) * e->ld);
    memset(s->fine + rows * e->ld, 0, (TQ_TILE_ROWS - rows) * e->ld);
    size_t plane = tile * shape->blocks * 2 * TQ_BLOCK;
    k->pack(e->stage->codes + plane * (size_t)shape->code_bits, s->codes, e->ld, shape->blocks, shape->code_bits);
    if (e->stage->fine)
        k->pack(e->stage->fine + plane * (size_t)shape->fine_bits, s->fine, e->ld, shape->blocks, shape->fine_bits);
    e->tile[tile] = sum;
}

bool tq_encode_going(tq_encoder *e, int thread) {
    if (tq_progress_cancelled(e->progress)) atomic_store(&e->stop, true);
    if (thread == 0 && e->progress) {
        double now = tq_now();
        if (now >= e->next_report) {
            e->next_report = now + REPORT_SECONDS;
            double done = (double)atomic_load(&e->units_done) / (double)e->sweep_units;
            tq_progress_report(e->progress, e->work_before + done * e->sweep_work, e->work_total);
        }
    }
    return !atomic_load(&e->stop);
}

static void encode_tiles(void *ctx, size_t begin, size_t end, int thread) {
    tq_encoder *e = ctx;
    if (!tq_encode_going(e, thread) || atomic_load(&e->bad_row) < begin * TQ_TILE_ROWS) return;
    for (size_t tile = begin; tile < end; tile++)
        encode_tile(e, &e->scratch[thread], tile);
    atomic_fetch_add(&e->units_done, end - begin);
}

/* Stores the scales of one tile. What is decoded differs from least squares by the rounding of the scale alone, and the
 * squared error grows by exactly (rounding)^2 <c, c>, as the residual is orthogonal to c. */
static void finish_tile(tq_encoder *e, size_t tile) {
    enum { BATCH = 64 };
    const tq_kernels *k = tq_k();
    size_t per_tile = e->stage->shape.groups * TQ_TILE_ROWS;
    float mul = e->stage->packed.scale_mul, inverse = 1.0F / mul; /* powers of two: exact */
    tq_encode_sums *sum = &e->tile[tile];
    for (size_t begin = 0; begin < per_tile; begin += BATCH) {
        size_t n = per_tile - begin < BATCH ? per_tile - begin : BATCH;
        size_t at = tile * per_tile + begin;
        float stored[BATCH];
        for (size_t i = 0; i < n; i++)
            stored[i] = e->scale[at + i] * inverse;
        k->f32_to_f16(e->stage->scales + at, stored, n);
        k->f16_to_f32(stored, e->stage->scales + at, n);
        for (size_t i = 0; i < n; i++) {
            double ideal = (double)e->scale[at + i], cc = (double)e->energy[at + i];
            double held = (double)stored[i] * (double)mul;
            sum->error += (held - ideal) * (held - ideal) * cc;
            sum->wq += held * ideal * cc;
            sum->qq += held * held * cc;
        }
    }
}

static void finish_tiles(void *ctx, size_t begin, size_t end, int thread) {
    (void)thread;
    for (size_t tile = begin; tile < end; tile++)
        finish_tile(ctx, tile);
}

static void add_tiles(const tq_encoder *e, tq_encode_sums *total) {
    memset(total, 0, sizeof *total);
    for (size_t t = 0; t < e->stage->shape.tiles; t++) {
        total->ww += e->tile[t].ww;
        total->wq += e->tile[t].wq;
        total->qq += e->tile[t].qq;
        total->error += e->tile[t].error;
    }
}

float tq_scale_unit(float most) {
    int exponent = 0;
    frexpf(most, &exponent);
    return ldexpf(1.0F, exponent - 14 < -126 ? -126 : exponent - 14);
}

tq_distortion tq_distortion_of(double ww, double wq, double qq, double error) {
    return (tq_distortion){.rel_mse = ww > 0 ? error / ww : 0,
                           .cosine = ww > 0 && qq > 0 ? wq / sqrt(ww) / sqrt(qq) : 1};
}

static void finish_scales(tq_encoder *e, tq_pool *pool) {
    size_t per_tile = e->stage->shape.groups * TQ_TILE_ROWS;
    float most = 0;
    for (size_t i = 0; i < e->stage->shape.tiles * per_tile; i++)
        if (e->scale[i] > most) most = e->scale[i];
    e->stage->packed.scale_mul = tq_scale_unit(most);
    tq_pool_run(pool, e->stage->shape.tiles, 4096 / per_tile, finish_tiles, e);
    tq_stage_write_table(e->stage);
}

/* Two stages overlap in no simple basis: what they decode to together is compared with the weights. */
static void measure_tiles(void *ctx, size_t begin, size_t end, int thread) {
    tq_encoder *e = ctx;
    tq_encode_scratch *s = &e->scratch[thread];
    if (!tq_encode_going(e, thread)) return;
    for (size_t tile = begin; tile < end; tile++) {
        size_t first = tile * TQ_TILE_ROWS, cols = e->w->cols;
        size_t rows = tq_encode_rows_of(e, tile);
        tq_encode_sums sum = {0};
        tq_qmatrix_dequantize_rows(e->q, first, rows, s->deq, s->deq_work);
        for (size_t r = 0; r < rows; r++) {
            tq_matrix_row(e->w, first + r, s->row);
            for (size_t i = 0; i < cols; i++) {
                double w = (double)s->row[i], q = (double)s->deq[r * cols + i];
                sum.ww += w * w;
                sum.wq += w * q;
                sum.qq += q * q;
                sum.error += (w - q) * (w - q);
            }
        }
        e->tile[tile] = sum;
    }
    atomic_fetch_add(&e->units_done, end - begin);
}

int tq_encode_sweep(tq_encoder *e, tq_pool *pool, void (*fn)(void *, size_t, size_t, int), size_t n, size_t grain,
                    double work, tq_err *err) {
    e->sweep_units = n;
    e->sweep_work = work;
    atomic_store(&e->units_done, 0);
    tq_pool_run(pool, n, grain, fn, e);
    e->work_before += work;
    return atomic_load(&e->stop) ? tq_cancelled(err) : TQ_OK;
}

static int sweep_tiles(tq_encoder *e, tq_pool *pool, void (*fn)(void *, size_t, size_t, int), tq_err *err) {
    double weights = (double)e->w->rows * (double)e->w->cols;
    return tq_encode_sweep(e, pool, fn, e->stage->shape.tiles, TQ_ENCODE_CHUNK / TQ_TILE_ROWS / e->ld, weights, err);
}

static int fail_at_bad_row(const tq_encoder *e, tq_err *err) {
    size_t row = atomic_load(&e->bad_row), column = 0;
    float *w = e->scratch[0].row;
    tq_matrix_row(e->w, row, w);
    while (column + 1 < e->w->cols && isfinite(w[column]))
        column++;
    return tq_fail(err, "weight at row %zu, column %zu is %s, expected a finite number", row, column,
                   isnan(w[column]) ? "NaN" : "infinite");
}

static int encode_stage(tq_encoder *e, size_t index, tq_pool *pool, tq_encode_sums *total, tq_err *err) {
    e->index = index;
    e->stage = &e->q->stage[index];
    const tq_stage_shape *shape = &e->stage->shape;
    tq_stage_codebook(&e->book, shape);
    int rc = shape->states ? tq_encode_trellis(e, pool, err) : sweep_tiles(e, pool, encode_tiles, err);
    if (rc != TQ_OK) return rc;
    if (atomic_load(&e->bad_row) != SIZE_MAX) return fail_at_bad_row(e, err);
    finish_scales(e, pool);
    add_tiles(e, total);
    return TQ_OK;
}

static int measure(tq_encoder *e, tq_pool *pool, tq_encode_sums *total, tq_err *err) {
    int rc = sweep_tiles(e, pool, measure_tiles, err);
    if (rc != TQ_OK) return rc;
    add_tiles(e, total);
    return TQ_OK;
}

static bool scratch_init(tq_encode_scratch *s, const tq_encoder *e) {
    const tq_qmatrix *q = e->q;
    size_t plane = TQ_TILE_ROWS * e->ld;
    s->row = tq_calloc_aligned(e->ld, sizeof *s->row);
    s->z = tq_calloc_aligned(e->ld, sizeof *s->z);
    s->level = tq_calloc_aligned(e->ld, sizeof *s->level);
    s->rotation = tq_calloc_aligned(tq_rotation_scratch(q->stage[0].rotation), sizeof *s->rotation);
    s->codes = tq_calloc_aligned(plane, 1);
    s->fine = tq_calloc_aligned(plane, 1);
    if (!s->row || !s->z || !s->level || !s->rotation || !s->codes || !s->fine) return false;
    if (q->stages == 1) return true;
    s->deq = tq_calloc_aligned(plane, sizeof *s->deq);
    s->deq_work = tq_calloc_aligned(tq_qmatrix_scratch(q), sizeof *s->deq_work);
    return s->deq && s->deq_work;
}

static int encoder_init(tq_encoder *e, tq_pool *pool, tq_err *err) {
    const tq_stage_shape *shape = &e->q->stage[0].shape;
    e->ld = shape->blocks * TQ_BLOCK;
    e->threads = tq_pool_threads(pool);
    atomic_init(&e->bad_row, SIZE_MAX);
    atomic_init(&e->units_done, 0);
    atomic_init(&e->stop, false);
    size_t scales = shape->tiles * shape->groups * TQ_TILE_ROWS;
    e->scale = tq_calloc_aligned(scales, sizeof *e->scale);
    e->energy = tq_calloc_aligned(scales, sizeof *e->energy);
    e->tile = tq_calloc_aligned(shape->tiles, sizeof *e->tile);
    e->scratch = calloc((size_t)e->threads, sizeof *e->scratch);
    bool ok = e->scale && e->energy && e->tile && e->scratch;
    for (int i = 0; ok && i < e->threads; i++)
        ok = scratch_init(&e->scratch[i], e);
    if (ok && shape->states) ok = tq_encode_trellis_init(e);
    return ok ? TQ_OK : tq_fail(err, "out of memory for quantizing a matrix of %zu x %zu", e->w->rows, e->w->cols);
}

static void encoder_free(tq_encoder *e) {
    tq_encode_trellis_free(e);
    for (int i = 0; e->scratch && i < e->threads; i++) {
        tq_encode_scratch *s = &e->scratch[i];
        free(s->row);
        free(s->z);
        free(s->level);
        free(s->rotation);
        free(s->codes);
        free(s->fine);
        free(s->deq);
        free(s->deq_work);
    }
    free(e->scratch);
    free(e->scale);
    free(e->energy);
    free(e->tile);
}

int tq_qmatrix_encode(const tq_matrix_view *w, const tq_qspec *spec, tq_rotation_cache *cache, tq_pool *pool,
                      const tq_progress *progress, tq_qmatrix **out, tq_distortion *distortion, tq_err *err) {
    *out = NULL;
    if (w->dtype != TQ_F32 && w->dtype != TQ_F16 && w->dtype != TQ_BF16 && !w->codec)
        return tq_fail(err, "dtype %s, expected weights", tq_dtype_name(w->dtype));
    tq_encoder e = {.w = w, .progress = progress};
    e.q = tq_qmatrix_new(spec, w->rows, w->cols, cache, err);
    if (!e.q) return TQ_FAIL;
    bool overlap = e.q->stages > 1;
    e.work_total = (double)w->rows * (double)w->cols * (overlap ? (double)e.q->stages + (distortion ? 1 : 0) : 1);
    tq_encode_sums total = {0};
    int rc = encoder_init(&e, pool, err);
    for (size_t i = 0; rc == TQ_OK && i < e.q->stages; i++)
        rc = encode_stage(&e, i, pool, &total, err);
    if (rc == TQ_OK && overlap && distortion) rc = measure(&e, pool, &total, err);
    encoder_free(&e);
    if (rc != TQ_OK) {
        tq_qmatrix_free(e.q);
        return rc;
    }
    tq_progress_report(progress, e.work_total, e.work_total);
    if (distortion) *distortion = tq_distortion_of(total.ww, total.wq, total.qq, total.error);
    *out = e.q;
    return TQ_OK;
}
