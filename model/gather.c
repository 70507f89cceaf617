/* gather.c - see gather.h. */
#include "model/gather.h"

#include <cblas.h>

/* Rows of the sum that one task makes, and tokens that it takes at once. */
#define PANEL 128

typedef struct gather_job {
    float *xx;
    const float *a, *b;
    size_t n, cols;
} gather_job;

static void add_panels(void *ctx, size_t first, size_t last, int thread) {
    const gather_job *j = ctx;
    (void)thread;
    for (size_t p = first; p < last; p++) {
        size_t r0 = p * PANEL, rows = j->cols - r0 < PANEL ? j->cols - r0 : PANEL, from = j->a == j->b ? r0 : 0;
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (blasint)rows, (blasint)(j->cols - from), (blasint)j->n,
                    1.0F, j->a + r0, (blasint)j->cols, j->b + from, (blasint)j->cols, 1.0F, j->xx + r0 * j->cols + from,
                    (blasint)j->cols);
    }
}

void tq_gather_add(tq_pool *pool, float *xx, const float *a, const float *b, size_t n, size_t cols) {
    gather_job j = {xx, a, b, n, cols};
    tq_pool_run(pool, (cols + PANEL - 1) / PANEL, 1, add_panels, &j);
}

void tq_gather_finish(float *xx, size_t cols, size_t tokens, bool symmetric) {
    float mean = 1.0F / (float)tokens;
    for (size_t i = 0; i < cols; i++)
        for (size_t j = symmetric ? i : 0; j < cols; j++) {
            xx[i * cols + j] *= mean;
            if (symmetric) xx[j * cols + i] = xx[i * cols + j];
        }
}
