/* gather.h - sums of x x^T over the tokens that pass; private to model/. */
#ifndef TQ_GATHER_H
#define TQ_GATHER_H

#include <stdbool.h>
#include <stddef.h>

#include "quant/pool.h"

/* xx += a^T b over n tokens: a, b: [n, cols], xx: [cols, cols]. With a == b the upper triangle alone. Cut by shape: the
 * sum does not depend on the number of threads. */
void tq_gather_add(tq_pool *pool, float *xx, const float *a, const float *b, size_t n, size_t cols);

/* The sum of `tokens` tokens to a mean; mirrors the upper triangle when `symmetric`. */
void tq_gather_finish(float *xx, size_t cols, size_t tokens, bool symmetric);

#endif
