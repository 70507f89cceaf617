/* calibrate.h - encoding under the second moment of a matrix's input: what counts is the error of the product, not of
 * the weights.
 *
 * With H = E[x x^T] in the rotated basis, the expected squared error of W x is tr(E H E^T), E = W - Q. Codes are found
 * with error feedback (LDLQ: Chee et al., "QuIP", arXiv 2307.13304, section 3; the same as GPTQ, arXiv 2210.17323):
 * H = L D L^T, columns from the last to the first, column k is coded as w_k + sum_{j>k} e_j L_jk. Then the group scales
 * are solved by least squares under H, and sweeps of coordinate descent code each column again with all others known.
 *
 * With the moment between the inputs of the base model and those that the quantized layers before produce, the target
 * is first moved to W + W (C - H) H^-1, C = E[x xq^T], H = E[xq xq^T] (GPTAQ, arXiv 2504.02692; Qronos, arXiv
 * 2505.11695). */
#ifndef TQ_CALIBRATE_H
#define TQ_CALIBRATE_H

#include "quant/qmatrix.h"

/* The second moment of an input of n values, in the basis of the model. Borrowed. */
typedef struct tq_moment {
    size_t n;
    const float *xx;    /* NULL: too few inputs were seen, codes are plain; or [n, n] mean of x x^T, symmetric, of the
                           inputs that the matrix will see */
    const float *cross; /* [n, n] mean of x_base x^T, or NULL: the matrix sees what the base model's does */
} tq_moment;

#define TQ_LAMBDA_DEFAULT 0.025 /* of the mean diagonal, added to the diagonal */
#define TQ_SWEEPS_DEFAULT 2

typedef struct tq_calibrate_options {
    double lambda;
    int sweeps; /* of coordinate descent after the feedback */
} tq_calibrate_options;

typedef struct tq_calibrated {
    tq_distortion distortion; /* of what was kept, in the weights */
    double plain, weighted;   /* tr(E H E^T) / tr(W H W^T) of the plain codes and of what was kept */
    bool fell_back;           /* the plain codes were better, or the moment could not be factored: they were kept */
    bool unseen;              /* the moment was not known */
    double lambda;            /* that the factorization took; more than asked for when it failed at first */
} tq_calibrated;

/* As tq_qmatrix_encode, under a moment of w->cols inputs. Needs one stage: nested residuals. The result does not depend
 * on the number of threads. */
int tq_qmatrix_encode_calibrated(const tq_matrix_view *w, const tq_qspec *spec, const tq_moment *moment,
                                 const tq_calibrate_options *options, tq_rotation_cache *cache, tq_pool *pool,
                                 const tq_progress *progress, tq_qmatrix **out, tq_calibrated *figures, tq_err *err);

#endif
