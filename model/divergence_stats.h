/* divergence_stats.h - figures of an evaluation from what each scored position said; private to model/. */
#ifndef TQ_DIVERGENCE_STATS_H
#define TQ_DIVERGENCE_STATS_H

#include "kernels/kernels.h"
#include "model/divergence.h"

/* One number of each kind for every scored position, in order. */
typedef struct tq_divergence_stats {
    size_t capacity, count;
    size_t per_window; /* scored positions a window */
    double *kld;
    int *tops;         /* two each: the likeliest tokens of base and variant */
    double *log_ratio; /* log P - log Q of the correct token */
    double *sorted;    /* scratch */
    double base_logp;  /* sums from here on */
    double quant_logp;
    double dp, dp_squared;
    size_t same_top;
} tq_divergence_stats;

int tq_divergence_stats_init(tq_divergence_stats *s, size_t windows, size_t per_window, tq_err *err);
void tq_divergence_stats_free(tq_divergence_stats *s);
void tq_divergence_stats_reset(tq_divergence_stats *s);
void tq_divergence_stats_add(tq_divergence_stats *s, const tq_kld_row *row);
/* Figures of the positions added so far; out's seconds and blocks_run are left alone. */
void tq_divergence_stats_result(tq_divergence_stats *s, tq_eval_result *out);

#endif
