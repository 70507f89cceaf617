/* kernels_util.h - what the tests and the benchmark of the kernels share: random values, guarded buffers. */
#ifndef TQ_TESTS_KERNELS_UTIL_H
#define TQ_TESTS_KERNELS_UTIL_H

#include "kernels/kernels.h"
#include <stddef.h>
#include <stdint.h>

/* splitmix64 (Steele, Lea, Flood 2014). */
typedef struct kt_random {
    uint64_t state;
} kt_random;

uint64_t kt_next(kt_random *r);
size_t kt_below(kt_random *r, size_t n); /* uniform in [0, n), n > 0 */
float kt_normal(kt_random *r);           /* about N(0, 1): the sum of twelve uniforms less 6 */

/* Adversarial floats: normal values mixed with zeros of both signs, subnormals, huge values; with `specials` also
 * infinities and NaNs of any payload. */
void kt_fill_floats(kt_random *r, float *x, size_t n, int adversarial, int specials);
void kt_fill_bytes(kt_random *r, void *p, size_t n, unsigned mask);

/* The value of a float of 16 bits from its fields, as IEEE 754 section 3.4 defines it. */
double kt_small_float(unsigned h, int exponent_bits, int mantissa_bits);

/* The sizes every kernel is tried with: 0 .. 200 and some larger ones; SIZE_MAX past the end. */
size_t kt_size(size_t i);

/* Equal to the bit, or both NaN. */
void kt_same_floats(const float *a, const float *b, size_t n, const char *what);

/* Memory between two pages that cannot be touched. What is placed in it lies flush against one of them or at an odd
 * place; the rest is filled with a pattern that kt_check finds intact or fails the test. */
typedef struct kt_guarded {
    uint8_t *pages;
    size_t capacity;
    uint8_t *data;
    size_t bytes;
} kt_guarded;

enum { KT_AT_END, KT_AT_START, KT_MISALIGNED, KT_PLACEMENTS };

void kt_guarded_new(kt_guarded *g, size_t capacity);
void kt_guarded_free(kt_guarded *g);
void *kt_place(kt_guarded *g, size_t bytes, size_t element, int placement);
void kt_check(const kt_guarded *g);

/* A packed matrix with random codes, tables and scales; everything owned. `extreme` takes tables at their limits. */
typedef struct kt_matrix {
    tq_packed packed;
    tq_levels levels;
    kt_guarded codes, fine, scales;
    size_t tiles, groups;
} kt_matrix;

void kt_random_levels(kt_random *r, tq_levels *l, int fine_bits, int extreme);
void kt_matrix_new(kt_matrix *m, kt_random *r, int code_bits, int fine_bits, size_t tiles, size_t blocks,
                   size_t group_blocks, int extreme);
/* Makes a trellis of a matrix of 4-bit codes; deep: of 256 states. */
void kt_random_trellis(kt_random *r, tq_levels *l, int deep, int extreme);
void kt_matrix_trellis(kt_matrix *m, kt_random *r, int deep, int extreme);
void kt_matrix_free(kt_matrix *m);

/* A quantized vector with its memory guarded. */
typedef struct kt_vector {
    tq_xq xq;
    kt_guarded hi, lo, wide, scale, sum;
} kt_vector;

void kt_vector_new(kt_vector *v, size_t blocks);
void kt_vector_check(const kt_vector *v);
void kt_vector_free(kt_vector *v);

/* Prints the rate of every kernel, for the instruction set `isa` or for all of them (NULL). */
void kt_bench(const char *isa);

#endif
