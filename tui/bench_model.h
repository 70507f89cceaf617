/* bench_model.h - a model of random weights for measurements. */
#ifndef TQ_BENCH_MODEL_H
#define TQ_BENCH_MODEL_H

#include "tui/options.h"

/* Writes a Llama of this shape (bf16, tied) to a temporary directory, opens it, and removes the files at once: the
 * session keeps them mapped. */
int tq_bench_model(const tq_shape *shape, const tq_session_options *options, tq_session **out, tq_err *err);

/* n random numbers of about N(0, sigma^2) as bf16, reproducible from the seed. */
void tq_bench_random(uint16_t *out, size_t n, float sigma, uint64_t seed);

#endif
