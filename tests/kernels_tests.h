/* kernels_tests.h - the tests of test_kernels.c. Each one holds table k against the scalar table s; for k = s it checks
 * the reference itself against a definition where there is one. They fail by cmocka's assertions. */
#ifndef TQ_TESTS_KERNELS_TESTS_H
#define TQ_TESTS_KERNELS_TESTS_H

#include "tests/kernels_util.h"

typedef struct kt_context {
    const tq_kernels *k, *s;
    kt_random random;
} kt_context;

typedef struct kt_test {
    const char *name;
    void (*run)(kt_context *c);
} kt_test;

extern const kt_test kt_float_tests[], kt_blocks_tests[], kt_coding_tests[], kt_packed_tests[], kt_trellis_tests[],
    kt_gemm_tests[]; /* end with a NULL name */

/* Calls body with matrices of every config, of many sizes and groups. */
void kt_each_matrix(kt_context *c, void (*body)(kt_context *c, const kt_matrix *m));

#endif
