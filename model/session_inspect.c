/* session_inspect.c - how the weights of one matrix are distributed, as stored and after rotation. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "model/session_internal.h"

#define SAMPLED_WEIGHTS ((size_t)1 << 20)
#define RANGE 5.0 /* standard deviations */

/* Sampled rows: every step-th block of TQ_TILE_ROWS rows, as dequantization gives them. */
typedef struct row_sample {
    size_t rows, cols;
    float *w; /* [rows, cols] */
} row_sample;

static size_t sampled_tiles(const tq_matrix *m, size_t *step) {
    size_t tiles = (m->w.rows + TQ_TILE_ROWS - 1) / TQ_TILE_ROWS, wanted = SAMPLED_WEIGHTS / (m->w.cols * TQ_TILE_ROWS);
    wanted = wanted ? wanted : 1;
    *step = tiles > wanted ? tiles / wanted : 1;
    return (tiles + *step - 1) / *step;
}

static int sample_rows(const tq_matrix *m, row_sample *s, tq_err *err) {
    size_t step, tiles = sampled_tiles(m, &step), cols = m->w.cols, scratch_size;
    scratch_size = m->packed ? tq_qmatrix_scratch(m->packed) : 0;
    float *scratch = tq_calloc_aligned(scratch_size + 1, sizeof *scratch);
    s->w = malloc(tiles * TQ_TILE_ROWS * cols * sizeof *s->w);
    s->cols = cols;
    s->rows = 0;
    for (size_t t = 0; s->w && scratch && t < tiles; t++) {
        size_t first = t * step * TQ_TILE_ROWS, n = m->w.rows - first;
        n = n < TQ_TILE_ROWS ? n : TQ_TILE_ROWS;
        float *out = s->w + s->rows * cols;
        if (m->packed)
            tq_qmatrix_dequantize_rows(m->packed, first, n, out, scratch);
        else
            for (size_t r = 0; r < n; r++)
                tq_matrix_row(&m->w, first + r, out + r * cols);
        s->rows += n;
    }
    bool ok = s->w && scratch;
    free(scratch);
    return ok ? TQ_OK : tq_fail(err, "%s: out of memory", m->name);
}

/* Density over [-RANGE, RANGE] of x * scale, what lies beyond in the outermost bins; and the kurtosis. */
static void histogram(const float *x, size_t n, double scale, double density[TQ_HIST_BINS], double *kurtosis) {
    double second = 0, fourth = 0, width = 2 * RANGE / TQ_HIST_BINS;
    size_t counts[TQ_HIST_BINS] = {0};
    for (size_t i = 0; i < n; i++) {
        double v = (double)x[i] * scale, square = v * v, bin = floor((v + RANGE) / width);
        second += square;
        fourth += square * square;
        counts[bin < 0 ? 0 : bin > TQ_HIST_BINS - 1 ? TQ_HIST_BINS - 1 : (size_t)bin]++;
    }
    for (size_t b = 0; b < TQ_HIST_BINS; b++)
        density[b] = n ? (double)counts[b] / ((double)n * width) : 0;
    *kurtosis = second > 0 ? fourth * (double)n / (second * second) : 0;
}

static int by_value(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

static int row_norms(const row_sample *s, tq_inspection *out, tq_err *err) {
    float *norms = malloc((s->rows + 1) * sizeof *norms);
    double sum = 0;
    if (!norms) return tq_fail(err, "out of memory");
    for (size_t r = 0; r < s->rows; r++) {
        double square = 0;
        for (size_t c = 0; c < s->cols; c++) {
            double v = (double)s->w[r * s->cols + c];
            square += v * v;
            if (fabs(v) > out->absmax) out->absmax = fabs(v);
        }
        sum += square;
        norms[r] = (float)sqrt(square);
    }
    qsort(norms, s->rows, sizeof *norms, by_value);
    out->norm_min = (double)norms[0];
    out->norm_median = (double)norms[s->rows / 2];
    out->norm_max = (double)norms[s->rows - 1];
    out->rms = sqrt(sum / ((double)s->rows * (double)s->cols));
    free(norms);
    return isfinite(sum) ? TQ_OK : tq_fail(err, "holds weights that are not finite");
}

/* Each group to z = sqrt(d) R w / ||w||, in place; a group of zeros stays. */
static int rotate_rows(row_sample *s, const tq_rotation *rotation, tq_err *err) {
    size_t group = tq_rotation_group(rotation);
    float *scratch = tq_calloc_aligned(tq_rotation_scratch(rotation) + 1, sizeof *scratch);
    if (!scratch) return tq_fail(err, "out of memory");
    for (size_t r = 0; r < s->rows; r++) {
        float *row = s->w + r * s->cols;
        tq_rotation_apply(rotation, row, row, scratch);
        for (size_t c = 0; c < s->cols; c += group) {
            size_t d = s->cols - c < group ? s->cols - c : group;
            double square = 0;
            for (size_t i = c; i < c + d; i++)
                square += (double)row[i] * (double)row[i];
            double scale = square > 0 ? sqrt((double)d / square) : 0;
            for (size_t i = c; i < c + d; i++)
                row[i] = (float)((double)row[i] * scale);
        }
    }
    free(scratch);
    return TQ_OK;
}

int tq_session_inspect(tq_session *s, size_t matrix, tq_inspection *out, tq_err *err) {
    const tq_matrix *m = tq_model_matrix(s->model, matrix);
    tq_qspec spec = tq_plan_spec(s->plan, matrix);
    row_sample sample = {0};
    tq_err inner = {{0}};
    *out = (tq_inspection){.range = RANGE};
    const tq_rotation *rotation = tq_rotation_of(tq_model_rotations(s->model), &spec, 0, m->w.cols, &inner);
    int rc = rotation ? sample_rows(m, &sample, &inner) : TQ_FAIL;
    if (rc == TQ_OK) rc = row_norms(&sample, out, &inner);
    if (rc == TQ_OK) {
        size_t n = sample.rows * sample.cols;
        histogram(sample.w, n, out->rms > 0 ? 1 / out->rms : 0, out->stored, &out->kurtosis_stored);
        rc = rotate_rows(&sample, rotation, &inner);
        if (rc == TQ_OK) histogram(sample.w, n, 1, out->rotated, &out->kurtosis_rotated);
    }
    free(sample.w);
    if (rc != TQ_OK) return tq_fail(err, "%s: tensor %s.weight: %s", tq_source_path(s->source), m->name, inner.msg);
    return TQ_OK;
}
