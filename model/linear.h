/* linear.h - matrix products of the forward pass: weights as stored or packed, one vector or many. */
#ifndef TQ_LINEAR_H
#define TQ_LINEAR_H

#include "model/forward_internal.h"

/* y (= or +=) W x + bias for n inputs x. W is q when q is not NULL, else w. y: [n, ldy], columns 0 .. rows-1 are
 * written. Borrowed for the call. */
typedef struct tq_linear_job {
    const tq_matrix_view *w; /* as stored; rows and cols are valid for packed ones too */
    const tq_qmatrix *q;
    const float *bias; /* [rows] or NULL */
    float *y;
    size_t ldy;
    size_t matrix; /* index for tq_model_matrix, SIZE_MAX for others */
    bool add;
} tq_linear_job;

#define TQ_LINEAR_JOBS 4

/* Jobs that share their input (q, k and v; gate and up), so that it is rotated once for each rotation they use. x: [n,
 * cols], row-major and dense. One input goes by matrix-vector products on the codes, more by decoding panels of rows
 * that OpenBLAS multiplies in fp32 or, in fast arithmetic, gemm_bf16. The result does not depend on the number of
 * threads. Fails when memory is short. */
int tq_linear_run(tq_forward *f, const tq_linear_job *jobs, size_t count, const float *x, size_t n, tq_err *err);

/* The job for matrix `role` of a block under a variant. */
tq_linear_job tq_linear_role(const tq_forward *f, tq_variant q, const struct tq_block_weights *w, tq_role role,
                             float *y, size_t ldy, bool add);
/* The same for matrix i of the model. */
tq_linear_job tq_linear_matrix(const tq_forward *f, tq_variant q, size_t i, float *y, size_t ldy, bool add);
/* The job for a matrix that always stays as stored. */
tq_linear_job tq_linear_plain(const tq_matrix_view *w, float *y);

#endif
