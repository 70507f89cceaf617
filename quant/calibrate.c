/* calibrate.c - a matrix through all steps of calibrated encoding; see calibrate.h. */
#include "quant/calibrate.h"

#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant/calibrate_internal.h"

/* LAPACK, as OpenBLAS exports it; column-major. */
void sposv_(const char *uplo, const int *n, const int *nrhs, float *a, const int *lda, float *b, const int *ldb,
            int *info);

int tq_calibration_step(tq_calibration_work *c, double weights, tq_err *err) {
    c->done += weights;
    tq_progress_report(c->progress, c->done, c->total);
    return tq_progress_cancelled(c->progress) ? tq_cancelled(err) : TQ_OK;
}

/* --- into the rotated basis, by columns --- */

typedef struct take_job {
    tq_calibration_work *c;
    float *row;    /* [threads, padded cols] */
    float *rotate; /* [threads, size] */
    size_t width, size;
} take_job;

static void take_tiles(void *ctx, size_t first, size_t last, int thread) {
    const take_job *j = ctx;
    tq_calibration_work *c = j->c;
    float *row = j->row + (size_t)thread * j->width, *rotate = j->rotate + (size_t)thread * j->size;
    size_t end = last * TQ_TILE_ROWS < c->rows ? last * TQ_TILE_ROWS : c->rows;
    for (size_t r = first * TQ_TILE_ROWS; r < end; r++) {
        tq_matrix_row(c->w, r, row);
        tq_rotation_apply(c->q->stage[0].rotation, row, row, rotate);
        for (size_t g = 0; g < c->groups; g++) {
            size_t begin = g * c->group, n = c->cols - begin < c->group ? c->cols - begin : c->group;
            double norm2 = 0;
            for (size_t k = begin; k < begin + n; k++) {
                norm2 += (double)row[k] * (double)row[k];
                c->target[k * c->ld + r] = row[k];
            }
            c->scale[g * c->ld + r] = (float)sqrt(norm2 / (double)n);
        }
    }
}

static int take_weights(tq_calibration_work *c, tq_err *err) {
    size_t threads = (size_t)tq_pool_threads(c->pool), size = tq_rotation_scratch(c->q->stage[0].rotation) + 16;
    take_job j = {.c = c, .width = (c->cols + 15) / 16 * 16, .size = (size + 15) / 16 * 16};
    j.row = tq_calloc_aligned(threads * j.width, sizeof *j.row);
    j.rotate = tq_calloc_aligned(threads * j.size, sizeof *j.rotate);
    bool ok = j.row && j.rotate;
    if (ok) tq_pool_run(c->pool, c->q->stage[0].shape.tiles, 4, take_tiles, &j);
    free(j.row);
    free(j.rotate);
    return ok ? TQ_OK : tq_fail(err, "out of memory for %zu x %zu weights", c->rows, c->cols);
}

/* x: C by rows, becomes X = (C - H) H^-1 by rows; work: [cols, cols]. H is shrunk by then, C - H the difference of the
 * moments as they are. */
static int target_change(const tq_calibration_work *c, float *x, float *work, tq_err *err) {
    int n = (int)c->cols, info = 0;
    size_t square = c->cols * c->cols;
    memcpy(work, c->h, square * sizeof *work);
    for (size_t i = 0; i < square; i++)
        x[i] -= i % (c->cols + 1) ? work[i] : work[i] - c->shift;
    sposv_("U", &n, &n, work, &n, x, &n, &info);
    return info == 0 ? TQ_OK : tq_fail(err, "the second moment of its input cannot be factored");
}

/* target += target X, by columns. cross: C in the basis of the model. */
static int move_target(tq_calibration_work *c, const float *cross, tq_err *err) {
    blasint n = (blasint)c->cols, rows = (blasint)c->ld;
    size_t square = c->cols * c->cols, plane = c->cols * c->ld;
    float *x = tq_calloc_aligned(square, sizeof *x), *work = tq_calloc_aligned(square, sizeof *work);
    float *moved = tq_calloc_aligned(plane, sizeof *moved);
    int rc = TQ_FAIL;
    if (!x || !work || !moved) {
        tq_fail(err, "out of memory for the target of %zu x %zu", c->rows, c->cols);
        goto out;
    }
    rc = tq_moment_rotate(c->q->stage[0].rotation, cross, c->cols, c->pool, x, err);
    if (rc == TQ_OK) rc = target_change(c, x, work, err);
    if (rc != TQ_OK) goto out;
    memcpy(moved, c->target, plane * sizeof *moved);
    cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, n, rows, n, 1.0F, x, n, c->target, rows, 1.0F, moved, rows);
    memcpy(c->target, moved, plane * sizeof *moved);
out:
    free(x);
    free(work);
    free(moved);
    return rc;
}

/* --- out of it --- */

/* Codes of one tile from the columns to the packed planes. */
static void pack_tile(const tq_calibration_work *c, size_t tile, const uint8_t *plane, uint8_t *rows, uint8_t *out,
                      int bits) {
    const tq_stage_shape *shape = &c->q->stage[0].shape;
    size_t width = shape->blocks * TQ_BLOCK;
    for (size_t k = 0; k < c->cols; k++)
        for (size_t r = 0; r < TQ_TILE_ROWS; r++)
            rows[r * width + k] = plane[k * c->ld + tile * TQ_TILE_ROWS + r];
    tq_k()->pack(out + tile * shape->blocks * 2 * TQ_BLOCK * (size_t)bits, rows, width, shape->blocks, bits);
}

/* Scales to fp16, as encode.c stores them; c->scale becomes what is stored. */
static void store_scales(tq_calibration_work *c) {
    tq_stage *s = &c->q->stage[0];
    float most = 0;
    for (size_t i = 0; i < c->groups * c->ld; i++)
        most = fmaxf(most, c->scale[i]);
    float mul = s->packed.scale_mul = tq_scale_unit(most);
    for (size_t t = 0; t < s->shape.tiles; t++) {
        for (size_t g = 0; g < c->groups; g++) {
            float *scale = c->scale + g * c->ld + t * TQ_TILE_ROWS, stored[TQ_TILE_ROWS];
            uint16_t *out = s->scales + (t * c->groups + g) * TQ_TILE_ROWS;
            for (size_t r = 0; r < TQ_TILE_ROWS; r++)
                stored[r] = scale[r] / mul;
            tq_k()->f32_to_f16(out, stored, TQ_TILE_ROWS);
            tq_k()->f16_to_f32(stored, out, TQ_TILE_ROWS);
            for (size_t r = 0; r < TQ_TILE_ROWS; r++)
                scale[r] = stored[r] * mul;
        }
    }
    tq_stage_write_table(s);
}

static int store(tq_calibration_work *c, tq_err *err) {
    tq_stage *s = &c->q->stage[0];
    uint8_t *rows = tq_calloc_aligned(TQ_TILE_ROWS * s->shape.blocks * TQ_BLOCK, 1);
    if (!rows) return tq_fail(err, "out of memory for packing");
    for (size_t t = 0; t < s->shape.tiles; t++) {
        pack_tile(c, t, c->codes, rows, s->codes, s->shape.code_bits);
        if (s->fine) pack_tile(c, t, c->fine, rows, s->fine, s->shape.fine_bits);
    }
    free(rows);
    store_scales(c);
    return TQ_OK;
}

/* Decoding a packed matrix tile by tile. */
typedef struct decode_job {
    const tq_calibration_work *c;
    const tq_qmatrix *q;
    size_t width, size; /* of a row; of a thread's floats */
    float *scratch;     /* [threads, size]: a tile, a row, what the rotation needs */
    float *e;           /* [cols, ld] errors against the target, or NULL */
    double (*sums)[4];  /* [tiles]: ww, wq, qq and error against the weights themselves, or NULL */
} decode_job;

static void tile_errors(const decode_job *j, size_t r0, size_t rows, const float *tile) {
    const tq_calibration_work *c = j->c;
    for (size_t k = 0; k < c->cols; k++)
        for (size_t r = 0; r < rows; r++)
            j->e[k * c->ld + r0 + r] = c->target[k * c->ld + r0 + r] - tile[r * j->width + k];
}

static void tile_sums(const decode_job *j, size_t r0, size_t rows, const float *tile, float *row, double sums[4]) {
    for (size_t r = 0; r < rows; r++) {
        tq_matrix_row(j->c->w, r0 + r, row);
        tq_rotation_apply(j->q->stage[0].rotation, row, row, row + j->width);
        for (size_t k = 0; k < j->c->cols; k++) {
            double w = (double)row[k], q = (double)tile[r * j->width + k];
            sums[0] += w * w;
            sums[1] += w * q;
            sums[2] += q * q;
            sums[3] += (w - q) * (w - q);
        }
    }
}

static void decode_tiles(void *ctx, size_t begin, size_t end, int thread) {
    const decode_job *j = ctx;
    float *tile = j->scratch + (size_t)thread * j->size, *row = tile + TQ_TILE_ROWS * j->width;
    for (size_t t = begin; t < end; t++) {
        size_t r0 = t * TQ_TILE_ROWS, left = j->c->rows - r0, rows = left < TQ_TILE_ROWS ? left : TQ_TILE_ROWS;
        tq_qmatrix_decode_rows(j->q, 0, r0, rows, tile, j->width);
        if (j->e) tile_errors(j, r0, rows, tile);
        if (j->sums) tile_sums(j, r0, rows, tile, row, j->sums[t]);
    }
}

static int decode_all(decode_job *j, tq_err *err) {
    const tq_calibration_work *c = j->c;
    j->width = j->q->stage[0].shape.blocks * TQ_BLOCK;
    size_t rotate = (tq_rotation_scratch(j->q->stage[0].rotation) + 15) / 16 * 16 + 16;
    j->size = (TQ_TILE_ROWS + 1) * j->width + rotate;
    j->scratch = tq_calloc_aligned((size_t)tq_pool_threads(c->pool) * j->size, sizeof *j->scratch);
    if (!j->scratch) return tq_fail(err, "out of memory for decoding %zu x %zu", c->rows, c->cols);
    tq_pool_run(c->pool, j->q->stage[0].shape.tiles, 4, decode_tiles, j);
    free(j->scratch);
    return TQ_OK;
}

/* Errors against the target of a packed matrix, by columns: e: [cols, ld]. */
static int decoded_errors(const tq_calibration_work *c, const tq_qmatrix *q, float *e, tq_err *err) {
    decode_job j = {.c = c, .q = q, .e = e};
    return decode_all(&j, err);
}

/* Of the stored codes against the weights themselves; sums are added in the order of the tiles. */
static int measure(const tq_calibration_work *c, tq_distortion *d, tq_err *err) {
    size_t tiles = c->q->stage[0].shape.tiles;
    decode_job j = {.c = c, .q = c->q, .sums = calloc(tiles, sizeof *j.sums)};
    double all[4] = {0};
    int rc = j.sums ? decode_all(&j, err) : tq_fail(err, "out of memory for measuring");
    for (size_t t = 0; rc == TQ_OK && j.sums && t < tiles; t++)
        for (int i = 0; i < 4; i++)
            all[i] += j.sums[t][i];
    free(j.sums);
    *d = tq_distortion_of(all[0], all[1], all[2], all[3]);
    return rc;
}

/* --- the whole --- */

static int work_init(tq_calibration_work *c, const tq_qspec *spec, tq_rotation_cache *cache, tq_err *err) {
    c->q = tq_qmatrix_new(spec, c->w->rows, c->w->cols, cache, err);
    if (!c->q) return TQ_FAIL;
    const tq_stage_shape *shape = &c->q->stage[0].shape;
    c->rows = c->w->rows;
    c->cols = c->w->cols;
    c->ld = shape->tiles * TQ_TILE_ROWS;
    c->group = tq_rotation_group(c->q->stage[0].rotation);
    c->groups = shape->groups;
    tq_stage_codebook(&c->book, shape);
    size_t plane = c->cols * c->ld, square = c->cols * c->cols;
    c->target = tq_calloc_aligned(plane, sizeof *c->target);
    c->error = tq_calloc_aligned(plane, sizeof *c->error);
    c->level = tq_calloc_aligned(plane, sizeof *c->level);
    c->codes = tq_calloc_aligned(plane, 1);
    c->fine = shape->fine_bits ? tq_calloc_aligned(plane, 1) : NULL;
    c->scale = tq_calloc_aligned(c->groups * c->ld, sizeof *c->scale);
    c->h = tq_calloc_aligned(square, sizeof *c->h);
    c->factor = tq_calloc_aligned(square, sizeof *c->factor);
    if (c->target && c->error && c->level && c->codes && c->scale && c->h && c->factor &&
        (c->fine || !shape->fine_bits))
        return TQ_OK;
    return tq_fail(err, "out of memory for calibrating a matrix of %zu x %zu", c->rows, c->cols);
}

static void work_free(tq_calibration_work *c) {
    free(c->target);
    free(c->error);
    free(c->level);
    free(c->codes);
    free(c->fine);
    free(c->scale);
    free(c->h);
    free(c->factor);
}

static int find_codes(tq_calibration_work *c, const tq_moment *moment, int sweeps, double *lambda, tq_err *err) {
    int rc = take_weights(c, err);
    if (rc == TQ_OK) rc = tq_moment_rotate(c->q->stage[0].rotation, moment->xx, c->cols, c->pool, c->h, err);
    if (rc == TQ_OK) rc = tq_moment_factor(c->h, c->cols, lambda, &c->shift, c->factor, err);
    if (rc == TQ_OK && moment->cross) rc = move_target(c, moment->cross, err);
    if (rc == TQ_OK) rc = tq_feedback(c, err);
    if (rc == TQ_OK) rc = tq_scales_fit(c, err);
    for (int i = 0; rc == TQ_OK && i < sweeps; i++) {
        rc = tq_feedback_sweep(c, err);
        if (rc == TQ_OK) rc = tq_scales_fit(c, err);
    }
    return rc == TQ_OK ? store(c, err) : rc;
}

/* Weighted errors of the plain codes and of those found. c->error and c->level are spent. */
static int compare(tq_calibration_work *c, const tq_qmatrix *plain, tq_calibrated *f, tq_err *err) {
    double all = 0;
    int rc = tq_weighted_error(c, c->target, &all, err);
    if (rc == TQ_OK) rc = decoded_errors(c, plain, c->error, err);
    if (rc == TQ_OK) rc = tq_weighted_error(c, c->error, &f->plain, err);
    if (rc == TQ_OK) rc = decoded_errors(c, c->q, c->error, err);
    if (rc == TQ_OK) rc = tq_weighted_error(c, c->error, &f->weighted, err);
    if (all > 0) {
        f->plain /= all;
        f->weighted /= all;
    }
    return rc;
}

int tq_qmatrix_encode_calibrated(const tq_matrix_view *w, const tq_qspec *spec, const tq_moment *moment,
                                 const tq_calibrate_options *options, tq_rotation_cache *cache, tq_pool *pool,
                                 const tq_progress *progress, tq_qmatrix **out, tq_calibrated *figures, tq_err *err) {
    tq_calibrated f = {.lambda = options->lambda};
    tq_qmatrix *plain = NULL;
    *out = NULL;
    int rc = tq_qmatrix_encode(w, spec, cache, pool, NULL, &plain, &f.distortion, err);
    if (rc != TQ_OK) return rc;
    if (plain->stages != 1 || moment->n != w->cols) {
        tq_qmatrix_free(plain);
        return tq_fail(err, "calibration needs nested residuals, and the second moment of %zu inputs", w->cols);
    }
    if (!moment->xx) {
        f.fell_back = f.unseen = true;
        f.plain = f.weighted = NAN;
        *out = plain;
        if (figures) *figures = f;
        return TQ_OK;
    }
    tq_calibration_work c = {.w = w, .pool = pool, .progress = progress};
    c.total = (double)w->rows * (double)w->cols * (1 + options->sweeps);
    rc = work_init(&c, spec, cache, err);
    int found = rc == TQ_OK ? find_codes(&c, moment, options->sweeps, &f.lambda, err) : TQ_FAIL;
    if (found == TQ_CANCELLED) rc = found;
    if (found == TQ_OK) rc = compare(&c, plain, &f, err);
    f.fell_back = found != TQ_OK || !(f.weighted <= f.plain);
    if (rc == TQ_OK && !f.fell_back) rc = measure(&c, &f.distortion, err);
    if (f.fell_back) f.weighted = f.plain;
    work_free(&c);
    bool keeps_plain = rc == TQ_OK && f.fell_back;
    tq_qmatrix_free(keeps_plain ? c.q : plain);
    if (rc != TQ_OK) {
        tq_qmatrix_free(c.q);
        return rc;
    }
    *out = keeps_plain ? plain : c.q;
    if (figures) *figures = f;
    return TQ_OK;
}
