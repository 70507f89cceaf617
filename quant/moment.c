/* moment.c - the second moment of an input: into the rotated basis, shrunk, and factored for the feedback. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "quant/calibrate_internal.h"

#define TRIES 5

/* LAPACK, as OpenBLAS exports it; column-major. */
void spotrf_(const char *uplo, const int *n, float *a, const int *lda, int *info);

typedef struct rotate_rows {
    const tq_rotation *r;
    const float *in;
    float *out;
    float *scratch; /* [threads, size] */
    size_t size, n;
} rotate_rows;

static void rotate_some(void *ctx, size_t begin, size_t end, int thread) {
    const rotate_rows *j = ctx;
    for (size_t i = begin; i < end; i++)
        tq_rotation_apply(j->r, j->out + i * j->n, j->in + i * j->n, j->scratch + (size_t)thread * j->size);
}

static void transpose(float *a, size_t n) {
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < i; j++) {
            float x = a[i * n + j];
            a[i * n + j] = a[j * n + i];
            a[j * n + i] = x;
        }
    }
}

int tq_moment_rotate(const tq_rotation *r, const float *xx, size_t n, tq_pool *pool, float *out, tq_err *err) {
    size_t size = (tq_rotation_scratch(r) + 15) / 16 * 16 + 16;
    float *scratch = tq_calloc_aligned((size_t)tq_pool_threads(pool) * size, sizeof *scratch);
    if (!scratch) return tq_fail(err, "out of memory for a second moment of %zu inputs", n);
    rotate_rows j = {r, xx, out, scratch, size, n};
    tq_pool_run(pool, n, 16, rotate_some, &j);
    transpose(out, n);
    j.in = out;
    tq_pool_run(pool, n, 16, rotate_some, &j);
    transpose(out, n); /* a moment between two inputs is not symmetric */
    free(scratch);
    return TQ_OK;
}

static double mean_diagonal(const float *h, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)h[i * n + i];
    return sum / (double)n;
}

/* h + shift on the diagonal = C C^T; false when it is not positive definite. Row-major lower is column-major upper. */
static bool cholesky(const float *h, size_t n, float shift, float *c) {
    int size = (int)n, info = 0;
    memcpy(c, h, n * n * sizeof *c);
    for (size_t i = 0; i < n; i++)
        c[i * n + i] += shift;
    spotrf_("U", &size, c, &size, &info);
    return info == 0;
}

int tq_moment_factor(float *h, size_t n, double *lambda, float *shift, float *factor, tq_err *err) {
    double mean = mean_diagonal(h, n);
    if (!isfinite(mean) || mean <= 0) return tq_fail(err, "the second moment of its input is zero or not finite");
    for (int i = 0; i<TRIES; i++, *lambda = *lambda> 0 ? *lambda * 10 : 1e-4) {
        *shift = (float)(*lambda * mean);
        if (!cholesky(h, n, *shift, factor)) continue;
        for (size_t k = 0; k < n; k++) {
            h[k * n + k] += *shift;
            float inverse = 1.0F / factor[k * n + k];
            for (size_t j = k; j < n; j++)
                factor[j * n + k] *= inverse;
        }
        return TQ_OK;
    }
    return tq_fail(err, "the second moment of its input cannot be factored");
}
