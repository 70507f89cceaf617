/* scale_fit.c - group scales by least squares under the second moment, and the error that it weighs. */
#include <cblas.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant/calibrate_internal.h"

/* Rows whose systems are set up together. */
#define FIT_ROWS 64

/* LAPACK, as OpenBLAS exports it; column-major. */
void dposv_(const char *uplo, const int *n, const int *nrhs, double *a, const int *lda, double *b, const int *ldb,
            int *info);

/* What one task works in. */
typedef struct fit_scratch {
    float *level, *target; /* [FIT_ROWS, cols] */
    float *product;        /* [FIT_ROWS, cols] */
    double *a;             /* [FIT_ROWS, groups, groups] */
    double *b;             /* [FIT_ROWS, groups] */
} fit_scratch;

typedef struct fit_job {
    tq_calibration_work *c;
    fit_scratch *scratch; /* [threads] */
} fit_job;

/* Rows r0 .. r0+rows-1 of a column-major plane: out: [rows, cols]. */
static void take_rows(const tq_calibration_work *c, const float *plane, size_t r0, size_t rows, float *out) {
    for (size_t k = 0; k < c->cols; k++)
        for (size_t r = 0; r < rows; r++)
            out[r * c->cols + k] = plane[k * c->ld + r0 + r];
}

/* For group g of each row: its products with all groups from g on, and with the target. */
static void fill_systems(const tq_calibration_work *c, fit_scratch *s, size_t rows, size_t g) {
    size_t begin = g * c->group, width = c->cols - begin < c->group ? c->cols - begin : c->group;
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)rows, (blasint)c->cols, (blasint)width, 1.0F,
                s->level + begin, (blasint)c->cols, c->h + begin * c->cols, (blasint)c->cols, 0.0F, s->product,
                (blasint)c->cols);
    for (size_t r = 0; r < rows; r++) {
        const float *product = s->product + r * c->cols, *level = s->level + r * c->cols;
        double *a = s->a + r * c->groups * c->groups;
        for (size_t other = g; other < c->groups; other++) {
            size_t from = other * c->group, n = c->cols - from < c->group ? c->cols - from : c->group;
            a[g * c->groups + other] = (double)cblas_sdot((blasint)n, product + from, 1, level + from, 1);
        }
        s->b[r * c->groups + g] = (double)cblas_sdot((blasint)c->cols, product, 1, s->target + r * c->cols, 1);
    }
}

/* The solution replaces the scales of row r where it is of use; a group without codes keeps a zero. */
static void solve_row(tq_calibration_work *c, fit_scratch *s, size_t r0, size_t r) {
    int n = (int)c->groups, one = 1, info = 0;
    double *a = s->a + r * c->groups * c->groups, *b = s->b + r * c->groups;
    for (size_t g = 0; g < c->groups; g++)
        if (!(c->scale[g * c->ld + r0 + r] > 0)) {
            for (size_t j = 0; j < c->groups; j++)
                a[g * c->groups + j] = a[j * c->groups + g] = 0;
            a[g * c->groups + g] = 1;
            b[g] = 0;
        }
    dposv_("L", &n, &one, a, &n, b, &n, &info); /* row-major upper is column-major lower */
    for (size_t g = 0; info == 0 && g < c->groups; g++) {
        float *scale = c->scale + g * c->ld + r0 + r;
        if (b[g] > 0.5 * (double)*scale && b[g] < 2.0 * (double)*scale) *scale = (float)b[g];
    }
}

static void fit_some(void *ctx, size_t first, size_t last, int thread) {
    fit_job *j = ctx;
    tq_calibration_work *c = j->c;
    fit_scratch *s = &j->scratch[thread];
    for (size_t p = first; p < last; p++) {
        size_t r0 = p * FIT_ROWS, rows = c->rows - r0 < FIT_ROWS ? c->rows - r0 : FIT_ROWS;
        take_rows(c, c->level, r0, rows, s->level);
        take_rows(c, c->target, r0, rows, s->target);
        for (size_t g = 0; g < c->groups; g++)
            fill_systems(c, s, rows, g);
        for (size_t r = 0; r < rows; r++)
            solve_row(c, s, r0, r);
    }
}

static bool scratch_init(fit_scratch *s, const tq_calibration_work *c) {
    s->level = tq_calloc_aligned(FIT_ROWS * c->cols, sizeof *s->level);
    s->target = tq_calloc_aligned(FIT_ROWS * c->cols, sizeof *s->target);
    s->product = tq_calloc_aligned(FIT_ROWS * c->cols, sizeof *s->product);
    s->a = tq_calloc_aligned(FIT_ROWS * c->groups * c->groups, sizeof *s->a);
    s->b = tq_calloc_aligned(FIT_ROWS * c->groups, sizeof *s->b);
    return s->level && s->target && s->product && s->a && s->b;
}

static void scratch_free(fit_scratch *s) {
    free(s->level);
    free(s->target);
    free(s->product);
    free(s->a);
    free(s->b);
}

static void update_errors(tq_calibration_work *c) {
    for (size_t k = 0; k < c->cols; k++) {
        const float *scale = c->scale + k / c->group * c->ld;
        for (size_t r = 0; r < c->ld; r++)
            c->error[k * c->ld + r] = c->target[k * c->ld + r] - scale[r] * c->level[k * c->ld + r];
    }
}

int tq_scales_fit(tq_calibration_work *c, tq_err *err) {
    int threads = tq_pool_threads(c->pool);
    fit_job j = {c, calloc((size_t)threads, sizeof *j.scratch)};
    bool ok = j.scratch != NULL;
    for (int i = 0; ok && i < threads; i++)
        ok = scratch_init(&j.scratch[i], c);
    if (ok) tq_pool_run(c->pool, (c->rows + FIT_ROWS - 1) / FIT_ROWS, 1, fit_some, &j);
    if (ok) update_errors(c);
    for (int i = 0; j.scratch && i < threads; i++)
        scratch_free(&j.scratch[i]);
    free(j.scratch);
    return ok ? TQ_OK : tq_fail(err, "out of memory for the scales of %zu x %zu", c->rows, c->cols);
}

typedef struct error_job {
    const tq_calibration_work *c;
    const float *e;
    float *scratch; /* [threads, cols, TQ_PANEL_ROWS] */
    double *sum;    /* [panels] */
} error_job;

static void error_some(void *ctx, size_t first, size_t last, int thread) {
    const error_job *j = ctx;
    const tq_calibration_work *c = j->c;
    float *product = j->scratch + (size_t)thread * c->cols * TQ_PANEL_ROWS;
    for (size_t p = first; p < last; p++) {
        size_t r0 = p * TQ_PANEL_ROWS, rows = c->ld - r0 < TQ_PANEL_ROWS ? c->ld - r0 : TQ_PANEL_ROWS;
        cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, (blasint)c->cols, (blasint)rows, (blasint)c->cols, 1.0F,
                    c->h, (blasint)c->cols, j->e + r0, (blasint)c->ld, 0.0F, product, TQ_PANEL_ROWS);
        for (size_t k = 0; k < c->cols; k++)
            j->sum[p] += (double)cblas_sdot((blasint)rows, product + k * TQ_PANEL_ROWS, 1, j->e + k * c->ld + r0, 1);
    }
}

int tq_weighted_error(const tq_calibration_work *c, const float *e, double *out, tq_err *err) {
    size_t panels = (c->ld + TQ_PANEL_ROWS - 1) / TQ_PANEL_ROWS;
    error_job j = {.c = c, .e = e};
    j.scratch = tq_calloc_aligned((size_t)tq_pool_threads(c->pool) * c->cols * TQ_PANEL_ROWS, sizeof *j.scratch);
    j.sum = calloc(panels, sizeof *j.sum);
    bool ok = j.scratch && j.sum;
    if (ok) tq_pool_run(c->pool, panels, 1, error_some, &j);
    *out = 0;
    for (size_t p = 0; ok && p < panels; p++)
        *out += j.sum[p];
    free(j.scratch);
    free(j.sum);
    return ok ? TQ_OK : tq_fail(err, "out of memory for the error of %zu x %zu", c->rows, c->cols);
}
