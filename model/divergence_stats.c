/* divergence_stats.c - means and errors in double, quantiles from the sorted values. */
#include "model/divergence_stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* From so many windows on, the standard error is taken over windows: tokens of one window are not independent. */
#define WINDOWS_MIN 8

int tq_divergence_stats_init(tq_divergence_stats *s, size_t windows, size_t per_window, tq_err *err) {
    *s = (tq_divergence_stats){.per_window = per_window};
    if (!tq_mul_size(&s->capacity, windows, per_window)) return tq_fail(err, "out of memory");
    s->kld = calloc(s->capacity, sizeof *s->kld);
    s->log_ratio = calloc(s->capacity, sizeof *s->log_ratio);
    s->sorted = calloc(s->capacity, sizeof *s->sorted);
    s->tops = calloc(s->capacity, 2 * sizeof *s->tops);
    if (s->tops && s->kld && s->log_ratio && s->sorted) return TQ_OK;
    tq_divergence_stats_free(s);
    return tq_fail(err, "out of memory for %zu positions", windows * per_window);
}

void tq_divergence_stats_free(tq_divergence_stats *s) {
    free(s->kld);
    free(s->log_ratio);
    free(s->sorted);
    free(s->tops);
    *s = (tq_divergence_stats){0};
}

void tq_divergence_stats_reset(tq_divergence_stats *s) {
    s->count = s->same_top = 0;
    s->base_logp = s->quant_logp = s->dp = s->dp_squared = 0.0;
}

void tq_divergence_stats_add(tq_divergence_stats *s, const tq_kld_row *row) {
    double dp = exp(row->quant_logp) - exp(row->base_logp);
    s->kld[s->count] = row->kld;
    s->tops[2 * s->count] = (int)row->base_top;
    s->tops[2 * s->count + 1] = (int)row->quant_top;
    s->log_ratio[s->count] = row->base_logp - row->quant_logp;
    s->base_logp += row->base_logp;
    s->quant_logp += row->quant_logp;
    s->dp += dp;
    s->dp_squared += dp * dp;
    s->same_top += row->base_top == row->quant_top;
    s->count++;
}

static double mean_of(const double *x, size_t n) {
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    return sum / (double)n;
}

/* Standard error of the mean of n values that come as `groups` means of `size` values each. */
static double stderr_of(const double *x, size_t groups, size_t size) {
    if (groups < 2) return 0.0;
    double mean = mean_of(x, groups * size), sum = 0.0;
    for (size_t g = 0; g < groups; g++) {
        double d = mean_of(x + g * size, size) - mean;
        sum += d * d;
    }
    return sqrt(sum / (double)(groups - 1) / (double)groups);
}

static double error_of(const tq_divergence_stats *s, const double *x) {
    size_t windows = s->count / s->per_window;
    return windows >= WINDOWS_MIN ? stderr_of(x, windows, s->per_window) : stderr_of(x, s->count, 1);
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Linear between the two nearest of n sorted values. */
static double quantile(const double *sorted, size_t n, double p) {
    double at = p * (double)(n - 1);
    size_t i = (size_t)at;
    if (i + 1 >= n) return sorted[n - 1];
    return sorted[i] + (at - (double)i) * (sorted[i + 1] - sorted[i]);
}

void tq_divergence_stats_result(tq_divergence_stats *s, tq_eval_result *out) {
    size_t n = s->count;
    if (!n) return;
    double count = (double)n;
    memcpy(s->sorted, s->kld, n * sizeof *s->sorted);
    qsort(s->sorted, n, sizeof *s->sorted, ascending);
    out->tokens = n;
    out->windows = (n + s->per_window - 1) / s->per_window;
    out->ppl_base = exp(-s->base_logp / count);
    out->ppl = exp(-s->quant_logp / count);
    out->kld_mean = mean_of(s->kld, n);
    out->kld_stderr = error_of(s, s->kld);
    out->kld_median = quantile(s->sorted, n, 0.5);
    out->kld_p90 = quantile(s->sorted, n, 0.9);
    out->kld_p99 = quantile(s->sorted, n, 0.99);
    out->kld_p999 = quantile(s->sorted, n, 0.999);
    out->kld_max = s->sorted[n - 1];
    out->same_top = (double)s->same_top / count;
    out->dp_mean = s->dp / count;
    out->dp_rms = sqrt(s->dp_squared / count);
    out->ppl_ratio = exp(mean_of(s->log_ratio, n));
    out->ppl_ratio_stderr = out->ppl_ratio * error_of(s, s->log_ratio); /* d exp(x) = exp(x) dx */
}
