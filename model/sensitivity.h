/* sensitivity.h - what each matrix costs alone: its KL divergence at some configs while all others stay as a base plan
 * has them, measured by running only from its block on.
 *
 * The coefficient a = KLD / relative MSE of a matrix is nearly the same at all configs as long as the error is small
 * (to second order in the error, KL divergence is a quadratic form of it; the rotation makes the error isotropic), so
 * that a config which was not measured is foretold from its relative MSE.
 *
 * What was measured is kept in a journal (journal.h) named by a hash of model, text, windows, base plan and what all
 * configs have in common. */
#ifndef TQ_SENSITIVITY_H
#define TQ_SENSITIVITY_H

#include "model/plan.h"

typedef struct tq_sensitivity tq_sensitivity;

#define TQ_SWEEP_TOKENS_DEFAULT 2048

typedef struct tq_sweep_options {
    size_t ctx;               /* tokens a window; 0: 512 */
    size_t tokens;            /* at most so many, whole windows spread evenly; 0: TQ_SWEEP_TOKENS_DEFAULT */
    const tq_choice *configs; /* [n_configs], measured for every matrix that can take them */
    size_t n_configs;         /* 0: 4t, 4+2 and 4+4 in groups of TQ_GROUP_DEFAULT */
} tq_sweep_options;

/* The configs that are measured when none are named: [*n]. Uniform plans of them give budgets their scale, too. */
const tq_choice *tq_sweep_configs_default(size_t *n);

/* What is known of a matrix at a config. */
typedef struct tq_sensed {
    bool coded;       /* the next two are known: */
    double rel_mse;   /* of plain codes */
    bool measured;    /* and these: */
    double kld;       /* of the base plan with this one change, less the base plan's own; nats a token */
    double kld_error; /* standard error of the mean over the text; 0 where it is not known */
} tq_sensed;

/* ids: [n], n >= ctx; windows of them are copied. text_hash names the text (16 hex digits). base is copied; its
 * calibration is left out: all codes are plain ones. state_dir (NULL: nothing is kept) is made when it is missing.
 * Reads no weights yet. */
int tq_sensitivity_new(const tq_model *m, tq_pool *pool, const int *ids, size_t n, const char *text_hash,
                       const tq_plan *base, const tq_sweep_options *options, const char *state_dir,
                       tq_sensitivity **out, tq_err *err);
void tq_sensitivity_free(tq_sensitivity *s); /* NULL is fine */

/* Measurements of a whole sweep, and how many are still missing. */
size_t tq_sensitivity_total(const tq_sensitivity *s);
size_t tq_sensitivity_left(const tq_sensitivity *s);
size_t tq_sensitivity_tokens(const tq_sensitivity *s);
const char *tq_sensitivity_path(const tq_sensitivity *s); /* of the journal; NULL: none */

/* Lets go of the journal, which another process may be waiting for: it is held from the first measurement or coding on,
 * and taken again when there is more. */
void tq_sensitivity_release(tq_sensitivity *s);

/* Takes what is missing, the head and then the last block first (so that the states before it stay those of the base
 * plan), the embedding last. after (may be
 * NULL) is called when one is kept. Progress in measurements. Cancel loses none that is finished. What another process
 * is measuring is waited for, and found. */
int tq_sensitivity_run(tq_sensitivity *s, const tq_progress *p, void (*after)(void *ctx, size_t matrix), void *ctx,
                       tq_err *err);

/* Codes matrix i at c, if that is not known yet, for its relative MSE. */
int tq_sensitivity_code(tq_sensitivity *s, size_t matrix, tq_choice c, const tq_progress *p, tq_err *err);

tq_sensed tq_sensitivity_get(const tq_sensitivity *s, size_t matrix, tq_choice c);

/* KLD of matrix i at a relative MSE: a * rel_mse, where a is interpolated between the measured configs in log rel_mse,
 * and the nearest one's outside of them. 0 at rel_mse 0; NaN when nothing is measured. */
double tq_sensitivity_foretell(const tq_sensitivity *s, size_t matrix, double rel_mse);

#endif
