/* feedback.c - codes one column after the other, each knowing the errors of the others. */
#include <cblas.h>
#include <stdlib.h>
#include <string.h>

#include "quant/calibrate_internal.h"

/* What a block of columns gets from the errors of columns from .. to-1: pull: [n, ld], n <= TQ_FEEDBACK_COLS. */
typedef struct block_pull {
    const tq_calibration_work *c;
    const float *weight; /* [cols, cols]: L or H */
    float *pull;
    size_t begin, n; /* the block */
    size_t from, to; /* the columns whose errors count */
} block_pull;

/* pull[k] = sum_j weight[j, begin + k] * error[j], of some panels of rows. */
static void pull_panels(void *ctx, size_t first, size_t last, int thread) {
    const block_pull *b = ctx;
    const tq_calibration_work *c = b->c;
    (void)thread;
    for (size_t p = first; p < last; p++) {
        size_t r0 = p * TQ_PANEL_ROWS, rows = c->ld - r0 < TQ_PANEL_ROWS ? c->ld - r0 : TQ_PANEL_ROWS;
        cblas_sgemm(CblasRowMajor, CblasTrans, CblasNoTrans, (blasint)b->n, (blasint)rows, (blasint)(b->to - b->from),
                    1.0F, b->weight + b->from * c->cols + b->begin, (blasint)c->cols, c->error + b->from * c->ld + r0,
                    (blasint)c->ld, 0.0F, b->pull + r0, (blasint)c->ld);
    }
}

static void run_pull(block_pull *b) {
    const tq_calibration_work *c = b->c;
    if (b->from == b->to)
        memset(b->pull, 0, b->n * c->ld * sizeof *b->pull);
    else
        tq_pool_run(c->pool, (c->ld + TQ_PANEL_ROWS - 1) / TQ_PANEL_ROWS, 1, pull_panels, b);
}

/* What one column is coded in. */
typedef struct column_scratch {
    float *pull;       /* [TQ_FEEDBACK_COLS, ld] */
    float *z, *change; /* [ld] */
    void *trellis;     /* tq_trellis_column_work bytes, or NULL */
    bool again;        /* there are codes already */
} column_scratch;

static int scratch_new(const tq_calibration_work *c, column_scratch *s, tq_err *err) {
    *s = (column_scratch){0};
    s->pull = tq_calloc_aligned(TQ_FEEDBACK_COLS * c->ld, sizeof *s->pull);
    s->z = tq_calloc_aligned(c->ld, sizeof *s->z);
    s->change = tq_calloc_aligned(c->ld, sizeof *s->change);
    if (c->book.trellis.states) s->trellis = tq_calloc_aligned(tq_trellis_column_work(&c->book, c->ld), 1);
    if (s->pull && s->z && s->change && (s->trellis || !c->book.trellis.states)) return TQ_OK;
    tq_fail(err, "out of memory for the feedback of %zu rows", c->rows);
    return TQ_FAIL;
}

static void scratch_free(column_scratch *s) {
    free(s->pull);
    free(s->z);
    free(s->change);
    free(s->trellis);
}

/* Codes column k for the targets in units of z. */
static void code_column(const tq_calibration_work *c, size_t k, column_scratch *s) {
    const tq_kernels *kernels = tq_k();
    uint8_t *codes = c->codes + k * c->ld, *fine = c->fine ? c->fine + k * c->ld : NULL;
    float *level = c->level + k * c->ld, step = c->book.levels->step;
    if (s->trellis) {
        tq_trellis_column(&c->book, s->z, c->ld, codes, level, s->again, s->trellis);
        return;
    }
    kernels->encode(codes, s->z, c->ld, c->book.bounds, c->book.count);
    if (fine) kernels->encode_fine(fine, codes, s->z, c->ld, &c->book.search);
    kernels->levels(level, codes, fine, c->ld, c->book.levels);
    for (size_t r = 0; r < c->ld; r++)
        level[r] *= step;
}

/* Column k, whose target is moved by `pull`: codes it and notes its error. */
static void code_with_pull(const tq_calibration_work *c, size_t k, const float *pull, column_scratch *s) {
    const float *target = c->target + k * c->ld, *scale = c->scale + k / c->group * c->ld;
    float *error = c->error + k * c->ld;
    const float *level = c->level + k * c->ld;
    for (size_t r = 0; r < c->ld; r++)
        s->z[r] = scale[r] > 0 ? (target[r] + pull[r]) / scale[r] : 0;
    code_column(c, k, s);
    for (size_t r = 0; r < c->ld; r++)
        error[r] = target[r] - scale[r] * level[r];
}

/* Codes column k again with all others known: the best target is w_k + sum_{j != k} e_j H_jk / H_kk. pull holds the
 * sum over all j and is spent; s->change becomes what the column's error changed by. */
static void sweep_column(const tq_calibration_work *c, size_t k, float *pull, column_scratch *s) {
    const float *error = c->error + k * c->ld;
    float inverse = 1.0F / c->h[k * c->cols + k];
    for (size_t r = 0; r < c->ld; r++) {
        s->change[r] = -error[r];
        pull[r] = pull[r] * inverse - error[r];
    }
    code_with_pull(c, k, pull, s);
    for (size_t r = 0; r < c->ld; r++)
        s->change[r] += error[r];
}

/* All columns from the last to the first, a block at a time: what comes into the block in one product, what happens in
 * it column by column. At first the columns that are already coded pull by L; again, all of them by H. */
static int run_columns(tq_calibration_work *c, bool again, tq_err *err) {
    const float *weight = again ? c->h : c->factor;
    column_scratch s;
    int rc = scratch_new(c, &s, err);
    if (rc != TQ_OK) goto out;
    s.again = again;
    for (size_t end = c->cols; rc == TQ_OK && end > 0;) {
        size_t begin = (end - 1) / TQ_FEEDBACK_COLS * TQ_FEEDBACK_COLS;
        block_pull b = {c, weight, s.pull, begin, end - begin, again ? 0 : end, c->cols};
        run_pull(&b);
        for (size_t k = end; k-- > begin;) {
            float *pull = s.pull + (k - begin) * c->ld;
            const float *change = again ? s.change : c->error + k * c->ld;
            if (again)
                sweep_column(c, k, pull, &s);
            else
                code_with_pull(c, k, pull, &s);
            for (size_t j = begin; j < k; j++)
                tq_k()->axpy(s.pull + (j - begin) * c->ld, weight[k * c->cols + j], change, c->ld);
        }
        rc = tq_calibration_step(c, (double)(end - begin) * (double)c->rows, err);
        end = begin;
    }
out:
    scratch_free(&s);
    return rc;
}

int tq_feedback(tq_calibration_work *c, tq_err *err) {
    return run_columns(c, false, err);
}

int tq_feedback_sweep(tq_calibration_work *c, tq_err *err) {
    return run_columns(c, true, err);
}
