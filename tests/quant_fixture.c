/* quant_fixture.c - what the tests of quant/ share: matrices of fixed seed, encoding, and the check of what came of it.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/quant_fixture.h"

static uint64_t random_state = DATA_SEED;

static double uniform(void) {
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return ((double)(random_state >> 11) + 0.5) * 0x1p-53;
}

float qt_normal(void) {
    return (float)(sqrt(-2 * log(uniform())) * cos(6.283185307179586 * uniform()));
}

float *qt_normal_matrix(size_t rows, size_t cols) {
    float *w = malloc(rows * cols * sizeof *w);
    assert_non_null(w);
    random_state = DATA_SEED;
    for (size_t i = 0; i < rows * cols; i++)
        w[i] = qt_normal();
    return w;
}

tq_qspec qt_spec(tq_bits bits, size_t group) {
    tq_common common = tq_common_default();
    tq_qspec s = tq_qspec_of(bits, group, &common);
    return s;
}

tq_qmatrix *qt_encode(const tq_matrix_view *w, const tq_qspec *spec, tq_rotation_cache *cache, tq_pool *pool,
                      tq_distortion *d) {
    tq_qmatrix *q = NULL;
    tq_err err = {""};
    if (tq_qmatrix_encode(w, spec, cache, pool, NULL, &q, d, &err) != TQ_OK) fail_msg("%s", err.msg);
    return q;
}

double qt_norm2(const float *x, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += (double)x[i] * (double)x[i];
    return sum;
}

static const tq_kernels *k(void) {
    return tq_k();
}

/* What encode reports, what rows decode to and what matvec computes are one and the same matrix. */
void qt_check_matrix(const tq_matrix_view *w, const tq_qmatrix *q, const tq_distortion *d) {
    size_t rows = w->rows, cols = w->cols, ld = (cols + 31) / 32 * 32;
    float *deq = malloc(rows * cols * sizeof *deq), *row = malloc(cols * sizeof *row);
    float *scratch = malloc((tq_qmatrix_scratch(q) + ld) * sizeof *scratch), *x = calloc(ld, sizeof *x);
    float *rx = calloc(ld, sizeof *rx), *y = calloc(rows, sizeof *y);
    tq_xq xq = {malloc(ld), malloc(ld), malloc(2 * ld), malloc(ld / 32 * sizeof(float)),
                malloc(ld / 32 * 2 * sizeof(int32_t))};
    tq_qmatrix_dequantize_rows(q, 0, rows, deq, scratch);
    for (size_t i = 0; i < cols; i++)
        x[i] = qt_normal();
    double error = 0, ww = 0, xx = qt_norm2(x, cols);
    for (size_t r = 0; r < rows; r++) {
        tq_matrix_row(w, r, row);
        for (size_t i = 0; i < cols; i++) {
            double diff = (double)row[i] - (double)deq[r * cols + i];
            error += diff * diff;
            ww += (double)row[i] * (double)row[i];
        }
    }
    double rel = ww > 0 ? error / ww : 0;
    /* Where one scale fits a group almost exactly (1 x 1; seen: 1.8e-10 off at 4.3e-8) the rounding of the sums in fp32
     * is left; from 4e-5 on, where the configs lie, the relative term alone counts. */
    assert_true(fabs(rel - d->rel_mse) <= 1e-3 * rel + 2.5e-10);
    for (size_t s = 0; s < tq_qmatrix_stages(q); s++) {
        tq_rotation_apply(tq_qmatrix_rotation(q, s), rx, x, scratch);
        k()->quantize_x(&xq, rx, ld / 32);
        tq_qmatrix_matvec(q, s, &xq, y, s > 0, NULL);
    }
    for (size_t r = 0; r < rows; r++) {
        double want = 0;
        for (size_t i = 0; i < cols; i++)
            want += (double)deq[r * cols + i] * (double)x[i];
        /* x is rounded to max / 8064 of its block of 32: a relative MSE of E[max^2] / 8064^2 / 12 = 7e-9 for normal x.
         * Seven sigma of that, and what adding up in fp32 may lose. */
        double sigma = sqrt(7e-9 * qt_norm2(deq + r * cols, cols) * xx / (double)cols);
        assert_true(fabs((double)y[r] - want) <= 7 * sigma + 1e-5 * fabs(want));
    }
    free(deq);
    free(row);
    free(scratch);
    free(x);
    free(rx);
    free(y);
    free(xq.hi);
    free(xq.lo);
    free(xq.wide);
    free(xq.scale);
    free(xq.sum);
}
