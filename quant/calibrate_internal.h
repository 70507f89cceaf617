/* calibrate_internal.h - what the steps of calibrated encoding share; for the files of quant/ alone. */
#ifndef TQ_CALIBRATE_INTERNAL_H
#define TQ_CALIBRATE_INTERNAL_H

#include "quant/calibrate.h"
#include "quant/codebook.h"
#include "quant/qmatrix_internal.h"

/* Rows that one task takes; products are cut by shape alone, so that sums do not depend on the threads. */
#define TQ_PANEL_ROWS 256
/* Columns that feed back to each other one by one; those before them get their errors in one product. */
#define TQ_FEEDBACK_COLS 128

/* One matrix on its way, in the rotated basis and by columns: [cols, ld], column k at k * ld, rows padded with zeros.
 */
typedef struct tq_calibration_work {
    const tq_matrix_view *w;
    tq_qmatrix *q; /* one stage, its codes not yet written */
    tq_codebook book;
    tq_pool *pool;
    const tq_progress *progress;
    double done, total; /* of the progress, in weights */
    size_t rows, cols, ld, group, groups;
    float *target; /* what is to be coded: the weights, or moved by the asymmetric target */
    float *error;  /* target - coded */
    float *level;  /* coded levels in units of z */
    float *scale;  /* [groups, ld]: weight = scale * level */
    uint8_t *codes, *fine;
    float *h;      /* [cols, cols] second moment, shrunk */
    float shift;   /* that was added to its diagonal */
    float *factor; /* [cols, cols] row-major: L, unit lower triangular */
} tq_calibration_work;

/* h = R xx R^T for the rotation of `group`s: out: [n, n]. */
int tq_moment_rotate(const tq_rotation *r, const float *xx, size_t n, tq_pool *pool, float *out, tq_err *err);

/* Adds lambda * mean diagonal to the diagonal of h: [n, n] and factors it into `factor`. When that fails lambda grows
 * tenfold, four times at most; *lambda becomes what was taken, *shift what was added. */
int tq_moment_factor(float *h, size_t n, double *lambda, float *shift, float *factor, tq_err *err);

/* Codes all columns from the last to the first with feedback. Fills codes, fine, level, error. */
int tq_feedback(tq_calibration_work *c, tq_err *err);
/* One sweep of coordinate descent over all columns. */
int tq_feedback_sweep(tq_calibration_work *c, tq_err *err);

/* Scales of all groups by least squares under h, and the errors that follow. */
int tq_scales_fit(tq_calibration_work *c, tq_err *err);

/* tr(E H E^T): e: [cols, ld]. */
int tq_weighted_error(const tq_calibration_work *c, const float *e, double *out, tq_err *err);

/* Reports, and says whether to stop. */
int tq_calibration_step(tq_calibration_work *c, double weights, tq_err *err);

#endif
