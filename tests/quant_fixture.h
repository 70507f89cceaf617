/* quant_fixture.h - what the tests of quant/ share. A failure inside ends the test that called. */
#ifndef TQ_TESTS_QUANT_FIXTURE_H
#define TQ_TESTS_QUANT_FIXTURE_H

#include <stddef.h>

#include "quant/qmatrix.h"

#define DATA_SEED 7

float qt_normal(void); /* the next value of N(0, 1) */

/* rows x cols of N(0, 1), the same at every call; the caller frees it. */
float *qt_normal_matrix(size_t rows, size_t cols);

tq_qspec qt_spec(tq_bits bits, size_t group); /* with the default of all else */

/* As tq_qmatrix_encode, uncalibrated; `pool` and `d` may be NULL. The caller frees the result. */
tq_qmatrix *qt_encode(const tq_matrix_view *w, const tq_qspec *spec, tq_rotation_cache *cache, tq_pool *pool,
                      tq_distortion *d);

double qt_norm2(const float *x, size_t n); /* the sum of squares */

/* What encode reports (`d`), what rows decode to and what matvec computes are one and the same matrix. */
void qt_check_matrix(const tq_matrix_view *w, const tq_qmatrix *q, const tq_distortion *d);

#endif
