/* calibration_asym.c - all matrices in the order of the forward pass, each with the moments of what the quantized
 * layers before it produce. See calibration.h. */
#include <stdlib.h>
#include <string.h>

#include "model/calibration_internal.h"
#include "model/forward_internal.h"
#include "model/gather.h"

/* Ends a block early: the observer has what it wanted. */
enum { SEEN = -100 };

/* The input of one matrix. */
typedef struct capture {
    size_t matrix, cols;
    size_t n; /* inputs seen */
    float *x; /* [tokens of a group, cols] */
} capture;

typedef struct asym_run {
    tq_calibration *c;
    tq_forward *f;
    tq_variant q;
    float *base, *quant; /* [tokens, hidden]: states at the input of the block at hand */
    float *work;         /* [group tokens, hidden] */
    float *x, *xq;       /* inputs of a site, base and quantized: [group tokens, widest] */
    float *xx, *cross;   /* [widest, widest] */
    size_t hidden, widest;
    const tq_progress *p;
} asym_run;

static int capture_input(void *ctx, const size_t *matrices, size_t count, const float *x, size_t n, tq_err *err) {
    capture *want = ctx;
    (void)err;
    for (size_t i = 0; i < count; i++) {
        if (matrices[i] != want->matrix) continue;
        memcpy(want->x, x, n * want->cols * sizeof *x);
        want->n = n;
        return SEEN;
    }
    return TQ_OK;
}

/* Runs the block over a copy of windows w .. w+n-1 until the input of want->matrix is seen; no token may reach an
 * expert. */
static int see_input(asym_run *r, size_t block, tq_variant q, const float *states, size_t w, size_t n, capture *want,
                     tq_err *err) {
    size_t width = TQ_CALIB_CTX * r->hidden;
    memcpy(r->work, states + w * width, n * width * sizeof *states);
    want->n = 0;
    tq_forward_observe(r->f, capture_input, want);
    int rc = tq_forward_block(r->f, q, block, r->work, n, TQ_CALIB_CTX, r->p, err);
    tq_forward_observe(r->f, NULL, NULL);
    if (rc == SEEN || (rc == TQ_OK && tq_model_matrix(r->c->model, want->matrix)->expert != SIZE_MAX)) return TQ_OK;
    return rc == TQ_OK ? tq_fail(err, "block %zu: an input was not met", block) : rc;
}

static size_t first_matrix(const tq_calibration *c, size_t site) {
    size_t i = 0;
    while (c->site_of[i] != site)
        i++;
    return i;
}

static int site_moments(asym_run *r, size_t site, size_t matrix, tq_err *err) {
    tq_calibration *c = r->c;
    size_t cols = c->sites[site].n, block = c->sites[site].block;
    capture base = {matrix, cols, 0, r->x}, quant = {matrix, cols, 0, r->xq};
    bool expert = tq_model_matrix(c->model, matrix)->expert != SIZE_MAX;
    memset(r->xx, 0, cols * cols * sizeof *r->xx);
    memset(r->cross, 0, cols * cols * sizeof *r->cross);
    for (size_t w = 0; w < c->windows; w += TQ_CALIB_WINDOWS) {
        size_t n = c->windows - w < TQ_CALIB_WINDOWS ? c->windows - w : TQ_CALIB_WINDOWS;
        int rc = TQ_OK;
        if (block < tq_model_config(c->model)->blocks) {
            rc = see_input(r, block, NULL, r->base, w, n, &base, err);
            r->f->routes_held = expert; /* the same tokens reach it in both */
            if (rc == TQ_OK) rc = see_input(r, block, r->q, r->quant, w, n, &quant, err);
            r->f->routes_held = false;
        } else { /* the output head */
            tq_forward_final_norm(r->f, r->base + w * TQ_CALIB_CTX * r->hidden, n * TQ_CALIB_CTX, r->x);
            tq_forward_final_norm(r->f, r->quant + w * TQ_CALIB_CTX * r->hidden, n * TQ_CALIB_CTX, r->xq);
        }
        if (rc != TQ_OK) return rc;
        tq_gather_add(c->pool, r->xx, r->xq, r->xq, quant.n, cols);
        tq_gather_add(c->pool, r->cross, r->x, r->xq, quant.n, cols);
    }
    tq_gather_finish(r->xx, cols, c->sites[site].seen, true);
    tq_gather_finish(r->cross, cols, c->sites[site].seen, false);
    return TQ_OK;
}

static int advance(asym_run *r, size_t block, tq_err *err) {
    const tq_calibration *c = r->c;
    int rc = TQ_OK;
    for (size_t w = 0; rc == TQ_OK && w < c->windows; w += TQ_CALIB_WINDOWS) {
        size_t n = c->windows - w < TQ_CALIB_WINDOWS ? c->windows - w : TQ_CALIB_WINDOWS;
        size_t at = w * TQ_CALIB_CTX * r->hidden;
        rc = tq_forward_block(r->f, NULL, block, r->base + at, n, TQ_CALIB_CTX, r->p, err);
        if (rc == TQ_OK) rc = tq_forward_block(r->f, r->q, block, r->quant + at, n, TQ_CALIB_CTX, r->p, err);
    }
    return rc;
}

static int run_init(asym_run *r, tq_err *err) {
    const tq_calibration *c = r->c;
    size_t tokens = tq_calibration_tokens(c), group = (size_t)TQ_CALIB_WINDOWS * TQ_CALIB_CTX;
    r->hidden = tq_model_config(c->model)->hidden;
    for (size_t i = 0; i < c->count; i++)
        r->widest = c->sites[i].n > r->widest ? c->sites[i].n : r->widest;
    r->base = tq_calloc_aligned(tokens, r->hidden * sizeof *r->base);
    r->quant = tq_calloc_aligned(tokens, r->hidden * sizeof *r->quant);
    r->work = tq_calloc_aligned(group, r->hidden * sizeof *r->work);
    r->x = tq_calloc_aligned(group, r->widest * sizeof *r->x);
    r->xq = tq_calloc_aligned(group, r->widest * sizeof *r->xq);
    r->xx = tq_calloc_aligned(r->widest, r->widest * sizeof *r->xx);
    r->cross = tq_calloc_aligned(r->widest, r->widest * sizeof *r->cross);
    if (!r->base || !r->quant || !r->work || !r->x || !r->xq || !r->xx || !r->cross)
        return tq_fail(err, "out of memory for calibrating %zu tokens", tokens);
    int rc = tq_forward_embed(r->f, NULL, c->ids, tokens, r->base, err);
    return rc == TQ_OK ? tq_forward_embed(r->f, r->q, c->ids, tokens, r->quant, err) : rc;
}

static void run_free(asym_run *r) {
    free(r->base);
    free(r->quant);
    free(r->work);
    free(r->x);
    free(r->xq);
    free(r->xx);
    free(r->cross);
    tq_forward_free(r->f);
}

int tq_calibration_asym(tq_calibration *c, tq_variant q,
                        int (*encode)(void *ctx, size_t matrix, const tq_moment *moment, tq_err *err), void *ctx,
                        const tq_progress *p, tq_err *err) {
    int rc = tq_calibration_gather(c, p, err); /* it knows which matrices share an input */
    if (rc != TQ_OK) return rc;
    size_t blocks = tq_model_config(c->model)->blocks;
    asym_run r = {.c = c, .f = tq_forward_new(c->model, c->pool, err), .q = q, .p = p};
    rc = r.f ? run_init(&r, err) : TQ_FAIL;
    for (size_t i = 0; rc == TQ_OK && i < tq_model_matrices(c->model); i++) {
        const tq_matrix *m = tq_model_matrix(c->model, i);
        const tq_moment unknown = {.n = m->w.cols};
        if (c->site_of[i] == SIZE_MAX && m->expert != SIZE_MAX) rc = encode(ctx, i, &unknown, err);
    }
    for (size_t site = 0; rc == TQ_OK && site < c->count; site++) {
        size_t block = c->sites[site].block, first = first_matrix(c, site);
        bool few = tq_calibration_is_few(c, first);
        if (!few) rc = site_moments(&r, site, first, err);
        tq_moment moment = {c->sites[site].n, few ? NULL : r.xx, few ? NULL : r.cross};
        for (size_t i = first; rc == TQ_OK && i < tq_model_matrices(c->model); i++)
            if (c->site_of[i] == site) rc = encode(ctx, i, &moment, err);
        bool last = site + 1 == c->count || c->sites[site + 1].block != block;
        if (rc == TQ_OK && last && block < blocks) rc = advance(&r, block, err);
        tq_progress_report(p, (double)(site + 1) * (double)blocks / (double)c->count, (double)blocks);
    }
    run_free(&r);
    return rc;
}
